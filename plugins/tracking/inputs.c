#include "tracking.h"
#include <string.h>

/* A dataset's id follows from what it is, so that nothing is looked for: rows that are there already stay as they are. */
static const char INSERT_DATASET[] =
    "INSERT INTO tracking_datasets (id, workspace, project, experiment_id, name, digest, source_type, source, `schema`,"
    " profile) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE id = id";
static const char INSERT_INPUT[] =
    "INSERT INTO tracking_inputs (workspace, project, experiment_id, run_id, dataset_id, name, digest, context)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE run_id = run_id";
static const char INSERT_TAG[] = "INSERT INTO tracking_input_tags (workspace, project, run_id, dataset_id, name, value)"
                                 " VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE run_id = run_id";
static const char INSERT_LINK[] = "INSERT INTO tracking_model_links (workspace, project, run_id, kind, model_id, step)"
                                  " VALUES (?, ?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE run_id = run_id";
/* "0" is the workspace's Default, whose id is another one elsewhere. */
static const char SELECT_DATASETS[] =
    "SELECT DISTINCT i.experiment_id, i.name, i.digest, i.context FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64)"
    " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH '$')) j JOIN tracking_experiments e ON e.id = j.id OR (j.id = '0' AND"
    " e.name = 'Default') JOIN tracking_inputs i ON i.experiment_id = e.id WHERE e.workspace = ? AND " PURLIN_VISIBLE(
        "e.project", "e.id") " ORDER BY i.experiment_id, i.name, i.digest, i.context LIMIT 1000";

#define CONTEXT_TAG "mlflow.data.context"
enum { MOST_NAME = 500, MOST_DIGEST = 36, MOST_TYPE = 36, MOST_TAG_KEY = 255, MOST_TAG = 500 };

/* ---- Rows --------------------------------------------------------------------------------------------------------------------------- */

typedef struct dataset_row {
  const char *id, *workspace, *project, *experiment_id, *name, *digest, *source_type, *source, *schema, *profile;
} dataset_row;
PURLIN_SCHEMA(dataset_row, "A row of tracking_datasets",
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(experiment_id, "experiment"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(digest, "digest"),
    PURLIN_REQUIRED(source_type, "type of the source"),
    PURLIN_REQUIRED(source, "source"),
    PURLIN_OPTIONAL(schema, "columns"),
    PURLIN_OPTIONAL(profile, "what is known of the content"));
typedef struct input_row {
  const char *workspace, *project, *experiment_id, *run_id, *dataset_id, *name, *digest, *context;
} input_row;
PURLIN_SCHEMA(input_row, "A row of tracking_inputs",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(experiment_id, "experiment"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(dataset_id, "dataset"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(digest, "digest"),
    PURLIN_OPTIONAL(context, "what for"));
typedef struct tag_row {
  const char *workspace, *project, *run_id, *dataset_id, *name, *value;
} tag_row;
PURLIN_SCHEMA(tag_row, "A row of tracking_input_tags",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(dataset_id, "dataset"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(value, "value"));
typedef struct link_row {
  const char *workspace, *project, *run_id, *kind, *model_id;
  int64_t step;
} link_row;
PURLIN_SCHEMA(link_row, "A row of tracking_model_links",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(run_id, "run"),
    PURLIN_REQUIRED(kind, "input or output"),
    PURLIN_REQUIRED(model_id, "model"),
    PURLIN_REQUIRED(step, "step"));

/* ---- Datasets ------------------------------------------------------------------------------------------------------------------------ */

static purlin_status check_dataset(purlin_ctx *ctx, const tracking_dataset_input *d) {
  purlin_status status = text_fits(ctx, "name", d->name, MOST_NAME);
  if (status == PURLIN_OK) status = text_fits(ctx, "digest", d->digest, MOST_DIGEST);
  if (status == PURLIN_OK) status = text_fits(ctx, "source_type", d->source_type, MOST_TYPE);
  for (size_t i = 0; i < d->tags.count && status == PURLIN_OK; i++) {
    status = text_fits(ctx, "key", d->tags.items[i].key, MOST_TAG_KEY);
    if (status == PURLIN_OK) status = text_fits(ctx, "value", d->tags.items[i].value, MOST_TAG);
  }
  return status;
}

static const char *context_of(const tracking_dataset_input *d) {
  for (size_t i = 0; i < d->tags.count; i++)
    if (strcmp(d->tags.items[i].key, CONTEXT_TAG) == 0) return d->tags.items[i].value;
  return NULL;
}

/* NULL: no memory. */
static const char *dataset_id(purlin_ctx *ctx, const run_place *of, const tracking_dataset_input *d) {
  char digits[65];
  const char *all = purlin_format(ctx, "%s\n%s\n%s", of->experiment_id, d->digest, d->name);
  if (!all) return NULL;
  purlin_sha256(all, strlen(all), digits);
  return purlin_format(ctx, "dat_%.40s", digits);
}

static purlin_status write_tags(purlin_ctx *ctx, const run_place *of, const tracking_log_inputs *in,
                                const dataset_row *datasets, size_t count) {
  size_t filled = 0;
  tag_row *rows = purlin_alloc_array(ctx, count + 1, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->datasets.count; i++)
    for (size_t k = 0; k < in->datasets.items[i].tags.count; k++) {
      const tracking_pair *tag = &in->datasets.items[i].tags.items[k];
      rows[filled++] = (tag_row){purlin_workspace(ctx), of->project, in->run_id, datasets[i].id, tag->key, tag->value};
    }
  return purlin_db_bulk(ctx, tag_row, rows, filled, INSERT_TAG);
}

static purlin_status write_datasets(purlin_ctx *ctx, const run_place *of, const tracking_log_inputs *in) {
  size_t count = in->datasets.count, tags = 0;
  if (count == 0) return PURLIN_OK;
  dataset_row *datasets = purlin_alloc_array(ctx, count, sizeof *datasets);
  input_row *inputs = purlin_alloc_array(ctx, count, sizeof *inputs);
  const char *workspace = purlin_workspace(ctx), *experiment = of->experiment_id;
  if (!datasets || !inputs) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    const tracking_dataset_input *d = &in->datasets.items[i];
    purlin_status status = check_dataset(ctx, d);
    const char *id = dataset_id(ctx, of, d);
    if (status != PURLIN_OK || !id) return status != PURLIN_OK ? status : PURLIN_TOO_LARGE;
    datasets[i] = (dataset_row){id,
                                workspace,
                                of->project,
                                experiment,
                                d->name,
                                d->digest,
                                d->source_type ? d->source_type : "",
                                d->source ? d->source : "",
                                d->schema,
                                d->profile};
    inputs[i] = (input_row){workspace, of->project, experiment, in->run_id, id, d->name, d->digest, context_of(d)};
    tags += d->tags.count;
  }
  purlin_status status = purlin_db_bulk(ctx, dataset_row, datasets, count, INSERT_DATASET);
  if (status == PURLIN_OK) status = purlin_db_bulk(ctx, input_row, inputs, count, INSERT_INPUT);
  return status == PURLIN_OK ? write_tags(ctx, of, in, datasets, tags) : status;
}

/* ---- Logged models --------------------------------------------------------------------------------------------------------------------- */

static purlin_status write_links(purlin_ctx *ctx, const run_place *of, const char *run_id, const char *kind,
                                 const tracking_model_link *models, size_t count) {
  link_row *rows = purlin_alloc_array(ctx, count + 1, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++)
    rows[i] = (link_row){purlin_workspace(ctx), of->project, run_id, kind, models[i].model_id, models[i].step};
  return purlin_db_bulk(ctx, link_row, rows, count, INSERT_LINK);
}

PURLIN_OPERATION(log_inputs, tracking_log_inputs, purlin_nothing,
    .summary = "Note what a run read: datasets and logged models", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/inputs", .unaudited = "what a run read; its creation and its end are entries") {
  run_place of;
  purlin_status status = run_writable(ctx, in->run_id, &of);
  if (status == PURLIN_OK) status = write_datasets(ctx, &of, in);
  return status == PURLIN_OK ? write_links(ctx, &of, in->run_id, "input", in->models.items, in->models.count) : status;
}

PURLIN_OPERATION(log_outputs, tracking_log_outputs, purlin_nothing,
    .summary = "Note what a run made: logged models", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/runs/{run_id}/outputs", .unaudited = "what a run made; its creation and its end are entries") {
  run_place of;
  purlin_status status = run_writable(ctx, in->run_id, &of);
  return status == PURLIN_OK ? write_links(ctx, &of, in->run_id, "output", in->models.items, in->models.count) : status;
}

PURLIN_OPERATION(search_datasets, tracking_search_datasets, tracking_datasets,
    .summary = "The datasets that runs of experiments read", .permission = "runs:read", .by_project = true, .http = "POST /api/v1/experiments/datasets") {
  const char *ids = purlin_list_json(ctx, in->experiment_ids);
  if (!ids) return PURLIN_TOO_LARGE;
  return purlin_db_list(ctx, tracking_dataset_summary, &out->datasets, SELECT_DATASETS, ids, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "runs:read"));
}
