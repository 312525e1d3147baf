#include "accounts.h"

/* What is over goes after a while; the sessions stay a week, for whoever wants to see what happened. */
static const char *const statements[] = {
    ("DELETE r FROM accounts_refresh_tokens r JOIN accounts_sessions s ON s.id = r.session_id"
     " WHERE s.expires_at < NOW(6) - INTERVAL 7 DAY OR s.revoked_at < NOW(6) - INTERVAL 7 DAY"),
    "DELETE FROM accounts_sessions WHERE expires_at < NOW(6) - INTERVAL 7 DAY OR revoked_at < NOW(6) - INTERVAL 7 DAY",
    "DELETE FROM accounts_attempts WHERE at < NOW(6) - INTERVAL 1 HOUR AND next_at < NOW(6)",
    "DELETE FROM accounts_links WHERE expires_at < NOW(6) - INTERVAL 1 HOUR",
    "DELETE FROM accounts_registrations WHERE expires_at < NOW(6)",
    "DELETE FROM accounts_keys WHERE retires_at < NOW(6) - INTERVAL 1 DAY",
};

PURLIN_JOB(tidy, purlin_nothing, .summary = "Delete sessions, attempts and keys that are over") {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < sizeof statements / sizeof statements[0] && status == PURLIN_OK; i++)
    status = purlin_db_run(ctx, statements[i]);
  return status;
}

PURLIN_SCHEDULE(tidily, "@every 600s", .job = "accounts.tidy");
