/* Single values that come as plain text: from a path, a query string, a command line, a column. */
#include "core/schema_parts.h"
#include "core/text.h"

#include <string.h>

static bool text_to_bool(const char *text, size_t size, bool lenient, bool *value) {
  if (lenient && size > 0 && (*text == 'T' || *text == 'F')) { /* as Python spells it */
    *value = *text == 'T';
    return *value ? size == 4 && memcmp(text, "True", 4) == 0 : size == 5 && memcmp(text, "False", 5) == 0;
  }
  *value = (size == 4 && memcmp(text, "true", 4) == 0) || (size == 1 && *text == '1');
  return *value || (size == 5 && memcmp(text, "false", 5) == 0) || (size == 1 && *text == '0');
}

static bool expected(schema_decoding *d, const purlin_field *field, const schema_path *path) {
  return schema_say(d, path, "expected %s", schema_type_of(field->type)->name);
}

/* Checks a text and keeps a copy; NULL when it was refused. */
static const char *take_text(schema_decoding *d, const purlin_field *field, const char *text, size_t size,
                             const schema_path *path) {
  if (!text_is_utf8(text, size) || memchr(text, '\0', size) != NULL) {
    (void)schema_say(d, path, "is not valid UTF-8");
    return NULL;
  }
  return schema_rule_text(d, field, text, size, NULL, path) ? schema_keep(d, text, size) : NULL;
}

/* Room for one more item. Lists grow at each power of two, so that no capacity has to be kept. */
static void *append_item(schema_decoding *d, const purlin_field *field, schema_list *list, size_t item_size,
                         const schema_path *path) {
  if (list->count >= schema_most_items(field)) {
    (void)schema_rule_count(d, field, list->count + 1, path);
    return NULL;
  }
  if ((list->count & (list->count - 1)) == 0) {
    void *items = schema_memory(d, (list->count == 0 ? 1 : list->count * 2) * item_size);
    if (items == NULL) return NULL;
    if (list->count > 0) memcpy(items, list->items, list->count * item_size);
    list->items = items;
  }
  return (char *)list->items + list->count * item_size;
}

static void set_item(schema_decoding *d, const purlin_field *field, void *at, const char *text, size_t size,
                     const schema_path *path) {
  schema_list *list = at;
  schema_path here = {.up = path, .index = list->count};
  if (field->type == PURLIN_T_TEXTS) {
    const char *copy = take_text(d, field, text, size, &here);
    const char **item = copy == NULL ? NULL : append_item(d, field, list, sizeof *item, path);
    if (item == NULL) return;
    *item = copy;
  } else {
    double value, *item;
    if (!text_to_double(text, size, &value)) {
      (void)schema_say(d, &here, "expected a number");
      return;
    }
    if (!schema_rule_double(d, field, value, &here)) return;
    if ((item = append_item(d, field, list, sizeof *item, path)) == NULL) return;
    *item = value;
  }
  list->count++;
}

/* Objects, lists of objects and free-form values come as JSON text. */
static void set_json(schema_decoding *d, const purlin_field *field, void *at, const char *text, size_t size,
                     const schema_path *path) {
  json_begin(&d->json, text, size, d->reading->memory);
  if (schema_decode_value(d, field, json_next(&d->json), at, path)) (void)json_next(&d->json);
  if (d->json.error == json_no_memory) d->no_memory = true;
  else if (d->json.error != NULL) (void)schema_say(d, path, "not valid JSON: %s", d->json.error);
}

static void set_bytes(schema_decoding *d, const purlin_field *field, void *at, const char *text, size_t size,
                      const schema_path *path) {
  size_t length = 0;
  char *data = schema_memory(d, size / 4 * 3 + 1);
  if (data == NULL) return;
  if (!text_unbase64(text, size, data, &length)) (void)schema_say(d, path, "is not base64");
  else if (schema_rule_bytes(d, field, length, path)) *(purlin_bytes *)at = (purlin_bytes){data, length};
}

static void set_scalar(schema_decoding *d, const purlin_field *field, uint32_t type, void *at, const char *text,
                       size_t size, const schema_path *path) {
  switch (type) {
  case PURLIN_T_BOOL:
    if (!text_to_bool(text, size, d->reading->lenient, at)) (void)expected(d, field, path);
    break;
  case PURLIN_T_INT: {
    int64_t value;
    if (!text_to_int(text, size, &value)) (void)expected(d, field, path);
    else if (schema_rule_int(d, field, value, path)) *(int64_t *)at = value;
    break;
  }
  case PURLIN_T_DOUBLE: {
    double value;
    if (field->non_finite && text_to_non_finite(text, size, at)) break;
    if (!text_to_double(text, size, &value)) (void)expected(d, field, path);
    else if (schema_rule_double(d, field, value, path)) *(double *)at = value;
    break;
  }
  case PURLIN_T_TEXT: {
    const char *copy = take_text(d, field, text, size, path);
    if (copy != NULL) *(const char **)at = copy;
    break;
  }
  case PURLIN_T_ENUM: {
    int index = 0;
    if (schema_rule_text(d, field, text, size, &index, path)) schema_put_enum(field, at, index);
    break;
  }
  case PURLIN_T_TIME:
    if (!text_to_time(text, size, &((purlin_time *)at)->unix_us)) (void)expected(d, field, path);
    break;
  case PURLIN_T_BYTES: set_bytes(d, field, at, text, size, path); break;
  case PURLIN_T_TEXTS:
  case PURLIN_T_DOUBLES: set_item(d, field, at, text, size, path); break;
  default: set_json(d, field, at, text, size, path); break;
  }
}

bool schema_take_text(schema_decoding *d, const purlin_field *field, void *at, const schema_path *path) {
  set_scalar(d, field, schema_type_of(field->type)->base, at, d->json.text, d->json.text_size, path);
  return schema_goes_on(d);
}

purlin_status schema_set_text(const schema_reading *reading, const purlin_field *field, void *out, const char *text,
                              size_t size) {
  schema_decoding d = {.reading = reading};
  schema_path path = {.name = field->name, .name_size = strlen(field->name)};
  const schema_type *type = schema_type_of(field->type);
  char *at = (char *)out + field->offset;
  set_scalar(&d, field, type->base, at + type->value_offset, text, size, &path);
  purlin_status status = schema_outcome(&d);
  if (status == PURLIN_OK && type->base != field->type) *(purlin_presence *)(void *)at = PURLIN_SET;
  return status;
}

/* Lists that were gathered text by text are counted only now. */
static void check_counts(schema_decoding *d, const purlin_schema *schema, const void *out, const uint64_t *was_set) {
  for (size_t i = 0; i < schema->field_count && schema_goes_on(d); i++) {
    const purlin_field *field = schema_field(schema, i);
    if (field->type != PURLIN_T_TEXTS && field->type != PURLIN_T_DOUBLES) continue;
    const schema_list *list = (const void *)((const char *)out + field->offset);
    schema_path path = {.name = field->name, .name_size = strlen(field->name)};
    if ((was_set[i / 64] >> i % 64 & 1) != 0 && list->items != NULL) (void)schema_rule_count(d, field, list->count, &path);
  }
}

purlin_status schema_finish(const schema_reading *reading, const purlin_schema *schema, void *out,
                            const uint64_t *was_set) {
  schema_decoding d = {.reading = reading};
  check_counts(&d, schema, out, was_set);
  (void)schema_fill(&d, schema, out, was_set, NULL);
  return schema_outcome(&d);
}
