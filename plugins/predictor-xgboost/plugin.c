#include <purlin/purlin.h>
#include <purlin/contracts/predictor.h>
#include <stdlib.h>
#include <string.h>
#include "model.h"

typedef struct loading {
  const char *data;
  size_t size;
  const char *const *names;
  size_t columns;
  purlin_model *model;
  char why[MODEL_WHY];
} loading;

static purlin_status parse(void *argument) {
  loading *l = argument;
  l->model = model_parse(l->data, l->size, l->names, l->columns, l->why);
  return PURLIN_OK;
}

static purlin_status load(purlin_ctx *ctx, const void *data, size_t size, const purlin_signature *signature,
                          purlin_model **model, size_t *outputs, size_t *memory_bytes) {
  size_t columns = signature->inputs.count;
  loading *l = purlin_alloc(ctx, sizeof *l);
  const char **names = purlin_alloc_array(ctx, columns ? columns : 1, sizeof *names);
  if (!l || !names) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < columns; i++) names[i] = signature->inputs.items[i].name;
  *l = (loading){.data = data, .size = size, .names = names, .columns = columns};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_CPU, parse, l);
  if (status != PURLIN_OK) return status;
  if (!l->model) return purlin_fail(ctx, PURLIN_INVALID, "%s", l->why);
  *model = l->model;
  *outputs = l->model->outputs;
  *memory_bytes = model_memory(l->model);
  return PURLIN_OK;
}

typedef struct describing {
  const char *data;
  size_t size;
  model_description told;
  bool fine;
  char why[MODEL_WHY];
} describing;

static purlin_status look(void *argument) {
  describing *d = argument;
  d->fine = model_describe(d->data, d->size, &d->told, d->why);
  return PURLIN_OK;
}

typedef struct column_names {
  purlin_texts names;
} column_names;
PURLIN_SCHEMA(column_names, "What a model calls its columns", PURLIN_REQUIRED(names, "The names"));

static purlin_status tell(purlin_ctx *ctx, const model_description *d, purlin_signature *signature) {
  column_names known = {0};
  if (d->names) {
    const char *json = purlin_format(ctx, "{\"names\":%s}", d->names);
    if (!json) return PURLIN_TOO_LARGE;
    purlin_status status = purlin_decode_stored(ctx, column_names_schema(), json, strlen(json), &known);
    if (status != PURLIN_OK) return status;
  }
  purlin_tensor_spec *inputs = purlin_alloc_array(ctx, d->columns, sizeof *inputs);
  if (!inputs) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < d->columns; i++) {
    const char *name = i < known.names.count ? known.names.items[i] : purlin_format(ctx, "f%zu", i);
    if (!name) return PURLIN_TOO_LARGE;
    inputs[i] = (purlin_tensor_spec){.name = name, .datatype = "FP32"};
  }
  signature->inputs.items = inputs;
  signature->inputs.count = d->columns;
  purlin_tensor_spec *output = purlin_alloc(ctx, sizeof *output);
  if (!output) return PURLIN_TOO_LARGE;
  *output = d->gives_class ? (purlin_tensor_spec){.name = "class", .datatype = "INT64"}
                           : (purlin_tensor_spec){.name = "output", .datatype = "FP32"};
  signature->outputs.items = output;
  signature->outputs.count = 1;
  return PURLIN_OK;
}

static purlin_status describe(purlin_ctx *ctx, const void *data, size_t size, purlin_signature *signature) {
  describing *d = purlin_alloc(ctx, sizeof *d);
  if (!d) return PURLIN_TOO_LARGE;
  *d = (describing){.data = data, .size = size};
  purlin_status status = purlin_offload(ctx, PURLIN_POOL_CPU, look, d);
  if (status == PURLIN_OK && !d->fine) status = purlin_fail(ctx, PURLIN_INVALID, "%s", d->why);
  if (status == PURLIN_OK) status = tell(ctx, &d->told, signature);
  free(d->told.names);
  return status;
}

static purlin_status predict(const purlin_model *model, const float *values, size_t rows, size_t columns, float *out) {
  return columns == model->columns && model_predict(model, values, rows, out) ? PURLIN_OK : PURLIN_INTERNAL;
}

static const purlin_predictor functions = {
    .size = sizeof(purlin_predictor),
    .summary = "XGBoost's trees, from its UBJ or JSON, without its library",
    .load = load,
    .unload = model_free,
    .predict = predict,
    .describe = describe,
};
PURLIN_PROVIDES(predictor, "xgboost", functions);

PURLIN_PLUGIN("predictor-xgboost", "0.1.0",
    .summary = "Predicts with XGBoost models, from flat trees",
    .license = "Apache-2.0");
