/* ops/kernels/gemm.h -- the blocking of products with a packed right operand. B is packed in panels of GEMM_COLUMNS columns,
** each [k][GEMM_COLUMNS]; a microkernel keeps up to GEMM_ROWS rows of one panel in registers and sums over k in ascending
** order with one accumulator an element: bits depend neither on how rows and columns are split nor on the batch.
** Elements of A and B are four bytes, which only the microkernel looks into: the file that includes this one (impl_gemm.c: a
** float, impl_gemm_bf16.c: a pair of bfloat16) defines
**   gemm_micro(rows, vectors, a, row, b, next, tile, add): tile[rows][GEMM_COLUMNS] = (add ? tile : 0) + A B over `vectors`
**   vectors of columns. `next`: a line for each element of k is fetched from there; NULL: from nowhere. */
#ifndef MIEN_OPS_KERNELS_GEMM_H
#define MIEN_OPS_KERNELS_GEMM_H

#include "ops/kernels/kernels.h"

/* What a core's second-level cache holds beside everything else. */
#define GEMM_CACHE (512 * 1024)
/* Elements of k that one accumulator sums, and that a copied block of rows holds (see gemm_block_copied). */
#define GEMM_DEPTH 256
/* Elements of k, about, after which the kernel turns to the next rows: so much of a panel, and of the rows, stays near. */
#define GEMM_BLOCK (3 * GEMM_DEPTH)
/* Floats of sums that wait for the rest of k. */
#define GEMM_TILES (16 * 1024)
#define GEMM_LINE (64 / (int64_t)sizeof(float))

typedef void gemm_fn(const mien_pieces *a, int64_t row, const float *b, const float *next, float *tile, bool add);

VEC void gemm_micro(const int rows, const int vectors, const mien_pieces *a, int64_t row, const float *b,
                    const float *next, float *tile, bool add);

#define X(rows)                                                                                                  \
  static void gemm_##rows##_1(const mien_pieces *a, int64_t row, const float *b, const float *next, float *tile, \
                              bool add) {                                                                        \
    gemm_micro(rows, 1, a, row, b, next, tile, add);                                                             \
  }                                                                                                              \
  static void gemm_##rows##_2(const mien_pieces *a, int64_t row, const float *b, const float *next, float *tile, \
                              bool add) {                                                                        \
    gemm_micro(rows, 2, a, row, b, next, tile, add);                                                             \
  }
EACH_ROWS(X)
#undef X
#define X(rows) {gemm_##rows##_1, gemm_##rows##_2},
static gemm_fn *const gemm_micros[GEMM_ROWS][2] = {EACH_ROWS(X)};
#undef X

/* Rows whose distance is a multiple of the first-level cache's span fall onto one set and push each other out: copies
** them, GEMM_DEPTH elements at a time, to where they do not. Sums as gemm_micro does. */
static void gemm_block_copied(int64_t rows, int64_t vectors, const mien_pieces *a, int64_t row, const float *b,
                              const float *next, float *tile, bool add) {
  float copy[GEMM_ROWS][GEMM_DEPTH + VL];
  const float *at[GEMM_ROWS];
  for (int64_t i = 0; i < rows; i++) at[i] = copy[i];
  int64_t piece = 0, from = 0;
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
    gemm_micros[rows - 1][vectors - 1](&part, 0, b, next, tile, add);
    b += have * GEMM_COLUMNS;
    if (next) next += have * GEMM_LINE;
    add = true;
  }
}

static bool gemm_rows_collide(const mien_pieces *a, int64_t row, int64_t rows) {
  if (a->step != 1 || rows < 8 || a->count == 0 || a->length < 64) return false;
  const uintptr_t first = (uintptr_t)a->rows[row], second = (uintptr_t)a->rows[row + 1];
  return ((first - second) & 4095) == 0 && first != second;
}

/* A product's left operand: rows of one piece `stride` apart, or as given. */
typedef struct gemm_left {
  const float *a;
  int64_t stride;
  const mien_pieces *pieces; /* NULL: a */
  int64_t count, length;     /* pieces a row, elements a piece */
} gemm_left;

/* Rows [row, row + rows) of a left operand, pieces [piece, piece + count), elements [from, from + length) of each. */
typedef struct gemm_part {
  int64_t piece, count, from, length;
} gemm_part;

/* The part that begins at p->piece and p->from: a few whole pieces or a part of one. Depends on k alone. */
static void gemm_part_at(const gemm_left *l, gemm_part *p) {
  p->length = min_i64(GEMM_BLOCK, l->length - p->from);
  p->count = 1;
  if (p->from == 0 && p->length == l->length && l->length > 0)
    p->count = min_i64(l->count - p->piece, max_i64(1, GEMM_BLOCK / l->length));
}
static void gemm_part_next(const gemm_left *l, gemm_part *p) {
  p->from += p->length;
  if (p->from < l->length) return;
  p->from = 0;
  p->piece += p->count;
}

typedef struct gemm_target {
  float *c;
  int64_t row, column;
  const mien_epilogue *e;
} gemm_target;

/* One block of at most GEMM_ROWS rows of one part of k. */
static void gemm_block(const gemm_left *l, const gemm_part *p, int64_t row, int64_t rows, int64_t vectors,
                       const float *b, const float *next, float *tile, bool add) {
  const float *at[GEMM_ROWS];
  mien_pieces a = {.rows = at, .stride = rows, .count = p->count, .length = p->length, .step = 1};
  if (!l->pieces) {
    for (int64_t r = 0; r < rows; r++) at[r] = p->length ? l->a + (row + r) * l->stride + p->from : l->a;
  } else {
    a.rows = l->pieces->rows + p->piece * l->pieces->stride + row;
    a.stride = l->pieces->stride;
    a.step = l->pieces->step;
    if (p->from > 0) { /* of one piece */
      for (int64_t r = 0; r < rows; r++) at[r] = a.rows[r] + p->from * a.step;
      a.rows = at;
    }
  }
  if (gemm_rows_collide(&a, 0, rows))
    gemm_block_copied(rows, vectors, &a, 0, b, next, tile, add);
  else
    gemm_micros[rows - 1][vectors - 1](&a, 0, b, next, tile, add);
}

/* [*begin, *end) of part i of m in `parts` nearly equal ones. */
static void gemm_split(int64_t m, int64_t parts, int64_t i, int64_t *begin, int64_t *end) {
  const int64_t base = m / parts, more = m % parts;
  *begin = i * base + min_i64(i, more);
  *end = *begin + base + (i < more);
}

/* Some panels from column j on, of which `columns` columns are in use, with rows [m0, m1): sums of all parts of k. `after`:
** the panel after them, NULL when none follows or it is near. What comes out of memory next is fetched while the first blocks
** of rows are computed. */
static void gemm_sums(const gemm_left *l, int64_t m0, int64_t m1, const float *packed, int64_t k, int64_t j,
                      int64_t columns, const float *after, float *tiles) {
  const int64_t m = m1 - m0, blocks = (m + GEMM_ROWS - 1) / GEMM_ROWS;
  int64_t at = 0; /* of k */
  for (gemm_part p = {0}; at == 0 || at < k; gemm_part_next(l, &p)) {
    gemm_part_at(l, &p);
    const int64_t depth = p.count * p.length;
    float *tile = tiles;
    for (int64_t c = 0; c < columns; c += GEMM_COLUMNS) {
      const float *b = k ? packed + (j + c) * k + at * GEMM_COLUMNS : packed;
      const bool last = c + GEMM_COLUMNS >= columns;
      const float *next = !last            ? b + k * GEMM_COLUMNS
                          : at + depth < k ? packed + j * k + (at + depth) * GEMM_COLUMNS
                                           : after;
      for (int64_t i = 0; i < blocks; i++) {
        int64_t begin, end;
        gemm_split(m, blocks, i, &begin, &end);
        const bool fetch = next && i * GEMM_LINE < GEMM_COLUMNS;
        gemm_block(l, &p, m0 + begin, end - begin, columns - c > VL ? 2 : 1, b,
                   fetch ? next + i * depth * GEMM_LINE : NULL, tile + begin * GEMM_COLUMNS, at > 0);
      }
      tile += m * GEMM_COLUMNS;
    }
    at += depth;
    if (depth == 0) break;
  }
}

/* Rows [m0, m1), columns [n0, n1) of n: n0 begins a panel. */
static void gemm_area(const gemm_left *l, int64_t m0, int64_t m1, const float *packed, const gemm_target *to,
                      int64_t n0, int64_t n1) {
  float tiles[GEMM_TILES];
  const int64_t k = l->count * l->length;
  /* A short k: one panel and one block of rows after another. A long one: as many as wait for the rest of k together. */
  const int64_t most = k <= GEMM_BLOCK ? GEMM_ROWS : GEMM_TILES / GEMM_COLUMNS / GEMM_ROWS * GEMM_ROWS;
  const int64_t m = m1 - m0, groups = (m + most - 1) / most;
  const int64_t panels = k <= GEMM_BLOCK ? 1 : GEMM_TILES / GEMM_COLUMNS / ((m + groups - 1) / groups);
  for (int64_t j = n0; j < n1; j += panels * GEMM_COLUMNS) {
    const int64_t columns = min_i64(panels * GEMM_COLUMNS, n1 - j);
    for (int64_t i = 0; i < groups; i++) {
      int64_t begin, end;
      gemm_split(m, groups, i, &begin, &end);
      const int64_t rows = end - begin, row = m0 + begin;
      const bool fetch = n1 - j > columns && (i == 0 || (most == GEMM_ROWS && i * GEMM_LINE < GEMM_COLUMNS));
      const float *after = fetch ? packed + (j + columns) * k + i * k * GEMM_LINE : NULL;
      gemm_sums(l, row, row + rows, packed, k, j, columns, after, tiles);
      for (int64_t c = 0; c < columns; c += GEMM_COLUMNS) MIEN_K(mien__finish)
      (tiles + c * rows, GEMM_COLUMNS, rows, min_i64(GEMM_COLUMNS, columns - c),
       to->c + row * to->row + (j + c) * to->column, to->row, to->column, to->e, row, j + c);
    }
  }
}

/* Rows [0, m), columns [n0, n1): n0 begins a panel. */
static void gemm_all(const gemm_left *l, int64_t m, const float *packed, const gemm_target *to, int64_t n0,
                     int64_t n1) {
  const int64_t k = l->count * l->length;
  const double row_bytes = (double)max_i64(k, 1) * sizeof(float);
  const double all_a = (double)m * row_bytes, all_b = (double)(n1 - n0) * row_bytes;
  int64_t chunk = m;
  if (all_a > GEMM_CACHE && k <= GEMM_BLOCK) {
    /* Either B passes once and A once a panel, or A once and B once a chunk of rows that stays in the cache. */
    int64_t rows = (int64_t)(GEMM_CACHE / row_bytes) / GEMM_ROWS * GEMM_ROWS;
    if (rows < GEMM_ROWS) rows = GEMM_ROWS;
    const double panels = (double)((n1 - n0 + GEMM_COLUMNS - 1) / GEMM_COLUMNS);
    const double chunks = (double)((m + rows - 1) / rows);
    if (all_a + chunks * all_b < all_b + panels * all_a || all_b < GEMM_CACHE) chunk = rows;
  }
  for (int64_t i = 0; i < m; i += chunk) gemm_area(l, i, min_i64(m, i + chunk), packed, to, n0, n1);
}

#endif
