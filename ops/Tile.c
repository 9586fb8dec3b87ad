/* Tile: the whole input repeated repeats[i] times along dimension i.  ai.onnx 6. */
#include "ops/shape.h"
#include "ops/strided.h"

static mien_status tile_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  shape_list repeats;
  MIEN_TRY(shape_list_infer(n, 1, "repeats", &repeats));
  if (repeats.count >= 0 && repeats.count != x->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "repeats has %lld elements, the input has rank %d",
                     (long long)repeats.count, (int)x->rank);
  if (!repeats.known) return shape_open(n, x->rank);
  mien_type y = *x;
  for (int i = 0; i < x->rank; i++) {
    if (repeats.value[i] < 0 && !mien_is_symbol(repeats.value[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "repeats[%d] is %lld, expected >= 0", i, (long long)repeats.value[i]);
    y.dim[i] = mien_dim(n, '*', x->dim[i], repeats.value[i]);
  }
  return mien_set_type(n, 0, &y);
}

static mien_status tile_prepare(mien_node *n) {
  strided_box *b = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_out(n, 0)->type;
  int64_t from[MIEN_MAX_RANK], to[MIEN_MAX_RANK];
  strided_dense(x->rank, x->dim, from);
  strided_dense(y->rank, y->dim, to);
  strided_start(b);
  for (int i = 0; i < x->rank; i++) {
    int64_t d = x->dim[i];
    strided_push(b, d > 0 ? y->dim[i] / d : 0, 0, to[i] * d);
    strided_push(b, d, from[i], to[i]);
  }
  strided_finish(b);
  mien_work(n, b->count, 0.3);
  return MIEN_OK;
}

static mien_status tile_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  strided_copy(mien_state(n), mien_dtype_bytes(x->type.dtype), x->data, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static const mien_kernel tile_kernels[] = {{MIEN_ANY, tile_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Tile[] = {
    {.name = "Tile",
     .since = 6,
     .signature = "input:T, repeats:i64 -> output:T",
     .kernels = tile_kernels,
     .state = sizeof(strided_box),
     .infer = tile_infer,
     .prepare = tile_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "the input repeated along its dimensions"},
    {.name = NULL},
};
