/* RMSNormalization: Y = X / sqrt(mean(X^2) + epsilon) * scale over the dimensions from `axis` on.  ai.onnx 23.
** stash_type 1 (float) is the only one supported. */
#include "ops/norm.h"

static mien_status rms_norm_infer(mien_node *n) {
  int axis;
  MIEN_TRY(norm_infer(n, &axis));
  return mien_infer_same(n);
}

static mien_status rms_norm_prepare(mien_node *n) { return norm_prepare(n, mien_state(n)); }

#define RMS_NORM_ONE(D, T, C, K, ...)                                          \
  static mien_status rms_norm_##D(mien_node *n, int64_t begin, int64_t end) {  \
    const norm_rows *r = mien_state(n);                                        \
    C *row = mien_scratch_of(n);                                               \
    for (int64_t i = begin; i < end; i++) {                                    \
      const T *x = (const T *)mien_in(n, 0)->data + i * r->count;              \
      C squares = 0;                                                           \
      for (int64_t j = 0; j < r->count; j++) {                                 \
        row[j] = MIEN_GET_##K(C, x[j]);                                        \
        squares += row[j] * row[j];                                            \
      }                                                                        \
      const C inv = 1 / NORM_SQRT(squares / (C)r->count + (C)r->epsilon);      \
      for (int64_t j = 0; j < r->count; j++) row[j] *= inv;                    \
      norm_affine_##D(n, r, row, (T *)mien_out(n, 0)->data + i * r->count, i); \
    }                                                                          \
    return MIEN_OK;                                                            \
  }
MIEN_FLOATS(RMS_NORM_ONE, )
MIEN_KERNELS(rms_norm, MIEN_FLOATS)

static const mien_attr rms_norm_attrs[] = {{.name = "axis", .kind = 'i', .i = -1},
                                           {.name = "epsilon", .kind = 'f', .f = 1e-5},
                                           {.name = "stash_type", .kind = 'i', .i = 1},
                                           {.name = NULL}};

const mien_op mien_ops_RMSNormalization[] = {
    {.name = "RMSNormalization",
     .since = 23,
     .signature = "X:T, scale:T -> Y:T",
     .attrs = rms_norm_attrs,
     .kernels = rms_norm_kernels,
     .state = sizeof(norm_rows),
     .infer = rms_norm_infer,
     .prepare = rms_norm_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "divides by the root of the mean square from the axis on, then scales"},
    {.name = NULL},
};
