/* ScatterND: a copy of data in which every index tuple of indices has its slice replaced by the one of updates.
** ai.onnx 18 (reduction none, add, mul, min, max), 16 (none, add, mul), 11.  In order, so a later update wins. */
#include "ops/scatter.h"
#include "ops/strided.h"

static mien_status scatter_nd_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *indices = &mien_in(n, 1)->type;
  if (x->rank < 1 || indices->rank < 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "data has rank %d and indices %d, expected at least 1", (int)x->rank,
                     (int)indices->rank);
  int64_t depth = indices->dim[indices->rank - 1];
  if (mien_is_symbol(depth)) return mien_set_type(n, 0, x);
  if (depth < 1 || depth > x->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "the index tuples have %lld elements, expected 1 to %d", (long long)depth,
                     (int)x->rank);
  mien_type want = shape_type(x->dtype, 0);
  if (indices->rank - 1 + x->rank - depth > MIEN_MAX_RANK)
    return mien_fail(n, MIEN_LIMIT, "updates would have rank %lld, expected at most %d",
                     (long long)(indices->rank - 1 + x->rank - depth), MIEN_MAX_RANK);
  for (int i = 0; i < indices->rank - 1; i++) want.dim[want.rank++] = indices->dim[i];
  for (int i = (int)depth; i < x->rank; i++) want.dim[want.rank++] = x->dim[i];
  MIEN_TRY(index_same(n, "updates", &mien_in(n, 2)->type, &want));
  return mien_set_type(n, 0, x);
}

static mien_status scatter_nd_infer_16(mien_node *n) {
  scatter_how how;
  MIEN_TRY(scatter_attr(n, &how));
  return scatter_nd_infer(n);
}

static mien_status scatter_nd(mien_node *n, scatter_how how) {
  const mien_tensor *x = mien_in(n, 0), *indices = mien_in(n, 1), *updates = mien_in(n, 2);
  size_t size = mien_dtype_bytes(x->type.dtype);
  int depth = (int)indices->type.dim[indices->type.rank - 1];
  int64_t tuples = shape_elements(&indices->type, 0, indices->type.rank - 1);
  int64_t slice = shape_elements(&x->type, depth, x->type.rank), stride[MIEN_MAX_RANK];
  strided_dense(x->type.rank, x->type.dim, stride);
  scatter_copy(n);
  for (int64_t i = 0; i < tuples; i++) {
    int64_t offset = 0;
    MIEN_TRY(index_tuple(n, indices, i * depth, depth, &x->type, 0, stride, &offset));
    if (slice > 0)
      scatter_write(how, x->type.dtype, size, (const char *)updates->data + (size_t)(i * slice) * size,
                    (char *)mien_out(n, 0)->data + (size_t)offset * size, slice);
  }
  return MIEN_OK;
}

static mien_status scatter_nd_run_11(mien_node *n, int64_t begin, int64_t end) {
  return begin < end ? scatter_nd(n, SCATTER_NONE) : MIEN_OK;
}

static mien_status scatter_nd_run_16(mien_node *n, int64_t begin, int64_t end) {
  scatter_how how = SCATTER_NONE;
  MIEN_TRY(scatter_attr(n, &how));
  return begin < end ? scatter_nd(n, how) : MIEN_OK;
}

static const mien_attr scatter_nd_attrs[] = {{.name = "reduction", .kind = 's', .s = "none"}, {.name = NULL}};
static const mien_kernel scatter_nd_kernels_11[] = {{MIEN_ANY, scatter_nd_run_11}, {MIEN_NONE, NULL}};
static const mien_kernel scatter_nd_kernels_16[] = {{MIEN_ANY, scatter_nd_run_16}, {MIEN_NONE, NULL}};

#define SCATTER_ND                                                                                                \
  .name = "ScatterND", .signature = "data:T, indices:I{i32,i64}, updates:T -> output:T", .flags = MIEN_OP_SERIAL, \
  .doc = "writes slices by index tuples"

const mien_op mien_ops_ScatterND[] = {
    {SCATTER_ND, .since = 11, .until = 15, .kernels = scatter_nd_kernels_11, .infer = scatter_nd_infer},
    {SCATTER_ND, .since = 16, .attrs = scatter_nd_attrs, .kernels = scatter_nd_kernels_16,
     .infer = scatter_nd_infer_16},
    {.name = NULL},
};
