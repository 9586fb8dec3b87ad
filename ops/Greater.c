/* Greater: C[i] = whether A[i] > B[i], stretched to one shape.  ai.onnx 13, 9, 7. */
#include "ops/broadcast.h"

#define greater(C, s, x, y) ((x) > (y))
MIEN_COMPARE(greater, mien_broadcast, MIEN_NUMBERS)

const mien_op mien_ops_Greater[] = {
    {.name = "Greater",
     .since = 7,
     .signature = "A:T, B:T -> C:bool",
     .kernels = greater_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast_bool,
     .prepare = mien_prepare_broadcast,
     .doc = "C[i] = whether A[i] > B[i], stretched to one shape"},
    {.name = NULL},
};
