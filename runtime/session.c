/* session.c -- life of a session, and its inputs against the plan's. */
#include "session.h"

#include "plan.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- named sizes */

typedef struct named {
  const char *name;
  uint32_t at; /* in session->symbol */
} named;

static int by_name(const void *left, const void *right) {
  const named *a = left, *b = right;
  int order = strcmp(a->name, b->name);
  return order ? order : (a->at > b->at) - (a->at < b->at);
}

/* Equal names of dims of inputs are equal sizes: each gets a number. */
static mien_status number_sizes(mien_session *s, mien_error *error) {
  const mien__program *p = &s->plan->program;
  size_t most = (size_t)p->input_count * MIEN_MAX_RANK, count = 0;
  named *names = mien__alloc(s->env, (most + 1) * sizeof *names);
  s->symbol = mien__pool_alloc(&s->pool, most * sizeof *s->symbol);
  s->symbol_size = mien__pool_alloc(&s->pool, most * sizeof *s->symbol_size);
  s->symbol_name = mien__pool_alloc(&s->pool, most * sizeof *s->symbol_name);
  if (!names || !s->symbol || !s->symbol_size || !s->symbol_name) {
    mien__free(s->env, names);
    return mien__no_memory(error, most * sizeof *names);
  }
  for (uint32_t i = 0; i < p->input_count; i++)
    for (int d = 0; d < p->inputs[i].port.type.rank; d++) {
      const char *name = p->inputs[i].port.dim_name[d];
      if (name && *name) names[count++] = (named){name, i * MIEN_MAX_RANK + (uint32_t)d};
    }
  qsort(names, count, sizeof *names, by_name);
  for (size_t k = 0; k < count; k++) {
    if (k == 0 || strcmp(names[k].name, names[k - 1].name) != 0) s->symbol_name[s->symbol_count++] = names[k].name;
    s->symbol[names[k].at] = s->symbol_count;
  }
  mien__free(s->env, names);
  return MIEN_OK;
}

/* ---------------------------------------------------------------- layouts */

static void drop_layouts(mien_session *s) {
  for (mien__layout *l = s->layouts, *next; l; l = next) {
    next = l->next;
    mien__layout_destroy(l);
  }
  s->layouts = NULL;
  s->layout_count = 0;
}

/* The layout of the sizes in s->key: remembered, or made in the place of the one unused for longest. */
static mien_status find_layout(mien_session *s, mien_error *error) {
  size_t bytes = (size_t)s->plan->program.input_count * MIEN__KEY * sizeof *s->key;
  for (mien__layout **at = &s->layouts; *at; at = &(*at)->next) {
    mien__layout *l = *at;
    if (memcmp(l->key, s->key, bytes) != 0) continue;
    *at = l->next;
    l->next = s->layouts;
    s->layouts = l;
    return MIEN_OK;
  }
  mien__layout *fresh = NULL;
  MIEN_TRY(mien__layout_create(s, &fresh, error));
  fresh->next = s->layouts;
  s->layouts = fresh;
  if (++s->layout_count <= MIEN__MAX_LAYOUTS) return MIEN_OK;
  mien__layout **last = &s->layouts;
  while ((*last)->next) last = &(*last)->next;
  mien__layout_destroy(*last);
  *last = NULL;
  s->layout_count--;
  return MIEN_OK;
}

static void set_key(mien_session *s, uint32_t input) {
  const mien_type *type = &s->in[input].type;
  int64_t *key = s->key + (size_t)input * MIEN__KEY;
  memset(key, 0, MIEN__KEY * sizeof *key);
  key[0] = type->rank;
  for (int d = 0; d < type->rank; d++) key[1 + d] = type->dim[d];
}

/* ---------------------------------------------------------------- create, destroy */

static mien_status plan_known_sizes(mien_session *s, mien_error *error) {
  const mien__program *p = &s->plan->program;
  for (uint32_t i = 0; i < p->input_count; i++) {
    const mien_type *type = &p->inputs[i].port.type;
    int64_t count;
    if (type->rank < 0 || mien_count(type) < 0) return MIEN_OK;
    for (int d = 0; d < type->rank; d++)
      if (type->dim[d] < 0) return MIEN_OK;
    s->in[i] = (mien_tensor){.type = *type};
    MIEN_TRY(mien__type_size(s->env, type, &count, &s->in[i].bytes, error));
    set_key(s, i);
  }
  MIEN_TRY(find_layout(s, error));
  return mien__execute_reserve(s, s->layouts->arena_bytes, error);
}

static mien_status session_build(mien_session *s, mien_error *error) {
  size_t inputs = s->plan->program.input_count;
  MIEN_TRY(number_sizes(s, error));
  s->in = mien__pool_alloc(&s->pool, inputs * sizeof *s->in);
  s->key = mien__pool_alloc(&s->pool, inputs * MIEN__KEY * sizeof *s->key);
  if (!s->in || !s->key) return mien__no_memory(error, inputs * MIEN__KEY * sizeof *s->key);
  return plan_known_sizes(s, error);
}

static mien_status session_start(mien_plan *plan, mien__threads *threads, int count, mien_session **out,
                                 mien_error *error) {
  mien_session *s = mien__alloc(plan->env, sizeof *s);
  if (!s) return mien__no_memory(error, sizeof *s);
  mien__plan_retain(plan);
  s->plan = plan;
  s->env = plan->env;
  atomic_init(&s->busy, false);
  mien__pool_init(&s->pool, s->env, 0);
  s->threads = threads;
  s->own_threads = !threads;
  mien_status status = threads ? MIEN_OK : mien__threads_create(s->env, count, &s->threads, error);
  if (status == MIEN_OK) status = session_build(s, error);
  if (status == MIEN_OK)
    *out = s;
  else
    mien_session_destroy(s);
  return status;
}

mien_status mien__session_create(mien_plan *plan, mien__threads *threads, mien_session **session, mien_error *error) {
  return session_start(plan, threads, 1, session, error);
}

mien_status mien_session_create(mien_plan *plan, const mien_session_options *options, mien_session **session,
                                mien_error *error) {
  if (!plan || !session) return mien__fail(error, MIEN_INVALID_ARGUMENT, "plan and session must not be NULL");
  return session_start(plan, NULL, options ? options->threads : 0, session, error);
}

void mien_session_destroy(mien_session *s) {
  if (!s) return;
  mien_plan *plan = s->plan;
  drop_layouts(s);
  mien__free(s->env, s->arena);
  mien__free(s->env, s->spill);
  mien__free(s->env, s->targets);
  if (s->own_threads) mien__threads_destroy(s->threads);
  mien__pool_clear(&s->pool);
  mien__free(s->env, s->kept);
  mien__free(s->env, s);
  mien_plan_close(plan);
}

/* ---------------------------------------------------------------- inputs */

/* Text of limited length; what goes beyond is cut. */
typedef struct text {
  char data[300];
  size_t at;
} text;

static void put(text *t, const char *more) {
  for (; *more && t->at + 1 < sizeof t->data; more++) t->data[t->at++] = *more;
  t->data[t->at] = '\0';
}

static mien_status find_input(const mien_session *s, const char *name, uint32_t *index, mien_error *error) {
  const mien__program *p = &s->plan->program;
  text names = {.at = 0};
  for (uint32_t i = 0; i < p->input_count; i++) {
    if (name && strcmp(p->inputs[i].port.name, name) == 0) {
      *index = i;
      return MIEN_OK;
    }
    put(&names, i ? ", '" : "'");
    put(&names, p->inputs[i].port.name);
    put(&names, "'");
  }
  return mien__fail(error, MIEN_INVALID_ARGUMENT, "the plan has no input '%.100s'; its inputs are %s", name ? name : "",
                    names.data);
}

/* "f32[N,3,224,224]", sizes by their names. */
static mien_status wrong_type(const mien__port *port, const mien_type *type, mien_error *error) {
  const mien_type *declared = &port->port.type;
  text expected = {.at = 0};
  char got[200], number[24];
  put(&expected, mien_dtype_name(declared->dtype));
  for (int d = 0; d < declared->rank; d++) {
    put(&expected, d ? "," : "[");
    if (declared->dim[d] >= 0)
      put(&expected, mien__dim_text(NULL, declared->dim[d], number, sizeof number));
    else
      put(&expected, *port->port.dim_name[d] ? port->port.dim_name[d] : "?");
  }
  put(&expected, declared->rank > 0 ? "]" : declared->rank == 0 ? "[]" : " of any rank");
  return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s' is %s, expected %s", port->port.name,
                    mien__type_text(type, NULL, got, sizeof got), expected.data);
}

static mien_status check_input(mien_session *s, uint32_t index, const mien_tensor *tensor, mien_error *error) {
  const mien__port *port = &s->plan->program.inputs[index];
  const mien_type *type = &tensor->type, *declared = &port->port.type;
  if (type->nest[0] != MIEN_TENSOR)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s' is no tensor", port->port.name);
  if (type->rank < 0 || type->rank > MIEN_MAX_RANK)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s' has rank %d", port->port.name, type->rank);
  if (type->dtype != declared->dtype || (declared->rank >= 0 && type->rank != declared->rank))
    return wrong_type(port, type, error);
  for (int d = 0; d < type->rank; d++)
    if (type->dim[d] < 0 || (declared->rank >= 0 && declared->dim[d] >= 0 && declared->dim[d] != type->dim[d]))
      return wrong_type(port, type, error);
  int64_t count;
  size_t bytes, size = mien_dtype_bytes(type->dtype);
  MIEN_TRY(mien__type_size(s->env, type, &count, &bytes, error));
  if (tensor->bytes < bytes)
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s' has %zu bytes, its type needs %zu", port->port.name,
                      tensor->bytes, bytes);
  if (bytes && (!tensor->data || (uintptr_t)tensor->data % (size > 8 ? 8 : size)))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s': its data is %s", port->port.name,
                      tensor->data ? "not aligned to its elements" : "NULL");
  s->in[index] =
      (mien_tensor){.type = {.dtype = type->dtype, .rank = type->rank}, .data = tensor->data, .bytes = bytes};
  for (int d = 0; d < type->rank; d++) s->in[index].type.dim[d] = type->dim[d];
  set_key(s, index);
  return MIEN_OK;
}

static mien_status check_named_sizes(mien_session *s, mien_error *error) {
  const mien__program *p = &s->plan->program;
  for (uint32_t k = 0; k < s->symbol_count; k++) s->symbol_size[k] = -1;
  for (uint32_t i = 0; i < p->input_count; i++)
    for (int d = 0; d < p->inputs[i].port.type.rank; d++) {
      uint32_t symbol = s->symbol[i * MIEN_MAX_RANK + (uint32_t)d];
      if (!symbol) continue;
      int64_t size = s->in[i].type.dim[d], *known = &s->symbol_size[symbol - 1];
      if (*known >= 0 && *known != size)
        return mien__fail(error, MIEN_INVALID_ARGUMENT,
                          "input '%.100s': dimension %d is %lld, but '%.60s' is %lld in an earlier input",
                          p->inputs[i].port.name, d, (long long)size, s->symbol_name[symbol - 1], (long long)*known);
      *known = size;
    }
  return MIEN_OK;
}

static mien_status bind_inputs(mien_session *s, const mien_binding *inputs, size_t count, mien_error *error) {
  const mien__program *p = &s->plan->program;
  memset(s->in, 0, p->input_count * sizeof *s->in);
  for (uint32_t i = 0; i < p->input_count; i++) s->in[i].type.rank = -1; /* not given yet */
  for (size_t i = 0; i < count; i++) {
    uint32_t index = 0;
    MIEN_TRY(find_input(s, inputs[i].name, &index, error));
    if (s->in[index].type.rank >= 0)
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s' is given twice", inputs[i].name);
    MIEN_TRY(check_input(s, index, &inputs[i].tensor, error));
  }
  for (uint32_t i = 0; i < p->input_count; i++)
    if (s->in[i].type.rank < 0)
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "input '%.100s' is not given", p->inputs[i].port.name);
  return check_named_sizes(s, error);
}

/* ---------------------------------------------------------------- run, info */

mien_status mien__session_enter(mien_session *s, mien_error *error) {
  if (atomic_exchange(&s->busy, true))
    return mien__fail(error, MIEN_INVALID_ARGUMENT,
                      "the session is in use by another thread: give each thread its own");
  return MIEN_OK;
}

void mien__session_leave(mien_session *s) { atomic_store(&s->busy, false); }

static void tell_run(const mien_session *s, bool end) {
  if (s->watch.observe) mien__watch_tell(&s->watch, MIEN_EVENT_RUN, end, 0, 0, 0, 0);
}

mien_status mien_session_run(mien_session *s, const mien_binding *inputs, size_t input_count, mien_binding *outputs,
                             size_t output_count, mien_error *error) {
  if (!s || (!inputs && input_count) || (!outputs && output_count))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "session, inputs and outputs must not be NULL");
  MIEN_TRY(mien__session_enter(s, error));
  tell_run(s, false);
  mien_status status = bind_inputs(s, inputs, input_count, error);
  if (status == MIEN_OK) status = find_layout(s, error);
  if (status == MIEN_OK) status = mien__execute(s, s->layouts, outputs, output_count, error);
  tell_run(s, true);
  mien__session_leave(s);
  return status;
}

void mien_session_get_info(const mien_session *s, mien_session_info *info) {
  const mien__layout *l = s->layouts;
  const mien_math *math = s->env->host.math;
  *info = (mien_session_info){.threads = mien__threads_count(s->threads),
                              .isa = math ? math->isa : "",
                              .arena_bytes = l ? l->arena_bytes : 0,
                              .live_bytes = l ? l->live_bytes : 0,
                              .packed_bytes = mien__plan_packed_bytes(s->plan)};
}

/* ---------------------------------------------------------------- keep */

/* Whether the program as it runs here has the value. */
static bool is_computed(const mien__program *p, uint32_t value) {
  if (p->values[value - 1].constant) return true;
  for (uint32_t i = 0; i < p->input_count; i++)
    if (p->inputs[i].value == value) return true;
  for (uint32_t i = 0; i < p->instruction_count; i++)
    for (int k = 0; k < p->instructions[i].out_count; k++)
      if (p->instructions[i].out[k] == value) return true;
  return false;
}

static mien_status find_value(const mien_plan *plan, const char *name, mien__kept *kept, mien_error *error) {
  const Mien__Plan__Names *names = plan->names;
  const mien__program *p = &plan->program;
  for (uint32_t i = 0; i < p->output_count + p->input_count; i++) {
    const mien__port *port = i < p->output_count ? &p->outputs[i] : &p->inputs[i - p->output_count];
    if (strcmp(port->port.name, name) != 0) continue;
    *kept = (mien__kept){port->port.name, port->value};
    return MIEN_OK;
  }
  for (size_t i = 0; i < names->n_values; i++) {
    const Mien__Plan__ValueName *v = names->values[i];
    if (strcmp(v->name, name) != 0) continue;
    if (!v->value)
      return mien__fail(error, MIEN_INVALID_ARGUMENT,
                        "value '%.100s' is not computed on its own: it went into '%.100s'", name, v->went_into);
    if (!is_computed(p, v->value))
      return mien__fail(error, MIEN_INVALID_ARGUMENT,
                        "value '%.100s' is inside an operator of a plugin; open the plan with MIEN_PLAN_NO_PLUGINS",
                        name);
    *kept = (mien__kept){v->name, v->value};
    return MIEN_OK;
  }
  return mien__fail(error, MIEN_INVALID_ARGUMENT, "the plan knows no value '%.100s'", name);
}

static mien_status keep(mien_session *s, const char *const *names, size_t count, mien_error *error) {
  size_t bytes;
  mien__kept *kept = mien__mul(count, sizeof *kept, &bytes) ? mien__alloc(s->env, bytes + 1) : NULL;
  if (!kept) return mien__no_memory(error, count * sizeof *kept);
  for (size_t i = 0; i < count; i++) {
    mien_status status = names[i] ? find_value(s->plan, names[i], &kept[i], error)
                                  : mien__fail(error, MIEN_INVALID_ARGUMENT, "name %zu is NULL", i);
    if (status == MIEN_OK) continue;
    mien__free(s->env, kept);
    return status;
  }
  mien__free(s->env, s->kept);
  s->kept = kept;
  s->kept_count = count;
  drop_layouts(s); /* their memory is shared in other ways */
  return MIEN_OK;
}

mien_status mien_session_keep(mien_session *s, const char *const *names, size_t count, mien_error *error) {
  if (!s || (!names && count)) return mien__fail(error, MIEN_INVALID_ARGUMENT, "session and names must not be NULL");
  MIEN_TRY(mien__session_enter(s, error));
  mien_status status = keep(s, names, count, error);
  mien__session_leave(s);
  return status;
}
