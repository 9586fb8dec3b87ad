/* converter/decompose.c -- an operator spelled in others, by its own record, through the same rewriter as passes. */
#include "converter/passes.h"
#include "converter/patch.h"

#include <string.h>

/* Calls the record's function; afterwards the patch replaces every output of the node that is needed. */
static mien_status decompose_build(mien_rewriter *r, mien__graph *g, mien__rewrite_cache *cache, mien_node_id node,
                                   mien_error *error) {
  const mien__gnode *n = g->nodes[node];
  const mien_op *op = n->n.record->op;
  const char *refused;
  mien__rewriter_init(r, g, cache, op->name, node, error);
  if (!op->decompose) return mien__rewriter_fail(r, MIEN_UNSUPPORTED, "the operator has no decomposition");
  mien_status status = op->decompose(r);
  if (status != MIEN_OK) return mien__rewriter_blame(r, status);
  MIEN_TRY(mien__patch_check(r, &refused));
  if (refused) return mien__rewriter_fail(r, MIEN_INTERNAL, "its decomposition: %s", refused);
  for (int i = 0; i < n->n.out_count; i++) {
    bool replaced = n->out[i] == MIEN_NO_VALUE || !mien__value_needed(g, n->out[i]);
    for (int k = 0; k < r->patch.pair_count && !replaced; k++) replaced = r->patch.pairs[k].from == n->out[i];
    if (!replaced) return mien__rewriter_fail(r, MIEN_PLUGIN, "its decomposition does not give output %d", i);
  }
  for (int k = 0; k < r->patch.pair_count; k++)
    if (g->values[r->patch.pairs[k].from]->producer != node)
      return mien__rewriter_fail(r, MIEN_PLUGIN, "its decomposition replaces a value that is not its own");
  return MIEN_OK;
}

/* ---- beside the node */

/* Nodes [first, end) write and read `to` where they did `from`. */
static void decompose_rename(mien__graph *g, int32_t first, int32_t end, mien_value from, mien_value to) {
  for (mien_node_id i = first; i < end; i++) {
    mien__gnode *n = g->nodes[i];
    for (int k = 0; k < n->n.in_count; k++)
      if (n->in[k] == from) {
        n->in[k] = to;
        n->n.in[k] = &g->values[to]->v;
      }
    for (int k = 0; k < n->n.out_count; k++)
      if (n->out[k] == from) {
        n->out[k] = to;
        n->n.out[k] = &g->values[to]->v;
      }
  }
}

/* An Identity that gives pair k a value of its own: what replaces it is an input, a constant, or replaces two. */
static mien_status decompose_copy(mien_rewriter *r, int k) {
  mien_value copy, from = r->patch.pairs[k].to;
  MIEN_TRY(r->host->begin(r, "Identity", &from, 1));
  MIEN_TRY(r->host->end(r, &copy, 1));
  r->patch.pairs[k].to = copy;
  return MIEN_OK;
}

static mien_status decompose_own_values(mien_rewriter *r) {
  mien__patch *p = &r->patch;
  for (int k = 0; k < p->pair_count; k++) {
    mien_value to = p->pairs[k].to;
    bool own = to >= p->first_value && r->g->values[to]->producer >= p->first_node;
    for (int j = 0; j < k && own; j++) own = p->pairs[j].to != to;
    if (!own) MIEN_TRY(decompose_copy(r, k));
  }
  return MIEN_OK;
}

static mien_status decompose_list(mien_rewriter *r, mien_node_id **nodes, int32_t *count) {
  mien__graph *g = r->g;
  mien__patch *p = &r->patch;
  MIEN_TRY(decompose_own_values(r));
  int32_t total = g->node_count - p->first_node;
  mien_node_id *list = mien__pool_alloc(&g->pool, ((size_t)total + 1) * sizeof *list);
  if (!list) return mien__no_memory(r->error, (size_t)total * sizeof *list);
  for (int32_t i = 0; i < total; i++) list[i] = p->first_node + i;
  for (int k = 0; k < p->pair_count; k++) {
    decompose_rename(g, p->first_node, g->node_count, p->pairs[k].to, p->pairs[k].from);
    g->values[p->pairs[k].to]->gone = true;
    g->values[p->pairs[k].to]->went_into = p->pairs[k].from;
  }
  *nodes = list;
  *count = total;
  return MIEN_OK;
}

mien_status mien__graph_decompose(mien__graph *g, mien_node_id node, mien_node_id **nodes, int32_t *count,
                                  mien_error *error) {
  mien_rewriter r;
  mien__rewrite_cache cache;
  mien__rewrite_cache_init(&cache, g->env);
  mien_status status = decompose_build(&r, g, &cache, node, error);
  if (status == MIEN_OK) status = decompose_list(&r, nodes, count);
  if (status != MIEN_OK) mien__patch_drop(&r);
  mien__rewrite_cache_clear(&cache);
  return status;
}

/* ---- in place */

#define DECOMPOSE_ROUNDS 32 /* decompositions of decompositions */

static mien_status decompose_node(mien__graph *g, mien__rewrite_cache *cache, mien__ids *touched, mien_node_id node,
                                  mien_error *error) {
  mien_rewriter r;
  mien_status status = decompose_build(&r, g, cache, node, error);
  if (status != MIEN_OK) {
    mien__patch_drop(&r);
    return status;
  }
  touched->count = 0;
  return mien__patch_apply(&r, touched);
}

static mien_status decompose_round(mien__graph *g, mien__rewrite_cache *cache, mien__ids *touched, bool *any,
                                   mien_error *error) {
  int32_t count = g->node_count;
  *any = false;
  MIEN_TRY(mien__graph_rank(g, error));
  for (mien_node_id i = 0; i < count; i++) {
    const mien__gnode *n = g->nodes[i];
    if (n->state != MIEN__NODE_LIVE || !n->n.record->op->decompose) continue;
    MIEN_TRY(decompose_node(g, cache, touched, i, error));
    *any = true;
  }
  return MIEN_OK;
}

mien_status mien__graph_expand(mien__graph *g, mien_error *error) {
  mien__rewrite_cache cache;
  mien__ids touched = {.env = g->env};
  mien__rewrite_cache_init(&cache, g->env);
  bool any = true;
  mien_status status = mien__graph_remove_dead(g, error);
  for (int i = 0; any && status == MIEN_OK; i++) {
    if (i == DECOMPOSE_ROUNDS)
      status = mien__fail(error, MIEN_PLUGIN, "decompositions lead to each other without end");
    else
      status = decompose_round(g, &cache, &touched, &any, error);
  }
  mien__rewrite_cache_clear(&cache);
  mien__ids_clear(&touched);
  if (status == MIEN_OK) status = mien__graph_remove_dead(g, error);
  return status == MIEN_OK ? mien__graph_check(g, error) : status;
}
