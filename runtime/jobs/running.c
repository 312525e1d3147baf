/* running.c: the attempts of this process, for whoever must find one: the lease-keeper, a cancellation, the drain. */
#include "jobs/internal.h"

#include <pthread.h>
#include <stdlib.h>

static struct {
  pthread_mutex_t lock; /* never held across a park */
  attempt *first;
} running = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* From one thread to the loop of an attempt, which may be gone when it arrives. */
typedef struct stop_message {
  loop_post_item post;
  int64_t id, number;
  stop_reason why;
} stop_message;

static void lock(void) { (void)pthread_mutex_lock(&running.lock); }
static void unlock(void) { (void)pthread_mutex_unlock(&running.lock); }

void running_add(attempt *a) {
  lock();
  a->previous = NULL;
  a->next = running.first;
  if (running.first != NULL) running.first->previous = a;
  running.first = a;
  unlock();
}

void running_remove(attempt *a) {
  lock();
  if (a->previous != NULL) a->previous->next = a->next;
  else running.first = a->next;
  if (a->next != NULL) a->next->previous = a->previous;
  unlock();
}

static attempt *find(int64_t id, int64_t number) {
  attempt *a = running.first;
  while (a != NULL && (a->id != id || (number != 0 && a->number != number))) a = a->next;
  return a;
}

/* On the attempt's loop: it cannot end meanwhile, since only this loop ends it. */
static void deliver_stop(void *argument) {
  stop_message *message = argument;
  lock();
  attempt *a = find(message->id, message->number);
  unlock();
  if (a != NULL && a->claimer->loop == loop_current()) {
    if (a->stop == STOP_NONE || message->why == STOP_LOST) a->stop = message->why;
    if (a->ctx != NULL) context_cancel(a->ctx);
  }
  free(message);
}

/* Under the lock. */
static bool send_stop(const attempt *a, stop_reason why) {
  stop_message *message = calloc(1, sizeof *message);
  if (message == NULL) return false; /* the lease-keeper tries again */
  message->id = a->id;
  message->number = a->number;
  message->why = why;
  message->post.call = deliver_stop;
  message->post.argument = message;
  loop_post(a->claimer->loop, &message->post);
  return true;
}

bool running_stop(int64_t id, stop_reason why) {
  lock();
  const attempt *a = find(id, 0);
  bool found = a != NULL && send_stop(a, why);
  unlock();
  return found;
}

void running_stop_all(stop_reason why, bool only_resuming) {
  lock();
  for (const attempt *a = running.first; a != NULL; a = a->next)
    if (a->kind->resumes || !only_resuming) (void)send_stop(a, why);
  unlock();
}

size_t running_leases(running_lease *leases, size_t room, uint64_t before_ms) {
  size_t count = 0;
  lock();
  for (const attempt *a = running.first; a != NULL && count < room; a = a->next)
    if (a->renewed_ms < before_ms) leases[count++] = (running_lease){a->id, a->number, a->renewed_ms};
  unlock();
  return count;
}

void running_renewed(int64_t id, int64_t number, uint64_t at_ms) {
  lock();
  attempt *a = find(id, number);
  if (a != NULL) a->renewed_ms = at_ms;
  unlock();
}
