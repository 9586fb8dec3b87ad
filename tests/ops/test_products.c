/* MatMul, Gemm and mien.Linear against double precision: broadcasting, vectors, transposed and empty operands, every
** instruction set, the same bits on any number of threads and in any batch. */
#include "ops/isa.h"
#include "ops/reference.h"
#include "runtime/sanitizer.h"
#include <pthread.h>

/* ---- MatMul */

typedef struct matmul_case {
  int ra, rb;
  int64_t a[5], b[5];
} matmul_case;

static const matmul_case matmuls[] = {
    {2, 2, {1, 1}, {1, 1}},
    {2, 2, {5, 7}, {7, 3}},
    {2, 2, {29, 67}, {67, 33}},
    {2, 2, {15, 64}, {64, 97}},
    {2, 2, {1, 300}, {300, 65}},
    {2, 2, {70, 1}, {1, 31}},
    {2, 2, {9, 1024}, {1024, 9}},
    {2, 2, {16, 11}, {11, 47}},
    {2, 2, {14, 8}, {8, 128}},
    {3, 3, {3, 49, 32}, {3, 32, 49}},
    {2, 2, {49, 420}, {420, 160}},
    {1, 1, {13}, {13}},
    {1, 2, {13}, {13, 5}},
    {2, 1, {5, 13}, {13}},
    {1, 3, {4}, {3, 4, 5}},
    {3, 1, {3, 5, 4}, {4}},
    {3, 2, {3, 17, 9}, {9, 34}},
    {3, 3, {3, 4, 9}, {3, 9, 6}},
    {4, 3, {2, 3, 4, 5}, {3, 5, 6}},
    {4, 4, {2, 1, 4, 5}, {1, 3, 5, 6}},
    {5, 3, {2, 1, 3, 4, 5}, {1, 5, 2}},
    {2, 2, {0, 3}, {3, 4}},
    {2, 2, {3, 0}, {0, 4}},
    {3, 3, {2, 3, 0}, {2, 0, 4}},
    {3, 3, {0, 3, 2}, {0, 2, 4}},
    {3, 3, {0, 3, 2}, {1, 2, 4}},
};

/* Left and right as 2-D matrices in a broadcast batch; the result's elements in order. */
static int64_t matmul_reference(const matmul_case *k, const double *a, const double *b, double *y) {
  int64_t da[5] = {1, 1, 1, 1, 1}, db[5] = {1, 1, 1, 1, 1};
  for (int i = 0; i < k->ra; i++) da[5 - k->ra + i] = k->a[i];
  for (int i = 0; i < k->rb; i++) db[5 - k->rb + i] = k->b[i];
  if (k->rb == 1) db[3] = k->b[0], db[4] = 1;
  const int64_t m = da[3], depth = da[4], n = db[4];
  int64_t count = 0, out[3];
  for (int i = 0; i < 3; i++) out[i] = da[i] == 1 ? db[i] : da[i];
  for (int64_t p = 0; p < out[0] * out[1] * out[2]; p++) {
    const int64_t at[3] = {p / out[2] / out[1], p / out[2] % out[1], p % out[2]};
    int64_t ia = 0, ib = 0;
    for (int i = 0; i < 3; i++) {
      ia = ia * da[i] + (da[i] == 1 ? 0 : at[i]);
      ib = ib * db[i] + (db[i] == 1 ? 0 : at[i]);
    }
    for (int64_t i = 0; i < m; i++)
      for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int64_t q = 0; q < depth; q++) sum += a[(ia * m + i) * depth + q] * b[(ib * depth + q) * n + j];
        y[count++] = sum;
      }
  }
  return count;
}

enum { MOST = 8192 };

static void matmul_one(mien_env *env, const matmul_case *k) {
  uint64_t seed = 3;
  op_call c = {.name = "MatMul", .version = 13};
  const float *x[2] = {isa_in(&c, k->ra, k->a, &seed), isa_in(&c, k->rb, k->b, &seed)};
  double *in[2], *want = calloc(MOST, sizeof *want);
  for (int i = 0; i < 2; i++) {
    const int64_t count = mien_count(&c.in[i].type);
    in[i] = calloc((size_t)count + 1, sizeof(double));
    for (int64_t j = 0; j < count; j++) in[i][j] = (double)x[i][j];
  }
  const int64_t count = matmul_reference(k, in[0], in[1], want);
  isa_run_all(env, &c, 1);
  op_expect(&c.out[0], want, count, 1e-5, 1e-6);
  free(in[0]), free(in[1]), free(want);
  op_free(&c);
}

static void matmul_body(mien_env *env) {
  for (size_t i = 0; i < sizeof matmuls / sizeof *matmuls; i++) matmul_one(env, &matmuls[i]);
}
static void test_matmul(void **state) { (void)state, isa_each(matmul_body); }

static void put(mien_tensor *t, int64_t i, double v) {
  switch (t->type.dtype) {
    case MIEN_F64: ((double *)t->data)[i] = v; break;
    case MIEN_F16: ((uint16_t *)t->data)[i] = mien__f32_to_f16((float)v); break;
    case MIEN_BF16: ((uint16_t *)t->data)[i] = mien__f32_to_bf16((float)v); break;
    case MIEN_I32: ((int32_t *)t->data)[i] = (int32_t)v; break;
    case MIEN_U32: ((uint32_t *)t->data)[i] = (uint32_t)(int64_t)v; break;
    case MIEN_I64: ((int64_t *)t->data)[i] = (int64_t)v; break;
    case MIEN_U64: ((uint64_t *)t->data)[i] = (uint64_t)(int64_t)v; break;
    default: ((float *)t->data)[i] = (float)v;
  }
}

/* Small whole numbers are exact in every type. */
static void test_matmul_types(void **state) {
  static const int32_t types[] = {MIEN_F64, MIEN_F16, MIEN_BF16, MIEN_I32, MIEN_I64, MIEN_U32, MIEN_U64};
  static const matmul_case k = {3, 2, {2, 4, 3}, {3, 5}};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    uint64_t seed = 8;
    double a[24], b[15], want[40];
    op_call c = {.name = "MatMul", .version = 13};
    op_in(&c, types[t], 3, k.a, NULL);
    op_in(&c, types[t], 2, k.b, NULL);
    for (int i = 0; i < 24; i++) put(&c.in[0], i, a[i] = (double)(int)op_random(&seed, 0, 6));
    for (int i = 0; i < 15; i++) put(&c.in[1], i, b[i] = (double)(int)op_random(&seed, 0, 6));
    matmul_reference(&k, a, b, want);
    for (c.threads = 0; c.threads < 3; c.threads++) {
      op_run_ok(*state, &c);
      op_expect(&c.out[0], want, 40, 0, 0);
    }
    op_free(&c);
  }
}

static void test_matmul_wraps(void **state) {
  op_call c = {.name = "MatMul", .version = 9};
  op_in(&c, MIEN_I32, 2, OP_DIMS(1, 2), (int32_t[]){INT32_MAX, INT32_MAX});
  op_in(&c, MIEN_I32, 2, OP_DIMS(2, 1), (int32_t[]){INT32_MAX, 2});
  op_run_ok(*state, &c);
  assert_int_equal(((int32_t *)c.out[0].data)[0], -1); /* 1 - 2 modulo 2^32 */
  op_free(&c);
}

static void test_matmul_nan(void **state) {
  op_call c = {.name = "MatMul", .version = 13};
  float a[3 * 4] = {0}, b[4 * 33] = {0};
  a[5] = NAN;
  b[2 * 33 + 32] = INFINITY;
  op_in(&c, MIEN_F32, 2, OP_DIMS(3, 4), a);
  op_in(&c, MIEN_F32, 2, OP_DIMS(4, 33), b);
  op_run_ok(*state, &c);
  const float *y = c.out[0].data;
  for (int i = 0; i < 99; i++) assert_int_equal(isnan(y[i]), i / 33 == 1 || i % 33 == 32); /* 0 * inf is NaN */
  op_free(&c);
}

static void test_matmul_refused(void **state) {
  static const matmul_case bad[] = {{2, 2, {2, 3}, {4, 5}}, {3, 3, {2, 3, 4}, {3, 4, 5}}, {0, 2, {0}, {1, 1}}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    op_call c = {.name = "MatMul", .version = 13};
    op_in(&c, MIEN_F32, bad[i].ra, bad[i].a, NULL);
    op_in(&c, MIEN_F32, bad[i].rb, bad[i].b, NULL);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
}

/* ---- Gemm */

typedef struct gemm_case {
  int64_t m, n, k;
  int ta, tb, c_rank;
  int64_t c[2];
  float alpha, beta;
} gemm_case;

static const gemm_case gemms[] = {
    {1, 1, 1, 0, 0, -1, {0}, 1, 1},      {7, 33, 19, 0, 1, 1, {33}, 1, 1},   {31, 9, 66, 1, 0, 2, {31, 9}, 0.5f, 2},
    {20, 70, 5, 1, 1, 2, {20, 1}, 1, 1}, {3, 65, 8, 0, 0, 2, {1, 65}, 1, 1}, {5, 6, 7, 0, 1, 0, {0}, -1, 0.25f},
    {9, 4, 0, 0, 0, 1, {4}, 1, 1},       {0, 4, 3, 0, 0, 1, {4}, 1, 1},      {9, 40, 3, 0, 0, 1, {1}, 1, 1},
    {4, 1, 3, 0, 0, 1, {1}, 1, 1},       {200, 35, 12, 1, 0, 1, {35}, 1, 1}, {2, 3, 4, 0, 0, 2, {2, 3}, 1, 0},
};

static void gemm_body(mien_env *env) {
  for (size_t t = 0; t < sizeof gemms / sizeof *gemms; t++) {
    const gemm_case *g = &gemms[t];
    uint64_t seed = 4;
    op_call c = {.name = "Gemm", .version = 13};
    op_attr_i(&c, "transA", g->ta);
    op_attr_i(&c, "transB", g->tb);
    op_attr_f(&c, "alpha", g->alpha);
    op_attr_f(&c, "beta", g->beta);
    const float *a = isa_in(&c, 2, g->ta ? OP_DIMS(g->k, g->m) : OP_DIMS(g->m, g->k), &seed);
    const float *b = isa_in(&c, 2, g->tb ? OP_DIMS(g->n, g->k) : OP_DIMS(g->k, g->n), &seed);
    float *z = g->c_rank >= 0 ? isa_in(&c, g->c_rank, g->c, &seed) : NULL;
    if (z && g->beta == 0) z[0] = NAN; /* as in BLAS, not touched */
    double *want = calloc(MOST, sizeof *want);
    for (int64_t i = 0; i < g->m; i++)
      for (int64_t j = 0; j < g->n; j++) {
        double sum = 0, add = 0;
        for (int64_t p = 0; p < g->k; p++)
          sum += (double)a[g->ta ? p * g->m + i : i * g->k + p] * (double)b[g->tb ? j * g->k + p : p * g->n + j];
        if (g->c_rank == 0) add = (double)z[0];
        if (g->c_rank == 1) add = (double)z[g->c[0] == 1 ? 0 : j];
        if (g->c_rank == 2) add = (double)z[(g->c[0] == 1 ? 0 : i) * g->c[1] + (g->c[1] == 1 ? 0 : j)];
        want[i * g->n + j] = (double)g->alpha * sum + (g->beta != 0 ? (double)g->beta * add : 0);
      }
    isa_run_all(env, &c, 1);
    op_expect(&c.out[0], want, g->m * g->n, 1e-5, 1e-6);
    free(want);
    op_free(&c);
  }
}
static void test_gemm(void **state) { (void)state, isa_each(gemm_body); }

static void test_gemm_types(void **state) {
  static const int32_t types[] = {MIEN_F64, MIEN_F16, MIEN_BF16, MIEN_I32, MIEN_I64, MIEN_U32, MIEN_U64};
  for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
    op_call c = {.name = "Gemm", .version = 11};
    op_attr_f(&c, "alpha", 2);
    op_attr_f(&c, "beta", 3);
    op_attr_i(&c, "transA", 1);
    op_in(&c, types[t], 2, OP_DIMS(3, 2), NULL);
    op_in(&c, types[t], 2, OP_DIMS(3, 2), NULL);
    op_in(&c, types[t], 1, OP_DIMS(2), NULL);
    for (int i = 0; i < 6; i++) put(&c.in[0], i, i), put(&c.in[1], i, i + 1);
    put(&c.in[2], 0, 5), put(&c.in[2], 1, 7);
    op_run_ok(*state, &c);
    /* A' = [0 2 4; 1 3 5], B = [1 2; 3 4; 5 6] */
    op_expect(&c.out[0], (double[]){2 * 26 + 15, 2 * 32 + 21, 2 * 35 + 15, 2 * 44 + 21}, 4, 0, 0);
    op_free(&c);
  }
}

static void test_gemm_refused(void **state) {
  op_call c = {.name = "Gemm", .version = 13};
  op_attr_f(&c, "alpha", 0.5f);
  op_in(&c, MIEN_I32, 2, OP_DIMS(1, 1), NULL);
  op_in(&c, MIEN_I32, 2, OP_DIMS(1, 1), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  op_free(&c);
  static const int64_t shapes[][2] = {{2, 5}, {3, 4}, {4, 1}};
  for (int i = 0; i < 3; i++) {
    op_call d = {.name = "Gemm", .version = 13};
    op_in(&d, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
    op_in(&d, MIEN_F32, 2, OP_DIMS(3, 4), NULL);
    op_in(&d, MIEN_F32, 2, shapes[i], NULL);
    assert_int_equal(op_run(*state, &d), MIEN_INVALID_MODEL);
    assert_non_null(strstr(d.error.message, "broadcast to [2,4]"));
    op_free(&d);
  }
}

/* ---- mien.Linear */

static void linear_one(mien_env *env, int64_t m, int64_t n, int64_t k, const char *act, int flags) {
  uint64_t seed = 6;
  const bool trans = flags & 1;
  reference_tail t = {.act = act, .alpha = (double)-0.25f, .beta = (double)0.5f, .act_last = flags & 2};
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_attr_i(&c, "trans_w", trans);
  op_attr_s(&c, "activation", act);
  op_attr_f(&c, "alpha", -0.25f);
  op_attr_f(&c, "beta", 0.5f);
  op_attr_i(&c, "act_last", t.act_last);
  const float *x = isa_in(&c, 3, OP_DIMS(1, m, k), &seed);
  const float *w = isa_in(&c, 2, trans ? OP_DIMS(n, k) : OP_DIMS(k, n), &seed);
  t.bias = isa_in(&c, 1, OP_DIMS(n), &seed);
  t.slope = isa_in(&c, 1, OP_DIMS(n), &seed);
  if (flags & 4) {
    t.scale = isa_in(&c, 1, OP_DIMS(n), &seed);
    t.residual = isa_in(&c, 3, OP_DIMS(1, m, n), &seed);
  }
  double *want = calloc((size_t)(m * n) + 1, sizeof *want);
  for (int64_t i = 0; i < m; i++)
    for (int64_t j = 0; j < n; j++) {
      double sum = 0;
      for (int64_t p = 0; p < k; p++) sum += (double)x[i * k + p] * (double)w[trans ? j * k + p : p * n + j];
      want[i * n + j] = reference_finish(&t, sum, j, i * n + j);
    }
  isa_run_all(env, &c, 1);
  op_expect(&c.out[0], want, m * n, 2e-5, 1e-6);
  free(want);
  op_free(&c);
}

static void linear_body(mien_env *env) {
  static const char *const acts[] = {"",        "Relu", "LeakyRelu", "PRelu", "Clip",
                                     "Sigmoid", "Tanh", "Gelu",      "Silu",  "HardSwish"};
  static const int64_t sizes[][3] = {{1, 7, 33}, {15, 64, 20}, {29, 67, 5}, {3, 33, 64}, {50, 16, 1}, {2, 1, 2}};
  for (int i = 0; i < 10; i++)
    for (int flags = 0; flags < 8; flags++) {
      const int64_t *s = sizes[(i + flags) % 6];
      linear_one(env, s[0], s[1], s[2], acts[i], flags);
    }
}
static void test_linear(void **state) { (void)state, isa_each(linear_body); }

/* Rows of one call are the rows of two. */
static void linear_batch_body(mien_env *env) {
  uint64_t seed = 2;
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  float *x = isa_in(&c, 2, OP_DIMS(37, 50), &seed);
  isa_in(&c, 2, OP_DIMS(50, 70), &seed);
  op_run_ok(env, &c);
  float *all = c.out[0].data;
  c.out[0].data = NULL;
  for (int64_t first = 0; first < 37; first++) {
    c.in[0].type.dim[0] = 1;
    if (first) memmove(x, x + 50, (size_t)(37 - first) * 50 * sizeof *x);
    op_run_ok(env, &c);
    assert_memory_equal(c.out[0].data, all + first * 70, 70 * sizeof *all);
  }
  free(all);
  op_free(&c);
}
static void test_linear_batch(void **state) { (void)state, isa_each(linear_batch_body); }

/* What mien_session_run says it needs; builds with checks have larger frames. */
enum { STACK = (MIEN_TEST_ASAN || MIEN_TEST_TSAN ? 4096 : 256) * 1024 };

typedef struct stack_call {
  mien_env *env;
  op_call *call;
  mien_status status;
} stack_call;

static void *stack_main(void *arg) {
  stack_call *s = arg;
  s->status = op_run(s->env, s->call);
  return NULL;
}

static void linear_stack_body(mien_env *env) {
  uint64_t seed = 4;
  for (int int16 = 0; int16 < 2; int16++) {
    op_call c = {.domain = "mien", .name = "Linear", .version = 1};
    op_attr_s(&c, "activation", "Tanh"); /* sums of several parts of k wait for one another */
    op_attr_i(&c, "int16", int16);
    isa_in(&c, 2, OP_DIMS(60, 2300), &seed);
    isa_in(&c, 2, OP_DIMS(2300, 70), &seed);
    stack_call s = {.env = env, .call = &c, .status = MIEN_INTERNAL};
    pthread_attr_t attr;
    pthread_t thread;
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstacksize(&attr, STACK), 0);
    assert_int_equal(pthread_create(&thread, &attr, stack_main, &s), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attr);
    assert_int_equal(s.status, MIEN_OK);
    op_free(&c);
  }
}
static void test_linear_stack(void **state) { (void)state, isa_each(linear_stack_body); }

static void test_linear_refused(void **state) {
  static const struct {
    const char *act;
    int64_t bias;
    const char *text;
  } bad[] = {{"Swish", 4, "activation 'Swish'"}, {"PRelu", 4, "needs input S"}, {"", 5, "input B"}};
  for (int i = 0; i < 3; i++) {
    op_call c = {.domain = "mien", .name = "Linear", .version = 1};
    op_attr_s(&c, "activation", bad[i].act);
    op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
    op_in(&c, MIEN_F32, 2, OP_DIMS(3, 4), NULL);
    op_in(&c, MIEN_F32, 1, OP_DIMS(bad[i].bias), NULL);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    assert_non_null(strstr(c.error.message, bad[i].text));
    op_free(&c);
  }
}

#define WITH_ENV(f) cmocka_unit_test_setup_teardown(f, op_env_setup, op_env_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_matmul),       WITH_ENV(test_matmul_types),         WITH_ENV(test_matmul_wraps),
      WITH_ENV(test_matmul_nan),           WITH_ENV(test_matmul_refused),       cmocka_unit_test(test_gemm),
      WITH_ENV(test_gemm_types),           WITH_ENV(test_gemm_refused),         cmocka_unit_test(test_linear),
      cmocka_unit_test(test_linear_batch), cmocka_unit_test(test_linear_stack), WITH_ENV(test_linear_refused),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
