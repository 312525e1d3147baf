/* What goes wrong: cancellation, deadlines, no free connection, connections that die, a server that is killed. */
#include "test_db.h"

#include <signal.h>
#include <time.h>

#include "db/connection.h"

typedef struct counted {
  int64_t count;
} counted;
PURLIN_SCHEMA(counted, "A count", PURLIN_REQUIRED(count, "How many"));

static int64_t count_of(purlin_ctx *ctx, const char *sql) {
  counted c;
  OK(ctx, purlin_db_row(ctx, counted, &c, sql));
  return c.count;
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static int64_t sleepers(purlin_ctx *ctx) {
  return count_of(
      ctx,
      "SELECT COUNT(*) count FROM information_schema.processlist WHERE info LIKE '%SLEEP(%' AND id <> CONNECTION_ID()");
}

/* ---- Fibers beside the test's own ---- */

typedef struct worker {
  purlin_ctx *ctx;
  const char *sql;
  purlin_status status;
  uint32_t retry_after_s;
  uint64_t ended_ms;
  bool reserve, ended;
} worker;

static int workers_running, workers_ended;

static void run_worker(purlin_ctx *ctx, void *argument) {
  worker *w = argument;
  w->ctx = ctx;
  if (w->reserve) db_use_reserve(ctx);
  w->status = purlin_db_run(ctx, w->sql);
  w->retry_after_s = ctx->retry_after_s;
  w->ended_ms = now_ms();
  w->ended = true;
  workers_running--;
  workers_ended++;
}

static void start_worker(worker *w) {
  workers_running++;
  assert_int_equal(context_start("test", "test.worker", run_worker, w), PURLIN_OK);
}

static void wait_for_workers(void) {
  while (workers_running > 0) loop_sleep(2);
}

/* ---- Cancellation and deadlines ---- */

TEST_IN_DATABASE(test_cancel) {
  worker w = {.sql = "SELECT SLEEP(5)"};
  uint64_t began = now_ms();
  start_worker(&w);
  loop_sleep(100);
  assert_int_equal(sleepers(ctx), 1);
  context_cancel(w.ctx);
  wait_for_workers();
  assert_int_equal(w.status, PURLIN_CANCELLED);
  assert_true(now_ms() - began < 3000);
  assert_int_equal(sleepers(ctx), 0);           /* it does not go on at the server */
  for (int i = 0; i < 4; i++) RUN(ctx, "DO 0"); /* the KILL hits nobody else */
}

TEST_IN_DATABASE(test_deadline) {
  uint64_t began = now_ms();
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  context_set_deadline(ctx, 150);
  assert_int_equal(purlin_db_run(ctx, "SELECT SLEEP(5)"), PURLIN_TIMEOUT);
  assert_true(now_ms() - began < 3000);
  assert_int_equal(purlin_db_run(ctx, "DO 0"), PURLIN_TIMEOUT); /* it has passed */
  context_set_deadline(ctx, 10000);
  assert_int_equal(sleepers(ctx), 0);
  RUN(ctx, "INSERT INTO faults VALUES (1)");
}

static purlin_status write_and_sleep(purlin_ctx *ctx, void *argument) {
  (void)argument;
  RUN(ctx, "INSERT INTO faults VALUES (77)");
  return purlin_db_run(ctx, "SELECT SLEEP(5)");
}

TEST_IN_DATABASE(test_deadline_in_transaction) {
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  context_set_deadline(ctx, 150);
  assert_int_equal(purlin_transaction(ctx, write_and_sleep, NULL), PURLIN_TIMEOUT);
  assert_false(ctx->transaction_open);
  assert_int_equal(ctx->shielded_until_ms, 0);
  context_set_deadline(ctx, 10000);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM faults"), 0);
}

static purlin_status cancelled_before_commit(purlin_ctx *ctx, void *argument) {
  (void)argument;
  RUN(ctx, "INSERT INTO faults VALUES (78)");
  context_cancel(ctx);
  return PURLIN_OK;
}

static void run_cancelled(purlin_ctx *ctx, void *argument) {
  *(purlin_status *)argument = purlin_transaction(ctx, cancelled_before_commit, NULL);
  workers_running--;
}

TEST_IN_DATABASE(test_cancel_before_commit) {
  purlin_status status = PURLIN_OK;
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  workers_running++;
  assert_int_equal(context_start("test", "test.cancelled", run_cancelled, &status), PURLIN_OK);
  wait_for_workers();
  assert_int_equal(status, PURLIN_CANCELLED);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM faults"), 0);
}

static void read_slowly(purlin_ctx *ctx, void *argument) {
  worker *w = argument;
  purlin_rows *rows;
  counted c;
  bool got = true;
  w->ctx = ctx;
  OK(ctx, purlin_db_open(ctx, counted, &rows, "SELECT seq + SLEEP(0.01) count FROM seq_1_to_1000"));
  while (got && w->status == PURLIN_OK) w->status = purlin_db_next(ctx, rows, &c, &got);
  purlin_db_close(ctx, rows);
  workers_running--;
}

TEST_IN_DATABASE(test_cancel_rows) {
  worker w = {0};
  workers_running++;
  assert_int_equal(context_start("test", "test.rows", read_slowly, &w), PURLIN_OK);
  loop_sleep(150);
  context_cancel(w.ctx);
  wait_for_workers();
  assert_int_equal(w.status, PURLIN_CANCELLED);
  assert_int_equal(sleepers(ctx), 0);
}

/* ---- No free connection ---- */

TEST_IN_DATABASE(test_exhausted) {
  worker workers[8] = {{0}};
  double waits = metrics_value("purlin_db_connection_waits_total");
  for (size_t i = 0; i < 8; i++) {
    workers[i].sql = "SELECT SLEEP(0.6)";
    start_worker(&workers[i]);
  }
  worker reserved = {.sql = "DO 0", .reserve = true};
  workers_ended = 0;
  loop_sleep(50);
  start_worker(&reserved);
  while (!reserved.ended) loop_sleep(2);
  assert_int_equal(reserved.status, PURLIN_OK); /* while all others are busy */
  assert_int_equal(workers_ended, 1);
  assert_int_equal(purlin_db_run(ctx, "DO 0"), PURLIN_UNAVAILABLE);
  assert_int_equal(ctx->retry_after_s, 1);
  wait_for_workers();
  int done = 0;
  for (size_t i = 0; i < 8; i++) {
    done += workers[i].status == PURLIN_OK;
    if (workers[i].status == PURLIN_OK) continue;
    assert_int_equal(workers[i].status, PURLIN_UNAVAILABLE);
    assert_int_equal(workers[i].retry_after_s, 1);
  }
  assert_int_equal(done, 4);
  assert_true(metrics_value("purlin_db_connection_waits_total") >= waits + 4);
  RUN(ctx, "DO 0");
}

TEST_IN_DATABASE(test_wait_in_order) {
  worker workers[8] = {{0}};
  for (size_t i = 0; i < 8; i++) {
    workers[i].sql = "SELECT SLEEP(0.15)";
    start_worker(&workers[i]);
  }
  loop_sleep(30);
  context_cancel(workers[5].ctx); /* while it waits */
  wait_for_workers();
  for (size_t i = 0; i < 8; i++) assert_int_equal(workers[i].status, i == 5 ? PURLIN_CANCELLED : PURLIN_OK);
  for (size_t i = 0; i < 4; i++) assert_true(workers[4 + i].ended_ms >= workers[i].ended_ms || i == 1);
}

/* ---- Many rows at once ---- */

typedef struct faults_row {
  int64_t id;
} faults_row;
PURLIN_SCHEMA(faults_row, "A row", PURLIN_REQUIRED(id, "Its id"));

enum { MANY = 100, FEW = 99, WRITERS = 4 };
static int writing, writing_most;

/* That many rows, and a while before the commit. */
static purlin_status write_rows(purlin_ctx *ctx, void *argument) {
  static int64_t next;
  const size_t *count = argument;
  faults_row rows[MANY];
  for (size_t i = 0; i < *count; i++) rows[i].id = ++next;
  purlin_status status = purlin_db_bulk(ctx, faults_row, rows, *count, "INSERT INTO faults VALUES (?)");
  if (++writing > writing_most) writing_most = writing;
  loop_sleep(100);
  writing--;
  return status;
}

static void run_writer(purlin_ctx *ctx, void *argument) {
  OK(ctx, db_transact(ctx, write_rows, argument));
  workers_running--;
}

static int most_at_once(size_t rows) {
  writing_most = 0;
  for (int i = 0; i < WRITERS; i++) {
    workers_running++;
    assert_int_equal(context_start("test", "test.writer", run_writer, &rows), PURLIN_OK);
  }
  wait_for_workers();
  return writing_most;
}

TEST_IN_DATABASE(test_many_rows_wait_for_each_other) {
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  assert_in_range(most_at_once(FEW), 3, 4); /* there are four connections */
  assert_in_range(most_at_once(MANY), 1, 2);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM faults"), WRITERS * (FEW + MANY));
}

/* ---- Connections that die ---- */

/* From outside, without a turn of the loop: nothing is noticed before the next statement. */
static void kill_all_connections(unsigned pause_ms) {
  unsigned error;
  char text[512];
  MYSQL *mysql = db_connection_open_plain(&test_options, true, &error, text, sizeof text);
  assert_non_null(mysql);
  assert_int_equal(mysql_query(mysql,
                               "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE id <> CONNECTION_ID()"
                               " AND user = 'root'"),
                   0);
  MYSQL_RES *rows = mysql_store_result(mysql);
  for (MYSQL_ROW row; (row = mysql_fetch_row(rows));) (void)!mysql_query(mysql, row[0]);
  mysql_free_result(rows);
  mysql_close(mysql);
  const struct timespec pause = {.tv_nsec = (long)pause_ms * 1000000};
  nanosleep(&pause, NULL);
}

static purlin_status insert_next(purlin_ctx *ctx, void *argument) {
  return purlin_db_run(ctx, "INSERT INTO faults VALUES (?)", ++*(int *)argument);
}

TEST_IN_DATABASE(test_stale_connections) {
  int id = 0;
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  for (unsigned pause_ms = 10; pause_ms <= 210; pause_ms += 200) {
    RUN(ctx, "INSERT INTO faults VALUES (?)", ++id);
    kill_all_connections(pause_ms);
    RUN(ctx, "INSERT INTO faults VALUES (?)", ++id); /* prepared before, on a connection that is dead now */
    kill_all_connections(pause_ms);
    count_of(ctx, "SELECT COUNT(*) count FROM faults");
    kill_all_connections(pause_ms);
    OK(ctx, purlin_transaction(ctx, insert_next, &id));
    kill_all_connections(pause_ms);
    OK(ctx, purlin_transaction(ctx, insert_next, &id));
    loop_sleep(100);
    kill_all_connections(10);
    loop_sleep(50); /* noticed by the loop */
    RUN(ctx, "DO 0");
  }
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM faults"), id);
}

static int commits;
static void note_commit(void *argument) { ++*(int *)argument; }

static purlin_status lose_connection(purlin_ctx *ctx, void *argument) {
  (void)argument;
  OK(ctx, db_after_commit(ctx, note_commit, &commits));
  RUN(ctx, "INSERT INTO faults VALUES (1)");
  kill_all_connections(20);
  assert_int_equal(purlin_db_run(ctx, "INSERT INTO faults VALUES (2)"), PURLIN_UNAVAILABLE);
  assert_int_equal(purlin_db_run(ctx, "DO 0"), PURLIN_UNAVAILABLE);
  purlin_clear_failure(ctx);
  return PURLIN_OK; /* a body that ignores it still cannot commit */
}

TEST_IN_DATABASE(test_lost_transaction) {
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  assert_int_equal(purlin_transaction(ctx, lose_connection, NULL), PURLIN_UNAVAILABLE);
  assert_int_equal(commits, 0);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM faults"), 0);
}

/* ---- The server is killed ---- */

static pid_t server_pid(void) {
  char path[128], text[32] = {0};
  snprintf(path, sizeof path, "%s/mariadb/mariadb.pid", test_directory);
  FILE *file = fopen(path, "r");
  assert_non_null(file);
  assert_non_null(fgets(text, sizeof text, file));
  fclose(file);
  return (pid_t)strtol(text, NULL, 10);
}

static void wait_until_ready(bool expected) {
  buffer why = {0};
  for (int i = 0; i < 1000 && db_ready(&why) != expected; i++) loop_sleep(10);
  buffer_clear(&why);
  assert_int_equal(db_ready(&why), expected);
  assert_int_equal(why.size == 0, expected);
  buffer_free(&why);
}

TEST_IN_DATABASE(test_server_killed) {
  worker running = {.sql = "SELECT SLEEP(8)"};
  buffer why = {0};
  RUN(ctx, "CREATE OR REPLACE TABLE faults (id INT PRIMARY KEY)");
  RUN(ctx, "INSERT INTO faults VALUES (1)");
  start_worker(&running);
  loop_sleep(100);
  assert_int_equal(kill(server_pid(), SIGKILL), 0);
  wait_for_workers();
  assert_int_equal(running.status, PURLIN_UNAVAILABLE);
  assert_int_equal(running.retry_after_s, 1);
  wait_until_ready(false);
  for (int i = 0; i < 50; i++) {
    ctx->retry_after_s = 0;
    uint64_t began = now_ms();
    assert_int_equal(purlin_db_run(ctx, "DO 0"), PURLIN_UNAVAILABLE);
    assert_int_equal(ctx->retry_after_s, 1);
    assert_true(now_ms() - began < 1000); /* at once, without connecting */
  }
  db_dev_stop(); /* it is dead already */
  if (db_dev_start(test_directory, &test_options, &why) != PURLIN_OK) fail_msg("%s", buffer_end(&why));
  wait_until_ready(true);
  purlin_status status = PURLIN_UNAVAILABLE;
  for (int i = 0; i < 200 && status != PURLIN_OK; i++) {
    status = purlin_db_run(ctx, "INSERT INTO faults VALUES (2)");
    if (status != PURLIN_OK) loop_sleep(10);
  }
  assert_int_equal(status, PURLIN_OK);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM faults"), 2);
  buffer_free(&why);
}

static int start_small(void **state) {
  int result = start_server(state);
  test_options.connections = 4;
  test_options.wait_ms = 400;
  return result;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cancel),
      cmocka_unit_test(test_deadline),
      cmocka_unit_test(test_deadline_in_transaction),
      cmocka_unit_test(test_cancel_before_commit),
      cmocka_unit_test(test_cancel_rows),
      cmocka_unit_test(test_exhausted),
      cmocka_unit_test(test_wait_in_order),
      cmocka_unit_test(test_many_rows_wait_for_each_other),
      cmocka_unit_test(test_stale_connections),
      cmocka_unit_test(test_lost_transaction),
      cmocka_unit_test(test_server_killed),
  };
  return cmocka_run_group_tests(tests, start_small, stop_server);
}
