/* What the audit log costs: the same change (one row) with and without its entry, in turns, while the sequencer runs.
 *
 *   bench_audit [CHANGES OF A TURN] [TURNS]
 *
 * On a private MariaDB that flushes its log at each commit (innodb_flush_log_at_trx_commit = 1), in a folder under /tmp. */
#include "audit/audit.h"
#include "db/db.h"
#include "observe/metrics.h"
#include "operation/operation.h"

#include <stdio.h>
#include <stdlib.h>
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

enum { MOST_AT_ONCE = 8 };

static long per_turn = 2000, turns = 10;
static const char *folder;

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

static double seconds_of(const char *name, int at_once) {
  turn t = {operation_find(name), per_turn / at_once, at_once};
  uint64_t began_ns = purlin_ticks_ns();
  for (int i = 0; i < at_once; i++)
    if (context_start("bench", name, work, &t) != PURLIN_OK) exit(1);
  while (t.running > 0) loop_sleep(1);
  return (double)(purlin_ticks_ns() - began_ns) / 1e9;
}

static void compare(int at_once) {
  double quiet = 0, audited = 0;
  for (long i = 0; i < turns; i++) {
    bool first = i % 2 == 0;
    if (first) quiet += seconds_of("bench.make_quietly", at_once);
    audited += seconds_of("bench.make", at_once);
    if (!first) quiet += seconds_of("bench.make_quietly", at_once);
  }
  double changes = (double)(per_turn / at_once * at_once * turns);
  printf("%d at once: %7.0f changes/s without entries, %7.0f with: %.2fx\n", at_once, changes / quiet, changes / audited,
         quiet / audited);
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
  compare(1);
  compare(MOST_AT_ONCE);
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
  if (argc > 1) per_turn = atol(argv[1]);
  if (argc > 2) turns = atol(argv[2]);
  char directory[] = "/tmp/purlin-bench-audit-XXXXXX", command[128];
  db_options options;
  buffer why = {0};
  db_options_default(&options);
  options.database = "bench";
  if (per_turn < MOST_AT_ONCE || turns < 1 || !mkdtemp(directory)) return 1;
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
