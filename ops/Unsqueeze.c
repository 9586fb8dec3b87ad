/* Unsqueeze: inserts dimensions of size 1 where `axes` says in the output.  ai.onnx 13 (axes an input), 11, 1 (attribute). */
#include "ops/shape.h"

static mien_status unsqueeze_by(mien_node *n, const shape_list *list) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axes[MIEN_MAX_RANK];
  if (!list->known) return shape_open(n, list->count < 0 ? -1 : x->rank + list->count);
  if (x->rank + list->count > MIEN_MAX_RANK)
    return mien_fail(n, MIEN_LIMIT, "the output would have rank %lld, expected at most %d",
                     (long long)(x->rank + list->count), MIEN_MAX_RANK);
  mien_type y = shape_type(x->dtype, x->rank + (int)list->count);
  bool added[MIEN_MAX_RANK] = {false};
  MIEN_TRY(shape_axes(n, list, y.rank, axes));
  for (int64_t i = 0; i < list->count; i++) added[axes[i]] = true;
  for (int i = 0, from = 0; i < y.rank; i++) y.dim[i] = added[i] ? 1 : x->dim[from++];
  return mien_set_type(n, 0, &y);
}

static mien_status unsqueeze_infer(mien_node *n) {
  shape_list axes;
  MIEN_TRY(shape_list_infer(n, 1, "axes", &axes));
  return unsqueeze_by(n, &axes);
}

static mien_status unsqueeze_infer_1(mien_node *n) {
  shape_list axes;
  MIEN_TRY(shape_list_attr(n, "axes", &axes));
  return unsqueeze_by(n, &axes);
}

static const mien_attr unsqueeze_attrs[] = {{.name = "axes", .kind = 'I', .required = true}, {.name = NULL}};
static const mien_kernel unsqueeze_kernels[] = {{MIEN_ANY, shape_copy}, {MIEN_NONE, NULL}};

#define UNSQUEEZE                                                                                \
  .name = "Unsqueeze", .kernels = unsqueeze_kernels, .flags = MIEN_OP_VIEW | MIEN_OP_MOVES_DATA, \
  .doc = "inserts dimensions of size 1"

const mien_op mien_ops_Unsqueeze[] = {
    {UNSQUEEZE, .since = 1, .until = 12, .signature = "data:T -> expanded:T", .attrs = unsqueeze_attrs,
     .infer = unsqueeze_infer_1},
    {UNSQUEEZE, .since = 13, .signature = "data:T, axes:i64 -> expanded:T", .infer = unsqueeze_infer},
    {.name = NULL},
};
