/* report.c -- what a conversion tells at its end, as JSON for programs and as text for people. */
#include "converter/choose.h"

#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Text that grows in env memory; failed: there was none. */
typedef struct text {
  mien_env *env;
  char *at;
  size_t length, room;
  bool failed;
} text;

static void MIEN_PRINTF(2, 3) add(text *t, const char *format, ...) {
  char line[1024];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  size_t length = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
  if (t->failed) return;
  if (t->room - t->length <= length) {
    size_t room = 2 * (t->room + length) + 256;
    char *grown = mien__realloc(t->env, t->at, room);
    t->failed = !grown;
    if (!grown) return;
    t->at = grown;
    t->room = room;
  }
  memcpy(t->at + t->length, line, length + 1);
  t->length += length;
}

/* With a point whatever the locale says. */
static const char *real(double v, char out[32]) {
  snprintf(out, 32, "%.3g", v);
  for (char *c = out; *c; c++)
    if (*c == ',') *c = '.';
  return out;
}

static const char *bytes(uint64_t n, char out[32]) {
  if (n < 10000)
    snprintf(out, 32, "%llu bytes", (unsigned long long)n);
  else if (n < 10000000)
    snprintf(out, 32, "%llu KB", (unsigned long long)((n + 500) / 1000));
  else
    snprintf(out, 32, "%llu.%llu MB", (unsigned long long)(n / 1000000), (unsigned long long)(n / 100000 % 10));
  return out;
}

/* ---- text */

static uint32_t total(const mien__op_count *counts, size_t count) {
  uint32_t sum = 0;
  for (size_t i = 0; i < count; i++) sum += counts[i].count;
  return sum;
}

/* Both lists are sorted by name. */
static void text_operators(text *t, const mien__summary *s) {
  add(t, "operators                      before   after\n");
  for (size_t i = 0, k = 0; i < s->before_count || k < s->after_count;) {
    int order = i == s->before_count ? 1 : k == s->after_count ? -1 : strcmp(s->before[i].op, s->after[k].op);
    const char *op = order <= 0 ? s->before[i].op : s->after[k].op;
    uint32_t before = order <= 0 ? s->before[i++].count : 0, after = order >= 0 ? s->after[k++].count : 0;
    add(t, "  %-28.60s %6u  %6u\n", op, before, after);
  }
  add(t, "  %-28s %6u  %6u\n", "all", total(s->before, s->before_count), total(s->after, s->after_count));
}

static void text_passes(text *t, const mien__passes *passes) {
  add(t, "passes                        patches\n");
  for (int32_t i = 0; i < passes->run_count; i++) {
    const mien__pass_run *run = &passes->runs[i];
    if (run->skipped) add(t, "  %-28s skipped\n", run->rewrite->name);
    if (run->patches || run->refused) {
      add(t, "  %-28s %6d", run->rewrite->name, (int)run->patches);
      if (run->refused) add(t, "  (%d refused)", (int)run->refused);
      add(t, "\n");
    }
  }
  for (int32_t i = 0; i < passes->log_count; i++)
    if (passes->log[i].refused)
      add(t, "  refused: %s at '%s' (%s): %s\n", passes->log[i].pass, passes->log[i].root, passes->log[i].op,
          passes->log[i].refused);
}

static void text_report(text *t, const mien__summary *s) {
  char a[32], b[32], c[32];
  text_operators(t, s);
  text_passes(t, s->passes);
  if (s->precision != MIEN_PRECISION_FP32) {
    int stored = 0;
    for (int32_t i = 0; i < s->passes->run_count; i++)
      if (strcmp(s->passes->runs[i].rewrite->name, mien__precision_pass(s->precision)) == 0)
        stored = (int)s->passes->runs[i].patches;
    add(t, "precision  %s: weights of %d products; --verify lets outputs differ by %s of their largest value\n",
        mien_precision_name(s->precision), stored, real(mien__verify_bound(MIEN_F32, s->precision), a));
    if (s->choice && s->precision != MIEN_PRECISION_INT16)
      add(t, "           %d products in 16-bit integers\n", (int)mien__choice_count(s->choice, MIEN_PRECISION_INT16));
    if (s->choice)
      add(t,
          "           of %d that could be, by their errors in %d runs: largest %s, root mean square %s, allowed %s\n",
          (int)s->choice->count, s->choice->inputs, real(s->choice->largest, a), real(s->choice->rms, b),
          real(s->choice->bound, c));
  }
  add(t, "plan       %s (model %s), constants %s", bytes(s->sizes.file_bytes, a), bytes(s->source_bytes, b),
      bytes(s->sizes.constant_bytes, c));
  add(t, ", %s saved by sharing\n", bytes(s->sizes.shared_bytes, a));
  add(t, "arena      %s, of which at most %s are alive at once\n", bytes(s->session.arena_bytes, a),
      bytes(s->session.live_bytes, b));
  if (s->check)
    add(t, "golden     %zu values recorded and checked\n", s->check->n_values);
  else
    add(t, "golden     none: %s\n", s->no_golden->message);
  for (size_t i = 0; i < s->difference_count; i++)
    add(t, "%-10s output '%.200s': largest error %s (relative %s) in %d runs\n", i ? "" : "verified",
        s->differences[i].name, real(s->differences[i].max_abs, a), real(s->differences[i].max_rel, b), s->runs);
}

/* ---- JSON */

static void json_counts(cJSON *root, const char *name, const mien__op_count *counts, size_t count) {
  cJSON *object = cJSON_AddObjectToObject(root, name);
  for (size_t i = 0; i < count; i++) cJSON_AddNumberToObject(object, counts[i].op, counts[i].count);
}

static void json_passes(cJSON *root, const mien__passes *passes) {
  cJSON *list = cJSON_AddArrayToObject(root, "passes");
  for (int32_t i = 0; i < passes->run_count; i++) {
    const mien__pass_run *run = &passes->runs[i];
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", run->rewrite->name);
    if (run->plugin) cJSON_AddStringToObject(row, "plugin", run->plugin);
    cJSON_AddNumberToObject(row, "patches", run->patches);
    cJSON_AddNumberToObject(row, "refused", run->refused);
    cJSON_AddBoolToObject(row, "skipped", run->skipped);
    cJSON_AddItemToArray(list, row);
  }
  list = cJSON_AddArrayToObject(root, "patches");
  for (int32_t i = 0; i < passes->log_count; i++) {
    const mien__patch_log *log = &passes->log[i];
    cJSON *row = cJSON_CreateObject();
    cJSON_AddNumberToObject(row, "number", log->number);
    cJSON_AddStringToObject(row, "pass", log->pass);
    cJSON_AddStringToObject(row, "node", log->root);
    cJSON_AddStringToObject(row, "op", log->op);
    if (log->refused) cJSON_AddStringToObject(row, "refused", log->refused);
    cJSON_AddItemToArray(list, row);
  }
}

/* JSON has no infinity. */
static void json_real(cJSON *object, const char *name, double v) {
  if (isfinite(v))
    cJSON_AddNumberToObject(object, name, v);
  else
    cJSON_AddNullToObject(object, name);
}

static void json_verified(cJSON *root, const mien__summary *s) {
  if (s->runs == 0) return;
  cJSON *verify = cJSON_AddObjectToObject(root, "verify");
  cJSON_AddNumberToObject(verify, "runs", s->runs);
  cJSON *list = cJSON_AddArrayToObject(verify, "outputs");
  for (size_t i = 0; i < s->difference_count; i++) {
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "name", s->differences[i].name);
    json_real(row, "max_abs", s->differences[i].max_abs);
    json_real(row, "max_rel", s->differences[i].max_rel);
    cJSON_AddItemToArray(list, row);
  }
}

static void json_choice(cJSON *root, const mien__choice *c) {
  cJSON *choice = cJSON_AddObjectToObject(root, "rounded");
  double work = 0, all = 0;
  for (int32_t i = 0; i < c->count; i++) {
    all += c->products[i].work;
    work += c->products[i].precision != MIEN_PRECISION_FP32 ? c->products[i].work : 0;
  }
  cJSON_AddNumberToObject(choice, "products", c->count - mien__choice_count(c, MIEN_PRECISION_FP32));
  cJSON_AddNumberToObject(choice, "bf16", mien__choice_count(c, MIEN_PRECISION_BF16));
  cJSON_AddNumberToObject(choice, "int16", mien__choice_count(c, MIEN_PRECISION_INT16));
  cJSON_AddNumberToObject(choice, "of", c->count);
  cJSON_AddNumberToObject(choice, "part_of_multiplications", all > 0 ? work / all : 0);
  cJSON_AddNumberToObject(choice, "allowed", c->bound);
  cJSON_AddNumberToObject(choice, "largest", c->largest);
  cJSON_AddNumberToObject(choice, "rms", c->rms);
  cJSON_AddNumberToObject(choice, "runs", c->inputs);
}

static cJSON *json_report(const mien__summary *s) {
  const mien__graph *g = s->import->graph;
  cJSON *root = cJSON_CreateObject();
  cJSON_AddNumberToObject(root, "schema", 1);
  cJSON_AddStringToObject(root, "model", s->source);
  cJSON_AddStringToObject(root, "plan", s->target);
  cJSON_AddStringToObject(root, "producer", g->producer);
  cJSON_AddNumberToObject(root, "ir_version", (double)g->ir_version);
  cJSON *opsets = cJSON_AddObjectToObject(root, "opsets");
  for (int32_t i = 0; i < g->opset_count; i++)
    cJSON_AddNumberToObject(opsets, mien__domain_text(g->opsets[i].domain), (double)g->opsets[i].version);
  cJSON_AddStringToObject(root, "precision", mien_precision_name(s->precision));
  if (s->choice) json_choice(root, s->choice);
  json_counts(root, "nodes_before", s->before, s->before_count);
  json_counts(root, "nodes_after", s->after, s->after_count);
  json_passes(root, s->passes);
  cJSON_AddNumberToObject(root, "model_bytes", (double)s->source_bytes);
  cJSON_AddNumberToObject(root, "plan_bytes", (double)s->sizes.file_bytes);
  cJSON_AddNumberToObject(root, "constants", s->sizes.constants);
  cJSON_AddNumberToObject(root, "constant_bytes", (double)s->sizes.constant_bytes);
  cJSON_AddNumberToObject(root, "shared_bytes", (double)s->sizes.shared_bytes);
  cJSON_AddNumberToObject(root, "arena_bytes", (double)s->session.arena_bytes);
  cJSON_AddNumberToObject(root, "live_bytes", (double)s->session.live_bytes);
  cJSON *golden = cJSON_AddObjectToObject(root, "golden");
  cJSON_AddNumberToObject(golden, "values", s->check ? (double)s->check->n_values : 0);
  if (!s->check) cJSON_AddStringToObject(golden, "reason", s->no_golden->message);
  json_verified(root, s);
  return root;
}

/* cJSON's own memory, copied into the env's. Takes the tree. */
static mien_status printed(mien_env *env, cJSON *root, char **out, mien_error *error) {
  char *json = root ? cJSON_Print(root) : NULL;
  cJSON_Delete(root);
  if (!json) return mien__no_memory(error, 0);
  size_t size = strlen(json) + 1;
  *out = mien__alloc(env, size);
  if (*out) memcpy(*out, json, size);
  cJSON_free(json);
  return *out ? MIEN_OK : mien__no_memory(error, size);
}

static mien_status finished(mien_env *env, text *t, cJSON *root, mien_convert_report *report, mien_error *error) {
  mien_status status = printed(env, root, &report->json, error);
  if (status == MIEN_OK && t->failed) status = mien__no_memory(error, t->room);
  report->text = t->at;
  if (status != MIEN_OK) mien_convert_report_free(env, report);
  return status;
}

mien_status mien__report(mien_env *env, const mien__summary *summary, mien_convert_report *report, mien_error *error) {
  text t = {.env = env};
  text_report(&t, summary);
  return finished(env, &t, json_report(summary), report, error);
}

mien_status mien__report_unsupported(mien_env *env, const mien__import *import, mien_convert_report *report,
                                     mien_error *error) {
  text t = {.env = env};
  cJSON *root = cJSON_CreateObject();
  cJSON_AddNumberToObject(root, "schema", 1);
  cJSON *list = cJSON_AddArrayToObject(root, "unsupported");
  add(&t, "%d unsupported node%s\n", import->unsupported_count, import->unsupported_count == 1 ? "" : "s");
  for (const mien__unsupported *u = import->unsupported; u; u = u->next) {
    add(&t, "  node '%.200s' (%.100s-%lld): %.300s\n", u->node, u->op, (long long)u->opset, u->reason);
    cJSON *row = cJSON_CreateObject();
    cJSON_AddStringToObject(row, "node", u->node);
    cJSON_AddStringToObject(row, "operator", u->op);
    cJSON_AddNumberToObject(row, "opset", (double)u->opset);
    cJSON_AddStringToObject(row, "reason", u->reason);
    cJSON_AddItemToArray(list, row);
  }
  return finished(env, &t, root, report, error);
}

void mien_convert_report_free(mien_env *env, mien_convert_report *report) {
  if (!env || !report) return;
  mien__free(env, report->json);
  mien__free(env, report->text);
  *report = (mien_convert_report){0};
}
