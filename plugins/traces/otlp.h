/* otlp.h: the messages of the OpenTelemetry protocol, from bytes of protocol buffers or from JSON into one JSON.
 *
 * There is one table of the messages, field by field. From it otlp_from_protobuf turns bytes into the JSON of OTLP, and otlp_from_json
 * turns JSON of clients, which may be written in other ways, into the very same. What comes out holds nothing but what the tables name,
 * with each value in its one form: lowerCamelCase, 64-bit integers and numbers that are not finite as texts, ids in small hexadecimal
 * digits, bytes in base64. So what is kept can be given to any client.
 *
 * Nothing here knows of traces, of the database or of HTTP. Text grows in the arena of its context. */
#ifndef TRACES_OTLP_H
#define TRACES_OTLP_H

#include <purlin/purlin.h>

/* ---- Text that grows ---------------------------------------------------------------------------------------------------------- */

/* Zero but for ctx. `failed`: there was no memory, which is recorded. */
typedef struct growing {
  purlin_ctx *ctx;
  char *text; /* a NUL follows; NULL while nothing was put */
  size_t size, room;
  bool failed;
} growing;

void growing_put(growing *out, const char *text, size_t size);
void growing_text(growing *out, const char *text);
void growing_char(growing *out, char c);
/* As a text of JSON, quotes included. What is not UTF-8, and NUL, becomes U+FFFD. */
void growing_quoted(growing *out, const char *text, size_t size);
/* The fewest digits that are this number again; "NaN", "Infinity" and "-Infinity" with their quotes. */
void growing_double(growing *out, double value);

/* ---- The tables ----------------------------------------------------------------------------------------------------------------- */

typedef enum otlp_kind {
  OTLP_TEXT,
  OTLP_BYTES,   /* base64 in JSON */
  OTLP_ID,      /* bytes; hexadecimal in JSON */
  OTLP_BOOL,    /* varint */
  OTLP_INT,     /* varint; a text in JSON */
  OTLP_SMALL,   /* varint of 32 bits, and enums */
  OTLP_FIXED64, /* a text in JSON */
  OTLP_FIXED32,
  OTLP_DOUBLE,
  OTLP_MESSAGE
} otlp_kind;

typedef struct otlp_message otlp_message;

typedef struct otlp_field {
  uint32_t number;
  const char *name, *other_name; /* in JSON; as in the .proto file */
  otlp_kind kind;
  bool repeated;
  const otlp_message *of;
} otlp_field;

struct otlp_message {
  const otlp_field *fields;
  size_t count;
  bool one_of; /* holds one field at most: the last */
};

extern const otlp_message otlp_span_message, otlp_resource_message, otlp_scope_message, otlp_attribute_message,
    otlp_event_message, otlp_link_message;

enum { OTLP_DEEPEST = 64 }; /* messages within each other */

/* ---- Protocol buffers ------------------------------------------------------------------------------------------------------------ */

/* What is not read yet of a message. */
typedef struct otlp_bytes {
  const uint8_t *at, *end;
} otlp_bytes;

typedef struct otlp_item {
  uint32_t number, wire;
  uint64_t value;   /* of wire 0, 1, 5 */
  otlp_bytes bytes; /* of wire 2 */
} otlp_item;

/* The next field. False at the end, and when what follows is no field: then *broken. */
bool otlp_next(otlp_bytes *bytes, otlp_item *item, bool *broken);
/* Appends a message as a JSON object. False when it is malformed or nested too deep. */
bool otlp_from_protobuf(growing *out, const otlp_message *message, otlp_bytes bytes);

/* ---- JSON ------------------------------------------------------------------------------------------------------------------------- */

/* Appends the same message, told in JSON that is known to be JSON. False when it does not fit the table. */
bool otlp_from_json(growing *out, const otlp_message *message, purlin_json json);
/* The same for a list of them; absent is the empty list. */
bool otlp_list_from_json(growing *out, const otlp_message *message, purlin_json json);

/* What lies within: `*at` moves behind an item of an object or a list (of which it is the text). False after the last. */
typedef struct otlp_member {
  purlin_json key, value; /* the key with its quotes; empty in a list */
} otlp_member;
bool otlp_each(purlin_json json, const char **at, otlp_member *member);
/* The value of a member; text NULL when there is none. */
purlin_json otlp_get(purlin_json object, const char *name);
/* Whether it is that text. */
bool otlp_is(purlin_json json, const char *text);
/* A value of an attribute ({"stringValue": "x"}) as plain JSON ("x"), written as Python's json.dumps does. */
void otlp_plain(growing *out, purlin_json value);
/* A text of JSON, without quotes and escapes; whatever else, as it stands. Arena; NULL: no memory. */
const char *otlp_unquoted(purlin_ctx *ctx, purlin_json json);

#endif
