/* plan_program.c -- section program: values get ids in the order inputs, then as instructions need them. */
#include "converter/plan_write.h"

#include <stdio.h>
#include <string.h>

void *mien__plan_take(mien__plan_builder *b, size_t count, size_t size) {
  size_t bytes;
  void *memory = mien__mul(count ? count : 1, size, &bytes) ? mien__pool_alloc(&b->pool, bytes) : NULL;
  if (!memory) (void)mien__no_memory(b->error, bytes);
  return memory;
}

void *mien__plan_messages(mien__plan_builder *b, size_t count, size_t size) {
  void **list = mien__plan_take(b, count, sizeof *list);
  char *bodies = list ? mien__plan_take(b, count, size) : NULL;
  if (!bodies) return NULL;
  for (size_t i = 0; i < count; i++) list[i] = bodies + i * size;
  return list;
}

static char *plan_text(mien__plan_builder *b, const char *text) {
  char *copy = mien__pool_string(&b->pool, text, strlen(text));
  if (!copy) (void)mien__no_memory(b->error, strlen(text));
  return copy;
}

/* Sizes of which nothing is known have no name: two of them are not equal. */
static char *dim_name(mien__plan_builder *b, int64_t dim) {
  char text[256];
  mien__dim_text(b->g->scope.symbols, dim, text, sizeof text);
  return plan_text(b, strchr(text, '?') || strstr(text, "...") ? "" : text);
}

mien_status mien__plan_type_of(mien__plan_builder *b, const mien_type *type, bool names, Mien__Plan__Type **out) {
  Mien__Plan__Type *t = mien__plan_take(b, 1, sizeof *t);
  size_t rank = type->rank < 0 ? 0 : (size_t)type->rank;
  Mien__Plan__Dim **dims = mien__plan_messages(b, rank, sizeof **dims);
  uint32_t *nest = mien__plan_take(b, 3, sizeof *nest);
  if (!t || !dims || !nest) return MIEN_NO_MEMORY;
  mien__plan__type__init(t);
  t->dtype = (uint32_t)type->dtype;
  t->unranked = type->rank < 0;
  t->key = type->key;
  t->n_dims = rank;
  t->dims = dims;
  t->nest = nest;
  for (int i = 0; i < 3 && type->nest[i] != MIEN_TENSOR; i++) nest[t->n_nest++] = type->nest[i];
  for (size_t i = 0; i < rank; i++) {
    mien__plan__dim__init(dims[i]);
    bool open = mien_is_symbol(type->dim[i]);
    dims[i]->value = open ? -1 : type->dim[i];
    if (open && names && !(dims[i]->name = dim_name(b, type->dim[i]))) return MIEN_NO_MEMORY;
  }
  *out = t;
  return MIEN_OK;
}

/* ---- attributes */

static mien_status attribute_of(mien__plan_builder *b, const mien__attr_value *v, Mien__Plan__Attribute *a) {
  mien__plan__attribute__init(a);
  a->name = (char *)(uintptr_t)v->name;
  a->kind = (uint32_t)(unsigned char)v->kind;
  switch (v->kind) {
    case 'i': a->i = v->i; return MIEN_OK;
    case 'f': a->f = v->f; return MIEN_OK;
    case 's': a->s = (ProtobufCBinaryData){.len = v->s.length, .data = (uint8_t *)(uintptr_t)v->s.data}; return MIEN_OK;
    case 't': return mien__plan_constant_of(b, MIEN_NO_VALUE, v->tensor, &a->constant);
    case 'I':
      a->n_ints = (size_t)v->count;
      a->ints = v->ints;
      return MIEN_OK;
    case 'F':
      a->n_floats = (size_t)v->count;
      a->floats = v->floats;
      return MIEN_OK;
    case 'S':
      a->n_strings = (size_t)v->count;
      a->strings = mien__plan_take(b, a->n_strings, sizeof *a->strings);
      if (!a->strings) return MIEN_NO_MEMORY;
      for (size_t i = 0; i < a->n_strings; i++)
        a->strings[i] =
            (ProtobufCBinaryData){.len = v->strings[i].length, .data = (uint8_t *)(uintptr_t)v->strings[i].data};
      return MIEN_OK;
    default:
      return mien__fail(b->error, MIEN_INTERNAL, "attribute '%s' of kind '%c' has no form in a plan", v->name, v->kind);
  }
}

mien_status mien__plan_attributes(mien__plan_builder *b, const mien_node *n, size_t *count,
                                  Mien__Plan__Attribute ***attributes) {
  *count = (size_t)n->attr_count;
  *attributes = mien__plan_messages(b, *count, sizeof ***attributes);
  if (!*attributes) return MIEN_NO_MEMORY;
  for (int i = 0; i < n->attr_count; i++) MIEN_TRY(attribute_of(b, &n->attrs[i], (*attributes)[i]));
  return MIEN_OK;
}

/* ---- operators, values */

static mien_status operator_of(mien__plan_builder *b, const mien__gnode *n, uint32_t *index) {
  Mien__Plan__Program *p = &b->program;
  const mien__record *r = n->n.record;
  for (size_t i = 0; i < p->n_operators; i++) {
    const Mien__Plan__Operator *o = p->operators[i];
    if (o->version == (uint32_t)r->op->since && strcmp(o->name, r->op->name) == 0 &&
        strcmp(o->domain, r->domain) == 0) {
      *index = (uint32_t)i;
      return MIEN_OK;
    }
  }
  Mien__Plan__Operator *o = mien__plan_take(b, 1, sizeof *o);
  if (!o) return MIEN_NO_MEMORY;
  mien__plan__operator__init(o);
  o->domain = (char *)(uintptr_t)r->domain;
  o->name = (char *)(uintptr_t)r->op->name;
  o->version = (uint32_t)r->op->since;
  if (r->plugin) o->plugin = (char *)(uintptr_t)r->plugin;
  if (r->plugin && r->plugin_version) o->plugin_version = (char *)(uintptr_t)r->plugin_version;
  p->operators[p->n_operators] = o; /* room for one a node */
  *index = (uint32_t)p->n_operators++;
  return MIEN_OK;
}

static mien_status value_id(mien__plan_builder *b, mien_value value, uint32_t *id) {
  *id = 0;
  if (value == MIEN_NO_VALUE) return MIEN_OK;
  if (!b->ids[value]) {
    uint32_t constant;
    const mien__gvalue *v = mien__value_at(b->g, value);
    if (v->v.constant) MIEN_TRY(mien__plan_constant_of(b, value, &v->v.tensor, &constant));
    b->values[b->value_count++] = value;
    b->ids[value] = b->value_count;
  }
  *id = b->ids[value];
  return MIEN_OK;
}

/* An optional output that nobody reads is left out: its operator need not compute it. */
static bool output_needed(const mien__plan_builder *b, const mien__gnode *n, int slot) {
  if (n->out[slot] == MIEN_NO_VALUE) return false;
  const mien__signature *s = &n->n.record->signature;
  bool optional = slot < s->out_count && s->out[slot].optional;
  return !optional || n->state == MIEN__NODE_DETACHED || mien__value_needed(b->g, n->out[slot]);
}

static mien_status instruction_of(mien__plan_builder *b, const mien__gnode *n, Mien__Plan__Instruction *out) {
  mien__plan__instruction__init(out);
  MIEN_TRY(operator_of(b, n, &out->op));
  out->name = (char *)(uintptr_t)n->n.name;
  out->n_inputs = (size_t)n->n.in_count;
  out->n_outputs = (size_t)n->n.out_count;
  out->inputs = mien__plan_take(b, out->n_inputs, sizeof *out->inputs);
  out->outputs = mien__plan_take(b, out->n_outputs, sizeof *out->outputs);
  if (!out->inputs || !out->outputs) return MIEN_NO_MEMORY;
  for (int i = 0; i < n->n.in_count; i++) MIEN_TRY(value_id(b, n->in[i], &out->inputs[i]));
  for (int i = 0; i < n->n.out_count; i++)
    if (output_needed(b, n, i)) MIEN_TRY(value_id(b, n->out[i], &out->outputs[i]));
  return mien__plan_attributes(b, &n->n, &out->n_attributes, &out->attributes);
}

static mien_status build_instructions(mien__plan_builder *b) {
  mien__graph *g = b->g;
  size_t nodes = (size_t)g->live_count;
  Mien__Plan__Instruction **list = mien__plan_messages(b, nodes, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < nodes; i++) {
    MIEN_TRY(instruction_of(b, mien__node_at(g, b->order[i]), list[i]));
    size_t steps = (size_t)b->decomposed_count[i];
    if (steps == 0) continue;
    list[i]->n_decomposition = steps;
    list[i]->decomposition = mien__plan_messages(b, steps, sizeof **list);
    if (!list[i]->decomposition) return MIEN_NO_MEMORY;
    for (size_t k = 0; k < steps; k++)
      MIEN_TRY(instruction_of(b, mien__node_at(g, b->decomposed[i][k]), list[i]->decomposition[k]));
  }
  b->program.n_instructions = nodes;
  b->program.instructions = list;
  return MIEN_OK;
}

static mien_status build_ports(mien__plan_builder *b, const mien__graph_port *ports, int32_t count, bool inputs,
                               size_t *out_count, Mien__Plan__Port ***out) {
  Mien__Plan__Port **list = mien__plan_messages(b, (size_t)count, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (int32_t i = 0; i < count; i++) {
    mien__plan__port__init(list[i]);
    list[i]->name = (char *)(uintptr_t)ports[i].name;
    MIEN_TRY(value_id(b, ports[i].value, &list[i]->value));
    const mien_type *inferred = &mien__value_at(b->g, ports[i].value)->v.tensor.type;
    MIEN_TRY(mien__plan_type_of(b, inputs ? &ports[i].declared : inferred, true, &list[i]->type));
  }
  *out_count = (size_t)count;
  *out = list;
  return MIEN_OK;
}

static mien_status build_values(mien__plan_builder *b) {
  Mien__Plan__Value **list = mien__plan_messages(b, b->value_count, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (uint32_t i = 0; i < b->value_count; i++) {
    mien__plan__value__init(list[i]);
    list[i]->constant = b->constant_ids[b->values[i]];
    if (list[i]->constant) continue; /* the constant has its type */
    MIEN_TRY(mien__plan_type_of(b, &mien__value_at(b->g, b->values[i])->v.tensor.type, false, &list[i]->type));
  }
  b->program.n_values = b->value_count;
  b->program.values = list;
  return MIEN_OK;
}

mien_status mien__plan_build_program(mien__plan_builder *b) {
  Mien__Plan__Program *p = &b->program;
  mien__plan__program__init(p);
  p->operators = mien__plan_take(b, (size_t)b->g->node_count, sizeof *p->operators);
  if (!p->operators) return MIEN_NO_MEMORY;
  MIEN_TRY(build_ports(b, b->g->inputs, b->g->input_count, true, &p->n_inputs, &p->inputs));
  MIEN_TRY(build_instructions(b));
  MIEN_TRY(build_ports(b, b->g->outputs, b->g->output_count, false, &p->n_outputs, &p->outputs));
  return build_values(b);
}
