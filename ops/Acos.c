/* Acos: Y[i] = the inverse cosine of X[i].  ai.onnx 22, 7. */
#include "ops/loop.h"
#include <tgmath.h>

#define acos_one(C, s, x) acos(x)
MIEN_UNARY(acos_one, void, MIEN_FLOATS)
MIEN_COST(acos_one, 10)

const mien_op mien_ops_Acos[] = {
    {.name = "Acos",
     .since = 7,
     .signature = "X:T -> Y:T",
     .kernels = acos_one_kernels,
     .infer = mien_infer_same,
     .prepare = acos_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the inverse cosine of X[i]"},
    {.name = NULL},
};
