/* node.c -- the life of a node: init, infer (infer.c), prepare, run, clear; and all of it at once, to fold. */
#include "internal.h"

#include <string.h>

/* ---- init: arity and attributes against the record */

static mien_status check_arity(mien_node *n, const char *what, const mien__slot *slots, int slot_count,
                               mien__value **have, int count) {
  bool variadic = slot_count && slots[slot_count - 1].variadic;
  if (count > slot_count && !variadic)
    return mien_fail(n, MIEN_INVALID_MODEL, "has %d %ss, expected at most %d", count, what, slot_count);
  /* Outputs that nobody reads need not be named. */
  if (strcmp(what, "input") != 0) return MIEN_OK;
  for (int i = 0; i < slot_count || i < count; i++) {
    const mien__slot *slot = &slots[i < slot_count ? i : slot_count - 1];
    bool present = i < count && have[i];
    if (!present && !slot->optional) return mien_fail(n, MIEN_INVALID_MODEL, "lacks input %d (%s)", i, slot->name);
  }
  return MIEN_OK;
}

static const mien_attr *find_attr(const mien_op *op, const char *name) {
  for (const mien_attr *a = op->attrs; a && a->name; a++)
    if (strcmp(a->name, name) == 0) return a;
  return NULL;
}

static mien_status check_attrs(mien_node *n) {
  const mien_op *op = n->record->op;
  for (int i = 0; i < n->attr_count; i++) {
    const mien__attr_value *v = &n->attrs[i];
    const mien_attr *a = find_attr(op, v->name);
    if (!a) return mien_fail(n, MIEN_INVALID_MODEL, "has attribute '%s', which it does not know", v->name);
    if (a->kind != v->kind)
      return mien_fail(n, MIEN_INVALID_MODEL, "attribute '%s' is of kind '%c', expected '%c'", v->name, v->kind,
                       a->kind);
    for (int j = 0; j < i; j++)
      if (strcmp(n->attrs[j].name, v->name) == 0)
        return mien_fail(n, MIEN_INVALID_MODEL, "has attribute '%s' twice", v->name);
  }
  for (const mien_attr *a = op->attrs; a && a->name; a++) {
    if (!a->required) continue;
    int i = 0;
    while (i < n->attr_count && strcmp(n->attrs[i].name, a->name) != 0) i++;
    if (i == n->attr_count) return mien_fail(n, MIEN_INVALID_MODEL, "lacks attribute '%s'", a->name);
  }
  return MIEN_OK;
}

mien_status mien__node_init(mien_node *n, mien__scope *scope, const mien__record *record, const char *name,
                            const mien__attr_value *attrs, int attr_count, mien__value **in, int in_count,
                            mien__value **out, int out_count) {
  *n = (mien_node){.host = &scope->env->host,
                   .record = record,
                   .scope = scope,
                   .name = name ? name : "",
                   .attrs = attrs,
                   .attr_count = attr_count,
                   .in_count = in_count,
                   .out_count = out_count,
                   .in = in,
                   .out = out};
  const mien__signature *s = &record->signature;
  MIEN_TRY(check_arity(n, "input", s->in, s->in_count, in, in_count));
  MIEN_TRY(check_arity(n, "output", s->out, s->out_count, out, out_count));
  return check_attrs(n);
}

/* ---- prepare and run */

static mien_status choose_kernel(mien_node *n) {
  const mien_op *op = n->record->op;
  int variable = n->record->signature.variable_T;
  int32_t dtype = variable >= 0 ? mien__infer_variable(n, variable) : (int32_t)MIEN_ANY;
  for (const mien_kernel *k = op->kernels; k->dtype != MIEN_NONE; k++)
    if (k->dtype == MIEN_ANY || (int32_t)k->dtype == dtype) {
      n->run = k->run;
      return MIEN_OK;
    }
  return mien_fail(n, MIEN_UNSUPPORTED, "has no kernel for %s", mien_dtype_name(dtype));
}

mien_status mien__node_prepare(mien_node *n) {
  const mien_op *op = n->record->op;
  MIEN_TRY(choose_kernel(n));
  if (op->state) {
    n->state = mien__alloc(n->scope->env, op->state);
    if (!n->state) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes of state", op->state);
  }
  n->items = n->out_count && n->out[0] ? mien_count(&n->out[0]->tensor.type) : 0;
  n->cost = 1;
  n->prepared = true; /* release is called from here on, whatever prepare says */
  if (op->prepare) MIEN_TRY(op->prepare(n));
  if (n->scratch_bytes && !n->scope->threads) {
    n->own_scratch = mien__alloc(n->scope->env, n->scratch_bytes);
    if (!n->own_scratch) return mien_fail(n, MIEN_NO_MEMORY, "cannot allocate %zu bytes of scratch", n->scratch_bytes);
  }
  return MIEN_OK;
}

static mien_status run_items(mien_node *n, void *arg, int64_t begin, int64_t end) {
  (void)arg;
  return n->run(n, begin, end);
}

mien_status mien__node_run(mien_node *n) {
  if (n->record->op->flags & MIEN_OP_VIEW) {
    /* Executors let the output share the input's memory; where they could not, its bytes are copied. */
    const mien_tensor *x = &n->in[0]->tensor, *y = &n->out[0]->tensor;
    size_t bytes = (size_t)mien_count(&y->type) * mien_dtype_size(y->type.dtype);
    if (x->data != y->data && bytes) memcpy(y->data, x->data, bytes);
    return MIEN_OK;
  }
  if (n->items <= 0) return MIEN_OK;
  if ((n->record->op->flags & MIEN_OP_SERIAL) || !n->scope->threads) return mien__call(n, run_items, NULL, 0, n->items);
  return mien__threads_run(n->scope->threads, n, n->items, n->cost, run_items, NULL);
}

void mien__node_clear(mien_node *n) {
  if (n->prepared && n->record->op->release) n->record->op->release(n);
  if (n->scope) {
    mien__free(n->scope->env, n->state);
    mien__free(n->scope->env, n->own_scratch);
    mien__private_packs_free(n);
  }
  n->state = n->own_scratch = NULL;
  n->prepared = false;
}

/* ---- evaluate */

static mien_status allocate_outputs(mien_node *n) {
  for (int i = 0; i < n->out_count; i++) {
    if (!n->out[i] || n->out[i]->tensor.data) continue;
    mien_type type = n->out[i]->tensor.type;
    mien_error error = {0};
    mien_status status = mien__tensor_alloc(n->scope->env, &type, &n->out[i]->tensor, &error);
    if (status != MIEN_OK) return mien_fail(n, status, "%s", error.message);
  }
  return MIEN_OK;
}

mien_status mien__node_evaluate(mien_node *n) {
  mien_status status = mien__node_infer(n);
  if (status == MIEN_OK && (n->record->op->flags & MIEN_OP_DATA_SHAPE) == 0) status = allocate_outputs(n);
  if (status == MIEN_OK) status = mien__node_prepare(n);
  if (status == MIEN_OK) status = mien__threads_reserve(n->scope->threads, n->scratch_bytes, n->scope->error);
  if (status == MIEN_OK) status = mien__node_run(n);
  mien__node_clear(n);
  for (int i = 0; i < n->out_count; i++) {
    if (!n->out[i]) continue;
    if (status == MIEN_OK)
      n->out[i]->constant = true;
    else {
      mien__free(n->scope->env, n->out[i]->tensor.data);
      n->out[i]->tensor.data = NULL;
    }
  }
  return status;
}
