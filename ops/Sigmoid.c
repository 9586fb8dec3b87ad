/* Sigmoid: Y[i] = 1 / (1 + exp(-X[i])).  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define sigmoid(C, s, x) ((C)1 / ((C)1 + exp(-(x))))
#define sigmoid_fast(m, x, y, count) (m)->activate(MIEN_ACT_SIGMOID, 0, 0, (x), (y), (count))
MIEN_UNARY_FAST(sigmoid, void, MIEN_FLOATS_BUT_F32, activate, sigmoid_fast)
MIEN_KERNELS(sigmoid, MIEN_FLOATS)
MIEN_COST_FAST(sigmoid, 2, activate)

const mien_op mien_ops_Sigmoid[] = {
    {.name = "Sigmoid",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = sigmoid_kernels,
     .infer = mien_infer_same,
     .prepare = sigmoid_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = 1 / (1 + exp(-X[i]))"},
    {.name = NULL},
};
