#include "sessions.h"
#include "directories.h"
#include "tokens.h"
#include <string.h>

static const char INSERT_SESSION[] =
    "INSERT INTO accounts_sessions (id, user_id, address, agent, created_at, refreshed_at, expires_at)"
    " VALUES (?, ?, ?, LEFT(?, 200), NOW(6), NOW(6), NOW(6) + INTERVAL ? DAY)";
static const char INSERT_BROWSER[] =
    "INSERT INTO accounts_sessions (id, user_id, address, agent, created_at, refreshed_at, expires_at, cookie, ends_at)"
    " VALUES (?, ?, ?, LEFT(?, 200), NOW(6), NOW(6), NOW(6) + INTERVAL LEAST(?, ?) SECOND, ?, NOW(6) + INTERVAL ? SECOND)";
/* Of browsers and of programs apart: whoever logs in to many does not lose the others. */
#define ALIVE_OF_KIND " user_id = ? AND (cookie IS NULL) = ? AND revoked_at IS NULL AND expires_at > NOW(6)"
static const char END_OLDEST[] =
    "UPDATE accounts_sessions SET revoked_at = NOW(6) WHERE" ALIVE_OF_KIND " AND id NOT IN (SELECT id FROM (SELECT id FROM"
    " accounts_sessions WHERE" ALIVE_OF_KIND " ORDER BY refreshed_at DESC, id LIMIT ?) AS newest)";
static const char NOTE_LOGIN[] = "UPDATE accounts_users SET last_login_at = NOW(6) WHERE id = ?";
static const char INSERT_REFRESH[] =
    "INSERT INTO accounts_refresh_tokens (hash, session_id, created_at) VALUES (?, ?, NOW(6))";
static const char SELECT_REFRESH[] =
    "SELECT r.session_id, s.user_id, r.used_at IS NOT NULL AS used,"
    " s.revoked_at IS NULL AND s.expires_at > NOW(6) AND u.disabled_at IS NULL AS alive"
    " FROM accounts_refresh_tokens r JOIN accounts_sessions s ON s.id = r.session_id JOIN accounts_users u ON u.id = s.user_id"
    " WHERE r.hash = ? FOR UPDATE";
static const char USE_REFRESH[] = "UPDATE accounts_refresh_tokens SET used_at = NOW(6) WHERE hash = ?";
static const char PROLONG[] =
    "UPDATE accounts_sessions SET refreshed_at = NOW(6), expires_at = NOW(6) + INTERVAL ? DAY WHERE id = ?";
static const char REVOKE[] = "UPDATE accounts_sessions SET revoked_at = COALESCE(revoked_at, NOW(6)) WHERE id = ?";
static const char REVOKE_ALL[] =
    "UPDATE accounts_sessions SET revoked_at = NOW(6) WHERE user_id = ? AND id <> ? AND revoked_at IS NULL";
static const char REVOKE_OF[] = "UPDATE accounts_sessions s JOIN accounts_refresh_tokens r ON r.session_id = s.id"
                                " SET s.revoked_at = COALESCE(s.revoked_at, NOW(6)) WHERE r.hash = ?";

#define SESSION_PREFIX "session:"

const char *sessions_current(const purlin_ctx *ctx) {
  const char *shown = purlin_shown(ctx);
  return strncmp(shown, SESSION_PREFIX, sizeof SESSION_PREFIX - 1) == 0 ? shown + sizeof SESSION_PREFIX - 1 : "";
}

static int64_t configured_days(void) { return accounts_configured()->session_days; }

/* ---- Beginning and going on -------------------------------------------------------------------------------------------------------------- */

typedef struct step {
  const char *session, *user_id, *user_name, *address, *agent;
  char shown[65], next[65]; /* hashes of refresh tokens, or of a cookie */
  bool browser, reused;
} step;

static purlin_status insert(purlin_ctx *ctx, const step *s) {
  const accounts_configuration *configured = accounts_configured();
  if (s->browser)
    return purlin_db_run(ctx, INSERT_BROWSER, s->session, s->user_id, s->address, s->agent, configured->browser_idle_s,
                         configured->browser_session_s, s->next, configured->browser_session_s);
  purlin_status status =
      purlin_db_run(ctx, INSERT_SESSION, s->session, s->user_id, s->address, s->agent, configured_days());
  return status == PURLIN_OK ? purlin_db_run(ctx, INSERT_REFRESH, s->next, s->session) : status;
}

/* The user's row comes first: logins of one user go one after the other, so that they count each other. */
static purlin_status begin(purlin_ctx *ctx, void *argument) {
  const step *s = argument;
  purlin_status status = purlin_db_run(ctx, NOTE_LOGIN, s->user_id);
  if (status == PURLIN_OK) status = insert(ctx, s);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, END_OLDEST, s->user_id, !s->browser, s->user_id, !s->browser,
                           accounts_configured()->sessions_per_user);
  const char *actor = purlin_format(ctx, "user:%s", s->user_name);
  const purlin_audit_entry entry = {.operation = "accounts.login", .object = s->session, .actor = actor};
  return status == PURLIN_OK ? purlin_audit(ctx, &entry) : status;
}

static purlin_status give(purlin_ctx *ctx, step *s, purlin_transaction_body *body, granted_tokens *out) {
  const char *refresh = purlin_new_secret(ctx, "refresh");
  if (!refresh) return PURLIN_TOO_LARGE;
  purlin_sha256(refresh, strlen(refresh), s->next);
  purlin_status status = purlin_transaction(ctx, body, s);
  if (status != PURLIN_OK || s->reused) return status;
  const accounts_configuration *configured = accounts_configured();
  *out = (granted_tokens){
      .token_type = "Bearer", .expires_in = configured->access_token_s, .refresh_token = refresh, .session = s->session};
  return tokens_issue(ctx, s->user_id, s->session, &out->access_token);
}

purlin_status sessions_begin(purlin_ctx *ctx, const login_row *of, const char *address, const char *agent,
                             granted_tokens *out) {
  step s = {
      .session = purlin_new_id(ctx, "ses"), .user_id = of->id, .user_name = of->name, .address = address, .agent = agent};
  return s.session ? give(ctx, &s, begin, out) : PURLIN_TOO_LARGE;
}

purlin_status sessions_begin_in_browser(purlin_ctx *ctx, const login_row *of, const char *address, const char *agent,
                                        const char *secret) {
  step s = {.session = purlin_new_id(ctx, "ses"),
            .user_id = of->id,
            .user_name = of->name,
            .address = address,
            .agent = agent,
            .browser = true};
  purlin_sha256(secret, strlen(secret), s.next);
  return s.session ? purlin_transaction(ctx, begin, &s) : PURLIN_TOO_LARGE;
}

typedef struct refresh_row {
  const char *session_id, *user_id;
  bool used, alive;
} refresh_row;
PURLIN_SCHEMA(refresh_row, "A refresh token",
    PURLIN_REQUIRED(session_id, "of which session"), PURLIN_REQUIRED(user_id, "of whom"),
    PURLIN_REQUIRED(used, "before"), PURLIN_REQUIRED(alive, "whether the session is"));

static purlin_status refuse(purlin_ctx *ctx) {
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the refresh token is not valid: log in again");
}

/* A token that comes twice was copied: whoever holds either copy is shut out. That must be kept, so it is no failure in here. */
static purlin_status go_on(purlin_ctx *ctx, void *argument) {
  step *s = argument;
  refresh_row row;
  purlin_status status = purlin_db_row(ctx, refresh_row, &row, SELECT_REFRESH, s->shown);
  if (status == PURLIN_NOT_FOUND || (status == PURLIN_OK && !row.alive)) return refuse(ctx);
  if (status != PURLIN_OK) return status;
  s->reused = row.used;
  s->session = row.session_id;
  s->user_id = row.user_id;
  const purlin_audit_entry theft = {.operation = "accounts.end_stolen_session", .object = row.session_id};
  if (row.used) status = purlin_db_run(ctx, REVOKE, row.session_id);
  if (row.used) return status == PURLIN_OK ? purlin_audit(ctx, &theft) : status;
  status = purlin_db_run(ctx, USE_REFRESH, s->shown);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, INSERT_REFRESH, s->next, row.session_id);
  return status == PURLIN_OK ? purlin_db_run(ctx, PROLONG, configured_days(), row.session_id) : status;
}

static const char SELECT_OWNER[] =
    "SELECT " STANDING_COLUMNS " FROM accounts_refresh_tokens r JOIN accounts_sessions s ON s.id = r.session_id"
    " JOIN accounts_users u ON u.id = s.user_id"
    " WHERE r.hash = ? AND r.used_at IS NULL AND s.revoked_at IS NULL AND s.expires_at > NOW(6)";

/* Of a directory's user: whether it still lets them in; else the session ends. Others are judged when it goes on. */
static purlin_status ask_directory(purlin_ctx *ctx, const char *hash) {
  standing of;
  purlin_status status = purlin_db_row(ctx, standing, &of, SELECT_OWNER, hash);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status == PURLIN_OK) status = directories_still(ctx, &of);
  if (status != PURLIN_UNAUTHENTICATED) return status;
  status = purlin_db_run(ctx, REVOKE_OF, hash);
  return status == PURLIN_OK ? refuse(ctx) : status;
}

purlin_status sessions_refresh(purlin_ctx *ctx, const char *refresh_token, granted_tokens *out) {
  step s = {0};
  purlin_sha256(refresh_token, strlen(refresh_token), s.shown);
  purlin_status status = ask_directory(ctx, s.shown);
  if (status == PURLIN_OK) status = give(ctx, &s, go_on, out);
  if (status != PURLIN_OK || !s.reused) return status;
  purlin_log(ctx, PURLIN_WARNING, "a refresh token was used twice: the session %s is ended", s.session);
  return refuse(ctx);
}

typedef struct ended_row {
  const char *session, *name;
} ended_row;
PURLIN_SCHEMA(ended_row, "A session that ends", PURLIN_REQUIRED(session, "its id"), PURLIN_REQUIRED(name, "whose"));

static const char SELECT_ENDED[] =
    "SELECT s.id AS session, u.name FROM accounts_refresh_tokens r JOIN accounts_sessions s ON"
    " s.id = r.session_id JOIN accounts_users u ON u.id = s.user_id"
    " WHERE r.hash = ? AND s.revoked_at IS NULL";

purlin_status sessions_end(purlin_ctx *ctx, const char *refresh_token) {
  ended_row row;
  char hash[65];
  purlin_sha256(refresh_token, strlen(refresh_token), hash);
  purlin_status status = purlin_db_row(ctx, ended_row, &row, SELECT_ENDED, hash);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, REVOKE, row.session);
  if (status != PURLIN_OK) return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
  const purlin_audit_entry entry = {
      .operation = "accounts.logout", .object = row.session, .actor = purlin_format(ctx, "user:%s", row.name)};
  return purlin_audit(ctx, &entry);
}

purlin_status sessions_revoke_all(purlin_ctx *ctx, const char *user_id, const char *except) {
  return purlin_db_run(ctx, REVOKE_ALL, user_id, except);
}

/* ---- Looking, and taking away --------------------------------------------------------------------------------------------------------------- */

typedef struct login_session {
  const char *id, *user, *address, *agent;
  bool current;
  purlin_time created_at, refreshed_at, expires_at;
} login_session;
PURLIN_SCHEMA(login_session, "A session",
    PURLIN_REQUIRED(id, "The id"),
    PURLIN_REQUIRED(user, "Whose"),
    PURLIN_REQUIRED(address, "From where it was begun"),
    PURLIN_REQUIRED(agent, "By what program"),
    PURLIN_REQUIRED(current, "Whether it is this one"),
    PURLIN_REQUIRED(created_at, "When it was begun"),
    PURLIN_REQUIRED(refreshed_at, "When it last went on"),
    PURLIN_REQUIRED(expires_at, "When it ends unless it goes on"));

typedef struct list_sessions_in {
  const char *user, *after;
  int64_t limit;
} list_sessions_in;
PURLIN_SCHEMA(list_sessions_in, "Which page",
    PURLIN_DEFAULT(user, "\"\"", "Of this user; empty: your own", .max_length = 64),
    PURLIN_DEFAULT(after, "\"\"", "Ids after this one", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct session_page {
  PURLIN_LIST_OF(login_session) sessions;
} session_page;
PURLIN_SCHEMA(session_page, "Sessions, by id", PURLIN_LIST(sessions, login_session, "The sessions"));

#define SESSION_COLUMNS                                                                                                    \
  "s.id, u.name AS user, s.address, s.agent, s.id = ? AS current, s.created_at, s.refreshed_at, s.expires_at"
#define ALIVE " s.revoked_at IS NULL AND s.expires_at > NOW(6)"

static const char SELECT_SESSIONS[] =
    "SELECT " SESSION_COLUMNS " FROM accounts_sessions s JOIN accounts_users u ON u.id = s.user_id"
    " WHERE s.user_id = ? AND s.id > ? AND" ALIVE " ORDER BY s.id LIMIT ?";
static const char SELECT_SESSION[] =
    "SELECT " SESSION_COLUMNS
    " FROM accounts_sessions s JOIN accounts_users u ON u.id = s.user_id WHERE s.id = ? AND" ALIVE;

/* Whoever manages users, where they are managed. */
static bool manages(const purlin_ctx *ctx) {
  return purlin_permitted(ctx, "users:write") && strcmp(purlin_workspace(ctx), "default") == 0;
}

PURLIN_OPERATION(list_sessions, list_sessions_in, session_page,
    .summary = "The sessions of yourself, or of a user", .permission = "authenticated", .http = "GET /api/v1/accounts/sessions") {
  user of;
  if (*in->user && !manages(ctx)) return purlin_fail(ctx, PURLIN_FORBIDDEN, "this needs the permission 'users:write'");
  purlin_status status = *in->user ? accounts_user(ctx, in->user, &of) : accounts_self(ctx, &of);
  if (status != PURLIN_OK) return status;
  return purlin_db_list(ctx, login_session, &out->sessions, SELECT_SESSIONS, sessions_current(ctx), of.id, in->after,
                        in->limit);
}

typedef struct session_in {
  const char *id;
} session_in;
PURLIN_SCHEMA(session_in, "Which session", PURLIN_REQUIRED(id, "The id", .max_length = 64));

PURLIN_OPERATION(revoke_session, session_in, login_session,
    .summary = "End a session", .permission = "authenticated", .effect = PURLIN_CHANGES,
    .http = "DELETE /api/v1/accounts/sessions/{id}", .description = "Within a second no node takes its tokens any more.") {
  purlin_status status = purlin_db_row(ctx, login_session, out, SELECT_SESSION, sessions_current(ctx), in->id);
  const char *owner = status == PURLIN_OK ? purlin_format(ctx, "user:%s", out->user) : "";
  bool mine = owner && accounts_in_person(ctx) && strcmp(owner, purlin_actor(ctx)) == 0;
  if (status == PURLIN_NOT_FOUND || (status == PURLIN_OK && !mine && !manages(ctx)))
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no session '%s'", in->id);
  return status == PURLIN_OK ? purlin_db_run(ctx, REVOKE, in->id) : status;
}
