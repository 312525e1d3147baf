#include "serving.h"

/* A statement deletes at most so many rows, and a run makes at most so many statements: the next run goes on. */
enum { BATCH = 1000, MOST_BATCHES = 2000 };

/* Positions grow with time, but for what nodes write at once: so the oldest are looked at, and those of them that are old go. */
static const char DELETE_OLD[] =
    "DELETE FROM serving_predictions WHERE position <= (SELECT position FROM (SELECT MAX(position) AS position FROM"
    " (SELECT position FROM serving_predictions ORDER BY position LIMIT ?) first) border)"
    " AND at < NOW(6) - INTERVAL ? DAY";
static const char DELETE_BEYOND[] =
    "DELETE FROM serving_predictions WHERE position <= (SELECT position FROM (SELECT MAX(position) - ? AS position FROM"
    " serving_predictions) border) ORDER BY position LIMIT ?";
/* Logs are written up to a second after the endpoint is gone. */
static const char SELECT_LEFTOVERS[] =
    "SELECT endpoint_id, deleted_at < NOW(6) - INTERVAL 1 MINUTE AS quiet FROM serving_leftovers ORDER BY deleted_at LIMIT 1000";
static const char DELETE_PREDICTIONS[] = "DELETE FROM serving_predictions WHERE endpoint_id = ? LIMIT ?";
static const char DELETE_FEEDBACK[] = "DELETE FROM serving_feedback WHERE endpoint_id = ? LIMIT ?";
static const char DELETE_LEFTOVER[] = "DELETE FROM serving_leftovers WHERE endpoint_id = ?";

typedef struct leftover {
  const char *endpoint_id;
  bool quiet;
} leftover;
PURLIN_SCHEMA(leftover, "A deleted endpoint",
    PURLIN_REQUIRED(endpoint_id, "endpoint"),
    PURLIN_REQUIRED(quiet, "nothing is written for it any more"));

typedef struct sweeping {
  int64_t batches, rows;
} sweeping;

/* After a batch: whether there may be more. */
static bool goes_on(purlin_ctx *ctx, sweeping *s, purlin_status *status) {
  if (*status != PURLIN_OK) return false;
  int64_t rows = (int64_t)purlin_affected(ctx);
  s->rows += rows;
  s->batches++;
  if (rows == 0 || s->batches >= MOST_BATCHES) return false;
  *status = purlin_yield(ctx);
  if (*status == PURLIN_OK) *status = purlin_still_wanted(ctx);
  return *status == PURLIN_OK;
}

static purlin_status sweep_old(purlin_ctx *ctx, const serving_configuration *limits, sweeping *s) {
  purlin_status status = PURLIN_OK;
  if (limits->prediction_days > 0) do
      status = purlin_db_run(ctx, DELETE_OLD, BATCH, limits->prediction_days);
    while (goes_on(ctx, s, &status));
  if (status == PURLIN_OK && limits->prediction_rows > 0) do
      status = purlin_db_run(ctx, DELETE_BEYOND, limits->prediction_rows, BATCH);
    while (goes_on(ctx, s, &status));
  return status;
}

static purlin_status sweep_leftover(purlin_ctx *ctx, const leftover *of, sweeping *s) {
  purlin_status status;
  do status = purlin_db_run(ctx, DELETE_PREDICTIONS, of->endpoint_id, BATCH);
  while (goes_on(ctx, s, &status));
  if (status == PURLIN_OK) do
      status = purlin_db_run(ctx, DELETE_FEEDBACK, of->endpoint_id, BATCH);
    while (goes_on(ctx, s, &status));
  if (status != PURLIN_OK || !of->quiet || s->batches >= MOST_BATCHES) return status;
  return purlin_db_run(ctx, DELETE_LEFTOVER, of->endpoint_id);
}

PURLIN_JOB(sweep, purlin_nothing, .summary = "Delete old predictions, and what deleted endpoints left behind", .max_attempts = 2,
    .permission = "server:write") {
  const serving_configuration *limits = purlin_configuration(ctx);
  sweeping s = {0, 0};
  struct {
    leftover *items;
    size_t count;
  } leftovers = {0};
  purlin_status status = sweep_old(ctx, limits, &s);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, leftover, &leftovers, SELECT_LEFTOVERS);
  for (size_t i = 0; i < leftovers.count && status == PURLIN_OK && s.batches < MOST_BATCHES; i++)
    status = sweep_leftover(ctx, &leftovers.items[i], &s);
  if (s.rows > 0) purlin_log(ctx, PURLIN_INFO, "swept %lld rows of predictions and labels", (long long)s.rows);
  return status;
}
PURLIN_SCHEDULE(sweep, "@every 10m", .job = "serving.sweep");
