#include "tracking.h"
#include <purlin/search.h>
#include <stdlib.h>
#include <string.h>

/* ---- What can be asked for ---------------------------------------------------------------------------------------------------------- */

#define OF_DATASET "EXISTS (SELECT 1 FROM tracking_inputs i WHERE i.run_id = r.id AND "

/* Clients of MLflow write a status in capitals. */
static const purlin_search_key run_keys[] = {
    {.names = "run_id, run id, Run id, Run ID", .sql = "r.id", .never_null = true},
    {.names = "run_name, run name, Run name, Run Name", .sql = "r.name", .never_null = true},
    {.names = "status", .sql = "r.status COLLATE utf8mb4_general_ci", .never_null = true},
    {.names = "user_id, user", .sql = "r.user", .never_null = true},
    {.names = "artifact_uri",
     .sql = "COALESCE(r.artifact_uri, CONCAT('mlflow-artifacts:/', r.experiment_id, '/', r.id, '/artifacts'))",
     .never_null = true},
    {.names = "start_time, created, Created", .sql = "r.started_at", .type = PURLIN_SEARCH_TIME, .never_null = true},
    {.names = "end_time", .sql = "r.ended_at", .type = PURLIN_SEARCH_TIME}};
static const purlin_search_key dataset_keys[] = {{.names = "name", .sql = "i.name", .within = OF_DATASET},
                                                 {.names = "digest", .sql = "i.digest", .within = OF_DATASET},
                                                 {.names = "context", .sql = "i.context", .within = OF_DATASET}};
#define WALKED .scope = "experiment_id", .index = "by_value", .leading = "leading_part", .walked = "started_at"
static const purlin_search_entity run_entities[] = {
    {.names = "attribute, attributes, attr, run", .keys = run_keys, .key_count = sizeof run_keys / sizeof run_keys[0]},
    {.names = "metric, metrics",
     .table = "tracking_latest_metrics",
     .owner = "run_id",
     .type = PURLIN_SEARCH_NUMBER,
     .scope = "experiment_id",
     .index = "by_value"},
    {.names = "parameter, parameters, param, params", .table = "tracking_parameters", .owner = "run_id", WALKED},
    {.names = "tag, tags", .table = "tracking_tags", .owner = "run_id", WALKED},
    {.names = "dataset, datasets", .keys = dataset_keys, .key_count = sizeof dataset_keys / sizeof dataset_keys[0]}};
static const purlin_search runs_search = {.entities = run_entities,
                                          .entity_count = sizeof run_entities / sizeof run_entities[0],
                                          .id = "r.id",
                                          .order = "start_time DESC",
                                          .then = "start_time DESC",
                                          .scope = "r.experiment_id",
                                          .id_follows = true,
                                          .walks = "r.started_at"};

static const purlin_search_key experiment_keys[] = {
    {.names = "name", .sql = "e.name", .never_null = true},
    {.names = "experiment_id", .sql = "e.id", .never_null = true},
    {.names = "creation_time, created", .sql = "e.created_at", .type = PURLIN_SEARCH_TIME, .never_null = true},
    {.names = "last_update_time, updated", .sql = "e.updated_at", .type = PURLIN_SEARCH_TIME, .never_null = true}};
static const purlin_search_entity experiment_entities[] = {
    {.names = "attribute, attributes, attr",
     .keys = experiment_keys,
     .key_count = sizeof experiment_keys / sizeof experiment_keys[0]},
    {.names = "tag, tags", .table = "tracking_experiment_tags", .owner = "experiment_id"}};
static const purlin_search experiments_search = {.entities = experiment_entities,
                                                 .entity_count = sizeof experiment_entities / sizeof experiment_entities[0],
                                                 .id = "e.id",
                                                 .order = "creation_time DESC"};

static bool is_all(const char *view) { return view && strcmp(view, "all") == 0; }
static const char *lifecycle_of(const char *view) { return view ? view : "active"; }

/* ---- Experiments ---------------------------------------------------------------------------------------------------------------------- */

#define VISIBLE_EXPERIMENTS "e.workspace = ? AND " PURLIN_VISIBLE("e.project", "e.id")

PURLIN_OPERATION(search_experiments, tracking_search_experiments, tracking_experiment_page,
    .summary = "Experiments that fit a condition", .permission = "runs:read", .by_project = true, .http = "POST /api/v1/experiments/search") {
  const purlin_search_asked asked = {.condition = in->condition, .order = in->order, .page = in->page, .limit = in->limit};
  purlin_status status =
      is_all(in->view)
          ? purlin_db_search(ctx, tracking_experiment, &out->experiments, &out->next_page, &experiments_search, &asked,
                             EXPERIMENT_COLUMNS, "tracking_experiments e", VISIBLE_EXPERIMENTS, purlin_workspace(ctx),
                             PURLIN_VISIBLE_TO(ctx, "runs:read"))
          : purlin_db_search(ctx, tracking_experiment, &out->experiments, &out->next_page, &experiments_search, &asked,
                             EXPERIMENT_COLUMNS, "tracking_experiments e", VISIBLE_EXPERIMENTS " AND e.lifecycle = ?",
                             purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "runs:read"), lifecycle_of(in->view));
  return status == PURLIN_OK ? experiments_load(ctx, out->experiments.items, out->experiments.count) : status;
}

/* ---- Runs ------------------------------------------------------------------------------------------------------------------------------ */

/* "0" is the workspace's Default. */
static const char SELECT_SEEN[] =
    "SELECT e.id, e.name FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PATH"
    " '$')) j STRAIGHT_JOIN tracking_experiments e ON e.id = j.id WHERE " VISIBLE_EXPERIMENTS
    " UNION SELECT e.id, e.name FROM tracking_experiments e WHERE ? AND e.name = 'Default' AND " VISIBLE_EXPERIMENTS
    " ORDER BY id";

typedef struct seen_experiment {
  const char *id, *name;
} seen_experiment;
PURLIN_SCHEMA(seen_experiment, "An experiment whose runs may be seen",
    PURLIN_REQUIRED(id, "its id"),
    PURLIN_REQUIRED(name, "its name"));
typedef PURLIN_LIST_OF(seen_experiment) seen_experiments;

static purlin_status see(purlin_ctx *ctx, purlin_texts ids, seen_experiments *out) {
  bool wants_default = false;
  for (size_t i = 0; i < ids.count; i++)
    if (strcmp(ids.items[i], "0") == 0) wants_default = strcmp(purlin_workspace(ctx), "default") != 0;
  const char *list = purlin_list_json(ctx, ids);
  if (!list) return PURLIN_TOO_LARGE;
  return purlin_db_list(ctx, seen_experiment, out, SELECT_SEEN, list, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "runs:read"), wants_default, purlin_workspace(ctx),
                        PURLIN_VISIBLE_TO(ctx, "runs:read"));
}

static int by_id(const void *a, const void *b) {
  return strcmp(((const seen_experiment *)a)->id, ((const seen_experiment *)b)->id);
}

static void name_experiments(tracking_run *runs, size_t count, const seen_experiments *seen) {
  for (size_t i = 0; i < count; i++) {
    const seen_experiment wanted = {.id = runs[i].experiment_id};
    const seen_experiment *of = bsearch(&wanted, seen->items, seen->count, sizeof *seen->items, by_id);
    if (of) runs[i].experiment = of->name;
  }
}

/* However many are asked for: a page may have fewer, and says where the next one begins. */
enum { MOST_OF_PAGE = 20000 };

PURLIN_OPERATION(search_runs, tracking_search_runs, tracking_run_page,
    .summary = "Runs that fit a condition, with what was logged in them", .permission = "runs:read", .by_project = true, .http = "POST /api/v1/runs/search") {
  seen_experiments seen = {0};
  purlin_status status = see(ctx, in->experiment_ids, &seen);
  if (status != PURLIN_OK) return status;
  const char **scopes = purlin_alloc_array(ctx, seen.count + 1, sizeof *scopes);
  if (!scopes) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < seen.count; i++) scopes[i] = seen.items[i].id;
  purlin_search search = runs_search;
  search.scopes = (purlin_texts){scopes, seen.count};
  const purlin_search_asked asked = {.condition = in->condition,
                                     .order = in->order,
                                     .page = in->page,
                                     .limit = in->limit < MOST_OF_PAGE ? in->limit : MOST_OF_PAGE};
  const char *columns = RUN_COLUMNS ", '' AS experiment";
  status = is_all(in->view) ? purlin_db_search(ctx, tracking_run, &out->runs, &out->next_page, &search, &asked, columns,
                                               "tracking_runs r", "TRUE")
                            : purlin_db_search(ctx, tracking_run, &out->runs, &out->next_page, &search, &asked, columns,
                                               "tracking_runs r", "r.lifecycle = ?", lifecycle_of(in->view));
  if (status != PURLIN_OK) return status;
  size_t told = out->runs.count;
  name_experiments(out->runs.items, told, &seen);
  status = runs_load_page(ctx, out->runs.items, &told);
  if (status != PURLIN_OK || told == out->runs.count) return status;
  out->runs.count = told;
  return purlin_db_search_after(ctx, &out->next_page, &search, &asked, "tracking_runs r", out->runs.items[told - 1].id);
}
