#include "mlflow.h"
#include <purlin/contracts/logged_models.h>
#include <string.h>

/* ---- As the protocol tells of a model ------------------------------------------------------------------------------------------------ */

typedef struct model_pair {
  const char *key, *value;
} model_pair;
PURLIN_SCHEMA(model_pair, "A tag or a parameter of a logged model",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 255),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 65535));

typedef struct model_info {
  const char *model_id, *experiment_id, *name;
  int64_t creation_timestamp_ms, last_updated_timestamp_ms;
  const char *artifact_uri, *status, *model_type, *source_run_id;
  PURLIN_LIST_OF(model_pair) tags;
} model_info;
PURLIN_SCHEMA(model_info, "A logged model",
    PURLIN_REQUIRED(model_id, "Its id"),
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(creation_timestamp_ms, "Since when"),
    PURLIN_REQUIRED(last_updated_timestamp_ms, "When its status changed last"),
    PURLIN_REQUIRED(artifact_uri, "Where its files are"),
    PURLIN_REQUIRED(status, "LOGGED_MODEL_PENDING, LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED"),
    PURLIN_OPTIONAL(model_type, "What kind of model"),
    PURLIN_OPTIONAL(source_run_id, "The run that made it"),
    PURLIN_LIST(tags, model_pair, "Its tags"));

typedef struct model_metric {
  const char *key;
  double value;
  int64_t timestamp, step;
  const char *dataset_name, *dataset_digest, *model_id, *run_id;
} model_metric;
PURLIN_SCHEMA(model_metric, "What was measured of a model",
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(timestamp, "When, in milliseconds since 1970"),
    PURLIN_REQUIRED(step, "At which step"),
    PURLIN_OPTIONAL(dataset_name, "On which dataset"),
    PURLIN_OPTIONAL(dataset_digest, "The dataset's digest"),
    PURLIN_REQUIRED(model_id, "The model"),
    PURLIN_REQUIRED(run_id, "In which run"));

typedef struct model_data {
  PURLIN_LIST_OF(model_pair) params;
  PURLIN_LIST_OF(model_metric) metrics;
} model_data;
PURLIN_SCHEMA(model_data, "What belongs to a logged model",
    PURLIN_LIST(params, model_pair, "Its parameters"),
    PURLIN_LIST(metrics, model_metric, "What was measured of it"));

typedef struct told_model {
  model_info info;
  model_data data;
} told_model;
PURLIN_SCHEMA(told_model, "A logged model and what belongs to it",
    PURLIN_OBJECT(info, model_info, "The model"),
    PURLIN_OBJECT(data, model_data, "What belongs to it"));

typedef struct model_answer {
  told_model model;
} model_answer;
PURLIN_SCHEMA(model_answer, "A logged model", PURLIN_OBJECT(model, told_model, "The model"));

/* `wire` is the number of the protocol's enum, which a client may send too. */
static const struct {
  const char *ours, *theirs, *wire;
} statuses[] = {{"pending", "LOGGED_MODEL_PENDING", "1"},
                {"ready", "LOGGED_MODEL_READY", "2"},
                {"failed", "LOGGED_MODEL_UPLOAD_FAILED", "3"}};
enum { STATUSES = sizeof statuses / sizeof statuses[0] };

static const char *told_status(const char *status) {
  for (size_t i = 0; i < STATUSES; i++)
    if (strcmp(statuses[i].ours, status) == 0) return statuses[i].theirs;
  return "LOGGED_MODEL_STATUS_UNSPECIFIED";
}

/* Keys and values of both sides are the same members in the same order: a list of one is read as the other's. */
_Static_assert(sizeof(model_pair) == sizeof(logged_model_pair) &&
                   offsetof(model_pair, value) == offsetof(logged_model_pair, value),
               "a pair is a key and a value");

static purlin_status tell(purlin_ctx *ctx, const logged_model *from, told_model *to) {
  to->info = (model_info){.model_id = from->id,
                          .experiment_id = from->experiment_id,
                          .name = from->name,
                          .creation_timestamp_ms = mlflow_ms(from->created_at),
                          .last_updated_timestamp_ms = mlflow_ms(from->updated_at),
                          .artifact_uri = from->artifact_uri,
                          .status = told_status(from->status),
                          .model_type = from->model_type,
                          .source_run_id = from->source_run_id,
                          .tags = {(model_pair *)(void *)from->tags.items, from->tags.count}};
  to->data.params.items = (model_pair *)(void *)from->parameters.items;
  to->data.params.count = from->parameters.count;
  to->data.metrics.count = from->metrics.count;
  to->data.metrics.items = purlin_alloc_array(ctx, from->metrics.count, sizeof *to->data.metrics.items);
  if (!to->data.metrics.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < from->metrics.count; i++) {
    const logged_model_metric *m = &from->metrics.items[i];
    to->data.metrics.items[i] = (model_metric){m->key,          m->value,          mlflow_ms(m->at), m->step,
                                               m->dataset_name, m->dataset_digest, from->id,         m->run_id};
  }
  return PURLIN_OK;
}

/* ---- Made, read, finished, deleted --------------------------------------------------------------------------------------------------------- */

/* What is deleted takes nothing new: to clients that is a value that does not fit. */
static purlin_status as_invalid(purlin_ctx *ctx, purlin_status status) {
  const char *why = status == PURLIN_CONFLICT ? purlin_copy(ctx, purlin_failure(ctx)) : NULL;
  return why ? purlin_fail(ctx, PURLIN_INVALID, "%s", why) : status;
}

typedef struct create_model_in {
  const char *experiment_id, *name, *model_type, *source_run_id;
  PURLIN_LIST_OF(model_pair) params;
  PURLIN_LIST_OF(model_pair) tags;
} create_model_in;
PURLIN_SCHEMA(create_model_in, "A model to log",
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_DEFAULT(name, "\"\"", "A name for people"),
    PURLIN_DEFAULT(model_type, "\"\"", "What kind of model"),
    PURLIN_DEFAULT(source_run_id, "\"\"", "The run that makes it"),
    PURLIN_LIST(params, model_pair, "Parameters"),
    PURLIN_LIST(tags, model_pair, "Tags"));

MLFLOW_BINDING(create_logged_model, create_model_in, model_answer, "POST /api/2.0/mlflow/logged-models",
               "tracking.create_logged_model") {
  logged_model_new ask = {.experiment_id = in->experiment_id,
                          .name = in->name,
                          .model_type = in->model_type,
                          .source_run_id = in->source_run_id,
                          .tags = {(logged_model_pair *)(void *)in->tags.items, in->tags.count},
                          .parameters = {(logged_model_pair *)(void *)in->params.items, in->params.count}};
  logged_model made = {0};
  purlin_status status =
      purlin_call(ctx, "tracking.create_logged_model", logged_model_new_schema(), &ask, logged_model_schema(), &made);
  return status == PURLIN_OK ? tell(ctx, &made, &out->model) : as_invalid(ctx, status);
}

typedef struct which_model {
  const char *model_id;
  bool allow_deleted;
} which_model;
PURLIN_SCHEMA(which_model, "Which logged model",
    PURLIN_REQUIRED(model_id, "Its id"),
    PURLIN_DEFAULT(allow_deleted, "false", "Also when it was deleted"));

MLFLOW_BINDING(get_logged_model, which_model, model_answer, "GET /api/2.0/mlflow/logged-models/{model_id}",
               "tracking.get_logged_model") {
  logged_model found = {0};
  logged_model_which ask = {in->model_id, in->allow_deleted};
  purlin_status status =
      purlin_call(ctx, "tracking.get_logged_model", logged_model_which_schema(), &ask, logged_model_schema(), &found);
  return status == PURLIN_OK ? tell(ctx, &found, &out->model) : status;
}

MLFLOW_BINDING(delete_logged_model, which_model, purlin_nothing, "DELETE /api/2.0/mlflow/logged-models/{model_id}",
               "tracking.delete_logged_model") {
  logged_model_which ask = {.model_id = in->model_id};
  return purlin_call(ctx, "tracking.delete_logged_model", logged_model_which_schema(), &ask, purlin_nothing_schema(), out);
}

typedef struct finalize_model_in {
  const char *model_id;
  purlin_json status;
} finalize_model_in;
PURLIN_SCHEMA(finalize_model_in, "How the logging of a model ended",
    PURLIN_REQUIRED(model_id, "The model"),
    PURLIN_REQUIRED(status, "LOGGED_MODEL_READY or LOGGED_MODEL_UPLOAD_FAILED, or their numbers", .max_length = 100));

static bool is_text(purlin_json json, const char *text) {
  size_t size = strlen(text);
  return json.size == size + 2 && json.text[0] == '"' && memcmp(json.text + 1, text, size) == 0;
}

static const char *read_status(purlin_json asked) {
  for (size_t i = 0; i < STATUSES; i++)
    if (is_text(asked, statuses[i].theirs) || is_text(asked, statuses[i].wire) ||
        (asked.size == 1 && asked.text[0] == statuses[i].wire[0]))
      return statuses[i].ours;
  return NULL;
}

MLFLOW_BINDING(finalize_logged_model, finalize_model_in, model_answer, "PATCH /api/2.0/mlflow/logged-models/{model_id}",
               "tracking.finish_logged_model") {
  logged_model found = {0};
  logged_model_end ask = {in->model_id, read_status(in->status)};
  if (!ask.status || strcmp(ask.status, "pending") == 0)
    return purlin_fail(ctx, PURLIN_INVALID, "Invalid value %.100s for parameter 'status' supplied.", in->status.text);
  purlin_status status =
      purlin_call(ctx, "tracking.finish_logged_model", logged_model_end_schema(), &ask, logged_model_schema(), &found);
  return status == PURLIN_OK ? tell(ctx, &found, &out->model) : status;
}

/* ---- Tags and parameters ---------------------------------------------------------------------------------------------------------------------- */

typedef struct model_tags_in {
  const char *model_id;
  PURLIN_LIST_OF(model_pair) tags;
} model_tags_in;
PURLIN_SCHEMA(model_tags_in, "Tags of a logged model",
    PURLIN_REQUIRED(model_id, "The model"),
    PURLIN_LIST(tags, model_pair, "Tags"));

MLFLOW_BINDING(set_logged_model_tags, model_tags_in, purlin_nothing, "PATCH /api/2.0/mlflow/logged-models/{model_id}/tags",
               "tracking.set_logged_model_tags") {
  logged_model_tags ask = {in->model_id, {(logged_model_pair *)(void *)in->tags.items, in->tags.count}};
  return purlin_call(ctx, "tracking.set_logged_model_tags", logged_model_tags_schema(), &ask, purlin_nothing_schema(), out);
}

typedef struct model_tag_in {
  const char *model_id, *tag_key;
} model_tag_in;
PURLIN_SCHEMA(model_tag_in, "A tag of a logged model",
    PURLIN_REQUIRED(model_id, "The model"),
    PURLIN_REQUIRED(tag_key, "The tag"));

MLFLOW_BINDING(delete_logged_model_tag, model_tag_in, purlin_nothing,
               "DELETE /api/2.0/mlflow/logged-models/{model_id}/tags/{tag_key}", "tracking.delete_logged_model_tag") {
  logged_model_tag ask = {in->model_id, in->tag_key};
  return purlin_call(ctx, "tracking.delete_logged_model_tag", logged_model_tag_schema(), &ask, purlin_nothing_schema(),
                     out);
}

typedef struct model_params_in {
  const char *model_id;
  PURLIN_LIST_OF(model_pair) params;
} model_params_in;
PURLIN_SCHEMA(model_params_in, "Parameters of a logged model",
    PURLIN_REQUIRED(model_id, "The model"),
    PURLIN_LIST(params, model_pair, "Parameters"));

MLFLOW_BINDING(log_logged_model_params, model_params_in, purlin_nothing,
               "POST /api/2.0/mlflow/logged-models/{model_id}/params", "tracking.log_logged_model_parameters") {
  logged_model_parameters ask = {in->model_id, {(logged_model_pair *)(void *)in->params.items, in->params.count}};
  return as_invalid(ctx, purlin_call(ctx, "tracking.log_logged_model_parameters", logged_model_parameters_schema(), &ask,
                                     purlin_nothing_schema(), out));
}

/* ---- Looked for ------------------------------------------------------------------------------------------------------------------------------------ */

typedef struct search_dataset {
  const char *dataset_name, *dataset_digest;
} search_dataset;
PURLIN_SCHEMA(search_dataset, "A dataset that metrics were measured on",
    PURLIN_DEFAULT(dataset_name, "\"\"", "Its name"),
    PURLIN_DEFAULT(dataset_digest, "\"\"", "Its digest; any if it is left out"));
typedef struct search_order {
  const char *field_name;
  bool ascending;
  const char *dataset_name, *dataset_digest;
} search_order;
PURLIN_SCHEMA(search_order, "What to order by",
    PURLIN_REQUIRED(field_name, "An attribute, or metrics.NAME"),
    PURLIN_DEFAULT(ascending, "true", "The least first"),
    PURLIN_DEFAULT(dataset_name, "\"\"", "Of a metric: on this dataset"),
    PURLIN_DEFAULT(dataset_digest, "\"\"", "Of this digest"));
typedef struct search_models_in {
  purlin_texts experiment_ids;
  const char *filter;
  PURLIN_LIST_OF(search_dataset) datasets;
  int64_t max_results;
  PURLIN_LIST_OF(search_order) order_by;
  const char *page_token;
} search_models_in;
PURLIN_SCHEMA(search_models_in, "Which logged models",
    PURLIN_REQUIRED(experiment_ids, "Of these experiments"),
    PURLIN_DEFAULT(filter, "\"\"", "A condition"),
    PURLIN_LIST(datasets, search_dataset, "What is said of metrics is said of those on one of these datasets"),
    PURLIN_DEFAULT(max_results, "50", "At most so many; never more than 1000", .min = 0, .max = 1e9),
    PURLIN_LIST(order_by, search_order, "The newest first without it"),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before"));
typedef struct search_models_answer {
  PURLIN_LIST_OF(told_model) models;
  const char *next_page_token;
} search_models_answer;
PURLIN_SCHEMA(search_models_answer, "Logged models",
    PURLIN_LIST(models, told_model, "The models"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

static purlin_status ask_datasets(purlin_ctx *ctx, const search_models_in *in, logged_model_search *ask) {
  size_t count = in->datasets.count;
  logged_model_dataset *datasets = purlin_alloc_array(ctx, count, sizeof *datasets);
  if (!datasets) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    if (!*in->datasets.items[i].dataset_name)
      return purlin_fail(ctx, PURLIN_INVALID, "`dataset_name` in the `datasets` clause must be specified.");
    datasets[i] = (logged_model_dataset){in->datasets.items[i].dataset_name, in->datasets.items[i].dataset_digest};
  }
  ask->datasets.items = datasets;
  ask->datasets.count = count;
  return PURLIN_OK;
}

static purlin_status ask_order(purlin_ctx *ctx, const search_models_in *in, logged_model_search *ask) {
  size_t count = in->order_by.count;
  logged_model_order *order = purlin_alloc_array(ctx, count, sizeof *order);
  if (!order) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const search_order *by = &in->order_by.items[i];
    order[i] = (logged_model_order){by->field_name, by->ascending, by->dataset_name, by->dataset_digest};
  }
  ask->order.items = order;
  ask->order.count = count;
  return PURLIN_OK;
}

MLFLOW_BINDING(search_logged_models, search_models_in, search_models_answer, "POST /api/2.0/mlflow/logged-models/search",
               "tracking.search_logged_models") {
  int64_t limit = in->max_results > 0 && in->max_results < 1000 ? in->max_results : in->max_results ? 1000 : 50;
  logged_model_search ask = {
      .experiment_ids = in->experiment_ids, .condition = in->filter, .page = in->page_token, .limit = limit};
  logged_model_page page = {0};
  purlin_status status = ask_datasets(ctx, in, &ask);
  if (status == PURLIN_OK) status = ask_order(ctx, in, &ask);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "tracking.search_logged_models", logged_model_search_schema(), &ask,
                         logged_model_page_schema(), &page);
  if (status != PURLIN_OK) return status;
  out->models.count = page.models.count;
  out->models.items = purlin_alloc_array(ctx, page.models.count, sizeof *out->models.items);
  if (!out->models.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < page.models.count && status == PURLIN_OK; i++)
    status = tell(ctx, &page.models.items[i], &out->models.items[i]);
  out->next_page_token = page.next_page;
  return status;
}

/* ---- What clients of MLflow 2 note in a tag ------------------------------------------------------------------------------------------------------- */

typedef struct log_model_in {
  const char *run_id, *model_json;
} log_model_in;
PURLIN_SCHEMA(log_model_in, "A model that a run logged",
    PURLIN_REQUIRED(run_id, "The run"),
    PURLIN_REQUIRED(model_json, "What MLmodel says"));

typedef struct model_fields {
  purlin_json artifact_path, flavors, utc_time_created, run_id;
} model_fields;
PURLIN_SCHEMA(model_fields, "What there must be of a model",
    PURLIN_OPTIONAL(artifact_path, "Where its files are in the run"),
    PURLIN_OPTIONAL(flavors, "How it can be loaded"),
    PURLIN_OPTIONAL(utc_time_created, "Since when"),
    PURLIN_OPTIONAL(run_id, "Its run"));

static purlin_status check_model(purlin_ctx *ctx, const char *text) {
  model_fields fields = {0};
  if (purlin_decode_stored(ctx, model_fields_schema(), text, strlen(text), &fields) != PURLIN_OK) {
    purlin_clear_failure(ctx);
    return purlin_fail(ctx, PURLIN_INVALID, "Malformed model info. \n %.1000s \n is not a valid JSON.", text);
  }
  const char *missing = !fields.artifact_path.text      ? "artifact_path"
                        : !fields.flavors.text          ? "flavors"
                        : !fields.utc_time_created.text ? "utc_time_created"
                        : !fields.run_id.text           ? "run_id"
                                                        : NULL;
  if (!missing) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INVALID, "Model json is missing mandatory fields: {'%s'}", missing);
}

MLFLOW_BINDING(log_model, log_model_in, purlin_nothing, "POST /api/2.0/mlflow/runs/log-model", "tracking.record_model") {
  purlin_status status = check_model(ctx, in->model_json);
  if (status != PURLIN_OK) return status;
  logged_model_record ask = {in->run_id, "mlflow.log-model.history", {in->model_json, strlen(in->model_json)}};
  status = purlin_call(ctx, "tracking.record_model", logged_model_record_schema(), &ask, purlin_nothing_schema(), out);
  return as_invalid(ctx, status);
}
