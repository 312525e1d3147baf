/* output.c: bytes out. Answers are appended to the connection's output; connection_flush writes it in one call, and what the
 * socket does not take is handed to libuv. An empty output goes back to the loop's pool, so idle connections hold none. */
#include "http/connection.h"

#include <stdlib.h>

buffer *connection_output(http_connection *c) {
  if (c->output.data == NULL) c->output = http_home_take_buffer(c->home);
  return &c->output;
}

size_t connection_unsent(const http_connection *c) {
  return c->output.size + (c->sending != NULL ? c->tcp.write_queue_size : 0);
}

static void on_sent(uv_write_t *request, int status) {
  http_connection *c = request->data;
  http_sending *sending = c->sending;
  c->sending = NULL;
  http_home_give_buffer(c->home, &sending->data);
  free(sending);
  if (connection_gone(c)) return;
  if (status < 0) {
    connection_close(c);
    return;
  }
  connection_flush(c);
  connection_turn(c);
}

/* What is left after `written` bytes goes out when the socket takes it. */
static void send_rest(http_connection *c, size_t written) {
  http_sending *sending = malloc(sizeof *sending);
  if (sending == NULL) {
    connection_close(c);
    return;
  }
  sending->data = c->output;
  sending->request.data = c;
  c->output = (buffer){0};
  c->sending = sending;
  uv_buf_t rest = uv_buf_init(sending->data.data + written, (unsigned)(sending->data.size - written));
  if (uv_write(&sending->request, (uv_stream_t *)&c->tcp, &rest, 1, on_sent) != 0) {
    c->sending = NULL;
    buffer_free(&sending->data);
    free(sending);
    connection_close(c);
    return;
  }
  c->last_queue = c->tcp.write_queue_size;
  c->write_due_ms = loop_now_ms(c->home->loop) + http_settings.write_timeout_ms;
}

void connection_flush(http_connection *c) {
  if (connection_gone(c) || c->sending != NULL) return;
  if (c->tls != NULL && !tls_session_seal(c)) return;
  if (c->output.size == 0) return;
  if (c->output.failed || c->output.size > UINT32_MAX) { /* an answer of which a part is missing must not be sent */
    connection_close(c);
    return;
  }
  uv_buf_t whole = uv_buf_init(c->output.data, (unsigned)c->output.size);
  int written = uv_try_write((uv_stream_t *)&c->tcp, &whole, 1);
  if (written == UV_EAGAIN) written = 0;
  if (written < 0) connection_close(c);
  else if ((size_t)written == c->output.size) http_home_give_buffer(c->home, &c->output);
  else send_rest(c, (size_t)written);
}
