/* accounts.h: what the files of this plugin share.
 *
 * users.c         people: create, look at, disable, set a password; what an administrator does
 * profile.c       one's own profile and password
 * register.c      people who make themselves users, where the operator lets them
 * password.c      what a good password is, and its hash
 * unicode.c       names, addresses and passwords in one form, whatever keyboard they come from
 * check.c         passwords: on the blocking pool, or asked of a directory; the same time for whoever is not there
 * directories.c   users who are known elsewhere: asked, made here at their first login, looked up again
 * attempts.c      growing delays after wrong passwords
 * login.c         login, refresh and logout
 * sessions.c      sessions: begin, list, revoke
 * browser.c       sessions of browsers: their cookie
 * page.c          the login page; form.c: what it needs of HTML and of forms
 * single.c        the contract sessions: other plugins let people in (single sign-on)
 * keys.c          the keys that sign: in the database, sealed; rotation; /.well-known/jwks.json
 * tokens.c        access tokens: issue, and judge by RFC 8725
 * certificates.c  users who show a certificate
 * authenticate.c  the contract authenticator: who is behind a token, or a name and password
 * mail.c          letters by SMTP, by a durable job
 * links.c         what comes by mail: an address is verified, a forgotten password is set anew
 * tidy.c          what is over goes
 *
 * Users are of the server, so who manages them does it in the workspace 'default'; what they may do is granted per workspace to the
 * subject "user:NAME". */
#ifndef ACCOUNTS_H
#define ACCOUNTS_H

#include "password.h"
#include <purlin/purlin.h>

#define NAME_RULE .pattern = "[a-z0-9][a-z0-9._-]*", .max_length = 64
#define EMAIL_RULE .pattern = "([^@ \t\r\n]+@[^@ \t\r\n]+)?", .max_length = 254
#define USER_PREFIX "user:" /* of a login name as an actor */
#define PASSWORD_FIELD .min_length = 1, .max_length = PASSWORD_LONGEST, .secret = true

typedef struct accounts_configuration {
  const char *issuer, *audience, *algorithm;
  int64_t password_cost, access_token_s, session_days, directory_check_s, directory_grace_s;
  const char *registration, *registration_role;
  const char *smtp_url, *smtp_user, *smtp_password, *smtp_ca_file, *mail_from, *link_url;
  int64_t browser_idle_s, browser_session_s, sessions_per_user;
  bool smtp_starttls, granted_names;
} accounts_configuration;
PURLIN_SCHEMA(accounts_configuration, "People, passwords and sessions",
    PURLIN_DEFAULT(issuer, "\"purlin\"", "Who issues access tokens (iss); best the server's https:// address, the same on all nodes", .min_length = 1, .max_length = 200),
    PURLIN_DEFAULT(audience, "\"purlin\"", "For whom they are (aud)", .min_length = 1, .max_length = 200),
    PURLIN_DEFAULT(algorithm, "\"ES256\"", "How new ones are signed; HS256 needs the same keys of secrets on all nodes", .choices = "ES256, RS256, HS256"),
    PURLIN_DEFAULT(password_cost, "5", "Of yescrypt; each step doubles time and memory, and passwords are hashed anew at the next login", .min = 1, .max = 11),
    PURLIN_DEFAULT(access_token_s, "600", "How long an access token lives", .min = 1, .max = 3600),
    PURLIN_DEFAULT(session_days, "30", "How long a session lives that is not used", .min = 1, .max = 365),
    PURLIN_DEFAULT(browser_idle_s, "28800", "How long a browser's session lives that is not used", .min = 4, .max = 2592000),
    PURLIN_DEFAULT(browser_session_s, "604800", "How long it lives at most, however much it is used", .min = 4, .max = 31536000),
    PURLIN_DEFAULT(sessions_per_user, "20", "How many browsers, and how many programs, a user is logged in with; the one not used for longest ends", .min = 1, .max = 10000),
    PURLIN_DEFAULT(directory_check_s, "300", "How long a directory's answer is good for: whoever goes on after it is looked up again", .min = 1, .max = 86400),
    PURLIN_DEFAULT(directory_grace_s, "3600", "How much longer, while the directory cannot be asked", .min = 0, .max = 604800),
    PURLIN_DEFAULT(granted_names, "true", "Whether somebody of a directory has what was granted to their name before they came; false: where people choose their own names, they do not come in by such a name"),
    PURLIN_DEFAULT(registration, "\"closed\"", "Who makes themselves users: nobody, anybody, or whoever takes a letter", .choices = "closed, open, verified"),
    PURLIN_DEFAULT(registration_role, "\"\"", "The role that they are granted in the workspace 'default'; empty: none", .max_length = 64),
    PURLIN_DEFAULT(smtp_url, "\"\"", "Where mail goes out: smtp://mail.example.org:587, smtps://...; empty: no mail", .pattern = "(smtps?://[^ ]+)?", .max_length = 500),
    PURLIN_DEFAULT(smtp_user, "\"\"", "Who sends it", .max_length = 200),
    PURLIN_DEFAULT(smtp_password, "\"\"", "With this password: env(\"PURLIN_SMTP_PASSWORD\")", .max_length = 500, .secret = true),
    PURLIN_DEFAULT(mail_from, "\"\"", "The address that it comes from", EMAIL_RULE),
    PURLIN_DEFAULT(link_url, "\"\"", "What letters call this server; empty: its URL", .max_length = 500),
    PURLIN_DEFAULT(smtp_ca_file, "\"\"", "PEM file of those who may vouch for the mail server; empty: those that this system trusts", .max_length = 500),
    PURLIN_DEFAULT(smtp_starttls, "true", "Only over TLS: smtp:// switches to it, or nothing is sent"));

/* The same as purlin_configuration(), also where another plugin has called. Does not park. */
const accounts_configuration *accounts_configured(void);

/* ---- People ------------------------------------------------------------------------------------------------------------------------- */

typedef struct user {
  const char *id, *name, *display_name, *email, *directory;
  bool email_verified, disabled;
  purlin_time created_at;
  const char *created_by;
  purlin_time last_login_at;
} user;
PURLIN_SCHEMA(user, "Somebody who can log in",
    PURLIN_REQUIRED(id, "The id"),
    PURLIN_REQUIRED(name, "The login name; roles are granted to \"user:NAME\""),
    PURLIN_REQUIRED(display_name, "What others call them"),
    PURLIN_REQUIRED(email, "Empty: none, or you may not see it"),
    PURLIN_REQUIRED(email_verified, "Whether mail reaches them there"),
    PURLIN_REQUIRED(directory, "Who knows their password and their profile; empty: this server"),
    PURLIN_REQUIRED(disabled, "Whether nothing lets them in"),
    PURLIN_REQUIRED(created_at, "When"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_OPTIONAL(last_login_at, "When they last logged in"));

#define USER_COLUMNS                                                                                                       \
  "id, name, display_name, email, email_verified_at IS NOT NULL AS email_verified, directory,"                             \
  " disabled_at IS NOT NULL AS disabled, created_at, created_by, last_login_at"

/* What logging in takes of a user. */
typedef struct login_row {
  const char *id, *name, *directory, *password_hash;
  int64_t version;
  purlin_texts groups;
  bool disabled;
} login_row;
PURLIN_SCHEMA(login_row, "A user who wants to log in",
    PURLIN_REQUIRED(id, "id"), PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(directory, "who knows the password; empty: we do"),
    PURLIN_OPTIONAL(password_hash, "of the password; none: none opens it", .secret = true), PURLIN_REQUIRED(version, "version"),
    PURLIN_REQUIRED(groups, "what the directory says they belong to"),
    PURLIN_REQUIRED(disabled, "whether nothing lets them in"));

#define LOGIN_COLUMNS "id, name, directory, password_hash, version, `groups`, disabled_at IS NOT NULL AS disabled"

/* What is stored of what somebody typed (arena): see unicode.h. PURLIN_INVALID, recorded for the field. */
PURLIN_CHECKED purlin_status accounts_display_name(purlin_ctx *ctx, const char *field, const char *typed, const char **out);
PURLIN_CHECKED purlin_status accounts_email(purlin_ctx *ctx, const char *field, const char *typed,
                                            const char **out); /* "" is none */

/* Users are of the server: who manages them does so in its first workspace. PURLIN_FORBIDDEN is recorded. */
PURLIN_CHECKED purlin_status accounts_require_home(purlin_ctx *ctx);
/* By name. PURLIN_NOT_FOUND is recorded. May park. */
PURLIN_CHECKED purlin_status accounts_user(purlin_ctx *ctx, const char *name, user *out);
/* Not by an API key. Keys that act for a user are made by owners of any workspace, and narrowed to what permissions say, of which a profile
 * and sessions want none. Does not park. */
bool accounts_in_person(const purlin_ctx *ctx);
/* The caller, when it is a user in person: "user:NAME" without its "user:". PURLIN_FORBIDDEN is recorded. May park. */
PURLIN_CHECKED purlin_status accounts_self(purlin_ctx *ctx, user *out);
/* PURLIN_CONFLICT, recorded, for a user whose password and profile a directory keeps: nothing of that is changed here. Does not park. */
PURLIN_CHECKED purlin_status accounts_require_local(purlin_ctx *ctx, const user *of);

/* Makes a user who makes themselves: nobody of that name may be there, and nothing be granted to it (PURLIN_CONFLICT, recorded, is the
 * same for both). role "": none; one that there is not is logged. In a transaction. May park. */
typedef struct new_user {
  const char *name, *display_name, *email, *password_hash, *role;
  bool verified; /* the address */
} new_user;
PURLIN_CHECKED purlin_status accounts_add_user(purlin_ctx *ctx, const new_user *made);
/* Whether registering can work as it is configured; at start. PURLIN_INVALID, recorded. */
PURLIN_CHECKED purlin_status accounts_register_start(purlin_ctx *ctx);

/* The contract authenticator's: whether somebody can come in without a key. May park, for the database only. */
PURLIN_CHECKED purlin_status accounts_comes_in(purlin_ctx *ctx, const char *actor);

/* A body of JSON that holds a secret, which is wiped where it was read to. May park. */
PURLIN_CHECKED purlin_status accounts_read(purlin_ctx *ctx, purlin_request *request, const purlin_schema *schema, void *in);

/* ---- Passwords ------------------------------------------------------------------------------------------------------------------------ */

/* Before the first call: the hash that is checked when there is nobody of a name. May park. */
PURLIN_CHECKED purlin_status accounts_checks_start(purlin_ctx *ctx);
/* The hash of a new password, in the arena; refuses one that is no good, naming the field. Before the first write. May park. */
PURLIN_CHECKED purlin_status accounts_hash(purlin_ctx *ctx, const char *field, const char *password, const char *name,
                                           const char **hash);
/* Whether a password is that of a hash. Before the first write. May park. */
PURLIN_CHECKED purlin_status accounts_matches(purlin_ctx *ctx, const char *password, const char *hash, bool *right);
/* Whether this password of this name is right: of a user who is not disabled, in *out. A user of ours is judged here, everybody else by
 * their directory. Counts the attempt, and refuses it with PURLIN_TOO_MANY while too many failed. PURLIN_UNAUTHENTICATED, recorded, after
 * the same time for everything that is wrong, as far as a directory allows; out->id is NULL when nobody here has that name.
 * PURLIN_UNAVAILABLE, recorded: the directory that knows it cannot be asked. Not within a transaction. May park. */
PURLIN_CHECKED purlin_status accounts_check(purlin_ctx *ctx, const char *name, const char *password, const char *address,
                                            login_row *out);

/* PURLIN_TOO_MANY, recorded, or the attempt is counted as failed until accounts_attempt_succeeded. Neither within a transaction. May park. */
PURLIN_CHECKED purlin_status accounts_attempt(purlin_ctx *ctx, const char *name, const char *address);
PURLIN_CHECKED purlin_status accounts_attempt_succeeded(purlin_ctx *ctx, const char *name, const char *address);

#endif
