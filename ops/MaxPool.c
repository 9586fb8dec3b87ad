/* MaxPool: the largest element under a sliding window; where it was, if asked.  ai.onnx 10 (ceil_mode, dilations),
** 8 (Indices, storage_order), 1.  N x C x 1 to 3 spatial dimensions. */
#include "ops/pool.h"

#define MAXPOOL_TYPES(X, ...) \
  MIEN_FLOATS(X, __VA_ARGS__) X(I8, int8_t, int8_t, PLAIN, __VA_ARGS__) X(U8, uint8_t, uint8_t, PLAIN, __VA_ARGS__)
#define MAXPOOL_ROWS(D, T, C, K, ...) POOL(D, T, C, K, pool_max, C)
MAXPOOL_TYPES(MAXPOOL_ROWS, 0)

#define MAXPOOL_10 (MIEN_WINDOW_AUTO_PAD | MIEN_WINDOW_CEIL_MODE | MIEN_WINDOW_DILATIONS)

static mien_status maxpool_infer_1(mien_node *n) { return pool_type(n, false, MIEN_WINDOW_AUTO_PAD); }
static mien_status maxpool_infer_10(mien_node *n) { return pool_type(n, false, MAXPOOL_10); }

static mien_status maxpool_prepare_1(mien_node *n) { return pool_set(n, mien_state(n), false, MIEN_WINDOW_AUTO_PAD); }

static mien_status maxpool_prepare_8(mien_node *n) {
  pool_state *s = mien_state(n);
  s->column_major = mien_attr_i(n, "storage_order") != 0;
  return pool_set(n, s, false, MIEN_WINDOW_AUTO_PAD);
}

static mien_status maxpool_prepare_10(mien_node *n) {
  pool_state *s = mien_state(n);
  s->column_major = mien_attr_i(n, "storage_order") != 0;
  return pool_set(n, s, false, MAXPOOL_10);
}

/* Position `at` of a plane as the index that Indices counts in. */
static int64_t maxpool_index(const pool_state *s, int64_t plane, int64_t at) {
  int64_t size = s->in[0] * s->in[1] * s->in[2];
  if (at < 0) return -1;
  if (s->column_major)
    at = at / (s->in[1] * s->in[2]) + (at / s->in[2] % s->in[1]) * s->in[0] + at % s->in[2] * s->in[0] * s->in[1];
  return plane * size + at;
}

#define MAXPOOL_INDEXED(D, T, C, K, ...)                                                                        \
  static void maxpool_indexed_##D(const pool_state *s, const T *x0, T *y, int64_t *indices, int64_t begin,      \
                                  int64_t end) {                                                                \
    for (int64_t i = begin; i < end; i++) {                                                                     \
      pool_row r = pool_row_at(s, i);                                                                           \
      const T *x = x0 + r.plane * s->in[0] * s->in[1] * s->in[2];                                               \
      for (int64_t o = 0; o < s->out[2]; o++) {                                                                 \
        C best = POOL_LOW_##D;                                                                                  \
        int64_t where = -1;                                                                                     \
        r.span[2] = pool_clip(s, 2, o);                                                                         \
        POOL_EACH(                                                                                              \
            s, &r, const C v = MIEN_GET_##K(C, x[at]); if (where < 0 || v > best || (v != v && best == best)) { \
              best = v;                                                                                         \
              where = at;                                                                                       \
            })                                                                                                  \
        if (y) y[i * s->out[2] + o] = MIEN_PUT_##K(T, best);                                                    \
        indices[i * s->out[2] + o] = maxpool_index(s, r.plane, where);                                          \
      }                                                                                                         \
    }                                                                                                           \
  }                                                                                                             \
  static mien_status maxpool_##D(mien_node *n, int64_t begin, int64_t end) {                                    \
    const pool_state *s = mien_state(n);                                                                        \
    mien_tensor *y = mien_out(n, 0), *indices = mien_out_count(n) > 1 ? mien_out(n, 1) : NULL;                  \
    if (indices)                                                                                                \
      maxpool_indexed_##D(s, mien_in(n, 0)->data, y ? y->data : NULL, indices->data, begin, end);               \
    else                                                                                                        \
      pool_max_rows_##D(s, mien_in(n, 0)->data, y->data, begin, end);                                           \
    return MIEN_OK;                                                                                             \
  }
MAXPOOL_TYPES(MAXPOOL_INDEXED, 0)
MIEN_KERNELS(maxpool, MAXPOOL_TYPES)

#define MAXPOOL_ATTRS                                                                                        \
  {.name = "auto_pad", .kind = 's', .s = "NOTSET"}, {.name = "kernel_shape", .kind = 'I', .required = true}, \
      {.name = "pads", .kind = 'I'}, {                                                                       \
    .name = "strides", .kind = 'I'                                                                           \
  }
static const mien_attr maxpool_attrs_1[] = {MAXPOOL_ATTRS, {.name = NULL}};
static const mien_attr maxpool_attrs_8[] = {MAXPOOL_ATTRS, {.name = "storage_order", .kind = 'i'}, {.name = NULL}};
static const mien_attr maxpool_attrs_10[] = {MAXPOOL_ATTRS,
                                             {.name = "storage_order", .kind = 'i'},
                                             {.name = "ceil_mode", .kind = 'i'},
                                             {.name = "dilations", .kind = 'I'},
                                             {.name = NULL}};

#define MAXPOOL                                                               \
  .name = "MaxPool", .kernels = maxpool_kernels, .state = sizeof(pool_state), \
  .doc = "the largest element of every window"

const mien_op mien_ops_MaxPool[] = {
    {MAXPOOL, .since = 1, .until = 7, .signature = "X:T -> Y:T", .attrs = maxpool_attrs_1, .infer = maxpool_infer_1,
     .prepare = maxpool_prepare_1},
    {MAXPOOL, .since = 8, .until = 9, .signature = "X:T -> Y:T, Indices:i64?", .attrs = maxpool_attrs_8,
     .infer = maxpool_infer_1, .prepare = maxpool_prepare_8},
    {MAXPOOL, .since = 10, .signature = "X:T -> Y:T, Indices:i64?", .attrs = maxpool_attrs_10,
     .infer = maxpool_infer_10, .prepare = maxpool_prepare_10},
    {.name = NULL},
};
