/* traces.h: traces, spans and assessments between their words and MLflow's: the inside of traces.c, trace_words.c, trace_spans.c and
 * assessments.c. */
#ifndef MLFLOW_TRACES_H
#define MLFLOW_TRACES_H

#include "mlflow.h"
#include <purlin/contracts/traces.h>

/* ---- Objects whose members are a client's keys: {"key": "value"} ----------------------------------------------------------------- */

typedef PURLIN_LIST_OF(tracking_pair) pair_list;
/* PURLIN_INVALID, recorded for `field`, when a value is no text. */
PURLIN_CHECKED purlin_status map_read(purlin_ctx *ctx, purlin_json map, const char *field, pair_list *out);
PURLIN_CHECKED purlin_status map_write(purlin_ctx *ctx, const tracking_pair *pairs, size_t count, purlin_json *out);

/* ---- Traces ------------------------------------------------------------------------------------------------------------------------ */

typedef struct trace_experiment {
  const char *experiment_id;
} trace_experiment;
PURLIN_SCHEMA(trace_experiment, "An experiment with traces", PURLIN_REQUIRED(experiment_id, "Its id", .max_length = 64));

typedef struct trace_location {
  const char *type;
  trace_experiment mlflow_experiment;
} trace_location;
PURLIN_SCHEMA(trace_location, "Where a trace is",
    PURLIN_DEFAULT(type, "\"MLFLOW_EXPERIMENT\"", "MLFLOW_EXPERIMENT"),
    PURLIN_OBJECT(mlflow_experiment, trace_experiment, "The experiment"));

typedef struct told_assessment {
  const char *assessment_id, *assessment_name, *trace_id;
  purlin_opt_text span_id;
  purlin_json source;
  purlin_time create_time, last_update_time;
  purlin_json feedback, expectation, issue;
  purlin_opt_text rationale;
  purlin_json error, metadata;
  purlin_opt_text overrides;
  purlin_opt_bool valid;
} told_assessment;
PURLIN_SCHEMA(told_assessment, "An assessment of a trace",
    PURLIN_DEFAULT(assessment_id, "\"\"", "Its id", .max_length = 64),
    PURLIN_DEFAULT(assessment_name, "\"\"", "What is judged", .max_length = 250),
    PURLIN_DEFAULT(trace_id, "\"\"", "The trace", .max_length = 64),
    PURLIN_OPTIONAL(span_id, "The span", .max_length = 50),
    PURLIN_OPTIONAL(source, "Who judged: {source_type, source_id}"),
    PURLIN_OPTIONAL(create_time, "Since when"),
    PURLIN_OPTIONAL(last_update_time, "When it changed last"),
    PURLIN_OPTIONAL(feedback, "A judgement: {value, error}"),
    PURLIN_OPTIONAL(expectation, "What was expected: {value} or {serialized_value}"),
    PURLIN_OPTIONAL(issue, "An issue: {issue_name}"),
    PURLIN_OPTIONAL(rationale, "Why", .max_length = 60000),
    PURLIN_OPTIONAL(error, "Why there is no value"),
    PURLIN_OPTIONAL(metadata, "More of it, by name"),
    PURLIN_OPTIONAL(overrides, "What it takes the place of", .max_length = 64),
    PURLIN_OPTIONAL(valid, "Whether no other has taken its place"));

typedef struct told_trace_info {
  const char *trace_id;
  purlin_opt_text client_request_id;
  trace_location trace_location;
  purlin_opt_text request_preview, response_preview;
  purlin_time request_time;
  purlin_opt_text execution_duration;
  const char *state;
  purlin_json trace_metadata, tags;
  PURLIN_LIST_OF(told_assessment) assessments;
} told_trace_info;
PURLIN_SCHEMA(told_trace_info, "A trace without its spans",
    PURLIN_REQUIRED(trace_id, "Its id", .max_length = 64),
    PURLIN_OPTIONAL(client_request_id, "What the client calls it", .max_length = 250),
    PURLIN_OBJECT(trace_location, trace_location, "Where it is"),
    PURLIN_OPTIONAL(request_preview, "The beginning of what was asked", .max_length = 1048576),
    PURLIN_OPTIONAL(response_preview, "The beginning of what was answered", .max_length = 1048576),
    PURLIN_OPTIONAL(request_time, "When it began"),
    PURLIN_OPTIONAL(execution_duration, "How long it took, such as 1.5s", .max_length = 40),
    PURLIN_DEFAULT(state, "\"STATE_UNSPECIFIED\"", "OK, ERROR, IN_PROGRESS or STATE_UNSPECIFIED", .max_length = 40),
    PURLIN_OPTIONAL(trace_metadata, "What is known of it, by name"),
    PURLIN_OPTIONAL(tags, "Its tags, by name"),
    PURLIN_LIST(assessments, told_assessment, "What was said of it", .max_length = 1000));

/* Between the two. What does not fit is PURLIN_INVALID, recorded. */
PURLIN_CHECKED purlin_status trace_tell(purlin_ctx *ctx, const traces_trace *from, told_trace_info *to);
PURLIN_CHECKED purlin_status trace_take(purlin_ctx *ctx, const told_trace_info *from, traces_begin *to);
PURLIN_CHECKED purlin_status assessment_tell(purlin_ctx *ctx, const traces_assessment *from, told_assessment *to);
PURLIN_CHECKED purlin_status assessment_take(purlin_ctx *ctx, const told_assessment *from, traces_assessment *to);
/* Of a state, in our words and MLflow's; `second` is how the second version of its protocol says that it is not known. */
const char *trace_state_told(const char *state, bool second);
const char *trace_state_taken(const char *state);
/* The tags that MLflow's server adds to a trace by itself. */
PURLIN_CHECKED purlin_status trace_tags(purlin_ctx *ctx, const traces_trace *from, pair_list *out);

/* How many spans its client says that a trace has; 0: it does not say. */
int64_t trace_expects(const traces_trace *trace);

/* What is answered when a trace is not found, in MLflow's words. */
PURLIN_CHECKED purlin_status trace_missing(purlin_ctx *ctx, purlin_status status, const char *trace_id);
/* Reads a trace. */
PURLIN_CHECKED purlin_status trace_get(purlin_ctx *ctx, const char *trace_id, traces_trace *out);

#endif
