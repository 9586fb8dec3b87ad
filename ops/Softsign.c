/* Softsign: Y[i] = X[i] / (1 + |X[i]|).  ai.onnx 22, 1. */
#include "ops/loop.h"
#include <tgmath.h>

#define softsign(C, s, x) ((x) / (1 + fabs(x)))
MIEN_UNARY(softsign, void, MIEN_FLOATS)

const mien_op mien_ops_Softsign[] = {
    {.name = "Softsign",
     .since = 1,
     .signature = "X:T -> Y:T",
     .kernels = softsign_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] / (1 + |X[i]|)"},
    {.name = NULL},
};
