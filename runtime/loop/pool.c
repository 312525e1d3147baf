/* pool.c: two pools of threads for what must not run on a loop: computing and blocking.
 *
 * A piece of work lies on the stack of the fiber that waits for it, or where whoever starts it wants, so queueing allocates nothing; it
 * comes back to its loop by loop_post. Threads are made when work waits and none is idle, up to the pool's size, and stay. */
#include "core/arena.h"
#include "loop/internal.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define POOLS 2u

typedef struct offload {
  struct offload *next;
  purlin_work *work;
  void *argument;
  purlin_status status;
  loop *home;
  fiber *waiter; /* NULL: nobody waits yet */
  loop_post_item done;
  bool finished;
} offload;
_Static_assert(sizeof(offload) <= sizeof(purlin_offloaded) && _Alignof(offload) <= _Alignof(purlin_offloaded),
               "work lies in what the SDK gives for it");

typedef struct pool {
  const char *name;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  offload *first, *last;
  size_t queued, idle, thread_count;
  size_t most_threads, most_queued; /* 0 threads: as many as there are cores */
  pthread_t *threads;
  bool open;
} pool;

static pool pools[POOLS] = {
    [PURLIN_POOL_CPU] = {.name = "cpu",
                         .lock = PTHREAD_MUTEX_INITIALIZER,
                         .changed = PTHREAD_COND_INITIALIZER,
                         .most_queued = 1024},
    [PURLIN_POOL_BLOCKING] = {.name = "io",
                              .lock = PTHREAD_MUTEX_INITIALIZER,
                              .changed = PTHREAD_COND_INITIALIZER,
                              .most_threads = 16,
                              .most_queued = 1024},
};

bool thread_start(pthread_t *thread, void *(*run)(void *), void *argument) {
  sigset_t none, before;
  (void)sigfillset(&none);
  static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) (void)sigdelset(&none, faults[i]);
  if (pthread_sigmask(SIG_SETMASK, &none, &before) != 0) return false;
  int failed = pthread_create(thread, NULL, run, argument);
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return failed == 0;
}

static void on_done(void *argument) {
  offload *o = argument;
  loop_offload_ends(o->home);
  o->finished = true;
  if (o->waiter) fiber_wake(o->waiter);
}

/* The next piece of work; NULL when the pool closes and nothing is queued. Called and returns with the lock held. */
static offload *next_work(pool *p) {
  while (!p->first) {
    if (!p->open) return NULL;
    p->idle++;
    (void)pthread_cond_wait(&p->changed, &p->lock);
    p->idle--;
  }
  offload *o = p->first;
  p->first = o->next;
  if (!p->first) p->last = NULL;
  p->queued--;
  return o;
}

static void *pool_thread(void *argument) {
  pool *p = argument;
  char name[16];
  (void)snprintf(name, sizeof name, "purlin-%s", p->name);
  (void)pthread_setname_np(pthread_self(), name);
  (void)pthread_mutex_lock(&p->lock);
  for (offload *o = next_work(p); o; o = next_work(p)) {
    (void)pthread_mutex_unlock(&p->lock);
    o->status = o->work(o->argument);
    loop_post(o->home, &o->done); /* from here on it belongs to its fiber again */
    (void)pthread_mutex_lock(&p->lock);
  }
  (void)pthread_mutex_unlock(&p->lock);
  arena_thread_end();
  return NULL;
}

void loop_pool_size(purlin_pool which, size_t threads, size_t queue) {
  pool *p = &pools[which];
  p->most_threads = threads;
  p->most_queued = queue;
}

purlin_status pools_open(void) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  for (size_t i = 0; i < POOLS; i++) {
    pool *p = &pools[i];
    if (!p->most_threads) p->most_threads = cores > 0 ? (size_t)cores : 1;
    p->threads = calloc(p->most_threads, sizeof *p->threads);
    if (!p->threads) {
      pools_close();
      return PURLIN_UNAVAILABLE;
    }
    (void)pthread_mutex_lock(&p->lock);
    p->open = true;
    (void)pthread_mutex_unlock(&p->lock);
  }
  return PURLIN_OK;
}

void pools_close(void) {
  for (size_t i = 0; i < POOLS; i++) {
    pool *p = &pools[i];
    (void)pthread_mutex_lock(&p->lock);
    p->open = false;
    size_t count = p->thread_count;
    (void)pthread_cond_broadcast(&p->changed);
    (void)pthread_mutex_unlock(&p->lock);
    for (size_t k = 0; k < count; k++) (void)pthread_join(p->threads[k], NULL);
    free(p->threads);
    p->threads = NULL;
    p->thread_count = 0;
  }
}

static bool submit(pool *p, offload *o) {
  bool taken = false;
  (void)pthread_mutex_lock(&p->lock);
  if (!p->open || p->queued >= p->most_queued) goto out;
  if (p->idle <= p->queued && p->thread_count < p->most_threads) {
    if (thread_start(&p->threads[p->thread_count], pool_thread, p)) p->thread_count++;
    else if (p->thread_count == 0) goto out;
  }
  if (p->last) p->last->next = o;
  else p->first = o;
  p->last = o;
  p->queued++;
  (void)pthread_cond_signal(&p->changed);
  taken = true;
out:
  (void)pthread_mutex_unlock(&p->lock);
  return taken;
}

bool pool_start(purlin_pool which, purlin_work *work, void *argument, purlin_offloaded *offloaded) {
  offload *o = (offload *)offloaded;
  *o = (offload){.work = work, .argument = argument, .home = loop_current()};
  o->done = (loop_post_item){.call = on_done, .argument = o};
  if (!fiber_current() || !o->home) {
    o->status = work(argument);
    o->finished = true;
    return true;
  }
  if (!submit(&pools[which], o)) return false;
  loop_offload_begins(o->home);
  return true;
}

purlin_status pool_wait(purlin_offloaded *offloaded) {
  offload *o = (offload *)offloaded;
  if (!o->finished) {
    o->waiter = fiber_current();
    fiber_park();
  }
  return o->status;
}

bool pool_run(purlin_pool which, purlin_work *work, void *argument, purlin_status *result) {
  purlin_offloaded offloaded;
  if (!pool_start(which, work, argument, &offloaded)) return false;
  *result = pool_wait(&offloaded);
  return true;
}

purlin_status loop_offload(purlin_pool which, purlin_work *work, void *argument) {
  purlin_status status = PURLIN_OK;
  return pool_run(which, work, argument, &status) ? status : PURLIN_UNAVAILABLE;
}
