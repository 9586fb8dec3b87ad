/* Seeded inputs: recorded bits (the plan's golden outputs depend on them), distribution, independence of type. */
#include "internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static mien_tensor tensor(int32_t dtype, int64_t count, void *data) {
  return (mien_tensor){.type = {.dtype = dtype, .rank = 1, .dim = {count}},
                       .data = data,
                       .bytes = (size_t)count * mien_dtype_bytes(dtype)};
}

static void fill(uint64_t seed, uint32_t input, int32_t dtype, int64_t count, void *data) {
  mien_tensor t = tensor(dtype, count, data);
  assert_int_equal(mien__golden_fill(seed, input, &t, NULL), MIEN_OK);
}

static void roughly_normal(void **state) {
  (void)state;
  enum { N = 50000 };
  static float x[N];
  fill(7, 0, MIEN_F32, N, x);
  double sum = 0, square = 0;
  for (int i = 0; i < N; i++) {
    assert_true(fabsf(x[i]) < 5);
    sum += (double)x[i];
    square += (double)x[i] * (double)x[i];
  }
  assert_true(fabs(sum / N) < 4 / sqrt(N));
  assert_true(fabs(square / N - 1) < 0.03);
}

/* The definition in plan files: these bits may never change. From an independent implementation in Python. */
static void recorded_bits(void **state) {
  (void)state;
  static const double expected[4] = {-1.7855987548828125, 0.8560333251953125, 0.787017822265625, 0.1032257080078125};
  float x[4];
  fill(UINT64_C(0x0123456789abcdef), 2, MIEN_F32, 4, x);
  for (int i = 0; i < 4; i++) assert_true((double)x[i] == expected[i]);
}

static void element_i_depends_on_nothing_but_seed_input_i(void **state) {
  (void)state;
  float a[100], b[10];
  double d[100];
  uint16_t h[100], bf[100];
  fill(3, 1, MIEN_F32, 100, a);
  fill(3, 1, MIEN_F32, 10, b);
  assert_memory_equal(a, b, sizeof b);
  fill(3, 1, MIEN_F64, 100, d);
  fill(3, 1, MIEN_F16, 100, h);
  fill(3, 1, MIEN_BF16, 100, bf);
  for (int i = 0; i < 100; i++) {
    assert_true(d[i] == (double)a[i]);
    assert_true(fabsf(mien__f16_to_f32(h[i]) - a[i]) <= 0.002f);
    assert_true(fabsf(mien__bf16_to_f32(bf[i]) - a[i]) <= 0.02f);
  }
  fill(3, 2, MIEN_F32, 10, b);
  assert_memory_not_equal(a, b, sizeof b);
  fill(4, 1, MIEN_F32, 10, b);
  assert_memory_not_equal(a, b, sizeof b);
}

static void integers_are_zero_or_one(void **state) {
  (void)state;
  static const int32_t dtypes[] = {MIEN_BOOL, MIEN_U8,  MIEN_I8, MIEN_U16, MIEN_I16, MIEN_U32, MIEN_I32,
                                   MIEN_U64,  MIEN_I64, MIEN_U4, MIEN_I4,  MIEN_U2,  MIEN_I2};
  for (size_t k = 0; k < sizeof dtypes / sizeof *dtypes; k++) {
    int64_t storage[64];
    size_t size = mien_dtype_bytes(dtypes[k]);
    int ones = 0;
    memset(storage, 0xff, sizeof storage);
    fill(11, 0, dtypes[k], 64, storage);
    for (size_t i = 0; i < 64; i++) {
      uint64_t v = 0;
      memcpy(&v, (uint8_t *)storage + i * size, size);
      assert_true(v <= 1);
      ones += (int)v;
    }
    assert_true(ones > 16 && ones < 48);
  }
}

static void what_has_no_definition_is_refused(void **state) {
  (void)state;
  char memory[64];
  mien_error error = {0};
  mien_tensor t = tensor(MIEN_STRING, 1, memory);
  assert_int_equal(mien__golden_fill(1, 0, &t, &error), MIEN_UNSUPPORTED);
  assert_non_null(strstr(error.message, "string"));
  t = tensor(MIEN_F32, -1, memory);
  assert_int_equal(mien__golden_fill(1, 0, &t, &error), MIEN_INVALID_ARGUMENT);
  t = tensor(MIEN_F32, 0, NULL);
  assert_int_equal(mien__golden_fill(1, 0, &t, &error), MIEN_OK);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(roughly_normal), cmocka_unit_test(recorded_bits),
                                     cmocka_unit_test(element_i_depends_on_nothing_but_seed_input_i),
                                     cmocka_unit_test(integers_are_zero_or_one),
                                     cmocka_unit_test(what_has_no_definition_is_refused)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
