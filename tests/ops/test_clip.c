/* Clip in both forms, Dropout, Identity, and the template that newcomers copy. */
#include "ops/TEMPLATE.c" /* before cmocka, which makes a macro of `fail` */

#include "elementwise.h"

static void test_bounds(void **state) {
  static const int32_t types[] = {MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16, MIEN_I8,
                                  MIEN_I32, MIEN_I64, MIEN_U8,  MIEN_U64};
  uint64_t seed = 41;
  for (size_t t = 0; t < 9; t++)
    for (int form = 0; form < 4; form++)
      for (int64_t length = 0; length < 40; length += 13) {
        op_call c = {.name = "Clip", .version = 13, .in_place = form == 3};
        random_in(&c, types[t], &(shape){1, {length}}, &seed, -20, 20);
        if (form & 1)
          store(op_in(&c, types[t], 0, NULL, NULL), types[t], 0, is_unsigned(types[t]) ? 3 : -5);
        else
          op_absent(&c);
        if (form & 2) store(op_in(&c, types[t], 1, OP_DIMS(1), NULL), types[t], 0, 7);
        op_run_ok(*state, &c);
        for (int64_t i = 0; i < length; i++) {
          double x = at(&c.in[0], i), low = is_unsigned(types[t]) ? 3 : -5;
          if (form & 1 && x < low) x = low;
          if (form & 2 && x > 7) x = 7;
          expect_near(&c, i, at(&c.out[0], i), x, 0, 0);
        }
        op_free(&c);
      }
}

static void test_attributes(void **state) {
  op_call c = {.name = "Clip", .version = 6};
  op_attr_f(&c, "min", -1);
  op_attr_f(&c, "max", 1);
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), (float[]){-3, 0.5f, 3, NAN});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){-1, 0.5, 1, NAN}, 4, 0, 0);
  op_free(&c);
}

static void test_special(void **state) {
  op_call c = {.name = "Clip", .version = 13}; /* min > max: max */
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), (float[]){-9, 2, 9});
  op_in(&c, MIEN_F32, 0, NULL, (float[]){5}), op_in(&c, MIEN_F32, 0, NULL, (float[]){1});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){1, 1, 1}, 3, 0, 0);
  op_free(&c);
  for (int64_t length = 1; length <= 33; length++)
    for (int64_t nan = 0; nan < length; nan++) {
      c = (op_call){.name = "Clip", .version = 13};
      float *x = op_in(&c, MIEN_F32, 1, &length, NULL);
      x[nan] = NAN;
      op_in(&c, MIEN_F32, 0, NULL, (float[]){-1}), op_in(&c, MIEN_F32, 0, NULL, (float[]){1});
      op_run_ok(*state, &c);
      for (int64_t i = 0; i < length; i++) assert_int_equal(isnan(((float *)c.out[0].data)[i]) != 0, i == nan);
      op_free(&c);
    }
  c = (op_call){.name = "Clip", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL), op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "expected a scalar"));
  op_free(&c);
}

static void test_dropout(void **state) {
  static const int versions[] = {7, 10, 12, 22};
  for (int v = 0; v < 4; v++)
    for (int outputs = 1; outputs <= 3; outputs++) {
      op_call c = {.name = "Dropout", .version = versions[v], .out_count = outputs > 1 ? 2 : 1};
      c.unused_out[0] = outputs == 3; /* the mask alone */
      uint64_t seed = 43;
      random_in(&c, MIEN_F16, &(shape){2, {3, 5}}, &seed, -2, 2);
      if (v == 3) op_in(&c, MIEN_F32, 0, NULL, (float[]){0.9f}), op_in(&c, MIEN_BOOL, 0, NULL, (uint8_t[]){0});
      op_run_ok(*state, &c);
      if (outputs != 3) assert_memory_equal(c.out[0].data, c.in[0].data, 30);
      if (outputs > 1) {
        assert_int_equal(c.out[1].type.dtype, v ? MIEN_BOOL : MIEN_F16);
        for (int64_t i = 0; i < 15; i++) assert_true(at(&c.out[1], i) == 1);
      }
      op_free(&c);
    }
  for (int variable = 0; variable < 2; variable++) {
    op_call c = {.name = "Dropout", .version = 13};
    op_in(&c, MIEN_F32, 1, OP_DIMS(4), NULL);
    op_absent(&c);
    op_in(&c, MIEN_BOOL, 0, NULL, (uint8_t[]){1});
    c.variable[2] = variable;
    assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
    assert_non_null(strstr(c.error.message, "training_mode is true"));
    op_free(&c);
  }
}

static void test_identity(void **state) {
  op_call c = {.name = "Identity", .version = 19};
  op_in(&c, MIEN_C128, 1, OP_DIMS(3), "0123456789abcdef0123456789ABCDEFfedcba9876543210");
  op_run_ok(*state, &c);
  assert_memory_equal(c.out[0].data, c.in[0].data, 48);
  op_free(&c);
}

static void test_template(void **state) {
  mien_error error;
  assert_int_equal(mien__registry_add(*state, mien_ops_Template, NULL, NULL, &error), MIEN_OK);
  op_call c = {.name = "Template", .version = 16};
  op_attr_f(&c, "alpha", 0.5f);
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), (float[]){-4, 4, NAN});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){-2, 4, NAN}, 3, 0, 0);
  op_free(&c);
  c = (op_call){.name = "Template", .version = 16};
  op_attr_f(&c, "alpha", NAN);
  op_in(&c, MIEN_F32, 1, OP_DIMS(1), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "node 'test' (Template-6): alpha is NaN, expected a number"));
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_bounds),   cmocka_unit_test(test_attributes),
                                     cmocka_unit_test(test_special),  cmocka_unit_test(test_dropout),
                                     cmocka_unit_test(test_identity), cmocka_unit_test(test_template)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
