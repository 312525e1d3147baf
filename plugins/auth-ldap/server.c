#include "server.h"
#include "auth_ldap.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 10000 };

typedef struct server_state {
  uint64_t pause_ms, retry_at_ms; /* 0: it works, as far as is known */
  bool tried;                     /* by one call since it failed */
  char why[256];
} server_state;

static server_state states[SERVERS_MOST];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* held for a few instructions */

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

bool server_try(size_t server) {
  (void)pthread_mutex_lock(&lock);
  server_state *s = &states[server];
  bool may = !s->pause_ms || now_ms() >= s->retry_at_ms;
  if (may && s->pause_ms) {
    s->tried = true;
    s->retry_at_ms = now_ms() + LONGEST_PAUSE_MS; /* the others wait for what comes of it */
  }
  (void)pthread_mutex_unlock(&lock);
  return may;
}

void server_works(size_t server) {
  (void)pthread_mutex_lock(&lock);
  states[server].pause_ms = 0;
  (void)pthread_mutex_unlock(&lock);
}

void server_failed(size_t server, const char *why) {
  (void)pthread_mutex_lock(&lock);
  server_state *s = &states[server];
  if (!s->pause_ms) s->pause_ms = FIRST_PAUSE_MS;
  else if (s->tried) s->pause_ms *= 2; /* not for each of those that were just asking when it went away */
  if (s->pause_ms > LONGEST_PAUSE_MS) s->pause_ms = LONGEST_PAUSE_MS;
  s->tried = false;
  s->retry_at_ms = now_ms() + s->pause_ms;
  (void)snprintf(s->why, sizeof s->why, "%s", why);
  (void)pthread_mutex_unlock(&lock);
}

void server_last_failure(size_t server, char *out, size_t capacity) {
  (void)pthread_mutex_lock(&lock);
  (void)snprintf(out, capacity, "%s", states[server].why);
  (void)pthread_mutex_unlock(&lock);
}

void servers_forget(void) {
  (void)pthread_mutex_lock(&lock);
  memset(states, 0, sizeof states);
  (void)pthread_mutex_unlock(&lock);
}
