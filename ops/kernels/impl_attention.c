/* ops/kernels/impl_attention.c -- softmax(scale * Q K^T + bias) V for blocks of GEMM_ROWS query rows against all keys of
** one head. Only those rows' logits exist; they stay in the second-level cache. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

typedef struct attention_memory {
  float *keys, *values; /* packed for one (batch, head) */
  float *logits;        /* GEMM_ROWS x stride */
  int64_t stride;
} attention_memory;

/* A whole number of panels a row, so that products are made in place, and rows that do not collide in the cache. */
static int64_t attention_stride(int64_t keys) {
  const int64_t stride = (keys + GEMM_COLUMNS - 1) / GEMM_COLUMNS * GEMM_COLUMNS;
  return stride % 1024 == 0 ? stride + GEMM_COLUMNS : stride;
}

static bool attention_sizes(const mien_attention *a, size_t *keys, size_t *values, size_t *total) {
  size_t logits;
  *keys = MIEN_K(mien__gemm_pack_bytes)(a->depth, a->keys);
  *values = MIEN_K(mien__gemm_pack_bytes)(a->keys, a->value_depth);
  if (*keys == SIZE_MAX || *values == SIZE_MAX || a->keys > INT64_MAX / 4096) return false;
  if (__builtin_mul_overflow((size_t)attention_stride(a->keys), GEMM_ROWS * sizeof(float), &logits)) return false;
  return !__builtin_add_overflow(*keys, *values, total) && !__builtin_add_overflow(*total, logits, total);
}

size_t MIEN_K(mien__attention_scratch)(const mien_attention *a) {
  size_t keys, values, total;
  return attention_sizes(a, &keys, &values, &total) ? total : SIZE_MAX;
}

/* s = exp(scale * s + bias - max) in place; returns the sum. next: a bias that is read soon, NULL: none. */
VEC float attention_row_of(const bool biased, float *s, const float *bias, const float *next, float scale,
                           int64_t count) {
  const vf factor = vf_set(scale);
  vf largest = vf_set(-INFINITY), largest2 = largest;
  int64_t i = 0;
  for (; i + 2 * VL <= count; i += 2 * VL) {
    vf v = vf_load(s + i) * factor, w = vf_load(s + i + VL) * factor;
    if (biased) v = v + vf_load(bias + i), w = w + vf_load(bias + i + VL);
    vf_store(s + i, v);
    vf_store(s + i + VL, w);
    largest = vf_max2(v, largest);
    largest2 = vf_max2(w, largest2);
  }
  for (; i < count; i += VL) {
    const int64_t rest = min_i64(VL, count - i);
    vf v = vf_load(s + i) * factor;
    if (biased) v = v + vf_load_n(bias + i, rest);
    if (rest < VL) v = vf_select(vm_first(rest), v, vf_set(-INFINITY));
    vf_store(s + i, v);
    largest = vf_max2(v, largest);
  }
  const vf top = vf_set(vf_largest(vf_max2(largest, largest2)));
  vf sum = vf_set(0), sum2 = vf_set(0);
  for (i = 0; i + 2 * VL <= count; i += 2 * VL) {
    const vf e = v_exp(vf_load(s + i) - top), f = v_exp(vf_load(s + i + VL) - top);
    vf_store(s + i, e);
    vf_store(s + i + VL, f);
    sum = sum + e;
    sum2 = sum2 + f;
    if (next) /* while there is much to compute */
      for (int at = 0; at < 2 * VL; at += 16) vf_prefetch(next + i + at);
  }
  for (; i < count; i += VL) {
    const vf e = v_exp(vf_load(s + i) - top);
    vf_store(s + i, e);
    sum = sum + vf_select(vm_first(min_i64(VL, count - i)), e, vf_set(0));
  }
  return vf_sum(sum + sum2);
}

/* Rows [row, row + rows); next: the bias' row of the first one of the block that comes next, NULL: none. */
static void attention_block(const mien_attention *a, const attention_memory *m, int64_t batch, int64_t head,
                            int64_t row, int64_t rows, const float *next) {
  const float *q = a->q + batch / a->q_batch_div * a->qs.batch + head * a->qs.head + row * a->qs.row;
  float *y = a->y + batch * a->ys.batch + head * a->ys.head + row * a->ys.row;
  const int64_t keys = (a->keys + GEMM_COLUMNS - 1) / GEMM_COLUMNS * GEMM_COLUMNS; /* as packed */
  MIEN_K(mien__gemm)(rows, keys, a->depth, q, a->qs.row, m->keys, m->logits, m->stride, 0, keys, NULL);
  float sums[GEMM_ROWS];
  for (int64_t i = 0; i < rows; i++) {
    float *s = m->logits + i * m->stride;
    const float *bias = a->bias;
    if (bias) bias += batch * a->bs.batch + head * a->bs.head + (row + i) * a->bs.row;
    sums[i] = bias ? attention_row_of(true, s, bias, next ? next + i * a->bs.row : NULL, a->scale, a->keys)
                   : attention_row_of(false, s, NULL, NULL, a->scale, a->keys);
  }
  MIEN_K(mien__gemm)
  (rows, a->value_depth, a->keys, m->logits, m->stride, m->values, y, a->ys.row, 0, a->value_depth, NULL);
  for (int64_t i = 0; i < rows; i++) {
    float *out = y + i * a->ys.row;
    const vf sum = vf_set(a->keys ? sums[i] : 1.0f); /* without keys the product is 0 */
    for (int64_t j = 0; j < a->value_depth; j += VL) {
      const int64_t rest = min_i64(VL, a->value_depth - j);
      vf_store_n(out + j, vf_load_n(out + j, rest) / sum, rest);
    }
  }
}

void MIEN_K(mien__attention)(const mien_attention *a, int64_t begin, int64_t end, void *scratch) {
  size_t keys, values, total;
  if (!attention_sizes(a, &keys, &values, &total)) return; /* refused when the scratch was asked for */
  float *base = scratch;
  const attention_memory m = {.keys = base,
                              .values = base + keys / sizeof(float),
                              .logits = base + (keys + values) / sizeof(float),
                              .stride = attention_stride(a->keys)};
  const int64_t blocks = (a->queries + GEMM_ROWS - 1) / GEMM_ROWS;
  int64_t packed = -1;
  for (int64_t item = begin; item < end; item++) {
    const int64_t block = item % blocks, pair = item / blocks, head = pair % a->heads, batch = pair / a->heads;
    if (packed != pair) {
      const int64_t shared = batch / a->kv_batch_div;
      const float *k = a->k + shared * a->ks.batch + head * a->ks.head;
      const float *v = a->v + shared * a->vs.batch + head * a->vs.head;
      MIEN_K(mien__gemm_pack)(a->depth, a->keys, k, 1, a->ks.row, m.keys);
      MIEN_K(mien__gemm_pack)(a->keys, a->value_depth, v, a->vs.row, 1, m.values);
      packed = pair;
    }
    const int64_t row = block * GEMM_ROWS;
    const float *next = NULL;
    if (a->bias && a->bs.row != 0 && row + 2 * GEMM_ROWS <= a->queries)
      next = a->bias + batch * a->bs.batch + head * a->bs.head + (row + GEMM_ROWS) * a->bs.row;
    attention_block(a, &m, batch, head, row, min_i64(GEMM_ROWS, a->queries - row), next);
  }
}
