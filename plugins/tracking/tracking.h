/* tracking.h: what the files of this plugin share.
 *
 * experiments.c  experiments
 * runs.c         runs, begun and finished
 * metrics.c      what is measured in a run: metrics, parameters, tags */
#ifndef TRACKING_H
#define TRACKING_H

#include <purlin/purlin.h>

typedef struct experiment {
  const char *id, *project, *name;
  purlin_opt_text description;
  purlin_time created_at;
  const char *created_by;
} experiment;
PURLIN_SCHEMA(experiment, "An experiment: runs that belong together",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(name, "Its name, unique in the workspace"),
    PURLIN_OPTIONAL(description, "What is tried"),
    PURLIN_REQUIRED(created_at, "Since when"),
    PURLIN_REQUIRED(created_by, "By whom"));

typedef struct metric {
  const char *key;
  double value;
  int64_t step;
  purlin_time at;
} metric;
PURLIN_SCHEMA(metric, "A measured value",
    PURLIN_REQUIRED(key, "What was measured", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(value, "The value"),
    PURLIN_DEFAULT(step, "0", "At which step", .min = -9e15, .max = 9e15),
    PURLIN_REQUIRED(at, "When"));

typedef struct pair {
  const char *key, *value;
} pair;
PURLIN_SCHEMA(pair, "A key and its value",
    PURLIN_REQUIRED(key, "The key", .min_length = 1, .max_length = 250),
    PURLIN_REQUIRED(value, "The value", .max_length = 8000));

/* The experiment of this name, for whoever holds `permission` for it. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status tracking_experiment(purlin_ctx *ctx, const char *name, const char *permission,
                                                 experiment *out);

/* Of which experiment a run is: whoever may see or change that may see or change the run. */
typedef struct run_place {
  const char *project, *experiment_id;
} run_place;
PURLIN_SCHEMA(run_place, "Where a run belongs",
    PURLIN_REQUIRED(project, "The project"),
    PURLIN_REQUIRED(experiment_id, "The experiment"));
/* The place of a run, for whoever holds `permission` for it. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status tracking_run(purlin_ctx *ctx, const char *run_id, const char *permission, run_place *out);

#endif
