/* entities.h: experiments, runs and what is logged in them, as the protocol tells of them.
 *
 * names.c  which keys it takes, and how long texts may be */
#ifndef MLFLOW_ENTITIES_H
#define MLFLOW_ENTITIES_H

#include "mlflow.h"
#include <purlin/contracts/tracking.h>

typedef struct mlflow_pair {
  const char *key, *value;
} mlflow_pair;
PURLIN_SCHEMA(mlflow_pair, "A key and its value",
    PURLIN_REQUIRED(key, "The key"),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 1048576));

typedef struct mlflow_metric {
  const char *key;
  double value;
  int64_t timestamp, step;
} mlflow_metric;
PURLIN_SCHEMA(mlflow_metric, "A measured value",
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(timestamp, "When, in milliseconds since 1970"),
    PURLIN_REQUIRED(step, "At which step"));

typedef struct mlflow_experiment {
  const char *experiment_id, *name, *artifact_location, *lifecycle_stage;
  int64_t last_update_time, creation_time;
  PURLIN_LIST_OF(mlflow_pair) tags;
} mlflow_experiment;
PURLIN_SCHEMA(mlflow_experiment, "An experiment",
    PURLIN_REQUIRED(experiment_id, "Its id"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(artifact_location, "Below which URI its runs keep their files"),
    PURLIN_REQUIRED(lifecycle_stage, "Whether it was deleted"),
    PURLIN_REQUIRED(last_update_time, "When it changed last, in milliseconds since 1970"),
    PURLIN_REQUIRED(creation_time, "When it was made"),
    PURLIN_LIST(tags, mlflow_pair, "Its tags"));

typedef struct mlflow_run_info {
  const char *run_id, *run_uuid, *run_name, *experiment_id, *user_id, *status;
  int64_t start_time;
  purlin_opt_int end_time;
  const char *artifact_uri, *lifecycle_stage;
} mlflow_run_info;
PURLIN_SCHEMA(mlflow_run_info, "A run",
    PURLIN_REQUIRED(run_id, "Its id"),
    PURLIN_REQUIRED(run_uuid, "The same"),
    PURLIN_REQUIRED(run_name, "Its name"),
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_REQUIRED(user_id, "Whose it is"),
    PURLIN_REQUIRED(status, "Where it stands"),
    PURLIN_REQUIRED(start_time, "When it began, in milliseconds since 1970"),
    PURLIN_OPTIONAL(end_time, "When it ended"),
    PURLIN_REQUIRED(artifact_uri, "Where its files are"),
    PURLIN_REQUIRED(lifecycle_stage, "Whether it was deleted"));

typedef struct mlflow_run_data {
  PURLIN_LIST_OF(mlflow_metric) metrics;
  PURLIN_LIST_OF(mlflow_pair) params;
  PURLIN_LIST_OF(mlflow_pair) tags;
} mlflow_run_data;
PURLIN_SCHEMA(mlflow_run_data, "What was logged in a run",
    PURLIN_LIST(metrics, mlflow_metric, "The latest value of each metric"),
    PURLIN_LIST(params, mlflow_pair, "Its parameters"),
    PURLIN_LIST(tags, mlflow_pair, "Its tags"));

typedef struct mlflow_dataset {
  const char *name, *digest, *source_type, *source, *schema, *profile;
} mlflow_dataset;
PURLIN_SCHEMA(mlflow_dataset, "A dataset",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(digest, "Which content"),
    PURLIN_DEFAULT(source_type, "\"\"", "What kind of source"),
    PURLIN_DEFAULT(source, "\"\"", "Where it is"),
    PURLIN_OPTIONAL(schema, "Its columns", .max_length = 1048575),
    PURLIN_OPTIONAL(profile, "What is known of its content", .max_length = 16777215));

typedef struct mlflow_dataset_input {
  PURLIN_LIST_OF(mlflow_pair) tags;
  mlflow_dataset dataset;
} mlflow_dataset_input;
PURLIN_SCHEMA(mlflow_dataset_input, "A dataset that a run read",
    PURLIN_LIST(tags, mlflow_pair, "What it was read for"),
    PURLIN_OBJECT(dataset, mlflow_dataset, "The dataset"));

typedef struct mlflow_model_link {
  const char *model_id;
  int64_t step;
} mlflow_model_link;
PURLIN_SCHEMA(mlflow_model_link, "A logged model",
    PURLIN_REQUIRED(model_id, "Its id"),
    PURLIN_DEFAULT(step, "0", "At which step"));

typedef struct mlflow_run_inputs {
  PURLIN_LIST_OF(mlflow_dataset_input) dataset_inputs;
  PURLIN_LIST_OF(mlflow_model_link) model_inputs;
} mlflow_run_inputs;
PURLIN_SCHEMA(mlflow_run_inputs, "What a run read",
    PURLIN_LIST(dataset_inputs, mlflow_dataset_input, "Datasets"),
    PURLIN_LIST(model_inputs, mlflow_model_link, "Logged models"));

typedef struct mlflow_run_outputs {
  PURLIN_LIST_OF(mlflow_model_link) model_outputs;
} mlflow_run_outputs;
PURLIN_SCHEMA(mlflow_run_outputs, "What a run made", PURLIN_LIST(model_outputs, mlflow_model_link, "Logged models"));

typedef struct mlflow_run {
  mlflow_run_info info;
  mlflow_run_data data;
  mlflow_run_inputs inputs;
  mlflow_run_outputs outputs;
} mlflow_run;
PURLIN_SCHEMA(mlflow_run, "A run with what was logged in it",
    PURLIN_OBJECT(info, mlflow_run_info, "The run"),
    PURLIN_OBJECT(data, mlflow_run_data, "What was logged"),
    PURLIN_OBJECT(inputs, mlflow_run_inputs, "What it read"),
    PURLIN_OBJECT(outputs, mlflow_run_outputs, "What it made"));

typedef struct mlflow_which_run {
  const char *run_id;
} mlflow_which_run;
PURLIN_SCHEMA(mlflow_which_run, "Which run", PURLIN_REQUIRED(run_id, "Its id", .max_length = 1000));

PURLIN_CHECKED purlin_status mlflow_tell_experiment(purlin_ctx *ctx, const tracking_experiment *e, mlflow_experiment *out);
/* As the protocol tells of a run. Arena; what `run` points to is borrowed until the answer. PURLIN_TOO_LARGE. */
PURLIN_CHECKED purlin_status mlflow_tell_run(purlin_ctx *ctx, const tracking_run *run, mlflow_run *out);
PURLIN_CHECKED purlin_status mlflow_tell_info(purlin_ctx *ctx, const tracking_run *run, mlflow_run_info *out);

/* What a deleted object refuses, and a changed parameter, is a conflict here and a wrong value there. */
PURLIN_CHECKED purlin_status mlflow_refuse(purlin_ctx *ctx, purlin_status status);

/* PURLIN_INVALID, recorded, for a key that is no name of a file below a folder. `path` names it: "metrics[3].name". */
PURLIN_CHECKED purlin_status mlflow_check_key(purlin_ctx *ctx, const char *path, const char *key);
/* A text cut to that many characters; itself where it is no longer. Arena; NULL as purlin_alloc. */
const char *mlflow_cut(purlin_ctx *ctx, const char *text, size_t most);
/* Pairs with checked keys and cut values; `what` names them: "tags", or NULL for one alone. */
PURLIN_CHECKED purlin_status mlflow_take_pairs(purlin_ctx *ctx, const char *what, const mlflow_pair *pairs, size_t count,
                                               size_t most, tracking_pair **out);

#endif
