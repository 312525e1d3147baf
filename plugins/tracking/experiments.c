#include "tracking.h"

#define COLUMNS "id, project, name, description, created_at, created_by"

static const char INSERT[] =
    "INSERT INTO tracking_experiments (id, workspace, project, name, description, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_ONE[] = "SELECT " COLUMNS " FROM tracking_experiments WHERE workspace = ? AND name = ?";
static const char SELECT_PAGE[] = "SELECT " COLUMNS " FROM tracking_experiments WHERE workspace = ? AND " PURLIN_VISIBLE(
    "project", "id") " AND name > ? ORDER BY name LIMIT ?";

purlin_status tracking_experiment(purlin_ctx *ctx, const char *name, const char *permission, experiment *out) {
  purlin_status status = purlin_db_row(ctx, experiment, out, SELECT_ONE, purlin_workspace(ctx), name);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no experiment named '%s'", name) : status;
}

typedef struct create_experiment_in {
  const char *name;
  purlin_opt_text description;
} create_experiment_in;
PURLIN_SCHEMA(create_experiment_in, "An experiment to begin",
    PURLIN_REQUIRED(name, "Unique in the workspace", .pattern = "[^/]+", .max_length = 500),
    PURLIN_OPTIONAL(description, "What is tried", .max_length = 5000));

PURLIN_OPERATION(create_experiment, create_experiment_in, experiment,
    .summary = "Begin an experiment", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/experiments") {
  purlin_status status = purlin_require_on(ctx, "runs:write", purlin_project(ctx), NULL);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT, purlin_new_id(ctx, "exp"), purlin_workspace(ctx), purlin_project(ctx), in->name,
                           in->description, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "an experiment named '%s' exists already", in->name);
  return status == PURLIN_OK ? tracking_experiment(ctx, in->name, "runs:write", out) : status;
}

typedef struct get_experiment_in {
  const char *name;
} get_experiment_in;
PURLIN_SCHEMA(get_experiment_in, "Which experiment", PURLIN_REQUIRED(name, "Its name", .max_length = 500));

PURLIN_OPERATION(get_experiment, get_experiment_in, experiment,
    .summary = "An experiment", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/experiments/{name}") {
  return tracking_experiment(ctx, in->name, "runs:read", out);
}

typedef struct list_experiments_in {
  const char *after;
  int64_t limit;
} list_experiments_in;
PURLIN_SCHEMA(list_experiments_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct experiment_page {
  PURLIN_LIST_OF(experiment) experiments;
} experiment_page;
PURLIN_SCHEMA(experiment_page, "Experiments, by name", PURLIN_LIST(experiments, experiment, "The experiments"));

PURLIN_OPERATION(list_experiments, list_experiments_in, experiment_page,
    .summary = "The experiments that you may see", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/experiments") {
  return purlin_db_list(ctx, experiment, &out->experiments, SELECT_PAGE, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "runs:read"), in->after, in->limit);
}
