/* ConvTranspose against a scatter in double precision: every input element adds its window to the output. */
#include "op_test.h"

typedef struct transpose_case {
  int rank;
  int64_t n, c, m, group, in[3], kernel[3], stride[3], dilation[3], pads[6], extra[3], shape[3];
  const char *automatic;
  int64_t out[3], before[3]; /* expected */
} transpose_case;

static const transpose_case cases[] = {
    {2, 1, 1, 2, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {0}, {0}, {0}, NULL, {5, 5}, {0, 0}},
    {2, 2, 4, 6, 2, {3, 4}, {3, 2}, {2, 3}, {1, 2}, {1, 0, 1, 2}, {1, 0}, {0}, NULL, {6, 10}, {1, 0}},
    {1, 1, 3, 2, 1, {5}, {4}, {3}, {1}, {1, 2}, {2}, {0}, NULL, {15}, {1}},
    {3, 1, 2, 2, 1, {2, 3, 2}, {2, 2, 3}, {1, 2, 2}, {1, 1, 1}, {0}, {0}, {0}, NULL, {3, 6, 5}, {0, 0, 0}},
    {2, 1, 1, 1, 1, {3, 3}, {3, 3}, {2, 2}, {1, 1}, {0}, {0}, {0}, "SAME_UPPER", {6, 6}, {0, 0}},
    {2, 1, 1, 1, 1, {3, 3}, {3, 3}, {2, 2}, {1, 1}, {0}, {0}, {0}, "SAME_LOWER", {6, 6}, {1, 1}},
    {2, 1, 1, 1, 1, {3, 3}, {3, 3}, {3, 2}, {1, 1}, {0}, {0}, {10, 8}, NULL, {10, 8}, {0, 0}},
    {2, 1, 1, 1, 1, {3, 3}, {4, 4}, {2, 2}, {1, 1}, {0}, {0}, {7, 5}, "SAME_UPPER", {7, 5}, {0, 1}},
    {2, 1, 1, 1, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {0}, {0}, {0}, "VALID", {5, 5}, {0, 0}},
    {2, 0, 2, 2, 1, {3, 3}, {3, 3}, {1, 1}, {1, 1}, {0}, {0}, {0}, NULL, {5, 5}, {0, 0}},
};

static void three(const transpose_case *k, const int64_t *from, int64_t absent, int64_t *to) {
  for (int d = 0; d < 3; d++) to[d] = d < 3 - k->rank ? absent : from[d - (3 - k->rank)];
}

static void scatter(const transpose_case *k, const double *x, const double *w, const double *b, double *y) {
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], before[3];
  three(k, k->in, 1, in), three(k, k->out, 1, out), three(k, k->kernel, 1, kernel), three(k, k->stride, 1, stride);
  three(k, k->dilation, 1, dilation), three(k, k->before, 0, before);
  const int64_t pixels = in[0] * in[1] * in[2], outs = out[0] * out[1] * out[2],
                taps = kernel[0] * kernel[1] * kernel[2];
  const int64_t in_each = k->c / k->group, out_each = k->m / k->group;
  for (int64_t i = 0; i < k->n * k->m * outs; i++) y[i] = b[i / outs % k->m];
  for (int64_t e = 0; e < k->n * k->c * pixels; e++) {
    const int64_t p = e % pixels, c = e / pixels % k->c, image = e / pixels / k->c;
    const int64_t at[3] = {p / in[2] / in[1], p / in[2] % in[1], p % in[2]};
    for (int64_t m = 0; m < out_each; m++)
      for (int64_t t = 0; t < taps; t++) {
        const int64_t tap[3] = {t / kernel[2] / kernel[1], t / kernel[2] % kernel[1], t % kernel[2]};
        int64_t to = 0;
        bool inside = true;
        for (int d = 0; d < 3; d++) {
          const int64_t o = at[d] * stride[d] + tap[d] * dilation[d] - before[d];
          if (o < 0 || o >= out[d]) inside = false;
          to = to * out[d] + o;
        }
        if (inside)
          y[(image * k->m + c / in_each * out_each + m) * outs + to] += x[e] * w[(c * out_each + m) * taps + t];
      }
  }
}

static void fill(op_call *c, int32_t dtype, int rank, const int64_t *dims, uint64_t *seed, double *to) {
  op_in(c, dtype, rank, dims, NULL);
  mien_tensor *t = &c->in[c->in_count - 1];
  for (int64_t i = 0; i < mien_count(&t->type); i++) {
    const float v =
        (float)floor(op_random(seed, -8, 8)) / 8; /* exact in every type, and so are sums of some products */
    to[i] = (double)v;
    if (dtype == MIEN_F32) ((float *)t->data)[i] = v;
    if (dtype == MIEN_F64) ((double *)t->data)[i] = (double)v;
    if (dtype == MIEN_F16) ((uint16_t *)t->data)[i] = mien__f32_to_f16(v);
    if (dtype == MIEN_BF16) ((uint16_t *)t->data)[i] = mien__f32_to_bf16(v);
  }
}

static void one(mien_env *env, const transpose_case *k, int32_t dtype) {
  uint64_t seed = 51;
  static double x[2048], w[2048], b[64], y[4096];
  int64_t xd[5] = {k->n, k->c}, wd[5] = {k->c, k->m / k->group};
  for (int d = 0; d < k->rank; d++) xd[2 + d] = k->in[d], wd[2 + d] = k->kernel[d];
  op_call c = {.name = "ConvTranspose", .version = 22, .threads = 2};
  op_attr_i(&c, "group", k->group);
  op_attr_ints(&c, "strides", k->stride, k->rank);
  op_attr_ints(&c, "dilations", k->dilation, k->rank);
  if (k->automatic) op_attr_s(&c, "auto_pad", k->automatic);
  if (!k->automatic) op_attr_ints(&c, "pads", k->pads, 2 * k->rank);
  op_attr_ints(&c, "output_padding", k->extra, k->rank);
  if (k->shape[0]) op_attr_ints(&c, "output_shape", k->shape, k->rank);
  fill(&c, dtype, k->rank + 2, xd, &seed, x);
  fill(&c, dtype, k->rank + 2, wd, &seed, w);
  fill(&c, dtype, 1, &k->m, &seed, b);
  scatter(k, x, w, b, y);
  op_run_ok(env, &c);
  for (int d = 0; d < k->rank; d++) assert_int_equal(c.out[0].type.dim[2 + d], k->out[d]);
  const double tolerance = dtype == MIEN_BF16 ? 2e-2 : dtype == MIEN_F16 ? 2e-3 : 1e-6;
  op_expect(&c.out[0], y, mien_count(&c.out[0].type), dtype == MIEN_F32 || dtype == MIEN_F64 ? 1e-6 : 0, tolerance);
  op_free(&c);
}

static void test_cases(void **state) {
  static const int32_t types[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int t = 0; t < 4; t++) one(*state, &cases[i], types[t]);
}

static void test_refused(void **state) {
  static const int64_t pads[4] = {9, 9, 9, 9}, zeros[2] = {0, 0};
  for (int k = 0; k < 4; k++) {
    op_call c = {.name = "ConvTranspose", .version = 11};
    if (k == 0) op_attr_ints(&c, "pads", pads, 4);
    if (k == 1) op_attr_ints(&c, "strides", zeros, 2);
    if (k == 2) op_attr_i(&c, "group", 3);
    op_in(&c, MIEN_F32, 4, OP_DIMS(1, 4, 3, 3), NULL);
    op_in(&c, MIEN_F32, 4, k == 3 ? OP_DIMS(2, 2, 3, 3) : OP_DIMS(4, 2, 3, 3), NULL);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_cases, op_env_setup, op_env_teardown),
      cmocka_unit_test_setup_teardown(test_refused, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
