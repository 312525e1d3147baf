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

typedef struct alias {
  const char *alias;
  int64_t version;
  purlin_time updated_at;
  const char *updated_by;
} alias;
PURLIN_SCHEMA(alias, "A name for a version",
    PURLIN_REQUIRED(alias, "The name"),
    PURLIN_REQUIRED(version, "The version it points at"),
    PURLIN_REQUIRED(updated_at, "Since when"),
    PURLIN_REQUIRED(updated_by, "Who moved it there"));

typedef struct alias_in {
  const char *name, *alias;
} alias_in;
PURLIN_SCHEMA(alias_in, "Which alias",
    PURLIN_REQUIRED(name, "The model", .max_length = 250),
    PURLIN_REQUIRED(alias, "The alias", .max_length = 250));

PURLIN_OPERATION(get_alias, alias_in, alias,
    .summary = "Where an alias points", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/aliases/{alias}") {
  model of;
  purlin_status status = registry_model(ctx, in->name, "models:read", false, &of);
  if (status != PURLIN_OK) return status;
  status = purlin_db_row(ctx, alias, out, SELECT_ONE, of.id, in->alias);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "the model '%s' has no alias '%s'", in->name, in->alias)
                                    : status;
}

typedef struct set_alias_in {
  const char *name, *alias;
  int64_t version;
} set_alias_in;
PURLIN_SCHEMA(set_alias_in, "Where an alias is to point",
    PURLIN_REQUIRED(name, "The model", .max_length = 250),
    PURLIN_REQUIRED(alias, "The alias", .pattern = "[A-Za-z_][A-Za-z0-9_-]*", .max_length = 250),
    PURLIN_REQUIRED(version, "The version", .min = 1, .max = 9e15));

typedef struct alias_event {
  const char *name, *alias;
  int64_t version;
} alias_event;
PURLIN_SCHEMA(alias_event, "An alias of a model",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(alias, "The alias"),
    PURLIN_REQUIRED(version, "Where it points now"));
PURLIN_EVENT(alias_moved, alias_event, "An alias points at another version");

PURLIN_OPERATION(set_alias, set_alias_in, alias,
    .summary = "Point an alias at a version", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_alias",
    .http = "PUT /api/v1/models/{name}/aliases/{alias}") {
  model of;
  purlin_status status = registry_model(ctx, in->name, "models:write", false, &of);
  if (status != PURLIN_OK) return status;
  status = purlin_db_run(ctx, UPSERT, purlin_workspace(ctx), of.project, of.id, in->alias, in->version, purlin_actor(ctx));
  if (status == PURLIN_NOT_FOUND) /* the foreign key knows */
    return purlin_fail(ctx, status, "the model '%s' has no version %lld", in->name, (long long)in->version);
  const alias_event event = {in->name, in->alias, in->version};
  if (status == PURLIN_OK) status = purlin_emit(ctx, alias_moved, &event, in->name);
  return status == PURLIN_OK ? purlin_db_row(ctx, alias, out, SELECT_ONE, of.id, in->alias) : status;
}

PURLIN_OPERATION(delete_alias, alias_in, purlin_nothing,
    .summary = "Remove an alias", .permission = "models:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_alias",
    .http = "DELETE /api/v1/models/{name}/aliases/{alias}") {
  model of;
  purlin_status status = registry_model(ctx, in->name, "models:write", false, &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, REMOVE, of.id, in->alias);
  if (status == PURLIN_OK && purlin_affected(ctx) == 0)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "the model '%s' has no alias '%s'", in->name, in->alias);
  return status;
}

typedef struct list_aliases_in {
  const char *name;
} list_aliases_in;
PURLIN_SCHEMA(list_aliases_in, "Which model", PURLIN_REQUIRED(name, "The model", .max_length = 250));
typedef struct alias_list {
  PURLIN_LIST_OF(alias) aliases;
} alias_list;
PURLIN_SCHEMA(alias_list, "Aliases, by name", PURLIN_LIST(aliases, alias, "The aliases"));

PURLIN_OPERATION(list_aliases, list_aliases_in, alias_list,
    .summary = "The aliases of a model", .permission = "models:read", .by_project = true, .http = "GET /api/v1/models/{name}/aliases") {
  model of;
  purlin_status status = registry_model(ctx, in->name, "models:read", false, &of);
  return status == PURLIN_OK ? purlin_db_list(ctx, alias, &out->aliases, SELECT_ALL, of.id) : status;
}
