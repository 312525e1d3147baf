#include "training.h"
#include <cjson/cJSON.h>
#include <purlin/contracts/artifacts.h>
#include <purlin/contracts/tracking.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_PARAMETERS = 100, LONGEST_PARAMETER = 6000, DIGEST = 36 };

static const char KEEP_RUN[] = "UPDATE training_jobs SET run_id = ? WHERE id = ?";

/* What is not there, not ours or not wanted any more does not stop a training. */
static bool is_minor(purlin_status status) {
  return status == PURLIN_NOT_FOUND || status == PURLIN_CONFLICT || status == PURLIN_FORBIDDEN ||
         status == PURLIN_TOO_MANY || status == PURLIN_INVALID;
}

static purlin_status go_on(purlin_ctx *ctx, const job_row *job, purlin_status status) {
  if (!is_minor(status)) return status;
  purlin_log(ctx, PURLIN_WARNING, "the training %s is not in its run: %s", job->id, purlin_failure(ctx));
  purlin_clear_failure(ctx);
  return PURLIN_OK;
}

/* ---- It begins ----------------------------------------------------------------------------------------------------------------------- */

/* The experiment of that name, made if there is none. PURLIN_CONFLICT: somebody has it whose experiments the training does not see. */
static purlin_status find_experiment(purlin_ctx *ctx, const char *name, const char **id) {
  const tracking_which_experiment which = {.name = name};
  const tracking_create_experiment fresh = {.name = name};
  tracking_experiment found = {0};
  purlin_status status = purlin_call(ctx, "tracking.get_experiment", tracking_which_experiment_schema(), &which,
                                     tracking_experiment_schema(), &found);
  if (status == PURLIN_NOT_FOUND || status == PURLIN_FORBIDDEN) {
    purlin_clear_failure(ctx);
    status = purlin_call(ctx, "tracking.create_experiment", tracking_create_experiment_schema(), &fresh,
                         tracking_experiment_schema(), &found);
  }
  *id = found.id;
  if (status != PURLIN_OK || strcmp(found.lifecycle, "active") == 0) return status;
  return purlin_fail(ctx, PURLIN_CONFLICT, "the experiment '%s' was deleted", name);
}

/* That of the model's name; where it is taken, one with the project in its name. */
static purlin_status choose_experiment(purlin_ctx *ctx, const job_row *job, const char **id) {
  const char *name = job->model.state == PURLIN_SET ? job->model.value : "trainings";
  const char *other = purlin_format(ctx, "%s (%s)", name, job->project);
  if (!other) return PURLIN_TOO_LARGE;
  purlin_status status = find_experiment(ctx, name, id);
  if (status != PURLIN_CONFLICT) return status;
  purlin_clear_failure(ctx);
  return find_experiment(ctx, other, id);
}

/* The scalars of the specification, as parameters. */
static size_t read_parameters(purlin_ctx *ctx, purlin_json specification, tracking_pair *out) {
  cJSON *object = cJSON_ParseWithLength(specification.text, specification.size);
  size_t count = 0;
  for (const cJSON *item = object ? object->child : NULL; item && count < MOST_PARAMETERS; item = item->next) {
    if (cJSON_IsNull(item) || !item->string || !*item->string) continue;
    char *text = cJSON_IsString(item) ? NULL : cJSON_PrintUnformatted(item);
    const char *value = purlin_copy(ctx, text ? text : cJSON_IsString(item) ? item->valuestring : "");
    const char *key = purlin_copy(ctx, item->string);
    cJSON_free(text);
    if (key && value && strlen(value) <= LONGEST_PARAMETER) out[count++] = (tracking_pair){key, value};
  }
  cJSON_Delete(object);
  return count;
}

static purlin_status log_parameters(purlin_ctx *ctx, const job_row *job, const char *run_id) {
  purlin_nothing nothing;
  tracking_log_batch batch = {.run_id = run_id};
  batch.parameters.items = purlin_alloc_array(ctx, MOST_PARAMETERS + 4, sizeof *batch.parameters.items);
  if (!batch.parameters.items) return PURLIN_TOO_LARGE;
  batch.parameters.count = read_parameters(ctx, job->specification, batch.parameters.items);
  return purlin_call(ctx, "tracking.log_batch", tracking_log_batch_schema(), &batch, purlin_nothing_schema(), &nothing);
}

typedef struct http_source {
  const char *url;
} http_source;
PURLIN_SCHEMA(http_source, "Where a dataset is", PURLIN_REQUIRED(url, "Its address"));

/* What it learns from, as MLflow's clients tell of a dataset: they know it by name and digest. */
static purlin_status log_dataset(purlin_ctx *ctx, const job_row *job, const char *run_id) {
  purlin_nothing nothing;
  tracking_pair context = {"mlflow.data.context", "training"};
  const char *digest = purlin_copy_bytes(ctx, job->dataset_sha256, DIGEST);
  const char *url = purlin_format(ctx, "%s/api/v1/datasets/%s/versions/%lld/content", purlin_server_url(), job->dataset,
                                  (long long)job->dataset_version);
  purlin_json source;
  if (!digest || !url) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_encode(ctx, http_source_schema(), &(http_source){url}, &source);
  if (status != PURLIN_OK) return status;
  tracking_dataset_input read = {.name = job->dataset, .digest = digest, .source_type = "http", .source = source.text};
  read.tags.items = &context;
  read.tags.count = 1;
  tracking_log_inputs in = {.run_id = run_id};
  in.datasets.items = &read;
  in.datasets.count = 1;
  return purlin_call(ctx, "tracking.log_inputs", tracking_log_inputs_schema(), &in, purlin_nothing_schema(), &nothing);
}

static purlin_status begin_run(purlin_ctx *ctx, const job_row *job, const char *experiment_id, const char **run_id) {
  tracking_pair tags[] = {{"mlflow.source.type", "JOB"},
                          {"mlflow.source.name", job->trainer},
                          {"purlin.training", job->id},
                          {"purlin.dataset", purlin_format(ctx, "%s/%lld", job->dataset, (long long)job->dataset_version)},
                          {"purlin.cause", job->cause.value}};
  tracking_create_run in = {.experiment_id = experiment_id, .name = job->id, .user = job->created_by};
  tracking_run made = {0};
  in.tags.items = tags;
  in.tags.count = sizeof tags / sizeof tags[0] - (job->cause.state == PURLIN_SET ? 0 : 1);
  if (!tags[3].value) return PURLIN_TOO_LARGE;
  purlin_status status =
      purlin_call(ctx, "tracking.create_run", tracking_create_run_schema(), &in, tracking_run_schema(), &made);
  *run_id = made.id;
  return status;
}

static purlin_status record(purlin_ctx *ctx, void *argument) {
  job_row *job = argument;
  const char *experiment_id = NULL, *run_id = NULL;
  purlin_status status = choose_experiment(ctx, job, &experiment_id);
  if (status == PURLIN_OK) status = begin_run(ctx, job, experiment_id, &run_id);
  if (status == PURLIN_OK) status = log_parameters(ctx, job, run_id);
  if (status == PURLIN_OK) status = log_dataset(ctx, job, run_id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, KEEP_RUN, run_id, job->id);
  if (status == PURLIN_OK) job->run_id = (purlin_opt_text){PURLIN_SET, run_id};
  return status;
}

purlin_status training_record(purlin_ctx *ctx, job_row *job) {
  if (job->run_id.state == PURLIN_SET) return PURLIN_OK;
  return go_on(ctx, job, purlin_transaction(ctx, record, job));
}

/* ---- While it goes on ------------------------------------------------------------------------------------------------------------------ */

purlin_status training_record_metrics(purlin_ctx *ctx, const job_row *job, const purlin_training_report *report) {
  purlin_nothing nothing;
  size_t count = report->metrics.count;
  if (job->run_id.state != PURLIN_SET || count == 0) return PURLIN_OK;
  tracking_log_batch batch = {.run_id = job->run_id.value};
  batch.metrics.items = purlin_alloc_array(ctx, count, sizeof *batch.metrics.items);
  if (!batch.metrics.items) return PURLIN_TOO_LARGE;
  batch.metrics.count = count;
  for (size_t i = 0; i < count; i++) {
    const purlin_training_metric *m = &report->metrics.items[i];
    batch.metrics.items[i] = (tracking_measure){.key = m->key, .value = m->value, .step = m->step};
  }
  return go_on(
      ctx, job,
      purlin_call(ctx, "tracking.log_batch", tracking_log_batch_schema(), &batch, purlin_nothing_schema(), &nothing));
}

purlin_status training_record_file(purlin_ctx *ctx, const job_row *job, const char *path, const purlin_blob *blob) {
  const purlin_artifacts *artifacts = purlin_use(ctx, artifacts, NULL);
  const artifacts_place place = {.kind = "run", .owner = job->run_id.value, .path = path};
  artifacts_file file;
  if (job->run_id.state != PURLIN_SET) return PURLIN_OK;
  return artifacts ? go_on(ctx, job, artifacts->name(ctx, &place, blob, &file)) : PURLIN_UNAVAILABLE;
}

/* ---- Its model -------------------------------------------------------------------------------------------------------------------------- */

purlin_status training_record_model(purlin_ctx *ctx, const job_row *job, const purlin_blob *said, purlin_opt_text *source) {
  const char *file = said->sha256 ? training_model_file(job->framework.value) : NULL;
  if (!file || job->run_id.state != PURLIN_SET) return PURLIN_OK;
  const artifacts_which_owner which = {job->run_id.value};
  const purlin_blob model = {job->artifact_sha256.value, job->artifact_size.value};
  artifacts_owner owner = {0};
  purlin_status status =
      purlin_call(ctx, "tracking.locate_run", artifacts_which_owner_schema(), &which, artifacts_owner_schema(), &owner);
  if (status == PURLIN_OK && strcmp(owner.lifecycle, "active") != 0)
    status = purlin_fail(ctx, PURLIN_CONFLICT, "its run was deleted");
  if (status != PURLIN_OK) return go_on(ctx, job, status);
  const char *path = purlin_format(ctx, "model/%s", file), *uri = purlin_format(ctx, "%s/model", owner.uri);
  if (!path || !uri) return PURLIN_TOO_LARGE;
  status = training_record_file(ctx, job, path, &model);
  if (status == PURLIN_OK) status = training_record_file(ctx, job, "model/MLmodel", said);
  if (status == PURLIN_OK) *source = (purlin_opt_text){PURLIN_SET, uri};
  return status;
}

/* ---- It ends ------------------------------------------------------------------------------------------------------------------------------ */

typedef struct ended {
  const char *job_id, *state;
} ended;
PURLIN_SCHEMA(ended, "A training has ended",
    PURLIN_REQUIRED(job_id, "The job"),
    PURLIN_REQUIRED(state, "How"));

/* Whoever ended it, a person without rights over runs among them. */
PURLIN_LISTENER(on_finished, "training.finished", ended) {
  static const struct {
    const char *state, *status;
  } ends[] = {{"succeeded", "finished"}, {"failed", "failed"}, {"cancelled", "killed"}};
  job_row job;
  tracking_run run = {0};
  purlin_status status = training_row(ctx, event->job_id, false, &job);
  if (status == PURLIN_NOT_FOUND) return go_on(ctx, &(job_row){.id = event->job_id}, status);
  if (status != PURLIN_OK || job.run_id.state != PURLIN_SET) return status;
  tracking_update_run change = {.run_id = job.run_id.value};
  for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
    if (strcmp(ends[i].state, event->state) == 0) change.status = ends[i].status;
  return go_on(ctx, &job,
               purlin_call(ctx, "tracking.update_run", tracking_update_run_schema(), &change, tracking_run_schema(), &run));
}
