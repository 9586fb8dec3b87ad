/* HardSwish: Y[i] = X[i] * max(0, min(1, X[i] / 6 + 1 / 2)).  ai.onnx 22, 14. */
#include "ops/loop.h"

#define hard_swish_gate(C, g) ((g) < 0 ? (C)0 : (g) > 1 ? (C)1 : (g))
#define hard_swish(C, s, x) ((x)*hard_swish_gate(C, (x) / 6 + (C)0.5))
MIEN_UNARY(hard_swish, void, MIEN_FLOATS)

const mien_op mien_ops_HardSwish[] = {
    {.name = "HardSwish",
     .since = 14,
     .signature = "X:T -> Y:T",
     .kernels = hard_swish_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = X[i] * max(0, min(1, X[i] / 6 + 1 / 2))"},
    {.name = NULL},
};
