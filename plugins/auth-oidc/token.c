#include "token.h"
#include "jwk.h"
#include <string.h>
#include <strings.h>

enum { MOST_HEADER = 2048 };

static purlin_status no_good(purlin_ctx *ctx, const char *why) {
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the provider's token is not valid: %s", why);
}

static bool holds(purlin_texts list, const char *text) {
  for (size_t i = 0; i < list.count; i++)
    if (strcmp(list.items[i], text) == 0) return true;
  return false;
}

purlin_status token_open(purlin_ctx *ctx, const char *token, purlin_texts algorithms, jwt_parts *parts,
                         token_header *header) {
  unsigned char json[MOST_HEADER];
  size_t size;
  if (!jwt_split(token, parts)) return no_good(ctx, "it is not a signed JSON Web Token");
  if (parts->header_size > MOST_HEADER || !jwt_unbase64url(parts->header, parts->header_size, json, &size) ||
      purlin_decode_stored(ctx, token_header_schema(), (const char *)json, size, header) != PURLIN_OK)
    return no_good(ctx, "its header");
  if (header->crit.text) return no_good(ctx, "its header demands what is not known here (crit)");
  /* Neither "none" nor HS256 gets past this: the first is no algorithm, and no key of a provider fits the second. */
  if (!holds(algorithms, header->alg)) return no_good(ctx, "it is signed by an algorithm that is not allowed here");
  return PURLIN_OK;
}

/* A key that says what it is for is used for nothing else. */
static bool may_verify(const provider_key *key, const token_header *header) {
  if (key->alg && strcmp(key->alg, header->alg) != 0) return false;
  if (key->use && strcmp(key->use, "sig") != 0) return false;
  if (key->key_ops.count > 0 && !holds(key->key_ops, "verify")) return false;
  return !header->kid || (key->kid && strcmp(key->kid, header->kid) == 0);
}

token_found token_try(const provider_keys *keys, const token_header *header, const jwt_parts *parts) {
  jwt_algorithm algorithm = jwt_algorithm_of(header->alg);
  token_found found = TOKEN_KEYLESS;
  for (size_t i = 0; i < keys->keys.count && found != TOKEN_GOOD; i++) {
    const provider_key *key = &keys->keys.items[i];
    const jwk from = {.kty = key->kty, .crv = key->crv, .n = key->n, .e = key->e, .x = key->x, .y = key->y};
    jwt_key made = {0};
    if (!may_verify(key, header) || !jwk_take(&from, algorithm, &made)) continue;
    found = jwt_verify(&made, parts) ? TOKEN_GOOD : TOKEN_FORGED;
    jwt_key_end(&made);
  }
  return found;
}

static bool is_of_type(const token_header *header, const char *typ) {
  if (!header->typ || strcasecmp(header->typ, "JWT") == 0) return true;
  return typ && strcasecmp(header->typ, typ) == 0;
}

/* A token without the name of its key could be of one that is new. */
static purlin_status find(purlin_ctx *ctx, const token_header *header, const jwt_parts *parts) {
  provider_keys keys;
  bool again;
  purlin_status status = provider_get_keys(ctx, &keys);
  if (status != PURLIN_OK) return status;
  token_found found = token_try(&keys, header, parts);
  if (found == TOKEN_KEYLESS || (found == TOKEN_FORGED && !header->kid)) {
    status = provider_get_keys_again(ctx, &keys, &again);
    if (status != PURLIN_OK) return status;
    if (again) found = token_try(&keys, header, parts);
  }
  if (found == TOKEN_GOOD) return PURLIN_OK;
  return no_good(ctx, found == TOKEN_FORGED ? "its signature" : "the provider has no such key");
}

purlin_status token_verify(purlin_ctx *ctx, const char *token, const char *typ, purlin_json *claims,
                           const char **algorithm) {
  const oidc_configuration *configured = purlin_configuration(ctx);
  jwt_parts parts;
  token_header header;
  purlin_status status = token_open(ctx, token, configured->algorithms, &parts, &header);
  if (status == PURLIN_OK && !is_of_type(&header, typ)) status = no_good(ctx, "it is a token for something else (typ)");
  if (status == PURLIN_OK) status = find(ctx, &header, &parts);
  if (status != PURLIN_OK) return status;
  char *json = purlin_alloc(ctx, parts.payload_size + 1);
  if (!json) return PURLIN_TOO_LARGE;
  if (!jwt_unbase64url(parts.payload, parts.payload_size, (unsigned char *)json, &claims->size))
    return no_good(ctx, "its content");
  claims->text = json;
  if (algorithm) *algorithm = header.alg;
  return PURLIN_OK;
}
