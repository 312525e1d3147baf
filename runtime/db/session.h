/* session.h: a context's use of the database: the connection that it holds, and its transaction.
 *
 * Outside a transaction a connection is held for one statement only. Within db_transact statements that read still do so on
 * any connection until the first one that writes; from then on the session holds one connection, whose autocommit is off, so
 * that beginning costs no round trip. */
#ifndef PURLIN_DB_SESSION_H
#define PURLIN_DB_SESSION_H

#include "db/pool.h"
#include "db/sql.h"

#define DB_ATTEMPTS 6 /* a transaction or a statement runs at most so often when the server asks for it again */

typedef struct after_commit {
  struct after_commit *next;
  void (*call)(void *argument);
  void *argument;
} after_commit;

typedef struct db_session {
  struct db_session *next_free;
  db_connection *connection; /* held; NULL between statements outside a transaction */
  purlin_rows *rows;         /* an open cursor: it holds the connection too */
  db_lane_name lane;
  bool bulk;          /* many rows are about to be written: a transaction that begins with them does so in LANE_BULK */
  bool transactional; /* within db_transact */
  bool begun;         /* a statement that writes has run in it: `connection` has an open transaction */
  bool locking;       /* what is read is locked, too */
  purlin_status (*opening)(purlin_ctx *ctx, void *argument); /* before the first statement that writes; NULL: none */
  void *opening_argument;
  bool doomed; /* the server chose it as the victim of a deadlock: it is to run again */
  bool lost;   /* its connection broke or a statement was interrupted: it can only fail */
  uint64_t affected;
  int64_t inserted;
  purlin_value *ending; /* owned: the statement that commits instead of COMMIT, and its values; NULL: COMMIT */
  size_t ending_count;
  after_commit *first_hook, *last_hook;
  purlin_status (*fence)(purlin_ctx *ctx, void *argument); /* NULL: none */
  void *fence_argument;
} db_session;

/* The context's session, made now if need be. NULL: no memory; the failure is recorded. */
db_session *db_session_of(purlin_ctx *ctx);
/* Makes sure that session->connection is there for a statement of this kind. */
PURLIN_CHECKED purlin_status db_session_take(purlin_ctx *ctx, db_session *session, sql_kind kind);
/* After a statement: gives the connection back unless a transaction or rows need it. */
void db_session_leave(purlin_ctx *ctx, db_session *session);
/* Turns connection->error into a status, recorded where the client should be told; settles an interrupted statement. Then
 * as db_session_leave. */
PURLIN_CHECKED purlin_status db_session_fail(purlin_ctx *ctx, db_session *session, const char *sql, size_t size);
/* Ends the time of grace that an interrupted statement was given. */
void db_session_unshield(purlin_ctx *ctx, db_connection *connection);
/* The hook for the end of every context. */
void db_session_end(purlin_ctx *ctx);
/* Sets the fiber aside for a short random time that grows with the attempt. */
void db_session_rest(unsigned attempt);

/* Errors of the server and of the connector. */
purlin_status db_error_status(unsigned error);
bool db_error_is_deadlock(unsigned error);

#endif
