/* identity.h: what the files of access/ share: credentials, and how one becomes an identity. */
#ifndef PURLIN_ACCESS_IDENTITY_H
#define PURLIN_ACCESS_IDENTITY_H

#include "access/access.h"

/* Who is behind the credential, in the workspace that was asked for (NULL: the one they are at home in). PURLIN_NOT_FOUND when
 * nobody is; from a loop's cache, which the answer belongs to: the caller takes its reference at once. May park. */
PURLIN_CHECKED purlin_status identity_of(purlin_ctx *ctx, const purlin_credential *credential, const char *workspace,
                                         struct identity **who);
/* Once, before any request: the key of the caches. And once after the loops: what they remember is let go. */
void identity_start(void);
void identity_forget(void);

/* Whether somebody comes in by other means than a key of ours, by what the authenticators say. PURLIN_NOT_FOUND: not that any of them
 * knew, so a key of theirs is taken; PURLIN_UNAUTHENTICATED: they are shut out. May park, for the database only. */
PURLIN_CHECKED purlin_status identity_comes_in(purlin_ctx *ctx, const char *actor);

/* A subject, and the groups of which the authenticators say that it belongs to them. Arena. May park. */
PURLIN_CHECKED purlin_status identity_subjects(purlin_ctx *ctx, const char *subject, purlin_texts *subjects);

/* The principal of an API key: PURLIN_NOT_FOUND when it is none of ours, has expired or was revoked. `project` and `bound`: where it
 * acts, and whether only there. May park. */
PURLIN_CHECKED purlin_status key_principal(purlin_ctx *ctx, const purlin_credential *credential,
                                           purlin_principal *principal, const char **project, bool *bound);
/* Makes a key that permits whatever its owner is granted, and lives 90 days; in the caller's transaction. The secret is in the arena. */
PURLIN_CHECKED purlin_status key_make(purlin_ctx *ctx, const char *name, const char *owner, const char *workspace,
                                      const char **secret);
/* Makes the first administrator's key when there is none, and writes it to STATE/admin.token; another one, for a day, when there is the
 * file STATE/recover, which it deletes. */
PURLIN_CHECKED purlin_status key_first(purlin_ctx *ctx, const char *state_directory, buffer *why);

/* What a role of that name permits in the workspace. PURLIN_NOT_FOUND without one. May park. */
PURLIN_CHECKED purlin_status role_permissions(purlin_ctx *ctx, const char *workspace, const char *name, purlin_texts *out);
/* Of a built-in role, else NULL. */
const purlin_texts *role_builtin(const char *name);

/* Everything that is granted to the subjects in the workspace. Arena. May park. */
typedef struct grants {
  PURLIN_LIST_OF(access_grant) grants;
} grants;
PURLIN_CHECKED purlin_status grants_of(purlin_ctx *ctx, const char *workspace, purlin_texts subjects, grants *out);
/* The workspace in which something is granted to one of the subjects; 'default' when there is none. PURLIN_NOT_FOUND: several. */
PURLIN_CHECKED purlin_status grants_home(purlin_ctx *ctx, purlin_texts subjects, const char **workspace);
/* Grants a role, as the caller; in the caller's transaction. May park. */
PURLIN_CHECKED purlin_status grant_add(purlin_ctx *ctx, const char *workspace, const char *subject, const char *role,
                                       const char *project);

/* After a change that took an owner of the caller's workspace away, or their way in, and in its transaction: PURLIN_CONFLICT, recorded,
 * when nobody who could come in owns it any more. May park. */
PURLIN_CHECKED purlin_status owner_remains(purlin_ctx *ctx);

/* The id of a project of the caller's workspace, by its id or name. PURLIN_NOT_FOUND, recorded. May park. */
PURLIN_CHECKED purlin_status project_find(purlin_ctx *ctx, const char *name, const char **id);

#endif
