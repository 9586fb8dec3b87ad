/* Sin: Y[i] = the sine of X[i].  ai.onnx 22, 7. */
#include "ops/loop.h"
#include <tgmath.h>

#define sin_one(C, s, x) sin(x)
MIEN_UNARY(sin_one, void, MIEN_FLOATS)
MIEN_COST(sin_one, 10)

const mien_op mien_ops_Sin[] = {
    {.name = "Sin",
     .since = 7,
     .signature = "X:T -> Y:T",
     .kernels = sin_one_kernels,
     .infer = mien_infer_same,
     .prepare = sin_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the sine of X[i]"},
    {.name = NULL},
};
