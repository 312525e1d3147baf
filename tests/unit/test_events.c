/* Events, against a real MariaDB: they exist if their transaction commits, arrive in order, come again after failures. */
#include "test_db.h"

#include "events/internal.h"

#include <stdatomic.h>

/* ---- The listeners of the test -------------------------------------------------------------------------------------------------- */

typedef struct happened {
  const char *what;
  int64_t number;
} happened;
PURLIN_SCHEMA(happened, "Something happened", PURLIN_REQUIRED(what, "What"), PURLIN_DEFAULT(number, "0", "A number"));
PURLIN_EVENT(happening, happened, "Something happened");
PURLIN_EVENT(unregistered, happened, "Nobody knows of it");

static char heard[4096];
static int heard_count, failures_left;
static char heard_by[200];

static void hear(const char *what) {
  size_t used = strlen(heard);
  (void)snprintf(heard + used, sizeof heard - used, "%s ", what);
  heard_count++;
}

/* Fails as often as `failures_left` says. */
static purlin_status take_event(purlin_ctx *ctx, const event_record *event, void *argument) {
  (void)argument;
  if (failures_left > 0) {
    failures_left--;
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "deaf for now");
  }
  happened payload;
  purlin_status status = purlin_decode_stored(ctx, happened_schema(), event->payload.text, event->payload.size, &payload);
  if (status != PURLIN_OK) return status;
  (void)snprintf(heard_by, sizeof heard_by, "%s %s %s %s", event->name, event->key, event->workspace, ctx->operation);
  hear(payload.what);
  return purlin_db_run(ctx, "INSERT INTO effects (text) VALUES (?)", payload.what);
}

PURLIN_LISTENER(on_happening, "test.happening", happened) {
  hear(purlin_format(ctx, "declared:%s", event->what));
  return PURLIN_OK;
}

static int setup(void **state) {
  if (start_server(state) != 0) return -1;
  buffer why = {0};
  purlin_status status = events_register("test", &happening_event, &why);
  if (status != PURLIN_OK) fprintf(stderr, "%s\n", buffer_end(&why));
  buffer_free(&why);
  test_loops = 2;
  listeners_set_backoff(2);
  return status == PURLIN_OK ? 0 : -1;
}

/* ---- Around a test ------------------------------------------------------------------------------------------------------------------ */

typedef struct found {
  int64_t number;
  const char *text;
} found;
PURLIN_SCHEMA(found, "A number and a text", PURLIN_DEFAULT(number, "0", "Number"), PURLIN_OPTIONAL(text, "Text"));

static int64_t number_of(purlin_ctx *ctx, const char *sql) {
  found row = {0};
  OK(ctx, purlin_db_row_(ctx, found_schema(), &row, &(purlin_value){PURLIN_V_TEXT, {.data = sql}, strlen(sql)}, 1));
  return row.number;
}

static void clear(purlin_ctx *ctx) {
  buffer why = {0};
  if (db_migrate(ctx, "events", events_migrations, events_migration_count, &why) != PURLIN_OK)
    fail_msg("%s", buffer_end(&why));
  buffer_free(&why);
  static const char *const statements[] = {"TRUNCATE events_outbox",
                                           "TRUNCATE events_log",
                                           "TRUNCATE events_cursors",
                                           "TRUNCATE events_dead",
                                           "UPDATE events_sequencer SET next = 1",
                                           "CREATE OR REPLACE TABLE effects (text VARCHAR(100))"};
  for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) RUN(ctx, statements[i]);
  heard[0] = '\0';
  heard_count = failures_left = 0;
}

static void emit(purlin_ctx *ctx, const char *what) {
  OK(ctx, purlin_emit(ctx, happening, &((happened){.what = what}), "key"));
}

static void set_flag(void *argument) { *(bool *)argument = true; }

static void stop_events(void) {
  bool done = false;
  events_drain(set_flag, &done);
  while (!done) loop_sleep(2);
}

static void wait_heard(int least) {
  for (int i = 0; i < 1000 && heard_count < least; i++) loop_sleep(5);
  assert_true(heard_count >= least);
}

/* A new cursor starts at the end of the log: so the listener's must be there before the test emits. */
static events_listener *start_listening(purlin_ctx *ctx, const char *name) {
  events_listener *listener = NULL;
  OK(ctx, events_listen(name, "test.happening", take_event, NULL, NULL, "test", &listener));
  OK(ctx, events_start());
  for (int i = 0;
       i < 1000 && number_of(ctx, "SELECT COUNT(*) AS number FROM events_cursors WHERE lease_owner IS NOT NULL") == 0; i++)
    loop_sleep(2);
  return listener;
}

/* ---- Tests ------------------------------------------------------------------------------------------------------------------------------ */

TEST_IN_DATABASE(delivers_in_order) {
  clear(ctx);
  events_listener *listener = start_listening(ctx, "test:order");
  ctx->workspace = "red";
  char expected[1000] = "";
  for (int i = 0; i < 100; i++) {
    const char *what = purlin_format(ctx, "%d", i);
    emit(ctx, what);
    (void)snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s ", what);
  }
  wait_heard(100);
  assert_string_equal(heard, expected);
  assert_string_equal(heard_by, "test.happening key red test:order");
  stop_events();
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_outbox"), 0);
  assert_int_equal(number_of(ctx, "SELECT MAX(sequence) - COUNT(*) AS number FROM events_log"), 0); /* no gaps */
  assert_int_equal(number_of(ctx, "SELECT position AS number FROM events_cursors"), 100);
  events_unlisten(listener);
}

static purlin_status emit_and_fail(purlin_ctx *ctx, void *argument) {
  emit(ctx, argument);
  return purlin_fail(ctx, PURLIN_CONFLICT, "changed its mind");
}

TEST_IN_DATABASE(exists_exactly_if_the_transaction_commits) {
  clear(ctx);
  events_listener *listener = start_listening(ctx, "test:commit");
  assert_int_equal(purlin_transaction(ctx, emit_and_fail, (void *)(uintptr_t) "never"), PURLIN_CONFLICT);
  purlin_clear_failure(ctx);
  emit(ctx, "yes");
  wait_heard(1);
  assert_string_equal(heard, "yes ");
  stop_events();
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_log"), 1);
  events_unlisten(listener);
}

static bool may_commit;

static purlin_status emit_slowly(purlin_ctx *ctx, void *argument) {
  (void)argument;
  emit(ctx, "slow");
  while (!may_commit) RUN(ctx, "INSERT INTO effects (text) SELECT SLEEP(0.005)");
  return PURLIN_OK;
}

static void run_slow(purlin_ctx *ctx, void *argument) {
  OK(ctx, purlin_transaction(ctx, emit_slowly, NULL));
  *(bool *)argument = true;
}

/* The outbox row of the slow transaction is older, but commits later. */
TEST_IN_DATABASE(misses_none_that_commit_out_of_order) {
  clear(ctx);
  events_listener *listener = start_listening(ctx, "test:late");
  bool ended = false;
  may_commit = false;
  OK(ctx, context_start("test", "test.slow", run_slow, &ended));
  loop_sleep(30);
  emit(ctx, "quick");
  wait_heard(1);
  assert_string_equal(heard, "quick ");
  may_commit = true;
  wait_heard(2);
  assert_string_equal(heard, "quick slow ");
  while (!ended) loop_sleep(2);
  stop_events();
  events_unlisten(listener);
}

TEST_IN_DATABASE(comes_again_after_a_failure) {
  clear(ctx);
  events_listener *listener = start_listening(ctx, "test:again");
  failures_left = 3;
  emit(ctx, "first");
  emit(ctx, "second"); /* waits for the first */
  wait_heard(2);
  assert_string_equal(heard, "first second ");
  assert_int_equal(failures_left, 0);
  stop_events();
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_dead"), 0);
  events_unlisten(listener);
}

TEST_IN_DATABASE(buries_and_redrives) {
  clear(ctx);
  events_listener *listener = start_listening(ctx, "test:dead");
  failures_left = 8;
  emit(ctx, "hard");
  emit(ctx, "easy");
  wait_heard(1);
  assert_string_equal(heard, "easy ");
  found row = {0};
  OK(ctx,
     purlin_db_row(ctx, found, &row, "SELECT sequence AS number, CONCAT(listener, ' ', error) AS text FROM events_dead"));
  assert_string_equal(row.text, "test:dead deaf for now");
  assert_int_equal(row.number, 1);
  failures_left = 8; /* in vain again */
  RUN(ctx, "UPDATE events_dead SET redrive = TRUE");
  keeper_ring(NULL);
  for (int i = 0; i < 1000 && number_of(ctx, "SELECT COUNT(*) AS number FROM events_dead WHERE redrive") > 0; i++)
    loop_sleep(5);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_dead WHERE NOT redrive"), 1);
  RUN(ctx, "UPDATE events_dead SET redrive = TRUE");
  keeper_ring(NULL);
  wait_heard(2);
  for (int i = 0; i < 1000 && number_of(ctx, "SELECT COUNT(*) AS number FROM events_dead") > 0; i++) loop_sleep(5);
  assert_string_equal(heard, "easy hard ");
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_dead"), 0);
  stop_events();
  events_unlisten(listener);
}

TEST_IN_DATABASE(goes_on_where_it_stopped) {
  clear(ctx);
  events_listener *listener = start_listening(ctx, "test:restart");
  emit(ctx, "one");
  wait_heard(1);
  loop_sleep(20);
  stop_events();
  emit(ctx, "two"); /* while nobody listens */
  OK(ctx, events_start());
  wait_heard(2);
  assert_string_equal(heard, "one two ");
  stop_events();
  events_unlisten(listener);
}

TEST_IN_DATABASE(leaves_a_cursor_to_the_node_that_holds_it) {
  clear(ctx);
  events_listener *listener = NULL;
  RUN(ctx, "INSERT INTO events_cursors VALUES ('test:lease', 0, 'another', NOW(6) + INTERVAL 1 HOUR)");
  OK(ctx, events_listen("test:lease", "test.happening", take_event, NULL, NULL, "test", &listener));
  OK(ctx, events_start());
  emit(ctx, "held");
  loop_sleep(300);
  assert_int_equal(heard_count, 0);
  RUN(ctx, "UPDATE events_cursors SET lease_until = NOW(6) - INTERVAL 1 SECOND"); /* it stopped */
  wait_heard(1);
  for (int i = 0; i < 500 && number_of(ctx, "SELECT position AS number FROM events_cursors") < 1; i++) loop_sleep(5);
  RUN(ctx,
      "UPDATE events_cursors SET lease_owner = 'another', position = 1, lease_until = NOW(6) + INTERVAL 1 HOUR"); /* it takes it */
  emit(ctx, "once");
  wait_heard(2); /* delivered once more than needed at most, but the cursor is not ours to move */
  loop_sleep(50);
  assert_int_equal(number_of(ctx, "SELECT position AS number FROM events_cursors"), 1);
  emit(ctx, "not ours");
  loop_sleep(200);
  assert_int_equal(heard_count, 2);
  stop_events();
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_cursors WHERE lease_owner = 'another'"), 1);
  events_unlisten(listener);
}

TEST_IN_DATABASE(decodes_for_declared_listeners) {
  buffer why = {0};
  clear(ctx);
  OK(ctx, events_register_listener("test", NULL, &on_happening_listener, &why));
  buffer_free(&why);
  OK(ctx, events_start());
  for (int i = 0; i < 1000 && number_of(ctx, "SELECT COUNT(*) AS number FROM events_cursors") == 0; i++) loop_sleep(2);
  const purlin_json newer = {"{\"what\":\"newer\",\"unknown\":[1]}", 30};
  OK(ctx, events_emit_json(ctx, "test.happening", NULL, newer));
  wait_heard(1);
  assert_string_equal(heard, "declared:newer ");
  stop_events();
}

TEST_IN_DATABASE(refuses_what_cannot_be_emitted) {
  clear(ctx);
  assert_int_equal(purlin_emit(ctx, unregistered, &((happened){.what = "x"}), NULL), PURLIN_INTERNAL);
  char *large = purlin_alloc(ctx, 300 * 1024);
  memset(large, 'x', 300 * 1024 - 1);
  assert_int_equal(events_emit_json(ctx, "test.happening", NULL, (purlin_json){large, 300 * 1024 - 1}), PURLIN_TOO_LARGE);
  large[501] = '\0';
  assert_int_equal(events_emit_json(ctx, "test.happening", large, (purlin_json){"{}", 2}), PURLIN_INVALID);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_outbox"), 0);
}

TEST_IN_DATABASE(reads_the_log_of_one_workspace) {
  clear(ctx);
  RUN(ctx, "INSERT INTO events_log (sequence, id, name, event_key, workspace, project, actor, trace_id, at, payload) VALUES"
           " (1, 'a', 'test.one', '', 'red', 'p', 'x', '', NOW(6), '{}'), (2, 'b', 'test.two', '', 'blue', 'p', 'x', '', "
           "NOW(6), '{}'),"
           " (3, 'c', 'testxthree', '', 'red', 'p', 'x', '', NOW(6), '{}'), (4, 'd', 'test_two', '', 'red', 'p', 'x', '', "
           "NOW(6), '{}')");
  event_records records;
  OK(ctx, events_read(ctx, "red", 0, NULL, 10, &records));
  assert_int_equal(records.count, 3);
  OK(ctx, events_read(ctx, "red", 1, NULL, 1, &records));
  assert_int_equal(records.count, 1);
  assert_int_equal(records.items[0].sequence, 3);
  OK(ctx, events_read(ctx, "red", 0, "test_", 10, &records)); /* no wildcard */
  assert_int_equal(records.count, 1);
  assert_string_equal(records.items[0].id, "d");
}

TEST_IN_DATABASE(forgets_what_is_old_and_passed) {
  clear(ctx);
  RUN(ctx, "INSERT INTO events_log (sequence, id, name, event_key, workspace, project, actor, trace_id, at, payload)"
           " SELECT seq, seq, 'test.one', '', 'red', 'p', 'x', '', NOW(6) - INTERVAL IF(seq <= 1500, 8, 1) DAY, '{}' FROM "
           "seq_1_to_1600");
  RUN(ctx, "INSERT INTO events_cursors VALUES ('a', 1600, NULL, NOW(6)), ('b', 1200, NULL, NOW(6)), ('gone', 3, NULL, "
           "NOW(6) - INTERVAL 31 DAY)");
  RUN(ctx,
      "INSERT INTO events_dead (id, listener, sequence, workspace, error, at) VALUES ('d', 'a', 700, 'red', 'x', NOW(6))");
  OK(ctx, events_forget(ctx, 7 * 24));
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_log"),
                   401); /* 1201 to 1600, and the dead letter's */
  assert_int_equal(number_of(ctx, "SELECT MIN(sequence) AS number FROM events_log"), 700);
  RUN(ctx, "UPDATE events_cursors SET position = 1600");
  OK(ctx, events_forget(ctx, 7 * 24));
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM events_log"), 101); /* those of yesterday stay */
}

/* Its cursor follows the log, though no event is for it: else nothing could ever be forgotten. */
TEST_IN_DATABASE(moves_past_events_of_others) {
  clear(ctx);
  RUN(ctx, "INSERT INTO events_cursors VALUES ('test:past', 0, NULL, NOW(6))");
  RUN(ctx, "UPDATE events_sequencer SET next = 8");
  events_listener *listener = start_listening(ctx, "test:past");
  for (int i = 0;
       i < 500 && number_of(ctx, "SELECT position AS number FROM events_cursors WHERE listener = 'test:past'") < 7; i++)
    loop_sleep(5);
  assert_int_equal(number_of(ctx, "SELECT position AS number FROM events_cursors WHERE listener = 'test:past'"), 7);
  stop_events();
  events_unlisten(listener);
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(delivers_in_order),
      cmocka_unit_test(exists_exactly_if_the_transaction_commits),
      cmocka_unit_test(misses_none_that_commit_out_of_order),
      cmocka_unit_test(comes_again_after_a_failure),
      cmocka_unit_test(buries_and_redrives),
      cmocka_unit_test(goes_on_where_it_stopped),
      cmocka_unit_test(leaves_a_cursor_to_the_node_that_holds_it),
      cmocka_unit_test(refuses_what_cannot_be_emitted),
      cmocka_unit_test(reads_the_log_of_one_workspace),
      cmocka_unit_test(forgets_what_is_old_and_passed),
      cmocka_unit_test(moves_past_events_of_others),
      cmocka_unit_test(decodes_for_declared_listeners), /* the last one: it cannot be taken back */
  };
  return cmocka_run_group_tests(tests, setup, stop_server);
}
