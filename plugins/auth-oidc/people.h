/* people.h: who came in by the provider, and what it said of them then. */
#ifndef OIDC_PEOPLE_H
#define OIDC_PEOPLE_H

#include "oidc.h"

/* Keeps what the provider says of somebody who comes in now. May park. */
PURLIN_CHECKED purlin_status people_keep(purlin_ctx *ctx, const purlin_person *person);
/* Forgets somebody whom the provider has shut out: they are known again when they come in again. May park. */
PURLIN_CHECKED purlin_status people_forget(purlin_ctx *ctx, const char *id);

/* The contract `directory`. Nobody shows a password of theirs here: that is what the provider is for. */
purlin_status people_check(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out);
/* What the provider said when they last came in. */
purlin_status people_look_up(purlin_ctx *ctx, const char *id, purlin_person *out);

#endif
