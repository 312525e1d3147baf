#include "artifacts.h"
#include <string.h>

#define OF_OWNER "workspace = ? AND kind = ? AND owner = ?"
#define OWNER(ctx, place) purlin_workspace(ctx), (place)->kind, (place)->owner

static const char SELECT_ONE[] =
    "SELECT path, sha256, size, created_at, created_by FROM artifacts_files WHERE " OF_OWNER " AND path = ?";
/* JSON_TABLE: the paths above it. */
static const char SELECT_ABOVE[] =
    "SELECT f.path AS path FROM JSON_TABLE(?, '$[*]' COLUMNS (path VARCHAR(700) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$')) a"
    " STRAIGHT_JOIN artifacts_files f ON f.workspace = ? AND f.kind = ? AND f.owner = ? AND f.path = a.path LIMIT 1";
static const char SELECT_BELOW[] =
    "SELECT path FROM artifacts_files WHERE " OF_OWNER " AND path > ? AND path < ? ORDER BY path LIMIT 1";
static const char LOCK_OWNER[] = "SELECT owner AS path FROM artifacts_owners WHERE " OF_OWNER " FOR UPDATE";
static const char ADD_OWNER[] = "INSERT IGNORE INTO artifacts_owners (workspace, kind, owner) VALUES (?, ?, ?)";
static const char PUT[] =
    "INSERT INTO artifacts_files (workspace, kind, owner, path, project, experiment_id, sha256, size, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?) ON DUPLICATE KEY UPDATE project = VALUES(project),"
    " experiment_id = VALUES(experiment_id), sha256 = VALUES(sha256), size = VALUES(size), created_at = VALUES(created_at),"
    " created_by = VALUES(created_by)";
static const char DELETE_ONE[] = "DELETE FROM artifacts_files WHERE " OF_OWNER " AND path = ?";
static const char DELETE_BELOW[] = "DELETE FROM artifacts_files WHERE " OF_OWNER " AND path > ? AND path < ?";
static const char DELETE_ALL[] = "DELETE FROM artifacts_files WHERE " OF_OWNER;

typedef struct path_row {
  const char *path;
} path_row;
PURLIN_SCHEMA(path_row, "A path", PURLIN_REQUIRED(path, "path"));

purlin_status artifacts_find(purlin_ctx *ctx, const artifacts_place *place, artifacts_file *out) {
  purlin_status status = purlin_db_row(ctx, artifacts_file, out, SELECT_ONE, OWNER(ctx, place), place->path);
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, status, "no artifact '%s' of the %s %s", place->path, place->kind, place->owner);
}

/* ---- No file is a folder -------------------------------------------------------------------------------------------------------- */

/* "a/b/c": ["a", "a/b"] as JSON; NULL without one above, or without memory. */
static const char *paths_above(purlin_ctx *ctx, const char *path) {
  const char *items[PATH_COMPONENTS];
  size_t count = 0;
  for (const char *slash = strchr(path, '/'); slash && count < PATH_COMPONENTS; slash = strchr(slash + 1, '/')) {
    items[count] = purlin_copy_bytes(ctx, path, (size_t)(slash - path));
    if (!items[count++]) return NULL;
  }
  return count > 0 ? purlin_list_json(ctx, (purlin_texts){items, count}) : NULL;
}

purlin_status artifacts_check_room(purlin_ctx *ctx, const artifacts_place *place) {
  path_row other;
  const char *first = purlin_format(ctx, "%s/", place->path);
  const char *last = purlin_format(ctx, "%s" ARTIFACTS_AFTER_SLASH, place->path);
  if (!first || !last) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row(ctx, path_row, &other, SELECT_BELOW, OWNER(ctx, place), first, last);
  if (status == PURLIN_OK) return purlin_fail(ctx, PURLIN_CONFLICT, "'%s' is a folder", place->path);
  if (status != PURLIN_NOT_FOUND || !strchr(place->path, '/')) return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
  const char *above = paths_above(ctx, place->path);
  if (!above) return PURLIN_TOO_LARGE;
  status = purlin_db_row(ctx, path_row, &other, SELECT_ABOVE, above, OWNER(ctx, place));
  if (status == PURLIN_OK) return purlin_fail(ctx, PURLIN_CONFLICT, "'%s' is a file, not a folder", other.path);
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
}

/* ---- Naming stored bytes --------------------------------------------------------------------------------------------------------- */

typedef struct naming {
  const artifacts_place *place;
  const purlin_blob *blob;
  artifacts_file *out;
} naming;

static purlin_status lock_owner(purlin_ctx *ctx, const artifacts_place *place) {
  path_row row;
  purlin_status status = purlin_db_row(ctx, path_row, &row, LOCK_OWNER, OWNER(ctx, place));
  if (status != PURLIN_NOT_FOUND) return status;
  status = purlin_db_run(ctx, ADD_OWNER, OWNER(ctx, place));
  return status == PURLIN_OK ? purlin_db_row(ctx, path_row, &row, LOCK_OWNER, OWNER(ctx, place)) : status;
}

static purlin_status note(purlin_ctx *ctx, const artifacts_place *place, const artifacts_file *file) {
  purlin_json detail;
  purlin_status status = purlin_encode(ctx, artifacts_file_schema(), file, &detail);
  if (status != PURLIN_OK) return status;
  return purlin_audit(ctx,
                      &(purlin_audit_entry){.operation = "artifacts.upload", .object = place->owner, .detail = detail});
}

static purlin_status keep_bytes(purlin_ctx *ctx, const char *sha256) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_status status = storage ? purlin_keep_blob(ctx, storage, sha256) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the bytes were removed before they had a name; send them again");
}

static purlin_status name_it(purlin_ctx *ctx, void *argument) {
  const naming *n = argument;
  artifacts_owner owner = {0};
  purlin_status status = lock_owner(ctx, n->place);
  if (status == PURLIN_OK) status = artifacts_find_owner(ctx, n->place, ARTIFACTS_CHANGE, &owner);
  if (status != PURLIN_OK) return status;
  status = artifacts_find(ctx, n->place, n->out);
  if (status == PURLIN_OK && strcmp(n->out->sha256, n->blob->sha256) == 0) return PURLIN_OK; /* once more */
  purlin_clear_failure(ctx);
  if (status == PURLIN_NOT_FOUND) status = artifacts_check_room(ctx, n->place);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, PUT, OWNER(ctx, n->place), n->place->path, owner.project, owner.experiment_id,
                           n->blob->sha256, n->blob->size, purlin_actor(ctx));
  if (status == PURLIN_OK) status = keep_bytes(ctx, n->blob->sha256);
  if (status == PURLIN_OK) status = artifacts_find(ctx, n->place, n->out);
  return status == PURLIN_OK ? note(ctx, n->place, n->out) : status;
}

purlin_status artifacts_name(purlin_ctx *ctx, const artifacts_place *place, const purlin_blob *blob, artifacts_file *out) {
  return purlin_transaction(ctx, name_it, &(naming){place, blob, out});
}

/* ---- The operations ----------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(get, artifacts_place, artifacts_file,
    .summary = "What is known of a file", .permission = "runs:read", .by_project = true) {
  artifacts_owner owner = {0};
  purlin_status status = artifacts_find_owner(ctx, in, ARTIFACTS_READ, &owner);
  return status == PURLIN_OK ? artifacts_find(ctx, in, out) : status;
}

PURLIN_OPERATION(delete, artifacts_place, artifacts_deleted,
    .summary = "Delete a file, or a folder with all that is in it", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES) {
  artifacts_owner owner = {0};
  purlin_status status = artifacts_find_owner(ctx, in, ARTIFACTS_CHANGE, &owner);
  if (status != PURLIN_OK) return status;
  if (!*in->path) {
    status = purlin_db_run(ctx, DELETE_ALL, OWNER(ctx, in));
    out->files = (int64_t)purlin_affected(ctx);
    return status;
  }
  const char *first = purlin_format(ctx, "%s/", in->path);
  const char *last = purlin_format(ctx, "%s" ARTIFACTS_AFTER_SLASH, in->path);
  if (!first || !last) return PURLIN_TOO_LARGE;
  status = purlin_db_run(ctx, DELETE_ONE, OWNER(ctx, in), in->path);
  out->files = (int64_t)purlin_affected(ctx);
  if (status != PURLIN_OK || out->files > 0) return status;
  status = purlin_db_run(ctx, DELETE_BELOW, OWNER(ctx, in), first, last);
  out->files = (int64_t)purlin_affected(ctx);
  return status;
}
