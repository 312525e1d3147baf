#include "tracking.h"
#include <string.h>

static const char INSERT_PARAMETER[] = "INSERT IGNORE INTO tracking_parameters (workspace, project, experiment_id, run_id,"
                                       " started_at, name, value) VALUES (?, ?, ?, ?, ?, ?, ?)";
static const char SELECT_PARAMETER[] = "SELECT name AS `key`, value FROM tracking_parameters WHERE run_id = ? AND name = ?";
static const char UPSERT_TAG[] = "INSERT INTO tracking_tags (workspace, project, experiment_id, run_id, started_at, name,"
                                 " value) VALUES (?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char DELETE_TAG[] = "DELETE FROM tracking_tags WHERE run_id = ? AND name = ?";
static const char RENAME_RUN[] = "UPDATE tracking_runs SET name = ? WHERE id = ?";

enum { MOST_KEY = 250, MOST_PARAMETER = 6000, MOST_TAG = 8000, MOST_NAME = 250 };

typedef struct run_pair_row {
  const char *workspace, *project, *experiment_id, *run_id;
  purlin_time started_at;
  const char *name, *value;
} run_pair_row;
PURLIN_SCHEMA(run_pair_row, "A row of tracking_parameters or tracking_tags",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(experiment_id, "experiment"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(started_at, "when the run began"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(value, "value"));

typedef struct pair_kind {
  const char *list, *write;
  size_t most; /* characters of a value */
} pair_kind;
static const pair_kind parameter_kind = {"parameters", INSERT_PARAMETER, MOST_PARAMETER};
static const pair_kind tag_kind = {"tags", UPSERT_TAG, MOST_TAG};

/* Of several the place is named, too. */
static purlin_status pair_fits(purlin_ctx *ctx, const pair_kind *kind, const tracking_pair *pairs, size_t i, size_t count) {
  bool key = text_fits(ctx, "key", pairs[i].key, MOST_KEY) != PURLIN_OK;
  if (!key && text_fits(ctx, "value", pairs[i].value, kind->most) == PURLIN_OK) return PURLIN_OK;
  if (count == 1) return PURLIN_INVALID;
  const char *where = purlin_format(ctx, "%s[%zu].%s", kind->list, i, key ? "key" : "value");
  purlin_clear_failure(ctx);
  if (!where) return PURLIN_TOO_LARGE;
  return key ? text_fits(ctx, where, pairs[i].key, MOST_KEY) : text_fits(ctx, where, pairs[i].value, kind->most);
}

static purlin_status write_pairs(purlin_ctx *ctx, const run_place *of, const char *run_id, const tracking_pair *pairs,
                                 size_t count, const pair_kind *kind) {
  run_pair_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    purlin_status status = pair_fits(ctx, kind, pairs, i, count);
    if (status != PURLIN_OK) return status;
    rows[i] = (run_pair_row){purlin_workspace(ctx), of->project,  of->experiment_id, run_id,
                             of->started_at,        pairs[i].key, pairs[i].value};
  }
  return purlin_db_bulk(ctx, run_pair_row, rows, count, kind->write);
}

/* ---- Parameters: written once; the same value again is nothing, another one is a conflict ------------------------------------------- */

static purlin_status refuse_change(purlin_ctx *ctx, const char *run_id, const tracking_pair *p, const char *old,
                                   bool alone) {
  if (alone)
    return purlin_fail(
        ctx, PURLIN_CONFLICT,
        "Changing param values is not allowed. Param with key='%s' was already logged with value='%.500s' for"
        " run ID='%s'. Attempted logging new value '%.500s'.",
        p->key, old, run_id, p->value);
  return purlin_fail(ctx, PURLIN_CONFLICT,
                     "Changing param values is not allowed. Params were already logged='[{'key': '%s', 'old_value':"
                     " '%.500s', 'new_value': '%.500s'}]' for run ID='%s'.",
                     p->key, old, p->value, run_id);
}

static purlin_status check_unique(purlin_ctx *ctx, const tracking_pair *pairs, size_t count) {
  for (size_t i = 0; i < count; i++)
    for (size_t k = 0; k < i; k++)
      if (strcmp(pairs[i].key, pairs[k].key) == 0)
        return purlin_fail(
            ctx, PURLIN_INVALID,
            "Duplicate parameter keys have been submitted: ['%s']. Please ensure the request contains only one"
            " param value per param key.",
            pairs[i].key);
  return PURLIN_OK;
}

purlin_status parameters_write(purlin_ctx *ctx, const run_place *of, const char *run_id, const tracking_pair *pairs,
                               size_t count) {
  if (count == 0) return PURLIN_OK;
  purlin_status status = check_unique(ctx, pairs, count);
  if (status == PURLIN_OK) status = write_pairs(ctx, of, run_id, pairs, count, &parameter_kind);
  if (status != PURLIN_OK || purlin_affected(ctx) == count) return status;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    tracking_pair old;
    status = purlin_db_row(ctx, tracking_pair, &old, SELECT_PARAMETER, run_id, pairs[i].key);
    if (status == PURLIN_OK && strcmp(old.value, pairs[i].value) != 0)
      return refuse_change(ctx, run_id, &pairs[i], old.value, count == 1);
  }
  return status;
}

PURLIN_OPERATION(log_parameter, tracking_run_pair, purlin_nothing,
    .summary = "Log a parameter of a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/parameters", .unaudited = "what a run was given; its creation and its end are entries") {
  run_place of;
  const tracking_pair pair = {in->key, in->value ? in->value : ""};
  purlin_status status = run_writable(ctx, in->run_id, &of);
  return status == PURLIN_OK ? parameters_write(ctx, &of, in->run_id, &pair, 1) : status;
}

/* ---- Tags ------------------------------------------------------------------------------------------------------------------------------ */

purlin_status tags_put(purlin_ctx *ctx, const run_place *of, const char *run_id, const tracking_pair *pairs, size_t count) {
  return write_pairs(ctx, of, run_id, pairs, count, &tag_kind);
}

purlin_status tags_write(purlin_ctx *ctx, const run_place *of, const char *run_id, const tracking_pair *pairs,
                         size_t count) {
  if (count == 0) return PURLIN_OK;
  purlin_status status = tags_put(ctx, of, run_id, pairs, count);
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    if (strcmp(pairs[i].key, RUN_NAME_TAG) != 0) continue;
    status = text_fits(ctx, "run_name", pairs[i].value, MOST_NAME);
    if (status == PURLIN_OK) status = purlin_db_run(ctx, RENAME_RUN, pairs[i].value, run_id);
  }
  return status;
}

PURLIN_OPERATION(set_tag, tracking_run_pair, purlin_nothing,
    .summary = "Set a tag of a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/tags", .unaudited = "what is said of a run; its creation and its end are entries") {
  run_place of;
  const tracking_pair pair = {in->key, in->value ? in->value : ""};
  purlin_status status = run_writable(ctx, in->run_id, &of);
  return status == PURLIN_OK ? tags_write(ctx, &of, in->run_id, &pair, 1) : status;
}

PURLIN_OPERATION(delete_tag, tracking_run_pair, purlin_nothing,
    .summary = "Delete a tag of a run", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "DELETE /api/v1/runs/{run_id}/tags/{key}", .unaudited = "what is said of a run; its creation and its end are entries") {
  run_place of;
  purlin_status status = run_writable(ctx, in->run_id, &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_TAG, in->run_id, in->key);
  if (status == PURLIN_OK && purlin_affected(ctx) == 0)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "No tag with name: %s in run with id %s", in->key, in->run_id);
  return status;
}
