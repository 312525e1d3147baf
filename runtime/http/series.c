/* series.c: the metrics of HTTP. A target remembers the series of the statuses that it answers, so counting a request is a few
 * atomic additions. */
#include "http/connection.h"

#include "observe/metrics.h"

#include <pthread.h>
#include <stdlib.h>

PURLIN_COUNTER(http_requests_total, "Requests answered", "route, method, status");
PURLIN_HISTOGRAM(http_request_duration_seconds, "Time from the start of a request's handler to the end of its answer", "route");
PURLIN_GAUGE(http_connections, "Open connections", NULL);
PURLIN_COUNTER(http_connections_refused_total, "Connections that were turned away, by the limit that they met", "limit");
PURLIN_COUNTER(http_request_body_bytes_total, "Bytes of request bodies read", NULL);
PURLIN_COUNTER(http_response_body_bytes_total, "Bytes of answer bodies sent", NULL);

#define REMEMBERED 8

typedef struct remembered {
  _Atomic uint32_t key; /* method and status; 0: free. Set after `series`. */
  metrics_series *series;
} remembered;

typedef struct target_series {
  struct target_series *next;
  _Atomic(metrics_series *) duration;
  remembered requests[REMEMBERED];
  char name[];
} target_series;

/* All targets that ever were, by name, so that a reload goes on counting where it was. Never freed. */
static struct {
  pthread_mutex_t lock;
  target_series *first;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

void *series_of_target(const char *name) {
  pthread_mutex_lock(&known.lock);
  target_series *found = known.first;
  while (found != NULL && strcmp(found->name, name) != 0) found = found->next;
  if (found == NULL) {
    size_t size = strlen(name) + 1;
    found = calloc(1, sizeof *found + size);
    if (found != NULL) {
      memcpy(found->name, name, size);
      found->next = known.first;
      known.first = found;
    }
  }
  pthread_mutex_unlock(&known.lock);
  return found;
}

static metrics_series *requests_series(const char *route, http_method_index method, unsigned status) {
  const char digits[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10), '\0'};
  const char *const labels[] = {route, method < METHOD_COUNT ? http_methods[method].name : "", digits};
  return metrics_series_of(&http_requests_total_metric, labels);
}

static void remember(target_series *of, uint32_t key, metrics_series *series) {
  if (series == NULL) return;
  pthread_mutex_lock(&known.lock);
  for (size_t i = 0; i < REMEMBERED; i++) {
    uint32_t other = atomic_load_explicit(&of->requests[i].key, memory_order_relaxed);
    if (other == key) break;
    if (other != 0) continue;
    of->requests[i].series = series;
    atomic_store_explicit(&of->requests[i].key, key, memory_order_release);
    break;
  }
  pthread_mutex_unlock(&known.lock);
}

static metrics_series *recall(target_series *of, http_method_index method, unsigned status) {
  uint32_t key = (uint32_t)method << 16 | status;
  for (size_t i = 0; i < REMEMBERED; i++) {
    uint32_t other = atomic_load_explicit(&of->requests[i].key, memory_order_acquire);
    if (other == key) return of->requests[i].series;
    if (other == 0) break;
  }
  metrics_series *series = requests_series(of->name, method, status);
  remember(of, key, series);
  return series;
}

void series_count(void *series, http_method_index method, unsigned status, double seconds) {
  target_series *of = series;
  if (of == NULL) return;
  metrics_series *count = recall(of, method, status);
  if (count != NULL) metrics_series_add(count, 1);
  metrics_series *duration = atomic_load_explicit(&of->duration, memory_order_acquire);
  if (duration == NULL) {
    const char *const labels[] = {of->name};
    duration = metrics_series_of(&http_request_duration_seconds_metric, labels);
    atomic_store_explicit(&of->duration, duration, memory_order_release);
  }
  if (duration != NULL) metrics_series_observe(duration, seconds);
}

void series_count_refused(unsigned status) {
  metrics_series *count = requests_series("refused", METHOD_COUNT, status);
  if (count != NULL) metrics_series_add(count, 1);
}

void series_connections(double by) { purlin_count(http_connections, by, PURLIN_NO_LABELS); }

void series_turned_away(const char *limit) { purlin_count(http_connections_refused_total, 1, limit); }

void series_bytes(uint64_t received, uint64_t sent) {
  if (received > 0) purlin_count(http_request_body_bytes_total, (double)received, PURLIN_NO_LABELS);
  if (sent > 0) purlin_count(http_response_body_bytes_total, (double)sent, PURLIN_NO_LABELS);
}
