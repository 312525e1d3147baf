#include "sessions.h"
#include <string.h>
#include <strings.h>

enum { LARGEST_BODY = 16 * 1024 };

#define JSON_TYPE "application/json"

typedef struct login_in {
  const char *name, *password;
} login_in;
PURLIN_SCHEMA(login_in, "Who you are",
    PURLIN_REQUIRED(name, "The login name", .max_length = 64),
    PURLIN_REQUIRED(password, "The password", PASSWORD_FIELD));

typedef struct refresh_in {
  const char *refresh_token;
} refresh_in;
PURLIN_SCHEMA(refresh_in, "What goes on, or ends",
    PURLIN_REQUIRED(refresh_token, "The latest refresh token of the session", .max_length = 200, .secret = true));

/* Any page can have a browser send text; JSON to another origin only after a preflight. Else it would fail logins, or register, from the
 * addresses of those who look at it. Who is no browser may say what they like. */
static purlin_status check_type(purlin_ctx *ctx, const purlin_request *request) {
  const char *type = purlin_header(request, "content-type");
  bool browser = purlin_header(request, "sec-fetch-site") || purlin_header(request, "origin");
  if (!browser || (type && strncasecmp(type, JSON_TYPE, sizeof JSON_TYPE - 1) == 0)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_UNSUPPORTED, "send " JSON_TYPE);
}

purlin_status accounts_read(purlin_ctx *ctx, purlin_request *request, const purlin_schema *schema, void *in) {
  const char *body = NULL;
  size_t size = 0;
  purlin_status status = check_type(ctx, request);
  if (status == PURLIN_OK) status = purlin_read_all(ctx, request, LARGEST_BODY, &body, &size);
  if (status == PURLIN_OK) status = purlin_decode(ctx, schema, body, size, in);
  if (size > 0) explicit_bzero((char *)(uintptr_t)body, size);
  return status;
}

static purlin_status answer(purlin_ctx *ctx, purlin_request *request, const granted_tokens *tokens) {
  purlin_status status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, granted_tokens_schema(), tokens) : status;
}

/* Under the name that was claimed, which is nobody's word. */
static purlin_status note_refusal(purlin_ctx *ctx, const char *name, purlin_status status) {
  const purlin_audit_entry entry = {.operation = "accounts.login", .object = name, .outcome = PURLIN_AUDIT_REFUSED};
  bool refused = status == PURLIN_UNAUTHENTICATED || status == PURLIN_TOO_MANY;
  if (refused && purlin_audit(ctx, &entry) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a login that was refused could not be written into the audit log");
  return status;
}

PURLIN_ROUTE(login, "POST /api/v1/accounts/login",
    .summary = "Begin a session with name and password", .permission = "public", .body = "application/json",
    .in = login_in_schema, .out = granted_tokens_schema) {
  login_in in;
  login_row row;
  granted_tokens tokens;
  const char *agent = purlin_header(request, "user-agent");
  purlin_status status = accounts_read(ctx, request, login_in_schema(), &in);
  if (status != PURLIN_OK) return status;
  status = accounts_check(ctx, in.name, in.password, purlin_address(request), &row);
  explicit_bzero((char *)(uintptr_t)in.password, strlen(in.password));
  if (status != PURLIN_OK) return note_refusal(ctx, in.name, status);
  status = sessions_begin(ctx, &row, purlin_address(request), agent ? agent : "", &tokens);
  return status == PURLIN_OK ? answer(ctx, request, &tokens) : status;
}

PURLIN_ROUTE(refresh, "POST /api/v1/accounts/refresh",
    .summary = "The next tokens of a session", .permission = "public", .body = "application/json", .in = refresh_in_schema,
    .out = granted_tokens_schema) {
  refresh_in in;
  granted_tokens tokens;
  purlin_status status = accounts_read(ctx, request, refresh_in_schema(), &in);
  if (status == PURLIN_OK) status = sessions_refresh(ctx, in.refresh_token, &tokens);
  return status == PURLIN_OK ? answer(ctx, request, &tokens) : status;
}

/* Says nothing of whether there was such a session. */
PURLIN_ROUTE(logout, "POST /api/v1/accounts/logout",
    .summary = "End a session by its refresh token", .permission = "public", .body = "application/json", .in = refresh_in_schema,
    .out = purlin_nothing_schema) {
  refresh_in in;
  const purlin_nothing nothing = {0};
  purlin_status status = accounts_read(ctx, request, refresh_in_schema(), &in);
  if (status == PURLIN_OK) status = sessions_end(ctx, in.refresh_token);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, purlin_nothing_schema(), &nothing) : status;
}
