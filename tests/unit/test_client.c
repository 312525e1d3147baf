/* Outbound HTTP against a scripted server: answers, time-outs, retries, breakers, cancellation, files, limits, many at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "client/client.h"
#include "loop/context.h"
#include "observe/log.h"
#include "observe/metrics.h"
#include "scripted_server.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A failed assertion of cmocka would jump off the fiber's stack; these are counted and looked at on the test's own. */
static atomic_int failures;
#define CHECK(condition)                                                                 \
  do {                                                                                   \
    if (!(condition)) {                                                                  \
      print_error("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
      atomic_fetch_add(&failures, 1);                                                    \
    }                                                                                    \
  } while (0)

/* ---- Running a test in a fiber ---------------------------------------------------------------------------------------------------- */

typedef struct job {
  loop_post_item item;
  context_run *run;
  void *argument;
} job;

static atomic_int running;
static client_options options;
static char folder[] = "/tmp/purlin-client-XXXXXX";
static bool leave_stop_to_test;

static void run_and_end(purlin_ctx *ctx, void *argument) {
  const job *j = argument;
  j->run(ctx, j->argument);
  if (atomic_fetch_sub(&running, 1) > 1 || leave_stop_to_test) return;
  client_stop();
  loops_stop();
}

static void begin_job(void *argument) {
  bool begun = context_start("tests", "test", run_and_end, argument) == PURLIN_OK;
  CHECK(begun);
  if (!begun) loops_stop();
}

/* Runs every job, job i on loop i % loops, and checks that the loops end without waiting for a forgotten handle. */
static void run_jobs(size_t loops, job *jobs, size_t count) {
  atomic_store(&failures, 0);
  atomic_store(&running, (int)count);
  assert_int_equal(loops_create(loops), PURLIN_OK);
  assert_int_equal(client_start(&options), PURLIN_OK);
  for (size_t i = 0; i < count; i++) {
    jobs[i].item.call = begin_job;
    jobs[i].item.argument = &jobs[i];
    loop_post(loop_at(i % loops), &jobs[i].item);
  }
  loops_run();
  loops_destroy();
  assert_int_equal(atomic_load(&failures), 0);
}

static void run(context_run *test) {
  job one = {.run = test};
  run_jobs(1, &one, 1);
}

static int before_each(void **unused) {
  (void)unused;
  client_options_default(&options);
  options.breaker_failures = 1000; /* only where breakers are what is tested */
  leave_stop_to_test = false;
  return 0;
}

/* ---- Helpers in fibers --------------------------------------------------------------------------------------------------------------- */

static const char *url_of(purlin_ctx *ctx, const char *path) {
  return purlin_format(ctx, "http://127.0.0.1:%u%s", server.port, path);
}

static purlin_status get(purlin_ctx *ctx, const char *path, purlin_http_answer *answer) {
  return purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, path)}, answer);
}

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000; }

static const char *file_of(purlin_ctx *ctx, const char *name) { return purlin_format(ctx, "%s/%s", folder, name); }

static bool same(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* ---- Answers -------------------------------------------------------------------------------------------------------------------------- */

static void plain_answers(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  unsigned before = server_accepted();
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
  CHECK(a.status == 200 && same(a.body, "hello") && a.body_size == 5 && same(a.media_type, "text/plain") && a.attempts == 1);
  CHECK(same(a.location, ""));
  CHECK(get(ctx, "/chunked", &a) == PURLIN_OK);
  CHECK(a.status == 200 && same(a.body, "hello world") && same(a.media_type, ""));
  CHECK(get(ctx, "/hints", &a) == PURLIN_OK);
  CHECK(a.status == 200 && same(a.body, "hello") && same(a.location, ""));
  CHECK(get(ctx, "/redirect", &a) == PURLIN_OK);
  CHECK(a.status == 302 && same(a.location, "/ok") && same(a.body, "") && a.body_size == 0);
  CHECK(get(ctx, "/status/500", &a) == PURLIN_OK);
  CHECK(a.status == 500 && a.attempts == 1);
  CHECK(get(ctx, "/size/300000", &a) == PURLIN_OK);
  CHECK(a.body_size == 300000 && strlen(a.body) == 300000 && a.body[299999] == server_byte(299999));
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "HEAD", .url = url_of(ctx, "/size/9000000")}, &a) == PURLIN_OK);
  CHECK(a.status == 200 && a.body_size == 0);
  CHECK(server_accepted() == before + 1); /* all on one connection */
}

static void answers_come_as_they_are(void **unused) {
  (void)unused;
  run(plain_answers);
}

static void echoes(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a, b;
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url_of(ctx, "/echo"), .body = "some=body", .body_size = 9,
                                             .headers = (const char *const[]){"X-One: 1", "X-Empty:", NULL}}, &a) == PURLIN_OK);
  CHECK(strncmp(a.body, "POST /echo HTTP/1.1\r\n", 21) == 0);
  CHECK(strstr(a.body, "\r\n\r\nsome=body") != NULL && strstr(a.body, "Content-Length: 9\r\n") != NULL);
  CHECK(strstr(a.body, "X-One: 1\r\n") != NULL && strstr(a.body, "X-Empty:\r\n") != NULL);
  CHECK(strstr(a.body, "User-Agent: purlin/" PURLIN_VERSION "\r\n") != NULL);
  CHECK(strstr(a.body, "Content-Type") == NULL && strstr(a.body, "Expect") == NULL);
  char expected[64];
  (void)snprintf(expected, sizeof expected, "traceparent: 00-%s-", purlin_trace_id(ctx));
  const char *trace = strstr(a.body, expected);
  CHECK(trace != NULL);
  CHECK(get(ctx, "/echo", &b) == PURLIN_OK);
  const char *other = strstr(b.body, expected);
  CHECK(other != NULL);
  if (trace == NULL || other == NULL) return;
  trace += strlen(expected), other += strlen(expected);
  CHECK(strspn(trace, "0123456789abcdef") == 16 && trace[16] == '-' && memcmp(trace, other, 16) != 0); /* a span of its own */
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/echo"),
                                             .headers = (const char *const[]){"traceparent: mine", NULL}}, &a) == PURLIN_OK);
  CHECK(strstr(a.body, "traceparent: mine\r\n") != NULL && strstr(a.body, "traceparent: 00-") == NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/echo")}, &a) == PURLIN_OK);
  CHECK(strncmp(a.body, "PUT ", 4) == 0 && strstr(a.body, "Content-Length: 0\r\n") != NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "DELETE", .url = url_of(ctx, "/echo")}, &a) == PURLIN_OK);
  CHECK(strncmp(a.body, "DELETE ", 7) == 0 && strstr(a.body, "Content-Length") == NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PATCH", .url = url_of(ctx, "/echo"), .body = "{}", .body_size = 2,
                                             .headers = (const char *const[]){"content-type: application/json", NULL}}, &a) == PURLIN_OK);
  CHECK(strncmp(a.body, "PATCH ", 6) == 0 && strstr(a.body, "content-type: application/json\r\n") != NULL);
}

static void requests_go_as_asked(void **unused) {
  (void)unused;
  run(echoes);
}

static void bad_requests(purlin_ctx *ctx, void *unused) {
  (void)unused;
  const char *good = url_of(ctx, "/ok");
  static const char *const injected[] = {"X: a\r\nEvil: b", NULL}, *const nameless[] = {": x", NULL},
                          *const length[] = {"content-length: 4", NULL}, *const coded[] = {"Transfer-Encoding: chunked", NULL},
                          *const plain[] = {"no colon", NULL};
  const purlin_http_call calls[] = {
      {.url = NULL},
      {.url = ""},
      {.url = "ftp://127.0.0.1/x"},
      {.url = "file:///etc/passwd"},
      {.url = "127.0.0.1/ok"},
      {.url = "http:///ok"},
      {.url = "http://127.0.0.1:99999/"},
      {.url = "http://127.0.0.1/a b\r\nX: y"},
      {.url = good, .method = "get"},
      {.url = good, .method = ""},
      {.url = good, .method = "GET /x HTTP/1.1\r\nA: b\r\n\r\nGET"},
      {.url = good, .method = "CONNECT"},
      {.url = good, .method = "HEAD", .body = "x", .body_size = 1},
      {.url = good, .method = "POST", .body_size = 1},
      {.url = good, .method = "POST", .body = "x", .body_size = 1, .body_file = "/etc/hostname"},
      {.url = good, .headers = injected},
      {.url = good, .headers = nameless},
      {.url = good, .headers = length},
      {.url = good, .headers = coded},
      {.url = good, .headers = plain},
  };
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    purlin_http_answer a;
    purlin_clear_failure(ctx);
    purlin_status status = purlin_http(ctx, &calls[i], &a);
    if (status != PURLIN_INVALID) print_error("case %zu: %d\n", i, (int)status);
    CHECK(status == PURLIN_INVALID && a.attempts == 0 && same(a.body, "") && purlin_failure(ctx)[0] != '\0');
  }
}

static void bad_requests_are_refused(void **unused) {
  (void)unused;
  run(bad_requests);
}

/* ---- Failures and time ----------------------------------------------------------------------------------------------------------------- */

static void timeouts(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  uint64_t start = now_ms();
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/slow"), .timeout_ms = 150, .retries = 3}, &a) == PURLIN_TIMEOUT);
  uint64_t took = now_ms() - start;
  CHECK(took >= 145 && took < 3000 && a.attempts == 1 && a.status == 0);
  CHECK(strstr(purlin_failure(ctx), "no answer in time") != NULL);
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK); /* and the next one works */
  context_set_deadline(ctx, 150);
  start = now_ms();
  CHECK(get(ctx, "/slow", &a) == PURLIN_TIMEOUT);
  took = now_ms() - start;
  CHECK(took >= 145 && took < 3000);
  CHECK(get(ctx, "/ok", &a) == PURLIN_TIMEOUT && a.attempts == 0); /* the deadline has passed */
}

static void time_outs_of_attempt_and_context(void **unused) {
  (void)unused;
  run(timeouts);
}

static void lost_connections(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/drop"), .retries = 2}, &a) == PURLIN_BAD_UPSTREAM);
  CHECK(a.attempts == 3);
  unsigned before = server_requests("/drop", 0);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url_of(ctx, "/drop"), .retries = 2}, &a) == PURLIN_BAD_UPSTREAM);
  CHECK(a.attempts == 1 && server_requests("/drop", 0) == before + 1);
  /* On a kept connection libcurl would send again by itself. */
  for (int body = 0; body < 2; body++) {
    CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
    before = server_requests("/drop", 0);
    CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url_of(ctx, "/drop"), .retries = 2, .body = "abc",
                                               .body_size = body ? 3 : 0}, &a) == PURLIN_BAD_UPSTREAM);
    CHECK(a.attempts == 1 && server_requests("/drop", 0) == before + 1);
  }
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/half"), .retries = 1}, &a) == PURLIN_BAD_UPSTREAM);
  CHECK(a.attempts == 2 && a.status == 0 && same(a.body, ""));
  CHECK(get(ctx, "/nonsense", &a) == PURLIN_BAD_UPSTREAM);
}

static void lost_connections_are_retried_where_it_is_safe(void **unused) {
  (void)unused;
  run(lost_connections);
}

static void refused_connections(purlin_ctx *ctx, void *unused) {
  (void)unused;
  /* A port that was free a moment ago. */
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(descriptor, (struct sockaddr *)&address, size) == 0);
  CHECK(getsockname(descriptor, (struct sockaddr *)&address, &size) == 0);
  (void)close(descriptor);
  purlin_http_answer a;
  const char *url = purlin_format(ctx, "http://127.0.0.1:%u/", (unsigned)ntohs(address.sin_port));
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url, .retries = 2}, &a) == PURLIN_UNAVAILABLE);
  CHECK(a.attempts == 3 && a.status == 0);
}

static void refused_connections_are_retried(void **unused) {
  (void)unused;
  run(refused_connections);
}

static void unknown_names(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  uint64_t start = now_ms();
  purlin_status status =
      purlin_http(ctx, &(purlin_http_call){.url = "http://no-such-host.invalid/", .timeout_ms = 300}, &a);
  CHECK(status == PURLIN_UNAVAILABLE || status == PURLIN_TIMEOUT); /* the latter where a resolver does not answer */
  CHECK(now_ms() - start < 3000);
}

static void unknown_names_do_not_block(void **unused) {
  (void)unused;
  run(unknown_names);
}

static void retries(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  uint64_t start = now_ms();
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url_of(ctx, "/again/1/a"), .retries = 3}, &a) == PURLIN_OK);
  uint64_t took = now_ms() - start;
  CHECK(a.status == 200 && a.attempts == 2 && took >= 990 && took < 5000); /* Retry-After: 1 */
  start = now_ms();
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/fails/2/a"), .retries = 2}, &a) == PURLIN_OK);
  CHECK(a.status == 200 && a.attempts == 3 && now_ms() - start <= 100 + 200 + 500);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/fails/2/b"), .retries = 1}, &a) == PURLIN_OK);
  CHECK(a.status == 503 && a.attempts == 2 && same(a.body, "maybe"));
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/status/500"), .retries = 3}, &a) == PURLIN_OK);
  CHECK(a.status == 500 && a.attempts == 1);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/status/429"), .retries = 1}, &a) == PURLIN_OK);
  CHECK(a.status == 429 && a.attempts == 2);
  start = now_ms();
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/retry/3600"), .retries = 1}, &a) == PURLIN_OK);
  CHECK(a.status == 503 && a.attempts == 1); /* an hour is for the caller to wait */
  context_set_deadline(ctx, 1000);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/retry/5"), .retries = 1}, &a) == PURLIN_OK);
  CHECK(a.status == 503 && a.attempts == 1 && now_ms() - start < 900); /* beyond the deadline: not waited for */
}

static void retries_are_counted_and_paused(void **unused) {
  (void)unused;
  run(retries);
}

/* ---- Breakers ---------------------------------------------------------------------------------------------------------------------------- */

static void wait_ms(purlin_ctx *ctx, uint32_t milliseconds) { CHECK(purlin_sleep(ctx, milliseconds) == PURLIN_OK); }

static void canceller(loop_timer *timer);

typedef struct cancel_later {
  loop_timer timer;
  purlin_ctx *ctx;
} cancel_later;

static void canceller(loop_timer *timer) { context_cancel(((cancel_later *)(void *)timer)->ctx); }

static void cancelled_trial(purlin_ctx *ctx, void *argument) {
  (void)argument;
  purlin_http_answer a;
  cancel_later later = {.ctx = ctx};
  loop_timer_start(ctx->loop, &later.timer, 30, canceller);
  CHECK(get(ctx, "/slow", &a) == PURLIN_CANCELLED && a.attempts == 1);
}

static atomic_int trial_gets;

static void trial_get(purlin_ctx *ctx, void *argument) {
  (void)argument;
  purlin_http_answer a;
  if (get(ctx, "/delay/50", &a) == PURLIN_OK) atomic_fetch_add(&trial_gets, 1);
}

static void breakers(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  const char *origin = url_of(ctx, "/");
  for (int i = 0; i < 2; i++) CHECK(get(ctx, "/status/503", &a) == PURLIN_OK);
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK); /* not in a row */
  for (int i = 0; i < 2; i++) CHECK(get(ctx, "/status/503", &a) == PURLIN_OK);
  CHECK(same(client_breaker_state(origin), "closed"));
  CHECK(get(ctx, "/drop", &a) == PURLIN_BAD_UPSTREAM);
  CHECK(same(client_breaker_state(origin), "open"));
  CHECK(metrics_value("purlin_client_breakers_open") > 0.5);
  unsigned before = server_requests("/ok", 0);
  CHECK(get(ctx, "/ok", &a) == PURLIN_UNAVAILABLE && a.attempts == 0);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok"), .retries = 5}, &a) == PURLIN_UNAVAILABLE);
  CHECK(server_requests("/ok", 0) == before);
  CHECK(strstr(purlin_failure(ctx), "left alone") != NULL);
  /* A failed trial opens it again. */
  wait_ms(ctx, 320);
  CHECK(same(client_breaker_state(origin), "half-open"));
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/status/503"), .retries = 5}, &a) == PURLIN_OK);
  CHECK(a.status == 503 && a.attempts == 1);
  CHECK(same(client_breaker_state(origin), "open"));
  /* A cancelled one leaves the next as the trial. */
  wait_ms(ctx, 320);
  CHECK(context_start("tests", "trial", cancelled_trial, NULL) == PURLIN_OK);
  CHECK(get(ctx, "/ok", &a) == PURLIN_UNAVAILABLE); /* one trial at a time */
  wait_ms(ctx, 100);
  CHECK(same(client_breaker_state(origin), "half-open"));
  for (int i = 0; i < 5; i++) CHECK(context_start("tests", "trial", trial_get, NULL) == PURLIN_OK);
  wait_ms(ctx, 300);
  CHECK(atomic_load(&trial_gets) == 1);
  CHECK(same(client_breaker_state(origin), "closed"));
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
  CHECK(metrics_value("purlin_client_breakers_open") < 0.5);
  CHECK(same(client_breaker_state("not a url"), "closed"));
}

static void breakers_open_try_and_close(void **unused) {
  (void)unused;
  options.breaker_failures = 3;
  options.breaker_open_ms = 300;
  run(breakers);
}

static void retry_until_open(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/status/502"), .retries = 10}, &a) == PURLIN_OK);
  CHECK(a.status == 502 && a.attempts == 3); /* the third failure opened it; the last answer is what is told */
}

static void retries_end_where_the_breaker_opens(void **unused) {
  (void)unused;
  options.breaker_failures = 3;
  run(retry_until_open);
}

/* ---- Cancelling and stopping ---------------------------------------------------------------------------------------------------------------- */

static void cancel_running(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  cancel_later later = {.ctx = ctx};
  uint64_t start = now_ms();
  loop_timer_start(ctx->loop, &later.timer, 50, canceller);
  CHECK(get(ctx, "/slow", &a) == PURLIN_CANCELLED);
  CHECK(now_ms() - start < 3000);
  CHECK(get(ctx, "/ok", &a) == PURLIN_CANCELLED && a.attempts == 0);
}

static void cancel_pause(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  cancel_later later = {.ctx = ctx};
  uint64_t start = now_ms();
  loop_timer_start(ctx->loop, &later.timer, 200, canceller);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/retry/20"), .retries = 1}, &a) == PURLIN_CANCELLED);
  CHECK(a.attempts == 1 && now_ms() - start < 5000);
}

static void occupy(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  CHECK(get(ctx, "/delay/300", &a) == PURLIN_OK);
}

static void cancel_queued(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  unsigned before = server_requests("/ok", 0);
  wait_ms(ctx, 50); /* the other one has the only connection now */
  cancel_later later = {.ctx = ctx};
  loop_timer_start(ctx->loop, &later.timer, 50, canceller);
  CHECK(get(ctx, "/ok", &a) == PURLIN_CANCELLED);
  CHECK(server_requests("/ok", 0) == before);
}

static void queued_times_out(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  wait_ms(ctx, 50);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok"), .timeout_ms = 50}, &a) == PURLIN_TIMEOUT);
}

static void queued_has_its_turn(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  wait_ms(ctx, 60);
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
}

static void cancelling(void **unused) {
  (void)unused;
  run(cancel_running);
  run(cancel_pause);
  options.max_per_origin = 1;
  job jobs[] = {{.run = occupy}, {.run = cancel_queued}, {.run = queued_times_out}, {.run = queued_has_its_turn}};
  run_jobs(1, jobs, 4);
}

static void ends_cancelled(purlin_ctx *ctx, void *argument) {
  purlin_http_answer a;
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, argument), .retries = 3}, &a) == PURLIN_CANCELLED);
  CHECK(get(ctx, "/ok", &a) == PURLIN_UNAVAILABLE); /* no longer running */
}

static void stopper(purlin_ctx *ctx, void *unused) {
  (void)unused;
  wait_ms(ctx, 200);
  client_stop();
  wait_ms(ctx, 100);
  CHECK(atomic_load(&running) == 1);
  loops_stop();
}

static void stopping_ends_everything(void **unused) {
  (void)unused;
  options.max_per_origin = 1;
  leave_stop_to_test = true;
  static char slow[] = "/slow", pausing[] = "/retry/100";
  /* Loop 0: one in its pause, one that runs; loop 1: one that runs, one that waits for its turn, and the stopper on loop 0. */
  job jobs[] = {{.run = ends_cancelled, .argument = pausing}, {.run = ends_cancelled, .argument = slow}, {.run = stopper},
                {.run = ends_cancelled, .argument = slow}, {.run = ends_cancelled, .argument = slow}};
  uint64_t start = now_ms();
  run_jobs(2, jobs, 5);
  assert_true(now_ms() - start < 2500); /* no handle was left that the loops waited for */
}

/* ---- Files and limits ------------------------------------------------------------------------------------------------------------------------- */

enum { FILE_BYTES = 5000000 };

static bool make_file(const char *path, size_t size) {
  FILE *file = fopen(path, "w");
  if (file == NULL) return false;
  for (size_t i = 0; i < size; i++) (void)fputc(server_byte(i), file);
  return fclose(file) == 0;
}

/* Whether the file has exactly the server's bytes. */
static bool file_is(const char *path, size_t size) {
  FILE *file = fopen(path, "r");
  if (file == NULL) return false;
  size_t i = 0;
  int c;
  while ((c = fgetc(file)) != EOF && i < size && c == server_byte(i)) i++;
  bool whole = c == EOF && i == size;
  return fclose(file) == 0 && whole;
}

static bool is_gone(const char *path) { return access(path, F_OK) != 0 && errno == ENOENT; }

static void uploads(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  const char *path = file_of(ctx, "up"), *empty = file_of(ctx, "empty");
  CHECK(make_file(path, FILE_BYTES) && make_file(empty, 0));
  static const char *const methods[] = {"POST", "PUT"};
  for (size_t i = 0; i < 2; i++) {
    CHECK(purlin_http(ctx, &(purlin_http_call){.method = methods[i], .url = url_of(ctx, "/echo"), .body_file = path,
                                               .max_answer = FILE_BYTES + 4096}, &a) == PURLIN_OK);
    const char *body = strstr(a.body, "\r\n\r\n");
    CHECK(body != NULL && a.body_size - (size_t)(body + 4 - a.body) == FILE_BYTES);
    for (size_t at = 0; body != NULL && at < FILE_BYTES; at += 4999) CHECK(body[4 + at] == server_byte(at));
  }
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/echo"), .body_file = empty}, &a) == PURLIN_OK);
  CHECK(strstr(a.body, "Content-Length: 0\r\n") != NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/ok"), .body_file = file_of(ctx, "none")}, &a) == PURLIN_INTERNAL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/ok"), .body_file = folder}, &a) == PURLIN_INTERNAL);
  CHECK(unlink(path) == 0 && unlink(empty) == 0);
}

static void downloads(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  struct stat about;
  const char *path = file_of(ctx, "down");
  static const char *const urls[] = {"/size/5000000", "/flood/5000000"};
  for (size_t i = 0; i < 2; i++) {
    CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, urls[i]), .answer_file = path}, &a) == PURLIN_OK);
    CHECK(a.status == 200 && same(a.body, "") && a.body_size == FILE_BYTES && file_is(path, FILE_BYTES));
    CHECK(stat(path, &about) == 0 && (about.st_mode & 0777) == 0600);
    CHECK(unlink(path) == 0);
  }
  /* An answer that is not 2xx goes to memory, and leaves no file. */
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/status/404"), .answer_file = path}, &a) == PURLIN_OK);
  CHECK(a.status == 404 && same(a.body, "as asked") && is_gone(path));
  /* A first attempt that broke off leaves nothing in the file of the second. */
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/half"), .answer_file = path, .retries = 1}, &a) == PURLIN_BAD_UPSTREAM);
  CHECK(a.attempts == 2 && is_gone(path));
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/slow"), .answer_file = path, .timeout_ms = 50}, &a) == PURLIN_TIMEOUT);
  CHECK(is_gone(path));
  for (size_t i = 0; i < 2; i++) {
    CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, urls[i]), .answer_file = path, .max_answer = 4999999}, &a) == PURLIN_TOO_LARGE);
    CHECK(is_gone(path));
  }
  /* What is there already stays as it is. */
  CHECK(make_file(path, 10));
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/size/100"), .answer_file = path}, &a) == PURLIN_CONFLICT);
  CHECK(file_is(path, 10) && a.attempts == 0 && unlink(path) == 0);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok"), .answer_file = "/nowhere/at/all"}, &a) == PURLIN_INTERNAL);
}

static void full_disk(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  const char *path = file_of(ctx, "full");
  struct rlimit before, small;
  CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
  small = before;
  small.rlim_cur = 1000000; /* writes beyond fail as on a full disk */
  CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/size/5000000"), .answer_file = path}, &a) == PURLIN_NO_SPACE);
  CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
  CHECK(is_gone(path));
}

static void files_both_ways(void **unused) {
  (void)unused;
  run(uploads);
  run(downloads);
  (void)signal(SIGXFSZ, SIG_IGN);
  run(full_disk);
}

static void limits(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  CHECK(get(ctx, "/size/1048576", &a) == PURLIN_OK && a.body_size == 1048576);
  CHECK(get(ctx, "/size/1048577", &a) == PURLIN_TOO_LARGE && same(a.body, "") && a.body_size == 0);
  CHECK(get(ctx, "/flood/2000000", &a) == PURLIN_TOO_LARGE);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/flood/2000000"), .max_answer = 2000000}, &a) == PURLIN_OK);
  CHECK(a.body_size == 2000000);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok"), .max_answer = 4}, &a) == PURLIN_TOO_LARGE);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok"), .max_answer = 5}, &a) == PURLIN_OK);
  /* The context's own cap is smaller than the answer. */
  ctx->memory.limit_bytes = 200000;
  CHECK(get(ctx, "/size/500000", &a) == PURLIN_TOO_LARGE && same(a.body, ""));
}

static void waits_a_while(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  CHECK(get(ctx, "/delay/200", &a) == PURLIN_OK);
}

static void one_too_many(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  wait_ms(ctx, 50);
  CHECK(get(ctx, "/ok", &a) == PURLIN_UNAVAILABLE && a.attempts == 0);
  wait_ms(ctx, 400);
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
}

static void limits_hold(void **unused) {
  (void)unused;
  run(limits);
  options.max_in_flight = 2;
  job jobs[] = {{.run = waits_a_while}, {.run = waits_a_while}, {.run = one_too_many}};
  run_jobs(1, jobs, 3);
}

/* ---- Many ---------------------------------------------------------------------------------------------------------------------------------------- */

enum { MANY = 1000 };
static atomic_int answered;

static void one_of_many(purlin_ctx *ctx, void *argument) {
  purlin_http_answer a;
  size_t number = (size_t)(uintptr_t)argument;
  static const char *const paths[] = {"/delay/5", "/size/20000", "/chunked", "/echo"};
  bool posts = number % 4 == 3;
  const char *text = purlin_format(ctx, "number %zu", number);
  purlin_status status = purlin_http(
      ctx, &(purlin_http_call){.method = posts ? "POST" : "GET", .url = url_of(ctx, paths[number % 4]),
                               .body = posts ? text : NULL, .body_size = posts ? strlen(text) : 0}, &a);
  CHECK(status == PURLIN_OK && a.status == 200);
  if (posts) CHECK(strstr(a.body, text) != NULL);
  if (number % 4 == 1) CHECK(a.body_size == 20000 && a.body[19999] == server_byte(19999));
  atomic_fetch_add(&answered, 1);
}

static void a_thousand_at_once(void **unused) {
  (void)unused;
  static job jobs[MANY];
  for (size_t i = 0; i < MANY; i++) jobs[i] = (job){.run = one_of_many, .argument = (void *)(uintptr_t)i};
  (void)server_most_at_once();
  uint64_t start = now_ms();
  run_jobs(2, jobs, MANY);
  print_message("%d calls on two loops: %u ms\n", (int)MANY, (unsigned)(now_ms() - start));
  assert_int_equal(atomic_load(&answered), MANY);
  assert_true(server_most_at_once() <= 2 * options.max_per_origin);
}

/* ---- The rest -------------------------------------------------------------------------------------------------------------------------------------- */

static void not_started(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  client_stop();
  CHECK(get(ctx, "/ok", &a) == PURLIN_UNAVAILABLE);
  loops_stop();
}

static void starting(void **unused) {
  (void)unused;
  leave_stop_to_test = true;
  run(not_started);
  client_options bad = options;
  bad.max_per_origin = 0;
  assert_int_equal(client_start(&bad), PURLIN_INVALID);
  assert_int_equal(loops_create(1), PURLIN_OK);
  assert_int_equal(client_start(&options), PURLIN_OK);
  assert_int_equal(client_start(&options), PURLIN_CONFLICT);
  client_stop();
  client_stop();
  loops_stop();
  loops_run();
  loops_destroy();
}

static void calls_were_counted(void **unused) {
  (void)unused;
  assert_true(metrics_value("purlin_client_calls_total") > MANY);
  assert_true(metrics_value("purlin_client_call_seconds") > MANY);
  assert_true(metrics_value("purlin_client_retries_total") >= 5);
  assert_true(metrics_value("purlin_client_breaker_changes_total") >= 2);
  assert_true(metrics_value("purlin_client_calls_in_flight") < 0.5);
  buffer text = {0};
  metrics_render(&text);
  assert_non_null(strstr(buffer_end(&text), "purlin_client_calls_total{method=\"GET\",outcome=\"2xx\"} "));
  assert_non_null(strstr(text.data, "purlin_client_calls_total{method=\"GET\",outcome=\"timeout\"} "));
  assert_non_null(strstr(text.data, "purlin_client_calls_total{method=\"POST\",outcome=\"lost\"} "));
  buffer_free(&text);
}

static int before_all(void **unused) {
  (void)unused;
  log_set_level(PURLIN_ERROR);
  bool ready = metrics_register_own() == PURLIN_OK && mkdtemp(folder) != NULL && server_start();
  return ready ? 0 : -1;
}

static int after_all(void **unused) {
  (void)unused;
  server_end();
  return rmdir(folder); /* fails when a test has left a file */
}

#define TEST(test) cmocka_unit_test_setup(test, before_each)

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(answers_come_as_they_are),
      TEST(requests_go_as_asked),
      TEST(bad_requests_are_refused),
      TEST(time_outs_of_attempt_and_context),
      TEST(lost_connections_are_retried_where_it_is_safe),
      TEST(refused_connections_are_retried),
      TEST(unknown_names_do_not_block),
      TEST(retries_are_counted_and_paused),
      TEST(breakers_open_try_and_close),
      TEST(retries_end_where_the_breaker_opens),
      TEST(cancelling),
      TEST(stopping_ends_everything),
      TEST(files_both_ways),
      TEST(limits_hold),
      TEST(a_thousand_at_once),
      TEST(starting),
      TEST(calls_were_counted),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
