/* Asinh: Y[i] = the inverse hyperbolic sine of X[i].  ai.onnx 22, 9. */
#include "ops/loop.h"
#include <tgmath.h>

#define asinh_one(C, s, x) asinh(x)
MIEN_UNARY(asinh_one, void, MIEN_FLOATS)
MIEN_COST(asinh_one, 10)

const mien_op mien_ops_Asinh[] = {
    {.name = "Asinh",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = asinh_one_kernels,
     .infer = mien_infer_same,
     .prepare = asinh_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the inverse hyperbolic sine of X[i]"},
    {.name = NULL},
};
