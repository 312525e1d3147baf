#include "serving.h"

PURLIN_NEEDS(storage);
PURLIN_NEEDS_PLUGIN(registry, "registry");
PURLIN_NEEDS_PLUGIN(artifacts, "artifacts");
PURLIN_NEEDS_PLUGIN(datasets, "datasets");

static const purlin_blob_holder deployments = {.size = sizeof(purlin_blob_holder), .columns = "serving_deployments.sha256"};
PURLIN_PROVIDES(blob_holder, "serving", deployments);

enum { LOG_EVERY_MS = 100, REFRESH_EVERY_MS = 1000 };

static purlin_status start(purlin_ctx *ctx) {
  purlin_status status = purlin_background(ctx, "prediction_log", LOG_EVERY_MS, log_tick, NULL);
  return status == PURLIN_OK ? purlin_background(ctx, "endpoints", REFRESH_EVERY_MS, endpoints_refresh, NULL) : status;
}

static purlin_status stop(purlin_ctx *ctx) {
  purlin_status status = purlin_background_stop(ctx, "endpoints");
  if (status == PURLIN_OK) status = purlin_background_stop(ctx, "prediction_log");
  log_close(ctx);
  cache_close();
  return status;
}

PURLIN_PLUGIN("serving", SERVING_RELEASE,
    .summary = "Endpoints that serve models, their prediction log and the labels that come later",
    .license = "Apache-2.0",
    .configuration = serving_configuration_schema,
    .start = start,
    .stop = stop);
