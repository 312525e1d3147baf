#include "care/restore.h"
#include "core/file.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool restore_open_database(restoring *r) {
  const char *name = r->place.settings.database.name;
  r->mysql = database_best(&r->place, &r->role, &r->why);
  if (!r->mysql) return false;
  if (mysql_select_db(r->mysql, name) == 0) return true;
  buffer refused = {0};
  bool made =
      database_run(r->mysql, &refused, "CREATE DATABASE `%s` CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", name) &&
      mysql_select_db(r->mysql, name) == 0;
  if (!made)
    buffer_format(&r->why, "there is no database %s and it cannot be made: %s; run: purlin setup", name,
                  buffer_end(&refused));
  buffer_free(&refused);
  return made;
}

int64_t restore_tables(restoring *r) {
  return database_number(r->mysql, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()", -1);
}

static bool drop_tables(restoring *r) {
  buffer names = {0};
  bool fine = database_run(r->mysql, &r->why, "SET SESSION group_concat_max_len = 16777216, foreign_key_checks = 0");
  if (fine && database_text(r->mysql, &names, &r->why,
                            "SELECT GROUP_CONCAT('`', REPLACE(table_name, '`', '``'), '`') FROM information_schema.tables"
                            " WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"))
    fine = database_run(r->mysql, &r->why, "DROP TABLE IF EXISTS %s", buffer_end(&names));
  buffer_free(&names);
  return fine && r->why.size == 0;
}

static void dump_path(const restoring *r, char out[PATH_MAX]) {
  (void)snprintf(out, PATH_MAX, "%s/backups/%s/database.sql.gz%s", r->store.root, r->read.m.name,
                 r->suffix[0] ? ".age" : "");
}

/* What the client says of its failure is more than that its pipe broke. */
static bool pour(restoring *r, backup_source *source, int to, buffer *why) {
  static char piece[BACKUP_PIECE];
  for (;;) {
    ssize_t got = source_read(source, piece, sizeof piece, why);
    if (got <= 0) return got == 0;
    if (!file_write_all(to, piece, (size_t)got)) return false;
    (void)restore_tick(r, (uint64_t)got, why);
  }
}

bool restore_load(restoring *r) {
  char path[PATH_MAX];
  backup_source source;
  backup_filter client = {.errors = -1};
  dump_path(r, path);
  r->done = 0;
  r->total = (uint64_t)r->read.m.dump.size;
  if (!drop_tables(r) || !source_open(&source, path, r->key_file, true, &r->why)) return false;
  int to = database_load(&r->place, r->role, &client, &r->why);
  if (to < 0) {
    source_abandon(&source);
    return false;
  }
  buffer broken = {0};
  bool poured = pour(r, &source, to, &broken);
  (void)close(to);
  bool fine = filter_end(&client, "mariadb", &r->why);
  if (poured && fine) fine = source_close(&source, &r->read.m.dump, &r->why);
  else source_abandon(&source);
  if (fine && !poured) buffer_text(&r->why, broken.size > 0 ? buffer_end(&broken) : "mariadb ended before the dump did");
  if (!fine && broken.size > 0) buffer_format(&r->why, "; %s", buffer_end(&broken));
  buffer_free(&broken);
  return fine && poured;
}

/* ---- Comparing ---- */

typedef struct comparing {
  restoring *r;
  dump_watch watch;
} comparing;

static bool take(void *to, const char *data, size_t size) {
  comparing *c = to;
  (void)restore_tick(c->r, size, &c->r->why);
  return dump_watch_take(&c->watch, data, size);
}

static const backup_table *find(const dump_watch *w, const char *name) {
  for (size_t i = 0; i < w->count; i++)
    if (strcmp(w->tables[i].name, name) == 0) return &w->tables[i];
  return NULL;
}

static bool compare_tables(restoring *r, const dump_watch *w) {
  for (size_t i = 0; i < r->read.m.tables.count; i++) {
    const backup_table *saved = &r->read.m.tables.items[i], *now = find(w, saved->name);
    if (!now) buffer_format(&r->why, "the table %s is missing", saved->name);
    else if (now->rows != saved->rows)
      buffer_format(&r->why, "the table %s has %lld rows and had %lld", saved->name, (long long)now->rows,
                    (long long)saved->rows);
    else if (strcmp(now->sha256, saved->sha256) != 0)
      buffer_format(&r->why, "the rows of the table %s are not those of the backup", saved->name);
    if (r->why.size > 0) return false;
  }
  return true;
}

bool restore_compare(restoring *r, buffer *detail) {
  comparing *c = calloc(1, sizeof *c);
  if (!c) return false;
  c->r = r;
  r->done = 0;
  bool begun = dump_watch_begin(&c->watch, &r->memory);
  bool fine = begun && database_dump(&r->place, r->role, false, take, c, &r->why);
  if (!dump_watch_end(&c->watch) && fine) {
    buffer_text(&r->why, "mariadb-dump did not come to its end");
    fine = false;
  }
  int64_t rows = 0;
  for (size_t i = 0; i < c->watch.count; i++) rows += c->watch.tables[i].rows;
  buffer_format(detail, "%zu tables, %lld rows: the same", c->watch.count, (long long)rows);
  fine = fine && compare_tables(r, &c->watch);
  free(c);
  return fine;
}
