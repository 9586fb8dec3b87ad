/* Log: Y[i] = the natural logarithm of X[i], NaN below 0.  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define log_one(C, s, x) log(x)
MIEN_UNARY(log_one, void, MIEN_FLOATS)
MIEN_COST(log_one, 4)

const mien_op mien_ops_Log[] = {
    {.name = "Log",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = log_one_kernels,
     .infer = mien_infer_same,
     .prepare = log_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the natural logarithm of X[i], NaN below 0"},
    {.name = NULL},
};
