/* functions.c -- model-local functions. A call is replaced by the function's body: its inputs and outputs are the caller's
** values, its attribute references the caller's attributes, its operators' versions its own. */
#include "converter/import.h"

#include <string.h>

static const char *text_of(const char *text) { return text ? text : ""; }

static const char *function_key(mien__import *im, const char *domain, const char *op, const char *overload) {
  return mien__pool_format(&im->pool, "%s\n%s\n%s", mien__import_domain(domain), text_of(op), text_of(overload));
}

mien_status mien__import_functions(mien__import *im) {
  for (size_t i = 0; i < im->model->n_functions; i++) {
    const mien__function_proto *f = im->model->functions[i];
    const char *key = function_key(im, f->domain, f->name, f->overload);
    bool fresh;
    mien__entry *entry = key ? mien__table_add(&im->functions, key, &fresh) : NULL;
    if (!entry) return mien__no_memory(im->error, sizeof *entry);
    if (!f->name || !*f->name) return mien__fail(im->error, MIEN_INVALID_MODEL, "function %zu has no name", i);
    if (!fresh)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "function '%s' of domain '%s' is defined twice", f->name,
                        mien__domain_text(mien__import_domain(f->domain)));
    entry->object = f;
  }
  return MIEN_OK;
}

mien_status mien__import_function(mien__import *im, const char *domain, const char *op, const char *overload,
                                  const mien__function_proto **function) {
  *function = NULL;
  if (im->functions.count == 0) return MIEN_OK;
  const char *key = function_key(im, domain, op, overload);
  if (!key) return mien__no_memory(im->error, 64);
  const mien__entry *entry = mien__table_find(&im->functions, key);
  if (entry) *function = entry->object;
  return MIEN_OK;
}

static bool declares(const mien__function_proto *f, const char *name) {
  for (size_t i = 0; i < f->n_attribute; i++)
    if (strcmp(f->attribute[i], name) == 0) return true;
  for (size_t i = 0; i < f->n_attribute_proto; i++)
    if (strcmp(text_of(f->attribute_proto[i]->name), name) == 0) return true;
  return false;
}

/* The call's attributes, and the function's defaults for those it leaves out. */
static mien_status call_attrs(mien__import *im, const mien__function_proto *f, const char *name,
                              const mien__attrs *given, mien__attrs *all) {
  for (int i = 0; i < given->count; i++)
    if (!declares(f, given->list[i].name))
      return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': function '%s' has no attribute '%s'", name, f->name,
                        given->list[i].name);
  const char *refused;
  mien__attrs defaults;
  mien__frame outside = {0};
  MIEN_TRY(mien__import_attrs(im, &outside, f->attribute_proto, f->n_attribute_proto, name, &defaults, &refused));
  size_t count = (size_t)given->count + (size_t)defaults.count;
  *all = (mien__attrs){.list = mien__pool_alloc(&im->graph->pool, count * sizeof *all->list)};
  if (!all->list) return mien__no_memory(im->error, count * sizeof *all->list);
  for (int i = 0; i < given->count; i++) all->list[all->count++] = given->list[i];
  for (int i = 0; i < defaults.count; i++)
    if (!mien__attrs_find(given, defaults.list[i].name)) all->list[all->count++] = defaults.list[i];
  return MIEN_OK;
}

static mien_status bind_inputs(mien__import *im, mien__frame *outer, mien__frame *inner, const mien__node_proto *node,
                               const char *name) {
  const mien__function_proto *f = inner->function;
  if (node->n_input > f->n_input)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s' has %zu inputs, function '%s' takes %zu", name,
                      node->n_input, f->name, f->n_input);
  for (size_t i = 0; i < f->n_input; i++) {
    bool fresh;
    mien__entry *entry = mien__table_add(&inner->values, f->input[i], &fresh);
    if (!entry) return mien__no_memory(im->error, sizeof *entry);
    if (!fresh || !f->input[i][0])
      return mien__fail(im->error, MIEN_INVALID_MODEL, "function '%s': input %zu has no name of its own", f->name, i);
    entry->defined = true;
    entry->value = MIEN_NO_VALUE;
    if (i < node->n_input && node->input[i][0]) {
      mien__entry *actual = mien__import_value(im, outer, node->input[i]);
      if (!actual) return MIEN_NO_MEMORY;
      entry->value = actual->value;
    }
  }
  return MIEN_OK;
}

/* An output that is an input, or the same as an earlier output, has no place of its own in the body: it is copied. */
static mien_status bind_outputs(mien__import *im, mien__frame *outer, mien__frame *inner, const mien__node_proto *node,
                                const char *name, mien_value *copies) {
  const mien__function_proto *f = inner->function;
  if (node->n_output > f->n_output)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s' has %zu outputs, function '%s' gives %zu", name,
                      node->n_output, f->name, f->n_output);
  for (size_t i = 0; i < node->n_output; i++) {
    copies[i] = MIEN_NO_VALUE;
    if (!node->output[i][0]) continue;
    bool fresh;
    mien__entry *entry = mien__table_add(&inner->values, f->output[i], &fresh);
    if (!entry) return mien__no_memory(im->error, sizeof *entry);
    mien_value actual;
    MIEN_TRY(mien__import_define(im, outer, node->output[i], name, &actual));
    if (fresh)
      entry->value = actual;
    else
      copies[i] = actual;
  }
  return MIEN_OK;
}

static mien_status copy_outputs(mien__import *im, mien__frame *inner, const mien__node_proto *node, const char *name,
                                const mien_value *copies) {
  for (size_t i = 0; i < node->n_output; i++) {
    if (copies[i] == MIEN_NO_VALUE) continue;
    const mien__entry *entry = mien__table_find(&inner->values, inner->function->output[i]);
    if (!entry || entry->value == MIEN_NO_VALUE)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': output %zu of function '%s' is an input left out",
                        name, i, inner->function->name);
    int64_t opset = mien__graph_opset(im->graph, "");
    if (!opset) opset = MIEN__OPSET;
    const mien__record *record = mien__registry_find(im->env, "", "Identity", opset, NULL);
    if (!record) return mien__import_refuse(im, name, "", "Identity", opset, "unknown operator");
    mien_node_id id;
    MIEN_TRY(
        mien__graph_add_node(im->graph, record, opset, name, NULL, 0, &entry->value, 1, &copies[i], 1, &id, im->error));
  }
  return MIEN_OK;
}

static mien_status enter(mien__import *im, mien__frame *outer, mien__frame *inner, const mien__node_proto *node,
                         const char *name, const mien__function_proto *f) {
  *inner = (mien__frame){
      .parent = outer, .function = f, .values = {.pool = &im->pool}, .depth = outer->depth + 1, .prefix = name};
  for (const mien__frame *above = outer; above; above = above->parent)
    if (above->function == f)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': function '%s' calls itself", name, f->name);
  if (inner->depth > im->env->limits.depth)
    return mien__fail(im->error, MIEN_LIMIT, "node '%s': functions call each other more than %u deep", name,
                      im->env->limits.depth);
  /* Outputs are unique where nodes' names are not. */
  for (size_t i = 0; i < node->n_output; i++) {
    if (!node->output[i][0]) continue;
    inner->prefix = node->output[i];
    if (outer->prefix) inner->prefix = mien__pool_format(&im->pool, "%s/%s", outer->prefix, node->output[i]);
    if (!inner->prefix) return mien__no_memory(im->error, 64);
    break;
  }
  return mien__import_opsets(im, f->opset_import, f->n_opset_import, f->name, &inner->opsets, &inner->opset_count);
}

mien_status mien__import_call(mien__import *im, mien__frame *frame, const mien__node_proto *node, const char *name,
                              const mien__attrs *attrs, const mien__function_proto *function) {
  mien__frame inner;
  mien__attrs all;
  MIEN_TRY(enter(im, frame, &inner, node, name, function));
  MIEN_TRY(call_attrs(im, function, name, attrs, &all));
  inner.caller = &all;
  mien_value *copies = mien__pool_alloc(&im->pool, (node->n_output + 1) * sizeof *copies);
  if (!copies) return mien__no_memory(im->error, (node->n_output + 1) * sizeof *copies);
  MIEN_TRY(bind_inputs(im, frame, &inner, node, name));
  MIEN_TRY(bind_outputs(im, frame, &inner, node, name, copies));
  MIEN_TRY(mien__import_nodes(im, &inner, function->node, function->n_node));
  return copy_outputs(im, &inner, node, name, copies);
}
