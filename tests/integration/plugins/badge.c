/* Knows clients by the name in their certificates, for tests: whoever is not called nobody. */
#include <purlin/contracts/authenticator.h>
#include <purlin/purlin.h>
#include <string.h>

PURLIN_PLUGIN("badge", "0.1.0",
    .summary = "Knows certificates, for tests",
    .license = "Apache-2.0");

static purlin_status authenticate(purlin_ctx *ctx, const purlin_credential *credential, purlin_principal *principal) {
  if (credential->kind != PURLIN_CREDENTIAL_CERTIFICATE || strstr(credential->name, "nobody")) return PURLIN_NOT_FOUND;
  if (*credential->secret) return purlin_fail(ctx, PURLIN_INTERNAL, "a certificate has no secret");
  principal->actor = purlin_format(ctx, "user:%s", credential->name);
  principal->credential = "certificate:test";
  principal->workspace = "default";
  return principal->actor ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static const purlin_authenticator functions = {.size = sizeof functions, .authenticate = authenticate};
PURLIN_PROVIDES(authenticator, "badge", functions);
