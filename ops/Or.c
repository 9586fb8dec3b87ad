/* Or: C[i] = A[i] or B[i], stretched to one shape.  ai.onnx 7. */
#include "ops/broadcast.h"

#define or_two(C, s, x, y) ((x) | (y))
MIEN_BINARY(or_two, mien_broadcast, MIEN_BOOLS)

const mien_op mien_ops_Or[] = {
    {.name = "Or",
     .since = 7,
     .signature = "A:T, B:T -> C:T",
     .kernels = or_two_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .doc = "C[i] = A[i] or B[i], stretched to one shape"},
    {.name = NULL},
};
