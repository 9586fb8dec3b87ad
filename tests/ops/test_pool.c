/* Pools against the definition: every window, one input position after the other. */
#include "op_test.h"

static uint64_t seed = 362436069u;
static int pick(int low, int high) { return low + (int)op_random(&seed, 0, high - low + 0.999999); }

typedef enum kind { MAX, AVERAGE, LP } kind;
static const char *const names[] = {"MaxPool", "AveragePool", "LpPool"};

typedef struct geometry {
  int rank;
  int64_t in[3], kernel[3], stride[3], dilation[3], pads[6], out[3];
  bool ceil_mode, include_pad, column_major;
  int p;
} geometry;

static int64_t out_size(const geometry *g, int d) {
  int64_t span = (g->kernel[d] - 1) * g->dilation[d] + 1;
  double steps = (double)(g->in[d] + g->pads[d] + g->pads[g->rank + d] - span) / (double)g->stride[d];
  int64_t out = (int64_t)(g->ceil_mode ? ceil(steps) : floor(steps)) + 1;
  if (g->ceil_mode && (out - 1) * g->stride[d] >= g->in[d] + g->pads[d]) out--;
  return out;
}

/* Random geometry with at least one output position and no window in the padding alone. */
static void make(geometry *g, bool dilate, bool ceil_mode) {
  memset(g, 0, sizeof *g);
  g->rank = pick(1, 3);
  g->ceil_mode = ceil_mode && pick(0, 1);
  g->include_pad = pick(0, 1);
  g->column_major = pick(0, 3) == 0;
  g->p = pick(1, 3);
  for (int d = 0; d < g->rank; d++) {
    do {
      g->in[d] = pick(1, 9);
      g->kernel[d] = pick(1, 4);
      g->stride[d] = pick(1, 4);
      g->dilation[d] = dilate ? pick(1, 2) : 1;
      g->pads[d] = pick(0, (int)g->kernel[d] - 1);
    } while ((g->kernel[d] - 1) * g->dilation[d] + 1 > g->in[d] + g->pads[d]);
  }
  for (int d = 0; d < g->rank; d++) {
    g->pads[g->rank + d] = pick(0, (int)g->kernel[d] - 1);
    g->out[d] = out_size(g, d);
  }
}

static int64_t volume(int rank, const int64_t *dims) {
  int64_t v = 1;
  for (int i = 0; i < rank; i++) v *= dims[i];
  return v;
}

/* One output element; x: where its plane begins, `step` elements from position to position. */
static double window(const geometry *g, kind what, const double *x, int64_t step, int64_t at, int64_t *where) {
  int64_t o[3], taps = volume(g->rank, g->kernel), valid = 0, counted = 0;
  double result = what == MAX ? -INFINITY : 0;
  *where = -1;
  for (int d = g->rank - 1; d >= 0; d--) {
    o[d] = at % g->out[d];
    at /= g->out[d];
  }
  for (int64_t t = 0; t < taps; t++) {
    int64_t rest = t, position[3], flat = 0, turned = 0;
    bool inside = true, padded = true;
    for (int d = g->rank - 1; d >= 0; d--) {
      position[d] = o[d] * g->stride[d] - g->pads[d] + rest % g->kernel[d] * g->dilation[d];
      rest /= g->kernel[d];
      inside = inside && position[d] >= 0 && position[d] < g->in[d];
      padded = padded && position[d] < g->in[d] + g->pads[g->rank + d];
    }
    counted += padded;
    if (!inside) continue;
    for (int d = 0; d < g->rank; d++) flat = flat * g->in[d] + position[d];
    for (int d = g->rank - 1; d >= 0; d--) turned = turned * g->in[d] + position[d];
    double v = x[flat * step];
    if (what == AVERAGE) result += v;
    if (what == LP) result += pow(fabs(v), g->p);
    if (what == MAX && (*where < 0 || v > result || (isnan(v) && !isnan(result)))) {
      result = v;
      *where = g->column_major ? turned : flat;
    }
    valid++;
  }
  if (what == AVERAGE) result /= (double)(g->include_pad ? counted : valid);
  return what == LP ? pow(result, 1.0 / g->p) : result;
}

static void in_values(op_call *c, int32_t dtype, int rank, const int64_t *dims, double *copy) {
  void *data = op_in(c, dtype, rank, dims, NULL);
  for (int64_t i = 0; i < volume(rank, dims); i++) {
    copy[i] = pick(0, 60) == 0 && dtype == MIEN_F32 ? NAN : pick(-40, 40) / 4.0;
    if (dtype == MIEN_U8) copy[i] = pick(0, 255);
    if (dtype == MIEN_I8) copy[i] = pick(-128, 127);
    if (dtype == MIEN_F32)
      ((float *)data)[i] = (float)copy[i];
    else if (dtype == MIEN_F64)
      ((double *)data)[i] = copy[i];
    else if (dtype == MIEN_F16)
      ((uint16_t *)data)[i] = mien__f32_to_f16((float)copy[i]);
    else if (dtype == MIEN_U8)
      ((uint8_t *)data)[i] = (uint8_t)copy[i];
    else
      ((int8_t *)data)[i] = (int8_t)copy[i];
  }
}

static void attributes(op_call *c, const geometry *g, kind what, bool dilate, bool ceil_mode) {
  op_attr_ints(c, "kernel_shape", g->kernel, g->rank);
  op_attr_ints(c, "strides", g->stride, g->rank);
  op_attr_ints(c, "pads", g->pads, 2 * g->rank);
  if (dilate) op_attr_ints(c, "dilations", g->dilation, g->rank);
  if (ceil_mode) op_attr_i(c, "ceil_mode", g->ceil_mode);
  if (what == AVERAGE) op_attr_i(c, "count_include_pad", g->include_pad);
  if (what == LP) op_attr_i(c, "p", g->p);
}

static double buffer[6 * 9 * 9 * 9], want[6 * 13 * 13 * 13], want_index[6 * 13 * 13 * 13];

static void one_pool(mien_env *env, kind what, int version, int32_t dtype, bool indices, int64_t piece) {
  bool ceil_mode = version >= (what == LP ? 18 : 10), dilate = version >= (what == LP ? 18 : what == MAX ? 10 : 19);
  geometry g;
  op_call c = {.name = names[what], .version = version, .out_count = indices ? 2 : 1, .piece = piece};
  make(&g, dilate, ceil_mode);
  if (!indices) g.column_major = false;
  int64_t dims[5] = {pick(1, 2), pick(1, 3), g.in[0], g.in[1], g.in[2]}, planes = dims[0] * dims[1];
  in_values(&c, dtype, g.rank + 2, dims, buffer);
  attributes(&c, &g, what, dilate, ceil_mode);
  if (indices) op_attr_i(&c, "storage_order", g.column_major);
  int64_t size = volume(g.rank, g.in), out = volume(g.rank, g.out);
  for (int64_t i = 0; i < planes * out; i++) {
    int64_t where;
    want[i] = window(&g, what, buffer + i / out * size, 1, i % out, &where);
    want_index[i] = (double)(i / out * size + where);
  }
  op_run_ok(env, &c);
  for (int d = 0; d < g.rank; d++) assert_int_equal(c.out[0].type.dim[2 + d], g.out[d]);
  op_expect(&c.out[0], want, planes * out, dtype == MIEN_F16 ? 0.02 : 1e-5, dtype == MIEN_F16 ? 1e-3 : 1e-5);
  if (indices) op_expect(&c.out[1], want_index, planes * out, 0, 0);
  op_free(&c);
}

static void test_pools(void **state) {
  static const int versions[3][4] = {{1, 8, 10, 12}, {7, 10, 19, 22}, {2, 11, 18, 22}};
  static const int32_t dtypes[] = {MIEN_F32, MIEN_F32, MIEN_F64, MIEN_F16, MIEN_U8, MIEN_I8};
  for (int round = 0; round < 1500; round++) {
    kind what = (kind)(round % 3);
    int version = versions[what][pick(0, 3)];
    one_pool(*state, what, version, dtypes[pick(0, what == MAX ? 5 : 3)], what == MAX && version >= 8 && pick(0, 1),
             pick(0, 3));
  }
}

/* mien.Pool, both layouts. */
static void test_fused(void **state) {
  for (int round = 0; round < 500; round++) {
    kind what = (kind)(round % 2);
    bool last = pick(0, 2) != 0;
    geometry g;
    op_call c = {.domain = "mien", .name = "Pool", .version = 1, .piece = pick(0, 3)};
    make(&g, true, true);
    g.column_major = false;
    int64_t n = pick(1, 2), channels = pick(0, 3) ? pick(1, 5) : pick(15, 35), dims[5] = {n};
    if (channels > 5 && g.rank > 1) channels = 3;
    dims[last ? g.rank + 1 : 1] = channels;
    for (int d = 0; d < g.rank; d++) dims[(last ? 1 : 2) + d] = g.in[d];
    int64_t size = volume(g.rank, g.in), out = volume(g.rank, g.out);
    double *x = malloc((size_t)(n * channels * size) * sizeof *x),
           *y = malloc((size_t)(n * channels * out) * sizeof *y);
    in_values(&c, MIEN_F32, g.rank + 2, dims, x);
    op_attr_s(&c, "kind", what == MAX ? "max" : "average");
    attributes(&c, &g, MAX, true, true);
    op_attr_i(&c, "count_include_pad", g.include_pad);
    op_attr_i(&c, "channels_last", last);
    for (int64_t b = 0; b < n; b++)
      for (int64_t k = 0; k < channels; k++)
        for (int64_t o = 0; o < out; o++) {
          int64_t where;
          const double *plane = last ? x + b * size * channels + k : x + (b * channels + k) * size;
          y[last ? (b * out + o) * channels + k : (b * channels + k) * out + o] =
              window(&g, what, plane, last ? channels : 1, o, &where);
        }
    op_run_ok(*state, &c);
    op_expect(&c.out[0], y, n * channels * out, 1e-5, 1e-5);
    free(x);
    free(y);
    op_free(&c);
  }
}

static void test_auto_pad(void **state) {
  static const struct {
    const char *mode;
    int64_t in, kernel, stride;
    int count;
    double want[4];
  } rows[] = {
      {"SAME_UPPER", 4, 2, 2, 2, {1, 3}},
      {"SAME_UPPER", 4, 2, 1, 4, {1, 2, 3, 3}},
      {"SAME_LOWER", 4, 2, 1, 4, {0, 1, 2, 3}},
      {"SAME_UPPER", 5, 3, 2, 3, {1, 3, 4}},
      {"SAME_LOWER", 4, 3, 2, 2, {1, 3}},
      {"SAME_UPPER", 4, 3, 2, 2, {2, 3}},
      {"VALID", 5, 2, 2, 2, {1, 3}},
      {"SAME_UPPER", 6, 1, 3, 2, {0, 3}},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    op_call c = {.name = "MaxPool", .version = 11};
    float x[6] = {0, 1, 2, 3, 4, 5};
    op_in(&c, MIEN_F32, 3, OP_DIMS(1, 1, rows[i].in), x);
    op_attr_s(&c, "auto_pad", rows[i].mode);
    op_attr_ints(&c, "kernel_shape", &rows[i].kernel, 1);
    op_attr_ints(&c, "strides", &rows[i].stride, 1);
    op_run_ok(*state, &c);
    op_expect(&c.out[0], rows[i].want, rows[i].count, 0, 0);
    op_free(&c);
  }
}

static void test_global(void **state) {
  static const char *const globals[] = {"GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"};
  const double results[3][2] = {{3, -1}, {2, -2}, {sqrt(14), sqrt(14)}};
  for (int i = 0; i < 3; i++) {
    op_call c = {.name = globals[i], .version = 2, .piece = 1};
    op_in(&c, MIEN_F32, 4, OP_DIMS(1, 2, 1, 3), (const float[]){1, 2, 3, -1, -2, -3});
    op_run_ok(*state, &c);
    assert_true(c.out[0].type.rank == 4 && c.out[0].type.dim[3] == 1);
    op_expect(&c.out[0], results[i], 2, 1e-6, 0);
    op_free(&c);
    c = (op_call){.name = globals[i], .version = 2};
    op_in(&c, MIEN_F32, 3, OP_DIMS(0, 2, 3), NULL);
    op_run_ok(*state, &c);
    assert_int_equal(mien_count(&c.out[0].type), 0);
    op_free(&c);
  }
}

static void test_empty(void **state) {
  static const int64_t shapes[][3] = {{0, 2, 5}, {2, 0, 5}};
  for (int i = 0; i < 2; i++) {
    op_call c = {.name = "MaxPool", .version = 12};
    op_in(&c, MIEN_F32, 3, shapes[i], NULL);
    op_attr_ints(&c, "kernel_shape", OP_DIMS(2), 1);
    op_run_ok(*state, &c);
    assert_int_equal(c.out[0].type.dim[2], 4);
    op_free(&c);
  }
}

/* Windows larger than the padded input; sizes and values as onnxruntime 1.32 gives them. */
static void test_overhang(void **state) {
  static const struct {
    kind what;
    int64_t in, kernel, stride, dilation, ceil_mode, count; /* -1: refused */
    double want;
  } rows[] = {
      {MAX, 2, 3, 1, 1, 0, 0, 0},
      {MAX, 2, 3, 2, 1, 0, 1, 2},
      {MAX, 2, 3, 2, 1, 1, 1, 2},
      {MAX, 2, 4, 2, 1, 1, 0, 0},
      {MAX, 5, 4, 3, 2, 0, 1, 5},
      {MAX, 2, 4, 1, 1, 0, -1, 0},
      {MAX, 2, 6, 2, 1, 0, -1, 0},
      {MAX, 2, 9, 2, 1, 1, -1, 0},
      {MAX, 4, 3, 1, 2, 0, 0, 0},
      {AVERAGE, 2, 3, 1, 1, 0, 0, 0},
      {AVERAGE, 2, 3, 5, 1, 0, 1, 1.5},
      {AVERAGE, 2, 4, 1, 1, 0, -1, 0},
      {LP, 2, 3, 1, 1, 0, 0, 0},
      {LP, 2, 3, 2, 1, 0, 1, 2.2360679774997896},
      {LP, 2, 4, 1, 1, 0, -1, 0},
      {MAX, 0, 2, 1, 1, 0, 0, 0}, /* onnxruntime takes no empty image; here it has no windows */
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    op_call c = {.name = names[rows[i].what], .version = rows[i].what == LP ? 18 : rows[i].what == MAX ? 12 : 19};
    op_in(&c, MIEN_F32, 3, OP_DIMS(1, 1, rows[i].in), (const float[]){1, 2, 3, 4, 5});
    op_attr_ints(&c, "kernel_shape", &rows[i].kernel, 1);
    op_attr_ints(&c, "strides", &rows[i].stride, 1);
    op_attr_ints(&c, "dilations", &rows[i].dilation, 1);
    op_attr_i(&c, "ceil_mode", rows[i].ceil_mode);
    if (rows[i].count < 0) {
      assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
      assert_non_null(strstr(c.error.message, "expected at most the padded input's 2"));
    } else {
      op_run_ok(*state, &c);
      assert_int_equal(c.out[0].type.dim[2], rows[i].count);
      op_expect(&c.out[0], &rows[i].want, rows[i].count, 1e-6, 0);
    }
    op_free(&c);
  }
}

static void test_refuses(void **state) {
  static const struct {
    int64_t kernel, stride, dilation, before;
  } bad[] = {{0, 1, 1, 0},         {-1, 1, 1, 0}, {2, 0, 1, 0}, {2, 1, 0, 0},         {2, 1, 1, -1},
             {2, 1, 1, INT64_MAX}, {2, 1, 1, 2},  {9, 1, 1, 0}, {INT64_MAX, 1, 1, 0}, {2, INT64_MAX, INT64_MAX, 0}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    op_call c = {.name = "MaxPool", .version = 12};
    op_in(&c, MIEN_F32, 3, OP_DIMS(1, 1, 4), NULL);
    op_attr_ints(&c, "kernel_shape", &bad[i].kernel, 1);
    op_attr_ints(&c, "strides", &bad[i].stride, 1);
    op_attr_ints(&c, "dilations", &bad[i].dilation, 1);
    op_attr_ints(&c, "pads", OP_DIMS(bad[i].before, 0), 2);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    op_free(&c);
  }
  op_call c = {.name = "MaxPool", .version = 12};
  op_in(&c, MIEN_F32, 3, OP_DIMS(1, 1, 4), NULL);
  op_attr_ints(&c, "kernel_shape", OP_DIMS(2, 2), 2);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "MaxPool", .version = 12};
  op_in(&c, MIEN_F32, 2, OP_DIMS(1, 4), NULL);
  op_attr_ints(&c, "kernel_shape", OP_DIMS(2), 1);
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_pools),    cmocka_unit_test(test_fused), cmocka_unit_test(test_auto_pad),
      cmocka_unit_test(test_global),   cmocka_unit_test(test_empty), cmocka_unit_test(test_refuses),
      cmocka_unit_test(test_overhang),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
