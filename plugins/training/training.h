/* training.h: what the files of this plugin share.
 *
 * jobs.c      training jobs: create, look at, cancel
 * run.c       the durable job behind each: an attempt, its process, its end
 * record.c    the run that each training is, for whoever looks at experiments
 * mlmodel.c   what MLflow's clients want to know of a model that they load
 * attempt.c   who may speak for an attempt; the data going out, artifacts coming in
 * report.c    what a trainer reports, and what follows from its last report
 * log.c       the text that a trainer wrote
 *
 * An attempt has a token of its own. What an attempt does is checked against the row, locked, in the same transaction: when another
 * attempt has begun or the job has ended, the token opens nothing any more. */
#ifndef TRAINING_H
#define TRAINING_H

#include <purlin/purlin.h>
#include <purlin/contracts/storage.h>
#include <purlin/contracts/trainer.h>

enum { TRAINING_ATTEMPTS = 5 };

typedef struct training_configuration {
  int64_t memory_mb;
} training_configuration;
PURLIN_SCHEMA(training_configuration, "Trainings",
    PURLIN_DEFAULT(memory_mb, "0", "Memory that each process of a training may have, in MiB; 0: three quarters of the machine's", .min = 0, .max = 1e9));

/* The whole row; inside the plugin only. */
typedef struct job_row {
  const char *id, *workspace, *project, *state, *trainer;
  purlin_json specification;
  const char *dataset;
  int64_t dataset_version;
  const char *dataset_sha256;
  int64_t dataset_rows, validation_rows;
  purlin_opt_text model;
  bool registers;
  purlin_opt_int version;
  purlin_opt_text cause;
  purlin_json labels;
  double progress;
  const char *message;
  purlin_opt_text framework, artifact_sha256;
  purlin_json signature;
  purlin_opt_int artifact_size;
  int64_t attempt;
  purlin_opt_text token_hash;
  purlin_opt_int pid, pid_started;
  purlin_opt_text boot, queue_job;
  purlin_json subjects;
  const char *created_by;
  purlin_opt_text run_id;
} job_row;
PURLIN_SCHEMA(job_row, "A row of training_jobs",
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(state, "state"),
    PURLIN_REQUIRED(trainer, "trainer"),
    PURLIN_REQUIRED(specification, "specification"),
    PURLIN_REQUIRED(dataset, "dataset"),
    PURLIN_REQUIRED(dataset_version, "its version"),
    PURLIN_REQUIRED(dataset_sha256, "its bytes"),
    PURLIN_REQUIRED(dataset_rows, "its rows"),
    PURLIN_REQUIRED(validation_rows, "held out"),
    PURLIN_OPTIONAL(model, "model"),
    PURLIN_REQUIRED(registers, "registers"),
    PURLIN_OPTIONAL(version, "of the model"),
    PURLIN_OPTIONAL(cause, "cause"),
    PURLIN_REQUIRED(labels, "labels"),
    PURLIN_REQUIRED(progress, "progress"),
    PURLIN_REQUIRED(message, "message"),
    PURLIN_OPTIONAL(framework, "framework"),
    PURLIN_OPTIONAL(artifact_sha256, "the model's bytes"),
    PURLIN_OPTIONAL(signature, "signature"),
    PURLIN_OPTIONAL(artifact_size, "the model's size"),
    PURLIN_REQUIRED(attempt, "attempt"),
    PURLIN_OPTIONAL(token_hash, "token", .secret = true),
    PURLIN_OPTIONAL(pid, "process"),
    PURLIN_OPTIONAL(pid_started, "its start"),
    PURLIN_OPTIONAL(boot, "boot"),
    PURLIN_OPTIONAL(queue_job, "job of the queue"),
    PURLIN_OPTIONAL(subjects, "its creator's"),
    PURLIN_REQUIRED(created_by, "creator"),
    PURLIN_OPTIONAL(run_id, "run"));

#define JOB_ROW_COLUMNS                                                                                                                    \
  "id, workspace, project, state, trainer, specification, dataset, dataset_version, dataset_sha256, dataset_rows, validation_rows, model," \
  " registers, version, cause, labels, progress, message, framework, artifact_sha256, signature, artifact_size, attempt, token_hash, pid," \
  " pid_started, boot, queue_job, subjects, created_by, run_id"

/* What we need of datasets.get_version. */
typedef struct dataset_in {
  const char *name;
  int64_t version;
} dataset_in;
PURLIN_SCHEMA(dataset_in, "Which version",
    PURLIN_REQUIRED(name, "The dataset"),
    PURLIN_REQUIRED(version, "Its number"));
typedef struct dataset_out {
  int64_t version;
  const char *sha256;
  int64_t row_count;
} dataset_out;
PURLIN_SCHEMA(dataset_out, "A version",
    PURLIN_REQUIRED(version, "Its number"),
    PURLIN_REQUIRED(sha256, "Its bytes"),
    PURLIN_REQUIRED(row_count, "Its rows"));

/* By id, whatever its workspace: for work that the job itself does. PURLIN_NOT_FOUND is recorded. May park. */
PURLIN_CHECKED purlin_status training_row(purlin_ctx *ctx, const char *id, bool lock, job_row *out);

/* The attempt that a request of a trainer speaks for: path parameters {job} and {attempt}, and the token. Acts as the job from then on.
 * PURLIN_UNAUTHENTICATED, also when the attempt is over. May park. */
PURLIN_CHECKED purlin_status training_attempt(purlin_ctx *ctx, purlin_request *request, job_row *out);
/* The same check again inside a transaction, with the row locked. */
PURLIN_CHECKED purlin_status training_fence(purlin_ctx *ctx, const job_row *seen, job_row *now);

/* ---- record.c: a training is a run, too --------------------------------------------------------------------------------------------- */

/* A training goes on without its run: when there can be none (a quota, a name that somebody else has), or it was deleted. Each may park. */

/* Gives the job a run before its first attempt, if it has none; fills job->run_id. The caller acts as the job. */
PURLIN_CHECKED purlin_status training_record(purlin_ctx *ctx, job_row *job);
/* In the transaction that takes a report: what was measured. */
PURLIN_CHECKED purlin_status training_record_metrics(purlin_ctx *ctx, const job_row *job,
                                                     const purlin_training_report *report);
/* In the transaction that takes an artifact: a file of the run. */
PURLIN_CHECKED purlin_status training_record_file(purlin_ctx *ctx, const job_row *job, const char *path,
                                                  const purlin_blob *blob);
/* In the transaction of the last report: the model as a folder of the run that MLflow's clients load. `said` is its MLmodel, stored;
 * without a SHA-256 there is no folder. `source` receives where it is; not set without a run. */
PURLIN_CHECKED purlin_status training_record_model(purlin_ctx *ctx, const job_row *job, const purlin_blob *said,
                                                   purlin_opt_text *source);

/* ---- mlmodel.c ------------------------------------------------------------------------------------------------------------------------- */

/* The name of the model's file in that folder; NULL: MLflow has no flavor for the framework. Does not park. */
const char *training_model_file(const char *framework);
/* Stores the MLmodel of what a report of success describes, outside of a transaction; no SHA-256 where there is none. May park. */
PURLIN_CHECKED purlin_status training_store_mlmodel(purlin_ctx *ctx, const job_row *job,
                                                    const purlin_training_report *report, purlin_blob *out);

/* Ends a job in the running transaction: its state, its message, the event training.finished. */
PURLIN_CHECKED purlin_status training_end(purlin_ctx *ctx, const job_row *job, const char *state, const char *message);
/* The latest value of each metric; arena. May park. */
typedef struct training_metrics {
  purlin_training_metric *items;
  size_t count;
} training_metrics;
PURLIN_CHECKED purlin_status training_latest_metrics(purlin_ctx *ctx, const char *job_id, training_metrics *out);
/* The same as a JSON object. May park. */
PURLIN_CHECKED purlin_status training_metrics_object(purlin_ctx *ctx, const char *job_id, purlin_json *out);
/* Appends to the job's log. May park. */
PURLIN_CHECKED purlin_status training_log(purlin_ctx *ctx, const job_row *job, const char *text);

#endif
