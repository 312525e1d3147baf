#include "core/schema.h"

#include "core/schema_parts.h"

#include <string.h>

/* ---- The table of fields ---------------------------------------------------------------------------------------------- */

#define OPTIONAL_TYPE(text, word, struct_, base_)                                                                          \
  { text, word, sizeof(struct_), base_, offsetof(struct_, value), false }

static const schema_type types[] = {
    [PURLIN_T_BOOL] = {"true or false", "true or false", sizeof(bool), PURLIN_T_BOOL, 0, false},
    [PURLIN_T_INT] = {"an integer", "integer", sizeof(int64_t), PURLIN_T_INT, 0, false},
    [PURLIN_T_DOUBLE] = {"a number", "number", sizeof(double), PURLIN_T_DOUBLE, 0, false},
    [PURLIN_T_TEXT] = {"a text", "text", sizeof(char *), PURLIN_T_TEXT, 0, true},
    [PURLIN_T_ENUM] = {"a text", "text", 0, PURLIN_T_ENUM, 0, false},
    [PURLIN_T_OPT_BOOL] = OPTIONAL_TYPE("true or false", "true or false", purlin_opt_bool, PURLIN_T_BOOL),
    [PURLIN_T_OPT_INT] = OPTIONAL_TYPE("an integer", "integer", purlin_opt_int, PURLIN_T_INT),
    [PURLIN_T_OPT_DOUBLE] = OPTIONAL_TYPE("a number", "number", purlin_opt_double, PURLIN_T_DOUBLE),
    [PURLIN_T_OPT_TEXT] = OPTIONAL_TYPE("a text", "text", purlin_opt_text, PURLIN_T_TEXT),
    [PURLIN_T_TIME] = {"a time such as 2024-05-01T12:00:00Z", "time", sizeof(purlin_time), PURLIN_T_TIME, 0, false},
    [PURLIN_T_JSON] = {"any value", "any JSON", sizeof(purlin_json), PURLIN_T_JSON, 0, true},
    [PURLIN_T_BYTES] = {"bytes in base64", "base64", sizeof(purlin_bytes), PURLIN_T_BYTES, 0, true},
    [PURLIN_T_TEXTS] = {"a list of texts", "list of texts", sizeof(purlin_texts), PURLIN_T_TEXTS, 0, true},
    [PURLIN_T_DOUBLES] = {"a list of numbers", "list of numbers", sizeof(purlin_doubles), PURLIN_T_DOUBLES, 0, true},
    [PURLIN_T_OBJECT] = {"an object", "object", 0, PURLIN_T_OBJECT, 0, false},
    [PURLIN_T_LIST] = {"a list of objects", "list of objects", sizeof(schema_list), PURLIN_T_LIST, 0, true},
};

const schema_type *schema_type_of(uint32_t type) {
  return type >= PURLIN_T_BOOL && type < sizeof types / sizeof types[0] ? &types[type] : NULL;
}

const char *schema_type_word(const purlin_field *field) {
  const schema_type *type = schema_type_of(field->type);
  return type ? type->word : "?";
}

const purlin_field *schema_field(const purlin_schema *schema, size_t index) {
  return (const purlin_field *)(const void *)((const char *)schema->fields + index * schema->field_size);
}

size_t schema_field_index(const purlin_schema *schema, const purlin_field *field) {
  return (size_t)((const char *)field - (const char *)schema->fields) / schema->field_size;
}

const purlin_field *schema_find(const purlin_schema *schema, const char *name, size_t name_size) {
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if (strncmp(field->name, name, name_size) == 0 && field->name[name_size] == '\0') return field;
  }
  return NULL;
}

/* ---- Choices: "a, b, c" -------------------------------------------------------------------------------------------------- */

/* Takes the name that *at stands before; false at the end of the list. */
static bool next_choice(const char **at, const char **name, size_t *size) {
  const char *from = *at + strspn(*at, ", \t\n");
  if (*from == '\0') return false;
  *name = from;
  *size = strcspn(from, ",");
  *at = from + *size;
  while (*size > 0 && strchr(" \t\n", from[*size - 1]) != NULL) --*size;
  return true;
}

bool schema_choice_name(const char *choices, size_t index, const char **name, size_t *size) {
  while (next_choice(&choices, name, size))
    if (index-- == 0) return true;
  return false;
}

int schema_choice_index(const char *choices, const char *name, size_t size) {
  const char *choice;
  size_t choice_size;
  for (int index = 0; next_choice(&choices, &choice, &choice_size); index++)
    if (choice_size == size && memcmp(choice, name, size) == 0) return index;
  return -1;
}

void schema_put_enum(const purlin_field *field, void *at, int index) {
  switch (field->size) {
  case 1: *(int8_t *)at = (int8_t)index; break;
  case 2: *(int16_t *)at = (int16_t)index; break;
  case 4: *(int32_t *)at = (int32_t)index; break;
  default: *(int64_t *)at = index; break;
  }
}

int64_t schema_get_enum(const purlin_field *field, const void *at) {
  switch (field->size) {
  case 1: return *(const int8_t *)at;
  case 2: return *(const int16_t *)at;
  case 4: return *(const int32_t *)at;
  default: return *(const int64_t *)at;
  }
}

/* ---- Schemas that nest others, perhaps themselves ---------------------------------------------------------------------------- */

typedef struct ancestor {
  const struct ancestor *up;
  const purlin_schema *schema;
} ancestor;

static bool is_among(const ancestor *a, const purlin_schema *schema) {
  for (; a != NULL; a = a->up)
    if (a->schema == schema) return true;
  return false;
}

static void visit_below(const purlin_schema *schema, const ancestor *up, void (*visit)(void *, const purlin_schema *),
                        void *to) {
  ancestor self = {up, schema};
  visit(to, schema);
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if (field->of == NULL) continue;
    const purlin_schema *nested = field->of();
    if (!is_among(&self, nested)) visit_below(nested, &self, visit, to);
  }
}

void schema_visit(const purlin_schema *schema, void (*visit)(void *to, const purlin_schema *schema), void *to) {
  visit_below(schema, NULL, visit, to);
}

/* FNV-1a: the same in every process and release, unlike text_hash. */
static uint64_t mix(uint64_t hash, const void *data, size_t size) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++) hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
  return hash;
}

static uint64_t mix_text(uint64_t hash, const char *text) { return mix(hash, text, strlen(text) + 1); }

static uint64_t layout_below(const purlin_schema *schema, const ancestor *up, uint64_t hash) {
  ancestor self = {up, schema};
  hash = mix(hash, &schema->struct_size, sizeof schema->struct_size);
  hash = mix(hash, &schema->field_count, sizeof schema->field_count);
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    const uint32_t parts[] = {field->offset, field->size, field->type};
    hash = mix(mix_text(hash, field->name), parts, sizeof parts);
    if (field->type == PURLIN_T_ENUM) hash = mix_text(hash, field->choices); /* its numbers follow from their order */
    if (field->of == NULL) continue;
    const purlin_schema *nested = field->of();
    hash = is_among(&self, nested) ? mix_text(hash, nested->name) : layout_below(nested, &self, hash);
  }
  return hash;
}

uint64_t schema_layout(const purlin_schema *schema) { return layout_below(schema, NULL, UINT64_C(0xcbf29ce484222325)); }

/* ---- Copying ------------------------------------------------------------------------------------------------------------------- */

static bool copy_text(const char **text, arena *memory) {
  if (*text == NULL) return true;
  *text = arena_copy(memory, *text, strlen(*text));
  return *text != NULL;
}

/* Copies `size` bytes and a NUL in place of the borrowed ones; NULL stays NULL. */
static bool copy_data(const void **data, size_t size, arena *memory) {
  if (*data == NULL) return true;
  *data = arena_copy(memory, *data, size);
  return *data != NULL;
}

static bool copy_items(schema_list *list, size_t item_size, arena *memory) {
  size_t bytes;
  if (list->items == NULL) return true;
  if (__builtin_mul_overflow(list->count, item_size, &bytes)) return false;
  void *copy = arena_alloc_raw(memory, bytes, 16);
  if (copy == NULL) return false;
  if (bytes > 0) memcpy(copy, list->items, bytes);
  list->items = copy;
  return true;
}

static bool copy_texts(schema_list *list, arena *memory) {
  if (!copy_items(list, sizeof(char *), memory)) return false;
  const char **items = list->items;
  for (size_t i = 0; items != NULL && i < list->count; i++)
    if (!copy_text(&items[i], memory)) return false;
  return true;
}

static bool copy_members(const purlin_schema *schema, arena *memory, void *out);

static bool copy_list(const purlin_schema *schema, schema_list *list, arena *memory) {
  if (!copy_items(list, schema->struct_size, memory)) return false;
  for (size_t i = 0; list->items != NULL && i < list->count; i++)
    if (!copy_members(schema, memory, (char *)list->items + i * schema->struct_size)) return false;
  return true;
}

/* Replaces every pointer of a struct that was copied byte by byte. */
static bool copy_members(const purlin_schema *schema, arena *memory, void *out) {
  bool good = true;
  for (size_t i = 0; i < schema->field_count && good; i++) {
    const purlin_field *field = schema_field(schema, i);
    void *at = (char *)out + field->offset;
    switch (field->type) {
    case PURLIN_T_TEXT: good = copy_text(at, memory); break;
    case PURLIN_T_OPT_TEXT: {
      purlin_opt_text *text = at;
      good = text->state != PURLIN_SET || copy_text(&text->value, memory);
      break;
    }
    case PURLIN_T_JSON: {
      purlin_json *json = at;
      const void *text = json->text;
      good = copy_data(&text, json->size, memory);
      json->text = text;
      break;
    }
    case PURLIN_T_BYTES: {
      purlin_bytes *bytes = at;
      good = copy_data(&bytes->data, bytes->size, memory);
      break;
    }
    case PURLIN_T_TEXTS: good = copy_texts(at, memory); break;
    case PURLIN_T_DOUBLES: good = copy_items(at, sizeof(double), memory); break;
    case PURLIN_T_OBJECT: good = copy_members(field->of(), memory, at); break;
    case PURLIN_T_LIST: good = copy_list(field->of(), at, memory); break;
    default: break;
    }
  }
  return good;
}

bool schema_copy(const purlin_schema *schema, const void *value, arena *memory, void *out) {
  if (out != value) memcpy(out, value, schema->struct_size);
  return copy_members(schema, memory, out);
}
