#include "core/text.h"

#include <string.h>

/* ---- UTF-8 --------------------------------------------------------------------------------------------------------- */

static bool is_continuation(unsigned char c) { return (c & 0xc0) == 0x80; }

size_t text_utf8_length(const char *text, size_t size) {
  const unsigned char *s = (const unsigned char *)text;
  if (size == 0) return 0;
  if (s[0] < 0x80) return 1;
  if (s[0] < 0xc2) return 0; /* a continuation, or longer than needed */
  if (s[0] < 0xe0) return size >= 2 && is_continuation(s[1]) ? 2 : 0;
  if (s[0] < 0xf0) {
    if (size < 3 || !is_continuation(s[1]) || !is_continuation(s[2])) return 0;
    if (s[0] == 0xe0 && s[1] < 0xa0) return 0;  /* longer than needed */
    if (s[0] == 0xed && s[1] >= 0xa0) return 0; /* a surrogate */
    return 3;
  }
  if (s[0] > 0xf4 || size < 4 || !is_continuation(s[1]) || !is_continuation(s[2]) || !is_continuation(s[3])) return 0;
  if (s[0] == 0xf0 && s[1] < 0x90) return 0;  /* longer than needed */
  if (s[0] == 0xf4 && s[1] >= 0x90) return 0; /* above U+10FFFF */
  return 4;
}

bool text_is_utf8(const char *text, size_t size) {
  const char *at = text, *end = text + size;
  while (at < end) {
    uint64_t eight;
    if ((size_t)(end - at) >= sizeof eight) {
      memcpy(&eight, at, sizeof eight);
      if ((eight & UINT64_C(0x8080808080808080)) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    size_t length = text_utf8_length(at, (size_t)(end - at));
    if (length == 0) return false;
    at += length;
  }
  return true;
}

/* Eight bytes at a time: a byte below 0x20, above 0x7f, a quote or a backslash sets its highest bit in one of the four. */
static uint64_t marks_unplain(uint64_t word) {
  const uint64_t ones = UINT64_C(0x0101010101010101);
  uint64_t quote = word ^ (ones * '"'), backslash = word ^ (ones * '\\');
  return (word | (word - ones * ' ') | (quote - ones) | (backslash - ones)) & (ones << 7);
}

bool text_is_plain(const char *text, size_t size) {
  uint64_t word, marks = 0;
  for (; size >= sizeof word; text += sizeof word, size -= sizeof word) {
    memcpy(&word, text, sizeof word);
    marks |= marks_unplain(word);
  }
  word = UINT64_C(0x2020202020202020);
  memcpy(&word, text, size);
  return (marks | marks_unplain(word)) == 0;
}

/* ---- Hexadecimal, base64, percent-encoding -------------------------------------------------------------------------- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void text_hex(const void *data, size_t size, char *out) {
  static const char digits[] = "0123456789abcdef";
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++) {
    out[2 * i] = digits[bytes[i] >> 4];
    out[2 * i + 1] = digits[bytes[i] & 15];
  }
  out[2 * size] = '\0';
}

bool text_unhex(const char *text, size_t size, void *out) {
  unsigned char *bytes = out;
  if (size % 2 != 0) return false;
  for (size_t i = 0; i < size; i += 2) {
    int high = hex_digit(text[i]), low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i / 2] = (unsigned char)(high << 4 | low);
  }
  return true;
}

size_t text_base64_size(size_t size) { return (size / 3 + (size % 3 != 0)) * 4; }

void text_base64(const void *data, size_t size, char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *in = data;
  while (size >= 3) {
    uint32_t three = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];
    *out++ = digits[three >> 18];
    *out++ = digits[three >> 12 & 63];
    *out++ = digits[three >> 6 & 63];
    *out++ = digits[three & 63];
    in += 3;
    size -= 3;
  }
  if (size > 0) {
    uint32_t rest = (uint32_t)in[0] << 16 | (size == 2 ? (uint32_t)in[1] << 8 : 0);
    *out++ = digits[rest >> 18];
    *out++ = digits[rest >> 12 & 63];
    *out++ = size == 2 ? digits[rest >> 6 & 63] : '=';
    *out++ = '=';
  }
  *out = '\0';
}

static int base64_digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool text_unbase64(const char *text, size_t size, void *out, size_t *out_size) {
  unsigned char *to = out;
  if (size % 4 != 0) return false;
  size_t padding = size > 0 && text[size - 1] == '=' ? (text[size - 2] == '=' ? 2 : 1) : 0;
  for (size_t i = 0; i < size; i += 4) {
    bool last = i + 4 == size;
    size_t digits = last ? 4 - padding : 4;
    uint32_t four = 0;
    for (size_t k = 0; k < 4; k++) {
      int digit = k < digits ? base64_digit(text[i + k]) : 0;
      if (digit < 0) return false;
      four = four << 6 | (uint32_t)digit;
    }
    /* Bits that no byte uses must be zero, so that each value has one text only. */
    if ((digits == 2 && (four & 0xffff) != 0) || (digits == 3 && (four & 0xff) != 0)) return false;
    *to++ = (unsigned char)(four >> 16);
    if (digits > 2) *to++ = (unsigned char)(four >> 8);
    if (digits > 3) *to++ = (unsigned char)four;
  }
  *out_size = (size_t)(to - (unsigned char *)out);
  return true;
}

bool text_unpercent(const char *text, size_t size, bool plus_is_space, char *out, size_t *out_size) {
  size_t length = 0;
  for (size_t i = 0; i < size; i++) {
    if (text[i] != '%') {
      out[length++] = text[i] == '+' && plus_is_space ? ' ' : text[i];
      continue;
    }
    if (size - i < 3) return false;
    int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high | low) == 0) return false;
    out[length++] = (char)(high << 4 | low);
    i += 2;
  }
  *out_size = length;
  return true;
}

bool text_equal_ignoring_case(const char *a, size_t a_size, const char *b, size_t b_size) {
  if (a_size != b_size) return false;
  for (size_t i = 0; i < a_size; i++) {
    char x = a[i] >= 'A' && a[i] <= 'Z' ? (char)(a[i] + 32) : a[i];
    char y = b[i] >= 'A' && b[i] <= 'Z' ? (char)(b[i] + 32) : b[i];
    if (x != y) return false;
  }
  return true;
}
