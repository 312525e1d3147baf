#include "logged_models.h"
#include "tracking.h"
#include <string.h>

static const char INSERT[] =
    "INSERT INTO tracking_logged_models (id, workspace, project, experiment_id, name, model_type, source_run_id, status, artifact_uri,"
    " created_at, updated_at, created_by) VALUES (?, ?, ?, ?, ?, NULLIF(?, ''), NULLIF(?, ''), 'pending', ?, NOW(6), NOW(6), ?)";
static const char FINISH[] =
    "UPDATE tracking_logged_models SET status = ?, updated_at = NOW(6) WHERE id = ? AND workspace = ?";
static const char DELETE[] = "UPDATE tracking_logged_models SET lifecycle = 'deleted', updated_at = NOW(6)"
                             " WHERE id = ? AND workspace = ? AND lifecycle <> 'deleted'";
static const char UPSERT_TAG[] =
    "INSERT INTO tracking_logged_model_tags (workspace, project, model_id, name, value) VALUES (?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE value = VALUES(value)";
static const char DELETE_TAG[] = "DELETE FROM tracking_logged_model_tags WHERE model_id = ? AND name = ? AND workspace = ?";
static const char INSERT_PARAMETER[] =
    "INSERT IGNORE INTO tracking_logged_model_parameters (workspace, project, model_id, name, value) VALUES (?, ?, ?, ?, ?)";
static const char SELECT_PARAMETER[] =
    "SELECT name AS `key`, value FROM tracking_logged_model_parameters WHERE model_id = ? AND name = ?";

/* ---- Tags and parameters ------------------------------------------------------------------------------------------------------------- */

static purlin_status write_pairs(purlin_ctx *ctx, const logged_model *of, const logged_model_pair *pairs, size_t count,
                                 const char *statement) {
  pair_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    rows[i] = (pair_row){purlin_workspace(ctx), of->project, of->id, pairs[i].key, pairs[i].value};
  return purlin_db_bulk(ctx, pair_row, rows, count, statement);
}

/* Written once; the same value again is nothing, another one is a conflict. */
static purlin_status check_parameter(purlin_ctx *ctx, const logged_model *of, const logged_model_pair *pair) {
  logged_model_pair old;
  purlin_status status = purlin_db_row(ctx, logged_model_pair, &old, SELECT_PARAMETER, of->id, pair->key);
  if (status == PURLIN_OK && strcmp(old.value, pair->value) != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the parameter '%s' is '%.500s' already and cannot change", pair->key,
                       old.value);
  return status;
}

static purlin_status write_parameters(purlin_ctx *ctx, const logged_model *of, const logged_model_pair *pairs,
                                      size_t count) {
  if (count == 0) return PURLIN_OK;
  purlin_status status = write_pairs(ctx, of, pairs, count, INSERT_PARAMETER);
  if (status != PURLIN_OK || purlin_affected(ctx) == count) return status;
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) status = check_parameter(ctx, of, &pairs[i]);
  return status;
}

static purlin_status write_tags(purlin_ctx *ctx, const logged_model *of, const logged_model_pair *pairs, size_t count) {
  return count ? write_pairs(ctx, of, pairs, count, UPSERT_TAG) : PURLIN_OK;
}

/* ---- Made -------------------------------------------------------------------------------------------------------------------------------- */

/* As clients know ids of models: m- and 32 hexadecimal digits. */
static const char *new_id(purlin_ctx *ctx) {
  char digits[65];
  const char *random = purlin_new_id(ctx, "m");
  if (!random) return NULL;
  purlin_sha256(random, strlen(random), digits);
  return purlin_format(ctx, "m-%.32s", digits);
}

static purlin_status check_name(purlin_ctx *ctx, const char *name) {
  if (!strpbrk(name, "/:.%\"'")) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID,
                     "Invalid model name ('%.500s') provided. Model name must be a non-empty string and cannot contain"
                     " the following characters: ('/', ':', '.', '%%', '\"', \"'\")",
                     name);
}

PURLIN_OPERATION(create_logged_model, logged_model_new, logged_model,
    .summary = "Begin to log a model", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/logged-models") {
  tracking_experiment home;
  purlin_status status = check_name(ctx, in->name);
  if (status == PURLIN_OK) status = experiment_for_runs(ctx, NULL, in->experiment_id, &home);
  if (status != PURLIN_OK) return status;
  const char *id = in->id && *in->id ? in->id : new_id(ctx), *name = *in->name ? in->name : random_name(ctx);
  const char *uri = id ? purlin_format(ctx, "%s/models/%s/artifacts", home.artifact_location, id) : NULL;
  if (!id || !name || !uri) return PURLIN_TOO_LARGE;
  status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), home.project, home.id, name, in->model_type,
                         in->source_run_id, uri, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, PURLIN_CONFLICT, "There is a logged model '%s' already", id);
  if (status == PURLIN_OK) status = logged_model_find(ctx, id, false, "runs:write", out);
  if (status == PURLIN_OK) status = write_parameters(ctx, out, in->parameters.items, in->parameters.count);
  if (status == PURLIN_OK) status = write_tags(ctx, out, in->tags.items, in->tags.count);
  return status == PURLIN_OK ? logged_models_fill(ctx, out, 1) : status;
}

/* ---- Read and changed ------------------------------------------------------------------------------------------------------------------------ */

PURLIN_OPERATION(get_logged_model, logged_model_which, logged_model,
    .summary = "A logged model with its parameters, tags and metrics", .permission = "runs:read", .by_project = true,
    .http = "GET /api/v1/logged-models/{model_id}") {
  purlin_status status = logged_model_find(ctx, in->model_id, in->deleted, "runs:read", out);
  return status == PURLIN_OK ? logged_models_fill(ctx, out, 1) : status;
}

PURLIN_OPERATION(finish_logged_model, logged_model_end, logged_model,
    .summary = "Say whether all of a logged model is there", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_logged_model", .http = "POST /api/v1/logged-models/{model_id}/finish") {
  purlin_status status = logged_model_find(ctx, in->model_id, false, "runs:write", out);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, FINISH, in->status, in->model_id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = logged_model_find(ctx, in->model_id, false, "runs:write", out);
  return status == PURLIN_OK ? logged_models_fill(ctx, out, 1) : status;
}

/* Again is nothing: who lost the answer may ask again. */
PURLIN_OPERATION(delete_logged_model, logged_model_which, purlin_nothing,
    .summary = "Delete a logged model; its files stay until it is purged", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_logged_model", .http = "DELETE /api/v1/logged-models/{model_id}") {
  logged_model found;
  purlin_status status = logged_model_find(ctx, in->model_id, true, "runs:write", &found);
  return status == PURLIN_OK ? purlin_db_run(ctx, DELETE, in->model_id, purlin_workspace(ctx)) : status;
}

PURLIN_OPERATION(log_logged_model_parameters, logged_model_parameters, purlin_nothing,
    .summary = "Log parameters of a logged model", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_logged_model", .http = "POST /api/v1/logged-models/{model_id}/parameters") {
  logged_model found;
  purlin_status status = logged_model_find(ctx, in->model_id, false, "runs:write", &found);
  return status == PURLIN_OK ? write_parameters(ctx, &found, in->parameters.items, in->parameters.count) : status;
}

PURLIN_OPERATION(set_logged_model_tags, logged_model_tags, purlin_nothing,
    .summary = "Set tags of a logged model", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_logged_model", .http = "POST /api/v1/logged-models/{model_id}/tags") {
  logged_model found;
  purlin_status status = logged_model_find(ctx, in->model_id, false, "runs:write", &found);
  return status == PURLIN_OK ? write_tags(ctx, &found, in->tags.items, in->tags.count) : status;
}

PURLIN_OPERATION(delete_logged_model_tag, logged_model_tag, purlin_nothing,
    .summary = "Take a tag from a logged model", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_logged_model", .http = "DELETE /api/v1/logged-models/{model_id}/tags/{key}") {
  logged_model found;
  purlin_status status = logged_model_find(ctx, in->model_id, false, "runs:write", &found);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_TAG, in->model_id, in->key, purlin_workspace(ctx));
  if (status == PURLIN_OK && purlin_affected(ctx) == 0)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "No tag with key '%.255s' found for model with ID '%.64s'.", in->key,
                       in->model_id);
  return status;
}
