/* Unique against a search of every slice by every other one: axes, orders, types, absent outputs, NaN and nothing at all. */
#include "tests/ops/elementwise.h"

/* -1, 0, 1: slice i before, as, after slice j; NaN is the largest. */
static int compare(const mien_tensor *x, int64_t outer, int64_t length, int64_t inner, int64_t i, int64_t j) {
  for (int64_t o = 0; o < outer; o++)
    for (int64_t e = 0; e < inner; e++) {
      const double u = at(x, (o * length + i) * inner + e), v = at(x, (o * length + j) * inner + e);
      if (isnan(u) || isnan(v)) {
        if (isnan(u) != isnan(v)) return isnan(u) ? 1 : -1;
      } else if (u != v) {
        return u < v ? -1 : 1;
      }
    }
  return 0;
}

enum { MOST = 64 };

typedef struct answer {
  int64_t found, first[MOST], slice_of[MOST], count[MOST];
} answer;

static answer expected(const mien_tensor *x, int64_t outer, int64_t length, int64_t inner, bool sorted) {
  answer a = {0};
  for (int64_t i = 0; i < length; i++) {
    int64_t k = 0;
    while (k < a.found && compare(x, outer, length, inner, a.first[k], i) != 0) k++;
    if (k == a.found) a.first[a.found++] = i;
  }
  for (int64_t k = 1; sorted && k < a.found; k++) /* insertion */
    for (int64_t j = k; j > 0 && compare(x, outer, length, inner, a.first[j], a.first[j - 1]) < 0; j--) {
      const int64_t t = a.first[j];
      a.first[j] = a.first[j - 1];
      a.first[j - 1] = t;
    }
  for (int64_t i = 0; i < length; i++) {
    while (compare(x, outer, length, inner, a.first[a.slice_of[i]], i) != 0) a.slice_of[i]++;
    a.count[a.slice_of[i]]++;
  }
  return a;
}

static void expect_list(const mien_tensor *t, const int64_t *want, int64_t count) {
  assert_int_equal(t->type.dtype, MIEN_I64);
  assert_int_equal(t->type.rank, 1);
  assert_int_equal(t->type.dim[0], count);
  for (int64_t i = 0; i < count; i++) assert_int_equal(((const int64_t *)t->data)[i], want[i]);
}

/* axis `rank`: none. Bit i of `unused`: output i is not asked for. */
static void check(mien_env *env, op_call *c, int axis, bool sorted, unsigned unused) {
  const mien_tensor *x = &c->in[0];
  int64_t outer = 1, length = mien_count(&x->type), inner = 1;
  *c = (op_call){.name = "Unique", .version = 13, .in = {*x}, .in_count = 1, .out_count = 4, .variable = {true}};
  for (int i = 0; i < 4; i++) c->unused_out[i] = unused >> i & 1;
  op_attr_i(c, "sorted", sorted);
  if (axis < x->type.rank) {
    op_attr_i(c, "axis", axis % 2 ? axis : axis - x->type.rank);
    length = x->type.dim[axis];
    for (int i = 0; i < axis; i++) outer *= x->type.dim[i];
    for (int i = axis + 1; i < x->type.rank; i++) inner *= x->type.dim[i];
  }
  const answer a = expected(x, outer, length, inner, sorted);
  op_run_ok(env, c);
  if (!c->unused_out[0]) {
    const mien_type *y = &c->out[0].type;
    assert_int_equal(y->rank, axis < x->type.rank ? x->type.rank : 1);
    assert_int_equal(mien_count(y), outer * a.found * inner);
    for (int64_t o = 0; o < outer; o++)
      for (int64_t k = 0; k < a.found; k++)
        for (int64_t e = 0; e < inner; e++)
          expect_near(c, o, at(&c->out[0], (o * a.found + k) * inner + e), at(x, (o * length + a.first[k]) * inner + e),
                      0, 0);
  }
  if (!c->unused_out[1]) expect_list(&c->out[1], a.first, a.found);
  if (!c->unused_out[2]) expect_list(&c->out[2], a.slice_of, length);
  if (!c->unused_out[3]) expect_list(&c->out[3], a.count, a.found);
  for (int i = 0; i < 4; i++) {
    free(c->out[i].data);
    c->out[i] = (mien_tensor){0};
  }
}

static void test_all(void **state) {
  static const shape shapes[] = {{1, {23}}, {2, {5, 3}}, {3, {2, 7, 1}}, {3, {3, 2, 4}},
                                 {1, {1}},  {0, {0}},    {1, {0}},       {2, {4, 0}}};
  static const int32_t dtypes[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16, MIEN_I8, MIEN_I64, MIEN_U8, MIEN_BOOL};
  uint64_t seed = 11;
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (size_t d = 0; d < sizeof dtypes / sizeof *dtypes; d++)
      for (int axis = 0; axis <= shapes[s].rank; axis++)
        for (unsigned way = 0; way < 6; way++) {
          op_call c = {0};
          void *data = op_in(&c, dtypes[d], shapes[s].rank, shapes[s].dim, NULL);
          for (int64_t i = 0; i < shape_count(&shapes[s]); i++)
            store(data, dtypes[d], i, floor(op_random(&seed, 0, way < 4 ? 3 : 40)));
          check(*state, &c, axis, way % 2, way == 4 ? 1 : way == 5 ? 14 : 0);
          op_free(&c);
        }
}

static void test_nan(void **state) {
  for (int sorted = 0; sorted < 2; sorted++) {
    op_call c = {0};
    op_in(&c, MIEN_F32, 1, OP_DIMS(8), (const float[]){NAN, 2, -0.0f, INFINITY, NAN, 0, -INFINITY, 2});
    check(*state, &c, 1, sorted, 0);
    op_free(&c);
  }
}

/* From the ONNX standard's own text. */
static void test_standard(void **state) {
  op_call c = {.name = "Unique", .version = 11, .out_count = 4};
  op_in(&c, MIEN_F32, 2, OP_DIMS(3, 3), (const float[]){1, 0, 0, 1, 0, 0, 2, 3, 4});
  op_attr_i(&c, "axis", 0);
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (const double[]){1, 0, 0, 2, 3, 4}, 6, 0, 0);
  op_expect(&c.out[1], (const double[]){0, 2}, 2, 0, 0);
  op_expect(&c.out[2], (const double[]){0, 0, 1}, 3, 0, 0);
  op_expect(&c.out[3], (const double[]){2, 1}, 2, 0, 0);
  op_free(&c);
}

static void test_refused(void **state) {
  op_call c = {.name = "Unique", .version = 11};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL);
  op_attr_i(&c, "axis", 1);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "axis is 1, expected -1 .. 0"));
  op_free(&c);
  c = (op_call){.name = "Unique", .version = 11};
  op_in(&c, MIEN_STRING, 1, OP_DIMS(0), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_all),
      cmocka_unit_test(test_nan),
      cmocka_unit_test(test_standard),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
