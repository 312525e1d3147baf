/* body.c: a handler reads its request's body. It is decoded from the connection's input when it is asked for, so nothing is held
 * twice, and what is not asked for stays with the client. */
#include "http/connection.h"

#include "core/text.h"

static bool stop_waiting(purlin_ctx *ctx, void *argument) {
  (void)ctx;
  purlin_request *request = argument;
  request->reading = false;
  return true;
}

static purlin_status wait_for_bytes(purlin_request *request) {
  http_connection *c = request->connection;
  connection_adjust_reading(c);
  request->reading = true;
  request->wait_began_ms = loop_now_ms(c->home->loop);
  purlin_status status = context_park(request->ctx, stop_waiting, request);
  request->reading = false;
  request->waited_ms += loop_now_ms(c->home->loop) - request->wait_began_ms;
  return status;
}

/* The client waits to hear that its body is wanted: it is, now that somebody reads it. */
static void send_continue(purlin_request *request) {
  http_connection *c = request->connection;
  request->expects = false;
  if (request->answer != ANSWER_NONE || c->in_size > 0) return;
  static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
  buffer_add(connection_output(c), interim, sizeof interim - 1);
  connection_flush(c);
}

static purlin_status fail_body(purlin_request *request, http_refusal refusal) {
  request->body_failed = refusal.status == 413 ? PURLIN_TOO_LARGE : PURLIN_INVALID;
  return purlin_fail(request->ctx, request->body_failed, "%s", refusal.why);
}

static purlin_status fail_again(const purlin_request *request) {
  if (request->body_failed == PURLIN_TIMEOUT)
    return purlin_fail(request->ctx, PURLIN_TIMEOUT, "the body did not come in time");
  return request->body_failed;
}

/* What there is, without waiting; *got 0 with the body not ended means that bytes must come first. */
static purlin_status take_bytes(purlin_request *request, void *out, size_t size, size_t *got) {
  http_connection *c = request->connection;
  const char *from = c->in;
  http_refusal refusal = http_body_take(&c->body, &c->in, &c->in_size, out, size, got);
  if (request->wipes && c->in > from) text_wipe((char *)(uintptr_t)from, (size_t)(c->in - from));
  if (refusal.status != 0) return fail_body(request, refusal);
  if (c->body.decoded <= request->max_body) return PURLIN_OK;
  request->body_failed = PURLIN_TOO_LARGE;
  return purlin_fail(request->ctx, PURLIN_TOO_LARGE, "the body has more than the %llu bytes that are taken here",
                     (unsigned long long)request->max_body);
}

static purlin_status read_some(purlin_request *request, void *out, size_t size, size_t *got) {
  http_connection *c = request->connection;
  *got = 0;
  for (;;) {
    if (request->body_failed != PURLIN_OK) return fail_again(request);
    if (connection_gone(c)) return PURLIN_CANCELLED;
    if (http_body_ended(&c->body) || size == 0) return PURLIN_OK;
    if (request->expects) send_continue(request);
    purlin_status status = take_bytes(request, out, size, got);
    if (status != PURLIN_OK || *got > 0) return status;
    if (http_body_ended(&c->body)) return PURLIN_OK;
    status = wait_for_bytes(request);
    if (status != PURLIN_OK) return status;
  }
}

purlin_status purlin_read(purlin_ctx *ctx, purlin_request *request, void *out, size_t size, size_t *got) {
  *got = 0;
  purlin_status status = context_may_wait_for_client(ctx, "reads from its client");
  if (status == PURLIN_OK) status = read_some(request, out, size, got);
  if (status != PURLIN_OK) *got = 0;
  else if (*got > 0) {
    connection_adjust_reading(request->connection);
    context_fairness(ctx);
  }
  return status;
}

static purlin_status too_large(purlin_ctx *ctx, size_t limit) {
  return purlin_fail(ctx, PURLIN_TOO_LARGE, "the body has more than the %zu bytes that are taken here", limit);
}

/* Reads until the end or until `room` is full. */
static purlin_status fill(purlin_request *request, char *out, size_t room, size_t *size) {
  while (*size < room) {
    size_t got;
    purlin_status status = read_some(request, out + *size, room - *size, &got);
    if (status != PURLIN_OK || got == 0) return status;
    *size += got;
  }
  return PURLIN_OK;
}

void http_request_wipes(purlin_request *request) { request->wipes = true; }

static void forget(const purlin_request *request, char *read, size_t size) {
  if (request->wipes && read != NULL && size > 0) text_wipe(read, size);
}

/* An end without a body: nothing that a caller might zero, or read. */
static purlin_status fail_all(const purlin_request *request, char *read, size_t *size, purlin_status status) {
  forget(request, read, *size);
  *size = 0;
  return status;
}

purlin_status purlin_read_all(purlin_ctx *ctx, purlin_request *request, size_t limit, const char **body, size_t *size) {
  *body = "";
  *size = 0;
  purlin_status allowed = context_may_wait_for_client(ctx, "reads from its client");
  if (allowed != PURLIN_OK) return allowed;
  const http_head *head = &request->head;
  if (head->has_length && head->length > limit) return too_large(ctx, limit);
  if (limit == SIZE_MAX) limit--;
  /* One byte more than there may be, so that a body of just `limit` bytes is seen to end. */
  size_t room = head->has_length ? (size_t)head->length : limit < 16384 ? limit + 1 : 16384;
  char *out = arena_alloc_raw(&ctx->memory, room + 1, 1);
  for (;;) {
    if (out == NULL) return fail_all(request, out, size, too_large(ctx, limit));
    purlin_status status = fill(request, out, room, size);
    if (status != PURLIN_OK) return fail_all(request, out, size, status);
    if (*size > limit) return fail_all(request, out, size, too_large(ctx, limit));
    if (http_body_ended(&request->connection->body) || *size < room || head->has_length) break;
    size_t larger = room > limit / 2 ? limit + 1 : room * 2;
    char *moved = arena_alloc_raw(&ctx->memory, larger + 1, 1);
    if (moved != NULL) memcpy(moved, out, *size);
    text_wipe(out, *size); /* bodies may hold secrets */
    out = moved;
    room = larger;
  }
  out[*size] = '\0';
  *body = out;
  return PURLIN_OK;
}
