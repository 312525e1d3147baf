/* budget.h: how long a script may run.
 *
 * Counting instructions by a hook would double the cost of every script. Instead each thread that runs Lua announces the running
 * script in a slot, and one watchdog thread looks at the slots every few milliseconds. A script that has used its CPU time, or has
 * passed its deadline, is marked as stopped and its thread gets a signal; the handler, on the very thread that runs the script, arms
 * a hook that raises an error at each further instruction, so that no pcall catches it for long. (lua_sethook may be called from a
 * signal handler; from another thread it could meet memory that the collector has just freed.)
 *
 * CPU time is that of the thread, asked by the watchdog, so a machine that is busy with others stops nobody. It counts from the
 * first tick that sees the script: a limit is enforced late by at most two ticks. */
#ifndef PURLIN_LUA_BUDGET_H
#define PURLIN_LUA_BUDGET_H

#include <purlin/base.h>
#include <lua.h>
#include <pthread.h>
#include <stdatomic.h>

enum { BUDGET_TICK_MS = 5 };

typedef enum budget_stop { BUDGET_RUNS = 0, BUDGET_CPU = 1, BUDGET_DEADLINE = 2, BUDGET_CANCELLED = 3 } budget_stop;

/* Of one run of a script; it belongs to the run. */
typedef struct budget {
  uint64_t cpu_limit_ns, cpu_used_ns;
  uint64_t deadline_ns; /* purlin_ticks_ns; UINT64_MAX: none */
  uint64_t started_ns;  /* when it began or went on */
  budget_stop stop;
} budget;

/* Of one thread. Only the thread itself and the watchdog touch it. */
typedef struct budget_slot {
  _Alignas(64) _Atomic(lua_State *) running; /* the coroutine that runs; NULL: none */
  _Atomic uint64_t sequence;                 /* a number for each stretch that a script runs without parking */
  _Atomic uint64_t cpu_left_ns, deadline_ns;
  _Atomic uint64_t stop;                       /* sequence * 4 + budget_stop */
  _Atomic uint64_t seen_sequence, seen_cpu_ns; /* the watchdog's first sight of a stretch: the thread's CPU time then */
  _Atomic pthread_t thread;                    /* whose it is; see budget_claim */
} budget_slot;

/* Starts the watchdog for `count` slots (the loops, then one for loading). Again after budget_end. */
PURLIN_CHECKED purlin_status budget_begin(size_t count);
void budget_end(void);
budget_slot *budget_slot_at(size_t index);
/* From now on the slot is the calling thread's, which then lets the watchdog's signal through. */
budget_slot *budget_claim(size_t index);

/* A script begins, or goes on after it was parked, on this thread as the coroutine L; and stops doing so. */
void budget_resume(budget_slot *slot, budget *b, lua_State *L);
void budget_pause(budget_slot *slot, budget *b);
/* Another coroutine of the running script goes on. */
void budget_switch(budget_slot *slot, lua_State *L);

/* Why the running script must stop. */
static inline budget_stop budget_stopped(const budget_slot *slot) {
  uint64_t stop = atomic_load_explicit(&slot->stop, memory_order_relaxed);
  return stop >> 2 == atomic_load_explicit(&slot->sequence, memory_order_relaxed) ? (budget_stop)(stop & 3) : BUDGET_RUNS;
}
/* Stops the running script, as the watchdog would. */
void budget_stop_now(budget_slot *slot, budget_stop why);
/* Raises the error that ends a stopped script, and arms the hook on L. Returns if nothing stopped it. */
void budget_check(budget_slot *slot, lua_State *L);
const char *budget_stop_text(budget_stop why);

#endif
