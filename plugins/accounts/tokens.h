/* tokens.h: access tokens: JSON Web Tokens of RFC 9068, judged as RFC 8725 wants it. */
#ifndef ACCOUNTS_TOKENS_H
#define ACCOUNTS_TOKENS_H

#include "accounts.h"

/* A token for the user's session; arena. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status tokens_issue(purlin_ctx *ctx, const char *user_id, const char *session, const char **token);

/* What a token says, once it is known to be ours, whole and not over. Arena. */
typedef struct token_claims {
  const char *iss, *aud, *sub, *jti, *sid;
  int64_t iat, exp;
} token_claims;

/* PURLIN_NOT_FOUND: no token of ours; PURLIN_UNAUTHENTICATED: one, and not valid. Whether session, user and key still hold, the caller
 * asks the database. May park. */
PURLIN_CHECKED purlin_status tokens_judge(purlin_ctx *ctx, const char *token, token_claims *claims, const char **key_id);

#endif
