#include "registry.h"

#define MODEL_COLUMNS "m.id, m.project, m.name, m.description, m.versions, m.created_at, m.updated_at, m.created_by"

static const char INSERT[] =
    "INSERT INTO registry_models (id, workspace, project, name, description, created_at, updated_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, NOW(6), NOW(6), ?)";
static const char SELECT_ONE[] = "SELECT " MODEL_COLUMNS " FROM registry_models m WHERE m.workspace = ? AND m.name = ?";
static const char SELECT_LOCKED[] =
    "SELECT " MODEL_COLUMNS " FROM registry_models m WHERE m.workspace = ? AND m.name = ? FOR UPDATE";
static const char SELECT_PAGE[] =
    "SELECT " MODEL_COLUMNS " FROM registry_models m"
    " WHERE m.workspace = ? AND " PURLIN_VISIBLE("m.project", "m.id") " AND m.name > ? ORDER BY m.name LIMIT ?";
static const char VISIBLE[] = PURLIN_VISIBLE("m.project", "m.id");
static const char DESCRIBE[] = "UPDATE registry_models SET description = ?, updated_at = NOW(6) WHERE id = ?";
static const char RENAME[] = "UPDATE registry_models SET name = ?, updated_at = NOW(6) WHERE id = ?";
static const char RENAME_VERSIONS[] = "UPDATE registry_versions SET model_name = ?, updated_at = NOW(6) WHERE model_id = ?";
static const char TOUCH[] = "UPDATE registry_models SET updated_at = NOW(6) WHERE id = ?";
static const char *const DELETE[] = {
    "DELETE t FROM registry_versions v STRAIGHT_JOIN registry_version_tags t ON t.version_id = v.id WHERE v.model_id = ?",
    "DELETE FROM registry_aliases WHERE model_id = ?",
    "DELETE FROM registry_versions WHERE model_id = ?",
    "DELETE FROM registry_model_tags WHERE model_id = ?",
    "DELETE FROM registry_models WHERE id = ?",
};

typedef struct model_event {
  const char *name;
  purlin_opt_text description, new_name;
  bool prompt;
  PURLIN_LIST_OF(registry_tag) tags;
} model_event;
PURLIN_SCHEMA(model_event, "A model",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_OPTIONAL(description, "What it is for"),
    PURLIN_OPTIONAL(new_name, "What it is called now"),
    PURLIN_REQUIRED(prompt, "Whether it is a prompt, and no model"),
    PURLIN_LIST(tags, registry_tag, "Its tags; none when they are long"));
PURLIN_EVENT(model_created, model_event, "A model was registered");
PURLIN_EVENT(model_renamed, model_event, "A model has another name");
PURLIN_EVENT(model_deleted, model_event, "A model was deleted, with its versions");

/* ---- What others use -------------------------------------------------------------------------------------------------------------------- */

purlin_status registry_find(purlin_ctx *ctx, const char *name, const char *permission, bool lock, registry_model *out) {
  purlin_status status = lock ? purlin_db_row(ctx, registry_model, out, SELECT_LOCKED, purlin_workspace(ctx), name)
                              : purlin_db_row(ctx, registry_model, out, SELECT_ONE, purlin_workspace(ctx), name);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "models:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no model named '%s'", name) : status;
}

purlin_status registry_find_whole(purlin_ctx *ctx, const char *name, const char *permission, registry_model *out) {
  purlin_status status = registry_find(ctx, name, permission, false, out);
  return status == PURLIN_OK ? registry_fill_models(ctx, out, 1) : status;
}

purlin_status registry_touch(purlin_ctx *ctx, const char *model_id) { return purlin_db_run(ctx, TOUCH, model_id); }

/* ---- Making ----------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(create_model, registry_create_model, registry_model,
    .summary = "Register a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/models") {
  const char *id = purlin_new_id(ctx, "mdl"), *project = purlin_project(ctx);
  purlin_status status = purlin_require_on(ctx, "models:write", project, NULL);
  if (status == PURLIN_OK) status = registry_check_name(ctx, in->name);
  if (status == PURLIN_OK) status = registry_check_description(ctx, in->description);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), project, in->name, in->description, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a model named '%s' exists already", in->name);
  if (status == PURLIN_OK)
    status = registry_set_tags(ctx, REGISTRY_MODEL_TAGS, id, project, in->tags.items, in->tags.count);
  if (status != PURLIN_OK) return status;
  model_event event = {.name = in->name, .description = in->description};
  event.prompt = registry_is_prompt(in->tags.items, in->tags.count);
  event.tags.items = in->tags.items;
  event.tags.count = registry_event_tags(in->tags.items, in->tags.count);
  status = purlin_emit(ctx, model_created, &event, in->name);
  return status == PURLIN_OK ? registry_find_whole(ctx, in->name, "models:write", out) : status;
}

/* ---- Looking ---------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(get_model, registry_which_model, registry_model,
    .summary = "A model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}") {
  return registry_find_whole(ctx, in->name, "models:read", out);
}

typedef struct list_models_in {
  const char *after;
  int64_t limit;
} list_models_in;
PURLIN_SCHEMA(list_models_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

PURLIN_OPERATION(list_models, list_models_in, registry_model_page,
    .summary = "The models that you may see", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models") {
  purlin_status status = purlin_db_list(ctx, registry_model, &out->models, SELECT_PAGE, purlin_workspace(ctx),
                                        PURLIN_VISIBLE_TO(ctx, "models:read"), in->after, in->limit);
  return status == PURLIN_OK ? registry_fill_models(ctx, out->models.items, out->models.count) : status;
}

static const purlin_search_key search_keys[] = {
    {.names = "name", .sql = "m.name", .never_null = true, .unique = true},
    {.names = "creation_timestamp, creation_time, created_at",
     .sql = "m.created_at",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true},
    {.names = "last_updated_timestamp, last_updated_time, timestamp, updated_at",
     .sql = "m.updated_at",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true},
};
static const purlin_search_entity search_entities[] = {
    {.names = "attribute, attr", .keys = search_keys, .key_count = sizeof search_keys / sizeof search_keys[0]},
    {.names = "tag, tags",
     .table = "registry_model_tags",
     .owner = "model_id",
     .scope = "workspace",
     .lenient = REGISTRY_PROMPT_TAG},
};
static const purlin_search model_search = {.entities = search_entities,
                                           .entity_count = sizeof search_entities / sizeof search_entities[0],
                                           .id = "m.id",
                                           .scope = "m.workspace",
                                           .order = "name ASC"};

PURLIN_OPERATION(search_models, registry_search, registry_model_page,
    .summary = "Look for models", .permission = "models:read", .by_project = true, .http = "POST /api/v1/models/search",
    .description = "By name, creation_timestamp, last_updated_timestamp and tags: name ILIKE '%churn%' AND tags.task = 'classification'.") {
  const purlin_search_asked asked = {in->condition, in->order, in->page, in->limit < 1000 ? in->limit : 1000};
  const char *workspace = purlin_workspace(ctx);
  purlin_search search = model_search;
  search.scopes = (purlin_texts){&workspace, 1};
  purlin_status status =
      purlin_db_search(ctx, registry_model, &out->models, &out->next_page, &search, &asked, MODEL_COLUMNS,
                       "registry_models m", VISIBLE, PURLIN_VISIBLE_TO(ctx, "models:read"));
  return status == PURLIN_OK ? registry_fill_models(ctx, out->models.items, out->models.count) : status;
}

/* ---- Changing --------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(update_model, registry_update_model, registry_model,
    .summary = "Describe a model anew", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_model",
    .http = "PATCH /api/v1/models/{name}") {
  registry_model of;
  purlin_status status = registry_check_description(ctx, in->description);
  if (status == PURLIN_OK) status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DESCRIBE, in->description, of.id);
  return status == PURLIN_OK ? registry_find_whole(ctx, in->name, "models:write", out) : status;
}

PURLIN_OPERATION(rename_model, registry_rename_model, registry_model,
    .summary = "Rename a model", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_model",
    .http = "POST /api/v1/models/{name}/rename",
    .description = "What was deployed goes on serving, under the name that it was deployed with.") {
  registry_model of;
  purlin_status status = registry_check_name(ctx, in->new_name);
  if (status == PURLIN_OK) status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, RENAME, in->new_name, of.id);
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a model named '%s' exists already", in->new_name);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, RENAME_VERSIONS, in->new_name, of.id);
  if (status == PURLIN_OK) status = registry_find_whole(ctx, in->new_name, "models:write", out);
  if (status != PURLIN_OK) return status;
  const model_event event = {.name = in->name,
                             .new_name = {PURLIN_SET, in->new_name},
                             .prompt = registry_is_prompt(out->tags.items, out->tags.count)};
  return purlin_emit(ctx, model_renamed, &event, in->name);
}

/* Deployments hold all that they serve by: registering ends here, and serving does not. */
PURLIN_OPERATION(delete_model, registry_which_model, purlin_nothing,
    .summary = "Delete a model with its versions", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_model",
    .http = "DELETE /api/v1/models/{name}",
    .description = "What was deployed goes on serving: an endpoint keeps what it needs of its version.") {
  registry_model of;
  model_event event = {.name = in->name};
  purlin_status status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &event.prompt);
  for (size_t i = 0; i < sizeof DELETE / sizeof DELETE[0] && status == PURLIN_OK; i++)
    status = purlin_db_run(ctx, DELETE[i], of.id);
  return status == PURLIN_OK ? purlin_emit(ctx, model_deleted, &event, in->name) : status;
}
