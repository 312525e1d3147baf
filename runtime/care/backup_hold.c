/* A lease that a backup renews while it runs. Who removes files asks purlin_files_held(); of a backup that was killed it lapses. */
#include "care/backup.h"
#include "core/text.h"
#include <purlin/database.h>
#include <purlin/plugin.h>
#include <stdio.h>

enum { LEASE_S = 900, RENEW_S = 20 }; /* flushing a very large file to a slow disk takes minutes */

typedef struct holding {
  int64_t held;
} holding;
PURLIN_SCHEMA(holding, "Backups that run", PURLIN_REQUIRED(held, "How many"));

static const char COUNT[] = "SELECT COUNT(*) AS held FROM purlin_leases WHERE name LIKE 'backup:%' AND expires_at > NOW(6)";

purlin_status purlin_files_held(purlin_ctx *ctx, bool *held) {
  holding found = {0};
  purlin_status status = purlin_db_row(ctx, holding, &found, COUNT);
  *held = found.held > 0;
  return status;
}

bool hold_take(backup_hold *h, MYSQL *mysql, buffer *why) {
  char id[21];
  text_random_id(id, sizeof id - 1);
  *h = (backup_hold){.mysql = mysql, .renewed_ns = purlin_ticks_ns()};
  (void)snprintf(h->name, sizeof h->name, "backup:%s", id);
  h->held = database_run(mysql, why, "DELETE FROM purlin_leases WHERE name LIKE 'backup:%%' AND expires_at < NOW(6)") &&
            database_run(mysql, why,
                         "INSERT INTO purlin_leases (name, holder, expires_at) VALUES ('%s', 'purlin backup', NOW(6) +"
                         " INTERVAL %d SECOND)",
                         h->name, LEASE_S);
  return h->held;
}

/* One that has lapsed is not taken again: what was relied on may be gone. */
static bool renew(backup_hold *h, buffer *why) {
  h->renewed_ns = purlin_ticks_ns();
  if (!database_run(h->mysql, why,
                    "UPDATE purlin_leases SET expires_at = NOW(6) + INTERVAL %d SECOND WHERE name = '%s' AND expires_at >"
                    " NOW(6)",
                    LEASE_S, h->name))
    return false;
  if (mysql_affected_rows(h->mysql) == 1) return true;
  buffer_format(why, "the backup stood still for more than %d s, and files may have been removed meanwhile: run it again",
                LEASE_S);
  return false;
}

bool hold_keep(backup_hold *h, buffer *why) {
  return purlin_ticks_ns() - h->renewed_ns < (uint64_t)RENEW_S * 1000000000 || renew(h, why);
}

bool hold_end(backup_hold *h, buffer *why) {
  if (!h->held) return true;
  h->held = false;
  bool whole = renew(h, why);
  return database_run(h->mysql, why, "DELETE FROM purlin_leases WHERE name = '%s'", h->name) && whole;
}
