#include "traces.h"
#include <string.h>

enum { MOST_TARGET = 300 };

static const char DELETE_TAG[] = "DELETE FROM traces_tags WHERE trace = ? AND name = ?";
static const char SELECT_MANY[] =
    "SELECT t.number, t.id, t.project, t.experiment_id, t.told FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) asked"
    " STRAIGHT_JOIN traces_traces t ON t.workspace = ? AND t.id = CONVERT(asked.id USING utf8mb4) COLLATE utf8mb4_nopad_bin"
    " WHERE " PURLIN_VISIBLE("t.project", "t.experiment_id") " ORDER BY t.number";

PURLIN_OPERATION(set_tag, traces_tag, traces_trace,
    .summary = "Set a tag of a trace", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get",
    .http = "PUT /api/v1/traces/{trace_id}/tags/{key}", .unaudited = "a mark of a trace, which is there to see") {
  trace_place of;
  pair_rows rows = {0};
  purlin_status status = traces_place(ctx, in->trace_id, "runs:write", &of);
  if (status == PURLIN_OK) status = traces_add_pairs(ctx, &rows, &of, &(tracking_pair){in->key, in->value}, 1);
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_TAGS, &rows, true);
  return status == PURLIN_OK ? traces_read(ctx, of.number, out) : status;
}

PURLIN_OPERATION(delete_tag, traces_which_tag, purlin_nothing,
    .summary = "Delete a tag of a trace", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES, .object = "get",
    .http = "DELETE /api/v1/traces/{trace_id}/tags/{key}") {
  trace_place of;
  purlin_status status = traces_place(ctx, in->trace_id, "runs:write", &of);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE_TAG, of.number, in->key);
  if (status == PURLIN_OK && purlin_affected(ctx) == 0)
    return purlin_fail(ctx, PURLIN_NOT_FOUND, "no tag '%s' of the trace '%s'", in->key, of.id);
  return status;
}

static purlin_status add_links(purlin_ctx *ctx, const traces_link *in, const trace_place *of, pair_rows *rows) {
  purlin_status status = *in->run_id ? traces_add_pair(ctx, rows, of, "run", in->run_id) : PURLIN_OK;
  for (size_t i = 0; i < in->prompts.count && status == PURLIN_OK; i++) {
    if (traces_cut(ctx, in->prompts.items[i], MOST_TARGET) != in->prompts.items[i])
      return purlin_fail_field(ctx, "prompts", "has an item of more than %d characters", MOST_TARGET);
    status = traces_add_pair(ctx, rows, of, "prompt", in->prompts.items[i]);
  }
  return status;
}

PURLIN_OPERATION(link, traces_link, purlin_nothing,
    .summary = "Say to which run, or versions of prompts, traces belong", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/traces/links", .unaudited = "what a program does while it runs",
    .description = "Ids of traces that are not there, or out of reach, are passed over.") {
  PURLIN_LIST_OF(trace_place) places = {0};
  pair_rows rows = {0};
  const char *ids = purlin_list_json(ctx, in->trace_ids);
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_list(ctx, trace_place, &places, SELECT_MANY, ids, purlin_workspace(ctx),
                                        PURLIN_VISIBLE_TO(ctx, "runs:write"));
  for (size_t i = 0; i < places.count && status == PURLIN_OK; i++) status = add_links(ctx, in, &places.items[i], &rows);
  return status == PURLIN_OK ? traces_write_pairs(ctx, TRACES_LINKS, &rows, false) : status;
}
