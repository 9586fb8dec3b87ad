/* LRN: y = x / (bias + alpha / size * sum x^2 over `size` neighbouring channels) ^ beta.  ai.onnx 1, 13 (bfloat16). */
#include "ops/loop.h"
#include "ops/shape.h"
#include <math.h>

typedef struct lrn_state {
  int64_t channels, pixels, before, after;
  double alpha, beta, bias;
} lrn_state;

static mien_status lrn_infer(mien_node *n) {
  const int64_t size = mien_attr_i(n, "size");
  if (mien_in(n, 0)->type.rank < 2)
    return mien_fail(n, MIEN_INVALID_MODEL, "input X has rank %d, expected 2 or more", (int)mien_in(n, 0)->type.rank);
  if (size < 1) return mien_fail(n, MIEN_INVALID_MODEL, "size is %lld, expected >= 1", (long long)size);
  return mien_infer_same(n);
}

static mien_status lrn_prepare(mien_node *n) {
  lrn_state *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type;
  const int64_t size = mien_attr_i(n, "size");
  s->channels = x->dim[1];
  s->pixels = shape_elements(x, 2, x->rank);
  s->before = (size - 1) / 2;
  s->after = size - 1 - s->before;
  s->alpha = mien_attr_f(n, "alpha") / (double)size;
  s->beta = mien_attr_f(n, "beta");
  s->bias = mien_attr_f(n, "bias");
  mien_work(n, mien_count(x), 30);
  return MIEN_OK;
}

#define LRN_ONE(D, T, C, K, ...)                                                               \
  static mien_status lrn_##D(mien_node *n, int64_t begin, int64_t end) {                       \
    const lrn_state *s = mien_state(n);                                                        \
    const T *x = mien_in(n, 0)->data;                                                          \
    T *y = mien_out(n, 0)->data;                                                               \
    for (int64_t i = begin; i < end; i++) {                                                    \
      const int64_t c = i / s->pixels % s->channels;                                           \
      const int64_t first = c < s->before ? -c : -s->before;                                   \
      const int64_t last = s->channels - 1 - c < s->after ? s->channels - 1 - c : s->after;    \
      double sum = 0;                                                                          \
      for (int64_t k = first; k <= last; k++) {                                                \
        const double v = (double)MIEN_GET_##K(C, x[i + k * s->pixels]);                        \
        sum += v * v;                                                                          \
      }                                                                                        \
      const double v = (double)MIEN_GET_##K(C, x[i]) / pow(s->bias + s->alpha * sum, s->beta); \
      y[i] = MIEN_PUT_##K(T, (C)v);                                                            \
    }                                                                                          \
    return MIEN_OK;                                                                            \
  }
MIEN_FLOATS(LRN_ONE, )
MIEN_KERNELS(lrn, MIEN_FLOATS)
static const mien_kernel lrn_old_kernels[] = {
    {MIEN_F32, lrn_F32}, {MIEN_F64, lrn_F64}, {MIEN_F16, lrn_F16}, {MIEN_NONE, NULL}};
static const mien_attr lrn_attrs[] = {{.name = "alpha", .kind = 'f', .f = 1e-4},
                                      {.name = "beta", .kind = 'f', .f = 0.75},
                                      {.name = "bias", .kind = 'f', .f = 1},
                                      {.name = "size", .kind = 'i', .required = true},
                                      {.name = NULL}};

#define LRN_RECORD(first, last, table)                                                                             \
  {                                                                                                                \
    .name = "LRN", .since = first, .until = last, .signature = "X:T -> Y:T", .attrs = lrn_attrs, .kernels = table, \
    .state = sizeof(lrn_state), .infer = lrn_infer, .prepare = lrn_prepare,                                        \
    .doc = "local response normalisation across channels"                                                          \
  }

const mien_op mien_ops_LRN[] = {
    LRN_RECORD(1, 12, lrn_old_kernels),
    LRN_RECORD(13, 0, lrn_kernels),
    {.name = NULL},
};
