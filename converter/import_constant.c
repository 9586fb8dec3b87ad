/* import_constant.c -- the tensor that a Constant node stands for. */
#include "converter/import.h"

#include <string.h>

static mien_status constant_of(mien__import *im, int32_t dtype, int32_t rank, int64_t count, const void *data,
                               mien_tensor *tensor) {
  *tensor = (mien_tensor){.type = {.dtype = dtype, .rank = rank, .dim = {rank ? count : 0}}};
  size_t bytes;
  if (!mien__mul((size_t)count, mien_dtype_size(dtype), &bytes)) return mien__no_memory(im->error, SIZE_MAX);
  tensor->bytes = bytes;
  tensor->data = mien__pool_copy(&im->graph->pool, data, bytes);
  return tensor->data ? MIEN_OK : mien__no_memory(im->error, bytes);
}

mien_status mien__import_constant(mien__import *im, const mien__attrs *attrs, const char *node, mien_tensor *tensor) {
  static const struct {
    const char *name;
    char kind;
  } forms[] = {{"value", 't'},      {"value_float", 'f'},  {"value_floats", 'F'}, {"value_int", 'i'},
               {"value_ints", 'I'}, {"value_string", 's'}, {"value_strings", 'S'}};
  const mien__attr_value *a = attrs->count == 1 ? &attrs->list[0] : NULL;
  bool known = false;
  for (size_t i = 0; a && i < sizeof forms / sizeof *forms; i++)
    known = known || (strcmp(a->name, forms[i].name) == 0 && a->kind == forms[i].kind);
  if (!known)
    return mien__fail(im->error, MIEN_INVALID_MODEL,
                      "node '%s' (Constant): expected one attribute: value, value_float, "
                      "value_floats, value_int, value_ints, value_string or value_strings",
                      node);
  switch (a->kind) {
    case 't': *tensor = *a->tensor; return MIEN_OK;
    case 'f': return constant_of(im, MIEN_F32, 0, 1, &a->f, tensor);
    case 'F': return constant_of(im, MIEN_F32, 1, a->count, a->floats, tensor);
    case 'i': return constant_of(im, MIEN_I64, 0, 1, &a->i, tensor);
    case 'I': return constant_of(im, MIEN_I64, 1, a->count, a->ints, tensor);
    case 's': return constant_of(im, MIEN_STRING, 0, 1, &a->s, tensor);
    default: return constant_of(im, MIEN_STRING, 1, a->count, a->strings, tensor);
  }
}
