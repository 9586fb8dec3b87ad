/* Operators with indices: picked and written elements, what is outside, and the small ones beside them. */
#include "op_test.h"

static uint64_t seed = 2463534242u;
static int pick(int low, int high) { return low + (int)op_random(&seed, 0, high - low + 0.999999); }

static void expect_dims(const mien_tensor *t, int rank, const int64_t *dims) {
  assert_int_equal(t->type.rank, rank);
  for (int i = 0; i < rank; i++) assert_int_equal(t->type.dim[i], dims[i]);
}

static void in_counting(op_call *c, int32_t dtype, int rank, const int64_t *dims) {
  void *data = op_in(c, dtype, rank, dims, NULL);
  int64_t count = mien_count(&c->in[c->in_count - 1].type);
  for (int64_t i = 0; i < count; i++) {
    if (dtype == MIEN_F32)
      ((float *)data)[i] = (float)i;
    else if (dtype == MIEN_I64)
      ((int64_t *)data)[i] = i;
    else
      ((int32_t *)data)[i] = (int32_t)i;
  }
}

/* A row of one table: indices come as i64, or as i32 where small is set. */
typedef struct picks {
  const char *name;
  int version;
  int64_t axis; /* or batch_dims */
  int rank;
  int64_t dims[4];
  int index_rank;
  int64_t index_dims[4], indices[8];
  bool small;
  int out_rank;
  int64_t out_dims[6];
  double want[12];
} picks;

static const picks table[] = {
    {"Gather", 1, 0, 2, {3, 2}, 1, {2}, {2, 0}, false, 2, {2, 2}, {4, 5, 0, 1}},
    {"Gather", 13, 1, 2, {3, 2}, 1, {2}, {-1, 0}, true, 2, {3, 2}, {1, 0, 3, 2, 5, 4}},
    {"Gather", 13, -1, 2, {3, 2}, 0, {0}, {1}, false, 1, {3}, {1, 3, 5}},
    {"Gather", 11, 0, 1, {4}, 2, {2, 2}, {3, 2, 1, 0}, false, 2, {2, 2}, {3, 2, 1, 0}},
    {"Gather", 13, 0, 2, {3, 0}, 1, {2}, {2, 0}, false, 2, {2, 0}, {0}},
    {"Gather", 13, 0, 2, {0, 2}, 1, {0}, {0}, false, 2, {0, 2}, {0}},
    {"GatherElements", 11, 0, 2, {3, 2}, 2, {2, 2}, {0, 2, -1, 1}, false, 2, {2, 2}, {0, 5, 4, 3}},
    {"GatherElements", 13, -1, 2, {3, 2}, 2, {2, 3}, {0, 1, 0, -1, 1, 0}, true, 2, {2, 3}, {0, 1, 0, 3, 3, 2}},
    {"GatherElements", 13, 1, 2, {3, 2}, 2, {0, 3}, {0}, false, 2, {0, 3}, {0}},
    {"GatherND", 12, 0, 2, {2, 2}, 2, {2, 2}, {0, 0, 1, 1}, false, 1, {2}, {0, 3}},
    {"GatherND", 13, 0, 2, {2, 3}, 2, {1, 1}, {-1}, true, 2, {1, 3}, {3, 4, 5}},
    {"GatherND", 13, 1, 3, {2, 2, 2}, 2, {2, 1}, {1, 0}, false, 2, {2, 2}, {2, 3, 4, 5}},
    {"GatherND", 13, 0, 3, {2, 2, 2}, 3, {2, 1, 2}, {0, 1, 1, 0}, false, 3, {2, 1, 2}, {2, 3, 4, 5}},
    {"GatherND", 13, 0, 2, {2, 3}, 1, {2}, {1, 2}, false, 0, {0}, {5}},
    {"GatherND", 13, 0, 2, {2, 3}, 2, {0, 2}, {0}, false, 1, {0}, {0}},
};

static void in_indices(op_call *c, const picks *p) {
  int32_t small[8];
  for (int i = 0; i < 8; i++) small[i] = (int32_t)p->indices[i];
  op_in(c, p->small ? MIEN_I32 : MIEN_I64, p->index_rank, p->index_dims,
        p->small ? (const void *)small : (const void *)p->indices);
}

static void test_picks(void **state) {
  static const int32_t dtypes[] = {MIEN_F32, MIEN_I64, MIEN_I32};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
    for (int d = 0; d < 3; d++)
      for (int64_t piece = 0; piece < 3; piece++) {
        const picks *p = &table[i];
        op_call c = {.name = p->name, .version = p->version, .piece = piece, .variable = {false, true}};
        in_counting(&c, dtypes[d], p->rank, p->dims);
        in_indices(&c, p);
        op_attr_i(&c, strcmp(p->name, "GatherND") == 0 ? "batch_dims" : "axis", p->axis);
        op_run_ok(*state, &c);
        expect_dims(&c.out[0], p->out_rank, p->out_dims);
        op_expect(&c.out[0], p->want, mien_count(&c.out[0].type), 0, 0);
        op_free(&c);
      }
}

/* Never clamped: the node, the index and the dimension are named. */
static void test_outside(void **state) {
  static const struct {
    const char *name;
    int rank;
    int64_t dims[2];
    int index_rank;
    int64_t index_dims[2];
    bool updates;
  } rows[] = {
      {"Gather", 2, {3, 2}, 1, {1}, false},      {"GatherElements", 2, {3, 2}, 2, {1, 1}, false},
      {"GatherND", 2, {3, 2}, 2, {1, 1}, false}, {"ScatterElements", 2, {3, 2}, 2, {1, 1}, true},
      {"ScatterND", 1, {3}, 2, {1, 1}, true},    {"Gather", 2, {0, 2}, 1, {1}, false},
      {"GatherND", 2, {0, 2}, 2, {1, 1}, false},
  };
  static const int64_t wrong[] = {3, -4, INT64_MAX, INT64_MIN, INT32_MAX};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
    for (size_t w = 0; w < sizeof wrong / sizeof wrong[0]; w++) {
      op_call c = {.name = rows[i].name, .version = 13, .variable = {true, true, true}};
      char text[64];
      op_in(&c, MIEN_F32, rows[i].rank, rows[i].dims, NULL);
      op_in(&c, MIEN_I64, rows[i].index_rank, rows[i].index_dims, &wrong[w]);
      if (rows[i].updates) op_in(&c, MIEN_F32, rows[i].rank, OP_DIMS(1, 1), NULL);
      assert_int_equal(op_run(*state, &c), MIEN_INVALID_ARGUMENT);
      snprintf(text, sizeof text, "index %lld is outside dimension 0", (long long)wrong[w]);
      assert_non_null(strstr(c.error.message, text));
      assert_non_null(strstr(c.error.message, "node 'test'"));
      op_free(&c);
    }
}

/* Shapes of indices that would reach outside without any wrong index. */
static void test_shapes_that_do_not_fit(void **state) {
  op_call c = {.name = "GatherElements", .version = 13};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 2), NULL);
  op_in(&c, MIEN_I64, 2, OP_DIMS(1, 3), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "ScatterElements", .version = 18};
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL);
  op_in(&c, MIEN_I64, 1, OP_DIMS(2), NULL);
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "ScatterND", .version = 18};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), NULL);
  op_in(&c, MIEN_I64, 2, OP_DIMS(1, 1), NULL);
  op_in(&c, MIEN_F32, 2, OP_DIMS(1, 2), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
  c = (op_call){.name = "GatherND", .version = 13};
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), NULL);
  op_in(&c, MIEN_I64, 2, OP_DIMS(1, 2), NULL);
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  op_free(&c);
}

/* ---- Scatter */

static const char *const reductions[] = {"none", "add", "mul", "min", "max"};

static double reduced(int how, double old_value, double update) {
  switch (how) {
    case 1: return old_value + update;
    case 2: return old_value * update;
    case 3: return isnan(old_value) || isnan(update) ? NAN : fmin(old_value, update);
    case 4: return isnan(old_value) || isnan(update) ? NAN : fmax(old_value, update);
    default: return update;
  }
}

static void put(void *data, int32_t dtype, int64_t i, double v) {
  switch (dtype) {
    case MIEN_F32: ((float *)data)[i] = (float)v; break;
    case MIEN_F64: ((double *)data)[i] = v; break;
    case MIEN_I32: ((int32_t *)data)[i] = (int32_t)v; break;
    case MIEN_U8: ((uint8_t *)data)[i] = (uint8_t)v; break;
    default: ((int64_t *)data)[i] = (int64_t)v; break;
  }
}

/* Duplicates are reduced in order; without a reduction the last one stays. */
static void test_scatter_elements(void **state) {
  static const int32_t dtypes[] = {MIEN_F32, MIEN_F64, MIEN_I32, MIEN_U8, MIEN_I64};
  for (int round = 0; round < 300; round++) {
    int how = round % 5, axis = pick(0, 1);
    int32_t dtype = dtypes[pick(0, 4)];
    op_call c = {.name = "ScatterElements", .version = how == 0 ? 11 : 18, .variable = {true, true, true}};
    int64_t dims[2] = {pick(1, 4), pick(1, 5)}, part[2] = {pick(0, (int)dims[0]), pick(0, (int)dims[1])};
    double want[32];
    part[axis] = pick(0, 4);
    void *data = op_in(&c, dtype, 2, dims, NULL);
    for (int i = 0; i < dims[0] * dims[1]; i++) put(data, dtype, i, want[i] = pick(0, 6));
    int64_t *indices = op_in(&c, MIEN_I64, 2, part, NULL);
    void *updates = op_in(&c, dtype, 2, part, NULL);
    for (int i = 0; i < part[0] * part[1]; i++) {
      double update = pick(0, 2);
      indices[i] = pick(-(int)dims[axis], (int)dims[axis] - 1);
      put(updates, dtype, i, update);
      int64_t at = indices[i] < 0 ? indices[i] + dims[axis] : indices[i];
      int64_t row = axis == 0 ? at : i / part[1], column = axis == 1 ? at : i % part[1];
      double *place = &want[row * dims[1] + column];
      *place = reduced(how, *place, update);
    }
    op_attr_i(&c, "axis", axis);
    if (how) op_attr_s(&c, "reduction", reductions[how]);
    op_run_ok(*state, &c);
    op_expect(&c.out[0], want, dims[0] * dims[1], 0, 0);
    op_free(&c);
  }
}

static void test_scatter_nd(void **state) {
  for (int how = 0; how < 5; how++) {
    op_call c = {.name = "ScatterND", .version = 18};
    const float data[] = {1, 2, 3, 4, 5, 6}, updates[] = {10, NAN, 2, 20};
    double want[6];
    op_in(&c, MIEN_F32, 2, OP_DIMS(3, 2), data);
    op_in(&c, MIEN_I64, 2, OP_DIMS(2, 1), OP_DIMS(2, -1));
    op_in(&c, MIEN_F32, 2, OP_DIMS(2, 2), updates);
    op_attr_s(&c, "reduction", reductions[how]);
    for (int i = 0; i < 6; i++) want[i] = data[i];
    for (int i = 0; i < 4; i++) want[4 + i % 2] = reduced(how, want[4 + i % 2], updates[i]);
    op_run_ok(*state, &c);
    op_expect(&c.out[0], want, 6, 0, 0);
    op_free(&c);
  }
}

static void test_scatter_wraps_and_refuses(void **state) {
  op_call c = {.name = "ScatterElements", .version = 16};
  const double want[] = {(double)INT32_MIN};
  op_in(&c, MIEN_I32, 1, OP_DIMS(1), (const int32_t[]){INT32_MAX});
  op_in(&c, MIEN_I32, 1, OP_DIMS(1), NULL);
  op_in(&c, MIEN_I32, 1, OP_DIMS(1), (const int32_t[]){1});
  op_attr_s(&c, "reduction", "add");
  op_run_ok(*state, &c);
  op_expect(&c.out[0], want, 1, 0, 0);
  op_free(&c);
  c = (op_call){.name = "ScatterElements", .version = 16};
  op_in(&c, MIEN_BOOL, 1, OP_DIMS(1), NULL);
  op_in(&c, MIEN_I32, 1, OP_DIMS(1), NULL);
  op_in(&c, MIEN_BOOL, 1, OP_DIMS(1), NULL);
  op_attr_s(&c, "reduction", "add");
  assert_int_equal(op_run(*state, &c), MIEN_UNSUPPORTED);
  op_free(&c);
}

/* ---- TopK, OneHot, EyeLike, NonZero, Compress */

static void test_topk(void **state) {
  for (int round = 0; round < 300; round++) {
    op_call c = {.name = "TopK", .version = 11, .out_count = 2, .piece = round % 3};
    int64_t dims[3] = {pick(0, 3), pick(0, 9), pick(1, 4)}, k = pick(0, (int)dims[1]);
    bool largest = pick(0, 1);
    float *x = op_in(&c, MIEN_F32, 3, dims, NULL);
    for (int64_t i = 0; i < dims[0] * dims[1] * dims[2]; i++)
      x[i] = pick(0, 12) == 0 ? NAN : pick(0, 20) == 0 ? INFINITY : (float)pick(-3, 3);
    op_in(&c, MIEN_I64, 1, OP_DIMS(1), &k);
    op_attr_i(&c, "axis", pick(0, 1) ? 1 : -2);
    op_attr_i(&c, "largest", largest);
    op_run_ok(*state, &c);
    expect_dims(&c.out[0], 3, OP_DIMS(dims[0], k, dims[2]));
    for (int64_t a = 0; a < dims[0]; a++)
      for (int64_t b = 0; b < dims[2]; b++) {
        bool used[9] = {false};
        for (int64_t rank = 0; rank < k; rank++) { /* selection: the best of what is left, the lowest index first */
          int64_t best = -1;
          for (int64_t i = 0; i < dims[1]; i++) {
            float v = x[(a * dims[1] + i) * dims[2] + b], w = best < 0 ? 0 : x[(a * dims[1] + best) * dims[2] + b];
            bool more = best < 0 || (isnan(v) && !isnan(w)) || v > w,
                 less = best < 0 || (isnan(w) && !isnan(v)) || v < w;
            if (!used[i] && (largest ? more : less)) best = i;
          }
          used[best] = true;
          int64_t at = (a * k + rank) * dims[2] + b;
          assert_int_equal(((const int64_t *)c.out[1].data)[at], best);
          assert_memory_equal((const float *)c.out[0].data + at, x + (a * dims[1] + best) * dims[2] + b, sizeof(float));
        }
      }
    op_free(&c);
  }
}

static void test_topk_refuses(void **state) {
  op_call c = {.name = "TopK", .version = 11, .out_count = 2};
  op_in(&c, MIEN_F32, 1, OP_DIMS(3), NULL);
  op_in(&c, MIEN_I64, 1, OP_DIMS(1), OP_DIMS(4));
  assert_int_equal(op_run(*state, &c), MIEN_INVALID_MODEL);
  assert_non_null(strstr(c.error.message, "k is 4, dimension 0 has size 3"));
  op_free(&c);
}

static void test_one_hot(void **state) {
  const double want[] = {0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, across[] = {0, 0, 1, 0, 0, 1};
  op_call c = {.name = "OneHot", .version = 11};
  op_in(&c, MIEN_I64, 1, OP_DIMS(4), OP_DIMS(1, 3, -1, -4));
  op_in(&c, MIEN_F32, 0, NULL, (const float[]){3});
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), (const float[]){0, 1});
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(4, 3));
  op_expect(&c.out[0], want, 12, 0, 0);
  op_free(&c);
  c = (op_call){.name = "OneHot", .version = 9};
  op_in(&c, MIEN_F32, 1, OP_DIMS(2), (const float[]){1, 2});
  op_in(&c, MIEN_I64, 1, OP_DIMS(1), OP_DIMS(3));
  op_in(&c, MIEN_I64, 1, OP_DIMS(2), OP_DIMS(0, 1));
  op_attr_i(&c, "axis", 0);
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(3, 2));
  op_expect(&c.out[0], across, 6, 0, 0);
  op_free(&c);
}

static void test_eye(void **state) {
  for (int64_t k = -4; k <= 5; k++) {
    op_call c = {.name = "EyeLike", .version = 9};
    double want[12];
    for (int i = 0; i < 12; i++) want[i] = i / 4 + k == i % 4;
    op_in(&c, MIEN_I32, 2, OP_DIMS(3, 4), NULL);
    op_attr_i(&c, "k", k);
    op_attr_i(&c, "dtype", MIEN_F16);
    op_run_ok(*state, &c);
    assert_int_equal(c.out[0].type.dtype, MIEN_F16);
    op_expect(&c.out[0], want, 12, 0, 0);
    op_free(&c);
  }
}

static void test_nonzero(void **state) {
  const float x[] = {0, -0.0f, NAN, 1, 0, 2};
  const double want[] = {0, 1, 1, 2, 0, 2}, scalar[] = {0};
  op_call c = {.name = "NonZero", .version = 13};
  op_in(&c, MIEN_F32, 2, OP_DIMS(2, 3), x);
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(2, 3));
  op_expect(&c.out[0], want, 6, 0, 0);
  op_free(&c);
  c = (op_call){.name = "NonZero", .version = 13};
  op_in(&c, MIEN_BOOL, 3, OP_DIMS(2, 0, 3), NULL);
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(3, 0));
  op_free(&c);
  c = (op_call){.name = "NonZero", .version = 9};
  op_in(&c, MIEN_I64, 0, NULL, OP_DIMS(7));
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(1, 1));
  op_expect(&c.out[0], scalar, 1, 0, 0);
  op_free(&c);
}

static void test_compress(void **state) {
  const double columns[] = {1, 4}, flat[] = {1, 3};
  op_call c = {.name = "Compress", .version = 11};
  in_counting(&c, MIEN_F32, 2, OP_DIMS(2, 3));
  op_in(&c, MIEN_BOOL, 1, OP_DIMS(2), (const uint8_t[]){0, 1});
  op_attr_i(&c, "axis", -1);
  op_run_ok(*state, &c);
  expect_dims(&c.out[0], 2, OP_DIMS(2, 1));
  op_expect(&c.out[0], columns, 2, 0, 0);
  op_free(&c);
  c = (op_call){.name = "Compress", .version = 9};
  in_counting(&c, MIEN_I64, 2, OP_DIMS(2, 3));
  op_in(&c, MIEN_BOOL, 1, OP_DIMS(5), (const uint8_t[]){0, 1, 0, 2, 0});
  op_run_ok(*state, &c);
  op_expect(&c.out[0], flat, 2, 0, 0);
  op_free(&c);
}

/* Scratch is there also where a node is evaluated while threads exist. */
static void test_evaluate_with_threads(void **state) {
  mien_env *env = *state;
  mien_error error = {0};
  mien__threads *threads = NULL;
  mien__pool pool;
  mien__pool_init(&pool, env, 0);
  assert_int_equal(mien__threads_create(env, 2, &threads, &error), MIEN_OK);
  mien__scope scope = {.env = env, .pool = &pool, .threads = threads, .error = &error};
  float x[] = {3, 9, 5};
  int64_t k[] = {2};
  mien__value in[2] = {{.tensor = {op_type(MIEN_F32, 1, OP_DIMS(3)), x, sizeof x}, .constant = true},
                       {.tensor = {op_type(MIEN_I64, 1, OP_DIMS(1)), k, sizeof k}, .constant = true}};
  mien__value out[2] = {0}, *in_at[2] = {&in[0], &in[1]}, *out_at[2] = {&out[0], &out[1]};
  mien_node n;
  bool known;
  const mien__record *record = mien__registry_find(env, "", "TopK", 11, &known);
  assert_int_equal(mien__node_init(&n, &scope, record, "test", NULL, 0, in_at, 2, out_at, 2), MIEN_OK);
  assert_int_equal(mien__node_evaluate(&n), MIEN_OK);
  assert_true(((const float *)out[0].tensor.data)[0] == 9 && ((const float *)out[0].tensor.data)[1] == 5);
  mien_tensor_clear(env, &out[0].tensor);
  mien_tensor_clear(env, &out[1].tensor);
  mien__threads_destroy(threads);
  mien__pool_clear(&pool);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_picks),
      cmocka_unit_test(test_outside),
      cmocka_unit_test(test_shapes_that_do_not_fit),
      cmocka_unit_test(test_scatter_elements),
      cmocka_unit_test(test_scatter_nd),
      cmocka_unit_test(test_scatter_wraps_and_refuses),
      cmocka_unit_test(test_topk),
      cmocka_unit_test(test_topk_refuses),
      cmocka_unit_test(test_one_hot),
      cmocka_unit_test(test_eye),
      cmocka_unit_test(test_nonzero),
      cmocka_unit_test(test_compress),
      cmocka_unit_test(test_evaluate_with_threads),
  };
  return cmocka_run_group_tests(tests, op_env_setup, op_env_teardown);
}
