/* storage.h: what the files of this plugin share.
 *
 * root.c     the folder: ROOT/ab/cdef... for blobs of the workspace 'default', ROOT/workspaces/NAME/ab/cdef... for those of another,
 *            ROOT/staging for what is being written, ROOT/daemons for who writes
 * staging.c  what is being written, by which daemon
 * write.c    create, write, commit, abandon
 * read.c     open, read, close, keep, remove
 * verified.c what was found right a while ago
 * ledger.c   which workspace has which bytes, and how many it may have
 * holders.c  who names blobs
 * collect.c  blobs that nobody names go
 * unused.c   which they are, and when they go
 *
 * Calls that touch the disk run on the blocking pool; a writer gathers 1 MiB before it bothers the disk. */
#ifndef STORAGE_H
#define STORAGE_H

#include <purlin/purlin.h>
#include <limits.h>
#include <purlin/contracts/storage.h>
#include <sys/stat.h>

enum { STORAGE_BLOCK = 256 * 1024, STORAGE_DIGITS = 64, STORAGE_PLACE = 96 };
/* Who removes a blob touches its file within so long, or not at all; whose removal is older has died with it. */
enum { STORAGE_LEASE_S = 5, STORAGE_STALE_S = 15 };

/* A blob of a workspace. */
typedef struct storage_blob {
  const char *workspace, *sha256;
  int64_t size;
} storage_blob;
PURLIN_SCHEMA(storage_blob, "A blob of a workspace",
    PURLIN_REQUIRED(workspace, "Whose"),
    PURLIN_REQUIRED(sha256, "Its name"),
    PURLIN_REQUIRED(size, "Its bytes"));
typedef PURLIN_LIST_OF(storage_blob) storage_blobs;

typedef struct storage_configuration {
  const char *root;
  int64_t grace_s, collect_every_s, verify_again_s;
} storage_configuration;

/* Makes the folders, checks that they can be written. May park. */
PURLIN_CHECKED purlin_status storage_prepare(purlin_ctx *ctx, const char *root);
const char *storage_root(void);
/* The folder of the workspace's blobs, without its path through ROOT: "" or "/workspaces/NAME". Into STORAGE_PLACE bytes.
 * PURLIN_INVALID, recorded, for a name that is no file's. */
PURLIN_CHECKED purlin_status storage_place(purlin_ctx *ctx, char *out);
/* "ROOT/ab/cdef...", into PATH_MAX bytes; `folder_only` ends it after "ab". */
void storage_path(const char *place, const char *sha256, bool folder_only, char *out);
/* Makes the place's folders, and makes that durable. On a pool. False: errno says why. */
bool storage_make_place(const char *place);
/* Of a folder, after something in it was renamed or made. On a pool. */
bool storage_sync(const char *path);
/* The purlin_status of an errno, recorded with what was tried. */
PURLIN_CHECKED purlin_status storage_fail(purlin_ctx *ctx, int error, const char *tried);

/* Where this daemon writes what has no name yet: on the root's file system, into PATH_MAX bytes. */
void staging_path(const char *name, char *out);
/* begin is for the start; clean removes what killed daemons left; after end nothing is written any more. On a pool; false: errno says why. */
bool staging_begin(const char *id);
bool staging_clean(void);
void staging_end(void);

/* The ledger: a row for each blob of a workspace, and its quota. A row comes before its file and goes after it. Each may park.
 * What is about to be named, in a transaction of its own; waits while the same bytes are being removed. PURLIN_NO_SPACE; PURLIN_UNAVAILABLE when
 * that takes too long. */
PURLIN_CHECKED purlin_status ledger_add(purlin_ctx *ctx, const purlin_blob *blob);
/* Then that its file is there. PURLIN_UNAVAILABLE, recorded, when it is not any more. */
PURLIN_CHECKED purlin_status ledger_placed(purlin_ctx *ctx, const purlin_blob *blob);
/* As purlin_keep_blob. */
PURLIN_CHECKED purlin_status ledger_keep(purlin_ctx *ctx, const char *sha256);
/* Where the file never came, in a transaction of its own. */
PURLIN_CHECKED purlin_status ledger_take_back(purlin_ctx *ctx, const char *sha256);
/* To the quota, in the transaction that deletes a row. */
PURLIN_CHECKED purlin_status ledger_give_back(purlin_ctx *ctx, int64_t bytes);
/* How many bytes the workspace may still store; and the failure of who has come beyond that, which does not park. */
PURLIN_CHECKED purlin_status ledger_room(purlin_ctx *ctx, int64_t *bytes);
PURLIN_CHECKED purlin_status ledger_refuse(purlin_ctx *ctx, int64_t bytes, int64_t room);
/* From time to time: rows whose file never came, since a daemon was killed. Who is just about to name theirs makes its row again. */
PURLIN_CHECKED purlin_status ledger_settle(purlin_ctx *ctx, int64_t older_than_s);

/* Notes the columns that plugins say they name blobs in. May park. */
PURLIN_CHECKED purlin_status holders_remember(purlin_ctx *ctx);
/* SQL that is true where somebody names the blob `b`, a row of storage_fs_blobs: in a column that is remembered, or told now. A column that cannot be read is an error, recorded. May
 * park. */
PURLIN_CHECKED purlin_status holders_condition(purlin_ctx *ctx, const char **condition);

/* A search through the blobs of the context's workspace for those that nobody names. */
typedef struct storage_search {
  const char *condition, *sql;
  int64_t grace_s;                /* only those that nobody wanted for so long */
  char after[STORAGE_DIGITS + 1]; /* the last one that was looked at */
  bool over;
  int64_t blobs, bytes; /* removed */
} storage_search;
typedef struct unused_blob {
  const char *sha256;
  int64_t size;
  purlin_time wanted_at, goes_at;
  bool due;
} unused_blob;
PURLIN_SCHEMA(unused_blob, "Stored bytes that nothing names",
    PURLIN_REQUIRED(sha256, "Their SHA-256"),
    PURLIN_REQUIRED(size, "How many"),
    PURLIN_REQUIRED(wanted_at, "When they were last written, or somebody said that they will be named"),
    PURLIN_REQUIRED(goes_at, "The first search after this removes them, unless something names them by then"),
    PURLIN_REQUIRED(due, "That time has come"));
typedef PURLIN_LIST_OF(unused_blob) unused_blobs;
/* Begins it, at s->after; then what is found among the next blobs, for which s->grace_s may be changed. Each may park. */
PURLIN_CHECKED purlin_status search_begin(purlin_ctx *ctx, storage_search *s);
PURLIN_CHECKED purlin_status search_next(purlin_ctx *ctx, storage_search *s, unused_blobs *found);

/* From time to time: removes what nobody names, in all workspaces, once in the cluster. */
void collect_now_and_then(purlin_ctx *ctx, void *argument);
uint32_t collect_tick_ms(const storage_configuration *configured);
/* What runs ends soon. */
void collect_stop(void);
/* Goes on with the removal of this blob if who began it has died. May park. */
PURLIN_CHECKED purlin_status collect_abandoned(purlin_ctx *ctx, const char *sha256);
/* Whoever names it. May park. */
PURLIN_CHECKED purlin_status collect_at_once(purlin_ctx *ctx, const char *sha256);

/* Files that were read whole and found to have the SHA-256 of their name, and did not change since. Any thread. */
void verified_begin(int64_t again_s); /* after so many seconds they are hashed again; 0: each time */
bool verified_lately(const char *sha256, const struct stat *file);
void verified_now(const char *sha256, const struct stat *file);

purlin_status storage_create(purlin_ctx *ctx, purlin_blob_writer **writer);
purlin_status storage_write(purlin_ctx *ctx, purlin_blob_writer *writer, const void *data, size_t size);
purlin_status storage_commit(purlin_ctx *ctx, purlin_blob_writer *writer, purlin_blob *blob);
void storage_abandon(purlin_ctx *ctx, purlin_blob_writer *writer);
purlin_status storage_open(purlin_ctx *ctx, const char *sha256, purlin_blob_reader **reader, int64_t *size);
purlin_status storage_read(purlin_ctx *ctx, purlin_blob_reader *reader, int64_t offset, void *buffer, size_t size,
                           size_t *got);
void storage_close(purlin_ctx *ctx, purlin_blob_reader *reader);
purlin_status storage_keep(purlin_ctx *ctx, const char *sha256);
purlin_status storage_remove(purlin_ctx *ctx, const char *sha256);

#endif
