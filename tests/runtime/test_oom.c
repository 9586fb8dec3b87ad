/* Allocation k fails, once or from then on, for all k, through every fallible entry point: every time the answer is MIEN_NO_MEMORY or
** a right result, nothing leaks, results are untouched and no file is half written, the same object succeeds when memory is back,
** and so does the next attempt. Of long ways some k, drawn from a seed. */
#include "op_test.h"

#include <mien/convert.h>
#include <unistd.h>

#include "sanitizer.h"

typedef struct counter {
  long count, fail_at; /* fail_at 0: never */
  bool persistent, refused;
  size_t alive;
} counter;

static void *counting_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  counter *c = context;
  if (new_size == 0) {
    free(pointer);
    c->alive -= old_size;
    return NULL;
  }
  c->count++;
  if (c->fail_at && (c->count == c->fail_at || (c->persistent && c->count > c->fail_at))) {
    c->refused = true;
    return NULL;
  }
  void *fresh = realloc(pointer, new_size);
  if (fresh) c->alive += new_size - old_size;
  return fresh;
}

/* A way through the API with an env of its own. The model, or a plan that was made of it beforehand. */
typedef struct job {
  const char *model;
  char file[64]; /* may be written */
  mien_status (*way)(const struct job *j, mien_env *env, counter *c, mien_error *error);
} job;

#define SOURCE(path) MIEN_SOURCE_DIR "/" path

static const char *model_named(const char *name) {
  static char path[512];
  snprintf(path, sizeof path, MIEN_SOURCE_DIR "/%s", name);
  return path;
}

static void try_failure(const job *j, long k, bool persistent) {
  counter c = {.fail_at = k, .persistent = persistent};
  mien_env_options options = {.alloc = counting_alloc, .alloc_context = &c};
  mien_env *env = NULL;
  mien_error error = {0};
  mien_status status = mien_env_create(&options, &env, &error);
  if (status == MIEN_OK) status = j->way(j, env, &c, &error);
  mien_env_destroy(env);
  if ((status != MIEN_OK && status != MIEN_NO_MEMORY) || c.alive)
    fail_msg("%s, allocation %ld%s: %s '%s', %zu bytes leak", j->model, k, persistent ? " on" : "",
             mien_status_name(status), error.message, c.alive);
  if (status == MIEN_NO_MEMORY && !c.refused) fail_msg("%s: no memory, though none was refused", j->model);
}

static void all_allocations_may_fail(job *j, long most) {
  counter c = {0};
  mien_env_options options = {.alloc = counting_alloc, .alloc_context = &c};
  mien_env *env = NULL;
  mien_error error = {0};
  snprintf(j->file, sizeof j->file, "/tmp/mien-oom-%ld", (long)getpid());
  mien_status status = mien_env_create(&options, &env, &error);
  if (status == MIEN_OK) status = j->way(j, env, &c, &error);
  mien_env_destroy(env);
  if (status != MIEN_OK) fail_msg("%s: %s", j->model, error.message);
  assert_int_equal(c.alive, 0);
  uint64_t seed = 11;
  long count = c.count, step = count > most ? count / most : 1;
  assert_true(count > 0);
  for (long k = 1; k <= count; k += step > 1 ? (long)op_random(&seed, 1, 2 * (double)step) : 1) {
    try_failure(j, k, false);
    try_failure(j, k, true);
  }
  unlink(j->file);
}

/* ---- conversion, with verification, and its golden values */

static mien_status convert_and_check(const job *j, mien_env *env, counter *c, mien_error *error) {
  const mien_session_options alone = {.threads = 1};
  const mien_convert_options options = {.verify = 2, .seed = 1};
  mien_plan *plan = NULL;
  mien_session *session = NULL;
  mien_convert_report report = {0};
  mien_check_row rows[64];
  size_t count = 64;
  (void)c;
  unlink(j->file);
  mien_status status = mien_convert(env, j->model, j->file, &options, &report, error);
  assert_int_equal(access(j->file, F_OK) == 0, status == MIEN_OK);
  mien_convert_report_free(env, &report);
  if (status == MIEN_OK) status = mien_plan_open(env, j->file, MIEN_PLAN_COPY, &plan, error);
  if (status == MIEN_OK) status = mien_session_create(plan, &alone, &session, error);
  if (status == MIEN_OK) status = mien_session_check(session, rows, &count, error);
  mien_session_destroy(session);
  mien_plan_close(plan);
  return status;
}

static void conversion(void **state) {
  (void)state;
  static const struct {
    const char *model;
    long most;
  } rows[] = {
      {"tests/plugin/hypot.onnx", 2000},
      {"tests/fuzz/corpus/models/attention.onnx", 60},
      {"tests/fuzz/corpus/models/conv_same.onnx", 60},
      {"tests/fuzz/corpus/models/function.onnx", 60},
      {"tests/fuzz/corpus/models/gemm.onnx", 60},
      {"tests/fuzz/corpus/models/moves.onnx", 60},
      {"tests/fuzz/corpus/models/norms.onnx", 60},
      {"tests/fuzz/corpus/models/select.onnx", 60},
      {"tests/fuzz/corpus/models/types.onnx", 60},
      {"models/spelled/window_sdpa_ts17/model.onnx", 25},
      {"models/poster_var_small/model.onnx", 15},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    job j = {.model = model_named(rows[i].model), .way = convert_and_check};
    all_allocations_may_fail(&j, MIEN_TEST_ASAN && rows[i].most < 100 ? rows[i].most / 4 : rows[i].most);
  }
}

/* ---- a plan in use: facts, sessions, new shapes, what is kept and watched */

static char made_plan[64];

static void make_plan(const char *model) {
  mien_env *env = NULL;
  mien_error error = {0};
  snprintf(made_plan, sizeof made_plan, "/tmp/mien-oom-%ld.plan", (long)getpid());
  assert_int_equal(mien_env_create(NULL, &env, NULL), MIEN_OK);
  mien_status status = mien_convert(env, model, made_plan, NULL, NULL, &error);
  if (status != MIEN_OK) fail_msg("%s: %s", model, error.message);
  mien_env_destroy(env);
}

enum { MOST_BATCH = 4, INPUTS = 2, MOST_INPUT = 12 * 6 * 6 * MOST_BATCH };

/* Made up from the place in its item: rows do not depend on the batch. */
static mien_status run_batch(const mien_plan *plan, mien_session *s, int64_t batch, float *first, mien_error *error) {
  static float data[INPUTS][MOST_INPUT];
  mien_binding in[INPUTS], out = {0};
  size_t inputs = mien_plan_input_count(plan);
  mien_port port;
  assert_true(inputs <= INPUTS);
  for (size_t i = 0; i < inputs; i++) {
    assert_int_equal(mien_plan_input(plan, i, &port), MIEN_OK);
    port.type.dim[0] = batch;
    int64_t count = mien_count(&port.type);
    assert_true(count <= MOST_INPUT);
    for (int64_t k = 0; k < count; k++) data[i][k] = 0.1F * (float)(k % (count / batch) % 17) - 0.5F;
    in[i] = (mien_binding){.name = port.name,
                           .tensor = {.type = port.type, .data = data[i], .bytes = (size_t)count * sizeof(float)}};
  }
  assert_int_equal(mien_plan_output(plan, 0, &port), MIEN_OK);
  out.name = port.name;
  MIEN_TRY(mien_session_run(s, in, inputs, &out, 1, error));
  assert_int_equal(out.tensor.type.dim[0], batch);
  *first = *(const float *)out.tensor.data;
  return MIEN_OK;
}

static void ignore(void *context, const mien_event *event) {
  (void)context;
  (void)event;
}

static float expected_first;

/* The session that had no memory for a shape runs when there is some again. */
static mien_status new_shapes(const mien_plan *plan, mien_session *s, counter *c, mien_error *error) {
  static const int64_t batches[] = {1, 3, 1, 2, MOST_BATCH, 3};
  for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
    float first;
    mien_status status = run_batch(plan, s, batches[i], &first, error);
    if (status == MIEN_NO_MEMORY) {
      long fail_at = c->fail_at;
      c->fail_at = 0;
      assert_int_equal(run_batch(plan, s, batches[i], &first, error), MIEN_OK);
      c->fail_at = fail_at;
    }
    if (status != MIEN_NO_MEMORY) MIEN_TRY(status);
    if (expected_first != 0) assert_float_equal(first, expected_first, 1e-6F);
    expected_first = first;
    if (status != MIEN_OK) return status;
  }
  return MIEN_OK;
}

static mien_status facts(const mien_plan *plan, mien_error *error) {
  mien_port port;
  mien_picture picture;
  size_t count;
  for (size_t i = 0; i < mien_plan_input_count(plan); i++) MIEN_TRY(mien_plan_input(plan, i, &port));
  (void)mien_plan_labels(plan, &count);
  (void)mien_plan_notice(plan);
  mien_status status = mien_plan_picture(plan, &picture, error);
  if (status != MIEN_OK) assert_int_equal(status, MIEN_UNSUPPORTED);
  return mien_plan_json(plan) ? MIEN_OK : MIEN_NO_MEMORY;
}

static mien_status watch(mien_session *s, mien_error *error) {
  mien_node_info node;
  mien_place places[256];
  size_t count = sizeof places / sizeof *places;
  for (size_t i = 0; i < mien_session_node_count(s); i++) MIEN_TRY(mien_session_node(s, i, &node));
  MIEN_TRY(mien_session_places(s, places, &count));
  return mien_session_observe(s, ignore, NULL, error);
}

static mien_status use_plan(const job *j, mien_env *env, counter *c, mien_error *error) {
  mien_plan *plan = NULL;
  mien_session *s = NULL, *other = NULL;
  mien_check_row rows[64];
  mien_session_info info;
  size_t count = 64;
  float first;
  (void)j;
  mien_status status = mien_plan_open(env, made_plan, 0, &plan, error);
  assert_int_equal(plan != NULL, status == MIEN_OK);
  if (status == MIEN_OK) status = facts(plan, error);
  if (status == MIEN_OK) status = mien_session_create(plan, &(mien_session_options){.threads = 2}, &s, error);
  if (plan) assert_true(s != NULL || status != MIEN_OK);
  if (status == MIEN_OK) status = new_shapes(plan, s, c, error);
  if (status == MIEN_OK) status = mien_session_create(plan, &(mien_session_options){.threads = 1}, &other, error);
  if (status == MIEN_OK) status = mien_session_keep(s, NULL, 0, error);
  if (status == MIEN_OK) status = watch(s, error);
  if (status == MIEN_OK) status = run_batch(plan, s, 2, &first, error);
  if (status == MIEN_OK) status = run_batch(plan, other, 2, &first, error);
  if (status == MIEN_OK) status = mien_session_check(s, rows, &count, error);
  if (s) mien_session_get_info(s, &info);
  mien_session_destroy(s);
  mien_plan_close(plan); /* before its last session */
  mien_session_destroy(other);
  return status;
}

static void a_plan_in_use(void **state) {
  (void)state;
  static const struct {
    const char *model;
    long most;
  } rows[] = {{"models/spelled/attention_sdpa_ts17/model.onnx", 250},
              {"models/spelled/window_sdpa_ts17/model.onnx", 100},
              {"models/spelled/channel_gate_conv_ts17/model.onnx", 250}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    expected_first = 0;
    make_plan(model_named(rows[i].model));
    job j = {.model = rows[i].model, .way = use_plan};
    all_allocations_may_fail(&j, MIEN_TEST_ASAN ? rows[i].most / 4 : rows[i].most);
    unlink(made_plan);
  }
}

/* ---- files: arrays, tensors, pictures; and the predictive distribution */

static mien_status read_and_write(const job *j, mien_env *env, counter *c, mien_error *error) {
  mien_tensor read = {0}, back = {0};
  (void)c;
  unlink(j->file);
  mien_status status = mien_tensor_proto_read(
      env, SOURCE("models/spelled/attention_sdpa_ts17/test_data_set_0/input_0.pb"), &read, error);
  if (status == MIEN_OK) {
    status = mien_npy_write(env, j->file, &read, error);
    assert_int_equal(access(j->file, F_OK) == 0, status == MIEN_OK);
  }
  if (status == MIEN_OK) status = mien_npy_read(env, j->file, &back, error);
  if (status == MIEN_OK) assert_memory_equal(read.data, back.data, read.bytes);
  mien_tensor_clear(env, &read);
  mien_tensor_clear(env, &back);
  return status;
}

static mien_status read_pictures(const job *j, mien_env *env, counter *c, mien_error *error) {
  const mien_picture contract = {.input = "image",
                                 .width = 8,
                                 .height = 8,
                                 .resize = "pillow-bilinear",
                                 .color = "RGB",
                                 .scale = 255,
                                 .std = {1, 1, 1}};
  float planes[3 * 8 * 8];
  (void)j;
  (void)c;
  MIEN_TRY(mien_picture_read(env, SOURCE("models/pictures/astronaut.png"), &contract, planes, error));
  return mien_picture_read(env, SOURCE("models/pictures/grace_hopper.jpg"), &contract, planes, error);
}

static mien_status predict(const job *j, mien_env *env, counter *c, mien_error *error) {
  enum { CLASSES = 7 };
  static const float mu[CLASSES] = {1, 2, 0, 0, -1, 3, 1}, logvar[CLASSES] = {0};
  double p[CLASSES], sd[CLASSES], low[CLASSES], high[CLASSES], mean[CLASSES], var[CLASSES];
  mien_prediction out = {.p = p, .sd = sd, .low = low, .high = high, .z_mean = mean, .z_var = var};
  const mien_predict_options options = {.samples = 100, .seed = 1, .credible = 0.95};
  (void)j;
  (void)c;
  return mien_predict(env, &options, 0, CLASSES, mu, logvar, &out, error);
}

static void files_and_predictions(void **state) {
  (void)state;
  job jobs[] = {{.model = "arrays", .way = read_and_write},
                {.model = "pictures", .way = read_pictures},
                {.model = "predictions", .way = predict}};
  for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) all_allocations_may_fail(&jobs[i], 200);
}

/* ---- plugins: loading, conversion with their rewrites, a plan that runs their operators */

static mien_status load_plugins(const job *j, mien_env *env, counter *c, mien_error *error) {
  size_t before = mien_env_op_count(env);
  mien_status status = mien_env_load_plugins(env, MIEN_BINARY_DIR "/plugins", error);
  if (status == MIEN_NO_MEMORY && !c->persistent) { /* the same env takes it the second time */
    assert_int_equal(mien_env_op_count(env), before);
    status = mien_env_load_plugins(env, MIEN_BINARY_DIR "/plugins", error);
    if (status == MIEN_OK) assert_true(mien_env_op_count(env) > before);
  }
  return status == MIEN_OK && j->file[0] ? convert_and_check(j, env, c, error) : status;
}

static void plugins(void **state) {
  (void)state;
  if (access(MIEN_BINARY_DIR "/plugins/libmien_poster.so", R_OK) != 0) skip();
  job j = {.model = model_named("models/spelled/vich_two_linears_ts17/model.onnx"), .way = load_plugins};
  all_allocations_may_fail(&j, MIEN_TEST_ASAN ? 60 : 400);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(conversion), cmocka_unit_test(a_plan_in_use),
                                     cmocka_unit_test(files_and_predictions), cmocka_unit_test(plugins)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
