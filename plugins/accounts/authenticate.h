/* authenticate.h: what this plugin answers to the gate. */
#ifndef ACCOUNTS_AUTHENTICATE_H
#define ACCOUNTS_AUTHENTICATE_H

#include "accounts.h"
#include <purlin/contracts/authenticator.h>

/* Before the first call: the key under which passwords that were right are remembered. */
PURLIN_CHECKED purlin_status authenticate_start(purlin_ctx *ctx);
purlin_status authenticate(purlin_ctx *ctx, const purlin_credential *credential, purlin_principal *principal);
/* Of a key's owner: PURLIN_UNAUTHENTICATED when they are a user who was disabled, here or in their directory. */
purlin_status authenticate_vouch(purlin_ctx *ctx, const char *actor);
purlin_status authenticate_groups(purlin_ctx *ctx, const char *actor, purlin_texts *groups);

#endif
