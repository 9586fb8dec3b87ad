/* Pow: Z[i] = X[i] to the power Y[i], stretched to one shape; Z has X's type.  ai.onnx 15, 13, 12 (Y of its own type), 7.
** Integer to an integer power: exact, wraps on overflow; 0 to a negative power is an error. Integer to a float power:
** computed in double, truncated. */
#include "ops/broadcast.h"
#include "ops/convert.h"
#include <tgmath.h>

/* false: 0 to a negative power. */
static inline bool pow_whole(int64_t x, mien_wide kind, const mien_wide_block *e, int64_t at, int64_t *z) {
  uint64_t left = e->u64[at], base = (uint64_t)x, result = 1;
  if (kind == MIEN_WIDE_I64 && e->i64[at] < 0) {
    /* 1 / x^n, truncated: only 1 and -1 leave anything. */
    *z = x == 1 ? 1 : x == -1 ? (left & 1 ? -1 : 1) : 0;
    return x != 0;
  }
  for (; left; left >>= 1, base *= base)
    if (left & 1) result *= base;
  *z = (int64_t)result;
  return true;
}

static inline double pow_exponent(mien_wide kind, const mien_wide_block *e, int64_t at) {
  return kind == MIEN_WIDE_F32   ? (double)e->f32[at]
         : kind == MIEN_WIDE_F64 ? e->f64[at]
         : kind == MIEN_WIDE_I64 ? (double)e->i64[at]
                                 : (double)e->u64[at];
}

/* One exponent for all, where a product or a root will do. false: none of those. */
#define POW_SIMPLE(D, T, C, K, op)                                                  \
  static bool op##_simple_##D(const T *x, double e, T *z, int64_t count) {          \
    if (e == 2) {                                                                   \
      MIEN_INDEPENDENT                                                              \
      for (int64_t i = 0; i < count; i++) {                                         \
        const C v = MIEN_GET_##K(C, x[i]);                                          \
        z[i] = MIEN_PUT_##K(T, v * v);                                              \
      }                                                                             \
    } else if (e == 0.5) { /* pow has +0 and +infinity where sqrt has -0 and NaN */ \
      MIEN_INDEPENDENT                                                              \
      for (int64_t i = 0; i < count; i++) {                                         \
        const C v = MIEN_GET_##K(C, x[i]);                                          \
        z[i] = MIEN_PUT_##K(T, v == -(C)INFINITY ? (C)INFINITY : sqrt(v) + (C)0);   \
      }                                                                             \
    } else {                                                                        \
      return false;                                                                 \
    }                                                                               \
    return true;                                                                    \
  }
MIEN_FLOATS(POW_SIMPLE, pow)

/* A row of at most MIEN_BLOCK elements; one_x, one_e: a single element repeated. */
#define POW_FLOAT(D, T, C, K, op)                                                                                      \
  static bool op##_row_##D(const void *xs, bool one_x, mien_wide kind, const mien_wide_block *e, bool one_e, void *zs, \
                           int64_t count) {                                                                            \
    const T *x = xs;                                                                                                   \
    T *z = zs;                                                                                                         \
    if (one_e && !one_x && op##_simple_##D(x, pow_exponent(kind, e, 0), z, count)) return true;                        \
    for (int64_t i = 0; i < count; i++) {                                                                              \
      const C v = MIEN_GET_##K(C, x[one_x ? 0 : i]);                                                                   \
      const int64_t at = one_e ? 0 : i;                                                                                \
      /* Only f32 exponents keep the whole computation in C; others need double. */                                    \
      z[i] = MIEN_PUT_##K(T, kind == MIEN_WIDE_F32 ? pow(v, (C)e->f32[at])                                             \
                                                   : (C)pow((double)v, pow_exponent(kind, e, at)));                    \
    }                                                                                                                  \
    return true;                                                                                                       \
  }
#define POW_WHOLE(D, T, C, K, op)                                                                                      \
  static bool op##_row_##D(const void *xs, bool one_x, mien_wide kind, const mien_wide_block *e, bool one_e, void *zs, \
                           int64_t count) {                                                                            \
    const bool whole = kind == MIEN_WIDE_I64 || kind == MIEN_WIDE_U64;                                                 \
    const T *x = xs;                                                                                                   \
    T *z = zs;                                                                                                         \
    for (int64_t i = 0; i < count; i++) {                                                                              \
      const T v = x[one_x ? 0 : i];                                                                                    \
      const int64_t at = one_e ? 0 : i;                                                                                \
      int64_t result;                                                                                                  \
      if (!whole)                                                                                                      \
        z[i] = MIEN_FROM_F64(T, pow((double)v, pow_exponent(kind, e, at)));                                            \
      else if (pow_whole(v, kind, e, at, &result))                                                                     \
        z[i] = (T)result;                                                                                              \
      else                                                                                                             \
        return false;                                                                                                  \
    }                                                                                                                  \
    return true;                                                                                                       \
  }

typedef bool pow_row(const void *x, bool one_x, mien_wide kind, const mien_wide_block *e, bool one_e, void *z,
                     int64_t count);

static mien_status pow_run(mien_node *n, int64_t begin, int64_t end, pow_row *row) {
  const mien_broadcast *b = mien_state(n);
  const mien_tensor *x = mien_in(n, 0), *y = mien_in(n, 1), *z = mien_out(n, 0);
  const size_t bytes = mien_dtype_bytes(x->type.dtype), e_bytes = mien_dtype_bytes(y->type.dtype);
  const bool one_x = b->stride[0][b->rank - 1] == 0, one_e = b->stride[1][b->rank - 1] == 0;
  const mien_wide kind = mien_wide_of(y->type.dtype);
  mien_wide_block e;
  mien_walk w;
  if (begin >= end) return MIEN_OK;
  mien_walk_start(b, 2, &w, begin);
  for (int64_t i = begin, count; i < end; i += count) {
    count = mien_walk_length(b, &w, end - i < MIEN_BLOCK ? end - i : MIEN_BLOCK);
    mien_widen(y->type.dtype, (const char *)y->data + (size_t)mien_walk_at(b, &w, 1) * e_bytes, one_e ? 1 : count, &e);
    if (!row((const char *)x->data + (size_t)mien_walk_at(b, &w, 0) * bytes, one_x, kind, &e, one_e,
             (char *)z->data + (size_t)i * bytes, count))
      return mien_fail(n, MIEN_INVALID_ARGUMENT, "integer 0 to a negative power");
    mien_walk_advance(b, 2, &w, count);
  }
  return MIEN_OK;
}

#define POW_KERNEL(D, T, C, K, op) \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) { return pow_run(n, begin, end, op##_row_##D); }
MIEN_FLOATS(POW_FLOAT, pow)
MIEN_WIDE_SIGNED(POW_WHOLE, pow)
#define POW_TYPES(X, ...) MIEN_FLOATS(X, __VA_ARGS__) MIEN_WIDE_SIGNED(X, __VA_ARGS__)
POW_TYPES(POW_KERNEL, pow)
MIEN_KERNELS(pow, POW_TYPES)

static mien_status pow_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 10);
  return mien_prepare_broadcast(n);
}

#define POW                                                                                              \
  .name = "Pow", .kernels = pow_kernels, .state = sizeof(mien_broadcast), .infer = mien_infer_broadcast, \
  .prepare = pow_prepare, .flags = MIEN_OP_IN_PLACE, .doc = "Z[i] = X[i] to the power Y[i], stretched to one shape"

const mien_op mien_ops_Pow[] = {
    {POW, .since = 7, .until = 11, .signature = "X:T, Y:T -> Z:T"},
    {POW, .since = 12, .signature = "X:T, Y:U{" MIEN_TEXT_FLOATS "," MIEN_TEXT_INTS "} -> Z:T"},
    {.name = NULL},
};
