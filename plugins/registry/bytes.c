/* The bytes of versions, which are in storage: they stay as long as a version names them. */
#include "registry.h"
#include <purlin/contracts/storage.h>
#include <purlin/contracts/tracking.h>

static const purlin_blob_holder versions = {.size = sizeof(purlin_blob_holder), .columns = "registry_versions.sha256"};
PURLIN_PROVIDES(blob_holder, "registry", versions);

/* And the run or the logged model that has its files. */
static const purlin_run_holder places = {.size = sizeof(purlin_run_holder), .columns = "registry_versions.files_of"};
PURLIN_PROVIDES(run_holder, "registry", places);

/* A version may name bytes that are not there: who loads it is told so. */
purlin_status registry_keep_bytes(purlin_ctx *ctx, const char *sha256) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_status status = storage ? purlin_keep_blob(ctx, storage, sha256) : PURLIN_NOT_FOUND;
  if (status != PURLIN_NOT_FOUND) return status;
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}
