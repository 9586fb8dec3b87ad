/* Normalisations and the Softmax family against double precision: axes, broadcast scales, types, empty and single
** rows, NaN and infinities; the same bits on any number of threads. */
#include "ops/isa.h"

static double tolerance_of(int32_t dtype) {
  return dtype == MIEN_F64 ? 1e-12 : dtype == MIEN_F16 ? 4e-3 : dtype == MIEN_BF16 ? 3e-2 : 4e-6;
}

/* An input of any float type with values that all of them hold; `to` gets them as double. */
static void typed_in(op_call *c, int32_t dtype, int rank, const int64_t *dims, uint64_t *seed, double low, double *to) {
  op_in(c, dtype, rank, dims, NULL);
  mien_tensor *t = &c->in[c->in_count - 1];
  for (int64_t i = 0; i < mien_count(&t->type); i++) {
    const float v = (float)floor(op_random(seed, low, 4) * 16) / 16;
    to[i] = (double)v;
    switch (dtype) {
      case MIEN_F64: ((double *)t->data)[i] = (double)v; break;
      case MIEN_F16: ((uint16_t *)t->data)[i] = mien__f32_to_f16(v); break;
      case MIEN_BF16: ((uint16_t *)t->data)[i] = mien__f32_to_bf16(v); break;
      default: ((float *)t->data)[i] = v;
    }
  }
}

static const int32_t floats[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16};
enum { MOST = 4096 };

/* ---- Softmax, LogSoftmax, Hardmax, LpNormalization: rows along an axis */

typedef struct rows_case {
  const char *name;
  int version, rank;
  int64_t dims[4], axis;
  bool flat; /* everything from the axis on is one row */
} rows_case;

static const rows_case row_cases[] = {
    {"Softmax", 13, 2, {5, 33}, -1, false},
    {"Softmax", 13, 3, {3, 7, 5}, 1, false},
    {"Softmax", 13, 1, {67}, 0, false},
    {"Softmax", 11, 3, {3, 7, 5}, 1, true},
    {"Softmax", 1, 4, {2, 3, 4, 5}, 2, true},
    {"Softmax", 12, 3, {3, 7, 5}, -1, true},
    {"Softmax", 13, 2, {3, 0}, 1, false},
    {"Softmax", 13, 2, {0, 3}, 1, false},
    {"Softmax", 13, 2, {4, 1}, 1, false},
    {"LogSoftmax", 13, 3, {3, 7, 5}, 1, false},
    {"LogSoftmax", 11, 3, {3, 7, 5}, 1, true},
    {"LogSoftmax", 13, 2, {4, 34}, -1, false},
    {"Hardmax", 13, 3, {3, 7, 5}, 1, false},
    {"Hardmax", 11, 3, {3, 7, 5}, 0, true},
    {"LpNormalization", 22, 3, {3, 7, 5}, 1, false},
    {"LpNormalization", 22, 2, {4, 34}, -1, false},
};

static void row_reference(const char *name, double *row, int64_t count, int64_t inner, int p) {
  double top = -INFINITY, sum = 0;
  int64_t first = 0;
  for (int64_t i = 0; i < count; i++)
    if (row[i * inner] > top) top = row[i * inner], first = i;
  if (!strcmp(name, "LpNormalization")) {
    for (int64_t i = 0; i < count; i++) sum += p == 1 ? fabs(row[i * inner]) : row[i * inner] * row[i * inner];
    if (p == 2) sum = sqrt(sum);
    for (int64_t i = 0; i < count; i++) row[i * inner] = sum == 0 ? 0 : row[i * inner] / sum;
    return;
  }
  for (int64_t i = 0; i < count; i++) sum += exp(row[i * inner] - top);
  for (int64_t i = 0; i < count; i++) {
    if (!strcmp(name, "Hardmax"))
      row[i * inner] = i == first;
    else if (!strcmp(name, "Softmax"))
      row[i * inner] = exp(row[i * inner] - top) / sum;
    else
      row[i * inner] = row[i * inner] - top - log(sum);
  }
}

static void rows_one(mien_env *env, const rows_case *k, int32_t dtype, int p) {
  uint64_t seed = 31;
  double *x = calloc(MOST, sizeof *x);
  op_call c = {.name = k->name, .version = k->version};
  op_attr_i(&c, "axis", k->axis);
  if (p) op_attr_i(&c, "p", p);
  typed_in(&c, dtype, k->rank, k->dims, &seed, -4, x);
  int64_t outer = 1, count = 1, inner = 1;
  const int axis = (int)(k->axis < 0 ? k->axis + k->rank : k->axis);
  for (int i = 0; i < k->rank; i++) {
    if (i < axis) outer *= k->dims[i];
    if (i == axis || (k->flat && i > axis)) count *= k->dims[i];
    if (i > axis && !k->flat) inner *= k->dims[i];
  }
  for (int64_t o = 0; o < outer; o++)
    for (int64_t i = 0; i < inner; i++) row_reference(k->name, x + o * count * inner + i, count, inner, p);
  isa_run_all(env, &c, -1);
  op_expect(&c.out[0], x, outer * count * inner, tolerance_of(dtype), tolerance_of(dtype));
  free(x);
  op_free(&c);
}

static void rows_body(mien_env *env) {
  for (size_t i = 0; i < sizeof row_cases / sizeof *row_cases; i++) {
    const bool lp = !strcmp(row_cases[i].name, "LpNormalization");
    for (int t = 0; t < (row_cases[i].version >= 13 ? 4 : 3); t++)
      for (int p = lp; p <= 2 * lp; p++) rows_one(env, &row_cases[i], floats[t], p);
  }
}
static void test_rows(void **state) { (void)state, isa_each(rows_body); }

static void test_rows_special(void **state) {
  static const char *const names[] = {"Softmax", "LogSoftmax"};
  for (int k = 0; k < 2; k++) {
    op_call c = {.name = names[k], .version = 13};
    op_in(&c, MIEN_F32, 2, OP_DIMS(3, 2), (float[]){-INFINITY, -INFINITY, -INFINITY, 5, NAN, 1});
    op_run_ok(*state, &c);
    op_expect(&c.out[0], (double[]){NAN, NAN, k ? -INFINITY : 0, k ? 0 : 1, NAN, NAN}, 6, 0, 0);
    op_free(&c);
  }
  op_call c = {.name = "Softmax", .version = 13};
  op_in(&c, MIEN_F32, 0, NULL, (float[]){3});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){1}, 1, 0, 0);
  op_free(&c);
  op_call bad = {.name = "Softmax", .version = 13};
  op_attr_i(&bad, "axis", 2);
  op_in(&bad, MIEN_F32, 2, OP_DIMS(1, 1), NULL);
  assert_int_equal(op_run(*state, &bad), MIEN_INVALID_MODEL);
  op_free(&bad);
}

/* ---- LayerNormalization, RMSNormalization */

typedef struct layer_case {
  int rank;
  int64_t dims[4], axis;
  int scale_rank, bias_rank; /* bias_rank -1: none */
  int64_t scale[4], bias[4];
} layer_case;

static const layer_case layer_cases[] = {
    {2, {5, 33}, -1, 1, 1, {33}, {33}},
    {3, {3, 7, 5}, 1, 2, 2, {7, 5}, {7, 5}},
    {3, {3, 7, 5}, -1, 1, -1, {5}, {0}},
    {3, {3, 7, 5}, 1, 1, 1, {5}, {1}},
    {3, {3, 7, 5}, -1, 3, 2, {3, 1, 5}, {7, 1}},
    {4, {2, 3, 4, 5}, 0, 4, 4, {2, 3, 4, 5}, {2, 3, 4, 5}},
    {2, {4, 1}, -1, 1, 1, {1}, {1}},
    {2, {0, 4}, -1, 1, 1, {4}, {4}},
    {3, {3, 4, 0}, 1, 2, 2, {4, 1}, {1, 1}}, /* rows of nothing */
    {3, {3, 4, 0}, -1, 1, -1, {0}, {0}},
};

static double layer_vector(const double *v, int rank, const int64_t *dims, const layer_case *k, int64_t element) {
  int64_t index[4], offset = 0;
  for (int d = k->rank - 1; d >= 0; d--) index[d] = element % k->dims[d], element /= k->dims[d];
  for (int d = 0; d < rank; d++) offset = offset * dims[d] + (dims[d] == 1 ? 0 : index[k->rank - rank + d]);
  return v[offset];
}

static void layer_one(mien_env *env, const layer_case *k, int32_t dtype, bool rms) {
  uint64_t seed = 33;
  double *x = calloc(4 * MOST, sizeof *x), *scale = x + MOST, *bias = x + 2 * MOST, *y = x + 3 * MOST;
  double mean[64], inverse[64];
  op_call c = {.name = rms ? "RMSNormalization" : "LayerNormalization", .version = rms ? 23 : 17};
  op_attr_i(&c, "axis", k->axis);
  op_attr_f(&c, "epsilon", 0.25f);
  typed_in(&c, dtype, k->rank, k->dims, &seed, -4, x);
  typed_in(&c, dtype, k->scale_rank, k->scale, &seed, -4, scale);
  if (!rms && k->bias_rank >= 0) typed_in(&c, dtype, k->bias_rank, k->bias, &seed, -4, bias);
  c.out_count = rms ? 1 : 3;
  const int axis = (int)(k->axis < 0 ? k->axis + k->rank : k->axis);
  int64_t outer = 1, count = 1;
  for (int i = 0; i < k->rank; i++) *(i < axis ? &outer : &count) *= k->dims[i];
  for (int64_t o = 0; o < outer; o++) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < count; i++) sum += x[o * count + i];
    mean[o] = rms ? 0 : sum / (double)count;
    for (int64_t i = 0; i < count; i++) squares += (x[o * count + i] - mean[o]) * (x[o * count + i] - mean[o]);
    inverse[o] = 1 / sqrt(squares / (double)count + 0.25);
    for (int64_t i = 0; i < count; i++) {
      const int64_t e = o * count + i;
      y[e] = (x[e] - mean[o]) * inverse[o] * layer_vector(scale, k->scale_rank, k->scale, k, e);
      if (!rms && k->bias_rank >= 0) y[e] += layer_vector(bias, k->bias_rank, k->bias, k, e);
    }
  }
  isa_run_all(env, &c, -1);
  op_expect(&c.out[0], y, outer * count, 4 * tolerance_of(dtype), tolerance_of(dtype));
  if (!rms) {
    op_expect(&c.out[1], mean, outer, 1e-5, 1e-5);
    op_expect(&c.out[2], inverse, outer, 1e-5, 1e-5);
    assert_int_equal(c.out[1].type.dim[k->rank - 1], 1);
  }
  free(x);
  op_free(&c);
}

static void layer_body(mien_env *env) {
  for (size_t i = 0; i < sizeof layer_cases / sizeof *layer_cases; i++)
    for (int t = 0; t < 4; t++)
      for (int rms = 0; rms < 2; rms++) layer_one(env, &layer_cases[i], floats[t], rms);
}
static void test_layer(void **state) { (void)state, isa_each(layer_body); }

static void test_layer_refused(void **state) {
  op_call c = {.name = "LayerNormalization", .version = 17};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "broadcast"));
  op_attr_i(&c, "stash_type", 10);
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  op_free(&c);
}

/* ---- normalisation by channel: BatchNormalization, InstanceNormalization, GroupNormalization */

typedef struct channel_case {
  const char *name;
  int version, rank, groups; /* groups 0: statistics are given */
  int64_t dims[4];
} channel_case;

static const channel_case channel_cases[] = {
    {"BatchNormalization", 7, 4, 0, {2, 3, 5, 7}},    {"BatchNormalization", 9, 2, 0, {5, 19}},
    {"BatchNormalization", 15, 3, 0, {2, 33, 3}},     {"BatchNormalization", 14, 4, 0, {0, 3, 2, 2}},
    {"InstanceNormalization", 6, 4, 3, {2, 3, 5, 7}}, {"InstanceNormalization", 22, 3, 5, {1, 5, 33}},
    {"GroupNormalization", 18, 4, 2, {2, 6, 3, 5}},   {"GroupNormalization", 21, 4, 2, {2, 6, 3, 5}},
    {"GroupNormalization", 21, 3, 6, {1, 6, 1}},      {"GroupNormalization", 21, 3, 1, {3, 4, 5}},
};

static void channel_one(mien_env *env, const channel_case *k, int32_t dtype) {
  uint64_t seed = 35;
  double *x = calloc(2 * MOST, sizeof *x), *y = x + MOST, v[4][64];
  const int64_t channels = k->dims[1], vectors = k->version == 18 ? k->groups : channels;
  op_call c = {.name = k->name, .version = k->version};
  op_attr_f(&c, "epsilon", 0.5f);
  if (k->name[0] == 'G') op_attr_i(&c, "num_groups", k->groups);
  typed_in(&c, dtype, k->rank, k->dims, &seed, -4, x);
  for (int i = 0; i < (k->groups ? 2 : 4); i++) typed_in(&c, dtype, 1, &vectors, &seed, i == 3 ? 0 : -4, v[i]);
  const int64_t count = mien_count(&c.in[0].type), pixels = count ? count / k->dims[0] / channels : 0;
  for (int64_t e = 0; e < count; e++) {
    const int64_t ch = e / pixels % channels, image = e / pixels / channels;
    double mean = v[2][ch], variance = v[3][ch];
    if (k->groups) {
      const int64_t each = channels / k->groups * pixels,
                    first = (image * k->groups + ch / (channels / k->groups)) * each;
      mean = variance = 0;
      for (int64_t i = 0; i < each; i++) mean += x[first + i] / (double)each;
      for (int64_t i = 0; i < each; i++) variance += (x[first + i] - mean) * (x[first + i] - mean) / (double)each;
    }
    const int64_t at = k->version == 18 ? ch / (channels / k->groups) : ch;
    y[e] = (x[e] - mean) / sqrt(variance + 0.5) * v[0][at] + v[1][at];
  }
  isa_run_all(env, &c, -1);
  op_expect(&c.out[0], y, count, 8 * tolerance_of(dtype), tolerance_of(dtype));
  if (k->name[0] == 'B') {
    c.in_place = true;
    op_run_ok(env, &c);
    op_expect(&c.out[0], y, count, 8 * tolerance_of(dtype), tolerance_of(dtype));
  }
  free(x);
  op_free(&c);
}

static void channel_body(mien_env *env) {
  for (size_t i = 0; i < sizeof channel_cases / sizeof *channel_cases; i++)
    for (int t = 0; t < (channel_cases[i].version >= 14 ? 4 : 3); t++) channel_one(env, &channel_cases[i], floats[t]);
}
static void test_channel(void **state) { (void)state, isa_each(channel_body); }

static void test_batch_mixed(void **state) {
  op_call c = {.name = "BatchNormalization", .version = 15};
  const uint16_t x[2] = {mien__f32_to_f16(3), mien__f32_to_f16(-1)};
  op_in(&c, MIEN_F16, 2, OP_DIMS(2, 1), x);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (float[]){2});
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), (float[]){1});
  op_in(&c, MIEN_F64, 1, OP_DIMS(1), (double[]){1});
  op_in(&c, MIEN_F64, 1, OP_DIMS(1), (double[]){4});
  op_attr_f(&c, "epsilon", 0);
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){3, -1}, 2, 0, 0);
  op_free(&c);
}

static void test_batch_refused(void **state) {
  for (int k = 0; k < 3; k++) {
    op_call c = {.name = "BatchNormalization", .version = k == 0 ? 7 : 14};
    if (k == 0) op_attr_i(&c, "spatial", 0);
    if (k == 1) op_attr_i(&c, "training_mode", 1);
    op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
    for (int i = 0; i < 4; i++) op_in(&c, MIEN_F32, 1, OP_DIMS(k == 2 ? 4 : 3), NULL);
    assert_int_equal(op_run(*state, &c), k == 2 ? MIEN_INVALID_MODEL : MIEN_UNSUPPORTED);
    op_free(&c);
  }
}

/* ---- LRN */

static void test_lrn(void **state) {
  for (int size = 1; size < 9; size++)
    for (int t = 0; t < 4; t++) {
      uint64_t seed = 37;
      double x[2 * 5 * 6], y[2 * 5 * 6];
      op_call c = {.name = "LRN", .version = 13};
      op_attr_i(&c, "size", size);
      op_attr_f(&c, "alpha", 0.5f);
      typed_in(&c, floats[t], 3, OP_DIMS(2, 5, 6), &seed, -4, x);
      for (int e = 0; e < 60; e++) {
        const int ch = e / 6 % 5;
        double sum = 0;
        for (int k = ch - (size - 1) / 2; k <= ch + size / 2; k++)
          if (k >= 0 && k < 5) sum += x[e + (k - ch) * 6] * x[e + (k - ch) * 6];
        y[e] = x[e] / pow(1 + 0.5 / size * sum, 0.75);
      }
      op_run_ok(*state, &c);
      op_expect(&c.out[0], y, 60, tolerance_of(floats[t]), tolerance_of(floats[t]));
      op_free(&c);
    }
}

#define WITH_ENV(f) cmocka_unit_test_setup_teardown(f, op_env_setup, op_env_teardown)

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rows),    WITH_ENV(test_rows_special),
      cmocka_unit_test(test_layer),   WITH_ENV(test_layer_refused),
      cmocka_unit_test(test_channel), WITH_ENV(test_batch_mixed),
      WITH_ENV(test_batch_refused),   WITH_ENV(test_lrn),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
