/* browser.h: sessions of browsers. What a program holds as tokens, a browser holds as one cookie that no script can read: an opaque
 * secret, of which the database has the hash. It is another one with each login, and worth nothing after logout.
 *
 * The gate (runtime/access) takes it only where a page of this server asked: see purlin_same_origin in <purlin/route.h>. */
#ifndef ACCOUNTS_BROWSER_H
#define ACCOUNTS_BROWSER_H

#include "directories.h"
#include <purlin/contracts/authenticator.h>

/* PURLIN_FORBIDDEN, recorded, where a browser could keep no session: in the clear, from elsewhere. Does not park. */
PURLIN_CHECKED purlin_status browser_can_begin(purlin_ctx *ctx, const purlin_request *request);
/* Begins a session of the user and sets the answer's cookie; the session whose cookie came along ends. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status browser_begin(purlin_ctx *ctx, purlin_request *request, const login_row *of);
/* Ends the session whose cookie came along, if one did, and takes the cookie away. May park. */
PURLIN_CHECKED purlin_status browser_end(purlin_ctx *ctx, purlin_request *request);
/* Who is behind a cookie. PURLIN_NOT_FOUND: none of ours; PURLIN_UNAUTHENTICATED: its session is over. Neither is recorded. May park. */
PURLIN_CHECKED purlin_status browser_principal(purlin_ctx *ctx, const char *secret, purlin_principal *out);
/* The name of whoever is logged in where the request comes from; NULL: nobody. May park. */
const char *browser_user(purlin_ctx *ctx, const purlin_request *request);

#endif
