#include "traces.h"
#include <string.h>

static const char *joined(purlin_ctx *ctx, purlin_texts texts) {
  const char *all = "";
  for (size_t i = 0; i < texts.count && all; i++)
    all = purlin_format(ctx, "%s%s%s", all, i > 0 ? ", " : "", texts.items[i]);
  return all;
}

/* Reads a page of traces. */
static purlin_status search(purlin_ctx *ctx, purlin_texts experiments, const char *filter, purlin_texts order,
                            const char *page, int64_t limit, traces_page *found) {
  traces_search ask = {
      .experiment_ids = experiments, .condition = filter, .order = joined(ctx, order), .page = page, .limit = limit};
  if (!ask.order) return PURLIN_TOO_LARGE;
  return purlin_call(ctx, "traces.search", traces_search_schema(), &ask, traces_page_schema(), found);
}

/* An experiment that is not there, as whoever starts a trace is told. */
static purlin_status experiment_missing(purlin_ctx *ctx, purlin_status status, const char *id) {
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "No Experiment with id=%s exists", id) : status;
}

/* ---- The third version ---------------------------------------------------------------------------------------------------------------- */

typedef struct told_trace {
  told_trace_info trace_info;
} told_trace;
PURLIN_SCHEMA(told_trace, "A trace", PURLIN_OBJECT(trace_info, told_trace_info, "What is known of it"));
typedef struct trace_answer {
  told_trace trace;
} trace_answer;
PURLIN_SCHEMA(trace_answer, "A trace", PURLIN_OBJECT(trace, told_trace, "The trace"));

MLFLOW_BINDING(start_trace, trace_answer, trace_answer, "POST /api/3.0/mlflow/traces", "traces.start") {
  const told_trace_info *info = &in->trace.trace_info;
  traces_begin ask;
  traces_trace made = {0};
  purlin_status status = trace_take(ctx, info, &ask);
  if (status != PURLIN_OK) return status;
  status = purlin_call(ctx, "traces.start", traces_begin_schema(), &ask, traces_trace_schema(), &made);
  return status == PURLIN_OK ? trace_tell(ctx, &made, &out->trace.trace_info)
                             : experiment_missing(ctx, status, ask.experiment_id);
}

typedef struct which_trace {
  const char *trace_id;
} which_trace;
PURLIN_SCHEMA(which_trace, "Which trace", PURLIN_REQUIRED(trace_id, "Its id", .max_length = 64));

MLFLOW_BINDING(get_trace_info, which_trace, trace_answer,
               "GET /api/3.0/mlflow/traces/{trace_id}, GET /api/2.0/mlflow/traces/{trace_id}", "traces.get") {
  traces_trace found = {0};
  purlin_status status = trace_get(ctx, in->trace_id, &found);
  return status == PURLIN_OK ? trace_tell(ctx, &found, &out->trace.trace_info) : status;
}

static purlin_status tell_all(purlin_ctx *ctx, const traces_page *found, told_trace_info **items, size_t *count) {
  *items = purlin_alloc_array(ctx, found->traces.count + 1, sizeof **items);
  if (!*items) return PURLIN_TOO_LARGE;
  for (*count = 0; *count < found->traces.count; ++*count) {
    purlin_status status = trace_tell(ctx, &found->traces.items[*count], &(*items)[*count]);
    if (status != PURLIN_OK) return status;
  }
  return PURLIN_OK;
}

typedef struct search_traces_in {
  PURLIN_LIST_OF(trace_location) locations;
  const char *filter;
  int64_t max_results;
  purlin_texts order_by;
  const char *page_token;
} search_traces_in;
PURLIN_SCHEMA(search_traces_in, "Which traces",
    PURLIN_LIST(locations, trace_location, "Of which experiments", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(filter, "\"\"", "Which of them"),
    PURLIN_DEFAULT(max_results, "100", "At most so many", .min = 1, .max = 500),
    PURLIN_OPTIONAL(order_by, "In which order", .max_length = 16),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before"));
typedef struct trace_infos {
  PURLIN_LIST_OF(told_trace_info) traces;
  purlin_opt_text next_page_token;
} trace_infos;
PURLIN_SCHEMA(trace_infos, "Traces",
    PURLIN_LIST(traces, told_trace_info, "The traces"),
    PURLIN_OPTIONAL(next_page_token, "What asks for more"));

static purlin_opt_text token(const char *text) {
  return text && *text ? (purlin_opt_text){PURLIN_SET, text} : (purlin_opt_text){0};
}

MLFLOW_BINDING(search_traces, search_traces_in, trace_infos, "POST /api/3.0/mlflow/traces/search", "traces.search") {
  traces_page found = {0};
  const char **ids = purlin_alloc_array(ctx, in->locations.count + 1, sizeof *ids);
  if (!ids) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->locations.count; i++) ids[i] = in->locations.items[i].mlflow_experiment.experiment_id;
  purlin_status status = search(ctx, (purlin_texts){ids, in->locations.count}, in->filter, in->order_by, in->page_token,
                                in->max_results, &found);
  out->next_page_token = token(found.next_page_token);
  return status == PURLIN_OK ? tell_all(ctx, &found, &out->traces.items, &out->traces.count) : status;
}

typedef struct which_traces {
  purlin_texts trace_ids, experiment_ids;
} which_traces;
PURLIN_SCHEMA(which_traces, "Which traces",
    PURLIN_REQUIRED(trace_ids, "Their ids", .max_length = 1000),
    PURLIN_OPTIONAL(experiment_ids, "Of these experiments only", .max_length = 1000));
typedef struct trace_info_list {
  PURLIN_LIST_OF(told_trace_info) trace_infos;
} trace_info_list;
PURLIN_SCHEMA(trace_info_list, "Traces", PURLIN_LIST(trace_infos, told_trace_info, "The traces"));

MLFLOW_BINDING(get_trace_infos, which_traces, trace_info_list, "POST /api/3.0/mlflow/traces/batchGetInfos",
               "traces.get_many") {
  traces_which_many ask = {in->trace_ids};
  traces_page found = {0};
  purlin_status status =
      purlin_call(ctx, "traces.get_many", traces_which_many_schema(), &ask, traces_page_schema(), &found);
  size_t kept = 0;
  for (size_t i = 0; i < found.traces.count && in->experiment_ids.items; i++) {
    size_t at = 0;
    while (at < in->experiment_ids.count && strcmp(in->experiment_ids.items[at], found.traces.items[i].experiment_id) != 0)
      at++;
    if (at < in->experiment_ids.count) found.traces.items[kept++] = found.traces.items[i];
  }
  if (in->experiment_ids.items) found.traces.count = kept;
  return status == PURLIN_OK ? tell_all(ctx, &found, &out->trace_infos.items, &out->trace_infos.count) : status;
}

/* ---- Both versions ------------------------------------------------------------------------------------------------------------------------ */

typedef struct delete_traces_in {
  const char *experiment_id;
  purlin_opt_int max_timestamp_millis, max_traces;
  purlin_texts request_ids;
} delete_traces_in;
PURLIN_SCHEMA(delete_traces_in, "Which traces go",
    PURLIN_REQUIRED(experiment_id, "Of which experiment", .max_length = 64),
    PURLIN_OPTIONAL(max_timestamp_millis, "That began until then", .max = 253402300799999.0),
    PURLIN_OPTIONAL(max_traces, "At most so many"),
    PURLIN_OPTIONAL(request_ids, "Their ids", .max_length = 1000));
typedef struct delete_traces_out {
  int64_t traces_deleted;
} delete_traces_out;
PURLIN_SCHEMA(delete_traces_out, "How many went", PURLIN_REQUIRED(traces_deleted, "Traces"));

MLFLOW_BINDING(delete_traces, delete_traces_in, delete_traces_out,
               "POST /api/2.0/mlflow/traces/delete-traces, POST /api/3.0/mlflow/traces/delete-traces", "traces.delete") {
  traces_delete ask = {.experiment_id = in->experiment_id, .trace_ids = in->request_ids, .most = in->max_traces};
  traces_deleted done = {0};
  if (in->max_timestamp_millis.state == PURLIN_SET) ask.until = mlflow_time(in->max_timestamp_millis.value);
  if (in->max_traces.state == PURLIN_SET && in->max_traces.value <= 0)
    return purlin_fail(ctx, PURLIN_INVALID, "`max_traces` must be a positive integer, received %lld.",
                       (long long)in->max_traces.value);
  purlin_status status = purlin_call(ctx, "traces.delete", traces_delete_schema(), &ask, traces_deleted_schema(), &done);
  out->traces_deleted = done.deleted;
  return experiment_missing(ctx, status, in->experiment_id);
}

typedef struct set_trace_tag_in {
  const char *trace_id, *key, *value;
} set_trace_tag_in;
PURLIN_SCHEMA(set_trace_tag_in, "A tag of a trace",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(key, "Its name", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "Its value", .max_length = 32000));

MLFLOW_BINDING(set_trace_tag, set_trace_tag_in, purlin_nothing,
               "PATCH /api/2.0/mlflow/traces/{trace_id}/tags, PATCH /api/3.0/mlflow/traces/{trace_id}/tags",
               "traces.set_tag") {
  traces_tag ask = {in->trace_id, in->key, in->value};
  traces_trace tagged = {0};
  return trace_missing(ctx, purlin_call(ctx, "traces.set_tag", traces_tag_schema(), &ask, traces_trace_schema(), &tagged),
                       in->trace_id);
}

typedef struct delete_trace_tag_in {
  const char *trace_id, *key;
} delete_trace_tag_in;
PURLIN_SCHEMA(delete_trace_tag_in, "Which tag",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(key, "Its name", .min_length = 1, .max_length = 1000));

MLFLOW_BINDING(delete_trace_tag, delete_trace_tag_in, purlin_nothing,
               "DELETE /api/2.0/mlflow/traces/{trace_id}/tags, DELETE /api/3.0/mlflow/traces/{trace_id}/tags",
               "traces.delete_tag") {
  traces_which_tag ask = {in->trace_id, in->key};
  purlin_status status =
      purlin_call(ctx, "traces.delete_tag", traces_which_tag_schema(), &ask, purlin_nothing_schema(), out);
  if (status != PURLIN_NOT_FOUND) return status;
  traces_trace found = {0};
  status = trace_get(ctx, in->trace_id, &found);
  if (status != PURLIN_OK) return status;
  return purlin_fail(ctx, PURLIN_NOT_FOUND, "No trace tag with key '%s' for trace with ID '%s'", in->key, in->trace_id);
}

typedef struct link_traces_in {
  purlin_texts trace_ids;
  const char *run_id;
} link_traces_in;
PURLIN_SCHEMA(link_traces_in, "Traces and their run",
    PURLIN_REQUIRED(trace_ids, "The traces", .max_length = 100),
    PURLIN_REQUIRED(run_id, "The run", .min_length = 1, .max_length = 256));

MLFLOW_BINDING(link_traces_to_run, link_traces_in, purlin_nothing,
               "POST /api/2.0/mlflow/traces/link-to-run, POST /api/3.0/mlflow/traces/link-to-run", "traces.link") {
  traces_link ask = {.trace_ids = in->trace_ids, .run_id = in->run_id};
  return purlin_call(ctx, "traces.link", traces_link_schema(), &ask, purlin_nothing_schema(), out);
}

typedef struct prompt_version {
  const char *name, *version;
} prompt_version;
PURLIN_SCHEMA(prompt_version, "A version of a prompt",
    PURLIN_REQUIRED(name, "The prompt", .max_length = 1000),
    PURLIN_REQUIRED(version, "Its version", .max_length = 100));
typedef struct link_prompts_in {
  const char *trace_id;
  PURLIN_LIST_OF(prompt_version) prompt_versions;
} link_prompts_in;
PURLIN_SCHEMA(link_prompts_in, "A trace and its prompts",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_LIST(prompt_versions, prompt_version, "The prompts", .max_length = 100));

MLFLOW_BINDING(link_prompts_to_trace, link_prompts_in, purlin_nothing,
               "POST /api/2.0/mlflow/traces/link-prompts, POST /api/3.0/mlflow/traces/link-prompts", "traces.link") {
  traces_trace found = {0};
  purlin_status status = trace_get(ctx, in->trace_id, &found);
  const char **prompts = purlin_alloc_array(ctx, in->prompt_versions.count + 1, sizeof *prompts);
  if (status != PURLIN_OK) return status;
  if (!prompts) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < in->prompt_versions.count; i++) {
    prompts[i] = purlin_format(ctx, "%s/%s", in->prompt_versions.items[i].name, in->prompt_versions.items[i].version);
    if (!prompts[i]) return PURLIN_TOO_LARGE;
  }
  traces_link ask = {.trace_ids = {&in->trace_id, 1}, .run_id = "", .prompts = {prompts, in->prompt_versions.count}};
  return purlin_call(ctx, "traces.link", traces_link_schema(), &ask, purlin_nothing_schema(), out);
}

/* ---- The second version ------------------------------------------------------------------------------------------------------------------- */

typedef struct trace_pair {
  const char *key, *value;
} trace_pair;
PURLIN_SCHEMA(trace_pair, "A tag, or metadata",
    PURLIN_REQUIRED(key, "Its name", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(value, "\"\"", "Its value", .max_length = 32000));
_Static_assert(sizeof(trace_pair) == sizeof(tracking_pair) && offsetof(trace_pair, value) == offsetof(tracking_pair, value),
               "a pair is a key and a value");

typedef struct second_info {
  const char *request_id, *experiment_id;
  int64_t timestamp_ms;
  purlin_opt_int execution_time_ms;
  const char *status;
  PURLIN_LIST_OF(tracking_pair) request_metadata;
  PURLIN_LIST_OF(tracking_pair) tags;
} second_info;
PURLIN_SCHEMA(second_info, "A trace, in the second version of the protocol",
    PURLIN_REQUIRED(request_id, "Its id"),
    PURLIN_REQUIRED(experiment_id, "Its experiment"),
    PURLIN_REQUIRED(timestamp_ms, "When it began"),
    PURLIN_OPTIONAL(execution_time_ms, "How long it took"),
    PURLIN_REQUIRED(status, "How it ended"),
    PURLIN_LIST(request_metadata, tracking_pair, "What is known of it"),
    PURLIN_LIST(tags, tracking_pair, "Its tags"));
typedef struct second_answer {
  second_info trace_info;
} second_answer;
PURLIN_SCHEMA(second_answer, "A trace", PURLIN_OBJECT(trace_info, second_info, "The trace"));

static purlin_status tell_second(purlin_ctx *ctx, const traces_trace *from, second_info *to) {
  pair_list tags;
  *to = (second_info){.request_id = from->id,
                      .experiment_id = from->experiment_id,
                      .timestamp_ms = mlflow_ms(from->request_time),
                      .execution_time_ms = from->execution_ms,
                      .status = trace_state_told(from->state, true)};
  purlin_status status = trace_tags(ctx, from, &tags);
  to->request_metadata.items = from->metadata.items;
  to->request_metadata.count = from->metadata.count;
  to->tags.items = tags.items;
  to->tags.count = tags.count;
  return status;
}

typedef struct start_second_in {
  const char *experiment_id;
  int64_t timestamp_ms;
  PURLIN_LIST_OF(trace_pair) request_metadata;
  PURLIN_LIST_OF(trace_pair) tags;
} start_second_in;
PURLIN_SCHEMA(start_second_in, "A trace that begins",
    PURLIN_REQUIRED(experiment_id, "Its experiment", .max_length = 64),
    PURLIN_DEFAULT(timestamp_ms, "0", "When", .min = 0, .max = 253402300799999.0),
    PURLIN_LIST(request_metadata, trace_pair, "What is known of it", .max_length = 1000),
    PURLIN_LIST(tags, trace_pair, "Its tags", .max_length = 1000));

MLFLOW_BINDING(start_trace_of_second, start_second_in, second_answer, "POST /api/2.0/mlflow/traces", "traces.start") {
  traces_begin ask = {
      .id = "", .experiment_id = in->experiment_id, .state = "in_progress", .request_time = mlflow_time(in->timestamp_ms)};
  traces_trace made = {0};
  ask.tags.items = (tracking_pair *)(void *)in->tags.items;
  ask.tags.count = in->tags.count;
  ask.metadata.items = (tracking_pair *)(void *)in->request_metadata.items;
  ask.metadata.count = in->request_metadata.count;
  purlin_status status = purlin_call(ctx, "traces.start", traces_begin_schema(), &ask, traces_trace_schema(), &made);
  return status == PURLIN_OK ? tell_second(ctx, &made, &out->trace_info)
                             : experiment_missing(ctx, status, in->experiment_id);
}

typedef struct end_second_in {
  const char *request_id;
  int64_t timestamp_ms;
  const char *status;
  PURLIN_LIST_OF(trace_pair) request_metadata;
  PURLIN_LIST_OF(trace_pair) tags;
} end_second_in;
PURLIN_SCHEMA(end_second_in, "How a trace ended",
    PURLIN_REQUIRED(request_id, "The trace", .max_length = 64),
    PURLIN_DEFAULT(timestamp_ms, "0", "When", .min = 0, .max = 253402300799999.0),
    PURLIN_DEFAULT(status, "\"TRACE_STATUS_UNSPECIFIED\"", "How: OK or ERROR", .max_length = 40),
    PURLIN_LIST(request_metadata, trace_pair, "What is known of it", .max_length = 1000),
    PURLIN_LIST(tags, trace_pair, "Its tags", .max_length = 1000));

MLFLOW_BINDING(end_trace_of_second, end_second_in, second_answer, "PATCH /api/2.0/mlflow/traces/{request_id}",
               "traces.end") {
  traces_end ask = {
      .trace_id = in->request_id, .state = trace_state_taken(in->status), .ended_at = mlflow_time(in->timestamp_ms)};
  traces_trace ended = {0};
  ask.tags.items = (tracking_pair *)(void *)in->tags.items;
  ask.tags.count = in->tags.count;
  ask.metadata.items = (tracking_pair *)(void *)in->request_metadata.items;
  ask.metadata.count = in->request_metadata.count;
  purlin_status status = purlin_call(ctx, "traces.end", traces_end_schema(), &ask, traces_trace_schema(), &ended);
  return status == PURLIN_OK ? tell_second(ctx, &ended, &out->trace_info) : trace_missing(ctx, status, in->request_id);
}

typedef struct which_second {
  const char *request_id;
} which_second;
PURLIN_SCHEMA(which_second, "Which trace", PURLIN_REQUIRED(request_id, "Its id", .max_length = 64));

MLFLOW_BINDING(get_trace_of_second, which_second, second_answer, "GET /api/2.0/mlflow/traces/{request_id}/info",
               "traces.get") {
  traces_trace found = {0};
  purlin_status status = trace_get(ctx, in->request_id, &found);
  return status == PURLIN_OK ? tell_second(ctx, &found, &out->trace_info) : status;
}

typedef struct search_second_in {
  purlin_texts experiment_ids;
  const char *filter;
  int64_t max_results;
  purlin_texts order_by;
  const char *page_token;
} search_second_in;
PURLIN_SCHEMA(search_second_in, "Which traces",
    PURLIN_REQUIRED(experiment_ids, "Of which experiments", .min_length = 1, .max_length = 1000),
    PURLIN_DEFAULT(filter, "\"\"", "Which of them"),
    PURLIN_DEFAULT(max_results, "100", "At most so many", .min = 1, .max = 500),
    PURLIN_OPTIONAL(order_by, "In which order", .max_length = 16),
    PURLIN_DEFAULT(page_token, "\"\"", "What came with the page before"));
typedef struct second_infos {
  PURLIN_LIST_OF(second_info) traces;
  purlin_opt_text next_page_token;
} second_infos;
PURLIN_SCHEMA(second_infos, "Traces",
    PURLIN_LIST(traces, second_info, "The traces"),
    PURLIN_OPTIONAL(next_page_token, "What asks for more"));

MLFLOW_BINDING(search_traces_of_second, search_second_in, second_infos, "GET /api/2.0/mlflow/traces", "traces.search") {
  traces_page found = {0};
  purlin_status status = search(ctx, in->experiment_ids, in->filter, in->order_by, in->page_token, in->max_results, &found);
  out->next_page_token = token(found.next_page_token);
  out->traces.items = purlin_alloc_array(ctx, found.traces.count + 1, sizeof *out->traces.items);
  if (!out->traces.items) return PURLIN_TOO_LARGE;
  for (; out->traces.count < found.traces.count && status == PURLIN_OK; out->traces.count++)
    status = tell_second(ctx, &found.traces.items[out->traces.count], &out->traces.items[out->traces.count]);
  return status;
}
