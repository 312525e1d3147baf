/* storage.h: the contract of storage: large bytes, named by their SHA-256.
 *
 * Writing: create, write ..., commit (which names it) or abandon. What was committed is durable. Two writers of the same bytes get the
 * same name. Reading: open, read from any offset, close; the whole of what is read in order from offset 0 is verified against the
 * name, and a difference is PURLIN_INTERNAL at the last read, never silently wrong bytes. */
#ifndef PURLIN_CONTRACTS_STORAGE_H
#define PURLIN_CONTRACTS_STORAGE_H

#include <purlin/plugin.h>

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
  purlin_status (*remove)(purlin_ctx *ctx, const char *sha256); /* PURLIN_OK also when there was none */
} purlin_storage;

PURLIN_END

#endif
