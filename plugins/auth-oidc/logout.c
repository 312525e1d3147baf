/* logout.c: OpenID Connect Back-Channel Logout 1.0: the provider says that somebody logged out there; and RP-Initiated Logout 1.0: who
 * logs out here goes there, too. */
#include "claims.h"
#include "people.h"
#include "person.h"
#include "provider.h"
#include "token.h"
#include <string.h>

enum { LARGEST_BODY = 64 * 1024, SEEN_S = 3600, LOGOUT_MAX_AGE_S = 600 };

#define LOGOUT_EVENT "http://schemas.openid.net/event/backchannel-logout"

static const char FORGET_SEEN[] = "DELETE FROM auth_oidc_seen WHERE id = ?";
static const char NOTE_SEEN[] = "INSERT INTO auth_oidc_seen (id, expires_at) VALUES (?, NOW(6) + INTERVAL ? SECOND)";

static purlin_status no_good(purlin_ctx *ctx, const char *why) {
  return purlin_fail(ctx, PURLIN_INVALID, "logout_token: %s", why);
}

/* ---- The token ---------------------------------------------------------------------------------------------------------------------------- */

static const char *unescaped(purlin_ctx *ctx, const char *text, size_t size) {
  char *out = purlin_copy_bytes(ctx, text, size);
  for (size_t i = 0; out && i < size; i++)
    if (out[i] == '%' || out[i] == '+') return NULL; /* no token has these */
  return out;
}

/* Of a form; NULL: it is not there. */
static const char *token_of(purlin_ctx *ctx, const char *body) {
  static const char name[] = "logout_token=";
  for (const char *at = body; at; at = strchr(at, '&')) {
    if (*at == '&') at++;
    if (strncmp(at, name, sizeof name - 1) != 0) continue;
    at += sizeof name - 1;
    return unescaped(ctx, at, strcspn(at, "&"));
  }
  return NULL;
}

/* Older providers give it no end. */
static purlin_status judge(purlin_ctx *ctx, token_claims *claims) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  const claims_expected expected = {.issuer = configured->issuer,
                                    .client_id = configured->client_id,
                                    .now_s = purlin_now_us() / 1000000,
                                    .skew_s = configured->clock_skew_s};
  purlin_json event;
  if (!claims->sub || !*claims->sub) return no_good(ctx, "it names nobody (sub)");
  if (claims->nonce) return no_good(ctx, "it is a token of a login (nonce)");
  if (!claims->events.text || !claims_find(ctx, claims->events, LOGOUT_EVENT, &event) || *event.text != '{')
    return no_good(ctx, "it tells of no logout (events)");
  if (!claims->jti || !*claims->jti) return no_good(ctx, "it has no id (jti)");
  if (claims->exp.state != PURLIN_SET && claims->iat.state == PURLIN_SET)
    claims->exp = (purlin_opt_double){PURLIN_SET, claims->iat.value + LOGOUT_MAX_AGE_S};
  if (claims_judge(ctx, claims, &expected) == PURLIN_OK) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx));
}

/* Longer than it could come again: its age is bounded by exp, which is bounded here. */
static purlin_status note(purlin_ctx *ctx, const token_claims *claims, char id[65]) {
  const char *both = purlin_format(ctx, "%s\n%s", claims->iss, claims->jti);
  if (!both) return PURLIN_TOO_LARGE;
  if (claims->exp.value - (double)purlin_now_us() / 1e6 > SEEN_S) return no_good(ctx, "it holds too long (exp)");
  purlin_sha256(both, strlen(both), id);
  purlin_status status = purlin_db_run(ctx, NOTE_SEEN, (const char *)id, 2 * (int)SEEN_S);
  return status == PURLIN_CONFLICT ? no_good(ctx, "it came before (jti)") : status;
}

static purlin_status verify(purlin_ctx *ctx, const char *token, token_claims *claims, char seen[65]) {
  purlin_json json;
  purlin_status status = token_verify(ctx, token, "logout+jwt", &json, NULL);
  if (status == PURLIN_OK) status = claims_read(ctx, json, claims);
  if (status == PURLIN_UNAUTHENTICATED) return purlin_fail(ctx, PURLIN_INVALID, "%s", purlin_failure(ctx));
  if (status == PURLIN_OK) status = judge(ctx, claims);
  return status == PURLIN_OK ? note(ctx, claims, seen) : status;
}

/* Whoever never was here has no sessions. */
static purlin_status end_sessions(purlin_ctx *ctx, const token_claims *claims) {
  const char *id = person_id(ctx, claims->iss, claims->sub);
  const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
  if (!id || !sessions) return id ? PURLIN_UNAVAILABLE : PURLIN_TOO_LARGE;
  purlin_status status = sessions->end_all(ctx, DIRECTORY, id);
  if (status == PURLIN_NOT_FOUND) purlin_clear_failure(ctx);
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
}

/* What had no effect may come again. */
static purlin_status take(purlin_ctx *ctx, const char *token) {
  token_claims claims;
  char seen[65];
  purlin_status status = verify(ctx, token, &claims, seen);
  if (status != PURLIN_OK) return status;
  status = end_sessions(ctx, &claims);
  if (status == PURLIN_OK) return status;
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  if (purlin_db_run(ctx, FORGET_SEEN, (const char *)seen) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a logout that had no effect will not be taken when it comes again");
  return purlin_fail(ctx, status, "%s", why ? why : "");
}

PURLIN_ROUTE(backchannel_logout, "POST /api/v1/oidc/backchannel-logout",
    .summary = "The provider says that somebody logged out there", .permission = "public",
    .body = "application/x-www-form-urlencoded", .out = purlin_nothing_schema) {
  const oidc_configuration *configured;
  const purlin_nothing nothing = {0};
  const char *body, *token = NULL;
  size_t size;
  purlin_status status = oidc_configured(ctx, &configured);
  if (status == PURLIN_OK) status = purlin_read_all(ctx, request, LARGEST_BODY, &body, &size);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  if (status != PURLIN_OK) return status;
  token = token_of(ctx, body);
  if (!token) return no_good(ctx, "there is none");
  status = take(ctx, token);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, purlin_nothing_schema(), &nothing) : status;
}

/* ---- Logging out there -------------------------------------------------------------------------------------------------------------------- */

PURLIN_ROUTE(logout, "GET /api/v1/oidc/logout",
    .summary = "Log out at the provider, after logging out here", .permission = "public", .answer = "text/html") {
  const oidc_configuration *configured;
  provider_metadata provider;
  purlin_status status = oidc_configured(ctx, &configured);
  if (status == PURLIN_OK) status = provider_get(ctx, &provider);
  if (status != PURLIN_OK) return status;
  if (!provider.end_session_endpoint)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "the provider has no page to log out (end_session_endpoint)");
  const char *const pairs[] = {"client_id", configured->client_id, "post_logout_redirect_uri",
                               *configured->after_logout_url ? configured->after_logout_url : NULL, NULL};
  const char *query = oidc_form(ctx, pairs), *url = provider.end_session_endpoint;
  const char *to = query ? purlin_format(ctx, "%s%s%s", url, strchr(url, '?') ? "&" : "?", query) : NULL;
  if (!to) return PURLIN_TOO_LARGE;
  status = purlin_set_header(ctx, request, "Location", to);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 303, NULL, "", 0) : status;
}
