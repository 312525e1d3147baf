/* dialect.h: the shape of errors at addresses that follow the protocol of others.
 *
 *   typedef struct open_error { const char *error; } open_error;
 *   PURLIN_SCHEMA(open_error, "An error of the protocol", PURLIN_REQUIRED(error, "What is wrong"));
 *   static unsigned fill(purlin_status status, unsigned http_status, const char *message, void *error) { ... return http_status; }
 *   static const purlin_dialect open_inference = {sizeof(purlin_dialect), "Open Inference Protocol", open_error_schema, fill};
 *
 *   PURLIN_ROUTE(infer, "POST /v2/models/{name}/infer", .dialect = &open_inference, ...)
 *
 * Whatever fails there is answered so: what the route or operation returns, and what never gets as far (no token, no permission, a body
 * that is too large). So is an address below which only one dialect is spoken and where nothing is. Without one: problem+json.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_DIALECT_H
#define PURLIN_DIALECT_H

#include <purlin/schema.h>

PURLIN_BEGIN

typedef struct purlin_dialect {
  uint32_t size;
  const char *name;
  const purlin_schema *(*error)(void);
  /* Fills a zeroed struct of that schema and returns the HTTP status to answer with; `http_status` is the one that Purlin would give.
   * `message` (borrowed until the answer) is never empty; of a 5xx it tells nothing from inside. Does not park. */
  unsigned (*fill)(purlin_status status, unsigned http_status, const char *message, void *error);
} purlin_dialect;

PURLIN_END

#endif
