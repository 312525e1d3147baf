#include "artifacts.h"

PURLIN_NEEDS(storage);
PURLIN_NEEDS_PLUGIN(tracking, "tracking");

static const purlin_blob_holder files = {.size = sizeof(purlin_blob_holder), .columns = "artifacts_files.sha256"};
PURLIN_PROVIDES(blob_holder, "artifacts", files);

static const purlin_artifacts functions = {
    .size = sizeof(purlin_artifacts),
    .put = artifacts_put,
    .send = artifacts_send,
    .name = artifacts_name,
};
PURLIN_PROVIDES(artifacts, "storage", functions);

PURLIN_PLUGIN("artifacts", "0.1.0",
    .summary = "Files of runs, logged models and traces",
    .license = "Apache-2.0");
