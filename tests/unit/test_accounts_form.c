/* What the login page reads and writes: forms, paths, HTML. */
#include "form.h"
#include "loop/context.h"
#include "loop/internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static purlin_ctx context;

static int begin(void **state) {
  (void)state;
  context_begin(&context, "tester", "test.form");
  return 0;
}

static int end(void **state) {
  (void)state;
  context_end(&context);
  return 0;
}

/* From a copy of exactly that size, so that the sanitizer sees a byte too many. */
static bool read_form(const char *text, login_form *out) {
  size_t size = strlen(text);
  char *body = malloc(size ? size : 1);
  assert_non_null(body);
  memcpy(body, text, size);
  bool fine = form_read(&context, body, size, out);
  free(body);
  return fine;
}

static void test_forms(void **state) {
  (void)state;
  login_form form;
  assert_true(read_form("name=a+b%21&password=%C3%A4%26%3d&next=%2Fdocs&other=%zz&name", &form));
  assert_string_equal(form.name, "a b!");
  assert_string_equal(form.password, "\xc3\xa4&=");
  assert_string_equal(form.next, "/docs");
  static const char *const empty[] = {"", "&", "&&&", "=", "name", "other=1"};
  for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
    assert_true(read_form(empty[i], &form));
    assert_string_equal(form.name, "");
    assert_string_equal(form.password, "");
    assert_string_equal(form.next, "");
  }
  assert_true(read_form("name=&password=x=y", &form));
  assert_string_equal(form.password, "x=y");
}

static void test_broken_forms(void **state) {
  (void)state;
  login_form form;
  static const char *const broken[] = {"name=%",           "name=%4",        "name=%4&password=x", "name=%g1",
                                       "name=%1g",         "name=a%00b",     "name=a&name=b",      "password=&password=",
                                       "name=%ff",         "name=%c3",       "name=%c3%28",        "name=%c0%af",
                                       "name=%e0%80%80",   "name=%ed%a0%80", "name=%f0%8f%bf%bf",  "name=%f4%90%80%80",
                                       "name=%f5%80%80%80"};
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++)
    if (read_form(broken[i], &form)) fail_msg("%s was read", broken[i]);
  assert_true(read_form("name=%f4%8f%bf%bf%ed%9f%bf%e0%a0%80", &form));
}

static void test_paths(void **state) {
  (void)state;
  static const char *const own[] = {"/", "/docs", "/docs?a=b&c=%2F#x", "/a//b"};
  static const char *const others[] = {"",     "docs", "//evil",   "/\\evil",   "/a\\b", "https://evil",
                                       "/a b", "/a\n", "/\t/evil", "/\xc3\xa4", "\\/x"};
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) assert_true(form_is_own_path(own[i]));
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) assert_false(form_is_own_path(others[i]));
  assert_false(form_is_own_path(NULL));
  char path[1002];
  memset(path, '/', sizeof path);
  memset(path + 1, 'a', sizeof path - 2);
  path[1001] = '\0';
  assert_false(form_is_own_path(path));
  path[1000] = '\0';
  assert_true(form_is_own_path(path));
}

static void test_escapes(void **state) {
  (void)state;
  assert_string_equal(form_escape_html(&context, "<a b=\"c\" d='&'>\xc3\xa4"),
                      "&lt;a b=&quot;c&quot; d=&#39;&amp;&#39;&gt;\xc3\xa4");
  assert_string_equal(form_escape_html(&context, ""), "");
  assert_string_equal(form_escape_query(&context, "/docs?a=b&c#\xff"), "/docs%3Fa%3Db%26c%23%FF");
  static char huge[10001];
  memset(huge, 'x', sizeof huge - 1);
  assert_null(form_escape_html(&context, huge));
  assert_null(form_escape_query(&context, huge));
}

static void test_without_memory(void **state) {
  (void)state;
  login_form form;
  context.memory.limit_bytes = 1;
  assert_null(form_escape_html(&context, "<<<<<<<<"));
  char body[5000] = "name=";
  memset(body + 5, 'a', sizeof body - 6);
  assert_false(form_read(&context, body, sizeof body - 1, &form));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_forms, begin, end),
                                     cmocka_unit_test_setup_teardown(test_broken_forms, begin, end),
                                     cmocka_unit_test_setup_teardown(test_paths, begin, end),
                                     cmocka_unit_test_setup_teardown(test_escapes, begin, end),
                                     cmocka_unit_test_setup_teardown(test_without_memory, begin, end)};
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  context_thread_end();
  arena_thread_end();
  return failed;
}
