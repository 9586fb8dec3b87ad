/* tests/passes/pass_test.h -- a small graph before and after rewrites: which operators are left, and the same numbers. */
#ifndef MIEN_PASS_TEST_H
#define MIEN_PASS_TEST_H

#include "tests/converter/graph_test.h"

#include <math.h>

/* Attributes, as compound literals: ATTRS(INT("axis", 1), LIST("perm", 0, 2, 1)). */
#define INT(n, v) \
  { .name = (n), .kind = 'i', .i = (v) }
#define FLOAT(n, v) \
  { .name = (n), .kind = 'f', .f = (v) }
#define TEXT(n, v)                                       \
  {                                                      \
    .name = (n), .kind = 's', .s = {(v), sizeof(v) - 1 } \
  }
#define LIST(n, ...)                                                       \
  {                                                                        \
    .name = (n), .kind = 'I', .ints = (int64_t[]){__VA_ARGS__},            \
    .count = (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)) \
  }
#define ATTRS(...)                         \
  (const mien__attr_value[]){__VA_ARGS__}, \
      (int)(sizeof((const mien__attr_value[]){__VA_ARGS__}) / sizeof(mien__attr_value))
#define NO_ATTRS NULL, 0
#define NONE MIEN_NO_VALUE

/* A node; lists are copied to the graph's pool. NODE(g, "Conv", ATTRS(...), x, w). */
#define NODE(g, op, attrs, ...)                                 \
  pass_node(g, op, 1, attrs, (const mien_value[]){__VA_ARGS__}, \
            (int)(sizeof((const mien_value[]){__VA_ARGS__}) / sizeof(mien_value)))
/* The first of `outputs` outputs; the others follow it. */
#define NODES(g, op, outputs, attrs, ...)                             \
  pass_node(g, op, outputs, attrs, (const mien_value[]){__VA_ARGS__}, \
            (int)(sizeof((const mien_value[]){__VA_ARGS__}) / sizeof(mien_value)))

static inline mien_value pass_node(mien__graph *g, const char *op, int outputs, const mien__attr_value *attrs,
                                   int attr_count, const mien_value *in, int in_count) {
  mien__attr_value copy[8];
  mien_value out[4];
  for (int i = 0; i < attr_count; i++) {
    copy[i] = attrs[i];
    if (attrs[i].kind == 'I')
      copy[i].ints = mien__pool_copy(&g->pool, attrs[i].ints, (size_t)attrs[i].count * sizeof(int64_t));
  }
  for (int i = 0; i < outputs; i++) good(mien__graph_add_value(g, NULL, &out[i], &failure));
  node_of(g, op, copy, attr_count, in, in_count, out, outputs);
  return out[0];
}

/* Numbers that are neither special nor alike. */
static inline float pass_number(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (float)(int32_t)(*state >> 8) / 8388608.0f - 1.0f;
}
static inline mien_value weights_of(mien__graph *g, mien_type type, float scale, float offset) {
  uint32_t state = 77u + (uint32_t)g->value_count;
  int64_t count = mien_count(&type);
  float *data = test_malloc((size_t)count * sizeof *data + 1);
  for (int64_t i = 0; i < count; i++) data[i] = scale * pass_number(&state) + offset;
  mien_value v = constant(g, NULL, type, data);
  test_free(data);
  return v;
}
#define WEIGHTS(g, ...) weights_of(g, F32(__VA_ARGS__), 1, 0)
#define POSITIVE(g, ...) weights_of(g, F32(__VA_ARGS__), 0.4f, 1)
static inline mien_value number(mien__graph *g, float value) {
  mien_type scalar = {.dtype = MIEN_F32};
  return constant(g, NULL, scalar, &value);
}
static inline mien_value index_of(mien__graph *g, int64_t value) {
  mien_type scalar = {.dtype = MIEN_I64};
  return constant(g, NULL, scalar, &value);
}
#define INTS(g, ...) ints(g, DIMS(__VA_ARGS__))
/* A size that stays open until the graph runs; it is 3 then. */
static inline int64_t open_size(mien__graph *g, const char *name) {
  return mien__symbol_named(g->scope.symbols, name, strlen(name));
}

typedef void build_fn(mien__graph *g);

static inline mien__graph *pass_build(build_fn *build) {
  mien_env *env = new_env();
#ifdef PASS_PLUGIN
  good(mien_env_load_plugin(env, PASS_PLUGIN, &failure));
#endif
  mien__graph *g = new_graph(env);
  build(g);
  good(mien__graph_infer(g, true, &failure));
  return g;
}

static inline void pass_apply(mien__graph *g, const char *const *skip) {
  mien__passes *passes;
  good(mien__passes_create(g->env, NULL, &passes, &failure));
  if (skip) good(mien__passes_skip(passes, skip, &failure));
  good(mien__passes_run(passes, g, 0, &failure));
  for (int32_t i = 0; i < passes->run_count; i++)
    if (passes->runs[i].refused) fail_msg("a patch of %s was refused", passes->runs[i].rewrite->name);
  mien__passes_destroy(passes);
  good(mien__graph_check(g, &failure));
}

/* Inputs get numbers, every node runs. */
static inline void pass_run(mien__graph *g) {
  uint32_t state = 5;
  for (int32_t i = 0; i < g->input_count; i++) {
    mien__gvalue *v = g->values[g->inputs[i].value];
    mien_type type = v->v.tensor.type;
    for (int k = 0; k < type.rank; k++)
      if (mien_is_symbol(type.dim[k])) type.dim[k] = 3;
    good(mien__tensor_alloc(g->env, &type, &v->v.tensor, &failure));
    for (int64_t k = 0; k < mien_count(&type); k++) {
      float x = pass_number(&state);
      if (type.dtype == MIEN_F32) ((float *)v->v.tensor.data)[k] = x;
      if (type.dtype == MIEN_F64) ((double *)v->v.tensor.data)[k] = (double)x;
      if (type.dtype == MIEN_I64) ((int64_t *)v->v.tensor.data)[k] = (int64_t)(x * 50);
    }
    v->owned = true;
    v->v.constant = true;
    v->v.ints = NULL;
  }
  mien_node_id *order;
  good(mien__graph_order(g, &order, &failure));
  g->scope.symbols = NULL;
  g->scope.error = &failure;
  for (int32_t i = 0; i < g->live_count; i++) {
    mien__gnode *n = g->nodes[order[i]];
    for (int k = 0; k < n->n.out_count; k++)
      if (n->n.out[k]) {
        n->n.out[k]->ints = NULL;
        n->n.out[k]->constant = false;
        if (n->out[k] != MIEN_NO_VALUE) g->values[n->out[k]]->owned = true;
      }
    good(mien__node_evaluate(&n->n));
  }
  mien__free(g->env, order);
}

static inline void pass_compare(const mien__graph *a, const mien__graph *b, double tolerance) {
  assert_int_equal(a->output_count, b->output_count);
  for (int32_t i = 0; i < a->output_count; i++) {
    const mien_tensor *x = &a->values[a->outputs[i].value]->v.tensor, *y = &b->values[b->outputs[i].value]->v.tensor;
    assert_string_equal(a->outputs[i].name, b->outputs[i].name);
    assert_true(mien__type_equal(&x->type, &y->type));
    for (int64_t k = 0; k < mien_count(&x->type); k++) {
      double u = mien__tensor_f64(x, k), v = mien__tensor_f64(y, k);
      if (isnan(u) && isnan(v)) continue;
      if (!(u == v || fabs(u - v) <= tolerance * (1 + fabs(u))))
        fail_msg("output %d, element %d: %g before, %g after", (int)i, (int)k, u, v);
    }
  }
}

/* `left`: "mien.Conv 1, Add 0": how many nodes of an operator there are afterwards; "= Relu 2": and no others. */
static inline void pass_expect(const mien__graph *g, const char *left) {
  char op[64];
  int wanted, total = 0;
  bool all = *left == '=';
  for (const char *at = all ? left + 1 : left; *at;) {
    int used = 0;
    if (sscanf(at, " %63[^ ] %d%n", op, &wanted, &used) < 2) fail_msg("'%s' is no list of operators", left);
    if (count_ops(g, op) != wanted) {
      char *text;
      good(mien__graph_dump((mien__graph *)g, &text, &failure));
      print_message("%s\n", text);
      fail_msg("%d nodes of %s, expected %d", count_ops(g, op), op, wanted);
    }
    total += wanted;
    at += used;
    if (*at == ',') at++;
  }
  if (all) assert_int_equal(g->live_count, total);
}

static inline void pass_check_skip(build_fn *build, const char *left, const char *const *skip) {
  mien__graph *plain = pass_build(build), *rewritten = pass_build(build);
  pass_apply(rewritten, skip);
  pass_expect(rewritten, left);
  pass_run(plain);
  pass_run(rewritten);
  pass_compare(plain, rewritten, 2e-5);
  mien_env *a = plain->env, *b = rewritten->env;
  mien__graph_destroy(plain);
  mien__graph_destroy(rewritten);
  mien_env_destroy(a);
  mien_env_destroy(b);
}
static inline void pass_check(build_fn *build, const char *left) { pass_check_skip(build, left, NULL); }

#endif
