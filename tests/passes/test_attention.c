/* tests/passes/test_attention.c -- attention in its spellings, and rows that sink through networks. */
#include "pass_test.h"

enum { B = 2, N = 5, H = 3, D = 4, C = H * D };

#define PERM(...) ATTRS(LIST("perm", __VA_ARGS__))

static mien_value linear(mien__graph *g, mien_value x, int64_t from, int64_t to) {
  mien_value y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, from, to));
  return NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, to));
}
static mien_value heads(mien__graph *g, mien_value x) {
  return NODE(g, "Transpose", PERM(0, 2, 1, 3), NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 0, 0, H, D)));
}
static mien_value merged(mien__graph *g, mien_value y) {
  return NODE(g, "Reshape", NO_ATTRS, NODE(g, "Transpose", PERM(0, 2, 1, 3), y), INTS(g, 0, 0, C));
}
static mien_value scores(mien__graph *g, mien_value q, mien_value k) {
  return NODE(g, "MatMul", NO_ATTRS, q, NODE(g, "Transpose", PERM(0, 1, 3, 2), k));
}
static mien_value weighted(mien__graph *g, mien_value s, mien_value v) {
  return NODE(g, "MatMul", NO_ATTRS, NODE(g, "Softmax", ATTRS(INT("axis", -1)), s), v);
}

/* ---------------------------------------------------------------- where q, k and v come from */

static void build_one_linear(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), N, C)), y, part[3];
  y = NODE(g, "Reshape", NO_ATTRS, linear(g, x, C, 3 * C), INTS(g, 0, N, 3, H, D));
  y = NODE(g, "Transpose", PERM(2, 0, 3, 1, 4), y);
  for (int i = 0; i < 3; i++) part[i] = NODE(g, "Gather", NO_ATTRS, y, index_of(g, i));
  y = NODE(g, "Mul", NO_ATTRS, scores(g, part[0], part[1]), number(g, 0.5f));
  output(g, "index", linear(g, merged(g, weighted(g, y, part[2])), C, C));

  y = NODES(g, "Split", 3, ATTRS(INT("axis", 2)), linear(g, x, C, 3 * C), INTS(g, C, C, C));
  part[0] = NODE(g, "Div", NO_ATTRS, heads(g, y), number(g, 2));
  output(g, "split", merged(g, weighted(g, scores(g, part[0], heads(g, y + 1)), heads(g, y + 2))));

  y = NODE(g, "Reshape", NO_ATTRS, linear(g, x, C, 3 * C), INTS(g, 0, N, H, 3 * D)); /* side by side in each head */
  for (int i = 0; i < 3; i++) {
    part[i] = NODE(g, "Slice", NO_ATTRS, y, INTS(g, i * D), INTS(g, i * D + D), INTS(g, 3));
    part[i] = NODE(g, "Transpose", PERM(0, 2, 1, 3), part[i]);
  }
  output(g, "by head", merged(g, weighted(g, scores(g, part[0], part[1]), part[2])));
}
static void one_linear(void **state) {
  (void)state;
  pass_check(build_one_linear, "= mien.Attention 3, mien.Linear 10");
}

static void build_scales(mien__graph *g) {
  mien_value x = input(g, "x", F32(B, N, C)), y = input(g, "y", F32(B, 7, C)), q = heads(g, x), k = heads(g, y), s, kt;
  mien_value mask = input(g, "mask", F32(B, 1, 1, 7)), other[4] = {q, 0, 0, 0};
  const char *const functions[4] = {"", "Sin", "Cos", "Tanh"};
  for (int i = 1; i < 4; i++) other[i] = heads(g, NODE(g, functions[i], NO_ATTRS, x));
  kt = NODE(g, "Transpose", PERM(0, 1, 3, 2), k);
  s = NODE(g, "Mul", NO_ATTRS, number(g, 0.7f), q);
  s = NODE(g, "MatMul", NO_ATTRS, s, NODE(g, "Mul", NO_ATTRS, kt, constant(g, NULL, F32(1), &(float){0.7f})));
  output(g, "both", merged(g, weighted(g, s, k)));
  s = NODE(g, "Div", NO_ATTRS, NODE(g, "MatMul", NO_ATTRS, other[1], kt), number(g, 2));
  s = NODE(g, "Add", NO_ATTRS, mask, NODE(g, "Add", NO_ATTRS, s, WEIGHTS(g, H, N, 7)));
  output(g, "two terms", merged(g, weighted(g, s, k)));
  s = NODE(g, "Sub", NO_ATTRS, NODE(g, "MatMul", NO_ATTRS, other[2], kt), mask);
  output(g, "after", merged(g, weighted(g, NODE(g, "Mul", NO_ATTRS, s, number(g, 0.3f)), k))); /* scales the mask too */
  s = NODE(g, "Mul", NO_ATTRS, NODE(g, "Sub", NO_ATTRS, number(g, 1), mask), number(g, -2));
  s = NODE(g, "Add", NO_ATTRS, s, NODE(g, "MatMul", NO_ATTRS, other[3], kt)); /* both sides might lead on */
  output(g, "computed", merged(g, weighted(g, s, k)));
}
static void scales(void **state) {
  (void)state;
  pass_check(build_scales, "mien.Attention 4, MatMul 0, Softmax 0");
}

static void build_rank3(mien__graph *g) {
  mien_value x = input(g, "x", F32(B, N, C)), q, k, v, y, bias = WEIGHTS(g, B * H, N, N);
  q = linear(g, x, C, C);
  k = linear(g, x, C, C);
  v = linear(g, x, C, C);
  y = NODE(g, "MatMul", NO_ATTRS, q, NODE(g, "Transpose", PERM(0, 2, 1), k)); /* one head */
  output(g, "one head", weighted(g, NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, B, N, N)), v));
  q = NODE(g, "Reshape", NO_ATTRS, heads(g, linear(g, x, C, C)), INTS(g, B * H, N, D)); /* heads in the batch */
  k = NODE(g, "Reshape", NO_ATTRS, heads(g, linear(g, x, C, C)), INTS(g, B * H, N, D));
  v = NODE(g, "Reshape", NO_ATTRS, heads(g, linear(g, x, C, C)), INTS(g, B * H, N, D));
  y = NODE(g, "MatMul", NO_ATTRS, q, NODE(g, "Transpose", PERM(0, 2, 1), k));
  y = weighted(g, NODE(g, "Add", NO_ATTRS, bias, y), v);
  output(g, "merged", merged(g, NODE(g, "Reshape", NO_ATTRS, y, INTS(g, B, H, N, D))));
}
static void rank3(void **state) {
  (void)state;
  pass_check(build_rank3, "= mien.Attention 2, mien.Linear 6");
}

static void build_apart(mien__graph *g) {
  mien_value x = input(g, "x", F32(B, H, N, D)), y = input(g, "y", F32(B, H, D, 7)), v = input(g, "v", F32(B, H, 7, 2));
  output(g, "heads", weighted(g, NODE(g, "MatMul", NO_ATTRS, x, y), v));
}
static void apart(void **state) {
  (void)state;
  pass_check(build_apart, "= mien.Attention 1, Transpose 1");
}

/* ---------------------------------------------------------------- none */

static void build_none(mien__graph *g) {
  mien_value x = input(g, "x", F32(B, N, C)), q = heads(g, x), k = heads(g, linear(g, x, C, C)), s, p;
  s = scores(g, q, k);
  output(g, "axis", NODE(g, "MatMul", NO_ATTRS, NODE(g, "Softmax", ATTRS(INT("axis", 2)), s), k));
  s = scores(g, q, k);
  output(g, "scores", s); /* read inside */
  output(g, "a", weighted(g, s, k));
  p = NODE(g, "Softmax", ATTRS(INT("axis", 3)), NODE(g, "Neg", NO_ATTRS, scores(g, q, k)));
  output(g, "negated", NODE(g, "MatMul", NO_ATTRS, p, k));
  s = NODE(g, "Mul", NO_ATTRS, scores(g, q, NODE(g, "Abs", NO_ATTRS, k)), WEIGHTS(g, H, 1, 1)); /* a scale a head */
  output(g, "scales", weighted(g, s, k));
  s = scores(g, q, NODE(g, "Exp", NO_ATTRS, k));
  output(g, "broadcast", weighted(g, s, WEIGHTS(g, 1, 1, N, D)));
  s = NODE(g, "Add", NO_ATTRS, scores(g, q, NODE(g, "Sin", NO_ATTRS, k)),
           WEIGHTS(g, 4, 1, 1, 1, 1)); /* of a higher rank */
  output(g, "rank", weighted(g, s, k));
}
static void none(void **state) {
  (void)state;
  pass_check(build_none, "mien.Attention 0, Softmax 6");
}

static void build_doubles(mien__graph *g) {
  mien_value x = input(g, "x", type_of(MIEN_F64, 3, (int64_t[]){B, N, D}));
  output(g, "y", weighted(g, NODE(g, "MatMul", NO_ATTRS, x, NODE(g, "Transpose", PERM(0, 2, 1), x)), x));
}
static void doubles(void **state) {
  (void)state;
  pass_check(build_doubles, "mien.Attention 0, Softmax 1");
}

static void build_small(mien__graph *g) {
  mien_value x = input(g, "x", F32(1, 1, 1)), y = input(g, "y", F32(1, 4, 1)), k, q;
  q = NODE(g, "Reshape", NO_ATTRS, x, INTS(g, 1, 1, 1, 1));
  k = NODE(g, "Reshape", NO_ATTRS, y, INTS(g, 1, 1, 4, 1));
  output(g, "ones", weighted(g, scores(g, q, k), k));
  q = input(g, "none", F32(0, H, N, D));
  output(g, "empty", weighted(g, scores(g, q, NODE(g, "Neg", NO_ATTRS, q)), q));
}
static void small(void **state) {
  (void)state;
  pass_check(build_small, "mien.Attention 1");
}

/* ---------------------------------------------------------------- sinking */

static mien_value norm(mien__graph *g, mien_value x) {
  return NODE(g, "LayerNormalization", ATTRS(INT("axis", -1)), x, POSITIVE(g, C), WEIGHTS(g, C));
}

/* A transformer's block of which the first token is read: everything after keys and values is of one row. */
static void build_block(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), N, C)), n, s, y;
  n = norm(g, x);
  s = NODE(g, "Mul", NO_ATTRS, scores(g, heads(g, linear(g, n, C, C)), heads(g, linear(g, n, C, C))), number(g, 0.5f));
  y = merged(g, weighted(g, NODE(g, "Add", NO_ATTRS, s, WEIGHTS(g, H, N, N)), heads(g, linear(g, n, C, C))));
  x = NODE(g, "Add", NO_ATTRS, x, linear(g, y, C, C));
  y = NODE(g, "Relu", NO_ATTRS, linear(g, norm(g, x), C, 2 * C));
  x = NODE(g, "Add", NO_ATTRS, x, linear(g, y, 2 * C, C));
  x = NODE(g, "Gather", ATTRS(INT("axis", 1)), norm(g, x), index_of(g, 0));
  output(g, "y", x);
}

/* Elements of the results of an operator. */
static int64_t rows_of(const mien__graph *g, const char *op) {
  int64_t rows = 0;
  char text[64];
  for (int32_t i = 0; i < g->node_count; i++)
    if (g->nodes[i]->state == MIEN__NODE_LIVE && !strcmp(mien__op_text(g->nodes[i]->n.record, text, sizeof text), op))
      rows += g->values[g->nodes[i]->out[0]]->v.tensor.type.dim[1];
  return rows;
}

static void block(void **state) {
  (void)state;
  pass_check(build_block, "mien.Attention 1, mien.Linear 6, LayerNormalization 3");
  mien__graph *g = pass_build(build_block);
  mien_env *env = g->env;
  pass_apply(g, NULL);
  assert_int_equal(rows_of(g, "mien.Linear"), N + N + 4); /* keys, values; q, projection, two of the MLP */
  assert_int_equal(rows_of(g, "LayerNormalization"), N + 2);
  assert_int_equal(rows_of(g, "mien.Attention"), 1);
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

static void build_sinks(mien__graph *g) {
  mien_value x = input(g, "x", F32(3, 6, 4)), w = input(g, "w", F32(6, 4)), y, z;
#define CUT(v, axis, from, to, step) \
  NODE(g, "Slice", NO_ATTRS, v, INTS(g, from), INTS(g, to), INTS(g, axis), INTS(g, step))
  y = NODE(g, "Exp", NO_ATTRS, NODE(g, "Mul", NO_ATTRS, x, w));
  output(g, "broadcast", CUT(y, 1, 1, 6, 2));
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), NODE(g, "Neg", NO_ATTRS, x), x);
  output(g, "first part", CUT(y, 1, 2, 5, 1));
  y = NODE(g, "Concat", ATTRS(INT("axis", 1)), NODE(g, "Sin", NO_ATTRS, x), x);
  output(g, "across", CUT(y, 1, 4, 8, 1));
  y = NODE(g, "Transpose", PERM(1, 0, 2), NODE(g, "Abs", NO_ATTRS, x));
  output(g, "transposed", CUT(y, 0, 5, 6, 1));
  y = NODE(g, "Reshape", NO_ATTRS, NODE(g, "Cos", NO_ATTRS, x), INTS(g, 3, 6, 2, 2));
  output(g, "reshaped", CUT(y, 1, 0, 2, 1));
  y = NODE(g, "Softmax", ATTRS(INT("axis", 2)), NODE(g, "Mul", NO_ATTRS, x, x));
  output(g, "softmax", CUT(y, 1, 0, 1, 1));
  y = NODE(g, "Where", NO_ATTRS, NODE(g, "Less", NO_ATTRS, x, number(g, 0)), w, x);
  output(g, "where", CUT(y, 0, 1, 2, 1));
  y = NODE(g, "Tanh", NO_ATTRS, x); /* read twice, by equal slices */
  z = NODE(g, "Add", NO_ATTRS, NODE(g, "Sqrt", NO_ATTRS, CUT(y, 1, 0, 1, 1)), CUT(y, 1, 0, 1, 1));
  output(g, "twice", z);
}
static void sinks(void **state) {
  (void)state;
  pass_check(build_sinks, "Slice 8, Concat 1, Neg 1");
}

static void build_no_sinks(mien__graph *g) {
  mien_value x = input(g, "x", F32(3, 6, 4)), y;
  y = NODE(g, "Softmax", ATTRS(INT("axis", 1)), x);
  output(g, "softmax", CUT(y, 1, 0, 1, 1)); /* needs all of the axis */
  y = NODE(g, "LayerNormalization", ATTRS(INT("axis", -1)), x, WEIGHTS(g, 4));
  output(g, "norm", CUT(y, 2, 0, 1, 1));
  y = NODE(g, "Exp", NO_ATTRS, x);
  output(g, "whole", y);
  output(g, "part", CUT(y, 1, 0, 1, 1));
  y = NODE(g, "Neg", NO_ATTRS, x);
  output(g, "one", CUT(y, 1, 0, 1, 1));
  output(g, "another", CUT(y, 1, 1, 2, 1));
  y = NODE(g, "Abs", NO_ATTRS, x);
  output(g, "backwards", NODE(g, "Slice", NO_ATTRS, y, INTS(g, 2), INTS(g, 0), INTS(g, 1), INTS(g, -1)));
  y = NODE(g, "Reshape", NO_ATTRS, NODE(g, "Sin", NO_ATTRS, x), INTS(g, 6, 3, 4)); /* 6 and 6 are other axes */
  output(g, "reshaped", CUT(y, 0, 0, 1, 1));
  y = linear(g, x, 4, 5);
  output(g, "columns", NODE(g, "Relu", NO_ATTRS, CUT(y, 2, 0, 3, 1))); /* a product of fewer columns */
}
static void no_sinks(void **state) {
  (void)state;
  pass_check(build_no_sinks, "Slice 7, mien.Linear 1, Exp 1, Neg 1, Abs 1");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_linear), cmocka_unit_test(scales),   cmocka_unit_test(rank3), cmocka_unit_test(apart),
      cmocka_unit_test(none),       cmocka_unit_test(doubles),  cmocka_unit_test(small), cmocka_unit_test(block),
      cmocka_unit_test(sinks),      cmocka_unit_test(no_sinks),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
