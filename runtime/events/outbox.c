#include "events/internal.h"
#include "core/text.h"
#include "db/db.h"
#include <purlin/metric.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(events_emitted_total, "Events written to the outbox", "event");

#define MOST_KEY 500u
#define MOST_PAYLOAD (256u * 1024u)

static const char INSERT[] =
    "INSERT INTO events_outbox (id, name, event_key, workspace, project, actor, trace_id, at, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, NOW(6), ?)";

/* ---- What may be emitted: written at start, read afterwards ----------------------------------------------------------------------------- */

typedef struct registered_event {
  const purlin_event *event;
  char *name;
  struct registered_event *next;
} registered_event;
static registered_event *registered;

purlin_status events_register(const char *plugin, const purlin_event *event, buffer *why) {
  if (!event->payload || !schema_check(event->payload(), why)) {
    buffer_format(why, " (the event '%s' at %s:%u)", event->name, event->declared.file, event->declared.line);
    return PURLIN_INVALID;
  }
  registered_event *added = calloc(1, sizeof *added);
  buffer name = {0};
  buffer_format(&name, "%s.%s", plugin, event->name);
  if (!added || name.failed) {
    free(added);
    buffer_free(&name);
    return PURLIN_UNAVAILABLE;
  }
  *added = (registered_event){event, strdup(buffer_end(&name)), registered};
  buffer_free(&name);
  if (!added->name) {
    free(added);
    return PURLIN_UNAVAILABLE;
  }
  registered = added;
  return PURLIN_OK;
}

static const char *name_of(const purlin_event *event) {
  const registered_event *r = registered;
  while (r && r->event != event) r = r->next;
  return r ? r->name : NULL;
}

/* ---- Emitting ------------------------------------------------------------------------------------------------------------------------------- */

static void ring(void *argument) {
  (void)argument;
  sequencer_ring();
}

purlin_status events_emit_json(purlin_ctx *ctx, const char *name, const char *key, purlin_json payload) {
  if (key && strlen(key) > MOST_KEY)
    return purlin_fail(ctx, PURLIN_INVALID, "the key of an event has at most %u bytes", MOST_KEY);
  if (payload.size > MOST_PAYLOAD)
    return purlin_fail(ctx, PURLIN_TOO_LARGE, "the payload of an event has at most %u bytes: keep more in storage",
                       MOST_PAYLOAD);
  const char *id = purlin_new_id(ctx, "evt");
  if (!id) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_run(ctx, INSERT, id, name, key ? key : "", ctx->workspace, ctx->project, ctx->actor,
                                       ctx->trace.trace_id, payload);
  if (status != PURLIN_OK) return status;
  purlin_count(events_emitted_total, 1, name);
  return db_after_commit(ctx, ring, NULL);
}

purlin_status purlin_emit_(purlin_ctx *ctx, const purlin_event *event, const void *payload, const char *key) {
  const char *name = name_of(event);
  if (!name) return purlin_fail(ctx, PURLIN_INTERNAL, "the event '%s' is not registered", event->name);
  purlin_json encoded;
  purlin_status status = purlin_encode(ctx, event->payload(), payload, &encoded);
  return status == PURLIN_OK ? events_emit_json(ctx, name, key, encoded) : status;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------------------------------------- */

static const char READ[] =
    "SELECT " EVENT_COLUMNS " FROM events_log WHERE sequence > ? AND workspace = ? AND LEFT(name, CHAR_LENGTH(?)) = ?"
    " ORDER BY sequence LIMIT ?";

typedef struct rows {
  PURLIN_LIST_OF(event_row) items;
} rows;

_Static_assert(sizeof(event_row) == sizeof(event_record), "an event as a row and as a record are the same struct");

purlin_status events_read(purlin_ctx *ctx, const char *workspace, int64_t after, const char *prefix, size_t limit,
                          event_records *out) {
  rows found = {0};
  purlin_status status = purlin_db_list(ctx, event_row, &found.items, READ, after, workspace, prefix ? prefix : "",
                                        prefix ? prefix : "", (int64_t)limit);
  if (status != PURLIN_OK) return status;
  event_record *items = purlin_alloc_array(ctx, found.items.count + 1, sizeof *items);
  if (!items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.items.count; i++) memcpy(&items[i], &found.items.items[i], sizeof items[i]);
  *out = (event_records){items, found.items.count};
  return PURLIN_OK;
}
