/* project.c: workspaces, which nothing crosses, and projects, which roles are granted in. */
#include "access/identity.h"
#include <purlin/operation.h>
#include <string.h>

#define NAME_RULE .pattern = "[a-z0-9][a-z0-9._-]*", .max_length = 64

/* ---- Projects ---------------------------------------------------------------------------------------------------------------------- */

typedef struct project {
  const char *id, *name, *summary;
  purlin_time created_at;
  const char *created_by;
} project;
PURLIN_SCHEMA(project, "A project of the workspace",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(summary, "What it is for"),
    PURLIN_REQUIRED(created_at, "When it was made"),
    PURLIN_REQUIRED(created_by, "By whom"));

#define PROJECT_COLUMNS "id, name, summary, created_at, created_by"
static const char SELECT_PROJECT[] =
    "SELECT " PROJECT_COLUMNS
    " FROM access_projects WHERE workspace = ? AND (id = ? OR name = ?) AND " PURLIN_VISIBLE("id", "id");
static const char SELECT_PROJECTS[] =
    "SELECT " PROJECT_COLUMNS
    " FROM access_projects WHERE workspace = ? AND " PURLIN_VISIBLE("id", "id") " AND name > ? ORDER BY name LIMIT ?";
static const char INSERT_PROJECT[] = "INSERT INTO access_projects (id, workspace, name, summary, created_at, created_by)"
                                     " VALUES (?, ?, ?, ?, NOW(6), ?)";

static purlin_status find(purlin_ctx *ctx, const char *name, project *out) {
  purlin_status status = purlin_db_row(ctx, project, out, SELECT_PROJECT, purlin_workspace(ctx), name, name,
                                       PURLIN_VISIBLE_TO(ctx, "projects:read"));
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "there is no project '%s'", name) : status;
}

static const char NAME_PROJECT[] =
    "SELECT " PROJECT_COLUMNS " FROM access_projects WHERE workspace = ? AND (id = ? OR name = ?)";

/* Whatever is granted there, and however narrow the credential, is enough to name it. */
purlin_status project_find(purlin_ctx *ctx, const char *name, const char **id) {
  project found;
  purlin_status status = purlin_db_row(ctx, project, &found, NAME_PROJECT, purlin_workspace(ctx), name, name);
  if (status == PURLIN_NOT_FOUND || (status == PURLIN_OK && !access_reaches(ctx->who, found.id)))
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no project '%s'", name);
  if (status == PURLIN_OK) *id = found.id;
  return status;
}

typedef struct create_project_in {
  const char *name, *summary;
} create_project_in;
PURLIN_SCHEMA(create_project_in, "A project to make",
    PURLIN_REQUIRED(name, "Unique in the workspace", NAME_RULE),
    PURLIN_DEFAULT(summary, "\"\"", "What it is for", .max_length = 250));

PURLIN_OPERATION(access_create_project, create_project_in, project,
    .summary = "Make a project, which you then own", .permission = "projects:write", .effect = PURLIN_CREATES,
    .http = "POST /api/v1/projects") {
  purlin_status status = purlin_require_on(ctx, "projects:write", NULL, NULL);
  if (status != PURLIN_OK) return status;
  const char *id = purlin_new_id(ctx, "prj");
  status = purlin_db_run(ctx, INSERT_PROJECT, id, purlin_workspace(ctx), in->name, in->summary, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a project named '%s' exists already", in->name);
  if (status == PURLIN_OK) status = grant_add(ctx, purlin_workspace(ctx), purlin_actor(ctx), "owner", id);
  *out = (project){id, in->name, in->summary, {purlin_now_us()}, purlin_actor(ctx)};
  return status;
}

typedef struct project_in {
  const char *name;
} project_in;
PURLIN_SCHEMA(project_in, "Which project", PURLIN_REQUIRED(name, "Its id or name", .max_length = 64));

PURLIN_OPERATION(access_get_project, project_in, project,
    .summary = "A project", .permission = "projects:read", .by_project = true, .http = "GET /api/v1/projects/{name}") {
  return find(ctx, in->name, out);
}

typedef struct list_projects_in {
  const char *after;
  int64_t limit;
} list_projects_in;
PURLIN_SCHEMA(list_projects_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct project_page {
  PURLIN_LIST_OF(project) projects;
} project_page;
PURLIN_SCHEMA(project_page, "Projects, by name", PURLIN_LIST(projects, project, "Those in which you have a role"));

PURLIN_OPERATION(access_list_projects, list_projects_in, project_page,
    .summary = "The projects that you have a role in", .permission = "projects:read", .by_project = true, .http = "GET /api/v1/projects") {
  return purlin_db_list(ctx, project, &out->projects, SELECT_PROJECTS, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "projects:read"), in->after, in->limit);
}

/* ---- Workspaces ------------------------------------------------------------------------------------------------------------------------- */

typedef struct create_workspace_in {
  const char *name, *summary, *owner;
} create_workspace_in;
PURLIN_SCHEMA(create_workspace_in, "A workspace to make",
    PURLIN_REQUIRED(name, "Unique on this server", NAME_RULE),
    PURLIN_DEFAULT(summary, "\"\"", "What it is for", .max_length = 250),
    PURLIN_REQUIRED(owner, "Its first owner", .pattern = "(user|service):[A-Za-z0-9._@+-]+", .max_length = 200));

typedef struct workspace {
  const char *id, *summary, *owner, *secret;
} workspace;
PURLIN_SCHEMA(workspace, "A new workspace: a tenant of this server",
    PURLIN_REQUIRED(id, "Its name"),
    PURLIN_REQUIRED(summary, "What it is for"),
    PURLIN_REQUIRED(owner, "Its owner"),
    PURLIN_REQUIRED(secret, "An API key of the owner's, for 90 days; shown this once"));

static const char INSERT_WORKSPACE[] =
    "INSERT INTO access_workspaces (id, summary, created_at, created_by) VALUES (?, ?, NOW(6), ?)";

/* Workspaces are made by owners of the first one, who so administer the server, and who have no role in those that they make. */
PURLIN_OPERATION(access_create_workspace, create_workspace_in, workspace,
    .summary = "Make a workspace", .permission = "workspaces:write", .effect = PURLIN_CREATES, .answers_secret = true, .http = "POST /api/v1/workspaces") {
  if (strcmp(purlin_workspace(ctx), "default") != 0)
    return purlin_fail(ctx, PURLIN_FORBIDDEN,
                       "workspaces are made by administrators of the server, in the workspace 'default'");
  purlin_status status = purlin_require_on(ctx, "workspaces:write", NULL, NULL);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, INSERT_WORKSPACE, in->name, in->summary, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a workspace named '%s' exists already", in->name);
  if (status == PURLIN_OK)
    status =
        purlin_db_run(ctx, INSERT_PROJECT, "default", in->name, "default", "What was given no project", purlin_actor(ctx));
  if (status == PURLIN_OK) status = grant_add(ctx, in->name, in->owner, "owner", NULL);
  *out = (workspace){.id = in->name, .summary = in->summary, .owner = in->owner};
  return status == PURLIN_OK ? key_make(ctx, "first owner", in->owner, in->name, &out->secret) : status;
}

/* ---- Who am I ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct whoami_grant {
  purlin_opt_text project, object;
  purlin_texts permissions;
} whoami_grant;
PURLIN_SCHEMA(whoami_grant, "What is permitted where",
    PURLIN_OPTIONAL(project, "Only in this project"),
    PURLIN_OPTIONAL(object, "Only for this object"),
    PURLIN_REQUIRED(permissions, "What"));

typedef struct whoami_out {
  const char *actor, *credential, *workspace, *project;
  purlin_texts scope;
  PURLIN_LIST_OF(whoami_grant) grants;
} whoami_out;
PURLIN_SCHEMA(whoami_out, "Who is asking",
    PURLIN_REQUIRED(actor, "You"),
    PURLIN_REQUIRED(credential, "By which of your credentials"),
    PURLIN_REQUIRED(workspace, "Where you act"),
    PURLIN_REQUIRED(project, "The project that what you make belongs to"),
    PURLIN_REQUIRED(scope, "What the credential is narrowed to; none: nothing is taken away"),
    PURLIN_LIST(grants, whoami_grant, "What you are granted"));

static purlin_opt_text maybe(const char *text) { return (purlin_opt_text){text ? PURLIN_SET : PURLIN_ABSENT, text}; }

PURLIN_OPERATION(access_whoami, purlin_nothing, whoami_out,
    .summary = "Who you are, and what you may do", .permission = "authenticated", .http = "GET /api/v1/access/whoami") {
  const struct identity *who = ctx->who;
  out->grants.items = purlin_alloc_array(ctx, who->grant_count + 1, sizeof *out->grants.items);
  if (!out->grants.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < who->grant_count; i++)
    out->grants.items[out->grants.count++] = (whoami_grant){.project = maybe(who->grants[i].project),
                                                            .object = maybe(who->grants[i].object),
                                                            .permissions = who->grants[i].permissions};
  out->actor = who->actor;
  out->credential = who->credential;
  out->workspace = who->workspace;
  out->project = ctx->project;
  out->scope = who->scope;
  return PURLIN_OK;
}
