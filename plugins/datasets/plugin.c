#include <purlin/purlin.h>
#include <purlin/contracts/storage.h>

PURLIN_NEEDS(storage);

static const purlin_blob_holder versions = {.size = sizeof(purlin_blob_holder), .columns = "datasets_versions.sha256"};
PURLIN_PROVIDES(blob_holder, "datasets", versions);

PURLIN_PLUGIN("datasets", "0.1.0",
    .summary = "Datasets: versions of CSV with schema and statistics",
    .license = "Apache-2.0");
