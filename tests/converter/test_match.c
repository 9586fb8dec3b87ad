/* tests/converter/test_match.c -- patterns: what parses, what matches. */
#include "graph_test.h"

#include <stdlib.h>

static mien__pool pool;
static mien__binding bindings[MIEN__PATTERN_NAMES];

/* Whether `text` matches at the producer of v. */
static bool matches(const mien__graph *g, mien_value v, const char *text) {
  mien__pattern pattern;
  bool matched;
  good(mien__pattern_parse(&pool, text, "test", &pattern, &failure));
  good(mien__match(&pattern, g, g->values[v]->producer, bindings, &matched, &failure));
  return matched;
}

/* The value that a name of the same pattern was bound to. */
static mien_value bound(const mien__graph *g, mien_value v, const char *text, const char *name) {
  mien__pattern pattern;
  bool matched;
  good(mien__pattern_parse(&pool, text, "test", &pattern, &failure));
  good(mien__match(&pattern, g, g->values[v]->producer, bindings, &matched, &failure));
  assert_true(matched);
  for (int i = 0; i < pattern.name_count; i++)
    if (!strcmp(pattern.names[i], name)) {
      assert_true(bindings[i].bound);
      return bindings[i].value;
    }
  fail_msg("no name %s", name);
  return MIEN_NO_VALUE;
}

static int set_up(void **state) {
  (void)state;
  mien__pool_init(&pool, new_env(), (size_t)1 << 30);
  return 0;
}
static int tear_down(void **state) {
  (void)state;
  mien_env *env = pool.env;
  mien__pool_clear(&pool);
  mien_env_destroy(env);
  return 0;
}

static void refused(const char *text, const char *why) {
  mien__pattern pattern;
  bad(MIEN_PLUGIN, why, mien__pattern_parse(&pool, text, "the-pass", &pattern, &failure));
  assert_non_null(strstr(failure.message, "rewrite 'the-pass'"));
}

static void test_bad_patterns_are_refused(void **state) {
  (void)state;
  refused("", "expected a name");
  refused("x", "root must be an operator");
  refused("?x", "root must be an operator");
  refused("#c", "root must be an operator");
  refused("...", "root must be an operator");
  refused("Add", "root must be an operator");
  refused("Add(", "column 5: expected a name");
  refused("Add(a", "expected ',' or ')'");
  refused("Add(a b)", "column 7: expected ',' or ')'");
  refused("Add(a,)", "expected a name");
  refused("Add(a))", "column 7: expected the end");
  refused("Add(a) b", "expected the end");
  refused("Add(a, Mul(b, c)", "expected ',' or ')'");
  refused("Add(..., a)", "'...' must be the last argument");
  refused("Add|(a)", "expected an operator");
  refused("Add|Sub", "expected '('");
  refused("a:b", "expected an operator after ':'");
  refused("Add(a:b)", "expected an operator after ':'");
  refused("Add(?)", "expected a name");
  refused("Add(#, a)", "expected a name");
  refused("Add(a; b)", "expected ',' or ')'");
  refused("Add(\xff)", "expected a name");
  refused("*|Add(a)", "expected '('");
}

static void test_patterns_have_limits(void **state) {
  (void)state;
  char text[4096];
  for (int depth = MIEN__PATTERN_DEPTH; depth <= MIEN__PATTERN_DEPTH + 1; depth++) {
    size_t used = 0;
    for (int i = 0; i < depth; i++) used += (size_t)sprintf(text + used, "Relu(");
    used += (size_t)sprintf(text + used, "x");
    for (int i = 0; i < depth; i++) used += (size_t)sprintf(text + used, ")");
    mien__pattern pattern;
    if (depth == MIEN__PATTERN_DEPTH)
      good(mien__pattern_parse(&pool, text, "test", &pattern, &failure));
    else
      refused(text, "nested too deep");
  }
  memset(text, 0, sizeof text);
  memcpy(text, "Add(", 4);
  for (int i = 4; i < 4 + 2 * MIEN__PATTERN_ITEMS; i++) text[i] = i % 2 ? ',' : '_';
  refused(text, "too many items");
  size_t used = (size_t)sprintf(text, "Add(n0");
  for (int i = 1; i <= MIEN__PATTERN_NAMES; i++) used += (size_t)sprintf(text + used, ", n%d", i);
  refused(text, "too many names");
  memset(text, ' ', sizeof text);
  text[sizeof text - 1] = '\0';
  refused(text, "a pattern of 4095 bytes");
}

static void test_shapes_of_patterns(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  const float one[1] = {1};
  mien_value x = input(g, "x", F32(4, 4)), w = input(g, "w", F32(4, 4)), c = floats(g, "c", 1, one);
  mien_value m = OP(g, "MatMul", "m", x, w), y = OP(g, "Add", "y", c, m), r = OP(g, "Relu", "r", y);
  output(g, "r", r);
  good(mien__graph_infer(g, true, &failure));
  assert_true(matches(g, y, "Add(MatMul(a, w), b)")); /* in the other order */
  assert_true(matches(g, y, " Add ( MatMul ( a , w ) , #b ) "));
  assert_int_equal(bound(g, y, "Add(m:MatMul(a, w), #b)", "b"), c);
  assert_int_equal(bound(g, y, "Add(m:MatMul(a, w), #b)", "m"), m);
  assert_int_equal(bound(g, y, "Add(m:MatMul(a, w), #b)", "w"), w);
  assert_int_equal(bound(g, y, "out:Add(_, _)", "out"), y);
  assert_false(matches(g, y, "Add(#a, #b)"));
  assert_false(matches(g, y, "Add(MatMul(w, x), w)"));
  assert_false(matches(g, m, "MatMul(#a, w)"));
  assert_true(matches(g, r, "Relu|Tanh(Sub|Add(a, b))"));
  assert_true(matches(g, r, "Tanh|Relu(a)"));
  assert_false(matches(g, r, "Tanh|Sigmoid(a)"));
  assert_true(matches(g, r, "*(*(...))"));
  assert_true(matches(g, r, "*(Add(...))"));
  assert_false(matches(g, r, "*(Sub(...))"));
  assert_true(matches(g, r, "Relu(...)"));
  assert_false(matches(g, r, "Relu(a, b)"));
  assert_true(matches(g, r, "Relu(a, ?b)"));
  assert_int_equal(bound(g, r, "Relu(a, ?b)", "b"), MIEN_NO_VALUE);
  assert_false(matches(g, y, "Add(a)"));
  assert_true(matches(g, y, "Add(a, ...)"));
  assert_true(matches(g, y, "Add(a, b, ...)"));
  assert_false(matches(g, r, "Relu()"));
  assert_false(matches(g, r, "mien.Relu(a)"));
  assert_false(matches(g, m, "MatMul(Relu(_), _)")); /* an input has no producer */
  close_graph(g);
}

/* Repeated names must agree, which can force the other order of a commutative operator far away. */
static void test_repeated_names_backtrack(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), y = input(g, "y", F32(4)), z = input(g, "z", F32(4));
  mien_value a = OP(g, "Add", "a", x, y), b = OP(g, "Add", "b", z, x), p = OP(g, "Mul", "p", a, b);
  mien_value s = OP(g, "Sigmoid", "s", x), silu = OP(g, "Mul", "silu", x, s), not = OP(g, "Mul", "not", y, s);
  mien_value square = OP(g, "Mul", "square", x, x);
  output(g, "p", p);
  output(g, "silu", silu);
  output(g, "not", not );
  output(g, "square", square);
  good(mien__graph_infer(g, true, &failure));
  const char *common = "Mul(Add(q, u), Add(q, v))";
  assert_true(matches(g, p, common));
  assert_int_equal(bound(g, p, common, "q"), x);
  assert_int_equal(bound(g, p, common, "u"), y);
  assert_int_equal(bound(g, p, common, "v"), z);
  assert_false(matches(g, p, "Mul(Add(q, u), Add(q, u))"));
  assert_true(matches(g, silu, "Mul(s:Sigmoid(x), x)"));
  assert_int_equal(bound(g, silu, "Mul(s:Sigmoid(x), x)", "x"), x);
  assert_false(matches(g, not, "Mul(s:Sigmoid(x), x)"));
  assert_true(matches(g, square, "Mul(x, x)"));
  assert_false(matches(g, silu, "Mul(x, x)"));
  close_graph(g);
}

/* Sub does not commute; a Split's second output is not its output 0. */
static void test_order_and_outputs_matter(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(4)), r = OP(g, "Relu", "r", x), d = OP(g, "Sub", "d", x, r);
  mien_value halves[2] = {named(g, "h0"), named(g, "h1")};
  const int64_t sizes[2] = {2, 2};
  mien_value in[2] = {d, ints(g, 2, sizes)};
  node_of(g, "Split", NULL, 0, in, 2, halves, 2);
  mien_value first = OP(g, "Neg", "n0", halves[0]), second = OP(g, "Neg", "n1", halves[1]);
  output(g, "n0", first);
  output(g, "n1", second);
  good(mien__graph_infer(g, true, &failure));
  assert_true(matches(g, d, "Sub(x, Relu(x))"));
  assert_false(matches(g, d, "Sub(Relu(x), x)"));
  assert_true(matches(g, first, "Neg(Split(...))"));
  assert_false(matches(g, second, "Neg(Split(...))"));
  close_graph(g);
}

/* An absent input in the middle matches ?x alone. */
static void test_absent_inputs(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value x = input(g, "x", F32(2, 3)), w = input(g, "w", F32(3, 4));
  mien_value in[5] = {x, w, MIEN_NO_VALUE, MIEN_NO_VALUE, MIEN_NO_VALUE};
  mien_value y = op_node(g, "mien.Linear", "y", NULL, 0, in, 5);
  output(g, "y", y);
  assert_true(matches(g, y, "mien.Linear(x, w, ?b, ?s, ?g, ?r)"));
  assert_true(matches(g, y, "mien.Linear(x, w)"));
  assert_true(matches(g, y, "mien.Linear(x, w, ...)"));
  assert_false(matches(g, y, "mien.Linear(x, w, b, ...)"));
  assert_false(matches(g, y, "mien.Linear(x, w, _)"));
  close_graph(g);
}

/* Where both orders lead on at every level, the search is given up with a clear error. */
static void test_search_is_bounded(void **state) {
  (void)state;
  mien__graph *g = new_graph(new_env());
  mien_value u = input(g, "u", F32(4)), v = input(g, "v", F32(4));
  char text[1024] = "Relu(_)";
  for (int i = 0; i < 25; i++) {
    char more[1040];
    mien_value sum = OP(g, "Add", NULL, u, v);
    v = OP(g, "Add", NULL, v, u);
    u = sum;
    snprintf(more, sizeof more, "Add(_, %.1000s)", text);
    memcpy(text, more, sizeof text);
  }
  output(g, "y", v);
  good(mien__graph_infer(g, true, &failure));
  mien__pattern pattern;
  bool matched;
  good(mien__pattern_parse(&pool, text, "test", &pattern, &failure));
  bad(MIEN_PLUGIN, "takes more than", mien__match(&pattern, g, g->values[v]->producer, bindings, &matched, &failure));
  close_graph(g);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bad_patterns_are_refused), cmocka_unit_test(test_patterns_have_limits),
      cmocka_unit_test(test_shapes_of_patterns),       cmocka_unit_test(test_repeated_names_backtrack),
      cmocka_unit_test(test_order_and_outputs_matter), cmocka_unit_test(test_absent_inputs),
      cmocka_unit_test(test_search_is_bounded),
  };
  return cmocka_run_group_tests(tests, set_up, tear_down);
}
