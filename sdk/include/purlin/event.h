/* event.h: telling others what happened, so that they hear of it even after a crash.
 *
 *   PURLIN_EVENT(alert, drift_alert, "A monitor saw drift");          in the plugin `drift`: the event drift.alert
 *   ...
 *   purlin_emit(ctx, alert, &payload, monitor_id);                    in the transaction: an event exists if it commits
 *
 *   PURLIN_LISTENER(on_version, "registry.version_created", version_event) { ... ctx and event ... }
 *
 * Delivery is at least once, in the order of events, per listener; a listener that fails is tried again with backoff and
 * after 8 attempts the event goes to its dead letters and the listener goes on. Lua rules listen with purlin.on(). Clients
 * follow the stream at GET /api/v1/events.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_EVENT_H
#define PURLIN_EVENT_H

#include <purlin/schema.h>

PURLIN_BEGIN

typedef struct purlin_event {
  purlin_declaration declared;
  const char *name; /* full name: PLUGIN.NAME */
  const purlin_schema *(*payload)(void);
  const char *summary;
} purlin_event;

#define PURLIN_EVENT(identifier, payload_type, summary_)                                                                   \
  static const purlin_event identifier##_event = {PURLIN_HEAD_(purlin_event, PURLIN_KIND_EVENT), #identifier,              \
                                                  payload_type##_schema, summary_};                                        \
  PURLIN_DECLARE_(identifier##_event)

typedef purlin_status purlin_listener_run(purlin_ctx *ctx, const void *payload);

typedef struct purlin_listener {
  purlin_declaration declared;
  const char *name;
  const char *event; /* the full name of what it listens to */
  purlin_listener_run *run;
  const purlin_schema *(*payload)(void); /* decoded tolerantly: members that this listener does not know are ignored */
} purlin_listener;

#define PURLIN_LISTENER(function, event_name, payload_type)                                                                \
  static purlin_status function(purlin_ctx *ctx, const payload_type *event);                                               \
  static purlin_status function##_run_(purlin_ctx *ctx, const void *payload) {                                             \
    return function(ctx, (const payload_type *)payload);                                                                   \
  }                                                                                                                        \
  static const purlin_listener function##_listener = {PURLIN_HEAD_(purlin_listener, PURLIN_KIND_LISTENER), #function,      \
                                                      event_name, function##_run_, payload_type##_schema};                 \
  PURLIN_DECLARE_(function##_listener);                                                                                    \
  static purlin_status function(PURLIN_MAYBE_UNUSED purlin_ctx *ctx, PURLIN_MAYBE_UNUSED const payload_type *event)

/* Writes the event to the outbox in the running transaction (or by itself). `key` names the object it is about, for order and
 * for filters (at most 500 bytes; NULL: none). Payload and key are borrowed. May park.
 * Errors: PURLIN_TOO_LARGE (a payload over 256 KiB as JSON), PURLIN_INVALID (the key), PURLIN_INTERNAL (an event of another plugin),
 * and those of statements (database.h). */
#define purlin_emit(ctx, identifier, payload, key) purlin_emit_(ctx, &identifier##_event, payload, key)
PURLIN_API PURLIN_CHECKED purlin_status purlin_emit_(purlin_ctx *ctx, const purlin_event *event, const void *payload,
                                                     const char *key);

PURLIN_END

#endif
