/* Equal: C[i] = whether A[i] equals B[i], stretched to one shape.  ai.onnx 19, 13, 11, 7. */
#include "ops/broadcast.h"

#define equal_two(C, s, x, y) ((x) == (y))
MIEN_COMPARE(equal_two, mien_broadcast, MIEN_NUMBERS_AND_BOOL)

static int64_t equal_two_dim(mien_node *n, int64_t a, int64_t b) {
  /* A size is never negative; where a symbol might be equal or not, the answer stays open. */
  if (a == b) return 1;
  if (!mien_is_symbol(a) && !mien_is_symbol(b)) return 0;
  if ((!mien_is_symbol(a) && a < 0) || (!mien_is_symbol(b) && b < 0)) return 0;
  return mien_new_symbol(n);
}

const mien_op mien_ops_Equal[] = {
    {.name = "Equal",
     .since = 7,
     .signature = "A:T, B:T -> C:bool",
     .kernels = equal_two_kernels,
     .state = sizeof(mien_broadcast),
     .infer = mien_infer_broadcast_bool,
     .prepare = mien_prepare_broadcast,
     .flags = MIEN_OP_COMMUTATIVE,
     .dim_eval = equal_two_dim,
     .doc = "C[i] = whether A[i] equals B[i], stretched to one shape"},
    {.name = NULL},
};
