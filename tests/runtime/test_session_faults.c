/* Sessions against recorded values, from several threads, across fork, and without memory. */
#include "sanitizer.h"
#include "session_test.h"

#include <math.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- golden values */

static mien_plan *golden_plan(double expected, double tolerance) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(-1, 4));
  uint32_t h = pb_node(&b, "Neg", 13, PB_IDS(x));
  pb_output(&b, "y", pb_node(&b, "Relu", 14, PB_IDS(h)), MIEN_F32, 2, PB_DIMS(-1, 4));
  pb_name(&b, h, "hidden", NULL);
  Mien__Plan__GoldenInput *in = PB_NEW(&b, Mien__Plan__GoldenInput, MIEN__PLAN__GOLDEN_INPUT__INIT);
  in->name = pb_text(&b, "x");
  in->type = pb_type(&b, MIEN_F32, 2, PB_DIMS(2, 4));
  in->seed = UINT64_C(0x0123456789abcdef);
  pb_push(&b, &b.check.inputs, &b.check.n_inputs, in);
  float data[8];
  mien_tensor t = {.type = {.dtype = MIEN_F32, .rank = 1, .dim = {8}}, .data = data, .bytes = sizeof data};
  assert_int_equal(mien__golden_fill(in->seed, 0, &t, NULL), MIEN_OK);
  for (int i = 0; i < 2; i++) {
    Mien__Plan__GoldenValue *v = PB_NEW(&b, Mien__Plan__GoldenValue, MIEN__PLAN__GOLDEN_VALUE__INIT);
    v->name = pb_text(&b, i ? "hidden" : "y");
    v->output = !i;
    v->type = pb_type(&b, MIEN_F32, 2, PB_DIMS(2, 4));
    v->n_index = v->n_expected = 2;
    v->index = memcpy(pb_alloc(&b, 16), (const uint64_t[]){0, 7}, 16);
    v->expected = pb_alloc(&b, 16);
    v->tolerance = tolerance;
    for (int k = 0; k < 2; k++) {
      double h_value = -(double)data[k ? 7 : 0];
      v->expected[k] = i ? h_value + expected : h_value > 0 ? h_value : 0;
    }
    pb_push(&b, &b.check.values, &b.check.n_values, v);
  }
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

static void golden_values_are_compared(void **state) {
  (void)state;
  mien_plan *plan = golden_plan(0, 0);
  mien_session *s = open_session(plan, 2);
  mien_check_row rows[3];
  size_t count = 3;
  assert_int_equal(mien_session_check(s, rows, &count, NULL), MIEN_OK);
  assert_int_equal(count, 2);
  assert_string_equal(rows[0].name, "y");
  assert_true(rows[0].good && rows[1].good && rows[1].max_abs == 0);
  count = 0;
  assert_int_equal(mien_session_check(s, NULL, &count, NULL), MIEN_OK);
  assert_int_equal(count, 2);
  mien_session_destroy(s);
  mien_plan_close(plan);
  mien_error error = {0};
  plan = golden_plan(0.5, 0.25);
  s = open_session(plan, 1);
  count = 3;
  assert_int_equal(mien_session_check(s, rows, &count, &error), MIEN_MISMATCH);
  assert_non_null(strstr(error.message, "'hidden' differs by 0.5"));
  assert_true(count == 2 && rows[0].good && !rows[1].good && fabs(rows[1].max_abs - 0.5) < 1e-6);
  mien_session_destroy(s);
  mien_plan_close(plan);
  plan = golden_plan(0.2, 0.25);
  s = open_session(plan, 1);
  assert_int_equal(mien_session_check(s, rows, &count, NULL), MIEN_OK);
  mien_session_destroy(s);
  mien_plan_close(plan);
  plan = golden_plan((double)NAN, 1);
  s = open_session(plan, 1);
  assert_int_equal(mien_session_check(s, rows, &count, NULL), MIEN_MISMATCH);
  mien_session_destroy(s);
  mien_plan_close(plan);
  plan = small_plan();
  s = open_session(plan, 1);
  assert_int_equal(mien_session_check(s, rows, &count, &error), MIEN_UNSUPPORTED);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* ---- threads, processes, memory */

static void *run_own_session(void *context) {
  mien_plan *plan = context;
  mien_session *s = NULL;
  if (mien_session_create(plan, &(mien_session_options){.threads = 2}, &s, NULL) != MIEN_OK) return "create";
  static float x[64 * 6];
  float y[64 * 6];
  void *bad = NULL;
  for (int64_t n = 1; n < 60 && !bad; n++) {
    mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(n, 2, 3), x), out = bind("y", MIEN_F32, 2, PB_DIMS(n, 6), y);
    memset(y, 0x7f, sizeof y);
    if (mien_session_run(s, &in, 1, &out, 1, NULL) != MIEN_OK) bad = "run";
    for (int64_t i = 0; i < n * 6; i++)
      if (y[i] != 0) bad = "result";
    if (!strstr(mien_plan_json(plan), "\"inputs\"")) bad = "json";
  }
  mien_session_destroy(s);
  return bad;
}

static void four_sessions_on_one_plan(void **state) {
  (void)state;
  mien_plan *plan = batch_plan();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, run_own_session, plan), 0);
  for (int i = 0; i < 4; i++) {
    void *bad;
    pthread_join(threads[i], &bad);
    if (bad) fail_msg("%s", (char *)bad);
  }
  mien_plan_close(plan);
}

static void a_forked_child_is_told(void **state) {
  (void)state;
  if (MIEN_TEST_TSAN) skip(); /* cannot start threads after a fork */
  mien_plan *plan = small_plan();
  mien_session *s = open_session(plan, 2);
  float x[6] = {0};
  mien_binding in = bind("x", MIEN_F32, 2, PB_DIMS(2, 3), x), out = {.name = "y"};
  run(s, &in, 1, &out, 1);
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    mien_error error = {0};
    bool good = mien_session_run(s, &in, 1, &out, 1, &error) == MIEN_INVALID_ARGUMENT && strstr(error.message, "fork");
    mien_session *own = NULL;
    good = good && mien_session_create(plan, &(mien_session_options){.threads = 2}, &own, NULL) == MIEN_OK;
    out.tensor.data = NULL;
    good = good && mien_session_run(own, &in, 1, &out, 1, NULL) == MIEN_OK;
    mien_session_destroy(own);
    mien_session_destroy(s);
    _exit(good ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  out.tensor.data = NULL;
  run(s, &in, 1, &out, 1);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

typedef struct {
  long left, alive; /* allocations until one fails; -1: never */
  bool once, refused;
} counter;

static void *counting_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  counter *c = context;
  (void)old_size;
  if (new_size == 0) {
    c->alive -= pointer != NULL;
    free(pointer);
    return NULL;
  }
  if (c->left == 0) {
    if (c->once) c->left = -1;
    c->refused = true;
    return NULL;
  }
  if (c->left > 0) c->left--;
  c->alive += pointer == NULL;
  return realloc(pointer, new_size);
}

/* Open, create, keep, run on known and on data-dependent sizes, check, JSON. */
static mien_status whole_life(mien_env *own, const uint8_t *file, size_t size, const uint8_t *other,
                              size_t other_size) {
  static float x[12] = {1, 0, 2};
  static int64_t shape[2] = {2, 3};
  mien_plan *plan = NULL;
  mien_session *s = NULL;
  mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(2, 2, 3), x), out[2] = {{.name = "y"}, {.name = "shape"}};
  mien_status status = mien_plan_open_memory(own, file, size, 0, &plan, NULL);
  if (status == MIEN_OK) status = mien_session_create(plan, &(mien_session_options){.threads = 2}, &s, NULL);
  if (status == MIEN_OK) status = mien_session_run(s, &in, 1, out, 2, NULL);
  if (status == MIEN_OK) status = mien_session_keep(s, (const char *const[]){"x"}, 1, NULL);
  if (status == MIEN_OK) status = mien_session_run(s, &in, 1, out, 2, NULL);
  mien_session_destroy(s);
  mien_plan_close(plan);
  if (status != MIEN_OK) return status;
  plan = NULL;
  s = NULL;
  mien_binding dynamic_in[2] = {bind("x", MIEN_F32, 1, PB_DIMS(6), x), bind("shape", MIEN_I64, 1, PB_DIMS(2), shape)};
  out[0] = (mien_binding){.name = "twice"};
  out[1] = (mien_binding){.name = "reshaped"};
  status = mien_plan_open_memory(own, other, other_size, 0, &plan, NULL);
  if (status == MIEN_OK) status = mien_session_create(plan, &(mien_session_options){.threads = 1}, &s, NULL);
  if (status == MIEN_OK) status = mien_session_run(s, dynamic_in, 2, out, 2, NULL);
  mien_session_destroy(s);
  mien_plan_close(plan);
  return status;
}

static void every_failing_allocation_is_reported(void **state) {
  (void)state;
  pb b, d;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 3, PB_DIMS(-1, 2, 3));
  uint32_t shape = pb_node(&b, "Shape", 13, PB_IDS(x));
  pb_output(&b, "y", pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Reshape", 14, PB_IDS(x, shape)))), MIEN_F32, 3,
            PB_DIMS(-1, 2, 3));
  pb_output(&b, "shape", shape, MIEN_I64, 1, PB_DIMS(3));
  pb_init(&d);
  uint32_t dx = pb_input(&d, "x", MIEN_F32, 1, PB_DIMS(6)), ds = pb_input(&d, "shape", MIEN_I64, 1, PB_DIMS(2));
  uint32_t found = pb_node(&d, "NonZero", 13, PB_IDS(dx));
  pb_output(&d, "twice", pb_node(&d, "Add", 14, PB_IDS(found, found)), MIEN_I64, 2, PB_DIMS(1, -1));
  pb_output(&d, "reshaped", pb_node(&d, "Reshape", 14, PB_IDS(dx, ds)), MIEN_F32, 2, PB_DIMS(-1, -1));
  size_t size, other_size;
  uint8_t *file = pb_pack(&b, &size), *other = pb_pack(&d, &other_size);
  counter c = {.left = -1};
  mien_env *own;
  assert_int_equal(mien_env_create(&(mien_env_options){.alloc = counting_alloc, .alloc_context = &c}, &own, NULL),
                   MIEN_OK);
  long before = c.alive;
  assert_int_equal(whole_life(own, file, size, other, other_size), MIEN_OK);
  assert_int_equal(c.alive, before);
  for (int once = 0; once < 2; once++) {
    long k = 0;
    do {
      c = (counter){.left = k, .alive = before, .once = once};
      mien_status status = whole_life(own, file, size, other, other_size);
      assert_int_equal(status, c.refused ? MIEN_NO_MEMORY : MIEN_OK);
      assert_int_equal(c.alive, before);
    } while (c.refused && ++k < 5000);
    assert_true(k > 40 && k < 5000);
    c.left = -1;
  }
  assert_int_equal(whole_life(own, file, size, other, other_size), MIEN_OK);
  mien_env_destroy(own);
  free(file);
  free(other);
  pb_free(&b);
  pb_free(&d);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(golden_values_are_compared), cmocka_unit_test(four_sessions_on_one_plan),
      cmocka_unit_test(a_forked_child_is_told), cmocka_unit_test(every_failing_allocation_is_reported)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
