#include <purlin/purlin.h>

PURLIN_PLUGIN("registry", "0.1.0",
    .summary = "Models, their versions and aliases",
    .license = "Apache-2.0");
