/* runtime/session.h -- what the files of a session share: session.c (life, binding), layout.c (everything that follows from the
** sizes of the inputs), layout_share.c (who shares bytes), execute.c (one run). */
#ifndef MIEN_SESSION_H
#define MIEN_SESSION_H

#include "internal.h"

#define MIEN__MAX_LAYOUTS 16

/* Where the bytes of a value are. Values that share bytes (views, in-place results) have one root. */
typedef enum mien__home {
  MIEN__HOME_NONE,     /* never computed here */
  MIEN__HOME_CONSTANT, /* the plan's, or contents that followed from shapes: value.tensor.data says it */
  MIEN__HOME_INPUT,    /* the caller's memory */
  MIEN__HOME_ARENA     /* the session's arena, or the caller's output */
} mien__home;

/* Everything that depends on the sizes of the inputs and on nothing else. */
typedef struct mien__layout {
  struct mien__layout *next;
  mien__pool pool;
  mien__scope scope;
  int64_t *key;        /* rank and dims of each input */
  mien__value *values; /* by id - 1; then those of outputs that operators must have and nobody reads */
  uint32_t value_count;
  mien_node *nodes; /* by instruction */
  bool *settled;    /* by instruction: computes only what is known */
  bool *skip;       /* by instruction: nothing to run */
  uint32_t *root;   /* by value: index of the value that owns its bytes */
  size_t *at;       /* by value: where in its root's bytes it begins */
  uint8_t *home;    /* by root */
  uint32_t *input;  /* by root with HOME_INPUT: which input */
  size_t *offset;   /* by root with HOME_ARENA */
  void **where;     /* by root: in the run under way */
  uint32_t *first;  /* by root: the first instruction that writes to it */
  uint32_t *last;   /* by root: the last instruction that needs it */
  bool shared;      /* blocks or joined values share bytes */
  bool dynamic;     /* sizes depend on data: every run infers, prepares and allocates as it goes */
  size_t arena_bytes, live_bytes, scratch_bytes;
} mien__layout;

typedef struct mien__kept {
  const char *name; /* the plan's */
  uint32_t value;   /* id */
} mien__kept;

#define MIEN__KEY (1 + MIEN_MAX_RANK) /* int64s of one input in a key */

struct mien_session {
  mien_plan *plan;
  mien_env *env;
  mien__threads *threads;
  bool own_threads;
  atomic_bool busy;
  mien__pool pool;
  uint32_t *symbol;     /* by input * MIEN_MAX_RANK + dim: which named size, plus 1; 0: none */
  int64_t *symbol_size; /* in the run under way; -1: not seen */
  const char **symbol_name;
  uint32_t symbol_count;
  mien_tensor *in;       /* by input, of the run under way */
  int64_t *key;          /* of the run under way */
  mien__layout *layouts; /* the last used first */
  int layout_count;
  uint8_t *arena;
  size_t arena_bytes;
  uint8_t *spill; /* outputs in memory of the session that are not in the arena */
  size_t spill_bytes;
  void *targets; /* of the run under way; execute.c's */
  size_t target_room;
  mien__kept *kept;
  size_t kept_count;
  mien__watch watch; /* observe NULL: off */
};

/* session.c. threads: of another session, used without owning them. */
mien_status mien__session_create(mien_plan *plan, mien__threads *threads, mien_session **session, mien_error *error);
/* MIEN_INVALID_ARGUMENT while another thread is inside. */
mien_status mien__session_enter(mien_session *session, mien_error *error);
void mien__session_leave(mien_session *session);

/* layout.c. For session->in, session->key. */
mien_status mien__layout_create(mien_session *session, mien__layout **layout, mien_error *error);
void mien__layout_destroy(mien__layout *layout);
/* Outputs that a node of this instruction has: at least those that its signature says are always there. */
int mien__layout_outputs(const mien__instruction *instruction);
/* Points a node at its operands (room for inputs and outputs). extra: index of the first unused value behind the plan's, moved
** behind those taken. */
mien_status mien__layout_node(const mien_plan *plan, mien__layout *layout, uint32_t instruction, uint32_t *extra,
                              mien_node *node, mien__value **operands);
/* Gives status; when it is a failure that said nothing, says at least where. */
mien_status mien__layout_failed(mien__layout *layout, const mien_node *node, mien_status status);

/* layout_share.c: fills root, at, home, input, first, last, skip, shared. */
enum { MIEN__SHARE_BLOCKS = 1, MIEN__SHARE_JOINS = 2 };
void mien__layout_share(const mien_session *session, mien__layout *layout, uint32_t sharing);

/* execute.c */
mien_status mien__execute_reserve(mien_session *session, size_t arena_bytes, mien_error *error);
mien_status mien__execute(mien_session *session, mien__layout *layout, mien_binding *outputs, size_t count,
                          mien_error *error);

#endif
