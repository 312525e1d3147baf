#include "webhooks.h"

static const char WANTED[] =
    "SELECT id, url, active FROM webhooks_hooks WHERE workspace = ? AND active AND JSON_CONTAINS(events, JSON_QUOTE(?)) ORDER BY id";
static const char ADD[] =
    "INSERT INTO webhooks_deliveries (id, workspace, hook_id, event, body, state, created_at) VALUES (?, ?, ?, ?, ?, 'waiting', NOW(6))";
static const char SELECT_BODY[] =
    "SELECT hook_id, body FROM webhooks_deliveries WHERE workspace = ? AND id = ? AND state = 'waiting'";
static const char SELECT_TARGET[] = "SELECT id, url, active, sealed FROM webhooks_hooks WHERE workspace = ? AND id = ?";
static const char NOTE[] = "UPDATE webhooks_deliveries SET attempts = attempts + 1, state = ?, answered = ?, error = ?,"
                           " ended_at = IF(? = 'waiting', NULL, NOW(6)) WHERE workspace = ? AND id = ?";
static const char OLDEST_KEPT[] =
    "SELECT created_at FROM webhooks_deliveries WHERE hook_id = ? ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?";
static const char FORGET[] = "DELETE FROM webhooks_deliveries WHERE hook_id = ? AND created_at < ? AND state <> 'waiting'";

typedef struct delivery_in {
  const char *delivery;
} delivery_in;
PURLIN_SCHEMA(delivery_in, "A delivery", PURLIN_REQUIRED(delivery, "Its id", .max_length = 64));

typedef struct delivery_row {
  const char *hook_id;
  purlin_json body;
} delivery_row;
PURLIN_SCHEMA(delivery_row, "A delivery", PURLIN_REQUIRED(hook_id, "to"), PURLIN_REQUIRED(body, "what"));

typedef struct time_row {
  purlin_time created_at;
} time_row;
PURLIN_SCHEMA(time_row, "A time", PURLIN_REQUIRED(created_at, "when"));

/* ---- Into the queue -------------------------------------------------------------------------------------------------------------------- */

typedef struct posting {
  const char *event;
  purlin_json body;
} posting;

static purlin_status post(purlin_ctx *ctx, void *argument) {
  const posting *p = argument;
  struct {
    PURLIN_LIST_OF(webhook_target) rows;
  } wanted;
  purlin_status status = purlin_db_list(ctx, webhook_target, &wanted.rows, WANTED, purlin_workspace(ctx), p->event);
  for (size_t i = 0; status == PURLIN_OK && i < wanted.rows.count; i++) {
    const delivery_in in = {purlin_new_id(ctx, "dlv")};
    if (!in.delivery) return PURLIN_TOO_LARGE;
    status = purlin_db_run(ctx, ADD, in.delivery, purlin_workspace(ctx), wanted.rows.items[i].id, p->event, p->body);
    if (status == PURLIN_OK) status = purlin_enqueue(ctx, "webhooks.deliver", delivery_in_schema(), &in, NULL, NULL);
  }
  return status;
}

purlin_status webhook_enqueue(purlin_ctx *ctx, const char *event, const purlin_schema *schema, const void *data) {
  posting p = {.event = event};
  purlin_json json;
  purlin_status status = purlin_encode(ctx, schema, data, &json);
  if (status == PURLIN_OK) status = webhook_body(ctx, event, json, &p.body);
  return status == PURLIN_OK ? purlin_transaction(ctx, post, &p) : status;
}

/* ---- Out of it -------------------------------------------------------------------------------------------------------------------------- */

static purlin_status note(purlin_ctx *ctx, const char *delivery, const char *state, unsigned answered, const char *error) {
  purlin_opt_int answer = {answered ? PURLIN_SET : PURLIN_ABSENT, answered};
  const char *cut = error ? purlin_format(ctx, "%.900s", error) : NULL;
  return purlin_db_run(ctx, NOTE, state, answer, cut, state, purlin_workspace(ctx), delivery);
}

static purlin_status forget_old(purlin_ctx *ctx, const char *hook) {
  time_row oldest;
  purlin_status status = purlin_db_row(ctx, time_row, &oldest, OLDEST_KEPT, hook, (int)WEBHOOKS_HISTORY);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  return status == PURLIN_OK ? purlin_db_run(ctx, FORGET, hook, oldest.created_at) : status;
}

/* What cannot become better by waiting. */
static bool is_final(purlin_status status) { return status == PURLIN_FORBIDDEN || status == PURLIN_INVALID; }

PURLIN_JOB(deliver, delivery_in, .summary = "Tell an address of an event", .max_attempts = 12, .backoff_ms = 2000, .timeout_ms = 60000, .concurrency = 32) {
  delivery_row row;
  webhook_target to;
  purlin_http_answer answer = {0};
  purlin_status status = purlin_db_row(ctx, delivery_row, &row, SELECT_BODY, purlin_workspace(ctx), in->delivery);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK; /* its hook was deleted, or it has been delivered */
  if (status == PURLIN_OK)
    status = purlin_db_row(ctx, webhook_target, &to, SELECT_TARGET, purlin_workspace(ctx), row.hook_id);
  if (status == PURLIN_NOT_FOUND) return PURLIN_OK;
  if (status != PURLIN_OK) return status;
  if (!to.active) return note(ctx, in->delivery, "failed", 0, "the webhook is disabled");
  purlin_status sent = webhook_send(ctx, &to, in->delivery, row.body, &answer);
  bool heard = sent == PURLIN_OK && webhook_was_heard(&answer);
  bool ends = heard || is_final(sent) || purlin_job_is_last(ctx);
  const char *why = heard               ? NULL
                    : sent == PURLIN_OK ? "it answered that it has not"
                                        : purlin_copy(ctx, purlin_failure(ctx));
  status = note(ctx, in->delivery, heard ? "delivered" : ends ? "failed" : "waiting", answer.status, why);
  if (status == PURLIN_OK && ends) status = forget_old(ctx, row.hook_id);
  if (status != PURLIN_OK || ends) return status;
  return sent == PURLIN_OK ? purlin_fail(ctx, PURLIN_BAD_UPSTREAM, "a webhook answered %u", answer.status) : sent;
}
