#include "tracking.h"

PURLIN_QUOTA(runs, .summary = "Runs that exist", .unit = "runs",
    .count = "SELECT COUNT(*) AS used FROM tracking_runs WHERE workspace = ?");

#define COLUMNS "r.id, e.name AS experiment, r.name, r.status, r.created_at, r.ended_at, r.created_by"
#define FROM_RUNS " FROM tracking_runs r JOIN tracking_experiments e ON e.id = r.experiment_id"

static const char INSERT[] =
    "INSERT INTO tracking_runs (id, workspace, project, experiment_id, name, status, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, 'running', NOW(6), ?)";
static const char SELECT_ONE[] = "SELECT " COLUMNS FROM_RUNS " WHERE r.id = ? AND r.workspace = ?";
static const char SELECT_PAGE[] =
    "SELECT " COLUMNS FROM_RUNS " WHERE r.experiment_id = ? ORDER BY r.created_at DESC, r.id LIMIT ? OFFSET ?";
static const char SELECT_PLACE[] = "SELECT project, experiment_id FROM tracking_runs WHERE id = ? AND workspace = ?";
static const char FINISH[] =
    "UPDATE tracking_runs SET status = ?, ended_at = NOW(6) WHERE id = ? AND workspace = ? AND status = 'running'";
static const char LATEST[] =
    "SELECT name AS `key`, value, step, at FROM tracking_latest_metrics WHERE run_id = ? ORDER BY name LIMIT 10000";
static const char PARAMETERS[] =
    "SELECT name AS `key`, value FROM tracking_parameters WHERE run_id = ? ORDER BY name LIMIT 10000";
static const char TAGS[] = "SELECT name AS `key`, value FROM tracking_tags WHERE run_id = ? ORDER BY name LIMIT 10000";

typedef struct run {
  const char *id, *experiment, *name, *status;
  purlin_time created_at, ended_at;
  const char *created_by;
  PURLIN_LIST_OF(metric) metrics;
  PURLIN_LIST_OF(pair) parameters;
  PURLIN_LIST_OF(pair) tags;
} run;
PURLIN_SCHEMA(run, "A run of an experiment",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(experiment, "The experiment"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(status, "Where it stands", .choices = "running, finished, failed, killed"),
    PURLIN_REQUIRED(created_at, "When it began"),
    PURLIN_OPTIONAL(ended_at, "When it ended"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_LIST(metrics, metric, "The latest value of each metric"),
    PURLIN_LIST(parameters, pair, "Its parameters"),
    PURLIN_LIST(tags, pair, "Its tags"));

purlin_status tracking_run(purlin_ctx *ctx, const char *run_id, const char *permission, run_place *out) {
  purlin_status status = purlin_db_row(ctx, run_place, out, SELECT_PLACE, run_id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->experiment_id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no run '%s'", run_id) : status;
}

static purlin_status find(purlin_ctx *ctx, const char *id, run *out) {
  purlin_status status = purlin_db_row(ctx, run, out, SELECT_ONE, id, purlin_workspace(ctx));
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no run '%s'", id) : status;
}

typedef struct create_run_in {
  const char *experiment, *name;
} create_run_in;
PURLIN_SCHEMA(create_run_in, "A run to begin",
    PURLIN_REQUIRED(experiment, "The experiment", .max_length = 500),
    PURLIN_DEFAULT(name, "\"\"", "A name for people", .max_length = 250));

PURLIN_OPERATION(create_run, create_run_in, run,
    .summary = "Begin a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/experiments/{experiment}/runs") {
  experiment of;
  purlin_status status = tracking_experiment(ctx, in->experiment, "runs:write", &of);
  if (status != PURLIN_OK) return status;
  const char *id = purlin_new_id(ctx, "run");
  status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), of.project, of.id, in->name, purlin_actor(ctx));
  if (status == PURLIN_OK) status = find(ctx, id, out);
  return status == PURLIN_OK ? purlin_quota_take(ctx, runs, 1) : status;
}

typedef struct get_run_in {
  const char *run_id;
} get_run_in;
PURLIN_SCHEMA(get_run_in, "Which run", PURLIN_REQUIRED(run_id, "Its id", .max_length = 64));

PURLIN_OPERATION(get_run, get_run_in, run,
    .summary = "A run with its parameters, tags and the latest of each metric", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/runs/{run_id}") {
  run_place place;
  purlin_status status = tracking_run(ctx, in->run_id, "runs:read", &place);
  if (status == PURLIN_OK) status = find(ctx, in->run_id, out);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, metric, &out->metrics, LATEST, in->run_id);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, pair, &out->parameters, PARAMETERS, in->run_id);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, pair, &out->tags, TAGS, in->run_id);
  return status;
}

typedef struct list_runs_in {
  const char *experiment;
  int64_t offset, limit;
} list_runs_in;
PURLIN_SCHEMA(list_runs_in, "Which page",
    PURLIN_REQUIRED(experiment, "The experiment", .max_length = 500),
    PURLIN_DEFAULT(offset, "0", "Skip so many", .min = 0, .max = 100000),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct run_page {
  PURLIN_LIST_OF(run) runs;
} run_page;
PURLIN_SCHEMA(run_page, "Runs, newest first", PURLIN_LIST(runs, run, "The runs"));

PURLIN_OPERATION(list_runs, list_runs_in, run_page,
    .summary = "The runs of an experiment", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/experiments/{experiment}/runs") {
  experiment of;
  purlin_status status = tracking_experiment(ctx, in->experiment, "runs:read", &of);
  return status == PURLIN_OK ? purlin_db_list(ctx, run, &out->runs, SELECT_PAGE, of.id, in->limit, in->offset) : status;
}

typedef struct finish_run_in {
  const char *run_id, *status;
} finish_run_in;
PURLIN_SCHEMA(finish_run_in, "How a run ended",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_DEFAULT(status, "\"finished\"", "How it ended", .choices = "finished, failed, killed"));

PURLIN_OPERATION(finish_run, finish_run_in, run,
    .summary = "End a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_run", .http = "POST /api/v1/runs/{run_id}/finish") {
  run_place place;
  purlin_status status = tracking_run(ctx, in->run_id, "runs:write", &place);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, FINISH, in->status, in->run_id, purlin_workspace(ctx));
  if (status != PURLIN_OK) return status;
  bool ended_now = purlin_affected(ctx) > 0;
  status = find(ctx, in->run_id, out);
  if (status == PURLIN_OK && !ended_now)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the run has ended already, as %s", out->status);
  return status;
}
