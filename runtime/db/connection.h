/* connection.h: one connection to MariaDB, used by one fiber at a time.
 *
 * The connector's calls are written as if they blocked. Where one would wait for the socket it calls our hook
 * (MARIADB_OPT_IO_WAIT), and the hook parks the fiber on a uv_poll: so there is no second stack and no pair of calls for
 * each call. Only connecting really blocks (names are resolved); it runs on a thread of the blocking pool.
 *
 * Cancellation and deadlines: KILL QUERY from the service's connection, then the answer is waited for, so that the
 * connection is clean again; one that does not answer within the grace is cut off. */
#ifndef PURLIN_DB_CONNECTION_H
#define PURLIN_DB_CONNECTION_H

#include "db/db.h"
#include "db/statement.h"
#include <mysql.h>

struct db_lane;

#define DB_GRACE_MS 5000 /* for an answer after KILL QUERY, for a rollback and for a commit */

typedef struct db_connection {
  MYSQL *mysql;
  struct db_lane *lane;
  struct db_connection *next, *previous; /* in the lane's idle list */
  struct db_connection *next_open;       /* in the pool's list of all */
  uv_poll_t poll;                        /* on a copy of the socket: the connector closes its own when it likes */
  int poll_descriptor;
  int descriptor;            /* the connector's */
  int polled;                /* the events that the poll handle watches now */
  fiber *waiting;            /* parked until the socket is ready */
  purlin_ctx *ctx;           /* whose statement runs; NULL while idle */
  purlin_status interrupted; /* PURLIN_CANCELLED or PURLIN_TIMEOUT: the running statement was killed */
  bool idle, broken;
  bool autocommit;            /* as the server has it */
  bool touched;               /* a statement reached the server since it was taken from the idle list */
  uint32_t statement_limit_s; /* max_statement_time as the server has it; 0: none */
  uint64_t idle_since_ms;
  db_statements statements;
  unsigned error; /* of the last call; 0: none */
  char error_text[512];
} db_connection;

/* What a thread of the blocking pool does: connects and sets the session up. `mysql` is NULL on failure. */
typedef struct db_connecting {
  const db_options *options;
  MYSQL *mysql;
  unsigned error;
  char error_text[512];
} db_connecting;
purlin_status db_connection_connect(void *connecting);
/* For the service: the same with blocking calls that give up after answer_timeout_ms, and without the session's settings. */
MYSQL *db_connection_open_plain(const db_options *options, bool with_database, unsigned *error, char *text,
                                size_t text_size);

/* Hangs a connected handle on the loop. False: closed, no memory or descriptors. */
db_connection *db_connection_attach(MYSQL *mysql, struct db_lane *lane, size_t statements);
/* Ends it: forgets its statements, closes, frees (in a later turn of the loop). */
void db_connection_close(db_connection *connection);
/* Watches for the other side hanging up. False: no descriptors. */
bool db_connection_watch(db_connection *connection);
/* Whether the other side has hung up while it was idle. */
bool db_connection_is_stale(const db_connection *connection);

/* Runs one statement of plain text without rows. False: `error` tells. */
bool db_connection_query(db_connection *connection, const char *text, size_t size);

/* After KILL QUERY: it may have come when the statement had ended, and then hits the next one; this makes that one harmless. */
void db_connection_absorb_kill(db_connection *connection);

/* Notes the connector's error on the connection; always false, for `return db_connection_failed(...)`. */
bool db_connection_failed(db_connection *connection, unsigned error, const char *text);
/* Whether the connection is of no use after this error. */
bool db_error_breaks_connection(unsigned error);

#endif
