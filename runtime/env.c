/* env.c -- the env: allocator, limits, operator table. */
#include "internal.h"
#include "ops/kernels/select.h"

#include <stdlib.h>

/* Generated from the file names in ops/. */
extern const mien_op *const mien__builtin_ops[];

static void *default_alloc(void *context, void *pointer, size_t old_size, size_t new_size) {
  (void)context, (void)old_size;
  if (new_size == 0) {
    free(pointer);
    return NULL;
  }
  return realloc(pointer, new_size);
}

static void set_default(uint64_t *limit, uint64_t value) {
  if (*limit == 0) *limit = value;
}

mien_status mien_env_create(const mien_env_options *options, mien_env **out, mien_error *error) {
  mien_env_options o = options ? *options : (mien_env_options){0};
  if (!o.alloc) o.alloc = default_alloc;
  mien_limits *l = &o.limits;
  if (l->depth == 0) l->depth = 100;
  if (l->nodes == 0) l->nodes = 1000000;
  set_default(&l->tensor_bytes, (uint64_t)1 << 31);
  set_default(&l->load_bytes, (uint64_t)8 << 30);
  set_default(&l->arena_bytes, (uint64_t)8 << 30);
  set_default(&l->folded_bytes, (uint64_t)64 << 20);
  set_default(&l->pixels, (uint64_t)64 << 20);
  const mien_math *math;
  MIEN_TRY(mien__math_select(&math, error));
  mien_env *env = o.alloc(o.alloc_context, NULL, 0, sizeof *env);
  if (!env) return mien__no_memory(error, sizeof *env);
  *env = (mien_env){.alloc = o.alloc, .alloc_context = o.alloc_context, .limits = *l, .host = mien__host};
  env->host.math = math;
  atomic_init(&env->references, 1);
  for (size_t i = 0; mien__builtin_ops[i]; i++) {
    mien_status status = mien__registry_add(env, mien__builtin_ops[i], NULL, NULL, error);
    if (status != MIEN_OK) {
      mien_env_destroy(env);
      return status;
    }
  }
  *out = env;
  return MIEN_OK;
}

void mien__env_retain(mien_env *env) { atomic_fetch_add(&env->references, 1); }

void mien_env_destroy(mien_env *env) {
  if (!env || atomic_fetch_sub(&env->references, 1) != 1) return;
  mien__registry_clear(env);
  mien__libraries_close(env);
  env->alloc(env->alloc_context, env, sizeof *env, 0);
}
