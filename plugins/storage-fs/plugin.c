#include "storage.h"

enum { SETTLE_EVERY_MS = 10 * 60 * 1000 };

PURLIN_SCHEMA(storage_configuration, "Where blobs are kept, and for how long",
    PURLIN_DEFAULT(root, "\"blobs\"", "The folder; from the daemon's state directory, where it does not begin with '/'", .min_length = 1, .max_length = 3000, .folder = true),
    PURLIN_DEFAULT(grace_s, "86400", "How long bytes that nothing names stay after they were written, in seconds", .min = 1, .max = 1e9),
    PURLIN_DEFAULT(collect_every_s, "3600", "How often they are looked for, in seconds; 0: they stay", .min = 0, .max = 1e9),
    PURLIN_DEFAULT(verify_again_s, "3600", "How long a file that was read whole and found right, and did not change since, is not hashed again, in seconds; 0: it is each time", .min = 0, .max = 1e9));

/* After a crash: at the start, and then now and then for what other nodes left. */
static void settle(purlin_ctx *ctx, void *argument) {
  (void)argument;
  purlin_status status = ledger_settle(ctx, 0);
  if (status == PURLIN_OK || status == PURLIN_CANCELLED) return;
  purlin_log(ctx, PURLIN_WARNING, "blobs that never came cannot be given back: %s", purlin_failure(ctx));
}

static purlin_status start(purlin_ctx *ctx) {
  const storage_configuration *configured = purlin_configuration(ctx);
  bool absolute = configured->root[0] == '/';
  const char *root = absolute ? configured->root : purlin_format(ctx, "%s/%s", purlin_state_directory(), configured->root);
  purlin_status status = root ? storage_prepare(ctx, root) : PURLIN_TOO_LARGE;
  verified_begin(configured->verify_again_s);
  if (status == PURLIN_OK) status = purlin_background(ctx, "settle", SETTLE_EVERY_MS, settle, NULL);
  if (status == PURLIN_OK && configured->collect_every_s > 0)
    status = purlin_background(ctx, "collect", collect_tick_ms(configured), collect_now_and_then, NULL);
  if (status == PURLIN_OK) purlin_background_wake(ctx, "settle");
  return status;
}

static purlin_status end_staging(void *argument) {
  (void)argument;
  staging_end();
  return PURLIN_OK;
}

static purlin_status stop(purlin_ctx *ctx) {
  collect_stop();
  purlin_status status = purlin_background_stop(ctx, "collect");
  if (status == PURLIN_OK) status = purlin_background_stop(ctx, "settle");
  return status == PURLIN_OK ? purlin_offload(ctx, PURLIN_POOL_BLOCKING, end_staging, NULL) : status;
}

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
    .keep = storage_keep,
};
PURLIN_PROVIDES(storage, "fs", functions);

PURLIN_PLUGIN("storage-fs", "0.1.0",
    .summary = "Storage on a file system, named by SHA-256",
    .license = "Apache-2.0",
    .configuration = storage_configuration_schema,
    .start = start,
    .stop = stop);
