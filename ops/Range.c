/* Range: start, start + delta, ... before limit.  ai.onnx 11. Element i is start + i * delta, not a running sum. */
#include "ops/loop.h"
#include "ops/shape.h"

#include <math.h>

/* Elements of a range of known floats; false where they are not finite or too many to count. */
static bool range_count(int32_t dtype, double start, double limit, double delta, int64_t *count) {
  double length = limit - start;
  if (dtype != MIEN_F64) length = (float)length;
  double steps = ceil(length / delta);
  if (!(steps < 9e15)) return false;
  *count = steps > 0 ? (int64_t)steps : 0;
  return true;
}

static double range_float(int32_t dtype, const void *data) {
  return dtype == MIEN_F32   ? *(const float *)data
         : dtype == MIEN_F64 ? *(const double *)data
         : dtype == MIEN_F16 ? mien_f16_to_f32(*(const uint16_t *)data)
                             : mien_bf16_to_f32(*(const uint16_t *)data);
}

static mien_status range_length(mien_node *n, int64_t *length) {
  static const char *const names[] = {"start", "limit", "delta"};
  int32_t dtype = mien_in(n, 0)->type.dtype;
  bool whole = dtype == MIEN_I16 || dtype == MIEN_I32 || dtype == MIEN_I64, known = true;
  int64_t v[3] = {0};
  double f[3] = {0};
  for (int i = 0; i < 3; i++) {
    const mien_tensor *t = mien_in(n, i);
    int64_t count = 0;
    if (t->type.rank > 1 || (t->type.rank == 1 && t->type.dim[0] != 1))
      return mien_fail(n, MIEN_INVALID_MODEL, "input %s is not a scalar", names[i]);
    const int64_t *ints = whole ? mien_ints(n, i, &count) : NULL;
    if (ints && count == 1)
      v[i] = ints[0];
    else if (!whole && mien_contents(n, i))
      f[i] = range_float(dtype, mien_contents(n, i));
    else
      known = false;
  }
  *length = mien_new_symbol(n);
  if (!known) return MIEN_OK;
  if (whole ? v[2] == 0 : f[2] == 0) return mien_fail(n, MIEN_INVALID_MODEL, "delta is 0");
  if (!whole && !range_count(dtype, f[0], f[1], f[2], length))
    return mien_fail(n, MIEN_LIMIT, "the range from %g to %g by %g has no length", f[0], f[1], f[2]);
  if (whole) {
    *length = mien_dim(n, 'c', mien_dim(n, '-', v[1], v[0]), v[2]);
    if (v[0] != 0 || v[2] != 1 || !mien_is_symbol(*length)) *length = mien_dim(n, 'M', *length, 0);
  }
  return MIEN_OK;
}

static mien_status range_infer(mien_node *n) {
  mien_type y = shape_type(mien_in(n, 0)->type.dtype, 1);
  MIEN_TRY(range_length(n, &y.dim[0]));
  return mien_set_type(n, 0, &y);
}

#define RANGE_FLOAT(D, T, C, K, ...)                                                    \
  static mien_status range_##D(mien_node *n, int64_t begin, int64_t end) {              \
    const C start = MIEN_GET_##K(C, *(const T *)mien_in(n, 0)->data);                   \
    const C delta = MIEN_GET_##K(C, *(const T *)mien_in(n, 2)->data);                   \
    T *y = mien_out(n, 0)->data;                                                        \
    for (int64_t i = begin; i < end; i++) y[i] = MIEN_PUT_##K(T, start + (C)i * delta); \
    return MIEN_OK;                                                                     \
  }
#define RANGE_INT(D, T)                                                            \
  static mien_status range_##D(mien_node *n, int64_t begin, int64_t end) {         \
    const uint64_t start = (uint64_t) * (const T *)mien_in(n, 0)->data;            \
    const uint64_t delta = (uint64_t) * (const T *)mien_in(n, 2)->data;            \
    T *y = mien_out(n, 0)->data;                                                   \
    for (int64_t i = begin; i < end; i++) y[i] = (T)(start + (uint64_t)i * delta); \
    return MIEN_OK;                                                                \
  }
MIEN_FLOATS(RANGE_FLOAT, 0)
RANGE_INT(I16, int16_t)
RANGE_INT(I32, int32_t)
RANGE_INT(I64, int64_t)

static const mien_kernel range_kernels[] = {{MIEN_F32, range_F32},   {MIEN_F64, range_F64}, {MIEN_F16, range_F16},
                                            {MIEN_BF16, range_BF16}, {MIEN_I16, range_I16}, {MIEN_I32, range_I32},
                                            {MIEN_I64, range_I64},   {MIEN_NONE, NULL}};

const mien_op mien_ops_Range[] = {
    {.name = "Range",
     .since = 11,
     .signature = "start:T, limit:T, delta:T -> output:T",
     .kernels = range_kernels,
     .infer = range_infer,
     .doc = "numbers from start to before limit by delta"},
    {.name = NULL},
};
