/* ops/resize.h -- resampling along any axes: where every output position lies in the input, which input positions it is
** made of with which weights, and the loops over them. Resize and Upsample read their inputs and leave the rest to this.
**
** Coordinates are computed in float, in the order of operations that exporters' reference implementations use: which
** neighbour is nearest depends on it. */
#ifndef MIEN_OPS_RESIZE_H
#define MIEN_OPS_RESIZE_H

#include "ops/loop.h"
#include "ops/shape.h"
#include <math.h>

typedef enum resize_mode { RESIZE_NEAREST, RESIZE_LINEAR, RESIZE_CUBIC } resize_mode;
typedef enum resize_place {
  RESIZE_HALF_PIXEL,
  RESIZE_HALF_PIXEL_SYMMETRIC,
  RESIZE_PYTORCH_HALF_PIXEL,
  RESIZE_ALIGN_CORNERS,
  RESIZE_ASYMMETRIC,
  RESIZE_CROP, /* tf_crop_and_resize */
  RESIZE_TF_HALF_PIXEL_FOR_NN
} resize_place;
typedef enum resize_nearest {
  RESIZE_PREFER_FLOOR,
  RESIZE_PREFER_CEIL,
  RESIZE_FLOOR,
  RESIZE_CEIL,
  RESIZE_OLD /* before opset 11: up when shrinking, down when growing */
} resize_nearest;

typedef struct resize_axis {
  int64_t in, out;
  int64_t stride;                         /* elements of the input */
  float scale, width, roi_start, roi_end; /* width: scale * in, before it was rounded to out */
  int64_t taps;                           /* 0: the axis stays as it is */
} resize_axis;

/* Neighbouring axes that stay as they are are one. State of the node. */
typedef struct resize_plan {
  resize_mode mode;
  resize_place place;
  resize_nearest nearest;
  bool exclude_outside, antialias;
  float cubic, extrapolation;
  int rank;
  resize_axis axis[MIEN_MAX_RANK];
  int64_t entries; /* of all tables: taps * out */
  int64_t places;  /* out, of all resized axes */
} resize_plan;

/* One tap: an input position and its weight. Tables lie in scratch, one axis after the other. */
typedef struct resize_tap {
  int64_t at;
  double weight;
} resize_tap;

static inline float resize_coordinate(const resize_plan *p, const resize_axis *a, float x) {
  const float in = (float)a->in, out = (float)a->out;
  switch (p->place) {
    case RESIZE_HALF_PIXEL: return (x + 0.5f) / a->scale - 0.5f;
    case RESIZE_HALF_PIXEL_SYMMETRIC: return in / 2 * (1 - out / a->width) + (x + 0.5f) / a->scale - 0.5f;
    case RESIZE_PYTORCH_HALF_PIXEL: return a->out > 1 ? (x + 0.5f) / a->scale - 0.5f : 0;
    case RESIZE_ALIGN_CORNERS: return a->width == 1 ? 0 : x * (in - 1) / (a->width - 1);
    case RESIZE_ASYMMETRIC: return x / a->scale;
    case RESIZE_CROP:
      if (a->out == 1) return 0.5f * (a->roi_start + a->roi_end) * (in - 1);
      return a->roi_start * (in - 1) + x * (a->roi_end - a->roi_start) * (in - 1) / (out - 1);
    case RESIZE_TF_HALF_PIXEL_FOR_NN: return (x + 0.5f) / a->scale;
  }
  return x;
}

static inline int64_t resize_clamp(double at, int64_t count) {
  return !(at > 0) ? 0 : at >= (double)count ? count - 1 : (int64_t)at;
}

static inline int64_t resize_nearest_to(const resize_plan *p, const resize_axis *a, float x) {
  float down = floorf(x), up = ceilf(x), near = up;
  switch (p->nearest) {
    case RESIZE_PREFER_FLOOR: near = x - down <= 0.5f ? down : up; break;
    case RESIZE_PREFER_CEIL: near = x - down < 0.5f ? down : up; break;
    case RESIZE_FLOOR: near = down; break;
    case RESIZE_CEIL: near = up; break;
    case RESIZE_OLD: near = a->scale < 1 ? up : down; break;
  }
  return resize_clamp(near, a->in);
}

static inline double resize_weight(const resize_plan *p, double distance) {
  const double d = fabs(distance), c = p->cubic;
  if (p->mode == RESIZE_LINEAR) return d < 1 ? 1 - d : 0;
  if (d <= 1) return ((c + 2) * d - (c + 3)) * d * d + 1;
  return d < 2 ? ((c * d - 5 * c) * d + 8 * c) * d - 4 * c : 0;
}

static inline double resize_stretch(const resize_plan *p, const resize_axis *a) {
  return p->antialias && a->scale < 1 ? (double)a->scale : 1;
}

/* Taps are an even number, half of them on either side of the coordinate. */
static inline void resize_taps(const resize_plan *p, const resize_axis *a, float x, resize_tap *taps) {
  const int64_t first = (int64_t)floorf(x) + 1 - a->taps / 2;
  const double stretch = resize_stretch(p, a);
  double sum = 0;
  for (int64_t k = 0; k < a->taps; k++) {
    const int64_t at = first + k;
    const bool outside = at < 0 || at >= a->in;
    taps[k].at = resize_clamp((double)at, a->in);
    taps[k].weight = p->exclude_outside && outside ? 0 : resize_weight(p, ((double)at - (double)x) * stretch);
    sum += taps[k].weight;
  }
  for (int64_t k = 0; k < a->taps && sum != 0; k++) taps[k].weight /= sum;
}

/* outside[o]: position o shows the extrapolation value. */
static inline void resize_tables(const resize_plan *p, resize_tap *taps, bool *outside) {
  for (int i = 0; i < p->rank; i++) {
    const resize_axis *a = &p->axis[i];
    for (int64_t o = 0; o < a->out && a->taps; o++, taps += a->taps, outside++) {
      float x = resize_coordinate(p, a, (float)o);
      if (!(x > -1e9f)) x = -1e9f; /* what is that far outside, or no number, is the border */
      if (x > 1e9f) x = 1e9f;
      *outside = p->place == RESIZE_CROP && (x < 0 || x > (float)(a->in - 1));
      if (p->mode == RESIZE_NEAREST)
        taps[0] = (resize_tap){resize_nearest_to(p, a, x), 1};
      else
        resize_taps(p, a, x, taps);
    }
  }
}

/* ---- plan */

static inline mien_status resize_plan_axis(mien_node *n, resize_plan *p, resize_axis a) {
  if (a.in == a.out && a.scale == 1 && p->place != RESIZE_CROP) {
    a.taps = 0;
    if (p->rank > 0 && p->axis[p->rank - 1].taps == 0) {
      p->axis[p->rank - 1].in *= a.in;
      p->axis[p->rank - 1].out *= a.out;
      return MIEN_OK;
    }
  } else {
    double reach = p->mode == RESIZE_CUBIC ? 2 : 1, taps = 2 * ceil(reach / resize_stretch(p, &a));
    if (p->mode == RESIZE_NEAREST || a.out == 0) taps = 1;
    if (!(taps < 1e9)) return mien_fail(n, MIEN_LIMIT, "a scale of %g needs %g neighbours", (double)a.scale, taps);
    a.taps = (int64_t)taps;
    if (__builtin_mul_overflow(a.taps, a.out, &a.stride) || __builtin_add_overflow(p->entries, a.stride, &p->entries))
      return mien_fail(n, MIEN_LIMIT, "the tables of neighbours are too large");
    p->places += a.out;
  }
  p->axis[p->rank++] = a;
  return MIEN_OK;
}

/* After all axes: strides, work and scratch. An item is a row along the last axis. */
static inline mien_status resize_plan_finish(mien_node *n, resize_plan *p) {
  int64_t stride = 1, items = 1, taps = 1;
  size_t bytes, tables;
  if (p->rank == 0) p->axis[p->rank++] = (resize_axis){.in = 1, .out = 1, .scale = 1};
  for (int i = p->rank - 1; i >= 0; i--) {
    resize_axis *a = &p->axis[i];
    if (a->in == 0 && a->out > 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "a dimension of size 0 cannot be resized to %lld", (long long)a->out);
    a->stride = stride;
    stride *= a->in;
    if (i < p->rank - 1) {
      items *= a->out;
      taps *= a->taps ? a->taps : 1;
    }
  }
  const resize_axis *last = &p->axis[p->rank - 1];
  mien_work(n, last->out ? items : 0,
            p->mode == RESIZE_NEAREST ? (double)last->out
                                      : (double)(last->in * taps) + (double)(last->out * (last->taps + 1)));
  if (__builtin_mul_overflow((size_t)p->entries, sizeof(resize_tap), &tables) ||
      __builtin_add_overflow(tables, (size_t)last->in * sizeof(double) + (size_t)p->places, &bytes))
    return mien_fail(n, MIEN_LIMIT, "the tables of neighbours are too large");
  return mien_scratch(n, bytes);
}

/* ---- rows */

/* Scratch of one call: a row of sums, then the tables. */
typedef struct resize_call {
  const resize_plan *p;
  double *row;
  resize_tap *taps[MIEN_MAX_RANK]; /* of each resized axis */
  bool *outside[MIEN_MAX_RANK];
} resize_call;

static inline void resize_call_start(mien_node *n, resize_call *c) {
  c->p = mien_state(n);
  const resize_axis *last = &c->p->axis[c->p->rank - 1];
  c->row = mien_scratch_of(n);
  resize_tap *taps = (resize_tap *)(void *)(c->row + last->in);
  bool *outside = (bool *)(taps + c->p->entries);
  resize_tables(c->p, taps, outside);
  for (int i = 0; i < c->p->rank; i++) {
    const resize_axis *a = &c->p->axis[i];
    c->taps[i] = taps;
    c->outside[i] = outside;
    taps += a->taps * a->out;
    outside += a->taps ? a->out : 0;
  }
}

/* Where the axes before the last one stand for an item; false: outside the input. */
static inline bool resize_stand(const resize_call *c, int64_t item, int64_t *at) {
  bool inside = true;
  for (int i = c->p->rank - 2; i >= 0; i--) {
    const resize_axis *a = &c->p->axis[i];
    at[i] = item % a->out;
    item /= a->out;
    if (a->taps && c->outside[i][at[i]]) inside = false;
  }
  return inside;
}

static inline const resize_tap *resize_tap_at(const resize_call *c, int axis, int64_t at, int64_t k) {
  return &c->taps[axis][at * c->p->axis[axis].taps + k];
}

static inline int64_t resize_nearest_base(const resize_call *c, const int64_t *at) {
  int64_t base = 0;
  for (int i = 0; i < c->p->rank - 1; i++)
    base += (c->p->axis[i].taps ? resize_tap_at(c, i, at[i], 0)->at : at[i]) * c->p->axis[i].stride;
  return base;
}

#define RESIZE_PICK(T)                                                                                                \
  static inline void resize_pick_##T(const resize_call *c, const T *x, const T *fill, bool inside, T *y) {            \
    const int i = c->p->rank - 1;                                                                                     \
    for (int64_t o = 0; o < c->p->axis[i].out; o++) y[o] = inside && !c->outside[i][o] ? x[c->taps[i][o].at] : *fill; \
  }
typedef uint8_t __attribute__((may_alias)) resize_1;
typedef uint16_t __attribute__((may_alias)) resize_2;
typedef uint32_t __attribute__((may_alias)) resize_4;
typedef uint64_t __attribute__((may_alias)) resize_8;
RESIZE_PICK(resize_1)
RESIZE_PICK(resize_2)
RESIZE_PICK(resize_4)
RESIZE_PICK(resize_8)

/* One row of nearest neighbours; elements of `size` bytes. */
static inline void resize_nearest_row(const resize_call *c, size_t size, const char *x, const void *fill, bool inside,
                                      char *y) {
  const resize_axis *last = &c->p->axis[c->p->rank - 1];
  if (!last->taps) {
    if (inside) memcpy(y, x, (size_t)last->out * size);
    for (int64_t o = 0; o < last->out && !inside; o++) memcpy(y + (size_t)o * size, fill, size);
    return;
  }
  const void *from = x;
  void *to = y;
  switch (size) {
    case 1: resize_pick_resize_1(c, from, fill, inside, to); return;
    case 2: resize_pick_resize_2(c, from, fill, inside, to); return;
    case 4: resize_pick_resize_4(c, from, fill, inside, to); return;
    default: resize_pick_resize_8(c, from, fill, inside, to); return;
  }
}

/* What a sum becomes as an element: integers are clamped and lose their fraction. */
static inline double resize_fit(double v, double low, double high) {
  return v != v ? 0 : v < low ? low : v > high ? high : trunc(v);
}
#define RESIZE_FIT_F32(v) (v)
#define RESIZE_FIT_F64(v) (v)
#define RESIZE_FIT_F16(v) (v)
#define RESIZE_FIT_BF16(v) (v)
#define RESIZE_FIT_I8(v) resize_fit(v, INT8_MIN, INT8_MAX)
#define RESIZE_FIT_U8(v) resize_fit(v, 0, UINT8_MAX)
#define RESIZE_FIT_I16(v) resize_fit(v, INT16_MIN, INT16_MAX)
#define RESIZE_FIT_U16(v) resize_fit(v, 0, UINT16_MAX)
#define RESIZE_FIT_I32(v) resize_fit(v, INT32_MIN, INT32_MAX)
#define RESIZE_FIT_U32(v) resize_fit(v, 0, UINT32_MAX)

#define RESIZE_TYPES(X, ...)                     \
  MIEN_FLOATS(X, __VA_ARGS__)                    \
  X(I8, int8_t, int8_t, PLAIN, __VA_ARGS__)      \
  X(U8, uint8_t, uint8_t, PLAIN, __VA_ARGS__)    \
  X(I16, int16_t, int16_t, PLAIN, __VA_ARGS__)   \
  X(U16, uint16_t, uint16_t, PLAIN, __VA_ARGS__) \
  X(I32, int32_t, int32_t, PLAIN, __VA_ARGS__)   \
  X(U32, uint32_t, uint32_t, PLAIN, __VA_ARGS__)

/* Adds all rows of the input that the outer axes' taps reach, weighted, into c->row. A weight of 0 reads nothing, so that
** NaN beyond the window stays there. */
#define RESIZE_SUM(D, T, C, K, ...)                                                                                    \
  static inline void resize_sum_##D(const resize_call *c, const T *x, const int64_t *at) {                             \
    const resize_plan *p = c->p;                                                                                       \
    const int64_t length = p->axis[p->rank - 1].in;                                                                    \
    int64_t k[MIEN_MAX_RANK] = {0};                                                                                    \
    memset(c->row, 0, (size_t)length * sizeof *c->row);                                                                \
    for (int i = 0; i >= 0;) {                                                                                         \
      double weight = 1;                                                                                               \
      const T *from = x;                                                                                               \
      for (i = 0; i < p->rank - 1; i++) {                                                                              \
        const resize_axis *a = &p->axis[i];                                                                            \
        const resize_tap *t = a->taps ? resize_tap_at(c, i, at[i], k[i]) : NULL;                                       \
        weight *= t ? t->weight : 1;                                                                                   \
        from += (t ? t->at : at[i]) * a->stride;                                                                       \
      }                                                                                                                \
      for (int64_t j = 0; j < length && weight != 0; j++) c->row[j] += weight * (double)MIEN_GET_##K(C, from[j]);      \
      for (i = p->rank - 2; i >= 0; k[i--] = 0)                                                                        \
        if (++k[i] < p->axis[i].taps) break;                                                                           \
    }                                                                                                                  \
  }                                                                                                                    \
  static inline void resize_line_##D(const resize_call *c, T *y) {                                                     \
    const int last = c->p->rank - 1;                                                                                   \
    const resize_axis *a = &c->p->axis[last];                                                                          \
    for (int64_t o = 0; o < a->out; o++) {                                                                             \
      double sum = 0;                                                                                                  \
      for (int64_t k = 0; k < a->taps; k++) {                                                                          \
        const resize_tap *t = resize_tap_at(c, last, o, k);                                                            \
        if (t->weight != 0) sum += t->weight * c->row[t->at];                                                          \
      }                                                                                                                \
      if (!a->taps)                                                                                                    \
        sum = c->row[o];                                                                                               \
      else if (c->outside[last][o])                                                                                    \
        sum = c->p->extrapolation;                                                                                     \
      y[o] = MIEN_PUT_##K(T, (C)RESIZE_FIT_##D(sum));                                                                  \
    }                                                                                                                  \
  }                                                                                                                    \
  static inline void resize_blank_##D(const resize_call *c, T *y, int64_t count) {                                     \
    for (int64_t o = 0; o < count; o++) y[o] = MIEN_PUT_##K(T, (C)RESIZE_FIT_##D((double)c->p->extrapolation));        \
  }                                                                                                                    \
  static mien_status resize_##D(mien_node *n, int64_t begin, int64_t end) {                                            \
    resize_call c;                                                                                                     \
    const T *x = mien_in(n, 0)->data;                                                                                  \
    T *y = mien_out(n, 0)->data, fill;                                                                                 \
    int64_t at[MIEN_MAX_RANK];                                                                                         \
    if (begin >= end) return MIEN_OK;                                                                                  \
    resize_call_start(n, &c);                                                                                          \
    resize_blank_##D(&c, &fill, 1);                                                                                    \
    const int64_t length = c.p->axis[c.p->rank - 1].out;                                                               \
    for (int64_t i = begin; i < end; i++) {                                                                            \
      T *to = y + i * length;                                                                                          \
      const bool inside = resize_stand(&c, i, at);                                                                     \
      if (c.p->mode == RESIZE_NEAREST) {                                                                               \
        resize_nearest_row(&c, sizeof(T), (const char *)(x + resize_nearest_base(&c, at)), &fill, inside, (char *)to); \
      } else if (!inside) {                                                                                            \
        resize_blank_##D(&c, to, length);                                                                              \
      } else {                                                                                                         \
        resize_sum_##D(&c, x, at);                                                                                     \
        resize_line_##D(&c, to);                                                                                       \
      }                                                                                                                \
    }                                                                                                                  \
    return MIEN_OK;                                                                                                    \
  }

/* Types that are picked, not computed with. */
static inline mien_status resize_picked(mien_node *n, int64_t begin, int64_t end) {
  static const uint64_t zero;
  resize_call c;
  size_t size = mien_dtype_bytes(mien_in(n, 0)->type.dtype);
  int64_t at[MIEN_MAX_RANK];
  if (begin >= end) return MIEN_OK;
  resize_call_start(n, &c);
  for (int64_t i = begin; i < end; i++) {
    const bool inside = resize_stand(&c, i, at);
    resize_nearest_row(&c, size, (const char *)mien_in(n, 0)->data + (size_t)resize_nearest_base(&c, at) * size, &zero,
                       inside, (char *)mien_out(n, 0)->data + (size_t)(i * c.p->axis[c.p->rank - 1].out) * size);
  }
  return MIEN_OK;
}

/* ---- the size of an output dimension under a scale */

static inline mien_status resize_scale_check(mien_node *n, int64_t i, double scale) {
  if (scale > 0 && scale <= 1e9) return MIEN_OK;
  return mien_fail(n, MIEN_INVALID_MODEL, "scales[%lld] is %g, expected a finite number above 0", (long long)i, scale);
}

static inline int64_t resize_scaled(mien_node *n, int64_t d, float scale, float part) {
  float whole = roundf(scale), inverse = roundf(1 / scale);
  if (scale == 1 && part == 1) return d;
  if (!mien_is_symbol(d)) {
    float size = floorf(part == 1 ? (float)d * scale : (float)d * part * scale);
    return size < 9e15f ? (size > 0 ? (int64_t)size : 0) : INT64_MAX / 2;
  }
  if (part == 1 && whole == scale) return mien_dim(n, '*', d, (int64_t)whole);
  /* An exact power of two, or a float that cannot be told from 1 / k for sizes that occur. */
  if (part == 1 && inverse >= 1 && 1 / inverse == scale) return mien_dim(n, '/', d, (int64_t)inverse);
  return mien_new_symbol(n);
}

#endif
