#include "training.h"

PURLIN_NEEDS(storage);
PURLIN_NEEDS(artifacts);
PURLIN_NEEDS_PLUGIN(datasets, "datasets");
PURLIN_NEEDS_PLUGIN(registry, "registry");
PURLIN_NEEDS_PLUGIN(tracking, "tracking");

static const purlin_blob_holder jobs = {
    .size = sizeof(purlin_blob_holder),
    .columns = "training_jobs.dataset_sha256, training_jobs.artifact_sha256, training_artifacts.sha256"};
PURLIN_PROVIDES(blob_holder, "training", jobs);

PURLIN_PLUGIN("training", "0.1.0",
    .summary = "Training jobs: the same contract wherever a trainer runs",
    .license = "Apache-2.0",
    .configuration = training_configuration_schema);
