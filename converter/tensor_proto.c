/* tensor_proto.c -- the tensors of ONNX messages. */
#include "converter/import.h"

#include <mien/convert.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "raw_data is little-endian and used in place"
#endif

/* Elements of this type that share a byte in files. */
static unsigned per_byte(int32_t dtype) {
  switch (dtype) {
    case MIEN_U4:
    case MIEN_I4:
    case MIEN_F4E2M1: return 2;
    case MIEN_U2:
    case MIEN_I2: return 4;
    default: return 1;
  }
}

typedef enum field { RAW, FLOATS, INT32S, STRINGS, INT64S, DOUBLES, UINT64S, FIELDS } field;
static const char *const field_names[] = {"raw_data",   "float_data",  "int32_data", "string_data",
                                          "int64_data", "double_data", "uint64_data"};

/* The typed field of an element type, and how many of its entries one element takes. */
static field typed_field(int32_t dtype, size_t *entries) {
  *entries = 1;
  switch (dtype) {
    case MIEN_C64: *entries = 2; return FLOATS;
    case MIEN_F32: return FLOATS;
    case MIEN_C128: *entries = 2; return DOUBLES;
    case MIEN_F64: return DOUBLES;
    case MIEN_I64: return INT64S;
    case MIEN_U32:
    case MIEN_U64: return UINT64S;
    case MIEN_STRING: return STRINGS;
    default: return INT32S;
  }
}

static size_t field_entries(const mien__tensor_proto *p, field f) {
  switch (f) {
    case RAW: return p->raw_data.len;
    case FLOATS: return p->n_float_data;
    case INT32S: return p->n_int32_data;
    case STRINGS: return p->n_string_data;
    case INT64S: return p->n_int64_data;
    case DOUBLES: return p->n_double_data;
    case UINT64S: return p->n_uint64_data;
    default: return 0;
  }
}

typedef struct reader {
  mien_env *env;
  mien__pool *pool;
  const mien__tensor_proto *proto;
  const char *what;
  mien_error *error;
  mien_tensor t;
  int64_t count;
  bool owned;
} reader;

static mien_status type_of(reader *r) {
  const mien__tensor_proto *p = r->proto;
  if (p->segment) return mien__fail(r->error, MIEN_UNSUPPORTED, "%s: tensors in segments are not supported", r->what);
  if (!p->has_data_type || p->data_type == 0)
    return mien__fail(r->error, MIEN_INVALID_MODEL, "%s has no element type", r->what);
  if (!mien__dtype_valid(p->data_type))
    return mien__fail(r->error, MIEN_UNSUPPORTED, "%s has element type %d, which mien does not know", r->what,
                      (int)p->data_type);
  if (p->n_dims > MIEN_MAX_RANK)
    return mien__fail(r->error, MIEN_LIMIT, "%s has rank %zu, the limit is %d", r->what, p->n_dims, MIEN_MAX_RANK);
  r->t.type = (mien_type){.dtype = p->data_type, .rank = (int32_t)p->n_dims};
  for (size_t i = 0; i < p->n_dims; i++) {
    if (p->dims[i] < 0)
      return mien__fail(r->error, MIEN_INVALID_MODEL, "%s: dimension %zu is %lld, expected a number >= 0", r->what, i,
                        (long long)p->dims[i]);
    r->t.type.dim[i] = p->dims[i];
  }
  mien_error inner;
  mien_status status = mien__type_size(r->env, &r->t.type, &r->count, &r->t.bytes, &inner);
  return status == MIEN_OK ? status : mien__fail(r->error, status, "%s: %s", r->what, inner.message);
}

static mien_status allocate(reader *r, size_t bytes) {
  r->owned = !r->pool;
  r->t.data = r->pool ? mien__pool_alloc(r->pool, bytes) : mien__alloc(r->env, bytes);
  return r->t.data ? MIEN_OK : mien__no_memory(r->error, bytes);
}

static mien_status wrong_count(reader *r, field f, size_t expected) {
  char text[256];
  return mien__fail(r->error, MIEN_INVALID_MODEL, "%s: %s has %zu %s, %s needs %zu", r->what, field_names[f],
                    field_entries(r->proto, f), f == RAW ? "bytes" : "entries",
                    mien__type_text(&r->t.type, NULL, text, sizeof text), expected);
}

/* Elements smaller than a byte: one a byte in memory, signed ones extended. */
static void unpack(reader *r, const uint8_t *packed) {
  unsigned each = per_byte(r->t.type.dtype), bits = 8 / each, mask = (1u << bits) - 1;
  bool is_signed = r->t.type.dtype == MIEN_I4 || r->t.type.dtype == MIEN_I2;
  uint8_t *out = r->t.data;
  for (int64_t i = 0; i < r->count; i++) {
    unsigned v = (unsigned)(packed[(size_t)i / each] >> ((size_t)i % each * bits)) & mask;
    if (is_signed && v >> (bits - 1)) v |= ~mask;
    out[i] = (uint8_t)v;
  }
}

static mien_status of_bytes(reader *r, const uint8_t *data) {
  unsigned each = per_byte(r->t.type.dtype);
  size_t align = mien_dtype_size(r->t.type.dtype);
  if (each > 1) {
    MIEN_TRY(allocate(r, r->t.bytes));
    unpack(r, data);
    return MIEN_OK;
  }
  if (r->t.type.dtype == MIEN_BOOL)
    for (int64_t i = 0; i < r->count; i++)
      if (data[i] > 1)
        return mien__fail(r->error, MIEN_INVALID_MODEL, "%s: element %lld is byte %d, a bool is 0 or 1", r->what,
                          (long long)i, data[i]);
  if ((uintptr_t)data % (align > 8 ? 8 : align) == 0) {
    r->t.data = (void *)(uintptr_t)data;
    return MIEN_OK;
  }
  MIEN_TRY(allocate(r, r->t.bytes));
  memcpy(r->t.data, data, r->t.bytes);
  return MIEN_OK;
}

/* Values of int32_data are the element's bits, or for integers its value. */
static mien_status of_int32s(reader *r) {
  const int32_t *v = r->proto->int32_data;
  int32_t dtype = r->t.type.dtype;
  size_t size = mien_dtype_size(dtype);
  int64_t low = 0, high = size == 1 ? UINT8_MAX : UINT16_MAX;
  if (dtype == MIEN_I8) low = INT8_MIN, high = INT8_MAX;
  if (dtype == MIEN_I16) low = INT16_MIN, high = INT16_MAX;
  if (dtype == MIEN_I32) low = INT32_MIN, high = INT32_MAX;
  if (dtype == MIEN_BOOL) high = 1;
  for (size_t i = 0; i < r->proto->n_int32_data; i++)
    if (v[i] < low || v[i] > high)
      return mien__fail(r->error, MIEN_INVALID_MODEL, "%s: int32_data[%zu] is %d, outside %s", r->what, i, (int)v[i],
                        mien_dtype_name(dtype));
  MIEN_TRY(allocate(r, r->t.bytes));
  for (int64_t i = 0; i < r->count; i++) {
    if (size == 1) ((uint8_t *)r->t.data)[i] = (uint8_t)v[i];
    if (size == 2) ((uint16_t *)r->t.data)[i] = (uint16_t)v[i];
    if (size == 4) ((int32_t *)r->t.data)[i] = v[i];
  }
  return MIEN_OK;
}

static mien_status of_packed_int32s(reader *r) {
  size_t bytes = r->proto->n_int32_data;
  uint8_t *packed = mien__alloc(r->env, bytes);
  if (!packed) return mien__no_memory(r->error, bytes);
  mien_status status = MIEN_OK;
  for (size_t i = 0; i < bytes; i++) {
    int32_t v = r->proto->int32_data[i];
    if (v < 0 || v > UINT8_MAX) {
      status = mien__fail(r->error, MIEN_INVALID_MODEL, "%s: int32_data[%zu] is %d, expected a byte of packed elements",
                          r->what, i, (int)v);
      break;
    }
    packed[i] = (uint8_t)v;
  }
  if (status == MIEN_OK) status = allocate(r, r->t.bytes);
  if (status == MIEN_OK) unpack(r, packed);
  mien__free(r->env, packed);
  return status;
}

/* The texts stand behind the array that points to them, in one block. */
static mien_status of_strings(reader *r) {
  size_t total = r->t.bytes;
  for (size_t i = 0; i < r->proto->n_string_data; i++)
    if (!mien__add(total, r->proto->string_data[i].len, &total))
      return mien__fail(r->error, MIEN_LIMIT, "%s: its texts are too long", r->what);
  MIEN_TRY(allocate(r, total));
  mien_string *strings = r->t.data;
  char *text = (char *)r->t.data + r->t.bytes;
  for (size_t i = 0; i < r->proto->n_string_data; i++) {
    size_t length = r->proto->string_data[i].len;
    if (length) memcpy(text, r->proto->string_data[i].data, length);
    strings[i] = (mien_string){.data = text, .length = length};
    text += length;
  }
  r->t.bytes = total;
  return MIEN_OK;
}

static mien_status of_field(reader *r, field f, size_t entries) {
  const mien__tensor_proto *p = r->proto;
  unsigned each = per_byte(r->t.type.dtype);
  size_t expected = (size_t)r->count * entries;
  if (each > 1) expected = ((size_t)r->count + each - 1) / each;
  if (f == RAW && each == 1) expected = r->t.bytes;
  if (field_entries(p, f) != expected) return wrong_count(r, f, expected);
  switch (f) {
    case RAW: return of_bytes(r, p->raw_data.data);
    case FLOATS: return of_bytes(r, (const uint8_t *)p->float_data);
    case DOUBLES: return of_bytes(r, (const uint8_t *)p->double_data);
    case INT64S: return of_bytes(r, (const uint8_t *)p->int64_data);
    case INT32S: return each > 1 ? of_packed_int32s(r) : of_int32s(r);
    case STRINGS: return of_strings(r);
    default: break;
  }
  if (r->t.type.dtype == MIEN_U64) return of_bytes(r, (const uint8_t *)p->uint64_data);
  for (size_t i = 0; i < expected; i++)
    if (p->uint64_data[i] > UINT32_MAX)
      return mien__fail(r->error, MIEN_INVALID_MODEL, "%s: uint64_data[%zu] is %llu, outside u32", r->what, i,
                        (unsigned long long)p->uint64_data[i]);
  MIEN_TRY(allocate(r, r->t.bytes));
  for (size_t i = 0; i < expected; i++) ((uint32_t *)r->t.data)[i] = (uint32_t)p->uint64_data[i];
  return MIEN_OK;
}

/* Exactly one field may hold data, and it must be one that the element type allows. */
static mien_status find_field(reader *r, field *found, size_t *entries) {
  field typed = typed_field(r->t.type.dtype, entries);
  field used = FIELDS;
  for (int f = 0; f < FIELDS; f++) {
    if (!field_entries(r->proto, (field)f)) continue;
    if (used != FIELDS)
      return mien__fail(r->error, MIEN_INVALID_MODEL, "%s has data in %s and in %s, expected one of them", r->what,
                        field_names[used], field_names[f]);
    used = (field)f;
  }
  if (used == FIELDS) used = r->proto->has_raw_data && typed != STRINGS ? RAW : typed;
  if (used != typed && (used != RAW || typed == STRINGS))
    return mien__fail(r->error, MIEN_INVALID_MODEL, "%s has data in %s, expected %s%s for %s", r->what,
                      field_names[used], typed == STRINGS ? "" : "raw_data or ", field_names[typed],
                      mien_dtype_name(r->t.type.dtype));
  *found = used;
  return MIEN_OK;
}

static mien_status of_external(reader *r, mien__external *external) {
  for (int f = 0; f < FIELDS; f++)
    if (field_entries(r->proto, (field)f))
      return mien__fail(r->error, MIEN_INVALID_MODEL, "%s is external but has data in %s as well", r->what,
                        field_names[f]);
  if (r->t.type.dtype == MIEN_STRING)
    return mien__fail(r->error, MIEN_INVALID_MODEL, "%s: strings cannot be external", r->what);
  if (!external) return mien__fail(r->error, MIEN_UNSUPPORTED, "%s: external data is not accepted here", r->what);
  unsigned each = per_byte(r->t.type.dtype);
  size_t bytes = each > 1 ? ((size_t)r->count + each - 1) / each : r->t.bytes;
  const uint8_t *data;
  MIEN_TRY(mien__external_data(external, r->proto, bytes, r->what, &data, r->error));
  return bytes ? of_bytes(r, data) : MIEN_OK;
}

mien_status mien__tensor_of_proto(mien_env *env, mien__pool *pool, mien__external *external,
                                  const mien__tensor_proto *proto, const char *what, mien_tensor *tensor, bool *owned,
                                  mien_error *error) {
  reader r = {.env = env, .pool = pool, .proto = proto, .what = what, .error = error};
  MIEN_TRY(type_of(&r));
  if (proto->data_location == 1) {
    MIEN_TRY(of_external(&r, external));
  } else if (proto->data_location != 0) {
    return mien__fail(error, MIEN_INVALID_MODEL, "%s has data location %d, expected 0 or 1", what,
                      (int)proto->data_location);
  } else if (proto->n_external_data) {
    return mien__fail(error, MIEN_INVALID_MODEL, "%s has external_data but is not marked as external", what);
  } else {
    field f = RAW;
    size_t entries = 1;
    MIEN_TRY(find_field(&r, &f, &entries));
    MIEN_TRY(of_field(&r, f, entries));
  }
  if (!r.t.data) MIEN_TRY(allocate(&r, 0)); /* no elements: still a place to point to */
  *tensor = r.t;
  *owned = r.owned;
  return MIEN_OK;
}

/* ---- .pb files */

uint64_t mien__message_budget(const mien_env *env, size_t size) {
  uint64_t budget = (uint64_t)64 << 20, own;
  if (__builtin_mul_overflow((uint64_t)size, (uint64_t)32, &own) || __builtin_add_overflow(budget, own, &budget))
    budget = UINT64_MAX;
  return budget < env->limits.load_bytes ? budget : env->limits.load_bytes;
}

static mien_status tensor_of_file(mien_env *env, const char *path, const mien__file *file, mien__pool *pool,
                                  mien_tensor *tensor, mien_error *error) {
  struct ProtobufCMessage *message;
  uint64_t budget = mien__message_budget(env, file->size);
  mien__wire_info info;
  MIEN_TRY(mien__wire_unpack(&mien__onnx__tensor_proto__descriptor, file->data, file->size, env->limits.depth, budget,
                             path, pool, &info, &message, error));
  if (info.unknown_message)
    return mien__fail(error, MIEN_CORRUPT, "%s: field %u of %s is not known: is it a TensorProto?", path,
                      info.unknown_field, info.unknown_message);
  mien_tensor result;
  bool owned;
  MIEN_TRY(mien__tensor_of_proto(env, NULL, NULL, (const mien__tensor_proto *)message, path, &result, &owned, error));
  if (!owned) {
    void *copy = mien__alloc(env, result.bytes);
    if (!copy) return mien__no_memory(error, result.bytes);
    memcpy(copy, result.data, result.bytes);
    result.data = copy;
  }
  *tensor = result;
  return MIEN_OK;
}

mien_status mien_tensor_proto_read(mien_env *env, const char *path, mien_tensor *tensor, mien_error *error) {
  if (!env || !path || !tensor) return mien__fail(error, MIEN_INVALID_ARGUMENT, "a NULL argument");
  mien__file file;
  MIEN_TRY(mien__file_open(env, path, true, &file, error));
  mien__pool pool;
  mien__pool_init(&pool, env, (size_t)env->limits.load_bytes);
  mien_status status = tensor_of_file(env, path, &file, &pool, tensor, error);
  mien__pool_clear(&pool);
  mien__file_close(env, &file);
  return status;
}
