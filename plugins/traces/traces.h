/* traces.h: what the files of this plugin share.
 *
 * traces.c       traces, told by their clients when they end
 * read.c         traces with their tags, metadata and assessments
 * search.c       which traces
 * pairs.c        tags and metadata as rows
 * tags.c         tags, and what traces belong to
 * assessments.c  what is said of a trace
 * spans.h        spans, whoever sends them, and what follows from them for their traces: spans.c, fit.c
 * totals.c       what the spans of a trace cost
 * delete.c       deletion, by hand and by age; purged.c: with their experiment
 * places.c       where the files of a trace belong
 * plugin.c       the manifest
 *
 * receive.h      POST /v1/traces, as OpenTelemetry's exporters send: receive.c, batch.c, answer.c, inflate.c
 * otlp.h         OpenTelemetry's messages: otlp.c, protobuf.c, json.c, growing.c */
#ifndef TRACES_H
#define TRACES_H

#include <purlin/contracts/traces.h>
#include <purlin/purlin.h>

typedef struct traces_configuration {
  int64_t keep_days;
} traces_configuration;
PURLIN_SCHEMA(traces_configuration, "How traces are kept",
    PURLIN_DEFAULT(keep_days, "0", "Days after which traces go; 0: never", .min = 0, .max = 36500));

/* Tags and metadata that have a meaning here. */
#define TAG_NAME "mlflow.traceName"
#define METADATA_SESSION "mlflow.trace.session"
#define METADATA_USER "mlflow.trace.user"
#define METADATA_RUN "mlflow.sourceRun"
#define METADATA_USAGE "mlflow.trace.tokenUsage"
#define METADATA_COST "mlflow.trace.cost"

/* ---- Where something belongs ---------------------------------------------------------------------------------------------------- */

/* The experiment, for whoever holds `permission` for it. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded; what is to be written into
 * one that was deleted is PURLIN_CONFLICT. May park. */
PURLIN_CHECKED purlin_status traces_experiment(purlin_ctx *ctx, const char *id, const char *permission,
                                               tracking_experiment *out);

typedef struct trace_place {
  int64_t number;
  const char *id, *project, *experiment_id;
  bool told;
} trace_place;
PURLIN_SCHEMA(trace_place, "Where a trace belongs",
    PURLIN_REQUIRED(number, "Its number"),
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_REQUIRED(told, "Whether its client told it as a whole"));
#define PLACE_COLUMNS "number, id, project, experiment_id, told"
/* A trace, for whoever holds `permission` for it. PURLIN_NOT_FOUND and PURLIN_FORBIDDEN are recorded. May park. */
PURLIN_CHECKED purlin_status traces_place(purlin_ctx *ctx, const char *id, const char *permission, trace_place *out);

/* ---- Rows that are written in bulk ------------------------------------------------------------------------------------------------ */

/* Of traces_tags and traces_metadata, and of traces_links, where the name is the kind and the value the target. */
typedef struct pair_row {
  const char *workspace, *project;
  int64_t trace;
  const char *name, *value;
} pair_row;
PURLIN_SCHEMA(pair_row, "A name and a value of a trace",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(trace, "number of the trace"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(value, "value"));

/* Rows to be written together. */
typedef struct pair_rows {
  pair_row *items;
  size_t count, room;
} pair_rows;
/* The texts are borrowed. */
PURLIN_CHECKED purlin_status traces_add_pair(purlin_ctx *ctx, pair_rows *rows, const trace_place *of, const char *name,
                                             const char *value);
/* Pairs of a client, as they fit: a value that is too long is cut, a name that is too long PURLIN_INVALID. */
PURLIN_CHECKED purlin_status traces_add_pairs(purlin_ctx *ctx, pair_rows *rows, const trace_place *of,
                                              const tracking_pair *pairs, size_t count);
typedef enum pair_table { TRACES_TAGS, TRACES_METADATA, TRACES_LINKS } pair_table;
/* All of them in one statement. What is there already stays, or is replaced. May park. */
PURLIN_CHECKED purlin_status traces_write_pairs(purlin_ctx *ctx, pair_table table, const pair_rows *rows, bool replace);

/* What follows from the metadata of a trace: its session, and the run that it belongs to. May park. */
PURLIN_CHECKED purlin_status traces_follow_metadata(purlin_ctx *ctx, const trace_place *of, const tracking_pair *pairs,
                                                    size_t count);

/* Writes assessments that were told with their trace. May park. */
PURLIN_CHECKED purlin_status traces_write_assessments(purlin_ctx *ctx, const trace_place *of,
                                                      const traces_assessment *items, size_t count);

/* `text` up to so many characters. Arena, or itself; NULL: no memory. Does not park. */
const char *traces_cut(purlin_ctx *ctx, const char *text, size_t characters);

/* Deletes traces that are older than the configuration says. May park. */
void traces_forget_old(purlin_ctx *ctx, void *nothing);

/* ---- Reading ---------------------------------------------------------------------------------------------------------------------- */

typedef struct trace_row {
  const char *id; /* the number */
  const char *trace_id, *project, *experiment_id, *state;
  purlin_time request_time, ended_at;
  purlin_opt_text request_preview, response_preview, client_request_id;
  const char *artifact_location;
  bool has_spans;
} trace_row;
PURLIN_SCHEMA(trace_row, "A trace",
    PURLIN_REQUIRED(id, "its number"),
    PURLIN_REQUIRED(trace_id, "its id"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(experiment_id, "experiment"),
    PURLIN_REQUIRED(state, "state"),
    PURLIN_REQUIRED(request_time, "when it began"),
    PURLIN_OPTIONAL(ended_at, "when it ended"),
    PURLIN_OPTIONAL(request_preview, "what was asked"),
    PURLIN_OPTIONAL(response_preview, "what was answered"),
    PURLIN_OPTIONAL(client_request_id, "what the client calls it"),
    PURLIN_REQUIRED(artifact_location, "where its files are"),
    PURLIN_REQUIRED(has_spans, "whether there are spans"));
#define TRACE_COLUMNS                                                                                                      \
  "CAST(t.number AS CHAR) AS id, t.id AS trace_id, t.project, t.experiment_id, t.state, t.request_time, t.ended_at,"       \
  " t.request_preview, t.response_preview, t.client_request_id, t.artifact_location,"                                      \
  " EXISTS (SELECT 1 FROM traces_spans s WHERE s.trace = t.number) AS has_spans"
typedef PURLIN_LIST_OF(trace_row) trace_rows;
typedef PURLIN_LIST_OF(traces_trace) trace_list;

/* The traces of these rows, with all that belongs to them: a statement for each kind of it. May park. */
PURLIN_CHECKED purlin_status traces_complete(purlin_ctx *ctx, const trace_row *rows, size_t count, traces_trace **out);
PURLIN_CHECKED purlin_status traces_read(purlin_ctx *ctx, int64_t number, traces_trace *out);

/* ---- Spans ------------------------------------------------------------------------------------------------------------------------ */

typedef struct span_totals {
  purlin_opt_int input_tokens, output_tokens, total_tokens;
  purlin_opt_double input_cost, output_cost, total_cost;
} span_totals;
/* What a span says that it used; text NULL: nothing. What is not understood is nothing. */
void traces_take_usage(purlin_ctx *ctx, purlin_json usage, span_totals *out);
void traces_take_cost(purlin_ctx *ctx, purlin_json cost, span_totals *out);
/* Adds the metadata of what all spans of a trace used. What a span says is said for those below it, too. May park. */
PURLIN_CHECKED purlin_status traces_add_totals(purlin_ctx *ctx, const trace_place *of, pair_rows *metadata);

#endif
