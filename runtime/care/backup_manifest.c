/* manifest.json, whose checksum lies beside it, and files.list, a line of JSON for each file. */
#include "care/backup.h"
#include "core/schema.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LARGEST_MANIFEST = 64 * 1024 * 1024 };

typedef struct complaining {
  const char *path;
  buffer *why;
} complaining;

static void complain(void *to, const char *field, const char *message) {
  const complaining *c = to;
  if (c->why->size > 0) buffer_text(c->why, "; ");
  buffer_format(c->why, "%s: %s%s%s", c->path, field, *field ? " " : "", message);
}

void backup_manifest_encode(const backup_manifest *m, buffer *out) {
  schema_encode(backup_manifest_schema(), m, SCHEMA_PUBLIC, out);
  buffer_char(out, '\n');
}

/* "SHA256  manifest.json\n" */
static bool check_sum(const char *folder, const char *path, const buffer *text, buffer *why) {
  char sums[PATH_MAX], digits[BACKUP_DIGITS + 1];
  uint8_t hash[32];
  buffer noted = {0};
  (void)snprintf(sums, sizeof sums, "%.*s/manifest.sha256", PATH_MAX - 32, folder);
  bool fine = file_read(sums, LARGEST_MANIFEST, &noted, why);
  text_sha256(text->data ? text->data : "", text->size, hash);
  text_hex(hash, sizeof hash, digits);
  if (fine && strncmp(buffer_end(&noted), digits, BACKUP_DIGITS) != 0) {
    buffer_format(why, "%s: its bytes have changed: its SHA-256 is not that of %s", path, sums);
    fine = false;
  }
  buffer_free(&noted);
  return fine;
}

bool backup_manifest_read(const char *root, const char *name, backup_read_manifest *out, buffer *why) {
  char folder[PATH_MAX], path[PATH_MAX];
  buffer text = {0};
  *out = (backup_read_manifest){0};
  arena_init(&out->memory, (size_t)4 * LARGEST_MANIFEST);
  (void)snprintf(folder, sizeof folder, "%.*s/backups/%s", PATH_MAX - 64, root, name);
  (void)snprintf(path, sizeof path, "%.*s/manifest.json", PATH_MAX - 32, folder);
  complaining c = {path, why};
  const schema_reading reading = {.memory = &out->memory, .complain = complain, .complain_to = &c, .tolerant = true};
  bool fine = file_read(path, LARGEST_MANIFEST, &text, why) && check_sum(folder, path, &text, why);
  char *kept = fine ? arena_copy(&out->memory, text.data, text.size) : NULL; /* decoded texts may lie in it */
  fine = kept && schema_decode(&reading, backup_manifest_schema(), kept, text.size, &out->m) == PURLIN_OK;
  if (fine && (out->m.format != BACKUP_FORMAT || strcmp(out->m.name, name) != 0)) {
    buffer_format(
        why, out->m.format != BACKUP_FORMAT ? "%s: a newer Purlin wrote it; use that one" : "%s: it is of another backup",
        path);
    fine = false;
  }
  buffer_free(&text);
  if (!fine) backup_manifest_free(out);
  return fine;
}

void backup_manifest_free(backup_read_manifest *read) {
  arena_free(&read->memory);
  read->m = (backup_manifest){0};
}

bool content_copy(const backup_content *content, arena *memory, backup_content *out) {
  return schema_copy(backup_content_schema(), content, memory, out);
}

/* ---- The list ---- */

void backup_file_encode(const backup_file *file, buffer *out) {
  schema_encode(backup_file_schema(), file, SCHEMA_PUBLIC, out);
  buffer_char(out, '\n');
}

typedef struct reading_list {
  FILE *file;
  const char *path;
  char *line;
  size_t room;
  int64_t number;
  arena memory;
  bool torn;
} reading_list;

/* 1: a line; 2: one that is not whole, which is left out; 0: the end; -1: `why`. */
static int next_line(reading_list *r, backup_file *out, buffer *why) {
  char place[PATH_MAX + 32];
  ssize_t size = getline(&r->line, &r->room, r->file);
  r->number++;
  if (size <= 0) return ferror(r->file) ? -1 : 0;
  (void)snprintf(place, sizeof place, "%s, line %lld", r->path, (long long)r->number);
  buffer own = {0};
  complaining c = {place, &own};
  const schema_reading reading = {.memory = &r->memory, .complain = complain, .complain_to = &c, .tolerant = true};
  bool whole = r->line[size - 1] == '\n' &&
               schema_decode(&reading, backup_file_schema(), r->line, (size_t)size - 1, out) == PURLIN_OK;
  if (!whole && !r->torn) buffer_format(why, "%s", own.size > 0 ? buffer_end(&own) : "a list ends in the middle of a line");
  buffer_free(&own);
  return whole ? 1 : r->torn ? 2 : -1;
}

bool backup_list_read(const char *path, bool torn, backup_on_file *each, void *to, buffer *why) {
  reading_list r = {.file = fopen(path, "re"), .path = path, .torn = torn};
  if (!r.file && torn && errno == ENOENT) return true;
  if (!r.file) {
    buffer_format(why, "%s: cannot be read: %s", path, strerror(errno));
    return false;
  }
  arena_init(&r.memory, (size_t)16 * 1024 * 1024);
  int more = 1;
  while (more > 0) {
    backup_file file = {0};
    purlin_mark mark = arena_mark(&r.memory);
    more = next_line(&r, &file, why);
    if (more == 1 && !each(to, &file)) more = -1;
    arena_reset(&r.memory, mark);
  }
  free(r.line);
  (void)fclose(r.file);
  arena_free(&r.memory);
  return more == 0;
}
