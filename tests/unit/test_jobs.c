/* The queue, against a real MariaDB: what is enqueued runs, once in effect, in order, within its limits, and can be stopped. */
#include "test_db.h"

#include "access/access.h"
#include "core/text.h"
#include "jobs/explain.h"
#include "jobs/internal.h"

#include <pthread.h>

/* ---- Jobs of the test ------------------------------------------------------------------------------------------------------ */

static struct {
  pthread_mutex_t lock;
  char text[4096];
  size_t size;
} notes = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_int runs, together, most_together, release_held, held, seen_status;

static void note(const char *text) {
  (void)pthread_mutex_lock(&notes.lock);
  int written = snprintf(notes.text + notes.size, sizeof notes.text - notes.size, "%s ", text);
  if (written > 0 && (size_t)written < sizeof notes.text - notes.size) notes.size += (size_t)written;
  (void)pthread_mutex_unlock(&notes.lock);
}

static size_t noted(void) {
  (void)pthread_mutex_lock(&notes.lock);
  size_t size = notes.size;
  (void)pthread_mutex_unlock(&notes.lock);
  return size;
}

typedef struct work {
  const char *text;
  int64_t number;
} work;
PURLIN_SCHEMA(work, "Work", PURLIN_OPTIONAL(text, "A text"), PURLIN_DEFAULT(number, "0", "A number"));

typedef struct other {
  double number;
} other;
PURLIN_SCHEMA(other, "Other work", PURLIN_DEFAULT(number, "0", "A number"));

PURLIN_JOB(write_note, work, .summary = "Notes its text") {
  if (in->text) note(in->text);
  atomic_fetch_add(&runs, 1);
  return PURLIN_OK;
}

PURLIN_JOB(count_up, work, .summary = "Counts", .pure = true) {
  atomic_fetch_add(&runs, 1);
  return PURLIN_OK;
}

PURLIN_JOB(pure_writer, work, .summary = "Says that it writes nothing, and writes", .pure = true, .max_attempts = 1) {
  return purlin_db_run(ctx, "INSERT INTO effects (text) VALUES ('pure')");
}

/* Fails `number` times. */
PURLIN_JOB(stumble, work, .summary = "Fails at first", .max_attempts = 3, .backoff_ms = 20) {
  atomic_fetch_add(&runs, 1);
  if ((int64_t)purlin_job_attempt(ctx) <= in->number)
    return purlin_fail(ctx, PURLIN_UNAVAILABLE, "stumbled over %s", "a stone");
  return PURLIN_OK;
}

PURLIN_JOB(limited, work, .summary = "At most two at once", .concurrency = 2) {
  int now = atomic_fetch_add(&together, 1) + 1, most = atomic_load(&most_together);
  while (now > most && !atomic_compare_exchange_weak(&most_together, &most, now)) {}
  purlin_status status = purlin_sleep(ctx, 20);
  atomic_fetch_sub(&together, 1);
  atomic_fetch_add(&runs, 1);
  return status;
}

/* Waits until it is released, then writes a row. */
PURLIN_JOB(hold, work, .summary = "Waits, then takes effect", .max_attempts = 3, .backoff_ms = 10) {
  atomic_fetch_add(&held, 1);
  uint32_t number = purlin_job_attempt(ctx);
  while (atomic_load(&release_held) < (int)number) loop_sleep(2);
  purlin_status status =
      purlin_db_run(ctx, "INSERT INTO effects (text) VALUES (?)", purlin_format(ctx, "attempt %u", number));
  if (number == 1) atomic_store(&seen_status, (int)status);
  atomic_fetch_add(&runs, 1);
  return status;
}

PURLIN_JOB(sleep_long, work, .summary = "Sleeps until it is stopped", .timeout_ms = UINT32_MAX, .max_attempts = 2) {
  atomic_fetch_add(&held, 1);
  purlin_status status = purlin_sleep(ctx, 60000);
  atomic_store(&seen_status, (int)status);
  return status;
}

PURLIN_JOB(attend, work, .summary = "Waits for something that goes on without it", .timeout_ms = UINT32_MAX, .max_attempts = 2,
           .resumes = true) {
  note(purlin_job_is_last(ctx) ? "last" : "more");
  atomic_fetch_add(&held, 1);
  return atomic_load(&release_held) > 0 ? purlin_fail(ctx, PURLIN_INTERNAL, "it went wrong") : purlin_sleep(ctx, 60000);
}

PURLIN_JOB(sleep_late, work, .summary = "Takes longer than it may", .timeout_ms = 30, .max_attempts = 1) {
  purlin_status status = purlin_sleep(ctx, 60000);
  atomic_store(&seen_status, (int)status);
  return status;
}

PURLIN_JOB(report, work, .summary = "Tells how far it is") {
  note(purlin_job_id(ctx));
  purlin_status status = purlin_job_progress(ctx, 0.5, "half");
  if (status == PURLIN_OK) status = purlin_job_progress(ctx, 0.6, "too soon to be written");
  return status;
}

PURLIN_JOB(by_hand, work, .summary = "May be enqueued by hand", .permission = "notes:write") {
  atomic_fetch_add(&runs, 1);
  return PURLIN_OK;
}

PURLIN_SCHEDULE(often, "@every 1s", .job = "test.write_note", .payload = "{\"text\":\"tick\"}");
PURLIN_SCHEDULE(caught, "0 0 1 1 *", .job = "test.write_note", .payload = "{\"text\":\"caught\"}", .catch_up = true);
PURLIN_SCHEDULE(skipped, "0 0 1 1 *", .time_zone = "Europe/Brussels", .job = "test.write_note",
                .payload = "{\"text\":\"skipped\"}");
PURLIN_SCHEDULE(unfit, "@every 1s", .job = "test.write_note", .payload = "{\"nonsense\":1}");

static int setup(void **state) {
  if (start_server(state) != 0) return -1;
  static const purlin_job *const jobs[] = {&write_note_job,  &count_up_job,   &stumble_job,    &limited_job,
                                           &hold_job,        &sleep_long_job, &sleep_late_job, &report_job,
                                           &pure_writer_job, &attend_job,     &by_hand_job};
  buffer why = {0};
  purlin_status status = PURLIN_OK;
  for (size_t i = 0; i < sizeof jobs / sizeof jobs[0] && status == PURLIN_OK; i++)
    status = jobs_register("test", NULL, jobs[i], &why);
  if (status != PURLIN_OK) fprintf(stderr, "%s\n", buffer_end(&why));
  buffer_free(&why);
  test_loops = 2;
  return status == PURLIN_OK ? 0 : -1;
}

/* ---- Around a test -------------------------------------------------------------------------------------------------------- */

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
  if (db_migrate(ctx, "jobs", jobs_migrations, jobs_migration_count, &why) != PURLIN_OK) fail_msg("%s", buffer_end(&why));
  buffer_free(&why);
  static const char *const statements[] = {"TRUNCATE purlin_jobs", "TRUNCATE purlin_job_gates", "TRUNCATE purlin_job_nodes",
                                           "TRUNCATE purlin_schedules",
                                           "CREATE OR REPLACE TABLE effects (text VARCHAR(100))"};
  for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) RUN(ctx, statements[i]);
  notes.size = 0;
  notes.text[0] = '\0';
  atomic_store(&runs, 0);
  atomic_store(&most_together, 0);
  atomic_store(&release_held, 0);
  atomic_store(&held, 0);
  atomic_store(&seen_status, -1);
}

static jobs_options options_of_test(void) {
  jobs_options options;
  jobs_options_default(&options);
  options.poll_ms = 50;
  return options;
}

static void start_queue(const jobs_options *options) {
  jobs_options usual = options_of_test();
  assert_int_equal(jobs_start(options ? options : &usual), PURLIN_OK);
}

static void set_flag(void *argument) { *(bool *)argument = true; }

static void stop_queue(uint32_t grace_ms) {
  bool done = false;
  jobs_drain(grace_ms, set_flag, &done);
  while (!done) loop_sleep(2);
}

static const char *enqueue(purlin_ctx *ctx, const char *job, const work *in, const purlin_enqueue_options *options) {
  const char *id = NULL;
  OK(ctx, purlin_enqueue(ctx, job, work_schema(), in, options, &id));
  assert_non_null(id);
  return id;
}

static const char *state_of(purlin_ctx *ctx, const char *id) {
  found row = {0};
  OK(ctx, purlin_db_row(ctx, found, &row, "SELECT state AS number FROM purlin_jobs WHERE public_id = ?", id));
  return job_state_name(row.number);
}

static void wait_state(purlin_ctx *ctx, const char *id, const char *state) {
  for (int i = 0; i < 2000 && strcmp(state_of(ctx, id), state) != 0; i++) loop_sleep(5);
  assert_string_equal(state_of(ctx, id), state);
}

static void wait_for(atomic_int *what, int least) {
  for (int i = 0; i < 2000 && atomic_load(what) < least; i++) loop_sleep(5);
  assert_true(atomic_load(what) >= least);
}

/* ---- Registering ----------------------------------------------------------------------------------------------------------- */

static void refuses_bad_declarations(void **state) {
  (void)state;
  buffer why = {0};
  purlin_job job = write_note_job;
  assert_int_equal(jobs_register("test", NULL, &job, &why), PURLIN_CONFLICT);
  assert_non_null(strstr(buffer_end(&why), "test_jobs.c:"));
  job.name = "no_summary";
  job.summary = NULL;
  assert_int_equal(jobs_register("test", NULL, &job, &why), PURLIN_INVALID);
  purlin_schedule schedule = unfit_schedule;
  assert_int_equal(jobs_register_schedule("test", &schedule, &why), PURLIN_OK);
  assert_int_equal(jobs_register_schedule("test", &schedule, &why), PURLIN_CONFLICT);
  schedule.name = "wrong";
  schedule.cron = "61 * * * *";
  buffer_clear(&why);
  assert_int_equal(jobs_register_schedule("test", &schedule, &why), PURLIN_INVALID);
  assert_non_null(strstr(buffer_end(&why), "'61' is no minute"));
  schedule.cron = "* * * * *";
  schedule.time_zone = "Mars/Olympus";
  assert_int_equal(jobs_register_schedule("test", &schedule, &why), PURLIN_INVALID);
  buffer_free(&why);
}

/* ---- Enqueueing --------------------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(runs_what_is_enqueued) {
  clear(ctx);
  start_queue(NULL);
  ctx->workspace = "red";
  ctx->actor = "user:ann";
  const char *id = enqueue(ctx, "test.write_note", &(work){.text = "hello"}, NULL);
  wait_state(ctx, id, "succeeded");
  assert_string_equal(notes.text, "hello ");
  found row = {0};
  OK(ctx,
     purlin_db_row(ctx, found, &row,
                   "SELECT attempt AS number, CONCAT(workspace, ' ', actor, ' ', trace_id) AS text FROM purlin_jobs "
                   "WHERE public_id = ? AND started_at >= created_at AND ended_at >= started_at AND lease_owner IS NULL",
                   id));
  assert_int_equal(row.number, 1);
  assert_string_equal(row.text, purlin_format(ctx, "red user:ann %s", purlin_trace_id(ctx)));
  stop_queue(1000);
}

TEST_IN_DATABASE(refuses_what_does_not_fit) {
  clear(ctx);
  assert_int_equal(purlin_enqueue(ctx, "test.nothing", work_schema(), &(work){0}, NULL, NULL), PURLIN_NOT_FOUND);
  assert_int_equal(purlin_enqueue(ctx, "test.write_note", other_schema(), &(other){0}, NULL, NULL), PURLIN_INTERNAL);
  const purlin_json unknown = {"{\"unknown\":1}", 13};
  assert_int_equal(jobs_enqueue_json(ctx, "test.write_note", unknown, NULL, NULL), PURLIN_INVALID);
  char *large = purlin_alloc(ctx, 300 * 1024);
  memset(large, 'x', 300 * 1024 - 1);
  assert_int_equal(purlin_enqueue(ctx, "test.write_note", work_schema(), &(work){.text = large}, NULL, NULL),
                   PURLIN_TOO_LARGE);
  large[191] = '\0';
  assert_int_equal(purlin_enqueue(ctx, "test.write_note", work_schema(), &(work){0},
                                  &(purlin_enqueue_options){.unique_key = large}, NULL),
                   PURLIN_INVALID);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs"), 0);
}

static purlin_status enqueue_and_fail(purlin_ctx *ctx, void *argument) {
  (void)enqueue(ctx, "test.write_note", &(work){.text = argument}, NULL);
  return purlin_fail(ctx, PURLIN_CONFLICT, "changed its mind");
}

static purlin_status enqueue_and_wait(purlin_ctx *ctx, void *argument) {
  (void)enqueue(ctx, "test.write_note", &(work){.text = argument}, NULL);
  for (int i = 0; i < 5; i++) RUN(ctx, "INSERT INTO effects (text) SELECT SLEEP(0.03)");
  assert_int_equal(atomic_load(&runs), 0); /* not before the commit */
  return PURLIN_OK;
}

TEST_IN_DATABASE(exists_exactly_if_the_transaction_commits) {
  clear(ctx);
  start_queue(NULL);
  assert_int_equal(purlin_transaction(ctx, enqueue_and_fail, (void *)(uintptr_t) "never"), PURLIN_CONFLICT);
  purlin_clear_failure(ctx);
  OK(ctx, purlin_transaction(ctx, enqueue_and_wait, (void *)(uintptr_t) "after"));
  wait_for(&runs, 1);
  assert_string_equal(notes.text, "after ");
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs"), 1);
  stop_queue(1000);
}

TEST_IN_DATABASE(keeps_a_unique_key_while_it_waits_or_runs) {
  clear(ctx);
  const purlin_enqueue_options keyed = {.unique_key = "k"}, spaced = {.unique_key = "k "};
  const char *first = enqueue(ctx, "test.hold", &(work){0}, &keyed);
  assert_string_equal(enqueue(ctx, "test.hold", &(work){0}, &keyed), first);
  assert_string_not_equal(enqueue(ctx, "test.write_note", &(work){0}, &keyed), first); /* another kind */
  assert_string_not_equal(
      enqueue(ctx, "test.hold", &(work){0}, &(purlin_enqueue_options){.unique_key = "K", .delay_ms = 600000}), first);
  assert_string_not_equal(
      enqueue(ctx, "test.hold", &(work){0}, &(purlin_enqueue_options){.unique_key = spaced.unique_key, .delay_ms = 600000}),
      first);
  start_queue(NULL);
  wait_for(&held, 1);
  assert_string_equal(enqueue(ctx, "test.hold", &(work){0}, &keyed), first); /* while it runs */
  atomic_store(&release_held, 1);
  wait_state(ctx, first, "succeeded");
  const char *second = enqueue(ctx, "test.hold", &(work){0}, &keyed);
  assert_string_not_equal(second, first);
  ctx->workspace = "blue";
  assert_string_not_equal(enqueue(ctx, "test.hold", &(work){0}, &keyed), second); /* nobody sees other workspaces */
  stop_queue(1000);
}

TEST_IN_DATABASE(waits_for_its_time) {
  clear(ctx);
  start_queue(NULL);
  uint64_t began = purlin_ticks_ns();
  (void)enqueue(ctx, "test.write_note", &(work){0}, &(purlin_enqueue_options){.delay_ms = 200});
  wait_for(&runs, 1);
  uint64_t took_ms = (purlin_ticks_ns() - began) / 1000000;
  assert_in_range(took_ms, 199, 2000);
  stop_queue(1000);
}

TEST_IN_DATABASE(starts_the_more_urgent_first) {
  clear(ctx);
  static const struct {
    const char *text;
    int32_t priority;
  } jobs[] = {{"c", 0}, {"e", -5}, {"a", 10}, {"d", 0}, {"b", 3}};
  for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++)
    (void)enqueue(ctx, "test.write_note", &(work){.text = jobs[i].text},
                  &(purlin_enqueue_options){.priority = jobs[i].priority});
  jobs_options options = options_of_test();
  options.concurrency = 1;
  start_queue(&options);
  wait_for(&runs, 5);
  assert_string_equal(notes.text, "a b c d e ");
  stop_queue(1000);
}

TEST_IN_DATABASE(lets_kinds_take_turns) {
  clear(ctx);
  for (int i = 0; i < 40; i++) (void)enqueue(ctx, "test.limited", &(work){0}, NULL);
  (void)enqueue(ctx, "test.write_note", &(work){.text = "turn"}, NULL);
  jobs_options options = options_of_test();
  options.concurrency = 1;
  start_queue(&options);
  for (int i = 0; i < 2000 && noted() == 0; i++) loop_sleep(5);
  assert_true(atomic_load(&runs) < 40);
  stop_queue(1000);
}

/* ---- Workspaces ---------------------------------------------------------------------------------------------------------------- */

static const char *enqueue_in(purlin_ctx *ctx, const char *workspace, const char *job, const work *in,
                              const purlin_enqueue_options *options) {
  const char *before = ctx->workspace;
  ctx->workspace = workspace;
  const char *id = enqueue(ctx, job, in, options);
  ctx->workspace = before;
  return id;
}

static bool one_of_small(const char *workspace, int64_t *at_once) {
  *at_once = 1;
  return strcmp(workspace, "small") == 0;
}

#define RUNNING_OF(workspace) "SELECT COUNT(*) AS number FROM purlin_jobs WHERE state = 1 AND workspace = '" workspace "'"

/* However much, of however many kinds, and however urgent it is that the other has. */
TEST_IN_DATABASE(lets_workspaces_take_turns) {
  clear(ctx);
  for (int i = 0; i < 300; i++)
    (void)enqueue_in(ctx, "big", i % 2 ? "test.limited" : "test.stumble", &(work){0},
                     &(purlin_enqueue_options){.priority = 1000 + i});
  (void)enqueue_in(ctx, "small", "test.write_note", &(work){.text = "turn"}, NULL);
  jobs_options options = options_of_test();
  options.concurrency = 1;
  start_queue(&options);
  for (int i = 0; i < 2000 && noted() == 0; i++) loop_sleep(5);
  assert_true(noted() > 0);
  assert_true(atomic_load(&runs) < 40);
  stop_queue(1000);
}

/* More workspaces than one look sees have something that is not due yet. */
TEST_IN_DATABASE(sees_what_is_due_behind_what_is_not) {
  clear(ctx);
  char name[16];
  for (int i = 0; i < 300; i++) {
    (void)snprintf(name, sizeof name, "a%03d", i);
    (void)enqueue_in(ctx, name, "test.write_note", &(work){.text = "later"},
                     &(purlin_enqueue_options){.delay_ms = 3600000});
  }
  (void)enqueue_in(ctx, "a999", "test.write_note", &(work){.text = "now"}, NULL);
  start_queue(NULL);
  for (int i = 0; i < 1000 && noted() == 0; i++) loop_sleep(5);
  assert_true(noted() > 0);
  stop_queue(1000);
}

TEST_IN_DATABASE(shares_free_slots_among_workspaces) {
  clear(ctx);
  for (int i = 0; i < 10; i++) (void)enqueue_in(ctx, "big", "test.hold", &(work){0}, NULL);
  for (int i = 0; i < 2; i++) (void)enqueue_in(ctx, "small", "test.hold", &(work){0}, NULL);
  jobs_options options = options_of_test();
  options.concurrency = 4;
  start_queue(&options);
  wait_for(&held, 4);
  assert_int_equal(number_of(ctx, RUNNING_OF("big")), 2);
  assert_int_equal(number_of(ctx, RUNNING_OF("small")), 2);
  atomic_store(&release_held, 1);
  wait_for(&runs, 12);
  stop_queue(1000);
}

TEST_IN_DATABASE(keeps_to_the_quota_of_a_workspace) {
  clear(ctx);
  job_explanation why = {0};
  jobs_set_quota(one_of_small);
  const char *first = enqueue_in(ctx, "small", "test.hold", &(work){0}, NULL),
             *second = enqueue_in(ctx, "small", "test.hold", &(work){0}, NULL);
  for (int i = 0; i < 3; i++) (void)enqueue_in(ctx, "big", "test.hold", &(work){0}, NULL);
  start_queue(NULL);
  wait_for(&held, 4);
  loop_sleep(150); /* some looks more */
  assert_int_equal(atomic_load(&held), 4);
  assert_int_equal(number_of(ctx, RUNNING_OF("big")), 3);
  assert_int_equal(number_of(ctx, RUNNING_OF("small")), 1);
  assert_string_equal(state_of(ctx, first), "running");
  RUN(ctx, "INSERT INTO purlin_job_nodes VALUES ('a', ',test.hold,', 64, NOW(6) + INTERVAL 1 MINUTE)");
  ctx->workspace = "small";
  OK(ctx, explain_job(ctx, second, &why));
  ctx->workspace = "default";
  assert_string_equal(why.reason, "quota");
  assert_string_equal(why.text, "the workspace runs 1 of at most 1 jobs (the quota 'jobs')");
  assert_int_equal(why.held_by.count, 1);
  assert_string_equal(why.held_by.items[0], first);
  atomic_store(&release_held, 1);
  wait_for(&runs, 5);
  jobs_set_quota(NULL);
  stop_queue(1000);
}

/* ---- Failing -------------------------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(tries_again_with_backoff) {
  clear(ctx);
  start_queue(NULL);
  const char *id = enqueue(ctx, "test.stumble", &(work){.number = 2}, NULL);
  wait_state(ctx, id, "succeeded");
  assert_int_equal(atomic_load(&runs), 3);
  /* 20 ms and 40 ms, each less a quarter at most */
  assert_true(number_of(ctx, "SELECT TIMESTAMPDIFF(MICROSECOND, created_at, ended_at) AS number FROM purlin_jobs") >=
              45000);
  stop_queue(1000);
}

TEST_IN_DATABASE(is_put_into_the_queue_by_hand_where_its_kind_says_so) {
  assert_int_equal(queue_by_hand(ctx, "test.nothing"), PURLIN_NOT_FOUND);
  assert_int_equal(queue_by_hand(ctx, "test.by_hand"), PURLIN_FORBIDDEN); /* nobody */
  access_identify(ctx, "user:all", "default", "default");
  OK(ctx, queue_by_hand(ctx, "test.by_hand"));
  assert_int_equal(queue_by_hand(ctx, "test.write_note"), PURLIN_FORBIDDEN); /* who may do everything may not, either */
}

TEST_IN_DATABASE(becomes_a_dead_letter_and_is_redriven) {
  clear(ctx);
  start_queue(NULL);
  const char *id = enqueue(ctx, "test.stumble", &(work){.number = 4}, &(purlin_enqueue_options){.unique_key = "u"});
  wait_state(ctx, id, "failed");
  assert_int_equal(atomic_load(&runs), 3);
  found row = {0};
  OK(ctx, purlin_db_row(ctx, found, &row, "SELECT error AS text FROM purlin_jobs WHERE unique_key IS NULL"));
  assert_string_equal(row.text, "stumbled over a stone");
  job_explanation why = {0};
  OK(ctx, explain_job(ctx, id, &why));
  assert_string_equal(why.reason, "failed");
  assert_int_equal(queue_redrive(ctx, "job_unknown"), PURLIN_NOT_FOUND);
  assert_int_equal(queue_redrive(ctx, id), PURLIN_FORBIDDEN); /* nobody */
  access_identify(ctx, "user:all", "default", "default");
  OK(ctx, queue_redrive(ctx, id));
  wait_state(ctx, id, "succeeded"); /* the fifth attempt */
  assert_int_equal(atomic_load(&runs), 5);
  assert_int_equal(queue_redrive(ctx, id), PURLIN_CONFLICT);
  stop_queue(1000);
}

TEST_IN_DATABASE(fails_for_good_when_the_payload_cannot_be_read) {
  clear(ctx);
  const char *id = enqueue(ctx, "test.write_note", &(work){0}, NULL);
  RUN(ctx, "UPDATE purlin_jobs SET payload = '{\"number\":\"seven\"}'");
  start_queue(NULL);
  wait_state(ctx, id, "failed");
  assert_int_equal(number_of(ctx, "SELECT attempt AS number FROM purlin_jobs"), 1);
  const char *older = enqueue(ctx, "test.write_note", &(work){.text = "old"}, &(purlin_enqueue_options){.delay_ms = 100});
  RUN(ctx, "UPDATE purlin_jobs SET payload = '{\"text\":\"new\",\"added_later\":[1]}' WHERE public_id = ?", older);
  wait_state(ctx, older, "succeeded");
  assert_string_equal(notes.text, "new ");
  stop_queue(1000);
}

TEST_IN_DATABASE(ends_an_attempt_at_its_time_limit) {
  clear(ctx);
  start_queue(NULL);
  const char *id = enqueue(ctx, "test.sleep_late", &(work){0}, NULL);
  wait_state(ctx, id, "failed");
  assert_int_equal(atomic_load(&seen_status), PURLIN_TIMEOUT);
  stop_queue(1000);
}

TEST_IN_DATABASE(refuses_writes_of_pure_jobs) {
  clear(ctx);
  start_queue(NULL);
  const char *id = enqueue(ctx, "test.pure_writer", &(work){0}, NULL);
  wait_state(ctx, id, "failed");
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM effects"), 0);
  stop_queue(1000);
}

/* ---- Leases and the fence ---------------------------------------------------------------------------------------------------------- */

/* The first attempt is cut off (its lease runs out as if its node had stopped); a second one starts while it still runs. */
TEST_IN_DATABASE(lets_one_of_two_attempts_take_effect) {
  clear(ctx);
  jobs_options options = options_of_test();
  options.lease_ms = 600000; /* the keeper must not notice by itself */
  start_queue(&options);
  const char *id = enqueue(ctx, "test.hold", &(work){0}, NULL);
  wait_for(&held, 1);
  RUN(ctx, "UPDATE purlin_jobs SET lease_until = NOW(6) - INTERVAL 1 SECOND");
  leases_sweep(ctx);
  wait_for(&held, 2);
  atomic_store(&release_held, 1); /* the first wants to write now */
  wait_for(&runs, 1);
  assert_int_equal(atomic_load(&seen_status), PURLIN_CANCELLED);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM effects"), 0);
  assert_string_equal(state_of(ctx, id), "running");
  atomic_store(&release_held, 2);
  wait_state(ctx, id, "succeeded");
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM effects WHERE text = 'attempt 2'"), 1);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM effects"), 1);
  stop_queue(1000);
}

TEST_IN_DATABASE(takes_back_leases_of_nodes_that_are_gone) {
  clear(ctx);
  const char *again = enqueue(ctx, "test.write_note", &(work){.text = "again"}, NULL);
  const char *last = enqueue(ctx, "test.write_note", &(work){0}, NULL),
             *unwanted = enqueue(ctx, "test.write_note", &(work){0}, NULL);
  const char *alive = enqueue(ctx, "test.write_note", &(work){0}, NULL);
  RUN(ctx, "UPDATE purlin_jobs SET state = 1, attempt = 1, lease_owner = 'gone', lease_until = NOW(6) - INTERVAL 1 SECOND");
  RUN(ctx, "UPDATE purlin_jobs SET attempt = max_attempts WHERE public_id = ?", last);
  RUN(ctx, "UPDATE purlin_jobs SET cancel_asked = TRUE WHERE public_id = ?", unwanted);
  RUN(ctx, "UPDATE purlin_jobs SET lease_until = NOW(6) + INTERVAL 1 HOUR WHERE public_id = ?", alive);
  start_queue(NULL); /* sweeps at once */
  wait_state(ctx, again, "succeeded");
  assert_int_equal(number_of(ctx, "SELECT attempt AS number FROM purlin_jobs WHERE id = 1"), 2);
  assert_string_equal(state_of(ctx, last), "failed");
  assert_string_equal(state_of(ctx, unwanted), "cancelled");
  assert_string_equal(state_of(ctx, alive), "running");
  stop_queue(1000);
}

TEST_IN_DATABASE(takes_over_from_its_own_earlier_runs_at_once) {
  clear(ctx);
  const char *counted = enqueue(ctx, "test.write_note", &(work){0}, NULL),
             *last = enqueue(ctx, "test.write_note", &(work){0}, NULL);
  const char *resumed = enqueue(ctx, "test.attend", &(work){0}, NULL),
             *of_another = enqueue(ctx, "test.write_note", &(work){0}, NULL);
  RUN(ctx,
      "UPDATE purlin_jobs SET state = 1, attempt = 1, lease_owner = 'n0de000000000000:host:1:x', lease_until = NOW(6) + "
      "INTERVAL 1 HOUR");
  RUN(ctx, "UPDATE purlin_jobs SET attempt = max_attempts WHERE public_id IN (?, ?)", last, resumed);
  RUN(ctx, "UPDATE purlin_jobs SET lease_owner = 'n0de000000000001:host:1:x' WHERE public_id = ?", of_another);
  node_set_identity("n0de000000000000");
  start_queue(NULL);
  wait_state(ctx, counted, "succeeded");
  wait_for(&held, 1);
  assert_string_equal(state_of(ctx, last), "failed");
  assert_string_equal(state_of(ctx, of_another), "running");
  /* it goes on, and what it lost does not count */
  assert_int_equal(number_of(ctx, "SELECT max_attempts * 10 + attempt AS number FROM purlin_jobs WHERE id = 3"), 33);
  assert_string_equal(state_of(ctx, resumed), "running");
  stop_queue(1000);
  RUN(ctx,
      "UPDATE purlin_jobs SET state = 1, attempt = 1, lease_owner = ':host:1:x', lease_until = NOW(6) + INTERVAL 1 HOUR");
  node_set_identity(NULL);
  start_queue(NULL); /* without an identity nothing is one's own */
  loop_sleep(100);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs WHERE state = 1"), 4);
  stop_queue(1000);
}

TEST_IN_DATABASE(renews_leases_and_notices_lost_ones) {
  clear(ctx);
  jobs_options options = options_of_test();
  options.lease_ms = 600;
  start_queue(&options);
  const char *id = enqueue(ctx, "test.sleep_long", &(work){0}, NULL);
  wait_for(&held, 1);
  loop_sleep(1500);
  assert_string_equal(state_of(ctx, id), "running");
  assert_int_equal(number_of(ctx, "SELECT attempt AS number FROM purlin_jobs WHERE lease_until > NOW(6)"), 1);
  RUN(ctx, "UPDATE purlin_jobs SET lease_owner = 'another', attempt = 2, lease_until = NOW(6) + INTERVAL 1 HOUR");
  wait_for(&seen_status, PURLIN_CANCELLED);
  stop_queue(1000);
  assert_string_equal(state_of(ctx, id), "running"); /* the other's: untouched */
}

/* ---- Cancelling -------------------------------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(cancels_what_waits_and_what_runs) {
  clear(ctx);
  start_queue(NULL);
  const char *waiting = enqueue(ctx, "test.write_note", &(work){0}, &(purlin_enqueue_options){.delay_ms = 300});
  OK(ctx, purlin_job_cancel(ctx, waiting));
  assert_string_equal(state_of(ctx, waiting), "cancelled");
  assert_int_equal(purlin_job_cancel(ctx, waiting), PURLIN_CONFLICT);
  assert_int_equal(purlin_job_cancel(ctx, "job_unknown"), PURLIN_NOT_FOUND);

  const char *run = enqueue(ctx, "test.sleep_long", &(work){0}, NULL);
  wait_for(&held, 1);
  uint64_t began = purlin_ticks_ns();
  ctx->workspace = "blue";
  assert_int_equal(purlin_job_cancel(ctx, run), PURLIN_NOT_FOUND);
  ctx->workspace = "default";
  OK(ctx, purlin_job_cancel(ctx, run));
  wait_state(ctx, run, "cancelled");
  assert_true((purlin_ticks_ns() - began) / 1000000 < 900); /* at once, not with the next look at the leases */
  loop_sleep(350);
  assert_int_equal(atomic_load(&runs), 0);
  stop_queue(1000);
}

TEST_IN_DATABASE(notices_a_cancellation_of_another_node) {
  clear(ctx);
  jobs_options options = options_of_test();
  options.lease_ms = 900;
  start_queue(&options);
  const char *id = enqueue(ctx, "test.sleep_long", &(work){0}, NULL);
  wait_for(&held, 1);
  RUN(ctx, "UPDATE purlin_jobs SET cancel_asked = TRUE");
  wait_state(ctx, id, "cancelled");
  stop_queue(1000);
}

/* ---- Limits -------------------------------------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(keeps_to_the_limit_of_a_kind) {
  clear(ctx);
  for (int i = 0; i < 12; i++) (void)enqueue(ctx, "test.limited", &(work){0}, NULL);
  start_queue(NULL);
  wait_for(&runs, 12);
  assert_int_equal(atomic_load(&most_together), 2);
  stop_queue(1000);
}

TEST_IN_DATABASE(explains_why_a_job_does_not_run) {
  clear(ctx);
  job_explanation why = {0};
  const char *first = enqueue(ctx, "test.limited", &(work){0}, NULL),
             *second = enqueue(ctx, "test.limited", &(work){0}, NULL);
  OK(ctx, explain_job(ctx, first, &why));
  assert_string_equal(why.reason, "no_node");
  RUN(ctx, "INSERT INTO purlin_job_nodes VALUES ('a', ',test.x,test.limited,', 4, NOW(6) + INTERVAL 1 MINUTE)");
  OK(ctx, explain_job(ctx, second, &why));
  assert_string_equal(why.reason, "ahead");
  assert_int_equal(why.ahead, 1);
  OK(ctx, explain_job(ctx, first, &why));
  assert_string_equal(why.reason, "next");
  const char *later = enqueue(ctx, "test.limited", &(work){0}, &(purlin_enqueue_options){.delay_ms = 60000});
  OK(ctx, explain_job(ctx, later, &why));
  assert_string_equal(why.reason, "later");
  RUN(ctx, "UPDATE purlin_jobs SET state = 1, lease_until = NOW(6) + INTERVAL 1 MINUTE WHERE public_id IN (?, ?)", first,
      later);
  OK(ctx, explain_job(ctx, second, &why));
  assert_string_equal(why.reason, "limit");
  assert_int_equal(why.held_by.count, 2);
  assert_string_equal(why.held_by.items[0], first);
  RUN(ctx, "UPDATE purlin_job_nodes SET slots = 2");
  const char *note_id = enqueue(ctx, "test.write_note", &(work){0}, NULL);
  OK(ctx, explain_job(ctx, note_id, &why));
  assert_string_equal(why.reason, "no_node");
  RUN(ctx, "UPDATE purlin_job_nodes SET names = ',test.write_note,'");
  OK(ctx, explain_job(ctx, note_id, &why));
  assert_string_equal(why.reason, "slots");
  OK(ctx, explain_job(ctx, first, &why));
  assert_string_equal(why.reason, "running");
  assert_int_equal(explain_job(ctx, "job_unknown", &why), PURLIN_NOT_FOUND);
}

/* ---- Pure jobs, progress, retention, drain ---------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(completes_pure_jobs_in_batches) {
  clear(ctx);
  RUN(ctx, "INSERT INTO purlin_jobs (public_id, workspace, project, actor, name, payload, payload_version, state, urgency, "
           "run_at, max_attempts,"
           "  trace_id, created_at) SELECT CONCAT('job_', seq), 'default', 'default', 'system', 'test.count_up', '{}', 1, "
           "0, 0, NOW(6), 5, '', NOW(6) "
           "FROM seq_1_to_1000");
  start_queue(NULL);
  wait_for(&runs, 1000);
  stop_queue(1000);
  assert_int_equal(atomic_load(&runs), 1000);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs"), 0);
}

TEST_IN_DATABASE(keeps_progress_in_the_row) {
  clear(ctx);
  assert_null(purlin_job_id(ctx));
  start_queue(NULL);
  const char *id = enqueue(ctx, "test.report", &(work){0}, NULL);
  wait_state(ctx, id, "succeeded");
  assert_string_equal(notes.text, purlin_format(ctx, "%s ", id));
  found row = {0};
  OK(ctx, purlin_db_row(ctx, found, &row,
                        "SELECT CAST(progress * 10 AS SIGNED) AS number, progress_text AS text FROM purlin_jobs"));
  assert_int_equal(row.number, 5);
  assert_string_equal(row.text, "half");
  stop_queue(1000);
}

TEST_IN_DATABASE(forgets_what_ended_long_ago) {
  clear(ctx);
  for (int i = 0; i < 200; i++) (void)enqueue(ctx, "test.write_note", &(work){0}, NULL);
  RUN(ctx, "UPDATE purlin_jobs SET created_at = NOW(6) - INTERVAL 30 DAY, ended_at = NOW(6) - INTERVAL 8 DAY, state = 2");
  RUN(ctx, "UPDATE purlin_jobs SET state = 3 WHERE id = 70");
  RUN(ctx, "UPDATE purlin_jobs SET ended_at = NOW(6) - INTERVAL 6 DAY WHERE id = 71");
  RUN(ctx, "UPDATE purlin_jobs SET state = 0, run_at = NOW(6) + INTERVAL 1 DAY WHERE id = 72");
  start_queue(NULL); /* sweeps at once */
  for (int i = 0; i < 1000 && number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs") > 3; i++) loop_sleep(5);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs WHERE id BETWEEN 70 AND 72"), 3);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs"), 3);
  stop_queue(1000);
}

TEST_IN_DATABASE(gives_jobs_back_when_it_stops) {
  clear(ctx);
  start_queue(NULL);
  const char *id = enqueue(ctx, "test.sleep_long", &(work){0}, NULL);
  wait_for(&held, 1);
  stop_queue(50);
  assert_string_equal(state_of(ctx, id), "waiting");
  /* the attempt does not count, but its number is not used again: it is what fences */
  assert_int_equal(number_of(ctx, "SELECT attempt AS number FROM purlin_jobs WHERE max_attempts = 3"), 1);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_job_nodes"), 0);
  (void)enqueue(ctx, "test.write_note", &(work){0}, NULL);
  loop_sleep(150);
  assert_int_equal(atomic_load(&runs), 0); /* nothing is claimed after a drain */
}

TEST_IN_DATABASE(gives_back_at_once_what_resumes) {
  clear(ctx);
  const char *id = enqueue(ctx, "test.attend", &(work){0}, NULL);
  for (int round = 1; round <= 4; round++) { /* more often than it may fail */
    start_queue(NULL);
    wait_for(&held, round);
    uint64_t began = purlin_ticks_ns();
    stop_queue(30000);
    assert_true((purlin_ticks_ns() - began) / 1000000 < 5000);
    assert_string_equal(state_of(ctx, id), "waiting");
  }
  atomic_store(&release_held, 1); /* failures count as ever */
  start_queue(NULL);
  wait_state(ctx, id, "failed");
  stop_queue(1000);
  /* Four that were stopped and two that failed; a claim that was under way during a stop may have added one. */
  size_t length = strlen(notes.text), attempts = length / strlen("more ");
  assert_in_range(attempts, 6, 6 + 4);
  for (size_t i = 0; i < attempts; i++) assert_memory_equal(notes.text + i * 5, i + 1 < attempts ? "more " : "last ", 5);
  assert_int_equal(number_of(ctx, "SELECT attempt AS number FROM purlin_jobs"), attempts);
  assert_int_equal(number_of(ctx, "SELECT max_attempts AS number FROM purlin_jobs"), attempts);
}

/* ---- Schedules ------------------------------------------------------------------------------------------------------------------------------- */

TEST_IN_DATABASE(fires_schedules_once_each_time) {
  static const purlin_schedule *const schedules[] = {&often_schedule, &caught_schedule, &skipped_schedule};
  buffer reason = {0};
  for (size_t i = 0; i < sizeof schedules / sizeof schedules[0]; i++)
    assert_int_equal(jobs_register_schedule("test", schedules[i], &reason), PURLIN_OK);
  buffer_free(&reason);
  clear(ctx);
  RUN(ctx, "INSERT INTO purlin_schedules (name, expression, time_zone, job, next_at) VALUES"
           " ('test.caught', '0 0 1 1 *', 'UTC', 'test.write_note', NOW(6) - INTERVAL 400 DAY),"
           " ('test.skipped', '0 0 1 1 *', 'Europe/Brussels', 'test.write_note', NOW(6) - INTERVAL 400 DAY)");
  start_queue(NULL);
  for (int i = 0;
       i < 1000 && number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs WHERE actor = 'schedule:test.often'") < 2;
       i++)
    loop_sleep(10);
  stop_queue(1000);
  assert_non_null(strstr(notes.text, "caught"));
  assert_null(strstr(notes.text, "skipped"));
  assert_non_null(strstr(notes.text, "tick"));
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_jobs WHERE actor = 'schedule:test.caught'"), 1);
  assert_int_equal(
      number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_schedules WHERE name <> 'test.often' AND next_at > NOW(6)"), 2);
  assert_int_equal(number_of(ctx, "SELECT COUNT(*) AS number FROM purlin_schedules WHERE name = 'test.unfit'"), 0);
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(refuses_bad_declarations),
      cmocka_unit_test(runs_what_is_enqueued),
      cmocka_unit_test(refuses_what_does_not_fit),
      cmocka_unit_test(exists_exactly_if_the_transaction_commits),
      cmocka_unit_test(keeps_a_unique_key_while_it_waits_or_runs),
      cmocka_unit_test(waits_for_its_time),
      cmocka_unit_test(starts_the_more_urgent_first),
      cmocka_unit_test(lets_kinds_take_turns),
      cmocka_unit_test(lets_workspaces_take_turns),
      cmocka_unit_test(sees_what_is_due_behind_what_is_not),
      cmocka_unit_test(shares_free_slots_among_workspaces),
      cmocka_unit_test(keeps_to_the_quota_of_a_workspace),
      cmocka_unit_test(tries_again_with_backoff),
      cmocka_unit_test(is_put_into_the_queue_by_hand_where_its_kind_says_so),
      cmocka_unit_test(becomes_a_dead_letter_and_is_redriven),
      cmocka_unit_test(fails_for_good_when_the_payload_cannot_be_read),
      cmocka_unit_test(ends_an_attempt_at_its_time_limit),
      cmocka_unit_test(refuses_writes_of_pure_jobs),
      cmocka_unit_test(lets_one_of_two_attempts_take_effect),
      cmocka_unit_test(takes_back_leases_of_nodes_that_are_gone),
      cmocka_unit_test(takes_over_from_its_own_earlier_runs_at_once),
      cmocka_unit_test(renews_leases_and_notices_lost_ones),
      cmocka_unit_test(cancels_what_waits_and_what_runs),
      cmocka_unit_test(notices_a_cancellation_of_another_node),
      cmocka_unit_test(keeps_to_the_limit_of_a_kind),
      cmocka_unit_test(explains_why_a_job_does_not_run),
      cmocka_unit_test(completes_pure_jobs_in_batches),
      cmocka_unit_test(keeps_progress_in_the_row),
      cmocka_unit_test(forgets_what_ended_long_ago),
      cmocka_unit_test(gives_jobs_back_when_it_stops),
      cmocka_unit_test(gives_back_at_once_what_resumes),
      cmocka_unit_test(fires_schedules_once_each_time),
  };
  return cmocka_run_group_tests(tests, setup, stop_server);
}
