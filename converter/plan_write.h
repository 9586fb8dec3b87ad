/* converter/plan_write.h -- graph to plan bytes. plan_write.c: the frame; plan_program.c: values, instructions, ports;
** plan_constants.c: bytes, each stored once; plan_names.c: names and recipes; plan_meta.c: what stands in section meta. */
#ifndef MIEN_PLAN_WRITE_H
#define MIEN_PLAN_WRITE_H

#include "converter/passes.h"
#include "plan.pb-c.h"

typedef struct mien__op_count {
  const char *op; /* "Conv", "mien.Conv" */
  uint32_t count;
} mien__op_count;

/* What the plan says beside the graph. NULL and 0: nothing. */
typedef struct mien__plan_facts {
  const uint8_t *sha256; /* 32 bytes */
  const mien__passes *passes;
  const mien__op_count *nodes_before;
  size_t nodes_before_count;
  const char *const *skipped; /* ends with NULL */
  const Mien__Plan__Check *check;
  uint64_t arena_bytes, live_bytes; /* at the golden input's shapes */
  mien_precision precision;
} mien__plan_facts;

/* Takes the plan's bytes in order. */
typedef struct mien__plan_sink {
  mien_status (*write)(void *context, const void *data, size_t size, mien_error *error);
  void *context;
} mien__plan_sink;

/* What was written, for the report. */
typedef struct mien__plan_sizes {
  uint64_t file_bytes, constant_bytes; /* constant_bytes: of section constants */
  uint64_t shared_bytes;               /* that constants would take more if each had its own */
  uint32_t constants, values, instructions;
} mien__plan_sizes;

/* The graph is inferred; decompositions of plugin operators are added to it, detached. sizes may be NULL. */
mien_status mien__plan_write(mien__graph *g, const mien__plan_facts *facts, const mien__plan_sink *sink,
                             mien__plan_sizes *sizes, mien_error *error);

/* Live nodes by operator, sorted by name. In the pool. */
mien_status mien__count_ops(const mien__graph *g, mien__pool *pool, mien__op_count **counts, size_t *count,
                            mien_error *error);

/* ---- between the files */

/* Bytes in section constants. */
typedef struct mien__blob {
  const void *data;
  size_t size, offset;
  uint64_t hash;
  uint32_t constant; /* the first that has it, + 1 */
} mien__blob;

typedef struct mien__plan_constant {
  const mien_tensor *tensor;
  mien_value value; /* MIEN_NO_VALUE: an attribute's */
  uint32_t blob;
} mien__plan_constant;

typedef struct mien__plan_builder {
  mien__graph *g;
  const mien__plan_facts *facts;
  mien__pool pool;
  mien_error *error;
  mien_node_id *order;       /* live nodes; env memory */
  mien_node_id **decomposed; /* by position in order: detached nodes, NULL where there are none */
  int32_t *decomposed_count;
  uint32_t *ids;           /* by graph value: plan value id; 0: none */
  mien_value *values;      /* by plan value id - 1 */
  uint32_t *constant_ids;  /* by graph value: index into constants + 1; 0: none */
  uint32_t *name_rows;     /* by graph value: row + 1 in names of the initializer's name; 0: none */
  mien_value *absorbed_by; /* by graph value: the constant whose recipe it is a leaf of; MIEN_NO_VALUE */
  uint32_t value_count;
  mien__plan_constant *constants;
  uint32_t constant_count, constant_room;
  mien__blob *blobs;
  uint32_t blob_count;
  uint32_t *slots; /* of blobs by hash: index + 1 */
  size_t slot_count;
  size_t section_bytes, unshared_bytes;
  Mien__Plan__Program program;
  Mien__Plan__Names names;
  Mien__Plan__Meta meta;
} mien__plan_builder;

/* Memory of the builder's pool; NULL is said in b->error. */
void *mien__plan_take(mien__plan_builder *b, size_t count, size_t size);
/* Array of `count` pointers to messages of `size` bytes each. */
void *mien__plan_messages(mien__plan_builder *b, size_t count, size_t size);
/* Open dims are named where `names`. */
mien_status mien__plan_type_of(mien__plan_builder *b, const mien_type *type, bool names, Mien__Plan__Type **out);
mien_status mien__plan_attributes(mien__plan_builder *b, const mien_node *n, size_t *count,
                                  Mien__Plan__Attribute ***attributes);
/* Index + 1 of a graph constant, or of an attribute's tensor (value MIEN_NO_VALUE). */
mien_status mien__plan_constant_of(mien__plan_builder *b, mien_value value, const mien_tensor *tensor, uint32_t *index);
/* Index + 1 of a constant with these bytes, when there is one. */
bool mien__plan_blob_find(const mien__plan_builder *b, const void *data, size_t size, uint32_t *constant);
mien_status mien__plan_build_program(mien__plan_builder *b);
mien_status mien__plan_build_recipes(mien__plan_builder *b);
/* After recipes, which tell where initializers went. */
mien_status mien__plan_build_names(mien__plan_builder *b);
/* After recipes, which may add constants. */
mien_status mien__plan_build_constants(mien__plan_builder *b);
mien_status mien__plan_build_meta(mien__plan_builder *b);

#endif
