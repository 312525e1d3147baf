#include <purlin/purlin.h>
#include <purlin/contracts/predictor.h>
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

static purlin_status predict(const purlin_model *model, const float *values, size_t rows, size_t columns, float *out) {
  return columns == model->columns && model_predict(model, values, rows, out) ? PURLIN_OK : PURLIN_INTERNAL;
}

static const purlin_predictor functions = {
    .size = sizeof(purlin_predictor),
    .summary = "XGBoost's trees, from its JSON, without its library",
    .load = load,
    .unload = model_free,
    .predict = predict,
};
PURLIN_PROVIDES(predictor, "xgboost", functions);

PURLIN_PLUGIN("predictor-xgboost", "0.1.0",
    .summary = "Predicts with XGBoost models, from flat trees",
    .license = "Apache-2.0");
