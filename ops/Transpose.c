/* Transpose: dimension i of the output is dimension perm[i] of the input; reversed when perm is absent.  ai.onnx 1. */
#include "ops/shape.h"
#include "ops/strided.h"

static mien_status transpose_perm(mien_node *n, int rank, int *perm) {
  shape_list list;
  MIEN_TRY(shape_list_attr(n, "perm", &list));
  for (int i = 0; i < rank; i++) perm[i] = rank - 1 - i;
  if (!list.given) return MIEN_OK;
  if (list.count != rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "perm has %lld elements, the input has rank %d", (long long)list.count,
                     rank);
  for (int i = 0; i < rank; i++)
    if (list.value[i] < 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "perm[%d] is %lld, expected >= 0", i, (long long)list.value[i]);
  return shape_axes(n, &list, rank, perm);
}

static mien_status transpose_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int perm[MIEN_MAX_RANK];
  MIEN_TRY(transpose_perm(n, x->rank, perm));
  mien_type y = *x;
  for (int i = 0; i < x->rank; i++) y.dim[i] = x->dim[perm[i]];
  return mien_set_type(n, 0, &y);
}

static mien_status transpose_prepare(mien_node *n) {
  strided_box *b = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_out(n, 0)->type;
  int perm[MIEN_MAX_RANK];
  int64_t from[MIEN_MAX_RANK], to[MIEN_MAX_RANK];
  MIEN_TRY(transpose_perm(n, x->rank, perm));
  strided_dense(x->rank, x->dim, from);
  strided_dense(y->rank, y->dim, to);
  strided_start(b);
  for (int i = 0; i < y->rank; i++) strided_push(b, y->dim[i], from[perm[i]], to[i]);
  strided_finish(b);
  mien_work(n, b->count, 0.5);
  return MIEN_OK;
}

static mien_status transpose_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  strided_copy(mien_state(n), mien_dtype_bytes(x->type.dtype), x->data, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static const mien_attr transpose_attrs[] = {{.name = "perm", .kind = 'I'}, {.name = NULL}};
static const mien_kernel transpose_kernels[] = {{MIEN_ANY, transpose_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Transpose[] = {
    {.name = "Transpose",
     .since = 1,
     .signature = "data:T -> transposed:T",
     .attrs = transpose_attrs,
     .kernels = transpose_kernels,
     .state = sizeof(strided_box),
     .infer = transpose_infer,
     .prepare = transpose_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "permutes dimensions"},
    {.name = NULL},
};
