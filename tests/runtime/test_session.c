/* Sessions over plans built by hand: bindings, memory sharing, sizes, errors. */
#include "plan_builder.h"
#include "sanitizer.h"
#include "session.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static mien_env *env;

static int setup(void **state) {
  (void)state;
  return mien_env_create(NULL, &env, NULL) != MIEN_OK;
}

static int teardown(void **state) {
  (void)state;
  mien_env_destroy(env);
  return 0;
}

static mien_plan *open_plan(const pb *b) {
  mien_plan *plan = NULL;
  mien_error error = {0};
  if (pb_open(b, env, 0, &plan, &error) != MIEN_OK) fail_msg("%s", error.message);
  return plan;
}

static mien_session *open_session(mien_plan *plan, int threads) {
  mien_session *session = NULL;
  mien_error error = {0};
  if (mien_session_create(plan, &(mien_session_options){.threads = threads}, &session, &error) != MIEN_OK)
    fail_msg("%s", error.message);
  return session;
}

static mien_binding bind(const char *name, int32_t dtype, int rank, const int64_t *dims, void *data) {
  mien_binding b = {.name = name, .tensor = {.type = {.dtype = dtype, .rank = rank}, .data = data}};
  b.tensor.bytes = mien_dtype_bytes(dtype);
  for (int d = 0; d < rank; d++) {
    b.tensor.type.dim[d] = dims[d];
    b.tensor.bytes *= (size_t)dims[d];
  }
  return b;
}

static void run(mien_session *s, const mien_binding *in, size_t in_count, mien_binding *out, size_t out_count) {
  mien_error error = {0};
  if (mien_session_run(s, in, in_count, out, out_count, &error) != MIEN_OK) fail_msg("%s", error.message);
}

static void run_fails(mien_session *s, const mien_binding *in, size_t in_count, mien_binding *out, size_t out_count,
                      mien_status expected, const char *text) {
  mien_error error = {0};
  assert_int_equal(mien_session_run(s, in, in_count, out, out_count, &error), expected);
  if (!strstr(error.message, text)) fail_msg("'%s' lacks '%s'", error.message, text);
}

/* ---- bindings */

/* y = Relu(x + c), z = -y */
static mien_plan *small_plan(void) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(2, 3));
  uint32_t c = pb_constant(&b, MIEN_F32, 1, PB_DIMS(3), (const float[]){1, 0, -1});
  uint32_t y = pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Add", 14, PB_IDS(x, c))));
  pb_output(&b, "y", y, MIEN_F32, 2, PB_DIMS(2, 3));
  pb_output(&b, "z", pb_node(&b, "Neg", 13, PB_IDS(y)), MIEN_F32, 2, PB_DIMS(2, 3));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

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

/* y = Reshape(x, Concat(Shape(x)[0:1], [-1])) + x flattened: shape arithmetic over a symbolic batch. */
static mien_plan *batch_plan(void) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 3, PB_DIMS(-1, 2, 3));
  uint32_t zero = pb_constant(&b, MIEN_I64, 1, PB_DIMS(1), (const int64_t[]){0});
  uint32_t open = pb_constant(&b, MIEN_I64, 1, PB_DIMS(1), (const int64_t[]){-1});
  uint32_t batch = pb_node(&b, "Gather", 13, PB_IDS(pb_node(&b, "Shape", 13, PB_IDS(x)), zero));
  uint32_t shape = pb_node(&b, "Concat", 13, PB_IDS(batch, open));
  pb_attribute(&b, pb_last(&b), "axis", 'i');
  uint32_t y = pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Reshape", 14, PB_IDS(x, shape))));
  pb_output(&b, "y", y, MIEN_F32, 2, PB_DIMS(-1, 6));
  pb_output(&b, "shape", shape, MIEN_I64, 1, PB_DIMS(2));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

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

/* ---- golden values */

static mien_plan *golden_plan(double expected, double tolerance) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(-1, 4));
  uint32_t h = pb_node(&b, "Neg", 13, PB_IDS(x));
  pb_output(&b, "y", pb_node(&b, "Relu", 14, PB_IDS(h)), MIEN_F32, 2, PB_DIMS(-1, 4));
  pb_name(&b, h, "hidden", NULL);
  Mien__Plan__GoldenInput *in = PB_NEW(&b, Mien__Plan__GoldenInput, MIEN__PLAN__GOLDEN_INPUT__INIT);
  in->name = pb_text(&b, "x");
  in->type = pb_type(&b, MIEN_F32, 2, PB_DIMS(2, 4));
  in->seed = UINT64_C(0x0123456789abcdef);
  pb_push(&b, &b.check.inputs, &b.check.n_inputs, in);
  float data[8];
  mien_tensor t = {.type = {.dtype = MIEN_F32, .rank = 1, .dim = {8}}, .data = data, .bytes = sizeof data};
  assert_int_equal(mien__golden_fill(in->seed, 0, &t, NULL), MIEN_OK);
  for (int i = 0; i < 2; i++) {
    Mien__Plan__GoldenValue *v = PB_NEW(&b, Mien__Plan__GoldenValue, MIEN__PLAN__GOLDEN_VALUE__INIT);
    v->name = pb_text(&b, i ? "hidden" : "y");
    v->output = !i;
    v->type = pb_type(&b, MIEN_F32, 2, PB_DIMS(2, 4));
    v->n_index = v->n_expected = 2;
    v->index = memcpy(pb_alloc(&b, 16), (const uint64_t[]){0, 7}, 16);
    v->expected = pb_alloc(&b, 16);
    v->tolerance = tolerance;
    for (int k = 0; k < 2; k++) {
      double h_value = -(double)data[k ? 7 : 0];
      v->expected[k] = i ? h_value + expected : h_value > 0 ? h_value : 0;
    }
    pb_push(&b, &b.check.values, &b.check.n_values, v);
  }
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

static void golden_values_are_compared(void **state) {
  (void)state;
  mien_plan *plan = golden_plan(0, 0);
  mien_session *s = open_session(plan, 2);
  mien_check_row rows[3];
  size_t count = 3;
  assert_int_equal(mien_session_check(s, rows, &count, NULL), MIEN_OK);
  assert_int_equal(count, 2);
  assert_string_equal(rows[0].name, "y");
  assert_true(rows[0].good && rows[1].good && rows[1].max_abs == 0);
  count = 0;
  assert_int_equal(mien_session_check(s, NULL, &count, NULL), MIEN_OK);
  assert_int_equal(count, 2);
  mien_session_destroy(s);
  mien_plan_close(plan);
  mien_error error = {0};
  plan = golden_plan(0.5, 0.25);
  s = open_session(plan, 1);
  count = 3;
  assert_int_equal(mien_session_check(s, rows, &count, &error), MIEN_MISMATCH);
  assert_non_null(strstr(error.message, "'hidden' differs by 0.5"));
  assert_true(count == 2 && rows[0].good && !rows[1].good && fabs(rows[1].max_abs - 0.5) < 1e-6);
  mien_session_destroy(s);
  mien_plan_close(plan);
  plan = golden_plan(0.2, 0.25);
  s = open_session(plan, 1);
  assert_int_equal(mien_session_check(s, rows, &count, NULL), MIEN_OK);
  mien_session_destroy(s);
  mien_plan_close(plan);
  plan = golden_plan((double)NAN, 1);
  s = open_session(plan, 1);
  assert_int_equal(mien_session_check(s, rows, &count, NULL), MIEN_MISMATCH);
  mien_session_destroy(s);
  mien_plan_close(plan);
  plan = small_plan();
  s = open_session(plan, 1);
  assert_int_equal(mien_session_check(s, rows, &count, &error), MIEN_UNSUPPORTED);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* ---- threads, processes, memory */

static void *run_own_session(void *context) {
  mien_plan *plan = context;
  mien_session *s = NULL;
  if (mien_session_create(plan, &(mien_session_options){.threads = 2}, &s, NULL) != MIEN_OK) return "create";
  static float x[64 * 6];
  float y[64 * 6];
  void *bad = NULL;
  for (int64_t n = 1; n < 60 && !bad; n++) {
    mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(n, 2, 3), x), out = bind("y", MIEN_F32, 2, PB_DIMS(n, 6), y);
    memset(y, 0x7f, sizeof y);
    if (mien_session_run(s, &in, 1, &out, 1, NULL) != MIEN_OK) bad = "run";
    for (int64_t i = 0; i < n * 6; i++)
      if (y[i] != 0) bad = "result";
    if (!strstr(mien_plan_json(plan), "\"inputs\"")) bad = "json";
  }
  mien_session_destroy(s);
  return bad;
}

static void four_sessions_on_one_plan(void **state) {
  (void)state;
  mien_plan *plan = batch_plan();
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, run_own_session, plan), 0);
  for (int i = 0; i < 4; i++) {
    void *bad;
    pthread_join(threads[i], &bad);
    if (bad) fail_msg("%s", (char *)bad);
  }
  mien_plan_close(plan);
}

static void a_forked_child_is_told(void **state) {
  (void)state;
  if (MIEN_TEST_TSAN) skip(); /* cannot start threads after a fork */
  mien_plan *plan = small_plan();
  mien_session *s = open_session(plan, 2);
  float x[6] = {0};
  mien_binding in = bind("x", MIEN_F32, 2, PB_DIMS(2, 3), x), out = {.name = "y"};
  run(s, &in, 1, &out, 1);
  pid_t child = fork();
  if (child == 0) {
    alarm(20);
    mien_error error = {0};
    bool good = mien_session_run(s, &in, 1, &out, 1, &error) == MIEN_INVALID_ARGUMENT && strstr(error.message, "fork");
    mien_session *own = NULL;
    good = good && mien_session_create(plan, &(mien_session_options){.threads = 2}, &own, NULL) == MIEN_OK;
    out.tensor.data = NULL;
    good = good && mien_session_run(own, &in, 1, &out, 1, NULL) == MIEN_OK;
    mien_session_destroy(own);
    mien_session_destroy(s);
    _exit(good ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  out.tensor.data = NULL;
  run(s, &in, 1, &out, 1);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

typedef struct {
  long left, alive; /* allocations until one fails; -1: never */
  bool once, refused;
} counter;

static void *counting_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  counter *c = context;
  (void)old_size;
  if (new_size == 0) {
    c->alive -= pointer != NULL;
    free(pointer);
    return NULL;
  }
  if (c->left == 0) {
    if (c->once) c->left = -1;
    c->refused = true;
    return NULL;
  }
  if (c->left > 0) c->left--;
  c->alive += pointer == NULL;
  return realloc(pointer, new_size);
}

/* Open, create, keep, run on known and on data-dependent sizes, check, JSON. */
static mien_status whole_life(mien_env *own, const uint8_t *file, size_t size, const uint8_t *other,
                              size_t other_size) {
  static float x[12] = {1, 0, 2};
  static int64_t shape[2] = {2, 3};
  mien_plan *plan = NULL;
  mien_session *s = NULL;
  mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(2, 2, 3), x), out[2] = {{.name = "y"}, {.name = "shape"}};
  mien_status status = mien_plan_open_memory(own, file, size, 0, &plan, NULL);
  if (status == MIEN_OK) status = mien_session_create(plan, &(mien_session_options){.threads = 2}, &s, NULL);
  if (status == MIEN_OK) status = mien_session_run(s, &in, 1, out, 2, NULL);
  if (status == MIEN_OK) status = mien_session_keep(s, (const char *const[]){"x"}, 1, NULL);
  if (status == MIEN_OK) status = mien_session_run(s, &in, 1, out, 2, NULL);
  mien_session_destroy(s);
  mien_plan_close(plan);
  if (status != MIEN_OK) return status;
  plan = NULL;
  s = NULL;
  mien_binding dynamic_in[2] = {bind("x", MIEN_F32, 1, PB_DIMS(6), x), bind("shape", MIEN_I64, 1, PB_DIMS(2), shape)};
  out[0] = (mien_binding){.name = "twice"};
  out[1] = (mien_binding){.name = "reshaped"};
  status = mien_plan_open_memory(own, other, other_size, 0, &plan, NULL);
  if (status == MIEN_OK) status = mien_session_create(plan, &(mien_session_options){.threads = 1}, &s, NULL);
  if (status == MIEN_OK) status = mien_session_run(s, dynamic_in, 2, out, 2, NULL);
  mien_session_destroy(s);
  mien_plan_close(plan);
  return status;
}

static void every_failing_allocation_is_reported(void **state) {
  (void)state;
  pb b, d;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 3, PB_DIMS(-1, 2, 3));
  uint32_t shape = pb_node(&b, "Shape", 13, PB_IDS(x));
  pb_output(&b, "y", pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Reshape", 14, PB_IDS(x, shape)))), MIEN_F32, 3,
            PB_DIMS(-1, 2, 3));
  pb_output(&b, "shape", shape, MIEN_I64, 1, PB_DIMS(3));
  pb_init(&d);
  uint32_t dx = pb_input(&d, "x", MIEN_F32, 1, PB_DIMS(6)), ds = pb_input(&d, "shape", MIEN_I64, 1, PB_DIMS(2));
  uint32_t found = pb_node(&d, "NonZero", 13, PB_IDS(dx));
  pb_output(&d, "twice", pb_node(&d, "Add", 14, PB_IDS(found, found)), MIEN_I64, 2, PB_DIMS(1, -1));
  pb_output(&d, "reshaped", pb_node(&d, "Reshape", 14, PB_IDS(dx, ds)), MIEN_F32, 2, PB_DIMS(-1, -1));
  size_t size, other_size;
  uint8_t *file = pb_pack(&b, &size), *other = pb_pack(&d, &other_size);
  counter c = {.left = -1};
  mien_env *own;
  assert_int_equal(mien_env_create(&(mien_env_options){.alloc = counting_alloc, .alloc_context = &c}, &own, NULL),
                   MIEN_OK);
  long before = c.alive;
  assert_int_equal(whole_life(own, file, size, other, other_size), MIEN_OK);
  assert_int_equal(c.alive, before);
  for (int once = 0; once < 2; once++) {
    long k = 0;
    do {
      c = (counter){.left = k, .alive = before, .once = once};
      mien_status status = whole_life(own, file, size, other, other_size);
      assert_int_equal(status, c.refused ? MIEN_NO_MEMORY : MIEN_OK);
      assert_int_equal(c.alive, before);
    } while (c.refused && ++k < 5000);
    assert_true(k > 40 && k < 5000);
    c.left = -1;
  }
  assert_int_equal(whole_life(own, file, size, other, other_size), MIEN_OK);
  mien_env_destroy(own);
  free(file);
  free(other);
  pb_free(&b);
  pb_free(&d);
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
                                     cmocka_unit_test(kept_values_are_read_by_name),
                                     cmocka_unit_test(golden_values_are_compared),
                                     cmocka_unit_test(four_sessions_on_one_plan),
                                     cmocka_unit_test(a_forked_child_is_told),
                                     cmocka_unit_test(every_failing_allocation_is_reported)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
