/* picture_resize.c -- Pillow's BILINEAR resize of 8-bit pictures, bit for bit: a triangle filter as wide as the shrinking needs,
** horizontal then vertical, in fixed point of 22 bits with 8-bit pixels between the passes (Pillow, Resample.c). */
#include "picture.h"

#include <math.h>
#include <string.h>

#define PRECISION 22

/* Weights of every output pixel along one axis. */
typedef struct kernel {
  int taps;
  int32_t *first, *count; /* by output pixel */
  int32_t *weight;        /* taps a pixel */
} kernel;

static double triangle(double x) {
  x = fabs(x);
  return x < 1 ? 1 - x : 0;
}

static mien_status make_kernel(mien_env *env, int32_t from, int32_t to, kernel *k, mien_error *error) {
  double scale = (double)from / to, width = scale < 1 ? 1 : scale;
  k->taps = (int)ceil(width) * 2 + 1;
  size_t numbers, bytes;
  if (!mien__mul((size_t)k->taps + 2, (size_t)to, &numbers) || !mien__mul(numbers, sizeof(int32_t), &bytes))
    return mien__no_memory(error, SIZE_MAX);
  k->first = mien__alloc(env, bytes);
  double *exact = mien__alloc(env, (size_t)k->taps * sizeof *exact);
  if (!k->first || !exact) {
    mien__free(env, exact);
    return mien__no_memory(error, bytes);
  }
  k->count = k->first + to;
  k->weight = k->count + to;
  for (int32_t i = 0; i < to; i++) {
    double center = (i + 0.5) * scale, sum = 0;
    int32_t begin = (int32_t)(center - width + 0.5), end = (int32_t)(center + width + 0.5);
    if (begin < 0) begin = 0;
    if (end > from) end = from;
    for (int32_t x = begin; x < end; x++) sum += exact[x - begin] = triangle((x - center + 0.5) * (1 / width));
    for (int32_t x = 0; x < end - begin; x++) {
      double w = sum != 0 ? exact[x] / sum : exact[x];
      k->weight[(size_t)i * (size_t)k->taps + (size_t)x] = (int32_t)(0.5 + w * (1 << PRECISION));
    }
    k->first[i] = begin;
    k->count[i] = end - begin;
  }
  mien__free(env, exact);
  return MIEN_OK;
}

static uint8_t clip(int32_t sum) {
  sum >>= PRECISION;
  return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

/* Sums `count` pixels that are `step` bytes apart. */
static void weigh(const uint8_t *from, size_t step, const int32_t *weight, int32_t count, uint8_t *to) {
  int32_t sum[3] = {1 << (PRECISION - 1), 1 << (PRECISION - 1), 1 << (PRECISION - 1)};
  for (int32_t i = 0; i < count; i++)
    for (int c = 0; c < 3; c++) sum[c] += from[(size_t)i * step + (size_t)c] * weight[i];
  for (int c = 0; c < 3; c++) to[c] = clip(sum[c]);
}

static void pass(const kernel *k, const mien__pixels *from, const mien__pixels *to, bool vertical) {
  size_t row = (size_t)from->width * 3, out_row = (size_t)to->width * 3;
  for (int32_t y = 0; y < to->height; y++)
    for (int32_t x = 0; x < to->width; x++) {
      int32_t at = vertical ? y : x;
      const uint8_t *start = vertical ? from->rgb + (size_t)k->first[at] * row + (size_t)x * 3
                                      : from->rgb + (size_t)y * row + (size_t)k->first[at] * 3;
      weigh(start, vertical ? row : 3, k->weight + (size_t)at * (size_t)k->taps, k->count[at],
            to->rgb + (size_t)y * out_row + (size_t)x * 3);
    }
}

static mien_status resize_axis(mien_env *env, const mien__pixels *from, int32_t size, bool vertical, mien__pixels *to,
                               mien_error *error) {
  kernel k = {0};
  int32_t width = vertical ? from->width : size, height = vertical ? size : from->height;
  mien_status status = mien__pixels_alloc(env, "resized", (uint32_t)width, (uint32_t)height, to, error);
  if (status == MIEN_OK) status = make_kernel(env, vertical ? from->height : from->width, size, &k, error);
  if (status == MIEN_OK) pass(&k, from, to, vertical);
  mien__free(env, k.first);
  return status;
}

mien_status mien__pixels_resize(mien_env *env, const mien__pixels *from, int32_t width, int32_t height,
                                mien__pixels *to, mien_error *error) {
  mien__pixels between = {0};
  mien_status status = resize_axis(env, from, width, false, &between, error);
  if (status == MIEN_OK) status = resize_axis(env, &between, height, true, to, error);
  mien__free(env, between.rgb);
  return status;
}
