/* DequantizeLinear: Y = (x - x_zero_point) * x_scale.
** ai.onnx 10, 13 (axis), 19 (8-bit floats, half scales), 21 (block_size, 16- and 4-bit integers), 23 (output_dtype), 25 (2-bit). */
#include "ops/quantize.h"

static mien_status dequantize_infer(mien_node *n) {
  int32_t wanted = 0;
  MIEN_TRY(quantize_wanted(n, &wanted));
  return quantize_infer(n, wanted ? wanted : mien_in(n, 1)->type.dtype);
}

/* The difference is exact in double; the product is made in float. */
static mien_status dequantize_run(mien_node *n, int64_t begin, int64_t end) {
  const mien_tensor *x = mien_in(n, 0);
  mien_tensor *y = mien_out(n, 0);
  const size_t from = mien_dtype_bytes(x->type.dtype), to = mien_dtype_bytes(y->type.dtype);
  const mien_wide kind = mien_wide_of(x->type.dtype);
  mien_wide_block in, out;
  quantize_block b;
  for (int64_t at = begin, count; at < end; at += count) {
    count = end - at < MIEN_BLOCK ? end - at : MIEN_BLOCK;
    mien_widen(x->type.dtype, (const char *)x->data + (size_t)at * from, count, &in);
    quantize_scales(n, at, count, &b);
    for (int64_t k = 0; k < count; k++) {
      const double v = kind == MIEN_WIDE_F32   ? (double)in.f32[k]
                       : kind == MIEN_WIDE_I64 ? (double)in.i64[k]
                                               : (double)in.u64[k];
      out.f32[k] = (float)(v - b.zero[k]) * b.scale[k];
    }
    mien_narrow(MIEN_WIDE_F32, &out, count, y->type.dtype, (char *)y->data + (size_t)at * to,
                (mien_narrowing){.saturate = true});
  }
  return MIEN_OK;
}

#define ROW(D) \
  { MIEN_##D, dequantize_run }
#define ROWS_10 ROW(I8), ROW(U8), ROW(I32)
#define ROWS_19 ROWS_10, ROW(F8E4M3FN), ROW(F8E4M3FNUZ), ROW(F8E5M2), ROW(F8E5M2FNUZ)
#define ROWS_21 ROWS_19, ROW(I16), ROW(U16), ROW(I4), ROW(U4)
#define ROWS_23 ROWS_21, ROW(F4E2M1)
static const mien_kernel dequantize_kernels_10[] = {ROWS_10, {MIEN_NONE, NULL}};
static const mien_kernel dequantize_kernels_19[] = {ROWS_19, {MIEN_NONE, NULL}};
static const mien_kernel dequantize_kernels_21[] = {ROWS_21, {MIEN_NONE, NULL}};
static const mien_kernel dequantize_kernels_23[] = {ROWS_23, {MIEN_NONE, NULL}};
static const mien_kernel dequantize_kernels_25[] = {ROWS_23, ROW(I2), ROW(U2), {MIEN_NONE, NULL}};

#define AXIS \
  { .name = "axis", .kind = 'i', .i = 1 }
#define BLOCK \
  { .name = "block_size", .kind = 'i' }
static const mien_attr dequantize_attrs_13[] = {AXIS, {.name = NULL}};
static const mien_attr dequantize_attrs_21[] = {AXIS, BLOCK, {.name = NULL}};
static const mien_attr dequantize_attrs_23[] = {AXIS, BLOCK, {.name = "output_dtype", .kind = 'i'}, {.name = NULL}};

#define DEQUANTIZE                                                                                                     \
  .name = "DequantizeLinear", .state = sizeof(quantize_state), .infer = dequantize_infer, .prepare = quantize_prepare, \
  .doc = "(x - zero point) * scale"
#define SIGNATURE(scale) "x:T, x_scale:S{" scale "}, x_zero_point:T? -> y:Y{f32,f16,bf16}"

const mien_op mien_ops_DequantizeLinear[] = {
    {DEQUANTIZE, .since = 10, .until = 12, .signature = SIGNATURE("f32"), .kernels = dequantize_kernels_10},
    {DEQUANTIZE, .since = 13, .until = 18, .signature = SIGNATURE("f32"), .attrs = dequantize_attrs_13,
     .kernels = dequantize_kernels_10},
    {DEQUANTIZE, .since = 19, .until = 20, .signature = SIGNATURE("f32,f16,bf16"), .attrs = dequantize_attrs_13,
     .kernels = dequantize_kernels_19},
    {DEQUANTIZE, .since = 21, .until = 22, .signature = SIGNATURE("f32,f16,bf16"), .attrs = dequantize_attrs_21,
     .kernels = dequantize_kernels_21},
    {DEQUANTIZE, .since = 23, .until = 24, .signature = SIGNATURE("f32,f16,bf16,f8e8m0"), .attrs = dequantize_attrs_23,
     .kernels = dequantize_kernels_23},
    {DEQUANTIZE, .since = 25, .signature = SIGNATURE("f32,f16,bf16,f8e8m0"), .attrs = dequantize_attrs_23,
     .kernels = dequantize_kernels_25},
    {.name = NULL},
};
