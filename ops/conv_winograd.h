/* ops/conv_winograd.h -- the part of ops/conv.h that runs 3x3 convolutions of stride 1 or 2 by Winograd's method, channels last. Tiles of all
** images are cut into chunks whose transformed inputs V stay in the second-level cache: an item transforms a chunk and
** multiplies it with every panel of weights. A map of few chunks goes in two phases instead, so that all threads are
** busy and weights pass once: all threads fill one V in the caller's scratch, then items are panels and chunks of it.
** Transformed weights are four times as many bytes as the weights; of a network they come out of memory on every run. Where
** few tiles use them it is cheaper to read the weights as they are and to transform them each time ("raw").
** An infinity in X makes its whole tile NaN, as the transforms subtract it from itself: tiles that are not finite are done
** again as a product of gathered rows, from the weights as they are, and have the bits that the product has. */
#ifndef MIEN_OPS_CONV_WINOGRAD_H
#define MIEN_OPS_CONV_WINOGRAD_H

#include <math.h>

enum {
  CONV_WINOGRAD_CACHE = 640 * 1024,       /* of V and M of a chunk */
  CONV_WINOGRAD_SHARED = 4 * 1024 * 1024, /* of V that threads share */
  CONV_WINOGRAD_OWN = 1024 * 1024,        /* of V, where each thread makes it for itself */
  CONV_WINOGRAD_CHUNK = 64,               /* tiles, where V is shared */
  CONV_WINOGRAD_RAW_CHUNK = 128           /* tiles, where weights are transformed in passing: once a chunk */
};

static inline bool conv_winograd_applies(const conv_problem *p, int stride) {
  const mien_window *w = &p->w;
  bool fits = p->channels_last && p->constant && p->group == 1 && p->in_channels > 0 && p->out_channels > 0;
  fits = fits && w->kernel[0] == 1 && w->in[0] == 1 && w->out[0] == 1 && w->before[0] == 0;
  for (int d = 1; d < MIEN_WINDOW_RANK; d++)
    fits = fits && w->kernel[d] == 3 && w->stride[d] == stride && w->dilation[d] == 1 && w->out[d] > 0;
  return fits;
}

static inline int64_t conv_winograd_tiles(const conv_problem *p, int size) {
  return conv_ceil(p->w.out[1], size) * conv_ceil(p->w.out[2], size);
}

/* Of more tiles than these, an image's weights are used often enough. */
static inline bool conv_winograd_few(const conv_problem *p) {
  return conv_winograd_tiles(p, 4) <= CONV_WINOGRAD_RAW_CHUNK;
}

static inline int64_t conv_winograd_points(const mien__winograd_shape *s) {
  return (int64_t)mien__winograd_pixels(s) * mien__winograd_pixels(s);
}
/* Transforms of a channel's weights. */
static inline int64_t conv_winograd_matrices(int size) { return (int64_t)(size + 2) * (size + 2); }

static inline mien__winograd_shape conv_winograd_shape(const conv_problem *p, int size, const mien_math *math) {
  const int64_t vector = mien__winograd_of(math)->vector;
  mien__winograd_shape s = {
      .size = size, .in_channels = p->in_channels, .out_channels = p->out_channels, .w_columns = p->w_columns};
  s.stride = (int)p->w.stride[1];
  s.v_row = conv_ceil(p->in_channels, vector) * vector;
  if (s.v_row % 256 == 0) s.v_row += 16; /* rows of a block on different sets of the first-level cache */
  return s;
}

/* Strides between points, an odd number of cache lines for the same reason. */
static inline void conv_winograd_steps(mien__winograd_shape *s, int64_t tiles, int64_t columns) {
  s->v_step = (conv_ceil(tiles * s->v_row, 16) | 1) * 16;
  s->m_step = (conv_ceil(tiles * columns, 16) | 1) * 16;
}

static inline size_t conv_winograd_bytes(const conv_problem *p, int size, const mien_math *math) {
  size_t bytes = math->gemm_pack_bytes(p->in_channels, p->out_channels);
  if (bytes == SIZE_MAX || __builtin_mul_overflow(bytes, (size_t)conv_winograd_matrices(size), &bytes)) return SIZE_MAX;
  return bytes;
}

/* As measured, of vectors: one of V or M costs 1.2 ns to make and to use; one of transformed weights 0.7 ns where a block of rows holds
** all tiles, which then are formed from a third of them in registers, and 2 ns where they are stored and read. */
static inline double conv_winograd_cost(const conv_problem *p, int size, bool raw, const mien_math *math) {
  const int64_t panels = conv_ceil(p->out_channels, math->gemm_columns), tiles = conv_winograd_tiles(p, size);
  const int64_t vector = mien__winograd_of(math)->vector;
  const mien__winograd_shape shape = conv_winograd_shape(p, size, math);
  const double points = (double)conv_winograd_points(&shape), places = (double)p->images * (double)tiles * points;
  const double vectors = (double)conv_ceil(p->in_channels, vector) + 2.0 * (double)panels;
  const double elements = (double)conv_winograd_bytes(p, size, math) / sizeof(float);
  const double weights = raw ? conv_weights_ns(9.0 / (double)conv_winograd_matrices(size) * elements * sizeof(float)) +
                                   (p->images * tiles <= math->gemm_rows ? 0.7 : 2.0) * elements / (double)vector *
                                       (double)conv_ceil(p->images * tiles, CONV_WINOGRAD_RAW_CHUNK)
                             : conv_weights_ns(elements * sizeof(float));
  return (double)p->images * points * conv_product_ns(tiles, p->in_channels, panels, math) + places * vectors * 1.2 +
         weights + 3e3;
}

static inline mien_status conv_winograd_fill(mien_node *n, int size, void *memory) {
  const conv_state *s = mien_state(n);
  const mien_math *math = mien_math_of(n);
  const mien__winograd_shape shape = conv_winograd_shape(&s->p, size, math);
  mien__winograd_of(math)->pack(&shape, mien_in(n, 1)->data, memory);
  return MIEN_OK;
}

/* Chunks where weights are transformed in passing: as few as the caches allow. */
static inline void conv_winograd_plan_raw(conv_state *s) {
  const int64_t tile = conv_winograd_points(&s->winograd) * s->winograd.v_row * (int64_t)sizeof(float);
  const int64_t fit = conv_min(CONV_WINOGRAD_RAW_CHUNK, CONV_WINOGRAD_SHARED / tile);
  const int64_t pieces = conv_ceil(s->span, fit < 1 ? 1 : fit);
  s->phases = true;
  s->chunks_once = 1;
  s->chunk = pieces > 0 ? conv_ceil(s->span, pieces) : 1;
  s->chunks = conv_ceil(s->span, s->chunk);
  s->each = pieces == 1 && s->span * tile <= CONV_WINOGRAD_OWN;
}

/* Chunks and phases for so many tiles. Chunks with V of their own are best: as many for each thread, of a block of rows or
** more. Where that leaves threads without work, V is shared. */
static inline void conv_winograd_plan(conv_state *s, const mien_math *math, int threads) {
  const int64_t tiles = s->span, columns = math->gemm_columns;
  const int64_t points = conv_winograd_points(&s->winograd), row = s->winograd.v_row;
  const int64_t fit = CONV_WINOGRAD_CACHE / (points * (row + columns) * (int64_t)sizeof(float));
  int64_t chunk = conv_min(4, fit / math->gemm_rows) * math->gemm_rows;
  if (chunk < math->gemm_rows) chunk = math->gemm_rows;
  const int64_t rounds = tiles > 0 ? conv_ceil(conv_ceil(tiles, chunk), threads) : 1;
  s->phases = tiles < math->gemm_rows * rounds * threads;
  s->chunks_once = 1;
  if (s->phases) {
    const int64_t wanted = 2 * (int64_t)threads;
    int64_t pieces = conv_ceil(tiles, CONV_WINOGRAD_CHUNK);
    if (threads > 1 && pieces * s->panels < wanted) pieces = conv_ceil(wanted, s->panels);
    chunk = pieces > 0 ? conv_ceil(tiles, pieces) : 1;
  } else {
    chunk = conv_ceil(tiles, rounds * threads);
  }
  if (chunk > tiles) chunk = tiles;
  s->chunk = chunk < 1 ? 1 : chunk;
  s->chunks = conv_ceil(tiles, s->chunk);
  if (!s->phases) return;
  s->chunks_once = CONV_WINOGRAD_SHARED / (int64_t)sizeof(float) / points / row / s->chunk;
  s->chunks_once = s->chunks_once < 1 ? 1 : conv_min(s->chunks_once, s->chunks > 0 ? s->chunks : 1);
}

static inline mien_status conv_winograd_prepare(mien_node *n, conv_state *s, int size, bool raw) {
  const conv_problem *p = &s->p;
  const mien_math *math = mien_math_of(n);
  if (p->in_channels > INT32_MAX) return mien_fail(n, MIEN_LIMIT, "the convolution has too many channels");
  s->down = conv_ceil(p->w.out[1], size);
  s->across = conv_ceil(p->w.out[2], size);
  s->units = 1;
  s->span = p->images * s->down * s->across;
  s->panels = conv_ceil(p->out_channels, math->gemm_columns);
  s->winograd = conv_winograd_shape(p, size, math);
  const int64_t points = conv_winograd_points(&s->winograd);
  s->raw = raw;
  if (raw)
    conv_winograd_plan_raw(s);
  else
    conv_winograd_plan(s, math, mien_threads(n));
  conv_winograd_steps(&s->winograd, s->chunk, math->gemm_columns);
  size_t total = 0;
  bool fits = conv_room(&total, &s->pads_at, p->in_channels, 1, sizeof(float));
  fits = fits && conv_room(&total, &s->offsets_at, p->taps, 1, sizeof(int64_t));
  fits = fits && conv_room(&total, &s->v_at, s->chunks_once * points, s->winograd.v_step, sizeof(float));
  fits = fits && conv_room(&total, &s->m_at, points, s->winograd.m_step, sizeof(float));
  fits = fits && conv_room(&total, &s->ready_at, mien_threads(n), 1, sizeof(bool));
  const int64_t block = MIEN_WINOGRAD_BLOCK * math->gemm_columns + MIEN_WINOGRAD_SKEW;
  fits = fits && conv_room(&total, &s->u_at, raw ? conv_winograd_matrices(size) : 0, block, sizeof(float));
  fits = fits && conv_room(&total, &s->panel_at, raw ? 0 : p->depth, math->gemm_columns, sizeof(float));
  if (!fits) return mien_fail(n, MIEN_LIMIT, "the convolution has too many channels");
  MIEN_TRY(mien_scratch(n, total));
  const double cost = conv_winograd_cost(p, size, raw, math) * (double)p->images;
  mien_work(n, s->phases ? s->span > 0 : s->chunks, s->phases ? cost : cost / (double)(s->chunks > 0 ? s->chunks : 1));
  return MIEN_OK;
}

/* ---- run */

typedef struct conv_winograd_run_state {
  const conv_state *s;
  const mien__winograd *kernels;
  const mien_epilogue *e;
  const float *pad;
  float *v;            /* of chunk `first` */
  int64_t first, last; /* chunks */
  bool *ready;         /* by thread: it has made its own V */
} conv_winograd_run_state;

/* The inputs of tile `tile` of all. */
static inline void conv_winograd_pixels(mien_node *n, const conv_winograd_run_state *r, int64_t tile,
                                        const float **pixels) {
  const conv_state *s = r->s;
  const conv_problem *p = &s->p;
  const int64_t points = mien__winograd_pixels(&s->winograd), step = s->winograd.size * s->winograd.stride;
  const int64_t image = tile / (s->down * s->across), place = tile % (s->down * s->across);
  const int64_t top = place / s->across * step - p->w.before[1], left = place % s->across * step - p->w.before[2];
  const float *x = (const float *)mien_in(n, 0)->data + image * p->in_pixels * p->in_channels;
  for (int64_t i = 0; i < points; i++)
    for (int64_t j = 0; j < points; j++) {
      const int64_t a = top + i, b = left + j;
      const bool inside = a >= 0 && a < p->w.in[1] && b >= 0 && b < p->w.in[2];
      pixels[i * points + j] = inside ? x + a * p->x_space[1] + b * p->x_space[2] : r->pad;
    }
}

/* Tile `tile` of all into V, which begins at its place. */
static inline void conv_winograd_in(mien_node *n, const conv_winograd_run_state *r, int64_t tile, float *v) {
  const float *pixels[MIEN_WINOGRAD_POINTS];
  conv_winograd_pixels(n, r, tile, pixels);
  r->kernels->input(&r->s->winograd, pixels, v);
}

/* Whether a NaN lies under the window of each of a tile's rows x across outputs. */
static inline bool conv_winograd_lost(const conv_winograd_run_state *r, const float *const *pixels, int64_t rows,
                                      int64_t across) {
  const int64_t points = mien__winograd_pixels(&r->s->winograd), stride = r->s->winograd.stride;
  bool lost[MIEN_WINOGRAD_POINTS];
  for (int64_t i = 0; i < points * points; i++) lost[i] = r->kernels->has_nan(pixels[i], r->s->p.in_channels);
  for (int64_t i = 0; i < rows; i++)
    for (int64_t j = 0; j < across; j++) {
      bool any = false;
      for (int64_t t = 0; t < 9; t++) any = any || lost[(i * stride + t / 3) * points + j * stride + t % 3];
      if (!any) return false;
    }
  return true;
}

/* The weights of a panel as gemm_pack lays them out: they are so in memory, or packed now from W. */
static inline const float *conv_winograd_plain(mien_node *n, const conv_state *s, const float *weights, int64_t column,
                                               int64_t columns) {
  if (s->raw) return weights;
  float *panel = conv_at(n, s->panel_at);
  conv_pack(&s->p, mien_math_of(n), mien_in(n, 1)->data, 0, column, columns, panel);
  return panel;
}

/* A tile's outputs of one panel, of which rows x across exist, by the product of gathered rows; where they can only be NaN,
** without it. *plain: conv_winograd_plain of the panel, NULL until it is needed. */
static inline void conv_winograd_again(mien_node *n, const conv_winograd_run_state *r, int64_t tile, int64_t rows,
                                       int64_t across, const float *weights, int64_t column, int64_t columns,
                                       const float **plain, float *y) {
  const mien_math *math = mien_math_of(n);
  const int64_t size = r->s->winograd.size, stride = r->s->winograd.stride, count = size * size;
  const int64_t points = mien__winograd_pixels(&r->s->winograd);
  const float *pixels[MIEN_WINOGRAD_POINTS], *table[9 * MIEN_WINOGRAD_PIXELS];
  conv_winograd_pixels(n, r, tile, pixels);
  if (conv_winograd_lost(r, pixels, rows, across)) {
    for (int64_t i = 0; i < count * math->gemm_columns; i++) y[i] = NAN;
    return;
  }
  if (!*plain) *plain = conv_winograd_plain(n, r->s, weights, column, columns);
  for (int64_t t = 0; t < 9; t++)
    for (int64_t i = 0; i < count; i++)
      table[t * count + i] = pixels[(i / size * stride + t / 3) * points + i % size * stride + t % 3];
  const mien_pieces a = {.rows = table, .stride = count, .count = 9, .length = r->s->p.in_channels, .step = 1};
  math->gemm_pieces(count, columns, &a, *plain, y, math->gemm_columns, 1, 0, columns, NULL);
}

/* Panels [panel, end) of a chunk whose V is given. */
static inline void conv_winograd_out(mien_node *n, const conv_winograd_run_state *r, int64_t chunk, const float *v,
                                     int64_t panel, int64_t end) {
  const conv_state *s = r->s;
  const conv_problem *p = &s->p;
  const int64_t size = s->winograd.size, width = mien_math_of(n)->gemm_columns;
  const int64_t first = chunk * s->chunk, tiles = conv_min(s->chunk, s->span - first);
  const int64_t panel_size = (s->raw ? 9 : conv_winograd_matrices((int)size)) * p->in_channels * width;
  float *m = conv_at(n, s->m_at), *y = mien_out(n, 0)->data;
  for (; panel < end; panel++) {
    const float *weights = s->packed + panel * panel_size;
    const float *plain = NULL;
    const float *next = panel + 1 < s->panels ? weights + panel_size : NULL;
    const int64_t column = panel * width, columns = conv_min(width, p->out_channels - column);
    if (s->raw)
      r->kernels->product_raw(&s->winograd, tiles, columns, v, weights, next, conv_at(n, s->u_at), m);
    else
      r->kernels->product(&s->winograd, tiles, columns, v, weights, next, m);
    for (int64_t t = 0; t < tiles; t++) {
      const int64_t image = (first + t) / (s->down * s->across), place = (first + t) % (s->down * s->across);
      const int64_t row = place / s->across * size, pixel = place % s->across * size;
      const int64_t rows = conv_min(size, p->w.out[1] - row), across = conv_min(size, p->w.out[2] - pixel);
      const int64_t at = image * p->out_pixels + row * p->w.out[2] + pixel;
      _Alignas(64) float tile[MIEN_WINOGRAD_PIXELS * MIEN_WINOGRAD_COLUMNS];
      if (!r->kernels->output(&s->winograd, m + t * width, columns, tile))
        conv_winograd_again(n, r, first + t, rows, across, weights, column, columns, &plain, tile);
      r->kernels->finish(&s->winograd, tile, rows, across, p->w.out[2], column, columns,
                         y + at * p->out_channels + column, at, r->e);
    }
  }
}

/* The place of tile `tile` in V. */
static inline float *conv_winograd_place(const conv_winograd_run_state *r, int64_t tile) {
  const mien__winograd_shape *shape = &r->s->winograd;
  const int64_t chunk = tile / r->s->chunk - r->first, row = tile % r->s->chunk;
  return r->v + chunk * conv_winograd_points(shape) * shape->v_step + row * shape->v_row;
}

/* Items: tiles from those of chunk `first` on. */
static inline mien_status conv_winograd_phase_in(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const conv_winograd_run_state *r = arg;
  for (int64_t i = begin; i < end; i++) {
    const int64_t tile = r->first * r->s->chunk + i;
    conv_winograd_in(n, r, tile, conv_winograd_place(r, tile));
  }
  return MIEN_OK;
}

/* Items: (panel, chunk from `first` on), or where there is one chunk consecutive panels together. */
static inline mien_status conv_winograd_phase_out(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const conv_winograd_run_state *r = arg;
  const int64_t chunks = r->last - r->first;
  if (chunks == 1) {
    conv_winograd_out(n, r, r->first, r->v, begin, end);
    return MIEN_OK;
  }
  for (int64_t i = begin; i < end; i++) {
    const int64_t chunk = r->first + i % chunks, panel = i / chunks;
    conv_winograd_out(n, r, chunk, conv_winograd_place(r, chunk * r->s->chunk), panel, panel + 1);
  }
  return MIEN_OK;
}

/* Items: panels; V is so small that a thread sooner makes its own than it fetches the half that another one made. */
static inline mien_status conv_winograd_each(mien_node *n, void *arg, int64_t begin, int64_t end) {
  conv_winograd_run_state own = *(const conv_winograd_run_state *)arg;
  bool *ready = &own.ready[mien_lane(n)];
  own.v = conv_at(n, own.s->v_at);
  if (!*ready) MIEN_TRY(conv_winograd_phase_in(n, &own, 0, own.s->span));
  *ready = true;
  conv_winograd_out(n, &own, 0, own.v, begin, end);
  return MIEN_OK;
}

static inline mien_status conv_winograd_run_phases(mien_node *n, conv_winograd_run_state *r) {
  const conv_state *s = r->s;
  const int64_t points = conv_winograd_points(&s->winograd);
  const double in_cost = (double)points * (double)s->winograd.v_row / 16;
  const double out_cost = (double)points * conv_product_ns(s->chunk, s->p.in_channels, 1, mien_math_of(n));
  if (s->each) {
    r->ready = conv_at(n, s->ready_at);
    memset(r->ready, 0, (size_t)mien_threads(n) * sizeof *r->ready);
    return mien_parallel(n, s->panels, out_cost, conv_winograd_each, r);
  }
  for (; r->first < s->chunks; r->first = r->last) {
    r->last = conv_min(s->chunks, r->first + s->chunks_once);
    const int64_t tiles = conv_min(s->span, r->last * s->chunk) - r->first * s->chunk;
    MIEN_TRY(mien_parallel(n, tiles, in_cost, conv_winograd_phase_in, r));
    MIEN_TRY(mien_parallel(n, (r->last - r->first) * s->panels, out_cost, conv_winograd_phase_out, r));
  }
  return MIEN_OK;
}

static inline mien_status conv_winograd_run(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin,
                                            int64_t end) {
  conv_winograd_run_state r = {.s = s, .kernels = mien__winograd_of(mien_math_of(n)), .e = e, .pad = conv_begin(n, s)};
  r.v = conv_at(n, s->v_at);
  if (s->phases) return conv_winograd_run_phases(n, &r);
  for (int64_t chunk = begin; chunk < end; chunk++) {
    r.first = chunk;
    const int64_t tiles = conv_min(s->chunk, s->span - chunk * s->chunk);
    MIEN_TRY(conv_winograd_phase_in(n, &r, 0, tiles));
    conv_winograd_out(n, &r, chunk, r.v, 0, s->panels);
  }
  return MIEN_OK;
}

/* ---- the algorithms: name, title, size, stride, weights transformed in passing */

#define CONV_WINOGRADS(X)                                     \
  X(winograd2, "F(2,3)", 2, 1, false)                         \
  X(winograd4, "F(4,3)", 4, 1, false)                         \
  X(winograd5, "F(5,3)", 5, 1, false)                         \
  X(winograd2_raw, "F(2,3) raw", 2, 1, true)                  \
  X(winograd4_raw, "F(4,3) raw", 4, 1, true)                  \
  X(winograd5_raw, "F(5,3) raw", 5, 1, true)                  \
  X(winograd4_stride2, "F(4,3) stride 2", 4, 2, false)        \
  X(winograd5_stride2, "F(5,3) stride 2", 5, 2, false)        \
  X(winograd4_stride2_raw, "F(4,3) stride 2 raw", 4, 2, true) \
  X(winograd5_stride2_raw, "F(5,3) stride 2 raw", 5, 2, true)

#define X(name, title, size, stride, raw)                                                  \
  static inline bool conv_##name##_applies(const conv_problem *p) {                        \
    return conv_winograd_applies(p, stride) && (!(raw) || conv_winograd_few(p));           \
  }                                                                                        \
  static inline double conv_##name##_cost(const conv_problem *p, const mien_math *math) {  \
    return conv_winograd_cost(p, size, raw, math);                                         \
  }                                                                                        \
  static inline size_t conv_##name##_bytes(const conv_problem *p, const mien_math *math) { \
    return (raw) ? conv_product_bytes(p, math) : conv_winograd_bytes(p, size, math);       \
  }                                                                                        \
  static inline mien_status conv_##name##_fill(mien_node *n, void *memory) {               \
    return (raw) ? conv_product_fill(n, memory) : conv_winograd_fill(n, size, memory);     \
  }                                                                                        \
  static inline mien_status conv_##name##_prepare(mien_node *n, conv_state *s) {           \
    return conv_winograd_prepare(n, s, size, raw);                                         \
  }
CONV_WINOGRADS(X)
#undef X

#define CONV_WINOGRAD_ROW(name, title, size, stride, raw) \
  {#name,                                                 \
   "winograd " title,                                     \
   conv_##name##_applies,                                 \
   conv_##name##_cost,                                    \
   conv_##name##_prepare,                                 \
   conv_##name##_bytes,                                   \
   conv_##name##_fill,                                    \
   conv_winograd_run,                                     \
   raw},

#endif
