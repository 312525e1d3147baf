#include "people.h"

static const char KEEP[] =
    "INSERT INTO auth_oidc_people (id, name, display_name, email, email_verified, member_of, seen_at)"
    " VALUES (?, ?, LEFT(?, 200), LEFT(?, 254), ?, ?, NOW(6)) ON DUPLICATE KEY UPDATE name = VALUES(name),"
    " display_name = VALUES(display_name), email = VALUES(email), email_verified = VALUES(email_verified),"
    " member_of = VALUES(member_of), seen_at = VALUES(seen_at)";
static const char SELECT_PERSON[] = "SELECT id, name, display_name, email, email_verified, member_of FROM auth_oidc_people"
                                    " WHERE id = ? AND seen_at > NOW(6) - INTERVAL ? DAY";
static const char FORGET[] = "DELETE FROM auth_oidc_people WHERE id = ?";

typedef struct person_row {
  const char *id, *name, *display_name, *email;
  bool email_verified;
  purlin_texts member_of;
} person_row;
PURLIN_SCHEMA(person_row, "Somebody who came in",
    PURLIN_REQUIRED(id, "id"), PURLIN_REQUIRED(name, "login name"), PURLIN_REQUIRED(display_name, "name"),
    PURLIN_REQUIRED(email, "address"), PURLIN_REQUIRED(email_verified, "whether it is"), PURLIN_REQUIRED(member_of, "groups"));

static purlin_status keep(purlin_ctx *ctx, const purlin_person *person) {
  const char *groups = purlin_list_json(ctx, person->groups);
  if (!groups) return PURLIN_TOO_LARGE;
  return purlin_db_run(ctx, KEEP, person->id, person->name, person->display_name, person->email, person->email_verified,
                       groups);
}

/* Nobody of that id is known, most often: they never came in. */
static purlin_status shut_out(purlin_ctx *ctx, const char *id) {
  const purlin_sessions *sessions = purlin_use(ctx, sessions, NULL);
  purlin_status status = purlin_db_run(ctx, FORGET, id);
  if (status == PURLIN_OK && sessions) status = sessions->end_all(ctx, DIRECTORY, id);
  return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
}

purlin_status people_identify(purlin_ctx *ctx, const provider_metadata *provider, const exchange_answer *answer,
                              const exchange_login *login, purlin_person *out) {
  *out = (purlin_person){0};
  purlin_status status = exchange_person(ctx, provider, answer, login, out);
  if (status == PURLIN_OK) return keep(ctx, out);
  if (status != PURLIN_FORBIDDEN || !out->id) return status;
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  if (shut_out(ctx, out->id) != PURLIN_OK)
    purlin_log(ctx, PURLIN_ERROR, "somebody may not come in any more, and their sessions could not be ended: %s",
               purlin_failure(ctx));
  return purlin_fail(ctx, status, "%s", why ? why : "");
}

purlin_status people_check(purlin_ctx *ctx, const char *name, const char *password, purlin_person *out) {
  (void)ctx, (void)name, (void)password, (void)out;
  return PURLIN_NOT_FOUND;
}

purlin_status people_look_up(purlin_ctx *ctx, const char *id, purlin_person *out) {
  person_row row;
  purlin_status status = purlin_db_row(ctx, person_row, &row, SELECT_PERSON, id, oidc_settings()->known_days);
  if (status != PURLIN_OK) return status;
  *out = (purlin_person){.id = row.id,
                         .name = row.name,
                         .display_name = row.display_name,
                         .email = row.email,
                         .email_verified = row.email_verified,
                         .groups = row.member_of};
  return PURLIN_OK;
}
