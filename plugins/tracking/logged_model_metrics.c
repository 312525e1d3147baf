#include "logged_models.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char COUNT_MODELS[] =
    "SELECT COUNT(*) AS count FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j"
    " JOIN tracking_logged_models m ON m.id = j.id"
    " WHERE m.workspace = ? AND m.lifecycle <> 'deleted' AND " PURLIN_VISIBLE("m.project", "m.experiment_id");
static const char INSERT[] =
    "INSERT INTO tracking_logged_model_metrics (workspace, project, model_id, name, scope, step, at, run_id, value, dataset_name,"
    " dataset_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULLIF(?, ''), NULLIF(?, ''))"
    " ON DUPLICATE KEY UPDATE value = VALUES(value)";
/* The latest by its time, then by its step. Each column is set from what was there before `at` is. */
#define LATER "(VALUES(at), VALUES(step)) >= (at, step)"
#define IF_LATER(column) column " = IF(" LATER ", VALUES(" column "), " column "), "
static const char UPSERT_LATEST[] =
    "INSERT INTO tracking_logged_model_latest (workspace, project, model_id, name, scope, step, at, run_id, value, dataset_name,"
    " dataset_digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULLIF(?, ''), NULLIF(?, ''))"
    " ON DUPLICATE KEY UPDATE " IF_LATER("run_id") IF_LATER("value") IF_LATER("dataset_name") IF_LATER("dataset_digest")
        IF_LATER("step") "at = GREATEST(at, VALUES(at))";

void model_scope(purlin_ctx *ctx, const char *name, const char *digest, char scope[MODEL_SCOPE_SIZE]) {
  char digits[65];
  scope[0] = '\0';
  if (!name || !*name) return;
  const char *all = digest && *digest ? purlin_format(ctx, "%s\n%s", name, digest) : name;
  if (!all) return; /* recorded */
  purlin_sha256(all, strlen(all), digits);
  memcpy(scope, digits, MODEL_SCOPE_SIZE - 1);
  scope[MODEL_SCOPE_SIZE - 1] = '\0';
}

typedef struct measure_row {
  const char *workspace, *project, *model_id, *name, *scope;
  int64_t step;
  purlin_time at;
  const char *run_id;
  purlin_opt_double value;
  const char *dataset_name, *dataset_digest;
} measure_row;
PURLIN_SCHEMA(measure_row, "A row of metrics of models",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(model_id, "model"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(scope, "dataset"),
    PURLIN_REQUIRED(step, "step"),
    PURLIN_REQUIRED(at, "time"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_OPTIONAL(value, "value"),
    PURLIN_REQUIRED(dataset_name, "dataset's name, or empty"),
    PURLIN_REQUIRED(dataset_digest, "dataset's digest, or empty"));

/* By model, metric and scope, the latest first; in the same order for everybody, so that two writers do not wait for each other. */
static int latest_first(const void *a, const void *b) {
  const measure_row *x = a, *y = b;
  int order = strcmp(x->model_id, y->model_id);
  if (order == 0) order = strcmp(x->name, y->name);
  if (order == 0) order = strcmp(x->scope, y->scope);
  if (order == 0) order = (x->at.unix_us < y->at.unix_us) - (x->at.unix_us > y->at.unix_us);
  return order ? order : (x->step < y->step) - (x->step > y->step);
}

static bool same_scope(const measure_row *x, const measure_row *y) {
  return strcmp(x->model_id, y->model_id) == 0 && strcmp(x->name, y->name) == 0 && strcmp(x->scope, y->scope) == 0;
}

static purlin_opt_double stored(double value) {
  if (isnan(value)) return (purlin_opt_double){PURLIN_NULL, 0};
  return (purlin_opt_double){PURLIN_SET, isinf(value) ? copysign(DBL_MAX, value) : value};
}

typedef struct count_row {
  int64_t count;
} count_row;
PURLIN_SCHEMA(count_row, "How many", PURLIN_REQUIRED(count, "So many"));

/* Whether all of these models, ordered, are there and the caller may write to them. */
static purlin_status check_models(purlin_ctx *ctx, const measure_row *rows, size_t count) {
  count_row there;
  size_t distinct = 0;
  const char **ids = purlin_alloc_array(ctx, count, sizeof *ids);
  if (!ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    if (distinct == 0 || strcmp(ids[distinct - 1], rows[i].model_id) != 0) ids[distinct++] = rows[i].model_id;
  const char *list = purlin_list_json(ctx, (purlin_texts){ids, distinct});
  if (!list) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_row(ctx, count_row, &there, COUNT_MODELS, list, purlin_workspace(ctx),
                                       PURLIN_VISIBLE_TO(ctx, "runs:write"));
  if (status != PURLIN_OK || (size_t)there.count == distinct) return status;
  for (size_t i = 0; i < distinct && status == PURLIN_OK; i++) { /* says which, and why not */
    logged_model found;
    status = logged_model_find(ctx, ids[i], false, "runs:write", &found);
  }
  return status;
}

/* Each row for its scopes: any dataset, one of this name, one of this name and digest. Returns how many of `out`, 3 * count long. */
static purlin_status widen(purlin_ctx *ctx, const measure_row *rows, size_t count, measure_row *out, size_t *widened) {
  size_t to = 0;
  for (size_t i = 0; i < count; i++) {
    out[to] = rows[i];
    out[to++].scope = "";
    if (!*rows[i].scope) continue;
    out[to++] = rows[i];
    if (!*rows[i].dataset_digest) continue;
    char *scope = purlin_alloc(ctx, MODEL_SCOPE_SIZE);
    if (!scope) return PURLIN_TOO_LARGE;
    model_scope(ctx, rows[i].dataset_name, NULL, scope);
    out[to] = rows[i];
    out[to++].scope = scope;
  }
  qsort(out, to, sizeof *out, latest_first);
  size_t latest = 0;
  for (size_t i = 0; i < to; i++)
    if (latest == 0 || !same_scope(&out[i], &out[latest - 1])) out[latest++] = out[i];
  *widened = latest;
  return PURLIN_OK;
}

static purlin_status write(purlin_ctx *ctx, measure_row *rows, size_t count) {
  size_t latest = 0;
  measure_row *wide = purlin_alloc_array(ctx, count, 3 * sizeof *wide);
  if (!wide) return PURLIN_TOO_LARGE;
  qsort(rows, count, sizeof *rows, latest_first);
  purlin_status status = check_models(ctx, rows, count);
  if (status == PURLIN_OK) status = widen(ctx, rows, count, wide, &latest);
  if (status == PURLIN_OK) status = purlin_db_bulk(ctx, measure_row, rows, count, INSERT);
  return status == PURLIN_OK ? purlin_db_bulk(ctx, measure_row, wide, latest, UPSERT_LATEST) : status;
}

purlin_status logged_models_measure(purlin_ctx *ctx, const char *project, const char *run_id, const model_measure *measures,
                                    size_t count) {
  size_t used = 0;
  for (size_t i = 0; i < count; i++) used += measures[i].model_id && *measures[i].model_id;
  if (used == 0) return PURLIN_OK;
  measure_row *rows = purlin_alloc_array(ctx, used, sizeof *rows);
  char(*scopes)[MODEL_SCOPE_SIZE] = purlin_alloc_array(ctx, used, sizeof *scopes);
  if (!rows || !scopes) return PURLIN_TOO_LARGE;
  used = 0;
  for (size_t i = 0; i < count; i++) {
    const model_measure *m = &measures[i];
    if (!m->model_id || !*m->model_id) continue;
    const char *name = m->dataset_name ? m->dataset_name : "", *digest = m->dataset_digest ? m->dataset_digest : "";
    model_scope(ctx, name, digest, scopes[used]);
    rows[used] =
        (measure_row){purlin_workspace(ctx), project, m->model_id,        m->key, scopes[used], m->step, m->at, run_id,
                      stored(m->value),      name,    *name ? digest : ""};
    used++;
  }
  return write(ctx, rows, used);
}
