/* ops/conv.h -- convolutions as products with a gathered left operand, for Conv and mien.Conv, fp32. A row is an output
** pixel, a piece of a row the channels under one tap of the window. Channels last, a piece is found by pointer in X itself
** or in a vector of padding values; channels first, blocks of rows are gathered into the thread's scratch. Never the
** whole map. Which algorithm runs is decided in prepare by the table at the end. */
#ifndef MIEN_OPS_CONV_H
#define MIEN_OPS_CONV_H

#include "ops/epilogue.h"
#include "ops/gemm16.h"
#include "ops/kernels/winograd.h"
#include "ops/panels.h"
#include "ops/window.h"
#include <stdio.h>

typedef struct conv_problem {
  mien_window w; /* always three spatial dimensions, absent ones in front with size 1 */
  int64_t images, in_channels, out_channels, group, in_each, out_each; /* each: of one group */
  bool channels_last, padded, constant;                                /* constant: W is */
  int64_t taps, depth;                                                 /* depth: taps * in_each */
  int64_t w_columns; /* of the panels that W lies in; 0: it lies as ONNX says */
  int64_t in_pixels, out_pixels;
  int64_t x_space[MIEN_WINDOW_RANK], x_channel; /* strides of X in elements */
  const mien_gemm16 *gemm16;                    /* NULL: operands are floats */
} conv_problem;

typedef struct conv_state conv_state;
enum { CONV_KIND = 96 };

/* One way to compute a convolution. cost: roughly nanoseconds on one core, for one image, so that an image's bits do not
** depend on its batch. bytes: of the packed weights, SIZE_MAX when that overflows. */
typedef struct conv_algorithm {
  const char *name, *title; /* title: for profiles, NULL: the product's */
  bool (*applies)(const conv_problem *p);
  double (*cost)(const conv_problem *p, const mien_math *math);
  mien_status (*prepare)(mien_node *n, conv_state *s);
  size_t (*bytes)(const conv_problem *p, const mien_math *math);
  mien_status (*fill)(mien_node *n, void *memory); /* packs the weights */
  mien_status (*run)(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin, int64_t end);
  bool in_panels; /* packed weights are as panels of gemm_columns lie: such are not packed again */
} conv_algorithm;

struct conv_state {
  conv_problem p;
  mien_epilogue epilogue; /* of mien.Conv, what its attributes say */
  const conv_algorithm *algorithm;
  int64_t span, units;                                     /* consecutive rows of Y, and how many times that */
  int64_t chunk, chunks;                                   /* rows an item takes, items a unit */
  int64_t panels;                                          /* a group */
  int64_t together;                                        /* taps that are one piece */
  int64_t lines;                                           /* of Y, whose pointers are made together */
  size_t packed_each;                                      /* floats of one group's weights */
  const float *packed;                                     /* NULL: W is not constant */
  size_t pads_at, offsets_at, rows_at, block_at, panel_at; /* in scratch */
  mien__winograd_shape winograd;
  int64_t down, across;              /* tiles an image */
  bool raw;                          /* weights are transformed in passing */
  bool phases;                       /* V of `chunks_once` chunks is shared by the threads, or */
  bool each;                         /* each thread has one of its own, and panels are shared */
  int64_t chunks_once;               /* else 1 */
  size_t v_at, m_at, u_at, ready_at; /* in scratch */
  char kind[CONV_KIND], kernel[48];
};

static inline int64_t conv_ceil(int64_t a, int64_t b) { return a / b + (a % b != 0); }
static inline int64_t conv_min(int64_t a, int64_t b) { return a < b ? a : b; }

/* ---- geometry */

static inline void conv_problem_make(conv_problem *p, const mien_window *w, const mien_type *x, const mien_type *weight,
                                     int64_t group, bool channels_last) {
  const int missing = MIEN_WINDOW_RANK - w->rank;
  memset(p, 0, sizeof *p);
  p->w.rank = MIEN_WINDOW_RANK;
  for (int d = 0; d < MIEN_WINDOW_RANK; d++) {
    const bool real = d >= missing;
    p->w.in[d] = real ? w->in[d - missing] : 1;
    p->w.out[d] = real ? w->out[d - missing] : 1;
    p->w.kernel[d] = real ? w->kernel[d - missing] : 1;
    p->w.stride[d] = real ? w->stride[d - missing] : 1;
    p->w.dilation[d] = real ? w->dilation[d - missing] : 1;
    p->w.before[d] = real ? w->before[d - missing] : 0;
    p->w.after[d] = real ? w->after[d - missing] : 0;
    const int64_t last = (p->w.out[d] - 1) * p->w.stride[d] - p->w.before[d] + (p->w.kernel[d] - 1) * p->w.dilation[d];
    if (p->w.before[d] > 0 || last >= p->w.in[d]) p->padded = true;
  }
  p->images = x->dim[0];
  p->in_channels = x->dim[channels_last ? x->rank - 1 : 1];
  p->out_channels = weight->dim[0];
  p->group = group;
  p->in_each = p->in_channels / group;
  p->out_each = p->out_channels / group;
  p->channels_last = channels_last;
  p->taps = p->in_pixels = p->out_pixels = 1;
  for (int d = MIEN_WINDOW_RANK - 1; d >= 0; d--) {
    p->x_space[d] = p->in_pixels * (channels_last ? p->in_channels : 1);
    p->taps *= p->w.kernel[d];
    p->in_pixels *= p->w.in[d];
    p->out_pixels *= p->w.out[d];
  }
  p->x_channel = channels_last ? 1 : p->in_pixels;
  p->depth = p->taps * p->in_each;
}

/* Output pixel `at` as coordinates, and on to the next one. */
static inline void conv_locate(const conv_problem *p, int64_t at, int64_t *o) {
  for (int d = MIEN_WINDOW_RANK - 1; d >= 0; d--) {
    o[d] = at % p->w.out[d];
    at /= p->w.out[d];
  }
}
static inline bool conv_step(const conv_problem *p, int64_t *o) {
  for (int d = MIEN_WINDOW_RANK - 1; d >= 0; d--) {
    if (++o[d] < p->w.out[d]) return true;
    o[d] = 0;
  }
  return false;
}

/* The element where tap 0 of output pixel o lies (it may be outside); whether all taps are inside. */
static inline int64_t conv_origin(const conv_problem *p, const int64_t *o, bool *inside) {
  int64_t element = 0;
  *inside = true;
  for (int d = 0; d < MIEN_WINDOW_RANK; d++) {
    const int64_t first = o[d] * p->w.stride[d] - p->w.before[d];
    const int64_t last = first + (p->w.kernel[d] - 1) * p->w.dilation[d];
    if (first < 0 || last >= p->w.in[d]) *inside = false;
    element += first * p->x_space[d];
  }
  return element;
}

static inline void conv_offsets(const conv_problem *p, int64_t *offset) {
  const mien_window *w = &p->w;
  for (int64_t a = 0; a < w->kernel[0]; a++)
    for (int64_t b = 0; b < w->kernel[1]; b++)
      for (int64_t c = 0; c < w->kernel[2]; c++)
        *offset++ = a * w->dilation[0] * p->x_space[0] + b * w->dilation[1] * p->x_space[1] +
                    c * w->dilation[2] * p->x_space[2];
}

/* ---- channels last: pieces by pointer. `table` [taps][rows]; x and pad begin at the group's first channel. */

static inline void conv_border_pixel(const conv_problem *p, const float *x, const float *pad, const int64_t *o,
                                     const float **table, int64_t rows) {
  const mien_window *w = &p->w;
  int64_t first[MIEN_WINDOW_RANK];
  for (int d = 0; d < MIEN_WINDOW_RANK; d++) first[d] = o[d] * w->stride[d] - w->before[d];
  for (int64_t a = 0; a < w->kernel[0]; a++)
    for (int64_t b = 0; b < w->kernel[1]; b++)
      for (int64_t c = 0; c < w->kernel[2]; c++, table += rows) {
        const int64_t i = first[0] + a * w->dilation[0], j = first[1] + b * w->dilation[1];
        const int64_t k = first[2] + c * w->dilation[2];
        const bool inside = i >= 0 && i < w->in[0] && j >= 0 && j < w->in[1] && k >= 0 && k < w->in[2];
        *table = inside ? x + i * p->x_space[0] + j * p->x_space[1] + k * p->x_space[2] : pad;
      }
}

/* Rows [row, row + rows) counted over all images. */
static inline void conv_table(const conv_problem *p, const float *x, const float *pad, const int64_t *offset,
                              int64_t row, int64_t rows, const float **table) {
  int64_t o[MIEN_WINDOW_RANK], image = row / p->out_pixels;
  conv_locate(p, row % p->out_pixels, o);
  for (int64_t i = 0; i < rows; i++) {
    const float *from = x + image * p->in_pixels * p->in_channels;
    bool inside;
    const int64_t origin = conv_origin(p, o, &inside);
    if (inside)
      for (int64_t t = 0; t < p->taps; t++) table[t * rows + i] = from + origin + offset[t];
    else
      conv_border_pixel(p, from, pad, o, table + i, rows);
    if (!conv_step(p, o)) image++;
  }
}

/* Output coordinates [*low, *high) along d have their windows inside. */
static inline void conv_inside(const mien_window *w, int d, int64_t *low, int64_t *high) {
  const int64_t room = w->in[d] + w->before[d] - (w->kernel[d] - 1) * w->dilation[d]; /* for the first tap */
  *low = conv_min(conv_ceil(w->before[d], w->stride[d]), w->out[d]);
  *high = room > 0 ? conv_min(conv_ceil(room, w->stride[d]), w->out[d]) : 0;
  if (*high < *low) *high = *low;
}

/* The taps of a window's line, which lie one behind the other in X, that begins at pixel `first` of a line of the map and hangs over
** its ends: put together in `to`. */
static inline const float *conv_line_at_edge(const conv_problem *p, const float *line, const float *pad, int64_t first,
                                             float *to) {
  const int64_t taps = p->w.kernel[2], each = p->in_each;
  const int64_t low = first < 0 ? conv_min(-first, taps) : 0; /* taps [low, high) are inside */
  const int64_t high = first < p->w.in[2] ? conv_min(p->w.in[2] - first, taps) : 0;
  memcpy(to, pad, (size_t)(taps * each) * sizeof(float));
  if (low < high) memcpy(to + low * each, line + (first + low) * each, (size_t)((high - low) * each) * sizeof(float));
  return to;
}

/* Pieces of whole lines of a window: `table` [taps / kernel[2]][rows]. Lines outside the map are `pad`, one line of a window;
** those at its ends are put together in `lines`, which has room for all. */
static inline void conv_line_table(const conv_problem *p, const float *x, const float *pad, int64_t row, int64_t rows,
                                   const float **table, float *lines) {
  const mien_window *w = &p->w;
  const int64_t step = w->stride[2] * p->in_each, length = w->kernel[2] * p->in_each;
  int64_t o[MIEN_WINDOW_RANK], low, high;
  conv_inside(w, 2, &low, &high);
  for (int64_t done = 0, count; done < rows; done += count) { /* pixels of one line */
    const float *from = x + (row + done) / p->out_pixels * p->in_pixels * p->in_each, **to = table + done;
    conv_locate(p, (row + done) % p->out_pixels, o);
    count = conv_min(rows - done, w->out[2] - o[2]);
    for (int64_t a = 0; a < w->kernel[0]; a++)
      for (int64_t b = 0; b < w->kernel[1]; b++, to += rows) {
        const int64_t i = o[0] * w->stride[0] - w->before[0] + a * w->dilation[0];
        const int64_t j = o[1] * w->stride[1] - w->before[1] + b * w->dilation[1];
        const bool inside = i >= 0 && i < w->in[0] && j >= 0 && j < w->in[1];
        const float *line = inside ? from + i * p->x_space[0] + j * p->x_space[1] : NULL;
        for (int64_t k = 0; k < count; k++) {
          const int64_t at = o[2] + k, first = at * w->stride[2] - w->before[2];
          to[k] = pad;
          if (!inside) continue;
          if (at < low || at >= high) {
            to[k] = conv_line_at_edge(p, line, pad, first, lines);
            lines += length;
            continue;
          }
          to[k] = line + first * p->in_each;
          for (; k + 1 < count && o[2] + k + 1 < high; k++) to[k + 1] = to[k] + step;
        }
      }
  }
}

/* ---- channels first: a block [depth][rows] of one image, rows along the output */

/* One tap of output pixels o[2] .. o[2] + count of one line, all channels. `inside`: the line is in the input. */
static inline void conv_gather_line(const conv_problem *p, const float *line, bool inside, const float *pad,
                                    int64_t first, int64_t count, float *to, int64_t rows) {
  const int64_t stride = p->w.stride[2], width = p->w.in[2];
  int64_t low = first < 0 ? conv_ceil(-first, stride) : 0;
  int64_t high = first >= width ? 0 : conv_ceil(width - first, stride); /* pixels before this are inside */
  if (!inside) high = 0;
  high = conv_min(high, count);
  low = conv_min(low, high);
  for (int64_t c = 0; c < p->in_each; c++, to += rows) {
    const float fill = pad ? pad[c] : 0;
    for (int64_t i = 0; i < low; i++) to[i] = fill;
    if (low < high) {
      const float *from = line + c * p->x_channel + first + low * stride;
      if (stride == 1)
        memcpy(to + low, from, (size_t)(high - low) * sizeof(float));
      else
        for (int64_t i = low; i < high; i++, from += stride) to[i] = *from;
    }
    for (int64_t i = high; i < count; i++) to[i] = fill;
  }
}

static inline void conv_gather(const conv_problem *p, const float *x, const float *pad, int64_t pixel, int64_t rows,
                               float *block) {
  const mien_window *w = &p->w;
  int64_t o[MIEN_WINDOW_RANK];
  for (int64_t done = 0, count; done < rows; done += count) {
    conv_locate(p, pixel + done, o);
    count = conv_min(rows - done, w->out[2] - o[2]);
    float *to = block + done;
    for (int64_t a = 0; a < w->kernel[0]; a++)
      for (int64_t b = 0; b < w->kernel[1]; b++) {
        const int64_t i = o[0] * w->stride[0] - w->before[0] + a * w->dilation[0];
        const int64_t j = o[1] * w->stride[1] - w->before[1] + b * w->dilation[1];
        const bool inside = i >= 0 && i < w->in[0] && j >= 0 && j < w->in[1];
        const float *line = inside ? x + i * p->x_space[0] + j * p->x_space[1] : x;
        for (int64_t c = 0; c < w->kernel[2]; c++, to += p->in_each * rows)
          conv_gather_line(p, line, inside, pad, o[2] * w->stride[2] - w->before[2] + c * w->dilation[2], count, to,
                           rows);
      }
  }
}

/* ---- weights: W [out, in_each, taps] as a matrix of (tap, channel) rows, packed group by group; or W in panels, which is
** that matrix: [out / columns, taps, in_each, columns] of one group */

/* The type that weights w have outside panels, as *weight; w_columns: of the panels, 0 where there are none: rank is then w's. */
static inline void conv_outside_panels(mien_node *n, const mien_type *w, int rank, mien_type *weight,
                                       int64_t *w_columns) {
  *weight = *w;
  *w_columns = 0;
  if (w->rank != rank + 1) return;
  weight->rank = rank;
  weight->dim[0] = mien_dim(n, '*', w->dim[0], w->dim[w->rank - 1]);
  weight->dim[1] = w->dim[w->rank - 2];
  for (int i = 2; i < rank; i++) weight->dim[i] = w->dim[i - 1];
  *w_columns = w->dim[w->rank - 1];
}
/* The same of W. */
static inline mien_status conv_weight_type(mien_node *n, mien_type *weight, int64_t *w_columns) {
  const mien_type *x = &mien_in(n, 0)->type, *w = &mien_in(n, 1)->type;
  conv_outside_panels(n, w, x->rank, weight, w_columns);
  if (*w_columns && (x->rank < 3 || mien_attr_i(n, "group") != 1))
    return mien_fail(n, MIEN_INVALID_MODEL, "W has rank %d (in panels), X rank %d and group is %lld, expected 1",
                     (int)w->rank, (int)x->rank, (long long)mien_attr_i(n, "group"));
  return MIEN_OK;
}

/* Columns [first, first + count) of group g. */
static inline void conv_pack(const conv_problem *p, const mien_math *math, const float *w, int64_t g, int64_t first,
                             int64_t count, float *packed) {
  if (p->w_columns) { /* of one group */
    panels_pack(math, p->depth, p->w_columns, w, first, count, packed);
    return;
  }
  const float *from = w + (g * p->out_each + first) * p->depth;
  if (p->taps == 1) {
    math->gemm_pack(p->depth, count, from, 1, p->depth, packed);
    return;
  }
  const int64_t width = math->gemm_columns;
  for (int64_t j0 = 0; j0 < count; j0 += width, packed += p->depth * width) {
    const int64_t columns = conv_min(width, count - j0);
    if (columns < width) memset(packed, 0, (size_t)(p->depth * width) * sizeof(float));
    for (int64_t c = 0; c < p->in_each; c++)
      for (int64_t t = 0; t < p->taps; t++)
        for (int64_t j = 0; j < columns; j++)
          packed[(t * p->in_each + c) * width + j] = from[(j0 + j) * p->depth + c * p->taps + t];
  }
}

static inline size_t conv_product_bytes(const conv_problem *p, const mien_math *math) {
  size_t each = math->gemm_pack_bytes(p->depth, p->out_each), bytes;
  return each == SIZE_MAX || __builtin_mul_overflow(each, (size_t)p->group, &bytes) ? SIZE_MAX : bytes;
}
static inline mien_status conv_product_fill(mien_node *n, void *memory) {
  const conv_state *s = mien_state(n);
  const float *w = mien_in(n, 1)->data;
  for (int64_t g = 0; g < s->p.group; g++)
    conv_pack(&s->p, mien_math_of(n), w, g, 0, s->p.out_each, (float *)memory + (size_t)g * s->packed_each);
  return MIEN_OK;
}

/* ---- scratch */

/* Room for count elements behind what is there; false when it overflows. */
static inline bool conv_room(size_t *total, size_t *at, int64_t count, int64_t times, size_t size) {
  size_t bytes;
  *at = *total;
  if (__builtin_mul_overflow((size_t)count, (size_t)times, &bytes)) return false;
  if (__builtin_mul_overflow(bytes, size, &bytes) || bytes > SIZE_MAX / 4) return false;
  return !__builtin_add_overflow(*total, (bytes + 63) / 64 * 64, total);
}

static inline mien_status conv_scratch(mien_node *n, conv_state *s, bool pointers) {
  const conv_problem *p = &s->p;
  size_t total = 0;
  bool fits = conv_room(&total, &s->pads_at, p->channels_last ? p->in_channels : 0, s->together, sizeof(float));
  fits = fits && conv_room(&total, &s->offsets_at, p->taps, 1, sizeof(int64_t));
  fits = fits && conv_room(&total, &s->rows_at, s->chunk, pointers ? p->taps / s->together : 1, sizeof(float *));
  fits = fits && conv_room(&total, &s->block_at, s->chunk, pointers && s->together == 1 ? 0 : p->depth, sizeof(float));
  fits =
      fits && conv_room(&total, &s->panel_at, s->packed ? 0 : p->depth, mien_math_of(n)->gemm_columns, sizeof(float));
  if (!fits) return mien_fail(n, MIEN_LIMIT, "the window is too large");
  return mien_scratch(n, total);
}

static inline void *conv_at(mien_node *n, size_t offset) { return (char *)mien_scratch_of(n) + offset; }

/* Padding values, of the taps of one piece, in memory that the kernel may read whole. */
static inline const float *conv_padding(mien_node *n, const conv_state *s) {
  const mien_tensor *given = mien_in_count(n) > 6 ? mien_in(n, 6) : NULL;
  if (!s->p.channels_last || (given && s->together == 1)) return given ? given->data : NULL;
  float *pads = conv_at(n, s->pads_at);
  const size_t bytes = (size_t)s->p.in_channels * sizeof(float);
  for (int64_t t = 0; t < s->together; t++)
    if (given)
      memcpy(pads + t * s->p.in_channels, given->data, bytes);
    else
      memset(pads + t * s->p.in_channels, 0, bytes);
  return pads;
}

/* The same, and offsets of the taps. */
static inline const float *conv_begin(mien_node *n, const conv_state *s) {
  conv_offsets(&s->p, conv_at(n, s->offsets_at));
  return conv_padding(n, s);
}

/* ---- the product of gathered rows: both layouts, any group */

static inline bool conv_any(const conv_problem *p) {
  (void)p;
  return true;
}

static inline double conv_flops(const conv_problem *p) {
  return 2.0 * (double)p->images * (double)p->out_pixels * (double)p->out_channels * (double)p->depth;
}

/* Nanoseconds of one core for the product of m rows, k deep, with `panels` panels of gemm_columns columns, as measured. With
** fewer than four rows a kernel waits for its own sums or for the panel. */
static inline double conv_product_ns(int64_t m, int64_t k, int64_t panels, const mien_math *math) {
  const double peak = math->gemm_columns >= 16 ? 100 : 14; /* GFLOP/s: with fused operations, without */
  const int64_t blocks = conv_ceil(m, math->gemm_rows);
  const double rows = (double)(m < 4 * blocks ? 4 * blocks : m);
  return 2.0 * rows * (double)k * (double)panels * (double)math->gemm_columns / peak;
}

/* A network's weights do not stay in a cache from one run to the next: they come out of memory, at 28 bytes a nanosecond. */
static inline double conv_weights_ns(double bytes) { return bytes / 28; }

/* `pieces` of a row: a kernel takes up each of a row's in 0.4 ns, and before that 1 ns finds it. */
static inline double conv_pieces_cost(const conv_problem *p, int64_t pieces, const mien_math *math) {
  const int64_t panels = conv_ceil(p->out_each, math->gemm_columns);
  const double weights = (double)p->group * (double)panels * (double)math->gemm_columns * (double)p->depth * 4;
  const double taken = (double)pieces * (double)p->out_pixels * (0.4 * (double)panels + 1);
  return (double)p->images * (double)p->group * (conv_product_ns(p->out_pixels, p->depth, panels, math) + taken) +
         conv_weights_ns(weights) + 1e3;
}
static inline double conv_product_cost(const conv_problem *p, const mien_math *math) {
  return conv_pieces_cost(p, p->channels_last ? p->taps : 1, math);
}

/* Cuts units of `span` rows into chunks of nearly as many rows each, so many that what is gathered of them, row_bytes a row, leaves
** room in a second-level cache, and fewer where that leaves threads without work. */
static inline void conv_cut(mien_node *n, conv_state *s, int64_t cache, int64_t row_bytes) {
  const mien_math *math = mien_math_of(n);
  int64_t rows = conv_min(32 * math->gemm_rows, cache / (row_bytes > 0 ? row_bytes : 1));
  const int64_t others = s->units * s->p.group * s->panels, wanted = 4 * (int64_t)mien_threads(n);
  if (others < wanted) rows = conv_min(rows, conv_ceil(s->span, conv_ceil(wanted, others > 0 ? others : 1)));
  rows = rows < math->gemm_rows ? math->gemm_rows : rows / math->gemm_rows * math->gemm_rows;
  if (s->span > rows) rows = conv_ceil(s->span, conv_ceil(s->span, rows));
  s->chunk = rows < s->span ? rows : s->span;
  if (s->chunk < 1) s->chunk = 1;
  s->chunks = conv_ceil(s->span, s->chunk);
}

/* Items: (unit, chunk, group, panel). */
static inline void conv_product_work(mien_node *n, const conv_state *s) {
  const double flops = 2.0 * (double)s->p.depth * (double)mien_math_of(n)->gemm_columns * (double)s->chunk;
  mien_work(n, s->units * s->chunks * s->p.group * s->panels, flops / 60 + 100);
}

/* `together`: taps a piece. */
static inline mien_status conv_pieces_prepare(mien_node *n, conv_state *s, int64_t together) {
  const conv_problem *p = &s->p;
  s->together = together;
  const mien_math *math = mien_math_of(n);
  const bool last = p->channels_last;
  s->units = last ? 1 : p->images;
  s->span = last ? p->images * p->out_pixels : p->out_pixels;
  s->panels = conv_ceil(p->out_each, math->gemm_columns);
  if (last && together == 1)
    conv_cut(n, s, 64 * 1024, p->taps * (int64_t)sizeof(float *));
  else
    conv_cut(n, s, 256 * 1024, p->depth * (int64_t)sizeof(float));
  MIEN_TRY(conv_scratch(n, s, last));
  conv_product_work(n, s);
  return MIEN_OK;
}
static inline mien_status conv_product_prepare(mien_node *n, conv_state *s) { return conv_pieces_prepare(n, s, 1); }

/* One item range within a chunk and group: panels [panel, panel + take). */
static inline void conv_product_part(mien_node *n, const conv_state *s, const mien_pieces *a, int64_t rows, int64_t g,
                                     int64_t panel, int64_t take, float *y, const mien_epilogue *e) {
  const conv_problem *p = &s->p;
  const mien_math *math = mien_math_of(n);
  const int64_t width = math->gemm_columns, first = g * p->out_each;
  const int64_t row = p->channels_last ? p->out_channels : 1, column = p->channels_last ? 1 : p->out_pixels;
  const int64_t n0 = panel * width, n1 = conv_min((panel + take) * width, p->out_each);
  if (s->packed) {
    const mien_epilogue part = epilogue_at(e, 0, first);
    math->gemm_pieces(rows, p->out_each, a, s->packed + (size_t)g * s->packed_each, y + first * column, row, column, n0,
                      n1, &part);
    return;
  }
  float *packed = conv_at(n, s->panel_at);
  for (int64_t j = n0; j < n1; j += width) {
    const int64_t columns = conv_min(width, n1 - j);
    const mien_epilogue part = epilogue_at(e, 0, first + j);
    conv_pack(p, math, mien_in(n, 1)->data, g, j, columns, packed);
    math->gemm_pieces(rows, columns, a, packed, y + (first + j) * column, row, column, 0, columns, &part);
  }
}

/* Gathers the rows of a chunk for group g. */
static inline mien_pieces conv_rows(mien_node *n, const conv_state *s, const float *pad, int64_t unit, int64_t row,
                                    int64_t rows, int64_t g) {
  const conv_problem *p = &s->p;
  const float **table = conv_at(n, s->rows_at);
  const int64_t channel = g * p->in_each;
  const float *x = (const float *)mien_in(n, 0)->data + channel * p->x_channel;
  if (s->together > 1) {
    conv_line_table(p, x, pad, row, rows, table, conv_at(n, s->block_at));
    const int64_t pieces = p->taps / s->together, length = s->together * p->in_each;
    return (mien_pieces){.rows = table, .stride = rows, .count = pieces, .length = length, .step = 1};
  }
  if (p->channels_last) {
    conv_table(p, x, pad + channel, conv_at(n, s->offsets_at), row, rows, table);
    return (mien_pieces){.rows = table, .stride = rows, .count = p->taps, .length = p->in_each, .step = 1};
  }
  float *block = conv_at(n, s->block_at);
  x += unit * p->in_channels * p->in_pixels;
  conv_gather(p, x, pad ? pad + channel : NULL, row, rows, block);
  for (int64_t i = 0; i < rows; i++) table[i] = block + i;
  return (mien_pieces){.rows = table, .stride = 0, .count = 1, .length = p->depth, .step = rows};
}

/* Items: (unit, chunk, group, panel). */
static inline mien_status conv_product_run(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin,
                                           int64_t end) {
  const conv_problem *p = &s->p;
  const float *pad = conv_begin(n, s);
  for (int64_t item = begin; item < end;) {
    const int64_t panel = item % s->panels, g = item / s->panels % p->group, place = item / s->panels / p->group;
    const int64_t take = conv_min(end - item, s->panels - panel), unit = place / s->chunks;
    const int64_t row = place % s->chunks * s->chunk, rows = conv_min(s->chunk, s->span - row);
    const mien_pieces a = conv_rows(n, s, pad, unit, row, rows, g);
    const int64_t offset = unit * p->out_channels * p->out_pixels + row * (p->channels_last ? p->out_channels : 1);
    mien_epilogue part = *e;
    if (part.residual) part.residual += offset;
    conv_product_part(n, s, &a, rows, g, panel, take, (float *)mien_out(n, 0)->data + offset, &part);
    item += take;
  }
  return MIEN_OK;
}

/* ---- the lines of a window as one piece, channels last, for maps of few channels such as pictures */

static inline bool conv_lines_applies(const conv_problem *p) {
  return p->channels_last && p->group == 1 && p->w.kernel[2] > 1 && p->w.dilation[2] == 1;
}
static inline double conv_lines_cost(const conv_problem *p, const mien_math *math) {
  const mien_window *w = &p->w;
  int64_t edge = conv_ceil(w->before[2], w->stride[2]) + conv_ceil(w->after[2], w->stride[2]);
  edge = conv_min(edge, w->out[2]);
  const double copied = w->out[2] > 0 ? (double)p->out_pixels / (double)w->out[2] * (double)edge : 0;
  return conv_pieces_cost(p, p->taps / w->kernel[2], math) + (double)p->images * copied * (double)p->depth * 0.5;
}
static inline mien_status conv_lines_prepare(mien_node *n, conv_state *s) {
  return conv_pieces_prepare(n, s, s->p.w.kernel[2]);
}

/* ---- 1x1, channels last: the map is the left operand as it lies */

static inline bool conv_pointwise_applies(const conv_problem *p) {
  bool plain = p->channels_last && p->taps == 1 && p->group == 1 && !p->padded;
  for (int d = 0; d < MIEN_WINDOW_RANK; d++) plain = plain && p->w.stride[d] == 1 && p->w.in[d] == p->w.out[d];
  return plain;
}
static inline double conv_pointwise_cost(const conv_problem *p, const mien_math *math) {
  return 0.95 * conv_product_cost(p, math);
}
/* A piece of panels reads the whole map anew, and copies it where all its rows fall onto one set of the first-level cache; one of
** rows reads all weights anew. The larger one is cut. */
static inline mien_status conv_pointwise_prepare(mien_node *n, conv_state *s) {
  MIEN_TRY(conv_product_prepare(n, s));
  const mien_math *math = mien_math_of(n);
  const int64_t copied = s->p.depth % 1024 == 0 ? 3 : 1, rows = 2 * math->gemm_rows;
  if (mien_threads(n) == 1 || !s->packed || s->span <= rows || s->span < s->p.out_channels / copied) return MIEN_OK;
  s->chunk = conv_ceil(s->span, conv_ceil(s->span, rows));
  s->chunks = conv_ceil(s->span, s->chunk);
  conv_product_work(n, s);
  return MIEN_OK;
}
static inline mien_status conv_pointwise_run(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin,
                                             int64_t end) {
  const conv_problem *p = &s->p;
  const mien_math *math = mien_math_of(n);
  if (!s->packed) return conv_product_run(n, s, e, begin, end);
  for (int64_t item = begin, whole; item < end; item += whole) {
    const int64_t panel = item % s->panels, row = item / s->panels * s->chunk;
    int64_t take = conv_min(end - item, s->panels - panel), rows = s->chunk;
    whole = take;
    if (panel == 0 && take == s->panels) { /* all chunks with all panels are one product */
      rows = (end - item) / take * s->chunk;
      whole = (end - item) / take * take;
    }
    rows = conv_min(rows, s->span - row);
    const mien_epilogue part = epilogue_at(e, row, 0);
    math->gemm(rows, p->out_channels, p->depth, (const float *)mien_in(n, 0)->data + row * p->in_channels,
               p->in_channels, s->packed, (float *)mien_out(n, 0)->data + row * p->out_channels, p->out_channels,
               panel * math->gemm_columns, conv_min((panel + take) * math->gemm_columns, p->out_channels), &part);
  }
  return MIEN_OK;
}

/* ---- the choice */

#include "ops/conv_16.h"
#include "ops/conv_depthwise.h"
#include "ops/conv_winograd.h"

static const conv_algorithm conv_algorithms[] = {
    {"product", NULL, conv_any, conv_product_cost, conv_product_prepare, conv_product_bytes, conv_product_fill,
     conv_product_run, true},
    {"product", NULL, conv_lines_applies, conv_lines_cost, conv_lines_prepare, conv_product_bytes, conv_product_fill,
     conv_product_run, true},
    {"product", NULL, conv_pointwise_applies, conv_pointwise_cost, conv_pointwise_prepare, conv_product_bytes,
     conv_product_fill, conv_pointwise_run, true},
    {"depthwise", "depthwise", conv_depthwise_applies, conv_depthwise_cost, conv_depthwise_prepare,
     conv_depthwise_bytes, conv_depthwise_fill, conv_depthwise_run, false},
    CONV_WINOGRADS(CONV_WINOGRAD_ROW)};

/* For operands of 16 bits. */
static const conv_algorithm
    conv_bf16 = {"bf16",       "gemm bf16", conv_any, conv_product_cost, conv_16_prepare, conv_16_bytes,
                 conv_16_fill, conv_16_run, false},
    conv_int16 = {"int16",      "gemm int16", conv_any, conv_product_cost, conv_16_prepare, conv_16_bytes,
                  conv_16_fill, conv_16_run,  false};

static inline const conv_algorithm *conv_choose(const conv_problem *p, const mien_math *math) {
  const conv_algorithm *chosen = NULL;
  conv_problem one = *p;
  one.images = 1;
  double best = 0;
  for (size_t i = 0; i < sizeof conv_algorithms / sizeof *conv_algorithms; i++) {
    const conv_algorithm *a = &conv_algorithms[i];
    if (!a->applies(p)) continue;
    const double cost = a->cost(&one, math);
    if (!chosen || cost < best) chosen = a, best = cost;
  }
  return chosen;
}

/* Constant weights, input `in`, as `fill` packs them for the algorithm `name`; in_panels: as they lie in panels of gemm_columns. `kind`
** has room for CONV_KIND characters and lasts as long as the node. */
static inline mien_status conv_packed(mien_node *n, int in, const conv_problem *p, const char *name, bool in_panels,
                                      size_t bytes, mien_status (*fill)(mien_node *n, void *memory), char *kind,
                                      const float **packed) {
  const mien_tensor *w = mien_in(n, in);
  const void *memory = w->data;
  if (!in_panels || p->w_columns != mien_math_of(n)->gemm_columns) {
    snprintf(kind, CONV_KIND, "conv %s%s %lldx%lldx%lldx%lld by %lld", name, w->type.dtype == MIEN_F16 ? " f16" : "",
             (long long)p->group, (long long)p->out_each, (long long)p->in_each, (long long)p->taps,
             (long long)p->w_columns);
    MIEN_TRY(mien_packed_later(n, in, kind, bytes, fill, &memory));
  }
  *packed = memory;
  return MIEN_OK;
}

static inline mien_status conv_prepare_as(mien_node *n, conv_state *s, const conv_algorithm *algorithm) {
  const conv_problem *p = &s->p;
  s->algorithm = algorithm;
  s->together = 1;
  const size_t bytes = algorithm->bytes(p, mien_math_of(n));
  if (bytes == SIZE_MAX) return mien_fail(n, MIEN_LIMIT, "the weights are too large to pack");
  s->packed_each = bytes / (size_t)p->group / sizeof(float);
  if (p->constant && bytes > 0)
    MIEN_TRY(conv_packed(n, 1, p, algorithm->name, algorithm->in_panels, bytes, algorithm->fill, s->kind, &s->packed));
  MIEN_TRY(algorithm->prepare(n, s));
  epilogue_kernel(n, s->kernel, sizeof s->kernel, algorithm->title, s->packed != NULL || bytes == 0);
  mien_note(n, conv_flops(p), s->kernel);
  return MIEN_OK;
}

/* The state is the node's, its problem is set. */
static inline mien_status conv_prepare(mien_node *n, conv_state *s) {
  s->p.constant = mien_is_constant(n, 1);
  if (s->p.gemm16) {
    const mien_math *math = mien_math_of(n);
    if (!s->p.channels_last)
      return mien_fail(n, MIEN_UNSUPPORTED, "products of %s need channels_last", s->p.gemm16->name);
    return conv_prepare_as(n, s, s->p.gemm16 == math->bf16 ? &conv_bf16 : &conv_int16);
  }
  return conv_prepare_as(n, s, conv_choose(&s->p, mien_math_of(n)));
}

/* Infer: everything about X and W of types x and k and the window. channels_last: X and Y are N, spatial..., C. */
static inline mien_status conv_infer(mien_node *n, const mien_type *x, const mien_type *k, bool channels_last,
                                     uint32_t window_has, mien_window *w, mien_type *y) {
  if (x->rank < 3 || k->rank != x->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "input X has rank %d and W rank %d, expected equal ranks of 3 or more",
                     (int)x->rank, (int)k->rank);
  const int64_t group = mien_attr_i(n, "group"), channels = x->dim[channels_last ? x->rank - 1 : 1];
  if (group < 1) return mien_fail(n, MIEN_INVALID_MODEL, "group is %lld, expected >= 1", (long long)group);
  if (epilogue_differs(channels, mien_dim(n, '*', k->dim[1], group)))
    return mien_fail(n, MIEN_INVALID_MODEL, "X has %lld channels; W takes %lld in %lld groups", (long long)channels,
                     (long long)k->dim[1], (long long)group);
  if (!mien_is_symbol(k->dim[0]) && k->dim[0] % group != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "W has %lld output channels, not a multiple of group %lld",
                     (long long)k->dim[0], (long long)group);
  bool known = true;
  for (int i = 2; i < k->rank; i++) known = known && !mien_is_symbol(k->dim[i]);
  MIEN_TRY(mien_window_read(n, x, channels_last ? 1 : 2, x->rank - 2, known ? k->dim + 2 : NULL, window_has, w));
  *y = *x;
  y->dim[channels_last ? x->rank - 1 : 1] = k->dim[0];
  for (int d = 0; d < w->rank; d++) y->dim[(channels_last ? 1 : 2) + d] = w->out[d];
  return MIEN_OK;
}

#endif
