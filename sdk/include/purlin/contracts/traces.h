/* traces.h: what the operations of the plugin `traces` take and give, for those that call them from C.
 *
 *   traces_which which = {.trace_id = "tr-0af7651916cd43dd8448eb211c80319c"};
 *   traces_trace found = {0};
 *   status = purlin_call(ctx, "traces.get", traces_which_schema(), &which, traces_trace_schema(), &found);
 *
 * Who includes this and says PURLIN_NEEDS_PLUGIN(traces, "traces") passes structs as they are: nothing is encoded on the way. What each
 * operation does, and which permission it wants, stands where it is declared, in plugins/traces.
 *
 * Attributes, events and links of spans are in the JSON of OTLP: attributes are
 * [{"key": "name", "value": {"stringValue": "x"}}], so that each value keeps its type.
 *
 * Since 0.2. */
#ifndef PURLIN_CONTRACTS_TRACES_H
#define PURLIN_CONTRACTS_TRACES_H

#include <purlin/contracts/tracking.h>

PURLIN_BEGIN

#define TRACES_STATES "unspecified, in_progress, ok, error"
#define TRACES_ID .pattern = "[A-Za-z0-9][A-Za-z0-9_.-]*", .max_length = 64

/* ---- Assessments: what people, judges and code say of a trace -------------------------------------------------------------------- */

typedef struct traces_assessment {
  const char *trace_id, *id, *name, *kind;
  purlin_json value, error;
  const char *source_type, *source_id;
  purlin_opt_text span_id, rationale, overrides;
  bool valid;
  PURLIN_LIST_OF(tracking_pair) metadata;
  purlin_time created_at, updated_at;
} traces_assessment;
#define TRACES_ASSESSMENT_FIELDS                                                                                           \
  PURLIN_DEFAULT(id, "\"\"", "Its id; one is made, if it is left out", .max_length = 64),                                  \
      PURLIN_REQUIRED(name, "What is judged", .min_length = 1, .max_length = 250),                                         \
      PURLIN_DEFAULT(kind, "\"feedback\"", "Feedback, what was expected, or an issue that it shows",                       \
                     .choices = "feedback, expectation, issue"),                                                           \
      PURLIN_OPTIONAL(value, "The judgement: any value"), PURLIN_OPTIONAL(error, "Why there is no value"),                 \
      PURLIN_DEFAULT(source_type, "\"HUMAN\"", "Who judged: HUMAN, LLM_JUDGE, CODE", .max_length = 50),                    \
      PURLIN_DEFAULT(source_id, "\"\"", "By name", .max_length = 250),                                                     \
      PURLIN_OPTIONAL(span_id, "Of which span", .max_length = 50), PURLIN_OPTIONAL(rationale, "Why", .max_length = 60000), \
      PURLIN_OPTIONAL(overrides, "The assessment that it takes the place of", .max_length = 64),                           \
      PURLIN_DEFAULT(valid, "true", "Whether no other has taken its place"),                                               \
      PURLIN_LIST(metadata, tracking_pair, "More of it", .max_length = 100)
PURLIN_SCHEMA(traces_assessment, "What somebody says of a trace",
    PURLIN_DEFAULT(trace_id, "\"\"", "The trace", .max_length = 64),
    TRACES_ASSESSMENT_FIELDS,
    PURLIN_OPTIONAL(created_at, "When; now, if it is left out"),
    PURLIN_OPTIONAL(updated_at, "When it changed last"));

typedef struct traces_which_assessment {
  const char *trace_id, *id;
} traces_which_assessment;
PURLIN_SCHEMA(traces_which_assessment, "Which assessment",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(id, "Its id", .max_length = 64));

/* What is absent stays as it is; metadata is added to what is there. */
typedef struct traces_change_assessment {
  const char *trace_id, *id;
  purlin_opt_text name, rationale;
  purlin_json value, error;
  const char *kind;
  PURLIN_LIST_OF(tracking_pair) metadata;
} traces_change_assessment;
PURLIN_SCHEMA(traces_change_assessment, "What changes of an assessment",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(id, "Its id", .max_length = 64),
    PURLIN_OPTIONAL(name, "What is judged", .min_length = 1, .max_length = 250),
    PURLIN_OPTIONAL(rationale, "Why", .max_length = 60000),
    PURLIN_OPTIONAL(value, "The judgement"),
    PURLIN_OPTIONAL(error, "Why there is no value"),
    PURLIN_DEFAULT(kind, "\"\"", "Refuses when it is of another kind", .max_length = 20),
    PURLIN_LIST(metadata, tracking_pair, "More of it", .max_length = 100));

/* ---- Traces ----------------------------------------------------------------------------------------------------------------------- */

typedef struct traces_trace {
  const char *id, *project, *experiment_id, *state;
  purlin_time request_time;
  purlin_opt_int execution_ms;
  purlin_opt_text request_preview, response_preview, client_request_id, name;
  const char *artifact_location;
  bool has_spans;
  purlin_opt_int span_count;
  PURLIN_LIST_OF(tracking_pair) tags;
  PURLIN_LIST_OF(tracking_pair) metadata;
  PURLIN_LIST_OF(traces_assessment) assessments;
} traces_trace;
PURLIN_SCHEMA(traces_trace, "A trace: what one request did",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(project, "Its project"),
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_REQUIRED(state, "How it ended", .choices = TRACES_STATES),
    PURLIN_REQUIRED(request_time, "When it began"),
    PURLIN_OPTIONAL(execution_ms, "How long it took, in milliseconds"),
    PURLIN_OPTIONAL(request_preview, "The beginning of what was asked"),
    PURLIN_OPTIONAL(response_preview, "The beginning of what was answered"),
    PURLIN_OPTIONAL(client_request_id, "What the client calls it"),
    PURLIN_OPTIONAL(name, "Its name: the tag mlflow.traceName"),
    PURLIN_REQUIRED(artifact_location, "The URI below which its files are"),
    PURLIN_REQUIRED(has_spans, "Whether spans of it are kept here"),
    PURLIN_OPTIONAL(span_count, "How many, where it is asked for by itself"),
    PURLIN_LIST(tags, tracking_pair, "Its tags"),
    PURLIN_LIST(metadata, tracking_pair, "What was known of it when it ended"),
    PURLIN_LIST(assessments, traces_assessment, "What was said of it"));

/* A trace as its client tells it when it has ended: told once more, it is the same trace. */
typedef struct traces_begin {
  const char *id, *experiment_id, *state;
  purlin_time request_time;
  purlin_opt_int execution_ms;
  purlin_opt_text request_preview, response_preview, client_request_id;
  PURLIN_LIST_OF(tracking_pair) tags;
  PURLIN_LIST_OF(tracking_pair) metadata;
  PURLIN_LIST_OF(traces_assessment) assessments;
} traces_begin;
PURLIN_SCHEMA(traces_begin, "A trace",
    PURLIN_DEFAULT(id, "\"\"", "Its id, such as tr- and the 32 digits of OpenTelemetry's; one is made, if it is left out", .max_length = 64),
    PURLIN_REQUIRED(experiment_id, "Its experiment; 0: the one named Default", .max_length = 64),
    PURLIN_DEFAULT(state, "\"in_progress\"", "How it ended", .choices = TRACES_STATES),
    PURLIN_OPTIONAL(request_time, "When it began; now, if it is left out"),
    PURLIN_OPTIONAL(execution_ms, "How long it took, in milliseconds", .min = 0, .max = 1e14),
    PURLIN_OPTIONAL(request_preview, "The beginning of what was asked", .max_length = 40000),
    PURLIN_OPTIONAL(response_preview, "The beginning of what was answered", .max_length = 40000),
    PURLIN_OPTIONAL(client_request_id, "What the client calls it", .max_length = 250),
    PURLIN_LIST(tags, tracking_pair, "Its tags", .max_length = 1000),
    PURLIN_LIST(metadata, tracking_pair, "What is known of it", .max_length = 1000),
    PURLIN_LIST(assessments, traces_assessment, "What is said of it", .max_length = 1000));

typedef struct traces_end {
  const char *trace_id, *state;
  purlin_time ended_at;
  PURLIN_LIST_OF(tracking_pair) tags;
  PURLIN_LIST_OF(tracking_pair) metadata;
} traces_end;
PURLIN_SCHEMA(traces_end, "How a trace ended",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_DEFAULT(state, "\"ok\"", "How", .choices = TRACES_STATES),
    PURLIN_OPTIONAL(ended_at, "When; now, if it is left out"),
    PURLIN_LIST(tags, tracking_pair, "Its tags", .max_length = 1000),
    PURLIN_LIST(metadata, tracking_pair, "What is known of it", .max_length = 1000));

typedef struct traces_which {
  const char *trace_id;
} traces_which;
PURLIN_SCHEMA(traces_which, "Which trace", PURLIN_REQUIRED(trace_id, "Its id", .max_length = 64));

typedef struct traces_which_many {
  purlin_texts trace_ids;
} traces_which_many;
PURLIN_SCHEMA(traces_which_many, "Which traces", PURLIN_REQUIRED(trace_ids, "Their ids", .max_length = 1000));

typedef struct traces_search {
  purlin_texts experiment_ids;
  const char *condition, *order, *page;
  int64_t limit;
} traces_search;
PURLIN_SCHEMA(traces_search, "Which traces",
    PURLIN_REQUIRED(experiment_ids, "Of which experiments", .max_length = 1000),
    PURLIN_DEFAULT(condition, "\"\"", "Which, such as trace.status = 'ERROR' AND tags.stage = 'test'; all without it"),
    PURLIN_DEFAULT(order, "\"\"", "Keys with commas between, such as execution_time DESC"),
    PURLIN_DEFAULT(page, "\"\"", "What came as next_page_token with the page before"),
    PURLIN_DEFAULT(limit, "100", "At most so many", .min = 1, .max = 1000));

typedef struct traces_page {
  PURLIN_LIST_OF(traces_trace) traces;
  const char *next_page_token;
} traces_page;
PURLIN_SCHEMA(traces_page, "Traces",
    PURLIN_LIST(traces, traces_trace, "The traces"),
    PURLIN_OPTIONAL(next_page_token, "What asks for more; empty after the last"));

/* Either by their ids, or those that began until a time, the oldest first. */
typedef struct traces_delete {
  const char *experiment_id;
  purlin_texts trace_ids;
  purlin_time until;
  purlin_opt_int most;
} traces_delete;
PURLIN_SCHEMA(traces_delete, "Which traces go",
    PURLIN_REQUIRED(experiment_id, "Of which experiment", .max_length = 64),
    PURLIN_OPTIONAL(trace_ids, "Their ids, or", .max_length = 1000),
    PURLIN_OPTIONAL(until, "that they began until then"),
    PURLIN_OPTIONAL(most, "At most so many of those", .min = 1, .max = 2147483647));

typedef struct traces_deleted {
  int64_t deleted;
} traces_deleted;
PURLIN_SCHEMA(traces_deleted, "How many went", PURLIN_REQUIRED(deleted, "Traces"));

/* The event traces.deleted. Whoever keeps something of these traces may delete it now. Those of an experiment that is purged go without it. */
typedef struct traces_gone {
  purlin_texts trace_ids;
} traces_gone;
PURLIN_SCHEMA(traces_gone, "Traces are gone for good", PURLIN_REQUIRED(trace_ids, "Their ids"));

typedef struct traces_tag {
  const char *trace_id, *key, *value;
} traces_tag;
PURLIN_SCHEMA(traces_tag, "A tag of a trace",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(key, "Its name", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "Its value", .max_length = 32000));

typedef struct traces_which_tag {
  const char *trace_id, *key;
} traces_which_tag;
PURLIN_SCHEMA(traces_which_tag, "Which tag",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(key, "Its name", .min_length = 1, .max_length = 1000));

typedef struct traces_link {
  purlin_texts trace_ids;
  const char *run_id;
  purlin_texts prompts;
} traces_link;
PURLIN_SCHEMA(traces_link, "What traces belong to",
    PURLIN_REQUIRED(trace_ids, "The traces", .max_length = 100),
    PURLIN_DEFAULT(run_id, "\"\"", "A run, or", .max_length = 256),
    PURLIN_OPTIONAL(prompts, "versions of prompts: NAME/VERSION", .max_length = 100));

/* ---- Spans ------------------------------------------------------------------------------------------------------------------------ */

typedef struct traces_span {
  const char *trace_id, *span_id, *parent_id, *name, *type, *status, *status_message, *trace_state;
  int64_t kind, start_ns, end_ns;
  purlin_json attributes, events, links, resource, scope;
} traces_span;
PURLIN_SCHEMA(traces_span, "A span: one step of a trace",
    PURLIN_REQUIRED(trace_id, "Its trace: tr- and 32 hexadecimal digits", .max_length = 64),
    PURLIN_REQUIRED(span_id, "Its id: 16 hexadecimal digits", .max_length = 16),
    PURLIN_DEFAULT(parent_id, "\"\"", "The span that it is part of", .max_length = 16),
    PURLIN_REQUIRED(name, "Its name", .max_length = 4000),
    PURLIN_DEFAULT(type, "\"\"", "What kind of step: its attribute mlflow.spanType; answered, not taken", .max_length = 250),
    PURLIN_DEFAULT(status, "\"unset\"", "How it ended", .choices = "unset, ok, error"),
    PURLIN_DEFAULT(status_message, "\"\"", "Why"),
    PURLIN_DEFAULT(trace_state, "\"\"", "W3C's tracestate", .max_length = 4000),
    PURLIN_DEFAULT(kind, "0", "OpenTelemetry's number of its kind", .min = 0, .max = 1000),
    PURLIN_REQUIRED(start_ns, "When it began, in nanoseconds since 1970"),
    PURLIN_DEFAULT(end_ns, "0", "When it ended; 0: not yet"),
    PURLIN_OPTIONAL(attributes, "Its attributes, as in OTLP's JSON"),
    PURLIN_OPTIONAL(events, "What happened in it"),
    PURLIN_OPTIONAL(links, "Spans that it has to do with"),
    PURLIN_OPTIONAL(resource, "Attributes of what made it"),
    PURLIN_OPTIONAL(scope, "The library that made it"));

typedef struct traces_log_spans {
  const char *experiment_id, *run_id;
  PURLIN_LIST_OF(traces_span) spans;
} traces_log_spans;
PURLIN_SCHEMA(traces_log_spans, "Spans of one or more traces",
    PURLIN_REQUIRED(experiment_id, "To which experiment new traces belong; 0: the one named Default", .max_length = 64),
    PURLIN_DEFAULT(run_id, "\"\"", "To which run", .max_length = 256),
    PURLIN_LIST(spans, traces_span, "The spans", .max_length = 10000));

typedef struct traces_logged {
  int64_t stored, rejected;
  const char *why;
} traces_logged;
PURLIN_SCHEMA(traces_logged, "What became of spans",
    PURLIN_REQUIRED(stored, "How many are kept"),
    PURLIN_REQUIRED(rejected, "How many are wrong"),
    PURLIN_DEFAULT(why, "\"\"", "What is wrong with the first of those"));

typedef struct traces_list_spans {
  const char *trace_id, *page;
  int64_t limit;
} traces_list_spans;
PURLIN_SCHEMA(traces_list_spans, "Which spans",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_DEFAULT(page, "\"\"", "What came as next_page_token with the page before", .max_length = 100),
    PURLIN_DEFAULT(limit, "1000", "At most so many; fewer come when they are large", .min = 1, .max = 10000));

typedef struct traces_span_page {
  PURLIN_LIST_OF(traces_span) spans;
  const char *next_page_token;
} traces_span_page;
PURLIN_SCHEMA(traces_span_page, "Spans, in order of their start",
    PURLIN_LIST(spans, traces_span, "The spans"),
    PURLIN_OPTIONAL(next_page_token, "What asks for more; empty after the last"));

PURLIN_END

#endif
