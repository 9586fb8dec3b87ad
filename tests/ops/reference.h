/* tests/ops/reference.h -- plain double-precision references for products and convolutions. */
#ifndef MIEN_TESTS_OPS_REFERENCE_H
#define MIEN_TESTS_OPS_REFERENCE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t reference_bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
static inline float reference_float(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

static inline double reference_activation(const char *act, double x, double alpha, double beta, double slope) {
  if (!*act) return x;
  if (!strcmp(act, "Relu")) return x < 0 ? 0 : x;
  if (!strcmp(act, "LeakyRelu")) return x < 0 ? alpha * x : x;
  if (!strcmp(act, "PRelu")) return x < 0 ? slope * x : x;
  if (!strcmp(act, "Clip")) return x < alpha ? alpha : x > beta ? beta : x;
  if (!strcmp(act, "Sigmoid")) return 1 / (1 + exp(-x));
  if (!strcmp(act, "Tanh")) return tanh(x);
  if (!strcmp(act, "Gelu")) return 0.5 * x * erfc(-x * M_SQRT1_2);
  if (!strcmp(act, "Silu")) return x / (1 + exp(-x));
  if (!strcmp(act, "HardSwish")) return x * fmin(1, fmax(0, x / 6 + 0.5));
  return NAN;
}

typedef struct reference_tail {
  const char *act;
  double alpha, beta;
  const float *bias, *slope, *scale, *residual; /* residual: in the output's layout */
  bool act_last;
} reference_tail;

static inline double reference_finish(const reference_tail *t, double x, int64_t column, int64_t element) {
  const double slope = t->slope ? (double)t->slope[column] : 0;
  if (t->bias) x += (double)t->bias[column];
  if (!t->residual) return reference_activation(t->act, x, t->alpha, t->beta, slope);
  if (!t->act_last) x = reference_activation(t->act, x, t->alpha, t->beta, slope);
  if (t->scale) x *= (double)t->scale[column];
  x += (double)t->residual[element];
  return t->act_last ? reference_activation(t->act, x, t->alpha, t->beta, slope) : x;
}

/* Spatial sizes as three numbers, absent ones 1. x [n, c, in], w [m, c / group, kernel], y [n, m, out] or, `last`, x and y with
** the channels last. pad: value of the padding by channel, or NULL. */
typedef struct reference_conv {
  int64_t n, c, m, group, in[3], out[3], kernel[3], stride[3], before[3], dilation[3];
  bool last;
  const float *x, *w, *pad;
} reference_conv;

static inline double reference_conv_sum(const reference_conv *r, int64_t image, int64_t m, const int64_t *o) {
  const int64_t each = r->c / r->group, first = m / (r->m / r->group) * each;
  const int64_t pixels = r->in[0] * r->in[1] * r->in[2];
  double sum = 0;
  for (int64_t c = 0; c < each; c++)
    for (int64_t a = 0; a < r->kernel[0]; a++)
      for (int64_t b = 0; b < r->kernel[1]; b++)
        for (int64_t d = 0; d < r->kernel[2]; d++) {
          const int64_t i = o[0] * r->stride[0] - r->before[0] + a * r->dilation[0];
          const int64_t j = o[1] * r->stride[1] - r->before[1] + b * r->dilation[1];
          const int64_t k = o[2] * r->stride[2] - r->before[2] + d * r->dilation[2];
          const double weight =
              (double)r->w[(((m * each + c) * r->kernel[0] + a) * r->kernel[1] + b) * r->kernel[2] + d];
          double x = r->pad ? (double)r->pad[first + c] : 0;
          if (i >= 0 && i < r->in[0] && j >= 0 && j < r->in[1] && k >= 0 && k < r->in[2]) {
            const int64_t pixel = (i * r->in[1] + j) * r->in[2] + k;
            x = (double)(r->last ? r->x[(image * pixels + pixel) * r->c + first + c]
                                 : r->x[(image * r->c + first + c) * pixels + pixel]);
          }
          sum += x * weight;
        }
  return sum;
}

static inline void reference_conv_run(const reference_conv *r, const reference_tail *t, double *y) {
  const int64_t pixels = r->out[0] * r->out[1] * r->out[2];
  for (int64_t image = 0; image < r->n; image++)
    for (int64_t m = 0; m < r->m; m++)
      for (int64_t p = 0; p < pixels; p++) {
        const int64_t o[3] = {p / r->out[2] / r->out[1], p / r->out[2] % r->out[1], p % r->out[2]};
        const int64_t at = r->last ? (image * pixels + p) * r->m + m : (image * r->m + m) * pixels + p;
        y[at] = reference_finish(t, reference_conv_sum(r, image, m, o), m, at);
      }
}

#endif
