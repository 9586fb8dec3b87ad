/* layout_share.c -- which values of a layout share bytes: views and blocks of another value, values joined in another one, results
** computed in place. Every value has a root, which owns the bytes, and begins so many bytes into it. */
#include "session.h"

#include <string.h>

static uint32_t index_of(const mien__layout *l, const mien__value *v) { return (uint32_t)(v - l->values); }
static size_t bytes_of(const mien__layout *l, uint32_t v) { return l->values[v].tensor.bytes; }

/* v's root, and where in it v begins. Shortens the way for later questions. */
static uint32_t find_root(mien__layout *l, uint32_t v, size_t *at) {
  uint32_t root = v;
  size_t rest = 0;
  for (; l->root[root] != root; root = l->root[root]) rest += l->at[root];
  *at = rest;
  while (v != root) {
    const uint32_t next = l->root[v];
    const size_t step = l->at[v];
    l->root[v] = root;
    l->at[v] = rest;
    rest -= step;
    v = next;
  }
  return root;
}

/* What block facts say of output `out`, or with `joins` of input `in`; NULL: nothing. */
static const mien__part *block_of(const mien_node *n, bool joins, int which) {
  const mien__part *b = n->blocks;
  while (b && (b->joins != joins || (joins ? b->in : b->out) != which)) b = b->next;
  return b;
}

/* ---------------------------------------------------------------- views and blocks */

static void attach(mien__layout *l, uint32_t v, const mien__value *from, size_t first) {
  size_t at;
  l->root[v] = find_root(l, index_of(l, from), &at);
  l->at[v] = at + first;
}

/* Whether outputs of n are all bytes of its inputs, and then points them there. */
static bool share_inputs(mien__layout *l, const mien_node *n, uint32_t sharing) {
  if ((n->record->op->flags & MIEN_OP_VIEW) && n->out_count && n->out[0]) {
    attach(l, index_of(l, n->out[0]), n->in[0], 0);
    return true;
  }
  if (!n->blocks || !(sharing & MIEN__SHARE_BLOCKS)) return false;
  for (int k = 0; k < n->out_count; k++)
    if (n->out[k] && !n->out[k]->constant && !block_of(n, false, k)) return false;
  for (int k = 0; k < n->out_count; k++) {
    if (!n->out[k] || n->out[k]->constant) continue;
    const mien__part *b = block_of(n, false, k);
    attach(l, index_of(l, n->out[k]), n->in[b->in], (size_t)b->first * mien_dtype_bytes(n->out[k]->tensor.type.dtype));
  }
  l->shared = true;
  return true;
}

/* Values that are only computed to be joined in n's output are computed there: each that owns its bytes, all of them, and is
** joined nowhere else. Whether nothing is left for n to do. */
static bool share_output(mien__layout *l, const mien_node *n) {
  const uint32_t out = index_of(l, n->out[0]);
  bool all = true;
  for (int k = 0; k < n->in_count; k++) {
    const mien__part *b = block_of(n, true, k);
    if (!b || b->out != 0) return false;
    if (!n->in[k] || n->in[k]->tensor.bytes == 0) continue;
    size_t at;
    const uint32_t v = index_of(l, n->in[k]), root = find_root(l, v, &at);
    const bool whole =
        l->home[root] == MIEN__HOME_ARENA && root != out && at == 0 && bytes_of(l, root) == bytes_of(l, v);
    all = all && whole;
    if (!whole) continue;
    l->root[root] = out;
    l->at[root] = (size_t)b->first * mien_dtype_bytes(n->out[0]->tensor.type.dtype);
    if (l->first[root] < l->first[out]) l->first[out] = l->first[root];
    if (l->last[root] > l->last[out]) l->last[out] = l->last[root];
    l->shared = true;
  }
  return all;
}

static void place_values(const mien__program *p, mien__layout *l, uint32_t sharing) {
  l->shared = false;
  for (uint32_t v = 0; v < l->value_count; v++) {
    l->root[v] = v;
    l->at[v] = 0;
    l->first[v] = l->last[v] = 0;
    l->home[v] = l->values[v].constant ? MIEN__HOME_CONSTANT : MIEN__HOME_NONE;
  }
  for (uint32_t i = 0; i < p->input_count; i++) {
    l->home[p->inputs[i].value - 1] = MIEN__HOME_INPUT;
    l->input[p->inputs[i].value - 1] = i;
  }
  for (uint32_t i = 0; i < p->instruction_count; i++) {
    const mien_node *n = &l->nodes[i];
    size_t at;
    l->skip[i] = l->settled[i];
    if (l->settled[i]) continue;
    for (int k = 0; k < n->in_count; k++)
      if (n->in[k]) l->last[find_root(l, index_of(l, n->in[k]), &at)] = i;
    l->skip[i] = share_inputs(l, n, sharing);
    if (l->skip[i]) continue;
    for (int k = 0; k < n->out_count; k++) {
      if (!n->out[k] || n->out[k]->constant) continue;
      l->home[index_of(l, n->out[k])] = MIEN__HOME_ARENA;
      l->first[index_of(l, n->out[k])] = l->last[index_of(l, n->out[k])] = i;
    }
    if (n->blocks && (sharing & MIEN__SHARE_JOINS) && n->out_count == 1 && n->out[0]) l->skip[i] = share_output(l, n);
  }
}

/* Outputs of the plan and kept values live to the end. */
static void hold(const mien_session *s, mien__layout *l) {
  const mien__program *p = &s->plan->program;
  size_t at;
  for (uint32_t i = 0; i < p->output_count; i++)
    l->last[find_root(l, p->outputs[i].value - 1, &at)] = p->instruction_count;
  for (size_t i = 0; i < s->kept_count; i++) l->last[find_root(l, s->kept[i].value - 1, &at)] = p->instruction_count;
}

/* ---------------------------------------------------------------- in place */

/* The root of an input whose memory, all of it, output 0 may take: its last reader is this node, and whatever else the node reads
** from there, it reads at the same place. */
static uint32_t in_place_root(mien__layout *l, const mien_node *n, uint32_t i) {
  const mien_type *type = &n->out[0]->tensor.type;
  for (int k = 0; k < n->in_count; k++) {
    if (!n->in[k] || n->in[k]->constant) continue;
    size_t at;
    const uint32_t root = find_root(l, index_of(l, n->in[k]), &at);
    bool fits = l->home[root] == MIEN__HOME_ARENA && l->last[root] == i && bytes_of(l, root) == n->out[0]->tensor.bytes;
    for (int o = 0; fits && o < n->in_count; o++)
      if (n->in[o] && !n->in[o]->constant && find_root(l, index_of(l, n->in[o]), &at) == root)
        fits = at == 0 && mien__type_equal(&n->in[o]->tensor.type, type);
    if (fits) return root;
  }
  return UINT32_MAX;
}

static void share_in_place(const mien__program *p, mien__layout *l) {
  size_t at;
  for (uint32_t i = 0; i < p->instruction_count; i++) {
    const mien_node *n = &l->nodes[i];
    if (l->skip[i] || !(n->record->op->flags & MIEN_OP_IN_PLACE) || !n->out_count || !n->out[0] || n->out[0]->constant)
      continue;
    const uint32_t out = index_of(l, n->out[0]);
    if (l->root[out] != out) continue; /* joined in another value */
    const uint32_t root = in_place_root(l, n, i);
    if (root == UINT32_MAX || root == out) continue;
    l->root[out] = root;
    l->last[root] = l->last[out] > l->last[root] ? l->last[out] : l->last[root];
  }
  for (uint32_t v = 0; v < l->value_count; v++) find_root(l, v, &at);
}

void mien__layout_share(const mien_session *s, mien__layout *l, uint32_t sharing) {
  place_values(&s->plan->program, l, sharing);
  hold(s, l);
  share_in_place(&s->plan->program, l);
}
