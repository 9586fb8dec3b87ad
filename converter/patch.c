/* converter/patch.c -- checking a patch at its border, and applying it. Work is proportional to the patch and to what really
** depends on it, not to the graph. */
#include "converter/patch.h"

#include <stdio.h>
#include <string.h>

mien_status mien__ids_push(mien__ids *ids, int32_t id, mien_error *error) {
  if (ids->count == ids->room) {
    int32_t room = ids->room ? ids->room * 2 : 64;
    int32_t *grown = ids->room < INT32_MAX / 4 ? mien__realloc(ids->env, ids->at, (size_t)room * sizeof *grown) : NULL;
    if (!grown) return mien__no_memory(error, (size_t)room * sizeof *grown);
    ids->at = grown;
    ids->room = room;
  }
  ids->at[ids->count++] = id;
  return MIEN_OK;
}

void mien__ids_clear(mien__ids *ids) {
  mien__free(ids->env, ids->at);
  *ids = (mien__ids){.env = ids->env};
}

void mien__rewrite_cache_init(mien__rewrite_cache *cache, mien_env *env) {
  *cache = (mien__rewrite_cache){.user_of = MIEN_NO_VALUE, .stack.env = env, .queue.env = env, .dead.env = env};
}

void mien__rewrite_cache_clear(mien__rewrite_cache *cache) {
  mien__ids_clear(&cache->stack);
  mien__ids_clear(&cache->queue);
  mien__ids_clear(&cache->dead);
}

void mien__patch_drop(mien_rewriter *r) {
  mien__graph_truncate(r->g, r->patch.first_value, r->patch.first_node);
  r->patch.pair_count = 0;
  r->patch.record = NULL;
}

/* ---- the border */

typedef enum patch_border { PATCH_EQUAL, PATCH_UNDECIDED, PATCH_DIFFERENT } patch_border;

/* A size of which nothing at all is known; not even equal to itself. */
#define PATCH_NAMELESS INT64_MIN

static patch_border patch_compare(const mien__graph *g, const mien_type *a, const mien_type *b) {
  patch_border result = PATCH_EQUAL;
  if (memcmp(a->nest, b->nest, sizeof a->nest) || a->key != b->key) return PATCH_DIFFERENT;
  if (a->dtype == MIEN_NONE || b->dtype == MIEN_NONE) return PATCH_UNDECIDED;
  if (a->dtype != b->dtype) return PATCH_DIFFERENT;
  if (a->rank < 0 || b->rank < 0) return PATCH_UNDECIDED;
  if (a->rank != b->rank) return PATCH_DIFFERENT;
  for (int i = 0; i < a->rank; i++) {
    if (a->dim[i] == b->dim[i] && a->dim[i] != PATCH_NAMELESS) continue;
    if (mien__dim_differs(g->scope.symbols, a->dim[i], b->dim[i])) return PATCH_DIFFERENT;
    result = PATCH_UNDECIDED;
  }
  return result;
}

static mien_status patch_check_pair(mien_rewriter *r, int index, const char **refused) {
  const mien__graph *g = r->g;
  mien_value from = r->patch.pairs[index].from, to = r->patch.pairs[index].to;
  const mien__gvalue *old = g->values[from], *new = g->values[to];
  char text[2][160];
  if (from == to) return mien__rewriter_fail(r, MIEN_PLUGIN, "replaces a value by itself");
  if (old->gone || old->producer == MIEN_NO_NODE || g->nodes[old->producer]->state != MIEN__NODE_LIVE)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "replaces '%.80s', which is no node's output",
                               mien__value_name(g, from));
  if (new->gone) return mien__rewriter_fail(r, MIEN_PLUGIN, "replaces a value by one that is gone");
  for (int i = 0; i < index; i++)
    if (r->patch.pairs[i].from == from) return mien__rewriter_fail(r, MIEN_PLUGIN, "replaces a value twice");
  patch_border border = patch_compare(g, &old->v.tensor.type, &new->v.tensor.type);
  if (border == PATCH_EQUAL) return MIEN_OK;
  mien__type_text(&old->v.tensor.type, g->scope.symbols, text[0], sizeof text[0]);
  mien__type_text(&new->v.tensor.type, g->scope.symbols, text[1], sizeof text[1]);
  if (border == PATCH_DIFFERENT)
    return mien__rewriter_fail(r, MIEN_INTERNAL, "replaces '%.80s' of type %s by a value of type %s",
                               mien__value_name(g, from), text[0], text[1]);
  *refused = mien__pool_format(&r->g->pool, "%s is not provably %s", text[1], text[0]);
  return *refused ? MIEN_OK : mien__no_memory(r->error, 0);
}

/* ---- cycles */

/* The value that an input reads once the patch is applied. */
static mien_value patch_reads(const mien__patch *p, const mien__gnode *n, int slot) {
  mien_value v = n->in[slot];
  if (n->state != MIEN__NODE_LIVE) return v; /* new nodes read what they say, also where it is replaced */
  for (int i = 0; i < p->pair_count; i++)
    if (p->pairs[i].from == v) return p->pairs[i].to;
  return v;
}

/* The producer of v where the walk has to go on; nodes of lower rank than what is replaced cannot depend on it. */
static mien_node_id patch_above(const mien__graph *g, mien_value v, int32_t min_rank) {
  mien_node_id node = v == MIEN_NO_VALUE ? MIEN_NO_NODE : g->values[v]->producer;
  if (node == MIEN_NO_NODE) return MIEN_NO_NODE;
  return g->nodes[node]->state == MIEN__NODE_LIVE && g->nodes[node]->rank < min_rank ? MIEN_NO_NODE : node;
}

/* Walks up from `start`, depth first. open: g->walk; done: g->walk + 1. The stack holds pairs of node and next slot. */
static mien_status patch_walk(mien_rewriter *r, mien_node_id start, int32_t min_rank) {
  mien__graph *g = r->g;
  mien__ids *stack = &r->cache->stack;
  if (g->nodes[start]->mark >= g->walk) return MIEN_OK;
  g->nodes[start]->mark = g->walk;
  MIEN_TRY(mien__ids_push(stack, start, r->error));
  MIEN_TRY(mien__ids_push(stack, 0, r->error));
  while (stack->count > 0) {
    mien__gnode *n = g->nodes[stack->at[stack->count - 2]];
    int slot = stack->at[stack->count - 1]++;
    if (slot == n->n.in_count) {
      n->mark = g->walk + 1;
      stack->count -= 2;
      continue;
    }
    mien_node_id above = patch_above(g, patch_reads(&r->patch, n, slot), min_rank);
    if (above == MIEN_NO_NODE || g->nodes[above]->mark == g->walk + 1) continue;
    if (g->nodes[above]->mark == g->walk) return mien__rewriter_fail(r, MIEN_INTERNAL, "its patch makes a cycle");
    g->nodes[above]->mark = g->walk;
    MIEN_TRY(mien__ids_push(stack, above, r->error));
    MIEN_TRY(mien__ids_push(stack, 0, r->error));
  }
  return MIEN_OK;
}

static mien_status patch_check_cycles(mien_rewriter *r) {
  mien__graph *g = r->g;
  int32_t min_rank = INT32_MAX;
  for (int i = 0; i < r->patch.pair_count; i++) {
    int32_t rank = g->nodes[g->values[r->patch.pairs[i].from]->producer]->rank;
    if (rank < min_rank) min_rank = rank;
  }
  if (g->walk >= UINT32_MAX - 16) { /* marks of old walks must not look newer */
    for (int32_t i = 0; i < g->node_count; i++) g->nodes[i]->mark = 0;
    g->walk = 0;
  }
  g->walk += 2;
  mien_status status = MIEN_OK;
  for (int i = 0; i < r->patch.pair_count && status == MIEN_OK; i++) {
    mien_node_id node = patch_above(g, r->patch.pairs[i].to, min_rank);
    if (node != MIEN_NO_NODE) status = patch_walk(r, node, min_rank);
  }
  r->cache->stack.count = 0;
  return status;
}

mien_status mien__patch_check(mien_rewriter *r, const char **refused) {
  *refused = NULL;
  if (r->patch.record) return mien__rewriter_fail(r, MIEN_PLUGIN, "begin without end");
  for (int i = 0; i < r->patch.pair_count && !*refused; i++) MIEN_TRY(patch_check_pair(r, i, refused));
  return *refused ? MIEN_OK : patch_check_cycles(r);
}

/* ---- ranks: a reader's is never lower */

static int32_t patch_inputs_rank(const mien__graph *g, const mien__gnode *n) {
  int32_t rank = 0;
  for (int i = 0; i < n->n.in_count; i++) {
    mien_node_id above = n->in[i] == MIEN_NO_VALUE ? MIEN_NO_NODE : g->values[n->in[i]]->producer;
    if (above != MIEN_NO_NODE && g->nodes[above]->rank > rank) rank = g->nodes[above]->rank;
  }
  return rank;
}

/* Raises a node to `rank`, whatever reads it, and so on. */
static mien_status patch_raise(mien_rewriter *r, mien_node_id node, int32_t rank) {
  mien__graph *g = r->g;
  mien__ids *stack = &r->cache->stack;
  if (g->nodes[node]->rank >= rank) return MIEN_OK;
  g->nodes[node]->rank = rank;
  mien_status status = mien__ids_push(stack, node, r->error);
  while (stack->count > 0 && status == MIEN_OK) {
    const mien__gnode *n = g->nodes[stack->at[--stack->count]];
    for (int i = 0; i < n->n.out_count; i++) {
      if (n->out[i] == MIEN_NO_VALUE) continue;
      for (const mien__use *use = g->values[n->out[i]]->first_use; use && status == MIEN_OK; use = use->next) {
        if (g->nodes[use->node]->rank >= rank) continue;
        g->nodes[use->node]->rank = rank;
        status = mien__ids_push(stack, use->node, r->error);
      }
    }
  }
  stack->count = 0;
  return status;
}

/* ---- what is near a change */

#define PATCH_READERS 16
#define PATCH_NEAR 48
#define PATCH_NEAR_DEPTH 6

static mien_status patch_touch_readers(mien_rewriter *r, mien_value v, mien__ids *touched) {
  int count = 0;
  for (const mien__use *use = r->g->values[v]->first_use; use && count < PATCH_READERS; use = use->next, count++)
    MIEN_TRY(mien__ids_push(touched, use->node, r->error));
  return MIEN_OK;
}

/* v got or lost readers: patterns that end in it or ask for its uses may match now. */
static mien_status patch_touch_value(mien_rewriter *r, mien_value v, mien__ids *touched) {
  if (v == MIEN_NO_VALUE || r->g->values[v]->gone) return MIEN_OK;
  if (r->g->values[v]->producer != MIEN_NO_NODE) MIEN_TRY(mien__ids_push(touched, r->g->values[v]->producer, r->error));
  return patch_touch_readers(r, v, touched);
}

/* Readers of v, their readers, ...: roots whose patterns may reach v. */
static mien_status patch_touch_below(mien_rewriter *r, mien_value v, mien__ids *touched) {
  int32_t first = touched->count, level = first;
  MIEN_TRY(patch_touch_value(r, v, touched));
  for (int depth = 1; depth < PATCH_NEAR_DEPTH; depth++) {
    int32_t end = touched->count;
    for (int32_t i = level; i < end && touched->count - first < PATCH_NEAR; i++) {
      const mien__gnode *n = r->g->nodes[touched->at[i]];
      for (int k = 0; k < n->n.out_count && touched->count - first < PATCH_NEAR; k++)
        if (n->out[k] != MIEN_NO_VALUE) MIEN_TRY(patch_touch_readers(r, n->out[k], touched));
    }
    level = end;
  }
  return MIEN_OK;
}

/* ---- applying */

/* Removes those of cache->dead that are dead, and what only they needed. */
static mien_status patch_prune(mien_rewriter *r, mien_value into, mien__ids *touched) {
  mien__graph *g = r->g;
  mien__ids *dead = &r->cache->dead;
  mien_status status = MIEN_OK;
  while (dead->count > 0 && status == MIEN_OK) {
    mien_node_id id = dead->at[--dead->count];
    const mien__gnode *n = g->nodes[id];
    if (!mien__graph_is_dead(g, id)) continue;
    mien__graph_remove_node(g, id, into);
    for (int i = 0; i < n->n.in_count && status == MIEN_OK; i++) {
      if (n->in[i] == MIEN_NO_VALUE || g->values[n->in[i]]->gone) continue;
      mien_node_id producer = g->values[n->in[i]]->producer;
      if (producer != MIEN_NO_NODE) status = mien__ids_push(dead, producer, r->error);
      if (status == MIEN_OK) status = patch_touch_value(r, n->in[i], touched);
    }
  }
  dead->count = 0;
  return status;
}

#define PATCH_SAVED 16

static bool patch_knows_more(const mien__value *before, const mien__value *after) {
  const mien_type *a = &before->tensor.type, *b = &after->tensor.type;
  if (a->dtype != b->dtype || a->rank != b->rank) return true;
  for (int i = 0; i < a->rank; i++)
    if (a->dim[i] != b->dim[i] && !(mien_is_symbol(a->dim[i]) && mien_is_symbol(b->dim[i]))) return true;
  if (mien__contents(before) || (!after->ints && !mien__contents(after))) return false;
  if (mien__contents(after) || !before->ints || before->ints_count != after->ints_count) return true;
  for (int64_t i = 0; i < after->ints_count; i++)
    if (mien_is_symbol(before->ints[i]) && !mien_is_symbol(after->ints[i])) return true;
  return false;
}

/* Infers a node whose inputs are known better than before. Where that tells nothing new, its types stay as they were: a fresh
** symbol for the same open size would only set it apart from what was derived from it. */
static mien_status patch_infer(mien_rewriter *r, mien_node_id node, bool *changed) {
  mien__gnode *n = r->g->nodes[node];
  mien__value saved[PATCH_SAVED];
  int count = n->n.out_count < PATCH_SAVED ? n->n.out_count : PATCH_SAVED;
  for (int i = 0; i < count; i++)
    if (n->n.out[i]) saved[i] = *n->n.out[i];
  MIEN_TRY(mien__graph_infer_node(r->g, node, r->error));
  *changed = n->n.out_count > PATCH_SAVED;
  for (int i = 0; i < count && !*changed; i++) *changed = n->n.out[i] && patch_knows_more(&saved[i], n->n.out[i]);
  for (int i = 0; i < count && !*changed; i++)
    if (n->n.out[i]) *n->n.out[i] = saved[i];
  return MIEN_OK;
}

static mien_status patch_queue_readers(mien_rewriter *r, const mien__gnode *n) {
  for (int i = 0; i < n->n.out_count; i++) {
    if (n->out[i] == MIEN_NO_VALUE) continue;
    for (const mien__use *use = r->g->values[n->out[i]]->first_use; use; use = use->next)
      MIEN_TRY(mien__ids_push(&r->cache->queue, use->node, r->error));
  }
  return MIEN_OK;
}

/* Infers (unless it is new: then it has been) and folds one node; queues its readers where that changed something. */
static mien_status patch_settle_node(mien_rewriter *r, mien_node_id node, bool infer, mien__ids *touched) {
  mien__graph *g = r->g;
  mien__gnode *n = g->nodes[node];
  bool changed = false, folded;
  if (n->state != MIEN__NODE_LIVE) return MIEN_OK;
  if (infer) MIEN_TRY(patch_infer(r, node, &changed));
  int32_t queued = r->cache->queue.count;
  MIEN_TRY(patch_queue_readers(r, n));
  MIEN_TRY(mien__graph_fold_node(g, node, &folded, r->error));
  if (!changed && !folded) r->cache->queue.count = queued;
  for (int i = 0; i < n->n.in_count && folded; i++) {
    mien_node_id above = n->in[i] == MIEN_NO_VALUE ? MIEN_NO_NODE : g->values[n->in[i]]->producer;
    if (above != MIEN_NO_NODE) MIEN_TRY(mien__ids_push(&r->cache->dead, above, r->error));
  }
  return folded || !infer ? MIEN_OK : mien__ids_push(touched, node, r->error);
}

static mien_status patch_settle(mien_rewriter *r, int32_t first_node, int32_t end_node, mien__ids *touched) {
  mien_status status = MIEN_OK;
  for (mien_node_id i = first_node; i < end_node && status == MIEN_OK; i++)
    status = patch_settle_node(r, i, false, touched);
  for (int32_t i = 0; i < r->cache->queue.count && status == MIEN_OK; i++)
    status = patch_settle_node(r, r->cache->queue.at[i], true, touched);
  r->cache->queue.count = 0;
  return status;
}

/* moved: for each pair, the last use that the new value had before; those after it were the old value's. */
static mien_status patch_attach(mien_rewriter *r, int32_t end_node, const mien__use *const *moved) {
  mien__graph *g = r->g;
  for (mien_node_id i = r->patch.first_node; i < end_node; i++) {
    g->nodes[i]->rank = patch_inputs_rank(g, g->nodes[i]);
    mien__graph_attach(g, i);
  }
  for (int i = 0; i < r->patch.pair_count; i++) {
    const mien__gvalue *to = g->values[r->patch.pairs[i].to];
    if (to->producer == MIEN_NO_NODE) continue;
    int32_t rank = g->nodes[to->producer]->rank;
    for (const mien__use *use = moved[i] ? moved[i]->next : to->first_use; use; use = use->next)
      MIEN_TRY(patch_raise(r, use->node, rank));
  }
  return MIEN_OK;
}

mien_status mien__patch_apply(mien_rewriter *r, mien__ids *touched) {
  mien__graph *g = r->g;
  mien__patch *p = &r->patch;
  mien_value into = p->pairs[0].to;
  int32_t end_node = g->node_count;
  mien__ids *dead = &r->cache->dead, *queue = &r->cache->queue;
  const mien__use *moved[MIEN__PATCH_PAIRS];
  r->cache->user_of = MIEN_NO_VALUE;
  for (int i = 0; i < p->pair_count; i++) {
    mien_value from = p->pairs[i].from, to = p->pairs[i].to;
    bool news = patch_knows_more(&g->values[from]->v, &g->values[to]->v);
    MIEN_TRY(mien__ids_push(dead, g->values[from]->producer, r->error));
    for (const mien__use *use = g->values[from]->first_use; use && news; use = use->next)
      MIEN_TRY(mien__ids_push(queue, use->node, r->error));
    moved[i] = g->values[to]->last_use;
    mien__graph_replace_uses(g, from, to);
  }
  MIEN_TRY(patch_attach(r, end_node, moved));
  for (mien_node_id i = end_node - 1; i >= p->first_node; i--) MIEN_TRY(mien__ids_push(dead, i, r->error));
  MIEN_TRY(patch_prune(r, into, touched));
  MIEN_TRY(patch_settle(r, p->first_node, end_node, touched));
  MIEN_TRY(patch_prune(r, MIEN_NO_VALUE, touched));
  for (mien_node_id i = p->first_node; i < end_node; i++) {
    const mien__gnode *n = g->nodes[i];
    if (n->state != MIEN__NODE_LIVE) continue;
    MIEN_TRY(mien__ids_push(touched, i, r->error));
    for (int k = 0; k < n->n.in_count; k++) MIEN_TRY(patch_touch_value(r, n->in[k], touched));
  }
  for (int i = 0; i < p->pair_count; i++) MIEN_TRY(patch_touch_below(r, p->pairs[i].to, touched));
  return MIEN_OK;
}
