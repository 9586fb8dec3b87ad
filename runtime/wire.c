/* wire.c -- what stands between untrusted protobuf bytes and protobuf-c, which has no depth limit, turns two bytes into
** 190 and takes quadratic time over a singular message that is repeated. The scan follows the generated descriptors, keeps
** its own stack, allocates nothing and predicts what unpacking will take. */
#include "internal.h"

#include <inttypes.h>
#include <limits.h>
#include <protobuf-c/protobuf-c.h>
#include <string.h>

/* protobuf-c takes about 3 KB of stack a level; small threads have 512 KB. */
#define MAX_DEPTH 128

/* protobuf-c's note of one field it has seen: the first 16 of a message stand on its stack, further ones in slabs. */
#define MEMBER_BYTES 40
#define STACK_MEMBERS 16

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct frame {
  const ProtobufCMessageDescriptor *descriptor;
  const uint8_t *end;
  uint64_t members;
  uint64_t seen; /* fields by index */
} frame;

typedef struct scan {
  const char *what;
  const uint8_t *start, *at;
  uint64_t memory, budget;
  mien__wire_info *info;
  mien_error *error;
  frame *stack;
  uint32_t depth, limit;
} scan;

static mien_status MIEN_PRINTF(2, 3) damaged(scan *s, const char *format, ...) {
  char text[256];
  va_list args;
  va_start(args, format);
  mien_error inner;
  mien__vfail(&inner, MIEN_CORRUPT, format, args);
  va_end(args);
  size_t length = strnlen(inner.message, sizeof text - 1);
  memcpy(text, inner.message, length);
  text[length] = 0;
  return mien__fail(s->error, MIEN_CORRUPT, "%s: byte %zu: %s", s->what, (size_t)(s->at - s->start), text);
}

/* Pools round to 16. */
static void predict(scan *s, uint64_t bytes) {
  uint64_t rounded = bytes > UINT64_MAX - 15 ? UINT64_MAX : (bytes + 15) & ~(uint64_t)15;
  if (__builtin_add_overflow(s->memory, rounded, &s->memory)) s->memory = UINT64_MAX;
}

static mien_status within_budget(scan *s) {
  if (s->memory <= s->budget) return MIEN_OK;
  return mien__fail(s->error, MIEN_LIMIT, "%s: %" PRIu64 " bytes of messages in memory exceed the budget of %" PRIu64,
                    s->what, s->memory, s->budget);
}

static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
  uint64_t v = 0;
  for (unsigned i = 0; i < 10; i++) {
    if (*at == end) return false;
    uint8_t byte = *(*at)++;
    v |= (uint64_t)(byte & 0x7f) << (7 * i);
    if (!(byte & 0x80)) {
      if (i == 9 && byte > 1) return false;
      *value = v;
      return true;
    }
  }
  return false;
}

bool mien__utf8_valid(const char *data, size_t length) {
  const uint8_t *p = (const uint8_t *)data, *end = p + length;
  while (p < end) {
    uint8_t c = *p++;
    if (c == 0) return false;
    if (c < 0x80) continue;
    int more = c >= 0xc2 && c <= 0xdf ? 1 : (c & 0xf0) == 0xe0 ? 2 : c >= 0xf0 && c <= 0xf4 ? 3 : 0;
    if (!more || end - p < more) return false;
    /* Overlong forms, surrogates and what lies past U+10FFFF show in the second byte. */
    if ((c == 0xe0 && p[0] < 0xa0) || (c == 0xed && p[0] > 0x9f) || (c == 0xf0 && p[0] < 0x90) ||
        (c == 0xf4 && p[0] > 0x8f))
      return false;
    for (; more; more--)
      if ((*p++ & 0xc0) != 0x80) return false;
  }
  return true;
}

static int wire_type_of(ProtobufCType type) {
  switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return FIXED32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return BYTES;
    default: return VARINT;
  }
}

static size_t element_bytes(ProtobufCType type) {
  switch (type) {
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return 8;
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    default: return 4;
  }
}

/* Elements of a packed field of `length` bytes at s->at. */
static mien_status packed_elements(scan *s, const ProtobufCFieldDescriptor *field, uint64_t length) {
  int wire = wire_type_of(field->type);
  uint64_t count = 0;
  if (wire == VARINT) {
    const uint8_t *end = s->at + length;
    for (const uint8_t *p = s->at; p < end; count++) {
      uint64_t value;
      if (!varint(&p, end, &value)) return damaged(s, "field '%s': an element is no varint", field->name);
    }
  } else {
    uint64_t size = wire == FIXED32 ? 4 : 8;
    if (length % size != 0)
      return damaged(s, "field '%s': %" PRIu64 " bytes are no whole number of elements", field->name, length);
    count = length / size;
  }
  predict(s, count * element_bytes(field->type));
  return MIEN_OK;
}

static mien_status enter(scan *s, const ProtobufCMessageDescriptor *descriptor, const uint8_t *end) {
  if (s->depth == s->limit)
    return mien__fail(s->error, MIEN_LIMIT, "%s: byte %zu: messages are nested more than %" PRIu32 " deep", s->what,
                      (size_t)(s->at - s->start), s->limit);
  if (descriptor->n_fields > 64)
    return mien__fail(s->error, MIEN_INTERNAL, "message %s has more than 64 fields", descriptor->short_name);
  s->stack[s->depth++] = (frame){.descriptor = descriptor, .end = end};
  predict(s, descriptor->sizeof_message);
  return within_budget(s);
}

/* The end of a message: what protobuf-c notes about its members, in slabs that double. */
static void leave(scan *s) {
  const frame *f = &s->stack[--s->depth];
  for (uint64_t room = STACK_MEMBERS, slab = 2 * STACK_MEMBERS; f->members > room; room += slab, slab *= 2)
    predict(s, slab * MEMBER_BYTES);
}

static mien_status unknown(scan *s, uint32_t number, uint64_t length) {
  predict(s, sizeof(ProtobufCMessageUnknownField));
  predict(s, length);
  if (s->info && !s->info->unknown_message) {
    s->info->unknown_message = s->stack[s->depth - 1].descriptor->short_name;
    s->info->unknown_field = number;
  }
  return within_budget(s);
}

/* The value of a known field; s->at stands on it, length bytes long (of a varint: already consumed, length 0). */
static mien_status known(scan *s, const ProtobufCFieldDescriptor *field, int wire, uint64_t length) {
  frame *f = &s->stack[s->depth - 1];
  bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
  uint64_t bit = (uint64_t)1 << (field - f->descriptor->fields);
  bool again = f->seen & bit;
  f->seen |= bit;
  if (repeated && !again) predict(s, 1);
  int expected = wire_type_of(field->type);
  if (wire != expected) {
    if (!repeated || wire != BYTES)
      return damaged(s, "field '%s' of %s has wire type %d, expected %d", field->name, f->descriptor->short_name, wire,
                     expected);
    MIEN_TRY(packed_elements(s, field, length));
  } else if (repeated) {
    if (__builtin_add_overflow(s->memory, element_bytes(field->type), &s->memory)) s->memory = UINT64_MAX;
  }
  const uint8_t *start = s->at;
  s->at += length;
  if (field->type == PROTOBUF_C_TYPE_STRING) {
    predict(s, length + 1);
    if (!mien__utf8_valid((const char *)start, length)) {
      s->at = start;
      return damaged(s, "field '%s' of %s is not UTF-8 text without NUL", field->name, f->descriptor->short_name);
    }
  } else if (field->type == PROTOBUF_C_TYPE_BYTES) {
    predict(s, length);
  } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
    if (!repeated && again)
      return damaged(s, "field '%s' of %s stands there twice", field->name, f->descriptor->short_name);
    s->at = start;
    return enter(s, field->descriptor, start + length);
  }
  return within_budget(s);
}

static mien_status step(scan *s) {
  frame *f = &s->stack[s->depth - 1];
  uint64_t tag, length = 0;
  f->members++;
  if (!varint(&s->at, f->end, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
    return damaged(s, "no field of %s starts here", f->descriptor->short_name);
  uint32_t number = (uint32_t)(tag >> 3);
  int wire = (int)(tag & 7);
  uint64_t left = (uint64_t)(f->end - s->at);
  const uint8_t *value = s->at;
  switch (wire) {
    case VARINT: {
      uint64_t ignored;
      if (!varint(&s->at, f->end, &ignored))
        return damaged(s, "field %u of %s is no varint", number, f->descriptor->short_name);
      left = (uint64_t)(f->end - s->at);
      break;
    }
    case FIXED64: length = 8; break;
    case FIXED32: length = 4; break;
    case BYTES:
      if (!varint(&s->at, f->end, &length) || length > INT_MAX)
        return damaged(s, "the length of field %u of %s is bad", number, f->descriptor->short_name);
      left = (uint64_t)(f->end - s->at);
      break;
    default: return damaged(s, "field %u of %s has wire type %d", number, f->descriptor->short_name, wire);
  }
  if (length > left)
    return damaged(s, "field %u of %s needs %" PRIu64 " bytes, %" PRIu64 " are left", number, f->descriptor->short_name,
                   length, left);
  const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(f->descriptor, number);
  if (field) return known(s, field, wire, length);
  s->at += length;
  return unknown(s, number, (uint64_t)(s->at - value));
}

mien_status mien__wire_scan(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                            uint32_t depth, uint64_t budget, const char *what, mien__wire_info *info,
                            mien_error *error) {
  frame stack[MAX_DEPTH];
  scan s = {.what = what, .start = data, .at = data, .budget = budget, .info = info, .error = error, .stack = stack};
  s.limit = depth && depth < MAX_DEPTH ? depth : MAX_DEPTH;
  if (info) *info = (mien__wire_info){0};
  MIEN_TRY(enter(&s, descriptor, data + size));
  while (s.depth > 0) {
    if (s.at == stack[s.depth - 1].end)
      leave(&s);
    else
      MIEN_TRY(step(&s));
  }
  MIEN_TRY(within_budget(&s));
  if (info) info->memory = s.memory;
  return MIEN_OK;
}

mien_status mien__wire_check(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                             uint32_t depth, uint64_t budget, const char *what, mien_error *error) {
  return mien__wire_scan(descriptor, data, size, depth, budget, what, NULL, error);
}

static void *pool_alloc(void *pool, size_t bytes) { return mien__pool_alloc(pool, bytes); }
static void pool_free(void *pool, void *pointer) {
  (void)pool;
  (void)pointer;
}

void mien__wire_allocator(mien__pool *pool, struct ProtobufCAllocator *allocator) {
  *allocator = (ProtobufCAllocator){.alloc = pool_alloc, .free = pool_free, .allocator_data = pool};
}

typedef struct watched {
  mien__pool *pool;
  size_t refused;
} watched;

static void *watched_alloc(void *context, size_t bytes) {
  watched *w = context;
  void *memory = mien__pool_alloc(w->pool, bytes);
  if (!memory) w->refused = bytes;
  return memory;
}

mien_status mien__wire_unpack(const struct ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                              uint32_t depth, uint64_t budget, const char *what, mien__pool *pool,
                              mien__wire_info *info, struct ProtobufCMessage **message, mien_error *error) {
  MIEN_TRY(mien__wire_scan(descriptor, data, size, depth, budget, what, info, error));
  watched w = {.pool = pool};
  ProtobufCAllocator allocator = {.alloc = watched_alloc, .free = pool_free, .allocator_data = &w};
  ProtobufCMessage *unpacked = protobuf_c_message_unpack(descriptor, &allocator, size, data);
  if (!unpacked && w.refused) return mien__no_memory(error, w.refused);
  if (!unpacked) return mien__fail(error, MIEN_CORRUPT, "%s: not a message of type %s", what, descriptor->short_name);
  *message = unpacked;
  return MIEN_OK;
}
