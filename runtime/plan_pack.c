/* Packed constants: made once a plan, shared by its sessions, freed with it. */
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
} pack;

struct mien__packs {
  pthread_mutex_t mutex;
  size_t bytes;
  pack *buckets[BUCKETS];
};

mien_status mien__packs_create(mien_env *env, struct mien__packs **out, mien_error *error) {
  struct mien__packs *packs = mien__alloc(env, sizeof *packs);
  if (!packs) return mien__no_memory(error, sizeof *packs);
  pthread_mutex_init(&packs->mutex, NULL);
  *out = packs;
  return MIEN_OK;
}

void mien__packs_destroy(mien_env *env, struct mien__packs *packs) {
  if (!packs) return;
  for (int b = 0; b < BUCKETS; b++)
    for (pack *p = packs->buckets[b], *next; p; p = next) {
      next = p->next;
      mien__free(env, p->memory);
      mien__free(env, p);
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
  void *memory = p ? mien__alloc(env, bytes) : NULL;
  if (!memory) {
    mien__free(env, p);
    return NULL;
  }
  *p = (pack){.data = data, .kind = memcpy(p + 1, kind, length), .memory = memory, .bytes = bytes};
  return p;
}

/* A constant that a session made (shape arithmetic, results of instructions that ran already) lives no longer than its scope,
** and its address may be used again: its packing stays with the scope. */
static mien_status pack_privately(mien_node *n, size_t bytes, mien_status (*fill)(mien_node *n, void *memory),
                                  const void **memory) {
  size_t total;
  char *block = mien__add(bytes, 63, &total) ? mien__pool_alloc(n->scope->pool, total) : NULL;
  if (!block) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes for packed constants", bytes);
  block += (64 - (uintptr_t)block % 64) % 64;
  MIEN_TRY(fill(n, block));
  *memory = block;
  return MIEN_OK;
}

mien_status mien__plan_packed(mien_plan *plan, mien_node *n, const void *data, const char *kind, size_t bytes,
                              mien_status (*fill)(mien_node *n, void *memory), const void **memory) {
  uintptr_t at = (uintptr_t)data, start = (uintptr_t)plan->constants;
  if (at < start || at - start >= plan->section_bytes[MIEN__SECTION_CONSTANTS])
    return pack_privately(n, bytes, fill, memory);
  struct mien__packs *packs = plan->packs;
  size_t packed_from = 0; /* bytes of the constant */
  for (int i = 0; i < n->in_count; i++)
    if (n->in[i] && n->in[i]->tensor.data == data) packed_from = n->in[i]->tensor.bytes;
  mien_status status = MIEN_OK;
  mien__packs_lock(packs);
  pack **bucket = pack_bucket(packs, data), *p = *bucket;
  while (p && (p->data != data || p->bytes != bytes || strcmp(p->kind, kind) != 0)) p = p->next;
  if (!p) {
    p = pack_create(plan->env, data, kind, bytes);
    status =
        p ? fill(n, p->memory) : mien_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes for packed constants", bytes);
    if (status == MIEN_OK) {
      p->next = *bucket;
      *bucket = p;
      packs->bytes += bytes;
      mien__plan_forget(plan, data, packed_from);
    } else if (p) {
      mien__free(plan->env, p->memory);
      mien__free(plan->env, p);
    }
  }
  if (status == MIEN_OK) *memory = p->memory;
  mien__packs_unlock(packs);
  return status;
}
