/* Conv and mien.Conv against a double-precision reference: every layout, odd sizes, every instruction set, and the same
** bits on any number of threads, with constant and with computed weights. */
#include "ops/isa.h"
#include "ops/reference.h"

typedef struct conv_case {
  int rank;
  int64_t n, c, m, group, in[3], kernel[3], stride[3], dilation[3], before[3], after[3];
} conv_case;

static const conv_case cases[] = {
    {2, 1, 3, 5, 1, {7, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 1, 1, 1, {1, 1}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 33, 67, 1, {5, 6}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 3, 17, 31, 1, {6, 5}, {1, 1}, {2, 2}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 16, 32, 1, {14, 14}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 8, 64, 1, {9, 11}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 4, 33, 1, {13, 33}, {3, 5}, {3, 1}, {2, 3}, {2, 0}, {1, 7}},
    {2, 1, 6, 9, 3, {8, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 20, 40, 4, {5, 7}, {2, 3}, {2, 1}, {1, 1}, {0, 1}, {1, 1}},
    {2, 1, 67, 67, 67, {9, 9}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 64, 64, 64, {10, 7}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}},
    {2, 2, 35, 35, 35, {6, 29}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 48, 48, 48, {9, 41}, {5, 3}, {2, 2}, {1, 1}, {2, 1}, {2, 1}},
    {2, 1, 20, 20, 20, {5, 50}, {3, 5}, {1, 2}, {2, 3}, {2, 6}, {2, 6}},
    {2, 2, 3, 20, 1, {11, 40}, {5, 7}, {2, 2}, {2, 1}, {3, 3}, {4, 3}},
    {2, 1, 5, 10, 5, {6, 6}, {3, 3}, {1, 2}, {2, 1}, {2, 1}, {2, 1}},
    {2, 1, 1, 16, 1, {3, 3}, {7, 7}, {1, 1}, {1, 1}, {3, 3}, {3, 3}},
    {2, 1, 128, 16, 1, {4, 4}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 1024, 3, 1, {4, 5}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 1024, 35, 1, {6, 9}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}}, /* pieces of rows; rows that collide */
    {2, 2, 33, 67, 1, {13, 11}, {1, 1}, {1, 1}, {1, 1}, {0, 0}, {0, 0}},
    {2, 1, 2, 3, 1, {2, 2}, {2, 2}, {5, 5}, {1, 1}, {4, 4}, {4, 4}},
    {1, 2, 5, 7, 1, {19}, {4}, {3}, {2}, {3}, {2}},
    {1, 1, 12, 12, 12, {33}, {5}, {1}, {1}, {4}, {0}},
    {1, 2, 3, 3, 3, {5003}, {5}, {2}, {3}, {4}, {9}},
    {2, 1, 5, 5, 5, {4, 1501}, {3, 3}, {1, 2}, {1, 1}, {1, 1}, {1, 1}},
    {3, 1, 3, 6, 1, {4, 5, 6}, {2, 3, 3}, {1, 2, 1}, {1, 1, 2}, {1, 1, 2}, {0, 1, 2}},
    {3, 2, 6, 6, 6, {3, 4, 5}, {3, 3, 3}, {1, 1, 2}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    {2, 0, 3, 4, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
    {2, 1, 3, 0, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}},
};

enum {
  WITH_TAIL = 1,
  LAST = 2,
  FUSED = 4,
  ACT_LAST = 8,
  WITH_PAD = 16,
  ONCE = 32 /* on the caller alone */,
  F16 = 64,
  BF16 = 128, /* W */
  INT16 = 256
};

static const char *const acts[] = {"",        "Relu", "LeakyRelu", "PRelu", "Clip",
                                   "Sigmoid", "Tanh", "Gelu",      "Silu",  "HardSwish"};

/* The attributes' lists must outlive the call: they are in `k` and `pads`. */
static void conv_attrs(op_call *c, const conv_case *k, const int64_t *pads) {
  op_attr_ints(c, "kernel_shape", k->kernel, k->rank);
  op_attr_ints(c, "strides", k->stride, k->rank);
  op_attr_ints(c, "dilations", k->dilation, k->rank);
  op_attr_ints(c, "pads", pads, 2 * k->rank);
  op_attr_i(c, "group", k->group);
}

static reference_conv conv_reference(const conv_case *k) {
  reference_conv r = {.n = k->n, .c = k->c, .m = k->m, .group = k->group};
  for (int d = 0; d < 3; d++) {
    const int from = d - (3 - k->rank);
    r.in[d] = r.out[d] = r.kernel[d] = r.stride[d] = r.dilation[d] = 1;
    if (from < 0) continue;
    r.in[d] = k->in[from], r.kernel[d] = k->kernel[from], r.stride[d] = k->stride[from];
    r.dilation[d] = k->dilation[from], r.before[d] = k->before[from];
    r.out[d] = (k->in[from] + k->before[from] + k->after[from] - (k->kernel[from] - 1) * k->dilation[from] - 1) /
                   k->stride[from] +
               1;
  }
  return r;
}

/* Input i, whose elements it rounds, as a half type; w: the rounded floats, which the caller frees. */
static float *conv_halve(op_call *c, int i, int32_t dtype) {
  mien_tensor *t = &c->in[i];
  const int64_t count = mien_count(&t->type);
  float *w = t->data;
  uint16_t *half = calloc((size_t)count + 1, sizeof *half);
  for (int64_t k = 0; k < count; k++) {
    half[k] = dtype == MIEN_F16 ? mien__f32_to_f16(w[k]) : mien__f32_to_bf16(w[k]);
    w[k] = dtype == MIEN_F16 ? mien__f16_to_f32(half[k]) : mien__bf16_to_f32(half[k]);
  }
  t->type.dtype = dtype;
  t->bytes = (size_t)count * sizeof *half;
  t->data = half;
  return w;
}

static void conv_tail(op_call *c, const char *act, int flags, int64_t m, int rank, const int64_t *y, uint64_t *seed,
                      reference_tail *t) {
  *t = (reference_tail){.act = act, .alpha = (double)-0.25f, .beta = (double)0.5f, .act_last = flags & ACT_LAST};
  op_attr_s(c, "activation", act);
  op_attr_f(c, "alpha", -0.25f);
  op_attr_f(c, "beta", 0.5f);
  op_attr_i(c, "act_last", (flags & ACT_LAST) != 0);
  t->bias = isa_in(c, 1, OP_DIMS(m), seed);
  t->slope = isa_in(c, 1, OP_DIMS(m), seed);
  t->scale = isa_in(c, 1, OP_DIMS(m), seed);
  t->residual = isa_in(c, rank, y, seed);
}

static void conv_one(mien_env *env, const conv_case *k, int flags, const char *act) {
  uint64_t seed = 77;
  const bool last = flags & LAST, fused = flags & FUSED;
  reference_conv r = conv_reference(k);
  int64_t x[5] = {k->n}, w[5] = {k->m, k->c / k->group}, y[5] = {k->n}, pads[6] = {0};
  for (int d = 0; d < k->rank; d++) {
    x[(last ? 1 : 2) + d] = k->in[d];
    y[(last ? 1 : 2) + d] = r.out[3 - k->rank + d];
    w[2 + d] = k->kernel[d];
    pads[d] = k->before[d], pads[k->rank + d] = k->after[d];
  }
  x[last ? k->rank + 1 : 1] = k->c;
  y[last ? k->rank + 1 : 1] = k->m;
  op_call c = {.domain = fused ? "mien" : "", .name = "Conv", .version = fused ? 1 : 11};
  conv_attrs(&c, k, pads);
  if (fused) op_attr_i(&c, "channels_last", last);
  if (flags & INT16) op_attr_i(&c, "int16", 1);
  r.last = last;
  r.x = isa_in(&c, k->rank + 2, x, &seed);
  r.w = isa_in(&c, k->rank + 2, w, &seed);
  float *wide = NULL, *rounded = NULL, *padding = NULL;
  if (flags & (F16 | BF16)) r.w = wide = conv_halve(&c, 1, flags & F16 ? MIEN_F16 : MIEN_BF16);
  if (flags & BF16) { /* so is X, by the operator */
    op_call copy = {.in = {c.in[0]}};
    r.x = rounded = malloc(c.in[0].bytes + 1);
    memcpy(rounded, c.in[0].data, c.in[0].bytes);
    copy.in[0].data = rounded;
    conv_halve(&copy, 0, MIEN_BF16);
    free(copy.in[0].data);
  }
  reference_tail tail = {.act = ""};
  if (flags & WITH_TAIL)
    conv_tail(&c, act, flags, k->m, k->rank + 2, y, &seed, &tail);
  else
    tail.bias = isa_in(&c, 1, OP_DIMS(k->m), &seed);
  if (flags & WITH_PAD) {
    while (c.in_count < 6) op_absent(&c);
    r.pad = isa_in(&c, 1, OP_DIMS(k->c), &seed);
    if (flags & BF16) {
      r.pad = padding = malloc((size_t)k->c * sizeof *padding);
      for (int64_t i = 0; i < k->c; i++) padding[i] = mien__bf16_to_f32(mien__f32_to_bf16(((float *)c.in[6].data)[i]));
    }
  }
  const int64_t count = k->n * k->m * r.out[0] * r.out[1] * r.out[2];
  double *want = calloc((size_t)count + 1, sizeof *want), largest = 0;
  assert_non_null(want);
  if (k->rank == 2 && k->kernel[0] == 3 && k->kernel[1] == 3) {
    /* Winograd's method may run: its errors are those of the map's largest sum, as in test_winograd.c. */
    const reference_tail none = {.act = ""};
    reference_conv_run(&r, &none, want);
    for (int64_t i = 0; i < count; i++) largest = fmax(largest, fabs(want[i]));
  }
  reference_conv_run(&r, &tail, want);
  /* Constant weights may take another algorithm than computed ones. */
  const bool constant = flags & (F16 | BF16 | INT16);
  /* Of numbers whose root mean square is 0.6, integers are 1e-4 off, more where a piece is few numbers; six times that. */
  const double off =
      flags & INT16 ? 6 * 1.2e-4 * sqrt((double)(k->c / k->group * r.kernel[0] * r.kernel[1] * r.kernel[2])) : 0;
  for (int variable = 0; variable < (constant ? 1 : 2); variable++) {
    c.variable[1] = variable;
    if (flags & ONCE)
      op_run_ok(env, &c);
    else
      isa_run_all(env, &c, -1);
    assert_int_equal(c.out[0].type.rank, k->rank + 2);
    for (int d = 0; d < k->rank + 2; d++) assert_int_equal(c.out[0].type.dim[d], y[d]);
    op_expect(&c.out[0], want, count, 2e-5 + 1e-5 * largest + off, 2e-6);
  }
  free(want), free(wide), free(rounded), free(padding);
  op_free(&c);
}

static void conv_plain_body(mien_env *env) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) conv_one(env, &cases[i], 0, "");
}
static void conv_fused_body(mien_env *env) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    conv_one(env, &cases[i], FUSED | WITH_PAD, "");
    conv_one(env, &cases[i], FUSED | LAST, "");
    conv_one(env, &cases[i], FUSED | LAST | WITH_PAD, "");
    conv_one(env, &cases[i], FUSED | LAST | WITH_TAIL, acts[i % 10]);
    conv_one(env, &cases[i], FUSED | WITH_TAIL | WITH_PAD | ACT_LAST, acts[(i + 3) % 10]);
  }
}
static void conv_halves_body(mien_env *env) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    conv_one(env, &cases[i], FUSED | F16 | WITH_PAD, "");
    conv_one(env, &cases[i], FUSED | F16 | LAST | WITH_TAIL, acts[i % 10]);
    conv_one(env, &cases[i], FUSED | BF16 | LAST, "");
    conv_one(env, &cases[i], FUSED | BF16 | LAST | WITH_PAD, "");
    conv_one(env, &cases[i], FUSED | BF16 | LAST | WITH_TAIL | WITH_PAD | ACT_LAST, acts[i % 10]);
    conv_one(env, &cases[i], FUSED | INT16 | LAST, "");
    conv_one(env, &cases[i], FUSED | INT16 | F16 | LAST | WITH_PAD, "");
    conv_one(env, &cases[i], FUSED | INT16 | LAST | WITH_TAIL | WITH_PAD | ACT_LAST, acts[i % 10]);
  }
  /* More than is rounded at once: some images, then the rest. */
  const conv_case large = {2, 3, 65, 2, 1, {150, 151}, {3, 3}, {9, 9}, {1, 1}, {1, 1}, {1, 1}};
  conv_one(env, &large, FUSED | BF16 | LAST, "");
  conv_one(env, &large, FUSED | INT16 | LAST, "");
  /* Pixels of more than one block. */
  const conv_case deep = {2, 2, 1100, 35, 1, {5, 6}, {3, 2}, {2, 1}, {1, 1}, {1, 1}, {0, 1}};
  conv_one(env, &deep, FUSED | INT16 | LAST | WITH_PAD, "");
}
static void conv_tails_body(mien_env *env) {
  for (size_t i = 0; i < sizeof acts / sizeof *acts; i++)
    for (int flags = 0; flags < 16; flags += 2)
      conv_one(env, &cases[i & 1 ? 9 : 5], flags | FUSED | WITH_TAIL, acts[i]);
}

static void test_plain(void **state) { (void)state, isa_each(conv_plain_body); }
static void test_fused(void **state) { (void)state, isa_each(conv_fused_body); }
static void test_halves(void **state) { (void)state, isa_each(conv_halves_body); }
static void test_tails(void **state) { (void)state, isa_each(conv_tails_body); }

/* Every small window on every small line: stride, dilation, and pads of either side up to past the window. */
static void conv_windows_body(mien_env *env) {
  for (int64_t kernel = 1; kernel <= 4; kernel++)
    for (int64_t i = 0; i < 9 * 3 * 3 * 5 * 5; i++) {
      conv_case k = {1, 1, 2, 3, 1, {1 + i % 9}, {kernel}, {1 + i / 9 % 3}, {1 + i / 27 % 3}, {i / 81 % 5}, {i / 405}};
      if (k.in[0] + k.before[0] + k.after[0] < (kernel - 1) * k.dilation[0] + 1) continue;
      conv_one(env, &k, ONCE, "");
      conv_one(env, &k, ONCE | FUSED | LAST | WITH_PAD, "");
      k.m = k.group = k.c;
      conv_one(env, &k, ONCE | FUSED | LAST | WITH_PAD, "");
    }
}
static void test_windows(void **state) { (void)state, isa_each(conv_windows_body); }

/* Every number of channels on either side, every size of a map. */
static void conv_channels_body(mien_env *env) {
  for (int64_t i = 1; i <= 67; i++)
    for (int64_t kernel = 1; kernel <= 3; kernel += 2) {
      const int64_t pad = kernel / 2, size = 1 + i % 33;
      const conv_case k = {2,      1,          i,         68 - i, 1, {4, size}, {kernel, kernel}, {1, 1 + i % 3},
                           {1, 1}, {pad, pad}, {pad, pad}};
      conv_one(env, &k, ONCE, "");
      conv_one(env, &k, ONCE | FUSED | LAST | WITH_TAIL, acts[i % 10]);
      const conv_case depthwise = {2,      1,          i,         i, i, {size, 3}, {kernel, kernel}, {1 + i % 3, 1},
                                   {1, 1}, {pad, pad}, {pad, pad}};
      conv_one(env, &depthwise, ONCE, "");
      conv_one(env, &depthwise, ONCE | FUSED | LAST | WITH_TAIL, acts[i % 10]);
    }
}
static void test_channels(void **state) { (void)state, isa_each(conv_channels_body); }

/* Any of it together. The seed is fixed: a failure comes again. */
static void conv_random_body(mien_env *env) {
  uint64_t seed = 1;
#define PICK(low, high) ((int64_t)op_random(&seed, (low), (high) + 1))
  for (int done = 0; done < 150;) {
    conv_case k = {.rank = (int)PICK(1, 3), .n = PICK(0, 3)};
    const int64_t channels[2] = {PICK(1, 67), PICK(1, 67)}, groups = PICK(1, 5), shape = PICK(0, 3);
    k.group = shape == 0 ? groups : shape == 1 ? channels[0] : 1;
    k.c = shape == 0 ? k.group * (1 + channels[0] / k.group) : channels[0];
    k.m = shape == 0 ? k.group * (1 + channels[1] / k.group) : shape == 1 ? k.c * PICK(1, 2) : channels[1];
    double work = (double)(k.c / k.group * k.m) * (double)(k.n + 1);
    bool fits = true;
    for (int d = 0; d < k.rank; d++) {
      k.in[d] = PICK(1, 33), k.kernel[d] = PICK(1, 5), k.stride[d] = PICK(1, 3), k.dilation[d] = PICK(1, 3);
      k.before[d] = PICK(0, k.kernel[d]), k.after[d] = PICK(0, k.kernel[d]);
      fits &= k.in[d] + k.before[d] + k.after[d] >= (k.kernel[d] - 1) * k.dilation[d] + 1;
      work *= (double)((k.in[d] + k.before[d] + k.after[d]) / k.stride[d] * k.kernel[d]);
    }
    if (!fits || work > 2e6) continue; /* the reference is slow */
    const int flags = (int)PICK(0, 31);
    conv_one(env, &k, flags & FUSED ? flags : 0, acts[done % 10]);
    done++;
  }
#undef PICK
}
static void test_random(void **state) { (void)state, isa_each(conv_random_body); }

/* A batch computes each image as it would alone. */
static void conv_batch_body(mien_env *env) {
  for (int last = 0; last < 2; last++) {
    uint64_t seed = 5;
    const int64_t one = 19 * 6 * 5, out = 41 * 6 * 5;
    op_call c = {.domain = "mien", .name = "Conv", .version = 1};
    op_attr_ints(&c, "pads", OP_DIMS(1, 1, 1, 1), 4);
    op_attr_i(&c, "channels_last", last);
    float *x = isa_in(&c, 4, last ? OP_DIMS(3, 6, 5, 19) : OP_DIMS(3, 19, 6, 5), &seed);
    isa_in(&c, 4, OP_DIMS(41, 19, 3, 3), &seed);
    op_run_ok(env, &c);
    float *all = c.out[0].data;
    c.out[0].data = NULL;
    c.in[0].type.dim[0] = 1;
    for (int64_t i = 0; i < 3; i++) {
      if (i) memmove(x, x + one, (size_t)((3 - i) * one) * sizeof *x);
      op_run_ok(env, &c);
      assert_memory_equal(c.out[0].data, all + i * out, (size_t)out * sizeof *all);
    }
    free(all);
    op_free(&c);
  }
}
static void test_batch(void **state) { (void)state, isa_each(conv_batch_body); }

static void test_types(void **state) {
  static const int32_t types[] = {MIEN_F64, MIEN_F16, MIEN_BF16};
  static const double tolerance[] = {1e-14, 2e-3, 2e-2};
  for (int i = 0; i < 3; i++) {
    uint64_t seed = 9;
    op_call c = {.name = "Conv", .version = 22};
    op_attr_ints(&c, "pads", OP_DIMS(1, 0, 1, 2), 4);
    op_attr_i(&c, "group", 2);
    const int64_t dims[3][4] = {{1, 4, 5, 6}, {6, 2, 3, 3}, {6}};
    float values[3][128];
    for (int k = 0; k < 3; k++) {
      char *to = op_in(&c, types[i], k < 2 ? 4 : 1, dims[k], NULL);
      for (int64_t e = 0; e < mien_count(&c.in[k].type); e++) {
        const float v = (float)((int)op_random(&seed, -8, 8)) / 8; /* exact in all of them */
        values[k][e] = v;
        if (types[i] == MIEN_F64) ((double *)(void *)to)[e] = (double)v;
        if (types[i] == MIEN_F16) ((uint16_t *)(void *)to)[e] = mien__f32_to_f16(v);
        if (types[i] == MIEN_BF16) ((uint16_t *)(void *)to)[e] = mien__f32_to_bf16(v);
      }
    }
    op_run_ok(*state, &c);
    const reference_conv r = {.n = 1,
                              .c = 4,
                              .m = 6,
                              .group = 2,
                              .in = {1, 5, 6},
                              .out = {1, 5, 6},
                              .kernel = {1, 3, 3},
                              .stride = {1, 1, 1},
                              .before = {0, 1, 0},
                              .dilation = {1, 1, 1},
                              .x = values[0],
                              .w = values[1]};
    const reference_tail tail = {.act = "", .bias = values[2]};
    double want[180];
    reference_conv_run(&r, &tail, want);
    op_expect(&c.out[0], want, 180, 0, tolerance[i]);
    op_free(&c);
  }
}

static void conv_refused(mien_env *env, const char *attr, const int64_t *list, int64_t count, int64_t group,
                         const int64_t *w, int w_rank, mien_status code, const char *text) {
  op_call c = {.name = "Conv", .version = 11};
  if (attr) op_attr_ints(&c, attr, list, count);
  op_attr_i(&c, "group", group);
  op_in(&c, MIEN_F32, 4, OP_DIMS(1, 4, 5, 5), NULL);
  op_in(&c, MIEN_F32, w_rank, w, NULL);
  assert_int_equal(op_run(env, &c), code);
  if (!strstr(c.error.message, text)) print_error("%s\n", c.error.message);
  assert_non_null(strstr(c.error.message, text));
  op_free(&c);
}

static void test_refused(void **state) {
  const int64_t good[5] = {2, 4, 3, 3, 3}, zeros[4] = {0}, huge[4] = {INT64_MAX, 1, 1, 1}, big[4] = {2, 4, 9, 3},
                six[4] = {2, 4, 3, 6};
  conv_refused(*state, NULL, NULL, 0, 1, good, 5, MIEN_INVALID_MODEL, "equal ranks");
  conv_refused(*state, "strides", zeros, 2, 1, good, 4, MIEN_INVALID_MODEL, "strides[0]");
  conv_refused(*state, "dilations", zeros, 2, 1, good, 4, MIEN_INVALID_MODEL, "dilations[0]");
  conv_refused(*state, "pads", huge, 4, 1, good, 4, MIEN_INVALID_MODEL, "pads[0]");
  conv_refused(*state, "kernel_shape", huge, 1, 1, good, 4, MIEN_INVALID_MODEL, "kernel_shape");
  conv_refused(*state, NULL, NULL, 0, 0, good, 4, MIEN_INVALID_MODEL, "group is 0");
  conv_refused(*state, NULL, NULL, 0, 2, good, 4, MIEN_INVALID_MODEL, "X has 4 channels");
  conv_refused(*state, NULL, NULL, 0, INT64_MAX, good, 4, MIEN_INVALID_MODEL, "not a multiple");
  conv_refused(*state, NULL, NULL, 0, 1, big, 4, MIEN_INVALID_MODEL, "window spans 9");
  /* Larger by so little that a quotient is 0 or 1. */
  conv_refused(*state, NULL, NULL, 0, 1, six, 4, MIEN_INVALID_MODEL,
               "(Conv-11): the window spans 6 along spatial dimension 1, expected at most the padded input's 5");
  conv_refused(*state, "strides", OP_DIMS(7, 7), 2, 1, six, 4, MIEN_INVALID_MODEL, "window spans 6");
  conv_refused(*state, "dilations", OP_DIMS(3, 1), 2, 1, good, 4, MIEN_INVALID_MODEL, "window spans 7");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_plain),
      cmocka_unit_test(test_fused),
      cmocka_unit_test(test_halves),
      cmocka_unit_test(test_tails),
      cmocka_unit_test(test_windows),
      cmocka_unit_test(test_channels),
      cmocka_unit_test(test_random),
      cmocka_unit_test(test_batch),
      cmocka_unit_test_setup_teardown(test_types, op_env_setup, op_env_teardown),
      cmocka_unit_test_setup_teardown(test_refused, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
