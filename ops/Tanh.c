/* Tanh: Y[i] = the hyperbolic tangent of X[i].  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define tanh_one(C, s, x) tanh(x)
#define tanh_fast(m, x, y, count) (m)->activate(MIEN_ACT_TANH, 0, 0, (x), (y), (count))
MIEN_UNARY_FAST(tanh_one, void, MIEN_FLOATS_BUT_F32, activate, tanh_fast)
MIEN_KERNELS(tanh_one, MIEN_FLOATS)
MIEN_COST_FAST(tanh_one, 2, activate)

const mien_op mien_ops_Tanh[] = {
    {.name = "Tanh",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = tanh_one_kernels,
     .infer = mien_infer_same,
     .prepare = tanh_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the hyperbolic tangent of X[i]"},
    {.name = NULL},
};
