/* Weights in panels (ops/panels.h): the same bits as from a matrix, whatever the panels' columns, on every instruction set,
** constant or not; used where they lie where the kernels want just these columns; what cannot be in panels is refused. */
#include "ops/isa.h"

static const int64_t widths[] = {1, 3, 8, 16, 24, 32, 40, 64};
enum { WIDTHS = sizeof widths / sizeof *widths };

/* W [columns of the product][channels][taps], as a convolution has it, into panels. */
static void to_panels(const float *w, int64_t columns, int64_t channels, int64_t taps, int64_t width, float *panels) {
  for (int64_t j = 0; j < columns; j++)
    for (int64_t c = 0; c < channels; c++)
      for (int64_t t = 0; t < taps; t++)
        panels[((j / width * taps + t) * channels + c) * width + j % width] = w[(j * channels + c) * taps + t];
}

/* The same call with the weights in panels of shape dims. */
static void compare(mien_env *env, op_call *c, int64_t columns, int64_t channels, int64_t taps, int64_t width, int rank,
                    const int64_t *dims) {
  for (int variable = 0; variable < 2; variable++) {
    c->variable[1] = variable;
    isa_run_all(env, c, -1);
    float *w = c->in[1].data, *y = c->out[0].data;
    const mien_type plain = c->in[1].type;
    c->out[0].data = NULL;
    c->in[1].data = malloc(c->in[1].bytes + 1);
    assert_non_null(c->in[1].data);
    to_panels(w, columns, channels, taps, width, c->in[1].data);
    c->in[1].type = op_type(MIEN_F32, rank, dims);
    isa_run_all(env, c, -1);
    isa_same_bits(c, y);
    free(c->in[1].data);
    free(y);
    c->in[1].data = w;
    c->in[1].type = plain;
  }
}

static void linear_body(mien_env *env) {
  uint64_t seed = 11;
  for (int i = 0; i < 3 * WIDTHS; i++) {
    const int64_t width = widths[i % WIDTHS], panels = i / WIDTHS + 1, k = (int64_t)op_random(&seed, 1, 300);
    const int64_t n = width * panels, m = (int64_t)op_random(&seed, 1, 40);
    op_call c = {.domain = "mien", .name = "Linear", .version = 1};
    op_attr_i(&c, "trans_w", 1);
    op_attr_s(&c, "activation", "Relu");
    isa_in(&c, 2, OP_DIMS(m, k), &seed);
    isa_in(&c, 2, OP_DIMS(n, k), &seed);
    isa_in(&c, 1, OP_DIMS(n), &seed);
    /* trans_w says how a matrix lies: panels come without. Attribute 0 is it. */
    float *w = c.in[1].data, *panelled = malloc(c.in[1].bytes);
    assert_non_null(panelled);
    to_panels(w, n, k, 1, width, panelled);
    isa_run_all(env, &c, 1);
    float *y = c.out[0].data;
    c.out[0].data = NULL;
    c.attrs[0].i = 0;
    c.in[1].data = panelled;
    c.in[1].type = op_type(MIEN_F32, 3, OP_DIMS(panels, k, width));
    isa_run_all(env, &c, 1);
    isa_same_bits(&c, y);
    free(w);
    free(y);
    op_free(&c);
  }
}
static void test_linear(void **state) { (void)state, isa_each(linear_body); }

typedef struct window {
  int rank;
  int64_t in[3], kernel[3], stride, pads[6];
} window;

static void conv_body(mien_env *env) {
  static const window windows[] = {
      {2, {7, 6}, {1, 1}, 1, {0}},           {2, {9, 8}, {3, 3}, 1, {1, 1, 1, 1}},
      {2, {9, 8}, {3, 3}, 2, {1, 0, 1, 1}},  {1, {13}, {4}, 3, {2, 1}},
      {3, {4, 5, 3}, {2, 1, 3}, 1, {0}},     {2, {5, 5}, {5, 5}, 1, {0}},
      {2, {40, 33}, {3, 3}, 1, {1, 1, 1, 1}} /* of many tiles: transformed weights are kept */
  };
  uint64_t seed = 5;
  for (size_t i = 0; i < sizeof windows / sizeof *windows * WIDTHS; i++) {
    const window *k = &windows[i / WIDTHS];
    const int64_t width = widths[i % WIDTHS], m = width * (i % 3 ? 1 : 2), channels = (int64_t)op_random(&seed, 1, 24);
    const int last = i & 1;
    int64_t x[5] = {2}, w[5] = {m, channels}, panels[6] = {m / width}, strides[3], taps = 1;
    x[last ? k->rank + 1 : 1] = channels;
    for (int d = 0; d < k->rank; d++) {
      x[last ? d + 1 : d + 2] = k->in[d];
      w[d + 2] = panels[d + 1] = k->kernel[d];
      taps *= k->kernel[d];
      strides[d] = k->stride;
    }
    panels[k->rank + 1] = channels;
    panels[k->rank + 2] = width;
    op_call c = {.domain = "mien", .name = "Conv", .version = 1};
    op_attr_i(&c, "channels_last", last);
    op_attr_ints(&c, "strides", strides, k->rank);
    op_attr_ints(&c, "pads", k->pads, 2 * k->rank);
    isa_in(&c, k->rank + 2, x, &seed);
    isa_in(&c, k->rank + 2, w, &seed);
    isa_in(&c, 1, OP_DIMS(m), &seed);
    compare(env, &c, m, channels, taps, width, k->rank + 3, panels);
    op_free(&c);
  }
}
static void test_conv(void **state) { (void)state, isa_each(conv_body); }

static void empty_body(mien_env *env) {
  static const int64_t shapes[][3] = {{0, 4, 32}, {2, 0, 32}, {2, 4, 0}, {INT64_MAX, 0, 32}};
  for (int i = 0; i < 4; i++) {
    op_call c = {.domain = "mien", .name = "Linear", .version = 1};
    op_in(&c, MIEN_F32, 2, OP_DIMS(3, shapes[i][1]), NULL);
    op_in(&c, MIEN_F32, 3, shapes[i], NULL);
    if (i < 3) {
      op_run_ok(env, &c);
      assert_int_equal(c.out[0].type.dim[1], shapes[i][0] * shapes[i][2]);
      for (int64_t k = 0; k < mien_count(&c.out[0].type); k++) assert_true(((float *)c.out[0].data)[k] == 0);
    } else {
      assert_int_not_equal(op_run(env, &c), MIEN_OK);
    }
    op_free(&c);
  }
}
static void test_empty(void **state) { (void)state, isa_each(empty_body); }

/* What is refused, and how. */
static void refuse(mien_env *env, op_call *c, const char *message) {
  assert_int_equal(op_run(env, c), MIEN_INVALID_MODEL);
  if (!strstr(c->error.message, message)) print_error("'%s' lacks '%s'\n", c->error.message, message);
  assert_non_null(strstr(c->error.message, message));
  op_free(c);
}
static void test_refused(void **state) {
  mien_env *env = *state;
  op_call c = {.domain = "mien", .name = "Linear", .version = 1};
  op_attr_i(&c, "trans_w", 1);
  op_in(&c, MIEN_F32, 2, OP_DIMS(3, 4), NULL);
  op_in(&c, MIEN_F32, 3, OP_DIMS(2, 4, 8), NULL);
  refuse(env, &c, "W has rank 3 (in panels) and is transposed");
  c = (op_call){.domain = "mien", .name = "Linear", .version = 1};
  op_in(&c, MIEN_F32, 2, OP_DIMS(3, 4), NULL);
  op_in(&c, MIEN_BF16, 3, OP_DIMS(2, 4, 8), NULL);
  refuse(env, &c, "W has rank 3 (in panels) and is of a half type");
  c = (op_call){.domain = "mien", .name = "Linear", .version = 1};
  op_in(&c, MIEN_F32, 2, OP_DIMS(3, 4), NULL);
  op_in(&c, MIEN_F32, 3, OP_DIMS(2, 5, 8), NULL);
  refuse(env, &c, "X has rows of 4 elements and W takes 5");
  c = (op_call){.domain = "mien", .name = "Conv", .version = 1};
  op_attr_i(&c, "group", 2);
  op_in(&c, MIEN_F32, 4, OP_DIMS(1, 4, 5, 5), NULL);
  op_in(&c, MIEN_F32, 5, OP_DIMS(1, 3, 3, 2, 8), NULL);
  refuse(env, &c, "W has rank 5 (in panels), X rank 4 and group is 2, expected 1");
  c = (op_call){.domain = "mien", .name = "Conv", .version = 1};
  op_in(&c, MIEN_F32, 4, OP_DIMS(1, 4, 5, 5), NULL);
  op_in(&c, MIEN_F32, 5, OP_DIMS(1, 3, 3, 3, 8), NULL);
  refuse(env, &c, "X has 4 channels; W takes 3 in 1 groups");
  c = (op_call){.domain = "mien", .name = "Conv", .version = 1};
  op_attr_i(&c, "channels_last", 1);
  op_in(&c, MIEN_F32, 4, OP_DIMS(1, 5, 5, 4), NULL);
  op_in(&c, MIEN_F16, 5, OP_DIMS(1, 3, 3, 4, 8), NULL);
  refuse(env, &c, "input W is in panels and of a half type, expected float32");
  c = (op_call){.name = "Conv", .version = 22}; /* ONNX knows no panels */
  op_in(&c, MIEN_F32, 4, OP_DIMS(1, 4, 5, 5), NULL);
  op_in(&c, MIEN_F32, 5, OP_DIMS(1, 3, 3, 4, 8), NULL);
  refuse(env, &c, "expected equal ranks");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_linear),
      cmocka_unit_test(test_conv),
      cmocka_unit_test(test_empty),
      cmocka_unit_test_setup_teardown(test_refused, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
