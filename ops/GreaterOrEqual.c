/* GreaterOrEqual: C[i] = whether A[i] >= B[i], stretched to one shape.  ai.onnx 16, 12. */
#include "ops/broadcast.h"

#define greater_or_equal(C, s, x, y) ((x) >= (y))
MIEN_COMPARE(greater_or_equal, mien_broadcast, MIEN_NUMBERS)

const mien_op mien_ops_GreaterOrEqual[] = {
    {.name = "GreaterOrEqual",
     .since = 12,
     .signature = "A:T, B:T -> C:bool",
     .kernels = greater_or_equal_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast_bool,
     .prepare = mien_prepare_broadcast,
     .doc = "C[i] = whether A[i] >= B[i], stretched to one shape"},
    {.name = NULL},
};
