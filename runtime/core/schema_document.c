/* The JSON Schema of a schema, as OpenAPI 3.1 embeds it: JSON Schema 2020-12. */
#include "core/schema_parts.h"

#include <inttypes.h>
#include <string.h>

static void put_name(buffer *out, const char *name) {
  buffer_text(out, ",\"");
  buffer_text(out, name);
  buffer_text(out, "\":");
}

static void put_text(buffer *out, const char *name, const char *text) {
  put_name(out, name);
  buffer_json_text(out, text, strlen(text));
}

static void put_size(buffer *out, const char *name, uint32_t size) {
  put_name(out, name);
  buffer_uint(out, size);
}

static void put_reference(const purlin_schema *schema, buffer *out) {
  buffer_text(out, "\"$ref\":\"#/components/schemas/");
  schema_component_name(schema, out);
  buffer_char(out, '"');
}

static void put_type(const char *type, bool nullable, buffer *out) {
  if (nullable) buffer_format(out, "\"type\":[\"%s\",\"null\"]", type);
  else buffer_format(out, "\"type\":\"%s\"", type);
}

static void put_range(const purlin_field *field, buffer *out) {
  if (schema_has_minimum(field)) {
    put_name(out, "minimum");
    buffer_double(out, field->min);
  }
  if (schema_has_maximum(field)) {
    put_name(out, "maximum");
    buffer_double(out, field->max);
  }
}

static void put_choices(const purlin_field *field, bool nullable, buffer *out) {
  const char *name;
  size_t size;
  put_name(out, "enum");
  for (size_t i = 0; schema_choice_name(field->choices, i, &name, &size); i++) {
    buffer_char(out, i == 0 ? '[' : ',');
    buffer_json_text(out, name, size);
  }
  buffer_text(out, nullable ? ",null]" : "]");
}

static void put_pattern(const purlin_field *field, buffer *out) {
  buffer anchored = {0};
  buffer_format(&anchored, "^(%s)$", field->pattern);
  put_text(out, "pattern", buffer_end(&anchored));
  if (anchored.failed) out->failed = true;
  buffer_free(&anchored);
}

/* The rules of one text, in a field or in an item of a list. */
static void put_text_rules(const purlin_field *field, bool nullable, buffer *out) {
  if (field->choices != NULL) put_choices(field, nullable, out);
  if (field->pattern != NULL) put_pattern(field, out);
}

static void put_lengths(const purlin_field *field, const char *least, const char *most, buffer *out) {
  if (field->min_length > 0) put_size(out, least, field->min_length);
  if (field->max_length > 0) put_size(out, most, field->max_length);
}

static void put_list(const purlin_field *field, buffer *out) {
  buffer_text(out, "\"type\":\"array\",\"items\":{");
  if (field->type == PURLIN_T_LIST) {
    put_reference(field->of(), out);
  } else if (field->type == PURLIN_T_TEXTS) {
    put_type("string", false, out);
    put_text_rules(field, false, out);
  } else {
    put_type("number", false, out);
    put_range(field, out);
  }
  buffer_char(out, '}');
  put_lengths(field, "minItems", "maxItems", out);
}

/* What the type and the rules say. False when nothing was written: any value. */
static bool put_value(const purlin_field *field, buffer *out) {
  const schema_type *type = schema_type_of(field->type);
  uint32_t base = type != NULL ? type->base : (uint32_t)PURLIN_T_JSON;
  bool nullable = base != field->type && type != NULL;
  switch (base) {
  case PURLIN_T_BOOL: put_type("boolean", nullable, out); return true;
  case PURLIN_T_INT:
    put_type("integer", nullable, out);
    put_text(out, "format", "int64");
    put_range(field, out);
    return true;
  case PURLIN_T_DOUBLE:
    if (field->non_finite) buffer_format(out, "\"type\":[\"number\",\"string\"%s]", nullable ? ",\"null\"" : "");
    else put_type("number", nullable, out);
    put_range(field, out);
    return true;
  case PURLIN_T_TEXT:
  case PURLIN_T_ENUM:
    put_type("string", nullable, out);
    put_text_rules(field, nullable, out);
    put_lengths(field, "minLength", "maxLength", out);
    return true;
  case PURLIN_T_TIME:
    put_type("string", false, out);
    put_text(out, "format", "date-time");
    return true;
  case PURLIN_T_BYTES:
    put_type("string", false, out);
    put_text(out, "contentEncoding", "base64");
    return true;
  case PURLIN_T_OBJECT: put_reference(field->of(), out); return true;
  case PURLIN_T_TEXTS:
  case PURLIN_T_DOUBLES:
  case PURLIN_T_LIST: put_list(field, out); return true;
  default: return false;
  }
}

void schema_json_field(const purlin_field *field, buffer *out) {
  buffer_char(out, '{');
  if (!put_value(field, out)) buffer_text(out, "\"$comment\":\"any value\"");
  if (field->doc != NULL) put_text(out, "description", field->doc);
  if (field->initial != NULL) {
    put_name(out, "default");
    buffer_text(out, field->initial);
  }
  if (field->secret) buffer_text(out, ",\"writeOnly\":true");
  if (field->folder) buffer_text(out, ",\"x-purlin-folder\":true");
  buffer_char(out, '}');
}

static void put_required(const purlin_schema *schema, buffer *out) {
  const char *before = ",\"required\":[";
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if (field->required == 0) continue;
    buffer_text(out, before);
    buffer_json_text(out, field->name, strlen(field->name));
    before = ",";
  }
  if (before[1] == '\0') buffer_char(out, ']');
}

void schema_json_schema(const purlin_schema *schema, buffer *out) {
  buffer_text(out, "{\"type\":\"object\"");
  if (schema->doc != NULL) put_text(out, "description", schema->doc);
  buffer_text(out, ",\"properties\":{");
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if (i > 0) buffer_char(out, ',');
    buffer_json_text(out, field->name, strlen(field->name));
    buffer_char(out, ':');
    schema_json_field(field, out);
  }
  buffer_char(out, '}');
  put_required(schema, out);
  buffer_text(out, ",\"additionalProperties\":false}");
}
