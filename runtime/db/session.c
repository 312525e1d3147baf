/* session.c: taking and leaving connections, transactions, and what errors mean. */
#include "db/session.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/text.h"
#include "db/cursor.h"
#include "db/instruments.h"

#define COMMIT_GRACE_MS 15000

/* ---- What errors mean ---- */

static const struct {
  unsigned error;
  purlin_status status;
} meanings[] = {
    {ER_DUP_ENTRY, PURLIN_CONFLICT},
    {ER_DUP_KEY, PURLIN_CONFLICT},
    {ER_DUP_ENTRY_WITH_KEY_NAME, PURLIN_CONFLICT},
    {ER_ROW_IS_REFERENCED_2, PURLIN_CONFLICT},  /* others refer to the row */
    {ER_NO_REFERENCED_ROW_2, PURLIN_NOT_FOUND}, /* it refers to a row that is not there */
    {ER_LOCK_DEADLOCK, PURLIN_UNAVAILABLE},
    {ER_LOCK_WAIT_TIMEOUT, PURLIN_UNAVAILABLE},
    {ER_CHECKREAD, PURLIN_UNAVAILABLE},
    {ER_UNKNOWN_COM_ERROR, PURLIN_UNAVAILABLE}, /* a Galera node that is not in the cluster now */
    {ER_STATEMENT_TIMEOUT, PURLIN_TIMEOUT},
    {ER_REGEXP_ERROR, PURLIN_INVALID},          /* a pattern is a client's */
    {ER_QUERY_INTERRUPTED, PURLIN_UNAVAILABLE}, /* not by us: an administrator's KILL */
    {ER_RECORD_FILE_FULL, PURLIN_NO_SPACE},
    {ER_DISK_FULL, PURLIN_NO_SPACE},
    {ER_TOO_BIG_ROWSIZE, PURLIN_TOO_LARGE},
    {ER_NET_PACKET_TOO_LARGE, PURLIN_TOO_LARGE},
    {CR_NET_PACKET_TOO_LARGE, PURLIN_TOO_LARGE},
    {ER_SERVER_SHUTDOWN, PURLIN_UNAVAILABLE},
    {ER_CON_COUNT_ERROR, PURLIN_UNAVAILABLE},
    {ER_TOO_MANY_USER_CONNECTIONS, PURLIN_UNAVAILABLE},
    {ER_USER_LIMIT_REACHED, PURLIN_UNAVAILABLE},
    {ER_OPTION_PREVENTS_STATEMENT, PURLIN_UNAVAILABLE}, /* --read-only: a replica, or an upgrade under way */
    {ER_MAX_PREPARED_STMT_COUNT_REACHED, PURLIN_UNAVAILABLE},
    {2057, PURLIN_UNAVAILABLE}, /* the table changed while the statement ran */
};

purlin_status db_error_status(unsigned error) {
  for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
    if (meanings[i].error == error) return meanings[i].status;
  if (error == CR_OUT_OF_MEMORY || error == CR_UNKNOWN_ERROR) return PURLIN_INTERNAL;
  return db_error_breaks_connection(error) ? PURLIN_UNAVAILABLE : PURLIN_INTERNAL;
}

/* Also 1020, "record has changed since last read", with innodb_snapshot_isolation. */
bool db_error_is_deadlock(unsigned error) {
  return error == ER_LOCK_DEADLOCK || error == ER_LOCK_WAIT_TIMEOUT || error == ER_CHECKREAD;
}

/* ---- The session ---- */

db_session *db_session_of(purlin_ctx *ctx) {
  if (ctx->db) return ctx->db;
  ctx->db = db_pool_session();
  if (!ctx->db) (void)purlin_fail(ctx, PURLIN_UNAVAILABLE, "no memory for a database session");
  return ctx->db;
}

void db_use_reserve(purlin_ctx *ctx) {
  db_session *session = db_session_of(ctx);
  if (session) session->lane = LANE_RESERVE;
}

bool db_in_transaction(const purlin_ctx *ctx) { return ctx->db && ctx->db->transactional; }

void db_at_first_write(purlin_ctx *ctx, purlin_status (*opening)(purlin_ctx *ctx, void *argument), void *argument) {
  db_session *session = db_session_of(ctx);
  if (!session) return;
  session->opening = opening;
  session->opening_argument = argument;
}

purlin_status db_lock_and_read(purlin_ctx *ctx, purlin_status (*read)(purlin_ctx *ctx, void *argument), void *argument) {
  db_session *session = db_session_of(ctx);
  if (!session) return PURLIN_UNAVAILABLE;
  session->opening = NULL; /* what reads is not to be announced to itself */
  session->locking = true;
  purlin_status status = read(ctx, argument);
  session->locking = false;
  return status;
}

void db_set_read_only(purlin_ctx *ctx, bool read_only) { ctx->reads_only = read_only; }

void db_set_fence(purlin_ctx *ctx, purlin_status (*check)(purlin_ctx *ctx, void *argument), void *argument) {
  db_session *session = db_session_of(ctx);
  if (!session) return;
  session->fence = check;
  session->fence_argument = argument;
}

/* The server's own limit is a net below ours (KILL QUERY), for the case that we die: it may be up to four times as long, so
 * that it is seldom set anew. */
static db_mode mode_for(purlin_ctx *ctx, bool autocommit) {
  db_mode mode = {.autocommit = autocommit};
  int64_t left_ms = purlin_time_left_ms(ctx);
  if (left_ms > INT64_C(3600000)) return mode;
  mode.least_s = (uint32_t)(left_ms / 1000) + 2;
  mode.limit_s = 8;
  while (mode.limit_s < mode.least_s) mode.limit_s *= 2;
  mode.most_s = mode.limit_s * 4;
  return mode;
}

purlin_status db_session_take(purlin_ctx *ctx, db_session *session, sql_kind kind) {
  if (session->connection) return PURLIN_OK;
  bool begins = session->transactional && kind == SQL_WRITES;
  db_lane_name lane = begins && session->bulk && session->lane == LANE_GENERAL ? LANE_BULK : session->lane;
  purlin_status status = db_pool_take(ctx, lane, mode_for(ctx, !begins), &session->connection);
  if (status != PURLIN_OK || !begins) return status;
  session->begun = true;
  ctx->transaction_open = true;
  return PURLIN_OK;
}

static void give_back(purlin_ctx *ctx, db_session *session) {
  db_connection *c = session->connection;
  if (!c) return;
  session->connection = NULL;
  db_session_unshield(ctx, c);
  db_pool_give(c);
}

void db_session_leave(purlin_ctx *ctx, db_session *session) {
  if (!session->begun && !session->rows) give_back(ctx, session);
}

void db_session_unshield(purlin_ctx *ctx, db_connection *connection) {
  if (connection->interrupted == PURLIN_OK) return;
  connection->interrupted = PURLIN_OK;
  context_unshield(ctx);
}

/* An interrupted statement has rolled itself back; a transaction around it is given up. */
static void settle(purlin_ctx *ctx, db_session *session) {
  db_connection_absorb_kill(session->connection);
  db_session_unshield(ctx, session->connection);
  if (session->begun) session->lost = true;
}

static purlin_status fail_interrupted(purlin_ctx *ctx, db_session *session, purlin_status status) {
  settle(ctx, session);
  db_session_leave(ctx, session);
  return purlin_fail(ctx, status, "%s", status == PURLIN_TIMEOUT ? "a database statement took too long" : "cancelled");
}

purlin_status db_session_fail(purlin_ctx *ctx, db_session *session, const char *sql, size_t size) {
  db_connection *c = session->connection;
  if (c->interrupted != PURLIN_OK) return fail_interrupted(ctx, session, c->interrupted);
  purlin_status status = db_error_status(c->error);
  if (session->begun && db_error_is_deadlock(c->error)) session->doomed = true;
  if (session->begun && c->broken) session->lost = true;
  switch (status) {
  case PURLIN_CONFLICT:
  case PURLIN_NOT_FOUND: break; /* the caller knows what to say */
  case PURLIN_UNAVAILABLE:
    purlin_retry_after(ctx, 1);
    (void)purlin_fail(ctx, status, "the database: %s (%u)", c->error_text, c->error);
    break;
  case PURLIN_INVALID: (void)purlin_fail(ctx, status, "%s", c->error_text); break;
  default:
    (void)purlin_fail(ctx, status, "the database: %s (%u); statement: %.*s", c->error_text, c->error,
                      (int)(size < 1000 ? size : 1000), sql);
    break;
  }
  db_session_leave(ctx, session);
  return status;
}

static void drop_ending(db_session *session);

void db_session_end(purlin_ctx *ctx) {
  db_session *session = ctx->db;
  if (!session) return;
  if (session->rows) purlin_db_close(ctx, session->rows);
  if (session->begun && session->connection) session->connection->broken = true; /* closing it rolls back */
  give_back(ctx, session);
  ctx->transaction_open = false;
  ctx->db = NULL;
  drop_ending(session);
  db_pool_recycle_session(session);
}

/* ---- Transactions ---- */

void db_session_rest(unsigned attempt) {
  uint32_t noise;
  text_random(&noise, sizeof noise);
  loop_sleep(1 + noise % (5u << attempt));
}

static bool execute_ending(db_connection *c, const purlin_value *ending, size_t count);

/* Runs COMMIT or ROLLBACK, or what commits, which neither a cancellation nor the deadline stops. */
static bool end_transaction(purlin_ctx *ctx, db_connection *c, const char *text) {
  bool shielded = ctx->shielded_until_ms != 0;
  if (!shielded) context_shield(ctx, COMMIT_GRACE_MS);
  bool done = text ? db_connection_query(c, text, strlen(text)) : execute_ending(c, ctx->db->ending, ctx->db->ending_count);
  if (!shielded) context_unshield(ctx);
  return done;
}

static void finish(purlin_ctx *ctx, db_session *session) {
  session->begun = false;
  ctx->transaction_open = false;
  give_back(ctx, session);
}

static void roll_back(purlin_ctx *ctx, db_session *session) {
  if (!session->begun) return;
  db_connection *c = session->connection;
  if (!c->broken && !end_transaction(ctx, c, "ROLLBACK")) c->broken = true;
  finish(ctx, session);
}

static bool has_data(const purlin_value *value) { return value->type == PURLIN_V_TEXT || value->type == PURLIN_V_BYTES; }

/* The values and, behind them, what they point to. NULL: no memory. */
static purlin_value *copy_values(const purlin_value *values, size_t count) {
  size_t size = count * sizeof *values;
  for (size_t i = 1; i < count; i++)
    if (has_data(&values[i])) size += values[i].size;
  purlin_value *copy = malloc(size);
  if (!copy) return NULL;
  memcpy(copy, values, count * sizeof *values);
  char *at = (char *)(copy + count);
  for (size_t i = 1; i < count; i++) {
    if (!has_data(&copy[i])) continue;
    if (copy[i].size > 0) memcpy(at, copy[i].as.data, copy[i].size);
    copy[i].as.data = at;
    at += copy[i].size;
  }
  return copy;
}

bool db_end_with(purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count) {
  db_session *session = ctx->db;
  if (!session || !session->begun || session->doomed || session->lost || session->ending) return false;
  session->ending = copy_values(sql_and_values, count);
  session->ending_count = count;
  return session->ending != NULL;
}

static void drop_ending(db_session *session) {
  free(session->ending);
  session->ending = NULL;
}

static bool execute_ending(db_connection *c, const purlin_value *ending, size_t count) {
  const char *sql = ending->as.data;
  db_statement *statement = db_statement_prepare(c, sql, ending->size, text_hash(sql, ending->size));
  if (!statement) return false;
  if (statement->parameters != count - 1)
    return db_connection_failed(c, 0, "the transaction's last statement has other parameters");
  return db_statement_execute(c, statement, ending + 1, count - 1);
}

/* PURLIN_OK when there was nothing to commit. */
static purlin_status commit(purlin_ctx *ctx, db_session *session) {
  purlin_status status = purlin_still_wanted(ctx);
  if (!session->begun) return PURLIN_OK;
  if (status != PURLIN_OK) {
    roll_back(ctx, session);
    return purlin_fail(ctx, status, "%s", "before the transaction could commit");
  }
  db_connection *c = session->connection;
  if (end_transaction(ctx, c, session->ending ? NULL : "COMMIT")) {
    finish(ctx, session);
    return PURLIN_OK;
  }
  status = db_session_fail(ctx, session, "COMMIT", 6);
  if (session->doomed) return status; /* rolled back by the caller, and run again */
  c->broken = true;                   /* closing it rolls back what may be left */
  finish(ctx, session);
  return status;
}

static void run_hooks(db_session *session) {
  after_commit *hook = session->first_hook;
  session->first_hook = session->last_hook = NULL;
  for (; hook; hook = hook->next) hook->call(hook->argument);
}

static void drop_hooks(db_session *session) { session->first_hook = session->last_hook = NULL; }

/* Within the transaction, last before its commit: see db_set_fence. */
static purlin_status pass_fence(purlin_ctx *ctx, db_session *session) {
  if (!session->fence || !session->begun) return PURLIN_OK;
  uint64_t affected = session->affected; /* of the statement that the caller will ask about */
  int64_t inserted = session->inserted;
  purlin_status status = session->fence(ctx, session->fence_argument);
  session->affected = affected;
  session->inserted = inserted;
  return status == PURLIN_OK && session->lost ? PURLIN_UNAVAILABLE : status;
}

static purlin_status run_once(purlin_ctx *ctx, db_session *session, purlin_status (*body)(purlin_ctx *, void *),
                              void *argument, bool *changed, bool *again) {
  session->transactional = true;
  purlin_status status = body(ctx, argument);
  if (session->rows) {
    status = purlin_fail(ctx, PURLIN_INTERNAL, "a transaction ended with rows still open");
    purlin_db_close(ctx, session->rows);
  }
  *changed = session->begun;
  if (status == PURLIN_OK && session->lost) status = purlin_fail(ctx, PURLIN_UNAVAILABLE, "the transaction was lost");
  if (status == PURLIN_OK && !session->doomed) status = pass_fence(ctx, session);
  if (status == PURLIN_OK && !session->doomed) status = commit(ctx, session);
  roll_back(ctx, session); /* what did not commit */
  *again = session->doomed;
  session->opening = NULL;
  session->transactional = session->doomed = session->lost = false;
  drop_ending(session);
  return status;
}

purlin_status db_transact(purlin_ctx *ctx, purlin_status (*body)(purlin_ctx *ctx, void *argument), void *argument) {
  db_session *session = db_session_of(ctx);
  if (!session) return PURLIN_UNAVAILABLE;
  if (session->transactional) return body(ctx, argument);
  if (session->rows) return purlin_fail(ctx, PURLIN_INTERNAL, "a transaction cannot begin while rows are open");
  purlin_mark mark = purlin_arena_mark(ctx);
  for (unsigned attempt = 1;; attempt++) {
    bool changed = false, again = false;
    purlin_status status = run_once(ctx, session, body, argument, &changed, &again);
    if (!again) {
      if (status == PURLIN_OK && changed) run_hooks(session);
      drop_hooks(session);
      return status;
    }
    drop_hooks(session);
    if (attempt == DB_ATTEMPTS || purlin_still_wanted(ctx) != PURLIN_OK) {
      purlin_retry_after(ctx, 1);
      return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the transaction met deadlocks or locks %u times", attempt);
    }
    db_instruments_retry();
    purlin_clear_failure(ctx);
    purlin_arena_reset(ctx, mark);
    db_session_rest(attempt);
  }
}

purlin_status purlin_transaction(purlin_ctx *ctx, purlin_transaction_body *body, void *argument) {
  return db_transact(ctx, body, argument);
}

purlin_status purlin_transaction_apart(purlin_ctx *ctx, purlin_transaction_body *body, void *argument) {
  db_session *session = db_session_of(ctx);
  if (!session) return PURLIN_UNAVAILABLE;
  if (session->begun) return purlin_fail(ctx, PURLIN_INTERNAL, "a transaction apart cannot begin while another is open");
  db_session around = *session;
  session->transactional = session->locking = false;
  session->opening = NULL;
  session->ending = NULL;
  session->first_hook = session->last_hook = NULL;
  purlin_status status = db_transact(ctx, body, argument);
  session->transactional = around.transactional;
  session->locking = around.locking;
  session->opening = around.opening;
  session->opening_argument = around.opening_argument;
  session->ending = around.ending;
  session->ending_count = around.ending_count;
  session->first_hook = around.first_hook;
  session->last_hook = around.last_hook;
  return status;
}

purlin_status db_after_commit(purlin_ctx *ctx, void (*call)(void *argument), void *argument) {
  db_session *session = db_session_of(ctx);
  if (!session) return PURLIN_UNAVAILABLE;
  if (!session->transactional) { /* what it is about has committed by itself */
    call(argument);
    return PURLIN_OK;
  }
  after_commit *hook = purlin_alloc(ctx, sizeof *hook);
  if (!hook) return PURLIN_TOO_LARGE;
  *hook = (after_commit){.call = call, .argument = argument};
  if (session->last_hook) session->last_hook->next = hook;
  else session->first_hook = hook;
  session->last_hook = hook;
  return PURLIN_OK;
}
