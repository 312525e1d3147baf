/* access.h: who is asking, and may they.
 *
 * access.c     the gate of every request, and the questions "may this identity do that"
 * identity.c   from a credential to an identity with its grants; kept for a moment per loop
 * key.c        API keys, the runtime's own credentials; the first administrator's is made at the first start
 * role.c       what roles permit: the built-in ones and those of a workspace
 * grant.c      which role whom was granted, where: in a workspace, a project, on one object
 * owner.c      a workspace always has an owner who can come in
 * project.c    workspaces and projects
 * rate.c       how often somebody may ask
 * quota.c      how much a workspace may have
 * tables.c     the tables
 *
 * People, passwords and sessions come as plugins by the contract authenticator. */
#ifndef PURLIN_ACCESS_ACCESS_H
#define PURLIN_ACCESS_ACCESS_H

#include <purlin/access.h>
#include <purlin/contracts/authenticator.h>
#include <purlin/database.h>
#include "http/server.h"

/* Permissions, and where they hold. */
typedef struct access_grant {
  const char *project;      /* NULL: in every project of the workspace */
  const char *object;       /* NULL: for everything there */
  purlin_texts permissions; /* "models:write", "models:*", "*:read", "*" */
} access_grant;

struct identity {
  const char *actor, *workspace, *project;
  const char *credential; /* which of the actor's it was, for audit; "" */
  const access_grant *grants;
  size_t grant_count;
  purlin_texts scope;    /* what the credential is narrowed to; none: nothing is taken away */
  purlin_texts subjects; /* the actor and their groups, which roles are granted to; none: nobody in person */
  bool bound;            /* it reaches no project but its own */
  /* Of an identity in a loop's cache: how many contexts use it, and how it goes when nobody does. NULL: it lives in an arena. */
  void (*release)(struct identity *who);
  uint32_t references;
};

/* Registers the gate, the identities of jobs and events, and the hook that ends an identity's use. Once, before the loops run. */
void access_init(void);
/* After migrations, in a fiber: makes the first key when there is none, and writes it to STATE/admin.token. */
PURLIN_CHECKED purlin_status access_start(purlin_ctx *ctx, const char *state_directory, buffer *why);

/* After loops_run, before loops_destroy: lets go of what the loops remember. */
void access_end(void);

/* A plugin that knows people. At start only. `enter` and its state are the plugin's, for logs and configuration. */
PURLIN_CHECKED purlin_status access_add_authenticator(const char *plugin, struct plugin *owner,
                                                      const purlin_authenticator *functions);

/* Gives the context the identity of whoever is behind the credential that was sent; without one it stays nobody's. One that nobody
 * knows is refused with a challenge. May park. */
PURLIN_CHECKED purlin_status access_recognise(purlin_ctx *ctx, purlin_request *request);
/* Whether whoever is behind the credential that was sent, if any, holds the permission in all of their workspace; for what is public, and
 * shows more to some. What is wrong with the credential is not told. May park. */
PURLIN_CHECKED bool access_shows(purlin_ctx *ctx, purlin_request *request, const char *permission);
/* Whether a request may go on, as if it were for that target: its rate, who it is, what is granted, then the operator's policy. A
 * refusal is recorded, with a challenge to who showed nothing. May park. */
PURLIN_CHECKED purlin_status access_admit(purlin_ctx *ctx, purlin_request *request, const http_target *as);
/* The gate of every request. */
purlin_status access_gate(purlin_ctx *ctx, purlin_request *request, const http_target *target);

/* Gives a context the identity of the system, or of somebody who enqueued a job, within a workspace: every permission there. */
void access_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);

/* From here on the context sees everything of its workspace, as the same actor, until access_see_as with what this returned: for the log,
 * which tells more than the actor may see. NULL: no memory, nothing changed. Neither parks. */
const struct identity *access_see_all(purlin_ctx *ctx);
void access_see_as(purlin_ctx *ctx, const struct identity *who);

/* Whether a permission, or a pattern of them, lies within a granted one: "models:write" within itself, "models:*", "*:write", "*";
 * those of the audit log within "audit:..." and "*" only. */
bool access_covers(const char *granted, const char *asked);
/* Whether the identity holds the permission in the whole workspace or, with `anywhere`, in some project or for some object. */
bool access_permits(const struct identity *who, const char *permission, bool anywhere);
/* Whether anything at all is granted to it in the project. */
bool access_reaches(const struct identity *who, const char *project);
/* PURLIN_OK, PURLIN_UNAUTHENTICATED or PURLIN_FORBIDDEN, recorded. */
PURLIN_CHECKED purlin_status access_require(purlin_ctx *ctx, const char *permission, bool anywhere);
/* Whether the identity holds all of `permissions` in the project (NULL: in all of them) and for the object (NULL: for all): nobody
 * gives away what they do not have. */
bool access_holds_all(const struct identity *who, purlin_texts permissions, const char *project, const char *object);

#endif
