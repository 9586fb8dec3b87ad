/* Not: Y[i] = whether X[i] is false.  ai.onnx 1. */
#include "ops/loop.h"

#define not_one(C, s, x) (!(x))
MIEN_UNARY(not_one, void, MIEN_BOOLS)

const mien_op mien_ops_Not[] = {
    {.name = "Not",
     .since = 1,
     .signature = "X:T -> Y:T",
     .kernels = not_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = whether X[i] is false"},
    {.name = NULL},
};
