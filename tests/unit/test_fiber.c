/* Fibers: order of running, switching under load, recycling, the cap, and what happens to mistakes. */
#include "fiber/annotate.h"
#include "fiber/fiber.h"
#include <purlin/context.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define MANY 2000 /* TSan knows some 8,000 */

static char trail[256];

static void note(const char *step) {
  size_t used = strlen(trail);
  (void)snprintf(trail + used, sizeof trail - used, "%s ", step);
}

static int forget_trail(void **state) {
  (void)state;
  trail[0] = 0;
  return 0;
}

static void start(void (*run)(void *), void *argument) { assert_int_equal(fiber_start(run, argument), PURLIN_OK); }

static void just_run(void *argument) {
  assert_non_null(fiber_current());
  *(int *)argument += 1;
}

static void test_runs_at_once(void **state) {
  (void)state;
  int ran = 0;
  assert_null(fiber_current());
  start(just_run, &ran);
  assert_int_equal(ran, 1);
  assert_null(fiber_current());
  assert_int_equal(fiber_count(), 0);
}

typedef struct steps {
  fiber *self;
  const char *name;
  int parks, done;
} steps;

static void park_some(void *argument) {
  steps *s = argument;
  s->self = fiber_current();
  fiber_set_name(s->self, s->name);
  fiber_set_data(s->self, s);
  for (int i = 0; i < s->parks; i++) {
    note(s->name);
    fiber_park();
    assert_ptr_equal(fiber_current(), s->self);
    assert_ptr_equal(fiber_data(s->self), s);
  }
  s->done = 1;
}

static void test_resume_goes_on(void **state) {
  (void)state;
  steps s = {.name = "a", .parks = 2};
  start(park_some, &s);
  assert_int_equal(fiber_count(), 1);
  assert_true(fiber_is_parked(s.self));
  fiber_resume(s.self);
  assert_false(s.done);
  fiber_resume(s.self);
  assert_true(s.done);
  assert_string_equal(trail, "a a ");
  assert_int_equal(fiber_count(), 0);
}

static void test_wakes_run_in_order(void **state) {
  (void)state;
  steps s[4] = {{.name = "a", .parks = 2}, {.name = "b", .parks = 2}, {.name = "c", .parks = 2}, {.name = "d", .parks = 2}};
  for (size_t i = 0; i < 4; i++) start(park_some, &s[i]);
  assert_false(fiber_any_ready());
  assert_false(fiber_run_ready());
  static const size_t order[] = {2, 0, 3, 1};
  for (size_t i = 0; i < 4; i++) fiber_wake(s[order[i]].self);
  assert_true(fiber_any_ready());
  assert_false(fiber_is_parked(s[0].self));
  assert_true(fiber_run_ready());
  assert_string_equal(trail, "a b c d c a d b ");
  for (size_t i = 0; i < 4; i++) fiber_wake(s[i].self);
  assert_true(fiber_run_ready());
  for (size_t i = 0; i < 4; i++) assert_true(s[i].done);
}

static steps inner = {.name = "inner", .parks = 1};

static void start_another(void *argument) {
  fiber *self = fiber_current();
  fiber **slot = argument;
  *slot = self;
  note("outer");
  start(park_some, &inner);
  assert_ptr_equal(fiber_current(), self);
  note("outer-again");
  fiber_wake(inner.self); /* from inside a fiber: it runs later */
  assert_false(inner.done);
  fiber_park();
  *slot = NULL;
}

static void outermost(void *argument) {
  start(start_another, argument);
  note("outermost");
}

static void test_nested_starts(void **state) {
  (void)state;
  fiber *outer = NULL;
  start(outermost, &outer);
  assert_string_equal(trail, "outer inner outer-again outermost ");
  assert_true(fiber_run_ready());
  assert_true(inner.done);
  assert_int_equal(fiber_count(), 1);
  fiber_resume(outer);
  assert_null(outer);
}

static fiber *kept;

static void keep_and_park(void *argument) {
  (void)argument;
  kept = fiber_current();
  fiber_park();
}

static void wake_kept(void *argument) {
  (void)argument;
  fiber_wake(kept);
  note("waker");
}

static void test_wake_from_a_fiber_waits_for_it(void **state) {
  (void)state;
  start(keep_and_park, NULL);
  start(wake_kept, NULL);
  assert_string_equal(trail, "waker ");
  assert_true(fiber_run_ready());
  assert_false(fiber_any_ready());
}

static int turns[3];

static void take_turns(void *argument) {
  int *mine = argument;
  for (int i = 0; i < 3; i++) {
    ++*mine;
    for (size_t other = 0; other < 3; other++) assert_true(abs(turns[other] - *mine) <= 1);
    fiber_yield();
  }
}

static void test_yield_goes_to_the_back(void **state) {
  (void)state;
  memset(turns, 0, sizeof turns);
  for (size_t i = 0; i < 3; i++) start(take_turns, &turns[i]);
  while (fiber_run_ready()) continue;
  for (size_t i = 0; i < 3; i++) assert_int_equal(turns[i], 3);
}

static bool enough;

static void yield_for_ever(void *argument) {
  (void)argument;
  while (!enough) fiber_yield();
}

static void test_a_turn_ends(void **state) {
  (void)state;
  enough = false;
  start(yield_for_ever, NULL);
  uint64_t before = purlin_ticks_ns();
  assert_true(fiber_run_ready()); /* would not return if it ran until nothing is ready */
  assert_true(purlin_ticks_ns() - before >= 900000u);
  assert_true(fiber_any_ready());
  enough = true;
  assert_true(fiber_run_ready());
  assert_false(fiber_any_ready());
}

typedef struct many {
  fiber *self;
  unsigned value;
  int rounds;
} many;

static unsigned mix(unsigned value, int depth) {
  char padding[64];
  memset(padding, (int)(value & 0x7f), sizeof padding);
  if (depth > 0) value = mix(value * 2654435761u + (unsigned)padding[depth % 64], depth - 1);
  if (depth == 5) fiber_park();
  for (size_t i = 1; i < sizeof padding; i++) assert_int_equal(padding[i], padding[0]);
  return value + 1;
}

static void churn(void *argument) {
  many *m = argument;
  m->self = fiber_current();
  for (int i = 0; i < 5; i++) {
    m->value = mix(m->value, 20);
    m->rounds++;
  }
  m->self = NULL;
}

static void test_thousands(void **state) {
  (void)state;
  static many all[MANY];
  memset(all, 0, sizeof all);
  size_t before = fiber_count();
  for (unsigned i = 0; i < MANY; i++) {
    all[i].value = i;
    start(churn, &all[i]);
  }
  assert_int_equal(fiber_count(), before + MANY);
  assert_int_equal(fiber_count_all(), before + MANY);
  unsigned left = MANY, pick = 1;
  while (left) { /* in an order that is not theirs */
    left = 0;
    for (unsigned i = 0; i < MANY; i++) {
      pick = (pick + 1009) % MANY;
      if (!all[pick].self) continue;
      left++;
      if (i % 3) fiber_resume(all[pick].self);
      else fiber_wake(all[pick].self), (void)fiber_run_ready();
    }
  }
  for (unsigned i = 0; i < MANY; i++) assert_int_equal(all[i].rounds, 5);
  assert_int_equal(fiber_count(), before);
}

__attribute__((noinline)) static size_t stack_left_deeper(void) {
  char big[100000];
  __asm__ volatile("" : : "r"(big) : "memory"); /* it must be there, and still be there after the call */
  size_t left = fiber_stack_left();
  __asm__ volatile("" : : "r"(big) : "memory");
  return left;
}

static void look_at_stack(void *argument) {
  size_t *left = argument;
  left[0] = fiber_stack_left();
  left[1] = stack_left_deeper();
  assert_true(fiber_running_since() <= purlin_ticks_ns());
  assert_true(fiber_running_since() + 5000000000u > purlin_ticks_ns());
}

static void test_stack_left(void **state) {
  (void)state;
  size_t left[2];
  assert_true(fiber_stack_left() == SIZE_MAX);
  assert_int_equal(fiber_running_since(), 0);
  start(look_at_stack, left);
  assert_in_range(left[0], FIBER_STACK_BYTES - 16384, FIBER_STACK_BYTES);
  assert_in_range(left[1], left[0] - 120000, left[0] - 100000);
}

/* Resident pages of this process. */
static long resident_pages(void) {
  long size = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "re");
  assert_non_null(file);
  assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
  (void)fclose(file);
  return resident;
}

static void use_deep_stack(void *argument) {
  volatile char deep[400 * 1024];
  for (size_t i = 0; i < sizeof deep; i += 64) deep[i] = 3;
  *(int *)argument += deep[64000];
  fiber_park();
}

static void remember_and_go_deep(void *argument) {
  fiber **slot = argument;
  int sum = 0;
  *slot = fiber_current();
  use_deep_stack(&sum);
  assert_int_equal(sum, 3);
}

static void test_pool_is_trimmed(void **state) {
  (void)state;
  enum { count = 100 };
  fiber *all[count];
  long before = resident_pages();
  for (size_t i = 0; i < count; i++) start(remember_and_go_deep, &all[i]);
  long during = resident_pages();
  for (size_t i = 0; i < count; i++) fiber_resume(all[i]);
  long after = resident_pages();
  if (FIBER_TSAN || getenv("LD_PRELOAD")) return; /* their own memory grows with ours and hides it, as valgrind's does */
  assert_true(during - before > count * 90);
  assert_true(after - before < count * 24); /* 32 KiB each, and what ASan adds */
}

static fiber *refused_self[8];
static size_t refused_count;

static void park_for_cap(void *argument) {
  (void)argument;
  refused_self[refused_count++] = fiber_current();
  fiber_park();
}

static void test_cap(void **state) {
  (void)state;
  refused_count = 0;
  size_t base = fiber_count();
  fiber_set_cap(base + 3);
  for (int i = 0; i < 3; i++) start(park_for_cap, NULL);
  assert_int_equal(fiber_start(park_for_cap, NULL), PURLIN_UNAVAILABLE);
  fiber_resume(refused_self[--refused_count]);
  start(park_for_cap, NULL);
  assert_int_equal(fiber_start(park_for_cap, NULL), PURLIN_UNAVAILABLE);
  while (refused_count) fiber_resume(refused_self[--refused_count]);
  fiber_set_cap(20000);
  assert_int_equal(fiber_count(), base);
}

/* Each fiber keeps its own rounding mode over a park. */
static void round_up(void *argument) {
  fiber **self = argument;
  *self = fiber_current();
  assert_int_equal(fesetround(FE_UPWARD), 0);
  fiber_park();
  assert_int_equal(fegetround(), FE_UPWARD);
  assert_int_equal(fesetround(FE_TONEAREST), 0);
}

static void test_float_control_is_kept(void **state) {
  (void)state;
  fiber *self = NULL;
  start(round_up, &self);
  assert_int_equal(fesetround(FE_TONEAREST), 0);
  assert_int_equal(fegetround(), FE_TONEAREST);
  fiber_resume(self);
  assert_int_equal(fegetround(), FE_TONEAREST);
}

static void jump(void *argument) {
  jmp_buf back;
  volatile int jumps = 0;
  if (setjmp(back) < 3) {
    jumps = jumps + 1;
    fiber_yield();
    longjmp(back, jumps);
  }
  *(int *)argument = jumps;
}

static void test_longjmp_inside(void **state) {
  (void)state;
  int jumps[2] = {0};
  start(jump, &jumps[0]);
  start(jump, &jumps[1]);
  while (fiber_run_ready()) continue;
  assert_int_equal(jumps[0], 3);
  assert_int_equal(jumps[1], 3);
}

static void *on_another_thread(void *argument) {
  bool *good = argument;
  steps s = {.name = "t", .parks = 1};
  if (fiber_thread_init() != PURLIN_OK || fiber_start(park_some, &s) != PURLIN_OK) return NULL;
  if (fiber_count() == 1 && fiber_count_all() >= 1) {
    fiber_wake(s.self);
    *good = fiber_run_ready() && s.done && fiber_count() == 0;
  }
  fiber_thread_end();
  return NULL;
}

static void test_threads_have_their_own(void **state) {
  (void)state;
  bool good = false;
  pthread_t thread;
  assert_int_equal(pthread_create(&thread, NULL, on_another_thread, &good), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_true(good);
}

/* ---- Mistakes: each in a process of its own, this program called with the number of the mistake, that must abort ---- */

static unsigned recurse(unsigned n) {
  volatile char frame[512];
  frame[n % sizeof frame] = (char)n;
  if (n == 0) return (unsigned)frame[0];
  return recurse(n - 1) + (unsigned)frame[n % sizeof frame];
}

static void overflow(void *argument) {
  fiber_set_name(fiber_current(), "registry.create_model");
  *(unsigned *)argument = recurse(100000000u);
}

static void do_overflow(void) {
  unsigned value = 0;
  if (fiber_start(overflow, &value) != PURLIN_OK) _exit(2);
}

static void write_to_nowhere(void *argument) {
  volatile char *const *nowhere = argument;
  **nowhere = 1;
}

static void do_ordinary_fault(void) {
  volatile char *nowhere = (volatile char *)(uintptr_t)64;
  if (fiber_start(write_to_nowhere, &nowhere) != PURLIN_OK) _exit(2);
}

static void do_park_outside(void) { fiber_park(); }

static void do_wake_twice(void) {
  if (fiber_start(keep_and_park, NULL) != PURLIN_OK) _exit(2);
  fiber_wake(kept);
  fiber_wake(kept);
}

static void do_resume_ready(void) {
  if (fiber_start(keep_and_park, NULL) != PURLIN_OK) _exit(2);
  fiber_wake(kept);
  fiber_resume(kept);
}

static void *wake_from_here(void *unused) {
  (void)unused;
  fiber_wake(kept);
  return NULL;
}

static void do_wake_elsewhere(void) {
  pthread_t thread;
  if (fiber_start(keep_and_park, NULL) != PURLIN_OK || pthread_create(&thread, NULL, wake_from_here, NULL) != 0) _exit(2);
  (void)pthread_join(thread, NULL);
}

static void resume_self(void *argument) {
  (void)argument;
  fiber_resume(fiber_current());
}

static void do_resume_inside(void) {
  if (fiber_start(resume_self, NULL) != PURLIN_OK) _exit(2);
}

static const struct {
  void (*mistake)(void);
  int signal;
  const char *message;
} mistakes[] = {
    {do_overflow, SIGABRT, "fiber overflowed its stack in registry.create_model\n"},
    {do_ordinary_fault, SIGSEGV, NULL},
    {do_park_outside, SIGABRT, "code that is not in a fiber tried to park\n"},
    {do_wake_twice, SIGABRT, "a fiber was woken that is not parked"},
    {do_resume_ready, SIGABRT, "a fiber was woken that is not parked"},
    {do_wake_elsewhere, SIGABRT, "a fiber was woken on another thread than its own"},
    {do_resume_inside, SIGABRT, "fiber_resume was called inside a fiber"},
};

static int make_mistake(const char *number) {
  struct rlimit none = {0, 0};
  (void)setrlimit(RLIMIT_CORE, &none);
  (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would exit instead */
  if (fiber_process_init() != PURLIN_OK || fiber_thread_init() != PURLIN_OK) return 2;
  mistakes[strtoul(number, NULL, 10)].mistake();
  return 0;
}

/* Returns the signal that ended the child, and what it wrote. */
static int mistake_ends(size_t index, char *output, size_t size) {
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  char number[8], program[4096];
  ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
  assert_true(length > 0);
  program[length] = 0;
  (void)snprintf(number, sizeof number, "%zu", index);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    if (dup2(ends[1], STDERR_FILENO) >= 0) (void)execl(program, program, number, (char *)NULL);
    _exit(3);
  }
  (void)close(ends[1]);
  size_t used = 0;
  for (ssize_t got; used + 1 < size && (got = read(ends[0], output + used, size - 1 - used)) != 0;)
    if (got > 0) used += (size_t)got;
    else if (errno != EINTR) break;
  output[used] = 0;
  (void)close(ends[0]);
  int status = 0;
  assert_int_equal(waitpid(child, &status, 0), child);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 1000 + WEXITSTATUS(status);
}

static void test_mistakes_abort(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
    char output[4096];
    int ended = mistake_ends(i, output, sizeof output);
    if (ended != mistakes[i].signal) print_message("%zu: %s\n", i, output);
    assert_int_equal(ended, mistakes[i].signal);
    if (mistakes[i].message) assert_non_null(strstr(output, mistakes[i].message));
    else assert_null(strstr(output, "overflowed"));
  }
}

static void nothing(void *argument) { (void)argument; }

static void park_for_ever(void *argument) {
  fiber **self = argument;
  *self = fiber_current();
  while (!enough) fiber_park();
}

/* Not a test of speed: prints what it measured, and that a pooled start makes no system call shows in the figure. */
static void test_prints_speed(void **state) {
  (void)state;
  enum { rounds = 100000 };
  uint64_t begun = purlin_ticks_ns();
  for (int i = 0; i < rounds; i++) start(nothing, NULL);
  uint64_t started = purlin_ticks_ns();
  fiber *self = NULL;
  enough = false;
  start(park_for_ever, &self);
  uint64_t parked = purlin_ticks_ns();
  for (int i = 0; i < rounds; i++) fiber_resume(self);
  uint64_t resumed = purlin_ticks_ns();
  enough = true;
  fiber_resume(self);
  print_message("fiber_start to its end: %.0f ns; resume and park: %.0f ns\n", (double)(started - begun) / (double)rounds,
                (double)(resumed - parked) / (double)rounds);
  assert_int_equal(fiber_count(), 0);
}

int main(int count, char **arguments) {
  if (count == 2) return make_mistake(arguments[1]);
  if (fiber_thread_init() != PURLIN_OK) return 1;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_runs_at_once),
      cmocka_unit_test_setup(test_resume_goes_on, forget_trail),
      cmocka_unit_test_setup(test_wakes_run_in_order, forget_trail),
      cmocka_unit_test_setup(test_nested_starts, forget_trail),
      cmocka_unit_test_setup(test_wake_from_a_fiber_waits_for_it, forget_trail),
      cmocka_unit_test(test_yield_goes_to_the_back),
      cmocka_unit_test(test_a_turn_ends),
      cmocka_unit_test(test_thousands),
      cmocka_unit_test(test_stack_left),
      cmocka_unit_test(test_pool_is_trimmed),
      cmocka_unit_test(test_cap),
      cmocka_unit_test(test_float_control_is_kept),
      cmocka_unit_test(test_longjmp_inside),
      cmocka_unit_test(test_threads_have_their_own),
      cmocka_unit_test(test_mistakes_abort),
      cmocka_unit_test(test_prints_speed),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  fiber_thread_end();
  return failed;
}
