#include "core/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

static void appends_of_every_kind(void **state) {
  (void)state;
  buffer b = {0};
  assert_string_equal(buffer_end(&b), "");
  buffer_text(&b, "a");
  buffer_char(&b, ' ');
  buffer_add(&b, "bcd", 2);
  buffer_char(&b, ' ');
  buffer_int(&b, INT64_MIN);
  buffer_char(&b, ' ');
  buffer_uint(&b, UINT64_MAX);
  buffer_char(&b, ' ');
  buffer_uint(&b, 7);
  buffer_char(&b, ' ');
  buffer_double(&b, 0.1);
  buffer_char(&b, ' ');
  buffer_double(&b, (double)NAN);
  buffer_double(&b, (double)-INFINITY);
  buffer_format(&b, " %s=%d", "x", 5);
  assert_string_equal(buffer_end(&b), "a bc -9223372036854775808 18446744073709551615 7 0.1 nullnull x=5");
  assert_false(b.failed);
  buffer_free(&b);
  assert_null(b.data);
}

static void grows(void **state) {
  (void)state;
  buffer b = {0};
  for (int i = 0; i < 100000; i++) buffer_char(&b, (char)('a' + i % 26));
  assert_int_equal(b.size, 100000);
  for (size_t i = 0; i < 100000; i++) assert_int_equal(b.data[i], 'a' + (int)(i % 26));
  buffer_clear(&b);
  assert_int_equal(b.size, 0);
  for (int i = 0; i < 200; i++) buffer_format(&b, "%0*d", i, i);
  assert_int_equal(b.size, 1 + 199 * 200 / 2);
  buffer_free(&b);
}

static void an_error_sticks(void **state) {
  (void)state;
  buffer b = {.limit = 10};
  buffer_text(&b, "12345678");
  buffer_text(&b, "abc"); /* 11 bytes */
  assert_true(b.failed);
  buffer_text(&b, "d"); /* would fit, but the text would have a hole */
  assert_string_equal(buffer_end(&b), "12345678");
  buffer_clear(&b);
  assert_false(b.failed);
  buffer_format(&b, "%s", "1234567890"); /* exactly the limit: the NUL does not count */
  assert_false(b.failed);
  assert_string_equal(buffer_end(&b), "1234567890");
  buffer_format(&b, "%d", 1);
  assert_true(b.failed);
  buffer_clear(&b);
  assert_false(buffer_reserve(&b, SIZE_MAX));
  assert_true(b.failed);
  buffer_free(&b);
}

static void a_long_format_honours_the_limit(void **state) {
  (void)state;
  buffer b = {.limit = 1000};
  buffer_format(&b, "%0999d", 1);
  assert_int_equal(b.size, 999);
  buffer_format(&b, "%02d", 1);
  assert_true(b.failed);
  assert_int_equal(b.size, 999);
  buffer_free(&b);
}

static void assert_json(const char *text, size_t size, const char *expected) {
  buffer b = {0};
  buffer_json_text(&b, text, size);
  assert_string_equal(buffer_end(&b), expected);
  buffer_free(&b);
}

static void json_texts_are_escaped(void **state) {
  (void)state;
  assert_json("", 0, "\"\"");
  assert_json("plain/<>&'", 10, "\"plain/<>&'\"");
  assert_json("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
  assert_json("\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"");
  assert_json("\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"");
  assert_json("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  assert_json("a\xff\xc3z\xe2\x82", 6, "\"a\xef\xbf\xbd\xef\xbf\xbdz\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void consumes_from_the_front(void **state) {
  (void)state;
  buffer b = {0};
  buffer_text(&b, "hello world");
  buffer_consume(&b, 6);
  assert_string_equal(buffer_end(&b), "world");
  buffer_consume(&b, 0);
  assert_int_equal(b.size, 5);
  buffer_consume(&b, 99);
  assert_int_equal(b.size, 0);
  assert_string_equal(buffer_end(&b), "");
  buffer_free(&b);
}

static void the_end_fits_a_full_buffer(void **state) {
  (void)state;
  buffer b = {0};
  buffer_char(&b, 'x');
  while (b.size < b.capacity) buffer_char(&b, 'x');
  size_t size = b.size;
  assert_int_equal(strlen(buffer_end(&b)), size);
  assert_int_equal(b.size, size);
  buffer_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(appends_of_every_kind),
      cmocka_unit_test(grows),
      cmocka_unit_test(an_error_sticks),
      cmocka_unit_test(a_long_format_honours_the_limit),
      cmocka_unit_test(json_texts_are_escaped),
      cmocka_unit_test(consumes_from_the_front),
      cmocka_unit_test(the_end_fits_a_full_buffer),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
