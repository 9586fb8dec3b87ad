/* What a session tells its observer, what it says of its nodes and places, and that neither changes a run. */
#include "session_test.h"

#include <stdio.h>

enum { ROWS = 96, COLUMNS = 200, DEPTH = 64, MOST = 4096, THREADS = 3 };

/* Events by the thread that they came on: each is written by that thread alone. */
typedef struct record {
  mien_event events[THREADS][MOST];
  size_t count[THREADS];
  atomic_int strange;
} record;

static void listen(void *context, const mien_event *e) {
  record *r = context;
  if (e->thread < 0 || e->thread >= THREADS || r->count[e->thread] == MOST)
    atomic_fetch_add(&r->strange, 1);
  else
    r->events[e->thread][r->count[e->thread]++] = *e;
}

/* m = a b, y = Relu(m + c): a product of many items, then two elementwise nodes, the second in place. */
static mien_plan *product_plan(const float *b_data) {
  pb b;
  pb_init(&b);
  uint32_t a = pb_input(&b, "a", MIEN_F32, 2, PB_DIMS(ROWS, DEPTH));
  uint32_t w = pb_constant(&b, MIEN_F32, 2, PB_DIMS(DEPTH, COLUMNS), b_data);
  uint32_t m = pb_node(&b, "MatMul", 13, PB_IDS(a, w));
  uint32_t y = pb_node(&b, "Relu", 14, PB_IDS(pb_node(&b, "Add", 14, PB_IDS(m, m))));
  pb_output(&b, "y", y, MIEN_F32, 2, PB_DIMS(ROWS, COLUMNS));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  return plan;
}

static float a_data[ROWS * DEPTH], b_data[DEPTH * COLUMNS], plain[ROWS * COLUMNS], observed[ROWS * COLUMNS];

static void fill(void) {
  for (int i = 0; i < ROWS * DEPTH; i++) a_data[i] = (float)(i % 13) - 6;
  for (int i = 0; i < DEPTH * COLUMNS; i++) b_data[i] = (float)(i % 7) / 8 - 0.3f;
}

static void run_product(mien_session *s, float *y) {
  mien_binding in = bind("a", MIEN_F32, 2, PB_DIMS(ROWS, DEPTH), a_data);
  mien_binding out = bind("y", MIEN_F32, 2, PB_DIMS(ROWS, COLUMNS), y);
  run(s, &in, 1, &out, 1);
}

static void observe(mien_session *s, record *r) {
  mien_error error = {0};
  if (mien_session_observe(s, r ? listen : NULL, r, &error) != MIEN_OK) fail_msg("%s", error.message);
}

/* Every begin has its end, in order; what holds what; time does not go back. */
static void check_nesting(const record *r, int threads) {
  assert_int_equal(r->strange, 0);
  for (int t = 0; t < threads; t++) {
    const mien_event *open[4];
    int depth = 0;
    for (size_t i = 0; i < r->count[t]; i++) {
      const mien_event *e = &r->events[t][i];
      if (i) assert_true(e->time_ns >= e[-1].time_ns);
      if (e->end) {
        assert_true(depth > 0);
        const mien_event *b = open[--depth];
        assert_true(b->kind == e->kind && b->first == e->first && b->last == e->last && b->phase == e->phase);
        assert_true(e->kind == MIEN_EVENT_RUN || b->node == e->node);
        continue;
      }
      assert_true(depth < 4);
      if (t > 0)
        assert_int_equal(e->kind, MIEN_EVENT_WORK);
      else
        assert_int_equal(e->kind, depth);
      open[depth++] = e;
    }
    assert_int_equal(depth, 0);
  }
}

/* Items of every phase of a node: each once, by whichever thread. Returns the phases. */
static uint32_t check_items(const record *r, int threads, uint32_t node) {
  uint32_t phases = 0;
  for (size_t i = 0; i < r->count[0]; i++) {
    const mien_event *p = &r->events[0][i];
    if (p->kind != MIEN_EVENT_PHASE || p->end || p->node != node) continue;
    assert_int_equal(p->phase, phases++);
    assert_true(p->first == 0 && p->last > 0);
    uint8_t *done = calloc((size_t)p->last, 1);
    assert_non_null(done);
    for (int t = 0; t < threads; t++)
      for (size_t k = 0; k < r->count[t]; k++) {
        const mien_event *e = &r->events[t][k];
        if (e->kind != MIEN_EVENT_WORK || e->end || e->node != node || e->phase != p->phase) continue;
        assert_true(e->first >= 0 && e->first < e->last && e->last <= p->last);
        for (int64_t item = e->first; item < e->last; item++) assert_int_equal(done[item]++, 0);
      }
    for (int64_t item = 0; item < p->last; item++) assert_int_equal(done[item], 1);
    free(done);
  }
  return phases;
}

static void a_run_is_told_and_not_changed(void **state) {
  (void)state;
  static record r;
  fill();
  mien_plan *plan = product_plan(b_data);
  for (int threads = 1; threads <= THREADS; threads++) {
    mien_session *s = open_session(plan, threads);
    run_product(s, plain);
    for (int repeat = 0; repeat < 20; repeat++) {
      memset(&r, 0, sizeof r);
      observe(s, &r);
      run_product(s, observed);
      assert_memory_equal(plain, observed, sizeof plain);
      check_nesting(&r, threads);
      for (uint32_t node = 0; node < 3; node++) assert_int_equal(check_items(&r, threads, node), 1);
    }
    observe(s, NULL);
    memset(&r, 0, sizeof r);
    run_product(s, observed);
    for (int t = 0; t < THREADS; t++) assert_int_equal(r.count[t], 0);
    mien_session_destroy(s);
  }
  mien_plan_close(plan);
}

/* An index outside the table: the run fails in the middle. */
static void a_failing_run_ends_what_it_began(void **state) {
  (void)state;
  static record r;
  pb b;
  pb_init(&b);
  uint32_t table = pb_constant(&b, MIEN_F32, 1, PB_DIMS(3), (const float[]){1, 2, 3});
  uint32_t index = pb_input(&b, "i", MIEN_I64, 1, PB_DIMS(2));
  pb_output(&b, "y", pb_node(&b, "Neg", 13, PB_IDS(pb_node(&b, "Gather", 13, PB_IDS(table, index)))), MIEN_F32, 1,
            PB_DIMS(2));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  for (int threads = 1; threads <= THREADS; threads++) {
    mien_session *s = open_session(plan, threads);
    int64_t i[2] = {0, 7};
    mien_binding in = bind("i", MIEN_I64, 1, PB_DIMS(2), i), out = {.name = "y"};
    memset(&r, 0, sizeof r);
    observe(s, &r);
    run_fails(s, &in, 1, &out, 1, MIEN_INVALID_ARGUMENT, "index");
    check_nesting(&r, threads);
    for (size_t k = 0; k < r.count[0]; k++) assert_true(r.events[0][k].node == 0);
    assert_true(r.count[0] >= 4);
    mien_session_destroy(s);
  }
  mien_plan_close(plan);
}

/* ---- no memory is taken in later runs */

static atomic_long allocations;

static void *counting_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  (void)context, (void)old_size;
  if (new_size == 0) {
    free(pointer);
    return NULL;
  }
  atomic_fetch_add(&allocations, 1);
  return realloc(pointer, new_size);
}

static void observing_takes_no_memory(void **state) {
  (void)state;
  static record r;
  mien_env *saved = env;
  assert_int_equal(mien_env_create(&(mien_env_options){.alloc = counting_alloc}, &env, NULL), MIEN_OK);
  fill();
  mien_plan *plan = product_plan(b_data);
  mien_session *s = open_session(plan, 2);
  run_product(s, plain);
  long before = allocations;
  run_product(s, plain);
  long unobserved = allocations - before;
  observe(s, &r);
  before = allocations;
  run_product(s, observed);
  assert_int_equal(allocations - before, unobserved);
  mien_session_destroy(s);
  mien_plan_close(plan);
  mien_env_destroy(env);
  env = saved;
}

/* ---- nodes and places */

static void nodes_are_described(void **state) {
  (void)state;
  fill();
  mien_plan *plan = product_plan(b_data);
  mien_session *s = open_session(plan, 2);
  mien_node_info info[3];
  assert_int_equal(mien_session_node_count(s), 3);
  for (size_t i = 0; i < 3; i++) assert_int_equal(mien_session_node(s, i, &info[i]), MIEN_OK);
  assert_int_equal(mien_session_node(s, 3, &info[0]), MIEN_INVALID_ARGUMENT);
  assert_string_equal(info[0].op, "MatMul");
  assert_string_equal(info[0].domain, "ai.onnx");
  assert_int_equal(strncmp(info[0].kernel, "gemm ", 5), 0);
  assert_true(info[0].runs && info[0].items > 0);
  assert_true(info[0].flops == 2.0 * ROWS * COLUMNS * DEPTH);
  /* The packed matrix has at least the columns of the plain one, and less than a panel of 64 more. */
  const double least = 4.0 * (ROWS * DEPTH + DEPTH * COLUMNS + ROWS * COLUMNS);
  assert_true(info[0].bytes >= least && info[0].bytes <= least + 4.0 * DEPTH * 64);
  assert_true(info[0].type.rank == 2 && info[0].type.dim[0] == ROWS && info[0].type.dim[1] == COLUMNS);
  assert_string_equal(info[1].kernel, "loop");
  assert_true(info[1].bytes == 3 * 4.0 * ROWS * COLUMNS && info[1].flops == 0);
  assert_true(info[2].bytes == 2 * 4.0 * ROWS * COLUMNS);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

/* Sizes that are open until the first run; views and shape arithmetic that never run. */
static void nodes_follow_the_sizes(void **state) {
  (void)state;
  mien_plan *plan = batch_plan();
  mien_session *s = open_session(plan, 1);
  mien_node_info info;
  size_t count = 0, runs = 0;
  assert_int_equal(mien_session_places(s, NULL, &count), MIEN_OK);
  assert_int_equal(count, 0);
  assert_int_equal(mien_session_node(s, 0, &info), MIEN_OK);
  assert_false(info.runs);
  for (int64_t batch = 1; batch <= 3; batch++) {
    float x[18] = {0};
    mien_binding in = bind("x", MIEN_F32, 3, PB_DIMS(batch, 2, 3), x), out = {.name = "y"};
    run(s, &in, 1, &out, 1);
    runs = 0;
    for (size_t i = 0; i < mien_session_node_count(s); i++) {
      assert_int_equal(mien_session_node(s, i, &info), MIEN_OK);
      runs += info.runs;
      if (!info.runs) continue;
      assert_string_equal(info.op, "Relu");
      assert_int_equal(info.type.dim[0], batch);
      assert_true(info.bytes == 2 * 24.0 * (double)batch);
    }
    assert_int_equal(runs, 1);
  }
  mien_session_destroy(s);
  mien_plan_close(plan);
}

static void places_do_not_collide(void **state) {
  (void)state;
  fill();
  mien_plan *plan = product_plan(b_data);
  mien_session *s = open_session(plan, 1);
  mien_session_info info;
  mien_place places[8];
  size_t count = 0;
  mien_session_get_info(s, &info);
  assert_int_equal(mien_session_places(s, NULL, &count), MIEN_OK);
  assert_int_equal(count, 1); /* m, which all others are computed in the place of */
  count = 8;
  assert_int_equal(mien_session_places(s, places, &count), MIEN_OK);
  assert_int_equal(places[0].bytes, ROWS * COLUMNS * sizeof(float));
  assert_true(places[0].first == 0 && places[0].last == 3); /* y is an output: to the end */
  assert_true(places[0].offset + places[0].bytes <= info.arena_bytes);
  mien_session_destroy(s);
  mien_plan_close(plan);

  plan = small_plan(); /* y is read by z: two places */
  s = open_session(plan, 1);
  count = 8;
  mien_session_get_info(s, &info);
  assert_int_equal(mien_session_places(s, places, &count), MIEN_OK);
  assert_int_equal(count, 2);
  for (size_t i = 0; i < 2; i++) assert_true(places[i].bytes == 24 && places[i].offset + 24 <= info.arena_bytes);
  assert_true(places[0].offset + 24 <= places[1].offset || places[1].offset + 24 <= places[0].offset);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

static void the_peak_is_a_rate(void **state) {
  (void)state;
  mien_plan *plan = small_plan();
  for (int threads = 1; threads <= 2; threads++) {
    mien_session *s = open_session(plan, threads);
    double peak = 0;
    assert_int_equal(mien_session_peak(s, &peak, NULL), MIEN_OK);
    assert_true(peak > 1e7 && peak < 1e13); /* emulators are slow; no processor of today does 10 TFLOP/s on two cores */
    mien_session_destroy(s);
  }
  mien_plan_close(plan);
  assert_int_equal(mien_session_peak(NULL, NULL, NULL), MIEN_INVALID_ARGUMENT);
  assert_int_equal(mien_session_observe(NULL, NULL, NULL, NULL), MIEN_INVALID_ARGUMENT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_run_is_told_and_not_changed),
      cmocka_unit_test(a_failing_run_ends_what_it_began),
      cmocka_unit_test(observing_takes_no_memory),
      cmocka_unit_test(nodes_are_described),
      cmocka_unit_test(nodes_follow_the_sizes),
      cmocka_unit_test(places_do_not_collide),
      cmocka_unit_test(the_peak_is_a_rate),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
