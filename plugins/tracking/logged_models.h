/* logged_models.h: models that were logged to experiments.
 *
 * logged_models.c         made, finished, deleted; their tags and parameters
 * logged_model_rows.c     read, with all that belongs to them; a page costs the same number of statements however many it holds
 * logged_model_metrics.c  what was measured of them while a run went on: metrics.c writes it along with the run's
 * logged_model_search.c   looked for
 * logged_model_history.c  noted in a tag of their run, as clients of MLflow 2 do */
#ifndef TRACKING_LOGGED_MODELS_H
#define TRACKING_LOGGED_MODELS_H

#include <purlin/purlin.h>
#include <purlin/search.h>
#include <purlin/contracts/logged_models.h>

#define LOGGED_MODEL_COLUMNS                                                                                               \
  "m.id, m.project, m.experiment_id, m.name, m.model_type, m.source_run_id, m.status, m.artifact_uri, m.lifecycle,"        \
  " m.created_at, m.updated_at, m.created_by"

/* The model, without what belongs to it, for whoever holds `permission` for its experiment. Recorded: PURLIN_NOT_FOUND, also when it was
 * deleted and not asked for, and PURLIN_FORBIDDEN. May park. */
PURLIN_CHECKED purlin_status logged_model_find(purlin_ctx *ctx, const char *id, bool deleted, const char *permission,
                                               logged_model *out);
/* Adds tags, parameters and metrics. May park. */
PURLIN_CHECKED purlin_status logged_models_fill(purlin_ctx *ctx, logged_model *models, size_t count);

/* ---- What is measured ------------------------------------------------------------------------------------------------------ */

typedef struct model_measure {
  const char *model_id, *key; /* a model_id that is NULL or "" is none: it is left out */
  double value;               /* may be NaN; infinities become the largest numbers */
  int64_t step;
  purlin_time at;
  const char *dataset_name, *dataset_digest; /* NULL or "": none */
} model_measure;
/* Writes what a run of this project measured of models, whose experiments the caller must be able to write to. The same again changes nothing. Recorded:
 * PURLIN_NOT_FOUND (no such model). May park. */
PURLIN_CHECKED purlin_status logged_models_measure(purlin_ctx *ctx, const char *project, const char *run_id,
                                                   const model_measure *measures, size_t count);

enum { MODEL_SCOPE_SIZE = 33 };
/* What stands for a dataset: of any digest if `digest` is NULL or ""; "" for none. */
void model_scope(purlin_ctx *ctx, const char *name, const char *digest, char scope[MODEL_SCOPE_SIZE]);

#endif
