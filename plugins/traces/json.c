#include "otlp.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What comes here was checked by the runtime's reader: it is JSON, in UTF-8, without a member twice, at most 100 deep. So it is only cut
 * up here. Still, nothing is read behind its end. */

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
  return at;
}

static const char *skip_text(const char *at, const char *end) {
  for (at++; at < end && *at != '"'; at++)
    if (*at == '\\') at++;
  return at < end ? at + 1 : end;
}

/* Behind a value of any kind. */
static const char *skip_value(const char *at, const char *end) {
  size_t depth = 0;
  while (at < end) {
    if (*at == '"') at = skip_text(at, end);
    else if (*at == '{' || *at == '[') depth++, at++;
    else if (*at == '}' || *at == ']') depth = depth > 0 ? depth - 1 : 0, at++;
    else if (depth > 0) at++;
    else
      while (at < end && !strchr(" \t\r\n,]}", *at)) at++;
    if (depth == 0) break;
  }
  return at;
}

static purlin_json slice(const char *from, const char *to) { return (purlin_json){from, (size_t)(to - from)}; }

bool otlp_each(purlin_json json, const char **at, otlp_member *member) {
  const char *end = json.text + json.size, *here = *at;
  *member = (otlp_member){{NULL, 0}, {NULL, 0}};
  if (!here) {
    here = skip_space(json.text, end);
    if (here >= end || (*here != '{' && *here != '[')) return false;
    here++;
  }
  here = skip_space(here, end);
  if (here < end && *here == ',') here = skip_space(here + 1, end);
  if (here >= end || *here == '}' || *here == ']') return false;
  const char *begin = here;
  here = skip_value(here, end);
  member->value = slice(begin, here);
  here = skip_space(here, end);
  if (here < end && *here == ':') {
    member->key = member->value;
    begin = skip_space(here + 1, end);
    here = skip_value(begin, end);
    member->value = slice(begin, here);
  }
  *at = here;
  return here > begin;
}

bool otlp_is(purlin_json json, const char *text) {
  size_t size = strlen(text);
  return json.size == size + 2 && json.text[0] == '"' && memcmp(json.text + 1, text, size) == 0;
}

purlin_json otlp_get(purlin_json object, const char *name) {
  otlp_member member;
  for (const char *at = NULL; object.text && otlp_each(object, &at, &member);)
    if (member.key.text && otlp_is(member.key, name)) return member.value;
  return (purlin_json){NULL, 0};
}

/* ---- Into the one form ------------------------------------------------------------------------------------------------------------- */

static bool is_text(purlin_json json) { return json.size >= 2 && json.text[0] == '"'; }
static purlin_json within(purlin_json text) { return (purlin_json){text.text + 1, text.size - 2}; }

/* A whole number, as it stands or as a text. */
static bool put_whole(growing *out, purlin_json json, bool quoted, bool negative) {
  purlin_json digits = is_text(json) ? within(json) : json;
  size_t from = negative && digits.size > 0 && digits.text[0] == '-';
  if (digits.size == from || digits.size - from > 20) return false;
  for (size_t i = from; i < digits.size; i++)
    if (digits.text[i] < '0' || digits.text[i] > '9') return false;
  char text[32];
  memcpy(text, digits.text, digits.size);
  text[digits.size] = '\0';
  char *end = text;
  if (negative) {
    long long value = strtoll(text, &end, 10);
    if ((value == INT64_MAX || value == INT64_MIN) && strcmp(text, "9223372036854775807") != 0 &&
        strcmp(text, "-9223372036854775808") != 0)
      return false;
  } else if (digits.size == 20 && strcmp(text, "18446744073709551615") > 0) return false;
  if (quoted) growing_char(out, '"');
  growing_text(out, text);
  if (quoted) growing_char(out, '"');
  return true;
}

/* A number of 32 bits. */
static bool put_small(growing *out, purlin_json json) {
  growing digits = {.ctx = out->ctx};
  if (!put_whole(&digits, json, false, true) || digits.failed || digits.size > 11) return false;
  long long value = strtoll(digits.text, NULL, 10);
  if (value < INT32_MIN || value > UINT32_MAX) return false;
  growing_put(out, digits.text, digits.size);
  return true;
}

static bool put_real(growing *out, purlin_json json) {
  static const char *const names[] = {"NaN", "Infinity", "-Infinity"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (otlp_is(json, names[i])) return growing_put(out, json.text, json.size), true;
  purlin_json digits = is_text(json) ? within(json) : json;
  char text[400], *end;
  if (digits.size == 0 || digits.size >= sizeof text) return false;
  memcpy(text, digits.text, digits.size);
  text[digits.size] = '\0';
  if (strspn(text, "-+0123456789.eE") != digits.size) return false;
  double value = strtod(text, &end);
  if (*end != '\0' || !isfinite(value)) return false;
  growing_double(out, value);
  return true;
}

static bool is_hex(purlin_json json) {
  if (!is_text(json) || json.size % 2 != 0) return false;
  for (size_t i = 1; i + 1 < json.size; i++)
    if (!strchr("0123456789abcdefABCDEF", json.text[i])) return false;
  return true;
}

static bool put_id(growing *out, purlin_json json) {
  if (!is_hex(json)) return false;
  for (size_t i = 0; i < json.size; i++) {
    char c = json.text[i];
    growing_char(out, c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c);
  }
  return true;
}

/* Base64, of either alphabet, with or without padding; written in the first, with it. */
static bool put_bytes(growing *out, purlin_json json) {
  if (!is_text(json)) return false;
  purlin_json text = within(json);
  while (text.size > 0 && text.text[text.size - 1] == '=') text.size--;
  if (text.size % 4 == 1 || (within(json).size - text.size) > 2) return false;
  growing_char(out, '"');
  for (size_t i = 0; i < text.size; i++) {
    char c = text.text[i] == '-' ? '+' : text.text[i] == '_' ? '/' : text.text[i];
    if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c)) return false;
    growing_char(out, c);
  }
  for (size_t i = text.size; i % 4 != 0; i++) growing_char(out, '=');
  growing_char(out, '"');
  return true;
}

static bool put_message(growing *out, const otlp_message *message, purlin_json json, unsigned depth);

static bool put_value(growing *out, const otlp_field *field, purlin_json json, unsigned depth) {
  bool truth = json.size == 4 && memcmp(json.text, "true", 4) == 0;
  switch (field->kind) {
  case OTLP_TEXT:
    if (!is_text(json)) return false;
    growing_put(out, json.text, json.size);
    return true;
  case OTLP_BOOL:
    if (!truth && !(json.size == 5 && memcmp(json.text, "false", 5) == 0)) return false;
    growing_put(out, json.text, json.size);
    return true;
  case OTLP_BYTES: return put_bytes(out, json);
  case OTLP_ID: return put_id(out, json);
  case OTLP_INT: return put_whole(out, json, true, true);
  case OTLP_FIXED64: return put_whole(out, json, true, false);
  case OTLP_SMALL:
  case OTLP_FIXED32: return put_small(out, json);
  case OTLP_DOUBLE: return put_real(out, json);
  case OTLP_MESSAGE: return put_message(out, field->of, json, depth + 1);
  }
  return false;
}

static bool is_null(purlin_json json) { return json.size == 4 && memcmp(json.text, "null", 4) == 0; }

static bool put_list(growing *out, const otlp_field *field, purlin_json json, unsigned depth) {
  otlp_member item;
  bool first = true;
  if (json.size < 2 || json.text[0] != '[') return false;
  growing_char(out, '[');
  for (const char *at = NULL; otlp_each(json, &at, &item); first = false) {
    if (!first) growing_char(out, ',');
    if (!put_value(out, field, item.value, depth)) return false;
  }
  growing_char(out, ']');
  return true;
}

static const otlp_field *find_field(const otlp_message *message, purlin_json key) {
  for (size_t i = 0; i < message->count; i++)
    if (otlp_is(key, message->fields[i].name) || otlp_is(key, message->fields[i].other_name)) return &message->fields[i];
  return NULL;
}

static bool put_message(growing *out, const otlp_message *message, purlin_json json, unsigned depth) {
  otlp_member member;
  uint64_t seen = 0;
  bool first = true;
  if (depth > OTLP_DEEPEST || json.size < 2 || json.text[0] != '{') return false;
  growing_char(out, '{');
  for (const char *at = NULL; otlp_each(json, &at, &member) && !out->failed;) {
    const otlp_field *field = member.key.text ? find_field(message, member.key) : NULL;
    if (!field || is_null(member.value)) continue;
    uint64_t bit = UINT64_C(1) << (field - message->fields);
    if (seen & (message->one_of ? UINT64_MAX : bit)) return false;
    seen |= bit;
    if (!first) growing_char(out, ',');
    first = false;
    growing_char(out, '"');
    growing_text(out, field->name);
    growing_text(out, "\":");
    if (field->repeated ? !put_list(out, field, member.value, depth) : !put_value(out, field, member.value, depth))
      return false;
  }
  growing_char(out, '}');
  return true;
}

bool otlp_from_json(growing *out, const otlp_message *message, purlin_json json) {
  return put_message(out, message, json, 0);
}

bool otlp_list_from_json(growing *out, const otlp_message *message, purlin_json json) {
  const otlp_field list = {.kind = OTLP_MESSAGE, .repeated = true, .of = message};
  if (json.text && !is_null(json)) return put_list(out, &list, json, 0);
  growing_text(out, "[]");
  return true;
}

/* ---- Plain values ---------------------------------------------------------------------------------------------------------------- */

static void put_plain_list(growing *out, purlin_json list, bool pairs) {
  otlp_member item;
  bool first = true;
  growing_char(out, pairs ? '{' : '[');
  for (const char *at = NULL; list.text && otlp_each(list, &at, &item); first = false) {
    if (!first) growing_text(out, ", ");
    if (pairs) {
      purlin_json key = otlp_get(item.value, "key");
      if (key.text) growing_put(out, key.text, key.size);
      else growing_text(out, "\"\"");
      growing_text(out, ": ");
    }
    otlp_plain(out, pairs ? otlp_get(item.value, "value") : item.value);
  }
  growing_char(out, pairs ? '}' : ']');
}

void otlp_plain(growing *out, purlin_json value) {
  otlp_member member = {{NULL, 0}, {NULL, 0}};
  const char *at = NULL;
  if (!value.text || !otlp_each(value, &at, &member) || !member.key.text) growing_text(out, "null");
  else if (otlp_is(member.key, "arrayValue")) put_plain_list(out, otlp_get(member.value, "values"), false);
  else if (otlp_is(member.key, "kvlistValue")) put_plain_list(out, otlp_get(member.value, "values"), true);
  else if (otlp_is(member.key, "intValue")) growing_put(out, member.value.text + 1, member.value.size - 2);
  else if (otlp_is(member.key, "doubleValue") && is_text(member.value))
    growing_put(out, member.value.text + 1, member.value.size - 2);
  else growing_put(out, member.value.text, member.value.size);
}

typedef struct one_text {
  const char *text;
} one_text;
PURLIN_SCHEMA(one_text, "A text", PURLIN_DEFAULT(text, "\"\"", "It", .max_length = 16777216));

const char *otlp_unquoted(purlin_ctx *ctx, purlin_json json) {
  if (!json.text) return "";
  if (!is_text(json)) return purlin_copy_bytes(ctx, json.text, json.size);
  if (!memchr(json.text, '\\', json.size)) return purlin_copy_bytes(ctx, json.text + 1, json.size - 2);
  one_text out = {0};
  const char *all = purlin_format(ctx, "{\"text\":%.*s}", (int)json.size, json.text);
  if (!all) return NULL;
  if (purlin_decode_stored(ctx, one_text_schema(), all, strlen(all), &out) == PURLIN_OK) return out.text;
  purlin_clear_failure(ctx);
  return "";
}
