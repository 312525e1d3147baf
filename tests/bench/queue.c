/* The durable queue: seconds to drain 100,000 queued no-op jobs, and the delay from one enqueue to its start.
 *
 *   bench_queue [JOBS] [LOOPS]
 *
 * On a private MariaDB that flushes its log at each commit (innodb_flush_log_at_trx_commit = 1), in a folder under /tmp. */
#include "db/db.h"
#include "jobs/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct nothing_in {
  int64_t number;
} nothing_in;
PURLIN_SCHEMA(nothing_in, "Nothing much", PURLIN_DEFAULT(number, "0", "A number"));

static atomic_long done_count;
static _Atomic uint64_t started_ns;
static long job_count = 100000;

PURLIN_JOB(no_op, nothing_in, .summary = "Does nothing", .pure = true) {
  atomic_fetch_add_explicit(&done_count, 1, memory_order_relaxed);
  return PURLIN_OK;
}

PURLIN_JOB(no_op_written, nothing_in, .summary = "Does nothing, and its end is written by itself") {
  atomic_fetch_add_explicit(&done_count, 1, memory_order_relaxed);
  return PURLIN_OK;
}

PURLIN_JOB(tell_start, nothing_in, .summary = "Tells when it started") {
  atomic_store(&started_ns, purlin_ticks_ns());
  return PURLIN_OK;
}

static void check(purlin_ctx *ctx, purlin_status status) {
  if (status == PURLIN_OK) return;
  fprintf(stderr, "%s: %s\n", purlin_status_text(status), purlin_failure(ctx));
  exit(1);
}

static double cpu_seconds(void) {
  struct rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void set_flag(void *argument) { *(bool *)argument = true; }

static void stop_queue(void) {
  bool done = false;
  jobs_drain(10000, set_flag, &done);
  while (!done) loop_sleep(1);
}

static void fill(purlin_ctx *ctx, const char *job, long count) {
  check(ctx,
        purlin_db_run(
            ctx,
            "INSERT INTO purlin_jobs (public_id, workspace, project, actor, name, payload, payload_version, state, urgency,"
            "  run_at, max_attempts, trace_id, created_at) "
            "SELECT CONCAT(MD5(RAND()), seq), 'default', 'default', 'system', ?, '{\"number\":7}', 1, 0, 0, NOW(6), 5, '', "
            "NOW(6) "
            "FROM seq_1_to_1000000 WHERE seq <= ?",
            job, (int64_t)count));
}

typedef struct count_row {
  int64_t jobs;
} count_row;
PURLIN_SCHEMA(count_row, "A number", PURLIN_REQUIRED(jobs, "How many"));

static void drain(purlin_ctx *ctx, const char *job, long count, const char *left_sql) {
  jobs_options options;
  jobs_options_default(&options);
  fill(ctx, job, count);
  atomic_store(&done_count, 0);
  double cpu = cpu_seconds();
  uint64_t began = purlin_ticks_ns();
  check(ctx, jobs_start(&options));
  while (atomic_load(&done_count) < count) loop_sleep(1);
  stop_queue(); /* includes writing down the last ones */
  double seconds = (double)(purlin_ticks_ns() - began) / 1e9;
  count_row left = {0};
  check(ctx, purlin_db_row_(ctx, count_row_schema(), &left,
                            &(purlin_value){PURLIN_V_TEXT, {.data = left_sql}, strlen(left_sql)}, 1));
  printf("%-24s %7ld jobs in %6.2f s: %7.0f jobs/s, %5.1f us of our CPU each; %lld left\n", job, count, seconds,
         (double)count / seconds, (cpu_seconds() - cpu) / (double)count * 1e6, (long long)left.jobs);
  check(ctx, purlin_db_run(ctx, "TRUNCATE purlin_jobs"));
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

#define DELAYS 500

static void measure_delay(purlin_ctx *ctx) {
  static double delays[DELAYS];
  jobs_options options;
  jobs_options_default(&options);
  check(ctx, jobs_start(&options));
  for (int i = 0; i < DELAYS; i++) {
    loop_sleep(3);
    atomic_store(&started_ns, 0);
    uint64_t began = purlin_ticks_ns();
    check(ctx, purlin_enqueue(ctx, "bench.tell_start", nothing_in_schema(), &(nothing_in){0}, NULL, NULL));
    while (atomic_load(&started_ns) == 0) loop_sleep(1);
    delays[i] = (double)(atomic_load(&started_ns) - began) / 1e6;
  }
  stop_queue();
  qsort(delays, DELAYS, sizeof delays[0], compare);
  printf("enqueue to start (the enqueue's own commit included): p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, max %.2f ms\n",
         delays[DELAYS / 2], delays[DELAYS * 9 / 10], delays[DELAYS * 99 / 100], delays[DELAYS - 1]);
}

static void run(purlin_ctx *ctx, void *argument) {
  (void)argument;
  buffer why = {0};
  if (db_migrate(ctx, "jobs", jobs_migrations, jobs_migration_count, &why) != PURLIN_OK)
    fprintf(stderr, "%s\n", buffer_end(&why));
  buffer_free(&why);
  check(ctx, purlin_db_run(ctx, "TRUNCATE purlin_jobs"));
  drain(ctx, "bench.no_op", job_count, "SELECT COUNT(*) AS jobs FROM purlin_jobs");
  drain(ctx, "bench.no_op_written", job_count / 20, "SELECT COUNT(*) AS jobs FROM purlin_jobs WHERE state <> 2");
  measure_delay(ctx);
  loops_stop();
}

static void begin(void *argument) {
  (void)argument;
  if (context_start("bench", "bench.queue", run, NULL) != PURLIN_OK) exit(1);
}

int main(int argc, char **argv) {
  if (argc > 1) job_count = atol(argv[1]);
  size_t loops = argc > 2 ? (size_t)atol(argv[2]) : 2;
  char directory[] = "/tmp/purlin-bench-queue-XXXXXX", command[128];
  db_options options;
  buffer why = {0};
  db_options_default(&options);
  options.database = "bench";
  if (job_count < 100 || !mkdtemp(directory)) return 1;
  if (db_dev_start(directory, &options, &why) != PURLIN_OK || metrics_register_own() != PURLIN_OK ||
      loops_create(loops) != PURLIN_OK || db_start(&options, &why) != PURLIN_OK) {
    fprintf(stderr, "%s\n", buffer_end(&why));
    return 1;
  }
  static const purlin_job *const jobs[] = {&no_op_job, &no_op_written_job, &tell_start_job};
  for (size_t i = 0; i < 3; i++)
    if (jobs_register("bench", NULL, jobs[i], &why) != PURLIN_OK) return 1;
  loop_post_item item = {.call = begin};
  loop_post(loop_at(0), &item);
  loops_run();
  db_stop();
  loops_destroy();
  db_dev_stop();
  buffer_free(&why);
  snprintf(command, sizeof command, "rm -rf '%s'", directory);
  return system(command) == 0 ? 0 : 1;
}
