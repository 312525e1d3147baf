/* pool.h: the connections of one event loop.
 *
 * Three lanes: the general one, a small reserve for leases and health, and a narrow one for transactions that begin with many rows: those
 * write to the same ends of the same indexes, and more of them at once only wait for each other's latches. Each opens connections on demand
 * up to its limit, prefers the one used last (its caches are warm) among those in the wanted mode, and lets fibers wait in order, with a
 * bound. While the service knows the database to be away, everything fails at once instead of waiting or connecting. */
#ifndef PURLIN_DB_POOL_H
#define PURLIN_DB_POOL_H

#include "db/connection.h"

typedef struct db_waiter db_waiter;
typedef struct db_pool db_pool;

typedef struct db_lane {
  db_pool *pool;
  db_connection *newest_idle; /* by last use */
  size_t open, limit;         /* open counts those that are being opened */
  uint64_t retry_at_ms;       /* after a failed attempt none is made before this */
  uint32_t backoff_ms;
  db_waiter *first, *last;
} db_lane;

typedef enum db_lane_name { LANE_GENERAL, LANE_RESERVE, LANE_BULK, LANES } db_lane_name;

/* How the session on the server is set; changing it is a round trip. */
typedef struct db_mode {
  bool autocommit;
  uint32_t limit_s; /* max_statement_time, and what is near enough to leave it so */
  uint32_t least_s, most_s;
} db_mode;

db_pool *db_pool_current(void); /* the calling loop's, made at first use; NULL: no memory */
void db_pools_close(void);      /* all of them, after the loops have ended */

/* A connection in this mode. The failure is recorded otherwise. May park. */
PURLIN_CHECKED purlin_status db_pool_take(purlin_ctx *ctx, db_lane_name lane, db_mode mode, db_connection **connection);
/* Gives it back, to the first that waits; a broken one is closed. */
void db_pool_give(db_connection *connection);

void db_pool_drop_idle(db_connection *connection);
db_connection *db_pool_connection_of(int descriptor);

/* Recycled memory for sessions, and what each statement's text is, remembered by its hash. */
struct db_session *db_pool_session(void);
void db_pool_recycle_session(struct db_session *session);
struct db_kind {
  uint64_t hash;
  uint32_t size;
  uint8_t kind, known;
};
struct db_kind *db_pool_kind(uint64_t hash);

#endif
