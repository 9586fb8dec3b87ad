/* execute.c -- one run: pointers, nodes, outputs. */
#include "session.h"

#include <string.h>

/* ---------------------------------------------------------------- outputs */

/* The value behind an output name: a port's or a kept one. */
static mien_status find_output(const mien_session *s, const char *name, uint32_t *value, mien_error *error) {
  const mien__program *p = &s->plan->program;
  for (uint32_t i = 0; i < p->output_count; i++)
    if (strcmp(p->outputs[i].port.name, name) == 0) {
      *value = p->outputs[i].value - 1;
      return MIEN_OK;
    }
  for (size_t i = 0; i < s->kept_count; i++)
    if (strcmp(s->kept[i].name, name) == 0) {
      *value = s->kept[i].value - 1;
      return MIEN_OK;
    }
  return mien__fail(error, MIEN_INVALID_ARGUMENT,
                    "'%.100s' is no output of the plan and no kept value; the first output is '%.100s'", name,
                    p->output_count ? p->outputs[0].port.name : "");
}

static bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
  uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
  return a_bytes && b_bytes && (x < y ? y - x < a_bytes : x - y < b_bytes);
}

static bool aligned(const void *data, int32_t dtype) {
  size_t size = mien_dtype_bytes(dtype);
  return (uintptr_t)data % (size > 8 ? 8 : size) == 0;
}

typedef struct target {
  uint32_t value; /* index */
  bool direct;    /* computed where it is wanted */
  void *data;     /* where it is wanted */
} target;

static mien_status name_targets(const mien_session *s, const mien_binding *outputs, size_t count, target *targets,
                                mien_error *error) {
  for (size_t i = 0; i < count; i++) {
    if (!outputs[i].name) return mien__fail(error, MIEN_INVALID_ARGUMENT, "output %zu has no name", i);
    for (size_t k = 0; k < i; k++)
      if (strcmp(outputs[i].name, outputs[k].name) == 0)
        return mien__fail(error, MIEN_INVALID_ARGUMENT, "output '%.100s' is asked for twice", outputs[i].name);
    MIEN_TRY(find_output(s, outputs[i].name, &targets[i].value, error));
    targets[i].data = outputs[i].tensor.data;
  }
  return MIEN_OK;
}

static mien_status check_overlaps(const mien_session *s, const mien__layout *l, const mien_binding *outputs, size_t i,
                                  const target *targets, mien_error *error) {
  size_t bytes = l->values[targets[i].value].tensor.bytes;
  for (size_t k = 0; k < i; k++)
    if (overlap(targets[i].data, bytes, targets[k].data, l->values[targets[k].value].tensor.bytes))
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "the buffers of outputs '%.100s' and '%.100s' overlap",
                        outputs[k].name, outputs[i].name);
  for (uint32_t k = 0; k < s->plan->program.input_count; k++)
    if (overlap(targets[i].data, bytes, s->in[k].data, s->in[k].bytes))
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "the buffer of output '%.100s' overlaps that of input '%.100s'",
                        outputs[i].name, s->plan->program.inputs[k].port.name);
  return MIEN_OK;
}

/* The caller's buffers against the sizes, which are known. */
static mien_status check_targets(const mien_session *s, const mien__layout *l, const mien_binding *outputs,
                                 size_t count, const target *targets, mien_error *error) {
  for (size_t i = 0; i < count; i++) {
    const mien_tensor *t = &l->values[targets[i].value].tensor;
    char text[256];
    if (!targets[i].data) continue;
    if (outputs[i].tensor.bytes < t->bytes)
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "output '%.100s' is %s and needs %zu bytes, its buffer has %zu",
                        outputs[i].name, mien__type_text(&t->type, NULL, text, sizeof text), t->bytes,
                        outputs[i].tensor.bytes);
    MIEN_TRY(check_overlaps(s, l, outputs, i, targets, error));
  }
  return MIEN_OK;
}

/* Room for outputs that are wanted in memory of the session and are nobody's alone. `elsewhere`: those that need it. */
static mien_status reserve_spill(mien_session *s, const mien__layout *l, target *targets, size_t count,
                                 const bool *elsewhere, mien_error *error) {
  size_t total = 64, bytes;
  for (size_t i = 0; i < count; i++)
    if (elsewhere[i] &&
        (!mien__add(total, l->values[targets[i].value].tensor.bytes, &bytes) || !mien__add(bytes, 64, &total)))
      return mien__fail(error, MIEN_LIMIT, "the outputs exceed the address space");
  if (total > s->spill_bytes) {
    mien__free(s->env, s->spill);
    s->spill_bytes = 0;
    s->spill = mien__alloc(s->env, total);
    if (!s->spill) return mien__no_memory(error, total);
    s->spill_bytes = total;
  }
  size_t at = 0;
  for (size_t i = 0; i < count; i++) {
    if (!elsewhere[i]) continue;
    targets[i].data = s->spill + at;
    at += (l->values[targets[i].value].tensor.bytes + 63) / 64 * 64;
  }
  return MIEN_OK;
}

/* What is not there yet is copied; only now the caller's bindings change. */
static void finish(const mien__layout *l, mien_binding *outputs, size_t count, const target *targets) {
  for (size_t i = 0; i < count; i++) {
    const mien_tensor *t = &l->values[targets[i].value].tensor;
    if (!targets[i].direct && t->bytes) memcpy(targets[i].data, t->data, t->bytes);
    if (!outputs[i].tensor.data) outputs[i].tensor.bytes = t->bytes;
    outputs[i].tensor.data = targets[i].data;
    outputs[i].tensor.type = t->type;
  }
}

/* ---------------------------------------------------------------- sizes known */

mien_status mien__execute_reserve(mien_session *s, size_t bytes, mien_error *error) {
  if (bytes < 64) bytes = 64; /* values without bytes have an address too */
  if (bytes <= s->arena_bytes) return MIEN_OK;
  mien__free(s->env, s->arena); /* first, so that both need not fit */
  s->arena_bytes = 0;
  s->arena = mien__alloc(s->env, bytes);
  if (!s->arena) return mien__no_memory(error, bytes);
  s->arena_bytes = bytes;
  return MIEN_OK;
}

static void point_roots(const mien_session *s, mien__layout *l) {
  for (uint32_t v = 0; v < l->value_count; v++) {
    if (l->root[v] != v) continue;
    if (l->home[v] == MIEN__HOME_ARENA) l->where[v] = s->arena + l->offset[v];
    if (l->home[v] == MIEN__HOME_INPUT) l->where[v] = s->in[l->input[v]].data;
  }
}

/* An output's value is computed in the caller's buffer where it has memory of its own, and nothing else is in there. */
static bool may_write_to(const mien__layout *l, const target *t) {
  const uint32_t root = l->root[t->value];
  const mien_tensor *tensor = &l->values[t->value].tensor;
  return l->home[root] == MIEN__HOME_ARENA && aligned(t->data, tensor->type.dtype) && l->at[t->value] == 0 &&
         l->values[root].tensor.bytes == tensor->bytes;
}

static mien_status point_outputs(mien_session *s, mien__layout *l, target *targets, size_t count, bool *elsewhere,
                                 mien_error *error) {
  for (size_t i = 0; i < count; i++) {
    target *t = &targets[i];
    uint32_t root = l->root[t->value];
    bool taken = false; /* another output of the same bytes comes first */
    for (size_t k = 0; k < i; k++) taken = taken || (targets[k].direct && l->root[targets[k].value] == root);
    if (t->data) {
      t->direct = !taken && may_write_to(l, t);
      if (t->direct) l->where[root] = t->data;
    } else {
      t->direct = !taken && l->home[root] == MIEN__HOME_ARENA;
      if (t->direct)
        t->data = (char *)l->where[root] + l->at[t->value];
      else
        elsewhere[i] = true;
    }
  }
  return reserve_spill(s, l, targets, count, elsewhere, error);
}

static mien_status run_node(mien_session *s, mien__layout *l, uint32_t i) {
  mien__watch *watch = s->watch.observe ? &s->watch : NULL;
  if (watch) mien__watch_node(watch, i, false);
  mien_status status = mien__layout_failed(l, &l->nodes[i], mien__node_run(&l->nodes[i]));
  if (watch) mien__watch_node(watch, i, true);
  return status;
}

static mien_status execute_static(mien_session *s, mien__layout *l, mien_binding *outputs, size_t count,
                                  target *targets, bool *elsewhere, mien_error *error) {
  const mien__program *p = &s->plan->program;
  MIEN_TRY(check_targets(s, l, outputs, count, targets, error));
  MIEN_TRY(mien__execute_reserve(s, l->arena_bytes, error));
  point_roots(s, l);
  MIEN_TRY(point_outputs(s, l, targets, count, elsewhere, error));
  for (uint32_t v = 0; v < l->value_count; v++)
    if (!l->values[v].constant)
      l->values[v].tensor.data = l->at[v] ? (char *)l->where[l->root[v]] + l->at[v] : l->where[l->root[v]];
  for (uint32_t i = 0; i < p->instruction_count; i++)
    if (!l->skip[i]) MIEN_TRY(run_node(s, l, i));
  finish(l, outputs, count, targets);
  return MIEN_OK;
}

/* ---------------------------------------------------------------- sizes that depend on data */

static void free_value(mien__layout *l, uint32_t v, bool *owned) {
  if (!owned[v]) return;
  mien__free(l->scope.env, l->values[v].tensor.data);
  l->values[v] = (mien__value){0};
  owned[v] = false;
}

/* Every operand is there with its contents, so a node is evaluated as folding does. */
static mien_status run_instruction(mien_session *s, mien__layout *l, uint32_t i, mien__value **operands, bool *owned) {
  const mien__instruction *in = &s->plan->program.instructions[i];
  mien__watch *watch = s->watch.observe ? &s->watch : NULL;
  mien_node node;
  uint32_t extra = s->plan->program.value_count;
  mien_status status = mien__layout_node(s->plan, l, i, &extra, &node, operands);
  if (watch) mien__watch_node(watch, i, false);
  if (status == MIEN_OK) status = mien__node_evaluate(&node);
  if (watch) mien__watch_node(watch, i, true);
  MIEN_TRY(mien__layout_failed(l, &node, status));
  for (int k = 0; k < node.out_count; k++)
    if (node.out[k]) owned[node.out[k] - l->values] = true;
  for (uint32_t v = s->plan->program.value_count; v < extra; v++) free_value(l, v, owned);
  for (int k = 0; k < in->out_count; k++) {
    if (!in->out[k]) continue;
    int64_t elements;
    mien_tensor *t = &l->values[in->out[k] - 1].tensor;
    MIEN_TRY(mien__type_size(s->env, &t->type, &elements, &t->bytes, l->scope.error));
    if (l->last[in->out[k] - 1] == i) free_value(l, in->out[k] - 1, owned);
  }
  for (int k = 0; k < in->in_count; k++)
    if (in->in[k] && l->last[in->in[k] - 1] == i) free_value(l, in->in[k] - 1, owned);
  return MIEN_OK;
}

static size_t most_operands(const mien__program *p) {
  size_t most = 1;
  for (uint32_t i = 0; i < p->instruction_count; i++) {
    size_t operands = (size_t)p->instructions[i].in_count + (size_t)mien__layout_outputs(&p->instructions[i]);
    most = operands > most ? operands : most;
  }
  return most;
}

static mien_status run_dynamic(mien_session *s, mien__layout *l, mien__value **operands, bool *owned) {
  const mien__program *p = &s->plan->program;
  for (uint32_t i = 0; i < p->input_count; i++) {
    mien__value *v = &l->values[p->inputs[i].value - 1];
    *v = (mien__value){.tensor = s->in[i], .constant = true};
  }
  for (uint32_t i = 0; i < p->instruction_count; i++) MIEN_TRY(run_instruction(s, l, i, operands, owned));
  return MIEN_OK;
}

static mien_status execute_dynamic(mien_session *s, mien__layout *l, mien_binding *outputs, size_t count,
                                   target *targets, bool *elsewhere, mien_error *error) {
  const mien__program *p = &s->plan->program;
  size_t operand_bytes = most_operands(p) * sizeof(mien__value *);
  mien__value **operands = mien__alloc(s->env, operand_bytes + l->value_count);
  if (!operands) return mien__no_memory(error, operand_bytes + l->value_count);
  bool *owned = (bool *)operands + operand_bytes;
  mien__pool run_pool, *pool = l->scope.pool; /* contents and packings of this run only */
  mien__pool_init(&run_pool, s->env, s->env->limits.load_bytes);
  l->scope.pool = &run_pool;
  mien_status status = run_dynamic(s, l, operands, owned);
  if (status == MIEN_OK) status = check_targets(s, l, outputs, count, targets, error);
  for (size_t i = 0; i < count; i++) elsewhere[i] = !targets[i].data;
  if (status == MIEN_OK) status = reserve_spill(s, l, targets, count, elsewhere, error);
  if (status == MIEN_OK) finish(l, outputs, count, targets);
  for (uint32_t v = 0; v < p->value_count; v++) {
    free_value(l, v, owned);
    if (!p->values[v].constant)
      l->values[v] = (mien__value){0};
    else
      l->values[v].ints = NULL; /* was in the run's pool */
  }
  l->scope.pool = pool;
  mien__pool_clear(&run_pool);
  mien__free(s->env, operands);
  return status;
}

/* ---------------------------------------------------------------- */

/* Room for so many outputs, kept from run to run: runs after the first take no memory. */
static mien_status reserve_targets(mien_session *s, size_t count, mien_error *error) {
  size_t bytes;
  if (count > s->target_room || !s->targets) {
    if (!mien__mul(count, sizeof(target) + sizeof(bool), &bytes))
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "%zu outputs", count);
    void *targets = mien__alloc(s->env, bytes + 1);
    if (!targets) return mien__no_memory(error, bytes);
    mien__free(s->env, s->targets);
    s->targets = targets;
    s->target_room = count;
  }
  memset(s->targets, 0, count * (sizeof(target) + sizeof(bool)));
  return MIEN_OK;
}

mien_status mien__execute(mien_session *s, mien__layout *l, mien_binding *outputs, size_t count, mien_error *error) {
  MIEN_TRY(reserve_targets(s, count, error));
  target *targets = s->targets;
  bool *elsewhere = (bool *)(targets + count);
  mien_status status = name_targets(s, outputs, count, targets, error);
  if (status == MIEN_OK) status = mien__threads_begin(s->threads, error);
  if (status == MIEN_OK) {
    mien__watch *before = mien__threads_watch(s->threads, s->watch.observe ? &s->watch : NULL);
    l->scope.error = error;
    atomic_store(&l->scope.failed, 0);
    status = l->dynamic ? execute_dynamic(s, l, outputs, count, targets, elsewhere, error)
                        : execute_static(s, l, outputs, count, targets, elsewhere, error);
    l->scope.error = NULL;
    mien__threads_rest(s->threads);
    (void)mien__threads_watch(s->threads, before);
  }
  return status;
}
