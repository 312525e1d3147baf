#include "artifacts.h"
#include <purlin/contracts/traces.h>
#include <purlin/contracts/tracking.h>
#include <string.h>

enum { ROWS = 1000 };

static const char DELETE_FILES[] = "DELETE FROM artifacts_files WHERE workspace = ? AND kind = ? AND owner = ? LIMIT ?";
static const char DELETE_OF_TRACES[] =
    "DELETE FROM artifacts_files WHERE workspace = ? AND kind = 'trace' AND experiment_id = ? LIMIT ?";
#define DELETE_OF_THESE(table)                                                                                             \
  "DELETE o FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) asked STRAIGHT_JOIN " table                       \
  " o ON o.workspace = ? AND o.kind = 'trace' AND o.owner = CONVERT(asked.id USING ascii) COLLATE ascii_bin"
static const char DELETE_OWNER[] = "DELETE FROM artifacts_owners WHERE workspace = ? AND kind = ? AND owner = ?";

/* The owner's row first, which waits for who is just naming a file; whoever comes later does not find what owned it. */
static purlin_status forget(purlin_ctx *ctx, const char *kind, const char *owner) {
  purlin_status status = purlin_db_run(ctx, DELETE_OWNER, purlin_workspace(ctx), kind, owner);
  while (status == PURLIN_OK) {
    status = purlin_db_run(ctx, DELETE_FILES, purlin_workspace(ctx), kind, owner, ROWS);
    if (status == PURLIN_OK && purlin_affected(ctx) < ROWS) break;
  }
  return status;
}

/* Of traces, which go with their experiment. */
static purlin_status forget_experiment(purlin_ctx *ctx, const char *id) {
  purlin_status status;
  do status = purlin_db_run(ctx, DELETE_OF_TRACES, purlin_workspace(ctx), id, ROWS);
  while (status == PURLIN_OK && purlin_affected(ctx) == ROWS);
  return status;
}

/* Files of what is gone for good go; storage removes their bytes when nothing else names them. */
PURLIN_LISTENER(on_purged, "tracking.purged", tracking_purged) {
  bool runs = strcmp(event->kind, "run") == 0, models = strcmp(event->kind, "logged_model") == 0;
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < event->ids.count && status == PURLIN_OK; i++) {
    const char *id = event->ids.items[i];
    if (runs || models) status = forget(ctx, runs ? "run" : "model", id);
    else if (strcmp(event->kind, "experiment") == 0) status = forget_experiment(ctx, id);
  }
  return status;
}

/* Traces go by the thousand, and few of them have files. */
PURLIN_LISTENER(on_traces_deleted, "traces.deleted", traces_gone) {
  const char *ids = purlin_list_json(ctx, event->trace_ids);
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_run(ctx, DELETE_OF_THESE("artifacts_owners"), ids, purlin_workspace(ctx));
  return status == PURLIN_OK ? purlin_db_run(ctx, DELETE_OF_THESE("artifacts_files"), ids, purlin_workspace(ctx)) : status;
}
