/* Shape: the dimensions [start, end) of the input.  ai.onnx 15, 1 (all of them). Nothing of the input's data is read. */
#include "ops/shape.h"

typedef struct shape_range {
  int from, to;
} shape_range;

static int shape_bound(int64_t at, int rank) {
  if (at < 0) at = at < -rank ? 0 : at + rank;
  return (int)(at > rank ? rank : at);
}

static shape_range shape_whole(const mien_node *n) { return (shape_range){0, mien_in(n, 0)->type.rank}; }

static shape_range shape_part(const mien_node *n) {
  int rank = mien_in(n, 0)->type.rank;
  shape_range r = {shape_bound(mien_attr_i(n, "start"), rank), rank};
  if (mien_has_attr(n, "end")) r.to = shape_bound(mien_attr_i(n, "end"), rank);
  if (r.to < r.from) r.to = r.from;
  return r;
}

static mien_status shape_of(mien_node *n, shape_range r) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_type y = shape_type(MIEN_I64, 1);
  y.dim[0] = r.to - r.from;
  MIEN_TRY(mien_set_type(n, 0, &y));
  return mien_set_ints(n, 0, x->dim + r.from, r.to - r.from);
}

static mien_status shape_infer(mien_node *n) { return shape_of(n, shape_whole(n)); }
static mien_status shape_infer_15(mien_node *n) { return shape_of(n, shape_part(n)); }

static mien_status shape_write(mien_node *n, shape_range r, int64_t begin, int64_t end) {
  const mien_type *x = &mien_in(n, 0)->type;
  int64_t *y = mien_out(n, 0)->data;
  for (int64_t i = begin; i < end; i++) y[i] = x->dim[r.from + i];
  return MIEN_OK;
}

static mien_status shape_run(mien_node *n, int64_t begin, int64_t end) {
  return shape_write(n, shape_whole(n), begin, end);
}
static mien_status shape_run_15(mien_node *n, int64_t begin, int64_t end) {
  return shape_write(n, shape_part(n), begin, end);
}

static const mien_attr shape_attrs[] = {{.name = "start", .kind = 'i'}, {.name = "end", .kind = 'i'}, {.name = NULL}};
static const mien_kernel shape_kernels[] = {{MIEN_ANY, shape_run}, {MIEN_NONE, NULL}};
static const mien_kernel shape_kernels_15[] = {{MIEN_ANY, shape_run_15}, {MIEN_NONE, NULL}};

#define SHAPE .name = "Shape", .signature = "data:T -> shape:i64", .doc = "the input's dimensions"

const mien_op mien_ops_Shape[] = {
    {SHAPE, .since = 1, .until = 14, .kernels = shape_kernels, .infer = shape_infer},
    {SHAPE, .since = 15, .attrs = shape_attrs, .kernels = shape_kernels_15, .infer = shape_infer_15},
    {.name = NULL},
};
