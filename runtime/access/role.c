/* role.c: what a role permits: the built-in ones, the same everywhere, and those that a workspace made for itself. */
#include "access/identity.h"
#include <purlin/operation.h>
#include <string.h>

enum { MOST_PERMISSIONS = 200 };

/* ---- The built-in roles --------------------------------------------------------------------------------------------------------- */

#define TEXTS(...)                                                                                                         \
  { (const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *) }

static const struct {
  const char *name, *summary;
  purlin_texts permissions;
} builtin[] = {
    {"owner", "Everything, and who else may do what", TEXTS("*")},
    {"editor", "Works on models, data, runs and trainings",
     TEXTS("*:read", "models:write", "models:predict", "models:feedback", "datasets:write", "runs:write", "training:write",
           "drift:write")},
    {"operator", "Deploys, watches and repairs",
     TEXTS("*:read", "models:deploy", "models:predict", "models:feedback", "jobs:write", "events:write", "drift:write",
           "training:write", "server:write")},
    {"approver", "Reads, and approves versions for production", TEXTS("*:read", "models:approve", "models:deploy")},
    {"viewer", "Reads", TEXTS("*:read")},
    {"caller", "Reads, and asks models for predictions", TEXTS("*:read", "models:predict", "models:feedback")},
    {"auditor", "Reads, the audit log too", TEXTS("*:read", "audit:read")},
};

const purlin_texts *role_builtin(const char *name) {
  for (size_t i = 0; i < sizeof builtin / sizeof builtin[0]; i++)
    if (strcmp(builtin[i].name, name) == 0) return &builtin[i].permissions;
  return NULL;
}

/* ---- Roles of a workspace ----------------------------------------------------------------------------------------------------------- */

typedef struct role {
  const char *name, *summary;
  purlin_texts permissions;
  bool builtin;
} role;
PURLIN_SCHEMA(role, "A role: a name for permissions",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(summary, "What it is for"),
    PURLIN_REQUIRED(permissions, "What it permits: \"models:write\", \"models:*\", \"*:read\" (but for audit:read), \"*\""),
    PURLIN_REQUIRED(builtin, "Whether it is the same in every workspace"));

static const char SELECT_ROLE[] =
    "SELECT name, summary, permissions, FALSE AS builtin FROM access_roles WHERE workspace = ? AND name = ?";
static const char SELECT_ROLES[] =
    "SELECT name, summary, permissions, FALSE AS builtin FROM access_roles WHERE workspace = ? ORDER BY name";
static const char INSERT_ROLE[] = "INSERT INTO access_roles (workspace, name, summary, permissions, created_at, created_by)"
                                  " VALUES (?, ?, ?, ?, NOW(6), ?)";
/* Not while it is granted: what was given away under its name would change silently. */
static const char DELETE_ROLE[] =
    "DELETE FROM access_roles WHERE workspace = ? AND name = ? AND NOT EXISTS"
    " (SELECT 1 FROM access_grants g WHERE g.workspace = access_roles.workspace AND g.role = access_roles.name)";

purlin_status role_permissions(purlin_ctx *ctx, const char *workspace, const char *name, purlin_texts *out) {
  const purlin_texts *known = role_builtin(name);
  if (known) return *out = *known, PURLIN_OK;
  role found;
  purlin_status status = purlin_db_row(ctx, role, &found, SELECT_ROLE, workspace, name);
  if (status == PURLIN_OK) *out = found.permissions;
  return status;
}

typedef struct role_list {
  PURLIN_LIST_OF(role) roles;
} role_list;
PURLIN_SCHEMA(role_list, "Roles", PURLIN_LIST(roles, role, "The built-in ones, then the workspace's own"));

PURLIN_OPERATION(access_list_roles, purlin_nothing, role_list,
    .summary = "The roles that can be granted", .permission = "access:read", .by_project = true, .http = "GET /api/v1/access/roles") {
  role_list own = {0};
  purlin_status status = purlin_db_list(ctx, role, &own.roles, SELECT_ROLES, purlin_workspace(ctx));
  if (status != PURLIN_OK) return status;
  size_t count = sizeof builtin / sizeof builtin[0];
  out->roles.items = purlin_alloc_array(ctx, count + own.roles.count, sizeof *out->roles.items);
  if (!out->roles.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    out->roles.items[out->roles.count++] = (role){builtin[i].name, builtin[i].summary, builtin[i].permissions, true};
  for (size_t i = 0; i < own.roles.count; i++) out->roles.items[out->roles.count++] = own.roles.items[i];
  return PURLIN_OK;
}

typedef struct create_role_in {
  const char *name, *summary;
  purlin_texts permissions;
} create_role_in;
PURLIN_SCHEMA(create_role_in, "A role to make",
    PURLIN_REQUIRED(name, "Unique in the workspace", .pattern = "[a-z][a-z0-9_-]*", .max_length = 64),
    PURLIN_REQUIRED(summary, "What it is for", .max_length = 250),
    PURLIN_REQUIRED(permissions, "What it permits; nothing that you do not hold yourself", .min_length = 1, .max_length = MOST_PERMISSIONS));

PURLIN_OPERATION(access_create_role, create_role_in, role,
    .summary = "Make a role", .permission = "access:write", .effect = PURLIN_CREATES, .http = "POST /api/v1/access/roles") {
  if (role_builtin(in->name)) return purlin_fail(ctx, PURLIN_CONFLICT, "the role '%s' is built in", in->name);
  if (!access_holds_all(ctx->who, in->permissions, NULL, NULL))
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "a role may permit only what you hold yourself in the whole workspace");
  purlin_status status = purlin_db_run(ctx, INSERT_ROLE, purlin_workspace(ctx), in->name, in->summary,
                                       purlin_list_json(ctx, in->permissions), purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a role named '%s' exists already", in->name);
  *out = (role){in->name, in->summary, in->permissions, false};
  return status;
}

typedef struct role_name_in {
  const char *name;
} role_name_in;
PURLIN_SCHEMA(role_name_in, "Which role", PURLIN_REQUIRED(name, "Its name", .max_length = 64));

PURLIN_OPERATION(access_get_role, role_name_in, role,
    .summary = "A role and what it permits", .permission = "access:read", .by_project = true, .http = "GET /api/v1/access/roles/{name}") {
  for (size_t i = 0; i < sizeof builtin / sizeof builtin[0]; i++)
    if (strcmp(builtin[i].name, in->name) == 0)
      return *out = (role){builtin[i].name, builtin[i].summary, builtin[i].permissions, true}, PURLIN_OK;
  purlin_status status = purlin_db_row(ctx, role, out, SELECT_ROLE, purlin_workspace(ctx), in->name);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "there is no role '%s'", in->name) : status;
}

PURLIN_OPERATION(access_delete_role, role_name_in, purlin_nothing,
    .summary = "Take a role away that nobody is granted any more", .permission = "access:write", .effect = PURLIN_CHANGES, .object = "access_get_role",
    .http = "DELETE /api/v1/access/roles/{name}") {
  (void)out;
  if (role_builtin(in->name)) return purlin_fail(ctx, PURLIN_CONFLICT, "the role '%s' is built in", in->name);
  purlin_status status = purlin_db_run(ctx, DELETE_ROLE, purlin_workspace(ctx), in->name);
  if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
  role found;
  status = purlin_db_row(ctx, role, &found, SELECT_ROLE, purlin_workspace(ctx), in->name);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "there is no role '%s'", in->name);
  return status == PURLIN_OK ? purlin_fail(ctx, PURLIN_CONFLICT, "the role '%s' is still granted", in->name) : status;
}
