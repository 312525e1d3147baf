/* Whether a table of fields is right, asked once at start so that nothing later has to. */
#include "core/schema_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct checking {
  buffer *why;
  const struct checking *up; /* the schema that nests this one */
  const purlin_schema *schema;
  const purlin_field *field;
} checking;

static bool refuse(const checking *c, const char *message) {
  buffer_format(c->why, "schema %s", c->schema->name != NULL ? c->schema->name : "(without a name)");
  if (c->field != NULL && c->field->name != NULL) buffer_format(c->why, ", field %s", c->field->name);
  buffer_format(c->why, ": %s", message);
  return false;
}

/* Names are written into JSON, paths, SQL and Lua as they are. */
static bool is_plain_name(const char *name) {
  size_t size = strlen(name);
  if (size == 0 || size > 64) return false;
  for (size_t i = 0; i < size; i++)
    if (!(isalnum((unsigned char)name[i]) || strchr("_-.", name[i]) != NULL)) return false;
  return true;
}

static bool check_name(const checking *c) {
  if (c->field->name == NULL || !is_plain_name(c->field->name))
    return refuse(c, "a field's name must be 1 to 64 letters, digits, '_', '-' or '.'");
  if (schema_find(c->schema, c->field->name, strlen(c->field->name)) != c->field)
    return refuse(c, "two fields have this name");
  if (c->field->doc == NULL || c->field->doc[0] == '\0') return refuse(c, "has no line of documentation");
  return true;
}

static bool check_type(const checking *c) {
  const purlin_field *field = c->field;
  const schema_type *type = schema_type_of(field->type);
  if (type == NULL) return refuse(c, "has a type that this release does not know");
  bool nests = field->type == PURLIN_T_OBJECT || field->type == PURLIN_T_LIST;
  if (nests != (field->of != NULL))
    return refuse(c, nests ? "has no schema of its own" : "has a schema, but is no object or list");
  if (nests && field->of() == NULL) return refuse(c, "has no schema of its own");
  size_t size = type->size;
  if (field->type == PURLIN_T_OBJECT) size = field->of()->struct_size;
  if (field->type == PURLIN_T_ENUM)
    size = field->size == 1 || field->size == 2 || field->size == 4 || field->size == 8 ? field->size : 4;
  if (field->size != size) return refuse(c, "has a size that is not its type's");
  if (field->offset > c->schema->struct_size || field->size > c->schema->struct_size - field->offset)
    return refuse(c, "lies outside the struct");
  return true;
}

static bool check_limits(const checking *c) {
  const purlin_field *field = c->field;
  const schema_type *type = schema_type_of(field->type);
  bool number = type->base == PURLIN_T_INT || type->base == PURLIN_T_DOUBLE || field->type == PURLIN_T_DOUBLES;
  bool sized = type->has_pointer || type->base == PURLIN_T_TEXT;
  if (!number && schema_has_minimum(field)) return refuse(c, "has .min or .max, but is no number");
  if (field->max < field->min && (field->max < 0 || field->max > 0)) return refuse(c, "has a .max below its .min");
  if (!sized && (field->min_length > 0 || field->max_length > 0)) return refuse(c, "has a length, but is no text or list");
  if (field->max_length > 0 && field->min_length > field->max_length)
    return refuse(c, "has a .max_length below its .min_length");
  if (field->max_length == 0 && field->min_length > SCHEMA_DEFAULT_TEXT && type->base == PURLIN_T_TEXT)
    return refuse(c, "has a .min_length above the default .max_length");
  return true;
}

static bool check_choices(const checking *c) {
  const purlin_field *field = c->field;
  bool text = schema_type_of(field->type)->base == PURLIN_T_TEXT || field->type == PURLIN_T_TEXTS;
  const char *name, *choices = field->choices;
  size_t size;
  if (field->type == PURLIN_T_ENUM && choices == NULL) return refuse(c, "is an enum without .choices = TYPE_names");
  if (choices == NULL) return true;
  if (!text && field->type != PURLIN_T_ENUM) return refuse(c, "has .choices, but is no text or enum");
  if (!schema_choice_name(choices, 0, &name, &size)) return refuse(c, "has empty .choices");
  for (size_t i = 0; schema_choice_name(choices, i, &name, &size); i++) {
    if (size == 0) return refuse(c, "has an empty name among its .choices");
    if (schema_choice_index(choices, name, size) != (int)i) return refuse(c, "has the same name twice in its .choices");
    if (field->type == PURLIN_T_ENUM && memchr(name, '=', size) != NULL)
      return refuse(c, "is an enum that gives numbers to its names; they must be counted from 0");
  }
  return true;
}

static bool check_pattern(const checking *c) {
  const purlin_field *field = c->field;
  if (field->pattern == NULL) return true;
  if (schema_type_of(field->type)->base != PURLIN_T_TEXT && field->type != PURLIN_T_TEXTS)
    return refuse(c, "has a .pattern, but is no text");
  if (schema_pattern_of(field->pattern) == NULL) return refuse(c, "has a .pattern that is no POSIX extended expression");
  return true;
}

static void note_complaint(void *to, const char *field, const char *message) {
  (void)field;
  buffer *why = to;
  if (why->size == 0) buffer_text(why, message);
}

static bool check_default(const checking *c) {
  const purlin_field *field = c->field;
  if (field->initial == NULL) return true;
  if (field->required != 0) return refuse(c, "is required and has a default");
  arena memory;
  buffer wrong = {0};
  void *scratch = calloc(1, (size_t)field->size + 1);
  arena_init(&memory, 0);
  const schema_reading reading = {.memory = &memory, .complain = note_complaint, .complain_to = &wrong};
  schema_decoding d = {.reading = &reading};
  json_begin(&d.json, field->initial, strlen(field->initial), &memory);
  bool good = scratch != NULL && schema_decode_value(&d, field, json_next(&d.json), scratch, NULL) && d.complaints == 0 &&
              json_next(&d.json) == JSON_END;
  if (!good) {
    (void)refuse(c, "its default ");
    buffer_format(c->why, "%s is wrong: %s", field->initial, d.json.error != NULL ? d.json.error : buffer_end(&wrong));
  }
  buffer_free(&wrong);
  arena_free(&memory);
  free(scratch);
  return good;
}

static bool check_schema(const purlin_schema *schema, const checking *up, buffer *why);

static bool check_nested(const checking *c) {
  if (c->field->of == NULL) return true;
  const purlin_schema *nested = c->field->of();
  size_t depth = 0;
  for (const checking *above = c; above != NULL; above = above->up, depth++)
    if (above->schema == nested) return true; /* a tree: it is being checked */
  if (depth >= 16) return refuse(c, "is nested more than 16 deep");
  return check_schema(nested, c, c->why);
}

static bool check_schema(const purlin_schema *schema, const checking *up, buffer *why) {
  checking c = {.why = why, .up = up, .schema = schema};
  if (schema->name == NULL || !is_plain_name(schema->name))
    return refuse(&c, "its name must be 1 to 64 letters, digits, '_', '-' or '.'");
  if (schema->struct_size == 0 || schema->struct_size > 1024 * 1024)
    return refuse(&c, "has a struct of no or of absurd size");
  if (schema->field_count == 0) return true;
  if (schema->fields == NULL) return refuse(&c, "has no fields");
  if (schema->field_count > SCHEMA_MAX_FIELDS) return refuse(&c, "has more than 256 fields");
  if (schema->field_size < SCHEMA_FIELD_LEAST || schema->field_size % _Alignof(purlin_field) != 0)
    return refuse(&c, "has fields of a layout older than 1.0");
  for (size_t i = 0; i < schema->field_count; i++) { /* all names first: the search for one reads all */
    c.field = schema_field(schema, i);
    if (c.field->name == NULL) return refuse(&c, "has a field without a name");
  }
  for (size_t i = 0; i < schema->field_count; i++) {
    c.field = schema_field(schema, i);
    if (!check_name(&c) || !check_type(&c) || !check_limits(&c) || !check_choices(&c) || !check_pattern(&c)) return false;
    if (!check_nested(&c) || !check_default(&c)) return false;
  }
  return true;
}

bool schema_check(const purlin_schema *schema, buffer *why) { return check_schema(schema, NULL, why); }
