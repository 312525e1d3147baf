#include "mlflow.h"
#include <string.h>

typedef struct mlflow_error {
  const char *error_code, *message;
} mlflow_error;
PURLIN_SCHEMA(mlflow_error, "An error of MLflow's protocol",
    PURLIN_REQUIRED(error_code, "Which kind"),
    PURLIN_REQUIRED(message, "What is wrong"));

/* The client tells errors apart by the code, and tries again at 429, 500, 502, 503 and 504. */
static const struct {
  const char *code;
  unsigned http; /* 0: the status's own */
} codes[PURLIN_STATUS_COUNT] = {
    [PURLIN_INVALID] = {"INVALID_PARAMETER_VALUE", 400},
    [PURLIN_UNAUTHENTICATED] = {"UNAUTHENTICATED", 401},
    [PURLIN_FORBIDDEN] = {"PERMISSION_DENIED", 403},
    [PURLIN_NOT_FOUND] = {"RESOURCE_DOES_NOT_EXIST", 404},
    [PURLIN_NOT_ALLOWED] = {"ENDPOINT_NOT_FOUND", 405},
    [PURLIN_CONFLICT] = {"RESOURCE_ALREADY_EXISTS", 400},
    [PURLIN_PRECONDITION] = {"INVALID_STATE", 412},
    [PURLIN_TOO_LARGE] = {"INVALID_PARAMETER_VALUE", 413},
    [PURLIN_UNSUPPORTED] = {"INVALID_PARAMETER_VALUE", 415},
    [PURLIN_RANGE] = {"INVALID_PARAMETER_VALUE", 416},
    [PURLIN_TOO_MANY] = {"REQUEST_LIMIT_EXCEEDED", 429},
    [PURLIN_CANCELLED] = {"CANCELLED", 499},
    [PURLIN_INTERNAL] = {"INTERNAL_ERROR", 500},
    [PURLIN_NOT_IMPLEMENTED] = {"NOT_IMPLEMENTED", 501},
    [PURLIN_BAD_UPSTREAM] = {"TEMPORARILY_UNAVAILABLE", 502},
    [PURLIN_UNAVAILABLE] = {"TEMPORARILY_UNAVAILABLE", 503},
    [PURLIN_TIMEOUT] = {"DEADLINE_EXCEEDED", 504},
    [PURLIN_NO_SPACE] = {"RESOURCE_EXHAUSTED", 507},
};

static unsigned fill(purlin_status status, unsigned http_status, const char *message, void *error) {
  bool known = (size_t)status < PURLIN_STATUS_COUNT && codes[status].code;
  *(mlflow_error *)error = (mlflow_error){known ? codes[status].code : "INTERNAL_ERROR", message};
  return known ? codes[status].http : http_status;
}

/* In the words that clients look for. */
static const char *explain(purlin_ctx *ctx, const char *field, const char *fault, const char *value) {
  static const char more[] = "See the API docs for more information about request parameters.";
  if (!*field) return NULL;
  if (strcmp(fault, "is required") == 0 || strcmp(fault, "must not be empty") == 0)
    return purlin_format(ctx, "Missing value for required parameter '%s'. %s", field, more);
  if (value) return purlin_format(ctx, "Invalid value %s for parameter '%s' supplied: %s. %s", value, field, fault, more);
  return purlin_format(ctx, "Invalid value for parameter '%s' supplied: %s. %s", field, fault, more);
}

const purlin_dialect mlflow = {.size = sizeof(purlin_dialect),
                               .name = "MLflow REST API",
                               .error = mlflow_error_schema,
                               .fill = fill,
                               .lenient = true,
                               .mirror = "/api/ /ajax-api/",
                               .explain = explain};
