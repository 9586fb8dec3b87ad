/* tests/runtime/plan_builder.h -- plan files by hand: messages built and packed, framed, sealed; and sealed again after damage. */
#ifndef MIEN_PLAN_BUILDER_H
#define MIEN_PLAN_BUILDER_H

#include "plan.pb-c.h"
#include "plan_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <cmocka.h>

typedef struct pb {
  Mien__Plan__Program program;
  Mien__Plan__Names names;
  Mien__Plan__Meta meta;
  Mien__Plan__Check check;
  uint8_t *constants;
  size_t constant_bytes;
  void **blocks;
  size_t block_count;
} pb;

static inline void *pb_alloc(pb *b, size_t bytes) {
  b->blocks = realloc(b->blocks, (b->block_count + 1) * sizeof *b->blocks);
  assert_non_null(b->blocks);
  void *block = calloc(1, bytes + 1);
  assert_non_null(block);
  b->blocks[b->block_count++] = block;
  return block;
}

static inline char *pb_text(pb *b, const char *text) { return strcpy(pb_alloc(b, strlen(text) + 1), text); }

/* Appends a pointer to a repeated field. */
static inline void pb_push(pb *b, void *list, size_t *count, void *item) {
  void **fresh = pb_alloc(b, (*count + 1) * sizeof *fresh);
  if (*count) memcpy(fresh, *(void ***)list, *count * sizeof *fresh);
  fresh[(*count)++] = item;
  *(void ***)list = fresh;
}

#define PB_NEW(b, type, upper) ((type *)memcpy(pb_alloc((b), sizeof(type)), &(const type)upper, sizeof(type)))

static inline void pb_init(pb *b) {
  *b = (pb){.program = MIEN__PLAN__PROGRAM__INIT,
            .names = MIEN__PLAN__NAMES__INIT,
            .meta = MIEN__PLAN__META__INIT,
            .check = MIEN__PLAN__CHECK__INIT};
}

static inline void pb_free(pb *b) {
  for (size_t i = 0; i < b->block_count; i++) free(b->blocks[i]);
  free(b->blocks);
  free(b->constants);
}

#define PB_DIMS(...) ((const int64_t[]){__VA_ARGS__})

/* Dims of -1 are named "N". */
static inline Mien__Plan__Type *pb_type(pb *b, int32_t dtype, int rank, const int64_t *dims) {
  Mien__Plan__Type *t = PB_NEW(b, Mien__Plan__Type, MIEN__PLAN__TYPE__INIT);
  t->dtype = (uint32_t)dtype;
  for (int d = 0; d < rank; d++) {
    Mien__Plan__Dim *dim = PB_NEW(b, Mien__Plan__Dim, MIEN__PLAN__DIM__INIT);
    dim->value = dims[d];
    if (dims[d] < 0) dim->name = pb_text(b, "N");
    pb_push(b, &t->dims, &t->n_dims, dim);
  }
  return t;
}

static inline uint32_t pb_value(pb *b) {
  pb_push(b, &b->program.values, &b->program.n_values, PB_NEW(b, Mien__Plan__Value, MIEN__PLAN__VALUE__INIT));
  return (uint32_t)b->program.n_values;
}

/* Gives the value id. */
static inline uint32_t pb_constant(pb *b, int32_t dtype, int rank, const int64_t *dims, const void *data) {
  Mien__Plan__Constant *c = PB_NEW(b, Mien__Plan__Constant, MIEN__PLAN__CONSTANT__INIT);
  size_t bytes = mien_dtype_bytes(dtype);
  for (int d = 0; d < rank; d++) bytes *= (size_t)dims[d];
  c->type = pb_type(b, dtype, rank, dims);
  c->offset = b->constant_bytes;
  c->size = bytes;
  b->constants = realloc(b->constants, b->constant_bytes + bytes + 64);
  assert_non_null(b->constants);
  memset(b->constants + b->constant_bytes, 0, bytes + 64);
  if (bytes) memcpy(b->constants + b->constant_bytes, data, bytes);
  b->constant_bytes += (bytes + 63) / 64 * 64;
  pb_push(b, &b->program.constants, &b->program.n_constants, c);
  uint32_t id = pb_value(b);
  b->program.values[id - 1]->constant = (uint32_t)b->program.n_constants;
  return id;
}

static inline Mien__Plan__Port *pb_port(pb *b, const char *name, uint32_t value, Mien__Plan__Type *type) {
  Mien__Plan__Port *p = PB_NEW(b, Mien__Plan__Port, MIEN__PLAN__PORT__INIT);
  p->name = pb_text(b, name);
  p->value = value;
  p->type = type;
  return p;
}

static inline uint32_t pb_input(pb *b, const char *name, int32_t dtype, int rank, const int64_t *dims) {
  uint32_t id = pb_value(b);
  pb_push(b, &b->program.inputs, &b->program.n_inputs, pb_port(b, name, id, pb_type(b, dtype, rank, dims)));
  return id;
}

static inline void pb_output(pb *b, const char *name, uint32_t value, int32_t dtype, int rank, const int64_t *dims) {
  pb_push(b, &b->program.outputs, &b->program.n_outputs, pb_port(b, name, value, pb_type(b, dtype, rank, dims)));
}

/* Index of the operator, added when it is new. */
static inline uint32_t pb_operator(pb *b, const char *domain, const char *name, uint32_t version) {
  for (uint32_t i = 0; i < b->program.n_operators; i++) {
    const Mien__Plan__Operator *o = b->program.operators[i];
    if (strcmp(o->domain, domain) == 0 && strcmp(o->name, name) == 0 && o->version == version) return i;
  }
  Mien__Plan__Operator *o = PB_NEW(b, Mien__Plan__Operator, MIEN__PLAN__OPERATOR__INIT);
  o->domain = pb_text(b, domain);
  o->name = pb_text(b, name);
  o->version = version;
  pb_push(b, &b->program.operators, &b->program.n_operators, o);
  return (uint32_t)b->program.n_operators - 1;
}

static inline uint32_t *pb_ids(pb *b, const uint32_t *ids, size_t count) {
  return memcpy(pb_alloc(b, count * sizeof *ids + 1), ids, count * sizeof *ids);
}

#define PB_IDS(...) ((const uint32_t[]){__VA_ARGS__}), sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t)

/* Not part of the program yet: for decompositions. */
static inline Mien__Plan__Instruction *pb_instruction(pb *b, uint32_t op, const char *name, const uint32_t *in,
                                                      size_t in_count, const uint32_t *out, size_t out_count) {
  Mien__Plan__Instruction *i = PB_NEW(b, Mien__Plan__Instruction, MIEN__PLAN__INSTRUCTION__INIT);
  i->op = op;
  i->name = pb_text(b, name);
  i->inputs = pb_ids(b, in, in_count);
  i->n_inputs = in_count;
  i->outputs = pb_ids(b, out, out_count);
  i->n_outputs = out_count;
  return i;
}

static inline void pb_append(pb *b, Mien__Plan__Instruction *i) {
  pb_push(b, &b->program.instructions, &b->program.n_instructions, i);
}

/* One operator of ai.onnx with one output, whose id it gives. */
static inline uint32_t pb_node(pb *b, const char *name, uint32_t version, const uint32_t *in, size_t in_count) {
  uint32_t out = pb_value(b);
  pb_append(b, pb_instruction(b, pb_operator(b, "", name, version), name, in, in_count, &out, 1));
  return out;
}

static inline Mien__Plan__Attribute *pb_attribute(pb *b, Mien__Plan__Instruction *i, const char *name, char kind) {
  Mien__Plan__Attribute *a = PB_NEW(b, Mien__Plan__Attribute, MIEN__PLAN__ATTRIBUTE__INIT);
  a->name = pb_text(b, name);
  a->kind = (uint32_t)kind;
  pb_push(b, &i->attributes, &i->n_attributes, a);
  return a;
}

static inline Mien__Plan__Instruction *pb_last(pb *b) { return b->program.instructions[b->program.n_instructions - 1]; }

static inline void pb_name(pb *b, uint32_t value, const char *name, const char *went_into) {
  Mien__Plan__ValueName *n = PB_NEW(b, Mien__Plan__ValueName, MIEN__PLAN__VALUE_NAME__INIT);
  n->value = value;
  n->name = pb_text(b, name);
  if (went_into) n->went_into = pb_text(b, went_into);
  pb_push(b, &b->names.values, &b->names.n_values, n);
}

/* ---------------------------------------------------------------- frame */

static inline void pb_put(uint8_t *at, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}
static inline uint64_t pb_get(const uint8_t *at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
  return value;
}

/* Right checksums and file size for whatever the bytes say, as an attacker would put them. */
static inline void pb_seal(uint8_t *file, size_t size) {
  if (size < MIEN__PLAN_HEAD) return;
  uint64_t sections = pb_get(file + 12, 4);
  pb_put(file + 16, size, 8);
  if (sections > (size - MIEN__PLAN_HEAD) / MIEN__PLAN_ROW) return;
  for (uint64_t i = 0; i < sections; i++) {
    uint8_t *row = file + MIEN__PLAN_HEAD + i * MIEN__PLAN_ROW;
    uint64_t offset = pb_get(row + 8, 8), bytes = pb_get(row + 16, 8);
    if (offset <= size && bytes <= size - offset) pb_put(row + 24, XXH64(file + offset, bytes, 0), 8);
  }
  pb_put(file + 24, XXH64(file + MIEN__PLAN_HEAD, sections * MIEN__PLAN_ROW, 0), 8);
}

/* The file; the caller frees it. */
static inline uint8_t *pb_pack(const pb *b, size_t *size) {
  const ProtobufCMessage *messages[] = {NULL, &b->program.base, NULL, &b->names.base, &b->meta.base, &b->check.base};
  size_t bytes[6], offset[6], at = MIEN__PLAN_HEAD + 5 * MIEN__PLAN_ROW;
  for (int kind = 1; kind <= 5; kind++) {
    bytes[kind] = messages[kind] ? protobuf_c_message_get_packed_size(messages[kind]) : b->constant_bytes;
    offset[kind] = (at + 63) / 64 * 64;
    at = offset[kind] + bytes[kind];
  }
  uint8_t *file = calloc(1, at);
  assert_non_null(file);
  memcpy(file, MIEN__PLAN_MAGIC, 8);
  pb_put(file + 8, MIEN__PLAN_VERSION, 4);
  pb_put(file + 12, 5, 4);
  for (int kind = 1; kind <= 5; kind++) {
    uint8_t *row = file + MIEN__PLAN_HEAD + (size_t)(kind - 1) * MIEN__PLAN_ROW;
    pb_put(row, (uint64_t)kind, 4);
    pb_put(row + 8, offset[kind], 8);
    pb_put(row + 16, bytes[kind], 8);
    if (messages[kind])
      protobuf_c_message_pack(messages[kind], file + offset[kind]);
    else if (bytes[kind])
      memcpy(file + offset[kind], b->constants, bytes[kind]);
  }
  pb_seal(file, at);
  *size = at;
  return file;
}

static inline mien_status pb_open(const pb *b, mien_env *env, uint32_t flags, mien_plan **plan, mien_error *error) {
  size_t size;
  uint8_t *file = pb_pack(b, &size);
  mien_status status = mien_plan_open_memory(env, file, size, flags, plan, error);
  free(file);
  return status;
}

#endif
