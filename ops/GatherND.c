/* GatherND: the last dimension of indices holds index tuples into the input, each picks a slice.
** ai.onnx 12 (batch_dims leading dimensions are shared by data and indices), 11. */
#include "ops/index.h"
#include "ops/strided.h"

typedef struct gather_nd_state {
  int64_t batch; /* slices for each index of the shared dimensions */
  int64_t step;  /* elements of data for each of those */
  int64_t slice; /* elements of one slice */
  int shared, depth;
} gather_nd_state;

static mien_status gather_nd_type(mien_node *n, int64_t shared) {
  const mien_type *x = &mien_in(n, 0)->type, *indices = &mien_in(n, 1)->type;
  if (x->rank < 1 || indices->rank < 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "data has rank %d and indices %d, expected at least 1", (int)x->rank,
                     (int)indices->rank);
  if (shared < 0 || shared >= x->rank || shared >= indices->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "batch_dims is %lld, expected less than both ranks, %d and %d",
                     (long long)shared, (int)x->rank, (int)indices->rank);
  int64_t depth = indices->dim[indices->rank - 1];
  if (mien_is_symbol(depth)) return shape_open(n, -1);
  if (depth < 1 || depth > x->rank - shared)
    return mien_fail(n, MIEN_INVALID_MODEL, "the index tuples have %lld elements, expected 1 to %lld", (long long)depth,
                     (long long)(x->rank - shared));
  mien_type a = *x, b = *indices, y = shape_type(x->dtype, 0);
  a.rank = b.rank = (int)shared;
  MIEN_TRY(index_same(n, "indices", &b, &a));
  int64_t rank = indices->rank - 1 + x->rank - shared - depth;
  if (rank > MIEN_MAX_RANK)
    return mien_fail(n, MIEN_LIMIT, "the output would have rank %lld, expected at most %d", (long long)rank,
                     MIEN_MAX_RANK);
  for (int i = 0; i < indices->rank - 1; i++) y.dim[y.rank++] = indices->dim[i];
  for (int i = (int)(shared + depth); i < x->rank; i++) y.dim[y.rank++] = x->dim[i];
  return mien_set_type(n, 0, &y);
}

static mien_status gather_nd_infer(mien_node *n) { return gather_nd_type(n, 0); }
static mien_status gather_nd_infer_12(mien_node *n) { return gather_nd_type(n, mien_attr_i(n, "batch_dims")); }

static mien_status gather_nd_set(mien_node *n, int shared) {
  gather_nd_state *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *indices = &mien_in(n, 1)->type;
  s->shared = shared;
  s->depth = (int)indices->dim[indices->rank - 1];
  s->batch = shape_elements(indices, shared, indices->rank - 1);
  s->step = shape_elements(x, shared, x->rank);
  s->slice = shape_elements(x, shared + s->depth, x->rank);
  mien_work(n, shape_elements(indices, 0, indices->rank - 1), 4 + 0.3 * (double)s->slice);
  return MIEN_OK;
}

static mien_status gather_nd_prepare(mien_node *n) { return gather_nd_set(n, 0); }
static mien_status gather_nd_prepare_12(mien_node *n) { return gather_nd_set(n, (int)mien_attr_i(n, "batch_dims")); }

static mien_status gather_nd_run(mien_node *n, int64_t begin, int64_t end) {
  const gather_nd_state *s = mien_state(n);
  const mien_tensor *x = mien_in(n, 0), *indices = mien_in(n, 1);
  size_t size = mien_dtype_bytes(x->type.dtype), bytes = (size_t)s->slice * size;
  int64_t stride[MIEN_MAX_RANK];
  strided_dense(x->type.rank, x->type.dim, stride);
  for (int64_t i = begin; i < end; i++) {
    int64_t offset = 0;
    MIEN_TRY(index_tuple(n, indices, i * s->depth, s->depth, &x->type, s->shared, stride, &offset));
    if (bytes)
      memcpy((char *)mien_out(n, 0)->data + (size_t)i * bytes,
             (const char *)x->data + (size_t)(i / s->batch * s->step + offset) * size, bytes);
  }
  return MIEN_OK;
}

static const mien_attr gather_nd_attrs[] = {{.name = "batch_dims", .kind = 'i'}, {.name = NULL}};
static const mien_kernel gather_nd_kernels[] = {{MIEN_ANY, gather_nd_run}, {MIEN_NONE, NULL}};

#define GATHER_ND                                                                                          \
  .name = "GatherND", .signature = "data:T, indices:I{i32,i64} -> output:T", .kernels = gather_nd_kernels, \
  .state = sizeof(gather_nd_state), .flags = MIEN_OP_MOVES_DATA, .doc = "slices by index tuples"

const mien_op mien_ops_GatherND[] = {
    {GATHER_ND, .since = 11, .until = 11, .infer = gather_nd_infer, .prepare = gather_nd_prepare},
    {GATHER_ND, .since = 12, .attrs = gather_nd_attrs, .infer = gather_nd_infer_12, .prepare = gather_nd_prepare_12},
    {.name = NULL},
};
