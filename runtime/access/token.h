/* token.h: bearer tokens: 'purlin_' and 40 random characters; the database keeps their SHA-256. */
#ifndef PURLIN_ACCESS_TOKEN_H
#define PURLIN_ACCESS_TOKEN_H

#include "access/access.h"

/* Who holds the token: from the loop's cache, else from the database. PURLIN_NOT_FOUND when nobody does. May park.
 * The caller takes its reference at once (the next call may drop the identity from the cache). */
PURLIN_CHECKED purlin_status token_identity(purlin_ctx *ctx, const char *token, struct identity **who);
/* Forgets them all: when no loop runs any more, and before the loops are gone. */
void tokens_forget(void);

#endif
