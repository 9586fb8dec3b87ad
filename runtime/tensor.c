/* tensor.c -- sizes, texts and elements of tensors. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

mien_status mien__type_size(const mien_env *env, const mien_type *type, int64_t *count, size_t *bytes,
                            mien_error *error) {
  char text[256];
  if (type->rank < 0 || type->rank > MIEN_MAX_RANK || !mien__dtype_valid(type->dtype))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "type %s has no size",
                      mien__type_text(type, NULL, text, sizeof text));
  size_t n = 1, total;
  bool fits = true, empty = false;
  for (int i = 0; i < type->rank; i++) {
    if (type->dim[i] < 0)
      return mien__fail(error, MIEN_INVALID_ARGUMENT, "type %s has no size",
                        mien__type_text(type, NULL, text, sizeof text));
    if (type->dim[i] == 0)
      empty = true;
    else
      fits = fits && mien__mul(n, (size_t)type->dim[i], &n);
  }
  /* Dims whose product overflows are refused even beside a 0: strides are computed from them. */
  if (!fits || !mien__mul(n, mien_dtype_size(type->dtype), &total) || total > env->limits.tensor_bytes)
    return mien__fail(error, MIEN_LIMIT, "a tensor of type %s exceeds the limit of %llu bytes",
                      mien__type_text(type, NULL, text, sizeof text), (unsigned long long)env->limits.tensor_bytes);
  *count = empty ? 0 : (int64_t)n;
  *bytes = empty ? 0 : total;
  return MIEN_OK;
}

mien_status mien__type_fits(const mien_env *env, const mien_type *type, mien_error *error) {
  size_t n = mien_dtype_size(type->dtype);
  if (n == 0) n = 1;
  bool fits = true;
  for (int i = 0; i < type->rank; i++)
    if (type->dim[i] > 0) fits = fits && mien__mul(n, (size_t)type->dim[i], &n);
  if (fits && n <= env->limits.tensor_bytes) return MIEN_OK;
  char text[256];
  return mien__fail(error, MIEN_LIMIT, "a tensor of type %s exceeds the limit of %llu bytes",
                    mien__type_text(type, NULL, text, sizeof text), (unsigned long long)env->limits.tensor_bytes);
}

const char *mien__type_text(const mien_type *type, const mien__symbols *symbols, char *text, size_t size) {
  static const char *const nests[] = {"", "sequence ", "optional ", "map "};
  size_t at = 0;
  text[0] = 0;
#define APPEND(...)                                                      \
  do {                                                                   \
    int n_ = snprintf(text + at, size - at, __VA_ARGS__);                \
    at = n_ < 0 || (size_t)n_ >= size - at ? size - 1 : at + (size_t)n_; \
  } while (0)
  for (int i = 0; i < 3 && type->nest[i] != MIEN_TENSOR; i++) APPEND("%s", nests[type->nest[i] & 3]);
  APPEND("%s", mien_dtype_name(type->dtype));
  if (type->rank < 0) {
    APPEND("[...]");
    return text;
  }
  APPEND("[");
  for (int i = 0; i < type->rank && i < MIEN_MAX_RANK; i++) {
    char dim[96];
    APPEND("%s%s", i ? "," : "", mien__dim_text(symbols, type->dim[i], dim, sizeof dim));
  }
  APPEND("]");
#undef APPEND
  return text;
}

bool mien__type_equal(const mien_type *a, const mien_type *b) {
  if (memcmp(a->nest, b->nest, sizeof a->nest) != 0 || a->key != b->key || a->dtype != b->dtype || a->rank != b->rank)
    return false;
  return a->rank <= 0 || memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

mien_status mien__tensor_alloc(mien_env *env, const mien_type *type, mien_tensor *tensor, mien_error *error) {
  int64_t count;
  size_t bytes;
  MIEN_TRY(mien__type_size(env, type, &count, &bytes, error));
  void *data = mien__alloc(env, bytes);
  if (!data) return mien__no_memory(error, bytes);
  *tensor = (mien_tensor){.type = *type, .data = data, .bytes = bytes};
  return MIEN_OK;
}

void mien_tensor_clear(mien_env *env, mien_tensor *tensor) {
  if (!tensor) return;
  mien__free(env, tensor->data);
  *tensor = (mien_tensor){0};
}

double mien__tensor_f64(const mien_tensor *t, int64_t i) {
  const void *p = t->data;
  switch (t->type.dtype) {
    case MIEN_F64: return ((const double *)p)[i];
    case MIEN_F32: return (double)((const float *)p)[i];
    case MIEN_F16: return (double)mien__f16_to_f32(((const uint16_t *)p)[i]);
    case MIEN_BF16: return (double)mien__bf16_to_f32(((const uint16_t *)p)[i]);
    case MIEN_U64: return (double)((const uint64_t *)p)[i];
    default: return (double)mien__tensor_i64(t, i);
  }
}

int64_t mien__tensor_i64(const mien_tensor *t, int64_t i) {
  const void *p = t->data;
  switch (t->type.dtype) {
    case MIEN_I64: return ((const int64_t *)p)[i];
    case MIEN_U64: return (int64_t)((const uint64_t *)p)[i];
    case MIEN_I32: return ((const int32_t *)p)[i];
    case MIEN_U32: return ((const uint32_t *)p)[i];
    case MIEN_I16: return ((const int16_t *)p)[i];
    case MIEN_U16: return ((const uint16_t *)p)[i];
    case MIEN_I8:
    case MIEN_I4:
    case MIEN_I2: return ((const int8_t *)p)[i];
    case MIEN_U8:
    case MIEN_BOOL:
    case MIEN_U4:
    case MIEN_U2: return ((const uint8_t *)p)[i];
    case MIEN_F32:
    case MIEN_F64:
    case MIEN_F16:
    case MIEN_BF16: {
      double value = mien__tensor_f64(t, i);
      if (!(value == value)) return 0;
      return value >= 9223372036854775807.0 ? INT64_MAX : value <= -9223372036854775808.0 ? INT64_MIN : (int64_t)value;
    }
    default: return 0;
  }
}
