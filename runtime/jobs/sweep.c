/* sweep.c: forgets jobs that succeeded or were cancelled, some days after their end. Dead letters stay until somebody has
 * looked at them. Goes through the table in order of the primary key and stops at the first row that is too young. */
#include "jobs/internal.h"

#include "db/db.h"

typedef struct age_row {
  int64_t id;
  bool ended, young;
} age_row;
PURLIN_SCHEMA(age_row, "How old a job is",
    PURLIN_REQUIRED(id, "Internal number"),
    PURLIN_REQUIRED(ended, "May go"),
    PURLIN_REQUIRED(young, "And all after it"));
typedef PURLIN_LIST_OF(age_row) age_rows;

static const char NEXT_ROWS[] = "SELECT id, state IN (2, 4) AND ended_at < NOW(6) - INTERVAL ? HOUR AS ended, created_at "
                                ">= NOW(6) - INTERVAL ? HOUR AS young "
                                "FROM purlin_jobs FORCE INDEX (PRIMARY) WHERE id > ? ORDER BY id LIMIT 64";
static const char FORGET[] =
    "DELETE job FROM purlin_jobs AS job FORCE INDEX (PRIMARY) WHERE job.state IN (2, 4) AND job.id IN (" IDS64 ")";

static purlin_status sweep_some(purlin_ctx *ctx, int64_t *after, bool *more) {
  age_rows rows;
  int64_t ids[JOBS_MOST_IN_BATCH];
  size_t count = 0;
  purlin_status status =
      purlin_db_list(ctx, age_row, &rows, NEXT_ROWS, node.options.keep_hours, node.options.keep_hours, *after);
  *more = status == PURLIN_OK && rows.count == JOBS_MOST_IN_BATCH;
  for (size_t i = 0; status == PURLIN_OK && i < rows.count; i++) {
    const age_row *row = &rows.items[i];
    if (row->ended) ids[count++] = row->id;
    if (row->young) *more = false;
    *after = row->id;
  }
  return status == PURLIN_OK && count > 0 ? jobs_run_with_ids(ctx, FORGET, NULL, 0, ids, count) : status;
}

void jobs_sweep(purlin_ctx *ctx) {
  int64_t after = 0;
  bool more = true;
  while (more && !atomic_load(&node.draining)) {
    purlin_mark mark = purlin_arena_mark(ctx);
    purlin_status status = sweep_some(ctx, &after, &more);
    purlin_arena_reset(ctx, mark);
    if (status == PURLIN_OK) continue;
    purlin_log(ctx, PURLIN_WARNING, "old jobs could not be removed: %s", purlin_failure(ctx));
    return;
  }
}
