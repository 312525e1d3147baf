#include "storage.h"
#include <purlin/contracts/storage.h>

enum { SETTLE_EVERY_MS = 10 * 60 * 1000 };

typedef struct storage_configuration {
  const char *root;
} storage_configuration;
PURLIN_SCHEMA(storage_configuration, "Where blobs are kept",
    PURLIN_DEFAULT(root, "\"\"", "The folder; empty: blobs/ in the daemon's state directory", .max_length = 3000));

static purlin_status start(purlin_ctx *ctx) {
  const storage_configuration *configured = purlin_configuration(ctx);
  const char *root = configured->root[0] ? configured->root : purlin_format(ctx, "%s/blobs", purlin_state_directory());
  purlin_status status = root ? storage_prepare(ctx, root) : PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = purlin_background(ctx, "settle", SETTLE_EVERY_MS, ledger_settle, NULL);
  if (status == PURLIN_OK) purlin_background_wake(ctx, "settle");
  return status;
}

static purlin_status stop(purlin_ctx *ctx) { return purlin_background_stop(ctx, "settle"); }

static const purlin_storage functions = {
    .size = sizeof(purlin_storage),
    .create = storage_create,
    .write = storage_write,
    .commit = storage_commit,
    .abandon = storage_abandon,
    .open = storage_open,
    .read = storage_read,
    .close = storage_close,
    .remove = storage_remove,
};
PURLIN_PROVIDES(storage, "fs", functions);

PURLIN_PLUGIN("storage-fs", "0.1.0",
    .summary = "Storage on a file system, named by SHA-256",
    .license = "Apache-2.0",
    .configuration = storage_configuration_schema,
    .start = start,
    .stop = stop);
