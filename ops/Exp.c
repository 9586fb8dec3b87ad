/* Exp: Y[i] = exp(X[i]).  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define exp_one(C, s, x) exp(x)
MIEN_UNARY(exp_one, void, MIEN_FLOATS)
MIEN_COST(exp_one, 4)

const mien_op mien_ops_Exp[] = {
    {.name = "Exp",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = exp_one_kernels,
     .infer = mien_infer_same,
     .prepare = exp_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = exp(X[i])"},
    {.name = NULL},
};
