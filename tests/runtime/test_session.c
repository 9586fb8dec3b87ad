/* Sessions over plans built by hand: bindings, memory sharing, sizes, errors. */
#include "sanitizer.h"
#include "session_test.h"

#include <stdio.h>

/* ---- bindings */

static const float small_x[6] = {-5, 2, 3, 4, -5, 6}, small_y[6] = {0, 2, 2, 5, 0, 5};

static void outputs_in_memory_of_caller_and_session(void **state) {
  (void)state;
  mien_plan *plan = small_plan();
  for (int threads = 1; threads <= 3; threads++) {
    mien_session *s = open_session(plan, threads);
    float x[6], y[6];
    memcpy(x, small_x, sizeof x);
    mien_binding in = bind("x", MIEN_F32, 2, PB_DIMS(2, 3), x);
    mien_binding out[2] = {bind("y", MIEN_F32, 0, NULL, y), {.name = "z"}};
    out[0].tensor.bytes = sizeof y;
    for (int repeat = 0; repeat < 3; repeat++) {
      memset(y, 0x7f, sizeof y);
      out[1].tensor.data = NULL;
      run(s, &in, 1, out, 2);
      assert_memory_equal(y, small_y, sizeof y);
      assert_memory_equal(x, small_x, sizeof x); /* inputs are only read */
      assert_ptr_equal(out[0].tensor.data, y);
      assert_int_equal(out[0].tensor.type.rank, 2);
      assert_int_equal(out[1].tensor.bytes, 24);
      for (int i = 0; i < 6; i++) assert_true(((float *)out[1].tensor.data)[i] == -small_y[i]);
    }
    run(s, &in, 1, NULL, 0); /* nothing asked for */
    mien_session_info info;
    mien_session_get_info(s, &info);
    assert_int_equal(info.threads, threads);
    assert_true(info.arena_bytes == 128 && info.live_bytes == 128); /* two values of 24 bytes */
    assert_true(strlen(info.isa) > 0);
    mien_session_destroy(s);
  }
  mien_plan_close(plan);
}

static void wrong_bindings_are_named(void **state) {
  (void)state;
  mien_plan *plan = small_plan();
  mien_session *s = open_session(plan, 1);
  float x[7] = {0}, y[6];
  mien_binding in[2] = {bind("x", MIEN_F32, 2, PB_DIMS(2, 3), x), bind("x", MIEN_F32, 2, PB_DIMS(2, 3), x)};
  mien_binding out[2] = {bind("y", MIEN_F32, 2, PB_DIMS(2, 3), y), {.name = "y"}};
  mien_binding bad = in[0], bad_out = out[0];
  bad.name = "image";
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "no input 'image'; its inputs are 'x'");
  run_fails(s, in, 0, out, 1, MIEN_INVALID_ARGUMENT, "'x' is not given");
  run_fails(s, in, 2, out, 1, MIEN_INVALID_ARGUMENT, "'x' is given twice");
  bad = bind("x", MIEN_F64, 2, PB_DIMS(2, 3), x);
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "input 'x' is f64[2,3], expected f32[2,3]");
  bad = bind("x", MIEN_F32, 2, PB_DIMS(3, 2), x);
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "input 'x' is f32[3,2], expected f32[2,3]");
  bad = bind("x", MIEN_F32, 1, PB_DIMS(6), x);
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "input 'x' is f32[6], expected f32[2,3]");
  bad = in[0];
  bad.tensor.bytes = 23;
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "has 23 bytes, its type needs 24");
  bad = in[0];
  bad.tensor.data = NULL;
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "NULL");
  bad.tensor.data = (char *)x + 1;
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "aligned");
  bad = in[0];
  bad.tensor.type.rank = 100;
  run_fails(s, &bad, 1, out, 1, MIEN_INVALID_ARGUMENT, "rank 100");
  bad_out.name = "mu";
  run_fails(s, in, 1, &bad_out, 1, MIEN_INVALID_ARGUMENT, "'mu' is no output of the plan");
  run_fails(s, in, 1, out, 2, MIEN_INVALID_ARGUMENT, "'y' is asked for twice");
  bad_out = out[0];
  bad_out.tensor.bytes = 20;
  run_fails(s, in, 1, &bad_out, 1, MIEN_INVALID_ARGUMENT, "is f32[2,3] and needs 24 bytes, its buffer has 20");
  bad_out = bind("y", MIEN_F32, 2, PB_DIMS(2, 3), x + 1);
  run_fails(s, in, 1, &bad_out, 1, MIEN_INVALID_ARGUMENT, "overlaps that of input 'x'");
  out[1] = bind("z", MIEN_F32, 2, PB_DIMS(2, 3), y + 2);
  out[1].tensor.bytes = 24;
  run_fails(s, in, 1, out, 2, MIEN_INVALID_ARGUMENT, "outputs 'y' and 'z' overlap");
  assert_int_equal(mien_session_run(s, in, 2, out, 1, NULL), MIEN_INVALID_ARGUMENT);
  assert_int_equal(mien_session_run(NULL, in, 1, out, 1, NULL), MIEN_INVALID_ARGUMENT);
  run(s, in, 1, out, 1); /* and it still runs */
  mien_session_destroy(s);
  mien_plan_close(plan);
}

static void closing_in_any_order(void **state) {
  (void)state;
  mien_env *own;
  assert_int_equal(mien_env_create(NULL, &own, NULL), MIEN_OK);
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(2));
  pb_output(&b, "y", pb_node(&b, "Neg", 13, PB_IDS(x)), MIEN_F32, 1, PB_DIMS(2));
  mien_plan *plan;
  assert_int_equal(pb_open(&b, own, 0, &plan, NULL), MIEN_OK);
  pb_free(&b);
  mien_session *s = open_session(plan, 2);
  mien_plan_close(plan);
  mien_env_destroy(own);
  float data[2] = {1, -2}, y[2];
  mien_binding in = bind("x", MIEN_F32, 1, PB_DIMS(2), data), out = bind("y", MIEN_F32, 1, PB_DIMS(2), y);
  run(s, &in, 1, &out, 1);
  assert_true(y[0] == -1 && y[1] == 2);
  mien_session_destroy(s);
  mien_session_destroy(NULL);
  mien_plan_close(NULL);
}

/* ---- outputs that are something else already */

static void outputs_that_are_inputs_constants_or_twice(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(3));
  uint32_t c = pb_constant(&b, MIEN_F32, 1, PB_DIMS(2), (const float[]){7, 8});
  uint32_t y = pb_node(&b, "Neg", 13, PB_IDS(x));
  uint32_t shape = pb_constant(&b, MIEN_I64, 1, PB_DIMS(2), (const int64_t[]){3, 1});
  uint32_t view = pb_node(&b, "Reshape", 14, PB_IDS(y, shape));
  uint32_t view_of_x = pb_node(&b, "Reshape", 14, PB_IDS(x, shape));
  pb_output(&b, "same", x, MIEN_F32, 1, PB_DIMS(3));
  pb_output(&b, "constant", c, MIEN_F32, 1, PB_DIMS(2));
  pb_output(&b, "y", y, MIEN_F32, 1, PB_DIMS(3));
  pb_output(&b, "again", y, MIEN_F32, 1, PB_DIMS(3));
  pb_output(&b, "view", view, MIEN_F32, 2, PB_DIMS(3, 1));
  pb_output(&b, "view_of_x", view_of_x, MIEN_F32, 2, PB_DIMS(3, 1));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  mien_session *s = open_session(plan, 1);
  float data[3] = {1, 2, 3}, memory[6][4];
  mien_binding in = bind("x", MIEN_F32, 1, PB_DIMS(3), data);
  static const char *const names[] = {"same", "constant", "y", "again", "view", "view_of_x"};
  for (int own = 0; own < 64; own++) { /* each in memory of the caller or of the session */
    mien_binding out[6] = {0};
    memset(memory, 0, sizeof memory);
    for (int i = 0; i < 6; i++) {
      out[i].name = names[i];
      if (own >> i & 1) out[i].tensor = (mien_tensor){.data = memory[i], .bytes = 16};
    }
    run(s, &in, 1, out, 6);
    static const float expected[6][3] = {{1, 2, 3}, {7, 8}, {-1, -2, -3}, {-1, -2, -3}, {-1, -2, -3}, {1, 2, 3}};
    for (int i = 0; i < 6; i++) {
      assert_memory_equal(out[i].tensor.data, expected[i], i == 1 ? 8 : 12);
      assert_int_equal(out[i].tensor.type.rank, i >= 4 ? 2 : 1);
      for (int k = 0; k < i; k++) assert_ptr_not_equal(out[i].tensor.data, out[k].tensor.data);
      assert_ptr_not_equal(out[i].tensor.data, data);
      memset(out[i].tensor.data, 0x55, i == 1 ? 8 : 12); /* each is the caller's to write */
    }
    assert_true(data[0] == 1 && data[2] == 3);
  }
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* ---- random graphs against a plain evaluation */

enum { GRAPH_NODES = 40, ELEMENTS = 12 };

typedef struct {
  uint32_t id;
  int shape; /* 0: [12], 1: [3,4], 2: [2,6] */
  float data[ELEMENTS];
} graph_value;

static const int64_t graph_dims[3][2] = {{12, 1}, {3, 4}, {2, 6}};

static uint32_t next(uint64_t *seed) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*seed >> 33);
}

/* Elementwise operators, views, and values used at any later place: what in-place reuse can get wrong. */
static int random_graph(pb *b, uint64_t seed, graph_value *values) {
  int count = 0;
  for (int i = 0; i < 2; i++) {
    graph_value *v = &values[count++];
    v->shape = i;
    v->id = pb_input(b, i ? "b" : "a", MIEN_F32, i ? 2 : 1, graph_dims[i]);
    for (int k = 0; k < ELEMENTS; k++) v->data[k] = (float)((int)(next(&seed) % 17) - 8);
  }
  uint32_t shapes[3];
  for (int i = 0; i < 3; i++) shapes[i] = pb_constant(b, MIEN_I64, 1, PB_DIMS(i ? 2 : 1), graph_dims[i]);
  values[count].shape = 1;
  for (int k = 0; k < ELEMENTS; k++) values[count].data[k] = (float)k;
  values[count].id = pb_constant(b, MIEN_F32, 2, graph_dims[1], values[count].data);
  count++;
  while (count < GRAPH_NODES) {
    graph_value *y = &values[count];
    uint32_t recent = next(&seed) % 3 ? 4u : (uint32_t)count;
    const graph_value *p =
        &values[(uint32_t)count - 1 - next(&seed) % (recent < (uint32_t)count ? recent : (uint32_t)count)];
    const graph_value *q = &values[next(&seed) % (uint32_t)count];
    y->shape = p->shape;
    switch (next(&seed) % 6) {
      case 0:
        y->shape = (int)(next(&seed) % 3);
        y->id = pb_node(b, "Reshape", 14, PB_IDS(p->id, shapes[y->shape]));
        memcpy(y->data, p->data, sizeof y->data);
        break;
      case 1:
        y->id = pb_node(b, "Relu", 14, PB_IDS(p->id));
        for (int k = 0; k < ELEMENTS; k++) y->data[k] = p->data[k] > 0 ? p->data[k] : 0;
        break;
      case 2:
        y->id = pb_node(b, "Neg", 13, PB_IDS(p->id));
        for (int k = 0; k < ELEMENTS; k++) y->data[k] = -p->data[k];
        break;
      default:
        if (q->shape != p->shape) continue;
        y->id = pb_node(b, "Sub", 14, PB_IDS(p->id, q->id));
        for (int k = 0; k < ELEMENTS; k++) y->data[k] = p->data[k] - q->data[k];
    }
    count++;
  }
  return count;
}

static void check_graph(uint64_t seed, int threads, bool keep_all) {
  pb b;
  pb_init(&b);
  static graph_value values[GRAPH_NODES];
  int count = random_graph(&b, seed, values), outputs = 0;
  char names[GRAPH_NODES][16];
  const char *name_at[GRAPH_NODES];
  mien_binding out[GRAPH_NODES] = {0};
  int at[GRAPH_NODES];
  static float memory[GRAPH_NODES][ELEMENTS];
  uint64_t choice = seed * 77;
  for (int i = 0; i < count; i++) {
    snprintf(names[i], sizeof names[i], "v%d", i);
    name_at[i] = names[i];
    pb_name(&b, values[i].id, names[i], NULL);
    bool is_output = i == count - 1 || next(&choice) % 6 == 0;
    if (is_output)
      pb_output(&b, names[i], values[i].id, MIEN_F32, values[i].shape ? 2 : 1, graph_dims[values[i].shape]);
    if (!is_output && !keep_all) continue;
    out[outputs].name = names[i];
    if (next(&choice) % 2) out[outputs].tensor = (mien_tensor){.data = memory[i], .bytes = sizeof memory[i]};
    at[outputs++] = i;
  }
  mien_plan *plan = open_plan(&b);
  mien_session *s = open_session(plan, threads);
  if (keep_all) assert_int_equal(mien_session_keep(s, name_at, (size_t)count, NULL), MIEN_OK);
  mien_binding in[2] = {bind("a", MIEN_F32, 1, PB_DIMS(12), values[0].data),
                        bind("b", MIEN_F32, 2, PB_DIMS(3, 4), values[1].data)};
  for (int repeat = 0; repeat < 2; repeat++) {
    run(s, in, 2, out, (size_t)outputs);
    for (int i = 0; i < outputs; i++)
      for (int k = 0; k < ELEMENTS; k++) {
        float got = ((float *)out[i].tensor.data)[k], want = values[at[i]].data[k];
        if (got != want)
          fail_msg("graph %d, v%d[%d] is %g, expected %g", (int)seed, at[i], k, (double)got, (double)want);
      }
  }
  mien_session_destroy(s);
  mien_plan_close(plan);
  pb_free(&b);
}

static void random_graphs_match_a_plain_evaluation(void **state) {
  (void)state;
  for (uint64_t seed = 1; seed <= 300; seed++) {
    check_graph(seed, 1, false);
    if (seed % 5 == 0) check_graph(seed, 1, true);
    if (seed % 50 == 0) check_graph(seed, 2, false);
  }
}

/* A chain of elementwise operators runs in one buffer; a value needed later does not. */
static void in_place_saves_memory(void **state) {
  (void)state;
  for (int late = 0; late < 2; late++) {
    pb b;
    pb_init(&b);
    uint32_t first = pb_node(&b, "Neg", 13, PB_IDS(pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(1000)))), y = first;
    for (int i = 0; i < 5; i++) y = pb_node(&b, "Relu", 14, PB_IDS(y));
    if (late) y = pb_node(&b, "Add", 14, PB_IDS(y, first));
    pb_output(&b, "y", y, MIEN_F32, 1, PB_DIMS(1000));
    mien_plan *plan = open_plan(&b);
    pb_free(&b);
    mien_session *s = open_session(plan, 1);
    mien_session_info info;
    mien_session_get_info(s, &info);
    assert_int_equal(info.arena_bytes, late ? 8064 : 4032);
    mien_session_destroy(s);
    mien_plan_close(plan);
  }
}

/* ---- sizes */

static void shape_arithmetic_over_many_batches(void **state) {
  (void)state;
  mien_plan *plan = batch_plan();
  mien_session *s = open_session(plan, 1);
  mien_session_info info;
  mien_session_get_info(s, &info);
  assert_int_equal(info.arena_bytes, 0); /* sizes are not known yet */
  static float x[600], y[600];
  for (int i = 0; i < 600; i++) x[i] = (float)(i % 7) - 3;
  for (int round = 0; round < 3; round++)
    for (int64_t n = 1; n <= 40; n++) {
      mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(n, 2, 3), x);
      mien_binding out[2] = {bind("y", MIEN_F32, 1, PB_DIMS(600), y), {.name = "shape"}};
      run(s, &in, 1, out, 2);
      assert_true(out[0].tensor.type.rank == 2 && out[0].tensor.type.dim[0] == n && out[0].tensor.type.dim[1] == 6);
      for (int64_t i = 0; i < n * 6; i++) assert_true(y[i] == (x[i] > 0 ? x[i] : 0));
      const int64_t *shape = out[1].tensor.data;
      assert_true(shape[0] == n && shape[1] == -1);
      assert_true(s->layout_count <= MIEN__MAX_LAYOUTS);
    }
  assert_int_equal(s->layout_count, MIEN__MAX_LAYOUTS);
  mien__layout *newest = s->layouts; /* batch 40; 39 is remembered, too */
  mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(39, 2, 3), x), out = {.name = "y"};
  run(s, &in, 1, &out, 1);
  assert_ptr_equal(s->layouts->next, newest);
  mien_session_get_info(s, &info);
  assert_int_equal(info.arena_bytes, (39 * 24 + 63) / 64 * 64); /* Relu alone: the rest is no work at run time */
  mien_session_destroy(s);
  mien_plan_close(plan);
}

static void equal_names_are_equal_sizes(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  uint32_t p = pb_input(&b, "p", MIEN_F32, 2, PB_DIMS(-1, 3)), q = pb_input(&b, "q", MIEN_F32, 2, PB_DIMS(-1, 1));
  pb_output(&b, "y", pb_node(&b, "Add", 14, PB_IDS(p, q)), MIEN_F32, 2, PB_DIMS(-1, 3));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  mien_session *s = open_session(plan, 1);
  float data[6] = {1, 2, 3, 4, 5, 6}, y[6];
  mien_binding in[2] = {bind("q", MIEN_F32, 2, PB_DIMS(2, 1), data), bind("p", MIEN_F32, 2, PB_DIMS(2, 3), data)};
  mien_binding out = bind("y", MIEN_F32, 2, PB_DIMS(2, 3), y);
  run(s, in, 2, &out, 1);
  assert_true(y[0] == 2 && y[5] == 8);
  in[0] = bind("q", MIEN_F32, 2, PB_DIMS(1, 1), data); /* would broadcast, but is not what the plan says */
  run_fails(s, in, 2, &out, 1, MIEN_INVALID_ARGUMENT, "'N' is 2 in an earlier input");
  in[1] = bind("p", MIEN_F32, 2, PB_DIMS(2, 2), data);
  run_fails(s, in, 2, &out, 1, MIEN_INVALID_ARGUMENT, "expected f32[N,3]");
  in[1] = bind("p", MIEN_F32, 2, PB_DIMS(INT64_MAX / 2, 3), data);
  run_fails(s, in, 2, &out, 1, MIEN_LIMIT, "limit");
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* The number of non-zero elements decides sizes: instructions are run one by one. */
static void sizes_that_depend_on_data(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(6)), shape = pb_input(&b, "shape", MIEN_I64, 1, PB_DIMS(2));
  uint32_t found = pb_node(&b, "NonZero", 13, PB_IDS(x));
  uint32_t twice = pb_node(&b, "Add", 14, PB_IDS(found, found));
  uint32_t reshaped = pb_node(&b, "Neg", 13, PB_IDS(pb_node(&b, "Reshape", 14, PB_IDS(x, shape))));
  pb_output(&b, "twice", twice, MIEN_I64, 2, PB_DIMS(1, -1));
  pb_output(&b, "reshaped", reshaped, MIEN_F32, 2, PB_DIMS(-1, -1));
  pb_output(&b, "x", x, MIEN_F32, 1, PB_DIMS(6));
  pb_name(&b, found, "found", NULL);
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  for (int threads = 1; threads <= 2; threads++) {
    mien_session *s = open_session(plan, threads);
    assert_int_equal(mien_session_keep(s, (const char *const[]){"found"}, 1, NULL), MIEN_OK);
    for (int zeros = 0; zeros <= 6; zeros++) {
      float data[6], memory[6];
      int64_t dims[2] = {zeros % 2 ? 2 : 3, -1};
      for (int i = 0; i < 6; i++) data[i] = i < zeros ? 0 : (float)i + 1;
      mien_binding in[2] = {bind("x", MIEN_F32, 1, PB_DIMS(6), data), bind("shape", MIEN_I64, 1, PB_DIMS(2), dims)};
      mien_binding out[4] = {
          {.name = "twice"}, bind("reshaped", MIEN_F32, 1, PB_DIMS(6), memory), {.name = "x"}, {.name = "found"}};
      run(s, in, 2, out, 4);
      assert_int_equal(out[0].tensor.type.dim[1], 6 - zeros);
      assert_int_equal(out[1].tensor.type.dim[0], zeros % 2 ? 2 : 3);
      for (int i = 0; i < 6 - zeros; i++) {
        assert_int_equal(((int64_t *)out[0].tensor.data)[i], 2 * (i + zeros));
        assert_int_equal(((int64_t *)out[3].tensor.data)[i], i + zeros);
      }
      for (int i = 0; i < 6; i++) assert_true(memory[i] == -data[i]);
      assert_memory_equal(out[2].tensor.data, data, sizeof data);
      out[1].tensor.bytes = 20;
      run_fails(s, in, 2, out, 4, MIEN_INVALID_ARGUMENT, "its buffer has 20");
      dims[0] = 4; /* six elements in rows of four */
      out[1].tensor.bytes = 24;
      run_fails(s, in, 2, out, 4, MIEN_INVALID_MODEL, "Reshape");
    }
    mien_session_destroy(s);
  }
  mien_plan_close(plan);
}

/* An output that the operator must have and nobody reads gets memory of its own. */
static void outputs_that_nobody_reads(void **state) {
  (void)state;
  for (int dynamic = 0; dynamic < 2; dynamic++) {
    pb b;
    pb_init(&b);
    uint32_t x = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(4)), best = pb_value(&b);
    uint32_t k = dynamic ? pb_input(&b, "k", MIEN_I64, 1, PB_DIMS(1))
                         : pb_constant(&b, MIEN_I64, 1, PB_DIMS(1), (const int64_t[]){2});
    pb_append(&b, pb_instruction(&b, pb_operator(&b, "", "TopK", 11), "top", PB_IDS(x, k), PB_IDS(0, best)));
    pb_output(&b, "best", best, MIEN_I64, 1, PB_DIMS(-1));
    mien_plan *plan = open_plan(&b);
    pb_free(&b);
    mien_session *s = open_session(plan, 1);
    float data[4] = {1, 4, 2, 3};
    int64_t two = 2;
    mien_binding in[2] = {bind("x", MIEN_F32, 1, PB_DIMS(4), data), bind("k", MIEN_I64, 1, PB_DIMS(1), &two)};
    mien_binding out = {.name = "best"};
    run(s, in, dynamic ? 2 : 1, &out, 1);
    const int64_t *got = out.tensor.data;
    assert_true(out.tensor.type.dim[0] == 2 && got[0] == 1 && got[1] == 3);
    mien_session_destroy(s);
    mien_plan_close(plan);
  }
}

/* A constant is packed once a plan, whatever the number of sessions and of shapes. */
static void packings_are_shared(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  static float weights[64 * 32];
  for (int i = 0; i < 64 * 32; i++) weights[i] = (float)(i % 5);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(-1, 64));
  uint32_t w = pb_constant(&b, MIEN_F32, 2, PB_DIMS(64, 32), weights);
  pb_output(&b, "y", pb_node(&b, "MatMul", 13, PB_IDS(x, w)), MIEN_F32, 2, PB_DIMS(-1, 32));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  mien_session *s[2] = {open_session(plan, 1), open_session(plan, 1)};
  static float data[5 * 64];
  for (int i = 0; i < 5 * 64; i++) data[i] = 1;
  size_t packed = 0;
  for (int64_t n = 1; n <= 5; n++)
    for (int i = 0; i < 2; i++) {
      mien_binding in = bind("x", MIEN_F32, 2, PB_DIMS(n, 64), data), out = {.name = "y"};
      run(s[i], &in, 1, &out, 1);
      float sum = 0;
      for (int k = 0; k < 64; k++) sum += weights[k * 32 + 31];
      assert_true(((float *)out.tensor.data)[n * 32 - 1] == sum);
      mien_session_info info;
      mien_session_get_info(s[i], &info);
      if (packed == 0) packed = info.packed_bytes;
      assert_int_equal(info.packed_bytes, packed);
    }
  assert_true(packed >= sizeof weights);
  mien_session_destroy(s[0]);
  mien_session_destroy(s[1]);
  mien_plan_close(plan);
}

/* Threads that wait for a node's end fetch what is read next: weights as they are packed, of the next node that has as many. */
static void weights_that_come_next(void **state) {
  (void)state;
  enum { K = 64, N = 96 };
  static float first[K * N], second[N * K], packed[N * 128];
  for (int i = 0; i < K * N; i++) {
    first[i] = (float)(i % 11);
    second[i] = (float)(i % 13);
  }
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(5, K));
  uint32_t w = pb_constant(&b, MIEN_F32, 2, PB_DIMS(K, N), first),
           v = pb_constant(&b, MIEN_F32, 2, PB_DIMS(N, K), second);
  uint32_t c = pb_constant(&b, MIEN_F32, 1, PB_DIMS(N), first);
  uint32_t y = pb_node(&b, "MatMul", 13, PB_IDS(pb_node(&b, "Relu", 14, PB_IDS(x)), w));
  y = pb_node(&b, "MatMul", 13, PB_IDS(pb_node(&b, "Add", 14, PB_IDS(y, c)), v));
  pb_output(&b, "y", pb_node(&b, "Neg", 13, PB_IDS(y)), MIEN_F32, 2, PB_DIMS(5, K));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  mien_session *s = open_session(plan, 2);
  const mien_math *math = env->host.math;
  const mien_node *nodes = s->layouts->nodes; /* Relu, MatMul, Add, MatMul, Neg */
  const size_t bytes = math->gemm_pack_bytes(N, K);
  assert_true(bytes <= sizeof packed);
  assert_int_equal(nodes[0].ahead.bytes, math->gemm_pack_bytes(K, N));
  assert_int_equal(nodes[1].ahead.bytes, bytes);
  math->gemm_pack(N, K, second, K, 1, packed);
  assert_memory_equal(nodes[1].ahead.data, packed, bytes);
  assert_ptr_equal(nodes[2].ahead.data, nodes[1].ahead.data);
  assert_null(nodes[3].ahead.data);
  assert_null(nodes[4].ahead.data);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* Depth and number of instructions cost neither stack nor quadratic time. */
static void a_hundred_thousand_instructions(void **state) {
  (void)state;
  enum { COUNT = MIEN_TEST_ASAN ? 10000 : 100000 }; /* ASan takes minutes for the whole of it on a busy machine */
  pb b;
  pb_init(&b);
  uint32_t op = pb_operator(&b, "", "Neg", 13), add = pb_operator(&b, "", "Add", 14);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(2)), first = 0, last = x;
  b.program.n_values = 1 + COUNT;
  Mien__Plan__Value **values = pb_alloc(&b, (1 + COUNT) * sizeof *values);
  for (int i = 0; i <= COUNT; i++) values[i] = b.program.values[0];
  b.program.values = values;
  b.program.instructions = pb_alloc(&b, COUNT * sizeof(void *));
  for (uint32_t i = 0; i < COUNT; i++) {
    uint32_t out = i + 2;
    if (i == 0) first = out;
    b.program.instructions[b.program.n_instructions++] =
        i % 3 == 2 ? pb_instruction(&b, add, "a", PB_IDS(last, first), PB_IDS(out))
                   : pb_instruction(&b, op, "n", PB_IDS(last), PB_IDS(out));
    last = out;
  }
  pb_output(&b, "y", last, MIEN_F32, 1, PB_DIMS(2));
  mien_plan *plan = open_plan(&b);
  mien_session *s = open_session(plan, 1);
  float data[2] = {1, 0}, want = 1, start = -1;
  for (int i = 0; i < COUNT; i++) want = i % 3 == 2 ? want + start : -want;
  mien_binding in = bind("x", MIEN_F32, 1, PB_DIMS(2), data), out = {.name = "y"};
  run(s, &in, 1, &out, 1);
  assert_true(((float *)out.tensor.data)[0] == want);
  mien_session_info info;
  mien_session_get_info(s, &info);
  assert_int_equal(info.arena_bytes, 128);
  mien_session_destroy(s);
  mien_plan_close(plan);
  pb_free(&b);
}

/* ---- keep */

static void kept_values_are_read_by_name(void **state) {
  (void)state;
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 1, PB_DIMS(2));
  uint32_t c = pb_constant(&b, MIEN_F32, 1, PB_DIMS(2), (const float[]){3, 4});
  uint32_t h = pb_node(&b, "Neg", 13, PB_IDS(x));
  uint32_t y = pb_node(&b, "Relu", 14, PB_IDS(h));
  pb_output(&b, "y", y, MIEN_F32, 1, PB_DIMS(2));
  pb_name(&b, h, "hidden", NULL);
  pb_name(&b, c, "weights", NULL);
  pb_name(&b, 0, "gone", "Conv_3");
  pb_name(&b, pb_value(&b), "inner", NULL);
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  mien_session *s = open_session(plan, 1);
  float data[2] = {1, -2};
  mien_binding in = bind("x", MIEN_F32, 1, PB_DIMS(2), data);
  mien_binding out[4] = {{.name = "hidden"}, {.name = "y"}, {.name = "weights"}, {.name = "x"}};
  run_fails(s, &in, 1, out, 1, MIEN_INVALID_ARGUMENT, "'hidden' is no output of the plan and no kept value");
  assert_int_equal(mien_session_keep(s, (const char *const[]){"hidden", "weights", "x"}, 3, NULL), MIEN_OK);
  run(s, &in, 1, out, 4);
  const float *hidden = out[0].tensor.data, *result = out[1].tensor.data, *weights = out[2].tensor.data;
  assert_true(hidden[0] == -1 && hidden[1] == 2 && result[0] == 0 && result[1] == 2 && weights[1] == 4);
  mien_error error = {0};
  assert_int_equal(mien_session_keep(s, (const char *const[]){"gone"}, 1, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "it went into 'Conv_3'"));
  assert_int_equal(mien_session_keep(s, (const char *const[]){"inner"}, 1, &error), MIEN_INVALID_ARGUMENT);
  assert_int_equal(mien_session_keep(s, (const char *const[]){"nothing"}, 1, &error), MIEN_INVALID_ARGUMENT);
  assert_non_null(strstr(error.message, "knows no value 'nothing'"));
  for (int i = 0; i < 4; i++) out[i].tensor.data = NULL;
  run(s, &in, 1, out, 4); /* a refused call changes nothing */
  assert_int_equal(mien_session_keep(s, NULL, 0, NULL), MIEN_OK);
  run_fails(s, &in, 1, out, 1, MIEN_INVALID_ARGUMENT, "no kept value");
  mien_session_destroy(s);
  mien_plan_close(plan);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(outputs_in_memory_of_caller_and_session),
                                     cmocka_unit_test(wrong_bindings_are_named),
                                     cmocka_unit_test(closing_in_any_order),
                                     cmocka_unit_test(outputs_that_are_inputs_constants_or_twice),
                                     cmocka_unit_test(random_graphs_match_a_plain_evaluation),
                                     cmocka_unit_test(in_place_saves_memory),
                                     cmocka_unit_test(shape_arithmetic_over_many_batches),
                                     cmocka_unit_test(equal_names_are_equal_sizes),
                                     cmocka_unit_test(sizes_that_depend_on_data),
                                     cmocka_unit_test(outputs_that_nobody_reads),
                                     cmocka_unit_test(packings_are_shared),
                                     cmocka_unit_test(weights_that_come_next),
                                     cmocka_unit_test(a_hundred_thousand_instructions),
                                     cmocka_unit_test(kept_values_are_read_by_name)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
