/* Conv: convolution of X [N, C, spatial...] with W [M, C / group, kernel...], optional bias B. 1-, 2- and 3-D.
** ai.onnx 1, 11, 22 (bfloat16). fp32 takes the packed kernels of ops/conv.h, other types a plain loop. */
#include "ops/conv.h"
#include "ops/loop.h"

static const uint32_t conv_window = MIEN_WINDOW_DILATIONS | MIEN_WINDOW_AUTO_PAD;

static mien_status conv_op_infer(mien_node *n) {
  mien_window w;
  mien_type y;
  MIEN_TRY(conv_infer(n, &mien_in(n, 0)->type, &mien_in(n, 1)->type, false, conv_window, &w, &y));
  const mien_tensor *b = mien_in(n, 2);
  if (b && (b->type.rank != 1 || epilogue_differs(b->type.dim[0], y.dim[1])))
    return mien_fail(n, MIEN_INVALID_MODEL, "input B has rank %d, expected 1 with %lld elements", (int)b->type.rank,
                     (long long)y.dim[1]);
  return mien_set_type(n, 0, &y);
}

static mien_status conv_op_prepare(mien_node *n) {
  conv_state *s = mien_state(n);
  mien_window w;
  mien_type y;
  MIEN_TRY(conv_infer(n, &mien_in(n, 0)->type, &mien_in(n, 1)->type, false, conv_window, &w, &y));
  conv_problem_make(&s->p, &w, &mien_in(n, 0)->type, &mien_in(n, 1)->type, mien_attr_i(n, "group"), false);
  if (y.dtype == MIEN_F32) return conv_prepare(n, s);
  mien_work(n, mien_count(&mien_out(n, 0)->type), 2.0 * (double)s->p.depth);
  mien_note(n, conv_flops(&s->p), "loop");
  return MIEN_OK;
}

static mien_status conv_op_f32(mien_node *n, int64_t begin, int64_t end) {
  const conv_state *s = mien_state(n);
  const mien_epilogue e = {.act = MIEN_ACT_IDENTITY, .bias = epilogue_data(n, 2)};
  return s->algorithm->run(n, s, &e, begin, end);
}

/* One item is one element of Y. */
#define CONV_OP_ONE(D, T, C, K, ...)                                                                             \
  static C conv_op_sum_##D(const conv_problem *p, const T *x, const T *w, const int64_t *o) {                    \
    int64_t first[MIEN_WINDOW_RANK];                                                                             \
    for (int d = 0; d < MIEN_WINDOW_RANK; d++) first[d] = o[d] * p->w.stride[d] - p->w.before[d];                \
    C sum = 0;                                                                                                   \
    for (int64_t c = 0; c < p->in_each; c++, x += p->in_pixels)                                                  \
      for (int64_t a = 0; a < p->w.kernel[0]; a++)                                                               \
        for (int64_t b = 0; b < p->w.kernel[1]; b++)                                                             \
          for (int64_t e = 0; e < p->w.kernel[2]; e++, w++) {                                                    \
            const int64_t i = first[0] + a * p->w.dilation[0], j = first[1] + b * p->w.dilation[1];              \
            const int64_t k = first[2] + e * p->w.dilation[2];                                                   \
            if (i < 0 || i >= p->w.in[0] || j < 0 || j >= p->w.in[1] || k < 0 || k >= p->w.in[2]) continue;      \
            sum += MIEN_GET_##K(C, x[i * p->x_space[0] + j * p->x_space[1] + k]) * MIEN_GET_##K(C, *w);          \
          }                                                                                                      \
    return sum;                                                                                                  \
  }                                                                                                              \
  static mien_status conv_op_##D(mien_node *n, int64_t begin, int64_t end) {                                     \
    const conv_problem *p = &((const conv_state *)mien_state(n))->p;                                             \
    const T *x = mien_in(n, 0)->data, *w = mien_in(n, 1)->data, *b = mien_in(n, 2) ? mien_in(n, 2)->data : NULL; \
    T *y = mien_out(n, 0)->data;                                                                                 \
    for (int64_t i = begin; i < end; i++) {                                                                      \
      const int64_t m = i / p->out_pixels % p->out_channels, image = i / p->out_pixels / p->out_channels;        \
      int64_t o[MIEN_WINDOW_RANK];                                                                               \
      conv_locate(p, i % p->out_pixels, o);                                                                      \
      C sum = conv_op_sum_##D(p, x + (image * p->in_channels + m / p->out_each * p->in_each) * p->in_pixels,     \
                              w + m * p->depth, o);                                                              \
      if (b) sum += MIEN_GET_##K(C, b[m]);                                                                       \
      y[i] = MIEN_PUT_##K(T, sum);                                                                               \
    }                                                                                                            \
    return MIEN_OK;                                                                                              \
  }
#define CONV_OP_PLAIN(X, ...) X(F64, double, double, PLAIN, __VA_ARGS__) MIEN_HALVES(X, __VA_ARGS__)
CONV_OP_PLAIN(CONV_OP_ONE, )

static const mien_kernel conv_op_kernels[] = {{MIEN_F32, conv_op_f32},
                                              CONV_OP_PLAIN(MIEN_ROW, conv_op){MIEN_NONE, NULL}};
static const mien_kernel conv_op_old_kernels[] = {
    {MIEN_F32, conv_op_f32}, {MIEN_F64, conv_op_F64}, {MIEN_F16, conv_op_F16}, {MIEN_NONE, NULL}};

static const mien_attr conv_op_attrs[] = {{.name = "auto_pad", .kind = 's', .s = "NOTSET"},
                                          {.name = "dilations", .kind = 'I'},
                                          {.name = "group", .kind = 'i', .i = 1},
                                          {.name = "kernel_shape", .kind = 'I'},
                                          {.name = "pads", .kind = 'I'},
                                          {.name = "strides", .kind = 'I'},
                                          {.name = NULL}};

#define CONV_OP_RECORD(first, last, table)                                                                       \
  {                                                                                                              \
    .name = "Conv", .since = first, .until = last, .signature = "X:T, W:T, B:T? -> Y:T", .attrs = conv_op_attrs, \
    .kernels = table, .state = sizeof(conv_state), .infer = conv_op_infer, .prepare = conv_op_prepare,           \
    .flags = MIEN_OP_FLUSH, .doc = "convolution"                                                                 \
  }

const mien_op mien_ops_Conv[] = {
    CONV_OP_RECORD(1, 10, conv_op_old_kernels),
    CONV_OP_RECORD(11, 21, conv_op_old_kernels),
    CONV_OP_RECORD(22, 0, conv_op_kernels),
    {.name = NULL},
};
