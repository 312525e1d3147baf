/* dialect.h: the shape of errors at addresses that follow the protocol of others.
 *
 *   typedef struct open_error { const char *error; } open_error;
 *   PURLIN_SCHEMA(open_error, "An error of the protocol", PURLIN_REQUIRED(error, "What is wrong"));
 *   static unsigned fill(purlin_status status, unsigned http_status, const char *message, void *error) { ... return http_status; }
 *   static const purlin_dialect open_inference = {.size = sizeof(purlin_dialect), .name = "Open Inference Protocol",
 *                                                 .error = open_error_schema, .fill = fill};
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
  /* Since 0.2, of operations and bindings at its addresses. The input may come in the query string and in the body, whatever the method;
   * members that nobody knows are ignored; numbers and true or false may be texts, as in the JSON of protocol buffers; a body may be of
   * any media type. */
  bool lenient;
  /* Since 0.2: "/api/ /ajax-api/": what is at an address that begins with the first is at the one that begins with the second, too. NULL:
   * nothing is. */
  const char *mirror;
  /* Since 0.2. How a fault of the input is told: `field` ("metrics[3].key") is as `fault` says ("is required", "expected a text, found an
   * integer"); `value` is its JSON, cut at 200 bytes, or NULL when there is none. A text of the arena, or NULL for "FIELD: FAULT".
   * `explain` may be NULL. Does not park. */
  const char *(*explain)(purlin_ctx *ctx, const char *field, const char *fault, const char *value);
} purlin_dialect;

PURLIN_END

#endif
