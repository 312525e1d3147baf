/* GET /api/v1/events: server-sent events. A stream that waits holds no fiber; when the log grows, one is started that reads what is new
 * for the stream and ends. */
#include "events/internal.h"
#include "http/server.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 100, LONGEST_PREFIX = 250, MUCH_UNSENT_BYTES = 256 * 1024, WAIT_FOR_CLIENT_MS = 20, AFTER_ERROR_MS = 1000 };

typedef struct subscription {
  http_stream *stream; /* NULL: the client has gone */
  int64_t after;
  bool reading, again;
  char *workspace;
  char prefix[LONGEST_PREFIX + 1];
  struct subscription *next, **previous;
} subscription;

typedef struct streams {
  subscription *first;
  loop_post_item post;
  atomic_bool posted;
} streams;
static const char streams_key;

static streams *streams_of(loop *l) { return loop_local(l, &streams_key, sizeof(streams)); }

static void forget(subscription *s) {
  if (s->reading) return; /* its fiber forgets it */
  free(s->workspace);
  free(s);
}

static void closed(void *argument) {
  subscription *s = argument;
  s->stream = NULL;
  *s->previous = s->next;
  if (s->next) s->next->previous = s->previous;
  forget(s);
}

static void write_id(char id[24], int64_t sequence) { (void)snprintf(id, 24, "%lld", (long long)sequence); }

static bool send_one(purlin_ctx *ctx, subscription *s, const event_record *event) {
  purlin_json encoded;
  char id[24];
  event_row row;
  memcpy(&row, event, sizeof row);
  if (purlin_encode(ctx, event_row_schema(), &row, &encoded) != PURLIN_OK) return false;
  /* A batch may be more than a stream holds, however fast the client is. */
  while (s->stream && http_stream_unsent(s->stream) > MUCH_UNSENT_BYTES)
    if (purlin_sleep(ctx, WAIT_FOR_CLIENT_MS) != PURLIN_OK) return false;
  write_id(id, event->sequence);
  s->after = event->sequence;
  return s->stream && http_stream_send(s->stream, id, event->name, encoded.text, encoded.size);
}

static void feed(purlin_ctx *ctx, void *argument) {
  subscription *s = argument;
  events_assume(ctx, EVENTS_SYSTEM_ACTOR, s->workspace, "default");
  for (bool more = true; more && s->stream;) {
    purlin_mark mark = purlin_arena_mark(ctx);
    event_records found = {0};
    s->again = false;
    purlin_status status = events_read(ctx, s->workspace, s->after, s->prefix, BATCH, &found);
    for (size_t i = 0; i < found.count && s->stream && status == PURLIN_OK; i++)
      if (!send_one(ctx, s, &found.items[i])) break;
    more = status != PURLIN_OK || found.count == BATCH || s->again;
    purlin_clear_failure(ctx);
    purlin_arena_reset(ctx, mark);
    if (status != PURLIN_OK && purlin_sleep(ctx, AFTER_ERROR_MS) != PURLIN_OK) break;
  }
  s->reading = false;
  if (!s->stream) forget(s);
}

static void begin_feed(subscription *s) {
  s->again = true;
  if (s->reading) return;
  s->reading = true;
  if (context_start("purlin", "events.stream", feed, s) != PURLIN_OK) s->reading = false; /* the next ring tries again */
}

static void rung(void *argument) {
  streams *all = argument;
  atomic_store(&all->posted, false);
  subscription *next;
  for (subscription *s = all->first; s; s = next) {
    next = s->next;
    begin_feed(s);
  }
}

static streams *per_loop[256];

void streams_ring(void) {
  for (size_t i = 0; i < loop_count() && i < sizeof per_loop / sizeof per_loop[0]; i++) {
    streams *all = __atomic_load_n(&per_loop[i], __ATOMIC_ACQUIRE);
    if (!all || atomic_exchange(&all->posted, true)) continue;
    all->post = (loop_post_item){.call = rung, .argument = all};
    loop_post(loop_at(i), &all->post);
  }
}

typedef struct last_row {
  int64_t sequence;
} last_row;
PURLIN_SCHEMA(last_row, "A number", PURLIN_REQUIRED(sequence, "The last one"));

/* Where to begin: Last-Event-ID, ?after=, or now. */
static purlin_status begin_after(purlin_ctx *ctx, purlin_request *request, int64_t *after) {
  const char *text = purlin_header(request, "last-event-id");
  if (!text) text = purlin_query_value(request, "after");
  if (text) {
    char *end = NULL;
    *after = strtoll(text, &end, 10);
    return *text && !*end && *after >= 0 ? PURLIN_OK : purlin_fail_field(ctx, "after", "expected the number of an event");
  }
  last_row row;
  purlin_status status =
      purlin_db_row(ctx, last_row, &row, "SELECT next - 1 AS sequence FROM events_sequencer WHERE id = 1");
  *after = row.sequence;
  return status;
}

typedef struct stream_query {
  purlin_opt_int after;
  purlin_opt_text name;
} stream_query;
PURLIN_SCHEMA(stream_query, "Which events",
    PURLIN_OPTIONAL(after, "Those after this number; without it, from now on"),
    PURLIN_OPTIONAL(name, "Those whose name begins with this"));

PURLIN_ROUTE(events_stream, "GET /api/v1/events",
    .summary = "Events as they happen, as server-sent events", .permission = "events:read", .query = stream_query_schema,
    .answer = "text/event-stream", .timeout_ms = UINT32_MAX) {
  subscription *s = calloc(1, sizeof *s);
  streams *all = streams_of(ctx->loop);
  if (s) s->workspace = strdup(ctx->workspace);
  if (!s || !all || !s->workspace) {
    free(s);
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "out of memory");
  }
  const char *name = purlin_query_value(request, "name");
  (void)snprintf(s->prefix, sizeof s->prefix, "%s", name ? name : "");
  purlin_status status = begin_after(ctx, request, &s->after);
  if (status == PURLIN_OK) status = http_stream_open(ctx, request, closed, s, &s->stream);
  if (status != PURLIN_OK) {
    free(s->workspace);
    free(s);
    return status;
  }
  __atomic_store_n(&per_loop[loop_index(ctx->loop)], all, __ATOMIC_RELEASE);
  s->next = all->first;
  s->previous = &all->first;
  if (s->next) s->next->previous = &s->next;
  all->first = s;
  char id[24]; /* so that a client that comes back before the first event misses none */
  write_id(id, s->after);
  (void)http_stream_send(s->stream, id, NULL, NULL, 0);
  begin_feed(s);
  return PURLIN_OK;
}
