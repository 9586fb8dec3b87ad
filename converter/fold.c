/* converter/fold.c -- inference over a graph, and nodes that become constants. A folded node is evaluated by the runtime's own
** operator and stays as the recipe of its outputs, so that a plan can tell how a weight came from the checkpoint. */
#include "converter/graph.h"

#include <string.h>

static void fold_enter(mien__graph *g, mien_error *error) {
  g->scope.error = error;
  atomic_store(&g->scope.failed, 0);
}

static mien_status fold_leave(mien__graph *g, mien_status status) {
  g->scope.error = NULL;
  return status;
}

static bool fold_integer(int32_t dtype) {
  switch (dtype) {
    case MIEN_BOOL:
    case MIEN_I8:
    case MIEN_U8:
    case MIEN_I16:
    case MIEN_U16:
    case MIEN_I32:
    case MIEN_U32:
    case MIEN_I64:
    case MIEN_U64: return true;
    default: return false;
  }
}

static bool fold_plain(const mien_type *type) { return !type->nest[0] && type->dtype != MIEN_NONE && type->rank >= 0; }

const int64_t *mien__graph_ints(mien__graph *g, mien_value value, int64_t *count) {
  mien__value *v = &g->values[value]->v;
  *count = 0;
  const void *contents = mien__contents(v);
  if (!v->ints && contents && fold_plain(&v->tensor.type) && fold_integer(v->tensor.type.dtype)) {
    int64_t elements = mien_count(&v->tensor.type);
    if (elements < 0 || elements > MIEN__MAX_INTS) return NULL;
    int64_t *ints = mien__pool_alloc(&g->pool, ((size_t)elements + 1) * sizeof *ints);
    if (!ints) return NULL;
    mien_tensor view = v->tensor;
    view.data = (void *)(uintptr_t)contents;
    for (int64_t i = 0; i < elements; i++) ints[i] = mien__tensor_i64(&view, i);
    v->ints = ints;
    v->ints_count = elements;
  }
  if (v->ints) *count = v->ints_count;
  return v->ints;
}

mien_status mien__graph_infer_node(mien__graph *g, mien_node_id node, mien_error *error) {
  mien__gnode *n = g->nodes[node];
  for (int i = 0; i < n->n.out_count; i++) {
    if (!n->n.out[i]) continue;
    *n->n.out[i] = (mien__value){.tensor = {.type = {.rank = -1}}};
  }
  fold_enter(g, error);
  return fold_leave(g, mien__node_infer(&n->n));
}

/* ---- nodes with constant inputs */

static bool fold_constant_inputs(const mien__gnode *n) {
  for (int i = 0; i < n->n.in_count; i++)
    if (n->n.in[i] && !n->n.in[i]->constant) return false;
  return true;
}

/* Bytes of all outputs; unknown sizes count as nothing. */
static uint64_t fold_bytes(const mien__gnode *n) {
  uint64_t sum = 0;
  for (int i = 0; i < n->n.out_count; i++) {
    if (!n->n.out[i]) continue;
    const mien_tensor *t = &n->n.out[i]->tensor;
    int64_t count = fold_plain(&t->type) ? mien_count(&t->type) : -1;
    if (count > 0) sum += (uint64_t)count * mien_dtype_bytes(t->type.dtype);
    if (t->bytes > sum) sum = t->bytes;
  }
  return sum;
}

/* Takes back what evaluate gave: the node stays. */
static void fold_undo(mien__graph *g, mien__gnode *n) {
  for (int i = 0; i < n->n.out_count; i++) {
    mien__value *v = n->n.out[i];
    if (!v) continue;
    mien__free(g->env, v->tensor.data);
    v->tensor.data = NULL;
    v->tensor.bytes = 0;
    v->constant = false;
  }
}

void mien__graph_release(mien__graph *g, mien_value value) {
  mien__gvalue *v = g->values[value];
  if (!v->owned || v->recipe == MIEN_NO_NODE || mien__value_needed(g, value)) return;
  mien_type type = v->v.tensor.type;
  g->folded_bytes -= v->v.tensor.bytes;
  mien_tensor_clear(g->env, &v->v.tensor);
  v->v.tensor.type = type;
  v->owned = false;
  v->gone = true;
}

static void fold_keep_recipe(mien__graph *g, mien_node_id node) {
  mien__gnode *n = g->nodes[node];
  mien_value result = MIEN_NO_VALUE;
  for (int i = 0; i < n->n.out_count; i++) {
    if (n->out[i] == MIEN_NO_VALUE) continue;
    mien__gvalue *v = g->values[n->out[i]];
    v->owned = true;
    v->producer = MIEN_NO_NODE;
    v->recipe = node;
    v->recipe_slot = i;
    g->folded_bytes += v->v.tensor.bytes;
    if (result == MIEN_NO_VALUE) result = n->out[i];
  }
  mien__graph_retire(g, node, MIEN__NODE_RECIPE);
  for (int i = 0; i < n->n.in_count; i++) {
    if (n->in[i] == MIEN_NO_VALUE || mien__value_needed(g, n->in[i])) continue;
    g->values[n->in[i]]->went_into = result;
    mien__graph_release(g, n->in[i]);
  }
}

static bool fold_fits(const mien__graph *g, const mien__gnode *n) {
  uint64_t bytes = fold_bytes(n), limit = g->env->limits.folded_bytes;
  return bytes <= limit && g->folded_bytes + bytes <= limit + 4 * g->given_bytes;
}

static mien_status fold_evaluate(mien__graph *g, mien_node_id node, bool *folded, mien_error *error) {
  mien__gnode *n = g->nodes[node];
  if (n->n.record->op->flags & MIEN_OP_RANDOM) return MIEN_OK;
  if (!fold_constant_inputs(n) || !fold_fits(g, n)) return MIEN_OK;
  fold_enter(g, error);
  MIEN_TRY(fold_leave(g, mien__node_evaluate(&n->n)));
  if (!fold_fits(g, n)) { /* sizes that only evaluation told */
    fold_undo(g, n);
    return MIEN_OK;
  }
  fold_keep_recipe(g, node);
  *folded = true;
  return MIEN_OK;
}

/* ---- values whose contents shape arithmetic knows */

static bool fold_known(const mien__graph *g, const mien__value *v) {
  if (v->constant || !v->known || !fold_plain(&v->tensor.type)) return false;
  int64_t count = mien_count(&v->tensor.type); /* at most MIEN__MAX_INTS */
  return count >= 0 && (uint64_t)count * mien_dtype_bytes(v->tensor.type.dtype) <= g->env->limits.folded_bytes;
}

static mien_status fold_contents(mien__graph *g, mien_value value, mien_error *error) {
  const mien__value *v = &g->values[value]->v;
  mien_tensor tensor;
  mien_value constant;
  int64_t count;
  size_t bytes;
  MIEN_TRY(mien__type_size(g->env, &v->tensor.type, &count, &bytes, error));
  MIEN_TRY(mien__tensor_alloc(g->env, &v->tensor.type, &tensor, error));
  if (bytes) memcpy(tensor.data, v->known, bytes);
  mien_status status = mien__graph_add_constant(g, NULL, &tensor, true, false, &constant, error);
  if (status != MIEN_OK) {
    mien__free(g->env, tensor.data);
    return status;
  }
  g->values[constant]->v.ints = v->ints;
  g->values[constant]->v.ints_count = v->ints_count;
  mien__graph_replace_uses(g, value, constant);
  return MIEN_OK;
}

mien_status mien__graph_fold_node(mien__graph *g, mien_node_id node, bool *folded, mien_error *error) {
  mien__gnode *n = g->nodes[node];
  *folded = false;
  if (n->state != MIEN__NODE_LIVE) return MIEN_OK;
  MIEN_TRY(fold_evaluate(g, node, folded, error));
  if (*folded) return MIEN_OK;
  for (int i = 0; i < n->n.out_count; i++) {
    mien_value out = n->out[i];
    if (out == MIEN_NO_VALUE || !mien__value_needed(g, out) || !fold_known(g, &g->values[out]->v)) continue;
    MIEN_TRY(fold_contents(g, out, error));
    *folded = true;
  }
  if (*folded && mien__graph_is_dead(g, node)) mien__graph_remove_node(g, node, MIEN_NO_VALUE);
  return MIEN_OK;
}

mien_status mien__graph_infer(mien__graph *g, bool fold, mien_error *error) {
  mien_node_id *order;
  if (fold) MIEN_TRY(mien__graph_remove_dead(g, error));
  MIEN_TRY(mien__graph_order(g, &order, error));
  mien_status status = MIEN_OK;
  int32_t count = g->live_count;
  for (int32_t i = 0; i < count && status == MIEN_OK; i++) {
    bool folded;
    status = mien__graph_infer_node(g, order[i], error);
    if (fold && status == MIEN_OK) status = mien__graph_fold_node(g, order[i], &folded, error);
  }
  mien__free(g->env, order);
  if (fold && status == MIEN_OK) status = mien__graph_remove_dead(g, error);
  return status;
}
