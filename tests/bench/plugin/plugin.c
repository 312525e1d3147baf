/* What the benchmark measures of an operation that has nothing to do: the way there and back. */
#include <purlin/purlin.h>

PURLIN_PLUGIN("bench", "0.1.0",
    .summary = "A constant operation, for measuring",
    .license = "Apache-2.0");

typedef struct constant_out {
  int64_t id;
  const char *name, *project, *state;
} constant_out;
PURLIN_SCHEMA(constant_out, "Always the same",
    PURLIN_REQUIRED(id, "A number"),
    PURLIN_REQUIRED(name, "A text"),
    PURLIN_REQUIRED(project, "Another"),
    PURLIN_REQUIRED(state, "Another"));

PURLIN_OPERATION(constant, purlin_nothing, constant_out,
    .summary = "Always the same answer", .permission = "models:read", .http = "GET /bench/constant") {
  (void)ctx;
  (void)in;
  *out = (constant_out){42, "churn", "default", "ready"};
  return PURLIN_OK;
}
