/* infer.c -- types, shapes and small known contents of a node's outputs. The same code serves the converter, where sizes may be
** symbols, and sessions, where all are known. */
#include "internal.h"

#include <string.h>

/* ---- types against the signature */

static const mien__slot *slot_of(const mien__slot *slots, int count, int i) {
  return i < count ? &slots[i] : &slots[count - 1]; /* the last is variadic: init has checked the arity */
}

int32_t mien__infer_variable(const mien_node *n, int variable) {
  const mien__signature *s = &n->record->signature;
  for (int i = 0; i < n->in_count; i++)
    if (n->in[i] && slot_of(s->in, s->in_count, i)->variable == variable && n->in[i]->tensor.type.dtype != MIEN_NONE)
      return n->in[i]->tensor.type.dtype;
  for (int i = 0; i < n->out_count; i++)
    if (n->out[i] && slot_of(s->out, s->out_count, i)->variable == variable &&
        n->out[i]->tensor.type.dtype != MIEN_NONE)
      return n->out[i]->tensor.type.dtype;
  return MIEN_NONE;
}

static mien_status check_slot(mien_node *n, const char *what, int i, const mien__slot *slot, const mien_type *type) {
  if (type->nest[0] != MIEN_TENSOR)
    return mien_fail(n, MIEN_UNSUPPORTED, "%s %d (%s) is no tensor", what, i, slot->name);
  if (type->dtype == MIEN_NONE) return MIEN_OK;
  if ((slot->dtypes >> type->dtype & 1u) == 0)
    return mien_fail(n, MIEN_UNSUPPORTED, "%s %d (%s) has type %s, which mien's %s does not support", what, i,
                     slot->name, mien_dtype_name(type->dtype), n->record->op->name);
  int32_t bound = slot->variable >= 0 ? mien__infer_variable(n, slot->variable) : type->dtype;
  if (bound != type->dtype)
    return mien_fail(n, MIEN_INVALID_MODEL, "%s %d (%s) has type %s, expected %s as its other operands", what, i,
                     slot->name, mien_dtype_name(type->dtype), mien_dtype_name(bound));
  return MIEN_OK;
}

mien_status mien__infer_check_types(mien_node *n, bool outputs) {
  const mien__signature *s = &n->record->signature;
  int count = outputs ? n->out_count : n->in_count;
  mien__value **values = outputs ? n->out : n->in;
  for (int i = 0; i < count; i++)
    if (values[i])
      MIEN_TRY(check_slot(n, outputs ? "output" : "input", i,
                          outputs ? slot_of(s->out, s->out_count, i) : slot_of(s->in, s->in_count, i),
                          &values[i]->tensor.type));
  return MIEN_OK;
}

/* ---- contents */

static bool small(const mien__value *v) {
  int64_t count = mien_count(&v->tensor.type);
  return count >= 0 && count <= MIEN__MAX_INTS;
}

static bool is_integer(int32_t dtype) { return dtype == MIEN_I64 || dtype == MIEN_I32; }

/* What a node is evaluated on: its own values with other contents. */
typedef struct trial {
  mien_node node;
  mien__value *in, *out;
  mien__value **in_at, **out_at;
} trial;

static void trial_free(mien_node *n, trial *t) {
  for (int i = 0; t->out && i < n->out_count; i++) mien__free(n->scope->env, t->out[i].tensor.data);
  mien__free(n->scope->env, t->in);
}

static mien_status trial_make(mien_node *n, trial *t) {
  size_t values = (size_t)(n->in_count + n->out_count);
  t->in = mien__alloc(n->scope->env, values * (sizeof(mien__value) + sizeof(mien__value *)) + 1);
  if (!t->in) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate memory to evaluate it");
  t->out = t->in + n->in_count;
  t->in_at = (mien__value **)(t->in + values);
  t->out_at = t->in_at + n->in_count;
  for (int i = 0; i < n->in_count; i++) {
    if (!n->in[i]) continue;
    t->in[i] = *n->in[i];
    t->in[i].tensor.data = NULL;
    t->in_at[i] = &t->in[i];
  }
  for (int i = 0; i < n->out_count; i++) {
    if (!n->out[i]) continue;
    t->out[i] = *n->out[i];
    t->out[i].tensor.data = NULL;
    t->out_at[i] = &t->out[i];
  }
  t->node = *n;
  t->node.in = t->in_at;
  t->node.out = t->out_at;
  t->node.state = t->node.own_scratch = NULL;
  t->node.packs = NULL;
  return MIEN_OK;
}

static mien_status trial_run(mien_node *n, trial *t) {
  mien_status status = MIEN_OK;
  mien__scope *scope = n->scope;
  struct mien__threads *threads = scope->threads;
  struct mien_plan *plan = scope->plan;
  scope->threads = NULL; /* tiny, and inference may run before threads exist */
  scope->plan = NULL;
  for (int i = 0; status == MIEN_OK && i < n->out_count; i++)
    if (t->out_at[i]) {
      mien_type type = t->out[i].tensor.type;
      mien_error error = {0};
      status = mien__tensor_alloc(scope->env, &type, &t->out[i].tensor, &error);
      if (status != MIEN_OK) status = mien_fail(n, status, "%s", error.message);
    }
  if (status == MIEN_OK) status = mien__node_prepare(&t->node);
  if (status == MIEN_OK) status = mien__node_run(&t->node);
  mien__node_clear(&t->node);
  scope->threads = threads;
  scope->plan = plan;
  return status;
}

static mien_status no_pool_memory(mien_node *n) { return mien_fail(n, MIEN_NO_MEMORY, "no memory for known contents"); }

/* All inputs known as numbers: the operator's own kernel says what comes out. */
static mien_status evaluate_known(mien_node *n) {
  trial t = {0};
  MIEN_TRY(trial_make(n, &t));
  for (int i = 0; i < n->in_count; i++)
    if (n->in[i]) {
      t.in[i].tensor.data = (void *)(uintptr_t)mien__contents(n->in[i]); /* kernels read inputs only */
      t.in[i].constant = true;
    }
  mien_status status = trial_run(n, &t);
  for (int i = 0; status == MIEN_OK && i < n->out_count; i++) {
    if (!n->out[i]) continue;
    const mien_tensor *y = &t.out[i].tensor;
    n->out[i]->known = mien__pool_copy(n->scope->pool, y->data, y->bytes);
    if (!n->out[i]->known) status = no_pool_memory(n);
  }
  trial_free(n, &t);
  return status;
}

/* Pure movement: symbols are carried as the int64 numbers that encode them. */
static mien_status move_symbols(mien_node *n) {
  const mien__signature *s = &n->record->signature;
  trial t = {0};
  MIEN_TRY(trial_make(n, &t));
  for (int i = 0; i < n->in_count; i++) {
    if (!n->in[i]) continue;
    if (slot_of(s->in, s->in_count, i)->variable == s->variable_T) {
      int64_t count;
      t.in[i].tensor.data = (void *)(uintptr_t)mien_ints(n, i, &count);
      t.in[i].tensor.type.dtype = MIEN_I64;
    } else {
      t.in[i].tensor.data = (void *)(uintptr_t)mien__contents(n->in[i]);
    }
    t.in[i].constant = true;
  }
  for (int i = 0; i < n->out_count; i++) t.out[i].tensor.type.dtype = MIEN_I64;
  mien_status status = trial_run(n, &t);
  for (int i = 0; status == MIEN_OK && i < n->out_count; i++)
    if (n->out[i]) status = mien_set_ints(n, i, t.out[i].tensor.data, mien_count(&t.out[i].tensor.type));
  trial_free(n, &t);
  return status;
}

/* Index into an operand that broadcasts to y. */
static int64_t broadcast_index(const mien_type *y, const mien_type *x, int64_t flat) {
  int64_t index = 0, stride = 1;
  for (int d = 0; d < y->rank; d++) {
    int yd = y->rank - 1 - d, xd = x->rank - 1 - d;
    int64_t at = flat % y->dim[yd];
    flat /= y->dim[yd];
    if (xd < 0) continue;
    if (x->dim[xd] != 1) index += at * stride;
    stride *= x->dim[xd];
  }
  return index;
}

/* A comparison that symbols leave open in one element is not known at all. */
static mien_status truth_values(mien_node *n, const int64_t *values, int64_t count) {
  uint8_t bytes[MIEN__MAX_INTS];
  for (int64_t i = 0; i < count; i++) {
    if (values[i] != 0 && values[i] != 1) return MIEN_OK;
    bytes[i] = (uint8_t)values[i];
  }
  n->out[0]->known = mien__pool_copy(n->scope->pool, bytes, (size_t)count);
  return n->out[0]->known ? MIEN_OK : no_pool_memory(n);
}

static mien_status element_symbols(mien_node *n) {
  int64_t values[MIEN__MAX_INTS], count_a, count_b = 0;
  const int64_t *a = mien_ints(n, 0, &count_a), *b = n->in_count > 1 ? mien_ints(n, 1, &count_b) : NULL;
  const mien_type *y = &n->out[0]->tensor.type;
  int64_t count = mien_count(y);
  for (int64_t i = 0; i < count; i++) {
    int64_t left = a[broadcast_index(y, &n->in[0]->tensor.type, i)];
    int64_t right = b ? b[broadcast_index(y, &n->in[1]->tensor.type, i)] : 0;
    values[i] = n->record->op->dim_eval(n, left, right);
  }
  if (y->dtype == MIEN_BOOL) return truth_values(n, values, count);
  return mien_set_ints(n, 0, values, count);
}

mien_status mien__infer_contents(mien_node *n) {
  const mien_op *op = n->record->op;
  if (op->flags & (MIEN_OP_RANDOM | MIEN_OP_DATA_SHAPE)) return MIEN_OK;
  bool done = true;
  for (int i = 0; i < n->out_count; i++) {
    if (!n->out[i]) continue;
    if (!small(n->out[i]) || n->out[i]->tensor.type.dtype == MIEN_STRING) return MIEN_OK;
    if (!n->out[i]->ints && !n->out[i]->known) done = false;
  }
  if (done) return MIEN_OK; /* infer has said it: Shape, Size */
  const mien__signature *s = &n->record->signature;
  bool numbers = true, integers = true, any = false;
  for (int i = 0; i < n->in_count; i++) {
    mien__value *v = n->in[i];
    if (!v) continue;
    any = true;
    if (!small(v)) return MIEN_OK;
    if (mien__contents(v)) continue;
    numbers = false;
    int64_t count;
    /* Symbols may stand where data moves or is computed on, not among indices. */
    bool data = op->dim_eval || slot_of(s->in, s->in_count, i)->variable == s->variable_T;
    if (!data || !mien_ints(n, i, &count)) return MIEN_OK;
  }
  if (!any) return MIEN_OK;
  if (numbers) return evaluate_known(n);
  for (int i = 0; i < n->in_count && integers; i++) {
    int64_t count;
    bool data = op->dim_eval || slot_of(s->in, s->in_count, i)->variable == s->variable_T;
    if (n->in[i] && data) integers = mien_ints(n, i, &count) != NULL;
  }
  for (int i = 0; i < n->out_count; i++)
    if (n->out[i] && !is_integer(n->out[i]->tensor.type.dtype) &&
        !(n->out[i]->tensor.type.dtype == MIEN_BOOL && op->dim_eval))
      integers = false;
  if (!integers) return MIEN_OK;
  if (op->flags & MIEN_OP_MOVES_DATA) return move_symbols(n);
  if (op->dim_eval && n->out_count == 1 && n->in_count <= 2) return element_symbols(n);
  return MIEN_OK;
}

/* ---- infer */

static mien_status check_output(mien_node *n, int i) {
  mien_type *t = &n->out[i]->tensor.type;
  char text[256];
  bool open = false;
  for (int d = 0; d < t->rank; d++) {
    if (mien_is_symbol(t->dim[d]))
      open = true;
    else if (t->dim[d] < 0)
      return mien_fail(n, MIEN_INVALID_MODEL, "output %d has negative size: %s", i,
                       mien__type_text(t, n->scope->symbols, text, sizeof text));
  }
  if (t->rank < 0) return MIEN_OK;
  if (open && !n->scope->symbols && !(n->record->op->flags & MIEN_OP_DATA_SHAPE))
    return mien_fail(n, MIEN_UNSUPPORTED, "the shape of output %d depends on data that is known only while it runs", i);
  mien_error error = {0};
  mien_status status = mien__type_fits(n->scope->env, t, &error);
  return status == MIEN_OK ? status : mien_fail(n, status, "output %d: %s", i, error.message);
}

static mien_status unknown_outputs(mien_node *n) {
  const mien__signature *s = &n->record->signature;
  for (int i = 0; i < n->out_count; i++) {
    if (!n->out[i]) continue;
    const mien__slot *slot = slot_of(s->out, s->out_count, i);
    mien_type t = {.rank = -1};
    if (slot->variable >= 0)
      t.dtype = mien__infer_variable(n, slot->variable);
    else if (slot->dtypes && (slot->dtypes & (slot->dtypes - 1)) == 0)
      t.dtype = __builtin_ctz(slot->dtypes);
    n->out[i]->tensor.type = t;
  }
  return MIEN_OK;
}

mien_status mien__node_infer(mien_node *n) {
  bool unknown = false;
  for (int i = 0; i < n->out_count; i++) {
    if (!n->out[i]) continue;
    n->out[i]->tensor.type = (mien_type){.rank = -1};
    n->out[i]->ints = NULL;
    n->out[i]->known = NULL;
    n->out[i]->ints_count = 0;
  }
  MIEN_TRY(mien__infer_check_types(n, false));
  for (int i = 0; i < n->in_count; i++) {
    if (!n->in[i]) continue;
    const mien_type *t = &n->in[i]->tensor.type;
    unknown = unknown || t->rank < 0 || t->dtype == MIEN_NONE;
  }
  if (unknown) return unknown_outputs(n);
  MIEN_TRY(n->record->op->infer(n));
  MIEN_TRY(mien__infer_check_types(n, true));
  for (int i = 0; i < n->out_count; i++)
    if (n->out[i]) MIEN_TRY(check_output(n, i));
  return mien__infer_contents(n);
}
