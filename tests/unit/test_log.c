/* Records in both forms, levels, origins, access lines, the writer's batches, drops and order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "observe/log.h"
#include "observe/metrics.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/stat.h>
#include <unistd.h>

static char output[32 * 1024 * 1024];
static int target; /* a temporary file without a name */

static int open_target(void **unused) {
  (void)unused;
  char path[] = "/tmp/purlin-log-XXXXXX";
  target = mkstemp(path);
  return target < 0 ? -1 : unlink(path);
}

static int close_target(void **unused) {
  (void)unused;
  log_stop();
  log_set_origin_reader(NULL);
  log_set_level(PURLIN_INFO);
  return close(target);
}

static void start(log_format format, purlin_level level) {
  assert_int_equal(log_start(&(log_options){target, format, level, -1}), PURLIN_OK);
}

static size_t read_output(int descriptor) {
  ssize_t size = pread(descriptor, output, sizeof output - 1, 0);
  assert_true(size >= 0);
  output[size] = '\0';
  return (size_t)size;
}

static const char *text_of(const cJSON *object, const char *name) {
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
  return text != NULL ? text : "(absent)";
}

static void read_origin(const purlin_ctx *ctx, log_origin *origin) {
  assert_non_null(ctx);
  *origin = (log_origin){.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                         .workspace = "ws_1",
                         .plugin = "registry",
                         .operation = "registry.create_model",
                         .actor = "user:ann"};
}

static void json_record(void **unused) {
  (void)unused;
  log_set_origin_reader(read_origin);
  start(LOG_AUTO, PURLIN_INFO); /* a file is no terminal */
  static char context[8];
  purlin_log((purlin_ctx *)(void *)context, PURLIN_WARNING, "odd \"name\" %d\n\x01\xff", 7);
  log_write(PURLIN_INFO, "http", "listening");
  log_stop();
  (void)read_output(target);
  char *second = strchr(output, '\n');
  assert_non_null(second);
  *second++ = '\0';
  cJSON *record = cJSON_Parse(output);
  assert_non_null(record);
  assert_string_equal(text_of(record, "level"), "warning");
  assert_string_equal(text_of(record, "message"), "odd \"name\" 7\n\x01\xef\xbf\xbd");
  assert_string_equal(text_of(record, "plugin"), "registry");
  assert_string_equal(text_of(record, "operation"), "registry.create_model");
  assert_string_equal(text_of(record, "trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
  assert_string_equal(text_of(record, "workspace"), "ws_1");
  assert_string_equal(text_of(record, "actor"), "user:ann");
  assert_string_equal(text_of(record, "job"), "(absent)");
  assert_int_equal(strlen(text_of(record, "time")), 27);
  struct tm day;
  assert_non_null(strptime(text_of(record, "time"), "%Y-%m-%dT%H:%M:%S", &day));
  assert_true(llabs((long long)(timegm(&day) - time(NULL))) < 60);
  cJSON_Delete(record);
  record = cJSON_Parse(second);
  assert_string_equal(text_of(record, "part"), "http");
  assert_string_equal(text_of(record, "plugin"), "(absent)");
  cJSON_Delete(record);
}

static void human_record(void **unused) {
  (void)unused;
  log_set_origin_reader(read_origin);
  start(LOG_HUMAN, PURLIN_DEBUG);
  log_write(PURLIN_DEBUG, "db", "first\nsecond\x1b[31m\x7f");
  static char context[8];
  purlin_log((purlin_ctx *)(void *)context, PURLIN_ERROR, "broken");
  purlin_log(NULL, PURLIN_INFO, "no origin");
  log_stop();
  (void)read_output(target);
  assert_null(strchr(output, '\033')); /* neither colours, since this is no terminal, nor the message's own */
  assert_non_null(strstr(output, " debug db         first\n                         second?[31m?\n"));
  assert_non_null(
      strstr(output, " ERROR registry   broken operation=registry.create_model workspace=ws_1 actor=user:ann trace=4bf92"));
  assert_non_null(strstr(output, " info  -          no origin\n"));
  assert_true(output[2] == ':' && output[5] == ':' && output[8] == '.' && output[12] == ' ');
}

/* Each line for systemd's journal begins with its level; any other descriptor is told none. */
static void levels_for_the_journal(void **unused) {
  (void)unused;
  struct stat found;
  char named[64];
  assert_int_equal(fstat(target, &found), 0);
  for (unsigned long long other = 0; other < 2; other++) {
    assert_in_range(snprintf(named, sizeof named, "%llu:%llu", (unsigned long long)found.st_dev, found.st_ino + other), 3,
                    60);
    assert_int_equal(setenv("JOURNAL_STREAM", named, 1), 0);
    start(LOG_JSON, PURLIN_DEBUG);
    for (int level = PURLIN_DEBUG; level <= PURLIN_ERROR; level++) log_write((purlin_level)level, "x", "y");
    log_stop();
    assert_int_equal(unsetenv("JOURNAL_STREAM"), 0);
    (void)read_output(target);
    const char *line = output;
    for (const char *level = "7643"; *level; level++, line = strchr(line, '\n') + 1) {
      assert_non_null(strchr(line, '\n'));
      assert_int_equal(line[0], other ? '{' : '<');
      if (!other) assert_true(line[1] == *level && line[2] == '>' && line[3] == '{');
    }
    assert_int_equal(*line, '\0');
    assert_int_equal(ftruncate(target, 0), 0);
    assert_int_equal(lseek(target, 0, SEEK_SET), 0);
  }
}

static void levels(void **unused) {
  (void)unused;
  start(LOG_JSON, PURLIN_WARNING);
  assert_false(log_enabled(PURLIN_INFO));
  assert_true(log_enabled(PURLIN_WARNING));
  log_write(PURLIN_INFO, "x", "unseen");
  log_set_level(PURLIN_DEBUG);
  log_write(PURLIN_DEBUG, "x", "seen");
  log_flush();
  (void)read_output(target);
  assert_null(strstr(output, "unseen"));
  assert_non_null(strstr(output, "\"message\":\"seen\""));
}

static void long_messages_are_cut(void **unused) {
  (void)unused;
  start(LOG_JSON, PURLIN_INFO);
  size_t size = 100001;
  char *text = malloc(size);
  assert_non_null(text);
  for (size_t i = 0; i + 2 < size; i += 2) memcpy(text + i, "\xc3\xa4", 2);
  text[size - 1] = '\0';
  log_write(PURLIN_INFO, "x", "-%s", text); /* the cut falls into a character */
  text[2000] = '\0';
  log_write(PURLIN_INFO, "x", "%s", text); /* longer than the first guess, not cut */
  free(text);
  log_stop();
  (void)read_output(target);
  char *second = strchr(output, '\n');
  assert_non_null(second);
  *second++ = '\0';
  cJSON *record = cJSON_Parse(output);
  size_t kept = strlen(text_of(record, "message"));
  assert_true(kept == 32767); /* "-" and whole characters only */
  assert_null(strstr(output, "\xef\xbf\xbd"));
  assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(record, "cut")));
  cJSON_Delete(record);
  record = cJSON_Parse(second);
  assert_int_equal(strlen(text_of(record, "message")), 2000);
  assert_null(cJSON_GetObjectItemCaseSensitive(record, "cut"));
  cJSON_Delete(record);
}

static void access_lines(void **unused) {
  (void)unused;
  assert_false(log_access_enabled());
  log_access(&(access_record){.method = "GET"}); /* harmless */
  assert_int_equal(log_start(&(log_options){open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_JSON, PURLIN_INFO, target}),
                   PURLIN_OK);
  assert_true(log_access_enabled());
  log_access(&(access_record){.method = "POST",
                              .path = "/api/v1/models?x=\"1\"",
                              .route = "/api/v1/models",
                              .actor = "token:t1",
                              .workspace = "ws_1",
                              .trace_id = "4bf9",
                              .address = "127.0.0.1",
                              .status = 201,
                              .request_bytes = 12,
                              .answer_bytes = UINT64_MAX,
                              .duration_ns = 1234567});
  log_stop();
  assert_false(log_access_enabled());
  (void)read_output(target);
  cJSON *record = cJSON_Parse(output);
  assert_non_null(record);
  assert_string_equal(text_of(record, "path"), "/api/v1/models?x=\"1\"");
  assert_string_equal(text_of(record, "actor"), "token:t1");
  assert_non_null(
      strstr(output, ",\"status\":201,\"duration_us\":1234,\"request_bytes\":12,\"answer_bytes\":18446744073709551615,"));
  cJSON_Delete(record);
}

static void starting_twice_is_refused(void **unused) {
  (void)unused;
  start(LOG_JSON, PURLIN_INFO);
  assert_int_equal(log_start(&(log_options){target, LOG_JSON, PURLIN_INFO, -1}), PURLIN_CONFLICT);
  log_stop();
  log_stop();
  log_flush();
  start(LOG_JSON, PURLIN_INFO);
  log_write(PURLIN_INFO, "x", "again");
  log_stop();
  (void)read_output(target);
  assert_non_null(strstr(output, "again"));
}

static void errors_are_written_at_once(void **unused) {
  (void)unused;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  assert_int_equal(log_start(&(log_options){ends[1], LOG_JSON, PURLIN_INFO, -1}), PURLIN_OK);
  log_write(PURLIN_ERROR, "x", "now");
  struct pollfd wait = {.fd = ends[0], .events = POLLIN};
  assert_int_equal(poll(&wait, 1, 5000), 1);
  log_stop();
  assert_int_equal(close(ends[0]) | close(ends[1]), 0);
}

static void direct_before_the_start(void **unused) {
  (void)unused;
  int ends[2], before = dup(2);
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  assert_true(dup2(ends[1], 2) == 2);
  log_write(PURLIN_INFO, "x", "early");
  assert_true(dup2(before, 2) == 2);
  ssize_t size = read(ends[0], output, 1000);
  assert_true(size > 0);
  output[size] = '\0';
  assert_non_null(strstr(output, "\"message\":\"early\",\"part\":\"x\"}\n"));
  assert_int_equal(close(ends[0]) | close(ends[1]) | close(before), 0);
}

/* A pipe that nobody reads: records are dropped and counted, the caller goes on, and the loss is told afterwards. */
static void *drain(void *argument) {
  int descriptor = *(int *)argument;
  size_t told = 0, used = 0; /* told: the lines that records say were dropped */
  ssize_t got;
  while (used < sizeof output - 1 && (got = read(descriptor, output + used, sizeof output - 1 - used)) > 0)
    used += (size_t)got;
  output[used] = '\0';
  for (const char *at = output; (at = strstr(at, " log lines were dropped")) != NULL; at++) {
    const char *number = at;
    while (number[-1] >= '0' && number[-1] <= '9') number--;
    told += strtoul(number, NULL, 10);
  }
  return (void *)told;
}

static void a_slow_reader_costs_records_not_time(void **unused) {
  (void)unused;
  assert_int_equal(metrics_register_own(), PURLIN_OK);
  double before = metrics_value("purlin_log_dropped_total");
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
  assert_int_equal(log_start(&(log_options){ends[1], LOG_JSON, PURLIN_INFO, -1}), PURLIN_OK);
  char text[1001];
  memset(text, 'x', 1000);
  text[1000] = '\0';
  for (int i = 0; i < 4000; i++) log_write(PURLIN_INFO, "x", "%s", text);
  double dropped = metrics_value("purlin_log_dropped_total") - before;
  assert_true(dropped > 1000 && dropped < 4000);
  pthread_t reader;
  assert_int_equal(pthread_create(&reader, NULL, drain, &ends[0]), 0);
  log_flush();
  log_write(PURLIN_INFO, "x", "after");
  log_stop();
  assert_int_equal(close(ends[1]), 0);
  void *told = NULL;
  assert_int_equal(pthread_join(reader, &told), 0);
  assert_int_equal((size_t)told, (size_t)dropped);
  assert_non_null(strstr(output, "after"));
  assert_int_equal(close(ends[0]), 0);
}

static void a_stuck_nonblocking_reader_does_not_hold_up_the_stop(void **unused) {
  (void)unused;
  int ends[2];
  assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  assert_int_equal(log_start(&(log_options){ends[1], LOG_JSON, PURLIN_INFO, -1}), PURLIN_OK);
  char text[1001];
  memset(text, 'x', 1000);
  text[1000] = '\0';
  for (int i = 0; i < 200; i++) log_write(PURLIN_INFO, "x", "%s", text);
  double before = metrics_value("purlin_log_dropped_total");
  time_t start_time = time(NULL);
  log_stop();
  assert_true(time(NULL) - start_time < 30);
  assert_true(metrics_value("purlin_log_dropped_total") > before);
  assert_int_equal(close(ends[0]) | close(ends[1]), 0);
}

enum { THREADS = 6, LINES = 3000 };

static void *log_many(void *argument) {
  for (int i = 0; i < LINES; i++) {
    log_write(i % 100 == 0 ? PURLIN_ERROR : PURLIN_INFO, "t", "thread %d line %d", *(int *)argument, i);
    if (i % 200 == 199) log_flush(); /* so that nothing overflows */
  }
  return NULL;
}

static void threads_keep_their_order(void **unused) {
  (void)unused;
  start(LOG_JSON, PURLIN_INFO);
  pthread_t threads[THREADS];
  int numbers[THREADS];
  for (int i = 0; i < THREADS; i++) {
    numbers[i] = i;
    assert_int_equal(pthread_create(&threads[i], NULL, log_many, &numbers[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  log_stop();
  (void)read_output(target);
  int next[THREADS] = {0};
  char *rest = NULL;
  for (char *line = strtok_r(output, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
    int thread, number;
    const char *message = strstr(line, "\"thread ");
    assert_non_null(message);
    assert_int_equal(sscanf(message, "\"thread %d line %d\"", &thread, &number), 2);
    assert_true(thread >= 0 && thread < THREADS);
    assert_int_equal(number, next[thread]);
    next[thread]++;
  }
  for (int i = 0; i < THREADS; i++) assert_int_equal(next[i], LINES);
}

static void access_is_cheap(void **unused) {
  (void)unused;
  int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  assert_int_equal(log_start(&(log_options){null, LOG_JSON, PURLIN_INFO, null}), PURLIN_OK);
  access_record record = {.method = "POST",
                          .path = "/v2/models/price/infer",
                          .route = "/v2/models/{name}/infer",
                          .actor = "token:t1",
                          .workspace = "default",
                          .trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                          .address = "127.0.0.1",
                          .status = 200,
                          .request_bytes = 120,
                          .answer_bytes = 200,
                          .duration_ns = 54321};
  struct timespec from, to;
  enum { RECORDS = 200000 };
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
  for (int i = 0; i < RECORDS; i++) log_access(&record);
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
  double each = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)RECORDS;
  print_message("one access line: %.0f ns\n", each);
  log_stop();
  assert_true(each < 50000);
  assert_int_equal(close(null), 0);
}

#define WITH_TARGET(test) cmocka_unit_test_setup_teardown(test, open_target, close_target)

int main(void) {
  const struct CMUnitTest tests[] = {
      WITH_TARGET(json_record),
      WITH_TARGET(human_record),
      WITH_TARGET(levels_for_the_journal),
      WITH_TARGET(levels),
      WITH_TARGET(long_messages_are_cut),
      WITH_TARGET(access_lines),
      WITH_TARGET(starting_twice_is_refused),
      WITH_TARGET(errors_are_written_at_once),
      WITH_TARGET(direct_before_the_start),
      WITH_TARGET(a_slow_reader_costs_records_not_time),
      WITH_TARGET(a_stuck_nonblocking_reader_does_not_hold_up_the_stop),
      WITH_TARGET(threads_keep_their_order),
      WITH_TARGET(access_is_cheap),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
