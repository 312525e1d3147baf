#include "purge.h"

PURLIN_SCHEMA(tracking_configuration, "How long what was deleted can come back",
    PURLIN_DEFAULT(keep_deleted_days, "0", "Deleted runs, logged models and experiments are purged after so many days; 0: never", .min = 0, .max = 36500));

PURLIN_PLUGIN("tracking", "0.1.0",
    .summary = "Experiments and runs: parameters, metrics, tags",
    .license = "Apache-2.0",
    .configuration = tracking_configuration_schema);
