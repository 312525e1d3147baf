#include "core/schema_parts.h"
#include "core/text.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- Complaints ------------------------------------------------------------------------------------------------------- */

/* A text of bounded size for one message; what does not fit is cut off. */
typedef struct short_text {
  char text[256];
  size_t size;
} short_text;

static void add(short_text *s, const char *text, size_t size, size_t most) {
  size_t room = sizeof s->text - 1 - s->size;
  if (most > room) most = room;
  if (size > most) {
    size = most;
    while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) size--; /* not inside a UTF-8 sequence */
  }
  memcpy(s->text + s->size, text, size);
  s->size += size;
  s->text[s->size] = '\0';
}

static void add_path(short_text *s, const schema_path *path) {
  if (path == NULL) return;
  add_path(s, path->up);
  if (path->name == NULL) {
    char index[26];
    size_t digits = text_from_int((int64_t)path->index, index + 1);
    index[0] = '[';
    index[digits + 1] = ']';
    add(s, index, digits + 2, sizeof index);
    return;
  }
  if (s->size > 0) add(s, ".", 1, 1);
  add(s, path->name, path->name_size, 100);
}

bool schema_say(schema_decoding *d, const schema_path *path, const char *format, ...) {
  const schema_reading *reading = d->reading;
  short_text field = {.size = 0};
  char message[512];
  va_list list;
  d->complaints++;
  if (reading->complain == NULL || d->complaints > SCHEMA_MAX_COMPLAINTS) return false;
  field.text[0] = '\0';
  if (reading->prefix != NULL) add(&field, reading->prefix, strlen(reading->prefix), sizeof field.text);
  add_path(&field, path);
  va_start(list, format);
  int length = vsnprintf(message, sizeof message, format, list);
  va_end(list);
  if (length >= (int)sizeof message) memcpy(message + sizeof message - 4, "...", 4);
  reading->complain(reading->complain_to, field.text, length >= 0 ? message : "is not valid");
  return false;
}

void *schema_memory(schema_decoding *d, size_t size) {
  void *memory = arena_alloc_raw(d->reading->memory, size, 16);
  if (memory == NULL) d->no_memory = true;
  return memory;
}

char *schema_keep(schema_decoding *d, const char *text, size_t size) {
  char *copy = arena_copy(d->reading->memory, text, size);
  if (copy == NULL) d->no_memory = true;
  return copy;
}

purlin_status schema_outcome(const schema_decoding *d) {
  if (d->no_memory) return PURLIN_TOO_LARGE;
  return d->complaints > 0 ? PURLIN_INVALID : PURLIN_OK;
}

/* ---- Rules ------------------------------------------------------------------------------------------------------------- */

static bool has_range(const purlin_field *field) {
  return field->min < 0 || field->min > 0 || field->max < 0 || field->max > 0;
}

bool schema_has_minimum(const purlin_field *field) { return has_range(field); }

bool schema_has_maximum(const purlin_field *field) { return has_range(field) && field->max >= field->min; }

static bool say_limit(schema_decoding *d, const schema_path *path, const char *which, double limit) {
  char text[33];
  text[text_from_double(limit, text)] = '\0';
  return schema_say(d, path, "must be at %s %s", which, text);
}

bool schema_rule_double(schema_decoding *d, const purlin_field *field, double value, const schema_path *path) {
  if (!has_range(field)) return true;
  if (!(value >= field->min)) return say_limit(d, path, "least", field->min);
  if (schema_has_maximum(field) && !(value <= field->max)) return say_limit(d, path, "most", field->max);
  return true;
}

bool schema_rule_int(schema_decoding *d, const purlin_field *field, int64_t value, const schema_path *path) {
  return schema_rule_double(d, field, (double)value, path);
}

static bool is_list_of_texts(const purlin_field *field) { return field->type == PURLIN_T_TEXTS; }

/* The lengths of a field of texts count its items; each item then has the default limit. */
static size_t most_bytes(const purlin_field *field) {
  return field->max_length == 0 || is_list_of_texts(field) ? SCHEMA_DEFAULT_TEXT : field->max_length;
}

bool schema_rule_text(schema_decoding *d, const purlin_field *field, const char *text, size_t size, int *choice,
                      const schema_path *path) {
  if (size > most_bytes(field)) return schema_say(d, path, "is longer than %zu bytes", most_bytes(field));
  if (size < field->min_length && !is_list_of_texts(field)) {
    if (field->min_length == 1) return schema_say(d, path, "must not be empty");
    return schema_say(d, path, "is shorter than %" PRIu32 " bytes", field->min_length);
  }
  if (field->choices != NULL) {
    int index = schema_choice_index(field->choices, text, size);
    if (index < 0) return schema_say(d, path, "must be one of: %s", field->choices);
    if (choice != NULL) *choice = index;
  }
  if (field->pattern == NULL) return true;
  const schema_pattern *pattern = schema_pattern_of(field->pattern);
  if (pattern == NULL) return schema_say(d, path, "cannot be checked: its pattern %s is broken", field->pattern);
  if (!schema_pattern_matches(pattern, text, size)) return schema_say(d, path, "does not match %s", field->pattern);
  return true;
}

size_t schema_most_items(const purlin_field *field) {
  return field->max_length > 0 ? field->max_length : SCHEMA_DEFAULT_ITEMS;
}

bool schema_rule_count(schema_decoding *d, const purlin_field *field, size_t count, const schema_path *path) {
  if (count > schema_most_items(field)) return schema_say(d, path, "has more than %zu items", schema_most_items(field));
  if (count >= field->min_length) return true;
  return schema_say(d, path, "has fewer than %" PRIu32 " item%s", field->min_length, field->min_length == 1 ? "" : "s");
}

/* JSON and bytes have only the limits that were given: what they come in is bounded already. */
bool schema_rule_bytes(schema_decoding *d, const purlin_field *field, size_t size, const schema_path *path) {
  if (field->max_length > 0 && size > field->max_length)
    return schema_say(d, path, "is longer than %" PRIu32 " bytes", field->max_length);
  if (size < field->min_length) return schema_say(d, path, "is shorter than %" PRIu32 " bytes", field->min_length);
  return true;
}
