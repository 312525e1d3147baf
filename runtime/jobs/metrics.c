/* metrics.c: the queue in numbers. */
#include "jobs/internal.h"

PURLIN_COUNTER(jobs_started_total, "Attempts of jobs that were started", "job");
PURLIN_COUNTER(jobs_finished_total,
               "Attempts of jobs that ended, by outcome: succeeded, retried, failed, cancelled, lost, released",
               "job, outcome");
PURLIN_HISTOGRAM(jobs_duration_seconds, "How long attempts of jobs ran", "job");
PURLIN_HISTOGRAM(jobs_start_delay_seconds, "From the time at which a job could start to its start", "job");

static const purlin_metric waiting_metric = {.declared = PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC),
                                             .name = "jobs_waiting",
                                             .help = "Jobs that wait, up to 100,000, as of some seconds ago",
                                             .type = PURLIN_METRIC_GAUGE};
static atomic_int waiting_count;
static atomic_bool waiting_asked;

/* On the thread that renders: it must not park, so it tells what was counted last and asks for a new count. */
static double read_waiting(void *argument) {
  (void)argument;
  atomic_store_explicit(&waiting_asked, true, memory_order_relaxed);
  return atomic_load_explicit(&waiting_count, memory_order_relaxed);
}

purlin_status jobs_metrics_start(void) {
  static bool registered;
  if (registered) return PURLIN_OK;
  registered = true;
  return metrics_register_read(&waiting_metric, read_waiting, NULL);
}

typedef struct count_row {
  int64_t jobs;
} count_row;
PURLIN_SCHEMA(count_row, "A number of jobs", PURLIN_REQUIRED(jobs, "How many"));

void jobs_count_waiting(purlin_ctx *ctx) {
  if (!atomic_exchange_explicit(&waiting_asked, false, memory_order_relaxed)) return;
  count_row row = {0};
  if (purlin_db_row(ctx, count_row, &row,
                    "SELECT COUNT(*) AS jobs FROM (SELECT 1 FROM purlin_jobs FORCE INDEX (claim) WHERE state = 0 LIMIT "
                    "100000) AS waiting") == PURLIN_OK)
    atomic_store_explicit(&waiting_count, (int)row.jobs, memory_order_relaxed);
}

void jobs_metrics_started(const attempt *a) {
  purlin_count(jobs_started_total, 1, a->kind->name);
  purlin_observe(jobs_start_delay_seconds, (double)a->waited_us / 1e6, a->kind->name);
}

void jobs_metrics_finished(const attempt *a, const char *outcome, uint64_t began_ns) {
  purlin_count(jobs_finished_total, 1, a->kind->name, outcome);
  purlin_observe(jobs_duration_seconds, (double)(purlin_ticks_ns() - began_ns) / 1e9, a->kind->name);
}
