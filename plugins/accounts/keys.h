/* keys.h: the keys that sign access tokens.
 *
 * They are in the database, so that every node takes what any node signed, and the private part is sealed (purlin_seal), so that the
 * database alone signs nothing. A node signs with the newest key that it can open and that does not retire; where there is none it
 * makes one. */
#ifndef ACCOUNTS_KEYS_H
#define ACCOUNTS_KEYS_H

#include "jwt.h"
#include <purlin/purlin.h>

/* After the last call. */
void keys_end(void);

/* The key to sign with, and its id (arena). It lives until keys_end. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status keys_signing(purlin_ctx *ctx, const jwt_key **key, const char **id);
/* The key of an id, in use or not any more: whoever asks says so in its own query. PURLIN_NOT_FOUND. May park. */
PURLIN_CHECKED purlin_status keys_find(purlin_ctx *ctx, const char *id, const jwt_key **key);

#endif
