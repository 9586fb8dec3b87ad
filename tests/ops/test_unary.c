/* Unary elementwise operators against independent formulas in double. */
#include "elementwise.h"
#include "isa.h"

#define FLOATS \
  { MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16 }

typedef struct row {
  const char *name;
  int version;
  double (*want)(double x);
  double low, high; /* of random elements */
  const char *attr[2];
  float value[2];
} row;

static double sign_of(double x) { return (x > 0) - (x < 0); }
static double reciprocal(double x) { return 1 / x; }
static double relu(double x) { return x > 0 ? x : 0; }
static double leaky(double x) { return x >= 0 ? x : (double)0.25f * x; }
static double sigmoid(double x) { return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)); }
static double softplus(double x) { return x > 30 ? x : log(1 + exp(x)); }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double elu(double x) { return x >= 0 ? x : 2.0 * (exp(x) - 1); }
static double selu(double x) {
  return 1.05070102214813232421875 * (x > 0 ? x : 1.67326319217681884765625 * (exp(x) - 1));
}
static double celu(double x) { return fmax(0, x) + fmin(0, 0.5 * (exp(x / 0.5) - 1)); }
static double hard_sigmoid(double x) { return fmax(0, fmin(1, (double)0.2f * x + 0.5)); }
static double hard_sigmoid_set(double x) { return fmax(0, fmin(1, 0.5 * x + 0.25)); }
static double hard_swish(double x) { return x * fmax(0, fmin(1, x / 6 + 0.5)); }
static double thresholded(double x) { return x > 0.5 ? x : 0; }
static double gelu(double x) { return 0.5 * x * (1 + erf(x / sqrt(2))); }
static double mish(double x) { return x * tanh(softplus(x)); }
static double negative(double x) { return -x; }
static double even(double x) { return nearbyint(x); }

static const row rows[] = {
    {.name = "Abs", .version = 13, .want = fabs, .low = -9, .high = 9},
    {.name = "Neg", .version = 13, .want = negative, .low = -9, .high = 9},
    {.name = "Sign", .version = 13, .want = sign_of, .low = -3, .high = 3},
    {.name = "Floor", .version = 13, .want = floor, .low = -9, .high = 9},
    {.name = "Ceil", .version = 13, .want = ceil, .low = -9, .high = 9},
    {.name = "Round", .version = 11, .want = even, .low = -9, .high = 9},
    {.name = "Sqrt", .version = 13, .want = sqrt, .low = 0, .high = 90},
    {.name = "Exp", .version = 13, .want = exp, .low = -6, .high = 6},
    {.name = "Log", .version = 13, .want = log, .low = 0.1, .high = 90},
    {.name = "Reciprocal", .version = 13, .want = reciprocal, .low = 0.1, .high = 9},
    {.name = "Relu", .version = 14, .want = relu, .low = -5, .high = 5},
    {.name = "LeakyRelu", .version = 16, .want = leaky, .low = -5, .high = 5, .attr = {"alpha"}, .value = {0.25f}},
    {.name = "Sigmoid", .version = 13, .want = sigmoid, .low = -8, .high = 8},
    {.name = "Tanh", .version = 13, .want = tanh, .low = -4, .high = 4},
    {.name = "Erf", .version = 13, .want = erf, .low = -3, .high = 3},
    {.name = "Softplus", .version = 1, .want = softplus, .low = -20, .high = 20},
    {.name = "Softsign", .version = 1, .want = softsign, .low = -9, .high = 9},
    {.name = "Elu", .version = 6, .want = elu, .low = -5, .high = 5, .attr = {"alpha"}, .value = {2}},
    {.name = "Selu", .version = 6, .want = selu, .low = -5, .high = 5},
    {.name = "Celu", .version = 12, .want = celu, .low = -5, .high = 5, .attr = {"alpha"}, .value = {0.5f}},
    {.name = "HardSigmoid", .version = 6, .want = hard_sigmoid, .low = -5, .high = 5},
    {.name = "HardSigmoid",
     .version = 22,
     .want = hard_sigmoid_set,
     .low = -5,
     .high = 5,
     .attr = {"alpha", "beta"},
     .value = {0.5f, 0.25f}},
    {.name = "HardSwish", .version = 14, .want = hard_swish, .low = -5, .high = 5},
    {.name = "ThresholdedRelu",
     .version = 10,
     .want = thresholded,
     .low = -2,
     .high = 2,
     .attr = {"alpha"},
     .value = {0.5f}},
    {.name = "Gelu", .version = 20, .want = gelu, .low = -4, .high = 4},
    {.name = "Mish", .version = 18, .want = mish, .low = -6, .high = 6},
    {.name = "Sin", .version = 7, .want = sin, .low = -6, .high = 6},
    {.name = "Cos", .version = 7, .want = cos, .low = -6, .high = 6},
    {.name = "Tan", .version = 7, .want = tan, .low = -1.4, .high = 1.4},
    {.name = "Asin", .version = 7, .want = asin, .low = -1, .high = 1},
    {.name = "Acos", .version = 7, .want = acos, .low = -1, .high = 1},
    {.name = "Atan", .version = 7, .want = atan, .low = -9, .high = 9},
    {.name = "Sinh", .version = 9, .want = sinh, .low = -4, .high = 4},
    {.name = "Cosh", .version = 9, .want = cosh, .low = -4, .high = 4},
    {.name = "Asinh", .version = 9, .want = asinh, .low = -9, .high = 9},
    {.name = "Acosh", .version = 9, .want = acosh, .low = 1, .high = 9},
    {.name = "Atanh", .version = 9, .want = atanh, .low = -0.9, .high = 0.9},
};

static const shape shapes[] = {{0, {0}},    {1, {0}},    {1, {1}},    {1, {3}},          {1, {17}},
                               {1, {1031}}, {2, {4, 0}}, {2, {3, 5}}, {4, {1, 2, 3, 1}}, {5, {2, 1, 2, 2, 9}}};

static void call_for(op_call *c, const row *r) {
  *c = (op_call){.name = r->name, .version = r->version};
  for (int a = 0; a < 2; a++)
    if (r->attr[a]) op_attr_f(c, r->attr[a], r->value[a]);
}

static void test_values(void **state) {
  static const int32_t types[] = FLOATS;
  uint64_t seed = 42;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
    for (size_t t = 0; t < 4; t++)
      for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
        for (int in_place = 0; in_place < 2; in_place++) {
          op_call c;
          call_for(&c, &rows[k]);
          c.in_place = in_place;
          c.threads = s == 5 ? 3 : 0;
          random_in(&c, types[t], &shapes[s], &seed, rows[k].low, rows[k].high);
          op_run_ok(*state, &c);
          assert_int_equal(c.out[0].type.dtype, types[t]);
          assert_int_equal(c.out[0].type.rank, shapes[s].rank);
          for (int64_t i = 0; i < shape_count(&shapes[s]); i++)
            expect_near(&c, i, at(&c.out[0], i), rows[k].want(at(&c.in[0], i)), 3 * precision(types[t]),
                        3 * precision(types[t]));
          op_free(&c);
        }
}

/* A vector's body and its tail must agree that NaN stays NaN and harms nobody else. */
static void test_nan_everywhere(void **state) {
  static const int32_t types[] = FLOATS;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
    for (size_t t = 0; t < 4; t++)
      for (int64_t length = 1; length <= 33; length++)
        for (int64_t nan = 0; nan < length; nan++) {
          op_call c;
          call_for(&c, &rows[k]);
          void *x = op_in(&c, types[t], 1, &length, NULL);
          for (int64_t i = 0; i < length; i++) store(x, types[t], i, i == nan ? NAN : 1);
          op_run_ok(*state, &c);
          for (int64_t i = 0; i < length; i++)
            expect_near(&c, i, at(&c.out[0], i), i == nan ? NAN : rows[k].want(1), 1e-2, 1e-2);
          op_free(&c);
        }
}

static void test_extremes(void **state) {
  static const struct {
    const char *name;
    double x, want;
  } cases[] = {
      {"Exp", 1000, INFINITY},
      {"Exp", -1000, 0},
      {"Exp", -INFINITY, 0},
      {"Log", 0, -INFINITY},
      {"Log", -1, NAN},
      {"Sqrt", -1, NAN},
      {"Sigmoid", 1000, 1},
      {"Sigmoid", -1000, 0},
      {"Sigmoid", -INFINITY, 0},
      {"Tanh", 1000, 1},
      {"Tanh", -INFINITY, -1},
      {"Softplus", 1000, 1000},
      {"Softplus", -1000, 0},
      {"Softplus", INFINITY, INFINITY},
      {"Mish", 1000, 1000},
      {"Relu", -INFINITY, 0},
      {"Relu", INFINITY, INFINITY},
      {"Reciprocal", 0, INFINITY},
      {"Abs", -INFINITY, INFINITY},
      {"Round", 0.5, 0},
      {"Round", 1.5, 2},
      {"Round", -2.5, -2},
      {"Erf", INFINITY, 1},
      {"Softsign", 1e30, 1},
      {"Gelu", 100, 100},
      {"Elu", -1000, -1},
      {"Acosh", 0.5, NAN},
      {"Asin", 2, NAN},
      {"Floor", -0.5, -1},
      {"Ceil", 0.5, 1},
      {"Sign", -INFINITY, -1},
      {"HardSigmoid", 1e30, 1},
  };
  static const int32_t types[] = {MIEN_F32, MIEN_F64};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
    for (size_t t = 0; t < 2; t++) {
      op_call c = {.name = cases[k].name, .version = 22};
      store(op_in(&c, types[t], 0, NULL, NULL), types[t], 0, cases[k].x);
      op_run_ok(*state, &c);
      expect_near(&c, 0, at(&c.out[0], 0), cases[k].want, 1e-6, 1e-6);
      op_free(&c);
    }
}

static void test_integers(void **state) {
  static const int32_t types[] = {MIEN_I8, MIEN_I16, MIEN_I32, MIEN_I64};
  static const double lowest[] = {-128, -32768, -2147483648.0, -9223372036854775808.0};
  static const char *names[] = {"Abs", "Neg", "Sign", "Relu"};
  for (size_t t = 0; t < 4; t++)
    for (size_t k = 0; k < 4; k++) {
      op_call c = {.name = names[k], .version = 14};
      void *x = op_in(&c, types[t], 1, OP_DIMS(4), NULL);
      store(x, types[t], 0, 5), store(x, types[t], 1, -7), store(x, types[t], 2, 0), store(x, types[t], 3, lowest[t]);
      op_run_ok(*state, &c);
      const double want[4][4] = {{5, 7, 0, lowest[t]}, {-5, 7, 0, lowest[t]}, {1, -1, 0, -1}, {5, 0, 0, 0}};
      op_expect(&c.out[0], want[k], 4, 0, 0);
      op_free(&c);
    }
  op_call c = {.name = "Sign", .version = 13};
  op_in(&c, MIEN_U8, 1, OP_DIMS(2), (uint8_t[]){0, 200});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){0, 1}, 2, 0, 0);
  op_free(&c);
}

static void test_truth(void **state) {
  op_call c = {.name = "Not", .version = 1};
  op_in(&c, MIEN_BOOL, 1, OP_DIMS(3), (uint8_t[]){0, 1, 2});
  op_run_ok(*state, &c);
  assert_memory_equal(c.out[0].data, ((uint8_t[]){1, 0, 0}), 3);
  op_free(&c);
  c = (op_call){.name = "IsNaN", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), (float[]){NAN, 1, INFINITY, -NAN});
  op_run_ok(*state, &c);
  assert_int_equal(c.out[0].type.dtype, MIEN_BOOL);
  assert_memory_equal(c.out[0].data, ((uint8_t[]){1, 0, 0, 1}), 4);
  op_free(&c);
  for (int positive = 0; positive < 2; positive++)
    for (int negative_too = 0; negative_too < 2; negative_too++) {
      c = (op_call){.name = "IsInf", .version = 10};
      op_attr_i(&c, "detect_positive", positive);
      op_attr_i(&c, "detect_negative", negative_too);
      op_in(&c, MIEN_F64, 1, OP_DIMS(4), (double[]){INFINITY, -INFINITY, NAN, 3});
      op_run_ok(*state, &c);
      assert_memory_equal(c.out[0].data, ((uint8_t[]){(uint8_t)positive, (uint8_t)negative_too, 0, 0}), 4);
      op_free(&c);
    }
  c = (op_call){.name = "BitwiseNot", .version = 18};
  op_in(&c, MIEN_I16, 1, OP_DIMS(3), (int16_t[]){0, -1, 0x0f0f});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){-1, 0, ~0x0f0f}, 3, 0, 0);
  op_free(&c);
}

static void test_gelu_tanh(void **state) {
  op_call c = {.name = "Gelu", .version = 20};
  uint64_t seed = 7;
  op_attr_s(&c, "approximate", "tanh");
  random_in(&c, MIEN_F32, &(shape){1, {100}}, &seed, -4, 4);
  op_run_ok(*state, &c);
  for (int64_t i = 0; i < 100; i++) {
    double x = at(&c.in[0], i);
    expect_near(&c, i, at(&c.out[0], i), 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))), 1e-6, 1e-6);
  }
  op_free(&c);
  c = (op_call){.name = "Gelu", .version = 20};
  op_attr_s(&c, "approximate", "maybe");
  random_in(&c, MIEN_F32, &(shape){1, {1}}, &seed, -4, 4);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "'maybe', expected 'none' or 'tanh'"));
  op_free(&c);
}

/* The f32 kernels of every instruction set, over their whole range. */
static void fast_kernels(mien_env *env) {
  static const struct {
    const char *name;
    double (*want)(double x);
    double low, high;
  } kernels[] = {{"Exp", exp, -87, 88},
                 {"Erf", erf, -5, 5},
                 {"Erf", erf, -0.6, 0.6},
                 {"Sigmoid", sigmoid, -80, 80},
                 {"Tanh", tanh, -10, 10}};
  for (size_t k = 0; k < sizeof kernels / sizeof *kernels; k++) {
    op_call c = {.name = kernels[k].name, .version = 13};
    float *x = op_in(&c, MIEN_F32, 1, OP_DIMS(100003), NULL);
    for (int64_t i = 0; i < 100003; i++)
      x[i] = (float)(kernels[k].low + (kernels[k].high - kernels[k].low) * (double)i / 100002);
    op_run_ok(env, &c);
    for (int64_t i = 0; i < 100003; i++) expect_near(&c, i, at(&c.out[0], i), kernels[k].want((double)x[i]), 0, 5e-7);
    op_free(&c);
  }
  const char *names[] = {"Exp", "Erf"};
  const double want[2][6] = {{INFINITY, 0, NAN, INFINITY, 0, 1}, {1, -1, NAN, 1, -1, 0}};
  for (int k = 0; k < 2; k++) {
    op_call c = {.name = names[k], .version = 13};
    op_in(&c, MIEN_F32, 1, OP_DIMS(6), (float[]){INFINITY, -INFINITY, NAN, 1e30f, -1e30f, 0});
    op_run_ok(env, &c);
    op_expect(&c.out[0], want[k], 6, 0, 0);
    op_free(&c);
  }
}

static void test_fast_kernels(void **state) {
  (void)state;
  isa_each(fast_kernels);
}

static void test_refused(void **state) {
  op_call c = {.name = "Sqrt", .version = 13};
  op_in(&c, MIEN_I32, 1, OP_DIMS(1), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  assert_non_null(strstr(c.error.message, "i32"));
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),       cmocka_unit_test(test_nan_everywhere),
                                     cmocka_unit_test(test_extremes),     cmocka_unit_test(test_integers),
                                     cmocka_unit_test(test_truth),        cmocka_unit_test(test_gelu_tanh),
                                     cmocka_unit_test(test_fast_kernels), cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
