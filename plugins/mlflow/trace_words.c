#include "traces.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_PREVIEW = 10000, ON_THEIR_WAY_SECONDS = 30 };

/* ---- Maps --------------------------------------------------------------------------------------------------------------------------- */

typedef struct map_pairs {
  PURLIN_LIST_OF(tracking_pair) pairs;
} map_pairs;
PURLIN_SCHEMA(map_pairs, "A map as a list", PURLIN_LIST(pairs, tracking_pair, "Its members"));

static const char *behind_text(const char *at, const char *end) {
  for (at++; at < end && *at != '"'; at++)
    if (*at == '\\') at++;
  return at < end ? at + 1 : end;
}

/* {"a":"b"} as {"pairs":[{"key":"a","value":"b"}]}: it is JSON, and so known to be in order. False when a value is no text. */
static bool rewrite_map(purlin_json map, char *out, size_t *size) {
  static const char begin[] = "{\"pairs\":[", key[] = "{\"key\":", value[] = ",\"value\":";
  const char *at = map.text, *end = map.text + map.size;
  char *to = out;
  bool is_key = true, first = true;
#define PUT(text, length) (memcpy(to, text, length), to += (length))
  PUT(begin, sizeof begin - 1);
  for (at++; at < end && *at != '}';) {
    if (strchr(" \t\r\n:,", *at)) {
      at++;
      continue;
    }
    if (*at != '"') return false;
    const char *behind = behind_text(at, end);
    if (is_key && !first) PUT(",", 1);
    if (is_key) PUT(key, sizeof key - 1);
    else PUT(value, sizeof value - 1);
    PUT(at, (size_t)(behind - at));
    if (!is_key) PUT("}", 1);
    at = behind;
    is_key = !is_key;
    first = false;
  }
  PUT("]}", 2);
#undef PUT
  *size = (size_t)(to - out);
  return is_key;
}

purlin_status map_read(purlin_ctx *ctx, purlin_json map, const char *field, pair_list *out) {
  map_pairs read = {0};
  out->items = NULL;
  out->count = 0;
  if (!map.text || strncmp(map.text, "null", 4) == 0) return PURLIN_OK;
  size_t size = 0, members = 1;
  for (size_t i = 0; i < map.size; i++) members += map.text[i] == ':';
  char *list = *map.text == '{' ? purlin_alloc(ctx, map.size + members * 24 + 32) : NULL;
  if (*map.text != '{' || (list && !rewrite_map(map, list, &size)))
    return purlin_fail_field(ctx, field, "expected an object of texts");
  if (!list) return PURLIN_TOO_LARGE;
  purlin_status status = purlin_decode_stored(ctx, map_pairs_schema(), list, size, &read);
  out->items = read.pairs.items;
  out->count = read.pairs.count;
  return status;
}

static char *put_text(char *to, const char *text) {
  static const char digits[] = "0123456789abcdef";
  *to++ = '"';
  for (; *text; text++) {
    unsigned char c = (unsigned char)*text;
    if (c == '"' || c == '\\') *to++ = '\\', *to++ = (char)c;
    else if (c < 0x20) {
      memcpy(to, "\\u00", 4);
      to[4] = digits[c >> 4];
      to[5] = digits[c & 15];
      to += 6;
    } else *to++ = (char)c;
  }
  *to++ = '"';
  return to;
}

purlin_status map_write(purlin_ctx *ctx, const tracking_pair *pairs, size_t count, purlin_json *out) {
  size_t room = 3;
  for (size_t i = 0; i < count; i++) room += (strlen(pairs[i].key) + strlen(pairs[i].value)) * 6 + 6;
  char *text = purlin_alloc(ctx, room), *to = text;
  if (!text) return PURLIN_TOO_LARGE;
  *to++ = '{';
  for (size_t i = 0; i < count; i++) {
    if (i > 0) *to++ = ',';
    to = put_text(to, pairs[i].key);
    *to++ = ':';
    to = put_text(to, pairs[i].value);
  }
  *to++ = '}';
  *out = (purlin_json){text, (size_t)(to - text)};
  return PURLIN_OK;
}

/* ---- Words ---------------------------------------------------------------------------------------------------------------------------- */

static const char *const states[][2] = {{"ok", "OK"}, {"error", "ERROR"}, {"in_progress", "IN_PROGRESS"}};

const char *trace_state_told(const char *state, bool second) {
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    if (strcmp(states[i][0], state) == 0) return states[i][1];
  return second ? "TRACE_STATUS_UNSPECIFIED" : "STATE_UNSPECIFIED";
}

const char *trace_state_taken(const char *state) {
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
    if (strcmp(states[i][1], state) == 0) return states[i][0];
  return "unspecified";
}

int64_t trace_expects(const traces_trace *trace) {
  for (size_t i = 0; i < trace->metadata.count; i++) {
    if (strcmp(trace->metadata.items[i].key, "mlflow.trace.sizeStats") != 0) continue;
    const char *number = strstr(trace->metadata.items[i].value, "\"num_spans\":");
    return number ? strtoll(number + sizeof "\"num_spans\":" - 1, NULL, 10) : 0;
  }
  return 0;
}

/* A client that reads no such tag keeps the spans in a file of the trace. It sends spans and the trace at the same time: those of a trace
 * that has just ended are on their way. */
static bool has_spans(const traces_trace *trace) {
  int64_t age_us = purlin_now_us() - trace->request_time.unix_us -
                   (trace->execution_ms.state == PURLIN_SET ? trace->execution_ms.value * 1000 : 0);
  return trace->has_spans || (trace_expects(trace) > 0 && age_us < (int64_t)ON_THEIR_WAY_SECONDS * 1000000);
}

purlin_status trace_tags(purlin_ctx *ctx, const traces_trace *from, pair_list *out) {
  out->items = purlin_alloc_array(ctx, from->tags.count + 2, sizeof *out->items);
  if (!out->items) return PURLIN_TOO_LARGE;
  out->count = 0;
  for (size_t i = 0; i < from->tags.count; i++)
    if (strcmp(from->tags.items[i].key, "mlflow.artifactLocation") != 0 &&
        strcmp(from->tags.items[i].key, "mlflow.trace.spansLocation") != 0)
      out->items[out->count++] = from->tags.items[i];
  out->items[out->count++] = (tracking_pair){"mlflow.artifactLocation", from->artifact_location};
  if (has_spans(from)) out->items[out->count++] = (tracking_pair){"mlflow.trace.spansLocation", "TRACKING_STORE"};
  return PURLIN_OK;
}

purlin_status trace_tell(purlin_ctx *ctx, const traces_trace *from, told_trace_info *to) {
  pair_list tags;
  *to = (told_trace_info){.trace_id = from->id,
                          .client_request_id = from->client_request_id,
                          .trace_location = {.type = "MLFLOW_EXPERIMENT", .mlflow_experiment = {from->experiment_id}},
                          .request_preview = from->request_preview,
                          .response_preview = from->response_preview,
                          .request_time = from->request_time,
                          .state = trace_state_told(from->state, false)};
  if (from->execution_ms.state == PURLIN_SET) {
    long long ms = from->execution_ms.value;
    to->execution_duration = (purlin_opt_text){PURLIN_SET, purlin_format(ctx, "%lld.%03llds", ms / 1000, ms % 1000)};
    if (!to->execution_duration.value) return PURLIN_TOO_LARGE;
  }
  purlin_status status = trace_tags(ctx, from, &tags);
  if (status == PURLIN_OK) status = map_write(ctx, tags.items, tags.count, &to->tags);
  if (status == PURLIN_OK) status = map_write(ctx, from->metadata.items, from->metadata.count, &to->trace_metadata);
  to->assessments.items = purlin_alloc_array(ctx, from->assessments.count + 1, sizeof *to->assessments.items);
  if (!to->assessments.items) return PURLIN_TOO_LARGE;
  for (; to->assessments.count < from->assessments.count && status == PURLIN_OK; to->assessments.count++)
    status = assessment_tell(ctx, &from->assessments.items[to->assessments.count],
                             &to->assessments.items[to->assessments.count]);
  return status;
}

/* A duration of protocol buffers: 1.5s. */
static purlin_status take_duration(purlin_ctx *ctx, purlin_opt_text from, purlin_opt_int *to) {
  *to = (purlin_opt_int){0};
  if (from.state != PURLIN_SET) return PURLIN_OK;
  char *end;
  long long seconds = strtoll(from.value, &end, 10), ms = 0, unit = 100;
  if (end == from.value || seconds < 0 || seconds > 100000000000)
    return purlin_fail_field(ctx, "execution_duration", "expected a duration such as 1.5s");
  if (*end == '.')
    for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10) ms += (*end - '0') * unit;
  if (strcmp(end, "s") != 0) return purlin_fail_field(ctx, "execution_duration", "expected a duration such as 1.5s");
  *to = (purlin_opt_int){PURLIN_SET, seconds * 1000 + ms};
  return PURLIN_OK;
}

static purlin_opt_text cut(purlin_ctx *ctx, purlin_opt_text text) {
  if (text.state != PURLIN_SET) return text;
  size_t at = 0, characters = 0;
  for (; text.value[at]; at++)
    if (((unsigned char)text.value[at] & 0xC0) != 0x80 && ++characters > MOST_PREVIEW) {
      text.value = purlin_copy_bytes(ctx, text.value, at);
      if (!text.value) text.state = PURLIN_ABSENT;
      break;
    }
  return text;
}

purlin_status trace_take(purlin_ctx *ctx, const told_trace_info *from, traces_begin *to) {
  pair_list tags, metadata;
  *to = (traces_begin){.id = from->trace_id,
                       .experiment_id = from->trace_location.mlflow_experiment.experiment_id,
                       .state = trace_state_taken(from->state),
                       .request_time = from->request_time,
                       .request_preview = cut(ctx, from->request_preview),
                       .response_preview = cut(ctx, from->response_preview),
                       .client_request_id = from->client_request_id};
  purlin_status status = take_duration(ctx, from->execution_duration, &to->execution_ms);
  if (status == PURLIN_OK) status = map_read(ctx, from->tags, "tags", &tags);
  if (status == PURLIN_OK) status = map_read(ctx, from->trace_metadata, "trace_metadata", &metadata);
  if (status != PURLIN_OK) return status;
  to->tags.items = tags.items;
  to->tags.count = tags.count;
  to->metadata.items = metadata.items;
  to->metadata.count = metadata.count;
  to->assessments.items = purlin_alloc_array(ctx, from->assessments.count + 1, sizeof *to->assessments.items);
  if (!to->assessments.items) return PURLIN_TOO_LARGE;
  for (; to->assessments.count < from->assessments.count && status == PURLIN_OK; to->assessments.count++)
    status = assessment_take(ctx, &from->assessments.items[to->assessments.count],
                             &to->assessments.items[to->assessments.count]);
  return status;
}

/* ---- What several bindings do ---------------------------------------------------------------------------------------------------------- */

purlin_status trace_missing(purlin_ctx *ctx, purlin_status status, const char *trace_id) {
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "Trace with ID '%s' not found.", trace_id) : status;
}

purlin_status trace_get(purlin_ctx *ctx, const char *trace_id, traces_trace *out) {
  traces_which which = {trace_id};
  return trace_missing(ctx, purlin_call(ctx, "traces.get", traces_which_schema(), &which, traces_trace_schema(), out),
                       trace_id);
}
