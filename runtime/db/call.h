/* call.h: one statement on its way, from the values to the open result. */
#ifndef PURLIN_DB_CALL_H
#define PURLIN_DB_CALL_H

#include "db/plan.h"
#include "db/session.h"

typedef struct db_call {
  purlin_ctx *ctx;
  db_session *session;
  db_statement *statement;
  const char *sql;
  size_t size;
  uint64_t hash;
  sql_kind kind;
  const purlin_value *values; /* without the SQL */
  size_t count;
  void *argument; /* of db_call_execute's `execute` */
  uint64_t started_ns;
} db_call;

/* Checks, takes a connection, prepares and runs; runs again where that is safe. On PURLIN_OK the rows can be fetched and
 * db_call_end must follow; otherwise all is put away. May park. */
PURLIN_CHECKED purlin_status db_call_begin(db_call *call, purlin_ctx *ctx, const purlin_value *sql_and_values,
                                           size_t count);
/* The next row; DB_FAILED: db_call_fail gives the status. */
db_fetched db_call_fetch(db_call *call);
/* The statement failed while fetching: as db_call_end. */
PURLIN_CHECKED purlin_status db_call_fail(db_call *call);
/* Reads what is left of the rows, puts the connection back, counts. Returns `status`, or the failure if that was PURLIN_OK. */
PURLIN_CHECKED purlin_status db_call_end(db_call *call, purlin_status status);
/* The checks and the kind alone; for the bulk protocol. */
PURLIN_CHECKED purlin_status db_call_check(db_call *call, purlin_ctx *ctx, const char *sql, size_t size);
/* Takes a connection and prepares, running again where that is safe. */
PURLIN_CHECKED purlin_status db_call_execute(db_call *call, bool (*execute)(db_call *call));

#endif
