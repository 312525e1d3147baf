/* local.c: memory of which every loop has its own, found by a key's address. */
#include "loop/internal.h"
#include <stdlib.h>

static size_t place_of(const local_table *table, const void *key) {
  uint64_t hash = (uint64_t)(uintptr_t)key * 0x9e3779b97f4a7c15u;
  size_t mask = table->capacity - 1, at = (size_t)(hash >> 32) & mask;
  while (table->entries[at].key && table->entries[at].key != key) at = (at + 1) & mask;
  return at;
}

/* At most half full, so that a search ends soon. */
static bool make_room(local_table *table) {
  if (table->count * 2 < table->capacity) return true;
  local_table bigger = {.capacity = table->capacity ? table->capacity * 2 : 16, .count = table->count};
  bigger.entries = calloc(bigger.capacity, sizeof *bigger.entries);
  if (!bigger.entries) return false;
  for (size_t i = 0; i < table->capacity; i++)
    if (table->entries[i].key) bigger.entries[place_of(&bigger, table->entries[i].key)] = table->entries[i];
  free(table->entries);
  *table = bigger;
  return true;
}

void *loop_local(loop *l, const void *key, size_t size) {
  local_table *table = &l->locals;
  if (table->capacity) {
    const local_entry *found = &table->entries[place_of(table, key)];
    if (found->key) return size <= found->size ? found->memory : NULL;
  }
  if (!make_room(table)) return NULL;
  void *memory = calloc(1, size ? size : 1);
  if (!memory) return NULL;
  table->entries[place_of(table, key)] = (local_entry){key, memory, size};
  table->count++;
  return memory;
}

void local_free(local_table *table) {
  for (size_t i = 0; i < table->capacity; i++) free(table->entries[i].memory);
  free(table->entries);
  *table = (local_table){0};
}
