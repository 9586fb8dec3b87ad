/* ops/kernels/impl_gemm_bf16.c -- products of bfloat16, summed in floats. An element of A and B is a pair of bfloat16, the one
** of even k in the lower half; the right operand is packed [pairs][GEMM_COLUMNS].
**
** A pair adds two fused products to the sum, that of odd k first, each rounded to nearest even; what is subnormal, in the operands
** or after rounding, is zero with its sign. That is what vdpbf16ps does (Intel's manual and measured on Zen 4), so sums have the
** same bits with every instruction set; NaNs are in the same places, their payloads are the instruction set's own. BFDOT of
** Armv8.6 rounds otherwise and is of no use here. */
#include "ops/kernels/gemm.h"

#if defined(__AVX512BF16__)
/* One instruction for both products. */
enum { DOT_STEPS = 1 };
typedef int dot_mode;
VEC dot_mode dot_begin(void) { return 0; }
VEC void dot_end(dot_mode mode) { (void)mode; }
VEC vf dot_part(vf pairs, int step) {
  (void)step;
  return pairs;
}
VEC vf dot_add(vf x, vf b, vf sum) {
  return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_castps_si512(b), (__m512bh)_mm512_castps_si512(x));
}
#else
enum { DOT_STEPS = 2 };
/* The elements of odd k (step 0) or even k (step 1) as floats. */
#if defined(__AVX512F__)
VEC vf dot_part(vf pairs, int step) {
  const __m512i u = _mm512_castps_si512(pairs);
  return _mm512_castsi512_ps(step ? _mm512_slli_epi32(u, 16)
                                  : _mm512_and_si512(u, _mm512_set1_epi32((int)0xffff0000u)));
}
#elif defined(__AVX2__)
VEC vf dot_part(vf pairs, int step) {
  const __m256i u = _mm256_castps_si256(pairs);
  return _mm256_castsi256_ps(step ? _mm256_slli_epi32(u, 16)
                                  : _mm256_and_si256(u, _mm256_set1_epi32((int)0xffff0000u)));
}
#else
typedef uint32_t dot_bits __attribute__((vector_size(sizeof(vf))));
VEC vf dot_part(vf pairs, int step) { return (vf)(step ? (dot_bits)pairs << 16 : (dot_bits)pairs & 0xffff0000u); }
#endif

#if defined(__AVX2__)
/* The processor takes subnormals for zero, and finds them after rounding as vdpbf16ps does, while MXCSR says so. What is read
** and written between begin and end stays between them. */
typedef unsigned dot_mode;
VEC dot_mode dot_begin(void) {
  const dot_mode mode = _mm_getcsr();
  _mm_setcsr(mode | 0x8040); /* FTZ, DAZ */
  __asm__ volatile("" ::: "memory");
  return mode;
}
VEC void dot_end(dot_mode mode) {
  __asm__ volatile("" ::: "memory");
  _mm_setcsr(mode);
}
VEC vf dot_add(vf x, vf b, vf sum) { return vf_fma(x, b, sum); }
#else
/* In doubles the product is exact (8 bits by 8), and so is the sum wherever its rounding to float is in doubt: with so few bits
** rounding twice is rounding once. */
typedef int dot_mode;
typedef double dot_doubles __attribute__((vector_size(2 * sizeof(vf))));
VEC dot_mode dot_begin(void) { return 0; }
VEC void dot_end(dot_mode mode) { (void)mode; }
VEC vf dot_add(vf x, vf b, vf sum) {
  const dot_doubles exact = __builtin_convertvector(x, dot_doubles) * __builtin_convertvector(b, dot_doubles) +
                            __builtin_convertvector(sum, dot_doubles);
  const dot_doubles least =
      (dot_doubles){0} + (0x1p-126 - 0x1p-151); /* rounds to a normal number; NaN compares false */
  const dot_bits zero = __builtin_convertvector((exact < least) & (exact > -least), dot_bits);
  const dot_bits sign = (dot_bits){0} + 0x80000000u;
  const dot_bits bits = (dot_bits) __builtin_convertvector(exact, vf);
  return (vf)((zero & sign & bits) | (~zero & bits));
}
#endif
#endif

VEC vf dot_set(const float *pair) {
  float x;
  memcpy(&x, pair, sizeof x);
  return vf_set(x);
}

VEC void gemm_micro(const int rows, const int vectors, const bool half, const mien_pieces *a, const float *b,
                    int64_t b_row, const gemm_fetch *f, float *tile, int64_t tile_row, bool add, const gemm_end *end) {
  (void)half;
  vf sum[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) sum[i][v] = add ? vf_load(tile + i * tile_row + v * VL) : vf_set(0);
  const dot_mode mode = dot_begin();
  const float *const *piece = a->rows;
  gemm_fetch fetch = *f;
  for (int64_t t = 0; t < a->count; t++, piece += a->stride) {
    const float *const *at = piece;
    for (int64_t r = 0; r < a->length; r++, b += b_row) {
      gemm_prefetch(&fetch);
      if (rows > 8) MIEN_FORGET_MEMORY; /* as in impl_gemm.c */
      MIEN_UNROLL
      for (int step = 0; step < DOT_STEPS; step++) {
        const vf b0 = dot_part(vf_load(b), step), b1 = vectors == 2 ? dot_part(vf_load(b + VL), step) : b0;
        MIEN_UNROLL
        for (int i = 0; i < rows; i++) {
          const vf x = dot_part(dot_set(at[i] + r), step);
          sum[i][0] = dot_add(x, b0, sum[i][0]);
          if (vectors == 2) sum[i][1] = dot_add(x, b1, sum[i][1]);
        }
      }
    }
  }
  dot_end(mode);
  if (end) {
    gemm_finish(rows, vectors, sum, end);
    return;
  }
  MIEN_UNROLL
  for (int i = 0; i < rows; i++, tile += tile_row) {
    MIEN_FORGET(tile);
    for (int v = 0; v < vectors; v++) vf_store(tile + v * VL, sum[i][v]);
  }
}

static void bf16_gemm(int64_t m, int64_t n, const mien_pieces *a, const void *packed, float *c, int64_t c_row,
                      int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e) {
  gemm_of_pieces(m, n, a, packed, c, c_row, c_column, n0, n1, e);
}

/* ---- operands */

static int64_t bf16_elements(int64_t k) { return k / 2 + (k & 1); }

/* To nearest even; subnormal: zero; NaN: a quiet one. */
VEC uint16_t bf16_of(uint32_t u) {
  const uint32_t magnitude = u & 0x7fffffffu, sign = u >> 16 & 0x8000u;
  const uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
  const uint32_t number = magnitude > 0x7f800000u ? u >> 16 | 0x40u : rounded;
  return (uint16_t)(magnitude < 0x00800000u ? sign : number);
}

static void bf16_round(const float *x, int64_t count, float *to) {
  uint16_t *y = (void *)to;
  int64_t i = 0;
#if defined(__AVX512BF16__)
  /* vcvtneps2bf16 rounds as bf16_of does, whatever MXCSR says. */
  for (; i + 16 <= count; i += 16)
    _mm256_storeu_si256((void *)(y + i), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(x + i)));
#endif
  for (; i < count; i++) {
    uint32_t u;
    memcpy(&u, x + i, sizeof u);
    y[i] = bf16_of(u);
  }
  if (count & 1) y[count] = 0;
}

VEC uint32_t bf16_normal(uint16_t x) { return x & 0x7f80u ? x : x & 0x8000u; }

static void bf16_pack(int64_t k, int64_t n, const void *b, int64_t row_stride, int64_t col_stride, void *packed) {
  enum { BLOCK = 16 };
  const uint16_t *first = b;
  const int64_t pairs = bf16_elements(k);
  uint32_t *to = packed;
  for (int64_t j0 = 0; j0 < n; j0 += GEMM_COLUMNS, to += pairs * GEMM_COLUMNS) {
    const int64_t columns = min_i64(GEMM_COLUMNS, n - j0);
    if (columns < GEMM_COLUMNS) memset(to, 0, (size_t)(pairs * GEMM_COLUMNS) * sizeof *to);
    for (int64_t p0 = 0; p0 < pairs; p0 += BLOCK) {
      const int64_t p1 = min_i64(pairs, p0 + BLOCK);
      for (int64_t j = 0; j < columns; j++)
        for (int64_t p = p0; p < p1; p++) {
          const uint16_t *from = first + 2 * p * row_stride + (j0 + j) * col_stride;
          const uint32_t odd = 2 * p + 1 < k ? bf16_normal(from[row_stride]) : 0;
          to[p * GEMM_COLUMNS + j] = bf16_normal(from[0]) | odd << 16;
        }
    }
  }
}

const mien_gemm16 MIEN_T(mien__bf16) = {
    .name = "bf16", .elements = bf16_elements, .round = bf16_round, .pack = bf16_pack, .gemm = bf16_gemm};
