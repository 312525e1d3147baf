/* grant.c: which role whom was granted, where. */
#include "access/identity.h"
#include <purlin/operation.h>
#include <string.h>

#define SUBJECT_RULE .pattern = "(user|group|service):[A-Za-z0-9._@+-]+", .max_length = 200
#define EVERYWHERE "*"

/* ---- Reading ------------------------------------------------------------------------------------------------------------------------ */

typedef struct grant_row {
  const char *role;
  purlin_opt_text project, object;
  purlin_texts permissions;
} grant_row;
PURLIN_SCHEMA(grant_row, "A grant, and what its role permits when the workspace made it",
    PURLIN_REQUIRED(role, "The role"),
    PURLIN_OPTIONAL(project, "Only there"),
    PURLIN_OPTIONAL(object, "Only for this"),
    PURLIN_OPTIONAL(permissions, "Of a role that is not built in"));

typedef struct grant_rows {
  PURLIN_LIST_OF(grant_row) rows;
} grant_rows;

#define SUBJECTS                                                                                                           \
  "JSON_TABLE(?, '$[*]' COLUMNS (subject VARCHAR(250) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$')) s"

static const char SELECT_GRANTS[] = "SELECT g.role, NULLIF(g.project, '" EVERYWHERE
                                    "') AS project, NULLIF(g.object, '" EVERYWHERE "') AS object, r.permissions"
                                    " FROM " SUBJECTS " JOIN access_grants g ON g.workspace = ? AND g.subject = s.subject"
                                    " LEFT JOIN access_roles r ON r.workspace = g.workspace AND r.name = g.role";
static const char SELECT_HOME[] =
    "SELECT MIN(g.workspace) AS workspace, COUNT(DISTINCT g.workspace) AS workspaces FROM " SUBJECTS
    " JOIN access_grants g ON g.subject = s.subject";

static const char *text_or_null(purlin_opt_text text) { return text.state == PURLIN_SET ? text.value : NULL; }

purlin_status grants_of(purlin_ctx *ctx, const char *workspace, purlin_texts subjects, grants *out) {
  grant_rows found = {0};
  purlin_status status =
      purlin_db_list(ctx, grant_row, &found.rows, SELECT_GRANTS, purlin_list_json(ctx, subjects), workspace);
  if (status != PURLIN_OK) return status;
  out->grants.items = purlin_alloc_array(ctx, found.rows.count + 1, sizeof *out->grants.items);
  if (!out->grants.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.rows.count; i++) {
    const grant_row *row = &found.rows.items[i];
    const purlin_texts *known = role_builtin(row->role);
    out->grants.items[out->grants.count++] = (access_grant){.project = text_or_null(row->project),
                                                            .object = text_or_null(row->object),
                                                            .permissions = known ? *known : row->permissions};
  }
  return PURLIN_OK;
}

typedef struct home_row {
  purlin_opt_text workspace;
  int64_t workspaces;
} home_row;
PURLIN_SCHEMA(home_row, "Where something is granted",
    PURLIN_OPTIONAL(workspace, "The first"),
    PURLIN_REQUIRED(workspaces, "How many"));

purlin_status grants_home(purlin_ctx *ctx, purlin_texts subjects, const char **workspace) {
  home_row row;
  purlin_status status = purlin_db_row(ctx, home_row, &row, SELECT_HOME, purlin_list_json(ctx, subjects));
  if (status != PURLIN_OK) return status;
  /* Somebody new, to whom nothing is granted yet, still has a profile and a password to change. */
  *workspace = row.workspaces == 0 ? "default" : text_or_null(row.workspace);
  return row.workspaces <= 1 ? PURLIN_OK : PURLIN_NOT_FOUND;
}

/* ---- Granting --------------------------------------------------------------------------------------------------------------------------- */

static const char INSERT_GRANT[] =
    "INSERT INTO access_grants (id, workspace, subject, role, project, object, created_at, created_by)"
    " VALUES (?, ?, ?, ?, COALESCE(?, '" EVERYWHERE "'), COALESCE(?, '" EVERYWHERE "'), NOW(6), ?)";

static purlin_status insert(purlin_ctx *ctx, const char *id, const char *workspace, const char *subject, const char *role,
                            const char *project, const char *object) {
  purlin_status status = purlin_db_run(ctx, INSERT_GRANT, id, workspace, subject, role, project, object, purlin_actor(ctx));
  return status == PURLIN_CONFLICT ? purlin_fail(ctx, status, "'%s' has the role '%s' there already", subject, role)
                                   : status;
}

purlin_status grant_add(purlin_ctx *ctx, const char *workspace, const char *subject, const char *role,
                        const char *project) {
  return insert(ctx, purlin_new_id(ctx, "grt"), workspace, subject, role, project, NULL);
}

typedef struct grant {
  const char *id, *subject, *role;
  purlin_opt_text project, object;
  purlin_time created_at;
  const char *created_by;
} grant;
PURLIN_SCHEMA(grant, "A role that somebody was granted",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(subject, "Who has it: \"user:ana\", \"group:research\", \"service:nightly\""),
    PURLIN_REQUIRED(role, "The role"),
    PURLIN_OPTIONAL(project, "Only in this project; absent: in all"),
    PURLIN_OPTIONAL(object, "Only for this object; absent: for all"),
    PURLIN_REQUIRED(created_at, "When"),
    PURLIN_REQUIRED(created_by, "By whom"));

#define GRANT_COLUMNS                                                                                                      \
  "g.id, g.subject, g.role, NULLIF(g.project, '" EVERYWHERE "') AS project, NULLIF(g.object, '" EVERYWHERE "') AS object," \
  " g.created_at, g.created_by"
static const char SELECT_GRANT[] = "SELECT " GRANT_COLUMNS " FROM access_grants g WHERE g.workspace = ? AND g.id = ?";
static const char SELECT_LOCKED[] =
    "SELECT " GRANT_COLUMNS " FROM access_grants g WHERE g.workspace = ? AND g.id = ? FOR UPDATE";
static const char SELECT_PAGE[] = "SELECT " GRANT_COLUMNS " FROM access_grants g WHERE g.workspace = ? AND " PURLIN_VISIBLE(
    "g.project", "g.object") " AND (? = '' OR g.subject = ?) AND (? = '' OR g.role = ?) AND (? = '' OR g.project = ?)"
                             " AND (? = '' OR g.object = ?) AND g.id > ? ORDER BY g.id LIMIT ?";

typedef struct grant_in {
  const char *subject, *role;
  purlin_opt_text project, object;
} grant_in;
PURLIN_SCHEMA(grant_in, "A role to grant",
    PURLIN_REQUIRED(subject, "To whom: \"user:ana\", \"group:research\", \"service:nightly\"", SUBJECT_RULE),
    PURLIN_REQUIRED(role, "The role", .max_length = 64),
    PURLIN_OPTIONAL(project, "Only in this project, by id or name; absent: in all", .max_length = 64),
    PURLIN_OPTIONAL(object, "Only for the object of this id, in that project", .pattern = "[A-Za-z0-9._-]+", .max_length = 64));

PURLIN_OPERATION(access_grant_role, grant_in, grant,
    .summary = "Grant a role", .permission = "access:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/access/grants",
    .description = "In the workspace, in one project, or for one object. Nobody grants what they do not hold there themselves.") {
  const char *project = NULL, *object = text_or_null(in->object), *id = purlin_new_id(ctx, "grt");
  purlin_texts permissions;
  purlin_status status = in->project.state == PURLIN_SET ? project_find(ctx, in->project.value, &project) : PURLIN_OK;
  if (status == PURLIN_OK && object && !project) return purlin_fail_field(ctx, "project", "an object's project is needed");
  if (status == PURLIN_OK) status = purlin_require_on(ctx, "access:write", project, object);
  if (status != PURLIN_OK) return status;
  status = role_permissions(ctx, purlin_workspace(ctx), in->role, &permissions);
  if (status == PURLIN_NOT_FOUND) return purlin_fail_field(ctx, "role", "there is no role '%s'", in->role);
  if (status == PURLIN_OK && !access_holds_all(ctx->who, permissions, project, object))
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "the role '%s' permits more than you hold there yourself", in->role);
  if (status == PURLIN_OK) status = insert(ctx, id, purlin_workspace(ctx), in->subject, in->role, project, object);
  return status == PURLIN_OK ? purlin_db_row(ctx, grant, out, SELECT_GRANT, purlin_workspace(ctx), id) : status;
}

/* ---- Taking away ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct grant_id_in {
  const char *id;
} grant_id_in;
PURLIN_SCHEMA(grant_id_in, "Which grant", PURLIN_REQUIRED(id, "Its id", .max_length = 64));

/* PURLIN_NOT_FOUND, recorded, also when the caller may not see it. */
static purlin_status find_grant(purlin_ctx *ctx, const char *sql, const char *id, grant *out) {
  purlin_status status = purlin_db_row(ctx, grant, out, sql, purlin_workspace(ctx), id);
  bool hidden = status == PURLIN_OK &&
                !purlin_permitted_on(ctx, "access:read", text_or_null(out->project), text_or_null(out->object));
  return status == PURLIN_NOT_FOUND || hidden ? purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no grant '%s'", id) : status;
}

PURLIN_OPERATION(access_get_grant, grant_id_in, grant,
    .summary = "A granted role", .permission = "access:read", .by_project = true, .http = "GET /api/v1/access/grants/{id}") {
  return find_grant(ctx, SELECT_GRANT, in->id, out);
}

static const char DELETE_GRANT[] = "DELETE FROM access_grants WHERE workspace = ? AND id = ?";

static bool gives_all(const grant *given) {
  return strcmp(given->role, "owner") == 0 && given->project.state != PURLIN_SET && given->object.state != PURLIN_SET;
}

PURLIN_OPERATION(access_revoke_grant, grant_id_in, purlin_nothing,
    .summary = "Take a granted role away", .permission = "access:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "access_get_grant",
    .http = "DELETE /api/v1/access/grants/{id}") {
  (void)out;
  grant found;
  purlin_status status = find_grant(ctx, SELECT_LOCKED, in->id, &found);
  if (status == PURLIN_OK)
    status = purlin_require_on(ctx, "access:write", text_or_null(found.project), text_or_null(found.object));
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_GRANT, purlin_workspace(ctx), in->id);
  return status == PURLIN_OK && gives_all(&found) ? owner_remains(ctx) : status;
}

/* ---- Listing ------------------------------------------------------------------------------------------------------------------------------------- */

typedef struct list_grants_in {
  const char *subject, *role, *project, *object, *after;
  int64_t limit;
} list_grants_in;
PURLIN_SCHEMA(list_grants_in, "Which page",
    PURLIN_DEFAULT(subject, "\"\"", "Only of this subject", .max_length = 200),
    PURLIN_DEFAULT(role, "\"\"", "Only of this role", .max_length = 64),
    PURLIN_DEFAULT(project, "\"\"", "Only those in the project of this id; *: only those in all", .max_length = 64),
    PURLIN_DEFAULT(object, "\"\"", "Only those for the object of this id; *: only those for all", .max_length = 64),
    PURLIN_DEFAULT(after, "\"\"", "Ids after this one", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct grant_page {
  PURLIN_LIST_OF(grant) grants;
} grant_page;
PURLIN_SCHEMA(grant_page, "Grants, by id", PURLIN_LIST(grants, grant, "The grants"));

PURLIN_OPERATION(access_list_grants, list_grants_in, grant_page,
    .summary = "Who was granted what", .permission = "access:read", .by_project = true, .http = "GET /api/v1/access/grants") {
  return purlin_db_list(ctx, grant, &out->grants, SELECT_PAGE, purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "access:read"),
                        in->subject, in->subject, in->role, in->role, in->project, in->project, in->object, in->object,
                        in->after, in->limit);
}

/* ---- What somebody may do ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct check_permissions_in {
  const char *subject;
  purlin_texts permissions;
  purlin_opt_text project, object;
} check_permissions_in;
PURLIN_SCHEMA(check_permissions_in, "Who, what, and where",
    PURLIN_REQUIRED(subject, "Who: \"user:ana\", \"group:research\", \"service:nightly\"", SUBJECT_RULE),
    PURLIN_REQUIRED(permissions, "What is asked about: \"models:write\"", .min_length = 1, .max_length = 100),
    PURLIN_OPTIONAL(project, "In this project, by id or name; absent: in all of the workspace", .max_length = 64),
    PURLIN_OPTIONAL(object, "For the object of this id, in that project; absent: for all there", .max_length = 64));

typedef struct permission_list {
  purlin_texts permissions;
} permission_list;
PURLIN_SCHEMA(permission_list, "What somebody may do there",
    PURLIN_REQUIRED(permissions, "Those that were asked about and that they hold, by their roles and those of their groups; a narrowed key permits less"));

static purlin_status select_held(purlin_ctx *ctx, const struct identity *who, const check_permissions_in *in,
                                 const char *project, purlin_texts *out) {
  const char **items = purlin_alloc_array(ctx, in->permissions.count, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  size_t count = 0;
  for (size_t i = 0; i < in->permissions.count; i++) {
    const purlin_texts one = {&in->permissions.items[i], 1};
    if (access_holds_all(who, one, project, text_or_null(in->object))) items[count++] = in->permissions.items[i];
  }
  *out = (purlin_texts){items, count};
  return PURLIN_OK;
}

PURLIN_OPERATION(access_check_permissions, check_permissions_in, permission_list,
    .summary = "Which of these permissions somebody holds", .permission = "authenticated",
    .description = "In the workspace, in one project, or for one object. Of others than yourself it needs access:read there.") {
  const char *project = NULL, *object = text_or_null(in->object);
  purlin_texts subjects;
  grants granted = {0};
  purlin_status status = in->project.state == PURLIN_SET ? project_find(ctx, in->project.value, &project) : PURLIN_OK;
  if (status == PURLIN_OK && object && !project) return purlin_fail_field(ctx, "project", "an object's project is needed");
  if (status == PURLIN_OK && strcmp(in->subject, purlin_actor(ctx)) != 0)
    status = purlin_require_on(ctx, "access:read", project, object);
  if (status == PURLIN_OK) status = identity_subjects(ctx, in->subject, &subjects);
  if (status == PURLIN_OK) status = grants_of(ctx, purlin_workspace(ctx), subjects, &granted);
  if (status != PURLIN_OK) return status;
  const struct identity who = {.grants = granted.grants.items, .grant_count = granted.grants.count};
  return select_held(ctx, &who, in, project, &out->permissions);
}
