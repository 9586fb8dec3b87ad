/* mien.Pool: MaxPool or AveragePool without Indices, fp32, with channels first or last. Attributes as in ai.onnx, and
** kind "max" or "average". */
#include "ops/pool.h"

POOL(F32, float, float, PLAIN, pool_max, float)
POOL(F32, float, float, PLAIN, pool_average, float)

#define FUSED_POOL (MIEN_WINDOW_AUTO_PAD | MIEN_WINDOW_CEIL_MODE | MIEN_WINDOW_DILATIONS)

static mien_status pool_infer(mien_node *n) {
  const char *kind = mien_attr_s(n, "kind");
  if (strcmp(kind, "max") != 0 && strcmp(kind, "average") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "kind is '%s', expected max or average", kind);
  return pool_type(n, mien_attr_i(n, "channels_last") != 0, FUSED_POOL);
}

static mien_status pool_prepare(mien_node *n) {
  pool_state *s = mien_state(n);
  s->include_pad = mien_attr_i(n, "count_include_pad") != 0;
  return pool_set(n, s, mien_attr_i(n, "channels_last") != 0, FUSED_POOL);
}

enum { POOL_TAPS = 32 };

/* Maxima of pixels whose channels lie together. A window of more taps goes on from what it has. */
static void pool_max_pixels(const mien_math *math, const pool_state *s, const float *x0, float *y, int64_t begin,
                            int64_t end) {
  const int64_t channels = s->channels, size = s->in[0] * s->in[1] * s->in[2];
  const float *taps[POOL_TAPS];
  for (int64_t i = begin; i < end; i++) {
    pool_row r = pool_row_at(s, i);
    const float *x = x0 + r.plane * size * channels;
    float *to = y + i * s->out[2] * channels;
    for (int64_t o = 0; o < s->out[2]; o++, to += channels) {
      int64_t count = 0;
      r.span[2] = pool_clip(s, 2, o);
      POOL_EACH(
          s, &r, if (count == POOL_TAPS) {
            math->largest(count, taps, channels, to);
            taps[0] = to;
            count = 1;
          } taps[count++] = x + at * channels;)
      math->largest(count, taps, channels, to);
    }
  }
}

static mien_status pool_run(mien_node *n, int64_t begin, int64_t end) {
  const pool_state *s = mien_state(n);
  bool average = strcmp(mien_attr_s(n, "kind"), "average") == 0;
  const float *x = mien_in(n, 0)->data;
  float *y = mien_out(n, 0)->data;
  if (average)
    pool_average_rows_F32(s, x, y, begin, end);
  else if (s->channels > 1)
    pool_max_pixels(mien_math_of(n), s, x, y, begin, end);
  else
    pool_max_rows_F32(s, x, y, begin, end);
  return MIEN_OK;
}

static const mien_attr pool_attrs[] = {{.name = "kind", .kind = 's', .required = true},
                                       {.name = "channels_last", .kind = 'i'},
                                       {.name = "auto_pad", .kind = 's', .s = "NOTSET"},
                                       {.name = "kernel_shape", .kind = 'I', .required = true},
                                       {.name = "pads", .kind = 'I'},
                                       {.name = "strides", .kind = 'I'},
                                       {.name = "dilations", .kind = 'I'},
                                       {.name = "ceil_mode", .kind = 'i'},
                                       {.name = "count_include_pad", .kind = 'i'},
                                       {.name = NULL}};
static const mien_kernel pool_kernels[] = {{MIEN_F32, pool_run}, {MIEN_NONE, NULL}};

const mien_op mien_ops_fused_Pool[] = {
    {.domain = "mien",
     .name = "Pool",
     .since = 1,
     .signature = "X:T -> Y:T",
     .attrs = pool_attrs,
     .kernels = pool_kernels,
     .state = sizeof(pool_state),
     .infer = pool_infer,
     .prepare = pool_prepare,
     .doc = "MaxPool or AveragePool with channels first or last"},
    {.name = NULL},
};
