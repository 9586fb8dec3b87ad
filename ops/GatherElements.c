/* GatherElements: Y[i][j] = X[indices[i][j]][j] for axis 0, and so on.  ai.onnx 11. */
#include "ops/index.h"
#include "ops/strided.h"

static mien_status gather_elements_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *indices = &mien_in(n, 1)->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  MIEN_TRY(index_fits(n, x, indices, axis));
  mien_type y = *indices;
  y.dtype = x->dtype;
  return mien_set_type(n, 0, &y);
}

static mien_status gather_elements_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 4);
  return MIEN_OK;
}

static mien_status gather_elements_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *indices = mien_in(n, 1);
  size_t size = mien_dtype_bytes(x->type.dtype);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, &axis));
  int64_t stride[MIEN_MAX_RANK];
  strided_dense(x->type.rank, x->type.dim, stride);
  int64_t step = stride[axis];
  stride[axis] = 0;
  if (begin >= end) return MIEN_OK;
  index_walk w;
  index_walk_start(&w, &indices->type, stride, begin);
  for (int64_t i = begin; i < end; i++, index_walk_next(&w)) {
    int64_t at = 0;
    MIEN_TRY(index_read(n, indices, i, x->type.dim[axis], axis, &at));
    memcpy((char *)mien_out(n, 0)->data + (size_t)i * size,
           (const char *)x->data + (size_t)(w.offset + at * step) * size, size);
  }
  return MIEN_OK;
}

static const mien_attr gather_elements_attrs[] = {{.name = "axis", .kind = 'i'}, {.name = NULL}};
static const mien_kernel gather_elements_kernels[] = {{MIEN_ANY, gather_elements_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_GatherElements[] = {
    {.name = "GatherElements",
     .since = 11,
     .signature = "data:T, indices:I{i32,i64} -> output:T",
     .attrs = gather_elements_attrs,
     .kernels = gather_elements_kernels,
     .infer = gather_elements_infer,
     .prepare = gather_elements_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "single elements along an axis by index"},
    {.name = NULL},
};
