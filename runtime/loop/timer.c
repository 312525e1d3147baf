/* timer.c: time-outs without allocation: a hierarchical wheel driven by one uv timer.
 *
 * Level 0 has a slot per millisecond of the current 64 ms, level 1 one per 64 ms of the current 4 s, and so on. A timer
 * lies on the level of the highest group of six bits in which its time differs from the wheel's; when the wheel reaches
 * its slot it moves to a lower level, or runs. Starting and stopping are a few instructions; the uv timer is touched only
 * when something falls due earlier than it is armed for, and stopping leaves it alone, so a time-out that is started and
 * stopped per request costs at most one empty turn later. Without timers nothing ticks. */
#include "loop/internal.h"

#define LATEST_MS (((uint64_t)1 << (6 * WHEEL_LEVELS)) - 1)

static void unlink_timer(loop_timer *timer) {
  *timer->previous = timer->next;
  if (timer->next) timer->next->previous = timer->previous;
  timer->previous = NULL;
  timer->next = NULL;
}

static void link_timer(loop_timer **head, loop_timer *timer) {
  timer->next = *head;
  timer->previous = head;
  if (*head) (*head)->previous = &timer->next;
  *head = timer;
}

/* Puts a timer that is due after elapsed_ms into its slot; returns when the wheel must look at that slot. */
static uint64_t place(timer_wheel *wheel, loop_timer *timer) {
  uint64_t differing = (timer->due_ms ^ wheel->elapsed_ms) | (WHEEL_SLOTS - 1);
  unsigned level = (63u - (unsigned)__builtin_clzll(differing)) / 6;
  unsigned shift = 6 * level;
  unsigned slot = (unsigned)(timer->due_ms >> shift) % WHEEL_SLOTS;
  link_timer(&wheel->slots[level][slot], timer);
  wheel->occupied[level] |= (uint64_t)1 << slot;
  return timer->due_ms >> shift << shift;
}

/* The next slot that holds timers: false when there is none. Everything on a lower level comes before all of a higher. */
static bool next_slot(timer_wheel *wheel, unsigned *level, unsigned *slot, uint64_t *when_ms) {
  for (unsigned i = 0; i < WHEEL_LEVELS; i++) {
    unsigned shift = 6 * i, current = (unsigned)(wheel->elapsed_ms >> shift) % WHEEL_SLOTS;
    uint64_t ahead = wheel->occupied[i] & ~(((uint64_t)2 << current) - 1);
    for (; ahead; ahead &= ahead - 1) {
      unsigned found = (unsigned)__builtin_ctzll(ahead);
      if (!wheel->slots[i][found]) { /* all of it was stopped meanwhile */
        wheel->occupied[i] &= ~((uint64_t)1 << found);
        continue;
      }
      *level = i;
      *slot = found;
      *when_ms = (wheel->elapsed_ms >> shift >> 6 << 6 | found) << shift;
      return true;
    }
  }
  return false;
}

/* Empties a slot whose time has come: runs what is due, moves the others down. */
static void take_slot(timer_wheel *wheel, unsigned level, unsigned slot) {
  loop_timer *taken = wheel->slots[level][slot];
  wheel->slots[level][slot] = NULL;
  wheel->occupied[level] &= ~((uint64_t)1 << slot);
  if (taken) taken->previous = &taken; /* so that a callback may stop any of them */
  while (taken) {
    loop_timer *timer = taken;
    unlink_timer(timer);
    if (timer->due_ms <= wheel->elapsed_ms) timer->call(timer);
    else (void)place(wheel, timer);
  }
}

static void on_driver(uv_timer_t *driver);

static void arm(loop *l, uint64_t when_ms) {
  uint64_t now_ms = uv_now(&l->uv);
  l->wheel.armed_ms = when_ms;
  (void)uv_timer_start(&l->wheel.driver, on_driver, when_ms > now_ms ? when_ms - now_ms : 0, 0);
}

static void on_driver(uv_timer_t *driver) {
  loop *l = driver->data;
  timer_wheel *wheel = &l->wheel;
  uint64_t now_ms = uv_now(&l->uv), when_ms = 0;
  unsigned level = 0, slot = 0;
  wheel->armed_ms = 0; /* until we are through, starting a timer neither moves elapsed_ms nor arms */
  bool left = next_slot(wheel, &level, &slot, &when_ms);
  for (; left && when_ms <= now_ms; left = next_slot(wheel, &level, &slot, &when_ms)) {
    wheel->elapsed_ms = when_ms;
    take_slot(wheel, level, slot);
  }
  wheel->elapsed_ms = now_ms;
  wheel->armed_ms = UINT64_MAX;
  if (left) arm(l, when_ms);
}

bool wheel_init(loop *l) {
  l->wheel.elapsed_ms = uv_now(&l->uv);
  l->wheel.armed_ms = UINT64_MAX;
  l->wheel.driver.data = l;
  if (uv_timer_init(&l->uv, &l->wheel.driver) != 0) return false;
  uv_unref((uv_handle_t *)&l->wheel.driver);
  return true;
}

void loop_timer_start(loop *l, loop_timer *timer, uint64_t after_ms, void (*call)(loop_timer *timer)) {
  timer_wheel *wheel = &l->wheel;
  uint64_t now_ms = uv_now(&l->uv);
  if (timer->previous) unlink_timer(timer);
  if (now_ms < wheel->armed_ms) wheel->elapsed_ms = now_ms; /* nothing is due before armed_ms */
  uint64_t due_ms = after_ms < LATEST_MS - now_ms ? now_ms + after_ms : LATEST_MS;
  timer->due_ms = due_ms > wheel->elapsed_ms ? due_ms : wheel->elapsed_ms + 1;
  timer->call = call;
  uint64_t when_ms = place(wheel, timer);
  if (when_ms < wheel->armed_ms) arm(l, when_ms);
}

void loop_timer_stop(loop_timer *timer) {
  if (timer->previous) unlink_timer(timer);
}

bool loop_timer_active(const loop_timer *timer) { return timer->previous != NULL; }

typedef struct sleeper {
  loop_timer timer;
  fiber *who;
} sleeper;

static void on_slept(loop_timer *timer) { fiber_wake(((sleeper *)(void *)timer)->who); }

void loop_sleep(uint32_t milliseconds) {
  loop *l = loop_current();
  if (milliseconds == 0) {
    fiber_yield();
    return;
  }
  sleeper s = {.who = fiber_current()};
  uv_update_time(&l->uv); /* the cached clock may be behind, and we would sleep too short */
  loop_timer_start(l, &s.timer, (uint64_t)milliseconds + 1, on_slept);
  fiber_park();
}
