/* Loops: posts between threads, the order of a turn, timers, offloaded work, loop-local memory, stopping. */
#include "loop/internal.h"
#include <purlin/context.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

/* Runs `count` loops, with `begin` called on loop 0, until something calls loops_stop(). */
static void with_loops(size_t count, void (*begin)(void *), void *argument) {
  loop_post_item item = {.call = begin, .argument = argument};
  assert_int_equal(loops_create(count), PURLIN_OK);
  loop_post(loop_at(0), &item);
  loops_run();
  loops_destroy();
}

static void start(void (*run)(void *), void *argument) { assert_int_equal(fiber_start(run, argument), PURLIN_OK); }

/* ---- Making and ending ---- */

static void test_create_and_destroy(void **state) {
  (void)state;
  assert_int_equal(loops_create(0), PURLIN_INTERNAL);
  assert_int_equal(loops_create(3), PURLIN_OK);
  assert_int_equal(loops_create(1), PURLIN_INTERNAL);
  assert_int_equal(loop_count(), 3);
  for (size_t i = 0; i < 3; i++) assert_int_equal(loop_index(loop_at(i)), i);
  assert_ptr_equal(loop_current(), loop_at(0));
  struct sigaction pipes;
  assert_int_equal(sigaction(SIGPIPE, NULL, &pipes), 0);
  assert_true(pipes.sa_handler == SIG_IGN);
  loops_destroy();
  loops_destroy();
  assert_int_equal(loop_count(), 0);
  assert_null(loop_current());
}

static void stop(void *unused) {
  (void)unused;
  loops_stop();
  loops_stop();
}

static void test_stop_before_and_after_running(void **state) {
  (void)state;
  with_loops(3, stop, NULL);
  assert_int_equal(loops_create(2), PURLIN_OK);
  loops_stop();
  loops_run();
  loops_destroy();
}

typedef struct ending {
  uv_timer_t ticks;
  int count;
  bool closed;
} ending;

static void on_closed(uv_handle_t *handle) { ((ending *)handle->data)->closed = true; }

static void on_tick(uv_timer_t *timer) {
  ending *e = timer->data;
  if (++e->count == 5) uv_close((uv_handle_t *)timer, on_closed);
}

static void tick_and_stop(void *argument) {
  ending *e = argument;
  e->ticks.data = e;
  assert_int_equal(uv_timer_init(loop_uv(loop_current()), &e->ticks), 0);
  assert_int_equal(uv_timer_start(&e->ticks, on_tick, 2, 2), 0);
  loops_stop();
}

static void test_a_loop_ends_when_its_handles_are_closed(void **state) {
  (void)state;
  ending e = {.count = 0};
  with_loops(2, tick_and_stop, &e);
  assert_int_equal(e.count, 5);
  assert_true(e.closed);
}

static void test_a_handle_left_open_does_not_hold_for_ever(void **state) {
  (void)state;
  ending e = {.count = 100};
  uint64_t before = now_ms();
  with_loops(1, tick_and_stop, &e);
  assert_false(e.closed);
  assert_in_range(now_ms() - before, LOOP_END_GRACE_MS - 100, LOOP_END_GRACE_MS + 5000);
}

/* ---- Posts ---- */

#define POSTERS 4
#define POSTS 3000

typedef struct post_of {
  loop_post_item item;
  loop *to;
  unsigned poster, number;
} post_of;

static post_of posts[POSTERS][POSTS];
static unsigned next_number[POSTERS][3]; /* touched on the loop that the posts went to */
static atomic_uint posts_arrived, posts_wrong;

static void on_post(void *argument) {
  post_of *p = argument;
  if (loop_current() != p->to || fiber_current()) atomic_fetch_add(&posts_wrong, 1);
  unsigned *next = &next_number[p->poster][loop_index(p->to)];
  if (p->number < *next) atomic_fetch_add(&posts_wrong, 1);
  *next = p->number + 1;
  if (atomic_fetch_add(&posts_arrived, 1) + 1 == POSTERS * POSTS) loops_stop();
}

static void *post_many(void *argument) {
  unsigned poster = *(unsigned *)argument;
  for (unsigned i = 0; i < POSTS; i++) {
    post_of *p = &posts[poster][i];
    *p = (post_of){{NULL, on_post, p}, loop_at((i / 7) % loop_count()), poster, i};
    loop_post(p->to, &p->item);
  }
  return NULL;
}

static void test_posts_from_many_threads(void **state) {
  (void)state;
  pthread_t threads[POSTERS];
  unsigned numbers[POSTERS];
  atomic_store(&posts_arrived, 0);
  assert_int_equal(loops_create(3), PURLIN_OK);
  for (unsigned i = 0; i < POSTERS; i++) {
    numbers[i] = i;
    assert_int_equal(pthread_create(&threads[i], NULL, post_many, &numbers[i]), 0);
  }
  loops_run();
  for (unsigned i = 0; i < POSTERS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  loops_destroy();
  assert_int_equal(atomic_load(&posts_arrived), POSTERS * POSTS);
  assert_int_equal(atomic_load(&posts_wrong), 0);
}

/* A ball between two loops that have nothing else to do: each post wakes a polling thread. */
typedef struct ball {
  loop_post_item item;
  unsigned left;
  uint64_t begun_ns, took_ns;
} ball;

static void on_ball(void *argument) {
  ball *b = argument;
  if (!b->begun_ns) b->begun_ns = purlin_ticks_ns();
  if (--b->left == 0) {
    b->took_ns = purlin_ticks_ns() - b->begun_ns;
    loops_stop();
    return;
  }
  loop_post(loop_at(1 - loop_index(loop_current())), &b->item);
}

static void test_posts_there_and_back(void **state) {
  (void)state;
  enum { rounds = 2000 };
  ball b = {.item = {NULL, on_ball, &b}, .left = rounds};
  with_loops(2, on_ball, &b);
  assert_int_equal(b.left, 0);
  print_message("a post that wakes another loop: %.1f us\n", (double)b.took_ns / 1000 / (double)rounds);
}

static unsigned own_posts;
static loop_post_item own_item;

static void on_own_post(void *unused) {
  (void)unused;
  if (++own_posts < 10000) loop_post(loop_current(), &own_item);
  else loops_stop();
}

static void test_posts_to_itself(void **state) {
  (void)state;
  own_posts = 0;
  own_item.call = on_own_post;
  uint64_t before = purlin_ticks_ns();
  with_loops(1, on_own_post, NULL);
  assert_int_equal(own_posts, 10000);
  print_message("a post to the own loop: %.2f us\n", (double)(purlin_ticks_ns() - before) / 10000 / 1000);
}

/* ---- One turn ---- */

static char trail[128];
static loop_post_item later_items[3];
static fiber *parked;

static void note(const char *step) {
  size_t used = strlen(trail);
  (void)snprintf(trail + used, sizeof trail - used, "%s ", step);
}

static char again[] = "again", later_wake[] = "later-wake", later[] = "later";

static void note_later(void *argument) { note(argument); }

static void wake_and_note(void *argument) {
  note(argument);
  fiber_wake(parked);
}

static void note_and_later_again(void *argument) {
  note(argument);
  later_items[2] = (loop_post_item){NULL, note_later, again};
  loop_later(loop_current(), &later_items[2]);
}

static void park_and_note(void *unused) {
  (void)unused;
  parked = fiber_current();
  fiber_park();
  note("fiber");
  fiber_park();
  note("fiber-2");
  loops_stop();
}

static void begin_turn(void *unused) {
  (void)unused;
  start(park_and_note, NULL);
  later_items[0] = (loop_post_item){NULL, wake_and_note, later_wake};
  later_items[1] = (loop_post_item){NULL, note_and_later_again, later};
  loop_later(loop_current(), &later_items[0]);
  loop_later(loop_current(), &later_items[1]);
  fiber_wake(parked);
  note("begin");
}

static void test_the_order_of_a_turn(void **state) {
  (void)state;
  trail[0] = 0;
  with_loops(1, begin_turn, NULL);
  assert_string_equal(trail, "begin fiber later-wake later fiber-2 again ");
}

typedef struct hog {
  loop_timer timer;
  bool fired;
  uint64_t yields;
} hog;

static void on_hog_timer(loop_timer *timer) { ((hog *)(void *)timer)->fired = true; }

static void yield_until_fired(void *argument) {
  hog *h = argument;
  loop_timer_start(loop_current(), &h->timer, 5, on_hog_timer);
  for (; !h->fired; h->yields++) fiber_yield();
  loops_stop();
}

static void start_hog(void *argument) { start(yield_until_fired, argument); }

static void test_busy_fibers_do_not_starve_the_loop(void **state) {
  (void)state;
  hog h = {.fired = false};
  with_loops(1, start_hog, &h);
  assert_true(h.fired);
  assert_true(h.yields > 10);
}

/* ---- Timers ---- */

typedef struct timed {
  loop_timer timer;
  uint64_t wanted_ms;
  unsigned fired;
} timed;

static uint64_t fake_ms;
static unsigned fired_count;

static void on_fake(loop_timer *timer) {
  timed *t = (timed *)(void *)timer;
  assert_int_equal(t->wanted_ms, fake_ms); /* exactly then: the wheel armed itself for this millisecond */
  t->fired++;
  fired_count++;
}

/* Moves a loop's clock to where the wheel armed its driver, and calls it, until it rests. Counts the calls. */
static unsigned turn_wheel(loop *l) {
  unsigned calls = 0;
  for (; l->wheel.armed_ms != UINT64_MAX; calls++) {
    assert_true(l->wheel.armed_ms >= fake_ms);
    fake_ms = l->wheel.armed_ms;
    loop_uv(l)->time = fake_ms;
    l->wheel.driver.timer_cb(&l->wheel.driver);
  }
  return calls;
}

static void start_fake(loop *l, timed *t, uint64_t after_ms) {
  t->wanted_ms = fake_ms + (after_ms ? after_ms : 1);
  t->fired = 0;
  loop_timer_start(l, &t->timer, after_ms, on_fake);
}

static void test_wheel_is_exact(void **state) {
  (void)state;
  enum { count = 4000 };
  static timed all[count];
  memset(all, 0, sizeof all);
  assert_int_equal(loops_create(1), PURLIN_OK);
  loop *l = loop_at(0);
  uint64_t seed = 12345;
  fired_count = 0;
  static const uint64_t starts[] = {1000, 4095, 262143, 16777215, 1073741823};
  for (size_t round = 0; round < sizeof starts / sizeof starts[0]; round++) {
    fake_ms = fake_ms < starts[round] ? starts[round] : fake_ms;
    loop_uv(l)->time = fake_ms;
    for (size_t i = 0; i < count; i++) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      uint64_t span = (uint64_t)1 << (seed >> 59); /* up to 2^31 ms, short ones as often as long */
      start_fake(l, &all[i], (seed >> 20) % span);
      if (i % 3 == 0) loop_timer_stop(&all[i].timer);
      if (i % 3 == 1) start_fake(l, &all[i], (seed >> 17) % span);
      assert_int_equal(loop_timer_active(&all[i].timer), i % 3 != 0);
    }
    (void)turn_wheel(l);
    for (size_t i = 0; i < count; i++) {
      assert_int_equal(all[i].fired, i % 3 != 0);
      assert_false(loop_timer_active(&all[i].timer));
    }
  }
  loops_destroy();
}

static void test_stopped_timeouts_cost_few_wakes(void **state) {
  (void)state;
  static timed one, requests[1000];
  memset(requests, 0, sizeof requests);
  assert_int_equal(loops_create(1), PURLIN_OK);
  loop *l = loop_at(0);
  fake_ms = loop_now_ms(l);
  start_fake(l, &one, 10000);
  uint64_t began_ms = fake_ms;
  unsigned calls = 0;
  for (size_t i = 0; i < 1000; i++) { /* a request every 5 ms with a time-out of 30 s that never comes */
    start_fake(l, &requests[i], 30000);
    loop_timer_stop(&requests[i].timer);
    uint64_t next_ms = began_ms + (i + 1) * 5;
    if (l->wheel.armed_ms <= next_ms) {
      fake_ms = loop_uv(l)->time = l->wheel.armed_ms;
      l->wheel.driver.timer_cb(&l->wheel.driver);
      calls++;
    }
    fake_ms = loop_uv(l)->time = next_ms;
  }
  assert_true(calls < 20);
  assert_true(turn_wheel(l) < 20);
  assert_int_equal(one.fired, 1);
  loops_destroy();
}

static timed friends[3];

/* Whoever runs first stops all three, itself included, for which there is nothing to stop. */
static void on_friend(loop_timer *timer) {
  ((timed *)(void *)timer)->fired++;
  for (size_t i = 0; i < 3; i++) loop_timer_stop(&friends[i].timer);
}

static void on_repeat(loop_timer *timer) {
  timed *t = (timed *)(void *)timer;
  if (++t->fired < 3) loop_timer_start(loop_at(0), timer, 0, on_repeat);
}

static void test_timers_from_timers(void **state) {
  (void)state;
  assert_int_equal(loops_create(1), PURLIN_OK);
  loop *l = loop_at(0);
  fake_ms = loop_now_ms(l);
  for (unsigned phase = 0; phase < 64; phase++) { /* with and without a move from level 1 to level 0 on the way */
    memset(friends, 0, sizeof friends);
    loop_uv(l)->time = ++fake_ms;
    for (size_t i = 0; i < 3; i++) loop_timer_start(l, &friends[i].timer, 10, on_friend);
    (void)turn_wheel(l);
    assert_int_equal(friends[0].fired + friends[1].fired + friends[2].fired, 1);
  }
  timed repeated = {.fired = 0};
  uint64_t began_ms = fake_ms;
  loop_timer_start(l, &repeated.timer, 0, on_repeat);
  (void)turn_wheel(l);
  assert_int_equal(repeated.fired, 3);
  assert_int_equal(fake_ms - began_ms, 3); /* 0 ms means the next millisecond, not for ever in this one */
  timed never = {.fired = 0};
  loop_timer_start(l, &never.timer, UINT64_MAX, on_friend);
  assert_true(loop_timer_active(&never.timer));
  loop_timer_stop(&never.timer);
  loop_timer_stop(&never.timer);
  loops_destroy();
}

/* On the real clock. */
#define SLEEPERS 50
static atomic_uint sleepers_left;
static uint64_t worst_late_us, early_count;
static unsigned turns;
static uv_prepare_t turn_counter;

static void on_turn(uv_prepare_t *handle) {
  (void)handle;
  turns++;
}

static void sleep_once(void *argument) {
  uint64_t wanted_us = (uint64_t)(uintptr_t)argument * 1000, began = purlin_ticks_ns();
  loop_sleep((uint32_t)(wanted_us / 1000));
  uint64_t took_us = (purlin_ticks_ns() - began) / 1000;
  if (took_us < wanted_us) early_count++;
  else if (took_us - wanted_us > worst_late_us) worst_late_us = took_us - wanted_us;
  if (atomic_fetch_sub(&sleepers_left, 1) == 1) {
    uv_close((uv_handle_t *)&turn_counter, NULL);
    loops_stop();
  }
}

static void start_sleepers(void *unused) {
  (void)unused;
  assert_int_equal(uv_prepare_init(loop_uv(loop_current()), &turn_counter), 0);
  assert_int_equal(uv_prepare_start(&turn_counter, on_turn), 0);
  atomic_store(&sleepers_left, SLEEPERS);
  for (uintptr_t i = 0; i < SLEEPERS; i++) start(sleep_once, (void *)(i * 6));
}

static void test_sleeping(void **state) {
  (void)state;
  turns = 0;
  with_loops(1, start_sleepers, NULL);
  assert_int_equal(early_count, 0);
  assert_true(worst_late_us < 250000); /* the machine is shared; the figure is printed */
  assert_true(turns < SLEEPERS * 4);   /* it does not tick through 300 ms */
  print_message("%u fibers slept: at most %.1f ms late, %u turns\n", SLEEPERS, (double)worst_late_us / 1000, turns);
}

/* ---- Offloaded work ---- */

#define OFFLOADERS 300
typedef struct sum {
  loop *home;
  purlin_pool pool;
  unsigned from, result;
  bool other_thread, right_name, signals_blocked, back_home;
} sum;

static sum sums[OFFLOADERS];
static atomic_uint sums_left;

static purlin_status add_up(void *argument) {
  sum *s = argument;
  char name[16] = "";
  sigset_t blocked;
  s->other_thread = loop_current() == NULL && fiber_current() == NULL;
  s->right_name = pthread_getname_np(pthread_self(), name, sizeof name) == 0 &&
                  strcmp(name, s->pool == PURLIN_POOL_CPU ? "purlin-cpu" : "purlin-io") == 0;
  s->signals_blocked = pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0 && sigismember(&blocked, SIGTERM) == 1 &&
                       sigismember(&blocked, SIGSEGV) == 0;
  for (unsigned i = 0; i < 1000; i++) s->result += s->from;
  return s->from % 2 ? PURLIN_CONFLICT : PURLIN_OK;
}

static void offload_sum(void *argument) {
  sum *s = argument;
  fiber *self = fiber_current();
  s->home = loop_current();
  purlin_status status = loop_offload(s->pool, add_up, s);
  s->back_home =
      loop_current() == s->home && fiber_current() == self && status == (s->from % 2 ? PURLIN_CONFLICT : PURLIN_OK);
  if (atomic_fetch_sub(&sums_left, 1) == 1) loops_stop();
}

static loop_post_item offload_items[3];

static void start_offloaders(void *argument) {
  size_t first = *(size_t *)argument;
  for (size_t i = first; i < OFFLOADERS; i += 3)
    if (fiber_start(offload_sum, &sums[i]) != PURLIN_OK) abort(); /* cmocka's asserts belong to the first thread */
}

static void test_offload(void **state) {
  (void)state;
  static size_t firsts[3] = {0, 1, 2};
  atomic_store(&sums_left, OFFLOADERS);
  for (unsigned i = 0; i < OFFLOADERS; i++)
    sums[i] = (sum){.from = i, .pool = i / 5 % 2 ? PURLIN_POOL_CPU : PURLIN_POOL_BLOCKING};
  assert_int_equal(loops_create(3), PURLIN_OK);
  for (size_t i = 0; i < 3; i++) {
    offload_items[i] = (loop_post_item){NULL, start_offloaders, &firsts[i]};
    loop_post(loop_at(i), &offload_items[i]);
  }
  loops_run();
  loops_destroy();
  for (unsigned i = 0; i < OFFLOADERS; i++) {
    assert_int_equal(sums[i].result, i * 1000);
    assert_true(sums[i].other_thread && sums[i].right_name && sums[i].signals_blocked && sums[i].back_home);
  }
}

static void test_offload_without_a_fiber_runs_at_once(void **state) {
  (void)state;
  sum s = {.from = 2};
  assert_int_equal(loop_offload(PURLIN_POOL_CPU, add_up, &s), PURLIN_OK);
  assert_int_equal(s.result, 2000);
  assert_false(s.right_name);
}

static atomic_bool gate_open;
static unsigned refused, accepted;

static purlin_status wait_for_gate(void *unused) {
  (void)unused;
  while (!atomic_load(&gate_open)) (void)usleep(500);
  return PURLIN_OK;
}

static void offload_wait(void *unused) {
  (void)unused;
  purlin_status status = loop_offload(PURLIN_POOL_BLOCKING, wait_for_gate, NULL);
  if (status == PURLIN_OK) accepted++;
  if (status == PURLIN_UNAVAILABLE) refused++;
}

static void overfill(void *unused) {
  (void)unused;
  for (int i = 0; i < 20; i++) start(offload_wait, NULL);
  assert_true(refused >= 20 - 5 && refused <= 20 - 3); /* 3 in the queue; the 2 threads may have taken some by now */
  loops_stop();                                        /* and the loop waits for the work that is under way */
  assert_int_equal(accepted, 0);
  atomic_store(&gate_open, true);
}

static void test_a_full_queue_refuses(void **state) {
  (void)state;
  refused = accepted = 0;
  atomic_store(&gate_open, false);
  loop_pool_size(PURLIN_POOL_BLOCKING, 2, 3);
  with_loops(1, overfill, NULL);
  assert_int_equal(refused + accepted, 20);
  loop_pool_size(PURLIN_POOL_BLOCKING, 16, 1024);
}

/* ---- Loop-local memory ---- */

static char local_keys[500];
static void *other_loops_memory;

static void look_up_elsewhere(void *unused) {
  (void)unused;
  other_loops_memory = loop_local(loop_current(), &local_keys[0], 8);
  loops_stop();
}

static void look_up(void *unused) {
  (void)unused;
  static void *found[sizeof local_keys];
  static loop_post_item item;
  loop *l = loop_current();
  for (size_t i = 0; i < sizeof local_keys; i++) {
    found[i] = loop_local(l, &local_keys[i], i + 8);
    for (size_t k = 0; k < i + 8; k++) assert_int_equal(((char *)found[i])[k], 0);
    memset(found[i], 1, i + 8);
  }
  for (size_t i = 0; i < sizeof local_keys; i++) assert_ptr_equal(loop_local(l, &local_keys[i], i + 8), found[i]);
  assert_null(loop_local(l, &local_keys[0], 9)); /* asked for with less before: a defect of the caller */
  item = (loop_post_item){NULL, look_up_elsewhere, NULL};
  loop_post(loop_at(1), &item);
}

static void test_loop_local(void **state) {
  (void)state;
  other_loops_memory = NULL;
  with_loops(2, look_up, NULL);
  assert_non_null(other_loops_memory);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_create_and_destroy),
      cmocka_unit_test(test_stop_before_and_after_running),
      cmocka_unit_test(test_a_loop_ends_when_its_handles_are_closed),
      cmocka_unit_test(test_a_handle_left_open_does_not_hold_for_ever),
      cmocka_unit_test(test_posts_from_many_threads),
      cmocka_unit_test(test_posts_there_and_back),
      cmocka_unit_test(test_posts_to_itself),
      cmocka_unit_test(test_the_order_of_a_turn),
      cmocka_unit_test(test_busy_fibers_do_not_starve_the_loop),
      cmocka_unit_test(test_wheel_is_exact),
      cmocka_unit_test(test_stopped_timeouts_cost_few_wakes),
      cmocka_unit_test(test_timers_from_timers),
      cmocka_unit_test(test_sleeping),
      cmocka_unit_test(test_offload),
      cmocka_unit_test(test_offload_without_a_fiber_runs_at_once),
      cmocka_unit_test(test_a_full_queue_refuses),
      cmocka_unit_test(test_loop_local),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
