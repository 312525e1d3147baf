#include "traces.h"
#include <purlin/search.h>
#include <string.h>

/* A count is no join: spans of other traces are not read. */
#define OF_SPAN "(SELECT COUNT(*) FROM traces_spans s WHERE s.trace = t.number AND "
#define OF_LINK(kind)                                                                                                      \
  "EXISTS (SELECT 1 FROM traces_links l WHERE l.trace = t.number AND l.workspace = t.workspace AND l.kind = '" kind "' AND "
/* What JSON_TABLE finds has other collations, one for texts and one for JSON. */
#define AS_HERE(column) "CONVERT(" column " USING utf8mb4) COLLATE utf8mb4_nopad_bin"
#define SPAN_CONTENT "CONCAT_WS(' ', s.name, s.attributes, s.events)"
#define ASSESSMENTS(kind)                                                                                                           \
  "(SELECT workspace, trace, name, JSON_UNQUOTE(value) AS value, IF(value RLIKE '^-?[0-9]', CAST(value AS DOUBLE), NULL) AS number" \
  " FROM traces_assessments WHERE kind = '" kind "' AND valid)"

/* States are in capitals where clients of MLflow ask for them. */
static const purlin_search_key trace_keys[] = {
    {.names = "id, trace_id, request_id", .sql = "t.id", .never_null = true},
    {.names = "request_time, timestamp, timestamp_ms",
     .sql = "t.request_time",
     .type = PURLIN_SEARCH_TIME,
     .never_null = true},
    {.names = "end_time, end_time_ms", .sql = "COALESCE(t.ended_at, t.request_time)", .type = PURLIN_SEARCH_TIME},
    {.names = "execution_time, execution_time_ms, execution_ms",
     .sql = "(TIMESTAMPDIFF(MICROSECOND, t.request_time, t.ended_at) DIV 1000)",
     .type = PURLIN_SEARCH_NUMBER},
    {.names = "state, status", .sql = "t.state COLLATE utf8mb4_general_ci"},
    {.names = "experiment_id", .sql = "t.experiment_id"},
    {.names = "client_request_id", .sql = "t.client_request_id"},
    {.names = "session_id, session", .sql = "t.session_id"},
    {.names = "name", .sql = "(SELECT g.value FROM traces_tags g WHERE g.trace = t.number AND g.name = '" TAG_NAME "')"},
    {.names = "run_id", .sql = "l.target", .within = OF_LINK("run")},
    {.names = "prompt", .sql = "l.target", .within = OF_LINK("prompt")},
    {.names = "text", .sql = SPAN_CONTENT, .within = OF_SPAN},
};
static const purlin_search_key span_keys[] = {
    {.names = "name", .sql = "s.name", .within = OF_SPAN},
    {.names = "type", .sql = "s.type", .within = OF_SPAN},
    {.names = "status", .sql = "s.status COLLATE utf8mb4_general_ci", .within = OF_SPAN},
    {.names = "content", .sql = SPAN_CONTENT, .within = OF_SPAN},
};
static const purlin_search_key issue_keys[] = {
    {.names = "id",
     .sql = "a.name",
     .within = "EXISTS (SELECT 1 FROM traces_assessments a WHERE a.trace = t.number AND a.kind = 'issue' AND "},
};
#define KEYS(of) .keys = of, .key_count = sizeof of / sizeof of[0]
static const purlin_search_entity entities[] = {
    {.names = "trace, attribute, attributes, attr", KEYS(trace_keys)},
    {.names = "tag, tags", .table = "traces_tags", .owner = "trace", .scope = "workspace"},
    {.names = "metadata, request_metadata", .table = "traces_metadata", .owner = "trace", .scope = "workspace"},
    /* MLflow's clients write values as JSON within a text. */
    {.names = "span",
     KEYS(span_keys),
     .prefix = "attributes",
     .vast = true,
     .table =
         "(SELECT s.trace, " AS_HERE("a.name") " AS name, JSON_UNQUOTE(COALESCE(" AS_HERE("a.text") ", " AS_HERE("a.whole") ", " AS_HERE(
             "a.real_") ", " AS_HERE("a.truth") ", " AS_HERE("a.pairs") ", " AS_HERE("a.list") ")) AS value FROM traces_spans s,"
                                                                                               " JSON_TABLE(s.attributes, '$[*]' COLUMNS (name VARCHAR(1000) PATH '$.key', text LONGTEXT PATH '$.value.stringValue',"
                                                                                               " whole VARCHAR(32) PATH '$.value.intValue', real_ VARCHAR(32) PATH '$.value.doubleValue',"
                                                                                               " truth VARCHAR(8) PATH '$.value.boolValue', pairs JSON PATH '$.value.kvlistValue', list JSON PATH '$.value.arrayValue')) a)",
     .owner = "trace",
     .no_order = true},
    {.names = "feedback",
     .table = ASSESSMENTS("feedback"),
     .owner = "trace",
     .scope = "workspace",
     .number = "number",
     .no_order = true},
    {.names = "expectation",
     .table = ASSESSMENTS("expectation"),
     .owner = "trace",
     .scope = "workspace",
     .number = "number",
     .no_order = true},
    {.names = "issue", KEYS(issue_keys)},
};
static const purlin_search traces_of = {.entities = entities,
                                        .entity_count = sizeof entities / sizeof entities[0],
                                        .id = "t.number",
                                        .scope = "t.workspace",
                                        .order = "request_time DESC",
                                        .id_follows = true};

#define IN_REACH PURLIN_VISIBLE("t.project", "t.experiment_id")
static const char OF_ONE[] = IN_REACH " AND t.experiment_id = ?";
static const char OF_SEVERAL[] =
    IN_REACH " AND t.experiment_id IN (SELECT CONVERT(e.id USING utf8mb4) COLLATE utf8mb4_nopad_bin"
             " FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) e)";
static const char SELECT_MANY[] =
    "SELECT " TRACE_COLUMNS " FROM JSON_TABLE(?, '$[*]' COLUMNS (place FOR ORDINALITY, id VARCHAR(64) PATH '$')) asked"
    " STRAIGHT_JOIN traces_traces t ON t.workspace = ? AND t.id = CONVERT(asked.id USING utf8mb4) COLLATE utf8mb4_nopad_bin"
    " WHERE " PURLIN_VISIBLE("t.project", "t.experiment_id") " GROUP BY t.number ORDER BY MIN(asked.place)";

/* The id 0 is that of an experiment with another one in all workspaces but the first. */
static purlin_status resolve(purlin_ctx *ctx, purlin_texts ids, purlin_texts *out) {
  const char **all = purlin_alloc_array(ctx, ids.count ? ids.count : 1, sizeof *all);
  if (!all) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < ids.count; i++) {
    tracking_experiment found;
    all[i] = ids.items[i];
    if (strcmp(all[i], "0") != 0) continue;
    purlin_status status = traces_experiment(ctx, all[i], "runs:read", &found);
    if (status == PURLIN_OK) all[i] = found.id;
    else if (status != PURLIN_NOT_FOUND) return status;
    else purlin_clear_failure(ctx);
  }
  *out = (purlin_texts){all, ids.count};
  return PURLIN_OK;
}

PURLIN_OPERATION(search, traces_search, traces_page,
    .summary = "Traces of experiments, newest first unless it is said otherwise", .permission = "runs:read", .by_project = true,
    .http = "POST /api/v1/traces/search") {
  trace_rows rows = {0};
  purlin_texts ids;
  const char *workspace = purlin_workspace(ctx);
  purlin_search within = traces_of;
  within.scopes = (purlin_texts){&workspace, 1};
  purlin_search_asked asked = {.condition = in->condition, .order = in->order, .page = in->page, .limit = in->limit};
  purlin_status status = resolve(ctx, in->experiment_ids, &ids);
  if (status != PURLIN_OK) return status;
  const char *several = purlin_list_json(ctx, ids);
  if (!several) return PURLIN_TOO_LARGE;
  status = purlin_db_search(ctx, trace_row, &rows, &out->next_page_token, &within, &asked, TRACE_COLUMNS, "traces_traces t",
                            ids.count == 1 ? OF_ONE : OF_SEVERAL, PURLIN_VISIBLE_TO(ctx, "runs:read"),
                            ids.count == 1 ? ids.items[0] : several);
  if (status == PURLIN_OK) status = traces_complete(ctx, rows.items, rows.count, &out->traces.items);
  out->traces.count = status == PURLIN_OK ? rows.count : 0;
  return status;
}

PURLIN_OPERATION(get_many, traces_which_many, traces_page,
    .summary = "Traces by their ids, as many as there are", .permission = "runs:read", .by_project = true, .http = "POST /api/v1/traces/get") {
  trace_rows rows = {0};
  const char *ids = purlin_list_json(ctx, in->trace_ids);
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status =
      purlin_db_list(ctx, trace_row, &rows, SELECT_MANY, ids, purlin_workspace(ctx), PURLIN_VISIBLE_TO(ctx, "runs:read"));
  if (status == PURLIN_OK) status = traces_complete(ctx, rows.items, rows.count, &out->traces.items);
  out->traces.count = status == PURLIN_OK ? rows.count : 0;
  return status;
}
