/* Flatten: dimensions before `axis` become one, those from it on the other.  ai.onnx 11, 1 (axis >= 0). */
#include "ops/shape.h"

static mien_status flatten_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int64_t axis = mien_attr_i(n, "axis");
  if (axis < -x->rank || axis > x->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "axis is %lld, expected %d .. %d", (long long)axis, -(int)x->rank,
                     (int)x->rank);
  int at = (int)(axis < 0 ? axis + x->rank : axis);
  mien_type y = shape_type(x->dtype, 2);
  y.dim[0] = shape_product(n, x, 0, at);
  y.dim[1] = shape_product(n, x, at, x->rank);
  return mien_set_type(n, 0, &y);
}

static const mien_attr flatten_attrs[] = {{.name = "axis", .kind = 'i', .i = 1}, {.name = NULL}};
static const mien_kernel flatten_kernels[] = {{MIEN_ANY, shape_copy}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Flatten[] = {
    {.name = "Flatten",
     .since = 1,
     .signature = "input:T -> output:T",
     .attrs = flatten_attrs,
     .kernels = flatten_kernels,
     .infer = flatten_infer,
     .flags = MIEN_OP_VIEW | MIEN_OP_MOVES_DATA,
     .doc = "a matrix of the dimensions before and from an axis on"},
    {.name = NULL},
};
