#include <purlin/purlin.h>

PURLIN_NEEDS_PLUGIN(datasets, "datasets");
PURLIN_NEEDS_PLUGIN(serving, "serving");

PURLIN_PLUGIN("drift", "0.1.0",
    .summary = "Monitors: inputs that move away from what a model learned from, and accuracy that falls",
    .license = "Apache-2.0");
