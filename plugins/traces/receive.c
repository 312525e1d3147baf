#include "receive.h"
#include <string.h>
#include <strings.h>

enum { MOST_BYTES = 16 * 1024 * 1024, MOST_ID = 256 };

static bool is_type(const char *header, const char *type) {
  size_t size = strcspn(header, ";");
  while (size > 0 && (header[size - 1] == ' ' || header[size - 1] == '\t')) size--;
  return size == strlen(type) && strncasecmp(header, type, size) == 0;
}

/* Without the header, as exporters are that know nothing of MLflow: the experiment named Default. */
static purlin_status take_headers(purlin_ctx *ctx, const purlin_request *request, receiving *r) {
  const char *experiment = purlin_header(request, "x-mlflow-experiment-id"),
             *run = purlin_header(request, "x-mlflow-run-id");
  r->experiment_id = experiment && *experiment ? experiment : "0";
  r->run_id = run ? run : "";
  if (strlen(r->experiment_id) > 64 || strlen(r->run_id) > MOST_ID)
    return purlin_fail(ctx, PURLIN_INVALID, "the header x-mlflow-experiment-id or x-mlflow-run-id is too long");
  return PURLIN_OK;
}

static purlin_status take_body(purlin_ctx *ctx, purlin_request *request, bool protobuf, receiving *r) {
  const char *body;
  size_t size;
  purlin_status status = purlin_read_all(ctx, request, MOST_BYTES, &body, &size);
  if (status == PURLIN_OK)
    status = receive_inflate(ctx, purlin_header(request, "content-encoding"), MOST_BYTES, &body, &size);
  if (status != PURLIN_OK) return status;
  return protobuf ? receive_protobuf(ctx, r, (otlp_bytes){(const uint8_t *)body, (const uint8_t *)body + size})
                  : receive_json(ctx, r, body, size);
}

PURLIN_ROUTE(receive, "POST /v1/traces", .summary = "Spans of OpenTelemetry, in protocol buffers or JSON (OTLP/HTTP)",
    .permission = "runs:write", .by_project = true, .body = "application/x-protobuf", .answer = "application/x-protobuf",
    .max_body = MOST_BYTES, .dialect = &receive_dialect) {
  receiving r = {0};
  const char *type = purlin_header(request, "content-type");
  bool protobuf = type && is_type(type, "application/x-protobuf");
  if (!protobuf && !(type && is_type(type, "application/json")))
    return purlin_fail(ctx, PURLIN_UNSUPPORTED, "spans come as application/x-protobuf or application/json");
  purlin_status status = take_headers(ctx, request, &r);
  if (status == PURLIN_OK) status = take_body(ctx, request, protobuf, &r);
  return status == PURLIN_OK ? receive_answer(ctx, request, protobuf, &r) : receive_refuse(ctx, request, protobuf, status);
}
