/* ops/norm.h -- what LayerNormalization and RMSNormalization share: rows from an axis on, and a scale and bias that are a
** row each or, more rarely, broadcast to X. */
#ifndef MIEN_OPS_NORM_H
#define MIEN_OPS_NORM_H

#include "ops/broadcast.h"
#include "ops/shape.h"
#include <math.h>

#define NORM_SQRT(v) _Generic((v), float : sqrtf, default : sqrt)(v)

typedef struct norm_rows {
  int64_t count;
  float epsilon;
  bool whole_rows; /* scale and bias, where given, have one element for each of a row */
  bool bias;
  mien_broadcast b; /* inputs: scale, bias */
} norm_rows;

static inline const void *norm_data(mien_node *n, int i) {
  const mien_tensor *t = mien_in(n, i);
  return t ? t->data : NULL;
}

static inline mien_status norm_infer(mien_node *n, int *axis) {
  const mien_type *x = &mien_in(n, 0)->type;
  if (x->rank < 1) return mien_fail(n, MIEN_INVALID_MODEL, "input X is a scalar, expected rank 1 or more");
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, axis));
  if (mien_attr_i(n, "stash_type") != 1)
    return mien_fail(n, MIEN_UNSUPPORTED, "stash_type is %lld, only 1 (float) is supported",
                     (long long)mien_attr_i(n, "stash_type"));
  for (int k = 1; k < 3; k++) {
    const mien_tensor *t = mien_in(n, k);
    bool fits = !t || t->type.rank <= x->rank;
    for (int i = 1; t && fits && i <= t->type.rank; i++) {
      const int64_t a = t->type.dim[t->type.rank - i], b = x->dim[x->rank - i];
      fits = a == 1 || a == b || mien_is_symbol(a) || mien_is_symbol(b);
    }
    char tt[128], tx[128];
    if (!fits)
      return mien_fail(n, MIEN_INVALID_MODEL, "input %d of shape %s cannot be broadcast to X of shape %s", k,
                       mien_shape_text(&t->type, tt, sizeof tt), mien_shape_text(x, tx, sizeof tx));
  }
  return MIEN_OK;
}

/* Whether t's last dimensions are x's from the axis on, and nothing but 1 before. */
static inline bool norm_is_row(const mien_type *t, const mien_type *x, int axis) {
  for (int i = 1; i <= x->rank; i++) {
    const int64_t have = i <= t->rank ? t->dim[t->rank - i] : 1;
    if (have != (x->rank - i >= axis ? x->dim[x->rank - i] : 1)) return false;
  }
  return true;
}

static inline mien_status norm_prepare(mien_node *n, norm_rows *r) {
  const mien_type *x = &mien_in(n, 0)->type, *in[2] = {&mien_in(n, 1)->type, NULL};
  int axis = 0;
  size_t bytes;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  r->count = shape_elements(x, axis, x->rank);
  r->epsilon = (float)mien_attr_f(n, "epsilon");
  r->bias = mien_in(n, 2) != NULL;
  in[1] = r->bias ? &mien_in(n, 2)->type : in[0];
  r->whole_rows = norm_is_row(in[0], x, axis) && norm_is_row(in[1], x, axis);
  mien_broadcast_make(&r->b, x, 2, in);
  if (__builtin_mul_overflow((size_t)r->count, sizeof(double), &bytes))
    return mien_fail(n, MIEN_LIMIT, "rows too long");
  MIEN_TRY(mien_scratch(n, bytes));
  mien_work(n, shape_elements(x, 0, axis), 0.5 * (double)r->count + 10);
  return MIEN_OK;
}

/* y = from * scale + bias for row `row`. */
#define NORM_AFFINE(D, T, C, K, ...)                                                                       \
  static inline void norm_affine_##D(mien_node *n, const norm_rows *r, const C *from, T *y, int64_t row) { \
    const T *scale = norm_data(n, 1), *bias = norm_data(n, 2);                                             \
    if (r->whole_rows) {                                                                                   \
      for (int64_t j = 0; j < r->count; j++) {                                                             \
        const C v = from[j] * MIEN_GET_##K(C, scale[j]);                                                   \
        y[j] = MIEN_PUT_##K(T, bias ? v + MIEN_GET_##K(C, bias[j]) : v);                                   \
      }                                                                                                    \
      return;                                                                                              \
    }                                                                                                      \
    if (r->count == 0) return; /* rows of nothing have no first element */                                 \
    mien_walk w;                                                                                           \
    mien_walk_start(&r->b, 2, &w, row * r->count);                                                         \
    for (int64_t j = 0; j < r->count; j++) {                                                               \
      const C v = from[j] * MIEN_GET_##K(C, scale[mien_walk_at(&r->b, &w, 0)]);                            \
      y[j] = MIEN_PUT_##K(T, bias ? v + MIEN_GET_##K(C, bias[mien_walk_at(&r->b, &w, 1)]) : v);            \
      if (j + 1 < r->count) mien_walk_advance(&r->b, 2, &w, 1);                                            \
    }                                                                                                      \
  }
MIEN_FLOATS(NORM_AFFINE, )

#endif
