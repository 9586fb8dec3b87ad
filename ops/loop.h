/* ops/loop.h -- the one way to write a loop once for many element types.
**
** A type list is a macro over X(D, T, C, K, ...): D names the dtype (MIEN_##D), T is how an element lies in memory, C is
** the type that the arithmetic is done in, K says how one becomes the other. Half types compute in float.
** An operator file writes the arithmetic of one element as a macro and instantiates it:
**
**   #define relu(C, s, x) ((x) < 0 ? (C)0 : (x))
**   MIEN_UNARY(relu, void, MIEN_NUMBERS)                -> static const mien_kernel relu_kernels[]
**
** s is the node's state (const S *), x an element of type C. Write comparisons so that NaN falls through to x, and
** arithmetic on integers through MIEN_WRAP, which is unsigned and therefore defined on overflow. */
#ifndef MIEN_OPS_LOOP_H
#define MIEN_OPS_LOOP_H

#include <mien/plugin.h>
#include <string.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtype-limits" /* x < 0 in a loop that is instantiated over unsigned types too */
#endif

/* ---- half types: bits to float and back, round to nearest even, NaN stays NaN */

static inline float mien_bits_f32(uint32_t bits) {
  float f;
  memcpy(&f, &bits, sizeof f);
  return f;
}

static inline uint32_t mien_f32_bits(float f) {
  uint32_t bits;
  memcpy(&bits, &f, sizeof bits);
  return bits;
}

static inline float mien_f16_to_f32(uint16_t h) {
  const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = (uint32_t)(h & 0x7fffu) << 13;
  /* Normal: move the exponent's bias. Infinity and NaN: to the top exponent. Denormal: an exact subtraction. */
  const uint32_t normal = rest + (112u << 23), special = rest + (224u << 23);
  const uint32_t denormal = mien_f32_bits(mien_bits_f32((rest) + (113u << 23)) - mien_bits_f32(113u << 23));
  const uint32_t magnitude = (h & 0x7c00u) == 0x7c00u ? special : (h & 0x7c00u) == 0 ? denormal : normal;
  return mien_bits_f32(sign | magnitude);
}

static inline uint16_t mien_f32_to_f16(float f) {
  const uint32_t bits = mien_f32_bits(f), sign = bits >> 16 & 0x8000u, x = bits & 0x7fffffffu;
  /* Normal: rebias, then round by adding just under half and the lowest kept bit. Denormal: the sum with 0.5 has the
  ** result in its lowest bits, rounded by the addition itself. 65520 and more round to infinity. */
  const uint32_t normal = (x - (112u << 23) + 0xfffu + (x >> 13 & 1)) >> 13;
  const uint32_t denormal = mien_f32_bits(mien_bits_f32(x < (113u << 23) ? x : 0) + 0.5f) - 0x3f000000u;
  const uint32_t special = x > 0x7f800000u ? 0x7e00u | (x >> 13 & 0x1ffu) : 0x7c00u;
  return (uint16_t)(sign | (x >= 0x477ff000u ? special : x < (113u << 23) ? denormal : normal));
}

static inline float mien_bf16_to_f32(uint16_t h) { return mien_bits_f32((uint32_t)h << 16); }

static inline uint16_t mien_f32_to_bf16(float f) {
  const uint32_t x = mien_f32_bits(f);
  const uint32_t rounded = (x + 0x7fffu + (x >> 16 & 1)) >> 16, nan = x >> 16 | 0x40u;
  return (uint16_t)((x & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

#define MIEN_GET_PLAIN(C, v) ((C)(v))
#define MIEN_PUT_PLAIN(T, v) ((T)(v))
#define MIEN_GET_F16(C, v) mien_f16_to_f32(v)
#define MIEN_PUT_F16(T, v) mien_f32_to_f16(v)
#define MIEN_GET_BF16(C, v) mien_bf16_to_f32(v)
#define MIEN_PUT_BF16(T, v) mien_f32_to_bf16(v)

/* ---- type lists */

/* A bool is a byte in memory: one from a file may be neither 0 nor 1, which C's bool must not hold. */
#define MIEN_BOOLS(X, ...) X(BOOL, uint8_t, bool, PLAIN, __VA_ARGS__)
#define MIEN_HALVES(X, ...) X(F16, uint16_t, float, F16, __VA_ARGS__) X(BF16, uint16_t, float, BF16, __VA_ARGS__)
#define MIEN_WHOLE_FLOATS(X, ...) X(F32, float, float, PLAIN, __VA_ARGS__) X(F64, double, double, PLAIN, __VA_ARGS__)
#define MIEN_FLOATS(X, ...) MIEN_WHOLE_FLOATS(X, __VA_ARGS__) MIEN_HALVES(X, __VA_ARGS__)
#define MIEN_FLOATS_BUT_F32(X, ...) X(F64, double, double, PLAIN, __VA_ARGS__) MIEN_HALVES(X, __VA_ARGS__)
#define MIEN_SIGNED(X, ...)                    \
  X(I8, int8_t, int8_t, PLAIN, __VA_ARGS__)    \
  X(I16, int16_t, int16_t, PLAIN, __VA_ARGS__) \
  X(I32, int32_t, int32_t, PLAIN, __VA_ARGS__) \
  X(I64, int64_t, int64_t, PLAIN, __VA_ARGS__)
#define MIEN_UNSIGNED(X, ...)                    \
  X(U8, uint8_t, uint8_t, PLAIN, __VA_ARGS__)    \
  X(U16, uint16_t, uint16_t, PLAIN, __VA_ARGS__) \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__) \
  X(U64, uint64_t, uint64_t, PLAIN, __VA_ARGS__)
#define MIEN_WIDE_SIGNED(X, ...) \
  X(I32, int32_t, int32_t, PLAIN, __VA_ARGS__) X(I64, int64_t, int64_t, PLAIN, __VA_ARGS__)
#define MIEN_WIDE_UNSIGNED(X, ...) \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__) X(U64, uint64_t, uint64_t, PLAIN, __VA_ARGS__)
#define MIEN_WIDE_INTS(X, ...) MIEN_WIDE_SIGNED(X, __VA_ARGS__) MIEN_WIDE_UNSIGNED(X, __VA_ARGS__)
#define MIEN_INTS(X, ...) MIEN_SIGNED(X, __VA_ARGS__) MIEN_UNSIGNED(X, __VA_ARGS__)
#define MIEN_NUMBERS(X, ...) MIEN_FLOATS(X, __VA_ARGS__) MIEN_INTS(X, __VA_ARGS__)
#define MIEN_NUMBERS_AND_BOOL(X, ...) MIEN_NUMBERS(X, __VA_ARGS__) MIEN_BOOLS(X, __VA_ARGS__)

/* The same sets as text, for signatures. */
#define MIEN_TEXT_FLOATS "f32,f64,f16,bf16"
#define MIEN_TEXT_INTS "i8,i16,i32,i64,u8,u16,u32,u64"

/* An integer as the unsigned type in which + - * wrap; anything else as it is. (8- and 16-bit ones would be promoted to
** int, where 65535 * 65535 overflows.) */
/* clang-format off */
#define MIEN_WRAP(x)                                                                             \
  _Generic((x), int8_t: (uint32_t)(x), int16_t: (uint32_t)(x), int32_t: (uint32_t)(x),           \
           int64_t: (uint64_t)(x), uint8_t: (uint32_t)(x), uint16_t: (uint32_t)(x), default: (x))
/* clang-format on */

/* |x|; the smallest signed integer stays as it is, -0 becomes 0. */
#define MIEN_MAGNITUDE(C, x) ((C)((x) < 0 ? (C)(-MIEN_WRAP(x)) : (C)((x) + 0)))

/* A double as an element: whole numbers are truncated toward zero and kept within their type, NaN gives 0. */
static inline int64_t mien_truncate_i64(double v, int64_t low, int64_t high) {
  if (v != v) return 0;
  if (v <= (double)low) return low;
  return v >= (double)high ? high : (int64_t)v;
}
static inline uint64_t mien_truncate_u64(double v) {
  if (!(v > 0)) return 0;
  return v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
}
#define MIEN_LOW(T) ((T)-1 < 0 ? INT64_MIN >> (64 - 8 * sizeof(T)) : 0)
#define MIEN_HIGH(T) ((T)-1 < 0 ? INT64_MAX >> (64 - 8 * sizeof(T)) : (int64_t)(UINT64_MAX >> (64 - 8 * sizeof(T))))
/* clang-format off */
#define MIEN_FROM_F64(T, v)                                                                     \
  _Generic((T)0, float: (T)(v), double: (T)(v), bool: (T)((v) != 0), uint64_t: (T)mien_truncate_u64(v), \
           default: (T)mien_truncate_i64((v), MIEN_LOW(T), MIEN_HIGH(T)))
/* clang-format on */

/* Iterations are independent even where output and input are the same memory. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Wpass-failed" /* a hint that is not followed is no error */
#define MIEN_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define MIEN_INDEPENDENT _Pragma("GCC ivdep")
#else
#define MIEN_INDEPENDENT
#endif

/* Elements that operators work on at a time where they need a copy. */
#define MIEN_BLOCK 256

/* ---- kernel tables */

#define MIEN_ROW(D, T, C, K, op) {MIEN_##D, op##_##D},
#define MIEN_KERNELS(op, TYPES) static const mien_kernel op##_kernels[] = {TYPES(MIEN_ROW, op){MIEN_NONE, NULL}};

/* ---- one input, one output of its shape */

#define MIEN_UNARY_TO(D, T, C, K, op, S, R, PUT)                          \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) { \
    const S *s = mien_state(n);                                           \
    const T *x = mien_in(n, 0)->data;                                     \
    R *y = mien_out(n, 0)->data;                                          \
    (void)s;                                                              \
    MIEN_INDEPENDENT                                                      \
    for (int64_t i = begin; i < end; i++) {                               \
      const C v = MIEN_GET_##K(C, x[i]);                                  \
      y[i] = PUT(R, op(C, s, v));                                         \
    }                                                                     \
    return MIEN_OK;                                                       \
  }
#define MIEN_UNARY_SAME(D, T, C, K, op, S) MIEN_UNARY_TO(D, T, C, K, op, S, T, MIEN_PUT_##K)
#define MIEN_UNARY_BOOL(D, T, C, K, op, S) MIEN_UNARY_TO(D, T, C, K, op, S, uint8_t, MIEN_PUT_PLAIN)

/* y[i] = op(C, s, x[i]) */
#define MIEN_UNARY(op, S, TYPES) \
  TYPES(MIEN_UNARY_SAME, op, S)  \
  MIEN_KERNELS(op, TYPES)
/* The same where the result is a truth value. */
#define MIEN_PREDICATE(op, S, TYPES) \
  TYPES(MIEN_UNARY_BOOL, op, S)      \
  MIEN_KERNELS(op, TYPES)

/* The same where f32 has a fast kernel in mien_math, called as fast(m, x, y, count): `op` is then for the other types of
** the list BUT_F32, and for machines without the kernel. Loops only: MIEN_KERNELS makes the table. */
#define MIEN_UNARY_FAST(op, S, BUT_F32, member, fast)                     \
  MIEN_UNARY_SAME(PLAIN_F32, float, float, PLAIN, op, S)                  \
  static mien_status op##_F32(mien_node *n, int64_t begin, int64_t end) { \
    const mien_math *m = mien_math_of(n);                                 \
    const float *x = mien_in(n, 0)->data;                                 \
    float *y = mien_out(n, 0)->data;                                      \
    if (!MIEN_MATH_HAS(m, member)) return op##_PLAIN_F32(n, begin, end);  \
    if (begin < end) fast(m, x + begin, y + begin, end - begin);          \
    return MIEN_OK;                                                       \
  }                                                                       \
  BUT_F32(MIEN_UNARY_SAME, op, S)
#define MIEN_MATH_HAS(m, member) ((m) && (m)->size > offsetof(mien_math, member) && (m)->member)

/* Y has X's shape and is of truth values. */
static inline mien_status mien_infer_same_bool(mien_node *n) {
  mien_type t = mien_in(n, 0)->type;
  t.dtype = MIEN_BOOL;
  return mien_set_type(n, 0, &t);
}

/* A prepare function that only says what an item costs, in nanoseconds. */
#define MIEN_COST(op, ns)                                \
  static mien_status op##_prepare(mien_node *n) {        \
    mien_work(n, mien_count(&mien_out(n, 0)->type), ns); \
    return MIEN_OK;                                      \
  }

/* What a profile calls f32 kernels that come from mien_math. */
static inline void mien_note_vector(mien_node *n, bool has) {
  if (has && mien_in(n, 0)->type.dtype == MIEN_F32) mien_note(n, 0, "vector");
}
/* Both, for MIEN_UNARY_FAST. */
#define MIEN_COST_FAST(op, ns, member)                           \
  static mien_status op##_prepare(mien_node *n) {                \
    mien_work(n, mien_count(&mien_out(n, 0)->type), ns);         \
    mien_note_vector(n, MIEN_MATH_HAS(mien_math_of(n), member)); \
    return MIEN_OK;                                              \
  }

#endif
