/* mien.Attention against double precision: layouts, biases of every broadcast shape, masks, odd sizes; the same bits on
** any number of threads and in any batch. */
#include "ops/isa.h"

typedef struct attention_case {
  int64_t b, h, nq, nk, d, dv;
  int q_rank, k_rank, v_rank, y_rank, bias_rank;
  int64_t bias[4];
} attention_case;

static const attention_case cases[] = {
    {1, 1, 1, 1, 1, 1, 4, 4, 4, 4, 0, {0}},
    {2, 3, 29, 33, 16, 16, 4, 4, 4, 4, 4, {2, 3, 29, 33}},
    {2, 2, 15, 70, 32, 32, 4, 4, 4, 3, 3, {2, 15, 70}},
    {1, 4, 49, 49, 9, 5, 3, 3, 3, 3, 2, {49, 49}},
    {3, 2, 1, 37, 24, 24, 3, 4, 3, 4, 1, {37}},
    {2, 2, 31, 20, 7, 40, 4, 3, 4, 3, 4, {1, 2, 1, 20}},
    {2, 2, 17, 20, 8, 8, 4, 4, 4, 4, 4, {2, 1, 17, 1}},
    {2, 2, 5, 6, 8, 8, 4, 4, 4, 4, 0, {0}},
    {1, 2, 4, 5, 3, 3, 4, 4, 4, 4, 1, {1}},
    {1, 1, 3, 1024, 2, 2, 4, 4, 4, 4, 0, {0}},
    {0, 2, 4, 5, 3, 3, 4, 4, 4, 4, 0, {0}},
    {1, 2, 0, 5, 3, 3, 4, 4, 4, 4, 0, {0}},
    {1, 2, 3, 0, 3, 3, 4, 4, 4, 4, 0, {0}},
};

static const float *attention_in(op_call *c, int rank, int64_t b, int64_t h, int64_t n, int64_t d, uint64_t *seed) {
  return rank == 4 ? isa_in(c, 4, OP_DIMS(b, h, n, d), seed) : isa_in(c, 3, OP_DIMS(b, n, h * d), seed);
}

static double at(const float *x, int rank, const int64_t *s, int64_t b, int64_t h, int64_t n, int64_t d) {
  return (double)(rank == 4 ? x[((b * s[0] + h) * s[1] + n) * s[2] + d] : x[((b * s[1] + n) * s[0] + h) * s[2] + d]);
}

static double bias_at(const attention_case *k, const float *bias, const int64_t *i) {
  if (!k->bias_rank) return 0;
  int64_t offset = 0;
  for (int d = 0; d < k->bias_rank; d++) {
    const int64_t size = k->bias[d];
    offset = offset * size + (size == 1 ? 0 : i[4 - k->bias_rank + d]);
  }
  return (double)bias[offset];
}

static void attention_reference(const attention_case *k, const float *q, const float *key, const float *v,
                                const float *bias, double scale, double *y) {
  const int64_t sq[3] = {k->h, k->nq, k->d}, sk[3] = {k->h, k->nk, k->d}, sv[3] = {k->h, k->nk, k->dv};
  double p[1024];
  for (int64_t b = 0; b < k->b; b++)
    for (int64_t h = 0; h < k->h; h++)
      for (int64_t i = 0; i < k->nq; i++) {
        double top = -INFINITY, sum = 0;
        for (int64_t j = 0; j < k->nk; j++) {
          p[j] = 0;
          for (int64_t e = 0; e < k->d; e++)
            p[j] += at(q, k->q_rank, sq, b, h, i, e) * at(key, k->k_rank, sk, b, h, j, e);
          p[j] = p[j] * scale + bias_at(k, bias, (int64_t[]){b, h, i, j});
          if (p[j] > top) top = p[j];
        }
        for (int64_t j = 0; j < k->nk; j++) sum += p[j] = exp(p[j] - top);
        for (int64_t e = 0; e < k->dv; e++) {
          double o = 0;
          for (int64_t j = 0; j < k->nk; j++) o += p[j] / sum * at(v, k->v_rank, sv, b, h, j, e);
          y[k->y_rank == 4 ? ((b * k->h + h) * k->nq + i) * k->dv + e : ((b * k->nq + i) * k->h + h) * k->dv + e] = o;
        }
      }
}

static void attention_one(mien_env *env, const attention_case *k) {
  uint64_t seed = 21;
  op_call c = {.domain = "mien", .name = "Attention", .version = 1};
  op_attr_i(&c, "heads", k->h);
  op_attr_i(&c, "y_rank", k->y_rank);
  op_attr_f(&c, "scale", 0.75f);
  const float *q = attention_in(&c, k->q_rank, k->b, k->h, k->nq, k->d, &seed);
  const float *key = attention_in(&c, k->k_rank, k->b, k->h, k->nk, k->d, &seed);
  const float *v = attention_in(&c, k->v_rank, k->b, k->h, k->nk, k->dv, &seed);
  const float *bias = k->bias_rank ? isa_in(&c, k->bias_rank, k->bias, &seed) : NULL;
  isa_run_all(env, &c, -1);
  const int64_t count = mien_count(&c.out[0].type);
  double *want = calloc((size_t)count + 1, sizeof *want);
  attention_reference(k, q, key, v, bias, 0.75, want);
  op_expect(&c.out[0], want, count, 2e-6, 2e-6);
  free(want);
  op_free(&c);
}
static void attention_body(mien_env *env) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) attention_one(env, &cases[i]);
}
static void test_cases(void **state) { (void)state, isa_each(attention_body); }

/* Masked keys weigh nothing; a row without keys is NaN, its neighbours are not; a NaN stays in its row. */
static void mask_body(mien_env *env) {
  uint64_t seed = 22;
  op_call c = {.domain = "mien", .name = "Attention", .version = 1};
  op_attr_f(&c, "scale", 1);
  float *q = isa_in(&c, 4, OP_DIMS(1, 1, 17, 4), &seed);
  isa_in(&c, 4, OP_DIMS(1, 1, 19, 4), &seed);
  float *v = isa_in(&c, 4, OP_DIMS(1, 1, 19, 4), &seed);
  float *b = isa_in(&c, 2, OP_DIMS(17, 19), &seed);
  for (int i = 0; i < 17; i++)
    for (int j = 0; j < 19; j++) b[i * 19 + j] = i == 3 || j != 18 - i ? -INFINITY : 0;
  q[5 * 4] = NAN;
  op_run_ok(env, &c);
  const float *y = c.out[0].data;
  for (int i = 0; i < 17; i++)
    for (int e = 0; e < 4; e++) {
      if (i == 3 || i == 5)
        assert_true(isnan(y[i * 4 + e]));
      else
        assert_true(y[i * 4 + e] == v[(18 - i) * 4 + e]);
    }
  op_free(&c);
}
static void test_mask(void **state) { (void)state, isa_each(mask_body); }

static void test_refused(void **state) {
  static const int64_t shapes[][3][4] = {{{1, 2, 3, 4}, {1, 2, 5, 3}, {1, 2, 5, 4}},
                                         {{1, 2, 3, 4}, {1, 2, 5, 4}, {1, 2, 6, 4}},
                                         {{2, 2, 3, 4}, {1, 2, 5, 4}, {1, 2, 5, 4}}};
  for (int i = 0; i < 3; i++) {
    op_call c = {.domain = "mien", .name = "Attention", .version = 1};
    op_attr_f(&c, "scale", 1);
    for (int k = 0; k < 3; k++) op_in(&c, MIEN_F32, 4, shapes[i][k], NULL);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    assert_non_null(strstr(c.error.message, "do not fit"));
    op_free(&c);
  }
  op_call c = {.domain = "mien", .name = "Attention", .version = 1};
  op_attr_f(&c, "scale", 1);
  for (int k = 0; k < 3; k++) op_in(&c, MIEN_F32, 3, OP_DIMS(1, 2, 6), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "needs attribute heads"));
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cases),
      cmocka_unit_test(test_mask),
      cmocka_unit_test_setup_teardown(test_refused, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
