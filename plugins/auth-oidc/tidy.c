#include "oidc.h"

/* What is over goes. Who did not come for two years is not known any more. */
static const char *const statements[] = {
    "DELETE FROM auth_oidc_logins WHERE expires_at < NOW(6)",
    "DELETE FROM auth_oidc_devices WHERE expires_at < NOW(6)",
    "DELETE FROM auth_oidc_seen WHERE expires_at < NOW(6)",
    "DELETE FROM auth_oidc_people WHERE seen_at < NOW(6) - INTERVAL 730 DAY",
};

PURLIN_JOB(tidy, purlin_nothing, .summary = "Delete logins that nobody ended") {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < sizeof statements / sizeof statements[0] && status == PURLIN_OK; i++)
    status = purlin_db_run(ctx, statements[i]);
  return status;
}

PURLIN_SCHEDULE(tidily, "@every 600s", .job = "auth-oidc.tidy");
