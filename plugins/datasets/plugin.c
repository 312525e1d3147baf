#include <purlin/purlin.h>
#include <purlin/contracts/storage.h>

PURLIN_NEEDS(storage);

PURLIN_PLUGIN("datasets", "0.1.0",
    .summary = "Datasets: versions of CSV with schema and statistics",
    .license = "Apache-2.0");
