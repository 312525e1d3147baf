#include "tracking.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A page costs the same however far it is: it begins in the primary key behind the last value of the page before. */
static const char HISTORY[] =
    "SELECT name AS `key`, value, step, at, is_nan FROM tracking_metrics WHERE run_id = ? AND name = ? AND step >= ? AND"
    " (step, at, value, is_nan) > (?, ?, ?, ?) ORDER BY step, at, value, is_nan LIMIT ?";
static const char HISTORY_FROM_BEGINNING[] = "SELECT name AS `key`, value, step, at, is_nan FROM tracking_metrics"
                                             " WHERE run_id = ? AND name = ? ORDER BY step, at, value, is_nan LIMIT ?";

typedef struct point {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
  bool is_nan;
} point;
PURLIN_SCHEMA(point, "A row of tracking_metrics",
    PURLIN_REQUIRED(key, "key"),
    PURLIN_REQUIRED(value, "value"),
    PURLIN_REQUIRED(step, "step"),
    PURLIN_REQUIRED(at, "time"),
    PURLIN_REQUIRED(is_nan, "whether it is not a number"));

/* ---- The token of the next page: the last value of this one ------------------------------------------------------------------------- */

static const char *token_of(purlin_ctx *ctx, const point *last) {
  uint64_t bits;
  memcpy(&bits, &last->value, sizeof bits);
  return purlin_format(ctx, "%lld_%lld_%llx_%d", (long long)last->step, (long long)last->at.unix_us,
                       (unsigned long long)bits, last->is_nan);
}

static bool read_token(const char *token, point *last) {
  char *at, *value, *is_nan, *end;
  last->step = strtoll(token, &at, 10);
  if (at == token || *at != '_') return false;
  last->at.unix_us = strtoll(at + 1, &value, 10);
  if (*value != '_' || last->at.unix_us <= 0) return false;
  uint64_t bits = strtoull(value + 1, &is_nan, 16);
  memcpy(&last->value, &bits, sizeof bits);
  if (*is_nan != '_' || !isfinite(last->value)) return false;
  last->is_nan = strtoll(is_nan + 1, &end, 10) != 0;
  return end > is_nan + 1 && *end == '\0';
}

/* ---- The values ----------------------------------------------------------------------------------------------------------------------- */

typedef PURLIN_LIST_OF(point) points;

static purlin_status read_points(purlin_ctx *ctx, const tracking_history_in *in, points *found) {
  point last;
  if (!in->page || !*in->page)
    return purlin_db_list(ctx, point, found, HISTORY_FROM_BEGINNING, in->run_id, in->key, in->limit + 1);
  if (!read_token(in->page, &last)) return purlin_fail(ctx, PURLIN_INVALID, "Invalid page token");
  return purlin_db_list(ctx, point, found, HISTORY, in->run_id, in->key, last.step, last.step, last.at, last.value,
                        last.is_nan, in->limit + 1);
}

PURLIN_OPERATION(metric_history, tracking_history_in, tracking_history,
    .summary = "The values of a metric", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/runs/{run_id}/metrics/{key}") {
  run_place of;
  points found = {0};
  purlin_status status = run_find(ctx, in->run_id, "runs:read", &of);
  if (status == PURLIN_OK) status = read_points(ctx, in, &found);
  if (status != PURLIN_OK) return status;
  bool more = found.count > (size_t)in->limit;
  if (more) found.count--;
  out->metrics.items = purlin_alloc_array(ctx, found.count + 1, sizeof *out->metrics.items);
  if (!out->metrics.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.count; i++) {
    const point *p = &found.items[i];
    out->metrics.items[i] = (tracking_metric){in->key, p->is_nan ? (double)NAN : p->value, p->step, p->at};
  }
  out->metrics.count = found.count;
  out->next_page = more ? token_of(ctx, &found.items[found.count - 1]) : "";
  return out->next_page ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* ---- Of several runs ------------------------------------------------------------------------------------------------------------------ */

/* Of a run with `total` values that one is taken where `at * (most - 1) / (total - 1)` goes on to the next whole number: the first, the
 * last, and evenly between. Of one, the last. */
static const char HISTORIES[] =
    "SELECT run_id, name AS `key`, value, step, at, is_nan FROM (SELECT x.*, ROW_NUMBER() OVER (PARTITION BY x.run_id ORDER"
    " BY x.step, x.at, x.value, x.is_nan) - 1 AS place, COUNT(*) OVER (PARTITION BY x.run_id) AS total FROM JSON_TABLE(?,"
    " '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j STRAIGHT_JOIN tracking_runs r ON"
    " r.id = j.id STRAIGHT_JOIN tracking_metrics x ON x.run_id = r.id WHERE r.workspace = ? AND " PURLIN_VISIBLE(
        "r.project",
        "r.experiment_id") " AND x.name = ? AND x.step BETWEEN ? AND ?) v WHERE total <= ? OR place = total - 1"
                           " OR (? > 1 AND (place = 0 OR place * (? - 1) DIV (total - 1) > (place - 1) * (? - 1) DIV (total - 1)))"
                           " ORDER BY run_id, step, at, value, is_nan";

enum { MOST_TOGETHER = 100000 };

typedef struct run_point {
  const char *run_id, *key;
  double value;
  int64_t step;
  purlin_time at;
  bool is_nan;
} run_point;
PURLIN_SCHEMA(run_point, "A row of tracking_metrics",
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(key, "key"),
    PURLIN_REQUIRED(value, "value"),
    PURLIN_REQUIRED(step, "step"),
    PURLIN_REQUIRED(at, "time"),
    PURLIN_REQUIRED(is_nan, "whether it is not a number"));
typedef PURLIN_LIST_OF(run_point) run_points;

/* The runs once each: a repeated one would count its values twice. NULL: no memory. */
static const char *once_each(purlin_ctx *ctx, purlin_texts ids, size_t *count) {
  const char **kept = purlin_alloc_array(ctx, ids.count, sizeof *kept);
  *count = 0;
  for (size_t i = 0; i < ids.count && kept; i++) {
    size_t k = 0;
    while (k < *count && strcmp(kept[k], ids.items[i]) != 0) k++;
    if (k == *count) kept[(*count)++] = ids.items[i];
  }
  return kept ? purlin_list_json(ctx, (purlin_texts){kept, *count}) : NULL;
}

PURLIN_OPERATION(metric_histories, tracking_histories_in, tracking_histories,
    .summary = "The values of a metric in several runs", .permission = "runs:read", .by_project = true, .http = "POST /api/v1/runs/histories") {
  run_points found = {0};
  size_t runs = 0;
  const char *ids = once_each(ctx, in->run_ids, &runs);
  if (!ids) return PURLIN_TOO_LARGE;
  if (runs == 0) return PURLIN_OK;
  int64_t first = in->first_step.state == PURLIN_SET ? in->first_step.value : INT64_MIN;
  int64_t last = in->last_step.state == PURLIN_SET ? in->last_step.value : INT64_MAX;
  int64_t fair = MOST_TOGETHER / (int64_t)runs, most = in->most < fair ? in->most : fair;
  purlin_status status = purlin_db_list(ctx, run_point, &found, HISTORIES, ids, purlin_workspace(ctx),
                                        PURLIN_VISIBLE_TO(ctx, "runs:read"), in->key, first, last, most, most, most, most);
  if (status != PURLIN_OK) return status;
  out->metrics.items = purlin_alloc_array(ctx, found.count + 1, sizeof *out->metrics.items);
  if (!out->metrics.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.count; i++) {
    const run_point *p = &found.items[i];
    out->metrics.items[i] = (tracking_run_metric){p->run_id, in->key, p->is_nan ? (double)NAN : p->value, p->step, p->at};
  }
  out->metrics.count = found.count;
  return PURLIN_OK;
}
