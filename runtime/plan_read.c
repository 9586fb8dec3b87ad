/* The frame of a plan file. Everything but the constants is copied before it is looked at: the file may be mapped, and another
** program may change it between a check and a use. */
#include "plan_format.h"

#include "plan.pb-c.h"

#include <string.h>
#include <xxhash.h>

static uint32_t read_u32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static uint64_t read_u64(const uint8_t *p) { return read_u32(p) | (uint64_t)read_u32(p + 4) << 32; }

typedef struct row {
  uint32_t kind;
  uint64_t offset, size, hash;
} row;

const char *mien__section_name(uint32_t kind) {
  static const char *const names[] = {"unknown", "program", "constants", "names", "meta", "check"};
  return names[kind < sizeof names / sizeof *names ? kind : 0];
}

static bool all_zero(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (data[i]) return false;
  return true;
}

/* ---------------------------------------------------------------- head and table */

static mien_status read_head(mien_plan *plan, uint32_t *sections, uint64_t *hash, mien_error *error) {
  uint8_t head[MIEN__PLAN_HEAD];
  if (plan->file_size < sizeof head || memcmp(plan->file, MIEN__PLAN_MAGIC, 8) != 0)
    return mien__fail(error, MIEN_CORRUPT, "not a mien plan (%zu bytes)", plan->file_size);
  memcpy(head, plan->file, sizeof head);
  plan->version = read_u32(head + 8);
  if (plan->version > MIEN__PLAN_VERSION)
    return mien__fail(error, MIEN_UNSUPPORTED, "the plan has version %u, this mien (%s) reads versions up to %u",
                      plan->version, mien_version(), MIEN__PLAN_VERSION);
  if (plan->version == 0) return mien__fail(error, MIEN_CORRUPT, "head of the plan: version 0");
  *sections = read_u32(head + 12);
  *hash = read_u64(head + 24);
  if (read_u64(head + 16) != plan->file_size)
    return mien__fail(error, MIEN_CORRUPT, "head of the plan: file size %llu, the file has %zu bytes",
                      (unsigned long long)read_u64(head + 16), plan->file_size);
  if (*sections < 5 || *sections > MIEN__PLAN_MAX_SECTIONS)
    return mien__fail(error, MIEN_CORRUPT, "head of the plan: %u sections, expected 5 to %u", *sections,
                      MIEN__PLAN_MAX_SECTIONS);
  if (!all_zero(head + 32, sizeof head - 32))
    return mien__fail(error, MIEN_CORRUPT, "head of the plan: reserved bytes are not zero");
  return MIEN_OK;
}

static mien_status read_row(const mien_plan *plan, const uint8_t *p, row *r, mien_error *error) {
  *r = (row){.kind = read_u32(p), .offset = read_u64(p + 8), .size = read_u64(p + 16), .hash = read_u64(p + 24)};
  const char *name = mien__section_name(r->kind);
  if (read_u32(p + 4) != 0) return mien__fail(error, MIEN_CORRUPT, "section %s: reserved bytes are not zero", name);
  if (r->kind == 0) return mien__fail(error, MIEN_CORRUPT, "section table: kind 0");
  if (r->offset % MIEN__PLAN_ALIGN || r->offset > plan->file_size || r->size > plan->file_size - r->offset)
    return mien__fail(error, MIEN_CORRUPT, "section %s: offset %llu and size %llu do not fit a file of %zu bytes", name,
                      (unsigned long long)r->offset, (unsigned long long)r->size, plan->file_size);
  return MIEN_OK;
}

static mien_status read_table(const mien_plan *plan, uint32_t count, uint64_t hash, row *rows, mien_error *error) {
  uint8_t table[MIEN__PLAN_MAX_SECTIONS * MIEN__PLAN_ROW];
  size_t bytes = (size_t)count * MIEN__PLAN_ROW;
  if (plan->file_size - MIEN__PLAN_HEAD < bytes)
    return mien__fail(error, MIEN_CORRUPT, "section table: the file ends inside it");
  memcpy(table, plan->file + MIEN__PLAN_HEAD, bytes);
  if (XXH64(table, bytes, 0) != hash) return mien__fail(error, MIEN_CORRUPT, "section table: wrong checksum");
  for (uint32_t i = 0; i < count; i++) {
    row r;
    MIEN_TRY(read_row(plan, table + (size_t)i * MIEN__PLAN_ROW, &r, error));
    uint32_t at = i; /* in the order of offsets */
    for (; at > 0 && rows[at - 1].offset > r.offset; at--) rows[at] = rows[at - 1];
    rows[at] = r;
  }
  return MIEN_OK;
}

/* Sections lie behind each other, with zeros between them and nothing behind the last. */
static mien_status check_rows(const mien_plan *plan, const row *rows, uint32_t count, mien_error *error) {
  uint64_t end = MIEN__PLAN_HEAD + (uint64_t)count * MIEN__PLAN_ROW;
  int seen[6] = {0};
  for (uint32_t i = 0; i < count; i++) {
    const char *name = mien__section_name(rows[i].kind);
    if (rows[i].offset < end)
      return mien__fail(error, MIEN_CORRUPT, "section %s: overlaps what stands before it", name);
    if (!all_zero(plan->file + end, (size_t)(rows[i].offset - end)))
      return mien__fail(error, MIEN_CORRUPT, "section %s: the bytes before it are not zero", name);
    end = rows[i].offset + rows[i].size;
    if (rows[i].kind <= 5 && seen[rows[i].kind]++)
      return mien__fail(error, MIEN_CORRUPT, "section %s: present twice", name);
  }
  if (plan->file_size - end >= MIEN__PLAN_ALIGN || !all_zero(plan->file + end, plan->file_size - (size_t)end))
    return mien__fail(error, MIEN_CORRUPT, "%llu bytes behind the last section",
                      (unsigned long long)(plan->file_size - end));
  for (uint32_t kind = 1; kind <= 5; kind++)
    if (!seen[kind]) return mien__fail(error, MIEN_CORRUPT, "section %s: missing", mien__section_name(kind));
  return MIEN_OK;
}

/* ---------------------------------------------------------------- sections */

static mien_status wrong_checksum(const row *r, mien_error *error) {
  return mien__fail(error, MIEN_CORRUPT, "section %s: wrong checksum", mien__section_name(r->kind));
}

static mien_status read_message(mien_plan *plan, const row *r, const ProtobufCMessageDescriptor *descriptor,
                                ProtobufCMessage **message, mien_error *error) {
  char what[32] = "section ";
  strncat(what, mien__section_name(r->kind), sizeof what - 9);
  uint8_t *copy = mien__alloc(plan->env, (size_t)r->size + 1);
  if (!copy) return mien__no_memory(error, (size_t)r->size + 1);
  memcpy(copy, plan->file + r->offset, (size_t)r->size);
  const mien_limits *limits = &plan->env->limits;
  mien_status status = XXH64(copy, (size_t)r->size, 0) == r->hash
                           ? mien__wire_unpack(descriptor, copy, (size_t)r->size, limits->depth, limits->load_bytes,
                                               what, &plan->pool, NULL, message, error)
                           : wrong_checksum(r, error);
  mien__free(plan->env, copy);
  return status;
}

static mien_status read_section(mien_plan *plan, const row *r, mien_error *error) {
  ProtobufCMessage *message = NULL;
  const uint8_t *data = plan->file + r->offset;
  if (r->kind <= MIEN__SECTION_CHECK) plan->section_bytes[r->kind] = (size_t)r->size;
  switch (r->kind) {
    case MIEN__SECTION_PROGRAM:
      MIEN_TRY(read_message(plan, r, &mien__plan__program__descriptor, &message, error));
      plan->source = (Mien__Plan__Program *)message;
      return MIEN_OK;
    case MIEN__SECTION_NAMES:
      MIEN_TRY(read_message(plan, r, &mien__plan__names__descriptor, &message, error));
      plan->names = (Mien__Plan__Names *)message;
      return MIEN_OK;
    case MIEN__SECTION_META:
      MIEN_TRY(read_message(plan, r, &mien__plan__meta__descriptor, &message, error));
      plan->meta = (Mien__Plan__Meta *)message;
      return MIEN_OK;
    case MIEN__SECTION_CHECK:
      MIEN_TRY(read_message(plan, r, &mien__plan__check__descriptor, &message, error));
      plan->check = (Mien__Plan__Check *)message;
      return MIEN_OK;
    case MIEN__SECTION_CONSTANTS: plan->constants = data; break;
    default: break; /* a later addition that older readers may ignore */
  }
  return XXH64(data, (size_t)r->size, 0) == r->hash ? MIEN_OK : wrong_checksum(r, error);
}

mien_status mien__plan_read(mien_plan *plan, mien_error *error) {
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
  return mien__fail(error, MIEN_UNSUPPORTED, "constants of a plan are little-endian, this machine is not");
#endif
  row rows[MIEN__PLAN_MAX_SECTIONS];
  uint32_t count = 0;
  uint64_t hash = 0;
  MIEN_TRY(read_head(plan, &count, &hash, error));
  MIEN_TRY(read_table(plan, count, hash, rows, error));
  MIEN_TRY(check_rows(plan, rows, count, error));
  for (uint32_t i = 0; i < count; i++) MIEN_TRY(read_section(plan, &rows[i], error));
  return MIEN_OK;
}
