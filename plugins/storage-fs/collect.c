/* Blobs that nobody names go. For each, in three steps that any daemon may go on with when the one that began was killed:
 *
 *   doom     in a transaction that locks its row: nobody names it, nobody wanted it for a while; from here on nobody may name it, and
 *            who writes the same bytes waits
 *   move     its file goes to staging/; within STORAGE_LEASE_S, or not at all
 *   forget   in a transaction: its row goes, unless another took the removal over, and the quota gets its bytes back
 *
 * Who registers a blob locks the same row in its own transaction (purlin_keep_blob): either it commits before the row is locked here,
 * and is seen, or it finds the blob doomed. */
#include "storage.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1000, MOST_ABANDONED = 1000, MOST_TOLD = 1000, LONGEST_CALL_S = 10, SETTLE_S = 60 };

PURLIN_COUNTER(collected_blobs_total, "Blobs that were removed since nothing named them any more", NULL);
PURLIN_COUNTER(collected_bytes_total, "Bytes of blobs that were removed", NULL);
PURLIN_COUNTER(collection_failures_total, "Searches for blobs that nothing names, that did not come to their end", NULL);

#define LOCK_BLOB "SELECT workspace, sha256, size FROM storage_fs_blobs WHERE workspace = ? AND sha256 = ?"
static const char LOCK_UNWANTED[] =
    LOCK_BLOB " AND placed AND doomed_at IS NULL AND wanted_at <= NOW(6) - INTERVAL ? SECOND FOR UPDATE SKIP LOCKED";
static const char LOCK_ABANDONED[] = LOCK_BLOB " AND doomed_at <= NOW(6) - INTERVAL ? SECOND FOR UPDATE SKIP LOCKED";
static const char LOCK_ANY[] = LOCK_BLOB " AND doomed_at IS NULL AND ? = 0 FOR UPDATE";
static const char LOCK_OWN[] = LOCK_BLOB " AND doomed_by = ? FOR UPDATE";
static const char IS_WANTED[] = LOCK_BLOB " AND doomed_at IS NULL";
static const char DOOM[] =
    "UPDATE storage_fs_blobs SET doomed_at = NOW(6), doomed_by = ? WHERE workspace = ? AND sha256 = ?";
static const char DELETE[] = "DELETE FROM storage_fs_blobs WHERE workspace = ? AND sha256 = ?";

typedef struct removal {
  const char *workspace, *sha256;
  const char *lock, *condition; /* how its row is locked; SQL that is true where somebody names it, or NULL */
  int64_t older_than_s;
  const char *token; /* of this removal */
  uint64_t began;    /* purlin_ticks_ns */
  int64_t size;
  bool doomed, forgotten;
  /* on the pool */
  char path[PATH_MAX], gone[PATH_MAX], folder[PATH_MAX];
  int error;
} removal;

typedef struct answer {
  int64_t named;
} answer;
PURLIN_SCHEMA(answer, "Whether somebody names a blob", PURLIN_REQUIRED(named, "0: nobody"));

/* ---- Doom ----------------------------------------------------------------------------------------------------------------------------------- */

static purlin_status is_named(purlin_ctx *ctx, const removal *r, bool *named) {
  answer found = {0};
  *named = false;
  if (!r->condition) return PURLIN_OK;
  const char *sql = purlin_format(
      ctx, "SELECT (%s) AS named FROM storage_fs_blobs b WHERE b.workspace = ? AND b.sha256 = ?", r->condition);
  if (!sql) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row(ctx, answer, &found, sql, r->workspace, r->sha256);
  *named = found.named != 0;
  return status;
}

/* The lock comes first and the question is a statement of its own: it sees whatever committed before the lock was had. Backups are asked
 * for last: one that begins after that sees a blob that nobody names, and nobody can name any more. */
static purlin_status doom(purlin_ctx *ctx, void *argument) {
  removal *r = argument;
  storage_blob found;
  bool named = false;
  r->doomed = false;
  purlin_status status = purlin_db_row(ctx, storage_blob, &found, r->lock, r->workspace, r->sha256, r->older_than_s);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status == PURLIN_OK) status = is_named(ctx, r, &named);
  if (status == PURLIN_OK && !named) status = purlin_files_held(ctx, &named);
  if (status != PURLIN_OK || named) return status;
  r->size = found.size;
  r->doomed = true;
  return purlin_db_run(ctx, DOOM, r->token, r->workspace, r->sha256);
}

/* ---- Move and forget ------------------------------------------------------------------------------------------------------------------------ */

static purlin_status move_away(void *argument) {
  removal *r = argument;
  if (purlin_ticks_ns() - r->began > (uint64_t)STORAGE_LEASE_S * 1000000000) r->error = ETIMEDOUT;
  else if (rename(r->path, r->gone) != 0) r->error = errno == ENOENT ? 0 : errno;
  else if (!storage_sync(r->folder)) r->error = errno;
  return PURLIN_OK;
}

static purlin_status forget(purlin_ctx *ctx, void *argument) {
  removal *r = argument;
  storage_blob found;
  r->forgotten = false;
  purlin_status status = purlin_db_row(ctx, storage_blob, &found, LOCK_OWN, r->workspace, r->sha256, r->token);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE, r->workspace, r->sha256);
  r->forgotten = status == PURLIN_OK;
  return status == PURLIN_OK ? ledger_give_back(ctx, found.size) : status;
}

static purlin_status drop(void *argument) {
  removal *r = argument;
  (void)unlink(r->gone);
  return PURLIN_OK;
}

static purlin_status put_back(void *argument) {
  removal *r = argument;
  if (link(r->gone, r->path) == 0) (void)storage_sync(r->folder);
  return drop(argument);
}

/* This daemon stood still for so long, just before it moved the file, that another took the removal over: was the file that it moved
 * written since? */
static purlin_status overtaken(purlin_ctx *ctx, removal *r) {
  storage_blob found;
  purlin_status status = purlin_db_row(ctx, storage_blob, &found, IS_WANTED, r->workspace, r->sha256);
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  purlin_log(ctx, PURLIN_WARNING, "the removal of the blob %s was taken over by another daemon", r->sha256);
  return purlin_offload(ctx, PURLIN_POOL_BLOCKING, status == PURLIN_OK ? put_back : drop, r);
}

static purlin_status finish(purlin_ctx *ctx, removal *r) {
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, move_away, r);
  if (status == PURLIN_OK && r->error == ETIMEDOUT) return PURLIN_OK; /* the next search goes on with it */
  if (status == PURLIN_OK && r->error) status = storage_fail(ctx, r->error, "removing a blob");
  if (status == PURLIN_OK) status = purlin_transaction_apart(ctx, forget, r);
  if (status != PURLIN_OK) return status;
  if (!r->forgotten) return overtaken(ctx, r);
  purlin_count(collected_blobs_total, 1, PURLIN_NO_LABELS);
  purlin_count(collected_bytes_total, (double)r->size, PURLIN_NO_LABELS);
  return purlin_offload(ctx, PURLIN_POOL_BLOCKING, drop, r);
}

static purlin_status remove_it(purlin_ctx *ctx, removal *r) {
  char place[STORAGE_PLACE];
  purlin_status status = storage_place(ctx, place);
  r->workspace = purlin_workspace(ctx);
  r->token = purlin_new_id(ctx, "gone");
  r->began = purlin_ticks_ns();
  if (status != PURLIN_OK || !r->token) return status != PURLIN_OK ? status : PURLIN_TOO_LARGE;
  storage_path(place, r->sha256, false, r->path);
  storage_path(place, r->sha256, true, r->folder);
  staging_path(r->token, r->gone);
  status = purlin_transaction_apart(ctx, doom, r);
  return status == PURLIN_OK && r->doomed ? finish(ctx, r) : status;
}

purlin_status collect_at_once(purlin_ctx *ctx, const char *sha256) {
  removal *r = purlin_alloc(ctx, sizeof *r);
  if (!r) return PURLIN_TOO_LARGE;
  r->sha256 = sha256;
  r->lock = LOCK_ANY;
  return remove_it(ctx, r);
}

purlin_status collect_abandoned(purlin_ctx *ctx, const char *sha256) {
  removal *r = purlin_alloc(ctx, sizeof *r);
  if (!r) return PURLIN_TOO_LARGE;
  r->sha256 = sha256;
  r->lock = LOCK_ABANDONED;
  r->older_than_s = STORAGE_STALE_S;
  return remove_it(ctx, r);
}

/* ---- The search, in chunks of the ledger -------------------------------------------------------------------------------------------------- */

static const char BORDER[] = "SELECT workspace, sha256, size FROM storage_fs_blobs WHERE workspace = ? AND sha256 > ?"
                             " ORDER BY sha256 LIMIT 1 OFFSET ?";
static const char WORKSPACES[] = "SELECT DISTINCT workspace, '' AS sha256, 0 AS size FROM storage_fs_blobs";
static const char ABANDONED[] = "SELECT workspace, sha256, size FROM storage_fs_blobs WHERE workspace = ?"
                                " AND doomed_at <= NOW(6) - INTERVAL ? SECOND LIMIT ?";
static const char CLAIM[] =
    "UPDATE storage_fs_sweeps SET began_at = NOW(6) WHERE name = 'collect' AND began_at <= NOW(6) - INTERVAL ? SECOND";

static atomic_bool stopping;
static _Atomic uint64_t last_tick;

purlin_status search_begin(purlin_ctx *ctx, storage_search *s) {
  const storage_configuration *configured = purlin_configuration(ctx);
  s->grace_s = configured->grace_s;
  purlin_status status = holders_condition(ctx, &s->condition);
  if (status != PURLIN_OK) return status;
  s->sql = purlin_format(
      ctx,
      "SELECT b.sha256, b.size, b.wanted_at, CAST(b.wanted_at + INTERVAL ? SECOND AS DATETIME(6)) AS goes_at,"
      " b.wanted_at <= NOW(6) - INTERVAL ? SECOND AS due FROM storage_fs_blobs b WHERE b.workspace = ? AND b.sha256 > ?"
      " AND b.sha256 <= ? AND b.placed AND b.doomed_at IS NULL AND b.wanted_at <= NOW(6) - INTERVAL ? SECOND"
      " AND NOT (%s) ORDER BY b.sha256",
      s->condition);
  return s->sql ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* What nobody names among the next CHUNK blobs of the workspace. */
purlin_status search_next(purlin_ctx *ctx, storage_search *s, unused_blobs *found) {
  int64_t grace_s = ((const storage_configuration *)purlin_configuration(ctx))->grace_s;
  storage_blob border = {.sha256 = "g"}; /* behind every name */
  purlin_status status = purlin_db_row(ctx, storage_blob, &border, BORDER, purlin_workspace(ctx), s->after, CHUNK - 1);
  s->over = status == PURLIN_NOT_FOUND;
  if (status != PURLIN_OK && !s->over) return status;
  status = purlin_db_list(ctx, unused_blob, found, s->sql, grace_s, grace_s, purlin_workspace(ctx), s->after, border.sha256,
                          s->grace_s);
  (void)snprintf(s->after, sizeof s->after, "%s", border.sha256);
  return status;
}

static purlin_status remove_found(purlin_ctx *ctx, storage_search *s, const unused_blobs *found) {
  removal *r = purlin_alloc(ctx, sizeof *r);
  purlin_status status = r ? PURLIN_OK : PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found->count && status == PURLIN_OK && !atomic_load(&stopping); i++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    *r = (removal){
        .sha256 = found->items[i].sha256, .lock = LOCK_UNWANTED, .condition = s->condition, .older_than_s = s->grace_s};
    status = remove_it(ctx, r);
    s->blobs += r->forgotten;
    s->bytes += r->forgotten ? r->size : 0;
    purlin_arena_reset(ctx, mark);
  }
  return status;
}

static purlin_status finish_abandoned(purlin_ctx *ctx) {
  storage_blobs left = {0};
  purlin_status status =
      purlin_db_list(ctx, storage_blob, &left, ABANDONED, purlin_workspace(ctx), STORAGE_STALE_S, MOST_ABANDONED);
  for (size_t i = 0; i < left.count && status == PURLIN_OK; i++) status = collect_abandoned(ctx, left.items[i].sha256);
  return status;
}

static purlin_status search_workspace(purlin_ctx *ctx, storage_search *s) {
  purlin_mark mark = purlin_arena_mark(ctx);
  purlin_status status = finish_abandoned(ctx);
  s->after[0] = '\0';
  for (s->over = false; status == PURLIN_OK && !s->over && !atomic_load(&stopping);) {
    unused_blobs found = {0};
    purlin_arena_reset(ctx, mark);
    status = search_next(ctx, s, &found);
    if (status == PURLIN_OK) status = remove_found(ctx, s, &found);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
  }
  purlin_arena_reset(ctx, mark);
  return status;
}

static purlin_status search_all(purlin_ctx *ctx, storage_search *s) {
  storage_blobs workspaces = {0};
  purlin_status status = search_begin(ctx, s);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, storage_blob, &workspaces, WORKSPACES);
  for (size_t i = 0; i < workspaces.count && status == PURLIN_OK && !atomic_load(&stopping); i++) {
    purlin_act_as(ctx, "system", workspaces.items[i].workspace, "default");
    status = search_workspace(ctx, s);
  }
  return status;
}

/* ---- From time to time ---------------------------------------------------------------------------------------------------------------------- */

static purlin_status clean_staging(void *argument) {
  (void)argument;
  (void)staging_clean();
  return PURLIN_OK;
}

static purlin_status come_round(purlin_ctx *ctx, int64_t every_s, storage_search *s) {
  purlin_status status = holders_remember(ctx); /* each node tells of its own plugins, whichever searches */
  if (status == PURLIN_OK) status = purlin_db_run(ctx, CLAIM, every_s);
  if (status != PURLIN_OK || purlin_affected(ctx) == 0) return status;
  status = ledger_settle(ctx, SETTLE_S);
  if (status == PURLIN_OK) status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, clean_staging, NULL);
  return status == PURLIN_OK ? search_all(ctx, s) : status;
}

/* It comes round on every loop; one of them is enough. */
static bool is_due(uint64_t every_ns) {
  uint64_t now = purlin_ticks_ns(), last = atomic_load(&last_tick);
  return now - last >= every_ns / 2 && atomic_compare_exchange_strong(&last_tick, &last, now);
}

void collect_now_and_then(purlin_ctx *ctx, void *argument) {
  const storage_configuration *configured = purlin_configuration(ctx);
  storage_search s = {0};
  if (!is_due(collect_tick_ms(configured) * UINT64_C(1000000))) return;
  (void)argument;
  purlin_status status = come_round(ctx, configured->collect_every_s, &s);
  if (s.blobs > 0)
    purlin_log(ctx, PURLIN_INFO, "removed %lld blobs that nothing names any more, %lld bytes", (long long)s.blobs,
               (long long)s.bytes);
  if (status == PURLIN_OK || status == PURLIN_CANCELLED) return;
  purlin_count(collection_failures_total, 1, PURLIN_NO_LABELS);
  purlin_log(ctx, PURLIN_ERROR, "blobs that nothing names cannot be removed: %s", purlin_failure(ctx));
}

uint32_t collect_tick_ms(const storage_configuration *configured) {
  int64_t every_s = configured->collect_every_s;
  return (uint32_t)(every_s < 60 ? every_s : 60) * 1000;
}

void collect_stop(void) { atomic_store(&stopping, true); }

/* ---- When somebody asks ----------------------------------------------------------------------------------------------------------------------- */

typedef struct collect_in {
  bool dry_run;
  const char *after;
} collect_in;
PURLIN_SCHEMA(collect_in, "What to look for",
    PURLIN_DEFAULT(dry_run, "false", "Only tell what would go"),
    PURLIN_DEFAULT(after, "\"\"", "What came as `next` with the call before", .pattern = "[0-9a-f]{64}|", .max_length = 64));

typedef struct collected {
  int64_t count, bytes;
  PURLIN_LIST_OF(purlin_blob) blobs;
  const char *next;
} collected;
PURLIN_SCHEMA(collected, "Blobs that nothing names, and that nobody wrote within the time of grace",
    PURLIN_REQUIRED(count, "How many"),
    PURLIN_REQUIRED(bytes, "Their bytes"),
    PURLIN_LIST(blobs, purlin_blob, "Which"),
    PURLIN_REQUIRED(next, "Go on after this one; empty: that was all"));

static purlin_status tell(purlin_ctx *ctx, const unused_blobs *found, collected *out) {
  purlin_blob *items = purlin_alloc_array(ctx, out->blobs.count + found->count, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  if (out->blobs.count > 0) memcpy(items, out->blobs.items, out->blobs.count * sizeof *items);
  for (size_t i = 0; i < found->count; i++) {
    items[out->blobs.count++] = (purlin_blob){found->items[i].sha256, found->items[i].size};
    out->bytes += found->items[i].size;
  }
  out->blobs.items = items;
  out->count = (int64_t)out->blobs.count;
  return PURLIN_OK;
}

/* What was removed may be less than what was found: somebody wanted it again, or another daemon was first. */
static purlin_status search_for(purlin_ctx *ctx, const collect_in *in, storage_search *s, collected *out) {
  uint64_t end = purlin_ticks_ns() + (uint64_t)LONGEST_CALL_S * 1000000000;
  purlin_status status = holders_remember(ctx);
  if (status == PURLIN_OK && !in->dry_run) status = finish_abandoned(ctx);
  while (status == PURLIN_OK && !s->over && out->count < MOST_TOLD && purlin_ticks_ns() < end) {
    unused_blobs found = {0};
    status = search_next(ctx, s, &found);
    if (status == PURLIN_OK && !in->dry_run) status = remove_found(ctx, s, &found);
    if (status == PURLIN_OK && found.count > 0) status = tell(ctx, &found, out);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
  }
  return status;
}

PURLIN_OPERATION(collect, collect_in, collected,
    .summary = "Remove stored bytes of your workspace that nothing names any more", .permission = "server:write", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/storage/collect", .timeout_ms = 60000,
    .description = "It happens by itself, too. Bytes that were written within the last `grace_s` seconds stay, in case that somebody is about to name them.") {
  storage_search s = {0};
  (void)snprintf(s.after, sizeof s.after, "%s", in->after);
  purlin_status status = search_begin(ctx, &s);
  if (status == PURLIN_OK) status = search_for(ctx, in, &s, out);
  if (status != PURLIN_OK) return status;
  out->next = s.over ? "" : purlin_copy(ctx, s.after);
  if (!in->dry_run) {
    out->count = s.blobs;
    out->bytes = s.bytes;
  }
  return out->next ? PURLIN_OK : PURLIN_TOO_LARGE;
}
