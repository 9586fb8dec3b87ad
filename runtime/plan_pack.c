/* Packed constants: made once a plan, shared by its sessions, freed with it. While a session prepares its nodes it holds the
** lock and packings are only noted; then its threads fill them together. */
#include "plan_format.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUCKETS 256

typedef struct pack {
  struct pack *next;
  const void *data;
  char *kind;
  void *memory;
  size_t bytes;
  /* until it is filled: */
  struct pack *waiting;
  mien_node *node;
  mien_status (*fill)(mien_node *n, void *memory);
  size_t packed_from; /* bytes of the constant */
} pack;

struct mien__packs {
  pthread_mutex_t mutex;
  size_t bytes;
  pack *waiting;
  size_t waiting_count;
  pack *buckets[BUCKETS];
};

mien_status mien__packs_create(mien_env *env, struct mien__packs **out, mien_error *error) {
  struct mien__packs *packs = mien__alloc(env, sizeof *packs);
  if (!packs) return mien__no_memory(error, sizeof *packs);
  pthread_mutex_init(&packs->mutex, NULL);
  *out = packs;
  return MIEN_OK;
}

static void pack_destroy(mien_env *env, pack *p) {
  if (!p) return;
  mien__free(env, p->memory);
  mien__free(env, p);
}

void mien__packs_destroy(mien_env *env, struct mien__packs *packs) {
  if (!packs) return;
  for (int b = 0; b < BUCKETS; b++)
    for (pack *p = packs->buckets[b], *next; p; p = next) {
      next = p->next;
      pack_destroy(env, p);
    }
  pthread_mutex_destroy(&packs->mutex);
  mien__free(env, packs);
}

void mien__packs_lock(struct mien__packs *packs) { pthread_mutex_lock(&packs->mutex); }
void mien__packs_unlock(struct mien__packs *packs) { pthread_mutex_unlock(&packs->mutex); }

size_t mien__plan_packed_bytes(const mien_plan *plan) {
  mien__packs_lock(plan->packs);
  size_t bytes = plan->packs->bytes;
  mien__packs_unlock(plan->packs);
  return bytes;
}

void mien__plan_forget(const mien_plan *plan, const void *data, size_t bytes) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data, end = begin + bytes;
  begin = (begin + page - 1) / page * page; /* whole pages inside alone: the others hold something else, too */
  end = end / page * page;
  if (plan->mapped && begin < end) (void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* only an advice */
}

static pack **pack_bucket(struct mien__packs *packs, const void *data) {
  return &packs->buckets[((uintptr_t)data >> 6) * UINT64_C(0x9E3779B97F4A7C15) >> 56];
}

static pack *pack_create(mien_env *env, const void *data, const char *kind, size_t bytes) {
  size_t length = strlen(kind) + 1;
  pack *p = mien__alloc(env, sizeof *p + length);
  void *memory = p ? mien__alloc_unset(env, bytes) : NULL;
  if (!memory) {
    mien__free(env, p);
    return NULL;
  }
  *p = (pack){.data = data, .kind = memcpy(p + 1, kind, length), .memory = memory, .bytes = bytes};
  return p;
}

/* A constant that a session made (shape arithmetic, results of instructions that ran already) lives no longer than its scope,
** and its address may be used again: its packing stays with the scope. */
static mien_status pack_privately(mien_node *n, const void *data, size_t bytes,
                                  mien_status (*fill)(mien_node *n, void *memory), const void **memory) {
  size_t total;
  char *block = mien__add(bytes, 63, &total) ? mien__pool_alloc(n->scope->pool, total) : NULL;
  if (!block) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes for packed constants", bytes);
  block += (64 - (uintptr_t)block % 64) % 64;
  MIEN_TRY(mien__fill_packed(n, data, fill, block));
  *memory = block;
  return MIEN_OK;
}

/* ---- noted while nodes are prepared, filled by all threads */

static void pack_remove(mien_plan *plan, pack *p) {
  pack **at = pack_bucket(plan->packs, p->data);
  while (*at != p) at = &(*at)->next;
  *at = p->next;
  plan->packs->bytes -= p->bytes;
  pack_destroy(plan->env, p);
}

static mien_status fill_packs(mien_node *n, void *arg, int64_t begin, int64_t end) {
  (void)n;
  pack **packs = arg;
  for (int64_t i = begin; i < end; i++) {
    pack *p = packs[i];
    MIEN_TRY(mien__fill_packed(p->node, p->data, p->fill, p->memory));
    mien__plan_forget(p->node->scope->plan, p->data, p->packed_from);
  }
  return MIEN_OK;
}

static mien_status fill_waiting(mien_plan *plan, mien__threads *threads, mien_error *error) {
  struct mien__packs *packs = plan->packs;
  size_t bytes, count = 0;
  if (packs->waiting_count == 0) return MIEN_OK;
  if (!mien__mul(packs->waiting_count, sizeof(pack *), &bytes)) return MIEN_LIMIT;
  pack **all = mien__alloc(plan->env, bytes);
  if (!all) return mien__no_memory(error, bytes);
  for (pack *p = packs->waiting; p; p = p->waiting) all[count++] = p;
  mien_status status = mien__threads_begin(threads, error);
  if (status == MIEN_OK) {
    status = mien__threads_run(threads, NULL, (int64_t)count, 1e6, fill_packs, all);
    mien__threads_rest(threads);
  }
  mien__free(plan->env, all);
  return status;
}

void mien__plan_pack_begin(mien_plan *plan, mien__scope *scope) {
  mien__packs_lock(plan->packs);
  scope->packing = true;
}

mien_status mien__plan_pack_end(mien_plan *plan, mien__scope *scope, mien_status status) {
  struct mien__packs *packs = plan->packs;
  if (status == MIEN_OK) status = fill_waiting(plan, scope->threads, scope->error);
  for (pack *p = packs->waiting, *next; p; p = next) {
    next = p->waiting;
    p->waiting = NULL;
    p->node = NULL;
    if (status != MIEN_OK) pack_remove(plan, p);
  }
  packs->waiting = NULL;
  packs->waiting_count = 0;
  scope->packing = false;
  mien__packs_unlock(packs);
  return status;
}

/* ---- one packing */

static size_t constant_bytes(const mien_node *n, const void *data) {
  size_t bytes = 0;
  for (int i = 0; i < n->in_count; i++)
    if (n->in[i] && n->in[i]->tensor.data == data) bytes = n->in[i]->tensor.bytes;
  return bytes;
}

/* With the lock held. */
static mien_status pack_find(mien_plan *plan, mien_node *n, const void *data, const char *kind, size_t bytes,
                             mien_status (*fill)(mien_node *n, void *memory), bool later, const void **memory) {
  struct mien__packs *packs = plan->packs;
  pack **bucket = pack_bucket(packs, data), *p = *bucket;
  while (p && (p->data != data || p->bytes != bytes || strcmp(p->kind, kind) != 0)) p = p->next;
  if (p) {
    *memory = p->memory;
    return MIEN_OK;
  }
  p = pack_create(plan->env, data, kind, bytes);
  if (!p) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes for packed constants", bytes);
  p->next = *bucket;
  *bucket = p;
  packs->bytes += bytes;
  p->packed_from = constant_bytes(n, data);
  if (later && n->scope->packing) {
    p->node = n;
    p->fill = fill;
    p->waiting = packs->waiting;
    packs->waiting = p;
    packs->waiting_count++;
  } else {
    const mien_status status = mien__fill_packed(n, data, fill, p->memory);
    if (status != MIEN_OK) {
      pack_remove(plan, p);
      return status;
    }
    mien__plan_forget(plan, data, p->packed_from);
  }
  *memory = p->memory;
  return MIEN_OK;
}

mien_status mien__plan_packed(mien_plan *plan, mien_node *n, const void *data, const char *kind, size_t bytes,
                              mien_status (*fill)(mien_node *n, void *memory), bool later, const void **memory) {
  uintptr_t at = (uintptr_t)data, start = (uintptr_t)plan->constants;
  if (at < start || at - start >= plan->section_bytes[MIEN__SECTION_CONSTANTS])
    return pack_privately(n, data, bytes, fill, memory);
  const bool lock = !n->scope->packing; /* else a session that prepares its nodes holds it */
  if (lock) mien__packs_lock(plan->packs);
  const mien_status status = pack_find(plan, n, data, kind, bytes, fill, later, memory);
  if (lock) mien__packs_unlock(plan->packs);
  return status;
}
