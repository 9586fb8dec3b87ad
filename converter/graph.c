/* converter/graph.c -- building a graph and keeping its use lists. */
#include "converter/graph.h"

#include <string.h>

mien_status mien__graph_create(mien_env *env, mien__graph **graph, mien_error *error) {
  mien__graph *g = mien__alloc(env, sizeof *g);
  if (!g) return mien__no_memory(error, sizeof *g);
  g->env = env;
  mien__pool_init(&g->pool, env, (size_t)env->limits.load_bytes);
  g->scope.env = env;
  g->scope.pool = &g->pool;
  g->name = g->producer = g->producer_version = "";
  g->scope.symbols = mien__symbols_create(&g->pool);
  if (!g->scope.symbols) {
    mien__graph_destroy(g);
    return mien__no_memory(error, 0);
  }
  *graph = g;
  return MIEN_OK;
}

void mien__graph_destroy(mien__graph *g) {
  if (!g) return;
  for (int32_t i = 0; i < g->node_count; i++) mien__node_clear(&g->nodes[i]->n);
  for (int32_t i = 0; i < g->value_count; i++)
    if (g->values[i]->owned) mien_tensor_clear(g->env, &g->values[i]->v.tensor);
  mien__free(g->env, g->values);
  mien__free(g->env, g->nodes);
  mien__free(g->env, g->inputs);
  mien__free(g->env, g->outputs);
  mien__free(g->env, g->opsets);
  mien__free(g->env, g->metadata);
  mien__pool_clear(&g->pool);
  mien__free(g->env, g);
}

/* Makes room for one more element of an array of the env; `array` points to the pointer. */
static mien_status graph_grow(mien__graph *g, void *array, int32_t count, int32_t *room, size_t size,
                              mien_error *error) {
  if (count < *room) return MIEN_OK;
  if (count >= INT32_MAX / 2) return mien__fail(error, MIEN_LIMIT, "the graph has too many parts");
  int32_t wanted = count < 16 ? 16 : count * 2;
  size_t bytes;
  if (!mien__mul((size_t)wanted, size, &bytes)) return mien__no_memory(error, SIZE_MAX);
  void *old, *grown;
  memcpy(&old, array, sizeof old);
  grown = mien__realloc(g->env, old, bytes);
  if (!grown) return mien__no_memory(error, bytes);
  memcpy(array, &grown, sizeof grown);
  *room = wanted;
  return MIEN_OK;
}

static mien_status graph_copy_text(mien__graph *g, const char *text, const char **copy, mien_error *error) {
  *copy = mien__pool_string(&g->pool, text, strlen(text));
  return *copy ? MIEN_OK : mien__no_memory(error, strlen(text));
}

int64_t mien__graph_opset(const mien__graph *g, const char *domain) {
  for (int32_t i = 0; i < g->opset_count; i++)
    if (!strcmp(g->opsets[i].domain, domain)) return g->opsets[i].version;
  return 0;
}

mien_status mien__graph_add_opset(mien__graph *g, const char *domain, int64_t version, mien_error *error) {
  mien__opset opset = {.version = version};
  MIEN_TRY(graph_copy_text(g, domain, &opset.domain, error));
  MIEN_TRY(graph_grow(g, &g->opsets, g->opset_count, &g->opset_room, sizeof opset, error));
  g->opsets[g->opset_count++] = opset;
  return MIEN_OK;
}

mien_status mien__graph_add_metadata(mien__graph *g, const char *key, const char *value, mien_error *error) {
  mien__pair pair;
  MIEN_TRY(graph_copy_text(g, key, &pair.key, error));
  MIEN_TRY(graph_copy_text(g, value, &pair.value, error));
  MIEN_TRY(graph_grow(g, &g->metadata, g->metadata_count, &g->metadata_room, sizeof pair, error));
  g->metadata[g->metadata_count++] = pair;
  return MIEN_OK;
}

/* ---- values */

mien_status mien__graph_add_name(mien__graph *g, mien_value value, const char *name, mien_error *error) {
  mien__gvalue *v = g->values[value];
  mien__name *entry = mien__pool_alloc(&g->pool, sizeof *entry);
  if (!entry) return mien__no_memory(error, sizeof *entry);
  MIEN_TRY(graph_copy_text(g, name, &entry->text, error));
  if (v->last_name)
    v->last_name->next = entry;
  else
    v->names = entry;
  v->last_name = entry;
  return MIEN_OK;
}

mien_status mien__graph_add_value(mien__graph *g, const char *name, mien_value *value, mien_error *error) {
  MIEN_TRY(graph_grow(g, &g->values, g->value_count, &g->value_room, sizeof *g->values, error));
  mien__gvalue *v = mien__pool_alloc(&g->pool, sizeof *v);
  if (!v) return mien__no_memory(error, sizeof *v);
  v->v.tensor.type.rank = -1;
  v->producer = v->recipe = MIEN_NO_NODE;
  v->input = -1;
  v->went_into = MIEN_NO_VALUE;
  g->values[g->value_count] = v;
  if (name && *name) MIEN_TRY(mien__graph_add_name(g, g->value_count, name, error));
  *value = g->value_count++;
  return MIEN_OK;
}

mien_status mien__graph_add_input(mien__graph *g, const char *name, const mien_type *type, mien_value *value,
                                  mien_error *error) {
  MIEN_TRY(graph_grow(g, &g->inputs, g->input_count, &g->input_room, sizeof *g->inputs, error));
  mien__graph_port port = {.declared = *type};
  MIEN_TRY(graph_copy_text(g, name ? name : "", &port.name, error));
  MIEN_TRY(mien__graph_add_value(g, name, &port.value, error));
  g->values[port.value]->v.tensor.type = *type;
  g->values[port.value]->input = g->input_count;
  g->inputs[g->input_count++] = port;
  *value = port.value;
  return MIEN_OK;
}

mien_status mien__graph_set_constant(mien__graph *g, mien_value value, const mien_tensor *tensor, bool owned,
                                     bool initializer, mien_error *error) {
  mien__gvalue *v = g->values[value];
  if (v->producer != MIEN_NO_NODE || v->input >= 0 || v->v.constant)
    return mien__fail(error, MIEN_INVALID_MODEL, "value '%s' is defined twice", mien__value_name(g, value));
  v->v.tensor = *tensor;
  v->v.constant = true;
  v->owned = owned;
  g->given_bytes += tensor->bytes;
  if (initializer && v->names) v->initializer = v->names->text;
  return MIEN_OK;
}

mien_status mien__graph_add_constant(mien__graph *g, const char *name, const mien_tensor *tensor, bool owned,
                                     bool initializer, mien_value *value, mien_error *error) {
  mien_value id = MIEN_NO_VALUE;
  MIEN_TRY(mien__graph_add_value(g, name, &id, error));
  MIEN_TRY(mien__graph_set_constant(g, id, tensor, owned, initializer, error));
  *value = id;
  return MIEN_OK;
}

mien_status mien__graph_add_output(mien__graph *g, const char *name, mien_value value, const mien_type *declared,
                                   mien_error *error) {
  MIEN_TRY(graph_grow(g, &g->outputs, g->output_count, &g->output_room, sizeof *g->outputs, error));
  mien__graph_port port = {.value = value, .declared = {.rank = -1}};
  if (declared) port.declared = *declared;
  MIEN_TRY(graph_copy_text(g, name ? name : "", &port.name, error));
  g->outputs[g->output_count++] = port;
  g->values[value]->output_count++;
  return MIEN_OK;
}

/* ---- use lists */

static void graph_link(mien__graph *g, mien_node_id node, int slot, mien_value value) {
  mien__gnode *n = g->nodes[node];
  n->in[slot] = value;
  n->n.in[slot] = value == MIEN_NO_VALUE ? NULL : &g->values[value]->v;
  if (value == MIEN_NO_VALUE) return;
  mien__gvalue *v = g->values[value];
  mien__use *use = &n->uses[slot];
  *use = (mien__use){.node = node, .slot = slot, .prev = v->last_use};
  if (v->last_use)
    v->last_use->next = use;
  else
    v->first_use = use;
  v->last_use = use;
  v->use_count++;
}

static void graph_unlink(mien__graph *g, mien_node_id node, int slot) {
  mien__gnode *n = g->nodes[node];
  if (n->in[slot] == MIEN_NO_VALUE) return;
  mien__gvalue *v = g->values[n->in[slot]];
  mien__use *use = &n->uses[slot];
  if (use->prev)
    use->prev->next = use->next;
  else
    v->first_use = use->next;
  if (use->next)
    use->next->prev = use->prev;
  else
    v->last_use = use->prev;
  v->use_count--;
}

void mien__graph_set_input(mien__graph *g, mien_node_id node, int slot, mien_value value) {
  graph_unlink(g, node, slot);
  graph_link(g, node, slot, value);
}

void mien__graph_replace_uses(mien__graph *g, mien_value from, mien_value to) {
  mien__gvalue *old = g->values[from], *new = g->values[to];
  if (from == to) return;
  while (old->first_use) mien__graph_set_input(g, old->first_use->node, old->first_use->slot, to);
  for (int32_t i = 0; old->output_count && i < g->output_count; i++) {
    if (g->outputs[i].value != from) continue;
    g->outputs[i].value = to;
    old->output_count--;
    new->output_count++;
  }
  if (old->input < 0 && old->names) { /* an input keeps its name whatever reads it */
    if (new->last_name)
      new->last_name->next = old->names;
    else
      new->names = old->names;
    new->last_name = old->last_name;
    old->names = old->last_name = NULL;
  }
  old->went_into = to;
  new->went_into = MIEN_NO_VALUE;
}

void mien__graph_retire(mien__graph *g, mien_node_id node, mien__node_state state) {
  mien__gnode *n = g->nodes[node];
  for (int i = 0; i < n->n.in_count; i++) graph_unlink(g, node, i);
  n->state = state;
  g->live_count--;
}

void mien__graph_remove_node(mien__graph *g, mien_node_id node, mien_value into) {
  mien__gnode *n = g->nodes[node];
  mien__graph_retire(g, node, MIEN__NODE_GONE);
  for (int i = 0; i < n->n.out_count; i++) {
    if (n->out[i] == MIEN_NO_VALUE) continue;
    mien__gvalue *v = g->values[n->out[i]];
    v->gone = true;
    if (v->went_into == MIEN_NO_VALUE) v->went_into = into;
  }
}

mien_value mien__graph_where(const mien__graph *g, mien_value value) {
  for (int32_t steps = 0; value != MIEN_NO_VALUE && !mien__value_needed(g, value); steps++)
    value = steps < g->value_count ? g->values[value]->went_into : MIEN_NO_VALUE;
  return value;
}

/* ---- nodes */

static mien_status graph_check_outputs(mien__graph *g, const char *name, const mien_value *out, int out_count,
                                       mien_error *error) {
  for (int i = 0; i < out_count; i++) {
    if (out[i] == MIEN_NO_VALUE) continue;
    const mien__gvalue *v = g->values[out[i]];
    bool taken = v->producer != MIEN_NO_NODE || v->v.constant || v->input >= 0;
    for (int j = 0; j < i && !taken; j++) taken = out[j] == out[i];
    if (taken)
      return mien__fail(error, MIEN_INVALID_MODEL, "node '%s': output '%s' is defined twice", name,
                        mien__value_name(g, out[i]));
  }
  return MIEN_OK;
}

mien_status mien__graph_add_detached(mien__graph *g, const mien__record *record, int64_t opset, const char *name,
                                     const mien__attr_value *attrs, int attr_count, const mien_value *in, int in_count,
                                     const mien_value *out, int out_count, mien_node_id *node, mien_error *error) {
  if (!name) name = "";
  if ((uint32_t)g->live_count >= g->env->limits.nodes)
    return mien__fail(error, MIEN_LIMIT, "the graph has more than %u nodes", g->env->limits.nodes);
  MIEN_TRY(graph_check_outputs(g, name, out, out_count, error));
  MIEN_TRY(graph_grow(g, &g->nodes, g->node_count, &g->node_room, sizeof *g->nodes, error));
  size_t ins = (size_t)in_count, outs = (size_t)out_count;
  mien__gnode *n = mien__pool_alloc(&g->pool, sizeof *n);
  mien_value *ids = mien__pool_alloc(&g->pool, (ins + outs + 1) * sizeof *ids);
  mien__value **values = mien__pool_alloc(&g->pool, (ins + outs + 1) * sizeof *values);
  mien__use *uses = mien__pool_alloc(&g->pool, (ins + 1) * sizeof *uses);
  if (!n || !ids || !values || !uses) return mien__no_memory(error, sizeof *n);
  MIEN_TRY(graph_copy_text(g, name, &name, error));
  for (int i = 0; i < in_count; i++) {
    ids[i] = in[i];
    values[i] = in[i] == MIEN_NO_VALUE ? NULL : &g->values[in[i]]->v;
  }
  for (int i = 0; i < out_count; i++) {
    ids[in_count + i] = out[i];
    values[in_count + i] = out[i] == MIEN_NO_VALUE ? NULL : &g->values[out[i]]->v;
  }
  g->scope.error = error;
  mien_status status = mien__node_init(&n->n, &g->scope, record, name, attrs, attr_count, values, in_count,
                                       values + in_count, out_count);
  g->scope.error = NULL;
  if (status != MIEN_OK) return status;
  n->opset = opset;
  n->in = ids;
  n->out = ids + in_count;
  n->uses = uses;
  n->state = MIEN__NODE_DETACHED;
  mien_node_id id = g->node_count++;
  g->nodes[id] = n;
  for (int i = 0; i < out_count; i++) {
    if (out[i] == MIEN_NO_VALUE) continue;
    g->values[out[i]]->producer = id;
    g->values[out[i]]->producer_slot = i;
  }
  *node = id;
  return MIEN_OK;
}

void mien__graph_attach(mien__graph *g, mien_node_id node) {
  mien__gnode *n = g->nodes[node];
  for (int i = 0; i < n->n.in_count; i++) graph_link(g, node, i, n->in[i]);
  n->state = MIEN__NODE_LIVE;
  g->live_count++;
}

mien_status mien__graph_add_node(mien__graph *g, const mien__record *record, int64_t opset, const char *name,
                                 const mien__attr_value *attrs, int attr_count, const mien_value *in, int in_count,
                                 const mien_value *out, int out_count, mien_node_id *node, mien_error *error) {
  MIEN_TRY(
      mien__graph_add_detached(g, record, opset, name, attrs, attr_count, in, in_count, out, out_count, node, error));
  mien__graph_attach(g, *node);
  return MIEN_OK;
}

void mien__graph_truncate(mien__graph *g, int32_t value_count, int32_t node_count) {
  while (g->node_count > node_count) mien__node_clear(&g->nodes[--g->node_count]->n);
  while (g->value_count > value_count) {
    mien__gvalue *v = g->values[--g->value_count];
    if (v->owned) mien_tensor_clear(g->env, &v->v.tensor);
  }
}
