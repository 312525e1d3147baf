#include "events/internal.h"
#include "db/db.h"
#include <purlin/operation.h>

static const char DEAD[] =
    "SELECT id, listener, sequence, error, at FROM events_dead WHERE workspace = ? ORDER BY at DESC LIMIT ?";
static const char FIND_DEAD[] = "SELECT id, listener, sequence, error, at FROM events_dead WHERE workspace = ? AND id = ?";

typedef struct list_in {
  int64_t after, limit;
  const char *name;
} list_in;
PURLIN_SCHEMA(list_in, "Which events",
    PURLIN_DEFAULT(after, "0", "After this number", .min = 0, .max = 9e15),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000),
    PURLIN_DEFAULT(name, "\"\"", "Whose name begins with this", .max_length = 250));
typedef struct event_page {
  PURLIN_LIST_OF(event_row) events;
} event_page;
PURLIN_SCHEMA(event_page, "Events, in their order", PURLIN_LIST(events, event_row, "The events"));

PURLIN_OPERATION(events_list, list_in, event_page,
    .summary = "The log of events", .permission = "events:read", .http = "GET /api/v1/events/log") {
  event_records found = {0};
  purlin_status status = events_read(ctx, purlin_workspace(ctx), in->after, in->name, (size_t)in->limit, &found);
  out->events.items = (event_row *)(void *)found.items; /* the same struct: see outbox.c */
  out->events.count = found.count;
  return status;
}

typedef struct dead_event {
  const char *id, *listener;
  int64_t sequence;
  const char *error;
  purlin_time at;
} dead_event;
PURLIN_SCHEMA(dead_event, "An event that a listener could not take",
    PURLIN_REQUIRED(id, "Its id as a dead letter"),
    PURLIN_REQUIRED(listener, "Who could not take it"),
    PURLIN_REQUIRED(sequence, "The number of the event"),
    PURLIN_REQUIRED(error, "Why, the last time"),
    PURLIN_REQUIRED(at, "When it was given up"));
typedef struct dead_in {
  int64_t limit;
} dead_in;
PURLIN_SCHEMA(dead_in, "How many", PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));
typedef struct dead_page {
  PURLIN_LIST_OF(dead_event) events;
} dead_page;
PURLIN_SCHEMA(dead_page, "Dead letters, newest first", PURLIN_LIST(events, dead_event, "The events"));

PURLIN_OPERATION(events_dead, dead_in, dead_page,
    .summary = "Events that listeners could not take", .permission = "events:read", .http = "GET /api/v1/events/dead") {
  return purlin_db_list(ctx, dead_event, &out->events, DEAD, purlin_workspace(ctx), in->limit);
}

typedef struct drop_in {
  const char *id;
} drop_in;
PURLIN_SCHEMA(drop_in, "Which dead letter", PURLIN_REQUIRED(id, "Its id", .max_length = 64));

PURLIN_OPERATION(events_drop, drop_in, dead_event,
    .summary = "Forget a dead letter", .permission = "events:write", .effect = PURLIN_CHANGES,
    .http = "DELETE /api/v1/events/dead/{id}") {
  purlin_status status = purlin_db_row(ctx, dead_event, out, FIND_DEAD, purlin_workspace(ctx), in->id);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no dead letter '%s'", in->id);
  return status == PURLIN_OK ? purlin_db_run(ctx, "DELETE FROM events_dead WHERE id = ?", in->id) : status;
}

PURLIN_OPERATION(events_redrive, drop_in, dead_event,
    .summary = "Deliver a dead letter again, to the listener that could not take it", .permission = "events:write",
    .effect = PURLIN_CHANGES, .http = "POST /api/v1/events/dead/{id}/redrive") {
  purlin_status status = purlin_db_row(ctx, dead_event, out, FIND_DEAD, purlin_workspace(ctx), in->id);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no dead letter '%s'", in->id);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, "UPDATE events_dead SET redrive = TRUE WHERE id = ?", in->id);
  return status == PURLIN_OK ? db_after_commit(ctx, keeper_ring, NULL) : status;
}
