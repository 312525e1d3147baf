/* job.h: work that survives: a durable queue in the database.
 *
 *   PURLIN_JOB(send_report, report_in, .summary = "Send the weekly report", .max_attempts = 5)
 *   {
 *     ... ctx and in are the arguments; PURLIN_OK is done, any error is tried again with backoff ...
 *   }
 *   ...
 *   purlin_enqueue(ctx, "reports.send_report", report_in_schema(), &in, &(purlin_enqueue_options){.delay_ms = 60000}, &id);
 *
 * An attempt holds a lease that the host renews. After a crash another attempt starts when the daemon is back, or elsewhere when the
 * lease has run out; an attempt that lost its lease is fenced: what it still wants to record is refused. One attempt takes effect; it is
 * not promised that the code runs once.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_JOB_H
#define PURLIN_JOB_H

#include <purlin/schema.h>

PURLIN_BEGIN

typedef purlin_status purlin_job_run(purlin_ctx *ctx, const void *in);

typedef struct purlin_job {
  purlin_declaration declared;
  const char *name; /* of the function; the full name is PLUGIN.NAME */
  purlin_job_run *run;
  const purlin_schema *(*in)(void); /* of the payload */
  const char *summary;              /* required */
  uint32_t max_attempts;            /* 0: 5. Then the job is a dead letter, to be looked at and redriven */
  uint32_t backoff_ms;  /* before the second attempt, doubled each time with jitter, at most an hour; 0: 1,000 */
  uint32_t timeout_ms;  /* of an attempt; 0: 10 minutes; UINT32_MAX: none */
  uint32_t concurrency; /* how many may run at once in the cluster; 0: no limit of its own */
  bool pure;            /* writes nothing: may be completed in batches, so runs again more easily after a crash */
  bool
      resumes; /* finds what it was doing again, such as waiting for a detached process: an attempt is cancelled at once when
                         * the daemon stops, and one that ended with its daemon is not counted among max_attempts */
  const char *
      permission; /* what putting it into the queue by hand (jobs.enqueue, jobs.redrive) needs beside jobs:write, in the whole
                           * workspace: an attempt may do everything there. NULL: only its plugin enqueues it */
} purlin_job;

#define PURLIN_JOB(function, in_type, ...)                                                                                 \
  static purlin_status function(purlin_ctx *ctx, const in_type *in);                                                       \
  static purlin_status function##_run_(purlin_ctx *ctx, const void *in) { return function(ctx, (const in_type *)in); }     \
  static const purlin_job function##_job = {.declared = PURLIN_HEAD_(purlin_job, PURLIN_KIND_JOB),                         \
                                            .name = #function,                                                             \
                                            .run = function##_run_,                                                        \
                                            .in = in_type##_schema,                                                        \
                                            __VA_ARGS__};                                                                  \
  PURLIN_DECLARE_(function##_job);                                                                                         \
  static purlin_status function(PURLIN_MAYBE_UNUSED purlin_ctx *ctx, PURLIN_MAYBE_UNUSED const in_type *in)

typedef struct purlin_enqueue_options {
  int32_t priority; /* higher first; 0 is normal */
  uint32_t delay_ms;
  const char *unique_key; /* while a job of this name and key waits or runs, enqueuing again gives that job; may be NULL */
} purlin_enqueue_options;

/* Puts a job into the queue, in the running transaction if there is one: then it exists exactly if that commits.
 * `job` is the full name; `in` and options are borrowed, options may be NULL; `id` (may be NULL) receives the job's id, arena. May park.
 * Errors: PURLIN_NOT_FOUND (no such job), PURLIN_INTERNAL (`schema` is not the job's), PURLIN_TOO_LARGE (over 256 KiB as JSON),
 * PURLIN_INVALID (unique_key: 1 to 190 bytes), and those of statements (database.h). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_enqueue(purlin_ctx *ctx, const char *job, const purlin_schema *schema,
                                                       const void *in, const purlin_enqueue_options *options,
                                                       const char **id);

/* Asks a job to stop: one that waits never starts, one that runs has its context cancelled, on whichever node. May park.
 * Errors: PURLIN_NOT_FOUND, PURLIN_CONFLICT when it has ended, and those of statements. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_job_cancel(purlin_ctx *ctx, const char *id);

/* Inside a job: what it is, and how far it has come: 0 to 1 and a short text (may be NULL), kept in the row, at most once a second and
 * never within a transaction. Outside a job nothing happens. Only the last may park, and fails as statements do. */
PURLIN_API const char *purlin_job_id(const purlin_ctx *ctx);   /* lives as long as the context; NULL outside a job */
PURLIN_API uint32_t purlin_job_attempt(const purlin_ctx *ctx); /* 1, 2, ...; 0 outside a job */
PURLIN_API bool purlin_job_is_last(const purlin_ctx *ctx);     /* when this attempt fails, the job has failed */
PURLIN_API PURLIN_CHECKED purlin_status purlin_job_progress(purlin_ctx *ctx, double fraction,
                                                            const char *text); /* may park */

/* Enqueues a job on a schedule, once in the cluster each time:
 *   PURLIN_SCHEDULE(nightly, "15 3 * * *", .time_zone = "Europe/Brussels", .job = "reports.send_report", .payload = "{}"); */
typedef struct purlin_schedule {
  purlin_declaration declared;
  const char *name;
  const char *cron;      /* five fields: minute hour day month weekday; or "@every 30s" */
  const char *job;       /* full name */
  const char *payload;   /* JSON; NULL: {} */
  const char *time_zone; /* IANA name; NULL: UTC */
  bool catch_up;         /* run once for the times that were missed while nothing ran */
} purlin_schedule;

#define PURLIN_SCHEDULE(identifier, cron_, ...)                                                                            \
  static const purlin_schedule identifier##_schedule = {                                                                   \
      .declared = PURLIN_HEAD_(purlin_schedule, PURLIN_KIND_SCHEDULE), .name = #identifier, .cron = cron_, __VA_ARGS__};   \
  PURLIN_DECLARE_(identifier##_schedule)

PURLIN_END

#endif
