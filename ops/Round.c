/* Round: Y[i] = the nearest whole number, halves to the even one.  ai.onnx 22, 11.
** rint rounds by the thread's mode, which the runtime leaves at nearest-even. */
#include "ops/loop.h"
#include <tgmath.h>

#define round_one(C, s, x) rint(x)
MIEN_UNARY(round_one, void, MIEN_FLOATS)

const mien_op mien_ops_Round[] = {
    {.name = "Round",
     .since = 11,
     .signature = "X:T -> Y:T",
     .kernels = round_one_kernels,
     .infer = mien_infer_same,
     .flags = MIEN_OP_IN_PLACE,
     .doc = "Y[i] = the nearest whole number, halves to the even one"},
    {.name = NULL},
};
