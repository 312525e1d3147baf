/* check.c: for whoever sets this up: each step that a login takes, whether it works, and what is wrong where it does not. */
#include "jwk.h"
#include "provider.h"
#include <string.h>

enum { MOST_STEPS = 12 };

typedef struct check_step {
  const char *step;
  bool works;
  const char *detail;
} check_step;
PURLIN_SCHEMA(check_step, "A step that a login takes",
    PURLIN_REQUIRED(step, "What was tried"), PURLIN_REQUIRED(works, "Whether it works"),
    PURLIN_REQUIRED(detail, "What was found, or what is wrong"));

typedef struct check_report {
  PURLIN_LIST_OF(check_step) steps;
} check_report;
PURLIN_SCHEMA(check_report, "What works and what does not", PURLIN_LIST(steps, check_step, "In the order of a login; what cannot be tried is left out"));

static void add(check_report *report, const char *step, bool works, const char *detail) {
  if (report->steps.count < MOST_STEPS)
    report->steps.items[report->steps.count++] = (check_step){step, works, detail ? detail : ""};
}

/* What failed is an answer here. */
static void add_failure(purlin_ctx *ctx, check_report *report, const char *step) {
  add(report, step, false, purlin_copy(ctx, purlin_failure(ctx)));
  purlin_clear_failure(ctx);
}

static bool holds(purlin_texts list, const char *text) {
  for (size_t i = 0; i < list.count; i++)
    if (strcmp(list.items[i], text) == 0) return true;
  return false;
}

static const char *joined(purlin_ctx *ctx, purlin_texts list) {
  const char *out = "";
  for (size_t i = 0; out && i < list.count; i++) out = purlin_format(ctx, "%s%s%s", out, i ? " " : "", list.items[i]);
  return out;
}

static void check_endpoints(purlin_ctx *ctx, const oidc_configuration *configured, const provider_metadata *m,
                            check_report *report) {
  add(report, "authorization endpoint", true, m->authorization_endpoint);
  add(report, "token endpoint", true, m->token_endpoint);
  add(report, "PKCE", holds(m->code_challenge_methods_supported, "S256"),
      m->code_challenge_methods_supported.count > 0 ? joined(ctx, m->code_challenge_methods_supported)
                                                    : "the provider does not announce it; S256 is sent all the same");
  const purlin_texts ways = m->token_endpoint_auth_methods_supported;
  if (*configured->client_secret && ways.count > 0)
    add(report, "client authentication", holds(ways, configured->client_authentication),
        purlin_format(ctx, "here %s, there %s", configured->client_authentication, joined(ctx, ways)));
  if (configured->userinfo)
    add(report, "userinfo", m->userinfo_endpoint != NULL,
        m->userinfo_endpoint ? m->userinfo_endpoint : "the provider has none");
  add(report, "device flow (purlin login --sso)", m->device_authorization_endpoint != NULL,
      m->device_authorization_endpoint ? m->device_authorization_endpoint : "the provider has none");
  add(report, "logout", m->end_session_endpoint != NULL,
      m->end_session_endpoint ? m->end_session_endpoint : "the provider has none");
}

/* The algorithms that both know and for which there is a key. */
static void check_keys(purlin_ctx *ctx, const oidc_configuration *configured, const provider_metadata *m,
                       check_report *report) {
  provider_keys keys;
  purlin_json text;
  const char *usable = "";
  if (provider_fetch_keys(ctx, m->jwks_uri, &keys, &text) != PURLIN_OK) {
    add_failure(ctx, report, "keys");
    return;
  }
  for (size_t i = 0; usable && i < configured->algorithms.count; i++) {
    const char *name = configured->algorithms.items[i];
    bool found = false;
    for (size_t k = 0; k < keys.keys.count; k++) {
      const provider_key *key = &keys.keys.items[k];
      const jwk from = {.kty = key->kty, .crv = key->crv, .n = key->n, .e = key->e, .x = key->x, .y = key->y};
      jwt_key made = {0};
      found = found || ((!key->alg || strcmp(key->alg, name) == 0) && (!key->use || strcmp(key->use, "sig") == 0) &&
                        jwk_take(&from, jwt_algorithm_of(name), &made));
      jwt_key_end(&made);
    }
    bool announced =
        m->id_token_signing_alg_values_supported.count == 0 || holds(m->id_token_signing_alg_values_supported, name);
    if (found && announced) usable = purlin_format(ctx, "%s%s%s", usable, *usable ? " " : "", name);
  }
  add(report, "keys", usable && *usable,
      purlin_format(ctx, "%s: %zu; good for %s", m->jwks_uri, keys.keys.count,
                    usable && *usable ? usable : "no algorithm that is allowed here"));
}

PURLIN_OPERATION(check, purlin_nothing, check_report,
    .summary = "Try what a login by single sign-on takes, step by step", .permission = "server:read", .effect = PURLIN_READS,
    .http = "GET /api/v1/oidc/check", .description = "Asks the provider; nobody is logged in.") {
  const oidc_configuration *configured;
  provider_metadata provider;
  purlin_json text;
  const char *redirect_url = oidc_redirect_url(ctx);
  out->steps.items = purlin_alloc_array(ctx, MOST_STEPS, sizeof *out->steps.items);
  if (!out->steps.items || !redirect_url) return PURLIN_TOO_LARGE;
  if (oidc_configured(ctx, &configured) != PURLIN_OK) {
    add_failure(ctx, out, "configuration");
    return PURLIN_OK;
  }
  add(out, "redirect URL", rules_is_endpoint(redirect_url),
      purlin_format(ctx, "%s; the provider must know it of the client '%s'", redirect_url, configured->client_id));
  if (provider_fetch_metadata(ctx, &provider, &text) != PURLIN_OK) {
    add_failure(ctx, out, "discovery");
    return PURLIN_OK;
  }
  add(out, "discovery", true, provider.issuer);
  check_endpoints(ctx, configured, &provider, out);
  check_keys(ctx, configured, &provider, out);
  return PURLIN_OK;
}
