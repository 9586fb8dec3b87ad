/* Div: C[i] = A[i] / B[i], stretched to one shape.  ai.onnx 14, 13, 7.
** Integers: truncated toward zero; division by zero is an error; the smallest number by -1 wraps to itself. */
#include "ops/broadcast.h"

#define div_never(C, x, y) false
#define div_by_zero(C, x, y) ((y) == 0)
#define div_floats(C, s, x, y) ((x) / (y))
/* A zero divisor is replaced so that the loop has no trap; the check above has seen it. */
#define div_unsigned(C, s, x, y) ((C)((x) / ((y) == 0 ? (C)1 : (y))))
#define div_signed(C, s, x, y) ((y) == -1 ? (C)(-MIEN_WRAP(x)) : (C)((x) / ((y) == 0 ? (C)1 : (y))))
#define DIV_WHY "integer division by zero"

MIEN_FLOATS(MIEN_BINARY_SAME, div_floats, mien_broadcast, div_never, "")
MIEN_UNSIGNED(MIEN_BINARY_SAME, div_unsigned, mien_broadcast, div_by_zero, DIV_WHY)
MIEN_SIGNED(MIEN_BINARY_SAME, div_signed, mien_broadcast, div_by_zero, DIV_WHY)
static const mien_kernel div_kernels[] = {MIEN_FLOATS(MIEN_ROW, div_floats) MIEN_UNSIGNED(MIEN_ROW, div_unsigned)
                                              MIEN_SIGNED(MIEN_ROW, div_signed){MIEN_NONE, NULL}};

/* Among symbols an element may be a number, which truncates as in the kernels. */
static int64_t div_dim(mien_node *n, int64_t a, int64_t b) {
  if (!mien_is_symbol(a) && !mien_is_symbol(b) && b != 0 && b != -1) return a / b;
  return mien_dim(n, '/', a, b);
}

const mien_op mien_ops_Div[] = {
    {.name = "Div",
     .since = 7,
     .signature = "A:T, B:T -> C:T",
     .kernels = div_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_IN_PLACE,
     .dim_eval = div_dim,
     .doc = "C[i] = A[i] / B[i], stretched to one shape"},
    {.name = NULL},
};
