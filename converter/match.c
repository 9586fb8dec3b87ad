/* converter/match.c -- a pattern against the graph: a list of goals, with choice points where inputs may be swapped. */
#include "converter/match.h"

#include <string.h>

#define MATCH_STEPS 100000
#define MATCH_GOALS (4 * MIEN__PATTERN_ITEMS)

/* "This item matches this value", then the rest. Never changed once made, so that choice points can share them. */
typedef struct match_goal {
  int16_t item, next; /* next: index of a goal; -1: none */
  mien_value value;
} match_goal;

/* Node `node` is to be tried for `item` with inputs 0 and 1 swapped. */
typedef struct match_choice {
  int16_t item, next;
  mien_node_id node;
  int goal_count, trail_count;
} match_choice;

typedef struct match_state {
  const mien__pattern *pattern;
  const mien__graph *g;
  mien__binding *bindings;
  match_goal goals[MATCH_GOALS];
  match_choice choices[MIEN__PATTERN_ITEMS];
  int16_t trail[MIEN__PATTERN_ITEMS]; /* names in the order in which they were bound */
  int goal_count, choice_count, trail_count;
} match_state;

bool mien__pattern_accepts(const mien__pattern *pattern, const mien__item *item, const mien__record *record) {
  for (int i = 0; i < item->op_count; i++) {
    const mien__pattern_op *op = &pattern->ops[item->ops + i];
    if (!strcmp(op->name, record->op->name) && !strcmp(op->domain, record->domain)) return true;
  }
  return item->op_count == 0;
}

static bool match_bind(match_state *m, int16_t name, mien_value value) {
  if (name < 0) return true;
  mien__binding *b = &m->bindings[name];
  if (b->bound) return b->value == value;
  *b = (mien__binding){.bound = true, .value = value};
  m->trail[m->trail_count++] = name;
  return true;
}

/* Pushes goals for the arguments of a node, in order before `next`; gives their head. */
static bool match_arguments(match_state *m, const mien__item *item, const mien__gnode *n, bool swapped, int16_t *next) {
  mien_value values[MIEN__PATTERN_ITEMS];
  int16_t items[MIEN__PATTERN_ITEMS];
  int count = 0, used = 0;
  bool rest = false;
  for (int16_t a = item->first; a >= 0; a = m->pattern->items[a].next) {
    const mien__item *arg = &m->pattern->items[a];
    if (arg->kind == MIEN__ITEM_REST) {
      rest = true;
      break;
    }
    int from = swapped && used < 2 ? 1 - used : used;
    mien_value value = from < n->n.in_count ? n->in[from] : MIEN_NO_VALUE;
    if (value == MIEN_NO_VALUE && arg->kind != MIEN__ITEM_OPTIONAL) return false;
    values[count] = value;
    items[count++] = a;
    used++;
  }
  for (int i = used; i < n->n.in_count && !rest; i++)
    if (n->in[i] != MIEN_NO_VALUE) return false;
  if (m->goal_count + count > MATCH_GOALS) return false;
  for (int i = count - 1; i >= 0; i--) {
    m->goals[m->goal_count] = (match_goal){.item = items[i], .next = *next, .value = values[i]};
    *next = (int16_t)m->goal_count++;
  }
  return true;
}

/* An operator item at a node. Leaves a choice point when the other order of inputs may match as well. */
static bool match_node(match_state *m, int16_t index, mien_node_id node, bool swapped, int16_t *next) {
  const mien__item *item = &m->pattern->items[index];
  const mien__gnode *n = m->g->nodes[node];
  if (!swapped) {
    if (n->state != MIEN__NODE_LIVE || !mien__pattern_accepts(m->pattern, item, n->n.record)) return false;
    bool commutes = (n->n.record->op->flags & MIEN_OP_COMMUTATIVE) && item->arg_count > 0 && n->n.in_count > 1;
    if (commutes && n->in[0] != n->in[1])
      m->choices[m->choice_count++] = (match_choice){
          .item = index, .next = *next, .node = node, .goal_count = m->goal_count, .trail_count = m->trail_count};
  }
  mien_value out = n->n.out_count > 0 ? n->out[0] : MIEN_NO_VALUE;
  return match_bind(m, item->name, out) && match_arguments(m, item, n, swapped, next);
}

static bool match_goal_holds(match_state *m, match_goal goal, int16_t *next) {
  const mien__item *item = &m->pattern->items[goal.item];
  if (item->kind == MIEN__ITEM_OP) {
    const mien__gvalue *v = m->g->values[goal.value];
    if (v->producer == MIEN_NO_NODE || v->producer_slot != 0) return false;
    return match_node(m, goal.item, v->producer, false, next);
  }
  if (item->kind == MIEN__ITEM_CONSTANT && !m->g->values[goal.value]->v.constant) return false;
  return match_bind(m, item->name, goal.value);
}

/* Back to the last choice point, along its other way. False: none is left. */
static bool match_retry(match_state *m, int16_t *next) {
  while (m->choice_count > 0) {
    match_choice choice = m->choices[--m->choice_count];
    while (m->trail_count > choice.trail_count) m->bindings[m->trail[--m->trail_count]].bound = false;
    m->goal_count = choice.goal_count;
    *next = choice.next;
    if (match_node(m, choice.item, choice.node, true, next)) return true;
  }
  return false;
}

mien_status mien__match(const mien__pattern *pattern, const mien__graph *graph, mien_node_id root,
                        mien__binding *bindings, bool *matched, mien_error *error) {
  *matched = false;
  if (!mien__pattern_accepts(pattern, &pattern->items[0], graph->nodes[root]->n.record)) return MIEN_OK;
  match_state m;
  m.pattern = pattern;
  m.g = graph;
  m.bindings = bindings;
  m.goal_count = m.choice_count = m.trail_count = 0;
  memset(bindings, 0, MIEN__PATTERN_NAMES * sizeof *bindings);
  int16_t next = -1;
  bool going = match_node(&m, 0, root, false, &next) || match_retry(&m, &next);
  for (int steps = 0; going && next >= 0; steps++) {
    if (steps == MATCH_STEPS)
      return mien__fail(error, MIEN_PLUGIN, "pattern \"%.160s\" takes more than %d steps at node '%s'", pattern->text,
                        MATCH_STEPS, graph->nodes[root]->n.name);
    match_goal goal = m.goals[next];
    next = goal.next;
    going = match_goal_holds(&m, goal, &next) || match_retry(&m, &next);
  }
  *matched = going;
  return MIEN_OK;
}
