#include "logged_models.h"

/* More metrics than that of one page of models are not told one by one: the latest of each is. */
#define MOST_METRICS "25000"
enum { MOST = 25000 };

static const char SELECT_ONE[] =
    "SELECT " LOGGED_MODEL_COLUMNS " FROM tracking_logged_models m WHERE m.id = ? AND m.workspace = ?";

/* The models of a page in its order: what belongs to them comes in that order too. */
#define OF_PAGE                                                                                                            \
  " FROM JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY,"                                                              \
  " id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j JOIN "
static const char TAGS[] = "SELECT j.place, t.name AS `key`, t.value" OF_PAGE
                           "tracking_logged_model_tags t ON t.model_id = j.id ORDER BY j.place, t.name LIMIT 50000";
static const char PARAMETERS[] =
    "SELECT j.place, t.name AS `key`, t.value" OF_PAGE
    "tracking_logged_model_parameters t ON t.model_id = j.id ORDER BY j.place, t.name LIMIT 50000";
#define METRIC_COLUMNS "j.place, t.name AS `key`, t.value, t.step, t.at, t.run_id, t.dataset_name, t.dataset_digest"
#define METRIC_ORDER " ORDER BY j.place, t.name, t.step, t.at, t.run_id, t.scope LIMIT " MOST_METRICS
static const char METRICS[] =
    "SELECT " METRIC_COLUMNS OF_PAGE "tracking_logged_model_metrics t ON t.model_id = j.id" METRIC_ORDER;
static const char LATEST[] =
    "SELECT " METRIC_COLUMNS OF_PAGE "tracking_logged_model_latest t ON t.model_id = j.id AND t.scope = ''" METRIC_ORDER;

purlin_status logged_model_find(purlin_ctx *ctx, const char *id, bool deleted, const char *permission, logged_model *out) {
  purlin_status status = purlin_db_row(ctx, logged_model, out, SELECT_ONE, id, purlin_workspace(ctx));
  if (status == PURLIN_OK && !deleted && out->lifecycle[0] == 'd') status = PURLIN_NOT_FOUND;
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->experiment_id);
  if (status == PURLIN_NOT_FOUND) return purlin_fail(ctx, status, "Logged model with ID '%.64s' not found.", id);
  return status;
}

/* ---- What belongs to models ------------------------------------------------------------------------------------------------------ */

typedef struct placed_pair {
  int64_t place; /* of the model in the page, from 1 */
  const char *key, *value;
} placed_pair;
PURLIN_SCHEMA(placed_pair, "A tag or a parameter of a model of a page",
    PURLIN_REQUIRED(place, "Which model"),
    PURLIN_REQUIRED(key, "The key"),
    PURLIN_REQUIRED(value, "The value"));
typedef struct placed_pairs {
  PURLIN_LIST_OF(placed_pair) rows;
} placed_pairs;

typedef struct placed_metric {
  int64_t place;
  const char *key;
  purlin_opt_double value;
  int64_t step;
  purlin_time at;
  const char *run_id, *dataset_name, *dataset_digest;
} placed_metric;
PURLIN_SCHEMA(placed_metric, "A metric of a model of a page",
    PURLIN_REQUIRED(place, "Which model"),
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_OPTIONAL(value, "The value; none: not a number"),
    PURLIN_REQUIRED(step, "At which step"),
    PURLIN_REQUIRED(at, "When"),
    PURLIN_REQUIRED(run_id, "In which run"),
    PURLIN_OPTIONAL(dataset_name, "On which dataset"),
    PURLIN_OPTIONAL(dataset_digest, "Its digest"));
typedef struct placed_metrics {
  PURLIN_LIST_OF(placed_metric) rows;
} placed_metrics;

static purlin_status read_pairs(purlin_ctx *ctx, const char *statement, const char *ids, placed_pairs *read,
                                logged_model_pair **pairs) {
  purlin_status status = purlin_db_list(ctx, placed_pair, &read->rows, statement, ids);
  if (status != PURLIN_OK) return status;
  *pairs = purlin_alloc_array(ctx, read->rows.count, sizeof **pairs);
  if (!*pairs) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < read->rows.count; i++)
    (*pairs)[i] = (logged_model_pair){read->rows.items[i].key, read->rows.items[i].value};
  return PURLIN_OK;
}

static purlin_status fill_tags(purlin_ctx *ctx, const char *ids, logged_model *models) {
  placed_pairs read = {0};
  logged_model_pair *pairs;
  purlin_status status = read_pairs(ctx, TAGS, ids, &read, &pairs);
  for (size_t i = 0; status == PURLIN_OK && i < read.rows.count; i++) {
    logged_model *of = &models[read.rows.items[i].place - 1];
    if (of->tags.count++ == 0) of->tags.items = &pairs[i];
  }
  return status;
}

static purlin_status fill_parameters(purlin_ctx *ctx, const char *ids, logged_model *models) {
  placed_pairs read = {0};
  logged_model_pair *pairs;
  purlin_status status = read_pairs(ctx, PARAMETERS, ids, &read, &pairs);
  for (size_t i = 0; status == PURLIN_OK && i < read.rows.count; i++) {
    logged_model *of = &models[read.rows.items[i].place - 1];
    if (of->parameters.count++ == 0) of->parameters.items = &pairs[i];
  }
  return status;
}

static purlin_status fill_metrics(purlin_ctx *ctx, const char *ids, logged_model *models) {
  placed_metrics read = {0};
  purlin_status status = purlin_db_list(ctx, placed_metric, &read.rows, METRICS, ids);
  if (status == PURLIN_OK && read.rows.count == MOST) status = purlin_db_list(ctx, placed_metric, &read.rows, LATEST, ids);
  if (status != PURLIN_OK) return status;
  logged_model_metric *metrics = purlin_alloc_array(ctx, read.rows.count, sizeof *metrics);
  if (!metrics) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < read.rows.count; i++) {
    const placed_metric *row = &read.rows.items[i];
    double value = row->value.state == PURLIN_SET ? row->value.value : __builtin_nan("");
    metrics[i] =
        (logged_model_metric){row->key, value, row->step, row->at, row->run_id, row->dataset_name, row->dataset_digest};
    logged_model *of = &models[row->place - 1];
    if (of->metrics.count++ == 0) of->metrics.items = &metrics[i];
  }
  return PURLIN_OK;
}

purlin_status logged_models_fill(purlin_ctx *ctx, logged_model *models, size_t count) {
  if (count == 0) return PURLIN_OK;
  const char **ids = purlin_alloc_array(ctx, count, sizeof *ids);
  if (!ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) ids[i] = models[i].id;
  const char *list = purlin_list_json(ctx, (purlin_texts){ids, count});
  if (!list) return PURLIN_TOO_LARGE;
  purlin_status status = fill_tags(ctx, list, models);
  if (status == PURLIN_OK) status = fill_parameters(ctx, list, models);
  return status == PURLIN_OK ? fill_metrics(ctx, list, models) : status;
}
