#include "otlp.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 256 };

static bool make_room(growing *out, size_t more) {
  if (out->failed) return false;
  if (more < out->room - out->size) return true;
  size_t room = out->room ? out->room : FIRST_ROOM;
  while (room - out->size <= more) {
    if (room > SIZE_MAX / 2) return out->failed = true, false;
    room *= 2;
  }
  char *text = purlin_alloc(out->ctx, room);
  if (!text) return out->failed = true, false;
  if (out->size > 0) memcpy(text, out->text, out->size);
  out->text = text;
  out->room = room;
  return true;
}

void growing_put(growing *out, const char *text, size_t size) {
  if (!make_room(out, size)) return;
  memcpy(out->text + out->size, text, size);
  out->size += size;
  out->text[out->size] = '\0';
}

void growing_text(growing *out, const char *text) { growing_put(out, text, strlen(text)); }

void growing_char(growing *out, char c) { growing_put(out, &c, 1); }

/* How many bytes of well-formed UTF-8 begin here: 0 when they are none. */
static size_t sequence(const uint8_t *at, size_t left) {
  if (at[0] < 0x80) return 1;
  size_t size = at[0] >= 0xC2 && at[0] < 0xE0 ? 2 : (at[0] & 0xF0) == 0xE0 ? 3 : at[0] >= 0xF0 && at[0] < 0xF5 ? 4 : 0;
  if (size == 0 || size > left) return 0;
  for (size_t i = 1; i < size; i++)
    if ((at[i] & 0xC0) != 0x80) return 0;
  if (size == 3 && ((at[0] == 0xE0 && at[1] < 0xA0) || (at[0] == 0xED && at[1] >= 0xA0))) return 0;
  if (size == 4 && ((at[0] == 0xF0 && at[1] < 0x90) || (at[0] == 0xF4 && at[1] >= 0x90))) return 0;
  return size;
}

static void put_escaped(growing *out, uint8_t c) {
  static const char digits[] = "0123456789abcdef";
  switch (c) {
  case '"': growing_text(out, "\\\""); return;
  case '\\': growing_text(out, "\\\\"); return;
  case '\n': growing_text(out, "\\n"); return;
  case '\r': growing_text(out, "\\r"); return;
  case '\t': growing_text(out, "\\t"); return;
  case '\b': growing_text(out, "\\b"); return;
  case '\f': growing_text(out, "\\f"); return;
  case '\0': growing_text(out, "\xEF\xBF\xBD"); return;
  default: break;
  }
  char escape[] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
  growing_put(out, escape, sizeof escape);
}

void growing_quoted(growing *out, const char *text, size_t size) {
  const uint8_t *at = (const uint8_t *)text, *end = at + size, *plain = at;
  growing_char(out, '"');
  while (at < end) {
    size_t length = sequence(at, (size_t)(end - at));
    bool good = length > 1 || (length == 1 && *at >= 0x20 && *at != '"' && *at != '\\');
    if (good) {
      at += length;
      continue;
    }
    growing_put(out, (const char *)plain, (size_t)(at - plain));
    if (length == 1) put_escaped(out, *at);
    else growing_text(out, "\xEF\xBF\xBD");
    plain = ++at;
  }
  growing_put(out, (const char *)plain, (size_t)(at - plain));
  growing_char(out, '"');
}

void growing_double(growing *out, double value) {
  char text[32];
  if (isnan(value)) growing_text(out, "\"NaN\"");
  else if (isinf(value)) growing_text(out, value > 0 ? "\"Infinity\"" : "\"-Infinity\"");
  else {
    for (int digits = 15; digits <= 17; digits++) {
      (void)snprintf(text, sizeof text, "%.*g", digits, value);
      if (strtod(text, NULL) == value) break;
    }
    growing_text(out, text);
  }
}
