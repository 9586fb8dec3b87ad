/* Changes that keep what surrounds them whole: a message inside messages gets its lengths right again, a plan its frame and
** checksums. Plain damage (flipped, cut, copied bytes) is one choice of several. */
#include "fuzz.h"

#include "internal.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_FIELDS 8192
#define MOST_DEPTH 24
#define DONORS 64
#define DONOR_BYTES 16384

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

typedef struct field {
  size_t at, length_at, payload, end; /* key, length or value, contents, behind it */
  uint32_t number;
  int wire, parent, depth;
  bool message;
} field;

typedef struct text {
  uint8_t *data;
  size_t size, room;
  uint64_t *seed;
} text;

static struct donor {
  size_t size;
  uint8_t data[DONOR_BYTES];
} donors[DONORS];

extern const mien_op *const mien__builtin_ops[];

uint64_t fuzz_random(uint64_t *seed, uint64_t below) {
  uint64_t x = *seed ? *seed : 0x9e3779b97f4a7c15u;
  x ^= x >> 12, x ^= x << 25, x ^= x >> 27;
  *seed = x;
  return below ? (x * 0x2545f4914f6cdd1du >> 16) % below : 0;
}

static uint64_t pick(text *t, uint64_t below) { return fuzz_random(t->seed, below); }

/* ---- the tree of fields */

static bool read_varint(const uint8_t *data, size_t *at, size_t end, uint64_t *value) {
  *value = 0;
  for (int i = 0; i < 10 && *at < end; i++) {
    uint8_t byte = data[(*at)++];
    *value |= (uint64_t)(byte & 0x7f) << 7 * i;
    if (!(byte & 0x80)) return true;
  }
  return false;
}

static bool read_field(const uint8_t *data, size_t at, size_t end, field *f) {
  uint64_t key, length = 0;
  *f = (field){.at = at};
  if (!read_varint(data, &at, end, &key) || key >> 3 == 0 || key >> 3 > 1000) return false;
  f->number = (uint32_t)(key >> 3);
  f->wire = (int)(key & 7);
  f->length_at = at;
  if (f->wire != VARINT && f->wire != FIXED64 && f->wire != BYTES && f->wire != FIXED32) return false;
  if ((f->wire == VARINT || f->wire == BYTES) && !read_varint(data, &at, end, &length)) return false;
  if (f->wire == FIXED64 || f->wire == FIXED32) length = f->wire == FIXED64 ? 8 : 4;
  if (f->wire == VARINT) length = 0;
  f->payload = f->wire == VARINT ? f->length_at : at;
  if (length > end - at) return false;
  f->end = at + (size_t)length;
  return true;
}

static bool is_message(const uint8_t *data, size_t at, size_t end) {
  field f;
  bool some = at < end;
  while (at < end) {
    if (!read_field(data, at, end, &f)) return false;
    at = f.end;
  }
  return some;
}

static int collect(const uint8_t *data, size_t size, field *fields) {
  int count = 0;
  for (int from = -1; from < count; from++) {
    size_t at = 0, end = size;
    if (from >= 0) {
      if (fields[from].wire != BYTES || fields[from].depth >= MOST_DEPTH) continue;
      at = fields[from].payload, end = fields[from].end;
      fields[from].message = is_message(data, at, end);
      if (!fields[from].message) continue;
    }
    for (field f; at < end && count < MOST_FIELDS && read_field(data, at, end, &f); at = f.end) {
      f.parent = from;
      f.depth = from < 0 ? 0 : fields[from].depth + 1;
      fields[count++] = f;
    }
  }
  return count;
}

/* ---- changes */

static bool replace(text *t, size_t at, size_t end, const void *with, size_t length) {
  if (t->size - (end - at) + length > t->room) return false;
  memmove(t->data + at + length, t->data + end, t->size - end);
  if (length) memcpy(t->data + at, with, length);
  t->size = t->size - (end - at) + length;
  return true;
}

static size_t write_varint(uint8_t *out, uint64_t v) {
  size_t n = 0;
  for (; v > 0x7f; v >>= 7) out[n++] = (uint8_t)(v | 0x80);
  out[n++] = (uint8_t)v;
  return n;
}

/* Replaces bytes inside `in` (-1: the whole) and sets the lengths around them. */
static void splice(text *t, const field *fields, int in, size_t at, size_t end, const void *with, size_t length) {
  int64_t delta = (int64_t)length - (int64_t)(end - at);
  uint8_t *copy = malloc(length + 1);
  if (!copy) return;
  if (length) memcpy(copy, with, length);
  bool done = replace(t, at, end, copy, length);
  free(copy);
  for (; done && in >= 0; in = fields[in].parent) {
    uint8_t bytes[10];
    const field *f = &fields[in];
    size_t n = write_varint(bytes, (uint64_t)((int64_t)(f->end - f->payload) + delta));
    size_t old = f->payload - f->length_at;
    done = replace(t, f->length_at, f->payload, bytes, n);
    delta += (int64_t)n - (int64_t)old;
  }
}

static uint64_t number(text *t, uint64_t old) {
  static const uint64_t special[] = {0,
                                     1,
                                     2,
                                     3,
                                     4,
                                     7,
                                     8,
                                     16,
                                     17,
                                     63,
                                     64,
                                     65,
                                     127,
                                     128,
                                     255,
                                     256,
                                     1024,
                                     65535,
                                     65536,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000000,
                                     1u << 20,
                                     UINT64_MAX,
                                     INT64_MAX,
                                     1ull << 63,
                                     1ull << 62,
                                     1ull << 61,
                                     UINT64_MAX - 1,
                                     UINT64_MAX - 2,
                                     UINT64_MAX - 31,
                                     0xffffffff80000000};
  switch (pick(t, 5)) {
    case 0: return old + 1;
    case 1: return old - 1;
    case 2: return pick(t, 40);
    case 3: return old ^ (1ull << pick(t, 64));
    default: return special[pick(t, sizeof special / sizeof *special)];
  }
}

static double real(text *t) {
  const double special[] = {0,   -0.0, 1,    -1,       0.5,       2,       -2,          1e-30,        1e30,
                            3.5, NAN,  1e10, INFINITY, -INFINITY, FLT_MAX, FLT_MIN / 4, 2147483648.0, 9.3e18};
  return special[pick(t, sizeof special / sizeof *special)];
}

static void change_word(text *t, uint8_t *at, size_t bytes) {
  uint64_t v = 0;
  memcpy(&v, at, bytes);
  if (pick(t, 2)) {
    v = number(t, v);
  } else if (bytes == 4) {
    float f = (float)real(t);
    memcpy(&v, &f, 4);
  } else if (bytes == 8) {
    double d = real(t);
    memcpy(&v, &d, 8);
  }
  memcpy(at, &v, bytes);
}

static const char *operator_name(text *t) {
  size_t count = 0;
  while (mien__builtin_ops[count]) count++;
  return mien__builtin_ops[pick(t, count)]->name;
}

static bool is_text(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (data[i] < 0x20 || data[i] > 0x7e) return false;
  return size > 0;
}

static void change_text(text *t, const field *fields, int count, const field *f) {
  const uint8_t *now = t->data + f->payload;
  const field *other = &fields[pick(t, (uint64_t)count)];
  for (int tries = 0; tries < 40; tries++) { /* rather one of the same field */
    if (other->wire == BYTES && !other->message && other != f && (other->number == f->number || tries > 30)) break;
    other = &fields[pick(t, (uint64_t)count)];
  }
  if (now[0] >= 'A' && now[0] <= 'Z' && pick(t, 2)) {
    const char *name = operator_name(t);
    size_t length = strlen(name), key = f->length_at - f->at;
    uint8_t whole[96];
    if (key + 1 + length > sizeof whole || length > 0x7f) return;
    memcpy(whole, t->data + f->at, key);
    whole[key] = (uint8_t)length;
    memcpy(whole + key + 1, name, length);
    splice(t, fields, f->parent, f->at, f->end, whole, key + 1 + length);
  } else if (other->wire == BYTES && other->number == f->number && pick(t, 8)) {
    splice(t, fields, f->parent, f->at, f->end, t->data + other->at, other->end - other->at);
  } else {
    t->data[f->payload + pick(t, f->end - f->payload)] = (uint8_t)(pick(t, 4) ? 0x20 + pick(t, 0x5f) : pick(t, 256));
  }
}

static void change_value(text *t, const field *fields, int count, const field *f) {
  uint8_t bytes[16];
  size_t length = f->end - f->payload;
  if (f->wire == VARINT) {
    uint64_t old;
    size_t at = f->length_at;
    if (!read_varint(t->data, &at, f->end, &old)) return;
    splice(t, fields, f->parent, f->length_at, f->end, bytes, write_varint(bytes, number(t, old)));
  } else if (f->wire != BYTES) {
    change_word(t, t->data + f->payload, length);
  } else if (f->message || length == 0) {
    return;
  } else if (is_text(t->data + f->payload, length)) {
    change_text(t, fields, count, f);
  } else if (length % 4 == 0 && pick(t, 8)) {
    size_t word = length % 8 == 0 && pick(t, 3) ? 8 : 4;
    change_word(t, t->data + f->payload + pick(t, length / word) * word, word);
  } else {
    t->data[f->payload + pick(t, length)] ^= (uint8_t)(1u << pick(t, 8));
  }
}

/* Another file's field of the same number and kind. */
static void take_from_donor(text *t, const field *fields, const field *f) {
  const struct donor *d = &donors[pick(t, DONORS)];
  field *theirs = malloc(MOST_FIELDS * sizeof *theirs);
  int count = theirs && d->size ? collect(d->data, d->size, theirs) : 0;
  for (int tries = 0; tries < 60 && count; tries++) {
    const field *g = &theirs[pick(t, (uint64_t)count)];
    if (g->number != f->number || g->wire != f->wire || g->depth != f->depth || g->message != f->message) continue;
    size_t at = pick(t, 2) ? f->at : f->end; /* in its place, or behind it */
    splice(t, fields, f->parent, at, f->end, d->data + g->at, g->end - g->at);
    break;
  }
  free(theirs);
}

static void change_message(text *t) {
  field *fields = malloc(MOST_FIELDS * sizeof *fields);
  int count = fields ? collect(t->data, t->size, fields) : 0;
  if (count) {
    const field *f = &fields[pick(t, (uint64_t)count)], *g = &fields[pick(t, (uint64_t)count)];
    for (int tries = 0; tries < 40 && (g == f || g->number != f->number || g->depth != f->depth); tries++)
      g = &fields[pick(t, (uint64_t)count)];
    switch (pick(t, 12)) {
      case 0: splice(t, fields, f->parent, f->at, f->end, NULL, 0); break;
      case 1: splice(t, fields, f->parent, f->at, f->at, t->data + f->at, f->end - f->at); break;
      case 2: splice(t, fields, f->parent, f->at, f->end, t->data + g->at, g->end - g->at); break;
      case 3: splice(t, fields, f->parent, f->end, f->end, t->data + g->at, g->end - g->at); break;
      case 4: take_from_donor(t, fields, f); break;
      default: change_value(t, fields, count, f);
    }
  }
  free(fields);
}

static void change_bytes(text *t) {
  static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff, 0x20};
  if (!t->size) return;
  size_t at = pick(t, t->size), span = 1 + pick(t, 1 + t->size / 8);
  if (span > t->size - at) span = t->size - at;
  switch (pick(t, 8)) {
    case 0: replace(t, at, t->size, NULL, 0); break;
    case 1: replace(t, at, at + span, NULL, 0); break;
    case 2:
    case 3: {
      size_t to = pick(t, t->size);
      uint8_t *copy = malloc(span);
      if (copy) memcpy(copy, t->data + at, span);
      if (copy) replace(t, to, pick(t, 2) || to + span > t->size ? to : to + span, copy, span);
      free(copy);
      break;
    }
    case 4: t->data[at] = (uint8_t)pick(t, 256); break;
    case 5: t->data[at] = special[pick(t, sizeof special)]; break;
    case 6: t->data[at] = (uint8_t)(t->data[at] + (pick(t, 2) ? 1 : -1)); break;
    default: t->data[at] ^= (uint8_t)(1u << pick(t, 8)); break;
  }
}

static void change_plan(text *t, const fuzz_sections *sections) {
  static const int weighted[] = {0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 4};
  int which = weighted[pick(t, sizeof weighted / sizeof *weighted)];
  fuzz_sections changed = *sections;
  text inner = {.size = sections->size[which], .room = sections->size[which] + 4096, .seed = t->seed};
  inner.data = malloc(inner.room);
  uint8_t *framed = malloc(t->room);
  if (inner.data && framed) {
    memcpy(inner.data, sections->data[which], inner.size);
    if (which == 1 && inner.size >= 8)
      change_word(&inner, inner.data + pick(t, inner.size / 8) * 8, pick(t, 2) ? 4 : 8);
    else if (pick(t, 10))
      change_message(&inner);
    else
      change_bytes(&inner);
    changed.data[which] = inner.data;
    changed.size[which] = inner.size;
    size_t size = fuzz_frame(&changed, framed, t->room);
    if (size) {
      memcpy(t->data, framed, size);
      t->size = size;
    }
  }
  free(inner.data);
  free(framed);
}

size_t fuzz_mutate(uint8_t *data, size_t size, size_t room, uint64_t *seed) {
  text t = {.data = data, .size = size, .room = room, .seed = seed};
  if (size <= DONOR_BYTES && pick(&t, 8) == 0) {
    struct donor *d = &donors[pick(&t, DONORS)];
    memcpy(d->data, data, size);
    d->size = size;
  }
  do {
    fuzz_sections sections;
    if (pick(&t, 10) == 0)
      change_bytes(&t);
    else if (fuzz_unframe(t.data, t.size, &sections))
      change_plan(&t, &sections);
    else if (is_message(t.data, 0, t.size))
      change_message(&t);
    else
      change_bytes(&t);
  } while (pick(&t, 2));
  return t.size;
}
