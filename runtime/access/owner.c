/* owner.c: a workspace always has an owner who can come in. */
#include "access/identity.h"
#include "operation/operation.h"
#include <string.h>

typedef struct owner_row {
  const char *subject;
  bool has_key;
} owner_row;
PURLIN_SCHEMA(owner_row, "Who owns the workspace",
    PURLIN_REQUIRED(subject, "Who: \"user:ana\""),
    PURLIN_REQUIRED(has_key, "Whether a key that is not narrowed acts for them"));

typedef struct owner_rows {
  PURLIN_LIST_OF(owner_row) rows;
} owner_rows;

typedef struct found_row {
  bool found;
} found_row;
PURLIN_SCHEMA(found_row, "Whether there is such a row", PURLIN_REQUIRED(found, "It is there"));

typedef struct workspace_row {
  const char *id;
} workspace_row;
PURLIN_SCHEMA(workspace_row, "A workspace", PURLIN_REQUIRED(id, "Its id"));

#define OWNS "g.role = 'owner' AND g.project = '*' AND g.object = '*'"

/* Whoever takes an owner away comes by here one after the other: of two that each spare the other, the second finds nobody left. */
static const char LOCK_WORKSPACE[] = "SELECT id FROM access_workspaces WHERE id = ? FOR UPDATE";
static const char SELECT_OWNERS[] =
    "SELECT g.subject, EXISTS (SELECT 1 FROM access_tokens t WHERE t.workspace = g.workspace AND t.actor = g.subject COLLATE utf8mb4_bin"
    " AND NOT t.bound AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > NOW(6))"
    " AND JSON_CONTAINS(t.permissions, '\"*\"')) AS has_key FROM access_grants g WHERE g.workspace = ? AND " OWNS;
static const char IS_OWNER[] =
    "SELECT EXISTS (SELECT 1 FROM access_grants g WHERE g.workspace = ? AND g.subject = ? AND " OWNS ") AS found";
static const char IS_GRANTED[] =
    "SELECT EXISTS (SELECT 1 FROM access_grants g WHERE g.subject = ?)"
    " OR EXISTS (SELECT 1 FROM access_workspaces w JOIN access_tokens t ON t.workspace = w.id AND t.actor = ?) AS found";

/* By a password or the like, or by a key of the runtime's own while nobody says that they are shut out. */
static purlin_status comes_in(purlin_ctx *ctx, const owner_row *owner) {
  purlin_status status = identity_comes_in(ctx, owner->subject);
  return status == PURLIN_NOT_FOUND && owner->has_key ? PURLIN_OK : status;
}

purlin_status owner_remains(purlin_ctx *ctx) {
  workspace_row locked;
  owner_rows owners = {0};
  purlin_status status = purlin_db_row(ctx, workspace_row, &locked, LOCK_WORKSPACE, purlin_workspace(ctx));
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  status = purlin_db_list(ctx, owner_row, &owners.rows, SELECT_OWNERS, purlin_workspace(ctx));
  for (size_t i = 0; i < owners.rows.count && status == PURLIN_OK; i++) {
    status = comes_in(ctx, &owners.rows.items[i]);
    if (status == PURLIN_OK) return status;
    if (status == PURLIN_NOT_FOUND || status == PURLIN_UNAUTHENTICATED) status = PURLIN_OK;
  }
  if (status != PURLIN_OK) return status;
  return purlin_fail(
      ctx, PURLIN_CONFLICT,
      "this is the last owner of the workspace who can come in; grant the role to another user who can log in first");
}

purlin_status purlin_keep_owner(purlin_ctx *ctx, const char *subject) {
  found_row row;
  purlin_status status = purlin_db_row(ctx, found_row, &row, IS_OWNER, purlin_workspace(ctx), subject);
  return status == PURLIN_OK && row.found ? owner_remains(ctx) : status;
}

purlin_status purlin_is_granted(purlin_ctx *ctx, const char *subject, bool *granted) {
  found_row row = {0};
  purlin_status status = purlin_db_row(ctx, found_row, &row, IS_GRANTED, subject, subject);
  *granted = row.found;
  return status;
}

purlin_status purlin_grant_role(purlin_ctx *ctx, const char *subject, const char *role) {
  purlin_texts permissions;
  purlin_status status = role_permissions(ctx, purlin_workspace(ctx), role, &permissions);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "there is no role '%s'", role);
  return status == PURLIN_OK ? grant_add(ctx, purlin_workspace(ctx), subject, role, NULL) : status;
}
