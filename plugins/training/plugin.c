#include "training.h"

PURLIN_NEEDS(storage);
PURLIN_NEEDS_PLUGIN(datasets, "datasets");
PURLIN_NEEDS_PLUGIN(registry, "registry");

PURLIN_PLUGIN("training", "0.1.0",
    .summary = "Training jobs: the same contract wherever a trainer runs",
    .license = "Apache-2.0",
    .configuration = training_configuration_schema);
