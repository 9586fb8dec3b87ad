/* Size: how many elements the input has.  ai.onnx 1. */
#include "ops/shape.h"

static mien_status size_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_type y = shape_type(MIEN_I64, 0);
  int64_t size = shape_product(n, x, 0, x->rank);
  MIEN_TRY(mien_set_type(n, 0, &y));
  return mien_set_ints(n, 0, &size, 1);
}

static mien_status size_run(mien_node *n, int64_t begin, int64_t end) {
  if (begin < end) *(int64_t *)mien_out(n, 0)->data = mien_count(&mien_in(n, 0)->type);
  return MIEN_OK;
}

static const mien_kernel size_kernels[] = {{MIEN_ANY, size_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Size[] = {
    {.name = "Size",
     .since = 1,
     .signature = "data:T -> size:i64",
     .kernels = size_kernels,
     .infer = size_infer,
     .doc = "the number of elements"},
    {.name = NULL},
};
