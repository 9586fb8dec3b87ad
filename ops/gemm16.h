/* ops/gemm16.h -- which products of the fused operators have operands of 16 bits (mien_gemm16): those by W of bfloat16, and those
** with attribute int16, whose W is of float32 or float16. */
#ifndef MIEN_OPS_GEMM16_H
#define MIEN_OPS_GEMM16_H

#include <math.h>
#include <mien/plugin.h>

#define GEMM16_ATTR \
  { .name = "int16", .kind = 'i' }

/* In prepare; *gemm16 NULL: operands are floats. W is input 1, w_columns: of the panels it lies in. */
static inline mien_status gemm16_prepare(mien_node *n, int64_t w_columns, const mien_gemm16 **gemm16) {
  const mien_math *math = mien_math_of(n);
  const int32_t dtype = mien_in(n, 1)->type.dtype;
  const bool int16 = mien_attr_i(n, "int16") != 0;
  if (dtype != MIEN_F32 && !mien_is_constant(n, 1))
    return mien_fail(n, MIEN_UNSUPPORTED, "input W is computed and of a half type, expected a constant or float32");
  if (dtype != MIEN_F32 && w_columns)
    return mien_fail(n, MIEN_INVALID_MODEL, "input W is in panels and of a half type, expected float32");
  if (int16 && (dtype == MIEN_BF16 || w_columns))
    return mien_fail(n, MIEN_INVALID_MODEL, "input W is %s, expected float16 or float32 in rows for products of int16",
                     w_columns ? "in panels" : "bfloat16");
  if (int16 && !mien_is_constant(n, 1))
    return mien_fail(n, MIEN_UNSUPPORTED, "input W is computed, expected a constant for products of int16");
  *gemm16 = dtype == MIEN_BF16 ? math->bf16 : int16 ? math->int16 : NULL;
  return MIEN_OK;
}

/* Where W is packed. */
static inline mien_status gemm16_check(mien_node *n, const mien_gemm16 *gemm16) {
  const mien_tensor *w = mien_in(n, 1);
  if (gemm16 != mien_math_of(n)->int16) return MIEN_OK;
  const float *x = w->data;
  for (int64_t i = 0, count = mien_count(&w->type); i < count; i++)
    if (!isfinite(x[i]))
      return mien_fail(n, MIEN_INVALID_MODEL, "input W has an element that is not finite, which int16 cannot hold");
  return MIEN_OK;
}

#endif
