/* mien.ExpandConv has the bits of the two mien.Conv that it stands for: every window, sizes, activations, weights in panels and of
** float16, every instruction set, on any number of threads. */
#include "ops/isa.h"

typedef struct expand_case {
  int64_t n, h, w, in, channels, kernel[2], stride[2], dilation[2], pads[4];
} expand_case;

static const expand_case cases[] = {
    {1, 7, 9, 3, 5, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {2, 16, 15, 16, 96, {3, 3}, {2, 2}, {1, 1}, {1, 1, 1, 1}},
    {1, 33, 29, 24, 67, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {3, 11, 6, 7, 33, {5, 3}, {2, 1}, {1, 1}, {2, 1, 2, 1}},
    {1, 12, 13, 9, 32, {3, 3}, {1, 1}, {3, 2}, {3, 2, 3, 2}},
    {2, 9, 8, 4, 16, {2, 2}, {3, 3}, {1, 1}, {0, 0, 0, 0}}, /* lines that no window has */
    {1, 2, 3, 5, 17, {5, 5}, {1, 1}, {1, 1}, {2, 2, 2, 2}}, /* fewer lines than a window */
    {1, 1, 1, 1, 1, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {1, 3, 4, 2, 8, {3, 3}, {1, 1}, {1, 1}, {6, 5, 4, 7}}, /* windows of padding alone */
    {1, 6, 5, 20, 64, {1, 3}, {1, 1}, {1, 1}, {0, 1, 0, 1}},
    {0, 6, 5, 3, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
    {2, 40, 8, 8, 32, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}},
};

static const char *const acts[] = {"",        "Relu", "LeakyRelu", "PRelu", "Clip",
                                   "Sigmoid", "Tanh", "Gelu",      "Silu",  "HardSwish"};

/* Input i with the data of input j of another call. */
static void expand_again(op_call *c, const op_call *from, int j) {
  const mien_tensor *t = &from->in[j];
  op_in(c, t->type.dtype, t->type.rank, t->type.dim, t->data);
}

static void expand_tail(op_call *c, const char *act, const char *prefix, char names[3][32]) {
  static const char *const parts[] = {"activation", "alpha", "beta"};
  for (int i = 0; i < 3; i++) snprintf(names[i], sizeof names[i], "%s%s", prefix, parts[i]);
  op_attr_s(c, names[0], act);
  op_attr_f(c, names[1], -0.25f);
  op_attr_f(c, names[2], 0.5f);
}

static void expand_window(op_call *c, const expand_case *k) {
  op_attr_ints(c, "kernel_shape", k->kernel, 2);
  op_attr_ints(c, "strides", k->stride, 2);
  op_attr_ints(c, "dilations", k->dilation, 2);
  op_attr_ints(c, "pads", k->pads, 4);
  op_attr_i(c, "group", k->channels);
}

static void expand_halve(mien_tensor *t) {
  const int64_t count = mien_count(&t->type);
  uint16_t *half = calloc((size_t)count + 1, sizeof *half);
  for (int64_t i = 0; i < count; i++) half[i] = mien__f32_to_f16(((float *)t->data)[i]);
  free(t->data);
  t->type.dtype = MIEN_F16, t->data = half, t->bytes = (size_t)count * sizeof *half;
}

/* E [out, in, 1, 1] in panels. */
static void expand_panels(mien_tensor *t) {
  enum { COLUMNS = 32 };
  const int64_t in = t->type.dim[1], out = t->type.dim[0];
  float *panels = calloc((size_t)(in * out) + 1, sizeof *panels);
  for (int64_t j = 0; j < out; j++)
    for (int64_t i = 0; i < in; i++)
      panels[(j / COLUMNS * in + i) * COLUMNS + j % COLUMNS] = ((float *)t->data)[j * in + i];
  free(t->data);
  t->data = panels;
  t->type = op_type(MIEN_F32, 5, OP_DIMS(out / COLUMNS, 1, 1, in, COLUMNS));
}

enum { F16 = 1, RESIDUAL = 2, BARE = 4 };

static void expand_one(mien_env *env, const expand_case *k, const char *wide_act, const char *act, int flags) {
  uint64_t seed = 5;
  char names[3][32], wide_names[3][32];
  op_call wide = {.domain = "mien", .name = "Conv", .version = 1};
  isa_in(&wide, 4, OP_DIMS(k->n, k->h, k->w, k->in), &seed);
  isa_in(&wide, 4, OP_DIMS(k->channels, k->in, 1, 1), &seed);
  if (flags & F16) expand_halve(&wide.in[1]);
  if (!(flags & BARE)) {
    isa_in(&wide, 1, OP_DIMS(k->channels), &seed);
    isa_in(&wide, 1, OP_DIMS(k->channels), &seed);
  }
  op_attr_i(&wide, "channels_last", 1);
  expand_tail(&wide, wide_act, "", names);
  op_run_ok(env, &wide);

  op_call narrow = {.domain = "mien", .name = "Conv", .version = 1};
  op_in(&narrow, MIEN_F32, 4, wide.out[0].type.dim, wide.out[0].data);
  isa_in(&narrow, 4, OP_DIMS(k->channels, 1, k->kernel[0], k->kernel[1]), &seed);
  if (flags & F16) expand_halve(&narrow.in[1]);
  if (!(flags & BARE))
    for (int i = 0; i < 3; i++) isa_in(&narrow, 1, OP_DIMS(k->channels), &seed);
  op_attr_i(&narrow, "channels_last", 1);
  expand_tail(&narrow, act, "", names);
  expand_window(&narrow, k);
  op_run_ok(env, &narrow);
  if (flags & RESIDUAL) {
    isa_in(&narrow, 4, narrow.out[0].type.dim, &seed);
    op_run_ok(env, &narrow);
  }

  op_call both = {.domain = "mien", .name = "ExpandConv", .version = 1};
  expand_again(&both, &wide, 0);
  for (int i = 1; i < narrow.in_count; i++) expand_again(&both, &narrow, i);
  while (both.in_count < 6) op_absent(&both);
  for (int i = 1; i < wide.in_count; i++) expand_again(&both, &wide, i);
  expand_tail(&both, act, "", names);
  expand_tail(&both, wide_act, "expand_", wide_names);
  expand_window(&both, k);
  for (int panels = 0; panels < 2; panels++) {
    isa_run_all(env, &both, -1);
    isa_same_bits(&both, narrow.out[0].data);
    assert_memory_equal(&both.out[0].type, &narrow.out[0].type, sizeof(mien_type));
    both.piece = 1; /* strips in any order */
    op_run_ok(env, &both);
    both.piece = 0;
    isa_same_bits(&both, narrow.out[0].data);
    if (k->channels % 32 != 0 || flags & F16) break;
    if (!panels) expand_panels(&both.in[6]);
  }
  op_free(&wide), op_free(&narrow), op_free(&both);
}

static void expand_body(mien_env *env) {
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    expand_one(env, &cases[i], "", "", BARE);
    expand_one(env, &cases[i], "Clip", "Clip", 0);
    expand_one(env, &cases[i], "PRelu", "PRelu", RESIDUAL);
    expand_one(env, &cases[i], acts[i % 10], acts[(i + 3) % 10], F16 | RESIDUAL);
  }
}
static void test_expand(void **state) { (void)state, isa_each(expand_body); }

static void test_specials(void **state) {
  const expand_case k = {1, 5, 5, 2, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}};
  op_call c = {.domain = "mien", .name = "ExpandConv", .version = 1};
  float *x = op_in(&c, MIEN_F32, 4, OP_DIMS(1, 5, 5, 2), NULL);
  float *w = op_in(&c, MIEN_F32, 4, OP_DIMS(16, 1, 3, 3), NULL);
  while (c.in_count < 6) op_absent(&c);
  float *e = op_in(&c, MIEN_F32, 4, OP_DIMS(16, 2, 1, 1), NULL);
  for (int i = 0; i < 16 * 9; i++) w[i] = 1;
  for (int i = 0; i < 16 * 2; i++) e[i] = 1;
  x[(2 * 5 + 4) * 2] = NAN; /* pixel (2, 4) */
  expand_window(&c, &k);
  op_run_ok(*state, &c);
  const float *y = c.out[0].data;
  for (int i = 0; i < 25; i++)
    assert_int_equal(isnan(y[i * 16]),
                     i / 5 >= 1 && i / 5 <= 3 && i % 5 >= 3); /* padding is 0, whatever is beside it */
  op_free(&c);
}

/* X and Y have no elements and sizes that can be counted; the map between them has not. */
static void test_too_large(void **state) {
  const int64_t size = (int64_t)1 << 29;
  const expand_case k = {0, size, size, 1, 64, {3, 3}, {size / 8, size / 8}, {1, 1}, {1, 1, 1, 1}};
  op_call c = {.domain = "mien", .name = "ExpandConv", .version = 1};
  op_in(&c, MIEN_F32, 4, OP_DIMS(0, size, size, 1), NULL);
  op_in(&c, MIEN_F32, 4, OP_DIMS(64, 1, 3, 3), NULL);
  while (c.in_count < 6) op_absent(&c);
  op_in(&c, MIEN_F32, 4, OP_DIMS(64, 1, 1, 1), NULL);
  expand_window(&c, &k);
  assert_int_equal(op_run(*state, &c), MIEN_LIMIT);
  assert_non_null(strstr(c.error.message, "the map between the convolutions is too large"));
  op_free(&c);
}

static void test_refused(void **state) {
  static const struct {
    int64_t rank, w_each, e_in, e_kernel;
    const char *act, *text;
    bool variable;
    mien_status status;
  } bad[] = {{3, 1, 2, 1, "", "input X has rank 3", false, MIEN_INVALID_MODEL},
             {4, 2, 2, 1, "", "input W is not a depthwise convolution of 4 channels", false, MIEN_INVALID_MODEL},
             {4, 1, 3, 1, "", "input E is not a 1x1 convolution of X, which has 2 channels", false, MIEN_INVALID_MODEL},
             {4, 1, 2, 3, "", "input E is not a 1x1 convolution", false, MIEN_INVALID_MODEL},
             {4, 1, 2, 1, "Swash", "expand_activation 'Swash' is not known", false, MIEN_INVALID_MODEL},
             {4, 1, 2, 1, "PRelu", "expand_activation PRelu needs input ES", false, MIEN_INVALID_MODEL},
             {4, 1, 2, 1, "", "inputs W and E must be constants", true, MIEN_UNSUPPORTED}};
  const expand_case k = {1, 5, 5, 2, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1, 1, 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    op_call c = {.domain = "mien", .name = "ExpandConv", .version = 1};
    op_in(&c, MIEN_F32, (int)bad[i].rank, bad[i].rank == 4 ? OP_DIMS(1, 5, 5, 2) : OP_DIMS(1, 5, 2), NULL);
    op_in(&c, MIEN_F32, 4, OP_DIMS(4, bad[i].w_each, 3, 3), NULL);
    while (c.in_count < 6) op_absent(&c);
    op_in(&c, MIEN_F32, 4, OP_DIMS(4, bad[i].e_in, bad[i].e_kernel, bad[i].e_kernel), NULL);
    op_attr_s(&c, "expand_activation", bad[i].act);
    c.variable[6] = bad[i].variable;
    expand_window(&c, &k);
    if (bad[i].w_each == 2) c.attrs[c.attr_count - 1].i = 2;
    assert_int_equal(op_run(*state, &c), bad[i].status);
    if (!strstr(c.error.message, bad[i].text)) fail_msg("\"%s\" is not in \"%s\"", bad[i].text, c.error.message);
    op_free(&c);
  }
}

#define WITH_ENV(f) cmocka_unit_test_setup_teardown(f, op_env_setup, op_env_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_expand), WITH_ENV(test_specials), WITH_ENV(test_too_large),
                                     WITH_ENV(test_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
