#include "uploads.h"

PURLIN_NEEDS(storage);
PURLIN_NEEDS_PLUGIN(tracking, "tracking");

static const purlin_blob_holder files = {.size = sizeof(purlin_blob_holder),
                                         .columns = "artifacts_files.sha256, artifacts_parts.sha256"};
PURLIN_PROVIDES(blob_holder, "artifacts", files);

static const purlin_artifacts functions = {
    .size = sizeof(purlin_artifacts),
    .put = artifacts_put,
    .send = artifacts_send,
    .name = artifacts_name,
};
PURLIN_PROVIDES(artifacts, "storage", functions);

enum { CLEAR_EVERY_MS = 5 * 1000 };

static purlin_status start(purlin_ctx *ctx) {
  return purlin_background(ctx, "uploads", CLEAR_EVERY_MS, uploads_clear, NULL);
}

static purlin_status stop(purlin_ctx *ctx) { return purlin_background_stop(ctx, "uploads"); }

PURLIN_PLUGIN("artifacts", "0.1.0",
    .summary = "Files of runs, logged models and traces",
    .license = "Apache-2.0",
    .start = start,
    .stop = stop);
