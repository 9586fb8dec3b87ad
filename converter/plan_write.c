/* plan_write.c -- the frame of a plan: sections built, laid out, hashed, then written in one go. */
#include "converter/plan_write.h"

#include "runtime/plan_format.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define SECTIONS 5

typedef struct section {
  uint32_t kind;
  uint8_t *bytes; /* env memory; NULL: the blobs */
  size_t size, offset;
  uint64_t hash;
} section;

/* ---- counts of operators */

static int by_name(const void *a, const void *b) {
  return strcmp(((const mien__op_count *)a)->op, ((const mien__op_count *)b)->op);
}

mien_status mien__count_ops(const mien__graph *g, mien__pool *pool, mien__op_count **counts, size_t *count,
                            mien_error *error) {
  size_t live = (size_t)g->live_count, n = 0, rows = 0;
  mien__op_count *list = mien__pool_alloc(pool, (live + 1) * sizeof *list);
  if (!list) return mien__no_memory(error, (live + 1) * sizeof *list);
  for (int32_t i = 0; i < g->node_count && n < live; i++) {
    const mien__gnode *node = mien__node_at(g, i);
    if (node->state != MIEN__NODE_LIVE) continue;
    char text[160];
    mien__op_text(node->n.record, text, sizeof text);
    list[n] = (mien__op_count){.op = mien__pool_string(pool, text, strlen(text)), .count = 1};
    if (!list[n++].op) return mien__no_memory(error, sizeof text);
  }
  qsort(list, n, sizeof *list, by_name);
  for (size_t i = 0; i < n; i++) {
    if (rows && strcmp(list[rows - 1].op, list[i].op) == 0)
      list[rows - 1].count++;
    else
      list[rows++] = list[i];
  }
  *counts = list;
  *count = rows;
  return MIEN_OK;
}

/* ---- building */

/* Operators of plugins carry what they mean in standard operators. */
static mien_status decompose(mien__plan_builder *b) {
  mien__graph *g = b->g;
  size_t nodes = (size_t)g->live_count;
  b->decomposed = mien__plan_take(b, nodes, sizeof *b->decomposed);
  b->decomposed_count = mien__plan_take(b, nodes, sizeof *b->decomposed_count);
  if (!b->decomposed || !b->decomposed_count) return MIEN_NO_MEMORY;
  for (size_t i = 0; i < nodes; i++) {
    const mien__record *r = mien__node_at(g, b->order[i])->n.record;
    if (!r->plugin || !r->op->decompose) continue;
    MIEN_TRY(mien__graph_decompose(g, b->order[i], &b->decomposed[i], &b->decomposed_count[i], b->error));
  }
  return MIEN_OK;
}

static mien_status build(mien__plan_builder *b) {
  MIEN_TRY(mien__graph_order(b->g, &b->order, b->error));
  MIEN_TRY(decompose(b));
  size_t values = (size_t)b->g->value_count;
  b->ids = mien__plan_take(b, values, sizeof *b->ids);
  b->values = mien__plan_take(b, values, sizeof *b->values);
  b->constant_ids = mien__plan_take(b, values, sizeof *b->constant_ids);
  if (!b->ids || !b->values || !b->constant_ids) return MIEN_NO_MEMORY;
  MIEN_TRY(mien__plan_build_program(b));
  MIEN_TRY(mien__plan_build_recipes(b));
  MIEN_TRY(mien__plan_build_names(b));
  MIEN_TRY(mien__plan_build_constants(b));
  return mien__plan_build_meta(b);
}

static mien_status pack(mien__plan_builder *b, section *s, uint32_t kind, const ProtobufCMessage *message) {
  s->kind = kind;
  s->size = protobuf_c_message_get_packed_size(message);
  s->bytes = mien__alloc(b->g->env, s->size ? s->size : 1);
  if (!s->bytes) return mien__no_memory(b->error, s->size);
  protobuf_c_message_pack(message, s->bytes);
  s->hash = XXH64(s->bytes, s->size, 0);
  return MIEN_OK;
}

static const uint8_t zeros[MIEN__PLAN_ALIGN];

/* The bytes of section constants, in order, to `sink` or into `state`. */
static mien_status emit_blobs(const mien__plan_builder *b, XXH64_state_t *state, const mien__plan_sink *sink) {
  for (uint32_t i = 0; i < b->blob_count; i++) {
    const mien__blob *blob = &b->blobs[i];
    size_t next = i + 1 < b->blob_count ? b->blobs[i + 1].offset : b->section_bytes;
    size_t padding = next - blob->offset - blob->size;
    if (state) {
      if (blob->size) XXH64_update(state, blob->data, blob->size);
      XXH64_update(state, zeros, padding);
    } else {
      if (blob->size) MIEN_TRY(sink->write(sink->context, blob->data, blob->size, b->error));
      MIEN_TRY(sink->write(sink->context, zeros, padding, b->error));
    }
  }
  return MIEN_OK;
}

static mien_status build_sections(mien__plan_builder *b, section sections[SECTIONS]) {
  Mien__Plan__Check empty = MIEN__PLAN__CHECK__INIT;
  const Mien__Plan__Check *check = b->facts->check ? b->facts->check : &empty;
  MIEN_TRY(pack(b, &sections[0], MIEN__SECTION_PROGRAM, &b->program.base));
  MIEN_TRY(pack(b, &sections[2], MIEN__SECTION_NAMES, &b->names.base));
  MIEN_TRY(pack(b, &sections[3], MIEN__SECTION_META, &b->meta.base));
  MIEN_TRY(pack(b, &sections[4], MIEN__SECTION_CHECK, &check->base));
  XXH64_state_t *state = XXH64_createState();
  if (!state) return mien__no_memory(b->error, sizeof(void *));
  XXH64_reset(state, 0);
  mien_status status = emit_blobs(b, state, NULL);
  sections[1] = (section){.kind = MIEN__SECTION_CONSTANTS, .size = b->section_bytes, .hash = XXH64_digest(state)};
  XXH64_freeState(state);
  return status;
}

static void put32(uint8_t *at, uint32_t v) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(v >> (8 * i));
}
static void put64(uint8_t *at, uint64_t v) {
  for (int i = 0; i < 8; i++) at[i] = (uint8_t)(v >> (8 * i));
}

static size_t aligned(size_t offset) { return (offset + MIEN__PLAN_ALIGN - 1) & ~(size_t)(MIEN__PLAN_ALIGN - 1); }

static mien_status emit(const mien__plan_builder *b, section sections[SECTIONS], const mien__plan_sink *sink,
                        uint64_t *file_bytes) {
  uint8_t head[MIEN__PLAN_HEAD + SECTIONS * MIEN__PLAN_ROW] = {0};
  size_t end = sizeof head;
  for (int i = 0; i < SECTIONS; i++) {
    section *s = &sections[i];
    s->offset = aligned(end);
    if (!mien__add(s->offset, s->size, &end)) return mien__fail(b->error, MIEN_LIMIT, "the plan is too large");
    uint8_t *row = head + MIEN__PLAN_HEAD + (size_t)i * MIEN__PLAN_ROW;
    put32(row, s->kind);
    put64(row + 8, s->offset);
    put64(row + 16, s->size);
    put64(row + 24, s->hash);
  }
  memcpy(head, MIEN__PLAN_MAGIC, 8);
  put32(head + 8, MIEN__PLAN_VERSION);
  put32(head + 12, SECTIONS);
  put64(head + 16, end);
  put64(head + 24, XXH64(head + MIEN__PLAN_HEAD, SECTIONS * MIEN__PLAN_ROW, 0));
  MIEN_TRY(sink->write(sink->context, head, sizeof head, b->error));
  size_t at = sizeof head;
  for (int i = 0; i < SECTIONS; i++) {
    const section *s = &sections[i];
    MIEN_TRY(sink->write(sink->context, zeros, s->offset - at, b->error));
    if (s->bytes)
      MIEN_TRY(sink->write(sink->context, s->bytes, s->size, b->error));
    else
      MIEN_TRY(emit_blobs(b, NULL, sink));
    at = s->offset + s->size;
  }
  *file_bytes = end;
  return MIEN_OK;
}

mien_status mien__plan_write(mien__graph *g, const mien__plan_facts *facts, const mien__plan_sink *sink,
                             mien__plan_sizes *sizes, mien_error *error) {
  mien__plan_builder b = {.g = g, .facts = facts, .error = error};
  section sections[SECTIONS] = {0};
  uint64_t file_bytes = 0;
  mien__pool_init(&b.pool, g->env, (size_t)g->env->limits.load_bytes);
  mien_status status = build(&b);
  if (status == MIEN_OK) status = build_sections(&b, sections);
  if (status == MIEN_OK) status = emit(&b, sections, sink, &file_bytes);
  if (status == MIEN_OK && sizes)
    *sizes = (mien__plan_sizes){.file_bytes = file_bytes,
                                .constant_bytes = b.section_bytes,
                                .shared_bytes = b.unshared_bytes - b.section_bytes,
                                .constants = b.constant_count,
                                .values = b.value_count,
                                .instructions = (uint32_t)b.program.n_instructions};
  for (int i = 0; i < SECTIONS; i++) mien__free(g->env, sections[i].bytes);
  mien__free(g->env, b.order);
  mien__pool_clear(&b.pool);
  return status;
}
