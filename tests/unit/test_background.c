/* Background work of plugins: on every loop, one at a time, woken, stopped. */
#include "loop/background.h"
#include "loop/context.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <cmocka.h>

enum { LOOPS = 3 };

static atomic_int runs[LOOPS], inside[LOOPS];
static atomic_bool overlapped, wrong_identity;
static int at_stop[LOOPS], woken;
static purlin_status begun, stopped;

static void identify(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project) {
  (void)workspace;
  (void)project;
  ctx->actor = actor;
}

static void work(purlin_ctx *ctx, void *argument) {
  size_t here = loop_index(ctx->loop);
  if (atomic_fetch_add(&inside[here], 1) != 0) atomic_store(&overlapped, true);
  if (argument != &inside || strcmp(purlin_actor(ctx), "system") != 0 || strcmp(ctx->plugin, "tester") != 0)
    atomic_store(&wrong_identity, true);
  (void)!purlin_sleep(ctx, 3); /* longer than its period */
  atomic_fetch_sub(&inside[here], 1);
  atomic_fetch_add(&runs[here], 1);
}

static void rare(purlin_ctx *ctx, void *argument) {
  (void)ctx;
  atomic_fetch_add((atomic_int *)argument, 1);
}

static void script(purlin_ctx *ctx, void *argument) {
  (void)argument;
  static atomic_int rares;
  begun = purlin_background(ctx, "work", 1, work, (void *)&inside);
  if (begun == PURLIN_OK) begun = purlin_background(ctx, "rare", 3600000, rare, &rares);
  for (int i = 0; i < 2000 && (atomic_load(&runs[0]) < 3 || atomic_load(&runs[1]) < 3 || atomic_load(&runs[2]) < 3); i++)
    (void)!purlin_sleep(ctx, 5);
  purlin_background_wake(ctx, "rare");
  for (int i = 0; i < 2000 && atomic_load(&rares) < LOOPS; i++) (void)!purlin_sleep(ctx, 5);
  woken = atomic_load(&rares);
  stopped = purlin_background_stop(ctx, "work");
  for (size_t i = 0; i < LOOPS; i++) at_stop[i] = atomic_load(&runs[i]);
  (void)!purlin_sleep(ctx, 30);
  loops_stop();
}

static void begin(void *argument) {
  if (context_start("tester", "start", script, argument) != PURLIN_OK) loops_stop();
}

static void test_background(void **state) {
  (void)state;
  background_set_identify(identify);
  assert_int_equal(loops_create(LOOPS), PURLIN_OK);
  static loop_post_item item = {.call = begin};
  loop_post(loop_at(0), &item);
  loops_run();
  loops_destroy();
  backgrounds_free();
  assert_int_equal(begun, PURLIN_OK);
  assert_int_equal(stopped, PURLIN_OK);
  assert_int_equal(woken, LOOPS);
  assert_false(overlapped);
  assert_false(wrong_identity);
  for (size_t i = 0; i < LOOPS; i++) {
    assert_true(at_stop[i] >= 3);
    assert_int_equal(atomic_load(&inside[i]), 0);
    assert_int_equal(atomic_load(&runs[i]), at_stop[i]); /* nothing after the stop */
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_background)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
