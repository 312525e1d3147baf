/* internal.h: what the files of loop/ share; nobody else includes it. */
#ifndef PURLIN_LOOP_INTERNAL_H
#define PURLIN_LOOP_INTERNAL_H

#include "core/buffer.h"
#include "fiber/fiber.h"
#include "loop/loop.h"
#include <pthread.h>
#include <stdatomic.h>

/* How long an ending loop waits for handles that nobody closes. */
#define LOOP_END_GRACE_MS 3000u

/* ---- timer.c ---- */

#define WHEEL_LEVELS 7u /* of 64 slots: 2^42 ms are 139 years of uptime */
#define WHEEL_SLOTS 64u

typedef struct timer_wheel {
  uint64_t elapsed_ms;             /* everything due until here has run */
  uint64_t armed_ms;               /* when the uv timer fires; UINT64_MAX: it rests. Nothing happens earlier than this */
  uint64_t occupied[WHEEL_LEVELS]; /* a bit per slot that may hold timers */
  loop_timer *slots[WHEEL_LEVELS][WHEEL_SLOTS];
  uv_timer_t driver;
} timer_wheel;

PURLIN_CHECKED bool wheel_init(loop *l);

/* ---- local.c ---- */

typedef struct local_entry {
  const void *key;
  void *memory;
  size_t size;
} local_entry;

typedef struct local_table {
  local_entry *entries; /* open addressing; a power of two of them */
  size_t capacity, count;
} local_table;

void local_free(local_table *table);

/* ---- loop.c ---- */

struct loop {
  /* Written by other threads: a stack of posts, newest first. On a cache line of its own. */
  _Alignas(64) _Atomic(loop_post_item *) posted;
  atomic_bool stop_asked;

  _Alignas(64) uv_loop_t uv;
  size_t index;
  pthread_t thread;
  bool has_thread;
  uv_async_t wake;     /* another thread posted */
  uv_prepare_t settle; /* runs posts, ready fibers and later-items before each poll */
  uv_idle_t busy;      /* active while some of those are left, so that the poll does not wait */
  uv_timer_t grace;
  loop_post_item *later_first, **later_last;
  loop_post_item stop_item;
  size_t offloads; /* on their way; the loop does not end before they are back */
  bool stopping;
  timer_wheel wheel;
  local_table locals;
};

/* Keeps an ending loop alive for offloads. */
void loop_offload_begins(loop *l);
void loop_offload_ends(loop *l);

/* ---- pool.c: the threads that offloaded work runs on ---- */

PURLIN_CHECKED purlin_status pools_open(void);
/* loop_offload that tells a full queue (false) from what the work returned. */
PURLIN_CHECKED bool pool_run(purlin_pool which, purlin_work *work, void *argument, purlin_status *result);
/* Its halves: purlin_offload_start, false for a full queue, and purlin_offload_wait. */
PURLIN_CHECKED bool pool_start(purlin_pool which, purlin_work *work, void *argument, purlin_offloaded *offloaded);
PURLIN_CHECKED purlin_status pool_wait(purlin_offloaded *offloaded);
void pools_close(void); /* finishes what is queued, then joins */
/* Starts a thread on which only the signals of faults arrive, so that the others go to the main thread. */
PURLIN_CHECKED bool thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

/* ---- context.c ---- */

/* Says what code did that it must not do, in which operation, and aborts. */
__attribute__((noreturn)) void context_defect(const char *message);

/* ---- origin.c ---- */

void context_register_origin(void); /* tells observe/ how to read a context */

/* ---- memory.c ---- */

/* The calling thread's buffer, empty; it serves all its fibers, so whoever uses it must not park meanwhile. */
buffer *context_scratch(void);
void context_thread_end(void); /* frees it */

#endif
