/* storage.h: what the files of this plugin share.
 *
 * root.c   the folder: ROOT/ab/cdef... for blobs of the workspace 'default', ROOT/workspaces/NAME/ab/cdef... for those of another,
 *          ROOT/staging for what is being written
 * write.c  create, write, commit, abandon
 * read.c   open, read, close, remove
 * ledger.c which workspace has which bytes, and how many it may have
 *
 * Calls that touch the disk run on the blocking pool; a writer gathers 256 KiB before it bothers the disk. */
#ifndef STORAGE_H
#define STORAGE_H

#include <purlin/purlin.h>
#include <purlin/contracts/storage.h>
#include <limits.h>

enum { STORAGE_BLOCK = 256 * 1024, STORAGE_DIGITS = 64, STORAGE_PLACE = 96 };

/* Makes the folders, checks that they can be written, clears staging/. May park. */
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

/* The ledger: a row for each blob of a workspace, and its quota. A row comes before its file and goes before it. Each may park.
 * What is about to be named; PURLIN_NO_SPACE. Then that its file is there; failing that ledger_settle notes it. */
PURLIN_CHECKED purlin_status ledger_add(purlin_ctx *ctx, const purlin_blob *blob);
PURLIN_CHECKED purlin_status ledger_placed(purlin_ctx *ctx, const purlin_blob *blob);
/* Without `placed_too` only where the file never came. */
PURLIN_CHECKED purlin_status ledger_remove(purlin_ctx *ctx, const char *sha256, bool placed_too);
/* How many bytes the workspace may still store; and the failure of who has come beyond that, which does not park. */
PURLIN_CHECKED purlin_status ledger_room(purlin_ctx *ctx, int64_t *bytes);
PURLIN_CHECKED purlin_status ledger_refuse(purlin_ctx *ctx, int64_t bytes, int64_t room);
/* From time to time: rows whose file never came, since a daemon was killed. Who is just about to name theirs makes its row again. */
void ledger_settle(purlin_ctx *ctx, void *argument);

purlin_status storage_create(purlin_ctx *ctx, purlin_blob_writer **writer);
purlin_status storage_write(purlin_ctx *ctx, purlin_blob_writer *writer, const void *data, size_t size);
purlin_status storage_commit(purlin_ctx *ctx, purlin_blob_writer *writer, purlin_blob *blob);
void storage_abandon(purlin_ctx *ctx, purlin_blob_writer *writer);
purlin_status storage_open(purlin_ctx *ctx, const char *sha256, purlin_blob_reader **reader, int64_t *size);
purlin_status storage_read(purlin_ctx *ctx, purlin_blob_reader *reader, int64_t offset, void *buffer, size_t size,
                           size_t *got);
void storage_close(purlin_ctx *ctx, purlin_blob_reader *reader);
purlin_status storage_remove(purlin_ctx *ctx, const char *sha256);

#endif
