/* Neg: Y[i] = -X[i].  ai.onnx 13, 6.
** The smallest signed integer has no positive counterpart and stays as it is. */
#include "ops/loop.h"

#define NEG_TYPES(X, ...) MIEN_FLOATS(X, __VA_ARGS__) MIEN_SIGNED(X, __VA_ARGS__)
#define neg(C, s, x) ((C)(-MIEN_WRAP(x)))
MIEN_UNARY(neg, void, NEG_TYPES)

static int64_t neg_dim(mien_node *n, int64_t a, int64_t b) {
  (void)b;
  return mien_dim(n, '-', 0, a);
}

const mien_op mien_ops_Neg[] = {
    {.name = "Neg",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = neg_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .dim_eval = neg_dim,
     .doc = "Y[i] = -X[i]"},
    {.name = NULL},
};
