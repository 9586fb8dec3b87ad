/* converter/rewriter.c -- the services that rewrites reach through plugin.h: looking at match and graph, building a patch. */
#include "converter/patch.h"

#include <stdio.h>
#include <string.h>

void mien__rewriter_init(mien_rewriter *r, mien__graph *g, mien__rewrite_cache *cache, const char *pass,
                         mien_node_id root, mien_error *error) {
  r->host = &mien__rewrite_host;
  r->g = g;
  r->cache = cache;
  r->error = error;
  r->pass = pass;
  r->root = root;
  r->pattern_index = 0;
  r->pattern = NULL;
  r->bindings = NULL;
  r->patch.first_value = g->value_count;
  r->patch.first_node = g->node_count;
  r->patch.pair_count = 0;
  r->patch.record = NULL;
  cache->user_of = MIEN_NO_VALUE;
}

static mien_status rewriter_message(mien_rewriter *r, mien_status code, const char *text) {
  const mien__gnode *n = r->g->nodes[r->root];
  return mien__fail(r->error, code, "rewrite '%s' at node '%.80s' (%s): %s", r->pass, n->n.name, n->n.record->op->name,
                    text);
}

mien_status mien__rewriter_fail(mien_rewriter *r, mien_status code, const char *format, ...) {
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return rewriter_message(r, code, text);
}

mien_status mien__rewriter_blame(mien_rewriter *r, mien_status code) {
  char text[400] = "";
  if (r->error) snprintf(text, sizeof text, "%.399s", r->error->message);
  if (!strncmp(text, "rewrite '", 9)) return code;
  return rewriter_message(r, code, text);
}

/* ---- ids from outside are checked: a plugin may be wrong */

static mien__gvalue *rewriter_value(const mien_rewriter *r, mien_value v) {
  return v >= 0 && v < r->g->value_count ? r->g->values[v] : NULL;
}
static mien__gnode *rewriter_node(const mien_rewriter *r, mien_node_id n) {
  return n >= 0 && n < r->g->node_count ? r->g->nodes[n] : NULL;
}
static const mien_host *rewriter_host(const mien_rewriter *r) { return &r->g->env->host; }

/* ---- the match */

static mien_node_id rewriter_root(const mien_rewriter *r) { return r->root; }
static int rewriter_pattern(const mien_rewriter *r) { return r->pattern_index; }

static mien_value rewriter_bound(const mien_rewriter *r, const char *name) {
  if (!r->pattern) {
    const mien__gnode *n = r->g->nodes[r->root];
    int index = 0;
    if (!name[0]) return MIEN_NO_VALUE;
    for (const char *c = name; *c; c++) {
      if (*c < '0' || *c > '9' || index > 1000000) return MIEN_NO_VALUE;
      index = index * 10 + (*c - '0');
    }
    return index < n->n.in_count ? n->in[index] : MIEN_NO_VALUE;
  }
  for (int i = 0; i < r->pattern->name_count; i++)
    if (!strcmp(r->pattern->names[i], name)) return r->bindings[i].bound ? r->bindings[i].value : MIEN_NO_VALUE;
  return MIEN_NO_VALUE;
}

/* ---- the graph */

static mien_node_id rewriter_producer(const mien_rewriter *r, mien_value v) {
  const mien__gvalue *value = rewriter_value(r, v);
  return value ? value->producer : MIEN_NO_NODE;
}

static int rewriter_uses(const mien_rewriter *r, mien_value v) {
  const mien__gvalue *value = rewriter_value(r, v);
  return value ? value->use_count + value->output_count : 0;
}

static mien_node_id rewriter_user(const mien_rewriter *r, mien_value v, int i) {
  const mien__gvalue *value = rewriter_value(r, v);
  mien__rewrite_cache *c = r->cache;
  if (!value || i < 0 || i >= value->use_count) return MIEN_NO_NODE;
  if (c->user_of != v || i < c->user_index) {
    c->user_of = v;
    c->user_index = 0;
    c->user = value->first_use;
  }
  for (; c->user_index < i; c->user_index++) c->user = c->user->next;
  return c->user->node;
}

static bool rewriter_is_output(const mien_rewriter *r, mien_value v) {
  const mien__gvalue *value = rewriter_value(r, v);
  return value && value->output_count > 0;
}

/* Where values were merged, one has several names: that of an output of the graph is the one people know. */
static const char *rewriter_name(const mien_rewriter *r, mien_value v) {
  const mien__gvalue *value = rewriter_value(r, v);
  if (!value) return "";
  for (int32_t i = 0; value->output_count > 0 && i < r->g->output_count; i++)
    if (r->g->outputs[i].value == v) return r->g->outputs[i].name;
  return mien__value_name(r->g, v);
}

static const mien_type *rewriter_type(const mien_rewriter *r, mien_value v) {
  static const mien_type nothing = {.rank = -1};
  const mien__gvalue *value = rewriter_value(r, v);
  return value ? &value->v.tensor.type : &nothing;
}

static const mien_tensor *rewriter_constant(const mien_rewriter *r, mien_value v) {
  const mien__gvalue *value = rewriter_value(r, v);
  return value && value->v.constant && value->v.tensor.data ? &value->v.tensor : NULL;
}

static const int64_t *rewriter_ints(mien_rewriter *r, mien_value v, int64_t *count) {
  *count = 0;
  return rewriter_value(r, v) ? mien__graph_ints(r->g, v, count) : NULL;
}

static const char *rewriter_op_name(const mien_rewriter *r, mien_node_id n) {
  const mien__gnode *node = rewriter_node(r, n);
  mien__rewrite_cache *c = r->cache;
  if (!node) return "";
  const mien__record *record = node->n.record;
  if (!record->domain[0]) return record->op->name;
  for (int i = 0; i < c->op_count; i++)
    if (c->ops[i].record == record) return c->ops[i].text;
  const char *text = mien__pool_format(&r->g->pool, "%s.%s", record->domain, record->op->name);
  if (text && c->op_count < (int)(sizeof c->ops / sizeof *c->ops)) {
    c->ops[c->op_count].record = record;
    c->ops[c->op_count++].text = text;
  }
  return text ? text : "";
}

static int rewriter_in_count(const mien_rewriter *r, mien_node_id n) {
  return rewriter_node(r, n) ? rewriter_node(r, n)->n.in_count : 0;
}
static int rewriter_out_count(const mien_rewriter *r, mien_node_id n) {
  return rewriter_node(r, n) ? rewriter_node(r, n)->n.out_count : 0;
}

static mien_value rewriter_in(const mien_rewriter *r, mien_node_id n, int i) {
  const mien__gnode *node = rewriter_node(r, n);
  return node && i >= 0 && i < node->n.in_count ? node->in[i] : MIEN_NO_VALUE;
}
static mien_value rewriter_out(const mien_rewriter *r, mien_node_id n, int i) {
  const mien__gnode *node = rewriter_node(r, n);
  return node && i >= 0 && i < node->n.out_count ? node->out[i] : MIEN_NO_VALUE;
}

static bool rewriter_has_attr(const mien_rewriter *r, mien_node_id n, const char *name) {
  return rewriter_node(r, n) && rewriter_host(r)->has_attr(&rewriter_node(r, n)->n, name);
}
static int64_t rewriter_attr_i(const mien_rewriter *r, mien_node_id n, const char *name) {
  return rewriter_node(r, n) ? rewriter_host(r)->attr_i(&rewriter_node(r, n)->n, name) : 0;
}
static double rewriter_attr_f(const mien_rewriter *r, mien_node_id n, const char *name) {
  return rewriter_node(r, n) ? rewriter_host(r)->attr_f(&rewriter_node(r, n)->n, name) : 0;
}
static const char *rewriter_attr_s(const mien_rewriter *r, mien_node_id n, const char *name) {
  return rewriter_node(r, n) ? rewriter_host(r)->attr_s(&rewriter_node(r, n)->n, name) : "";
}
static const int64_t *rewriter_attr_ints(const mien_rewriter *r, mien_node_id n, const char *name, int64_t *count) {
  *count = 0;
  return rewriter_node(r, n) ? rewriter_host(r)->attr_ints(&rewriter_node(r, n)->n, name, count) : NULL;
}

static int64_t rewriter_dim(mien_rewriter *r, char op, int64_t a, int64_t b) {
  return mien__dim(r->g->scope.symbols, op, a, b);
}
static int rewriter_since(const mien_rewriter *r, mien_node_id n) {
  return rewriter_node(r, n) ? rewriter_node(r, n)->n.record->op->since : 0;
}

static bool rewriter_same_tensor(const mien_tensor *a, const mien_tensor *b) {
  if (!a || !b) return a == b;
  if (!mien__type_equal(&a->type, &b->type) || a->type.dtype == MIEN_STRING) return false;
  int64_t count = mien_count(&a->type);
  size_t size = mien_dtype_bytes(a->type.dtype);
  return count >= 0 && (count == 0 || !memcmp(a->data, b->data, (size_t)count * size));
}

static const mien__attr_value *rewriter_given(const mien__gnode *n, const char *name) {
  for (int i = 0; i < n->n.attr_count; i++)
    if (!strcmp(n->n.attrs[i].name, name)) return &n->n.attrs[i];
  return NULL;
}

static bool rewriter_same_attr(const mien__attr_value *a, const mien__attr_value *b) {
  if (!a || !b) return a == b;
  switch (a->kind) {
    case 'i': return a->i == b->i;
    case 'f': return !memcmp(&a->f, &b->f, sizeof a->f);
    case 's': return a->s.length == b->s.length && !memcmp(a->s.data, b->s.data, a->s.length);
    case 't': return rewriter_same_tensor(a->tensor, b->tensor);
    case 'I':
      return a->count == b->count && (!a->count || !memcmp(a->ints, b->ints, (size_t)a->count * sizeof *a->ints));
    case 'F':
      return a->count == b->count && (!a->count || !memcmp(a->floats, b->floats, (size_t)a->count * sizeof *a->floats));
    case 'S':
      if (a->count != b->count) return false;
      for (int64_t i = 0; i < a->count; i++)
        if (a->strings[i].length != b->strings[i].length ||
            memcmp(a->strings[i].data, b->strings[i].data, a->strings[i].length))
          return false;
      return true;
    default: return false;
  }
}

static bool rewriter_same(const mien_rewriter *r, mien_node_id a, mien_node_id b) {
  const mien__gnode *x = rewriter_node(r, a), *y = rewriter_node(r, b);
  if (!x || !y || x->n.record != y->n.record || (x->n.record->op->flags & MIEN_OP_RANDOM)) return false;
  if (a == b) return true;
  for (const mien_attr *attr = x->n.record->op->attrs; attr && attr->name; attr++)
    if (!rewriter_same_attr(rewriter_given(x, attr->name), rewriter_given(y, attr->name))) return false;
  return true;
}

/* ---- the patch */

static const mien__record *rewriter_find(const mien__graph *g, const char *domain, const char *name, int64_t *opset) {
  const mien__record *record;
  if (*opset > 0) return mien__registry_find(g->env, domain, name, *opset, NULL);
  if (!domain[0]) {
    *opset = mien__graph_opset(g, "");
    record = *opset > 0 ? mien__registry_find(g->env, domain, name, *opset, NULL) : NULL;
    if (record) return record;
  }
  record = mien__registry_find(g->env, domain, name, INT32_MAX, NULL);
  if (record) *opset = record->op->since;
  return record;
}

static mien_status rewriter_begin_at(mien_rewriter *r, const char *op, int opset, const mien_value *inputs, int count) {
  mien__patch *p = &r->patch;
  char domain[128] = "";
  const char *dot = strrchr(op, '.'), *name = dot ? dot + 1 : op;
  if (p->record)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "begin of %s before the end of %s", op, p->record->op->name);
  if (dot) snprintf(domain, sizeof domain, "%.*s", (int)(dot - op), op);
  if (!strcmp(domain, "ai.onnx")) domain[0] = '\0';
  for (int i = 0; i < count; i++)
    if (inputs[i] != MIEN_NO_VALUE && (!rewriter_value(r, inputs[i]) || rewriter_value(r, inputs[i])->gone))
      return mien__rewriter_fail(r, MIEN_PLUGIN, "input %d of a new %s is no value", i, op);
  p->opset = opset;
  const mien__record *record = rewriter_find(r->g, domain, name, &p->opset);
  if (!record)
    return mien__rewriter_fail(r, MIEN_UNSUPPORTED, "there is no operator %s at opset %lld", op, (long long)p->opset);
  p->in = mien__pool_copy(&r->g->pool, inputs, (size_t)count * sizeof *inputs);
  if (!p->in && count) return mien__rewriter_fail(r, MIEN_NO_MEMORY, "no memory for a node");
  p->in_count = count;
  p->attr_count = 0;
  p->record = record;
  return MIEN_OK;
}

static mien_status rewriter_begin(mien_rewriter *r, const char *op, const mien_value *inputs, int count) {
  return rewriter_begin_at(r, op, 0, inputs, count);
}

/* The place for an attribute of the node under construction: a new one or that of an earlier set. */
static mien_status rewriter_attr(mien_rewriter *r, const char *name, char kind, mien__attr_value **value) {
  mien__patch *p = &r->patch;
  if (!p->record) return mien__rewriter_fail(r, MIEN_PLUGIN, "attribute '%s' is set outside begin and end", name);
  const mien_attr *attr = p->record->op->attrs;
  while (attr && attr->name && strcmp(attr->name, name)) attr++;
  if (!attr || !attr->name || attr->kind != kind)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "%s has no attribute '%s' of kind '%c'", p->record->op->name, name,
                               kind);
  for (int i = 0; i < p->attr_count; i++) {
    *value = &p->attrs[i];
    if (!strcmp(p->attrs[i].name, name)) return MIEN_OK;
  }
  if (p->attr_count == MIEN__PATCH_ATTRS)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "%s gets more than %d attributes", p->record->op->name,
                               MIEN__PATCH_ATTRS);
  *value = &p->attrs[p->attr_count++];
  **value = (mien__attr_value){.name = attr->name, .kind = kind};
  return MIEN_OK;
}

static mien_status rewriter_set_i(mien_rewriter *r, const char *name, int64_t i) {
  mien__attr_value *value;
  MIEN_TRY(rewriter_attr(r, name, 'i', &value));
  value->i = i;
  return MIEN_OK;
}

static mien_status rewriter_set_f(mien_rewriter *r, const char *name, double f) {
  mien__attr_value *value;
  MIEN_TRY(rewriter_attr(r, name, 'f', &value));
  value->f = (float)f;
  return MIEN_OK;
}

static mien_status rewriter_set_s(mien_rewriter *r, const char *name, const char *s) {
  mien__attr_value *value;
  MIEN_TRY(rewriter_attr(r, name, 's', &value));
  value->s.length = strlen(s);
  value->s.data = mien__pool_string(&r->g->pool, s, value->s.length);
  return value->s.data ? MIEN_OK : mien__rewriter_fail(r, MIEN_NO_MEMORY, "no memory for attribute '%s'", name);
}

static mien_status rewriter_set_ints(mien_rewriter *r, const char *name, const int64_t *values, int64_t count) {
  mien__attr_value *value;
  MIEN_TRY(rewriter_attr(r, name, 'I', &value));
  value->count = count;
  value->ints = mien__pool_copy(&r->g->pool, values, (size_t)count * sizeof *values);
  if (count && !value->ints) return mien__rewriter_fail(r, MIEN_NO_MEMORY, "no memory for attribute '%s'", name);
  return MIEN_OK;
}

static mien_status rewriter_copy_attrs(mien_rewriter *r, mien_node_id from) {
  const mien__gnode *n = rewriter_node(r, from);
  if (!n || !r->patch.record) return mien__rewriter_fail(r, MIEN_PLUGIN, "copy_attrs outside begin and end");
  for (int i = 0; i < n->n.attr_count; i++) {
    const mien__attr_value *have = &n->n.attrs[i];
    const mien_attr *attr = r->patch.record->op->attrs;
    mien__attr_value *value;
    while (attr && attr->name && (strcmp(attr->name, have->name) || attr->kind != have->kind)) attr++;
    if (!attr || !attr->name) continue;
    MIEN_TRY(rewriter_attr(r, have->name, have->kind, &value));
    *value = *have;
    value->name = attr->name;
  }
  return MIEN_OK;
}

static mien_status rewriter_add(mien_rewriter *r, mien_value *outputs, int count) {
  mien__graph *g = r->g;
  mien__patch *p = &r->patch;
  mien__attr_value *attrs = mien__pool_copy(&g->pool, p->attrs, (size_t)p->attr_count * sizeof *attrs);
  mien_value *out = mien__pool_alloc(&g->pool, ((size_t)count + 1) * sizeof *out);
  mien_node_id node;
  if ((!attrs && p->attr_count) || !out) return mien__no_memory(r->error, sizeof *attrs);
  for (int i = 0; i < count; i++) MIEN_TRY(mien__graph_add_value(g, NULL, &out[i], r->error));
  MIEN_TRY(mien__graph_add_detached(g, p->record, p->opset, g->nodes[r->root]->n.name, attrs, p->attr_count, p->in,
                                    p->in_count, out, count, &node, r->error));
  MIEN_TRY(mien__graph_infer_node(g, node, r->error));
  for (int i = 0; i < count; i++) outputs[i] = out[i];
  return MIEN_OK;
}

static mien_status rewriter_end(mien_rewriter *r, mien_value *outputs, int count) {
  if (!r->patch.record) return mien__rewriter_fail(r, MIEN_PLUGIN, "end without begin");
  mien_status status = rewriter_add(r, outputs, count);
  r->patch.record = NULL;
  return status == MIEN_OK ? MIEN_OK : mien__rewriter_blame(r, status);
}

static mien_status rewriter_add_constant(mien_rewriter *r, const void *data, const mien_type *type, mien_value *out) {
  mien_tensor tensor;
  int64_t count;
  size_t bytes;
  mien_status status = mien__type_size(r->g->env, type, &count, &bytes, r->error);
  if (status == MIEN_OK) status = mien__tensor_alloc(r->g->env, type, &tensor, r->error);
  if (status != MIEN_OK) return mien__rewriter_blame(r, status);
  if (bytes) memcpy(tensor.data, data, bytes);
  status = mien__graph_add_constant(r->g, NULL, &tensor, true, false, out, r->error);
  if (status == MIEN_OK) return MIEN_OK;
  mien__free(r->g->env, tensor.data);
  return mien__rewriter_blame(r, status);
}

static mien_status rewriter_constant_ints(mien_rewriter *r, const int64_t *values, int64_t count, int rank,
                                          mien_value *out) {
  if (rank < 0 || rank > 1 || count < 0 || (rank == 0 && count != 1))
    return mien__rewriter_fail(r, MIEN_PLUGIN, "a constant of %lld integers and rank %d", (long long)count, rank);
  mien_type type = {.dtype = MIEN_I64, .rank = rank, .dim = {count}};
  for (int64_t i = 0; i < count; i++)
    if (mien_is_symbol(values[i])) return mien__rewriter_fail(r, MIEN_PLUGIN, "a constant that holds a symbol");
  if (rank == 0) type.dim[0] = 0;
  return rewriter_add_constant(r, values, &type, out);
}

static mien_status rewriter_constant_floats(mien_rewriter *r, const float *values, const mien_type *type,
                                            mien_value *out) {
  if (type->dtype != MIEN_F32 || type->nest[0] || mien_count(type) < 0)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "a constant of floats must be f32 with known sizes");
  return rewriter_add_constant(r, values, type, out);
}

static mien_status rewriter_replace(mien_rewriter *r, mien_value from, mien_value to) {
  mien__patch *p = &r->patch;
  if (p->pair_count == MIEN__PATCH_PAIRS)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "replaces more than %d values", MIEN__PATCH_PAIRS);
  if (!rewriter_value(r, from) || !rewriter_value(r, to) || from >= p->first_value)
    return mien__rewriter_fail(r, MIEN_PLUGIN, "replaces what is no value of the graph, or by what is none");
  p->pairs[p->pair_count].from = from;
  p->pairs[p->pair_count++].to = to;
  return MIEN_OK;
}

const mien_rewrite_host mien__rewrite_host = {
    .abi = MIEN_ABI,
    .size = sizeof(mien_rewrite_host),
    .fail = mien__rewriter_fail,
    .root = rewriter_root,
    .pattern = rewriter_pattern,
    .bound = rewriter_bound,
    .producer = rewriter_producer,
    .uses = rewriter_uses,
    .user = rewriter_user,
    .is_output = rewriter_is_output,
    .name = rewriter_name,
    .type = rewriter_type,
    .constant = rewriter_constant,
    .ints = rewriter_ints,
    .op_name = rewriter_op_name,
    .in_count = rewriter_in_count,
    .out_count = rewriter_out_count,
    .in = rewriter_in,
    .out = rewriter_out,
    .has_attr = rewriter_has_attr,
    .attr_i = rewriter_attr_i,
    .attr_f = rewriter_attr_f,
    .attr_s = rewriter_attr_s,
    .attr_ints = rewriter_attr_ints,
    .begin = rewriter_begin,
    .set_i = rewriter_set_i,
    .set_f = rewriter_set_f,
    .set_s = rewriter_set_s,
    .set_ints = rewriter_set_ints,
    .copy_attrs = rewriter_copy_attrs,
    .end = rewriter_end,
    .constant_ints = rewriter_constant_ints,
    .constant_floats = rewriter_constant_floats,
    .replace = rewriter_replace,
    .begin_at = rewriter_begin_at,
    .dim = rewriter_dim,
    .since = rewriter_since,
    .same = rewriter_same,
};
