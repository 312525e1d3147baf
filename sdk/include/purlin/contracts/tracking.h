/* tracking.h: what the operations of the plugin `tracking` take and give, for those that call them from C.
 *
 *   tracking_which_experiment which = {.id = "0"};
 *   tracking_experiment found = {0};
 *   status = purlin_call(ctx, "tracking.get_experiment", tracking_which_experiment_schema(), &which,
 *                        tracking_experiment_schema(), &found);
 *
 * Who includes this and says PURLIN_NEEDS_PLUGIN(tracking, "tracking") passes structs as they are: nothing is encoded on the way. What
 * each operation does, and which permission it wants, stands where it is declared, in plugins/tracking.
 *
 * Since 0.2. */
#ifndef PURLIN_CONTRACTS_TRACKING_H
#define PURLIN_CONTRACTS_TRACKING_H

#include <purlin/operation.h>

PURLIN_BEGIN

/* ---- Words that several share --------------------------------------------------------------------------------------------- */

/* A parameter, or a tag. Lengths are bytes; how many characters fit the columns say. */
typedef struct tracking_pair {
  const char *key, *value;
} tracking_pair;
PURLIN_SCHEMA(tracking_pair, "A key and its value",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .max_length = 32000));

/* A condition, an order and a page, as <purlin/search.h> understands them. */
#define TRACKING_PAGE_FIELDS(most)                                                                                         \
  PURLIN_DEFAULT(condition, "\"\"", "Which, such as metrics.accuracy > 0.9 AND tags.stage = 'test'; all without it"),      \
      PURLIN_DEFAULT(order, "\"\"", "Keys with commas between, such as metrics.accuracy DESC"),                            \
      PURLIN_DEFAULT(page, "\"\"", "What came as next_page with the page before"),                                         \
      PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = most)

/* Deleted objects stay, out of sight, until they are purged. */
#define TRACKING_LIFECYCLES "active, deleted"

/* ---- Experiments ------------------------------------------------------------------------------------------------------------- */

typedef struct tracking_experiment {
  const char *id, *project, *name;
  purlin_opt_text description;
  const char *artifact_location, *lifecycle;
  purlin_time created_at, updated_at;
  const char *created_by;
  PURLIN_LIST_OF(tracking_pair) tags;
} tracking_experiment;
PURLIN_SCHEMA(tracking_experiment, "An experiment: runs that belong together",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_OPTIONAL(description, "What is tried"),
    PURLIN_REQUIRED(artifact_location, "Below which URI its runs keep their files"),
    PURLIN_REQUIRED(lifecycle, "Whether it was deleted", .choices = TRACKING_LIFECYCLES),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(updated_at, "When it, or the list of its tags, changed last"),
    PURLIN_REQUIRED(created_by, "By whom"),
    PURLIN_LIST(tags, tracking_pair, "Its tags"));

/* By name or by id; the id wins. The id "0" is that of the workspace's experiment named Default. */
typedef struct tracking_which_experiment {
  const char *name, *id;
} tracking_which_experiment;
PURLIN_SCHEMA(tracking_which_experiment, "Which experiment",
    PURLIN_DEFAULT(name, "\"\"", "Its name, or", .max_length = 2000),
    PURLIN_DEFAULT(id, "\"\"", "its id", .max_length = 64));

/* tracking.create_experiment: the experiment. Also POST /api/2.0/mlflow/experiments/create. */
typedef struct tracking_create_experiment {
  const char *name;
  purlin_opt_text description;
  const char *artifact_location;
  PURLIN_LIST_OF(tracking_pair) tags;
} tracking_create_experiment;
PURLIN_SCHEMA(tracking_create_experiment, "An experiment to begin",
    PURLIN_REQUIRED(name, "Unique in the workspace, at most 500 characters", .min_length = 1, .max_length = 2000),
    PURLIN_OPTIONAL(description, "What is tried", .max_length = 5000),
    PURLIN_DEFAULT(artifact_location, "\"\"", "Where clients keep the files of its runs, such as s3://bucket/folder; here without it", .max_length = 2048),
    PURLIN_LIST(tags, tracking_pair, "Its tags", .max_length = 100));

/* tracking.update_experiment: the experiment as it is now. */
typedef struct tracking_update_experiment {
  const char *name, *id, *new_name;
} tracking_update_experiment;
PURLIN_SCHEMA(tracking_update_experiment, "What an experiment is called",
    PURLIN_DEFAULT(name, "\"\"", "Its name, or", .max_length = 2000),
    PURLIN_DEFAULT(id, "\"\"", "its id", .max_length = 64),
    PURLIN_REQUIRED(new_name, "Its new name", .min_length = 1, .max_length = 2000));

/* tracking.set_experiment_tag and tracking.delete_experiment_tag: nothing. A value of NULL is the empty text. */
typedef struct tracking_experiment_tag {
  const char *name, *id, *key, *value;
} tracking_experiment_tag;
PURLIN_SCHEMA(tracking_experiment_tag, "A tag of an experiment",
    PURLIN_DEFAULT(name, "\"\"", "The experiment's name, or", .max_length = 2000),
    PURLIN_DEFAULT(id, "\"\"", "its id", .max_length = 64),
    PURLIN_REQUIRED(key, "The key, at most 250 characters", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "The value, at most 20,000 characters", .max_length = 60000));

/* ---- Runs -------------------------------------------------------------------------------------------------------------------- */

typedef struct tracking_metric {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
} tracking_metric;
PURLIN_SCHEMA(tracking_metric, "A measured value",
    PURLIN_REQUIRED(key, "What was measured", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(step, "At which step"),
    PURLIN_REQUIRED(at, "When"));

/* What a run read. The source says where it is, in the words of its type. */
typedef struct tracking_dataset_input {
  const char *name, *digest, *source_type, *source, *schema, *profile;
  PURLIN_LIST_OF(tracking_pair) tags;
} tracking_dataset_input;
PURLIN_SCHEMA(tracking_dataset_input, "A dataset that a run read",
    PURLIN_REQUIRED(name, "Its name, at most 500 characters", .min_length = 1, .max_length = 2000),
    PURLIN_REQUIRED(digest, "Which content, at most 36 characters", .min_length = 1, .max_length = 144),
    PURLIN_DEFAULT(source_type, "\"\"", "What kind of source", .max_length = 144),
    PURLIN_DEFAULT(source, "\"\"", "Where it is", .max_length = 65535),
    PURLIN_OPTIONAL(schema, "Its columns", .max_length = 1048575),
    PURLIN_OPTIONAL(profile, "What is known of its content", .max_length = 16777215),
    PURLIN_LIST(tags, tracking_pair, "What it was read for", .max_length = 100));

/* A logged model that a run used or made. */
typedef struct tracking_model_link {
  const char *model_id;
  int64_t step;
} tracking_model_link;
PURLIN_SCHEMA(tracking_model_link, "A logged model",
    PURLIN_REQUIRED(model_id, "Its id", .min_length = 1, .max_length = 64),
    PURLIN_DEFAULT(step, "0", "At which step"));

#define TRACKING_STATUSES "running, scheduled, finished, failed, killed"

typedef struct tracking_run {
  const char *id, *experiment_id, *experiment, *project, *name, *status, *user, *artifact_uri, *lifecycle;
  purlin_time created_at, started_at, ended_at;
  const char *created_by;
  PURLIN_LIST_OF(tracking_metric) metrics;
  PURLIN_LIST_OF(tracking_pair) parameters;
  PURLIN_LIST_OF(tracking_pair) tags;
  PURLIN_LIST_OF(tracking_dataset_input) datasets;
  PURLIN_LIST_OF(tracking_model_link) model_inputs;
  PURLIN_LIST_OF(tracking_model_link) model_outputs;
} tracking_run;
PURLIN_SCHEMA(tracking_run, "A run of an experiment",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(experiment_id, "The id of the experiment"),
    PURLIN_REQUIRED(experiment, "The name of the experiment"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(status, "Where it stands", .choices = TRACKING_STATUSES),
    PURLIN_REQUIRED(user, "Whose it is, as the client says"),
    PURLIN_REQUIRED(artifact_uri, "Where its files are"),
    PURLIN_REQUIRED(lifecycle, "Whether it was deleted", .choices = TRACKING_LIFECYCLES),
    PURLIN_REQUIRED(created_at, "When it was made"),
    PURLIN_REQUIRED(started_at, "When it began, as the client says"),
    PURLIN_OPTIONAL(ended_at, "When it ended"),
    PURLIN_REQUIRED(created_by, "By whom it was made"),
    PURLIN_LIST(metrics, tracking_metric, "The latest value of each metric"),
    PURLIN_LIST(parameters, tracking_pair, "Its parameters"),
    PURLIN_LIST(tags, tracking_pair, "Its tags"),
    PURLIN_LIST(datasets, tracking_dataset_input, "The datasets that it read"),
    PURLIN_LIST(model_inputs, tracking_model_link, "The logged models that it used"),
    PURLIN_LIST(model_outputs, tracking_model_link, "The logged models that it made"));

/* tracking.get_run, tracking.delete_run and tracking.restore_run: the run. */
typedef struct tracking_which_run {
  const char *run_id;
} tracking_which_run;
PURLIN_SCHEMA(tracking_which_run, "Which run", PURLIN_REQUIRED(run_id, "Its id", .min_length = 1, .max_length = 64));

/* tracking.create_run: the run. The experiment by name or by id, as in tracking_which_experiment. A run's name is also its tag
 * mlflow.runName: either may be given, and each changes with the other. */
typedef struct tracking_create_run {
  const char *experiment, *experiment_id, *name, *user;
  purlin_time started_at;
  PURLIN_LIST_OF(tracking_pair) tags;
  const char *id;
} tracking_create_run;
PURLIN_SCHEMA(tracking_create_run, "A run to begin",
    PURLIN_DEFAULT(experiment, "\"\"", "The name of the experiment, or", .max_length = 2000),
    PURLIN_DEFAULT(experiment_id, "\"\"", "its id", .max_length = 64),
    PURLIN_DEFAULT(name, "\"\"", "A name for people, at most 250 characters; a random one without it", .max_length = 1000),
    PURLIN_DEFAULT(user, "\"\"", "Whose it is; who calls, without it", .max_length = 256),
    PURLIN_OPTIONAL(started_at, "When it began; now, if it is left out"),
    PURLIN_LIST(tags, tracking_pair, "Its tags", .max_length = 1000),
    PURLIN_DEFAULT(id, "\"\"", "The id that it had on another server; a new one without it", .pattern = "([0-9a-f]{32})?"));

/* tracking.update_run: the run, without what was logged in it. What is left out stays. */
typedef struct tracking_update_run {
  const char *run_id, *name, *status;
  purlin_time ended_at;
} tracking_update_run;
PURLIN_SCHEMA(tracking_update_run, "What changes of a run",
    PURLIN_REQUIRED(run_id, "The run", .min_length = 1, .max_length = 64),
    PURLIN_OPTIONAL(name, "Its name", .max_length = 1000),
    PURLIN_OPTIONAL(status, "Where it stands", .choices = TRACKING_STATUSES),
    PURLIN_OPTIONAL(ended_at, "When it ended; now, when it has ended and nothing is said"));

/* ---- Gone for good ----------------------------------------------------------------------------------------------------------- */

#define PURLIN_CONTRACT_run_holder 1u

/* The capability run_holder: whose runs and logged models stay, though somebody deleted them. The table has a column `workspace` too, and
 * an index that begins with both; NULL names nothing.
 *
 *   static const purlin_run_holder holder = {.size = sizeof holder, .columns = "registry_versions.files_of"};
 *   PURLIN_PROVIDES(run_holder, "registry", holder); */
typedef struct purlin_run_holder {
  uint32_t size;
  const char *columns; /* "TABLE.COLUMN, TABLE.COLUMN": ids of runs and of logged models, VARCHAR, utf8mb4_bin */
} purlin_run_holder;

/* The event tracking.purged. Whoever keeps something of these objects may delete it now. */
typedef struct tracking_purged {
  const char *kind;
  purlin_texts ids;
} tracking_purged;
PURLIN_SCHEMA(tracking_purged, "Deleted objects are gone for good",
    PURLIN_REQUIRED(kind, "What they were: run, logged_model, experiment"),
    PURLIN_REQUIRED(ids, "Their ids"));

/* ---- What is logged in a run ---------------------------------------------------------------------------------------------------- */

/* tracking.log_metric: nothing. The same again changes nothing. Infinities are kept as the largest numbers; what is no number stays so. */
typedef struct tracking_log_metric {
  const char *run_id, *key;
  double value;
  int64_t step;
  purlin_time at;
  const char *model_id, *dataset_name, *dataset_digest;
} tracking_log_metric;
PURLIN_SCHEMA(tracking_log_metric, "A measured value of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_REQUIRED(key, "What was measured, at most 250 characters", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_DEFAULT(step, "0", "At which step"),
    PURLIN_OPTIONAL(at, "When; now, if it is left out"),
    PURLIN_OPTIONAL(model_id, "The logged model that was measured", .max_length = 64),
    PURLIN_OPTIONAL(dataset_name, "The dataset that it was measured on", .max_length = 2000),
    PURLIN_OPTIONAL(dataset_digest, "Of this digest", .max_length = 144));

/* One of a batch. */
typedef struct tracking_measure {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
  const char *model_id, *dataset_name, *dataset_digest;
} tracking_measure;
PURLIN_SCHEMA(tracking_measure, "A measured value",
    PURLIN_REQUIRED(key, "What was measured, at most 250 characters", .min_length = 1, .max_length = 1000),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_DEFAULT(step, "0", "At which step"),
    PURLIN_OPTIONAL(at, "When; now, if it is left out"),
    PURLIN_OPTIONAL(model_id, "The logged model that was measured", .max_length = 64),
    PURLIN_OPTIONAL(dataset_name, "The dataset that it was measured on", .max_length = 2000),
    PURLIN_OPTIONAL(dataset_digest, "Of this digest", .max_length = 144));

/* tracking.log_batch: nothing; all of it or none. The same again changes nothing; another value of a parameter is PURLIN_CONFLICT. */
typedef struct tracking_log_batch {
  const char *run_id;
  PURLIN_LIST_OF(tracking_measure) metrics;
  PURLIN_LIST_OF(tracking_pair) parameters;
  PURLIN_LIST_OF(tracking_pair) tags;
} tracking_log_batch;
PURLIN_SCHEMA(tracking_log_batch, "Metrics, parameters and tags of a run, all or nothing; at most 1000 of them",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_LIST(metrics, tracking_measure, "Measured values; at most 1000"),
    PURLIN_LIST(parameters, tracking_pair, "Parameters; at most 100, with values of at most 6000 characters"),
    PURLIN_LIST(tags, tracking_pair, "Tags; at most 100, with values of at most 8000 characters"));

/* tracking.log_parameter, tracking.set_tag and tracking.delete_tag: nothing. A value of NULL is the empty text. */
typedef struct tracking_run_pair {
  const char *run_id, *key, *value;
} tracking_run_pair;
PURLIN_SCHEMA(tracking_run_pair, "A parameter or a tag of a run",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_REQUIRED(key, "The key, at most 250 characters", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "The value", .max_length = 32000));

/* tracking.metric_history: a page of the values of one metric, by step, time and value. */
typedef struct tracking_history_in {
  const char *run_id, *key, *page;
  int64_t limit;
} tracking_history_in;
PURLIN_SCHEMA(tracking_history_in, "Which values",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_REQUIRED(key, "The metric", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(page, "\"\"", "What came as next_page with the page before", .max_length = 200),
    PURLIN_DEFAULT(limit, "1000", "At most so many", .min = 1, .max = 25000));
typedef struct tracking_history {
  PURLIN_LIST_OF(tracking_metric) metrics;
  const char *next_page;
} tracking_history;
PURLIN_SCHEMA(tracking_history, "Values of a metric, by step",
    PURLIN_LIST(metrics, tracking_metric, "The values"),
    PURLIN_REQUIRED(next_page, "Asks for the next page; empty after the last"));

/* tracking.metric_histories: the values of one metric in several runs, by run and step; runs that are not there, or not to be seen, have
 * none. Of a run with more than `most` values as many are taken evenly, with the first and the last. */
typedef struct tracking_histories_in {
  purlin_texts run_ids;
  const char *key;
  purlin_opt_int first_step, last_step;
  int64_t most;
} tracking_histories_in;
PURLIN_SCHEMA(tracking_histories_in, "Which values",
    PURLIN_REQUIRED(run_ids, "The runs", .min_length = 1, .max_length = 100),
    PURLIN_REQUIRED(key, "The metric", .min_length = 1, .max_length = 1000),
    PURLIN_OPTIONAL(first_step, "Not before this step"),
    PURLIN_OPTIONAL(last_step, "Not after this step"),
    PURLIN_DEFAULT(most, "320", "At most so many of a run; fewer come of many runs, 100,000 of all", .min = 1, .max = 25000));
typedef struct tracking_run_metric {
  const char *run_id, *key;
  double value;
  int64_t step;
  purlin_time at;
} tracking_run_metric;
PURLIN_SCHEMA(tracking_run_metric, "A measured value of a run",
    PURLIN_REQUIRED(run_id, "The run"),
    PURLIN_REQUIRED(key, "What was measured"),
    PURLIN_REQUIRED(value, "The value", .non_finite = true),
    PURLIN_REQUIRED(step, "At which step"),
    PURLIN_REQUIRED(at, "When"));
typedef struct tracking_histories {
  PURLIN_LIST_OF(tracking_run_metric) metrics;
} tracking_histories;
PURLIN_SCHEMA(tracking_histories, "Values of a metric in several runs", PURLIN_LIST(metrics, tracking_run_metric, "The values"));

/* ---- What runs read and made ------------------------------------------------------------------------------------------------------- */

/* tracking.log_inputs: nothing. A dataset is known by its name and digest; one that the run has read already stays as it is. */
typedef struct tracking_log_inputs {
  const char *run_id;
  PURLIN_LIST_OF(tracking_dataset_input) datasets;
  PURLIN_LIST_OF(tracking_model_link) models;
} tracking_log_inputs;
PURLIN_SCHEMA(tracking_log_inputs, "What a run read",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_LIST(datasets, tracking_dataset_input, "Datasets", .max_length = 1000),
    PURLIN_LIST(models, tracking_model_link, "Logged models", .max_length = 1000));

/* tracking.log_outputs: nothing. */
typedef struct tracking_log_outputs {
  const char *run_id;
  PURLIN_LIST_OF(tracking_model_link) models;
} tracking_log_outputs;
PURLIN_SCHEMA(tracking_log_outputs, "What a run made",
    PURLIN_REQUIRED(run_id, "The run", .max_length = 64),
    PURLIN_LIST(models, tracking_model_link, "Logged models", .max_length = 1000));

/* tracking.search_datasets: what runs of the experiments read, each once; experiments that are not to be seen have none. */
typedef struct tracking_search_datasets {
  purlin_texts experiment_ids;
} tracking_search_datasets;
PURLIN_SCHEMA(tracking_search_datasets, "Of which experiments",
    PURLIN_REQUIRED(experiment_ids, "The experiments", .min_length = 1, .max_length = 20));
typedef struct tracking_dataset_summary {
  const char *experiment_id, *name, *digest, *context;
} tracking_dataset_summary;
PURLIN_SCHEMA(tracking_dataset_summary, "A dataset that runs read",
    PURLIN_REQUIRED(experiment_id, "The experiment"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(digest, "Which content"),
    PURLIN_OPTIONAL(context, "What it was read for"));
typedef struct tracking_datasets {
  PURLIN_LIST_OF(tracking_dataset_summary) datasets;
} tracking_datasets;
PURLIN_SCHEMA(tracking_datasets, "Datasets that runs read; at most 1000", PURLIN_LIST(datasets, tracking_dataset_summary, "The datasets"));

/* ---- Searches --------------------------------------------------------------------------------------------------------------------- */

#define TRACKING_VIEWS "active, deleted, all"

/* tracking.search_experiments: conditions and orders know name, creation_time, last_update_time, experiment_id and tags. */
typedef struct tracking_search_experiments {
  const char *condition, *order, *page;
  int64_t limit;
  const char *view;
} tracking_search_experiments;
PURLIN_SCHEMA(tracking_search_experiments, "Which experiments",
    TRACKING_PAGE_FIELDS(50000),
    PURLIN_DEFAULT(view, "\"active\"", "Whether deleted ones are meant", .choices = TRACKING_VIEWS));
typedef struct tracking_experiment_page {
  PURLIN_LIST_OF(tracking_experiment) experiments;
  const char *next_page;
} tracking_experiment_page;
PURLIN_SCHEMA(tracking_experiment_page, "Experiments",
    PURLIN_LIST(experiments, tracking_experiment, "The experiments"),
    PURLIN_REQUIRED(next_page, "Asks for the next page; empty after the last"));

/* tracking.search_runs: conditions and orders know metrics, params, tags, attributes (run_id, run_name, status, user_id, artifact_uri,
 * start_time, end_time), and conditions datasets (name, digest, context). Experiments that are not there, or not to be seen, have no runs. */
typedef struct tracking_search_runs {
  purlin_texts experiment_ids;
  const char *condition, *order, *page;
  int64_t limit;
  const char *view;
} tracking_search_runs;
PURLIN_SCHEMA(tracking_search_runs, "Which runs",
    PURLIN_REQUIRED(experiment_ids, "In which experiments", .max_length = 10000),
    TRACKING_PAGE_FIELDS(50000),
    PURLIN_DEFAULT(view, "\"active\"", "Whether deleted ones are meant", .choices = TRACKING_VIEWS));
typedef struct tracking_run_page {
  PURLIN_LIST_OF(tracking_run) runs;
  const char *next_page;
} tracking_run_page;
PURLIN_SCHEMA(tracking_run_page, "Runs with what was logged in them",
    PURLIN_LIST(runs, tracking_run, "The runs"),
    PURLIN_REQUIRED(next_page, "Asks for the next page; empty after the last"));

PURLIN_END

#endif
