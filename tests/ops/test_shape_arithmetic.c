/* Elementwise operators on sizes that are symbols: what exporters compute shapes with. */
#include "elementwise.h"

typedef struct graph {
  mien_env *env;
  mien__pool pool;
  mien__scope scope;
  mien_error error;
} graph;

static void graph_open(graph *g, mien_env *env) {
  memset(g, 0, sizeof *g);
  g->env = env;
  mien__pool_init(&g->pool, env, 0);
  g->scope = (mien__scope){.env = env, .pool = &g->pool, .symbols = mien__symbols_create(&g->pool), .error = &g->error};
  assert_non_null(g->scope.symbols);
}

/* A vector whose elements are known, or symbols. */
static mien__value ints_value(int32_t dtype, int64_t *ints, int64_t count) {
  return (mien__value){.tensor = {.type = op_type(dtype, 1, &count)}, .ints = ints, .ints_count = count};
}

static mien_status infer(graph *g, const char *name, int version, mien__value **in, int in_count, mien__value *out,
                         const mien__attr_value *attrs, int attr_count) {
  mien_node n;
  const mien__record *record = mien__registry_find(g->env, "", name, version, NULL);
  assert_non_null(record);
  *out = (mien__value){0};
  mien_status status = mien__node_init(&n, &g->scope, record, name, attrs, attr_count, in, in_count, &out, 1);
  return status == MIEN_OK ? mien__node_infer(&n) : status;
}

static void test_expand_idiom(void **state) {
  /* torch: Where(Equal(shape, -1), ones, shape) before Expand, with shape = [N, -1, 4] */
  graph g;
  graph_open(&g, *state);
  const int64_t N = mien__symbol_named(g.scope.symbols, "N", 1);
  int64_t shape_ints[] = {N, -1, 4}, minus[] = {-1, -1, -1}, one[] = {1, 1, 1};
  mien__value shape_value = ints_value(MIEN_I64, shape_ints, 3), negative = ints_value(MIEN_I64, minus, 3);
  mien__value ones = ints_value(MIEN_I64, one, 3), open, result;
  negative.known = minus, ones.known = one;
  assert_int_equal(infer(&g, "Equal", 13, (mien__value *[]){&shape_value, &negative}, 2, &open, NULL, 0), MIEN_OK);
  assert_non_null(open.known);
  assert_memory_equal(open.known, ((uint8_t[]){0, 1, 0}), 3);
  assert_int_equal(infer(&g, "Where", 16, (mien__value *[]){&open, &ones, &shape_value}, 3, &result, NULL, 0), MIEN_OK);
  assert_non_null(result.ints);
  assert_true(result.ints[0] == N && result.ints[1] == 1 && result.ints[2] == 4);
  /* N against 3 may be equal or not: nothing is claimed. */
  int64_t three[] = {3, 3, 3};
  mien__value threes = ints_value(MIEN_I64, three, 3);
  assert_int_equal(infer(&g, "Equal", 13, (mien__value *[]){&shape_value, &threes}, 2, &open, NULL, 0), MIEN_OK);
  assert_null(open.known);
  mien__pool_clear(&g.pool);
}

static void test_arithmetic(void **state) {
  static const struct {
    const char *name;
    char op;
  } ops[] = {{"Add", '+'}, {"Sub", '-'}, {"Mul", '*'}, {"Div", '/'}, {"Mod", '%'}, {"Max", 'M'}, {"Min", 'm'}};
  graph g;
  graph_open(&g, *state);
  const int64_t N = mien__symbol_named(g.scope.symbols, "N", 1);
  for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
    int64_t a[] = {N, -7, N}, b[] = {2};
    mien__value x = ints_value(MIEN_I64, a, 3), y = ints_value(MIEN_I64, b, 1), z;
    assert_int_equal(infer(&g, ops[k].name, 13, (mien__value *[]){&x, &y}, 2, &z, NULL, 0), MIEN_OK);
    assert_non_null(z.ints);
    assert_true(z.ints[0] == mien__dim(g.scope.symbols, ops[k].op, N, 2) && z.ints[2] == z.ints[0]);
    if (ops[k].op == '/') assert_int_equal(z.ints[1], -3); /* truncated, as the kernel does */
  }
  int64_t a[] = {N, 5};
  mien__value x = ints_value(MIEN_I64, a, 2), z, back;
  assert_int_equal(infer(&g, "Max", 13, (mien__value *[]){&x}, 1, &z, NULL, 0), MIEN_OK);
  assert_true(z.ints && z.ints[0] == N && z.ints[1] == 5);
  assert_int_equal(infer(&g, "Neg", 13, (mien__value *[]){&x}, 1, &z, NULL, 0), MIEN_OK);
  assert_int_equal(infer(&g, "Neg", 13, (mien__value *[]){&z}, 1, &back, NULL, 0), MIEN_OK);
  assert_true(back.ints && back.ints[0] == N && back.ints[1] == 5);
  const mien__attr_value to = {.name = "to", .kind = 'i', .i = MIEN_I32};
  assert_int_equal(infer(&g, "Cast", 13, (mien__value *[]){&x}, 1, &z, &to, 1), MIEN_OK);
  assert_true(z.ints && z.ints[0] == N && z.ints[1] == 5);
  mien__pool_clear(&g.pool);
}

static void test_broadcast_types(void **state) {
  graph g;
  graph_open(&g, *state);
  const int64_t N = mien__symbol_named(g.scope.symbols, "N", 1), M = mien__symbol_named(g.scope.symbols, "M", 1);
  const struct {
    int64_t a, b, want; /* 0: an error */
  } cases[] = {
      {N, 1, N}, {1, N, N}, {N, N, N}, {N, 7, 7}, {7, N, 7}, {3, 7, 0}, {N, M, mien__dim(g.scope.symbols, 'M', N, M)},
      {7, 7, 7}};
  for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
    mien__value x = {.tensor.type = op_type(MIEN_F32, 2, OP_DIMS(cases[k].a, 4))}, z;
    mien__value y = {.tensor.type = op_type(MIEN_F32, 2, OP_DIMS(cases[k].b, 1))};
    g.scope.failed = 0;
    mien_status status = infer(&g, "Mul", 14, (mien__value *[]){&x, &y}, 2, &z, NULL, 0);
    assert_int_equal(status, cases[k].want ? MIEN_OK : MIEN_INVALID_MODEL);
    if (status == MIEN_OK)
      assert_true(z.tensor.type.dim[0] == cases[k].want && z.tensor.type.dim[1] == 4);
    else
      assert_non_null(strstr(g.error.message, "[3,4] and [7,1]"));
  }
  mien__pool_clear(&g.pool);
}

static void test_open_axes(void **state) {
  graph g;
  graph_open(&g, *state);
  mien__value x = {.tensor.type = op_type(MIEN_F32, 3, OP_DIMS(2, 3, 4))}, z;
  mien__value axes = {.tensor.type = op_type(MIEN_I64, 1, OP_DIMS(1))};
  const mien__attr_value drop = {.name = "keepdims", .kind = 'i', .i = 0};
  assert_int_equal(infer(&g, "ReduceSum", 13, (mien__value *[]){&x, &axes}, 2, &z, &drop, 1), MIEN_OK);
  assert_int_equal(z.tensor.type.rank, 2);
  assert_int_equal(infer(&g, "ReduceSum", 13, (mien__value *[]){&x, &axes}, 2, &z, NULL, 0), MIEN_OK);
  assert_int_equal(z.tensor.type.rank, 3);
  for (int i = 0; i < 3; i++) assert_true(mien_is_symbol(z.tensor.type.dim[i]));
  mien__pool_clear(&g.pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_expand_idiom), cmocka_unit_test(test_arithmetic),
                                     cmocka_unit_test(test_broadcast_types), cmocka_unit_test(test_open_axes)};
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
