#include "core/buffer.h"

#include "core/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define SMALLEST ((size_t)256)

void buffer_free(buffer *b) {
  free(b->data);
  *b = (buffer){0};
}

void buffer_clear(buffer *b) {
  b->size = 0;
  b->failed = false;
}

bool buffer_grow(buffer *b, size_t extra) {
  if (b->failed) return false;
  size_t needed;
  if (__builtin_add_overflow(b->size, extra, &needed) || needed > SIZE_MAX / 4 || (b->limit != 0 && needed > b->limit)) {
    b->failed = true;
    return false;
  }
  if (needed <= b->capacity) return true;
  size_t capacity = b->capacity < SMALLEST ? SMALLEST : b->capacity * 2;
  if (capacity < needed) capacity = needed;
  if (b->limit != 0 && capacity > b->limit) capacity = b->limit;
  char *data = realloc(b->data, capacity + 1);
  if (data == NULL) {
    b->failed = true;
    return false;
  }
  b->data = data;
  b->capacity = capacity;
  return true;
}

void buffer_int(buffer *b, int64_t value) {
  char out[24];
  size_t size = text_from_int(value, out);
  buffer_add(b, out, size);
}

void buffer_uint(buffer *b, uint64_t value) {
  if (value <= INT64_MAX) {
    buffer_int(b, (int64_t)value);
    return;
  }
  buffer_int(b, (int64_t)(value / 10));
  buffer_char(b, (char)('0' + value % 10));
}

void buffer_double(buffer *b, double value) {
  if (!isfinite(value)) {
    buffer_add(b, "null", 4);
    return;
  }
  char out[32];
  size_t size = text_from_double(value, out);
  buffer_add(b, out, size);
}

/* What stands for a byte below 0x80 in a JSON text: 0 itself, 'u' a \u00XX escape, otherwise a backslash and this. */
static const char escapes[128] = {'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', 'b',         't',          'n', 'u',
                                  'f', 'r', 'u', 'u', 'u', 'u', 'u', 'u', 'u',         'u',          'u', 'u',
                                  'u', 'u', 'u', 'u', 'u', 'u', 'u', 'u', ['"'] = '"', ['\\'] = '\\'};

static void escape(buffer *b, unsigned char c) {
  char out[6] = {'\\', escapes[c], '0', '0', "0123456789abcdef"[c >> 4], "0123456789abcdef"[c & 15]};
  buffer_add(b, out, out[1] == 'u' ? 6 : 2);
}

static void add_escaped(buffer *b, const char *text, size_t size) {
  const char *at = text, *end = text + size, *plain = text;
  while (at < end) {
    unsigned char c = (unsigned char)*at;
    if (c < 0x80 && escapes[c] == 0) {
      at++;
      continue;
    }
    size_t length = c < 0x80 ? 0 : text_utf8_length(at, (size_t)(end - at));
    if (length > 0) {
      at += length;
      continue;
    }
    buffer_add(b, plain, (size_t)(at - plain));
    if (c < 0x80) escape(b, c);
    else buffer_add(b, "\xef\xbf\xbd", 3);
    plain = ++at;
  }
  buffer_add(b, plain, (size_t)(at - plain));
}

void buffer_json_text(buffer *b, const char *text, size_t size) {
  if (size > SIZE_MAX / 8 || !buffer_reserve(b, size + 2)) {
    b->failed = true;
    return;
  }
  buffer_char(b, '"');
  if (text_is_plain(text, size)) buffer_add(b, text, size);
  else add_escaped(b, text, size);
  buffer_char(b, '"');
}

void buffer_format(buffer *b, const char *format, ...) {
  va_list list;
  if (b->failed) return;
  size_t room = b->data == NULL ? 0 : b->capacity - b->size + 1;
  va_start(list, format);
  int length = vsnprintf(room == 0 ? NULL : b->data + b->size, room, format, list);
  va_end(list);
  if (length >= 0 && (size_t)length >= room) {
    if (!buffer_reserve(b, (size_t)length)) return;
    room = b->capacity - b->size + 1;
    va_start(list, format);
    length = vsnprintf(b->data + b->size, room, format, list);
    va_end(list);
  }
  if (length < 0) b->failed = true;
  else b->size += (size_t)length;
}

void buffer_consume(buffer *b, size_t size) {
  if (size >= b->size) {
    b->size = 0;
    return;
  }
  if (size == 0) return;
  b->size -= size;
  memmove(b->data, b->data + size, b->size);
}

const char *buffer_end(buffer *b) {
  if (b->data == NULL) return "";
  b->data[b->size] = '\0';
  return b->data;
}
