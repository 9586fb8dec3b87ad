/* Abs: Y[i] = |X[i]|.  ai.onnx 13, 6.
** The smallest signed integer has no positive counterpart and stays as it is. */
#include "ops/loop.h"

#define abs_one(C, s, x) MIEN_MAGNITUDE(C, x)
MIEN_UNARY(abs_one, void, MIEN_NUMBERS)

const mien_op mien_ops_Abs[] = {
    {.name = "Abs",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = abs_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = |X[i]|"},
    {.name = NULL},
};
