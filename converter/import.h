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

/* Bytes that the messages of a file of this size may take: no honest file needs 32 times its own. */
uint64_t mien__message_budget(const mien_env *env, size_t size);

/* ---- what the parts of an import share */

typedef struct mien__attrs {
  mien__attr_value *list;
  int count;
} mien__attrs;

/* A node that import cannot take; gathered over the whole model. */
typedef struct mien__unsupported {
  const char *node, *op, *reason;
  int64_t opset; /* 0: its domain is not imported */
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
  mien__table names;     /* value names given so far: those of inlined bodies stay distinct */
  uint64_t calls;        /* nodes and calls, against limits.nodes */
  mien__unsupported *unsupported, *last_unsupported;
  int unsupported_count;
} mien__import;

/* One level of names: the main graph or one call of a function. */
typedef struct mien__frame {
  const struct mien__frame *parent;
  const mien__function_proto *function; /* NULL: the main graph */
  const char *prefix;                   /* of names */
  mien__table values;                   /* name -> mien_value; MIEN_NO_VALUE and defined: an input that was left out */
  const mien__attrs *caller;            /* what attribute references refer to */
  const mien__opset *opsets;
  int32_t opset_count;
  uint32_t depth;
} mien__frame;

/* ---- import_attr.c */

/* Attributes of a node in the graph's pool, references resolved. *refused: why the node cannot be taken, or NULL. */
mien_status mien__import_attrs(mien__import *im, const mien__frame *frame, mien__attr_proto *const *protos,
                               size_t count, const char *node, mien__attrs *attrs, const char **refused);
const mien__attr_value *mien__attrs_find(const mien__attrs *attrs, const char *name);

/* ---- import_constant.c */

/* The tensor of a Constant node. */
mien_status mien__import_constant(mien__import *im, const mien__attrs *attrs, const char *node, mien_tensor *tensor);

/* ---- import_graph.c */

mien_status mien__import_graph(mien__import *im);
/* All nodes of a body; then every name that it used must have been defined. */
mien_status mien__import_nodes(mien__import *im, mien__frame *frame, mien__node_proto *const *nodes, size_t count);
/* The entry of a name, with a value. NULL: no memory (said). */
mien__entry *mien__import_value(mien__import *im, mien__frame *frame, const char *name);
/* The same; it must not be defined yet, and is from now on. */
mien_status mien__import_define(mien__import *im, mien__frame *frame, const char *name, const char *node,
                                mien_value *value);
mien_status mien__import_refuse(mien__import *im, const char *node, const char *domain, const char *op, int64_t opset,
                                const char *format, ...) MIEN_PRINTF(6, 7);

/* ---- functions.c */

mien_status mien__import_functions(mien__import *im);
/* *function NULL: there is none. */
mien_status mien__import_function(mien__import *im, const char *domain, const char *op, const char *overload,
                                  const mien__function_proto **function);
mien_status mien__import_call(mien__import *im, mien__frame *frame, const mien__node_proto *node, const char *name,
                              const mien__attrs *attrs, const mien__function_proto *function);

/* ---- import.c */

/* Reads a model and builds its graph, not inferred yet. On failure im->unsupported may tell more; close it anyway. path
** and error must outlive the import. */
mien_status mien__import_open(mien__import *im, mien_env *env, const char *path, mien_error *error);
/* Frees the graph, then what its constants point to. */
void mien__import_close(mien__import *im);
/* Infers and folds the imported graph. What types no operator takes is gathered like other unsupported nodes. */
mien_status mien__import_infer(mien__import *im);
/* "" for NULL and "ai.onnx". */
const char *mien__import_domain(const char *domain);
mien_status mien__import_opsets(mien__import *im, Mien__Onnx__OperatorSetIdProto *const *protos, size_t count,
                                const char *what, const mien__opset **opsets, int32_t *opset_count);
/* One error for all of im->unsupported: how many, and as many as its line holds. */
mien_status mien__import_unsupported_error(mien__import *im);

#endif
