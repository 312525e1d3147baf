#include "training.h"
#include <string.h>

static const char APPEND[] =
    "INSERT INTO training_logs (workspace, project, job_id, attempt, at, text) VALUES (?, ?, ?, ?, NOW(6), ?)";
static const char SELECT_PIECES[] = "SELECT position, text FROM training_logs"
                                    " WHERE job_id = ? AND workspace = ? AND position > ? ORDER BY position LIMIT ?";
static const char SELECT_PROJECT[] = "SELECT project AS text FROM training_jobs WHERE id = ? AND workspace = ?";

purlin_status training_log(purlin_ctx *ctx, const job_row *job, const char *text) {
  return purlin_db_run(ctx, APPEND, job->workspace, job->project, job->id, job->attempt, text);
}

typedef struct text_row {
  const char *text;
} text_row;
PURLIN_SCHEMA(text_row, "A text", PURLIN_REQUIRED(text, "It"));
typedef struct piece {
  int64_t position;
  const char *text;
} piece;
PURLIN_SCHEMA(piece, "A piece of a log",
    PURLIN_REQUIRED(position, "Behind the pieces before it"),
    PURLIN_REQUIRED(text, "The text", .max_length = 65000));
typedef PURLIN_LIST_OF(piece) pieces;

/* Some at a time, so that no connection to the database waits for a slow client. */
static purlin_status send(purlin_ctx *ctx, purlin_request *request, const char *id) {
  enum { AT_ONCE = 16 };
  int64_t position = 0;
  purlin_mark mark = purlin_arena_mark(ctx);
  for (size_t count = AT_ONCE; count == AT_ONCE; purlin_arena_reset(ctx, mark)) {
    pieces found;
    purlin_status status = purlin_db_list(ctx, piece, &found, SELECT_PIECES, id, purlin_workspace(ctx), position, AT_ONCE);
    if (status != PURLIN_OK) return status;
    count = found.count;
    for (size_t i = 0; i < count && status == PURLIN_OK; i++)
      status = purlin_write(ctx, request, found.items[i].text, strlen(found.items[i].text));
    if (status != PURLIN_OK) return status;
    if (count > 0) position = found.items[count - 1].position;
  }
  return PURLIN_OK;
}

PURLIN_ROUTE(read_log, "GET /api/v1/training/jobs/{job}/log",
    .summary = "What the trainer wrote", .permission = "training:read", .by_project = true, .answer = "text/plain", .timeout_ms = UINT32_MAX) {
  const char *id = purlin_parameter(request, "job");
  text_row row;
  purlin_status status = purlin_db_row(ctx, text_row, &row, SELECT_PROJECT, id, purlin_workspace(ctx));
  if (status == PURLIN_OK) status = purlin_reach(ctx, "training:read", "training:read", row.text, id);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "no training job '%s'", id);
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, 200, "text/plain; charset=utf-8", -1);
  return status == PURLIN_OK ? send(ctx, request, id) : status;
}
