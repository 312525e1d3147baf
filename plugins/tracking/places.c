#include "tracking.h"
#include <purlin/contracts/artifacts.h>

static const char SELECT_RUN[] =
    "SELECT project, experiment_id, lifecycle,"
    " COALESCE(artifact_uri, CONCAT('mlflow-artifacts:/', experiment_id, '/', id, '/artifacts')) AS uri"
    " FROM tracking_runs WHERE id = ? AND workspace = ?";
static const char SELECT_MODEL[] =
    "SELECT project, experiment_id, lifecycle, artifact_uri AS uri FROM tracking_logged_models"
    " WHERE id = ? AND workspace = ?";

static purlin_status locate(purlin_ctx *ctx, const char *what, const char *sql, const char *id, artifacts_owner *out) {
  purlin_status status = purlin_db_row(ctx, artifacts_owner, out, sql, id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = purlin_reach(ctx, "runs:read", "runs:read", out->project, out->experiment_id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no %s '%s'", what, id) : status;
}

PURLIN_OPERATION(locate_run, artifacts_which_owner, artifacts_owner,
    .summary = "Where the files of a run belong", .permission = "runs:read", .by_project = true) {
  return locate(ctx, "run", SELECT_RUN, in->id, out);
}

PURLIN_OPERATION(locate_logged_model, artifacts_which_owner, artifacts_owner,
    .summary = "Where the files of a logged model belong", .permission = "runs:read", .by_project = true) {
  return locate(ctx, "logged model", SELECT_MODEL, in->id, out);
}
