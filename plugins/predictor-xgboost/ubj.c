#include "ubj.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 100, NUMBER_ROOM = 32 };

typedef struct reader {
  const unsigned char *at, *end;
  char *text;
  size_t used, room;
  unsigned depth;
  const char *why;
} reader;

static bool fail(reader *r, const char *why) {
  if (!r->why) r->why = why;
  return false;
}

static bool ends_early(reader *r) { return fail(r, "this UBJ ends early"); }

/* ---- Writing ------------------------------------------------------------------------------------------------------------------- */

/* Where `more` bytes may be written, at least one; NULL: out of memory. */
static char *room_for(reader *r, size_t more) {
  if (!r->text || more > r->room - r->used) {
    size_t room = r->room * 2 > r->used + more ? r->room * 2 : r->used + more;
    char *grown = room > r->room ? realloc(r->text, room) : NULL;
    if (!grown) {
      (void)fail(r, "out of memory");
      return NULL;
    }
    r->text = grown;
    r->room = room;
  }
  return r->text + r->used;
}

static bool put(reader *r, const char *text, size_t size) {
  char *to = room_for(r, size);
  if (!to) return false;
  memcpy(to, text, size);
  r->used += size;
  return true;
}

static bool put_byte(reader *r, char byte) { return put(r, &byte, 1); }

static bool put_string(reader *r, const unsigned char *from, size_t size) {
  char *to = size > SIZE_MAX / 8 ? NULL : room_for(r, 6 * size + 2);
  if (!to) return fail(r, "out of memory");
  *to++ = '"';
  for (size_t i = 0; i < size; i++) {
    if (from[i] == '"' || from[i] == '\\') *to++ = '\\', *to++ = (char)from[i];
    else if (from[i] < 0x20) to += snprintf(to, 7, "\\u%04x", from[i]);
    else *to++ = (char)from[i];
  }
  *to++ = '"';
  r->used = (size_t)(to - r->text);
  return true;
}

/* ---- Reading: integers and floats are big-endian ------------------------------------------------------------------------------------ */

static size_t size_of(unsigned char type) {
  switch (type) {
  case 'i':
  case 'U': return 1;
  case 'I': return 2;
  case 'l':
  case 'd': return 4;
  case 'L':
  case 'D': return 8;
  default: return 0;
  }
}

static uint64_t bits(const unsigned char *at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; i++) value = value << 8 | at[i];
  return value;
}

static int64_t whole(unsigned char type, uint64_t raw) {
  switch (type) {
  case 'i': return (int8_t)raw;
  case 'I': return (int16_t)raw;
  case 'l': return (int32_t)raw;
  default: return (int64_t)raw;
  }
}

/* Without more room than NUMBER_ROOM. */
static int format(unsigned char type, uint64_t raw, char *to) {
  double value = 0;
  if (type != 'd' && type != 'D') return snprintf(to, NUMBER_ROOM, "%lld", (long long)whole(type, raw));
  if (type == 'd') {
    uint32_t low = (uint32_t)raw;
    float single;
    memcpy(&single, &low, sizeof single);
    value = (double)single;
  } else memcpy(&value, &raw, sizeof value);
  if (!isfinite(value)) return snprintf(to, NUMBER_ROOM, "null");
  return snprintf(to, NUMBER_ROOM, type == 'd' ? "%.9g" : "%.17g", value);
}

static bool number(reader *r, unsigned char type) {
  size_t size = size_of(type);
  if ((size_t)(r->end - r->at) < size) return ends_early(r);
  char *to = room_for(r, NUMBER_ROOM);
  if (!to) return false;
  int wrote = format(type, bits(r->at, size), to);
  r->used += (size_t)wrote;
  r->at += size;
  return true;
}

static bool take(reader *r, unsigned char *byte) {
  if (r->at == r->end) return ends_early(r);
  *byte = *r->at++;
  return true;
}

/* How many bytes or values follow. */
static bool length(reader *r, size_t *out) {
  unsigned char type = 0;
  if (!take(r, &type)) return false;
  size_t size = type == 'd' || type == 'D' ? 0 : size_of(type);
  if (size == 0) return fail(r, "this UBJ has a length that is no whole number");
  if ((size_t)(r->end - r->at) < size) return ends_early(r);
  int64_t value = whole(type, bits(r->at, size));
  if (value < 0) return fail(r, "this UBJ has a negative length");
  r->at += size;
  *out = (size_t)value;
  return true;
}

static bool string(reader *r) {
  size_t size;
  if (!length(r, &size)) return false;
  if ((size_t)(r->end - r->at) < size) return ends_early(r);
  const unsigned char *from = r->at;
  r->at += size;
  return put_string(r, from, size);
}

/* ---- Values ---------------------------------------------------------------------------------------------------------------------------- */

static bool value(reader *r, unsigned char type);

/* Of numbers of one type; each takes bytes, so that a length beyond the end is seen before there is memory for it. */
static bool typed_list(reader *r, unsigned char type, size_t count) {
  size_t size = size_of(type);
  if (size == 0) return fail(r, "this UBJ has a list of a type that XGBoost does not write");
  if ((size_t)(r->end - r->at) / size < count) return ends_early(r);
  for (size_t i = 0; i < count; i++)
    if ((i > 0 && !put_byte(r, ',')) || !number(r, type)) return false;
  return put_byte(r, ']');
}

static bool list(reader *r) {
  unsigned char type = 0, next = 0;
  size_t count = 0;
  bool counted = false;
  if (!put_byte(r, '[')) return false;
  if (r->at < r->end && *r->at == '$') {
    r->at++;
    if (!take(r, &type)) return false;
    if (r->at == r->end || *r->at != '#') return fail(r, "this UBJ has a list of one type without its length");
  }
  if (r->at < r->end && *r->at == '#') {
    r->at++;
    counted = true;
    if (!length(r, &count)) return false;
  }
  if (type) return typed_list(r, type, count);
  for (size_t i = 0; !counted || i < count; i++) {
    if (!take(r, &next)) return false;
    if (!counted && next == ']') break;
    if ((i > 0 && !put_byte(r, ',')) || !value(r, next)) return false;
  }
  return put_byte(r, ']');
}

static bool object(reader *r) {
  if (!put_byte(r, '{')) return false;
  for (bool first = true;; first = false) {
    unsigned char next = 0;
    if (r->at == r->end) return ends_early(r);
    if (*r->at == '}') {
      r->at++;
      return put_byte(r, '}');
    }
    if (*r->at == '$' || *r->at == '#') return fail(r, "this UBJ has an object of a kind that XGBoost does not write");
    if ((!first && !put_byte(r, ',')) || !string(r) || !put_byte(r, ':') || !take(r, &next) || !value(r, next))
      return false;
  }
}

static bool nested(reader *r, bool (*read)(reader *r)) {
  if (++r->depth > DEEPEST) return fail(r, "this UBJ is nested more than 100 deep");
  bool fine = read(r);
  r->depth--;
  return fine;
}

static bool value(reader *r, unsigned char type) {
  switch (type) {
  case '{': return nested(r, object);
  case '[': return nested(r, list);
  case 'S': return string(r);
  case 'C':
    if (r->at == r->end) return ends_early(r);
    return put_string(r, r->at++, 1);
  case 'Z': return put(r, "null", 4);
  case 'T': return put(r, "true", 4);
  case 'F': return put(r, "false", 5);
  default: return size_of(type) ? number(r, type) : fail(r, "this UBJ has a value of an unknown type");
  }
}

/* ---- All of it ------------------------------------------------------------------------------------------------------------------------- */

bool ubj_is(const char *data, size_t size) {
  return size >= 2 && data[0] == '{' && data[1] != '\0' && strchr("iUIlL", data[1]) != NULL;
}

char *ubj_to_json(const char *data, size_t size, size_t *json_size, const char **why) {
  const unsigned char *begin = (const unsigned char *)data;
  reader r = {.at = begin, .end = begin + size};
  unsigned char type = 0;
  bool fine = room_for(&r, size + size / 2 + NUMBER_ROOM) && take(&r, &type) && value(&r, type);
  if (fine && r.at != r.end) fine = fail(&r, "there is more after the end of this UBJ");
  fine = fine && put_byte(&r, '\0');
  if (!fine) {
    *why = r.why ? r.why : "this is no UBJ";
    free(r.text);
    return NULL;
  }
  *json_size = r.used - 1;
  return r.text;
}
