/* converter/graph.h -- the graph between import and plan. Values and nodes are numbered and never renumbered: what is
** removed stays in its place as `gone`, so that names can say where it went. All memory but tensors' data is the
** graph's pool; nothing is freed before mien__graph_destroy.
**
** Import:  create -> symbols, input, constant, value, node (any order) -> output -> infer (sorts, infers, folds)
** Passes:  converter/passes.h
** Writing: order -> values, nodes, recipes, names */
#ifndef MIEN_GRAPH_H
#define MIEN_GRAPH_H

#include "runtime/internal.h"

/* One input slot of a node that reads a value; linked in the order in which they were made. */
typedef struct mien__use {
  mien_node_id node;
  int32_t slot;
  struct mien__use *prev, *next;
} mien__use;

typedef struct mien__name {
  const char *text;
  struct mien__name *next;
} mien__name;

typedef struct mien__gvalue {
  mien__value v;     /* type; data of a constant; contents where shape arithmetic knows them */
  mien__name *names; /* ONNX names, its own first, then those of values it replaced; NULL: none */
  mien__name *last_name;
  const char *initializer; /* name of the initializer whose bytes these are; NULL: it is none */
  bool owned;              /* v.tensor.data is the graph's, freed with it; else a mapping that outlives the graph */
  mien_node_id producer;   /* MIEN_NO_NODE for inputs and constants */
  int32_t producer_slot;
  mien_node_id recipe; /* constants: the folded node that made it (state MIEN__NODE_RECIPE); MIEN_NO_NODE: a leaf */
  int32_t recipe_slot;
  mien__use *first_use, *last_use; /* slots of live nodes */
  int32_t use_count;
  int32_t output_count; /* graph outputs that are this value */
  int32_t input;        /* index of the graph input it is; -1: none */
  bool gone;
  mien_value
      went_into; /* of one that is gone: the value that took its place or absorbed it; MIEN_NO_VALUE: nothing needed it */
} mien__gvalue;

typedef enum mien__node_state {
  MIEN__NODE_LIVE,
  MIEN__NODE_RECIPE,   /* folded: how its outputs came about; its inputs are constants (their data may be gone) */
  MIEN__NODE_DETACHED, /* part of a decomposition (mien__graph_decompose): in no order, in no use list */
  MIEN__NODE_GONE
} mien__node_state;

typedef struct mien__gnode {
  mien_node n;     /* record, name, attributes, counts, pointers to the values */
  int64_t opset;   /* version that selected the record */
  mien_value *in;  /* n.in_count, MIEN_NO_VALUE where absent */
  mien_value *out; /* n.out_count, MIEN_NO_VALUE where unused */
  mien__use *uses; /* n.in_count */
  mien__node_state state;
  int32_t rank;  /* no larger than that of any reader (equal ones allowed); see mien__graph_rank */
  uint32_t mark; /* for walks: seen in walk number `mark` */
} mien__gnode;

typedef struct mien__graph_port {
  const char *name;
  mien_value value;
  mien_type declared; /* as in the model; rank -1 and dtype MIEN_NONE where it says nothing */
} mien__graph_port;

typedef struct mien__pair {
  const char *key, *value;
} mien__pair;

typedef struct mien__opset {
  const char *domain; /* "" is ai.onnx */
  int64_t version;
} mien__opset;

typedef struct mien__graph {
  mien_env *env;
  mien__pool pool;   /* budget: limits.load_bytes */
  mien__scope scope; /* of every node; its symbols are the graph's */
  mien__gvalue **values;
  mien__gnode **nodes;
  int32_t value_count, node_count, value_room, node_room;
  int32_t live_count; /* nodes with state LIVE */
  uint32_t walk;      /* number of the last walk that marked nodes */
  uint64_t given_bytes,
      folded_bytes; /* of constants that came from outside; that folding made and that are still there */
  mien__graph_port *inputs, *outputs;
  int32_t input_count, output_count, input_room, output_room;
  /* What import knows of the model; strings in the pool. */
  const char *name, *producer, *producer_version;
  int64_t ir_version;
  mien__opset *opsets;
  int32_t opset_count, opset_room;
  mien__pair *metadata;
  int32_t metadata_count, metadata_room;
} mien__graph;

mien_status mien__graph_create(mien_env *env, mien__graph **graph, mien_error *error);
void mien__graph_destroy(mien__graph *graph); /* NULL allowed */

static inline mien__gvalue *mien__value_at(const mien__graph *g, mien_value v) { return g->values[v]; }
static inline mien__gnode *mien__node_at(const mien__graph *g, mien_node_id n) { return g->nodes[n]; }
/* The first ONNX name; "" when it has none. */
static inline const char *mien__value_name(const mien__graph *g, mien_value v) {
  return g->values[v]->names ? g->values[v]->names->text : "";
}
/* Version of a domain that the model imports; 0: it does not. */
int64_t mien__graph_opset(const mien__graph *g, const char *domain);
mien_status mien__graph_add_opset(mien__graph *g, const char *domain, int64_t version, mien_error *error);
mien_status mien__graph_add_metadata(mien__graph *g, const char *key, const char *value, mien_error *error);

/* ---- building. Names may be NULL or ""; they are copied. On failure nothing was added. */

/* A value of which nothing is known yet. */
mien_status mien__graph_add_value(mien__graph *g, const char *name, mien_value *value, mien_error *error);
/* dims of `type`: numbers or symbols of g->scope.symbols. */
mien_status mien__graph_add_input(mien__graph *g, const char *name, const mien_type *type, mien_value *value,
                                  mien_error *error);
/* `owned`: data came from mien__alloc (and mien_list items within it), and belongs to the graph from success on.
** `initializer`: the name is that of an initializer. */
mien_status mien__graph_add_constant(mien__graph *g, const char *name, const mien_tensor *tensor, bool owned,
                                     bool initializer, mien_value *value, mien_error *error);
/* Makes a value that exists (from add_value; nobody produces it) a constant. */
mien_status mien__graph_set_constant(mien__graph *g, mien_value value, const mien_tensor *tensor, bool owned,
                                     bool initializer, mien_error *error);
/* Values of `out` may not have a producer yet and be no input or constant. attrs are not copied: they and all they point to
** live in g->pool. Checks arity and attributes (mien__node_init), not types. Messages name node and operator. */
mien_status mien__graph_add_node(mien__graph *g, const mien__record *record, int64_t opset, const char *name,
                                 const mien__attr_value *attrs, int attr_count, const mien_value *in, int in_count,
                                 const mien_value *out, int out_count, mien_node_id *node, mien_error *error);
/* The same in state DETACHED: nothing in the graph reads or knows it but its outputs. attach makes it live. */
mien_status mien__graph_add_detached(mien__graph *g, const mien__record *record, int64_t opset, const char *name,
                                     const mien__attr_value *attrs, int attr_count, const mien_value *in, int in_count,
                                     const mien_value *out, int out_count, mien_node_id *node, mien_error *error);
void mien__graph_attach(mien__graph *g, mien_node_id node);
/* Takes back everything that was added from these numbers on (none of it attached). */
void mien__graph_truncate(mien__graph *g, int32_t value_count, int32_t node_count);
/* declared may be NULL. */
mien_status mien__graph_add_output(mien__graph *g, const char *name, mien_value value, const mien_type *declared,
                                   mien_error *error);
mien_status mien__graph_add_name(mien__graph *g, mien_value value, const char *name, mien_error *error);

/* ---- working */

/* Live nodes, producers before readers, deterministic, in linear time. `order` (env memory, freed with mien__free) gets
** g->live_count ids. MIEN_INVALID_MODEL names the nodes of a cycle, or a value that is read and that nobody produces. */
mien_status mien__graph_order(mien__graph *g, mien_node_id **order, mien_error *error);
/* Numbers all nodes in order. Whoever adds edges later keeps `rank` right by mien__graph_raise. */
mien_status mien__graph_rank(mien__graph *g, mien_error *error);
/* Use lists, producers and the order agree; MIEN_INTERNAL where not. */
mien_status mien__graph_check(mien__graph *g, mien_error *error);
/* Types and contents of one node's outputs. */
mien_status mien__graph_infer_node(mien__graph *g, mien_node_id node, mien_error *error);
/* All of them in order. fold: nodes with constant inputs become recipes at once, values with known contents constants (some
** types can only be inferred that way: sizes computed in floating point). */
mien_status mien__graph_infer(mien__graph *g, bool fold, mien_error *error);
/* Folds one inferred node if it can be: constant inputs, not random, results within limits.folded_bytes (and all folded constants
** together within that plus four times what the model brought); or outputs whose contents are known. *folded tells. A node that fails to evaluate is an error only where it would fail at run time too. */
mien_status mien__graph_fold_node(mien__graph *g, mien_node_id node, bool *folded, mien_error *error);
/* A live node none of whose outputs is needed. */
bool mien__graph_is_dead(const mien__graph *g, mien_node_id node);
/* Removes nodes no output needs; frees data of folded constants that only recipes read. */
mien_status mien__graph_remove_dead(mien__graph *g, mien_error *error);

/* Contents of a value as integers (may hold symbols), NULL when not known. */
const int64_t *mien__graph_ints(mien__graph *g, mien_value value, int64_t *count);

/* Frees the data of a folded constant that only recipes read. */
void mien__graph_release(mien__graph *g, mien_value value);
/* Repoints one input slot, keeping use lists. */
void mien__graph_set_input(mien__graph *g, mien_node_id node, int slot, mien_value value);
/* Every reader and graph output of `from` reads `to` instead; names of `from` move to `to`; from->went_into = to. */
void mien__graph_replace_uses(mien__graph *g, mien_value from, mien_value to);
/* A live node without readers: unlinks it, marks it and its outputs gone; outputs' went_into = `into`. */
void mien__graph_remove_node(mien__graph *g, mien_node_id node, mien_value into);
/* Whether live nodes or outputs read it, or it is an input. */
static inline bool mien__value_needed(const mien__graph *g, mien_value v) {
  const mien__gvalue *value = g->values[v];
  return !value->gone && (value->use_count > 0 || value->output_count > 0 || value->input >= 0);
}
/* Takes a live node out of the use lists (it keeps its ids) and gives it another state. */
void mien__graph_retire(mien__graph *g, mien_node_id node, mien__node_state state);
/* Where a value that is not needed any more ended: follows went_into; MIEN_NO_VALUE when nowhere. */
mien_value mien__graph_where(const mien__graph *g, mien_value value);

/* "Conv", "mien.Conv"; into text, always terminated. */
const char *mien__op_text(const mien__record *record, char *text, size_t size);

/* ---- text for debugging: one line a node, in order. *text: env memory, freed with mien__free. */
mien_status mien__graph_dump(mien__graph *g, char **text, mien_error *error);

#endif
