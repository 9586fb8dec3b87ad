/* BatchNormalization, inference: Y = (X - mean) / sqrt(var + epsilon) * scale + B for each channel.  ai.onnx 7, 9, 14, 15.
** Training (more than one output, training_mode 1) and spatial = 0 are refused. */
#include "ops/loop.h"
#include <math.h>

typedef struct batch_norm_state {
  int64_t channels, inner;
} batch_norm_state;

static mien_status batch_norm_infer_mode(mien_node *n, int64_t training, int64_t spatial) {
  static const char *const names[] = {"X", "scale", "B", "mean", "var"};
  const mien_type *x = &mien_in(n, 0)->type;
  if (x->rank < 1) return mien_fail(n, MIEN_INVALID_MODEL, "input X is a scalar, expected rank 1 or more");
  if (training) return mien_fail(n, MIEN_UNSUPPORTED, "training_mode is 1, only inference is supported");
  if (!spatial) return mien_fail(n, MIEN_UNSUPPORTED, "spatial is 0, only 1 is supported");
  for (int i = 1; i < mien_out_count(n); i++)
    if (mien_out(n, i)) return mien_fail(n, MIEN_UNSUPPORTED, "output %d belongs to training and is not supported", i);
  const int64_t channels = x->rank > 1 ? x->dim[1] : 1;
  for (int i = 1; i < 5; i++) {
    const mien_type *t = &mien_in(n, i)->type;
    const bool open = t->rank == 1 && (mien_is_symbol(t->dim[0]) || mien_is_symbol(channels));
    if (t->rank != 1 || (!open && t->dim[0] != channels))
      return mien_fail(n, MIEN_INVALID_MODEL, "input %s has rank %d and %lld elements, expected 1 and %lld", names[i],
                       (int)t->rank, t->rank == 1 ? (long long)t->dim[0] : -1LL, (long long)channels);
  }
  return mien_set_type(n, 0, x);
}
static mien_status batch_norm_infer_7(mien_node *n) { return batch_norm_infer_mode(n, 0, mien_attr_i(n, "spatial")); }
static mien_status batch_norm_infer_9(mien_node *n) { return batch_norm_infer_mode(n, 0, 1); }
static mien_status batch_norm_infer_14(mien_node *n) {
  return batch_norm_infer_mode(n, mien_attr_i(n, "training_mode"), 1);
}

static mien_status batch_norm_prepare(mien_node *n) {
  batch_norm_state *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type;
  s->channels = x->rank > 1 ? x->dim[1] : 1;
  s->inner = x->rank > 1 ? 1 : x->dim[0];
  for (int i = 2; i < x->rank; i++) s->inner *= x->dim[i];
  const int64_t outer = x->rank > 1 ? x->dim[0] : 1;
  mien_work(n, s->inner ? outer * s->channels : 0, 0.4 * (double)s->inner + 5);
  return MIEN_OK;
}

/* The parameters may be of another float type than X. */
static double batch_norm_element(const mien_tensor *t, int64_t i) {
  switch (t->type.dtype) {
    case MIEN_F64: return ((const double *)t->data)[i];
    case MIEN_F16: return (double)mien_f16_to_f32(((const uint16_t *)t->data)[i]);
    case MIEN_BF16: return (double)mien_bf16_to_f32(((const uint16_t *)t->data)[i]);
    default: return (double)((const float *)t->data)[i];
  }
}

/* One item is one channel of one image. */
#define BATCH_NORM_ONE(D, T, C, K, ...)                                                                              \
  static mien_status batch_norm_##D(mien_node *n, int64_t begin, int64_t end) {                                      \
    const batch_norm_state *s = mien_state(n);                                                                       \
    const double epsilon = mien_attr_f(n, "epsilon");                                                                \
    for (int64_t i = begin; i < end; i++) {                                                                          \
      const int64_t c = i % s->channels;                                                                             \
      const T *x = (const T *)mien_in(n, 0)->data + i * s->inner;                                                    \
      T *y = (T *)mien_out(n, 0)->data + i * s->inner;                                                               \
      const C mean = (C)batch_norm_element(mien_in(n, 3), c), bias = (C)batch_norm_element(mien_in(n, 2), c);        \
      const C factor =                                                                                               \
          (C)(batch_norm_element(mien_in(n, 1), c) / sqrt(batch_norm_element(mien_in(n, 4), c) + epsilon));          \
      MIEN_INDEPENDENT                                                                                               \
      for (int64_t j = 0; j < s->inner; j++) y[j] = MIEN_PUT_##K(T, (MIEN_GET_##K(C, x[j]) - mean) * factor + bias); \
    }                                                                                                                \
    return MIEN_OK;                                                                                                  \
  }
MIEN_FLOATS(BATCH_NORM_ONE, )
MIEN_KERNELS(batch_norm, MIEN_FLOATS)
static const mien_kernel batch_norm_old_kernels[] = {
    {MIEN_F32, batch_norm_F32}, {MIEN_F64, batch_norm_F64}, {MIEN_F16, batch_norm_F16}, {MIEN_NONE, NULL}};

static const mien_attr batch_norm_attrs_7[] = {{.name = "epsilon", .kind = 'f', .f = 1e-5},
                                               {.name = "momentum", .kind = 'f', .f = 0.9},
                                               {.name = "spatial", .kind = 'i', .i = 1},
                                               {.name = NULL}};
static const mien_attr batch_norm_attrs_9[] = {
    {.name = "epsilon", .kind = 'f', .f = 1e-5}, {.name = "momentum", .kind = 'f', .f = 0.9}, {.name = NULL}};
static const mien_attr batch_norm_attrs_14[] = {{.name = "epsilon", .kind = 'f', .f = 1e-5},
                                                {.name = "momentum", .kind = 'f', .f = 0.9},
                                                {.name = "training_mode", .kind = 'i'},
                                                {.name = NULL}};

#define BATCH_NORM_RECORD(first, last, sign, attributes, table, inference)                                  \
  {                                                                                                         \
    .name = "BatchNormalization", .since = first, .until = last, .signature = sign, .attrs = attributes,    \
    .kernels = table, .state = sizeof(batch_norm_state), .infer = inference, .prepare = batch_norm_prepare, \
    .flags = MIEN_OP_IN_PLACE, .doc = "normalisation of each channel by given mean and variance"            \
  }
#define BATCH_NORM_OLD "X:T, scale:T, B:T, mean:T, var:T -> Y:T, mean_out:T?, var_out:T?, saved_mean:T?, saved_var:T?"

const mien_op mien_ops_BatchNormalization[] = {
    BATCH_NORM_RECORD(7, 8, BATCH_NORM_OLD, batch_norm_attrs_7, batch_norm_old_kernels, batch_norm_infer_7),
    BATCH_NORM_RECORD(9, 13, BATCH_NORM_OLD, batch_norm_attrs_9, batch_norm_old_kernels, batch_norm_infer_9),
    BATCH_NORM_RECORD(14, 14,
                      "X:T, scale:T, B:T, input_mean:U{f16,f32,f64,bf16}, input_var:U -> Y:T, running_mean:U?, "
                      "running_var:U?",
                      batch_norm_attrs_14, batch_norm_kernels, batch_norm_infer_14),
    BATCH_NORM_RECORD(15, 0,
                      "X:T, scale:T1{f16,f32,f64,bf16}, B:T1, input_mean:T2{f16,f32,f64,bf16}, input_var:T2 -> Y:T, "
                      "running_mean:T2?, running_var:T2?",
                      batch_norm_attrs_14, batch_norm_kernels, batch_norm_infer_14),
    {.name = NULL},
};
