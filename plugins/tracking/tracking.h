/* tracking.h: what the files of this plugin share. What its operations take and give stands in <purlin/contracts/tracking.h>.
 *
 * experiments.c  experiments and their tags
 * locations.c    where clients may keep files
 * purge.h        what is deleted goes for good
 * runs.c         runs: begun, changed, finished, deleted and restored
 * names.c        names for runs that were given none
 * metrics.c      what is measured in a run: one metric, or a batch with parameters and tags
 * pairs.c        parameters and tags
 * history.c      the values that a metric had
 * inputs.c       what runs read and made: datasets and logged models
 * load.c         what was logged in the runs of a page
 * search.c       experiments and runs by conditions */
#ifndef TRACKING_H
#define TRACKING_H

#include <purlin/purlin.h>
#include <purlin/contracts/tracking.h>

#define EXPERIMENT_COLUMNS                                                                                                 \
  "e.id, e.project, e.name, e.description, COALESCE(e.artifact_location, CONCAT('mlflow-artifacts:/', e.id)) AS"           \
  " artifact_location, e.lifecycle, e.created_at, e.updated_at, e.created_by"
/* Without the name of the experiment, which is of another table. */
#define RUN_COLUMNS                                                                                                        \
  "r.id, r.experiment_id, r.project, r.name, r.status, r.user, COALESCE(r.artifact_uri,"                                   \
  " CONCAT('mlflow-artifacts:/', r.experiment_id, '/', r.id, '/artifacts')) AS artifact_uri, r.lifecycle, r.created_at,"   \
  " r.started_at, r.ended_at, r.created_by"

/* A run's name is also this tag, which clients set and look for. */
#define RUN_NAME_TAG "mlflow.runName"

/* The experiment, for whoever holds `permission` for it; its tags are not read. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May
 * park. */
PURLIN_CHECKED purlin_status experiment_find(purlin_ctx *ctx, const char *name, const char *id, const char *permission,
                                             tracking_experiment *out);
/* PURLIN_CONFLICT, recorded, when it is deleted. */
PURLIN_CHECKED purlin_status experiment_active(purlin_ctx *ctx, const tracking_experiment *experiment);
/* The one that new runs go to: as experiment_find for runs:write, active; "0" is made where there is none yet. */
PURLIN_CHECKED purlin_status experiment_for_runs(purlin_ctx *ctx, const char *name, const char *id,
                                                 tracking_experiment *out);

/* Of which experiment a run is: whoever may see or change that may see or change the run. */
typedef struct run_place {
  const char *project, *experiment_id, *lifecycle;
  purlin_time started_at;
} run_place;
PURLIN_SCHEMA(run_place, "Where a run belongs",
    PURLIN_REQUIRED(project, "The project"),
    PURLIN_REQUIRED(experiment_id, "The experiment"),
    PURLIN_REQUIRED(lifecycle, "Whether it was deleted"),
    PURLIN_REQUIRED(started_at, "When it began"));
/* The place of a run, for whoever holds `permission` for it. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status run_find(purlin_ctx *ctx, const char *run_id, const char *permission, run_place *out);
/* The same for runs:write; PURLIN_CONFLICT, recorded, for one that is deleted. */
PURLIN_CHECKED purlin_status run_writable(purlin_ctx *ctx, const char *run_id, run_place *out);

/* A row of a table of keys and values, of whatever `owner` is. */
typedef struct pair_row {
  const char *workspace, *project, *owner, *name, *value;
} pair_row;
PURLIN_SCHEMA(pair_row, "A key and its value, with whose they are",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(owner, "experiment or logged model"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(value, "value"));

/* Parameters and tags of a run whose place is known. */
PURLIN_CHECKED purlin_status parameters_write(purlin_ctx *ctx, const run_place *of, const char *run_id,
                                              const tracking_pair *pairs, size_t count);
/* The run's name follows its tag, */
PURLIN_CHECKED purlin_status tags_write(purlin_ctx *ctx, const run_place *of, const char *run_id,
                                        const tracking_pair *pairs, size_t count);
/* or is not looked at. */
PURLIN_CHECKED purlin_status tags_put(purlin_ctx *ctx, const run_place *of, const char *run_id, const tracking_pair *pairs,
                                      size_t count);

/* A run in which nothing was logged. */
void run_clear(tracking_run *run);
/* Reads what belongs to each of the runs, by one statement or two. May park. */
PURLIN_CHECKED purlin_status runs_load(purlin_ctx *ctx, tracking_run *runs, size_t count);
/* The same for as many of them, from the first on, as an answer can hold: 16 MiB, and one at least. Their number is told. May park. */
PURLIN_CHECKED purlin_status runs_load_page(purlin_ctx *ctx, tracking_run *runs, size_t *count);
/* Reads the tags of each of the experiments, by one. May park. */
PURLIN_CHECKED purlin_status experiments_load(purlin_ctx *ctx, tracking_experiment *experiments, size_t count);

/* To the quota, in the transaction that deletes so many. */
PURLIN_CHECKED purlin_status runs_give_back(purlin_ctx *ctx, int64_t count);

/* PURLIN_INVALID, recorded, when a text has more than `most` characters. */
PURLIN_CHECKED purlin_status text_fits(purlin_ctx *ctx, const char *what, const char *text, size_t most);
/* PURLIN_INVALID, recorded, for a location that a client must not be sent to. */
PURLIN_CHECKED purlin_status location_check(purlin_ctx *ctx, const char *location);
/* A random name for a run. Arena; NULL as purlin_alloc. */
const char *random_name(purlin_ctx *ctx);

#endif
