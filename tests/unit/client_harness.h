/* client_harness.h: runs tests of outbound HTTP in fibers on real loops, against the scripted server. One per program. */
#ifndef PURLIN_TESTS_CLIENT_HARNESS_H
#define PURLIN_TESTS_CLIENT_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/client.h"
#include "client/outbound.h"
#include "loop/context.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "scripted_server.h"

/* A failed assertion of cmocka would jump off the fiber's stack; these are counted and looked at on the test's own. */
static atomic_int failures;
#define CHECK(condition)                                                                                                   \
  do {                                                                                                                     \
    if (!(condition)) {                                                                                                    \
      print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                                  \
      atomic_fetch_add(&failures, 1);                                                                                      \
    }                                                                                                                      \
  } while (0)

/* ---- Running a test in a fiber ---------------------------------------------------------------------------------------------------- */

typedef struct job {
  loop_post_item item;
  context_run *run;
  void *argument;
} job;

static atomic_int running;
static client_options options;
static char folder[] = "/tmp/purlin-client-XXXXXX"; /* of the program, removed at its end */
static bool leave_stop_to_test;
static const char *const machine[] = {"127.0.0.1"};
static const char *const *allowed; /* where calls may go */
static size_t allowed_count;

static void run_and_end(purlin_ctx *ctx, void *argument) {
  const job *j = argument;
  j->run(ctx, j->argument);
  if (atomic_fetch_sub(&running, 1) > 1 || leave_stop_to_test) return;
  client_stop();
  loops_stop();
}

static void begin_job(void *argument) {
  bool begun = context_start("tests", "test", run_and_end, argument) == PURLIN_OK;
  CHECK(begun);
  if (!begun) loops_stop();
}

/* Runs every job, job i on loop i % loops, and checks that the loops end without waiting for a forgotten handle. */
static void run_jobs(size_t loops, job *jobs, size_t count) {
  atomic_store(&failures, 0);
  atomic_store(&running, (int)count);
  assert_int_equal(loops_create(loops), PURLIN_OK);
  buffer why = {0};
  assert_int_equal(outbound_begin(allowed, allowed_count, &why), PURLIN_OK);
  assert_int_equal(client_start(&options), PURLIN_OK);
  for (size_t i = 0; i < count; i++) {
    jobs[i].item.call = begin_job;
    jobs[i].item.argument = &jobs[i];
    loop_post(loop_at(i % loops), &jobs[i].item);
  }
  loops_run();
  loops_destroy();
  outbound_end();
  assert_int_equal(atomic_load(&failures), 0);
}

static void run(context_run *test) {
  job one = {.run = test};
  run_jobs(1, &one, 1);
}

static int before_each(void **unused) {
  (void)unused;
  client_options_default(&options);
  options.breaker_failures = 1000; /* only where breakers are what is tested */
  leave_stop_to_test = false;
  allowed = machine;
  allowed_count = 1;
  return 0;
}

/* ---- Helpers in fibers --------------------------------------------------------------------------------------------------------------- */

static const char *url_of(purlin_ctx *ctx, const char *path) {
  return purlin_format(ctx, "http://127.0.0.1:%u%s", server.port, path);
}

static purlin_status get(purlin_ctx *ctx, const char *path, purlin_http_answer *answer) {
  return purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, path)}, answer);
}

PURLIN_MAYBE_UNUSED static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

PURLIN_MAYBE_UNUSED static void wait_ms(purlin_ctx *ctx, uint32_t milliseconds) {
  CHECK(purlin_sleep(ctx, milliseconds) == PURLIN_OK);
}

typedef struct cancel_later {
  loop_timer timer;
  purlin_ctx *ctx;
} cancel_later;

PURLIN_MAYBE_UNUSED static void canceller(loop_timer *timer) { context_cancel(((cancel_later *)(void *)timer)->ctx); }

/* ---- The program ---- */

static int before_all(void **unused) {
  (void)unused;
  log_set_level(PURLIN_ERROR);
  bool ready = metrics_register_own() == PURLIN_OK && mkdtemp(folder) != NULL && server_start();
  return ready ? 0 : -1;
}

static int after_all(void **unused) {
  (void)unused;
  server_end();
  return rmdir(folder); /* fails when a test has left a file */
}

#define TEST(test) cmocka_unit_test_setup(test, before_each)

#endif
