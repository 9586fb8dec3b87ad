/* tests/converter/test_graph.c -- building, order, dead nodes, inference and folding. */
#include "graph_test.h"

#include <stdlib.h>

static void order_is_topological(mien__graph *g) {
  mien_node_id *order;
  good(mien__graph_order(g, &order, &failure));
  int32_t *place = calloc((size_t)g->node_count + 1, sizeof *place);
  for (int32_t i = 0; i < g->live_count; i++) place[order[i]] = i + 1;
  for (int32_t i = 0; i < g->node_count; i++) {
    const mien__gnode *n = g->nodes[i];
    if (n->state != MIEN__NODE_LIVE) continue;
    assert_int_not_equal(place[i], 0);
    for (int k = 0; k < n->n.in_count; k++) {
      mien_node_id above = n->in[k] == MIEN_NO_VALUE ? MIEN_NO_NODE : g->values[n->in[k]]->producer;
      if (above != MIEN_NO_NODE) assert_true(place[above] < place[i]);
    }
  }
  free(place);
  mien__free(g->env, order);
}

static void test_order_of_nodes_in_any_order(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(2, 3)), a = named(g, "a"), b = named(g, "b"), c = named(g, "c");
  node_of(g, "Add", NULL, 0, (mien_value[]){a, b}, 2, &c, 1); /* before its operands */
  node_of(g, "Relu", NULL, 0, &a, 1, &b, 1);
  node_of(g, "Neg", NULL, 0, &x, 1, &a, 1);
  output(g, "c", c);
  good(mien__graph_infer(g, true, &failure));
  order_is_topological(g);
  assert_int_equal(value_type(g, c)->dim[1], 3);
  assert_int_equal(g->values[a]->use_count, 2);
  close_graph(g);
}

static void test_long_chain_is_linear(void **state) {
  (void)state;
  enum { N = 200000 };
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4));
  mien_value *v = malloc((N + 1) * sizeof *v);
  v[0] = x;
  for (int i = 1; i <= N; i++) v[i] = named(g, NULL);
  for (int i = N; i >= 1; i--) node_of(g, "Relu", NULL, 0, &v[i - 1], 1, &v[i], 1);
  output(g, "y", v[N]);
  order_is_topological(g);
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->live_count, N);
  g->values[v[N]]->output_count--; /* nobody wants it: all goes */
  g->output_count = 0;
  good(mien__graph_remove_dead(g, &failure));
  assert_int_equal(g->live_count, 0);
  free(v);
  close_graph(g);
}

static void test_cycle_is_named(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), a = named(g, "a"), b = named(g, "b"), c = named(g, "c");
  node_of(g, "Add", NULL, 0, (mien_value[]){x, c}, 2, &a, 1);
  node_of(g, "Relu", NULL, 0, &a, 1, &b, 1);
  node_of(g, "Neg", NULL, 0, &b, 1, &c, 1);
  output(g, "c", c);
  bad(MIEN_INVALID_MODEL, "cycle of 3 nodes", mien__graph_infer(g, true, &failure));
  assert_non_null(strstr(failure.message, "'b' (Relu)"));
  mien_env *env = g->env;
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

static void test_node_that_reads_itself(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value a = named(g, "a");
  node_of(g, "Relu", NULL, 0, &a, 1, &a, 1);
  output(g, "a", a);
  bad(MIEN_INVALID_MODEL, "cycle of 1 nodes: 'a' (Relu)", mien__graph_infer(g, true, &failure));
  mien_env *env = g->env;
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

static void test_undefined_values_are_named(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value ghost = named(g, "ghost"), y = OP(g, "Relu", "y", ghost);
  output(g, "y", y);
  bad(MIEN_INVALID_MODEL, "value 'ghost', read by node 'y' (Relu)", mien__graph_infer(g, true, &failure));
  mien_env *env = g->env;
  mien__graph_destroy(g);
  g = new_graph(env);
  output(g, "z", named(g, "z"));
  bad(MIEN_INVALID_MODEL, "value 'z', read by a graph output", mien__graph_infer(g, true, &failure));
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

static void test_double_definition_is_refused(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), y = OP(g, "Relu", "y", x);
  const mien__record *relu = mien__registry_find(g->env, "", "Relu", OPSET, NULL);
  mien_node_id id;
  bad(MIEN_INVALID_MODEL, "output 'y' is defined twice",
      mien__graph_add_node(g, relu, OPSET, "again", NULL, 0, &x, 1, &y, 1, &id, &failure));
  bad(MIEN_INVALID_MODEL, "output 'x' is defined twice",
      mien__graph_add_node(g, relu, OPSET, "again", NULL, 0, &y, 1, &x, 1, &id, &failure));
  bad(MIEN_INVALID_MODEL, "'y' is defined twice",
      mien__graph_set_constant(g, y, &(mien_tensor){.type = F32(1)}, false, false, &failure));
  assert_int_equal(g->live_count, 1);
  close_graph(g);
}

static void test_dead_nodes_go(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), a = OP(g, "Relu", "a", x), b = OP(g, "Neg", "b", a);
  mien_value unused = OP(g, "Mul", "unused", b, b);
  output(g, "a", a);
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->live_count, 1);
  assert_true(g->values[b]->gone && g->values[unused]->gone);
  assert_int_equal(mien__graph_where(g, b), MIEN_NO_VALUE);
  assert_int_equal(mien__graph_where(g, a), a);
  close_graph(g);
}

/* w' = Transpose(w) * 2: a constant with a recipe of two steps whose leaf is the initializer. */
static void test_folding_keeps_the_recipe(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  const float data[6] = {1, 2, 3, 4, 5, 6}, two = 2;
  mien_value w = constant(g, "w", F32(2, 3), data), s = constant(g, NULL, type_of(MIEN_F32, 0, NULL), &two);
  mien_value x = input(g, "x", F32(1, 3)), t = OP(g, "Transpose", "t", w), m = OP(g, "Mul", "m", t, s);
  mien_value y = OP(g, "MatMul", "y", x, m);
  output(g, "y", y);
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->live_count, 1);
  const mien__gvalue *v = g->values[m];
  assert_true(v->v.constant);
  const float expected[6] = {2, 8, 4, 10, 6, 12};
  assert_memory_equal(v->v.tensor.data, expected, sizeof expected);
  assert_int_equal(v->v.tensor.type.dim[0], 3);
  const mien__gnode *mul = g->nodes[v->recipe];
  assert_int_equal(mul->state, MIEN__NODE_RECIPE);
  assert_string_equal(mul->n.record->op->name, "Mul");
  assert_int_equal(mul->in[0], t);
  assert_null(g->values[t]->v.tensor.data); /* only the recipe needs it: not kept */
  const mien__gnode *transpose = g->nodes[g->values[t]->recipe];
  assert_int_equal(transpose->in[0], w);
  assert_string_equal(g->values[w]->initializer, "w");
  assert_non_null(g->values[w]->v.tensor.data);
  assert_int_equal(mien__graph_where(g, w), m);
  assert_int_equal(g->values[w]->use_count, 0);
  close_graph(g);
}

static mien_status random_infer(mien_node *n) {
  const mien_type type = F32(2);
  return mien_set_type(n, 0, &type);
}
static mien_status random_run(mien_node *n, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) ((float *)mien_out(n, 0)->data)[i] = 4;
  return MIEN_OK;
}
static const mien_kernel random_kernels[] = {{MIEN_ANY, random_run}, {MIEN_NONE, NULL}};
static const mien_op random_ops[] = {{.domain = "test",
                                      .name = "Dice",
                                      .since = 1,
                                      .signature = "-> Y:f32",
                                      .kernels = random_kernels,
                                      .infer = random_infer,
                                      .flags = MIEN_OP_RANDOM},
                                     {.name = NULL}};

static void test_random_is_not_folded(void **state) {
  (void)state;
  mien_env *env = new_env();
  good(mien__registry_add(env, random_ops, "test", "1", &failure));
  mien__graph *g = new_graph(env);
  mien_value d = named(g, "d");
  node_of(g, "test.Dice", NULL, 0, NULL, 0, &d, 1);
  mien_value y = OP(g, "Relu", "y", d);
  output(g, "y", y);
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->live_count, 2);
  close_graph(g);
}

static void test_folding_stops_at_the_limit(void **state) {
  (void)state;
  const int64_t shape[] = {10, 10};
  for (int over = 0; over < 2; over++) {
    mien_env *env = NULL;
    mien_env_options options = {.limits.folded_bytes = over ? 399 : 400};
    good(mien_env_create(&options, &env, &failure));
    mien__graph *g = new_graph(env);
    mien_value y = OP(g, "ConstantOfShape", "y", ints(g, 2, shape));
    output(g, "y", y);
    good(mien__graph_infer(g, true, &failure));
    assert_int_equal(g->live_count, over);
    assert_int_equal(value_type(g, y)->dim[1], 10);
    close_graph(g);
  }
}

/* A small file may not make folding fill the memory, however many nodes do it. */
static void test_folding_has_a_budget(void **state) {
  (void)state;
  mien_env *env = NULL;
  mien_env_options options = {.limits.folded_bytes = 1 << 20};
  good(mien_env_create(&options, &env, &failure));
  mien__graph *g = new_graph(env);
  const int64_t shape[] = {200, 1000};
  for (int i = 0; i < 100; i++) output(g, NULL, OP(g, "ConstantOfShape", NULL, ints(g, 2, shape)));
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->folded_bytes, 800000);
  assert_int_equal(g->live_count, 99);
  close_graph(g);
}

/* Doubling: what only the next one reads is freed at once. */
static void test_folding_frees_what_is_between(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  const float x[1] = {1};
  mien_value v = floats(g, "x", 1, x);
  const mien__attr_value axis = {.name = "axis", .kind = 'i'};
  for (int i = 0; i < 40; i++) v = op_node(g, "Concat", NULL, &axis, 1, (mien_value[]){v, v}, 2);
  output(g, "y", v);
  mien_status status = mien__graph_infer(g, true, &failure);
  assert_int_equal(status, MIEN_LIMIT); /* 2^31 bytes of one tensor come first */
  assert_true(g->folded_bytes <= (uint64_t)64 << 20);
  mien_env *env = g->env;
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

/* Reshape(x, Concat(Gather(Shape(x), 0), [-1])): static sizes leave a Reshape by a constant. */
static mien__graph *flatten_graph(mien_value *x, mien_value *y, const char *symbol) {
  mien__graph *g = new_graph(new_env());
  int64_t dims[3] = {5, 2, 3}, zero = 0, minus = -1;
  if (symbol) dims[0] = mien__symbol_named(g->scope.symbols, symbol, strlen(symbol));
  *x = input(g, "x", type_of(MIEN_F32, 3, dims));
  mien_value shape = OP(g, "Shape", "shape", *x), n = OP(g, "Gather", "n", shape, ints(g, 1, &zero));
  mien__attr_value axis = {.name = "axis", .kind = 'i', .i = 0};
  mien_value in[2] = {n, ints(g, 1, &minus)};
  mien_value to = op_node(g, "Concat", "to", &axis, 1, in, 2);
  *y = OP(g, "Reshape", "y", *x, to);
  output(g, "y", *y);
  good(mien__graph_infer(g, true, &failure));
  return g;
}

static void test_shape_arithmetic_with_numbers_goes(void **state) {
  (void)state;
  mien_value x, y;
  mien__graph *g = flatten_graph(&x, &y, NULL);
  assert_int_equal(g->live_count, 1);
  assert_int_equal(value_type(g, y)->dim[0], 5);
  assert_int_equal(value_type(g, y)->dim[1], 6);
  mien_value shape = output_node(g, 0)->in[1];
  int64_t count;
  const int64_t *known = mien__graph_ints(g, shape, &count);
  assert_int_equal(count, 2);
  assert_int_equal(known[0], 5);
  assert_int_equal(known[1], -1);
  assert_string_equal(mien__value_name(g, shape), "to");
  close_graph(g);
}

static void test_shape_arithmetic_with_symbols_flows(void **state) {
  (void)state;
  mien_value x, y;
  mien__graph *g = flatten_graph(&x, &y, "N");
  assert_int_equal(value_type(g, y)->dim[0], value_type(g, x)->dim[0]);
  assert_int_equal(value_type(g, y)->dim[1], 6);
  int64_t count;
  const int64_t *known = mien__graph_ints(g, output_node(g, 0)->in[1], &count);
  assert_int_equal(count, 2);
  assert_int_equal(known[0], value_type(g, x)->dim[0]);
  close_graph(g);
}

static void test_outputs_that_are_inputs_and_constants(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  const float one[2] = {1, -1};
  mien_value x = input(g, "x", F32(4)), c = floats(g, "c", 2, one), r = OP(g, "Relu", "r", c);
  output(g, "x", x);
  output(g, "c", c);
  output(g, "r", r);
  output(g, "again", r);
  good(mien__graph_infer(g, true, &failure));
  assert_int_equal(g->live_count, 0);
  assert_true(g->values[r]->v.constant);
  assert_int_equal(g->values[r]->output_count, 2);
  assert_true(((float *)g->values[r]->v.tensor.data)[1] == 0);
  close_graph(g);
}

static void test_replace_moves_readers_outputs_names(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), a = OP(g, "Identity", "a", x), b = OP(g, "Add", "b", a, a);
  output(g, "first", a);
  output(g, "second", b);
  output(g, "third", a);
  good(mien__graph_infer(g, true, &failure));
  mien__graph_replace_uses(g, a, x);
  assert_int_equal(g->values[x]->use_count, 3);
  assert_int_equal(g->values[x]->output_count, 2);
  assert_int_equal(g->outputs[2].value, x);
  assert_string_equal(g->outputs[2].name, "third");
  assert_string_equal(g->values[x]->names->text, "x");
  assert_string_equal(g->values[x]->names->next->text, "a");
  good(mien__graph_remove_dead(g, &failure));
  assert_int_equal(g->live_count, 1);
  assert_int_equal(mien__graph_where(g, a), x);
  close_graph(g);
}

static void test_dump(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  const float data[2] = {1, 2};
  mien_value x = input(g, "x", F32(2)), y = OP(g, "Add", "sum", x, floats(g, "c", 2, data));
  output(g, "y", y);
  good(mien__graph_infer(g, true, &failure));
  char *text;
  good(mien__graph_dump(g, &text, &failure));
  assert_string_equal(text, "input %0:f32[2]  ; x\n%2:f32[2] = Add-7(%0, #1:f32[2])  ; sum\noutput %2  ; y\n");
  mien__free(g->env, text);
  close_graph(g);
}

static void test_node_limit(void **state) {
  (void)state;
  mien_env *env = NULL;
  mien_env_options options = {.limits.nodes = 2};
  good(mien_env_create(&options, &env, &failure));
  mien__graph *g = new_graph(env);
  mien_value x = input(g, "x", F32(4)), a = OP(g, "Relu", "a", x), b = OP(g, "Relu", "b", a), c = named(g, "c");
  const mien__record *relu = mien__registry_find(g->env, "", "Relu", OPSET, NULL);
  mien_node_id id;
  bad(MIEN_LIMIT, "more than 2 nodes", mien__graph_add_node(g, relu, OPSET, "", NULL, 0, &b, 1, &c, 1, &id, &failure));
  close_graph(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_order_of_nodes_in_any_order),
      cmocka_unit_test(test_long_chain_is_linear),
      cmocka_unit_test(test_cycle_is_named),
      cmocka_unit_test(test_node_that_reads_itself),
      cmocka_unit_test(test_undefined_values_are_named),
      cmocka_unit_test(test_double_definition_is_refused),
      cmocka_unit_test(test_dead_nodes_go),
      cmocka_unit_test(test_folding_keeps_the_recipe),
      cmocka_unit_test(test_random_is_not_folded),
      cmocka_unit_test(test_folding_stops_at_the_limit),
      cmocka_unit_test(test_folding_has_a_budget),
      cmocka_unit_test(test_folding_frees_what_is_between),
      cmocka_unit_test(test_shape_arithmetic_with_numbers_goes),
      cmocka_unit_test(test_shape_arithmetic_with_symbols_flows),
      cmocka_unit_test(test_outputs_that_are_inputs_and_constants),
      cmocka_unit_test(test_replace_moves_readers_outputs_names),
      cmocka_unit_test(test_dump),
      cmocka_unit_test(test_node_limit),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
