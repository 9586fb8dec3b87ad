/* npy.c -- tensors in numpy's .npy files, formats 1.0 to 3.0. The header is text written by whoever: it is read by rule, never guessed. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_HEADER 65536u

/* Letters of numpy's kinds and sizes. */
static const struct {
  char text[4];
  int32_t dtype;
} descriptors[] = {{"f4", MIEN_F32}, {"f8", MIEN_F64},  {"f2", MIEN_F16}, {"i1", MIEN_I8},   {"i2", MIEN_I16},
                   {"i4", MIEN_I32}, {"i8", MIEN_I64},  {"u1", MIEN_U8},  {"u2", MIEN_U16},  {"u4", MIEN_U32},
                   {"u8", MIEN_U64}, {"b1", MIEN_BOOL}, {"c8", MIEN_C64}, {"c16", MIEN_C128}};

typedef struct reader {
  const char *at, *end;
  const char *path;
  mien_error *error;
  mien_type type;
  bool fortran, have_descr, have_order, have_shape;
} reader;

static mien_status bad(const reader *r, const char *what) {
  return mien__fail(r->error, MIEN_CORRUPT, "'%.200s': .npy header: %s", r->path, what);
}

static void skip_spaces(reader *r) {
  while (r->at < r->end && (*r->at == ' ' || *r->at == '\n' || *r->at == '\t')) r->at++;
}

static bool take(reader *r, char c) {
  skip_spaces(r);
  if (r->at == r->end || *r->at != c) return false;
  r->at++;
  return true;
}

/* A quoted word without escapes. */
static bool take_string(reader *r, const char **text, size_t *length) {
  skip_spaces(r);
  if (r->at == r->end || (*r->at != '\'' && *r->at != '"')) return false;
  char quote = *r->at++;
  *text = r->at;
  while (r->at < r->end && *r->at != quote && *r->at != '\\') r->at++;
  if (r->at == r->end || *r->at != quote) return false;
  *length = (size_t)(r->at++ - *text);
  return true;
}

static bool take_word(reader *r, const char *word) {
  size_t n = strlen(word);
  skip_spaces(r);
  if ((size_t)(r->end - r->at) < n || memcmp(r->at, word, n) != 0) return false;
  r->at += n;
  return true;
}

static mien_status read_descr(reader *r) {
  const char *text;
  size_t length;
  if (r->have_descr) return bad(r, "'descr' is given twice");
  if (!take_string(r, &text, &length)) return bad(r, "'descr' is no plain type (structured types are not supported)");
  if (length && *text == '>')
    return mien__fail(r->error, MIEN_UNSUPPORTED, "'%.200s': .npy type '%.*s' is big-endian; save it as little-endian",
                      r->path, (int)(length > 20 ? 20 : length), text);
  if (length && (*text == '<' || *text == '|' || *text == '=')) text++, length--;
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
    if (length == strlen(descriptors[i].text) && memcmp(text, descriptors[i].text, length) == 0)
      r->type.dtype = descriptors[i].dtype;
  if (r->type.dtype == MIEN_NONE)
    return mien__fail(r->error, MIEN_UNSUPPORTED, "'%.200s': .npy type '%.*s' is not supported", r->path,
                      (int)(length > 20 ? 20 : length), text);
  r->have_descr = true;
  return MIEN_OK;
}

static mien_status read_shape(reader *r) {
  if (r->have_shape) return bad(r, "'shape' is given twice");
  if (!take(r, '(')) return bad(r, "'shape' is no tuple");
  bool comma = true;
  for (r->type.rank = 0; !take(r, ')'); r->type.rank++) {
    int64_t dim = 0;
    const char *digits = r->at;
    if (!comma) return bad(r, "'shape' is no tuple");
    if (r->type.rank == MIEN_MAX_RANK)
      return mien__fail(r->error, MIEN_LIMIT, "'%.200s': more than %d dimensions", r->path, MIEN_MAX_RANK);
    for (; r->at < r->end && *r->at >= '0' && *r->at <= '9'; r->at++)
      if (__builtin_mul_overflow(dim, 10, &dim) || __builtin_add_overflow(dim, *r->at - '0', &dim))
        return bad(r, "'shape' holds a number that is too large");
    if (r->at == digits) return bad(r, "'shape' holds what is no number");
    r->type.dim[r->type.rank] = dim;
    comma = take(r, ',');
  }
  if (r->type.rank == 1 && !comma) return bad(r, "'shape' is no tuple"); /* (3) is a number */
  r->have_shape = true;
  return MIEN_OK;
}

static mien_status read_order(reader *r) {
  if (r->have_order) return bad(r, "'fortran_order' is given twice");
  if (take_word(r, "True"))
    r->fortran = true;
  else if (!take_word(r, "False"))
    return bad(r, "'fortran_order' is neither True nor False");
  r->have_order = true;
  return MIEN_OK;
}

static mien_status read_header(reader *r) {
  if (!take(r, '{')) return bad(r, "no dictionary");
  while (!take(r, '}')) {
    const char *key;
    size_t length;
    if (!take_string(r, &key, &length) || !take(r, ':')) return bad(r, "no dictionary");
    if (length == 5 && memcmp(key, "descr", 5) == 0)
      MIEN_TRY(read_descr(r));
    else if (length == 5 && memcmp(key, "shape", 5) == 0)
      MIEN_TRY(read_shape(r));
    else if (length == 13 && memcmp(key, "fortran_order", 13) == 0)
      MIEN_TRY(read_order(r));
    else
      return bad(r, "a key that is not known");
    if (!take(r, ',')) {
      if (!take(r, '}')) return bad(r, "no dictionary");
      break;
    }
  }
  skip_spaces(r);
  if (r->at != r->end) return bad(r, "text after the dictionary");
  if (!r->have_descr || !r->have_shape || !r->have_order)
    return bad(r, "'descr', 'fortran_order' or 'shape' is missing");
  return MIEN_OK;
}

/* Column-major elements into row-major order. */
static void transpose(const mien_type *type, size_t size, const uint8_t *from, uint8_t *to, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i, at = 0, stride = 1, index[MIEN_MAX_RANK];
    for (int d = type->rank - 1; d >= 0; d--) index[d] = rest % type->dim[d], rest /= type->dim[d];
    for (int d = 0; d < type->rank; d++) at += index[d] * stride, stride *= type->dim[d];
    memcpy(to + (size_t)i * size, from + (size_t)at * size, size);
  }
}

static mien_status parse(mien_env *env, const char *path, const uint8_t *data, size_t size, mien_tensor *tensor,
                         mien_error *error) {
  reader r = {.path = path, .error = error};
  int64_t count;
  size_t bytes, header, start;
  if (size < 10 || memcmp(data, "\x93NUMPY", 6) != 0)
    return mien__fail(error, MIEN_CORRUPT, "'%.200s' is no .npy file", path);
  if (data[6] < 1 || data[6] > 3 || data[7] != 0)
    return mien__fail(error, MIEN_UNSUPPORTED, "'%.200s': .npy format %d.%d is not known", path, data[6], data[7]);
  start = data[6] == 1 ? 10 : 12;
  if (size < start) return bad(&r, "truncated");
  header = (size_t)data[8] | (size_t)data[9] << 8;
  if (data[6] > 1) header |= (size_t)data[10] << 16 | (size_t)data[11] << 24;
  if (header > MAX_HEADER || header > size - start) return bad(&r, "longer than the file or than 64 KiB");
  r.at = (const char *)data + start;
  r.end = r.at + header;
  MIEN_TRY(read_header(&r));
  MIEN_TRY(mien__type_size(env, &r.type, &count, &bytes, error));
  if (size - start - header != bytes)
    return mien__fail(error, MIEN_CORRUPT, "'%.200s': %zu bytes of data, its shape needs %zu", path,
                      size - start - header, bytes);
  MIEN_TRY(mien__tensor_alloc(env, &r.type, tensor, error));
  const uint8_t *from = data + start + header;
  if (r.fortran && r.type.rank > 1)
    transpose(&r.type, mien_dtype_size(r.type.dtype), from, tensor->data, count);
  else if (bytes)
    memcpy(tensor->data, from, bytes);
  if (r.type.dtype == MIEN_BOOL)
    for (size_t i = 0; i < bytes; i++) ((uint8_t *)tensor->data)[i] = ((uint8_t *)tensor->data)[i] != 0;
  return MIEN_OK;
}

mien_status mien_npy_read(mien_env *env, const char *path, mien_tensor *tensor, mien_error *error) {
  mien__file file;
  if (!env || !path || !tensor) return mien__fail(error, MIEN_INVALID_ARGUMENT, "no env, path or tensor");
  MIEN_TRY(mien__file_open(env, path, false, &file, error));
  mien_status status = parse(env, path, file.data, file.size, tensor, error);
  mien__file_close(env, &file);
  return status;
}

/* The 10 bytes before the dictionary, the dictionary, and spaces up to a multiple of 64. */
static size_t write_header(const mien_type *type, const char *descr, char *text, size_t size) {
  size_t at = 10;
  at += (size_t)snprintf(text + at, size - at, "{'descr': '%s%s', 'fortran_order': False, 'shape': (",
                         mien_dtype_size(type->dtype) == 1 ? "|" : "<", descr);
  for (int d = 0; d < type->rank; d++)
    at += (size_t)snprintf(text + at, size - at, "%s%lld", d ? ", " : "", (long long)type->dim[d]);
  at += (size_t)snprintf(text + at, size - at, "%s), }", type->rank == 1 ? "," : "");
  size_t whole = (at + 1 + 63) / 64 * 64;
  memset(text + at, ' ', whole - at);
  text[whole - 1] = '\n';
  memcpy(text, "\x93NUMPY\x01\x00", 8);
  text[8] = (char)((whole - 10) & 0xff);
  text[9] = (char)((whole - 10) >> 8);
  return whole;
}

mien_status mien_npy_write(mien_env *env, const char *path, const mien_tensor *tensor, mien_error *error) {
  char text[1024];
  mien__writer *writer;
  int64_t count;
  size_t bytes;
  const char *descr = NULL;
  if (!env || !path || !tensor) return mien__fail(error, MIEN_INVALID_ARGUMENT, "no env, path or tensor");
  for (size_t i = 0; i < sizeof descriptors / sizeof *descriptors; i++)
    if (descriptors[i].dtype == tensor->type.dtype) descr = descriptors[i].text;
  if (!descr || tensor->type.nest[0] != MIEN_TENSOR)
    return mien__fail(error, MIEN_UNSUPPORTED, "'%.200s': .npy has no type for %s", path,
                      mien_dtype_name(tensor->type.dtype));
  MIEN_TRY(mien__type_size(env, &tensor->type, &count, &bytes, error));
  if (bytes > tensor->bytes || (bytes && !tensor->data))
    return mien__fail(error, MIEN_INVALID_ARGUMENT, "the tensor has %zu bytes, its shape needs %zu", tensor->bytes,
                      bytes);
  MIEN_TRY(mien__writer_create(env, path, &writer, error));
  size_t header = write_header(&tensor->type, descr, text, sizeof text);
  mien_status status = mien__writer_write(writer, text, header, error);
  if (status == MIEN_OK) status = mien__writer_write(writer, tensor->data, bytes, error);
  if (status == MIEN_OK) return mien__writer_finish(writer, true, error);
  mien_status removed = mien__writer_finish(writer, false, NULL);
  (void)removed;
  return status;
}
