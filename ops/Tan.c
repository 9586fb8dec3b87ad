/* Tan: Y[i] = the tangent of X[i].  ai.onnx 22, 7. */
#include "ops/loop.h"
#include <tgmath.h>

#define tan_one(C, s, x) tan(x)
MIEN_UNARY(tan_one, void, MIEN_FLOATS)
MIEN_COST(tan_one, 10)

const mien_op mien_ops_Tan[] = {
    {.name = "Tan",
     .since = 7,
     .signature = "X:T -> Y:T",
     .kernels = tan_one_kernels,
     .infer = mien_infer_same,
     .prepare = tan_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the tangent of X[i]"},
    {.name = NULL},
};
