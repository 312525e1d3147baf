/* exchange.h: what is asked of the provider with our client's name: its token endpoint, device codes and userinfo. */
#ifndef OIDC_EXCHANGE_H
#define OIDC_EXCHANGE_H

#include "provider.h"

/* An answer of the token endpoint, or of the one for device codes: either tokens or an error of RFC 6749, 5.2. */
typedef struct exchange_answer {
  const char *access_token, *id_token, *error;
  const char *device_code, *user_code, *verification_uri, *verification_uri_complete;
  purlin_opt_double expires_in, interval;
} exchange_answer;
PURLIN_SCHEMA(exchange_answer, "What the provider answers",
    PURLIN_OPTIONAL(access_token, "for userinfo", .secret = true), PURLIN_OPTIONAL(id_token, "who it is", .secret = true),
    PURLIN_OPTIONAL(error, "what is wrong", .max_length = 100), PURLIN_OPTIONAL(device_code, "for the token endpoint", .secret = true, .max_length = 1000),
    PURLIN_OPTIONAL(user_code, "what somebody types there", .max_length = 100), PURLIN_OPTIONAL(verification_uri, "where", .max_length = 1000),
    PURLIN_OPTIONAL(verification_uri_complete, "both in one", .max_length = 1000), PURLIN_OPTIONAL(expires_in, "in s"),
    PURLIN_OPTIONAL(interval, "between polls, in s"));

/* Posts names and values, ended by NULL, with what shows who we are. PURLIN_OK also for an answer with .error, which is then text of a few
 * plain letters. Arena. Errors, recorded: PURLIN_UNAVAILABLE, PURLIN_BAD_UPSTREAM. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status exchange_post(purlin_ctx *ctx, const char *url, const char *const *pairs,
                                           exchange_answer *out);

/* For which login tokens must be. */
typedef struct exchange_login {
  const char *nonce; /* NULL: none was sent, as in the device flow */
} exchange_login;

/* Who is behind an answer with tokens: its ID token is verified and judged, userinfo asked where that is configured. Errors, recorded:
 * PURLIN_UNAUTHENTICATED, PURLIN_FORBIDDEN, and as above. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status exchange_person(purlin_ctx *ctx, const provider_metadata *provider,
                                             const exchange_answer *answer, const exchange_login *login,
                                             purlin_person *out);

#endif
