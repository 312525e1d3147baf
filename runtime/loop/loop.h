/* loop.h: the event-loop threads, one per core, and what crosses between threads.
 *
 * Each loop owns one uv_loop_t and everything that hangs on it: its listening sockets, fibers, database connections, Lua
 * states and curl handle. Other threads reach a loop only through loop_post(). */
#ifndef PURLIN_LOOP_LOOP_H
#define PURLIN_LOOP_LOOP_H

#include <purlin/context.h> /* purlin_pool, purlin_work */
#include <uv.h>

typedef struct loop loop;

/* Creates `count` loops and their threads; each thread waits. loop 0 runs on the calling thread (loops_run). */
PURLIN_CHECKED purlin_status loops_create(size_t count);
/* Runs loop 0 on the calling thread and the others on theirs, until loops_stop(). */
void loops_run(void);
/* From any thread (and from signal watchers): every loop ends when its handles are closed and its offloads are back, or
 * after 3 s; loops_run returns. Timers of ours and fibers that sleep do not hold it: drain before. */
void loops_stop(void);
/* After loops_run: joins threads, closes what is left, frees. */
void loops_destroy(void);

size_t loop_count(void);
loop *loop_at(size_t index);
loop *loop_current(void); /* of the calling thread; NULL on a pool thread */
size_t loop_index(const loop *l);
uv_loop_t *loop_uv(loop *l);
uint64_t loop_now_ms(loop *l); /* the cached clock of the loop */

/* Runs `call(argument)` on the loop, soon, in its own level (not in a fiber). From any thread. Wakes the loop once for
 * many posts. Never fails: `post` is embedded in the caller's object (intrusive, no allocation). */
typedef struct loop_post_item {
  struct loop_post_item *next;
  void (*call)(void *argument);
  void *argument;
} loop_post_item;
void loop_post(loop *l, loop_post_item *item);

/* Runs at the end of the current turn of this loop's callbacks, before it polls again (flushes, batches). Intrusive too. */
void loop_later(loop *l, loop_post_item *item);

/* Parks the running fiber for some time. PURLIN_OK; the caller decides about deadlines. Timers are a wheel with 1 ms ticks
 * driven by one uv timer. */
void loop_sleep(uint32_t milliseconds);

/* One-shot timers without allocation, for time-outs: intrusive, re-armed and cancelled in O(1), on their loop's thread. Zeroed
 * memory is a timer at rest. Never early by the loop's cached clock; timers of one millisecond run in any order. The call
 * may start and stop any timer, its own too. */
typedef struct loop_timer {
  struct loop_timer *next, **previous;
  uint64_t due_ms;
  void (*call)(struct loop_timer *timer);
} loop_timer;
void loop_timer_start(loop *l, loop_timer *timer, uint64_t after_ms, void (*call)(loop_timer *timer));
void loop_timer_stop(loop_timer *timer);
bool loop_timer_active(const loop_timer *timer);

/* Loop-local memory: see purlin_loop_local. */
void *loop_local(loop *l, const void *key, size_t size);

/* Runs the work on a pool's thread while the running fiber parks; without a fiber (at start-up) it runs at once. */
PURLIN_CHECKED purlin_status loop_offload(purlin_pool pool, purlin_work *work, void *argument);
/* Sizes, before loops_create: threads per pool and how many works may wait. Defaults: cores, 16; 1024 each. */
void loop_pool_size(purlin_pool pool, size_t threads, size_t queue);

#endif
