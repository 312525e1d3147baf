/* stream.c: server-sent events: answers without an end and without a fiber. */
#include "http/connection.h"

#include <stdio.h>
#include <stdlib.h>

#define BEAT_MS 15000
#define MOST_UNSENT ((size_t)1024 * 1024)

struct http_stream {
  http_connection *connection; /* NULL: ended; `closed` is on its way */
  loop *loop;
  void (*closed)(void *argument);
  void *argument;
  uint64_t beat_due_ms, end_due_ms;
  bool chunked;
  loop_post_item notice;
};

static void notify(void *argument) {
  http_stream *stream = argument;
  stream->closed(stream->argument);
  free(stream);
}

/* From here on sends are refused; the owner hears of it in the loop's own level, never inside its own call. */
static void detach(http_stream *stream) {
  stream->connection->stream = NULL;
  stream->connection = NULL;
  stream->notice = (loop_post_item){.call = notify, .argument = stream};
  loop_later(stream->loop, &stream->notice);
}

void stream_connection_closed(http_connection *c) { detach(c->stream); }

purlin_status http_stream_open(purlin_ctx *ctx, purlin_request *request, void (*closed)(void *argument), void *argument,
                               http_stream **out) {
  http_connection *c = request->connection;
  http_stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no memory for another stream");
  c->close_after = true;
  purlin_status status = purlin_set_header(ctx, request, "Cache-Control", "no-store");
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, 200, "text/event-stream", -1);
  if (status != PURLIN_OK) {
    free(stream);
    return status;
  }
  request->answer = ANSWER_DETACHED;
  *stream = (http_stream){
      .connection = c, .loop = c->home->loop, .closed = closed, .argument = argument, .chunked = request->chunked};
  stream->beat_due_ms = loop_now_ms(stream->loop) + BEAT_MS;
  stream->end_due_ms = loop_now_ms(stream->loop) + http_settings.stream_life_ms;
  c->stream = stream;
  *out = stream;
  if (request->no_body) detach(stream);
  connection_later(c);
  return PURLIN_OK;
}

static bool send_text(http_stream *stream, const buffer *text) {
  http_connection *c = stream->connection;
  buffer *out = connection_output(c);
  if (text->failed || connection_unsent(c) > MOST_UNSENT) {
    connection_close(c);
    return false;
  }
  if (stream->chunked) {
    char line[24];
    int length = snprintf(line, sizeof line, "%zx\r\n", text->size);
    buffer_add(out, line, (size_t)length);
  }
  buffer_add(out, text->data, text->size);
  if (stream->chunked) buffer_add(out, "\r\n", 2);
  stream->beat_due_ms = loop_now_ms(stream->loop) + BEAT_MS;
  connection_later(c);
  return true;
}

/* "name: value" for each line of the value: none may end the event early. */
static void add_lines(buffer *text, const char *name, const char *value, size_t size) {
  const char *at = value, *end = value + size;
  for (;;) {
    const char *stop = at;
    while (stop < end && *stop != '\n' && *stop != '\r') stop++;
    buffer_text(text, name);
    buffer_add(text, at, (size_t)(stop - at));
    buffer_char(text, '\n');
    if (stop == end) return;
    at = stop + (stop[0] == '\r' && stop + 1 < end && stop[1] == '\n' ? 2 : 1);
  }
}

/* Names are one line; what follows a line break is left out. */
static void add_name(buffer *text, const char *name, const char *value) {
  if (value == NULL) return;
  buffer_text(text, name);
  buffer_add(text, value, strcspn(value, "\r\n"));
  buffer_char(text, '\n');
}

bool http_stream_send(http_stream *stream, const char *id, const char *event, const char *data, size_t size) {
  if (stream->connection == NULL) return false;
  buffer *text = &stream->connection->home->scratch;
  buffer_clear(text);
  add_name(text, "id: ", id);
  add_name(text, "event: ", event);
  if (data != NULL) add_lines(text, "data: ", data, size);
  buffer_char(text, '\n');
  return send_text(stream, text);
}

size_t http_stream_unsent(const http_stream *stream) {
  return stream->connection == NULL ? 0 : connection_unsent(stream->connection);
}

void stream_sweep(http_stream *stream, uint64_t now_ms) {
  if (now_ms >= stream->end_due_ms) {
    http_stream_close(stream);
    return;
  }
  if (now_ms < stream->beat_due_ms) return;
  buffer *text = &stream->connection->home->scratch;
  buffer_clear(text);
  buffer_text(text, ":\n\n");
  (void)send_text(stream, text);
}

void http_stream_close(http_stream *stream) {
  http_connection *c = stream->connection;
  if (c == NULL) return;
  if (stream->chunked) buffer_add(connection_output(c), "0\r\n\r\n", 5);
  detach(stream);
  if (c->state == CONNECTION_STREAMING)
    connection_end(c); /* else the handler still runs, and its end ends the connection */
  connection_later(c);
}
