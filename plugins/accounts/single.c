#include "browser.h"
#include "sessions.h"
#include <purlin/audit.h>
#include <purlin/contracts/sessions.h>

static const char SELECT_PERSON[] = "SELECT " LOGIN_COLUMNS " FROM accounts_users WHERE directory = ? AND external_id = ?";
/* What was heard of them is old from now on: their keys go on when the directory says so again. */
static const char DOUBT[] =
    "UPDATE accounts_users SET version = version + 1, looked_up_at = LEAST(looked_up_at, NOW(6) - INTERVAL ? SECOND) WHERE id = ?";

static const char *agent_of(const purlin_request *request) {
  const char *agent = purlin_header(request, "user-agent");
  return agent ? agent : "";
}

/* As with a password that was wrong: under the name that was claimed. */
static purlin_status note_refusal(purlin_ctx *ctx, const purlin_person *person, purlin_status status) {
  const purlin_audit_entry entry = {
      .operation = "accounts.login", .object = person->name ? person->name : "", .outcome = PURLIN_AUDIT_REFUSED};
  bool refused = status == PURLIN_FORBIDDEN || status == PURLIN_CONFLICT || status == PURLIN_INVALID;
  if (refused && purlin_audit(ctx, &entry) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a login that was refused could not be written into the audit log");
  return status;
}

static purlin_status begin(purlin_ctx *ctx, purlin_request *request, const char *directory, const purlin_person *person,
                           purlin_session_tokens *out) {
  login_row row;
  granted_tokens tokens;
  purlin_status status = directories_admit(ctx, directory, person, &row);
  if (status != PURLIN_OK) return note_refusal(ctx, person, status);
  status = sessions_begin(ctx, &row, purlin_address(request), agent_of(request), &tokens);
  if (status != PURLIN_OK) return status;
  *out = (purlin_session_tokens){.access_token = tokens.access_token,
                                 .token_type = tokens.token_type,
                                 .expires_in = tokens.expires_in,
                                 .refresh_token = tokens.refresh_token,
                                 .session = tokens.session};
  return PURLIN_OK;
}

static purlin_status begin_in_browser(purlin_ctx *ctx, purlin_request *request, const char *directory,
                                      const purlin_person *person) {
  login_row row;
  purlin_status status = browser_can_begin(ctx, request);
  if (status != PURLIN_OK) return status;
  status = directories_admit(ctx, directory, person, &row);
  return status == PURLIN_OK ? browser_begin(ctx, request, &row) : note_refusal(ctx, person, status);
}

static purlin_status end_them(purlin_ctx *ctx, void *argument) {
  const login_row *of = argument;
  purlin_status status = sessions_revoke_all(ctx, of->id, "");
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DOUBT, accounts_configured()->directory_check_s + 1, of->id);
  const purlin_audit_entry entry = {
      .operation = "accounts.end_sessions", .object = of->id, .actor = purlin_format(ctx, "directory:%s", of->directory)};
  return status == PURLIN_OK ? purlin_audit(ctx, &entry) : status;
}

static purlin_status end_all(purlin_ctx *ctx, const char *directory, const char *person_id) {
  login_row row;
  purlin_status status = purlin_db_row(ctx, login_row, &row, SELECT_PERSON, directory, person_id);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "nobody of that id is known here");
  return status == PURLIN_OK ? purlin_transaction(ctx, end_them, &row) : status;
}

static const purlin_sessions functions = {
    .size = sizeof functions, .begin = begin, .begin_in_browser = begin_in_browser, .end_all = end_all};
PURLIN_PROVIDES(sessions, "accounts", functions);
