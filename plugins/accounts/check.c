#include "accounts.h"
#include <string.h>

static const char SELECT_LOGIN[] = "SELECT id, name, password_hash, version FROM accounts_users"
                                   " WHERE name = ? AND disabled_at IS NULL AND password_hash IS NOT NULL";
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

static int configured_cost(purlin_ctx *ctx) {
  const accounts_configuration *configured = purlin_configuration(ctx);
  return (int)configured->password_cost;
}

purlin_status accounts_checks_start(purlin_ctx *ctx) {
  work w = {.password = "nobody has this password", .cost = configured_cost(ctx)};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make_hash, &w);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "no password can be hashed by libcrypt");
  memcpy(nobodys_hash, w.made, sizeof nobodys_hash);
  return PURLIN_OK;
}

purlin_status accounts_hash(purlin_ctx *ctx, const char *field, const char *password, const char *name, const char **hash) {
  const char *flaw = password_flaw(password, name);
  if (flaw) return purlin_fail_field(ctx, field, "%s", flaw);
  work w = {.password = password, .cost = configured_cost(ctx)};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make_hash, &w);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "the password cannot be hashed now");
  *hash = purlin_copy(ctx, w.made);
  return *hash ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* With the cost that is configured now. That it cannot be done does not keep anybody out. */
static void upgrade(purlin_ctx *ctx, const login_row *of, const char *password) {
  work w = {.password = password, .cost = configured_cost(ctx)};
  if (password_hash_is_current(of->password_hash, w.cost)) return;
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, make_hash, &w);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, REHASH, w.made, of->id, of->password_hash);
  if (status != PURLIN_OK) purlin_clear_failure(ctx);
}

purlin_status accounts_check(purlin_ctx *ctx, const char *name, const char *password, const char *address, login_row *out) {
  *out = (login_row){0};
  purlin_status status = accounts_attempt(ctx, name, address);
  if (status != PURLIN_OK) return status;
  status = purlin_db_row(ctx, login_row, out, SELECT_LOGIN, name);
  if (status != PURLIN_OK && status != PURLIN_NOT_FOUND) return status;
  bool known = status == PURLIN_OK;
  work w = {.password = password, .hash = known ? out->password_hash : nobodys_hash};
  status = purlin_offload(ctx, PURLIN_POOL_BLOCKING, check_hash, &w);
  if (status != PURLIN_OK) return status;
  if (!known || !w.right) return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "the name or the password is wrong");
  upgrade(ctx, out, password);
  return accounts_attempt_succeeded(ctx, name, address);
}
