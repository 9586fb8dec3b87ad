/* Gather: slices of the input along an axis, picked by index.  ai.onnx 11, 1.  Negative indices count from the end. */
#include "ops/index.h"

static mien_status gather_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *at = &mien_in(n, 1)->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  int rank = x->rank + at->rank - 1;
  if (rank > MIEN_MAX_RANK)
    return mien_fail(n, MIEN_LIMIT, "the output would have rank %d, expected at most %d", rank, MIEN_MAX_RANK);
  mien_type y = shape_type(x->dtype, 0);
  for (int i = 0; i < axis; i++) y.dim[y.rank++] = x->dim[i];
  for (int i = 0; i < at->rank; i++) y.dim[y.rank++] = at->dim[i];
  for (int i = axis + 1; i < x->rank; i++) y.dim[y.rank++] = x->dim[i];
  return mien_set_type(n, 0, &y);
}

/* An item is one slice: an index of the dimensions before the axis with one element of indices. */
static mien_status gather_prepare(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  int64_t inner = shape_elements(x, axis + 1, x->rank);
  mien_work(n, shape_elements(x, 0, axis) * mien_count(&mien_in(n, 1)->type), 3 + 0.3 * (double)inner);
  return MIEN_OK;
}

static mien_status gather_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *indices = mien_in(n, 1);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, &axis));
  int64_t d = x->type.dim[axis], count = mien_count(&indices->type);
  size_t bytes = (size_t)shape_elements(&x->type, axis + 1, x->type.rank) * mien_dtype_bytes(x->type.dtype);
  for (int64_t i = begin; i < end; i++) {
    int64_t at = 0;
    MIEN_TRY(index_read(n, indices, i % count, d, axis, &at));
    if (bytes)
      memcpy((char *)mien_out(n, 0)->data + (size_t)i * bytes,
             (const char *)x->data + (size_t)(i / count * d + at) * bytes, bytes);
  }
  return MIEN_OK;
}

static const mien_attr gather_attrs[] = {{.name = "axis", .kind = 'i'}, {.name = NULL}};
static const mien_kernel gather_kernels[] = {{MIEN_ANY, gather_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Gather[] = {
    {.name = "Gather",
     .since = 1,
     .signature = "data:T, indices:I{i32,i64} -> output:T",
     .attrs = gather_attrs,
     .kernels = gather_kernels,
     .infer = gather_infer,
     .prepare = gather_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "slices along an axis by index"},
    {.name = NULL},
};
