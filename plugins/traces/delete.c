#include "traces.h"

enum { BATCH = 1000, MOST_BATCHES = 1000 };

/* Everything that belongs to a trace goes with it; what others keep of it when they are told. */
PURLIN_EVENT(deleted, traces_gone, "Traces are gone for good: what others keep of them may go");

static const char LOCK_BY_ID[] =
    "SELECT t.id FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) asked"
    " STRAIGHT_JOIN traces_traces t ON t.workspace = ? AND t.id = CONVERT(asked.id USING utf8mb4) COLLATE utf8mb4_nopad_bin"
    " WHERE t.experiment_id = ? GROUP BY t.number FOR UPDATE";
static const char DELETE_BY_ID[] =
    "DELETE t FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) asked"
    " STRAIGHT_JOIN traces_traces t ON t.workspace = ? AND t.id = CONVERT(asked.id USING utf8mb4) COLLATE utf8mb4_nopad_bin"
    " WHERE t.experiment_id = ?";
static const char DELETE_UNTIL[] =
    "DELETE FROM traces_traces WHERE workspace = ? AND experiment_id = ? AND request_time <= ? ORDER BY request_time, number LIMIT ?"
    " RETURNING id";

typedef struct id_row {
  const char *id;
} id_row;
PURLIN_SCHEMA(id_row, "A trace", PURLIN_REQUIRED(id, "Its id"));
typedef PURLIN_LIST_OF(id_row) id_rows;

static purlin_status tell(purlin_ctx *ctx, const id_rows *rows) {
  if (rows->count == 0) return PURLIN_OK;
  const char **ids = purlin_alloc_array(ctx, rows->count, sizeof *ids);
  if (!ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < rows->count; i++) ids[i] = rows->items[i].id;
  const traces_gone event = {{ids, rows->count}};
  return purlin_emit(ctx, deleted, &event, NULL);
}

typedef struct deletion {
  const char *experiment_id;
  purlin_time until;
  int64_t most, gone;
} deletion;

static purlin_status delete_batch(purlin_ctx *ctx, void *argument) {
  deletion *d = argument;
  id_rows rows = {0};
  purlin_status status =
      purlin_db_list(ctx, id_row, &rows, DELETE_UNTIL, purlin_workspace(ctx), d->experiment_id, d->until, d->most);
  d->gone = (int64_t)rows.count;
  return status == PURLIN_OK ? tell(ctx, &rows) : status;
}

/* There may be millions: each batch is a transaction of its own, and whoever was interrupted asks again. */
static purlin_status delete_until(purlin_ctx *ctx, const tracking_experiment *of, const traces_delete *in,
                                  int64_t *deleted) {
  int64_t left = in->most.state == PURLIN_SET ? in->most.value : INT64_MAX;
  /* MLflow's clients tell milliseconds: the whole of the last one. */
  purlin_time until = {in->until.unix_us % 1000 == 0 ? in->until.unix_us + 999 : in->until.unix_us};
  deletion d = {.experiment_id = of->id, .until = until, .gone = BATCH};
  for (; left > 0 && d.gone == BATCH; left -= d.gone) {
    purlin_mark mark = purlin_arena_mark(ctx);
    d.most = left < BATCH ? left : (int64_t)BATCH;
    purlin_status status = purlin_transaction_apart(ctx, delete_batch, &d);
    if (status != PURLIN_OK) return status;
    *deleted += d.gone;
    purlin_arena_reset(ctx, mark);
  }
  return PURLIN_OK;
}

static purlin_status delete_by_id(purlin_ctx *ctx, const tracking_experiment *of, purlin_texts ids, int64_t *deleted) {
  id_rows rows = {0};
  const char *list = purlin_list_json(ctx, ids);
  if (!list) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_list(ctx, id_row, &rows, LOCK_BY_ID, list, purlin_workspace(ctx), of->id);
  if (status != PURLIN_OK || rows.count == 0) return status;
  status = purlin_db_run(ctx, DELETE_BY_ID, list, purlin_workspace(ctx), of->id);
  if (status == PURLIN_OK) *deleted = (int64_t)purlin_affected(ctx);
  return status == PURLIN_OK ? tell(ctx, &rows) : status;
}

PURLIN_OPERATION(delete, traces_delete, traces_deleted,
    .summary = "Delete traces of an experiment, by their ids or by their age", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/traces/delete") {
  tracking_experiment of;
  bool by_id = in->trace_ids.count > 0, by_age = in->until.unix_us != 0;
  if (!by_id && !by_age)
    return purlin_fail(ctx, PURLIN_INVALID, "Either `max_timestamp_millis` or `trace_ids` must be specified.");
  if (by_id && by_age)
    return purlin_fail(ctx, PURLIN_INVALID, "Only one of `max_timestamp_millis` and `trace_ids` can be specified.");
  if (by_id && in->most.state == PURLIN_SET)
    return purlin_fail(ctx, PURLIN_INVALID, "`max_traces` can't be specified if `trace_ids` is specified.");
  purlin_status status = traces_experiment(ctx, in->experiment_id, "runs:read", &of);
  if (status == PURLIN_OK) status = purlin_require_on(ctx, "runs:write", of.project, of.id);
  if (status != PURLIN_OK) return status;
  return by_age ? delete_until(ctx, &of, in, &out->deleted) : delete_by_id(ctx, &of, in->trace_ids, &out->deleted);
}

/* ---- By age, all by itself ----------------------------------------------------------------------------------------------------------- */

static const char SELECT_OLDEST[] =
    "SELECT workspace FROM traces_traces WHERE request_time < NOW(6) - INTERVAL ? DAY ORDER BY request_time LIMIT 1";
static const char DELETE_OLD[] = "DELETE FROM traces_traces WHERE workspace = ? AND request_time < NOW(6) - INTERVAL ? DAY"
                                 " ORDER BY request_time LIMIT ? RETURNING id";

typedef struct oldest_row {
  const char *workspace;
} oldest_row;
PURLIN_SCHEMA(oldest_row, "Whose trace is the oldest", PURLIN_REQUIRED(workspace, "workspace"));

typedef struct old_batch {
  int64_t days;
  uint64_t gone;
} old_batch;

static purlin_status delete_old(purlin_ctx *ctx, void *argument) {
  old_batch *batch = argument;
  id_rows rows = {0};
  purlin_status status = purlin_db_list(ctx, id_row, &rows, DELETE_OLD, purlin_workspace(ctx), batch->days, (int64_t)BATCH);
  batch->gone = rows.count;
  return status == PURLIN_OK ? tell(ctx, &rows) : status;
}

/* Another daemon, or another loop, may be at it, too. */
void traces_forget_old(purlin_ctx *ctx, void *nothing) {
  const traces_configuration *limits = purlin_configuration(ctx);
  old_batch batch = {.days = limits->keep_days};
  uint64_t gone = 0;
  (void)nothing;
  for (int i = 0; i < MOST_BATCHES && limits->keep_days > 0; i++) {
    oldest_row oldest;
    if (purlin_db_row(ctx, oldest_row, &oldest, SELECT_OLDEST, batch.days) != PURLIN_OK) break;
    purlin_act_as(ctx, "system", oldest.workspace, "default");
    purlin_mark mark = purlin_arena_mark(ctx);
    if (purlin_transaction(ctx, delete_old, &batch) != PURLIN_OK) break;
    gone += batch.gone;
    purlin_arena_reset(ctx, mark);
    if (purlin_yield(ctx) != PURLIN_OK) break;
  }
  if (gone > 0)
    purlin_log(ctx, PURLIN_INFO, "%llu traces are older than %lld days and gone", (unsigned long long)gone,
               (long long)limits->keep_days);
}
