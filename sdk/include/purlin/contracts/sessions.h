/* sessions.h: the contract of who begins sessions. The plugin accounts provides it, for plugins that let people in by a way of their own,
 * such as single sign-on, where no password ever comes here.
 *
 *   const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
 *   if (!sessions) return PURLIN_UNAVAILABLE;
 *   status = sessions->begin(ctx, request, "oidc", &person, &tokens);            for a program
 *   status = sessions->begin_in_browser(ctx, request, "oidc", &person);          sets the cookie of the answer
 *
 * Such a plugin provides a directory of that name, too: its check knows nobody (PURLIN_NOT_FOUND), its look_up says who is still let in;
 * without one, sessions end an hour after they began, as if the directory could not be asked.
 *
 * Who is not known yet becomes a user at their first session, as directory.h says; groups are taken anew each time. */
#ifndef PURLIN_CONTRACTS_SESSIONS_H
#define PURLIN_CONTRACTS_SESSIONS_H

#include <purlin/contracts/directory.h>
#include <purlin/route.h>

PURLIN_BEGIN

#define PURLIN_CONTRACT_sessions 1u

/* What a program that logged in goes on with. Texts in the arena. */
typedef struct purlin_session_tokens {
  const char *access_token;  /* for "Authorization: Bearer ..." */
  const char *token_type;    /* "Bearer" */
  int64_t expires_in;        /* seconds that the access token lives */
  const char *refresh_token; /* for POST /api/v1/accounts/refresh, once */
  const char *session;       /* the session's id */
} purlin_session_tokens;

typedef struct purlin_sessions {
  uint32_t size;
  /* Begins a session of `person`, whom the plugin has seen prove who they are by the `directory` of that name: its own, told apart from all
   * others. Address and agent are taken from the request. Not within a transaction. May park. Recorded: PURLIN_FORBIDDEN (the user is
   * disabled here), PURLIN_CONFLICT (the name is another user's), PURLIN_INVALID (no name for a user). */
  purlin_status (*begin)(purlin_ctx *ctx, purlin_request *request, const char *directory, const purlin_person *person,
                         purlin_session_tokens *out);
  /* The same for a browser: adds the session's cookie to the answer, which must not have begun. */
  purlin_status (*begin_in_browser)(purlin_ctx *ctx, purlin_request *request, const char *directory,
                                    const purlin_person *person);
  /* Ends all sessions of somebody whom the directory has shut out, or who logged out there. PURLIN_NOT_FOUND: nobody of that id. May park. */
  purlin_status (*end_all)(purlin_ctx *ctx, const char *directory, const char *person_id);
} purlin_sessions;

PURLIN_END

#endif
