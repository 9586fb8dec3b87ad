/* Split: cuts the input along an axis into its outputs.  ai.onnx 18 (num_outputs: pieces of equal size, the last may be
** smaller), 13 (`split` an input), 2 (an attribute). Without sizes all pieces are equal. */
#include "ops/shape.h"

static mien_status split_by(mien_node *n, const int64_t *values, int64_t count, bool given, bool uneven) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axis = 0, outputs = mien_out_count(n);
  int64_t sum = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->rank, &axis));
  int64_t whole = x->dim[axis], part = mien_dim(n, uneven ? 'c' : '/', whole, outputs);
  if (given && count >= 0 && count != outputs)
    return mien_fail(n, MIEN_INVALID_MODEL, "split has %lld elements for %d outputs", (long long)count, outputs);
  if (!given && !uneven && !mien_is_symbol(whole) && whole % outputs != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "a dimension of %lld cannot be cut into %d equal pieces", (long long)whole,
                     outputs);
  mien_type y = *x;
  for (int i = 0; i < outputs; i++) {
    y.dim[axis] = values ? values[i] : given ? mien_new_symbol(n) : part;
    if (!given && uneven && i == outputs - 1) y.dim[axis] = mien_dim(n, '-', whole, sum);
    if (y.dim[axis] < 0 && !mien_is_symbol(y.dim[axis]))
      return mien_fail(n, MIEN_INVALID_MODEL, "piece %d of a dimension of %lld would have size %lld", i,
                       (long long)whole, (long long)y.dim[axis]);
    const int64_t before = sum;
    sum = mien_dim(n, '+', sum, y.dim[axis]);
    MIEN_TRY(mien_set_type(n, i, &y));
    if (mien_count(x) > 0 && mien_count(&y) >= 0 && !mien_is_symbol(sum) && sum <= whole && shape_is_block(x, &y))
      MIEN_TRY(mien_block(n, i, 0, before * shape_elements(x, axis + 1, x->rank), false));
  }
  if (values && !mien_is_symbol(sum) && !mien_is_symbol(whole) && sum != whole)
    return mien_fail(n, MIEN_INVALID_MODEL, "split sums to %lld, the dimension is %lld", (long long)sum,
                     (long long)whole);
  return MIEN_OK;
}

static mien_status split_input(mien_node *n, bool uneven) {
  int64_t count = -1;
  bool given = mien_in_count(n) > 1 && mien_in(n, 1);
  const int64_t *values = given ? mien_ints(n, 1, &count) : NULL;
  if (given && !values) MIEN_TRY(shape_list_length(n, 1, "split", &count));
  return split_by(n, values, count, given, uneven);
}

static mien_status split_infer_2(mien_node *n) {
  int64_t count = 0;
  const int64_t *values = mien_attr_ints(n, "split", &count);
  return split_by(n, values, count, values != NULL, false);
}

static mien_status split_infer_13(mien_node *n) { return split_input(n, false); }

static mien_status split_infer_18(mien_node *n) {
  bool sizes = mien_in_count(n) > 1 && mien_in(n, 1), number = mien_has_attr(n, "num_outputs");
  if (sizes && number) return mien_fail(n, MIEN_INVALID_MODEL, "both split and num_outputs are given");
  if (number && mien_attr_i(n, "num_outputs") != mien_out_count(n))
    return mien_fail(n, MIEN_INVALID_MODEL, "num_outputs is %lld, the node has %d outputs",
                     (long long)mien_attr_i(n, "num_outputs"), mien_out_count(n));
  return split_input(n, true);
}

typedef struct split_state {
  const int64_t *sizes; /* of the attribute */
  bool uneven;
} split_state;

static mien_status split_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_in(n, 0)->type), 0.3);
  return MIEN_OK;
}

static mien_status split_prepare_2(mien_node *n) {
  split_state *s = mien_state(n);
  int64_t count;
  s->sizes = mien_attr_ints(n, "split", &count);
  return split_prepare(n);
}

static mien_status split_prepare_18(mien_node *n) {
  split_state *s = mien_state(n);
  s->uneven = true;
  return split_prepare(n);
}

/* The size of piece k, also where nobody reads that output. */
static int64_t split_piece(const mien_node *n, int k, int axis) {
  const split_state *s = mien_state(n);
  const mien_tensor *y = mien_out(n, k), *split = mien_in_count(n) > 1 ? mien_in(n, 1) : NULL;
  int64_t whole = mien_in(n, 0)->type.dim[axis], count = mien_out_count(n);
  if (y) return y->type.dim[axis];
  if (s->sizes) return s->sizes[k];
  if (split) return shape_element(split, k);
  int64_t part = s->uneven ? (whole + count - 1) / count : whole / count;
  return s->uneven && k == count - 1 ? whole - part * k : part;
}

/* Items are elements of the input; a row is what one index of the dimensions before the axis has. */
static mien_status split_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  size_t size = mien_dtype_bytes(x->type.dtype);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), x->type.rank, &axis));
  int64_t inner = shape_elements(&x->type, axis + 1, x->type.rank), row = x->type.dim[axis] * inner, start = 0;
  if (begin >= end) return MIEN_OK;
  for (int k = 0; k < mien_out_count(n); k++) {
    int64_t piece = split_piece(n, k, axis) * inner;
    for (int64_t r = begin / row; mien_out(n, k) && piece > 0 && r * row < end; r++) {
      int64_t from = r * row + start, first = from < begin ? begin - from : 0;
      int64_t last = from + piece > end ? end - from : piece;
      if (first < last)
        memcpy((char *)mien_out(n, k)->data + (size_t)(r * piece + first) * size,
               (const char *)x->data + (size_t)(from + first) * size, (size_t)(last - first) * size);
    }
    start += piece;
  }
  return MIEN_OK;
}

static const mien_attr split_attrs_2[] = {
    {.name = "axis", .kind = 'i'}, {.name = "split", .kind = 'I'}, {.name = NULL}};
static const mien_attr split_attrs_13[] = {{.name = "axis", .kind = 'i'}, {.name = NULL}};
static const mien_attr split_attrs_18[] = {
    {.name = "axis", .kind = 'i'}, {.name = "num_outputs", .kind = 'i'}, {.name = NULL}};
static const mien_kernel split_kernels[] = {{MIEN_ANY, split_run}, {MIEN_NONE, NULL}};

#define SPLIT                                                                                           \
  .name = "Split", .kernels = split_kernels, .state = sizeof(split_state), .flags = MIEN_OP_MOVES_DATA, \
  .doc = "cuts the input along an axis"

const mien_op mien_ops_Split[] = {
    {SPLIT, .since = 2, .until = 12, .signature = "input:T -> outputs:T...", .attrs = split_attrs_2,
     .infer = split_infer_2, .prepare = split_prepare_2},
    {SPLIT, .since = 13, .until = 17, .signature = "input:T, split:i64? -> outputs:T...", .attrs = split_attrs_13,
     .infer = split_infer_13, .prepare = split_prepare},
    {SPLIT, .since = 18, .signature = "input:T, split:i64? -> outputs:T...", .attrs = split_attrs_18,
     .infer = split_infer_18, .prepare = split_prepare_18},
    {.name = NULL},
};
