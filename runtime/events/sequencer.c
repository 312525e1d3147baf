/* Committed rows of the outbox get consecutive numbers. The row of events_sequencer is locked meanwhile, so that one node at a time does
 * it; rows of transactions that are still open are skipped and come later, with a later number. */
#include "events/internal.h"
#include "db/db.h"
#include "observe/log.h"
#include <stdatomic.h>
#include <string.h>

enum { BATCH = 500, POLL_MS = 500, AFTER_ERROR_MS = 1000 };

static const char LOCK[] = "SELECT next FROM events_sequencer WHERE id = 1 FOR UPDATE";
static const char TAKE[] =
    "SELECT position, id, name, event_key AS `key`, workspace, project, actor, trace_id, at, payload FROM events_outbox"
    " ORDER BY position LIMIT ? FOR UPDATE SKIP LOCKED";
static const char NUMBER[] =
    "INSERT INTO events_log (sequence, id, name, event_key, workspace, project, actor, trace_id, at, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char REMOVE[] = "DELETE FROM events_outbox WHERE position = ?";
static const char ADVANCE[] = "UPDATE events_sequencer SET next = ? WHERE id = 1";

typedef struct next_row {
  int64_t next;
} next_row;
PURLIN_SCHEMA(next_row, "A number", PURLIN_REQUIRED(next, "The next one"));

typedef struct outbox_row {
  int64_t position;
  const char *id, *name, *key, *workspace, *project, *actor, *trace_id;
  purlin_time at;
  purlin_json payload;
} outbox_row;
PURLIN_SCHEMA(outbox_row, "A row of the outbox",
    PURLIN_REQUIRED(position, "position"),
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(key, "key"),
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(actor, "actor"),
    PURLIN_REQUIRED(trace_id, "trace"),
    PURLIN_REQUIRED(at, "at"),
    PURLIN_REQUIRED(payload, "payload"));
typedef struct outbox_rows {
  PURLIN_LIST_OF(outbox_row) items;
} outbox_rows;
typedef struct position_row {
  int64_t position;
} position_row;
PURLIN_SCHEMA(position_row, "A position", PURLIN_REQUIRED(position, "position"));

static purlin_status number_all(purlin_ctx *ctx, const outbox_rows *taken, int64_t next) {
  size_t count = taken->items.count;
  event_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  position_row *positions = purlin_alloc_array(ctx, count, sizeof *positions);
  if (!rows || !positions) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const outbox_row *from = &taken->items.items[i];
    rows[i] = (event_row){next + (int64_t)i, from->id,    from->name,     from->key, from->workspace,
                          from->project,     from->actor, from->trace_id, from->at,  from->payload};
    positions[i].position = from->position;
  }
  purlin_status status = purlin_db_bulk(ctx, event_row, rows, count, NUMBER);
  if (status == PURLIN_OK) status = purlin_db_bulk(ctx, position_row, positions, count, REMOVE);
  return status == PURLIN_OK ? purlin_db_run(ctx, ADVANCE, next + (int64_t)count) : status;
}

static purlin_status sequence(purlin_ctx *ctx, void *argument) {
  size_t *moved = argument;
  next_row row;
  outbox_rows taken = {0};
  *moved = 0;
  purlin_status status = purlin_db_row(ctx, next_row, &row, LOCK);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, outbox_row, &taken.items, TAKE, BATCH);
  if (status == PURLIN_OK && taken.items.count > 0) status = number_all(ctx, &taken, row.next);
  if (status == PURLIN_OK) *moved = taken.items.count;
  return status;
}

/* ---- The fiber ------------------------------------------------------------------------------------------------------------------------------- */

static event_sleeper sleeper;
static bool running;
static atomic_bool posted;

static void rung(void *argument) {
  (void)argument;
  atomic_store(&posted, false);
  event_ring(&sleeper);
}

void sequencer_ring(void) {
  static loop_post_item item = {.call = rung};
  if (!atomic_exchange(&posted, true)) loop_post(loop_at(0), &item);
}

static void run(purlin_ctx *ctx, void *argument) {
  (void)argument;
  events_assume(ctx, EVENTS_SYSTEM_ACTOR, "default", "default");
  db_use_reserve(ctx);
  while (!events_stopping()) {
    purlin_mark mark = purlin_arena_mark(ctx);
    size_t moved = 0;
    purlin_status status = purlin_transaction(ctx, sequence, &moved);
    if (status != PURLIN_OK) purlin_clear_failure(ctx);
    purlin_arena_reset(ctx, mark);
    if (moved > 0) {
      listeners_ring();
      streams_ring();
    }
    if (status != PURLIN_OK) event_sleep(&sleeper, AFTER_ERROR_MS);
    else if (moved < BATCH) event_sleep(&sleeper, POLL_MS);
  }
  running = false;
  events_fiber_ended();
}

purlin_status sequencer_start(void) {
  running = true;
  purlin_status status = context_start("purlin", "events.sequence", run, NULL);
  if (status != PURLIN_OK) running = false;
  return status;
}

void sequencer_stop(void) { event_ring(&sleeper); }
bool sequencer_running(void) { return running; }
