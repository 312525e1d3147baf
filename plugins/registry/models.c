#include "registry.h"

#define MODEL_COLUMNS "id, project, name, description, versions, created_at, created_by"

static const char INSERT[] =
    "INSERT INTO registry_models (id, workspace, project, name, description, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_ONE[] = "SELECT " MODEL_COLUMNS " FROM registry_models WHERE workspace = ? AND name = ?";
static const char SELECT_LOCKED[] =
    "SELECT " MODEL_COLUMNS " FROM registry_models WHERE workspace = ? AND name = ? FOR UPDATE";
static const char SELECT_PAGE[] =
    "SELECT " MODEL_COLUMNS
    " FROM registry_models WHERE workspace = ? AND " PURLIN_VISIBLE("project", "id") " AND name > ? ORDER BY name LIMIT ?";

purlin_status registry_model(purlin_ctx *ctx, const char *name, const char *permission, bool lock, model *out) {
  purlin_status status = lock ? purlin_db_row(ctx, model, out, SELECT_LOCKED, purlin_workspace(ctx), name)
                              : purlin_db_row(ctx, model, out, SELECT_ONE, purlin_workspace(ctx), name);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "models:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no model named '%s'", name) : status;
}

typedef struct create_model_in {
  const char *name;
  purlin_opt_text description;
} create_model_in;
PURLIN_SCHEMA(create_model_in, "A model to register",
    PURLIN_REQUIRED(name, "Unique in the workspace", REGISTRY_NAME_RULE),
    PURLIN_OPTIONAL(description, "What it is for", .max_length = 5000));

PURLIN_OPERATION(create_model, create_model_in, model,
    .summary = "Register a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/models") {
  purlin_status status = purlin_require_on(ctx, "models:write", purlin_project(ctx), NULL);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT, purlin_new_id(ctx, "mdl"), purlin_workspace(ctx), purlin_project(ctx), in->name,
                           in->description, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a model named '%s' exists already", in->name);
  if (status != PURLIN_OK) return status;
  return registry_model(ctx, in->name, "models:write", false, out);
}

typedef struct get_model_in {
  const char *name;
} get_model_in;
PURLIN_SCHEMA(get_model_in, "Which model", PURLIN_REQUIRED(name, "Its name", .max_length = 250));

PURLIN_OPERATION(get_model, get_model_in, model,
    .summary = "A model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}") {
  return registry_model(ctx, in->name, "models:read", false, out);
}

typedef struct list_models_in {
  const char *after;
  int64_t limit;
} list_models_in;
PURLIN_SCHEMA(list_models_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct model_page {
  PURLIN_LIST_OF(model) models;
} model_page;
PURLIN_SCHEMA(model_page, "Models, by name", PURLIN_LIST(models, model, "The models"));

PURLIN_OPERATION(list_models, list_models_in, model_page,
    .summary = "The models that you may see", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models") {
  return purlin_db_list(ctx, model, &out->models, SELECT_PAGE, purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "models:read"),
                        in->after, in->limit);
}
