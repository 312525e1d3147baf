/* db.h: the inside of <purlin/database.h>: one pool of connections per loop, a session per context, transactions,
 * migrations, and the private server of --dev.
 *
 * db/connection.c  opened on a blocking thread; the connector's calls park the fiber where they would wait
 * db/pool.c        a loop's connections, waited for in order and with a bound
 * db/statement.c   preparing, binding, fetching; an LRU of prepared statements per connection
 * db/plan.c        from columns to the members of a struct, worked out once per statement and schema
 * db/session.c     a context's connection and transaction
 * db/call.c        one statement: checks, retries; purlin_db_run, _row, _list (cursor.c, bulk.c, json_rows.c: the others)
 * db/service.c     start and stop, the checker that knows whether the database is there, KILL QUERY
 * db/migrate.c     forward-only migrations of the runtime and of each plugin
 * db/dev.c         mariadbd as a child for --dev */
#ifndef PURLIN_DB_DB_H
#define PURLIN_DB_DB_H

#include <purlin/database.h>
#include <purlin/operation.h>
#include "core/buffer.h"
#include "loop/context.h"

typedef struct db_options {
  const char *socket; /* path; or host and port */
  const char *host;
  uint16_t port;
  const char *user, *password, *database;
  /* PEM file of those who may vouch for the server: then nothing is sent before TLS is on and the certificate is found to be good and
   * for `host`. NULL: as the connector does it. Beside it, perhaps, a certificate and a key of our own. */
  const char *tls_ca, *tls_certificate, *tls_key;
  size_t connections;          /* in all, divided among the loops; default 16 */
  uint32_t wait_ms;            /* for a free connection: 2 s, then PURLIN_UNAVAILABLE */
  uint32_t connect_timeout_ms; /* 5 s */
  uint32_t answer_timeout_ms;  /* for an answer, of the blocking connections of db_connection_open_plain; 0: 5 s */
  size_t statements;           /* prepared per connection: 256, and under max_prepared_stmt_count */
} db_options;

void db_options_default(db_options *options);

/* Connects once to check server, version (>= 10.6), character set and rights; `why` says what is wrong and what to do.
 * Creates the database if it is not there and may be. Blocks: at start, before the loops run. */
PURLIN_CHECKED purlin_status db_start(const db_options *options, buffer *why);
/* After loops_destroy: the loops have closed what hung on them. */
void db_stop(void);
/* Whether a connection works now; for /readyz; `why` says what not. Does not park (last known state, kept by a checker). */
bool db_ready(buffer *why);

/* A connection of its own beside the fiber's pool limit, for leases and health (rule 2): contexts marked so take from a
 * small reserve instead. Call right after context_begin. */
void db_use_reserve(purlin_ctx *ctx);

/* Runs an operation's body as PURLIN_CHANGES: the transaction begins at the first statement that writes (or locks: SELECT ...
 * FOR UPDATE), commits when the body returns PURLIN_OK; 1213 and 1205 roll back, reset the arena to a mark and run the body
 * again, up to 5 times with jitter. What belongs to the change (audit, outbox, idempotency) is written by the body too. Within
 * a running transaction the body just runs. */
PURLIN_CHECKED purlin_status db_transact(purlin_ctx *ctx, purlin_status (*body)(purlin_ctx *ctx, void *argument),
                                         void *argument);
bool db_in_transaction(const purlin_ctx *ctx);
/* In an operation that only reads, statements that write are a defect: PURLIN_INTERNAL. */
void db_set_read_only(purlin_ctx *ctx, bool read_only);
/* Within db_transact: calls `opening` before the first statement that writes; its failure is that statement's. For one run only: a
 * transaction that runs again is told again. */
void db_at_first_write(purlin_ctx *ctx, purlin_status (*opening)(purlin_ctx *ctx, void *argument), void *argument);
/* Within db_transact: all that `read` reads is locked until the transaction ends (SELECT ... FOR UPDATE), which it begins. May park. */
PURLIN_CHECKED purlin_status db_lock_and_read(purlin_ctx *ctx, purlin_status (*read)(purlin_ctx *ctx, void *argument),
                                              void *argument);
/* Called once after a transaction that changed something has committed, on the context's loop (wake the queue, the stream).
 * Registered for the running transaction only; dropped on rollback. */
PURLIN_CHECKED purlin_status db_after_commit(purlin_ctx *ctx, void (*call)(void *argument), void *argument);

/* Lets the running transaction end with this statement instead of COMMIT, which it has in itself: "BEGIN NOT ATOMIC INSERT ...; COMMIT;
 * END". That is one round trip for both, and when the INSERT fails nothing is committed. False: no transaction has begun, or it has such
 * an ending already; then the statement is to be run as any other. The SQL (the first value, as in purlin_db_run_) is a constant; the
 * values are copied, since loops within the transaction reset the arena. Does not park. */
bool db_end_with(purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count);

/* Puts a fence around whatever the context writes: `check` runs in each of its transactions, last before the commit, and its
 * failure rolls back. A statement that writes by itself becomes a transaction for that. NULL takes the fence away. */
void db_set_fence(purlin_ctx *ctx, purlin_status (*check)(purlin_ctx *ctx, void *argument), void *argument);

/* Free-form rows for Lua: each row a JSON object; values bound from `values`. */
PURLIN_CHECKED purlin_status db_query_json(purlin_ctx *ctx, const char *sql, const purlin_value *values, size_t count,
                                           size_t max_rows, purlin_json *rows);

/* Applies a component's migrations that are not yet recorded, in order of name, under a lease row, one statement at a time, each
 * recorded. What a repetition would do twice is not: a statement that changes rows commits with its record, and a definition
 * that an interrupted start has already made is recognised. A changed migration, one that failed half-way and one that is
 * recorded but not ours are explained in `why`; with PURLIN_OK `why` is a warning: the database was used by a newer release, which is fine
 * unless one of its migrations is marked as breaking (PURLIN_CONFLICT).
 * Parks: it runs in a fiber at start, in no transaction. */
PURLIN_CHECKED purlin_status db_migrate(purlin_ctx *ctx, const char *component, const purlin_migration *const *migrations,
                                        size_t count, buffer *why);

/* --dev: a private mariadbd with its data in DIRECTORY/mariadb and a Unix socket there; initialises it at first; waits until it
 * answers. Ended by db_dev_stop (SIGTERM, waits) and, should the daemon die, by its parent-death signal. Forks: call it on the
 * main thread before any other exists. One left behind by a daemon that was killed is ended first. Sets where and who in
 * `options`; the texts live until the next call. */
PURLIN_CHECKED purlin_status db_dev_start(const char *directory, db_options *options, buffer *why);
void db_dev_stop(void);

#endif
