/* loop.c: the loops' threads, what one turn of a loop does, posts, and how everything ends. */
#include "core/arena.h"
#include "loop/internal.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_PASSES 8 /* of posts, fibers and later-items that make each other, before I/O has its turn again */

typedef enum gate { GATE_SHUT, GATE_OPEN, GATE_ABANDONED } gate;

static loop *loops;
static size_t loops_count;
static _Thread_local loop *here __attribute__((tls_model("initial-exec")));

/* Threads wait at the gate between loops_create and loops_run. */
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_changed = PTHREAD_COND_INITIALIZER;
static gate gate_state;

size_t loop_count(void) { return loops_count; }
loop *loop_at(size_t index) { return &loops[index]; }
loop *loop_current(void) { return here; }
size_t loop_index(const loop *l) { return l->index; }
uv_loop_t *loop_uv(loop *l) { return &l->uv; }
uint64_t loop_now_ms(loop *l) { return uv_now(&l->uv); }

/* ---- One turn ---- */

void loop_post(loop *l, loop_post_item *item) {
  loop_post_item *newest = atomic_load_explicit(&l->posted, memory_order_relaxed);
  do item->next = newest;
  while (!atomic_compare_exchange_weak_explicit(&l->posted, &newest, item, memory_order_release, memory_order_relaxed));
  /* Whoever made the stack non-empty wakes the loop. A loop looks at its posts before it polls, so it wakes itself never. */
  if (!newest && l != here) (void)uv_async_send(&l->wake);
}

void loop_later(loop *l, loop_post_item *item) {
  item->next = NULL;
  *l->later_last = item;
  l->later_last = &item->next;
}

static void run_items(loop_post_item *item) {
  while (item) {
    loop_post_item *next = item->next; /* the call may use the item again, or free it */
    item->call(item->argument);
    item = next;
  }
}

static void run_posted(loop *l) {
  if (!atomic_load_explicit(&l->posted, memory_order_relaxed)) return;
  loop_post_item *newest = atomic_exchange_explicit(&l->posted, NULL, memory_order_acquire), *oldest = NULL;
  while (newest) {
    loop_post_item *next = newest->next;
    newest->next = oldest;
    oldest = newest;
    newest = next;
  }
  run_items(oldest);
}

static void run_later(loop *l) {
  loop_post_item *first = l->later_first;
  l->later_first = NULL;
  l->later_last = &l->later_first;
  run_items(first);
}

static bool anything_left(loop *l) {
  return fiber_any_ready() || l->later_first || atomic_load_explicit(&l->posted, memory_order_relaxed);
}

static void settle(loop *l) {
  for (int pass = 0; pass < SETTLE_PASSES && anything_left(l); pass++) {
    run_posted(l);
    (void)fiber_run_ready();
    bool spent = fiber_any_ready(); /* they have had their millisecond */
    run_later(l);
    if (spent) break;
  }
}

static void on_busy(uv_idle_t *handle) { (void)handle; }

static void on_settle(uv_prepare_t *handle) {
  loop *l = handle->data;
  settle(l);
  if (anything_left(l)) (void)uv_idle_start(&l->busy, on_busy);
  else (void)uv_idle_stop(&l->busy);
}

static void on_wake(uv_async_t *handle) { (void)handle; } /* on_settle does the work */

/* ---- Ending ---- */

/* An ending loop runs until no handle but our own is active and all offloads are back. */
static void hold(loop *l) {
  if (l->stopping && l->offloads == 0) uv_unref((uv_handle_t *)&l->wake);
  else uv_ref((uv_handle_t *)&l->wake);
}

void loop_offload_begins(loop *l) {
  l->offloads++;
  if (l->stopping) hold(l);
}

void loop_offload_ends(loop *l) {
  l->offloads--;
  if (l->stopping) hold(l);
}

static void on_grace_over(uv_timer_t *timer) { uv_stop(timer->loop); }

static void on_stop(void *argument) {
  loop *l = argument;
  l->stopping = true;
  (void)uv_timer_start(&l->grace, on_grace_over, LOOP_END_GRACE_MS, 0);
  hold(l);
}

void loops_stop(void) {
  for (size_t i = 0; i < loops_count; i++)
    if (!atomic_exchange(&loops[i].stop_asked, true)) loop_post(&loops[i], &loops[i].stop_item);
}

static bool is_ours(const loop *l, const uv_handle_t *handle) {
  const char *at = (const char *)handle;
  return at >= (const char *)l && at < (const char *)(l + 1);
}

static void close_if_foreign(uv_handle_t *handle, void *argument) {
  if (!is_ours(argument, handle) && !uv_is_closing(handle)) uv_close(handle, NULL);
}

/* Everything of the loop's thread but our own handles, which other threads may still post through. */
static void end_on_thread(loop *l) {
  for (int pass = 0; pass < 100 && anything_left(l); pass++) settle(l);
  uv_walk(&l->uv, close_if_foreign, l);
  l->stopping = true;
  uv_unref((uv_handle_t *)&l->wake);
  (void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

static void end_thread(void) {
  context_thread_end();
  arena_thread_end();
  fiber_thread_end();
}

static void *loop_thread(void *argument) {
  loop *l = argument;
  char name[16];
  (void)snprintf(name, sizeof name, "purlin-loop-%u", (unsigned)l->index);
  (void)pthread_setname_np(pthread_self(), name);
  here = l;
  (void)pthread_mutex_lock(&gate_lock);
  while (gate_state == GATE_SHUT) (void)pthread_cond_wait(&gate_changed, &gate_lock);
  bool run = gate_state == GATE_OPEN;
  (void)pthread_mutex_unlock(&gate_lock);
  if (run) {
    if (fiber_thread_init() != PURLIN_OK) context_defect("no memory for the signal stack of a loop");
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    end_on_thread(l);
  }
  end_thread();
  return NULL;
}

static void set_gate(gate state) {
  (void)pthread_mutex_lock(&gate_lock);
  gate_state = state;
  (void)pthread_cond_broadcast(&gate_changed);
  (void)pthread_mutex_unlock(&gate_lock);
}

void loops_run(void) {
  set_gate(GATE_OPEN);
  (void)uv_run(&loops[0].uv, UV_RUN_DEFAULT);
  end_on_thread(&loops[0]);
}

/* ---- Making and freeing ---- */

static bool init_handles(loop *l) {
  if (!wheel_init(l)) return false;
  if (uv_async_init(&l->uv, &l->wake, on_wake) != 0) return false;
  if (uv_prepare_init(&l->uv, &l->settle) != 0 || uv_prepare_start(&l->settle, on_settle) != 0) return false;
  if (uv_idle_init(&l->uv, &l->busy) != 0 || uv_timer_init(&l->uv, &l->grace) != 0) return false;
  l->settle.data = l;
  uv_unref((uv_handle_t *)&l->settle);
  uv_unref((uv_handle_t *)&l->busy);
  uv_unref((uv_handle_t *)&l->grace);
  return true;
}

static void close_any(uv_handle_t *handle, void *argument) {
  (void)argument;
  if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void free_loop(loop *l) {
  uv_walk(&l->uv, close_any, NULL);
  (void)uv_run(&l->uv, UV_RUN_DEFAULT);
  (void)uv_loop_close(&l->uv);
  local_free(&l->locals);
}

static bool init_loop(loop *l, size_t index) {
  l->index = index;
  l->later_last = &l->later_first;
  l->stop_item.call = on_stop;
  l->stop_item.argument = l;
  if (uv_loop_init(&l->uv) != 0) return false;
  if (init_handles(l) && (index == 0 || thread_start(&l->thread, loop_thread, l))) {
    l->has_thread = index > 0;
    return true;
  }
  free_loop(l);
  return false;
}

purlin_status loops_create(size_t count) {
  if (loops || count == 0) return PURLIN_INTERNAL;
  context_register_origin();
  (void)signal(SIGPIPE, SIG_IGN); /* a peer that has gone is an error of write, not the end of the process */
  purlin_status status = fiber_process_init();
  if (status == PURLIN_OK) status = fiber_thread_init();
  if (status == PURLIN_OK) status = pools_open();
  if (status != PURLIN_OK) return status;
  loops = aligned_alloc(_Alignof(loop), count * sizeof(loop));
  if (!loops) {
    pools_close();
    return PURLIN_UNAVAILABLE;
  }
  memset(loops, 0, count * sizeof(loop));
  set_gate(GATE_SHUT);
  here = &loops[0];
  for (size_t i = 0; i < count; i++) {
    if (!init_loop(&loops[i], i)) {
      loops_destroy();
      return PURLIN_UNAVAILABLE;
    }
    loops_count = i + 1;
  }
  return PURLIN_OK;
}

void loops_destroy(void) {
  if (!loops) return;
  (void)pthread_mutex_lock(&gate_lock);
  if (gate_state == GATE_SHUT) gate_state = GATE_ABANDONED;
  (void)pthread_cond_broadcast(&gate_changed);
  (void)pthread_mutex_unlock(&gate_lock);
  for (size_t i = 0; i < loops_count; i++)
    if (loops[i].has_thread) (void)pthread_join(loops[i].thread, NULL);
  pools_close();
  for (size_t i = 0; i < loops_count; i++) free_loop(&loops[i]);
  free(loops);
  loops = NULL;
  loops_count = 0;
  here = NULL;
  end_thread();
}
