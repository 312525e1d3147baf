#include "core/schema_parts.h"
#include "core/text.h"

#include <math.h>
#include <string.h>

static void encode_members(const purlin_schema *schema, const void *value, schema_encoding how, buffer *out);

static void encode_text(const char *text, buffer *out) {
  if (text == NULL) buffer_add(out, "null", 4);
  else buffer_json_text(out, text, strlen(text));
}

static void encode_enum(const purlin_field *field, const void *at, buffer *out) {
  int64_t index = schema_get_enum(field, at);
  const char *name;
  size_t size;
  if (index < 0 || field->choices == NULL || !schema_choice_name(field->choices, (size_t)index, &name, &size)) {
    buffer_add(out, "null", 4); /* a number that has no name */
    return;
  }
  buffer_json_text(out, name, size);
}

static void encode_time(int64_t unix_us, buffer *out) {
  char text[34];
  size_t size = text_from_time(unix_us, text + 1);
  if (size == 0) {
    buffer_add(out, "null", 4);
    return;
  }
  text[0] = text[size + 1] = '"';
  buffer_add(out, text, size + 2);
}

static void encode_bytes(const purlin_bytes *bytes, buffer *out) {
  size_t size = text_base64_size(bytes->size);
  buffer_char(out, '"');
  if (buffer_reserve(out, size + 1)) {
    text_base64(bytes->data, bytes->size, out->data + out->size);
    out->size += size;
  }
  buffer_char(out, '"');
}

static void encode_texts(const purlin_texts *texts, buffer *out) {
  buffer_char(out, '[');
  for (size_t i = 0; i < texts->count; i++) {
    if (i > 0) buffer_char(out, ',');
    encode_text(texts->items[i], out);
  }
  buffer_char(out, ']');
}

static void encode_doubles(const purlin_doubles *doubles, buffer *out) {
  buffer_char(out, '[');
  for (size_t i = 0; i < doubles->count; i++) {
    if (i > 0) buffer_char(out, ',');
    buffer_double(out, doubles->items[i]);
  }
  buffer_char(out, ']');
}

static void encode_list(const purlin_schema *schema, const schema_list *list, schema_encoding how, buffer *out) {
  buffer_char(out, '[');
  for (size_t i = 0; i < list->count; i++) {
    if (i > 0) buffer_char(out, ',');
    encode_members(schema, (const char *)list->items + i * schema->struct_size, how, out);
  }
  buffer_char(out, ']');
}

static void encode_double(const purlin_field *field, double value, buffer *out) {
  if (isfinite(value) || !field->non_finite) buffer_double(out, value);
  else buffer_text(out, isnan(value) ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
}

static void encode_value(const purlin_field *field, uint32_t type, const void *at, schema_encoding how, buffer *out) {
  switch (type) {
  case PURLIN_T_BOOL: buffer_text(out, *(const bool *)at ? "true" : "false"); break;
  case PURLIN_T_INT: buffer_int(out, *(const int64_t *)at); break;
  case PURLIN_T_DOUBLE: encode_double(field, *(const double *)at, out); break;
  case PURLIN_T_TEXT: encode_text(*(const char *const *)at, out); break;
  case PURLIN_T_ENUM: encode_enum(field, at, out); break;
  case PURLIN_T_TIME: encode_time(((const purlin_time *)at)->unix_us, out); break;
  case PURLIN_T_JSON: {
    const purlin_json *json = at;
    if (json->size == 0) buffer_add(out, "null", 4);
    else buffer_add(out, json->text, json->size);
    break;
  }
  case PURLIN_T_BYTES: encode_bytes(at, out); break;
  case PURLIN_T_TEXTS: encode_texts(at, out); break;
  case PURLIN_T_DOUBLES: encode_doubles(at, out); break;
  case PURLIN_T_OBJECT: encode_members(field->of(), at, how, out); break;
  case PURLIN_T_LIST: encode_list(field->of(), at, how, out); break;
  default: buffer_add(out, "null", 4); break;
  }
}

static bool is_absent(const purlin_field *field, const schema_type *type, const void *at) {
  if (type->has_pointer) return *(void *const *)at == NULL;
  if (type->base != field->type) return *(const purlin_presence *)at == PURLIN_ABSENT;
  return field->type == PURLIN_T_TIME && ((const purlin_time *)at)->unix_us == 0;
}

static void encode_members(const purlin_schema *schema, const void *value, schema_encoding how, buffer *out) {
  char before = '{';
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    const schema_type *type = schema_type_of(field->type);
    const char *at = (const char *)value + field->offset;
    if (type == NULL || is_absent(field, type, at)) continue;
    size_t name_size = strlen(field->name);
    if (!buffer_reserve(out, name_size + 4)) return;
    char *to = out->data + out->size; /* ,"name": of a plain name, as schema_check demands */
    to[0] = before;
    to[1] = '"';
    memcpy(to + 2, field->name, name_size);
    to[name_size + 2] = '"';
    to[name_size + 3] = ':';
    out->size += name_size + 4;
    before = ',';
    bool is_null = type->base != field->type && *(const purlin_presence *)(const void *)at != PURLIN_SET;
    if (is_null) buffer_add(out, "null", 4);
    else if (field->secret && how != SCHEMA_WITH_SECRETS) buffer_add(out, "\"***\"", 5);
    else encode_value(field, type->base, at + type->value_offset, how, out);
  }
  if (before == '{') buffer_char(out, '{');
  buffer_char(out, '}');
}

void schema_encode(const purlin_schema *schema, const void *value, schema_encoding how, buffer *out) {
  encode_members(schema, value, how, out);
}
