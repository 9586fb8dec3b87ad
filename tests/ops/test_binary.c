/* Operators of several inputs stretched to one shape, against independent arithmetic in double and int64. */
#include "elementwise.h"

#define FLOATS MIEN_F32, MIEN_F64, MIEN_F16, MIEN_BF16
#define INTS MIEN_I8, MIEN_I16, MIEN_I32, MIEN_I64, MIEN_U8, MIEN_U16, MIEN_U32, MIEN_U64

typedef struct row {
  const char *name;
  int version;
  double (*want)(double x, double y);
  double low, high, low_y, high_y;
  int32_t types[14]; /* ends with 0 */
  bool truth;
} row;

static double add(double x, double y) { return x + y; }
static double sub(double x, double y) { return x - y; }
static double mul(double x, double y) { return x * y; }
static double quotient(double x, double y) { return x / y; }
static double whole_quotient(double x, double y) { return trunc(x / y); }
static double python_mod(double x, double y) { return x - y * floor(x / y); }
static double both(double x, double y) { return x != 0 && y != 0; }
static double either(double x, double y) { return x != 0 || y != 0; }
static double one_of(double x, double y) { return (x != 0) != (y != 0); }
static double equal(double x, double y) { return x == y; }
static double greater(double x, double y) { return x > y; }
static double less(double x, double y) { return x < y; }
static double not_less(double x, double y) { return x >= y; }
static double not_greater(double x, double y) { return x <= y; }
static double bit_and(double x, double y) { return (double)((int64_t)x & (int64_t)y); }
static double bit_or(double x, double y) { return (double)((int64_t)x | (int64_t)y); }
static double bit_xor(double x, double y) { return (double)((int64_t)x ^ (int64_t)y); }
static double prelu(double x, double y) { return x < 0 ? x * y : x; }
static double larger(double x, double y) { return x > y ? x : y; }
static double smaller(double x, double y) { return x < y ? x : y; }
static double mean(double x, double y) { return (x + y) / 2; }

#define ROW(n, v, f, a, b, c, d, ...) \
  { .name = n, .version = v, .want = f, .low = a, .high = b, .low_y = c, .high_y = d, .types = __VA_ARGS__ }
#define TRUTH(n, v, f, a, b, ...)                                                                           \
  {                                                                                                         \
    .name = n, .version = v, .want = f, .low = a, .high = b, .low_y = a, .high_y = b, .types = __VA_ARGS__, \
    .truth = true                                                                                           \
  }
static const row rows[] = {
    ROW("Add", 14, add, -60, 60, -60, 60, {FLOATS, INTS}),
    ROW("Sub", 14, sub, 60, 120, 0, 60, {FLOATS, INTS}),
    ROW("Mul", 14, mul, -11, 11, -11, 11, {FLOATS, INTS}),
    ROW("Div", 14, quotient, -60, 60, 1, 9, {FLOATS}),
    ROW("Div", 14, whole_quotient, -60, 60, 1, 9, {INTS}),
    ROW("Div", 14, whole_quotient, -60, 60, -9, -1, {MIEN_I8, MIEN_I16, MIEN_I32, MIEN_I64}),
    ROW("Mod", 13, python_mod, -60, 60, 1, 9, {INTS}),
    ROW("Mod", 13, python_mod, -60, 60, -9, -1, {MIEN_I8, MIEN_I16, MIEN_I32, MIEN_I64}),
    TRUTH("And", 7, both, 0, 2, {MIEN_BOOL}),
    TRUTH("Or", 7, either, 0, 2, {MIEN_BOOL}),
    TRUTH("Xor", 7, one_of, 0, 2, {MIEN_BOOL}),
    TRUTH("Equal", 13, equal, -2, 3, {INTS, MIEN_BOOL}),
    TRUTH("Greater", 13, greater, -2, 3, {FLOATS, INTS}),
    TRUTH("Less", 13, less, -2, 3, {FLOATS, INTS}),
    TRUTH("GreaterOrEqual", 16, not_less, -2, 3, {FLOATS, INTS}),
    TRUTH("LessOrEqual", 16, not_greater, -2, 3, {FLOATS, INTS}),
    ROW("BitwiseAnd", 18, bit_and, -100, 100, -100, 100, {INTS}),
    ROW("BitwiseOr", 18, bit_or, -100, 100, -100, 100, {INTS}),
    ROW("BitwiseXor", 18, bit_xor, -100, 100, -100, 100, {INTS}),
    ROW("PRelu", 16, prelu, -9, 9, 0, 3, {FLOATS, MIEN_I32, MIEN_I64, MIEN_U32, MIEN_U64}),
    ROW("Max", 13, larger, -60, 60, -60, 60, {FLOATS, INTS}),
    ROW("Min", 13, smaller, -60, 60, -60, 60, {FLOATS, INTS}),
    ROW("Sum", 13, add, -60, 60, -60, 60, {FLOATS}),
    ROW("Mean", 13, mean, -60, 60, -60, 60, {FLOATS}),
};

typedef struct pair {
  shape x, y;
  bool stretches_x;
} pair;

static const pair pairs[] = {
    {{0, {0}}, {0, {0}}, false},
    {{1, {0}}, {1, {1}}, false},
    {{1, {1}}, {1, {1}}, false},
    {{1, {37}}, {1, {37}}, false},
    {{1, {19}}, {0, {0}}, false},
    {{0, {0}}, {1, {19}}, true},
    {{2, {3, 7}}, {1, {7}}, false},
    {{1, {7}}, {2, {3, 7}}, true},
    {{2, {3, 1}}, {2, {1, 5}}, true},
    {{4, {2, 3, 2, 4}}, {3, {3, 1, 1}}, false},
    {{4, {2, 3, 2, 4}}, {4, {2, 1, 2, 1}}, false},
    {{5, {1, 2, 1, 3, 1}}, {5, {2, 1, 2, 1, 3}}, true},
    {{3, {2, 0, 3}}, {1, {3}}, false},
    {{3, {2, 1, 3}}, {2, {0, 1}}, true},
    {{2, {9, 131}}, {2, {9, 1}}, false},
    {{2, {30, 41}}, {2, {30, 41}}, false},
};

static void check_pair(void *env, const row *r, const pair *p, int32_t type, uint64_t *seed, bool in_place) {
  op_call c = {
      .name = r->name, .version = r->version, .in_place = in_place, .threads = shape_count(&p->x) > 999 ? 2 : 0};
  random_in(&c, type, &p->x, seed, r->low, r->high);
  random_in(&c, type, &p->y, seed, r->low_y, r->high_y);
  op_run_ok(env, &c);
  const mien_tensor *z = &c.out[0];
  assert_int_equal(z->type.dtype, r->truth ? MIEN_BOOL : type);
  assert_int_equal(z->type.rank, p->x.rank > p->y.rank ? p->x.rank : p->y.rank);
  for (int64_t i = 0; i < mien_count(&z->type); i++) {
    double x = at(&c.in[0], stretched(&z->type, &c.in[0].type, i)),
           y = at(&c.in[1], stretched(&z->type, &c.in[1].type, i));
    expect_near(&c, i, at(z, i), r->want(x, y), r->truth ? 0 : precision(type), r->truth ? 0 : 2 * precision(type));
  }
  op_free(&c);
}

static void test_values(void **state) {
  uint64_t seed = 5;
  for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
    for (const int32_t *type = rows[k].types; *type; type++)
      for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
        if (pairs[p].stretches_x && strcmp(rows[k].name, "PRelu") == 0) continue;
        check_pair(*state, &rows[k], &pairs[p], *type, &seed, false);
        if (!pairs[p].stretches_x && !rows[k].truth) check_pair(*state, &rows[k], &pairs[p], *type, &seed, true);
      }
}

/* NaN on either side, at every position of a vector's body and tail. Comparisons are false with it. */
static void test_nan_everywhere(void **state) {
  static const char *names[] = {"Add", "Sub", "Mul",  "Div",   "Pow",     "Max",
                                "Min", "Sum", "Mean", "PRelu", "Greater", "Equal"};
  static const int32_t types[] = {FLOATS};
  for (size_t k = 0; k < sizeof names / sizeof *names; k++)
    for (size_t t = 0; t < 4; t++)
      for (int64_t length = 1; length <= 33; length++)
        for (int64_t nan = 0; nan < 2 * length; nan++) {
          op_call c = {.name = names[k], .version = 14};
          void *x = op_in(&c, types[t], 1, &length, NULL), *y = op_in(&c, types[t], 1, &length, NULL);
          bool on_y = nan >= length;
          if (on_y && strcmp(names[k], "PRelu") == 0) {
            op_free(&c);
            continue; /* a positive element never meets its slope */
          }
          for (int64_t i = 0; i < length; i++) {
            store(x, types[t], i, i == nan ? NAN : 2);
            store(y, types[t], i, i + length == nan ? NAN : 2);
          }
          op_run_ok(*state, &c);
          for (int64_t i = 0; i < length; i++) {
            double got = at(&c.out[0], i);
            if (c.out[0].type.dtype == MIEN_BOOL)
              assert_int_equal((int)got, i == nan % length ? 0 : strcmp(names[k], "Equal") == 0);
            else
              assert_int_equal(isnan(got), i == nan % length);
          }
          op_free(&c);
        }
}

static void expect_error(void *env, op_call *c, mien_status status, const char *text) {
  assert_int_equal(op_run(env, c), status);
  if (!strstr(c->error.message, text)) print_error("message is: %s\n", c->error.message);
  assert_non_null(strstr(c->error.message, text));
  op_free(c);
}

static void test_refused(void **state) {
  op_call c = {.name = "Add", .version = 14};
  op_in(&c, MIEN_F32, 3, OP_DIMS(2, 3, 4), NULL), op_in(&c, MIEN_F32, 2, OP_DIMS(2, 4), NULL);
  expect_error(*state, &c, MIEN_INVALID_MODEL, "shapes [2,3,4] and [2,4] cannot be broadcast");
  c = (op_call){.name = "Add", .version = 14};
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL), op_in(&c, MIEN_F64, 1, OP_DIMS(2), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "PRelu", .version = 16};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL), op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
  expect_error(*state, &c, MIEN_INVALID_MODEL, "slope has shape [2,3], which cannot be broadcast to X's [3]");
  c = (op_call){.name = "Mod", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL), op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL);
  expect_error(*state, &c, MIEN_INVALID_MODEL, "fmod is 0, expected 1");
  static const int32_t types[] = {INTS};
  for (size_t t = 0; t < 8; t++)
    for (int zero = 0; zero < 17; zero++) {
      c = (op_call){.name = zero % 2 ? "Mod" : "Div", .version = 14};
      void *x = op_in(&c, types[t], 1, OP_DIMS(17), NULL), *y = op_in(&c, types[t], 1, OP_DIMS(17), NULL);
      for (int i = 0; i < 17; i++) store(x, types[t], i, 6), store(y, types[t], i, i == zero ? 0 : 3);
      expect_error(*state, &c, MIEN_INVALID_ARGUMENT, "by zero");
    }
}

static void test_overflow(void **state) {
  static const struct {
    const char *name;
    int32_t x, y, want;
  } cases[] = {{"Add", INT32_MAX, 1, INT32_MIN},
               {"Sub", INT32_MIN, 1, INT32_MAX},
               {"Mul", 65536, 65536, 0},
               {"Mul", INT32_MIN, -1, INT32_MIN},
               {"Div", INT32_MIN, -1, INT32_MIN},
               {"Mod", INT32_MIN, -1, 0},
               {"Div", -7, 2, -3},
               {"Div", 7, -2, -3},
               {"Mod", -7, 3, 2},
               {"Mod", 7, -3, -2}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    op_call c = {.name = cases[k].name, .version = 14};
    op_in(&c, MIEN_I32, 0, NULL, &cases[k].x), op_in(&c, MIEN_I32, 0, NULL, &cases[k].y);
    op_run_ok(*state, &c);
    assert_int_equal(*(int32_t *)c.out[0].data, cases[k].want);
    op_free(&c);
  }
  op_call c = {.name = "Mul", .version = 14};
  op_in(&c, MIEN_U16, 1, OP_DIMS(1), (uint16_t[]){65535}), op_in(&c, MIEN_U16, 1, OP_DIMS(1), (uint16_t[]){65535});
  op_run_ok(*state, &c);
  assert_int_equal(*(uint16_t *)c.out[0].data, 1);
  op_free(&c);
  c = (op_call){.name = "Mod", .version = 13};
  op_attr_i(&c, "fmod", 1);
  op_in(&c, MIEN_I8, 1, OP_DIMS(3), (int8_t[]){-7, 7, -128}), op_in(&c, MIEN_I8, 1, OP_DIMS(3), (int8_t[]){3, -3, -1});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){-1, 1, 0}, 3, 0, 0);
  op_free(&c);
}

static void test_shifts(void **state) {
  for (int left = 0; left < 2; left++) {
    op_call c = {.name = "BitShift", .version = 11};
    op_attr_s(&c, "direction", left ? "LEFT" : "RIGHT");
    op_in(&c, MIEN_U8, 1, OP_DIMS(5), (uint8_t[]){0x81, 0x81, 0x81, 0x81, 0x81});
    op_in(&c, MIEN_U8, 1, OP_DIMS(5), (uint8_t[]){0, 1, 7, 8, 255});
    op_run_ok(*state, &c);
    const uint8_t want[2][5] = {{0x81, 0x40, 1, 0, 0}, {0x81, 2, 0x80, 0, 0}};
    assert_memory_equal(c.out[0].data, want[left], 5);
    op_free(&c);
  }
  op_call c = {.name = "BitShift", .version = 11};
  op_attr_s(&c, "direction", "UP");
  op_in(&c, MIEN_U64, 1, OP_DIMS(1), NULL), op_in(&c, MIEN_U64, 1, OP_DIMS(1), NULL);
  expect_error(*state, &c, MIEN_INVALID_MODEL, "'UP', expected 'LEFT' or 'RIGHT'");
}

static void test_signed_shifts(void **state) {
  static const int32_t types[] = {MIEN_I8, MIEN_I16, MIEN_I32, MIEN_I64};
  for (size_t t = 0; t < 4; t++)
    for (int left = 0; left < 2; left++) {
      op_call c = {.name = "BitShift", .version = 28};
      op_attr_s(&c, "direction", left ? "LEFT" : "RIGHT");
      void *x = op_in(&c, types[t], 1, OP_DIMS(6), NULL), *y = op_in(&c, types[t], 1, OP_DIMS(6), NULL);
      const double xs[6] = {-6, 6, -6, 6, -6, 6}, ys[6] = {1, 1, 64, 64, -1, -1};
      for (int i = 0; i < 6; i++) store(x, types[t], i, xs[i]), store(y, types[t], i, ys[i]);
      op_run_ok(*state, &c);
      const double want[2][6] = {{-3, 3, -1, 0, -1, 0}, {-12, 12, 0, 0, 0, 0}};
      op_expect(&c.out[0], want[left], 6, 0, 0);
      op_free(&c);
    }
}

static void test_float_mod(void **state) {
  static const double x[] = {5, -5, 5, -5, 0, INFINITY, 1, -1, 1, NAN},
                      y[] = {3, 3, -3, -3, -2, 2, INFINITY, INFINITY, 0, 1};
  static const double want[2][10] = {{2, 1, -1, -2, -0.0, NAN, 1, INFINITY, NAN, NAN},
                                     {2, -2, 2, -2, 0, NAN, 1, -1, NAN, NAN}};
  for (int fmod_form = 0; fmod_form < 2; fmod_form++) {
    op_call c = {.name = "Mod", .version = 28};
    op_attr_i(&c, "fmod", fmod_form);
    op_in(&c, MIEN_F64, 1, OP_DIMS(10), x), op_in(&c, MIEN_F64, 1, OP_DIMS(10), y);
    op_run_ok(*state, &c);
    op_expect(&c.out[0], want[fmod_form], 10, 0, 0);
    op_free(&c);
  }
}

/* Many inputs, of which the output takes the memory of the first. */
static void test_variadic(void **state) {
  for (int inputs = 1; inputs <= 9; inputs += 4) {
    op_call c = {.name = "Mean", .version = 13, .in_place = true};
    uint64_t seed = 3;
    for (int k = 0; k < inputs; k++)
      random_in(&c, MIEN_F32, &(shape){2, {k % 3 == 1 ? 1 : 7, k % 3 == 2 ? 1 : 101}}, &seed, -2, 2);
    op_run_ok(*state, &c);
    for (int64_t i = 0; i < 707; i++) {
      double sum = 0;
      for (int k = 0; k < inputs; k++) sum += at(&c.in[k], stretched(&c.out[0].type, &c.in[k].type, i));
      expect_near(&c, i, at(&c.out[0], i), sum / inputs, 1e-6, 1e-6);
    }
    op_free(&c);
  }
}

static void test_where(void **state) {
  static const int32_t types[] = {FLOATS, INTS, MIEN_BOOL, MIEN_C128};
  static const shape cs[] = {{0, {0}}, {2, {3, 1}}, {1, {11}}, {2, {3, 11}}, {2, {0, 11}}};
  static const shape vs[] = {{0, {0}}, {1, {11}}, {2, {3, 1}}, {2, {3, 11}}};
  uint64_t seed = 11;
  for (size_t t = 0; t < sizeof types / sizeof *types; t++)
    for (size_t k = 0; k < 5 * 4 * 4; k++) {
      const shape *cx = &cs[k % 5], *x = &vs[k / 5 % 4], *y = &vs[k / 20];
      if (cx->rank == 2 && cx->dim[0] == 0 && (x->rank == 2 || y->rank == 2)) continue; /* 0 against 3 */
      op_call c = {.name = "Where", .version = 16};
      random_in(&c, MIEN_BOOL, cx, &seed, 0, 2);
      size_t bytes = mien_dtype_bytes(types[t]);
      for (int side = 0; side < 2; side++) {
        const shape *s = side ? y : x;
        uint8_t *data = op_in(&c, types[t], s->rank, s->dim, NULL);
        for (size_t i = 0; i < (size_t)shape_count(s) * bytes; i++) data[i] = (uint8_t)(i * 7 + (size_t)side * 100);
      }
      op_run_ok(*state, &c);
      const mien_tensor *z = &c.out[0];
      for (int64_t i = 0; i < mien_count(&z->type); i++) {
        int side = ((uint8_t *)c.in[0].data)[stretched(&z->type, &c.in[0].type, i)] ? 1 : 2;
        int64_t from = stretched(&z->type, &c.in[side].type, i);
        assert_memory_equal((char *)z->data + (size_t)i * bytes, (char *)c.in[side].data + (size_t)from * bytes, bytes);
      }
      op_free(&c);
    }
}

static void test_pow(void **state) {
  static const int32_t bases[] = {FLOATS, MIEN_I32, MIEN_I64}, exponents[] = {FLOATS, INTS};
  uint64_t seed = 17;
  for (size_t b = 0; b < 6; b++)
    for (size_t e = 0; e < 12; e++)
      for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
        op_call c = {.name = "Pow", .version = 15};
        random_in(&c, bases[b], &pairs[p].x, &seed, 1, 4);
        random_in(&c, exponents[e], &pairs[p].y, &seed, 0, 4);
        op_run_ok(*state, &c);
        const mien_tensor *z = &c.out[0];
        for (int64_t i = 0; i < mien_count(&z->type); i++) {
          double want = pow(at(&c.in[0], stretched(&z->type, &c.in[0].type, i)),
                            at(&c.in[1], stretched(&z->type, &c.in[1].type, i)));
          expect_near(&c, i, at(z, i), is_float(bases[b]) ? want : trunc(want), 0, 3 * precision(bases[b]));
        }
        op_free(&c);
      }
  op_call c = {.name = "Pow", .version = 7};
  op_in(&c, MIEN_F32, 1, OP_DIMS(4), (float[]){-INFINITY, -0.0f, 9, NAN}),
      op_in(&c, MIEN_F32, 0, NULL, (float[]){0.5f});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], (double[]){INFINITY, 0, 3, NAN}, 4, 0, 0);
  assert_false(signbit(((float *)c.out[0].data)[1]));
  op_free(&c);
  c = (op_call){.name = "Pow", .version = 15};
  op_in(&c, MIEN_I64, 1, OP_DIMS(6), (int64_t[]){1, -1, -1, 5, 3, -2});
  op_in(&c, MIEN_I32, 1, OP_DIMS(6), (int32_t[]){-3, -3, -4, -1, 40, 63});
  op_run_ok(*state, &c);
  const int64_t want[] = {1, -1, 1, 0, -6289078614652622815, INT64_MIN};
  assert_memory_equal(c.out[0].data, want, sizeof want);
  op_free(&c);
  c = (op_call){.name = "Pow", .version = 15};
  op_in(&c, MIEN_I32, 0, NULL, (int32_t[]){0}), op_in(&c, MIEN_I32, 0, NULL, (int32_t[]){-1});
  expect_error(*state, &c, MIEN_INVALID_ARGUMENT, "0 to a negative power");
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_values),   cmocka_unit_test(test_nan_everywhere),
                                     cmocka_unit_test(test_refused),  cmocka_unit_test(test_overflow),
                                     cmocka_unit_test(test_shifts),   cmocka_unit_test(test_signed_shifts),
                                     cmocka_unit_test(test_variadic), cmocka_unit_test(test_float_mod),
                                     cmocka_unit_test(test_where),    cmocka_unit_test(test_pow)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
