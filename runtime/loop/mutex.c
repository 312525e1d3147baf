/* mutex.c: purlin_mutex: waiting parks the fiber. Fibers of all loops may share one.
 *
 * A spin lock guards the few words; it is held for some instructions. Ownership is handed over in the order of asking:
 * unlock gives it to the first waiter and then wakes it, on its own loop. A waiter is a node on its fiber's stack. */
#include "loop/context.h"
#include "loop/internal.h"
#include <sched.h>

typedef struct waiter {
  struct waiter *next, *previous;
  struct mutex *of;
  loop *home;
  fiber *who;
  bool granted; /* under the guard */
  loop_post_item wake;
} waiter;

typedef struct mutex {
  atomic_uint guard;
  bool held;
  const fiber *owner; /* NULL when it was locked outside a fiber */
  waiter *first, *last;
} mutex;

_Static_assert(sizeof(mutex) <= sizeof(purlin_mutex) && _Alignof(mutex) <= _Alignof(purlin_mutex),
               "the SDK's size is fixed");

static void guard_take(mutex *m) {
  for (unsigned tries = 1; atomic_exchange_explicit(&m->guard, 1, memory_order_acquire); tries++)
    while (atomic_load_explicit(&m->guard, memory_order_relaxed))
      if (tries++ % 64 == 0) (void)sched_yield(); /* its holder may have lost the processor */
}

static void guard_drop(mutex *m) { atomic_store_explicit(&m->guard, 0, memory_order_release); }

static void on_granted(void *argument) { fiber_wake(((waiter *)argument)->who); }

static bool leave_queue(purlin_ctx *ctx, void *argument) {
  (void)ctx;
  waiter *w = argument;
  mutex *m = w->of;
  guard_take(m);
  bool granted = w->granted;
  if (!granted) {
    if (w->previous) w->previous->next = w->next;
    else m->first = w->next;
    if (w->next) w->next->previous = w->previous;
    else m->last = w->previous;
  }
  guard_drop(m);
  return !granted; /* else another loop has posted the wake already, and we own the mutex */
}

purlin_status purlin_lock(purlin_ctx *ctx, purlin_mutex *opaque) {
  mutex *m = (mutex *)(void *)opaque;
  fiber *self = fiber_current();
  guard_take(m);
  if (!m->held) {
    m->held = true;
    m->owner = self;
    guard_drop(m);
    return PURLIN_OK;
  }
  if (self && m->owner == self) {
    guard_drop(m);
    return purlin_fail(ctx, PURLIN_INTERNAL, "the mutex is held by this fiber already");
  }
  if (!self) {
    guard_drop(m);
    context_assert_may_park();
  }
  waiter w = {.previous = m->last, .of = m, .home = ctx->loop, .who = self};
  w.wake.call = on_granted;
  w.wake.argument = &w;
  if (m->last) m->last->next = &w;
  else m->first = &w;
  m->last = &w;
  guard_drop(m);
  return context_park(ctx, leave_queue, &w);
}

void purlin_unlock(purlin_mutex *opaque) {
  mutex *m = (mutex *)(void *)opaque;
  guard_take(m);
  if (!m->held) context_defect("a mutex was unlocked that is not locked");
  waiter *w = m->first;
  if (!w) {
    m->held = false;
    m->owner = NULL;
    guard_drop(m);
    return;
  }
  m->first = w->next;
  if (w->next) w->next->previous = NULL;
  else m->last = NULL;
  m->owner = w->who;
  w->granted = true;
  loop *home = w->home; /* once the guard is dropped and the wake is posted, the waiter may be gone */
  guard_drop(m);
  if (home == loop_current()) fiber_wake(w->who);
  else loop_post(home, &w->wake);
}
