#include "purge.h"
#include <string.h>

/* A statement deletes at most so many rows; a run of the job ends after so long, and the next goes on. */
enum { ROWS = 2000, MOST_LEFTOVERS = 1000, LONGEST_PURGE_S = 300, LONGEST_SWEEP_S = 300 };

/* Who was just writing into a run when it went may still commit: it is looked at once more. */
static const char SELECT_LEFT[] =
    "SELECT kind, owner, purged_at, purged_at < NOW(6) - INTERVAL 1 MINUTE AS quiet FROM tracking_leftovers"
    " WHERE purged_at > ? ORDER BY purged_at LIMIT ?";
static const char DELETE_LEFT[] = "DELETE FROM tracking_leftovers WHERE kind = ? AND owner = ?";
static const char WORKSPACES[] = "SELECT DISTINCT workspace FROM tracking_experiments";

typedef struct leftover {
  const char *kind, *owner;
  purlin_time purged_at;
  bool quiet;
} leftover;
PURLIN_SCHEMA(leftover, "A purged object",
    PURLIN_REQUIRED(kind, "What it was"),
    PURLIN_REQUIRED(owner, "Its id"),
    PURLIN_REQUIRED(purged_at, "When it went"),
    PURLIN_REQUIRED(quiet, "Nobody writes into it any more"));

typedef struct workspace_row {
  const char *workspace;
} workspace_row;
PURLIN_SCHEMA(workspace_row, "A workspace", PURLIN_REQUIRED(workspace, "Its id"));

static const purge_kind *kind_of(const char *name) {
  for (size_t i = 0; i < PURGE_KINDS; i++)
    if (strcmp(purge_kinds[i].name, name) == 0) return &purge_kinds[i];
  return NULL;
}

static purlin_status empty_table(purlin_ctx *ctx, const char *table, const char *owner, uint64_t end_ns) {
  purlin_status status;
  const char *sql = purlin_format(ctx, "DELETE FROM %s = ? LIMIT ?", table);
  if (!sql) return PURLIN_TOO_LARGE;
  do status = purlin_db_run(ctx, sql, owner, ROWS);
  while (status == PURLIN_OK && purlin_affected(ctx) == ROWS && purlin_ticks_ns() < end_ns &&
         (status = purlin_still_wanted(ctx)) == PURLIN_OK);
  return status;
}

static purlin_status sweep_one(purlin_ctx *ctx, const leftover *of, uint64_t end_ns) {
  const purge_kind *kind = kind_of(of->kind);
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; kind && kind->tables[i] && status == PURLIN_OK && purlin_ticks_ns() < end_ns; i++)
    status = empty_table(ctx, kind->tables[i], of->owner, end_ns);
  if (status != PURLIN_OK || !of->quiet || purlin_ticks_ns() >= end_ns) return status;
  return purlin_db_run(ctx, DELETE_LEFT, of->kind, of->owner);
}

static purlin_status sweep_some(purlin_ctx *ctx, purlin_time *after, uint64_t end_ns, size_t *count) {
  PURLIN_LIST_OF(leftover) left = {0};
  purlin_status status = purlin_db_list(ctx, leftover, &left, SELECT_LEFT, *after, MOST_LEFTOVERS);
  for (size_t i = 0; i < left.count && status == PURLIN_OK && purlin_ticks_ns() < end_ns; i++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    status = sweep_one(ctx, &left.items[i], end_ns);
    *after = left.items[i].purged_at;
    purlin_arena_reset(ctx, mark);
  }
  *count = left.count;
  return status;
}

/* What is purged while this goes on found this job running, and counts on it. */
static purlin_status sweep_leftovers(purlin_ctx *ctx) {
  purlin_time after = {1};
  purlin_status status;
  uint64_t end_ns = purlin_ticks_ns() + (uint64_t)LONGEST_SWEEP_S * 1000000000;
  size_t count;
  do {
    purlin_mark mark = purlin_arena_mark(ctx);
    status = sweep_some(ctx, &after, end_ns, &count);
    purlin_arena_reset(ctx, mark);
  } while (status == PURLIN_OK && count > 0 && purlin_ticks_ns() < end_ns);
  return status;
}

static purlin_status purge_old(purlin_ctx *ctx, int64_t days) {
  PURLIN_LIST_OF(workspace_row) all = {0};
  purge_count count = {0};
  uint64_t end = purlin_ticks_ns() + (uint64_t)LONGEST_PURGE_S * 1000000000;
  bool over;
  purlin_status status = purlin_db_list(ctx, workspace_row, &all, WORKSPACES);
  for (size_t i = 0; i < all.count && status == PURLIN_OK; i++) {
    purlin_act_as(ctx, "system", all.items[i].workspace, "default");
    status = purge_deleted(ctx, days * 86400, end, &count, &over);
  }
  if (count.of[PURGE_RUN] + count.of[PURGE_LOGGED_MODEL] + count.of[PURGE_EXPERIMENT] > 0)
    purlin_log(ctx, PURLIN_INFO,
               "purged %lld runs, %lld logged models and %lld experiments that were deleted %lld days ago",
               (long long)count.of[PURGE_RUN], (long long)count.of[PURGE_LOGGED_MODEL],
               (long long)count.of[PURGE_EXPERIMENT], (long long)days);
  return status;
}

PURLIN_JOB(sweep, purlin_nothing, .summary = "Purge what was deleted long ago, and what purged objects left behind", .max_attempts = 2,
    .permission = "server:write") {
  const tracking_configuration *configured = purlin_configuration(ctx);
  purlin_status status = configured->keep_deleted_days > 0 ? purge_old(ctx, configured->keep_deleted_days) : PURLIN_OK;
  return status == PURLIN_OK ? sweep_leftovers(ctx) : status;
}
PURLIN_SCHEDULE(sweep, "@every 10m", .job = "tracking.sweep");
