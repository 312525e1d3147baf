#include "webhooks.h"

PURLIN_NEEDS_PLUGIN(registry, "registry");

PURLIN_PLUGIN("webhooks", "0.1.0",
    .summary = "Tells other servers what happened: signed, and again until they have heard",
    .license = "Apache-2.0");
