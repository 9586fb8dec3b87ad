/* Expand: the input repeated along dimensions of size 1, as numpy broadcasts it against `shape`.  ai.onnx 8. */
#include "ops/broadcast.h"
#include "ops/shape.h"
#include "ops/strided.h"

static mien_status expand_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  shape_list shape;
  MIEN_TRY(shape_list_infer(n, 1, "shape", &shape));
  if (!shape.known) return shape_open(n, shape.count < 0 ? -1 : shape.count > x->rank ? shape.count : x->rank);
  mien_type y = *x, with = shape_type(x->dtype, (int)shape.count);
  for (int i = 0; i < with.rank; i++) {
    with.dim[i] = shape.value[i];
    if (with.dim[i] < 0 && !mien_is_symbol(with.dim[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "shape[%d] is %lld, expected >= 0", i, (long long)with.dim[i]);
  }
  MIEN_TRY(mien_broadcast_shape(n, &y, &with));
  return mien_set_type(n, 0, &y);
}

static mien_status expand_prepare(mien_node *n) {
  strided_box *b = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_out(n, 0)->type;
  int64_t from[MIEN_MAX_RANK], to[MIEN_MAX_RANK];
  strided_dense(x->rank, x->dim, from);
  strided_dense(y->rank, y->dim, to);
  strided_start(b);
  for (int i = 0; i < y->rank; i++) {
    int k = i - (y->rank - x->rank);
    strided_push(b, y->dim[i], k >= 0 && x->dim[k] != 1 ? from[k] : 0, to[i]);
  }
  strided_finish(b);
  mien_work(n, b->count, 0.3);
  return MIEN_OK;
}

static mien_status expand_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  strided_copy(mien_state(n), mien_dtype_bytes(x->type.dtype), x->data, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static const mien_kernel expand_kernels[] = {{MIEN_ANY, expand_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Expand[] = {
    {.name = "Expand",
     .since = 8,
     .signature = "input:T, shape:i64 -> output:T",
     .kernels = expand_kernels,
     .state = sizeof(strided_box),
     .infer = expand_infer,
     .prepare = expand_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "repeats dimensions of size 1 up to a shape"},
    {.name = NULL},
};
