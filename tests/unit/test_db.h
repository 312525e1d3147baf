/* test_db.h: a private MariaDB for the tests of the database: one per program, in a folder of its own under /tmp. */
#ifndef TEST_DB_H
#define TEST_DB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "db/db.h"
#include "observe/metrics.h"

static char test_directory[64];
static db_options test_options;
PURLIN_MAYBE_UNUSED static size_t test_loops = 1;

PURLIN_MAYBE_UNUSED static void remove_directory(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", test_directory);
  if (system(command) != 0) fprintf(stderr, "cannot remove %s\n", test_directory);
}

static int start_server(void **state) {
  (void)state;
  buffer why = {0};
  snprintf(test_directory, sizeof test_directory, "/tmp/purlin-test-db-XXXXXX");
  if (!mkdtemp(test_directory)) return -1;
  db_options_default(&test_options);
  test_options.database = "test";
  if (db_dev_start(test_directory, &test_options, &why) != PURLIN_OK) {
    fprintf(stderr, "%s\n", buffer_end(&why));
    buffer_free(&why);
    return -1;
  }
  buffer_free(&why);
  if (metrics_register_own() != PURLIN_OK) return -1;
  return 0;
}

static int stop_server(void **state) {
  (void)state;
  db_dev_stop();
  remove_directory();
  return 0;
}

/* Runs `run` in a fiber on a fresh loop with a fresh pool. */
typedef struct test_body {
  void (*run)(purlin_ctx *ctx);
  bool ran;
} test_body;

static void run_body(purlin_ctx *ctx, void *argument) {
  test_body *body = argument;
  body->run(ctx);
  body->ran = true;
  loops_stop();
}

static void begin_body(void *argument) {
  assert_int_equal(context_start("test", "test.body", run_body, argument), PURLIN_OK);
}

PURLIN_MAYBE_UNUSED static void with_database(void (*run)(purlin_ctx *ctx)) {
  buffer why = {0};
  test_body body = {.run = run};
  loop_post_item item = {.call = begin_body, .argument = &body};
  assert_int_equal(loops_create(test_loops), PURLIN_OK);
  if (db_start(&test_options, &why) != PURLIN_OK) fail_msg("%s", buffer_end(&why));
  loop_post(loop_at(0), &item);
  loops_run();
  loops_destroy();
  db_stop();
  buffer_free(&why);
  assert_true(body.ran);
}

/* What must succeed, and says why when it does not. */
#define OK(ctx, call)                                                                                                      \
  do {                                                                                                                     \
    purlin_status status_ = (call);                                                                                        \
    if (status_ != PURLIN_OK) fail_msg("%s: %s", purlin_status_text(status_), purlin_failure(ctx));                        \
  } while (0)
#define RUN(ctx, ...) OK(ctx, purlin_db_run(ctx, __VA_ARGS__))

#define TEST_IN_DATABASE(name)                                                                                             \
  static void name##_body(purlin_ctx *ctx);                                                                                \
  static void name(void **state) { (void)state, with_database(name##_body); }                                              \
  static void name##_body(PURLIN_MAYBE_UNUSED purlin_ctx *ctx)

#endif
