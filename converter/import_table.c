/* import_table.c -- texts to records, in a pool. */
#include "converter/import.h"

#include <string.h>
#include <xxhash.h>

static size_t slot_of(const mien__table *table, const char *key, size_t length) {
  size_t at = (size_t)XXH3_64bits(key, length) & (table->room - 1);
  while (table->slots[at] && (table->slots[at]->length != length || memcmp(table->slots[at]->key, key, length) != 0))
    at = (at + 1) & (table->room - 1);
  return at;
}

mien__entry *mien__table_find(const mien__table *table, const char *key) {
  return table->room ? table->slots[slot_of(table, key, strlen(key))] : NULL;
}

static bool grow(mien__table *table) {
  mien__table old = *table;
  size_t room = old.room ? 2 * old.room : 16, bytes;
  if (!mien__mul(room, sizeof *table->slots, &bytes)) return false;
  mien__entry **slots = mien__pool_alloc(table->pool, bytes);
  if (!slots) return false;
  table->slots = slots;
  table->room = room;
  for (size_t i = 0; i < old.room; i++)
    if (old.slots[i]) slots[slot_of(table, old.slots[i]->key, old.slots[i]->length)] = old.slots[i];
  return true;
}

mien__entry *mien__table_add(mien__table *table, const char *key, bool *fresh) {
  mien__entry *found = mien__table_find(table, key);
  if (fresh) *fresh = !found;
  if (found) return found;
  if (2 * table->count >= table->room && !grow(table)) return NULL;
  mien__entry *entry = mien__pool_alloc(table->pool, sizeof *entry);
  if (!entry) return NULL;
  *entry = (mien__entry){.key = key, .length = strlen(key), .value = -1};
  table->slots[slot_of(table, key, entry->length)] = entry;
  table->count++;
  return entry;
}
