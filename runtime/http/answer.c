/* answer.c: what a handler answers: the status line and headers, a whole body or one that streams. */
#include "http/connection.h"

#include "core/schema.h"
#include "core/text.h"

#include <stdio.h>
#include <sys/socket.h>

#define SCRATCH_KEPT ((size_t)1024 * 1024)

/* ---- Status lines ------------------------------------------------------------------------------------------------------------------ */

static const struct {
  uint16_t status;
  const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {499, "Client Closed Request"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http_reason(unsigned status) {
  for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
    if (reasons[i].status == status) return reasons[i].reason;
  return "Status";
}

static void add_status_line(buffer *out, unsigned status) {
  static const char ok[] = "HTTP/1.1 200 OK\r\n";
  if (status == 200) {
    buffer_add(out, ok, sizeof ok - 1);
    return;
  }
  const char digits[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), ' '};
  buffer_add(out, "HTTP/1.1 ", 9);
  buffer_add(out, digits, sizeof digits);
  buffer_text(out, http_reason(status));
  buffer_add(out, "\r\n", 2);
}

/* ---- Headers ----------------------------------------------------------------------------------------------------------------------- */

static bool equal(const char *a, const char *b) { return text_equal_ignoring_case(a, strlen(a), b, strlen(b)); }

static bool is_ours(const char *name) {
  static const char *const ours[] = {"content-length",         "transfer-encoding",        "connection", "date", "server",
                                     "x-content-type-options", "strict-transport-security"};
  for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
    if (equal(name, ours[i])) return true;
  return false;
}

static bool holds_control(const char *value) {
  for (; *value != '\0'; value++)
    if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f) return true;
  return false;
}

static char *put(char *at, const char *text, size_t size) { return (char *)memcpy(at, text, size) + size; }

purlin_status purlin_set_header(purlin_ctx *ctx, purlin_request *request, const char *name, const char *value) {
  if (request->answer != ANSWER_NONE)
    return purlin_fail(ctx, PURLIN_INTERNAL, "header %s was set after the answer had begun", name);
  size_t name_size = strlen(name), value_size = strlen(value);
  if (!http_is_token(name, name_size) || is_ours(name) || holds_control(value))
    return purlin_fail(ctx, PURLIN_INVALID, "the header %.100s cannot be set, or not to this value", name);
  if (name_size + value_size > HTTP_OUTPUT_HIGH)
    return purlin_fail(ctx, PURLIN_TOO_LARGE, "the header %.100s is too large", name);
  size_t size = name_size + value_size + 4;
  answer_header *header = arena_alloc_raw(&ctx->memory, sizeof *header + size, _Alignof(answer_header));
  if (header == NULL) return PURLIN_TOO_LARGE;
  char *at = put(header->text, name, name_size);
  at = put(at, ": ", 2);
  at = put(at, value, value_size);
  (void)put(at, "\r\n", 2);
  header->size = size;
  header->next = NULL;
  *request->headers_end = header;
  request->headers_end = &header->next;
  if (equal(name, "content-type")) request->has_type = true;
  if (equal(name, "www-authenticate")) request->has_challenge = true;
  return PURLIN_OK;
}

/* Whether the connection can serve another request after this answer; what is unread of the body decides with. */
static void decide_close(purlin_request *request, bool length_known) {
  http_connection *c = request->connection;
  const http_body *body = &c->body;
  /* Of a draining server: what the client has sent already is still answered. */
  bool more_came = http_body_ended(body) && c->in_size > 0;
  if ((c->home->draining && !more_came) || request->body_failed != PURLIN_OK) c->close_after = true;
  if (!http_body_ended(body) && (request->expects || (body->framing == FRAMING_LENGTH && body->left > HTTP_SKIP_LIMIT)))
    c->close_after = true;
  if (!length_known && request->head.minor == 0) c->close_after = true;
}

static void add_connection(const purlin_request *request, buffer *out) {
  static const char closes[] = "Connection: close\r\n\r\n", keeps[] = "Connection: keep-alive\r\n\r\n";
  if (request->connection->close_after) buffer_add(out, closes, sizeof closes - 1);
  else if (request->head.minor == 0) buffer_add(out, keeps, sizeof keeps - 1);
  else buffer_add(out, "\r\n", 2);
}

bool answer_head(purlin_request *request, unsigned status, const char *media_type, int64_t length) {
  http_connection *c = request->connection;
  if (connection_gone(c)) return false;
  bool bodiless = status < 200 || status == 204 || status == 304;
  request->status = (uint16_t)status;
  request->no_body = bodiless || request->head.method == METHOD_HEAD;
  request->chunked = length < 0 && !bodiless && request->head.minor == 1;
  decide_close(request, length >= 0 || bodiless);
  buffer *out = connection_output(c);
  add_status_line(out, status);
  size_t fixed_size;
  const char *fixed = http_home_fixed(c->home, c->tls != NULL, &fixed_size);
  buffer_add(out, fixed, fixed_size);
  if (media_type != NULL && !bodiless && !request->has_type) {
    buffer_add(out, "Content-Type: ", 14);
    buffer_text(out, media_type);
    buffer_add(out, "\r\n", 2);
  }
  if (!bodiless && length >= 0) {
    buffer_add(out, "Content-Length: ", 16);
    buffer_int(out, length);
    buffer_add(out, "\r\n", 2);
  } else if (request->chunked) buffer_text(out, "Transfer-Encoding: chunked\r\n");
  for (const answer_header *header = request->headers; header != NULL; header = header->next)
    buffer_add(out, header->text, header->size);
  if (!bodiless) page_headers(request, media_type, out);
  if (status == 401 && !request->has_challenge) buffer_text(out, "WWW-Authenticate: Bearer\r\n");
  add_connection(request, out);
  return !out->failed;
}

/* ---- Whole answers ------------------------------------------------------------------------------------------------------------------- */

static purlin_status begin(purlin_ctx *ctx, purlin_request *request, unsigned status, const char *media_type,
                           int64_t length, answer_state state) {
  if (request->answer != ANSWER_NONE) return purlin_fail(ctx, PURLIN_INTERNAL, "the request was answered twice");
  if (status < 200 || status > 599) return purlin_fail(ctx, PURLIN_INTERNAL, "%u is no status to answer with", status);
  if (connection_gone(request->connection)) return PURLIN_CANCELLED;
  if (media_type != NULL && holds_control(media_type))
    return purlin_fail(ctx, PURLIN_INTERNAL, "the media type holds a control character");
  request->answer = (uint8_t)state;
  if (answer_head(request, status, media_type, length)) return PURLIN_OK;
  connection_close(request->connection);
  return PURLIN_CANCELLED;
}

purlin_status purlin_respond_bytes(purlin_ctx *ctx, purlin_request *request, unsigned http_status, const char *media_type,
                                   const void *data, size_t size) {
  if (size > INT64_MAX) return purlin_fail(ctx, PURLIN_TOO_LARGE, "the answer is too large");
  purlin_status status = begin(ctx, request, http_status, media_type, (int64_t)size, ANSWER_WHOLE);
  if (status != PURLIN_OK) return status;
  http_connection *c = request->connection;
  if (!request->no_body) {
    buffer_add(connection_output(c), data, size);
    request->sent = size;
  }
  connection_later(c);
  return PURLIN_OK;
}

purlin_status purlin_respond(purlin_ctx *ctx, purlin_request *request, unsigned http_status, const purlin_schema *schema,
                             const void *value) {
  buffer *scratch = &request->connection->home->scratch;
  buffer_clear(scratch);
  schema_encode(schema, value, SCHEMA_PUBLIC, scratch);
  purlin_status status =
      scratch->failed ? purlin_fail(ctx, PURLIN_TOO_LARGE, "the answer is too large")
                      : purlin_respond_bytes(ctx, request, http_status, "application/json", scratch->data, scratch->size);
  if (scratch->capacity > SCRATCH_KEPT) buffer_free(scratch);
  return status;
}

/* ---- Streamed answers ------------------------------------------------------------------------------------------------------------------ */

purlin_status purlin_respond_begin(purlin_ctx *ctx, purlin_request *request, unsigned http_status, const char *media_type,
                                   int64_t length) {
  purlin_status status = begin(ctx, request, http_status, media_type, length, ANSWER_STREAMING);
  request->left = length < 0 ? -1 : length;
  return status;
}

static bool stop_waiting(purlin_ctx *ctx, void *argument) {
  (void)ctx;
  purlin_request *request = argument;
  request->writing = false;
  return true;
}

static purlin_status wait_for_room(purlin_request *request) {
  http_connection *c = request->connection;
  connection_flush(c);
  if (connection_gone(c)) return PURLIN_CANCELLED;
  if (connection_unsent(c) < HTTP_OUTPUT_HIGH) return PURLIN_OK;
  request->writing = true;
  purlin_status status = context_park(request->ctx, stop_waiting, request);
  request->writing = false;
  return status;
}

static void add_piece(purlin_request *request, const char *data, size_t size) {
  buffer *out = connection_output(request->connection);
  if (request->chunked) {
    char line[24];
    int length = snprintf(line, sizeof line, "%zx\r\n", size);
    buffer_add(out, line, (size_t)length);
  }
  buffer_add(out, data, size);
  if (request->chunked) buffer_add(out, "\r\n", 2);
  request->sent += size;
}

purlin_status purlin_write(purlin_ctx *ctx, purlin_request *request, const void *data, size_t size) {
  purlin_status allowed = context_may_wait_for_client(ctx, "writes to its client");
  if (allowed != PURLIN_OK) return allowed;
  http_connection *c = request->connection;
  if (request->answer != ANSWER_STREAMING)
    return purlin_fail(ctx, PURLIN_INTERNAL, "written before the answer began, or after its end");
  if (request->left >= 0 && size > (uint64_t)request->left)
    return purlin_fail(ctx, PURLIN_INTERNAL, "more was written than was announced");
  if (request->left >= 0) request->left -= (int64_t)size;
  if (connection_gone(c)) return PURLIN_CANCELLED;
  if (request->no_body) return PURLIN_OK;
  for (const char *at = data; size > 0;) {
    size_t unsent = connection_unsent(c);
    if (unsent >= HTTP_OUTPUT_HIGH) {
      purlin_status status = wait_for_room(request);
      if (status != PURLIN_OK) return status;
      continue;
    }
    size_t piece = size < HTTP_OUTPUT_HIGH - unsent ? size : HTTP_OUTPUT_HIGH - unsent;
    add_piece(request, at, piece);
    at += piece;
    size -= piece;
  }
  if (c->output.size >= HTTP_OUTPUT_LOW) connection_flush(c);
  connection_later(c);
  context_fairness(ctx);
  return connection_gone(c) ? PURLIN_CANCELLED : PURLIN_OK;
}

/* The client must see that its answer is not whole, also where only the end of the connection ends it: a reset does that. */
void answer_abort(purlin_request *request) {
  http_connection *c = request->connection;
  int descriptor;
  const struct linger now = {.l_onoff = 1, .l_linger = 0};
  if (!connection_gone(c) && uv_fileno((const uv_handle_t *)&c->tcp, &descriptor) == 0)
    (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  connection_close(c);
}

void answer_finish(purlin_request *request, purlin_status status) {
  request->answer = ANSWER_WHOLE;
  bool whole = request->no_body || request->left <= 0;
  if (status == PURLIN_OK && whole) {
    if (request->chunked && !request->no_body) buffer_add(connection_output(request->connection), "0\r\n\r\n", 5);
    return;
  }
  /* That a client has gone is its own affair; a failure inside is ours. */
  bool ours = status == PURLIN_OK || status == PURLIN_INTERNAL;
  purlin_log(request->ctx, ours ? PURLIN_ERROR : PURLIN_WARNING, "the answer was cut off: %s",
             status == PURLIN_OK ? "less was written than was announced" : purlin_failure(request->ctx));
  answer_abort(request);
}
