/* token.h: whether a token was signed by the provider, as RFC 8725 wants it: by an algorithm that the configuration allows and that the
 * key is for; by a key of the provider's key set, and by no other that a header may name. */
#ifndef OIDC_TOKEN_H
#define OIDC_TOKEN_H

#include "jwt.h"
#include "provider.h"

typedef struct token_header {
  const char *alg, *kid, *typ;
  purlin_json crit;
} token_header;
PURLIN_SCHEMA(token_header, "The header of a token",
    PURLIN_REQUIRED(alg, "algorithm", .max_length = 16), PURLIN_OPTIONAL(kid, "which key", .max_length = 300),
    PURLIN_OPTIONAL(typ, "what it is", .max_length = 100), PURLIN_OPTIONAL(crit, "what must be understood"));

typedef enum token_found {
  TOKEN_GOOD,
  TOKEN_FORGED, /* the key that it names did not sign it */
  TOKEN_KEYLESS /* no key of that name for that algorithm is known */
} token_found;

/* The header of a token, when it is one that may be looked at further: PURLIN_UNAUTHENTICATED, recorded, otherwise. Does not park. */
PURLIN_CHECKED purlin_status token_open(purlin_ctx *ctx, const char *token, purlin_texts algorithms, jwt_parts *parts,
                                        token_header *header);
/* Does not park. */
token_found token_try(const provider_keys *keys, const token_header *header, const jwt_parts *parts);

/* What a token of the provider says: JSON, in the arena. `typ`: the header must say so ("logout+jwt"), where it says anything but JWT; NULL:
 * it must say nothing else. `algorithm` (may be NULL) receives the name. PURLIN_UNAUTHENTICATED, recorded, or as provider_get_keys. Not
 * within a transaction. May park. */
PURLIN_CHECKED purlin_status token_verify(purlin_ctx *ctx, const char *token, const char *typ, purlin_json *claims,
                                          const char **algorithm);

#endif
