#include "storage.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

PURLIN_QUOTA(storage, .summary = "Bytes of datasets, models and artifacts", .unit = "bytes", .space = true,
    .count = "SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) AS used FROM storage_fs_blobs WHERE workspace = ?");

static const char INSERT[] =
    "INSERT IGNORE INTO storage_fs_blobs (workspace, sha256, size, created_at) VALUES (?, ?, ?, NOW(6))";
static const char PLACED[] = "UPDATE storage_fs_blobs SET placed = TRUE WHERE workspace = ? AND sha256 = ?";
static const char LOCK[] = "SELECT workspace, sha256, size FROM storage_fs_blobs"
                           " WHERE workspace = ? AND sha256 = ? AND (? OR NOT placed) FOR UPDATE";
static const char DELETE[] = "DELETE FROM storage_fs_blobs WHERE workspace = ? AND sha256 = ?";
static const char UNPLACED[] = "SELECT workspace, sha256, size FROM storage_fs_blobs WHERE placed = FALSE LIMIT 1000";

typedef struct entry {
  const char *workspace, *sha256;
  int64_t size;
} entry;
PURLIN_SCHEMA(entry, "A blob of a workspace",
    PURLIN_REQUIRED(workspace, "Whose"),
    PURLIN_REQUIRED(sha256, "Its name"),
    PURLIN_REQUIRED(size, "Its bytes"));

static purlin_status add(purlin_ctx *ctx, void *argument) {
  const entry *e = argument;
  purlin_status status = purlin_db_run(ctx, INSERT, e->workspace, e->sha256, e->size);
  if (status != PURLIN_OK || purlin_affected(ctx) == 0) return status; /* the workspace has these bytes already */
  return purlin_quota_take(ctx, storage, e->size);
}

purlin_status ledger_add(purlin_ctx *ctx, const purlin_blob *blob) {
  entry e = {purlin_workspace(ctx), blob->sha256, blob->size};
  return purlin_transaction_apart(ctx, add, &e);
}

static purlin_status note_placed(purlin_ctx *ctx, void *argument) {
  const entry *e = argument;
  purlin_status status = purlin_db_run(ctx, PLACED, e->workspace, e->sha256);
  if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
  return add(ctx, argument); /* another writer of the same bytes took its row back meanwhile */
}

purlin_status ledger_placed(purlin_ctx *ctx, const purlin_blob *blob) {
  entry e = {purlin_workspace(ctx), blob->sha256, blob->size};
  purlin_status status = purlin_transaction_apart(ctx, note_placed, &e);
  if (status == PURLIN_OK || status == PURLIN_NO_SPACE) return status;
  purlin_log(ctx, PURLIN_WARNING, "it will be noted later that the blob %s is there: %s", blob->sha256,
             purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

typedef struct removal {
  const char *sha256;
  bool placed_too;
} removal;

static purlin_status take_out(purlin_ctx *ctx, void *argument) {
  const removal *r = argument;
  const char *workspace = purlin_workspace(ctx);
  entry e;
  purlin_status status = purlin_db_row(ctx, entry, &e, LOCK, workspace, r->sha256, r->placed_too);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE, workspace, r->sha256);
  return status == PURLIN_OK ? purlin_quota_take(ctx, storage, -e.size) : status;
}

purlin_status ledger_remove(purlin_ctx *ctx, const char *sha256, bool placed_too) {
  return purlin_transaction_apart(ctx, take_out, &(removal){sha256, placed_too});
}

purlin_status ledger_room(purlin_ctx *ctx, int64_t *bytes) { return purlin_quota_left(ctx, storage, bytes); }

purlin_status ledger_refuse(purlin_ctx *ctx, int64_t bytes, int64_t room) {
  return purlin_quota_refuse(ctx, storage, bytes, room);
}

/* ---- After a crash ------------------------------------------------------------------------------------------------------------------ */

typedef struct looking {
  char path[PATH_MAX];
  int error; /* 0: it is there */
} looking;

static purlin_status look(void *argument) {
  looking *l = argument;
  struct stat about;
  l->error = stat(l->path, &about) == 0 ? 0 : errno;
  return PURLIN_OK;
}

static purlin_status settle(purlin_ctx *ctx, const entry *e) {
  looking *l = purlin_alloc(ctx, sizeof *l);
  char place[STORAGE_PLACE];
  if (!l) return PURLIN_TOO_LARGE;
  purlin_act_as(ctx, "system", e->workspace, "default");
  purlin_status status = storage_place(ctx, place);
  if (status != PURLIN_OK) return status;
  storage_path(place, e->sha256, false, l->path);
  status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, look, l);
  if (status != PURLIN_OK) return status;
  if (l->error == ENOENT) return ledger_remove(ctx, e->sha256, false);
  return l->error ? storage_fail(ctx, l->error, "looking for a blob") : purlin_db_run(ctx, PLACED, e->workspace, e->sha256);
}

void ledger_settle(purlin_ctx *ctx, void *argument) {
  (void)argument;
  PURLIN_LIST_OF(entry) left = {0};
  purlin_status status = purlin_db_list(ctx, entry, &left, UNPLACED);
  for (size_t i = 0; i < left.count && status == PURLIN_OK; i++) status = settle(ctx, &left.items[i]);
  if (status == PURLIN_OK || status == PURLIN_CANCELLED) return;
  purlin_log(ctx, PURLIN_WARNING, "blobs that never came cannot be given back: %s", purlin_failure(ctx));
}
