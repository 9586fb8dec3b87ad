/* Mul: C[i] = A[i] * B[i], stretched to one shape.  ai.onnx 14, 13, 7.
** Integers wrap on overflow. */
#include "ops/broadcast.h"

#define mul(C, s, x, y) ((C)(MIEN_WRAP(x) * MIEN_WRAP(y)))
MIEN_BINARY(mul, mien_broadcast, MIEN_NUMBERS)

static int64_t mul_dim(mien_node *n, int64_t a, int64_t b) { return mien_dim(n, '*', a, b); }

const mien_op mien_ops_Mul[] = {
    {.name = "Mul",
     .since = 7,
     .signature = "A:T, B:T -> C:T",
     .kernels = mul_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .dim_eval = mul_dim,
     .doc = "C[i] = A[i] * B[i], stretched to one shape"},
    {.name = NULL},
};
