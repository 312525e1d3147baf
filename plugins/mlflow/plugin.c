#include "mlflow.h"

PURLIN_NEEDS_PLUGIN(tracking, "tracking");
PURLIN_NEEDS_PLUGIN(registry, "registry");
PURLIN_NEEDS_PLUGIN(traces, "traces");
PURLIN_NEEDS(artifacts);

PURLIN_PLUGIN("mlflow", "0.1.0",
    .summary = "MLflow's REST protocol, so that its clients work unchanged",
    .license = "Apache-2.0");
