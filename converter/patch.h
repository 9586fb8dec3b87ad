/* converter/patch.h -- what a rewrite sees (mien_rewriter) and the patch that it builds. The patch's values and nodes stand at the
** end of the graph's tables as detached nodes; applying attaches them, dropping truncates the tables. */
#ifndef MIEN_PATCH_H
#define MIEN_PATCH_H

#include "converter/match.h"

#define MIEN__PATCH_PAIRS 64
#define MIEN__PATCH_ATTRS 32

/* Growing list of ids. */
typedef struct mien__ids {
  mien_env *env;
  int32_t *at;
  int32_t count, room;
} mien__ids;
mien_status mien__ids_push(mien__ids *ids, int32_t id, mien_error *error);
void mien__ids_clear(mien__ids *ids);

typedef struct mien__patch {
  int32_t first_value, first_node;
  struct {
    mien_value from, to;
  } pairs[MIEN__PATCH_PAIRS];
  int pair_count;
  /* The node between begin and end; NULL: none. */
  const mien__record *record;
  int64_t opset;
  mien_value *in;
  int in_count;
  mien__attr_value attrs[MIEN__PATCH_ATTRS];
  int attr_count;
} mien__patch;

/* What outlives a match: lasts as long as the run over one graph. */
typedef struct mien__rewrite_cache {
  struct {
    const mien__record *record;
    const char *text;
  } ops[64];
  int op_count;
  /* Where `user` stood last. */
  mien_value user_of;
  int user_index;
  const mien__use *user;
  mien__ids stack, queue, dead; /* scratch of patch.c, empty between calls */
} mien__rewrite_cache;
void mien__rewrite_cache_init(mien__rewrite_cache *cache, mien_env *env);
void mien__rewrite_cache_clear(mien__rewrite_cache *cache);

struct mien_rewriter {
  const mien_rewrite_host *host; /* must stay first */
  mien__graph *g;
  mien__rewrite_cache *cache;
  mien_error *error;
  const char *pass;
  mien_node_id root;
  int pattern_index;
  const mien__pattern *pattern; /* NULL: a decomposition: "0", "1", ... are the root's inputs */
  const mien__binding *bindings;
  mien__patch patch;
};

extern const mien_rewrite_host mien__rewrite_host;

/* Starts an empty patch at the end of the tables. */
void mien__rewriter_init(mien_rewriter *r, mien__graph *g, mien__rewrite_cache *cache, const char *pass,
                         mien_node_id root, mien_error *error);
/* "rewrite 'NAME' at node 'ROOT': ..." */
mien_status mien__rewriter_fail(mien_rewriter *r, mien_status code, const char *format, ...) MIEN_PRINTF(3, 4);
/* Puts that in front of what *error says already. */
mien_status mien__rewriter_blame(mien_rewriter *r, mien_status code);

/* Whether the patch may be applied. *refused (graph pool): why it is dropped without being wrong -- sizes that are not provably
** the same; NULL: it may. Provably wrong patches are MIEN_INTERNAL, or MIEN_PLUGIN where they misuse the contract. */
mien_status mien__patch_check(mien_rewriter *r, const char **refused);
/* Applies a checked patch: replaces, attaches, removes what is not needed any more, infers and folds what depends on it.
** `touched` gets the nodes near the change. */
mien_status mien__patch_apply(mien_rewriter *r, mien__ids *touched);
void mien__patch_drop(mien_rewriter *r);

#endif
