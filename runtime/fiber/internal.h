/* internal.h: what the files of fiber/ share; nobody else includes it. */
#ifndef PURLIN_FIBER_INTERNAL_H
#define PURLIN_FIBER_INTERNAL_H

#include "fiber/fiber.h"
#include <signal.h>
#include <stdatomic.h>

#define FIBER_GUARD_BYTES (64u * 1024u) /* costs address space only; a big frame does not jump over it */
#define FIBER_KEEP_BYTES (32u * 1024u)  /* what a pooled stack keeps */
#define FIBER_POOL_MOST 512u            /* stacks kept per thread */
#define FIBER_DEFAULT_CAP 20000u
#define FIBER_TURN_NS 1000000u /* fiber_run_ready goes back to the loop after this long */

typedef enum fiber_state {
  FIBER_ENDED, /* in the pool, or about to be */
  FIBER_RUNNING,
  FIBER_OUTER, /* has started another one, which runs */
  FIBER_PARKED,
  FIBER_READY /* woken, waits in the queue */
} fiber_state;

/* Lives at the top of its own stack's mapping:  guard | low ... high | struct fiber | end */
typedef struct fiber_thread fiber_thread;

struct fiber {
  void *sp;       /* while it does not run */
  fiber *next;    /* in the ready queue or in the pool */
  fiber *resumer; /* goes on when this one parks or ends */
  fiber_state state;
  bool went_deep; /* deeper than FIBER_KEEP_BYTES, as far as seen when parking */
  void (*run)(void *argument);
  void *argument;
  void *data;
  const char *name;
  uint64_t running_since;
  const fiber_thread *home;
  char *low, *high;
  void *fake_stack; /* ASan's */
  void *tsan_fiber;
  unsigned valgrind_stack;
};

/* Everything fibers keep per thread. */
struct fiber_thread {
  fiber *current;  /* NULL: the thread's own stack */
  fiber *previous; /* who was left by the last switch */
  fiber base;      /* stands for the thread's own stack */
  fiber *ready_first, *ready_last;
  fiber *pool;
  size_t pool_count;
  atomic_size_t live; /* written by this thread only, read by fiber_count_all */
  void *alternate_stack;
  size_t alternate_size;
  bool listed;
  fiber_thread *list_next, **list_previous;
};

/* libpurlin is linked, never dlopen'ed, so its thread-local memory has a fixed place: no call to find it. */
extern _Thread_local fiber_thread fiber_here __attribute__((tls_model("initial-exec"), visibility("hidden")));

/* switch_*.S */
void fiber_switch(void **save, void *to);
void fiber_entry(void);
/* fiber.c; called by fiber_entry, never returns */
__attribute__((noreturn)) void fiber_main(fiber *f);

/* stack.c: an idle fiber with its stack ready to be entered, from the pool or new; NULL at the cap or without memory.
 * stack_give trims it and takes it back; both on the thread that runs it. */
fiber *stack_take(fiber_thread *t);
void stack_give(fiber_thread *t, fiber *f);
void stack_drop_pool(fiber_thread *t);

/* Writes a message to standard error, without allocating, and aborts. */
__attribute__((noreturn)) void fiber_defect(const char *message, const char *name);

#endif
