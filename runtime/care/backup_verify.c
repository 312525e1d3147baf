/* Looking after backups: whether they are whole, which there are, and removing old ones. */
#include "care/backup.h"
#include "core/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_PLACES = 10 };
#define SOON_NS UINT64_C(5000000000)

/* ---- Sets ---- */

static void key_of(const char *sha256, const char *suffix, uint8_t out[40]) {
  memset(out, 0, 40);
  (void)text_unhex(sha256, BACKUP_DIGITS, out);
  if (*suffix) (void)text_unhex(suffix + 1, 16, out + 32);
}

/* Its place, or the empty one where it would be. */
static size_t look_up(const content_set *set, const uint8_t key[40]) {
  static const uint8_t nothing[40];
  uint64_t hash;
  memcpy(&hash, key, sizeof hash);
  size_t at = (size_t)hash & (set->room - 1);
  while (memcmp(set->items[at], key, 40) != 0 && memcmp(set->items[at], nothing, 40) != 0) at = (at + 1) & (set->room - 1);
  return at;
}

static bool grow(content_set *set) {
  content_set larger = {.room = set->room ? set->room * 2 : 1024, .count = set->count};
  static const uint8_t nothing[40];
  larger.items = calloc(larger.room, sizeof *larger.items);
  if (!larger.items) return false;
  for (size_t i = 0; i < set->room; i++)
    if (memcmp(set->items[i], nothing, 40) != 0) memcpy(larger.items[look_up(&larger, set->items[i])], set->items[i], 40);
  free(set->items);
  *set = larger;
  return true;
}

bool set_has(const content_set *set, const char *sha256, const char *suffix) {
  uint8_t key[40];
  key_of(sha256, suffix, key);
  return set->room > 0 && memcmp(set->items[look_up(set, key)], key, 40) == 0;
}

bool set_add(content_set *set, const char *sha256, const char *suffix) {
  uint8_t key[40];
  key_of(sha256, suffix, key);
  if (set->count * 2 >= set->room && !grow(set)) set->failed = true;
  if (set->failed) return true;
  size_t at = look_up(set, key);
  if (memcmp(set->items[at], key, 40) == 0) return false;
  memcpy(set->items[at], key, 40);
  set->count++;
  return true;
}

void set_free(content_set *set) {
  free(set->items);
  *set = (content_set){0};
}

/* ---- One backup ---- */

void backup_progress(report *r, uint64_t done, uint64_t total) {
  if (r->terminal || purlin_ticks_ns() - r->begun_ns > SOON_NS) report_progress(r, done, total);
}

typedef struct checking {
  const backup_store *store;
  const char *key_file;
  char suffix[32];
  content_set *seen;
  backup_tick *tick;
  void *to;
  buffer *why;
  size_t wrong;
} checking;

static void note(checking *c, const buffer *what) {
  if (c->wrong++ < MOST_PLACES)
    buffer_format(c->why, "%s%.*s", c->why->size > 0 ? "\n" : "", (int)what->size, what->data ? what->data : "");
}

static bool is_inside(const char *path, const char *key_file, const backup_content *content, bool compressed, buffer *why) {
  static char piece[BACKUP_PIECE];
  backup_source source;
  if (!source_open(&source, path, key_file, compressed, why)) return false;
  ssize_t got;
  while ((got = source_read(&source, piece, sizeof piece, why)) > 0) {}
  if (got == 0) return source_close(&source, content, why);
  source_abandon(&source);
  return false;
}

/* `compressed`: it is a dump. */
static void check_content(checking *c, const char *path, const backup_content *content, bool encrypted, bool compressed) {
  char sha256[BACKUP_DIGITS + 1];
  int64_t size = 0;
  buffer why = {0};
  bool fine = file_sum(path, sha256, &size, c->tick, c->to, &why);
  if (fine && (size != content->stored_size || strcmp(sha256, content->stored_sha256) != 0)) {
    buffer_format(&why, "%s: its bytes have changed: it should have %lld with the SHA-256 %s and has %lld with %s", path,
                  (long long)content->stored_size, content->stored_sha256, (long long)size, sha256);
    fine = false;
  }
  bool look = encrypted ? c->key_file != NULL : compressed;
  if (fine && look) fine = is_inside(path, encrypted ? c->key_file : NULL, content, compressed, &why);
  if (!fine) note(c, &why);
  buffer_free(&why);
}

static bool check_file(void *to, const backup_file *file) {
  checking *c = to;
  char path[PATH_MAX];
  if (!set_add(c->seen, file->content.sha256, c->suffix)) return true;
  store_path(c->store, file->content.sha256, c->suffix, path);
  check_content(c, path, &file->content, c->suffix[0] != '\0', false);
  return true;
}

bool backup_check(const backup_store *store, const backup_manifest *m, const char *key_file, content_set *seen,
                  backup_tick *tick, void *to, buffer *why) {
  char path[PATH_MAX];
  checking c = {.store = store, .key_file = key_file, .seen = seen, .tick = tick, .to = to, .why = why};
  bool encrypted = m->recipient.state == PURLIN_SET;
  store_suffix(encrypted ? m->recipient.value : NULL, c.suffix);
  (void)snprintf(path, sizeof path, "%s/backups/%s/database.sql.gz%s", store->root, m->name, encrypted ? ".age" : "");
  check_content(&c, path, &m->dump, encrypted, true);
  (void)snprintf(path, sizeof path, "%s/backups/%s/files.list", store->root, m->name);
  check_content(&c, path, &m->list, false, false);
  bool readable = c.wrong > 0 || backup_list_read(path, false, check_file, &c, why);
  for (size_t i = 0; i < m->binlogs.count && readable; i++) {
    const backup_file file = {.content = m->binlogs.items[i].content};
    (void)check_file(&c, &file);
  }
  if (c.wrong > MOST_PLACES) buffer_format(why, "\nand %zu more", c.wrong - MOST_PLACES);
  if (seen->failed) buffer_text(why, "no memory");
  return readable && c.wrong == 0 && !seen->failed;
}

/* ---- purlin backup verify ---- */

typedef struct verifying {
  report report;
  uint64_t done;
} verifying;

static bool tick(void *to, uint64_t bytes, buffer *why) {
  verifying *v = to;
  (void)why;
  v->done += bytes;
  backup_progress(&v->report, v->done, 0);
  return true;
}

static void verify_one(verifying *v, const backup_store *store, const char *name, const char *key_file, content_set *seen) {
  backup_read_manifest read;
  buffer why = {0}, detail = {0};
  report_step(&v->report, "%s", name);
  bool fine = backup_manifest_read(store->root, name, &read, &why);
  if (fine) {
    fine = backup_check(store, &read.m, key_file, seen, tick, v, &why);
    bool closed = read.m.recipient.state == PURLIN_SET && !key_file;
    buffer_format(&detail, "whole%s", closed ? "; encrypted, what is inside was not looked at (--identity FILE)" : "");
    backup_manifest_free(&read);
  }
  report_end_step(&v->report, fine ? REPORT_DONE : REPORT_FAILED, buffer_end(fine ? &detail : &why), NULL);
  buffer_free(&why);
  buffer_free(&detail);
}

static int verify(const char *directory, const char *name, const char *key_file, bool json) {
  verifying v = {0};
  backup_store store;
  backup_names names = {0};
  content_set seen = {0};
  buffer why = {0};
  report_begin(&v.report, "backup verify", json);
  report_step(&v.report, "Opening %s", directory);
  bool fine = store_open(&store, directory, &why) && (access(store.root, W_OK) != 0 || store_lock(&store, &why)) &&
              store_names(&store, &names, &why);
  if (fine && names.count == 0) buffer_format(&why, "there is no whole backup in %s", store.root);
  if (!fine || names.count == 0) report_end_step(&v.report, REPORT_FAILED, buffer_end(&why), NULL);
  size_t looked_at = 0;
  for (size_t i = 0; i < names.count && fine; i++) {
    if (name && strcmp(name, names.items[i]) != 0) continue;
    verify_one(&v, &store, names.items[i], key_file, &seen);
    looked_at++;
  }
  if (fine && names.count > 0 && looked_at == 0) {
    report_step(&v.report, "%s", name);
    report_end_step(&v.report, REPORT_FAILED, "there is no such backup", NULL);
  }
  store_end(&store);
  names_free(&names);
  set_free(&seen);
  buffer_free(&why);
  return report_end(&v.report);
}

static int which_folder(const char *command) {
  (void)fprintf(stderr, "purlin: %s: which folder? 'purlin %s --help' tells more\n", command, command);
  return CARE_USAGE;
}

int care_backup_verify(bool json, int count, char **arguments) {
  const char *name = NULL, *key_file = NULL, *directory = NULL;
  int code = CARE_FINE;
  const care_option options[] = {{"--name", &name, NULL}, {"--identity", &key_file, NULL}, {"--json", NULL, &json}};
  if (!care_arguments("backup verify", NULL, options, sizeof options / sizeof options[0], count, arguments, &directory,
                      &code))
    return code;
  return directory ? verify(directory, name, key_file, json) : which_folder("backup verify");
}

/* ---- purlin backup list ---- */

static void list_one(report *r, cJSON *all, const backup_store *store, const char *name) {
  backup_read_manifest read;
  buffer why = {0}, line = {0};
  cJSON *item = cJSON_CreateObject();
  (void)cJSON_AddStringToObject(item, "name", name);
  if (backup_manifest_read(store->root, name, &read, &why)) {
    const backup_manifest *m = &read.m;
    int64_t files = 0, bytes = 0;
    for (size_t i = 0; i < m->folders.count; i++) {
      files += m->folders.items[i].files;
      bytes += m->folders.items[i].bytes;
    }
    char until[32] = "";
    if (m->covered_until.unix_us) (void)text_from_time(m->covered_until.unix_us / 1000000 * 1000000, until);
    report_add_bytes(&line, (uint64_t)(bytes + m->dump.stored_size));
    report_say(r, "%-18s %-8s %8lld files %12s  %-9s %s%s", name, m->purlin, (long long)files, buffer_end(&line),
               m->recipient.state == PURLIN_SET ? "encrypted"
               : m->secrets                     ? "secrets"
                                                : "",
               until[0] ? "until " : "", until);
    (void)cJSON_AddStringToObject(item, "version", m->purlin);
    (void)cJSON_AddNumberToObject(item, "files", (double)files);
    (void)cJSON_AddNumberToObject(item, "bytes", (double)(bytes + m->dump.stored_size));
    (void)cJSON_AddBoolToObject(item, "encrypted", m->recipient.state == PURLIN_SET);
    (void)cJSON_AddBoolToObject(item, "secrets", m->secrets);
    if (until[0]) (void)cJSON_AddStringToObject(item, "until", until);
    backup_manifest_free(&read);
  } else {
    report_say(r, "%-18s damaged: %s", name, buffer_end(&why));
    (void)cJSON_AddStringToObject(item, "damaged", buffer_end(&why));
  }
  if (!cJSON_AddItemToArray(all, item)) cJSON_Delete(item);
  buffer_free(&why);
  buffer_free(&line);
}

static int list(const char *directory, bool json) {
  report r;
  backup_store store;
  backup_names names = {0};
  buffer why = {0};
  report_begin(&r, "backup list", json);
  bool fine = store_open(&store, directory, &why) && store_names(&store, &names, &why);
  if (!fine) {
    report_step(&r, "Opening %s", directory);
    report_end_step(&r, REPORT_FAILED, buffer_end(&why), NULL);
  } else if (names.count == 0) report_say(&r, "There is no whole backup in %s.", store.root);
  cJSON *all = cJSON_AddArrayToObject(r.document, "backups");
  for (size_t i = 0; i < names.count; i++) list_one(&r, all, &store, names.items[i]);
  store_end(&store);
  names_free(&names);
  buffer_free(&why);
  return report_end(&r);
}

int care_backup_list(bool json, int count, char **arguments) {
  const char *directory = NULL;
  int code = CARE_FINE;
  const care_option options[] = {{"--json", NULL, &json}};
  if (!care_arguments("backup list", NULL, options, 1, count, arguments, &directory, &code)) return code;
  return directory ? list(directory, json) : which_folder("backup list");
}

/* ---- --keep ---- */

typedef struct gathering {
  content_set *needed;
  const char *suffix;
} gathering;

static bool gather(void *to, const backup_file *file) {
  const gathering *g = to;
  (void)set_add(g->needed, file->content.sha256, g->suffix);
  return true;
}

static bool gather_backup(const backup_store *store, const char *name, content_set *needed, buffer *why) {
  backup_read_manifest read;
  char suffix[32], path[PATH_MAX];
  if (!backup_manifest_read(store->root, name, &read, why)) return false;
  store_suffix(read.m.recipient.state == PURLIN_SET ? read.m.recipient.value : NULL, suffix);
  gathering g = {needed, suffix};
  for (size_t i = 0; i < read.m.binlogs.count; i++) (void)set_add(needed, read.m.binlogs.items[i].content.sha256, suffix);
  backup_manifest_free(&read);
  (void)snprintf(path, sizeof path, "%s/backups/%s/files.list", store->root, name);
  return backup_list_read(path, false, gather, &g, why);
}

/* "cdef..." in files/ab, with a suffix or without. */
static bool is_needed(const content_set *needed, const char *folder, const char *name) {
  char sha256[BACKUP_DIGITS + 1];
  if (strlen(name) < BACKUP_DIGITS - 2) return true; /* nothing of ours */
  (void)snprintf(sha256, sizeof sha256, "%.2s%.62s", folder, name);
  const char *suffix = name + BACKUP_DIGITS - 2;
  return strspn(sha256, "0123456789abcdef") != BACKUP_DIGITS || (*suffix && strlen(suffix) != 21) ||
         set_has(needed, sha256, suffix);
}

static bool sweep_folder(const backup_store *store, const char *name, const content_set *needed, uint64_t *freed,
                         buffer *why) {
  char path[PATH_MAX];
  struct stat about;
  (void)snprintf(path, sizeof path, "%s/files/%s", store->root, name);
  DIR *folder = opendir(path);
  if (!folder && errno == ENOENT) return true;
  for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
    if (is_needed(needed, name, entry->d_name)) continue;
    if (fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) == 0) *freed += (uint64_t)about.st_size;
    if (unlinkat(dirfd(folder), entry->d_name, 0) != 0)
      buffer_format(why, "%s/%s: cannot be removed: %s\n", path, entry->d_name, strerror(errno));
  }
  if (!folder) buffer_format(why, "%s: cannot be read: %s", path, strerror(errno));
  if (folder) (void)closedir(folder);
  return why->size == 0;
}

/* A backup goes by losing its name; then what it held may go. */
static bool forget(const backup_store *store, const char *name, buffer *why) {
  char path[PATH_MAX], going[PATH_MAX], above[PATH_MAX];
  (void)snprintf(above, sizeof above, "%s/backups", store->root);
  (void)snprintf(path, sizeof path, "%s/backups/%s", store->root, name);
  (void)snprintf(going, sizeof going, "%s/backups/removed", store->root);
  if (!remove_folder(going, why)) return false; /* of one that was killed here */
  if (rename(path, going) == 0) return folder_sync(above, why) && remove_folder(going, why);
  buffer_format(why, "%s: cannot be removed: %s", path, strerror(errno));
  return false;
}

bool backup_prune(backup_store *store, size_t keep, report *r, buffer *why) {
  backup_names names;
  content_set needed = {0};
  uint64_t freed = 0;
  report_step(r, "Removing old backups");
  bool fine = store_names(store, &names, why);
  size_t old = names.count > keep ? names.count - keep : 0;
  for (size_t i = old; i < names.count && fine; i++) fine = gather_backup(store, names.items[i], &needed, why);
  fine = fine && !needed.failed;
  for (size_t i = 0; i < old && fine; i++) fine = forget(store, names.items[i], why);
  for (unsigned i = 0; i < 256 && fine; i++) {
    char name[3];
    (void)snprintf(name, sizeof name, "%02x", i);
    fine = sweep_folder(store, name, &needed, &freed, why);
  }
  buffer detail = {0};
  buffer_format(&detail, "%zu went, %zu stay; ", old, names.count - old);
  report_add_bytes(&detail, freed);
  buffer_text(&detail, " are free again");
  if (fine) report_end_step(r, REPORT_DONE, buffer_end(&detail), NULL);
  else if (why->size == 0) buffer_text(why, "no memory");
  buffer_free(&detail);
  names_free(&names);
  set_free(&needed);
  return fine;
}
