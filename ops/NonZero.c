/* NonZero: the indices of elements that are not zero, one column each, in row-major order.  ai.onnx 9.
** A scalar counts as one element of a vector. */
#include "ops/loop.h"
#include "ops/shape.h"

static mien_status nonzero_infer(mien_node *n) {
  int rank = mien_in(n, 0)->type.rank;
  mien_type y = shape_type(MIEN_I64, 2);
  y.dim[0] = rank ? rank : 1;
  y.dim[1] = mien_new_symbol(n);
  return mien_set_type(n, 0, &y);
}

static mien_status nonzero_prepare(mien_node *n) {
  mien_work(n, 1, 1000);
  return MIEN_OK;
}

static void nonzero_write(const mien_type *x, int64_t at, int64_t column, int64_t columns, int64_t *y) {
  if (x->rank == 0) y[column] = 0;
  for (int i = x->rank - 1; i >= 0; i--) {
    y[i * columns + column] = at % x->dim[i];
    at /= x->dim[i];
  }
}

#define NONZERO(D, T, C, K, ...)                                                       \
  static mien_status nonzero_##D(mien_node *n, int64_t begin, int64_t end) {           \
    const mien_tensor *x = mien_in(n, 0);                                              \
    const T *data = x->data;                                                           \
    const int64_t elements = mien_count(&x->type);                                     \
    int64_t columns = 0;                                                               \
    if (begin >= end) return MIEN_OK;                                                  \
    for (int64_t i = 0; i < elements; i++) columns += MIEN_GET_##K(C, data[i]) != 0;   \
    mien_type type = mien_out(n, 0)->type;                                             \
    type.dim[1] = columns;                                                             \
    MIEN_TRY(mien_host_of(n)->alloc_out(n, 0, &type));                                 \
    int64_t *y = mien_out(n, 0)->data;                                                 \
    for (int64_t i = 0, at = 0; i < elements; i++)                                     \
      if (MIEN_GET_##K(C, data[i]) != 0) nonzero_write(&x->type, i, at++, columns, y); \
    return MIEN_OK;                                                                    \
  }
MIEN_NUMBERS_AND_BOOL(NONZERO, 0)
MIEN_KERNELS(nonzero, MIEN_NUMBERS_AND_BOOL)

const mien_op mien_ops_NonZero[] = {
    {.name = "NonZero",
     .since = 9,
     .signature = "X:T -> Y:i64",
     .kernels = nonzero_kernels,
     .infer = nonzero_infer,
     .prepare = nonzero_prepare,
     .flags = MIEN_OP_DATA_SHAPE | MIEN_OP_SERIAL,
     .doc = "indices of the elements that are not zero"},
    {.name = NULL},
};
