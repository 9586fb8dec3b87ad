/* Sinh: Y[i] = the hyperbolic sine of X[i].  ai.onnx 22, 9. */
#include "ops/loop.h"
#include <tgmath.h>

#define sinh_one(C, s, x) sinh(x)
MIEN_UNARY(sinh_one, void, MIEN_FLOATS)
MIEN_COST(sinh_one, 10)

const mien_op mien_ops_Sinh[] = {
    {.name = "Sinh",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = sinh_one_kernels,
     .infer = mien_infer_same,
     .prepare = sinh_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the hyperbolic sine of X[i]"},
    {.name = NULL},
};
