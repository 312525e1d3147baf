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
/* Sleeps the whole time whoever rings, unless the server stops or *until turns true: then false. Rings are kept for later. */
bool event_wait(event_sleeper *sleeper, uint32_t ms, const bool *until);

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
void listeners_redrive(const char *name); /* on loop 0: dead letters of this listener wait to be tried again */
void listeners_let_go(void);
void listeners_set_backoff(uint32_t first_ms); /* for tests */

/* keeper.c: renews the leases of this node's cursors, all with one statement; finds dead letters to redrive; forgets old events.
 * The node's name is the owner of its leases, new at each start. */
#define EVENTS_LEASE_S 30
const char *events_node(void);
PURLIN_CHECKED purlin_status keeper_start(void);
void keeper_stop(void);
bool keeper_running(void);
void keeper_ring(void *unused);              /* any loop: there is something to redrive */
void events_note_position(int64_t sequence); /* for the lag */
/* One round of forgetting: events older than `hours` that every cursor has passed. */
PURLIN_CHECKED purlin_status events_forget(purlin_ctx *ctx, int64_t hours);
void streams_ring(void); /* all loops */

void events_assume(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);
bool events_stopping(void);
/* Called on loop 0 when a fiber of events/ has ended; finishes a drain. */
void events_fiber_ended(void);

#endif
