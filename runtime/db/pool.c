/* pool.c: taking, giving, waiting. */
#include "db/pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "db/instruments.h"
#include "db/service.h"
#include "db/session.h"
#include "observe/log.h"

#define RESERVE_CONNECTIONS 2
#define BULK_CONNECTIONS 2 /* measured with 1000 rows each on two cores: four at once write a third more than sixteen do */
#define KINDS 1024         /* a power of two */
#define ER_CON_COUNT_ERROR 1040
#define ER_TOO_MANY_USER_CONNECTIONS 1203

struct db_pool {
  db_lane lanes[LANES];
  db_connection *open;         /* all that are attached */
  struct db_session *sessions; /* free ones */
  struct db_kind kinds[KINDS];
  struct db_pool *next; /* in the list of all pools */
};

/* A fiber that waits for a connection; on its stack. */
struct db_waiter {
  db_waiter *next, *previous;
  db_lane *lane;
  fiber *fiber;
  loop_timer timer;
  db_connection *given;
  bool queued, timed_out;
};

static struct {
  pthread_mutex_t lock;
  db_pool *first;
} pools = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- One per loop ---- */

static const char pool_key;

static db_pool *make_pool(void) {
  db_pool *pool = calloc(1, sizeof *pool);
  if (!pool) return NULL;
  size_t loops = loop_count() > 0 ? loop_count() : 1, share = db_service_options()->connections / loops;
  pool->lanes[LANE_GENERAL] = (db_lane){.pool = pool, .limit = share > 0 ? share : 1};
  pool->lanes[LANE_RESERVE] = (db_lane){.pool = pool, .limit = RESERVE_CONNECTIONS};
  pool->lanes[LANE_BULK] = (db_lane){.pool = pool, .limit = BULK_CONNECTIONS};
  pthread_mutex_lock(&pools.lock);
  pool->next = pools.first;
  pools.first = pool;
  pthread_mutex_unlock(&pools.lock);
  return pool;
}

db_pool *db_pool_current(void) {
  db_pool **slot = loop_local(loop_current(), &pool_key, sizeof *slot);
  if (slot && !*slot) *slot = make_pool();
  return slot ? *slot : NULL;
}

db_connection *db_pool_connection_of(int descriptor) {
  db_pool *pool = db_pool_current();
  db_connection *c = pool ? pool->open : NULL;
  while (c && c->descriptor != descriptor) c = c->next_open;
  return c;
}

struct db_session *db_pool_session(void) {
  db_pool *pool = db_pool_current();
  if (!pool) return NULL;
  struct db_session *session = pool->sessions;
  if (!session) return calloc(1, sizeof *session);
  pool->sessions = session->next_free;
  memset(session, 0, sizeof *session);
  return session;
}

void db_pool_recycle_session(struct db_session *session) {
  db_pool *pool = db_pool_current();
  session->next_free = pool->sessions;
  pool->sessions = session;
}

struct db_kind *db_pool_kind(uint64_t hash) {
  return &db_pool_current()->kinds[hash & (KINDS - 1)];
}

/* ---- Waiters ---- */

static void enqueue(db_lane *lane, db_waiter *waiter) {
  waiter->previous = lane->last;
  if (lane->last) lane->last->next = waiter;
  else lane->first = waiter;
  lane->last = waiter;
  waiter->queued = true;
}

static void dequeue(db_waiter *waiter) {
  db_lane *lane = waiter->lane;
  if (waiter->previous) waiter->previous->next = waiter->next;
  else lane->first = waiter->next;
  if (waiter->next) waiter->next->previous = waiter->previous;
  else lane->last = waiter->previous;
  waiter->next = waiter->previous = NULL;
  waiter->queued = false;
}

static void wake(db_waiter *waiter) {
  dequeue(waiter);
  loop_timer_stop(&waiter->timer);
  fiber_wake(waiter->fiber);
}

/* A place is free, or the database is away: the first to wait tries again, or all do. */
static void wake_to_try(db_lane *lane) {
  if (lane->first) wake(lane->first);
  while (lane->first && !db_service_up()) wake(lane->first);
}

static void on_waited_enough(loop_timer *timer) {
  db_waiter *waiter = (db_waiter *)((char *)timer - offsetof(db_waiter, timer));
  waiter->timed_out = true;
  wake(waiter);
}

static bool undo_waiting(purlin_ctx *ctx, void *argument) {
  db_waiter *waiter = argument;
  (void)ctx;
  dequeue(waiter);
  loop_timer_stop(&waiter->timer);
  return true;
}

static purlin_status away(purlin_ctx *ctx, const char *text) {
  purlin_retry_after(ctx, 1);
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "%s", text);
}

/* PURLIN_OK with *given NULL means: try again. */
static purlin_status wait_for_turn(purlin_ctx *ctx, db_lane *lane, uint64_t until_ms, db_connection **given) {
  db_waiter waiter = {.lane = lane, .fiber = fiber_current()};
  uint64_t now = loop_now_ms(loop_current());
  if (now >= until_ms) return away(ctx, "every database connection is busy");
  enqueue(lane, &waiter);
  loop_timer_start(loop_current(), &waiter.timer, until_ms - now, on_waited_enough);
  db_instruments_wait();
  purlin_status status = context_park(ctx, undo_waiting, &waiter);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "%s", "while waiting for a database connection");
  if (waiter.timed_out) return away(ctx, "every database connection is busy");
  *given = waiter.given;
  return PURLIN_OK;
}

/* ---- Opening and closing ---- */

static void forget_open(db_connection *c) {
  db_connection **at = &c->lane->pool->open;
  while (*at != c) at = &(*at)->next_open;
  *at = c->next_open;
}

static void drop(db_connection *c) {
  db_lane *lane = c->lane;
  c->ctx = NULL;
  forget_open(c);
  db_instruments_connections(0, -1);
  db_connection_close(c);
  lane->open--;
  wake_to_try(lane);
}

static bool is_full(unsigned error) { return error == ER_CON_COUNT_ERROR || error == ER_TOO_MANY_USER_CONNECTIONS; }

/* Attempts that fail come ever more seldom, up to one a second, and not in step with those of other loops. */
static void back_off(db_lane *lane) {
  uint32_t noise;
  text_random(&noise, sizeof noise);
  lane->backoff_ms = lane->backoff_ms == 0 ? 50 : lane->backoff_ms * 2;
  if (lane->backoff_ms > 1000) lane->backoff_ms = 1000;
  lane->retry_at_ms = loop_now_ms(loop_current()) + lane->backoff_ms / 2 + noise % (lane->backoff_ms / 2);
}

static void note_failure(db_lane *lane, const db_connecting *connecting) {
  back_off(lane);
  if (is_full(connecting->error))
    log_write(PURLIN_WARNING, "db", "the database takes no more connections: %s", connecting->error_text);
  else if (connecting->error != 0) db_service_lost(connecting->error_text);
  if (lane->open == 0 || !db_service_up()) wake_to_try(lane);
}

/* Counts as open while it is being opened. NULL: `full` tells whether others may yet become free. */
static db_connection *open_one(db_lane *lane, bool *full) {
  db_connecting connecting = {.options = db_service_options()};
  lane->open++;
  purlin_status status = loop_offload(PURLIN_POOL_BLOCKING, db_connection_connect, &connecting);
  db_connection *c = NULL;
  if (status == PURLIN_OK) c = db_connection_attach(connecting.mysql, lane, db_service_options()->statements);
  if (!c) {
    lane->open--;
    note_failure(lane, &connecting);
    *full = is_full(connecting.error) && lane->open > 0;
    return NULL;
  }
  lane->backoff_ms = 0;
  c->idle_since_ms = loop_now_ms(loop_current());
  c->next_open = lane->pool->open;
  lane->pool->open = c;
  db_instruments_connections(0, 1);
  return c;
}

static void unlink_idle(db_connection *c) {
  if (c->previous) c->previous->next = c->next;
  else c->lane->newest_idle = c->next;
  if (c->next) c->next->previous = c->previous;
  c->next = c->previous = NULL;
  c->idle = false;
  db_instruments_connections(-1, 1);
}

void db_pool_drop_idle(db_connection *connection) {
  unlink_idle(connection);
  db_service_suspect();
  drop(connection);
}

/* ---- Taking ---- */

static bool in_mode(const db_connection *c, db_mode mode) {
  return c->autocommit == mode.autocommit && c->statement_limit_s >= mode.least_s && c->statement_limit_s <= mode.most_s;
}

static db_connection *take_idle(db_lane *lane, db_mode mode) {
  db_connection *c = lane->newest_idle;
  while (c && !in_mode(c, mode)) c = c->next;
  if (!c) c = lane->newest_idle;
  if (c) unlink_idle(c);
  return c;
}

static bool set_mode(db_connection *c, db_mode mode) {
  if (in_mode(c, mode)) return true;
  char text[96];
  int size =
      snprintf(text, sizeof text, "SET autocommit = %d, max_statement_time = %u", mode.autocommit ? 1 : 0, mode.limit_s);
  if (!db_connection_query(c, text, (size_t)size)) return false;
  c->autocommit = mode.autocommit;
  c->statement_limit_s = mode.limit_s;
  return true;
}

/* NULL and PURLIN_OK: try again. */
static purlin_status take_once(purlin_ctx *ctx, db_lane *lane, db_mode mode, uint64_t until_ms, db_connection **taken) {
  *taken = take_idle(lane, mode);
  if (*taken) return PURLIN_OK;
  if (!db_service_up()) return away(ctx, "the database is away");
  bool resting = loop_now_ms(loop_current()) < lane->retry_at_ms;
  if (resting && lane->open == 0) return away(ctx, "cannot connect to the database");
  if (lane->open < lane->limit && !resting) {
    bool full = false;
    *taken = open_one(lane, &full);
    if (*taken) return PURLIN_OK;
    if (!full) return away(ctx, "cannot connect to the database");
  }
  return wait_for_turn(ctx, lane, until_ms, taken);
}

/* False: it was of no use and is closed; PURLIN_OK in *status: take another one. */
static bool make_ready(purlin_ctx *ctx, db_connection *c, db_mode mode, purlin_status *status) {
  c->ctx = ctx;
  c->interrupted = PURLIN_OK;
  c->touched = false;
  *status = PURLIN_OK;
  bool rested = loop_now_ms(loop_current()) - c->idle_since_ms > 100;
  if (rested && db_connection_is_stale(c)) {
    drop(c);
    return false;
  }
  if (set_mode(c, mode)) return true;
  *status = c->interrupted;
  db_session_unshield(ctx, c);
  if (*status != PURLIN_OK) *status = purlin_fail(ctx, *status, "%s", "while setting up a database connection");
  else if (!c->broken) *status = away(ctx, "cannot set up a database connection");
  c->broken = true;
  drop(c);
  return false;
}

purlin_status db_pool_take(purlin_ctx *ctx, db_lane_name name, db_mode mode, db_connection **connection) {
  db_pool *pool = db_pool_current();
  if (!pool) return away(ctx, "no memory for database connections");
  db_lane *lane = &pool->lanes[name];
  uint64_t until_ms = loop_now_ms(loop_current()) + db_service_options()->wait_ms;
  for (size_t failed = 0; failed <= lane->limit + 1;) {
    db_connection *c = NULL;
    purlin_status status = take_once(ctx, lane, mode, until_ms, &c);
    if (status != PURLIN_OK) return status;
    if (!c) continue;
    if (make_ready(ctx, c, mode, &status)) {
      *connection = c;
      return PURLIN_OK;
    }
    if (status != PURLIN_OK) return status;
    failed++;
  }
  return away(ctx, "connections to the database do not last");
}

void db_pool_give(db_connection *connection) {
  db_lane *lane = connection->lane;
  if (connection->broken) {
    drop(connection);
    return;
  }
  connection->ctx = NULL;
  connection->idle_since_ms = loop_now_ms(loop_current());
  if (lane->first) {
    lane->first->given = connection;
    wake(lane->first);
    return;
  }
  connection->next = lane->newest_idle;
  if (connection->next) connection->next->previous = connection;
  lane->newest_idle = connection;
  connection->idle = true;
  db_instruments_connections(1, -1);
  if (!db_connection_watch(connection)) db_pool_drop_idle(connection);
}

/* ---- The end ---- */

void db_pools_close(void) {
  pthread_mutex_lock(&pools.lock);
  for (db_pool *pool = pools.first, *next; pool; pool = next) {
    next = pool->next;
    for (db_connection *c = pool->open, *after; c; c = after) {
      after = c->next_open;
      db_connection_close(c);
    }
    for (struct db_session *s = pool->sessions, *after; s; s = after) {
      after = s->next_free;
      free(s);
    }
    free(pool);
  }
  pools.first = NULL;
  pthread_mutex_unlock(&pools.lock);
}
