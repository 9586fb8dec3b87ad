/* Cosh: Y[i] = the hyperbolic cosine of X[i].  ai.onnx 22, 9. */
#include "ops/loop.h"
#include <tgmath.h>

#define cosh_one(C, s, x) cosh(x)
MIEN_UNARY(cosh_one, void, MIEN_FLOATS)
MIEN_COST(cosh_one, 10)

const mien_op mien_ops_Cosh[] = {
    {.name = "Cosh",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = cosh_one_kernels,
     .infer = mien_infer_same,
     .prepare = cosh_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the hyperbolic cosine of X[i]"},
    {.name = NULL},
};
