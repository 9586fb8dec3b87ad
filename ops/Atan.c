/* Atan: Y[i] = the inverse tangent of X[i].  ai.onnx 22, 7. */
#include "ops/loop.h"
#include <tgmath.h>

#define atan_one(C, s, x) atan(x)
MIEN_UNARY(atan_one, void, MIEN_FLOATS)
MIEN_COST(atan_one, 10)

const mien_op mien_ops_Atan[] = {
    {.name = "Atan",
     .since = 7,
     .signature = "X:T -> Y:T",
     .kernels = atan_one_kernels,
     .infer = mien_infer_same,
     .prepare = atan_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the inverse tangent of X[i]"},
    {.name = NULL},
};
