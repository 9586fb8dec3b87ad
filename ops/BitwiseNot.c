/* BitwiseNot: Y[i] = X[i] with every bit turned.  ai.onnx 18. */
#include "ops/loop.h"

#define bitwise_not(C, s, x) ((C) ~(x))
MIEN_UNARY(bitwise_not, void, MIEN_INTS)

const mien_op mien_ops_BitwiseNot[] = {
    {.name = "BitwiseNot",
     .since = 18,
     .signature = "X:T -> Y:T",
     .kernels = bitwise_not_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] with every bit turned"},
    {.name = NULL},
};
