/* Max: Y[i] = the largest of the inputs' elements i, stretched to one shape.  ai.onnx 13, 12, 8, 6 (equal shapes). */
#include "ops/broadcast.h"

#define max_all(C, x, y) ((x) > (y) || (x) != (x) ? (x) : (y))
MIEN_VARIADIC(max_all, MIEN_LAST_SAME, MIEN_NUMBERS)

static int64_t max_all_dim(mien_node *n, int64_t a, int64_t b) {
  return mien_in_count(n) == 1 ? a : mien_dim(n, 'M', a, b);
}

const mien_op mien_ops_Max[] = {
    {.name = "Max",
     .since = 6,
     .signature = "data:T... -> Y:T",
     .kernels = max_all_kernels,
     .infer = mien_infer_broadcast,
     .prepare = mien_prepare_variadic,
     .flags = MIEN_OP_IN_PLACE | MIEN_OP_COMMUTATIVE,
     .dim_eval = max_all_dim,
     .doc = "Y[i] = the largest of the inputs' elements i, stretched to one shape"},
    {.name = NULL},
};
