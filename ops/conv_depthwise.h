/* ops/conv_depthwise.h -- the part of ops/conv.h that runs depthwise convolutions, channels last. An item is a line of output
** pixels or, of long lines, a part of one. The kernel finds the pixels of the map's lines by pointer; those outside it are padding. */
#ifndef MIEN_OPS_CONV_DEPTHWISE_H
#define MIEN_OPS_CONV_DEPTHWISE_H

enum { CONV_DEPTHWISE_TABLES = 16 * 1024 }; /* bytes of pointers that are in use at once */

static inline bool conv_depthwise_applies(const conv_problem *p) {
  return p->channels_last && p->in_each == 1 && p->out_each == 1 && p->group > 1;
}
static inline double conv_depthwise_cost(const conv_problem *p, const mien_math *math) {
  (void)math;
  return conv_flops(p) / 20 + 1e3;
}
/* [taps][channels] */
static inline void conv_depthwise_pack(const conv_problem *p, const float *w, float *packed) {
  for (int64_t c = 0; c < p->out_channels; c++)
    for (int64_t t = 0; t < p->taps; t++) packed[t * p->out_channels + c] = w[c * p->taps + t];
}
static inline mien_status conv_depthwise_fill(mien_node *n, void *memory) {
  const conv_state *s = mien_state(n);
  conv_depthwise_pack(&s->p, mien_in(n, 1)->data, memory);
  return MIEN_OK;
}
static inline size_t conv_depthwise_bytes(const conv_problem *p, const mien_math *math) {
  (void)math;
  size_t bytes;
  if (__builtin_mul_overflow((size_t)p->taps, (size_t)p->out_channels, &bytes)) return SIZE_MAX;
  return __builtin_mul_overflow(bytes, sizeof(float), &bytes) ? SIZE_MAX : bytes;
}

/* Pixels of a line of the map, with padding, that `count` neighbouring output pixels take. */
static inline int64_t conv_depthwise_pixels(const conv_problem *p, int64_t count) {
  const mien_window *w = &p->w;
  return count > 0 ? (count - 1) * w->stride[2] + (w->kernel[2] - 1) * w->dilation[2] + 1 : 0;
}

static inline mien_status conv_depthwise_prepare(mien_node *n, conv_state *s) {
  const conv_problem *p = &s->p;
  const mien_window *w = &p->w;
  const int64_t lines = w->kernel[0] * w->kernel[1], step = w->stride[2] * lines * (int64_t)sizeof(float *);
  const int64_t parts = conv_ceil(w->out[2], conv_ceil(CONV_DEPTHWISE_TABLES, step));
  s->units = 1;
  s->chunk = parts > 1 ? conv_ceil(w->out[2], parts) : w->out[2];
  s->panels = parts > 1 ? conv_ceil(w->out[2], s->chunk) : 1; /* parts of a line */
  s->span = p->images * p->out_pixels;
  s->chunks = w->out[2] > 0 ? s->span / w->out[2] : 0; /* lines */
  size_t total = 0, tables = 0;
  bool fits = conv_room(&tables, &s->rows_at, conv_depthwise_pixels(p, s->chunk), lines, sizeof(float *));
  s->lines = 1;
  if (s->panels == 1 && tables > 0) s->lines = conv_min(w->out[1], conv_ceil(CONV_DEPTHWISE_TABLES, (int64_t)tables));
  fits = fits && conv_room(&total, &s->pads_at, p->in_channels, 1, sizeof(float));
  fits = fits && conv_room(&total, &s->offsets_at, s->lines, lines, sizeof(float **));
  fits = fits && conv_room(&total, &s->rows_at, s->lines, (int64_t)tables, 1);
  fits = fits && conv_room(&total, &s->panel_at, s->packed ? 0 : p->taps, p->out_channels, sizeof(float));
  if (!fits) return mien_fail(n, MIEN_LIMIT, "the window is too large");
  MIEN_TRY(mien_scratch(n, total));
  const double vectors = (double)p->out_channels / (double)mien_math_of(n)->gemm_columns;
  mien_work(n, s->chunks * s->panels, 1.3 * (double)p->taps * vectors * (double)s->chunk + 100);
  return MIEN_OK;
}

/* What the kernel is told, but for the pixels. */
static inline mien_depthwise conv_depthwise_of(const conv_problem *p, const float *packed) {
  return (mien_depthwise){.w = packed,
                          .lines = p->w.kernel[0] * p->w.kernel[1],
                          .width = p->w.kernel[2],
                          .stride = p->w.stride[2],
                          .dilation = p->w.dilation[2],
                          .channels = p->out_channels};
}

typedef struct conv_depthwise_job {
  const conv_problem *p;
  const mien_math *math;
  const float *x, *pad;
  const float *const **pixels; /* lines of windows, of every output line */
  const float **table;         /* of their pixels */
  float *y;
  const mien_epilogue *e;
  mien_depthwise d;
} conv_depthwise_job;

/* Pointers at `count` pixels of line (i, j) of a map, from pixel `first` on. All may be outside. */
static inline void conv_depthwise_line(const conv_depthwise_job *q, const float *map, int64_t i, int64_t j,
                                       int64_t first, int64_t count, const float **table) {
  const conv_problem *p = q->p;
  const mien_window *w = &p->w;
  const int64_t step = p->x_space[2];
  const bool inside = i >= 0 && i < w->in[0] && j >= 0 && j < w->in[1] && first < w->in[2] && first + count > 0;
  const int64_t low = !inside ? count : first < 0 ? -first : 0;
  const int64_t high = inside ? conv_min(w->in[2] - first, count) : count;
  const float *at = inside ? map + i * p->x_space[0] + j * p->x_space[1] + (first + low) * step : q->pad;
  int64_t k = 0;
  for (; k < low; k++) table[k] = q->pad;
  for (; k < high; k++, at += step) table[k] = at;
  for (; k < count; k++) table[k] = q->pad;
}

/* Pointers for output pixels [row, row + take) and those below them, `count` lines in all. Lines that a window shares with the one
** above are there already. */
static inline void conv_depthwise_tables(const conv_depthwise_job *q, int64_t row, int64_t take, int64_t count) {
  const conv_problem *p = q->p;
  const mien_window *w = &p->w;
  const int64_t tall = w->kernel[1], lines = w->kernel[0] * tall, pixels = conv_depthwise_pixels(p, take);
  const int64_t down = w->stride[1] % w->dilation[1] == 0 ? w->stride[1] / w->dilation[1] : tall;
  const float *map = q->x + row / p->out_pixels * p->in_pixels * p->in_channels;
  const float **free = q->table;
  int64_t o[MIEN_WINDOW_RANK];
  conv_locate(p, row % p->out_pixels, o);
  for (int64_t l = 0; l < count; l++)
    for (int64_t a = 0; a < lines; a++) {
      const float *const **to = q->pixels + l * lines + a;
      if (l > 0 && a % tall + down < tall) {
        *to = to[down - lines];
        continue;
      }
      const int64_t i = o[0] * w->stride[0] - w->before[0] + a / tall * w->dilation[0];
      const int64_t j = (o[1] + l) * w->stride[1] - w->before[1] + a % tall * w->dilation[1];
      conv_depthwise_line(q, map, i, j, o[2] * w->stride[2] - w->before[2], pixels, free);
      *to = free;
      free += pixels;
    }
}

static inline mien_status conv_depthwise_run(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin,
                                             int64_t end) {
  const conv_problem *p = &s->p;
  const int64_t tall = p->w.out[1], width = p->w.out[2], lines = p->w.kernel[0] * p->w.kernel[1];
  conv_depthwise_job q = {.p = p, .math = mien_math_of(n), .x = mien_in(n, 0)->data, .e = e};
  q.d = conv_depthwise_of(p, s->packed);
  q.pad = conv_padding(n, s);
  q.pixels = conv_at(n, s->offsets_at);
  q.table = conv_at(n, s->rows_at);
  q.y = mien_out(n, 0)->data;
  if (!q.d.w) {
    float *packed = conv_at(n, s->panel_at);
    conv_depthwise_pack(p, mien_in(n, 1)->data, packed);
    q.d.w = packed;
  }
  for (int64_t item = begin, count; item < end; item += count) {
    const int64_t line = item / s->panels, first = item % s->panels * s->chunk;
    const int64_t take = conv_min(s->chunk, width - first);
    count = conv_min(conv_min(end - item, s->lines), tall - line % tall);
    conv_depthwise_tables(&q, line * width + first, take, count);
    for (int64_t l = 0; l < count; l++) {
      const int64_t row = (line + l) * width + first;
      const mien_epilogue part = epilogue_at(e, row, 0);
      q.d.pixels = q.pixels + l * lines;
      q.math->depthwise(take, &q.d, q.y + row * p->out_channels, p->out_channels, &part);
    }
  }
  return MIEN_OK;
}

#endif
