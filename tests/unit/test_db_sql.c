/* The text of statements: what they do, where they end; C values as parameters; days and dates. */
#include "db/calendar.h"
#include "db/plan.h"
#include "db/sql.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void test_classify(void **state) {
  (void)state;
  static const struct {
    const char *sql;
    sql_kind kind;
  } cases[] = {
      {"SELECT 1", SQL_READS},
      {"  -- why\n /* and */ # how\n select id FROM t", SQL_READS},
      {"(SELECT 1) UNION (SELECT 2)", SQL_READS},
      {"WITH a AS (SELECT 1) SELECT * FROM a", SQL_READS},
      {"SHOW TABLES", SQL_READS},
      {"SELECT id FROM t WHERE a = ? FOR UPDATE", SQL_WRITES},
      {"SELECT id FROM t FOR\n  UPDATE SKIP LOCKED", SQL_WRITES},
      {"SELECT id FROM t LOCK IN SHARE MODE", SQL_WRITES},
      {"SELECT id INTO @x FROM t", SQL_WRITES},
      {"SELECT 'FOR UPDATE', \"INTO\", `lock` FROM t -- FOR UPDATE\n", SQL_READS},
      {"SELECT for_update, update_for FROM t", SQL_READS},
      {"INSERT INTO t VALUES (1)", SQL_WRITES},
      {"insert into t values (1) returning id", SQL_WRITES},
      {"UPDATE t SET a = 1", SQL_WRITES},
      {"DELETE FROM t", SQL_WRITES},
      {"REPLACE t VALUES (1)", SQL_WRITES},
      {"HANDLER t OPEN", SQL_WRITES},
      {"CREATE TABLE t (a INT)", SQL_DEFINES},
      {"alter table t add b int", SQL_DEFINES},
      {"TRUNCATE t", SQL_DEFINES},
      {"COMMIT", SQL_CONTROLS},
      {"START TRANSACTION", SQL_CONTROLS},
      {"SET autocommit = 0", SQL_CONTROLS},
      {"CALL p()", SQL_CONTROLS},
      {"", SQL_CONTROLS},
      {"-- nothing", SQL_CONTROLS},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    sql_kind kind = sql_classify(cases[i].sql, strlen(cases[i].sql));
    if (kind != cases[i].kind) fail_msg("%s: %d, expected %d", cases[i].sql, (int)kind, (int)cases[i].kind);
  }
}

static void assert_split(const char *sql, size_t count, const char *const *expected) {
  sql_script script = {sql, sql + strlen(sql)};
  const char *text;
  size_t size;
  for (size_t i = 0; i < count; i++) {
    assert_true(sql_next(&script, &text, &size));
    assert_int_equal(size, strlen(expected[i]));
    assert_memory_equal(text, expected[i], size);
  }
  assert_false(sql_next(&script, &text, &size));
  assert_false(sql_next(&script, &text, &size));
}

#define ASSERT_SPLIT(sql, ...)                                                                                             \
  do {                                                                                                                     \
    static const char *const expected[] = {__VA_ARGS__};                                                                   \
    assert_split(sql, sizeof expected / sizeof expected[0], expected);                                                     \
  } while (0)

static void test_split(void **state) {
  (void)state;
  ASSERT_SPLIT("a; b;\nc", "a", "b", "c");
  ASSERT_SPLIT("\n-- first; really\nCREATE TABLE t (a INT); # second;\n/* third; */ DROP TABLE t ;\n",
               "CREATE TABLE t (a INT)", "DROP TABLE t");
  ASSERT_SPLIT("INSERT INTO t VALUES (';', \";\", 'it''s;', 'a\\';b'); x",
               "INSERT INTO t VALUES (';', \";\", 'it''s;', 'a\\';b')", "x");
  ASSERT_SPLIT("SELECT `a;``b;` ; y", "SELECT `a;``b;`", "y");
  ASSERT_SPLIT("a -- not; the end\n b; c", "a -- not; the end\n b", "c");
  ASSERT_SPLIT("SELECT 1--2; x", "SELECT 1--2", "x"); /* no blank after the dashes: minus minus two */
  ASSERT_SPLIT("/*!40101 SET x; */; y", "/*!40101 SET x; */", "y");
  ASSERT_SPLIT("a 'open ; text", "a 'open ; text");
  ASSERT_SPLIT("a /* open ; comment", "a");
  ASSERT_SPLIT("'\\", "'\\");
  assert_split(";;; -- nothing\n;", 0, NULL);
  assert_split("", 0, NULL);
}

static void test_excerpt(void **state) {
  (void)state;
  assert_int_equal(sql_excerpt("SELECT\n1", 8, 100), 6);
  assert_int_equal(sql_excerpt("SELECT 1", 8, 3), 3);
  assert_int_equal(sql_excerpt("a\xc3\xa9", 3, 2), 1);
}

static bool narrows(const char *sql) { return sql_narrows(sql, strlen(sql)); }

static void test_release(void **state) {
  (void)state;
  assert_true(sql_is_breaking("-- breaking: sizes are gone\nDROP TABLE a;"));
  assert_true(sql_is_breaking("CREATE TABLE a (id INT);\n-- breaking: because"));
  assert_false(sql_is_breaking("-- not breaking: at all\n"));
  assert_false(sql_is_breaking("INSERT INTO a VALUES ('-- breaking: no');"));
  assert_false(sql_is_breaking(""));
  assert_true(narrows("DROP TABLE a"));
  assert_true(narrows("alter table a drop column b"));
  assert_true(narrows("ALTER TABLE a ADD c INT, DROP\n/* why */ b"));
  assert_true(narrows("ALTER TABLE a DROP `index`"));
  assert_true(narrows("ALTER TABLE a MODIFY b INT"));
  assert_true(narrows("RENAME TABLE a TO b"));
  assert_true(narrows("TRUNCATE a"));
  assert_true(narrows("DROP"));
  assert_false(narrows("ALTER TABLE a DROP INDEX b, ADD dropped INT COMMENT 'DROP it', DROP FOREIGN KEY c"));
  assert_false(narrows("ALTER TABLE a DROP CONSTRAINT c, RENAME INDEX a TO b -- MODIFY"));
  assert_false(narrows("CREATE TABLE a (id INT, `change` INT)"));
}

static void test_values(void **state) {
  (void)state;
  const char *text = "text";
  purlin_json json = {"{}", 2};
  purlin_bytes bytes = {"ab", 2};
  purlin_opt_int nine = {PURLIN_SET, 9};
  purlin_time five = {5};
  const purlin_value values[] = {PURLIN_EACH_(7, true, 1.5, text, five, json, bytes, nine, (uint64_t)8)};
  static const purlin_value_type types[] = {PURLIN_V_INT,  PURLIN_V_INT,   PURLIN_V_DOUBLE, PURLIN_V_TEXT, PURLIN_V_TIME,
                                            PURLIN_V_TEXT, PURLIN_V_BYTES, PURLIN_V_INT,    PURLIN_V_INT};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) assert_int_equal(values[i].type, types[i]);
  assert_int_equal(values[3].size, 4);
  assert_int_equal(values[7].as.integer, 9);
  assert_int_equal(purlin_value_text(NULL).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_double(NAN).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_double(-INFINITY).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_time((purlin_time){0}).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_json((purlin_json){0}).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_bytes((purlin_bytes){0}).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_opt_text((purlin_opt_text){.state = PURLIN_NULL}).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_opt_double((purlin_opt_double){0}).type, PURLIN_V_NULL);
  assert_int_equal(purlin_value_opt_bool((purlin_opt_bool){PURLIN_SET, true}).as.integer, 1);
}

static void assert_date(int64_t unix_us, unsigned year, unsigned month, unsigned day) {
  MYSQL_TIME time;
  calendar_from_us(unix_us, &time);
  assert_int_equal(time.year, year);
  assert_int_equal(time.month, month);
  assert_int_equal(time.day, day);
  int64_t seconds = calendar_days(year, month, day) * 86400 + time.hour * 3600 + time.minute * 60 + time.second;
  assert_int_equal(seconds * 1000000 + (int64_t)time.second_part, unix_us);
}

static void test_calendar(void **state) {
  (void)state;
  assert_date(0, 1970, 1, 1);
  assert_date(-1, 1969, 12, 31);
  assert_date(951782400000000, 2000, 2, 29);
  assert_date(4107542399999999, 2100, 2, 28);
  assert_date(253402300799999999, 9999, 12, 31);
  for (int64_t day = -200000; day < 200000; day += 97) {
    MYSQL_TIME time;
    calendar_from_us(day * INT64_C(86400000000), &time);
    assert_int_equal(calendar_days(time.year, time.month, time.day), day);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_classify), cmocka_unit_test(test_split),    cmocka_unit_test(test_excerpt),
      cmocka_unit_test(test_values),   cmocka_unit_test(test_calendar), cmocka_unit_test(test_release),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
