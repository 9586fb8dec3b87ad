/* QuantizeLinear and DequantizeLinear against the formula in double precision: one scale, one for each place on an axis, one for
** each block; types, absent zero points, halves, saturation; what is refused. */
#include "tests/ops/elementwise.h"

typedef struct grain {
  shape x;
  int64_t axis, block; /* block 0: a vector along the axis; axis 9: one scale */
} grain;

static const grain grains[] = {
    {{2, {3, 5}}, 9, 0},     {{0, {0}}, 9, 0},         {{2, {3, 5}}, 1, 0},       {{3, {2, 3, 4}}, 1, 0},
    {{3, {2, 3, 4}}, -3, 0}, {{3, {2, 7, 3}}, 1, 3},   {{2, {4, 600}}, -1, 128},  {{2, {5, 300}}, 0, 2},
    {{2, {2, 0}}, 1, 0},     {{3, {2, 300, 2}}, 1, 0}, {{4, {2, 3, 5, 4}}, 2, 5},
};

static shape scales_of(const grain *g) {
  shape s = g->x;
  const int axis = (int)(g->axis < 0 ? g->axis + g->x.rank : g->axis);
  if (g->axis == 9) return (shape){0, {0}};
  if (!g->block) return (shape){1, {g->x.dim[axis]}};
  s.dim[axis] = (s.dim[axis] + g->block - 1) / g->block;
  return s;
}

/* The element of the scale for element i of x. */
static int64_t scale_at(const grain *g, int64_t i) {
  const int axis = (int)(g->axis < 0 ? g->axis + g->x.rank : g->axis);
  const shape s = scales_of(g);
  int64_t index = 0, stride = 1;
  if (g->axis == 9) return 0;
  for (int d = g->x.rank - 1; d >= 0; d--) {
    const int64_t at_d = i % g->x.dim[d];
    i /= g->x.dim[d];
    if (!g->block && d == axis) return at_d;
    if (g->block) index += (d == axis ? at_d / g->block : at_d) * stride, stride *= s.dim[d];
  }
  return index;
}

typedef struct integer {
  int32_t dtype;
  double low, high;
  int since;
} integer;

static const integer integers[] = {{MIEN_I8, -128, 127, 10}, {MIEN_U8, 0, 255, 10}, {MIEN_I16, -32768, 32767, 21},
                                   {MIEN_U16, 0, 65535, 21}, {MIEN_I4, -8, 7, 21},  {MIEN_U4, 0, 15, 21},
                                   {MIEN_I2, -2, 1, 25},     {MIEN_U2, 0, 3, 25},   {MIEN_I32, -1e5, 1e5, 10}};

static void store_any(void *data, int32_t dtype, int64_t i, double v) {
  if (dtype == MIEN_I4 || dtype == MIEN_I2)
    ((int8_t *)data)[i] = (int8_t)v;
  else if (dtype == MIEN_U4 || dtype == MIEN_U2)
    ((uint8_t *)data)[i] = (uint8_t)v;
  else
    store(data, dtype, i, v);
}

static void integers_in(op_call *c, const integer *t, const shape *s, uint64_t *seed) {
  void *data = op_in(c, t->dtype, s->rank, s->dim, NULL);
  for (int64_t i = 0; i < shape_count(s); i++)
    store_any(data, t->dtype, i, floor(op_random(seed, t->low, t->high + 1)));
}

static void grain_attrs(op_call *c, const grain *g, int version) {
  if (version >= 13 && g->axis != 9) op_attr_i(c, "axis", g->axis);
  if (version >= 21 && g->block) op_attr_i(c, "block_size", g->block);
}

static bool fits(const grain *g, int version) { return version >= (g->block ? 21 : g->axis != 9 ? 13 : 10); }

static void dequantize_one(mien_env *env, const grain *g, const integer *t, int version, int32_t to, bool zero,
                           uint64_t *seed) {
  op_call c = {.name = "DequantizeLinear", .version = version, .piece = (int64_t)(*seed % 5) * 37, .variable = {true}};
  const shape s = scales_of(g);
  integers_in(&c, t, &g->x, seed);
  random_in(&c, to, &s, seed, 0.01, 0.3); /* the largest results stay below 65504 */
  if (zero) integers_in(&c, t, &s, seed);
  grain_attrs(&c, g, version);
  op_run_ok(env, &c);
  assert_int_equal(c.out[0].type.dtype, to);
  assert_int_equal(c.out[0].type.rank, g->x.rank);
  for (int64_t i = 0; i < shape_count(&g->x); i++) {
    const int64_t k = scale_at(g, i);
    const double want = (at(&c.in[0], i) - (zero ? at(&c.in[2], k) : 0)) * at(&c.in[1], k);
    expect_near(&c, i, at(&c.out[0], i), want, 0, precision(to));
  }
  op_free(&c);
}

static void test_dequantize(void **state) {
  static const int versions[] = {10, 13, 19, 21, 23, 25};
  uint64_t seed = 3;
  for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
    for (size_t t = 0; t < sizeof integers / sizeof *integers; t++)
      for (size_t v = 0; v < sizeof versions / sizeof *versions; v++) {
        if (versions[v] < integers[t].since || !fits(&grains[g], versions[v])) continue;
        for (int zero = 0; zero < (integers[t].dtype == MIEN_I32 ? 1 : 2); zero++) {
          dequantize_one(*state, &grains[g], &integers[t], versions[v], MIEN_F32, zero, &seed);
          if (versions[v] >= 19)
            dequantize_one(*state, &grains[g], &integers[t], versions[v], zero ? MIEN_F16 : MIEN_BF16, zero, &seed);
        }
      }
}

static void quantize_one(mien_env *env, const grain *g, const integer *t, int version, int32_t from, bool zero,
                         uint64_t *seed) {
  op_call c = {.name = "QuantizeLinear", .version = version, .piece = (int64_t)(*seed % 5) * 37, .variable = {true}};
  const shape s = scales_of(g);
  void *x = op_in(&c, from, g->x.rank, g->x.dim, NULL), *scale = op_in(&c, from, s.rank, s.dim, NULL);
  /* Scales are powers of two and x has few bits: quotients are exact, halves are frequent. */
  for (int64_t i = 0; i < shape_count(&s); i++) store(scale, from, i, ldexp(1, (int)op_random(seed, -3, 3)));
  for (int64_t i = 0; i < shape_count(&g->x); i++) store(x, from, i, floor(op_random(seed, -100, 100)) / 4);
  if (zero) integers_in(&c, t, &s, seed);
  if (!zero && version >= 21) op_attr_i(&c, "output_dtype", t->dtype);
  grain_attrs(&c, g, version);
  op_run_ok(env, &c);
  assert_int_equal(c.out[0].type.dtype, zero || version >= 21 ? t->dtype : (int32_t)MIEN_U8);
  for (int64_t i = 0; i < shape_count(&g->x); i++) {
    const int64_t k = scale_at(g, i);
    const double q = at(&c.in[0], i) / at(&c.in[1], k), low = floor(q), rest = q - low;
    const double even = rest > 0.5 || (rest == 0.5 && fmod(low, 2) != 0) ? low + 1 : low;
    const double want = fmin(fmax(even + (zero ? at(&c.in[2], k) : 0), t->low), t->high);
    expect_near(&c, i, at(&c.out[0], i), want, 0, 0);
  }
  op_free(&c);
}

static void test_quantize(void **state) {
  static const int versions[] = {10, 13, 19, 21, 23, 25};
  uint64_t seed = 3;
  for (size_t g = 0; g < sizeof grains / sizeof *grains; g++)
    for (size_t t = 0; t + 1 < sizeof integers / sizeof *integers; t++)
      for (size_t v = 0; v < sizeof versions / sizeof *versions; v++) {
        if (versions[v] < integers[t].since || !fits(&grains[g], versions[v])) continue;
        if (integers[t].dtype == MIEN_U8 || versions[v] >= 21)
          quantize_one(*state, &grains[g], &integers[t], versions[v], MIEN_F32, false, &seed);
        quantize_one(*state, &grains[g], &integers[t], versions[v], versions[v] < 19 ? MIEN_F32 : MIEN_F16, true,
                     &seed);
      }
}

/* The standard's own examples of 8-bit floats, and what is no number. */
static void test_special(void **state) {
  op_call c = {.name = "QuantizeLinear", .version = 19};
  op_in(&c, MIEN_F32, 1, OP_DIMS(5), (const float[]){0, 1, 2, 100000, 200});
  op_in(&c, MIEN_F32, 0, NULL, (const float[]){2});
  op_in(&c, MIEN_F8E4M3FN, 1, OP_DIMS(1), (const uint8_t[]){0});
  op_run_ok(*state, &c);
  static const uint8_t bits[] = {0x00, 0x30, 0x38, 0x7e, 0x6c}; /* 0, 1/2, 1, 448, 96 (for 100) */
  assert_memory_equal(c.out[0].data, bits, sizeof bits);
  op_free(&c);
  c = (op_call){.name = "QuantizeLinear", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), (const float[]){NAN, INFINITY, -INFINITY, 1});
  op_in(&c, MIEN_F32, 0, NULL, (const float[]){1});
  op_in(&c, MIEN_I8, 0, NULL, (const int8_t[]){5});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (const double[]){5, 127, -128, 6}, 4, 0, 0);
  op_free(&c);
  c = (op_call){.name = "DequantizeLinear", .version = 23};
  op_in(&c, MIEN_I8, 1, OP_DIMS(2), (const int8_t[]){-3, 5});
  op_in(&c, MIEN_F8E8M0, 0, NULL, (const uint8_t[]){126}); /* 1/2 */
  op_attr_i(&c, "output_dtype", MIEN_F32);
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (const double[]){-1.5, 2.5}, 2, 0, 0);
  op_free(&c);
}

static void test_refused(void **state) {
  static const struct {
    int64_t scales[2];
    int rank;
    int64_t zeros, axis, block;
    const char *why;
  } rows[] = {
      {{2}, 1, 2, 1, 0, "dimension 0 of the scale is 2, expected 3"},
      {{2}, 1, 2, 2, 0, "axis is 2, expected -2 .. 1"},
      {{2, 3}, 2, 0, 1, 0, "the scale has rank 2, expected 1"},
      {{2, 1}, 2, 0, 1, 2, "dimension 1 of the scale is 1, expected 2"},
      {{3}, 1, 2, 1, 0, "the zero point has not the scale's shape"},
      {{3}, 1, 0, 1, -1, "block_size is -1"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    op_call c = {.name = "DequantizeLinear", .version = 21};
    op_in(&c, MIEN_I8, 2, OP_DIMS(2, 3), NULL);
    op_in(&c, MIEN_F32, rows[i].rank, rows[i].scales, NULL);
    if (rows[i].zeros) op_in(&c, MIEN_I8, 1, &rows[i].zeros, NULL);
    op_attr_i(&c, "axis", rows[i].axis);
    op_attr_i(&c, "block_size", rows[i].block);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    if (!strstr(c.error.message, rows[i].why)) fail_msg("%s", c.error.message);
    op_free(&c);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_dequantize),
      cmocka_unit_test(test_quantize),
      cmocka_unit_test(test_special),
      cmocka_unit_test(test_refused),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
