/* ops/convert.h -- elements of any numeric type to and from another, by way of a block in the widest type of their kind:
** so many loops as types instead of so many as pairs of types. */
#ifndef MIEN_OPS_CONVERT_H
#define MIEN_OPS_CONVERT_H

#include "ops/loop.h"
#include <math.h>

/* ---- floats of 8 and 4 bits */

typedef struct mien_tiny_float {
  int exponent_bits, mantissa_bits, bias;
  uint8_t largest;       /* bits of the largest finite number */
  uint8_t infinity, nan; /* bits; infinity 0: there is none */
  bool one_zero;         /* sign bit alone is NaN, there is no -0 */
} mien_tiny_float;

static inline mien_tiny_float mien_tiny_of(int32_t dtype) {
  switch (dtype) {
    case MIEN_F8E4M3FN: return (mien_tiny_float){4, 3, 7, 0x7e, 0, 0x7f, false};
    case MIEN_F8E4M3FNUZ: return (mien_tiny_float){4, 3, 8, 0x7f, 0, 0x80, true};
    case MIEN_F8E5M2: return (mien_tiny_float){5, 2, 15, 0x7b, 0x7c, 0x7e, false};
    case MIEN_F8E5M2FNUZ: return (mien_tiny_float){5, 2, 16, 0x7f, 0, 0x80, true};
    default: return (mien_tiny_float){2, 1, 1, 0x07, 0, 0, false}; /* F4E2M1: neither infinity nor NaN */
  }
}

static inline float mien_tiny_magnitude(const mien_tiny_float *f, int bits) {
  const int mantissa = bits & ((1 << f->mantissa_bits) - 1), exponent = bits >> f->mantissa_bits;
  if (exponent == 0) return ldexpf((float)mantissa, 1 - f->bias - f->mantissa_bits);
  return ldexpf((float)(mantissa + (1 << f->mantissa_bits)), exponent - f->bias - f->mantissa_bits);
}

static inline float mien_tiny_to_f32(int32_t dtype, uint8_t bits) {
  const mien_tiny_float f = mien_tiny_of(dtype);
  const int sign_bit = 1 << (f.exponent_bits + f.mantissa_bits), magnitude = bits & (sign_bit - 1);
  const bool negative = (bits & sign_bit) != 0;
  if (f.one_zero ? bits == 0x80 : f.nan && (f.infinity ? magnitude > f.infinity : magnitude == f.nan)) return NAN;
  const float v = f.infinity && magnitude == f.infinity ? INFINITY : mien_tiny_magnitude(&f, magnitude);
  return negative ? -v : v;
}

/* Rounded to nearest even; beyond the largest number: that number, or without `saturate` infinity or else NaN. */
static inline uint8_t mien_tiny_from_f64(int32_t dtype, double v, bool saturate) {
  const mien_tiny_float f = mien_tiny_of(dtype);
  const uint8_t sign = signbit(v) ? (uint8_t)(1 << (f.exponent_bits + f.mantissa_bits)) : 0;
  const double largest = (double)mien_tiny_magnitude(&f, f.largest);
  if (isnan(v)) return f.one_zero ? f.nan : f.nan ? sign | f.nan : (uint8_t)0x08; /* F4E2M1: -0 stands for it */
  double a = fabs(v);
  int exponent = 1 - f.bias;
  if (isfinite(a) && a > 0) {
    const int own = ilogb(a);
    if (own > exponent) exponent = own;
    a = ldexp(rint(ldexp(a, f.mantissa_bits - exponent)), exponent - f.mantissa_bits);
  }
  if (a > largest) {
    if (saturate || f.nan == 0) return sign | f.largest;
    return f.infinity ? sign | f.infinity : f.one_zero ? f.nan : sign | f.nan;
  }
  if (a == 0) return f.one_zero ? 0 : sign;
  /* Rounding may have carried into the next power of two: the bits follow from the value itself. */
  exponent = ilogb(a) > 1 - f.bias ? ilogb(a) : 1 - f.bias;
  const int units = (int)ldexp(a, f.mantissa_bits - exponent);
  const int bits =
      units < 1 << f.mantissa_bits ? units : units - (1 << f.mantissa_bits) + ((exponent + f.bias) << f.mantissa_bits);
  return (uint8_t)(sign | bits);
}

/* F8E8M0 holds powers of two alone: 2^(bits - 127); 255 is NaN. */
static inline float mien_e8m0_to_f32(uint8_t bits) { return bits == 255 ? NAN : ldexpf(1, bits - 127); }

/* mode: 'u' away from zero, 'd' toward zero, 'n' nearest, halves up. */
static inline uint8_t mien_e8m0_from_f64(double v, char mode, bool saturate) {
  if (isnan(v)) return 255;
  v = fabs(v);
  if (isinf(v)) return saturate ? 254 : 255;
  if (v == 0) return saturate ? 0 : 255;
  int exponent = 0;
  const double half = frexp(v, &exponent); /* [0.5, 1) */
  exponent--;
  if (half > 0.5 && (mode == 'u' || (mode == 'n' && half >= 0.75))) exponent++;
  if (exponent < -127) return saturate ? 0 : 255;
  if (exponent > 127) return saturate ? 254 : 255;
  return (uint8_t)(exponent + 127);
}

/* ---- blocks */

typedef enum mien_wide { MIEN_WIDE_NONE, MIEN_WIDE_F32, MIEN_WIDE_F64, MIEN_WIDE_I64, MIEN_WIDE_U64 } mien_wide;

/* What holds every value of a type. */
static inline mien_wide mien_wide_of(int32_t dtype) {
  switch (dtype) {
    case MIEN_F64: return MIEN_WIDE_F64;
    case MIEN_F32:
    case MIEN_F16:
    case MIEN_BF16:
    case MIEN_F8E4M3FN:
    case MIEN_F8E4M3FNUZ:
    case MIEN_F8E5M2:
    case MIEN_F8E5M2FNUZ:
    case MIEN_F4E2M1:
    case MIEN_F8E8M0: return MIEN_WIDE_F32;
    case MIEN_I8:
    case MIEN_I16:
    case MIEN_I32:
    case MIEN_I64:
    case MIEN_I4:
    case MIEN_I2: return MIEN_WIDE_I64;
    case MIEN_U8:
    case MIEN_U16:
    case MIEN_U32:
    case MIEN_U64:
    case MIEN_U4:
    case MIEN_U2:
    case MIEN_BOOL: return MIEN_WIDE_U64;
    default: return MIEN_WIDE_NONE;
  }
}

typedef union mien_wide_block {
  float f32[MIEN_BLOCK];
  double f64[MIEN_BLOCK];
  int64_t i64[MIEN_BLOCK];
  uint64_t u64[MIEN_BLOCK];
} mien_wide_block;

#define MIEN_WIDEN(D, T, C, K, member)                                            \
  case MIEN_##D: {                                                                \
    const T *x = from;                                                            \
    for (int64_t i = 0; i < count; i++) block->member[i] = MIEN_GET_##K(C, x[i]); \
    break;                                                                        \
  }

/* count <= MIEN_BLOCK elements of a type that mien_wide_of knows. */
static inline void mien_widen(int32_t dtype, const void *from, int64_t count, mien_wide_block *block) {
  const uint8_t *bits = from;
  switch (dtype) {
    MIEN_WIDEN(F32, float, float, PLAIN, f32)
    MIEN_WIDEN(F64, double, double, PLAIN, f64)
    MIEN_HALVES(MIEN_WIDEN, f32)
    MIEN_SIGNED(MIEN_WIDEN, i64)
    MIEN_UNSIGNED(MIEN_WIDEN, u64)
    MIEN_BOOLS(MIEN_WIDEN, u64)
    MIEN_WIDEN(I4, int8_t, int8_t, PLAIN, i64)
    MIEN_WIDEN(I2, int8_t, int8_t, PLAIN, i64)
    MIEN_WIDEN(U4, uint8_t, uint8_t, PLAIN, u64)
    MIEN_WIDEN(U2, uint8_t, uint8_t, PLAIN, u64)
    case MIEN_F8E8M0:
      for (int64_t i = 0; i < count; i++) block->f32[i] = mien_e8m0_to_f32(bits[i]);
      break;
    default:
      for (int64_t i = 0; i < count; i++) block->f32[i] = mien_tiny_to_f32(dtype, bits[i]);
      break;
  }
}

/* A double as the float that rounds to a shorter type as the double itself would: inexact ones get an odd last bit. */
static inline float mien_f64_to_f32_odd(double v) {
  float f = (float)v;
  uint32_t bits = mien_f32_bits(f);
  if (v != v || (double)f == v) return f;
  if (fabs((double)f) > fabs(v)) bits--;
  return mien_bits_f32(bits | 1u);
}

/* An integer kept to the lowest `bits` of two's complement. */
static inline int8_t mien_wrap_bits(uint64_t v, int bits, bool is_signed) {
  const uint64_t low = v & ((1u << bits) - 1);
  return (int8_t)(is_signed && low >> (bits - 1) ? (int64_t)low - (1 << bits) : (int64_t)low);
}
/* Floats to integers of less than a byte: truncated, then as above. */
static inline int8_t mien_truncate_bits(double v, int bits, bool is_signed) {
  return mien_wrap_bits((uint64_t)mien_truncate_i64(v, INT64_MIN, INT64_MAX), bits, is_signed);
}

typedef struct mien_narrowing {
  bool saturate; /* 8-bit floats */
  char e8m0;     /* its rounding, as above */
} mien_narrowing;

#define MIEN_NARROW_LOOP(dtype, T, value)                  \
  case dtype: {                                            \
    T *y = to;                                             \
    for (int64_t i = 0; i < count; i++) y[i] = (T)(value); \
    break;                                                 \
  }
#define MIEN_NARROW_FLOAT(D, T, C, K, half) MIEN_NARROW_LOOP(MIEN_##D, T, v[i])
#define MIEN_NARROW_HALF(D, T, C, K, half) MIEN_NARROW_LOOP(MIEN_##D, T, MIEN_PUT_##K(T, half(v[i])))
#define MIEN_NARROW_TRUNCATE(D, T, C, K, half) MIEN_NARROW_LOOP(MIEN_##D, T, MIEN_FROM_F64(T, (double)v[i]))
#define MIEN_NARROW_WRAP(D, T, C, K, half) MIEN_NARROW_LOOP(MIEN_##D, T, v[i])

#define MIEN_NARROW_FROM(name, W, half, INTEGER, bits_of)                                                         \
  static inline void mien_narrow_##name(int32_t dtype, const W *v, int64_t count, void *to, mien_narrowing how) { \
    switch (dtype) {                                                                                              \
      MIEN_WHOLE_FLOATS(MIEN_NARROW_FLOAT, half)                                                                  \
      MIEN_HALVES(MIEN_NARROW_HALF, half)                                                                         \
      MIEN_INTS(INTEGER, half)                                                                                    \
      MIEN_NARROW_LOOP(MIEN_BOOL, uint8_t, v[i] != 0)                                                             \
      MIEN_NARROW_LOOP(MIEN_I4, int8_t, bits_of(v[i], 4, true))                                                   \
      MIEN_NARROW_LOOP(MIEN_U4, uint8_t, bits_of(v[i], 4, false))                                                 \
      MIEN_NARROW_LOOP(MIEN_I2, int8_t, bits_of(v[i], 2, true))                                                   \
      MIEN_NARROW_LOOP(MIEN_U2, uint8_t, bits_of(v[i], 2, false))                                                 \
      MIEN_NARROW_LOOP(MIEN_F8E8M0, uint8_t, mien_e8m0_from_f64((double)v[i], how.e8m0, how.saturate))            \
      MIEN_NARROW_LOOP(MIEN_F8E4M3FN, uint8_t, mien_tiny_from_f64(dtype, (double)v[i], how.saturate))             \
      MIEN_NARROW_LOOP(MIEN_F8E4M3FNUZ, uint8_t, mien_tiny_from_f64(dtype, (double)v[i], how.saturate))           \
      MIEN_NARROW_LOOP(MIEN_F8E5M2, uint8_t, mien_tiny_from_f64(dtype, (double)v[i], how.saturate))               \
      MIEN_NARROW_LOOP(MIEN_F8E5M2FNUZ, uint8_t, mien_tiny_from_f64(dtype, (double)v[i], how.saturate))           \
      MIEN_NARROW_LOOP(MIEN_F4E2M1, uint8_t, mien_tiny_from_f64(dtype, (double)v[i], how.saturate))               \
      default: break; /* mien_wide_of knows the type: checked before */                                           \
    }                                                                                                             \
  }
MIEN_NARROW_FROM(f32, float, (float), MIEN_NARROW_TRUNCATE, mien_truncate_bits)
MIEN_NARROW_FROM(f64, double, mien_f64_to_f32_odd, MIEN_NARROW_TRUNCATE, mien_truncate_bits)
MIEN_NARROW_FROM(i64, int64_t, mien_f64_to_f32_odd, MIEN_NARROW_WRAP, mien_wrap_bits)
MIEN_NARROW_FROM(u64, uint64_t, mien_f64_to_f32_odd, MIEN_NARROW_WRAP, mien_wrap_bits)

static inline void mien_narrow(mien_wide kind, const mien_wide_block *block, int64_t count, int32_t dtype, void *to,
                               mien_narrowing how) {
  switch (kind) {
    case MIEN_WIDE_F32: mien_narrow_f32(dtype, block->f32, count, to, how); break;
    case MIEN_WIDE_F64: mien_narrow_f64(dtype, block->f64, count, to, how); break;
    case MIEN_WIDE_I64: mien_narrow_i64(dtype, block->i64, count, to, how); break;
    case MIEN_WIDE_U64: mien_narrow_u64(dtype, block->u64, count, to, how); break;
    case MIEN_WIDE_NONE: break;
  }
}

/* Elements [begin, end) of x into y. */
static inline void mien_convert_elements(const mien_tensor *x, mien_tensor *y, int64_t begin, int64_t end,
                                         mien_narrowing how) {
  const size_t from = mien_dtype_bytes(x->type.dtype), to = mien_dtype_bytes(y->type.dtype);
  const mien_wide kind = mien_wide_of(x->type.dtype);
  mien_wide_block block;
  for (int64_t i = begin, count; i < end; i += count) {
    const char *at = (const char *)x->data + (size_t)i * from;
    char *out = (char *)y->data + (size_t)i * to;
    count = end - i < MIEN_BLOCK ? end - i : MIEN_BLOCK;
    if (x->type.dtype == y->type.dtype) {
      memmove(out, at, (size_t)count * to);
      continue;
    }
    mien_widen(x->type.dtype, at, count, &block);
    mien_narrow(kind, &block, count, y->type.dtype, out, how);
  }
}

/* The types above, as rows of a kernel table and as text. */
#define MIEN_CONVERTIBLE_ROWS(run)                                                                                \
  {MIEN_F32, run}, {MIEN_F64, run}, {MIEN_F16, run}, {MIEN_BF16, run}, {MIEN_I8, run}, {MIEN_I16, run},           \
      {MIEN_I32, run}, {MIEN_I64, run}, {MIEN_U8, run}, {MIEN_U16, run}, {MIEN_U32, run}, {MIEN_U64, run},        \
      {MIEN_BOOL, run}, {MIEN_F8E4M3FN, run}, {MIEN_F8E4M3FNUZ, run}, {MIEN_F8E5M2, run}, {MIEN_F8E5M2FNUZ, run}, \
      {MIEN_F4E2M1, run}, {MIEN_F8E8M0, run}, {MIEN_I4, run}, {MIEN_U4, run}, {MIEN_I2, run}, {                   \
    MIEN_U2, run                                                                                                  \
  }
#define MIEN_CONVERTIBLE_TEXT \
  MIEN_TEXT_FLOATS "," MIEN_TEXT_INTS ",bool,f8e4m3fn,f8e4m3fnuz,f8e5m2,f8e5m2fnuz,f4e2m1,f8e8m0,i4,u4,i2,u2"

#endif
