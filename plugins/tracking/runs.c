#include "tracking.h"
#include <stdlib.h>
#include <string.h>

PURLIN_QUOTA(runs, .summary = "Runs that exist", .unit = "runs",
    .count = "SELECT COUNT(*) AS used FROM tracking_runs WHERE workspace = ?");

#define COLUMNS RUN_COLUMNS ", e.name AS experiment"
#define FROM_RUNS " FROM tracking_runs r JOIN tracking_experiments e ON e.id = r.experiment_id"

static const char INSERT[] = "INSERT INTO tracking_runs (id, workspace, project, experiment_id, name, status, user,"
                             " artifact_uri, created_at, started_at, created_by)"
                             " VALUES (?, ?, ?, ?, ?, 'running', ?, ?, NOW(6), COALESCE(?, NOW(6)), ?)"
                             " RETURNING created_at, started_at";
static const char SELECT_ONE[] = "SELECT " COLUMNS FROM_RUNS " WHERE r.id = ? AND r.workspace = ?";
static const char SELECT_PAGE[] = "SELECT " COLUMNS FROM_RUNS " WHERE r.experiment_id = ? AND r.lifecycle = 'active'"
                                  " ORDER BY r.started_at DESC, r.id LIMIT ? OFFSET ?";
static const char SELECT_PLACE[] =
    "SELECT project, experiment_id, lifecycle, started_at FROM tracking_runs WHERE id = ? AND workspace = ?";
static const char FINISH[] =
    "UPDATE tracking_runs SET status = ?, ended_at = NOW(6) WHERE id = ? AND status IN ('running', 'scheduled')";
/* Assigned from left to right: `status` is the new one in what follows it. */
static const char UPDATE[] =
    "UPDATE tracking_runs SET name = COALESCE(?, name), status = COALESCE(?, status),"
    " ended_at = COALESCE(?, ended_at, IF(status IN ('running', 'scheduled'), NULL, NOW(6))) WHERE id = ?";
static const char SET_LIFECYCLE[] =
    "UPDATE tracking_runs SET lifecycle = ?, deleted_at = IF(lifecycle = 'deleted', NOW(6), NULL) WHERE id = ?";
enum { MOST_NAME = 250, MOST_URI = 2048 };

/* ---- Finding -------------------------------------------------------------------------------------------------------------------- */

static purlin_status not_found(purlin_ctx *ctx, const char *run_id) {
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "Run with id=%s not found", run_id);
}

purlin_status run_find(purlin_ctx *ctx, const char *run_id, const char *permission, run_place *out) {
  purlin_status status = purlin_db_row(ctx, run_place, out, SELECT_PLACE, run_id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->experiment_id);
  return status == PURLIN_NOT_FOUND ? not_found(ctx, run_id) : status;
}

purlin_status run_writable(purlin_ctx *ctx, const char *run_id, run_place *out) {
  purlin_status status = run_find(ctx, run_id, "runs:write", out);
  if (status != PURLIN_OK || strcmp(out->lifecycle, "active") == 0) return status;
  return purlin_fail(ctx, PURLIN_CONFLICT, "The run %s must be in the 'active' state. Current state is %s.", run_id,
                     out->lifecycle);
}

/* Without what was logged in it. */
static purlin_status read_run(purlin_ctx *ctx, const char *id, const char *permission, tracking_run *out) {
  purlin_status status = purlin_db_row(ctx, tracking_run, out, SELECT_ONE, id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->experiment_id);
  return status == PURLIN_NOT_FOUND ? not_found(ctx, id) : status;
}

/* ---- Begun ------------------------------------------------------------------------------------------------------------------------ */

/* The name that it is given, by itself or as a tag; a random one otherwise. */
static purlin_status choose_name(purlin_ctx *ctx, const tracking_create_run *in, const char **name) {
  const char *tagged = NULL;
  for (size_t i = 0; i < in->tags.count; i++)
    if (strcmp(in->tags.items[i].key, RUN_NAME_TAG) == 0) tagged = in->tags.items[i].value;
  if (tagged && !*tagged) tagged = NULL;
  *name = in->name && *in->name ? in->name : tagged ? tagged : random_name(ctx);
  if (!*name) return PURLIN_TOO_LARGE;
  if (tagged && strcmp(*name, tagged) != 0)
    return purlin_fail(ctx, PURLIN_INVALID,
                       "Both 'run_name' argument and '" RUN_NAME_TAG "' tag are specified, but with different values "
                       "(run_name='%.300s', " RUN_NAME_TAG "='%.300s').",
                       *name, tagged);
  return text_fits(ctx, "run_name", *name, MOST_NAME);
}

static int compare_keys(const void *a, const void *b) {
  const tracking_pair *const *one = a, *const *other = b;
  int by_key = strcmp((*one)->key, (*other)->key);
  return by_key != 0 ? by_key : *one < *other ? -1 : 1;
}

/* As they are read later: in the order of their keys, and of the same key the last one. */
static purlin_status tell_tags(purlin_ctx *ctx, const tracking_pair *pairs, size_t count, tracking_run *out) {
  tracking_pair *told = purlin_alloc_array(ctx, count, sizeof *told);
  const tracking_pair **sorted = purlin_alloc_array(ctx, count, sizeof *sorted);
  size_t kept = 0;
  if (!told || !sorted) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) sorted[i] = &pairs[i];
  qsort(sorted, count, sizeof *sorted, compare_keys);
  for (size_t i = 0; i < count; i++)
    if (i + 1 == count || strcmp(sorted[i]->key, sorted[i + 1]->key) != 0) told[kept++] = *sorted[i];
  out->tags.items = told;
  out->tags.count = kept;
  return PURLIN_OK;
}

/* Its tags, and its name as one. */
static purlin_status write_tags(purlin_ctx *ctx, const tracking_create_run *in, tracking_run *run) {
  size_t count = 0;
  const run_place place = {run->project, run->experiment_id, "active", run->started_at};
  tracking_pair *pairs = purlin_alloc_array(ctx, in->tags.count + 1, sizeof *pairs);
  if (!pairs) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->tags.count; i++)
    if (strcmp(in->tags.items[i].key, RUN_NAME_TAG) != 0) pairs[count++] = in->tags.items[i];
  pairs[count++] = (tracking_pair){RUN_NAME_TAG, run->name};
  purlin_status status = tags_put(ctx, &place, run->id, pairs, count);
  return status == PURLIN_OK ? tell_tags(ctx, pairs, count, run) : status;
}

/* `kept` is what is written; NULL: the usual place. */
static purlin_status place_files(purlin_ctx *ctx, const tracking_experiment *of, tracking_run *run, const char **kept) {
  static const char usual[] = "mlflow-artifacts:";
  size_t size = strlen(of->artifact_location);
  const char *slash = size > 0 && of->artifact_location[size - 1] == '/' ? "" : "/";
  bool is_usual = strncmp(of->artifact_location, usual, sizeof usual - 1) == 0;
  run->artifact_uri = is_usual ? purlin_format(ctx, "%s/%s/%s/artifacts", usual, of->id, run->id)
                               : purlin_format(ctx, "%s%s%s/artifacts", of->artifact_location, slash, run->id);
  if (!run->artifact_uri) return PURLIN_TOO_LARGE;
  *kept = is_usual ? NULL : run->artifact_uri;
  return text_fits(ctx, "artifact_uri", run->artifact_uri, MOST_URI);
}

typedef struct begun_row {
  purlin_time created_at, started_at;
} begun_row;
PURLIN_SCHEMA(begun_row, "What the database says of a new run",
    PURLIN_REQUIRED(created_at, "when it was made"),
    PURLIN_REQUIRED(started_at, "when it began"));

static purlin_status insert_run(purlin_ctx *ctx, const tracking_create_run *in, tracking_run *run, const char *kept_uri) {
  begun_row begun;
  purlin_status status = purlin_db_row(ctx, begun_row, &begun, INSERT, run->id, purlin_workspace(ctx), run->project,
                                       run->experiment_id, run->name, run->user, kept_uri, in->started_at, run->created_by);
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, PURLIN_CONFLICT, "There is a run '%s' already", run->id);
  if (status != PURLIN_OK) return status;
  run->created_at = begun.created_at;
  run->started_at = begun.started_at;
  return PURLIN_OK;
}

/* What is answered is what was written: nothing is read again. */
PURLIN_OPERATION(create_run, tracking_create_run, tracking_run,
    .summary = "Begin a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/experiments/{experiment}/runs") {
  tracking_experiment of;
  const char *kept_uri = NULL, *id = in->id && *in->id ? in->id : purlin_new_id(ctx, "run");
  purlin_status status = id ? experiment_for_runs(ctx, in->experiment, in->experiment_id, &of) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  *out = (tracking_run){.id = id,
                        .experiment_id = of.id,
                        .experiment = of.name,
                        .project = of.project,
                        .status = "running",
                        .user = in->user && *in->user ? in->user : purlin_actor(ctx),
                        .lifecycle = "active",
                        .created_by = purlin_actor(ctx)};
  run_clear(out);
  status = choose_name(ctx, in, &out->name);
  if (status == PURLIN_OK) status = text_fits(ctx, "user_id", out->user, 256);
  if (status == PURLIN_OK) status = place_files(ctx, &of, out, &kept_uri);
  if (status == PURLIN_OK) status = insert_run(ctx, in, out, kept_uri);
  if (status == PURLIN_OK) status = write_tags(ctx, in, out);
  return status == PURLIN_OK ? purlin_quota_take(ctx, runs, 1) : status;
}

/* ---- Read ------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(get_run, tracking_which_run, tracking_run,
    .summary = "A run with its parameters, tags and the latest of each metric", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/runs/{run_id}") {
  purlin_status status = read_run(ctx, in->run_id, "runs:read", out);
  return status == PURLIN_OK ? runs_load(ctx, out, 1) : status;
}

typedef struct list_runs_in {
  const char *experiment;
  int64_t offset, limit;
} list_runs_in;
PURLIN_SCHEMA(list_runs_in, "Which page",
    PURLIN_REQUIRED(experiment, "The experiment", .max_length = 2000),
    PURLIN_DEFAULT(offset, "0", "Skip so many", .min = 0, .max = 100000),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct run_page {
  PURLIN_LIST_OF(tracking_run) runs;
} run_page;
PURLIN_SCHEMA(run_page, "Runs, newest first", PURLIN_LIST(runs, tracking_run, "The runs, without what was logged in them"));

PURLIN_OPERATION(list_runs, list_runs_in, run_page,
    .summary = "The runs of an experiment", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/experiments/{experiment}/runs") {
  tracking_experiment of;
  purlin_status status = experiment_find(ctx, in->experiment, NULL, "runs:read", &of);
  return status == PURLIN_OK ? purlin_db_list(ctx, tracking_run, &out->runs, SELECT_PAGE, of.id, in->limit, in->offset)
                             : status;
}

/* ---- Changed ------------------------------------------------------------------------------------------------------------------------ */

typedef struct finish_run_in {
  const char *run_id, *status;
} finish_run_in;
PURLIN_SCHEMA(finish_run_in, "How a run ended",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_DEFAULT(status, "\"finished\"", "How it ended", .choices = "finished, failed, killed"));

PURLIN_OPERATION(finish_run, finish_run_in, tracking_run,
    .summary = "End a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_run", .http = "POST /api/v1/runs/{run_id}/finish") {
  run_place place;
  purlin_status status = run_writable(ctx, in->run_id, &place);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, FINISH, in->status, in->run_id);
  if (status != PURLIN_OK) return status;
  bool ended_now = purlin_affected(ctx) > 0;
  status = read_run(ctx, in->run_id, "runs:write", out);
  if (status == PURLIN_OK && !ended_now)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the run has ended already, as %s", out->status);
  return status;
}

PURLIN_OPERATION(update_run, tracking_update_run, tracking_run,
    .summary = "Change the name, the status or the end of a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_run", .http = "PATCH /api/v1/runs/{run_id}") {
  run_place place;
  const char *name = in->name && *in->name ? in->name : NULL, *to = in->status && *in->status ? in->status : NULL;
  purlin_status status = run_writable(ctx, in->run_id, &place);
  if (status == PURLIN_OK) status = text_fits(ctx, "run_name", name, MOST_NAME);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, UPDATE, name, to, in->ended_at, in->run_id);
  if (status == PURLIN_OK && name) status = tags_put(ctx, &place, in->run_id, &(tracking_pair){RUN_NAME_TAG, name}, 1);
  return status == PURLIN_OK ? read_run(ctx, in->run_id, "runs:write", out) : status;
}

static purlin_status set_lifecycle(purlin_ctx *ctx, const char *run_id, const char *lifecycle, tracking_run *out) {
  run_place place;
  purlin_status status = run_find(ctx, run_id, "runs:write", &place);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_LIFECYCLE, lifecycle, run_id);
  return status == PURLIN_OK ? read_run(ctx, run_id, "runs:write", out) : status;
}

PURLIN_OPERATION(delete_run, tracking_which_run, tracking_run,
    .summary = "Delete a run; it can come back until it is purged", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_run", .http = "DELETE /api/v1/runs/{run_id}") {
  return set_lifecycle(ctx, in->run_id, "deleted", out);
}

PURLIN_OPERATION(restore_run, tracking_which_run, tracking_run,
    .summary = "Bring a deleted run back", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_run",
    .http = "POST /api/v1/runs/{run_id}/restore") {
  return set_lifecycle(ctx, in->run_id, "active", out);
}

/* ---- Gone for good ---------------------------------------------------------------------------------------------------------------- */

purlin_status runs_give_back(purlin_ctx *ctx, int64_t count) { return purlin_quota_take(ctx, runs, -count); }
