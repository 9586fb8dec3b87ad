/* ops/conv_16.h -- the part of ops/conv.h that runs convolutions of operands of 16 bits, channels last: all threads round the
** maps of some images into the caller's scratch, then multiply gathered rows of elements (mien_gemm16), into which a group's
** channels of one pixel are rounded. */
#ifndef MIEN_OPS_CONV_16_H
#define MIEN_OPS_CONV_16_H

enum { CONV_16_ONCE = 4 * 1024 * 1024 }; /* bytes of rounded maps, or one image */

/* The same window over elements. */
static inline conv_problem conv_16_problem(const conv_problem *p) {
  conv_problem q = *p;
  q.in_each = p->gemm16->elements(p->in_each);
  q.in_channels = p->group * q.in_each;
  q.depth = q.taps * q.in_each;
  int64_t pixels = 1;
  for (int d = MIEN_WINDOW_RANK - 1; d >= 0; d--) {
    q.x_space[d] = pixels * q.in_channels;
    pixels *= q.w.in[d];
  }
  return q;
}

static inline size_t conv_16_bytes(const conv_problem *p, const mien_math *math) {
  const conv_problem q = conv_16_problem(p);
  return conv_product_bytes(&q, math);
}

/* Panel by panel [taps][elements][columns]. */
static inline mien_status conv_16_fill(mien_node *n, void *memory) {
  const conv_state *s = mien_state(n);
  const conv_problem *p = &s->p;
  const mien_tensor *w = mien_in(n, 1);
  const size_t size = w->type.dtype == MIEN_BF16 ? sizeof(uint16_t) : sizeof(float);
  const int64_t width = mien_math_of(n)->gemm_columns, tap = p->gemm16->elements(p->in_each) * width;
  MIEN_TRY(gemm16_check(n, p->gemm16));
  float *to = memory;
  for (int64_t g = 0; g < p->group; g++)
    for (int64_t j = 0; j < p->out_each; j += width) {
      const char *from = (const char *)w->data + (size_t)((g * p->out_each + j) * p->depth) * size;
      for (int64_t t = 0; t < p->taps; t++, to += tap, from += size)
        p->gemm16->pack(p->in_each, conv_min(width, p->out_each - j), from, p->taps, p->depth, to);
    }
  return MIEN_OK;
}

static inline mien_status conv_16_prepare(mien_node *n, conv_state *s) {
  const conv_problem *p = &s->p, q = conv_16_problem(p);
  const mien_math *math = mien_math_of(n);
  int64_t image_bytes;
  if (__builtin_mul_overflow(p->in_pixels, q.in_channels * (int64_t)sizeof(float), &image_bytes))
    return mien_fail(n, MIEN_LIMIT, "the map is too large");
  s->units = 1;
  s->chunks_once = CONV_16_ONCE / (image_bytes > 0 ? image_bytes : 1); /* images */
  s->chunks_once = s->chunks_once < 1 ? 1 : conv_min(s->chunks_once, p->images > 0 ? p->images : 1);
  s->span = s->chunks_once * p->out_pixels;
  s->panels = conv_ceil(p->out_each, math->gemm_columns);
  conv_cut(n, s, 64 * 1024, p->taps * (int64_t)sizeof(float *));
  size_t total = 0;
  bool fits = conv_room(&total, &s->pads_at, q.in_channels, 1, sizeof(float));
  fits = fits && conv_room(&total, &s->offsets_at, p->taps, 1, sizeof(int64_t));
  fits = fits && conv_room(&total, &s->rows_at, s->chunk, p->taps, sizeof(float *));
  fits = fits && conv_room(&total, &s->v_at, s->chunks_once, image_bytes, 1);
  if (!fits) return mien_fail(n, MIEN_LIMIT, "the window is too large");
  MIEN_TRY(mien_scratch(n, total));
  mien_work(n, p->images > 0 && p->out_pixels > 0 && p->out_channels > 0, conv_flops(p) / 100);
  return MIEN_OK;
}

typedef struct conv_16_state {
  const conv_state *s;
  const conv_problem *q;
  const mien_epilogue *e;
  const int64_t *offsets;
  float *pad, *x;        /* of elements */
  int64_t first, images; /* images */
} conv_16_state;

/* One pixel, or the padding, group by group. */
static inline void conv_16_pixel(const conv_problem *p, const float *x, float *to) {
  const int64_t elements = p->gemm16->elements(p->in_each);
  for (int64_t g = 0; g < p->group; g++) p->gemm16->round(x + g * p->in_each, p->in_each, to + g * elements);
}

/* Items: pixels of the images. */
static inline mien_status conv_16_round(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const conv_16_state *r = arg;
  const conv_problem *p = &r->s->p;
  const float *x = (const float *)mien_in(n, 0)->data + r->first * p->in_pixels * p->in_channels;
  if (2 * r->q->in_each == p->in_each) { /* pairs alone: pixels one behind another */
    p->gemm16->round(x + begin * p->in_channels, (end - begin) * p->in_channels, r->x + begin * r->q->in_channels);
    return MIEN_OK;
  }
  for (int64_t i = begin; i < end; i++) conv_16_pixel(p, x + i * p->in_channels, r->x + i * r->q->in_channels);
  return MIEN_OK;
}

/* Items: (chunk, group, panel), neighbouring panels together. */
static inline mien_status conv_16_part(mien_node *n, void *arg, int64_t begin, int64_t end) {
  const conv_16_state *r = arg;
  const conv_state *s = r->s;
  const conv_problem *p = &s->p, *q = r->q;
  const int64_t width = mien_math_of(n)->gemm_columns, span = r->images * p->out_pixels;
  const float **table = conv_at(n, s->rows_at);
  for (int64_t item = begin; item < end;) {
    const int64_t panel = item % s->panels, g = item / s->panels % p->group,
                  row = item / s->panels / p->group * s->chunk;
    const int64_t take = conv_min(end - item, s->panels - panel), rows = conv_min(s->chunk, span - row);
    const int64_t channel = g * q->in_each, place = r->first * p->out_pixels + row;
    conv_table(q, r->x + channel, r->pad + channel, r->offsets, row, rows, table);
    const mien_pieces a = {.rows = table, .stride = rows, .count = p->taps, .length = q->in_each, .step = 1};
    const mien_epilogue part = epilogue_at(r->e, place, g * p->out_each);
    const float *packed = s->packed ? s->packed + (size_t)g * s->packed_each : r->x; /* none: k is 0 */
    p->gemm16->gemm(rows, p->out_each, &a, packed,
                    (float *)mien_out(n, 0)->data + place * p->out_channels + g * p->out_each, p->out_channels, 1,
                    panel * width, (panel + take) * width, &part);
    item += take;
  }
  return MIEN_OK;
}

static inline mien_status conv_16_run(mien_node *n, const conv_state *s, const mien_epilogue *e, int64_t begin,
                                      int64_t end) {
  (void)begin, (void)end; /* one item */
  const conv_problem *p = &s->p, q = conv_16_problem(p);
  const mien_math *math = mien_math_of(n);
  conv_16_state r = {.s = s, .q = &q, .e = e, .offsets = conv_at(n, s->offsets_at)};
  r.pad = conv_at(n, s->pads_at);
  r.x = conv_at(n, s->v_at);
  conv_offsets(&q, conv_at(n, s->offsets_at));
  const mien_tensor *given = mien_in_count(n) > 6 ? mien_in(n, 6) : NULL;
  if (given)
    conv_16_pixel(p, given->data, r.pad);
  else
    memset(r.pad, 0, (size_t)q.in_channels * sizeof(float));
  for (; r.first < p->images; r.first += r.images) {
    r.images = conv_min(s->chunks_once, p->images - r.first);
    MIEN_TRY(mien_parallel(n, r.images * p->in_pixels, (double)p->in_channels / 8, conv_16_round, &r));
    const double flops = 2.0 * (double)p->depth * (double)math->gemm_columns * (double)s->chunk;
    const int64_t items = conv_ceil(r.images * p->out_pixels, s->chunk) * p->group * s->panels;
    MIEN_TRY(mien_parallel(n, items, flops / 100 + 100, conv_16_part, &r));
  }
  return MIEN_OK;
}

#endif
