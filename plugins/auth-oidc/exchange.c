#include "exchange.h"
#include "claims.h"
#include "person.h"
#include "token.h"
#include <openssl/evp.h>
#include <string.h>

enum { TIMEOUT_MS = 15000, MOST_ANSWER = 256 * 1024, MOST_ERROR = 100 };

/* ---- Who we are -------------------------------------------------------------------------------------------------------------------------- */

static const char *escaped(purlin_ctx *ctx, const char *text) {
  char *out = purlin_alloc(ctx, rules_escape(text, NULL) + 1);
  if (out) (void)rules_escape(text, out);
  return out;
}

/* RFC 6749, 2.3.1: both are escaped as in a form before they are joined. */
static const char *basic(purlin_ctx *ctx, const oidc_configuration *configured) {
  const char *id = escaped(ctx, configured->client_id), *secret = escaped(ctx, configured->client_secret);
  const char *both = id && secret ? purlin_format(ctx, "%s:%s", id, secret) : NULL;
  size_t size = both ? strlen(both) : 0;
  char *encoded = both ? purlin_alloc(ctx, (size + 2) / 3 * 4 + 1) : NULL;
  if (!encoded) return NULL;
  (void)EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)both, (int)size);
  return purlin_format(ctx, "Authorization: Basic %s", encoded);
}

static const char *body_of(purlin_ctx *ctx, const oidc_configuration *configured, bool in_header,
                           const char *const *pairs) {
  const bool posts = !in_header && *configured->client_secret;
  const char *const ours[] = {"client_id", in_header ? NULL : configured->client_id, "client_secret",
                              posts ? configured->client_secret : NULL, NULL};
  const char *first = oidc_form(ctx, pairs), *second = oidc_form(ctx, ours);
  if (!first || !second) return NULL;
  return *second ? purlin_format(ctx, "%s&%s", first, second) : first;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------------------------------ */

/* An error is shown to people, so it must be what RFC 6749 says: a word. */
static bool is_word(const char *text) {
  size_t size = 0;
  for (; text[size]; size++)
    if (!((text[size] >= 'a' && text[size] <= 'z') || text[size] == '_')) return false;
  return size > 0 && size <= MOST_ERROR;
}

static purlin_status read_answer(purlin_ctx *ctx, const char *url, const purlin_http_answer *answer, exchange_answer *out) {
  if (purlin_decode_stored(ctx, exchange_answer_schema(), answer->body, answer->body_size, out) != PURLIN_OK)
    return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider answered nonsense at %s (%u)", url, answer->status);
  if (answer->status == 200 && !out->error) return PURLIN_OK;
  if (!out->error || !is_word(out->error))
    return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider answered %u at %s", answer->status, url);
  return PURLIN_OK;
}

purlin_status exchange_post(purlin_ctx *ctx, const char *url, const char *const *pairs, exchange_answer *out) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  bool in_header = *configured->client_secret && strcmp(configured->client_authentication, "client_secret_basic") == 0;
  const char *body = body_of(ctx, configured, in_header, pairs);
  const char *shown = in_header ? basic(ctx, configured) : NULL;
  if (!body || (in_header && !shown)) return PURLIN_TOO_LARGE;
  const char *const headers[] = {"Content-Type: application/x-www-form-urlencoded", "Accept: application/json", shown,
                                 NULL};
  const purlin_http_call call = {.method = "POST",
                                 .url = url,
                                 .headers = headers,
                                 .body = body,
                                 .body_size = strlen(body),
                                 .max_answer = MOST_ANSWER,
                                 .timeout_ms = TIMEOUT_MS};
  purlin_http_answer answer = {0};
  purlin_status status = purlin_http(ctx, &call, &answer);
  explicit_bzero((char *)(uintptr_t)body, strlen(body));
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "the provider's %s: %s", url, purlin_failure(ctx));
  return read_answer(ctx, url, &answer, out);
}

/* ---- Who came ---------------------------------------------------------------------------------------------------------------------------- */

/* What userinfo says counts only for the same subject (OpenID Connect Core, 5.3.2). */
static purlin_status ask_userinfo(purlin_ctx *ctx, const char *url, const char *access_token, const char *subject,
                                  purlin_json *out) {
  const char *shown = purlin_format(ctx, "Authorization: Bearer %s", access_token), *said;
  if (!shown) return PURLIN_TOO_LARGE;
  const char *const headers[] = {"Accept: application/json", shown, NULL};
  const purlin_http_call call = {.url = url, .headers = headers, .max_answer = MOST_ANSWER, .timeout_ms = TIMEOUT_MS};
  purlin_http_answer answer = {0};
  purlin_status status = purlin_http(ctx, &call, &answer);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "the provider's userinfo: %s", purlin_failure(ctx));
  if (answer.status != 200)
    return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's userinfo answered %u", answer.status);
  *out = (purlin_json){answer.body, answer.body_size};
  if (claims_text(ctx, *out, "sub", &said) && strcmp(said, subject) == 0) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider's userinfo is no JSON object, or of somebody else");
}

purlin_status exchange_person(purlin_ctx *ctx, const provider_metadata *provider, const exchange_answer *answer,
                              const exchange_login *login, purlin_person *out) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  claims_expected expected = {.issuer = configured->issuer,
                              .client_id = configured->client_id,
                              .nonce = login->nonce,
                              .access_token = answer->access_token,
                              .skew_s = configured->clock_skew_s};
  purlin_json token, userinfo = {0};
  token_claims claims;
  if (!answer->id_token) return purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "the provider gave no ID token");
  purlin_status status = token_verify(ctx, answer->id_token, NULL, &token, &expected.algorithm);
  if (status == PURLIN_OK) status = claims_read(ctx, token, &claims);
  expected.now_s = purlin_now_us() / 1000000;
  if (status == PURLIN_OK) status = claims_judge(ctx, &claims, &expected);
  if (status == PURLIN_OK && configured->userinfo && provider->userinfo_endpoint && answer->access_token)
    status = ask_userinfo(ctx, provider->userinfo_endpoint, answer->access_token, claims.sub, &userinfo);
  return status == PURLIN_OK ? person_from(ctx, configured, token, userinfo, out) : status;
}
