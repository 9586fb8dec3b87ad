/* converter/pass_order.c -- collecting rewrites and putting them in order: stage, `after`, name. */
#include "converter/match.h"
#include "converter/passes.h"

#include <stdio.h>
#include <string.h>

const char *mien__stage_name(mien_stage stage) {
  switch (stage) {
    case MIEN_STAGE_CANONICALISE: return "canonicalise";
    case MIEN_STAGE_FUSE: return "fuse";
    case MIEN_STAGE_PLUGIN: return "plugin";
    case MIEN_STAGE_SINK: return "sink";
    case MIEN_STAGE_LAYOUT: return "layout";
    case MIEN_STAGE_FINISH: return "finish";
  }
  return "unknown";
}

/* The word of `names` at *at; moves past it. Length 0 at the end. */
static size_t pass_word(const char **at) {
  const char *start = *at + strspn(*at, " ");
  size_t length = strcspn(start, " ");
  *at = start;
  return length;
}

static bool pass_named(const mien__pass_run *run, const char *name, size_t length) {
  return strlen(run->rewrite->name) == length && !memcmp(run->rewrite->name, name, length);
}

/* Whether run i must wait for one that is not placed yet. */
static bool pass_waits(const mien__pass_run *runs, int32_t count, int32_t i, const bool *placed) {
  const char *at = runs[i].rewrite->after;
  for (size_t length; at && (length = pass_word(&at)) > 0; at += length)
    for (int32_t k = 0; k < count; k++)
      if (!placed[k] && runs[k].rewrite->stage == runs[i].rewrite->stage && pass_named(&runs[k], at, length))
        return true;
  return false;
}

/* Unknown names, and names of later stages, in `after`. */
static mien_status pass_check_after(const mien__pass_run *runs, int32_t count, int32_t i, mien_error *error) {
  const mien_rewrite *rewrite = runs[i].rewrite;
  const char *at = rewrite->after;
  for (size_t length; at && (length = pass_word(&at)) > 0; at += length) {
    int32_t k = 0;
    while (k < count && !pass_named(&runs[k], at, length)) k++;
    if (k == count)
      return mien__fail(error, MIEN_PLUGIN, "rewrite '%s' comes after '%.*s', which there is not", rewrite->name,
                        (int)length, at);
    if (runs[k].rewrite->stage > rewrite->stage)
      return mien__fail(error, MIEN_PLUGIN, "rewrite '%s' (%s) comes after '%s', which is of a later stage (%s)",
                        rewrite->name, mien__stage_name(rewrite->stage), runs[k].rewrite->name,
                        mien__stage_name(runs[k].rewrite->stage));
  }
  return MIEN_OK;
}

/* The next to place: lowest stage, then name, of those that wait for nothing. -1: all that are left wait. */
static int32_t pass_next(const mien__pass_run *runs, int32_t count, const bool *placed) {
  int32_t best = -1;
  int stage = MIEN_STAGE_FINISH + 1;
  for (int32_t i = 0; i < count; i++)
    if (!placed[i] && (int)runs[i].rewrite->stage < stage) stage = (int)runs[i].rewrite->stage;
  for (int32_t i = 0; i < count; i++) {
    if (placed[i] || (int)runs[i].rewrite->stage != stage || pass_waits(runs, count, i, placed)) continue;
    if (best < 0 || strcmp(runs[i].rewrite->name, runs[best].rewrite->name) < 0) best = i;
  }
  return best;
}

static mien_status pass_sort(mien__passes *passes, mien_error *error) {
  int32_t count = passes->run_count;
  mien__pass_run *sorted = mien__pool_alloc(&passes->pool, ((size_t)count + 1) * sizeof *sorted);
  bool *placed = mien__pool_alloc(&passes->pool, (size_t)count + 1);
  if (!sorted || !placed) return mien__no_memory(error, (size_t)count * sizeof *sorted);
  for (int32_t i = 0; i < count; i++) {
    const mien_rewrite *rewrite = passes->runs[i].rewrite;
    if ((int)rewrite->stage < 0 || rewrite->stage > MIEN_STAGE_FINISH || !rewrite->patterns || !rewrite->apply)
      return mien__fail(error, MIEN_PLUGIN, "rewrite '%s' has no valid stage, patterns or function", rewrite->name);
    for (int32_t k = 0; k < i; k++)
      if (!strcmp(passes->runs[k].rewrite->name, rewrite->name))
        return mien__fail(error, MIEN_PLUGIN, "there are two rewrites '%s'", rewrite->name);
    MIEN_TRY(pass_check_after(passes->runs, count, i, error));
  }
  for (int32_t i = 0; i < count; i++) {
    int32_t next = pass_next(passes->runs, count, placed);
    if (next < 0) {
      for (next = 0; placed[next]; next++) continue;
      return mien__fail(error, MIEN_PLUGIN, "rewrite '%s' comes after itself through `after` of others",
                        passes->runs[next].rewrite->name);
    }
    placed[next] = true;
    sorted[i] = passes->runs[next];
  }
  passes->runs = sorted;
  return MIEN_OK;
}

static mien_status pass_parse(mien__passes *passes, mien__pass_run *run, mien_error *error) {
  while (run->rewrite->patterns[run->pattern_count]) run->pattern_count++;
  run->patterns = mien__pool_alloc(&passes->pool, ((size_t)run->pattern_count + 1) * sizeof *run->patterns);
  if (!run->patterns) return mien__no_memory(error, sizeof *run->patterns);
  for (int32_t i = 0; i < run->pattern_count; i++)
    MIEN_TRY(
        mien__pattern_parse(&passes->pool, run->rewrite->patterns[i], run->rewrite->name, &run->patterns[i], error));
  return MIEN_OK;
}

/* Fills runs where that is not NULL; gives how many there are. */
static int32_t pass_collect(mien_env *env, const mien_rewrite *const *tables, mien__pass_run *runs) {
  int32_t count = 0;
  const char *plugin = NULL;
  const mien_rewrite *rewrite;
  for (; *tables; tables++)
    for (rewrite = *tables; rewrite->name; rewrite++, count++)
      if (runs) runs[count].rewrite = rewrite;
  for (size_t i = 0; (rewrite = mien__env_plugin_rewrite(env, i, &plugin)) != NULL; i++, count++) {
    if (!runs) continue;
    runs[count].rewrite = rewrite;
    runs[count].plugin = plugin;
  }
  return count;
}

static const struct {
  const char *name, *pass;
} precisions[] = {[MIEN_PRECISION_FP32] = {"fp32", NULL},
                  [MIEN_PRECISION_BF16] = {"bf16", "store-weights-bf16"},
                  [MIEN_PRECISION_INT16] = {"int16", "store-weights-int16"},
                  [MIEN_PRECISION_FP16_WEIGHTS] = {"fp16-weights", "store-weights-fp16"}};
enum { PRECISIONS = sizeof precisions / sizeof *precisions };

const char *mien_precision_name(mien_precision p) {
  return (int)p >= 0 && (int)p < PRECISIONS ? precisions[p].name : NULL;
}
const char *mien__precision_pass(mien_precision p) { return mien_precision_name(p) ? precisions[p].pass : NULL; }

void mien__passes_precision(mien__passes *passes, mien_precision precision) {
  for (int32_t i = 0; i < passes->run_count; i++)
    for (int k = 0; k < PRECISIONS; k++)
      if (precisions[k].pass && strcmp(passes->runs[i].rewrite->name, precisions[k].pass) == 0) {
        passes->runs[i].precision = (mien_precision)k;
        if (precision == MIEN_PRECISION_FP32 || k == (int)precision)
          passes->runs[i].off = precision == MIEN_PRECISION_FP32;
      }
}

static mien_status pass_create(mien__passes *passes, const mien_rewrite *const *tables, mien_error *error) {
  passes->run_count = pass_collect(passes->env, tables, NULL);
  passes->runs = mien__pool_alloc(&passes->pool, ((size_t)passes->run_count + 1) * sizeof *passes->runs);
  if (!passes->runs) return mien__no_memory(error, sizeof *passes->runs);
  pass_collect(passes->env, tables, passes->runs);
  MIEN_TRY(pass_sort(passes, error));
  mien__passes_precision(passes, MIEN_PRECISION_FP32);
  for (int32_t i = 0; i < passes->run_count; i++) MIEN_TRY(pass_parse(passes, &passes->runs[i], error));
  return MIEN_OK;
}

mien_status mien__passes_create(mien_env *env, const mien_rewrite *const *tables, mien__passes **result,
                                mien_error *error) {
  mien__passes *passes = mien__alloc(env, sizeof *passes);
  if (!passes) return mien__no_memory(error, sizeof *passes);
  passes->env = env;
  mien__pool_init(&passes->pool, env, (size_t)env->limits.load_bytes);
  mien_status status = pass_create(passes, tables ? tables : mien__pass_tables, error);
  if (status == MIEN_OK)
    *result = passes;
  else
    mien__passes_destroy(passes);
  return status;
}

void mien__passes_destroy(mien__passes *passes) {
  if (!passes) return;
  mien__free(passes->env, passes->log);
  mien__pool_clear(&passes->pool);
  mien__free(passes->env, passes);
}

mien_status mien__passes_skip(mien__passes *passes, const char *const *names, mien_error *error) {
  for (; names && *names; names++) {
    int32_t i = 0;
    while (i < passes->run_count && strcmp(passes->runs[i].rewrite->name, *names)) i++;
    if (i < passes->run_count) {
      passes->runs[i].skipped = true;
      continue;
    }
    char known[360] = "";
    size_t used = 0;
    for (i = 0; i < passes->run_count && used < sizeof known; i++)
      used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", passes->runs[i].rewrite->name);
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "there is no pass '%.80s'; there are %s%s", *names, known,
                      used >= sizeof known ? " ..." : "");
  }
  return MIEN_OK;
}
