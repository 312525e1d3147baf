/* Statements against a real MariaDB: types, errors, lists, cursors, bulk, transactions, JSON rows. */
#include "test_db.h"

#include <malloc.h>

/* ---- Types there and back ---- */

PURLIN_ENUM(colour, RED, GREEN, DARK_BLUE);

typedef struct part {
  const char *name;
  int64_t count;
} part;
PURLIN_SCHEMA(part, "A part", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(count, "How many"));

typedef struct everything {
  int64_t id;
  bool flag;
  double number;
  const char *text;
  colour shade;
  purlin_time at;
  purlin_json tree;
  purlin_bytes raw;
  purlin_texts tags;
  purlin_doubles weights;
  part one;
  PURLIN_LIST_OF(part) parts;
  purlin_opt_bool maybe_flag;
  purlin_opt_int maybe_int;
  purlin_opt_double maybe_number;
  purlin_opt_text maybe_text;
} everything;
PURLIN_SCHEMA(everything, "One of each", PURLIN_REQUIRED(id, "Id"), PURLIN_REQUIRED(flag, "A boolean"),
              PURLIN_REQUIRED(number, "A number"), PURLIN_OPTIONAL(text, "A text", .max_length = 20000000),
              PURLIN_REQUIRED(shade, "An enum", .choices = colour_names), PURLIN_OPTIONAL(at, "A time"),
              PURLIN_OPTIONAL(tree, "Any JSON"), PURLIN_OPTIONAL(raw, "Bytes"), PURLIN_OPTIONAL(tags, "Texts"),
              PURLIN_OPTIONAL(weights, "Numbers"), PURLIN_OBJECT(one, part, "An object"),
              PURLIN_LIST(parts, part, "Objects"), PURLIN_OPTIONAL(maybe_flag, "A boolean or none"),
              PURLIN_OPTIONAL(maybe_int, "An integer or none"), PURLIN_OPTIONAL(maybe_number, "A number or none"),
              PURLIN_OPTIONAL(maybe_text, "A text or none"));

#define EVERYTHING_COLUMNS                                                                                                 \
  "id BIGINT PRIMARY KEY, flag BOOLEAN NOT NULL, number DOUBLE NOT NULL, text LONGTEXT, shade VARCHAR(20) NOT NULL,"       \
  " at DATETIME(6), tree JSON, raw LONGBLOB, tags JSON, weights JSON, one JSON NOT NULL, parts JSON, maybe_flag BOOLEAN,"  \
  " maybe_int BIGINT, maybe_number DOUBLE, maybe_text TEXT"

static const everything sample = {
    .id = INT64_MIN,
    .flag = true,
    .number = 0.1,
    .text = "Grüße, 世界 🚀 'quoted'",
    .shade = DARK_BLUE,
    .at = {1714564800123456},
    .tree = {"{\"a\": [1, null]}", 16},
    .raw = {"\0\xff\n", 3},
    .tags = {(const char *const[]){"a", "b c"}, 2},
    .weights = {(const double[]){1.5, -2}, 2},
    .one = {"wheel", 4},
    .parts = {(part[]){{"door", 2}, {"roof", 1}}, 2},
    .maybe_flag = {PURLIN_SET, false},
    .maybe_int = {PURLIN_SET, INT64_MAX},
    .maybe_number = {PURLIN_SET, 1e300},
    .maybe_text = {PURLIN_SET, ""},
};

static void assert_everything(const everything *found) {
  assert_int_equal(found->id, sample.id);
  assert_true(found->flag);
  assert_true(found->number == 0.1);
  assert_string_equal(found->text, sample.text);
  assert_int_equal(found->shade, DARK_BLUE);
  assert_int_equal(found->at.unix_us, sample.at.unix_us);
  assert_int_equal(found->tree.size, sample.tree.size);
  assert_memory_equal(found->tree.text, sample.tree.text, sample.tree.size);
  assert_int_equal(found->raw.size, 3);
  assert_memory_equal(found->raw.data, sample.raw.data, 3);
  assert_int_equal(found->tags.count, 2);
  assert_string_equal(found->tags.items[1], "b c");
  assert_int_equal(found->weights.count, 2);
  assert_true(found->weights.items[1] == -2);
  assert_string_equal(found->one.name, "wheel");
  assert_int_equal(found->parts.count, 2);
  assert_string_equal(found->parts.items[1].name, "roof");
  assert_int_equal(found->maybe_flag.state, PURLIN_SET);
  assert_false(found->maybe_flag.value);
  assert_true(found->maybe_int.value == INT64_MAX);
  assert_true(found->maybe_number.value == 1e300);
  assert_string_equal(found->maybe_text.value, "");
}

TEST_IN_DATABASE(test_types) {
  everything found, null_row = {.id = 2, .shade = RED, .one = {"x", 1}};
  RUN(ctx, "CREATE OR REPLACE TABLE everything (" EVERYTHING_COLUMNS ")");
  const everything items[] = {sample, null_row};
  assert_int_equal(
      purlin_db_bulk(ctx, everything, items, 2, "INSERT INTO everything VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"),
      PURLIN_OK);
  assert_int_equal(purlin_affected(ctx), 2);
  OK(ctx, purlin_db_row(ctx, everything, &found, "SELECT * FROM everything WHERE id = ?", sample.id));
  assert_everything(&found);
  OK(ctx, purlin_db_row(ctx, everything, &found, "SELECT * FROM everything WHERE id = ?", 2));
  assert_null(found.text);
  assert_int_equal(found.at.unix_us, 0);
  assert_null(found.tree.text);
  assert_null(found.raw.data);
  assert_null(found.tags.items);
  assert_null(found.parts.items);
  assert_int_equal(found.shade, RED);
  assert_int_equal(found.maybe_int.state, PURLIN_NULL);
  assert_int_equal(found.maybe_text.state, PURLIN_NULL);
}

typedef struct numbers {
  int64_t whole;
  double number;
  const char *text;
  purlin_time at;
  purlin_opt_int opt;
} numbers;
PURLIN_SCHEMA(numbers, "Numbers", PURLIN_OPTIONAL(text, "Text"), PURLIN_OPTIONAL(at, "Time"),
              PURLIN_DEFAULT(whole, "0", "Whole"), PURLIN_DEFAULT(number, "0", "Number"), PURLIN_OPTIONAL(opt, "Optional"));

TEST_IN_DATABASE(test_conversions) {
  numbers n;
  purlin_opt_int none = {0};
  OK(ctx, purlin_db_row(ctx, numbers, &n,
                        "SELECT CAST(-5 AS DECIMAL(10,2)) whole, CAST('12.25' AS DECIMAL(10,3)) "
                        "number, CAST('2024-02-29' AS DATE) at, 3e0 text, SUM(7) opt"));
  assert_int_equal(n.whole, -5);
  assert_true(n.number == 12.25);
  assert_int_equal(n.at.unix_us, INT64_C(1709164800000000));
  assert_string_equal(n.text, "3");
  assert_int_equal(n.opt.value, 7);
  OK(ctx, purlin_db_row(ctx, numbers, &n, "SELECT CAST('2024-02-29 12:00:00.5' AS DATETIME(6)) text, CAST(? AS SIGNED) opt",
                        none));
  assert_string_equal(n.text, "2024-02-29T12:00:00.500Z");
  assert_int_equal(n.opt.state, PURLIN_NULL);
  assert_int_equal(n.whole, 0); /* not selected */
  assert_int_equal(purlin_db_row(ctx, numbers, &n, "SELECT 18446744073709551615 whole"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "'whole'"));
  assert_int_equal(purlin_db_row(ctx, numbers, &n, "SELECT 1.5 whole"), PURLIN_INTERNAL);
  assert_int_equal(purlin_db_row(ctx, numbers, &n, "SELECT 'seven' number"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "does not fit double"));
  purlin_time early = {-62135596800000000 + 1};
  OK(ctx, purlin_db_row(ctx, numbers, &n, "SELECT CAST(? AS DATETIME(6)) at", early));
  assert_int_equal(n.at.unix_us, early.unix_us);
}

TEST_IN_DATABASE(test_plan_errors) {
  part p;
  everything e;
  (void)e;
  assert_int_equal(purlin_db_row(ctx, part, &p, "SELECT 'x' name, 1 count, 2 other"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "'other' is selected, but no member has this name"));
  assert_int_equal(purlin_db_row(ctx, part, &p, "SELECT 'x' name"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "'count' is required, but not selected"));
  assert_int_equal(purlin_db_row(ctx, part, &p, "SELECT 'x' name, NULL count"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "'count' is required, but the row has NULL"));
  assert_int_equal(purlin_db_row(ctx, part, &p, "SELECT 'x' name, 1 count, 2 count"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "selected twice"));
  assert_int_equal(purlin_db_row(ctx, part, &p, "DO 0"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "has no rows"));
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT 'x' name, 1 count")); /* the connection is fine */
}

TEST_IN_DATABASE(test_altered_table) {
  numbers n;
  RUN(ctx, "CREATE OR REPLACE TABLE altered (id INT PRIMARY KEY, whole INT)");
  RUN(ctx, "INSERT INTO altered VALUES (1, 5)");
  const char *sql = "SELECT whole FROM altered WHERE id = 1", *all = "SELECT * FROM altered";
  part p;
  OK(ctx, purlin_db_row(ctx, numbers, &n, sql));
  assert_int_equal(purlin_db_row(ctx, part, &p, all), PURLIN_INTERNAL);
  RUN(ctx, "ALTER TABLE altered MODIFY whole DECIMAL(30,3), ADD text VARCHAR(10) DEFAULT 'new'");
  OK(ctx, purlin_db_row(ctx, numbers, &n, sql));
  assert_int_equal(n.whole, 5);
  RUN(ctx, "ALTER TABLE altered DROP id");
  OK(ctx, purlin_db_row(ctx, numbers, &n, all)); /* prepared with other columns before */
  assert_string_equal(n.text, "new");
  RUN(ctx, "ALTER TABLE altered CHANGE whole number DECIMAL(30,3)"); /* another name, the same types */
  OK(ctx, purlin_db_row(ctx, numbers, &n, all));
  assert_true(n.number == 5 && n.whole == 0);
}

TEST_IN_DATABASE(test_session) {
  part p;
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT @@tx_isolation name, @@innodb_lock_wait_timeout count"));
  assert_string_equal(p.name, "READ-COMMITTED");
  assert_int_equal(p.count, 10);
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT '' name, @@idle_transaction_timeout count"));
  assert_int_equal(p.count, 60); /* a frozen node does not hold its locks for ever */
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT @@time_zone name, @@autocommit count"));
  assert_string_equal(p.name, "+00:00");
  assert_int_equal(p.count, 1);
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT @@sql_mode name, CEIL(@@max_statement_time) count"));
  assert_non_null(strstr(p.name, "STRICT_ALL_TABLES"));
  assert_int_equal(p.count, 0);
  context_set_deadline(ctx, 30000);
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT @@character_set_connection name, CEIL(@@max_statement_time) count"));
  assert_string_equal(p.name, "utf8mb4");
  assert_int_equal(p.count, 32);
  context_set_deadline(ctx, 20000); /* near enough */
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT '' name, CEIL(@@max_statement_time) count"));
  assert_int_equal(p.count, 32);
  context_set_deadline(ctx, UINT32_MAX);
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT '' name, CEIL(@@max_statement_time) count"));
  assert_int_equal(p.count, 0);
}

/* ---- Long values, lists ---- */

typedef struct long_text {
  const char *text;
} long_text;
PURLIN_SCHEMA(long_text, "A long text", PURLIN_REQUIRED(text, "Text"));

TEST_IN_DATABASE(test_long_values) {
  RUN(ctx, "CREATE OR REPLACE TABLE long_values (text LONGTEXT)");
  size_t size = 9000000;
  char *text = malloc(size + 1);
  assert_non_null(text);
  for (size_t i = 0; i < size; i++) text[i] = (char)('a' + i % 23);
  text[size] = '\0';
  RUN(ctx, "INSERT INTO long_values VALUES (?)", text);
  long_text found;
  OK(ctx, purlin_db_row(ctx, long_text, &found, "SELECT text FROM long_values"));
  assert_int_equal(strlen(found.text), size);
  assert_memory_equal(found.text, text, size);
  free(text);
  for (int i = 0; i < 8; i++) RUN(ctx, "INSERT INTO long_values SELECT text FROM long_values LIMIT 1");
  PURLIN_LIST_OF(long_text) list;
  assert_int_equal(purlin_db_list(ctx, long_text, &list, "SELECT text FROM long_values"), PURLIN_TOO_LARGE);
  OK(ctx, purlin_db_row(ctx, long_text, &found, "SELECT 'short' text"));
  RUN(ctx, "DROP TABLE long_values");
}

TEST_IN_DATABASE(test_lists) {
  PURLIN_LIST_OF(part) list;
  OK(ctx, purlin_db_list(ctx, part, &list, "SELECT 'x' name, 1 count FROM dual WHERE 1 = 0"));
  assert_int_equal(list.count, 0);
  assert_non_null(list.items); /* empty, not absent */
  OK(ctx, purlin_db_list(ctx, part, &list, "SELECT CONCAT('n', seq) name, seq count FROM seq_1_to_5000"));
  assert_int_equal(list.count, 5000);
  for (size_t i = 0; i < list.count; i++) assert_int_equal(list.items[i].count, i + 1);
  assert_string_equal(list.items[4999].name, "n5000");
  assert_int_equal(purlin_db_list(ctx, part, &list, "SELECT 'x' name, seq count FROM seq_1_to_100001"), PURLIN_TOO_LARGE);
  part p;
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT 'x' name, seq count FROM seq_1_to_1000000"));
  assert_int_equal(p.count, 1);
  assert_int_equal(purlin_db_row(ctx, part, &p, "SELECT 'x' name, 1 count FROM dual WHERE ? = 2", 1), PURLIN_NOT_FOUND);
}

TEST_IN_DATABASE(test_cursor) {
  purlin_rows *rows;
  part p;
  bool got = true;
  int64_t expected = 0;
  OK(ctx, purlin_db_open(ctx, part, &rows, "SELECT REPEAT('x', 500) name, seq count FROM seq_1_to_100000"));
  assert_int_equal(purlin_db_run(ctx, "DO 0"), PURLIN_INTERNAL); /* the rows hold the connection */
  size_t before = mallinfo2().uordblks, most = 0;
  for (;;) {
    OK(ctx, purlin_db_next(ctx, rows, &p, &got));
    if (!got) break;
    assert_int_equal(p.count, ++expected);
    assert_int_equal(strlen(p.name), 500);
    size_t now = expected % 1000 == 0 ? mallinfo2().uordblks : 0;
    if (now > most) most = now;
  }
  assert_int_equal(expected, 100000);
  if (before > 0) assert_true(most < before + 256 * 1024); /* 50 MB went by; a sanitizer's malloc tells nothing */
  OK(ctx, purlin_db_next(ctx, rows, &p, &got));
  assert_false(got);
  purlin_db_close(ctx, rows);
  /* closed in the middle: the rest is not read to its end */
  OK(ctx, purlin_db_open(ctx, part, &rows, "SELECT 'x' name, seq count FROM seq_1_to_2000000000"));
  OK(ctx, purlin_db_next(ctx, rows, &p, &got));
  assert_true(got);
  purlin_db_close(ctx, rows);
  OK(ctx, purlin_db_row(ctx, part, &p, "SELECT 'x' name, 7 count"));
  assert_int_equal(p.count, 7);
  OK(ctx, purlin_db_open(ctx, part, &rows, "SELECT 'left open' name, seq count FROM seq_1_to_100000"));
}

/* ---- Errors ---- */

TEST_IN_DATABASE(test_errors) {
  RUN(ctx, "CREATE OR REPLACE TABLE child (id INT)");
  RUN(ctx, "CREATE OR REPLACE TABLE parent (id INT PRIMARY KEY, name VARCHAR(5) UNIQUE)");
  RUN(ctx, "CREATE OR REPLACE TABLE child (id INT PRIMARY KEY AUTO_INCREMENT, parent INT, FOREIGN KEY (parent) REFERENCES "
           "parent (id))");
  RUN(ctx, "INSERT INTO parent VALUES (?, ?)", 1, "a");
  assert_int_equal(purlin_db_run(ctx, "INSERT INTO parent VALUES (?, ?)", 1, "b"), PURLIN_CONFLICT);
  assert_string_equal(purlin_failure(ctx), "");
  assert_int_equal(purlin_db_run(ctx, "INSERT INTO parent VALUES (?, ?)", 2, "a"), PURLIN_CONFLICT);
  assert_int_equal(purlin_db_run(ctx, "INSERT INTO child (parent) VALUES (?)", 9), PURLIN_NOT_FOUND);
  RUN(ctx, "INSERT INTO child (parent) VALUES (?)", 1);
  assert_true(purlin_inserted(ctx) > 0);
  assert_int_equal(purlin_db_run(ctx, "DELETE FROM parent WHERE id = 1"), PURLIN_CONFLICT);
  assert_int_equal(purlin_db_run(ctx, "INSERT INTO parent VALUES (?, ?)", 3, "too long"), PURLIN_INTERNAL);
  assert_int_equal(purlin_db_run(ctx, "SELEC 1"), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "SELEC 1"));
  assert_int_equal(purlin_db_run(ctx, "SELECT ?", 1, 2), PURLIN_INTERNAL);
  assert_non_null(strstr(purlin_failure(ctx), "2 values for 1 '?'"));
  assert_int_equal(purlin_db_run(ctx, "SET autocommit = 0"), PURLIN_INTERNAL);
  assert_int_equal(purlin_db_run(ctx, "COMMIT"), PURLIN_INTERNAL);
  assert_int_equal(purlin_db_run_(ctx, NULL, 0), PURLIN_INTERNAL);
  RUN(ctx, "UPDATE parent SET name = 'a' WHERE id = 1");
  assert_int_equal(purlin_affected(ctx), 1); /* found, though not changed */
  RUN(ctx, "UPDATE parent SET name = 'a' WHERE id = 99");
  assert_int_equal(purlin_affected(ctx), 0);
  part p;
  OK(ctx, purlin_db_row(ctx, part, &p, "INSERT INTO parent VALUES (?, ?) RETURNING name, id count", 5, "five"));
  assert_int_equal(p.count, 5);
  assert_int_equal(purlin_affected(ctx), 1);
  db_set_read_only(ctx, true);
  assert_int_equal(purlin_db_run(ctx, "DELETE FROM parent"), PURLIN_INTERNAL);
  assert_int_equal(purlin_db_run(ctx, "SELECT id FROM parent FOR UPDATE"), PURLIN_INTERNAL);
  RUN(ctx, "SELECT id FROM parent");
}

TEST_IN_DATABASE(test_many_statements) {
  char sql[64];
  part p;
  for (int round = 0; round < 2; round++) {
    for (int i = 0; i < 300; i++) { /* more than are kept */
      snprintf(sql, sizeof sql, "SELECT 'x' name, %d count", i);
      OK(ctx, purlin_db_row(ctx, part, &p, sql));
      assert_int_equal(p.count, i);
    }
  }
}

/* ---- Transactions ---- */

static int64_t count_of(purlin_ctx *ctx, const char *sql) {
  part p;
  OK(ctx, purlin_db_row(ctx, part, &p, sql));
  return p.count;
}

typedef struct attempt_log {
  int runs;
  int committed;
  purlin_status answer;
} attempt_log;

static void note_commit(void *argument) { ((attempt_log *)argument)->committed++; }

static purlin_status insert_two(purlin_ctx *ctx, void *argument) {
  attempt_log *log = argument;
  log->runs++;
  assert_true(db_in_transaction(ctx));
  assert_false(ctx->transaction_open);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM moves"), 0);
  assert_false(ctx->transaction_open); /* reading does not begin it */
  OK(ctx, db_after_commit(ctx, note_commit, log));
  RUN(ctx, "INSERT INTO moves VALUES (?, ?)", 1, 0);
  assert_true(ctx->transaction_open);
  assert_int_equal(purlin_db_run(ctx, "CREATE TABLE oops (a INT)"), PURLIN_INTERNAL); /* would commit */
  purlin_clear_failure(ctx);
  RUN(ctx, "INSERT INTO moves VALUES (?, ?)", 2, 0);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM moves"), 2);
  assert_int_equal(log->committed, 0);
  return log->answer;
}

static purlin_status nested(purlin_ctx *ctx, void *argument) { return purlin_transaction(ctx, insert_two, argument); }

TEST_IN_DATABASE(test_transactions) {
  RUN(ctx, "CREATE OR REPLACE TABLE moves (id INT PRIMARY KEY, n INT NOT NULL)");
  attempt_log log = {.answer = PURLIN_FORBIDDEN};
  assert_int_equal(purlin_transaction(ctx, nested, &log), PURLIN_FORBIDDEN);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM moves"), 0);
  assert_int_equal(log.committed, 0);
  log = (attempt_log){.answer = PURLIN_OK};
  OK(ctx, purlin_transaction(ctx, nested, &log));
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM moves"), 2);
  assert_int_equal(log.runs, 1);
  assert_int_equal(log.committed, 1);
  assert_false(ctx->transaction_open);
  assert_false(db_in_transaction(ctx));
  OK(ctx, db_after_commit(ctx, note_commit, &log)); /* outside: at once */
  assert_int_equal(log.committed, 2);
}

static purlin_status insert_apart(purlin_ctx *ctx, void *argument) {
  OK(ctx, db_after_commit(ctx, note_commit, argument));
  RUN(ctx, "INSERT INTO moves VALUES (?, ?)", 3, 0);
  return PURLIN_OK;
}

static purlin_status note_opening(PURLIN_MAYBE_UNUSED purlin_ctx *ctx, void *argument) {
  ((attempt_log *)argument)->runs++;
  return PURLIN_OK;
}

static purlin_status around_apart(purlin_ctx *ctx, void *argument) {
  attempt_log *apart = argument, around = {0};
  db_at_first_write(ctx, note_opening, &around);
  OK(ctx, db_after_commit(ctx, note_commit, &around));
  OK(ctx, purlin_transaction_apart(ctx, insert_apart, apart));
  assert_int_equal(apart->committed, 1);
  assert_int_equal(around.committed, 0);
  assert_false(ctx->transaction_open);
  assert_true(db_in_transaction(ctx));
  assert_int_equal(around.runs, 0);
  RUN(ctx, "INSERT INTO moves VALUES (?, ?)", 1, 0);
  assert_int_equal(around.runs, 1);
  assert_int_equal(purlin_transaction_apart(ctx, insert_apart, apart), PURLIN_INTERNAL);
  return purlin_fail(ctx, PURLIN_FORBIDDEN, "rolled back");
}

TEST_IN_DATABASE(test_transaction_apart) {
  attempt_log apart = {0};
  RUN(ctx, "CREATE OR REPLACE TABLE moves (id INT PRIMARY KEY, n INT NOT NULL)");
  assert_int_equal(purlin_transaction(ctx, around_apart, &apart), PURLIN_FORBIDDEN);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, MAX(id) count FROM moves"), 3);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM moves"), 1);
  assert_int_equal(apart.committed, 1);
  assert_false(db_in_transaction(ctx));
}

/* A transaction whose last statement and COMMIT go to the server together. */
static purlin_status end_with(purlin_ctx *ctx, void *argument) {
  const int64_t *ids = argument; /* of its row, of the ending's row; what it answers */
  const purlin_value ending[] = {purlin_value_text("BEGIN NOT ATOMIC INSERT INTO moves VALUES (?, ?); COMMIT; END"),
                                 purlin_value_int(ids[1]), purlin_value_int(7)};
  purlin_value *kept = purlin_alloc_array(ctx, 3, sizeof *kept);
  memcpy(kept, ending, sizeof ending);
  assert_false(db_end_with(ctx, kept, 3)); /* nothing has begun */
  RUN(ctx, "INSERT INTO moves VALUES (?, 0)", ids[0]);
  assert_true(db_end_with(ctx, kept, 3));
  assert_false(db_end_with(ctx, kept, 3)); /* one is enough */
  return (purlin_status)ids[2];
}

TEST_IN_DATABASE(test_endings) {
  static const char all[] = "SELECT 'x' name, COUNT(*) count FROM moves",
                    seven[] = "SELECT 'x' name, COUNT(*) count FROM moves WHERE n = 7";
  RUN(ctx, "CREATE OR REPLACE TABLE moves (id INT PRIMARY KEY, n INT NOT NULL)");
  assert_false(db_end_with(ctx, (const purlin_value[]){purlin_value_text("COMMIT")}, 1));
  OK(ctx, purlin_transaction(ctx, end_with, (int64_t[]){1, 2, PURLIN_OK}));
  assert_int_equal(count_of(ctx, all), 2);
  assert_int_equal(count_of(ctx, seven), 1);
  assert_int_equal(purlin_transaction(ctx, end_with, (int64_t[]){3, 4, PURLIN_FORBIDDEN}), PURLIN_FORBIDDEN);
  assert_int_equal(count_of(ctx, all), 2); /* rolled back: it never ran */
  assert_int_not_equal(purlin_transaction(ctx, end_with, (int64_t[]){5, 2, PURLIN_OK}), PURLIN_OK);
  purlin_clear_failure(ctx);
  assert_int_equal(count_of(ctx, all), 2); /* it failed, so nothing was committed */
  OK(ctx, purlin_transaction(ctx, end_with, (int64_t[]){5, 6, PURLIN_OK}));
  assert_int_equal(count_of(ctx, seven), 2);
  assert_false(ctx->transaction_open);
}

/* Two fibers that take two rows in opposite order: one of them is the victim and runs again. */
static struct { int started, ended, runs; } crossing;

static purlin_status cross(purlin_ctx *ctx, void *argument) {
  int64_t first = *(const int64_t *)argument;
  char *text = purlin_format(ctx, "%lld", (long long)first);
  assert_non_null(text);
  crossing.runs++;
  RUN(ctx, "UPDATE moves SET n = n + 1 WHERE id = ?", first);
  if (crossing.started < 2) {
    crossing.started++;
    while (crossing.started < 2) loop_sleep(1);
  }
  purlin_status status = purlin_db_run(ctx, "UPDATE moves SET n = n + 1 WHERE id = ?", 3 - first);
  if (status != PURLIN_OK) assert_int_equal(purlin_db_run(ctx, "DO 0"), PURLIN_UNAVAILABLE); /* it has failed for good */
  return status;
}

static void cross_in_fiber(purlin_ctx *ctx, void *argument) {
  OK(ctx, purlin_transaction(ctx, cross, argument));
  crossing.ended++;
}

TEST_IN_DATABASE(test_deadlock) {
  static const int64_t one = 1, two = 2;
  memset(&crossing, 0, sizeof crossing);
  RUN(ctx, "CREATE OR REPLACE TABLE moves (id INT PRIMARY KEY, n INT NOT NULL)");
  RUN(ctx, "INSERT INTO moves VALUES (1, 0), (2, 0)");
  double retries = metrics_value("purlin_db_retries_total");
  assert_int_equal(context_start("test", "test.one", cross_in_fiber, (void *)(uintptr_t)&one), PURLIN_OK);
  assert_int_equal(context_start("test", "test.two", cross_in_fiber, (void *)(uintptr_t)&two), PURLIN_OK);
  while (crossing.ended < 2) loop_sleep(2);
  assert_true(crossing.runs >= 3);
  assert_true(metrics_value("purlin_db_retries_total") > retries);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, SUM(n) count FROM moves"), 4);
}

static purlin_status always_deadlocked(purlin_ctx *ctx, void *argument) {
  ++*(int *)argument;
  RUN(ctx, "UPDATE moves SET n = n + 1 WHERE id = 1");
  return purlin_db_run(ctx, "SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213");
}

TEST_IN_DATABASE(test_deadlock_for_ever) {
  int runs = 0;
  RUN(ctx, "CREATE OR REPLACE TABLE moves (id INT PRIMARY KEY, n INT NOT NULL)");
  RUN(ctx, "INSERT INTO moves VALUES (1, 0)");
  assert_int_equal(purlin_transaction(ctx, always_deadlocked, &runs), PURLIN_UNAVAILABLE);
  assert_int_equal(runs, 6);
  assert_int_equal(ctx->retry_after_s, 1);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, n count FROM moves"), 0);
}

/* ---- On several loops at once ---- */

#define LOOPS 3
#define FIBERS_PER_LOOP 6
#define ROUNDS 30

static _Atomic int fibers_left;

static purlin_status insert_one(purlin_ctx *ctx, void *argument) {
  (void)argument;
  return purlin_db_run(ctx, "INSERT INTO many (loop_index) VALUES (?)", (int64_t)loop_index(ctx->loop));
}

static void work_on_loop(purlin_ctx *ctx, void *argument) {
  (void)argument;
  for (int i = 0; i < ROUNDS; i++) {
    OK(ctx, purlin_transaction(ctx, insert_one, NULL));
    assert_true(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM many") > 0);
  }
  fibers_left--;
}

static void begin_on_loop(void *argument) {
  (void)argument;
  for (int i = 0; i < FIBERS_PER_LOOP; i++)
    assert_int_equal(context_start("test", "test.loop", work_on_loop, NULL), PURLIN_OK);
}

static void all_loops(purlin_ctx *ctx) {
  static loop_post_item items[LOOPS];
  RUN(ctx, "CREATE OR REPLACE TABLE many (id INT PRIMARY KEY AUTO_INCREMENT, loop_index INT)");
  fibers_left = LOOPS * FIBERS_PER_LOOP;
  for (size_t i = 0; i < LOOPS; i++) {
    items[i] = (loop_post_item){.call = begin_on_loop};
    loop_post(loop_at(i), &items[i]);
  }
  while (fibers_left > 0) loop_sleep(5);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM many WHERE loop_index = 2"),
                   FIBERS_PER_LOOP * ROUNDS);
}

static void test_all_loops(void **state) {
  (void)state;
  test_loops = LOOPS;
  with_database(all_loops);
  test_loops = 1;
}

/* ---- Bulk, JSON rows ---- */

typedef struct metric_row {
  const char *name;
  int64_t step;
  double value;
  purlin_opt_text note;
} metric_row;
PURLIN_SCHEMA(metric_row, "A metric", PURLIN_REQUIRED(name, "Name"), PURLIN_REQUIRED(step, "Step"),
              PURLIN_REQUIRED(value, "Value"), PURLIN_OPTIONAL(note, "Note"));

TEST_IN_DATABASE(test_bulk) {
  RUN(ctx,
      "CREATE OR REPLACE TABLE bulk_rows (name VARCHAR(20) NOT NULL, step BIGINT PRIMARY KEY, value DOUBLE, note TEXT)");
  size_t count = 12000;
  metric_row *rows = calloc(count, sizeof *rows);
  assert_non_null(rows);
  for (size_t i = 0; i < count; i++) {
    rows[i] = (metric_row){.name = i % 2 ? "odd" : "even", .step = (int64_t)i, .value = (double)i / 2};
    if (i % 3 == 0) rows[i].note = (purlin_opt_text){PURLIN_SET, "third"};
  }
  const char *sql = "INSERT INTO bulk_rows VALUES (?, ?, ?, ?)";
  OK(ctx, purlin_db_bulk(ctx, metric_row, rows, count, sql));
  assert_int_equal(purlin_affected(ctx), count);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM bulk_rows WHERE note IS NULL"), 8000);
  assert_int_equal(count_of(ctx, "SELECT 'x' name, CAST(SUM(value * 2) AS SIGNED) count FROM bulk_rows"),
                   12000 * 11999 / 2);
  RUN(ctx, "DELETE FROM bulk_rows WHERE step < 11999");
  assert_int_equal(purlin_db_bulk(ctx, metric_row, rows, count, sql), PURLIN_CONFLICT); /* the last one; none stays */
  assert_int_equal(count_of(ctx, "SELECT 'x' name, COUNT(*) count FROM bulk_rows"), 1);
  RUN(ctx, sql, "plain", 5, 1.5, (const char *)NULL); /* the same statement, not in bulk */
  OK(ctx, purlin_db_bulk(ctx, metric_row, rows, 0, sql));
  free(rows);
}

TEST_IN_DATABASE(test_json_rows) {
  purlin_json rows;
  purlin_bytes abc = {"abc", 3};
  purlin_time second = {1000000};
  purlin_value values[] = {purlin_value_int(3), purlin_value_text("a\"b")};
  RUN(ctx, "CREATE OR REPLACE TABLE json_rows (flag BOOLEAN, tree JSON, raw VARBINARY(3), at DATETIME(6), price "
           "DECIMAL(5,2), big BIGINT UNSIGNED)");
  RUN(ctx, "INSERT INTO json_rows VALUES (1, '[1]', ?, ?, 1.50, 5)", abc, second);
  OK(ctx, db_query_json(ctx, "SELECT ? n, ? t, NULL nothing", values, 2, 10, &rows));
  assert_string_equal(rows.text, "[{\"n\":3,\"t\":\"a\\\"b\",\"nothing\":null}]");
  OK(ctx, db_query_json(ctx, "SELECT * FROM json_rows", NULL, 0, 10, &rows));
  assert_string_equal(
      rows.text,
      "[{\"flag\":true,\"tree\":[1],\"raw\":\"YWJj\",\"at\":\"1970-01-01T00:00:01Z\",\"price\":1.50,\"big\":5}]");
  assert_int_equal(db_query_json(ctx, "SELECT seq FROM seq_1_to_11", NULL, 0, 10, &rows), PURLIN_TOO_LARGE);
  OK(ctx, db_query_json(ctx, "DELETE FROM json_rows", NULL, 0, 10, &rows));
  assert_string_equal(rows.text, "[]");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_types),
      cmocka_unit_test(test_session),
      cmocka_unit_test(test_conversions),
      cmocka_unit_test(test_plan_errors),
      cmocka_unit_test(test_altered_table),
      cmocka_unit_test(test_long_values),
      cmocka_unit_test(test_lists),
      cmocka_unit_test(test_cursor),
      cmocka_unit_test(test_errors),
      cmocka_unit_test(test_many_statements),
      cmocka_unit_test(test_transactions),
      cmocka_unit_test(test_transaction_apart),
      cmocka_unit_test(test_endings),
      cmocka_unit_test(test_deadlock),
      cmocka_unit_test(test_deadlock_for_ever),
      cmocka_unit_test(test_all_loops),
      cmocka_unit_test(test_bulk),
      cmocka_unit_test(test_json_rows),
  };
  return cmocka_run_group_tests(tests, start_server, stop_server);
}
