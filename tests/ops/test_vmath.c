/* The elementary functions over the whole range of floats, and rows of them, on every instruction set: the largest error is the one that
** ops/kernels/vmath.h states, in units of the last place of the exact result. Visits floats at a stride, which MIEN_TEST_STRIDE
** sets: with 1 every one from 2^-30 to 2^7 of the functions that are not exact (minutes). */
#include "ops/isa.h"
#include "ops/reference.h"

#include <float.h>

/* The exact function, to double precision; its activation, or one of the two functions below. */
typedef double exact_fn(double x);
enum { EXP = -1, ERF = -2 };

#define ALPHA -0.25f
#define BETA 0.5f

static double exact_relu(double x) { return reference_activation("Relu", x, 0, 0, 0); }
static double exact_leaky(double x) { return reference_activation("LeakyRelu", x, (double)ALPHA, 0, 0); }
static double exact_clip(double x) { return reference_activation("Clip", x, (double)ALPHA, (double)BETA, 0); }
static double exact_sigmoid(double x) { return reference_activation("Sigmoid", x, 0, 0, 0); }
static double exact_tanh(double x) { return reference_activation("Tanh", x, 0, 0, 0); }
static double exact_gelu(double x) { return reference_activation("Gelu", x, 0, 0, 0); }
static double exact_silu(double x) { return reference_activation("Silu", x, 0, 0, 0); }
static double exact_hard_swish(double x) { return reference_activation("HardSwish", x, 0, 0, 0); }
static double exact_identity(double x) { return x; }

/* A new function is one row. `subnormal`: the bound where the result is smaller than any normal float. */
static const struct row {
  const char *name;
  int function;
  exact_fn *exact;
  double ulp, subnormal;
} rows[] = {
    {"exp", EXP, exp, 1.02, 0.76},
    {"erf", ERF, erf, 3.7, 0.93},
    {"identity", MIEN_ACT_IDENTITY, exact_identity, 0, 0},
    {"relu", MIEN_ACT_RELU, exact_relu, 0, 0},
    {"leaky_relu", MIEN_ACT_LEAKY_RELU, exact_leaky, 0.5, 0.5},
    {"prelu", MIEN_ACT_PRELU, exact_leaky, 0.5, 0.5},
    {"clip", MIEN_ACT_CLIP, exact_clip, 0, 0},
    {"sigmoid", MIEN_ACT_SIGMOID, exact_sigmoid, 2.41, 0.76},
    {"tanh", MIEN_ACT_TANH, exact_tanh, 1.34, 0},
    {"gelu", MIEN_ACT_GELU, exact_gelu, 7.3, 2.8},
    {"silu", MIEN_ACT_SILU, exact_silu, 3.4, 1.4},
    {"hard_swish", MIEN_ACT_HARD_SWISH, exact_hard_swish, 2.5, 0.5},
};

/* Of softmax, beside one for every unit that an element lies below its row's largest; of layer_norm, of its terms. */
#define SOFTMAX_ULP 6
#define LAYER_NORM_ULP 3

enum { BLOCK = 4093, STRIDE = 1021 }; /* odd: every block ends in a tail */

static void apply(const mien_math *m, int function, const float *x, float *y, int64_t count) {
  if (function == EXP)
    m->exp(x, y, count);
  else if (function == ERF)
    m->erf(x, y, count);
  else
    m->activate((mien_activation)function, ALPHA, BETA, x, y, count);
}

/* The unit of the last place of a float as large as x, that of the smallest normal number for smaller ones. */
static double ulp_of(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint64_t exponent = bits >> 52 & 2047;
  if (exponent < 1023 - 126) exponent = 1023 - 126;
  bits = (exponent - 23) << 52;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* |y - want| in units of want's last place. What rounds past the largest float is infinite. */
static double error_in_ulp(float y, double want) {
  const double largest = 0x1.ffffffp127; /* half a unit above the largest */
  if (fabs(want) >= largest && isinf(y)) return (y > 0) == (want > 0) ? 0 : INFINITY;
  return fabs((double)y - want) / ulp_of(fmin(fabs(want), largest));
}

typedef struct worst {
  double ulp[2]; /* normal and subnormal results */
  float at[2];
} worst;

static void judge(const struct row *r, const float *x, const float *y, int64_t count, worst *w) {
  for (int64_t i = 0; i < count; i++) {
    const double want = isnan(x[i]) ? NAN : r->exact((double)x[i]);
    if (isnan(want)) { /* also infinity times 0 */
      if (!isnan(y[i])) fail_msg("%s(%g) is %g, expected NaN", r->name, (double)x[i], (double)y[i]);
      continue;
    }
    const double error = error_in_ulp(y[i], want);
    const int small = fabs(want) < (double)FLT_MIN;
    if (!(error <= w->ulp[small])) w->ulp[small] = error, w->at[small] = x[i];
  }
}

/* What is exact but for one rounding needs no more than the usual stride, and the rest neither nearer to 0, where it is linear or
** constant, nor farther away, where it is at its limits. */
static uint32_t step_from(const struct row *r, uint64_t bits, uint32_t stride) {
  const uint32_t exponent = (uint32_t)(bits >> 23) & 255;
  return stride > STRIDE || (r->ulp > 0.5 && exponent >= 127 - 30 && exponent < 127 + 7) ? stride : STRIDE;
}

static void row_over_floats(const mien_math *m, const struct row *r, uint32_t stride) {
  float *x = malloc(2 * BLOCK * sizeof *x), *y = x + BLOCK;
  assert_non_null(x);
  worst w = {0};
  uint64_t bits = 0;
  while (bits < (uint64_t)1 << 32) {
    int64_t count = 0;
    for (; count < BLOCK && bits < (uint64_t)1 << 32; bits += step_from(r, bits, stride))
      x[count++] = reference_float((uint32_t)bits);
    apply(m, r->function, x, y, count);
    judge(r, x, y, count, &w);
  }
  /* Around every power of two and the edges of what the functions tell apart. */
  static const float edges[] = {0.5f,      0.625f, 1.5f,     2.5f, 3,         10,     14.5f, 86.6f,
                                87.33655f, 88.0f,  88.7228f, 90,   103.9721f, 104.2f, 110};
  for (int e = -149; e < 128 + (int)(sizeof edges / sizeof *edges); e++) {
    const float edge = e < 128 ? ldexpf(1, e) : edges[e - 128];
    uint32_t at;
    memcpy(&at, &edge, sizeof at);
    int64_t count = 0;
    for (int64_t k = -60; k <= 60; k++)
      for (uint32_t sign = 0; sign < 2; sign++)
        if ((int64_t)at + k >= 0) x[count++] = reference_float((uint32_t)((int64_t)at + k) | sign << 31);
    apply(m, r->function, x, y, count);
    judge(r, x, y, count, &w);
  }
  free(x);
  if (stride == 1 || !(w.ulp[0] <= r->ulp && w.ulp[1] <= r->subnormal))
    print_message("%s %s: %.3f ulp at %.9g; results below the normal floats: %.3f at %.9g\n", m->isa, r->name, w.ulp[0],
                  (double)w.at[0], w.ulp[1], (double)w.at[1]);
  assert_true(w.ulp[0] <= r->ulp);
  assert_true(w.ulp[1] <= r->subnormal);
}

static void floats_body(mien_env *env) {
  const char *text = getenv("MIEN_TEST_STRIDE");
  const uint32_t stride = text ? (uint32_t)strtoul(text, NULL, 10) : STRIDE;
  assert_true(stride > 0);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) row_over_floats(env->host.math, &rows[i], stride);
}
static void test_floats(void **state) { (void)state, isa_each(floats_body); }

static void limits_body(mien_env *env) {
  const mien_math *m = env->host.math;
  const float high[] = {0, INFINITY, 0, 0, 0.5f, 1, 1, INFINITY, INFINITY, INFINITY};
  for (int act = 0; act <= MIEN_ACT_HARD_SWISH; act++)
    for (int64_t count = 1; count < 35; count++) {
      float x[34], y[34];
      for (int64_t i = 0; i < count; i++) x[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : -1000.0f;
      m->activate((mien_activation)act, -0.25f, 0.5f, x, y, count);
      for (int64_t i = 0; i < count; i++) {
        if (i % 3 == 0) assert_true(isnan(y[i]));
        if (i % 3 == 1 && act != MIEN_ACT_IDENTITY && act != MIEN_ACT_LEAKY_RELU && act != MIEN_ACT_PRELU)
          assert_true(y[i] == high[act]);
        if (i % 3 == 2 && (act == MIEN_ACT_SIGMOID || act == MIEN_ACT_GELU || act == MIEN_ACT_SILU))
          assert_true(y[i] == 0);
        if (i % 3 == 2 && act == MIEN_ACT_TANH) assert_true(y[i] == -1);
      }
    }
}
static void test_limits(void **state) { (void)state, isa_each(limits_body); }

/* Each element's bits do not depend on where it stands. */
static void tails_body(mien_env *env) {
  uint64_t seed = 11;
  float x[67], all[67], some[67];
  for (int i = 0; i < 67; i++) x[i] = (float)op_random(&seed, -6, 6);
  for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
    apply(env->host.math, rows[r].function, x, all, 67);
    for (int first = 0; first < 67; first++)
      for (int count = 1; first + count <= 67; count++) {
        apply(env->host.math, rows[r].function, x + first, some, count);
        assert_memory_equal(some, all + first, (size_t)count * sizeof *some);
      }
  }
}
static void test_tails(void **state) { (void)state, isa_each(tails_body); }

/* ---- rows */

enum { LONGEST = 1024 };
static const int lengths[] = {1, 2, 3, 5, 8, 13, 21, 34, 55, 70, 147, 784, LONGEST};

static void softmax_errors(const mien_math *m, int count, double reach, uint64_t *seed) {
  static float x[LONGEST], y[LONGEST];
  double sum = 0, top = -INFINITY;
  for (int i = 0; i < count; i++) {
    x[i] = (float)op_random(seed, -reach, reach);
    top = (double)x[i] > top ? (double)x[i] : top;
  }
  for (int i = 0; i < count; i++) sum += exp((double)x[i] - top);
  m->softmax(x, y, count);
  for (int i = 0; i < count; i++) {
    const double want = exp((double)x[i] - top) / sum, error = error_in_ulp(y[i], want);
    if (error > SOFTMAX_ULP + top - (double)x[i])
      fail_msg("%s softmax of %d, %g below the largest: %g ulp", m->isa, count, top - (double)x[i], error);
  }
  m->softmax(x, x, count); /* in place */
  assert_memory_equal(x, y, (size_t)count * sizeof *x);
}

static void softmax_body(mien_env *env) {
  const mien_math *m = env->host.math;
  uint64_t seed = 12;
  for (int repeat = 0; repeat < 20; repeat++)
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
      for (double reach = 0.1; reach < 200; reach *= 3) softmax_errors(m, lengths[k], reach, &seed);
  for (int count = 1; count <= 70; count++) {
    float x[70], y[70];
    for (int i = 0; i < count; i++) x[i] = (float)op_random(&seed, -30, 30);
    x[count / 2] = NAN;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(isnan(y[i]));
    x[count / 2] = INFINITY;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(i == count / 2 ? isnan(y[i]) : y[i] == 0 || isnan(y[i]));
    for (int i = 0; i < count; i++) x[i] = -INFINITY;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(isnan(y[i]));
    x[count - 1] = -3e38f;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(y[i] == (i == count - 1 ? 1.0f : 0.0f));
  }
}
static void test_softmax(void **state) { (void)state, isa_each(softmax_body); }

/* A large mean must not cost the variance its digits. */
static void layer_norm_errors(const mien_math *m, int count, double middle, uint64_t *seed) {
  static float x[LONGEST], g[LONGEST], b[LONGEST], y[LONGEST];
  float mean, inverse;
  double sum = 0, squares = 0;
  for (int i = 0; i < count; i++) {
    x[i] = (float)op_random(seed, middle - 1, middle + 1);
    g[i] = (float)op_random(seed, -1, 1), b[i] = (float)op_random(seed, -1, 1);
    sum += (double)x[i];
  }
  const double exact = sum / count;
  for (int i = 0; i < count; i++) squares += ((double)x[i] - exact) * ((double)x[i] - exact);
  const double want = 1 / sqrt(squares / count + (double)1e-5f), size = fmax(fabs(exact), 1);
  for (int plain = 0; plain < 2; plain++) {
    m->layer_norm(x, plain ? NULL : g, plain ? NULL : b, 1e-5f, y, count, &mean, &inverse);
    assert_true(fabs((double)mean - exact) <= LAYER_NORM_ULP * ulp_of(size));
    for (int i = 0; i < count; i++) {
      const double gamma = plain ? 1 : (double)g[i], beta = plain ? 0 : (double)b[i];
      const double v = ((double)x[i] - exact) * want * gamma + beta;
      const double terms = (1 + (fabs((double)x[i]) + fabs(exact)) * want) * fabs(gamma) + fabs(beta);
      const double error = fabs((double)y[i] - v) / ulp_of(terms);
      if (!(error <= LAYER_NORM_ULP)) fail_msg("%s layer_norm of %d around %g: %g ulp", m->isa, count, middle, error);
    }
  }
  if (count > 2) assert_true(fabs((double)inverse - want) <= 2e-6 * want * size);
}

static void layer_norm_body(mien_env *env) {
  uint64_t seed = 13;
  for (int repeat = 0; repeat < 20; repeat++)
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++)
      for (double middle = 0; middle < 2000; middle = middle * 10 + 0.1)
        layer_norm_errors(env->host.math, lengths[k], middle, &seed);
}
static void test_layer_norm(void **state) { (void)state, isa_each(layer_norm_body); }

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_floats),  cmocka_unit_test(test_limits),     cmocka_unit_test(test_tails),
      cmocka_unit_test(test_softmax), cmocka_unit_test(test_layer_norm),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
