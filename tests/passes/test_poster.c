/* tests/passes/test_poster.c -- the POSTER plugin: its rewrites, its kernels against what they replace and against their own
** decompositions. */
#define PASS_PLUGIN MIEN_BINARY_DIR "/plugins/libmien_poster.so"
#include "pass_test.h"

enum { N = 9, H = 2, D = 4, C = H * D };

static mien_value linear(mien__graph *g, mien_value x, int64_t from, int64_t to) {
  mien_value y = NODE(g, "MatMul", NO_ATTRS, x, WEIGHTS(g, from, to));
  return NODE(g, "Add", NO_ATTRS, y, WEIGHTS(g, to));
}

/* Fused and decomposed again: the same numbers. */
static void check_poster(build_fn *build, const char *left) {
  pass_check(build, left);
  mien__graph *fused = pass_build(build), *expanded = pass_build(build);
  mien_env *a = fused->env, *b = expanded->env;
  pass_apply(fused, NULL);
  pass_apply(expanded, NULL);
  good(mien__graph_expand(expanded, &failure));
  pass_expect(expanded, "poster.WindowCrossAttention 0, poster.ChannelAttention 0, poster.VICH 0");
  pass_run(fused);
  pass_run(expanded);
  pass_compare(fused, expanded, 1e-5);
  mien__graph_destroy(fused);
  mien__graph_destroy(expanded);
  mien_env_destroy(a);
  mien_env_destroy(b);
}

/* ---------------------------------------------------------------- window cross-attention */

static mien_value window(mien__graph *g, mien_value x, mien_value q, mien_value bias) {
  mien_value kv, k, v, s;
  kv = NODE(g, "Reshape", NO_ATTRS, linear(g, x, C, 2 * C), INTS(g, 0, N, 2, H, D));
  kv = NODE(g, "Transpose", ATTRS(LIST("perm", 2, 0, 3, 1, 4)), kv);
  k = NODE(g, "Gather", NO_ATTRS, kv, index_of(g, 0));
  v = NODE(g, "Gather", NO_ATTRS, kv, index_of(g, 1));
  q = NODE(g, "Mul", NO_ATTRS, q, number(g, 0.5f));
  s = NODE(g, "MatMul", NO_ATTRS, q, NODE(g, "Transpose", ATTRS(LIST("perm", 0, 1, 3, 2)), k));
  if (bias != NONE) s = NODE(g, "Add", NO_ATTRS, s, bias);
  s = NODE(g, "MatMul", NO_ATTRS, NODE(g, "Softmax", ATTRS(INT("axis", -1)), s), v);
  s = NODE(g, "Transpose", ATTRS(LIST("perm", 0, 2, 1, 3)), s);
  return linear(g, NODE(g, "Reshape", NO_ATTRS, s, INTS(g, 0, 0, C)), C, C);
}

/* Queries from a channels-last map: columns of token rows. */
static mien_value by_token(mien__graph *g, mien_value map) {
  mien_value q = NODE(g, "Reshape", NO_ATTRS, map, INTS(g, 0, N, H, D));
  return NODE(g, "Transpose", ATTRS(LIST("perm", 0, 2, 1, 3)), q);
}

static void build_window(mien__graph *g) {
  int64_t n = open_size(g, "N");
  mien_value x = input(g, "x", F32(n, N, C)), map = input(g, "map", F32(n, 3, 3, C)), y;
  x = NODE(g, "LayerNormalization", ATTRS(INT("axis", -1)), x, POSITIVE(g, C), WEIGHTS(g, C));
  y = window(g, x, by_token(g, map), WEIGHTS(g, 1, H, N, N));
  output(g, "y", NODE(g, "Add", NO_ATTRS, x, NODE(g, "Mul", NO_ATTRS, WEIGHTS(g, C), y))); /* shortcut + gamma * y */
}
static void window_with_shortcut(void **state) {
  (void)state;
  check_poster(build_window, "= LayerNormalization 1, poster.WindowCrossAttention 1, Reshape 1");
}

static void build_window_straight(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, N, C)), map = input(g, "map", F32(2, C, 3, 3)), q;
  q = NODE(g, "Reshape", NO_ATTRS, map, INTS(g, 2, H, N, D)); /* heads first, whatever the map's order */
  output(g, "y", window(g, x, q, WEIGHTS(g, H, N, N)));
  output(g, "row", window(g, NODE(g, "Neg", NO_ATTRS, x), q, WEIGHTS(g, 1, N))); /* one row of bias for all */
  output(g, "open", window(g, NODE(g, "Abs", NO_ATTRS, x), q, input(g, "bias", F32(2, 1, N, N))));
}
static void window_straight(void **state) {
  (void)state;
  check_poster(build_window_straight, "poster.WindowCrossAttention 3, mien.Attention 0, mien.Linear 0");
}

static void build_no_window(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, N, C)), map = input(g, "map", F32(2, 3, 3, C)), y;
  output(g, "no bias", window(g, x, by_token(g, map), NONE));
  output(g, "narrow", window(g, NODE(g, "Neg", NO_ATTRS, x), by_token(g, map), WEIGHTS(g, 1, H, N, 1)));
  y = by_token(g, linear(g, NODE(g, "Abs", NO_ATTRS, x), C, C)); /* queries of the same tokens */
  output(g, "self", window(g, NODE(g, "Abs", NO_ATTRS, x), y, WEIGHTS(g, 1, H, N, N)));
}
static void no_window(void **state) {
  (void)state;
  pass_check(build_no_window, "poster.WindowCrossAttention 0, mien.Attention 3");
}

/* ---------------------------------------------------------------- channel attention */

static void build_gate(mien__graph *g) {
  mien_value x = input(g, "x", F32(open_size(g, "N"), C)), y;
  y = NODE(g, "Gemm", ATTRS(INT("transB", 1)), x, WEIGHTS(g, 3, C), WEIGHTS(g, 3));
  y = NODE(g, "Gemm", ATTRS(INT("transB", 1)), NODE(g, "Relu", NO_ATTRS, y), WEIGHTS(g, C, 3), WEIGHTS(g, C));
  output(g, "y", NODE(g, "Mul", NO_ATTRS, NODE(g, "Sigmoid", NO_ATTRS, y), x));
}
static void gate(void **state) {
  (void)state;
  check_poster(build_gate, "= poster.ChannelAttention 1");
}

static mien_value gate_of(mien__graph *g, mien_value x, const char *inner, const char *outer) {
  mien_value y = NODE(g, inner, NO_ATTRS, linear(g, x, C, 3));
  return NODE(g, outer, NO_ATTRS, linear(g, y, 3, C));
}
static void build_no_gate(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, C)), y;
  output(g, "a", NODE(g, "Mul", NO_ATTRS, x, gate_of(g, x, "Tanh", "Sigmoid")));
  output(g, "b", NODE(g, "Mul", NO_ATTRS, x, gate_of(g, x, "Relu", "Tanh")));
  y = gate_of(g, x, "Relu", "Sigmoid");
  output(g, "gate", y);
  output(g, "c", NODE(g, "Mul", NO_ATTRS, x, y));
  output(g, "d", NODE(g, "Mul", NO_ATTRS, NODE(g, "Neg", NO_ATTRS, x), gate_of(g, x, "Relu", "Sigmoid")));
}
static void no_gate(void **state) {
  (void)state;
  pass_check(build_no_gate, "poster.ChannelAttention 0, Mul 4");
}

/* ---------------------------------------------------------------- the variational head */

static void build_head(mien__graph *g) {
  mien_value x = NODE(g, "Relu", NO_ATTRS, input(g, "x", F32(open_size(g, "N"), C)));
  output(g, "head.Log_Var",
         NODE(g, "Identity", NO_ATTRS, linear(g, x, C, 7))); /* the product has no such name itself */
  output(g, "mu", NODE(g, "Gemm", ATTRS(INT("transB", 1)), x, WEIGHTS(g, 7, C), WEIGHTS(g, 7)));
}
static void head(void **state) {
  (void)state;
  check_poster(build_head, "= Relu 1, poster.VICH 1");
}

static void build_one_linear(mien__graph *g) {
  mien_value y = linear(g, input(g, "x", F32(2, C)), C, 14);
  y = NODES(g, "Split", 2, ATTRS(INT("axis", 1)), y, INTS(g, 7, 7));
  output(g, "mu", y);
  output(g, "logvar", y + 1);
}
static void one_linear(void **state) {
  (void)state;
  check_poster(build_one_linear, "= poster.VICH 1");
}

static void build_no_head(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, C));
  output(g, "mu", linear(g, x, C, 7));
  output(g, "sigma", linear(g, x, C, 7)); /* no such name */
}
static void build_narrow_head(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, C));
  output(g, "mu", linear(g, x, C, 7));
  output(g, "logvar", linear(g, x, C, 6));
}
static void build_three_heads(mien__graph *g) {
  mien_value x = input(g, "x", F32(2, C));
  output(g, "mu", linear(g, x, C, 7));
  output(g, "valence", linear(g, x, C, 7));
  output(g, "logvar", linear(g, x, C, 7));
}
static void no_head(void **state) {
  (void)state;
  pass_check(build_no_head, "= mien.Linear 2");
  pass_check(build_narrow_head, "= mien.Linear 2");
  pass_check(build_three_heads, "= mien.Linear 3");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(window_with_shortcut),
      cmocka_unit_test(window_straight),
      cmocka_unit_test(no_window),
      cmocka_unit_test(gate),
      cmocka_unit_test(no_gate),
      cmocka_unit_test(head),
      cmocka_unit_test(one_linear),
      cmocka_unit_test(no_head),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
