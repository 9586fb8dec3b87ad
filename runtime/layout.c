/* layout.c -- from sizes of inputs to prepared nodes and a memory plan. */
#include "session.h"

#include <string.h>

#define LEAST_AHEAD ((size_t)16 << 10) /* bytes of weights: fewer come fast enough */

static void *layout_alloc(mien__layout *l, size_t count, size_t size, mien_error *error) {
  size_t bytes;
  void *memory = mien__mul(count, size, &bytes) ? mien__pool_alloc(&l->pool, bytes) : NULL;
  if (!memory) (void)mien__no_memory(error, count * size);
  return memory;
}

mien_status mien__layout_failed(mien__layout *l, const mien_node *node, mien_status status) {
  if (status != MIEN_OK && !atomic_load(&l->scope.failed))
    return mien__fail(l->scope.error, status, "node '%.80s' (%s-%d): failed: %s", node->name, node->record->op->name,
                      node->record->op->since, mien_status_text(status));
  return status;
}

/* ---------------------------------------------------------------- nodes and types */

int mien__layout_outputs(const mien__instruction *in) {
  const mien__signature *signature = &in->record->signature;
  int count = in->out_count;
  while (count < signature->out_count && !signature->out[count].optional && !signature->out[count].variadic) count++;
  return count;
}

static bool may_be_absent(const mien__signature *signature, int out) {
  return out < signature->out_count && signature->out[out].optional;
}

mien_status mien__layout_node(const mien_plan *plan, mien__layout *l, uint32_t instruction, uint32_t *extra,
                              mien_node *node, mien__value **operands) {
  const mien__instruction *in = &plan->program.instructions[instruction];
  for (int k = 0; k < in->in_count; k++) operands[k] = in->in[k] ? &l->values[in->in[k] - 1] : NULL;
  mien__value **out = operands + in->in_count;
  int out_count = mien__layout_outputs(in);
  for (int k = 0; k < out_count; k++) {
    if (k < in->out_count && in->out[k])
      out[k] = &l->values[in->out[k] - 1];
    else
      out[k] = may_be_absent(&in->record->signature, k) ? NULL : &l->values[(*extra)++];
  }
  return mien__node_init(node, &l->scope, in->record, in->name, in->attrs, in->attr_count, operands, in->in_count, out,
                         out_count);
}

static bool open_type(const mien_type *type) {
  bool open = type->rank < 0 || type->dtype == MIEN_NONE;
  for (int d = 0; d < type->rank; d++) open = open || type->dim[d] < 0;
  return open;
}

static bool has_open_output(const mien_node *n) {
  for (int i = 0; i < n->out_count; i++)
    if (n->out[i] && open_type(&n->out[i]->tensor.type)) return true;
  return false;
}

/* Results that follow from shapes and constants are constants from here on, and what computes nothing else is not run. */
static bool settle(mien_node *n) {
  bool settled = true;
  if ((n->record->op->flags & MIEN_OP_VIEW) && n->in[0]->constant && n->out[0]) {
    n->out[0]->tensor.data = n->in[0]->tensor.data;
    n->out[0]->constant = true;
  }
  for (const mien__part *b = n->blocks; b; b = b->next) {
    mien__value *out = n->out[b->out];
    const mien__value *in = n->in[b->in];
    if (b->joins || !out || out->constant || !in->constant || !in->tensor.data) continue;
    out->tensor.data = (char *)in->tensor.data + (size_t)b->first * mien_dtype_bytes(in->tensor.type.dtype);
    out->constant = true;
  }
  for (int i = 0; i < n->out_count; i++) {
    mien__value *v = n->out[i];
    if (!v || v->constant) continue;
    v->constant = v->known != NULL;
    if (v->constant)
      v->tensor.data = (void *)(uintptr_t)v->known; /* constants are only read */
    else
      settled = false;
  }
  return settled;
}

static mien_status set_bytes(mien__layout *l, mien_node *n, mien_error *error) {
  for (int i = 0; i < n->out_count; i++) {
    int64_t count;
    if (n->out[i])
      MIEN_TRY(mien__type_size(l->scope.env, &n->out[i]->tensor.type, &count, &n->out[i]->tensor.bytes, error));
  }
  return MIEN_OK;
}

/* MIEN_OK and l->dynamic where a size depends on data. */
static mien_status infer_node(mien_session *s, mien__layout *l, uint32_t i, uint32_t *extra, mien_error *error) {
  const mien__instruction *in = &s->plan->program.instructions[i];
  mien_node *n = &l->nodes[i];
  mien__value **operands =
      layout_alloc(l, (size_t)in->in_count + (size_t)mien__layout_outputs(in), sizeof(mien__value *), error);
  if (!operands) return MIEN_NO_MEMORY;
  mien_error own = {0};
  l->scope.error = &own;
  mien_status status = mien__layout_node(s->plan, l, i, extra, n, operands);
  if (status == MIEN_OK) status = mien__node_infer(n);
  l->dynamic = (status == MIEN_OK || status == MIEN_UNSUPPORTED) && has_open_output(n);
  status = l->dynamic ? MIEN_OK : mien__layout_failed(l, n, status);
  l->scope.error = error;
  if (status != MIEN_OK && error) *error = own;
  if (status != MIEN_OK || l->dynamic) return status;
  MIEN_TRY(set_bytes(l, n, error));
  l->settled[i] = settle(n);
  return MIEN_OK;
}

static mien_status infer_nodes(mien_session *s, mien__layout *l, mien_error *error) {
  const mien__program *p = &s->plan->program;
  uint32_t extra = p->value_count;
  for (uint32_t i = 0; i < p->instruction_count && !l->dynamic; i++) MIEN_TRY(infer_node(s, l, i, &extra, error));
  atomic_store(&l->scope.failed, 0);
  return MIEN_OK;
}

/* ---------------------------------------------------------------- memory */

static mien_status plan_arena(const mien__program *p, mien__layout *l, mien_error *error) {
  mien_env *env = l->scope.env;
  mien__life *lives = mien__alloc(env, ((size_t)l->value_count + 1) * sizeof *lives);
  if (!lives) return mien__no_memory(error, ((size_t)l->value_count + 1) * sizeof *lives);
  size_t count = 0;
  for (uint32_t i = 0; i < p->instruction_count; i++) { /* in the order of definition: independent of value numbers */
    const mien_node *n = &l->nodes[i];
    for (int k = 0; !l->settled[i] && k < n->out_count; k++) {
      if (!n->out[k] || n->out[k]->constant) continue;
      uint32_t v = (uint32_t)(n->out[k] - l->values);
      if (l->root[v] != v) continue;
      l->offset[v] = count; /* which life, until it has a place */
      lives[count++] =
          (mien__life){.bytes = l->values[v].tensor.bytes, .first = (int32_t)l->first[v], .last = (int32_t)l->last[v]};
    }
  }
  mien_status status = mien__arena_plan(env, lives, count, &l->arena_bytes, &l->live_bytes, error);
  for (uint32_t v = 0; status == MIEN_OK && v < l->value_count; v++)
    if (l->root[v] == v && l->home[v] == MIEN__HOME_ARENA) l->offset[v] = lives[l->offset[v]].offset;
  mien__free(env, lives);
  return status;
}

/* Values share bytes as long as that makes the arena no larger: a block keeps all of its root alive, and what is joined has its
** room from the first part on. */
static mien_status plan_memory(const mien_session *s, mien__layout *l, mien_error *error) {
  static const uint32_t ways[] = {MIEN__SHARE_BLOCKS | MIEN__SHARE_JOINS, MIEN__SHARE_BLOCKS, MIEN__SHARE_JOINS, 0};
  const mien__program *p = &s->plan->program;
  mien__layout_share(s, l, ways[0]);
  if (!l->shared) return plan_arena(p, l, error);
  mien__layout_share(s, l, 0);
  MIEN_TRY(plan_arena(p, l, error));
  const size_t most = l->arena_bytes;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    mien__layout_share(s, l, ways[i]);
    MIEN_TRY(plan_arena(p, l, error));
    if (l->arena_bytes <= most) break;
  }
  return MIEN_OK;
}

static mien_status prepare_each(const mien_session *s, mien__layout *l) {
  for (uint32_t i = 0; i < s->plan->program.instruction_count; i++) {
    mien_node *n = &l->nodes[i];
    if (l->skip[i]) continue;
    MIEN_TRY(mien__layout_failed(l, n, mien__node_prepare(n)));
    if (n->scratch_bytes > l->scratch_bytes) l->scratch_bytes = n->scratch_bytes;
  }
  return MIEN_OK;
}

/* Of the nodes after each one, the first whose weights are worth fetching while threads wait for that one's end. */
static void plan_ahead(const mien_session *s, mien__layout *l) {
  mien__range next = {0};
  for (uint32_t i = s->plan->program.instruction_count; i-- > 0;) {
    mien_node *n = &l->nodes[i];
    if (l->skip[i]) continue;
    n->ahead = next;
    const bool packed = n->weights.bytes > 0;
    for (int k = 0; k < n->in_count && !packed; k++)
      if (n->in[k] && n->in[k]->constant && n->in[k]->tensor.bytes > n->weights.bytes)
        n->weights = (mien__range){n->in[k]->tensor.data, n->in[k]->tensor.bytes};
    if (n->weights.bytes >= LEAST_AHEAD) next = n->weights;
  }
}

static mien_status prepare_nodes(mien_session *s, mien__layout *l) {
  mien__plan_pack_begin(s->plan, &l->scope);
  MIEN_TRY(mien__plan_pack_end(s->plan, &l->scope, prepare_each(s, l)));
  plan_ahead(s, l);
  return mien__threads_reserve(s->threads, l->scratch_bytes, l->scope.error);
}

/* ---------------------------------------------------------------- create */

static mien_status layout_reserve(const mien_session *s, mien__layout *l, mien_error *error) {
  const mien__program *p = &s->plan->program;
  size_t values = p->value_count, instructions = p->instruction_count;
  for (uint32_t i = 0; i < p->instruction_count; i++) { /* what mien__layout_node takes at most */
    const mien__instruction *in = &p->instructions[i];
    for (int k = 0; k < mien__layout_outputs(in); k++) values += k >= in->out_count || !in->out[k];
  }
  if (values > INT32_MAX) return mien__fail(error, MIEN_LIMIT, "%zu values, at most %d", values, INT32_MAX);
  l->value_count = (uint32_t)values;
  l->key = layout_alloc(l, p->input_count, MIEN__KEY * sizeof *l->key, error);
  l->values = layout_alloc(l, values, sizeof *l->values, error);
  l->nodes = layout_alloc(l, instructions, sizeof *l->nodes, error);
  l->skip = layout_alloc(l, instructions, sizeof *l->skip, error);
  l->settled = layout_alloc(l, instructions, sizeof *l->settled, error);
  l->root = layout_alloc(l, values, sizeof *l->root, error);
  l->at = layout_alloc(l, values, sizeof *l->at, error);
  l->first = layout_alloc(l, values, sizeof *l->first, error);
  l->home = layout_alloc(l, values, sizeof *l->home, error);
  l->input = layout_alloc(l, values, sizeof *l->input, error);
  l->offset = layout_alloc(l, values, sizeof *l->offset, error);
  l->where = layout_alloc(l, values, sizeof *l->where, error);
  l->last = layout_alloc(l, values, sizeof *l->last, error);
  bool good = l->key && l->values && l->nodes && l->skip && l->settled && l->root && l->at && l->first && l->home &&
              l->input && l->offset && l->where && l->last;
  return good ? MIEN_OK : MIEN_NO_MEMORY;
}

static void set_values(const mien_session *s, mien__layout *l) {
  const mien__program *p = &s->plan->program;
  for (uint32_t v = 0; v < p->value_count; v++)
    if (p->values[v].constant) l->values[v] = p->values[v];
  for (uint32_t i = 0; i < p->input_count; i++) {
    mien_tensor *t = &l->values[p->inputs[i].value - 1].tensor;
    t->type = s->in[i].type;
    t->bytes = s->in[i].bytes;
  }
  memcpy(l->key, s->key, (size_t)p->input_count * MIEN__KEY * sizeof *l->key);
}

/* Instructions whose sizes depend on data run one by one; all that is known now is who reads a value last. */
static void make_dynamic(const mien_session *s, mien__layout *l) {
  const mien__program *p = &s->plan->program;
  for (uint32_t v = 0; v < l->value_count; v++) {
    l->root[v] = v;
    if (v >= p->value_count || !p->values[v].constant)
      l->values[v] = (mien__value){0}; /* inference began to fill them */
  }
  for (uint32_t i = 0; i < p->instruction_count; i++) {
    const mien__instruction *in = &p->instructions[i];
    for (int k = 0; k < in->in_count; k++)
      if (in->in[k]) l->last[in->in[k] - 1] = i;
    for (int k = 0; k < in->out_count; k++)
      if (in->out[k]) l->last[in->out[k] - 1] = i;
  }
  for (uint32_t i = 0; i < p->output_count; i++) l->last[p->outputs[i].value - 1] = p->instruction_count;
  for (size_t i = 0; i < s->kept_count; i++) l->last[s->kept[i].value - 1] = p->instruction_count;
}

static mien_status layout_build(mien_session *s, mien__layout *l, mien_error *error) {
  MIEN_TRY(layout_reserve(s, l, error));
  set_values(s, l);
  MIEN_TRY(infer_nodes(s, l, error));
  if (l->dynamic) {
    make_dynamic(s, l);
    return MIEN_OK;
  }
  MIEN_TRY(plan_memory(s, l, error));
  return prepare_nodes(s, l);
}

mien_status mien__layout_create(mien_session *s, mien__layout **out, mien_error *error) {
  mien__layout *l = mien__alloc(s->env, sizeof *l);
  if (!l) return mien__no_memory(error, sizeof *l);
  mien__pool_init(&l->pool, s->env, s->env->limits.load_bytes);
  l->scope.env = s->env;
  l->scope.pool = &l->pool;
  l->scope.threads = s->threads;
  l->scope.plan = s->plan;
  l->scope.error = error;
  atomic_init(&l->scope.failed, 0);
  mien_status status = layout_build(s, l, error);
  l->scope.error = NULL;
  if (status == MIEN_OK)
    *out = l;
  else
    mien__layout_destroy(l);
  return status;
}

void mien__layout_destroy(mien__layout *l) {
  if (!l) return;
  for (uint32_t i = 0; l->nodes && i < l->scope.plan->program.instruction_count; i++)
    if (l->nodes[i].host) mien__node_clear(&l->nodes[i]);
  mien_env *env = l->scope.env;
  mien__pool_clear(&l->pool);
  mien__free(env, l);
}
