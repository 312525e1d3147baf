/* The generic cell rate algorithm against the rule said plainly, and against many threads. */
#include "access/rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#define SECOND UINT64_C(1000000000)
#define START (1000 * SECOND)

static const rate_rule ten_a_second = {.name = "ten", .per = "actor", .operations = "*", .requests = 10, .seconds = 1};
static const rates_settings settings = {.rules = {(rate_rule *)(uintptr_t)&ten_a_second, 1}};

static int begin(void **state) {
  (void)state;
  return rates_start(&settings) == PURLIN_OK ? 0 : 1;
}

static int end(void **state) {
  (void)state;
  rates_end();
  return 0;
}

static void a_burst_then_one_at_a_time(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) {
    rate_outcome found = rate_count(1, &ten_a_second, START);
    assert_true(found.allowed);
    assert_int_equal(found.remaining, 9 - i);
  }
  rate_outcome refused = rate_count(1, &ten_a_second, START);
  assert_false(refused.allowed);
  assert_int_equal(refused.remaining, 0);
  assert_int_equal(refused.retry_ns, SECOND / 10);
  assert_int_equal(refused.full_ns, SECOND);
  assert_false(rate_count(1, &ten_a_second, START + SECOND / 10 - 1).allowed);
  assert_true(rate_count(1, &ten_a_second, START + SECOND / 10).allowed);
  assert_false(rate_count(1, &ten_a_second, START + SECOND / 10).allowed);
  assert_true(rate_count(2, &ten_a_second, START).allowed); /* others are not touched */
}

static void what_was_used_up_comes_back_and_no_more(void **state) {
  (void)state;
  for (int i = 0; i < 10; i++) assert_true(rate_count(1, &ten_a_second, START).allowed);
  for (int i = 0; i < 10; i++) assert_true(rate_count(1, &ten_a_second, START + 100 * SECOND).allowed);
  assert_false(rate_count(1, &ten_a_second, START + 100 * SECOND).allowed);
}

static void the_burst_can_be_smaller(void **state) {
  (void)state;
  const rate_rule smooth = {.name = "smooth", .per = "actor", .operations = "*", .requests = 60, .seconds = 60, .burst = 2};
  assert_true(rate_count(1, &smooth, START).allowed);
  assert_true(rate_count(1, &smooth, START).allowed);
  assert_int_equal(rate_count(1, &smooth, START).retry_ns, SECOND);
}

/* In any stretch of time at most burst + stretch / interval: the promise, with random arrivals. */
static void no_window_holds_more_than_promised(void **state) {
  (void)state;
  enum { ASKED = 3000 };
  static uint64_t allowed[ASKED];
  size_t count = 0;
  uint64_t now = START;
  srand(7);
  for (int i = 0; i < ASKED; i++) {
    now += (uint64_t)rand() % (SECOND / 20);
    if (rate_count(9, &ten_a_second, now).allowed) allowed[count++] = now;
  }
  assert_true(count > 500); /* it lets through what it may */
  for (size_t first = 0; first < count; first++)
    for (size_t last = first; last < count && last < first + 40; last++)
      assert_true(last - first + 1 <= 10 + (allowed[last] - allowed[first]) / (SECOND / 10));
}

/* Nobody is forgotten while fewer are counted than there is room for; a flood of others only ever lets more through. */
static void a_flood_of_others_refuses_nobody(void **state) {
  (void)state;
  for (uint64_t key = 1; key < 400000; key++) {
    uint64_t mixed = key * UINT64_C(0x9e3779b97f4a7c15);
    assert_true(rate_count(mixed | 1, &ten_a_second, START).allowed);
  }
}

enum { THREADS = 4, EACH = 20000 };

static void *ask(void *argument) {
  size_t *allowed = argument;
  for (int i = 0; i < EACH; i++) *allowed += rate_count(77, &ten_a_second, START + SECOND).allowed;
  return NULL;
}

static void the_count_is_exact_over_threads(void **state) {
  (void)state;
  pthread_t threads[THREADS];
  size_t allowed[THREADS] = {0}, sum = 0;
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, ask, &allowed[i]), 0);
  for (int i = 0; i < THREADS; i++) {
    assert_int_equal(pthread_join(threads[i], NULL), 0);
    sum += allowed[i];
  }
  assert_int_equal(sum, 10);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(a_burst_then_one_at_a_time, begin, end),
      cmocka_unit_test_setup_teardown(what_was_used_up_comes_back_and_no_more, begin, end),
      cmocka_unit_test_setup_teardown(the_burst_can_be_smaller, begin, end),
      cmocka_unit_test_setup_teardown(no_window_holds_more_than_promised, begin, end),
      cmocka_unit_test_setup_teardown(a_flood_of_others_refuses_nobody, begin, end),
      cmocka_unit_test_setup_teardown(the_count_is_exact_over_threads, begin, end),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
