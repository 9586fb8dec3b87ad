/* ops/kernels/impl_gemm.c -- products of floats. */
#define GEMM_READS_PLAIN
#include "ops/kernels/gemm.h"

/* Moves the sums into the tile. */
VEC void gemm_flush(const int rows, const int vectors, vf sum[GEMM_ROWS][2], float *tile, int64_t tile_row, bool add) {
  MIEN_UNROLL
  for (int i = 0; i < rows; i++, tile += tile_row) {
    MIEN_FORGET(tile); /* one address, not one for each row */
    for (int v = 0; v < vectors; v++) {
      if (add) sum[i][v] = vf_load(tile + v * VL) + sum[i][v];
      vf_store(tile + v * VL, sum[i][v]);
      sum[i][v] = vf_set(0);
    }
  }
}

/* Every GEMM_DEPTH elements of k the sums move into the tile: rounding errors then grow with the root of a part of k. */
VEC void gemm_micro(const int rows, const int vectors, const bool half, const mien_pieces *a, const float *b,
                    int64_t b_row, const gemm_fetch *f, float *tile, int64_t tile_row, bool add, const gemm_end *end) {
  vf sum[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vf_set(0);
  gemm_far far = gemm_far_of(rows, end);
  const int64_t step = a->step;
  const float *const *piece = a->rows;
  gemm_fetch fetch = *f;
  int64_t room = GEMM_DEPTH;
  for (int64_t t = 0; t < a->count; t++, piece += a->stride) {
    const float *const *at = piece;
    for (int64_t left = a->length, offset = 0; left > 0;) {
      if (room == 0) {
        gemm_flush(rows, vectors, sum, tile, tile_row, add);
        add = true;
        room = GEMM_DEPTH;
      }
      const int64_t count = min_i64(left, room);
      left -= count;
      room -= count;
      for (int64_t r = 0; r < count; r++, offset += step, b += b_row) {
        const vf b0 = vf_load(b), b1 = vectors == 2 ? vf_load(b + VL) : b0;
        gemm_prefetch(&fetch);
        gemm_expect(vectors, &far, end);
        /* More pointers than registers: loaded where they are needed, they cost nothing; compilers would keep them in vector registers. */
        if (rows > 8) MIEN_FORGET_MEMORY;
        MIEN_UNROLL
        for (int i = 0; i < rows; i++) {
          const vf x = vf_set(at[i][offset]);
          sum[i][0] = vf_fma(x, b0, sum[i][0]);
          if (vectors == 2) sum[i][1] = half ? vf_fma_half(x, b1, sum[i][1]) : vf_fma(x, b1, sum[i][1]);
        }
      }
    }
  }
  if (!end) {
    gemm_flush(rows, vectors, sum, tile, tile_row, add);
    return;
  }
  MIEN_UNROLL
  for (int i = 0; i < rows && add; i++)
    for (int v = 0; v < vectors; v++) sum[i][v] = vf_load(tile + i * tile_row + v * VL) + sum[i][v];
  gemm_finish(rows, vectors, sum, end);
}

void MIEN_K(mien__gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *packed,
                        float *c, int64_t c_stride, int64_t n0, int64_t n1, const mien_epilogue *e) {
  n1 = min_i64(n1, n);
  if (m <= 0 || n1 <= n0) return;
  const gemm_left l = {.a = a, .stride = a_stride, .count = 1, .length = k};
  const gemm_work w = gemm_work_of(&l, n, packed, c, c_stride, 1, e);
  gemm_all(&w, m, n0, n1);
}

void MIEN_K(mien__gemm_plain)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *b,
                              int64_t b_stride, float *c, int64_t c_stride, const mien_epilogue *e) {
  if (m <= 0 || n <= 0) return;
  const gemm_left l = {.a = a, .stride = a_stride, .count = 1, .length = k};
  gemm_work w = gemm_work_of(&l, n, b, c, c_stride, 1, e);
  w.layout = GEMM_PLAIN;
  w.b_row = b_stride;
  w.b_panel = GEMM_COLUMNS;
  gemm_all(&w, m, 0, n);
}

void MIEN_K(mien__gemm_pieces)(int64_t m, int64_t n, const mien_pieces *a, const float *packed, float *c, int64_t c_row,
                               int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e) {
  gemm_of_pieces(m, n, a, packed, c, c_row, c_column, n0, n1, e);
}

size_t MIEN_K(mien__gemm_pack_bytes)(int64_t k, int64_t n) {
  const int64_t columns = (n / GEMM_COLUMNS + (n % GEMM_COLUMNS != 0)) * GEMM_COLUMNS;
  size_t bytes;
  if (__builtin_mul_overflow((size_t)k, (size_t)columns, &bytes)) return SIZE_MAX;
  return __builtin_mul_overflow(bytes, sizeof(float), &bytes) ? SIZE_MAX : bytes;
}

void MIEN_K(mien__gemm_pack)(int64_t k, int64_t n, const float *b, int64_t row_stride, int64_t col_stride,
                             float *packed) {
  if (k == 0) return;
  for (int64_t j0 = 0; j0 < n; j0 += GEMM_COLUMNS, packed += k * GEMM_COLUMNS) {
    const int64_t columns = min_i64(GEMM_COLUMNS, n - j0);
    if (columns < GEMM_COLUMNS) memset(packed, 0, (size_t)(k * GEMM_COLUMNS) * sizeof(float));
    if (col_stride == 1) {
      for (int64_t p = 0; p < k; p++)
        memcpy(packed + p * GEMM_COLUMNS, b + p * row_stride + j0, (size_t)columns * sizeof(float));
      continue;
    }
    const float *from = b + j0 * col_stride;
    for (int64_t p0 = 0; p0 < k; p0 += VL) {
      const int64_t p1 = min_i64(k, p0 + VL);
      int64_t j = 0;
      if (row_stride == 1 && p1 - p0 == VL)
        for (; j + VL <= columns; j += VL)
          vf_transpose(from + j * col_stride + p0, col_stride, packed + p0 * GEMM_COLUMNS + j, GEMM_COLUMNS);
      for (; j < columns; j++)
        for (int64_t p = p0; p < p1; p++) packed[p * GEMM_COLUMNS + j] = from[p * row_stride + j * col_stride];
    }
  }
}
