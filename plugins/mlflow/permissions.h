/* permissions.h: MLflow's permissions as roles that are granted to users.
 *
 * READ is the role viewer, USE caller, EDIT editor and MANAGE owner: granted for one experiment or one registered model, and an
 * administrator is an owner of the whole workspace. A role that was granted elsewhere is seen here, and the other way round. There is
 * nothing that denies: without a role nobody gets in. */
#ifndef MLFLOW_PERMISSIONS_H
#define MLFLOW_PERMISSIONS_H

#include "mlflow.h"

/* What it is granted for: an experiment or a model by its id, in its project; all NULL: everything of the workspace. */
typedef struct permission_place {
  const char *project, *object;
} permission_place;

/* A grant, as access.list_grants tells it. */
typedef struct granted_role {
  const char *id, *role;
} granted_role;
PURLIN_SCHEMA(granted_role, "A granted role", PURLIN_REQUIRED(id, "Its id"), PURLIN_REQUIRED(role, "The role"));

typedef struct granted_roles {
  PURLIN_LIST_OF(granted_role) grants;
} granted_roles;
PURLIN_SCHEMA(granted_roles, "Granted roles", PURLIN_LIST(grants, granted_role, "The grants"));

/* "user:NAME", arena; NULL without memory. */
const char *permission_subject(purlin_ctx *ctx, const char *username);
/* The roles that a user was granted for exactly that; `role` "": any. May park. */
PURLIN_CHECKED purlin_status permission_roles(purlin_ctx *ctx, const char *username, permission_place at, const char *role,
                                              granted_roles *out);
/* Grants one; takes all of a list away. May park. */
PURLIN_CHECKED purlin_status permission_grant(purlin_ctx *ctx, const char *username, permission_place at, const char *role);
PURLIN_CHECKED purlin_status permission_revoke(purlin_ctx *ctx, const granted_roles *of);

/* Whether there is such a user, as far as the caller may know: PURLIN_NOT_FOUND is recorded in MLflow's words. May park. */
PURLIN_CHECKED purlin_status user_exists(purlin_ctx *ctx, const char *username);

#endif
