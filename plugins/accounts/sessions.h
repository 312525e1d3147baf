/* sessions.h: a session is a login on one device: an access token for minutes, renewed by a refresh token that is another each time. */
#ifndef ACCOUNTS_SESSIONS_H
#define ACCOUNTS_SESSIONS_H

#include "accounts.h"

/* What logging in, or refreshing, gives. */
typedef struct granted_tokens {
  const char *access_token, *token_type;
  int64_t expires_in;
  const char *refresh_token, *session;
} granted_tokens;
PURLIN_SCHEMA(granted_tokens, "The tokens of a session",
    PURLIN_REQUIRED(access_token, "Send it as 'Authorization: Bearer ...'"),
    PURLIN_REQUIRED(token_type, "Bearer"),
    PURLIN_REQUIRED(expires_in, "Seconds until it is taken no more"),
    PURLIN_REQUIRED(refresh_token, "For the next ones, once; whoever shows it twice ends the session"),
    PURLIN_REQUIRED(session, "The id of the session"));

/* Begins a session of the user. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status sessions_begin(purlin_ctx *ctx, const login_row *of, const char *address, const char *agent,
                                            granted_tokens *out);
/* Begins one of a browser, which shows that secret from then on. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status sessions_begin_in_browser(purlin_ctx *ctx, const login_row *of, const char *address,
                                                       const char *agent, const char *secret);
/* The next tokens for a refresh token, which is over by that. PURLIN_UNAUTHENTICATED, recorded: it is none, its session is over, or it
 * was used before: then its session ends. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status sessions_refresh(purlin_ctx *ctx, const char *refresh_token, granted_tokens *out);
/* Ends the session of a refresh token, if it is one. May park. */
PURLIN_CHECKED purlin_status sessions_end(purlin_ctx *ctx, const char *refresh_token);
/* Ends the sessions of a user but one ("": all). May park. */
PURLIN_CHECKED purlin_status sessions_revoke_all(purlin_ctx *ctx, const char *user_id, const char *except);
/* The id of the session that the caller showed; "" when it was something else. */
const char *sessions_current(const purlin_ctx *ctx);

#endif
