/* secrets.h: what the files of this plugin share.
 *
 * values.c  operations: put, get, list, delete; none tells a value
 * use.c     the contract secrets: other plugins and scripts have a value by its name
 *
 * Values belong to a workspace. Whoever may change them holds secrets:write, which of the built-in roles the owner's has alone. */
#ifndef SECRETS_SECRETS_H
#define SECRETS_SECRETS_H

#include <purlin/contracts/secrets.h>
#include <purlin/purlin.h>

/* Of a workspace. */
#define SECRETS_MOST 5000

/* A ':' would be a provider's (contracts/secrets.h). */
#define SECRET_NAME .pattern = "[a-z0-9][a-z0-9._-]*", .max_length = 64

/* What a value is sealed as; arena. */
const char *secrets_sealed_as(purlin_ctx *ctx, const char *workspace, const char *name);

/* The contract's function. */
PURLIN_CHECKED purlin_status secrets_get(purlin_ctx *ctx, const char *name, purlin_secret *out);
/* Writes out, every few seconds, which were used. */
PURLIN_CHECKED purlin_status secrets_uses_start(purlin_ctx *ctx);
/* What was not written yet. */
void secrets_uses_end(purlin_ctx *ctx);

#endif
