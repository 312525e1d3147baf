/* links.c: what comes by mail: whether an address is somebody's, and another password for who forgot theirs.
 *
 * A link works once, until it expires, and only while its user has neither another address nor another password. Nobody learns here who
 * is a user: every answer is the same, and the letter is written after it, by a job. */
#include "accounts.h"
#include "mail.h"
#include "sessions.h"
#include <string.h>

enum { VERIFY_HOURS = 48, RESET_HOURS = 1, MOST_PER_HOUR = 3 };

typedef struct link_row {
  const char *user_id, *name, *email;
} link_row;
PURLIN_SCHEMA(link_row, "Whom a link is for",
    PURLIN_REQUIRED(user_id, "id"), PURLIN_REQUIRED(name, "name"), PURLIN_REQUIRED(email, "address"));

static const char SELECT_TARGET[] =
    "SELECT u.id AS user_id, u.name, u.email FROM accounts_users u WHERE u.name = ? AND u.email <> '' AND u.directory = '' AND u.disabled_at IS NULL AND"
    " (SELECT COUNT(*) FROM accounts_links l WHERE l.user_id = u.id AND l.purpose = ? AND l.created_at > NOW(6) - INTERVAL 1 HOUR) < ?";
static const char INSERT_LINK[] =
    "INSERT INTO accounts_links (hash, user_id, purpose, email, version, created_at, expires_at)"
    " SELECT ?, id, ?, email, version, NOW(6), NOW(6) + INTERVAL ? HOUR FROM accounts_users WHERE id = ?";
#define LINK                                                                                                               \
  "SELECT u.id AS user_id, u.name, u.email FROM accounts_links l JOIN accounts_users u ON u.id = l.user_id"                \
  " WHERE l.hash = ? AND l.purpose = ? AND l.expires_at > NOW(6) AND l.email = u.email AND l.version = u.version"          \
  " AND u.disabled_at IS NULL"
static const char PEEK_LINK[] = LINK;
static const char SELECT_LINK[] = LINK " FOR UPDATE";
static const char DELETE_LINK[] = "DELETE FROM accounts_links WHERE hash = ?";
static const char VERIFY[] =
    "UPDATE accounts_users SET email_verified_at = COALESCE(email_verified_at, NOW(6)) WHERE id = ?";
static const char SET_PASSWORD[] = "UPDATE accounts_users SET password_hash = ?, version = version + 1,"
                                   " email_verified_at = COALESCE(email_verified_at, NOW(6)) WHERE id = ?";

/* ---- Sending ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct link_job {
  const char *name;
  bool reset;
} link_job;
PURLIN_SCHEMA(link_job, "Who asked for a link",
    PURLIN_REQUIRED(name, "Whatever was given as a login name", .max_length = 64),
    PURLIN_REQUIRED(reset, "For another password; else to verify the address"));

static const char *letter_text(purlin_ctx *ctx, const char *name, bool reset, const char *token) {
  const accounts_configuration *configured = purlin_configuration(ctx);
  int hours = reset ? RESET_HOURS : VERIFY_HOURS;
  return purlin_format(ctx,
                       "Somebody, probably you, asked %s for the user '%s' of Purlin at\r\n%s\r\n\r\n"
                       "The token, for one use within %d hour%s:\r\n\r\n    %s\r\n\r\nIf it was not you, do nothing.\r\n",
                       reset ? "to set another password" : "to verify this address", name,
                       *configured->link_url ? configured->link_url : purlin_server_url(), hours, hours == 1 ? "" : "s",
                       token);
}

/* The token is made here and is nowhere but in the letter: an attempt that fails leaves none behind. */
PURLIN_JOB(send_link, link_job, .summary = "Send a link by mail, if there is such a user", .max_attempts = 6, .timeout_ms = 60000) {
  const char *purpose = in->reset ? "reset" : "verify", *token = purlin_new_secret(ctx, purpose);
  link_row to;
  char hash[65];
  purlin_status status = purlin_db_row(ctx, link_row, &to, SELECT_TARGET, in->name, purpose, (int)MOST_PER_HOUR);
  if (status != PURLIN_OK) return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
  const char *text = token ? letter_text(ctx, to.name, in->reset, token) : NULL;
  if (!text) return PURLIN_TOO_LARGE;
  purlin_sha256(token, strlen(token), hash);
  status = purlin_db_run(ctx, INSERT_LINK, hash, purpose, in->reset ? RESET_HOURS : VERIFY_HOURS, to.user_id);
  if (status != PURLIN_OK) return status;
  status = mail_send(ctx, to.email, in->reset ? "Purlin: another password" : "Purlin: is this your address?", text);
  if (status != PURLIN_OK && purlin_db_run(ctx, DELETE_LINK, hash) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a link that was not sent could not be deleted");
  return status;
}

/* Whoever it is: looked up by the job only, so that answers and their time tell nothing. One at a time for a name. */
static purlin_status ask_for_link(purlin_ctx *ctx, const char *name, bool reset) {
  const link_job job = {name, reset};
  const char *key = purlin_format(ctx, "%s %s", reset ? "reset" : "verify", name);
  const purlin_enqueue_options options = {.unique_key = key};
  return key ? purlin_enqueue(ctx, "accounts.send_link", link_job_schema(), &job, &options, NULL) : PURLIN_TOO_LARGE;
}

static purlin_status require_mail(purlin_ctx *ctx) {
  if (mail_is_configured(ctx)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_CONFLICT, "this server sends no mail: ask an administrator");
}

typedef struct forgotten_in {
  const char *name;
} forgotten_in;
PURLIN_SCHEMA(forgotten_in, "Who forgot their password", PURLIN_REQUIRED(name, "The login name", .max_length = 64));

PURLIN_OPERATION(forgot_password, forgotten_in, purlin_nothing,
    .summary = "Have a token for another password sent by mail", .permission = "public", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/accounts/forgot-password", .description = "The answer is the same whether there is such a user or not.") {
  purlin_status status = require_mail(ctx);
  return status == PURLIN_OK ? ask_for_link(ctx, in->name, true) : status;
}

PURLIN_OPERATION(send_verification, purlin_nothing, purlin_nothing,
    .summary = "Have a token sent that verifies your address", .permission = "authenticated", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/accounts/me/send-verification") {
  user self;
  purlin_status status = require_mail(ctx);
  if (status == PURLIN_OK) status = accounts_self(ctx, &self);
  return status == PURLIN_OK ? ask_for_link(ctx, self.name, false) : status;
}

/* ---- Using --------------------------------------------------------------------------------------------------------------------------------- */

/* Takes the link away: whoever comes second finds none. */
static purlin_status take_link(purlin_ctx *ctx, const char *token, const char *purpose, link_row *out) {
  char hash[65];
  purlin_sha256(token, strlen(token), hash);
  purlin_status status = purlin_db_row(ctx, link_row, out, SELECT_LINK, hash, purpose);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, PURLIN_INVALID, "the token is not valid, or not any more");
  return status == PURLIN_OK ? purlin_db_run(ctx, DELETE_LINK, hash) : status;
}

typedef struct verify_in {
  const char *token;
} verify_in;
PURLIN_SCHEMA(verify_in, "What came by mail", PURLIN_REQUIRED(token, "The token", .max_length = 100, .secret = true));

PURLIN_OPERATION(verify_email, verify_in, purlin_nothing,
    .summary = "Verify an address with the token that came by mail", .permission = "public", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/accounts/verify-email") {
  link_row of;
  purlin_status status = take_link(ctx, in->token, "verify", &of);
  return status == PURLIN_OK ? purlin_db_run(ctx, VERIFY, of.user_id) : status;
}

typedef struct reset_in {
  const char *token, *password;
} reset_in;
PURLIN_SCHEMA(reset_in, "What came by mail, and another password",
    PURLIN_REQUIRED(token, "The token", .max_length = 100, .secret = true),
    PURLIN_REQUIRED(password, "At least 12 characters, and no common one", PASSWORD_FIELD));

/* Looked at before the password is hashed, which comes before the first write: a token that is none must not cost a hash. */
PURLIN_OPERATION(reset_password, reset_in, purlin_nothing,
    .summary = "Set another password with the token that came by mail", .permission = "public", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/accounts/reset-password", .description = "All sessions of the user end.") {
  link_row of;
  const char *hash = NULL;
  char digits[65];
  purlin_sha256(in->token, strlen(in->token), digits);
  purlin_status status = purlin_db_row(ctx, link_row, &of, PEEK_LINK, digits, "reset");
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, PURLIN_INVALID, "the token is not valid, or not any more");
  if (status == PURLIN_OK) status = accounts_hash(ctx, "password", in->password, of.name, &hash);
  if (status == PURLIN_OK) status = take_link(ctx, in->token, "reset", &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, SET_PASSWORD, hash, of.user_id);
  return status == PURLIN_OK ? sessions_revoke_all(ctx, of.user_id, "") : status;
}
