/* internal.h: what the files of events/ share. Listeners live on loop 0; streams on the loop of their connection. */
#ifndef PURLIN_EVENTS_INTERNAL_H
#define PURLIN_EVENTS_INTERNAL_H

#include "events/events.h"
#include "core/schema.h"

#define EVENTS_SYSTEM_ACTOR "system"

/* A row of events_log as it is read; event_record without its pointers into another shape. */
typedef struct event_row {
  int64_t sequence;
  const char *id, *name, *key, *workspace, *project, *actor, *trace_id;
  purlin_time at;
  purlin_json payload;
} event_row;
PURLIN_SCHEMA(event_row, "An event",
    PURLIN_REQUIRED(sequence, "Its number: events of the whole cluster are numbered as they are committed"),
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(name, "What happened: PLUGIN.NAME"),
    PURLIN_REQUIRED(key, "The object that it is about"),
    PURLIN_REQUIRED(workspace, "Where"),
    PURLIN_REQUIRED(project, "In which project"),
    PURLIN_REQUIRED(actor, "By whom"),
    PURLIN_REQUIRED(trace_id, "In the course of what"),
    PURLIN_REQUIRED(at, "When"),
    PURLIN_REQUIRED(payload, "The rest, as its schema says"));

#define EVENT_COLUMNS "sequence, id, name, event_key AS `key`, workspace, project, actor, trace_id, at, payload"

/* A fiber on loop 0 that sleeps until somebody rings or some time has passed. */
typedef struct event_sleeper {
  fiber *who;
  bool asleep, rung;
  loop_timer timer;
} event_sleeper;
void event_sleep(event_sleeper *sleeper, uint32_t at_most_ms); /* on loop 0, in a fiber */
void event_ring(event_sleeper *sleeper);                       /* on loop 0 */

/* From any loop: something was committed to the outbox of this process. */
void sequencer_ring(void);
PURLIN_CHECKED purlin_status sequencer_start(void);
void sequencer_stop(void); /* on loop 0; sequencer_running() turns false a little later */
bool sequencer_running(void);

/* On loop 0: the log has grown. */
void listeners_ring(void);
PURLIN_CHECKED purlin_status listeners_start(void);
void listeners_stop(void);
bool listeners_running(void);
void streams_ring(void);   /* all loops */

void events_assume(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);
bool events_stopping(void);
/* Called on loop 0 when a fiber of events/ has ended; finishes a drain. */
void events_fiber_ended(void);

#endif
