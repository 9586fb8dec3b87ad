/* Asin: Y[i] = the inverse sine of X[i].  ai.onnx 22, 7. */
#include "ops/loop.h"
#include <tgmath.h>

#define asin_one(C, s, x) asin(x)
MIEN_UNARY(asin_one, void, MIEN_FLOATS)
MIEN_COST(asin_one, 10)

const mien_op mien_ops_Asin[] = {
    {.name = "Asin",
     .since = 7,
     .signature = "X:T -> Y:T",
     .kernels = asin_one_kernels,
     .infer = mien_infer_same,
     .prepare = asin_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the inverse sine of X[i]"},
    {.name = NULL},
};
