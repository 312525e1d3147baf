/* operations.c: what people may do with the queue. */
#include <purlin/operation.h>

#include "jobs/explain.h"
#include "jobs/internal.h"

#define STATES "waiting, running, succeeded, failed, cancelled"

typedef struct job_view {
  const char *id, *name, *state, *project, *actor, *unique_key, *progress_text, *error, *trace_id;
  int64_t priority, attempt, max_attempts;
  bool cancel_asked;
  purlin_opt_double progress;
  purlin_time run_at, created_at, started_at, ended_at;
  purlin_json payload;
} job_view;

PURLIN_SCHEMA(job_view, "A job",
    PURLIN_REQUIRED(id, "Public id"),
    PURLIN_REQUIRED(name, "Its kind: PLUGIN.NAME"),
    PURLIN_REQUIRED(state, "Where it stands; failed: a dead letter, all attempts are used up", .choices = STATES),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(actor, "Who enqueued it"),
    PURLIN_OPTIONAL(unique_key, "While it waits or runs, no other of this name has this key"),
    PURLIN_REQUIRED(priority, "Higher first"),
    PURLIN_REQUIRED(attempt, "Attempts so far"),
    PURLIN_REQUIRED(max_attempts, "Then it has failed"),
    PURLIN_REQUIRED(cancel_asked, "Somebody has asked it to stop"),
    PURLIN_OPTIONAL(progress, "From 0 to 1, of the last attempt"),
    PURLIN_OPTIONAL(progress_text, "What it is doing"),
    PURLIN_OPTIONAL(error, "Of the last attempt that failed"),
    PURLIN_REQUIRED(trace_id, "The trace of what enqueued it"),
    PURLIN_OPTIONAL(run_at, "When it may start"),
    PURLIN_OPTIONAL(created_at, "When it was enqueued"),
    PURLIN_OPTIONAL(started_at, "When the last attempt started"),
    PURLIN_OPTIONAL(ended_at, "When it ended"),
    PURLIN_OPTIONAL(payload, "Its input; secrets are hidden; only of single jobs"));

#define VIEW_COLUMNS                                                                                                       \
  "public_id AS id, name, ELT(state + 1, 'waiting', 'running', 'succeeded', 'failed', 'cancelled') AS state, project, "    \
  "actor,"                                                                                                                 \
  " unique_key, -urgency AS priority, attempt, max_attempts, cancel_asked, progress, progress_text, error, trace_id,"      \
  " run_at, created_at, started_at, ended_at"

/* ---- List -------------------------------------------------------------------------------------------------------------------- */

typedef struct jobs_list_in {
  const char *state, *name, *after;
  int64_t limit;
} jobs_list_in;
PURLIN_SCHEMA(jobs_list_in, "Which jobs to list",
    PURLIN_OPTIONAL(state, "Only those that stand so", .choices = STATES),
    PURLIN_OPTIONAL(name, "Only those of this kind", .max_length = 150),
    PURLIN_OPTIONAL(after, "Go on after this job: `next` of the page before", .max_length = 40),
    PURLIN_DEFAULT(limit, "50", "How many", .min = 1, .max = 500));

typedef struct jobs_page {
  PURLIN_LIST_OF(job_view) jobs;
  const char *next;
} jobs_page;
PURLIN_SCHEMA(jobs_page, "Jobs, the latest first",
    PURLIN_LIST(jobs, job_view, "The jobs"),
    PURLIN_OPTIONAL(next, "For the next page; absent on the last one"));

/* The table is named in the order: `id` alone would be the public id, which is random text. */
static const char LIST_JOBS[] =
    "SELECT " VIEW_COLUMNS " FROM purlin_jobs "
    "WHERE workspace = ? AND id < ? AND (? IS NULL OR state = ?) AND (? IS NULL OR name = ?) ORDER BY purlin_jobs.id DESC LIMIT ?";

PURLIN_OPERATION(jobs_list, jobs_list_in, jobs_page,
    .summary = "List jobs, the latest first", .permission = "jobs:read", .http = "GET /api/v1/jobs") {
  id_row after = {INT64_MAX};
  purlin_opt_int state = {PURLIN_ABSENT, 0};
  if (in->state != NULL && job_state_of(in->state, &state.value)) state.state = PURLIN_SET;
  if (in->after != NULL) {
    purlin_status found =
        purlin_db_row(ctx, id_row, &after, "SELECT id FROM purlin_jobs WHERE public_id = ? AND workspace = ?", in->after,
                      purlin_workspace(ctx));
    if (found == PURLIN_NOT_FOUND) return purlin_fail_field(ctx, "after", "there is no such job (any more)");
    if (found != PURLIN_OK) return found;
  }
  purlin_status status = purlin_db_list(ctx, job_view, &out->jobs, LIST_JOBS, purlin_workspace(ctx), after.id, state, state,
                                        in->name, in->name, in->limit);
  if (status == PURLIN_OK && out->jobs.count == (size_t)in->limit) out->next = out->jobs.items[out->jobs.count - 1].id;
  return status;
}

/* ---- One job ------------------------------------------------------------------------------------------------------------------- */

typedef struct job_id_in {
  const char *id;
} job_id_in;
PURLIN_SCHEMA(job_id_in, "A job", PURLIN_REQUIRED(id, "Its id", .max_length = 40));

typedef struct payload_row {
  purlin_json payload;
} payload_row;
PURLIN_SCHEMA(payload_row, "What a job was given", PURLIN_REQUIRED(payload, "JSON", .max_length = 1048576));

/* Through its schema, which knows what is secret; of a kind that is not loaded it is not shown. */
static purlin_status show_payload(purlin_ctx *ctx, const char *id, job_view *out) {
  const job_kind *kind = job_kind_find(out->name);
  payload_row row = {0};
  if (kind == NULL) return PURLIN_OK;
  purlin_status status = purlin_db_row(ctx, payload_row, &row, "SELECT payload FROM purlin_jobs WHERE public_id = ?", id);
  void *value = purlin_alloc(ctx, kind->schema->struct_size);
  if (status != PURLIN_OK || value == NULL) return status == PURLIN_NOT_FOUND ? PURLIN_OK : status;
  if (purlin_decode_stored(ctx, kind->schema, row.payload.text, row.payload.size, value) == PURLIN_OK)
    return purlin_encode(ctx, kind->schema, value, &out->payload);
  purlin_clear_failure(ctx); /* of a release that had another schema */
  return PURLIN_OK;
}

static purlin_status view(purlin_ctx *ctx, const char *id, job_view *out) {
  purlin_status status =
      purlin_db_row(ctx, job_view, out, "SELECT " VIEW_COLUMNS " FROM purlin_jobs WHERE public_id = ? AND workspace = ?",
                    id, purlin_workspace(ctx));
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "there is no job '%s'", id);
  return status == PURLIN_OK ? show_payload(ctx, id, out) : status;
}

PURLIN_OPERATION(jobs_get, job_id_in, job_view,
    .summary = "Show a job", .permission = "jobs:read", .http = "GET /api/v1/jobs/{id}") {
  return view(ctx, in->id, out);
}

PURLIN_OPERATION(jobs_explain, job_id_in, job_explanation,
    .summary = "Tell why a job does not run", .permission = "jobs:read", .http = "GET /api/v1/jobs/{id}/explanation") {
  return explain_job(ctx, in->id, out);
}

PURLIN_OPERATION(jobs_cancel, job_id_in, job_view,
    .summary = "Stop a job: one that waits never starts, one that runs is asked to end", .permission = "jobs:write",
    .effect = PURLIN_CHANGES, .object = "jobs_get", .http = "POST /api/v1/jobs/{id}/cancel") {
  purlin_status status = purlin_job_cancel(ctx, in->id);
  return status == PURLIN_OK ? view(ctx, in->id, out) : status;
}

PURLIN_OPERATION(jobs_redrive, job_id_in, job_view,
    .summary = "Run a job that failed or was cancelled again, with as many attempts", .permission = "jobs:write",
    .effect = PURLIN_CHANGES, .object = "jobs_get", .http = "POST /api/v1/jobs/{id}/redrive") {
  purlin_status status = queue_redrive(ctx, in->id);
  return status == PURLIN_OK ? view(ctx, in->id, out) : status;
}

/* ---- Enqueue --------------------------------------------------------------------------------------------------------------------- */

typedef struct jobs_enqueue_in {
  const char *name, *unique_key;
  purlin_json payload;
  int64_t priority, delay_ms;
} jobs_enqueue_in;
PURLIN_SCHEMA(jobs_enqueue_in, "A job to be run",
    PURLIN_REQUIRED(name, "Its kind: PLUGIN.NAME", .max_length = 150),
    PURLIN_OPTIONAL(payload, "Its input, by the schema of the kind; {} when absent"),
    PURLIN_DEFAULT(priority, "0", "Higher first", .min = -1000000, .max = 1000000),
    PURLIN_DEFAULT(delay_ms, "0", "Not before so many milliseconds have passed", .min = 0, .max = 4294967295),
    PURLIN_OPTIONAL(unique_key, "While one of this name and key waits or runs, that one is answered", .min_length = 1,
        .max_length = 190));

PURLIN_OPERATION(jobs_enqueue, jobs_enqueue_in, job_view,
    .summary = "Put a job into the queue", .permission = "jobs:write", .effect = PURLIN_CREATES,
    .http = "POST /api/v1/jobs") {
  const char *id = NULL;
  const purlin_enqueue_options options = {(int32_t)in->priority, (uint32_t)in->delay_ms, in->unique_key};
  purlin_status status = queue_by_hand(ctx, in->name);
  if (status == PURLIN_OK) status = jobs_enqueue_json(ctx, in->name, in->payload, &options, &id);
  return status == PURLIN_OK ? view(ctx, id, out) : status;
}

/* ---- Schedules --------------------------------------------------------------------------------------------------------------------- */

typedef struct schedule_view {
  const char *name, *cron, *time_zone, *job, *last_job;
  purlin_time next_at, last_at;
} schedule_view;
PURLIN_SCHEMA(schedule_view, "A schedule",
    PURLIN_REQUIRED(name, "PLUGIN.NAME"),
    PURLIN_REQUIRED(cron, "When, as five fields or @every"),
    PURLIN_REQUIRED(time_zone, "Whose clock"),
    PURLIN_REQUIRED(job, "The kind of job that it enqueues"),
    PURLIN_OPTIONAL(next_at, "When it is due"),
    PURLIN_OPTIONAL(last_at, "When it last fired"),
    PURLIN_OPTIONAL(last_job, "The job that it enqueued then"));

typedef struct schedules_page {
  PURLIN_LIST_OF(schedule_view) schedules;
} schedules_page;
PURLIN_SCHEMA(schedules_page, "Schedules by name", PURLIN_LIST(schedules, schedule_view, "The schedules"));

PURLIN_OPERATION(schedules_list, purlin_nothing, schedules_page,
    .summary = "List schedules", .permission = "jobs:read", .http = "GET /api/v1/jobs/schedules") {
  return purlin_db_list(
      ctx, schedule_view, &out->schedules,
      "SELECT name, expression AS cron, time_zone, job, last_job, next_at, last_at FROM purlin_schedules ORDER BY name");
}
