#include "tracking.h"
#include "logged_models.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Writes nothing where there is no such run within reach; counts one also where the same value is there already. */
static const char ADD_METRIC[] = "INSERT INTO tracking_metrics (workspace, project, run_id, name, step, at, value, is_nan)"
                                 " SELECT r.workspace, r.project, r.id, ?, ?, ?, ?, ? FROM tracking_runs r"
                                 " WHERE r.id = ? AND r.workspace = ? AND r.lifecycle = 'active' AND " PURLIN_VISIBLE(
                                     "r.project", "r.experiment_id") " ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char INSERT_METRIC[] =
    "INSERT INTO tracking_metrics (workspace, project, run_id, name, step, at, value, is_nan)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)";
/* The latest is the largest of (step, at, value); a late report of an old step does not move it. NULL is not a number. */
#define KEEP_LATEST                                                                                                        \
  " ON DUPLICATE KEY UPDATE"                                                                                               \
  " value = IF((VALUES(step), VALUES(at), COALESCE(VALUES(value), 0)) > (step, at, COALESCE(value, 0)), VALUES(value),"    \
  " value), at = IF((VALUES(step), VALUES(at)) > (step, at), VALUES(at), at), step = GREATEST(step, VALUES(step))"
static const char ADD_LATEST[] =
    "INSERT INTO tracking_latest_metrics (workspace, project, experiment_id, run_id, name, step, at, value)"
    " SELECT r.workspace, r.project, r.experiment_id, r.id, ?, ?, ?, ? FROM tracking_runs r WHERE r.id = ?" KEEP_LATEST;
static const char UPSERT_LATEST[] =
    "INSERT INTO tracking_latest_metrics (workspace, project, experiment_id, run_id, name, step, at, value)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)" KEEP_LATEST;

enum { MOST_KEY = 250, MOST_METRICS = 1000, MOST_PAIRS = 100, MOST_TOGETHER = 1000 };

static purlin_time now_unless(purlin_time given) { return given.unix_us ? given : (purlin_time){purlin_now_us()}; }

/* A column holds neither infinity. */
static double within_range(double value) { return isinf(value) ? copysign(DBL_MAX, value) : value; }

/* ---- One metric: the most frequent write of all, so as few statements as can be --------------------------------------------------- */

PURLIN_OPERATION(log_metric, tracking_log_metric, purlin_nothing,
    .summary = "Log a metric of a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .http = "POST /api/v1/runs/{run_id}/metrics",
    .unaudited = "what a run measures; its creation and its end are entries") {
  purlin_time at = now_unless(in->at);
  double value = within_range(in->value);
  purlin_status status = text_fits(ctx, "Metric name", in->key, MOST_KEY);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, ADD_METRIC, in->key, in->step, at, isnan(value) ? 0 : value, (bool)isnan(value), in->run_id,
                           purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "runs:write"));
  if (status != PURLIN_OK) return status;
  run_place place;
  if (purlin_affected(ctx) == 0) status = run_writable(ctx, in->run_id, &place); /* says why not */
  if (status == PURLIN_OK) status = purlin_db_run(ctx, ADD_LATEST, in->key, in->step, at, value, in->run_id);
  if (status != PURLIN_OK || !in->model_id || !*in->model_id) return status;
  const model_measure measure = {in->model_id, in->key, in->value, in->step, at, in->dataset_name, in->dataset_digest};
  status = run_find(ctx, in->run_id, "runs:write", &place);
  return status == PURLIN_OK ? logged_models_measure(ctx, place.project, in->run_id, &measure, 1) : status;
}

/* ---- Many at once: a statement for each table, not for each row ---------------------------------------------------------------------- */

typedef struct metric_row {
  const char *workspace, *project, *run_id, *name;
  int64_t step;
  purlin_time at;
  double value;
  bool is_nan;
} metric_row;
PURLIN_SCHEMA(metric_row, "A row of tracking_metrics",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(step, "step"),
    PURLIN_REQUIRED(at, "time"),
    PURLIN_REQUIRED(value, "value"),
    PURLIN_REQUIRED(is_nan, "whether it is not a number"));
typedef struct latest_row {
  const char *workspace, *project, *experiment_id, *run_id, *name;
  int64_t step;
  purlin_time at;
  double value;
} latest_row;
PURLIN_SCHEMA(latest_row, "A row of tracking_latest_metrics",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(experiment_id, "experiment"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(step, "step"),
    PURLIN_REQUIRED(at, "time"),
    PURLIN_REQUIRED(value, "value; NaN is written as NULL"));

/* By key, the latest first. In the same order for everybody, so that two batches of a run do not wait for each other. */
static int latest_first(const void *a, const void *b) {
  const metric_row *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  if (order == 0) order = (x->step < y->step) - (x->step > y->step);
  if (order == 0) order = (x->at.unix_us < y->at.unix_us) - (x->at.unix_us > y->at.unix_us);
  return order ? order : (x->value < y->value) - (x->value > y->value);
}

static purlin_status make_rows(purlin_ctx *ctx, const run_place *of, const tracking_log_batch *in, metric_row *rows) {
  for (size_t i = 0; i < in->metrics.count; i++) {
    const tracking_measure *m = &in->metrics.items[i];
    purlin_status status = text_fits(ctx, "Metric name", m->key, MOST_KEY);
    if (status != PURLIN_OK) return status;
    bool is_nan = isnan(m->value);
    rows[i] = (metric_row){.workspace = purlin_workspace(ctx),
                           .project = of->project,
                           .run_id = in->run_id,
                           .name = m->key,
                           .step = m->step,
                           .at = now_unless(m->at),
                           .value = is_nan ? 0 : within_range(m->value),
                           .is_nan = is_nan};
  }
  qsort(rows, in->metrics.count, sizeof *rows, latest_first);
  return PURLIN_OK;
}

static purlin_status write_metrics(purlin_ctx *ctx, const run_place *of, const tracking_log_batch *in) {
  size_t count = in->metrics.count, keys = 0;
  if (count == 0) return PURLIN_OK;
  metric_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  latest_row *latest = purlin_alloc_array(ctx, count, sizeof *latest);
  if (!rows || !latest) return PURLIN_TOO_LARGE;
  purlin_status status = make_rows(ctx, of, in, rows);
  if (status == PURLIN_OK) status = purlin_db_bulk(ctx, metric_row, rows, count, INSERT_METRIC);
  for (size_t i = 0; i < count; i++) {
    const metric_row *r = &rows[i];
    if (keys > 0 && strcmp(r->name, latest[keys - 1].name) == 0) continue;
    latest[keys++] = (latest_row){r->workspace,
                                  r->project,
                                  of->experiment_id,
                                  r->run_id,
                                  r->name,
                                  r->step,
                                  r->at,
                                  r->is_nan ? (double)NAN : r->value};
  }
  return status == PURLIN_OK ? purlin_db_bulk(ctx, latest_row, latest, keys, UPSERT_LATEST) : status;
}

/* What was measured of logged models is theirs, too. */
static purlin_status write_measures(purlin_ctx *ctx, const run_place *of, const tracking_log_batch *in) {
  size_t count = 0;
  model_measure *measures = purlin_alloc_array(ctx, in->metrics.count + 1, sizeof *measures);
  if (!measures) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->metrics.count; i++) {
    const tracking_measure *m = &in->metrics.items[i];
    if (!m->model_id || !*m->model_id) continue;
    measures[count++] =
        (model_measure){m->model_id, m->key, m->value, m->step, now_unless(m->at), m->dataset_name, m->dataset_digest};
  }
  return count > 0 ? logged_models_measure(ctx, of->project, in->run_id, measures, count) : PURLIN_OK;
}

static purlin_status check_count(purlin_ctx *ctx, const char *what, size_t count, size_t most) {
  if (count <= most) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID,
                     "A batch logging request can contain at most %zu %s. Got %zu %s. Please split up %s across multiple"
                     " requests and try again.",
                     most, what, count, what, what);
}

PURLIN_OPERATION(log_batch, tracking_log_batch, purlin_nothing,
    .summary = "Log metrics, parameters and tags of a run, all or nothing", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/batch", .unaudited = "what a run measures; its creation and its end are entries") {
  run_place of;
  size_t together = in->metrics.count + in->parameters.count + in->tags.count;
  purlin_status status = run_writable(ctx, in->run_id, &of);
  if (status == PURLIN_OK) status = check_count(ctx, "metrics", in->metrics.count, MOST_METRICS);
  if (status == PURLIN_OK) status = check_count(ctx, "params", in->parameters.count, MOST_PAIRS);
  if (status == PURLIN_OK) status = check_count(ctx, "tags", in->tags.count, MOST_PAIRS);
  if (status == PURLIN_OK) status = check_count(ctx, "metrics, params, and tags", together, MOST_TOGETHER);
  if (status == PURLIN_OK) status = parameters_write(ctx, &of, in->run_id, in->parameters.items, in->parameters.count);
  if (status == PURLIN_OK) status = write_metrics(ctx, &of, in);
  if (status == PURLIN_OK) status = write_measures(ctx, &of, in);
  return status == PURLIN_OK ? tags_write(ctx, &of, in->run_id, in->tags.items, in->tags.count) : status;
}
