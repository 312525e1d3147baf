/* Outbound HTTP: answers, requests, failures, time-outs, certificates, retries and circuit breakers. */
#include "client_harness.h"

#include <openssl/ssl.h>

/* ---- Answers -------------------------------------------------------------------------------------------------------------------------- */

static void plain_answers(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  unsigned before = server_accepted();
  CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
  CHECK(a.status == 200 && same(a.body, "hello") && a.body_size == 5 && same(a.media_type, "text/plain") &&
        a.attempts == 1);
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
  CHECK(purlin_http(ctx,
                    &(purlin_http_call){.method = "POST",
                                        .url = url_of(ctx, "/echo"),
                                        .body = "some=body",
                                        .body_size = 9,
                                        .headers = (const char *const[]){"X-One: 1", "X-Empty:", NULL}},
                    &a) == PURLIN_OK);
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
  CHECK(strspn(trace, "0123456789abcdef") == 16 && trace[16] == '-' &&
        memcmp(trace, other, 16) != 0); /* a span of its own */
  CHECK(purlin_http(
            ctx,
            &(purlin_http_call){.url = url_of(ctx, "/echo"), .headers = (const char *const[]){"traceparent: mine", NULL}},
            &a) == PURLIN_OK);
  CHECK(strstr(a.body, "traceparent: mine\r\n") != NULL && strstr(a.body, "traceparent: 00-") == NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "PUT", .url = url_of(ctx, "/echo")}, &a) == PURLIN_OK);
  CHECK(strncmp(a.body, "PUT ", 4) == 0 && strstr(a.body, "Content-Length: 0\r\n") != NULL);
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "DELETE", .url = url_of(ctx, "/echo")}, &a) == PURLIN_OK);
  CHECK(strncmp(a.body, "DELETE ", 7) == 0 && strstr(a.body, "Content-Length") == NULL);
  CHECK(purlin_http(ctx,
                    &(purlin_http_call){.method = "PATCH",
                                        .url = url_of(ctx, "/echo"),
                                        .body = "{}",
                                        .body_size = 2,
                                        .headers = (const char *const[]){"content-type: application/json", NULL}},
                    &a) == PURLIN_OK);
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
                           *const length[] = {"content-length: 4", NULL},
                           *const coded[] = {"Transfer-Encoding: chunked", NULL}, *const plain[] = {"no colon", NULL};
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
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/slow"), .timeout_ms = 150, .retries = 3}, &a) ==
        PURLIN_TIMEOUT);
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
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url_of(ctx, "/drop"), .retries = 2}, &a) ==
        PURLIN_BAD_UPSTREAM);
  CHECK(a.attempts == 1 && server_requests("/drop", 0) == before + 1);
  /* On a kept connection libcurl would send again by itself. */
  for (int body = 0; body < 2; body++) {
    CHECK(get(ctx, "/ok", &a) == PURLIN_OK);
    before = server_requests("/drop", 0);
    CHECK(purlin_http(
              ctx,
              &(purlin_http_call){
                  .method = "POST", .url = url_of(ctx, "/drop"), .retries = 2, .body = "abc", .body_size = body ? 3 : 0},
              &a) == PURLIN_BAD_UPSTREAM);
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

/* A TLS server whose certificate nobody has signed. */
static SSL_CTX *tls;
static int tls_listener;
static atomic_int tls_handshakes, tls_requests;

static void *tls_run(void *unused) {
  (void)unused;
  for (int peer; (peer = accept(tls_listener, NULL, NULL)) >= 0; (void)close(peer)) {
    SSL *ssl = SSL_new(tls);
    char request[100];
    atomic_fetch_add(&tls_handshakes, 1);
    bool open = ssl != NULL && SSL_set_fd(ssl, peer) == 1 && SSL_accept(ssl) == 1;
    if (open && SSL_read(ssl, request, sizeof request) > 0) atomic_fetch_add(&tls_requests, 1);
    SSL_free(ssl);
  }
  return NULL;
}

static bool tls_make(void) {
  EVP_PKEY *key = EVP_EC_gen("P-256");
  X509 *certificate = X509_new();
  tls = SSL_CTX_new(TLS_server_method());
  bool made = key != NULL && certificate != NULL && tls != NULL && X509_set_version(certificate, 2) == 1 &&
              ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
              X509_gmtime_adj(X509_getm_notBefore(certificate), 0) != NULL &&
              X509_gmtime_adj(X509_getm_notAfter(certificate), 3600) != NULL &&
              X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                                         (const unsigned char *)"localhost", -1, -1, 0) == 1 &&
              X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
              X509_set_pubkey(certificate, key) == 1 && X509_sign(certificate, key, EVP_sha256()) > 0 &&
              SSL_CTX_use_certificate(tls, certificate) == 1 && SSL_CTX_use_PrivateKey(tls, key) == 1;
  EVP_PKEY_free(key);
  X509_free(certificate);
  return made;
}

static void untrusted(purlin_ctx *ctx, void *port) {
  purlin_http_answer a;
  const char *url = purlin_format(ctx, "https://localhost:%u/secret", *(unsigned *)port);
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url, .retries = 3}, &a) == PURLIN_UNAVAILABLE);
  CHECK(a.attempts == 1 && a.status == 0); /* trying again is no use */
  CHECK(atomic_load(&tls_handshakes) >= 1 && atomic_load(&tls_requests) == 0);
}

static void certificates_are_verified(void **unused) {
  (void)unused;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  pthread_t thread;
  assert_true(tls_make());
  tls_listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  assert_int_equal(bind(tls_listener, (struct sockaddr *)&address, size), 0);
  assert_int_equal(listen(tls_listener, 10), 0);
  assert_int_equal(getsockname(tls_listener, (struct sockaddr *)&address, &size), 0);
  assert_int_equal(pthread_create(&thread, NULL, tls_run, NULL), 0);
  unsigned port = ntohs(address.sin_port);
  job one = {.run = untrusted, .argument = &port};
  run_jobs(1, &one, 1);
  assert_int_equal(shutdown(tls_listener, SHUT_RDWR), 0);
  assert_int_equal(pthread_join(thread, NULL), 0);
  assert_int_equal(close(tls_listener), 0);
  SSL_CTX_free(tls);
}

static void unknown_names(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  uint64_t start = now_ms();
  purlin_status status =
      purlin_http(ctx, &(purlin_http_call){.url = "http://no-such-host.invalid/", .timeout_ms = 300}, &a);
  CHECK(status == PURLIN_UNAVAILABLE || status == PURLIN_TIMEOUT); /* the latter where a resolver does not answer */
  CHECK(now_ms() - start < 3000);
  /* The next call has nothing to do with that one. */
  CHECK(purlin_http(ctx, &(purlin_http_call){.url = url_of(ctx, "/ok")}, &a) == PURLIN_OK);
}

static void unknown_names_do_not_block(void **unused) {
  (void)unused;
  run(unknown_names);
}

static void retries(purlin_ctx *ctx, void *unused) {
  (void)unused;
  purlin_http_answer a;
  uint64_t start = now_ms();
  CHECK(purlin_http(ctx, &(purlin_http_call){.method = "POST", .url = url_of(ctx, "/again/1/a"), .retries = 3}, &a) ==
        PURLIN_OK);
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
  assert_true(metrics_value("purlin_client_calls_total") > 40);
  assert_true(metrics_value("purlin_client_call_seconds") > 40);
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

int main(void) {
  const struct CMUnitTest tests[] = {
      TEST(answers_come_as_they_are),
      TEST(requests_go_as_asked),
      TEST(bad_requests_are_refused),
      TEST(time_outs_of_attempt_and_context),
      TEST(lost_connections_are_retried_where_it_is_safe),
      TEST(refused_connections_are_retried),
      TEST(certificates_are_verified),
      TEST(unknown_names_do_not_block),
      TEST(retries_are_counted_and_paused),
      TEST(breakers_open_try_and_close),
      TEST(retries_end_where_the_breaker_opens),
      TEST(starting),
      TEST(calls_were_counted),
  };
  return cmocka_run_group_tests(tests, before_all, after_all);
}
