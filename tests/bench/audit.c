/* What the entry of a change costs without HTTP around it: the same change (one row) with and without, in turns, while the sequencer runs.
 *
 *   bench_audit [TURNS [CHANGES OF A TURN]]
 *
 * CPU is that of this process and of mariadbd, up to when all entries of the turn have their numbers. On a private MariaDB that flushes
 * its log at each commit (innodb_flush_log_at_trx_commit = 1), in a folder under /tmp. */
#include "audit/internal.h"
#include "db/db.h"
#include "observe/metrics.h"
#include "operation/operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct thing {
  const char *id, *name, *note;
} thing;
PURLIN_SCHEMA(thing, "A thing",
    PURLIN_REQUIRED(id, "Its id"),
    PURLIN_REQUIRED(name, "Its name"),
    PURLIN_REQUIRED(note, "Some words"));

static const char INSERT[] = "INSERT INTO things (id, name, note, made_at) VALUES (?, ?, ?, NOW(6))";

PURLIN_OPERATION(make, thing, thing, .summary = "Makes a thing", .permission = "public", .effect = PURLIN_CREATES) {
  *out = *in;
  return purlin_db_run(ctx, INSERT, in->id, in->name, in->note);
}

PURLIN_OPERATION(make_quietly, thing, thing, .summary = "Makes a thing, without an entry", .permission = "public",
    .effect = PURLIN_CREATES, .unaudited = "a benchmark") {
  *out = *in;
  return purlin_db_run(ctx, INSERT, in->id, in->name, in->note);
}

enum { MOST_AT_ONCE = 8, MOST_TURNS = 1000 };

static long per_turn = 1000, turns = 20;
static const char *folder;
static clockid_t server; /* the CPU time of mariadbd */

static void check(purlin_ctx *ctx, purlin_status status) {
  if (status == PURLIN_OK) return;
  fprintf(stderr, "%s: %s\n", purlin_status_text(status), purlin_failure(ctx));
  exit(1);
}

typedef struct turn {
  const operation *op;
  long count;
  int running;
} turn;

static void work(purlin_ctx *ctx, void *argument) {
  turn *t = argument;
  for (long i = 0; i < t->count; i++) {
    purlin_mark mark = purlin_arena_mark(ctx);
    thing in = {purlin_new_id(ctx, "thg"), "a thing of the benchmark", "with some words about what it is for"}, out = {0};
    check(ctx, operation_run(ctx, t->op, &in, &out));
    purlin_arena_reset(ctx, mark);
  }
  t->running--;
}

static double cpu_seconds(void) {
  struct timespec ours, theirs;
  if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ours) != 0 || clock_gettime(server, &theirs) != 0) exit(1);
  return (double)(ours.tv_sec + theirs.tv_sec) + (double)(ours.tv_nsec + theirs.tv_nsec) / 1e9;
}

typedef struct cost {
  double wall[MOST_TURNS], cpu[MOST_TURNS]; /* microseconds of a change */
} cost;

static void measure(purlin_ctx *ctx, const char *name, int at_once, cost *out, long index) {
  turn t = {operation_find(name), per_turn / at_once, at_once};
  double changes = (double)(t.count * at_once), cpu = cpu_seconds();
  uint64_t began_ns = purlin_ticks_ns();
  for (int i = 0; i < at_once; i++)
    if (context_start("bench", name, work, &t) != PURLIN_OK) exit(1);
  while (t.running > 0) loop_sleep(1);
  out->wall[index] = (double)(purlin_ticks_ns() - began_ns) / 1e3 / changes;
  check(ctx, audit_sequence(ctx));
  out->cpu[index] = (cpu_seconds() - cpu) * 1e6 / changes;
}

static int compare_numbers(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static double median(const double *values) {
  static double sorted[MOST_TURNS];
  memcpy(sorted, values, (size_t)turns * sizeof sorted[0]);
  qsort(sorted, (size_t)turns, sizeof sorted[0], compare_numbers);
  return sorted[turns / 2];
}

static void tell(const char *what, const double *quiet, const double *audited) {
  static double ratios[MOST_TURNS];
  for (long i = 0; i < turns; i++) ratios[i] = quiet[i] / audited[i];
  printf("%-36s %10.1f %10.1f %6.2fx\n", what, median(quiet), median(audited), median(ratios));
}

static void compare(purlin_ctx *ctx, int at_once) {
  static cost quiet, audited;
  for (long i = 0; i < turns; i++) {
    bool first = i % 2 == 0;
    if (first) measure(ctx, "bench.make_quietly", at_once, &quiet, i);
    measure(ctx, "bench.make", at_once, &audited, i);
    if (!first) measure(ctx, "bench.make_quietly", at_once, &quiet, i);
  }
  char what[64];
  snprintf(what, sizeof what, "without HTTP, %d at once: us", at_once);
  tell(what, quiet.wall, audited.wall);
  tell("  CPU us of both processes", quiet.cpu, audited.cpu);
}

static void find_server(void) {
  char path[128];
  long pid = 0;
  snprintf(path, sizeof path, "%s/mariadb/mariadb.pid", folder);
  FILE *file = fopen(path, "r");
  if (!file || fscanf(file, "%ld", &pid) != 1 || clock_getcpuclockid((pid_t)pid, &server) != 0) exit(1);
  fclose(file);
}

static void set_flag(void *argument) { *(bool *)argument = true; }

static void run(purlin_ctx *ctx, void *argument) {
  (void)argument;
  buffer why = {0};
  audit_options options;
  audit_options_default(&options);
  options.state = folder;
  check(ctx, db_migrate(ctx, "purlin", audit_migrations, audit_migration_count, &why));
  check(ctx, purlin_db_run(ctx, "CREATE TABLE things (id VARCHAR(64) NOT NULL PRIMARY KEY, name VARCHAR(250), note TEXT,"
                                " made_at DATETIME(6))"));
  audit_enable();
  check(ctx, audit_start(ctx, &options, &why));
  find_server();
  compare(ctx, 1);
  compare(ctx, MOST_AT_ONCE);
  bool done = false;
  audit_drain(set_flag, &done);
  while (!done) loop_sleep(1);
  loops_stop();
}

static void begin(void *argument) {
  (void)argument;
  if (context_start("bench", "bench.audit", run, NULL) != PURLIN_OK) exit(1);
}

int main(int argc, char **argv) {
  if (argc > 1) turns = atol(argv[1]);
  if (argc > 2) per_turn = atol(argv[2]);
  char directory[] = "/tmp/purlin-bench-audit-XXXXXX", command[128];
  db_options options;
  buffer why = {0};
  db_options_default(&options);
  options.database = "bench";
  if (per_turn < MOST_AT_ONCE || turns < 1 || turns > MOST_TURNS || !mkdtemp(directory)) return 1;
  folder = directory;
  if (db_dev_start(directory, &options, &why) != PURLIN_OK || metrics_register_own() != PURLIN_OK ||
      loops_create(1) != PURLIN_OK || db_start(&options, &why) != PURLIN_OK ||
      operations_register("bench", NULL, &make_operation, &why) != PURLIN_OK ||
      operations_register("bench", NULL, &make_quietly_operation, &why) != PURLIN_OK) {
    fprintf(stderr, "%s\n", buffer_end(&why));
    return 1;
  }
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
