/* converter/graph_order.c -- execution order and what no output needs. No recursion: chains may be 1e6 nodes long. */
#include "converter/graph.h"

#include <stdio.h>
#include <string.h>

enum { ORDER_UNSEEN, ORDER_OPEN, ORDER_DONE };

typedef struct order_frame {
  mien_node_id node;
  int slot; /* next input to look at */
} order_frame;

typedef struct order_walk {
  mien__graph *g;
  uint8_t *seen;
  order_frame *stack;
  int32_t depth;
  mien_node_id *order;
  int32_t count;
} order_walk;

static mien_status order_undefined(mien__graph *g, mien_value v, const char *reader, mien_error *error) {
  return mien__fail(error, MIEN_INVALID_MODEL, "value '%s', read by %s, is no input, no constant and no node's output",
                    mien__value_name(g, v), reader);
}

static bool order_defined(const mien__graph *g, mien_value v) {
  const mien__gvalue *value = g->values[v];
  return value->producer != MIEN_NO_NODE || value->v.constant || value->input >= 0;
}

/* Names nodes of the cycle that ends in `node`, which is open on the stack. */
static mien_status order_cycle(const order_walk *w, mien_node_id node, mien_error *error) {
  char text[320];
  size_t used = 0;
  int32_t first = w->depth - 1;
  while (first > 0 && w->stack[first].node != node) first--;
  for (int32_t i = first; i < w->depth && i < first + 4 && used < sizeof text; i++) {
    const mien__gnode *n = w->g->nodes[w->stack[i].node];
    int length = snprintf(text + used, sizeof text - used, "%s'%.60s' (%s)", i == first ? "" : " reads ", n->n.name,
                          n->n.record->op->name);
    used += length > 0 ? (size_t)length : 0;
  }
  return mien__fail(error, MIEN_INVALID_MODEL, "the graph has a cycle of %d nodes: %s%s", w->depth - first, text,
                    w->depth - first > 4 ? " ..." : "");
}

/* Everything that `root` needs, then root. */
static mien_status order_visit(order_walk *w, mien_node_id root, mien_error *error) {
  mien__graph *g = w->g;
  w->stack[w->depth++] = (order_frame){.node = root};
  w->seen[root] = ORDER_OPEN;
  while (w->depth > 0) {
    order_frame *frame = &w->stack[w->depth - 1];
    const mien__gnode *n = g->nodes[frame->node];
    if (frame->slot == n->n.in_count) {
      w->seen[frame->node] = ORDER_DONE;
      w->order[w->count++] = frame->node;
      w->depth--;
      continue;
    }
    mien_value v = n->in[frame->slot++];
    if (v == MIEN_NO_VALUE) continue;
    if (!order_defined(g, v)) {
      char reader[128];
      snprintf(reader, sizeof reader, "node '%.80s' (%.30s)", n->n.name, n->n.record->op->name);
      return order_undefined(g, v, reader, error);
    }
    mien_node_id producer = g->values[v]->producer;
    if (producer == MIEN_NO_NODE || w->seen[producer] == ORDER_DONE) continue;
    if (w->seen[producer] == ORDER_OPEN) return order_cycle(w, producer, error);
    w->seen[producer] = ORDER_OPEN;
    w->stack[w->depth++] = (order_frame){.node = producer};
  }
  return MIEN_OK;
}

mien_status mien__graph_order(mien__graph *g, mien_node_id **order, mien_error *error) {
  size_t nodes = (size_t)g->node_count + 1;
  order_walk w = {.g = g};
  mien_status status = MIEN_OK;
  w.seen = mien__alloc(g->env, nodes);
  w.stack = mien__alloc(g->env, nodes * sizeof *w.stack);
  w.order = mien__alloc(g->env, nodes * sizeof *w.order);
  if (!w.seen || !w.stack || !w.order) status = mien__no_memory(error, nodes * sizeof *w.stack);
  for (mien_node_id i = 0; i < g->node_count && status == MIEN_OK; i++)
    if (g->nodes[i]->state == MIEN__NODE_LIVE && w.seen[i] == ORDER_UNSEEN) status = order_visit(&w, i, error);
  for (int32_t i = 0; i < g->output_count && status == MIEN_OK; i++)
    if (!order_defined(g, g->outputs[i].value))
      status = order_undefined(g, g->outputs[i].value, "a graph output", error);
  mien__free(g->env, w.seen);
  mien__free(g->env, w.stack);
  if (status == MIEN_OK)
    *order = w.order;
  else
    mien__free(g->env, w.order);
  return status;
}

bool mien__graph_is_dead(const mien__graph *g, mien_node_id node) {
  const mien__gnode *n = g->nodes[node];
  if (n->state != MIEN__NODE_LIVE) return false;
  for (int i = 0; i < n->n.out_count; i++)
    if (n->out[i] != MIEN_NO_VALUE && mien__value_needed(g, n->out[i])) return false;
  return true;
}

/* Removes the nodes of the stack and what only they needed. */
static void order_remove(mien__graph *g, mien_node_id *stack, int32_t depth, uint8_t *seen) {
  while (depth > 0) {
    mien_node_id id = stack[--depth];
    const mien__gnode *n = g->nodes[id];
    mien__graph_remove_node(g, id, MIEN_NO_VALUE);
    for (int k = 0; k < n->n.in_count; k++) {
      mien_node_id producer = n->in[k] == MIEN_NO_VALUE ? MIEN_NO_NODE : g->values[n->in[k]]->producer;
      if (producer == MIEN_NO_NODE || seen[producer] || !mien__graph_is_dead(g, producer)) continue;
      seen[producer] = 1;
      stack[depth++] = producer;
    }
  }
}

mien_status mien__graph_remove_dead(mien__graph *g, mien_error *error) {
  size_t nodes = (size_t)g->node_count + 1;
  mien_node_id *stack = mien__alloc(g->env, nodes * sizeof *stack);
  uint8_t *seen = mien__alloc(g->env, nodes);
  mien_status status = stack && seen ? MIEN_OK : mien__no_memory(error, nodes * sizeof *stack);
  if (status == MIEN_OK) {
    int32_t depth = 0;
    for (mien_node_id i = 0; i < g->node_count; i++) {
      if (!mien__graph_is_dead(g, i)) continue;
      seen[i] = 1;
      stack[depth++] = i;
    }
    order_remove(g, stack, depth, seen);
  }
  for (mien_value i = 0; i < g->value_count && status == MIEN_OK; i++) mien__graph_release(g, i);
  mien__free(g->env, stack);
  mien__free(g->env, seen);
  return status;
}

mien_status mien__graph_rank(mien__graph *g, mien_error *error) {
  mien_node_id *order;
  MIEN_TRY(mien__graph_order(g, &order, error));
  for (int32_t i = 0; i < g->live_count; i++) g->nodes[order[i]]->rank = i;
  mien__free(g->env, order);
  return MIEN_OK;
}

static mien_status order_check_node(const mien__graph *g, mien_node_id id, int64_t *slots, mien_error *error) {
  const mien__gnode *n = g->nodes[id];
  for (int i = 0; i < n->n.in_count; i++) {
    if (n->in[i] == MIEN_NO_VALUE) continue;
    const mien__gvalue *v = g->values[n->in[i]];
    if (n->n.in[i] != &v->v || v->gone || n->uses[i].node != id || n->uses[i].slot != i)
      return mien__fail(error, MIEN_INTERNAL, "graph: input %d of node %d '%s' is broken", i, id, n->n.name);
    ++*slots;
  }
  for (int i = 0; i < n->n.out_count; i++) {
    if (n->out[i] == MIEN_NO_VALUE) continue;
    const mien__gvalue *v = g->values[n->out[i]];
    if (n->n.out[i] != &v->v || v->gone || v->producer != id || v->producer_slot != i)
      return mien__fail(error, MIEN_INTERNAL, "graph: output %d of node %d '%s' is broken", i, id, n->n.name);
  }
  return MIEN_OK;
}

mien_status mien__graph_check(mien__graph *g, mien_error *error) {
  int64_t slots = 0, uses = 0;
  int32_t live = 0;
  mien_node_id *order;
  for (mien_node_id i = 0; i < g->node_count; i++) {
    if (g->nodes[i]->state != MIEN__NODE_LIVE) continue;
    live++;
    MIEN_TRY(order_check_node(g, i, &slots, error));
  }
  for (mien_value i = 0; i < g->value_count; i++) uses += g->values[i]->use_count;
  if (slots != uses || live != g->live_count)
    return mien__fail(error, MIEN_INTERNAL, "graph: %lld uses for %lld inputs, %d nodes counted as %d", (long long)uses,
                      (long long)slots, live, g->live_count);
  mien_status status = mien__graph_order(g, &order, error);
  if (status == MIEN_NO_MEMORY) return status;
  if (status != MIEN_OK) {
    char text[300] = "";
    if (error) snprintf(text, sizeof text, "%.299s", error->message);
    return mien__fail(error, MIEN_INTERNAL, "graph: %s", text);
  }
  mien__free(g->env, order);
  return MIEN_OK;
}
