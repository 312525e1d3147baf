/* people.h: who came in by the provider, and what it said of them then. */
#ifndef OIDC_PEOPLE_H
#define OIDC_PEOPLE_H

#include "exchange.h"

/* Who comes in by an answer with tokens: as exchange_person, and what the provider says of them is kept. Whoever may not come in any more
 * (PURLIN_FORBIDDEN) is forgotten, and their sessions end. May park. */
PURLIN_CHECKED purlin_status people_identify(purlin_ctx *ctx, const provider_metadata *provider,
                                             const exchange_answer *answer, const exchange_login *login,
                                             purlin_person *out);

/* The contract `directory`. Nobody shows a password of theirs here: that is what the provider is for. */
purlin_status people_check(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out);
/* What the provider said when they last came in, unless that is longer ago than is configured. */
purlin_status people_look_up(purlin_ctx *ctx, const char *id, purlin_person *out);

#endif
