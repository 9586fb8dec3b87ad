/* NaN, infinities and subnormal numbers: an element has the same class of result wherever it lies, in a vector's body or in
** its tail, and the class that a plain loop in double precision gives; in products and norms subnormal numbers take no longer. Sums
** and means follow IEEE 754; a NaN among the operands of a maximum or minimum is the result (as in NumPy and torch; ONNX
** Runtime drops it in ReduceMax and MaxPool). Every instruction set. */
#include "ops/isa.h"

enum { LONGEST = 71 }; /* two vectors of the widest set and two lengths of tail */

static const float specials[] = {NAN, INFINITY, -INFINITY, 1e-40f, -1e-40f, 0.0f, -0.0f, 3e38f, -3e38f};
enum { SPECIALS = sizeof specials / sizeof *specials };

static bool same_class(float y, double want) {
  const float w = (float)want;
  return !isnan(y) == !isnan(w) && !isinf(y) == !isinf(w) && (!isinf(y) || y == w);
}

static void expect_class(const char *name, float y, double want, int64_t length, int64_t at, float x) {
  if (!same_class(y, want))
    print_error("%s of %g at %lld of %lld is %g, expected %g\n", name, (double)x, (long long)at, (long long)length,
                (double)y, want);
  assert_true(same_class(y, want));
}

/* ---- of each element by itself */

typedef struct unary {
  const char *domain, *name;
  int version;
  double (*f)(double x);
} unary;

static double relu(double x) { return x < 0 ? 0 : x; }
static double leaky(double x) { return x < 0 ? (double)0.01f * x : x; }
static double elu(double x) { return x < 0 ? expm1(x) : x; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double gelu(double x) { return 0.5 * x * erfc(-x * M_SQRT1_2); }
static double hard_sigmoid(double x) { return isnan(x) ? x : fmax(0, fmin(1, 0.2 * x + 0.5)); }
static double hard_swish(double x) { return isnan(x) ? x : x * fmax(0, fmin(1, x / 6 + 0.5)); }
static double softplus(double x) { return x > 50 ? x : log1p(exp(x)); }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double reciprocal(double x) { return 1 / x; }
static double negative(double x) { return -x; }
static double sign(double x) { return isnan(x) ? x : x > 0 ? 1 : x < 0 ? -1 : 0; }

static const unary unaries[] = {
    {"", "Relu", 14, relu},
    {"", "LeakyRelu", 16, leaky},
    {"", "Elu", 6, elu},
    {"", "Sigmoid", 13, sigmoid},
    {"", "Tanh", 13, tanh},
    {"", "Gelu", 20, gelu},
    {"", "HardSwish", 14, hard_swish},
    {"", "HardSigmoid", 6, hard_sigmoid},
    {"", "Softplus", 1, softplus},
    {"", "Softsign", 1, softsign},
    {"", "Exp", 13, exp},
    {"", "Log", 13, log},
    {"", "Sqrt", 13, sqrt},
    {"", "Erf", 13, erf},
    {"", "Reciprocal", 13, reciprocal},
    {"", "Neg", 13, negative},
    {"", "Abs", 13, fabs},
    {"", "Sign", 13, sign},
    {"", "Floor", 13, floor},
    {"", "Ceil", 13, ceil},
    {"", "Round", 11, rint},
};

static void unary_body(mien_env *env) {
  for (size_t k = 0; k < sizeof unaries / sizeof *unaries; k++)
    for (int64_t length = 1; length <= LONGEST; length += length < 34 ? 1 : 37) {
      op_call c = {.domain = unaries[k].domain, .name = unaries[k].name, .version = unaries[k].version};
      float *x = op_in(&c, MIEN_F32, 1, &length, NULL);
      for (int turn = 0; turn < SPECIALS; turn++) {
        for (int64_t i = 0; i < length; i++) x[i] = (i + turn) % 2 ? 0.5f : specials[(i / 2 + turn) % SPECIALS];
        op_run_ok(env, &c);
        const float *y = c.out[0].data;
        for (int64_t i = 0; i < length; i++) expect_class(c.name, y[i], unaries[k].f((double)x[i]), length, i, x[i]);
      }
      op_free(&c);
    }
}

typedef struct binary {
  const char *name;
  int version;
  double (*f)(double a, double b);
} binary;

static double add(double a, double b) { return a + b; }
static double subtract(double a, double b) { return a - b; }
static double multiply(double a, double b) { return a * b; }
static double divide(double a, double b) { return a / b; }
static double largest(double a, double b) { return isnan(a) ? a : isnan(b) ? b : a > b ? a : b; }
static double smallest(double a, double b) { return isnan(a) ? a : isnan(b) ? b : a < b ? a : b; }
static double prelu(double a, double b) { return a < 0 ? a * b : a; }

static const binary binaries[] = {{"Add", 14, add},    {"Sub", 14, subtract}, {"Mul", 14, multiply},
                                  {"Div", 14, divide}, {"Max", 13, largest},  {"Min", 13, smallest},
                                  {"PRelu", 16, prelu}};

/* b: as long, or one element for all. */
static void binary_body(mien_env *env) {
  for (size_t k = 0; k < sizeof binaries / sizeof *binaries; k++)
    for (int64_t length = 1; length <= LONGEST; length += length < 34 ? 3 : 37)
      for (int one = 0; one < 2; one++) {
        const int64_t other = one ? 1 : length;
        op_call c = {.name = binaries[k].name, .version = binaries[k].version};
        float *a = op_in(&c, MIEN_F32, 1, &length, NULL), *b = op_in(&c, MIEN_F32, 1, &other, NULL);
        for (int turn = 0; turn < SPECIALS; turn++) {
          for (int64_t i = 0; i < length; i++) a[i] = specials[i % SPECIALS];
          for (int64_t i = 0; i < other; i++) b[i] = specials[(i + i / SPECIALS + turn) % SPECIALS];
          op_run_ok(env, &c);
          const float *y = c.out[0].data;
          for (int64_t i = 0; i < length; i++)
            expect_class(c.name, y[i], (double)(float)binaries[k].f((double)a[i], (double)b[one ? 0 : i]), length, i,
                         a[i]);
        }
        op_free(&c);
      }
}

static void clip_body(mien_env *env) {
  for (int64_t length = 1; length <= LONGEST; length += length < 34 ? 1 : 37) {
    op_call c = {.name = "Clip", .version = 13};
    float *x = op_in(&c, MIEN_F32, 1, &length, NULL);
    op_in(&c, MIEN_F32, 0, NULL, (const float[]){-1});
    op_in(&c, MIEN_F32, 0, NULL, (const float[]){2});
    for (int64_t i = 0; i < length; i++) x[i] = specials[i % SPECIALS];
    op_run_ok(env, &c);
    const float *y = c.out[0].data;
    for (int64_t i = 0; i < length; i++)
      expect_class("Clip", y[i], isnan(x[i]) ? (double)NAN : fmax(-1, fmin(2, (double)x[i])), length, i, x[i]);
    op_free(&c);
  }
}

/* ---- of rows: one special value at each position */

typedef struct row_op {
  const char *name;
  int version;
  bool axes, whole; /* axes: axis 1 is input 1; whole: an output for each element */
  double (*f)(const float *x, int64_t count, int64_t at);
} row_op;

static double row_max(const float *x, int64_t count, int64_t at) {
  double y = (double)-INFINITY;
  (void)at;
  for (int64_t i = 0; i < count; i++) y = largest(y, (double)x[i]);
  return y;
}
static double row_min(const float *x, int64_t count, int64_t at) {
  double y = (double)INFINITY;
  (void)at;
  for (int64_t i = 0; i < count; i++) y = smallest(y, (double)x[i]);
  return y;
}
static double row_sum(const float *x, int64_t count, int64_t at) {
  double y = 0;
  (void)at;
  for (int64_t i = 0; i < count; i++) y += (double)x[i];
  return y;
}
static double row_mean(const float *x, int64_t count, int64_t at) { return row_sum(x, count, at) / (double)count; }
static double row_softmax(const float *x, int64_t count, int64_t at) {
  const double top = row_max(x, count, 0);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += exp((double)x[i] - top);
  return exp((double)x[at] - top) / sum;
}
static double row_log_softmax(const float *x, int64_t count, int64_t at) {
  const double top = row_max(x, count, 0);
  double sum = 0;
  for (int64_t i = 0; i < count; i++) sum += exp((double)x[i] - top);
  return (double)x[at] - top - log(sum);
}
static double row_layer_norm(const float *x, int64_t count, int64_t at) {
  const double mean = row_mean(x, count, 0);
  double squares = 0;
  for (int64_t i = 0; i < count; i++) squares += ((double)x[i] - mean) * ((double)x[i] - mean);
  return ((double)x[at] - mean) / sqrt(squares / (double)count + 1e-5);
}

static const row_op row_ops[] = {
    {"Softmax", 13, false, true, row_softmax},
    {"LogSoftmax", 13, false, true, row_log_softmax},
    {"LayerNormalization", 17, false, true, row_layer_norm},
    {"ReduceMax", 18, true, false, row_max},
    {"ReduceMin", 18, true, false, row_min},
    {"ReduceSum", 18, true, false, row_sum},
    {"ReduceMean", 18, true, false, row_mean},
};

static void row_check(mien_env *env, const row_op *op, op_call *c, const float *x, int64_t count, int64_t at) {
  op_run_ok(env, c);
  const float *y = c->out[0].data;
  for (int64_t row = 0; row < 2; row++)
    for (int64_t i = 0; i < (op->whole ? count : 1); i++)
      expect_class(op->name, y[op->whole ? row * count + i : row], op->f(x + row * count, count, i), count, at, x[at]);
}

/* The second row stays finite. */
static void rows_body(mien_env *env) {
  for (size_t k = 0; k < sizeof row_ops / sizeof *row_ops; k++)
    for (int64_t count = 2; count <= LONGEST; count += count < 20 ? 1 : 17) {
      op_call c = {.name = row_ops[k].name, .version = row_ops[k].version};
      uint64_t seed = 3;
      float *x = isa_in(&c, 2, OP_DIMS(2, count), &seed);
      if (row_ops[k].axes) op_in(&c, MIEN_I64, 1, OP_DIMS(1), (const int64_t[]){1});
      if (row_ops[k].f == row_layer_norm) isa_in(&c, 1, OP_DIMS(count), &seed);
      for (int64_t at = 0; at < count; at++)
        for (int s = 0; s < 5; s++) {
          const float before = x[at], next = x[(at + 3) % count];
          x[at] = specials[s];
          row_check(env, &row_ops[k], &c, x, count, at);
          if (count > 3) x[(at + 3) % count] = specials[(s + (int)at) % 3];
          row_check(env, &row_ops[k], &c, x, count, at);
          x[at] = before, x[(at + 3) % count] = next;
        }
      op_free(&c);
    }
}

/* ---- of windows and products */

static void pools_body(mien_env *env) {
  static const char *const names[] = {"MaxPool", "AveragePool"};
  for (int k = 0; k < 2; k++)
    for (int64_t at = 0; at < 37; at++)
      for (int s = 0; s < 3; s++) {
        op_call c = {.name = names[k], .version = k ? 19 : 12};
        uint64_t seed = 5;
        float *x = isa_in(&c, 3, OP_DIMS(1, 1, 37), &seed);
        x[at] = specials[s];
        op_attr_ints(&c, "kernel_shape", OP_DIMS(3), 1);
        op_run_ok(env, &c);
        const float *y = c.out[0].data;
        for (int64_t i = 0; i < 35; i++)
          expect_class(names[k], y[i], (k ? row_mean : row_max)(x + i, 3, 0), 37, at, x[at]);
        op_free(&c);
      }
}

/* [m, k] x [k, n]; a special value in A reaches its row alone, in B its column alone. Every fourth weight is 0. */
static void products_body(mien_env *env) {
  static const int64_t sizes[][3] = {{1, 5, 3}, {3, 17, 35}, {16, 33, 70}, {29, 300, 33}};
  for (size_t t = 0; t < sizeof sizes / sizeof *sizes; t++)
    for (int s = 0; s < 3; s++)
      for (int variable = 0; variable < 2; variable++) {
        const int64_t m = sizes[t][0], k = sizes[t][1], n = sizes[t][2];
        op_call c = {.name = "MatMul", .version = 13};
        c.variable[1] = variable;
        uint64_t seed = 7 + (uint64_t)s;
        float *a = isa_in(&c, 2, OP_DIMS(m, k), &seed), *b = isa_in(&c, 2, OP_DIMS(k, n), &seed);
        for (int64_t i = 0; i < k * n; i += 4) b[i] = 0;
        a[(m / 2) * k + k / 3] = specials[s];
        a[(m - 1) * k + k - 1] = specials[(s + 1) % 3];
        b[(k - 1) * n + n - 1] = specials[s];
        op_run_ok(env, &c);
        const float *y = c.out[0].data;
        for (int64_t i = 0; i < m * n; i++) {
          double sum = 0;
          for (int64_t e = 0; e < k; e++) sum += (double)a[i / n * k + e] * (double)b[e * n + i % n];
          expect_class("MatMul", y[i], sum, m * n, i, specials[s]);
        }
        op_free(&c);
      }
}

/* ---- subnormal numbers */

/* The documented choice, the same on every thread: else 1e-39 times weights would be numbers below 1e-34. Zeros show that the
** processor's mode is set in which subnormal numbers take no longer. What that saves is a figure of scripts/bench.py. */
static void is_zero(mien_env *env, op_call *c) {
  uint64_t seed = 11;
  float *x = c->in[0].data;
  for (int64_t i = 0; i < mien_count(&c->in[0].type); i++) x[i] = 1e-39f * (float)op_random(&seed, 0.5, 1);
  for (int threads = 0; threads <= 3; threads++) {
    c->threads = threads;
    op_run_ok(env, c);
    const float *y = c->out[0].data;
    for (int64_t i = 0; i < mien_count(&c->out[0].type); i++) assert_true(y[i] == 0);
  }
  c->threads = 0;
}

/* Every operator that counts subnormal numbers as zero. Not Softmax: it computes with subnormal numbers, for a logarithm of
** its results is infinite where they are 0. */
static void flushed_body(mien_env *env) {
  uint64_t seed = 13;
  for (int kernel = 1; kernel <= 3; kernel++) {
    op_call conv = {.domain = "mien", .name = "Conv", .version = 1};
    op_attr_i(&conv, "channels_last", 1);
    isa_in(&conv, 4, OP_DIMS(1, 28, 28, 64), &seed);
    isa_in(&conv, 4, OP_DIMS(64, 64, kernel, kernel), &seed);
    is_zero(env, &conv);
    op_free(&conv);
  }
  op_call linear = {.domain = "mien", .name = "Linear", .version = 1};
  isa_in(&linear, 2, OP_DIMS(64, 512), &seed);
  isa_in(&linear, 2, OP_DIMS(512, 256), &seed);
  is_zero(env, &linear);
  op_free(&linear);
  op_call norm = {.name = "LayerNormalization", .version = 17};
  isa_in(&norm, 2, OP_DIMS(200, 500), &seed);
  isa_in(&norm, 1, OP_DIMS(500), &seed);
  is_zero(env, &norm);
  op_free(&norm);
  op_call c = {.name = "MatMul", .version = 13};
  op_in(&c, MIEN_F32, 2, OP_DIMS(40, 9), NULL);
  float *b = op_in(&c, MIEN_F32, 2, OP_DIMS(9, 40), NULL);
  for (int i = 0; i < 360; i++) b[i] = 1e6f;
  is_zero(env, &c);
  op_free(&c);
}

static void test_unary(void **state) { (void)state, isa_each(unary_body); }
static void test_binary(void **state) { (void)state, isa_each(binary_body); }
static void test_clip(void **state) { (void)state, isa_each(clip_body); }
static void test_rows(void **state) { (void)state, isa_each(rows_body); }
static void test_pools(void **state) { (void)state, isa_each(pools_body); }
static void test_products(void **state) { (void)state, isa_each(products_body); }
static void test_flushed(void **state) { (void)state, isa_each(flushed_body); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_unary),   cmocka_unit_test(test_binary), cmocka_unit_test(test_clip),
      cmocka_unit_test(test_rows),    cmocka_unit_test(test_pools),  cmocka_unit_test(test_products),
      cmocka_unit_test(test_flushed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
