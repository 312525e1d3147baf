/* json.h: our strict JSON reader: a pull parser over text in memory, no tree.
 *
 * Strict: RFC 8259, valid UTF-8, depth 100, no duplicate keys in an object (checked by the schema decoder and by
 * json_check), no \u0000 in texts, exact 64-bit integers, nothing after the value. */
#ifndef PURLIN_CORE_JSON_H
#define PURLIN_CORE_JSON_H

#include "core/arena.h"

#define JSON_MAX_DEPTH 100

extern const char json_no_memory[]; /* the error, by its address, that is not the text's fault */

typedef enum json_kind {
  JSON_END,
  JSON_ERROR,
  JSON_OBJECT,
  JSON_OBJECT_END,
  JSON_ARRAY,
  JSON_ARRAY_END,
  JSON_KEY,
  JSON_TEXT,
  JSON_INT,
  JSON_DOUBLE,
  JSON_TRUE,
  JSON_FALSE,
  JSON_NULL
} json_kind;

typedef struct json_reader {
  const char *at, *end, *start;
  /* For texts that hold escapes; others are borrowed from the input and NOT NUL-terminated. NULL: such texts are an error. */
  arena *memory;
  const char *text; /* of the last KEY or TEXT */
  size_t text_size;
  bool text_in_memory;     /* the text lies in `memory` and ends with a NUL; else it is borrowed */
  int64_t integer;         /* of the last INT */
  double number;           /* of the last INT or DOUBLE */
  const char *value_start; /* where the last token began, for json_skip and for raw values */
  const char *error;       /* static text, after JSON_ERROR; at - start is the place */
  uint8_t depth, state;
  bool skipping;                               /* texts, but not keys, are checked only */
  uint8_t in_object[(JSON_MAX_DEPTH + 8) / 8]; /* a bit per level */
} json_reader;

void json_begin(json_reader *r, const char *text, size_t size, arena *memory);
json_kind json_next(json_reader *r);
/* Ends the reading with an error of the caller's: from now on json_next returns JSON_ERROR. `error` is static text. */
json_kind json_fail(json_reader *r, const char *at, const char *error);
/* Skips the value whose first token was just read (`kind`), checking it, duplicate keys too; on return value_start..at is
 * its text. false: r->error tells why, as after JSON_ERROR. */
bool json_skip(json_reader *r, json_kind kind);
/* Whether the text is one strict JSON value; *error_at and *error tell otherwise. */
bool json_check(const char *text, size_t size, size_t *error_at, const char **error);

/* The line and column, from 1, of the byte at `offset`; columns count bytes. */
void json_place(const char *text, size_t offset, size_t *line, size_t *column);

/* A small DOM-free lookup for free-form values: the member `key` of the object in `text`, as raw text; false if none. */
bool json_find(const char *text, size_t size, const char *key, const char **value, size_t *value_size);

#endif
