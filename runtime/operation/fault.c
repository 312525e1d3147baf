#include "operation/fault.h"
#include "core/json.h"
#include "core/status.h"
#include "http/server.h"
#include <string.h>

enum { LONGEST_VALUE = 200, DEEPEST = 8 };

/* ---- The value that was at fault ------------------------------------------------------------------------------------------------------- */

/* The JSON of "options.name" in a body; items of lists are not looked for. NULL: there is none. */
static const char *in_body(purlin_ctx *ctx, const char *body, size_t size, const char *field) {
  for (unsigned depth = 0; depth < DEEPEST; depth++) {
    size_t length = strcspn(field, ".[");
    const char *name = purlin_copy_bytes(ctx, field, length);
    if (!name || field[length] == '[' || !json_find(body, size, name, &body, &size)) return NULL;
    if (field[length] == '\0') return purlin_copy_bytes(ctx, body, size < LONGEST_VALUE ? size : LONGEST_VALUE);
    field += length + 1;
  }
  return NULL;
}

static const char *value_at(purlin_ctx *ctx, const purlin_request *request, const char *body, size_t size,
                            const char *field) {
  if (!request) return NULL;
  const char *value = size > 0 ? in_body(ctx, body, size, field) : NULL;
  if (!value) value = purlin_query_value(request, field);
  return value ? purlin_copy_bytes(ctx, value, strnlen(value, LONGEST_VALUE)) : NULL;
}

purlin_status fault_explain(purlin_ctx *ctx, const purlin_request *request, const purlin_dialect *dialect, const char *body,
                            size_t size) {
  const char *all = NULL;
  for (size_t i = 0; i < ctx->field_count; i++) {
    const char *field = ctx->fields[i].field, *fault = ctx->fields[i].message;
    const char *text = dialect->explain(ctx, field, fault, value_at(ctx, request, body, size, field));
    if (!text) text = purlin_format(ctx, "%s%s%s", field, *field ? ": " : "", fault);
    all = text && all ? purlin_format(ctx, "%s; %s", all, text) : text;
    if (!all) return PURLIN_TOO_LARGE;
  }
  if (!all) return PURLIN_INVALID;
  ctx->field_count = 0; /* said, all of them */
  return purlin_fail(ctx, PURLIN_INVALID, "%s", all);
}

/* ---- The answer ------------------------------------------------------------------------------------------------------------------------- */

/* The failure's text; of one about fields, each with its name. */
static const char *failure_text(purlin_ctx *ctx, const status_info *info) {
  if (info->http >= 500 && !ctx->failure_is_told) return info->title; /* what went wrong inside is in the log */
  const char *text = purlin_failure(ctx);
  if (ctx->field_count > 0) text = "";
  for (size_t i = 0; i < ctx->field_count && text; i++)
    text = purlin_format(ctx, "%s%s%s: %s", text, i ? "; " : "", ctx->fields[i].field, ctx->fields[i].message);
  return text && *text ? text : info->title;
}

void fault_answer(purlin_ctx *ctx, purlin_request *request, purlin_status status, const void *argument) {
  const purlin_dialect *dialect = argument;
  if (status == PURLIN_OK || status >= PURLIN_STATUS_COUNT) status = PURLIN_INTERNAL;
  const status_info *info = status_describe(status);
  const purlin_schema *schema = dialect->error();
  void *error = purlin_alloc(ctx, schema->struct_size);
  const char *message = failure_text(ctx, info);
  if (!error) return; /* a problem then, which takes no memory */
  http_retry_after(ctx, request);
  unsigned http = dialect->fill(status, info->http, message, error);
  if (purlin_respond(ctx, request, http, schema, error) != PURLIN_OK)
    purlin_log(ctx, PURLIN_ERROR, "an error of %s could not be told: %s", dialect->name, purlin_failure(ctx));
}
