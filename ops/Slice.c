/* Slice: start, start + step, ... before end along the given axes.  ai.onnx 10 (inputs), 1 (attributes, step 1).
** Bounds count from the end when negative and are clamped, as in Python. */
#include "ops/shape.h"
#include "ops/strided.h"

typedef struct slice_lists {
  shape_list starts, ends, axes, steps;
} slice_lists;

/* A bound brought into the dimension, which may be a symbol: [0, d] going up; going down a start comes to [0, d - 1], an
** end to [-1, d - 1]. */
static int64_t slice_bound(mien_node *n, int64_t at, int64_t d, bool down, bool end) {
  int64_t low = down && end ? -1 : 0, high = down ? mien_dim(n, '-', d, 1) : d;
  if (mien_is_symbol(at)) return mien_dim(n, 'm', at, high);
  if (at >= INT32_MAX && mien_is_symbol(d)) return high; /* "to the end" */
  if (at <= -INT32_MAX && mien_is_symbol(d)) return low;
  if (at <= -INT64_MAX / 2) at = -INT64_MAX / 2;
  if (at == 0 && !down) return 0;
  if (at < 0) at = mien_dim(n, 'M', mien_dim(n, '+', d, at), low);
  return mien_is_symbol(at) ? at : mien_dim(n, 'm', at, high);
}

static int64_t slice_length(mien_node *n, int64_t start, int64_t end, int64_t d, int64_t step) {
  bool down = step < 0;
  int64_t from = slice_bound(n, start, d, down, false), to = slice_bound(n, end, d, down, true);
  int64_t span = down ? mien_dim(n, '-', from, to) : mien_dim(n, '-', to, from);
  int64_t length = mien_dim(n, 'c', span, down ? -step : step);
  /* A symbolic size is not negative. */
  return from == 0 && !down && to == d ? length : mien_dim(n, 'M', length, 0);
}

static mien_status slice_axes(mien_node *n, slice_lists *l, int rank, int *axes) {
  if (l->ends.count >= 0 && l->starts.count >= 0 && l->starts.count != l->ends.count)
    return mien_fail(n, MIEN_INVALID_MODEL, "starts has %lld elements, ends has %lld", (long long)l->starts.count,
                     (long long)l->ends.count);
  if (l->axes.given && l->axes.count >= 0 && l->starts.count >= 0 && l->axes.count != l->starts.count)
    return mien_fail(n, MIEN_INVALID_MODEL, "starts has %lld elements, axes has %lld", (long long)l->starts.count,
                     (long long)l->axes.count);
  if (l->steps.given && l->steps.count >= 0 && l->starts.count >= 0 && l->steps.count != l->starts.count)
    return mien_fail(n, MIEN_INVALID_MODEL, "starts has %lld elements, steps has %lld", (long long)l->starts.count,
                     (long long)l->steps.count);
  if (l->axes.given && !l->axes.known) return MIEN_OK;
  if (!l->axes.given) {
    l->axes.count = l->starts.count;
    if (l->axes.count > rank)
      return mien_fail(n, MIEN_INVALID_MODEL, "starts has %lld elements, the input has rank %d",
                       (long long)l->starts.count, rank);
    l->axes.known = l->axes.count >= 0;
    for (int i = 0; i < l->axes.count; i++) l->axes.value[i] = i;
  }
  MIEN_TRY(shape_axes(n, &l->axes, rank, axes));
  for (int64_t i = 0; i < l->steps.count && l->steps.known; i++) {
    if (l->steps.value[i] == 0 || mien_is_symbol(l->steps.value[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "steps[%lld] is %s", (long long)i,
                       l->steps.value[i] == 0 ? "0" : "not known");
    if (l->steps.value[i] < -INT64_MAX / 2) l->steps.value[i] = -INT64_MAX / 2;
  }
  return MIEN_OK;
}

/* Tells the host where what is cut is in one piece. */
static mien_status slice_block(mien_node *n, const slice_lists *l, const int *axes, const mien_type *y) {
  const mien_type *x = &mien_in(n, 0)->type;
  int64_t stride[MIEN_MAX_RANK], first = 0;
  if (mien_count(x) < 1 || mien_count(y) < 1 || !shape_is_block(x, y)) return MIEN_OK;
  strided_dense(x->rank, x->dim, stride);
  for (int64_t i = 0; i < l->axes.count; i++) {
    const int a = axes[i];
    const int64_t s = l->steps.given ? l->steps.value[i] : 1;
    if (y->dim[a] > 1 && s != 1) return MIEN_OK;
    first += slice_bound(n, l->starts.value[i], x->dim[a], s < 0, false) * stride[a];
  }
  return mien_block(n, 0, 0, first, false);
}

static mien_status slice_type(mien_node *n, slice_lists *l) {
  mien_type y = mien_in(n, 0)->type;
  int axes[MIEN_MAX_RANK];
  MIEN_TRY(slice_axes(n, l, y.rank, axes));
  if (!l->axes.known) return shape_open(n, y.rank);
  bool known = l->starts.known && l->ends.known && (!l->steps.given || l->steps.known);
  for (int64_t i = 0; i < l->axes.count; i++) {
    int64_t *d = &y.dim[axes[i]];
    *d = known ? slice_length(n, l->starts.value[i], l->ends.value[i], *d, l->steps.given ? l->steps.value[i] : 1)
               : mien_new_symbol(n);
  }
  MIEN_TRY(mien_set_type(n, 0, &y));
  return known ? slice_block(n, l, axes, &y) : MIEN_OK;
}

static mien_status slice_infer(mien_node *n) {
  slice_lists l;
  MIEN_TRY(shape_list_infer(n, 1, "starts", &l.starts));
  MIEN_TRY(shape_list_infer(n, 2, "ends", &l.ends));
  MIEN_TRY(shape_list_infer(n, 3, "axes", &l.axes));
  MIEN_TRY(shape_list_infer(n, 4, "steps", &l.steps));
  return slice_type(n, &l);
}

static mien_status slice_attrs_read(mien_node *n, slice_lists *l) {
  memset(l, 0, sizeof *l);
  MIEN_TRY(shape_list_attr(n, "starts", &l->starts));
  MIEN_TRY(shape_list_attr(n, "ends", &l->ends));
  return shape_list_attr(n, "axes", &l->axes);
}

static mien_status slice_infer_1(mien_node *n) {
  slice_lists l;
  MIEN_TRY(slice_attrs_read(n, &l));
  return slice_type(n, &l);
}

static mien_status slice_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 0.5);
  return MIEN_OK;
}

static mien_status slice_copy(mien_node *n, slice_lists *l, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  const mien_type *y = &mien_out(n, 0)->type;
  size_t size = mien_dtype_bytes(x->type.dtype);
  int axes[MIEN_MAX_RANK];
  int64_t from[MIEN_MAX_RANK], to[MIEN_MAX_RANK], step[MIEN_MAX_RANK], offset = 0;
  if (begin >= end) return MIEN_OK;
  MIEN_TRY(slice_axes(n, l, x->type.rank, axes));
  strided_dense(x->type.rank, x->type.dim, from);
  strided_dense(y->rank, y->dim, to);
  for (int i = 0; i < y->rank; i++) step[i] = 1;
  for (int64_t i = 0; i < l->axes.count; i++) {
    int a = axes[i];
    int64_t s = l->steps.given ? l->steps.value[i] : 1;
    offset += slice_bound(n, l->starts.value[i], x->type.dim[a], s < 0, false) * from[a];
    step[a] = y->dim[a] > 1 ? s : 1; /* a step beyond the dimension is never taken */
  }
  strided_box b;
  strided_start(&b);
  for (int i = 0; i < y->rank; i++) strided_push(&b, y->dim[i], from[i] * step[i], to[i]);
  strided_finish(&b);
  strided_copy(&b, size, (const char *)x->data + offset * (int64_t)size, mien_out(n, 0)->data, begin, end);
  return MIEN_OK;
}

static mien_status slice_run(mien_node *n, int64_t begin, int64_t end) {
  slice_lists l;
  MIEN_TRY(shape_list_run(n, 1, "starts", &l.starts));
  MIEN_TRY(shape_list_run(n, 2, "ends", &l.ends));
  MIEN_TRY(shape_list_run(n, 3, "axes", &l.axes));
  MIEN_TRY(shape_list_run(n, 4, "steps", &l.steps));
  return slice_copy(n, &l, begin, end);
}

static mien_status slice_run_1(mien_node *n, int64_t begin, int64_t end) {
  slice_lists l;
  MIEN_TRY(slice_attrs_read(n, &l));
  return slice_copy(n, &l, begin, end);
}

static const mien_attr slice_attrs[] = {{.name = "starts", .kind = 'I', .required = true},
                                        {.name = "ends", .kind = 'I', .required = true},
                                        {.name = "axes", .kind = 'I'},
                                        {.name = NULL}};
static const mien_kernel slice_kernels[] = {{MIEN_ANY, slice_run}, {MIEN_NONE, NULL}};
static const mien_kernel slice_kernels_1[] = {{MIEN_ANY, slice_run_1}, {MIEN_NONE, NULL}};

#define SLICE \
  .name = "Slice", .prepare = slice_prepare, .flags = MIEN_OP_MOVES_DATA, .doc = "a strided part of the input"

const mien_op mien_ops_Slice[] = {
    {SLICE, .since = 1, .until = 9, .signature = "data:T -> output:T", .attrs = slice_attrs, .kernels = slice_kernels_1,
     .infer = slice_infer_1},
    {SLICE, .since = 10, .signature = "data:T, starts:I{i32,i64}, ends:I, axes:I?, steps:I? -> output:T",
     .kernels = slice_kernels, .infer = slice_infer},
    {.name = NULL},
};
