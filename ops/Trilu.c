/* Trilu: the upper or lower triangle of the innermost matrices, from diagonal k; zero elsewhere.  ai.onnx 14. */
#include "ops/shape.h"

static mien_status trilu_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  if (x->rank < 2) return mien_fail(n, MIEN_INVALID_MODEL, "input has rank %d, expected at least 2", (int)x->rank);
  return mien_set_type(n, 0, x);
}

/* An item is a row. */
static mien_status trilu_prepare(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  mien_work(n, shape_elements(x, 0, x->rank - 1), 3 + 0.3 * (double)x->dim[x->rank - 1]);
  return MIEN_OK;
}

static mien_status trilu_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0), *diagonal = mien_in_count(n) > 1 ? mien_in(n, 1) : NULL;
  size_t size = mien_dtype_bytes(x->type.dtype);
  int64_t rows = x->type.dim[x->type.rank - 2], columns = x->type.dim[x->type.rank - 1];
  int64_t k = diagonal ? shape_element(diagonal, 0) : 0;
  bool upper = mien_attr_i(n, "upper") != 0;
  if (columns == 0) return MIEN_OK;
  if (k < -rows) k = -rows;
  if (k > columns) k = columns;
  for (int64_t r = begin; r < end; r++) {
    int64_t cut = r % rows + k + (upper ? 0 : 1); /* first column of the upper part, or behind the lower one */
    if (cut < 0) cut = 0;
    if (cut > columns) cut = columns;
    const char *from = (const char *)x->data + (size_t)(r * columns) * size;
    char *to = (char *)mien_out(n, 0)->data + (size_t)(r * columns) * size;
    size_t left = (size_t)cut * size, right = (size_t)(columns - cut) * size;
    if (upper) {
      memset(to, 0, left);
      memmove(to + left, from + left, right);
    } else {
      memmove(to, from, left);
      memset(to + left, 0, right);
    }
  }
  return MIEN_OK;
}

static const mien_attr trilu_attrs[] = {{.name = "upper", .kind = 'i', .i = 1}, {.name = NULL}};
static const mien_kernel trilu_kernels[] = {{MIEN_ANY, trilu_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_Trilu[] = {
    {.name = "Trilu",
     .since = 14,
     .signature = "input:T, k:i64? -> output:T",
     .attrs = trilu_attrs,
     .kernels = trilu_kernels,
     .infer = trilu_infer,
     .prepare = trilu_prepare,
     .doc = "the upper or lower triangle of matrices"},
    {.name = NULL},
};
