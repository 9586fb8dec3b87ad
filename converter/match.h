/* converter/match.h -- patterns (see mien_rewrite in plugin.h) as small programs, and matching them at a node. */
#ifndef MIEN_MATCH_H
#define MIEN_MATCH_H

#include "converter/graph.h"

#define MIEN__PATTERN_TEXT 2048
#define MIEN__PATTERN_DEPTH 32
#define MIEN__PATTERN_ITEMS 128
#define MIEN__PATTERN_NAMES 48

typedef enum mien__item_kind {
  MIEN__ITEM_ANY,      /* _ or a name */
  MIEN__ITEM_OPTIONAL, /* ?x */
  MIEN__ITEM_CONSTANT, /* #c */
  MIEN__ITEM_REST,     /* ... */
  MIEN__ITEM_OP
} mien__item_kind;

typedef struct mien__pattern_op {
  const char *domain, *name; /* "" is ai.onnx */
} mien__pattern_op;

/* Arguments of an item stand in its list, linked by index: an argument's own arguments lie between. */
typedef struct mien__item {
  mien__item_kind kind;
  int16_t name; /* index into names; -1: none */
  int16_t first, arg_count;
  int16_t next;          /* the next argument of the same operator; -1: last */
  int16_t ops, op_count; /* 0: any operator */
} mien__item;

typedef struct mien__pattern {
  const char *text;
  mien__item *items; /* item 0 is the root, an operator */
  mien__pattern_op *ops;
  const char **names;
  int item_count, name_count;
} mien__pattern;

/* `who` names the rewrite in messages. Memory of the pool. MIEN_PLUGIN when the text is no pattern. */
mien_status mien__pattern_parse(mien__pool *pool, const char *text, const char *who, mien__pattern *pattern,
                                mien_error *error);

typedef struct mien__binding {
  bool bound;
  mien_value value; /* MIEN_NO_VALUE: an optional input that is absent */
} mien__binding;

/* Whether an operator is one of the item's. */
bool mien__pattern_accepts(const mien__pattern *pattern, const mien__item *item, const mien__record *record);
/* Matches at a live node; bindings has MIEN__PATTERN_NAMES entries. MIEN_PLUGIN when the search takes too many steps. */
mien_status mien__match(const mien__pattern *pattern, const mien__graph *graph, mien_node_id root,
                        mien__binding *bindings, bool *matched, mien_error *error);

#endif
