/* Where programs that are no commands are found: beside the running one, else where they were installed. */
#include "core/places.h"
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char NAME[] = "purlin-test-of-places";

/* The path of NAME beside this test. */
static void beside(char out[PATH_MAX]) {
  char self[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
  assert_true(size > 0);
  self[size] = '\0';
  *strrchr(self, '/') = '\0';
  int length = snprintf(out, PATH_MAX, "%s/%s", self, NAME);
  assert_true(length > 0 && length < PATH_MAX);
}

static void make(const char *path, mode_t mode) {
  int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  assert_true(file >= 0);
  assert_int_equal(close(file), 0);
}

static void test_beside_the_running_program(void **state) {
  (void)state;
  char expected[PATH_MAX], found[PATH_MAX];
  beside(expected);
  make(expected, 0755);
  bool fits = places_find_program(NAME, found, sizeof found);
  assert_int_equal(unlink(expected), 0);
  assert_true(fits);
  assert_string_equal(found, expected);
}

static void test_else_where_it_was_installed(void **state) {
  (void)state;
  char expected[PATH_MAX], found[PATH_MAX];
  assert_true(snprintf(expected, sizeof expected, "%s/%s", places_programs, NAME) > 0);
  assert_true(places_find_program(NAME, found, sizeof found));
  assert_string_equal(found, expected);

  char text[PATH_MAX]; /* what cannot be executed is no program */
  beside(text);
  make(text, 0644);
  bool fits = places_find_program(NAME, found, sizeof found);
  assert_int_equal(unlink(text), 0);
  assert_true(fits);
  assert_string_equal(found, expected);
}

static void test_a_path_that_does_not_fit(void **state) {
  (void)state;
  char small[8];
  assert_false(places_find_program(NAME, small, sizeof small));
  char exact[PATH_MAX];
  size_t size = strlen(places_programs) + 1 + strlen(NAME) + 1;
  assert_true(places_find_program(NAME, exact, size));
  assert_false(places_find_program(NAME, exact, size - 1));
}

static void test_an_installation_is_in_one_place(void **state) {
  (void)state;
  const char *const all[] = {places_plugins, places_library, places_template, places_programs};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) assert_int_equal(all[i][0], '/');
  assert_non_null(strstr(places_plugins, "/purlin/plugins"));
  assert_non_null(strstr(places_library, "/purlin/lua"));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_beside_the_running_program),
      cmocka_unit_test(test_else_where_it_was_installed),
      cmocka_unit_test(test_a_path_that_does_not_fit),
      cmocka_unit_test(test_an_installation_is_in_one_place),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
