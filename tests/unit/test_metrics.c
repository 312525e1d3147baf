/* The registry of metrics: names, counting, cardinality, both texts, and threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "observe/log.h"
#include "observe/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

PURLIN_COUNTER(own_things_total, "Things of the runtime itself", NULL);
PURLIN_COUNTER(predictions_total, "Predictions answered", "endpoint, outcome");
PURLIN_GAUGE(queue_length, "Waiting \"jobs\",\nwith a \\", "queue");
PURLIN_HISTOGRAM(call_seconds, "How long", "method");
PURLIN_COUNTER(never_registered_total, "Nobody registers me", "a");
PURLIN_COUNTER(many_total, "Many", "value");
PURLIN_COUNTER(shared_total, "Shared by threads", "which, other");
PURLIN_HISTOGRAM(shared_seconds, "Shared by threads", NULL);
PURLIN_COUNTER(speed_total, "Speed", "endpoint, outcome");

static void must_register(const char *prefix, const purlin_metric *metric) {
  buffer why = {0};
  purlin_status status = metrics_register(prefix, metric, &why);
  if (status != PURLIN_OK) print_error("%s\n", buffer_end(&why));
  buffer_free(&why);
  assert_int_equal(status, PURLIN_OK);
}

static bool close_to(double a, double b) { return fabs(a - b) < 1e-9; }

static buffer rendered(bool open) {
  buffer text = {0};
  if (open) {
    metrics_render_open(&text);
  } else {
    metrics_render(&text);
  }
  (void)buffer_end(&text);
  assert_false(text.failed);
  return text;
}

static void assert_line(const char *text, const char *line) {
  size_t size = strlen(line);
  for (const char *at = strstr(text, line); at != NULL; at = strstr(at + 1, line)) {
    if ((at == text || at[-1] == '\n') && at[size] == '\n') return;
  }
  fail_msg("no line '%s'", line);
}

static void counts_before_registration_are_harmless(void **unused) {
  (void)unused;
  purlin_count(never_registered_total, 1, "x");
  assert_null(metrics_series_of(&never_registered_total_metric, (const char *const[]){"x"}));
  metrics_series_add(NULL, 1);
  metrics_series_observe(NULL, 1);
  bool unknown = isnan(metrics_value("purlin_never_registered_total"));
  assert_true(unknown);
}

static void own_families_come_from_the_section(void **unused) {
  (void)unused;
  assert_int_equal(metrics_register_own(), PURLIN_OK);
  assert_int_equal(metrics_register_own(), PURLIN_OK);
  assert_true(close_to(metrics_value("purlin_own_things_total"), 0));
  purlin_count(own_things_total, 3, PURLIN_NO_LABELS);
  assert_true(close_to(metrics_value("purlin_own_things_total"), 3));
  log_set_level(PURLIN_INFO); /* links the logs, which have a family of their own */
  assert_true(close_to(metrics_value("purlin_log_records_total"), 0));
}

static void counter_and_prefix(void **unused) {
  (void)unused;
  must_register("the-plugin", &predictions_total_metric);
  purlin_count(predictions_total, 1, "churn", "ok");
  purlin_count(predictions_total, 2.5, "churn", "ok");
  purlin_count(predictions_total, 1, "a\"b\\c\nd", "failed");
  purlin_count(predictions_total, -5, "churn", "ok"); /* a counter never falls */
  purlin_count(predictions_total, NAN, "churn", "ok");
  purlin_gauge(predictions_total, 99, "churn", "ok"); /* nor is it set */
  purlin_count(predictions_total, 7, "only one label");
  purlin_metric_add(&predictions_total_metric, 1, NULL);
  assert_true(close_to(metrics_value("purlin_the_plugin_predictions_total"), 12.5));
  buffer text = rendered(false);
  assert_line(text.data, "# HELP purlin_the_plugin_predictions_total Predictions answered");
  assert_line(text.data, "# TYPE purlin_the_plugin_predictions_total counter");
  assert_line(text.data, "purlin_the_plugin_predictions_total{endpoint=\"churn\",outcome=\"ok\"} 3.5");
  assert_line(text.data, "purlin_the_plugin_predictions_total{endpoint=\"a\\\"b\\\\c\\nd\",outcome=\"failed\"} 1");
  assert_line(text.data, "purlin_the_plugin_predictions_total{endpoint=\"only one label\",outcome=\"\"} 7");
  assert_line(text.data, "purlin_the_plugin_predictions_total{endpoint=\"\",outcome=\"\"} 1");
  buffer_free(&text);
  text = rendered(true);
  assert_line(text.data, "# TYPE purlin_the_plugin_predictions counter");
  assert_line(text.data, "purlin_the_plugin_predictions_total{endpoint=\"churn\",outcome=\"ok\"} 3.5");
  buffer_free(&text);
}

static void gauge_values(void **unused) {
  (void)unused;
  must_register(NULL, &queue_length_metric);
  purlin_gauge(queue_length, 5, "q");
  purlin_gauge(queue_length, 3, "q");
  purlin_count(queue_length, -1, "q");
  purlin_gauge(queue_length, INFINITY, "up");
  purlin_gauge(queue_length, -INFINITY, "down");
  purlin_gauge(queue_length, NAN, "nan");
  purlin_observe(queue_length, 1, "q"); /* not a histogram */
  buffer text = rendered(false);
  assert_line(text.data, "# HELP purlin_queue_length Waiting \"jobs\",\\nwith a \\\\");
  assert_line(text.data, "purlin_queue_length{queue=\"q\"} 2");
  assert_line(text.data, "purlin_queue_length{queue=\"up\"} +Inf");
  assert_line(text.data, "purlin_queue_length{queue=\"down\"} -Inf");
  assert_line(text.data, "purlin_queue_length{queue=\"nan\"} NaN");
  buffer_free(&text);
  text = rendered(true);
  assert_line(text.data, "# HELP purlin_queue_length Waiting \\\"jobs\\\",\\nwith a \\\\");
  assert_string_equal(text.data + text.size - 6, "# EOF\n");
  buffer_free(&text);
}

static void histogram_buckets(void **unused) {
  (void)unused;
  must_register(NULL, &call_seconds_metric);
  purlin_observe(call_seconds, 0.00005, "GET"); /* bounds are inclusive */
  purlin_observe(call_seconds, 0.5, "GET");
  purlin_observe(call_seconds, 0.75, "GET");
  purlin_observe(call_seconds, 11, "GET");
  purlin_observe(call_seconds, NAN, "GET");
  purlin_count(call_seconds, 1, "GET"); /* no counter */
  buffer text = rendered(false);
  assert_line(text.data, "# TYPE purlin_call_seconds histogram");
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"5e-05\"} 1");
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"0.25\"} 1");
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"0.5\"} 2");
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"1\"} 3");
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"10\"} 3");
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"+Inf\"} 4");
  assert_line(text.data, "purlin_call_seconds_sum{method=\"GET\"} 12.25005");
  assert_line(text.data, "purlin_call_seconds_count{method=\"GET\"} 4");
  buffer_free(&text);
  text = rendered(true);
  assert_line(text.data, "purlin_call_seconds_bucket{method=\"GET\",le=\"10.0\"} 3");
  buffer_free(&text);
  assert_true(close_to(metrics_value("purlin_call_seconds"), 4));
}

static purlin_metric made(const char *name, const char *labels, purlin_metric_type type) {
  return (purlin_metric){.declared = PURLIN_HEAD_(purlin_metric, PURLIN_KIND_METRIC),
                         .name = name,
                         .help = "Help",
                         .labels = labels,
                         .type = type};
}

static void bad_names_are_refused(void **unused) {
  (void)unused;
  static const double falling[] = {1, 0.5}, endless[] = {1, INFINITY};
  const struct {
    const char *prefix;
    purlin_metric metric;
  } cases[] = {
      {NULL, made("things", NULL, PURLIN_METRIC_COUNTER)},
      {NULL, made("things_total", NULL, PURLIN_METRIC_GAUGE)},
      {NULL, made("Things_total", NULL, PURLIN_METRIC_COUNTER)},
      {NULL, made("9things_total", NULL, PURLIN_METRIC_COUNTER)},
      {NULL, made("", NULL, PURLIN_METRIC_GAUGE)},
      {NULL, made("things_count", NULL, PURLIN_METRIC_GAUGE)},
      {NULL, made("wait_ms", NULL, PURLIN_METRIC_GAUGE)},
      {NULL, made("wait_milliseconds", NULL, PURLIN_METRIC_HISTOGRAM)},
      {NULL, made("things_gauge", NULL, PURLIN_METRIC_GAUGE)},
      {NULL, made("things", "le", PURLIN_METRIC_HISTOGRAM)},
      {NULL, made("things", "__own", PURLIN_METRIC_GAUGE)},
      {NULL, made("things", "a, a", PURLIN_METRIC_GAUGE)},
      {NULL, made("things", "a,, b", PURLIN_METRIC_GAUGE)},
      {NULL, made("things", "a-b", PURLIN_METRIC_GAUGE)},
      {NULL, made("things", "a,b,c,d,e,f,g,h,i", PURLIN_METRIC_GAUGE)},
      {NULL, made("things", NULL, (purlin_metric_type)9)},
      {"A plugin", made("things", NULL, PURLIN_METRIC_GAUGE)},
      {"", made("things", NULL, PURLIN_METRIC_GAUGE)},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    buffer why = {0};
    assert_int_equal(metrics_register(cases[i].prefix, &cases[i].metric, &why), PURLIN_INVALID);
    assert_true(why.size > 10);
    buffer_free(&why);
  }
  purlin_metric buckets[] = {made("steps", NULL, PURLIN_METRIC_HISTOGRAM), made("steps", NULL, PURLIN_METRIC_HISTOGRAM),
                             made("steps", NULL, PURLIN_METRIC_HISTOGRAM), made("steps", NULL, PURLIN_METRIC_HISTOGRAM),
                             made("steps", NULL, PURLIN_METRIC_GAUGE)};
  buckets[0].buckets = falling, buckets[0].bucket_count = 2;
  buckets[1].buckets = endless, buckets[1].bucket_count = 2;
  buckets[2].bucket_count = 2;
  buckets[3].declared.size = 8;
  buckets[4].help = "";
  for (size_t i = 0; i < sizeof buckets / sizeof buckets[0]; i++) {
    buffer why = {0};
    assert_int_equal(metrics_register(NULL, &buckets[i], &why), PURLIN_INVALID);
    buffer_free(&why);
  }
}

static void the_same_name_again(void **unused) {
  (void)unused;
  void *state_a = NULL, *state_b = NULL;
  purlin_metric a = made("reloaded_total", "x", PURLIN_METRIC_COUNTER), b = a;
  a.state = &state_a;
  b.state = &state_b;
  must_register("p", &a);
  purlin_metric_add(&a, 1, (const char *const[]){"1"});
  must_register("p", &b);
  assert_ptr_equal(state_a, state_b);
  purlin_metric_add(&b, 1, (const char *const[]){"1"});
  assert_true(close_to(metrics_value("purlin_p_reloaded_total"), 2));
  buffer why = {0};
  b.labels = "y";
  assert_int_equal(metrics_register("p", &b, &why), PURLIN_CONFLICT);
  b.labels = "x";
  buffer_clear(&why);
  b.name = "reloaded_total", b.labels = "x, y";
  assert_int_equal(metrics_register("p", &b, &why), PURLIN_CONFLICT);
  assert_non_null(strstr(buffer_end(&why), "reloaded_total"));
  buffer_free(&why);
  assert_ptr_equal(state_a, state_b); /* the refused one kept what it had */
}

static double read_argument(void *argument) { return *(double *)argument; }

static void values_that_are_read(void **unused) {
  (void)unused;
  purlin_metric pool = made("pool_size", NULL, PURLIN_METRIC_GAUGE), labelled = made("pool_size", "x", PURLIN_METRIC_GAUGE);
  double size = 17;
  assert_int_equal(metrics_register_read(&labelled, read_argument, &size), PURLIN_INVALID);
  assert_int_equal(metrics_register_read(&pool, read_argument, &size), PURLIN_OK);
  assert_true(close_to(metrics_value("purlin_pool_size"), 17));
  size = 18;
  buffer text = rendered(false);
  assert_line(text.data, "purlin_pool_size 18");
  buffer_free(&text);
  assert_int_equal(metrics_register_read(&pool, NULL, NULL), PURLIN_OK);
  text = rendered(false);
  assert_null(strstr(text.data, "purlin_pool_size 18"));
  buffer_free(&text);
}

static void cardinality_is_bounded(void **unused) {
  (void)unused;
  must_register(NULL, &many_total_metric);
  char value[600];
  for (int i = 0; i < 5000; i++) {
    (void)snprintf(value, sizeof value, "v%d", i);
    purlin_count(many_total, 1, value);
  }
  (void)memset(value, 'x', sizeof value - 1);
  value[sizeof value - 1] = '\0';
  purlin_count(many_total, 1, value); /* too long for a label */
  purlin_count(many_total, 1, "\xff\xfe");
  assert_true(close_to(metrics_value("purlin_many_total"), 5002));
  buffer text = rendered(false);
  assert_line(text.data, "purlin_many_total{value=\"v1999\"} 1");
  assert_line(text.data, "purlin_many_total{value=\"other\"} 3002");
  assert_null(strstr(text.data, "{value=\"v2000\"}"));
  assert_null(strstr(text.data, "xxxx"));
  buffer_free(&text);
}

static void process_and_build(void **unused) {
  (void)unused;
  buffer text = rendered(false);
  static const char *const names[] = {"\nprocess_resident_memory_bytes ", "\nprocess_open_fds ",
                                      "\nprocess_cpu_seconds_total ", "\nprocess_start_time_seconds "};
  double values[4];
  for (size_t i = 0; i < 4; i++) {
    const char *at = strstr(text.data, names[i]);
    assert_non_null(at);
    values[i] = strtod(at + strlen(names[i]), NULL);
  }
  assert_true(values[0] > 100000 && values[0] < 1e12);
  assert_true(values[1] >= 3 && values[1] < 1000);
  assert_true(values[2] >= 0 && values[2] < 1e6);
  assert_true(fabs(values[3] - (double)time(NULL)) < 300);
  assert_non_null(strstr(text.data, "purlin_build_info{version=\"" PURLIN_VERSION "\"} 1\n"));
  buffer_free(&text);
  text = rendered(true);
  assert_line(text.data, "# TYPE process_cpu_seconds counter");
  buffer_free(&text);
}

enum { THREADS = 8, ROUNDS = 20000 };

static void *count_many(void *unused) {
  (void)unused;
  for (int i = 0; i < ROUNDS; i++) {
    char value[16];
    (void)snprintf(value, sizeof value, "v%d", i % 300);
    purlin_count(shared_total, 1, value, "x");
    purlin_observe(shared_seconds, 0.001 * (i % 100), PURLIN_NO_LABELS);
  }
  return NULL;
}

static void *render_many(void *unused) {
  (void)unused;
  for (int i = 0; i < 20; i++) {
    buffer text = rendered(i % 2 == 0);
    buffer_free(&text);
  }
  return NULL;
}

static void threads_lose_nothing(void **unused) {
  (void)unused;
  must_register(NULL, &shared_total_metric);
  must_register(NULL, &shared_seconds_metric);
  pthread_t threads[THREADS + 1];
  for (int i = 0; i <= THREADS; i++) {
    assert_int_equal(pthread_create(&threads[i], NULL, i < THREADS ? count_many : render_many, NULL), 0);
  }
  for (int i = 0; i <= THREADS; i++) assert_int_equal(pthread_join(threads[i], NULL), 0);
  assert_true(close_to(metrics_value("purlin_shared_total"), (double)THREADS * (double)ROUNDS));
  assert_true(close_to(metrics_value("purlin_shared_seconds"), (double)THREADS * (double)ROUNDS));
}

static void counting_is_cheap(void **unused) {
  (void)unused;
  must_register(NULL, &speed_total_metric);
  enum { COUNTS = 1000000 };
  struct timespec from, to;
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
  for (int i = 0; i < COUNTS; i++)
    purlin_count(speed_total, 1, "an-endpoint-of-usual-length", i % 2 == 0 ? "ok" : "failed");
  (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
  double each = ((double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec)) / (double)COUNTS;
  print_message("purlin_count with two labels: %.0f ns\n", each);
  assert_true(close_to(metrics_value("purlin_speed_total"), COUNTS));
  assert_true(each < 5000); /* the bar is 100 ns; sanitizers and busy machines are far from it */
}

/* METRICS_OUTPUT=FILE keeps the last text: promtool check metrics <FILE */
static int keep_the_text(void **unused) {
  (void)unused;
  const char *path = getenv("METRICS_OUTPUT");
  if (path == NULL) return 0;
  buffer text = rendered(false);
  FILE *file = fopen(path, "w");
  bool written = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;
  if (file != NULL && fclose(file) != 0) written = false;
  buffer_free(&text);
  return written ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(counts_before_registration_are_harmless),
      cmocka_unit_test(counter_and_prefix),
      cmocka_unit_test(own_families_come_from_the_section),
      cmocka_unit_test(gauge_values),
      cmocka_unit_test(histogram_buckets),
      cmocka_unit_test(bad_names_are_refused),
      cmocka_unit_test(the_same_name_again),
      cmocka_unit_test(values_that_are_read),
      cmocka_unit_test(cardinality_is_bounded),
      cmocka_unit_test(process_and_build),
      cmocka_unit_test(threads_lose_nothing),
      cmocka_unit_test(counting_is_cheap),
  };
  return cmocka_run_group_tests(tests, NULL, keep_the_text);
}
