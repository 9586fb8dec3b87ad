/* The predictive distribution of a head that gives mean and log variance of its logits. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- generator */

void mien__philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
    c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
    c1 = (uint32_t)b;
    c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c3 = (uint32_t)a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* Counter: item (two words), sample, index. Samples beyond 2^32 change the key, which nobody draws in practice. */
double mien_normal(uint64_t seed, uint64_t item, uint64_t sample, uint32_t index) {
  const uint32_t counter[4] = {(uint32_t)item, (uint32_t)(item >> 32), (uint32_t)sample, index};
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32) ^ (uint32_t)(sample >> 32)};
  uint32_t r[4];
  mien__philox(counter, key, r);
  uint64_t a = (uint64_t)r[0] << 32 | r[1], b = (uint64_t)r[2] << 32 | r[3];
  double u = ((double)(a >> 11) + 1) * 0x1p-53; /* (0, 1] */
  double v = (double)(b >> 11) * 0x1p-53;       /* [0, 1) */
  return sqrt(-2 * log(u)) * cos(6.283185307179586476925286766559 * v);
}

/* ---------------------------------------------------------------- distribution */

static void predict_softmax(size_t classes, const double *z, double *p) {
  double largest = -INFINITY, sum = 0;
  for (size_t c = 0; c < classes; c++) largest = z[c] > largest || isnan(z[c]) ? z[c] : largest;
  for (size_t c = 0; c < classes; c++) sum += p[c] = exp(z[c] - largest);
  for (size_t c = 0; c < classes; c++) p[c] /= sum;
}

static double predict_entropy(size_t classes, const double *p) {
  double h = 0;
  for (size_t c = 0; c < classes; c++)
    if (p[c] != 0) h -= p[c] * log(p[c]); /* NaN comes through */
  return h;
}

/* Running mean and sum of squared deviations (Welford). */
static void predict_add(double value, int64_t count, double *mean, double *square) {
  double delta = value - *mean;
  *mean += delta / (double)count;
  *square += delta * (value - *mean);
}

static int predict_order(const void *left, const void *right) {
  double a = *(const double *)left, b = *(const double *)right;
  if (isnan(a) || isnan(b)) return isnan(a) - isnan(b);
  return (a > b) - (a < b);
}

/* Linear between the order statistics next to (count - 1) * q. */
static double predict_quantile(const double *sorted, int64_t count, double q) {
  if (isnan(sorted[count - 1])) return sorted[count - 1];
  double at = (double)(count - 1) * q;
  int64_t below = (int64_t)at;
  if (below >= count - 1) return sorted[count - 1];
  return sorted[below] + (at - (double)below) * (sorted[below + 1] - sorted[below]);
}

typedef struct predict_memory {
  double *z, *p, *mean, *square, *z_mean, *z_square;
  double *all; /* p of class c in sample s at [c * samples + s]; NULL where no interval is wanted */
} predict_memory;

static mien_status predict_reserve(const mien_env *env, size_t classes, size_t samples, predict_memory *m,
                                   mien_error *error) {
  size_t rows, count, bytes;
  if (!mien__add(samples, 6, &rows) || !mien__mul(rows, classes, &count) || !mien__mul(count, sizeof(double), &bytes))
    return mien__fail(error, MIEN_LIMIT, "%zu samples of %zu classes exceed the address space", samples, classes);
  m->z = mien__alloc((mien_env *)(uintptr_t)env, bytes); /* an allocator changes nothing that its env shows */
  if (!m->z) return mien__no_memory(error, bytes);
  m->p = m->z + classes;
  m->mean = m->p + classes;
  m->square = m->mean + classes;
  m->z_mean = m->square + classes;
  m->z_square = m->z_mean + classes;
  m->all = samples ? m->z_square + classes : NULL;
  return MIEN_OK;
}

/* Gives the mean entropy of the samples. */
static double predict_sample(predict_memory *m, const mien_predict_options *options, uint64_t item, size_t classes,
                             const float *mu, const float *logvar) {
  double entropy = 0, unused = 0;
  for (int64_t s = 0; s < options->samples; s++) {
    for (size_t c = 0; c < classes; c++)
      m->z[c] = (double)mu[c] + exp((double)logvar[c] / 2) * mien_normal(options->seed, item, (uint64_t)s, (uint32_t)c);
    predict_softmax(classes, m->z, m->p);
    for (size_t c = 0; c < classes; c++) {
      predict_add(m->p[c], s + 1, &m->mean[c], &m->square[c]);
      predict_add(m->z[c], s + 1, &m->z_mean[c], &m->z_square[c]);
      if (m->all) m->all[c * (size_t)options->samples + (size_t)s] = m->p[c];
    }
    predict_add(predict_entropy(classes, m->p), s + 1, &entropy, &unused);
  }
  return entropy;
}

/* The rule of test time: z = mu. */
static double predict_point(predict_memory *m, size_t classes, const float *mu) {
  for (size_t c = 0; c < classes; c++) m->z_mean[c] = (double)mu[c];
  predict_softmax(classes, m->z_mean, m->mean);
  return predict_entropy(classes, m->mean);
}

static void predict_copy(double *to, const double *from, size_t count) {
  if (to) memcpy(to, from, count * sizeof *to);
}

static void predict_fill(const predict_memory *m, const mien_predict_options *options, size_t classes, double entropy,
                         mien_prediction *out) {
  size_t samples = (size_t)options->samples;
  double divisor = samples > 1 ? (double)(samples - 1) : 1;
  double tail = (1 - options->credible) / 2;
  for (size_t c = 0; c < classes; c++) {
    if (out->sd) out->sd[c] = sqrt(m->square[c] / divisor);
    if (out->z_var) out->z_var[c] = m->z_square[c] / divisor;
    if (!out->low && !out->high) continue;
    double *p = m->all ? m->all + c * samples : &m->mean[c];
    int64_t count = m->all ? options->samples : 1;
    qsort(p, (size_t)count, sizeof *p, predict_order);
    if (out->low) out->low[c] = predict_quantile(p, count, tail);
    if (out->high) out->high[c] = predict_quantile(p, count, 1 - tail);
  }
  predict_copy(out->p, m->mean, classes);
  predict_copy(out->z_mean, m->z_mean, classes);
  out->entropy = predict_entropy(classes, m->mean);
  out->expected_entropy = entropy;
  /* Not negative but for rounding. */
  out->information = out->entropy - entropy < 0 ? 0 : out->entropy - entropy;
}

mien_status mien_predict(const mien_env *env, const mien_predict_options *options, uint64_t item, size_t classes,
                         const float *mu, const float *logvar, mien_prediction *prediction, mien_error *error) {
  if (!env || !options || !mu || !prediction)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "env, options, mu and prediction must not be NULL");
  if (classes == 0 || classes > INT32_MAX)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "%zu classes, expected 1 to %d", classes, INT32_MAX);
  if (options->samples < 0)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "%lld samples, expected 0 or more", (long long)options->samples);
  if (options->samples > 0 && !logvar) return mien__fail(error, MIEN_INVALID_ARGUMENT, "sampling needs logvar");
  bool interval = prediction->low || prediction->high;
  if (interval && !(options->credible > 0 && options->credible < 1))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "credible mass %g, expected between 0 and 1", options->credible);
  predict_memory m = {0};
  MIEN_TRY(predict_reserve(env, classes, interval ? (size_t)options->samples : 0, &m, error));
  double entropy =
      options->samples ? predict_sample(&m, options, item, classes, mu, logvar) : predict_point(&m, classes, mu);
  predict_fill(&m, options, classes, entropy, prediction);
  mien__free((mien_env *)(uintptr_t)env, m.z);
  return MIEN_OK;
}
