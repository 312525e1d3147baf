/* cursor.c: purlin_db_open, purlin_db_next, purlin_db_close. */
#include "db/cursor.h"

#define ROW_LIMIT_BYTES ((size_t)64 * 1024 * 1024)

static void forget(purlin_rows *rows) {
  rows->running = false;
  rows->call.session->rows = NULL;
  rows->call.ctx->rows_open = false;
}

static purlin_status leave(purlin_rows *rows, purlin_status status) {
  forget(rows);
  return db_call_end(&rows->call, status);
}

purlin_status purlin_db_open_(purlin_ctx *ctx, const purlin_schema *schema, purlin_rows **out,
                              const purlin_value *sql_and_values, size_t count) {
  *out = NULL;
  purlin_rows *rows = purlin_alloc(ctx, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  purlin_status status = db_call_begin(&rows->call, ctx, sql_and_values, count);
  if (status != PURLIN_OK) return status;
  rows->call.sql = rows->call.statement->sql; /* the caller's text may be gone by the next call */
  rows->running = true;
  rows->plan = db_plan_for(ctx, rows->call.statement, schema);
  if (!rows->plan) return leave(rows, PURLIN_INTERNAL);
  arena_init(&rows->memory, ROW_LIMIT_BYTES);
  rows->call.session->rows = rows;
  ctx->rows_open = true;
  *out = rows;
  return PURLIN_OK;
}

purlin_status purlin_db_next(purlin_ctx *ctx, purlin_rows *rows, void *out, bool *got) {
  *got = false;
  arena_free(&rows->memory);
  if (!rows->running) return PURLIN_OK;
  purlin_status status = purlin_still_wanted(ctx);
  if (status != PURLIN_OK) return leave(rows, purlin_fail(ctx, status, "%s", "while reading rows"));
  switch (db_call_fetch(&rows->call)) {
  case DB_END: return leave(rows, PURLIN_OK);
  case DB_FAILED: forget(rows); return db_call_fail(&rows->call);
  default: break;
  }
  status = db_plan_read(ctx, rows->plan, rows->call.statement, &rows->memory, out);
  if (status != PURLIN_OK) return leave(rows, status);
  *got = true;
  if (++rows->count % 64 == 0) context_fairness(ctx);
  return PURLIN_OK;
}

void purlin_db_close(purlin_ctx *ctx, purlin_rows *rows) {
  (void)ctx;
  if (!rows) return;
  if (rows->running && leave(rows, PURLIN_OK) != PURLIN_OK)
    purlin_clear_failure(rows->call.ctx); /* nobody wants the rest */
  arena_free(&rows->memory);
}
