#include "traces.h"
#include <string.h>
#include <strings.h>

/* A trace with its spans goes out as it is read, a page of spans at a time: it may be larger than memory. */
enum { PAGE_SPANS = 1000, MOST_TRACES = 100, WAIT_MS = 50, LONGEST_WAIT_MS = 3000 };

/* ---- A span, as the JSON of protocol buffers has it: bytes in base64 ------------------------------------------------------------------ */

typedef struct told_link {
  purlin_bytes trace_id, span_id;
  const char *trace_state;
  purlin_json attributes;
} told_link;
PURLIN_SCHEMA(told_link, "A link of a span",
    PURLIN_REQUIRED(trace_id, "trace"),
    PURLIN_REQUIRED(span_id, "span"),
    PURLIN_OPTIONAL(trace_state, "state"),
    PURLIN_OPTIONAL(attributes, "attributes"));

typedef struct told_status {
  int64_t code;
  const char *message;
} told_status;
PURLIN_SCHEMA(told_status, "How a span ended", PURLIN_REQUIRED(code, "0: unset, 1: ok, 2: error"), PURLIN_REQUIRED(message, "Why"));

typedef struct told_span {
  purlin_bytes trace_id, span_id, parent_span_id;
  const char *trace_state, *name;
  int64_t kind, start_time_unix_nano, end_time_unix_nano;
  purlin_json attributes, events;
  PURLIN_LIST_OF(told_link) links;
  told_status status;
} told_span;
PURLIN_SCHEMA(told_span, "A span of OpenTelemetry",
    PURLIN_REQUIRED(trace_id, "trace"),
    PURLIN_REQUIRED(span_id, "span"),
    PURLIN_OPTIONAL(parent_span_id, "parent"),
    PURLIN_REQUIRED(trace_state, "state"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(kind, "kind"),
    PURLIN_REQUIRED(start_time_unix_nano, "start"),
    PURLIN_REQUIRED(end_time_unix_nano, "end"),
    PURLIN_REQUIRED(attributes, "attributes"),
    PURLIN_REQUIRED(events, "events"),
    PURLIN_LIST(links, told_link, "links"),
    PURLIN_OBJECT(status, told_status, "status"));

typedef struct kept_link {
  const char *traceId, *spanId, *traceState;
  purlin_json attributes;
} kept_link;
PURLIN_SCHEMA(kept_link, "A link, as it is kept",
    PURLIN_DEFAULT(traceId, "\"\"", "trace"),
    PURLIN_DEFAULT(spanId, "\"\"", "span"),
    PURLIN_DEFAULT(traceState, "\"\"", "state"),
    PURLIN_OPTIONAL(attributes, "attributes"));
typedef struct kept_links {
  PURLIN_LIST_OF(kept_link) links;
} kept_links;
PURLIN_SCHEMA(kept_links, "Links, as they are kept", PURLIN_LIST(links, kept_link, "The links"));

static unsigned digit(char c) { return c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0'); }

/* Of small hexadecimal digits. data NULL: no memory, or none. */
static purlin_bytes bytes_of(purlin_ctx *ctx, const char *digits) {
  size_t size = strlen(digits) / 2;
  uint8_t *data = size > 0 ? purlin_alloc(ctx, size) : NULL;
  for (size_t i = 0; data && i < size; i++) data[i] = (uint8_t)(digit(digits[2 * i]) << 4 | digit(digits[2 * i + 1]));
  return (purlin_bytes){data, data ? size : 0};
}

static purlin_status tell_links(purlin_ctx *ctx, purlin_json links, told_span *to) {
  kept_links kept = {0};
  if (links.size <= 2) return PURLIN_OK;
  const char *whole = purlin_format(ctx, "{\"links\":%.*s}", (int)links.size, links.text);
  if (!whole) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_decode_stored(ctx, kept_links_schema(), whole, strlen(whole), &kept);
  to->links.items = purlin_alloc_array(ctx, kept.links.count + 1, sizeof *to->links.items);
  if (!to->links.items) return PURLIN_TOO_LARGE;
  for (; to->links.count < kept.links.count && status == PURLIN_OK; to->links.count++) {
    const kept_link *link = &kept.links.items[to->links.count];
    to->links.items[to->links.count] =
        (told_link){bytes_of(ctx, link->traceId), bytes_of(ctx, link->spanId), link->traceState, link->attributes};
  }
  return status;
}

static purlin_status tell_span(purlin_ctx *ctx, const traces_span *from, purlin_json *out) {
  int64_t code = strcmp(from->status, "error") == 0 ? 2 : strcmp(from->status, "ok") == 0 ? 1 : 0;
  told_span span = {.trace_id = bytes_of(ctx, from->trace_id + 3), /* behind tr- */
                    .span_id = bytes_of(ctx, from->span_id),
                    .parent_span_id = bytes_of(ctx, from->parent_id),
                    .trace_state = from->trace_state,
                    .name = from->name,
                    .kind = from->kind,
                    .start_time_unix_nano = from->start_ns,
                    .end_time_unix_nano = from->end_ns,
                    .attributes = from->attributes,
                    .events = from->events,
                    .status = {code, from->status_message}};
  purlin_status status = tell_links(ctx, from->links, &span);
  return status == PURLIN_OK ? purlin_encode(ctx, told_span_schema(), &span, out) : status;
}

/* ---- Traces, written as they are read ---------------------------------------------------------------------------------------------------- */

static purlin_status write_text(purlin_ctx *ctx, purlin_request *request, const char *text) {
  return purlin_write(ctx, request, text, strlen(text));
}

static purlin_status write_page(purlin_ctx *ctx, purlin_request *request, const traces_span_page *page, bool *first) {
  purlin_json span;
  for (size_t i = 0; i < page->spans.count; i++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    purlin_status status = *first ? PURLIN_OK : write_text(ctx, request, ",");
    if (status == PURLIN_OK) status = tell_span(ctx, &page->spans.items[i], &span);
    if (status == PURLIN_OK) status = purlin_write(ctx, request, span.text, span.size);
    if (status != PURLIN_OK) return status;
    *first = false;
    purlin_arena_reset(ctx, mark);
  }
  return PURLIN_OK;
}

static purlin_status write_spans(purlin_ctx *ctx, purlin_request *request, const char *trace_id) {
  char token[64] = "";
  bool first = true;
  do {
    purlin_mark mark = purlin_arena_mark(ctx);
    traces_list_spans ask = {.trace_id = trace_id, .page = token, .limit = PAGE_SPANS};
    traces_span_page page = {0};
    purlin_status status =
        purlin_call(ctx, "traces.list_spans", traces_list_spans_schema(), &ask, traces_span_page_schema(), &page);
    if (status == PURLIN_OK) status = write_page(ctx, request, &page, &first);
    if (status != PURLIN_OK) return status;
    size_t size = strnlen(page.next_page_token, sizeof token - 1);
    memcpy(token, page.next_page_token, size);
    token[size] = '\0';
    purlin_arena_reset(ctx, mark);
  } while (*token);
  return PURLIN_OK;
}

static purlin_status write_trace(purlin_ctx *ctx, purlin_request *request, const traces_trace *trace) {
  told_trace_info info;
  purlin_json text;
  purlin_status status = trace_tell(ctx, trace, &info);
  if (status == PURLIN_OK) status = purlin_encode(ctx, told_trace_info_schema(), &info, &text);
  if (status == PURLIN_OK) status = write_text(ctx, request, "{\"trace_info\":");
  if (status == PURLIN_OK) status = purlin_write(ctx, request, text.text, text.size);
  if (status == PURLIN_OK) status = write_text(ctx, request, ",\"spans\":[");
  if (status == PURLIN_OK && trace->has_spans) status = write_spans(ctx, request, trace->id);
  return status == PURLIN_OK ? write_text(ctx, request, "]}") : status;
}

/* Reads a trace when all its spans are there: they may be on their way. */
static purlin_status get_whole(purlin_ctx *ctx, const char *trace_id, bool partial, traces_trace *trace) {
  for (unsigned waited = 0;; waited += WAIT_MS) {
    purlin_status status = trace_get(ctx, trace_id, trace);
    if (status != PURLIN_OK || partial || trace->span_count.value >= trace_expects(trace)) return status;
    if (waited >= LONGEST_WAIT_MS)
      return purlin_fail(ctx, PURLIN_NOT_FOUND, "Trace with ID %s is not fully exported yet, please try again later.",
                         trace_id);
    status = purlin_sleep(ctx, WAIT_MS);
    if (status != PURLIN_OK) return status;
  }
}

typedef struct get_trace_in {
  const char *trace_id, *allow_partial;
} get_trace_in;
PURLIN_SCHEMA(get_trace_in, "Which trace",
    PURLIN_REQUIRED(trace_id, "Its id", .max_length = 64),
    PURLIN_DEFAULT(allow_partial, "\"false\"", "Also while some of its spans are on their way", .max_length = 5));

PURLIN_ROUTE(get_trace, "GET /api/3.0/mlflow/traces/get", .summary = "A trace with its spans", .permission = "runs:read", .by_project = true,
    .query = get_trace_in_schema, .answer = "application/json", .timeout_ms = UINT32_MAX, .dialect = &mlflow) {
  get_trace_in in;
  traces_trace trace = {0};
  purlin_status status = purlin_query_decode(ctx, request, get_trace_in_schema(), &in);
  if (status == PURLIN_OK) status = get_whole(ctx, in.trace_id, strcasecmp(in.allow_partial, "true") == 0, &trace);
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, 200, "application/json", -1);
  if (status == PURLIN_OK) status = write_text(ctx, request, "{\"trace\":");
  if (status == PURLIN_OK) status = write_trace(ctx, request, &trace);
  return status == PURLIN_OK ? write_text(ctx, request, "}") : status;
}

typedef struct get_traces_in {
  purlin_texts trace_ids, experiment_ids;
} get_traces_in;
PURLIN_SCHEMA(get_traces_in, "Which traces",
    PURLIN_REQUIRED(trace_ids, "Their ids", .max_length = MOST_TRACES),
    PURLIN_OPTIONAL(experiment_ids, "Of these experiments only", .max_length = 1000));

static bool is_wanted(const get_traces_in *in, const traces_trace *trace) {
  for (size_t i = 0; i < in->experiment_ids.count; i++)
    if (strcmp(in->experiment_ids.items[i], trace->experiment_id) == 0) return true;
  return in->experiment_ids.count == 0;
}

PURLIN_ROUTE(get_traces, "GET /api/3.0/mlflow/traces/batchGet", .summary = "Traces with their spans, as many as there are", .permission = "runs:read",
    .by_project = true, .query = get_traces_in_schema, .answer = "application/json", .timeout_ms = UINT32_MAX, .dialect = &mlflow) {
  get_traces_in in;
  traces_page found = {0};
  bool first = true;
  purlin_status status = purlin_query_decode(ctx, request, get_traces_in_schema(), &in);
  if (status != PURLIN_OK) return status;
  traces_which_many ask = {in.trace_ids};
  status = purlin_call(ctx, "traces.get_many", traces_which_many_schema(), &ask, traces_page_schema(), &found);
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, 200, "application/json", -1);
  if (status == PURLIN_OK) status = write_text(ctx, request, "{\"traces\":[");
  for (size_t i = 0; i < found.traces.count && status == PURLIN_OK; i++) {
    if (!is_wanted(&in, &found.traces.items[i])) continue;
    purlin_mark mark = purlin_arena_mark(ctx);
    status = first ? PURLIN_OK : write_text(ctx, request, ",");
    if (status == PURLIN_OK) status = write_trace(ctx, request, &found.traces.items[i]);
    first = false;
    purlin_arena_reset(ctx, mark);
  }
  return status == PURLIN_OK ? write_text(ctx, request, "]}") : status;
}
