/* What may be the path of a file: a table, and what must hold whatever is tried. */
#include "path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void sound_paths(void **state) {
  (void)state;
  static const char *const sound[] = {"a",
                                      "model/MLmodel",
                                      "a b",
                                      " a ",
                                      "a+b",
                                      "100%",
                                      "100%.txt",
                                      "%",
                                      "%4",
                                      "%zz",
                                      "a%20b",
                                      "x%41",
                                      "\u00fcn\u00efcode/\u65e5\u672c.txt",
                                      "u\u0308",
                                      "...a",
                                      "..a",
                                      "a..",
                                      ".hidden",
                                      "a/.b/..c",
                                      "c/C:/x",
                                      "ab:c",
                                      "file",
                                      "files:a",
                                      "~/x",
                                      "~root",
                                      "-rf",
                                      "$(x)",
                                      "`x`",
                                      "a;b&c=d",
                                      "a?b",
                                      "*",
                                      "con",
                                      "a\xc2\xa0z",
                                      "\xf4\x8f\xbf\xbf",
                                      "e\xcc\x81",
                                      "%c3%28",
                                      "a%e9"};
  for (size_t i = 0; i < sizeof sound / sizeof sound[0]; i++)
    if (path_fault(sound[i])) fail_msg("'%s' is refused: %s", sound[i], path_fault(sound[i]));
}

static void bad_paths(void **state) {
  (void)state;
  static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "...", ".. /a", "a/ /b", "..", "./a", "../a", "a/.",
                                    "a/..", "a/../b", "a/./b", "//", "a\\b", "\\", "..\\a", "a\nb", "a\tb", "a\x7f",
                                    "a\xc2\x85z", "a#b", "#", "C:/x", "c:x", "z:", "file:///etc/passwd", "FILE:x", "file:",
                                    /* what others would make of it */
                                    "%2e%2e/a", "%2e", "a/%2E%2e", "%252e%252e/a", "%25252e%25252e", "a%2f..%2fb", "%2fetc",
                                    "a%2f", "a%5cb", "a%00b", "a%0ab", "a%23b", "%43:/x", "f%69le:x", "%2e%2e%2f",
                                    /* no UTF-8 */
                                    "\x80", "a\xff", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3",
                                    "\xe2\x82", "\xf0\x9f\x98", "\xf8\x88\x80\x80\x80"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    if (!path_fault(bad[i])) fail_msg("'%s' is taken", bad[i]);
}

/* `count` times `piece`, without what follows the last. */
static char *repeat(const char *piece, size_t count, size_t cut) {
  size_t size = strlen(piece);
  char *text = malloc(size * count + 1);
  assert_non_null(text);
  for (size_t i = 0; i < count; i++) memcpy(text + i * size, piece, size);
  text[size * count - cut] = '\0';
  return text;
}

static void expect(char *path, bool sound) {
  if ((path_fault(path) == NULL) != sound) fail_msg("%zu bytes: %s", strlen(path), path_fault(path));
  free(path);
}

static void lengths(void **state) {
  (void)state;
  expect(repeat("x", PATH_CHARACTERS, 0), true);
  expect(repeat("x", PATH_CHARACTERS + 1, 0), false);
  expect(repeat("\U0001f600", PATH_CHARACTERS, 0), true);
  expect(repeat("\U0001f600", PATH_CHARACTERS + 1, 0), false);
  expect(repeat("%", PATH_CHARACTERS, 0), true);
  expect(repeat("x", 1000000, 0), false);
  expect(repeat("x/", PATH_COMPONENTS, 1), true);
  expect(repeat("x/", PATH_COMPONENTS + 1, 1), false);
}

/* ---- Whatever is tried ---------------------------------------------------------------------------------------------------------------- */

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below) {
  seed ^= seed << 13;
  seed ^= seed >> 17;
  seed ^= seed << 5;
  return seed % below;
}

static int value(char c) { return c <= '9' ? c - '0' : (c | 32) - 'a' + 10; }

/* As those do that decode what was decoded already; what it makes may hold a NUL. */
static size_t decode_again(const char *text, size_t size, char *out) {
  size_t to = 0;
  for (size_t i = 0; i < size; i++) {
    bool escape = text[i] == '%' && i + 2 < size && strchr("0123456789abcdefABCDEF", text[i + 1]) &&
                  strchr("0123456789abcdefABCDEF", text[i + 2]) && text[i + 1] && text[i + 2];
    out[to++] = escape ? (char)(value(text[i + 1]) * 16 + value(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return to;
}

/* Said in another way than the code under test says it. */
static void is_harmless(const char *path, size_t size, const char *original) {
  if (memchr(path, '\0', size) || memchr(path, '\\', size) || memchr(path, '#', size) || memchr(path, '\n', size) ||
      path[0] == '/')
    fail_msg("'%s' becomes '%s'", original, path);
  char padded[2 * PATH_BYTES];
  (void)snprintf(padded, sizeof padded, "/%.*s/", (int)size, path);
  if (strstr(padded, "/../") || strstr(padded, "/./") || strstr(padded, "//"))
    fail_msg("'%s' becomes '%s'", original, path);
}

static void nothing_sound_is_harmful_however_often_it_is_decoded(void **state) {
  (void)state;
  static const char *const pieces[] = {".", "..",   "/",     "%2e",      "%2E", "%2f", "%5c", "%25", "25", "2e",
                                       "%", "a",    "b.txt", "\\",       "#",   "%23", "%00", "%0a", "\n", ":",
                                       "C", "file", "%c3",   "\xc3\xbc", "%",   "5c",  " ",   "?"};
  size_t sound = 0;
  for (int round = 0; round < 300000; round++) {
    char path[128] = "", decoded[128];
    size_t size = 0;
    for (uint32_t count = 1 + next_random(12); count > 0; count--) {
      const char *piece = pieces[next_random(sizeof pieces / sizeof pieces[0])];
      memcpy(path + size, piece, strlen(piece) + 1);
      size += strlen(piece);
    }
    if (path_fault(path)) continue;
    sound++;
    char original[128];
    memcpy(original, path, size + 1);
    for (int times = 0; times < 8; times++) {
      is_harmless(path, size, original);
      size = decode_again(path, size, decoded);
      memcpy(path, decoded, size);
      path[size] = '\0';
    }
  }
  assert_true(sound > 5000);
}

static void any_bytes(void **state) {
  (void)state;
  for (int round = 0; round < 100000; round++) {
    char path[40];
    size_t size = next_random(sizeof path);
    for (size_t i = 0; i < size; i++) path[i] = (char)next_random(256);
    path[size] = '\0';
    if (!path_fault(path)) is_harmless(path, strlen(path), path);
  }
}

static void components(void **state) {
  (void)state;
  size_t size = 0;
  const char *path = "a/bc/d";
  path = path_next(path, &size);
  assert_int_equal(size, 1);
  path = path_next(path, &size);
  assert_int_equal(size, 2);
  assert_string_equal(path, "d");
  assert_null(path_next(path, &size));
  assert_int_equal(size, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(sound_paths), cmocka_unit_test(bad_paths),
      cmocka_unit_test(lengths),     cmocka_unit_test(nothing_sound_is_harmful_however_often_it_is_decoded),
      cmocka_unit_test(any_bytes),   cmocka_unit_test(components),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
