/* Reciprocal: Y[i] = 1 / X[i].  ai.onnx 13, 6. */
#include "ops/loop.h"

#define reciprocal(C, s, x) ((C)1 / (x))
MIEN_UNARY(reciprocal, void, MIEN_FLOATS)

const mien_op mien_ops_Reciprocal[] = {
    {.name = "Reciprocal",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = reciprocal_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = 1 / X[i]"},
    {.name = NULL},
};
