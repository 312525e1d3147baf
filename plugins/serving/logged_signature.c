#include "logged.h"
#include <string.h>

/* Columns: {"type": "double", "name": "a", "required": true}; tensors: {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape":
 * [-1, 4]}}. */
typedef struct logged_tensor {
  const char *dtype;
  purlin_doubles shape;
} logged_tensor;
PURLIN_SCHEMA(logged_tensor, "A tensor", PURLIN_REQUIRED(dtype, "Its type"), PURLIN_REQUIRED(shape, "Its shape"));

typedef struct logged_column {
  const char *type, *name;
  purlin_opt_bool required, optional;
  purlin_json tensor;
} logged_column;
PURLIN_SCHEMA(logged_column, "A column or a tensor",
    PURLIN_REQUIRED(type, "Its type"),
    PURLIN_OPTIONAL(name, "Its name"),
    PURLIN_OPTIONAL(required, "Whether it must be there"),
    PURLIN_OPTIONAL(optional, "The same, as older releases say it"),
    {.name = "tensor-spec", .offset = (uint32_t)offsetof(purlin_self_, tensor), .size = (uint32_t)sizeof(purlin_json),
     .type = PURLIN_T_JSON, .doc = "Of a tensor"});

typedef struct logged_columns {
  PURLIN_LIST_OF(logged_column) columns;
} logged_columns;
PURLIN_SCHEMA(logged_columns, "Columns", PURLIN_LIST(columns, logged_column, "The columns", .max_length = 10000));

static const struct {
  const char *theirs, *ours;
} types[] = {{"double", "FP64"},  {"float", "FP32"},   {"long", "INT64"},    {"integer", "INT32"}, {"boolean", "BOOL"},
             {"float64", "FP64"}, {"float32", "FP32"}, {"float16", "FP32"},  {"int64", "INT64"},   {"int32", "INT32"},
             {"int16", "INT16"},  {"int8", "INT8"},    {"uint64", "UINT64"}, {"uint32", "UINT32"}, {"uint16", "UINT16"},
             {"uint8", "UINT8"},  {"bool", "BOOL"}};

static const char *type_of(const char *theirs) {
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcmp(types[i].theirs, theirs) == 0) return types[i].ours;
  return NULL;
}

static purlin_status read_columns(purlin_ctx *ctx, const char *json, logged_columns *out) {
  const char *wrapped = purlin_format(ctx, "{\"columns\":%s}", json);
  if (!wrapped) return PURLIN_TOO_LARGE;
  if (purlin_decode_stored(ctx, logged_columns_schema(), wrapped, strlen(wrapped), out) == PURLIN_OK) return PURLIN_OK;
  purlin_clear_failure(ctx);
  return purlin_fail(ctx, PURLIN_CONFLICT, "the signature in MLmodel is not as MLflow writes it: %.200s", json);
}

static purlin_status add_column(purlin_ctx *ctx, const logged_column *column, purlin_tensor_spec *out) {
  const char *name = column->name ? column->name : "", *type = type_of(column->type);
  if (!type)
    return purlin_fail(ctx, PURLIN_CONFLICT,
                       "the column '%.200s' of the model's signature is of type %.100s; numbers and booleans are served",
                       name, column->type);
  *out = (purlin_tensor_spec){.name = name, .datatype = type};
  bool optional = column->optional.value || (column->required.state == PURLIN_SET && !column->required.value);
  if (optional) out->optional = (purlin_opt_bool){PURLIN_SET, true};
  return PURLIN_OK;
}

/* One tensor [-1, n] is n columns of its type; of how many a [-1, -1] is the model knows: none are named then. */
static purlin_status add_tensor(purlin_ctx *ctx, const logged_column *column, purlin_signature *out) {
  logged_tensor tensor = {0};
  if (purlin_decode_stored(ctx, logged_tensor_schema(), column->tensor.text, column->tensor.size, &tensor) != PURLIN_OK) {
    purlin_clear_failure(ctx);
    return purlin_fail(ctx, PURLIN_CONFLICT, "the tensor of the model's signature is not as MLflow writes it");
  }
  const char *type = type_of(tensor.dtype);
  double width = tensor.shape.count == 2 ? tensor.shape.items[1] : -2;
  if (!type || !(width == -1 || (width >= 1 && width <= 10000)))
    return purlin_fail(
        ctx, PURLIN_CONFLICT,
        "the model's signature is a tensor of %.40s with %zu dimensions; tables of numbers and booleans, of shape"
        " [-1, columns], are served",
        tensor.dtype, tensor.shape.count);
  size_t count = width == -1 ? 0 : (size_t)width;
  out->inputs.items = purlin_alloc_array(ctx, count, sizeof *out->inputs.items);
  if (!out->inputs.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) out->inputs.items[i] = (purlin_tensor_spec){.name = "", .datatype = type};
  out->inputs.count = count;
  return PURLIN_OK;
}

static purlin_status add_inputs(purlin_ctx *ctx, const char *json, purlin_signature *out) {
  logged_columns read = {0};
  purlin_status status = read_columns(ctx, json, &read);
  if (status != PURLIN_OK) return status;
  const logged_column *first = read.columns.items;
  if (read.columns.count == 1 && strcmp(first->type, "tensor") == 0 && first->tensor.text)
    return add_tensor(ctx, first, out);
  out->inputs.items = purlin_alloc_array(ctx, read.columns.count, sizeof *out->inputs.items);
  if (!out->inputs.items) return PURLIN_TOO_LARGE;
  out->inputs.count = read.columns.count;
  for (size_t i = 0; i < read.columns.count && status == PURLIN_OK; i++)
    status = add_column(ctx, &read.columns.items[i], &out->inputs.items[i]);
  return status;
}

/* What comes out is of the predictor's type whatever the signature says; it only has the name. */
static void name_output(purlin_ctx *ctx, const char *json, purlin_signature *out) {
  logged_columns read = {0};
  if (read_columns(ctx, json, &read) != PURLIN_OK) {
    purlin_clear_failure(ctx);
    return;
  }
  const char *name = read.columns.count == 1 ? read.columns.items[0].name : NULL;
  purlin_tensor_spec *one = name && *name && strlen(name) <= 250 ? purlin_alloc(ctx, sizeof *one) : NULL;
  if (!one) return;
  *one = (purlin_tensor_spec){.name = name, .datatype = "FP32"};
  out->outputs.items = one;
  out->outputs.count = 1;
}

purlin_status logged_signature(purlin_ctx *ctx, const char *inputs, const char *outputs, purlin_signature *out) {
  *out = (purlin_signature){0};
  if (outputs) name_output(ctx, outputs, out);
  return inputs ? add_inputs(ctx, inputs, out) : PURLIN_OK;
}
