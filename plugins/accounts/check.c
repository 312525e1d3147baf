#include "directories.h"
#include <string.h>

/* How long a wrong password takes at least where there are directories: longer than most of them take to say so. */
enum { REFUSED_AFTER_MS = 400 };

static const char SELECT_LOGIN[] = "SELECT " LOGIN_COLUMNS " FROM accounts_users WHERE name = ?";
static const char REHASH[] = "UPDATE accounts_users SET password_hash = ? WHERE id = ? AND password_hash = ?";

static char nobodys_hash[PASSWORD_HASH_SIZE]; /* set at start */

typedef struct work {
  const char *password, *hash;
  int cost;
  char made[PASSWORD_HASH_SIZE];
  bool right;
} work;

static purlin_status make_hash(void *argument) {
  work *w = argument;
  return password_hash(w->password, w->cost, w->made) ? PURLIN_OK : PURLIN_UNAVAILABLE;
}

static purlin_status check_hash(void *argument) {
  work *w = argument;
  w->right = password_matches(w->password, w->hash);
  return PURLIN_OK;
}

static int configured_cost(void) { return (int)accounts_configured()->password_cost; }

purlin_status accounts_checks_start(purlin_ctx *ctx) {
  work w = {.password = "nobody has this password", .cost = configured_cost()};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make_hash, &w);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "no password can be hashed by libcrypt");
  memcpy(nobodys_hash, w.made, sizeof nobodys_hash);
  return PURLIN_OK;
}

purlin_status accounts_hash(purlin_ctx *ctx, const char *field, const char *password, const char *name, const char **hash) {
  const char *flaw = password_flaw(password, name);
  if (flaw) return purlin_fail_field(ctx, field, "%s", flaw);
  work w = {.password = password, .cost = configured_cost()};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make_hash, &w);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "the password cannot be hashed now");
  *hash = purlin_copy(ctx, w.made);
  return *hash ? PURLIN_OK : PURLIN_TOO_LARGE;
}

purlin_status accounts_matches(purlin_ctx *ctx, const char *password, const char *hash, bool *right) {
  work w = {.password = password, .hash = hash};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, check_hash, &w);
  *right = w.right;
  return status;
}

/* With the cost that is configured now. That it cannot be done does not keep anybody out. */
static void upgrade(purlin_ctx *ctx, const login_row *of, const char *password) {
  work w = {.password = password, .cost = configured_cost()};
  if (password_hash_is_current(of->password_hash, w.cost)) return;
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make_hash, &w);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, REHASH, w.made, of->id, of->password_hash);
  if (status != PURLIN_OK) purlin_clear_failure(ctx);
}

/* By the hash that is kept here; without one it takes as long. */
static purlin_status judge_here(purlin_ctx *ctx, const login_row *of, const char *password) {
  bool may = of->id && !of->disabled && of->password_hash;
  bool right = false;
  purlin_status status = accounts_matches(ctx, password, may ? of->password_hash : nobodys_hash, &right);
  if (status != PURLIN_OK) return status;
  if (!may || !right) return PURLIN_UNAUTHENTICATED;
  upgrade(ctx, of, password);
  return PURLIN_OK;
}

/* Whose name it is, judges: we, or a directory; when it is nobody's yet, whichever directory knows it. */
static purlin_status judge(purlin_ctx *ctx, const char *name, const char *password, login_row *out) {
  purlin_status status = purlin_db_row(ctx, login_row, out, SELECT_LOGIN, name);
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  bool ours = status == PURLIN_OK && (!*out->directory || out->disabled);
  if (ours) return judge_here(ctx, out, password);
  const char *owner = status == PURLIN_OK ? out->directory : "";
  *out = (login_row){0};
  status = directories_check(ctx, owner, name, password, out);
  if (status != PURLIN_NOT_FOUND) return status;
  return judge_here(ctx, &(login_row){0}, password);
}

/* Where directories are asked, what they take must not tell who is whose. */
static purlin_status refuse(purlin_ctx *ctx, uint64_t since_ns) {
  uint64_t passed_ms = (purlin_ticks_ns() - since_ns) / 1000000;
  if (passed_ms < REFUSED_AFTER_MS && directories_exist(ctx)) {
    purlin_status status = purlin_sleep(ctx, (uint32_t)(REFUSED_AFTER_MS - passed_ms));
    if (status != PURLIN_OK) return status;
  }
  return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the name or the password is wrong");
}

purlin_status accounts_check(purlin_ctx *ctx, const char *name, const char *password, const char *address, login_row *out) {
  uint64_t since_ns = purlin_ticks_ns();
  *out = (login_row){0};
  purlin_status status = accounts_attempt(ctx, name, address);
  if (status == PURLIN_OK) status = judge(ctx, name, password, out);
  if (status == PURLIN_UNAUTHENTICATED) return refuse(ctx, since_ns);
  return status == PURLIN_OK ? accounts_attempt_succeeded(ctx, name, address) : status;
}
