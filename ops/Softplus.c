/* Softplus: Y[i] = log(exp(X[i]) + 1).  ai.onnx 22, 1.
** Written so that exp never overflows. */
#include "ops/loop.h"
#include <tgmath.h>

#define softplus(C, s, x) (log1p(exp(-fabs(x))) + ((x) > 0 ? (x) : (C)0))
MIEN_UNARY(softplus, void, MIEN_FLOATS)
MIEN_COST(softplus, 12)

const mien_op mien_ops_Softplus[] = {
    {.name = "Softplus",
     .since = 1,
     .signature = "X:T -> Y:T",
     .kernels = softplus_kernels,
     .infer = mien_infer_same,
     .prepare = softplus_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = log(exp(X[i]) + 1)"},
    {.name = NULL},
};
