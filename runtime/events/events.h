/* events.h: the inside of <purlin/event.h>.
 *
 * purlin_emit writes a row into events_outbox in the running transaction. One sequencer in the cluster (a leased row) gives
 * committed rows consecutive numbers in events_log; numbers never appear out of order, so a reader's cursor is one number.
 * Each listener has a durable cursor (events_cursors) and is fed in order by the node that holds its lease. */
#ifndef PURLIN_EVENTS_EVENTS_H
#define PURLIN_EVENTS_EVENTS_H

#include <purlin/event.h>
#include <purlin/database.h>
#include "core/buffer.h"
#include "loop/context.h"

extern const purlin_migration *const events_migrations[];
extern const size_t events_migration_count;

typedef struct event_record {
  int64_t sequence;
  const char *id, *name, *key, *workspace, *project, *actor, *trace_id; /* id: public, random */
  purlin_time at;
  purlin_json payload;
} event_record;

PURLIN_CHECKED purlin_status events_register(const char *plugin, const purlin_event *event, buffer *why);

/* A durable listener. `name` identifies its cursor ("plugin:NAME.FUNCTION", "rule:FILE:EVENT"); a new one starts at the end of the
 * log. `run` is called in a fiber with a context of the event's workspace; an error means: again, with backoff, at most
 * `max_attempts` times, then the event goes to events_dead. Returns a handle for events_unlisten (reload). */
typedef struct events_listener events_listener;
typedef purlin_status events_run(purlin_ctx *ctx, const event_record *event, void *argument);
PURLIN_CHECKED purlin_status events_listen(const char *name, const char *event, events_run *run, void *argument,
                                           struct plugin *owner, const char *plugin, events_listener **listener);
void events_unlisten(events_listener *listener);
/* The same for a purlin_listener: decodes the payload. */
PURLIN_CHECKED purlin_status events_register_listener(const char *plugin, struct plugin *owner,
                                                      const purlin_listener *listener, buffer *why);

PURLIN_CHECKED purlin_status events_start(void);
void events_drain(void (*done)(void *argument), void *argument);

/* Emitting with a JSON payload and a full name, for Lua ("rule.something" events are free-form). */
PURLIN_CHECKED purlin_status events_emit_json(purlin_ctx *ctx, const char *name, const char *key, purlin_json payload);

/* Gives a delivery its identity; access/ sets it. */
typedef void events_identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);
void events_set_identify(events_identify *identify);

/* Reading the log after a sequence number, one workspace, at most `limit`, optionally only names that begin with `prefix`. */
typedef struct event_records {
  event_record *items;
  size_t count;
} event_records;
PURLIN_CHECKED purlin_status events_read(purlin_ctx *ctx, const char *workspace, int64_t after, const char *prefix,
                                         size_t limit, event_records *out);

/* The route GET /api/v1/events (server-sent events; Last-Event-ID or ?after=N resumes; ?name=prefix filters) is declared in
 * events/stream.c with PURLIN_ROUTE, permission "events:read". */

#endif
