/* converter/graph_dump.c -- a graph as text, for debugging and for tests. */
#include "converter/graph.h"

#include <stdio.h>
#include <string.h>

typedef struct dump_text {
  mien_env *env;
  char *data;
  size_t used, room;
  bool failed;
} dump_text;

static void dump_put(dump_text *t, const char *format, ...) MIEN_PRINTF(2, 3);
static void dump_put(dump_text *t, const char *format, ...) {
  for (int attempt = 0; attempt < 2 && !t->failed; attempt++) {
    va_list args;
    va_start(args, format);
    int length = vsnprintf(t->data + t->used, t->room - t->used, format, args);
    va_end(args);
    if (length < 0) t->failed = true;
    if (length >= 0 && (size_t)length < t->room - t->used) {
      t->used += (size_t)length;
      return;
    }
    size_t room = t->room * 2 + (length > 0 ? (size_t)length : 0);
    char *grown = t->failed ? NULL : mien__realloc(t->env, t->data, room);
    if (!grown) {
      t->failed = true;
      return;
    }
    t->data = grown;
    t->room = room;
  }
}

const char *mien__op_text(const mien__record *record, char *text, size_t size) {
  bool standard = !record->domain[0];
  snprintf(text, size, "%s%s%s", standard ? "" : record->domain, standard ? "" : ".", record->op->name);
  return text;
}

static void dump_value(dump_text *t, const mien__graph *g, mien_value v, bool typed) {
  char type[256];
  if (v == MIEN_NO_VALUE) {
    dump_put(t, "_");
    return;
  }
  const mien__value *value = &g->values[v]->v;
  dump_put(t, "%s%d", value->constant ? "#" : "%", v);
  if (!typed && !value->constant) return;
  dump_put(t, ":%s", mien__type_text(&value->tensor.type, g->scope.symbols, type, sizeof type));
  if (!value->ints || value->ints_count > 16) return;
  for (int64_t i = 0; i < value->ints_count; i++)
    dump_put(t, "%s%s", i ? "," : "=", mien__dim_text(g->scope.symbols, value->ints[i], type, sizeof type));
}

static void dump_attr(dump_text *t, const mien__attr_value *a) {
  dump_put(t, "%s=", a->name);
  switch (a->kind) {
    case 'i': dump_put(t, "%lld", (long long)a->i); break;
    case 'f': dump_put(t, "%.9g", (double)a->f); break;
    case 's': dump_put(t, "'%.80s'", a->s.data); break;
    case 'I':
      for (int64_t i = 0; i < a->count; i++) dump_put(t, "%s%lld", i ? "," : "", (long long)a->ints[i]);
      break;
    case 'F':
      for (int64_t i = 0; i < a->count; i++) dump_put(t, "%s%.9g", i ? "," : "", (double)a->floats[i]);
      break;
    default: dump_put(t, "<%c>", a->kind); break;
  }
}

static void dump_node(dump_text *t, const mien__graph *g, mien_node_id id) {
  const mien__gnode *n = g->nodes[id];
  char op[128];
  for (int i = 0; i < n->n.out_count; i++) {
    if (i) dump_put(t, ", ");
    dump_value(t, g, n->out[i], true);
  }
  dump_put(t, " = %s-%d(", mien__op_text(n->n.record, op, sizeof op), n->n.record->op->since);
  for (int i = 0; i < n->n.in_count; i++) {
    if (i) dump_put(t, ", ");
    dump_value(t, g, n->in[i], false);
  }
  dump_put(t, ")");
  for (int i = 0; i < n->n.attr_count; i++) {
    dump_put(t, " ");
    dump_attr(t, &n->n.attrs[i]);
  }
  if (n->n.name[0]) dump_put(t, "  ; %s", n->n.name);
  dump_put(t, "\n");
}

mien_status mien__graph_dump(mien__graph *g, char **text, mien_error *error) {
  dump_text t = {.env = g->env, .room = 4096};
  mien_node_id *order;
  MIEN_TRY(mien__graph_order(g, &order, error));
  t.data = mien__alloc(g->env, t.room);
  t.failed = !t.data;
  for (int32_t i = 0; i < g->input_count && !t.failed; i++) {
    dump_put(&t, "input ");
    dump_value(&t, g, g->inputs[i].value, true);
    dump_put(&t, "  ; %s\n", g->inputs[i].name);
  }
  for (int32_t i = 0; i < g->live_count && !t.failed; i++) dump_node(&t, g, order[i]);
  for (int32_t i = 0; i < g->output_count && !t.failed; i++) {
    dump_put(&t, "output ");
    dump_value(&t, g, g->outputs[i].value, false);
    dump_put(&t, "  ; %s\n", g->outputs[i].name);
  }
  mien__free(g->env, order);
  if (t.failed) {
    mien__free(g->env, t.data);
    return mien__no_memory(error, t.room);
  }
  *text = t.data;
  return MIEN_OK;
}
