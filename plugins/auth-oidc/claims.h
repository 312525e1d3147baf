/* claims.h: what a token says: whether that is for us, now, and for this very login; and single claims, by names that are configured. */
#ifndef OIDC_CLAIMS_H
#define OIDC_CLAIMS_H

#include "oidc.h"

typedef struct token_claims {
  const char *iss, *sub, *azp, *nonce, *at_hash, *jti;
  purlin_json aud, events;
  purlin_opt_double exp, iat, nbf;
} token_claims;
PURLIN_SCHEMA(token_claims, "What a token says",
    PURLIN_REQUIRED(iss, "by whom"), PURLIN_REQUIRED(aud, "for whom"), PURLIN_OPTIONAL(sub, "of whom", .max_length = 255),
    PURLIN_OPTIONAL(azp, "to whom it was given"), PURLIN_OPTIONAL(nonce, "for which login"),
    PURLIN_OPTIONAL(at_hash, "with which access token"), PURLIN_OPTIONAL(jti, "its id", .max_length = 500),
    PURLIN_OPTIONAL(events, "what happened"), PURLIN_OPTIONAL(exp, "until when, in s"), PURLIN_OPTIONAL(iat, "since when, in s"),
    PURLIN_OPTIONAL(nbf, "not before, in s"));

/* What a token must be. */
typedef struct claims_expected {
  const char *issuer, *client_id;
  const char *nonce;        /* of the login; NULL: there was none to send */
  const char *access_token; /* that came along; NULL: none */
  const char *algorithm;    /* of the signature, which is that of at_hash, too */
  int64_t now_s, skew_s;
} claims_expected;

/* PURLIN_UNAUTHENTICATED, recorded: it is none of that. Does not park. */
PURLIN_CHECKED purlin_status claims_read(purlin_ctx *ctx, purlin_json json, token_claims *out);
PURLIN_CHECKED purlin_status claims_judge(purlin_ctx *ctx, const token_claims *claims, const claims_expected *expected);

/* One claim by its name, or by a path of names with dots: "realm_access.roles". False: it is not there. */
bool claims_find(purlin_ctx *ctx, purlin_json json, const char *name, purlin_json *out);
/* A text, a truth, a list of texts or a single one as such; false: it is not there, or something else. */
bool claims_text(purlin_ctx *ctx, purlin_json json, const char *name, const char **out);
bool claims_true(purlin_ctx *ctx, purlin_json json, const char *name);
bool claims_texts(purlin_ctx *ctx, purlin_json json, const char *name, purlin_texts *out);
/* Any value, read as a list of texts or a single one. */
bool claims_as_texts(purlin_ctx *ctx, purlin_json value, purlin_texts *out);

#endif
