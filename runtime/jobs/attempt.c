/* attempt.c: one attempt of a job: its context and identity, the fence around what it writes, and how it ends. */
#include "jobs/internal.h"

#include "core/text.h"
#include "db/db.h"

#include <stdlib.h>
#include <string.h>

#define MOST_BACKOFF_MS UINT64_C(3600000)
#define PROGRESS_EVERY_MS 1000u
#define MOST_ERROR 2000
#define MOST_PROGRESS_TEXT 500u

static jobs_identify *identify;

void jobs_set_identify(jobs_identify *how) { identify = how; }

void attempt_free(attempt *a) {
  batch *b = a->batch;
  if (--b->members > 0) return;
  arena_free(&b->memory);
  free(b);
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

/* ---- The fence ------------------------------------------------------------------------------------------------------------- */

#define OURS "id = ? AND attempt = ? AND state = 1 AND lease_owner = ?"

/* Runs within each transaction of the attempt, last before the commit: holds the row until then, so that no other attempt
 * can be claimed meanwhile. */
static purlin_status check_fence(purlin_ctx *ctx, void *argument) {
  attempt *a = argument;
  id_row row;
  purlin_status status =
      purlin_db_row(ctx, id_row, &row, "SELECT id FROM purlin_jobs WHERE " OURS " AND lease_until > NOW(6) FOR UPDATE",
                    a->id, a->number, node.owner);
  if (status != PURLIN_NOT_FOUND) return status;
  a->stop = STOP_LOST;
  ctx->cancelled = true;
  return purlin_fail(ctx, PURLIN_CANCELLED, "attempt %lld of job %s has lost its lease: what it did is not kept",
                     (long long)a->number, a->public_id);
}

/* ---- Ends -------------------------------------------------------------------------------------------------------------------- */

static uint64_t backoff_us(const attempt *a) {
  uint64_t wait_ms = a->kind->backoff_ms;
  /* Attempts that did not count raised max_attempts instead. */
  int64_t spent = a->number - (a->max_attempts - (int64_t)a->kind->max_attempts);
  for (int64_t i = 1; i < spent && wait_ms < MOST_BACKOFF_MS; i++) wait_ms *= 2;
  if (wait_ms > MOST_BACKOFF_MS) wait_ms = MOST_BACKOFF_MS;
  uint32_t noise;
  text_random(&noise, sizeof noise);
  return wait_ms * 750 + wait_ms * 500 / 1000 * (noise % 1001); /* three quarters to five quarters of it */
}

/* The first bytes of a text, cut between characters. */
static const char *excerpt(purlin_ctx *ctx, const char *text, size_t most) {
  size_t size = strlen(text);
  if (size > most) size = most;
  while (size > 0 && text[size] != '\0' && ((unsigned char)text[size] & 0xC0) == 0x80) size--;
  const char *copy = purlin_copy_bytes(ctx, text, size);
  return copy != NULL ? copy : "";
}

/* What was recorded, and about which field. */
static const char *failure_text(purlin_ctx *ctx, purlin_status status) {
  const char *said = purlin_failure(ctx);
  if (said[0] == '\0') said = purlin_status_text(status);
  if (ctx->field_count == 0) return excerpt(ctx, said, MOST_ERROR);
  const char *whole = purlin_format(ctx, "%s: %s: %s", said, ctx->fields[0].field, ctx->fields[0].message);
  return excerpt(ctx, whole != NULL ? whole : said, MOST_ERROR);
}

typedef enum ending {
  ENDING_SUCCEEDED,
  ENDING_RETRIED,
  ENDING_FAILED,
  ENDING_CANCELLED,
  ENDING_RELEASED,
  ENDING_LOST
} ending;
static const char *const ending_names[] = {"succeeded", "retried", "failed", "cancelled", "released", "lost"};

static const char END_JOB[] = "UPDATE purlin_jobs SET state = ?, error = ?, ended_at = NOW(6), unique_key = NULL, "
                              "lease_until = NULL, lease_owner = NULL "
                              "WHERE " OURS;
/* `max_attempts` grows by one where the attempt is not to count. */
static const char RETRY_JOB[] = "UPDATE purlin_jobs SET state = 0, error = ?, run_at = NOW(6) + INTERVAL ? MICROSECOND, "
                                "max_attempts = max_attempts + ?,"
                                "  lease_until = NULL, lease_owner = NULL "
                                "WHERE " OURS;

static purlin_status write_ending(purlin_ctx *ctx, const attempt *a, ending how, const char *error) {
  switch (how) {
  case ENDING_SUCCEEDED:
    return purlin_db_run(ctx, END_JOB, JOB_SUCCEEDED, (const char *)NULL, a->id, a->number, node.owner);
  case ENDING_FAILED: return purlin_db_run(ctx, END_JOB, JOB_FAILED, error, a->id, a->number, node.owner);
  case ENDING_CANCELLED: return purlin_db_run(ctx, END_JOB, JOB_CANCELLED, error, a->id, a->number, node.owner);
  case ENDING_RETRIED: return purlin_db_run(ctx, RETRY_JOB, error, (int64_t)backoff_us(a), 0, a->id, a->number, node.owner);
  case ENDING_RELEASED: return purlin_db_run(ctx, RETRY_JOB, error, 0, 1, a->id, a->number, node.owner);
  default: return PURLIN_OK;
  }
}

/* While the database is away the end is written again and again, as long as the lease may still be ours; then the job comes
 * back by itself. */
static ending record(purlin_ctx *ctx, attempt *a, ending how, const char *error) {
  uint64_t give_up_ms = now_ms() + node.options.lease_ms;
  uint32_t wait_ms = 50;
  db_set_fence(ctx, NULL, NULL);
  db_set_read_only(ctx, false);
  context_shield(ctx, node.options.lease_ms);
  for (;;) {
    purlin_status status = write_ending(ctx, a, how, error);
    if (status == PURLIN_OK) break;
    if (status == PURLIN_INTERNAL || now_ms() + wait_ms > give_up_ms) {
      purlin_log(ctx, PURLIN_ERROR, "the end of attempt %lld of job %s was not recorded (%s): %s", (long long)a->number,
                 a->public_id, ending_names[how], purlin_failure(ctx));
      how = ENDING_LOST;
      break;
    }
    loop_sleep(wait_ms);
    wait_ms = wait_ms < 2000 ? wait_ms * 2 : 2000;
  }
  if (how != ENDING_LOST && purlin_affected(ctx) == 0) {
    purlin_log(ctx, PURLIN_WARNING, "attempt %lld of job %s had lost its lease at its end (%s)", (long long)a->number,
               a->public_id, ending_names[how]);
    how = ENDING_LOST;
  }
  context_unshield(ctx);
  return how;
}

static ending judge(const attempt *a, purlin_status status, bool hopeless) {
  if (status == PURLIN_OK) return ENDING_SUCCEEDED;
  if (a->stop == STOP_LOST) return ENDING_LOST;
  if (a->stop == STOP_CANCEL) return ENDING_CANCELLED;
  if (a->stop == STOP_DRAIN) return ENDING_RELEASED;
  return hopeless || a->number >= a->max_attempts ? ENDING_FAILED : ENDING_RETRIED;
}

static void end_attempt(purlin_ctx *ctx, attempt *a, purlin_status status, bool hopeless, uint64_t began_ns) {
  ending how = judge(a, status, hopeless);
  bool complete = how == ENDING_SUCCEEDED && a->kind->pure;
  if (!complete) {
    const char *error = failure_text(ctx, status);
    if (how == ENDING_FAILED)
      purlin_log(ctx, PURLIN_ERROR, "job %s (%s) failed for good at attempt %lld: %s", a->public_id, a->kind->name,
                 (long long)a->number, error);
    else if (how == ENDING_RETRIED)
      purlin_log(ctx, PURLIN_WARNING, "attempt %lld of job %s (%s) failed: %s", (long long)a->number, a->public_id,
                 a->kind->name, error);
    how = record(ctx, a, how, error);
  }
  jobs_metrics_finished(a, ending_names[how], began_ns);
}

/* ---- The run ------------------------------------------------------------------------------------------------------------------- */

static void prepare(purlin_ctx *ctx, attempt *a) {
  a->ctx = ctx;
  ctx->attempt = a;
  ctx->job = a->public_id;
  ctx->plugin_state = a->kind->owner;
  ctx->workspace = a->workspace;
  ctx->project = a->project;
  ctx->actor = a->actor;
  if (identify != NULL) identify(ctx, a->actor, a->workspace, a->project);
  if (strlen(a->trace_id) == 32) memcpy(ctx->trace.trace_id, a->trace_id, 33);
  if (a->kind->timeout_ms != UINT32_MAX) context_set_deadline(ctx, a->kind->timeout_ms);
  if (a->kind->pure) db_set_read_only(ctx, true);
  else db_set_fence(ctx, check_fence, a);
  /* Told to stop before it began, or begun while its like are being stopped. */
  if (a->kind->resumes && a->stop == STOP_NONE && atomic_load(&node.draining)) a->stop = STOP_DRAIN;
  if (a->stop != STOP_NONE) ctx->cancelled = true;
}

static void note_duration(job_kind *kind, uint64_t began_ns) {
  uint64_t took_us = (purlin_ticks_ns() - began_ns) / 1000;
  uint32_t mine = took_us < 1000000 ? (uint32_t)took_us : 1000000;
  uint32_t old = atomic_load_explicit(&kind->typical_us, memory_order_relaxed);
  atomic_store_explicit(&kind->typical_us, old == UINT32_MAX ? mine : (old * 7 + mine) / 8, memory_order_relaxed);
}

static void run_attempt(purlin_ctx *ctx, void *argument) {
  attempt *a = argument;
  uint64_t began_ns = purlin_ticks_ns();
  prepare(ctx, a);
  jobs_metrics_started(a);
  void *in = purlin_alloc(ctx, a->kind->schema->struct_size);
  purlin_status status =
      in == NULL ? PURLIN_TOO_LARGE : purlin_decode_stored(ctx, a->kind->schema, a->payload.text, a->payload.size, in);
  bool hopeless = status != PURLIN_OK; /* a payload that cannot be read will not be readable later */
  if (status == PURLIN_OK) status = a->kind->run(ctx, in);
  note_duration(a->kind, began_ns);
  end_attempt(ctx, a, status, hopeless, began_ns);
  running_remove(a); /* from here on nobody finds the context, which ends after this */
  a->ctx = NULL;
  ctx->attempt = NULL;
  ctx->job = NULL;
  claimer_ended(a->claimer, a, status == PURLIN_OK && a->kind->pure);
}

/* No fiber to be had: the lease runs out by itself, unless the next look finds room. */
void attempt_start(attempt *a) {
  if (context_start(a->kind->plugin, a->kind->name, run_attempt, a) == PURLIN_OK) return;
  purlin_log(NULL, PURLIN_WARNING, "no fiber for attempt %lld of job %s: it comes again when its lease has run out",
             (long long)a->number, a->public_id);
  running_remove(a);
  claimer_ended(a->claimer, a, false);
}

/* ---- What a job sees ------------------------------------------------------------------------------------------------------------- */

const char *purlin_job_id(const purlin_ctx *ctx) { return ctx->job; }

bool purlin_job_is_last(const purlin_ctx *ctx) {
  return ctx->attempt != NULL && ctx->attempt->number >= ctx->attempt->max_attempts;
}

uint32_t purlin_job_attempt(const purlin_ctx *ctx) { return ctx->attempt != NULL ? (uint32_t)ctx->attempt->number : 0; }

purlin_status purlin_job_progress(purlin_ctx *ctx, double fraction, const char *text) {
  attempt *a = ctx->attempt;
  purlin_status status = purlin_still_wanted(ctx);
  if (a == NULL || status != PURLIN_OK) return status;
  uint64_t now = now_ms();
  bool end = fraction >= 1 && a->progress_ms != 0;
  /* Within a transaction it would hold the row for as long, and the lease could not be renewed. */
  if (a->kind->pure || db_in_transaction(ctx) || (!end && a->progress_ms != 0 && now - a->progress_ms < PROGRESS_EVERY_MS))
    return PURLIN_OK;
  a->progress_ms = now;
  if (!(fraction >= 0)) fraction = 0; /* NaN too */
  if (fraction > 1) fraction = 1;
  const char *shown = text != NULL ? excerpt(ctx, text, MOST_PROGRESS_TEXT) : NULL;
  return purlin_db_run(ctx, "UPDATE purlin_jobs SET progress = ?, progress_text = ? WHERE " OURS, fraction, shown, a->id,
                       a->number, node.owner);
}
