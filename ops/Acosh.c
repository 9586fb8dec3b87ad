/* Acosh: Y[i] = the inverse hyperbolic cosine of X[i].  ai.onnx 22, 9. */
#include "ops/loop.h"
#include <tgmath.h>

#define acosh_one(C, s, x) acosh(x)
MIEN_UNARY(acosh_one, void, MIEN_FLOATS)
MIEN_COST(acosh_one, 10)

const mien_op mien_ops_Acosh[] = {
    {.name = "Acosh",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = acosh_one_kernels,
     .infer = mien_infer_same,
     .prepare = acosh_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the inverse hyperbolic cosine of X[i]"},
    {.name = NULL},
};
