/* Mish: Y[i] = X[i] * tanh(log(1 + exp(X[i]))).  ai.onnx 22, 18.
** Written so that exp never overflows. */
#include "ops/loop.h"
#include <tgmath.h>

#define mish(C, s, x) ((x)*tanh(log1p(exp(-fabs(x))) + ((x) > 0 ? (x) : (C)0)))
MIEN_UNARY(mish, void, MIEN_FLOATS)
MIEN_COST(mish, 20)

const mien_op mien_ops_Mish[] = {
    {.name = "Mish",
     .since = 18,
     .signature = "X:T -> Y:T",
     .kernels = mish_kernels,
     .infer = mien_infer_same,
     .prepare = mish_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] * tanh(log(1 + exp(X[i])))"},
    {.name = NULL},
};
