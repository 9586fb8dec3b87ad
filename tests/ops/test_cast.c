/* Cast and CastLike: every pair of types against rules written down again here; special values; half types bit by bit. */
#include "elementwise.h"
#include "ops/convert.h"

static const int32_t types[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16, MIEN_I8,  MIEN_I16, MIEN_I32,
                                MIEN_I64, MIEN_U8,  MIEN_U16, MIEN_U32,  MIEN_U64, MIEN_BOOL};
#define TYPES (sizeof types / sizeof *types)

static int bits_of(int32_t dtype) { return (int)mien_dtype_bytes(dtype) * 8; }

/* The rules for elements that fit into int64. */
static double expected(double v, int32_t from, int32_t to) {
  if (to == MIEN_BOOL) return v != 0;
  if (is_float(to)) return v;
  const double span = ldexp(1, bits_of(to)), low = is_unsigned(to) ? 0 : -span / 2, high = low + span - 1;
  v = trunc(v);
  if (is_float(from)) return isnan(v) ? 0 : v < low ? low : v > high ? high : v;
  if (v >= low && v <= high) return v;
  v -= span * floor(v / span); /* two's complement */
  return !is_unsigned(to) && v >= span / 2 ? v - span : v;
}

static void test_pairs(void **state) {
  static const double values[] = {0,   1,   -1,  2,    100, 127,  200,   -128,  -129,
                                  255, 256, 300, -0.5, 0.5, 1.75, -1.75, 40000, -40000};
  static const int64_t lengths[] = {0, 1, 18, 300};
  for (size_t f = 0; f < TYPES; f++)
    for (size_t t = 0; t < TYPES; t++)
      for (size_t l = 0; l < 4; l++) {
        op_call c = {.name = l & 1 ? "CastLike" : "Cast", .version = 19, .threads = lengths[l] > 99 ? 2 : 0};
        void *x = op_in(&c, types[f], 1, &lengths[l], NULL);
        for (int64_t i = 0; i < lengths[l]; i++) {
          double v = values[i % 18];
          if (is_unsigned(types[f]) && v < 0) v = -v;
          if (!is_float(types[f])) v = expected(v, MIEN_I64, types[f]);
          store(x, types[f], i, v);
        }
        if (l & 1)
          op_in(&c, types[t], 1, OP_DIMS(0), NULL);
        else
          op_attr_i(&c, "to", types[t]);
        op_run_ok(*state, &c);
        assert_int_equal(c.out[0].type.dtype, types[t]);
        for (int64_t i = 0; i < lengths[l]; i++)
          expect_near(&c, i, at(&c.out[0], i), expected(at(&c.in[0], i), types[f], types[t]), 0, precision(types[t]));
        op_free(&c);
      }
}

static void cast_one(void *env, int32_t from, const void *x, int32_t to, bool saturate, op_call *c) {
  *c = (op_call){.name = "Cast", .version = 19};
  op_attr_i(c, "to", to);
  op_attr_i(c, "saturate", saturate);
  op_in(c, from, 0, NULL, x);
  op_run_ok(env, c);
}

static void test_special(void **state) {
  static const struct {
    double x;
    int32_t to;
    int64_t want;
  } floats[] = {{NAN, MIEN_I32, 0},
                {INFINITY, MIEN_I32, INT32_MAX},
                {-INFINITY, MIEN_I64, INT64_MIN},
                {1e30, MIEN_I64, INT64_MAX},
                {-5, MIEN_U8, 0},
                {1e30, MIEN_U32, UINT32_MAX},
                {NAN, MIEN_BOOL, 1},
                {-0.0, MIEN_BOOL, 0},
                {1e30, MIEN_I8, 127},
                {9.3e18, MIEN_I64, INT64_MAX},
                {-129, MIEN_I8, -128},
                {255.9, MIEN_U8, 255}};
  op_call c;
  for (size_t k = 0; k < sizeof floats / sizeof *floats; k++)
    for (int single = 0; single < 2; single++) {
      float x = (float)floats[k].x;
      cast_one(*state, single ? MIEN_F32 : MIEN_F64, single ? (const void *)&x : &floats[k].x, floats[k].to, true, &c);
      assert_true(mien__tensor_i64(&c.out[0], 0) == floats[k].want);
      op_free(&c);
    }
  cast_one(*state, MIEN_F64, &(double){1.8e19}, MIEN_U64, true, &c);
  assert_true(*(uint64_t *)c.out[0].data == 18000000000000000000u);
  op_free(&c);
  cast_one(*state, MIEN_U64, &(uint64_t){UINT64_MAX}, MIEN_F64, true, &c);
  assert_true(*(double *)c.out[0].data == 0x1p64);
  op_free(&c);
  cast_one(*state, MIEN_I64, &(int64_t){16777217}, MIEN_F32, true, &c);
  assert_true(*(float *)c.out[0].data == 16777216.0f);
  op_free(&c);
  /* 1 + 2^-11 + 2^-40 lies above the middle of two halves: rounding by way of float would lose that. */
  cast_one(*state, MIEN_F64, &(double){1 + 0x1p-11 + 0x1p-40}, MIEN_F16, true, &c);
  assert_int_equal(*(uint16_t *)c.out[0].data, 0x3c01);
  op_free(&c);
}

/* All halves there and back, and every float near a half against the runtime's own conversion. */
static void test_halves(void **state) {
  (void)state;
  for (uint32_t h = 0; h < 65536; h++) {
    const float f = mien_f16_to_f32((uint16_t)h), b = mien_bf16_to_f32((uint16_t)h);
    const bool nan = (h & 0x7c00) == 0x7c00 && (h & 0x3ff);
    assert_int_equal(isnan(f) != 0, nan);
    if (!nan) {
      const double m = h & 0x3ff, e = h >> 10 & 31;
      const double want = e == 31 ? INFINITY : e == 0 ? ldexp(m, -24) : ldexp(m + 1024, (int)e - 25);
      assert_true((double)f == (h & 0x8000 ? -want : want));
      assert_int_equal(mien_f32_to_f16(f), h);
      assert_int_equal(mien_f32_to_f16(f), mien__f32_to_f16(f));
    }
    if (b == b) assert_int_equal(mien_f32_to_bf16(b), h);
    for (int64_t step = -1; step <= 1; step++) {
      const uint32_t bits = mien_f32_bits(f) + (uint32_t)(step + 0x1000), wide = (h << 16) + 0x8000u + (uint32_t)step;
      const float near = mien_bits_f32(bits), other = mien_bits_f32(wide);
      if (near == near) assert_int_equal(mien_f32_to_f16(near), mien__f32_to_f16(near));
      if (other == other) assert_int_equal(mien_f32_to_bf16(other), mien__f32_to_bf16(other));
    }
  }
}

/* Tables of the standard for 8-bit floats, and each of their 256 numbers there and back. */
static void test_tiny(void **state) {
  static const struct {
    int32_t to;
    float x;
    bool saturate;
    uint8_t want;
  } cases[] = {
      {MIEN_F8E4M3FN, 448, true, 0x7e},
      {MIEN_F8E4M3FN, 464, true, 0x7e},
      {MIEN_F8E4M3FN, 1e6f, true, 0x7e},
      {MIEN_F8E4M3FN, 1e6f, false, 0x7f},
      {MIEN_F8E4M3FN, -INFINITY, true, 0xfe},
      {MIEN_F8E4M3FN, -INFINITY, false, 0xff},
      {MIEN_F8E4M3FN, -0.0f, true, 0x80},
      {MIEN_F8E4M3FNUZ, -0.0f, true, 0},
      {MIEN_F8E4M3FNUZ, 1e6f, false, 0x80},
      {MIEN_F8E4M3FNUZ, 1e6f, true, 0x7f},
      {MIEN_F8E5M2, 1e6f, true, 0x7b},
      {MIEN_F8E5M2, 1e6f, false, 0x7c},
      {MIEN_F8E5M2, -INFINITY, false, 0xfc},
      {MIEN_F8E5M2FNUZ, INFINITY, false, 0x80},
      {MIEN_F4E2M1, 100, true, 7},
      {MIEN_F4E2M1, 0.25f, true, 0},
      {MIEN_F4E2M1, -3.5f, true, 0x0e},
      {MIEN_F8E8M0, 1, true, 127},
      {MIEN_F8E8M0, 1.1f, true, 128},
      {MIEN_F8E8M0, 0, true, 0},
  };
  op_call c;
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    cast_one(*state, MIEN_F32, &cases[k].x, cases[k].to, cases[k].saturate, &c);
    assert_int_equal(*(uint8_t *)c.out[0].data, cases[k].want);
    op_free(&c);
  }
  static const int32_t tiny[] = {MIEN_F8E4M3FN, MIEN_F8E4M3FNUZ, MIEN_F8E5M2, MIEN_F8E5M2FNUZ, MIEN_F8E8M0};
  for (size_t t = 0; t < 5; t++)
    for (int bits = 0; bits < 256; bits++) {
      float value;
      cast_one(*state, tiny[t], &(uint8_t){(uint8_t)bits}, MIEN_F32, true, &c);
      value = *(float *)c.out[0].data;
      op_free(&c);
      if (isnan(value)) continue;
      cast_one(*state, MIEN_F32, &value, tiny[t], false, &c);
      assert_int_equal(*(uint8_t *)c.out[0].data, bits);
      op_free(&c);
    }
}

static void test_refused(void **state) {
  static const int64_t to[] = {0, 27, -1, 1000};
  for (size_t k = 0; k < 4; k++) {
    op_call c = {.name = "Cast", .version = 13};
    op_in(&c, MIEN_F32, 0, NULL, NULL);
    op_attr_i(&c, "to", to[k]);
    assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
    assert_non_null(strstr(c.error.message, "which is no element type"));
    op_free(&c);
  }
  op_call c = {.name = "Cast", .version = 13};
  op_in(&c, MIEN_F32, 0, NULL, NULL);
  op_attr_i(&c, "to", MIEN_STRING);
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  assert_non_null(strstr(c.error.message, "string"));
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_pairs), cmocka_unit_test(test_special),
                                     cmocka_unit_test(test_halves), cmocka_unit_test(test_tiny),
                                     cmocka_unit_test(test_refused)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
