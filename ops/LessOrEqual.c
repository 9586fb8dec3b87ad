/* LessOrEqual: C[i] = whether A[i] <= B[i], stretched to one shape.  ai.onnx 16, 12. */
#include "ops/broadcast.h"

#define less_or_equal(C, s, x, y) ((x) <= (y))
MIEN_COMPARE(less_or_equal, mien_broadcast, MIEN_NUMBERS)

const mien_op mien_ops_LessOrEqual[] = {
    {.name = "LessOrEqual",
     .since = 12,
     .signature = "A:T, B:T -> C:bool",
     .kernels = less_or_equal_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast_bool,
     .prepare = mien_prepare_broadcast,
     .doc = "C[i] = whether A[i] <= B[i], stretched to one shape"},
    {.name = NULL},
};
