#include "traces.h"
#include <string.h>

enum { MOST_PREVIEW = 10000 };

static const char SELECT_PLACE[] = "SELECT " PLACE_COLUMNS " FROM traces_traces WHERE workspace = ? AND id = ?";
/* A trace may be there already: from its spans, or told before. What is told later is more complete. */
static const char UPSERT[] =
    "INSERT INTO traces_traces (workspace, project, experiment_id, id, state, request_time, ended_at, told, artifact_location,"
    " request_preview, response_preview, client_request_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE state = VALUES(state), request_time = VALUES(request_time), ended_at = VALUES(ended_at), told = VALUES(told),"
    " request_preview = COALESCE(VALUES(request_preview), request_preview),"
    " response_preview = COALESCE(VALUES(response_preview), response_preview),"
    " client_request_id = COALESCE(VALUES(client_request_id), client_request_id)";
static const char MOVE[] = "UPDATE traces_traces SET experiment_id = ?, artifact_location = ? WHERE number = ?";
static const char END[] = "UPDATE traces_traces SET state = ?, ended_at = ?, told = TRUE WHERE number = ?";

/* ---- Where something belongs -------------------------------------------------------------------------------------------------------- */

purlin_status traces_experiment(purlin_ctx *ctx, const char *id, const char *permission, tracking_experiment *out) {
  tracking_which_experiment which = {.name = "", .id = id};
  if (!*id) return purlin_fail_field(ctx, "experiment_id", "is required");
  purlin_status status = purlin_call(ctx, "tracking.get_experiment", tracking_which_experiment_schema(), &which,
                                     tracking_experiment_schema(), out);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->id);
  if (status != PURLIN_OK) return status;
  if (strcmp(permission, "runs:write") == 0 && strcmp(out->lifecycle, "active") != 0)
    return purlin_fail(ctx, PURLIN_CONFLICT, "the experiment '%s' was deleted", out->id);
  return PURLIN_OK;
}

purlin_status traces_place(purlin_ctx *ctx, const char *id, const char *permission, trace_place *out) {
  purlin_status status = purlin_db_row(ctx, trace_place, out, SELECT_PLACE, purlin_workspace(ctx), id);
  if (status == PURLIN_OK) status = purlin_reach(ctx, permission, "runs:read", out->project, out->experiment_id);
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no trace '%s'", id) : status;
}

/* ---- Traces that their clients tell --------------------------------------------------------------------------------------------------- */

static const char *location(purlin_ctx *ctx, const tracking_experiment *of, const char *id) {
  return purlin_format(ctx, "%s/traces/%s/artifacts", of->artifact_location, id);
}

static bool is_id(const char *id) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  if (!*id || !strchr(letters, *id) || strlen(id) > 64) return false;
  for (; *id; id++)
    if (!strchr(letters, *id) && !strchr("-_.", *id)) return false;
  return true;
}

static purlin_opt_text preview(purlin_ctx *ctx, purlin_opt_text text) {
  if (text.state == PURLIN_SET) text.value = traces_cut(ctx, text.value, MOST_PREVIEW);
  return text;
}

static purlin_status upsert(purlin_ctx *ctx, const traces_begin *in, const tracking_experiment *of, const char *id) {
  purlin_time began = in->request_time.unix_us ? in->request_time : (purlin_time){purlin_now_us()}, ended = {0};
  if (in->execution_ms.state == PURLIN_SET) ended.unix_us = began.unix_us + in->execution_ms.value * 1000;
  const char *files = location(ctx, of, id);
  if (!files) return PURLIN_TOO_LARGE;
  return purlin_db_run(ctx, UPSERT, purlin_workspace(ctx), of->project, of->id, id, in->state, began, ended,
                       strcmp(in->state, "in_progress") != 0, files, preview(ctx, in->request_preview),
                       preview(ctx, in->response_preview), in->client_request_id);
}

/* The trace may have been somewhere else: its spans came with another experiment. */
static purlin_status settle(purlin_ctx *ctx, const tracking_experiment *of, const char *id, trace_place *place) {
  purlin_status status = purlin_db_row(ctx, trace_place, place, SELECT_PLACE, purlin_workspace(ctx), id);
  if (status != PURLIN_OK || strcmp(place->experiment_id, of->id) == 0) return status;
  if (strcmp(place->project, of->project) != 0 ||
      !purlin_permitted_on(ctx, "runs:write", place->project, place->experiment_id))
    return purlin_fail(ctx, PURLIN_CONFLICT, "the id '%s' is that of another trace", id);
  const char *files = location(ctx, of, id);
  place->experiment_id = of->id;
  return files ? purlin_db_run(ctx, MOVE, of->id, files, place->number) : PURLIN_TOO_LARGE;
}

static purlin_status write_parts(purlin_ctx *ctx, const trace_place *of, const tracking_pair *tags, size_t tag_count,
                                 const tracking_pair *metadata, size_t metadata_count) {
  pair_rows tag_rows = {0}, metadata_rows = {0};
  purlin_status status = traces_add_pairs(ctx, &tag_rows, of, tags, tag_count);
  if (status == PURLIN_OK) status = traces_add_pairs(ctx, &metadata_rows, of, metadata, metadata_count);
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_TAGS, &tag_rows, true);
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_METADATA, &metadata_rows, true);
  return status == PURLIN_OK ? traces_follow_metadata(ctx, of, metadata, metadata_count) : status;
}

PURLIN_OPERATION(start, traces_begin, traces_trace,
    .summary = "Tell of a trace, when it begins or when it has ended", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/traces", .unaudited = "what a program does while it runs") {
  tracking_experiment of;
  trace_place place;
  const char *id = in->id && *in->id ? in->id : purlin_new_id(ctx, "tr");
  purlin_status status = !id         ? PURLIN_TOO_LARGE
                         : is_id(id) ? PURLIN_OK
                                     : purlin_fail_field(ctx, "id", "is no id of a trace");
  if (status == PURLIN_OK) status = traces_experiment(ctx, in->experiment_id, "runs:write", &of);
  if (status == PURLIN_OK) status = upsert(ctx, in, &of, id);
  if (status == PURLIN_OK) status = settle(ctx, &of, id, &place);
  if (status == PURLIN_OK)
    status = write_parts(ctx, &place, in->tags.items, in->tags.count, in->metadata.items, in->metadata.count);
  if (status == PURLIN_OK) status = traces_write_assessments(ctx, &place, in->assessments.items, in->assessments.count);
  return status == PURLIN_OK ? traces_read(ctx, place.number, out) : status;
}

PURLIN_OPERATION(end, traces_end, traces_trace,
    .summary = "Tell how a trace ended", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/traces/{trace_id}/end", .object = "get", .unaudited = "what a program does while it runs") {
  trace_place place;
  purlin_time ended = in->ended_at.unix_us ? in->ended_at : (purlin_time){purlin_now_us()};
  purlin_status status = traces_place(ctx, in->trace_id, "runs:write", &place);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, END, in->state, ended, place.number);
  if (status == PURLIN_OK)
    status = write_parts(ctx, &place, in->tags.items, in->tags.count, in->metadata.items, in->metadata.count);
  return status == PURLIN_OK ? traces_read(ctx, place.number, out) : status;
}

PURLIN_OPERATION(get, traces_which, traces_trace,
    .summary = "A trace, without its spans", .permission = "runs:read", .by_project = true, .http = "GET /api/v1/traces/{trace_id}") {
  trace_place place;
  purlin_status status = traces_place(ctx, in->trace_id, "runs:read", &place);
  return status == PURLIN_OK ? traces_read(ctx, place.number, out) : status;
}
