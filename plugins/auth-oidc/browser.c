/* browser.c: the authorization code flow with PKCE (RFC 7636), nonce and issuer identification (RFC 9207).
 *
 * A login is bound to the browser that began it by a cookie that holds a secret. Nonce and code verifier follow from it and from the state,
 * so that neither the database nor the address that a browser was sent to is enough to go on with somebody's login. Its row goes with the
 * first answer that is right: whatever comes again finds none. */
#include "exchange.h"
#include "jwt.h"
#include "network.h"
#include "people.h"
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

enum { LOGIN_S = 600, MOST_OPEN = 200, DERIVED_SIZE = 44, LONGEST_COOKIE = 100 };

static const char INSERT_LOGIN[] =
    "INSERT INTO auth_oidc_logins (state, browser, return_to, address, expires_at)"
    " SELECT ?, ?, ?, ?, NOW(6) + INTERVAL ? SECOND FROM DUAL WHERE"
    " (SELECT COUNT(*) FROM auth_oidc_logins l WHERE l.address = ? AND l.expires_at > NOW(6)) < ?";
static const char TAKE_LOGIN[] =
    "DELETE FROM auth_oidc_logins WHERE state = ? AND browser = ? AND expires_at > NOW(6) RETURNING return_to";

typedef struct login_row {
  const char *return_to;
} login_row;
PURLIN_SCHEMA(login_row, "A login that was begun", PURLIN_REQUIRED(return_to, "where it goes on"));

/* ---- The cookie -------------------------------------------------------------------------------------------------------------------------- */

/* The prefix makes browsers take it from this host over TLS alone. */
static bool is_secure(const char *redirect_url) { return strncmp(redirect_url, "https://", 8) == 0; }
static const char *cookie_name(const char *redirect_url) {
  return is_secure(redirect_url) ? "__Host-purlin-oidc" : "purlin-oidc";
}

/* Lax: it comes along when the provider sends the browser back. */
static purlin_status set_cookie(purlin_ctx *ctx, purlin_request *request, const char *value, int age_s) {
  const char *url = oidc_redirect_url(ctx);
  const char *cookie = url ? purlin_format(ctx, "%s=%s; Path=/; HttpOnly; SameSite=Lax; Max-Age=%d%s", cookie_name(url),
                                           value, age_s, is_secure(url) ? "; Secure" : "")
                           : NULL;
  return cookie ? purlin_set_header(ctx, request, "Set-Cookie", cookie) : PURLIN_TOO_LARGE;
}

/* NULL when there is none, or more than one: then somebody else set one, too. */
static const char *get_cookie(purlin_ctx *ctx, const purlin_request *request) {
  const char *url = oidc_redirect_url(ctx), *found = url ? purlin_cookie(request, cookie_name(url)) : NULL;
  return found && strlen(found) <= LONGEST_COOKIE ? found : NULL;
}

/* ---- What follows from it ---------------------------------------------------------------------------------------------------------------- */

static bool derive(const char *secret, const char *what, const char *state, char out[DERIVED_SIZE]) {
  unsigned char text[256], digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  size_t first = strlen(what) + 1, second = strlen(state);
  if (first + second > sizeof text) return false;
  memcpy(text, what, first);
  memcpy(text + first, state, second);
  if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), text, first + second, digest, &size)) return false;
  jwt_base64url(digest, size, out);
  return true;
}

static bool challenge_of(const char verifier[DERIVED_SIZE], char out[DERIVED_SIZE]) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(verifier, strlen(verifier), digest, &size, EVP_sha256(), NULL) != 1) return false;
  jwt_base64url(digest, size, out);
  return true;
}

/* ---- Going there ------------------------------------------------------------------------------------------------------------------------- */

static purlin_status redirect(purlin_ctx *ctx, purlin_request *request, const char *to) {
  purlin_status status = purlin_set_header(ctx, request, "Location", to);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Referrer-Policy", "no-referrer");
  return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 303, NULL, "", 0) : status;
}

static const char *scopes(purlin_ctx *ctx, purlin_texts list) {
  const char *out = "";
  for (size_t i = 0; out && i < list.count; i++) out = purlin_format(ctx, "%s%s%s", out, i ? " " : "", list.items[i]);
  return out;
}

static const char *authorization_url(purlin_ctx *ctx, const provider_metadata *provider, const char *state,
                                     const char *secret) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  char nonce[DERIVED_SIZE], verifier[DERIVED_SIZE], challenge[DERIVED_SIZE];
  if (!derive(secret, "nonce", state, nonce) || !derive(secret, "verifier", state, verifier) ||
      !challenge_of(verifier, challenge))
    return NULL;
  const char *const pairs[] = {"response_type",
                               "code",
                               "client_id",
                               configured->client_id,
                               "redirect_uri",
                               oidc_redirect_url(ctx),
                               "scope",
                               scopes(ctx, configured->scopes),
                               "state",
                               state,
                               "nonce",
                               nonce,
                               "code_challenge",
                               challenge,
                               "code_challenge_method",
                               "S256",
                               NULL};
  const char *query = oidc_form(ctx, pairs), *url = provider->authorization_endpoint;
  return query ? purlin_format(ctx, "%s%s%s", url, strchr(url, '?') ? "&" : "?", query) : NULL;
}

static purlin_status begin(purlin_ctx *ctx, const purlin_request *request, const char *state, const char *secret,
                           const char *return_to) {
  char state_hash[65], browser_hash[65], address[NETWORK_ROOM];
  network_of(purlin_address(request), address);
  purlin_sha256(state, strlen(state), state_hash);
  purlin_sha256(secret, strlen(secret), browser_hash);
  purlin_status status = purlin_db_run(ctx, INSERT_LOGIN, state_hash, browser_hash, return_to, (const char *)address,
                                       (int)LOGIN_S, (const char *)address, (int)MOST_OPEN);
  if (status != PURLIN_OK || purlin_affected(ctx) > 0) return status;
  purlin_retry_after(ctx, LOGIN_S / 10);
  return purlin_fail(ctx, PURLIN_TOO_MANY, "too many logins were begun from this address and not ended");
}

typedef struct login_in {
  const char *next;
} login_in;
PURLIN_SCHEMA(login_in, "Where to go on", PURLIN_DEFAULT(next, "\"/docs\"", "A path of this server, for after the login", .max_length = 1000));

PURLIN_ROUTE(login, "GET /api/v1/oidc/login",
    .summary = "Log in by single sign-on, in a browser", .permission = "public", .query = login_in_schema, .answer = "text/html") {
  login_in in;
  provider_metadata provider;
  const oidc_configuration *configured;
  purlin_status status = oidc_configured(ctx, &configured);
  if (status == PURLIN_OK) status = purlin_query_decode(ctx, request, login_in_schema(), &in);
  if (status == PURLIN_OK && !rules_is_local_path(in.next))
    status = purlin_fail_field(ctx, "next", "must be a path of this server");
  if (status == PURLIN_OK) status = provider_get(ctx, &provider);
  if (status != PURLIN_OK) return status;
  const char *state = purlin_new_secret(ctx, "state"), *secret = purlin_new_secret(ctx, "browser");
  const char *to = state && secret ? authorization_url(ctx, &provider, state, secret) : NULL;
  if (!to) return PURLIN_TOO_LARGE;
  status = begin(ctx, request, state, secret, in.next);
  if (status == PURLIN_OK) status = set_cookie(ctx, request, secret, LOGIN_S);
  return status == PURLIN_OK ? redirect(ctx, request, to) : status;
}

/* ---- Coming back ------------------------------------------------------------------------------------------------------------------------- */

static purlin_status refuse(purlin_ctx *ctx, const char *why) {
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "%s", why);
}

/* The login that this browser began with this state; it is over by that. */
static purlin_status take_login(purlin_ctx *ctx, const char *state, const char *secret, login_row *out) {
  char state_hash[65], browser_hash[65];
  purlin_sha256(state, strlen(state), state_hash);
  purlin_sha256(secret, strlen(secret), browser_hash);
  purlin_status status = purlin_db_row(ctx, login_row, out, TAKE_LOGIN, state_hash, browser_hash);
  if (status != PURLIN_NOT_FOUND) return status;
  return refuse(ctx, "this browser began no such login, or too long ago, or it was ended already: begin again");
}

/* Mix-up: an answer of another provider than the one that was asked. */
static purlin_status check_issuer(purlin_ctx *ctx, const provider_metadata *provider, const char *iss) {
  bool promised = provider->authorization_response_iss_parameter_supported.state == PURLIN_SET &&
                  provider->authorization_response_iss_parameter_supported.value;
  if (iss ? strcmp(iss, provider->issuer) == 0 : !promised) return PURLIN_OK;
  return refuse(ctx, "the answer is not of the provider that was asked (iss)");
}

static purlin_status exchange_code(purlin_ctx *ctx, const provider_metadata *provider, const char *code, const char *state,
                                   const char *secret, purlin_person *out) {
  char nonce[DERIVED_SIZE], verifier[DERIVED_SIZE];
  exchange_answer answer;
  if (!derive(secret, "nonce", state, nonce) || !derive(secret, "verifier", state, verifier))
    return purlin_fail(ctx, PURLIN_INTERNAL, "HMAC failed");
  const char *const pairs[] = {"grant_type",           "authorization_code", "code",   code, "redirect_uri",
                               oidc_redirect_url(ctx), "code_verifier",      verifier, NULL};
  purlin_status status = exchange_post(ctx, provider->token_endpoint, pairs, &answer);
  if (status != PURLIN_OK) return status;
  if (answer.error && strcmp(answer.error, "invalid_grant") == 0)
    return refuse(ctx, "the provider does not take the code: begin again");
  if (answer.error) return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's token endpoint: %s", answer.error);
  const exchange_login login = {.nonce = nonce};
  return people_identify(ctx, provider, &answer, &login, out);
}

/* The provider's own words are nobody's word: they are not shown. */
static purlin_status provider_refused(purlin_ctx *ctx, const char *error) {
  if (strcmp(error, "access_denied") == 0)
    return oidc_refuse(ctx, "", "the provider was told, or says, that this is not to be");
  return refuse(ctx, "the provider did not let anybody in: begin again");
}

PURLIN_ROUTE(callback, "GET /api/v1/oidc/callback",
    .summary = "Where the provider sends a browser back", .permission = "public", .answer = "text/html") {
  const char *state = purlin_query_value(request, "state"), *code = purlin_query_value(request, "code"),
             *error = purlin_query_value(request, "error"), *secret = get_cookie(ctx, request);
  const oidc_configuration *configured;
  provider_metadata provider;
  login_row login;
  purlin_person person;
  purlin_status status = oidc_configured(ctx, &configured);
  if (status != PURLIN_OK) return status;
  if (!state || strlen(state) > LONGEST_COOKIE || !secret)
    return refuse(ctx, "this browser began no such login: begin again, with cookies allowed");
  status = take_login(ctx, state, secret, &login);
  if (status == PURLIN_OK) status = set_cookie(ctx, request, "", 0);
  if (status == PURLIN_OK) status = provider_get(ctx, &provider);
  if (status == PURLIN_OK) status = check_issuer(ctx, &provider, purlin_query_value(request, "iss"));
  if (status == PURLIN_OK && error) status = provider_refused(ctx, error);
  if (status == PURLIN_OK && (!code || !*code)) status = refuse(ctx, "the provider sent no code: begin again");
  if (status == PURLIN_OK) status = exchange_code(ctx, &provider, code, state, secret, &person);
  if (status != PURLIN_OK) return status;
  const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
  if (!sessions) return PURLIN_UNAVAILABLE;
  status = sessions->begin_in_browser(ctx, request, DIRECTORY, &person);
  return status == PURLIN_OK ? redirect(ctx, request, login.return_to) : status;
}
