/* schema.h: what is derived from a table of fields. The public half is <purlin/schema.h>; this is what the rest of the
 * runtime uses: decoding into any arena, validation messages, encoding into a buffer, JSON Schema, layout hashes. */
#ifndef PURLIN_CORE_SCHEMA_H
#define PURLIN_CORE_SCHEMA_H

#include <purlin/schema.h>
#include "core/arena.h"
#include "core/buffer.h"

/* Where messages about single fields go: "metrics[3].step", "must be at least 0". Both texts are borrowed until return. A
 * body that is no JSON, or no object, is one complaint with the field "" (or the prefix). After 32 the reading ends. */
typedef void schema_complain(void *to, const char *field, const char *message);

typedef struct schema_reading {
  arena *memory;
  schema_complain *complain;
  void *complain_to;
  bool tolerant;      /* unknown members ignored, null for a default means absent */
  bool lenient;       /* numbers and booleans may be texts, "True" is true */
  const char *prefix; /* put before field paths; may be NULL */
  /* Of the outermost object, when the caller gathers it from several places: schema_decode then neither zeroes it nor fills
   * defaults, refuses members whose bit is set ("is given twice"), sets the bits of those it read, and leaves the rest to
   * schema_finish. NULL otherwise. */
  uint64_t *was_set;
} schema_reading;

#define SCHEMA_MAX_FIELDS 256 /* per schema; schema_check refuses more */

/* The i-th field, whatever the size of a field in the plugin's layout. Everything up to `secret` is there, as in 1.0;
 * members that later versions append must be read only when schema->field_size covers them. */
const purlin_field *schema_field(const purlin_schema *schema, size_t index);
const purlin_field *schema_find(const purlin_schema *schema, const char *name, size_t name_size);
size_t schema_field_index(const purlin_schema *schema, const purlin_field *field);

/* Checks the table itself at start: known types, defaults that decode, patterns that compile, sane limits; false writes why.
 * The other functions rely on it. A .max of 0 below a positive .min means no upper limit. */
bool schema_check(const purlin_schema *schema, buffer *why);

/* Decodes an object. null stands for an absent member where it is optional without a default; JSON and bytes have no
 * default max_length; 5.0 is an integer. Tolerantly, null is NaN where a number is required, as NaN is encoded so.
 * Returns PURLIN_OK, PURLIN_INVALID (complaints were made) or PURLIN_TOO_LARGE. */
purlin_status schema_decode(const schema_reading *reading, const purlin_schema *schema, const char *json, size_t size,
                            void *out);

/* Sets one field from text, as it comes from a path, a query string, a command line or a database column of text: numbers
 * and booleans are parsed, lists of texts collect repeated calls, JSON is checked. `path` names it in complaints. */
purlin_status schema_set_text(const schema_reading *reading, const purlin_field *field, void *out, const char *text,
                              size_t size);
/* Starts such a struct: zeroes it. Ends it: fills defaults and complains of required fields that were not set.
 * `was_set` has one bit per field, as schema_set_text's callers keep it (bit i of was_set[i/64]). */
purlin_status schema_finish(const schema_reading *reading, const purlin_schema *schema, void *out, const uint64_t *was_set);

/* Checks a struct that was filled by code against every rule of its schema: limits, choices, patterns, what is required. Returns PURLIN_OK
 * or PURLIN_INVALID (complaints were made). */
purlin_status schema_validate(const schema_reading *reading, const purlin_schema *schema, const void *value);

typedef enum schema_encoding { SCHEMA_PUBLIC = 0, SCHEMA_WITH_SECRETS = 1 } schema_encoding;
void schema_encode(const purlin_schema *schema, const void *value, schema_encoding how, buffer *out);
/* A deep copy of a struct, texts and lists included, into an arena. false: no memory. */
bool schema_copy(const purlin_schema *schema, const void *value, arena *memory, void *out);

/* Whether a field of it, or of what it nests, is secret. */
bool schema_holds_secrets(const purlin_schema *schema);
/* Zeroes what is secret in a struct that was decoded: texts and bytes where they are, in the arena of the reading. All of a nested
 * struct, where the field that holds it is. */
void schema_wipe(const purlin_schema *schema, void *value);

/* What a field holds, in a word or two: "integer", "list of texts". */
const char *schema_type_word(const purlin_field *field);

/* The JSON Schema (2020-12, as OpenAPI 3.1 embeds it) of a schema; nested ones as {"$ref":"#/components/schemas/NAME"}. */
void schema_json_schema(const purlin_schema *schema, buffer *out);
void schema_json_field(const purlin_field *field, buffer *out); /* of one field */
/* What a schema is called in documents: its name, and a number behind it when another one came first; equal schemas are called alike. */
void schema_component_name(const purlin_schema *schema, buffer *out);
unsigned schema_component_number(const purlin_schema *schema); /* among those of its name; 0: no memory */
/* Calls `visit` for the schema and everything that it nests, each once per mention. */
void schema_visit(const purlin_schema *schema, void (*visit)(void *to, const purlin_schema *schema), void *to);

/* A hash of names, types, offsets and sizes: equal hashes mean that a struct may be passed as it is. */
uint64_t schema_layout(const purlin_schema *schema);

/* The name of an enum's or choice's i-th value, and back; -1 when there is none such. */
bool schema_choice_name(const char *choices, size_t index, const char **name, size_t *size);
int schema_choice_index(const char *choices, const char *name, size_t size);

#endif
