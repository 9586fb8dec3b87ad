/* CenterCropPad: the middle of the input where a target size is smaller, the input in the middle of zeros where it is
** larger; dimensions that `axes` does not name stay.  ai.onnx 18.
** Where the difference is odd, the odd element is cut, or added, at the end. */
#include "ops/shape.h"

static mien_status center_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_type y = *x;
  shape_list sizes, axes;
  int axis[MIEN_MAX_RANK];
  MIEN_TRY(shape_list_infer(n, 1, "shape", &sizes));
  MIEN_TRY(shape_list_attr(n, "axes", &axes));
  const int64_t expected = axes.given ? axes.count : x->rank;
  if (sizes.count >= 0 && sizes.count != expected)
    return mien_fail(n, MIEN_INVALID_MODEL, "shape has %lld elements, expected %lld", (long long)sizes.count,
                     (long long)expected);
  for (int i = 0; i < x->rank; i++) axis[i] = i;
  if (axes.given) MIEN_TRY(shape_axes(n, &axes, x->rank, axis));
  for (int64_t i = 0; i < expected; i++) {
    const int64_t size = sizes.known ? sizes.value[i] : mien_new_symbol(n);
    if (size < 0 && !mien_is_symbol(size))
      return mien_fail(n, MIEN_INVALID_MODEL, "shape[%lld] is %lld, expected 0 or more", (long long)i, (long long)size);
    y.dim[axis[i]] = size;
  }
  return mien_set_type(n, 0, &y);
}

static mien_status center_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 0.5);
  return MIEN_OK;
}

/* Place `at` of a dimension of y as one of x; outside of x: the value is 0. */
static int64_t center_source(int64_t at, int64_t x, int64_t y) { return x > y ? at + (x - y) / 2 : at - (y - x) / 2; }

/* Elements [first, end) of the row of y that has these outer indices (as one number). */
static void center_row(const mien_tensor *x, const mien_type *y, int64_t row, int64_t first, int64_t end, char *to) {
  const size_t size = mien_dtype_bytes(y->dtype);
  const int last = y->rank - 1;
  int64_t base = 0, stride = x->type.dim[last];
  memset(to, 0, (size_t)(end - first) * size);
  for (int i = last - 1; i >= 0; i--) {
    const int64_t at = center_source(row % y->dim[i], x->type.dim[i], y->dim[i]);
    if (at < 0 || at >= x->type.dim[i]) return;
    base += at * stride;
    stride *= x->type.dim[i];
    row /= y->dim[i];
  }
  int64_t from = center_source(first, x->type.dim[last], y->dim[last]), until = from + (end - first);
  if (from < 0) to += (size_t)-from * size, from = 0;
  if (until > x->type.dim[last]) until = x->type.dim[last];
  if (from < until) memcpy(to, (const char *)x->data + (size_t)(base + from) * size, (size_t)(until - from) * size);
}

static mien_status center_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *y = mien_out(n, 0);
  const size_t size = mien_dtype_bytes(y->type.dtype);
  if (y->type.rank == 0) return shape_copy(n, begin, end);
  const int64_t length = y->type.dim[y->type.rank - 1];
  while (begin < end) {
    const int64_t row = begin / length, first = begin % length;
    const int64_t stop = length - first < end - begin ? length : first + (end - begin);
    center_row(x, &y->type, row, first, stop, (char *)y->data + (size_t)begin * size);
    begin += stop - first;
  }
  return MIEN_OK;
}

static const mien_attr center_attrs[] = {{.name = "axes", .kind = 'I'}, {.name = NULL}};
static const mien_kernel center_kernels[] = {{MIEN_ANY, center_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_CenterCropPad[] = {
    {.name = "CenterCropPad",
     .since = 18,
     .signature = "input_data:T, shape:I{i32,i64} -> output_data:T",
     .attrs = center_attrs,
     .kernels = center_kernels,
     .infer = center_infer,
     .prepare = center_prepare,
     .flags = MIEN_OP_MOVES_DATA,
     .doc = "cut or filled with zeros to a size, about the middle"},
    {.name = NULL},
};
