#include "access/access.h"
#include "access/token.h"
#include "events/events.h"
#include "jobs/jobs.h"
#include "loop/background.h"
#include <string.h>
#include <strings.h>

static const char *const EVERYTHING[] = {"*"};

/* "models:write" is granted by itself, by "models:*" and by "*". */
static bool grants(const char *granted, const char *asked) {
  size_t size = strlen(granted);
  if (size && granted[size - 1] == '*') return strncmp(granted, asked, size - 1) == 0;
  return strcmp(granted, asked) == 0;
}

bool access_permits(const struct identity *who, const char *permission) {
  if (strcmp(permission, "public") == 0) return true;
  if (!who) return false;
  if (strcmp(permission, "authenticated") == 0) return true;
  for (size_t i = 0; i < who->permission_count; i++)
    if (grants(who->permissions[i], permission)) return true;
  return false;
}

bool purlin_permitted(const purlin_ctx *ctx, const char *permission) { return access_permits(ctx->who, permission); }

purlin_status access_require(purlin_ctx *ctx, const char *permission) {
  if (access_permits(ctx->who, permission)) return PURLIN_OK;
  if (!ctx->who) return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "send the header 'Authorization: Bearer TOKEN'");
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "this needs the permission '%s'", permission);
}

static void let_go(purlin_ctx *ctx) {
  identity *who = (identity *)(uintptr_t)ctx->who;
  ctx->who = NULL;
  if (who && who->release && --who->references == 0) who->release(who);
}

static void assume(purlin_ctx *ctx, identity *who) {
  let_go(ctx);
  if (who->release) who->references++;
  ctx->who = who;
  ctx->actor = who->actor;
  ctx->workspace = who->workspace;
  ctx->project = who->project;
}

void access_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  identity *who = purlin_alloc(ctx, sizeof *who);
  const char *actor_copy = purlin_copy(ctx, actor), *workspace_copy = purlin_copy(ctx, workspace),
             *project_copy = purlin_copy(ctx, project);
  if (!who || !actor_copy || !workspace_copy || !project_copy) return; /* nobody: everything will be refused */
  *who = (identity){actor_copy, workspace_copy, project_copy, EVERYTHING, 1, NULL, 0};
  assume(ctx, who);
}

void purlin_act_as(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  access_identify(ctx, actor, workspace, project);
}

/* "Bearer TOKEN": the scheme in any case, one space or more. */
static const char *bearer(const char *header) {
  if (!header || strncasecmp(header, "bearer ", 7) != 0) return NULL;
  header += 7;
  while (*header == ' ') header++;
  return header;
}

/* Nobody, or somebody unknown: 401 with the header that says how to come back. */
static purlin_status challenge(purlin_ctx *ctx, purlin_request *request, const char *how, const char *what) {
  purlin_status status = purlin_set_header(ctx, request, "WWW-Authenticate", how);
  return status == PURLIN_OK ? purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "%s", what) : status;
}

purlin_status access_recognise(purlin_ctx *ctx, purlin_request *request) {
  const char *token = bearer(purlin_header(request, "authorization"));
  if (!token) return PURLIN_OK;
  identity *who = NULL;
  purlin_status status = token_identity(ctx, token, &who);
  if (status == PURLIN_NOT_FOUND)
    return challenge(ctx, request, "Bearer error=\"invalid_token\"", "the token is not valid");
  if (status == PURLIN_OK) assume(ctx, who);
  return status;
}

purlin_status access_gate(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  if (strcmp(target->permission, "callback") == 0) return PURLIN_OK; /* the route checks a token of its own */
  /* A token is not looked at, since that takes the database: probes must hold without it. */
  if (strcmp(target->permission, "public") == 0) return PURLIN_OK;
  purlin_status status = access_recognise(ctx, request);
  if (status != PURLIN_OK) return status;
  status = access_require(ctx, target->permission);
  if (status != PURLIN_UNAUTHENTICATED) return status;
  return challenge(ctx, request, "Bearer", "send the header 'Authorization: Bearer TOKEN'");
}

void access_init(void) {
  context_on_end(let_go);
  http_set_gate(access_gate);
  jobs_set_identify(access_identify);
  events_set_identify(access_identify);
  background_set_identify(access_identify);
}

void access_end(void) { tokens_forget(); }
