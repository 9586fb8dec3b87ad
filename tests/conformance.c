/* conformance.c -- runs folders in ONNX backend-test layout: DIR/test_NAME/model.onnx with test_data_set_N/input_M.pb and
** output_M.pb, each test in a process of its own.
**
**   conformance [--expect FILE] [--write FILE] [--only TEXT] [--atol A] [--rtol R] [--threads N] [--verbose] DIR...
**
** All data sets of a test run in one session, the first once more at the end; with --threads in one session for each number of
** threads from 1 to N, whose results must agree to the bit.
**
** What must happen to a test follows from the operator table: where it has every operator of the model, at its version and
** for the types that the model declares, the test must pass; otherwise it must be refused as unsupported. FILE lists the
** names that passed before ("NAME") and those that are refused by decision although the table has all they need ("NAME
** refused: part of the message"), so that a vanished operator, a vanished test and a refusal that no longer happens all fail.
** A test of a new operator, which passes and is not listed yet, is named as new and harms nothing. --write makes such a file
** from this run. Exit status 0 when everything was as expected, 1 otherwise, 2 on wrong usage. */
#include <mien/convert.h>
#include "internal.h"
#include "onnx.pb-c.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum verdict { PASSED, UNSUPPORTED, FAILED } verdict;
static const char *const verdict_names[] = {"passed", "unsupported", "failed"};

typedef struct result {
  verdict got;
  bool table_has_all;
  char op[64];       /* the model's only operator, or "(several)" */
  char missing[200]; /* what the table lacks */
  char message[512];
} result;

#define MAX_PORTS 64
#define MAX_THREADS 16
#define TEST_SECONDS 120

/* ---------------------------------------------------------------- what the table says about a model */

typedef struct survey {
  const mien_env *env;
  Mien__Onnx__ModelProto *model;
  result *r;
} survey;

static bool is_function(const survey *s, const Mien__Onnx__NodeProto *n) {
  for (size_t i = 0; i < s->model->n_functions; i++)
    if (strcmp(s->model->functions[i]->name, n->op_type) == 0 &&
        strcmp(s->model->functions[i]->domain ? s->model->functions[i]->domain : "", n->domain ? n->domain : "") == 0)
      return true;
  return false;
}

static int64_t opset_of(const survey *s, const char *domain) {
  for (size_t i = 0; i < s->model->n_opset_import; i++) {
    const char *d = s->model->opset_import[i]->domain;
    if (strcmp(d ? d : "", domain) == 0) return s->model->opset_import[i]->version;
  }
  return 0;
}

static const Mien__Onnx__TypeProto *declared(Mien__Onnx__ValueInfoProto *const *list, size_t count, const char *name) {
  for (size_t i = 0; i < count; i++)
    if (strcmp(list[i]->name, name) == 0) return list[i]->type;
  return NULL;
}

/* 0: not declared; -1: no tensor. */
static int32_t dtype_of(const Mien__Onnx__GraphProto *g, const char *name) {
  const Mien__Onnx__TypeProto *t = declared(g->input, g->n_input, name);
  if (!t) t = declared(g->output, g->n_output, name);
  if (!t) t = declared(g->value_info, g->n_value_info, name);
  if (!t) return 0;
  return t->tensor_type ? t->tensor_type->elem_type : -1;
}

static void lacks(survey *s, const char *format, const char *a, long long b, const char *c) {
  if (s->r->table_has_all) snprintf(s->r->missing, sizeof s->r->missing, format, a, b, c);
  s->r->table_has_all = false;
}

static void check_slots(survey *s, const Mien__Onnx__GraphProto *g, const Mien__Onnx__NodeProto *n,
                        const mien__slot *slots, int slot_count, char *const *names, size_t count) {
  for (size_t i = 0; i < count && slot_count > 0; i++) {
    const mien__slot *slot = &slots[(int)i < slot_count ? (int)i : slot_count - 1];
    const int32_t dtype = dtype_of(g, names[i]);
    if (dtype < 0)
      lacks(s, "%s-%lld on a %s", n->op_type, (long long)opset_of(s, ""), "value that is no tensor");
    else if (dtype > 0 && (slot->dtypes >> dtype & 1u) == 0)
      lacks(s, "%s-%lld for %s", n->op_type, (long long)opset_of(s, ""), mien_dtype_name(dtype));
  }
}

static void survey_graph(survey *s, const Mien__Onnx__GraphProto *g, int depth);

static void survey_node(survey *s, const Mien__Onnx__GraphProto *g, const Mien__Onnx__NodeProto *n, int depth) {
  const char *domain = n->domain && strcmp(n->domain, "ai.onnx") != 0 ? n->domain : "";
  if (!s->r->op[0])
    snprintf(s->r->op, sizeof s->r->op, "%s", n->op_type);
  else if (strcmp(s->r->op, n->op_type) != 0)
    snprintf(s->r->op, sizeof s->r->op, "(several)");
  for (size_t i = 0; i < n->n_attribute; i++)
    if (n->attribute[i]->g && depth < 8) survey_graph(s, n->attribute[i]->g, depth + 1);
  if (is_function(s, n)) return;
  if (!*domain && strcmp(n->op_type, "Constant") == 0) return; /* becomes an initializer at import */
  const mien__record *record = mien__registry_find(s->env, domain, n->op_type, opset_of(s, domain), NULL);
  if (!record) {
    lacks(s, "%s-%lld%s", n->op_type, (long long)opset_of(s, domain), "");
    return;
  }
  check_slots(s, g, n, record->signature.in, record->signature.in_count, n->input, n->n_input);
  check_slots(s, g, n, record->signature.out, record->signature.out_count, n->output, n->n_output);
}

static void survey_graph(survey *s, const Mien__Onnx__GraphProto *g, int depth) {
  for (size_t i = 0; i < g->n_node; i++) survey_node(s, g, g->node[i], depth);
  for (size_t i = 0; i < g->n_input + g->n_output; i++) {
    const Mien__Onnx__ValueInfoProto *port = i < g->n_input ? g->input[i] : g->output[i - g->n_input];
    if (port->type && !port->type->tensor_type) lacks(s, "%s%.0lld as %s", "a graph", 0, "port that is no tensor");
  }
}

static Mien__Onnx__ModelProto *read_model(const char *path) {
  FILE *f = fopen(path, "rb");
  Mien__Onnx__ModelProto *model = NULL;
  if (!f) return NULL;
  fseek(f, 0, SEEK_END);
  const long size = ftell(f);
  uint8_t *bytes = size > 0 ? malloc((size_t)size) : NULL;
  rewind(f);
  if (bytes && fread(bytes, 1, (size_t)size, f) == (size_t)size)
    model = mien__onnx__model_proto__unpack(NULL, (size_t)size, bytes);
  free(bytes);
  fclose(f);
  return model;
}

/* ---------------------------------------------------------------- running */

/* |got - want| <= absolute + relative * |want|; upstream's defaults. */
static double absolute = 1e-7, relative = 1e-3;

static bool near(double got, double want) {
  return got == want || fabs(got - want) <= absolute + relative * fabs(want);
}

static bool close_enough(const mien_tensor *want, const mien_tensor *got, int64_t i) {
  if (want->type.dtype == MIEN_STRING) {
    const mien_string *a = (const mien_string *)want->data + i, *b = (const mien_string *)got->data + i;
    return a->length == b->length && memcmp(a->data, b->data, a->length) == 0;
  }
  const size_t bytes = mien_dtype_size(want->type.dtype);
  if (memcmp((const char *)want->data + (size_t)i * bytes, (const char *)got->data + (size_t)i * bytes, bytes) == 0)
    return true;
  switch (want->type.dtype) {
    case MIEN_F32:
    case MIEN_F64:
    case MIEN_F16:
    case MIEN_BF16: {
      const double w = mien__tensor_f64(want, i), g = mien__tensor_f64(got, i);
      /* Half types: the last two bits depend on where intermediate results were rounded. */
      const double last = want->type.dtype == MIEN_F16 ? 0x1p-9 : want->type.dtype == MIEN_BF16 ? 0x1p-6 : 0;
      return (isnan(w) && isnan(g)) || near(g, w) || fabs(g - w) <= last * fabs(w);
    }
    case MIEN_C64:
    case MIEN_C128:
      for (int part = 0; part < 2; part++) {
        const double w = want->type.dtype == MIEN_C64 ? (double)((const float *)want->data)[2 * i + part]
                                                      : ((const double *)want->data)[2 * i + part];
        const double g = want->type.dtype == MIEN_C64 ? (double)((const float *)got->data)[2 * i + part]
                                                      : ((const double *)got->data)[2 * i + part];
        if (!near(g, w)) return false;
      }
      return true;
    default: return false; /* integers, truth values, 8-bit floats: exactly */
  }
}

static mien_status compare(const mien_tensor *want, const mien_tensor *got, const char *name, mien_error *error) {
  if (!mien__type_equal(&want->type, &got->type)) {
    char a[128], b[128];
    return mien__fail(error, MIEN_MISMATCH, "output %s is %s, expected %s", name,
                      mien__type_text(&got->type, NULL, a, sizeof a), mien__type_text(&want->type, NULL, b, sizeof b));
  }
  for (int64_t i = 0; i < mien_count(&want->type); i++)
    if (!close_enough(want, got, i))
      return mien__fail(error, MIEN_MISMATCH, "output %s[%lld] is %.9g, expected %.9g", name, (long long)i,
                        want->type.dtype == MIEN_STRING ? 0 : mien__tensor_f64(got, i),
                        want->type.dtype == MIEN_STRING ? 0 : mien__tensor_f64(want, i));
  return MIEN_OK;
}

static bool plan_has_input(const mien_plan *plan, const char *name) {
  for (size_t i = 0; i < mien_plan_input_count(plan); i++) {
    mien_port port;
    if (mien_plan_input(plan, i, &port) == MIEN_OK && strcmp(port.name, name) == 0) return true;
  }
  return false;
}

static int threads = 1;

static mien_status read_inputs(mien_env *env, mien_plan *plan, const Mien__Onnx__GraphProto *g, const char *set,
                               mien_binding *in, size_t *count, mien_error *error) {
  char path[1200];
  if (g->n_input > MAX_PORTS) return mien__fail(error, MIEN_LIMIT, "too many ports");
  for (size_t i = 0; i < g->n_input; i++) {
    if (!plan_has_input(plan, g->input[i]->name)) continue; /* nobody reads it */
    snprintf(path, sizeof path, "%s/input_%zu.pb", set, i);
    if (access(path, R_OK) != 0) continue; /* has an initializer */
    in[*count].name = g->input[i]->name;
    MIEN_TRY(mien_tensor_proto_read(env, path, &in[*count].tensor, error));
    (*count)++;
  }
  return MIEN_OK;
}

static mien_status compare_outputs(mien_env *env, const mien_binding *out, size_t count, const char *set,
                                   mien_error *error) {
  mien_status status = MIEN_OK;
  char path[1200];
  for (size_t i = 0; status == MIEN_OK && i < count; i++) {
    mien_tensor want;
    snprintf(path, sizeof path, "%s/output_%zu.pb", set, i);
    MIEN_TRY(mien_tensor_proto_read(env, path, &want, error));
    status = compare(&want, &out[i].tensor, out[i].name, error);
    mien_tensor_clear(env, &want);
  }
  return status;
}

/* Memory of two sessions; strings are compared with what is expected alone. */
static mien_status same_bits(const mien_binding *a, const mien_binding *b, size_t count, int with, mien_error *error) {
  for (size_t i = 0; i < count; i++) {
    if (a[i].tensor.type.dtype == MIEN_STRING) continue;
    const size_t bytes = (size_t)mien_count(&a[i].tensor.type) * mien_dtype_size(a[i].tensor.type.dtype);
    if (bytes && memcmp(a[i].tensor.data, b[i].tensor.data, bytes) != 0)
      return mien__fail(error, MIEN_MISMATCH, "output %s has other bits with %d threads than with one", a[i].name,
                        with);
  }
  return MIEN_OK;
}

static mien_status run_set(mien_env *env, mien_plan *plan, mien_session *const *sessions,
                           const Mien__Onnx__GraphProto *g, const char *set, mien_error *error) {
  static mien_binding out[MAX_THREADS][MAX_PORTS];
  mien_binding in[MAX_PORTS] = {0};
  size_t in_count = 0, out_count = mien_plan_output_count(plan);
  if (out_count > MAX_PORTS) return mien__fail(error, MIEN_LIMIT, "too many ports");
  mien_status status = read_inputs(env, plan, g, set, in, &in_count, error);
  for (int t = 0; status == MIEN_OK && t < threads; t++) {
    for (size_t i = 0; status == MIEN_OK && i < out_count; i++) {
      mien_port port;
      status = mien_plan_output(plan, i, &port);
      out[t][i] = (mien_binding){.name = port.name};
    }
    if (status == MIEN_OK) status = mien_session_run(sessions[t], in, in_count, out[t], out_count, error);
    if (status == MIEN_OK) status = compare_outputs(env, out[t], out_count, set, error);
    if (status == MIEN_OK) status = same_bits(out[0], out[t], out_count, t + 1, error);
  }
  for (size_t i = 0; i < in_count; i++) mien_tensor_clear(env, &in[i].tensor);
  return status;
}

static mien_status run_sets(mien_env *env, mien_plan *plan, const Mien__Onnx__GraphProto *g, const char *directory,
                            mien_error *error) {
  mien_session *sessions[MAX_THREADS] = {NULL};
  char set[1100];
  int sets = 0;
  mien_status status = MIEN_OK;
  for (int t = 0; status == MIEN_OK && t < threads; t++)
    status = mien_session_create(plan, &(mien_session_options){.threads = t + 1}, &sessions[t], error);
  for (; status == MIEN_OK; sets++) {
    snprintf(set, sizeof set, "%s/test_data_set_%d", directory, sets);
    if (access(set, R_OK) != 0) break;
    status = run_set(env, plan, sessions, g, set, error);
  }
  snprintf(set, sizeof set, "%s/test_data_set_0", directory);
  if (status == MIEN_OK && sets > 1) status = run_set(env, plan, sessions, g, set, error);
  for (int t = 0; t < threads; t++) mien_session_destroy(sessions[t]);
  if (status == MIEN_OK && sets == 0) status = mien__fail(error, MIEN_IO, "there is no test_data_set_0");
  return status;
}

static void run_test(const char *directory, const char *plan_path, result *r) {
  char path[1100];
  mien_env *env = NULL;
  mien_plan *plan = NULL;
  mien_error error = {0};
  mien_status status = mien_env_create(NULL, &env, &error);
  snprintf(path, sizeof path, "%s/model.onnx", directory);
  Mien__Onnx__ModelProto *model = read_model(path);
  if (status == MIEN_OK && (!model || !model->graph)) status = mien__fail(&error, MIEN_IO, "cannot read %s", path);
  if (status == MIEN_OK) {
    survey s = {.env = env, .model = model, .r = r};
    r->table_has_all = true;
    survey_graph(&s, model->graph, 0);
    status = mien_convert(env, path, plan_path, NULL, NULL, &error);
    if (status == MIEN_OK) status = mien_plan_open(env, plan_path, MIEN_PLAN_COPY, &plan, &error);
    if (status == MIEN_OK) status = run_sets(env, plan, model->graph, directory, &error);
  }
  r->got = status == MIEN_OK ? PASSED : status == MIEN_UNSUPPORTED ? UNSUPPORTED : FAILED;
  snprintf(r->message, sizeof r->message, "%s", error.message);
  mien_plan_close(plan);
  mien_env_destroy(env);
}

/* In a child: what a test does to its process is its own affair. */
static result run_apart(const char *directory, const char *scratch) {
  result r = {.got = FAILED};
  char plan_path[1100];
  int ends[2], status = 0;
  snprintf(plan_path, sizeof plan_path, "%s/test.plan", scratch);
  if (pipe(ends) != 0) return r;
  const pid_t child = fork();
  if (child == 0) {
    alarm(TEST_SECONDS);
    run_test(directory, plan_path, &r);
    _exit(write(ends[1], &r, sizeof r) == (ssize_t)sizeof r ? 0 : 3);
  }
  close(ends[1]);
  const bool whole = child > 0 && read(ends[0], &r, sizeof r) == (ssize_t)sizeof r;
  close(ends[0]);
  if (child > 0) waitpid(child, &status, 0);
  if (!whole || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    r = (result){.got = FAILED, .op = "(several)"};
    snprintf(r.message, sizeof r.message, "ended by signal %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
  }
  unlink(plan_path);
  return r;
}

/* ---------------------------------------------------------------- expectations */

typedef struct expectation {
  char *name, *refused; /* refused NULL: passes */
  bool seen;
} expectation;

typedef struct expectations {
  expectation *rows;
  size_t count;
} expectations;

static bool read_expectations(const char *path, expectations *e) {
  FILE *f = fopen(path, "r");
  char line[1024];
  if (!f) return false;
  while (fgets(line, sizeof line, f)) {
    line[strcspn(line, "\n")] = 0;
    if (!*line || *line == '#') continue;
    char *refused = strstr(line, " refused: ");
    if (refused) *refused = 0;
    expectation *rows = realloc(e->rows, (e->count + 1) * sizeof *rows);
    if (!rows) break;
    e->rows = rows;
    rows[e->count++] = (expectation){strdup(line), refused ? strdup(refused + strlen(" refused: ")) : NULL, false};
  }
  fclose(f);
  return true;
}

static expectation *find_expectation(expectations *e, const char *name) {
  for (size_t i = 0; i < e->count; i++)
    if (strcmp(e->rows[i].name, name) == 0) return &e->rows[i];
  return NULL;
}

/* NULL: as expected. */
static const char *surprise(const result *r, expectations *e, const char *name) {
  expectation *x = find_expectation(e, name);
  if (x) x->seen = true;
  if (r->got == FAILED) return "failed";
  if (x && x->refused) {
    if (r->got == PASSED) return "passed, but is listed as refused";
    return strstr(r->message, x->refused) ? NULL : "refused with another message than listed";
  }
  if (r->got == PASSED) return NULL;
  if (x) return "is listed as passing, but unsupported now";
  return r->table_has_all ? "refused, though the operator table has all it needs" : NULL;
}

/* ---------------------------------------------------------------- the run */

typedef struct tally {
  char op[64];
  int count[3];
} tally;

typedef struct totals {
  tally *ops;
  size_t op_count;
  int count[3], surprises, fresh;
} totals;

static void count_result(totals *t, const result *r) {
  t->count[r->got]++;
  for (size_t i = 0; i < t->op_count; i++)
    if (strcmp(t->ops[i].op, r->op) == 0) {
      t->ops[i].count[r->got]++;
      return;
    }
  tally *ops = realloc(t->ops, (t->op_count + 1) * sizeof *ops);
  if (!ops) return;
  t->ops = ops;
  ops[t->op_count] = (tally){.count = {0}};
  snprintf(ops[t->op_count].op, sizeof ops->op, "%s", r->op);
  ops[t->op_count++].count[r->got] = 1;
}

static int by_op(const void *a, const void *b) { return strcmp(((const tally *)a)->op, ((const tally *)b)->op); }

typedef struct options {
  const char *expect, *write, *only;
  bool verbose;
} options;

static int is_test(const struct dirent *entry) {
  return strncmp(entry->d_name, "test_", 5) == 0 || strncmp(entry->d_name, "light_", 6) == 0;
}

static bool run_directory(const char *directory, const char *scratch, const options *o, expectations *e, FILE *list,
                          totals *t) {
  struct dirent **entries;
  const int count = scandir(directory, &entries, is_test, alphasort);
  if (count < 0) {
    fprintf(stderr, "conformance: cannot read %s\n", directory);
    return false;
  }
  for (int i = 0; i < count; i++) {
    const char *name = entries[i]->d_name;
    char path[1024];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    if ((!o->only || strstr(name, o->only)) && stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
      const result r = run_apart(path, scratch);
      const bool is_new = o->expect && r.got == PASSED && !find_expectation(e, name);
      const char *why = surprise(&r, e, name);
      count_result(t, &r);
      if (why) t->surprises++;
      if (is_new) {
        t->fresh++;
        printf("new %s: passed, not listed yet\n", name);
      }
      if (why || o->verbose || r.got == UNSUPPORTED)
        printf("%s%s: %s%s%s (%s) %s\n", why ? "UNEXPECTED " : "", name, verdict_names[r.got], why ? ": " : "",
               why ? why : "", r.table_has_all ? "table has all" : r.missing, r.message);
      if (list && r.got == PASSED) fprintf(list, "%s\n", name);
      if (list && r.got == UNSUPPORTED && r.table_has_all) fprintf(list, "%s refused: %.120s\n", name, r.message);
    }
    free(entries[i]);
  }
  free(entries);
  return true;
}

static int report(totals *t, const expectations *e, const options *o) {
  qsort(t->ops, t->op_count, sizeof *t->ops, by_op);
  printf("\n%-28s %7s %11s %7s\n", "operator", "passed", "unsupported", "failed");
  for (size_t i = 0; i < t->op_count; i++)
    printf("%-28s %7d %11d %7d\n", t->ops[i].op, t->ops[i].count[0], t->ops[i].count[1], t->ops[i].count[2]);
  for (size_t i = 0; i < e->count && !o->only; i++)
    if (!e->rows[i].seen) {
      printf("UNEXPECTED %s: listed, but there is no such test\n", e->rows[i].name);
      t->surprises++;
    }
  if (t->fresh) printf("\n%d tests are new: list them with --write\n", t->fresh);
  printf("\n%d passed, %d unsupported, %d failed; %d unexpected\n", t->count[PASSED], t->count[UNSUPPORTED],
         t->count[FAILED], t->surprises);
  return t->surprises ? 1 : 0;
}

static int usage(void) {
  fputs(
      "usage: conformance [--expect FILE] [--write FILE] [--only TEXT] [--atol A] [--rtol R] [--threads N] [--verbose] "
      "DIR...\n",
      stderr);
  return 2;
}

int main(int argc, char **argv) {
  options o = {0};
  expectations e = {0};
  totals t = {0};
  char scratch[] = "/tmp/mien-conformance-XXXXXX";
  FILE *list = NULL;
  int first = 1, status = 0;
  for (; first < argc && strncmp(argv[first], "--", 2) == 0; first++) {
    const bool more = first + 1 < argc;
    if (strcmp(argv[first], "--verbose") == 0)
      o.verbose = true;
    else if (strcmp(argv[first], "--expect") == 0 && more)
      o.expect = argv[++first];
    else if (strcmp(argv[first], "--write") == 0 && more)
      o.write = argv[++first];
    else if (strcmp(argv[first], "--only") == 0 && more)
      o.only = argv[++first];
    else if (strcmp(argv[first], "--atol") == 0 && more)
      absolute = strtod(argv[++first], NULL);
    else if (strcmp(argv[first], "--rtol") == 0 && more)
      relative = strtod(argv[++first], NULL);
    else if (strcmp(argv[first], "--threads") == 0 && more)
      threads = atoi(argv[++first]);
    else
      return usage();
  }
  if (first == argc || threads < 1 || threads > MAX_THREADS) return usage();
  if (o.expect && !read_expectations(o.expect, &e)) {
    fprintf(stderr, "conformance: cannot read %s\n", o.expect);
    return 2;
  }
  if (o.write && !(list = fopen(o.write, "w"))) {
    fprintf(stderr, "conformance: cannot write %s\n", o.write);
    return 2;
  }
  if (list)
    fputs("# Node tests of the onnx package in requirements.txt: \"NAME\" passes; \"NAME refused: part of the "
          "message\" is refused "
          "although the operator\n# table has all it needs. Written by: build/tests/conformance --write FILE DIR/node, "
          "where "
          "tests/conformance_data.py DIR made DIR.\n",
          list);
  if (!mkdtemp(scratch)) return 2;
  for (int i = first; i < argc; i++)
    if (!run_directory(argv[i], scratch, &o, &e, list, &t)) status = 2;
  rmdir(scratch);
  if (list) fclose(list);
  if (t.count[PASSED] + t.count[UNSUPPORTED] + t.count[FAILED] == 0) {
    fputs("conformance: there was nothing to run\n", stderr);
    status = 2;
  }
  const int outcome = report(&t, &e, &o);
  for (size_t i = 0; i < e.count; i++) free(e.rows[i].name), free(e.rows[i].refused);
  free(e.rows);
  free(t.ops);
  return status ? status : outcome;
}
