#include "receive.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_SPANS = 1000, BATCH_BYTES = 2 * 1024 * 1024, MOST_SPANS = 10000, MOST_NAME = 1000, MOST_MESSAGE = 16000 };

/* A span in the one JSON that otlp.h makes. */
typedef struct otlp_span {
  const char *traceId, *spanId, *parentSpanId, *traceState, *name, *startTimeUnixNano, *endTimeUnixNano;
  int64_t kind;
  purlin_json attributes, events, links, status;
} otlp_span;
PURLIN_SCHEMA(otlp_span, "A span of OpenTelemetry",
    PURLIN_DEFAULT(traceId, "\"\"", "trace"),
    PURLIN_DEFAULT(spanId, "\"\"", "span"),
    PURLIN_DEFAULT(parentSpanId, "\"\"", "parent"),
    PURLIN_DEFAULT(traceState, "\"\"", "state"),
    PURLIN_DEFAULT(name, "\"\"", "name", .max_length = 1048576),
    PURLIN_DEFAULT(startTimeUnixNano, "\"0\"", "start"),
    PURLIN_DEFAULT(endTimeUnixNano, "\"0\"", "end"),
    PURLIN_DEFAULT(kind, "0", "kind"),
    PURLIN_OPTIONAL(attributes, "attributes"),
    PURLIN_OPTIONAL(events, "events"),
    PURLIN_OPTIONAL(links, "links"),
    PURLIN_OPTIONAL(status, "status"));

/* ---- A batch ------------------------------------------------------------------------------------------------------------------------ */

static void reject(receiving *r, int64_t count, const char *why) {
  if (r->rejected == 0 && count > 0) (void)snprintf(r->why, sizeof r->why, "%s", why);
  r->rejected += count;
}

static purlin_status flush(purlin_ctx *ctx, receiving *r) {
  traces_log_spans in = {.experiment_id = r->experiment_id, .run_id = r->run_id};
  traces_logged logged = {0};
  if (r->count == 0) return PURLIN_OK;
  in.spans.items = r->spans;
  in.spans.count = r->count;
  purlin_status status =
      purlin_call(ctx, "traces.log_spans", traces_log_spans_schema(), &in, traces_logged_schema(), &logged);
  if (status == PURLIN_OK) reject(r, logged.rejected, logged.why);
  r->count = r->bytes = 0;
  purlin_arena_reset(ctx, r->mark);
  return status;
}

static purlin_status begin(purlin_ctx *ctx, receiving *r) {
  r->spans = purlin_alloc_array(ctx, BATCH_SPANS, sizeof *r->spans);
  r->mark = purlin_arena_mark(ctx);
  return r->spans ? PURLIN_OK : PURLIN_TOO_LARGE;
}

static bool take_time(const char *text, int64_t *out) {
  unsigned long long value = strtoull(text, NULL, 10);
  *out = (int64_t)value;
  return value <= INT64_MAX;
}

static bool take_status(purlin_ctx *ctx, purlin_json status, traces_span *out) {
  static const char *const names[] = {"unset", "ok", "error"};
  purlin_json code = status.text ? otlp_get(status, "code") : status;
  purlin_json message = status.text ? otlp_get(status, "message") : status;
  out->status = names[code.text && code.size == 1 && code.text[0] >= '1' && code.text[0] <= '2' ? code.text[0] - '0' : 0];
  const char *text = otlp_unquoted(ctx, message);
  out->status_message = text ? traces_cut(ctx, text, MOST_MESSAGE) : NULL;
  return out->status_message;
}

/* A span in the one JSON; NULL when it is one, and why it is not otherwise. */
static const char *take_span(purlin_ctx *ctx, const growing *json, traces_span *out) {
  otlp_span span = {0};
  if (purlin_decode_stored(ctx, otlp_span_schema(), json->text, json->size, &span) != PURLIN_OK) {
    purlin_clear_failure(ctx);
    return "a span is not as OTLP has it";
  }
  *out = (traces_span){.trace_id = purlin_format(ctx, "tr-%s", span.traceId),
                       .span_id = span.spanId,
                       .parent_id = span.parentSpanId,
                       .name = traces_cut(ctx, span.name, MOST_NAME),
                       .type = "",
                       .trace_state = traces_cut(ctx, span.traceState, MOST_NAME),
                       .kind = span.kind,
                       .attributes = span.attributes,
                       .events = span.events,
                       .links = span.links};
  if (strlen(span.traceId) != 32) return "a trace id has not 16 bytes";
  if (strlen(span.spanId) != 16) return "a span id has not 8 bytes";
  if (*span.parentSpanId && strlen(span.parentSpanId) != 16) return "a parent's id has not 8 bytes";
  if (span.kind < 0 || span.kind > 1000) out->kind = 0;
  if (!take_time(span.startTimeUnixNano, &out->start_ns) || !take_time(span.endTimeUnixNano, &out->end_ns))
    return "a time is after 2262";
  if (!take_status(ctx, span.status, out) || !out->trace_id || !out->name || !out->trace_state)
    return "a span is too large";
  return NULL;
}

/* What a span comes with, in the one JSON: made when it is needed first, and again in the next batch. */
typedef struct origin {
  purlin_json resource, scope;
} origin;

static purlin_status add(purlin_ctx *ctx, receiving *r, const growing *json, bool good, origin *of) {
  traces_span *span = &r->spans[r->count];
  const char *why = good && !json->failed ? take_span(ctx, json, span) : "a span is not as OTLP has it";
  r->bytes += json->size;
  if (why) reject(r, 1, why);
  else {
    span->resource = of->resource;
    span->scope = of->scope;
    r->count++;
  }
  if (r->count == BATCH_SPANS || r->bytes >= BATCH_BYTES) {
    *of = (origin){0};
    purlin_status status = flush(ctx, r);
    if (status != PURLIN_OK) return status;
  }
  return purlin_yield(ctx);
}

/* ---- Protocol buffers: ExportTraceServiceRequest { ResourceSpans { Resource, ScopeSpans { Scope, Span } } } ------------------------------ */

enum { RESOURCE_SPANS = 1, RESOURCE = 1, SCOPE_SPANS = 2, SCOPE = 1, SPANS = 2, WIRE_BYTES = 2 };

typedef struct walk {
  receiving *r;
  origin of;
  otlp_bytes resource, scope;
  bool counting; /* only, and whether all is in order */
  size_t count;
} walk;

static otlp_bytes last_of(otlp_bytes message, uint32_t number) {
  otlp_bytes found = {NULL, NULL};
  otlp_item item;
  bool broken;
  while (otlp_next(&message, &item, &broken))
    if (item.number == number && item.wire == WIRE_BYTES) found = item.bytes;
  return found;
}

static purlin_json origin_json(purlin_ctx *ctx, const otlp_message *message, otlp_bytes bytes) {
  growing out = {.ctx = ctx};
  return otlp_from_protobuf(&out, message, bytes) && !out.failed ? (purlin_json){out.text, out.size}
                                                                 : (purlin_json){"{}", 2};
}

static purlin_status take_protobuf_span(purlin_ctx *ctx, walk *w, otlp_bytes bytes) {
  growing json = {.ctx = ctx};
  w->count++;
  if (w->counting) return PURLIN_OK;
  if (!w->of.resource.text) w->of.resource = origin_json(ctx, &otlp_resource_message, w->resource);
  if (!w->of.scope.text) w->of.scope = origin_json(ctx, &otlp_scope_message, w->scope);
  bool good = otlp_from_protobuf(&json, &otlp_span_message, bytes);
  return add(ctx, w->r, &json, good, &w->of);
}

static purlin_status walk_message(purlin_ctx *ctx, walk *w, otlp_bytes message, unsigned level) {
  static const uint32_t inner[] = {RESOURCE_SPANS, SCOPE_SPANS, SPANS};
  otlp_bytes rest = message;
  otlp_item item;
  bool broken = false;
  if (level == 1) w->resource = last_of(message, RESOURCE), w->of.resource = (purlin_json){0};
  if (level == 2) w->scope = last_of(message, SCOPE), w->of.scope = (purlin_json){0};
  while (otlp_next(&rest, &item, &broken)) {
    if (item.number != inner[level] || item.wire != WIRE_BYTES) continue;
    purlin_status status =
        level == 2 ? take_protobuf_span(ctx, w, item.bytes) : walk_message(ctx, w, item.bytes, level + 1);
    if (status != PURLIN_OK) return status;
  }
  return broken ? purlin_fail(ctx, PURLIN_INVALID, "the body is not an ExportTraceServiceRequest in protocol buffers")
                : PURLIN_OK;
}

static purlin_status too_many(purlin_ctx *ctx, size_t count) {
  return count > MOST_SPANS ? purlin_fail(ctx, PURLIN_TOO_LARGE, "more than %d spans at once", MOST_SPANS) : PURLIN_OK;
}

purlin_status receive_protobuf(purlin_ctx *ctx, receiving *r, otlp_bytes body) {
  walk w = {.r = r, .counting = true};
  purlin_status status = walk_message(ctx, &w, body, 0);
  if (status == PURLIN_OK) status = too_many(ctx, w.count);
  if (status == PURLIN_OK) status = begin(ctx, r);
  w = (walk){.r = r};
  if (status == PURLIN_OK) status = walk_message(ctx, &w, body, 0);
  return status == PURLIN_OK ? flush(ctx, r) : status;
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------------- */

typedef struct otlp_request {
  purlin_json resourceSpans, resource_spans;
} otlp_request;
PURLIN_SCHEMA(otlp_request, "What an exporter sends",
    PURLIN_OPTIONAL(resourceSpans, "spans"),
    PURLIN_OPTIONAL(resource_spans, "spans"));

static purlin_json get(purlin_json object, const char *name, const char *other_name) {
  purlin_json found = otlp_get(object, name);
  return found.text ? found : otlp_get(object, other_name);
}

static bool is_list(purlin_json json) { return json.text && json.size > 0 && json.text[0] == '['; }

typedef purlin_status visit(purlin_ctx *ctx, receiving *r, purlin_json span, purlin_json resource, purlin_json scope,
                            origin *of, size_t *count);

static purlin_status count_span(purlin_ctx *ctx, receiving *r, purlin_json span, purlin_json resource, purlin_json scope,
                                origin *of, size_t *count) {
  (void)r, (void)span, (void)resource, (void)scope, (void)of;
  return too_many(ctx, ++*count);
}

static purlin_status take_json_span(purlin_ctx *ctx, receiving *r, purlin_json span, purlin_json resource,
                                    purlin_json scope, origin *of, size_t *count) {
  growing json = {.ctx = ctx};
  (void)count;
  *of = (origin){resource, scope};
  bool good = otlp_from_json(&json, &otlp_span_message, span);
  return add(ctx, r, &json, good, of);
}

static purlin_status each_span(purlin_ctx *ctx, receiving *r, purlin_json all, visit *take, size_t *count) {
  otlp_member resource, scope, span;
  origin of = {0};
  for (const char *at = NULL; is_list(all) && otlp_each(all, &at, &resource);) {
    purlin_json scopes = get(resource.value, "scopeSpans", "scope_spans");
    for (const char *scope_at = NULL; is_list(scopes) && otlp_each(scopes, &scope_at, &scope);) {
      purlin_json spans = otlp_get(scope.value, "spans");
      for (const char *span_at = NULL; is_list(spans) && otlp_each(spans, &span_at, &span);) {
        purlin_status status =
            take(ctx, r, span.value, otlp_get(resource.value, "resource"), otlp_get(scope.value, "scope"), &of, count);
        if (status != PURLIN_OK) return status;
      }
    }
  }
  return PURLIN_OK;
}

purlin_status receive_json(purlin_ctx *ctx, receiving *r, const char *body, size_t size) {
  otlp_request request = {0};
  size_t count = 0;
  purlin_status status = purlin_decode_stored(ctx, otlp_request_schema(), body, size, &request);
  if (status != PURLIN_OK) return status;
  purlin_json all = request.resourceSpans.text ? request.resourceSpans : request.resource_spans;
  if (all.text && !is_list(all)) return purlin_fail_field(ctx, "resourceSpans", "is no list");
  status = each_span(ctx, r, all, count_span, &count);
  if (status == PURLIN_OK) status = begin(ctx, r);
  if (status == PURLIN_OK) status = each_span(ctx, r, all, take_json_span, &count);
  return status == PURLIN_OK ? flush(ctx, r) : status;
}
