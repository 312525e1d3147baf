/* schema_parts.h: what the files of the schema share among themselves; the rest of the runtime uses schema.h.
 *
 *   schema.c          the table of fields: looking up, choices, layout, visiting, copying
 *   schema_check.c    the table itself is right
 *   schema_pattern.c  compiled patterns, found by their text
 *   schema_automaton.c  what most of them become
 *   schema_rule.c     complaints, and the rules that one value must keep
 *   schema_decode.c   from JSON
 *   schema_text.c     from single texts
 *   schema_validate.c a struct that is there already
 *   schema_encode.c   to JSON
 *   schema_secret.c   wiping what is secret
 *   schema_document.c to JSON Schema */
#ifndef PURLIN_CORE_SCHEMA_PARTS_H
#define PURLIN_CORE_SCHEMA_PARTS_H

#include "core/json.h"
#include "core/schema.h"

#define SCHEMA_DEFAULT_TEXT ((size_t)64 * 1024)
#define SCHEMA_DEFAULT_ITEMS ((size_t)100000)
#define SCHEMA_MAX_COMPLAINTS 32 /* then decoding stops */

/* The least that field_size may be: the layout of 1.0. Members that later versions append after it must be read only when
 * schema->field_size covers them, and are zero otherwise. */
#define SCHEMA_FIELD_LEAST (offsetof(purlin_field, secret) + sizeof(bool))

/* What is common to all fields of a type. */
typedef struct schema_type {
  const char *name;     /* "an integer", for messages */
  const char *word;     /* "integer", for tables and manuals */
  uint8_t size;         /* of the member; 0: an enum, a nested struct */
  uint8_t base;         /* of an optional type: the type of its value; else the type itself */
  uint8_t value_offset; /* of an optional type: where the value is; else 0 */
  bool has_pointer;     /* absent is a NULL pointer at its beginning */
} schema_type;

/* NULL for an unknown type. */
const schema_type *schema_type_of(uint32_t type);

typedef struct schema_list {
  void *items;
  size_t count;
} schema_list; /* what every list in a struct looks like */

/* One decoding, of a whole JSON text or of single values. */
typedef struct schema_decoding {
  const schema_reading *reading;
  json_reader json;
  size_t complaints;
  bool no_memory;
} schema_decoding;

/* Where a value stands; on the stack, innermost first, made into text only for a complaint. */
typedef struct schema_path {
  const struct schema_path *up;
  const char *name; /* NULL: an item of a list, by its index */
  size_t name_size, index;
} schema_path;

/* Says what is wrong with the value at `path`. Always false. */
PURLIN_PRINTF(3, 4) bool schema_say(schema_decoding *d, const schema_path *path, const char *format, ...);
/* Whether decoding may go on: memory is there, and not too many complaints were made. */
static inline bool schema_goes_on(const schema_decoding *d) {
  return !d->no_memory && d->complaints < SCHEMA_MAX_COMPLAINTS;
}
/* Memory from the reading's arena; NULL sets no_memory. */
void *schema_memory(schema_decoding *d, size_t size);
char *schema_keep(schema_decoding *d, const char *text, size_t size);
purlin_status schema_outcome(const schema_decoding *d);

/* The rules. Each says what is wrong and returns false, or returns true. */
bool schema_rule_int(schema_decoding *d, const purlin_field *field, int64_t value, const schema_path *path);
bool schema_rule_double(schema_decoding *d, const purlin_field *field, double value, const schema_path *path);
/* Length, choices and pattern of a text, or of an item of a list of texts. For an enum *choice is the index of the name. */
bool schema_rule_text(schema_decoding *d, const purlin_field *field, const char *text, size_t size, int *choice,
                      const schema_path *path);
bool schema_rule_count(schema_decoding *d, const purlin_field *field, size_t count, const schema_path *path);
bool schema_rule_bytes(schema_decoding *d, const purlin_field *field, size_t size, const schema_path *path);
size_t schema_most_items(const purlin_field *field);
/* Whether a field has limits; a maximum of 0 below a minimum means none. */
bool schema_has_minimum(const purlin_field *field);
bool schema_has_maximum(const purlin_field *field);

void schema_put_enum(const purlin_field *field, void *at, int index);
int64_t schema_get_enum(const purlin_field *field, const void *at);

/* The compiled pattern; made at its first use, kept for ever. NULL when it does not compile. */
typedef struct schema_pattern schema_pattern;
const schema_pattern *schema_pattern_of(const char *pattern);
bool schema_pattern_matches(const schema_pattern *pattern, const char *text, size_t size);

/* What most patterns become; NULL for those that need regexec. free() ends it. */
typedef struct schema_automaton schema_automaton;
schema_automaton *schema_automaton_compile(const char *pattern);
bool schema_automaton_matches(const schema_automaton *automaton, const char *text, size_t size);

/* The text that json has just read, for a member of another type. false: nothing more can be decoded. */
bool schema_take_text(schema_decoding *d, const purlin_field *field, void *at, const schema_path *path);
/* Decodes the value whose first token is `kind` into the member at `at`. false: nothing more can be decoded. */
bool schema_decode_value(schema_decoding *d, const purlin_field *field, json_kind kind, void *at, const schema_path *path);
/* The fields of `out` that `was_set` does not have. false: as above. */
bool schema_fill(schema_decoding *d, const purlin_schema *schema, void *out, const uint64_t *was_set,
                 const schema_path *path);

#endif
