#include "rules.h"
#include <string.h>
#include <strings.h>

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_plain(char c) { return c > ' ' && c < 0x7f && c != '\\'; } /* bytes from 0x80 on are negative, or above */

static bool all_plain(const char *text) {
  while (is_plain(*text)) text++;
  return *text == '\0';
}

bool rules_is_local_path(const char *path) {
  return path[0] == '/' && path[1] != '/' && all_plain(path) && strlen(path) <= LONGEST_PATH;
}

/* ---- Addresses --------------------------------------------------------------------------------------------------------------------------- */

/* Of "HOST", "HOST:PORT" and "[ADDRESS]:PORT". */
static bool is_this_machine(const char *authority, size_t size) {
  static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    size_t length = strlen(names[i]);
    if (size >= length && memcmp(authority, names[i], length) == 0 && (size == length || authority[length] == ':'))
      return true;
  }
  return false;
}

bool rules_is_endpoint(const char *url) {
  bool secure = strncmp(url, "https://", 8) == 0;
  if (!secure && strncmp(url, "http://", 7) != 0) return false;
  const char *authority = url + (secure ? 8 : 7);
  size_t size = strcspn(authority, "/?#");
  if (size == 0 || memchr(authority, '@', size) || strchr(url, '#') || !all_plain(url) || strlen(url) > LONGEST_PATH)
    return false;
  return secure || is_this_machine(authority, size);
}

/* ---- Names ------------------------------------------------------------------------------------------------------------------------------- */

bool rules_is_group(const char *name) {
  size_t size = 0;
  for (; name[size]; size++)
    if (!is_letter(name[size]) && !is_digit(name[size]) && !strchr("._@+-", name[size])) return false;
  return size > 0 && size <= 190;
}

bool rules_login_name(const char *said, const char *suffix, char out[NAME_ROOM]) {
  size_t size = strlen(said), cut = strlen(suffix);
  if (cut > 0 && size > cut && strcasecmp(said + size - cut, suffix) == 0) size -= cut;
  if (size == 0 || size >= NAME_ROOM) return false;
  for (size_t i = 0; i < size; i++) {
    char c = said[i] >= 'A' && said[i] <= 'Z' ? (char)(said[i] - 'A' + 'a') : said[i];
    bool first = is_letter(c) || is_digit(c);
    if (!first && (i == 0 || !strchr("._-", c))) return false;
    out[i] = c;
  }
  out[size] = '\0';
  return true;
}

bool rules_email_is_in(const char *email, const char *const *domains, size_t count) {
  const char *at = strrchr(email, '@');
  if (!at || at == email) return false;
  for (size_t i = 0; i < count; i++)
    if (strcasecmp(at + 1, domains[i]) == 0) return true;
  return false;
}

size_t rules_cut(const char *text, size_t most) {
  size_t size = strnlen(text, most + 1);
  if (size <= most) return size;
  for (size = most; size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80;) size--;
  return size;
}

/* ---- Escapes ----------------------------------------------------------------------------------------------------------------------------- */

size_t rules_escape(const char *text, char *out) {
  static const char digits[] = "0123456789ABCDEF";
  size_t size = 0;
  for (; *text; text++) {
    unsigned char byte = (unsigned char)*text;
    bool plain = is_letter(*text) || is_digit(*text) || strchr("-._~", *text);
    if (out && plain) out[size] = *text;
    if (out && !plain) out[size] = '%', out[size + 1] = digits[byte >> 4], out[size + 2] = digits[byte & 15];
    size += plain ? 1 : 3;
  }
  if (out) out[size] = '\0';
  return size;
}
