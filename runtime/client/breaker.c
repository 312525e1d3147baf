/* Circuit breakers. An origin is in the table only while something is wrong with it: its first failure puts it in, a success
 * takes it out. So the table is empty on good days and the state of a missing origin is "closed". */
#include "client/parts.h"

#include "core/text.h"
#include "observe/log.h"
#include "observe/metrics.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BREAKERS 4096 /* failures of further origins are not kept */
#define BUCKETS 256

PURLIN_COUNTER(client_breaker_changes_total, "Circuit breakers of outbound HTTP that opened or closed", "state");

typedef enum breaker_phase { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_TRIAL } breaker_phase;

typedef struct breaker {
  struct breaker *next;
  breaker_phase phase;
  uint32_t failures; /* in a row */
  uint64_t open_until_ms;
  char origin[];
} breaker;

static struct {
  pthread_mutex_t lock;
  breaker *buckets[BUCKETS];
  size_t count, open;
} table = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static breaker **place_of(const char *origin) {
  breaker **place = &table.buckets[text_hash(origin, strlen(origin)) % BUCKETS];
  while (*place != NULL && strcmp((*place)->origin, origin) != 0) place = &(*place)->next;
  return place;
}

static bool is_refused(const breaker *b) {
  return b != NULL && (b->phase == BREAKER_TRIAL || (b->phase == BREAKER_OPEN && now_ms() < b->open_until_ms));
}

bool breaker_admit(const char *origin, bool *trial) {
  pthread_mutex_lock(&table.lock);
  breaker *b = *place_of(origin);
  bool refused = is_refused(b);
  *trial = !refused && b != NULL && b->phase == BREAKER_OPEN;
  if (*trial) b->phase = BREAKER_TRIAL;
  pthread_mutex_unlock(&table.lock);
  return !refused;
}

bool breaker_refuses(const char *origin) {
  pthread_mutex_lock(&table.lock);
  bool refused = is_refused(*place_of(origin));
  pthread_mutex_unlock(&table.lock);
  return refused;
}

const char *breaker_state(const char *origin) {
  static const char *const names[] = {[BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_TRIAL] = "half-open"};
  pthread_mutex_lock(&table.lock);
  const breaker *b = *place_of(origin);
  const char *name = names[b != NULL ? b->phase : BREAKER_CLOSED];
  if (b != NULL && b->phase == BREAKER_OPEN && !is_refused(b)) name = names[BREAKER_TRIAL];
  pthread_mutex_unlock(&table.lock);
  return name;
}

static breaker *breaker_make(const char *origin, breaker **place) {
  size_t size = strlen(origin) + 1;
  breaker *b = table.count < MOST_BREAKERS ? calloc(1, sizeof *b + size) : NULL;
  if (b == NULL) return NULL;
  memcpy(b->origin, origin, size);
  *place = b;
  table.count++;
  return b;
}

/* True: it opened now. */
static bool note_failure(const char *origin, bool trial) {
  breaker **place = place_of(origin), *b = *place;
  if (b == NULL) b = breaker_make(origin, place);
  if (b == NULL) return false;
  /* While it is open, or another attempt is the trial, late failures of earlier attempts say nothing new. */
  if (b->phase != BREAKER_CLOSED && !trial) return false;
  if (b->failures < UINT32_MAX) b->failures++;
  if (!trial && b->failures < client_settings.breaker_failures) return false;
  bool opened = b->phase == BREAKER_CLOSED;
  b->phase = BREAKER_OPEN;
  b->open_until_ms = now_ms() + client_settings.breaker_open_ms;
  table.open += opened ? 1 : 0;
  return opened;
}

/* True: it closed now. */
static bool note_success(const char *origin, bool trial) {
  breaker **place = place_of(origin), *b = *place;
  if (b == NULL || (b->phase != BREAKER_CLOSED && !trial)) return false;
  bool closed = b->phase != BREAKER_CLOSED;
  *place = b->next;
  free(b);
  table.count--;
  table.open -= closed ? 1 : 0;
  return closed;
}

void breaker_report(const char *origin, bool trial, breaker_verdict verdict) {
  bool opened = false, closed = false;
  pthread_mutex_lock(&table.lock);
  if (verdict == BREAKER_FAILURE) {
    opened = note_failure(origin, trial);
  } else if (verdict == BREAKER_SUCCESS) {
    closed = note_success(origin, trial);
  } else if (trial) {
    breaker *b = *place_of(origin);
    if (b != NULL) b->phase = BREAKER_OPEN; /* the next call is the trial: open_until_ms has passed */
  }
  pthread_mutex_unlock(&table.lock);
  if (opened) {
    log_write(PURLIN_WARNING, "client", "%s fails: no calls for %u ms", origin, (unsigned)client_settings.breaker_open_ms);
    purlin_count(client_breaker_changes_total, 1, "open");
  }
  if (closed) {
    log_write(PURLIN_INFO, "client", "%s is back", origin);
    purlin_count(client_breaker_changes_total, 1, "closed");
  }
}

void breaker_reset(void) {
  pthread_mutex_lock(&table.lock);
  for (size_t i = 0; i < BUCKETS; i++) {
    for (breaker *b = table.buckets[i], *next; b != NULL; b = next) {
      next = b->next;
      free(b);
    }
    table.buckets[i] = NULL;
  }
  table.count = table.open = 0;
  pthread_mutex_unlock(&table.lock);
}

static double count_open(void *unused) {
  (void)unused;
  pthread_mutex_lock(&table.lock);
  double open = (double)table.open;
  pthread_mutex_unlock(&table.lock);
  return open;
}

void breaker_metrics(void) {
  static const purlin_metric open_now = {.declared = PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC),
                                         .name = "client_breakers_open",
                                         .help = "Origins whose circuit breaker is open or on trial",
                                         .type = PURLIN_METRIC_GAUGE};
  if (metrics_register_read(&open_now, count_open, NULL) != PURLIN_OK) {
    log_write(PURLIN_WARNING, "client", "the metric of open circuit breakers was refused");
  }
}
