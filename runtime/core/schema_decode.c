#include "core/schema_parts.h"
#include "core/text.h"

#include <math.h>
#include <string.h>

#define FIRST_ITEMS ((size_t)8)

/* ---- Values of the wrong kind ----------------------------------------------------------------------------------------- */

static const char *kind_name(json_kind kind) {
  switch (kind) {
  case JSON_OBJECT: return "an object";
  case JSON_ARRAY: return "a list";
  case JSON_TEXT: return "a text";
  case JSON_INT: return "an integer";
  case JSON_DOUBLE: return "a number";
  case JSON_TRUE:
  case JSON_FALSE: return "true or false";
  default: return "null";
  }
}

/* Skips a value that is of no use. */
static bool pass(schema_decoding *d, json_kind kind) { return json_skip(&d->json, kind) && schema_goes_on(d); }

static bool mismatch(schema_decoding *d, const char *expected, json_kind kind, const schema_path *path) {
  if (kind == JSON_ERROR) return false;
  (void)schema_say(d, path, "expected %s, found %s", expected, kind_name(kind));
  return pass(d, kind);
}

/* ---- One value of each type --------------------------------------------------------------------------------------------- */

typedef bool decode_function(schema_decoding *d, const purlin_field *field, json_kind kind, void *at,
                             const schema_path *path);

static bool decode_bool(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  if (kind == JSON_TEXT && d->reading->lenient) return schema_take_text(d, field, at, path);
  if (kind != JSON_TRUE && kind != JSON_FALSE) return mismatch(d, schema_type_of(field->type)->name, kind, path);
  *(bool *)at = kind == JSON_TRUE;
  return true;
}

static bool decode_int(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  int64_t value = d->json.integer;
  if (kind == JSON_TEXT && d->reading->lenient) return schema_take_text(d, field, at, path);
  if (kind == JSON_DOUBLE) { /* 5.0 and 1e3 are integers too, as far as a double is exact */
    double number = d->json.number;
    if (fabs(number) > 9007199254740992.0)
      return schema_say(d, path, "is not an exact 64-bit integer") || schema_goes_on(d);
    if (nearbyint(number) != number) return mismatch(d, "an integer", kind, path);
    value = (int64_t)number;
  } else if (kind != JSON_INT) {
    return mismatch(d, "an integer", kind, path);
  }
  if (schema_rule_int(d, field, value, path)) *(int64_t *)at = value;
  return schema_goes_on(d);
}

static bool decode_double(schema_decoding *d, const purlin_field *field, json_kind kind, void *at,
                          const schema_path *path) {
  if (kind == JSON_NULL && d->reading->tolerant && !d->reading->lenient) { /* what NaN became when it was stored */
    *(double *)at = (double)NAN;
    return true;
  }
  if (kind == JSON_TEXT && field->non_finite && text_to_non_finite(d->json.text, d->json.text_size, at)) return true;
  if (kind == JSON_TEXT && d->reading->lenient) return schema_take_text(d, field, at, path);
  if (kind != JSON_INT && kind != JSON_DOUBLE) return mismatch(d, "a number", kind, path);
  if (schema_rule_double(d, field, d->json.number, path)) *(double *)at = d->json.number;
  return schema_goes_on(d);
}

/* The text that was just read, NUL-terminated in the arena. */
static const char *keep_text(schema_decoding *d) {
  return d->json.text_in_memory ? d->json.text : schema_keep(d, d->json.text, d->json.text_size);
}

static bool decode_text(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  if (kind != JSON_TEXT) return mismatch(d, "a text", kind, path);
  if (!schema_rule_text(d, field, d->json.text, d->json.text_size, NULL, path)) return schema_goes_on(d);
  *(const char **)at = keep_text(d);
  return !d->no_memory;
}

static bool decode_enum(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  int index = 0;
  if (kind != JSON_TEXT) return mismatch(d, "a text", kind, path);
  if (schema_rule_text(d, field, d->json.text, d->json.text_size, &index, path)) schema_put_enum(field, at, index);
  return schema_goes_on(d);
}

static bool decode_time(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  purlin_time *time = at;
  const char *expected = schema_type_of(field->type)->name;
  if (kind != JSON_TEXT) return mismatch(d, expected, kind, path);
  if (!text_to_time(d->json.text, d->json.text_size, &time->unix_us)) (void)schema_say(d, path, "expected %s", expected);
  return schema_goes_on(d);
}

static bool decode_json(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  if (!json_skip(&d->json, kind)) return false;
  size_t size = (size_t)(d->json.at - d->json.value_start);
  if (!schema_rule_bytes(d, field, size, path)) return schema_goes_on(d);
  const char *text = schema_keep(d, d->json.value_start, size);
  *(purlin_json *)at = (purlin_json){text, text != NULL ? size : 0};
  return text != NULL;
}

static bool decode_bytes(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  if (kind != JSON_TEXT) return mismatch(d, "bytes in base64", kind, path);
  size_t size = 0;
  char *data = schema_memory(d, d->json.text_size / 4 * 3 + 1);
  if (data == NULL) return false;
  if (!text_unbase64(d->json.text, d->json.text_size, data, &size))
    return schema_say(d, path, "is not base64") || schema_goes_on(d);
  if (schema_rule_bytes(d, field, size, path)) *(purlin_bytes *)at = (purlin_bytes){data, size};
  return schema_goes_on(d);
}

/* ---- Lists ------------------------------------------------------------------------------------------------------------------ */

/* Room for one more item, zeroed. The list grows by doubling inside the arena. */
static void *next_item(schema_decoding *d, schema_list *list, size_t *capacity, size_t item_size) {
  if (list->count == *capacity) {
    size_t wanted = *capacity == 0 ? FIRST_ITEMS : *capacity * 2, bytes;
    if (__builtin_mul_overflow(wanted, item_size, &bytes)) d->no_memory = true;
    void *items = d->no_memory ? NULL : schema_memory(d, bytes);
    if (items == NULL) return NULL;
    if (list->count > 0) memcpy(items, list->items, list->count * item_size);
    list->items = items;
    *capacity = wanted;
  }
  return memset((char *)list->items + list->count++ * item_size, 0, item_size);
}

static bool decode_object(schema_decoding *d, const purlin_schema *schema, void *out, uint64_t *was_set,
                          const schema_path *path);

static bool decode_item_object(schema_decoding *d, const purlin_field *field, json_kind kind, void *at,
                               const schema_path *path) {
  if (kind != JSON_OBJECT) return mismatch(d, "an object", kind, path);
  return decode_object(d, field->of(), at, NULL, path);
}

/* How the items of a list are decoded. */
typedef struct item_type {
  decode_function *decode;
  size_t size;
} item_type;

static bool decode_list(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  item_type item = {decode_item_object, 0};
  if (kind != JSON_ARRAY) return mismatch(d, schema_type_of(field->type)->name, kind, path);
  if (field->type == PURLIN_T_TEXTS) item = (item_type){decode_text, sizeof(char *)};
  else if (field->type == PURLIN_T_DOUBLES) item = (item_type){decode_double, sizeof(double)};
  else item.size = field->of()->struct_size;
  schema_list list = {NULL, 0};
  size_t capacity = 0, most = schema_most_items(field), before = d->complaints;
  schema_path here = {.up = path};
  while ((kind = json_next(&d->json)) != JSON_ARRAY_END) {
    if (kind == JSON_ERROR) return false;
    if (list.count == most) {
      (void)schema_rule_count(d, field, most + 1, path);
      return false; /* the rest is not worth the time */
    }
    here.index = list.count;
    void *place = next_item(d, &list, &capacity, item.size);
    if (place == NULL || !item.decode(d, field, kind, place, &here)) return false;
  }
  if (list.items == NULL && (list.items = schema_memory(d, 1)) == NULL) return false; /* empty, not absent */
  if (d->complaints == before && schema_rule_count(d, field, list.count, path)) *(schema_list *)at = list;
  return schema_goes_on(d);
}

/* ---- Members ------------------------------------------------------------------------------------------------------------------ */

static decode_function *const decoders[] = {
    [PURLIN_T_BOOL] = decode_bool,          [PURLIN_T_INT] = decode_int,
    [PURLIN_T_DOUBLE] = decode_double,      [PURLIN_T_TEXT] = decode_text,
    [PURLIN_T_ENUM] = decode_enum,          [PURLIN_T_TIME] = decode_time,
    [PURLIN_T_JSON] = decode_json,          [PURLIN_T_BYTES] = decode_bytes,
    [PURLIN_T_TEXTS] = decode_list,         [PURLIN_T_DOUBLES] = decode_list,
    [PURLIN_T_OBJECT] = decode_item_object, [PURLIN_T_LIST] = decode_list,
};

bool schema_decode_value(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path) {
  const schema_type *type = schema_type_of(field->type);
  if (kind == JSON_ERROR) return false;
  if (type->base == field->type) return decoders[field->type](d, field, kind, at, path);
  purlin_presence *state = at;
  if (kind == JSON_NULL) {
    *state = PURLIN_NULL;
    return true;
  }
  size_t before = d->complaints;
  if (!decoders[type->base](d, field, kind, (char *)at + type->value_offset, path)) return false;
  if (d->complaints == before) *state = PURLIN_SET;
  return true;
}

/* Whether null stands for an absent member. */
static bool null_is_absent(const schema_decoding *d, const purlin_field *field) {
  const schema_type *type = schema_type_of(field->type);
  if (d->reading->lenient && type->base == field->type) return true;
  if (field->required != 0 || field->type == PURLIN_T_JSON || type->base != field->type) return false;
  return field->initial == NULL || d->reading->tolerant;
}

static bool say_unknown(schema_decoding *d, const purlin_schema *schema, const schema_path *path) {
  const char *best = NULL;
  size_t far = TEXT_FAR;
  for (size_t i = 0; i < schema->field_count; i++) {
    const char *name = schema_field(schema, i)->name;
    if (text_is_nearer(path->name, path->name_size, name, &far)) best = name;
  }
  if (best == NULL) return schema_say(d, path, "unknown field");
  return schema_say(d, path, "unknown field; did you mean '%s'?", best);
}

static bool has_name(const purlin_field *field, const char *name, size_t size) {
  return strncmp(field->name, name, size) == 0 && field->name[size] == '\0';
}

/* The index of the field named by the key that was just read; field_count if there is none. The search begins behind the
 * last member, since members mostly come in order. */
static size_t find_field(const purlin_schema *schema, size_t from, const char *name, size_t size) {
  for (size_t i = from; i < schema->field_count; i++)
    if (has_name(schema_field(schema, i), name, size)) return i;
  for (size_t i = 0; i < from; i++)
    if (has_name(schema_field(schema, i), name, size)) return i;
  return schema->field_count;
}

static bool decode_member(schema_decoding *d, const purlin_schema *schema, size_t index, void *out, uint64_t *was_set,
                          const schema_path *path) {
  const purlin_field *field = schema_field(schema, index);
  uint64_t bit = UINT64_C(1) << index % 64;
  bool again = (was_set[index / 64] & bit) != 0;
  json_kind kind = json_next(&d->json);
  if (again) return schema_say(d, path, "is given twice") || pass(d, kind);
  if (kind == JSON_NULL && null_is_absent(d, field)) {
    if (field->initial == NULL && field->required == 0) was_set[index / 64] |= bit;
    return true;
  }
  was_set[index / 64] |= bit;
  return schema_decode_value(d, field, kind, (char *)out + field->offset, path);
}

/* Decodes the members of an object whose '{' was read. `gathered` belongs to a caller that goes on with the struct; NULL: the
 * struct is zeroed (its memory is fresh or of the caller's) and what is missing is filled in here. */
static bool decode_object(schema_decoding *d, const purlin_schema *schema, void *out, uint64_t *gathered,
                          const schema_path *path) {
  uint64_t own[SCHEMA_MAX_FIELDS / 64] = {0}, *was_set = gathered != NULL ? gathered : own;
  size_t next = 0;
  if (schema->field_count > SCHEMA_MAX_FIELDS) return schema_say(d, path, "has too many fields in its schema");
  for (;;) {
    json_kind kind = json_next(&d->json);
    if (kind == JSON_OBJECT_END) break;
    if (kind != JSON_KEY) return false;
    schema_path here = {.up = path, .name = d->json.text, .name_size = d->json.text_size};
    size_t index = find_field(schema, next, here.name, here.name_size);
    if (index == schema->field_count) {
      if (!d->reading->tolerant) (void)say_unknown(d, schema, &here);
      if (!pass(d, json_next(&d->json))) return false;
      continue;
    }
    next = index + 1;
    if (!decode_member(d, schema, index, out, was_set, &here)) return false;
  }
  return gathered != NULL || schema_fill(d, schema, out, was_set, path);
}

static bool fill_default(schema_decoding *d, const purlin_field *field, void *at, const schema_path *path) {
  json_reader outer = d->json;
  json_begin(&d->json, field->initial, strlen(field->initial), d->reading->memory);
  bool good = schema_decode_value(d, field, json_next(&d->json), at, path);
  bool broken = d->json.error != NULL;
  d->json = outer;
  if (broken) return schema_say(d, path, "has a default that is not JSON");
  return good;
}

bool schema_fill(schema_decoding *d, const purlin_schema *schema, void *out, const uint64_t *was_set,
                 const schema_path *path) {
  for (size_t i = 0; i < schema->field_count; i++) {
    const purlin_field *field = schema_field(schema, i);
    if ((was_set[i / 64] >> i % 64 & 1) != 0 || (field->required == 0 && field->initial == NULL)) continue;
    schema_path here = {.up = path, .name = field->name, .name_size = strlen(field->name)};
    if (field->required != 0) (void)schema_say(d, &here, "is required");
    else if (!fill_default(d, field, (char *)out + field->offset, &here)) return false;
    if (!schema_goes_on(d)) return false;
  }
  return true;
}

/* ---- The whole text -------------------------------------------------------------------------------------------------------------- */

static void say_not_json(schema_decoding *d, const char *json) {
  size_t line, column;
  if (d->json.error == json_no_memory) {
    d->no_memory = true;
    return;
  }
  json_place(json, (size_t)(d->json.at - d->json.start), &line, &column);
  (void)schema_say(d, NULL, "not valid JSON: line %zu, column %zu: %s", line, column, d->json.error);
}

purlin_status schema_decode(const schema_reading *reading, const purlin_schema *schema, const char *json, size_t size,
                            void *out) {
  schema_decoding d = {.reading = reading};
  json_begin(&d.json, json, size, reading->memory);
  if (reading->was_set == NULL) memset(out, 0, schema->struct_size);
  json_kind kind = json_next(&d.json);
  if (kind == JSON_OBJECT) {
    if (decode_object(&d, schema, out, reading->was_set, NULL)) (void)json_next(&d.json);
  } else if (kind != JSON_ERROR) {
    if (mismatch(&d, "an object", kind, NULL)) (void)json_next(&d.json);
  }
  if (d.json.error != NULL) say_not_json(&d, json);
  return schema_outcome(&d);
}
