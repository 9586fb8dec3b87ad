/* ops/kernels/impl_depthwise.c -- depthwise convolutions, channels last: a vector of channels of several output pixels in
** registers, so that a weight is read once for all of them. The sum of a pixel takes its taps in order, whichever pixels are
** computed beside it. */
#include "ops/kernels/kernels.h"

enum { DEPTHWISE_ROWS = 8 };

typedef struct depthwise_call {
  const mien_pieces *a;
  int64_t next; /* `line`: from row to row of a piece */
  const float *w;
  float *c;
  int64_t c_row;
  const mien_epilogue *e; /* not NULL */
  bool clamped;           /* low and high are all that e's activation does */
  float low, high;
} depthwise_call;

typedef void depthwise_fn(const depthwise_call *d, int64_t row);

/* `count` of a vector's channels, from j on, of `rows` rows. line: row i of a piece begins first + i * next behind
** what its pointer says. */
VEC void depthwise_sums(const int rows, const bool line, const float *const *piece, int64_t stride, int64_t taps,
                        int64_t first, int64_t next, const float *w, int64_t length, int64_t j, int64_t count,
                        vf sum[DEPTHWISE_ROWS]) {
  w += j;
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i] = vf_set(0);
  for (int64_t t = 0; t < taps; t++, piece += stride, w += length) {
    const vf weight = vf_load_count(w, count);
    MIEN_UNROLL
    for (int i = 0; i < rows; i++) {
      const float *x = line ? piece[0] + first + i * next + j : piece[i] + j;
      sum[i] = vf_fma(vf_load_count(x, count), weight, sum[i]);
    }
  }
}

VEC void depthwise_clamp(const int rows, const float *bias, vf low, vf high, int64_t count, const vf *sum, float *c,
                         int64_t c_row) {
  vf b = vf_set(0);
  if (bias) b = vf_load_count(bias, count);
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) {
    vf x = sum[i];
    if (bias) x = x + b;
    x = vf_min2(high, vf_max2(low, x));
    if (count == VL)
      vf_store(c + i * c_row, x);
    else
      vf_store_n(c + i * c_row, x, count);
  }
}

VEC void depthwise_rows(const int rows, const bool line, const depthwise_call *d, int64_t row) {
  /* In registers: a store could change what d points at. */
  const int64_t length = d->a->length, taps = d->a->count, stride = d->a->stride, next = d->next, c_row = d->c_row;
  const float *const *piece = d->a->rows + (line ? 0 : row);
  const int64_t first = line ? row * next : 0;
  const float *w = d->w, *bias = d->e->bias;
  float *c = d->c + row * c_row;
  const bool clamped = d->clamped;
  const vf low = vf_set(d->low), high = vf_set(d->high);
  for (int64_t j = 0; j < length; j += VL) {
    const int64_t count = min_i64(VL, length - j);
    vf sum[DEPTHWISE_ROWS];
    if (count == VL)
      depthwise_sums(rows, line, piece, stride, taps, first, next, w, length, j, VL, sum);
    else
      depthwise_sums(rows, line, piece, stride, taps, first, next, w, length, j, count, sum);
    if (!clamped) {
      float tile[DEPTHWISE_ROWS * VL];
      MIEN_UNROLL
      for (int i = 0; i < rows; i++) vf_store(tile + i * VL, sum[i]);
      MIEN_K(mien__finish)(tile, VL, rows, count, c + j, c_row, 1, d->e, row, j);
    } else if (count == VL) {
      depthwise_clamp(rows, bias ? bias + j : NULL, low, high, VL, sum, c + j, c_row);
    } else {
      depthwise_clamp(rows, bias ? bias + j : NULL, low, high, count, sum, c + j, c_row);
    }
  }
}

#define EACH_DEPTHWISE(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#define X(rows)                                                                                                    \
  static void depthwise_each_##rows(const depthwise_call *d, int64_t row) { depthwise_rows(rows, false, d, row); } \
  static void depthwise_line_##rows(const depthwise_call *d, int64_t row) { depthwise_rows(rows, true, d, row); }
EACH_DEPTHWISE(X)
#undef X
#define X(rows) {depthwise_each_##rows, depthwise_line_##rows},
static depthwise_fn *const depthwise_by_rows[DEPTHWISE_ROWS][2] = {EACH_DEPTHWISE(X)};
#undef X

static void depthwise_all(int64_t m, bool line, depthwise_call *d, const mien_epilogue *e) {
  static const mien_epilogue nothing = {.act = MIEN_ACT_IDENTITY};
  d->e = e ? e : &nothing;
  d->clamped = !d->e->residual && clamp_of(d->e, &d->low, &d->high);
  const int64_t blocks = (m + DEPTHWISE_ROWS - 1) / DEPTHWISE_ROWS;
  for (int64_t i = 0, row = 0; i < blocks; i++) { /* nearly equal blocks */
    const int64_t rows = (m - row) / (blocks - i);
    depthwise_by_rows[rows - 1][line](d, row);
    row += rows;
  }
}

void MIEN_K(mien__depthwise)(int64_t m, const mien_pieces *a, const float *w, float *c, int64_t c_row,
                             const mien_epilogue *e) {
  depthwise_call d = {.a = a, .w = w, .c = c, .c_row = c_row};
  depthwise_all(m, false, &d, e);
}

void MIEN_K(mien__depthwise_line)(int64_t m, int64_t next, const mien_pieces *a, const float *w, float *c,
                                  int64_t c_row, const mien_epilogue *e) {
  depthwise_call d = {.a = a, .next = next, .w = w, .c = c, .c_row = c_row};
  depthwise_all(m, true, &d, e);
}
