#include "claims.h"
#include "jwt.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

static purlin_status no_good(purlin_ctx *ctx, const char *why) {
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the provider's token is not valid: %s", why);
}

purlin_status claims_read(purlin_ctx *ctx, purlin_json json, token_claims *out) {
  if (purlin_decode_stored(ctx, token_claims_schema(), json.text, json.size, out) == PURLIN_OK) return PURLIN_OK;
  return no_good(ctx, "what it says is not what tokens say");
}

/* ---- Judging ------------------------------------------------------------------------------------------------------------------------------ */

/* For us; where it is for others, too, it must have been given to us. */
static purlin_status judge_audience(purlin_ctx *ctx, const token_claims *claims, const char *client_id) {
  purlin_texts audience;
  bool ours = false;
  if (!claims_as_texts(ctx, claims->aud, &audience)) return no_good(ctx, "whom it is for (aud)");
  for (size_t i = 0; i < audience.count; i++) ours = ours || strcmp(audience.items[i], client_id) == 0;
  if (!ours) return no_good(ctx, "it is for another client (aud)");
  if (claims->azp ? strcmp(claims->azp, client_id) != 0 : audience.count > 1)
    return no_good(ctx, "it was given to another client (azp)");
  return PURLIN_OK;
}

static purlin_status judge_time(purlin_ctx *ctx, const token_claims *claims, const claims_expected *expected) {
  double now = (double)expected->now_s, skew = (double)expected->skew_s;
  if (claims->exp.state != PURLIN_SET || claims->iat.state != PURLIN_SET)
    return no_good(ctx, "it does not say when it was made and until when it holds (iat, exp)");
  if (claims->exp.value <= now - skew) return no_good(ctx, "it has expired (exp)");
  if (claims->iat.value > now + skew) return no_good(ctx, "it was made in the future (iat): whose clock is wrong?");
  if (claims->nbf.state == PURLIN_SET && claims->nbf.value > now + skew) return no_good(ctx, "it does not hold yet (nbf)");
  return PURLIN_OK;
}

/* OpenID Connect Core 3.1.3.6: the left half of the hash that the signature uses. */
static bool is_hash_of(const char *at_hash, const char *access_token, const char *algorithm) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  char text[64];
  const EVP_MD *hash = strcmp(algorithm, "EdDSA") == 0 ? EVP_sha512() : EVP_sha256();
  if (EVP_Digest(access_token, strlen(access_token), digest, &size, hash, NULL) != 1) return false;
  jwt_base64url(digest, size / 2, text);
  return strcmp(text, at_hash) == 0;
}

static bool is_same(const char *a, const char *b) { return strlen(a) == strlen(b) && CRYPTO_memcmp(a, b, strlen(b)) == 0; }

purlin_status claims_judge(purlin_ctx *ctx, const token_claims *claims, const claims_expected *expected) {
  if (strcmp(claims->iss, expected->issuer) != 0) return no_good(ctx, "it is of another provider (iss)");
  purlin_status status = judge_audience(ctx, claims, expected->client_id);
  if (status == PURLIN_OK) status = judge_time(ctx, claims, expected);
  if (status != PURLIN_OK) return status;
  if (!claims->sub || !*claims->sub) return no_good(ctx, "it does not say of whom it is (sub)");
  if (expected->nonce && (!claims->nonce || !is_same(claims->nonce, expected->nonce)))
    return no_good(ctx, "it is of another login (nonce)");
  if (expected->access_token && claims->at_hash &&
      !is_hash_of(claims->at_hash, expected->access_token, expected->algorithm))
    return no_good(ctx, "it came with another access token (at_hash)");
  return PURLIN_OK;
}

/* ---- Single claims ---------------------------------------------------------------------------------------------------------------------- */

/* What a claim is called is configured, so its schema is made here. What is wrong with it nobody needs to know. */
static bool read_member(purlin_ctx *ctx, purlin_json json, const char *name, purlin_type type, size_t size, void *out) {
  const purlin_field field = {.name = name, .size = (uint32_t)size, .type = (uint32_t)type, .doc = "a claim"};
  const purlin_schema schema = {(uint32_t)size, (uint32_t)sizeof field, 1, "claim", "A claim", &field};
  if (!json.text || purlin_decode_stored(ctx, &schema, json.text, json.size, out) == PURLIN_OK) return json.text != NULL;
  purlin_clear_failure(ctx);
  return false;
}

/* A name with dots in it ("https://example.org/groups") comes before a path. */
bool claims_find(purlin_ctx *ctx, purlin_json json, const char *name, purlin_json *out) {
  *out = (purlin_json){0};
  if (read_member(ctx, json, name, PURLIN_T_JSON, sizeof *out, out) && out->text) return true;
  const char *dot = strchr(name, '.');
  if (!dot || dot == name) return false;
  const char *first = purlin_copy_bytes(ctx, name, (size_t)(dot - name));
  purlin_json inner = {0};
  return first && read_member(ctx, json, first, PURLIN_T_JSON, sizeof inner, &inner) && inner.text &&
         claims_find(ctx, inner, dot + 1, out);
}

/* A value as the only member of an object, which is what schemas are of. */
static bool read_value(purlin_ctx *ctx, purlin_json value, const char *before, const char *after, purlin_type type,
                       size_t size, void *out) {
  const char *text = purlin_format(ctx, "{\"v\":%s%.*s%s}", before, (int)value.size, value.text, after);
  return text && read_member(ctx, (purlin_json){text, strlen(text)}, "v", type, size, out);
}

bool claims_text(purlin_ctx *ctx, purlin_json json, const char *name, const char **out) {
  purlin_json value;
  *out = NULL;
  return claims_find(ctx, json, name, &value) && *value.text == '"' &&
         read_value(ctx, value, "", "", PURLIN_T_TEXT, sizeof *out, out) && *out && **out;
}

bool claims_true(purlin_ctx *ctx, purlin_json json, const char *name) {
  purlin_json value;
  return claims_find(ctx, json, name, &value) && value.size == 4 && memcmp(value.text, "true", 4) == 0;
}

bool claims_as_texts(purlin_ctx *ctx, purlin_json value, purlin_texts *out) {
  *out = (purlin_texts){0};
  if (!value.text) return false;
  bool one = *value.text == '"';
  if (!one && *value.text != '[') return false;
  return read_value(ctx, value, one ? "[" : "", one ? "]" : "", PURLIN_T_TEXTS, sizeof *out, out);
}

bool claims_texts(purlin_ctx *ctx, purlin_json json, const char *name, purlin_texts *out) {
  purlin_json value;
  *out = (purlin_texts){0};
  return claims_find(ctx, json, name, &value) && claims_as_texts(ctx, value, out);
}
