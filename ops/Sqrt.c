/* Sqrt: Y[i] = sqrt(X[i]), NaN below 0.  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define sqrt_one(C, s, x) sqrt(x)
MIEN_UNARY(sqrt_one, void, MIEN_FLOATS)

const mien_op mien_ops_Sqrt[] = {
    {.name = "Sqrt",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = sqrt_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = sqrt(X[i]), NaN below 0"},
    {.name = NULL},
};
