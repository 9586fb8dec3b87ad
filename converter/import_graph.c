/* import_graph.c -- values and nodes of an ONNX graph, in whatever order they stand. Nodes that cannot be taken are gathered,
** not reported one at a time. */
#include "converter/import.h"

#include <stdio.h>
#include <string.h>

/* Outputs of one node are compared with each other. */
#define MAX_OUTPUTS 4096

static const char *text_of(const char *text) { return text ? text : ""; }

/* ---- refused nodes */

mien_status mien__import_refuse(mien__import *im, const char *node, const char *domain, const char *op, int64_t opset,
                                const char *format, ...) {
  char reason[256];
  va_list args;
  va_start(args, format);
  vsnprintf(reason, sizeof reason, format, args);
  va_end(args);
  mien__unsupported *u = mien__pool_alloc(&im->pool, sizeof *u);
  if (!u) return mien__no_memory(im->error, sizeof *u);
  *u = (mien__unsupported){.node = mien__pool_string(&im->pool, node, strlen(node)),
                           .op = mien__pool_format(&im->pool, "%s%s%s", domain, *domain ? "." : "", op),
                           .reason = mien__pool_string(&im->pool, reason, strlen(reason)),
                           .opset = opset};
  if (!u->node || !u->op || !u->reason) return mien__no_memory(im->error, sizeof reason);
  if (im->last_unsupported)
    im->last_unsupported->next = u;
  else
    im->unsupported = u;
  im->last_unsupported = u;
  im->unsupported_count++;
  return MIEN_OK;
}

/* "unknown operator", or at which opset versions it is known. */
static mien_status refuse_operator(mien__import *im, const char *node, const char *domain, const char *op,
                                   int64_t opset) {
  char ranges[128] = "";
  size_t used = 0;
  for (size_t i = 0; i < im->env->record_count; i++) {
    const mien__record *r = im->env->records[i];
    if (strcmp(r->domain, domain) != 0 || strcmp(r->op->name, op) != 0) continue;
    const char *separator = used ? ", " : "";
    int since = r->op->since, until = r->op->until;
    int n = !until           ? snprintf(ranges + used, sizeof ranges - used, "%sfrom %d", separator, since)
            : since == until ? snprintf(ranges + used, sizeof ranges - used, "%s%d", separator, since)
                             : snprintf(ranges + used, sizeof ranges - used, "%s%d to %d", separator, since, until);
    if (n > 0 && (size_t)n < sizeof ranges - used) used += (size_t)n;
  }
  if (used) return mien__import_refuse(im, node, domain, op, opset, "known at opset %s", ranges);
  return mien__import_refuse(im, node, domain, op, opset, "unknown operator");
}

/* ---- values */

/* Names inside inlined functions get the call's name in front, and a number where that is taken. */
static const char *value_name(mien__import *im, const mien__frame *frame, const char *name) {
  const char *full = name;
  if (frame->function) full = mien__pool_format(&im->pool, "%s/%s", frame->prefix, name);
  for (unsigned i = 2; full; i++) {
    bool fresh;
    if (!mien__table_add(&im->names, full, &fresh)) return NULL;
    if (fresh || !frame->function) break;
    full = mien__pool_format(&im->pool, "%s/%s#%u", frame->prefix, name, i);
  }
  return full;
}

mien__entry *mien__import_value(mien__import *im, mien__frame *frame, const char *name) {
  bool fresh;
  mien__entry *entry = mien__table_add(&frame->values, name, &fresh);
  if (entry && !fresh) return entry;
  const char *full = entry ? value_name(im, frame, name) : NULL;
  if (!full) {
    (void)mien__no_memory(im->error, sizeof *entry);
    return NULL;
  }
  mien_value value = MIEN_NO_VALUE;
  if (mien__graph_add_value(im->graph, full, &value, im->error) != MIEN_OK) return NULL;
  entry->value = value;
  return entry;
}

mien_status mien__import_define(mien__import *im, mien__frame *frame, const char *name, const char *node,
                                mien_value *value) {
  mien__entry *entry = mien__import_value(im, frame, name);
  if (!entry) return MIEN_NO_MEMORY;
  if (entry->defined)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': value '%s' is defined twice", node, name);
  entry->defined = true;
  *value = entry->value;
  return MIEN_OK;
}

static mien_status type_of(mien__import *im, const Mien__Onnx__TypeProto *proto, const char *what, const char *name,
                           mien_type *type) {
  *type = (mien_type){.dtype = MIEN_NONE, .rank = -1};
  if (!proto) return MIEN_OK;
  int kinds = !!proto->tensor_type + !!proto->sequence_type + !!proto->map_type + !!proto->optional_type +
              !!proto->sparse_tensor_type + !!proto->has_opaque_type;
  if (kinds == 0) return MIEN_OK;
  if (kinds > 1) return mien__fail(im->error, MIEN_INVALID_MODEL, "%s '%s' has two types", what, name);
  if (!proto->tensor_type)
    return mien__fail(im->error, MIEN_UNSUPPORTED, "%s '%s' is a %s, only tensors are supported", what, name,
                      proto->sequence_type   ? "sequence"
                      : proto->map_type      ? "map"
                      : proto->optional_type ? "optional"
                                             : "sparse or opaque value");
  const Mien__Onnx__TypeProto__Tensor *tensor = proto->tensor_type;
  if (tensor->elem_type != 0 && !mien__dtype_valid(tensor->elem_type))
    return mien__fail(im->error, MIEN_UNSUPPORTED, "%s '%s' has element type %d, which mien does not know", what, name,
                      (int)tensor->elem_type);
  type->dtype = tensor->elem_type;
  if (!tensor->shape) return MIEN_OK;
  if (tensor->shape->n_dim > MIEN_MAX_RANK)
    return mien__fail(im->error, MIEN_LIMIT, "%s '%s' has rank %zu, the limit is %d", what, name, tensor->shape->n_dim,
                      MIEN_MAX_RANK);
  type->rank = (int32_t)tensor->shape->n_dim;
  for (int i = 0; i < type->rank; i++) {
    const Mien__Onnx__TensorShapeProto__Dimension *d = tensor->shape->dim[i];
    mien__symbols *symbols = im->graph->scope.symbols;
    bool named = d->dim_param && *d->dim_param;
    if (d->has_dim_value && (d->dim_value < 0 || named))
      return mien__fail(im->error, MIEN_INVALID_MODEL,
                        "%s '%s': dimension %d is %lld%s, expected a number >= 0 or a name", what, name, i,
                        (long long)d->dim_value, named ? " and has a name" : "");
    type->dim[i] = d->has_dim_value ? d->dim_value
                   : named          ? mien__symbol_named(symbols, d->dim_param, strlen(d->dim_param))
                                    : mien__symbol_new(symbols);
    if (!d->has_dim_value && !mien_is_symbol(type->dim[i])) return mien__no_memory(im->error, 0);
  }
  mien_error inner = {0};
  mien_status status = mien__type_fits(im->graph->env, type, &inner);
  return status == MIEN_OK ? status : mien__fail(im->error, status, "%s '%s': %s", what, name, inner.message);
}

static mien_status import_initializers(mien__import *im, mien__frame *frame, const mien__graph_proto *g) {
  if (g->n_sparse_initializer)
    return mien__fail(im->error, MIEN_UNSUPPORTED, "initializer '%s' is sparse, which is not supported",
                      g->sparse_initializer[0]->values ? text_of(g->sparse_initializer[0]->values->name) : "");
  for (size_t i = 0; i < g->n_initializer; i++) {
    const char *name = text_of(g->initializer[i]->name);
    if (!*name) return mien__fail(im->error, MIEN_INVALID_MODEL, "initializer %zu has no name", i);
    const char *what = mien__pool_format(&im->pool, "initializer '%s'", name);
    if (!what) return mien__no_memory(im->error, strlen(name));
    mien__entry *entry = mien__import_value(im, frame, name);
    if (!entry) return MIEN_NO_MEMORY;
    if (entry->defined) return mien__fail(im->error, MIEN_INVALID_MODEL, "%s is defined twice", what);
    entry->defined = true;
    entry->object = g->initializer[i];
    mien_tensor tensor;
    bool owned;
    MIEN_TRY(mien__tensor_of_proto(im->env, NULL, &im->external, g->initializer[i], what, &tensor, &owned, im->error));
    mien_status status = mien__graph_set_constant(im->graph, entry->value, &tensor, owned, true, im->error);
    if (status != MIEN_OK) {
      if (owned) mien__free(im->env, tensor.data);
      return status;
    }
  }
  return MIEN_OK;
}

/* Files older than IR version 4 list initializers among the inputs; those are constants all the same. */
static mien_status import_inputs(mien__import *im, mien__frame *frame, const mien__graph_proto *g) {
  mien__table seen = {.pool = &im->pool};
  for (size_t i = 0; i < g->n_input; i++) {
    const char *name = text_of(g->input[i]->name);
    bool fresh, new_name;
    if (!*name) return mien__fail(im->error, MIEN_INVALID_MODEL, "input %zu has no name", i);
    mien__entry *entry = mien__table_add(&seen, name, &new_name) ? mien__table_add(&frame->values, name, &fresh) : NULL;
    if (!entry || !mien__table_add(&im->names, name, NULL)) return mien__no_memory(im->error, sizeof *entry);
    if (!new_name) return mien__fail(im->error, MIEN_INVALID_MODEL, "input '%s' is defined twice", name);
    if (!fresh) continue;
    mien_type type;
    MIEN_TRY(type_of(im, g->input[i]->type, "input", name, &type));
    if (type.dtype == MIEN_NONE)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "input '%s' has no element type", name);
    mien_value value;
    MIEN_TRY(mien__graph_add_input(im->graph, name, &type, &value, im->error));
    entry->defined = true;
    entry->value = value;
  }
  return MIEN_OK;
}

static mien_status import_outputs(mien__import *im, mien__frame *frame, const mien__graph_proto *g) {
  mien__table seen = {.pool = &im->pool};
  if (g->n_output == 0) return mien__fail(im->error, MIEN_INVALID_MODEL, "the graph has no outputs");
  for (size_t i = 0; i < g->n_output; i++) {
    const char *name = text_of(g->output[i]->name);
    const mien__entry *entry = mien__table_find(&frame->values, name);
    bool fresh;
    if (!*name || !entry || !entry->defined)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "output '%s' is no input, no initializer and no node's output",
                        name);
    if (!mien__table_add(&seen, name, &fresh)) return mien__no_memory(im->error, sizeof *entry);
    if (!fresh) return mien__fail(im->error, MIEN_INVALID_MODEL, "output '%s' is listed twice", name);
    mien_type type;
    MIEN_TRY(type_of(im, g->output[i]->type, "output", name, &type));
    MIEN_TRY(mien__graph_add_output(im->graph, name, entry->value, &type, im->error));
  }
  return MIEN_OK;
}

/* ---- nodes */

static mien_status node_inputs(mien__import *im, mien__frame *frame, const mien__node_proto *node, const char *name,
                               mien_value **values, int *count) {
  size_t n = node->n_input;
  while (n > 0 && !node->input[n - 1][0]) n--;
  *count = (int)n;
  *values = mien__pool_alloc(&im->pool, (n + 1) * sizeof **values);
  if (!*values) return mien__no_memory(im->error, (n + 1) * sizeof **values);
  for (size_t i = 0; i < n; i++) {
    (*values)[i] = MIEN_NO_VALUE;
    if (!node->input[i][0]) continue;
    mien__entry *entry = mien__import_value(im, frame, node->input[i]);
    if (!entry) return MIEN_NO_MEMORY;
    if (!entry->defined && !entry->object) entry->object = name; /* its first reader, for a message */
    (*values)[i] = entry->value;
  }
  while (*count > 0 && (*values)[*count - 1] == MIEN_NO_VALUE) --*count;
  return MIEN_OK;
}

static mien_status node_outputs(mien__import *im, mien__frame *frame, const mien__node_proto *node, const char *name,
                                mien_value **values, int *count) {
  size_t n = node->n_output;
  if (n > MAX_OUTPUTS)
    return mien__fail(im->error, MIEN_LIMIT, "node '%s' has %zu outputs, the limit is %d", name, n, MAX_OUTPUTS);
  while (n > 0 && !node->output[n - 1][0]) n--;
  *count = (int)n;
  *values = mien__pool_alloc(&im->pool, (n + 1) * sizeof **values);
  if (!*values) return mien__no_memory(im->error, (n + 1) * sizeof **values);
  for (size_t i = 0; i < n; i++) {
    (*values)[i] = MIEN_NO_VALUE;
    if (node->output[i][0]) MIEN_TRY(mien__import_define(im, frame, node->output[i], name, &(*values)[i]));
  }
  return MIEN_OK;
}

static int64_t opset_of(const mien__frame *frame, const char *domain) {
  for (int32_t i = 0; i < frame->opset_count; i++)
    if (strcmp(frame->opsets[i].domain, domain) == 0) return frame->opsets[i].version;
  return 0;
}

static const char *node_name(mien__import *im, const mien__frame *frame, const mien__node_proto *node) {
  const char *name = text_of(node->name);
  for (size_t i = 0; !*name && i < node->n_output; i++) name = node->output[i];
  if (!*name) name = text_of(node->op_type);
  return frame->function ? mien__pool_format(&im->pool, "%s/%s", frame->prefix, name) : name;
}

/* A node of an operator that the registry has, or one that is refused. */
static mien_status import_operator(mien__import *im, mien__frame *frame, const mien__node_proto *node, const char *name,
                                   const char *domain, const mien__attrs *attrs, const char *refused) {
  mien_value *in = NULL, *out = NULL;
  int in_count = 0, out_count = 0;
  MIEN_TRY(node_inputs(im, frame, node, name, &in, &in_count));
  MIEN_TRY(node_outputs(im, frame, node, name, &out, &out_count));
  int64_t opset = opset_of(frame, domain);
  if (opset == 0)
    return mien__import_refuse(im, name, domain, node->op_type, 0, "the model imports no opset of its domain");
  const mien__record *record = mien__registry_find(im->env, domain, node->op_type, opset, NULL);
  if (!record && !(refused && strcmp(domain, "") == 0)) return refuse_operator(im, name, domain, node->op_type, opset);
  if (refused) return mien__import_refuse(im, name, domain, node->op_type, opset, "%s", refused);
  mien_node_id id;
  return mien__graph_add_node(im->graph, record, opset, name, attrs->list, attrs->count, in, in_count, out, out_count,
                              &id, im->error);
}

static mien_status import_constant(mien__import *im, mien__frame *frame, const mien__node_proto *node, const char *name,
                                   const mien__attrs *attrs) {
  if (node->n_input || node->n_output != 1 || !node->output[0][0])
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s' (Constant): expected no input and one output", name);
  mien_tensor tensor;
  mien_value value = MIEN_NO_VALUE;
  MIEN_TRY(mien__import_constant(im, attrs, name, &tensor));
  MIEN_TRY(mien__import_define(im, frame, node->output[0], name, &value));
  return mien__graph_set_constant(im->graph, value, &tensor, false, false, im->error);
}

static mien_status import_node(mien__import *im, mien__frame *frame, const mien__node_proto *node) {
  const char *name = node_name(im, frame, node), *domain = mien__import_domain(node->domain);
  if (!name) return mien__no_memory(im->error, 64);
  if (!node->op_type || !*node->op_type)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s' names no operator", name);
  if (++im->calls > im->env->limits.nodes)
    return mien__fail(im->error, MIEN_LIMIT, "the model has more than %u nodes", im->env->limits.nodes);
  mien__attrs attrs;
  const char *refused;
  MIEN_TRY(mien__import_attrs(im, frame, node->attribute, node->n_attribute, name, &attrs, &refused));
  if (!*domain && !refused && strcmp(node->op_type, "Constant") == 0)
    return import_constant(im, frame, node, name, &attrs);
  const mien__function_proto *function;
  MIEN_TRY(mien__import_function(im, domain, node->op_type, node->overload, &function));
  /* A function of ai.onnx is what its operator means: the operator itself does it faster. */
  if (function && !*domain && mien__registry_find(im->env, domain, node->op_type, opset_of(frame, domain), NULL))
    function = NULL;
  if (function && !refused) return mien__import_call(im, frame, node, name, &attrs, function);
  return import_operator(im, frame, node, name, domain, &attrs, refused);
}

static mien_status all_defined(mien__import *im, const mien__frame *frame) {
  for (size_t i = 0; i < frame->values.room; i++) {
    const mien__entry *entry = frame->values.slots[i];
    if (!entry || entry->defined) continue;
    const char *reader = entry->object ? entry->object : "";
    return mien__fail(
        im->error, MIEN_INVALID_MODEL, "%s%s%s%svalue '%s' is no input, no initializer and no node's output",
        frame->function ? "function '" : "", frame->function ? frame->function->name : "", frame->function ? "': " : "",
        *reader ? mien__pool_format(&im->pool, "node '%s': ", reader) : "", entry->key);
  }
  return MIEN_OK;
}

mien_status mien__import_nodes(mien__import *im, mien__frame *frame, mien__node_proto *const *nodes, size_t count) {
  for (size_t i = 0; i < count; i++) MIEN_TRY(import_node(im, frame, nodes[i]));
  return all_defined(im, frame);
}

/* Names of the main graph have precedence over those that inlining makes. */
static mien_status reserve_names(mien__import *im, const mien__graph_proto *g) {
  if (im->model->n_functions == 0) return MIEN_OK;
  for (size_t i = 0; i < g->n_node; i++)
    for (size_t k = 0; k < g->node[i]->n_output; k++)
      if (!mien__table_add(&im->names, g->node[i]->output[k], NULL)) return mien__no_memory(im->error, 64);
  return MIEN_OK;
}

mien_status mien__import_graph(mien__import *im) {
  const mien__graph_proto *g = im->model->graph;
  mien__frame frame = {
      .values = {.pool = &im->pool}, .opsets = im->graph->opsets, .opset_count = im->graph->opset_count};
  MIEN_TRY(import_initializers(im, &frame, g));
  MIEN_TRY(import_inputs(im, &frame, g));
  MIEN_TRY(reserve_names(im, g));
  MIEN_TRY(mien__import_nodes(im, &frame, g->node, g->n_node));
  MIEN_TRY(import_outputs(im, &frame, g));
  return im->unsupported ? mien__import_unsupported_error(im) : MIEN_OK;
}
