/* care/run.c: programs by argument vectors, pipelines, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "care/care.h"

static run_result result;
static buffer why;

static int set_up(void **state) {
  (void)state;
  result = (run_result){0};
  why = (buffer){0};
  return 0;
}

static int tear_down(void **state) {
  (void)state;
  run_result_free(&result);
  buffer_free(&why);
  return 0;
}

static bool sh(const char *script) {
  const char *const arguments[] = {"/bin/sh", "-c", script, NULL};
  return run_simple(arguments, 20000, &result, &why);
}

static void test_output_is_collected(void **state) {
  (void)state;
  assert_true(sh("echo said; echo wrong >&2"));
  assert_string_equal(buffer_end(&result.output), "said\n");
  assert_string_equal(buffer_end(&result.errors), "wrong\n");
  assert_int_equal(result.code, 0);
  assert_int_equal(why.size, 0);
}

/* What a shell would obey is one argument. */
static void test_no_shell(void **state) {
  (void)state;
  const char *const arguments[] = {"printf", "%s|", "$(id)", "a b; c", "", NULL};
  assert_true(run_simple(arguments, 0, &result, &why));
  assert_string_equal(buffer_end(&result.output), "$(id)|a b; c||");
}

static void test_failure_has_last_words(void **state) {
  (void)state;
  assert_false(sh("echo one >&2; echo two >&2; echo three >&2; echo four >&2; exit 7"));
  assert_int_equal(result.code, 7);
  assert_string_equal(buffer_end(&why), "/bin/sh ended with 7: two\nthree\nfour");
}

static void test_signal(void **state) {
  (void)state;
  assert_false(sh("kill -9 $$"));
  assert_int_equal(result.code, 128 + SIGKILL);
  assert_non_null(strstr(buffer_end(&why), "ended by signal 9"));
}

static void test_missing(void **state) {
  (void)state;
  const char *const arguments[] = {"no-such-program-here", NULL};
  assert_false(run_simple(arguments, 0, &result, &why));
  assert_true(result.missing);
  assert_int_equal(result.code, -1);
  assert_string_equal(buffer_end(&why), "the program no-such-program-here is not installed here");
}

static void test_not_executable(void **state) {
  (void)state;
  char path[] = "/tmp/purlin-test-run-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  assert_int_equal(write(file, "\0nothing", 8), 8);
  assert_int_equal(fchmod(file, 0755), 0);
  (void)close(file);
  const char *const arguments[] = {path, NULL};
  assert_false(run_simple(arguments, 0, &result, &why));
  assert_int_equal(result.code, 127);
  assert_non_null(strstr(buffer_end(&why), "cannot be executed"));
  assert_int_equal(unlink(path), 0);
}

/* The whole group goes, also who ignores the first signal's sender. */
static void test_limit(void **state) {
  (void)state;
  const char *const arguments[] = {"/bin/sh", "-c", "sleep 60 & echo $!; wait", NULL};
  time_t begun = time(NULL);
  assert_false(run_simple(arguments, 300, &result, &why));
  assert_true(result.timed_out);
  assert_true(time(NULL) - begun < 20);
  assert_non_null(strstr(buffer_end(&why), "took longer than"));
  pid_t grandchild = (pid_t)strtol(buffer_end(&result.output), NULL, 10);
  assert_true(grandchild > 1);
  char path[64], text[256] = "";
  (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)grandchild);
  for (int i = 0; i < 100; i++) { /* gone, or a zombie until init has seen it */
    int file = open(path, O_RDONLY);
    if (file < 0) return;
    assert_true(read(file, text, sizeof text - 1) >= 0);
    (void)close(file);
    if (strstr(text, ") Z ")) return;
    (void)usleep(20000);
  }
  fail_msg("process %d lives on", (int)grandchild);
}

static void test_pipeline(void **state) {
  (void)state;
  static const char *const first[] = {"seq", "1", "100000", NULL}, *const second[] = {"sort", "-rn", NULL},
                           *const third[] = {"head", "-c", "13", NULL};
  const run_program programs[] = {{.arguments = first}, {.arguments = second}, {.arguments = third}};
  /* `sort` may lose its reader, which then is its failure and is told. */
  (void)run_pipeline(programs, 3, NULL, &result, &why);
  assert_string_equal(buffer_end(&result.output), "100000\n99999\n");
  assert_int_equal(result.codes[0], 0);
  assert_int_equal(result.codes[2], 0);
}

static void test_pipeline_names_the_one_that_failed(void **state) {
  (void)state;
  static const char *const first[] = {"sh", "-c", "echo x; echo no disk >&2; exit 3", NULL}, *const second[] = {"cat",
                                                                                                                NULL};
  const run_program programs[] = {{.arguments = first}, {.arguments = second}};
  assert_false(run_pipeline(programs, 2, NULL, &result, &why));
  assert_int_equal(result.codes[0], 3);
  assert_int_equal(result.codes[1], 0);
  assert_string_equal(buffer_end(&why), "sh ended with 3: no disk");
  buffer_clear(&why);
  run_result_free(&result);
  static const char *const endless[] = {"yes", NULL}, *const refuses[] = {"sh", "-c", "echo full >&2; exit 5", NULL};
  const run_program broken[] = {{.arguments = endless}, {.arguments = refuses}};
  assert_false(run_pipeline(broken, 2, NULL, &result, &why));
  assert_string_equal(buffer_end(&why), "sh ended with 5: full");
}

static void test_second_is_missing(void **state) {
  (void)state;
  static const char *const first[] = {"sleep", "60", NULL}, *const second[] = {"no-such-program-here", NULL};
  const run_program programs[] = {{.arguments = first}, {.arguments = second}};
  assert_false(run_pipeline(programs, 2, NULL, &result, &why));
  assert_true(result.missing);
  assert_int_equal(result.codes[0], 128 + SIGTERM);
}

static void test_text_is_read(void **state) {
  (void)state;
  enum { SIZE = 3 * 1024 * 1024 };
  char *text = malloc(SIZE);
  assert_non_null(text);
  for (size_t i = 0; i < SIZE; i++) text[i] = (char)('a' + i % 23);
  static const char *const arguments[] = {"cat", NULL};
  const run_program program = {.arguments = arguments, .text = text, .text_size = SIZE};
  assert_true(run_pipeline(&program, 1, NULL, &result, &why));
  assert_int_equal(result.output.size, SIZE);
  assert_memory_equal(result.output.data, text, SIZE);
  free(text);
}

static void test_text_that_nobody_reads(void **state) {
  (void)state;
  static char text[200000];
  memset(text, 'x', sizeof text);
  static const char *const arguments[] = {"true", NULL};
  const run_program program = {.arguments = arguments, .text = text, .text_size = sizeof text};
  assert_true(run_pipeline(&program, 1, NULL, &result, &why));
}

static bool take_some(void *to, const char *data, size_t size) {
  size_t *taken = to;
  (void)data;
  *taken += size;
  return *taken < 100000;
}

static void test_taker_ends_it(void **state) {
  (void)state;
  size_t taken = 0;
  static const char *const arguments[] = {"yes", NULL};
  const run_program program = {.arguments = arguments};
  const run_options options = {.limit_ms = 20000, .take = take_some, .to = &taken};
  assert_false(run_pipeline(&program, 1, &options, &result, &why));
  assert_true(result.stopped);
  assert_false(result.timed_out);
  assert_true(taken >= 100000 && taken < 100000 + 65536);
}

static void test_too_much_output(void **state) {
  (void)state;
  static const char *const arguments[] = {"yes", NULL};
  assert_false(run_simple(arguments, 60000, &result, &why));
  assert_true(result.stopped);
  assert_true(result.output.size <= RUN_COLLECTED);
  assert_non_null(strstr(buffer_end(&why), "yes wrote what is not taken"));
}

static void test_errors_keep_their_end(void **state) {
  (void)state;
  assert_true(sh("seq 1 50000 >&2"));
  assert_int_equal(result.errors.size, RUN_SAID);
  assert_memory_equal(result.errors.data + result.errors.size - 6, "50000\n", 6);
}

/* What a service that it started keeps open is not waited for. */
static void test_left_behind_is_not_waited_for(void **state) {
  (void)state;
  time_t begun = time(NULL);
  assert_true(sh("sleep 15 & echo $!"));
  assert_true(time(NULL) - begun < 10);
  (void)kill((pid_t)strtol(buffer_end(&result.output), NULL, 10), SIGKILL);
}

static void test_to_and_from_files(void **state) {
  (void)state;
  char path[] = "/tmp/purlin-test-run-XXXXXX";
  int file = mkstemp(path);
  assert_true(file >= 0);
  static const char *const say[] = {"echo", "kept", NULL}, *const read_it[] = {"cat", NULL};
  const run_program writer = {.arguments = say, .output = file};
  assert_true(run_pipeline(&writer, 1, NULL, &result, &why));
  assert_int_equal(result.output.size, 0);
  assert_int_equal(lseek(file, 0, SEEK_SET), 0);
  const run_program reader = {.arguments = read_it, .input = file};
  assert_true(run_pipeline(&reader, 1, NULL, &result, &why));
  assert_string_equal(buffer_end(&result.output), "kept\n");
  assert_int_equal(fcntl(file, F_GETFD) >= 0, 1); /* still ours */
  (void)close(file);
  assert_int_equal(unlink(path), 0);
}

static void test_environment(void **state) {
  (void)state;
  assert_int_equal(setenv("RUN_OWN", "mine", 1), 0);
  assert_int_equal(setenv("RUN_GIVEN", "old", 1), 0);
  assert_int_equal(setenv("LC_ALL", "de_DE.UTF-8", 1), 0);
  static const char *const environment[] = {"RUN_GIVEN=new", NULL};
  static const char *const arguments[] = {"sh", "-c", "echo $RUN_OWN $RUN_GIVEN $LC_ALL", NULL};
  const run_program program = {.arguments = arguments, .environment = environment};
  assert_true(run_pipeline(&program, 1, NULL, &result, &why));
  assert_string_equal(buffer_end(&result.output), "mine new C.UTF-8\n");
}

static void test_another_user(void **state) {
  (void)state;
  const struct passwd *nobody = getpwnam("nobody");
  static const char *const arguments[] = {"id", "-un", NULL};
  if (geteuid() != 0 || !nobody) skip();
  const run_program program = {.arguments = arguments, .user = nobody->pw_uid};
  assert_true(run_pipeline(&program, 1, NULL, &result, &why));
  assert_string_equal(buffer_end(&result.output), "nobody\n");
  run_result_free(&result);
  const run_program none = {.arguments = arguments, .user = 3999999999u};
  assert_false(run_pipeline(&none, 1, NULL, &result, &why));
  assert_non_null(strstr(buffer_end(&why), "there is no user"));
}

static void test_nothing_and_too_many(void **state) {
  (void)state;
  static const char *const arguments[] = {"true", NULL};
  run_program programs[RUN_MOST + 1];
  for (size_t i = 0; i <= RUN_MOST; i++) programs[i] = (run_program){.arguments = arguments};
  assert_false(run_pipeline(programs, 0, NULL, &result, &why));
  assert_false(run_pipeline(programs, RUN_MOST + 1, NULL, &result, &why));
  assert_true(run_pipeline(programs, RUN_MOST, NULL, &result, &why));
}

/* A relative folder in PATH would run what lies in the current one. */
static void test_finding(void **state) {
  (void)state;
  char path[PATH_MAX];
  const char *before = getenv("PATH");
  char kept[4096];
  (void)snprintf(kept, sizeof kept, "%s", before ? before : "/usr/bin:/bin");
  assert_int_equal(setenv("PATH", ".::/nowhere", 1), 0);
  assert_true(run_find("sh", path));
  assert_int_equal(path[0], '/');
  assert_false(run_find("CMakeLists.txt", path));
  assert_false(run_find("/bin/no-such-program-here", path));
  assert_false(run_find("/tmp", path));
  assert_int_equal(setenv("PATH", kept, 1), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
  const struct CMUnitTest tests[] = {
      CASE(test_output_is_collected),
      CASE(test_no_shell),
      CASE(test_failure_has_last_words),
      CASE(test_signal),
      CASE(test_missing),
      CASE(test_not_executable),
      CASE(test_limit),
      CASE(test_pipeline),
      CASE(test_pipeline_names_the_one_that_failed),
      CASE(test_second_is_missing),
      CASE(test_text_is_read),
      CASE(test_text_that_nobody_reads),
      CASE(test_taker_ends_it),
      CASE(test_too_much_output),
      CASE(test_errors_keep_their_end),
      CASE(test_left_behind_is_not_waited_for),
      CASE(test_to_and_from_files),
      CASE(test_environment),
      CASE(test_another_user),
      CASE(test_nothing_and_too_many),
      CASE(test_finding),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
