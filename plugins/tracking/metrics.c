#include "tracking.h"
#include <string.h>

static const char RUN_EXISTS[] = "SELECT id FROM tracking_runs WHERE id = ? AND workspace = ?";
static const char INSERT_METRIC[] =
    "INSERT IGNORE INTO tracking_metrics (workspace, project, run_id, name, step, at, value) VALUES (?, ?, ?, ?, ?, ?, ?)";
/* The latest is the largest of (step, at, value); a late report of an old step does not move it. */
static const char UPSERT_LATEST[] =
    "INSERT INTO tracking_latest_metrics (workspace, project, run_id, name, step, at, value) VALUES (?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE"
    " value = IF((VALUES(step), VALUES(at), VALUES(value)) > (step, at, value), VALUES(value), value),"
    " at = IF((VALUES(step), VALUES(at)) > (step, at), VALUES(at), at),"
    " step = GREATEST(step, VALUES(step))";
static const char INSERT_PARAMETER[] =
    "INSERT IGNORE INTO tracking_parameters (workspace, project, run_id, name, value) VALUES (?, ?, ?, ?, ?)";
static const char SELECT_PARAMETER[] = "SELECT name AS `key`, value FROM tracking_parameters WHERE run_id = ? AND name = ?";
static const char UPSERT_TAG[] =
    "INSERT INTO tracking_tags (workspace, project, run_id, name, value) VALUES (?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char HISTORY[] = "SELECT name AS `key`, value, step, at FROM tracking_metrics"
                              " WHERE run_id = ? AND name = ? AND step > ? ORDER BY step, at, value LIMIT ?";

typedef struct id_row {
  const char *id;
} id_row;
PURLIN_SCHEMA(id_row, "An id", PURLIN_REQUIRED(id, "The id"));

static purlin_status check_run(purlin_ctx *ctx, const char *run_id) {
  id_row row;
  purlin_status status = purlin_db_row(ctx, id_row, &row, RUN_EXISTS, run_id, purlin_workspace(ctx));
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no run '%s'", run_id) : status;
}

/* What a client sends: `at` may be left out. */
typedef struct metric_in {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
} metric_in;
PURLIN_SCHEMA(metric_in, "A measured value",
    PURLIN_REQUIRED(key, "What was measured", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(value, "The value"),
    PURLIN_DEFAULT(step, "0", "At which step", .min = -9e15, .max = 9e15),
    PURLIN_OPTIONAL(at, "When; now, if it is left out"));

static purlin_status write_metric(purlin_ctx *ctx, const char *run_id, const metric_in *m) {
  purlin_time at = m->at.unix_us ? m->at : (purlin_time){purlin_now_us()};
  const char *workspace = purlin_workspace(ctx), *project = purlin_project(ctx);
  purlin_status status = purlin_db_run(ctx, INSERT_METRIC, workspace, project, run_id, m->key, m->step, at, m->value);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, UPSERT_LATEST, workspace, project, run_id, m->key, m->step, at, m->value);
  return status;
}

/* Written once; the same value again is nothing, another one is a conflict. */
static purlin_status write_parameter(purlin_ctx *ctx, const char *run_id, const pair *p) {
  purlin_status status =
      purlin_db_run(ctx, INSERT_PARAMETER, purlin_workspace(ctx), purlin_project(ctx), run_id, p->key, p->value);
  if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
  pair old;
  status = purlin_db_row(ctx, pair, &old, SELECT_PARAMETER, run_id, p->key);
  if (status == PURLIN_OK && strcmp(old.value, p->value) != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the parameter '%s' is '%s' already and cannot change", p->key, old.value);
  return status;
}

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
    .summary = "Log a metric of a run", .permission = "runs:write", .effect = PURLIN_CHANGES, .http = "POST /api/v1/runs/{run_id}/metrics") {
  purlin_status status = check_run(ctx, in->run_id);
  return status == PURLIN_OK ? write_metric(ctx, in->run_id, &(metric_in){in->key, in->value, in->step, in->at}) : status;
}

typedef struct log_batch_in {
  const char *run_id;
  PURLIN_LIST_OF(metric_in) metrics;
  PURLIN_LIST_OF(pair) parameters;
  PURLIN_LIST_OF(pair) tags;
} log_batch_in;
PURLIN_SCHEMA(log_batch_in, "Metrics, parameters and tags of a run, all or nothing",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_LIST(metrics, metric_in, "Measured values", .max_length = 1000),
    PURLIN_LIST(parameters, pair, "Parameters", .max_length = 100),
    PURLIN_LIST(tags, pair, "Tags", .max_length = 100));

PURLIN_OPERATION(log_batch, log_batch_in, purlin_nothing,
    .summary = "Log metrics, parameters and tags of a run, all or nothing", .permission = "runs:write", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/batch") {
  purlin_status status = check_run(ctx, in->run_id);
  for (size_t i = 0; i < in->metrics.count && status == PURLIN_OK; i++)
    status = write_metric(ctx, in->run_id, &in->metrics.items[i]);
  for (size_t i = 0; i < in->parameters.count && status == PURLIN_OK; i++)
    status = write_parameter(ctx, in->run_id, &in->parameters.items[i]);
  for (size_t i = 0; i < in->tags.count && status == PURLIN_OK; i++)
    status = purlin_db_run(ctx, UPSERT_TAG, purlin_workspace(ctx), purlin_project(ctx), in->run_id, in->tags.items[i].key,
                           in->tags.items[i].value);
  return status;
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
  PURLIN_LIST_OF(metric) metrics;
} history;
PURLIN_SCHEMA(history, "Values, by step", PURLIN_LIST(metrics, metric, "The values"));

PURLIN_OPERATION(metric_history, history_in, history,
    .summary = "The values of a metric", .permission = "runs:read", .http = "GET /api/v1/runs/{run_id}/metrics/{key}") {
  purlin_status status = check_run(ctx, in->run_id);
  return status == PURLIN_OK
             ? purlin_db_list(ctx, metric, &out->metrics, HISTORY, in->run_id, in->key, in->after, in->limit)
             : status;
}
