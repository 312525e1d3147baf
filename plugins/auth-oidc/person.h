/* person.h: from what the provider says to somebody who may log in. */
#ifndef OIDC_PERSON_H
#define OIDC_PERSON_H

#include "oidc.h"

/* Their id here: it stays the same as long as issuer and subject do, and is nobody else's. Arena; NULL as purlin_alloc. */
const char *person_id(purlin_ctx *ctx, const char *issuer, const char *subject);

/* Who that is, by the claims of a token that was judged and, where they are silent, those of userinfo (text NULL: not asked). Arena.
 * PURLIN_FORBIDDEN, recorded and noted: they may not come in, or have no name for here. May park, for that note. */
PURLIN_CHECKED purlin_status person_from(purlin_ctx *ctx, const oidc_configuration *configured, purlin_json token,
                                         purlin_json userinfo, purlin_person *out);

#endif
