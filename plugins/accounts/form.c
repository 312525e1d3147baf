#include "form.h"
#include <string.h>

enum { LONGEST_PATH = 1000 };

static int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL for a broken escape or a NUL. */
static const char *decode(purlin_ctx *ctx, const char *text, size_t size) {
  char *out = purlin_alloc(ctx, size + 1), *to = out;
  for (size_t i = 0; out && i < size; i++) {
    char c = text[i] == '+' ? ' ' : text[i];
    if (c == '%') {
      bool whole = size - i > 2;
      int high = whole ? digit(text[i + 1]) : -1, low = whole ? digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return NULL;
      c = (char)(high << 4 | low);
      i += 2;
    }
    if (c == '\0') return NULL;
    *to++ = c;
  }
  return out;
}

/* Well-formed, without what is written longer than it must be. */
static bool is_utf8(const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
    size_t more = *at < 0x80                  ? 0
                  : *at >= 0xc2 && *at < 0xe0 ? 1
                  : *at >= 0xe0 && *at < 0xf0 ? 2
                  : *at >= 0xf0 && *at < 0xf5 ? 3
                                              : 9;
    if (more == 9) return false;
    unsigned char least = *at == 0xe0   ? 0xa0
                          : *at == 0xf0 ? 0x90
                                        : 0x80,
                  most = *at == 0xed   ? 0x9f
                         : *at == 0xf4 ? 0x8f
                                       : 0xbf;
    for (size_t i = 1; i <= more; i++, least = 0x80, most = 0xbf)
      if (at[i] < least || at[i] > most) return false;
    at += more;
  }
  return true;
}

static bool take(purlin_ctx *ctx, const char *pair, size_t size, login_form *out, bool seen[3]) {
  static const char *const names[] = {"name", "password", "next"};
  const char **const places[] = {&out->name, &out->password, &out->next};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    size_t name_size = strlen(names[i]);
    if (size <= name_size || pair[name_size] != '=' || memcmp(pair, names[i], name_size) != 0) continue;
    const char *value = decode(ctx, pair + name_size + 1, size - name_size - 1);
    if (seen[i] || !value || !is_utf8(value)) return false;
    seen[i] = true;
    *places[i] = value;
  }
  return true;
}

bool form_read(purlin_ctx *ctx, const char *body, size_t size, login_form *out) {
  bool seen[3] = {false};
  *out = (login_form){"", "", ""};
  for (size_t at = 0; at < size;) {
    const char *stop = memchr(body + at, '&', size - at);
    size_t pair = stop ? (size_t)(stop - body) - at : size - at;
    if (!take(ctx, body + at, pair, out, seen)) return false;
    at += pair + 1;
  }
  return true;
}

bool form_is_own_path(const char *text) {
  if (!text || *text != '/' || text[1] == '/' || strnlen(text, LONGEST_PATH + 1) > LONGEST_PATH) return false;
  for (const char *at = text; *at; at++)
    if (*at <= ' ' || *at >= 0x7f || *at == '\\') return false;
  return true;
}

const char *form_escape_html(purlin_ctx *ctx, const char *text) {
  size_t size = strlen(text);
  char *out = size < LONGEST_PATH * 10 ? purlin_alloc(ctx, size * 6 + 1) : NULL, *to = out;
  for (; out && *text; text++) {
    const char *as = *text == '&'    ? "&amp;"
                     : *text == '<'  ? "&lt;"
                     : *text == '>'  ? "&gt;"
                     : *text == '"'  ? "&quot;"
                     : *text == '\'' ? "&#39;"
                                     : NULL;
    size_t length = as ? strlen(as) : 1;
    memcpy(to, as ? as : text, length);
    to += length;
  }
  return out;
}

const char *form_escape_query(purlin_ctx *ctx, const char *text) {
  static const char digits[] = "0123456789ABCDEF";
  static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
  size_t size = strlen(text);
  char *out = size < LONGEST_PATH * 10 ? purlin_alloc(ctx, size * 3 + 1) : NULL, *to = out;
  for (; out && *text; text++) {
    if (strchr(plain, *text)) {
      *to++ = *text;
      continue;
    }
    unsigned char byte = (unsigned char)*text;
    *to++ = '%';
    *to++ = digits[byte >> 4];
    *to++ = digits[byte & 15];
  }
  return out;
}
