#include "training.h"
#include <purlin/contracts/predictor.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LARGEST_REPORT = 1024 * 1024 };

static const char WRITE_METRIC[] =
    "REPLACE INTO training_metrics (workspace, project, job_id, name, step, value) VALUES (?, ?, ?, ?, ?, ?)";
static const char PROGRESS[] =
    "UPDATE training_jobs SET progress = IFNULL(?, progress), message = IFNULL(?, message) WHERE id = ?";
static const char DESCRIBE_MODEL[] = "UPDATE training_jobs SET signature = ?, framework = ?, version = ? WHERE id = ?";
static const char END_JOB[] =
    "UPDATE training_jobs SET state = ?, message = ?, progress = IF(? = 'succeeded', 1, progress), token_hash = NULL,"
    " ended_at = NOW(6) WHERE id = ?";
static const char LATEST[] = "SELECT m.name AS `key`, m.value, m.step FROM training_metrics m"
                             " JOIN (SELECT name, MAX(step) AS step FROM training_metrics WHERE job_id = ? GROUP BY name) l"
                             " ON l.name = m.name AND l.step = m.step WHERE m.job_id = ? ORDER BY m.name LIMIT 1000";

typedef struct finished_payload {
  const char *job_id, *state, *trainer;
  purlin_opt_text model;
  purlin_opt_int version;
  purlin_opt_text cause;
  purlin_json labels, metrics;
  const char *dataset;
  int64_t dataset_version;
} finished_payload;
PURLIN_SCHEMA(finished_payload, "A training job has ended",
    PURLIN_REQUIRED(job_id, "The job"),
    PURLIN_REQUIRED(state, "succeeded, failed or cancelled"),
    PURLIN_REQUIRED(trainer, "Who trained"),
    PURLIN_OPTIONAL(model, "The model"),
    PURLIN_OPTIONAL(version, "Its new version"),
    PURLIN_OPTIONAL(cause, "Why the job was started"),
    PURLIN_REQUIRED(labels, "What its creator noted"),
    PURLIN_REQUIRED(metrics, "The latest value of each metric"),
    PURLIN_REQUIRED(dataset, "The dataset"),
    PURLIN_REQUIRED(dataset_version, "Its version"));
PURLIN_EVENT(finished, finished_payload, "A training job has ended");

/* {"accuracy":0.91,...}: names come from a trainer, so they are escaped by encoding them as a value. */
static char *append(purlin_ctx *ctx, const char *before, const purlin_training_metric *m) {
  purlin_json whole;
  if (purlin_encode(ctx, purlin_training_metric_schema(), &(purlin_training_metric){m->key, 0, 0}, &whole) != PURLIN_OK)
    return NULL;
  const char *name = strchr(whole.text, ':') + 1, *end = strstr(name, ",\"value\"");
  return purlin_format(ctx, "%s%s%.*s:%.17g", before, before[1] ? "," : "", (int)(end - name), name, m->value);
}

purlin_status training_latest_metrics(purlin_ctx *ctx, const char *job_id, training_metrics *out) {
  return purlin_db_list(ctx, purlin_training_metric, out, LATEST, job_id, job_id);
}

purlin_status training_metrics_object(purlin_ctx *ctx, const char *job_id, purlin_json *out) {
  training_metrics found = {0};
  purlin_status status = training_latest_metrics(ctx, job_id, &found);
  const char *text = "{";
  for (size_t i = 0; i < found.count && status == PURLIN_OK && text; i++) text = append(ctx, text, &found.items[i]);
  if (status == PURLIN_OK && text) text = purlin_format(ctx, "%s}", text);
  if (status != PURLIN_OK || !text) return status != PURLIN_OK ? status : PURLIN_TOO_LARGE;
  *out = (purlin_json){text, strlen(text)};
  return PURLIN_OK;
}

purlin_status training_end(purlin_ctx *ctx, const job_row *job, const char *state, const char *message) {
  finished_payload event = {.job_id = job->id,
                            .state = state,
                            .trainer = job->trainer,
                            .model = job->model,
                            .version = job->version,
                            .cause = job->cause,
                            .labels = job->labels,
                            .dataset = job->dataset,
                            .dataset_version = job->dataset_version};
  purlin_status status = training_metrics_object(ctx, job->id, &event.metrics);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, END_JOB, state, message, state, job->id);
  return status == PURLIN_OK ? purlin_emit(ctx, finished, &event, job->id) : status;
}

/* ---- A model is registered: through registry's operations, in the same transaction ---------------------------------------------------------- */

typedef struct model_name {
  const char *name;
} model_name;
PURLIN_SCHEMA(model_name, "A model", PURLIN_REQUIRED(name, "Its name"));

typedef struct version_in {
  const char *name, *framework, *sha256;
  int64_t size;
  purlin_json signature;
  purlin_opt_text source, run_id, training_id, dataset, description;
  purlin_opt_int dataset_version;
  purlin_json metrics;
} version_in;
PURLIN_SCHEMA(version_in, "A version to register",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(framework, "Its predictor"),
    PURLIN_REQUIRED(sha256, "Its bytes"),
    PURLIN_REQUIRED(size, "How many"),
    PURLIN_REQUIRED(signature, "What it takes and gives"),
    PURLIN_OPTIONAL(source, "Where clients load it from"),
    PURLIN_OPTIONAL(run_id, "The run"),
    PURLIN_OPTIONAL(training_id, "The job"),
    PURLIN_OPTIONAL(dataset, "The dataset"),
    PURLIN_OPTIONAL(description, "Why it was made"),
    PURLIN_OPTIONAL(dataset_version, "Its version"),
    PURLIN_REQUIRED(metrics, "How it did"));
typedef struct version_out {
  int64_t version;
} version_out;
PURLIN_SCHEMA(version_out, "A version", PURLIN_REQUIRED(version, "Its number"));

static purlin_status ensure_model(purlin_ctx *ctx, const char *name) {
  model_name in = {name}, out;
  purlin_status status = purlin_call(ctx, "registry.get_model", model_name_schema(), &in, model_name_schema(), &out);
  if (status != PURLIN_NOT_FOUND) return status;
  purlin_clear_failure(ctx);
  return purlin_call(ctx, "registry.create_model", model_name_schema(), &in, model_name_schema(), &out);
}

static purlin_status register_version(purlin_ctx *ctx, job_row *job, const purlin_training_report *report,
                                      purlin_opt_text source) {
  purlin_json metrics;
  purlin_status status = ensure_model(ctx, job->model.value);
  if (status == PURLIN_OK) status = training_metrics_object(ctx, job->id, &metrics);
  if (status != PURLIN_OK) return status;
  const version_in in = {.name = job->model.value,
                         .framework = report->framework.value,
                         .sha256 = job->artifact_sha256.value,
                         .size = job->artifact_size.value,
                         .signature = report->signature,
                         .source = source,
                         .run_id = job->run_id,
                         .training_id = {PURLIN_SET, job->id},
                         .dataset = {PURLIN_SET, job->dataset},
                         .description = job->cause,
                         .dataset_version = {PURLIN_SET, job->dataset_version},
                         .metrics = metrics};
  version_out out;
  status = purlin_call(ctx, "registry.create_version", version_in_schema(), &in, version_out_schema(), &out);
  if (status == PURLIN_OK) job->version = (purlin_opt_int){PURLIN_SET, out.version};
  return status;
}

static purlin_status succeed(purlin_ctx *ctx, job_row *job, const purlin_training_report *report, const purlin_blob *said) {
  if (job->artifact_sha256.state != PURLIN_SET)
    return purlin_fail(ctx, PURLIN_PRECONDITION, "upload the artifact 'model' first");
  if (!report->signature.text || report->framework.state != PURLIN_SET)
    return purlin_fail(ctx, PURLIN_INVALID, "a report of success brings signature and framework");
  purlin_opt_text source = {0};
  job->framework = report->framework;
  purlin_status status = training_record_model(ctx, job, said, &source);
  if (status == PURLIN_OK && job->registers && job->model.state == PURLIN_SET)
    status = register_version(ctx, job, report, source);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, DESCRIBE_MODEL, report->signature, report->framework, job->version, job->id);
  const char *message = report->message.state == PURLIN_SET ? report->message.value : "done";
  return status == PURLIN_OK ? training_end(ctx, job, "succeeded", message) : status;
}

/* ---- One report ------------------------------------------------------------------------------------------------------------------------------------ */

typedef struct taking {
  const job_row *seen;
  const purlin_training_report *report;
  purlin_blob mlmodel; /* of a report of success */
} taking;

static purlin_status write_metrics(purlin_ctx *ctx, const job_row *job, const purlin_training_report *report) {
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < report->metrics.count && status == PURLIN_OK; i++) {
    const purlin_training_metric *m = &report->metrics.items[i];
    status = purlin_db_run(ctx, WRITE_METRIC, job->workspace, job->project, job->id, m->key, m->step, m->value);
  }
  return status;
}

static bool is_success(const purlin_training_report *report) {
  return report->state.state == PURLIN_SET && strcmp(report->state.value, "succeeded") == 0;
}

static purlin_status take(purlin_ctx *ctx, void *argument) {
  const taking *t = argument;
  const purlin_training_report *report = t->report;
  job_row job;
  purlin_status status = training_fence(ctx, t->seen, &job);
  if (status == PURLIN_OK) status = write_metrics(ctx, &job, report);
  if (status == PURLIN_OK) status = training_record_metrics(ctx, &job, report);
  if (status == PURLIN_OK && report->log.state == PURLIN_SET) status = training_log(ctx, &job, report->log.value);
  if (status != PURLIN_OK) return status;
  if (report->state.state != PURLIN_SET) return purlin_db_run(ctx, PROGRESS, report->progress, report->message, job.id);
  if (is_success(report)) return succeed(ctx, &job, report, &t->mlmodel);
  return training_end(ctx, &job, "failed",
                      report->message.state == PURLIN_SET ? report->message.value : "the trainer gave no reason");
}

PURLIN_ROUTE(report, "POST /api/v1/training/attempts/{job}/{attempt}/reports",
    .summary = "What a trainer has to say", .permission = "callback", .in = purlin_training_report_schema, .out = purlin_nothing_schema,
    .max_body = LARGEST_REPORT) {
  job_row job;
  purlin_training_report told;
  const char *body = NULL;
  size_t size = 0;
  purlin_status status = training_attempt(ctx, request, &job);
  if (status == PURLIN_OK) status = purlin_read_all(ctx, request, LARGEST_REPORT, &body, &size);
  if (status == PURLIN_OK) status = purlin_decode(ctx, purlin_training_report_schema(), body, size, &told);
  taking t = {&job, &told, {0}};
  if (status == PURLIN_OK && is_success(&told)) status = training_store_mlmodel(ctx, &job, &told, &t.mlmodel);
  if (status == PURLIN_OK) status = purlin_transaction(ctx, take, &t);
  return status == PURLIN_OK ? purlin_respond(ctx, request, 200, purlin_nothing_schema(), &(purlin_nothing){0}) : status;
}
