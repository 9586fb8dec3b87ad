/* ops/kernels/impl_rows.c -- functions of one row: activations, softmax, layer normalisation. */
#include "ops/kernels/kernels.h"
#include "ops/kernels/vmath.h"

#define X(name, text)                                                                                                  \
  static void activate_##name(vf alpha, vf beta, const float *x, float *y, int64_t count) {                            \
    int64_t i = 0;                                                                                                     \
    for (; i + VL <= count; i += VL) vf_store(y + i, v_activate(MIEN_ACT_##name, vf_load(x + i), alpha, beta, alpha)); \
    if (i < count) {                                                                                                   \
      const vf v = vf_load_n(x + i, count - i);                                                                        \
      vf_store_n(y + i, v_activate(MIEN_ACT_##name, v, alpha, beta, alpha), count - i);                                \
    }                                                                                                                  \
  }
MIEN_ACTIVATION_MAP(X)
#undef X
#define X(name, text) activate_##name,
static void (*const activate_by_name[])(vf, vf, const float *, float *, int64_t) = {MIEN_ACTIVATION_MAP(X)};
#undef X

void MIEN_K(mien__activate)(mien_activation act, float alpha, float beta, const float *x, float *y, int64_t count) {
  activate_by_name[act](vf_set(alpha), vf_set(beta), x, y, count);
}

#define EACH(name, function)                                                            \
  void MIEN_K(name)(const float *x, float *y, int64_t count) {                          \
    int64_t i = 0;                                                                      \
    for (; i + VL <= count; i += VL) vf_store(y + i, function(vf_load(x + i)));         \
    if (i < count) vf_store_n(y + i, function(vf_load_n(x + i, count - i)), count - i); \
  }
EACH(mien__exp, v_exp)
EACH(mien__erf, v_erf)

void MIEN_K(mien__largest)(int64_t count, const float *const *rows, int64_t length, float *y) {
  for (int64_t j = 0; j < length; j += VL) {
    const int64_t wide = min_i64(VL, length - j);
    vf top = vf_set(-INFINITY);
    if (wide == VL)
      for (int64_t t = 0; t < count; t++) top = vf_max(top, vf_load(rows[t] + j));
    else
      for (int64_t t = 0; t < count; t++) top = vf_max(top, vf_load_n(rows[t] + j, wide));
    vf_store_n(y + j, top, wide);
  }
}

/* Two accumulators, so that additions overlap; the same for every call of one length. */
void MIEN_K(mien__softmax)(const float *x, float *y, int64_t count) {
  vf largest = vf_set(-INFINITY);
  int64_t i = 0;
  for (; i + VL <= count; i += VL) largest = vf_max2(vf_load(x + i), largest);
  if (i < count) {
    const vm m = vm_first(count - i);
    largest = vf_max2(vf_select(m, vf_load_n(x + i, count - i), vf_set(-INFINITY)), largest);
  }
  /* A NaN may be lost here, but not in the differences below. */
  const vf top = vf_set(vf_largest(largest));
  vf sum = vf_set(0), sum2 = vf_set(0);
  for (i = 0; i + 2 * VL <= count; i += 2 * VL) {
    const vf e = v_exp(vf_load(x + i) - top), f = v_exp(vf_load(x + i + VL) - top);
    vf_store(y + i, e);
    vf_store(y + i + VL, f);
    sum = sum + e;
    sum2 = sum2 + f;
  }
  for (; i < count; i += VL) {
    const int64_t rest = min_i64(VL, count - i);
    const vf e = v_exp(vf_load_n(x + i, rest) - top);
    vf_store_n(y + i, e, rest);
    sum = sum + vf_select(vm_first(rest), e, vf_set(0));
  }
  const vf total = vf_set(vf_sum(sum + sum2));
  for (i = 0; i + VL <= count; i += VL) vf_store(y + i, vf_load(y + i) / total);
  if (i < count) vf_store_n(y + i, vf_load_n(y + i, count - i) / total, count - i);
}

VEC float row_sum(const float *x, int64_t count) {
  vf sum = vf_set(0), sum2 = vf_set(0);
  int64_t i = 0;
  for (; i + 2 * VL <= count; i += 2 * VL) {
    sum = sum + vf_load(x + i);
    sum2 = sum2 + vf_load(x + i + VL);
  }
  for (; i < count; i += VL) sum = sum + vf_load_n(x + i, min_i64(VL, count - i));
  return vf_sum(sum + sum2);
}

VEC float row_squares(const float *x, float mean, int64_t count) {
  const vf m = vf_set(mean);
  vf sum = vf_set(0), sum2 = vf_set(0);
  int64_t i = 0;
  for (; i + 2 * VL <= count; i += 2 * VL) {
    const vf d = vf_load(x + i) - m, d2 = vf_load(x + i + VL) - m;
    sum = vf_fma(d, d, sum);
    sum2 = vf_fma(d2, d2, sum2);
  }
  for (; i < count; i += VL) {
    const int64_t rest = min_i64(VL, count - i);
    const vf d = vf_select(vm_first(rest), vf_load_n(x + i, rest) - m, vf_set(0));
    sum = vf_fma(d, d, sum);
  }
  return vf_sum(sum + sum2);
}

void MIEN_K(mien__layer_norm)(const float *x, const float *gamma, const float *beta, float epsilon, float *y,
                              int64_t count, float *mean, float *inv_std) {
  const float m = row_sum(x, count) / (float)count;
  const float inv = 1.0f / sqrtf(row_squares(x, m, count) / (float)count + epsilon);
  if (mean) *mean = m;
  if (inv_std) *inv_std = inv;
  if (!y) return;
  for (int64_t i = 0; i < count; i += VL) {
    const int64_t rest = min_i64(VL, count - i);
    vf v = (vf_load_n(x + i, rest) - vf_set(m)) * vf_set(inv);
    if (gamma) v = v * vf_load_n(gamma + i, rest);
    if (beta) v = v + vf_load_n(beta + i, rest);
    vf_store_n(y + i, v, rest);
  }
}
