/* fiber.c: starting, parking, waking: who runs on this thread. */
#include "fiber/annotate.h"
#include <purlin/context.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Thread_local fiber_thread fiber_here;

void fiber_defect(const char *message, const char *name) {
  const char *parts[] = {message, name ? " in " : "", name ? name : "", "\n"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (write(STDERR_FILENO, parts[i], strlen(parts[i])) < 0) break;
  abort();
}

/* The one place where stacks change. */
FIBER_NO_ASAN __attribute__((noinline)) static void switch_stacks(fiber_thread *t, fiber *from, fiber *to, bool ending) {
  t->previous = from;
  annotate_leave(from, to, ending);
  fiber_switch(&from->sp, to->sp);
  annotate_arrive(from, t->previous);
}

/* What a stack runs for as long as it is mapped: one fiber after the other. */
FIBER_NO_ASAN void fiber_main(fiber *f) {
  fiber_thread *t = &fiber_here;
  annotate_arrive(f, t->previous);
  for (;;) {
    f->run(f->argument);
    f->state = FIBER_ENDED;
    switch_stacks(t, f, f->resumer, true);
  }
}

static void count_live(fiber_thread *t, bool more) {
  size_t live = atomic_load_explicit(&t->live, memory_order_relaxed);
  atomic_store_explicit(&t->live, more ? live + 1 : live - 1, memory_order_relaxed);
}

/* Runs `f` until it parks or ends; then the caller goes on. Returns when `f` began to run. */
static uint64_t enter(fiber_thread *t, fiber *f) {
  fiber *outer = t->current;
  uint64_t since = purlin_ticks_ns();
  f->resumer = outer ? outer : &t->base;
  f->state = FIBER_RUNNING;
  f->running_since = since;
  if (outer) outer->state = FIBER_OUTER;
  t->current = f;
  switch_stacks(t, f->resumer, f, false);
  t->current = outer;
  if (outer) outer->state = FIBER_RUNNING;
  if (f->state == FIBER_ENDED) {
    count_live(t, false);
    annotate_end(f);
    stack_give(t, f);
  }
  return since;
}

purlin_status fiber_start(void (*run)(void *), void *argument) {
  fiber_thread *t = &fiber_here;
  fiber *f = stack_take(t);
  if (!f) return PURLIN_UNAVAILABLE;
  f->run = run;
  f->argument = argument;
  f->data = NULL;
  f->name = "a fiber without a name";
  annotate_begin(f);
  count_live(t, true);
  (void)enter(t, f);
  return PURLIN_OK;
}

static void leave(fiber_thread *t, fiber *f) {
  if ((size_t)(f->high - (char *)__builtin_frame_address(0)) > FIBER_KEEP_BYTES) f->went_deep = true;
  switch_stacks(t, f, f->resumer, false);
}

void fiber_park(void) {
  fiber_thread *t = &fiber_here;
  fiber *f = t->current;
  if (!f) fiber_defect("code that is not in a fiber tried to park", NULL);
  f->state = FIBER_PARKED;
  leave(t, f);
}

/* Stops the mistakes that would otherwise show as a broken queue much later. */
static void check_wakeable(const fiber_thread *t, const fiber *f) {
  if (f->home != t) fiber_defect("a fiber was woken on another thread than its own; loop_post is for that", f->name);
  if (f->state != FIBER_PARKED) fiber_defect("a fiber was woken that is not parked", f->name);
}

void fiber_resume(fiber *f) {
  fiber_thread *t = &fiber_here;
  if (t->current) fiber_defect("fiber_resume was called inside a fiber; fiber_wake is for that", t->current->name);
  check_wakeable(t, f);
  (void)enter(t, f);
}

static void queue(fiber_thread *t, fiber *f) {
  f->state = FIBER_READY;
  f->next = NULL;
  if (t->ready_last) t->ready_last->next = f;
  else t->ready_first = f;
  t->ready_last = f;
}

void fiber_wake(fiber *f) {
  check_wakeable(&fiber_here, f);
  queue(&fiber_here, f);
}

void fiber_yield(void) {
  fiber_thread *t = &fiber_here;
  fiber *f = t->current;
  if (!f) fiber_defect("code that is not in a fiber tried to yield", NULL);
  queue(t, f);
  leave(t, f);
}

bool fiber_run_ready(void) {
  fiber_thread *t = &fiber_here;
  if (t->current) fiber_defect("fiber_run_ready was called inside a fiber", t->current->name);
  uint64_t first = 0;
  for (fiber *f = t->ready_first; f; f = t->ready_first) {
    t->ready_first = f->next;
    if (!t->ready_first) t->ready_last = NULL;
    uint64_t since = enter(t, f);
    if (!first) first = since;
    else if (since - first > FIBER_TURN_NS) break;
  }
  return first != 0;
}

bool fiber_any_ready(void) { return fiber_here.ready_first != NULL; }
fiber *fiber_current(void) { return fiber_here.current; }
bool fiber_is_parked(const fiber *f) { return f->state == FIBER_PARKED; }
void fiber_set_data(fiber *f, void *data) { f->data = data; }
void *fiber_data(const fiber *f) { return f->data; }
void fiber_set_name(fiber *f, const char *name) { f->name = name; }
size_t fiber_count(void) { return atomic_load_explicit(&fiber_here.live, memory_order_relaxed); }

size_t fiber_stack_left(void) {
  const fiber *f = fiber_here.current;
  return f ? (size_t)((char *)__builtin_frame_address(0) - f->low) : SIZE_MAX;
}

uint64_t fiber_running_since(void) {
  const fiber *f = fiber_here.current;
  return f ? f->running_since : 0;
}
