#include "accounts.h"
#include "sessions.h"
#include "unicode.h"
#include <string.h>

#define HOME "default"

static const char INSERT_USER[] =
    "INSERT INTO accounts_users (id, name, display_name, email, password_hash, created_at, created_by)"
    " VALUES (?, ?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_USER[] = "SELECT " USER_COLUMNS " FROM accounts_users WHERE name = ?";
static const char SELECT_PAGE[] = "SELECT " USER_COLUMNS " FROM accounts_users WHERE name > ? ORDER BY name LIMIT ?";
static const char DISABLE[] =
    "UPDATE accounts_users SET disabled_at = COALESCE(disabled_at, NOW(6)), version = version + 1 WHERE name = ?";
static const char ENABLE[] = "UPDATE accounts_users SET disabled_at = NULL, version = version + 1 WHERE name = ?";
static const char SET_PASSWORD[] = "UPDATE accounts_users SET password_hash = ?, version = version + 1 WHERE name = ?";

purlin_status accounts_require_home(purlin_ctx *ctx) {
  if (strcmp(purlin_workspace(ctx), HOME) == 0) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "users are managed in the workspace '" HOME "'");
}

purlin_status accounts_user(purlin_ctx *ctx, const char *name, user *out) {
  purlin_status status = purlin_db_row(ctx, user, out, SELECT_USER, name);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "there is no user '%s'", name) : status;
}

/* ---- What people type ---------------------------------------------------------------------------------------------------------------- */

typedef const char *to_form(const char *text, char *out, size_t room);

static purlin_status take_form(purlin_ctx *ctx, const char *field, const char *typed, to_form *form, const char **out) {
  size_t room = UNICODE_ROOM(strlen(typed));
  char *text = purlin_alloc(ctx, room);
  if (!text) return PURLIN_TOO_LARGE;
  const char *flaw = form(typed, text, room);
  *out = text;
  return flaw ? purlin_fail_field(ctx, field, "%s", flaw) : PURLIN_OK;
}

purlin_status accounts_display_name(purlin_ctx *ctx, const char *field, const char *typed, const char **out) {
  return take_form(ctx, field, typed, unicode_name, out);
}

purlin_status accounts_email(purlin_ctx *ctx, const char *field, const char *typed, const char **out) {
  *out = "";
  return *typed ? take_form(ctx, field, typed, unicode_email, out) : PURLIN_OK;
}

/* ---- Making -------------------------------------------------------------------------------------------------------------------------- */

typedef struct create_user_in {
  const char *name, *display_name, *email;
  purlin_opt_text password;
} create_user_in;
PURLIN_SCHEMA(create_user_in, "Somebody who shall be able to log in",
    PURLIN_REQUIRED(name, "The login name, for good", NAME_RULE),
    PURLIN_DEFAULT(display_name, "\"\"", "What others call them", .max_length = 200),
    PURLIN_DEFAULT(email, "\"\"", "Where mail reaches them", EMAIL_RULE),
    PURLIN_OPTIONAL(password, "At least 12 characters, and no common one; without it none opens yet", PASSWORD_FIELD));

PURLIN_OPERATION(create_user, create_user_in, user,
    .summary = "Make a user", .permission = "users:write", .effect = PURLIN_CREATES, .http = "POST /api/v1/accounts/users",
    .description = "Nothing is permitted to them until access.grant_role grants it to \"user:NAME\".") {
  const char *hash = NULL, *display_name = "", *email = "";
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = accounts_display_name(ctx, "display_name", in->display_name, &display_name);
  if (status == PURLIN_OK) status = accounts_email(ctx, "email", in->email, &email);
  if (status == PURLIN_OK && in->password.state == PURLIN_SET)
    status = accounts_hash(ctx, "password", in->password.value, in->name, &hash);
  if (status != PURLIN_OK) return status;
  status =
      purlin_db_run(ctx, INSERT_USER, purlin_new_id(ctx, "usr"), in->name, display_name, email, hash, purlin_actor(ctx));
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "a user named '%s' exists already", in->name);
  return status == PURLIN_OK ? accounts_user(ctx, in->name, out) : status;
}

/* ---- Looking --------------------------------------------------------------------------------------------------------------------------- */

typedef struct user_in {
  const char *name;
} user_in;
PURLIN_SCHEMA(user_in, "Which user", PURLIN_REQUIRED(name, "The login name", .max_length = 64));

/* Whoever only reads learns names, no addresses. */
static void mask(const purlin_ctx *ctx, user *shown, size_t count) {
  if (purlin_permitted(ctx, "users:write")) return;
  for (size_t i = 0; i < count; i++) shown[i].email = "";
}

PURLIN_OPERATION(get_user, user_in, user,
    .summary = "A user", .permission = "users:read", .http = "GET /api/v1/accounts/users/{name}") {
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = accounts_user(ctx, in->name, out);
  if (status == PURLIN_OK) mask(ctx, out, 1);
  return status;
}

typedef struct list_users_in {
  const char *after;
  int64_t limit;
} list_users_in;
PURLIN_SCHEMA(list_users_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Names after this one", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct user_page {
  PURLIN_LIST_OF(user) users;
} user_page;
PURLIN_SCHEMA(user_page, "Users, by name", PURLIN_LIST(users, user, "The users"));

PURLIN_OPERATION(list_users, list_users_in, user_page,
    .summary = "The users of this server", .permission = "users:read", .http = "GET /api/v1/accounts/users") {
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, user, &out->users, SELECT_PAGE, in->after, in->limit);
  if (status == PURLIN_OK) mask(ctx, out->users.items, out->users.count);
  return status;
}

/* ---- Who can come in ------------------------------------------------------------------------------------------------------------------- */

typedef struct way_in_row {
  bool disabled, opens;
} way_in_row;
PURLIN_SCHEMA(way_in_row, "Whether a user can come in",
    PURLIN_REQUIRED(disabled, "not at all"), PURLIN_REQUIRED(opens, "without a key"));

static const char SELECT_WAY_IN[] =
    "SELECT disabled_at IS NOT NULL AS disabled, password_hash IS NOT NULL OR directory <> '' AS opens"
    " FROM accounts_users WHERE name = ?";

purlin_status accounts_comes_in(purlin_ctx *ctx, const char *actor) {
  way_in_row row;
  if (strncmp(actor, USER_PREFIX, sizeof USER_PREFIX - 1) != 0) return PURLIN_NOT_FOUND;
  purlin_status status = purlin_db_row(ctx, way_in_row, &row, SELECT_WAY_IN, actor + sizeof USER_PREFIX - 1);
  if (status != PURLIN_OK) return status;
  return row.disabled ? PURLIN_UNAUTHENTICATED : row.opens ? PURLIN_OK : PURLIN_NOT_FOUND;
}

/* ---- Changing --------------------------------------------------------------------------------------------------------------------------- */

PURLIN_OPERATION(disable_user, user_in, user,
    .summary = "Let a user in no more", .permission = "users:write", .effect = PURLIN_CHANGES, .object = "get_user",
    .http = "POST /api/v1/accounts/users/{name}/disable",
    .description = "All their sessions end, and within a second no node takes their password, tokens or keys.") {
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = accounts_user(ctx, in->name, out);
  const char *self = purlin_format(ctx, "user:%s", in->name);
  if (status == PURLIN_OK && self && strcmp(self, purlin_actor(ctx)) == 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "that is you: another administrator must do it");
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DISABLE, in->name);
  if (status == PURLIN_OK) status = sessions_revoke_all(ctx, out->id, "");
  if (status == PURLIN_OK) status = purlin_keep_owner(ctx, self);
  return status == PURLIN_OK ? accounts_user(ctx, in->name, out) : status;
}

PURLIN_OPERATION(enable_user, user_in, user,
    .summary = "Let a user in again", .permission = "users:write", .effect = PURLIN_CHANGES, .object = "get_user",
    .http = "POST /api/v1/accounts/users/{name}/enable") {
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, ENABLE, in->name);
  return status == PURLIN_OK ? accounts_user(ctx, in->name, out) : status;
}

typedef struct set_password_in {
  const char *name, *password;
} set_password_in;
PURLIN_SCHEMA(set_password_in, "A new password for somebody",
    PURLIN_REQUIRED(name, "The login name", .max_length = 64),
    PURLIN_REQUIRED(password, "At least 12 characters, and no common one", PASSWORD_FIELD));

PURLIN_OPERATION(set_password, set_password_in, user,
    .summary = "Give a user another password", .permission = "users:write", .effect = PURLIN_CHANGES, .object = "get_user",
    .http = "PUT /api/v1/accounts/users/{name}/password",
    .description = "All their sessions end.") {
  const char *hash = NULL;
  purlin_status status = accounts_require_home(ctx);
  if (status == PURLIN_OK) status = accounts_user(ctx, in->name, out);
  if (status == PURLIN_OK) status = accounts_require_local(ctx, out);
  if (status == PURLIN_OK) status = accounts_hash(ctx, "password", in->password, in->name, &hash);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_PASSWORD, hash, in->name);
  if (status == PURLIN_OK) status = sessions_revoke_all(ctx, out->id, "");
  return status;
}

typedef struct replace_password_in {
  const char *name, *password;
  purlin_opt_text current_password;
} replace_password_in;
PURLIN_SCHEMA(replace_password_in, "A new password for yourself, or for somebody",
    PURLIN_REQUIRED(name, "The login name", .max_length = 64),
    PURLIN_REQUIRED(password, "At least 12 characters, and no common one", PASSWORD_FIELD),
    PURLIN_OPTIONAL(current_password, "The one you have; whoever manages users needs none", PASSWORD_FIELD));

/* The new one is hashed first: nothing but the database is waited for once the attempt is no longer counted. */
static purlin_status replace_own(purlin_ctx *ctx, const replace_password_in *in, user *out) {
  const char *hash = NULL;
  login_row row;
  purlin_status status = accounts_self(ctx, out);
  if (status == PURLIN_OK) status = accounts_require_local(ctx, out);
  if (status == PURLIN_OK) status = accounts_hash(ctx, "password", in->password, in->name, &hash);
  if (status == PURLIN_OK) status = accounts_check(ctx, in->name, in->current_password.value, "", &row);
  if (status == PURLIN_UNAUTHENTICATED)
    return purlin_fail_field(ctx, "current_password", "does not match"); /* who asks was let in: no challenge */
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_PASSWORD, hash, in->name);
  return status == PURLIN_OK ? sessions_revoke_all(ctx, out->id, sessions_current(ctx)) : status;
}

PURLIN_OPERATION(replace_password, replace_password_in, user,
    .summary = "Change your password, or give a user another", .permission = "authenticated", .effect = PURLIN_CHANGES,
    .description = "Your own with the one that you have; anybody's with users:write. Their sessions end, but for the one that asks.") {
  const char *of = purlin_format(ctx, USER_PREFIX "%s", in->name);
  if (!of) return PURLIN_TOO_LARGE;
  bool own = accounts_in_person(ctx) && strcmp(of, purlin_actor(ctx)) == 0;
  if (own && in->current_password.state == PURLIN_SET) return replace_own(ctx, in, out);
  if (own && !purlin_permitted(ctx, "users:write"))
    return purlin_fail_field(ctx, "current_password", "is required when changing your own password");
  return purlin_call(ctx, "accounts.set_password", set_password_in_schema(), &(set_password_in){in->name, in->password},
                     user_schema(), out);
}
