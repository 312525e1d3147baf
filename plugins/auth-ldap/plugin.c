#include "auth_ldap.h"
#include "connection.h"

static purlin_status start(purlin_ctx *ctx) {
  const auth_ldap_configuration *settings = purlin_configuration(ctx);
  char why[1200];
  directory_start(settings);
  if (!settings->urls.count) return PURLIN_OK;
  if (!connections_prepare()) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "libldap cannot be set up");
  if (!settings_fine(settings, why, sizeof why)) return purlin_fail(ctx, PURLIN_INVALID, "%s", why);
  for (size_t i = 0; i < settings->urls.count; i++)
    if (settings_say_clear(settings, settings->urls.items[i]))
      purlin_log(ctx, PURLIN_WARNING, "%s: passwords go in the clear, since start_tls is false", settings->urls.items[i]);
  return PURLIN_OK;
}

static const purlin_directory functions = {
    .size = sizeof(purlin_directory), .check = directory_check, .look_up = directory_look_up};
PURLIN_PROVIDES(directory, "ldap", functions);

PURLIN_PLUGIN("auth-ldap", "0.1.0",
    .summary = "People who are known to LDAP or Active Directory",
    .license = "Apache-2.0",
    .configuration = auth_ldap_configuration_schema,
    .start = start,
    .stop = directory_stop);
