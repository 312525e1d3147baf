#include "traces.h"
#include <string.h>

#define COLUMNS                                                                                                            \
  "id, name, kind, value, error, source_type, source_id, span_id, rationale, overrides, valid, metadata, created_at, updated_at"

/* One that was told before is not told twice. */
static const char INSERT[] = "INSERT INTO traces_assessments (workspace, project, trace, " COLUMNS
                             ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                             " ON DUPLICATE KEY UPDATE trace = trace";
static const char SELECT_ONE[] = "SELECT " COLUMNS " FROM traces_assessments WHERE trace = ? AND id = ?";
static const char SET_VALID[] = "UPDATE traces_assessments SET valid = ? WHERE trace = ? AND id = ?";
static const char UPDATE[] =
    "UPDATE traces_assessments SET name = ?, value = ?, error = ?, rationale = ?, metadata = ?, updated_at = NOW(6)"
    " WHERE trace = ? AND id = ?";
static const char DELETE[] = "DELETE FROM traces_assessments WHERE trace = ? AND id = ?";

typedef struct assessment_row {
  const char *workspace, *project;
  int64_t trace;
  const char *id, *name, *kind;
  purlin_json value, error;
  const char *source_type, *source_id;
  purlin_opt_text span_id, rationale, overrides;
  bool valid;
  purlin_json metadata;
  purlin_time created_at, updated_at;
} assessment_row;
PURLIN_SCHEMA(assessment_row, "An assessment, as its row",
    PURLIN_REQUIRED(workspace, "workspace"),
    PURLIN_REQUIRED(project, "project"),
    PURLIN_REQUIRED(trace, "trace"),
    PURLIN_REQUIRED(id, "id"),
    PURLIN_REQUIRED(name, "name"),
    PURLIN_REQUIRED(kind, "kind"),
    PURLIN_OPTIONAL(value, "value"),
    PURLIN_OPTIONAL(error, "error"),
    PURLIN_REQUIRED(source_type, "source"),
    PURLIN_REQUIRED(source_id, "source"),
    PURLIN_OPTIONAL(span_id, "span"),
    PURLIN_OPTIONAL(rationale, "rationale"),
    PURLIN_OPTIONAL(overrides, "overrides"),
    PURLIN_REQUIRED(valid, "valid"),
    PURLIN_REQUIRED(metadata, "metadata"),
    PURLIN_REQUIRED(created_at, "created"),
    PURLIN_REQUIRED(updated_at, "updated"));

typedef struct pair_list {
  PURLIN_LIST_OF(tracking_pair) pairs;
} pair_list;
PURLIN_SCHEMA(pair_list, "Pairs", PURLIN_LIST(pairs, tracking_pair, "The pairs"));

static purlin_status pairs_json(purlin_ctx *ctx, const tracking_pair *pairs, size_t count, purlin_json *out) {
  pair_list list = {0};
  list.pairs.items = (tracking_pair *)(uintptr_t)pairs;
  list.pairs.count = count;
  *out = (purlin_json){"[]", 2};
  if (count == 0) return PURLIN_OK;
  purlin_status status = purlin_encode(ctx, pair_list_schema(), &list, out);
  static const size_t before = sizeof "{\"pairs\":" - 1; /* and the last brace */
  if (status == PURLIN_OK)
    *out = (purlin_json){purlin_copy_bytes(ctx, out->text + before, out->size - before - 1), out->size - before - 1};
  return status == PURLIN_OK && !out->text ? PURLIN_TOO_LARGE : status;
}

/* An id that says what it is of: whoever tells the same once more, since no answer came, tells nothing new. `index` is its place among
 * others that are told with it. */
static const char *id_of(purlin_ctx *ctx, int64_t trace, const traces_assessment *a, size_t index) {
  if (a->id && *a->id) return a->id;
  if (a->created_at.unix_us == 0) return purlin_new_id(ctx, "a");
  char digest[65];
  const char *all = purlin_format(
      ctx, "%lld\n%zu\n%s\n%s\n%s\n%s\n%lld\n%.*s\n%.*s\n%s", (long long)trace, index, a->name, a->kind, a->source_type,
      a->source_id, (long long)a->created_at.unix_us, (int)a->value.size, a->value.text ? a->value.text : "",
      (int)a->error.size, a->error.text ? a->error.text : "", a->rationale.state == PURLIN_SET ? a->rationale.value : "");
  if (!all) return NULL;
  purlin_sha256(all, strlen(all), digest);
  return purlin_format(ctx, "a-%.32s", digest);
}

static bool is_null(purlin_json json) { return json.size == 4 && memcmp(json.text, "null", 4) == 0; }

static purlin_status row_of(purlin_ctx *ctx, const trace_place *of, const traces_assessment *a, size_t index,
                            assessment_row *row) {
  purlin_time now = {purlin_now_us()};
  if (!a->name || !*a->name) return purlin_fail_field(ctx, "name", "is required");
  if (strcmp(a->kind, "issue") != 0 && !a->value.text && !a->error.text)
    return purlin_fail(ctx, PURLIN_INVALID, "an assessment has a value, or an error that says why there is none");
  *row = (assessment_row){.workspace = purlin_workspace(ctx),
                          .project = of->project,
                          .trace = of->number,
                          .id = id_of(ctx, of->number, a, index),
                          .name = a->name,
                          .kind = a->kind,
                          .value = a->value,
                          .error = is_null(a->error) ? (purlin_json){NULL, 0} : a->error,
                          .source_type = a->source_type,
                          .source_id = a->source_id,
                          .span_id = a->span_id,
                          .rationale = a->rationale,
                          .overrides = a->overrides,
                          .valid = true,
                          .created_at = a->created_at.unix_us ? a->created_at : now,
                          .updated_at = now};
  if (a->updated_at.unix_us) row->updated_at = a->updated_at;
  return row->id ? pairs_json(ctx, a->metadata.items, a->metadata.count, &row->metadata) : PURLIN_TOO_LARGE;
}

purlin_status traces_write_assessments(purlin_ctx *ctx, const trace_place *of, const traces_assessment *items,
                                       size_t count) {
  if (count == 0) return PURLIN_OK;
  assessment_row *rows = purlin_alloc_array(ctx, count, sizeof *rows);
  if (!rows) return PURLIN_TOO_LARGE;
  for (size_t i = 0; i < count; i++) {
    purlin_status status = row_of(ctx, of, &items[i], i, &rows[i]);
    if (status != PURLIN_OK) return status;
    rows[i].valid = items[i].valid;
  }
  return purlin_db_bulk(ctx, assessment_row, rows, count, INSERT);
}

static purlin_status read_one(purlin_ctx *ctx, const trace_place *of, const char *id, traces_assessment *out) {
  purlin_status status = purlin_db_row(ctx, traces_assessment, out, SELECT_ONE, of->number, id);
  out->trace_id = of->id;
  return status == PURLIN_NOT_FOUND ? purlin_fail(ctx, status, "no assessment '%s' of the trace '%s'", id, of->id) : status;
}

PURLIN_OPERATION(create_assessment, traces_assessment, traces_assessment,
    .summary = "Say something of a trace", .permission = "runs:write", .by_project = true, .effect = PURLIN_CREATES,
    .http = "POST /api/v1/traces/{trace_id}/assessments") {
  trace_place of;
  assessment_row row;
  purlin_status status = traces_place(ctx, in->trace_id, "runs:write", &of);
  if (status == PURLIN_OK) status = row_of(ctx, &of, in, 0, &row);
  if (status == PURLIN_OK && in->overrides.state == PURLIN_SET) {
    status = purlin_db_run(ctx, SET_VALID, false, of.number, in->overrides.value);
    if (status == PURLIN_OK && purlin_affected(ctx) == 0)
      return purlin_fail(ctx, PURLIN_NOT_FOUND, "no assessment '%s' of the trace '%s'", in->overrides.value, of.id);
  }
  if (status == PURLIN_OK) status = purlin_db_bulk(ctx, assessment_row, &row, 1, INSERT);
  return status == PURLIN_OK ? read_one(ctx, &of, row.id, out) : status;
}

PURLIN_OPERATION(get_assessment, traces_which_assessment, traces_assessment,
    .summary = "An assessment of a trace", .permission = "runs:read", .by_project = true,
    .http = "GET /api/v1/traces/{trace_id}/assessments/{id}") {
  trace_place of;
  purlin_status status = traces_place(ctx, in->trace_id, "runs:read", &of);
  return status == PURLIN_OK ? read_one(ctx, &of, in->id, out) : status;
}

/* What there was, and what is added, which wins. */
static purlin_status merged(purlin_ctx *ctx, const traces_assessment *old, const traces_change_assessment *in,
                            purlin_json *out) {
  size_t count = old->metadata.count;
  tracking_pair *all = purlin_alloc_array(ctx, count + in->metadata.count + 1, sizeof *all);
  if (!all) return PURLIN_TOO_LARGE;
  if (count > 0) memcpy(all, old->metadata.items, count * sizeof *all);
  for (size_t i = 0; i < in->metadata.count; i++) {
    size_t at = 0;
    while (at < count && strcmp(all[at].key, in->metadata.items[i].key) != 0) at++;
    all[at] = in->metadata.items[i];
    if (at == count) count++;
  }
  return pairs_json(ctx, all, count, out);
}

PURLIN_OPERATION(update_assessment, traces_change_assessment, traces_assessment,
    .summary = "Change what was said of a trace", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_assessment", .http = "PATCH /api/v1/traces/{trace_id}/assessments/{id}") {
  trace_place of;
  traces_assessment old = {0};
  purlin_json metadata;
  purlin_status status = traces_place(ctx, in->trace_id, "runs:write", &of);
  if (status == PURLIN_OK) status = read_one(ctx, &of, in->id, &old);
  if (status != PURLIN_OK) return status;
  if (in->kind && *in->kind && strcmp(in->kind, old.kind) != 0)
    return purlin_fail(ctx, PURLIN_INVALID, "the assessment is of the kind %s, not %s", old.kind, in->kind);
  status = merged(ctx, &old, in, &metadata);
  if (status == PURLIN_OK)
    status = purlin_db_run(ctx, UPDATE, in->name.state == PURLIN_SET ? in->name.value : old.name,
                           in->value.text || in->error.text ? in->value : old.value,
                           in->value.text || in->error.text ? in->error : old.error,
                           in->rationale.state == PURLIN_SET ? in->rationale : old.rationale, metadata, of.number, in->id);
  return status == PURLIN_OK ? read_one(ctx, &of, in->id, out) : status;
}

PURLIN_OPERATION(delete_assessment, traces_which_assessment, purlin_nothing,
    .summary = "Take back what was said of a trace", .permission = "runs:write", .by_project = true, .effect = PURLIN_CHANGES,
    .object = "get_assessment", .http = "DELETE /api/v1/traces/{trace_id}/assessments/{id}",
    .description = "What it took the place of holds again.") {
  trace_place of;
  traces_assessment old = {0};
  purlin_status status = traces_place(ctx, in->trace_id, "runs:write", &of);
  if (status == PURLIN_OK) status = read_one(ctx, &of, in->id, &old);
  if (status == PURLIN_OK) status = purlin_db_run(ctx, DELETE, of.number, in->id);
  if (status == PURLIN_OK && old.overrides.state == PURLIN_SET)
    status = purlin_db_run(ctx, SET_VALID, true, of.number, old.overrides.value);
  return status;
}
