/* ops/strided.h -- the one way to move elements between two layouts: a box of extents with a stride into the source and
** one into the destination for every dimension. Elements are opaque, of 1, 2, 4, 8 or 16 bytes. */
#ifndef MIEN_OPS_STRIDED_H
#define MIEN_OPS_STRIDED_H

#include <mien/plugin.h>
#include <string.h>

#define STRIDED_RANK (2 * MIEN_MAX_RANK)

/* Dimensions outermost first; strides count elements and may be 0 or negative. Items of [0, count) are the elements in the
** order of the box, which strided_finish may change: any split of the items writes the same elements. */
typedef struct strided_box {
  int rank;
  int64_t count;
  int64_t extent[STRIDED_RANK], from[STRIDED_RANK], to[STRIDED_RANK];
} strided_box;

#define STRIDED_ALIAS __attribute__((may_alias))
typedef uint8_t STRIDED_ALIAS strided_1;
typedef uint16_t STRIDED_ALIAS strided_2;
typedef uint32_t STRIDED_ALIAS strided_4;
typedef uint64_t STRIDED_ALIAS strided_8;
typedef struct STRIDED_ALIAS {
  uint64_t part[2];
} strided_16;
#define STRIDED_SIZES(X) X(1) X(2) X(4) X(8) X(16)

static inline void strided_start(strided_box *b) {
  b->rank = 0;
  b->count = 1;
}

/* Adds the next inner dimension. Dimensions of extent 1 vanish, those that continue the last one melt into it. */
static inline void strided_push(strided_box *b, int64_t extent, int64_t from, int64_t to) {
  b->count *= extent;
  if (extent == 1) return;
  int last = b->rank - 1;
  if (last >= 0 && b->from[last] == from * extent && b->to[last] == to * extent) {
    b->extent[last] *= extent;
    b->from[last] = from;
    b->to[last] = to;
    return;
  }
  b->extent[b->rank] = extent;
  b->from[b->rank] = from;
  b->to[b->rank++] = to;
}

/* Row-major strides of an array of these extents. */
static inline void strided_dense(int rank, const int64_t *extent, int64_t *stride) {
  int64_t step = 1;
  for (int i = rank - 1; i >= 0; i--) {
    stride[i] = step;
    step *= extent[i];
  }
}

/* Where the innermost dimension jumps in the source and another one does not, that one becomes the second: the two are
** then copied in square blocks, which use every cache line whole. */
static inline void strided_finish(strided_box *b) {
  int last = b->rank - 1;
  if (last < 1 || b->from[last] == 1) return;
  int near = last - 1;
  while (near >= 0 && b->from[near] != 1) near--;
  if (near < 0) return;
  int64_t extent = b->extent[near], to = b->to[near];
  for (int i = near; i < last - 1; i++) {
    b->extent[i] = b->extent[i + 1];
    b->from[i] = b->from[i + 1];
    b->to[i] = b->to[i + 1];
  }
  b->extent[last - 1] = extent;
  b->from[last - 1] = 1;
  b->to[last - 1] = to;
}

/* rows x columns elements with these strides. */
typedef struct strided_plate {
  int64_t rows, columns, row_from, column_from, row_to, column_to;
} strided_plate;

#define STRIDED_BLOCK 16

/* Few columns side by side in the destination, such as the channels of a picture: written so that compilers make vectors of it. */
#define STRIDED_FEW(S)                                                                               \
  static inline void strided_2_##S(int64_t rows, const strided_##S *restrict a, int64_t step,        \
                                   strided_##S *restrict to) {                                       \
    const strided_##S *restrict b = a + step;                                                        \
    for (int64_t r = 0; r < rows; r++) to[2 * r] = a[r], to[2 * r + 1] = b[r];                       \
  }                                                                                                  \
  static inline void strided_3_##S(int64_t rows, const strided_##S *restrict a, int64_t step,        \
                                   strided_##S *restrict to) {                                       \
    const strided_##S *restrict b = a + step, *restrict c = b + step;                                \
    for (int64_t r = 0; r < rows; r++) to[3 * r] = a[r], to[3 * r + 1] = b[r], to[3 * r + 2] = c[r]; \
  }                                                                                                  \
  static inline void strided_4_##S(int64_t rows, const strided_##S *restrict a, int64_t step,        \
                                   strided_##S *restrict to) {                                       \
    const strided_##S *restrict b = a + step, *restrict c = b + step, *restrict d = c + step;        \
    for (int64_t r = 0; r < rows; r++)                                                               \
      to[4 * r] = a[r], to[4 * r + 1] = b[r], to[4 * r + 2] = c[r], to[4 * r + 3] = d[r];            \
  }
STRIDED_SIZES(STRIDED_FEW)

#define STRIDED_COPY(S)                                                                                   \
  static inline void strided_copy_##S(const strided_plate *p, const strided_##S *from, strided_##S *to) { \
    int64_t cf = p->column_from, ct = p->column_to;                                                       \
    if (cf == 1 || p->row_from != 1) {                                                                    \
      for (int64_t r = 0; r < p->rows; r++, from += p->row_from, to += p->row_to)                         \
        for (int64_t c = 0; c < p->columns; c++) to[c * ct] = from[c * cf];                               \
      return;                                                                                             \
    }                                                                                                     \
    if (ct == 1 && p->row_to == p->columns && p->columns >= 2 && p->columns <= 4) {                       \
      if (p->columns == 2) strided_2_##S(p->rows, from, cf, to);                                          \
      if (p->columns == 3) strided_3_##S(p->rows, from, cf, to);                                          \
      if (p->columns == 4) strided_4_##S(p->rows, from, cf, to);                                          \
      return;                                                                                             \
    }                                                                                                     \
    for (int64_t r0 = 0; r0 < p->rows; r0 += STRIDED_BLOCK) {                                             \
      int64_t r1 = r0 + STRIDED_BLOCK < p->rows ? r0 + STRIDED_BLOCK : p->rows;                           \
      for (int64_t c0 = 0; c0 < p->columns; c0 += STRIDED_BLOCK) {                                        \
        int64_t c1 = c0 + STRIDED_BLOCK < p->columns ? c0 + STRIDED_BLOCK : p->columns;                   \
        for (int64_t r = r0; r < r1; r++)                                                                 \
          for (int64_t c = c0; c < c1; c++) to[r * p->row_to + c * ct] = from[r + c * cf];                \
      }                                                                                                   \
    }                                                                                                     \
  }
STRIDED_SIZES(STRIDED_COPY)

static inline void strided_copy_plate(const strided_plate *p, size_t size, const char *from, char *to) {
  if (p->column_from == 1 && p->column_to == 1) {
    size_t bytes = (size_t)p->columns * size;
    for (int64_t r = 0; r < p->rows; r++)
      memcpy(to + r * p->row_to * (int64_t)size, from + r * p->row_from * (int64_t)size, bytes);
    return;
  }
  switch (size) {
#define X(S) \
  case S: strided_copy_##S(p, (const strided_##S *)(const void *)from, (strided_##S *)(void *)to); return;
    STRIDED_SIZES(X)
#undef X
    default: return;
  }
}

/* Items [begin, end) of the box. from and to are where index 0 of all dimensions lies. */
static inline void strided_copy(const strided_box *b, size_t size, const void *from, void *to, int64_t begin,
                                int64_t end) {
  if (begin >= end) return;
  int last = b->rank - 1;
  int64_t index[STRIDED_RANK] = {0}, source = 0, target = 0;
  int64_t columns = last >= 0 ? b->extent[last] : 1, rest = begin / columns, column = begin % columns;
  for (int i = last - 1; i >= 0; i--) {
    index[i] = rest % b->extent[i];
    rest /= b->extent[i];
    source += index[i] * b->from[i];
    target += index[i] * b->to[i];
  }
  strided_plate p = {.column_from = last >= 0 ? b->from[last] : 1, .column_to = last >= 0 ? b->to[last] : 1};
  if (last >= 1) p.row_from = b->from[last - 1], p.row_to = b->to[last - 1];
  while (begin < end) {
    p.rows = 1;
    p.columns = columns - column < end - begin ? columns - column : end - begin;
    if (last >= 1 && p.columns == columns) {
      int64_t left = b->extent[last - 1] - index[last - 1], whole = (end - begin) / columns;
      p.rows = left < whole ? left : whole;
    }
    strided_copy_plate(&p, size, (const char *)from + (source + column * p.column_from) * (int64_t)size,
                       (char *)to + (target + column * p.column_to) * (int64_t)size);
    begin += p.rows * p.columns;
    column = 0;
    int64_t step = p.rows;
    for (int i = last - 1; i >= 0; i--) {
      index[i] += step;
      source += step * b->from[i];
      target += step * b->to[i];
      if (index[i] < b->extent[i]) break;
      source -= index[i] * b->from[i];
      target -= index[i] * b->to[i];
      index[i] = 0;
      step = 1;
    }
  }
}

/* count copies of one element. */
static inline void strided_fill(size_t size, const void *element, void *to, int64_t count) {
  strided_plate p = {.rows = 1, .columns = count, .column_to = 1};
  strided_copy_plate(&p, size, element, to);
}

#endif
