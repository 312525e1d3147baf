#include "entities.h"

typedef struct experiment_answer {
  mlflow_experiment experiment;
} experiment_answer;
PURLIN_SCHEMA(experiment_answer, "An experiment", PURLIN_OBJECT(experiment, mlflow_experiment, "The experiment"));

purlin_status mlflow_tell_experiment(purlin_ctx *ctx, const tracking_experiment *e, mlflow_experiment *out) {
  *out = (mlflow_experiment){.experiment_id = e->id,
                             .name = e->name,
                             .artifact_location = e->artifact_location,
                             .lifecycle_stage = e->lifecycle,
                             .last_update_time = mlflow_ms(e->updated_at),
                             .creation_time = mlflow_ms(e->created_at)};
  out->tags.count = e->tags.count;
  out->tags.items = purlin_alloc_array(ctx, e->tags.count + 1, sizeof *out->tags.items);
  if (!out->tags.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < e->tags.count; i++)
    out->tags.items[i] = (mlflow_pair){e->tags.items[i].key, e->tags.items[i].value};
  return PURLIN_OK;
}

/* ---- Begun and read -------------------------------------------------------------------------------------------------------------- */

typedef struct new_experiment {
  const char *name, *artifact_location;
  PURLIN_LIST_OF(mlflow_pair) tags;
} new_experiment;
PURLIN_SCHEMA(new_experiment, "An experiment to begin",
    PURLIN_REQUIRED(name, "Its name", .min_length = 1, .max_length = 2000),
    PURLIN_DEFAULT(artifact_location, "\"\"", "Where its runs keep their files", .max_length = 2048),
    PURLIN_LIST(tags, mlflow_pair, "Its tags", .max_length = 100));

typedef struct new_experiment_answer {
  const char *experiment_id;
} new_experiment_answer;
PURLIN_SCHEMA(new_experiment_answer, "A new experiment", PURLIN_REQUIRED(experiment_id, "Its id"));

MLFLOW_BINDING(create_experiment, new_experiment, new_experiment_answer, "POST /api/2.0/mlflow/experiments/create",
               "tracking.create_experiment") {
  tracking_create_experiment ask = {.name = in->name, .artifact_location = in->artifact_location};
  tracking_experiment made = {0};
  purlin_status status = mlflow_take_pairs(ctx, "tags", in->tags.items, in->tags.count, SIZE_MAX - 1, &ask.tags.items);
  ask.tags.count = in->tags.count;
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "tracking.create_experiment", tracking_create_experiment_schema(), &ask,
                         tracking_experiment_schema(), &made);
  out->experiment_id = made.id;
  return status;
}

static purlin_status get(purlin_ctx *ctx, const char *name, const char *id, experiment_answer *out) {
  const tracking_which_experiment which = {.name = name, .id = id};
  tracking_experiment found = {0};
  purlin_status status = purlin_call(ctx, "tracking.get_experiment", tracking_which_experiment_schema(), &which,
                                     tracking_experiment_schema(), &found);
  return status == PURLIN_OK ? mlflow_tell_experiment(ctx, &found, &out->experiment) : status;
}

typedef struct which_experiment {
  const char *experiment_id;
} which_experiment;
PURLIN_SCHEMA(which_experiment, "Which experiment", PURLIN_REQUIRED(experiment_id, "Its id", .min_length = 1, .max_length = 64));

MLFLOW_BINDING(get_experiment, which_experiment, experiment_answer, "GET /api/2.0/mlflow/experiments/get",
               "tracking.get_experiment") {
  return get(ctx, NULL, in->experiment_id, out);
}

typedef struct experiment_named {
  const char *experiment_name;
} experiment_named;
PURLIN_SCHEMA(experiment_named, "Which experiment", PURLIN_REQUIRED(experiment_name, "Its name", .min_length = 1, .max_length = 2000));

MLFLOW_BINDING(get_experiment_by_name, experiment_named, experiment_answer, "GET /api/2.0/mlflow/experiments/get-by-name",
               "tracking.get_experiment") {
  return get(ctx, in->experiment_name, NULL, out);
}

/* ---- Changed ------------------------------------------------------------------------------------------------------------------------ */

static purlin_status change(purlin_ctx *ctx, const char *operation, const which_experiment *in) {
  const tracking_which_experiment which = {.id = in->experiment_id};
  tracking_experiment found = {0};
  return purlin_call(ctx, operation, tracking_which_experiment_schema(), &which, tracking_experiment_schema(), &found);
}

MLFLOW_BINDING(delete_experiment, which_experiment, purlin_nothing, "POST /api/2.0/mlflow/experiments/delete",
               "tracking.delete_experiment") {
  return change(ctx, "tracking.delete_experiment", in);
}

MLFLOW_BINDING(restore_experiment, which_experiment, purlin_nothing, "POST /api/2.0/mlflow/experiments/restore",
               "tracking.restore_experiment") {
  return change(ctx, "tracking.restore_experiment", in);
}

typedef struct renamed_experiment {
  const char *experiment_id, *new_name;
} renamed_experiment;
PURLIN_SCHEMA(renamed_experiment, "What an experiment is called",
    PURLIN_REQUIRED(experiment_id, "Its id", .min_length = 1, .max_length = 64),
    PURLIN_REQUIRED(new_name, "Its new name", .min_length = 1, .max_length = 2000));

MLFLOW_BINDING(update_experiment, renamed_experiment, purlin_nothing, "POST /api/2.0/mlflow/experiments/update",
               "tracking.update_experiment") {
  const tracking_update_experiment ask = {.id = in->experiment_id, .new_name = in->new_name};
  tracking_experiment found = {0};
  return purlin_call(ctx, "tracking.update_experiment", tracking_update_experiment_schema(), &ask,
                     tracking_experiment_schema(), &found);
}

typedef struct tagged_experiment {
  const char *experiment_id, *key, *value;
} tagged_experiment;
PURLIN_SCHEMA(tagged_experiment, "A tag of an experiment",
    PURLIN_REQUIRED(experiment_id, "The experiment", .min_length = 1, .max_length = 64),
    PURLIN_REQUIRED(key, "The key", .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 80000));

static purlin_status change_tag(purlin_ctx *ctx, const char *operation, const tagged_experiment *in) {
  const tracking_experiment_tag ask = {.id = in->experiment_id, .key = in->key, .value = in->value};
  purlin_nothing nothing;
  purlin_status status = mlflow_check_key(ctx, "key", in->key);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, operation, tracking_experiment_tag_schema(), &ask, purlin_nothing_schema(), &nothing);
  return mlflow_refuse(ctx, status);
}

MLFLOW_BINDING(set_experiment_tag, tagged_experiment, purlin_nothing, "POST /api/2.0/mlflow/experiments/set-experiment-tag",
               "tracking.set_experiment_tag") {
  return change_tag(ctx, "tracking.set_experiment_tag", in);
}

MLFLOW_BINDING(delete_experiment_tag, tagged_experiment, purlin_nothing,
               "POST /api/2.0/mlflow/experiments/delete-experiment-tag", "tracking.delete_experiment_tag") {
  return change_tag(ctx, "tracking.delete_experiment_tag", in);
}
