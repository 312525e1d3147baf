/* key.c: API keys: 'purlin_' and 40 random characters, of which the database keeps the SHA-256. */
#include "access/identity.h"
#include "audit/audit.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <purlin/operation.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HASH_DIGITS = 64, SECRET_RANDOM = 40, MOST_SCOPES = 200, RECOVERY_HOURS = 24 };

#define PREFIX "purlin_"
#define RECOVERY "service:recovery"

/* ---- Who holds a key ---------------------------------------------------------------------------------------------------------------- */

typedef struct holder {
  const char *id, *actor, *workspace, *project;
  purlin_texts permissions;
  bool bound;
  purlin_opt_int unused_s;
  purlin_time expires_at;
} holder;
PURLIN_SCHEMA(holder, "Who holds a key",
    PURLIN_REQUIRED(id, "The key's id"),
    PURLIN_REQUIRED(actor, "For whom it acts"),
    PURLIN_REQUIRED(workspace, "In which workspace"),
    PURLIN_REQUIRED(project, "In which project"),
    PURLIN_REQUIRED(permissions, "What it is narrowed to"),
    PURLIN_REQUIRED(bound, "Only in that project"),
    PURLIN_OPTIONAL(unused_s, "Seconds since its last use was written down"),
    PURLIN_OPTIONAL(expires_at, "Its end"));

static const char FIND_KEY[] = "SELECT id, actor, workspace, project, permissions, bound, expires_at,"
                               " TIMESTAMPDIFF(SECOND, last_used_at, NOW(6)) AS unused_s FROM access_tokens"
                               " WHERE hash = ? AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > NOW(6))";
static const char NOTE_FIRST_USE[] = "UPDATE access_tokens SET last_used_at = NOW(6) WHERE id = ? AND last_used_at IS NULL";
static const char NOTE_USE[] = "UPDATE access_tokens SET last_used_at = NOW(6) WHERE id = ?";

enum { NOTE_USE_AFTER_S = 60 };

/* The first use is an entry of the audit log, which says from where the key came. */
static purlin_status note_first_use(purlin_ctx *ctx, void *argument) {
  const holder *found = argument;
  purlin_status status = purlin_db_run(ctx, NOTE_FIRST_USE, found->id);
  if (status != PURLIN_OK || purlin_affected(ctx) == 0) return status;
  const char *workspace = ctx->workspace;
  ctx->workspace = found->workspace;
  status =
      purlin_audit(ctx, &(purlin_audit_entry){.operation = "access.first_use", .object = found->id, .actor = found->actor});
  ctx->workspace = workspace;
  return status;
}

/* To the minute; that it cannot be written down does not keep anybody out. */
static void note_use(purlin_ctx *ctx, holder *found) {
  bool used = found->unused_s.state == PURLIN_SET;
  if (used && found->unused_s.value < NOTE_USE_AFTER_S) return;
  purlin_status status = used ? purlin_db_run(ctx, NOTE_USE, found->id) : purlin_transaction(ctx, note_first_use, found);
  if (status != PURLIN_OK) purlin_clear_failure(ctx);
}

/* With HTTP Basic the key is the password; the name says nothing. */
purlin_status key_principal(purlin_ctx *ctx, const purlin_credential *credential, purlin_principal *principal,
                            const char **project, bool *bound) {
  if (strncmp(credential->secret, PREFIX, sizeof PREFIX - 1) != 0) return PURLIN_NOT_FOUND;
  char digits[HASH_DIGITS + 1];
  purlin_sha256(credential->secret, strlen(credential->secret), digits);
  holder found;
  purlin_status status = purlin_db_row(ctx, holder, &found, FIND_KEY, digits);
  if (status == PURLIN_NOT_FOUND) return PURLIN_UNAUTHENTICATED; /* looks like ours, and is not: nobody else is asked */
  if (status != PURLIN_OK) return status;
  note_use(ctx, &found);
  *principal = (purlin_principal){.actor = found.actor,
                                  .credential = purlin_format(ctx, "key:%s", found.id),
                                  .scope = found.permissions,
                                  .workspace = found.workspace,
                                  .expires_at = found.expires_at};
  *project = found.project;
  *bound = found.bound;
  return PURLIN_OK;
}

/* ---- Making keys -------------------------------------------------------------------------------------------------------------------------- */

typedef struct key {
  const char *id, *name, *owner, *project;
  purlin_texts permissions;
  bool bound;
  purlin_time created_at, expires_at, last_used_at, revoked_at;
  const char *created_by;
} key;
PURLIN_SCHEMA(key, "An API key, without its secret",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(name, "What it is for"),
    PURLIN_REQUIRED(owner, "For whom it acts"),
    PURLIN_REQUIRED(project, "The project that what it makes belongs to"),
    PURLIN_REQUIRED(permissions, "What it is narrowed to"),
    PURLIN_REQUIRED(bound, "Whether it reaches no other project"),
    PURLIN_REQUIRED(created_at, "When it was made"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_OPTIONAL(expires_at, "Its end"),
    PURLIN_OPTIONAL(last_used_at, "Its last use, to the minute"),
    PURLIN_OPTIONAL(revoked_at, "When it was revoked"));

#define KEY_COLUMNS                                                                                                        \
  "id, name, actor AS owner, project, permissions, bound, created_at, created_by, expires_at, last_used_at, revoked_at"
static const char INSERT_KEY[] =
    "INSERT INTO access_tokens (id, hash, name, actor, workspace, project, permissions, bound, created_at, created_by, expires_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?, IF(? = 0, NULL, NOW(6) + INTERVAL ? SECOND))";
static const char SELECT_KEY[] = "SELECT " KEY_COLUMNS " FROM access_tokens WHERE workspace = ? AND id = ?";
static const char SELECT_KEYS[] = "SELECT " KEY_COLUMNS " FROM access_tokens WHERE workspace = ? AND (? OR actor = ?)"
                                  " AND id > ? ORDER BY id LIMIT ?";

typedef struct made_key {
  const char *id, *secret;
} made_key;
PURLIN_SCHEMA(made_key, "A new key; its secret is shown this once",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(secret, "Send it as 'Authorization: Bearer ...'"));

typedef struct new_key {
  const char *name, *owner, *workspace, *project;
  purlin_texts permissions;
  bool bound;
  int64_t lives_s; /* 0: without end */
} new_key;

static purlin_status insert_key(purlin_ctx *ctx, const new_key *k, made_key *out) {
  char digits[HASH_DIGITS + 1];
  out->id = purlin_new_id(ctx, "key");
  out->secret = purlin_new_secret(ctx, "purlin");
  const char *permissions = purlin_list_json(ctx, k->permissions);
  if (!out->id || !out->secret || !permissions) return PURLIN_TOO_LARGE;
  purlin_sha256(out->secret, strlen(out->secret), digits);
  return purlin_db_run(ctx, INSERT_KEY, out->id, digits, k->name, k->owner, k->workspace, k->project, permissions, k->bound,
                       purlin_actor(ctx), k->lives_s, k->lives_s);
}

purlin_status key_make(purlin_ctx *ctx, const char *name, const char *owner, const char *workspace, const char **secret) {
  const new_key whole = {.name = name,
                         .owner = owner,
                         .workspace = workspace,
                         .project = "default",
                         .permissions = {(const char *[]){"*"}, 1},
                         .lives_s = INT64_C(90) * 24 * 3600};
  made_key made;
  purlin_status status = insert_key(ctx, &whole, &made);
  *secret = status == PURLIN_OK ? made.secret : NULL;
  return status;
}

typedef struct create_key_in {
  const char *name;
  purlin_opt_text owner, project;
  purlin_texts permissions;
  int64_t days;
} create_key_in;
PURLIN_SCHEMA(create_key_in, "A key to make",
    PURLIN_REQUIRED(name, "What it is for", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(permissions, "What it may do at most: \"models:read\", \"models:*\", \"*:read\", \"*\"", .min_length = 1,
        .max_length = MOST_SCOPES),
    PURLIN_OPTIONAL(project, "Only in this project, by id or name", .max_length = 64),
    PURLIN_OPTIONAL(owner, "For whom it acts, such as \"service:nightly\"; absent: for you",
        .pattern = "(user|service):[A-Za-z0-9._@+-]+", .max_length = 200),
    PURLIN_DEFAULT(days, "90", "How long it lives; 0: without end", .min = 0, .max = 3650));

/* Whether the key that is shown permits all of this itself; what shows none is not narrowed. */
static purlin_status check_scope(purlin_ctx *ctx, purlin_texts permissions) {
  const struct identity *who = ctx->who;
  for (size_t i = 0; who && i < permissions.count; i++) {
    bool within = who->scope.count == 0;
    for (size_t j = 0; j < who->scope.count && !within; j++)
      within = access_covers(who->scope.items[j], permissions.items[i]);
    if (!within)
      return purlin_fail(ctx, PURLIN_FORBIDDEN, "the key that you show does not permit '%s' itself", permissions.items[i]);
  }
  return PURLIN_OK;
}

/* A key never permits more than its owner is granted; and who is narrowed cannot make one that is not. */
static purlin_status check_key(purlin_ctx *ctx, const create_key_in *in) {
  const struct identity *who = ctx->who;
  if (in->owner.state == PURLIN_SET && strcmp(in->owner.value, purlin_actor(ctx)) != 0) {
    if (!access_holds_all(who, in->permissions, NULL, NULL))
      return purlin_fail(ctx, PURLIN_FORBIDDEN,
                         "for somebody else you can make keys only of what you hold in the whole workspace");
    return purlin_require_on(ctx, "access:write", NULL, NULL);
  }
  return check_scope(ctx, in->permissions);
}

PURLIN_OPERATION(access_create_key, create_key_in, made_key,
    .summary = "Make an API key", .permission = "authenticated", .effect = PURLIN_CREATES, .answers_secret = true, .http = "POST /api/v1/access/keys",
    .description = "It acts for you, or for a service, and permits what is granted to its owner, narrowed to the permissions given.") {
  const char *project = purlin_project(ctx);
  purlin_status status = in->project.state == PURLIN_SET ? project_find(ctx, in->project.value, &project) : PURLIN_OK;
  if (status == PURLIN_OK) status = check_key(ctx, in);
  if (status != PURLIN_OK) return status;
  const new_key made = {.name = in->name,
                        .owner = in->owner.state == PURLIN_SET ? in->owner.value : purlin_actor(ctx),
                        .workspace = purlin_workspace(ctx),
                        .project = project,
                        .permissions = in->permissions,
                        .bound = in->project.state == PURLIN_SET || ctx->who->bound,
                        .lives_s = in->days * 24 * 3600};
  if (ctx->who->bound && strcmp(project, ctx->who->project) != 0)
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "the key that you show reaches its own project only");
  return insert_key(ctx, &made, out);
}

/* ---- Listing, revoking, rotating --------------------------------------------------------------------------------------------------------------- */

/* One's own keys; who may see grants of the whole workspace sees all. */
static bool sees_all(const purlin_ctx *ctx, const char *permission) {
  return purlin_permitted_on(ctx, permission, NULL, NULL);
}

typedef struct list_keys_in {
  const char *after;
  int64_t limit;
} list_keys_in;
PURLIN_SCHEMA(list_keys_in, "Which page",
    PURLIN_DEFAULT(after, "\"\"", "Ids after this one", .max_length = 64),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct key_page {
  PURLIN_LIST_OF(key) keys;
} key_page;
PURLIN_SCHEMA(key_page, "Keys, by id", PURLIN_LIST(keys, key, "The keys"));

PURLIN_OPERATION(access_list_keys, list_keys_in, key_page,
    .summary = "Your API keys, or all of the workspace", .permission = "authenticated", .http = "GET /api/v1/access/keys") {
  return purlin_db_list(ctx, key, &out->keys, SELECT_KEYS, purlin_workspace(ctx), sees_all(ctx, "access:read"),
                        purlin_actor(ctx), in->after, in->limit);
}

typedef struct key_in {
  const char *id;
} key_in;
PURLIN_SCHEMA(key_in, "Which key", PURLIN_REQUIRED(id, "Its id", .max_length = 64));

static purlin_status find_key(purlin_ctx *ctx, const char *id, key *out) {
  purlin_status status = purlin_db_row(ctx, key, out, SELECT_KEY, purlin_workspace(ctx), id);
  bool mine = status == PURLIN_OK && strcmp(out->owner, purlin_actor(ctx)) == 0;
  if (status == PURLIN_NOT_FOUND || (status == PURLIN_OK && !mine && !sees_all(ctx, "access:read")))
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is no key '%s'", id);
  return status;
}

static purlin_status find_to_change(purlin_ctx *ctx, const char *id, key *out) {
  purlin_status status = find_key(ctx, id, out);
  bool others = status == PURLIN_OK && strcmp(out->owner, purlin_actor(ctx)) != 0;
  /* Otherwise its holder would rotate one that reaches everything, and have that. */
  if (status == PURLIN_OK && ctx->who && ctx->who->bound && !(out->bound && strcmp(out->project, ctx->who->project) == 0))
    return purlin_fail(ctx, PURLIN_FORBIDDEN, "the key that you show reaches its own project only");
  if (status != PURLIN_OK) return status;
  return others ? purlin_require_on(ctx, "access:write", NULL, NULL) : check_scope(ctx, out->permissions);
}

PURLIN_OPERATION(access_get_key, key_in, key,
    .summary = "An API key of yours, or of the workspace", .permission = "authenticated", .http = "GET /api/v1/access/keys/{id}") {
  return find_key(ctx, in->id, out);
}

PURLIN_OPERATION(access_revoke_key, key_in, key,
    .summary = "Revoke an API key", .permission = "authenticated", .effect = PURLIN_CHANGES, .object = "access_get_key",
    .http = "DELETE /api/v1/access/keys/{id}", .description = "Within a second no node takes it any more.") {
  purlin_status status = find_to_change(ctx, in->id, out);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, "UPDATE access_tokens SET revoked_at = COALESCE(revoked_at, NOW(6)) WHERE id = ?", in->id);
  if (status == PURLIN_OK) status = purlin_keep_owner(ctx, out->owner);
  return status == PURLIN_OK ? find_key(ctx, in->id, out) : status;
}

typedef struct rotate_key_in {
  const char *id;
  int64_t overlap_s, days;
} rotate_key_in;
PURLIN_SCHEMA(rotate_key_in, "Which key, and for how long both are taken",
    PURLIN_REQUIRED(id, "Its id", .max_length = 64),
    PURLIN_DEFAULT(overlap_s, "86400", "Seconds in which the old one is still taken", .min = 0, .max = 2592000),
    PURLIN_DEFAULT(days, "90", "How long the new one lives; 0: without end", .min = 0, .max = 3650));

static const char EXPIRE[] =
    "UPDATE access_tokens SET expires_at = LEAST(COALESCE(expires_at, '9999-12-31'), NOW(6) + INTERVAL ? SECOND)"
    " WHERE id = ?";

PURLIN_OPERATION(access_rotate_key, rotate_key_in, made_key,
    .summary = "Replace an API key by a new one that does the same", .permission = "authenticated", .effect = PURLIN_CREATES, .object = "access_get_key",
    .answers_secret = true, .http = "POST /api/v1/access/keys/{id}/rotate") {
  key old;
  purlin_status status = find_to_change(ctx, in->id, &old);
  if (status != PURLIN_OK) return status;
  if (old.revoked_at.unix_us != 0) return purlin_fail(ctx, PURLIN_CONFLICT, "the key '%s' was revoked", in->id);
  const create_key_in same = {.permissions = old.permissions, .owner = {PURLIN_SET, old.owner}};
  status = check_key(ctx, &same);
  const new_key made = {.name = old.name,
                        .owner = old.owner,
                        .workspace = purlin_workspace(ctx),
                        .project = old.project,
                        .permissions = old.permissions,
                        .bound = old.bound,
                        .lives_s = in->days * 24 * 3600};
  if (status == PURLIN_OK) status = insert_key(ctx, &made, out);
  return status == PURLIN_OK ? purlin_db_run(ctx, EXPIRE, in->overlap_s, in->id) : status;
}

/* ---- The first one ------------------------------------------------------------------------------------------------------------------------------------ */

typedef struct count_row {
  int64_t keys;
} count_row;
PURLIN_SCHEMA(count_row, "How many keys there are", PURLIN_REQUIRED(keys, "Rows"));

/* Written to a new file, flushed, then renamed: the file is there whole or not at all, and nobody else can read it. */
static bool write_secret(const char *directory, const char *name, const char *secret, buffer *why) {
  char path[PATH_MAX], temporary[PATH_MAX];
  int n = snprintf(path, sizeof path, "%s/%s", directory, name),
      m = snprintf(temporary, sizeof temporary, "%s/.%s.new", directory, name);
  if (n < 0 || m < 0 || (size_t)n >= sizeof path || (size_t)m >= sizeof temporary) {
    buffer_format(why, "the state directory's path is too long: %s", directory);
    return false;
  }
  (void)unlink(temporary);
  int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  size_t size = strlen(secret);
  bool written = file >= 0 && write(file, secret, size) == (ssize_t)size && write(file, "\n", 1) == 1 && fsync(file) == 0;
  int error = errno;
  if (file >= 0 && close(file) != 0) written = false;
  if (written && rename(temporary, path) == 0) return true;
  if (written) error = errno;
  (void)unlink(temporary);
  buffer_format(why, "cannot write the first administrator's token to %s: %s", path, strerror(error));
  return false;
}

static const char INSERT_FIRST[] =
    "INSERT INTO access_tokens (id, hash, name, actor, workspace, project, permissions, created_at, created_by, expires_at)"
    " VALUES (?, ?, ?, ?, 'default', 'default', '[\"*\"]', NOW(6), 'system', IF(? = 0, NULL, NOW(6) + INTERVAL ? HOUR))";
static const char GRANT_RECOVERY[] =
    "INSERT IGNORE INTO access_grants (id, workspace, subject, role, project, object, created_at, created_by)"
    " VALUES (?, 'default', '" RECOVERY "', 'owner', '*', '*', NOW(6), 'system')";

/* A key of an administrator, written to STATE/admin.token. */
static purlin_status give_administrator(purlin_ctx *ctx, const char *state_directory, bool recovery, buffer *why) {
  char secret[sizeof PREFIX + SECRET_RANDOM] = PREFIX, digits[HASH_DIGITS + 1];
  int hours = recovery ? RECOVERY_HOURS : 0;
  text_random_id(secret + sizeof PREFIX - 1, SECRET_RANDOM);
  purlin_sha256(secret, strlen(secret), digits);
  /* The file first: a key that is in the database and nowhere else would lock everybody out. */
  purlin_status status = write_secret(state_directory, "admin.token", secret, why) ? PURLIN_OK : PURLIN_UNAVAILABLE;
  text_wipe(secret, sizeof secret);
  if (status == PURLIN_OK && recovery) status = purlin_db_run(ctx, GRANT_RECOVERY, purlin_new_id(ctx, "grt"));
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT_FIRST, purlin_new_id(ctx, "key"), digits,
                           recovery ? "recovery" : "first administrator", recovery ? RECOVERY : "user:admin", hours, hours);
  if (status != PURLIN_OK && why->size == 0)
    buffer_format(why, "cannot store an administrator's key: %s", purlin_failure(ctx));
  return status;
}

/* `purlin admin recover` has left a file, which takes who may write to the state directory. The key acts for nobody who could have been
 * disabled. The file goes last: what was interrupted is done again. */
static purlin_status recover(purlin_ctx *ctx, const char *state_directory, buffer *why) {
  char path[PATH_MAX];
  int length = snprintf(path, sizeof path, "%s/recover", state_directory);
  if (length < 0 || (size_t)length >= sizeof path || access(path, F_OK) != 0) return PURLIN_OK;
  purlin_status status = give_administrator(ctx, state_directory, true, why);
  if (status != PURLIN_OK) return status;
  purlin_log(ctx, PURLIN_WARNING, "as %s asks for, %s/admin.token holds a new administrator's key for a day", path,
             state_directory);
  if (unlink(path) == 0) return PURLIN_OK;
  buffer_format(why, "cannot delete %s: %s", path, strerror(errno));
  return PURLIN_UNAVAILABLE;
}

purlin_status key_first(purlin_ctx *ctx, const char *state_directory, buffer *why) {
  count_row row = {0};
  purlin_status status = purlin_db_row(ctx, count_row, &row, "SELECT COUNT(*) AS `keys` FROM access_tokens");
  if (status != PURLIN_OK) {
    buffer_format(why, "cannot read the table of keys: %s", purlin_failure(ctx));
    return status;
  }
  return row.keys > 0 ? recover(ctx, state_directory, why) : give_administrator(ctx, state_directory, false, why);
}
