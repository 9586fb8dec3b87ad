/* BitwiseOr: C[i] = the bits of A[i] or B[i], stretched to one shape.  ai.onnx 18. */
#include "ops/broadcast.h"

#define bitwise_or(C, s, x, y) ((C)((x) | (y)))
MIEN_BINARY(bitwise_or, mien_broadcast, MIEN_INTS)

const mien_op mien_ops_BitwiseOr[] = {
    {.name = "BitwiseOr",
     .since = 18,
     .signature = "A:T, B:T -> C:T",
     .kernels = bitwise_or_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .doc = "C[i] = the bits of A[i] or B[i], stretched to one shape"},
    {.name = NULL},
};
