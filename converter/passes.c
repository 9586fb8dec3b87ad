/* converter/passes.c -- running rewrites: stages in order, each to a fixed point. Every rewrite reads one growing list of nodes from
** its own place on: first all nodes, then those near each change. A last look at the whole graph must find nothing. */
#include "converter/patch.h"
#include "converter/passes.h"

#include <string.h>

#define PASSES_REFUSED 100 /* entries in the log */

typedef struct passes_stage {
  mien__passes *passes;
  mien__graph *g;
  mien_error *error;
  mien__rewrite_cache cache;
  mien__ids nodes;  /* to look at */
  mien__ids cursor; /* of each rewrite: where in `nodes` it goes on */
  int32_t first, end;
  int32_t bound; /* patches of one rewrite */
  int stop_after;
  bool stopped;
} passes_stage;

static const char *passes_root_name(const mien__graph *g, mien_node_id node) {
  const mien__gnode *n = g->nodes[node];
  if (n->n.name[0]) return n->n.name;
  for (int i = 0; i < n->n.out_count; i++)
    if (n->out[i] != MIEN_NO_VALUE && mien__value_name(g, n->out[i])[0]) return mien__value_name(g, n->out[i]);
  return "";
}

static mien_status passes_log(passes_stage *s, mien__patch_log entry) {
  mien__passes *p = s->passes;
  if (p->log_count == p->log_room) {
    int32_t room = p->log_room ? p->log_room * 2 : 64;
    mien__patch_log *grown = mien__realloc(p->env, p->log, (size_t)room * sizeof *grown);
    if (!grown) return mien__no_memory(s->error, (size_t)room * sizeof *grown);
    p->log = grown;
    p->log_room = room;
  }
  entry.root = mien__pool_string(&p->pool, entry.root, strlen(entry.root));
  if (entry.refused) entry.refused = mien__pool_string(&p->pool, entry.refused, strlen(entry.refused));
  if (!entry.root) return mien__no_memory(s->error, 0);
  p->log[p->log_count++] = entry;
  return MIEN_OK;
}

static mien_status passes_log_refused(passes_stage *s, mien__pass_run *run, mien__patch_log entry) {
  mien__passes *p = s->passes;
  if (p->refused >= PASSES_REFUSED) return MIEN_OK;
  for (int32_t i = 0; i < p->log_count; i++)
    if (p->log[i].refused && p->log[i].pass == entry.pass && !strcmp(p->log[i].root, entry.root)) return MIEN_OK;
  run->refused++;
  p->refused++;
  return passes_log(s, entry);
}

/* Leaves each node once in what was appended from `first` on. */
static void passes_unique(passes_stage *s, int32_t first) {
  mien__graph *g = s->g;
  int32_t kept = first;
  g->walk += 2;
  for (int32_t i = first; i < s->nodes.count; i++) {
    mien__gnode *n = g->nodes[s->nodes.at[i]];
    if (n->mark == g->walk || n->state != MIEN__NODE_LIVE) continue;
    n->mark = g->walk;
    s->nodes.at[kept++] = s->nodes.at[i];
  }
  s->nodes.count = kept;
}

static mien_status passes_diverges(passes_stage *s, const mien__pass_run *run) {
  return mien__fail(s->error, run->plugin ? MIEN_PLUGIN : MIEN_INTERNAL,
                    "rewrite '%s' does not come to an end: %d patches, last at node '%.80s'", run->rewrite->name,
                    run->patches, s->passes->log[s->passes->log_count - 1].root);
}

/* Checks and applies what a rewrite built. */
static mien_status passes_apply(passes_stage *s, mien__pass_run *run, mien_rewriter *r, bool *applied) {
  const mien__gnode *n = s->g->nodes[r->root];
  mien__patch_log entry = {.pass = run->rewrite->name, .op = n->n.record->op->name};
  entry.root = passes_root_name(s->g, r->root);
  MIEN_TRY(mien__patch_check(r, &entry.refused));
  if (entry.refused) return passes_log_refused(s, run, entry);
  entry.number = s->passes->patches + 1;
  MIEN_TRY(passes_log(s, entry));
  int32_t first = s->nodes.count;
  MIEN_TRY(mien__patch_apply(r, &s->nodes));
  passes_unique(s, first);
  *applied = true;
  run->patches++;
  s->passes->patches++;
  s->stopped = s->stop_after > 0 && s->passes->patches >= s->stop_after;
  return run->patches > s->bound ? passes_diverges(s, run) : MIEN_OK;
}

/* Tries one rewrite's patterns at one node. */
static mien_status passes_try(passes_stage *s, mien__pass_run *run, mien_node_id node, bool *applied) {
  mien__binding bindings[MIEN__PATTERN_NAMES];
  *applied = false;
  for (int32_t i = 0; i < run->pattern_count && !*applied; i++) {
    bool matched;
    mien_rewriter r;
    MIEN_TRY(mien__match(&run->patterns[i], s->g, node, bindings, &matched, s->error));
    if (!matched) continue;
    mien__rewriter_init(&r, s->g, &s->cache, run->rewrite->name, node, s->error);
    r.pattern = &run->patterns[i];
    r.pattern_index = i;
    r.bindings = bindings;
    mien_status status = run->rewrite->apply(&r);
    bool accepted = r.patch.pair_count > 0;
    if (status == MIEN_OK && accepted && run->precision != MIEN_PRECISION_FP32 && s->passes->accepts)
      status = s->passes->accepts(s->passes->accepts_context, s->g, node, run->precision, &accepted, s->error);
    if (status == MIEN_OK && accepted) status = passes_apply(s, run, &r, applied);
    if (!*applied) mien__patch_drop(&r);
    if (status != MIEN_OK) return mien__rewriter_blame(&r, status);
  }
  return MIEN_OK;
}

static mien_status passes_rewrite(passes_stage *s, int32_t index) {
  mien__pass_run *run = &s->passes->runs[s->first + index];
  int32_t *cursor = &s->cursor.at[index];
  if (run->skipped || run->off) {
    *cursor = s->nodes.count;
    return MIEN_OK;
  }
  while (*cursor < s->nodes.count && !s->stopped) {
    mien_node_id node = s->nodes.at[(*cursor)++];
    bool applied;
    if (s->g->nodes[node]->state == MIEN__NODE_LIVE) MIEN_TRY(passes_try(s, run, node, &applied));
  }
  return MIEN_OK;
}

/* All rewrites over all nodes and over what changes meanwhile. */
static mien_status passes_sweep(passes_stage *s) {
  mien_node_id *order;
  MIEN_TRY(mien__graph_order(s->g, &order, s->error));
  mien_status status = MIEN_OK;
  s->nodes.count = 0;
  for (int32_t i = 0; i < s->g->live_count && status == MIEN_OK; i++)
    status = mien__ids_push(&s->nodes, order[i], s->error);
  mien__free(s->g->env, order);
  for (int32_t i = 0; i < s->end - s->first; i++) s->cursor.at[i] = 0;
  for (int32_t i = 0; i < s->end - s->first && status == MIEN_OK && !s->stopped;) {
    if (s->cursor.at[i] == s->nodes.count) {
      i++;
      continue;
    }
    int32_t before = s->passes->patches;
    status = passes_rewrite(s, i);
    i = s->passes->patches > before ? 0 : i + 1; /* earlier ones first look at what changed */
  }
  return status;
}

static mien_status passes_run_stage(passes_stage *s) {
  for (int32_t i = s->first; i < s->end; i++) MIEN_TRY(mien__ids_push(&s->cursor, 0, s->error));
  MIEN_TRY(mien__graph_rank(s->g, s->error));
  s->bound = s->g->live_count < 100000000 ? 4 * s->g->live_count + 10000 : INT32_MAX;
  int32_t before;
  do {
    before = s->passes->patches;
    MIEN_TRY(passes_sweep(s));
  } while (s->passes->patches > before && !s->stopped);
  MIEN_TRY(mien__graph_remove_dead(s->g, s->error));
  return mien__graph_check(s->g, s->error);
}

mien_status mien__passes_run(mien__passes *passes, mien__graph *g, int stop_after, mien_error *error) {
  mien_status status = MIEN_OK;
  bool stopped = false;
  passes->log_count = passes->patches = passes->refused = 0;
  for (int32_t i = 0; i < passes->run_count; i++) passes->runs[i].patches = passes->runs[i].refused = 0;
  for (int32_t first = 0, end; first < passes->run_count && status == MIEN_OK && !stopped; first = end) {
    end = first;
    while (end < passes->run_count && passes->runs[end].rewrite->stage == passes->runs[first].rewrite->stage) end++;
    passes_stage s = {.passes = passes, .g = g, .error = error, .first = first, .end = end, .stop_after = stop_after};
    s.nodes.env = s.cursor.env = g->env;
    mien__rewrite_cache_init(&s.cache, g->env);
    status = passes_run_stage(&s);
    stopped = s.stopped;
    mien__rewrite_cache_clear(&s.cache);
    mien__ids_clear(&s.nodes);
    mien__ids_clear(&s.cursor);
  }
  return status;
}
