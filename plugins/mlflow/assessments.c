#include "traces.h"
#include <string.h>

typedef struct assessment_source {
  const char *source_type, *source_id;
} assessment_source;
PURLIN_SCHEMA(assessment_source, "Who judged",
    PURLIN_DEFAULT(source_type, "\"SOURCE_TYPE_UNSPECIFIED\"", "Of which kind", .max_length = 50),
    PURLIN_DEFAULT(source_id, "\"\"", "By name", .max_length = 250));

typedef struct serialized_value {
  const char *serialization_format, *value;
} serialized_value;
PURLIN_SCHEMA(serialized_value, "A value as JSON",
    PURLIN_DEFAULT(serialization_format, "\"JSON_FORMAT\"", "JSON_FORMAT"),
    PURLIN_REQUIRED(value, "JSON", .max_length = 1048576));

/* Of feedback, an expectation or an issue. */
typedef struct told_value {
  purlin_json value, error, serialized_value;
  purlin_opt_text issue_name;
} told_value;
PURLIN_SCHEMA(told_value, "What was said",
    PURLIN_OPTIONAL(value, "The value"),
    PURLIN_OPTIONAL(error, "Why there is none"),
    PURLIN_OPTIONAL(serialized_value, "The value as JSON"),
    PURLIN_OPTIONAL(issue_name, "The issue"));

typedef struct any_json {
  purlin_json value;
} any_json;
PURLIN_SCHEMA(any_json, "Any value", PURLIN_OPTIONAL(value, "It"));

static bool is_there(purlin_json json) { return json.text && !(json.size == 4 && memcmp(json.text, "null", 4) == 0); }

/* ---- Their words ------------------------------------------------------------------------------------------------------------------------ */

static purlin_status serialize(purlin_ctx *ctx, const traces_assessment *from, told_value *value) {
  const char *text = purlin_copy_bytes(ctx, from->value.text, from->value.size);
  serialized_value serialized = {"JSON_FORMAT", text};
  if (!text) return PURLIN_TOO_LARGE;
  value->value = (purlin_json){NULL, 0};
  return purlin_encode(ctx, serialized_value_schema(), &serialized, &value->serialized_value);
}

static purlin_status tell_value(purlin_ctx *ctx, const traces_assessment *from, told_assessment *to) {
  bool expected = strcmp(from->kind, "expectation") == 0, issue = strcmp(from->kind, "issue") == 0;
  told_value value = {.value = from->value, .error = from->error};
  purlin_status status = PURLIN_OK;
  if (issue) {
    told_value read = {0};
    value = (told_value){0};
    if (is_there(from->value))
      status = purlin_decode_stored(ctx, told_value_schema(), from->value.text, from->value.size, &read);
    value.issue_name = read.issue_name;
  } else if (expected && from->value.text && (from->value.text[0] == '{' || from->value.text[0] == '[')) {
    status = serialize(ctx, from, &value);
  }
  if (status != PURLIN_OK) return status;
  return purlin_encode(ctx, told_value_schema(), &value, issue ? &to->issue : expected ? &to->expectation : &to->feedback);
}

purlin_status assessment_tell(purlin_ctx *ctx, const traces_assessment *from, told_assessment *to) {
  assessment_source source = {from->source_type, from->source_id};
  *to = (told_assessment){.assessment_id = from->id,
                          .assessment_name = from->name,
                          .trace_id = from->trace_id,
                          .span_id = from->span_id,
                          .create_time = from->created_at,
                          .last_update_time = from->updated_at,
                          .rationale = from->rationale,
                          .overrides = from->overrides,
                          .valid = {PURLIN_SET, from->valid}};
  purlin_status status = purlin_encode(ctx, assessment_source_schema(), &source, &to->source);
  if (status == PURLIN_OK) status = map_write(ctx, from->metadata.items, from->metadata.count, &to->metadata);
  return status == PURLIN_OK ? tell_value(ctx, from, to) : status;
}

/* ---- Our words -------------------------------------------------------------------------------------------------------------------------- */

/* What is serialized is JSON of which nobody knows yet whether it is. */
static purlin_status deserialize(purlin_ctx *ctx, purlin_json serialized, purlin_json *out) {
  serialized_value read = {0};
  any_json any = {0};
  purlin_status status = purlin_decode_stored(ctx, serialized_value_schema(), serialized.text, serialized.size, &read);
  if (status != PURLIN_OK) return status;
  const char *whole = purlin_format(ctx, "{\"value\":%s}", read.value);
  if (!whole) return PURLIN_TOO_LARGE;
  status = purlin_decode(ctx, any_json_schema(), whole, strlen(whole), &any);
  *out = any.value;
  return status;
}

static purlin_status take_value(purlin_ctx *ctx, const told_assessment *from, traces_assessment *to) {
  told_value value = {0};
  bool expected = is_there(from->expectation), issue = is_there(from->issue);
  purlin_json source = issue ? from->issue : expected ? from->expectation : from->feedback;
  to->kind = issue ? "issue" : expected ? "expectation" : "feedback";
  if (!is_there(source)) return PURLIN_OK;
  if (source.text[0] != '{') return purlin_fail_field(ctx, to->kind, "expected an object");
  purlin_status status = purlin_decode_stored(ctx, told_value_schema(), source.text, source.size, &value);
  if (status != PURLIN_OK) return status;
  to->value = issue ? from->issue : value.value;
  to->error = is_there(value.error) ? value.error : (purlin_json){NULL, 0};
  return is_there(value.serialized_value) ? deserialize(ctx, value.serialized_value, &to->value) : PURLIN_OK;
}

purlin_status assessment_take(purlin_ctx *ctx, const told_assessment *from, traces_assessment *to) {
  pair_list metadata;
  assessment_source source = {"SOURCE_TYPE_UNSPECIFIED", ""};
  *to = (traces_assessment){.id = from->assessment_id,
                            .name = from->assessment_name,
                            .trace_id = from->trace_id,
                            .span_id = from->span_id,
                            .rationale = from->rationale,
                            .overrides = from->overrides,
                            .created_at = from->create_time,
                            .updated_at = from->last_update_time,
                            .valid = from->valid.state != PURLIN_SET || from->valid.value};
  if (!*from->assessment_name) return purlin_fail_field(ctx, "assessment_name", "is required");
  purlin_status status = map_read(ctx, from->metadata, "metadata", &metadata);
  if (status == PURLIN_OK && is_there(from->source) && from->source.text[0] == '{')
    status = purlin_decode_stored(ctx, assessment_source_schema(), from->source.text, from->source.size, &source);
  if (status == PURLIN_OK) status = take_value(ctx, from, to);
  if (status != PURLIN_OK) return status;
  to->source_type = source.source_type;
  to->source_id = source.source_id;
  to->metadata.items = metadata.items;
  to->metadata.count = metadata.count;
  if (is_there(from->error) && !to->error.text) to->error = from->error;
  if (!to->value.text && !to->error.text) to->value = (purlin_json){"null", 4};
  return PURLIN_OK;
}

/* ---- Bindings ----------------------------------------------------------------------------------------------------------------------------- */

typedef struct assessment_answer {
  told_assessment assessment;
} assessment_answer;
PURLIN_SCHEMA(assessment_answer, "An assessment", PURLIN_OBJECT(assessment, told_assessment, "It"));

typedef struct create_assessment_in {
  const char *trace_id;
  told_assessment assessment;
} create_assessment_in;
PURLIN_SCHEMA(create_assessment_in, "An assessment to be made",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_OBJECT(assessment, told_assessment, "It"));

MLFLOW_BINDING(create_assessment, create_assessment_in, assessment_answer,
               "POST /api/3.0/mlflow/traces/{trace_id}/assessments, POST /api/2.0/mlflow/traces/{trace_id}/assessments",
               "traces.create_assessment") {
  traces_assessment ask = {0}, made = {0};
  purlin_status status = assessment_take(ctx, &in->assessment, &ask);
  ask.trace_id = in->trace_id;
  if (status == PURLIN_OK)
    status =
        purlin_call(ctx, "traces.create_assessment", traces_assessment_schema(), &ask, traces_assessment_schema(), &made);
  if (status == PURLIN_OK) return assessment_tell(ctx, &made, &out->assessment);
  bool other = status == PURLIN_NOT_FOUND && ask.overrides.state == PURLIN_SET;
  return other ? status : trace_missing(ctx, status, in->trace_id);
}

typedef struct which_assessment {
  const char *trace_id, *assessment_id;
} which_assessment;
PURLIN_SCHEMA(which_assessment, "Which assessment",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(assessment_id, "Its id", .max_length = 64));

static purlin_status missing(purlin_ctx *ctx, purlin_status status, const char *trace_id, const char *id) {
  return status == PURLIN_NOT_FOUND
             ? purlin_fail(ctx, status, "Assessment with ID '%s' not found for trace '%s'", id, trace_id)
             : status;
}

MLFLOW_BINDING(get_assessment, which_assessment, assessment_answer,
               "GET /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id},"
               " GET /api/2.0/mlflow/traces/{trace_id}/assessments/{assessment_id}",
               "traces.get_assessment") {
  traces_which_assessment ask = {in->trace_id, in->assessment_id};
  traces_assessment found = {0};
  purlin_status status =
      purlin_call(ctx, "traces.get_assessment", traces_which_assessment_schema(), &ask, traces_assessment_schema(), &found);
  return status == PURLIN_OK ? assessment_tell(ctx, &found, &out->assessment)
                             : missing(ctx, status, in->trace_id, in->assessment_id);
}

typedef struct update_assessment_in {
  const char *trace_id, *assessment_id;
  told_assessment assessment;
} update_assessment_in;
PURLIN_SCHEMA(update_assessment_in, "What changes of an assessment; what is absent stays",
    PURLIN_REQUIRED(trace_id, "The trace", .max_length = 64),
    PURLIN_REQUIRED(assessment_id, "Its id", .max_length = 64),
    PURLIN_OBJECT(assessment, told_assessment, "It"));

MLFLOW_BINDING(update_assessment, update_assessment_in, assessment_answer,
               "PATCH /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id},"
               " PATCH /api/2.0/mlflow/traces/{trace_id}/assessments/{assessment_id}",
               "traces.update_assessment") {
  const told_assessment *from = &in->assessment;
  traces_change_assessment ask = {
      .trace_id = in->trace_id, .id = in->assessment_id, .kind = "", .rationale = from->rationale};
  traces_assessment value = {0}, made = {0};
  pair_list metadata;
  purlin_status status = map_read(ctx, from->metadata, "metadata", &metadata);
  if (status == PURLIN_OK) status = take_value(ctx, from, &value);
  if (status != PURLIN_OK) return status;
  if (value.value.text || value.error.text) ask.kind = value.kind;
  ask.value = value.value;
  ask.error = value.error;
  if (*from->assessment_name) ask.name = (purlin_opt_text){PURLIN_SET, from->assessment_name};
  ask.metadata.items = metadata.items;
  ask.metadata.count = metadata.count;
  status = purlin_call(ctx, "traces.update_assessment", traces_change_assessment_schema(), &ask, traces_assessment_schema(),
                       &made);
  return status == PURLIN_OK ? assessment_tell(ctx, &made, &out->assessment)
                             : missing(ctx, status, in->trace_id, in->assessment_id);
}

MLFLOW_BINDING(delete_assessment, which_assessment, purlin_nothing,
               "DELETE /api/3.0/mlflow/traces/{trace_id}/assessments/{assessment_id},"
               " DELETE /api/2.0/mlflow/traces/{trace_id}/assessments/{assessment_id}",
               "traces.delete_assessment") {
  traces_which_assessment ask = {in->trace_id, in->assessment_id};
  purlin_status status =
      purlin_call(ctx, "traces.delete_assessment", traces_which_assessment_schema(), &ask, purlin_nothing_schema(), out);
  if (status != PURLIN_NOT_FOUND) return status;
  traces_trace trace = {0}; /* to delete what is not there is no error, of a trace that is */
  status = trace_get(ctx, in->trace_id, &trace);
  if (status == PURLIN_OK) purlin_clear_failure(ctx);
  return status;
}
