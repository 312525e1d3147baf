/* register.c: people who make themselves users, where the configuration and the operator's policy let them.
 *
 * With registration = "verified" nobody is a user before the letter to their address was taken, and the answer is the same for all, after
 * the same work: whether a name or an address is taken only the letter says, to who has that mailbox. With "open" there is no letter, so
 * the answer must say that a name is taken. In neither can a name be had to which something is granted already.
 *
 * Whoever confirms shows the password again: else somebody would register with the mailbox of another, who confirms what they never asked
 * for, and log in as who has that address.
 *
 * No names are held back by who never confirms: of several registrations of a name the first that is confirmed has it. */
#include "accounts.h"
#include "mail.h"
#include <string.h>

enum { CONFIRM_HOURS = 48, MOST_PER_HOUR = 3 };

static const char INSERT_REGISTRATION[] =
    "INSERT INTO accounts_registrations (id, name, display_name, email, password_hash, role, created_at, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? HOUR)";
static const char SELECT_UNSENT[] =
    "SELECT r.id, r.name, r.display_name, r.email, r.password_hash, r.role,"
    " EXISTS (SELECT 1 FROM accounts_users u WHERE u.name = r.name) AS taken,"
    " (SELECT MIN(u.name) FROM accounts_users u WHERE u.email = r.email AND u.email_verified_at IS NOT NULL) AS user,"
    " (SELECT COUNT(*) FROM accounts_registrations o WHERE o.email = r.email AND o.sent_at > NOW(6) - INTERVAL 1 HOUR) AS recent"
    " FROM accounts_registrations r WHERE r.id = ? AND r.sent_at IS NULL";
static const char NOTE_SENT[] = "UPDATE accounts_registrations SET token_hash = ?, sent_at = NOW(6) WHERE id = ?";
static const char NOTE_UNSENT[] = "UPDATE accounts_registrations SET token_hash = NULL, sent_at = NULL WHERE id = ?";
#define CONFIRMED                                                                                                          \
  "SELECT r.id, r.name, r.display_name, r.email, r.password_hash, r.role, FALSE AS taken, 0 AS recent,"                    \
  " (SELECT MIN(u.name) FROM accounts_users u WHERE u.email = r.email AND u.email_verified_at IS NOT NULL) AS user"        \
  " FROM accounts_registrations r WHERE r.token_hash = ? AND r.expires_at > NOW(6)"
static const char PEEK_CONFIRMED[] = CONFIRMED;
static const char SELECT_CONFIRMED[] = CONFIRMED " FOR UPDATE";
static const char DELETE_REGISTRATION[] = "DELETE FROM accounts_registrations WHERE id = ?";
static const char INSERT_USER[] =
    "INSERT INTO accounts_users (id, name, display_name, email, email_verified_at, password_hash, created_at, created_by)"
    " VALUES (?, ?, ?, ?, IF(?, NOW(6), NULL), ?, NOW(6), ?)";

/* Whoever was one of these would be believed to speak for the server. */
static const char *const reserved[] = {"abuse",   "admin",      "administrator", "daemon", "hostmaster", "mail",
                                       "noreply", "postmaster", "purlin",        "root",   "security",   "server",
                                       "service", "sudo",       "support",       "system", "webmaster"};

typedef struct registration {
  const char *id, *name, *display_name, *email, *password_hash, *role;
  bool taken;
  purlin_opt_text user;
  int64_t recent;
} registration;
PURLIN_SCHEMA(registration, "Somebody who wants to be a user",
    PURLIN_REQUIRED(id, "id"), PURLIN_REQUIRED(name, "the login name"), PURLIN_REQUIRED(display_name, "what others call them"),
    PURLIN_REQUIRED(email, "address"), PURLIN_REQUIRED(password_hash, "of the password", .secret = true),
    PURLIN_REQUIRED(role, "granted then"), PURLIN_REQUIRED(taken, "whether there is a user of that name"),
    PURLIN_OPTIONAL(user, "whose verified address it is"), PURLIN_REQUIRED(recent, "letters to that address within an hour"));

static bool is(const accounts_configuration *configured, const char *how) {
  return strcmp(configured->registration, how) == 0;
}

purlin_status accounts_register_start(purlin_ctx *ctx) {
  if (!is(purlin_configuration(ctx), "verified") || mail_is_configured(ctx)) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID, "registration = \"verified\" sends letters: smtp_url and mail_from are missing");
}

/* ---- Making the user --------------------------------------------------------------------------------------------------------------------- */

static purlin_status grant(purlin_ctx *ctx, const char *actor, const char *role) {
  if (!*role) return PURLIN_OK;
  purlin_status status = purlin_grant_role(ctx, actor, role);
  if (status != PURLIN_NOT_FOUND) return status;
  purlin_clear_failure(ctx);
  purlin_log(ctx, PURLIN_WARNING, "%s registered and was to be granted the role '%s', which there is not", actor, role);
  return PURLIN_OK;
}

purlin_status accounts_add_user(purlin_ctx *ctx, const new_user *made) {
  bool granted = false;
  const char *actor = purlin_format(ctx, USER_PREFIX "%s", made->name), *id = purlin_new_id(ctx, "usr");
  if (!actor || !id) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_is_granted(ctx, actor, &granted);
  if (status == PURLIN_OK && granted) status = PURLIN_CONFLICT;
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT_USER, id, made->name, made->display_name, made->email, made->verified,
                           made->password_hash, actor);
  if (status == PURLIN_CONFLICT) return purlin_fail(ctx, status, "the name '%s' is taken: choose another", made->name);
  if (status == PURLIN_OK) status = grant(ctx, actor, made->role);
  const purlin_audit_entry entry = {.operation = "accounts.register", .object = made->name, .actor = actor};
  return status == PURLIN_OK ? purlin_audit(ctx, &entry) : status;
}

/* ---- The operator's word ----------------------------------------------------------------------------------------------------------------- */

typedef struct register_question {
  const char *name, *display_name, *email, *address;
} register_question;
PURLIN_SCHEMA(register_question, "Somebody wants to be a user of this server",
    PURLIN_REQUIRED(name, "The login name"),
    PURLIN_REQUIRED(display_name, "What others shall call them; may be empty"),
    PURLIN_REQUIRED(email, "Where mail reaches them, the domain in lower case; not verified yet; may be empty"),
    PURLIN_REQUIRED(address, "From where"));

typedef struct register_answer {
  bool allow;
  const char *reason, *role;
} register_answer;
PURLIN_SCHEMA(register_answer, "Whether they may",
    PURLIN_REQUIRED(allow, "Yes or no"),
    PURLIN_DEFAULT(reason, "\"\"", "What they are told when not"),
    PURLIN_DEFAULT(role, "\"\"", "What they are granted in the workspace 'default'; empty: what is configured", .max_length = 64));

PURLIN_POLICY(register, register_question, register_answer, "May they register? (Where the configuration lets people register at all.)",
    .fallback = "{\"allow\":true}", .on_failure = "{\"allow\":false,\"reason\":\"the policy failed\"}");

/* ---- Asking ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct register_in {
  const char *name, *password, *display_name, *email;
} register_in;
PURLIN_SCHEMA(register_in, "Who wants to be a user",
    PURLIN_REQUIRED(name, "The login name, for good", NAME_RULE),
    PURLIN_REQUIRED(password, "At least 12 characters, and no common one", PASSWORD_FIELD),
    PURLIN_DEFAULT(display_name, "\"\"", "What others call you", .max_length = 200),
    PURLIN_DEFAULT(email, "\"\"", "Where mail reaches you; required where it is verified", EMAIL_RULE));

typedef struct registered {
  const char *state;
} registered;
PURLIN_SCHEMA(registered, "What comes next",
    PURLIN_REQUIRED(state, "ready: log in; letter: a letter says what comes next", .choices = "ready, letter"));

typedef struct register_job {
  const char *id;
} register_job;
PURLIN_SCHEMA(register_job, "Who registered", PURLIN_REQUIRED(id, "The registration's id"));

static purlin_status check_fields(purlin_ctx *ctx, const register_in *in, new_user *out) {
  for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
    if (strcmp(reserved[i], in->name) == 0) return purlin_fail_field(ctx, "name", "is no name for a person");
  const char *flaw = password_flaw(in->password, in->name);
  if (flaw) return purlin_fail_field(ctx, "password", "%s", flaw);
  if (out->verified && !*in->email) return purlin_fail_field(ctx, "email", "is needed: a letter goes there");
  purlin_status status = accounts_display_name(ctx, "display_name", in->display_name, &out->display_name);
  return status == PURLIN_OK ? accounts_email(ctx, "email", in->email, &out->email) : status;
}

static purlin_status ask_operator(purlin_ctx *ctx, const char *address, new_user *made) {
  const register_question question = {
      .name = made->name, .display_name = made->display_name, .email = made->email, .address = address};
  register_answer answer;
  purlin_status status = purlin_decide(ctx, register, &question, &answer);
  if (status != PURLIN_OK) return status;
  if (!answer.allow)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "%s", *answer.reason ? answer.reason : "a policy forbids this");
  if (*answer.role) made->role = answer.role;
  return PURLIN_OK;
}

static purlin_status note_registration(purlin_ctx *ctx, void *argument) {
  const new_user *made = argument;
  const register_job job = {purlin_new_id(ctx, "reg")};
  if (!job.id) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_run(ctx, INSERT_REGISTRATION, job.id, made->name, made->display_name, made->email,
                                       made->password_hash, made->role, (int)CONFIRM_HOURS);
  if (status != PURLIN_OK) return status;
  return purlin_enqueue(ctx, "accounts.answer_registration", register_job_schema(), &job, NULL, NULL);
}

static purlin_status make_at_once(purlin_ctx *ctx, void *argument) { return accounts_add_user(ctx, argument); }

static purlin_status register_now(purlin_ctx *ctx, purlin_request *request, new_user *made, const char *password) {
  purlin_status status = ask_operator(ctx, purlin_address(request), made);
  if (status == PURLIN_OK) status = accounts_hash(ctx, "password", password, made->name, &made->password_hash);
  return status == PURLIN_OK ? purlin_transaction(ctx, made->verified ? note_registration : make_at_once, made) : status;
}

/* As with wrong passwords: who registers often from one address waits longer and longer. '|' is in no login name. */
#define ATTEMPTS "|register"

PURLIN_ROUTE(register_user, "POST /api/v1/accounts/register",
    .summary = "Make yourself a user, where this server lets people do that", .permission = "public", .body = "application/json",
    .in = register_in_schema, .out = registered_schema) {
  const accounts_configuration *configured = purlin_configuration(ctx);
  bool letter = is(configured, "verified");
  register_in in;
  if (is(configured, "closed")) return purlin_fail(ctx, PURLIN_FORBIDDEN, "nobody registers here: ask an administrator");
  purlin_status status = accounts_read(ctx, request, register_in_schema(), &in);
  if (status != PURLIN_OK) return status;
  new_user made = {.name = in.name, .role = configured->registration_role, .verified = letter};
  status = check_fields(ctx, &in, &made);
  if (status == PURLIN_OK) status = accounts_attempt(ctx, ATTEMPTS, purlin_address(request));
  if (status == PURLIN_OK) status = register_now(ctx, request, &made, in.password);
  explicit_bzero((char *)(uintptr_t)in.password, strlen(in.password));
  if (status != PURLIN_OK) return status;
  return purlin_respond(ctx, request, letter ? 202 : 201, registered_schema(), &(registered){letter ? "letter" : "ready"});
}

/* ---- The letter -------------------------------------------------------------------------------------------------------------------------- */

static const char *letter_text(purlin_ctx *ctx, const registration *of, const char *token) {
  const accounts_configuration *configured = purlin_configuration(ctx);
  const char *here = *configured->link_url ? configured->link_url : purlin_server_url();
  const char *head =
      purlin_format(ctx, "Somebody, probably you, asked to be the user '%s' of Purlin at\r\n%s\r\n\r\n", of->name, here);
  if (!head) return NULL;
  if (of->user.state == PURLIN_SET)
    return purlin_format(ctx,
                         "%sYou are a user there already: '%s'. Log in by that name; a forgotten password is\r\n"
                         "replaced by 'accounts forgot-password'. If it was not you, do nothing.\r\n",
                         head, of->user.value);
  if (!token)
    return purlin_format(
        ctx, "%sThat name cannot be had: register again with another.\r\nIf it was not you, do nothing.\r\n", head);
  return purlin_format(ctx,
                       "%sThe token that confirms it, for one use within %d hours:\r\n\r\n    %s\r\n\r\n"
                       "    purlin accounts confirm-registration --token ... --password ...\r\n\r\n"
                       "with the password that you chose. If it was not you, do nothing.\r\n",
                       head, (int)CONFIRM_HOURS, token);
}

/* Whether the letter can bring a token. */
static purlin_status is_free(purlin_ctx *ctx, const registration *of, bool *out) {
  bool granted = false;
  const char *actor = purlin_format(ctx, USER_PREFIX "%s", of->name);
  if (!actor) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_is_granted(ctx, actor, &granted);
  *out = !granted && !of->taken && of->user.state != PURLIN_SET;
  return status;
}

static purlin_status write_letter(purlin_ctx *ctx, const registration *of, const char *token) {
  const char *text = letter_text(ctx, of, token);
  char digits[65];
  if (!text) return PURLIN_TOO_LARGE;
  if (token) purlin_sha256(token, strlen(token), digits);
  purlin_status status = purlin_db_run(ctx, NOTE_SENT, token ? (const char *)digits : NULL, of->id);
  if (status != PURLIN_OK) return status;
  status = mail_send(ctx, of->email, "Purlin: your registration", text);
  if (status != PURLIN_OK && purlin_db_run(ctx, NOTE_UNSENT, of->id) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "a registration whose letter was not sent could not be marked");
  return status;
}

/* The token is made here and is nowhere but in the letter. */
PURLIN_JOB(answer_registration, register_job, .summary = "Write to somebody who registered", .max_attempts = 6, .timeout_ms = 60000) {
  registration of;
  bool free = false;
  purlin_status status = purlin_db_row(ctx, registration, &of, SELECT_UNSENT, in->id);
  if (status != PURLIN_OK) return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
  if (of.recent >= MOST_PER_HOUR) return purlin_db_run(ctx, DELETE_REGISTRATION, of.id);
  status = is_free(ctx, &of, &free);
  const char *token = free ? purlin_new_secret(ctx, "register") : NULL;
  if (status == PURLIN_OK && free && !token) status = PURLIN_TOO_LARGE;
  return status == PURLIN_OK ? write_letter(ctx, &of, token) : status;
}

/* ---- Confirming ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct confirm_in {
  const char *token, *password;
} confirm_in;
PURLIN_SCHEMA(confirm_in, "What came by mail, and who asked for it",
    PURLIN_REQUIRED(token, "The token", .max_length = 100, .secret = true),
    PURLIN_REQUIRED(password, "The password that you registered with", PASSWORD_FIELD));

typedef struct confirmed {
  const char *name;
} confirmed;
PURLIN_SCHEMA(confirmed, "A new user", PURLIN_REQUIRED(name, "By which to log in now"));

static purlin_status no_token(purlin_ctx *ctx) {
  return purlin_fail(ctx, PURLIN_INVALID, "the token is not valid, or not any more");
}

/* Whether it was them who registered. Before the first write. */
static purlin_status check_password(purlin_ctx *ctx, const char *digits, const char *password) {
  registration of;
  bool right = false;
  purlin_status status = purlin_db_row(ctx, registration, &of, PEEK_CONFIRMED, digits);
  if (status == PURLIN_NOT_FOUND) return no_token(ctx);
  if (status == PURLIN_OK) status = accounts_matches(ctx, password, of.password_hash, &right);
  if (status != PURLIN_OK || right) return status;
  return purlin_fail_field(ctx, "password", "is not the one that was registered with");
}

PURLIN_OPERATION(confirm_registration, confirm_in, confirmed,
    .summary = "Become a user, with the token that came by mail", .permission = "public", .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/accounts/confirm-registration") {
  registration of;
  char digits[65];
  purlin_sha256(in->token, strlen(in->token), digits);
  purlin_status status = check_password(ctx, digits, in->password);
  if (status != PURLIN_OK) return status;
  status = purlin_db_row(ctx, registration, &of, SELECT_CONFIRMED, digits);
  if (status == PURLIN_NOT_FOUND) return no_token(ctx);
  if (status == PURLIN_OK && of.user.state == PURLIN_SET)
    return purlin_fail(ctx, PURLIN_CONFLICT, "you are the user '%s' already", of.user.value);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_REGISTRATION, of.id);
  const new_user made = {.name = of.name,
                         .display_name = of.display_name,
                         .email = of.email,
                         .password_hash = of.password_hash,
                         .role = of.role,
                         .verified = true};
  if (status == PURLIN_OK) status = accounts_add_user(ctx, &made);
  out->name = of.name;
  return status;
}
