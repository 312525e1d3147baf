/* Structs that code has filled: every rule that JSON would have to keep. */
#include "core/schema_parts.h"

#include <string.h>

static void check_members(schema_decoding *d, const purlin_schema *schema, const void *value, const schema_path *path);

static void check_texts(schema_decoding *d, const purlin_field *field, const purlin_texts *texts, const schema_path *path) {
  if (texts->items == NULL || !schema_rule_count(d, field, texts->count, path)) return;
  schema_path here = {.up = path};
  for (; here.index < texts->count && schema_goes_on(d); here.index++) {
    const char *text = texts->items[here.index];
    if (text == NULL) (void)schema_say(d, &here, "is required");
    else (void)schema_rule_text(d, field, text, strlen(text), NULL, &here);
  }
}

static void check_doubles(schema_decoding *d, const purlin_field *field, const purlin_doubles *doubles,
                          const schema_path *path) {
  if (doubles->items == NULL || !schema_rule_count(d, field, doubles->count, path)) return;
  schema_path here = {.up = path};
  for (; here.index < doubles->count && schema_goes_on(d); here.index++)
    (void)schema_rule_double(d, field, doubles->items[here.index], &here);
}

static void check_list(schema_decoding *d, const purlin_field *field, const schema_list *list, const schema_path *path) {
  if (list->items == NULL || !schema_rule_count(d, field, list->count, path)) return;
  const purlin_schema *of = field->of();
  schema_path here = {.up = path};
  for (; here.index < list->count && schema_goes_on(d); here.index++)
    check_members(d, of, (const char *)list->items + here.index * of->struct_size, &here);
}

static void check_text(schema_decoding *d, const purlin_field *field, const char *text, const schema_path *path) {
  if (text != NULL) (void)schema_rule_text(d, field, text, strlen(text), NULL, path);
  else if (field->required != 0) (void)schema_say(d, path, "is required");
}

static void check_value(schema_decoding *d, const purlin_field *field, uint32_t type, const void *at,
                        const schema_path *path) {
  switch (type) {
  case PURLIN_T_INT: (void)schema_rule_int(d, field, *(const int64_t *)at, path); break;
  case PURLIN_T_DOUBLE: (void)schema_rule_double(d, field, *(const double *)at, path); break;
  case PURLIN_T_TEXT: check_text(d, field, *(const char *const *)at, path); break;
  case PURLIN_T_TEXTS: check_texts(d, field, at, path); break;
  case PURLIN_T_DOUBLES: check_doubles(d, field, at, path); break;
  case PURLIN_T_OBJECT: check_members(d, field->of(), at, path); break;
  case PURLIN_T_LIST: check_list(d, field, at, path); break;
  case PURLIN_T_JSON:
    if (((const purlin_json *)at)->text != NULL) (void)schema_rule_bytes(d, field, ((const purlin_json *)at)->size, path);
    break;
  case PURLIN_T_BYTES:
    if (((const purlin_bytes *)at)->data != NULL) (void)schema_rule_bytes(d, field, ((const purlin_bytes *)at)->size, path);
    break;
  default: break; /* any value of the type will do */
  }
}

static void check_members(schema_decoding *d, const purlin_schema *schema, const void *value, const schema_path *path) {
  for (size_t i = 0; i < schema->field_count && schema_goes_on(d); i++) {
    const purlin_field *field = schema_field(schema, i);
    const schema_type *type = schema_type_of(field->type);
    const char *at = (const char *)value + field->offset;
    schema_path here = {.up = path, .name = field->name, .name_size = strlen(field->name)};
    if (type->base != field->type && *(const purlin_presence *)(const void *)at != PURLIN_SET) continue;
    check_value(d, field, type->base, at + type->value_offset, &here);
  }
}

purlin_status schema_validate(const schema_reading *reading, const purlin_schema *schema, const void *value) {
  schema_decoding d = {.reading = reading};
  check_members(&d, schema, value, NULL);
  return schema_outcome(&d);
}
