/* OneHot: a new dimension of size `depth` in which the index is on and all others are off.  ai.onnx 9.
** values = [off, on]. Indices in [-depth, depth) count from the end when negative; for others all is off. */
#include "ops/loop.h"
#include "ops/shape.h"

static bool onehot_number(int32_t dtype, const void *data, int64_t i, int64_t *value) {
  switch (dtype) {
#define X(D, T, C, K, ...)                                    \
  case MIEN_##D: {                                            \
    double v = (double)MIEN_GET_##K(C, ((const T *)data)[i]); \
    if (!(v > -9e18 && v < 9e18)) return false;               \
    *value = (int64_t)v;                                      \
    return true;                                              \
  }
    MIEN_FLOATS(X, 0)
#undef X
#define X(D, T, ...) \
  case MIEN_##D: *value = (int64_t)((const T *)data)[i]; return true;
    MIEN_INTS(X, 0)
#undef X
    default: return false;
  }
}

static mien_status onehot_infer(mien_node *n) {
  const mien_type *indices = &mien_in(n, 0)->type, *depth = &mien_in(n, 1)->type, *values = &mien_in(n, 2)->type;
  if (indices->rank + 1 > MIEN_MAX_RANK)
    return mien_fail(n, MIEN_LIMIT, "the output would have rank %d, expected at most %d", indices->rank + 1,
                     MIEN_MAX_RANK);
  if (depth->rank > 1 || (depth->rank == 1 && !mien_is_symbol(depth->dim[0]) && depth->dim[0] != 1))
    return mien_fail(n, MIEN_INVALID_MODEL, "depth is not a single number");
  if (values->rank != 1 || (!mien_is_symbol(values->dim[0]) && values->dim[0] != 2))
    return mien_fail(n, MIEN_INVALID_MODEL, "values is not [off, on]");
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), indices->rank + 1, &axis));
  mien_type y = shape_type(values->dtype, indices->rank + 1);
  for (int i = 0, from = 0; i < y.rank; i++)
    if (i != axis) y.dim[i] = indices->dim[from++];
  int64_t count = 0;
  const int64_t *ints = mien_ints(n, 1, &count);
  const void *contents = mien_contents(n, 1);
  if (ints && count == 1)
    y.dim[axis] = ints[0];
  else if (!contents || !onehot_number(depth->dtype, contents, 0, &y.dim[axis]))
    y.dim[axis] = mien_new_symbol(n);
  return mien_set_type(n, 0, &y);
}

static mien_status onehot_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 4);
  return MIEN_OK;
}

static mien_status onehot_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *indices = mien_in(n, 0), *y = mien_out(n, 0);
  const char *values = mien_in(n, 2)->data;
  size_t size = mien_dtype_bytes(y->type.dtype);
  int axis = 0;
  MIEN_TRY(shape_axis(n, mien_attr_i(n, "axis"), y->type.rank, &axis));
  int64_t depth = y->type.dim[axis], inner = shape_elements(&y->type, axis + 1, y->type.rank);
  for (int64_t e = begin; e < end; e++) {
    int64_t k = e / inner % depth, at = e / inner / depth * inner + e % inner, index = 0;
    bool good = onehot_number(indices->type.dtype, indices->data, at, &index);
    bool on = good && (index == k || (index < 0 && index + depth == k));
    memcpy((char *)y->data + (size_t)e * size, values + (on ? size : 0), size);
  }
  return MIEN_OK;
}

static const mien_attr onehot_attrs[] = {{.name = "axis", .kind = 'i', .i = -1}, {.name = NULL}};
static const mien_kernel onehot_kernels[] = {{MIEN_ANY, onehot_run}, {MIEN_NONE, NULL}};

#define ONEHOT_NUMBERS "{" MIEN_TEXT_FLOATS "," MIEN_TEXT_INTS "}"

const mien_op mien_ops_OneHot[] = {
    {.name = "OneHot",
     .since = 9,
     .signature = "indices:I" ONEHOT_NUMBERS ", depth:D" ONEHOT_NUMBERS ", values:T -> output:T",
     .attrs = onehot_attrs,
     .kernels = onehot_kernels,
     .infer = onehot_infer,
     .prepare = onehot_prepare,
     .doc = "indices as vectors with one element on"},
    {.name = NULL},
};
