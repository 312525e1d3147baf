#include "traces.h"
#include <purlin/contracts/artifacts.h>

static const char SELECT_TRACE[] =
    "SELECT project, experiment_id, artifact_location AS uri, 'active' AS lifecycle FROM traces_traces"
    " WHERE workspace = ? AND id = ?";

PURLIN_OPERATION(locate, artifacts_which_owner, artifacts_owner,
    .summary = "Where the files of a trace belong", .permission = "runs:read", .by_project = true) {
  purlin_status status = purlin_db_row(ctx, artifacts_owner, out, SELECT_TRACE, purlin_workspace(ctx), in->id);
  if (status == PURLIN_OK) status = purlin_reach(ctx, "runs:read", "runs:read", out->project, out->experiment_id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no trace '%s'", in->id) : status;
}
