/* migrate.c: forward-only migrations.
 *
 * MariaDB commits before and after a definition, so a migration of several statements cannot be undone as a whole. Therefore
 * each statement is recorded by itself:
 *   - one that changes rows commits together with its record;
 *   - a definition is marked as started, run, and recorded. If the process dies in between, the next start finds the mark, and
 *     takes "exists already" for done.
 * A release before this one runs on what was added since, with a warning. A migration that it could not live with says so in a line
 * "-- breaking: WHY": the mark is recorded before the first of its statements runs, and a release that does not know it refuses to start.
 * One process at a time, by a lease row that a fiber of its own renews; it lapses when that process dies. */
#include "db/session.h"

#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "observe/log.h"

#define BREAKS (-1) /* as the number of a statement: the mark of a breaking migration */
#define LEASE_S 30
#define LEASE_WAIT_S 120
#define RENEW_MS 10000

static const char *const tables[] = {
    "CREATE TABLE IF NOT EXISTS purlin_migrations ("
    " component VARCHAR(64) NOT NULL,"
    " name VARCHAR(190) NOT NULL,"
    " statement INT NOT NULL COMMENT 'from 1; 0: the whole file; -1: releases before it cannot go on',"
    " checksum CHAR(64) CHARACTER SET ascii NOT NULL,"
    " state ENUM('started', 'applied') NOT NULL,"
    " applied_at DATETIME(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),"
    " PRIMARY KEY (component, name, statement)"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
    "CREATE TABLE IF NOT EXISTS purlin_leases ("
    " name VARCHAR(190) NOT NULL PRIMARY KEY,"
    " holder VARCHAR(64) NOT NULL,"
    " expires_at DATETIME(6) NOT NULL"
    ") ENGINE=InnoDB DEFAULT CHARSET=utf8mb4",
};

PURLIN_ENUM(record_state, started, applied);

typedef struct record {
  const char *name;
  int64_t statement;
  const char *checksum;
  record_state state;
} record;
PURLIN_SCHEMA(record, "One statement of a migration that was applied",
    PURLIN_REQUIRED(name, "Name of the migration"),
    PURLIN_REQUIRED(statement, "Number of the statement, 0 for the whole"),
    PURLIN_REQUIRED(checksum, "SHA-256 of its text"),
    PURLIN_REQUIRED(state, "Started or applied", .choices = record_state_names));

typedef PURLIN_LIST_OF(record) record_list;

typedef struct run {
  purlin_ctx *ctx;
  const char *component;
  const char *holder; /* of the lease: this run */
  buffer *why;
  record_list records; /* in order of name and statement */
  bool renewing;       /* the renewing fiber runs */
  bool finished;       /* tells it to end */
} run;

/* ---- The lease ---- */

static purlin_status try_lease(run *r, bool *got) {
  purlin_status status = purlin_db_run(
      r->ctx,
      "INSERT INTO purlin_leases (name, holder, expires_at) VALUES ('migrations', ?, NOW(6) + INTERVAL ? SECOND)"
      " ON DUPLICATE KEY UPDATE holder = IF(expires_at < NOW(6) OR holder = VALUES(holder), VALUES(holder), holder),"
      " expires_at = IF(holder = VALUES(holder), VALUES(expires_at), expires_at)",
      r->holder, LEASE_S);
  if (status != PURLIN_OK) return status;
  status =
      purlin_db_run(r->ctx, "UPDATE purlin_leases SET holder = holder WHERE name = 'migrations' AND holder = ?", r->holder);
  *got = status == PURLIN_OK && purlin_affected(r->ctx) == 1;
  return status;
}

static purlin_status take_lease(run *r) {
  for (int waited_s = 0; waited_s < LEASE_WAIT_S; waited_s++) {
    bool got = false;
    purlin_status status = try_lease(r, &got);
    if (status != PURLIN_OK || got) return status;
    if (waited_s == 0) purlin_log(r->ctx, PURLIN_INFO, "another process migrates the database: waiting for it");
    status = purlin_sleep(r->ctx, 1000);
    if (status != PURLIN_OK) return status;
  }
  buffer_format(r->why,
                "another process has been migrating the database for %d s; when none does, DELETE FROM purlin_leases "
                "WHERE name = 'migrations'",
                LEASE_WAIT_S);
  return PURLIN_UNAVAILABLE;
}

/* A definition may take longer than the lease. On another connection than the migration's, and ended before `run` is gone. */
static void renew_lease(purlin_ctx *ctx, void *argument) {
  run *r = argument;
  db_use_reserve(ctx);
  for (uint32_t waited_ms = 0; !r->finished; waited_ms += 20) {
    if (purlin_sleep(ctx, 20) != PURLIN_OK) break;
    if (waited_ms < RENEW_MS) continue;
    waited_ms = 0;
    if (purlin_db_run(ctx,
                      "UPDATE purlin_leases SET expires_at = NOW(6) + INTERVAL ? SECOND WHERE name = 'migrations' AND "
                      "holder = ?",
                      LEASE_S, r->holder) != PURLIN_OK)
      purlin_log(ctx, PURLIN_WARNING, "cannot renew the lease of the migrations");
  }
  r->renewing = false;
}

static void drop_lease(run *r) {
  r->finished = true;
  while (r->renewing) loop_sleep(5);
  if (purlin_db_run(r->ctx, "DELETE FROM purlin_leases WHERE name = 'migrations' AND holder = ?", r->holder) != PURLIN_OK)
    purlin_log(r->ctx, PURLIN_WARNING, "cannot drop the lease of the migrations: it lapses in %d s", LEASE_S);
}

/* ---- Records ---- */

static void checksum_of(const char *text, size_t size, char out[65]) {
  uint8_t hash[32];
  text_sha256(text, size, hash);
  text_hex(hash, sizeof hash, out);
}

static const record *find_record(const run *r, const char *name, int64_t statement) {
  for (size_t i = 0; i < r->records.count; i++)
    if (r->records.items[i].statement == statement && strcmp(r->records.items[i].name, name) == 0)
      return &r->records.items[i];
  return NULL;
}

static purlin_status write_record(run *r, const char *name, int64_t statement, const char *checksum, const char *state) {
  return purlin_db_run(r->ctx,
                       "INSERT INTO purlin_migrations (component, name, statement, checksum, state) VALUES (?, ?, ?, ?, ?)"
                       " ON DUPLICATE KEY UPDATE checksum = VALUES(checksum), state = VALUES(state)",
                       r->component, name, statement, checksum, state);
}

/* ---- One statement ---- */

typedef struct step {
  run *run;
  const char *name; /* of the migration */
  int64_t number;
  const char *sql; /* with a NUL */
  size_t size;
  char checksum[65];
  unsigned error; /* the server's, when it refused */
  char error_text[512];
} step;

/* As plain text: not every definition can be prepared. */
static purlin_status run_text(step *s, sql_kind kind) {
  purlin_ctx *ctx = s->run->ctx;
  db_session *session = db_session_of(ctx);
  if (!session) return PURLIN_UNAVAILABLE;
  purlin_status status = db_session_take(ctx, session, kind);
  if (status != PURLIN_OK) return status;
  db_connection *c = session->connection;
  if (db_connection_query(c, s->sql, s->size)) {
    db_session_leave(ctx, session);
    return PURLIN_OK;
  }
  s->error = c->error;
  snprintf(s->error_text, sizeof s->error_text, "%s", c->error_text);
  return db_session_fail(ctx, session, s->sql, s->size);
}

static purlin_status change_rows(purlin_ctx *ctx, void *argument) {
  step *s = argument;
  (void)ctx;
  purlin_status status = run_text(s, SQL_WRITES);
  return status == PURLIN_OK ? write_record(s->run, s->name, s->number, s->checksum, "applied") : status;
}

static bool means_done_before(unsigned error) {
  switch (error) {
  case ER_TABLE_EXISTS_ERROR:
  case ER_DUP_FIELDNAME:
  case ER_DUP_KEYNAME:
  case ER_MULTIPLE_PRI_KEY:
  case ER_CANT_DROP_FIELD_OR_KEY:
  case ER_BAD_TABLE_ERROR:
  case ER_BAD_FIELD_ERROR:
  case ER_NO_SUCH_TABLE:
  case ER_DUP_CONSTRAINT_NAME:
  case ER_TRG_ALREADY_EXISTS: return true;
  default: return false;
  }
}

/* The server said no, so the definition is not half done; without the mark a later "exists already" is an error again. */
static void forget_start(const step *s) {
  purlin_ctx *ctx = s->run->ctx;
  purlin_status status =
      purlin_db_run(ctx, "DELETE FROM purlin_migrations WHERE component = ? AND name = ? AND statement = ?",
                    s->run->component, s->name, s->number);
  if (status != PURLIN_OK) purlin_log(ctx, PURLIN_WARNING, "cannot forget the start of migration %s", s->name);
}

static purlin_status define(step *s, bool started_before) {
  purlin_status status = write_record(s->run, s->name, s->number, s->checksum, "started");
  if (status != PURLIN_OK) return status;
  status = run_text(s, SQL_DEFINES);
  if (status != PURLIN_OK && started_before && means_done_before(s->error)) {
    purlin_clear_failure(s->run->ctx);
    status = PURLIN_OK;
  }
  if (status == PURLIN_OK) return write_record(s->run, s->name, s->number, s->checksum, "applied");
  if (s->error != 0 && !db_error_breaks_connection(s->error)) forget_start(s);
  return status;
}

static purlin_status apply_statement(step *s) {
  const record *before = find_record(s->run, s->name, s->number);
  bool same = before && strcmp(before->checksum, s->checksum) == 0;
  buffer *why = s->run->why;
  if (before && before->state == applied) {
    if (same) return PURLIN_OK;
    buffer_format(
        why,
        "%s: statement %lld of migration %s has changed since it was applied. Migrations are never edited: put the "
        "old text back and add a new file",
        s->run->component, (long long)s->number, s->name);
    return PURLIN_CONFLICT;
  }
  sql_kind kind = sql_classify(s->sql, s->size);
  if (kind == SQL_CONTROLS) {
    buffer_format(why, "%s: statement %lld of migration %s may not stand in a migration: %.*s", s->run->component,
                  (long long)s->number, s->name, (int)sql_excerpt(s->sql, s->size, 120), s->sql);
    return PURLIN_INVALID;
  }
  purlin_status status = kind == SQL_DEFINES ? define(s, same) : db_transact(s->run->ctx, change_rows, s);
  if (status == PURLIN_OK) return PURLIN_OK;
  buffer_format(why, "%s: statement %lld of migration %s failed: ", s->run->component, (long long)s->number, s->name);
  if (s->error != 0) buffer_format(why, "%s (%u)", s->error_text, s->error);
  else buffer_text(why, purlin_failure(s->run->ctx));
  buffer_format(
      why, ". The statements before it are applied and recorded; after a correction the next start goes on with it: %.*s",
      (int)sql_excerpt(s->sql, s->size, 120), s->sql);
  return status == PURLIN_UNAVAILABLE || status == PURLIN_TIMEOUT || status == PURLIN_CANCELLED ? status : PURLIN_INTERNAL;
}

/* ---- One migration ---- */

/* Before anything of it runs, so that one which was interrupted keeps the release before from starting, too. */
static purlin_status mark_breaking(run *r, const purlin_migration *migration) {
  if (!sql_is_breaking(migration->sql) || find_record(r, migration->name, BREAKS)) return PURLIN_OK;
  char checksum[65];
  checksum_of(migration->sql, strlen(migration->sql), checksum);
  return write_record(r, migration->name, BREAKS, checksum, "applied");
}

/* Blanks and comments between statements may change; what runs may not. */
static purlin_status apply_migration(run *r, const purlin_migration *migration) {
  const record *whole = find_record(r, migration->name, 0);
  sql_script script = {migration->sql, migration->sql + strlen(migration->sql)};
  buffer sums = {0};
  purlin_status status = whole ? PURLIN_OK : mark_breaking(r, migration);
  const char *text;
  size_t size;
  int64_t number = 0;
  while (status == PURLIN_OK && sql_next(&script, &text, &size)) {
    number++;
    step s = {.run = r, .name = migration->name, .number = number, .size = size};
    checksum_of(text, size, s.checksum);
    buffer_text(&sums, s.checksum);
    if (whole && !find_record(r, migration->name, number)) break;
    s.sql = purlin_copy_bytes(r->ctx, text, size);
    status = s.sql ? apply_statement(&s) : PURLIN_TOO_LARGE;
  }
  char checksum[65];
  checksum_of(buffer_end(&sums), sums.size, checksum);
  if (sums.failed) status = PURLIN_TOO_LARGE;
  buffer_free(&sums);
  if (status != PURLIN_OK) return status;
  if (whole && strcmp(whole->checksum, checksum) == 0) return PURLIN_OK;
  if (whole) {
    buffer_format(r->why,
                  "%s: migration %s has changed since it was applied: statements were added or removed. Put the old text "
                  "back and add a new file",
                  r->component, migration->name);
    return PURLIN_CONFLICT;
  }
  return write_record(r, migration->name, 0, checksum, "applied");
}

static int by_name(const void *a, const void *b) {
  return strcmp((*(const purlin_migration *const *)a)->name, (*(const purlin_migration *const *)b)->name);
}

/* Records without a file: behind our last one they are a newer release's, which only expands unless it says otherwise; among ours they are
 * a mistake. */
static purlin_status check_unknown(run *r, const purlin_migration *const *sorted, size_t count) {
  const char *last = count > 0 ? sorted[count - 1]->name : "", *newer = NULL;
  for (size_t i = 0; i < r->records.count; i++) {
    const record *found = &r->records.items[i];
    const purlin_migration wanted = {.name = found->name}, *key = &wanted;
    if (count > 0 && bsearch(&key, sorted, count, sizeof *sorted, by_name)) continue;
    if (strcmp(found->name, last) < 0) {
      buffer_format(r->why,
                    "%s: migration %s is applied in this database but is not part of this release: the database belongs "
                    "to another build",
                    r->component, found->name);
      return PURLIN_CONFLICT;
    }
    if (found->statement == BREAKS) {
      buffer_format(
          r->why,
          "%s: this database was used by a newer release, whose migration %s this release cannot work with. Install the "
          "newer release again, or restore a backup from before it (purlin restore)",
          r->component, found->name);
      return PURLIN_CONFLICT;
    }
    if (!newer) newer = found->name;
  }
  if (newer)
    buffer_format(r->why, "%s: migration %s is not known here: this database was used by a newer release", r->component,
                  newer);
  return PURLIN_OK;
}

static purlin_status apply_all(run *r, const purlin_migration *const *sorted, size_t count) {
  purlin_status status = purlin_db_list(
      r->ctx, record, &r->records,
      "SELECT name, statement, checksum, state FROM purlin_migrations WHERE component = ? ORDER BY name, statement",
      r->component);
  if (status == PURLIN_OK) status = check_unknown(r, sorted, count);
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    if (i > 0 && strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
      buffer_format(r->why, "%s: two migrations are named %s", r->component, sorted[i]->name);
      return PURLIN_CONFLICT;
    }
    status = apply_migration(r, sorted[i]);
  }
  return status;
}

static purlin_status make_tables(purlin_ctx *ctx) {
  for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
    purlin_status status = purlin_db_run(ctx, tables[i]);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

static purlin_status migrate(run *r, const purlin_migration *const *sorted, size_t count) {
  purlin_status status = make_tables(r->ctx);
  if (status == PURLIN_OK) status = take_lease(r);
  if (status != PURLIN_OK) return status;
  r->renewing = true;
  if (context_start("purlin", "db.migrate.renew", renew_lease, r) != PURLIN_OK) r->renewing = false;
  status = apply_all(r, sorted, count);
  drop_lease(r);
  return status;
}

purlin_status db_migrate(purlin_ctx *ctx, const char *component, const purlin_migration *const *migrations, size_t count,
                         buffer *why) {
  run r = {.ctx = ctx, .component = component, .why = why};
  const purlin_migration **sorted = purlin_alloc_array(ctx, count + 1, sizeof *sorted);
  char *holder = purlin_alloc(ctx, 33);
  if (!sorted || !holder) return PURLIN_TOO_LARGE;
  text_random_id(holder, 32);
  r.holder = holder;
  for (size_t i = 0; i < count; i++) sorted[i] = migrations[i];
  qsort(sorted, count, sizeof *sorted, by_name);
  purlin_status status = migrate(&r, sorted, count);
  if (status != PURLIN_OK && why->size == 0)
    buffer_format(why, "%s: migrations failed: %s", component, purlin_failure(ctx));
  return status;
}
