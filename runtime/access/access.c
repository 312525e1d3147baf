#include "access/identity.h"
#include "access/quota.h"
#include "access/rate.h"
#include "audit/audit.h"
#include "core/text.h"
#include "events/events.h"
#include "jobs/jobs.h"
#include "loop/background.h"
#include "operation/operation.h"
#include <purlin/policy.h>
#include <string.h>
#include <strings.h>

enum { LONGEST_CREDENTIAL = 8 * 1024, LONGEST_NAME = 64 };

/* ---- What is granted ---------------------------------------------------------------------------------------------------------- */

/* The audit log tells who did what, inputs included: "*:read" is not meant to say that. It is granted by its name. */
static const char BY_NAME[] = "audit:";

bool access_covers(const char *granted, const char *asked) {
  size_t size = strlen(granted), asked_size = strlen(asked);
  if (size == 0) return false;
  if (granted[size - 1] == '*') return strncmp(granted, asked, size - 1) == 0;
  if (granted[0] == '*' && strncmp(asked, BY_NAME, sizeof BY_NAME - 1) == 0) return false;
  if (granted[0] == '*') return asked_size >= size - 1 && strcmp(granted + 1, asked + asked_size - (size - 1)) == 0;
  return strcmp(granted, asked) == 0;
}

static bool any_covers(purlin_texts granted, const char *asked) {
  for (size_t i = 0; i < granted.count; i++)
    if (access_covers(granted.items[i], asked)) return true;
  return false;
}

static bool in_scope(const struct identity *who, const char *permission) {
  return who->scope.count == 0 || any_covers(who->scope, permission);
}

/* Whether a grant reaches an object (NULL: all) of a project (NULL: all). */
static bool reaches(const access_grant *grant, const char *project, const char *object) {
  if (grant->project && (!project || strcmp(grant->project, project) != 0)) return false;
  return !grant->object || (object && strcmp(grant->object, object) == 0);
}

static bool permits_on(const struct identity *who, const char *permission, const char *project, const char *object) {
  if (!in_scope(who, permission)) return false;
  for (size_t i = 0; i < who->grant_count; i++)
    if (reaches(&who->grants[i], project, object) && any_covers(who->grants[i].permissions, permission)) return true;
  return false;
}

bool access_permits(const struct identity *who, const char *permission, bool anywhere) {
  if (strcmp(permission, "public") == 0) return true;
  if (!who) return false;
  if (strcmp(permission, "authenticated") == 0) return true;
  if (!in_scope(who, permission)) return false;
  for (size_t i = 0; i < who->grant_count; i++)
    if ((anywhere || reaches(&who->grants[i], NULL, NULL)) && any_covers(who->grants[i].permissions, permission))
      return true;
  return false;
}

bool access_reaches(const struct identity *who, const char *project) {
  for (size_t i = 0; who && i < who->grant_count; i++)
    if (!who->grants[i].project || strcmp(who->grants[i].project, project) == 0) return true;
  return false;
}

bool access_holds_all(const struct identity *who, purlin_texts permissions, const char *project, const char *object) {
  if (!who) return false;
  for (size_t i = 0; i < permissions.count; i++)
    if (!permits_on(who, permissions.items[i], project, object)) return false;
  return true;
}

purlin_status access_require(purlin_ctx *ctx, const char *permission, bool anywhere) {
  if (access_permits(ctx->who, permission, anywhere)) return PURLIN_OK;
  if (!ctx->who) return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "send the header 'Authorization: Bearer TOKEN'");
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "this needs the permission '%s'", permission);
}

const char *purlin_shown(const purlin_ctx *ctx) { return ctx->who && ctx->who->credential ? ctx->who->credential : ""; }

bool purlin_permitted(const purlin_ctx *ctx, const char *permission) { return access_permits(ctx->who, permission, false); }

bool purlin_permitted_on(const purlin_ctx *ctx, const char *permission, const char *project, const char *object) {
  return ctx->who && permits_on(ctx->who, permission, project, object);
}

purlin_status purlin_require_on(purlin_ctx *ctx, const char *permission, const char *project, const char *object) {
  if (purlin_permitted_on(ctx, permission, project, object)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "this needs the permission '%s' here", permission);
}

purlin_status purlin_reach(purlin_ctx *ctx, const char *permission, const char *see, const char *project,
                           const char *object) {
  if (purlin_permitted_on(ctx, permission, project, object)) return PURLIN_OK;
  return purlin_permitted_on(ctx, see, project, object) ? purlin_require_on(ctx, permission, project, object)
                                                        : PURLIN_NOT_FOUND;
}

const char *purlin_visible(purlin_ctx *ctx, const char *permission) {
  const struct identity *who = ctx->who;
  if (!who || !in_scope(who, permission)) return "";
  const char *visible = "";
  for (size_t i = 0; i < who->grant_count && visible; i++) {
    const access_grant *grant = &who->grants[i];
    if (!any_covers(grant->permissions, permission)) continue;
    if (!grant->project && !grant->object) return NULL;
    if (!grant->project) continue; /* an object is one of a project */
    visible = purlin_format(ctx, "%s%s%s%s%s", visible, *visible ? "," : "", grant->project, grant->object ? "/" : "",
                            grant->object ? grant->object : "");
  }
  return visible ? visible : ""; /* without memory nothing is visible; the failure is recorded */
}

/* ---- Who a context acts as ------------------------------------------------------------------------------------------------------ */

static const identity nobody;

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

static void identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project, bool bound) {
  static const char *const everything[] = {"*"};
  identity *who = purlin_alloc(ctx, sizeof *who);
  access_grant *all = purlin_alloc(ctx, sizeof *all);
  const char *actor_copy = purlin_copy(ctx, actor), *workspace_copy = purlin_copy(ctx, workspace),
             *project_copy = purlin_copy(ctx, project);
  if (!who || !all || !actor_copy || !workspace_copy || !project_copy) return; /* nobody: everything will be refused */
  *all = (access_grant){.project = bound ? project_copy : NULL, .permissions = {(const char **)everything, 1}};
  *who = (identity){.actor = actor_copy,
                    .workspace = workspace_copy,
                    .project = project_copy,
                    .credential = "",
                    .grants = all,
                    .grant_count = 1,
                    .bound = bound};
  assume(ctx, who);
}

/* No reference is counted: the one that comes back at the end keeps what it had. */
const struct identity *access_see_all(purlin_ctx *ctx) {
  static const char *const everything[] = {"*"};
  const identity *before = ctx->who;
  identity *who = purlin_alloc(ctx, sizeof *who);
  access_grant *all = purlin_alloc(ctx, sizeof *all);
  if (!who || !all) return NULL;
  *all = (access_grant){.permissions = {(const char **)everything, 1}};
  *who = (identity){.actor = ctx->actor,
                    .workspace = ctx->workspace,
                    .project = ctx->project,
                    .credential = before ? before->credential : "",
                    .grants = all,
                    .grant_count = 1};
  ctx->who = who;
  return before ? before : &nobody;
}

void access_see_as(purlin_ctx *ctx, const struct identity *who) { ctx->who = who == &nobody ? NULL : who; }

void access_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  identify(ctx, actor, workspace, project, false);
}

void purlin_act_as(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  identify(ctx, actor, workspace, project, true);
}

typedef struct noted_subjects {
  purlin_texts subjects;
} noted_subjects;
PURLIN_SCHEMA(noted_subjects, "Whom roles are granted to", PURLIN_REQUIRED(subjects, "The actor and their groups"));

purlin_status purlin_subjects(purlin_ctx *ctx, purlin_json *subjects) {
  *subjects = (purlin_json){NULL, 0};
  if (!ctx->who || ctx->who->subjects.count == 0) return PURLIN_OK;
  return purlin_encode(ctx, noted_subjects_schema(), &(noted_subjects){ctx->who->subjects}, subjects);
}

purlin_status purlin_act_for(purlin_ctx *ctx, const char *actor, purlin_json subjects) {
  noted_subjects noted = {0};
  grants granted = {0};
  purlin_status status = purlin_decode_stored(ctx, noted_subjects_schema(), subjects.text, subjects.size, &noted);
  if (status == PURLIN_OK) status = grants_of(ctx, ctx->workspace, noted.subjects, &granted);
  if (status != PURLIN_OK) return status;
  identity *who = purlin_alloc(ctx, sizeof *who);
  const char *actor_copy = purlin_copy(ctx, actor), *workspace = purlin_copy(ctx, ctx->workspace),
             *project = purlin_copy(ctx, ctx->project);
  if (!who || !actor_copy || !workspace || !project) return PURLIN_TOO_LARGE;
  *who = (identity){.actor = actor_copy,
                    .workspace = workspace,
                    .project = project,
                    .credential = "",
                    .grants = granted.grants.items,
                    .grant_count = granted.grants.count};
  assume(ctx, who);
  return PURLIN_OK;
}

/* ---- What a request shows ----------------------------------------------------------------------------------------------------------- */

/* What follows a scheme, which is in any case, and its spaces; NULL when it is another scheme. */
static const char *after_scheme(const char *header, const char *scheme) {
  size_t size = strlen(scheme);
  if (!header || strncasecmp(header, scheme, size) != 0 || header[size] != ' ') return NULL;
  header += size;
  while (*header == ' ') header++;
  return header;
}

/* Basic: base64 of NAME:SECRET. */
static bool take_basic(purlin_ctx *ctx, const char *encoded, purlin_credential *out) {
  size_t size = strlen(encoded), got = 0;
  char *text = purlin_alloc(ctx, size + 1);
  if (!text || !text_unbase64(encoded, size, text, &got) || memchr(text, '\0', got)) return false;
  char *colon = memchr(text, ':', got);
  if (!colon) return false;
  *colon = '\0';
  out->kind = PURLIN_CREDENTIAL_BASIC;
  out->name = text;
  out->secret = colon + 1;
  return true;
}

/* A browser shows its certificate whoever has made it ask: what another site asks is not its user's word. */
static const char *certificate_of(purlin_request *request) {
  return http_another_page_asks(request) ? NULL : http_request_certificate(request);
}

/* The same holds for the cookie of its session. What only another page's word stands behind counts as if it had not come; a change that
 * another page asks for is refused, so that it can be told from one without a session. */
static purlin_status cookie_of(purlin_ctx *ctx, purlin_request *request, const char **secret) {
  const char *name = purlin_header(request, "cookie") ? purlin_session_cookie(request) : NULL;
  const char *value = name ? purlin_cookie(request, name) : NULL;
  *secret = NULL;
  if (!value || strnlen(value, LONGEST_CREDENTIAL + 1) > LONGEST_CREDENTIAL) return PURLIN_OK;
  if (http_request_only_reads(request)) return *secret = http_browser_may_read(request) ? value : NULL, PURLIN_OK;
  if (!purlin_same_origin(request))
    return purlin_fail(ctx, PURLIN_FORBIDDEN,
                       "a page of another origin asked for this with your session: send the header 'Authorization'");
  *secret = value;
  return PURLIN_OK;
}

/* What a session sees is nobody else's, and no cache's. */
static purlin_status keep_private(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  return status == PURLIN_OK ? purlin_set_header(ctx, request, "Vary", "Cookie") : status;
}

/* Without the header Authorization: a browser's session, else a certificate. */
static purlin_status take_silent(purlin_ctx *ctx, purlin_request *request, purlin_credential *out, bool *any) {
  const char *secret;
  purlin_status status = cookie_of(ctx, request, &secret);
  const char *certificate = status == PURLIN_OK && !secret ? certificate_of(request) : NULL;
  *any = secret || certificate;
  if (secret) {
    out->kind = PURLIN_CREDENTIAL_COOKIE;
    out->secret = secret;
    return keep_private(ctx, request);
  }
  if (certificate) {
    out->kind = PURLIN_CREDENTIAL_CERTIFICATE;
    out->name = certificate;
  }
  return status;
}

/* False: what was sent is no credential that anybody could know. */
static bool take_header(purlin_ctx *ctx, const char *header, purlin_credential *out) {
  const char *rest;
  if (strnlen(header, LONGEST_CREDENTIAL + 1) > LONGEST_CREDENTIAL) return false;
  if ((rest = after_scheme(header, "basic"))) return take_basic(ctx, rest, out);
  if (!(rest = after_scheme(header, "bearer"))) return false;
  out->kind = PURLIN_CREDENTIAL_BEARER;
  out->secret = rest;
  return *rest != '\0';
}

/* Nobody, or somebody unknown: 401 with the header that says how to come back. */
static purlin_status challenge(purlin_ctx *ctx, purlin_request *request, const char *how, const char *what) {
  purlin_status status = purlin_set_header(ctx, request, "WWW-Authenticate", how);
  return status == PURLIN_OK ? purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "%s", what) : status;
}

static purlin_status take_credential(purlin_ctx *ctx, purlin_request *request, purlin_credential *out, bool *any) {
  const char *header = purlin_header(request, "authorization");
  *out = (purlin_credential){.name = "", .secret = "", .address = http_request_address(request)};
  *any = header != NULL;
  if (!header) return take_silent(ctx, request, out, any);
  if (take_header(ctx, header, out)) return PURLIN_OK;
  return challenge(ctx, request, "Bearer error=\"invalid_request\"", "the header 'Authorization' is malformed");
}

/* The project that new things belong to: the credential's, or the one that the header names. */
static purlin_status choose_project(purlin_ctx *ctx, purlin_request *request) {
  const char *name = purlin_header(request, "purlin-project"), *id = NULL;
  if (!name) return PURLIN_OK;
  if (strnlen(name, LONGEST_NAME + 1) > LONGEST_NAME) return purlin_fail(ctx, PURLIN_INVALID, "Purlin-Project is too long");
  purlin_status status = project_find(ctx, name, &id);
  if (status == PURLIN_OK) ctx->project = id;
  return status;
}

purlin_status access_recognise(purlin_ctx *ctx, purlin_request *request) {
  purlin_credential credential;
  bool any;
  purlin_status status = take_credential(ctx, request, &credential, &any);
  if (status != PURLIN_OK || !any) return status;
  const char *workspace = purlin_header(request, "purlin-workspace");
  if (workspace && strnlen(workspace, LONGEST_NAME + 1) > LONGEST_NAME)
    return purlin_fail(ctx, PURLIN_INVALID, "Purlin-Workspace is too long");
  identity *who = NULL;
  status = identity_of(ctx, &credential, workspace, &who);
  if (status == PURLIN_NOT_FOUND && credential.kind == PURLIN_CREDENTIAL_CERTIFICATE)
    return challenge(ctx, request, "Bearer",
                     "nobody is known by this certificate; send the header 'Authorization: Bearer TOKEN'");
  if (credential.kind == PURLIN_CREDENTIAL_COOKIE && (status == PURLIN_NOT_FOUND || status == PURLIN_UNAUTHENTICATED))
    return challenge(ctx, request, "Bearer", "the session has ended: log in again");
  if (status == PURLIN_NOT_FOUND || status == PURLIN_UNAUTHENTICATED)
    return challenge(ctx, request, "Bearer error=\"invalid_token\"",
                     credential.kind == PURLIN_CREDENTIAL_BASIC ? "the name or the password is wrong"
                                                                : "the token is not valid");
  if (status != PURLIN_OK) return status;
  assume(ctx, who);
  return choose_project(ctx, request);
}

bool access_shows(purlin_ctx *ctx, purlin_request *request, const char *permission) {
  purlin_credential credential;
  identity *who = NULL;
  bool any;
  if (take_credential(ctx, request, &credential, &any) != PURLIN_OK) any = false;
  if (any && identity_of(ctx, &credential, NULL, &who) == PURLIN_OK) assume(ctx, who);
  purlin_clear_failure(ctx);
  return access_permits(ctx->who, permission, false);
}

/* ---- The operator's word ------------------------------------------------------------------------------------------------------------------ */

typedef struct authorize_question {
  const char *actor, *workspace, *project, *permission, *operation, *address;
} authorize_question;
PURLIN_SCHEMA(authorize_question, "A request that its grants permit",
    PURLIN_REQUIRED(actor, "Who: \"user:ana\""),
    PURLIN_REQUIRED(workspace, "In which workspace"),
    PURLIN_REQUIRED(project, "In which project"),
    PURLIN_REQUIRED(permission, "What it needs: \"models:write\""),
    PURLIN_REQUIRED(operation, "What is called: \"registry.create_model\""),
    PURLIN_REQUIRED(address, "From where"));

typedef struct authorize_answer {
  bool allow;
  const char *reason;
} authorize_answer;
PURLIN_SCHEMA(authorize_answer, "Whether it may go on",
    PURLIN_REQUIRED(allow, "Yes or no"),
    PURLIN_DEFAULT(reason, "\"\"", "What the client is told when not"));

PURLIN_POLICY(access_authorize, authorize_question, authorize_answer,
    "May this request go on, which its grants permit? (Policies can only take away.)",
    .fallback = "{\"allow\":true}", .on_failure = "{\"allow\":false,\"reason\":\"the policy failed\"}");

static purlin_status ask_operator(purlin_ctx *ctx, const char *permission, const char *name, const char *address) {
  const authorize_question question = {.actor = ctx->actor,
                                       .workspace = ctx->workspace,
                                       .project = ctx->project,
                                       .permission = permission,
                                       .operation = name,
                                       .address = address};
  authorize_answer answer;
  purlin_status status = purlin_decide(ctx, access_authorize, &question, &answer);
  if (status != PURLIN_OK || answer.allow) return status;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "%s", *answer.reason ? answer.reason : "a policy forbids this");
}

static purlin_status allow(purlin_ctx *ctx, purlin_request *request, const http_target *as) {
  purlin_status status = access_require(ctx, as->permission, as->by_project);
  if (status == PURLIN_UNAUTHENTICATED)
    return challenge(ctx, request, "Bearer", "send the header 'Authorization: Bearer TOKEN'");
  if (status != PURLIN_OK || !policy_is_answered(&access_authorize_policy)) return status;
  return ask_operator(ctx, as->permission, as->name, http_request_address(request));
}

static purlin_status admit(purlin_ctx *ctx, purlin_request *request, const http_target *as) {
  purlin_status status = rates_take(ctx, request, as->name, true);
  if (status != PURLIN_OK) return status;
  if (strcmp(as->permission, "callback") == 0) return PURLIN_OK; /* the route checks a token of its own */
  /* A token is not looked at, since that takes the database: probes must hold without it. */
  if (strcmp(as->permission, "public") == 0) return PURLIN_OK;
  if (as->for_monitors && http_request_is_monitor(request)) return PURLIN_OK;
  status = access_recognise(ctx, request);
  if (status == PURLIN_OK && ctx->who) status = rates_take(ctx, request, as->name, false);
  return status == PURLIN_OK ? allow(ctx, request, as) : status;
}

purlin_status access_admit(purlin_ctx *ctx, purlin_request *request, const http_target *as) {
  purlin_status status = admit(ctx, request, as);
  audit_refused(ctx, as->name, status);
  return status;
}

purlin_status access_gate(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  return target->admits_itself ? PURLIN_OK : access_admit(ctx, request, target);
}

static const char *credential_of(const purlin_ctx *ctx) { return ctx->who ? ctx->who->credential : ""; }

void access_init(void) {
  audit_set_credential(credential_of);
  context_on_end(let_go);
  http_set_gate(access_gate);
  jobs_set_identify(access_identify);
  jobs_set_quota(quotas_jobs);
  events_set_identify(access_identify);
  background_set_identify(access_identify);
}

void access_end(void) {
  identity_forget();
  arena_thread_end(); /* what identities gave back */
}

purlin_status access_start(purlin_ctx *ctx, const char *state_directory, buffer *why) {
  identity_start();
  return key_first(ctx, state_directory, why);
}
