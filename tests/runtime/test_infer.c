/* Nodes: checks against the record, inference with symbols, contents of shape arithmetic, evaluation. */
#include "op_test.h"

typedef struct world {
  mien_env *env;
  mien__pool pool;
  mien__scope scope;
  mien_error error;
  int64_t n; /* the symbol N */
} world;

static int setup(void **state) {
  world *w = calloc(1, sizeof *w);
  if (!w || mien_env_create(NULL, &w->env, &w->error) != MIEN_OK) return -1;
  mien__pool_init(&w->pool, w->env, 0);
  w->scope = (mien__scope){.env = w->env, .pool = &w->pool, .error = &w->error};
  w->scope.symbols = mien__symbols_create(&w->pool);
  w->n = mien__symbol_named(w->scope.symbols, "N", 1);
  *state = w;
  return 0;
}

static int teardown(void **state) {
  world *w = *state;
  mien__pool_clear(&w->pool);
  mien_env_destroy(w->env);
  free(w);
  return 0;
}

static mien_status infer(world *w, const char *name, int version, const mien__attr_value *attrs, int attr_count,
                         mien__value **in, int in_count, mien__value *out) {
  const mien__record *record = mien__registry_find(w->env, "", name, version, NULL);
  assert_non_null(record);
  mien_node node;
  atomic_store(&w->scope.failed, 0);
  memset(out, 0, sizeof *out);
  mien_status status = mien__node_init(&node, &w->scope, record, "n", attrs, attr_count, in, in_count, &out, 1);
  return status == MIEN_OK ? mien__node_infer(&node) : status;
}

static mien__value value(int32_t dtype, int rank, const int64_t *dims) {
  return (mien__value){.tensor = {.type = op_type(dtype, rank, dims)}};
}

/* What TorchScript makes of x.view(x.size(0), -1) with an open batch: Shape, Gather, Unsqueeze, Concat, Reshape. */
static void shape_arithmetic_carries_symbols(void **state) {
  world *w = *state;
  mien__value x = value(MIEN_F32, 3, (int64_t[]){w->n, 49, 64}), shape, batch, batch1, twice, target, y;
  int64_t zero = 0, rest = -1;
  mien__value index = value(MIEN_I64, 0, NULL), axis = value(MIEN_I64, 1, OP_DIMS(1)),
              minus = value(MIEN_I64, 1, OP_DIMS(1));
  index.constant = axis.constant = minus.constant = true;
  index.tensor.data = axis.tensor.data = &zero;
  minus.tensor.data = &rest;
  assert_int_equal(infer(w, "Shape", 13, NULL, 0, (mien__value *[]){&x}, 1, &shape), MIEN_OK);
  assert_non_null(shape.ints);
  assert_int_equal(shape.ints[0], w->n);
  assert_int_equal(shape.ints[1], 49);
  assert_null(shape.known);
  assert_int_equal(infer(w, "Gather", 13, NULL, 0, (mien__value *[]){&shape, &index}, 2, &batch), MIEN_OK);
  assert_int_equal(batch.tensor.type.rank, 0);
  assert_int_equal(batch.ints[0], w->n);
  assert_int_equal(infer(w, "Add", 14, NULL, 0, (mien__value *[]){&batch, &batch}, 2, &twice), MIEN_OK);
  assert_int_equal(twice.ints[0], mien__dim(w->scope.symbols, '*', w->n, 2));
  assert_int_equal(infer(w, "Unsqueeze", 13, NULL, 0, (mien__value *[]){&batch, &axis}, 2, &batch1), MIEN_OK);
  mien__attr_value concat_axis = {.name = "axis", .kind = 'i', .i = 0};
  assert_int_equal(infer(w, "Concat", 13, &concat_axis, 1, (mien__value *[]){&batch1, &minus}, 2, &target), MIEN_OK);
  assert_int_equal(target.ints[0], w->n);
  assert_int_equal(target.ints[1], -1);
  assert_int_equal(infer(w, "Reshape", 14, NULL, 0, (mien__value *[]){&x, &target}, 2, &y), MIEN_OK);
  assert_int_equal(y.tensor.type.rank, 2);
  assert_int_equal(y.tensor.type.dim[0], w->n);
  assert_int_equal(y.tensor.type.dim[1], 49 * 64);
}

/* With all sizes known the same nodes give numbers, also in floats. */
static void contents_of_any_type_are_known(void **state) {
  world *w = *state;
  w->scope.symbols = NULL;
  mien__value x = value(MIEN_F32, 2, OP_DIMS(6, 49)), shape, real, half;
  mien__attr_value to = {.name = "to", .kind = 'i', .i = MIEN_F32};
  float two = 2;
  mien__value divisor = value(MIEN_F32, 0, NULL);
  divisor.constant = true;
  divisor.tensor.data = &two;
  assert_int_equal(infer(w, "Shape", 13, NULL, 0, (mien__value *[]){&x}, 1, &shape), MIEN_OK);
  assert_non_null(shape.known);
  assert_int_equal(infer(w, "Cast", 13, &to, 1, (mien__value *[]){&shape}, 1, &real), MIEN_OK);
  assert_int_equal(infer(w, "Div", 14, NULL, 0, (mien__value *[]){&real, &divisor}, 2, &half), MIEN_OK);
  assert_non_null(half.known);
  assert_float_equal(((const float *)half.known)[1], 24.5f, 0);
}

static void wrong_nodes_are_named(void **state) {
  world *w = *state;
  mien__value x = value(MIEN_F32, 1, OP_DIMS(3)), d = value(MIEN_F64, 1, OP_DIMS(3)), y;
  mien__attr_value odd = {.name = "colour", .kind = 'i'}, kind = {.name = "alpha", .kind = 'i'};
  assert_int_equal(infer(w, "Add", 14, NULL, 0, (mien__value *[]){&x}, 1, &y), MIEN_INVALID_MODEL);
  assert_string_equal(w->error.message, "node 'n' (Add-7): lacks input 1 (B)");
  assert_int_equal(infer(w, "Max", 13, NULL, 0, (mien__value *[]){&x, NULL, &x}, 3, &y), MIEN_INVALID_MODEL);
  assert_non_null(strstr(w->error.message, "lacks input 1 (data)"));
  assert_int_equal(infer(w, "Add", 14, NULL, 0, (mien__value *[]){&x, &d}, 2, &y), MIEN_INVALID_MODEL);
  assert_non_null(strstr(w->error.message, "has type f64, expected f32"));
  assert_int_equal(infer(w, "Add", 14, NULL, 0, (mien__value *[]){&x, &x, &x}, 3, &y), MIEN_INVALID_MODEL);
  assert_int_equal(infer(w, "LeakyRelu", 16, &odd, 1, (mien__value *[]){&x}, 1, &y), MIEN_INVALID_MODEL);
  assert_non_null(strstr(w->error.message, "colour"));
  assert_int_equal(infer(w, "LeakyRelu", 16, &kind, 1, (mien__value *[]){&x}, 1, &y), MIEN_INVALID_MODEL);
  mien__value text = value(MIEN_STRING, 1, OP_DIMS(3));
  assert_int_equal(infer(w, "Relu", 14, NULL, 0, (mien__value *[]){&text}, 1, &y), MIEN_UNSUPPORTED);
}

static void unknown_rank_stays_unknown(void **state) {
  world *w = *state;
  mien__value x = {.tensor = {.type = {.dtype = MIEN_F32, .rank = -1}}}, y;
  assert_int_equal(infer(w, "Relu", 14, NULL, 0, (mien__value *[]){&x}, 1, &y), MIEN_OK);
  assert_int_equal(y.tensor.type.rank, -1);
  assert_int_equal(y.tensor.type.dtype, MIEN_F32);
}

static void sizes_that_overflow_are_refused(void **state) {
  world *w = *state;
  mien__value x = value(MIEN_F32, 2, OP_DIMS((int64_t)1 << 40, 1)),
              z = value(MIEN_F32, 2, OP_DIMS(1, (int64_t)1 << 40)), y;
  assert_int_equal(infer(w, "Add", 14, NULL, 0, (mien__value *[]){&x, &z}, 2, &y), MIEN_LIMIT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(shape_arithmetic_carries_symbols, setup, teardown),
      cmocka_unit_test_setup_teardown(contents_of_any_type_are_known, setup, teardown),
      cmocka_unit_test_setup_teardown(wrong_nodes_are_named, setup, teardown),
      cmocka_unit_test_setup_teardown(unknown_rank_stays_unknown, setup, teardown),
      cmocka_unit_test_setup_teardown(sizes_that_overflow_are_refused, setup, teardown),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
