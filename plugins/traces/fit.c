#include "spans.h"
#include <stdlib.h>
#include <string.h>

enum {
  MOST_NAME = 1000,
  MOST_TYPE = 250,
  MOST_MESSAGE = 16000,
  MOST_PREVIEW = 1000,
  MOST_CONTENT = 4 * 1024 * 1024, /* bytes of attributes, events and links together */
  MOST_ORIGIN = 1024 * 1024       /* of resource or scope */
};

static bool is_hex(const char *text, size_t size) {
  bool any = false;
  if (strlen(text) != size) return false;
  for (; *text; text++) {
    if (!strchr("0123456789abcdef", *text)) return false;
    any = any || *text != '0';
  }
  return any;
}

static const char *why_not(const traces_span *in) {
  if (!in->trace_id || strncmp(in->trace_id, "tr-", 3) != 0 || !is_hex(in->trace_id + 3, 32))
    return "a trace id is not tr- and 32 hexadecimal digits";
  if (!in->span_id || !is_hex(in->span_id, 16)) return "a span id is not 16 hexadecimal digits";
  if (*in->parent_id && strcmp(in->parent_id, "0000000000000000") != 0 && !is_hex(in->parent_id, 16))
    return "a parent's id is not 16 hexadecimal digits";
  if (in->start_ns < 0 || in->end_ns < 0) return "a time is before 1970 or after 2262";
  if (in->kind < 0 || in->kind > 1000) return "a kind is not one of OpenTelemetry's";
  return NULL;
}

static bool rewrite(purlin_ctx *ctx, const otlp_message *message, purlin_json from, bool list, purlin_json *to) {
  growing out = {.ctx = ctx};
  bool absent = !from.text || (from.size == 4 && memcmp(from.text, "null", 4) == 0);
  if (!list && absent) growing_text(&out, "{}");
  bool good = list ? otlp_list_from_json(&out, message, from) : absent ? true : otlp_from_json(&out, message, from);
  *to = (purlin_json){out.text, out.size};
  return good && !out.failed;
}

static const char *rewrite_all(purlin_ctx *ctx, const traces_span *in, span_row *row) {
  if (!rewrite(ctx, &otlp_attribute_message, in->attributes, true, &row->attributes))
    return "attributes are not as OTLP has them";
  if (!rewrite(ctx, &otlp_event_message, in->events, true, &row->events)) return "events are not as OTLP has them";
  if (!rewrite(ctx, &otlp_link_message, in->links, true, &row->links)) return "links are not as OTLP has them";
  if (!rewrite(ctx, &otlp_resource_message, in->resource, false, &row->resource)) return "a resource is not as OTLP has it";
  if (!rewrite(ctx, &otlp_scope_message, in->scope, false, &row->scope)) return "a scope is not as OTLP has it";
  if (row->attributes.size + row->events.size + row->links.size > MOST_CONTENT) return "a span is larger than 4 MiB";
  if (row->resource.size > MOST_ORIGIN || row->scope.size > MOST_ORIGIN) return "a resource or scope is larger than 1 MiB";
  return NULL;
}

const char *span_text(purlin_ctx *ctx, purlin_json value) {
  growing out = {.ctx = ctx};
  purlin_json text = otlp_get(value, "stringValue");
  if (text.text) {
    const char *plain = otlp_unquoted(ctx, text);
    size_t size = plain ? strlen(plain) : 0;
    /* MLflow's own exporter for OTLP writes JSON into its texts: "LLM" with its quotes. */
    return size >= 2 && plain[0] == '"' && plain[size - 1] == '"' ? otlp_unquoted(ctx, (purlin_json){plain, size}) : plain;
  }
  otlp_plain(&out, value);
  return out.failed ? NULL : out.text;
}

/* What attributes of these names say. */
static void take_known(span_fitted *out, purlin_json *type, purlin_json *usage, purlin_json *cost, purlin_json gen_ai[2]) {
  struct {
    const char *name;
    purlin_json *value;
  } known[] = {{"mlflow.spanType", type},
               {"mlflow.spanInputs", &out->inputs},
               {"mlflow.spanOutputs", &out->outputs},
               {"mlflow.chat.tokenUsage", usage},
               {"mlflow.llm.cost", cost},
               {"session.id", &out->session},
               {"gen_ai.conversation.id", &out->session},
               {"user.id", &out->user},
               {"gen_ai.usage.input_tokens", &gen_ai[0]},
               {"gen_ai.usage.output_tokens", &gen_ai[1]}};
  otlp_member item;
  for (const char *at = NULL; otlp_each(out->row.attributes, &at, &item);) {
    purlin_json key = otlp_get(item.value, "key");
    for (size_t i = 0; key.text && i < sizeof known / sizeof known[0]; i++)
      if (otlp_is(key, known[i].name)) *known[i].value = otlp_get(item.value, "value");
  }
}

static void take_count(purlin_ctx *ctx, purlin_json value, purlin_opt_int *out) {
  const char *text = value.text ? span_text(ctx, value) : NULL;
  if (!text || !*text || strlen(text) > 15 || strspn(text, "0123456789") != strlen(text)) return;
  *out = (purlin_opt_int){PURLIN_SET, strtoll(text, NULL, 10)};
}

static purlin_status take_meaning(purlin_ctx *ctx, span_fitted *out) {
  purlin_json type = {0}, usage = {0}, cost = {0}, gen_ai[2] = {{0}, {0}};
  span_totals totals = {0};
  take_known(out, &type, &usage, &cost, gen_ai);
  out->row.type = type.text ? span_text(ctx, type) : "UNKNOWN";
  if (out->row.type) out->row.type = traces_cut(ctx, out->row.type, MOST_TYPE);
  if (!out->row.type) return PURLIN_TOO_LARGE;
  traces_take_usage(ctx, usage, &totals);
  traces_take_cost(ctx, cost, &totals);
  if (!usage.text) {
    take_count(ctx, gen_ai[0], &totals.input_tokens);
    take_count(ctx, gen_ai[1], &totals.output_tokens);
  }
  out->row.input_tokens = totals.input_tokens;
  out->row.output_tokens = totals.output_tokens;
  out->row.total_tokens = totals.total_tokens;
  out->row.input_cost = totals.input_cost;
  out->row.output_cost = totals.output_cost;
  out->row.total_cost = totals.total_cost;
  return PURLIN_OK;
}

purlin_status span_fit(purlin_ctx *ctx, const traces_span *in, span_fitted *out, const char **why) {
  *out = (span_fitted){.trace_id = in->trace_id};
  *why = why_not(in);
  if (*why) return PURLIN_INVALID;
  span_row *row = &out->row;
  bool root = !*in->parent_id || strcmp(in->parent_id, "0000000000000000") == 0;
  *row = (span_row){.workspace = purlin_workspace(ctx),
                    .span_id = in->span_id,
                    .parent_id = root ? "" : in->parent_id,
                    .name = traces_cut(ctx, in->name ? in->name : "", MOST_NAME),
                    .kind = in->kind,
                    .status = in->status,
                    .status_message = traces_cut(ctx, in->status_message, MOST_MESSAGE),
                    .trace_state = traces_cut(ctx, in->trace_state, 4000),
                    .start_ns = in->start_ns,
                    .end_ns = in->end_ns};
  if (!row->name || !row->status_message || !row->trace_state) return PURLIN_TOO_LARGE;
  *why = rewrite_all(ctx, in, row);
  return *why ? PURLIN_INVALID : take_meaning(ctx, out);
}

/* ---- Previews -------------------------------------------------------------------------------------------------------------------- */

static bool is_message(purlin_json json) {
  return json.size > 0 && json.text[0] == '{' && otlp_get(json, "role").text && otlp_get(json, "content").text;
}

/* The last message of that role in a list; the last of all without one. */
static purlin_json last_message(purlin_json list, const char *role) {
  otlp_member item;
  purlin_json last = {0}, right = {0};
  if (list.size == 0 || list.text[0] != '[') return last;
  for (const char *at = NULL; otlp_each(list, &at, &item);) {
    if (!is_message(item.value)) continue;
    last = item.value;
    if (otlp_is(otlp_get(item.value, "role"), role)) right = item.value;
  }
  return right.text ? right : last;
}

/* In a conversation, as clients of language models tell it. */
static purlin_json find_message(purlin_json object, const char *role) {
  static const char *const lists[] = {"messages", "input", "output"};
  otlp_member first;
  const char *at = NULL;
  purlin_json found = {0}, choices;
  if (object.size == 0 || object.text[0] != '{') return found;
  for (size_t i = 0; i < sizeof lists / sizeof lists[0] && !found.text; i++)
    found = last_message(otlp_get(object, lists[i]), role);
  choices = otlp_get(object, "choices");
  if (!found.text && choices.size > 0 && choices.text[0] == '[' && otlp_each(choices, &at, &first)) {
    purlin_json message = otlp_get(first.value, "message");
    if (message.text && is_message(message)) found = message;
  }
  return found;
}

static purlin_json words_of(purlin_json message) {
  otlp_member part;
  purlin_json content = otlp_get(message, "content");
  if (!content.text || content.text[0] == '"') return content;
  for (const char *at = NULL; content.text[0] == '[' && otlp_each(content, &at, &part);) {
    if (part.value.text[0] == '"') return part.value;
    purlin_json type = otlp_get(part.value, "type");
    if (type.text && (otlp_is(type, "text") || otlp_is(type, "output_text"))) return otlp_get(part.value, "text");
  }
  return (purlin_json){0};
}

const char *span_preview(purlin_ctx *ctx, purlin_json value, const char *role) {
  growing out = {.ctx = ctx};
  otlp_plain(&out, value);
  if (out.failed) return NULL;
  /* A text that is JSON already stands for itself. */
  purlin_json whole = otlp_get(value, "stringValue");
  const char *text = whole.text ? otlp_unquoted(ctx, whole) : out.text;
  if (whole.text && text && !strchr("{[\"", *text)) text = out.text;
  if (!text) return NULL;
  purlin_json words = words_of(find_message((purlin_json){text, strlen(text)}, role));
  if (words.size > 2) text = otlp_unquoted(ctx, words);
  const char *cut = text ? traces_cut(ctx, text, MOST_PREVIEW) : NULL;
  if (!cut || cut == text) return cut;
  cut = traces_cut(ctx, text, MOST_PREVIEW - 3);
  return cut ? purlin_format(ctx, "%s...", cut) : NULL;
}
