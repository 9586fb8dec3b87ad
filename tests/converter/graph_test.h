/* tests/converter/graph_test.h -- small graphs by hand. */
#ifndef MIEN_GRAPH_TEST_H
#define MIEN_GRAPH_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "converter/passes.h"
#include "converter/patch.h"

#define OPSET 17

static mien_error failure; /* of the last call that could fail */

#define good(call)                                                          \
  do {                                                                      \
    mien_status good_status = (call);                                       \
    if (good_status != MIEN_OK) fail_msg("%s: %s", #call, failure.message); \
  } while (0)
#define bad(code, text, call)                                                               \
  do {                                                                                      \
    assert_int_equal(call, code);                                                           \
    if (!strstr(failure.message, text)) fail_msg("'%s' lacks '%s'", failure.message, text); \
  } while (0)

static inline mien_type type_of(int32_t dtype, int rank, const int64_t *dims) {
  mien_type t = {.dtype = dtype, .rank = rank};
  for (int i = 0; i < rank; i++) t.dim[i] = dims[i];
  return t;
}
#define DIMS(...) \
  (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }
#define F32(...) type_of(MIEN_F32, DIMS(__VA_ARGS__))

static inline mien_env *new_env(void) {
  mien_env *env = NULL;
  good(mien_env_create(NULL, &env, &failure));
  return env;
}

static inline mien__graph *new_graph(mien_env *env) {
  mien__graph *g = NULL;
  good(mien__graph_create(env, &g, &failure));
  good(mien__graph_add_opset(g, "", OPSET, &failure));
  return g;
}

static inline mien_value input(mien__graph *g, const char *name, mien_type type) {
  mien_value v;
  good(mien__graph_add_input(g, name, &type, &v, &failure));
  return v;
}

static inline mien_value constant(mien__graph *g, const char *name, mien_type type, const void *data) {
  mien_tensor tensor;
  mien_value v;
  good(mien__tensor_alloc(g->env, &type, &tensor, &failure));
  if (data && tensor.bytes) memcpy(tensor.data, data, (size_t)mien_count(&type) * mien_dtype_bytes(type.dtype));
  good(mien__graph_add_constant(g, name, &tensor, true, name != NULL, &v, &failure));
  return v;
}

static inline mien_value floats(mien__graph *g, const char *name, int64_t count, const float *data) {
  return constant(g, name, type_of(MIEN_F32, 1, &count), data);
}
static inline mien_value ints(mien__graph *g, int64_t count, const int64_t *data) {
  return constant(g, NULL, type_of(MIEN_I64, 1, &count), data);
}

/* A node of ai.onnx or "domain.Op" with attributes in the graph's pool. Its name is that of its output. */
static inline mien_node_id node_of(mien__graph *g, const char *op, const mien__attr_value *attrs, int attr_count,
                                   const mien_value *in, int in_count, const mien_value *out, int out_count) {
  char domain[64] = "";
  const char *dot = strrchr(op, '.');
  if (dot) snprintf(domain, sizeof domain, "%.*s", (int)(dot - op), op);
  const mien__record *record = mien__registry_find(g->env, domain, dot ? dot + 1 : op, dot ? 1 : OPSET, NULL);
  if (!record) fail_msg("no operator %s", op);
  mien_node_id id;
  void *copy = attr_count ? mien__pool_copy(&g->pool, attrs, (size_t)attr_count * sizeof *attrs) : NULL;
  good(mien__graph_add_node(g, record, OPSET, mien__value_name(g, out[0]), copy, attr_count, in, in_count, out,
                            out_count, &id, &failure));
  return id;
}

static inline mien_value named(mien__graph *g, const char *name) {
  mien_value v;
  good(mien__graph_add_value(g, name, &v, &failure));
  return v;
}

#define OP(g, op, name, ...)                                       \
  op_node(g, op, name, NULL, 0, (const mien_value[]){__VA_ARGS__}, \
          (int)(sizeof((const mien_value[]){__VA_ARGS__}) / sizeof(mien_value)))
static inline mien_value op_node(mien__graph *g, const char *op, const char *name, const mien__attr_value *attrs,
                                 int attr_count, const mien_value *in, int in_count) {
  mien_value out = named(g, name);
  node_of(g, op, attrs, attr_count, in, in_count, &out, 1);
  return out;
}

static inline void output(mien__graph *g, const char *name, mien_value v) {
  good(mien__graph_add_output(g, name, v, NULL, &failure));
}

static inline const mien_type *value_type(const mien__graph *g, mien_value v) { return &g->values[v]->v.tensor.type; }

/* Live nodes of an operator. */
static inline int count_ops(const mien__graph *g, const char *op) {
  int count = 0;
  char text[128];
  for (int32_t i = 0; i < g->node_count; i++)
    if (g->nodes[i]->state == MIEN__NODE_LIVE && !strcmp(mien__op_text(g->nodes[i]->n.record, text, sizeof text), op))
      count++;
  return count;
}

/* The operator that gives graph output i. */
static inline const mien__gnode *output_node(const mien__graph *g, int i) {
  mien_node_id n = g->values[g->outputs[i].value]->producer;
  assert_int_not_equal(n, MIEN_NO_NODE);
  return g->nodes[n];
}

static inline void close_graph(mien__graph *g) {
  mien_env *env = g->env;
  good(mien__graph_check(g, &failure));
  mien__graph_destroy(g);
  mien_env_destroy(env);
}

#endif
