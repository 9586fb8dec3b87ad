/* Reshape: the same elements under another shape.  ai.onnx 14, 5.
** shape: 0 copies the input's dimension (unless allowzero, 14 on), one -1 stands for what is left. Its elements may be
** symbols when they come from shape arithmetic. */
#include "ops/shape.h"

/* What is left for -1: the input's dimensions over the output's others. Dimensions that were copied, and equal symbols, cancel
** and numbers divide first, so that [N,784,64] over [-1,7,7,64] is 16*N and not a quotient, and what is left beside a copied
** dimension of 0 is what it is beside any other. */
static mien_status reshape_rest(mien_node *n, const mien_type *x, const mien_type *y, const bool *copied, int hole,
                                int64_t *rest) {
  int64_t number_in = 1, number_out = 1, symbols_in = 1, symbols_out = 1;
  bool used[MIEN_MAX_RANK] = {false};
  for (int i = 0; i < y->rank; i++)
    if (copied[i]) used[i] = true;
  for (int i = 0; i < y->rank; i++) {
    if (i == hole || copied[i]) continue;
    if (!mien_is_symbol(y->dim[i])) {
      number_out = mien_dim(n, '*', number_out, y->dim[i]);
      continue;
    }
    int k = 0;
    while (k < x->rank && (used[k] || x->dim[k] != y->dim[i])) k++;
    if (k < x->rank)
      used[k] = true;
    else
      symbols_out = mien_dim(n, '*', symbols_out, y->dim[i]);
  }
  for (int k = 0; k < x->rank; k++) {
    if (used[k]) continue;
    int64_t *factor = mien_is_symbol(x->dim[k]) ? &symbols_in : &number_in;
    *factor = mien_dim(n, '*', *factor, x->dim[k]);
  }
  if (number_out == 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "shape has -1 beside a dimension of 0: what is left is not defined");
  int64_t above = mien_dim(n, '*', number_in, symbols_in), below = mien_dim(n, '*', number_out, symbols_out);
  if (!mien_is_symbol(above) && !mien_is_symbol(below) && (below == 0 || above % below != 0))
    return mien_fail(n, MIEN_INVALID_MODEL, "%lld elements cannot be divided by the %lld of the other dimensions",
                     (long long)above, (long long)below);
  *rest = mien_dim(n, '/', above, below);
  return MIEN_OK;
}

static mien_status reshape_check(mien_node *n, const mien_type *x, const mien_type *y) {
  int64_t before = shape_product(n, x, 0, x->rank), after = shape_product(n, y, 0, y->rank);
  if (!mien_is_symbol(before) && !mien_is_symbol(after) && before != after)
    return mien_fail(n, MIEN_INVALID_MODEL, "the input has %lld elements, shape wants %lld", (long long)before,
                     (long long)after);
  return MIEN_OK;
}

static mien_status reshape_to(mien_node *n, const shape_list *shape, bool allowzero) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_type y = shape_type(x->dtype, (int)shape->count);
  int hole = -1;
  bool copied[MIEN_MAX_RANK] = {false};
  for (int i = 0; i < y.rank; i++) {
    int64_t d = shape->value[i];
    copied[i] = d == 0 && !allowzero;
    if (copied[i]) {
      if (i >= x->rank)
        return mien_fail(n, MIEN_INVALID_MODEL, "shape[%d] is 0, the input has rank %d", i, (int)x->rank);
      d = x->dim[i];
    } else if (d == -1) {
      if (hole >= 0) return mien_fail(n, MIEN_INVALID_MODEL, "shape has -1 at %d and at %d", hole, i);
      hole = i;
      d = 1;
    } else if (d < 0 && !mien_is_symbol(d)) {
      return mien_fail(n, MIEN_INVALID_MODEL, "shape[%d] is %lld", i, (long long)d);
    }
    y.dim[i] = d;
  }
  if (hole >= 0) MIEN_TRY(reshape_rest(n, x, &y, copied, hole, &y.dim[hole]));
  MIEN_TRY(reshape_check(n, x, &y));
  return mien_set_type(n, 0, &y);
}

static mien_status reshape_infer(mien_node *n) {
  shape_list shape;
  MIEN_TRY(shape_list_infer(n, 1, "shape", &shape));
  return shape.known ? reshape_to(n, &shape, false) : shape_open(n, shape.count);
}

static mien_status reshape_infer_14(mien_node *n) {
  shape_list shape;
  MIEN_TRY(shape_list_infer(n, 1, "shape", &shape));
  return shape.known ? reshape_to(n, &shape, mien_attr_i(n, "allowzero") != 0) : shape_open(n, shape.count);
}

static const mien_attr reshape_attrs[] = {{.name = "allowzero", .kind = 'i'}, {.name = NULL}};
static const mien_kernel reshape_kernels[] = {{MIEN_ANY, shape_copy}, {MIEN_NONE, NULL}};

#define RESHAPE                                                                                  \
  .name = "Reshape", .signature = "data:T, shape:i64 -> reshaped:T", .kernels = reshape_kernels, \
  .flags = MIEN_OP_VIEW | MIEN_OP_MOVES_DATA, .doc = "the same elements under another shape"

const mien_op mien_ops_Reshape[] = {
    {RESHAPE, .since = 5, .until = 13, .infer = reshape_infer},
    {RESHAPE, .since = 14, .attrs = reshape_attrs, .infer = reshape_infer_14},
    {.name = NULL},
};
