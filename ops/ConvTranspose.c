/* ConvTranspose: the gradient of a convolution: X [N, C, spatial...], W [C, M / group, kernel...], optional bias B.
** 1-, 2- and 3-D.  ai.onnx 1, 11, 22 (bfloat16). A plain loop: one item is one element of Y. */
#include "ops/epilogue.h"
#include "ops/loop.h"
#include "ops/window.h"

typedef struct conv_transpose_state {
  int64_t in[MIEN_WINDOW_RANK], out[MIEN_WINDOW_RANK], kernel[MIEN_WINDOW_RANK], stride[MIEN_WINDOW_RANK];
  int64_t dilation[MIEN_WINDOW_RANK], before[MIEN_WINDOW_RANK];
  int64_t channels, out_channels, group, in_pixels, out_pixels, taps;
} conv_transpose_state;

typedef struct conv_transpose_attrs {
  int64_t kernel[MIEN_WINDOW_RANK], stride[MIEN_WINDOW_RANK], dilation[MIEN_WINDOW_RANK], extra[MIEN_WINDOW_RANK];
  int64_t pads[2 * MIEN_WINDOW_RANK], shape[MIEN_WINDOW_RANK];
  bool shaped, same, upper;
} conv_transpose_attrs;

static mien_status conv_transpose_read(mien_node *n, int rank, conv_transpose_attrs *a) {
  const mien_type *w = &mien_in(n, 1)->type;
  memset(a, 0, sizeof *a);
  for (int d = 0; d < rank; d++) {
    a->kernel[d] = w->dim[2 + d];
    a->stride[d] = a->dilation[d] = 1;
    if (a->kernel[d] < 1 && !mien_is_symbol(a->kernel[d]))
      return mien_fail(n, MIEN_INVALID_MODEL, "the kernel's extent along spatial dimension %d is 0", d);
    if (!mien_is_symbol(a->kernel[d]) && a->kernel[d] > MIEN_WINDOW_MAX)
      return mien_fail(n, MIEN_LIMIT, "the kernel's extent along spatial dimension %d is too large", d);
  }
  MIEN_TRY(mien_window_list(n, "kernel_shape", 1, rank, a->kernel));
  MIEN_TRY(mien_window_list(n, "strides", 1, rank, a->stride));
  MIEN_TRY(mien_window_list(n, "dilations", 1, rank, a->dilation));
  MIEN_TRY(mien_window_list(n, "output_padding", 0, rank, a->extra));
  for (int d = 0; d < rank; d++)
    if (!mien_is_symbol(w->dim[2 + d]) && a->kernel[d] != w->dim[2 + d])
      return mien_fail(n, MIEN_INVALID_MODEL, "kernel_shape[%d] is %lld, the weight has %lld", d,
                       (long long)a->kernel[d], (long long)w->dim[2 + d]);
  const char *automatic = mien_attr_s(n, "auto_pad");
  a->upper = strcmp(automatic, "SAME_UPPER") == 0;
  a->same = a->upper || strcmp(automatic, "SAME_LOWER") == 0;
  const bool none = !*automatic || strcmp(automatic, "NOTSET") == 0;
  if (!a->same && !none && strcmp(automatic, "VALID") != 0)
    return mien_fail(n, MIEN_INVALID_MODEL, "auto_pad is '%.40s', expected NOTSET, VALID, SAME_UPPER or SAME_LOWER",
                     automatic);
  if (none) MIEN_TRY(mien_window_list(n, "pads", 0, 2 * rank, a->pads));
  int64_t count = 0;
  const int64_t *shape = mien_attr_ints(n, "output_shape", &count);
  if (count == 0) return MIEN_OK;
  if (count != rank && count != rank + 2)
    return mien_fail(n, MIEN_INVALID_MODEL, "output_shape has %lld elements, expected %d", (long long)count, rank);
  a->shaped = true;
  for (int d = 0; d < rank; d++) {
    a->shape[d] = shape[count - rank + d];
    if (a->shape[d] < 0 || a->shape[d] > MIEN_WINDOW_MAX)
      return mien_fail(n, MIEN_INVALID_MODEL, "output_shape[%d] is %lld", d, (long long)a->shape[d]);
  }
  return MIEN_OK;
}

/* Output size and padding in front along spatial dimension d of size `in`. */
static mien_status conv_transpose_size(mien_node *n, const conv_transpose_attrs *a, int rank, int d, int64_t in,
                                       int64_t *out, int64_t *before) {
  const int64_t span = mien_dim(n, '+', mien_dim(n, '*', mien_dim(n, '-', a->kernel[d], 1), a->dilation[d]), 1);
  const int64_t full =
      mien_dim(n, '+', mien_dim(n, '*', mien_dim(n, '-', in, 1), a->stride[d]), mien_dim(n, '+', span, a->extra[d]));
  if (a->shaped || a->same) {
    const int64_t wanted = a->shaped ? a->shape[d] : mien_dim(n, '*', in, a->stride[d]);
    const int64_t total = mien_dim(n, 'M', mien_dim(n, '-', full, wanted), 0), half = mien_dim(n, '/', total, 2);
    *before = a->upper ? half : mien_dim(n, '-', total, half);
    *out = a->shaped ? wanted : mien_dim(n, '-', full, total);
  } else {
    *before = a->pads[d];
    *out = mien_dim(n, '-', full, a->pads[d] + a->pads[rank + d]);
  }
  if (!mien_is_symbol(*out) && *out < 1)
    return mien_fail(n, MIEN_INVALID_MODEL,
                     "the output would have size %lld along spatial dimension %d, expected at least 1", (long long)*out,
                     d);
  return MIEN_OK;
}

static mien_status conv_transpose_infer(mien_node *n) {
  const mien_type *x = &mien_in(n, 0)->type, *w = &mien_in(n, 1)->type;
  if (x->rank < 3 || x->rank > 2 + MIEN_WINDOW_RANK || w->rank != x->rank)
    return mien_fail(n, MIEN_INVALID_MODEL, "input X has rank %d and W rank %d, expected equal ranks of 3 to %d",
                     (int)x->rank, (int)w->rank, 2 + MIEN_WINDOW_RANK);
  const int rank = x->rank - 2;
  const int64_t group = mien_attr_i(n, "group");
  if (group < 1) return mien_fail(n, MIEN_INVALID_MODEL, "group is %lld, expected >= 1", (long long)group);
  if (epilogue_differs(x->dim[1], w->dim[0]) || (!mien_is_symbol(w->dim[0]) && w->dim[0] % group != 0))
    return mien_fail(n, MIEN_INVALID_MODEL, "X has %lld channels; W takes %lld in %lld groups", (long long)x->dim[1],
                     (long long)w->dim[0], (long long)group);
  conv_transpose_attrs a;
  MIEN_TRY(conv_transpose_read(n, rank, &a));
  mien_type y = *x;
  y.dim[1] = mien_dim(n, '*', w->dim[1], group);
  for (int d = 0; d < rank; d++) {
    int64_t before;
    MIEN_TRY(conv_transpose_size(n, &a, rank, d, x->dim[2 + d], &y.dim[2 + d], &before));
  }
  const mien_tensor *b = mien_in(n, 2);
  if (b && (b->type.rank != 1 || epilogue_differs(b->type.dim[0], y.dim[1])))
    return mien_fail(n, MIEN_INVALID_MODEL, "input B has rank %d, expected 1 with %lld elements", (int)b->type.rank,
                     (long long)y.dim[1]);
  return mien_set_type(n, 0, &y);
}

static mien_status conv_transpose_prepare(mien_node *n) {
  conv_transpose_state *s = mien_state(n);
  const mien_type *x = &mien_in(n, 0)->type, *y = &mien_out(n, 0)->type;
  const int rank = x->rank - 2, missing = MIEN_WINDOW_RANK - rank;
  conv_transpose_attrs a;
  MIEN_TRY(conv_transpose_read(n, rank, &a));
  s->in_pixels = s->out_pixels = s->taps = 1;
  for (int d = 0; d < MIEN_WINDOW_RANK; d++) {
    const int from = d - missing;
    s->in[d] = s->out[d] = s->kernel[d] = s->stride[d] = s->dilation[d] = 1;
    if (from >= 0) {
      s->in[d] = x->dim[2 + from];
      s->kernel[d] = a.kernel[from];
      s->stride[d] = a.stride[from];
      s->dilation[d] = a.dilation[from];
      MIEN_TRY(conv_transpose_size(n, &a, rank, from, s->in[d], &s->out[d], &s->before[d]));
    }
    s->in_pixels *= s->in[d];
    s->out_pixels *= s->out[d];
    s->taps *= s->kernel[d];
  }
  s->channels = x->dim[1];
  s->out_channels = y->dim[1];
  s->group = mien_attr_i(n, "group");
  mien_work(n, mien_count(y), 2.0 * (double)(s->channels / s->group) * (double)s->taps + 20);
  mien_note(n,
            2.0 * (double)x->dim[0] * (double)s->in_pixels * (double)s->channels * (double)s->taps *
                (double)(s->out_channels / s->group),
            "loop");
  return MIEN_OK;
}

/* The input position under which tap k meets output position o along dimension d, or -1. */
static int64_t conv_transpose_from(const conv_transpose_state *s, int d, int64_t o, int64_t k) {
  const int64_t at = o + s->before[d] - k * s->dilation[d];
  if (at < 0 || at % s->stride[d] != 0) return -1;
  return at / s->stride[d] < s->in[d] ? at / s->stride[d] : -1;
}

#define CONV_TRANSPOSE_ONE(D, T, C, K, ...)                                                                       \
  /* x: the image's group; w: the group's weights of the output channel; o: where in Y. */                        \
  static C conv_transpose_sum_##D(const conv_transpose_state *s, const T *x, const T *w, const int64_t *o) {      \
    const int64_t in_each = s->channels / s->group, out_each = s->out_channels / s->group;                        \
    C sum = 0;                                                                                                    \
    for (int64_t a = 0; a < s->kernel[0]; a++) {                                                                  \
      const int64_t i = conv_transpose_from(s, 0, o[0], a);                                                       \
      for (int64_t b = 0; i >= 0 && b < s->kernel[1]; b++) {                                                      \
        const int64_t j = conv_transpose_from(s, 1, o[1], b);                                                     \
        for (int64_t e = 0; j >= 0 && e < s->kernel[2]; e++) {                                                    \
          const int64_t k = conv_transpose_from(s, 2, o[2], e), t = (a * s->kernel[1] + b) * s->kernel[2] + e;    \
          if (k < 0) continue;                                                                                    \
          const int64_t pixel = (i * s->in[1] + j) * s->in[2] + k;                                                \
          for (int64_t c = 0; c < in_each; c++)                                                                   \
            sum += MIEN_GET_##K(C, x[c * s->in_pixels + pixel]) * MIEN_GET_##K(C, w[c * out_each * s->taps + t]); \
        }                                                                                                         \
      }                                                                                                           \
    }                                                                                                             \
    return sum;                                                                                                   \
  }                                                                                                               \
  static mien_status conv_transpose_##D(mien_node *n, int64_t begin, int64_t end) {                               \
    const conv_transpose_state *s = mien_state(n);                                                                \
    const T *x = mien_in(n, 0)->data, *w = mien_in(n, 1)->data, *b = mien_in(n, 2) ? mien_in(n, 2)->data : NULL;  \
    T *y = mien_out(n, 0)->data;                                                                                  \
    const int64_t in_each = s->channels / s->group, out_each = s->out_channels / s->group;                        \
    for (int64_t at = begin; at < end; at++) {                                                                    \
      const int64_t pixel = at % s->out_pixels, m = at / s->out_pixels % s->out_channels;                         \
      const int64_t image = at / s->out_pixels / s->out_channels, first = m / out_each * in_each;                 \
      const int64_t o[3] = {pixel / s->out[2] / s->out[1], pixel / s->out[2] % s->out[1], pixel % s->out[2]};     \
      C sum = conv_transpose_sum_##D(s, x + (image * s->channels + first) * s->in_pixels,                         \
                                     w + (first * out_each + m % out_each) * s->taps, o);                         \
      if (b) sum += MIEN_GET_##K(C, b[m]);                                                                        \
      y[at] = MIEN_PUT_##K(T, sum);                                                                               \
    }                                                                                                             \
    return MIEN_OK;                                                                                               \
  }
MIEN_FLOATS(CONV_TRANSPOSE_ONE, )
MIEN_KERNELS(conv_transpose, MIEN_FLOATS)
static const mien_kernel conv_transpose_old_kernels[] = {
    {MIEN_F32, conv_transpose_F32}, {MIEN_F64, conv_transpose_F64}, {MIEN_F16, conv_transpose_F16}, {MIEN_NONE, NULL}};

static const mien_attr conv_transpose_attr_table[] = {{.name = "auto_pad", .kind = 's', .s = "NOTSET"},
                                                      {.name = "dilations", .kind = 'I'},
                                                      {.name = "group", .kind = 'i', .i = 1},
                                                      {.name = "kernel_shape", .kind = 'I'},
                                                      {.name = "output_padding", .kind = 'I'},
                                                      {.name = "output_shape", .kind = 'I'},
                                                      {.name = "pads", .kind = 'I'},
                                                      {.name = "strides", .kind = 'I'},
                                                      {.name = NULL}};

#define CONV_TRANSPOSE_RECORD(first, last, table)                                                 \
  {                                                                                               \
    .name = "ConvTranspose", .since = first, .until = last, .signature = "X:T, W:T, B:T? -> Y:T", \
    .attrs = conv_transpose_attr_table, .kernels = table, .state = sizeof(conv_transpose_state),  \
    .infer = conv_transpose_infer, .prepare = conv_transpose_prepare, .flags = MIEN_OP_FLUSH,     \
    .doc = "transposed convolution"                                                               \
  }

const mien_op mien_ops_ConvTranspose[] = {
    CONV_TRANSPOSE_RECORD(1, 10, conv_transpose_old_kernels),
    CONV_TRANSPOSE_RECORD(11, 21, conv_transpose_old_kernels),
    CONV_TRANSPOSE_RECORD(22, 0, conv_transpose_kernels),
    {.name = NULL},
};
