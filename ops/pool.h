/* ops/pool.h -- reductions over sliding windows, once for all pools: planar (N x C x spatial) and channels last.
**
** A pool is three macros, ACC_INIT, ACC_STEP(a, v) and ACC_DONE(s, a, valid, counted), under one name; see POOL. */
#ifndef MIEN_OPS_POOL_H
#define MIEN_OPS_POOL_H

#include "ops/loop.h"
#include "ops/shape.h"
#include "ops/window.h"
#include <math.h>

/* Always three spatial dimensions: those that are missing stand first with extent 1. */
typedef struct pool_state {
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3], after[3];
  int64_t channels; /* that lie together: C when channels come last, else 1 */
  double p;         /* of LpPool */
  bool include_pad, column_major;
} pool_state;

/* Window positions along one dimension: those in [first, last) lie in the input, `counted` in it or in its padding. */
typedef struct pool_span {
  int64_t start, first, last, counted;
} pool_span;

static inline pool_span pool_clip(const pool_state *s, int d, int64_t o) {
  pool_span r = {.start = o * s->stride[d] - s->before[d]};
  int64_t step = s->dilation[d], room = s->in[d] - r.start, padded = room + s->after[d];
  r.first = r.start < 0 ? (-r.start + step - 1) / step : 0;
  r.last = room <= 0 ? 0 : (room + step - 1) / step;
  r.counted = padded <= 0 ? 0 : (padded + step - 1) / step;
  if (r.last > s->kernel[d]) r.last = s->kernel[d];
  if (r.counted > s->kernel[d]) r.counted = s->kernel[d];
  if (r.first > r.last) r.first = r.last;
  return r;
}

static inline int64_t pool_valid(const pool_span *r) { return r->last - r->first; }

/* An item is one row of the output: `plane` says which image (and channel), spans 0 and 1 where its windows lie. */
typedef struct pool_row {
  int64_t plane;
  pool_span span[3];
} pool_row;

static inline pool_row pool_row_at(const pool_state *s, int64_t item) {
  pool_row r = {.plane = item / (s->out[0] * s->out[1])};
  r.span[0] = pool_clip(s, 0, item / s->out[1] % s->out[0]);
  r.span[1] = pool_clip(s, 1, item % s->out[1]);
  return r;
}

#define POOL_BLOCK 16

/* The window of one output element, over POOL_BLOCK or fewer channels. */
#define POOL_EACH(s, r, body)                                                                                          \
  for (int64_t k0 = (r)->span[0].first; k0 < (r)->span[0].last; k0++)                                                  \
    for (int64_t k1 = (r)->span[1].first; k1 < (r)->span[1].last; k1++)                                                \
      for (int64_t k2 = (r)->span[2].first; k2 < (r)->span[2].last; k2++) {                                            \
        const int64_t at =                                                                                             \
            (((r)->span[0].start + k0 * (s)->dilation[0]) * (s)->in[1] + (r)->span[1].start + k1 * (s)->dilation[1]) * \
                (s)->in[2] +                                                                                           \
            (r)->span[2].start + k2 * (s)->dilation[2];                                                                \
        body                                                                                                           \
      }

/* A: the accumulator's type. */
#define POOL(D, T, C, K, name, A)                                                                                \
  static void name##_rows_##D(const pool_state *s, const T *x0, T *y, int64_t begin, int64_t end) {              \
    const int64_t channels = s->channels, size = s->in[0] * s->in[1] * s->in[2];                                 \
    for (int64_t i = begin; i < end; i++) {                                                                      \
      pool_row r = pool_row_at(s, i);                                                                            \
      const T *x = x0 + r.plane * size * channels;                                                               \
      for (int64_t o = 0; o < s->out[2]; o++) {                                                                  \
        r.span[2] = pool_clip(s, 2, o);                                                                          \
        const int64_t valid = pool_valid(&r.span[0]) * pool_valid(&r.span[1]) * pool_valid(&r.span[2]);          \
        const int64_t counted = r.span[0].counted * r.span[1].counted * r.span[2].counted;                       \
        T *to = y + (i * s->out[2] + o) * channels;                                                              \
        (void)valid, (void)counted;                                                                              \
        if (channels == 1) {                                                                                     \
          A a = name##_INIT(D);                                                                                  \
          POOL_EACH(s, &r, const A v = (A)MIEN_GET_##K(C, x[at]); a = name##_STEP(s, a, v);)                     \
          *to = MIEN_PUT_##K(T, name##_DONE(s, a, valid, counted));                                              \
          continue;                                                                                              \
        }                                                                                                        \
        for (int64_t c0 = 0; c0 < channels; c0 += POOL_BLOCK) {                                                  \
          const int64_t wide = channels - c0 < POOL_BLOCK ? channels - c0 : POOL_BLOCK;                          \
          A a[POOL_BLOCK];                                                                                       \
          for (int64_t j = 0; j < POOL_BLOCK; j++) a[j] = name##_INIT(D);                                        \
          POOL_EACH(                                                                                             \
              s, &r, const T *v0 = x + at * channels + c0; for (int64_t j = 0; j < wide; j++) {                  \
                const A v = (A)MIEN_GET_##K(C, v0[j]);                                                           \
                a[j] = name##_STEP(s, a[j], v);                                                                  \
              })                                                                                                 \
          for (int64_t j = 0; j < wide; j++) to[c0 + j] = MIEN_PUT_##K(T, name##_DONE(s, a[j], valid, counted)); \
        }                                                                                                        \
      }                                                                                                          \
    }                                                                                                            \
  }

/* ---- maximum. NaN wins: it is neither less than a number nor replaced by one. */
#define POOL_LOW_F32 -INFINITY
#define POOL_LOW_F64 -INFINITY
#define POOL_LOW_F16 -INFINITY
#define POOL_LOW_BF16 -INFINITY
#define POOL_LOW_I8 INT8_MIN
#define POOL_LOW_U8 0
#define pool_max_INIT(D) POOL_LOW_##D
#define pool_max_STEP(s, a, v) ((v) > (a) || (v) != (v) ? (v) : (a))
#define pool_max_DONE(s, a, valid, counted) (a)

/* ---- average */
#define pool_average_INIT(D) 0
#define pool_average_STEP(s, a, v) ((a) + (v))
#define pool_average_DONE(s, a, valid, counted) ((valid) > 0 ? (a) / ((s)->include_pad ? (counted) : (valid)) : (a))

/* ---- inference and preparation. first: where spatial dimensions begin. */

static inline mien_status pool_window(mien_node *n, bool channels_last, uint32_t has, mien_window *w) {
  const mien_type *x = &mien_in(n, 0)->type;
  MIEN_TRY(mien_window_read(n, x, channels_last ? 1 : 2, x->rank - 2, NULL, has | MIEN_WINDOW_OVERHANG, w));
  for (int d = 0; d < w->rank; d++) {
    int64_t span = (w->kernel[d] - 1) * w->dilation[d] + 1;
    if ((!mien_is_symbol(w->before[d]) && w->before[d] >= span) ||
        (!mien_is_symbol(w->after[d]) && w->after[d] >= span))
      return mien_fail(n, MIEN_INVALID_MODEL, "pads along spatial dimension %d are %lld and %lld, a window spans %lld",
                       d, (long long)w->before[d], (long long)w->after[d], (long long)span);
  }
  return MIEN_OK;
}

static inline mien_status pool_type(mien_node *n, bool channels_last, uint32_t has) {
  mien_window w;
  mien_type y = mien_in(n, 0)->type;
  MIEN_TRY(pool_window(n, channels_last, has, &w));
  for (int d = 0; d < w.rank; d++) y.dim[d + (channels_last ? 1 : 2)] = w.out[d];
  MIEN_TRY(mien_set_type(n, 0, &y));
  y.dtype = MIEN_I64;
  return mien_out_count(n) > 1 ? mien_set_type(n, 1, &y) : MIEN_OK;
}

/* Fills the state and says what there is to do. */
static inline mien_status pool_set(mien_node *n, pool_state *s, bool channels_last, uint32_t has) {
  mien_window w;
  const mien_type *x = &mien_in(n, 0)->type;
  MIEN_TRY(pool_window(n, channels_last, has, &w));
  double taps = 1;
  for (int d = 0; d < 3; d++) {
    int from = d - (3 - w.rank);
    bool there = from >= 0;
    s->in[d] = there ? w.in[from] : 1;
    s->out[d] = there ? w.out[from] : 1;
    s->kernel[d] = there ? w.kernel[from] : 1;
    s->stride[d] = there ? w.stride[from] : 1;
    s->dilation[d] = there ? w.dilation[from] : 1;
    s->before[d] = there ? w.before[from] : 0;
    s->after[d] = there ? w.after[from] : 0;
    taps *= (double)(s->kernel[d] < s->in[d] ? s->kernel[d] : s->in[d]);
  }
  s->channels = channels_last ? x->dim[x->rank - 1] : 1;
  int64_t images = channels_last ? x->dim[0] : x->dim[0] * x->dim[1];
  mien_work(n, s->channels ? images * s->out[0] * s->out[1] : 0,
            (double)(s->out[2] * s->channels) * (2 + taps) * (channels_last ? 0.3 : 1));
  return MIEN_OK;
}

/* GlobalAveragePool, GlobalMaxPool, GlobalLpPool: all spatial dimensions become 1. */
static inline mien_status pool_global_infer(mien_node *n) {
  mien_type y = mien_in(n, 0)->type;
  if (y.rank < 2) return mien_fail(n, MIEN_INVALID_MODEL, "input has rank %d, expected at least 2", (int)y.rank);
  for (int i = 2; i < y.rank; i++) y.dim[i] = 1;
  return mien_set_type(n, 0, &y);
}

static inline int64_t pool_global_size(const mien_node *n) {
  return shape_elements(&mien_in(n, 0)->type, 2, mien_in(n, 0)->type.rank);
}

static inline mien_status pool_global_prepare(mien_node *n) {
  mien_work(n, mien_count(&mien_out(n, 0)->type), 2 + 0.5 * (double)pool_global_size(n));
  return MIEN_OK;
}

#endif
