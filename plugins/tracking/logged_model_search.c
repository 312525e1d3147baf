#include "logged_models.h"
#include "tracking.h"
#include <string.h>

enum { ATTRIBUTES, METRICS, PARAMETERS, TAGS, FIXED, MOST_ORDERS = 15 };

static const purlin_search_key keys[] = {
    {.names = "name", .sql = "m.name"},
    {.names = "model_id, id", .sql = "m.id", .never_null = true},
    {.names = "model_type", .sql = "COALESCE(m.model_type, '')", .never_null = true}, /* clients know no NULL there */
    {.names = "status", .sql = "m.status"},
    {.names = "source_run_id", .sql = "COALESCE(m.source_run_id, '')", .never_null = true},
    {.names = "experiment_id", .sql = "m.experiment_id", .never_null = true},
    {.names = "creation_timestamp, creation_time, creation_timestamp_ms, created_at",
     .sql = "m.created_at",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true},
    {.names = "last_updated_timestamp, last_updated_time, last_updated_timestamp_ms, updated_at",
     .sql = "m.updated_at",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true}};

/* In the order of their lives, not of the alphabet. */
static const purlin_search_key by_status = {.names = "status",
                                            .sql = "FIELD(m.status, 'pending', 'ready', 'failed')",
                                            .type = PURLIN_SEARCH_NUMBER,
                                            .never_null = true};

/* Datasets, as JSON; a digest that is empty is any. */
#define OF_DATASETS                                                                                                        \
  " EXISTS (SELECT 1 FROM JSON_TABLE(?, '$.datasets[*]' COLUMNS ("                                                         \
  "name VARCHAR(500) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$.name',"                                       \
  " digest VARCHAR(36) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin PATH '$.digest')) d"                                \
  " WHERE d.name = v.dataset_name AND (d.digest = '' OR d.digest = v.dataset_digest))"
#define METRICS_ON_DATASETS "(SELECT v.model_id, v.name, v.value FROM tracking_logged_model_metrics v WHERE" OF_DATASETS ")"
#define LATEST "(SELECT l.model_id, l.name, l.value FROM tracking_logged_model_latest l WHERE l.scope = ?)"

/* A search of its own for each question: what is ordered by may be of a dataset. */
typedef struct question {
  purlin_search search;
  purlin_search_entity entities[FIXED + MOST_ORDERS];
  purlin_value datasets, scopes[MOST_ORDERS];
  const char *order;
} question;

static void begin(question *q) {
  q->entities[ATTRIBUTES] = (purlin_search_entity){
      .names = "attribute, attributes, attr, model", .keys = keys, .key_count = sizeof keys / sizeof keys[0]};
  q->entities[METRICS] = (purlin_search_entity){.names = "metric, metrics",
                                                .table = "tracking_logged_model_metrics",
                                                .owner = "model_id",
                                                .type = PURLIN_SEARCH_NUMBER};
  q->entities[PARAMETERS] = (purlin_search_entity){
      .names = "param, params, parameter, parameters", .table = "tracking_logged_model_parameters", .owner = "model_id"};
  q->entities[TAGS] =
      (purlin_search_entity){.names = "tag, tags", .table = "tracking_logged_model_tags", .owner = "model_id"};
  q->search =
      (purlin_search){.entities = q->entities, .entity_count = FIXED, .id = "m.id", .order = "creation_timestamp DESC"};
}

/* ---- Orders ------------------------------------------------------------------------------------------------------------------------ */

static purlin_status add_metric(purlin_ctx *ctx, question *q, const logged_model_order *by, size_t index,
                                const char **word) {
  const char *name = by->key + strlen("metrics.");
  char *scope = purlin_alloc(ctx, MODEL_SCOPE_SIZE), *quoted = purlin_alloc(ctx, 2 * strlen(name) + 1), *to = quoted;
  if (!scope || !quoted) return PURLIN_TOO_LARGE;
  for (const char *at = name; *at; at++) {
    *to++ = *at;
    if (*at == '`') *to++ = '`';
  }
  *to = '\0';
  model_scope(ctx, by->dataset_name, by->dataset_digest, scope);
  q->scopes[index] = purlin_value_text(scope);
  const char *entity = purlin_format(ctx, "order%zu", index);
  *word = purlin_format(ctx, "order%zu.`%s`", index, quoted);
  q->entities[q->search.entity_count++] = (purlin_search_entity){.names = entity,
                                                                 .table = LATEST,
                                                                 .owner = "model_id",
                                                                 .type = PURLIN_SEARCH_NUMBER,
                                                                 .values = &q->scopes[index],
                                                                 .value_count = 1};
  return entity && *word ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status add_status(purlin_ctx *ctx, question *q, size_t index, const char **word) {
  const char *entity = purlin_format(ctx, "order%zu", index);
  *word = purlin_format(ctx, "order%zu.status", index);
  q->entities[q->search.entity_count++] = (purlin_search_entity){.names = entity, .keys = &by_status, .key_count = 1};
  return entity && *word ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status add_order(purlin_ctx *ctx, question *q, const logged_model_order *by, size_t index) {
  const char *word = by->key;
  if (*by->dataset_digest && !*by->dataset_name)
    return purlin_fail(ctx, PURLIN_INVALID, "`dataset_digest` can only be specified if `dataset_name` is also specified.");
  if (strncmp(by->key, "metrics.", strlen("metrics.")) == 0) {
    purlin_status status = add_metric(ctx, q, by, index, &word);
    if (status != PURLIN_OK) return status;
  } else if (strcmp(by->key, "status") == 0) {
    if (add_status(ctx, q, index, &word) != PURLIN_OK) return PURLIN_TOO_LARGE;
  } else if (strchr(by->key, '.')) {
    return purlin_fail(ctx, PURLIN_INVALID, "Invalid order by field name: %.300s. Only metrics are supported.", by->key);
  } else if (by->key[strspn(by->key, "abcdefghijklmnopqrstuvwxyz_")] != '\0') {
    return purlin_fail(ctx, PURLIN_INVALID, "Invalid order by field name: %.300s", by->key);
  }
  q->order = purlin_format(ctx, "%s%s%s%s", q->order, *q->order ? ", " : "", word, by->ascending ? "" : " DESC");
  return q->order ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static purlin_status read_order(purlin_ctx *ctx, const logged_model_search *in, question *q) {
  bool by_time = false;
  q->order = "";
  for (size_t i = 0; i < in->order.count; i++) {
    purlin_status status = add_order(ctx, q, &in->order.items[i], i);
    if (status != PURLIN_OK) return status;
    by_time = by_time || strncmp(in->order.items[i].key, "creation_time", strlen("creation_time")) == 0;
  }
  if (by_time || !*q->order) return PURLIN_OK;
  q->order = purlin_format(ctx, "%s, creation_timestamp DESC", q->order);
  return q->order ? PURLIN_OK : PURLIN_TOO_LARGE;
}

/* ---- Where ---------------------------------------------------------------------------------------------------------------------------- */

typedef struct asked_datasets {
  PURLIN_LIST_OF(logged_model_dataset) datasets;
} asked_datasets;
PURLIN_SCHEMA(asked_datasets, "Datasets", PURLIN_LIST(datasets, logged_model_dataset, "The datasets"));

static purlin_status read_datasets(purlin_ctx *ctx, const logged_model_search *in, question *q) {
  asked_datasets asked = {0};
  purlin_json json = {"{\"datasets\":[]}", 0};
  asked.datasets.items = in->datasets.items;
  asked.datasets.count = in->datasets.count;
  purlin_status status = in->datasets.count ? purlin_encode(ctx, asked_datasets_schema(), &asked, &json) : PURLIN_OK;
  if (status != PURLIN_OK) return status;
  q->datasets = purlin_value_text(json.text);
  if (in->datasets.count == 0) return PURLIN_OK;
  q->entities[METRICS].table = METRICS_ON_DATASETS;
  q->entities[METRICS].values = &q->datasets;
  q->entities[METRICS].value_count = 1;
  return PURLIN_OK;
}

/* The id "0" is that of the workspace's experiment named Default. */
static purlin_status read_experiments(purlin_ctx *ctx, purlin_texts asked, const char **list) {
  const char **ids = purlin_alloc_array(ctx, asked.count, sizeof *ids);
  if (!ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < asked.count; i++) {
    tracking_experiment home = {0};
    ids[i] = asked.items[i];
    if (strcmp(ids[i], "0") != 0) continue;
    purlin_status status = experiment_find(ctx, NULL, "0", "runs:read", &home);
    if (status == PURLIN_OK) ids[i] = home.id;
    else if (status != PURLIN_NOT_FOUND) return status;
    else purlin_clear_failure(ctx);
  }
  *list = asked.count == 1 ? ids[0] : purlin_list_json(ctx, (purlin_texts){ids, asked.count});
  return *list ? PURLIN_OK : PURLIN_TOO_LARGE;
}

#define SEEN "m.workspace = ? AND m.lifecycle = 'active' AND " PURLIN_VISIBLE("m.project", "m.experiment_id")
#define MEASURED                                                                                                           \
  " AND (? = 0 OR EXISTS (SELECT 1 FROM tracking_logged_model_metrics v WHERE v.model_id = m.id AND" OF_DATASETS "))"
static const char OF_ALL[] = SEEN MEASURED " AND ? IS NOT NULL";
static const char OF_ONE[] = SEEN MEASURED " AND m.experiment_id = ?";
static const char OF_SOME[] = SEEN MEASURED " AND m.experiment_id IN (SELECT j.id FROM JSON_TABLE(?, '$[*]' COLUMNS"
                                            " (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j)";

PURLIN_OPERATION(search_logged_models, logged_model_search, logged_model_page,
    .summary = "Logged models that fit a condition", .permission = "runs:read", .by_project = true, .http = "POST /api/v1/logged-models/search") {
  const char *experiments = "", *where = OF_ALL;
  question *q = purlin_alloc(ctx, sizeof *q);
  if (!q) return PURLIN_TOO_LARGE;
  begin(q);
  purlin_status status = read_order(ctx, in, q);
  if (status == PURLIN_OK) status = read_datasets(ctx, in, q);
  if (status == PURLIN_OK && in->experiment_ids.items) {
    where = in->experiment_ids.count == 1 ? OF_ONE : OF_SOME;
    status = read_experiments(ctx, in->experiment_ids, &experiments);
  }
  if (status != PURLIN_OK) return status;
  purlin_search_asked asked = {in->condition, q->order, in->page, in->limit};
  status = purlin_db_search(ctx, logged_model, &out->models, &out->next_page, &q->search, &asked, LOGGED_MODEL_COLUMNS,
                            "tracking_logged_models m", where, purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "runs:read"),
                            (int64_t)in->datasets.count, q->datasets, experiments);
  if (status != PURLIN_OK) return status;
  if (!*out->next_page) out->next_page = NULL;
  return logged_models_fill(ctx, out->models.items, out->models.count);
}
