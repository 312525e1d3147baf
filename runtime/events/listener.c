/* One fiber per listener, on loop 0: reads what comes after its cursor, in order, and delivers it. The cursor moves when the delivery
 * succeeded, or together with the dead letter when it was given up. One node at a time holds the lease of a cursor (keeper.c renews
 * it); a node that lost it finds the cursor elsewhere or under another owner, and leaves it alone. */
#include "core/node.h"
#include "events/internal.h"
#include "db/db.h"
#include "observe/log.h"
#include "operation/operation.h"
#include <purlin/metric.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(events_delivered_total, "Events delivered to listeners, by outcome", "listener, outcome");

enum {
  BATCH = 32,
  POLL_MS = 1000,
  MOST_ATTEMPTS = 8,
  LONGEST_BACKOFF_MS = 30000,
  DELIVERY_TIMEOUT_MS = 60000,
  ADVANCE_MS = 60000
};

static uint32_t first_backoff_ms = 100;

struct events_listener {
  char *name, *event, *plugin;
  events_run *run;
  void *argument;
  struct plugin *owner;
  bool removed, running;
  bool holds;   /* the lease; as far as we know */
  bool redrive; /* some of its dead letters are to be tried again */
  int64_t position;
  uint64_t advance_ms; /* when to move the cursor past events that are not for it, so that they can be forgotten */
  event_sleeper sleeper;
  loop_post_item post;
  struct events_listener *next;
};

static events_listener *listeners; /* before the start by the main thread, then on loop 0 */
static bool started;

static const char ENSURE[] = "INSERT IGNORE INTO events_cursors (listener, position, lease_until) SELECT ?, next - 1, "
                             "NOW(6) FROM events_sequencer WHERE id = 1";
static const char LEASE[] =
    "UPDATE events_cursors SET lease_owner = ?, lease_until = NOW(6) + INTERVAL ? SECOND"
    " WHERE listener = ? AND (lease_owner = ? OR lease_owner LIKE ? OR lease_until IS NULL OR lease_until < NOW(6))";
static const char POSITION[] = "SELECT position FROM events_cursors WHERE listener = ? AND lease_owner = ?";
static const char HEAD[] = "SELECT next - 1 AS position FROM events_sequencer WHERE id = 1";
static const char NEXT[] =
    "SELECT " EVENT_COLUMNS " FROM events_log WHERE name = ? AND sequence > ? ORDER BY sequence LIMIT ?";
static const char MOVE[] = "UPDATE events_cursors SET position = ? WHERE listener = ? AND lease_owner = ? AND position = ?";
static const char BURY[] =
    "INSERT INTO events_dead (id, listener, sequence, workspace, error, at) VALUES (?, ?, ?, ?, ?, NOW(6))";
static const char RELEASE[] =
    "UPDATE events_cursors SET lease_owner = NULL, lease_until = NOW(6) WHERE listener = ? AND lease_owner = ?";
static const char DEAD[] =
    "SELECT " EVENT_COLUMNS
    " FROM events_log WHERE sequence IN (SELECT sequence FROM events_dead WHERE listener = ? AND redrive)"
    " ORDER BY sequence LIMIT ?";
static const char REVIVED[] = "DELETE FROM events_dead WHERE listener = ? AND sequence = ?";
static const char DEAD_AGAIN[] =
    "UPDATE events_dead SET redrive = FALSE, error = ?, at = NOW(6) WHERE listener = ? AND sequence = ?";

typedef struct position_row {
  int64_t position;
} position_row;
PURLIN_SCHEMA(position_row, "A position", PURLIN_REQUIRED(position, "position"));
typedef struct event_rows {
  PURLIN_LIST_OF(event_row) items;
} event_rows;

/* ---- One delivery, in a fiber and a context of its own ---------------------------------------------------------------------------------------- */

typedef struct delivery {
  events_listener *listener;
  const event_row *event;
  fiber *waiting;
  purlin_status status;
  char error[512];
  bool ended;
} delivery;

static void deliver(purlin_ctx *ctx, void *argument) {
  delivery *d = argument;
  event_record record;
  memcpy(&record, d->event, sizeof record);
  events_assume(ctx, d->listener->name, record.workspace, record.project);
  context_set_deadline(ctx, DELIVERY_TIMEOUT_MS);
  operation_frame frame = context_enter(ctx, d->listener->plugin, d->listener->owner, d->listener->name);
  d->status = d->listener->run(ctx, &record, d->listener->argument);
  context_leave(ctx, frame);
  if (d->status != PURLIN_OK) {
    const char *text = purlin_failure(ctx);
    if (!text[0]) text = purlin_status_text(d->status);
    size_t size = strnlen(text, sizeof d->error - 1);
    memcpy(d->error, text, size);
    d->error[size] = '\0';
  }
  d->ended = true;
  if (d->waiting) fiber_wake(d->waiting);
}

static purlin_status attempt(events_listener *l, const event_row *event, delivery *d) {
  *d = (delivery){.listener = l, .event = event};
  purlin_status status = context_start(l->plugin, l->name, deliver, d);
  if (status != PURLIN_OK) return status;
  if (!d->ended) {
    d->waiting = fiber_current();
    fiber_park();
  }
  return d->status;
}

static bool gone(const events_listener *l) { return l->removed || events_stopping(); }

typedef enum verdict { DELIVERED, GIVEN_UP, INTERRUPTED } verdict;

static verdict deliver_one(events_listener *l, const event_row *event, delivery *d) {
  uint32_t backoff_ms = first_backoff_ms;
  for (int attempts = 1;; attempts++) {
    purlin_status status = attempt(l, event, d);
    purlin_count(events_delivered_total, 1, l->name, status == PURLIN_OK ? "ok" : "failed");
    if (status == PURLIN_OK) return DELIVERED;
    log_write(PURLIN_WARNING, "events", "%s failed on event %lld (attempt %d): %s", l->name, (long long)event->sequence,
              attempts, d->error);
    if (attempts >= MOST_ATTEMPTS) break;
    if (!event_wait(&l->sleeper, backoff_ms, &l->removed) || gone(l)) return INTERRUPTED;
    backoff_ms = backoff_ms * 2 < LONGEST_BACKOFF_MS ? backoff_ms * 2 : LONGEST_BACKOFF_MS;
  }
  purlin_count(events_delivered_total, 1, l->name, "dead");
  return GIVEN_UP;
}

/* ---- The fiber of a listener ---------------------------------------------------------------------------------------------------------------------- */

/* Takes the lease if we have it not, from an earlier run of this node too, and learns where the cursor is. False: another node has it,
 * or the database is away. */
static bool hold(purlin_ctx *ctx, events_listener *l) {
  position_row row;
  const char *node = events_node();
  if (l->holds) return true;
  if (purlin_db_run(ctx, LEASE, node, EVENTS_LEASE_S, l->name, node, node_owners_pattern()) != PURLIN_OK ||
      purlin_affected(ctx) == 0)
    return false;
  if (purlin_db_row(ctx, position_row, &row, POSITION, l->name, node) != PURLIN_OK) return false;
  l->position = row.position;
  l->holds = true;
  return true;
}

typedef struct step {
  events_listener *listener;
  const event_row *event;
  const char *error; /* NULL: delivered */
  bool lost;
} step;

/* The dead letter and the cursor in one transaction. */
static purlin_status move_body(purlin_ctx *ctx, void *argument) {
  step *s = argument;
  const event_row *event = s->event;
  purlin_status status = purlin_db_run(ctx, MOVE, event->sequence, s->listener->name, events_node(), s->listener->position);
  s->lost = status == PURLIN_OK && purlin_affected(ctx) == 0;
  if (status != PURLIN_OK || s->lost || !s->error) return status;
  return purlin_db_run(ctx, BURY, purlin_new_id(ctx, "ded"), s->listener->name, event->sequence, event->workspace,
                       s->error);
}

/* False: the lease is another node's by now, or the database is away; the event comes again. */
static bool move_on(purlin_ctx *ctx, events_listener *l, const event_row *event, const char *error) {
  step s = {l, event, error, false};
  if (purlin_transaction(ctx, move_body, &s) != PURLIN_OK) return false;
  if (s.lost) {
    log_write(PURLIN_WARNING, "events", "another node delivers to %s now", l->name);
    l->holds = false;
    return false;
  }
  l->position = event->sequence;
  events_note_position(l->position);
  return true;
}

/* Dead letters that somebody has asked to be tried again. */
static void redrive(purlin_ctx *ctx, events_listener *l) {
  event_rows found = {0};
  delivery d;
  if (!l->redrive || purlin_db_list(ctx, event_row, &found.items, DEAD, l->name, BATCH) != PURLIN_OK) return;
  l->redrive = found.items.count == BATCH;
  for (size_t i = 0; i < found.items.count; i++) {
    const event_row *event = &found.items.items[i];
    verdict how = deliver_one(l, event, &d);
    purlin_status status = PURLIN_OK;
    if (how == DELIVERED) status = purlin_db_run(ctx, REVIVED, l->name, event->sequence);
    else if (how == GIVEN_UP) status = purlin_db_run(ctx, DEAD_AGAIN, (const char *)d.error, l->name, event->sequence);
    if (status != PURLIN_OK || how == INTERRUPTED) return;
  }
}

/* Where the log ended before the look for events, if it is time to move the cursor there; otherwise 0. */
static int64_t head_to_reach(purlin_ctx *ctx, events_listener *l) {
  uint64_t now_ms = purlin_ticks_ns() / 1000000;
  position_row head = {0};
  if (now_ms < l->advance_ms || purlin_db_row(ctx, position_row, &head, HEAD) != PURLIN_OK) return 0;
  l->advance_ms = now_ms + ADVANCE_MS;
  return head.position;
}

/* Delivers a batch; how many events it had, -1 when something went wrong. */
static int deliver_batch(purlin_ctx *ctx, events_listener *l) {
  event_rows found = {0};
  delivery d;
  if (!hold(ctx, l)) return -1;
  redrive(ctx, l);
  int64_t head = head_to_reach(ctx, l);
  if (purlin_db_list(ctx, event_row, &found.items, NEXT, l->event, l->position, BATCH) != PURLIN_OK) return -1;
  for (size_t i = 0; i < found.items.count; i++) {
    const event_row *event = &found.items.items[i];
    verdict how = gone(l) || !l->holds ? INTERRUPTED : deliver_one(l, event, &d);
    if (how == INTERRUPTED || !move_on(ctx, l, event, how == GIVEN_UP ? d.error : NULL)) return -1;
  }
  event_row nothing = {.sequence = head};
  if (found.items.count < BATCH && head > l->position && !move_on(ctx, l, &nothing, NULL)) return -1;
  return (int)found.items.count;
}

static void unlink_listener(events_listener *l) {
  events_listener **place = &listeners;
  while (*place && *place != l) place = &(*place)->next;
  if (*place) *place = l->next;
}

static void free_listener(events_listener *l) {
  free(l->name);
  free(l->event);
  free(l->plugin);
  free(l);
}

static void pump(purlin_ctx *ctx, void *argument) {
  events_listener *l = argument;
  events_assume(ctx, EVENTS_SYSTEM_ACTOR, "default", "default");
  bool known = false;
  while (!gone(l)) {
    purlin_mark mark = purlin_arena_mark(ctx);
    if (!known) known = purlin_db_run(ctx, ENSURE, l->name) == PURLIN_OK;
    int delivered = known ? deliver_batch(ctx, l) : -1;
    purlin_clear_failure(ctx);
    purlin_arena_reset(ctx, mark);
    if (delivered < BATCH && !gone(l)) event_sleep(&l->sleeper, POLL_MS);
  }
  if (purlin_db_run(ctx, RELEASE, l->name, events_node()) != PURLIN_OK)
    purlin_clear_failure(ctx); /* it runs out by itself */
  l->holds = false;
  l->running = false;
  if (l->removed) {
    unlink_listener(l);
    free_listener(l);
  }
  events_fiber_ended();
}

static void start_pump(void *argument) {
  events_listener *l = argument;
  if (!started || events_stopping() || l->running) return;
  l->running = true;
  if (context_start("purlin", "events.deliver", pump, l) == PURLIN_OK) return;
  l->running = false;
  log_write(PURLIN_ERROR, "events", "no fiber for the listener %s", l->name);
}

purlin_status events_listen(const char *name, const char *event, events_run *run, void *argument, struct plugin *owner,
                            const char *plugin, events_listener **listener) {
  events_listener *l = calloc(1, sizeof *l);
  if (!l) return PURLIN_UNAVAILABLE;
  *l = (events_listener){.name = strdup(name),
                         .event = strdup(event),
                         .plugin = strdup(plugin),
                         .run = run,
                         .argument = argument,
                         .owner = owner};
  if (!l->name || !l->event || !l->plugin) {
    free_listener(l);
    return PURLIN_UNAVAILABLE;
  }
  l->next = listeners;
  listeners = l;
  if (listener) *listener = l;
  if (started) {
    l->post = (loop_post_item){.call = start_pump, .argument = l};
    loop_post(loop_at(0), &l->post);
  }
  return PURLIN_OK;
}

void events_unlisten(events_listener *l) {
  l->removed = true;
  if (l->running) {
    event_ring(&l->sleeper);
    return;
  }
  unlink_listener(l);
  free_listener(l);
}

void listeners_ring(void) {
  for (events_listener *l = listeners; l; l = l->next) event_ring(&l->sleeper);
}

purlin_status listeners_start(void) {
  started = true;
  for (events_listener *l = listeners; l; l = l->next) start_pump(l);
  return PURLIN_OK;
}

void listeners_stop(void) {
  listeners_ring();
  started = false;
}

void listeners_redrive(const char *name) {
  for (events_listener *l = listeners; l; l = l->next) {
    if (strcmp(l->name, name) != 0) continue;
    l->redrive = true;
    event_ring(&l->sleeper);
  }
}

/* Which leases ran out without our noticing: the database could not be asked in time. */
void listeners_let_go(void) {
  for (events_listener *l = listeners; l; l = l->next) l->holds = false;
}

void listeners_set_backoff(uint32_t first_ms) { first_backoff_ms = first_ms; }

bool listeners_running(void) {
  for (const events_listener *l = listeners; l; l = l->next)
    if (l->running) return true;
  return false;
}

/* ---- Listeners of plugins: the payload is decoded first ---------------------------------------------------------------------------------------------- */

static purlin_status run_declared(purlin_ctx *ctx, const event_record *event, void *argument) {
  const purlin_listener *declared = argument;
  const purlin_schema *schema = declared->payload();
  void *payload = purlin_alloc(ctx, schema->struct_size);
  if (!payload) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_decode_stored(ctx, schema, event->payload.text, event->payload.size, payload);
  return status == PURLIN_OK ? declared->run(ctx, payload) : status;
}

purlin_status events_register_listener(const char *plugin, struct plugin *owner, const purlin_listener *listener,
                                       buffer *why) {
  buffer name = {0};
  buffer_format(&name, "plugin:%s.%s", plugin, listener->name);
  purlin_status status =
      events_listen(buffer_end(&name), listener->event, run_declared, (void *)(uintptr_t)listener, owner, plugin, NULL);
  buffer_free(&name);
  if (status != PURLIN_OK) buffer_format(why, "out of memory for the listener '%s'", listener->name);
  return status;
}
