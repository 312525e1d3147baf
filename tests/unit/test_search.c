/* Searches: what clients write, as SQL; and pages of real rows. */
#include "test_db.h"

#include "search/search.h"
#include <purlin/search.h>

static const purlin_search_key keys[] = {
    {.names = "run_id", .sql = "r.id", .never_null = true, .unique = true},
    {.names = "run_name, run name, Run name", .sql = "r.name", .lenient = true},
    {.names = "start_time, created", .sql = "r.at", .type = PURLIN_SEARCH_TIME, .never_null = true},
    {.names = "end_time", .sql = "r.ended", .type = PURLIN_SEARCH_TIME},
    {.names = "score", .sql = "r.score", .type = PURLIN_SEARCH_NUMBER}};
static const purlin_search_entity entities[] = {
    {.names = "attribute, attributes, attr, run", .keys = keys, .key_count = sizeof keys / sizeof keys[0]},
    {.names = "metric, metrics", .table = "metrics", .owner = "run_id", .type = PURLIN_SEARCH_NUMBER},
    {.names = "tag, tags", .table = "tags", .owner = "run_id"},
    {.names = "label, labels", .table = "tags", .owner = "run_id", .lenient = "a, stage", .no_order = true},
    {.names = "step",
     .keys = keys,
     .key_count = 2,
     .table = "tags",
     .owner = "run_id",
     .prefix = "note",
     .number = "number",
     .vast = true}};
static const purlin_search runs = {
    .entities = entities, .entity_count = sizeof entities / sizeof entities[0], .id = "r.id", .order = "start_time DESC"};

/* ---- Conditions --------------------------------------------------------------------------------------------------------------------- */

#define ROWS(table) "EXISTS (SELECT 1 FROM " table " x WHERE x.run_id = r.id AND x.name = ? AND "
#define ONE_OF(table, comparison)                                                                                          \
  "COALESCE((SELECT " comparison " FROM " table " x WHERE x.run_id = r.id AND x.name = ?), TRUE)"

#define COUNTED "(SELECT COUNT(*) FROM tags x WHERE x.run_id = r.id AND x.name = ? AND "

typedef struct compiled {
  const char *condition, *sql, *values; /* values: each in its own way, with a blank before it */
} compiled;

static const compiled conditions[] = {
    {"", "", ""},
    {"  \n\t", "", ""},
    {"metrics.accuracy > 0.9", " AND ((" ROWS("metrics") "x.value > ?)))", " 'accuracy' 0.9"},
    {"metric.`a b` <= -1.5e3", " AND ((" ROWS("metrics") "x.value <= ?)))", " 'a b' -1500"},
    {"metrics.\"a.b c\"=1", " AND ((" ROWS("metrics") "x.value = ?)))", " 'a.b c' 1"},
    {"metrics.val/loss-1 != 1.", " AND ((" ROWS("metrics") "x.value <> ?)))", " 'val/loss-1' 1"},
    {"tags.stage = 'dev'", " AND ((" ROWS("tags") "x.value = ?)))", " 'stage' 'dev'"},
    {"tags.mlflow.source.name LIKE \"a%\"", " AND ((" ROWS("tags") "x.value LIKE ?)))", " 'mlflow.source.name' 'a%'"},
    {"tag.a ilike 'B'", " AND ((" ROWS("tags") "LOWER(x.value) LIKE LOWER(?))))", " 'a' 'B'"},
    {"tag.a != 'b'", " AND ((" ROWS("tags") "x.value <> ?)))", " 'a' 'b'"},
    {"label.a != 'b'", " AND ((" ONE_OF("tags", "x.value <> ?") "))", " 'b' 'a'"},
    {"label.a NOT IN ('b', 'c')", " AND ((" ONE_OF("tags", "x.value NOT IN (?,?)") "))", " 'b' 'c' 'a'"},
    {"label.a = 'b'", " AND ((" ROWS("tags") "x.value = ?)))", " 'a' 'b'"},
    {"label.a IN ('b')", " AND ((" ROWS("tags") "x.value IN (?))))", " 'a' 'b'"},
    {"label.b != 'b'", " AND ((" ROWS("tags") "x.value <> ?)))", " 'b' 'b'"},
    {"tag.a NOT IN ('b', 'c')", " AND ((" ROWS("tags") "x.value NOT IN (?,?))))", " 'a' 'b' 'c'"},
    {"tag.a IS NULL", " AND ((NOT EXISTS (SELECT 1 FROM tags x WHERE x.run_id = r.id AND x.name = ?)))", " 'a'"},
    {"tag.a is not null", " AND ((EXISTS (SELECT 1 FROM tags x WHERE x.run_id = r.id AND x.name = ?)))", " 'a'"},
    {"end_time IS NULL", " AND ((r.ended IS NULL))", ""},
    {"run_id IN ('a','b')", " AND ((r.id IN (?,?)))", " 'a' 'b'"},
    {"attr.run_id NOT IN ('a')", " AND ((r.id NOT IN (?)))", " 'a'"},
    {"run_name != 'a'", " AND ((r.name IS NULL OR r.name <> ?))", " 'a'"},
    {"run_name NOT IN ('a')", " AND ((r.name IS NULL OR r.name NOT IN (?)))", " 'a'"},
    {"run_name IN ('a')", " AND ((r.name IN (?)))", " 'a'"},
    {"`run name` = 'it''s'", " AND ((r.name = ?))", " 'it's'"},
    {"run_name = \"it's \"\"it\"\"\"", " AND ((r.name = ?))", " 'it's \"it\"'"},
    {"run_name RLIKE '^a+$'", " AND ((r.name RLIKE ?))", " '^a+$'"},
    {"created >= 1700000000123", " AND ((r.at >= ?))", " @1700000000123000"},
    {"created < 1e300", " AND ((r.at < ?))", " @253402300799999000"},
    {"created > -5", " AND ((r.at > ?))", " @1"},
    {"score<>2", " AND ((r.score <> ?))", " 2"},
    {"score > 1 AND score < 2", " AND ((r.score > ?) AND (r.score < ?))", " 1 2"},
    {"score > 1 or score < 2 and not score = 3", " AND ((r.score > ?) OR (r.score < ?) AND NOT (r.score = ?))", " 1 2 3"},
    {"(score > 1 OR score < 2) AND NOT (score = 3)", " AND (((r.score > ?) OR (r.score < ?)) AND NOT ((r.score = ?)))",
     " 1 2 3"},
    {"metrics.`x' OR 1=1 -- ` > 0", " AND ((" ROWS("metrics") "x.value > ?)))", " 'x' OR 1=1 -- ' 0"},
    {"step.run_id = 'a'", " AND ((r.id = ?))", " 'a'"},
    {"step.note.a.b = 'c'", " AND ((" COUNTED "x.value = ?)))", " 'a.b' 'c'"},
    {"step.note.`a b` >= 5", " AND ((" COUNTED "x.number >= ?)))", " 'a b' 5"},
    {"step.note.a != -1 AND step.note.a LIKE '5'", " AND ((" COUNTED "x.number <> ?)) AND (" COUNTED "x.value LIKE ?)))",
     " 'a' -1 'a' '5'"},
    {"step.note.a IS NULL", " AND ((NOT (SELECT COUNT(*) FROM tags x WHERE x.run_id = r.id AND x.name = ?)))", " 'a'"},
    {"metrics.ünï > 0", " AND ((" ROWS("metrics") "x.value > ?)))", " 'ünï' 0"},
};

static void put_value(buffer *out, const purlin_value *value) {
  switch (value->type) {
  case PURLIN_V_TEXT: buffer_format(out, " '%s'", (const char *)value->as.data); break;
  case PURLIN_V_DOUBLE: buffer_format(out, " %g", value->as.number); break;
  case PURLIN_V_TIME: buffer_format(out, " @%lld", (long long)value->as.integer); break;
  default: fail_msg("a value of another type");
  }
}

static purlin_status compile(purlin_ctx *ctx, const char *condition, buffer *text, buffer *values) {
  search_sql *sql = purlin_alloc(ctx, sizeof *sql);
  assert_non_null(sql);
  sql->ctx = ctx;
  purlin_status status = search_filter(sql, &runs, condition);
  buffer_add(text, sql->text.data, sql->text.size);
  for (size_t i = 0; i < sql->count; i++) put_value(values, &sql->values[i]);
  buffer_free(&sql->text);
  return status;
}

TEST_IN_DATABASE(test_conditions) {
  for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
    buffer text = {0}, values = {0};
    OK(ctx, compile(ctx, conditions[i].condition, &text, &values));
    if (strcmp(buffer_end(&text), conditions[i].sql) != 0 || strcmp(buffer_end(&values), conditions[i].values) != 0)
      fail_msg("%s\n  is  %s |%s\n  not %s |%s", conditions[i].condition, buffer_end(&text), buffer_end(&values),
               conditions[i].sql, conditions[i].values);
    buffer_free(&text);
    buffer_free(&values);
  }
}

static const char *const broken[][2] = {
    {"metrics.a", "expected a comparison operator, found the end"},
    {"metrics.a >", "Expected a numeric value for metric 'a'. Found the end"},
    {"metrics.a > 'x'", "Expected a numeric value for metric 'a'. Found 'x'"},
    {"metrics.a LIKE 'x'", "Invalid comparator 'LIKE' for metric 'a'"},
    {"tags.a > 'x'", "Invalid comparator '>' for tag 'a'"},
    {"tags.a = 5", "Expected a quoted string value for tag 'a'. Found 5"},
    {"tags.a = x", "Expected a quoted string value"},
    {"tags.a = 'x", "a quote is not closed at position 10"},
    {"tags.`a = 'x'", "a quote is not closed"},
    {"foo.a = 'x'", "Invalid entity type 'foo'. Valid values are ['attribute', 'metric', 'tag', 'label', 'step']"},
    {"step.a = 'x'", "Invalid step key 'a' specified. Valid keys are ['run_id', 'run_name']"},
    {"step.note = 'x'", "Invalid step key 'note'"},
    {"step.note.a > 'x'", "Invalid comparator '>' for step 'a'"},
    {"step.note.a LIKE 5", "Invalid comparator 'LIKE' for step 'a'"},
    {"step.note.a = b", "Expected a quoted string value"},
    {"foo = 'x'",
     "Invalid attribute key 'foo' specified. Valid keys are ['run_id', 'run_name', 'start_time', 'end_time', 'score']"},
    {"metrics.a > 1 metrics.b > 2", "expected AND, OR or the end at position 15, found 'metrics.b'"},
    {"metrics.a > 1 AND", "expected a key, found the end"},
    {"(metrics.a > 1", "expected ')'"},
    {"metrics.a > 1)", "expected AND, OR or the end at position 14, found ')'"},
    {"metrics.a > 1;", "unexpected character at position 14"},
    {"run_id IN ()", "Expected a quoted string value"},
    {"run_id IN ('a'", "expected ',' or ')'"},
    {"run_id IN 'a'", "expected a list"},
    {"run_id NOT 'a'", "expected IN"},
    {"run_id IS 'a'", "expected NULL or NOT NULL"},
    {"metrics.a > 1e999", "Expected a numeric value"},
    {"metrics.a > 1.2.3", "Expected a numeric value"},
    {"metrics.a > 2nd", "Expected a numeric value"},
    {"1 = 1", "expected a key at position 1, found '1'"},
    {"NOT", "expected a key"},
    {"= 'x'", "expected a key"},
    {"\x01", "unexpected character"},
};

TEST_IN_DATABASE(test_broken_conditions) {
  for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
    buffer text = {0}, values = {0};
    purlin_clear_failure(ctx);
    assert_int_equal(compile(ctx, broken[i][0], &text, &values), PURLIN_INVALID);
    if (!strstr(purlin_failure(ctx), broken[i][1])) fail_msg("%s: %s", broken[i][0], purlin_failure(ctx));
    buffer_free(&text);
    buffer_free(&values);
  }
}

/* One that repeats a text so often. */
static char *repeat(purlin_ctx *ctx, const char *text, size_t times, const char *end) {
  size_t size = strlen(text);
  char *all = purlin_alloc(ctx, size * times + strlen(end) + 1);
  assert_non_null(all);
  for (size_t i = 0; i < times; i++) memcpy(all + i * size, text, size);
  memcpy(all + times * size, end, strlen(end) + 1);
  return all;
}

TEST_IN_DATABASE(test_limits) {
  const struct {
    const char *text, *end;
    size_t most; /* repetitions that are still taken */
    const char *why;
  } limits[] = {{"(", "score = 1", 0, "nested more than"}, /* without their closing ones, so never taken */
                {"NOT ", "score = 1", SEARCH_DEEPEST, "nested more than"},
                {"score = 1 AND ", "score = 1", SEARCH_MOST_VALUES - 1, "more than 1000 values"},
                {"score = 1          ", "", 0, "longer than"}};
  for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
    buffer text = {0}, values = {0};
    if (limits[i].most) OK(ctx, compile(ctx, repeat(ctx, limits[i].text, limits[i].most, limits[i].end), &text, &values));
    size_t more = limits[i].most ? limits[i].most + 1 : 4000;
    assert_int_equal(compile(ctx, repeat(ctx, limits[i].text, more, limits[i].end), &text, &values), PURLIN_INVALID);
    if (!strstr(purlin_failure(ctx), limits[i].why)) fail_msg("%s: %s", limits[i].why, purlin_failure(ctx));
    buffer_free(&text);
    buffer_free(&values);
  }
}

/* ---- Pages of rows ---------------------------------------------------------------------------------------------------------------------- */

typedef struct found_run {
  const char *id;
} found_run;
PURLIN_SCHEMA(found_run, "A run", PURLIN_REQUIRED(id, "Its id"));
typedef struct found_runs {
  PURLIN_LIST_OF(found_run) runs;
} found_runs;

#define COLUMNS "r.id", "runs r", "r.workspace = ?", "w"

/* 60 runs: scores 0 to 9 and NULL, times that repeat, and metrics that some lack. */
static void fill(purlin_ctx *ctx) {
  RUN(ctx,
      "CREATE OR REPLACE TABLE runs (id VARCHAR(20) PRIMARY KEY, workspace VARCHAR(9) NOT NULL, name VARCHAR(50) NOT NULL,"
      " at DATETIME(6) NOT NULL, ended DATETIME(6), score DOUBLE) COLLATE utf8mb4_nopad_bin");
  RUN(ctx,
      "CREATE OR REPLACE TABLE metrics (run_id VARCHAR(20), name VARCHAR(50), value DOUBLE, PRIMARY KEY (run_id, name))"
      " COLLATE utf8mb4_nopad_bin");
  RUN(ctx,
      "CREATE OR REPLACE TABLE tags (run_id VARCHAR(20), name VARCHAR(50), value VARCHAR(99), PRIMARY KEY (run_id, name))"
      " COLLATE utf8mb4_nopad_bin");
  RUN(ctx, "INSERT INTO runs SELECT CONCAT('r', LPAD(seq, 3, '0')), IF(seq = 60, 'other', 'w'), CONCAT('Run ', seq % 3),"
           " '2024-01-01' + INTERVAL seq % 4 SECOND, IF(seq % 2, NULL, '2024-02-01' + INTERVAL seq MICROSECOND),"
           " IF(seq % 11 = 10, NULL, seq % 11 / 3) FROM seq_1_to_60");
  RUN(ctx, "INSERT INTO metrics SELECT CONCAT('r', LPAD(seq, 3, '0')), 'loss', SIN(seq) FROM seq_1_to_40");
  RUN(ctx, "INSERT INTO tags SELECT CONCAT('r', LPAD(seq, 3, '0')), 'stage', IF(seq % 2, 'dev', 'prod') FROM seq_1_to_20");
}

/* All ids, with commas, through pages of this size. */
static const char *all_pages(purlin_ctx *ctx, const char *condition, const char *order, int64_t limit, size_t *pages) {
  const char *ids = "", *token = "";
  *pages = 0;
  do {
    found_runs found = {0};
    const purlin_search_asked asked = {.condition = condition, .order = order, .page = token, .limit = limit};
    OK(ctx, purlin_db_search(ctx, found_run, &found.runs, &token, &runs, &asked, COLUMNS));
    assert_true(found.runs.count <= (size_t)limit);
    for (size_t i = 0; i < found.runs.count; i++) ids = purlin_format(ctx, "%s%s,", ids, found.runs.items[i].id);
    (*pages)++;
  } while (*token);
  return ids;
}

TEST_IN_DATABASE(test_pages_hold_what_one_holds) {
  static const char *const orders[] = {"",
                                       "start_time",
                                       "score",
                                       "score DESC, run_name",
                                       "end_time DESC",
                                       "run_name DESC, end_time, score desc",
                                       "metrics.loss",
                                       "metrics.loss DESC",
                                       "tags.stage, metrics.`loss` DESC, start_time ASC",
                                       "metrics.nothing, run_id",
                                       "run_id DESC",
                                       "score, run_id DESC, end_time"};
  fill(ctx);
  for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
    size_t one, many, single;
    const char *whole = all_pages(ctx, "", orders[i], 100, &one);
    assert_int_equal(one, 1);
    assert_int_equal(strlen(whole), 59 * 5);
    const char *by_seven = all_pages(ctx, "", orders[i], 7, &many), *by_one = all_pages(ctx, "", orders[i], 1, &single);
    assert_int_equal(many, 9);
    assert_int_equal(single, 59);
    if (strcmp(whole, by_seven) != 0 || strcmp(whole, by_one) != 0)
      fail_msg("%s:\n%s\n%s\n%s", orders[i], whole, by_seven, by_one);
  }
}

TEST_IN_DATABASE(test_the_id_goes_the_way_of_the_last_key) {
  static const char *const orders[][2] = {
      {"", "r059,r055,"}, {"start_time", "r004,r008,"}, {"score, start_time DESC", "r055,r011,"}};
  purlin_search search = runs;
  search.id_follows = true;
  fill(ctx);
  for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
    const char *ids = "", *token = "";
    do {
      found_runs found = {0};
      const purlin_search_asked asked = {.order = orders[i][0], .page = token, .limit = 7};
      OK(ctx, purlin_db_search(ctx, found_run, &found.runs, &token, &search, &asked, COLUMNS));
      for (size_t n = 0; n < found.runs.count; n++) ids = purlin_format(ctx, "%s%s,", ids, found.runs.items[n].id);
    } while (*token);
    assert_int_equal(strlen(ids), 59 * 5);
    if (strncmp(ids, orders[i][1], strlen(orders[i][1])) != 0) fail_msg("%s: %s", orders[i][0], ids);
  }
}

TEST_IN_DATABASE(test_conditions_find_their_rows) {
  static const struct {
    const char *condition, *ids;
  } cases[] = {{"run_id IN ('r001', 'r060', 'r059')", "r001,r059,"}, /* one is of another workspace */
               {"metrics.loss > 0.99", "r014,r033,"},
               {"tags.stage = 'dev' AND score > 2.9", "r009,"},
               {"tags.stage = 'DEV'", ""},
               {"tags.stage ILIKE 'PR%' AND NOT run_id RLIKE '^r0[12]'", "r002,r004,r006,r008,"},
               {"label.stage != 'dev' AND run_id LIKE 'r01_'", "r010,r012,r014,r016,r018,"},
               {"label.stage != 'dev' AND run_id LIKE 'r05_' AND score IS NULL", "r054,"},
               {"tag.stage != 'dev' AND run_id LIKE 'r05_'", ""},
               {"(run_id = 'r001' OR run_id = 'r002') AND NOT end_time IS NULL", "r002,"},
               {"created > 1704067202000 AND score > 2.9", "r031,"}};
  fill(ctx);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    size_t pages;
    const char *ids = all_pages(ctx, cases[i].condition, "run_id", 100, &pages);
    if (strcmp(ids, cases[i].ids) != 0) fail_msg("%s: %s, not %s", cases[i].condition, ids, cases[i].ids);
  }
}

TEST_IN_DATABASE(test_rows_that_come_and_go_shift_nothing) {
  found_runs found = {0};
  const char *token;
  purlin_search_asked asked = {.order = "run_id", .limit = 10};
  fill(ctx);
  OK(ctx, purlin_db_search(ctx, found_run, &found.runs, &token, &runs, &asked, COLUMNS));
  assert_string_equal(found.runs.items[9].id, "r010");
  RUN(ctx, "DELETE FROM runs WHERE id <= 'r010'");
  asked.page = token;
  OK(ctx, purlin_db_search(ctx, found_run, &found.runs, &token, &runs, &asked, COLUMNS));
  assert_string_equal(found.runs.items[0].id, "r011");
}

TEST_IN_DATABASE(test_tokens_are_of_one_search) {
  found_runs found = {0};
  const char *token, *again;
  purlin_search_asked asked = {.condition = "score > 0", .limit = 3};
  fill(ctx);
  OK(ctx, purlin_db_search(ctx, found_run, &found.runs, &token, &runs, &asked, COLUMNS));
  assert_true(strlen(token) > 20 && strcspn(token, "+/=") == strlen(token));
  asked.page = token;
  asked.condition = "score > 1";
  assert_int_equal(purlin_db_search(ctx, found_run, &found.runs, &again, &runs, &asked, COLUMNS), PURLIN_INVALID);
  assert_string_equal(purlin_failure(ctx), "Invalid page token: it belongs to another search");
  asked.condition = "score > 0";
  /* Whatever a client makes of it is refused or begins somewhere else, and never more. */
  size_t size = strlen(token);
  for (size_t i = 0; i < size * 8; i++) {
    char *other = purlin_copy(ctx, token);
    other[i / 8] = (char)(other[i / 8] ^ (1 << i % 8));
    asked.page = other;
    purlin_status status = purlin_db_search(ctx, found_run, &found.runs, &again, &runs, &asked, COLUMNS);
    if (status != PURLIN_OK && status != PURLIN_INVALID) fail_msg("%s: %s", other, purlin_failure(ctx));
    purlin_clear_failure(ctx);
  }
  for (const char *const *wrong = (const char *const[]){"x", "====", "eyJ9", "....", " ", NULL}; *wrong; wrong++) {
    asked.page = *wrong;
    assert_int_equal(purlin_db_search(ctx, found_run, &found.runs, &again, &runs, &asked, COLUMNS), PURLIN_INVALID);
  }
}

TEST_IN_DATABASE(test_orders_and_patterns_that_are_wrong) {
  static const struct {
    purlin_search_asked asked;
    const char *why;
  } cases[] = {{{.order = "nothing", .limit = 1}, "Invalid attribute key 'nothing'"},
               {{.order = "score UP", .limit = 1}, "expected ASC, DESC"},
               {{.order = "score,", .limit = 1}, NULL}, /* as lists go */
               {{.order = ", score", .limit = 1}, "expected a key"},
               {{.order = "label.a", .limit = 1}, "Invalid order_by entity 'label'"},
               {{.order = "score; DROP TABLE runs", .limit = 1}, "unexpected character"},
               {{.condition = "run_name RLIKE '('", .limit = 1}, "egex"}};
  fill(ctx);
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    found_runs found = {0};
    const char *token;
    purlin_status status = purlin_db_search(ctx, found_run, &found.runs, &token, &runs, &cases[i].asked, COLUMNS);
    assert_int_equal(status, cases[i].why ? PURLIN_INVALID : PURLIN_OK);
    if (cases[i].why && !strstr(purlin_failure(ctx), cases[i].why)) fail_msg("%zu: %s", i, purlin_failure(ctx));
    purlin_clear_failure(ctx);
  }
}

/* ---- Ways -------------------------------------------------------------------------------------------------------------------------------- */

#define WALK .scope = "place", .index = "by_value"
static const purlin_search_entity walked_entities[] = {
    {.names = "attribute", .keys = keys, .key_count = sizeof keys / sizeof keys[0]},
    {.names = "metric", .table = "metrics", .owner = "run_id", .type = PURLIN_SEARCH_NUMBER, WALK},
    {.names = "tag", .table = "tags", .owner = "run_id", WALK, .leading = "leading_part", .walked = "at"}};
/* The same without an index: each row is looked at. */
static const purlin_search_entity plain_entities[] = {
    {.names = "attribute", .keys = keys, .key_count = sizeof keys / sizeof keys[0]},
    {.names = "metric", .table = "metrics", .owner = "run_id", .type = PURLIN_SEARCH_NUMBER},
    {.names = "tag", .table = "tags", .owner = "run_id"}};

/* 2400 runs in place p and some elsewhere: values that repeat, are none or are missing, times that repeat, and long texts. */
static void fill_many(purlin_ctx *ctx) {
  RUN(ctx, "CREATE OR REPLACE TABLE runs (id VARCHAR(20) PRIMARY KEY, place VARCHAR(9) NOT NULL, name VARCHAR(50) NOT NULL,"
           " at DATETIME(6) NOT NULL, ended DATETIME(6), score DOUBLE, KEY by_start (place, at, id)) COLLATE utf8mb4_bin");
  RUN(ctx,
      "CREATE OR REPLACE TABLE metrics (run_id VARCHAR(20), place VARCHAR(9), name VARCHAR(50), value DOUBLE, PRIMARY KEY"
      " (run_id, name), KEY by_value (place, name, value, run_id)) COLLATE utf8mb4_bin");
  RUN(ctx,
      "CREATE OR REPLACE TABLE tags (run_id VARCHAR(20), place VARCHAR(9), name VARCHAR(50), at DATETIME(6), value"
      " VARCHAR(99), leading_part VARCHAR(64) AS (LEFT(value, 64)) PERSISTENT, PRIMARY KEY (run_id, name), KEY by_value (place,"
      " name, leading_part, at, run_id)) COLLATE utf8mb4_bin");
  RUN(ctx,
      "INSERT INTO runs SELECT CONCAT('r', LPAD(seq * 1237 % 4099, 4, '0')), IF(seq > 2400, 'q', 'p'), 'n', '2024-01-01' +"
      " INTERVAL seq % 997 SECOND, NULL, seq % 7 FROM seq_1_to_2450");
  RUN(ctx,
      "INSERT INTO metrics SELECT id, place, 'wide', IF(id LIKE '%99', NULL, SIN(CRC32(id))) FROM runs WHERE id NOT LIKE '%8'");
  RUN(ctx, "INSERT INTO metrics SELECT id, place, 'tied', CRC32(id) % 5 FROM runs WHERE id LIKE '%1%'");
  RUN(ctx, "INSERT INTO metrics SELECT id, place, 'rare', 1 FROM runs WHERE id LIKE '%77'");
  RUN(ctx,
      "INSERT INTO tags (run_id, place, name, at, value) SELECT id, place, 'half', at, IF(CRC32(id) % 2, 'a', 'b') FROM runs");
  RUN(ctx, "INSERT INTO tags (run_id, place, name, at, value) SELECT id, place, 'long', at, CONCAT(REPEAT('\xc3\xa4', 64),"
           " CRC32(id) % 2) FROM runs");
}

static const char *pages_of(purlin_ctx *ctx, const purlin_search *search, const char *condition, const char *order,
                            int64_t limit) {
  buffer ids = {0};
  const char *token = "";
  do {
    found_runs found = {0};
    const purlin_search_asked asked = {.condition = condition, .order = order, .page = token, .limit = limit};
    if (purlin_db_search(ctx, found_run, &found.runs, &token, search, &asked, "r.id", "runs r", "r.name = ?", "n") !=
        PURLIN_OK)
      fail_msg("%s, %s: %s", condition, order, purlin_failure(ctx));
    for (size_t i = 0; i < found.runs.count; i++) buffer_format(&ids, "%s,", found.runs.items[i].id);
  } while (*token);
  const char *all = purlin_copy(ctx, buffer_end(&ids));
  buffer_free(&ids);
  return all;
}

TEST_IN_DATABASE(test_every_way_finds_the_same) {
#define LONG "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"
  static const char *const asked_for[] = {"",
                                          "metric.wide > 0.1",
                                          "metric.tied >= 2 AND tag.half = 'a'",
                                          "tag.half = 'b'",
                                          "tag.half = 'b' AND score > 2 AND metric.wide < 0.5",
                                          "metric.rare = 1 AND tag.half != 'a'",
                                          "metric.rare = 1 OR metric.wide > 0.9",
                                          "NOT metric.wide > 0 AND tag.half LIKE 'a%'",
                                          "metric.wide > 0.999999",
                                          "tag.half = 'none'",
                                          "tag.long = '" LONG LONG LONG LONG LONG LONG LONG LONG
                                          "1' AND metric.wide > -0.9"};
  static const char *const orders[] = {"",
                                       "start_time",
                                       "metric.wide DESC",
                                       "metric.wide",
                                       "metric.tied",
                                       "metric.tied DESC, score",
                                       "metric.rare",
                                       "tag.half, metric.wide",
                                       "metric.none DESC",
                                       "score DESC"};
  static const char *const places[] = {"p"}, *const both[] = {"p", "q"};
  purlin_search walked = {.entities = walked_entities,
                          .entity_count = 3,
                          .id = "r.id",
                          .order = "start_time DESC",
                          .then = "start_time DESC",
                          .scope = "r.place",
                          .scopes = {places, 1},
                          .id_follows = true,
                          .walks = "r.at"};
  purlin_search plain = walked;
  plain.entities = plain_entities;
  fill_many(ctx);
  for (size_t i = 0; i < sizeof asked_for / sizeof asked_for[0]; i++)
    for (size_t k = 0; k < sizeof orders / sizeof orders[0]; k++) {
      purlin_mark mark = purlin_arena_mark(ctx);
      const char *expected = pages_of(ctx, &plain, asked_for[i], orders[k], 5000);
      const char *whole = pages_of(ctx, &walked, asked_for[i], orders[k], 5000);
      const char *paged = pages_of(ctx, &walked, asked_for[i], orders[k], 1001);
      if (strcmp(expected, whole) != 0 || strcmp(expected, paged) != 0) fail_msg("%s, %s", asked_for[i], orders[k]);
      purlin_arena_reset(ctx, mark);
    }
  assert_int_equal(strlen(pages_of(ctx, &walked, "", "", 5000)), 2400 * 6);
  walked.scopes = (purlin_texts){both, 2};
  assert_int_equal(strlen(pages_of(ctx, &walked, "", "metric.wide", 5000)), 2450 * 6);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_conditions),
      cmocka_unit_test(test_broken_conditions),
      cmocka_unit_test(test_limits),
      cmocka_unit_test(test_pages_hold_what_one_holds),
      cmocka_unit_test(test_the_id_goes_the_way_of_the_last_key),
      cmocka_unit_test(test_conditions_find_their_rows),
      cmocka_unit_test(test_rows_that_come_and_go_shift_nothing),
      cmocka_unit_test(test_tokens_are_of_one_search),
      cmocka_unit_test(test_orders_and_patterns_that_are_wrong),
      cmocka_unit_test(test_every_way_finds_the_same),
  };
  return cmocka_run_group_tests(tests, start_server, stop_server);
}
