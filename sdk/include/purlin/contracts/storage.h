/* storage.h: the contract of storage: large bytes, named by their SHA-256.
 *
 * Blobs belong to the workspace of the context that writes them. In another one they are not found, though somebody there may know their
 * SHA-256; who writes the same bytes there has them, too.
 *
 * Writing: create, write ..., commit (which names it) or abandon. What was committed is durable. Two writers of the same bytes get the
 * same name. What a workspace may store is its quota: a write beyond it, or the commit, is PURLIN_NO_SPACE, and nothing is kept. Neither
 * while a transaction is open: in an operation before its first write. Reading: open, read from any offset, close; the whole of what is
 * read in order from offset 0 is verified against the name, and a difference is PURLIN_INTERNAL at the last read, never silently wrong
 * bytes. (Who can tell that nothing has changed since the last time need not do it again; a setting of storage-fs says how long.)
 *
 * Nobody removes a blob by hand. It goes some time after the last row that names it: a plugin whose tables name blobs says so, and calls
 * purlin_keep_blob where it writes such a row:
 *
 *   static const purlin_blob_holder holder = {.size = sizeof holder, .columns = "datasets_versions.sha256"};
 *   PURLIN_PROVIDES(blob_holder, "datasets", holder);
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_CONTRACTS_STORAGE_H
#define PURLIN_CONTRACTS_STORAGE_H

#include <purlin/context.h>
#include <purlin/plugin.h>
#include <purlin/route.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_storage 1u

typedef struct purlin_blob {
  const char *sha256;
  int64_t size;
} purlin_blob; /* 64 hexadecimal digits, arena; bytes */
PURLIN_SCHEMA(purlin_blob, "Stored bytes",
    PURLIN_REQUIRED(sha256, "Their SHA-256", .pattern = "[0-9a-f]{64}"),
    PURLIN_REQUIRED(size, "How many"));

typedef struct purlin_blob_writer purlin_blob_writer;
typedef struct purlin_blob_reader purlin_blob_reader;

/* Each may park. Errors: PURLIN_NO_SPACE, PURLIN_NOT_FOUND (open), PURLIN_INTERNAL, PURLIN_UNAVAILABLE. */
typedef struct purlin_storage {
  uint32_t size;
  purlin_status (*create)(purlin_ctx *ctx, purlin_blob_writer **writer);
  purlin_status (*write)(purlin_ctx *ctx, purlin_blob_writer *writer, const void *data, size_t size);
  purlin_status (*commit)(purlin_ctx *ctx, purlin_blob_writer *writer,
                          purlin_blob *blob); /* ends the writer, also when it fails */
  void (*abandon)(purlin_ctx *ctx, purlin_blob_writer *writer);
  purlin_status (*open)(purlin_ctx *ctx, const char *sha256, purlin_blob_reader **reader, int64_t *size);
  purlin_status (*read)(purlin_ctx *ctx, purlin_blob_reader *reader, int64_t offset, void *buffer, size_t size,
                        size_t *got); /* 0 at the end */
  void (*close)(purlin_ctx *ctx, purlin_blob_reader *reader);
  purlin_status (*remove)(purlin_ctx *ctx, const char *sha256); /* whoever names it; PURLIN_OK also when there was none */
  purlin_status (*keep)(purlin_ctx *ctx, const char *sha256);   /* since 0.2; see purlin_keep_blob, which calls it */
} purlin_storage;

/* ---- Who names blobs. Since 0.2 --------------------------------------------------------------------------------------------- */

#define PURLIN_CONTRACT_blob_holder 1u

/* The table has a column `workspace` too, and an index that begins with both; NULL names nothing. Once seen it is remembered: what a
 * plugin names stays also while that plugin is switched off. */
typedef struct purlin_blob_holder {
  uint32_t size;
  const char *columns; /* "TABLE.COLUMN, TABLE.COLUMN": of CHAR(64), the SHA-256 of blobs that must stay */
} purlin_blob_holder;

/* In the transaction that writes a row that names the blob, as late in it as may be: until that has ended the blob stays, and
 * afterwards the row holds it. Outside of one it counts as wanted from now on, as if it had just been written. May park.
 * Errors: PURLIN_NOT_FOUND (the workspace has no such blob; nothing is recorded), PURLIN_UNAVAILABLE (recorded: it is just being removed,
 * write it again), and those of statements. */
PURLIN_MAYBE_UNUSED static inline purlin_status purlin_keep_blob(purlin_ctx *ctx, const purlin_storage *storage,
                                                                 const char *sha256) {
  bool can = storage->size >= offsetof(purlin_storage, keep) + sizeof storage->keep && storage->keep;
  return can ? storage->keep(ctx, sha256) : PURLIN_OK;
}

/* ---- What nearly every caller does: from beginning to end in blocks ------------------------------------------------------- */

enum { PURLIN_BLOB_BLOCK = 64 * 1024 };

/* Takes a block; anything but PURLIN_OK ends the stream with that. May park. */
typedef purlin_status purlin_blob_watch(purlin_ctx *ctx, void *to, const void *data, size_t size);

/* Internal to purlin_store_body. */
static inline purlin_status purlin_copy_body_(purlin_ctx *ctx, purlin_request *request, const purlin_storage *storage,
                                              purlin_blob_writer *writer, purlin_blob_watch *watch, void *to) {
  char *block = (char *)purlin_alloc(ctx, PURLIN_BLOB_BLOCK);
  if (!block) return PURLIN_TOO_LARGE;
  for (;;) {
    size_t got = 0;
    purlin_status status = purlin_read(ctx, request, block, PURLIN_BLOB_BLOCK, &got);
    if (status == PURLIN_OK && watch) status = watch(ctx, to, block, got);
    if (status != PURLIN_OK || got == 0) return status;
    status = storage->write(ctx, writer, block, got);
    if (status == PURLIN_OK) status = purlin_yield(ctx);
    if (status != PURLIN_OK) return status;
  }
}

/* Streams a request's body into storage. `watch` (may be NULL) sees each block before it is written and, with size 0, the end before
 * the commit; when it refuses, nothing is kept. May park. */
PURLIN_MAYBE_UNUSED static inline purlin_status purlin_store_body(purlin_ctx *ctx, purlin_request *request,
                                                                  const purlin_storage *storage, purlin_blob_watch *watch,
                                                                  void *to, purlin_blob *blob) {
  purlin_blob_writer *writer = NULL;
  purlin_status status = storage->create(ctx, &writer);
  if (status != PURLIN_OK) return status;
  status = purlin_copy_body_(ctx, request, storage, writer, watch, to);
  if (status == PURLIN_OK) return storage->commit(ctx, writer, blob);
  storage->abandon(ctx, writer);
  return status;
}

/* Reads a blob from its beginning, which verifies it, until its end or until *enough (may be NULL) is true. `size` (may be NULL)
 * receives its bytes before the first block. May park. */
PURLIN_MAYBE_UNUSED static inline purlin_status purlin_read_blob(purlin_ctx *ctx, const purlin_storage *storage,
                                                                 const char *sha256, purlin_blob_watch *watch, void *to,
                                                                 const bool *enough, int64_t *size) {
  purlin_blob_reader *reader = NULL;
  int64_t total = 0, at = 0;
  char *block = (char *)purlin_alloc(ctx, PURLIN_BLOB_BLOCK);
  purlin_status status = block ? storage->open(ctx, sha256, &reader, &total) : PURLIN_TOO_LARGE;
  if (status != PURLIN_OK) return status;
  if (size) *size = total;
  while (status == PURLIN_OK && at < total && !(enough && *enough)) {
    size_t got = 0;
    status = storage->read(ctx, reader, at, block, PURLIN_BLOB_BLOCK, &got);
    if (status == PURLIN_OK && got == 0) status = purlin_fail(ctx, PURLIN_INTERNAL, "the blob %s ended early", sha256);
    if (status == PURLIN_OK) status = watch(ctx, to, block, got);
    at += (int64_t)got;
  }
  storage->close(ctx, reader);
  return status;
}

/* Writes `length` bytes of an open blob from `first` on, in blocks of `block_size` bytes, into an answer that has begun. May park.
 * PURLIN_INTERNAL, recorded, when the blob ends before. Since 0.2. */
PURLIN_MAYBE_UNUSED static inline purlin_status purlin_send_blob(purlin_ctx *ctx, purlin_request *request,
                                                                 const purlin_storage *storage, purlin_blob_reader *reader,
                                                                 uint64_t first, uint64_t length, size_t block_size) {
  char *block = (char *)purlin_alloc(ctx, block_size);
  if (!block) return PURLIN_TOO_LARGE;
  while (length > 0) {
    size_t got = 0;
    purlin_status status =
        storage->read(ctx, reader, (int64_t)first, block, length < block_size ? (size_t)length : block_size, &got);
    if (status == PURLIN_OK && got == 0) status = purlin_fail(ctx, PURLIN_INTERNAL, "the blob ended early");
    if (status == PURLIN_OK) status = purlin_write(ctx, request, block, got);
    if (status != PURLIN_OK) return status;
    first += got;
    length -= got;
  }
  return PURLIN_OK;
}

PURLIN_END

#endif
