/* LayerNormalization: Y = (X - mean) / sqrt(variance + epsilon) * Scale + B over the dimensions from `axis` on.
** ai.onnx 17. Mean and InvStdDev are float (stash_type 1, the only one supported). */
#include "ops/norm.h"

typedef struct layer_norm_state {
  norm_rows rows;
} layer_norm_state;

static mien_status layer_norm_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type;
  int axis = 0;
  MIEN_TRY(norm_infer(n, &axis));
  mien_type m = *x;
  m.dtype = MIEN_F32;
  for (int i = axis; i < m.rank; i++) m.dim[i] = 1;
  MIEN_TRY(mien_set_type(n, 1, &m));
  MIEN_TRY(mien_set_type(n, 2, &m));
  return mien_set_type(n, 0, x);
}

static mien_status layer_norm_prepare(mien_node *n) {
  layer_norm_state *s = mien_state(n);
  mien_note_vector(n, true);
  return norm_prepare(n, &s->rows);
}

static float *layer_norm_out(mien_node *n, int i, int64_t row) {
  mien_tensor *t = mien_out(n, i);
  return t ? (float *)t->data + row : NULL;
}

static mien_status layer_norm_F32(mien_node *n, int64_t begin, int64_t end) {
  const layer_norm_state *s = mien_state(n);
  const norm_rows *r = &s->rows;
  const float *scale = r->whole_rows ? norm_data(n, 1) : NULL, *bias = r->whole_rows ? norm_data(n, 2) : NULL;
  for (int64_t i = begin; i < end; i++) {
    float *y = (float *)mien_out(n, 0)->data + i * r->count;
    mien_math_of(n)->layer_norm((const float *)mien_in(n, 0)->data + i * r->count, scale, bias, r->epsilon, y, r->count,
                                layer_norm_out(n, 1, i), layer_norm_out(n, 2, i));
    if (!r->whole_rows) norm_affine_F32(n, r, y, y, i);
  }
  return MIEN_OK;
}

#define LAYER_NORM_ONE(D, T, C, K, ...)                                              \
  static mien_status layer_norm_##D(mien_node *n, int64_t begin, int64_t end) {      \
    const layer_norm_state *s = mien_state(n);                                       \
    const norm_rows *r = &s->rows;                                                   \
    C *row = mien_scratch_of(n);                                                     \
    for (int64_t i = begin; i < end; i++) {                                          \
      const T *x = (const T *)mien_in(n, 0)->data + i * r->count;                    \
      float *mean = layer_norm_out(n, 1, i), *inverse = layer_norm_out(n, 2, i);     \
      C sum = 0, squares = 0;                                                        \
      for (int64_t j = 0; j < r->count; j++) sum += row[j] = MIEN_GET_##K(C, x[j]);  \
      const C m = sum / (C)r->count;                                                 \
      for (int64_t j = 0; j < r->count; j++) squares += (row[j] - m) * (row[j] - m); \
      const C inv = 1 / NORM_SQRT(squares / (C)r->count + (C)r->epsilon);            \
      for (int64_t j = 0; j < r->count; j++) row[j] = (row[j] - m) * inv;            \
      if (mean) *mean = (float)m;                                                    \
      if (inverse) *inverse = (float)inv;                                            \
      norm_affine_##D(n, r, row, (T *)mien_out(n, 0)->data + i * r->count, i);       \
    }                                                                                \
    return MIEN_OK;                                                                  \
  }
#define LAYER_NORM_TYPES(X, ...) X(F64, double, double, PLAIN, __VA_ARGS__) MIEN_HALVES(X, __VA_ARGS__)
LAYER_NORM_TYPES(LAYER_NORM_ONE, )

static const mien_kernel layer_norm_kernels[] = {{MIEN_F32, layer_norm_F32},
                                                 LAYER_NORM_TYPES(MIEN_ROW, layer_norm){MIEN_NONE, NULL}};
static const mien_attr layer_norm_attrs[] = {{.name = "axis", .kind = 'i', .i = -1},
                                             {.name = "epsilon", .kind = 'f', .f = 1e-5},
                                             {.name = "stash_type", .kind = 'i', .i = 1},
                                             {.name = NULL}};

const mien_op mien_ops_LayerNormalization[] = {
    {.name = "LayerNormalization",
     .since = 17,
     .signature = "X:T, Scale:T, B:T? -> Y:T, Mean:f32?, InvStdDev:f32?",
     .attrs = layer_norm_attrs,
     .kernels = layer_norm_kernels,
     .state = sizeof(layer_norm_state),
     .infer = layer_norm_infer,
     .prepare = layer_norm_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "zero mean and unit variance from the axis on, then scale and bias"},
    {.name = NULL},
};
