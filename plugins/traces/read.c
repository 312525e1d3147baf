#include "traces.h"
#include <stdlib.h>
#include <string.h>

/* The numbers are few and the tables large: this order, whatever the optimizer thinks. */
#define OF_NUMBERS(columns, table)                                                                                         \
  "SELECT " columns " FROM JSON_TABLE(?, '$[*]' COLUMNS (number BIGINT UNSIGNED PATH '$')) asked STRAIGHT_JOIN " table     \
  " x ON x.trace = asked.number ORDER BY x.trace, "
static const char SELECT_TAGS[] = OF_NUMBERS("x.trace, x.name, x.value", "traces_tags") "x.name";
static const char SELECT_METADATA[] = OF_NUMBERS("x.trace, x.name, x.value", "traces_metadata") "x.name";
static const char SELECT_ASSESSMENTS[] = OF_NUMBERS(
    "x.trace, x.id, x.name, x.kind, x.value, x.error, x.source_type, x.source_id, x.span_id, x.rationale, x.overrides, x.valid,"
    " x.metadata, x.created_at, x.updated_at",
    "traces_assessments") "x.created_at, x.id";
static const char COUNT_SPANS[] = "SELECT COUNT(*) AS count FROM traces_spans WHERE trace = ?";
static const char SELECT_ONE[] = "SELECT " TRACE_COLUMNS " FROM traces_traces t WHERE t.number = ?";

typedef struct count_found {
  int64_t count;
} count_found;
PURLIN_SCHEMA(count_found, "How many", PURLIN_REQUIRED(count, "spans"));

typedef struct pair_found {
  int64_t trace;
  const char *name, *value;
} pair_found;
PURLIN_SCHEMA(pair_found, "A tag, or metadata",
    PURLIN_REQUIRED(trace, "trace"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(value, "value"));

typedef struct assessment_found {
  int64_t trace;
  const char *id, *name, *kind;
  purlin_json value, error;
  const char *source_type, *source_id;
  purlin_opt_text span_id, rationale, overrides;
  bool valid;
  PURLIN_LIST_OF(tracking_pair) metadata;
  purlin_time created_at, updated_at;
} assessment_found;
PURLIN_SCHEMA(assessment_found, "An assessment",
    PURLIN_REQUIRED(trace, "trace"),
    TRACES_ASSESSMENT_FIELDS,
    PURLIN_REQUIRED(created_at, "since when"),
    PURLIN_REQUIRED(updated_at, "changed"));

typedef PURLIN_LIST_OF(pair_found) pairs_found;
typedef PURLIN_LIST_OF(assessment_found) assessments_found;

static const char *numbers(purlin_ctx *ctx, const trace_row *rows, size_t count) {
  const char **texts = purlin_alloc_array(ctx, count, sizeof *texts);
  if (!texts) return NULL;
  for (size_t i = 0; i < count; i++) texts[i] = rows[i].id;
  return purlin_list_json(ctx, (purlin_texts){texts, count});
}

/* The first of the rows, which are in the order of their traces, that is of this trace or of one behind it. */
static size_t first_of(const void *rows, size_t count, size_t size, int64_t trace) {
  size_t low = 0, high = count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (*(const int64_t *)(const void *)((const char *)rows + middle * size) < trace) low = middle + 1;
    else high = middle;
  }
  return low;
}

static purlin_status give_pairs(purlin_ctx *ctx, const pairs_found *all, int64_t trace, tracking_pair **items,
                                size_t *count) {
  size_t from = first_of(all->items, all->count, sizeof *all->items, trace), to = from;
  while (to < all->count && all->items[to].trace == trace) to++;
  *count = to - from;
  *items = purlin_alloc_array(ctx, *count ? *count : 1, sizeof **items);
  if (!*items) return PURLIN_TOO_LARGE;
  for (size_t i = from; i < to; i++) (*items)[i - from] = (tracking_pair){all->items[i].name, all->items[i].value};
  return PURLIN_OK;
}

static purlin_status give_assessments(purlin_ctx *ctx, const assessments_found *all, int64_t trace, traces_trace *out) {
  size_t from = first_of(all->items, all->count, sizeof *all->items, trace), to = from;
  while (to < all->count && all->items[to].trace == trace) to++;
  out->assessments.count = to - from;
  out->assessments.items = purlin_alloc_array(ctx, to - from ? to - from : 1, sizeof *out->assessments.items);
  if (!out->assessments.items) return PURLIN_TOO_LARGE;
  for (size_t i = from; i < to; i++) {
    const assessment_found *a = &all->items[i];
    traces_assessment *given = &out->assessments.items[i - from];
    *given = (traces_assessment){.trace_id = out->id,
                                 .id = a->id,
                                 .name = a->name,
                                 .kind = a->kind,
                                 .value = a->value,
                                 .error = a->error,
                                 .source_type = a->source_type,
                                 .source_id = a->source_id,
                                 .span_id = a->span_id,
                                 .rationale = a->rationale,
                                 .overrides = a->overrides,
                                 .valid = a->valid,
                                 .created_at = a->created_at,
                                 .updated_at = a->updated_at};
    given->metadata.items = a->metadata.items;
    given->metadata.count = a->metadata.count;
  }
  return PURLIN_OK;
}

static void give_row(const trace_row *row, traces_trace *out) {
  *out = (traces_trace){.id = row->trace_id,
                        .project = row->project,
                        .experiment_id = row->experiment_id,
                        .state = row->state,
                        .request_time = row->request_time,
                        .request_preview = row->request_preview,
                        .response_preview = row->response_preview,
                        .client_request_id = row->client_request_id,
                        .artifact_location = row->artifact_location,
                        .has_spans = row->has_spans};
  int64_t took_us = row->ended_at.unix_us - row->request_time.unix_us;
  if (row->ended_at.unix_us) out->execution_ms = (purlin_opt_int){PURLIN_SET, took_us > 0 ? took_us / 1000 : 0};
}

static void give_name(traces_trace *out) {
  for (size_t i = 0; i < out->tags.count; i++)
    if (strcmp(out->tags.items[i].key, TAG_NAME) == 0) out->name = (purlin_opt_text){PURLIN_SET, out->tags.items[i].value};
}

purlin_status traces_complete(purlin_ctx *ctx, const trace_row *rows, size_t count, traces_trace **out) {
  pairs_found tags = {0}, metadata = {0};
  assessments_found assessments = {0};
  *out = purlin_alloc_array(ctx, count ? count : 1, sizeof **out);
  if (!*out) return PURLIN_TOO_LARGE;
  if (count == 0) return PURLIN_OK;
  const char *asked = numbers(ctx, rows, count);
  purlin_status status = asked ? purlin_db_list(ctx, pair_found, &tags, SELECT_TAGS, asked) : PURLIN_TOO_LARGE;
  if (status == PURLIN_OK) status = purlin_db_list(ctx, pair_found, &metadata, SELECT_METADATA, asked);
  if (status == PURLIN_OK) status = purlin_db_list(ctx, assessment_found, &assessments, SELECT_ASSESSMENTS, asked);
  for (size_t i = 0; i < count && status == PURLIN_OK; i++) {
    traces_trace *one = &(*out)[i];
    int64_t number = strtoll(rows[i].id, NULL, 10);
    give_row(&rows[i], one);
    status = give_pairs(ctx, &tags, number, &one->tags.items, &one->tags.count);
    if (status == PURLIN_OK) status = give_pairs(ctx, &metadata, number, &one->metadata.items, &one->metadata.count);
    if (status == PURLIN_OK) status = give_assessments(ctx, &assessments, number, one);
    give_name(one);
  }
  return status;
}

purlin_status traces_read(purlin_ctx *ctx, int64_t number, traces_trace *out) {
  trace_row row;
  traces_trace *one;
  purlin_status status = purlin_db_row(ctx, trace_row, &row, SELECT_ONE, number);
  if (status == PURLIN_OK) status = traces_complete(ctx, &row, 1, &one);
  if (status == PURLIN_OK) *out = *one;
  count_found spans = {0};
  if (status == PURLIN_OK && row.has_spans) status = purlin_db_row(ctx, count_found, &spans, COUNT_SPANS, number);
  out->span_count = (purlin_opt_int){PURLIN_SET, spans.count};
  return status;
}
