#include "json.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 100 };

static const char *space(const char *p, const char *end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
  return p;
}

static bool digit(const char *p, const char *end) { return p < end && *p >= '0' && *p <= '9'; }

/* ---- Where a value ends; NULL: it is none ------------------------------------------------------------------------------------------ */

static const char *string_end(const char *p, const char *end) {
  if (p >= end || *p != '"') return NULL;
  for (p++; p < end && *p != '"'; p++) {
    if ((unsigned char)*p < 0x20) return NULL;
    if (*p == '\\' && (++p == end || (unsigned char)*p < 0x20)) return NULL;
  }
  return p < end ? p + 1 : NULL;
}

static const char *digits_end(const char *p, const char *end) {
  if (!digit(p, end)) return NULL;
  while (digit(p, end)) p++;
  return p;
}

static const char *number_end(const char *p, const char *end) {
  if (p < end && *p == '-') p++;
  p = p < end && *p == '0' ? p + 1 : digits_end(p, end);
  if (p && p < end && *p == '.') p = digits_end(p + 1, end);
  if (!p || p >= end || (*p != 'e' && *p != 'E')) return p;
  p++;
  if (p < end && (*p == '-' || *p == '+')) p++;
  return digits_end(p, end);
}

static const char *word_end(const char *p, const char *end, const char *word) {
  size_t size = strlen(word);
  return (size_t)(end - p) >= size && memcmp(p, word, size) == 0 ? p + size : NULL;
}

static const char *scalar_end(const char *p, const char *end) {
  if (p >= end) return NULL;
  switch (*p) {
  case '"': return string_end(p, end);
  case 't': return word_end(p, end, "true");
  case 'f': return word_end(p, end, "false");
  case 'n': return word_end(p, end, "null");
  default: return number_end(p, end);
  }
}

/* Behind "name": in an object. */
static const char *key_end(const char *p, const char *end) {
  p = string_end(space(p, end), end);
  if (!p) return NULL;
  p = space(p, end);
  return p < end && *p == ':' ? p + 1 : NULL;
}

static const char *value_end(const char *p, const char *end) {
  char close[DEEPEST];
  size_t depth = 0;
  for (;;) {
    p = space(p, end); /* a value begins here */
    if (p < end && (*p == '{' || *p == '[')) {
      if (depth == DEEPEST) return NULL;
      close[depth++] = *p == '{' ? '}' : ']';
      p = space(p + 1, end);
      if (p >= end) return NULL;
      if (*p != close[depth - 1]) {
        if (close[depth - 1] == '}' && !(p = key_end(p, end))) return NULL;
        continue;
      }
      depth--;
      p++;
    } else if (!(p = scalar_end(p, end))) return NULL;
    for (; depth > 0; depth--) { /* and has ended here */
      p = space(p, end);
      if (p >= end || (*p != ',' && *p != close[depth - 1])) return NULL;
      if (*p++ == ',') break;
    }
    if (depth == 0) return p;
    if (close[depth - 1] == '}' && !(p = key_end(p, end))) return NULL;
  }
}

bool json_whole(const char *text, size_t size, json *out) {
  const char *end = text + size, *begin = space(text, end), *stop = value_end(begin, end);
  *out = (json){begin, stop};
  while (stop && stop < end && *stop == '\0') stop++; /* some write the NUL, too */
  return stop && space(stop, end) == end;
}

/* The same of a value that was checked: by brackets, quotes and commas alone. */
static const char *skip(const char *p) {
  size_t depth = 0;
  do {
    switch (*p) {
    case '"':
      for (p++; *p != '"'; p++) p += *p == '\\';
      p++;
      break;
    case '{':
    case '[': depth++, p++; break;
    case '}':
    case ']': depth--, p++; break;
    default: p++; break;
    }
  } while (depth > 0);
  return p;
}

/* A scalar that stands in a list or an object ends before what ends with it. */
static const char *checked_end(const char *p) {
  if (*p == '"' || *p == '{' || *p == '[') return skip(p);
  while (*p != ',' && *p != ']' && *p != '}' && *p != ' ' && *p != '\n' && *p != '\r' && *p != '\t') p++;
  return p;
}

/* ---- Members and items -------------------------------------------------------------------------------------------------------------- */

void json_members(json object, const char *const *names, json *values, size_t count) {
  for (size_t i = 0; i < count; i++) values[i] = (json){NULL, NULL};
  if (!object.at || *object.at != '{') return;
  const char *p = space(object.at + 1, object.end);
  while (p && p < object.end && *p == '"') {
    const json key = {p, skip(p)};
    p = space(key_end(p, object.end), object.end);
    const json value = {p, checked_end(p)};
    for (size_t i = 0; i < count; i++)
      if (!values[i].at && json_is(key, names[i])) values[i] = value;
    p = space(value.end, object.end);
    if (*p == ',') p = space(p + 1, object.end);
  }
}

json json_member(json object, const char *name) {
  json value;
  json_members(object, &name, &value, 1);
  return value;
}

bool json_is_list(json value) { return value.at && *value.at == '['; }

bool json_next(json list, json *place) {
  if (!json_is_list(list)) return false;
  const char *p = space(place->at ? place->end : list.at + 1, list.end);
  if (*p == ',') p = space(p + 1, list.end);
  if (*p == ']') return false;
  *place = (json){p, checked_end(p)};
  return true;
}

size_t json_count(json list) {
  size_t count = 0;
  for (json item = {NULL, NULL}; json_next(list, &item);) count++;
  return count;
}

/* ---- Values ---------------------------------------------------------------------------------------------------------------------------- */

/* A number is followed by something that is none: a value stands in an object or a list, and a text ends with a quote. */
bool json_number(json value, bool texts, double *out) {
  if (!value.at) return false;
  const char *p = value.at, *end = value.end;
  if (*p == 't' || *p == 'f') return *out = *p == 't', true;
  if (texts && *p == '"') p++, end--;
  if (p == end || !(*p == '-' || digit(p, end))) return false;
  if (number_end(p, end) != end) return false;
  int64_t whole = 0;
  const char *q = p;
  for (; digit(q, end) && q - p < 15; q++) whole = whole * 10 + (*q - '0');
  if (q == end) return *out = (double)whole, true; /* as most are */
  char *stop = NULL;
  *out = strtod(p, &stop);
  return stop == end;
}

static uint32_t unit(const char *p, const char *end) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++, p++) {
    if (p >= end) return 0xfffd;
    char c = *p;
    uint32_t half = digit(p, end)          ? (uint32_t)(c - '0')
                    : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                    : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A') + 10
                                           : 0xfffd;
    if (half == 0xfffd) return half;
    value = value << 4 | half;
  }
  return value;
}

static size_t put_utf8(uint32_t c, char *to) {
  if (c < 0x80) return to[0] = (char)c, 1;
  size_t size = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
  for (size_t i = size; i-- > 1; c >>= 6) to[i] = (char)(0x80 | (c & 0x3f));
  to[0] = (char)(lead[size] | c);
  return size;
}

/* The bytes of one character of a string, which may be an escape; *p goes behind it. */
static size_t next_character(const char **p, const char *end, char *out) {
  static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
  if (**p != '\\') return out[0] = *(*p)++, 1;
  char c = (*p)[1];
  *p += 2;
  const char *known = c ? strchr(letters, c) : NULL;
  if (known) return out[0] = meanings[known - letters], 1;
  if (c != 'u') return out[0] = c, 1;
  uint32_t code = unit(*p, end), low = 0;
  *p = end - *p < 4 ? end : *p + 4;
  if (code >= 0xd800 && code < 0xdc00 && end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' &&
      (low = unit(*p + 2, end)) >= 0xdc00 && low < 0xe000) {
    *p += 6;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  }
  return put_utf8(code, out);
}

bool json_is(json value, const char *text) {
  if (!value.at || *value.at != '"') return false;
  const char *p = value.at + 1, *end = value.end - 1;
  size_t size = strlen(text);
  while (p < end) {
    char bytes[4];
    size_t count = next_character(&p, end, bytes);
    if (count > size || memcmp(bytes, text, count) != 0) return false;
    text += count;
    size -= count;
  }
  return size == 0;
}
