/* What clients of MLflow 2 say of the models of a run: a list in one of the run's tags. */
#include "logged_models.h"
#include "tracking.h"

/* A tag holds 8000 characters: a list that would be longer begins anew. Who asks again after a lost answer adds nothing. */
static const char APPEND[] =
    "INSERT INTO tracking_tags (workspace, project, experiment_id, run_id, started_at, name, value)"
    " SELECT r.workspace, r.project, r.experiment_id, r.id, r.started_at, ?, CONCAT('[', ?, ']') FROM tracking_runs r"
    " WHERE r.id = ? AND r.workspace = ? AND r.lifecycle = 'active' AND " PURLIN_VISIBLE(
        "r.project",
        "r.experiment_id") " ON DUPLICATE KEY UPDATE value = CASE"
                           " WHEN RIGHT(tracking_tags.value, CHAR_LENGTH(VALUES(value)) - 1) = SUBSTR(VALUES(value), 2) THEN tracking_tags.value"
                           " WHEN CHAR_LENGTH(tracking_tags.value) + CHAR_LENGTH(VALUES(value)) > 8000 THEN VALUES(value)"
                           " ELSE CONCAT(LEFT(tracking_tags.value, CHAR_LENGTH(tracking_tags.value) - 1), ', ', SUBSTR(VALUES(value), 2)) END";

enum { LONGEST_TAG = 8000 };

static size_t characters(purlin_json text) {
  size_t count = 0;
  for (size_t i = 0; i < text.size; i++) count += ((unsigned char)text.text[i] & 0xc0) != 0x80;
  return count;
}

PURLIN_OPERATION(record_model, logged_model_record, purlin_nothing,
    .summary = "Note in a tag of a run that it logged a model", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/models", .unaudited = "what a run says of itself; its creation and its end are entries") {
  if (in->model.size == 0 || in->model.text[0] != '{') return purlin_fail_field(ctx, "model", "must be an object");
  if (characters(in->model) + 2 > LONGEST_TAG)
    return purlin_fail_field(ctx, "model", "is longer than the %d characters of a tag", LONGEST_TAG);
  purlin_status status = purlin_db_run(ctx, APPEND, in->key, in->model, in->run_id, purlin_workspace(ctx),
                                       PURLIN_VISIBLE_TO(ctx, "runs:write"));
  run_place place;
  return status == PURLIN_OK && purlin_affected(ctx) == 0 ? run_writable(ctx, in->run_id, &place) : status;
}
