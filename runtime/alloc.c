/* alloc.c -- memory of an env through its one allocator function, and pools over it. */
#include "internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT 64u
#define HUGE_PAGE ((size_t)2 << 20)

/* Stands right before each block: what the allocator gave and how much. */
typedef struct header {
  void *base;
  size_t total, bytes;
} header;

static header *header_of(void *pointer) { return (header *)pointer - 1; }

static void *reserve(mien_env *env, size_t bytes, size_t alignment) {
  size_t total;
  if (!mien__add(bytes, sizeof(header) + alignment, &total)) return NULL;
  char *base = env->alloc(env->alloc_context, NULL, 0, total);
  if (!base) return NULL;
  uintptr_t at = ((uintptr_t)base + sizeof(header) + alignment - 1) & ~(uintptr_t)(alignment - 1);
  char *pointer = base + (at - (uintptr_t)base);
  *header_of(pointer) = (header){base, total, bytes};
  return pointer;
}

void *mien__alloc_unset(mien_env *env, size_t bytes) {
  if (bytes < HUGE_PAGE) return reserve(env, bytes, ALIGNMENT);
  void *pointer = reserve(env, bytes, HUGE_PAGE);
  if (pointer) (void)madvise(pointer, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* only an advice */
  return pointer;
}

void *mien__alloc(mien_env *env, size_t bytes) {
  void *pointer = reserve(env, bytes, ALIGNMENT);
  if (pointer) memset(pointer, 0, bytes);
  return pointer;
}

void mien__free(mien_env *env, void *pointer) {
  if (!pointer) return;
  header h = *header_of(pointer);
  env->alloc(env->alloc_context, h.base, h.total, 0);
}

void *mien__realloc(mien_env *env, void *pointer, size_t bytes) {
  if (!pointer) return mien__alloc(env, bytes);
  size_t old = header_of(pointer)->bytes;
  void *grown = mien__alloc(env, bytes);
  if (!grown) return NULL;
  memcpy(grown, pointer, old < bytes ? old : bytes);
  mien__free(env, pointer);
  return grown;
}

/* ---- pools */

#define BLOCK_BYTES ((size_t)64 << 10)

typedef struct mien__block {
  struct mien__block *next;
  size_t used, size;
  _Alignas(16) char data[];
} block;

void mien__pool_init(mien__pool *pool, mien_env *env, size_t budget) {
  *pool = (mien__pool){.env = env, .budget = budget ? budget : SIZE_MAX};
}

void mien__pool_clear(mien__pool *pool) {
  for (block *b = pool->blocks, *next; b; b = next) {
    next = b->next;
    mien__free(pool->env, b);
  }
  pool->blocks = NULL;
  pool->used = 0;
}

void *mien__pool_alloc(mien__pool *pool, size_t bytes) {
  size_t rounded;
  if (!mien__add(bytes ? bytes : 1, 15, &rounded)) return NULL;
  rounded &= ~(size_t)15;
  block *b = pool->blocks;
  if (!b || b->size - b->used < rounded) {
    /* Small pools stay small; a large request gets a block of its own behind the current one. */
    size_t size = rounded > BLOCK_BYTES / 4 ? rounded : b ? BLOCK_BYTES : BLOCK_BYTES / 16;
    size = size < rounded ? rounded : size;
    if (pool->used > pool->budget || size > pool->budget - pool->used) size = rounded;
    if (pool->used > pool->budget || size > pool->budget - pool->used) return NULL;
    size_t total;
    if (!mien__add(size, sizeof(block), &total)) return NULL;
    block *fresh = mien__alloc(pool->env, total);
    if (!fresh) return NULL;
    fresh->size = size;
    pool->used += size;
    bool keep_current = b && rounded > BLOCK_BYTES / 4 && b->size - b->used > 0;
    if (keep_current) {
      fresh->next = b->next;
      b->next = fresh;
    } else {
      fresh->next = b;
      pool->blocks = fresh;
    }
    b = fresh;
  }
  void *result = b->data + b->used;
  b->used += rounded;
  return result;
}

void *mien__pool_copy(mien__pool *pool, const void *data, size_t bytes) {
  void *copy = mien__pool_alloc(pool, bytes);
  if (copy && bytes) memcpy(copy, data, bytes);
  return copy;
}

char *mien__pool_string(mien__pool *pool, const char *data, size_t length) {
  size_t bytes;
  if (!mien__add(length, 1, &bytes)) return NULL;
  char *copy = mien__pool_alloc(pool, bytes);
  if (copy && length) memcpy(copy, data, length);
  return copy;
}

char *mien__pool_format(mien__pool *pool, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0) return NULL;
  char *text = mien__pool_alloc(pool, (size_t)n + 1);
  if (!text) return NULL;
  va_start(args, format);
  vsnprintf(text, (size_t)n + 1, format, args);
  va_end(args);
  return text;
}
