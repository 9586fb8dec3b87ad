/* Clip: Y[i] = X[i] kept within [min, max]; max where min > max.  ai.onnx 13, 12 (integers), 11 (bounds as inputs), 6.
** NaN stays; a bound that is NaN makes all NaN. An absent bound is none (before 11: the largest finite float). */
#include "ops/loop.h"
#include <float.h>

#define CLIP_BETWEEN(D, T, C, K, op)                                                                        \
  static void op##_between_##D(const T *x, T *y, int64_t begin, int64_t end, const C *low, const C *high) { \
    if (low && high) {                                                                                      \
      const C l = *low, h = *high;                                                                          \
      MIEN_INDEPENDENT                                                                                      \
      for (int64_t i = begin; i < end; i++) {                                                               \
        const C v = MIEN_GET_##K(C, x[i]), raised = v < l || l != l ? l : v;                                \
        y[i] = MIEN_PUT_##K(T, raised > h || h != h ? h : raised);                                          \
      }                                                                                                     \
    } else {                                                                                                \
      for (int64_t i = begin; i < end; i++) {                                                               \
        C v = MIEN_GET_##K(C, x[i]);                                                                        \
        if (low && (v < *low || *low != *low)) v = *low;                                                    \
        if (high && (v > *high || *high != *high)) v = *high;                                               \
        y[i] = MIEN_PUT_##K(T, v);                                                                          \
      }                                                                                                     \
    }                                                                                                       \
  }

#define CLIP_INPUTS(D, T, C, K, op)                                                                                 \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) {                                           \
    const mien_tensor *min = mien_in(n, 1), *max = mien_in(n, 2);                                                   \
    const C low = min ? MIEN_GET_##K(C, *(const T *)min->data) : 0;                                                 \
    const C high = max ? MIEN_GET_##K(C, *(const T *)max->data) : 0;                                                \
    op##_between_##D(mien_in(n, 0)->data, mien_out(n, 0)->data, begin, end, min ? &low : NULL, max ? &high : NULL); \
    return MIEN_OK;                                                                                                 \
  }
MIEN_NUMBERS(CLIP_BETWEEN, clip)
MIEN_NUMBERS(CLIP_INPUTS, clip)
MIEN_KERNELS(clip, MIEN_NUMBERS)

#define CLIP_ATTRS(D, T, C, K, op)                                                        \
  static mien_status op##_attr_##D(mien_node *n, int64_t begin, int64_t end) {            \
    const C low = (C)mien_attr_f(n, "min"), high = (C)mien_attr_f(n, "max");              \
    op##_between_##D(mien_in(n, 0)->data, mien_out(n, 0)->data, begin, end, &low, &high); \
    return MIEN_OK;                                                                       \
  }
MIEN_FLOATS(CLIP_ATTRS, clip)
MIEN_KERNELS(clip_attr, MIEN_FLOATS)

static mien_status clip_bound(mien_node *n, int i, const char *what) {
  const mien_tensor *bound = mien_in(n, i);
  if (!bound || mien_count(&bound->type) == 1 || (bound->type.rank == 1 && mien_is_symbol(bound->type.dim[0])))
    return MIEN_OK;
  return mien_fail(n, MIEN_INVALID_MODEL, "%s has rank %d, expected a scalar", what, (int)bound->type.rank);
}

static mien_status clip_infer(mien_node *n) {
  MIEN_TRY(clip_bound(n, 1, "min"));
  MIEN_TRY(clip_bound(n, 2, "max"));
  return mien_infer_same(n);
}

static const mien_attr clip_attrs[] = {{.name = "max", .kind = 'f', .f = (double)FLT_MAX},
                                       {.name = "min", .kind = 'f', .f = -(double)FLT_MAX},
                                       {.name = NULL}};

const mien_op mien_ops_Clip[] = {
    {.name = "Clip",
     .since = 6,
     .until = 10,
     .signature = "X:T -> Y:T",
     .attrs = clip_attrs,
     .kernels = clip_attr_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] kept within [min, max]"},
    {.name = "Clip",
     .since = 11,
     .signature = "X:T, min:T?, max:T? -> Y:T",
     .kernels = clip_kernels,
     .infer = clip_infer,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] kept within [min, max]"},
    {.name = NULL},
};
