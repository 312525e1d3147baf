#include "storage.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

PURLIN_QUOTA(storage, .summary = "Bytes of datasets, models and artifacts", .unit = "bytes", .space = true,
    .count = "SELECT CAST(COALESCE(SUM(size), 0) AS SIGNED) AS used FROM storage_fs_blobs WHERE workspace = ?");

/* Locks the row that is there, at once for writing, and always changes it: 1 row is a new one, 2 are one that was there. */
static const char TAKE[] =
    "INSERT INTO storage_fs_blobs (workspace, sha256, size, created_at, wanted_at) VALUES (?, ?, ?, NOW(6), NOW(6))"
    " ON DUPLICATE KEY UPDATE wanted_at = GREATEST(NOW(6), wanted_at + INTERVAL 1 MICROSECOND)";
static const char SELECT_STATE[] =
    "SELECT size, placed, doomed_at IS NOT NULL AS doomed FROM storage_fs_blobs WHERE workspace = ? AND sha256 = ?";
static const char PLACED[] =
    "UPDATE storage_fs_blobs SET placed = TRUE WHERE workspace = ? AND sha256 = ? AND doomed_at IS NULL";
static const char KEEP[] =
    "UPDATE storage_fs_blobs SET wanted_at = NOW(6) WHERE workspace = ? AND sha256 = ? AND placed AND doomed_at IS NULL";
static const char LOCK_UNPLACED[] =
    "SELECT workspace, sha256, size FROM storage_fs_blobs WHERE workspace = ? AND sha256 = ? AND NOT placed FOR UPDATE";
static const char DELETE[] = "DELETE FROM storage_fs_blobs WHERE workspace = ? AND sha256 = ?";
static const char UNPLACED[] = "SELECT workspace, sha256, size FROM storage_fs_blobs WHERE placed = FALSE"
                               " AND wanted_at <= NOW(6) - INTERVAL ? SECOND LIMIT 1000";

/* How long a writer waits for what is being removed: until somebody may take over the removal of a daemon that died with it, and more. */
enum { WAIT_MS = (STORAGE_STALE_S + 10) * 1000, LOOK_AGAIN_MS = 10, LONGEST_PAUSE_MS = 200 };

typedef struct state {
  int64_t size;
  bool placed, doomed;
} state;
PURLIN_SCHEMA(state, "How a blob stands",
    PURLIN_REQUIRED(size, "Its bytes"),
    PURLIN_REQUIRED(placed, "Its file is there"),
    PURLIN_REQUIRED(doomed, "It is being removed"));

/* ---- A blob is about to be named ------------------------------------------------------------------------------------------------------ */

typedef struct taking {
  const char *workspace;
  const purlin_blob *blob;
  bool doomed;
} taking;

static purlin_status take(purlin_ctx *ctx, void *argument) {
  taking *t = argument;
  state found;
  t->doomed = false;
  purlin_status status = purlin_db_run(ctx, TAKE, t->workspace, t->blob->sha256, t->blob->size);
  if (status != PURLIN_OK) return status;
  if (purlin_affected(ctx) == 1) return purlin_quota_take(ctx, storage, t->blob->size);
  status = purlin_db_row(ctx, state, &found, SELECT_STATE, t->workspace, t->blob->sha256);
  if (status == PURLIN_OK) t->doomed = found.doomed;
  return status;
}

static purlin_status still_doomed(purlin_ctx *ctx, const char *sha256) {
  purlin_retry_after(ctx, 1);
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the blob %s is just being removed; send it again", sha256);
}

purlin_status ledger_add(purlin_ctx *ctx, const purlin_blob *blob) {
  taking t = {purlin_workspace(ctx), blob, false};
  uint64_t end = purlin_ticks_ns() + (uint64_t)WAIT_MS * 1000000;
  for (uint32_t pause = LOOK_AGAIN_MS;; pause = pause * 2 < LONGEST_PAUSE_MS ? pause * 2 : LONGEST_PAUSE_MS) {
    purlin_status status = purlin_transaction_apart(ctx, take, &t);
    if (status != PURLIN_OK || !t.doomed) return status;
    if (purlin_ticks_ns() > end) return still_doomed(ctx, blob->sha256);
    status = collect_abandoned(ctx, blob->sha256);
    if (status == PURLIN_OK) status = purlin_sleep(ctx, pause);
    if (status != PURLIN_OK) return status;
  }
}

/* ---- Its file is there ------------------------------------------------------------------------------------------------------------------- */

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

static purlin_status is_there(purlin_ctx *ctx, const char *sha256, bool *there) {
  looking *l = purlin_alloc(ctx, sizeof *l);
  char place[STORAGE_PLACE];
  if (!l) return PURLIN_TOO_LARGE;
  purlin_status status = storage_place(ctx, place);
  if (status != PURLIN_OK) return status;
  storage_path(place, sha256, false, l->path);
  status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, look, l);
  if (status != PURLIN_OK) return status;
  *there = l->error == 0;
  return l->error && l->error != ENOENT ? storage_fail(ctx, l->error, "looking for a blob") : PURLIN_OK;
}

typedef struct placing {
  const char *sha256;
  bool noted;
} placing;

static purlin_status note(purlin_ctx *ctx, void *argument) {
  placing *p = argument;
  purlin_status status = purlin_db_run(ctx, PLACED, purlin_workspace(ctx), p->sha256);
  p->noted = status == PURLIN_OK && purlin_affected(ctx) > 0;
  return status;
}

/* Apart: who stored a blob reads on, and works on pools, which nothing may while a transaction is open. */
static purlin_status note_placed(purlin_ctx *ctx, const char *sha256, bool *noted) {
  placing p = {sha256, false};
  purlin_status status = purlin_transaction_apart(ctx, note, &p);
  *noted = p.noted;
  return status;
}

/* The row went meanwhile: who looked for bytes that never came took it for one of those, or its last reference was removed. Once it is
 * there again nobody takes the file away, so one look is enough. */
purlin_status ledger_placed(purlin_ctx *ctx, const purlin_blob *blob) {
  bool noted = false, there = false;
  purlin_status status = note_placed(ctx, blob->sha256, &noted);
  if (status != PURLIN_OK || noted) return status;
  status = ledger_add(ctx, blob);
  if (status == PURLIN_OK) status = is_there(ctx, blob->sha256, &there);
  if (status == PURLIN_OK && there) status = note_placed(ctx, blob->sha256, &noted);
  return status == PURLIN_OK && !noted ? still_doomed(ctx, blob->sha256) : status;
}

purlin_status ledger_keep(purlin_ctx *ctx, const char *sha256) {
  state found;
  purlin_status status = purlin_db_run(ctx, KEEP, purlin_workspace(ctx), sha256);
  if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
  status = purlin_db_row(ctx, state, &found, SELECT_STATE, purlin_workspace(ctx), sha256);
  if (status != PURLIN_OK) return status;
  return found.doomed ? still_doomed(ctx, sha256) : PURLIN_NOT_FOUND; /* another is writing it just now */
}

/* ---- It is not ------------------------------------------------------------------------------------------------------------------------------ */

static purlin_status take_back(purlin_ctx *ctx, void *argument) {
  const char *sha256 = argument, *workspace = purlin_workspace(ctx);
  storage_blob found;
  purlin_status status = purlin_db_row(ctx, storage_blob, &found, LOCK_UNPLACED, workspace, sha256);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE, workspace, sha256);
  return status == PURLIN_OK ? ledger_give_back(ctx, found.size) : status;
}

purlin_status ledger_take_back(purlin_ctx *ctx, const char *sha256) {
  char *name = purlin_copy(ctx, sha256);
  return name ? purlin_transaction_apart(ctx, take_back, name) : PURLIN_TOO_LARGE;
}

purlin_status ledger_give_back(purlin_ctx *ctx, int64_t bytes) { return purlin_quota_take(ctx, storage, -bytes); }

purlin_status ledger_room(purlin_ctx *ctx, int64_t *bytes) { return purlin_quota_left(ctx, storage, bytes); }

purlin_status ledger_refuse(purlin_ctx *ctx, int64_t bytes, int64_t room) {
  return purlin_quota_refuse(ctx, storage, bytes, room);
}

/* ---- After a crash ------------------------------------------------------------------------------------------------------------------ */

static purlin_status settle(purlin_ctx *ctx, const storage_blob *blob) {
  bool there = false, noted;
  purlin_act_as(ctx, "system", blob->workspace, "default");
  purlin_status status = is_there(ctx, blob->sha256, &there);
  if (status != PURLIN_OK) return status;
  return there ? note_placed(ctx, blob->sha256, &noted) : ledger_take_back(ctx, blob->sha256);
}

purlin_status ledger_settle(purlin_ctx *ctx, int64_t older_than_s) {
  storage_blobs left = {0};
  purlin_status status = purlin_db_list(ctx, storage_blob, &left, UNPLACED, older_than_s);
  for (size_t i = 0; i < left.count && status == PURLIN_OK; i++) status = settle(ctx, &left.items[i]);
  return status;
}
