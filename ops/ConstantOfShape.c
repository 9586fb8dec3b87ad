/* ConstantOfShape: a tensor of the given shape, every element `value` (one element, f32 0 when absent).  ai.onnx 9. */
#include "ops/shape.h"
#include "ops/strided.h"

static mien_status constant_of_shape_infer(mien_node *n) {
  const mien_tensor *value = mien_attr_tensor(n, "value");
  if (value && mien_count(&value->type) != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "value has %lld elements, expected 1", (long long)mien_count(&value->type));
  shape_list shape;
  MIEN_TRY(shape_list_infer(n, 0, "input", &shape));
  mien_type y = shape_type(value ? value->type.dtype : MIEN_F32, (int)shape.count);
  for (int i = 0; i < y.rank; i++) {
    y.dim[i] = shape.known ? shape.value[i] : mien_new_symbol(n);
    if (y.dim[i] < 0 && !mien_is_symbol(y.dim[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "input[%d] is %lld, expected >= 0", i, (long long)y.dim[i]);
  }
  return mien_set_type(n, 0, &y);
}

static mien_status constant_of_shape_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 0.2);
  return MIEN_OK;
}

static mien_status constant_of_shape_run(mien_node *n, int64_t begin, int64_t end) {
  static const float zero = 0;
  const mien_tensor *value = mien_attr_tensor(n, "value");
  size_t size = mien_dtype_bytes(mien_out(n, 0)->type.dtype);
  if (begin < end)
    strided_fill(size, value ? value->data : &zero, (char *)mien_out(n, 0)->data + (size_t)begin * size, end - begin);
  return MIEN_OK;
}

static const mien_attr constant_of_shape_attrs[] = {{.name = "value", .kind = 't'}, {.name = NULL}};
static const mien_kernel constant_of_shape_kernels[] = {{MIEN_ANY, constant_of_shape_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_ConstantOfShape[] = {
    {.name = "ConstantOfShape",
     .since = 9,
     .signature = "input:i64 -> output:V",
     .attrs = constant_of_shape_attrs,
     .kernels = constant_of_shape_kernels,
     .infer = constant_of_shape_infer,
     .prepare = constant_of_shape_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "one value in every element of a shape"},
    {.name = NULL},
};
