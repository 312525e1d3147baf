#include "jwt.h"
#include "oidc.h"
#include "people.h"
#include "provider.h"
#include <purlin/contracts/sign_on.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- What the files share ----------------------------------------------------------------------------------------------------------------- */

static const oidc_configuration *settings;

const oidc_configuration *oidc_settings(void) { return settings; }

purlin_status oidc_configured(purlin_ctx *ctx, const oidc_configuration **out) {
  *out = purlin_configuration(ctx);
  if (*(*out)->issuer) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no single sign-on here: plugin \"auth-oidc\" has no issuer");
}

const char *oidc_redirect_url(purlin_ctx *ctx) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  if (*configured->redirect_url) return configured->redirect_url;
  return purlin_format(ctx, "%s/api/v1/oidc/callback", purlin_server_url());
}

const char *oidc_form(purlin_ctx *ctx, const char *const *pairs) {
  size_t size = 1, at = 0;
  for (const char *const *p = pairs; *p; p += 2)
    if (p[1]) size += strlen(p[0]) + rules_escape(p[1], NULL) + 2;
  char *out = purlin_alloc(ctx, size);
  for (const char *const *p = pairs; out && *p; p += 2) {
    if (!p[1]) continue;
    at += (size_t)snprintf(out + at, size - at, "%s%s=", at ? "&" : "", p[0]);
    at += rules_escape(p[1], out + at);
  }
  return out;
}

purlin_status oidc_refuse(purlin_ctx *ctx, const char *who, const char *format, ...) {
  char why[512];
  va_list values;
  va_start(values, format);
  (void)vsnprintf(why, sizeof why, format, values);
  va_end(values);
  const purlin_audit_entry entry = {.operation = "auth-oidc.login", .object = who, .outcome = PURLIN_AUDIT_REFUSED};
  if (purlin_audit(ctx, &entry) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a login that was refused could not be written into the audit log");
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "%s", why);
}

/* ---- The plugin --------------------------------------------------------------------------------------------------------------------------- */

static bool holds(purlin_texts list, const char *text) {
  for (size_t i = 0; i < list.count; i++)
    if (strcmp(list.items[i], text) == 0) return true;
  return false;
}

/* HS256 would make the client's secret a key that signs. */
static purlin_status check_algorithms(purlin_ctx *ctx, purlin_texts algorithms) {
  for (size_t i = 0; i < algorithms.count; i++) {
    jwt_algorithm algorithm = jwt_algorithm_of(algorithms.items[i]);
    if (algorithm == JWT_ALGORITHMS || algorithm == JWT_HS256)
      return purlin_fail(ctx, PURLIN_INVALID, "algorithms: '%.50s' is none of RS256, PS256, ES256, EdDSA",
                         algorithms.items[i]);
  }
  return PURLIN_OK;
}

static purlin_status check_configuration(purlin_ctx *ctx, const oidc_configuration *c) {
  if (!rules_is_endpoint(c->issuer) || strchr(c->issuer, '?'))
    return purlin_fail(ctx, PURLIN_INVALID,
                       "issuer: '%.200s' is not an https:// address (http:// is for this machine alone)", c->issuer);
  if (!*c->client_id) return purlin_fail(ctx, PURLIN_INVALID, "client_id: there is none, but an issuer");
  if (!holds(c->scopes, "openid")) return purlin_fail(ctx, PURLIN_INVALID, "scopes: openid must be among them");
  if (*c->redirect_url && !rules_is_endpoint(c->redirect_url))
    return purlin_fail(ctx, PURLIN_INVALID, "redirect_url: '%.200s' is not an https:// address", c->redirect_url);
  if (*c->after_logout_url && !rules_is_endpoint(c->after_logout_url))
    return purlin_fail(ctx, PURLIN_INVALID, "after_logout_url: '%.200s' is not an https:// address", c->after_logout_url);
  if (!*c->required_claim != !*c->required_value)
    return purlin_fail(ctx, PURLIN_INVALID, "required_claim and required_value: one without the other says nothing");
  return check_algorithms(ctx, c->algorithms);
}

/* A link of the login page; without a label it has none. */
static purlin_sign_on sign_on = {.size = sizeof sign_on, .path = "/api/v1/oidc/login"};
PURLIN_PROVIDES(sign_on, DIRECTORY, sign_on);

/* The provider is not asked: this server starts without it. */
static purlin_status start(purlin_ctx *ctx) {
  settings = purlin_configuration(ctx);
  if (!*settings->issuer) return PURLIN_OK;
  sign_on.label = settings->label;
  return check_configuration(ctx, settings);
}

static purlin_status stop(purlin_ctx *ctx) {
  (void)ctx;
  provider_end();
  return PURLIN_OK;
}

static const purlin_directory functions = {
    .size = sizeof(purlin_directory), .check = people_check, .look_up = people_look_up};
PURLIN_PROVIDES(directory, DIRECTORY, functions);

PURLIN_PLUGIN("auth-oidc", "0.1.0",
    .summary = "Single sign-on by OpenID Connect",
    .license = "Apache-2.0",
    .configuration = oidc_configuration_schema,
    .start = start,
    .stop = stop);
