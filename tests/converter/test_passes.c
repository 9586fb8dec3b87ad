/* tests/converter/test_passes.c -- patches, their border, and the order in which rewrites run. */
#include "graph_test.h"

#include <stdlib.h>

#define H(r) mien_rewrite_host_of(r)

static mien_value root_out(const mien_rewriter *r, int i) { return H(r)->out(r, H(r)->root(r), i); }

static mien_status add_node(mien_rewriter *r, const char *op, mien_value a, mien_value b, mien_value *out) {
  const mien_value in[2] = {a, b};
  MIEN_TRY(H(r)->begin(r, op, in, b == MIEN_NO_VALUE ? 1 : 2));
  return H(r)->end(r, out, 1);
}

#define REWRITE(id, pass, st, aft, fn, ...)                                                             \
  static const char *const id##_patterns[] = {__VA_ARGS__, NULL};                                       \
  static const mien_rewrite id[] = {                                                                    \
      {.name = pass, .doc = "test", .stage = st, .after = aft, .patterns = id##_patterns, .apply = fn}, \
      {.name = NULL}};

/* x -> x */
static mien_status drop_identity(mien_rewriter *r) { return H(r)->replace(r, root_out(r, 0), H(r)->bound(r, "x")); }
REWRITE(identity, "drop-identity", MIEN_STAGE_CANONICALISE, NULL, drop_identity, "Identity(x)")

/* Add(MatMul(a, w), b) -> mien.Linear */
static mien_status to_linear(mien_rewriter *r) {
  const mien_value in[3] = {H(r)->bound(r, "a"), H(r)->bound(r, "w"), H(r)->bound(r, "b")};
  mien_value y;
  if (H(r)->uses(r, H(r)->bound(r, "m")) != 1) return MIEN_OK;
  MIEN_TRY(H(r)->begin(r, "mien.Linear", in, 3));
  MIEN_TRY(H(r)->end(r, &y, 1));
  return H(r)->replace(r, root_out(r, 0), y);
}
REWRITE(linear, "linear", MIEN_STAGE_FUSE, NULL, to_linear, "Add(m:MatMul(a, #w), #b)")

/* Mul(Linear-free: MatMul(a, w), s) -> MatMul(a, Mul(w, s)): a constant made in the patch */
static mien_status scale_weight(mien_rewriter *r) {
  mien_value w, y;
  MIEN_TRY(add_node(r, "Mul", H(r)->bound(r, "w"), H(r)->bound(r, "s"), &w));
  MIEN_TRY(add_node(r, "MatMul", H(r)->bound(r, "a"), w, &y));
  return H(r)->replace(r, root_out(r, 0), y);
}
REWRITE(scale, "scale-weight", MIEN_STAGE_CANONICALISE, NULL, scale_weight, "Mul(MatMul(a, #w), #s)")

/* Runs the tables and gives the status; keeps the passes for looking at. */
static mien__passes *passes;
static mien_status run_tables(mien__graph *g, const mien_rewrite *const *tables, int stop_after) {
  mien__passes_destroy(passes);
  passes = NULL;
  good(mien__graph_infer(g, true, &failure));
  MIEN_TRY(mien__passes_create(g->env, tables, &passes, &failure));
  return mien__passes_run(passes, g, stop_after, &failure);
}
#define RUN(g, stop, ...) run_tables(g, (const mien_rewrite *const[]){__VA_ARGS__, NULL}, stop)

static void finish(mien__graph *g) {
  mien__passes_destroy(passes);
  passes = NULL;
  close_graph(g);
}
/* After a failure the graph is good for nothing but to be freed. */
static void abandon(mien__graph *g) {
  mien_env *env = g->env;
  mien__passes_destroy(passes);
  passes = NULL;
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

static const float six[6] = {1, 2, 3, 4, 5, 6};

/* y = x W + b, with Identity before and after. */
static mien__graph *linear_graph(void) {
  mien__graph *g = new_graph(new_env());
  int64_t dims[2] = {mien__symbol_named(g->scope.symbols, "N", 1), 2};
  mien_value x = input(g, "x", type_of(MIEN_F32, 2, dims)), w = constant(g, "w", F32(2, 3), six),
             b = floats(g, "b", 3, six);
  mien_value i = OP(g, "Identity", "i", x), m = OP(g, "MatMul", "m", i, w), a = OP(g, "Add", "a", b, m);
  output(g, "y", OP(g, "Identity", "y", a));
  return g;
}

static void test_names_follow_values(void **state) {
  (void)state;
  mien__graph *g = linear_graph();
  good(RUN(g, 0, identity, linear));
  assert_int_equal(g->live_count, 1);
  const mien__gnode *n = output_node(g, 0);
  assert_string_equal(n->n.record->op->name, "Linear");
  assert_string_equal(n->n.name, "a"); /* the root's */
  mien_value y = g->outputs[0].value;
  assert_string_equal(g->outputs[0].name, "y");
  const char *expected[] = {"a", "y"};
  const mien__name *name = g->values[y]->names;
  for (int i = 0; i < 2; i++, name = name->next) assert_string_equal(name->text, expected[i]);
  assert_null(name);
  for (mien_value v = 0; v < g->value_count; v++) /* the product went into what took its place */
    if (!strcmp(mien__value_name(g, v), "m")) assert_int_equal(mien__graph_where(g, v), y);
  assert_string_equal(g->values[g->inputs[0].value]->names->next->text, "i");
  assert_int_equal(passes->patches, 3);
  assert_string_equal(passes->log[2].pass, "linear");
  assert_string_equal(passes->log[2].root, "a");
  assert_string_equal(passes->log[2].op, "Add");
  assert_int_equal(passes->log[2].number, 3);
  assert_int_equal(passes->runs[0].patches, 2);
  assert_int_equal(passes->runs[1].patches, 1);
  finish(g);
}

static void test_constants_of_a_patch_fold(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  const float ten[3] = {1, 10, 100};
  mien_value x = input(g, "x", F32(1, 2)), w = constant(g, "w", F32(2, 3), six), s = floats(g, "s", 3, ten);
  output(g, "y", OP(g, "Mul", "y", OP(g, "MatMul", "m", x, w), s));
  good(RUN(g, 0, scale));
  assert_int_equal(g->live_count, 1);
  mien_value made = output_node(g, 0)->in[1];
  const float expected[6] = {1, 20, 300, 4, 50, 600};
  assert_memory_equal(g->values[made]->v.tensor.data, expected, sizeof expected);
  const mien__gnode *recipe = g->nodes[g->values[made]->recipe];
  assert_int_equal(recipe->state, MIEN__NODE_RECIPE);
  assert_int_equal(recipe->in[0], w);
  assert_int_equal(recipe->in[1], s);
  assert_int_equal(mien__graph_where(g, w), made);
  finish(g);
}

static void test_stop_and_skip(void **state) {
  (void)state;
  for (int stop = 1; stop <= 3; stop++) {
    mien__graph *g = linear_graph();
    good(RUN(g, stop, identity, linear));
    assert_int_equal(passes->patches, stop);
    assert_int_equal(g->live_count, 4 - (stop == 3 ? 3 : stop));
    finish(g);
  }
  mien__graph *g = linear_graph();
  good(mien__graph_infer(g, true, &failure));
  good(mien__passes_create(g->env, (const mien_rewrite *const[]){identity, linear, scale, NULL}, &passes, &failure));
  bad(MIEN_INVALID_ARGUMENT, "there is no pass 'liner'; there are drop-identity, scale-weight, linear",
      mien__passes_skip(passes, (const char *const[]){"liner", NULL}, &failure));
  good(mien__passes_skip(passes, (const char *const[]){"linear", NULL}, &failure));
  good(mien__passes_run(passes, g, 0, &failure));
  assert_int_equal(g->live_count, 2);
  assert_true(passes->runs[2].skipped);
  finish(g);
}

/* ---- the border */

static const char *wrong_op;
static mien_status replace_by(mien_rewriter *r) {
  mien_value y;
  MIEN_TRY(add_node(r, wrong_op, H(r)->bound(r, "x"), MIEN_NO_VALUE, &y));
  return H(r)->replace(r, root_out(r, 0), y);
}
REWRITE(wrong, "wrong", MIEN_STAGE_CANONICALISE, NULL, replace_by, "Relu(x)")

static void test_wrong_shapes_and_types_are_errors(void **state) {
  (void)state;
  const char *ops[] = {"Transpose", "IsNaN", "ReduceSum", "Shape"};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    mien__graph *g = new_graph(new_env());
    mien_value x = input(g, "x", F32(2, 3));
    output(g, "y", OP(g, "Relu", "act", x));
    wrong_op = ops[i];
    bad(MIEN_INTERNAL, "rewrite 'wrong' at node 'act' (Relu): replaces 'act' of type f32[2,3]", RUN(g, 0, wrong));
    abandon(g);
  }
}

static void test_unproven_sizes_drop_the_patch(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  int64_t dims[2] = {mien__symbol_named(g->scope.symbols, "N", 1), mien__symbol_named(g->scope.symbols, "M", 1)};
  mien_value x = input(g, "x", type_of(MIEN_F32, 2, dims));
  output(g, "y", OP(g, "Neg", "y", OP(g, "Relu", "act", x)));
  wrong_op = "Transpose";
  good(RUN(g, 0, wrong));
  assert_int_equal(passes->patches, 0);
  assert_int_equal(passes->refused, 1);
  assert_int_equal(passes->runs[0].refused, 1);
  assert_string_equal(passes->log[0].root, "act");
  assert_string_equal(passes->log[0].refused, "f32[M,N] is not provably f32[N,M]");
  assert_int_equal(g->live_count, 2);
  finish(g);
}

/* Replaces x's producer's output by something that reads what reads it. */
static mien_status make_cycle(mien_rewriter *r) {
  mien_value y;
  MIEN_TRY(add_node(r, "Neg", root_out(r, 0), MIEN_NO_VALUE, &y));
  return H(r)->replace(r, H(r)->bound(r, "inner"), y);
}
REWRITE(cycle, "cycle", MIEN_STAGE_CANONICALISE, NULL, make_cycle, "Relu(Neg(inner:Sigmoid(x)))")

static void test_cycles_are_errors(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), s = OP(g, "Sigmoid", "s", x), n = OP(g, "Neg", "n", s);
  output(g, "y", OP(g, "Relu", "y", n));
  bad(MIEN_INTERNAL, "rewrite 'cycle' at node 'y' (Relu): its patch makes a cycle", RUN(g, 0, cycle));
  abandon(g);
}

/* A value that its own replacement reads: everything else reads the replacement. */
static mien_status insert_after(mien_rewriter *r) {
  mien_value y, x = root_out(r, 0);
  for (int i = 0; H(r)->user(r, x, i) != MIEN_NO_NODE; i++)
    if (!strcmp(H(r)->op_name(r, H(r)->user(r, x, i)), "Abs")) return MIEN_OK;
  MIEN_TRY(add_node(r, "Abs", x, MIEN_NO_VALUE, &y));
  return H(r)->replace(r, x, y);
}
REWRITE(insert, "insert", MIEN_STAGE_CANONICALISE, NULL, insert_after, "Sigmoid(x)")

static void test_insertion(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), s = OP(g, "Sigmoid", "s", x);
  output(g, "y", OP(g, "Add", "y", s, OP(g, "Neg", "n", s)));
  good(RUN(g, 0, insert));
  assert_int_equal(passes->patches, 1);
  assert_int_equal(g->live_count, 4);
  assert_int_equal(g->values[s]->use_count, 1);
  const mien__gnode *add = output_node(g, 0);
  assert_string_equal(g->nodes[g->values[add->in[0]]->producer]->n.record->op->name, "Abs");
  finish(g);
}

static mien_status (*misuse)(mien_rewriter *r);
static mien_status call_misuse(mien_rewriter *r) { return misuse(r); }
REWRITE(misused, "misused", MIEN_STAGE_CANONICALISE, NULL, call_misuse, "Relu(x)")

static mien_status misuse_input(mien_rewriter *r) { return H(r)->replace(r, H(r)->bound(r, "x"), root_out(r, 0)); }
static mien_status misuse_id(mien_rewriter *r) { return H(r)->replace(r, root_out(r, 0), 12345); }
static mien_status misuse_self(mien_rewriter *r) { return H(r)->replace(r, root_out(r, 0), root_out(r, 0)); }
static mien_status misuse_end(mien_rewriter *r) { return H(r)->end(r, NULL, 0); }
static mien_status misuse_open(mien_rewriter *r) {
  const mien_value x = H(r)->bound(r, "x");
  MIEN_TRY(H(r)->begin(r, "Neg", &x, 1));
  return H(r)->replace(r, root_out(r, 0), x);
}
static mien_status misuse_attr(mien_rewriter *r) {
  const mien_value x = H(r)->bound(r, "x");
  MIEN_TRY(H(r)->begin(r, "Neg", &x, 1));
  return H(r)->set_i(r, "axis", 1);
}
static mien_status misuse_kind(mien_rewriter *r) {
  const mien_value x = H(r)->bound(r, "x");
  MIEN_TRY(H(r)->begin(r, "Softmax", &x, 1));
  return H(r)->set_f(r, "axis", 1);
}
static mien_status misuse_op(mien_rewriter *r) { return H(r)->begin(r, "Nonsense", NULL, 0); }
static mien_status misuse_arity(mien_rewriter *r) {
  mien_value y;
  MIEN_TRY(H(r)->begin(r, "Add", NULL, 0));
  return H(r)->end(r, &y, 1);
}
static mien_status misuse_value(mien_rewriter *r) {
  const mien_value x = 999;
  return H(r)->begin(r, "Neg", &x, 1);
}
static mien_status misuse_own(mien_rewriter *r) { return (H(r)->fail)(r, MIEN_UNSUPPORTED, "no %s", "way"); }

static void test_misuse_is_a_clear_error(void **state) {
  (void)state;
  const struct {
    mien_status (*fn)(mien_rewriter *r);
    mien_status code;
    const char *text;
  } cases[] = {
      {misuse_input, MIEN_PLUGIN, "replaces 'x', which is no node's output"},
      {misuse_id, MIEN_PLUGIN, "or by what is none"},
      {misuse_self, MIEN_PLUGIN, "by itself"},
      {misuse_end, MIEN_PLUGIN, "end without begin"},
      {misuse_open, MIEN_PLUGIN, "begin without end"},
      {misuse_attr, MIEN_PLUGIN, "Neg has no attribute 'axis' of kind 'i'"},
      {misuse_kind, MIEN_PLUGIN, "Softmax has no attribute 'axis' of kind 'f'"},
      {misuse_op, MIEN_UNSUPPORTED, "there is no operator Nonsense at opset"},
      {misuse_arity, MIEN_INVALID_MODEL, "lacks input 0"},
      {misuse_value, MIEN_PLUGIN, "input 0 of a new Neg is no value"},
      {misuse_own, MIEN_UNSUPPORTED, "no way"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    mien__graph *g = new_graph(new_env());
    mien_value x = input(g, "x", F32(4));
    output(g, "y", OP(g, "Relu", "act", x));
    misuse = cases[i].fn;
    bad(cases[i].code, cases[i].text, RUN(g, 0, misused));
    assert_non_null(strstr(failure.message, "rewrite 'misused' at node 'act' (Relu)"));
    abandon(g);
  }
}

/* ---- order */

static mien_status nothing(mien_rewriter *r) {
  (void)r;
  return MIEN_OK;
}
REWRITE(order_a, "a", MIEN_STAGE_FUSE, "c b", nothing, "Relu(x)")
REWRITE(order_b, "b", MIEN_STAGE_FUSE, "d", nothing, "Relu(x)")
REWRITE(order_c, "c", MIEN_STAGE_FUSE, NULL, nothing, "Relu(x)")
REWRITE(order_d, "d", MIEN_STAGE_FUSE, "first", nothing, "Relu(x)")
REWRITE(order_first, "first", MIEN_STAGE_CANONICALISE, NULL, nothing, "Relu(x)")
REWRITE(order_last, "0-last", MIEN_STAGE_FINISH, NULL, nothing, "Relu(x)")
REWRITE(order_again, "a", MIEN_STAGE_FINISH, NULL, nothing, "Relu(x)")
REWRITE(order_unknown, "e", MIEN_STAGE_FUSE, "b nobody", nothing, "Relu(x)")
REWRITE(order_late, "e", MIEN_STAGE_FUSE, "0-last", nothing, "Relu(x)")
REWRITE(order_ring, "d", MIEN_STAGE_FUSE, "a", nothing, "Relu(x)")
REWRITE(order_bad, "z", MIEN_STAGE_FUSE, NULL, nothing, "Relu(x")

static mien_status create(mien_env *env, const mien_rewrite *const *tables) {
  mien__passes_destroy(passes);
  passes = NULL;
  return mien__passes_create(env, tables, &passes, &failure);
}
#define CREATE(env, ...) create(env, (const mien_rewrite *const[]){__VA_ARGS__, NULL})

static void test_order_of_rewrites(void **state) {
  (void)state;
  mien_env *env = new_env();
  good(CREATE(env, order_last, order_a, order_b, order_c, order_d, order_first));
  const char *expected[] = {"first", "c", "d", "b", "a", "0-last"};
  for (int i = 0; i < 6; i++) assert_string_equal(passes->runs[i].rewrite->name, expected[i]);
  bad(MIEN_PLUGIN, "there are two rewrites 'a'",
      CREATE(env, order_a, order_b, order_c, order_d, order_first, order_again));
  bad(MIEN_PLUGIN, "rewrite 'e' comes after 'nobody', which there is not",
      CREATE(env, order_unknown, order_b, order_d, order_first));
  bad(MIEN_PLUGIN, "'0-last', which is of a later stage (finish)", CREATE(env, order_late, order_last));
  bad(MIEN_PLUGIN, "comes after itself", CREATE(env, order_a, order_b, order_c, order_ring));
  bad(MIEN_PLUGIN, "rewrite 'z': pattern \"Relu(x\"", CREATE(env, order_bad));
  good(CREATE(env, order_first));
  mien__passes_destroy(passes);
  passes = NULL;
  mien_env_destroy(env);
}

/* The built-in ones are in order, too, and every pattern parses. */
static void test_built_in_rewrites(void **state) {
  (void)state;
  mien_env *env = new_env();
  good(mien__passes_create(env, NULL, &passes, &failure));
  for (int i = 1; i < passes->run_count; i++)
    assert_true(passes->runs[i - 1].rewrite->stage <= passes->runs[i].rewrite->stage);
  mien__passes_destroy(passes);
  passes = NULL;
  mien_env_destroy(env);
}

static mien_status flip(mien_rewriter *r) {
  mien_value y;
  bool add = H(r)->pattern(r) == 0;
  MIEN_TRY(add_node(r, add ? "Mul" : "Add", H(r)->bound(r, "a"), H(r)->bound(r, "b"), &y));
  return H(r)->replace(r, root_out(r, 0), y);
}
REWRITE(flips, "flip", MIEN_STAGE_CANONICALISE, NULL, flip, "Add(a, b)", "Mul(a, b)")

static void test_endless_rewriting_is_an_error(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4));
  output(g, "y", OP(g, "Add", "sum", x, x));
  bad(MIEN_INTERNAL, "rewrite 'flip' does not come to an end", RUN(g, 0, flips));
  assert_non_null(strstr(failure.message, "'sum'"));
  abandon(g);
}

/* ---- size */

/* Neg(Neg(x)) -> x */
REWRITE(negations, "negations", MIEN_STAGE_CANONICALISE, NULL, drop_identity, "Neg(Neg(x))")

static void test_large_graphs_stay_fast(void **state) {
  (void)state;
  enum { N = 100000 };
  mien__graph *g = new_graph(new_env());
  mien_value v = input(g, "x", F32(4)), x = v;
  for (int i = 0; i < N; i++) v = OP(g, i % 4 == 3 ? "Identity" : i % 4 == 2 ? "Relu" : "Neg", NULL, v);
  mien_value sum = OP(g, "Add", "sum", v, x);
  for (int i = 0; i < N / 10; i++) /* one value with many readers */
    output(g, NULL, OP(g, "Identity", NULL, OP(g, "Mul", NULL, sum, v)));
  good(RUN(g, 0, identity, negations));
  assert_int_equal(count_ops(g, "Identity"), 0);
  assert_int_equal(count_ops(g, "Neg"), 0);
  assert_int_equal(count_ops(g, "Relu"), N / 4);
  assert_int_equal(count_ops(g, "Mul"), N / 10);
  finish(g);
}

static mien_status grow_up(mien_rewriter *r) {
  mien_value a, y;
  MIEN_TRY(add_node(r, "Neg", H(r)->bound(r, "x"), MIEN_NO_VALUE, &a));
  MIEN_TRY(add_node(r, "Relu", a, MIEN_NO_VALUE, &y));
  return H(r)->replace(r, root_out(r, 0), y);
}
/* Moves a Neg through a long chain of Relu, one at a time. */
REWRITE(upwards, "upwards", MIEN_STAGE_SINK, NULL, grow_up, "Neg(Relu(x))")

static void test_long_journeys_end(void **state) {
  (void)state;
  enum { N = 5000 };
  mien__graph *g = new_graph(new_env());
  mien_value v = input(g, "x", F32(4));
  for (int i = 0; i < N; i++) v = OP(g, "Relu", NULL, v);
  output(g, "y", OP(g, "Neg", "n", v));
  good(RUN(g, 0, upwards));
  assert_int_equal(passes->patches, N);
  assert_string_equal(output_node(g, 0)->n.record->op->name, "Relu");
  assert_int_equal(count_ops(g, "Neg"), 1);
  finish(g);
}

/* ---- inference after a patch */

/* Shape of Expand becomes known: what depends on it is inferred and folded. */
static mien_status use_static(mien_rewriter *r) {
  const int64_t sizes[2] = {2, 3};
  mien_value shape, y;
  MIEN_TRY(H(r)->constant_ints(r, sizes, 2, 1, &shape));
  MIEN_TRY(add_node(r, "Identity", shape, MIEN_NO_VALUE, &y));
  return H(r)->replace(r, root_out(r, 0), y);
}
REWRITE(known, "known", MIEN_STAGE_CANONICALISE, NULL, use_static, "Neg(x)")

static void test_new_knowledge_flows_down(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(2, 3)), s = input(g, "s", type_of(MIEN_I64, 1, (const int64_t[]){2}));
  mien_value n = OP(g, "Neg", "n", s), y = OP(g, "Reshape", "y", x, n), t = OP(g, "Transpose", "t", y);
  mien_value shape = OP(g, "Shape", "shape", t);
  output(g, "t", t);
  output(g, "shape", shape);
  good(mien__graph_infer(g, true, &failure));
  assert_true(mien_is_symbol(value_type(g, t)->dim[0]));
  good(RUN(g, 0, known));
  assert_int_equal(value_type(g, t)->dim[0], 3);
  assert_int_equal(value_type(g, t)->dim[1], 2);
  assert_int_equal(g->live_count, 2);
  const mien__gvalue *v = g->values[g->outputs[1].value];
  assert_true(v->v.constant);
  assert_int_equal(((const int64_t *)v->v.tensor.data)[0], 3);
  assert_string_equal(v->names->text, "shape");
  finish(g);
}

/* Two MatMuls of one input become one and a Split: several values replaced by one patch, some read early. */
static mien_status join(mien_rewriter *r) {
  mien_value x = H(r)->bound(r, "x"), w = H(r)->bound(r, "w"), ws[2], joined, wide, parts[2], sizes;
  const int64_t split[2] = {3, 3};
  mien_node_id other = MIEN_NO_NODE;
  for (int i = 0; other == MIEN_NO_NODE && H(r)->user(r, x, i) != MIEN_NO_NODE; i++)
    if (H(r)->user(r, x, i) != H(r)->root(r)) other = H(r)->user(r, x, i);
  if (other == MIEN_NO_NODE || strcmp(H(r)->op_name(r, other), "MatMul")) return MIEN_OK;
  ws[0] = w;
  ws[1] = H(r)->in(r, other, 1);
  if (H(r)->type(r, ws[1])->dim[1] != 3) return MIEN_OK;
  MIEN_TRY(H(r)->begin(r, "Concat", ws, 2));
  MIEN_TRY(H(r)->set_i(r, "axis", 1));
  MIEN_TRY(H(r)->end(r, &joined, 1));
  MIEN_TRY(add_node(r, "MatMul", x, joined, &wide));
  MIEN_TRY(H(r)->constant_ints(r, split, 2, 1, &sizes));
  const mien_value in[2] = {wide, sizes};
  MIEN_TRY(H(r)->begin(r, "Split", in, 2));
  MIEN_TRY(H(r)->set_i(r, "axis", 1));
  MIEN_TRY(H(r)->end(r, parts, 2));
  MIEN_TRY(H(r)->replace(r, root_out(r, 0), parts[0]));
  return H(r)->replace(r, H(r)->out(r, other, 0), parts[1]);
}
REWRITE(joins, "join", MIEN_STAGE_FUSE, NULL, join, "MatMul(x, #w)")

static mien__graph *join_graph(bool dependent) {
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4, 2)), w = constant(g, "w", F32(2, 3), six), u = constant(g, "u", F32(2, 3), six);
  mien_value a = OP(g, "MatMul", "a", x, w), early = OP(g, "Relu", "early", a);
  for (int i = 0; i < 20; i++) early = OP(g, "Relu", NULL, early);
  mien_value b = OP(g, "MatMul", "b", x, u);
  output(g, "y", OP(g, "Add", "y", early, dependent ? OP(g, "Mul", "m", b, early) : b));
  return g;
}

static void test_several_values_in_one_patch(void **state) {
  (void)state;
  for (int dependent = 0; dependent < 2; dependent++) {
    mien__graph *g = join_graph(dependent != 0);
    good(RUN(g, 0, joins));
    assert_int_equal(passes->patches, 1);
    assert_int_equal(count_ops(g, "MatMul"), 1);
    assert_int_equal(count_ops(g, "Split"), 1);
    assert_int_equal(count_ops(g, "Concat"), 0);
    for (int32_t i = 0; i < g->node_count; i++) /* ranks stay right */
      for (int k = 0; g->nodes[i]->state == MIEN__NODE_LIVE && k < g->nodes[i]->n.in_count; k++) {
        mien_node_id above = g->values[g->nodes[i]->in[k]]->producer;
        if (above != MIEN_NO_NODE) assert_true(g->nodes[above]->rank <= g->nodes[i]->rank);
      }
    finish(g);
  }
}

/* Wide Split parts of which one feeds the other product: joining them would be a cycle. */
static void test_joint_cycles_are_found(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(3, 3)), w = constant(g, "w", F32(3, 3), NULL);
  mien_value a = OP(g, "MatMul", "a", x, w), c = OP(g, "Relu", "c", a), b = OP(g, "MatMul", "b", x, c);
  output(g, "y", b);
  bad(MIEN_INTERNAL, "its patch makes a cycle", RUN(g, 0, joins));
  abandon(g);
}

/* ---- attributes and questions */

static mien_status ask(mien_rewriter *r) {
  mien_node_id root = H(r)->root(r);
  mien_value x = H(r)->bound(r, "x"), y;
  int64_t count = 7;
  assert_string_equal(H(r)->op_name(r, root), "Transpose");
  assert_int_equal(H(r)->bound(r, "nobody"), MIEN_NO_VALUE);
  assert_int_equal(H(r)->producer(r, x), MIEN_NO_NODE);
  assert_int_equal(H(r)->uses(r, x), 2);
  assert_int_equal(H(r)->user(r, x, 1), root);
  assert_int_equal(H(r)->user(r, x, 2), MIEN_NO_NODE);
  assert_int_equal(H(r)->user(r, x, -1), MIEN_NO_NODE);
  assert_true(H(r)->is_output(r, root_out(r, 0)));
  assert_string_equal(H(r)->name(r, x), "x");
  assert_string_equal(H(r)->name(r, 4711), "");
  assert_null(H(r)->constant(r, x));
  assert_null(H(r)->ints(r, x, &count));
  assert_int_equal(count, 0);
  assert_true(H(r)->has_attr(r, root, "perm"));
  assert_int_equal(H(r)->attr_ints(r, root, "perm", &count)[1], 0);
  assert_int_equal(count, 2);
  assert_int_equal(H(r)->in(r, root, 5), MIEN_NO_VALUE);
  assert_int_equal(H(r)->in_count(r, root), 1);
  assert_int_equal(H(r)->since(r, root), 1);
  assert_false(H(r)->same(r, root, H(r)->user(r, x, 0)));
  assert_true(H(r)->same(r, root, root));
  assert_int_equal(H(r)->dim(r, '*', 6, 7), 42);
  MIEN_TRY(H(r)->begin(r, "Transpose", &x, 1));
  MIEN_TRY(H(r)->copy_attrs(r, root));
  MIEN_TRY(H(r)->end(r, &y, 1));
  assert_string_equal(H(r)->op_name(r, H(r)->producer(r, y)), "Transpose");
  assert_true(H(r)->same(r, root, H(r)->producer(r, y)));
  assert_int_equal(H(r)->type(r, y)->dim[0], 3);
  MIEN_TRY(H(r)->begin(r, "Transpose", &x, 1));
  MIEN_TRY(H(r)->copy_attrs(r, root));
  MIEN_TRY(H(r)->set_ints(r, "perm", (const int64_t[]){0, 1}, 2)); /* the later one holds */
  MIEN_TRY(H(r)->end(r, &y, 1));
  assert_false(H(r)->same(r, root, H(r)->producer(r, y)));
  assert_int_equal(H(r)->type(r, y)->dim[0], 2);
  return MIEN_OK; /* nothing replaced: declines, and leaves nothing behind */
}
REWRITE(asks, "asks", MIEN_STAGE_CANONICALISE, NULL, ask, "Transpose(x)")

static void test_questions_and_attributes(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  int64_t perm[2] = {1, 0};
  mien__attr_value attr = {.name = "perm", .kind = 'I', .count = 2, .ints = perm};
  mien_value x = input(g, "x", F32(2, 3)), r = OP(g, "Relu", "r", x);
  output(g, "r", r);
  output(g, "t", op_node(g, "Transpose", "t", &attr, 1, &x, 1));
  int32_t nodes = g->node_count, values = g->value_count;
  good(RUN(g, 0, asks));
  assert_int_equal(passes->patches, 0);
  assert_int_equal(g->node_count, nodes);
  assert_int_equal(g->value_count, values);
  finish(g);
}

/* begin without opset: the model's own where it has the operator, else the first that does. */
static mien_status use_newer(mien_rewriter *r) {
  const mien_value x = H(r)->bound(r, "x");
  mien_value y;
  MIEN_TRY(H(r)->begin(r, "Gelu", &x, 1));
  MIEN_TRY(H(r)->end(r, &y, 1));
  return H(r)->replace(r, root_out(r, 0), y);
}
REWRITE(newer, "newer", MIEN_STAGE_CANONICALISE, NULL, use_newer, "Relu(x)")

static void test_operators_newer_than_the_model(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  output(g, "y", OP(g, "Relu", "y", input(g, "x", F32(2))));
  good(RUN(g, 0, newer));
  assert_string_equal(output_node(g, 0)->n.record->op->name, "Gelu");
  assert_int_equal(output_node(g, 0)->opset, 20);
  finish(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_names_follow_values),
      cmocka_unit_test(test_constants_of_a_patch_fold),
      cmocka_unit_test(test_stop_and_skip),
      cmocka_unit_test(test_wrong_shapes_and_types_are_errors),
      cmocka_unit_test(test_unproven_sizes_drop_the_patch),
      cmocka_unit_test(test_cycles_are_errors),
      cmocka_unit_test(test_insertion),
      cmocka_unit_test(test_misuse_is_a_clear_error),
      cmocka_unit_test(test_order_of_rewrites),
      cmocka_unit_test(test_built_in_rewrites),
      cmocka_unit_test(test_endless_rewriting_is_an_error),
      cmocka_unit_test(test_large_graphs_stay_fast),
      cmocka_unit_test(test_long_journeys_end),
      cmocka_unit_test(test_new_knowledge_flows_down),
      cmocka_unit_test(test_several_values_in_one_patch),
      cmocka_unit_test(test_joint_cycles_are_found),
      cmocka_unit_test(test_questions_and_attributes),
      cmocka_unit_test(test_operators_newer_than_the_model),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
