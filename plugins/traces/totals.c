#include "otlp.h"
#include "traces.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char SELECT_TOTALS[] =
    "SELECT span_id, parent_id, input_tokens, output_tokens, total_tokens, input_cost, output_cost, total_cost FROM traces_spans"
    " WHERE trace = ? ORDER BY span_id LIMIT 100000";

/* ---- Of one span ----------------------------------------------------------------------------------------------------------------- */

/* A number of the attribute, whether that is a list of pairs or JSON as a text. */
static bool number_of(purlin_json plain, const char *name, double *value) {
  char text[64], *end;
  purlin_json found = otlp_get(plain, name);
  if (!found.text || found.size >= sizeof text) return false;
  memcpy(text, found.text, found.size);
  text[found.size] = '\0';
  *value = strtod(text, &end);
  return end != text && *end == '\0' && isfinite(*value) && strspn(text, "-+0123456789.eE") == found.size;
}

static purlin_json plain_object(purlin_ctx *ctx, purlin_json value) {
  growing out = {.ctx = ctx};
  purlin_json whole = otlp_get(value, "stringValue");
  if (whole.text) {
    const char *text = otlp_unquoted(ctx, whole);
    return text && *text == '{' ? (purlin_json){text, strlen(text)} : (purlin_json){NULL, 0};
  }
  otlp_plain(&out, value);
  return out.failed || !out.text || *out.text != '{' ? (purlin_json){NULL, 0} : (purlin_json){out.text, out.size};
}

static void take_count(purlin_json plain, const char *name, purlin_opt_int *out) {
  double value;
  if (number_of(plain, name, &value) && value >= 0 && value < 9e15) *out = (purlin_opt_int){PURLIN_SET, (int64_t)value};
}

static void take_amount(purlin_json plain, const char *name, purlin_opt_double *out) {
  double value;
  if (number_of(plain, name, &value)) *out = (purlin_opt_double){PURLIN_SET, value};
}

void traces_take_usage(purlin_ctx *ctx, purlin_json usage, span_totals *out) {
  purlin_json plain = usage.text ? plain_object(ctx, usage) : usage;
  if (!plain.text) return;
  take_count(plain, "input_tokens", &out->input_tokens);
  take_count(plain, "output_tokens", &out->output_tokens);
  take_count(plain, "total_tokens", &out->total_tokens);
}

void traces_take_cost(purlin_ctx *ctx, purlin_json cost, span_totals *out) {
  purlin_json plain = cost.text ? plain_object(ctx, cost) : cost;
  if (!plain.text) return;
  take_amount(plain, "input_cost", &out->input_cost);
  take_amount(plain, "output_cost", &out->output_cost);
  take_amount(plain, "total_cost", &out->total_cost);
}

/* ---- Of a trace ------------------------------------------------------------------------------------------------------------------- */

typedef struct total_row {
  const char *span_id, *parent_id;
  purlin_opt_int input_tokens, output_tokens, total_tokens;
  purlin_opt_double input_cost, output_cost, total_cost;
} total_row;
PURLIN_SCHEMA(total_row, "What a span used",
    PURLIN_REQUIRED(span_id, "span"),
    PURLIN_REQUIRED(parent_id, "parent"),
    PURLIN_OPTIONAL(input_tokens, "tokens"),
    PURLIN_OPTIONAL(output_tokens, "tokens"),
    PURLIN_OPTIONAL(total_tokens, "tokens"),
    PURLIN_OPTIONAL(input_cost, "cost"),
    PURLIN_OPTIONAL(output_cost, "cost"),
    PURLIN_OPTIONAL(total_cost, "cost"));
typedef PURLIN_LIST_OF(total_row) total_rows;

static bool has_tokens(const total_row *r) {
  return r->input_tokens.state == PURLIN_SET || r->output_tokens.state == PURLIN_SET || r->total_tokens.state == PURLIN_SET;
}
static bool has_cost(const total_row *r) {
  return r->input_cost.state == PURLIN_SET || r->output_cost.state == PURLIN_SET || r->total_cost.state == PURLIN_SET;
}

/* Rows are in the order of their ids. */
static const total_row *find_span(const total_rows *rows, const char *id) {
  size_t low = 0, high = rows->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(rows->items[middle].span_id, id);
    if (order == 0) return &rows->items[middle];
    if (order < 0) low = middle + 1;
    else high = middle;
  }
  return NULL;
}

/* Whether one of those that a span is part of says it for this one, too. Spans may name each other as parents: `left` ends that. */
static bool is_said_above(const total_rows *rows, const total_row *row, bool (*has)(const total_row *row)) {
  enum { HIGHEST = 1000 };
  for (int left = HIGHEST; left > 0 && *row->parent_id; left--) {
    row = find_span(rows, row->parent_id);
    if (!row) return false;
    if (has(row)) return true;
  }
  return false;
}

static int64_t count_of(purlin_opt_int value) { return value.state == PURLIN_SET ? value.value : 0; }
static double amount_of(purlin_opt_double value) { return value.state == PURLIN_SET ? value.value : 0; }

static purlin_status add_tokens(purlin_ctx *ctx, const total_rows *rows, const trace_place *of, pair_rows *metadata) {
  int64_t input = 0, output = 0, total = 0;
  bool any = false;
  for (size_t i = 0; i < rows->count; i++) {
    const total_row *r = &rows->items[i];
    if (!has_tokens(r) || is_said_above(rows, r, has_tokens)) continue;
    any = true;
    input += count_of(r->input_tokens);
    output += count_of(r->output_tokens);
    total += r->total_tokens.state == PURLIN_SET ? r->total_tokens.value
                                                 : count_of(r->input_tokens) + count_of(r->output_tokens);
  }
  if (!any) return PURLIN_OK;
  const char *text =
      purlin_format(ctx, "{\"input_tokens\": %" PRId64 ", \"output_tokens\": %" PRId64 ", \"total_tokens\": %" PRId64 "}",
                    input, output, total);
  return text ? traces_add_pair(ctx, metadata, of, METADATA_USAGE, text) : PURLIN_TOO_LARGE;
}

static purlin_status add_cost(purlin_ctx *ctx, const total_rows *rows, const trace_place *of, pair_rows *metadata) {
  double input = 0, output = 0, total = 0;
  bool any = false;
  for (size_t i = 0; i < rows->count; i++) {
    const total_row *r = &rows->items[i];
    if (!has_cost(r) || is_said_above(rows, r, has_cost)) continue;
    any = true;
    input += amount_of(r->input_cost);
    output += amount_of(r->output_cost);
    total += amount_of(r->total_cost);
  }
  if (!any || !isfinite(input) || !isfinite(output) || !isfinite(total)) return PURLIN_OK;
  growing text = {.ctx = ctx};
  growing_text(&text, "{\"input_cost\": ");
  growing_double(&text, input);
  growing_text(&text, ", \"output_cost\": ");
  growing_double(&text, output);
  growing_text(&text, ", \"total_cost\": ");
  growing_double(&text, total);
  growing_text(&text, "}");
  return text.failed ? PURLIN_TOO_LARGE : traces_add_pair(ctx, metadata, of, METADATA_COST, text.text);
}

purlin_status traces_add_totals(purlin_ctx *ctx, const trace_place *of, pair_rows *metadata) {
  total_rows rows = {0};
  purlin_status status = purlin_db_list(ctx, total_row, &rows, SELECT_TOTALS, of->number);
  if (status == PURLIN_OK) status = add_tokens(ctx, &rows, of, metadata);
  return status == PURLIN_OK ? add_cost(ctx, &rows, of, metadata) : status;
}
