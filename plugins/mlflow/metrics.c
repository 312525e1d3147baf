#include "entities.h"
#include <stdio.h>

enum { MOST_PARAMETER = 6000, MOST_TAG = 8000 };

#define TIMESTAMP_RULE .min = 0, .max = 253402300799999

/* ---- One thing ----------------------------------------------------------------------------------------------------------------- */

typedef struct one_metric {
  const char *run_id, *key;
  double value;
  int64_t timestamp, step;
  const char *model_id, *dataset_name, *dataset_digest;
} one_metric;
PURLIN_SCHEMA(one_metric, "A measured value of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(timestamp, "When, in milliseconds since 1970", TIMESTAMP_RULE),
    PURLIN_DEFAULT(step, "0", "At which step"),
    PURLIN_OPTIONAL(model_id, "The logged model that was measured"),
    PURLIN_OPTIONAL(dataset_name, "The dataset that it was measured on"),
    PURLIN_OPTIONAL(dataset_digest, "Of this digest"));

MLFLOW_BINDING(log_metric, one_metric, purlin_nothing, "POST /api/2.0/mlflow/runs/log-metric", "tracking.log_metric") {
  const tracking_log_metric ask = {.run_id = in->run_id,
                                   .key = in->key,
                                   .value = in->value,
                                   .step = in->step,
                                   .at = mlflow_time(in->timestamp),
                                   .model_id = in->model_id,
                                   .dataset_name = in->dataset_name,
                                   .dataset_digest = in->dataset_digest};
  purlin_status status = mlflow_check_key(ctx, "name", in->key);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "tracking.log_metric", tracking_log_metric_schema(), &ask, purlin_nothing_schema(), out);
  return mlflow_refuse(ctx, status);
}

typedef struct one_pair {
  const char *run_id, *key, *value;
} one_pair;
PURLIN_SCHEMA(one_pair, "A parameter or a tag of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_REQUIRED(key, "The key"),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 1048576));

static purlin_status call_with_pair(purlin_ctx *ctx, const char *operation, const one_pair *in, size_t most,
                                    purlin_nothing *out) {
  const tracking_run_pair ask = {.run_id = in->run_id, .key = in->key, .value = mlflow_cut(ctx, in->value, most)};
  if (!ask.value) return PURLIN_TOO_LARGE;
  purlin_status status = mlflow_check_key(ctx, "key", in->key);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, operation, tracking_run_pair_schema(), &ask, purlin_nothing_schema(), out);
  return mlflow_refuse(ctx, status);
}

MLFLOW_BINDING(log_parameter, one_pair, purlin_nothing, "POST /api/2.0/mlflow/runs/log-parameter",
               "tracking.log_parameter") {
  return call_with_pair(ctx, "tracking.log_parameter", in, MOST_PARAMETER, out);
}

MLFLOW_BINDING(set_tag, one_pair, purlin_nothing, "POST /api/2.0/mlflow/runs/set-tag", "tracking.set_tag") {
  return call_with_pair(ctx, "tracking.set_tag", in, MOST_TAG, out);
}

MLFLOW_BINDING(delete_tag, one_pair, purlin_nothing, "POST /api/2.0/mlflow/runs/delete-tag", "tracking.delete_tag") {
  return call_with_pair(ctx, "tracking.delete_tag", in, MOST_TAG, out);
}

/* ---- Many things ------------------------------------------------------------------------------------------------------------------ */

typedef struct batch_metric {
  const char *key;
  double value;
  int64_t timestamp, step;
  const char *model_id, *dataset_name, *dataset_digest;
} batch_metric;
PURLIN_SCHEMA(batch_metric, "A measured value",
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(timestamp, "When, in milliseconds since 1970", TIMESTAMP_RULE),
    PURLIN_DEFAULT(step, "0", "At which step"),
    PURLIN_OPTIONAL(model_id, "The logged model that was measured"),
    PURLIN_OPTIONAL(dataset_name, "The dataset that it was measured on"),
    PURLIN_OPTIONAL(dataset_digest, "Of this digest"));

typedef struct batch {
  const char *run_id;
  PURLIN_LIST_OF(batch_metric) metrics;
  PURLIN_LIST_OF(mlflow_pair) params;
  PURLIN_LIST_OF(mlflow_pair) tags;
} batch;
PURLIN_SCHEMA(batch, "Metrics, parameters and tags of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_LIST(metrics, batch_metric, "At most 1000 metrics"),
    PURLIN_LIST(params, mlflow_pair, "At most 100 parameters"),
    PURLIN_LIST(tags, mlflow_pair, "At most 100 tags"));

static purlin_status take_metrics(purlin_ctx *ctx, const batch *in, tracking_log_batch *ask) {
  tracking_measure *items = purlin_alloc_array(ctx, in->metrics.count + 1, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->metrics.count; i++) {
    const batch_metric *m = &in->metrics.items[i];
    char path[64];
    (void)snprintf(path, sizeof path, "metrics[%zu].name", i);
    purlin_status status = mlflow_check_key(ctx, path, m->key);
    if (status != PURLIN_OK) return status;
    items[i] = (tracking_measure){.key = m->key,
                                  .value = m->value,
                                  .step = m->step,
                                  .at = mlflow_time(m->timestamp),
                                  .model_id = m->model_id,
                                  .dataset_name = m->dataset_name,
                                  .dataset_digest = m->dataset_digest};
  }
  ask->metrics.items = items;
  ask->metrics.count = in->metrics.count;
  return PURLIN_OK;
}

MLFLOW_BINDING(log_batch, batch, purlin_nothing, "POST /api/2.0/mlflow/runs/log-batch", "tracking.log_batch") {
  tracking_log_batch ask = {.run_id = in->run_id};
  purlin_status status = take_metrics(ctx, in, &ask);
  if (status == PURLIN_OK)
    status = mlflow_take_pairs(ctx, "params", in->params.items, in->params.count, MOST_PARAMETER, &ask.parameters.items);
  if (status == PURLIN_OK)
    status = mlflow_take_pairs(ctx, "tags", in->tags.items, in->tags.count, MOST_TAG, &ask.tags.items);
  ask.parameters.count = in->params.count;
  ask.tags.count = in->tags.count;
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "tracking.log_batch", tracking_log_batch_schema(), &ask, purlin_nothing_schema(), out);
  return mlflow_refuse(ctx, status);
}

/* ---- The values of a metric --------------------------------------------------------------------------------------------------------- */

typedef struct which_history {
  const char *run_id, *metric_key, *page_token;
  int64_t max_results;
} which_history;
PURLIN_SCHEMA(which_history, "Which metric",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 1000),
    PURLIN_REQUIRED(metric_key, "The metric"),
    PURLIN_DEFAULT(page_token, "\"\"", "What came as next_page_token", .max_length = 1000),
    PURLIN_DEFAULT(max_results, "25000", "At most so many; no more than 25,000 come at once", .min = 1, .max = 9e15));

typedef struct told_history {
  PURLIN_LIST_OF(mlflow_metric) metrics;
  const char *next_page_token;
} told_history;
PURLIN_SCHEMA(told_history, "The values of a metric",
    PURLIN_LIST(metrics, mlflow_metric, "The values"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

enum { MOST_HISTORY = 25000 };

MLFLOW_BINDING(get_history, which_history, told_history, "GET /api/2.0/mlflow/metrics/get-history",
               "tracking.metric_history") {
  const tracking_history_in ask = {.run_id = in->run_id,
                                   .key = in->metric_key,
                                   .page = in->page_token,
                                   .limit = in->max_results < MOST_HISTORY ? in->max_results : MOST_HISTORY};
  tracking_history found = {0};
  purlin_status status =
      purlin_call(ctx, "tracking.metric_history", tracking_history_in_schema(), &ask, tracking_history_schema(), &found);
  if (status != PURLIN_OK) return status;
  out->metrics.items = purlin_alloc_array(ctx, found.metrics.count + 1, sizeof *out->metrics.items);
  if (!out->metrics.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.metrics.count; i++) {
    const tracking_metric *m = &found.metrics.items[i];
    out->metrics.items[i] = (mlflow_metric){m->key, m->value, mlflow_ms(m->at), m->step};
  }
  out->metrics.count = found.metrics.count;
  out->next_page_token = *found.next_page ? found.next_page : NULL;
  return PURLIN_OK;
}

/* ---- Of several runs: what pages draw --------------------------------------------------------------------------------------------------- */

typedef struct run_metric {
  const char *key;
  double value;
  int64_t timestamp, step;
  const char *run_id;
} run_metric;
PURLIN_SCHEMA(run_metric, "A measured value of a run",
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(timestamp, "When, in milliseconds since 1970"),
    PURLIN_REQUIRED(step, "At which step"),
    PURLIN_REQUIRED(run_id, "The run"));
typedef struct run_metrics {
  PURLIN_LIST_OF(run_metric) metrics;
} run_metrics;
PURLIN_SCHEMA(run_metrics, "Values of a metric in several runs", PURLIN_LIST(metrics, run_metric, "The values"));

static purlin_status ask_histories(purlin_ctx *ctx, const tracking_histories_in *ask, size_t most, run_metrics *out) {
  tracking_histories found = {0};
  purlin_status status = purlin_call(ctx, "tracking.metric_histories", tracking_histories_in_schema(), ask,
                                     tracking_histories_schema(), &found);
  if (status != PURLIN_OK) return status;
  size_t count = found.metrics.count < most ? found.metrics.count : most;
  out->metrics.items = purlin_alloc_array(ctx, count + 1, sizeof *out->metrics.items);
  if (!out->metrics.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const tracking_run_metric *m = &found.metrics.items[i];
    out->metrics.items[i] = (run_metric){m->key, m->value, mlflow_ms(m->at), m->step, m->run_id};
  }
  out->metrics.count = count;
  return PURLIN_OK;
}

typedef struct which_histories {
  purlin_texts run_id;
  const char *metric_key;
  int64_t max_results;
} which_histories;
PURLIN_SCHEMA(which_histories, "Which metric of which runs",
    PURLIN_REQUIRED(run_id, "The runs", .min_length = 1, .max_length = 100),
    PURLIN_REQUIRED(metric_key, "The metric"),
    PURLIN_DEFAULT(max_results, "25000", "At most so many; no more than 25,000 come at once", .min = 1, .max = 9e15));

MLFLOW_BINDING(get_histories, which_histories, run_metrics, "GET /api/2.0/mlflow/metrics/get-history-bulk",
               "tracking.metric_histories") {
  int64_t most = in->max_results < MOST_HISTORY ? in->max_results : MOST_HISTORY;
  const tracking_histories_in ask = {.run_ids = in->run_id, .key = in->metric_key, .most = most};
  return ask_histories(ctx, &ask, (size_t)most, out);
}

typedef struct which_interval {
  purlin_texts run_ids;
  const char *metric_key;
  purlin_opt_int start_step, end_step;
  int64_t max_results;
} which_interval;
PURLIN_SCHEMA(which_interval, "Which metric of which runs, between which steps",
    PURLIN_REQUIRED(run_ids, "The runs", .min_length = 1, .max_length = 100),
    PURLIN_REQUIRED(metric_key, "The metric"),
    PURLIN_OPTIONAL(start_step, "Not before this step"),
    PURLIN_OPTIONAL(end_step, "Not after this step"),
    PURLIN_DEFAULT(max_results, "320", "At most so many of each run, evenly taken", .min = 1, .max = 2500));

MLFLOW_BINDING(get_histories_between, which_interval, run_metrics, "GET /api/2.0/mlflow/metrics/get-history-bulk-interval",
               "tracking.metric_histories") {
  const tracking_histories_in ask = {.run_ids = in->run_ids,
                                     .key = in->metric_key,
                                     .first_step = in->start_step,
                                     .last_step = in->end_step,
                                     .most = in->max_results};
  if ((in->start_step.state == PURLIN_SET) != (in->end_step.state == PURLIN_SET))
    return purlin_fail(ctx, PURLIN_INVALID,
                       "Both start_step and end_step must be specified together, or neither may be specified.");
  return ask_histories(ctx, &ask, SIZE_MAX - 1, out);
}
