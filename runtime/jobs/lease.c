/* lease.c: keeps the leases of this node's attempts, and takes away those of nodes that are gone.
 *
 * It uses the reserve of connections, so that it gets one however busy the pool is. A row that an attempt's own transaction
 * holds is skipped and renewed a little later: nothing here waits for a lock. */
#include "jobs/internal.h"

#include "db/db.h"

#include <stdlib.h>
#include <string.h>

#define MOST_LEASES 1024u

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

static void complain(purlin_ctx *ctx, const char *what) {
  purlin_log(ctx, PURLIN_WARNING, "%s: %s", what, purlin_failure(ctx));
  purlin_clear_failure(ctx);
}

/* ---- Renewing ------------------------------------------------------------------------------------------------------------------- */

typedef struct lease_row {
  int64_t id, attempt;
} lease_row;
PURLIN_SCHEMA(lease_row, "A lease",
    PURLIN_REQUIRED(id, "Internal number"),
    PURLIN_REQUIRED(attempt, "Attempt"));
typedef PURLIN_LIST_OF(lease_row) lease_rows;

#define SELECT_LEASES                                                                                                      \
  "SELECT id, attempt FROM purlin_jobs FORCE INDEX (PRIMARY) WHERE state = 1 AND lease_owner = ? AND id IN (" IDS64 ")"
static const char LOCK_LEASES[] = SELECT_LEASES " FOR UPDATE SKIP LOCKED";
static const char READ_LEASES[] = SELECT_LEASES;
static const char RENEW[] =
    "UPDATE purlin_jobs FORCE INDEX (PRIMARY) SET lease_until = NOW(6) + INTERVAL ? MICROSECOND WHERE id IN (" IDS64 ")";

typedef struct renewal {
  const running_lease *leases;
  size_t count;
  lease_rows got;
} renewal;

static purlin_status list_leases(purlin_ctx *ctx, const char *sql, const renewal *r, lease_rows *rows) {
  purlin_value values[2 + JOBS_MOST_IN_BATCH] = {purlin_value_text(sql), purlin_value_text(node.owner)};
  for (size_t i = 0; i < JOBS_MOST_IN_BATCH; i++) values[2 + i] = purlin_value_int(i < r->count ? r->leases[i].id : 0);
  return purlin_db_list_(ctx, lease_row_schema(), (void *)&rows->items, &rows->count, values,
                         sizeof values / sizeof values[0]);
}

static purlin_status renew_body(purlin_ctx *ctx, void *argument) {
  renewal *r = argument;
  purlin_status status = list_leases(ctx, LOCK_LEASES, r, &r->got);
  if (status != PURLIN_OK || r->got.count == 0) return status;
  int64_t ids[JOBS_MOST_IN_BATCH];
  for (size_t i = 0; i < r->got.count; i++) ids[i] = r->got.items[i].id;
  const purlin_value length = purlin_value_int((int64_t)node.options.lease_ms * 1000);
  return jobs_run_with_ids(ctx, RENEW, &length, 1, ids, r->got.count);
}

static bool is_among(const lease_rows *rows, const running_lease *lease) {
  for (size_t i = 0; i < rows->count; i++)
    if (rows->items[i].id == lease->id && rows->items[i].attempt == lease->number) return true;
  return false;
}

/* Some rows were not there to be renewed: held by a transaction, or ours no more. */
static purlin_status stop_lost(purlin_ctx *ctx, const renewal *r) {
  lease_rows still;
  purlin_status status = list_leases(ctx, READ_LEASES, r, &still);
  for (size_t i = 0; status == PURLIN_OK && i < r->count; i++)
    if (!is_among(&still, &r->leases[i])) (void)running_stop(r->leases[i].id, STOP_LOST);
  return status;
}

static purlin_status renew(purlin_ctx *ctx, const running_lease *leases, size_t count) {
  renewal r = {.leases = leases, .count = count};
  uint64_t began_ms = now_ms();
  purlin_status status = purlin_transaction(ctx, renew_body, &r);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < r.got.count; i++) running_renewed(r.got.items[i].id, r.got.items[i].attempt, began_ms);
  return r.got.count < count ? stop_lost(ctx, &r) : PURLIN_OK;
}

/* By our own clock, for when the database cannot be asked: an attempt whose lease has run out must stop. */
static void stop_late(running_lease *leases) {
  uint64_t now = now_ms(), lease = node.options.lease_ms;
  if (now < lease) return;
  size_t count = running_leases(leases, MOST_LEASES, now - lease);
  for (size_t i = 0; i < count; i++) (void)running_stop(leases[i].id, STOP_LOST);
}

static purlin_status notice_cancellations(purlin_ctx *ctx) {
  id_rows asked;
  purlin_status status = purlin_db_list(
      ctx, id_row, &asked,
      "SELECT id FROM purlin_jobs FORCE INDEX (claim) WHERE state = 1 AND cancel_asked AND lease_owner = ? LIMIT 1000",
      node.owner);
  for (size_t i = 0; status == PURLIN_OK && i < asked.count; i++) (void)running_stop(asked.items[i].id, STOP_CANCEL);
  return status;
}

void leases_keep(purlin_ctx *ctx) {
  running_lease *leases = purlin_alloc_array(ctx, MOST_LEASES, sizeof *leases);
  if (leases == NULL || atomic_load(&node.running) == 0) return;
  purlin_status status = PURLIN_OK;
  uint64_t now = now_ms(), third = node.options.lease_ms / 3;
  size_t count = now > third ? running_leases(leases, MOST_LEASES, now - third) : 0;
  for (size_t i = 0; status == PURLIN_OK && i < count; i += JOBS_MOST_IN_BATCH) {
    purlin_mark mark = purlin_arena_mark(ctx);
    status = renew(ctx, leases + i, count - i < JOBS_MOST_IN_BATCH ? count - i : JOBS_MOST_IN_BATCH);
    purlin_arena_reset(ctx, mark);
  }
  if (status == PURLIN_OK) status = notice_cancellations(ctx);
  if (status != PURLIN_OK) complain(ctx, "leases of jobs could not be renewed");
  stop_late(leases);
}

/* ---- The node ---------------------------------------------------------------------------------------------------------------------- */

void leases_announce(purlin_ctx *ctx) {
  buffer names = {0};
  buffer_char(&names, ',');
  for (const job_kind *kind = job_kinds_first(); kind != NULL; kind = kind->next) buffer_format(&names, "%s,", kind->name);
  purlin_status status = purlin_db_run(
      ctx,
      "INSERT INTO purlin_job_nodes (owner, names, slots, seen_until) VALUES (?, ?, ?, NOW(6) + INTERVAL ? MICROSECOND) "
      "ON DUPLICATE KEY UPDATE seen_until = VALUES(seen_until)",
      node.owner, buffer_end(&names), (int64_t)node.options.concurrency, (int64_t)node.options.lease_ms * 1000);
  buffer_free(&names);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx,
                           "DELETE FROM purlin_job_nodes WHERE seen_until < NOW(6) - INTERVAL 1 DAY"
                           " OR (owner LIKE ? AND owner <> ?)",
                           node_owners_pattern(), node.owner);
  if (status != PURLIN_OK) complain(ctx, "this node could not be announced");
}

void leases_leave(purlin_ctx *ctx) {
  if (purlin_db_run(ctx, "DELETE FROM purlin_job_nodes WHERE owner = ?", node.owner) != PURLIN_OK)
    complain(ctx, "this node's entry could not be removed");
}

/* ---- Leases that ran out ------------------------------------------------------------------------------------------------------------- */

/* It ran out, or its owner was an earlier run of this node: that one is dead (daemon/state.h tells how we know). */
#define LOST "(lease_until < NOW(6) OR (lease_owner LIKE ? AND lease_owner <> ?))"

static const char FIND_EXPIRED[] =
    "SELECT id FROM purlin_jobs FORCE INDEX (claim) WHERE state = 1 AND " LOST " ORDER BY id LIMIT 64";

/* Assignments see those before them: `state` comes last. An attempt that can be resumed is not counted. */
static const char RETURN_EXPIRED[] =
    "UPDATE purlin_jobs FORCE INDEX (PRIMARY) SET"
    "  error = CONCAT('attempt ', attempt, IF(lease_owner LIKE ?, ' ended with its daemon', "
    "                 ' lost its lease: its node stopped or was cut off')),"
    "  max_attempts = max_attempts + (FIND_IN_SET(name, ?) > 0),"
    "  ended_at = IF(cancel_asked OR attempt >= max_attempts, NOW(6), NULL),"
    "  unique_key = IF(cancel_asked OR attempt >= max_attempts, NULL, unique_key),"
    "  run_at = NOW(6), lease_owner = NULL, lease_until = NULL,"
    "  state = IF(cancel_asked, 4, IF(attempt >= max_attempts, 3, 0)) "
    "WHERE id IN (" IDS64 ")";

static const char LOCK_EXPIRED[] =
    "SELECT id FROM purlin_jobs FORCE INDEX (PRIMARY) WHERE state = 1 AND " LOST " AND id IN (" IDS64 ") "
    "FOR UPDATE SKIP LOCKED";

typedef struct expiry {
  const char *resuming; /* kinds, comma-separated */
  id_rows found;
  size_t returned;
} expiry;

static purlin_status return_body(purlin_ctx *ctx, void *argument) {
  expiry *e = argument;
  purlin_value values[3 + JOBS_MOST_IN_BATCH] = {purlin_value_text(LOCK_EXPIRED), purlin_value_text(node_owners_pattern()),
                                                 purlin_value_text(node.owner)};
  for (size_t i = 0; i < JOBS_MOST_IN_BATCH; i++)
    values[3 + i] = purlin_value_int(i < e->found.count ? e->found.items[i].id : 0);
  id_rows locked;
  e->returned = 0;
  purlin_status status =
      purlin_db_list_(ctx, id_row_schema(), (void *)&locked.items, &locked.count, values, sizeof values / sizeof values[0]);
  if (status != PURLIN_OK || locked.count == 0) return status;
  int64_t ids[JOBS_MOST_IN_BATCH];
  for (size_t i = 0; i < locked.count; i++) ids[i] = locked.items[i].id;
  e->returned = locked.count;
  const purlin_value leading[] = {purlin_value_text(node_owners_pattern()), purlin_value_text(e->resuming)};
  return jobs_run_with_ids(ctx, RETURN_EXPIRED, leading, 2, ids, locked.count);
}

static const char *resuming_kinds(purlin_ctx *ctx) {
  const char *names = "";
  for (const job_kind *kind = job_kinds_first(); kind != NULL && names != NULL; kind = kind->next)
    if (kind->resumes) names = purlin_format(ctx, "%s%s%s", names, names[0] != '\0' ? "," : "", kind->name);
  return names != NULL ? names : "";
}

void leases_sweep(purlin_ctx *ctx) {
  for (;;) {
    purlin_mark mark = purlin_arena_mark(ctx);
    expiry e = {.resuming = resuming_kinds(ctx)};
    purlin_status status = purlin_db_list(ctx, id_row, &e.found, FIND_EXPIRED, node_owners_pattern(), node.owner);
    if (status == PURLIN_OK && e.found.count > 0) status = purlin_transaction(ctx, return_body, &e);
    purlin_arena_reset(ctx, mark);
    if (status != PURLIN_OK) complain(ctx, "leases that ran out could not be taken back");
    if (status == PURLIN_OK && e.returned > 0) {
      purlin_log(ctx, PURLIN_WARNING,
                 "%zu jobs lost their lease, or ended with an earlier run of this daemon, and were taken back", e.returned);
      claimers_wake();
    }
    if (status != PURLIN_OK || e.returned < JOBS_MOST_IN_BATCH) return;
  }
}
