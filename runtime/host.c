/* host.c -- the services that operators reach through plugin.h. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

static mien_status host_fail(mien_node *n, mien_status code, const char *format, ...) {
  mien__scope *scope = n->scope;
  int expected = 0;
  if (!atomic_compare_exchange_strong(&scope->failed, &expected, 1) || !scope->error) return code;
  char text[400];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  const mien_op *op = n->record->op;
  return mien__fail(scope->error, code, "node '%.80s' (%s%s%s-%d): %s", n->name, n->record->domain,
                    *n->record->domain ? "." : "", op->name, op->since, text);
}

/* ---- values */

static int host_in_count(const mien_node *n) { return n->in_count; }
static int host_out_count(const mien_node *n) { return n->out_count; }

static const mien_tensor *host_in(const mien_node *n, int i) {
  return i >= 0 && i < n->in_count && n->in[i] ? &n->in[i]->tensor : NULL;
}

static mien_tensor *host_out(const mien_node *n, int i) {
  return i >= 0 && i < n->out_count && n->out[i] ? &n->out[i]->tensor : NULL;
}

static bool host_is_constant(const mien_node *n, int i) {
  return i >= 0 && i < n->in_count && n->in[i] && n->in[i]->constant;
}

static const void *host_contents(const mien_node *n, int i) {
  return i >= 0 && i < n->in_count && n->in[i] ? mien__contents(n->in[i]) : NULL;
}

/* ---- attributes */

static const mien__attr_value *given(const mien_node *n, const char *name) {
  for (int i = 0; i < n->attr_count; i++)
    if (strcmp(n->attrs[i].name, name) == 0) return &n->attrs[i];
  return NULL;
}

static const mien_attr *declared(const mien_node *n, const char *name) {
  static const mien_attr none = {0};
  for (const mien_attr *a = n->record->op->attrs; a && a->name; a++)
    if (strcmp(a->name, name) == 0) return a;
  return &none;
}

static bool host_has_attr(const mien_node *n, const char *name) { return given(n, name) != NULL; }

static int64_t host_attr_i(const mien_node *n, const char *name) {
  const mien__attr_value *v = given(n, name);
  return v ? v->i : declared(n, name)->i;
}

static double host_attr_f(const mien_node *n, const char *name) {
  const mien__attr_value *v = given(n, name);
  return v ? (double)v->f : (double)(float)declared(n, name)->f; /* ONNX floats are 32 bits */
}

static const char *host_attr_s(const mien_node *n, const char *name) {
  const mien__attr_value *v = given(n, name);
  const char *s = v ? v->s.data : declared(n, name)->s;
  return s ? s : "";
}

static const int64_t *host_attr_ints(const mien_node *n, const char *name, int64_t *count) {
  const mien__attr_value *v = given(n, name);
  *count = v ? v->count : 0;
  return v && v->count ? v->ints : NULL;
}

static const float *host_attr_floats(const mien_node *n, const char *name, int64_t *count) {
  const mien__attr_value *v = given(n, name);
  *count = v ? v->count : 0;
  return v && v->count ? v->floats : NULL;
}

static const mien_tensor *host_attr_tensor(const mien_node *n, const char *name) {
  const mien__attr_value *v = given(n, name);
  return v ? v->tensor : NULL;
}

/* ---- infer */

static mien_status host_set_type(mien_node *n, int out, const mien_type *type) {
  if (out < 0 || out >= n->out_count || !n->out[out]) return MIEN_OK; /* nobody reads it */
  if (type->rank > MIEN_MAX_RANK)
    return host_fail(n, MIEN_LIMIT, "output %d has rank %d, at most %d is supported", out, type->rank, MIEN_MAX_RANK);
  n->out[out]->tensor.type = *type;
  return MIEN_OK;
}

/* Integer contents that are read as sizes or axes; larger ones are data. */
#define MAX_READ_INTS 65536

static const int64_t *host_ints(mien_node *n, int in, int64_t *count) {
  *count = 0;
  if (in < 0 || in >= n->in_count || !n->in[in]) return NULL;
  mien__value *v = n->in[in];
  if (v->ints) {
    *count = v->ints_count;
    return v->ints;
  }
  const void *contents = mien__contents(v);
  int64_t elements = mien_count(&v->tensor.type);
  if (!contents || elements < 0 || elements > MAX_READ_INTS) return NULL;
  switch (v->tensor.type.dtype) {
    case MIEN_F32:
    case MIEN_F64:
    case MIEN_F16:
    case MIEN_BF16:
    case MIEN_STRING:
    case MIEN_C64:
    case MIEN_C128: return NULL;
    default: break;
  }
  int64_t *ints = mien__pool_alloc(n->scope->pool, (size_t)elements * sizeof *ints);
  if (!ints) return NULL;
  mien_tensor view = v->tensor;
  view.data = (void *)(uintptr_t)contents;
  for (int64_t i = 0; i < elements; i++) ints[i] = mien__tensor_i64(&view, i);
  v->ints = ints;
  v->ints_count = elements;
  *count = elements;
  return ints;
}

static mien_status host_set_ints(mien_node *n, int out, const int64_t *values, int64_t count) {
  if (out < 0 || out >= n->out_count || !n->out[out] || count < 0 || count > MIEN__MAX_INTS) return MIEN_OK;
  mien__value *v = n->out[out];
  int32_t dtype = v->tensor.type.dtype;
  if (mien_count(&v->tensor.type) != count)
    return host_fail(n, MIEN_INTERNAL, "sets %lld contents of output %d, which has %lld elements", (long long)count,
                     out, (long long)mien_count(&v->tensor.type));
  v->ints = mien__pool_copy(n->scope->pool, values, (size_t)count * sizeof *values);
  if (!v->ints) return host_fail(n, MIEN_NO_MEMORY, "no memory for known contents");
  v->ints_count = count;
  for (int64_t i = 0; i < count; i++)
    if (mien_is_symbol(values[i])) return MIEN_OK;
  if (dtype == MIEN_I64) {
    v->known = v->ints;
  } else if (dtype == MIEN_I32) {
    int32_t *narrow = mien__pool_alloc(n->scope->pool, (size_t)count * sizeof *narrow);
    if (!narrow) return host_fail(n, MIEN_NO_MEMORY, "no memory for known contents");
    for (int64_t i = 0; i < count; i++) narrow[i] = (int32_t)values[i];
    v->known = narrow;
  }
  return MIEN_OK;
}

static int64_t host_dim(mien_node *n, char op, int64_t a, int64_t b) { return mien__dim(n->scope->symbols, op, a, b); }

static int64_t host_new_symbol(mien_node *n) {
  return n->scope->symbols ? mien__symbol_new(n->scope->symbols) : INT64_MIN;
}

static mien_status host_block(mien_node *n, int out, int in, int64_t first, bool joins) {
  mien__scope *scope = n->scope;
  if (scope->symbols || out < 0 || out >= n->out_count || !n->out[out] || in < 0 || in >= n->in_count || !n->in[in])
    return MIEN_OK; /* memory is planned where sizes are known, and for what is read */
  const mien_type *whole = joins ? &n->out[out]->tensor.type : &n->in[in]->tensor.type;
  const mien_type *part = joins ? &n->in[in]->tensor.type : &n->out[out]->tensor.type;
  const int64_t have = mien_count(whole), count = mien_count(part);
  if (have < 0 || count < 0) return MIEN_OK;
  if (whole->dtype != part->dtype || first < 0 || first > have || count > have - first)
    return host_fail(n, MIEN_INTERNAL, "says that %lld elements from %lld on are a block of %lld", (long long)count,
                     (long long)first, (long long)have);
  mien__part *b = mien__pool_alloc(scope->pool, sizeof *b);
  if (!b) return host_fail(n, MIEN_NO_MEMORY, "no memory for what is known of output %d", out);
  *b = (mien__part){.next = n->blocks, .out = out, .in = in, .first = first, .joins = joins};
  n->blocks = b;
  return MIEN_OK;
}

/* ---- prepare */

static void *host_state(const mien_node *n) { return n->state; }

static void host_work(mien_node *n, int64_t items, double cost) {
  n->items = items;
  n->cost = cost;
}

static mien_status host_scratch(mien_node *n, size_t bytes) {
  if (bytes > n->scope->env->limits.arena_bytes)
    return host_fail(n, MIEN_LIMIT, "needs %zu bytes of scratch a thread, more than the limit of %llu", bytes,
                     (unsigned long long)n->scope->env->limits.arena_bytes);
  if (bytes > n->scratch_bytes) n->scratch_bytes = bytes;
  return MIEN_OK;
}

/* Packings of nodes outside a plan. */
struct mien__private_pack {
  struct mien__private_pack *next;
  void *memory;
};

mien_status mien__fill_packed(mien_node *n, const void *data, mien_status (*fill)(mien_node *n, void *memory),
                              void *memory) {
  int in = 0;
  while (in < n->in_count && (!n->in[in] || n->in[in]->tensor.data != data)) in++;
  if (in == n->in_count || n->in[in]->tensor.type.dtype != MIEN_F16) return fill(n, memory);
  mien__value wide = *n->in[in];
  const size_t count = wide.tensor.bytes / sizeof(uint16_t), inputs = (size_t)n->in_count * sizeof *n->in;
  size_t bytes;
  void *block = mien__mul(count, sizeof(float), &bytes) ? mien__alloc(n->scope->env, inputs + bytes) : NULL;
  if (!block) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate memory to widen a constant of %zu elements", count);
  mien_node view = *n;
  view.in = memcpy(block, n->in, inputs);
  view.in[in] = &wide;
  float *floats = (float *)(void *)(view.in + n->in_count);
  for (size_t i = 0; i < count; i++) floats[i] = mien__f16_to_f32(((const uint16_t *)data)[i]);
  wide.tensor.type.dtype = MIEN_F32;
  wide.tensor.data = floats;
  wide.tensor.bytes = bytes;
  const mien_status status = fill(&view, memory);
  mien__free(n->scope->env, block);
  return status;
}

static mien_status pack_constant(mien_node *n, int in, const char *kind, size_t bytes,
                                 mien_status (*fill)(mien_node *n, void *memory), bool later, const void **memory) {
  if (!host_is_constant(n, in)) return host_fail(n, MIEN_INTERNAL, "packs input %d, which is not constant", in);
  n->packed_extra += (int64_t)bytes - (int64_t)n->in[in]->tensor.bytes;
  if (n->scope->plan) {
    MIEN_TRY(mien__plan_packed(n->scope->plan, n, n->in[in]->tensor.data, kind, bytes, fill, later, memory));
    if (bytes > n->weights.bytes) n->weights = (mien__range){*memory, bytes};
    return MIEN_OK;
  }
  struct mien__private_pack *pack = mien__alloc(n->scope->env, sizeof *pack);
  void *fresh = pack ? mien__alloc(n->scope->env, bytes) : NULL;
  if (!fresh) {
    mien__free(n->scope->env, pack);
    return host_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes for packed constants", bytes);
  }
  *pack = (struct mien__private_pack){.next = n->packs, .memory = fresh};
  n->packs = pack;
  MIEN_TRY(mien__fill_packed(n, n->in[in]->tensor.data, fill, fresh));
  *memory = fresh;
  return MIEN_OK;
}

static mien_status host_packed(mien_node *n, int in, const char *kind, size_t bytes,
                               mien_status (*fill)(mien_node *n, void *memory), const void **memory) {
  return pack_constant(n, in, kind, bytes, fill, false, memory);
}

static mien_status host_packed_later(mien_node *n, int in, const char *kind, size_t bytes,
                                     mien_status (*fill)(mien_node *n, void *memory), const void **memory) {
  return pack_constant(n, in, kind, bytes, fill, true, memory);
}

void mien__private_packs_free(mien_node *n) {
  for (struct mien__private_pack *p = n->packs, *next; p; p = next) {
    next = p->next;
    mien__free(n->scope->env, p->memory);
    mien__free(n->scope->env, p);
  }
  n->packs = NULL;
}

static void host_note(mien_node *n, double flops, const char *kernel) {
  n->flops = flops > 0 ? flops : 0;
  n->kernel = kernel;
}

static int host_threads(const mien_node *n) { return n->scope->threads ? mien__threads_count(n->scope->threads) : 1; }

/* ---- run */

static mien_status host_parallel(mien_node *n, int64_t count, double cost, mien_task_fn *fn, void *arg) {
  if (count <= 0) return MIEN_OK;
  if (!n->scope->threads) return fn(n, arg, 0, count);
  return mien__threads_run(n->scope->threads, n, count, cost, fn, arg);
}

static int host_lane(const mien_node *n) { return n->scope->threads ? mien__threads_lane(n->scope->threads) : 0; }

static void *host_scratch_of(mien_node *n) {
  return n->scope->threads ? mien__threads_scratch(n->scope->threads) : n->own_scratch;
}

static mien_status host_alloc_out(mien_node *n, int out, const mien_type *type) {
  if (out < 0 || out >= n->out_count || !n->out[out]) return MIEN_OK;
  mien_error error = {0};
  mien__value *v = n->out[out];
  mien__free(n->scope->env, v->tensor.data);
  v->tensor.data = NULL;
  mien_status status = mien__tensor_alloc(n->scope->env, type, &v->tensor, &error);
  return status == MIEN_OK ? status : host_fail(n, status, "output %d: %s", out, error.message);
}

const mien_host mien__host = {
    .abi = MIEN_ABI,
    .size = sizeof(mien_host),
    .fail = host_fail,
    .in_count = host_in_count,
    .out_count = host_out_count,
    .in = host_in,
    .out = host_out,
    .is_constant = host_is_constant,
    .has_attr = host_has_attr,
    .attr_i = host_attr_i,
    .attr_f = host_attr_f,
    .attr_s = host_attr_s,
    .attr_ints = host_attr_ints,
    .attr_floats = host_attr_floats,
    .attr_tensor = host_attr_tensor,
    .set_type = host_set_type,
    .ints = host_ints,
    .dim = host_dim,
    .new_symbol = host_new_symbol,
    .state = host_state,
    .work = host_work,
    .scratch = host_scratch,
    .packed = host_packed,
    .threads = host_threads,
    .parallel = host_parallel,
    .scratch_of = host_scratch_of,
    .alloc_out = host_alloc_out,
    .set_ints = host_set_ints,
    .contents = host_contents,
    .note = host_note,
    .lane = host_lane,
    .packed_later = host_packed_later,
    .block = host_block,
};
