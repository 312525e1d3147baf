#include "permissions.h"
#include <purlin/contracts/tracking.h>
#include <string.h>

enum { MOST_ROLES = 100 };

/* ---- Grants -------------------------------------------------------------------------------------------------------------------- */

const char *permission_subject(purlin_ctx *ctx, const char *username) { return purlin_format(ctx, "user:%s", username); }

static const char *or_all(const char *text) { return text ? text : "*"; }
static purlin_opt_text maybe(const char *text) { return (purlin_opt_text){text ? PURLIN_SET : PURLIN_ABSENT, text}; }

typedef struct which_grants {
  const char *subject, *role, *project, *object;
  int64_t limit;
} which_grants;
PURLIN_SCHEMA(which_grants, "Which grants",
    PURLIN_REQUIRED(subject, "Of whom"), PURLIN_REQUIRED(role, "Of which role"), PURLIN_REQUIRED(project, "In which project"),
    PURLIN_REQUIRED(object, "For which object"), PURLIN_REQUIRED(limit, "At most so many"));

purlin_status permission_roles(purlin_ctx *ctx, const char *username, permission_place at, const char *role,
                               granted_roles *out) {
  const char *subject = permission_subject(ctx, username);
  if (!subject) return PURLIN_TOO_LARGE;
  return purlin_call(ctx, "access.list_grants", which_grants_schema(),
                     &(which_grants){subject, role, or_all(at.project), or_all(at.object), MOST_ROLES},
                     granted_roles_schema(), out);
}

typedef struct role_to_grant {
  const char *subject, *role;
  purlin_opt_text project, object;
} role_to_grant;
PURLIN_SCHEMA(role_to_grant, "A role to grant",
    PURLIN_REQUIRED(subject, "To whom"), PURLIN_REQUIRED(role, "Which"), PURLIN_OPTIONAL(project, "In which project"),
    PURLIN_OPTIONAL(object, "For which object"));

purlin_status permission_grant(purlin_ctx *ctx, const char *username, permission_place at, const char *role) {
  const char *subject = permission_subject(ctx, username);
  granted_role made = {0};
  if (!subject) return PURLIN_TOO_LARGE;
  return purlin_call(ctx, "access.grant_role", role_to_grant_schema(),
                     &(role_to_grant){subject, role, maybe(at.project), maybe(at.object)}, granted_role_schema(), &made);
}

typedef struct grant_id {
  const char *id;
} grant_id;
PURLIN_SCHEMA(grant_id, "Which grant", PURLIN_REQUIRED(id, "Its id"));

purlin_status permission_revoke(purlin_ctx *ctx, const granted_roles *of) {
  purlin_status status = PURLIN_OK;
  purlin_nothing done;
  for (size_t i = 0; i < of->grants.count && status == PURLIN_OK; i++)
    status = purlin_call(ctx, "access.revoke_grant", grant_id_schema(), &(grant_id){of->grants.items[i].id},
                         purlin_nothing_schema(), &done);
  return status;
}

/* ---- What a permission is ---------------------------------------------------------------------------------------------------------- */

/* From the least to the most. */
static const struct {
  const char *name, *role;
} levels[] = {{"READ", "viewer"}, {"USE", "caller"}, {"EDIT", "editor"}, {"MANAGE", "owner"}};

enum { LEVELS = sizeof levels / sizeof levels[0] };

static purlin_status role_of(purlin_ctx *ctx, const char *permission, const char **role) {
  for (size_t i = 0; i < LEVELS; i++)
    if (strcmp(levels[i].name, permission) == 0) return *role = levels[i].role, PURLIN_OK;
  if (strcmp(permission, "NO_PERMISSIONS") == 0 || strcmp(permission, "DENY") == 0)
    return purlin_fail(ctx, PURLIN_INVALID,
                       "Invalid permission '%s'. Nobody gets in without a permission here, and nothing denies what a role"
                       " in the whole workspace gives: delete the permission, or take that role away",
                       permission);
  return purlin_fail(ctx, PURLIN_INVALID,
                     "Invalid permission '%s'. Valid permissions are: ('READ', 'USE', 'EDIT', 'MANAGE')", permission);
}

/* The most that a list of roles gives. Whatever else was granted there reads at least. */
static const char *level_of(const granted_roles *of) {
  size_t most = 0;
  for (size_t i = 0; i < of->grants.count; i++)
    for (size_t level = most + 1; level < LEVELS; level++)
      if (strcmp(levels[level].role, of->grants.items[i].role) == 0) most = level;
  return levels[most].name;
}

/* ---- What it is for ----------------------------------------------------------------------------------------------------------------- */

typedef struct placed {
  const char *id, *project;
} placed;
PURLIN_SCHEMA(placed, "An object and where it is", PURLIN_REQUIRED(id, "Its id"), PURLIN_REQUIRED(project, "Its project"));

static purlin_status find_experiment(purlin_ctx *ctx, const char *id, permission_place *out) {
  placed found = {0};
  purlin_status status = purlin_call(ctx, "tracking.get_experiment", tracking_which_experiment_schema(),
                                     &(tracking_which_experiment){.name = "", .id = id}, placed_schema(), &found);
  *out = (permission_place){found.project, found.id};
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "No Experiment with id=%s exists", id) : status;
}

typedef struct model_name {
  const char *name;
} model_name;
PURLIN_SCHEMA(model_name, "Which model", PURLIN_REQUIRED(name, "Its name"));

static purlin_status find_model(purlin_ctx *ctx, const char *name, permission_place *out) {
  placed found = {0};
  purlin_status status =
      purlin_call(ctx, "registry.get_model", model_name_schema(), &(model_name){name}, placed_schema(), &found);
  *out = (permission_place){found.project, found.id};
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "Registered Model with name=%s not found", name) : status;
}

/* What permissions are for, and which of ours each one needs. */
typedef struct resource {
  const char *type;
  purlin_status (*find)(purlin_ctx *ctx, const char *name, permission_place *out);
  const char *needs[LEVELS];
} resource;

static const resource resources[] = {
    {"experiment", find_experiment, {"runs:read", NULL, "runs:write", "access:write"}},
    {"registered_model", find_model, {"models:read", "models:predict", "models:write", "access:write"}},
    {"prompt", find_model, {"models:read", NULL, "models:write", "access:write"}},
};

static const resource *resource_of(purlin_ctx *ctx, const char *type) {
  for (size_t i = 0; i < sizeof resources / sizeof resources[0]; i++)
    if (strcmp(resources[i].type, type) == 0) return &resources[i];
  (void)purlin_fail(ctx, PURLIN_INVALID,
                    "resource_type '%s' is not supported by the per-user permission convenience APIs. Supported are:"
                    " ('experiment', 'registered_model', 'prompt')",
                    type);
  return NULL;
}

/* ---- Any of them: what clients of 3.x ask --------------------------------------------------------------------------------------------- */

#define USERNAME_FIELD PURLIN_REQUIRED(username, "The login name", .min_length = 1, .max_length = 64)
#define PERMISSION_FIELD PURLIN_REQUIRED(permission, "READ, USE, EDIT or MANAGE", .max_length = 64)
#define RESOURCE_FIELDS                                                                                                    \
  PURLIN_REQUIRED(resource_type, "experiment, registered_model or prompt", .max_length = 64),                              \
      PURLIN_REQUIRED(resource_id, "The id of the experiment, or the name of the model", .min_length = 1,                  \
                      .max_length = 1000)

typedef struct mlflow_resource_permission {
  const char *username, *resource_type, *resource_id, *permission;
} mlflow_resource_permission;
PURLIN_SCHEMA(mlflow_resource_permission, "A permission to give", USERNAME_FIELD, RESOURCE_FIELDS, PERMISSION_FIELD);

typedef struct mlflow_resource {
  const char *username, *resource_type, *resource_id;
} mlflow_resource;
PURLIN_SCHEMA(mlflow_resource, "Whose permission for what", USERNAME_FIELD, RESOURCE_FIELDS);

static bool is_all(const char *id) { return strcmp(id, "*") == 0; }

/* Where, and the roles that were granted to the user there. */
static purlin_status look_up(purlin_ctx *ctx, const resource *of, const char *username, const char *id,
                             permission_place *at, granted_roles *found) {
  if (is_all(id))
    return purlin_fail(ctx, PURLIN_INVALID,
                       "resource_id '*' is not supported: a role in the whole workspace (purlin access grant-role) gives"
                       " more than one kind of thing");
  purlin_status status = user_exists(ctx, username);
  if (status == PURLIN_OK) status = of->find(ctx, id, at);
  return status == PURLIN_OK ? permission_roles(ctx, username, *at, "", found) : status;
}

static purlin_status give(purlin_ctx *ctx, const resource *of, const char *username, const char *id, const char *permission,
                          const char *present) {
  const char *role;
  permission_place at;
  granted_roles found = {0};
  purlin_status status = role_of(ctx, permission, &role);
  if (status == PURLIN_OK) status = look_up(ctx, of, username, id, &at, &found);
  if (status != PURLIN_OK) return status;
  if (found.grants.count > 0) return purlin_fail(ctx, PURLIN_CONFLICT, "%s", present);
  return permission_grant(ctx, username, at, role);
}

/* Whatever they were granted there goes; in its place comes `permission`, or nothing for NULL. */
static purlin_status replace(purlin_ctx *ctx, const resource *of, const char *username, const char *id,
                             const char *permission, const char *missing) {
  const char *role = NULL;
  permission_place at;
  granted_roles found = {0};
  purlin_status status = permission ? role_of(ctx, permission, &role) : PURLIN_OK;
  if (status == PURLIN_OK) status = look_up(ctx, of, username, id, &at, &found);
  if (status != PURLIN_OK) return status;
  if (found.grants.count == 0) return purlin_fail(ctx, PURLIN_NOT_FOUND, "%s", missing);
  status = permission_revoke(ctx, &found);
  return status == PURLIN_OK && role ? permission_grant(ctx, username, at, role) : status;
}

static const char *name_resource(purlin_ctx *ctx, const char *username, const char *type, const char *id, const char *end) {
  return purlin_format(ctx, "Permission for user=%s on resource_type=%s, resource_id=%s %s", username, type, id, end);
}

MLFLOW_BINDING(grant_permission, mlflow_resource_permission, purlin_nothing, "POST /api/3.0/mlflow/users/permissions/grant",
               "access.grant_role") {
  const resource *of = resource_of(ctx, in->resource_type);
  const char *present = name_resource(ctx, in->username, in->resource_type, in->resource_id, "already exists.");
  if (!of) return PURLIN_INVALID;
  return present ? give(ctx, of, in->username, in->resource_id, in->permission, present) : PURLIN_TOO_LARGE;
}

MLFLOW_BINDING(revoke_permission, mlflow_resource, purlin_nothing, "POST /api/3.0/mlflow/users/permissions/revoke",
               "access.revoke_grant") {
  const resource *of = resource_of(ctx, in->resource_type);
  const char *missing = name_resource(ctx, in->username, in->resource_type, in->resource_id, "not found.");
  if (!of) return PURLIN_INVALID;
  return missing ? replace(ctx, of, in->username, in->resource_id, NULL, missing) : PURLIN_TOO_LARGE;
}

typedef struct held_permissions_in {
  const char *subject;
  purlin_texts permissions;
  purlin_opt_text project, object;
} held_permissions_in;
PURLIN_SCHEMA(held_permissions_in, "What is asked about",
    PURLIN_REQUIRED(subject, "Whom"), PURLIN_REQUIRED(permissions, "Which"), PURLIN_OPTIONAL(project, "In which project"),
    PURLIN_OPTIONAL(object, "For which object"));

typedef struct held_permissions {
  purlin_texts permissions;
} held_permissions;
PURLIN_SCHEMA(held_permissions, "What is held", PURLIN_REQUIRED(permissions, "Which of them"));

static bool holds(const held_permissions *held, const char *permission) {
  for (size_t i = 0; permission && i < held->permissions.count; i++)
    if (strcmp(held->permissions.items[i], permission) == 0) return true;
  return false;
}

typedef struct mlflow_held_permission {
  bool allowed;
  const char *permission;
} mlflow_held_permission;
PURLIN_SCHEMA(mlflow_held_permission, "What a user may do",
    PURLIN_REQUIRED(allowed, "Whether that is USE or more"),
    PURLIN_REQUIRED(permission, "READ, USE, EDIT, MANAGE or NO_PERMISSIONS"));

/* Of what is not there, or not for the caller to see, nothing is permitted: the answers are the same. */
MLFLOW_BINDING(get_permission, mlflow_resource, mlflow_held_permission, "GET /api/3.0/mlflow/users/permissions/get",
               "access.check_permissions") {
  *out = (mlflow_held_permission){false, "NO_PERMISSIONS"};
  const resource *of = resource_of(ctx, in->resource_type);
  const char *subject = permission_subject(ctx, in->username);
  permission_place at = {0};
  if (!of) return PURLIN_INVALID;
  if (!subject) return PURLIN_TOO_LARGE;
  purlin_status status = user_exists(ctx, in->username);
  if (status == PURLIN_OK && !is_all(in->resource_id)) {
    status = of->find(ctx, in->resource_id, &at);
    if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  }
  const char *asked[LEVELS];
  size_t count = 0;
  for (size_t i = 0; i < LEVELS; i++)
    if (of->needs[i]) asked[count++] = of->needs[i];
  held_permissions held = {0};
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "access.check_permissions", held_permissions_in_schema(),
                         &(held_permissions_in){subject, {asked, count}, maybe(at.project), maybe(at.object)},
                         held_permissions_schema(), &held);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < LEVELS && (holds(&held, of->needs[i]) || !of->needs[i]); i++)
    if (of->needs[i]) *out = (mlflow_held_permission){i >= 1, levels[i].name};
  return PURLIN_OK;
}

/* ---- Of experiments: what clients of 2.x ask -------------------------------------------------------------------------------------------- */

static const resource *const experiments = &resources[0], *const models = &resources[1];

#define EXPERIMENT_FIELD PURLIN_REQUIRED(experiment_id, "The id of the experiment", .min_length = 1, .max_length = 64)

typedef struct mlflow_experiment_permission_in {
  const char *experiment_id, *username, *permission;
} mlflow_experiment_permission_in;
PURLIN_SCHEMA(mlflow_experiment_permission_in, "A permission for an experiment", EXPERIMENT_FIELD, USERNAME_FIELD, PERMISSION_FIELD);

typedef struct mlflow_experiment_of_user {
  const char *experiment_id, *username;
} mlflow_experiment_of_user;
PURLIN_SCHEMA(mlflow_experiment_of_user, "Whose permission for an experiment", EXPERIMENT_FIELD, USERNAME_FIELD);

typedef struct mlflow_experiment_permission {
  const char *experiment_id, *user_id, *permission;
} mlflow_experiment_permission;
PURLIN_SCHEMA(mlflow_experiment_permission, "A permission for an experiment",
    PURLIN_REQUIRED(experiment_id, "The id of the experiment"), PURLIN_REQUIRED(user_id, "The login name"), PURLIN_REQUIRED(permission, "READ, USE, EDIT or MANAGE"));

typedef struct mlflow_experiment_permission_answer {
  mlflow_experiment_permission experiment_permission;
} mlflow_experiment_permission_answer;
PURLIN_SCHEMA(mlflow_experiment_permission_answer, "A permission for an experiment",
    PURLIN_OBJECT(experiment_permission, mlflow_experiment_permission, "The permission"));

static const char *no_experiment_permission(purlin_ctx *ctx, const char *id, const char *username) {
  return purlin_format(ctx, "Experiment permission with experiment_id=%s and username=%s not found", id, username);
}

MLFLOW_BINDING(create_experiment_permission, mlflow_experiment_permission_in, mlflow_experiment_permission_answer,
               "POST /api/2.0/mlflow/experiments/permissions/create", "access.grant_role") {
  const char *present = purlin_format(ctx, "Experiment permission (experiment_id=%s, username=%s) already exists.",
                                      in->experiment_id, in->username);
  if (!present) return PURLIN_TOO_LARGE;
  out->experiment_permission = (mlflow_experiment_permission){in->experiment_id, in->username, in->permission};
  return give(ctx, experiments, in->username, in->experiment_id, in->permission, present);
}

MLFLOW_BINDING(get_experiment_permission, mlflow_experiment_of_user, mlflow_experiment_permission_answer,
               "GET /api/2.0/mlflow/experiments/permissions/get", "access.list_grants") {
  permission_place at;
  granted_roles found = {0};
  const char *missing = no_experiment_permission(ctx, in->experiment_id, in->username);
  if (!missing) return PURLIN_TOO_LARGE;
  purlin_status status = look_up(ctx, experiments, in->username, in->experiment_id, &at, &found);
  if (status != PURLIN_OK) return status;
  if (found.grants.count == 0) return purlin_fail(ctx, PURLIN_NOT_FOUND, "%s", missing);
  out->experiment_permission = (mlflow_experiment_permission){in->experiment_id, in->username, level_of(&found)};
  return PURLIN_OK;
}

MLFLOW_BINDING(update_experiment_permission, mlflow_experiment_permission_in, purlin_nothing,
               "PATCH /api/2.0/mlflow/experiments/permissions/update", "access.grant_role") {
  const char *missing = no_experiment_permission(ctx, in->experiment_id, in->username);
  return missing ? replace(ctx, experiments, in->username, in->experiment_id, in->permission, missing) : PURLIN_TOO_LARGE;
}

MLFLOW_BINDING(delete_experiment_permission, mlflow_experiment_of_user, purlin_nothing,
               "DELETE /api/2.0/mlflow/experiments/permissions/delete", "access.revoke_grant") {
  const char *missing = no_experiment_permission(ctx, in->experiment_id, in->username);
  return missing ? replace(ctx, experiments, in->username, in->experiment_id, NULL, missing) : PURLIN_TOO_LARGE;
}

/* ---- Of registered models ----------------------------------------------------------------------------------------------------------------- */

#define MODEL_FIELD PURLIN_REQUIRED(name, "The name of the model", .min_length = 1, .max_length = 1000)

typedef struct mlflow_model_permission_in {
  const char *name, *username, *permission;
} mlflow_model_permission_in;
PURLIN_SCHEMA(mlflow_model_permission_in, "A permission for a model", MODEL_FIELD, USERNAME_FIELD, PERMISSION_FIELD);

typedef struct mlflow_model_of_user {
  const char *name, *username;
} mlflow_model_of_user;
PURLIN_SCHEMA(mlflow_model_of_user, "Whose permission for a model", MODEL_FIELD, USERNAME_FIELD);

typedef struct mlflow_model_permission {
  const char *name, *user_id, *permission;
} mlflow_model_permission;
PURLIN_SCHEMA(mlflow_model_permission, "A permission for a model",
    PURLIN_REQUIRED(name, "The name of the model"), PURLIN_REQUIRED(user_id, "The login name"), PURLIN_REQUIRED(permission, "READ, USE, EDIT or MANAGE"));

typedef struct mlflow_model_permission_answer {
  mlflow_model_permission registered_model_permission;
} mlflow_model_permission_answer;
PURLIN_SCHEMA(mlflow_model_permission_answer, "A permission for a model",
    PURLIN_OBJECT(registered_model_permission, mlflow_model_permission, "The permission"));

static const char *no_model_permission(purlin_ctx *ctx, const char *name, const char *username) {
  return purlin_format(ctx, "Registered model permission with name=%s and username=%s not found", name, username);
}

MLFLOW_BINDING(create_model_permission, mlflow_model_permission_in, mlflow_model_permission_answer,
               "POST /api/2.0/mlflow/registered-models/permissions/create", "access.grant_role") {
  const char *present =
      purlin_format(ctx, "Registered model permission (name=%s, username=%s) already exists.", in->name, in->username);
  if (!present) return PURLIN_TOO_LARGE;
  out->registered_model_permission = (mlflow_model_permission){in->name, in->username, in->permission};
  return give(ctx, models, in->username, in->name, in->permission, present);
}

MLFLOW_BINDING(get_model_permission, mlflow_model_of_user, mlflow_model_permission_answer,
               "GET /api/2.0/mlflow/registered-models/permissions/get", "access.list_grants") {
  permission_place at;
  granted_roles found = {0};
  const char *missing = no_model_permission(ctx, in->name, in->username);
  if (!missing) return PURLIN_TOO_LARGE;
  purlin_status status = look_up(ctx, models, in->username, in->name, &at, &found);
  if (status != PURLIN_OK) return status;
  if (found.grants.count == 0) return purlin_fail(ctx, PURLIN_NOT_FOUND, "%s", missing);
  out->registered_model_permission = (mlflow_model_permission){in->name, in->username, level_of(&found)};
  return PURLIN_OK;
}

MLFLOW_BINDING(update_model_permission, mlflow_model_permission_in, purlin_nothing,
               "PATCH /api/2.0/mlflow/registered-models/permissions/update", "access.grant_role") {
  const char *missing = no_model_permission(ctx, in->name, in->username);
  return missing ? replace(ctx, models, in->username, in->name, in->permission, missing) : PURLIN_TOO_LARGE;
}

MLFLOW_BINDING(delete_model_permission, mlflow_model_of_user, purlin_nothing,
               "DELETE /api/2.0/mlflow/registered-models/permissions/delete", "access.revoke_grant") {
  const char *missing = no_model_permission(ctx, in->name, in->username);
  return missing ? replace(ctx, models, in->username, in->name, NULL, missing) : PURLIN_TOO_LARGE;
}
