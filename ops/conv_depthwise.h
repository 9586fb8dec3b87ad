/* ops/conv_depthwise.h -- the part of ops/conv.h that runs depthwise convolutions, channels last. An item is a line of output
** pixels. Where a window hangs over the map its taps are found by a table of pointers; the pixels between, whose windows lie
** inside, are found from the first one. */
#ifndef MIEN_OPS_CONV_DEPTHWISE_H
#define MIEN_OPS_CONV_DEPTHWISE_H

enum { CONV_DEPTHWISE_EDGE = 8 }; /* pixels that are computed together at an edge: a block of the kernel */

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

static inline mien_status conv_depthwise_prepare(mien_node *n, conv_state *s) {
  const conv_problem *p = &s->p;
  s->units = s->panels = 1;
  s->chunk = p->w.out[2];
  s->span = p->images * p->out_pixels;
  s->chunks = s->chunk > 0 ? s->span / s->chunk : 0;
  size_t total = 0;
  bool fits = conv_room(&total, &s->pads_at, p->in_channels, 1, sizeof(float));
  fits = fits && conv_room(&total, &s->offsets_at, p->taps, 1, sizeof(int64_t));
  fits = fits && conv_room(&total, &s->rows_at, conv_min(s->chunk, CONV_DEPTHWISE_EDGE), p->taps, sizeof(float *));
  fits = fits && conv_room(&total, &s->panel_at, s->packed ? 0 : p->taps, p->out_channels, sizeof(float));
  if (!fits) return mien_fail(n, MIEN_LIMIT, "the window is too large");
  MIEN_TRY(mien_scratch(n, total));
  const double vectors = (double)p->out_channels / (double)mien_math_of(n)->gemm_columns;
  mien_work(n, s->chunks, 1.3 * (double)p->taps * vectors * (double)s->chunk + 100);
  return MIEN_OK;
}

typedef struct conv_depthwise_job {
  const conv_problem *p;
  const mien_math *math;
  const float *x, *pad, *w;
  const int64_t *offset;
  const float **table;
  float *y;
  const mien_epilogue *e;
} conv_depthwise_job;

/* Pixels [row, row + count) of all, anywhere. */
static inline void conv_depthwise_edge(const conv_depthwise_job *j, int64_t row, int64_t count) {
  const conv_problem *p = j->p;
  for (int64_t take, blocks = conv_ceil(count, CONV_DEPTHWISE_EDGE); blocks > 0; blocks--, row += take, count -= take) {
    take = count / blocks;
    conv_table(p, j->x, j->pad, j->offset, row, take, j->table);
    const mien_pieces a = {.rows = j->table, .stride = take, .count = p->taps, .length = p->in_channels, .step = 1};
    const mien_epilogue part = epilogue_at(j->e, row, 0);
    j->math->depthwise(take, &a, j->w, j->y + row * p->out_channels, p->out_channels, &part);
  }
}

/* Pixels of one line whose windows are inside. */
static inline void conv_depthwise_between(const conv_depthwise_job *j, int64_t row, int64_t count) {
  const conv_problem *p = j->p;
  conv_table(p, j->x, j->pad, j->offset, row, 1, j->table);
  const mien_pieces a = {.rows = j->table, .stride = 1, .count = p->taps, .length = p->in_channels, .step = 1};
  const mien_epilogue part = epilogue_at(j->e, row, 0);
  j->math->depthwise_line(count, p->w.stride[2] * p->x_space[2], &a, j->w, j->y + row * p->out_channels,
                          p->out_channels, &part);
}

static inline void conv_depthwise_one_line(const conv_depthwise_job *j, int64_t line) {
  const conv_problem *p = j->p;
  const int64_t width = p->w.out[2], row = line * width;
  int64_t o[MIEN_WINDOW_RANK], low, high, first, last;
  conv_locate(p, row % p->out_pixels, o);
  bool inside = true;
  for (int d = 0; d < 2; d++) {
    conv_inside(&p->w, d, &first, &last);
    inside = inside && o[d] >= first && o[d] < last;
  }
  conv_inside(&p->w, 2, &low, &high);
  /* Whole blocks of a kernel: the edges' take some of the pixels between. */
  if (low > 0) low = conv_min(conv_ceil(low, CONV_DEPTHWISE_EDGE) * CONV_DEPTHWISE_EDGE, width);
  if (high < width)
    high = high > CONV_DEPTHWISE_EDGE ? width - conv_ceil(width - high, CONV_DEPTHWISE_EDGE) * CONV_DEPTHWISE_EDGE : 0;
  if (!inside || high <= low) {
    conv_depthwise_edge(j, row, width);
    return;
  }
  conv_depthwise_edge(j, row, low);
  conv_depthwise_between(j, row + low, high - low);
  conv_depthwise_edge(j, row + high, width - high);
}

static inline mien_status conv_depthwise_run(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin,
                                             int64_t end) {
  const conv_problem *p = &s->p;
  conv_depthwise_job j = {.p = p, .math = mien_math_of(n), .x = mien_in(n, 0)->data, .w = s->packed, .e = e};
  j.pad = conv_begin(n, s);
  j.offset = conv_at(n, s->offsets_at);
  j.table = conv_at(n, s->rows_at);
  j.y = mien_out(n, 0)->data;
  if (!j.w) {
    float *packed = conv_at(n, s->panel_at);
    conv_depthwise_pack(p, mien_in(n, 1)->data, packed);
    j.w = packed;
  }
  for (int64_t line = begin; line < end; line++) conv_depthwise_one_line(&j, line);
  return MIEN_OK;
}

#endif
