/* QuantizeLinear: y = saturate(round(x / y_scale) + y_zero_point), halves to even.
** ai.onnx 10, 13 (axis), 19 (8-bit floats, half types), 21 (block_size, output_dtype, 16- and 4-bit integers), 23 (precision),
** 25 (2-bit). To floats of 8 or 4 bits nothing is rounded but the result. NaN becomes the zero point where y is an integer. */
#include "ops/quantize.h"

/* y has the zero point's type, without one that of output_dtype, without either u8. */
static mien_status quantize_linear_infer(mien_node *n) {
  const mien_tensor *zero = mien_in_count(n) > 2 ? mien_in(n, 2) : NULL;
  int32_t wanted = 0;
  MIEN_TRY(quantize_wanted(n, &wanted));
  if (mien_has_attr(n, "precision") && mien_attr_i(n, "precision") != 0 && mien_attr_i(n, "precision") != MIEN_F32)
    return mien_fail(n, MIEN_UNSUPPORTED, "precision is %lld, only 0 and 1 (float) are supported",
                     (long long)mien_attr_i(n, "precision"));
  return quantize_infer(n, zero ? zero->type.dtype : wanted ? wanted : (int32_t)MIEN_U8);
}

/* The range of an integer type; false for floats. */
static bool quantize_range(int32_t dtype, double *low, double *high) {
  switch (dtype) {
#define RANGE(D, a, b) \
  case MIEN_##D: *low = a, *high = b; return true;
    RANGE(I8, -128, 127)
    RANGE(U8, 0, 255)
    RANGE(I16, -32768, 32767)
    RANGE(U16, 0, 65535)
    RANGE(I4, -8, 7)
    RANGE(U4, 0, 15)
    RANGE(I2, -2, 1)
    RANGE(U2, 0, 3)
#undef RANGE
    default: return false;
  }
}

static mien_status quantize_linear_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  mien_tensor *y = mien_out(n, 0);
  const size_t from = mien_dtype_bytes(x->type.dtype), to = mien_dtype_bytes(y->type.dtype);
  const bool whole = mien_wide_of(x->type.dtype) == MIEN_WIDE_I64;
  const mien_narrowing how = {.saturate = !mien_has_attr(n, "saturate") || mien_attr_i(n, "saturate") != 0};
  double low = 0, high = 0;
  const bool integer = quantize_range(y->type.dtype, &low, &high);
  mien_wide_block in, out;
  quantize_block b;
  for (int64_t at = begin, count; at < end; at += count) {
    count = end - at < MIEN_BLOCK ? end - at : MIEN_BLOCK;
    mien_widen(x->type.dtype, (const char *)x->data + (size_t)at * from, count, &in);
    quantize_scales(n, at, count, &b);
    for (int64_t k = 0; k < count; k++) {
      const float v = (whole ? (float)in.i64[k] : in.f32[k]) / b.scale[k];
      double r = integer ? rint((double)v) + b.zero[k] : (double)v + b.zero[k];
      if (integer) r = r != r ? b.zero[k] : r < low ? low : r > high ? high : r;
      out.f32[k] = (float)r; /* integers of 16 bits are exact */
    }
    mien_narrow(MIEN_WIDE_F32, &out, count, y->type.dtype, (char *)y->data + (size_t)at * to, how);
  }
  return MIEN_OK;
}

#define ROW(D) \
  { MIEN_##D, quantize_linear_run }
static const mien_kernel quantize_linear_kernels_10[] = {ROW(F32), ROW(I32), {MIEN_NONE, NULL}};
static const mien_kernel quantize_linear_kernels[] = {ROW(F32), ROW(F16), ROW(BF16), ROW(I32), {MIEN_NONE, NULL}};

#define AXIS \
  { .name = "axis", .kind = 'i', .i = 1 }
#define SATURATE \
  { .name = "saturate", .kind = 'i', .i = 1 }
#define BLOCK \
  {.name = "block_size", .kind = 'i'}, { .name = "output_dtype", .kind = 'i' }
static const mien_attr quantize_attrs_13[] = {AXIS, {.name = NULL}};
static const mien_attr quantize_attrs_19[] = {AXIS, SATURATE, {.name = NULL}};
static const mien_attr quantize_attrs_21[] = {AXIS, SATURATE, BLOCK, {.name = NULL}};
static const mien_attr quantize_attrs_23[] = {
    AXIS, SATURATE, BLOCK, {.name = "precision", .kind = 'i'}, {.name = NULL}};

#define TYPES_19 "i8,u8,f8e4m3fn,f8e4m3fnuz,f8e5m2,f8e5m2fnuz"
#define TYPES_21 TYPES_19 ",i16,u16,i4,u4"
#define TYPES_23 TYPES_21 ",f4e2m1"
#define TYPES_25 TYPES_23 ",i2,u2"
#define SIGNATURE(scale, types) "x:T, y_scale:" scale ", y_zero_point:Y{" types "}? -> y:Y"

#define QUANTIZE                                                                             \
  .name = "QuantizeLinear", .state = sizeof(quantize_state), .infer = quantize_linear_infer, \
  .prepare = quantize_prepare, .doc = "round(x / scale) + zero point"

const mien_op mien_ops_QuantizeLinear[] = {
    {QUANTIZE, .since = 10, .until = 12, .signature = SIGNATURE("f32", "i8,u8"), .kernels = quantize_linear_kernels_10},
    {QUANTIZE, .since = 13, .until = 18, .signature = SIGNATURE("f32", "i8,u8"), .attrs = quantize_attrs_13,
     .kernels = quantize_linear_kernels_10},
    {QUANTIZE, .since = 19, .until = 20, .signature = SIGNATURE("T", TYPES_19), .attrs = quantize_attrs_19,
     .kernels = quantize_linear_kernels},
    {QUANTIZE, .since = 21, .until = 22, .signature = SIGNATURE("T", TYPES_21), .attrs = quantize_attrs_21,
     .kernels = quantize_linear_kernels},
    {QUANTIZE, .since = 23, .until = 24, .signature = SIGNATURE("S{f32,f16,bf16,i32,f8e8m0}", TYPES_23),
     .attrs = quantize_attrs_23, .kernels = quantize_linear_kernels},
    {QUANTIZE, .since = 25, .signature = SIGNATURE("S{f32,f16,bf16,i32,f8e8m0}", TYPES_25), .attrs = quantize_attrs_23,
     .kernels = quantize_linear_kernels},
    {.name = NULL},
};
