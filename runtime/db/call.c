/* call.c: checks, retries and the plain statements of <purlin/database.h>. */
#include "db/call.h"

#include <errmsg.h>
#include <mysqld_error.h>

#include "core/text.h"
#include "db/cursor.h"
#include "db/instruments.h"

#define MOST_ROWS 100000
#define FIRST_ROWS 16

/* ---- Checks ---- */

static sql_kind kind_of(uint64_t hash, const char *sql, size_t size) {
  struct db_kind *known = db_pool_kind(hash);
  if (!known->known || known->hash != hash || known->size != (uint32_t)size)
    *known = (struct db_kind){.hash = hash, .size = (uint32_t)size, .kind = (uint8_t)sql_classify(sql, size), .known = 1};
  return (sql_kind)known->kind;
}

static purlin_status refuse(const db_call *call, const char *why) {
  return purlin_fail(call->ctx, PURLIN_INTERNAL, "%s; statement: %.*s", why, (int)sql_excerpt(call->sql, call->size, 200),
                     call->sql);
}

/* What is read now is to stay so until the transaction ends: see db_lock_and_read. */
static bool lock_what_is_read(db_call *call) {
  static const char SUFFIX[] = " FOR UPDATE";
  const char *locking = purlin_format(call->ctx, "%.*s%s", (int)call->size, call->sql, SUFFIX);
  if (!locking) return false;
  call->sql = locking;
  call->size += sizeof SUFFIX - 1;
  call->hash = text_hash(call->sql, call->size);
  call->kind = SQL_WRITES;
  return true;
}

/* The first statement that writes: whoever wants to look before does so now. */
static purlin_status announce(purlin_ctx *ctx, db_session *session) {
  purlin_status (*opening)(purlin_ctx * ctx, void *argument) = session->opening;
  session->opening = NULL;
  return opening(ctx, session->opening_argument);
}

static purlin_status check(db_call *call, purlin_ctx *ctx, const char *sql, size_t size) {
  context_assert_may_park();
  *call = (db_call){.ctx = ctx, .sql = sql, .size = size, .started_ns = purlin_ticks_ns(), .session = db_session_of(ctx)};
  db_session *session = call->session;
  if (!session) return PURLIN_UNAVAILABLE;
  if (!db_pool_current()) return purlin_fail(ctx, PURLIN_UNAVAILABLE, "no memory for database connections");
  call->hash = text_hash(sql, size);
  call->kind = kind_of(call->hash, sql, size);
  if (session->locking && call->kind == SQL_READS && !lock_what_is_read(call)) return PURLIN_TOO_LARGE;
  if (call->kind == SQL_CONTROLS)
    return refuse(call, "a transaction is begun by purlin_transaction(), and settings are the pool's");
  if (call->kind == SQL_DEFINES && session->transactional) return refuse(call, "a definition would commit the transaction");
  if (call->kind != SQL_READS && ctx->reads_only) return refuse(call, "an operation that only reads may not write");
  if (session->rows) return refuse(call, "rows are still open on this connection");
  if (session->doomed || session->lost) {
    purlin_retry_after(ctx, 1);
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "the transaction has already failed");
  }
  purlin_status status = purlin_still_wanted(ctx);
  if (status != PURLIN_OK) return purlin_fail(ctx, status, "%s", "before a database statement");
  return PURLIN_OK;
}

purlin_status db_call_check(db_call *call, purlin_ctx *ctx, const char *sql, size_t size) {
  purlin_status status = check(call, ctx, sql, size);
  if (status != PURLIN_OK || call->kind == SQL_READS || !call->session->opening || !call->session->transactional)
    return status;
  status = announce(ctx, call->session);
  return status == PURLIN_OK && call->session->doomed ? PURLIN_UNAVAILABLE : status;
}

/* ---- Running, and running again ---- */

typedef struct attempt {
  unsigned count;
  bool executing;
} attempt;

/* A connection that died while idle: nothing reached the server, or running it twice does not matter. */
static bool was_stale(const db_call *call, const attempt *a) {
  const db_connection *c = call->session->connection;
  if (!c->broken || c->touched || c->interrupted != PURLIN_OK) return false;
  return !a->executing || c->error == CR_SERVER_GONE_ERROR || call->kind == SQL_READS;
}

/* Its rows have other columns now: reading them again is safe. True: prepare and run it again. */
static bool drop_altered(db_call *call, attempt *a) {
  db_connection *c = call->session->connection;
  if (!call->statement->altered || call->kind != SQL_READS || ++a->count == DB_ATTEMPTS) return false;
  if (!db_statement_finish(c, call->statement)) return false;
  db_statement_drop(c, call->statement);
  return true;
}

/* The table changed under a prepared statement. */
static bool must_prepare_again(const db_call *call) {
  unsigned error = call->session->connection->error;
  if (error == 2057) return call->kind == SQL_READS && !call->session->begun;
  return error == ER_NEED_REPREPARE || error == ER_UNKNOWN_STMT_HANDLER;
}

static bool may_run_again(db_call *call, attempt *a) {
  db_session *session = call->session;
  db_connection *c = session->connection;
  if (++a->count == DB_ATTEMPTS || c->interrupted != PURLIN_OK) return false;
  if (must_prepare_again(call)) {
    if (call->statement && !c->broken) db_statement_drop(c, call->statement);
    if (c->broken) db_session_leave(call->ctx, session);
    return true;
  }
  if (was_stale(call, a) && a->count <= 2) {
    session->begun = false; /* it had only just begun, by taking the connection */
    call->ctx->transaction_open = false;
    db_session_leave(call->ctx, session);
    return true;
  }
  if (db_error_is_deadlock(c->error) && !session->begun) {
    db_session_leave(call->ctx, session);
    db_instruments_retry();
    db_session_rest(a->count);
    return true;
  }
  return false;
}

purlin_status db_call_execute(db_call *call, bool (*execute)(db_call *call)) {
  db_session *session = call->session;
  for (attempt a = {0};;) {
    purlin_status status = db_session_take(call->ctx, session, call->kind);
    if (status != PURLIN_OK) return status;
    a.executing = false;
    call->statement = db_statement_prepare(session->connection, call->sql, call->size, call->hash);
    if (call->statement && call->statement->parameters != call->count) {
      (void)purlin_fail(call->ctx, PURLIN_INTERNAL, "%zu values for %u '?'; statement: %.*s", call->count,
                        call->statement->parameters, (int)sql_excerpt(call->sql, call->size, 200), call->sql);
      db_session_leave(call->ctx, session);
      return PURLIN_INTERNAL;
    }
    a.executing = call->statement != NULL;
    if (call->statement && execute(call)) {
      if (drop_altered(call, &a)) continue;
      return PURLIN_OK;
    }
    if (!may_run_again(call, &a)) return db_session_fail(call->ctx, session, call->sql, call->size);
  }
}

static bool execute_values(db_call *call) {
  return db_statement_execute(call->session->connection, call->statement, call->values, call->count);
}

static purlin_status counted(const db_call *call, purlin_status status) {
  db_instruments_query(status, purlin_ticks_ns() - call->started_ns);
  return status;
}

purlin_status db_call_begin(db_call *call, purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count) {
  call->statement = NULL; /* compilers do not know that what is failed with is no PURLIN_OK */
  if (count == 0 || sql_and_values[0].type != PURLIN_V_TEXT)
    return purlin_fail(ctx, PURLIN_INTERNAL, "the first argument of a statement is its SQL");
  purlin_status status = db_call_check(call, ctx, (const char *)sql_and_values[0].as.data, sql_and_values[0].size);
  if (status != PURLIN_OK) return status;
  call->values = sql_and_values + 1;
  call->count = count - 1;
  status = db_call_execute(call, execute_values);
  if (status != PURLIN_OK) return counted(call, status);
  if (call->kind != SQL_READS) {
    call->session->affected = call->statement->columns ? 0 : mysql_stmt_affected_rows(call->statement->stmt);
    call->session->inserted = (int64_t)mysql_stmt_insert_id(call->statement->stmt);
  }
  return PURLIN_OK;
}

db_fetched db_call_fetch(db_call *call) {
  db_fetched fetched = db_statement_fetch(call->session->connection, call->statement);
  if (fetched == DB_ROW && call->kind != SQL_READS) call->session->affected++; /* INSERT ... RETURNING */
  return fetched;
}

purlin_status db_call_fail(db_call *call) {
  return counted(call, db_session_fail(call->ctx, call->session, call->sql, call->size));
}

purlin_status db_call_end(db_call *call, purlin_status status) {
  db_connection *c = call->session->connection;
  bool clean = call->statement->columns == 0 || db_statement_finish(c, call->statement);
  if (clean && c->interrupted == PURLIN_OK) {
    db_session_leave(call->ctx, call->session);
    return counted(call, status);
  }
  purlin_status failed = db_call_fail(call);
  return status == PURLIN_OK ? failed : status;
}

/* ---- Statements within a fence ---- */

/* Whether a statement must become a transaction of its own, so that the fence is asked before it commits. */
static bool needs_fence(const purlin_ctx *ctx, const purlin_value *values, size_t count) {
  const db_session *session = ctx->db;
  if (!session || !session->fence || session->transactional || !db_pool_current()) return false;
  if (count == 0 || values[0].type != PURLIN_V_TEXT) return false;
  const char *sql = values[0].as.data;
  return kind_of(text_hash(sql, values[0].size), sql, values[0].size) == SQL_WRITES;
}

typedef struct fenced {
  const purlin_schema *schema;
  void *out;
  size_t *item_count;
  const purlin_value *values;
  size_t count;
} fenced;

static purlin_status run_fenced(purlin_ctx *ctx, void *argument) {
  const fenced *f = argument;
  if (f->item_count) return purlin_db_list_(ctx, f->schema, f->out, f->item_count, f->values, f->count);
  if (f->schema) return purlin_db_row_(ctx, f->schema, f->out, f->values, f->count);
  return purlin_db_run_(ctx, f->values, f->count);
}

/* ---- The calls of plugins ---- */

purlin_status purlin_db_run_(purlin_ctx *ctx, const purlin_value *sql_and_values, size_t count) {
  if (needs_fence(ctx, sql_and_values, count))
    return db_transact(ctx, run_fenced, &(fenced){.values = sql_and_values, .count = count});
  db_call call;
  purlin_status status = db_call_begin(&call, ctx, sql_and_values, count);
  return status == PURLIN_OK ? db_call_end(&call, PURLIN_OK) : status;
}

purlin_status purlin_db_row_(purlin_ctx *ctx, const purlin_schema *schema, void *out, const purlin_value *sql_and_values,
                             size_t count) {
  if (needs_fence(ctx, sql_and_values, count))
    return db_transact(ctx, run_fenced, &(fenced){.schema = schema, .out = out, .values = sql_and_values, .count = count});
  db_call call;
  purlin_status status = db_call_begin(&call, ctx, sql_and_values, count);
  if (status != PURLIN_OK) return status;
  const db_plan *plan = db_plan_for(ctx, call.statement, schema);
  if (!plan) return db_call_end(&call, PURLIN_INTERNAL);
  switch (db_call_fetch(&call)) {
  case DB_FAILED: return db_call_fail(&call);
  case DB_END: return db_call_end(&call, PURLIN_NOT_FOUND);
  default: return db_call_end(&call, db_plan_read(ctx, plan, call.statement, &ctx->memory, out));
  }
}

typedef struct row_list {
  char *items;
  size_t count, room, item_size;
} row_list;

static purlin_status make_room(purlin_ctx *ctx, row_list *rows) {
  if (rows->count >= MOST_ROWS)
    return purlin_fail(ctx, PURLIN_TOO_LARGE, "more than %d rows in a list: use purlin_db_open or LIMIT", MOST_ROWS);
  if (rows->count < rows->room) return PURLIN_OK;
  size_t room = rows->room == 0 ? FIRST_ROWS : rows->room * 2;
  char *items = arena_alloc_raw(&ctx->memory, room * rows->item_size, 16);
  if (!items) return purlin_fail(ctx, PURLIN_TOO_LARGE, "the rows are too large");
  if (rows->count > 0) memcpy(items, rows->items, rows->count * rows->item_size);
  rows->items = items;
  rows->room = room;
  return PURLIN_OK;
}

static purlin_status read_all(db_call *call, const db_plan *plan, row_list *rows, bool *failed) {
  for (;;) {
    db_fetched fetched = db_call_fetch(call);
    if (fetched == DB_END) return PURLIN_OK;
    *failed = fetched == DB_FAILED;
    if (*failed) return PURLIN_OK;
    purlin_status status = make_room(call->ctx, rows);
    if (status == PURLIN_OK)
      status =
          db_plan_read(call->ctx, plan, call->statement, &call->ctx->memory, rows->items + rows->count * rows->item_size);
    if (status != PURLIN_OK) return status;
    if (++rows->count % 64 == 0) context_fairness(call->ctx);
  }
}

purlin_status purlin_db_list_(purlin_ctx *ctx, const purlin_schema *schema, void *items, size_t *item_count,
                              const purlin_value *sql_and_values, size_t count) {
  if (needs_fence(ctx, sql_and_values, count))
    return db_transact(ctx, run_fenced, &(fenced){schema, items, item_count, sql_and_values, count});
  void **list = items;
  *list = NULL;
  *item_count = 0;
  db_call call;
  purlin_status status = db_call_begin(&call, ctx, sql_and_values, count);
  if (status != PURLIN_OK) return status;
  const db_plan *plan = db_plan_for(ctx, call.statement, schema);
  if (!plan) return db_call_end(&call, PURLIN_INTERNAL);
  row_list rows = {.item_size = schema->struct_size};
  bool failed = false;
  status = read_all(&call, plan, &rows, &failed);
  if (failed) return db_call_fail(&call);
  if (status == PURLIN_OK && !rows.items) status = make_room(ctx, &rows); /* an empty list is not an absent one */
  status = db_call_end(&call, status);
  if (status != PURLIN_OK) return status;
  *list = rows.items;
  *item_count = rows.count;
  return PURLIN_OK;
}

uint64_t purlin_affected(const purlin_ctx *ctx) { return ctx->db ? ctx->db->affected : 0; }

int64_t purlin_inserted(const purlin_ctx *ctx) { return ctx->db ? ctx->db->inserted : 0; }
