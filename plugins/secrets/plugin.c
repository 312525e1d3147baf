#include "secrets.h"

static purlin_status start(purlin_ctx *ctx) { return secrets_uses_start(ctx); }

static purlin_status stop(purlin_ctx *ctx) {
  secrets_uses_end(ctx);
  return PURLIN_OK;
}

static const purlin_secrets functions = {.size = sizeof(purlin_secrets), .get = secrets_get};
PURLIN_PROVIDES(secrets, PURLIN_SECRETS_STORE, functions);

PURLIN_PLUGIN("secrets", "0.1.0",
    .summary = "Tokens and passwords that a workspace keeps for its plugins and policies",
    .license = "Apache-2.0",
    .start = start,
    .stop = stop);
