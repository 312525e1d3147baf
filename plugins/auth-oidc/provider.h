/* provider.h: what the provider says of itself. Read when it is needed, kept for an hour, and for a day while it cannot be asked. */
#ifndef OIDC_PROVIDER_H
#define OIDC_PROVIDER_H

#include "oidc.h"

/* /.well-known/openid-configuration; of what is optional NULL where it is not there. */
typedef struct provider_metadata {
  const char *issuer, *authorization_endpoint, *token_endpoint, *jwks_uri;
  const char *userinfo_endpoint, *end_session_endpoint, *device_authorization_endpoint;
  purlin_texts id_token_signing_alg_values_supported, code_challenge_methods_supported,
      token_endpoint_auth_methods_supported;
  purlin_opt_bool authorization_response_iss_parameter_supported, backchannel_logout_supported;
} provider_metadata;
PURLIN_SCHEMA(provider_metadata, "What a provider says of itself",
    PURLIN_REQUIRED(issuer, "who it is"), PURLIN_REQUIRED(authorization_endpoint, "where browsers go"),
    PURLIN_REQUIRED(token_endpoint, "where codes are exchanged"), PURLIN_REQUIRED(jwks_uri, "where its keys are"),
    PURLIN_OPTIONAL(userinfo_endpoint, "who somebody is"), PURLIN_OPTIONAL(end_session_endpoint, "logout"),
    PURLIN_OPTIONAL(device_authorization_endpoint, "where device codes come from"),
    PURLIN_OPTIONAL(id_token_signing_alg_values_supported, "algorithms"),
    PURLIN_OPTIONAL(code_challenge_methods_supported, "of PKCE"),
    PURLIN_OPTIONAL(token_endpoint_auth_methods_supported, "how clients show who they are"),
    PURLIN_OPTIONAL(authorization_response_iss_parameter_supported, "whether it comes back with its name (RFC 9207)"),
    PURLIN_OPTIONAL(backchannel_logout_supported, "whether it tells of logouts"));

typedef struct provider_key {
  const char *kty, *use, *alg, *kid, *crv, *n, *e, *x, *y;
  purlin_texts key_ops;
} provider_key;
PURLIN_SCHEMA(provider_key, "A JSON Web Key",
    PURLIN_OPTIONAL(kty, "kind"), PURLIN_OPTIONAL(use, "sig, enc"), PURLIN_OPTIONAL(alg, "its only algorithm"),
    PURLIN_OPTIONAL(kid, "id"), PURLIN_OPTIONAL(crv, "curve"), PURLIN_OPTIONAL(n, "modulus"), PURLIN_OPTIONAL(e, "exponent"),
    PURLIN_OPTIONAL(x, "coordinate"), PURLIN_OPTIONAL(y, "coordinate"), PURLIN_OPTIONAL(key_ops, "what it is for"));

typedef struct provider_keys {
  PURLIN_LIST_OF(provider_key) keys;
} provider_keys;
PURLIN_SCHEMA(provider_keys, "A JSON Web Key Set", PURLIN_LIST(keys, provider_key, "the keys", .max_length = 200));

/* Both in the arena. Not within a transaction. May park. Errors, recorded: PURLIN_UNAVAILABLE and PURLIN_BAD_UPSTREAM (what is wrong with
 * the provider), PURLIN_NOT_FOUND (none is configured). */
PURLIN_CHECKED purlin_status provider_get(purlin_ctx *ctx, provider_metadata *out);
PURLIN_CHECKED purlin_status provider_get_keys(purlin_ctx *ctx, provider_keys *out);
/* Reads the keys again, unless that was done a moment ago; *again says whether. May park. */
PURLIN_CHECKED purlin_status provider_get_keys_again(purlin_ctx *ctx, provider_keys *out, bool *again);

/* The two steps by themselves, without what is kept: for check.c. The text is arena. May park. */
PURLIN_CHECKED purlin_status provider_fetch_metadata(purlin_ctx *ctx, provider_metadata *out, purlin_json *text);
PURLIN_CHECKED purlin_status provider_fetch_keys(purlin_ctx *ctx, const char *url, provider_keys *out, purlin_json *text);

/* Forgets what is kept: after the last call. */
void provider_end(void);

#endif
