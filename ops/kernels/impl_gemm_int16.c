/* ops/kernels/impl_gemm_int16.c -- products of 16-bit integers, summed in 32 bits. Pieces of k are cut into blocks of INT16_BLOCK
** values; in each, a row of A and a column of B have a step of their own, by which their integers are multiplied. An element of A and
** B is four bytes: the step, a float, that begins a block, or a pair of integers, the one of even k in the lower half. The right
** operand is packed [elements][GEMM_COLUMNS].
**
** Steps are such that the integers of a block have a Euclidean norm of at most INT16_NORM. By Cauchy and Schwarz no sum then needs
** more than 32 bits, whatever the signs: more bits are left to numbers than where the largest ones are feared all at once. Sums of
** integers are exact, so that bits depend neither on splits nor on the instruction set, but for the steps' own rounding.
**
** Where A has infinities or NaN, no finite number of its row matters: the step is infinite or NaN, the integers are the signs of the
** infinities, and gemm_infinite says what the sums are. */
#include "ops/kernels/kernels.h"

enum { INT16_BLOCK = 512 };
/* Parts of k are of whole blocks. */
#define GEMM_DEPTH (1 + INT16_BLOCK / 2)
#include "ops/kernels/gemm.h"

/* 2^15.5, but for what rounding adds to a norm: at most 1 to each integer. */
static const double INT16_NORM = 46340.95 - 22.7 - 10;
static const double INT16_LARGEST = 32767;

#if defined(__AVX512F__)
typedef __m512i vi;
VEC vi vi_zero(void) { return _mm512_setzero_si512(); }
VEC vf vi_float(vi a) { return _mm512_cvtepi32_ps(a); }
VEC vi vi_of(vf bits) { return _mm512_castps_si512(bits); }
VEC vi vi_dot(vi sum, vi a, vi b) {
#if defined(__AVX512VNNI__)
  return _mm512_dpwssd_epi32(sum, a, b);
#else
  return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
#endif
}
#elif defined(__AVX2__)
typedef __m256i vi;
VEC vi vi_zero(void) { return _mm256_setzero_si256(); }
VEC vf vi_float(vi a) { return _mm256_cvtepi32_ps(a); }
VEC vi vi_of(vf bits) { return _mm256_castps_si256(bits); }
VEC vi vi_dot(vi sum, vi a, vi b) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)); }
#elif defined(__SSE2__)
#include <emmintrin.h>
typedef __m128i vi;
VEC vi vi_zero(void) { return _mm_setzero_si128(); }
VEC vf vi_float(vi a) { return (vf)_mm_cvtepi32_ps(a); }
VEC vi vi_of(vf bits) { return (vi)bits; }
VEC vi vi_dot(vi sum, vi a, vi b) { return _mm_add_epi32(sum, _mm_madd_epi16(a, b)); }
#else
typedef int32_t vi __attribute__((vector_size(sizeof(vf))));
VEC vi vi_zero(void) { return (vi){0}; }
VEC vf vi_float(vi a) { return (vf) __builtin_convertvector(a, vf); }
VEC vi vi_of(vf bits) { return (vi)bits; }
VEC vi vi_dot(vi sum, vi a, vi b) { /* no product of halves nor their sum overflows */
  return sum + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
}
#endif

/* Adds a block's sums, times the steps, to the tile. */
VEC void gemm_flush(const int rows, const int vectors, vi sum[GEMM_ROWS][2], const float *const *at, int64_t from,
                    const float *step, float *tile, int64_t tile_row, bool add) {
  MIEN_UNROLL
  for (int i = 0; i < rows; i++, tile += tile_row) {
    MIEN_FORGET(tile);
    MIEN_UNROLL
    for (int v = 0; v < vectors; v++) {
      if (rows > 8) MIEN_FORGET_MEMORY; /* registers are for sums */
      vf y = vi_float(sum[i][v]) * (vf_load(step + v * VL) * vf_set(at[i][from]));
      if (add) y = vf_load(tile + v * VL) + y;
      vf_store(tile + v * VL, y);
    }
  }
}

VEC void gemm_micro(const int rows, const int vectors, const bool half, const mien_pieces *a, const float *b,
                    int64_t b_row, const gemm_fetch *f, float *tile, int64_t tile_row, bool add, const gemm_end *end) {
  (void)half;
  const float *const *piece = a->rows;
  gemm_fetch fetch = *f;
  for (int64_t t = 0; t < a->count; t++, piece += a->stride) {
    const float *const *at = piece;
    for (int64_t from = 0, count; from < a->length; from += count, add = true) {
      const float *step = b;
      vi sum[GEMM_ROWS][2];
      count = min_i64(a->length - from, GEMM_DEPTH);
      gemm_prefetch(&fetch);
      MIEN_UNROLL
      for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vi_zero();
      int64_t r = from + 1;
      do { /* no block is without a pair: a loop that may be left before it begins needs registers of its own */
        b += b_row;
        gemm_prefetch(&fetch);
        if (rows > 8) MIEN_FORGET_MEMORY; /* as in impl_gemm.c */
        const vi b0 = vi_of(vf_load(b)), b1 = vectors == 2 ? vi_of(vf_load(b + VL)) : b0;
        MIEN_UNROLL
        for (int i = 0; i < rows; i++) {
          const vi x = vi_of(vf_set(at[i][r]));
          sum[i][0] = vi_dot(sum[i][0], x, b0);
          if (vectors == 2) sum[i][1] = vi_dot(sum[i][1], x, b1);
        }
      } while (++r < from + count);
      b += b_row;
      gemm_flush(rows, vectors, sum, at, from, step, tile, tile_row, add);
    }
  }
  if (!end) return;
  vf y[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) y[i][v] = vf_load(tile + i * tile_row + v * VL);
  gemm_finish(rows, vectors, y, end);
}

/* ---- rows with infinities or NaN */

static bool gemm_row_is_finite(const mien_pieces *a, int64_t row) {
  for (int64_t t = 0; t < a->count; t++)
    for (int64_t from = 0; from < a->length; from += GEMM_DEPTH)
      if (!isfinite(a->rows[t * a->stride + row][from])) return false;
  return true;
}

/* A sum of infinities alone; the column begins at b. */
static float gemm_infinite(const mien_pieces *a, int64_t row, const float *b) {
  float sum = 0;
  for (int64_t t = 0; t < a->count; t++, b += a->length * GEMM_COLUMNS) {
    const float *x = a->rows[t * a->stride + row];
    for (int64_t r = 0, infinite = 0; r < a->length; r++) {
      int16_t p[2], q[2];
      if (r % GEMM_DEPTH == 0) {
        if (isnan(x[r])) return x[r];
        infinite = isinf(x[r]);
        continue;
      }
      memcpy(p, x + r, sizeof p);
      memcpy(q, b + r * GEMM_COLUMNS, sizeof q);
      for (int i = 0; i < 2 && infinite; i++)
        if (p[i]) sum += (float)(p[i] * q[i]) * INFINITY;
    }
  }
  return sum;
}

static void gemm_infinite_rows(int64_t m, const mien_pieces *a, const float *packed, float *c, int64_t c_row,
                               int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e) {
  const int64_t k = a->count * a->length;
  for (int64_t i = 0; i < m; i++) {
    if (gemm_row_is_finite(a, i)) continue;
    for (int64_t j0 = n0; j0 < n1; j0 += GEMM_COLUMNS) {
      float tile[GEMM_COLUMNS];
      const int64_t columns = min_i64(GEMM_COLUMNS, n1 - j0);
      for (int64_t j = 0; j < columns; j++) tile[j] = gemm_infinite(a, i, packed + j0 * k + j);
      MIEN_K(mien__finish)(tile, GEMM_COLUMNS, 1, columns, c + i * c_row + j0 * c_column, c_row, c_column, e, i, j0);
    }
  }
}

static void int16_gemm(int64_t m, int64_t n, const mien_pieces *a, const void *packed, float *c, int64_t c_row,
                       int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e) {
  gemm_of_pieces(m, n, a, packed, c, c_row, c_column, n0, n1, e);
  gemm_infinite_rows(m, a, packed, c, c_row, c_column, n0, min_i64(n1, n), e);
}

/* ---- operands */

static int64_t int16_elements(int64_t k) {
  const int64_t pairs = k / 2 + (k & 1), blocks = pairs / (INT16_BLOCK / 2) + (pairs % (INT16_BLOCK / 2) != 0);
  return k == 0 ? 2 : pairs + blocks;
}

/* The step of finite numbers of such a sum of squares; 0 where they are too small to be told from zero. */
static float int16_step(double squares, double largest) {
  const double step = fmax(sqrt(squares) / INT16_NORM, largest / INT16_LARGEST);
  return step < 0x1p-125 ? 0 : (float)step;
}

/* Numbers whose squares leave the range of floats, infinities and NaN. */
static float int16_step_of_any(const float *x, int64_t count) {
  double squares = 0, largest = 0;
  for (int64_t i = 0; i < count; i++) {
    squares += (double)x[i] * (double)x[i];
    largest = fmax(largest, fabs((double)x[i]));
  }
  return isnan(squares) ? NAN : isinf(squares) ? INFINITY : int16_step(squares, largest);
}

VEC void int16_store(int16_t *y, vf x, int64_t count) {
#if defined(__AVX512F__)
  _mm512_mask_cvtepi32_storeu_epi16(y, vm_first(count), _mm512_cvtps_epi32(x));
#else
  float lane[VL];
  vf_store(lane, vf_round(x));
  for (int64_t i = 0; i < count; i++) y[i] = (int16_t)lane[i];
#endif
}

/* Not finite where a number is not. */
static float int16_step_of(const float *x, int64_t count) {
  vf squares = vf_set(0), largest = vf_set(0);
  for (int64_t i = 0; i < count; i += VL) {
    const vf v = vf_load_n(x + i, min_i64(VL, count - i));
    squares = vf_fma(v, v, squares);
    largest = vf_max2(vf_abs(v), largest);
  }
  const float sum = vf_sum(squares), most = vf_largest(largest);
  const bool usual = (sum > 0x1p-80f && sum < 0x1p+120f) || (sum == 0 && most == 0);
  return usual ? int16_step((double)sum, (double)most) : int16_step_of_any(x, count);
}

static void int16_round_block(const float *x, int64_t count, float *to) {
  const float step = int16_step_of(x, count);
  int16_t *y = memcpy(to, &step, sizeof step);
  y += 2;
  if (!isfinite(step)) {
    for (int64_t i = 0; i < count; i++) y[i] = (int16_t)(isinf(x[i]) ? (x[i] > 0) - (x[i] < 0) : 0);
  } else if (step == 0) {
    memset(y, 0, (size_t)count * sizeof *y);
  } else {
    const vf by = vf_set(1 / step);
    for (int64_t i = 0; i < count; i += VL) {
      const int64_t some = min_i64(VL, count - i);
      int16_store(y + i, vf_load_n(x + i, some) * by, some);
    }
  }
  if (count & 1) y[count] = 0;
}

static void int16_round(const float *x, int64_t k, float *to) {
  if (k == 0) to[0] = to[1] = 0;
  for (int64_t at = 0; at < k; at += INT16_BLOCK, to += GEMM_DEPTH)
    int16_round_block(x + at, min_i64(INT16_BLOCK, k - at), to);
}

/* A column of a block; what is not 0 stays so: times an infinity it has a sign. Gives the step. */
static float int16_round_column(const float *x, int64_t count, int16_t *y) {
  const float any = int16_step_of(x, count), step = isfinite(any) ? any : NAN; /* NaN: every product is */
  const vf zero = vf_set(0), by = vf_set(step > 0 ? 1 / step : 0);
  for (int64_t i = 0; i < count; i += VL) {
    const int64_t some = min_i64(VL, count - i);
    const vf v = vf_load_n(x + i, some), q = step > 0 ? vf_round(v * by) : zero;
    const vf sign = vf_select(vf_less(zero, vf_abs(v)), vf_copysign(vf_set(1), v), zero);
    int16_store(y + i, vf_select(vf_less(vf_abs(q), vf_set(0.5f)), sign, q), some);
  }
  if (count & 1) y[count] = 0;
  return step;
}

/* `count` elements of k of up to VL columns, which are rounded as they lie or where a column lies in one piece; `to`: their steps. */
static void int16_pack_columns(int64_t count, int64_t columns, const float *b, int64_t row_stride, int64_t col_stride,
                               float *to) {
  float column[VL][INT16_BLOCK];
  _Alignas(float) int16_t rounded[VL][INT16_BLOCK];
  const int64_t pairs = count / 2 + (count & 1), whole = columns == VL ? count / VL * VL : 0;
  if (row_stride != 1) {
    for (int64_t p = 0; p < whole && col_stride == 1; p += VL)
      vf_transpose(b + p * row_stride, row_stride, column[0] + p, INT16_BLOCK);
    for (int64_t p = col_stride == 1 ? whole : 0; p < count; p++)
      for (int64_t j = 0; j < columns; j++) column[j][p] = b[p * row_stride + j * col_stride];
  }
  for (int64_t j = 0; j < columns; j++)
    to[j] = int16_round_column(row_stride == 1 ? b + j * col_stride : column[j], count, rounded[j]);
  MIEN_FORGET_MEMORY; /* pairs are written as integers and read as floats */
  const float *from = (const void *)rounded;
  to += GEMM_COLUMNS;
  int64_t p = 0;
  for (; p + VL <= pairs && columns == VL; p += VL)
    vf_transpose(from + p, INT16_BLOCK / 2, to + p * GEMM_COLUMNS, GEMM_COLUMNS);
  for (; p < pairs; p++)
    for (int64_t j = 0; j < columns; j++) memcpy(to + p * GEMM_COLUMNS + j, rounded[j] + 2 * p, sizeof *to);
}

static void int16_pack(int64_t k, int64_t n, const void *b, int64_t row_stride, int64_t col_stride, void *packed) {
  const int64_t elements = int16_elements(k);
  float *to = packed;
  for (int64_t j0 = 0; j0 < n; j0 += GEMM_COLUMNS, to += elements * GEMM_COLUMNS) {
    const int64_t columns = min_i64(GEMM_COLUMNS, n - j0);
    if (columns < GEMM_COLUMNS || k == 0) memset(to, 0, (size_t)(elements * GEMM_COLUMNS) * sizeof *to);
    for (int64_t p = 0, at = 0; p < k; p += INT16_BLOCK, at += GEMM_DEPTH)
      for (int64_t j = 0; j < columns; j += VL)
        int16_pack_columns(min_i64(INT16_BLOCK, k - p), min_i64(VL, columns - j),
                           (const float *)b + p * row_stride + (j0 + j) * col_stride, row_stride, col_stride,
                           to + at * GEMM_COLUMNS + j);
  }
}

const mien_gemm16 MIEN_T(mien__int16) = {
    .name = "int16", .elements = int16_elements, .round = int16_round, .pack = int16_pack, .gemm = int16_gemm};
