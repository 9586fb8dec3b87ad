/* Attention of ai.onnx against double precision: shared heads, a past, masks short and long, causal rows, the capped and
** shown logits, padded keys; its bits on any number of threads. */
#include "ops/isa.h"

typedef struct attention_case {
  int64_t b, h, kh, nq, past, fresh, d, dv, mask_length;
  int rank; /* of Q, K, V */
  bool causal, mask_bool;
  float cap;
  int64_t mode, version;
} attention_case;

static const attention_case cases[] = {
    {2, 2, 2, 3, 0, 5, 4, 4, 0, 4, false, false, 0, 0, 23},   {2, 4, 2, 3, 0, 5, 4, 6, 5, 4, false, false, 0, 1, 23},
    {1, 6, 3, 4, 3, 4, 5, 2, 7, 3, true, false, 0, 2, 23},    {2, 2, 1, 4, 2, 4, 3, 3, 4, 3, false, true, 2, 3, 23},
    {1, 1, 1, 5, 0, 5, 3, 3, 0, 4, true, false, 1.5f, 2, 23}, {2, 2, 2, 3, 0, 6, 4, 4, 0, 4, false, false, 0, 3, 24},
    {2, 2, 2, 3, 0, 6, 4, 4, 6, 4, true, false, 0, 2, 24},    {0, 2, 2, 3, 0, 5, 4, 4, 0, 4, false, false, 0, 0, 23},
    {1, 2, 2, 3, 0, 0, 4, 4, 0, 4, false, false, 0, 0, 23},
};

enum { MOST = 1024 };

static int64_t element(const attention_case *k, int64_t heads, int64_t n, int64_t d, const int64_t *i) {
  return k->rank == 4 ? ((i[0] * heads + i[1]) * n + i[2]) * d + i[3] : ((i[0] * n + i[2]) * heads + i[1]) * d + i[3];
}

typedef struct attention_data {
  const float *q, *k, *v, *mask, *past_k, *past_v;
  const uint8_t *allowed;
  int64_t length[2]; /* keys that are no padding */
} attention_data;

static double key_at(const attention_case *k, const float *past, const float *fresh, int64_t depth, int64_t b,
                     int64_t h, int64_t j, int64_t e) {
  if (j < k->past) return (double)past[((b * k->kh + h) * k->past + j) * depth + e];
  return (double)fresh[element(k, k->kh, k->fresh, depth, (int64_t[]){b, h, j - k->past, e})];
}

static void one_row(const attention_case *k, const attention_data *a, int64_t b, int64_t h, int64_t i, double *shown,
                    double *y) {
  const int64_t keys = k->past + k->fresh, kv = h / (k->h / k->kh);
  double p[16], top = -INFINITY, sum = 0;
  for (int64_t j = 0; j < keys; j++) {
    double dot = 0;
    for (int64_t e = 0; e < k->d; e++)
      dot += (double)a->q[element(k, k->h, k->nq, k->d, (int64_t[]){b, h, i, e})] *
             key_at(k, a->past_k, a->k, k->d, b, kv, j, e);
    p[j] = dot / sqrt((double)k->d);
    if (k->mode == 0) shown[j] = p[j];
    if (k->cap > 0) p[j] = (double)k->cap * tanh(p[j] / (double)k->cap);
    if (k->mode == 1) shown[j] = p[j];
    const int64_t m = i * k->mask_length + j;
    if (k->mask_length && j >= k->mask_length) p[j] = -INFINITY;
    if (k->mask_length && j < k->mask_length && k->mask_bool && !a->allowed[m]) p[j] = -INFINITY;
    if (k->mask_length && j < k->mask_length && !k->mask_bool) p[j] += (double)a->mask[m];
    const int64_t last = k->version == 24 ? i + a->length[b] - k->nq : i + k->past;
    if ((k->causal && j > last) || (k->version == 24 && j >= a->length[b])) p[j] = -INFINITY;
    if (k->mode == 2) shown[j] = p[j];
    top = fmax(top, p[j]);
  }
  for (int64_t j = 0; j < keys; j++) sum += p[j] = top == -INFINITY ? 0 : exp(p[j] - top);
  for (int64_t j = 0; j < keys; j++) p[j] = sum > 0 ? p[j] / sum : 0;
  for (int64_t j = 0; j < keys && k->mode == 3; j++) shown[j] = p[j];
  for (int64_t e = 0; e < k->dv; e++) {
    double o = 0;
    for (int64_t j = 0; j < keys; j++) o += p[j] * key_at(k, a->past_v, a->v, k->dv, b, kv, j, e);
    y[element(k, k->h, k->nq, k->dv, (int64_t[]){b, h, i, e})] = o;
  }
}

static const float *operand(op_call *c, const attention_case *k, int64_t heads, int64_t n, int64_t d, uint64_t *seed) {
  return k->rank == 4 ? isa_in(c, 4, OP_DIMS(k->b, heads, n, d), seed)
                      : isa_in(c, 3, OP_DIMS(k->b, n, heads * d), seed);
}

static void attention_one(mien_env *env, const attention_case *k) {
  uint64_t seed = 61;
  attention_data a = {.length = {4, 2}};
  op_call c = {.name = "Attention", .version = (int)k->version, .out_count = 4};
  op_attr_i(&c, "is_causal", k->causal);
  op_attr_i(&c, "qk_matmul_output_mode", k->mode);
  op_attr_f(&c, "softcap", k->cap);
  if (k->rank == 3) op_attr_i(&c, "q_num_heads", k->h), op_attr_i(&c, "kv_num_heads", k->kh);
  a.q = operand(&c, k, k->h, k->nq, k->d, &seed);
  a.k = operand(&c, k, k->kh, k->fresh, k->d, &seed);
  a.v = operand(&c, k, k->kh, k->fresh, k->dv, &seed);
  if (!k->mask_length) {
    op_absent(&c);
  } else if (k->mask_bool) {
    uint8_t *allowed = op_in(&c, MIEN_BOOL, 2, OP_DIMS(k->nq, k->mask_length), NULL);
    for (int64_t i = 0; i < k->nq * k->mask_length; i++)
      allowed[i] = i >= k->mask_length && op_random(&seed, 0, 1) < 0.6;
    a.allowed = allowed; /* the first row keeps no key */
  } else {
    a.mask = isa_in(&c, 2, OP_DIMS(k->nq, k->mask_length), &seed);
  }
  if (k->past) {
    a.past_k = isa_in(&c, 4, OP_DIMS(k->b, k->kh, k->past, k->d), &seed);
    a.past_v = isa_in(&c, 4, OP_DIMS(k->b, k->kh, k->past, k->dv), &seed);
  } else {
    op_absent(&c), op_absent(&c);
  }
  if (k->version == 24) op_in(&c, MIEN_I64, 1, OP_DIMS(2), a.length);
  const int64_t keys = k->past + k->fresh;
  static double y[MOST], shown[MOST], present[MOST];
  for (int64_t r = 0; r < k->b * k->h * k->nq; r++)
    one_row(k, &a, r / k->nq / k->h, r / k->nq % k->h, r % k->nq, shown + r * keys, y);
  isa_run_all(env, &c, -1);
  op_expect(&c.out[0], y, k->b * k->h * k->nq * k->dv, 1e-6, 1e-6);
  op_expect(&c.out[3], shown, k->b * k->h * k->nq * keys, 1e-6, 1e-6);
  for (int v = 0; v < 2; v++) {
    const int64_t depth = v ? k->dv : k->d, count = k->b * k->kh * keys * depth;
    for (int64_t i = 0; i < count; i++)
      present[i] = key_at(k, v ? a.past_v : a.past_k, v ? a.v : a.k, depth, i / depth / keys / k->kh,
                          i / depth / keys % k->kh, i / depth % keys, i % depth);
    op_expect(&c.out[1 + v], present, count, 0, 0);
  }
  op_free(&c);
}

static void test_cases(void **state) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) attention_one(*state, &cases[i]);
}

static void test_refused(void **state) {
  for (int k = 0; k < 4; k++) {
    op_call c = {.name = "Attention", .version = 23};
    if (k == 3) op_attr_i(&c, "qk_matmul_output_mode", 4);
    op_in(&c, MIEN_F32, 4, OP_DIMS(1, k == 0 ? 3 : 2, 3, 4), NULL);
    op_in(&c, MIEN_F32, 4, OP_DIMS(1, 2, 5, 4), NULL);
    op_in(&c, MIEN_F32, 4, OP_DIMS(1, 2, k == 1 ? 6 : 5, 4), NULL);
    if (k == 2) op_in(&c, MIEN_F32, 2, OP_DIMS(3, 6), NULL);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_cases, op_env_setup, op_env_teardown),
      cmocka_unit_test_setup_teardown(test_refused, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
