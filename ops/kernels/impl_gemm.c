/* ops/kernels/impl_gemm.c -- products with a packed right operand. B is packed in panels of GEMM_COLUMNS columns, each
** [k][GEMM_COLUMNS]; a microkernel keeps up to GEMM_ROWS rows of one panel in registers and sums over k in ascending
** order with one accumulator an element: bits depend neither on how rows and columns are split nor on the batch. */
#include "ops/kernels/kernels.h"

/* What a core's second-level cache holds beside everything else. */
#define GEMM_CACHE (512 * 1024)
/* Elements of k that one accumulator sums, and that a copied block of rows holds (see gemm_block_copied). */
#define GEMM_DEPTH 256

typedef void gemm_fn(const mien_pieces *a, int64_t row, const float *b, float *tile, bool add);

/* Moves the sums into the tile. */
VEC void gemm_flush(const int rows, const int vectors, vf sum[GEMM_ROWS][2], float *tile, bool add) {
  MIEN_UNROLL
  for (int i = 0; i < rows; i++)
    for (int v = 0; v < vectors; v++) {
      float *to = tile + i * GEMM_COLUMNS + v * VL;
      if (add) sum[i][v] = vf_load(to) + sum[i][v];
      vf_store(to, sum[i][v]);
      sum[i][v] = vf_set(0);
    }
}

/* tile[rows][GEMM_COLUMNS] = (add ? tile : 0) + A B, over `vectors` vectors of columns. Every GEMM_DEPTH elements of k the
** sums move into the tile: rounding errors then grow with the root of a part of k. */
VEC void gemm_micro(const int rows, const int vectors, const mien_pieces *a, int64_t row, const float *b, float *tile,
                    bool add) {
  vf sum[GEMM_ROWS][2];
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i][0] = sum[i][1] = vf_set(0);
  const int64_t step = a->step;
  const float *const *piece = a->rows + row;
  int64_t room = GEMM_DEPTH;
  for (int64_t t = 0; t < a->count; t++, piece += a->stride) {
    const float *at[GEMM_ROWS];
    MIEN_UNROLL
    for (int i = 0; i < rows; i++) at[i] = piece[i];
    for (int64_t left = a->length, offset = 0; left > 0;) {
      if (room == 0) {
        gemm_flush(rows, vectors, sum, tile, add);
        add = true;
        room = GEMM_DEPTH;
      }
      const int64_t count = min_i64(left, room);
      left -= count;
      room -= count;
      for (int64_t r = 0; r < count; r++, offset += step, b += GEMM_COLUMNS) {
        const vf b0 = vf_load(b), b1 = vectors == 2 ? vf_load(b + VL) : b0;
        MIEN_UNROLL
        for (int i = 0; i < rows; i++) {
          const vf x = vf_set(at[i][offset]);
          sum[i][0] = vf_fma(x, b0, sum[i][0]);
          if (vectors == 2) sum[i][1] = vf_fma(x, b1, sum[i][1]);
        }
      }
    }
  }
  gemm_flush(rows, vectors, sum, tile, add);
}

#define X(rows)                                                                                           \
  static void gemm_##rows##_1(const mien_pieces *a, int64_t row, const float *b, float *tile, bool add) { \
    gemm_micro(rows, 1, a, row, b, tile, add);                                                            \
  }                                                                                                       \
  static void gemm_##rows##_2(const mien_pieces *a, int64_t row, const float *b, float *tile, bool add) { \
    gemm_micro(rows, 2, a, row, b, tile, add);                                                            \
  }
EACH_ROWS(X)
#undef X
#define X(rows) {gemm_##rows##_1, gemm_##rows##_2},
static gemm_fn *const gemm_micros[GEMM_ROWS][2] = {EACH_ROWS(X)};
#undef X

/* Rows whose distance is a multiple of the first-level cache's span fall onto one set and push each other out: copies
** them, GEMM_DEPTH elements at a time, to where they do not. Sums as gemm_micro does. */
static void gemm_block_copied(int64_t rows, int64_t vectors, const mien_pieces *a, int64_t row, const float *b,
                              float *tile) {
  float copy[GEMM_ROWS][GEMM_DEPTH + VL];
  const float *at[GEMM_ROWS];
  for (int64_t i = 0; i < rows; i++) at[i] = copy[i];
  int64_t piece = 0, from = 0;
  bool add = false;
  while (piece < a->count) {
    int64_t have = 0;
    while (have < GEMM_DEPTH && piece < a->count) {
      const int64_t count = min_i64(GEMM_DEPTH - have, a->length - from);
      for (int64_t i = 0; i < rows; i++)
        memcpy(copy[i] + have, a->rows[piece * a->stride + row + i] + from, (size_t)count * sizeof(float));
      have += count;
      from += count;
      if (from == a->length) from = 0, piece++;
    }
    const mien_pieces part = {.rows = at, .stride = 0, .count = 1, .length = have, .step = 1};
    gemm_micros[rows - 1][vectors - 1](&part, 0, b, tile, add);
    b += have * GEMM_COLUMNS;
    add = true;
  }
}

static bool gemm_rows_collide(const mien_pieces *a, int64_t row, int64_t rows) {
  if (a->step != 1 || rows < 8 || a->count == 0 || a->length < 64) return false;
  const uintptr_t first = (uintptr_t)a->rows[row], second = (uintptr_t)a->rows[row + 1];
  return ((first - second) & 4095) == 0 && first != second;
}

typedef struct gemm_target {
  float *c;
  int64_t row, column;
  const mien_epilogue *e;
} gemm_target;

/* One block of at most GEMM_ROWS rows of one panel, whose first column is j. */
static void gemm_block(int64_t rows, const mien_pieces *a, int64_t row, const float *b, int64_t j, int64_t columns,
                       const gemm_target *to, int64_t to_row) {
  float tile[GEMM_ROWS * GEMM_COLUMNS];
  const int64_t vectors = columns > VL ? 2 : 1;
  if (gemm_rows_collide(a, row, rows))
    gemm_block_copied(rows, vectors, a, row, b, tile);
  else
    gemm_micros[rows - 1][vectors - 1](a, row, b, tile, false);
  MIEN_K(mien__finish)
  (tile, GEMM_COLUMNS, rows, columns, to->c + to_row * to->row + j * to->column, to->row, to->column, to->e, to_row, j);
}

/* Rows in blocks of nearly equal size: [*begin, *end) of block i of `count`. */
static void gemm_split(int64_t m, int64_t i, int64_t *begin, int64_t *end) {
  const int64_t blocks = (m + GEMM_ROWS - 1) / GEMM_ROWS, base = m / blocks, more = m % blocks;
  *begin = i * base + min_i64(i, more);
  *end = *begin + base + (i < more);
}

/* Rows [m0, m1) and columns [n0, n1). */
static void gemm_area(int64_t m0, int64_t m1, int64_t n, int64_t k, const float *a, int64_t a_stride,
                      const float *packed, const gemm_target *to, int64_t n0, int64_t n1) {
  const int64_t m = m1 - m0, blocks = (m + GEMM_ROWS - 1) / GEMM_ROWS;
  for (int64_t j = n0; j < n1; j += GEMM_COLUMNS)
    for (int64_t i = 0; i < blocks; i++) {
      int64_t begin, end;
      gemm_split(m, i, &begin, &end);
      const float *at[GEMM_ROWS];
      for (int64_t r = begin; r < end; r++) at[r - begin] = k ? a + (m0 + r) * a_stride : a;
      const mien_pieces rows = {.rows = at, .stride = 0, .count = 1, .length = k, .step = 1};
      gemm_block(end - begin, &rows, 0, k ? packed + j * k : packed, j, min_i64(GEMM_COLUMNS, min_i64(n, n1) - j), to,
                 m0 + begin);
    }
}

void MIEN_K(mien__gemm)(int64_t m, int64_t n, int64_t k, const float *a, int64_t a_stride, const float *packed,
                        float *c, int64_t c_stride, int64_t n0, int64_t n1, const mien_epilogue *e) {
  n1 = min_i64(n1, n);
  if (m <= 0 || n1 <= n0) return;
  const gemm_target to = {.c = c, .row = c_stride, .column = 1, .e = e};
  const double row_bytes = (double)max_i64(k, 1) * sizeof(float);
  const double all_a = (double)m * row_bytes, all_b = (double)(n1 - n0) * row_bytes;
  int64_t chunk = m;
  if (all_a > GEMM_CACHE) {
    /* Either B passes once and A once a panel, or A once and B once a chunk of rows that stays in the cache. */
    int64_t rows = (int64_t)(GEMM_CACHE / row_bytes) / GEMM_ROWS * GEMM_ROWS;
    if (rows < GEMM_ROWS) rows = GEMM_ROWS;
    const double panels = (double)((n1 - n0 + GEMM_COLUMNS - 1) / GEMM_COLUMNS);
    const double chunks = (double)((m + rows - 1) / rows);
    if (all_a + chunks * all_b < all_b + panels * all_a || all_b < GEMM_CACHE) chunk = rows;
  }
  for (int64_t i = 0; i < m; i += chunk) gemm_area(i, min_i64(m, i + chunk), n, k, a, a_stride, packed, &to, n0, n1);
}

void MIEN_K(mien__gemm_pieces)(int64_t m, int64_t n, const mien_pieces *a, const float *packed, float *c, int64_t c_row,
                               int64_t c_column, int64_t n0, int64_t n1, const mien_epilogue *e) {
  n1 = min_i64(n1, n);
  if (m <= 0) return;
  const gemm_target to = {.c = c, .row = c_row, .column = c_column, .e = e};
  const int64_t k = a->count * a->length, blocks = (m + GEMM_ROWS - 1) / GEMM_ROWS;
  for (int64_t j = n0; j < n1; j += GEMM_COLUMNS)
    for (int64_t i = 0; i < blocks; i++) {
      int64_t begin, end;
      gemm_split(m, i, &begin, &end);
      gemm_block(end - begin, a, begin, k ? packed + j * k : packed, j, min_i64(GEMM_COLUMNS, n1 - j), &to, begin);
    }
}

size_t MIEN_K(mien__gemm_pack_bytes)(int64_t k, int64_t n) {
  const int64_t columns = (n / GEMM_COLUMNS + (n % GEMM_COLUMNS != 0)) * GEMM_COLUMNS;
  size_t bytes;
  if (__builtin_mul_overflow((size_t)k, (size_t)columns, &bytes)) return SIZE_MAX;
  return __builtin_mul_overflow(bytes, sizeof(float), &bytes) ? SIZE_MAX : bytes;
}

void MIEN_K(mien__gemm_pack)(int64_t k, int64_t n, const float *b, int64_t row_stride, int64_t col_stride,
                             float *packed) {
  enum { BLOCK = 16 };
  if (k == 0) return;
  for (int64_t j0 = 0; j0 < n; j0 += GEMM_COLUMNS, packed += k * GEMM_COLUMNS) {
    const int64_t columns = min_i64(GEMM_COLUMNS, n - j0);
    if (columns < GEMM_COLUMNS) memset(packed, 0, (size_t)(k * GEMM_COLUMNS) * sizeof(float));
    if (col_stride == 1) {
      for (int64_t p = 0; p < k; p++)
        memcpy(packed + p * GEMM_COLUMNS, b + p * row_stride + j0, (size_t)columns * sizeof(float));
      continue;
    }
    for (int64_t p0 = 0; p0 < k; p0 += BLOCK) {
      const int64_t p1 = min_i64(k, p0 + BLOCK);
      for (int64_t j = 0; j < columns; j++)
        for (int64_t p = p0; p < p1; p++) packed[p * GEMM_COLUMNS + j] = b[p * row_stride + (j0 + j) * col_stride];
    }
  }
}
