#include "receive.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* google.rpc.Status. */
typedef struct rpc_status {
  int64_t code;
  const char *message;
} rpc_status;
PURLIN_SCHEMA(rpc_status, "An error of OpenTelemetry's protocol: google.rpc.Status",
    PURLIN_REQUIRED(code, "Which of gRPC's codes"),
    PURLIN_REQUIRED(message, "What is wrong"));

static const struct {
  int64_t code;
  unsigned http; /* of those that are answered in protocol buffers */
} codes[PURLIN_STATUS_COUNT] = {
    [PURLIN_INVALID] = {3, 400},      [PURLIN_UNAUTHENTICATED] = {16, 401},
    [PURLIN_FORBIDDEN] = {7, 403},    [PURLIN_NOT_FOUND] = {5, 404},
    [PURLIN_NOT_ALLOWED] = {12, 0},   [PURLIN_CONFLICT] = {9, 409},
    [PURLIN_PRECONDITION] = {9, 412}, [PURLIN_TOO_LARGE] = {8, 413},
    [PURLIN_UNSUPPORTED] = {3, 415},  [PURLIN_RANGE] = {11, 416},
    [PURLIN_TOO_MANY] = {8, 0},       [PURLIN_CANCELLED] = {1, 0},
    [PURLIN_INTERNAL] = {13, 0},      [PURLIN_NOT_IMPLEMENTED] = {12, 0},
    [PURLIN_BAD_UPSTREAM] = {14, 0},  [PURLIN_UNAVAILABLE] = {14, 0},
    [PURLIN_TIMEOUT] = {4, 0},        [PURLIN_NO_SPACE] = {8, 0},
};

static unsigned fill(purlin_status status, unsigned http_status, const char *message, void *error) {
  *(rpc_status *)error = (rpc_status){(size_t)status < PURLIN_STATUS_COUNT ? codes[status].code : 2, message};
  return http_status;
}

const purlin_dialect receive_dialect = {
    .size = sizeof(purlin_dialect), .name = "OpenTelemetry protocol", .error = rpc_status_schema, .fill = fill};

/* ---- Protocol buffers --------------------------------------------------------------------------------------------------------------- */

static size_t put_varint(uint8_t *out, uint64_t value) {
  size_t size = 0;
  for (; value >= 0x80; value >>= 7) out[size++] = (uint8_t)(value | 0x80);
  out[size++] = (uint8_t)value;
  return size;
}

/* A message of a number and a text: both google.rpc.Status and ExportTracePartialSuccess are. */
static size_t put_message(uint8_t out[1200], int64_t number, const char *text) {
  size_t length = strnlen(text, 1000), size = 0;
  out[size++] = 1 << 3;
  size += put_varint(out + size, (uint64_t)number);
  out[size++] = 2 << 3 | 2;
  size += put_varint(out + size, length);
  memcpy(out + size, text, length);
  return size + length;
}

purlin_status receive_answer(purlin_ctx *ctx, purlin_request *request, bool protobuf, const receiving *r) {
  if (!protobuf) {
    growing text = {.ctx = ctx};
    if (r->rejected == 0) return purlin_respond_bytes(ctx, request, 200, "application/json", "{}", 2);
    const char *begin =
        purlin_format(ctx, "{\"partialSuccess\":{\"rejectedSpans\":\"%" PRId64 "\",\"errorMessage\":", r->rejected);
    if (!begin) return PURLIN_TOO_LARGE;
    growing_text(&text, begin);
    growing_quoted(&text, r->why, strlen(r->why));
    growing_text(&text, "}}");
    return text.failed ? PURLIN_TOO_LARGE
                       : purlin_respond_bytes(ctx, request, 200, "application/json", text.text, text.size);
  }
  uint8_t partial[1200], answer[1300];
  if (r->rejected == 0) return purlin_respond_bytes(ctx, request, 200, "application/x-protobuf", "", 0);
  size_t size = put_message(partial, r->rejected, r->why), at = 0;
  answer[at++] = 1 << 3 | 2;
  at += put_varint(answer + at, size);
  memcpy(answer + at, partial, size);
  return purlin_respond_bytes(ctx, request, 200, "application/x-protobuf", answer, at + size);
}

purlin_status receive_refuse(purlin_ctx *ctx, purlin_request *request, bool protobuf, purlin_status status) {
  unsigned http = (size_t)status < PURLIN_STATUS_COUNT ? codes[status].http : 0;
  if (!protobuf || http == 0) return status;
  uint8_t answer[1200];
  const char *why = purlin_failure(ctx);
  size_t size = put_message(answer, codes[status].code, *why ? why : purlin_status_text(status));
  return purlin_respond_bytes(ctx, request, http, "application/x-protobuf", answer, size);
}
