/* The tables of every instruction set: stated errors of the elementary functions, limits and NaN, tails with the bits of
** bodies, nothing read or written past the end of a tensor. */
#define _GNU_SOURCE
#include "ops/isa.h"
#include "ops/reference.h"
#include <sys/mman.h>
#include <unistd.h>

static const mien_math *table_of(mien_env *env) { return env->host.math; }

/* ---- activations */

static const char *name_of(mien_activation act) {
#define X(id, text) \
  if (act == MIEN_ACT_##id) return text;
  MIEN_ACTIVATION_MAP(X)
#undef X
  return "?";
}

static void activate_error(const mien_math *m, mien_activation act, double low, double high, double relative) {
  enum { COUNT = 40001 };
  float *x = malloc(2 * COUNT * sizeof *x), *y = x + COUNT;
  assert_non_null(x);
  for (int i = 0; i < COUNT; i++) x[i] = (float)(low + (high - low) * i / (COUNT - 1));
  m->activate(act, -0.25f, 0.5f, x, y, COUNT);
  for (int i = 0; i < COUNT; i++) {
    const double want = reference_activation(name_of(act), (double)x[i], -0.25, 0.5, -0.25);
    const double error = fabs((double)y[i] - want), bound = relative * fabs(want) + 1.5e-45;
    if (error > bound)
      print_error("%s %s(%.9g) = %.9g, expected %.9g\n", m->isa, name_of(act), (double)x[i], (double)y[i], want);
    assert_true(error <= bound);
  }
  free(x);
}

static void errors_body(mien_env *env) {
  const mien_math *m = table_of(env);
  activate_error(m, MIEN_ACT_SIGMOID, -87, 100, 4e-7);
  activate_error(m, MIEN_ACT_TANH, -1, 1, 4e-7);
  activate_error(m, MIEN_ACT_TANH, -20, 20, 4e-7);
  activate_error(m, MIEN_ACT_TANH, -1e-20, 1e-20, 4e-7);
  activate_error(m, MIEN_ACT_GELU, -12.5, 12.5, 1e-6);
  activate_error(m, MIEN_ACT_GELU, -1e-3, 1e-3, 1e-6);
  activate_error(m, MIEN_ACT_SILU, -80, 80, 1e-6);
  activate_error(m, MIEN_ACT_HARD_SWISH, -2.5, 9, 1e-6);
  activate_error(m, MIEN_ACT_RELU, -3, 3, 0);
  activate_error(m, MIEN_ACT_LEAKY_RELU, -3, 3, 1e-7);
  activate_error(m, MIEN_ACT_PRELU, -3, 3, 1e-7);
  activate_error(m, MIEN_ACT_CLIP, -3, 3, 0);
  activate_error(m, MIEN_ACT_IDENTITY, -3, 3, 0);
}
static void test_errors(void **state) { (void)state, isa_each(errors_body); }

static void limits_body(mien_env *env) {
  const mien_math *m = table_of(env);
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
  const mien_math *m = table_of(env);
  uint64_t seed = 11;
  float x[67], all[67], some[67];
  for (int i = 0; i < 67; i++) x[i] = (float)op_random(&seed, -6, 6);
  for (int act = 0; act <= MIEN_ACT_HARD_SWISH; act++) {
    m->activate((mien_activation)act, 0.1f, 3, x, all, 67);
    for (int first = 0; first < 67; first++)
      for (int count = 1; first + count <= 67; count++) {
        m->activate((mien_activation)act, 0.1f, 3, x + first, some, count);
        assert_memory_equal(some, all + first, (size_t)count * sizeof *some);
      }
  }
}
static void test_tails(void **state) { (void)state, isa_each(tails_body); }

/* ---- rows */

static void softmax_body(mien_env *env) {
  const mien_math *m = table_of(env);
  uint64_t seed = 12;
  for (int count = 1; count <= 70; count++) {
    float x[70], y[70];
    double sum = 0, top = -INFINITY;
    for (int i = 0; i < count; i++) x[i] = (float)op_random(&seed, -30, 30);
    for (int i = 0; i < count; i++) top = fmax(top, (double)x[i]);
    for (int i = 0; i < count; i++) sum += exp((double)x[i] - top);
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) {
      const double want = exp((double)x[i] - top) / sum;
      assert_true(fabs((double)y[i] - want) <= 5e-6 * want); /* of which 2e-6 is the rounding of x - max */
    }
    m->softmax(x, x, count); /* in place */
    assert_memory_equal(x, y, (size_t)count * sizeof *x);
    x[count / 2] = NAN;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(isnan(y[i]));
    for (int i = 0; i < count; i++) x[i] = -INFINITY;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(isnan(y[i]));
    x[count - 1] = -3e38f;
    m->softmax(x, y, count);
    for (int i = 0; i < count; i++) assert_true(y[i] == (i == count - 1 ? 1.0f : 0.0f));
  }
}
static void test_softmax(void **state) { (void)state, isa_each(softmax_body); }

static void layer_norm_body(mien_env *env) {
  const mien_math *m = table_of(env);
  uint64_t seed = 13;
  for (int count = 1; count <= 70; count++)
    for (int shift = 0; shift < 2; shift++) { /* a large mean must not cost the variance its digits */
      float x[70], g[70], b[70], y[70], mean, inverse;
      double sum = 0, squares = 0;
      for (int i = 0; i < count; i++) {
        x[i] = (float)op_random(&seed, -1, 1) + (shift ? 1000.0f : 0);
        g[i] = (float)op_random(&seed, -1, 1), b[i] = (float)op_random(&seed, -1, 1);
        sum += (double)x[i];
      }
      for (int i = 0; i < count; i++) squares += ((double)x[i] - sum / count) * ((double)x[i] - sum / count);
      const double want = 1 / sqrt(squares / count + 1e-3);
      m->layer_norm(x, g, b, 1e-3f, y, count, &mean, &inverse);
      assert_true(fabs((double)mean - sum / count) <= (shift ? 2e-4 : 1e-6));
      assert_true(fabs((double)inverse - want) <= 1e-4 * want);
      for (int i = 0; i < count; i++) {
        const double v = ((double)x[i] - sum / count) * want * (double)g[i] + (double)b[i];
        assert_true(fabs((double)y[i] - v) <= (shift ? 6e-3 : 4e-6) * (1 + fabs(v)));
      }
      m->layer_norm(x, NULL, NULL, 1e-3f, y, count, NULL, NULL);
      for (int i = 0; i < count; i++)
        assert_true(fabs((double)y[i] - ((double)x[i] - sum / count) * want) <= (shift ? 6e-3 : 8e-6));
    }
}
static void test_layer_norm(void **state) { (void)state, isa_each(layer_norm_body); }

/* ---- memory that ends at a page that may not be touched */

typedef struct guarded {
  char *base;
  size_t pages;
} guarded;

static float *guard(guarded *g, int64_t count) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), bytes = (size_t)count * sizeof(float);
  g->pages = (bytes + page - 1) / page * page + page;
  g->base = mmap(NULL, g->pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  assert_true(g->base != MAP_FAILED);
  assert_int_equal(mprotect(g->base + g->pages - page, page, PROT_NONE), 0);
  return (float *)(void *)(g->base + g->pages - page - bytes);
}

static void guards_body(mien_env *env) {
  const mien_math *m = table_of(env);
  for (int64_t n = 1; n <= 67; n++) {
    guarded g[8];
    float *x = guard(&g[0], n * 3), *y = guard(&g[1], n), *bias = guard(&g[2], n), *slope = guard(&g[3], n);
    float *scale = guard(&g[4], n), *residual = guard(&g[5], n * 3), *c = guard(&g[6], n * 3);
    float *packed = guard(&g[7], (int64_t)(m->gemm_pack_bytes(n, n) / sizeof(float)));
    for (int act = 0; act <= MIEN_ACT_HARD_SWISH; act++) {
      const mien_epilogue e = {.act = (mien_activation)act,
                               .bias = bias,
                               .slope = slope,
                               .scale = scale,
                               .residual = residual,
                               .residual_stride = n};
      m->activate(e.act, 0, 1, x, y, n);
      m->gemm_pack(n, n, residual, 0, 1, packed);
      m->gemm(3, n, n, x, n, packed, c, n, 0, n, &e);
      const float *rows[6] = {x, x, x + n, x, x, x};
      const mien_pieces two = {.rows = rows, .stride = 3, .count = 2, .length = n, .step = 1};
      m->depthwise(2, &two, x, c, n, &e);
    }
    m->softmax(x, y, n);
    m->layer_norm(x, bias, scale, 1, y, n, NULL, NULL);
    for (int i = 0; i < 8; i++) munmap(g[i].base, g[i].pages);
  }
}
static void test_guards(void **state) { (void)state, isa_each(guards_body); }

static void test_select(void **state) {
  (void)state;
  const char *set = getenv("MIEN_ISA");
  char *before = set ? strdup(set) : NULL;
  const mien_math *best = NULL, *math = NULL;
  mien_error error = {0};
  unsetenv("MIEN_ISA");
  assert_int_equal(mien__math_select(&math, &error), MIEN_OK);
  for (size_t i = 0; mien__math_tier(i); i++) {
    const char *name = mien__math_tier(i)->isa;
    const mien_math *runs = mien__math_named(name);
    if (runs) best = runs;
    setenv("MIEN_ISA", name, 1);
    const mien_math *chosen = best;
    assert_int_equal(mien__math_select(&chosen, &error), runs ? MIEN_OK : MIEN_INVALID_ARGUMENT);
    assert_ptr_equal(chosen, best); /* untouched on failure */
  }
  assert_ptr_equal(math, best);
  setenv("MIEN_ISA", "avx10.7", 1);
  assert_int_equal(mien__math_select(&math, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "MIEN_ISA is 'avx10.7', expected what this machine runs: portable"));
  assert_non_null(strstr(error.message, best->isa));
  mien_env *env = NULL;
  assert_int_equal(mien_env_create(NULL, &env, &error), MIEN_INVALID_ARGUMENT);
  assert_null(env);
  assert_null(mien__math_named("avx10.7"));
  setenv("MIEN_ISA", "", 1);
  assert_int_equal(mien__math_select(&math, &error), MIEN_OK);
  assert_ptr_equal(math, best);
  if (before)
    setenv("MIEN_ISA", before, 1);
  else
    unsetenv("MIEN_ISA");
  free(before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_errors),  cmocka_unit_test(test_limits),     cmocka_unit_test(test_tails),
      cmocka_unit_test(test_softmax), cmocka_unit_test(test_layer_norm), cmocka_unit_test(test_guards),
      cmocka_unit_test(test_select),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
