#include "entities.h"
#include <string.h>

enum { MOST_TAG = 8000 };

static const struct {
  const char *ours, *theirs;
} statuses[] = {{"running", "RUNNING"},
                {"scheduled", "SCHEDULED"},
                {"finished", "FINISHED"},
                {"failed", "FAILED"},
                {"killed", "KILLED"}};
enum { STATUSES = sizeof statuses / sizeof statuses[0] };

/* ---- Told ---------------------------------------------------------------------------------------------------------------------- */

purlin_status mlflow_tell_info(purlin_ctx *ctx, const tracking_run *run, mlflow_run_info *out) {
  *out = (mlflow_run_info){.run_id = run->id,
                           .run_uuid = run->id,
                           .run_name = run->name,
                           .experiment_id = run->experiment_id,
                           .user_id = run->user,
                           .start_time = mlflow_ms(run->started_at),
                           .artifact_uri = run->artifact_uri,
                           .lifecycle_stage = run->lifecycle};
  if (run->ended_at.unix_us) out->end_time = (purlin_opt_int){PURLIN_SET, mlflow_ms(run->ended_at)};
  for (size_t i = 0; i < STATUSES; i++)
    if (strcmp(statuses[i].ours, run->status) == 0) out->status = statuses[i].theirs;
  return out->status ? PURLIN_OK : purlin_fail(ctx, PURLIN_INTERNAL, "the status '%s' is not known", run->status);
}

/* Pairs and links look alike on both sides. */
_Static_assert(sizeof(mlflow_pair) == sizeof(tracking_pair), "a pair is a pair");
_Static_assert(sizeof(mlflow_model_link) == sizeof(tracking_model_link), "a link is a link");

static mlflow_pair *as_pairs(tracking_pair *pairs) { return (mlflow_pair *)(void *)pairs; }
static mlflow_model_link *as_links(tracking_model_link *links) { return (mlflow_model_link *)(void *)links; }

static purlin_status tell_metrics(purlin_ctx *ctx, const tracking_run *run, mlflow_run_data *out) {
  size_t count = run->metrics.count;
  out->metrics.items = purlin_alloc_array(ctx, count + 1, sizeof *out->metrics.items);
  if (!out->metrics.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const tracking_metric *m = &run->metrics.items[i];
    out->metrics.items[i] = (mlflow_metric){m->key, m->value, mlflow_ms(m->at), m->step};
  }
  out->metrics.count = count;
  return PURLIN_OK;
}

static purlin_status tell_datasets(purlin_ctx *ctx, const tracking_run *run, mlflow_run_inputs *out) {
  size_t count = run->datasets.count;
  out->dataset_inputs.items = purlin_alloc_array(ctx, count + 1, sizeof *out->dataset_inputs.items);
  if (!out->dataset_inputs.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const tracking_dataset_input *d = &run->datasets.items[i];
    mlflow_dataset_input *told = &out->dataset_inputs.items[i];
    told->dataset = (mlflow_dataset){d->name, d->digest, d->source_type, d->source, d->schema, d->profile};
    told->tags.items = as_pairs(d->tags.items);
    told->tags.count = d->tags.count;
  }
  out->dataset_inputs.count = count;
  return PURLIN_OK;
}

purlin_status mlflow_tell_run(purlin_ctx *ctx, const tracking_run *run, mlflow_run *out) {
  purlin_status status = mlflow_tell_info(ctx, run, &out->info);
  if (status == PURLIN_OK) status = tell_metrics(ctx, run, &out->data);
  if (status == PURLIN_OK) status = tell_datasets(ctx, run, &out->inputs);
  if (status != PURLIN_OK) return status;
  out->data.params.items = as_pairs(run->parameters.items);
  out->data.params.count = run->parameters.count;
  out->data.tags.items = as_pairs(run->tags.items);
  out->data.tags.count = run->tags.count;
  out->inputs.model_inputs.items = as_links(run->model_inputs.items);
  out->inputs.model_inputs.count = run->model_inputs.count;
  out->outputs.model_outputs.items = as_links(run->model_outputs.items);
  out->outputs.model_outputs.count = run->model_outputs.count;
  return PURLIN_OK;
}

typedef struct run_answer {
  mlflow_run run;
} run_answer;
PURLIN_SCHEMA(run_answer, "A run", PURLIN_OBJECT(run, mlflow_run, "The run"));

/* ---- Begun and read -------------------------------------------------------------------------------------------------------------- */

typedef struct new_run {
  const char *experiment_id, *user_id, *run_name;
  purlin_opt_int start_time;
  PURLIN_LIST_OF(mlflow_pair) tags;
} new_run;
PURLIN_SCHEMA(new_run, "A run to begin",
    PURLIN_DEFAULT(experiment_id, "\"0\"", "The experiment", .max_length = 64),
    PURLIN_DEFAULT(user_id, "\"\"", "Whose it is", .max_length = 1000),
    PURLIN_DEFAULT(run_name, "\"\"", "A name for people", .max_length = 1000),
    PURLIN_OPTIONAL(start_time, "When it began, in milliseconds since 1970", .min = 0, .max = 253402300799999),
    PURLIN_LIST(tags, mlflow_pair, "Its tags", .max_length = 1000));

MLFLOW_BINDING(create_run, new_run, run_answer, "POST /api/2.0/mlflow/runs/create", "tracking.create_run") {
  tracking_create_run ask = {.experiment_id = *in->experiment_id ? in->experiment_id : "0",
                             .name = in->run_name,
                             .user = mlflow_cut(ctx, in->user_id, 256)};
  tracking_run made = {0};
  if (in->start_time.state == PURLIN_SET) ask.started_at = mlflow_time(in->start_time.value);
  purlin_status status = mlflow_take_pairs(ctx, "tags", in->tags.items, in->tags.count, MOST_TAG, &ask.tags.items);
  ask.tags.count = in->tags.count;
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "tracking.create_run", tracking_create_run_schema(), &ask, tracking_run_schema(), &made);
  return status == PURLIN_OK ? mlflow_tell_run(ctx, &made, &out->run) : mlflow_refuse(ctx, status);
}

static purlin_status call(purlin_ctx *ctx, const char *operation, const mlflow_which_run *in, tracking_run *found) {
  const tracking_which_run which = {.run_id = in->run_id};
  purlin_status status = purlin_call(ctx, operation, tracking_which_run_schema(), &which, tracking_run_schema(), found);
  return mlflow_refuse(ctx, status);
}

MLFLOW_BINDING(get_run, mlflow_which_run, run_answer, "GET /api/2.0/mlflow/runs/get", "tracking.get_run") {
  tracking_run found = {0};
  purlin_status status = call(ctx, "tracking.get_run", in, &found);
  return status == PURLIN_OK ? mlflow_tell_run(ctx, &found, &out->run) : status;
}

/* ---- Changed ------------------------------------------------------------------------------------------------------------------------ */

typedef struct changed_run {
  const char *run_id, *status, *run_name;
  purlin_opt_int end_time;
} changed_run;
PURLIN_SCHEMA(changed_run, "What changes of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_OPTIONAL(status, "Where it stands", .choices = "RUNNING, SCHEDULED, FINISHED, FAILED, KILLED"),
    PURLIN_OPTIONAL(run_name, "Its name", .max_length = 1000),
    PURLIN_OPTIONAL(end_time, "When it ended, in milliseconds since 1970", .min = 0, .max = 253402300799999));

typedef struct changed_run_answer {
  mlflow_run_info run_info;
} changed_run_answer;
PURLIN_SCHEMA(changed_run_answer, "The run as it is now", PURLIN_OBJECT(run_info, mlflow_run_info, "The run"));

MLFLOW_BINDING(update_run, changed_run, changed_run_answer, "POST /api/2.0/mlflow/runs/update", "tracking.update_run") {
  tracking_update_run ask = {.run_id = in->run_id, .name = in->run_name && *in->run_name ? in->run_name : NULL};
  tracking_run found = {0};
  if (in->end_time.state == PURLIN_SET) ask.ended_at = mlflow_time(in->end_time.value);
  for (size_t i = 0; i < STATUSES && in->status; i++)
    if (strcmp(statuses[i].theirs, in->status) == 0) ask.status = statuses[i].ours;
  purlin_status status =
      purlin_call(ctx, "tracking.update_run", tracking_update_run_schema(), &ask, tracking_run_schema(), &found);
  return status == PURLIN_OK ? mlflow_tell_info(ctx, &found, &out->run_info) : mlflow_refuse(ctx, status);
}

MLFLOW_BINDING(delete_run, mlflow_which_run, purlin_nothing, "POST /api/2.0/mlflow/runs/delete", "tracking.delete_run") {
  tracking_run found = {0};
  return call(ctx, "tracking.delete_run", in, &found);
}

MLFLOW_BINDING(restore_run, mlflow_which_run, purlin_nothing, "POST /api/2.0/mlflow/runs/restore", "tracking.restore_run") {
  tracking_run found = {0};
  return call(ctx, "tracking.restore_run", in, &found);
}
