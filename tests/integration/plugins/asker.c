/* Asks every directory what the plugin accounts would ask it, for tests: the contract alone. */
#include <purlin/contracts/directory.h>
#include <purlin/purlin.h>

PURLIN_PLUGIN("asker", "0.1.0",
    .summary = "Asks directories, for tests",
    .license = "Apache-2.0");

typedef struct check_in {
  const char *directory, *name, *password;
} check_in;
PURLIN_SCHEMA(check_in, "Who logs in",
    PURLIN_REQUIRED(directory, "Where"), PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(password, "Password", .secret = true));

typedef struct look_up_in {
  const char *directory, *id;
} look_up_in;
PURLIN_SCHEMA(look_up_in, "Who goes on",
    PURLIN_REQUIRED(directory, "Where"), PURLIN_REQUIRED(id, "Id"));

typedef struct person_out {
  const char *outcome, *id, *name, *display_name, *email;
  bool email_verified;
  purlin_texts groups;
} person_out;
PURLIN_SCHEMA(person_out, "What the directory says",
    PURLIN_REQUIRED(outcome, "A status"), PURLIN_REQUIRED(id, "Id"), PURLIN_REQUIRED(name, "Name"),
    PURLIN_REQUIRED(display_name, "Display name"), PURLIN_REQUIRED(email, "E-mail address"),
    PURLIN_REQUIRED(email_verified, "Whether it is theirs"), PURLIN_OPTIONAL(groups, "Groups"));

static purlin_status tell(purlin_ctx *ctx, purlin_status status, const purlin_person *who, person_out *out) {
  *out = (person_out){purlin_status_text(status), "", "", "", "", false, {0}};
  if (status == PURLIN_OK)
    *out = (person_out){"ok", who->id, who->name, who->display_name, who->email, who->email_verified, who->groups};
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

PURLIN_OPERATION(check, check_in, person_out, .summary = "Ask by password", .permission = "users:write") {
  purlin_person who = {0};
  const purlin_directory *directory = purlin_use(ctx, directory, in->directory);
  if (!directory) return PURLIN_UNAVAILABLE;
  return tell(ctx, directory->check(ctx, in->name, in->password, &who), &who, out);
}

PURLIN_OPERATION(look_up, look_up_in, person_out, .summary = "Ask by id", .permission = "users:write") {
  purlin_person who = {0};
  const purlin_directory *directory = purlin_use(ctx, directory, in->directory);
  if (!directory) return PURLIN_UNAVAILABLE;
  return tell(ctx, directory->look_up(ctx, in->id, &who), &who, out);
}
