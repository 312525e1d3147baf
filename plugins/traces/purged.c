#include "traces.h"
#include <string.h>

enum { ROWS = 500 };

static const char DELETE_IN[] =
    "DELETE FROM traces_traces WHERE workspace = ? AND experiment_id = ? ORDER BY request_time, number LIMIT ?";

/* Traces of an experiment that is gone for good go; those of a run stay, they are the experiment's. */
PURLIN_LISTENER(on_purged, "tracking.purged", tracking_purged) {
  purlin_status status = PURLIN_OK;
  if (strcmp(event->kind, "experiment") != 0) return status;
  for (size_t i = 0; i < event->ids.count && status == PURLIN_OK; i++) do
      status = purlin_db_run(ctx, DELETE_IN, purlin_workspace(ctx), event->ids.items[i], ROWS);
    while (status == PURLIN_OK && purlin_affected(ctx) == ROWS);
  return status;
}
