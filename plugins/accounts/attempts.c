/* attempts.c: whoever guesses passwords waits longer and longer.
 *
 * Failures are counted by name and address (of IPv6: its network), so that nobody locks others out, and stored, so that they hold on all
 * nodes. An attempt counts as failed before its password is looked at: guesses that come at once are counted, too. */
#include "accounts.h"
#include "network.h"

enum { FREE_FAILURES = 8, LONGEST_DELAY_S = 900, FORGOTTEN_AFTER_S = 3600 };

typedef struct attempt_row {
  int64_t failures, wait_ms, idle_s;
} attempt_row;
PURLIN_SCHEMA(attempt_row, "What failed",
    PURLIN_REQUIRED(failures, "so often"),
    PURLIN_REQUIRED(wait_ms, "how long until the next; negative: none"),
    PURLIN_REQUIRED(idle_s, "since the last"));

static const char SELECT_LOCKED[] =
    "SELECT failures, TIMESTAMPDIFF(MICROSECOND, NOW(6), next_at) DIV 1000 AS wait_ms, TIMESTAMPDIFF(SECOND, at, NOW(6)) AS idle_s"
    " FROM accounts_attempts WHERE id = ? FOR UPDATE";
/* What is not there cannot be locked: of several first attempts each waits here for the one before. */
static const char BEGIN[] = "INSERT INTO accounts_attempts (id, failures, at, next_at) VALUES (?, 0, NOW(6), NOW(6))"
                            " ON DUPLICATE KEY UPDATE failures = failures";
static const char COUNT[] = "UPDATE accounts_attempts SET failures = ?, at = NOW(6), next_at = NOW(6) + INTERVAL ? SECOND"
                            " WHERE id = ?";
static const char FORGET[] = "DELETE FROM accounts_attempts WHERE id = ?";

/* 0 for the first, then 1, 2, 4, ... seconds. */
static int64_t delay_s(int64_t failures) {
  int64_t beyond = failures - FREE_FAILURES;
  if (beyond < 0) return 0;
  return beyond > 9 ? LONGEST_DELAY_S : (int64_t)1 << beyond;
}

typedef struct counting {
  char id[65];
  int64_t wait_ms;
} counting;

static purlin_status count(purlin_ctx *ctx, void *argument) {
  counting *c = argument;
  attempt_row row = {0};
  c->wait_ms = 0;
  purlin_status status = purlin_db_row(ctx, attempt_row, &row, SELECT_LOCKED, c->id);
  if (status == PURLIN_NOT_FOUND) {
    status = purlin_db_run(ctx, BEGIN, c->id);
    if (status == PURLIN_OK) status = purlin_db_row(ctx, attempt_row, &row, SELECT_LOCKED, c->id);
  }
  if (status != PURLIN_OK) return status;
  /* Who waited for the row sees the clock as it was before: without a delay that is none. */
  if (row.wait_ms > 0 && delay_s(row.failures) > 0) return c->wait_ms = row.wait_ms, PURLIN_OK;
  int64_t failures = row.idle_s > FORGOTTEN_AFTER_S ? 1 : row.failures + 1;
  return purlin_db_run(ctx, COUNT, failures, delay_s(failures), c->id);
}

static purlin_status id_of(purlin_ctx *ctx, const char *name, const char *address, char id[65]) {
  char network[NETWORK_ROOM];
  network_of(address, network);
  /* Names hold no '|'; one that does is nobody's. */
  const char *both = purlin_format(ctx, "%s|%s", name, network);
  if (!both) return PURLIN_TOO_LARGE;
  size_t size = 0;
  while (both[size]) size++;
  purlin_sha256(both, size, id);
  return PURLIN_OK;
}

purlin_status accounts_attempt(purlin_ctx *ctx, const char *name, const char *address) {
  counting c = {0};
  purlin_status status = id_of(ctx, name, address, c.id);
  if (status == PURLIN_OK)
    status = purlin_transaction_apart(ctx, count, &c); /* it stays counted when what asked for it fails */
  if (status != PURLIN_OK || c.wait_ms == 0) return status;
  purlin_retry_after(ctx, (uint32_t)((c.wait_ms + 999) / 1000));
  return purlin_fail(ctx, PURLIN_TOO_MANY, "too many attempts failed; try again later");
}

purlin_status accounts_attempt_succeeded(purlin_ctx *ctx, const char *name, const char *address) {
  char id[65];
  purlin_status status = id_of(ctx, name, address, id);
  return status == PURLIN_OK ? purlin_db_run(ctx, FORGET, id) : status;
}
