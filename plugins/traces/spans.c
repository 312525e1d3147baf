#include "spans.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_SPANS = 10000,
  MOST_RESOURCE_TAGS = 100,
  STATEMENT_BYTES = 4 * 1024 * 1024, /* of content, at which a statement ends: the database takes no packets without end */
  PAGE_BYTES = 4 * 1024 * 1024,
  FIRST_STEP = 16 /* spans */
};

/* What a client told of a trace as a whole stays; otherwise it lasts from the first of its spans to the last. */
static const char UPSERT_TRACE[] =
    "INSERT INTO traces_traces (workspace, project, experiment_id, id, state, request_time, ended_at, told, artifact_location,"
    " request_preview, response_preview, session_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE"
    " state = IF(state IN ('in_progress', 'unspecified'), VALUES(state), state),"
    " ended_at = IF(told, ended_at, GREATEST(COALESCE(ended_at, VALUES(ended_at)), COALESCE(VALUES(ended_at), ended_at))),"
    " request_time = IF(told, request_time, LEAST(request_time, VALUES(request_time))),"
    " request_preview = COALESCE(request_preview, VALUES(request_preview)),"
    " response_preview = COALESCE(response_preview, VALUES(response_preview)),"
    " session_id = COALESCE(session_id, VALUES(session_id))";
static const char SELECT_PLACES[] =
    "SELECT t.number, t.id, t.project, t.experiment_id, t.told FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(64) PATH '$')) asked"
    " STRAIGHT_JOIN traces_traces t ON t.workspace = ? AND t.id = CONVERT(asked.id USING utf8mb4) COLLATE utf8mb4_nopad_bin ORDER BY t.id";
static const char UPSERT_SPAN[] =
    "INSERT INTO traces_spans (workspace, project, trace, span_id, parent_id, name, type, kind, status, status_message, trace_state,"
    " start_ns, end_ns, attributes, events, links, resource, scope, input_tokens, output_tokens, total_tokens, input_cost, output_cost,"
    " total_cost) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON DUPLICATE KEY UPDATE parent_id = VALUES(parent_id), name = VALUES(name), type = VALUES(type), kind = VALUES(kind),"
    " status = VALUES(status), status_message = VALUES(status_message), trace_state = VALUES(trace_state), start_ns = VALUES(start_ns),"
    " end_ns = VALUES(end_ns), attributes = VALUES(attributes), events = VALUES(events), links = VALUES(links),"
    " resource = VALUES(resource), scope = VALUES(scope), input_tokens = VALUES(input_tokens), output_tokens = VALUES(output_tokens),"
    " total_tokens = VALUES(total_tokens), input_cost = VALUES(input_cost), output_cost = VALUES(output_cost), total_cost = VALUES(total_cost)";
static const char SELECT_SPANS[] =
    "SELECT ? AS trace_id, span_id, parent_id, name, type, kind, status, status_message, trace_state, start_ns, end_ns, attributes, events, links,"
    " resource, scope FROM traces_spans WHERE trace = ? AND (start_ns > ? OR (start_ns = ? AND span_id > ?)) ORDER BY start_ns, span_id LIMIT ?";

typedef struct trace_upsert {
  const char *workspace, *project, *experiment_id, *id, *state;
  purlin_time request_time, ended_at;
  bool told;
  const char *artifact_location;
  purlin_opt_text request_preview, response_preview, session_id;
} trace_upsert;
PURLIN_SCHEMA(trace_upsert, "A trace, as its spans tell it",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(experiment_id, "experiment"),
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(state, "state"),
    PURLIN_REQUIRED(request_time, "began"),
    PURLIN_OPTIONAL(ended_at, "ended"),
    PURLIN_REQUIRED(told, "told"),
    PURLIN_REQUIRED(artifact_location, "files"),
    PURLIN_OPTIONAL(request_preview, "asked"),
    PURLIN_OPTIONAL(response_preview, "answered"),
    PURLIN_OPTIONAL(session_id, "session"));

/* Spans that are in order, those of a trace next to each other; and their traces, in the order of their ids. */
typedef struct batch {
  span_fitted *spans;
  size_t span_count;
  trace_upsert *traces;
  size_t trace_count;
  PURLIN_LIST_OF(trace_place) places;
} batch;

/* ---- Fitting ----------------------------------------------------------------------------------------------------------------------- */

static int by_trace(const void *left, const void *right) {
  return strcmp(((const span_fitted *)left)->trace_id, ((const span_fitted *)right)->trace_id);
}

static purlin_status fit_all(purlin_ctx *ctx, const traces_log_spans *in, batch *b, traces_logged *out) {
  b->spans = purlin_alloc_array(ctx, in->spans.count ? in->spans.count : 1, sizeof *b->spans);
  if (!b->spans) return PURLIN_TOO_LARGE;
  out->why = "";
  for (size_t i = 0; i < in->spans.count; i++) {
    const char *why = NULL;
    purlin_status status = span_fit(ctx, &in->spans.items[i], &b->spans[b->span_count], &why);
    if (status == PURLIN_OK) b->span_count++;
    else if (status != PURLIN_INVALID || !why) return status;
    else if (out->rejected++ == 0) out->why = why;
    status = purlin_yield(ctx);
    if (status != PURLIN_OK) return status;
  }
  qsort(b->spans, b->span_count, sizeof *b->spans, by_trace);
  out->stored = (int64_t)b->span_count;
  return PURLIN_OK;
}

/* ---- Traces ------------------------------------------------------------------------------------------------------------------------ */

static purlin_opt_text text_or_none(const char *text) {
  return text && *text ? (purlin_opt_text){PURLIN_SET, text} : (purlin_opt_text){0};
}

static void widen(trace_upsert *trace, const span_fitted *span) {
  purlin_time began = {span->row.start_ns / 1000}, ended = {span->row.end_ns / 1000};
  if (began.unix_us == 0) began.unix_us = 1;
  if (trace->request_time.unix_us == 0 || began.unix_us < trace->request_time.unix_us) trace->request_time = began;
  if (ended.unix_us > trace->ended_at.unix_us) trace->ended_at = ended;
}

static purlin_status add_span(purlin_ctx *ctx, trace_upsert *trace, const span_fitted *span) {
  widen(trace, span);
  if (span->session.text && trace->session_id.state != PURLIN_SET) {
    const char *session = span_text(ctx, span->session);
    session = session ? traces_cut(ctx, session, 250) : NULL;
    if (!session) return PURLIN_TOO_LARGE;
    trace->session_id = text_or_none(session);
  }
  if (*span->row.parent_id) return PURLIN_OK;
  trace->state = strcmp(span->row.status, "error") == 0 ? "error" : "ok";
  if (span->inputs.text) trace->request_preview = text_or_none(span_preview(ctx, span->inputs, "user"));
  if (span->outputs.text) trace->response_preview = text_or_none(span_preview(ctx, span->outputs, "assistant"));
  return PURLIN_OK;
}

static purlin_status gather_traces(purlin_ctx *ctx, const tracking_experiment *of, batch *b) {
  b->traces = purlin_alloc_array(ctx, b->span_count ? b->span_count : 1, sizeof *b->traces);
  if (!b->traces) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < b->span_count; i++) {
    const char *id = b->spans[i].trace_id;
    if (i == 0 || strcmp(id, b->spans[i - 1].trace_id) != 0) {
      b->traces[b->trace_count++] =
          (trace_upsert){.workspace = purlin_workspace(ctx),
                         .project = of->project,
                         .experiment_id = of->id,
                         .id = id,
                         .state = "in_progress",
                         .artifact_location = purlin_format(ctx, "%s/traces/%s/artifacts", of->artifact_location, id)};
      if (!b->traces[b->trace_count - 1].artifact_location) return PURLIN_TOO_LARGE;
    }
    purlin_status status = add_span(ctx, &b->traces[b->trace_count - 1], &b->spans[i]);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

/* Where they are now: some were there before, perhaps with another experiment. */
static purlin_status find_places(purlin_ctx *ctx, const tracking_experiment *of, batch *b) {
  const char **texts = purlin_alloc_array(ctx, b->trace_count, sizeof *texts);
  if (!texts) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < b->trace_count; i++) texts[i] = b->traces[i].id;
  const char *ids = purlin_list_json(ctx, (purlin_texts){texts, b->trace_count});
  if (!ids) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_db_list(ctx, trace_place, &b->places, SELECT_PLACES, ids, purlin_workspace(ctx));
  if (status == PURLIN_OK && b->places.count != b->trace_count)
    return purlin_fail(ctx, PURLIN_INTERNAL, "%zu traces were written and %zu are there", b->trace_count, b->places.count);
  for (size_t i = 0; i < b->places.count && status == PURLIN_OK; i++) {
    const trace_place *at = &b->places.items[i];
    if (strcmp(at->experiment_id, of->id) != 0 && !purlin_permitted_on(ctx, "runs:write", at->project, at->experiment_id))
      status = purlin_fail(ctx, PURLIN_FORBIDDEN, "the id '%s' is that of another trace", at->id);
  }
  return status;
}

/* ---- Spans and what follows from them ------------------------------------------------------------------------------------------------- */

static purlin_status write_spans(purlin_ctx *ctx, batch *b) {
  span_row *rows = purlin_alloc_array(ctx, b->span_count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  size_t from = 0, bytes = 0, trace = 0;
  for (size_t i = 0; i < b->span_count; i++) {
    while (strcmp(b->places.items[trace].id, b->spans[i].trace_id) != 0) trace++;
    rows[i] = b->spans[i].row;
    rows[i].trace = b->places.items[trace].number;
    rows[i].project = b->places.items[trace].project;
    bytes +=
        rows[i].attributes.size + rows[i].events.size + rows[i].links.size + rows[i].resource.size + rows[i].scope.size;
    if (i + 1 < b->span_count && bytes < STATEMENT_BYTES) continue;
    purlin_status status = purlin_db_bulk(ctx, span_row, rows + from, i + 1 - from, UPSERT_SPAN);
    if (status != PURLIN_OK) return status;
    from = i + 1;
    bytes = 0;
  }
  return PURLIN_OK;
}

typedef struct followed {
  pair_rows tags_kept, tags, metadata_kept, metadata, links;
} followed;

/* Attributes of a resource are tags of the trace, unless they tell of OpenTelemetry or of MLflow. */
static purlin_status add_resource(purlin_ctx *ctx, const trace_place *of, purlin_json resource, pair_rows *tags) {
  otlp_member item;
  size_t added = 0;
  purlin_json attributes = otlp_get(resource, "attributes");
  for (const char *at = NULL; attributes.text && added < MOST_RESOURCE_TAGS && otlp_each(attributes, &at, &item); added++) {
    const char *key = otlp_unquoted(ctx, otlp_get(item.value, "key"));
    const char *value = span_text(ctx, otlp_get(item.value, "value"));
    if (!key || !value) return PURLIN_TOO_LARGE;
    if (!*key || strncmp(key, "telemetry.sdk.", 14) == 0 || strncmp(key, "mlflow.", 7) == 0 ||
        traces_cut(ctx, key, 250) != key)
      continue;
    purlin_status status = traces_add_pair(ctx, tags, of, key, value);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

/* MLflow's exporter for OTLP tells tags of the trace as attributes of its root. */
static purlin_status add_root(purlin_ctx *ctx, const trace_place *of, const span_fitted *root, followed *f) {
  static const char prefix[] = "mlflow.traceTag.";
  otlp_member item;
  purlin_status status = *root->row.name ? traces_add_pair(ctx, &f->tags_kept, of, TAG_NAME, root->row.name) : PURLIN_OK;
  for (const char *at = NULL; status == PURLIN_OK && otlp_each(root->row.attributes, &at, &item);) {
    purlin_json raw = otlp_get(item.value, "key");
    if (raw.size < sizeof prefix + 2 || memcmp(raw.text + 1, prefix, sizeof prefix - 1) != 0) continue;
    const char *key = otlp_unquoted(ctx, raw), *value = span_text(ctx, otlp_get(item.value, "value"));
    if (!key || !value) return PURLIN_TOO_LARGE;
    key += sizeof prefix - 1;
    if (traces_cut(ctx, key, 250) == key) status = traces_add_pair(ctx, &f->tags, of, key, value);
  }
  return status;
}

static bool used_something(const span_row *r) {
  return r->input_tokens.state == PURLIN_SET || r->output_tokens.state == PURLIN_SET ||
         r->total_tokens.state == PURLIN_SET || r->input_cost.state == PURLIN_SET || r->output_cost.state == PURLIN_SET ||
         r->total_cost.state == PURLIN_SET;
}

static purlin_status follow_trace(purlin_ctx *ctx, const trace_upsert *trace, const trace_place *of,
                                  const span_fitted *spans, size_t count, const char *run_id, followed *f) {
  const char *user = NULL;
  bool used = false;
  purlin_status status = add_resource(ctx, of, spans[0].row.resource, &f->tags_kept);
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    used = used || used_something(&spans[i].row);
    if (!user && spans[i].user.text) user = span_text(ctx, spans[i].user);
    if (!*spans[i].row.parent_id) status = add_root(ctx, of, &spans[i], f);
  }
  if (status == PURLIN_OK && user && *user) status = traces_add_pair(ctx, &f->metadata_kept, of, METADATA_USER, user);
  if (status == PURLIN_OK && trace->session_id.state == PURLIN_SET)
    status = traces_add_pair(ctx, &f->metadata_kept, of, METADATA_SESSION, trace->session_id.value);
  if (status == PURLIN_OK && *run_id) status = traces_add_pair(ctx, &f->links, of, "run", run_id);
  if (status == PURLIN_OK && used) status = traces_add_totals(ctx, of, of->told ? &f->metadata_kept : &f->metadata);
  return status;
}

static purlin_status follow(purlin_ctx *ctx, const batch *b, const char *run_id) {
  followed f = {0};
  purlin_status status = PURLIN_OK;
  for (size_t trace = 0, from = 0, to = 0; trace < b->trace_count && status == PURLIN_OK; trace++, from = to) {
    while (to < b->span_count && strcmp(b->spans[to].trace_id, b->traces[trace].id) == 0) to++;
    status = follow_trace(ctx, &b->traces[trace], &b->places.items[trace], b->spans + from, to - from, run_id, &f);
  }
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_TAGS, &f.tags_kept, false);
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_TAGS, &f.tags, true);
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_METADATA, &f.metadata_kept, false);
  if (status == PURLIN_OK) status = traces_write_pairs(ctx, TRACES_METADATA, &f.metadata, true);
  return status == PURLIN_OK ? traces_write_pairs(ctx, TRACES_LINKS, &f.links, false) : status;
}

PURLIN_OPERATION(log_spans, traces_log_spans, traces_logged,
    .summary = "Keep spans; traces that are new begin with them", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .http = "POST /api/v1/spans", .unaudited = "what a program does while it runs",
    .description = "Spans that are wrong are passed over and counted. A span that is sent once more takes the place of the first.") {
  tracking_experiment of;
  batch b = {0};
  if (in->spans.count > MOST_SPANS) return purlin_fail(ctx, PURLIN_TOO_LARGE, "more than %d spans at once", MOST_SPANS);
  purlin_status status = traces_experiment(ctx, in->experiment_id, "runs:write", &of);
  if (status == PURLIN_OK) status = fit_all(ctx, in, &b, out);
  if (status == PURLIN_OK) status = gather_traces(ctx, &of, &b);
  if (status != PURLIN_OK || b.span_count == 0) return status;
  status = purlin_db_bulk(ctx, trace_upsert, b.traces, b.trace_count, UPSERT_TRACE);
  if (status == PURLIN_OK) status = find_places(ctx, &of, &b);
  if (status == PURLIN_OK) status = write_spans(ctx, &b);
  return status == PURLIN_OK ? follow(ctx, &b, in->run_id ? in->run_id : "") : status;
}

/* ---- Reading ------------------------------------------------------------------------------------------------------------------------- */

/* A row's texts live until the next row. */
static bool keep(purlin_ctx *ctx, traces_span *span, size_t *bytes) {
  const char **texts[] = {&span->span_id, &span->parent_id,      &span->name,       &span->type,
                          &span->status,  &span->status_message, &span->trace_state};
  purlin_json *values[] = {&span->attributes, &span->events, &span->links, &span->resource, &span->scope};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    *texts[i] = purlin_copy(ctx, *texts[i]);
    if (!*texts[i]) return false;
  }
  for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
    values[i]->text = purlin_copy_bytes(ctx, values[i]->text, values[i]->size);
    if (!values[i]->text) return false;
    *bytes += values[i]->size;
  }
  return true;
}

/* Where a page, or a part of it, begins: behind that span. */
typedef struct span_place {
  int64_t start_ns;
  const char *span_id;
} span_place;

static purlin_status read_some(purlin_ctx *ctx, const trace_place *of, span_place behind, size_t limit, size_t *bytes,
                               traces_span_page *out) {
  purlin_rows *rows = NULL;
  purlin_status status = purlin_db_open(ctx, traces_span, &rows, SELECT_SPANS, of->id, of->number, behind.start_ns,
                                        behind.start_ns, behind.span_id, (int64_t)limit);
  for (bool got = true; status == PURLIN_OK && limit > 0 && *bytes < PAGE_BYTES; limit--) {
    traces_span *span = &out->spans.items[out->spans.count];
    status = purlin_db_next(ctx, rows, span, &got);
    if (status != PURLIN_OK || !got) break;
    span->trace_id = of->id;
    if (!keep(ctx, span, bytes)) status = PURLIN_TOO_LARGE;
    else out->spans.count++;
  }
  purlin_db_close(ctx, rows);
  return status;
}

/* Spans may be of any size, and rows that were asked for and not taken cost as much as the others: so few are asked for at first, and then
 * as many as should fit. */
static purlin_status read_page(purlin_ctx *ctx, const trace_place *of, span_place behind, size_t limit,
                               traces_span_page *out) {
  size_t bytes = 0, step = FIRST_STEP;
  while (out->spans.count < limit && bytes < PAGE_BYTES) {
    size_t before = out->spans.count, some = limit - before < step ? limit - before : step;
    purlin_status status = read_some(ctx, of, behind, some, &bytes, out);
    if (status != PURLIN_OK) return status;
    size_t count = out->spans.count;
    if (count - before < some && bytes < PAGE_BYTES) return PURLIN_OK; /* there are no more */
    behind = (span_place){out->spans.items[count - 1].start_ns, out->spans.items[count - 1].span_id};
    size_t fit = bytes < PAGE_BYTES ? (PAGE_BYTES - bytes) / (bytes / count + 1) + 1 : 1;
    step = fit < step * 4 ? fit : step * 4;
  }
  out->next_page_token = purlin_format(ctx, "%" PRId64 ".%s", behind.start_ns, behind.span_id);
  return out->next_page_token ? PURLIN_OK : PURLIN_TOO_LARGE;
}

PURLIN_OPERATION(list_spans, traces_list_spans, traces_span_page,
    .summary = "The spans of a trace, in order of their start", .permission = "runs:read", .by_project = true,
    .http = "GET /api/v1/traces/{trace_id}/spans") {
  trace_place of;
  int64_t start_ns = -1;
  char span_id[17] = "";
  out->next_page_token = "";
  if (in->page && *in->page &&
      (strlen(in->page) > 40 || sscanf(in->page, "%20" SCNd64 ".%16s", &start_ns, span_id) != 2 || start_ns < 0))
    return purlin_fail_field(ctx, "page", "is no token that came with a page");
  purlin_status status = traces_place(ctx, in->trace_id, "runs:read", &of);
  if (status != PURLIN_OK) return status;
  out->spans.items = purlin_alloc_array(ctx, (size_t)in->limit, sizeof *out->spans.items);
  return out->spans.items ? read_page(ctx, &of, (span_place){start_ns, span_id}, (size_t)in->limit, out) : PURLIN_TOO_LARGE;
}
