/* instruments.c: the metrics, with their labels resolved once. */
#include "db/instruments.h"

#include "observe/metrics.h"

PURLIN_COUNTER(db_queries_total, "Statements that were run", "outcome");
PURLIN_HISTOGRAM(db_query_duration_seconds, "How long statements took, with the wait for a connection", NULL);
PURLIN_GAUGE(db_connections, "Open database connections", "state");
PURLIN_COUNTER(db_connection_waits_total, "Statements that had to wait for a connection", NULL);
PURLIN_COUNTER(db_retries_total, "Transactions and statements that ran again after a deadlock or a lock time-out", NULL);

typedef enum outcome {
  OUTCOME_OK,
  OUTCOME_CONFLICT,
  OUTCOME_UNAVAILABLE,
  OUTCOME_INTERRUPTED,
  OUTCOME_ERROR,
  OUTCOMES
} outcome;

static const char *const outcome_names[OUTCOMES] = {"ok", "conflict", "unavailable", "interrupted", "error"};

static struct {
  metrics_series *queries[OUTCOMES];
  metrics_series *duration, *idle, *busy, *waits, *retries;
} series;

static metrics_series *labelled(const purlin_metric *metric, const char *label) {
  return metrics_series_of(metric, (const char *const[]){label});
}

void db_instruments_start(void) {
  for (size_t i = 0; i < OUTCOMES; i++) series.queries[i] = labelled(&db_queries_total_metric, outcome_names[i]);
  series.duration = labelled(&db_query_duration_seconds_metric, NULL);
  series.idle = labelled(&db_connections_metric, "idle");
  series.busy = labelled(&db_connections_metric, "busy");
  series.waits = labelled(&db_connection_waits_total_metric, NULL);
  series.retries = labelled(&db_retries_total_metric, NULL);
}

static outcome outcome_of(purlin_status status) {
  switch (status) {
  case PURLIN_OK:
  case PURLIN_NOT_FOUND: return OUTCOME_OK;
  case PURLIN_CONFLICT: return OUTCOME_CONFLICT;
  case PURLIN_UNAVAILABLE: return OUTCOME_UNAVAILABLE;
  case PURLIN_CANCELLED:
  case PURLIN_TIMEOUT: return OUTCOME_INTERRUPTED;
  default: return OUTCOME_ERROR;
  }
}

void db_instruments_query(purlin_status status, uint64_t duration_ns) {
  metrics_series_add(series.queries[outcome_of(status)], 1);
  metrics_series_observe(series.duration, (double)duration_ns * 1e-9);
}

void db_instruments_connections(int idle, int busy) {
  if (idle != 0) metrics_series_add(series.idle, idle);
  if (busy != 0) metrics_series_add(series.busy, busy);
}

void db_instruments_wait(void) { metrics_series_add(series.waits, 1); }

void db_instruments_retry(void) { metrics_series_add(series.retries, 1); }
