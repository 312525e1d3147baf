/* One fiber on loop 0 that keeps what the listeners of this node stand on: the leases of their cursors, dead letters that are to be tried
 * again, and the age of the log. */
#include "core/node.h"
#include "db/db.h"
#include "events/internal.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include <stdatomic.h>
#include <string.h>

enum { ROUND_MS = EVENTS_LEASE_S * 1000 / 3, KEEP_HOURS = 7 * 24, FORGET_BATCH = 500, FORGET_EVERY_MS = 3600000 };

static const char RENEW[] = "UPDATE events_cursors SET lease_until = NOW(6) + INTERVAL ? SECOND WHERE lease_owner = ?";
static const char TO_REDRIVE[] = "SELECT DISTINCT listener AS text FROM events_dead WHERE redrive LIMIT 1000";
static const char LAG[] = "SELECT IFNULL(TIMESTAMPDIFF(MICROSECOND, MIN(at), NOW(6)), 0) AS number FROM events_outbox";

/* Cursors that nobody has held for a month are of listeners that are gone: they hold nothing back. */
static const char FORGET_CURSORS[] = "DELETE FROM events_cursors WHERE lease_until < NOW(6) - INTERVAL 30 DAY";
static const char PASSED[] =
    "SELECT LEAST(IFNULL((SELECT MIN(position) FROM events_cursors), 9000000000000000000),"
    " IFNULL((SELECT MAX(sequence) FROM events_log WHERE at < NOW(6) - INTERVAL ? HOUR), 0)) AS number";
static const char OLD[] = "SELECT sequence AS number FROM events_log WHERE sequence > ? AND sequence <= ?"
                          " AND NOT EXISTS (SELECT 1 FROM events_dead WHERE events_dead.sequence = events_log.sequence)"
                          " ORDER BY sequence LIMIT ?";
static const char FORGET[] = "DELETE FROM events_log WHERE sequence = ?";

typedef struct number_row {
  int64_t number;
} number_row;
PURLIN_SCHEMA(number_row, "A number", PURLIN_REQUIRED(number, "It"));
typedef PURLIN_LIST_OF(number_row) number_rows;
typedef struct text_row {
  const char *text;
} text_row;
PURLIN_SCHEMA(text_row, "A text", PURLIN_REQUIRED(text, "It"));
typedef PURLIN_LIST_OF(text_row) text_rows;

static char node[NODE_OWNER_SIZE];
static event_sleeper sleeper;
static bool running;
static atomic_bool posted;
static _Atomic int64_t lag_us, last_position;

const char *events_node(void) { return node; }
bool keeper_running(void) { return running; }
void keeper_stop(void) { event_ring(&sleeper); }
void events_note_position(int64_t sequence) { atomic_store_explicit(&last_position, sequence, memory_order_relaxed); }

static void rung(void *argument) {
  (void)argument;
  atomic_store(&posted, false);
  event_ring(&sleeper);
}

void keeper_ring(void *unused) {
  static loop_post_item item = {.call = rung};
  (void)unused;
  if (!atomic_exchange(&posted, true)) loop_post(loop_at(0), &item);
}

/* ---- Rounds ------------------------------------------------------------------------------------------------------------------------------------ */

static purlin_status find_redriven(purlin_ctx *ctx) {
  text_rows rows;
  purlin_status status = purlin_db_list(ctx, text_row, &rows, TO_REDRIVE);
  for (size_t i = 0; status == PURLIN_OK && i < rows.count; i++) listeners_redrive(rows.items[i].text);
  return status;
}

static purlin_status look_at_lag(purlin_ctx *ctx) {
  number_row row = {0};
  purlin_status status = purlin_db_row(ctx, number_row, &row, LAG);
  if (status == PURLIN_OK) atomic_store_explicit(&lag_us, row.number, memory_order_relaxed);
  return status;
}

purlin_status events_forget(purlin_ctx *ctx, int64_t hours) {
  number_row last = {0};
  purlin_status status = purlin_db_run(ctx, FORGET_CURSORS);
  if (status == PURLIN_OK) status = purlin_db_row(ctx, number_row, &last, PASSED, hours);
  int64_t after = 0;
  while (status == PURLIN_OK && !(running && events_stopping())) {
    number_rows rows;
    purlin_mark mark = purlin_arena_mark(ctx);
    status = purlin_db_list(ctx, number_row, &rows, OLD, after, last.number, FORGET_BATCH);
    size_t count = status == PURLIN_OK ? rows.count : 0;
    if (count > 0) {
      after = rows.items[count - 1].number;
      status = purlin_db_bulk(ctx, number_row, rows.items, count, FORGET);
    }
    purlin_arena_reset(ctx, mark);
    if (count < FORGET_BATCH) break;
  }
  return status;
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static void keep(purlin_ctx *ctx, void *argument) {
  (void)argument;
  uint64_t renewed_ms = now_ms(), forget_ms = now_ms() + FORGET_EVERY_MS / 60;
  events_assume(ctx, EVENTS_SYSTEM_ACTOR, "default", "default");
  db_use_reserve(ctx);
  while (!events_stopping()) {
    purlin_mark mark = purlin_arena_mark(ctx);
    uint64_t began_ms = now_ms();
    purlin_status status = purlin_db_run(ctx, RENEW, EVENTS_LEASE_S, (const char *)node);
    if (status == PURLIN_OK) renewed_ms = began_ms;
    else if (now_ms() - renewed_ms > EVENTS_LEASE_S * 1000u) listeners_let_go();
    if (status == PURLIN_OK) status = find_redriven(ctx);
    if (status == PURLIN_OK) status = look_at_lag(ctx);
    if (status == PURLIN_OK && now_ms() > forget_ms) {
      status = events_forget(ctx, KEEP_HOURS);
      forget_ms = now_ms() + FORGET_EVERY_MS;
    }
    if (status != PURLIN_OK) log_write(PURLIN_WARNING, "events", "events cannot be kept in order: %s", purlin_failure(ctx));
    purlin_clear_failure(ctx);
    purlin_arena_reset(ctx, mark);
    event_sleep(&sleeper, status == PURLIN_OK ? ROUND_MS : 1000);
  }
  running = false;
  events_fiber_ended();
}

/* ---- Start ---------------------------------------------------------------------------------------------------------------------------------------- */

static const purlin_metric lag_metric = {.declared = PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC),
                                         .name = "events_outbox_lag_seconds",
                                         .help = "Age of the oldest event that has no number yet, as of some seconds ago",
                                         .type = PURLIN_METRIC_GAUGE};
static const purlin_metric position_metric = {.declared = PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC),
                                              .name = "events_delivered_position",
                                              .help = "The number of the event that a listener of this node took last",
                                              .type = PURLIN_METRIC_GAUGE};

static double read_lag(void *argument) {
  (void)argument;
  return (double)atomic_load_explicit(&lag_us, memory_order_relaxed) / 1e6;
}

static double read_position(void *argument) {
  (void)argument;
  return (double)atomic_load_explicit(&last_position, memory_order_relaxed);
}

purlin_status keeper_start(void) {
  static bool registered;
  purlin_status status = registered ? PURLIN_OK : metrics_register_read(&lag_metric, read_lag, NULL);
  if (status == PURLIN_OK && !registered) status = metrics_register_read(&position_metric, read_position, NULL);
  if (status != PURLIN_OK) return status;
  registered = true;
  node_new_owner(node);
  running = true;
  status = context_start("purlin", "events.keep", keep, NULL);
  if (status != PURLIN_OK) running = false;
  return status;
}
