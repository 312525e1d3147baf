#include "accounts.h"
#include "sessions.h"
#include <string.h>

static const char SET_NAME[] = "UPDATE accounts_users SET display_name = ? WHERE id = ?";
static const char SET_EMAIL[] =
    "UPDATE accounts_users SET email_verified_at = IF(email = ?, email_verified_at, NULL), email = ? WHERE id = ?";
static const char SET_PASSWORD[] = "UPDATE accounts_users SET password_hash = ?, version = version + 1 WHERE id = ?";

bool accounts_in_person(const purlin_ctx *ctx) { return strncmp(purlin_shown(ctx), "key:", 4) != 0; }

purlin_status accounts_self(purlin_ctx *ctx, user *out) {
  const char *actor = purlin_actor(ctx);
  purlin_status status = PURLIN_NOT_FOUND;
  if (!accounts_in_person(ctx))
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "an API key works for you, but is not you: log in");
  if (strncmp(actor, USER_PREFIX, sizeof USER_PREFIX - 1) == 0)
    status = accounts_user(ctx, actor + sizeof USER_PREFIX - 1, out);
  if (status != PURLIN_NOT_FOUND) return status;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "you act as '%s', who is no user of this server", actor);
}

PURLIN_OPERATION(me, purlin_nothing, user,
    .summary = "Your own profile", .permission = "authenticated", .http = "GET /api/v1/accounts/me") {
  return accounts_self(ctx, out);
}

purlin_status accounts_require_local(purlin_ctx *ctx, const user *of) {
  if (!*of->directory) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_CONFLICT, "the directory '%s' keeps this of '%s': change it there", of->directory,
                     of->name);
}

typedef struct rename_in {
  const char *display_name;
} rename_in;
PURLIN_SCHEMA(rename_in, "Another name for yourself",
    PURLIN_REQUIRED(display_name, "What others call you", .max_length = 200));

PURLIN_OPERATION(rename, rename_in, user,
    .summary = "Change what others call you", .permission = "authenticated", .effect = PURLIN_CHANGES, .object = "me",
    .http = "PUT /api/v1/accounts/me/name") {
  const char *display_name = "";
  purlin_status status = accounts_self(ctx, out);
  if (status == PURLIN_OK) status = accounts_require_local(ctx, out);
  if (status == PURLIN_OK) status = accounts_display_name(ctx, "display_name", in->display_name, &display_name);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_NAME, display_name, out->id);
  return status == PURLIN_OK ? accounts_self(ctx, out) : status;
}

/* ---- What takes the password again: a route, since a failed attempt is counted and stays so ------------------------------------------ */

typedef struct new_password_in {
  const char *password, *new_password;
} new_password_in;
PURLIN_SCHEMA(new_password_in, "Another password for yourself",
    PURLIN_REQUIRED(password, "The one you have", PASSWORD_FIELD),
    PURLIN_REQUIRED(new_password, "At least 12 characters, and no common one", PASSWORD_FIELD));

typedef struct email_in {
  const char *password, *email;
} email_in;
PURLIN_SCHEMA(email_in, "Where mail reaches you",
    PURLIN_REQUIRED(password, "The one you have: whoever reads that mail can set another", PASSWORD_FIELD),
    PURLIN_REQUIRED(email, "The address; empty: none", EMAIL_RULE));

typedef struct change {
  const user *of;
  const char *email, *hash; /* one of them */
} change;

static purlin_status apply(purlin_ctx *ctx, void *argument) {
  const change *c = argument;
  purlin_status status = c->email ? purlin_db_run(ctx, SET_EMAIL, c->email, c->email, c->of->id)
                                  : purlin_db_run(ctx, SET_PASSWORD, c->hash, c->of->id);
  if (status == PURLIN_OK && c->hash) status = sessions_revoke_all(ctx, c->of->id, sessions_current(ctx));
  return status == PURLIN_OK ? purlin_audit(ctx, &(purlin_audit_entry){.object = c->of->name}) : status;
}

static purlin_status finish(purlin_ctx *ctx, purlin_request *request, change *c) {
  user shown;
  purlin_status status = purlin_transaction(ctx, apply, c);
  if (status == PURLIN_OK) status = accounts_self(ctx, &shown);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, user_schema(), &shown) : status;
}

PURLIN_ROUTE(change_password, "PUT /api/v1/accounts/me/password",
    .summary = "Change your password; your other sessions end", .permission = "authenticated", .body = "application/json",
    .in = new_password_in_schema, .out = user_schema) {
  new_password_in in;
  user self;
  login_row row;
  change c = {.of = &self};
  purlin_status status = accounts_read(ctx, request, new_password_in_schema(), &in);
  if (status == PURLIN_OK) status = accounts_self(ctx, &self);
  if (status == PURLIN_OK) status = accounts_require_local(ctx, &self);
  if (status == PURLIN_OK) status = accounts_check(ctx, self.name, in.password, purlin_address(request), &row);
  if (status == PURLIN_OK) status = accounts_hash(ctx, "new_password", in.new_password, self.name, &c.hash);
  return status == PURLIN_OK ? finish(ctx, request, &c) : status;
}

PURLIN_ROUTE(change_email, "PUT /api/v1/accounts/me/email",
    .summary = "Change where mail reaches you", .permission = "authenticated", .body = "application/json",
    .in = email_in_schema, .out = user_schema) {
  email_in in;
  user self;
  login_row row;
  change c = {.of = &self};
  purlin_status status = accounts_read(ctx, request, email_in_schema(), &in);
  if (status == PURLIN_OK) status = accounts_email(ctx, "email", in.email, &c.email);
  if (status == PURLIN_OK) status = accounts_self(ctx, &self);
  if (status == PURLIN_OK) status = accounts_require_local(ctx, &self);
  if (status == PURLIN_OK) status = accounts_check(ctx, self.name, in.password, purlin_address(request), &row);
  return status == PURLIN_OK ? finish(ctx, request, &c) : status;
}
