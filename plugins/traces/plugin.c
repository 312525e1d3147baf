#include "traces.h"

enum { RETENTION_EVERY_MS = 10 * 60 * 1000 };

static purlin_status start(purlin_ctx *ctx) {
  return purlin_background(ctx, "retention", RETENTION_EVERY_MS, traces_forget_old, NULL);
}
static purlin_status stop(purlin_ctx *ctx) { return purlin_background_stop(ctx, "retention"); }

PURLIN_NEEDS_PLUGIN(tracking, "tracking");

PURLIN_PLUGIN("traces", "0.1.0",
    .summary = "Traces, their spans and what is said of them; OpenTelemetry's protocol",
    .license = "Apache-2.0",
    .configuration = traces_configuration_schema,
    .start = start,
    .stop = stop);
