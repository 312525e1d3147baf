#include "browser.h"
#include "sessions.h"
#include <purlin/audit.h>
#include <string.h>

#define SECRET_PREFIX "browser"

enum { TOUCHED_EVERY_S = 60, LONGEST_SECRET = 200 };

static const char SELECT_BROWSER[] =
    "SELECT " STANDING_COLUMNS ", s.id AS session, s.expires_at, TIMESTAMPDIFF(SECOND, s.refreshed_at, NOW(6)) AS idle_s"
    " FROM accounts_sessions s JOIN accounts_users u ON u.id = s.user_id"
    " WHERE s.cookie = ? AND s.revoked_at IS NULL AND s.expires_at > NOW(6) AND u.disabled_at IS NULL";
/* Never beyond its end, however much it is used. */
static const char TOUCH[] =
    "UPDATE accounts_sessions SET refreshed_at = NOW(6), expires_at = LEAST(ends_at, NOW(6) + INTERVAL ? SECOND)"
    " WHERE id = ? AND revoked_at IS NULL";
static const char REVOKE[] = "UPDATE accounts_sessions SET revoked_at = NOW(6) WHERE cookie = ? AND revoked_at IS NULL";

typedef struct browser_row {
  const char *id, *name, *directory, *external_id, *session;
  purlin_texts groups;
  bool disabled;
  int64_t age_s, idle_s;
  purlin_time expires_at;
} browser_row;
PURLIN_SCHEMA(browser_row, "A browser's session, and whose it is",
    PURLIN_REQUIRED(id, "id"), PURLIN_REQUIRED(name, "name"), PURLIN_REQUIRED(directory, "who knows them; empty: we do"),
    PURLIN_REQUIRED(external_id, "by what id"), PURLIN_REQUIRED(session, "which session"),
    PURLIN_REQUIRED(groups, "what they belong to"), PURLIN_REQUIRED(disabled, "whether nothing lets them in"),
    PURLIN_REQUIRED(age_s, "since the directory let them in"), PURLIN_REQUIRED(idle_s, "since it was used"),
    PURLIN_REQUIRED(expires_at, "when it ends"));

/* ---- Who is behind it --------------------------------------------------------------------------------------------------------------------- */

static bool is_secret(const char *secret) {
  return strncmp(secret, SECRET_PREFIX "_", sizeof SECRET_PREFIX) == 0 && strnlen(secret, LONGEST_SECRET) < LONGEST_SECRET;
}

static purlin_status find(purlin_ctx *ctx, const char *secret, browser_row *out) {
  char hash[65];
  if (!is_secret(secret)) return PURLIN_NOT_FOUND;
  purlin_sha256(secret, strlen(secret), hash);
  purlin_status status = purlin_db_row(ctx, browser_row, out, SELECT_BROWSER, hash);
  return status == PURLIN_NOT_FOUND ? PURLIN_UNAUTHENTICATED : status;
}

/* Used: it lives on. Written down now and then only. */
static purlin_status touch(purlin_ctx *ctx, const browser_row *row) {
  int64_t idle_s = accounts_configured()->browser_idle_s,
          every_s = idle_s / 4 < TOUCHED_EVERY_S ? idle_s / 4 : TOUCHED_EVERY_S;
  return row->idle_s < every_s ? PURLIN_OK : purlin_db_run(ctx, TOUCH, idle_s, row->session);
}

static purlin_status end(purlin_ctx *ctx, const char *secret) {
  char hash[65];
  purlin_sha256(secret, strlen(secret), hash);
  return purlin_db_run(ctx, REVOKE, hash);
}

purlin_status browser_principal(purlin_ctx *ctx, const char *secret, purlin_principal *out) {
  browser_row row;
  purlin_status status = find(ctx, secret, &row);
  if (status != PURLIN_OK) return status;
  standing of = {row.id, row.name, row.directory, row.external_id, row.groups, row.disabled, row.age_s};
  status = directories_still(ctx, &of);
  if (status == PURLIN_UNAUTHENTICATED) {
    purlin_status ended = end(ctx, secret);
    return ended == PURLIN_OK ? status : ended;
  }
  if (status == PURLIN_OK) status = touch(ctx, &row);
  if (status != PURLIN_OK) return status;
  out->actor = purlin_format(ctx, "user:%s", of.name);
  out->credential = purlin_format(ctx, "session:%s", row.session);
  out->groups = of.groups;
  out->expires_at = row.expires_at;
  return out->actor && out->credential ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static const char *shown_cookie(const purlin_request *request) {
  const char *name = purlin_session_cookie(request), *secret = name ? purlin_cookie(request, name) : NULL;
  return secret && is_secret(secret) ? secret : NULL;
}

const char *browser_user(purlin_ctx *ctx, const purlin_request *request) {
  browser_row row;
  const char *secret = shown_cookie(request);
  if (!secret) return NULL;
  purlin_status status = find(ctx, secret, &row);
  purlin_clear_failure(ctx);
  return status == PURLIN_OK ? row.name : NULL;
}

/* ---- Beginning and ending --------------------------------------------------------------------------------------------------------------------- */

purlin_status browser_can_begin(purlin_ctx *ctx, const purlin_request *request) {
  if (purlin_session_cookie(request)) return PURLIN_OK;
  return purlin_fail(
      ctx, PURLIN_FORBIDDEN,
      "a browser keeps a session over https only (behind a proxy: see trusted_proxies), or on the server's own host");
}

/* Without an end of its own: it goes when the browser does, or when its session is over. An empty one is taken away. */
static purlin_status set_cookie(purlin_ctx *ctx, purlin_request *request, const char *value) {
  const char *name = purlin_session_cookie(request);
  bool secure = name && strncmp(name, "__Host-", 7) == 0;
  const char *text = purlin_format(ctx, "%s=%s; Path=/; HttpOnly; SameSite=Lax%s%s", name ? name : "", value,
                                   secure ? "; Secure" : "", *value ? "" : "; Max-Age=0");
  if (!name) return browser_can_begin(ctx, request);
  return text ? purlin_set_header(ctx, request, "Set-Cookie", text) : PURLIN_TOO_LARGE;
}

purlin_status browser_begin(purlin_ctx *ctx, purlin_request *request, const login_row *of) {
  const char *secret = purlin_new_secret(ctx, SECRET_PREFIX), *before = shown_cookie(request);
  const char *agent = purlin_header(request, "user-agent");
  if (!secret) return PURLIN_TOO_LARGE;
  purlin_status status = browser_can_begin(ctx, request);
  if (status == PURLIN_OK && before) status = end(ctx, before);
  if (status == PURLIN_OK) status = sessions_begin_in_browser(ctx, of, purlin_address(request), agent ? agent : "", secret);
  if (status == PURLIN_OK) status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  return status == PURLIN_OK ? set_cookie(ctx, request, secret) : status;
}

purlin_status browser_end(purlin_ctx *ctx, purlin_request *request) {
  browser_row row;
  const char *secret = shown_cookie(request);
  purlin_status status = secret ? find(ctx, secret, &row) : PURLIN_UNAUTHENTICATED;
  if (status == PURLIN_OK) {
    const purlin_audit_entry entry = {
        .operation = "accounts.logout", .object = row.session, .actor = purlin_format(ctx, "user:%s", row.name)};
    status = end(ctx, secret);
    if (status == PURLIN_OK) status = purlin_audit(ctx, &entry);
  }
  if (status != PURLIN_OK && status != PURLIN_UNAUTHENTICATED) return status;
  return purlin_session_cookie(request) ? set_cookie(ctx, request, "") : PURLIN_OK;
}
