#include "training.h"
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { STOP_GRACE_MS = 5000, CLEAN_UP_MS = 15000 };

static const char BEGIN_ATTEMPT[] =
    "UPDATE training_jobs SET state = 'running', attempt = attempt + 1, token_hash = ?, pid = NULL, pid_started = NULL,"
    " boot = NULL, progress = 0, message = 'starting', started_at = NOW(6) WHERE id = ?";
static const char RECORD_PROCESS[] =
    "UPDATE training_jobs SET pid = ?, pid_started = ?, boot = ? WHERE id = ? AND attempt = ? AND state = 'running'";
static const char END_ATTEMPT[] =
    "UPDATE training_jobs SET token_hash = NULL, pid = NULL, message = ? WHERE id = ? AND attempt = ? AND state = 'running'";

typedef struct run_in {
  const char *job_id;
} run_in;
PURLIN_SCHEMA(run_in, "Which training job", PURLIN_REQUIRED(job_id, "Its id"));

static bool is(const job_row *job, const char *state) { return strcmp(job->state, state) == 0; }
static bool over(const job_row *job) { return !is(job, "queued") && !is(job, "running"); }

/* ---- An attempt begins ---------------------------------------------------------------------------------------------------------------- */

typedef struct beginning {
  const char *job_id, *token;
  job_row job;
} beginning;

static purlin_status begin(purlin_ctx *ctx, void *argument) {
  beginning *b = argument;
  purlin_status status = training_row(ctx, b->job_id, true, &b->job);
  if (status != PURLIN_OK || over(&b->job)) return status;
  char hash[65];
  purlin_sha256(b->token, strlen(b->token), hash);
  status = purlin_db_run(ctx, BEGIN_ATTEMPT, hash, b->job_id);
  return status == PURLIN_OK ? training_row(ctx, b->job_id, false, &b->job) : status;
}

static purlin_status describe(purlin_ctx *ctx, const job_row *job, const char *token, purlin_json *out) {
  const char *base =
      purlin_format(ctx, "%s/api/v1/training/attempts/%s/%lld", purlin_server_url(), job->id, (long long)job->attempt);
  if (!base) return PURLIN_TOO_LARGE;
  purlin_training training = {.job_id = job->id,
                              .trainer = job->trainer,
                              .specification = job->specification,
                              .dataset_url = purlin_format(ctx, "%s/dataset", base),
                              .artifact_url = purlin_format(ctx, "%s/artifacts", base),
                              .callback_url = purlin_format(ctx, "%s/reports", base),
                              .token = token,
                              .attempt = job->attempt};
  if (!training.dataset_url || !training.artifact_url || !training.callback_url) return PURLIN_TOO_LARGE;
  return purlin_encode(ctx, purlin_training_schema(), &training, out);
}

static uint64_t memory_limit_mb(purlin_ctx *ctx) {
  const training_configuration *configured = purlin_configuration(ctx);
  if (configured->memory_mb > 0) return (uint64_t)configured->memory_mb;
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size / 4 * 3 >> 20 : 0;
}

/* With every permission in the job's project, and none elsewhere. */
static purlin_status act(purlin_ctx *ctx, const job_row *job) {
  const char *me = purlin_format(ctx, "training:%s", job->id);
  if (!me) return PURLIN_TOO_LARGE;
  purlin_act_as(ctx, me, job->workspace, job->project);
  return PURLIN_OK;
}

static purlin_status start(purlin_ctx *ctx, const char *job_id, job_row *job, purlin_process *process) {
  beginning b = {.job_id = job_id, .token = purlin_new_secret(ctx, "attempt")};
  if (!b.token) return PURLIN_TOO_LARGE;
  purlin_status status = act(ctx, job);
  if (status == PURLIN_OK) status = training_record(ctx, job);
  if (status == PURLIN_OK) status = purlin_transaction(ctx, begin, &b);
  *job = b.job;
  if (status != PURLIN_OK || over(job)) return status;
  purlin_json message;
  status = describe(ctx, job, b.token, &message);
  const purlin_process_options options = {.detached = true, .memory_limit = memory_limit_mb(ctx) << 20};
  if (status == PURLIN_OK) status = purlin_contained_start(ctx, "trainer", job->trainer, message, &options, process);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, RECORD_PROCESS, process->pid, process->started, process->boot, job->id, job->attempt);
  return status;
}

/* The process of an attempt that an earlier daemon started, if it still lives: a training outlives a restart. */
static bool adopt(const job_row *job, purlin_process *process) {
  if (!is(job, "running") || job->pid.state != PURLIN_SET || job->boot.state != PURLIN_SET) return false;
  *process = (purlin_process){job->pid.value, job->pid_started.value, job->boot.value};
  return purlin_process_alive(process);
}

/* ---- It ends -------------------------------------------------------------------------------------------------------------------------------- */

typedef struct giving_up {
  const char *job_id, *message;
} giving_up;

static purlin_status give_up(purlin_ctx *ctx, void *argument) {
  giving_up *g = argument;
  job_row now;
  purlin_status status = training_row(ctx, g->job_id, true, &now);
  if (status != PURLIN_OK || over(&now) || strcmp(now.workspace, purlin_workspace(ctx)) != 0) return status;
  return training_end(ctx, &now, "failed", g->message);
}

/* How a program ends that needs memory and gets none; the kernel kills when the machine has none. */
static bool may_lack_memory(int exit_code) {
  int by = exit_code - 128;
  return by == SIGABRT || by == SIGSEGV || by == SIGBUS || by == SIGKILL;
}

static const char *last_words(purlin_ctx *ctx, int exit_code) {
  if (exit_code < 0) return "the trainer ended while nobody watched";
  if (exit_code < 128) return purlin_format(ctx, "the trainer ended without a report (exit code %d)", exit_code);
  const char *said =
      purlin_format(ctx, "the trainer was killed by signal %d (%s)", exit_code - 128, strsignal(exit_code - 128));
  if (!said || !may_lack_memory(exit_code)) return said;
  return purlin_format(ctx,
                       "%s; if it lacked memory: a process may have %llu MiB, see plugin \"training\" { memory_mb = ... }",
                       said, (unsigned long long)memory_limit_mb(ctx));
}

typedef struct ending {
  const job_row *job;
  const char *message;
} ending;

static purlin_status end_attempt(purlin_ctx *ctx, void *argument) {
  const ending *e = argument;
  const char *line = purlin_format(ctx, "(attempt %lld: %s)\n", (long long)e->job->attempt, e->message);
  if (!line) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_run(ctx, END_ATTEMPT, e->message, e->job->id, e->job->attempt);
  return status == PURLIN_OK ? training_log(ctx, e->job, line) : status;
}

/* The trainer has gone without a last word: the queue tries again. */
static purlin_status died(purlin_ctx *ctx, const job_row *job, int exit_code) {
  const char *message = last_words(ctx, exit_code);
  if (!message) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_transaction(ctx, end_attempt, &(ending){job, message});
  return status == PURLIN_OK ? purlin_fail(ctx, PURLIN_UNAVAILABLE, "%s", message) : status;
}

/* Whoever made the job must still be allowed to read what it learns from: they may have lost that since. */
static purlin_status may_learn(purlin_ctx *ctx, const job_row *job) {
  if (!job->subjects.text) return PURLIN_OK;
  const char *me = purlin_format(ctx, "training:%s", job->id);
  if (!me) return PURLIN_TOO_LARGE;
  dataset_out data;
  purlin_status status = purlin_act_for(ctx, me, job->subjects);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "datasets.get_version", dataset_in_schema(),
                         &(dataset_in){job->dataset, job->dataset_version}, dataset_out_schema(), &data);
  purlin_act_as(ctx, me, job->workspace, job->project);
  if (status != PURLIN_NOT_FOUND && status != PURLIN_FORBIDDEN) return status;
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "whoever created the training may not read the dataset '%s' any more",
                     job->dataset);
}

static purlin_status refuse(purlin_ctx *ctx, const char *job_id) {
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return why ? purlin_transaction(ctx, give_up, &(giving_up){job_id, why}) : PURLIN_TOO_LARGE;
}

/* One attempt: the trainer that runs already, or a new one, until its end. */
static purlin_status attend(purlin_ctx *ctx, const char *job_id) {
  job_row job;
  purlin_process process = {0};
  purlin_status status = training_row(ctx, job_id, false, &job);
  if (status == PURLIN_OK && strcmp(job.workspace, purlin_workspace(ctx)) != 0) /* by hand, with an id of elsewhere */
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "no training job '%s'", job_id);
  if (status != PURLIN_OK || over(&job)) return status;
  if (!adopt(&job, &process)) {
    status = may_learn(ctx, &job);
    if (status == PURLIN_FORBIDDEN) return refuse(ctx, job_id);
    if (status == PURLIN_OK) status = start(ctx, job_id, &job, &process);
  }
  if (status != PURLIN_OK || over(&job)) return status;
  int exit_code = 0;
  status = purlin_process_wait(ctx, &process, &exit_code);
  if (status == PURLIN_CANCELLED) {
    purlin_shield(ctx, CLEAN_UP_MS);
    /* Cancelled by somebody: the job says so. The daemon stops: the training goes on, and the next one finds it. */
    bool unwanted = training_row(ctx, job_id, false, &job) == PURLIN_OK && over(&job);
    if (unwanted) purlin_process_stop(ctx, &process, STOP_GRACE_MS);
    return unwanted ? PURLIN_OK : status;
  }
  if (status == PURLIN_OK) status = training_row(ctx, job_id, false, &job);
  if (status != PURLIN_OK || over(&job)) return status;
  return died(ctx, &job, exit_code);
}

PURLIN_JOB(run, run_in,
    .summary = "Run a training job", .max_attempts = TRAINING_ATTEMPTS, .backoff_ms = 500, .timeout_ms = UINT32_MAX,
    .resumes = true, .permission = "training:write") {
  purlin_status status = attend(ctx, in->job_id);
  if (status == PURLIN_OK || status == PURLIN_CANCELLED || !purlin_job_is_last(ctx)) return status;
  /* Nobody will try again: the training has failed too, whatever the reason. */
  const char *why = purlin_copy(ctx, purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return purlin_transaction(ctx, give_up, &(giving_up){in->job_id, why && *why ? why : "no attempt could be made"});
}
