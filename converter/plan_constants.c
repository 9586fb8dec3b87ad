/* plan_constants.c -- section constants: bytes at multiples of 64, equal bytes once. Constants stay apart even where their bytes
** are shared: two biases of zeros are two biases once somebody swaps the weights. */
#include "converter/plan_write.h"

#include <string.h>
#include <xxhash.h>

static size_t blob_slot(const mien__plan_builder *b, const void *data, size_t size, uint64_t hash) {
  size_t at = (size_t)hash & (b->slot_count - 1);
  for (; b->slots[at]; at = (at + 1) & (b->slot_count - 1)) {
    const mien__blob *blob = &b->blobs[b->slots[at] - 1];
    if (blob->hash == hash && blob->size == size && (size == 0 || memcmp(blob->data, data, size) == 0)) break;
  }
  return at;
}

bool mien__plan_blob_find(const mien__plan_builder *b, const void *data, size_t size, uint32_t *constant) {
  if (b->slot_count == 0) return false;
  size_t at = blob_slot(b, data, size, XXH3_64bits(data, size));
  if (!b->slots[at]) return false;
  *constant = b->blobs[b->slots[at] - 1].constant;
  return true;
}

/* Room for one more constant and one more blob, and a hash table at most half full. */
static mien_status make_room(mien__plan_builder *b) {
  if (b->constant_count < b->constant_room) return MIEN_OK;
  uint32_t room = b->constant_room ? 2 * b->constant_room : 64;
  mien__plan_constant *constants = mien__plan_take(b, room, sizeof *constants);
  mien__blob *blobs = mien__plan_take(b, room, sizeof *blobs);
  uint32_t *slots = mien__plan_take(b, 2 * (size_t)room, sizeof *slots);
  if (!constants || !blobs || !slots) return MIEN_NO_MEMORY;
  if (b->constant_count) {
    memcpy(constants, b->constants, b->constant_count * sizeof *constants);
    memcpy(blobs, b->blobs, b->blob_count * sizeof *blobs);
  }
  b->constants = constants;
  b->blobs = blobs;
  b->slots = slots;
  b->slot_count = 2 * (size_t)room;
  b->constant_room = room;
  for (uint32_t i = 0; i < b->blob_count; i++) slots[blob_slot(b, blobs[i].data, blobs[i].size, blobs[i].hash)] = i + 1;
  return MIEN_OK;
}

static mien_status add_blob(mien__plan_builder *b, const void *data, size_t size, uint32_t *blob) {
  uint64_t hash = XXH3_64bits(data, size);
  size_t at = blob_slot(b, data, size, hash), padded;
  if (!mien__add(size, 63, &padded)) return mien__no_memory(b->error, size);
  padded &= ~(size_t)63;
  b->unshared_bytes += padded;
  if (!b->slots[at]) {
    b->blobs[b->blob_count++] = (mien__blob){.data = data, .size = size, .offset = b->section_bytes, .hash = hash};
    b->slots[at] = b->blob_count;
    b->section_bytes += padded;
  }
  *blob = b->slots[at] - 1;
  return MIEN_OK;
}

mien_status mien__plan_constant_of(mien__plan_builder *b, mien_value value, const mien_tensor *tensor,
                                   uint32_t *index) {
  if (value != MIEN_NO_VALUE && b->constant_ids[value]) {
    *index = b->constant_ids[value];
    return MIEN_OK;
  }
  const char *name = value == MIEN_NO_VALUE ? "" : mien__value_name(b->g, value);
  if (tensor->type.dtype == MIEN_STRING)
    return mien__fail(b->error, MIEN_UNSUPPORTED, "constant '%s': plans do not carry strings", name);
  int64_t count;
  size_t bytes;
  MIEN_TRY(mien__type_size(b->g->env, &tensor->type, &count, &bytes, b->error));
  if (bytes > tensor->bytes || (bytes && !tensor->data))
    return mien__fail(b->error, MIEN_INTERNAL, "constant '%s' has %zu bytes of %zu", name, tensor->bytes, bytes);
  MIEN_TRY(make_room(b));
  uint32_t blob = 0;
  MIEN_TRY(add_blob(b, tensor->data, bytes, &blob));
  b->constants[b->constant_count++] = (mien__plan_constant){.tensor = tensor, .value = value, .blob = blob};
  *index = b->constant_count;
  if (!b->blobs[blob].constant) b->blobs[blob].constant = *index;
  if (value != MIEN_NO_VALUE) b->constant_ids[value] = *index;
  return MIEN_OK;
}

mien_status mien__plan_build_constants(mien__plan_builder *b) {
  Mien__Plan__Constant **list = mien__plan_messages(b, b->constant_count, sizeof **list);
  if (!list) return MIEN_NO_MEMORY;
  for (uint32_t i = 0; i < b->constant_count; i++) {
    const mien__blob *blob = &b->blobs[b->constants[i].blob];
    mien__plan__constant__init(list[i]);
    list[i]->offset = blob->offset;
    list[i]->size = blob->size;
    MIEN_TRY(mien__plan_type_of(b, &b->constants[i].tensor->type, false, &list[i]->type));
  }
  b->program.n_constants = b->constant_count;
  b->program.constants = list;
  return MIEN_OK;
}
