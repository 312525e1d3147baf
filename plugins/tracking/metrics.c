#include "tracking.h"
#include <stdlib.h>
#include <string.h>

/* Writes nothing where there is no such run within reach; counts one also where the same value is there already. */
static const char ADD_METRIC[] =
    "INSERT INTO tracking_metrics (workspace, project, run_id, name, step, at, value)"
    " SELECT r.workspace, r.project, r.id, ?, ?, ?, ? FROM tracking_runs r WHERE r.id = ? AND r.workspace = ? AND r.lifecycle = 'active' AND " PURLIN_VISIBLE(
        "r.project", "r.experiment_id") " ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char INSERT_METRIC[] =
    "INSERT INTO tracking_metrics (workspace, project, run_id, name, step, at, value) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE value = VALUES(value)";
/* The latest is the largest of (step, at, value); a late report of an old step does not move it. */
#define KEEP_LATEST                                                                                                        \
  " ON DUPLICATE KEY UPDATE"                                                                                               \
  " value = IF((VALUES(step), VALUES(at), VALUES(value)) > (step, at, value), VALUES(value), value),"                      \
  " at = IF((VALUES(step), VALUES(at)) > (step, at), VALUES(at), at),"                                                     \
  " step = GREATEST(step, VALUES(step))"
static const char ADD_LATEST[] =
    "INSERT INTO tracking_latest_metrics (workspace, project, run_id, name, step, at, value)"
    " SELECT r.workspace, r.project, r.id, ?, ?, ?, ? FROM tracking_runs r WHERE r.id = ?" KEEP_LATEST;
static const char UPSERT_LATEST[] =
    "INSERT INTO tracking_latest_metrics (workspace, project, run_id, name, step, at, value)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)" KEEP_LATEST;
static const char INSERT_PARAMETER[] =
    "INSERT IGNORE INTO tracking_parameters (workspace, project, run_id, name, value) VALUES (?, ?, ?, ?, ?)";
static const char SELECT_PARAMETER[] = "SELECT name AS `key`, value FROM tracking_parameters WHERE run_id = ? AND name = ?";
static const char UPSERT_TAG[] =
    "INSERT INTO tracking_tags (workspace, project, run_id, name, value) VALUES (?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char HISTORY[] = "SELECT name AS `key`, value, step, at FROM tracking_metrics"
                              " WHERE run_id = ? AND name = ? AND step > ? ORDER BY step, at, value LIMIT ?";

static purlin_time now_unless(purlin_time given) { return given.unix_us ? given : (purlin_time){purlin_now_us()}; }

/* ---- One metric: the most frequent write of all, so as few statements as can be --------------------------------------------------- */

typedef struct log_metric_in {
  const char *run_id, *key;
  double value;
  int64_t step;
  purlin_time at;
} log_metric_in;
PURLIN_SCHEMA(log_metric_in, "A measured value of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_REQUIRED(key, "What was measured", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(value, "The value"),
    PURLIN_DEFAULT(step, "0", "At which step", .min = -9e15, .max = 9e15),
    PURLIN_OPTIONAL(at, "When; now, if it is left out"));

PURLIN_OPERATION(log_metric, log_metric_in, purlin_nothing,
    .summary = "Log a metric of a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .http = "POST /api/v1/runs/{run_id}/metrics",
    .unaudited = "what a run measures; its creation and its end are entries") {
  purlin_time at = now_unless(in->at);
  purlin_status status = purlin_db_run(ctx, ADD_METRIC, in->key, in->step, at, in->value, in->run_id, purlin_workspace(ctx),
                                       PURLIN_VISIBLE_TO(ctx, "runs:write"));
  if (status != PURLIN_OK) return status;
  run_place place;
  if (purlin_affected(ctx) == 0) status = run_writable(ctx, in->run_id, &place); /* says why not */
  if (status != PURLIN_OK) return status;
  return purlin_db_run(ctx, ADD_LATEST, in->key, in->step, at, in->value, in->run_id);
}

/* ---- Many at once: a statement for each table, not for each row ---------------------------------------------------------------------- */

typedef struct log_batch_in {
  const char *run_id;
  PURLIN_LIST_OF(tracking_metric) metrics;
  PURLIN_LIST_OF(tracking_pair) parameters;
  PURLIN_LIST_OF(tracking_pair) tags;
} log_batch_in;
PURLIN_SCHEMA(log_batch_in, "Metrics, parameters and tags of a run, all or nothing",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_LIST(metrics, tracking_metric, "Measured values", .max_length = 1000),
    PURLIN_LIST(parameters, tracking_pair, "Parameters", .max_length = 100),
    PURLIN_LIST(tags, tracking_pair, "Tags", .max_length = 100));

typedef struct metric_row {
  const char *workspace, *project, *run_id, *name;
  int64_t step;
  purlin_time at;
  double value;
} metric_row;
PURLIN_SCHEMA(metric_row, "A row of tracking_metrics",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(step, "step"),
    PURLIN_REQUIRED(at, "time"),
    PURLIN_REQUIRED(value, "value"));
/* By key, the latest first. In the same order for everybody, so that two batches of a run do not wait for each other. */
static int latest_first(const void *a, const void *b) {
  const metric_row *x = a, *y = b;
  int order = strcmp(x->name, y->name);
  if (order == 0) order = (x->step < y->step) - (x->step > y->step);
  if (order == 0) order = (x->at.unix_us < y->at.unix_us) - (x->at.unix_us > y->at.unix_us);
  return order ? order : (x->value < y->value) - (x->value > y->value);
}

static purlin_status write_metrics(purlin_ctx *ctx, const char *project, const log_batch_in *in) {
  size_t count = in->metrics.count, latest = 0;
  if (count == 0) return PURLIN_OK;
  metric_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const tracking_metric *m = &in->metrics.items[i];
    rows[i] = (metric_row){purlin_workspace(ctx), project, in->run_id, m->key, m->step, now_unless(m->at), m->value};
  }
  qsort(rows, count, sizeof *rows, latest_first);
  purlin_status status = purlin_db_bulk(ctx, metric_row, rows, count, INSERT_METRIC);
  for (size_t i = 0; i < count; i++)
    if (i == 0 || strcmp(rows[i].name, rows[latest - 1].name) != 0) rows[latest++] = rows[i];
  return status == PURLIN_OK ? purlin_db_bulk(ctx, metric_row, rows, latest, UPSERT_LATEST) : status;
}

/* Written once; the same value again is nothing, another one is a conflict. */
static purlin_status check_parameter(purlin_ctx *ctx, const char *run_id, const tracking_pair *p) {
  tracking_pair old;
  purlin_status status = purlin_db_row(ctx, tracking_pair, &old, SELECT_PARAMETER, run_id, p->key);
  if (status == PURLIN_OK && strcmp(old.value, p->value) != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the parameter '%s' is '%.500s' already and cannot change", p->key, old.value);
  return status;
}

static purlin_status write_parameters(purlin_ctx *ctx, const char *project, const log_batch_in *in) {
  size_t count = in->parameters.count;
  if (count == 0) return PURLIN_OK;
  pair_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    rows[i] =
        (pair_row){purlin_workspace(ctx), project, in->run_id, in->parameters.items[i].key, in->parameters.items[i].value};
  purlin_status status = purlin_db_bulk(ctx, pair_row, rows, count, INSERT_PARAMETER);
  if (status != PURLIN_OK || purlin_affected(ctx) == count) return status;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++)
    status = check_parameter(ctx, in->run_id, &in->parameters.items[i]);
  return status;
}

static purlin_status write_tags(purlin_ctx *ctx, const char *project, const log_batch_in *in) {
  size_t count = in->tags.count;
  if (count == 0) return PURLIN_OK;
  pair_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    rows[i] = (pair_row){purlin_workspace(ctx), project, in->run_id, in->tags.items[i].key, in->tags.items[i].value};
  return purlin_db_bulk(ctx, pair_row, rows, count, UPSERT_TAG);
}

PURLIN_OPERATION(log_batch, log_batch_in, purlin_nothing,
    .summary = "Log metrics, parameters and tags of a run, all or nothing", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/batch", .unaudited = "what a run measures; its creation and its end are entries") {
  run_place of;
  purlin_status status = run_writable(ctx, in->run_id, &of);
  if (status == PURLIN_OK) status = write_metrics(ctx, of.project, in);
  if (status == PURLIN_OK) status = write_parameters(ctx, of.project, in);
  return status == PURLIN_OK ? write_tags(ctx, of.project, in) : status;
}

typedef struct history_in {
  const char *run_id, *key;
  int64_t after, limit;
} history_in;
PURLIN_SCHEMA(history_in, "Which metric",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_REQUIRED(key, "The metric", .max_length = 250),
    PURLIN_DEFAULT(after, "-9000000000000000", "Steps after this one", .min = -9e15, .max = 9e15),
    PURLIN_DEFAULT(limit, "1000", "At most so many", .min = 1, .max = 25000));
typedef struct history {
  PURLIN_LIST_OF(tracking_metric) metrics;
} history;
PURLIN_SCHEMA(history, "Values, by step", PURLIN_LIST(metrics, tracking_metric, "The values"));

PURLIN_OPERATION(metric_history, history_in, history,
    .summary = "The values of a metric", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/runs/{run_id}/metrics/{key}") {
  run_place of;
  purlin_status status = run_find(ctx, in->run_id, "runs:read", &of);
  return status == PURLIN_OK
             ? purlin_db_list(ctx, tracking_metric, &out->metrics, HISTORY, in->run_id, in->key, in->after, in->limit)
             : status;
}
