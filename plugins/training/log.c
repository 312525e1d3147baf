#include "training.h"
#include <string.h>

static const char APPEND[] =
    "INSERT INTO training_logs (workspace, project, job_id, attempt, at, text) VALUES (?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_TEXT[] =
    "SELECT l.text FROM training_logs l WHERE l.job_id = ? AND l.workspace = ? ORDER BY l.position";
static const char EXISTS[] = "SELECT id AS text FROM training_jobs WHERE id = ? AND workspace = ?";

purlin_status training_log(purlin_ctx *ctx, const job_row *job, const char *text) {
  return purlin_db_run(ctx, APPEND, job->workspace, job->project, job->id, job->attempt, text);
}

typedef struct text_row {
  const char *text;
} text_row;
PURLIN_SCHEMA(text_row, "A piece of a log", PURLIN_REQUIRED(text, "The text", .max_length = 65000));

static purlin_status send(purlin_ctx *ctx, purlin_request *request, purlin_rows *rows) {
  for (;;) {
    text_row row;
    bool got = false;
    purlin_status status = purlin_db_next(ctx, rows, &row, &got);
    if (status != PURLIN_OK || !got) return status;
    status = purlin_write(ctx, request, row.text, strlen(row.text));
    if (status != PURLIN_OK) return status;
  }
}

PURLIN_ROUTE(read_log, "GET /api/v1/training/jobs/{job}/log",
    .summary = "What the trainer wrote", .permission = "training:read", .answer = "text/plain", .timeout_ms = UINT32_MAX) {
  const char *id = purlin_parameter(request, "job");
  text_row row;
  purlin_status status = purlin_db_row(ctx, text_row, &row, EXISTS, id, purlin_workspace(ctx));
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no training job '%s'", id);
  purlin_rows *rows = NULL;
  if (status == PURLIN_OK) status = purlin_db_open(ctx, text_row, &rows, SELECT_TEXT, id, purlin_workspace(ctx));
  if (status != PURLIN_OK) return status;
  status = purlin_respond_begin(ctx, request, 200, "text/plain; charset=utf-8", -1);
  if (status == PURLIN_OK) status = send(ctx, request, rows);
  purlin_db_close(ctx, rows);
  return status;
}
