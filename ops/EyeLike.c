/* EyeLike: ones on diagonal k of a matrix of the input's shape, zeros elsewhere.  ai.onnx 9. */
#include "ops/loop.h"
#include "ops/shape.h"

static bool eyelike_one(int32_t dtype, void *to) {
  switch (dtype) {
#define X(D, T, C, K, ...) \
  case MIEN_##D: *(T *)to = MIEN_PUT_##K(T, (C)1); return true;
    MIEN_NUMBERS_AND_BOOL(X, 0)
#undef X
    default: return false;
  }
}

static mien_status eyelike_infer(mien_node *n) {
  mien_type y = mien_in(n, 0)->type;
  char one[16];
  if (y.rank != 2) return mien_fail(n, MIEN_INVALID_MODEL, "input has rank %d, expected 2", (int)y.rank);
  if (mien_has_attr(n, "dtype")) y.dtype = (int32_t)mien_attr_i(n, "dtype");
  if (!eyelike_one(y.dtype, one)) return mien_fail(n, MIEN_UNSUPPORTED, "element type %d has no 1", (int)y.dtype);
  return mien_set_type(n, 0, &y);
}

static mien_status eyelike_prepare(mien_node *n) {
  mien_work(n, mien_out(n, 0)->type.dim[0], 3 + 0.2 * (double)mien_out(n, 0)->type.dim[1]);
  return MIEN_OK;
}

static mien_status eyelike_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *y = mien_out(n, 0);
  int64_t rows = y->type.dim[0], columns = y->type.dim[1], k = mien_attr_i(n, "k");
  size_t size = mien_dtype_bytes(y->type.dtype);
  if (k < -rows) k = -rows;
  if (k > columns) k = columns;
  for (int64_t r = begin; r < end && columns > 0; r++) {
    char *row = (char *)y->data + (size_t)(r * columns) * size;
    memset(row, 0, (size_t)columns * size);
    if (r + k >= 0 && r + k < columns) eyelike_one(y->type.dtype, row + (size_t)(r + k) * size);
  }
  return MIEN_OK;
}

static const mien_attr eyelike_attrs[] = {{.name = "dtype", .kind = 'i'}, {.name = "k", .kind = 'i'}, {.name = NULL}};
static const mien_kernel eyelike_kernels[] = {{MIEN_ANY, eyelike_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_EyeLike[] = {
    {.name = "EyeLike",
     .since = 9,
     .signature = "input:X -> output:Y",
     .attrs = eyelike_attrs,
     .kernels = eyelike_kernels,
     .infer = eyelike_infer,
     .prepare = eyelike_prepare,
     .doc = "ones on a diagonal"},
    {.name = NULL},
};
