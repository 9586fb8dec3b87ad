/* Exp: Y[i] = exp(X[i]).  ai.onnx 13, 6. */
#include "ops/loop.h"
#include <tgmath.h>

#define exp_one(C, s, x) exp(x)
#define exp_fast(m, x, y, count) ((m)->exp)((x), (y), (count)) /* in parentheses: exp is a macro of tgmath.h */
MIEN_UNARY_FAST(exp_one, void, MIEN_FLOATS_BUT_F32, exp, exp_fast)
MIEN_KERNELS(exp_one, MIEN_FLOATS)
MIEN_COST_FAST(exp_one, 2, exp)

const mien_op mien_ops_Exp[] = {
    {.name = "Exp",
     .since = 6,
     .signature = "X:T -> Y:T",
     .kernels = exp_one_kernels,
     .infer = mien_infer_same,
     .prepare = exp_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = exp(X[i])"},
    {.name = NULL},
};
