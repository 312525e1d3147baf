/* access.h: who is asking, and may they.
 *
 * For now: tokens. The first administrator token is made at the first start and written to STATE/admin.token (0600); the database
 * keeps only its hash. Users, roles and login come as plugins over this mechanism. */
#ifndef PURLIN_ACCESS_ACCESS_H
#define PURLIN_ACCESS_ACCESS_H

#include <purlin/database.h>
#include "http/server.h"

struct identity {
  const char *actor, *workspace, *project;
  const char *const *permissions; /* "models:write", "models:*", "*" */
  size_t permission_count;
  /* Of an identity in a loop's cache: how many contexts use it, and how it goes when nobody does. NULL: it lives in an arena. */
  void (*release)(struct identity *who);
  uint32_t references;
};

/* Registers the gate, the identities of jobs and events, and the hook that ends an identity's use. Once, before the loops run. */
void access_init(void);
/* After migrations, in a fiber: makes the first token when there is none, and writes it to STATE/admin.token. */
PURLIN_CHECKED purlin_status access_start(purlin_ctx *ctx, const char *state_directory, buffer *why);

/* After loops_run, before loops_destroy: lets go of what the loops remember. */
void access_end(void);

/* Gives the context the identity of whoever holds the token that was sent; without one it stays nobody's. A token that nobody holds is
 * refused with a challenge. May park. */
PURLIN_CHECKED purlin_status access_recognise(purlin_ctx *ctx, purlin_request *request);
/* The gate: Authorization: Bearer TOKEN. */
purlin_status access_gate(purlin_ctx *ctx, purlin_request *request, const http_target *target);

/* Gives a context the identity of the system, or of somebody who enqueued a job, within a workspace: every permission there. */
void access_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);

bool access_permits(const struct identity *who, const char *permission);
/* PURLIN_OK, PURLIN_UNAUTHENTICATED or PURLIN_FORBIDDEN, recorded. */
PURLIN_CHECKED purlin_status access_require(purlin_ctx *ctx, const char *permission);

#endif
