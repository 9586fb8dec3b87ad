/* ops/kernels/impl_depthwise.c -- depthwise convolutions, channels last: a vector of channels of several output pixels in
** registers. Of windows three pixels wide, without holes, each pixel of the map is loaded once for all outputs that it adds to.
** The sum of a pixel takes its taps in order, whichever pixels are computed beside it. */
#include "ops/kernels/kernels.h"

enum { DEPTHWISE_ROWS = 8 };
#if defined(__clang__)
#define DEPTHWISE_UNROLL MIEN_UNROLL
#else
#define DEPTHWISE_UNROLL _Pragma("GCC unroll 32")
#endif

typedef struct depthwise_call {
  const mien_depthwise *d;
  int64_t from, to; /* channels */
  float *c;
  int64_t c_row;
  const mien_epilogue *e; /* not NULL */
  bool clamped;           /* low and high are all that e's activation does */
  float low, high;
} depthwise_call;

typedef void depthwise_fn(const depthwise_call *k, int64_t row);

/* The taps of one line of the windows of `rows` pixels. */
VEC void depthwise_taps(const int rows, const mien_depthwise *d, const float *const *at, const float *w, int64_t j,
                        int64_t count, vf sum[DEPTHWISE_ROWS]) {
  const int64_t taps = d->width, stride = d->stride, dilation = d->dilation, channels = d->channels;
  for (int64_t b = 0; b < taps; b++, at += dilation, w += channels) {
    const vf weight = vf_load_count(w, count);
    MIEN_UNROLL
    for (int i = 0; i < rows; i++) sum[i] = vf_fma(vf_load_count(at[i * stride] + j, count), weight, sum[i]);
  }
}

/* The same where width and stride are these and dilation is 1. */
VEC void depthwise_known(const int rows, const int width, const int stride, int64_t channels, const float *const *at,
                         const float *w, int64_t j, int64_t count, vf sum[DEPTHWISE_ROWS]) {
  vf weight[3];
  MIEN_UNROLL
  for (int b = 0; b < width; b++) weight[b] = vf_load_count(w + b * channels, count);
  DEPTHWISE_UNROLL
  for (int x = 0; x < (rows - 1) * stride + width; x++) {
    const vf pixel = vf_load_count(at[x] + j, count);
    MIEN_UNROLL
    for (int b = 0; b < width; b++) {
      const int i = (x - b) / stride;
      if (x >= b && (x - b) % stride == 0 && i < rows) sum[i] = vf_fma(pixel, weight[b], sum[i]);
    }
  }
}

/* `count` of a vector's channels, from j on, of `rows` pixels. width 0: any. */
VEC void depthwise_sums(const int rows, const int width, const int stride, const mien_depthwise *d, int64_t row,
                        int64_t j, int64_t count, vf sum[DEPTHWISE_ROWS]) {
  const int64_t lines = d->lines, channels = d->channels, line_taps = d->width * channels;
  const float *const *const *line = d->pixels;
  const float *w = d->w + j;
  const int64_t first = row * d->stride;
  MIEN_UNROLL
  for (int i = 0; i < rows; i++) sum[i] = vf_set(0);
  for (int64_t a = 0; a < lines; a++, w += line_taps) {
    const float *const *at = line[a] + first;
    MIEN_FORGET(at); /* one address, not one for each pixel */
    if (width)
      depthwise_known(rows, width, stride, channels, at, w, j, count, sum);
    else
      depthwise_taps(rows, d, at, w, j, count, sum);
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

/* Where the width is known, channels are whole vectors. */
VEC void depthwise_rows(const int rows, const int width, const int stride, const depthwise_call *k, int64_t row) {
  /* In registers: a store could change what k points at. */
  const mien_depthwise d = *k->d;
  const int64_t c_row = k->c_row, end = k->to;
  const float *bias = k->e->bias;
  float *c = k->c + row * c_row;
  const bool clamped = k->clamped;
  const vf low = vf_set(k->low), high = vf_set(k->high);
  for (int64_t j = k->from; j < end; j += VL) {
    const int64_t count = width ? VL : min_i64(VL, end - j);
    vf sum[DEPTHWISE_ROWS];
    if (count == VL)
      depthwise_sums(rows, width, stride, &d, row, j, VL, sum);
    else
      depthwise_sums(rows, width, stride, &d, row, j, count, sum);
    if (!clamped) {
      float tile[DEPTHWISE_ROWS * VL];
      MIEN_UNROLL
      for (int i = 0; i < rows; i++) vf_store(tile + i * VL, sum[i]);
      MIEN_K(mien__finish)(tile, VL, rows, count, c + j, c_row, 1, k->e, row, j);
    } else if (count == VL) {
      depthwise_clamp(rows, bias ? bias + j : NULL, low, high, VL, sum, c + j, c_row);
    } else {
      depthwise_clamp(rows, bias ? bias + j : NULL, low, high, count, sum, c + j, c_row);
    }
  }
}

#define EACH_DEPTHWISE(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#define X(rows)                                                                                                  \
  static void depthwise_any_##rows(const depthwise_call *k, int64_t row) { depthwise_rows(rows, 0, 0, k, row); } \
  static void depthwise_3_1_##rows(const depthwise_call *k, int64_t row) { depthwise_rows(rows, 3, 1, k, row); } \
  static void depthwise_3_2_##rows(const depthwise_call *k, int64_t row) { depthwise_rows(rows, 3, 2, k, row); }
EACH_DEPTHWISE(X)
#undef X
#define X(rows) {depthwise_any_##rows, depthwise_3_1_##rows, depthwise_3_2_##rows},
static depthwise_fn *const depthwise_by_rows[DEPTHWISE_ROWS][3] = {EACH_DEPTHWISE(X)};
#undef X

static void depthwise_all(int64_t m, int64_t which, const depthwise_call *k) {
  const int64_t blocks = (m + DEPTHWISE_ROWS - 1) / DEPTHWISE_ROWS;
  for (int64_t i = 0, row = 0; i < blocks && k->from < k->to; i++) { /* nearly equal blocks */
    const int64_t rows = (m - row) / (blocks - i);
    depthwise_by_rows[rows - 1][which](k, row);
    row += rows;
  }
}

void MIEN_K(mien__depthwise)(int64_t m, const mien_depthwise *d, float *c, int64_t c_row, const mien_epilogue *e) {
  static const mien_epilogue nothing = {.act = MIEN_ACT_IDENTITY};
  depthwise_call k = {.d = d, .c = c, .c_row = c_row, .e = e ? e : &nothing};
  k.clamped = !k.e->residual && clamp_of(k.e, &k.low, &k.high);
  if (d->width == 3 && d->dilation == 1 && (d->stride == 1 || d->stride == 2)) {
    k.to = d->channels / VL * VL;
    depthwise_all(m, d->stride, &k);
    k.from = k.to;
  }
  k.to = d->channels;
  depthwise_all(m, 0, &k);
}
