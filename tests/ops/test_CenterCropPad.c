/* CenterCropPad against the standard's own function: a Slice from the middle, then a Pad on both sides. */
#include "tests/ops/elementwise.h"

/* -1: outside. */
static int64_t source(int64_t at, int64_t x, int64_t y) {
  if (x >= y) return at + (int64_t)floor((double)(x - y) / 2);
  at -= (int64_t)floor((double)(y - x) / 2);
  return at >= 0 && at < x ? at : -1;
}

static double wanted(const mien_tensor *x, const int64_t *y, int64_t element) {
  int64_t index = 0, stride = 1;
  for (int i = x->type.rank - 1; i >= 0; i--) {
    const int64_t from = source(element % y[i], x->type.dim[i], y[i]);
    if (from < 0) return 0;
    index += from * stride;
    stride *= x->type.dim[i];
    element /= y[i];
  }
  return at(x, index);
}

static void check(mien_env *env, const shape *s, const int64_t *target, int32_t dtype, int64_t piece, bool some) {
  op_call c = {.name = "CenterCropPad", .version = 18, .piece = piece, .variable = {true}};
  int64_t axes[5], sizes[5], y[5];
  int count = 0;
  void *data = op_in(&c, dtype, s->rank, s->dim, NULL);
  for (int64_t i = 0; i < shape_count(s); i++) store(data, dtype, i, (double)(i % 100 + 1));
  for (int i = s->rank - 1; i >= 0; i--) y[i] = s->dim[i];
  for (int i = s->rank - 1; i >= 0; i--) {
    if (some && i % 2) continue;
    const int k = some ? count : i;
    axes[count] = count % 2 ? i : i - s->rank;
    count++;
    sizes[k] = y[i] = target[i];
  }
  op_in(&c, MIEN_I64, 1, OP_DIMS(count), sizes);
  if (some) op_attr_ints(&c, "axes", axes, count);
  op_run_ok(env, &c);
  assert_int_equal(c.out[0].type.rank, s->rank);
  for (int i = 0; i < s->rank; i++) assert_int_equal(c.out[0].type.dim[i], y[i]);
  for (int64_t i = 0; i < mien_count(&c.out[0].type); i++)
    expect_near(&c, i, at(&c.out[0], i), wanted(&c.in[0], y, i), 0, 0);
  op_free(&c);
}

static void test_all(void **state) {
  static const shape shapes[] = {{1, {7}}, {2, {5, 6}}, {3, {3, 1, 4}}, {3, {4, 5, 0}}, {0, {0}}};
  static const int32_t dtypes[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_U8, MIEN_I64};
  uint64_t seed = 5;
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (int round = 0; round < 60; round++) {
      int64_t target[5];
      for (int i = 0; i < 5; i++) target[i] = (int64_t)op_random(&seed, 0, 9);
      check(*state, &shapes[s], target, dtypes[round % 5], round % 4, shapes[s].rank && round % 3 == 0);
    }
}

static void test_refused(void **state) {
  static const struct {
    int64_t count, sizes[3], axes[3];
    int axis_count;
    const char *why;
  } rows[] = {{1, {4}, {0}, 0, "shape has 1 elements, expected 2"},
              {2, {4, -3}, {0}, 0, "shape[1] is -3"},
              {2, {4, 4}, {0, 2}, 2, "axis is 2, expected -2 .. 1"},
              {2, {4, 4}, {1, -1}, 2, "axis 1 is given twice"}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    op_call c = {.name = "CenterCropPad", .version = 18};
    op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
    op_in(&c, MIEN_I64, 1, &rows[i].count, rows[i].sizes);
    if (rows[i].axis_count) op_attr_ints(&c, "axes", rows[i].axes, rows[i].axis_count);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    if (!strstr(c.error.message, rows[i].why)) fail_msg("%s", c.error.message);
    op_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
