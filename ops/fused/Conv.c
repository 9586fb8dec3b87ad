/* mien.Conv: Y = epilogue(Conv(X, W)) with W in ONNX's order or, of one group, in panels: [out / columns, kernel..., in,
** columns]. channels_last: X, R and Y are N, spatial..., C. P: the value of
** the padding for each input channel instead of 0, so that a normalisation before a padded convolution folds exactly.
** 1-, 2- and 3-D, fp32. W (a constant) of float16 is widened. W of bfloat16, channels_last: X and P are rounded to bfloat16,
** products are summed in fp32. int16, channels_last, W a constant: X, P and W are rounded to integers of 16 bits times steps.  mien 1. */
#include "ops/conv.h"

enum { CONV_P = 6 };

static mien_status fused_conv_infer(mien_node *n) {
  const bool last = mien_attr_i(n, "channels_last") != 0;
  mien_window w;
  mien_type y, weight;
  int64_t w_columns;
  MIEN_TRY(conv_weight_type(n, &weight, &w_columns));
  MIEN_TRY(conv_infer(n, &mien_in(n, 0)->type, &weight, last, MIEN_WINDOW_DILATIONS, &w, &y));
  MIEN_TRY(epilogue_infer(n, weight.dim[0], &y));
  const mien_tensor *p = mien_in(n, CONV_P);
  const int64_t channels = mien_in(n, 0)->type.dim[last ? y.rank - 1 : 1];
  if (p && (p->type.rank != 1 || epilogue_differs(p->type.dim[0], channels)))
    return mien_fail(n, MIEN_INVALID_MODEL, "input P has rank %d, expected 1 with %lld elements", (int)p->type.rank,
                     (long long)channels);
  return mien_set_type(n, 0, &y);
}

static mien_status fused_conv_prepare(mien_node *n) {
  conv_state *s = mien_state(n);
  const bool last = mien_attr_i(n, "channels_last") != 0;
  mien_window w;
  mien_type y, weight;
  int64_t w_columns;
  MIEN_TRY(conv_weight_type(n, &weight, &w_columns));
  MIEN_TRY(conv_infer(n, &mien_in(n, 0)->type, &weight, last, MIEN_WINDOW_DILATIONS, &w, &y));
  conv_problem_make(&s->p, &w, &mien_in(n, 0)->type, &weight, mien_attr_i(n, "group"), last);
  s->p.w_columns = w_columns;
  MIEN_TRY(gemm16_prepare(n, w_columns, &s->p.gemm16));
  MIEN_TRY(epilogue_prepare(n, &s->epilogue));
  return conv_prepare(n, s);
}

static mien_status fused_conv_run(mien_node *n, int64_t begin, int64_t end) {
  const conv_state *s = mien_state(n);
  mien_epilogue e = epilogue_read(n, &s->epilogue);
  e.residual_stride = s->p.channels_last ? s->p.out_channels : 1;
  e.residual_step = s->p.channels_last ? 1 : s->p.out_pixels;
  return s->algorithm->run(n, s, &e, begin, end);
}

static const mien_kernel fused_conv_kernels[] = {{MIEN_F32, fused_conv_run}, {MIEN_NONE, NULL}};
static const mien_attr fused_conv_attrs[] = {{.name = "kernel_shape", .kind = 'I'},
                                             {.name = "strides", .kind = 'I'},
                                             {.name = "pads", .kind = 'I'},
                                             {.name = "dilations", .kind = 'I'},
                                             {.name = "group", .kind = 'i', .i = 1},
                                             {.name = "channels_last", .kind = 'i'},
                                             EPILOGUE_ATTRS,
                                             GEMM16_ATTR,
                                             {.name = NULL}};

const mien_op mien_ops_fused_Conv[] = {
    {.domain = "mien",
     .name = "Conv",
     .since = 1,
     .signature = "X:T, W:W{f32,f16,bf16}, B:T?, S:T?, G:T?, R:T?, P:T? -> Y:T",
     .attrs = fused_conv_attrs,
     .kernels = fused_conv_kernels,
     .state = sizeof(conv_state),
     .infer = fused_conv_infer,
     .prepare = fused_conv_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "convolution with padding values, bias, activation, scale and residual"},
    {.name = NULL},
};
