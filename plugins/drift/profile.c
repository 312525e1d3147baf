#include "drift.h"
#include <purlin/contracts/predictor.h>
#include <float.h>
#include <math.h>
#include <string.h>

/* What we need of serving.get_signature and datasets.get_version. */
typedef struct model_in {
  const char *name, *version;
} model_in;
PURLIN_SCHEMA(model_in, "Which version",
    PURLIN_REQUIRED(name, "The model"),
    PURLIN_REQUIRED(version, "Its number"));
typedef struct data_in {
  const char *name;
  int64_t version;
} data_in;
PURLIN_SCHEMA(data_in, "Which version",
    PURLIN_REQUIRED(name, "The dataset"),
    PURLIN_REQUIRED(version, "Its number"));
typedef struct data_column {
  const char *name;
  purlin_doubles quantiles;
} data_column;
PURLIN_SCHEMA(data_column, "A column",
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_OPTIONAL(quantiles, "Its percentiles"));
typedef struct data_out {
  PURLIN_LIST_OF(data_column) columns;
} data_out;
PURLIN_SCHEMA(data_out, "A version of a dataset", PURLIN_LIST(columns, data_column, "Its columns"));

static const data_column *column_named(const data_out *data, const char *name) {
  for (size_t i = 0; i < data->columns.count; i++)
    if (strcmp(data->columns.items[i].name, name) == 0) return &data->columns.items[i];
  return NULL;
}

/* Values are compared as floats: what is beyond them is as far as they go. */
static purlin_status within_floats(purlin_ctx *ctx, purlin_doubles from, purlin_doubles *out) {
  double *values = purlin_alloc_array(ctx, from.count, sizeof *values);
  if (!values) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < from.count; i++) values[i] = fmin(fmax(from.items[i], -(double)FLT_MAX), (double)FLT_MAX);
  *out = (purlin_doubles){values, from.count};
  return PURLIN_OK;
}

static purlin_status match(purlin_ctx *ctx, const purlin_signature *signature, const data_out *data, const char *dataset,
                           profile *out) {
  size_t count = signature->inputs.count;
  out->columns.items = purlin_alloc_array(ctx, count, sizeof *out->columns.items);
  if (!out->columns.items) return PURLIN_TOO_LARGE;
  out->columns.count = count;
  for (size_t i = 0; i < count; i++) {
    const char *name = signature->inputs.items[i].name;
    const data_column *found = column_named(data, name);
    if (!found) return purlin_fail_field(ctx, "dataset", "the model's input '%s' is no column of '%s'", name, dataset);
    if (found->quantiles.count != STATISTICS_PERCENTILES)
      return purlin_fail_field(ctx, "dataset", "the column '%s' of '%s' has no percentiles: it holds no numbers", name,
                               dataset);
    out->columns.items[i].name = name;
    purlin_status status = within_floats(ctx, found->quantiles, &out->columns.items[i].quantiles);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

purlin_status profile_load(purlin_ctx *ctx, const char *model, int64_t version, const char *dataset,
                           int64_t dataset_version, purlin_json *out) {
  const char *number = purlin_format(ctx, "%lld", (long long)version);
  if (!number) return PURLIN_TOO_LARGE;
  purlin_signature signature = {0};
  data_out data = {0};
  profile made = {0};
  purlin_status status = purlin_call(ctx, "serving.get_signature", model_in_schema(), &(model_in){model, number},
                                     purlin_signature_schema(), &signature);
  if (status == PURLIN_OK)
    status = purlin_call(ctx, "datasets.get_version", data_in_schema(), &(data_in){dataset, dataset_version},
                         data_out_schema(), &data);
  if (status == PURLIN_OK) status = match(ctx, &signature, &data, dataset, &made);
  return status == PURLIN_OK ? purlin_encode(ctx, profile_schema(), &made, out) : status;
}
