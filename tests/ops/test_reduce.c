/* Reductions, ArgMax, ArgMin and CumSum against plain loops in double. */
#include "elementwise.h"

#define FLOATS MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16
#define WIDE MIEN_I32, MIEN_I64, MIEN_U32, MIEN_U64

typedef struct row {
  const char *name;
  double first;
  double (*step)(double a, double x);
  double (*last)(double a, double count);
  int attr_version, input_version;
  double empty; /* of no elements, floats */
} row;

static double sum_step(double a, double x) { return a + x; }
static double prod_step(double a, double x) { return a * x; }
static double max_step(double a, double x) { return isnan(a) || isnan(x) ? NAN : fmax(a, x); }
static double min_step(double a, double x) { return isnan(a) || isnan(x) ? NAN : fmin(a, x); }
static double abs_step(double a, double x) { return a + fabs(x); }
static double square_step(double a, double x) { return a + x * x; }
static double exp_step(double a, double x) { return a + exp(x); }
static double same(double a, double count) { return (void)count, a; }
static double mean_last(double a, double count) { return a / count; }
static double root(double a, double count) { return (void)count, sqrt(a); }
static double log_last(double a, double count) { return (void)count, log(a); }

static const row rows[] = {
    {"ReduceSum", 0, sum_step, same, 11, 13, 0},
    {"ReduceMean", 0, sum_step, mean_last, 13, 18, NAN},
    {"ReduceProd", 1, prod_step, same, 13, 18, 1},
    {"ReduceMax", -INFINITY, max_step, same, 13, 18, -INFINITY},
    {"ReduceMin", INFINITY, min_step, same, 13, 20, INFINITY},
    {"ReduceL1", 0, abs_step, same, 13, 18, 0},
    {"ReduceL2", 0, square_step, root, 13, 18, 0},
    {"ReduceSumSquare", 0, square_step, same, 13, 18, 0},
    {"ReduceLogSum", 0, sum_step, log_last, 13, 18, -INFINITY},
    {"ReduceLogSumExp", 0, exp_step, log_last, 13, 18, -INFINITY},
};
#define ROWS (sizeof rows / sizeof *rows)

typedef struct reducing {
  shape x;
  int axis_count;
  int64_t axes[4];
} reducing;

static const reducing cases[] = {
    {{0, {0}}, 0, {0}},
    {{1, {1}}, 1, {0}},
    {{1, {37}}, 1, {-1}},
    {{1, {1000}}, 0, {0}},
    {{2, {5, 9}}, 1, {0}},
    {{2, {5, 9}}, 1, {1}},
    {{2, {3, 70}}, 1, {-2}},
    {{3, {4, 5, 6}}, 1, {1}},
    {{3, {4, 5, 6}}, 2, {0, 2}},
    {{3, {4, 5, 6}}, 2, {2, 1}},
    {{4, {2, 3, 4, 5}}, 2, {1, 3}},
    {{4, {2, 3, 4, 5}}, 2, {0, 2}},
    {{4, {1, 3, 1, 5}}, 2, {0, 2}},
    {{5, {2, 2, 3, 2, 3}}, 3, {0, 2, 4}},
    {{2, {3, 0}}, 1, {1}},
    {{2, {0, 3}}, 1, {1}},
    {{2, {0, 3}}, 0, {0}},
};

static bool is_reduced(const reducing *r, int d) {
  if (r->axis_count == 0) return true;
  for (int i = 0; i < r->axis_count; i++)
    if ((r->axes[i] + r->x.rank) % r->x.rank == d) return true;
  return false;
}

/* Output element of input element i, with reduced dimensions counted as 1. */
static int64_t set_of(const reducing *r, int64_t i) {
  int64_t set = 0, stride = 1;
  for (int d = r->x.rank - 1; d >= 0; d--) {
    int64_t at_d = i % r->x.dim[d];
    i /= r->x.dim[d];
    if (is_reduced(r, d)) continue;
    set += at_d * stride;
    stride *= r->x.dim[d];
  }
  return set;
}

static void give_axes(op_call *c, const reducing *r, bool as_input, bool keep) {
  op_attr_i(c, "keepdims", keep);
  if (r->axis_count == 0) return;
  if (!as_input) {
    op_attr_ints(c, "axes", r->axes, r->axis_count);
    return;
  }
  op_in(c, MIEN_I64, 1, OP_DIMS(r->axis_count), r->axes);
}

static void check_reduction(void *env, const row *w, const reducing *r, int32_t type, bool as_input, bool keep,
                            uint64_t *seed) {
  op_call c = {.name = w->name, .version = as_input ? w->input_version : w->attr_version, .threads = keep ? 2 : 0};
  double low = strstr(w->name, "Log") ? 1 : -2;
  random_in(&c, type, &r->x, seed, low, 3);
  give_axes(&c, r, as_input, keep);
  op_run_ok(env, &c);
  const int64_t count = shape_count(&r->x), sets = mien_count(&c.out[0].type);
  int kept = 0;
  for (int d = 0; d < r->x.rank; d++)
    if (!is_reduced(r, d))
      assert_int_equal(c.out[0].type.dim[keep ? d : kept], r->x.dim[d]), kept++;
    else if (keep)
      assert_int_equal(c.out[0].type.dim[d], 1);
  assert_int_equal(c.out[0].type.rank, keep ? r->x.rank : kept);
  for (int64_t s = 0; s < sets; s++) {
    double a = w->first, elements = 0;
    for (int64_t i = 0; i < count; i++)
      if (set_of(r, i) == s) a = w->step(a, at(&c.in[0], i)), elements++;
    double want = elements ? w->last(a, elements) : w->empty;
    if (!is_float(type)) {
      if (elements == 0) continue; /* below */
      want = trunc(want);
    }
    if (type == MIEN_F16 && fabs(want) > 65000) continue;
    expect_near(&c, s, at(&c.out[0], s), want, precision(type), is_float(type) ? 2 * precision(type) : 0);
  }
  op_free(&c);
}

static void test_values(void **state) {
  static const int32_t types[] = {FLOATS, WIDE};
  uint64_t seed = 23;
  for (size_t w = 0; w < ROWS; w++)
    for (size_t t = 0; t < 8; t++)
      for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int form = 0; form < 4; form++) {
          bool long_product = strcmp(rows[w].name, "ReduceProd") == 0 && shape_count(&cases[k].x) > 30;
          if (long_product) continue;
          check_reduction(*state, &rows[w], &cases[k], types[t], form & 1, form & 2, &seed);
        }
}

static void test_empty_integers(void **state) {
  static const struct {
    const char *name;
    int64_t want;
  } want[] = {
      {"ReduceSum", 0}, {"ReduceProd", 1}, {"ReduceMax", INT64_MIN}, {"ReduceMin", INT64_MAX}, {"ReduceMean", 0}};
  for (size_t k = 0; k < 5; k++) {
    op_call c = {.name = want[k].name, .version = 20};
    op_in(&c, MIEN_I64, 2, OP_DIMS(2, 0), NULL), op_in(&c, MIEN_I64, 1, OP_DIMS(1), (int64_t[]){1});
    op_run_ok(*state, &c);
    for (int i = 0; i < 2; i++) assert_true(((int64_t *)c.out[0].data)[i] == want[k].want);
    op_free(&c);
  }
}

/* noop_with_empty_axes: every element is a set of its own, and the rest of the operator still happens. */
static void test_noop(void **state) {
  static const double want[ROWS][2] = {
      {4, -3}, {4, -3}, {4, -3}, {4, -3}, {4, -3}, {4, 3}, {4, 3}, {16, 9}, {1.3862943611, NAN}, {4, -3}};
  for (size_t w = 0; w < ROWS; w++)
    for (int given = 0; given < 2; given++) {
      op_call c = {.name = rows[w].name, .version = 20};
      op_attr_i(&c, "noop_with_empty_axes", 1);
      op_in(&c, MIEN_F32, 1, OP_DIMS(2), (float[]){4, -3});
      if (given) op_in(&c, MIEN_I64, 1, OP_DIMS(0), NULL);
      op_run_ok(*state, &c);
      op_expect(&c.out[0], want[w], 2, 1e-6, 1e-6);
      op_free(&c);
    }
}

static void test_nan_everywhere(void **state) {
  for (size_t w = 0; w < ROWS; w++)
    for (int64_t length = 1; length <= 33; length++)
      for (int64_t nan = 0; nan < length; nan++)
        for (int across = 0; across < 2; across++) {
          op_call c = {.name = rows[w].name, .version = 11};
          op_attr_ints(&c, "axes", OP_DIMS(across ? 0 : 1), 1);
          float *x = op_in(&c, MIEN_F32, 2, across ? OP_DIMS(length, 3) : OP_DIMS(3, length), NULL);
          for (int64_t i = 0; i < 3 * length; i++) x[i] = 1;
          x[across ? nan * 3 + 1 : length + nan] = NAN;
          op_run_ok(*state, &c);
          for (int i = 0; i < 3; i++) assert_int_equal(isnan(((float *)c.out[0].data)[i]) != 0, i == 1);
          op_free(&c);
        }
}

/* A million equal numbers in float would lose digits if they were simply added up. */
static void test_accuracy(void **state) {
  for (int across = 0; across < 2; across++) {
    op_call c = {.name = "ReduceMean", .version = 13};
    op_attr_ints(&c, "axes", OP_DIMS(across ? 0 : 1), 1);
    float *x = op_in(&c, MIEN_F32, 2, across ? OP_DIMS(1000000, 2) : OP_DIMS(2, 1000000), NULL);
    for (int64_t i = 0; i < 2000000; i++) x[i] = 0.1f;
    op_run_ok(*state, &c);
    op_expect(&c.out[0], (double[]){(double)0.1f, (double)0.1f}, 2, 0, 1e-7);
    op_free(&c);
  }
  op_call c = {.name = "ReduceLogSumExp", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), (float[]){1000, 1000, -INFINITY});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){1000 + log(2)}, 1, 0, 1e-6);
  op_free(&c);
  c = (op_call){.name = "ReduceLogSumExp", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), (float[]){1, INFINITY, INFINITY});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){INFINITY}, 1, 0, 0);
  op_free(&c);
}

static void test_refused(void **state) {
  static const struct {
    int64_t axes[2];
    int count;
    const char *text;
  } bad[] = {{{2, 0}, 1, "axis is 2, expected -2 .. 1"}, {{-3, 0}, 1, "axis is -3"}, {{1, -1}, 2, "given twice"}};
  for (size_t k = 0; k < 3; k++)
    for (int as_input = 0; as_input < 2; as_input++) {
      op_call c = {.name = "ReduceMax", .version = as_input ? 20 : 13};
      op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
      if (as_input)
        op_in(&c, MIEN_I64, 1, OP_DIMS(bad[k].count), bad[k].axes);
      else
        op_attr_ints(&c, "axes", bad[k].axes, bad[k].count);
      assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
      assert_non_null(strstr(c.error.message, bad[k].text));
      op_free(&c);
    }
  op_call c = {.name = "ArgMax", .version = 13};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 0), NULL);
  op_attr_i(&c, "axis", 1);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "no elements to choose from"));
  op_free(&c);
}

static void check_arg(void *env, bool max, int32_t type, const shape *s, int axis, bool last, uint64_t *seed) {
  op_call c = {.name = max ? "ArgMax" : "ArgMin", .version = 13};
  op_attr_i(&c, "axis", axis);
  op_attr_i(&c, "select_last_index", last);
  random_in(&c, type, s, seed, 0, 4); /* many equal ones among integers */
  op_run_ok(env, &c);
  int64_t inner = 1, length = s->dim[axis];
  for (int d = axis + 1; d < s->rank; d++) inner *= s->dim[d];
  assert_int_equal(c.out[0].type.dtype, MIEN_I64);
  for (int64_t o = 0; o < mien_count(&c.out[0].type); o++) {
    int64_t base = o / inner * inner * length + o % inner, best = 0;
    for (int64_t i = 1; i < length; i++) {
      double x = at(&c.in[0], base + i * inner), b = at(&c.in[0], base + best * inner);
      if ((max ? x > b : x < b) || (last && x == b)) best = i;
    }
    assert_int_equal(((int64_t *)c.out[0].data)[o], best);
  }
  op_free(&c);
}

static void test_arg(void **state) {
  static const int32_t types[] = {FLOATS, WIDE, MIEN_I8, MIEN_U8, MIEN_I16, MIEN_U16};
  static const shape shapes[] = {{1, {1}}, {1, {33}}, {2, {5, 7}}, {3, {3, 4, 5}}, {3, {2, 9, 1}}};
  uint64_t seed = 31;
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (size_t s = 0; s < 5; s++)
      for (int axis = 0; axis < shapes[s].rank; axis++)
        for (int form = 0; form < 4; form++) check_arg(*state, form & 1, types[t], &shapes[s], axis, form & 2, &seed);
  for (int last = 0; last < 2; last++) {
    op_call c = {.name = "ArgMin", .version = 13};
    op_attr_i(&c, "select_last_index", last);
    op_in(&c, MIEN_F32, 1, OP_DIMS(5), (float[]){1, NAN, 0, NAN, 2});
    op_run_ok(*state, &c);
    assert_int_equal(*(int64_t *)c.out[0].data, last ? 3 : 1);
    op_free(&c);
  }
}

static void test_cum_sum(void **state) {
  static const int32_t types[] = {FLOATS, WIDE};
  static const shape s = {3, {3, 5, 4}};
  uint64_t seed = 37;
  for (size_t t = 0; t < 8; t++)
    for (int form = 0; form < 24; form++) {
      const bool exclusive = form & 1, reverse = form & 2, in_place = form & 4;
      const int axis = form / 8;
      op_call c = {.name = "CumSum", .version = 14, .in_place = in_place};
      op_attr_i(&c, "exclusive", exclusive);
      op_attr_i(&c, "reverse", reverse);
      random_in(&c, types[t], &s, &seed, 0, 5);
      op_in(&c, MIEN_I32, 0, NULL, (int32_t[]){axis - (form % 8 == 3 ? 3 : 0)});
      op_run_ok(*state, &c);
      const int64_t inner = axis == 0 ? 20 : axis == 1 ? 4 : 1, length = s.dim[axis];
      for (int64_t i = 0; i < 60; i++) {
        const int64_t here = i / inner % length, base = i - here * inner;
        double want = 0;
        for (int64_t k = 0; k < length; k++)
          if ((reverse ? k > here : k < here) || (k == here && !exclusive)) want += at(&c.in[0], base + k * inner);
        expect_near(&c, i, at(&c.out[0], i), want, 0, precision(types[t]));
      }
      op_free(&c);
    }
  op_call c = {.name = "CumSum", .version = 14};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL), op_in(&c, MIEN_I64, 0, NULL, (int64_t[]){1});
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),   cmocka_unit_test(test_empty_integers),
                                     cmocka_unit_test(test_noop),     cmocka_unit_test(test_nan_everywhere),
                                     cmocka_unit_test(test_accuracy), cmocka_unit_test(test_refused),
                                     cmocka_unit_test(test_arg),      cmocka_unit_test(test_cum_sum)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
