#include "tracking.h"
#include <string.h>

static const char INSERT[] = "INSERT INTO tracking_experiments (id, workspace, project, name, description,"
                             " artifact_location, created_at, updated_at, created_by)"
                             " VALUES (?, ?, ?, ?, ?, NULLIF(?, ''), NOW(6), NOW(6), ?)";
static const char INSERT_DEFAULT[] =
    "INSERT IGNORE INTO tracking_experiments (id, workspace, project, name, created_at,"
    " updated_at, created_by) VALUES (?, ?, 'default', 'Default', NOW(6), NOW(6), 'system')";
static const char SELECT_NAMED[] =
    "SELECT " EXPERIMENT_COLUMNS " FROM tracking_experiments e WHERE workspace = ? AND name = ?";
static const char SELECT_ONE[] = "SELECT " EXPERIMENT_COLUMNS " FROM tracking_experiments e WHERE id = ? AND workspace = ?";
static const char SELECT_PAGE[] =
    "SELECT " EXPERIMENT_COLUMNS " FROM tracking_experiments e WHERE workspace = ? AND " PURLIN_VISIBLE(
        "project", "id") " AND name > ? AND lifecycle = 'active' ORDER BY name LIMIT ?";
static const char RENAME[] = "UPDATE tracking_experiments SET name = ?, updated_at = NOW(6) WHERE id = ?";
static const char SET_LIFECYCLE[] = "UPDATE tracking_experiments SET lifecycle = ?, updated_at = NOW(6) WHERE id = ?";
static const char SET_LIFECYCLE_OF_RUNS[] =
    "UPDATE tracking_runs SET lifecycle = ?, deleted_at = IF(lifecycle = 'deleted', NOW(6), NULL) WHERE experiment_id = ?"
    " AND lifecycle <> ?";
static const char UPSERT_TAG[] =
    "INSERT INTO tracking_experiment_tags (workspace, project, experiment_id, name, value) VALUES (?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char DELETE_TAG[] = "DELETE FROM tracking_experiment_tags WHERE experiment_id = ? AND name = ?";
static const char TOUCH[] = "UPDATE tracking_experiments SET updated_at = NOW(6) WHERE id = ?";

enum { MOST_NAME = 500, MOST_KEY = 250, MOST_TAG = 20000 };

/* ---- Finding ----------------------------------------------------------------------------------------------------------------- */

/* Also what several have in common as MLflow's clients know it: the id "0", and the words for what is not there. */
static bool is_default(const char *id) { return strcmp(id, "0") == 0; }

static purlin_status not_found(purlin_ctx *ctx, const char *name, const char *id) {
  if (id && *id) return purlin_fail(ctx, PURLIN_NOT_FOUND, "No Experiment with id=%s exists", id);
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "Could not find experiment with name '%s'", name ? name : "");
}

purlin_status experiment_find(purlin_ctx *ctx, const char *name, const char *id, const char *permission,
                              tracking_experiment *out) {
  bool by_id = id && *id;
  if (!by_id && (!name || !*name)) return purlin_fail(ctx, PURLIN_INVALID, "which experiment? Give its name or its id");
  purlin_status status = by_id ? purlin_db_row(ctx, tracking_experiment, out, SELECT_ONE, id, purlin_workspace(ctx))
                               : purlin_db_row(ctx, tracking_experiment, out, SELECT_NAMED, purlin_workspace(ctx), name);
  if (status == PURLIN_NOT_FOUND && by_id && is_default(id))
    status = purlin_db_row(ctx, tracking_experiment, out, SELECT_NAMED, purlin_workspace(ctx), "Default");
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? not_found(ctx, name, id) : status;
}

purlin_status experiment_active(purlin_ctx *ctx, const tracking_experiment *e) {
  if (strcmp(e->lifecycle, "active") == 0) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_CONFLICT, "The experiment %s must be in the 'active' state. Current state is %s.", e->id,
                     e->lifecycle);
}

purlin_status experiment_for_runs(purlin_ctx *ctx, const char *name, const char *id, tracking_experiment *out) {
  purlin_status status = experiment_find(ctx, name, id, "runs:write", out);
  if (status == PURLIN_NOT_FOUND && id && is_default(id) && purlin_permitted_on(ctx, "runs:write", "default", NULL)) {
    status = purlin_db_run(ctx, INSERT_DEFAULT, purlin_new_id(ctx, "exp"), purlin_workspace(ctx));
    if (status == PURLIN_OK) status = experiment_find(ctx, name, id, "runs:write", out);
  }
  return status == PURLIN_OK ? experiment_active(ctx, out) : status;
}

/* ---- Begun and read ------------------------------------------------------------------------------------------------------------ */

static purlin_status check_tag(purlin_ctx *ctx, const char *key, const char *value) {
  purlin_status status = text_fits(ctx, "key", key, MOST_KEY);
  return status == PURLIN_OK ? text_fits(ctx, "value", value, MOST_TAG) : status;
}

static purlin_status check_new(purlin_ctx *ctx, const tracking_create_experiment *in) {
  purlin_status status = text_fits(ctx, "name", in->name, MOST_NAME);
  if (status == PURLIN_OK && in->artifact_location && *in->artifact_location)
    status = location_check(ctx, in->artifact_location);
  for (size_t i = 0; i < in->tags.count && status == PURLIN_OK; i++)
    status = check_tag(ctx, in->tags.items[i].key, in->tags.items[i].value);
  return status;
}

static purlin_status exists_already(purlin_ctx *ctx, const char *name) {
  return purlin_fail(ctx, PURLIN_CONFLICT, "Experiment(name=%s) already exists.", name);
}

static purlin_status write_tags(purlin_ctx *ctx, const char *id, const tracking_create_experiment *in) {
  pair_row *rows = purlin_alloc_array(ctx, in->tags.count + 1, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->tags.count; i++)
    rows[i] = (pair_row){purlin_workspace(ctx), purlin_project(ctx), id, in->tags.items[i].key, in->tags.items[i].value};
  return purlin_db_bulk(ctx, pair_row, rows, in->tags.count, UPSERT_TAG);
}

PURLIN_OPERATION(create_experiment, tracking_create_experiment, tracking_experiment,
    .summary = "Begin an experiment", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/experiments") {
  const char *id = purlin_new_id(ctx, "exp"), *location = in->artifact_location ? in->artifact_location : "";
  purlin_status status = purlin_require_on(ctx, "runs:write", purlin_project(ctx), NULL);
  if (status == PURLIN_OK) status = check_new(ctx, in);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), purlin_project(ctx), in->name, in->description, location,
                           purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return exists_already(ctx, in->name);
  if (status == PURLIN_OK) status = write_tags(ctx, id, in);
  if (status == PURLIN_OK) status = experiment_find(ctx, NULL, id, "runs:write", out);
  return status == PURLIN_OK ? experiments_load(ctx, out, 1) : status;
}

PURLIN_OPERATION(get_experiment, tracking_which_experiment, tracking_experiment,
    .summary = "An experiment, also a deleted one", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/experiments/{name}") {
  purlin_status status = experiment_find(ctx, in->name, in->id, "runs:read", out);
  return status == PURLIN_OK ? experiments_load(ctx, out, 1) : status;
}

typedef struct list_experiments_in {
  const char *after;
  int64_t limit;
} list_experiments_in;
PURLIN_SCHEMA(list_experiments_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct experiment_page {
  PURLIN_LIST_OF(tracking_experiment) experiments;
} experiment_page;
PURLIN_SCHEMA(experiment_page, "Experiments, by name", PURLIN_LIST(experiments, tracking_experiment, "The experiments"));

PURLIN_OPERATION(list_experiments, list_experiments_in, experiment_page,
    .summary = "The experiments that you may see", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/experiments") {
  return purlin_db_list(ctx, tracking_experiment, &out->experiments, SELECT_PAGE, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "runs:read"), in->after, in->limit);
}

/* ---- Changed ---------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(update_experiment, tracking_update_experiment, tracking_experiment,
    .summary = "Rename an experiment", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_experiment",
    .http = "PUT /api/v1/experiments/{name}/name") {
  purlin_status status = experiment_find(ctx, in->name, in->id, "runs:write", out);
  if (status == PURLIN_OK && strcmp(out->lifecycle, "active") != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "Cannot rename a non-active experiment.");
  if (status == PURLIN_OK) status = text_fits(ctx, "name", in->new_name, MOST_NAME);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, RENAME, in->new_name, out->id);
  if (status == PURLIN_CONFLICT) return exists_already(ctx, in->new_name);
  if (status == PURLIN_OK) status = experiment_find(ctx, NULL, out->id, "runs:write", out);
  return status == PURLIN_OK ? experiments_load(ctx, out, 1) : status;
}

/* With its runs; deleted ones are found as active ones where they are asked for. */
static purlin_status set_lifecycle(purlin_ctx *ctx, const tracking_which_experiment *in, const char *lifecycle,
                                   tracking_experiment *out) {
  purlin_status status = experiment_find(ctx, in->name, in->id, "runs:write", out);
  if (status == PURLIN_OK && strcmp(out->lifecycle, lifecycle) == 0) return not_found(ctx, in->name, in->id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_LIFECYCLE, lifecycle, out->id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_LIFECYCLE_OF_RUNS, lifecycle, out->id, lifecycle);
  if (status == PURLIN_OK) status = experiment_find(ctx, NULL, out->id, "runs:write", out);
  return status == PURLIN_OK ? experiments_load(ctx, out, 1) : status;
}

PURLIN_OPERATION(delete_experiment, tracking_which_experiment, tracking_experiment,
    .summary = "Delete an experiment with its runs; it can come back until it is purged", .permission = "runs:write", .by_project = true,
    .effect = PURLIN_CHANGES, .object = "get_experiment", .http = "DELETE /api/v1/experiments/{name}") {
  return set_lifecycle(ctx, in, "deleted", out);
}

PURLIN_OPERATION(restore_experiment, tracking_which_experiment, tracking_experiment,
    .summary = "Bring a deleted experiment back, with all of its runs", .permission = "runs:write", .by_project = true,
    .effect = PURLIN_CHANGES, .object = "get_experiment", .http = "POST /api/v1/experiments/{name}/restore") {
  return set_lifecycle(ctx, in, "active", out);
}

/* ---- Tags ---------------------------------------------------------------------------------------------------------------------------- */

static purlin_status find_for_tag(purlin_ctx *ctx, const tracking_experiment_tag *in, tracking_experiment *out) {
  purlin_status status = experiment_find(ctx, in->name, in->id, "runs:write", out);
  return status == PURLIN_OK ? experiment_active(ctx, out) : status;
}

PURLIN_OPERATION(set_experiment_tag, tracking_experiment_tag, purlin_nothing,
    .summary = "Set a tag of an experiment", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_experiment",
    .http = "POST /api/v1/experiments/{name}/tags") {
  tracking_experiment of;
  const char *value = in->value ? in->value : "";
  purlin_status status = find_for_tag(ctx, in, &of);
  if (status == PURLIN_OK) status = check_tag(ctx, in->key, value);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, UPSERT_TAG, purlin_workspace(ctx), of.project, of.id, in->key, value);
  return status == PURLIN_OK ? purlin_db_run(ctx, TOUCH, of.id) : status;
}

PURLIN_OPERATION(delete_experiment_tag, tracking_experiment_tag, purlin_nothing,
    .summary = "Delete a tag of an experiment", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_experiment",
    .http = "DELETE /api/v1/experiments/{name}/tags/{key}") {
  tracking_experiment of;
  purlin_status status = find_for_tag(ctx, in, &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_TAG, of.id, in->key);
  if (status == PURLIN_OK && purlin_affected(ctx) == 0)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "No tag with name: %s in experiment with id %s", in->key, of.id);
  return status == PURLIN_OK ? purlin_db_run(ctx, TOUCH, of.id) : status;
}
