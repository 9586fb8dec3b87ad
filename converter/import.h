/* converter/import.h -- what the files of the importer share. import.c: the file and the model; import_attr.c: attributes;
** import_graph.c: values and nodes; functions.c: calls of model-local functions; tensor_proto.c, external.c: tensors. */
#ifndef MIEN_IMPORT_H
#define MIEN_IMPORT_H

#include "converter/graph.h"
#include "onnx.pb-c.h"

/* The newest that mien knows whole: ONNX 1.23. */
#define MIEN__IR_VERSION 14
#define MIEN__OPSET 28

typedef Mien__Onnx__TensorProto mien__tensor_proto;
typedef Mien__Onnx__AttributeProto mien__attr_proto;
typedef Mien__Onnx__NodeProto mien__node_proto;
typedef Mien__Onnx__GraphProto mien__graph_proto;
typedef Mien__Onnx__FunctionProto mien__function_proto;
typedef Mien__Onnx__ModelProto mien__model_proto;

/* ---- import_table.c: a map from texts (not copied) to small records in a pool */

typedef struct mien__entry {
  const char *key;
  size_t length;
  int32_t value;      /* the caller's */
  const void *object; /* the caller's */
  bool defined;       /* the caller's */
} mien__entry;

typedef struct mien__table {
  mien__pool *pool;
  mien__entry **slots;
  size_t count, room;
} mien__table;

/* The entry of key, NULL when there is none. */
mien__entry *mien__table_find(const mien__table *table, const char *key);
/* The same, made when there is none (*fresh tells; may be NULL). NULL: no memory. */
mien__entry *mien__table_add(mien__table *table, const char *key, bool *fresh);

/* ---- external.c: files beside the model, opened once each, never outside its directory */

typedef struct mien__external {
  mien_env *env;
  mien__pool *pool;
  const char *model_path;
  int directory; /* -1: not opened yet */
  mien__table files;
} mien__external;

void mien__external_init(mien__external *external, mien_env *env, mien__pool *pool, const char *model_path);
void mien__external_clear(mien__external *external); /* unmaps */
/* `bytes` bytes of the tensor in the mapping of its file. what: names the tensor in messages. */
mien_status mien__external_data(mien__external *external, const mien__tensor_proto *proto, size_t bytes,
                                const char *what, const uint8_t **data, mien_error *error);

/* ---- tensor_proto.c */

/* The tensor of a message. Its data points into the message or a mapping where the bytes are already as they should be in
** memory, else to fresh memory: of `pool`, or with pool NULL from mien__alloc (*owned true). Element count, field and
** type are checked against each other. external NULL: refused. */
mien_status mien__tensor_of_proto(mien_env *env, mien__pool *pool, mien__external *external,
                                  const mien__tensor_proto *proto, const char *what, mien_tensor *tensor, bool *owned,
                                  mien_error *error);

/* ---- import_attr.c */

/* A caller's attributes, while the body of a function is imported. */
typedef struct mien__attrs {
  mien__attr_value *list;
  int count;
} mien__attrs;

/* What import cannot take, gathered over the whole model. */
typedef struct mien__unsupported {
  const char *node, *op, *reason;
  int64_t opset;
  struct mien__unsupported *next;
} mien__unsupported;

typedef struct mien__import {
  mien_env *env;
  mien_error *error;
  const char *path;
  mien__pool pool; /* messages, and what the importer itself notes */
  mien__external external;
  const mien__model_proto *model;
  uint8_t sha256[32];
  mien__graph *graph;
  mien__table functions; /* domain, name, overload, joined by newlines -> mien__function_proto */
  mien__table names;     /* all value names given so far: those of inlined bodies stay distinct */
  uint64_t calls;        /* nodes and calls, against limits.nodes */
  mien__unsupported *unsupported, **unsupported_end;
  int unsupported_count;
} mien__import;

/* One level of names: the main graph or one call of a function. */
typedef struct mien__frame {
  const char *prefix;        /* of names; NULL: the main graph */
  mien__table values;        /* name -> mien_value */
  const mien__attrs *caller; /* NULL: the main graph, where attribute references are errors */
  const mien__opset *opsets; /* those of the function; NULL: the graph's */
  int32_t opset_count;
  uint32_t depth;
} mien__frame;

/* Attributes of a node in the graph's pool, references resolved. *subgraph: it has a graph attribute (not in the list). */
mien_status mien__import_attrs(mien__import *import, const mien__frame *frame, const mien__node_proto *node,
                               const char *name, mien__attrs *attrs, bool *subgraph);
const mien__attr_value *mien__attrs_find(const mien__attrs *attrs, const char *name);
/* One attribute that is no reference. */
mien_status mien__import_attr(mien__import *import, const mien__attr_proto *proto, const char *node,
                              mien__attr_value *value);

/* ---- import_graph.c */

mien_status mien__import_graph(mien__import *import);
/* All nodes of a body. */
mien_status mien__import_nodes(mien__import *import, mien__frame *frame, mien__node_proto **nodes, size_t count);
/* The value of a name in a frame, made when there is none. */
mien_status mien__import_value(mien__import *import, mien__frame *frame, const char *name, mien__entry **entry);
/* Every name that was used must have been defined. */
mien_status mien__import_all_defined(mien__import *import, const mien__frame *frame);
mien_status mien__import_refuse(mien__import *import, const char *node, const char *op, int64_t opset,
                                const char *format, ...) MIEN_PRINTF(5, 6);

/* ---- functions.c */

mien_status mien__import_functions(mien__import *import);
/* NULL: no such function. *status: no memory. */
const mien__function_proto *mien__import_function(mien__import *import, const char *domain,
                                                  const mien__node_proto *node, mien_status *status);
mien_status mien__import_call(mien__import *import, mien__frame *frame, const mien__node_proto *node, const char *name,
                              const mien__attrs *attrs, const mien__function_proto *function);

/* ---- import.c */

/* Reads a model and builds its graph, not inferred yet. On failure import->unsupported may tell more; close it anyway. */
mien_status mien__import_open(mien__import *import, mien_env *env, const char *path, mien_error *error);
/* Frees the graph, then what its constants point to. */
void mien__import_close(mien__import *import);
/* "" for "ai.onnx". NULL: "". */
const char *mien__import_domain(const char *domain);
/* error: how many, and as many as fit. */
mien_status mien__import_unsupported_error(mien__import *import, mien_error *error);

#endif
