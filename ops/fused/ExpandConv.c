/* mien.ExpandConv: Y = epilogue(Conv(Z, W)), Z = activation(Conv(X, E) + EB), with W depthwise, as in mien.Conv, and E a 1x1
** convolution, in ONNX's order or in panels. X, R and Y are N, H, W, C. Z, which is several times as large as X, is never there whole:
** each of its lines is computed when the first window comes to it, into a ring of as many lines as a window has, which stays in the
** second-level cache. Bits are those of the two convolutions alone. fp32, all weights constants; of float16 they are widened.
** The expansion of inverted residuals (Sandler et al., MobileNetV2, 2018).  mien 1. */
#include "ops/conv.h"

enum { EXPAND_E = 6, EXPAND_EB, EXPAND_ES };
enum { EXPAND_AGAIN = 20 }; /* of so many lines of Z one may be computed twice, by two threads */

typedef struct expand_state {
  conv_state conv;   /* the depthwise convolution; first: its functions look for it here */
  conv_problem wide; /* of X by E */
  mien_epilogue wide_epilogue;
  const float *wide_packed;
  int64_t slots;         /* lines of the ring */
  int64_t strips, lines; /* an image's, and what each has of Y */
  size_t ring_at, tables_at, window_at;
  char wide_kind[CONV_KIND];
} expand_state;

typedef struct expand_types {
  mien_type e, z, y; /* e: outside panels */
  int64_t e_columns;
  mien_window window;
} expand_types;

static mien_status expand_types_of(mien_node *n, expand_types *t) {
  const mien_type *x = &mien_in(n, 0)->type, *w = &mien_in(n, 1)->type;
  if (x->rank != 4) return mien_fail(n, MIEN_INVALID_MODEL, "input X has rank %d, expected 4", (int)x->rank);
  conv_outside_panels(n, &mien_in(n, EXPAND_E)->type, 4, &t->e, &t->e_columns);
  const mien_type *e = &t->e;
  if (e->rank != 4 || epilogue_differs(e->dim[1], x->dim[3]) || e->dim[2] != 1 || e->dim[3] != 1)
    return mien_fail(n, MIEN_INVALID_MODEL, "input E is not a 1x1 convolution of X, which has %lld channels",
                     (long long)x->dim[3]);
  t->z = *x;
  t->z.dim[3] = e->dim[0];
  MIEN_TRY(conv_infer(n, &t->z, w, true, MIEN_WINDOW_DILATIONS, &t->window, &t->y));
  if (w->dim[1] != 1 || epilogue_differs(w->dim[0], e->dim[0]))
    return mien_fail(n, MIEN_INVALID_MODEL, "input W is not a depthwise convolution of %lld channels",
                     (long long)e->dim[0]);
  return MIEN_OK;
}

static mien_status expand_infer(mien_node *n) {
  expand_types t;
  mien_activation act;
  MIEN_TRY(expand_types_of(n, &t));
  MIEN_TRY(epilogue_infer(n, t.e.dim[0], &t.y));
  MIEN_TRY(epilogue_activation(n, "expand_activation", &act));
  MIEN_TRY(epilogue_vector(n, EXPAND_EB, "EB", t.e.dim[0]));
  MIEN_TRY(epilogue_vector(n, EXPAND_ES, "ES", t.e.dim[0]));
  if (act == MIEN_ACT_PRELU && !mien_in(n, EXPAND_ES))
    return mien_fail(n, MIEN_INVALID_MODEL, "expand_activation PRelu needs input ES");
  return mien_set_type(n, 0, &t.y);
}

static mien_status expand_fill(mien_node *n, void *memory) {
  const expand_state *s = mien_state(n);
  conv_pack(&s->wide, mien_math_of(n), mien_in(n, EXPAND_E)->data, 0, 0, s->wide.out_channels, memory);
  return MIEN_OK;
}

static mien_status expand_pack(mien_node *n, expand_state *s) {
  static const float nothing[1];
  const mien_math *math = mien_math_of(n);
  const conv_problem *p = &s->conv.p, *wide = &s->wide;
  const size_t bytes = conv_depthwise_bytes(p, math), wide_bytes = conv_product_bytes(wide, math);
  if (bytes == SIZE_MAX || wide_bytes == SIZE_MAX) return mien_fail(n, MIEN_LIMIT, "the weights are too large to pack");
  if (!mien_is_constant(n, 1) || !mien_is_constant(n, EXPAND_E))
    return mien_fail(n, MIEN_UNSUPPORTED, "inputs W and E must be constants");
  s->conv.packed = s->wide_packed = nothing;
  if (bytes > 0)
    MIEN_TRY(conv_packed(n, 1, p, "depthwise", false, bytes, conv_depthwise_fill, s->conv.kind, &s->conv.packed));
  if (wide_bytes > 0)
    MIEN_TRY(conv_packed(n, EXPAND_E, wide, "product", true, wide_bytes, expand_fill, s->wide_kind, &s->wide_packed));
  return MIEN_OK;
}

/* Strips, each of which computes the lines of its first window anew: as many as balance the threads, while that costs little. */
static void expand_split(mien_node *n, expand_state *s) {
  const mien_window *w = &s->conv.p.w;
  const int64_t threads = mien_threads(n), images = s->conv.p.images > 0 ? s->conv.p.images : 1;
  const int64_t again = (w->kernel[1] - 1) * w->dilation[1] + 1 - w->stride[1], least = conv_ceil(threads, images);
  int64_t strips = conv_ceil(threads == 1 ? 1 : 4 * threads, images);
  if (again > 0) strips = conv_min(strips, w->in[1] / (EXPAND_AGAIN * again) / least * least);
  if (strips < least) strips = least;
  s->lines = w->out[1] > 0 ? conv_ceil(w->out[1], strips) : 1;
  s->strips = conv_ceil(w->out[1], s->lines);
}

/* Z is no value of the plan, whose sizes are checked. */
static mien_status expand_check(mien_node *n, const mien_type *z) {
  const int64_t channels = mien_in(n, 0)->type.dim[3];
  int64_t count = z->dim[3] > channels ? z->dim[3] : channels;
  if (count < 1) count = 1;
  for (int i = 0; i < 3; i++)
    if (__builtin_mul_overflow(count, z->dim[i] > 1 ? z->dim[i] : 1, &count))
      return mien_fail(n, MIEN_LIMIT, "the map between the convolutions is too large");
  return MIEN_OK;
}

/* Scratch of a thread. */
static mien_status expand_room(mien_node *n, expand_state *s) {
  const conv_problem *p = &s->conv.p;
  const mien_window *w = &p->w;
  s->slots = conv_min((w->kernel[1] - 1) * w->dilation[1] + 1, w->in[1]);
  size_t total = 0;
  bool fits = conv_room(&total, &s->conv.pads_at, p->out_channels, 1, sizeof(float));
  fits = fits && conv_room(&total, &s->ring_at, s->slots * p->out_channels, w->in[2], sizeof(float));
  fits = fits && conv_room(&total, &s->tables_at, s->slots + 1, conv_depthwise_pixels(p, w->out[2]), sizeof(float *));
  fits = fits && conv_room(&total, &s->window_at, w->kernel[1], 1, sizeof(float **));
  if (!fits) return mien_fail(n, MIEN_LIMIT, "the lines of a window are too large");
  return mien_scratch(n, total);
}

static mien_status expand_prepare(mien_node *n) {
  expand_state *s = mien_state(n);
  conv_problem *p = &s->conv.p;
  expand_types t;
  MIEN_TRY(expand_types_of(n, &t));
  MIEN_TRY(expand_check(n, &t.z));
  conv_problem_make(p, &t.window, &t.z, &mien_in(n, 1)->type, mien_attr_i(n, "group"), true);
  const mien_window point = {.rank = 2,
                             .in = {t.window.in[0], t.window.in[1]},
                             .out = {t.window.in[0], t.window.in[1]},
                             .kernel = {1, 1},
                             .stride = {1, 1},
                             .dilation = {1, 1}};
  conv_problem_make(&s->wide, &point, &mien_in(n, 0)->type, &t.e, 1, true);
  s->wide.w_columns = t.e_columns;
  MIEN_TRY(epilogue_prepare(n, &s->conv.epilogue));
  s->wide_epilogue =
      (mien_epilogue){.alpha = (float)mien_attr_f(n, "expand_alpha"), .beta = (float)mien_attr_f(n, "expand_beta")};
  MIEN_TRY(epilogue_activation(n, "expand_activation", &s->wide_epilogue.act));
  MIEN_TRY(expand_pack(n, s));
  MIEN_TRY(expand_room(n, s));
  expand_split(n, s);
  const double flops = conv_flops(&s->wide) + conv_flops(p), strips = (double)(p->images * s->strips);
  mien_work(n, p->images * s->strips, strips > 0 ? flops / 80 / strips : 0);
  const mien_math *math = mien_math_of(n);
  snprintf(s->conv.kernel, sizeof s->conv.kernel, "gemm %lldx%lld, depthwise", (long long)math->gemm_rows,
           (long long)math->gemm_columns);
  mien_note(n, flops, s->conv.kernel);
  return MIEN_OK;
}

typedef struct expand_job {
  const expand_state *s;
  const mien_math *math;
  const mien_epilogue *wide, *e;
  const float *x; /* of the image */
  float *ring, *y;
  const float **tables;        /* of each line of the ring, and of one outside the map */
  const float *const **window; /* of the lines of a window */
  int64_t pixels;              /* of a table */
  mien_depthwise d;
} expand_job;

static void expand_line(const expand_job *q, int64_t line) {
  const conv_problem *p = &q->s->wide;
  const int64_t width = p->w.in[2], channels = p->out_channels;
  q->math->gemm(width, channels, p->depth, q->x + line * width * p->depth, p->depth, q->s->wide_packed,
                q->ring + line % q->s->slots * width * channels, channels, 0, channels, q->wide);
}

/* Lines [begin, end) of the image's output, which begins with row `row` of Y. */
static void expand_strip(const expand_job *q, int64_t row, int64_t begin, int64_t end) {
  const conv_problem *p = &q->s->conv.p;
  const mien_window *w = &p->w;
  int64_t next = 0; /* line of Z that is not in the ring yet */
  for (int64_t o = begin; o < end; o++) {
    const int64_t first = o * w->stride[1] - w->before[1], last = first + (w->kernel[1] - 1) * w->dilation[1];
    if (next < first) next = first;
    for (; next <= last && next < w->in[1]; next++) expand_line(q, next);
    for (int64_t a = 0; a < w->kernel[1]; a++) {
      const int64_t line = first + a * w->dilation[1], slots = q->s->slots;
      q->window[a] = q->tables + (line >= 0 && line < w->in[1] ? line % slots : slots) * q->pixels;
    }
    const int64_t at = row + o * w->out[2];
    const mien_epilogue part = epilogue_at(q->e, at, 0);
    q->math->depthwise(w->out[2], &q->d, q->y + at * p->out_channels, p->out_channels, &part);
  }
}

/* Items: (image, strip). */
static mien_status expand_run(mien_node *n, int64_t begin, int64_t end) {
  const expand_state *s = mien_state(n);
  const conv_problem *p = &s->conv.p;
  const mien_window *w = &p->w;
  mien_epilogue e = epilogue_read(n, &s->conv.epilogue), wide = s->wide_epilogue;
  e.residual_stride = p->out_channels;
  e.residual_step = 1;
  wide.bias = epilogue_data(n, EXPAND_EB);
  wide.slope = epilogue_data(n, EXPAND_ES);
  float *pad = conv_at(n, s->conv.pads_at);
  memset(pad, 0, (size_t)p->out_channels * sizeof *pad);
  expand_job q = {.s = s, .math = mien_math_of(n), .wide = &wide, .e = &e, .y = mien_out(n, 0)->data};
  q.ring = conv_at(n, s->ring_at);
  q.tables = conv_at(n, s->tables_at);
  q.window = conv_at(n, s->window_at);
  q.pixels = conv_depthwise_pixels(p, w->out[2]);
  q.d = conv_depthwise_of(p, s->conv.packed);
  q.d.pixels = q.window;
  const conv_depthwise_job lines = {.p = p, .pad = pad};
  for (int64_t slot = 0; slot <= s->slots; slot++)
    conv_depthwise_line(&lines, q.ring, 0, slot < s->slots ? slot : -1, -w->before[2], q.pixels,
                        q.tables + slot * q.pixels);
  for (int64_t item = begin; item < end; item++) {
    const int64_t image = item / s->strips, first = item % s->strips * s->lines;
    q.x = (const float *)mien_in(n, 0)->data + image * s->wide.in_pixels * s->wide.in_channels;
    expand_strip(&q, image * p->out_pixels, first, conv_min(first + s->lines, w->out[1]));
  }
  return MIEN_OK;
}

static const mien_kernel expand_kernels[] = {{MIEN_F32, expand_run}, {MIEN_NONE, NULL}};
static const mien_attr expand_attrs[] = {{.name = "kernel_shape", .kind = 'I'},
                                         {.name = "strides", .kind = 'I'},
                                         {.name = "pads", .kind = 'I'},
                                         {.name = "dilations", .kind = 'I'},
                                         {.name = "group", .kind = 'i', .i = 1},
                                         EPILOGUE_ATTRS,
                                         {.name = "expand_activation", .kind = 's', .s = ""},
                                         {.name = "expand_alpha", .kind = 'f'},
                                         {.name = "expand_beta", .kind = 'f'},
                                         {.name = NULL}};

const mien_op mien_ops_fused_ExpandConv[] = {
    {.domain = "mien",
     .name = "ExpandConv",
     .since = 1,
     .signature = "X:T, W:W{f32,f16}, B:T?, S:T?, G:T?, R:T?, E:E{f32,f16}, EB:T?, ES:T? -> Y:T",
     .attrs = expand_attrs,
     .kernels = expand_kernels,
     .state = sizeof(expand_state),
     .infer = expand_infer,
     .prepare = expand_prepare,
     .flags = MIEN_OP_FLUSH,
     .doc = "1x1 convolution, and the depthwise one that reads it, line by line"},
    {.name = NULL},
};
