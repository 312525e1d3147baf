/* directories.h: users who are known elsewhere (contracts/directory.h): asked for at login, made here the first time, looked up again
 * while their sessions and keys go on.
 *
 * Such a user is told by the directory's name and the id there. The name is theirs from the first login on, for good: whoever comes by
 * the same name from elsewhere is not let in. */
#ifndef ACCOUNTS_DIRECTORIES_H
#define ACCOUNTS_DIRECTORIES_H

#include "accounts.h"
#include <purlin/contracts/directory.h>

/* Asks the directory of that name ("": all, in order of start, until one knows) whether it lets in who comes with that password, and
 * makes or updates the user, in *out. PURLIN_NOT_FOUND, not recorded: nobody there; PURLIN_UNAUTHENTICATED, not recorded: wrong, or the
 * user may not be let in, of which the log says why; PURLIN_UNAVAILABLE, recorded. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status directories_check(purlin_ctx *ctx, const char *directory, const char *name,
                                               const char *password, login_row *out);
/* The user that somebody is whom the directory let in: made the first time, updated else. Recorded: PURLIN_FORBIDDEN (disabled here),
 * PURLIN_CONFLICT (the name is another's), PURLIN_INVALID (no name, or no id, for a user). Not within a transaction. May park. */
PURLIN_CHECKED purlin_status directories_admit(purlin_ctx *ctx, const char *directory, const purlin_person *person,
                                               login_row *out);
/* Whether there is any. Does not park. */
bool directories_exist(purlin_ctx *ctx);

/* What is to be known of a user who goes on. */
typedef struct standing {
  const char *id, *name, *directory, *external_id;
  purlin_texts groups;
  bool disabled;
  int64_t age_s;
} standing;
PURLIN_SCHEMA(standing, "A user who goes on",
    PURLIN_REQUIRED(id, "id"), PURLIN_REQUIRED(name, "name"), PURLIN_REQUIRED(directory, "who knows them; empty: we do"),
    PURLIN_REQUIRED(external_id, "by what id"), PURLIN_REQUIRED(groups, "what they belong to"),
    PURLIN_REQUIRED(disabled, "whether nothing lets them in"), PURLIN_REQUIRED(age_s, "since the directory let them in"));

#define STANDING_COLUMNS                                                                                                      \
  "u.id, u.name, u.directory, COALESCE(u.external_id, '') AS external_id, u.`groups`, u.disabled_at IS NOT NULL AS disabled," \
  " IF(u.directory = '', 0, COALESCE(TIMESTAMPDIFF(SECOND, u.looked_up_at, NOW(6)), 1000000000)) AS age_s"

/* Whether this user, just read, is still let in: PURLIN_OK, with what the directory says now, or PURLIN_UNAUTHENTICATED, not recorded,
 * when they are disabled, the directory does not know them any more (all their sessions end), or it could not be asked for longer than
 * the grace. Asks it only when it was last asked too long ago. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status directories_still(purlin_ctx *ctx, standing *of);

#endif
