/* Sum: Y[i] = the sum of the inputs' elements i, stretched to one shape.  ai.onnx 13, 8, 6 (equal shapes). */
#include "ops/broadcast.h"

#define sum_all(C, x, y) ((x) + (y))
MIEN_VARIADIC(sum_all, MIEN_LAST_SAME, MIEN_FLOATS)

const mien_op mien_ops_Sum[] = {
    {.name = "Sum",
     .since = 6,
     .signature = "data:T... -> Y:T",
     .kernels = sum_all_kernels,
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_variadic,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .doc = "Y[i] = the sum of the inputs' elements i, stretched to one shape"},
    {.name = NULL},
};
