/* Outbound HTTP: cancelling and stopping, files both ways, limits, many calls at once. */
#include "client_harness.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char *file_of(purlin_ctx *ctx, const char *name) { return purlin_format(ctx, "%s/%s", folder, name); }

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
  job jobs[] = {{.run = ends_cancelled, .argument = pausing},
                {.run = ends_cancelled, .argument = slow},
                {.run = stopper},
                {.run = ends_cancelled, .argument = slow},
                {.run = ends_cancelled, .argument = slow}};
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
    CHECK(purlin_http(
              ctx,
              &(purlin_http_call){
                  .method = methods[i], .url = url_of(ctx, "/echo"), .body_file = path, .max_answer = FILE_BYTES + 4096},
              &a) == PURLIN_OK);
    const char *body = strstr(a.body, "\r\n\r\n");
    CHECK(body != NULL && a.body_size - (size_t)(body + 4 - a.body) == FILE_BYTES);
    for (size_t at = 0; body != NULL && at < FILE_BYTES; at += 4999) CHECK(body[4 + at] == server_byte(at));
  }
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/echo"), .body_file = empty}, &a) ==
        PURLIN_OK);
  CHECK(strstr(a.body, "Content-Length: 0\r\n") != NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/ok"), .body_file = file_of(ctx, "none")},
                    &a) == PURLIN_INTERNAL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/ok"), .body_file = folder}, &a) ==
        PURLIN_INTERNAL);
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
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/half"), .answer_file = path, .retries = 1}, &a) ==
        PURLIN_BAD_UPSTREAM);
  CHECK(a.attempts == 2 && is_gone(path));
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/slow"), .answer_file = path, .timeout_ms = 50}, &a) ==
        PURLIN_TIMEOUT);
  CHECK(is_gone(path));
  for (size_t i = 0; i < 2; i++) {
    CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, urls[i]), .answer_file = path, .max_answer = 4999999},
                      &a) == PURLIN_TOO_LARGE);
    CHECK(is_gone(path));
  }
  /* What is there already stays as it is. */
  CHECK(make_file(path, 10));
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/size/100"), .answer_file = path}, &a) == PURLIN_CONFLICT);
  CHECK(file_is(path, 10) && a.attempts == 0 && unlink(path) == 0);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok"), .answer_file = "/nowhere/at/all"}, &a) ==
        PURLIN_INTERNAL);
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
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/size/5000000"), .answer_file = path}, &a) ==
        PURLIN_NO_SPACE);
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
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/flood/2000000"), .max_answer = 2000000}, &a) ==
        PURLIN_OK);
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
  purlin_status status = purlin_http(ctx,
                                     &(purlin_http_call){.method = posts ? "POST" : "GET",
                                                         .url = url_of(ctx, paths[number % 4]),
                                                         .body = posts ? text : NULL,
                                                         .body_size = posts ? strlen(text) : 0},
                                     &a);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(cancelling), TEST(stopping_ends_everything), TEST(files_both_ways), TEST(limits_hold), TEST(a_thousand_at_once),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
