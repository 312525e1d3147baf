/* logged_models.h: what the operations of the plugin `tracking` that are about logged models take and give, for those that call them
 * from C.
 *
 * A logged model is what a run made: its files (<purlin/contracts/artifacts.h> knows them by its id), parameters, tags, and what was
 * measured of it, on which dataset. It belongs to an experiment: whoever may see or change the experiment's runs may see or change it.
 *
 *   logged_model_which which = {.model_id = "m-..."};
 *   logged_model found = {0};
 *   status = purlin_call(ctx, "tracking.get_logged_model", logged_model_which_schema(), &which, logged_model_schema(), &found);
 *
 * Since 0.2. */
#ifndef PURLIN_CONTRACTS_LOGGED_MODELS_H
#define PURLIN_CONTRACTS_LOGGED_MODELS_H

#include <purlin/operation.h>

PURLIN_BEGIN

#define LOGGED_MODEL_STATUSES "pending, ready, failed"

/* A parameter, or a tag. */
typedef struct logged_model_pair {
  const char *key, *value;
} logged_model_pair;
PURLIN_SCHEMA(logged_model_pair, "A key and its value",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 255),
    PURLIN_REQUIRED(value, "The value", .max_length = 65535));

typedef struct logged_model_metric {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
  const char *run_id, *dataset_name, *dataset_digest;
} logged_model_metric;
PURLIN_SCHEMA(logged_model_metric, "What was measured of a model",
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(step, "At which step"),
    PURLIN_REQUIRED(at, "When"),
    PURLIN_REQUIRED(run_id, "In which run"),
    PURLIN_OPTIONAL(dataset_name, "On which dataset"),
    PURLIN_OPTIONAL(dataset_digest, "The dataset's digest"));

typedef struct logged_model {
  const char *id, *project, *experiment_id, *name, *model_type, *source_run_id, *status, *artifact_uri, *lifecycle;
  purlin_time created_at, updated_at;
  const char *created_by;
  PURLIN_LIST_OF(logged_model_pair) tags;
  PURLIN_LIST_OF(logged_model_pair) parameters;
  PURLIN_LIST_OF(logged_model_metric) metrics;
} logged_model;
PURLIN_SCHEMA(logged_model, "A model that was logged to an experiment",
    PURLIN_REQUIRED(id, "Its id: m- and 32 hexadecimal digits"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_REQUIRED(name, "A name for people; several may have the same"),
    PURLIN_OPTIONAL(model_type, "What kind of model, as the client says"),
    PURLIN_OPTIONAL(source_run_id, "The run that made it"),
    PURLIN_REQUIRED(status, "Whether its files are there", .choices = LOGGED_MODEL_STATUSES),
    PURLIN_REQUIRED(artifact_uri, "Where its files are"),
    PURLIN_REQUIRED(lifecycle, "Whether it was deleted", .choices = "active, deleted"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(updated_at, "When its status changed last"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_LIST(tags, logged_model_pair, "Its tags"),
    PURLIN_LIST(parameters, logged_model_pair, "Its parameters"),
    PURLIN_LIST(metrics, logged_model_metric, "What was measured of it; where that is very much, the latest of each metric"));

/* tracking.get_logged_model, tracking.delete_logged_model */
typedef struct logged_model_which {
  const char *model_id;
  bool deleted;
} logged_model_which;
PURLIN_SCHEMA(logged_model_which, "Which logged model",
    PURLIN_REQUIRED(model_id, "Its id", .max_length = 64),
    PURLIN_DEFAULT(deleted, "false", "Also when it was deleted"));

/* tracking.create_logged_model */
typedef struct logged_model_new {
  const char *experiment_id, *name, *model_type, *source_run_id;
  PURLIN_LIST_OF(logged_model_pair) tags;
  PURLIN_LIST_OF(logged_model_pair) parameters;
  const char *id;
} logged_model_new;
PURLIN_SCHEMA(logged_model_new, "A model to log; it is pending until it is finished",
    PURLIN_REQUIRED(experiment_id, "Its experiment", .max_length = 64),
    PURLIN_DEFAULT(name, "\"\"", "A name for people; one is made up if it is left out", .max_length = 500),
    PURLIN_DEFAULT(model_type, "\"\"", "What kind of model", .max_length = 500),
    PURLIN_DEFAULT(source_run_id, "\"\"", "The run that makes it", .max_length = 64),
    PURLIN_LIST(tags, logged_model_pair, "Tags", .max_length = 1000),
    PURLIN_LIST(parameters, logged_model_pair, "Parameters", .max_length = 1000),
    PURLIN_DEFAULT(id, "\"\"", "The id that it had on another server; a new one without it", .pattern = "(m-[0-9a-f]{32})?"));

/* tracking.finish_logged_model */
typedef struct logged_model_end {
  const char *model_id, *status;
} logged_model_end;
PURLIN_SCHEMA(logged_model_end, "How the logging of a model ended",
    PURLIN_REQUIRED(model_id, "The model", .max_length = 64),
    PURLIN_DEFAULT(status, "\"ready\"", "Whether all its files are there", .choices = "ready, failed"));

/* tracking.log_logged_model_parameters, tracking.set_logged_model_tags */
typedef struct logged_model_parameters {
  const char *model_id;
  PURLIN_LIST_OF(logged_model_pair) parameters;
} logged_model_parameters;
PURLIN_SCHEMA(logged_model_parameters, "Parameters of a logged model; each is written once",
    PURLIN_REQUIRED(model_id, "The model", .max_length = 64),
    PURLIN_LIST(parameters, logged_model_pair, "Parameters", .max_length = 1000));
typedef struct logged_model_tags {
  const char *model_id;
  PURLIN_LIST_OF(logged_model_pair) tags;
} logged_model_tags;
PURLIN_SCHEMA(logged_model_tags, "Tags of a logged model",
    PURLIN_REQUIRED(model_id, "The model", .max_length = 64),
    PURLIN_LIST(tags, logged_model_pair, "Tags", .max_length = 1000));

/* tracking.delete_logged_model_tag */
typedef struct logged_model_tag {
  const char *model_id, *key;
} logged_model_tag;
PURLIN_SCHEMA(logged_model_tag, "A tag of a logged model",
    PURLIN_REQUIRED(model_id, "The model", .max_length = 64),
    PURLIN_REQUIRED(key, "The tag", .max_length = 255));

/* tracking.search_logged_models */
typedef struct logged_model_dataset {
  const char *name, *digest;
} logged_model_dataset;
PURLIN_SCHEMA(logged_model_dataset, "A dataset that something was measured on",
    PURLIN_REQUIRED(name, "Its name", .min_length = 1, .max_length = 500),
    PURLIN_DEFAULT(digest, "\"\"", "Its digest; any if it is left out", .max_length = 36));
typedef struct logged_model_order {
  const char *key;
  bool ascending;
  const char *dataset_name, *dataset_digest;
} logged_model_order;
PURLIN_SCHEMA(logged_model_order, "What to order by",
    PURLIN_REQUIRED(key, "An attribute, or metrics.NAME for its latest value", .min_length = 1, .max_length = 300),
    PURLIN_DEFAULT(ascending, "true", "The least first"),
    PURLIN_DEFAULT(dataset_name, "\"\"", "Of a metric: on this dataset", .max_length = 500),
    PURLIN_DEFAULT(dataset_digest, "\"\"", "Of this digest", .max_length = 36));
typedef struct logged_model_search {
  purlin_texts experiment_ids;
  const char *condition;
  PURLIN_LIST_OF(logged_model_dataset) datasets;
  PURLIN_LIST_OF(logged_model_order) order;
  const char *page;
  int64_t limit;
} logged_model_search;
PURLIN_SCHEMA(logged_model_search, "Which logged models",
    PURLIN_OPTIONAL(experiment_ids, "Of these experiments; of all if they are left out", .max_length = 1000),
    PURLIN_DEFAULT(condition, "\"\"", "Such as metrics.accuracy > 0.9 AND params.depth = '6'; all without it"),
    PURLIN_LIST(datasets, logged_model_dataset, "What is said of metrics is said of those on one of these datasets", .max_length = 100),
    PURLIN_LIST(order, logged_model_order, "The newest first without it", .max_length = 15),
    PURLIN_DEFAULT(page, "\"\"", "What came as next_page with the page before"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct logged_model_page {
  PURLIN_LIST_OF(logged_model) models;
  const char *next_page;
} logged_model_page;
PURLIN_SCHEMA(logged_model_page, "Logged models",
    PURLIN_LIST(models, logged_model, "The models"),
    PURLIN_OPTIONAL(next_page, "Asks for the next page; none after the last"));

/* tracking.record_model */
typedef struct logged_model_record {
  const char *run_id, *key;
  purlin_json model;
} logged_model_record;
PURLIN_SCHEMA(logged_model_record, "What a run says of a model that it logged",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 256),
    PURLIN_DEFAULT(key, "\"mlflow.log-model.history\"", "The tag of the run that holds the list", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(model, "A JSON object", .max_length = 24000));

PURLIN_END

#endif
