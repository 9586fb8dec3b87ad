/* Types, constants and attributes of a plan, checked as if an enemy had written them. */
#include "plan_format.h"

#include "plan.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------- types */

static mien_status type_nest(const Mien__Plan__Type *type, const char *what, mien_type *out, mien_error *error) {
  if (type->n_nest > 3) return mien__fail(error, MIEN_CORRUPT, "%s: type nested %zu deep", what, type->n_nest);
  bool map = false;
  for (size_t i = 0; i < type->n_nest; i++) {
    if (type->nest[i] < MIEN_SEQUENCE || type->nest[i] > MIEN_MAP)
      return mien__fail(error, MIEN_CORRUPT, "%s: unknown nesting %u of its type", what, type->nest[i]);
    map = map || type->nest[i] == MIEN_MAP;
    out->nest[i] = (uint8_t)type->nest[i];
  }
  if (map ? !mien__dtype_valid(type->key) : type->key != 0)
    return mien__fail(error, MIEN_CORRUPT, "%s: keys of type %u", what, type->key);
  out->key = (uint8_t)type->key;
  return MIEN_OK;
}

mien_status mien__plan_type(const Mien__Plan__Type *type, bool open, const char *what, mien_type *out,
                            mien_error *error) {
  *out = (mien_type){0};
  if (!type) return mien__fail(error, MIEN_CORRUPT, "%s: has no type", what);
  if (!mien__dtype_valid(type->dtype))
    return mien__fail(error, MIEN_CORRUPT, "%s: unknown element type %u", what, type->dtype);
  MIEN_TRY(type_nest(type, what, out, error));
  out->dtype = (int32_t)type->dtype;
  if (type->unranked) {
    if (!open || type->n_dims) return mien__fail(error, MIEN_CORRUPT, "%s: type without rank", what);
    out->rank = -1;
    return MIEN_OK;
  }
  if (type->n_dims > MIEN_MAX_RANK)
    return mien__fail(error, MIEN_CORRUPT, "%s: rank %zu, at most %d", what, type->n_dims, MIEN_MAX_RANK);
  out->rank = (int32_t)type->n_dims;
  for (size_t d = 0; d < type->n_dims; d++) {
    int64_t dim = type->dims[d]->value;
    if (dim < (open ? -1 : 0))
      return mien__fail(error, MIEN_CORRUPT, "%s: dimension %zu is %lld", what, d, (long long)dim);
    out->dim[d] = dim;
  }
  return MIEN_OK;
}

/* ---------------------------------------------------------------- constants */

/* Kernels read a bool as C does and index tables with small numbers: other bits would be undefined behaviour there. */
static bool constant_contents(int32_t dtype, const uint8_t *data, size_t bytes) {
  uint8_t most = 0xff;
  if (dtype == MIEN_BOOL) most = 1;
  if (dtype == MIEN_U4 || dtype == MIEN_F4E2M1) most = 15;
  if (dtype == MIEN_U2) most = 3;
  int8_t range = dtype == MIEN_I4 ? 8 : dtype == MIEN_I2 ? 2 : 0;
  if (most == 0xff && !range) return true;
  for (size_t i = 0; i < bytes; i++) {
    int8_t value = (int8_t)data[i];
    if (range ? value < -range || value >= range : data[i] > most) return false;
  }
  return true;
}

static mien_status check_constant(const mien_plan *plan, size_t index, mien_tensor *out, mien_error *error) {
  const Mien__Plan__Constant *c = plan->source->constants[index];
  size_t section = plan->section_bytes[MIEN__SECTION_CONSTANTS];
  char what[48];
  snprintf(what, sizeof what, "constant %zu", index + 1);
  MIEN_TRY(mien__plan_type(c->type, false, what, &out->type, error));
  if (out->type.nest[0] != MIEN_TENSOR || out->type.dtype == MIEN_STRING)
    return mien__fail(error, MIEN_UNSUPPORTED, "%s: only numbers can be constants of a plan", what);
  int64_t count;
  size_t bytes;
  MIEN_TRY(mien__type_size(plan->env, &out->type, &count, &bytes, error));
  if (c->size != bytes)
    return mien__fail(error, MIEN_CORRUPT, "%s: has %llu bytes, its type needs %zu", what, (unsigned long long)c->size,
                      bytes);
  if (c->offset % MIEN__PLAN_ALIGN || c->offset > section || bytes > section - c->offset)
    return mien__fail(error, MIEN_CORRUPT, "%s: offset %llu and size %zu do not fit a section of %zu bytes", what,
                      (unsigned long long)c->offset, bytes, section);
  out->data = (void *)(uintptr_t)(plan->constants + c->offset);
  out->bytes = bytes;
  if (!constant_contents(out->type.dtype, out->data, bytes))
    return mien__fail(error, MIEN_CORRUPT, "%s: contents that %s cannot have", what, mien_dtype_name(out->type.dtype));
  return MIEN_OK;
}

static int by_place(const void *left, const void *right) {
  const mien_tensor *a = *(mien_tensor *const *)left, *b = *(mien_tensor *const *)right;
  if (a->data != b->data) return (uintptr_t)a->data < (uintptr_t)b->data ? -1 : 1;
  return a->bytes < b->bytes ? -1 : a->bytes > b->bytes;
}

/* One stretch of bytes may serve two constants of different shape, but not in part: memory for packings would no longer be
** bounded by the file. */
static mien_status check_overlaps(const mien_plan *plan, size_t count, mien_error *error) {
  if (count == 0) return MIEN_OK;
  mien_tensor **order = mien__alloc(plan->env, count * sizeof *order);
  if (!order) return mien__no_memory(error, count * sizeof *order);
  mien_status status = MIEN_OK;
  size_t used = 0;
  for (size_t i = 0; i < count; i++)
    if (plan->tensors[i].bytes) order[used++] = &plan->tensors[i];
  qsort(order, used, sizeof *order, by_place);
  for (size_t i = 1; status == MIEN_OK && i < used; i++) {
    const uint8_t *before = order[i - 1]->data, *at = order[i]->data;
    if ((before == at && order[i - 1]->bytes == order[i]->bytes) || before + order[i - 1]->bytes <= at) continue;
    status = mien__fail(error, MIEN_CORRUPT, "constants %zu and %zu overlap",
                        (size_t)(order[i - 1] - plan->tensors) + 1, (size_t)(order[i] - plan->tensors) + 1);
  }
  mien__free(plan->env, order);
  return status;
}

mien_status mien__plan_check_constants(mien_plan *plan, mien_error *error) {
  size_t count = plan->source->n_constants, bytes = count * sizeof *plan->tensors;
  plan->tensors = mien__pool_alloc(&plan->pool, bytes);
  if (!plan->tensors) return mien__no_memory(error, bytes);
  for (size_t i = 0; i < count; i++) MIEN_TRY(check_constant(plan, i, &plan->tensors[i], error));
  return check_overlaps(plan, count, error);
}

/* ---------------------------------------------------------------- attributes */

static mien_status copy_text(mien_plan *plan, const ProtobufCBinaryData *from, mien_string *to, mien_error *error) {
  char *copy = mien__pool_string(&plan->pool, (const char *)from->data, from->len);
  if (!copy) return mien__no_memory(error, from->len);
  *to = (mien_string){copy, from->len};
  return MIEN_OK;
}

static mien_status copy_texts(mien_plan *plan, const Mien__Plan__Attribute *a, mien__attr_value *out,
                              mien_error *error) {
  size_t bytes = a->n_strings * sizeof *out->strings; /* fits: the messages are larger */
  out->strings = mien__pool_alloc(&plan->pool, bytes);
  if (!out->strings) return mien__no_memory(error, bytes);
  for (size_t i = 0; i < a->n_strings; i++) MIEN_TRY(copy_text(plan, &a->strings[i], &out->strings[i], error));
  return MIEN_OK;
}

mien_status mien__plan_attribute(mien_plan *plan, const Mien__Plan__Attribute *a, const char *what,
                                 mien__attr_value *out, mien_error *error) {
  *out = (mien__attr_value){.name = a->name, .i = a->i, .f = a->f};
  if (!a->name[0]) return mien__fail(error, MIEN_CORRUPT, "%s: an attribute without a name", what);
  switch (a->kind) {
    case 'i':
    case 'f': break;
    case 's': MIEN_TRY(copy_text(plan, &a->s, &out->s, error)); break;
    case 'I':
      out->ints = a->ints;
      out->count = (int64_t)a->n_ints;
      break;
    case 'F':
      out->floats = a->floats;
      out->count = (int64_t)a->n_floats;
      break;
    case 'S':
      MIEN_TRY(copy_texts(plan, a, out, error));
      out->count = (int64_t)a->n_strings;
      break;
    case 't':
      if (a->constant == 0 || a->constant > plan->source->n_constants)
        return mien__fail(error, MIEN_CORRUPT, "%s: attribute '%s' is constant %u of %zu", what, a->name, a->constant,
                          plan->source->n_constants);
      out->tensor = &plan->tensors[a->constant - 1];
      break;
    default: return mien__fail(error, MIEN_CORRUPT, "%s: attribute '%s' has unknown kind %u", what, a->name, a->kind);
  }
  out->kind = (char)a->kind;
  return MIEN_OK;
}
