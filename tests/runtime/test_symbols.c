/* Symbolic sizes: equal expressions have equal codes, and arithmetic agrees with numbers put in for the names. */
#include "op_test.h"

static void text_is(const mien__symbols *s, int64_t dim, const char *expected) {
  char text[256];
  assert_string_equal(mien__dim_text(s, dim, text, sizeof text), expected);
}

static void equal_expressions_share_a_code(void **state) {
  mien__pool pool;
  mien__pool_init(&pool, *state, 0);
  mien__symbols *s = mien__symbols_create(&pool);
  int64_t n = mien__symbol_named(s, "N", 1), w = mien__symbol_named(s, "W", 1);
  assert_true(mien_is_symbol(n));
  assert_int_equal(n, mien__symbol_named(s, "Nx", 1));
  assert_int_not_equal(n, w);
  assert_int_not_equal(mien__symbol_new(s), mien__symbol_new(s));
  /* (N * 784 * 64) / (784 * 64) = N; N * W / W = N; N - N = 0 */
  int64_t tokens = mien__dim(s, '*', mien__dim(s, '*', n, 784), 64);
  assert_int_equal(mien__dim(s, '/', tokens, 784 * 64), n);
  assert_int_equal(mien__dim(s, '/', mien__dim(s, '*', n, w), w), n);
  assert_int_equal(mien__dim(s, '-', n, n), 0);
  assert_int_equal(mien__dim(s, '*', n, 0), 0);
  assert_int_equal(mien__dim(s, '*', n, 1), n);
  assert_int_equal(mien__dim(s, '%', mien__dim(s, '*', n, 6), 3), 0);
  /* the two spellings of a convolution's output size */
  int64_t a = mien__dim(s, '+', mien__dim(s, '/', mien__dim(s, '-', w, 1), 2), 1);
  int64_t b = mien__dim(s, '/', mien__dim(s, '+', w, 1), 2);
  assert_true(mien_is_symbol(a) && mien_is_symbol(b));
  text_is(s, b, "floor((W+1)/(2))");
  text_is(s, mien__dim(s, '+', mien__dim(s, '*', n, 2), 1), "2*N+1");
  assert_true(mien__dim_differs(s, n, mien__dim(s, '+', n, 1)));
  assert_false(mien__dim_differs(s, n, w));
  assert_false(mien__dim_differs(s, n, 3));
  assert_true(mien__dim_differs(s, 2, 3));
  mien__pool_clear(&pool);
}

static int64_t apply(char op, int64_t a, int64_t b) {
  switch (op) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    default: return b ? (a >= 0 ? a / b : -((-a + b - 1) / b)) : 0;
  }
}

/* Random expressions over N, built symbolically with N and numerically with N = 12: whenever the symbolic one reduces to a
** number, it is the numeric one. */
static void symbols_agree_with_numbers(void **state) {
  mien__pool pool;
  mien__pool_init(&pool, *state, 0);
  mien__symbols *s = mien__symbols_create(&pool);
  uint64_t seed = 7;
  for (int round = 0; round < 3000; round++) {
    int64_t symbolic = mien__symbol_named(s, "N", 1), number = 12;
    int64_t first = symbolic, first_number = number;
    for (int step = 0; step < 6; step++) {
      char op = "+-*/"[(int)op_random(&seed, 0, 4)];
      int64_t by = (int64_t)op_random(&seed, 1, 7);
      bool self = op_random(&seed, 0, 1) < 0.3 && op != '/';
      symbolic = mien__dim(s, op, symbolic, self ? first : by);
      number = apply(op, number, self ? first_number : by);
      if (!mien_is_symbol(symbolic)) assert_int_equal(symbolic, number);
    }
  }
  mien__pool_clear(&pool);
}

static void overflow_becomes_unknown(void **state) {
  mien__pool pool;
  mien__pool_init(&pool, *state, 0);
  mien__symbols *s = mien__symbols_create(&pool);
  assert_true(mien_is_symbol(mien__dim(NULL, '*', INT64_MAX, 2)));
  assert_true(mien_is_symbol(mien__dim(NULL, '/', 3, 0)));
  assert_int_equal(mien__dim(NULL, '/', -3, 2), -2);
  assert_int_equal(mien__dim(NULL, 'c', 3, 2), 2);
  assert_int_equal(mien__dim(NULL, '%', -3, 2), 1);
  int64_t n = mien__symbol_named(s, "N", 1), big = n;
  for (int i = 0; i < 100; i++) big = mien__dim(s, '*', big, i % 2 ? n : INT64_MAX / 3);
  assert_true(mien_is_symbol(big));
  char text[16];
  mien__dim_text(s, mien__dim(s, '+', mien__dim(s, '*', n, 1000000000000), 77), text, sizeof text);
  assert_true(strlen(text) < sizeof text);
  mien__pool_clear(&pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(equal_expressions_share_a_code, op_env_setup, op_env_teardown),
      cmocka_unit_test_setup_teardown(symbols_agree_with_numbers, op_env_setup, op_env_teardown),
      cmocka_unit_test_setup_teardown(overflow_becomes_unknown, op_env_setup, op_env_teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
