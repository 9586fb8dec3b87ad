/* Concat: inputs one after the other along an axis.  ai.onnx 4 (axis required), 1 (axis 1 by default). */
#include "ops/shape.h"

static mien_status concat_infer(mien_node *n) {
  mien_type y = mien_in(n, 0)->type;
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), y.rank, &axis));
  for (int k = 1; k < mien_in_count(n); k++) {
    const mien_type *x = &mien_in(n, k)->type;
    if (x->rank != y.rank)
      return mien_fail(n, MIEN_INVALID_MODEL, "input %d has rank %d, input 0 has %d", k, (int)x->rank, (int)y.rank);
    for (int i = 0; i < y.rank; i++) {
      int64_t a = y.dim[i], b = x->dim[i];
      if (i == axis) {
        y.dim[i] = mien_dim(n, '+', a, b);
      } else if (mien_is_symbol(a)) {
        y.dim[i] = mien_is_symbol(b) ? a : b;
      } else if (!mien_is_symbol(b) && a != b) {
        return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d of input %d is %lld, expected %lld as in input 0", i, k,
                         (long long)b, (long long)a);
      }
    }
  }
  MIEN_TRY(mien_set_type(n, 0, &y));
  if (mien_count(&y) < 1 || shape_elements(&y, 0, axis) != 1) return MIEN_OK;
  for (int64_t k = 0, first = 0; k < mien_in_count(n); k++) {
    MIEN_TRY(mien_block(n, 0, (int)k, first, true));
    first += shape_elements(&mien_in(n, (int)k)->type, 0, y.rank);
  }
  return MIEN_OK;
}

static mien_status concat_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 0.3);
  return MIEN_OK;
}

/* A row is what one index of the dimensions before the axis has: a piece of every input in turn. */
static mien_status concat_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_type *y = &mien_out(n, 0)->type;
  size_t size = mien_dtype_bytes(y->dtype);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), y->rank, &axis));
  int64_t row = shape_elements(y, axis, y->rank), start = 0;
  if (begin >= end) return MIEN_OK;
  for (int k = 0; k < mien_in_count(n); k++) {
    const mien_tensor *x = mien_in(n, k);
    int64_t piece = shape_elements(&x->type, axis, y->rank);
    for (int64_t r = begin / row; piece > 0 && r * row < end; r++) {
      int64_t to = r * row + start, first = to < begin ? begin - to : 0, last = to + piece > end ? end - to : piece;
      char *target = (char *)mien_out(n, 0)->data + (size_t)(to + first) * size;
      const char *source = (const char *)x->data + (size_t)(r * piece + first) * size;
      if (first < last && source != target) memcpy(target, source, (size_t)(last - first) * size);
    }
    start += piece;
  }
  return MIEN_OK;
}

static const mien_attr concat_attrs[] = {{.name = "axis", .kind = 'i', .required = true}, {.name = NULL}};
static const mien_attr concat_attrs_1[] = {{.name = "axis", .kind = 'i', .i = 1}, {.name = NULL}};
static const mien_kernel concat_kernels[] = {{MIEN_ANY, concat_run}, {MIEN_NONE, NULL}};

#define CONCAT                                                                                                       \
  .name = "Concat", .signature = "inputs:T... -> concat_result:T", .kernels = concat_kernels, .infer = concat_infer, \
  .prepare = concat_prepare, .flags = MIEN_OP_MOVES_DATA, .doc = "inputs one after the other along an axis"

const mien_op mien_ops_Concat[] = {
    {CONCAT, .since = 1, .until = 3, .attrs = concat_attrs_1},
    {CONCAT, .since = 4, .attrs = concat_attrs},
    {.name = NULL},
};
