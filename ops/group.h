/* ops/group.h -- normalisation over groups of neighbouring channels of one image, for InstanceNormalization (a group is one
** channel) and GroupNormalization. */
#ifndef MIEN_OPS_GROUP_H
#define MIEN_OPS_GROUP_H

#include "ops/loop.h"
#include "ops/shape.h"
#include <math.h>

typedef struct group_state {
  int64_t groups, channels, pixels; /* channels: of one group; pixels: of one channel */
  bool by_channel;                  /* scale and bias have an element for each channel, else for each group */
} group_state;

static inline mien_status group_vector(mien_node *n, int i, const char *name, int64_t count) {
  const mien_type *t = &mien_in(n, i)->type;
  const bool open = t->rank == 1 && (mien_is_symbol(t->dim[0]) || mien_is_symbol(count));
  if (t->rank == 1 && (open || t->dim[0] == count)) return MIEN_OK;
  return mien_fail(n, MIEN_INVALID_MODEL, "input %s has rank %d and %lld elements, expected 1 and %lld", name,
                   (int)t->rank, t->rank == 1 ? (long long)t->dim[0] : -1LL, (long long)count);
}

static inline mien_status group_prepare(mien_node *n, int64_t groups, bool by_channel) {
  group_state *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type;
  s->groups = groups;
  s->channels = groups ? x->dim[1] / groups : 0;
  s->pixels = shape_elements(x, 2, x->rank);
  s->by_channel = by_channel;
  const int64_t each = s->channels * s->pixels;
  mien_work(n, each ? x->dim[0] * groups : 0, 3 * (double)each + 10);
  return MIEN_OK;
}

/* One item is one group of one image. Sums are double: a group may be a whole map. */
#define GROUP_ONE(D, T, C, K, op)                                                                            \
  static mien_status op##_##D(mien_node *n, int64_t begin, int64_t end) {                                    \
    const group_state *s = mien_state(n);                                                                    \
    const T *scale = mien_in(n, 1)->data, *bias = mien_in(n, 2)->data;                                       \
    const int64_t count = s->channels * s->pixels;                                                           \
    const double epsilon = mien_attr_f(n, "epsilon");                                                        \
    for (int64_t i = begin; i < end; i++) {                                                                  \
      const T *x = (const T *)mien_in(n, 0)->data + i * count;                                               \
      T *y = (T *)mien_out(n, 0)->data + i * count;                                                          \
      double sum = 0, squares = 0;                                                                           \
      for (int64_t j = 0; j < count; j++) sum += (double)MIEN_GET_##K(C, x[j]);                              \
      const double mean = sum / (double)count;                                                               \
      for (int64_t j = 0; j < count; j++) {                                                                  \
        const double d = (double)MIEN_GET_##K(C, x[j]) - mean;                                               \
        squares += d * d;                                                                                    \
      }                                                                                                      \
      const double inverse = 1 / sqrt(squares / (double)count + epsilon);                                    \
      for (int64_t c = 0; c < s->channels; c++, x += s->pixels, y += s->pixels) {                            \
        const int64_t which = s->by_channel ? i % s->groups * s->channels + c : i % s->groups;               \
        const C m = (C)mean, f = (C)(inverse * (double)MIEN_GET_##K(C, scale[which]));                       \
        const C b = MIEN_GET_##K(C, bias[which]);                                                            \
        for (int64_t j = 0; j < s->pixels; j++) y[j] = MIEN_PUT_##K(T, (MIEN_GET_##K(C, x[j]) - m) * f + b); \
      }                                                                                                      \
    }                                                                                                        \
    return MIEN_OK;                                                                                          \
  }

#endif
