/* plan_names.c -- section names: where each ONNX name is now, and how each constant came from initializers. */
#include "converter/import.h"
#include "converter/plan_write.h"

#include <string.h>

/* Longer derivations are left out: swapping weights by name then needs the ONNX file again. */
#define MAX_STEPS 4096
/* A nameless constant that only a derivation needs. */
#define MAX_LEAF_BYTES ((size_t)64 << 10)

/* How many rows the names get. Notes in b->name_rows, when that is there, the row of each initializer's own name. */
static size_t name_count(mien__plan_builder *b) {
  const mien__graph *g = b->g;
  size_t count = 0;
  for (mien_value v = 0; v < g->value_count; v++) {
    const char *initializer = mien__value_at(g, v)->initializer;
    for (const mien__name *name = mien__value_at(g, v)->names; name; name = name->next) {
      count++;
      if (b->name_rows && initializer && strcmp(name->text, initializer) == 0) b->name_rows[v] = (uint32_t)count;
    }
  }
  return count;
}

mien_status mien__plan_build_names(mien__plan_builder *b) {
  const mien__graph *g = b->g;
  size_t count = name_count(b), n = 0;
  Mien__Plan__ValueName **list = mien__plan_messages(b, count, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (mien_value v = 0; v < g->value_count; v++)
    for (const mien__name *name = mien__value_at(g, v)->names; name; name = name->next) {
      Mien__Plan__ValueName *row = list[n++];
      mien__plan__value_name__init(row);
      row->value = b->ids[v];
      row->name = (char *)(uintptr_t)name->text;
      mien_value place = mien__graph_where(g, v);
      if (place == MIEN_NO_VALUE) place = b->absorbed_by[v];
      if (row->value || place == MIEN_NO_VALUE) continue;
      row->went_into_value = b->ids[place];
      if (!b->ids[place]) row->went_into = (char *)(uintptr_t)mien__value_name(g, place);
    }
  b->names.n_values = count;
  b->names.values = list;
  return MIEN_OK;
}

/* ---- recipes */

typedef struct frame {
  mien_node_id node;
  int slot;
} frame;

/* Scratch for walks over folded nodes; stamps tell what the walk under way has seen. */
typedef struct walk {
  mien__plan_builder *b;
  uint32_t stamp;
  uint32_t *value_stamp, *node_stamp; /* by graph value, node */
  uint32_t *id;                       /* by graph value: id in the recipe */
  mien_value *leaves;
  mien_node_id *steps;
  frame *stack;
  size_t leaf_count, step_count;
  bool named;        /* a leaf is an initializer */
  mien_value target; /* the constant */
  mien__table rows;  /* name -> index into Names.values + 1 */
} walk;

static void add_leaf(walk *w, mien_value value) {
  if (w->value_stamp[value] == w->stamp) return;
  w->value_stamp[value] = w->stamp;
  w->leaves[w->leaf_count++] = value;
  w->id[value] = (uint32_t)w->leaf_count;
  if (mien__value_at(w->b->g, value)->initializer) w->named = true;
  if (w->b->absorbed_by[value] == MIEN_NO_VALUE) w->b->absorbed_by[value] = w->target;
}

/* Folded nodes that `root` comes from, producers first. false: too many. */
static bool collect(walk *w, mien_node_id root) {
  const mien__graph *g = w->b->g;
  size_t depth = 0;
  w->stack[depth++] = (frame){.node = root};
  w->node_stamp[root] = w->stamp;
  while (depth > 0) {
    frame *f = &w->stack[depth - 1];
    const mien__gnode *n = mien__node_at(g, f->node);
    if (f->slot == n->n.in_count) {
      if (w->step_count == MAX_STEPS) return false;
      w->steps[w->step_count++] = f->node;
      depth--;
      continue;
    }
    mien_value value = n->in[f->slot++];
    if (value == MIEN_NO_VALUE) continue;
    mien_node_id producer = mien__value_at(g, value)->recipe;
    if (producer == MIEN_NO_NODE) {
      add_leaf(w, value);
    } else if (w->node_stamp[producer] != w->stamp) {
      if (depth == MAX_STEPS) return false;
      w->node_stamp[producer] = w->stamp;
      w->stack[depth++] = (frame){.node = producer};
    }
  }
  return true;
}

/* *kept false: a nameless leaf is too large to be carried. */
static mien_status leaf_of(walk *w, mien_value value, Mien__Plan__RecipeLeaf *leaf, bool *kept) {
  mien__plan_builder *b = w->b;
  const mien__gvalue *v = mien__value_at(b->g, value);
  const mien_tensor *t = &v->v.tensor;
  mien__plan__recipe_leaf__init(leaf);
  leaf->constant = b->constant_ids[value];
  if (w->step_count) MIEN_TRY(mien__plan_type_of(b, &t->type, false, &leaf->type));
  if (v->initializer) {
    const mien__entry *row = mien__table_find(&w->rows, v->initializer);
    if (row)
      leaf->name = (uint32_t)row->value;
    else
      leaf->initializer = (char *)(uintptr_t)v->initializer;
    if (!leaf->name) leaf->initializer = (char *)(uintptr_t)v->initializer;
    return MIEN_OK;
  }
  size_t size = (size_t)mien_count(&t->type) * mien_dtype_size(t->type.dtype);
  if (leaf->constant || (t->data && mien__plan_blob_find(b, t->data, size, &leaf->constant))) return MIEN_OK;
  *kept = t->data && size <= MAX_LEAF_BYTES && t->type.dtype != MIEN_STRING;
  leaf->data = (ProtobufCBinaryData){.len = *kept ? size : 0, .data = t->data};
  return MIEN_OK;
}

static mien_status step_of(walk *w, mien_node_id node, uint32_t *next_id, Mien__Plan__RecipeStep *step) {
  mien__plan_builder *b = w->b;
  const mien__gnode *n = mien__node_at(b->g, node);
  mien__plan__recipe_step__init(step);
  step->domain = (char *)(uintptr_t)n->n.record->domain;
  step->op = (char *)(uintptr_t)n->n.record->op->name;
  step->version = (uint32_t)n->n.record->op->since;
  step->outputs = (uint32_t)n->n.out_count;
  step->n_inputs = (size_t)n->n.in_count;
  step->inputs = mien__plan_take(b, step->n_inputs, sizeof *step->inputs);
  if (!step->inputs) return MIEN_NO_MEMORY;
  for (int i = 0; i < n->n.in_count; i++) step->inputs[i] = n->in[i] == MIEN_NO_VALUE ? 0 : w->id[n->in[i]];
  for (int i = 0; i < n->n.out_count; i++, ++*next_id)
    if (n->out[i] != MIEN_NO_VALUE) w->id[n->out[i]] = *next_id;
  return mien__plan_attributes(b, &n->n, &step->n_attributes, &step->attributes);
}

/* *recipe NULL: the constant does not come from initializers, or cannot be told in short. */
static mien_status recipe_of(walk *w, uint32_t constant, Mien__Plan__Recipe **recipe) {
  mien__plan_builder *b = w->b;
  mien_value value = b->constants[constant].value;
  *recipe = NULL;
  if (value == MIEN_NO_VALUE) return MIEN_OK;
  w->stamp = constant + 1;
  w->target = value;
  w->leaf_count = w->step_count = 0;
  w->named = false;
  mien_node_id node = mien__value_at(b->g, value)->recipe;
  if (node == MIEN_NO_NODE)
    add_leaf(w, value);
  else if (!collect(w, node))
    return MIEN_OK;
  if (!w->named) return MIEN_OK;
  Mien__Plan__Recipe *r = mien__plan_take(b, 1, sizeof *r);
  if (!r) return MIEN_NO_MEMORY;
  mien__plan__recipe__init(r);
  r->constant = constant + 1;
  r->n_leaves = w->leaf_count;
  r->leaves = mien__plan_messages(b, r->n_leaves, sizeof **r->leaves);
  r->n_steps = w->step_count;
  r->steps = mien__plan_messages(b, r->n_steps, sizeof **r->steps);
  if (!r->leaves || !r->steps) return MIEN_NO_MEMORY;
  bool kept = true;
  for (size_t i = 0; i < w->leaf_count && kept; i++) MIEN_TRY(leaf_of(w, w->leaves[i], r->leaves[i], &kept));
  if (!kept) return MIEN_OK;
  uint32_t next_id = (uint32_t)w->leaf_count + 1;
  for (size_t i = 0; i < w->step_count; i++) MIEN_TRY(step_of(w, w->steps[i], &next_id, r->steps[i]));
  r->result = w->id[value];
  *recipe = r;
  return MIEN_OK;
}

/* In the order in which mien__plan_build_names lists them. */
static mien_status number_names(walk *w) {
  const mien__graph *g = w->b->g;
  int32_t row = 0;
  w->rows.pool = &w->b->pool;
  for (mien_value v = 0; v < g->value_count; v++)
    for (const mien__name *name = mien__value_at(g, v)->names; name; name = name->next) {
      mien__entry *entry = mien__table_add(&w->rows, name->text, NULL);
      if (!entry) return mien__no_memory(w->b->error, sizeof *entry);
      entry->value = ++row;
    }
  return MIEN_OK;
}

mien_status mien__plan_build_recipes(mien__plan_builder *b) {
  size_t values = (size_t)b->g->value_count, nodes = (size_t)b->g->node_count;
  walk w = {.b = b};
  mien__plan__names__init(&b->names);
  b->absorbed_by = mien__plan_take(b, values, sizeof *b->absorbed_by);
  b->name_rows = mien__plan_take(b, values, sizeof *b->name_rows);
  if (!b->absorbed_by || !b->name_rows) return MIEN_NO_MEMORY;
  name_count(b);
  for (size_t i = 0; i < values; i++) b->absorbed_by[i] = MIEN_NO_VALUE;
  w.value_stamp = mien__plan_take(b, values, sizeof *w.value_stamp);
  w.node_stamp = mien__plan_take(b, nodes, sizeof *w.node_stamp);
  w.id = mien__plan_take(b, values, sizeof *w.id);
  w.leaves = mien__plan_take(b, values, sizeof *w.leaves);
  w.steps = mien__plan_take(b, MAX_STEPS, sizeof *w.steps);
  w.stack = mien__plan_take(b, MAX_STEPS, sizeof *w.stack);
  if (!w.value_stamp || !w.node_stamp || !w.id || !w.leaves || !w.steps || !w.stack) return MIEN_NO_MEMORY;
  MIEN_TRY(number_names(&w));
  uint32_t count = b->constant_count; /* tensors in attributes of steps add constants without recipes */
  Mien__Plan__Recipe **list = mien__plan_take(b, count, sizeof *list);
  if (!list) return MIEN_NO_MEMORY;
  for (uint32_t i = 0; i < count; i++) {
    MIEN_TRY(recipe_of(&w, i, &list[b->names.n_recipes]));
    if (list[b->names.n_recipes]) b->names.n_recipes++;
  }
  b->names.recipes = list;
  return MIEN_OK;
}
