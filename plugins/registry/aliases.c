#include "registry.h"

static const char UPSERT[] =
    "INSERT INTO registry_aliases (workspace, project, model_id, alias, version, updated_at, updated_by)"
    " VALUES (?, ?, ?, ?, ?, NOW(6), ?)"
    " ON DUPLICATE KEY UPDATE version = VALUES(version), updated_at = VALUES(updated_at), updated_by = VALUES(updated_by)";
static const char REMOVE[] = "DELETE FROM registry_aliases WHERE model_id = ? AND alias = ?";
static const char SELECT_ONE[] =
    "SELECT alias, version, updated_at, updated_by FROM registry_aliases WHERE model_id = ? AND alias = ?";
static const char SELECT_ALL[] =
    "SELECT alias, version, updated_at, updated_by FROM registry_aliases WHERE model_id = ? ORDER BY alias LIMIT 1000";

typedef struct alias_event {
  const char *name, *alias;
  int64_t version;
  bool prompt;
} alias_event;
PURLIN_SCHEMA(alias_event, "An alias of a model",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(alias, "The alias"),
    PURLIN_REQUIRED(version, "Where it points now, or pointed at last"),
    PURLIN_REQUIRED(prompt, "Whether it is a prompt, and no model"));
PURLIN_EVENT(alias_moved, alias_event, "An alias points at another version");
PURLIN_EVENT(alias_deleted, alias_event, "An alias is gone");

static purlin_status alias_of(purlin_ctx *ctx, const registry_model *of, const char *alias, registry_alias *out) {
  purlin_status status = purlin_db_row(ctx, registry_alias, out, SELECT_ONE, of->id, alias);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "the model '%s' has no alias '%s'", of->name, alias)
                                    : status;
}

PURLIN_OPERATION(get_alias, registry_which_alias, registry_alias,
    .summary = "Where an alias points", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/aliases/{alias}") {
  registry_model of;
  purlin_status status = registry_find(ctx, in->name, "models:read", false, &of);
  return status == PURLIN_OK ? alias_of(ctx, &of, in->alias, out) : status;
}

PURLIN_OPERATION(set_alias, registry_set_alias, registry_alias,
    .summary = "Point an alias at a version", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_alias",
    .http = "PUT /api/v1/models/{name}/aliases/{alias}") {
  registry_model of;
  bool prompt = false;
  purlin_status status = registry_check_alias(ctx, in->alias);
  if (status == PURLIN_OK) status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &prompt);
  if (status != PURLIN_OK) return status;
  status = purlin_db_run(ctx, UPSERT, purlin_workspace(ctx), of.project, of.id, in->alias, in->version, purlin_actor(ctx));
  if (status == PURLIN_NOT_FOUND) /* the foreign key knows */
    return purlin_fail(ctx, status, "the model '%s' has no version %lld", in->name, (long long)in->version);
  const alias_event event = {in->name, in->alias, in->version, prompt};
  if (status == PURLIN_OK) status = purlin_emit(ctx, alias_moved, &event, in->name);
  return status == PURLIN_OK ? alias_of(ctx, &of, in->alias, out) : status;
}

PURLIN_OPERATION(delete_alias, registry_which_alias, purlin_nothing,
    .summary = "Remove an alias", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_alias",
    .http = "DELETE /api/v1/models/{name}/aliases/{alias}") {
  registry_model of;
  registry_alias found;
  bool prompt = false;
  purlin_status status = registry_find(ctx, in->name, "models:write", true, &of);
  if (status == PURLIN_OK) status = alias_of(ctx, &of, in->alias, &found);
  if (status == PURLIN_OK) status = registry_find_prompt(ctx, of.id, &prompt);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, REMOVE, of.id, in->alias);
  if (status != PURLIN_OK) return status;
  const alias_event event = {in->name, in->alias, found.version, prompt};
  return purlin_emit(ctx, alias_deleted, &event, in->name);
}

typedef struct alias_list {
  PURLIN_LIST_OF(registry_alias) aliases;
} alias_list;
PURLIN_SCHEMA(alias_list, "Aliases, by name", PURLIN_LIST(aliases, registry_alias, "The aliases"));

PURLIN_OPERATION(list_aliases, registry_which_model, alias_list,
    .summary = "The aliases of a model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/aliases") {
  registry_model of;
  purlin_status status = registry_find(ctx, in->name, "models:read", false, &of);
  return status == PURLIN_OK ? purlin_db_list(ctx, registry_alias, &out->aliases, SELECT_ALL, of.id) : status;
}
