/* exchange.c: one request and its answer, in a fiber of its own. */
#include "http/connection.h"

#include "core/status.h"
#include "observe/log.h"

#include <stdlib.h>

static http_exchange *take_exchange(http_home *home) {
  http_exchange *x = home->spare_exchanges;
  if (x == NULL) return malloc(sizeof *x);
  home->spare_exchanges = x->next;
  home->spare_exchange_count--;
  return x;
}

static void give_exchange(http_home *home, http_exchange *x) {
  if (home->spare_exchange_count == HTTP_SPARE_EXCHANGES) {
    free(x);
    return;
  }
  x->next = home->spare_exchanges;
  home->spare_exchanges = x;
  home->spare_exchange_count++;
}

/* ---- 404 and 405 ----------------------------------------------------------------------------------------------------------------- */

static purlin_status answer_missing(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  (void)target;
  const char *allow = request->match.allow;
  if (allow == NULL) return purlin_fail(ctx, PURLIN_NOT_FOUND, "there is nothing at %.200s", purlin_path(request));
  purlin_status status = purlin_set_header(ctx, request, "Allow", allow);
  if (status != PURLIN_OK) return status;
  return purlin_fail(ctx, PURLIN_NOT_ALLOWED, "%.200s takes %s, not %s", purlin_path(request), allow,
                     purlin_method(request));
}

http_target http_target_missing = {.name = "unmatched", .plugin = "http", .permission = "public", .handle = answer_missing};

static void route(purlin_request *request, http_home *home, const char *raw) {
  const http_head *head = &request->head;
  const char *path = head->path.size == 0 ? "/" : raw + head->path.at;
  size_t size = head->path.size == 0 ? 1 : head->path.size;
  request->routing = http_home_take_routing(home);
  if (request->routing != NULL)
    (void)http_router_find(request->routing->router, http_methods[head->method].name, path, size, &request->match);
  request->target = request->match.target != NULL ? request->match.target : &http_target_missing;
  if (request->connection->redirects) request->target = redirect_target(head, raw, request->match.target);
}

/* ---- In the fiber ---------------------------------------------------------------------------------------------------------------- */

static void end_text(char *text, http_slice slice) { text[slice.at + slice.size] = '\0'; }

/* The head moves from the connection's input, which goes on to other bytes, into the arena. What follows each name and value is
 * a separator that nobody needs any more, so a NUL takes its place. */
static bool copy_head(http_exchange *x) {
  purlin_request *request = &x->request;
  http_head *head = &request->head;
  arena *memory = &x->context.memory;
  char *text = arena_alloc_raw(memory, request->text_size + 1, 1);
  http_field *fields = arena_alloc_raw(memory, head->field_count * sizeof *fields + 1, _Alignof(http_field));
  if (text == NULL || fields == NULL) return false;
  memcpy(text, x->raw, request->text_size);
  if (head->field_count > 0) memcpy(fields, head->fields, head->field_count * sizeof *fields);
  for (size_t i = 0; i < request->match.parameter_count; i++) {
    const char *value = request->match.parameters[i].value;
    request->match.parameters[i].value = head->path.size == 0 ? "" : text + (value - x->raw);
  }
  head->fields = fields;
  for (size_t i = 0; i < head->field_count; i++) {
    end_text(text, fields[i].name);
    end_text(text, fields[i].value);
  }
  end_text(text, head->method_text);
  if (head->path.size > 0) end_text(text, head->path);
  end_text(text, head->query.size > 0 ? head->query : (http_slice){(uint32_t)request->text_size - 1, 1});
  request->text = text;
  x->raw = NULL;
  return true;
}

static purlin_status check_size(purlin_request *request) {
  request->max_body = request->target->max_body != 0 ? request->target->max_body : http_settings.max_body;
  if (!request->head.has_length || request->head.length <= request->max_body) return PURLIN_OK;
  return purlin_fail(request->ctx, PURLIN_TOO_LARGE, "the body has %llu bytes, more than the %llu that are taken here",
                     (unsigned long long)request->head.length, (unsigned long long)request->max_body);
}

static purlin_status run_target(purlin_request *request) {
  purlin_ctx *ctx = request->ctx;
  const http_target *target = request->target;
  bool answered;
  purlin_status status = cors_apply(ctx, request, &answered);
  if (status != PURLIN_OK || answered) return status;
  if (target != &http_target_missing) {
    http_gate *gate = http_current_gate();
    if (gate != NULL) status = gate(ctx, request, target);
    if (status == PURLIN_OK) status = check_size(request);
    if (status != PURLIN_OK) return status;
  }
  return target->handle(ctx, request, target);
}

static void answer_failure(purlin_request *request, purlin_status status) {
  purlin_ctx *ctx = request->ctx;
  if (request->body_failed == PURLIN_TIMEOUT && status == PURLIN_TIMEOUT) {
    problem_answer(request, 408, "request-timeout", "Request timeout", "the body did not come in time");
    return;
  }
  /* The client is not told what went wrong inside. */
  if (status_describe(status)->http >= 500)
    purlin_log(ctx, status == PURLIN_INTERNAL ? PURLIN_ERROR : PURLIN_WARNING, "%s",
               ctx->failure ? ctx->failure : purlin_status_text(status));
  const http_target *target = request->match.target != NULL ? request->target : request->match.family;
  if (target != NULL && target->fail != NULL) target->fail(ctx, request, status, target->dialect);
  if (request->answer == ANSWER_NONE) http_problem(ctx, request, status);
}

static void answer_outcome(purlin_request *request, purlin_status status) {
  if (connection_gone(request->connection)) return;
  if (request->answer == ANSWER_STREAMING) answer_finish(request, status);
  if (request->answer != ANSWER_NONE) return;
  if (status != PURLIN_OK) answer_failure(request, status);
  else if (purlin_respond_bytes(request->ctx, request, 204, NULL, "", 0) != PURLIN_OK)
    connection_close(request->connection);
}

/* Counts and logs. What nobody got to see is 499, as others log it. */
static void report(purlin_request *request) {
  const http_connection *c = request->connection;
  unsigned status = request->status != 0 ? request->status : 499;
  uint64_t took_ns = purlin_ticks_ns() - request->began_ns;
  series_count(request->target->series, request->head.method, status, (double)took_ns * 1e-9);
  uint64_t received = c->body.decoded;
  if (received > 0 || request->sent > 0) series_bytes(received, request->sent);
  if (!log_access_enabled()) return;
  const purlin_ctx *ctx = request->ctx;
  const access_record record = {.method = http_methods[request->head.method].name,
                                .path = request->text == NULL ? "" : purlin_path(request),
                                .route = request->target->name,
                                .actor = ctx->actor,
                                .workspace = ctx->workspace,
                                .trace_id = ctx->trace.trace_id,
                                .address = http_request_address(request),
                                .status = status,
                                .request_bytes = received,
                                .answer_bytes = request->sent,
                                .duration_ns = took_ns};
  log_access(&record);
}

static void set_deadline(purlin_ctx *ctx, const http_target *target) {
  uint32_t timeout_ms = target->timeout_ms != 0 ? target->timeout_ms : http_settings.request_timeout_ms;
  if (timeout_ms != UINT32_MAX) context_set_deadline(ctx, timeout_ms);
}

static void run_exchange(void *argument) {
  http_exchange *x = argument;
  purlin_request *request = &x->request;
  http_connection *c = request->connection;
  http_home *home = c->home;
  context_begin(&x->context, request->target->plugin, request->target->name);
  request->began_ns = fiber_running_since();
  x->context.exchange = x;
  set_deadline(&x->context, request->target);
  if (copy_head(x)) {
    if (request->head.traceparent >= 0) {
      const http_field *field = &request->head.fields[request->head.traceparent];
      (void)context_trace_from(&x->context, request->text + field->value.at);
    }
    answer_outcome(request, run_target(request));
  } else connection_close(c);
  report(request);
  context_end(&x->context);
  if (request->routing != NULL) http_home_give_routing(request->routing);
  give_exchange(home, x);
  connection_exchange_ended(c);
}

/* ---- On the loop ------------------------------------------------------------------------------------------------------------------- */

void exchange_start(http_connection *c, const http_head *head, const char *raw, size_t size) {
  http_exchange *x = take_exchange(c->home);
  if (x == NULL) {
    connection_refuse(c, HTTP_REFUSE(503, "the server has no memory for another request"));
    return;
  }
  x->raw = raw;
  purlin_request *request = &x->request;
  *request = (purlin_request){
      .connection = c, .ctx = &x->context, .head = *head, .text_size = size, .expects = head->expect_continue};
  request->headers_end = &request->headers;
  route(request, c->home, raw);
  http_body_begin(&c->body, head);
  c->close_after = head->close || (head->minor == 0 && !head->keep_alive);
  c->exchange = x;
  c->state = CONNECTION_RUNNING;
  if (fiber_start(run_exchange, x) == PURLIN_OK) return;
  c->exchange = NULL;
  if (request->routing != NULL) http_home_give_routing(request->routing);
  give_exchange(c->home, x);
  connection_refuse(c, HTTP_REFUSE(503, "the server has as many requests in work as it may"));
}

void exchange_resume(http_exchange *x) {
  x->request.reading = false;
  x->request.writing = false;
  fiber_resume(x->context.fiber);
}

void exchange_sweep(http_exchange *x, uint64_t now_ms) {
  purlin_request *request = &x->request;
  if (!request->reading) return;
  uint64_t waited_ms = request->waited_ms + (now_ms - request->wait_began_ms);
  if (waited_ms < http_settings.body_timeout_ms) return;
  if (request->window_bytes >= (uint64_t)HTTP_MINIMUM_RATE * http_settings.body_timeout_ms / 1000 &&
      request->window_bytes > 0) {
    request->waited_ms = 0;
    request->wait_began_ms = now_ms;
    request->window_bytes = 0;
    return;
  }
  request->body_failed = PURLIN_TIMEOUT;
  exchange_resume(x);
}

const http_target *http_request_target(const purlin_request *request) { return request->target; }
const char *http_request_address(const purlin_request *request) {
  return proxies_client(request, ((purlin_request *)(uintptr_t)request)->client);
}
const char *purlin_address(const purlin_request *request) { return http_request_address(request); }

const char *http_context_address(const purlin_ctx *ctx) {
  return ctx->exchange ? http_request_address(&ctx->exchange->request) : "";
}
