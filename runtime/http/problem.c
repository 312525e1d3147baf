/* problem.c: failures as application/problem+json (RFC 9457), with a fiber and without. */
#include "http/connection.h"

#include "core/status.h"
#include "observe/log.h"

#include <stdio.h>

static const char media_type[] = "application/problem+json";

static void add_text(buffer *out, const char *name, const char *text) {
  buffer_text(out, name);
  buffer_json_text(out, text, strlen(text));
}

static void add_problem(buffer *out, const char *type, const char *title, unsigned status, const char *detail) {
  buffer_text(out, "{\"type\":\"urn:purlin:problem:");
  buffer_text(out, type);
  add_text(out, "\",\"title\":", title);
  buffer_text(out, ",\"status\":");
  buffer_uint(out, status);
  if (detail != NULL && detail[0] != '\0') add_text(out, ",\"detail\":", detail);
}

static void add_fields(buffer *out, const purlin_ctx *ctx) {
  if (ctx->field_count == 0) return;
  buffer_text(out, ",\"errors\":[");
  for (size_t i = 0; i < ctx->field_count; i++) {
    add_text(out, i == 0 ? "{\"field\":" : ",{\"field\":", ctx->fields[i].field);
    add_text(out, ",\"message\":", ctx->fields[i].message);
    buffer_char(out, '}');
  }
  buffer_char(out, ']');
}

void problem_answer(purlin_request *request, unsigned status, const char *type, const char *title, const char *detail) {
  purlin_ctx *ctx = request->ctx;
  buffer *body = &request->connection->home->scratch;
  buffer_clear(body);
  add_problem(body, type, title, status, detail);
  add_text(body, ",\"trace_id\":", ctx->trace.trace_id);
  if (status < 500) add_fields(body, ctx);
  buffer_char(body, '}');
  if (body->failed || purlin_respond_bytes(ctx, request, status, media_type, body->data, body->size) != PURLIN_OK)
    connection_close(request->connection);
}

void http_retry_after(purlin_ctx *ctx, purlin_request *request) {
  char seconds[16];
  if (ctx->retry_after_s == 0) return;
  snprintf(seconds, sizeof seconds, "%u", ctx->retry_after_s);
  if (purlin_set_header(ctx, request, "Retry-After", seconds) != PURLIN_OK)
    purlin_log(ctx, PURLIN_WARNING, "Retry-After could not be set");
}

void http_problem(purlin_ctx *ctx, purlin_request *request, purlin_status status) {
  if (status == PURLIN_OK || status >= PURLIN_STATUS_COUNT) status = PURLIN_INTERNAL;
  const status_info *info = status_describe(status);
  http_retry_after(ctx, request);
  /* What went wrong inside is for the log, where answer_failure has put it. */
  const char *detail = info->http >= 500 && !ctx->failure_is_told ? NULL : purlin_failure(ctx);
  problem_answer(request, info->http, info->type, info->title, detail);
}

/* ---- Without a fiber --------------------------------------------------------------------------------------------------------------- */

static const struct {
  uint16_t status;
  const char *type;
} refused_types[] = {
    {400, "invalid"},          {408, "request-timeout"}, {413, "too-large"},
    {414, "address-too-long"}, {417, "expectation"},     {431, "headers-too-large"},
    {501, "not-implemented"},  {503, "unavailable"},     {505, "version"},
};

static const char *refused_type(unsigned status) {
  for (size_t i = 0; i < sizeof refused_types / sizeof refused_types[0]; i++)
    if (refused_types[i].status == status) return refused_types[i].type;
  return "invalid";
}

static void log_refused(const http_connection *c, http_refusal refusal, size_t size) {
  series_count_refused(refusal.status);
  if (!log_access_enabled()) return;
  const access_record record = {.method = "",
                                .path = "",
                                .route = "refused",
                                .actor = "",
                                .workspace = "",
                                .trace_id = "",
                                .address = c->address,
                                .status = refusal.status,
                                .answer_bytes = size};
  log_access(&record);
}

/* Whatever came was no request, so nobody knows where the next one would start: the connection ends with this answer. */
void connection_refuse(http_connection *c, http_refusal refusal) {
  buffer *body = &c->home->scratch;
  buffer_clear(body);
  add_problem(body, refused_type(refusal.status), http_reason(refusal.status), refusal.status, refusal.why);
  buffer_char(body, '}');
  size_t fixed_size;
  const char *fixed = http_home_fixed(c->home, c->tls != NULL, &fixed_size);
  buffer *out = connection_output(c);
  buffer_format(out, "HTTP/1.1 %u %s\r\n", refusal.status, http_reason(refusal.status));
  buffer_add(out, fixed, fixed_size);
  buffer_format(out, "Content-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", media_type, body->size);
  buffer_add(out, body->data, body->size);
  log_refused(c, refusal, body->size);
  c->linger = true;
  c->in_size = 0;
  connection_end(c);
}
