/* Migrations, and the private server itself: started again, left behind by a daemon that was killed. */
#include "test_db.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

typedef struct counted {
  int64_t count;
} counted;
PURLIN_SCHEMA(counted, "A count", PURLIN_REQUIRED(count, "How many"));

static int64_t count_of(purlin_ctx *ctx, const char *sql) {
  counted c;
  OK(ctx, purlin_db_row(ctx, counted, &c, sql));
  return c.count;
}

/* Migrates with these pairs of name and SQL. */
static purlin_status migrate(purlin_ctx *ctx, const char *component, const char *const *texts, buffer *why) {
  purlin_migration migrations[8];
  const purlin_migration *list[8];
  size_t count = 0;
  memset(migrations, 0, sizeof migrations);
  for (; texts[count * 2]; count++) {
    migrations[count].name = texts[count * 2];
    migrations[count].sql = texts[count * 2 + 1];
    list[count] = &migrations[count];
  }
  buffer_clear(why);
  return db_migrate(ctx, component, list, count, why);
}

#define MIGRATE(component, ...) migrate(ctx, component, (const char *const[]){__VA_ARGS__, NULL}, &why)

static void assert_says(buffer *why, const char *expected) {
  if (!strstr(buffer_end(why), expected)) fail_msg("'%s' does not say '%s'", buffer_end(why), expected);
}

#define FIRST                                                                                                              \
  "CREATE TABLE m_a (id INT PRIMARY KEY, name VARCHAR(20)); -- the first; really\nINSERT INTO m_a VALUES (1, 'a;b');\n"
#define SECOND "ALTER TABLE m_a ADD size INT;\nUPDATE m_a SET size = 3;\n"

TEST_IN_DATABASE(test_apply_and_again) {
  buffer why = {0};
  OK(ctx, MIGRATE("apply", "0002_size", SECOND, "0001_first", FIRST)); /* in order of name */
  assert_int_equal(why.size, 0);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM m_a WHERE size = 3"), 1);
  assert_int_equal(
      count_of(ctx, "SELECT COUNT(*) count FROM purlin_migrations WHERE component = 'apply' AND state = 'applied'"), 6);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM purlin_leases"), 0);
  OK(ctx, MIGRATE("apply", "0001_first", FIRST, "0002_size", SECOND));
  OK(ctx,
     MIGRATE("apply", "0001_first", "-- other comments\n" FIRST, "0002_size", SECOND, "0003_more", "DELETE FROM m_a;"));
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM m_a"), 0);
  OK(ctx, migrate(ctx, "empty", (const char *const[]){NULL}, &why));
  buffer_free(&why);
}

TEST_IN_DATABASE(test_changed) {
  buffer why = {0};
  const char *first = "CREATE TABLE m_b (id INT);\nINSERT INTO m_b VALUES (1);";
  OK(ctx, MIGRATE("changed", "0001_first", first));
  assert_int_equal(MIGRATE("changed", "0001_first", "CREATE TABLE m_b (id INT);\nINSERT INTO m_b VALUES (2);"),
                   PURLIN_CONFLICT);
  assert_says(&why, "changed: statement 2 of migration 0001_first has changed");
  assert_int_equal(MIGRATE("changed", "0001_first", "CREATE TABLE m_b (id INT);"), PURLIN_CONFLICT);
  assert_says(&why, "statements were added or removed");
  assert_int_equal(
      MIGRATE("changed", "0001_first", "CREATE TABLE m_b (id INT);\nINSERT INTO m_b VALUES (1);\nDROP TABLE m_b;"),
      PURLIN_CONFLICT);
  assert_says(&why, "statements were added or removed");
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM m_b"), 1);
  assert_int_equal(MIGRATE("changed", "0001_first", first, "0001_first", first), PURLIN_CONFLICT);
  assert_says(&why, "two migrations are named 0001_first");
  assert_int_equal(MIGRATE("changed", "0000_before", "SELECT 1;", "0002_after", "DO 0;"), PURLIN_CONFLICT);
  assert_says(&why, "0001_first is applied in this database but is not part of this release");
  buffer_free(&why);
}

TEST_IN_DATABASE(test_newer_release) {
  buffer why = {0};
  OK(ctx, MIGRATE("newer", "0001_first", "CREATE TABLE m_c (id INT);", "0002_second", "DO 0;"));
  OK(ctx, MIGRATE("newer", "0001_first", "CREATE TABLE m_c (id INT);"));
  assert_says(&why, "0002_second is not known here: this database was used by a newer release");
  buffer_free(&why);
}

/* What an older release may find that a newer one has left: whole, half done, and marked as what it cannot work with. */
TEST_IN_DATABASE(test_older_release) {
  buffer why = {0};
  static const char first[] = "CREATE TABLE m_old (id INT);", more[] = "ALTER TABLE m_old ADD size INT;";
  OK(ctx, MIGRATE("older", "0001_first", first, "0002_more", more, "0003_more", "DO 0;"));
  RUN(ctx, "DELETE FROM purlin_migrations WHERE component = 'older' AND name = '0003_more' AND statement = 0");
  RUN(ctx, "UPDATE purlin_migrations SET state = 'started' WHERE component = 'older' AND name = '0003_more'");
  OK(ctx, MIGRATE("older", "0001_first", first));
  assert_says(&why, "0002_more is not known here");
  OK(ctx, migrate(ctx, "older", (const char *const[]){NULL}, &why)); /* has become a plugin without migrations */
  OK(ctx, MIGRATE("older", "0001_first", first, "0002_more", more, "0003_more", "DO 0;")); /* and the newer one again */
  assert_int_equal(why.size, 0);

  const char *breaking = "-- breaking: sizes are gone\nALTER TABLE m_old DROP size;";
  OK(ctx, MIGRATE("older", "0001_first", first, "0002_more", more, "0003_more", "DO 0;", "0004_gone", breaking));
  OK(ctx, MIGRATE("older", "0001_first", first, "0002_more", more, "0003_more", "DO 0;", "0004_gone", breaking));
  assert_int_equal(MIGRATE("older", "0001_first", first, "0002_more", more), PURLIN_CONFLICT);
  assert_says(&why, "newer release, whose migration 0004_gone this release cannot work with");
  assert_says(&why, "purlin restore");
  assert_int_equal(migrate(ctx, "older", (const char *const[]){NULL}, &why), PURLIN_CONFLICT);
  buffer_free(&why);
}

/* The mark stands before the first statement: one that fails half-way keeps the older release out as well. */
TEST_IN_DATABASE(test_breaking_half_way) {
  buffer why = {0};
  const char *first = "CREATE TABLE m_half (id INT);";
  OK(ctx, MIGRATE("halved", "0001_first", first));
  assert_int_equal(
      MIGRATE("halved", "0001_first", first, "0002_gone", "-- breaking: all else\nDROP TABLE m_half;\nDROP TABLE m_none;"),
      PURLIN_INTERNAL);
  assert_int_equal(MIGRATE("halved", "0001_first", first), PURLIN_CONFLICT);
  assert_says(&why, "0002_gone");
  OK(ctx, MIGRATE("halved", "0001_first", first, "0002_gone", "-- breaking: all else\nDROP TABLE m_half;"));
  assert_int_equal(MIGRATE("halved", "0001_first", first), PURLIN_CONFLICT);
  buffer_free(&why);
}

TEST_IN_DATABASE(test_fails_half_way) {
  buffer why = {0};
  const char *broken = "CREATE TABLE m_d (id INT PRIMARY KEY);\nINSERT INTO m_d VALUES (1);\nINSERT INTO m_d VALUES (1);";
  assert_int_equal(MIGRATE("half", "0001_first", broken), PURLIN_INTERNAL);
  assert_says(&why, "half: statement 3 of migration 0001_first failed: ");
  assert_says(&why, "Duplicate entry");
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM m_d"), 1);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM purlin_leases"), 0);
  /* corrected, it goes on where it was */
  OK(ctx, MIGRATE("half", "0001_first",
                  "CREATE TABLE m_d (id INT PRIMARY KEY);\nINSERT INTO m_d VALUES (1);\nINSERT INTO m_d VALUES (2);"));
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM m_d"), 2);
  assert_int_equal(MIGRATE("half2", "0001_first", "CREATE TABLE m_d (id INT);"), PURLIN_INTERNAL);
  assert_says(&why, "already exists");
  assert_int_equal(MIGRATE("half2", "0001_first", "CREATE TABLE m_d (id INT);"),
                   PURLIN_INTERNAL); /* again: not taken for done */
  assert_int_equal(MIGRATE("half3", "0001_first", "CREATE TABLE m_e (id NONSENSE);"), PURLIN_INTERNAL);
  assert_says(&why, "half3: statement 1 of migration 0001_first failed");
  assert_int_equal(MIGRATE("half4", "0001_first", "SET GLOBAL x = 1;"), PURLIN_INVALID);
  assert_says(&why, "may not stand in a migration");
  buffer_free(&why);
}

/* What is left when the process dies between a definition and its record. */
TEST_IN_DATABASE(test_died_in_a_definition) {
  buffer why = {0};
  OK(ctx, MIGRATE("died", "0001_first", "CREATE TABLE m_f (id INT);"));
  RUN(ctx, "UPDATE purlin_migrations SET state = 'started' WHERE component = 'died' AND statement = 1");
  RUN(ctx, "DELETE FROM purlin_migrations WHERE component = 'died' AND statement = 0");
  OK(ctx, MIGRATE("died", "0001_first", "CREATE TABLE m_f (id INT);"));
  assert_int_equal(
      count_of(ctx, "SELECT COUNT(*) count FROM purlin_migrations WHERE component = 'died' AND state = 'applied'"), 2);
  buffer_free(&why);
}

static struct {
  int ended;
  purlin_status status[2];
} both;

static void migrate_in_fiber(purlin_ctx *ctx, void *argument) {
  buffer why = {0};
  int64_t index = *(const int64_t *)argument;
  both.status[index] =
      MIGRATE("both", "0001_first", "CREATE TABLE m_g (id INT);\nINSERT INTO m_g VALUES (1);\nDO SLEEP(0.2);");
  both.ended++;
  buffer_free(&why);
}

TEST_IN_DATABASE(test_two_at_once) {
  static const int64_t zero = 0, one = 1;
  assert_int_equal(context_start("test", "test.zero", migrate_in_fiber, (void *)(uintptr_t)&zero), PURLIN_OK);
  assert_int_equal(context_start("test", "test.one", migrate_in_fiber, (void *)(uintptr_t)&one), PURLIN_OK);
  while (both.ended < 2) loop_sleep(10);
  assert_int_equal(both.status[0], PURLIN_OK);
  assert_int_equal(both.status[1], PURLIN_OK);
  assert_int_equal(count_of(ctx, "SELECT COUNT(*) count FROM m_g"), 1);
  /* the lease of a process that died lapses */
  buffer why = {0};
  RUN(ctx, "INSERT INTO purlin_leases VALUES ('migrations', 'dead', NOW(6) + INTERVAL 300000 MICROSECOND)");
  OK(ctx, MIGRATE("lapsed", "0001_first", "DO 0;"));
  buffer_free(&why);
}

/* ---- The private server ---- */

static double seconds_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

TEST_IN_DATABASE(data_is_there) { assert_true(count_of(ctx, "SELECT COUNT(*) count FROM m_a") == 0); }

static void test_start_again(void **state) {
  buffer why = {0};
  db_dev_stop();
  double began = seconds_now();
  assert_int_equal(db_dev_start(test_directory, &test_options, &why), PURLIN_OK);
  assert_true(seconds_now() - began < 30); /* a busy machine has needed more than five */
  assert_int_equal(db_dev_start(test_directory, &test_options, &why), PURLIN_CONFLICT);
  data_is_there(state);
  buffer_free(&why);
}

/* A child process starts the server and is killed; its parent starts it anew on the same data. */
static void test_left_behind(void **state) {
  buffer why = {0};
  int ready[2];
  char byte = 0;
  db_dev_stop();
  assert_int_equal(pipe(ready), 0);
  pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    byte = db_dev_start(test_directory, &test_options, &why) == PURLIN_OK;
    if (write(ready[1], &byte, 1) != 1) _exit(1);
    for (;;) pause();
  }
  assert_int_equal(read(ready[0], &byte, 1), 1);
  assert_int_equal(byte, 1);
  kill(child, SIGKILL);
  assert_int_equal(waitpid(child, NULL, 0), child);
  assert_int_equal(db_dev_start(test_directory, &test_options, &why), PURLIN_OK);
  data_is_there(state);
  close(ready[0]);
  close(ready[1]);
  buffer_free(&why);
}

static void test_deep_directory(void **state) {
  (void)state;
  char deep[256];
  buffer why = {0};
  db_options options;
  db_options_default(&options);
  db_dev_stop();
  int size = snprintf(deep, sizeof deep, "%s/", test_directory);
  memset(deep + size, 'd', 120);
  deep[size + 120] = '\0';
  assert_int_equal(db_dev_start(deep, &options, &why), PURLIN_OK);
  assert_true(strlen(options.socket) < 108);
  db_dev_stop();
  assert_int_equal(access(options.socket, F_OK), -1); /* nor the folder under /tmp */
  assert_int_equal(db_dev_start("/proc/nothing/here", &options, &why), PURLIN_UNAVAILABLE);
  assert_says(&why, "/proc/nothing/here");
  buffer_free(&why);
}

/* A data directory that was only half made is made anew; one that the server cannot use is explained. */
static void test_bad_data(void **state) {
  (void)state;
  char path[128], file[160];
  buffer why = {0};
  db_options options;
  db_options_default(&options);
  db_dev_stop();
  snprintf(path, sizeof path, "%s/bad", test_directory);
  snprintf(file, sizeof file, "%s/mariadb.new", path);
  assert_int_equal(mkdir(path, 0700), 0);
  assert_int_equal(mkdir(file, 0700), 0);
  snprintf(file, sizeof file, "%s/mariadb.new/junk", path);
  fclose(fopen(file, "w"));
  assert_int_equal(db_dev_start(path, &options, &why), PURLIN_OK);
  db_dev_stop();
  snprintf(file, sizeof file, "%s/mariadb/ibdata1", path);
  FILE *data = fopen(file, "w");
  assert_non_null(data);
  fputs("not a tablespace", data);
  fclose(data);
  assert_int_equal(db_dev_start(path, &options, &why), PURLIN_UNAVAILABLE);
  assert_says(&why, "error.log");
  buffer_free(&why);
}

static void test_start_errors(void **state) {
  (void)state;
  buffer why = {0};
  db_options options;
  db_options_default(&options);
  options.socket = "/nonexistent/socket";
  assert_int_equal(db_start(&options, &why), PURLIN_UNAVAILABLE);
  assert_says(&why, "/nonexistent/socket");
  assert_false(db_ready(&why));
  buffer_clear(&why);
  options.user = NULL;
  assert_int_equal(db_start(&options, &why), PURLIN_INVALID);
  buffer_clear(&why);
  options = test_options;
  options.user = "nobody";
  options.password = "wrong";
  assert_int_equal(db_start(&options, &why), PURLIN_UNAVAILABLE);
  assert_says(&why, "CREATE USER 'nobody'");
  buffer_clear(&why);
  options = test_options;
  options.database = "bad`name";
  assert_int_equal(db_start(&options, &why), PURLIN_UNAVAILABLE);
  assert_says(&why, "cannot be a database's name");
  buffer_clear(&why);
  options = test_options;
  options.connections = 500;
  assert_int_equal(db_start(&options, &why), PURLIN_UNAVAILABLE);
  assert_says(&why, "raise max_connections");
  buffer_free(&why);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_apply_and_again),
      cmocka_unit_test(test_changed),
      cmocka_unit_test(test_newer_release),
      cmocka_unit_test(test_older_release),
      cmocka_unit_test(test_breaking_half_way),
      cmocka_unit_test(test_fails_half_way),
      cmocka_unit_test(test_died_in_a_definition),
      cmocka_unit_test(test_two_at_once),
      cmocka_unit_test(test_start_errors),
      cmocka_unit_test(test_start_again),
      cmocka_unit_test(test_left_behind),
      cmocka_unit_test(test_deep_directory),
      cmocka_unit_test(test_bad_data),
  };
  return cmocka_run_group_tests(tests, start_server, stop_server);
}
