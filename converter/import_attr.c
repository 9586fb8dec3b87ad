/* import_attr.c -- attributes of ONNX nodes. */
#include "converter/import.h"

#include <string.h>

/* A node with more is no node: lists of attributes are searched one by one. */
#define MAX_ATTRS 256

/* AttributeProto.AttributeType by number: its letter (0: none that mien takes) and its name. */
static const struct {
  char kind;
  const char *name;
} kinds[] = {{0, "undefined"}, {'f', "float"},       {'i', "int"},          {'s', "string"},  {'t', "tensor"},
             {0, "graph"},     {'F', "floats"},      {'I', "ints"},         {'S', "strings"}, {0, "tensors"},
             {0, "graphs"},    {0, "sparse tensor"}, {0, "sparse tensors"}, {0, "type"},      {0, "types"}};
enum { FLOAT = 1, INT, STRING, TENSOR, GRAPH, FLOATS, INTS, STRINGS, TENSORS, GRAPHS, SPARSE, SPARSES, TYPE, TYPES };

/* Bit k: field of attribute type k holds something. */
static unsigned filled(const mien__attr_proto *a) {
  unsigned bits = 0;
#define FILLED(condition, type) \
  if (condition) bits |= 1u << (type)
  FILLED(a->has_f, FLOAT);
  FILLED(a->has_i, INT);
  FILLED(a->has_s, STRING);
  FILLED(a->t, TENSOR);
  FILLED(a->g, GRAPH);
  FILLED(a->n_floats, FLOATS);
  FILLED(a->n_ints, INTS);
  FILLED(a->n_strings, STRINGS);
  FILLED(a->n_tensors, TENSORS);
  FILLED(a->n_graphs, GRAPHS);
  FILLED(a->sparse_tensor, SPARSE);
  FILLED(a->n_sparse_tensors, SPARSES);
  FILLED(a->tp, TYPE);
  FILLED(a->n_type_protos, TYPES);
#undef FILLED
  return bits;
}

/* Files older than IR version 2 do not say the type: it is that of the one field that is filled. Writers of proto3 leave
** out zeros, so an empty field of the said type is its zero. */
static mien_status attr_type(mien__import *im, const mien__attr_proto *a, const char *node, int *type) {
  unsigned bits = filled(a);
  int said = a->has_type ? a->type : 0;
  if (said < 0 || said > TYPES)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': attribute '%s' has type %d, which is none", node,
                      a->name, said);
  for (int t = FLOAT; t <= TYPES; t++) {
    if (!(bits & 1u << t)) continue;
    if (!said) said = t;
    if (t != said)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': attribute '%s' has type %s but a value of type %s",
                        node, a->name, kinds[said].name, kinds[t].name);
  }
  if (!said || (said == TENSOR && !a->t))
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': attribute '%s' has no value", node, a->name);
  *type = said;
  return MIEN_OK;
}

static mien_status attr_string(mien__import *im, const ProtobufCBinaryData *data, mien_string *string) {
  char *text = mien__pool_string(&im->graph->pool, (const char *)data->data, data->len);
  if (!text) return mien__no_memory(im->error, data->len);
  *string = (mien_string){.data = text, .length = data->len};
  return MIEN_OK;
}

static mien_status attr_tensor(mien__import *im, const mien__attr_proto *a, const char *node, mien__attr_value *value) {
  const char *what = mien__pool_format(&im->pool, "node '%s': attribute '%s'", node, a->name);
  value->tensor = mien__pool_alloc(&im->graph->pool, sizeof *value->tensor);
  if (!what || !value->tensor) return mien__no_memory(im->error, sizeof *value->tensor);
  bool owned;
  return mien__tensor_of_proto(im->env, &im->graph->pool, &im->external, a->t, what, value->tensor, &owned, im->error);
}

/* Lists stay in the messages, which outlive the graph. */
static mien_status attr_value(mien__import *im, const mien__attr_proto *a, const char *node, mien__attr_value *value,
                              const char **refused) {
  int type = 0;
  MIEN_TRY(attr_type(im, a, node, &type));
  *value = (mien__attr_value){.name = a->name, .kind = kinds[type].kind};
  switch (type) {
    case FLOAT: value->f = a->f; break;
    case INT: value->i = a->i; break;
    case STRING: return attr_string(im, &a->s, &value->s);
    case TENSOR: return attr_tensor(im, a, node, value);
    case FLOATS:
      value->count = (int64_t)a->n_floats;
      value->floats = a->floats;
      break;
    case INTS:
      value->count = (int64_t)a->n_ints;
      value->ints = a->ints;
      break;
    case STRINGS:
      value->count = (int64_t)a->n_strings;
      value->strings = mien__pool_alloc(&im->graph->pool, a->n_strings * sizeof *value->strings);
      if (!value->strings) return mien__no_memory(im->error, a->n_strings * sizeof *value->strings);
      for (size_t i = 0; i < a->n_strings; i++) MIEN_TRY(attr_string(im, &a->strings[i], &value->strings[i]));
      break;
    case GRAPH:
    case GRAPHS: *refused = "operators with subgraphs are not supported"; break;
    case SPARSE:
    case SPARSES: *refused = "sparse tensors are not supported"; break;
    default:
      *refused = mien__pool_format(&im->pool, "attributes of type %s are not supported", kinds[type].name);
      if (!*refused) return mien__no_memory(im->error, 64);
  }
  return MIEN_OK;
}

/* The caller's attribute under the name that the body gives it. *found false: the caller left it out. */
static mien_status attr_reference(mien__import *im, const mien__frame *frame, const mien__attr_proto *a,
                                  const char *node, mien__attr_value *value, bool *found) {
  if (!frame->function)
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': attribute '%s' is a reference outside a function",
                      node, a->name);
  const mien__attr_value *actual = mien__attrs_find(frame->caller, a->ref_attr_name);
  *found = actual;
  if (!actual) return MIEN_OK;
  if (a->has_type && (a->type < 0 || a->type > TYPES || kinds[a->type].kind != actual->kind))
    return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s': attribute '%s' refers to '%s', which has another type",
                      node, a->name, a->ref_attr_name);
  *value = *actual;
  value->name = a->name;
  return MIEN_OK;
}

mien_status mien__import_attrs(mien__import *im, const mien__frame *frame, mien__attr_proto *const *protos,
                               size_t count, const char *node, mien__attrs *attrs, const char **refused) {
  *attrs = (mien__attrs){0};
  *refused = NULL;
  if (count == 0) return MIEN_OK;
  if (count > MAX_ATTRS)
    return mien__fail(im->error, MIEN_LIMIT, "node '%s' has %zu attributes, the limit is %d", node, count, MAX_ATTRS);
  attrs->list = mien__pool_alloc(&im->graph->pool, count * sizeof *attrs->list);
  if (!attrs->list) return mien__no_memory(im->error, count * sizeof *attrs->list);
  for (size_t i = 0; i < count; i++) {
    const mien__attr_proto *a = protos[i];
    mien__attr_value *value = &attrs->list[attrs->count];
    if (!a->name || !*a->name)
      return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s' has an attribute without a name", node);
    if (mien__attrs_find(attrs, a->name))
      return mien__fail(im->error, MIEN_INVALID_MODEL, "node '%s' has attribute '%s' twice", node, a->name);
    bool found = true;
    const char *reason = NULL;
    if (a->ref_attr_name && *a->ref_attr_name)
      MIEN_TRY(attr_reference(im, frame, a, node, value, &found));
    else
      MIEN_TRY(attr_value(im, a, node, value, &reason));
    if (reason) *refused = reason;
    if (found && !reason) attrs->count++;
  }
  return MIEN_OK;
}

const mien__attr_value *mien__attrs_find(const mien__attrs *attrs, const char *name) {
  for (int i = 0; i < attrs->count; i++)
    if (strcmp(attrs->list[i].name, name) == 0) return &attrs->list[i];
  return NULL;
}
