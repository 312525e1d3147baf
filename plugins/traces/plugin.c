#include "traces.h"

enum { BATCH = 1000, MOST_BATCHES = 1000, RETENTION_EVERY_MS = 10 * 60 * 1000 };

/* Everything that belongs to a trace goes with it. */
static const char DELETE_BY_ID[] =
    "DELETE t FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) asked"
    " STRAIGHT_JOIN traces_traces t ON t.workspace = ? AND t.id = CONVERT(asked.id USING utf8mb4) COLLATE utf8mb4_nopad_bin"
    " WHERE t.experiment_id = ?";
static const char DELETE_UNTIL[] =
    "DELETE FROM traces_traces WHERE workspace = ? AND experiment_id = ? AND request_time <= ? ORDER BY request_time, number LIMIT ?";
static const char DELETE_OLD[] =
    "DELETE FROM traces_traces WHERE request_time < NOW(6) - INTERVAL ? DAY ORDER BY request_time LIMIT ?";

static purlin_status delete_until(purlin_ctx *ctx, const tracking_experiment *of, const traces_delete *in,
                                  int64_t *deleted) {
  int64_t left = in->most.state == PURLIN_SET ? in->most.value : INT64_MAX;
  /* MLflow's clients tell milliseconds: the whole of the last one. */
  purlin_time until = {in->until.unix_us % 1000 == 0 ? in->until.unix_us + 999 : in->until.unix_us};
  for (int64_t got = BATCH; left > 0 && got == BATCH; left -= got) {
    purlin_status status =
        purlin_db_run(ctx, DELETE_UNTIL, purlin_workspace(ctx), of->id, until, left < BATCH ? left : (int64_t)BATCH);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
    if (status != PURLIN_OK) return status;
    got = (int64_t)purlin_affected(ctx);
    *deleted += got;
  }
  return PURLIN_OK;
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
  if (by_age) return delete_until(ctx, &of, in, &out->deleted);
  const char *ids = purlin_list_json(ctx, in->trace_ids);
  if (!ids) return PURLIN_TOO_LARGE;
  status = purlin_db_run(ctx, DELETE_BY_ID, ids, purlin_workspace(ctx), of.id);
  if (status == PURLIN_OK) out->deleted = (int64_t)purlin_affected(ctx);
  return status;
}

/* ---- By age, all by itself ----------------------------------------------------------------------------------------------------------- */

static void forget(purlin_ctx *ctx, void *argument) {
  const traces_configuration *limits = purlin_configuration(ctx);
  (void)argument;
  uint64_t gone = 0;
  for (int batch = 0; batch < MOST_BATCHES && limits->keep_days > 0; batch++) {
    if (purlin_db_run(ctx, DELETE_OLD, limits->keep_days, BATCH) != PURLIN_OK) break;
    gone += purlin_affected(ctx);
    if (purlin_affected(ctx) < BATCH || purlin_yield(ctx) != PURLIN_OK) break;
  }
  if (gone > 0)
    purlin_log(ctx, PURLIN_INFO, "%llu traces are older than %lld days and gone", (unsigned long long)gone,
               (long long)limits->keep_days);
}

static purlin_status start(purlin_ctx *ctx) {
  return purlin_background(ctx, "retention", RETENTION_EVERY_MS, forget, NULL);
}
static purlin_status stop(purlin_ctx *ctx) { return purlin_background_stop(ctx, "retention"); }

PURLIN_NEEDS_PLUGIN(tracking, "tracking");

PURLIN_PLUGIN("traces", "0.1.0",
    .summary = "Traces, their spans and what is said of them; OpenTelemetry's protocol",
    .license = "Apache-2.0",
    .configuration = traces_configuration_schema,
    .start = start,
    .stop = stop);
