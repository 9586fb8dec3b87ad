/* Squeeze: drops dimensions of size 1.  ai.onnx 13 (axes an input), 11, 1 (axes an attribute). Without axes, all of them. */
#include "ops/shape.h"

static mien_status squeeze_by(mien_node *n, const shape_list *list) {
  const mien_type *x = &mien_in(n, 0)->type;
  bool drop[MIEN_MAX_RANK] = {false};
  int axes[MIEN_MAX_RANK];
  if (list->given && !list->known)
    return shape_open(n, list->count < 0 || list->count > x->rank ? -1 : x->rank - list->count);
  if (list->given) MIEN_TRY(shape_axes(n, list, x->rank, axes));
  for (int64_t i = 0; i < list->count; i++) {
    int64_t d = x->dim[axes[i]];
    if (d != 1 && !mien_is_symbol(d))
      return mien_fail(n, MIEN_INVALID_MODEL, "dimension %d is %lld, expected 1", axes[i], (long long)d);
    drop[axes[i]] = true;
  }
  for (int i = 0; i < x->rank && !list->given; i++) {
    /* An open size may turn out as 1: then the rank is not known yet. */
    if (mien_is_symbol(x->dim[i])) return shape_open(n, -1);
    drop[i] = x->dim[i] == 1;
  }
  mien_type y = shape_type(x->dtype, 0);
  for (int i = 0; i < x->rank; i++)
    if (!drop[i]) y.dim[y.rank++] = x->dim[i];
  return mien_set_type(n, 0, &y);
}

static mien_status squeeze_infer(mien_node *n) {
  shape_list axes;
  MIEN_TRY(shape_list_infer(n, 1, "axes", &axes));
  return squeeze_by(n, &axes);
}

static mien_status squeeze_infer_1(mien_node *n) {
  shape_list axes;
  MIEN_TRY(shape_list_attr(n, "axes", &axes));
  return squeeze_by(n, &axes);
}

static const mien_attr squeeze_attrs[] = {{.name = "axes", .kind = 'I'}, {.name = NULL}};
static const mien_kernel squeeze_kernels[] = {{MIEN_ANY, shape_copy}, {MIEN_NONE, NULL}};

#define SQUEEZE                                                                              \
  .name = "Squeeze", .kernels = squeeze_kernels, .flags = MIEN_OP_VIEW | MIEN_OP_MOVES_DATA, \
  .doc = "drops dimensions of size 1"

const mien_op mien_ops_Squeeze[] = {
    {SQUEEZE, .since = 1, .until = 12, .signature = "data:T -> squeezed:T", .attrs = squeeze_attrs,
     .infer = squeeze_infer_1},
    {SQUEEZE, .since = 13, .signature = "data:T, axes:i64? -> squeezed:T", .infer = squeeze_infer},
    {.name = NULL},
};
