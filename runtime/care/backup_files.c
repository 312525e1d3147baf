/* What earlier lists say of files. The newest complete backup's, and what a backup that was killed had stored already. */
#include "care/backup.h"
#include "core/schema.h"
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MIB = 4096 };

void known_begin(known_files *k) {
  *k = (known_files){0};
  arena_init(&k->memory, (size_t)LIMIT_MIB * 1024 * 1024);
}

static bool keep(void *to, const backup_file *file) {
  known_files *k = to;
  if (k->count == k->room) {
    size_t room = k->room * 2 + 1024;
    backup_file *more = reallocarray(k->items, room, sizeof *more);
    if (!more) return false;
    k->items = more;
    k->room = room;
  }
  k->sorted = false;
  return schema_copy(backup_file_schema(), file, &k->memory, &k->items[k->count++]);
}

bool known_add(known_files *k, const char *path, bool torn, buffer *why) {
  if (backup_list_read(path, torn, keep, k, why)) return true;
  if (why->size == 0) buffer_text(why, "no memory for the list of files");
  return false;
}

static int by_place(const void *a, const void *b) {
  const backup_file *first = a, *second = b;
  int order = strcmp(first->folder, second->folder);
  return order ? order : strcmp(first->path, second->path);
}

const backup_file *known_find(known_files *k, const char *folder, const char *path) {
  const backup_file wanted = {.folder = folder, .path = path};
  if (!k->sorted && k->count > 0) qsort(k->items, k->count, sizeof *k->items, by_place);
  k->sorted = true;
  return k->count > 0 ? bsearch(&wanted, k->items, k->count, sizeof *k->items, by_place) : NULL;
}

void known_free(known_files *k) {
  free(k->items);
  arena_free(&k->memory);
  *k = (known_files){0};
}
