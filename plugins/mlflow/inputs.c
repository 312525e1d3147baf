#include "entities.h"
#include <string.h>

/* ---- What a run read ---------------------------------------------------------------------------------------------------------- */

typedef struct run_inputs {
  const char *run_id;
  PURLIN_LIST_OF(mlflow_dataset_input) datasets;
  PURLIN_LIST_OF(mlflow_model_link) models;
} run_inputs;
PURLIN_SCHEMA(run_inputs, "What a run read",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_LIST(datasets, mlflow_dataset_input, "Datasets", .max_length = 1000),
    PURLIN_LIST(models, mlflow_model_link, "Logged models", .max_length = 1000));

_Static_assert(sizeof(mlflow_pair) == sizeof(tracking_pair), "a pair is a pair");
_Static_assert(sizeof(mlflow_model_link) == sizeof(tracking_model_link), "a link is a link");

MLFLOW_BINDING(log_inputs, run_inputs, purlin_nothing, "POST /api/2.0/mlflow/runs/log-inputs", "tracking.log_inputs") {
  tracking_log_inputs ask = {.run_id = in->run_id};
  ask.models.items = (tracking_model_link *)(void *)in->models.items;
  ask.models.count = in->models.count;
  ask.datasets.count = in->datasets.count;
  ask.datasets.items = purlin_alloc_array(ctx, in->datasets.count + 1, sizeof *ask.datasets.items);
  if (!ask.datasets.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->datasets.count; i++) {
    const mlflow_dataset *d = &in->datasets.items[i].dataset;
    tracking_dataset_input *told = &ask.datasets.items[i];
    *told = (tracking_dataset_input){d->name, d->digest, d->source_type, d->source, d->schema, d->profile, .tags = {0}};
    told->tags.items = (tracking_pair *)(void *)in->datasets.items[i].tags.items;
    told->tags.count = in->datasets.items[i].tags.count;
  }
  return mlflow_refuse(
      ctx, purlin_call(ctx, "tracking.log_inputs", tracking_log_inputs_schema(), &ask, purlin_nothing_schema(), out));
}

/* ---- What it made --------------------------------------------------------------------------------------------------------------- */

typedef struct run_outputs {
  const char *run_id;
  PURLIN_LIST_OF(mlflow_model_link) models;
} run_outputs;
PURLIN_SCHEMA(run_outputs, "What a run made",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_LIST(models, mlflow_model_link, "Logged models", .max_length = 1000));

MLFLOW_BINDING(log_outputs, run_outputs, purlin_nothing, "POST /api/2.0/mlflow/runs/outputs", "tracking.log_outputs") {
  tracking_log_outputs ask = {.run_id = in->run_id};
  ask.models.items = (tracking_model_link *)(void *)in->models.items;
  ask.models.count = in->models.count;
  return mlflow_refuse(
      ctx, purlin_call(ctx, "tracking.log_outputs", tracking_log_outputs_schema(), &ask, purlin_nothing_schema(), out));
}

/* ---- Datasets of experiments ------------------------------------------------------------------------------------------------------ */

typedef struct whose_datasets {
  purlin_texts experiment_ids;
} whose_datasets;
PURLIN_SCHEMA(whose_datasets, "Of which experiments",
    PURLIN_REQUIRED(experiment_ids, "The experiments", .min_length = 1, .max_length = 20));

typedef struct dataset_summary {
  const char *experiment_id, *name, *digest, *context;
} dataset_summary;
PURLIN_SCHEMA(dataset_summary, "A dataset that runs read",
    PURLIN_REQUIRED(experiment_id, "The experiment"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(digest, "Which content"),
    PURLIN_OPTIONAL(context, "What it was read for"));
typedef struct dataset_summaries {
  PURLIN_LIST_OF(dataset_summary) dataset_summaries;
} dataset_summaries;
PURLIN_SCHEMA(dataset_summaries, "Datasets that runs read", PURLIN_LIST(dataset_summaries, dataset_summary, "The datasets"));

MLFLOW_BINDING(search_datasets, whose_datasets, dataset_summaries, "POST /api/2.0/mlflow/experiments/search-datasets",
               "tracking.search_datasets") {
  const tracking_search_datasets ask = {in->experiment_ids};
  tracking_datasets found = {0};
  _Static_assert(sizeof(dataset_summary) == sizeof(tracking_dataset_summary), "a summary is a summary");
  purlin_status status = purlin_call(ctx, "tracking.search_datasets", tracking_search_datasets_schema(), &ask,
                                     tracking_datasets_schema(), &found);
  out->dataset_summaries.items = (dataset_summary *)(void *)found.datasets.items;
  out->dataset_summaries.count = found.datasets.count;
  return status;
}
