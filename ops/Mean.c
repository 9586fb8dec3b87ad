/* Mean: Y[i] = the mean of the inputs' elements i, stretched to one shape.  ai.onnx 13, 8, 6 (equal shapes). */
#include "ops/broadcast.h"

#define mean_last(C, sum, inputs) ((sum) / (C)(inputs))
#define mean_all(C, x, y) ((x) + (y))
MIEN_VARIADIC(mean_all, mean_last, MIEN_FLOATS)

const mien_op mien_ops_Mean[] = {
    {.name = "Mean",
     .since = 6,
     .signature = "data:T... -> Y:T",
     .kernels = mean_all_kernels,
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_variadic,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .doc = "Y[i] = the mean of the inputs' elements i, stretched to one shape"},
    {.name = NULL},
};
