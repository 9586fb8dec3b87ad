/* Values that share bytes: cuts of a value as views, values computed where they are joined, in place. Random graphs against a plain
** evaluation, with outputs inside, and the memory that single graphs need. */
#include "session_test.h"

#include <stdio.h>

enum { NODES = 40, MOST = 24 };

typedef struct value {
  uint32_t id;
  int count;
  float data[MOST];
} value;

static uint32_t next(uint64_t *seed) {
  *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return (uint32_t)(*seed >> 33);
}
static int pick(uint64_t *seed, int below) { return (int)(next(seed) % (uint32_t)below); }

static uint32_t number_of(pb *b, int64_t number) { return pb_constant(b, MIEN_I64, 1, PB_DIMS(1), &number); }

static void add_slice(pb *b, uint64_t *seed, const value *p, value *y) {
  const int first = pick(seed, p->count + 1), last = first + pick(seed, p->count - first + 1);
  y->id = pb_node(b, "Slice", 13, PB_IDS(p->id, number_of(b, first), number_of(b, last), number_of(b, 0)));
  y->count = last - first;
  memcpy(y->data, p->data + first, (size_t)y->count * sizeof(float));
}

/* Three outputs, the second of which nobody may read. */
static void add_split(pb *b, uint64_t *seed, const value *p, value *y) {
  const int first = pick(seed, p->count + 1), second = pick(seed, p->count - first + 1);
  const int64_t sizes[3] = {first, second, p->count - first - second};
  const uint32_t in[2] = {p->id, pb_constant(b, MIEN_I64, 1, PB_DIMS(3), sizes)};
  uint32_t out[3] = {pb_value(b), pb_value(b), pb_value(b)};
  pb_append(b, pb_instruction(b, pb_operator(b, "", "Split", 13), "split", in, 2, out, 3));
  pb_attribute(b, pb_last(b), "axis", 'i');
  for (int i = 0, at = 0; i < 3; at += (int)sizes[i++]) {
    y[i].id = out[i];
    y[i].count = (int)sizes[i];
    memcpy(y[i].data, p->data + at, (size_t)sizes[i] * sizeof(float));
  }
}

/* Of recent values, perhaps one twice, inputs and constants too. False where they are too many elements. */
static bool add_concat(pb *b, uint64_t *seed, const value *values, int count, value *y) {
  const value *part[3];
  const int parts = 1 + pick(seed, 3);
  uint32_t in[3];
  y->count = 0;
  for (int i = 0; i < parts; i++) {
    part[i] = &values[count - 1 - pick(seed, pick(seed, 3) ? (count < 5 ? count : 5) : count)];
    if (y->count + part[i]->count > MOST) return false;
    memcpy(y->data + y->count, part[i]->data, (size_t)part[i]->count * sizeof(float));
    y->count += part[i]->count;
    in[i] = part[i]->id;
  }
  y->id = pb_node(b, "Concat", 13, in, (size_t)parts);
  pb_attribute(b, pb_last(b), "axis", 'i');
  return true;
}

static int random_graph(pb *b, uint64_t seed, value *values) {
  int count = 0;
  for (int i = 0; i < 3; i++) {
    value *v = &values[count++];
    v->count = i == 1 ? 8 : 6;
    for (int k = 0; k < v->count; k++) v->data[k] = (float)(pick(&seed, 17) - 8);
    v->id = i < 2 ? pb_input(b, i ? "b" : "a", MIEN_F32, 1, PB_DIMS(v->count))
                  : pb_constant(b, MIEN_F32, 1, PB_DIMS(v->count), v->data);
  }
  while (count < NODES - 3) {
    value *y = &values[count];
    const value *p = &values[count - 1 - pick(&seed, pick(&seed, 3) ? (count < 4 ? count : 4) : count)];
    const value *q = &values[pick(&seed, count)];
    y->count = p->count;
    switch (pick(&seed, 6)) {
      case 0: add_slice(b, &seed, p, y); break;
      case 1:
        add_split(b, &seed, p, y);
        count += 2;
        break;
      case 2:
        if (!add_concat(b, &seed, values, count, y)) continue;
        break;
      case 3:
        y->id = pb_node(b, "Relu", 14, PB_IDS(p->id));
        for (int k = 0; k < y->count; k++) y->data[k] = p->data[k] > 0 ? p->data[k] : 0;
        break;
      case 4:
        y->id = pb_node(b, "Neg", 13, PB_IDS(p->id));
        for (int k = 0; k < y->count; k++) y->data[k] = -p->data[k];
        break;
      default:
        if (q->count != p->count) continue;
        y->id = pb_node(b, "Sub", 14, PB_IDS(p->id, q->id));
        for (int k = 0; k < y->count; k++) y->data[k] = p->data[k] - q->data[k];
    }
    count++;
  }
  return count;
}

/* Gives whether something was shared. */
static bool check_graph(uint64_t seed, int threads, bool keep_all) {
  pb b;
  pb_init(&b);
  static value values[NODES];
  static float memory[NODES][MOST];
  int count = random_graph(&b, seed, values), outputs = 0, at[NODES];
  char names[NODES][16];
  const char *name_at[NODES];
  mien_binding out[NODES] = {0};
  uint64_t choice = seed * 77;
  for (int i = 0; i < count; i++) {
    snprintf(names[i], sizeof names[i], "v%d", i);
    name_at[i] = names[i];
    pb_name(&b, values[i].id, names[i], NULL);
    const bool is_output = i == count - 1 || pick(&choice, 6) == 0;
    if (is_output) pb_output(&b, names[i], values[i].id, MIEN_F32, 1, PB_DIMS(values[i].count));
    if (!is_output && !keep_all) continue;
    out[outputs].name = names[i];
    if (pick(&choice, 2)) out[outputs].tensor = (mien_tensor){.data = memory[i], .bytes = sizeof memory[i]};
    at[outputs++] = i;
  }
  mien_plan *plan = open_plan(&b);
  mien_session *s = open_session(plan, threads);
  if (keep_all) assert_int_equal(mien_session_keep(s, name_at, (size_t)count, NULL), MIEN_OK);
  mien_binding in[2] = {bind("a", MIEN_F32, 1, PB_DIMS(6), values[0].data),
                        bind("b", MIEN_F32, 1, PB_DIMS(8), values[1].data)};
  for (int repeat = 0; repeat < 2; repeat++) {
    run(s, in, 2, out, (size_t)outputs);
    for (int i = 0; i < outputs; i++)
      for (int k = 0; k < values[at[i]].count; k++) {
        float got = ((float *)out[i].tensor.data)[k], want = values[at[i]].data[k];
        if (got != want)
          fail_msg("graph %d, v%d[%d] is %g, expected %g", (int)seed, at[i], k, (double)got, (double)want);
      }
  }
  const bool shared = s->layouts->shared;
  assert_true(s->layouts->arena_bytes <= 2 * s->layouts->live_bytes + 64);
  mien_session_destroy(s);
  mien_plan_close(plan);
  pb_free(&b);
  return shared;
}

static void random_graphs_match_a_plain_evaluation(void **state) {
  (void)state;
  int shared = 0;
  for (uint64_t seed = 1; seed <= 1000; seed++) {
    shared += check_graph(seed, 1, false);
    if (seed % 5 == 0) shared += check_graph(seed, 1, true);
    if (seed % 50 == 0) shared += check_graph(seed, 2, false);
  }
  assert_true(shared > 500);
}

/* ---------------------------------------------------------------- single graphs: what runs, in how many bytes */

typedef uint32_t build_fn(pb *b, uint32_t x); /* of x [2, 1000]; gives the output, of as many elements */

static void check_memory(build_fn *build, size_t running, size_t arena) {
  pb b;
  pb_init(&b);
  uint32_t x = pb_input(&b, "x", MIEN_F32, 2, PB_DIMS(2, 1000));
  pb_output(&b, "y", build(&b, x), MIEN_F32, 2, PB_DIMS(2, 1000));
  mien_plan *plan = open_plan(&b);
  pb_free(&b);
  mien_session *s = open_session(plan, 1);
  mien_session_info info;
  mien_session_get_info(s, &info);
  size_t runs = 0;
  for (size_t i = 0; i < mien_session_node_count(s); i++) {
    mien_node_info node;
    assert_int_equal(mien_session_node(s, i, &node), MIEN_OK);
    runs += node.runs;
  }
  assert_int_equal(runs, running);
  assert_int_equal(info.arena_bytes, arena);
  static float data[2000];
  for (int i = 0; i < 2000; i++) data[i] = (float)i - 900;
  mien_binding in = bind("x", MIEN_F32, 2, PB_DIMS(2, 1000), data), out = {.name = "y"};
  run(s, &in, 1, &out, 1);
  for (int i = 0; i < 2000; i++) assert_true(((float *)out.tensor.data)[i] == data[(i + 1000) % 2000]);
  mien_session_destroy(s);
  mien_plan_close(plan);
}

static uint32_t cut(pb *b, uint32_t x, int64_t axis, int64_t first, int64_t last) {
  return pb_node(b, "Slice", 13, PB_IDS(x, number_of(b, first), number_of(b, last), number_of(b, axis)));
}
static uint32_t join(pb *b, const uint32_t *in, size_t count, int64_t axis) {
  uint32_t y = pb_node(b, "Concat", 13, in, count);
  pb_attribute(b, pb_last(b), "axis", 'i')->i = axis;
  return y;
}
static uint32_t negate(pb *b, uint32_t x) { return pb_node(b, "Neg", 13, PB_IDS(x)); }

enum { ROW = 4032 }; /* 1000 floats, rounded up to 64 bytes; two rows are 8000 */

/* Rows are cut from the input without a copy, and negated twice where they are joined. */
static uint32_t rows_change_places(pb *b, uint32_t x) {
  uint32_t low = negate(b, negate(b, cut(b, x, 0, 0, 1))), high = negate(b, negate(b, cut(b, x, 0, 1, 2)));
  return join(b, PB_IDS(high, low), 0);
}
/* Columns are not in one piece: the cuts copy, and so does the Concat. */
static uint32_t columns_are_copied(pb *b, uint32_t x) {
  uint32_t a = cut(b, x, 1, 0, 400), c = cut(b, x, 1, 400, 1000), y = join(b, PB_IDS(a, c), 1);
  return join(b, PB_IDS(cut(b, y, 0, 1, 2), cut(b, y, 0, 0, 1)), 0);
}
/* Inputs of a run are nobody's to write: they are copied where they are joined. */
static uint32_t inputs_are_copied(pb *b, uint32_t x) {
  return join(b, PB_IDS(cut(b, x, 0, 1, 2), cut(b, x, 0, 0, 1)), 0);
}
static void memory_of_cuts_and_joins(void **state) {
  (void)state;
  check_memory(rows_change_places, 4, 8000 + ROW);
  check_memory(columns_are_copied, 4, 2 * 8000);
  check_memory(inputs_are_copied, 1, 8000);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs_match_a_plain_evaluation),
                                     cmocka_unit_test(memory_of_cuts_and_joins)};
  return cmocka_run_group_tests(tests, setup, teardown);
}
