/* tracking.h: what the files of this plugin share. What its operations take and give stands in <purlin/contracts/tracking.h>.
 *
 * experiments.c  experiments and their tags
 * locations.c    where clients may keep files
 * runs.c         runs: begun, changed, finished, deleted and restored
 * names.c        names for runs that were given none
 * metrics.c      what is measured in a run: metrics, parameters, tags */
#ifndef TRACKING_H
#define TRACKING_H

#include <purlin/purlin.h>
#include <purlin/contracts/tracking.h>

/* A run's name is also this tag, which clients set and look for. */
#define RUN_NAME_TAG "mlflow.runName"

/* The experiment, for whoever holds `permission` for it; its tags are not read. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May
 * park. */
PURLIN_CHECKED purlin_status experiment_find(purlin_ctx *ctx, const char *name, const char *id, const char *permission,
                                             tracking_experiment *out);
/* PURLIN_CONFLICT, recorded, when it is deleted. */
PURLIN_CHECKED purlin_status experiment_active(purlin_ctx *ctx, const tracking_experiment *experiment);
/* The one that new runs go to: as experiment_find for runs:write, active; "0" is made where there is none yet. */
PURLIN_CHECKED purlin_status experiment_for_runs(purlin_ctx *ctx, const char *name, const char *id, tracking_experiment *out);

/* Of which experiment a run is: whoever may see or change that may see or change the run. */
typedef struct run_place {
  const char *project, *experiment_id, *lifecycle;
} run_place;
PURLIN_SCHEMA(run_place, "Where a run belongs",
    PURLIN_REQUIRED(project, "The project"),
    PURLIN_REQUIRED(experiment_id, "The experiment"),
    PURLIN_REQUIRED(lifecycle, "Whether it was deleted"));
/* The place of a run, for whoever holds `permission` for it. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status run_find(purlin_ctx *ctx, const char *run_id, const char *permission, run_place *out);
/* The same for runs:write; PURLIN_CONFLICT, recorded, for one that is deleted. */
PURLIN_CHECKED purlin_status run_writable(purlin_ctx *ctx, const char *run_id, run_place *out);

/* A row of tracking_parameters, tracking_tags or (with the experiment as owner) tracking_experiment_tags. */
typedef struct pair_row {
  const char *workspace, *project, *owner, *name, *value;
} pair_row;
PURLIN_SCHEMA(pair_row, "A key and its value, with whose they are",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(owner, "run or experiment"),
    PURLIN_REQUIRED(name, "key"),
    PURLIN_REQUIRED(value, "value"));

/* PURLIN_INVALID, recorded, when a text has more than `most` characters. */
PURLIN_CHECKED purlin_status text_fits(purlin_ctx *ctx, const char *what, const char *text, size_t most);
/* PURLIN_INVALID, recorded, for a location that a client must not be sent to. */
PURLIN_CHECKED purlin_status location_check(purlin_ctx *ctx, const char *location);
/* A random name for a run. Arena; NULL as purlin_alloc. */
const char *random_name(purlin_ctx *ctx);

#endif
