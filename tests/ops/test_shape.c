/* Shapes: with numbers, with symbols, and what cannot be. */
#include "op_test.h"

typedef struct world {
  mien_env *env;
  mien__pool pool;
  mien__scope scope;
  mien_error error;
  int64_t n, m; /* symbols N and M */
} world;

static int setup(void **state) {
  world *w = calloc(1, sizeof *w);
  if (!w || mien_env_create(NULL, &w->env, &w->error) != MIEN_OK) return -1;
  mien__pool_init(&w->pool, w->env, 0);
  w->scope = (mien__scope){.env = w->env, .pool = &w->pool, .error = &w->error};
  w->scope.symbols = mien__symbols_create(&w->pool);
  w->n = mien__symbol_named(w->scope.symbols, "N", 1);
  w->m = mien__symbol_named(w->scope.symbols, "M", 1);
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

/* In the tables below, sizes that stand for symbols. */
enum { N = 1000001, M = 1000002, N2 = 1000003, UNKNOWN = -77, OPEN = 1000004 };

static int64_t coded(world *w, int64_t d) {
  switch (d) {
    case N: return w->n;
    case M: return w->m;
    case N2: return mien__dim(w->scope.symbols, '*', w->n, 2);
    default: return d;
  }
}

/* Infers one node whose further inputs are lists: contents NULL where nothing is known. */
typedef struct list {
  int count; /* -1: absent */
  int64_t values[6];
  bool unknown;
} list;

static mien_status infer(world *w, const char *name, int version, const mien__attr_value *attrs, int attr_count,
                         int rank, const int64_t *dims, int lists, const list *l, int outputs, mien__value *out) {
  mien__value in[5] = {0}, *in_at[5] = {0}, *out_at[4];
  int64_t x[6], contents[5][6];
  for (int i = 0; i < rank; i++) x[i] = coded(w, dims[i]);
  in[0].tensor.type = op_type(MIEN_F32, rank, x);
  in_at[0] = &in[0];
  for (int k = 0; k < lists; k++) {
    if (l[k].count < 0) continue;
    mien__value *v = &in[k + 1];
    in_at[k + 1] = v;
    v->tensor.type = op_type(MIEN_I64, 1, OP_DIMS(l[k].count));
    if (l[k].unknown) continue;
    bool numbers = true;
    for (int i = 0; i < l[k].count; i++) {
      contents[k][i] = coded(w, l[k].values[i]);
      numbers = numbers && contents[k][i] == l[k].values[i];
    }
    if (numbers) {
      v->constant = true;
      v->tensor.data = contents[k];
    } else {
      v->ints = contents[k];
      v->ints_count = l[k].count;
    }
  }
  const mien__record *record = mien__registry_find(w->env, "", name, version, NULL);
  assert_non_null(record);
  mien_node node;
  atomic_store(&w->scope.failed, 0);
  for (int i = 0; i < outputs; i++) out_at[i] = &out[i];
  memset(out, 0, sizeof *out * (size_t)outputs);
  mien_status status =
      mien__node_init(&node, &w->scope, record, "n", attrs, attr_count, in_at, lists + 1, out_at, outputs);
  return status == MIEN_OK ? mien__node_infer(&node) : status;
}

static void expect(world *w, const char *what, const mien__value *out, int rank, const int64_t *dims) {
  char text[256];
  const mien_type *t = &out->tensor.type;
  bool good = t->rank == rank;
  for (int i = 0; good && i < rank; i++)
    good = dims[i] == OPEN ? mien_is_symbol(t->dim[i]) : t->dim[i] == coded(w, dims[i]);
  if (!good) print_error("%s gives %s\n", what, mien__type_text(t, w->scope.symbols, text, sizeof text));
  assert_true(good);
}

typedef struct row {
  const char *name;
  int version;
  int rank;
  int64_t dims[5];
  list list[4]; /* inputs after the first */
  int lists;
  int out_rank; /* -2: refused */
  int64_t want[6];
} row;

static const row rows[] = {
    {"Reshape", 13, 3, {2, 3, 4}, {{2, {6, -1}, false}}, 1, 2, {6, 4}},
    {"Reshape", 5, 3, {2, 3, 4}, {{3, {0, -1, 2}, false}}, 1, 3, {2, 6, 2}},
    {"Reshape", 13, 3, {N, 784, 64}, {{4, {-1, 7, 7, 64}, false}}, 1, 4, {OPEN, 7, 7, 64}},
    {"Reshape", 13, 3, {N, 784, 64}, {{3, {0, -1, 32}, false}}, 1, 3, {N, 1568, 32}},
    {"Reshape", 13, 3, {N, M, 64}, {{3, {N, -1, 32}, false}}, 1, 3, {N, OPEN, 32}},
    {"Reshape", 13, 2, {N2, 8}, {{3, {-1, 2, 8}, false}}, 1, 3, {N, 2, 8}},
    {"Reshape", 13, 3, {N, 2, 8}, {{2, {-1, 8}, false}}, 1, 2, {N2, 8}},
    {"Reshape", 13, 3, {N, M, 8}, {{3, {M, -1, 8}, false}}, 1, 3, {M, N, 8}},
    {"Reshape", 13, 1, {1}, {{0, {0}, false}}, 1, 0, {0}},
    {"Reshape", 13, 2, {0, 3}, {{2, {0, 5}, false}}, 1, 2, {0, 5}},
    {"Reshape", 13, 2, {2, 3}, {{3, {0}, true}}, 1, 3, {OPEN, OPEN, OPEN}},
    {"Reshape", 13, 2, {2, 3}, {{1, {7}, false}}, 1, -2, {0}},
    {"Reshape", 13, 2, {2, 3}, {{2, {-1, -1}, false}}, 1, -2, {0}},
    {"Reshape", 13, 2, {2, 3}, {{2, {-1, 4}, false}}, 1, -2, {0}},
    {"Reshape", 13, 2, {2, 3}, {{3, {2, 3, 0}, false}}, 1, -2, {0}},
    {"Reshape", 13, 2, {2, 3}, {{2, {-2, 3}, false}}, 1, -2, {0}},
    {"Reshape", 13, 2, {0, 3}, {{2, {-1, 0}, false}}, 1, 2, {0, 3}},
    /* A copied 0 cancels: what is left is what it is for any other size. Explicit ones (allowzero) leave nothing to say. */
    {"Reshape", 13, 3, {0, 6, 4}, {{3, {0, -1, 8}, false}}, 1, 3, {0, 3, 8}},
    {"Reshape", 13, 3, {0, 0, 10}, {{4, {0, 1, -1, 10}, false}}, 1, 4, {0, 1, 0, 10}},
    {"Reshape", 13, 3, {0, 6, 4}, {{3, {0, -1, 5}, false}}, 1, -2, {0}},
    {"Squeeze", 13, 4, {1, N, 1, 3}, {{2, {0, -2}, false}}, 1, 2, {N, 3}},
    {"Squeeze", 13, 3, {1, 2, 1}, {{-1, {0}, false}}, 1, 1, {2}},
    {"Squeeze", 13, 2, {1, N}, {{-1, {0}, false}}, 1, -1, {0}},
    {"Squeeze", 13, 2, {1, 2}, {{1, {1}, false}}, 1, -2, {0}},
    {"Squeeze", 13, 2, {1, 1}, {{2, {0, -2}, false}}, 1, -2, {0}},
    {"Squeeze", 13, 2, {1, 2}, {{1, {2}, false}}, 1, -2, {0}},
    {"Squeeze", 13, 2, {1, 2}, {{1, {0}, true}}, 1, 1, {OPEN}},
    {"Unsqueeze", 13, 2, {N, 3}, {{2, {0, -1}, false}}, 1, 4, {1, N, 3, 1}},
    {"Unsqueeze", 13, 0, {0}, {{1, {0}, false}}, 1, 1, {1}},
    {"Unsqueeze", 13, 2, {2, 3}, {{2, {1, -3}, false}}, 1, -2, {0}},
    {"Unsqueeze", 13, 2, {2, 3}, {{1, {3}, false}}, 1, -2, {0}},
    {"Unsqueeze", 13, 2, {2, 3}, {{1, {0}, true}}, 1, 3, {OPEN, OPEN, OPEN}},
    {"Expand", 13, 2, {1, 3}, {{2, {N, 1}, false}}, 1, 2, {N, 3}},
    {"Expand", 13, 2, {N, 3}, {{2, {1, 3}, false}}, 1, 2, {N, 3}},
    {"Expand", 13, 2, {1, 3}, {{3, {5, 4, 1}, false}}, 1, 3, {5, 4, 3}},
    {"Expand", 13, 2, {1, 3}, {{3, {0}, true}}, 1, 3, {OPEN, OPEN, OPEN}},
    {"Expand", 13, 2, {2, 3}, {{2, {2, 4}, false}}, 1, -2, {0}},
    {"Expand", 13, 1, {1}, {{1, {-1}, false}}, 1, -2, {0}},
    {"Tile", 13, 2, {N, 3}, {{2, {2, 0}, false}}, 1, 2, {N2, 0}},
    {"Tile", 13, 2, {N, 3}, {{1, {2}, false}}, 1, -2, {0}},
    {"Tile", 13, 1, {3}, {{1, {-1}, false}}, 1, -2, {0}},
    {"Tile", 13, 2, {N, 3}, {{2, {0}, true}}, 1, 2, {OPEN, OPEN}},
    {"Slice", 13, 2, {N, 8}, {{1, {1}, false}, {1, {INT64_MAX}, false}, {1, {1}, false}}, 3, 2, {N, 7}},
    {"Slice", 13, 2, {N, 8}, {{1, {0}, false}, {1, {INT64_MAX}, false}, {1, {0}, false}}, 3, 2, {N, 8}},
    {"Slice", 13, 2, {N, 8}, {{1, {0}, false}, {1, {N}, false}, {1, {0}, false}}, 3, 2, {N, 8}},
    {"Slice",
     13,
     2,
     {N2, 8},
     {{1, {0}, false}, {1, {INT32_MAX}, false}, {1, {0}, false}, {1, {2}, false}},
     4,
     2,
     {N, 8}},
    {"Slice", 13, 2, {N, 8}, {{1, {1}, false}, {1, {2}, false}, {1, {0}, true}}, 3, 2, {OPEN, OPEN}},
    {"Slice", 13, 2, {N, 8}, {{1, {0}, true}, {1, {2}, false}, {1, {1}, false}}, 3, 2, {N, OPEN}},
    {"Slice", 13, 2, {N, 8}, {{2, {0, 0}, false}, {1, {2}, false}, {1, {1}, false}}, 3, -2, {0}},
    {"Slice",
     13,
     1,
     {8},
     {{1, {INT64_MAX}, false}, {1, {INT64_MIN}, false}, {1, {0}, false}, {1, {-1}, false}},
     4,
     1,
     {8}},
    {"Pad", 13, 2, {N, 3}, {{4, {0, 1, 0, 2}, false}}, 1, 2, {N, 6}},
    {"Pad", 13, 2, {N, 3}, {{3, {0, 1, 0}, false}}, 1, -2, {0}},
    {"Pad", 13, 2, {N, 3}, {{4, {0}, true}}, 1, 2, {OPEN, OPEN}},
};

static void test_table(void **state) {
  world *w = *state;
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const row *r = &rows[i];
    mien__value out;
    char what[64];
    snprintf(what, sizeof what, "row %zu (%s)", i, r->name);
    mien_status status = infer(w, r->name, r->version, NULL, 0, r->rank, r->dims, r->lists, r->list, 1, &out);
    if (r->out_rank == -2) {
      if (status != MIEN_INVALID_MODEL) print_error("%s is not refused\n", what);
      assert_int_equal(status, MIEN_INVALID_MODEL);
      continue;
    }
    if (status != MIEN_OK) print_error("%s: %s\n", what, w->error.message);
    assert_int_equal(status, MIEN_OK);
    expect(w, what, &out, r->out_rank, r->want);
  }
}

static void test_reshape_multiplies_symbols(void **state) {
  world *w = *state;
  mien__value out;
  const list shape = {4, {-1, 7, 7, 64}, false};
  assert_int_equal(infer(w, "Reshape", 13, NULL, 0, 3, (int64_t[]){N, 784, 64}, 1, &shape, 1, &out), MIEN_OK);
  assert_int_equal(out.tensor.type.dim[0], mien__dim(w->scope.symbols, '*', w->n, 16));
}

static void test_reshape_allowzero(void **state) {
  world *w = *state;
  mien__value out;
  const mien__attr_value allow = {.name = "allowzero", .kind = 'i', .i = 1};
  const list shape = {2, {0, 5}, false}, wrong = {2, {0, -1}, false};
  assert_int_equal(infer(w, "Reshape", 14, &allow, 1, 2, (int64_t[]){3, 0}, 1, &shape, 1, &out), MIEN_OK);
  expect(w, "allowzero", &out, 2, (int64_t[]){0, 5});
  assert_int_equal(infer(w, "Reshape", 14, &allow, 1, 2, (int64_t[]){3, 0}, 1, &wrong, 1, &out), MIEN_INVALID_MODEL);
}

static void test_flatten(void **state) {
  world *w = *state;
  static const struct {
    int64_t axis, want[2];
  } cases[] = {{0, {1, 24}}, {1, {2, 12}}, {-1, {6, 4}}, {3, {24, 1}}, {-3, {1, 24}}};
  mien__value out;
  for (int i = 0; i < 5; i++) {
    const mien__attr_value axis = {.name = "axis", .kind = 'i', .i = cases[i].axis};
    assert_int_equal(infer(w, "Flatten", 13, &axis, 1, 3, (int64_t[]){2, 3, 4}, 0, NULL, 1, &out), MIEN_OK);
    expect(w, "Flatten", &out, 2, cases[i].want);
  }
  const mien__attr_value outside = {.name = "axis", .kind = 'i', .i = 4};
  assert_int_equal(infer(w, "Flatten", 13, &outside, 1, 3, (int64_t[]){2, 3, 4}, 0, NULL, 1, &out), MIEN_INVALID_MODEL);
  assert_int_equal(infer(w, "Flatten", 13, NULL, 0, 3, (int64_t[]){N, 2, 1}, 0, NULL, 1, &out), MIEN_OK);
  expect(w, "Flatten", &out, 2, (int64_t[]){N, 2});
}

static void test_split_symbols(void **state) {
  world *w = *state;
  mien__value out[3];
  const list sizes = {3, {1, 2, 5}, false};
  const mien__attr_value axis = {.name = "axis", .kind = 'i', .i = 1};
  assert_int_equal(infer(w, "Split", 13, &axis, 1, 2, (int64_t[]){N, 8}, 1, &sizes, 3, out), MIEN_OK);
  expect(w, "Split", &out[2], 2, (int64_t[]){N, 5});
  const list none = {-1, {0}, false};
  assert_int_equal(infer(w, "Split", 13, NULL, 0, 2, (int64_t[]){N2, 8}, 1, &none, 2, out), MIEN_OK);
  expect(w, "Split", &out[1], 2, (int64_t[]){N, 8});
}

static void test_shape_and_size(void **state) {
  world *w = *state;
  mien__value out;
  assert_int_equal(infer(w, "Shape", 13, NULL, 0, 3, (int64_t[]){N, 7, M}, 0, NULL, 1, &out), MIEN_OK);
  assert_int_equal(out.ints_count, 3);
  assert_true(out.ints[0] == w->n && out.ints[1] == 7 && out.ints[2] == w->m);
  const mien__attr_value part[] = {{.name = "start", .kind = 'i', .i = -2}, {.name = "end", .kind = 'i', .i = 100}};
  assert_int_equal(infer(w, "Shape", 15, part, 2, 3, (int64_t[]){N, 7, M}, 0, NULL, 1, &out), MIEN_OK);
  assert_true(out.ints_count == 2 && out.ints[0] == 7 && out.ints[1] == w->m);
  const mien__attr_value empty[] = {{.name = "start", .kind = 'i', .i = 2}, {.name = "end", .kind = 'i', .i = -2}};
  assert_int_equal(infer(w, "Shape", 15, empty, 2, 3, (int64_t[]){N, 7, M}, 0, NULL, 1, &out), MIEN_OK);
  expect(w, "Shape", &out, 1, (int64_t[]){0});
  assert_int_equal(infer(w, "Shape", 13, NULL, 0, 0, NULL, 0, NULL, 1, &out), MIEN_OK);
  expect(w, "Shape", &out, 1, (int64_t[]){0});
  assert_int_equal(infer(w, "Size", 13, NULL, 0, 2, (int64_t[]){N, 2}, 0, NULL, 1, &out), MIEN_OK);
  assert_int_equal(out.ints[0], mien__dim(w->scope.symbols, '*', w->n, 2));
}

/* ---- values */

static void test_constant_of_shape(void **state) {
  world *w = *state;
  op_call c = {.name = "ConstantOfShape", .version = 9};
  int64_t seven = 7;
  mien_tensor value = {op_type(MIEN_I64, 1, OP_DIMS(1)), &seven, sizeof seven};
  const double zeros[] = {0, 0, 0, 0, 0, 0}, sevens[] = {7, 7, 7};
  op_in(&c, MIEN_I64, 1, OP_DIMS(2), OP_DIMS(2, 3));
  op_run_ok(w->env, &c);
  assert_int_equal(c.out[0].type.dtype, MIEN_F32);
  op_expect(&c.out[0], zeros, 6, 0, 0);
  op_free(&c);
  c = (op_call){.name = "ConstantOfShape", .version = 9, .piece = 2};
  op_in(&c, MIEN_I64, 1, OP_DIMS(1), OP_DIMS(3));
  c.attrs[c.attr_count++] = (mien__attr_value){.name = "value", .kind = 't', .tensor = &value};
  op_run_ok(w->env, &c);
  assert_int_equal(c.out[0].type.dtype, MIEN_I64);
  op_expect(&c.out[0], sevens, 3, 0, 0);
  op_free(&c);
  c = (op_call){.name = "ConstantOfShape", .version = 9};
  op_in(&c, MIEN_I64, 1, OP_DIMS(0), NULL);
  op_run_ok(w->env, &c);
  assert_int_equal(c.out[0].type.rank, 0);
  op_free(&c);
  static const int64_t bombs[] = {17592186044800, -1};
  for (int i = 0; i < 2; i++) {
    c = (op_call){.name = "ConstantOfShape", .version = 9};
    op_in(&c, MIEN_I64, 1, OP_DIMS(1), &bombs[i]);
    assert_int_equal(op_run(w->env, &c), i == 0 ? MIEN_LIMIT : MIEN_INVALID_MODEL);
    op_free(&c);
  }
}

static void test_range(void **state) {
  world *w = *state;
  static const struct {
    double start, limit, delta;
    int64_t count;
  } cases[] = {{3, 9, 3, 2}, {3, 10, 3, 3}, {10, 4, -2, 3}, {0, 5, -1, 0}, {5, 5, 1, 0}, {-3, 1, 2, 2}};
  static const int32_t dtypes[] = {MIEN_F32, MIEN_F64, MIEN_I32, MIEN_I64};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
    for (int d = 0; d < 4; d++) {
      op_call c = {.name = "Range", .version = 11};
      double want[4];
      const double three[] = {cases[i].start, cases[i].limit, cases[i].delta};
      for (int k = 0; k < 3; k++) {
        float f = (float)three[k];
        int32_t s = (int32_t)three[k];
        int64_t l = (int64_t)three[k];
        op_in(&c, dtypes[d], 0, NULL,
              d == 0   ? (const void *)&f
              : d == 1 ? (const void *)&three[k]
              : d == 2 ? (const void *)&s
                       : (const void *)&l);
      }
      for (int64_t k = 0; k < cases[i].count; k++) want[k] = cases[i].start + (double)k * cases[i].delta;
      op_run_ok(w->env, &c);
      op_expect(&c.out[0], want, cases[i].count, 0, 0);
      op_free(&c);
    }
  static const double bad[][3] = {{0, 1, 0}, {0, INFINITY, 1}, {0, NAN, 1}, {0, 1e18, 1}};
  for (int i = 0; i < 4; i++) {
    op_call c = {.name = "Range", .version = 11};
    for (int k = 0; k < 3; k++) op_in(&c, MIEN_F64, 0, NULL, &bad[i][k]);
    assert_int_not_equal(op_run(w->env, &c), MIEN_OK);
    op_free(&c);
  }
}

/* Views move nothing, also where a host copies. */
static void test_views_copy(void **state) {
  world *w = *state;
  op_call c = {.name = "Reshape", .version = 13};
  const double want[] = {1, 2, 3, 4, 5, 6};
  op_in(&c, MIEN_F64, 2, OP_DIMS(2, 3), want);
  op_in(&c, MIEN_I64, 1, OP_DIMS(2), OP_DIMS(3, -1));
  op_run_ok(w->env, &c);
  assert_true(c.out[0].type.rank == 2 && c.out[0].type.dim[0] == 3 && c.out[0].type.dim[1] == 2);
  op_expect(&c.out[0], want, 6, 0, 0);
  op_free(&c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_table),
      cmocka_unit_test(test_reshape_multiplies_symbols),
      cmocka_unit_test(test_reshape_allowzero),
      cmocka_unit_test(test_flatten),
      cmocka_unit_test(test_split_symbols),
      cmocka_unit_test(test_shape_and_size),
      cmocka_unit_test(test_constant_of_shape),
      cmocka_unit_test(test_range),
      cmocka_unit_test(test_views_copy),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
