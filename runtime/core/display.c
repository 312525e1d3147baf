#include "core/display.h"
#include "core/text.h"
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

void display_begin(void) {
  /* For wcwidth() alone; numbers stay as JSON writes them. */
  if (!setlocale(LC_CTYPE, "C.UTF-8")) (void)setlocale(LC_CTYPE, "");
}

static uint32_t code_point(const unsigned char *at, size_t size) {
  if (size == 1) return at[0];
  uint32_t point = at[0] & (0x7fu >> size);
  for (size_t i = 1; i < size; i++) point = point << 6 | (at[i] & 0x3fu);
  return point;
}

/* What a terminal would obey instead of showing: controls, line ends, and what turns the direction of writing. */
static bool is_active(uint32_t point) {
  return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c || point == 0x200e || point == 0x200f ||
         (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

static void add_escaped(buffer *out, uint32_t point) {
  static const char letters[] = "btn\0fr"; /* from U+0008 on; there is no letter for U+000B */
  if (point >= 8 && point <= 13 && letters[point - 8]) buffer_format(out, "\\%c", letters[point - 8]);
  else buffer_format(out, "\\u%04x", point);
}

void display_add(buffer *out, const char *text, size_t size) {
  for (size_t at = 0; at < size;) {
    size_t length = text_utf8_length(text + at, size - at);
    uint32_t point = length ? code_point((const unsigned char *)text + at, length) : 0xfffd;
    if (is_active(point)) add_escaped(out, point);
    else if (length) buffer_add(out, text + at, length);
    else buffer_text(out, "\xef\xbf\xbd");
    at += length ? length : 1;
  }
}

static size_t width_of(uint32_t point) {
  int width = wcwidth((wchar_t)point);
  return width > 0 ? (size_t)width : 0;
}

size_t display_width(const char *text, size_t size) {
  size_t width = 0;
  for (size_t at = 0; at < size;) {
    size_t length = text_utf8_length(text + at, size - at);
    width += length ? width_of(code_point((const unsigned char *)text + at, length)) : 1;
    at += length ? length : 1;
  }
  return width;
}

size_t display_fit(const char *text, size_t size, size_t columns) {
  size_t width = 0, at = 0;
  while (at < size) {
    size_t length = text_utf8_length(text + at, size - at);
    if (!length) length = 1;
    width += width_of(code_point((const unsigned char *)text + at, length));
    if (width > columns) break;
    at += length;
  }
  return at;
}

void display_text(FILE *to, const char *text) {
  buffer shown = {0};
  display_add(&shown, text, strlen(text));
  (void)fputs(buffer_end(&shown), to);
  buffer_free(&shown);
}

bool display_is_terminal(FILE *of) {
  const char *terminal = getenv("TERM");
  return isatty(fileno(of)) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

bool display_is_coloured(FILE *of) {
  const char *refused = getenv("NO_COLOR");
  return display_is_terminal(of) && !(refused && *refused);
}
