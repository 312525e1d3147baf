#include "training.h"
#include <purlin/contracts/predictor.h>
#include <stdio.h>
#include <string.h>

/* How MLflow's clients load what a predictor of ours serves. */
static const struct {
  const char *framework, *file, *flavor;
} flavors[] = {
    {"xgboost", "model.json",
     "  python_function:\n    data: model.json\n    loader_module: mlflow.xgboost\n"
     "  xgboost:\n    data: model.json\n    model_class: xgboost.core.Booster\n    model_format: json\n"},
};

enum { FLAVORS = sizeof flavors / sizeof flavors[0] };

static size_t find(const char *framework) {
  size_t i = 0;
  for (; i < FLAVORS && !(framework && strcmp(flavors[i].framework, framework) == 0); i++) continue;
  return i;
}

const char *training_model_file(const char *framework) {
  size_t i = find(framework);
  return i < FLAVORS ? flavors[i].file : NULL;
}

/* Numbers all of them: clients would refuse doubles for narrower types, as data frames have them. */
typedef struct mlflow_column {
  const char *type, *name;
  bool required;
} mlflow_column;
PURLIN_SCHEMA(mlflow_column, "A column",
    PURLIN_REQUIRED(type, "Its type"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(required, "Whether it must be there"));
typedef struct mlflow_columns {
  PURLIN_LIST_OF(mlflow_column) columns;
} mlflow_columns;
PURLIN_SCHEMA(mlflow_columns, "Columns", PURLIN_LIST(columns, mlflow_column, "The columns"));

/* The list as JSON in a YAML text: within quotes, a quote is written twice. NULL without memory. */
static const char *quote_columns(purlin_ctx *ctx, const purlin_signature *signature) {
  mlflow_columns list = {0};
  purlin_json json;
  list.columns.count = signature->inputs.count;
  list.columns.items = purlin_alloc_array(ctx, list.columns.count + 1, sizeof *list.columns.items);
  if (!list.columns.items) return NULL;
  for (size_t i = 0; i < list.columns.count; i++)
    list.columns.items[i] = (mlflow_column){"double", signature->inputs.items[i].name, true};
  if (purlin_encode(ctx, mlflow_columns_schema(), &list, &json) != PURLIN_OK) return NULL;
  const char *first = strchr(json.text, '['), *last = json.text + json.size - 1;
  char *out = purlin_alloc(ctx, 2 * json.size + 3), *to = out;
  if (!out || !first) return NULL;
  *to++ = '\'';
  for (const char *at = first; at < last; at++) {
    if (*at == '\'') *to++ = '\'';
    *to++ = *at;
  }
  *to++ = '\'';
  *to = '\0';
  return out;
}

static purlin_status store(purlin_ctx *ctx, const char *text, purlin_blob *out) {
  const purlin_storage *storage = purlin_use(ctx, storage, NULL);
  purlin_blob_writer *writer = NULL;
  purlin_status status = storage ? storage->create(ctx, &writer) : PURLIN_UNAVAILABLE;
  if (status != PURLIN_OK) return status;
  status = storage->write(ctx, writer, text, strlen(text));
  if (status == PURLIN_OK) return storage->commit(ctx, writer, out);
  storage->abandon(ctx, writer);
  return status;
}

purlin_status training_store_mlmodel(purlin_ctx *ctx, const job_row *job, const purlin_training_report *report,
                                     purlin_blob *out) {
  size_t which = find(report->framework.value);
  purlin_signature signature;
  *out = (purlin_blob){0};
  if (which == FLAVORS || job->run_id.state != PURLIN_SET || !report->signature.text) return PURLIN_OK;
  purlin_status status =
      purlin_decode(ctx, purlin_signature_schema(), report->signature.text, report->signature.size, &signature);
  if (status != PURLIN_OK) return status;
  const char *columns = quote_columns(ctx, &signature);
  if (!columns) return PURLIN_TOO_LARGE;
  const char *text = purlin_format(ctx,
                                   "artifact_path: model\nflavors:\n%srun_id: %s\nsignature:\n  inputs: %s\n"
                                   "  outputs: null\n  params: null\n",
                                   flavors[which].flavor, job->run_id.value, columns);
  return text ? store(ctx, text, out) : PURLIN_TOO_LARGE;
}
