/* internal.h: what the files of jobs/ share. */
#ifndef PURLIN_JOBS_INTERNAL_H
#define PURLIN_JOBS_INTERNAL_H

#include <purlin/database.h>
#include "core/arena.h"
#include "core/node.h"
#include "jobs/jobs.h"
#include "observe/metrics.h"

#include <stdatomic.h>

/* As in the column `state`. A job that waits for its time or for its next attempt is JOB_WAITING too. */
typedef enum job_state { JOB_WAITING = 0, JOB_RUNNING = 1, JOB_SUCCEEDED = 2, JOB_FAILED = 3, JOB_CANCELLED = 4 } job_state;
const char *job_state_name(int64_t state);
bool job_state_of(const char *name, int64_t *state);

/* ---- registry.c: kinds of jobs. Made before jobs_start, then read-only. ---------------------------------------------------- */

typedef struct job_kind {
  const char *name, *plugin; /* full name */
  const char *permission;    /* by hand; NULL: never */
  struct plugin *owner;
  purlin_job_run *run;
  const purlin_schema *schema;
  uint64_t layout; /* of the schema */
  uint32_t max_attempts, backoff_ms, timeout_ms, concurrency;
  bool pure, resumes;
  _Atomic uint32_t typical_us; /* how long an attempt takes, a moving average; UINT32_MAX: not known */
  struct job_kind *next;
} job_kind;

job_kind *job_kind_find(const char *name); /* NULL: none */
job_kind *job_kinds_first(void);

typedef struct job_schedule {
  const char *name, *plugin, *expression, *time_zone, *job, *payload; /* time_zone: "UTC" where none was given */
  bool catch_up;
  cron *when;
  bool sound; /* its job exists and takes its payload */
  struct job_schedule *next;
} job_schedule;

job_schedule *job_schedules_first(void);

/* ---- The node ---------------------------------------------------------------------------------------------------------------- */

typedef struct jobs_node {
  jobs_options options;
  char owner[NODE_OWNER_SIZE]; /* new at each start: the token of all its leases */
  atomic_bool started, draining;
  atomic_size_t running; /* attempts that run or wait in a claimer's backlog */
  atomic_size_t active;  /* fibers of the queue itself: claimers, leases, schedules */
  uint64_t started_ms;
} jobs_node;

extern jobs_node node;

/* ---- attempt.c, running.c ----------------------------------------------------------------------------------------------------- */

typedef enum stop_reason { STOP_NONE, STOP_CANCEL, STOP_LOST, STOP_DRAIN } stop_reason;

/* The memory of jobs that were claimed together; freed with the last of them. */
typedef struct batch {
  arena memory;
  size_t members;
} batch;

typedef struct claimer claimer;

typedef struct job_attempt {
  struct job_attempt *next, *previous; /* in running.c's list; under its mutex */
  struct job_attempt *queued;          /* in the claimer's backlog or list of the completed */
  job_kind *kind;
  claimer *claimer; /* on whose loop it runs */
  batch *batch;
  int64_t id, number, max_attempts, waited_us;
  const char *public_id, *workspace, *project, *actor, *trace_id;
  purlin_json payload;
  uint64_t renewed_ms; /* when the lease began, before the statement that gave it; under the mutex */
  purlin_ctx *ctx;     /* while it runs; of its loop only */
  stop_reason stop;
  uint64_t progress_ms; /* when progress was last written */
} attempt;

/* Starts a claimed attempt in a fiber; it ends by attempt_done of its claimer. */
void attempt_start(attempt *a);
void attempt_free(attempt *a);

void running_add(attempt *a);
void running_remove(attempt *a);
/* Stops an attempt on whichever loop it runs; false when none of this id runs here. Any thread. */
bool running_stop(int64_t id, stop_reason why);
/* Each of them; or only those that resume, see purlin_job. */
void running_stop_all(stop_reason why, bool only_resuming);

/* What the lease-keeper knows of an attempt. */
typedef struct running_lease {
  int64_t id, number;
  uint64_t renewed_ms;
} running_lease;
/* Copies those whose lease began before `before_ms`, at most `room`. */
size_t running_leases(running_lease *leases, size_t room, uint64_t before_ms);
void running_renewed(int64_t id, int64_t number, uint64_t at_ms);

/* ---- claim.c -------------------------------------------------------------------------------------------------------------------- */

/* One on each loop. */
struct claimer {
  loop *loop;
  loop_post_item post; /* from any thread; `posted` keeps it from being posted twice */
  atomic_bool posted;
  loop_timer poll;
  bool active, again;              /* its fiber runs; and should look once more */
  attempt *backlog, **backlog_end; /* claimed, waiting for a slot */
  attempt *done;                   /* pure jobs that succeeded: deleted with the next claim */
  char last_workspace[260];        /* that was served last, and its kind: the next one goes first */
  char last_name[160];
};

bool claimers_start(void); /* false: no memory */
/* Makes a claimer look for jobs, from any thread: the calling loop's; and each of them. */
void claimers_wake(void);
void claimers_poke(void);
bool claimers_are_idle(void);
/* How many jobs of the workspace may run at once; false: as many as there are slots. */
bool jobs_quota_of(const char *workspace, int64_t *at_once);
/* How many do. */
#define JOBS_OF_WORKSPACE                                                                                                  \
  "SELECT COUNT(*) AS id FROM purlin_jobs FORCE INDEX (claim) WHERE state = 1 AND workspace = ? AND lease_until > NOW(6)"
/* An attempt has ended; `complete`: a pure one that succeeded, whose row is still to be deleted. On the claimer's loop. */
void claimer_ended(claimer *c, attempt *a, bool complete);

/* ---- The chores of start.c: run in fibers on loop 0 from time to time. They may park, and log their own failures. ----------------- */

void leases_keep(purlin_ctx *ctx);     /* renews; notices cancellations and leases that were lost */
void leases_announce(purlin_ctx *ctx); /* tells the others that this node is there */
void leases_leave(purlin_ctx *ctx);
void leases_sweep(purlin_ctx *ctx);       /* jobs whose lease ran out, or is of an earlier run of this node, wait again */
bool schedules_prepare(purlin_ctx *ctx);  /* false: to be tried again */
uint32_t schedules_run(purlin_ctx *ctx);  /* milliseconds until the next one is due, at most 10,000 */
void jobs_sweep(purlin_ctx *ctx);         /* forgets what ended long ago */
void jobs_count_waiting(purlin_ctx *ctx); /* for the metrics */

/* queue.c: a row, with everything given. */
purlin_status queue_insert(purlin_ctx *ctx, const job_kind *kind, const char *workspace, const char *project,
                           const char *actor, purlin_json payload, const purlin_enqueue_options *options, const char **id);
purlin_status queue_redrive(purlin_ctx *ctx, const char *id);
/* Whether the caller may put such a job into the queue: PURLIN_NOT_FOUND, PURLIN_FORBIDDEN, recorded. Does not park. */
PURLIN_CHECKED purlin_status queue_by_hand(purlin_ctx *ctx, const char *job);

/* ---- Common to statements ---------------------------------------------------------------------------------------------------------- */

/* A statement's values with a list of ids: `ids` are padded with zeros, which no row has, to JOBS_MOST_IN_BATCH, so that
 * there is one statement to prepare and not one per length. */
#define IDS8 "?,?,?,?,?,?,?,?"
#define IDS64 IDS8 "," IDS8 "," IDS8 "," IDS8 "," IDS8 "," IDS8 "," IDS8 "," IDS8
_Static_assert(JOBS_MOST_IN_BATCH == 64, "IDS64 holds as many");
/* Runs `sql` with `count` leading values and the ids. */
purlin_status jobs_run_with_ids(purlin_ctx *ctx, const char *sql, const purlin_value *leading, size_t count,
                                const int64_t *ids, size_t id_count);

typedef struct id_row {
  int64_t id;
} id_row;
PURLIN_SCHEMA(id_row, "The key of a job's row", PURLIN_REQUIRED(id, "Internal number"));
typedef PURLIN_LIST_OF(id_row) id_rows;

/* jobs/metrics.c */
void jobs_metrics_started(const attempt *a);
void jobs_metrics_finished(const attempt *a, const char *outcome, uint64_t began_ns);
purlin_status jobs_metrics_start(void);

#endif
