/* schema_secret.c: secrets do not stay in memory longer than they are needed, where a core dump, or a defect that reads too far, would
 * find them. */
#include "core/schema_parts.h"
#include "core/text.h"

#include <string.h>

static void look(void *to, const purlin_schema *schema) {
  bool *any = to;
  for (size_t i = 0; i < schema->field_count && !*any; i++) *any = schema_field(schema, i)->secret;
}

bool schema_holds_secrets(const purlin_schema *schema) {
  bool any = false;
  schema_visit(schema, look, &any);
  return any;
}

static void wipe_text(const char *text) {
  if (text != NULL && *text != '\0') text_wipe((char *)(uintptr_t)text, strlen(text));
}

static void wipe_bytes(const void *data, size_t size) {
  if (data != NULL && size > 0) text_wipe((void *)(uintptr_t)data, size);
}

/* What a value points to; a number's own place. */
static void wipe_value(const purlin_field *field, void *at) {
  const schema_type *type = schema_type_of(field->type);
  void *value = (char *)at + type->value_offset;
  const purlin_texts *texts = value;
  switch ((purlin_type)type->base) {
  case PURLIN_T_TEXT: wipe_text(*(const char *const *)value); return;
  case PURLIN_T_JSON: wipe_bytes(((const purlin_json *)value)->text, ((const purlin_json *)value)->size); return;
  case PURLIN_T_BYTES: wipe_bytes(((const purlin_bytes *)value)->data, ((const purlin_bytes *)value)->size); return;
  case PURLIN_T_DOUBLES:
    wipe_bytes(((const purlin_doubles *)value)->items, ((const purlin_doubles *)value)->count * sizeof(double));
    return;
  case PURLIN_T_TEXTS:
    for (size_t i = 0; i < texts->count; i++) wipe_text(texts->items[i]);
    return;
  default: text_wipe(at, field->size);
  }
}

static void wipe_struct(const purlin_schema *schema, void *value, bool all) {
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    void *at = (char *)value + field->offset;
    bool secret = all || field->secret;
    if (field->type == PURLIN_T_OBJECT) wipe_struct(field->of(), at, secret);
    else if (field->type == PURLIN_T_LIST) {
      const schema_list *list = at;
      size_t step = field->of()->struct_size;
      for (size_t k = 0; k < list->count; k++) wipe_struct(field->of(), (char *)list->items + k * step, secret);
    } else if (secret) wipe_value(field, at);
  }
}

void schema_wipe(const purlin_schema *schema, void *value) { wipe_struct(schema, value, false); }
