/* Atanh: Y[i] = the inverse hyperbolic tangent of X[i].  ai.onnx 22, 9. */
#include "ops/loop.h"
#include <tgmath.h>

#define atanh_one(C, s, x) atanh(x)
MIEN_UNARY(atanh_one, void, MIEN_FLOATS)
MIEN_COST(atanh_one, 10)

const mien_op mien_ops_Atanh[] = {
    {.name = "Atanh",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = atanh_one_kernels,
     .infer = mien_infer_same,
     .prepare = atanh_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the inverse hyperbolic tangent of X[i]"},
    {.name = NULL},
};
