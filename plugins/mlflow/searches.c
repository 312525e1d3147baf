#include "entities.h"
#include <string.h>

/* What is asked for in common. */
#define SEARCH_FIELDS                                                                                                      \
  PURLIN_DEFAULT(filter, "\"\"", "A condition"), PURLIN_OPTIONAL(order_by, "What to order by", .max_length = 16),          \
      PURLIN_DEFAULT(max_results, "1000", "At most so many", .min = 1, .max = 50000),                                      \
      PURLIN_DEFAULT(page_token, "\"\"", "What came as next_page_token")

#define VIEWS "ACTIVE_ONLY, DELETED_ONLY, ALL"

static const char *view_of(const char *theirs) {
  return strcmp(theirs, "ALL") == 0 ? "all" : strcmp(theirs, "DELETED_ONLY") == 0 ? "deleted" : "active";
}

/* With commas between; NULL: no memory. */
static const char *joined(purlin_ctx *ctx, purlin_texts orders) {
  const char *all = "";
  for (size_t i = 0; i < orders.count && all; i++)
    all = purlin_format(ctx, "%s%s%s", all, *all ? ", " : "", orders.items[i]);
  return all;
}

/* ---- Experiments ---------------------------------------------------------------------------------------------------------------- */

typedef struct experiments_in {
  const char *filter;
  purlin_texts order_by;
  int64_t max_results;
  const char *page_token, *view_type;
} experiments_in;
PURLIN_SCHEMA(experiments_in, "Which experiments",
    SEARCH_FIELDS,
    PURLIN_DEFAULT(view_type, "\"ACTIVE_ONLY\"", "Whether deleted ones are meant", .choices = VIEWS));

typedef struct experiments_out {
  PURLIN_LIST_OF(mlflow_experiment) experiments;
  const char *next_page_token;
} experiments_out;
PURLIN_SCHEMA(experiments_out, "Experiments",
    PURLIN_LIST(experiments, mlflow_experiment, "The experiments"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

MLFLOW_BINDING(search_experiments, experiments_in, experiments_out,
               "POST /api/2.0/mlflow/experiments/search, GET /api/2.0/mlflow/experiments/search",
               "tracking.search_experiments") {
  const tracking_search_experiments ask = {.condition = in->filter,
                                           .order = joined(ctx, in->order_by),
                                           .page = in->page_token,
                                           .limit = in->max_results,
                                           .view = view_of(in->view_type)};
  tracking_experiment_page found = {0};
  if (!ask.order) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_call(ctx, "tracking.search_experiments", tracking_search_experiments_schema(), &ask,
                                     tracking_experiment_page_schema(), &found);
  if (status != PURLIN_OK) return status;
  out->experiments.items = purlin_alloc_array(ctx, found.experiments.count + 1, sizeof *out->experiments.items);
  if (!out->experiments.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.experiments.count && status == PURLIN_OK; i++)
    status = mlflow_tell_experiment(ctx, &found.experiments.items[i], &out->experiments.items[i]);
  out->experiments.count = found.experiments.count;
  out->next_page_token = *found.next_page ? found.next_page : NULL;
  return status;
}

/* ---- Runs -------------------------------------------------------------------------------------------------------------------------- */

typedef struct runs_in {
  purlin_texts experiment_ids;
  const char *filter;
  purlin_texts order_by;
  int64_t max_results;
  const char *page_token, *run_view_type;
} runs_in;
PURLIN_SCHEMA(runs_in, "Which runs",
    PURLIN_OPTIONAL(experiment_ids, "In which experiments", .max_length = 10000),
    SEARCH_FIELDS,
    PURLIN_DEFAULT(run_view_type, "\"ACTIVE_ONLY\"", "Whether deleted ones are meant", .choices = VIEWS));

typedef struct runs_out {
  PURLIN_LIST_OF(mlflow_run) runs;
  const char *next_page_token;
} runs_out;
PURLIN_SCHEMA(runs_out, "Runs",
    PURLIN_LIST(runs, mlflow_run, "The runs"),
    PURLIN_OPTIONAL(next_page_token, "Asks for the next page"));

MLFLOW_BINDING(search_runs, runs_in, runs_out, "POST /api/2.0/mlflow/runs/search", "tracking.search_runs") {
  static const char *const none[] = {""};
  const tracking_search_runs ask = {.experiment_ids =
                                        in->experiment_ids.items ? in->experiment_ids : (purlin_texts){none, 0},
                                    .condition = in->filter,
                                    .order = joined(ctx, in->order_by),
                                    .page = in->page_token,
                                    .limit = in->max_results,
                                    .view = view_of(in->run_view_type)};
  tracking_run_page found = {0};
  if (!ask.order) return PURLIN_TOO_LARGE;
  purlin_status status =
      purlin_call(ctx, "tracking.search_runs", tracking_search_runs_schema(), &ask, tracking_run_page_schema(), &found);
  if (status != PURLIN_OK) return status;
  out->runs.items = purlin_alloc_array(ctx, found.runs.count + 1, sizeof *out->runs.items);
  if (!out->runs.items) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < found.runs.count && status == PURLIN_OK; i++)
    status = mlflow_tell_run(ctx, &found.runs.items[i], &out->runs.items[i]);
  out->runs.count = found.runs.count;
  out->next_page_token = *found.next_page ? found.next_page : NULL;
  return status;
}
