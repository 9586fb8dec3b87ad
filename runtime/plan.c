/* plan.c -- opening, closing and asking. */
#include "plan_format.h"

#include "plan.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- open, close */

static mien_status plan_create(mien_env *env, uint32_t flags, mien_plan **out, mien_error *error) {
  if (flags & ~(uint32_t)(MIEN_PLAN_COPY | MIEN_PLAN_NO_PLUGINS))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "unknown flags 0x%x", flags);
  mien_plan *plan = mien__alloc(env, sizeof *plan);
  if (!plan) return mien__no_memory(error, sizeof *plan);
  mien__env_retain(env);
  plan->env = env;
  plan->flags = flags;
  atomic_init(&plan->references, 1);
  mien__pool_init(&plan->pool, env, env->limits.load_bytes);
  mien_status status = mien__packs_create(env, &plan->packs, error);
  if (status != MIEN_OK)
    mien_plan_close(plan);
  else
    *out = plan;
  return status;
}

static mien_status plan_check(mien_plan *plan, mien_plan **out, mien_error *error) {
  mien_status status = mien__plan_read(plan, error);
  if (status == MIEN_OK) status = mien__plan_check_program(plan, error);
  if (status == MIEN_OK) status = mien__plan_check_facts(plan, error);
  if (status == MIEN_OK)
    *out = plan;
  else
    mien_plan_close(plan);
  return status;
}

mien_status mien_plan_open(mien_env *env, const char *path, uint32_t flags, mien_plan **out, mien_error *error) {
  if (!env || !path || !out) return mien__fail(error, MIEN_INVALID_ARGUMENT, "env, path and plan must not be NULL");
  mien_plan *plan = NULL;
  MIEN_TRY(plan_create(env, flags, &plan, error));
  mien__file file = {0};
  mien_status status = mien__file_open(env, path, (flags & MIEN_PLAN_COPY) != 0, &file, error);
  if (status != MIEN_OK) {
    mien_plan_close(plan);
    return status;
  }
  plan->file = file.data;
  plan->file_size = file.size;
  plan->mapped = file.mapped;
  return plan_check(plan, out, error);
}

mien_status mien_plan_open_memory(mien_env *env, const void *data, size_t size, uint32_t flags, mien_plan **out,
                                  mien_error *error) {
  if (!env || (!data && size) || !out)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "env, data and plan must not be NULL");
  mien_plan *plan = NULL;
  MIEN_TRY(plan_create(env, flags, &plan, error));
  uint8_t *copy = mien__alloc(env, size);
  if (!copy) {
    mien_plan_close(plan);
    return mien__no_memory(error, size);
  }
  if (size) memcpy(copy, data, size);
  plan->file = copy;
  plan->file_size = size;
  return plan_check(plan, out, error);
}

void mien__plan_retain(mien_plan *plan) { atomic_fetch_add(&plan->references, 1); }

void mien_plan_close(mien_plan *plan) {
  if (!plan || atomic_fetch_sub(&plan->references, 1) != 1) return;
  mien_env *env = plan->env;
  mien__file file = {.data = plan->file, .size = plan->file_size, .mapped = plan->mapped};
  mien__packs_destroy(env, plan->packs);
  free(plan->json);
  mien__pool_clear(&plan->pool);
  mien__file_close(env, &file);
  mien__free(env, plan);
  mien_env_destroy(env);
}

/* ---------------------------------------------------------------- ports */

size_t mien_plan_input_count(const mien_plan *plan) { return plan->program.input_count; }
size_t mien_plan_output_count(const mien_plan *plan) { return plan->program.output_count; }

mien_status mien_plan_input(const mien_plan *plan, size_t index, mien_port *port) {
  if (index >= plan->program.input_count) return MIEN_INVALID_ARGUMENT;
  *port = plan->program.inputs[index].port;
  return MIEN_OK;
}

mien_status mien_plan_output(const mien_plan *plan, size_t index, mien_port *port) {
  if (index >= plan->program.output_count) return MIEN_INVALID_ARGUMENT;
  *port = plan->program.outputs[index].port;
  return MIEN_OK;
}

/* ---------------------------------------------------------------- facts */

const char *mien_plan_notice(const mien_plan *plan) { return plan->notice; }

mien_status mien_plan_picture(const mien_plan *plan, mien_picture *picture, mien_error *error) {
  const Mien__Plan__Picture *p = plan->meta->picture;
  if (!p) return mien__fail(error, MIEN_UNSUPPORTED, "the plan does not say how a picture becomes an input");
  *picture = (mien_picture){.input = p->input,
                            .width = (int32_t)p->width,
                            .height = (int32_t)p->height,
                            .resize = p->resize,
                            .color = p->color,
                            .scale = p->scale};
  for (int c = 0; c < 3; c++) {
    picture->mean[c] = p->mean[c];
    picture->std[c] = p->std[c];
  }
  return MIEN_OK;
}

const char *const *mien_plan_labels(const mien_plan *plan, size_t *count) {
  *count = plan->meta->n_labels;
  return (const char *const *)plan->meta->labels;
}

const char *mien_plan_json(const mien_plan *plan) {
  mien_plan *cache = (mien_plan *)(uintptr_t)plan; /* the text changes nothing that callers see */
  mien__packs_lock(plan->packs);
  if (!cache->json) cache->json = mien__plan_json_text(plan);
  const char *json = cache->json;
  mien__packs_unlock(plan->packs);
  return json;
}
