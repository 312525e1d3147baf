/* MariaDB's binary logs: what was committed after a dump. A backup takes the closed ones along, from those of the backup before on, so
 * that a restore can go to a moment in between. They are files of the server's: only who may read them there can take them. */
#include "care/backup.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Of its head: the magic number and the event that describes the file, with the time at which it was begun. */
enum { HEAD = 256, FLAGS_AT = 21 };

bool binlogs_are_on(MYSQL *mysql) { return database_number(mysql, "SELECT @@log_bin", 0) == 1; }

static bool binlog_path(MYSQL *mysql, const char *name, char out[PATH_MAX]) {
  buffer base = {0};
  bool fine = database_text(mysql, &base, NULL, "SELECT @@log_bin_basename") && base.size > 0;
  if (fine) {
    char *slash = strrchr(buffer_end(&base), '/');
    if (slash) *slash = '\0';
    fine = slash && snprintf(out, PATH_MAX, "%s/%s", base.data, name) < PATH_MAX;
  }
  buffer_free(&base);
  return fine;
}

/* The flag that it is open goes when it is closed. */
bool binlog_head(MYSQL *mysql, const char *name, char sha256[BACKUP_DIGITS + 1]) {
  char path[PATH_MAX];
  uint8_t head[HEAD], hash[32];
  int file = binlog_path(mysql, name, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  ssize_t size = file >= 0 ? pread(file, head, sizeof head, 0) : -1;
  if (file >= 0) (void)close(file);
  if (size < HEAD) return false;
  head[FLAGS_AT] = head[FLAGS_AT + 1] = 0;
  text_sha256(head, sizeof head, hash);
  text_hex(hash, sizeof hash, sha256);
  return true;
}

static const backup_binlog *find(const backup_manifest *m, const char *name) {
  for (size_t i = 0; m && i < m->binlogs.count; i++)
    if (strcmp(m->binlogs.items[i].name, name) == 0) return &m->binlogs.items[i];
  return NULL;
}

static bool binlogs_follow(MYSQL *mysql, const backup_manifest *before) {
  char head[BACKUP_DIGITS + 1];
  return before && before->position_file.state == PURLIN_SET && before->position_head.state == PURLIN_SET &&
         binlog_head(mysql, before->position_file.value, head) && strcmp(head, before->position_head.value) == 0;
}

static bool take(MYSQL *mysql, backup_store *store, const char *name, arena *memory, backup_tick *tick, void *to,
                 backup_binlog *out, buffer *why) {
  char path[PATH_MAX];
  backup_sums sums;
  int file = binlog_path(mysql, name, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) {
    buffer_format(why, "the binary log %s cannot be read: %s", name, strerror(errno));
    return false;
  }
  bool fine = store_put(store, file, path, tick, to, &sums, why);
  (void)close(file);
  if (!fine) return false;
  const backup_content content = sums_content(&sums);
  return content_copy(&content, memory, &out->content) && (out->name = arena_copy(memory, name, strlen(name)));
}

static void free_names(char **names, size_t count) {
  for (size_t i = 0; names && i < count; i++) free(names[i]);
  free((void *)names);
}

/* The names of the server's, oldest first, the open one last. */
static char **list(MYSQL *mysql, size_t *count, buffer *why) {
  MYSQL_RES *rows = mysql_query(mysql, "SHOW BINARY LOGS") == 0 ? mysql_store_result(mysql) : NULL;
  if (!rows) {
    buffer_text(why, mysql_error(mysql));
    return NULL;
  }
  char **names = calloc((size_t)mysql_num_rows(rows) + 1, sizeof *names);
  *count = 0;
  bool fine = names != NULL;
  for (MYSQL_ROW row = fine ? mysql_fetch_row(rows) : NULL; row && fine; row = mysql_fetch_row(rows))
    fine = (names[(*count)++] = strdup(row[0] ? row[0] : "")) != NULL;
  mysql_free_result(rows);
  if (fine) return names;
  buffer_text(why, "out of memory");
  free_names(names, *count);
  return NULL;
}

static bool take_all(MYSQL *mysql, backup_store *store, const char *from, const backup_manifest *before, arena *memory,
                     backup_tick *tick, void *to, backup_manifest *m, buffer *why) {
  size_t count = 0;
  char **names = list(mysql, &count, why);
  backup_binlog *items = names ? arena_alloc(memory, (count + 1) * sizeof *items) : NULL;
  bool fine = items != NULL, reached = false;
  for (size_t i = 0; i + 1 < count && fine; i++) {
    reached |= strcmp(names[i], from) == 0;
    if (!reached || find(before, names[i])) continue;
    fine = take(mysql, store, names[i], memory, tick, to, &items[m->binlogs.count], why);
    m->binlogs.count += fine;
  }
  m->binlogs.items = items;
  free_names(names, count);
  return fine;
}

bool binlogs_take(MYSQL *mysql, backup_store *store, const backup_manifest *before, arena *memory, backup_tick *tick,
                  void *to, backup_manifest *m, buffer *why) {
  buffer now = {0};
  bool follows = binlogs_follow(mysql, before);
  const char *from = follows ? before->position_file.value : m->position_file.value;
  bool fine = database_text(mysql, &now, why, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)") &&
              database_run(mysql, why, "FLUSH BINARY LOGS") &&
              take_all(mysql, store, from, follows ? before : NULL, memory, tick, to, m, why);
  if (fine) m->covered_until.unix_us = strtoll(buffer_end(&now), NULL, 10);
  if (fine && follows) m->continues = (purlin_opt_text){PURLIN_SET, before->name};
  if (!fine) m->binlogs.count = 0;
  buffer_free(&now);
  return fine;
}
