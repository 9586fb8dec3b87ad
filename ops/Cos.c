/* Cos: Y[i] = the cosine of X[i].  ai.onnx 22, 7. */
#include "ops/loop.h"
#include <tgmath.h>

#define cos_one(C, s, x) cos(x)
MIEN_UNARY(cos_one, void, MIEN_FLOATS)
MIEN_COST(cos_one, 10)

const mien_op mien_ops_Cos[] = {
    {.name = "Cos",
     .since = 7,
     .signature = "X:T -> Y:T",
     .kernels = cos_one_kernels,
     .infer = mien_infer_same,
     .prepare = cos_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the cosine of X[i]"},
    {.name = NULL},
};
