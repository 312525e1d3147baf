#include "tokens.h"
#include "keys.h"
#include <string.h>

enum { MOST_JSON = 2048, SKEW_S = 60 };

#define TYPE "at+jwt"

/* Nothing else may stand in a header: neither jku, x5u and jwk, which would bring a key along, nor crit. */
typedef struct token_header {
  const char *alg, *kid, *typ;
} token_header;
PURLIN_SCHEMA(token_header, "The header of a token",
    PURLIN_REQUIRED(alg, "algorithm", .max_length = 16), PURLIN_REQUIRED(kid, "which key", .max_length = 64),
    PURLIN_REQUIRED(typ, "what it is", .max_length = 16));

PURLIN_SCHEMA(token_claims, "What a token says",
    PURLIN_REQUIRED(iss, "by whom"), PURLIN_REQUIRED(aud, "for whom"), PURLIN_REQUIRED(sub, "of whom"),
    PURLIN_REQUIRED(jti, "its id"), PURLIN_REQUIRED(sid, "of which session"), PURLIN_REQUIRED(iat, "since when, in s", .min = 0, .max = 1e11),
    PURLIN_REQUIRED(exp, "until when, in s", .min = 0, .max = 1e11));

/* ---- Issuing ---------------------------------------------------------------------------------------------------------------------------- */

static const char *encode_part(purlin_ctx *ctx, const purlin_schema *schema, const void *value) {
  purlin_json json;
  if (purlin_encode(ctx, schema, value, &json) != PURLIN_OK) return NULL;
  char *out = purlin_alloc(ctx, jwt_base64url_size(json.size));
  if (out) jwt_base64url(json.text, json.size, out);
  return out;
}

static purlin_status sign(purlin_ctx *ctx, const jwt_key *key, const char *text, const char **token) {
  unsigned char signature[JWT_SIGNATURE_MOST];
  char encoded[JWT_SIGNATURE_MOST * 2];
  size_t size;
  if (!jwt_sign(key, text, strlen(text), signature, &size))
    return purlin_fail(ctx, PURLIN_INTERNAL, "a token could not be signed");
  jwt_base64url(signature, size, encoded);
  *token = purlin_format(ctx, "%s.%s", text, encoded);
  return *token ? PURLIN_OK : PURLIN_TOO_LARGE;
}

purlin_status tokens_issue(purlin_ctx *ctx, const char *user_id, const char *session, const char **token) {
  const accounts_configuration *configured = accounts_configured();
  const jwt_key *key;
  token_header header = {.typ = TYPE};
  purlin_status status = keys_signing(ctx, &key, &header.kid);
  if (status != PURLIN_OK) return status;
  header.alg = jwt_algorithm_name(key->algorithm);
  int64_t now_s = purlin_now_us() / 1000000;
  const token_claims claims = {.iss = configured->issuer,
                               .aud = configured->audience,
                               .sub = user_id,
                               .jti = purlin_new_id(ctx, "tok"),
                               .sid = session,
                               .iat = now_s,
                               .exp = now_s + configured->access_token_s};
  const char *first = encode_part(ctx, token_header_schema(), &header),
             *second = encode_part(ctx, token_claims_schema(), &claims);
  const char *text = first && second ? purlin_format(ctx, "%s.%s", first, second) : NULL;
  return text ? sign(ctx, key, text, token) : PURLIN_TOO_LARGE;
}

/* ---- Judging ------------------------------------------------------------------------------------------------------------------------------ */

static bool decode_part(purlin_ctx *ctx, const char *text, size_t size, const purlin_schema *schema, void *out) {
  unsigned char json[MOST_JSON];
  size_t got;
  if (size > MOST_JSON || !jwt_unbase64url(text, size, json, &got)) return false;
  purlin_status status = purlin_decode(ctx, schema, (const char *)json, got, out);
  if (status != PURLIN_OK) purlin_clear_failure(ctx); /* what is wrong with it nobody needs to know */
  return status == PURLIN_OK;
}

static bool is_current(const accounts_configuration *configured, const token_claims *claims) {
  int64_t now_s = purlin_now_us() / 1000000;
  return strcmp(claims->iss, configured->issuer) == 0 && strcmp(claims->aud, configured->audience) == 0 &&
         claims->exp > now_s && claims->iat <= now_s + SKEW_S;
}

purlin_status tokens_judge(purlin_ctx *ctx, const char *token, token_claims *claims, const char **key_id) {
  jwt_parts parts;
  token_header header;
  const jwt_key *key;
  if (!jwt_split(token, &parts) || !decode_part(ctx, parts.header, parts.header_size, token_header_schema(), &header))
    return PURLIN_NOT_FOUND;
  purlin_status status = keys_find(ctx, header.kid, &key);
  if (status != PURLIN_OK) return status;
  /* The key says by which algorithm; a token that says another was not made by us. */
  bool ours = strcmp(header.alg, jwt_algorithm_name(key->algorithm)) == 0 && strcmp(header.typ, TYPE) == 0 &&
              jwt_verify(key, &parts) && decode_part(ctx, parts.payload, parts.payload_size, token_claims_schema(), claims);
  *key_id = header.kid;
  return ours && is_current(accounts_configured(), claims) ? PURLIN_OK : PURLIN_UNAUTHENTICATED;
}
