/* Erf: Y[i] = the error function of X[i].  ai.onnx 13, 9.
** Integers are computed in double and truncated. */
#include "ops/loop.h"
#include <tgmath.h>

#define erf_of(C, x) ((C) _Generic((x), float : erf((float)(x)), default : erf((double)(x))))
#define erf_one(C, s, x) erf_of(C, x)
#define ERF_BUT_F32(X, ...) MIEN_FLOATS_BUT_F32(X, __VA_ARGS__) MIEN_INTS(X, __VA_ARGS__)
#define erf_fast(m, x, y, count) ((m)->erf)((x), (y), (count)) /* in parentheses: erf is a macro of tgmath.h */
MIEN_UNARY_FAST(erf_one, void, ERF_BUT_F32, erf, erf_fast)
MIEN_KERNELS(erf_one, MIEN_NUMBERS)
MIEN_COST_FAST(erf_one, 2, erf)

const mien_op mien_ops_Erf[] = {
    {.name = "Erf",
     .since = 9,
     .signature = "X:T -> Y:T",
     .kernels = erf_one_kernels,
     .infer = mien_infer_same,
     .prepare = erf_one_prepare,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the error function of X[i]"},
    {.name = NULL},
};
