#include "core/json.h"

#include "core/text.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "find_special takes the lowest byte for the first");

const char json_no_memory[] = "no memory for a text";

/* What may come next. */
enum {
  EXPECT_VALUE,
  EXPECT_FIRST_ITEM, /* a value or ']' */
  EXPECT_FIRST_KEY,  /* a key or '}' */
  EXPECT_MORE,       /* ',' or the end of the container */
  EXPECT_NOTHING,    /* the value is complete */
  BROKEN
};

void json_begin(json_reader *r, const char *text, size_t size, arena *memory) {
  if (size == 0) text = "";
  *r = (json_reader){.at = text, .end = text + size, .start = text, .memory = memory, .value_start = text};
}

json_kind json_fail(json_reader *r, const char *at, const char *error) {
  r->at = at;
  r->error = error;
  r->state = BROKEN;
  return JSON_ERROR;
}

static const char *skip_space(const char *at, const char *end) {
  while (at < end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
  return at;
}

static bool inside_object(const json_reader *r) { return (r->in_object[r->depth / 8] >> (r->depth % 8) & 1) != 0; }

static void value_done(json_reader *r) { r->state = r->depth == 0 ? EXPECT_NOTHING : EXPECT_MORE; }

/* ---- Texts ------------------------------------------------------------------------------------------------------------- */

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The first byte that is not plain in a text: a quote, a backslash, a control character, the start of a longer UTF-8
 * sequence; `end` if none. Eight bytes at a time: a byte's top bit is set in `found` if it is one of these, and bits above
 * the first may be wrong, because subtraction borrows. */
static const char *find_special(const char *at, const char *end) {
  while (end - at >= 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    uint64_t quote = word ^ EACH_BYTE('"'), backslash = word ^ EACH_BYTE('\\');
    uint64_t found = (((quote - EACH_BYTE(1)) & ~quote) | ((backslash - EACH_BYTE(1)) & ~backslash) |
                      ((word - EACH_BYTE(0x20)) & ~word) | word) &
                     EACH_BYTE(0x80);
    if (found != 0) return at + __builtin_ctzll(found) / 8;
    at += 8;
  }
  while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\') at++;
  return at;
}

/* Four hexadecimal digits, or a value above 0xffff. */
static uint32_t four_digits(const char *at, const char *end) {
  uint32_t value = 0;
  if (end - at < 4) return UINT32_MAX;
  for (int i = 0; i < 4; i++) {
    unsigned char c = (unsigned char)at[i];
    uint32_t digit = c - (uint32_t)'0' < 10         ? c - (uint32_t)'0'
                     : (c | 32) - (uint32_t)'a' < 6 ? (c | 32) - (uint32_t)'a' + 10
                                                    : 99;
    if (digit == 99) return UINT32_MAX;
    value = value << 4 | digit;
  }
  return value;
}

/* Reads the escape at `at`, a backslash. Returns its length, or 0 with *error. */
static size_t read_escape(const char *at, const char *end, uint32_t *code, const char **error) {
  static const char names[] = "\"\\/bfnrt", codes[] = "\"\\/\b\f\n\r\t";
  *error = "unknown escape in a text";
  if (end - at < 2) return 0;
  if (at[1] != 'u') {
    const char *name = at[1] == '\0' ? NULL : strchr(names, at[1]);
    if (name == NULL) return 0;
    *code = (unsigned char)codes[name - names];
    return 2;
  }
  uint32_t first = four_digits(at + 2, end);
  if (first == UINT32_MAX) return 0;
  *error = first == 0 ? "\\u0000 is not allowed in a text" : "half a surrogate pair in a text";
  if (first == 0 || (first >= 0xdc00 && first <= 0xdfff)) return 0;
  *code = first;
  if (first < 0xd800 || first > 0xdfff) return 6;
  if (end - at < 12 || at[6] != '\\' || at[7] != 'u') return 0;
  uint32_t second = four_digits(at + 8, end);
  if (second < 0xdc00 || second > 0xdfff) return 0;
  *code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
  return 12;
}

static char *put_utf8(char *to, uint32_t code) {
  if (code < 0x80) {
    *to++ = (char)code;
    return to;
  }
  if (code < 0x800) {
    *to++ = (char)(0xc0 | code >> 6);
  } else {
    if (code < 0x10000) {
      *to++ = (char)(0xe0 | code >> 12);
    } else {
      *to++ = (char)(0xf0 | code >> 18);
      *to++ = (char)(0x80 | (code >> 12 & 63));
    }
    *to++ = (char)(0x80 | (code >> 6 & 63));
  }
  *to++ = (char)(0x80 | (code & 63));
  return to;
}

/* Copies checked text with its escapes resolved, which never makes it longer. */
static bool unescape(json_reader *r, const char *from, const char *end) {
  char *copy = r->memory == NULL ? NULL : arena_alloc_raw(r->memory, (size_t)(end - from) + 1, 1), *to = copy;
  if (copy == NULL) return false;
  while (from < end) {
    const char *stop = memchr(from, '\\', (size_t)(end - from));
    size_t plain = (size_t)((stop != NULL ? stop : end) - from);
    memcpy(to, from, plain);
    to += plain;
    from += plain;
    if (stop == NULL) break;
    uint32_t code = 0;
    const char *error;
    from += read_escape(from, end, &code, &error);
    to = put_utf8(to, code);
  }
  *to = '\0';
  r->text = copy;
  r->text_size = (size_t)(to - copy);
  r->text_in_memory = true;
  return true;
}

/* Reads the text whose opening quote is at r->at. */
static bool read_text(json_reader *r, bool only_check) {
  const char *begin = r->at + 1, *at = begin, *error;
  bool escaped = false;
  for (;;) {
    at = find_special(at, r->end);
    if (at == r->end) return json_fail(r, r->at, "a text that is not closed"), false;
    if (*at == '"') break;
    size_t length;
    if (*at == '\\') {
      uint32_t code;
      escaped = true;
      length = read_escape(at, r->end, &code, &error);
    } else {
      error = (unsigned char)*at < 0x20 ? "a raw control character in a text" : "a text that is not UTF-8";
      length = (unsigned char)*at < 0x20 ? 0 : text_utf8_length(at, (size_t)(r->end - at));
    }
    if (length == 0) return json_fail(r, at, error), false;
    at += length;
  }
  r->text = begin;
  r->text_size = (size_t)(at - begin);
  r->text_in_memory = false;
  if (escaped && !only_check && !unescape(r, begin, at)) return json_fail(r, begin, json_no_memory), false;
  r->at = at + 1;
  return true;
}

/* ---- Numbers ------------------------------------------------------------------------------------------------------------- */

static bool is_digit(const char *at, const char *end) { return at < end && *at >= '0' && *at <= '9'; }

static json_kind read_number(json_reader *r) {
  const char *begin = r->at, *at = begin, *end = r->end;
  bool negative = *at == '-', whole = true, fits = true;
  uint64_t value = 0;
  if (negative) at++;
  if (!is_digit(at, end)) return json_fail(r, begin, negative ? "a minus without a number" : "expected a value");
  if (*at == '0') {
    at++;
  } else {
    for (; is_digit(at, end); at++)
      fits = fits && !__builtin_mul_overflow(value, 10U, &value) &&
             !__builtin_add_overflow(value, (unsigned)(*at - '0'), &value);
  }
  if (at < end && *at == '.') {
    whole = false;
    if (!is_digit(++at, end)) return json_fail(r, at, "expected a digit after the point");
    while (is_digit(at, end)) at++;
  }
  if (at < end && (*at == 'e' || *at == 'E')) {
    whole = false;
    at++;
    if (at < end && (*at == '-' || *at == '+')) at++;
    if (!is_digit(at, end)) return json_fail(r, at, "expected a digit in the exponent");
    while (is_digit(at, end)) at++;
  }
  if (whole && fits && value <= (uint64_t)INT64_MAX + negative) {
    r->integer = (int64_t)(negative ? 0 - value : value);
    r->number = negative ? -(double)value : (double)value;
    r->at = at;
    value_done(r);
    return JSON_INT;
  }
  if (!text_to_double(begin, (size_t)(at - begin), &r->number))
    return json_fail(r, begin, "a number that is too large or too long");
  r->at = at;
  value_done(r);
  return JSON_DOUBLE;
}

/* ---- Tokens ---------------------------------------------------------------------------------------------------------------- */

static json_kind read_word(json_reader *r, const char *word, size_t size, json_kind kind) {
  if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0) return json_fail(r, r->at, "expected a value");
  r->at += size;
  value_done(r);
  return kind;
}

static json_kind open_container(json_reader *r, bool object) {
  if (r->depth == JSON_MAX_DEPTH) return json_fail(r, r->at, "nested more than 100 deep");
  r->depth++;
  unsigned bit = 1U << (r->depth % 8);
  uint8_t *byte = &r->in_object[r->depth / 8];
  *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
  r->at++;
  r->state = object ? EXPECT_FIRST_KEY : EXPECT_FIRST_ITEM;
  return object ? JSON_OBJECT : JSON_ARRAY;
}

static json_kind close_container(json_reader *r) {
  json_kind kind = inside_object(r) ? JSON_OBJECT_END : JSON_ARRAY_END;
  r->at++;
  r->depth--;
  value_done(r);
  return kind;
}

static json_kind read_value(json_reader *r) {
  switch (*r->at) {
  case '"':
    if (!read_text(r, r->skipping)) return JSON_ERROR;
    value_done(r);
    return JSON_TEXT;
  case '{': return open_container(r, true);
  case '[': return open_container(r, false);
  case 't': return read_word(r, "true", 4, JSON_TRUE);
  case 'f': return read_word(r, "false", 5, JSON_FALSE);
  case 'n': return read_word(r, "null", 4, JSON_NULL);
  default: return read_number(r);
  }
}

static json_kind read_key(json_reader *r) {
  if (*r->at != '"') return json_fail(r, r->at, "expected a name in double quotes");
  if (!read_text(r, false)) return JSON_ERROR;
  r->at = skip_space(r->at, r->end);
  if (r->at == r->end || *r->at != ':') return json_fail(r, r->at, "expected ':' after a name");
  r->at++;
  r->state = EXPECT_VALUE;
  return JSON_KEY;
}

/* After a value in a container: the end of the container, or what follows the comma. */
static json_kind read_more(json_reader *r) {
  bool object = inside_object(r);
  if (*r->at == (object ? '}' : ']')) return close_container(r);
  if (*r->at != ',') return json_fail(r, r->at, object ? "expected ',' or '}'" : "expected ',' or ']'");
  r->at = skip_space(r->at + 1, r->end);
  r->value_start = r->at;
  if (r->at == r->end) return json_fail(r, r->at, "the text ends too early");
  return object ? read_key(r) : read_value(r);
}

json_kind json_next(json_reader *r) {
  if (r->state == BROKEN) return JSON_ERROR;
  r->at = skip_space(r->at, r->end);
  r->value_start = r->at;
  if (r->at == r->end) {
    if (r->state == EXPECT_NOTHING) return JSON_END;
    return json_fail(r, r->at, r->at == r->start ? "the text is empty" : "the text ends too early");
  }
  switch (r->state) {
  case EXPECT_VALUE: return read_value(r);
  case EXPECT_FIRST_ITEM: return *r->at == ']' ? close_container(r) : read_value(r);
  case EXPECT_FIRST_KEY: return *r->at == '}' ? close_container(r) : read_key(r);
  case EXPECT_MORE: return read_more(r);
  default: return json_fail(r, r->at, "something follows the value");
  }
}

void json_place(const char *text, size_t offset, size_t *line, size_t *column) {
  const char *at = text, *end = text + offset, *found;
  *line = 1;
  while (at < end && (found = memchr(at, '\n', (size_t)(end - at))) != NULL) {
    at = found + 1;
    ++*line;
  }
  *column = (size_t)(end - at) + 1;
}
