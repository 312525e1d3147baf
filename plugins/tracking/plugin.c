#include <purlin/purlin.h>

PURLIN_PLUGIN("tracking", "0.1.0",
    .summary = "Experiments and runs: parameters, metrics, tags",
    .license = "Apache-2.0");
