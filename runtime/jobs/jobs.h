/* jobs.h: the inside of <purlin/job.h>: a durable queue in purlin_jobs, leases with fencing, cron in purlin_schedules.
 *
 * jobs/registry.c   what jobs and schedules there are, by name
 * jobs/queue.c      enqueue, cancel, redrive: rows
 * jobs/claim.c      claims in small ordered batches with SKIP LOCKED, on every loop; a claim commits before it starts
 * jobs/attempt.c    one running attempt: its context, its fence, its end; completions of pure jobs go in batches
 * jobs/running.c    the attempts that run in this process, for whoever has to find one
 * jobs/lease.c      renews leases from a connection of its own; notices cancellations; returns what lost its lease
 * jobs/sweep.c      forgets jobs that ended long ago
 * jobs/cron.c       five-field expressions and @every, with time zones (zone.c, zone_rule.c) and daylight saving
 * jobs/schedule.c   due schedules become jobs, once in a cluster
 * jobs/explain.c    why a job does not run
 * jobs/operations.c what people may do with the queue
 * jobs/start.c      start and drain */
#ifndef PURLIN_JOBS_JOBS_H
#define PURLIN_JOBS_JOBS_H

#include <purlin/job.h>
#include "core/buffer.h"
#include "jobs/cron.h"
#include "loop/context.h"

typedef struct jobs_options {
  size_t concurrency;  /* attempts at once on this node: 64 */
  uint32_t lease_ms;   /* 30 s; renewed each third of it */
  uint32_t poll_ms;    /* looking for jobs that others enqueued or that became due: 500 ms */
  size_t batch;        /* claimed at once per loop: 64, at most JOBS_MOST_IN_BATCH */
  uint32_t keep_hours; /* how long jobs that succeeded or were cancelled are kept: 7 days; dead letters stay */
} jobs_options;

void jobs_options_default(jobs_options *options);

#define JOBS_MOST_IN_BATCH 64u

/* The tables. They are declared too, and so applied with the runtime's own migrations; this list is for tests. */
extern const purlin_migration *const jobs_migrations[];
extern const size_t jobs_migration_count;

/* `owner` is opaque here; it becomes ctx->plugin_state of an attempt. PURLIN_CONFLICT when the full name exists. */
PURLIN_CHECKED purlin_status jobs_register(const char *plugin, struct plugin *owner, const purlin_job *job, buffer *why);
PURLIN_CHECKED purlin_status jobs_register_schedule(const char *plugin, const purlin_schedule *schedule, buffer *why);

/* Begins to claim, on every loop; stops claiming and waits for what runs (then cancels it after grace_ms) before `done`. */
PURLIN_CHECKED purlin_status jobs_start(const jobs_options *options);
void jobs_drain(uint32_t grace_ms, void (*done)(void *argument), void *argument);

/* Enqueue with a JSON payload, checked against the job's schema (Lua, HTTP). */
PURLIN_CHECKED purlin_status jobs_enqueue_json(purlin_ctx *ctx, const char *job, purlin_json payload,
                                               const purlin_enqueue_options *options, const char **id);

/* Gives an attempt the identity that the job was enqueued with: access/ sets it at start. */
typedef void jobs_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);
void jobs_set_identify(jobs_identify *identify);
/* How many jobs of a workspace may run at once; false: no limit. access/ sets it. Any thread; does not park. */
typedef bool jobs_quota(const char *workspace, int64_t *at_once);
void jobs_set_quota(jobs_quota *quota);

#endif
