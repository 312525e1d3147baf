#include "training.h"
#include <string.h>

static const char SELECT_ROW[] = "SELECT " JOB_ROW_COLUMNS " FROM training_jobs WHERE id = ?";
static const char LOCK_ROW[] = "SELECT " JOB_ROW_COLUMNS " FROM training_jobs WHERE id = ? FOR UPDATE";

#define JOB_COLUMNS                                                                                                                          \
  "id, project, state, trainer, specification, dataset, dataset_version, validation_rows, model, version, cause, labels, progress, message," \
  " artifact_sha256, run_id, attempt, created_at, created_by, started_at, ended_at"
static const char SELECT_ONE[] = "SELECT " JOB_COLUMNS " FROM training_jobs WHERE id = ? AND workspace = ?";
static const char SELECT_PAGE[] = "SELECT " JOB_COLUMNS " FROM training_jobs WHERE workspace = ? AND " PURLIN_VISIBLE(
    "project", "id") " AND (? = '' OR model = ?) AND (? = '' OR state = ?)"
                     " ORDER BY created_at DESC, id LIMIT ?";
static const char INSERT[] =
    "INSERT INTO training_jobs (id, workspace, project, state, trainer, specification, dataset, dataset_version, dataset_sha256,"
    " dataset_rows, validation_rows, model, registers, cause, labels, queue_job, subjects, created_at, created_by)"
    " VALUES (?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";
static const char RELABEL[] = "UPDATE training_jobs SET labels = ? WHERE id = ? AND workspace = ?";

purlin_status training_row(purlin_ctx *ctx, const char *id, bool lock, job_row *out) {
  purlin_status status =
      lock ? purlin_db_row(ctx, job_row, out, LOCK_ROW, id) : purlin_db_row(ctx, job_row, out, SELECT_ROW, id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no training job '%s'", id) : status;
}

typedef struct training_job {
  const char *id, *project, *state, *trainer;
  purlin_json specification;
  const char *dataset;
  int64_t dataset_version, validation_rows;
  purlin_opt_text model;
  purlin_opt_int version;
  purlin_opt_text cause;
  purlin_json labels;
  double progress;
  const char *message;
  purlin_opt_text artifact_sha256, run_id;
  int64_t attempt;
  PURLIN_LIST_OF(purlin_training_metric) metrics;
  purlin_time created_at;
  const char *created_by;
  purlin_time started_at, ended_at;
} training_job;
PURLIN_SCHEMA(training_job, "A training job",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project: that of its model, if there is one already"),
    PURLIN_REQUIRED(state, "queued, running, succeeded, failed or cancelled"),
    PURLIN_REQUIRED(trainer, "Who trains"),
    PURLIN_REQUIRED(specification, "What, in the trainer's terms"),
    PURLIN_REQUIRED(dataset, "The dataset"),
    PURLIN_REQUIRED(dataset_version, "Its version"),
    PURLIN_REQUIRED(validation_rows, "How many of its last rows are held out"),
    PURLIN_OPTIONAL(model, "The model"),
    PURLIN_OPTIONAL(version, "The version that came of it"),
    PURLIN_OPTIONAL(cause, "Why it was started, such as the id of an alert"),
    PURLIN_REQUIRED(labels, "Whatever its creator noted"),
    PURLIN_REQUIRED(progress, "From 0 to 1"),
    PURLIN_REQUIRED(message, "The last message"),
    PURLIN_OPTIONAL(artifact_sha256, "The model's bytes"),
    PURLIN_OPTIONAL(run_id, "The run in which it is seen; none before its first attempt"),
    PURLIN_REQUIRED(attempt, "The number of the last attempt"),
    PURLIN_LIST(metrics, purlin_training_metric, "The latest value of each metric"),
    PURLIN_REQUIRED(created_at, "When it was created"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_OPTIONAL(started_at, "When its last attempt began"),
    PURLIN_OPTIONAL(ended_at, "When it ended"));

/* For whoever holds `permission` for it. */
static purlin_status find(purlin_ctx *ctx, const char *id, const char *permission, training_job *out) {
  purlin_status status = purlin_db_row(ctx, training_job, out, SELECT_ONE, id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "training:read", out->project, out->id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no training job '%s'", id) : status;
}

/* ---- Creating ----------------------------------------------------------------------------------------------------------------------- */

typedef struct create_job_in {
  const char *trainer;
  purlin_json specification;
  const char *dataset;
  int64_t dataset_version, validation_rows;
  purlin_opt_text model;
  bool registers;
  purlin_opt_text cause;
  purlin_json labels;
} create_job_in;
PURLIN_SCHEMA(create_job_in, "A training job to start",
    PURLIN_REQUIRED(trainer, "Who trains; training.trainers lists them", .max_length = 100),
    PURLIN_DEFAULT(specification, "{}", "What, in the trainer's terms"),
    PURLIN_REQUIRED(dataset, "The dataset", .max_length = 250),
    PURLIN_DEFAULT(dataset_version, "0", "Its version; 0: the newest", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(validation_rows, "0", "Hold out so many of its last rows; the trainer never learns from them", .min = 0, .max = 9e15),
    PURLIN_OPTIONAL(model, "The model of which a version is to be registered", .pattern = "[^/:@]+", .max_length = 250),
    PURLIN_DEFAULT(registers, "true", "Whether a version is registered when it succeeds"),
    PURLIN_OPTIONAL(cause, "Why, such as the id of an alert", .max_length = 250),
    PURLIN_DEFAULT(labels, "{}", "Whatever you want to note: a JSON object", .max_length = 60000));

typedef struct run_in {
  const char *job_id;
} run_in;
PURLIN_SCHEMA(run_in, "Which training job", PURLIN_REQUIRED(job_id, "Its id"));

static purlin_status check_trainer(purlin_ctx *ctx, const char *name) {
  purlin_providers trainers;
  purlin_status status = purlin_contained_providers(ctx, "trainer", &trainers);
  if (status != PURLIN_OK) return status;
  for (size_t i = 0; i < trainers.count; i++)
    if (strcmp(trainers.items[i].name, name) == 0) return PURLIN_OK;
  return purlin_fail_field(ctx, "trainer", "no trainer named '%s' is installed", name);
}

/* What we need of registry.get_model. */
typedef struct model_in {
  const char *name;
} model_in;
PURLIN_SCHEMA(model_in, "Which model", PURLIN_REQUIRED(name, "Its name"));
typedef struct model_out {
  const char *project;
} model_out;
PURLIN_SCHEMA(model_out, "A model", PURLIN_REQUIRED(project, "Its project"));

/* A job belongs to the project of its model and, while there is none, of what its creator makes. Its attempts reach nothing else: a model
 * of that name elsewhere, which the creator does not see, is not theirs either. */
static purlin_status choose_project(purlin_ctx *ctx, purlin_opt_text model, const char **project) {
  model_out found = {0};
  purlin_status status = PURLIN_NOT_FOUND;
  *project = purlin_project(ctx);
  if (model.state == PURLIN_SET)
    status =
        purlin_call(ctx, "registry.get_model", model_in_schema(), &(model_in){model.value}, model_out_schema(), &found);
  if (status == PURLIN_OK) *project = found.project;
  else if (status != PURLIN_NOT_FOUND && status != PURLIN_FORBIDDEN) return status;
  purlin_clear_failure(ctx);
  return purlin_require_on(ctx, "training:write", *project, NULL);
}

PURLIN_OPERATION(create_job, create_job_in, training_job,
    .summary = "Start a training job", .permission = "training:write", .by_project = true, .effect = PURLIN_CREATES, .http = "POST /api/v1/training/jobs") {
  dataset_out data;
  const char *project = NULL;
  purlin_status status = choose_project(ctx, in->model, &project);
  if (status == PURLIN_OK) status = check_trainer(ctx, in->trainer);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "datasets.get_version", dataset_in_schema(), &(dataset_in){in->dataset, in->dataset_version},
                         dataset_out_schema(), &data);
  purlin_json subjects = {0};
  if (status == PURLIN_OK) status = purlin_subjects(ctx, &subjects);
  if (status != PURLIN_OK) return status;
  if (in->validation_rows >= data.row_count)
    return purlin_fail_field(ctx, "validation_rows", "the dataset has %lld rows; nothing would be left to learn from",
                             (long long)data.row_count);
  const char *id = purlin_new_id(ctx, "trn"), *queue_job = NULL;
  if (!id) return PURLIN_TOO_LARGE;
  status = purlin_enqueue(ctx, "training.run", run_in_schema(), &(run_in){id}, &(purlin_enqueue_options){.unique_key = id},
                          &queue_job);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, INSERT, id, purlin_workspace(ctx), project, in->trainer, in->specification, in->dataset,
                           data.version, data.sha256, data.row_count, in->validation_rows, in->model, in->registers,
                           in->cause, in->labels, queue_job, subjects, purlin_actor(ctx));
  return status == PURLIN_OK ? find(ctx, id, "training:write", out) : status;
}

/* ---- Looking ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct job_in {
  const char *job_id;
} job_in;
PURLIN_SCHEMA(job_in, "Which job", PURLIN_REQUIRED(job_id, "Its id", .max_length = 64));

PURLIN_OPERATION(get_job, job_in, training_job,
    .summary = "A training job: its state, progress and metrics", .permission = "training:read", .by_project = true, .http = "GET /api/v1/training/jobs/{job_id}") {
  training_metrics latest = {0};
  purlin_status status = find(ctx, in->job_id, "training:read", out);
  if (status == PURLIN_OK) status = training_latest_metrics(ctx, in->job_id, &latest);
  out->metrics.items = latest.items;
  out->metrics.count = latest.count;
  return status;
}

typedef struct list_jobs_in {
  const char *model, *state;
  int64_t limit;
} list_jobs_in;
PURLIN_SCHEMA(list_jobs_in, "Which jobs",
    PURLIN_DEFAULT(model, "\"\"", "Of this model", .max_length = 250),
    PURLIN_DEFAULT(state, "\"\"", "In this state", .max_length = 16),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct job_page {
  PURLIN_LIST_OF(training_job) jobs;
} job_page;
PURLIN_SCHEMA(job_page, "Training jobs, newest first", PURLIN_LIST(jobs, training_job, "The jobs, without their metrics"));

PURLIN_OPERATION(list_jobs, list_jobs_in, job_page,
    .summary = "The training jobs that you may see", .permission = "training:read", .by_project = true, .http = "GET /api/v1/training/jobs") {
  return purlin_db_list(ctx, training_job, &out->jobs, SELECT_PAGE, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "training:read"), in->model, in->model, in->state, in->state, in->limit);
}

typedef struct trainer_list {
  PURLIN_LIST_OF(purlin_provider) trainers;
} trainer_list;
PURLIN_SCHEMA(trainer_list, "Trainers", PURLIN_LIST(trainers, purlin_provider, "The trainers"));

PURLIN_OPERATION(trainers, purlin_nothing, trainer_list,
    .summary = "The trainers on offer and what they take", .permission = "training:read", .by_project = true, .http = "GET /api/v1/training/trainers") {
  purlin_providers found;
  purlin_status status = purlin_contained_providers(ctx, "trainer", &found);
  if (status != PURLIN_OK) return status;
  out->trainers.items = found.items;
  out->trainers.count = found.count;
  return PURLIN_OK;
}

/* ---- Changing --------------------------------------------------------------------------------------------------------------------------------- */

typedef struct label_job_in {
  const char *job_id;
  purlin_json labels;
} label_job_in;
PURLIN_SCHEMA(label_job_in, "What to note",
    PURLIN_REQUIRED(job_id, "The job", .max_length = 64),
    PURLIN_REQUIRED(labels, "A JSON object; it replaces the old one", .max_length = 60000));

PURLIN_OPERATION(label_job, label_job_in, training_job,
    .summary = "Note something with a training job", .permission = "training:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_job",
    .http = "PUT /api/v1/training/jobs/{job_id}/labels") {
  purlin_status status = find(ctx, in->job_id, "training:write", out);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, RELABEL, in->labels, in->job_id, purlin_workspace(ctx));
  return status == PURLIN_OK ? find(ctx, in->job_id, "training:write", out) : status;
}

PURLIN_OPERATION(cancel_job, job_in, training_job,
    .summary = "Stop a training job", .permission = "training:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get_job", .http = "DELETE /api/v1/training/jobs/{job_id}") {
  job_row row;
  purlin_status status = find(ctx, in->job_id, "training:write", out);
  if (status == PURLIN_OK) status = training_row(ctx, in->job_id, true, &row);
  if (status != PURLIN_OK) return status;
  if (strcmp(row.state, "queued") != 0 && strcmp(row.state, "running") != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the job has ended already, as %s", row.state);
  status = training_end(ctx, &row, "cancelled", purlin_format(ctx, "cancelled by %s", purlin_actor(ctx)));
  /* The attempt that runs notices by its context, and its trainer by the token that opens nothing any more. */
  if (status == PURLIN_OK && row.queue_job.state == PURLIN_SET) {
    purlin_status cancelled = purlin_job_cancel(ctx, row.queue_job.value);
    if (cancelled == PURLIN_NOT_FOUND || cancelled == PURLIN_CONFLICT) purlin_clear_failure(ctx);
    else status = cancelled;
  }
  return status == PURLIN_OK ? find(ctx, in->job_id, "training:write", out) : status;
}
