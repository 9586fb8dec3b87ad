/* Compress: the slices along an axis whose condition is true; of the flattened input when axis is absent.  ai.onnx 9.
** The condition may be shorter than the dimension: what is beyond is left out. */
#include "ops/shape.h"

static mien_status compress_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *condition = &mien_in(n, 1)->type;
  int axis = 0;
  if (condition->rank != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "condition has rank %d, expected 1", (int)condition->rank);
  mien_type y = shape_type(x->dtype, 1);
  if (mien_has_attr(n, "axis")) {
    y = *x;
    MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  }
  int64_t length = mien_has_attr(n, "axis") ? x->dim[axis] : shape_product(n, x, 0, x->rank);
  if (!mien_is_symbol(length) && !mien_is_symbol(condition->dim[0]) && condition->dim[0] > length)
    return mien_fail(n, MIEN_INVALID_MODEL, "condition has %lld elements for a dimension of %lld",
                     (long long)condition->dim[0], (long long)length);
  y.dim[axis] = mien_new_symbol(n);
  return mien_set_type(n, 0, &y);
}

static mien_status compress_prepare(mien_node *n) {
  mien_work(n, 1, 1000);
  return MIEN_OK;
}

static mien_status compress_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  const uint8_t *condition = mien_in(n, 1)->data;
  bool along = mien_has_attr(n, "axis");
  int axis = 0;
  if (begin >= end) return MIEN_OK;
  if (along) MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, &axis));
  int64_t outer = along ? shape_elements(&x->type, 0, axis) : 1, kept = 0;
  int64_t length = along ? x->type.dim[axis] : mien_count(&x->type), count = mien_in(n, 1)->type.dim[0];
  size_t bytes =
      (size_t)(along ? shape_elements(&x->type, axis + 1, x->type.rank) : 1) * mien_dtype_bytes(x->type.dtype);
  if (count > length) return mien_fail(n, MIEN_INVALID_ARGUMENT, "condition is longer than the dimension");
  for (int64_t i = 0; i < count; i++) kept += condition[i] != 0;
  mien_type y = mien_out(n, 0)->type;
  y.dim[axis] = kept;
  MIEN_TRY(mien_host_of(n)->alloc_out(n, 0, &y));
  char *to = mien_out(n, 0)->data;
  for (int64_t o = 0; o < outer && bytes; o++)
    for (int64_t i = 0; i < count; i++)
      if (condition[i]) {
        memcpy(to, (const char *)x->data + (size_t)(o * length + i) * bytes, bytes);
        to += bytes;
      }
  return MIEN_OK;
}

static const mien_attr compress_attrs[] = {{.name = "axis", .kind = 'i'}, {.name = NULL}};
static const mien_kernel compress_kernels[] = {{MIEN_ANY, compress_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Compress[] = {
    {.name = "Compress",
     .since = 9,
     .signature = "input:T, condition:bool -> output:T",
     .attrs = compress_attrs,
     .kernels = compress_kernels,
     .infer = compress_infer,
     .prepare = compress_prepare,
     .flags = MIEN_OP_DATA_SHAPE | MIEN_OP_SERIAL,
     .doc = "slices whose condition is true"},
    {.name = NULL},
};
