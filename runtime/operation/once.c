/* once.c: Idempotency-Key: a creating request that is sent again, because its answer was lost, is answered as it was and creates
 * nothing twice.
 *
 * The answer is kept in the transaction of what was created, so both are there or neither. Two that run at once with one key both
 * do their work; the second to commit finds the first's answer, rolls back and gives that. Failures are not kept: who failed may
 * try again. Answers go after a day. */
#include "operation/once.h"
#include "core/text.h"
#include <purlin/database.h>
#include <purlin/job.h>
#include <string.h>

enum { LONGEST_KEY = 255, SWEPT_AT_ONCE = 1000, MOST_SWEEPS = 1000 };

typedef struct kept_row {
  const char *operation, *input_hash;
  purlin_json answer;
} kept_row;
PURLIN_SCHEMA(kept_row, "What a key was used for",
    PURLIN_REQUIRED(operation, "The operation"),
    PURLIN_REQUIRED(input_hash, "Of its input"),
    PURLIN_OPTIONAL(answer, "What it was answered"));

static const char SELECT_KEPT[] =
    "SELECT operation, input_hash, answer FROM purlin_answers WHERE workspace = ? AND actor = ? AND idempotency_key = ?";
static const char INSERT_KEPT[] =
    "INSERT INTO purlin_answers (workspace, actor, idempotency_key, operation, input_hash, answer, created_at)"
    " VALUES (?, ?, ?, ?, ?, ?, NOW(6))";

purlin_status once_begin(purlin_ctx *ctx, const char *key, const operation *op, const void *in, once *out) {
  *out = (once){.key = key};
  size_t size = strnlen(key, LONGEST_KEY + 1);
  if (size == 0 || size > LONGEST_KEY || !text_is_plain(key, size))
    return purlin_fail(ctx, PURLIN_INVALID, "Idempotency-Key must be 1 to %d printable characters", LONGEST_KEY);
  purlin_json input;
  purlin_status status = purlin_encode(ctx, op->in, in, &input);
  if (status != PURLIN_OK) return status;
  const char *all = purlin_format(ctx, "%s\n%s", purlin_project(ctx), input.text);
  if (!all) return PURLIN_TOO_LARGE;
  purlin_sha256(all, strlen(all), out->input_hash);
  return PURLIN_OK;
}

purlin_status once_recall(purlin_ctx *ctx, once *o, const operation *op, void *answer) {
  kept_row row;
  purlin_status status = purlin_db_row(ctx, kept_row, &row, SELECT_KEPT, purlin_workspace(ctx), purlin_actor(ctx), o->key);
  if (status != PURLIN_OK) return status;
  if (strcmp(row.operation, op->name) != 0 || strcmp(row.input_hash, o->input_hash) != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "this Idempotency-Key was used for another request");
  if (!row.answer.text)
    return purlin_fail(ctx, PURLIN_CONFLICT, "this was done already; its answer held a secret, which is shown once");
  return purlin_decode_stored(ctx, op->out, row.answer.text, row.answer.size, answer);
}

purlin_status once_keep(purlin_ctx *ctx, once *o, const operation *op, const void *answer) {
  purlin_json text = {0};
  purlin_status status = op->declared->answers_secret ? PURLIN_OK : purlin_encode(ctx, op->out, answer, &text);
  if (status != PURLIN_OK) return status;
  return purlin_db_run(ctx, INSERT_KEPT, purlin_workspace(ctx), purlin_actor(ctx), o->key, op->name, o->input_hash, text);
}

/* ---- Forgetting --------------------------------------------------------------------------------------------------------------- */

static const char SWEEP[] = "DELETE FROM purlin_answers WHERE created_at < NOW(6) - INTERVAL 1 DAY LIMIT ?";

PURLIN_JOB(forget_answers, purlin_nothing, .summary = "Forgets for which requests an Idempotency-Key was used, a day after", .max_attempts = 2) {
  (void)in;
  for (int round = 0; round < MOST_SWEEPS; round++) {
    purlin_status status = purlin_db_run(ctx, SWEEP, (int64_t)SWEPT_AT_ONCE);
    if (status != PURLIN_OK || purlin_affected(ctx) < SWEPT_AT_ONCE) return status;
  }
  return PURLIN_OK;
}
PURLIN_SCHEDULE(forget_answers, "@every 10m", .job = "purlin.forget_answers");

PURLIN_MIGRATION(answers_0001, "answers_0001",
                 "CREATE TABLE purlin_answers (\n"
                 "  workspace       VARCHAR(64)  NOT NULL,\n"
                 "  actor           VARCHAR(250) NOT NULL,\n"
                 "  idempotency_key VARCHAR(255) NOT NULL,\n"
                 "  operation       VARCHAR(250) NOT NULL,\n"
                 "  input_hash      CHAR(64)     NOT NULL,\n"
                 "  answer          MEDIUMTEXT   NULL COMMENT 'NULL: it held a secret',\n"
                 "  created_at      DATETIME(6)  NOT NULL,\n"
                 "  PRIMARY KEY (workspace, actor, idempotency_key),\n"
                 "  KEY (created_at)\n"
                 ") CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;\n")
