/* Contexts: memory and failures, deadlines and cancellation of every call that parks, the mutex between fibers. */
#include "loop/internal.h"
#include "loop/context.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define LONG_MS 30000u /* what must not be waited for */

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

/* ---- Memory and failures: no loop needed ---- */

static int begin(void **state) {
  purlin_ctx *ctx = calloc(1, sizeof *ctx);
  if (!ctx) return -1;
  context_begin(ctx, "tester", "test.operation");
  *state = ctx;
  return 0;
}

static int end(void **state) {
  context_end(*state);
  free(*state);
  return 0;
}

static void test_a_new_context(void **state) {
  purlin_ctx *ctx = *state;
  assert_string_equal(purlin_actor(ctx), "system");
  assert_string_equal(purlin_workspace(ctx), "default");
  assert_string_equal(purlin_project(ctx), "default");
  assert_string_equal(ctx->plugin, "tester");
  assert_string_equal(ctx->operation, "test.operation");
  assert_int_equal(strlen(purlin_trace_id(ctx)), 32);
  assert_string_equal(purlin_failure(ctx), "");
  assert_int_equal(purlin_time_left_ms(ctx), INT64_MAX);
  assert_int_equal(purlin_still_wanted(ctx), PURLIN_OK);
}

static void test_memory(void **state) {
  purlin_ctx *ctx = *state;
  char *memory = purlin_alloc(ctx, 100);
  assert_non_null(memory);
  for (size_t i = 0; i < 100; i++) assert_int_equal(memory[i], 0);
  assert_non_null(purlin_alloc_array(ctx, 10, 10));
  assert_string_equal(purlin_copy(ctx, "abc"), "abc");
  assert_string_equal(purlin_copy_bytes(ctx, "abcdef", 2), "ab");
  assert_string_equal(purlin_format(ctx, "%d-%s", 7, "x"), "7-x");
  char *longer = purlin_format(ctx, "%0*d", 1000, 5);
  assert_int_equal(strlen(longer), 1000);
  assert_int_equal(longer[999], '5');
  purlin_mark mark = purlin_arena_mark(ctx);
  size_t before = ctx->memory.total_bytes;
  for (int i = 0; i < 1000; i++) {
    assert_non_null(purlin_alloc(ctx, 10000));
    purlin_arena_reset(ctx, mark);
  }
  assert_int_equal(ctx->memory.total_bytes, before);
}

static void test_ids(void **state) {
  purlin_ctx *ctx = *state;
  const char *one = purlin_new_id(ctx, "run"), *two = purlin_new_id(ctx, "run");
  assert_int_equal(strlen(one), 24);
  assert_memory_equal(one, "run_", 4);
  assert_int_equal(strspn(one + 4, "abcdefghijklmnopqrstuvwxyz0123456789"), 20);
  assert_string_not_equal(one, two);
}

static void test_a_full_arena_is_a_recorded_failure(void **state) {
  purlin_ctx *ctx = *state;
  ctx->memory.limit_bytes = 100000;
  unsigned rounds = 0;
  while (purlin_alloc(ctx, 1000)) rounds++;
  assert_in_range(rounds, 10, 100);
  assert_int_equal(ctx->failure_status, PURLIN_TOO_LARGE);
  assert_non_null(strstr(purlin_failure(ctx), "memory"));
  purlin_clear_failure(ctx);
  assert_null(purlin_alloc_array(ctx, SIZE_MAX / 2, 3));
  assert_int_equal(ctx->failure_status, PURLIN_TOO_LARGE);
  purlin_clear_failure(ctx);
  char big[2000];
  memset(big, 'x', sizeof big);
  assert_null(purlin_copy_bytes(ctx, big, sizeof big));
  assert_null(purlin_format(ctx, "%.*s", (int)sizeof big, big));
  assert_int_equal(ctx->failure_status, PURLIN_TOO_LARGE);
  /* a failure can be told all the same */
  assert_int_equal(purlin_fail(ctx, PURLIN_CONFLICT, "run %d exists", 5), PURLIN_CONFLICT);
  assert_string_equal(purlin_failure(ctx), "run 5 exists");
}

static void test_failing(void **state) {
  purlin_ctx *ctx = *state;
  assert_int_equal(purlin_fail(ctx, PURLIN_NOT_FOUND, "no model named '%s'", "churn"), PURLIN_NOT_FOUND);
  assert_string_equal(purlin_failure(ctx), "no model named 'churn'");
  assert_int_equal(purlin_fail(ctx, PURLIN_INTERNAL, "while deploying: %s", purlin_failure(ctx)), PURLIN_INTERNAL);
  assert_string_equal(purlin_failure(ctx), "while deploying: no model named 'churn'");
  assert_int_equal(ctx->failure_status, PURLIN_INTERNAL);
  purlin_retry_after(ctx, 7);
  assert_int_equal(ctx->retry_after_s, 7);
  purlin_clear_failure(ctx);
  assert_string_equal(purlin_failure(ctx), "");
  assert_int_equal(ctx->failure_status, PURLIN_OK);
  assert_int_equal(ctx->retry_after_s, 0);
  for (int i = 0; i < 10000; i++) (void)!purlin_fail(ctx, PURLIN_CONFLICT, "%01000d", i); /* does not grow */
  assert_true(ctx->failure_memory.total_bytes <= 8192);
}

static void test_a_failure_survives_a_reset(void **state) {
  purlin_ctx *ctx = *state;
  purlin_mark mark = purlin_arena_mark(ctx);
  const char *name = purlin_copy(ctx, "churn");
  (void)!purlin_fail(ctx, PURLIN_NOT_FOUND, "no model named '%s'", name);
  purlin_arena_reset(ctx, mark);
  memset(purlin_alloc(ctx, 3000), 'x', 3000);
  assert_string_equal(purlin_failure(ctx), "no model named 'churn'");
}

static void test_long_failures_are_cut_between_characters(void **state) {
  purlin_ctx *ctx = *state;
  char text[4003];
  for (size_t shift = 0; shift < 3; shift++) {
    memset(text, 'a', shift);
    for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 3), text[i + 3] = 0;
    (void)!purlin_fail(ctx, PURLIN_CONFLICT, "%s", text);
    size_t size = strlen(purlin_failure(ctx));
    assert_in_range(size, 2040, 2047);
    assert_int_equal((size - shift) % 3, 0);
  }
}

static void test_field_failures(void **state) {
  purlin_ctx *ctx = *state;
  (void)!purlin_fail(ctx, PURLIN_CONFLICT, "before");
  for (int i = 0; i < 40; i++)
    assert_int_equal(purlin_fail_field(ctx, "rows[3].step", "must be at least %d", i), PURLIN_INVALID);
  assert_int_equal(ctx->failure_status, PURLIN_INVALID);
  assert_string_equal(purlin_failure(ctx), "the input is not valid");
  assert_int_equal(ctx->field_count, CONTEXT_MAX_FIELD_ERRORS);
  assert_int_equal(ctx->field_total, 40);
  assert_string_equal(ctx->fields[31].field, "rows[3].step");
  assert_string_equal(ctx->fields[31].message, "must be at least 31");
  (void)!purlin_fail(ctx, PURLIN_INVALID, "bad rows"); /* words for the whole keep the fields */
  assert_int_equal(ctx->field_count, CONTEXT_MAX_FIELD_ERRORS);
  assert_string_equal(ctx->fields[0].message, "must be at least 0");
  (void)!purlin_fail(ctx, PURLIN_NOT_FOUND, "none"); /* another failure does not */
  assert_int_equal(ctx->field_count, 0);
  assert_int_equal(ctx->field_total, 0);
}

static void test_status_texts(void **state) {
  (void)state;
  assert_string_equal(purlin_status_text(PURLIN_NOT_FOUND), "not found");
  assert_string_equal(purlin_status_text(PURLIN_CONFLICT), "conflict");
  for (unsigned i = 0; i < PURLIN_STATUS_COUNT; i++) assert_non_null(purlin_status_text((purlin_status)i));
  assert_string_equal(purlin_status_text(PURLIN_STATUS_COUNT), "unknown status");
}

static void test_trace_context(void **state) {
  purlin_ctx *ctx = *state;
  static const char good[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
  assert_true(context_trace_from(ctx, good));
  assert_string_equal(purlin_trace_id(ctx), "4bf92f3577b34da6a3ce929d0e0e4736");
  assert_string_equal(ctx->trace.parent_span_id, "00f067aa0ba902b7");
  assert_int_equal(strlen(ctx->trace.span_id), 16);
  assert_string_not_equal(ctx->trace.span_id, ctx->trace.parent_span_id);
  assert_true(ctx->trace.sampled);
  assert_true(context_trace_from(ctx, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0e"));
  assert_false(ctx->trace.sampled);
  assert_true(context_trace_from(ctx, "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0f-what-comes-later"));
  assert_true(ctx->trace.sampled);
  static const char *const bad[] = {
      "",
      "00",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
      "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
      "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
      "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
      "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
      "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
      "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
      "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  };
  char before[33];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    memcpy(before, purlin_trace_id(ctx), sizeof before);
    assert_false(context_trace_from(ctx, bad[i]));
    assert_string_not_equal(purlin_trace_id(ctx), before);
    assert_int_equal(strlen(purlin_trace_id(ctx)), 32);
    assert_string_equal(ctx->trace.parent_span_id, "");
    assert_false(ctx->trace.sampled);
  }
}

static void test_clocks(void **state) {
  (void)state;
  int64_t wall = purlin_now_us();
  assert_true(wall / 1000000 >= (int64_t)time(NULL) - 1 && wall / 1000000 <= (int64_t)time(NULL) + 1);
  uint64_t first = purlin_ticks_ns();
  assert_true(purlin_ticks_ns() >= first);
}

static atomic_uint ended_contexts; /* the hook stays, for the fibers of all loops below */
static void count_end(purlin_ctx *ctx) {
  assert_string_equal(purlin_copy(ctx, "the arena still works"), "the arena still works");
  atomic_fetch_add(&ended_contexts, 1);
}

static void test_end_hooks(void **state) {
  (void)state;
  context_on_end(count_end);
  context_on_end(count_end); /* once is enough */
  purlin_ctx ctx;
  context_begin(&ctx, "tester", "test.hooks");
  atomic_store(&ended_contexts, 0);
  context_end(&ctx);
  assert_int_equal(atomic_load(&ended_contexts), 1);
}

/* ---- In fibers on loops ---- */

static context_run *under_test;
static loop_post_item begin_item;

static void run_then_stop(purlin_ctx *ctx, void *argument) {
  under_test(ctx, argument);
  loops_stop();
}

static void begin_context(void *argument) {
  if (context_start("tester", "test.fiber", run_then_stop, argument) != PURLIN_OK) abort();
}

static void in_context(context_run *run, void *argument) {
  under_test = run;
  begin_item = (loop_post_item){NULL, begin_context, argument};
  assert_int_equal(loops_create(1), PURLIN_OK);
  loop_post(loop_at(0), &begin_item);
  loops_run();
  loops_destroy();
}

/* Cancels a context after a while, from the loop. */
typedef struct canceller {
  loop_timer timer;
  purlin_ctx *ctx;
} canceller;

static void on_cancel_time(loop_timer *timer) { context_cancel(((canceller *)(void *)timer)->ctx); }

static void cancel_after(purlin_ctx *ctx, canceller *c, uint64_t after_ms) {
  c->ctx = ctx;
  loop_timer_start(ctx->loop, &c->timer, after_ms, on_cancel_time);
}

static void sleep_in_all_ways(purlin_ctx *ctx, void *unused) {
  (void)unused;
  assert_ptr_equal(fiber_data(fiber_current()), ctx);
  uint64_t began = now_ms();
  assert_int_equal(purlin_sleep(ctx, 0), PURLIN_OK);
  assert_int_equal(purlin_sleep(ctx, 20), PURLIN_OK);
  assert_in_range(now_ms() - began, 20, LONG_MS / 2);

  began = now_ms();
  context_set_deadline(ctx, 30);
  assert_in_range(purlin_time_left_ms(ctx), 1, 30);
  assert_int_equal(purlin_sleep(ctx, 5), PURLIN_OK);
  assert_int_equal(purlin_sleep(ctx, LONG_MS), PURLIN_TIMEOUT);
  assert_in_range(now_ms() - began, 29, LONG_MS / 2);
  while (purlin_time_left_ms(ctx) > 0) continue;
  assert_int_equal(purlin_sleep(ctx, LONG_MS), PURLIN_TIMEOUT); /* at once */
  assert_int_equal(purlin_yield(ctx), PURLIN_TIMEOUT);
  assert_int_equal(purlin_still_wanted(ctx), PURLIN_TIMEOUT);

  context_set_deadline(ctx, UINT64_MAX);
  assert_int_equal(purlin_time_left_ms(ctx), INT64_MAX);
  canceller c = {.ctx = NULL};
  cancel_after(ctx, &c, 10);
  assert_int_equal(purlin_sleep(ctx, LONG_MS), PURLIN_CANCELLED);
  assert_int_equal(purlin_sleep(ctx, LONG_MS), PURLIN_CANCELLED);
  assert_int_equal(purlin_still_wanted(ctx), PURLIN_CANCELLED);
  assert_int_equal(purlin_yield(ctx), PURLIN_CANCELLED);
  assert_true(now_ms() - began < LONG_MS / 2);
}

static void test_sleep_deadline_cancel(void **state) {
  (void)state;
  in_context(sleep_in_all_ways, NULL);
}

static void clean_up_shielded(purlin_ctx *ctx, void *unused) {
  (void)unused;
  context_cancel(ctx);
  assert_int_equal(purlin_sleep(ctx, 5), PURLIN_CANCELLED);
  context_shield(ctx, 50);
  assert_int_equal(purlin_sleep(ctx, 5), PURLIN_OK);
  canceller c = {.ctx = NULL};
  cancel_after(ctx, &c, 5);
  assert_int_equal(purlin_sleep(ctx, 10), PURLIN_OK);           /* nor does another cancellation count */
  assert_int_equal(purlin_sleep(ctx, LONG_MS), PURLIN_TIMEOUT); /* but the grace does */
  context_unshield(ctx);
  assert_int_equal(purlin_still_wanted(ctx), PURLIN_CANCELLED);
}

static void test_shield(void **state) {
  (void)state;
  in_context(clean_up_shielded, NULL);
}

typedef struct race {
  purlin_ctx *ctx;
  loop_timer timer;
  unsigned undone;
  bool may_undo;
} race;

static bool undo_race(purlin_ctx *ctx, void *argument) {
  race *r = argument;
  assert_ptr_equal(ctx, r->ctx);
  r->undone++;
  return r->may_undo;
}

static void wake_and_cancel(loop_timer *timer) {
  race *r = (race *)(void *)((char *)timer - offsetof(race, timer));
  fiber_wake(r->ctx->fiber);
  context_cancel(r->ctx); /* the wait is over already: nothing to undo */
}

static void cancel_and_wake(loop_timer *timer) {
  race *r = (race *)(void *)((char *)timer - offsetof(race, timer));
  context_cancel(r->ctx);
  context_cancel(r->ctx); /* asked once only */
  assert_int_equal(r->undone, 1);
  assert_true(fiber_is_parked(r->ctx->fiber));
  fiber_wake(r->ctx->fiber);
}

static void park_in_races(purlin_ctx *ctx, void *unused) {
  (void)unused;
  race r = {.ctx = ctx};
  loop_timer_start(ctx->loop, &r.timer, 5, wake_and_cancel);
  assert_int_equal(context_park(ctx, undo_race, &r), PURLIN_OK);
  assert_int_equal(r.undone, 0);
  assert_int_equal(purlin_still_wanted(ctx), PURLIN_CANCELLED);
  ctx->cancelled = false;
  loop_timer_start(ctx->loop, &r.timer, 5, cancel_and_wake); /* the wake cannot be called back: it counts */
  assert_int_equal(context_park(ctx, undo_race, &r), PURLIN_OK);
  assert_int_equal(r.undone, 1);
  r.may_undo = true;
  assert_int_equal(context_park(ctx, undo_race, &r), PURLIN_CANCELLED);
  assert_int_equal(r.undone, 2);
}

static void test_park_races(void **state) {
  (void)state;
  in_context(park_in_races, NULL);
}

/* ---- Fairness ---- */

static unsigned other_ran;

static void count_other(purlin_ctx *ctx, void *unused) {
  (void)unused;
  fiber_yield();
  other_ran++;
  assert_non_null(ctx);
}

static void spin_us(uint64_t us) {
  for (uint64_t begun = purlin_ticks_ns(); purlin_ticks_ns() - begun < us * 1000;) continue;
}

static void yield_only_when_due(purlin_ctx *ctx, void *unused) {
  (void)unused;
  fiber_yield(); /* a fresh share */
  assert_int_equal(context_start("tester", "test.other", count_other, NULL), PURLIN_OK);
  if (purlin_ticks_ns() - fiber_running_since() < 100000) { /* unless the machine took its time */
    context_fairness(ctx);
    assert_true(other_ran == 0 || purlin_ticks_ns() - fiber_running_since() < 200000);
  }
  spin_us(250);
  assert_int_equal(purlin_yield(ctx), PURLIN_OK);
  assert_int_equal(other_ran, 1);
}

static void test_fairness(void **state) {
  (void)state;
  other_ran = 0;
  in_context(yield_only_when_due, NULL);
}

/* ---- Offload ---- */

static purlin_status sleep_20_ms(void *argument) {
  (void)usleep(20000);
  *(bool *)argument = true;
  return PURLIN_NO_SPACE;
}

static void offload_while_cancelled(purlin_ctx *ctx, void *unused) {
  (void)unused;
  bool done = false;
  canceller c = {.ctx = NULL};
  cancel_after(ctx, &c, 2);
  assert_int_equal(purlin_offload(ctx, PURLIN_POOL_BLOCKING, sleep_20_ms, &done), PURLIN_NO_SPACE);
  assert_true(done);
  assert_true(ctx->cancelled);
}

static void test_offload_outlasts_a_cancellation(void **state) {
  (void)state;
  in_context(offload_while_cancelled, NULL);
}

static purlin_status never_run(void *argument) {
  *(bool *)argument = true;
  return PURLIN_OK;
}

static void offload_to_nowhere(purlin_ctx *ctx, void *unused) {
  (void)unused;
  bool done = false;
  assert_int_equal(purlin_offload(ctx, PURLIN_POOL_CPU, never_run, &done), PURLIN_UNAVAILABLE);
  assert_false(done);
  assert_non_null(strstr(purlin_failure(ctx), "too much computing work"));
  assert_int_equal(ctx->retry_after_s, 1);
}

static void test_offload_refused(void **state) {
  (void)state;
  loop_pool_size(PURLIN_POOL_CPU, 1, 0);
  in_context(offload_to_nowhere, NULL);
  loop_pool_size(PURLIN_POOL_CPU, 0, 1024);
}

typedef struct gate {
  atomic_bool open, passed;
} gate;

static purlin_status pass(void *argument) {
  gate *g = argument;
  while (!atomic_load(&g->open)) (void)usleep(1000);
  atomic_store(&g->passed, true);
  return PURLIN_NO_SPACE;
}

/* Goes on while the work runs; what it started it gets back, also when it was cancelled, and when the work is over first. */
static void offload_and_go_on(purlin_ctx *ctx, void *unused) {
  (void)unused;
  gate g = {false, false};
  purlin_offloaded offloaded;
  canceller c = {.ctx = NULL};
  assert_int_equal(purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, pass, &g, &offloaded), PURLIN_OK);
  assert_int_equal(purlin_sleep(ctx, 1), PURLIN_OK);
  cancel_after(ctx, &c, 2);
  assert_int_equal(purlin_sleep(ctx, 10000), PURLIN_CANCELLED);
  assert_false(atomic_load(&g.passed));
  atomic_store(&g.open, true);
  assert_int_equal(purlin_offload_wait(ctx, &offloaded), PURLIN_NO_SPACE);
  assert_true(atomic_load(&g.passed));
}

static void offload_that_is_over_first(purlin_ctx *ctx, void *unused) {
  (void)unused;
  bool done = false;
  purlin_offloaded offloaded;
  assert_int_equal(purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, sleep_20_ms, &done, &offloaded), PURLIN_OK);
  assert_int_equal(purlin_sleep(ctx, 60), PURLIN_OK);
  assert_int_equal(purlin_offload_wait(ctx, &offloaded), PURLIN_NO_SPACE);
  assert_true(done);
}

static void start_in_a_transaction(purlin_ctx *ctx, void *unused) {
  (void)unused;
  bool done = false;
  purlin_offloaded before, within;
  assert_int_equal(purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, sleep_20_ms, &done, &before), PURLIN_OK);
  ctx->transaction_open = true;
  assert_int_equal(purlin_offload_start(ctx, PURLIN_POOL_BLOCKING, sleep_20_ms, &done, &within), PURLIN_INTERNAL);
  assert_int_equal(purlin_offload_wait(ctx, &before), PURLIN_NO_SPACE);
  ctx->transaction_open = false;
}

static void start_on_a_full_pool(purlin_ctx *ctx, void *unused) {
  (void)unused;
  bool done = false;
  purlin_offloaded offloaded;
  assert_int_equal(purlin_offload_start(ctx, PURLIN_POOL_CPU, never_run, &done, &offloaded), PURLIN_UNAVAILABLE);
  assert_false(done);
}

static void test_offload_in_two_halves(void **state) {
  (void)state;
  in_context(offload_and_go_on, NULL);
  in_context(offload_that_is_over_first, NULL);
  in_context(start_in_a_transaction, NULL);
  loop_pool_size(PURLIN_POOL_CPU, 1, 0);
  in_context(start_on_a_full_pool, NULL);
  loop_pool_size(PURLIN_POOL_CPU, 0, 1024);
}

static void use_local(purlin_ctx *ctx, void *unused) {
  (void)unused;
  static char key;
  int *mine = purlin_loop_local(ctx, &key, sizeof *mine);
  assert_non_null(mine);
  *mine = 5;
  assert_ptr_equal(purlin_loop_local(NULL, &key, sizeof *mine), mine);
}

static void test_loop_local(void **state) {
  (void)state;
  in_context(use_local, NULL);
}

/* ---- The mutex ---- */

static purlin_mutex order_mutex;
static char order[16];

static void lock_and_note(purlin_ctx *ctx, void *argument) {
  const char *name = argument;
  if (*name == 'd') context_set_deadline(ctx, 10);
  purlin_status status = purlin_lock(ctx, &order_mutex);
  size_t used = strlen(order);
  order[used] = status == PURLIN_OK ? *name : status == PURLIN_TIMEOUT ? '!' : '?';
  if (status != PURLIN_OK) return;
  assert_int_equal(purlin_sleep(ctx, 2), PURLIN_OK);
  purlin_unlock(&order_mutex);
}

static purlin_ctx *to_cancel;

static void lock_until_cancelled(purlin_ctx *ctx, void *unused) {
  (void)unused;
  to_cancel = ctx;
  assert_int_equal(purlin_lock(ctx, &order_mutex), PURLIN_CANCELLED);
  assert_int_equal(purlin_lock(ctx, &order_mutex), PURLIN_CANCELLED); /* nor does it wait now */
}

static void lock_in_order(purlin_ctx *ctx, void *unused) {
  (void)unused;
  static char names[] = "abdc";
  memset(&order_mutex, 0, sizeof order_mutex);
  memset(order, 0, sizeof order);
  assert_int_equal(purlin_lock(ctx, &order_mutex), PURLIN_OK);
  assert_int_equal(purlin_lock(ctx, &order_mutex), PURLIN_INTERNAL); /* for ever otherwise */
  assert_non_null(strstr(purlin_failure(ctx), "held by this fiber"));
  for (size_t i = 0; i < 4; i++) {
    assert_int_equal(context_start("tester", "test.lock", lock_and_note, &names[i]), PURLIN_OK);
    if (i == 0) assert_int_equal(context_start("tester", "test.cancelled", lock_until_cancelled, NULL), PURLIN_OK);
  }
  assert_int_equal(purlin_sleep(ctx, 30), PURLIN_OK);
  assert_string_equal(order, "!");
  context_cancel(to_cancel);
  assert_int_equal(purlin_sleep(ctx, 1), PURLIN_OK);
  purlin_unlock(&order_mutex);
  assert_int_equal(purlin_sleep(ctx, 1), PURLIN_OK);
  assert_int_equal(purlin_lock(ctx, &order_mutex), PURLIN_OK); /* behind the others */
  assert_string_equal(order, "!abc");
  purlin_unlock(&order_mutex);
}

static void test_mutex_is_handed_over_in_order(void **state) {
  (void)state;
  in_context(lock_in_order, NULL);
}

/* Many fibers on three loops count under one mutex; some are cancelled or late while they wait. */
#define CONTENDERS 60
#define ROUNDS 40

static purlin_mutex shared_mutex;
static unsigned shared_count, shared_inside; /* plain: the mutex must order them, as TSan checks */
static atomic_uint locked_times, interrupted_times, contenders_left;
static loop_post_item contend_items[3];

static void contend(purlin_ctx *ctx, void *argument) {
  uintptr_t number = (uintptr_t)argument;
  canceller c = {.ctx = NULL};
  for (unsigned i = 0; i < ROUNDS; i++) {
    ctx->cancelled = false;
    context_set_deadline(ctx, number % 3 == 0 ? 1 + i % 3 : UINT64_MAX);
    if (number % 3 == 1) cancel_after(ctx, &c, 1 + i % 3);
    if (purlin_lock(ctx, &shared_mutex) != PURLIN_OK) {
      atomic_fetch_add(&interrupted_times, 1);
    } else {
      if (shared_inside++) abort();
      shared_count++;
      if (i % 16 == 7) loop_sleep(1);
      else if (i % 4 == 0) fiber_yield();
      shared_inside--;
      purlin_unlock(&shared_mutex);
      atomic_fetch_add(&locked_times, 1);
    }
    loop_timer_stop(&c.timer);
    if (i % 8 == 0) loop_sleep(1);
  }
  if (atomic_fetch_sub(&contenders_left, 1) == 1) loops_stop();
}

static void start_contenders(void *argument) {
  for (uintptr_t i = (uintptr_t)argument; i < CONTENDERS; i += 3)
    if (context_start("tester", "test.contend", contend, (void *)i) != PURLIN_OK) abort();
}

static void test_mutex_across_loops(void **state) {
  (void)state;
  memset(&shared_mutex, 0, sizeof shared_mutex);
  shared_count = 0;
  atomic_store(&contenders_left, CONTENDERS);
  assert_int_equal(loops_create(3), PURLIN_OK);
  for (uintptr_t i = 0; i < 3; i++) {
    contend_items[i] = (loop_post_item){NULL, start_contenders, (void *)i};
    loop_post(loop_at(i), &contend_items[i]);
  }
  loops_run();
  loops_destroy();
  assert_int_equal(atomic_load(&contenders_left), 0);
  assert_int_equal(atomic_load(&locked_times) + atomic_load(&interrupted_times), CONTENDERS * ROUNDS);
  assert_true(atomic_load(&interrupted_times) > 0);
  assert_int_equal(shared_count, atomic_load(&locked_times));
  static const purlin_mutex unlocked;
  assert_memory_equal(&shared_mutex, &unlocked, sizeof unlocked);
  print_message("%u locks, %u waits interrupted\n", atomic_load(&locked_times), atomic_load(&interrupted_times));
}

/* ---- Mistakes: this program called with the number of the mistake, which must abort ---- */

static void do_park_outside(purlin_ctx *ctx) { (void)!purlin_sleep(ctx, 1); }

static void do_wait_outside(purlin_ctx *ctx) {
  purlin_mutex mutex = {{0}};
  if (purlin_lock(ctx, &mutex) != PURLIN_OK) return;
  (void)!purlin_lock(ctx, &mutex);
}

static void do_unlock_unlocked(purlin_ctx *ctx) {
  (void)ctx;
  purlin_mutex mutex = {{0}};
  purlin_unlock(&mutex);
}

static const struct {
  void (*mistake)(purlin_ctx *ctx);
  const char *message;
} mistakes[] = {
    {do_park_outside, "a call that may park was made outside a fiber"},
    {do_wait_outside, "a call that may park was made outside a fiber"},
    {do_unlock_unlocked, "a mutex was unlocked that is not locked"},
};

static int make_mistake(const char *number) {
  struct rlimit none = {0, 0};
  (void)setrlimit(RLIMIT_CORE, &none);
  purlin_ctx ctx;
  context_begin(&ctx, "tester", "test.mistake");
  mistakes[strtoul(number, NULL, 10)].mistake(&ctx);
  return 0;
}

static void test_mistakes_abort(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
    char number[8], program[4096], output[512];
    int ends[2], status = 0;
    (void)snprintf(number, sizeof number, "%zu", i);
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    assert_true(length > 0);
    program[length] = 0;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
      if (dup2(ends[1], STDERR_FILENO) >= 0) (void)execl(program, program, number, (char *)NULL);
      _exit(3);
    }
    (void)close(ends[1]);
    length = read(ends[0], output, sizeof output - 1);
    assert_true(length > 0);
    output[length] = 0;
    (void)close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(output, mistakes[i].message));
  }
}

int main(int count, char **arguments) {
  if (count == 2) return make_mistake(arguments[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(test_a_new_context, begin, end),
      cmocka_unit_test_setup_teardown(test_memory, begin, end),
      cmocka_unit_test_setup_teardown(test_ids, begin, end),
      cmocka_unit_test_setup_teardown(test_a_full_arena_is_a_recorded_failure, begin, end),
      cmocka_unit_test_setup_teardown(test_failing, begin, end),
      cmocka_unit_test_setup_teardown(test_a_failure_survives_a_reset, begin, end),
      cmocka_unit_test_setup_teardown(test_long_failures_are_cut_between_characters, begin, end),
      cmocka_unit_test_setup_teardown(test_field_failures, begin, end),
      cmocka_unit_test(test_status_texts),
      cmocka_unit_test_setup_teardown(test_trace_context, begin, end),
      cmocka_unit_test(test_clocks),
      cmocka_unit_test(test_end_hooks),
      cmocka_unit_test(test_sleep_deadline_cancel),
      cmocka_unit_test(test_shield),
      cmocka_unit_test(test_park_races),
      cmocka_unit_test(test_fairness),
      cmocka_unit_test(test_offload_outlasts_a_cancellation),
      cmocka_unit_test(test_offload_refused),
      cmocka_unit_test(test_offload_in_two_halves),
      cmocka_unit_test(test_loop_local),
      cmocka_unit_test(test_mutex_is_handed_over_in_order),
      cmocka_unit_test(test_mutex_across_loops),
      cmocka_unit_test(test_mistakes_abort),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  context_thread_end();
  arena_thread_end();
  return failed;
}
