/* tests/converter/test_decompose.c -- operators spelled in others, beside the node and in its place; and all of this part without
** memory. */
#include "graph_test.h"

#include <stdlib.h>

#define H(r) mien_rewrite_host_of(r)

/* Twice(X) = X + X;  Parts(X, C?) = X, -X (with C: -X + C);  Deep(X) = Twice(Twice(X)). */
static mien_status same_infer(mien_node *n) {
  for (int i = 0; i < mien_out_count(n); i++) MIEN_TRY(mien_set_type(n, i, &mien_in(n, 0)->type));
  return MIEN_OK;
}
static mien_status never_run(mien_node *n, int64_t begin, int64_t end) {
  (void)begin;
  (void)end;
  (void)n;
  return MIEN_INTERNAL;
}
static const mien_kernel never[] = {{MIEN_F32, never_run}, {MIEN_NONE, NULL}};

static mien_status add(mien_rewriter *r, const char *op, mien_value a, mien_value b, mien_value *y) {
  const mien_value in[2] = {a, b};
  MIEN_TRY(H(r)->begin(r, op, in, b == MIEN_NO_VALUE ? 1 : 2));
  return H(r)->end(r, y, 1);
}
static mien_value out(mien_rewriter *r, int i) { return H(r)->out(r, H(r)->root(r), i); }

static mien_status twice(mien_rewriter *r) {
  mien_value x = H(r)->bound(r, "0"), y;
  assert_int_equal(H(r)->bound(r, "1"), MIEN_NO_VALUE);
  assert_int_equal(H(r)->bound(r, "x"), MIEN_NO_VALUE);
  MIEN_TRY(add(r, "Add", x, x, &y));
  return H(r)->replace(r, out(r, 0), y);
}
static mien_status parts(mien_rewriter *r) {
  mien_value x = H(r)->bound(r, "0"), c = H(r)->bound(r, "1"), y;
  MIEN_TRY(add(r, "Neg", x, MIEN_NO_VALUE, &y));
  if (c != MIEN_NO_VALUE) MIEN_TRY(add(r, "Add", y, c, &y));
  MIEN_TRY(H(r)->replace(r, out(r, 0), x));
  return H(r)->replace(r, out(r, 1), y);
}
static mien_status deep(mien_rewriter *r) {
  mien_value y;
  MIEN_TRY(add(r, "test.Twice", H(r)->bound(r, "0"), MIEN_NO_VALUE, &y));
  MIEN_TRY(add(r, "test.Twice", y, MIEN_NO_VALUE, &y));
  return H(r)->replace(r, out(r, 0), y);
}
static mien_status half(mien_rewriter *r) { return H(r)->replace(r, out(r, 0), H(r)->bound(r, "0")); }
static mien_status endless(mien_rewriter *r) {
  mien_value y;
  MIEN_TRY(add(r, "test.Endless", H(r)->bound(r, "0"), MIEN_NO_VALUE, &y));
  return H(r)->replace(r, out(r, 0), y);
}

#define RECORD(op, sig, fn) \
  { .domain = "test", .name = op, .since = 1, .signature = sig, .kernels = never, .infer = same_infer, .decompose = fn }
static const mien_op records[] = {RECORD("Twice", "X:T -> Y:T", twice),
                                  RECORD("Parts", "X:T, C:T? -> Y:T, Z:T", parts),
                                  RECORD("Deep", "X:T -> Y:T", deep),
                                  RECORD("Half", "X:T -> Y:T, Z:T", half),
                                  RECORD("Endless", "X:T -> Y:T", endless),
                                  RECORD("Whole", "X:T -> Y:T", NULL),
                                  {.name = NULL}};

static mien__graph *test_graph(void) {
  mien_env *env = new_env();
  good(mien__registry_add(env, records, "test", "1", &failure));
  return new_graph(env);
}

static void test_beside_the_node(void **state) {
  (void)state;
  mien__graph *g = test_graph();
  mien_value x = input(g, "x", F32(4)), outs[2] = {named(g, "p"), named(g, "q")};
  const float c4[4] = {1, 2, 3, 4};
  mien_value in[2] = {x, floats(g, "c", 4, c4)};
  mien_node_id node = node_of(g, "test.Parts", NULL, 0, in, 2, outs, 2);
  output(g, "p", outs[0]);
  output(g, "q", OP(g, "Relu", "r", outs[1]));
  good(mien__graph_infer(g, true, &failure));
  mien_node_id *list;
  int32_t count;
  good(mien__graph_decompose(g, node, &list, &count, &failure));
  assert_int_equal(count, 3); /* Neg, Add, and an Identity that gives p */
  const char *ops[] = {"Neg", "Add", "Identity"};
  for (int i = 0; i < 3; i++) {
    assert_string_equal(g->nodes[list[i]]->n.record->op->name, ops[i]);
    assert_int_equal(g->nodes[list[i]]->state, MIEN__NODE_DETACHED);
  }
  assert_int_equal(g->nodes[list[1]]->in[0], g->nodes[list[0]]->out[0]);
  assert_int_equal(g->nodes[list[1]]->in[1], in[1]);
  assert_int_equal(g->nodes[list[1]]->out[0], outs[1]);
  assert_ptr_equal(g->nodes[list[1]]->n.out[0], &g->values[outs[1]]->v);
  assert_int_equal(g->nodes[list[2]]->in[0], x);
  assert_int_equal(g->nodes[list[2]]->out[0], outs[0]);
  assert_int_equal(g->live_count, 2); /* the graph is what it was */
  assert_int_equal(g->values[x]->use_count, 1);
  assert_int_equal(g->values[outs[1]]->producer, node);
  close_graph(g);
}

static void test_in_place(void **state) {
  (void)state;
  mien__graph *g = test_graph();
  mien_value x = input(g, "x", F32(4)), d = OP(g, "test.Deep", "d", x), outs[2] = {named(g, "p"), named(g, "q")};
  node_of(g, "test.Parts", NULL, 0, &d, 1, outs, 2);
  output(g, "p", outs[0]);
  output(g, "w", OP(g, "test.Whole", "w", outs[1]));
  good(mien__graph_infer(g, true, &failure));
  good(mien__graph_expand(g, &failure));
  assert_int_equal(count_ops(g, "Add"), 2);
  assert_int_equal(count_ops(g, "Neg"), 1);
  assert_int_equal(count_ops(g, "test.Whole"), 1); /* has no other spelling */
  assert_int_equal(g->live_count, 4);
  assert_string_equal(output_node(g, 0)->n.record->op->name, "Add");
  assert_string_equal(g->outputs[0].name, "p");
  close_graph(g);
}

static void test_bad_decompositions(void **state) {
  (void)state;
  const struct {
    const char *op;
    int outs;
    mien_status code;
    const char *text;
  } cases[] = {{"test.Half", 2, MIEN_PLUGIN, "does not give output 1"},
               {"test.Whole", 1, MIEN_UNSUPPORTED, "the operator has no decomposition"}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mien__graph *g = test_graph();
    mien_value x = input(g, "x", F32(4)), outs[2] = {named(g, "p"), named(g, "q")};
    mien_node_id node = node_of(g, cases[i].op, NULL, 0, &x, 1, outs, cases[i].outs);
    for (int k = 0; k < cases[i].outs; k++) output(g, "o", outs[k]);
    good(mien__graph_infer(g, true, &failure));
    mien_node_id *list;
    int32_t count, values = g->value_count;
    bad(cases[i].code, cases[i].text, mien__graph_decompose(g, node, &list, &count, &failure));
    assert_int_equal(g->node_count, 1);
    assert_int_equal(g->value_count, values);
    close_graph(g);
  }
  mien__graph *g = test_graph();
  output(g, "y", OP(g, "test.Endless", "y", input(g, "x", F32(4))));
  good(mien__graph_infer(g, true, &failure));
  bad(MIEN_PLUGIN, "without end", mien__graph_expand(g, &failure));
  close_graph(g);
}

/* ---- allocation k fails, for every k */

static long allowed, outstanding;
static void *failing_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  (void)context;
  (void)old_size;
  if (new_size == 0) {
    outstanding -= pointer != NULL;
    free(pointer);
    return NULL;
  }
  if (allowed-- <= 0) return NULL;
  void *grown = realloc(pointer, new_size);
  outstanding += grown && !pointer;
  return grown;
}

static mien_status scale(mien_rewriter *r) {
  mien_value w, y;
  MIEN_TRY(add(r, "Mul", H(r)->bound(r, "w"), H(r)->bound(r, "s"), &w));
  MIEN_TRY(add(r, "MatMul", H(r)->bound(r, "a"), w, &y));
  return H(r)->replace(r, out(r, 0), y);
}
static const char *const scale_patterns[] = {"Mul(MatMul(a, #w), #s)", NULL};
static const mien_rewrite scale_rewrites[] = {
    {.name = "scale", .stage = MIEN_STAGE_FUSE, .patterns = scale_patterns, .apply = scale}, {.name = NULL}};

static mien_status build(mien_env *env, mien__graph *g) {
  mien_value x, w, s, m, y, d;
  const mien_type type = F32(2, 2);
  mien_tensor tensor = {0};
  mien_node_id id;
  MIEN_TRY(mien__graph_add_opset(g, "", OPSET, NULL));
  MIEN_TRY(mien__graph_add_metadata(g, "k", "v", NULL));
  MIEN_TRY(mien__graph_add_input(g, "x", &type, &x, NULL));
  MIEN_TRY(mien__tensor_alloc(env, &type, &tensor, NULL));
  mien_status status = mien__graph_add_constant(g, "w", &tensor, true, true, &w, NULL);
  if (status != MIEN_OK) {
    mien_tensor_clear(env, &tensor);
    return status;
  }
  static float two[4] = {2, 2, 2, 2};
  const mien_tensor mapped = {.type = type, .data = two, .bytes = sizeof two};
  MIEN_TRY(mien__graph_add_constant(g, "s", &mapped, false, true, &s, NULL));
  MIEN_TRY(mien__graph_add_value(g, "m", &m, NULL));
  MIEN_TRY(mien__graph_add_value(g, "y", &y, NULL));
  MIEN_TRY(mien__graph_add_value(g, "d", &d, NULL));
  const struct {
    const char *domain, *op;
    mien_value in[2];
    int in_count;
    mien_value out;
  } nodes[] = {{"", "MatMul", {x, w}, 2, m}, {"", "Mul", {m, s}, 2, y}, {"test", "Deep", {y}, 1, d}};
  for (int i = 0; i < 3; i++) {
    const mien__record *record = mien__registry_find(env, nodes[i].domain, nodes[i].op, OPSET, NULL);
    assert_non_null(record);
    MIEN_TRY(mien__graph_add_node(g, record, OPSET, "n", NULL, 0, nodes[i].in, nodes[i].in_count, &nodes[i].out, 1, &id,
                                  NULL));
  }
  return mien__graph_add_output(g, "d", d, NULL, NULL);
}

static mien_status transform(mien_env *env, mien__graph *g) {
  mien__passes *passes = NULL;
  char *text = NULL;
  MIEN_TRY(mien__graph_infer(g, true, NULL));
  const mien_rewrite *const tables[] = {scale_rewrites, NULL};
  MIEN_TRY(mien__passes_create(env, tables, &passes, NULL));
  mien_status status = mien__passes_run(passes, g, 0, NULL);
  mien__passes_destroy(passes);
  if (status == MIEN_OK) status = mien__graph_expand(g, NULL);
  if (status == MIEN_OK) status = mien__graph_dump(g, &text, NULL);
  mien__free(env, text);
  return status;
}

static void test_no_memory(void **state) {
  (void)state;
  mien_status status = MIEN_NO_MEMORY;
  long k = 0;
  for (; status != MIEN_OK; k++) {
    mien_env *env = NULL;
    mien__graph *g = NULL;
    const mien_env_options options = {.alloc = failing_alloc};
    outstanding = 0;
    allowed = 1000000; /* the env itself is tested elsewhere */
    good(mien_env_create(&options, &env, &failure));
    good(mien__registry_add(env, records, "test", "1", &failure));
    allowed = k;
    status = mien__graph_create(env, &g, NULL);
    if (status == MIEN_OK) status = build(env, g);
    if (status == MIEN_OK) status = transform(env, g);
    if (status == MIEN_OK) assert_int_equal(count_ops(g, "Add"), 2);
    if (status == MIEN_OK) assert_int_equal(count_ops(g, "Mul"), 0);
    if (status != MIEN_OK) assert_int_equal(status, MIEN_NO_MEMORY);
    mien__graph_destroy(g);
    mien_env_destroy(env);
    assert_int_equal(outstanding, 0);
    assert_true(k < 10000);
  }
  assert_true(k > 20);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_beside_the_node),
      cmocka_unit_test(test_in_place),
      cmocka_unit_test(test_bad_decompositions),
      cmocka_unit_test(test_no_memory),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
