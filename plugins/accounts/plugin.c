#include "accounts.h"
#include "authenticate.h"
#include "keys.h"

static const accounts_configuration *configured; /* set at start; lives as long as the plugin */

const accounts_configuration *accounts_configured(void) { return configured; }

static purlin_status start(purlin_ctx *ctx) {
  configured = purlin_configuration(ctx);
  purlin_status status = accounts_checks_start(ctx);
  if (status == PURLIN_OK) status = accounts_register_start(ctx);
  return status == PURLIN_OK ? authenticate_start(ctx) : status;
}

static purlin_status stop(purlin_ctx *ctx) {
  (void)ctx;
  keys_end();
  return PURLIN_OK;
}

static const purlin_authenticator functions = {.size = sizeof(purlin_authenticator),
                                               .authenticate = authenticate,
                                               .vouch = authenticate_vouch,
                                               .comes_in = accounts_comes_in,
                                               .groups = authenticate_groups};
PURLIN_PROVIDES(authenticator, "accounts", functions);

PURLIN_PLUGIN("accounts", "0.1.0",
    .summary = "People, their passwords and sessions",
    .license = "Apache-2.0",
    .configuration = accounts_configuration_schema,
    .start = start,
    .stop = stop);
