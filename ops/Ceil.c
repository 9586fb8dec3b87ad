/* Ceil: Y[i] = the smallest whole number that is not below X[i].  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define ceil_one(C, s, x) ceil(x)
MIEN_UNARY(ceil_one, void, MIEN_FLOATS)

const mien_op mien_ops_Ceil[] = {
    {.name = "Ceil",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = ceil_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the smallest whole number that is not below X[i]"},
    {.name = NULL},
};
