/* access.h: may they, for this very row.
 *
 * An operation's permission is checked before it runs: whoever calls it holds it in the whole workspace or, when it is declared
 * .by_project, in some project or for some object. Such an operation's queries say by themselves which rows the caller may see, so
 * that nothing is filtered afterwards, and no count or page tells of what is hidden:
 *
 *   static const char SELECT_PAGE[] = "SELECT id, name FROM registry_models m"
 *       " WHERE m.workspace = ? AND " PURLIN_VISIBLE("m.project", "m.id") " ORDER BY m.name LIMIT ?";
 *   purlin_db_list(ctx, model, &out->models, SELECT_PAGE, purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "models:read"), in->limit);
 *
 * An object that the caller may not see is not found, as if there were none; one that they see and may not change is forbidden:
 *
 *   status = purlin_db_row(ctx, model, &row, SELECT_ONE, purlin_workspace(ctx), in->name);
 *   if (status == PURLIN_OK) status = purlin_reach(ctx, "models:write", "models:read", row.project, row.id);
 *   if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no model named '%s'", in->name);
 *
 * What is made belongs to a project: purlin_require_on(ctx, "models:write", purlin_project(ctx), NULL).
 *
 * Since 0.1 unless a function says otherwise. */
#ifndef PURLIN_ACCESS_H
#define PURLIN_ACCESS_H

#include <purlin/context.h>
#include <purlin/database.h>

PURLIN_BEGIN

/* A condition over two columns, the row's project and the object's id, with two '?' for PURLIN_VISIBLE_TO. */
#define PURLIN_VISIBLE(project, object)                                                                                    \
  "COALESCE(FIND_IN_SET(" project ", ?) + FIND_IN_SET(CONCAT(" project ", '/', " object "), ?), 1)"
#define PURLIN_VISIBLE_TO(ctx, permission) purlin_visible(ctx, permission), purlin_visible(ctx, permission)

/* Where the caller holds the permission: projects, and objects as PROJECT/OBJECT, with commas; NULL: everywhere. Arena, or static. Does
 * not park. */
PURLIN_API const char *purlin_visible(purlin_ctx *ctx, const char *permission);

/* Whether the caller holds the permission for this object of this project. Does not park. */
PURLIN_API bool purlin_permitted_on(const purlin_ctx *ctx, const char *permission, const char *project, const char *object);
/* The same as a status: PURLIN_FORBIDDEN, recorded. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_require_on(purlin_ctx *ctx, const char *permission, const char *project,
                                                          const char *object);
/* What an operation that wants `permission` answers about an object that it found: PURLIN_OK when the caller holds it there;
 * PURLIN_FORBIDDEN, recorded, when they hold only `see`; PURLIN_NOT_FOUND, not recorded, when not even that. Does not park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_reach(purlin_ctx *ctx, const char *permission, const char *see,
                                                     const char *project, const char *object);

/* ---- For plugins that know people ------------------------------------------------------------------------------------------- */

/* Whether anything is or was given to a subject ("user:bob") before there is one, in any workspace: a role, or an API key that acts for
 * it. Then nobody may simply take that name. May park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_is_granted(purlin_ctx *ctx, const char *subject, bool *granted);
/* Grants a role in all of the caller's workspace, by the word of the plugin: what the caller holds does not count. In the running
 * transaction. Recorded: PURLIN_NOT_FOUND (no such role), PURLIN_CONFLICT (granted already). May park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_grant_role(purlin_ctx *ctx, const char *subject, const char *role);
/* To be called after a change that shuts a subject out, in its transaction: PURLIN_CONFLICT, recorded, when the subject owns the caller's
 * workspace and nobody else who can come in does. Of several that do this at once the last is refused. May park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_keep_owner(purlin_ctx *ctx, const char *subject);

/* ---- Work for somebody who has gone ------------------------------------------------------------------------------------------------ */

/* Whom the caller's roles are granted to, the actor and groups, as JSON for a column; NULL text where nobody in person acts (the system,
 * a job). Arena. Does not park; PURLIN_TOO_LARGE. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_subjects(purlin_ctx *ctx, purlin_json *subjects);
/* From here on this context acts as `actor` with what is granted to those subjects in its workspace now, which may be less than it was
 * when they were noted: to see whether what somebody began may go on. purlin_act_as ends it. May park. PURLIN_INVALID when they are none. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_act_for(purlin_ctx *ctx, const char *actor, purlin_json subjects);

PURLIN_END

#endif
