/* Sign: Y[i] = -1, 0 or 1 by the sign of X[i].  ai.onnx 13, 9. */
#include "ops/loop.h"

#define sign_one(C, s, x) ((x) > 0 ? (C)1 : (x) < 0 ? (C)-1 : (x))
MIEN_UNARY(sign_one, void, MIEN_NUMBERS)

const mien_op mien_ops_Sign[] = {
    {.name = "Sign",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = sign_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = -1, 0 or 1 by the sign of X[i]"},
    {.name = NULL},
};
