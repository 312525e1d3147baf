/* connection.c: one connection, from its first byte to its last.
 *
 * One request runs at a time. Bytes that nobody has read yet stay in `in`: first in the loop's read buffer, and when the read callback
 * ends, in the connection's own input, which an idle connection does not have. When too much waits we stop reading, and the
 * client's kernel holds the client back. */
#include "http/connection.h"

#include "core/text.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- Input ---------------------------------------------------------------------------------------------------------------------- */

static size_t input_limit(void) {
  size_t head = http_settings.max_url + http_settings.max_header_bytes + 1024;
  return head > HTTP_INPUT_LIMIT ? head : HTTP_INPUT_LIMIT;
}

/* Moves what is unread to the front of the connection's own input, and `more` behind it. */
static void keep(http_connection *c, const char *more, size_t size) {
  if (c->input.data == NULL) c->input = http_home_take_buffer(c->home);
  bool own = c->input.data != NULL && c->in >= c->input.data && c->in <= c->input.data + c->input.size;
  if (own && c->in_size > 0) buffer_consume(&c->input, (size_t)(c->in - c->input.data));
  else {
    buffer_clear(&c->input);
    buffer_add(&c->input, c->in, c->in_size);
  }
  buffer_add(&c->input, more, size);
  if (c->input.failed) {
    connection_close(c);
    return;
  }
  c->in = c->input.data;
  c->in_size = c->input.size;
}

/* After a read callback nothing may point into the loop's read buffer; an input that is read up goes back to the pool. */
static void settle_input(http_connection *c) {
  if (c->in_size == 0) {
    c->in = NULL;
    if (c->input.data != NULL) text_wipe(c->input.data, c->input.capacity);
    http_home_give_buffer(c->home, &c->input);
  } else if (c->input.data == NULL || c->in < c->input.data || c->in > c->input.data + c->input.size) keep(c, "", 0);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
  (void)suggested;
  const http_connection *c = handle->data;
  *out = uv_buf_init(c->home->read_buffer, (unsigned)HTTP_READ_BUFFER);
}

void connection_close_politely(http_connection *c) {
  if (c->tls != NULL) tls_session_say_goodbye(c);
  connection_close(c);
}

/* Whoever half-closes while a request runs is taken as gone: that cannot be told from a client
 * that has gone, and work for nobody is worse. What was answered already is still sent. */
void connection_end_of_input(http_connection *c) {
  c->peer_done = true;
  (void)uv_read_stop((uv_stream_t *)&c->tcp);
  c->reading = false;
  if (c->exchange != NULL || c->stream != NULL) connection_close(c);
  else if (connection_unsent(c) == 0) connection_close_politely(c);
}

void connection_received(http_connection *c, const char *data, size_t size) {
  if (c->exchange != NULL && c->exchange->request.reading) c->exchange->request.window_bytes += size;
  if (c->in_size > 0) keep(c, data, size);
  else {
    c->in = data;
    c->in_size = size;
  }
  connection_turn(c);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *room) {
  http_connection *c = stream->data;
  if (got == 0 || connection_gone(c)) return;
  if (got == UV_EOF) {
    connection_end_of_input(c);
    return;
  }
  if (got < 0) {
    connection_close(c);
    return;
  }
  if (c->tls != NULL) tls_session_received(c, room->base, (size_t)got);
  else connection_received(c, room->base, (size_t)got);
}

void connection_adjust_reading(http_connection *c) {
  if (connection_gone(c) || c->peer_done) return;
  bool wanted = c->in_size < input_limit() && (c->tls == NULL || tls_session_may_read(c));
  if (wanted == c->reading) return;
  c->reading = wanted;
  if (!wanted) (void)uv_read_stop((uv_stream_t *)&c->tcp);
  else if (uv_read_start((uv_stream_t *)&c->tcp, on_room, on_read) != 0) connection_close(c);
}

/* ---- Requests ---------------------------------------------------------------------------------------------------------------------- */

void connection_wait_idle(http_connection *c) { c->due_ms = loop_now_ms(c->home->loop) + http_settings.idle_timeout_ms; }

/* Empty lines before a request are skipped (RFC 9112, 2.2). */
static void skip_empty_lines(http_connection *c) {
  while (c->scan.at == 0 && c->in_size >= 2 && c->in[0] == '\r' && c->in[1] == '\n') {
    c->in += 2;
    c->in_size -= 2;
  }
}

/* Starts the next request if its head is there. False: nothing to do until bytes come or go. */
static bool begin_request(http_connection *c) {
  skip_empty_lines(c);
  if (c->in_size == 0 || (c->scan.at == 0 && c->in_size == 1 && c->in[0] == '\r')) return false;
  if (connection_unsent(c) >= HTTP_OUTPUT_HIGH) return false; /* the client sends requests and does not read answers */
  if (c->answered >= http_settings.max_pipelined) {
    if (!c->again_queued) {
      c->again_queued = true;
      loop_post(c->home->loop, &c->again);
    }
    return false;
  }
  const http_limits limits = http_settings_limits();
  bool first = c->scan.at == 0;
  size_t size;
  http_refusal refusal = http_scan_head(&c->scan, &limits, c->in, c->in_size, &size);
  if (refusal.status == 0 && size == 0) {
    if (first) c->due_ms = loop_now_ms(c->home->loop) + http_settings.header_timeout_ms;
    return false;
  }
  http_head head = {.fields = c->home->fields, .field_capacity = (uint32_t)limits.max_headers};
  if (refusal.status == 0) refusal = http_parse_head(&c->scan, &limits, c->in, size, &head);
  if (refusal.status != 0) {
    connection_refuse(c, refusal);
    return false;
  }
  const char *raw = c->in;
  c->in += size;
  c->in_size -= size;
  c->scan = (http_scan){0};
  c->answered++;
  exchange_start(c, &head, raw, size);
  return true;
}

/* Throws away what the handler did not read of the body. False: more is to come. */
static bool skip_body(http_connection *c) {
  size_t got;
  http_refusal refusal = http_body_take(&c->body, &c->in, &c->in_size, NULL, SIZE_MAX, &got);
  c->skipped += (uint32_t)(got < HTTP_SKIP_LIMIT ? got : HTTP_SKIP_LIMIT);
  if (refusal.status != 0 || (c->skipped >= HTTP_SKIP_LIMIT && !http_body_ended(&c->body))) {
    c->linger = true;
    connection_end(c);
    return false;
  }
  if (!http_body_ended(&c->body)) return false;
  c->state = CONNECTION_WAITING;
  connection_wait_idle(c);
  return true;
}

static bool exchange_can_go_on(const http_connection *c) {
  const purlin_request *request = &c->exchange->request;
  return (request->reading && c->in_size > 0) || (request->writing && connection_unsent(c) < HTTP_OUTPUT_LOW);
}

/* One step; false when there is none to take. */
static bool step(http_connection *c) {
  switch ((connection_state)c->state) {
  case CONNECTION_WAITING: return begin_request(c);
  case CONNECTION_RUNNING:
    if (!exchange_can_go_on(c)) return false;
    exchange_resume(c->exchange);
    return true;
  case CONNECTION_SKIPPING: return skip_body(c);
  case CONNECTION_STREAMING:
  case CONNECTION_ENDING:
    if (c->in_size > 0) c->linger = true;
    c->in_size = 0;
    return false;
  case CONNECTION_CLOSED: break;
  }
  return false;
}

/* When the last answer has been sent. Closing a socket that holds unread bytes resets the connection, and the answer may be lost
 * on its way; so then we only say that we are done, and read until the client is, too. */
static void end_when_sent(http_connection *c) {
  if (connection_unsent(c) > 0 || c->shut) return;
  if (c->tls != NULL) tls_session_say_goodbye(c);
  if (connection_gone(c) || connection_unsent(c) > 0) return;
  int descriptor;
  if (!c->linger || c->peer_done || uv_fileno((uv_handle_t *)&c->tcp, &descriptor) != 0 ||
      shutdown(descriptor, SHUT_WR) != 0) {
    connection_close(c);
    return;
  }
  c->shut = true;
  c->due_ms = loop_now_ms(c->home->loop) + HTTP_LINGER_MS;
}

void connection_turn(http_connection *c) {
  if (connection_gone(c)) return;
  c->processing = true;
  c->answered = 0;
  while (step(c)) {}
  c->processing = false;
  if (connection_gone(c)) return;
  connection_flush(c);
  if (c->state == CONNECTION_ENDING) end_when_sent(c);
  if (connection_gone(c)) return;
  settle_input(c);
  if (c->peer_done && c->state == CONNECTION_WAITING && connection_unsent(c) == 0) connection_close(c);
  connection_adjust_reading(c);
}

static void on_later(void *argument) {
  http_connection *c = argument;
  c->later_queued = false;
  connection_turn(c);
  connection_unused(c);
}

static void on_again(void *argument) {
  http_connection *c = argument;
  c->again_queued = false;
  connection_turn(c);
  connection_unused(c);
}

void connection_later(http_connection *c) {
  if (c->later_queued || c->processing || connection_gone(c)) return;
  c->later_queued = true;
  loop_later(c->home->loop, &c->later);
}

void connection_exchange_ended(http_connection *c) {
  c->exchange = NULL;
  if (connection_gone(c)) {
    connection_unused(c);
    return;
  }
  if (c->stream != NULL) c->state = CONNECTION_STREAMING;
  else if (c->close_after) {
    if (!http_body_ended(&c->body) || c->in_size > 0) c->linger = true;
    connection_end(c);
  } else if (!http_body_ended(&c->body)) {
    c->state = CONNECTION_SKIPPING;
    c->skipped = 0;
    c->due_ms = loop_now_ms(c->home->loop) + http_settings.body_timeout_ms;
  } else {
    c->state = CONNECTION_WAITING;
    connection_wait_idle(c);
  }
  connection_later(c);
}

/* ---- Opening and closing ---------------------------------------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle) {
  http_connection *c = handle->data;
  c->closed = true;
  connection_unused(c);
}

/* The handshake has as long as a request's head has. */
static bool begin_tls(http_connection *c) {
  c->due_ms = loop_now_ms(c->home->loop) + http_settings.header_timeout_ms;
  c->tls = tls_session_make(c->home);
  if (c->tls == NULL) connection_close(c);
  return c->tls != NULL;
}

void connection_open(http_connection *c) {
  http_home *home = http_home_here();
  c->home = home;
  c->later = (loop_post_item){.call = on_later, .argument = c};
  c->again = (loop_post_item){.call = on_again, .argument = c};
  c->tcp.data = c;
  if (home == NULL || uv_tcp_init(loop_uv(loop_current()), &c->tcp) != 0) {
    close(c->accepted);
    c->state = CONNECTION_CLOSED;
    c->closed = true;
    connection_unused(c);
    return;
  }
  c->handle_open = true;
  c->next = home->connections;
  if (c->next != NULL) c->next->previous = c;
  home->connections = c;
  home->count++;
  series_connections(1);
  http_home_begin_sweep(home);
  c->state = CONNECTION_WAITING;
  connection_wait_idle(c);
  if (uv_tcp_open(&c->tcp, c->accepted) != 0) {
    close(c->accepted);
    connection_close(c);
    return;
  }
  if (c->secure && !begin_tls(c)) return;
  connection_adjust_reading(c);
}

/* Out of the list, but its own `next` stays: the sweep may be standing on it. */
static void unlist(http_connection *c) {
  if (c->previous != NULL) c->previous->next = c->next;
  else c->home->connections = c->next;
  if (c->next != NULL) c->next->previous = c->previous;
  c->home->count--;
  series_connections(-1);
}

void connection_close(http_connection *c) {
  if (connection_gone(c)) return;
  c->state = CONNECTION_CLOSED;
  unlist(c);
  c->in_size = 0;
  uv_close((uv_handle_t *)&c->tcp, on_closed);
  if (c->exchange != NULL) context_cancel(&c->exchange->context);
  if (c->stream != NULL) stream_connection_closed(c);
}

void connection_end(http_connection *c) {
  if (connection_gone(c)) return;
  c->state = CONNECTION_ENDING;
  c->due_ms = UINT64_MAX; /* until it is sent, the write time-out counts */
}

void connection_unused(http_connection *c) {
  if (!c->closed || c->exchange != NULL || c->stream != NULL || c->sending != NULL || c->later_queued || c->again_queued)
    return;
  char address[sizeof c->address];
  memcpy(address, c->address, sizeof address);
  size_t index = loop_index(loop_current());
  tls_session_free(c->tls);
  if (c->input.data != NULL) text_wipe(c->input.data, c->input.capacity);
  buffer_free(&c->input);
  buffer_free(&c->output);
  free(c);
  http_connection_freed(index, address);
}

/* ---- Time-outs ----------------------------------------------------------------------------------------------------------------------------- */

static bool stuck_in_sending(http_connection *c, uint64_t now_ms) {
  if (c->sending == NULL) return false;
  size_t queue = c->tcp.write_queue_size;
  if (queue < c->last_queue) {
    c->last_queue = queue;
    c->write_due_ms = now_ms + http_settings.write_timeout_ms;
  }
  return now_ms >= c->write_due_ms;
}

/* A plain close would leave megabytes in the kernel, which tries for minutes more to hand them to a client that takes nothing. */
static void give_up_sending(http_connection *c) {
  const struct linger at_once = {.l_onoff = 1};
  int descriptor;
  if (uv_fileno((uv_handle_t *)&c->tcp, &descriptor) == 0)
    (void)setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  connection_close(c);
}

void connection_sweep(http_connection *c, uint64_t now_ms) {
  if (stuck_in_sending(c, now_ms)) {
    give_up_sending(c);
    return;
  }
  switch ((connection_state)c->state) {
  case CONNECTION_WAITING:
    if (now_ms < c->due_ms || c->sending != NULL) break;
    if (c->scan.at > 0) {
      connection_refuse(c, HTTP_REFUSE(408, "the headers did not come in time"));
      connection_later(c);
    } else connection_close_politely(c);
    break;
  case CONNECTION_RUNNING: exchange_sweep(c->exchange, now_ms); break;
  case CONNECTION_SKIPPING:
  case CONNECTION_ENDING:
    if (now_ms >= c->due_ms) connection_close(c);
    break;
  case CONNECTION_STREAMING: stream_sweep(c->stream, now_ms); break;
  case CONNECTION_CLOSED: break;
  }
}
