/* Floor: Y[i] = the largest whole number that is not above X[i].  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define floor_one(C, s, x) floor(x)
MIEN_UNARY(floor_one, void, MIEN_FLOATS)

const mien_op mien_ops_Floor[] = {
    {.name = "Floor",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = floor_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the largest whole number that is not above X[i]"},
    {.name = NULL},
};
