#include "accounts.h"
#include "authenticate.h"
#include "keys.h"

static purlin_status start(purlin_ctx *ctx) {
  purlin_status status = keys_start(ctx);
  if (status == PURLIN_OK) status = accounts_checks_start(ctx);
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
                                               .comes_in = accounts_comes_in};
PURLIN_PROVIDES(authenticator, "accounts", functions);

PURLIN_PLUGIN("accounts", "0.1.0",
    .summary = "People, their passwords and sessions",
    .license = "Apache-2.0",
    .configuration = accounts_configuration_schema,
    .start = start,
    .stop = stop);
