/* tests/runtime/session_test.h -- what the tests of sessions share: an env, two small plans, calls that must succeed. */
#ifndef MIEN_SESSION_TEST_H
#define MIEN_SESSION_TEST_H

#include "plan_builder.h"
#include "session.h"

static mien_env *env;

static inline int setup(void **state) {
  (void)state;
  return mien_env_create(NULL, &env, NULL) != MIEN_OK;
}

static inline int teardown(void **state) {
  (void)state;
  mien_env_destroy(env);
  return 0;
}

static inline mien_plan *open_plan(const pb *b) {
  mien_plan *plan = NULL;
  mien_error error = {0};
  if (pb_open(b, env, 0, &plan, &error) != MIEN_OK) fail_msg("%s", error.message);
  return plan;
}

static inline mien_session *open_session(mien_plan *plan, int threads) {
  mien_session *session = NULL;
  mien_error error = {0};
  if (mien_session_create(plan, &(mien_session_options){.threads = threads}, &session, &error) != MIEN_OK)
    fail_msg("%s", error.message);
  return session;
}

static inline mien_binding bind(const char *name, int32_t dtype, int rank, const int64_t *dims, void *data) {
  mien_binding b = {.name = name, .tensor = {.type = {.dtype = dtype, .rank = rank}, .data = data}};
  b.tensor.bytes = mien_dtype_bytes(dtype);
  for (int d = 0; d < rank; d++) {
    b.tensor.type.dim[d] = dims[d];
    b.tensor.bytes *= (size_t)dims[d];
  }
  return b;
}

static inline void run(mien_session *s, const mien_binding *in, size_t in_count, mien_binding *out, size_t out_count) {
  mien_error error = {0};
  if (mien_session_run(s, in, in_count, out, out_count, &error) != MIEN_OK) fail_msg("%s", error.message);
}

static inline void run_fails(mien_session *s, const mien_binding *in, size_t in_count, mien_binding *out,
                             size_t out_count, mien_status expected, const char *text) {
  mien_error error = {0};
  assert_int_equal(mien_session_run(s, in, in_count, out, out_count, &error), expected);
  if (!strstr(error.message, text)) fail_msg("'%s' lacks '%s'", error.message, text);
}

/* y = Relu(x + c), z = -y */
static inline mien_plan *small_plan(void) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(2, 3));
  uint32_t c = pb_constant(&b, MIEN_F32, 1, PB_DIMS(3), (const float[]){1, 0, -1});
  uint32_t y = pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Add", 14, PB_IDS(x, c))));
  pb_output(&b, "y", y, MIEN_F32, 2, PB_DIMS(2, 3));
  pb_output(&b, "z", pb_node(&b, "Neg", 13, PB_IDS(y)), MIEN_F32, 2, PB_DIMS(2, 3));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

/* y = Reshape(x, Concat(Shape(x)[0:1], [-1])) + x flattened: shape arithmetic over a symbolic batch. */
static inline mien_plan *batch_plan(void) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 3, PB_DIMS(-1, 2, 3));
  uint32_t zero = pb_constant(&b, MIEN_I64, 1, PB_DIMS(1), (const int64_t[]){0});
  uint32_t open = pb_constant(&b, MIEN_I64, 1, PB_DIMS(1), (const int64_t[]){-1});
  uint32_t batch = pb_node(&b, "Gather", 13, PB_IDS(pb_node(&b, "Shape", 13, PB_IDS(x)), zero));
  uint32_t shape = pb_node(&b, "Concat", 13, PB_IDS(batch, open));
  pb_attribute(&b, pb_last(&b), "axis", 'i');
  uint32_t y = pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Reshape", 14, PB_IDS(x, shape))));
  pb_output(&b, "y", y, MIEN_F32, 2, PB_DIMS(-1, 6));
  pb_output(&b, "shape", shape, MIEN_I64, 1, PB_DIMS(2));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

#endif
