/* Bodies both ways: whole and streamed, held back when nobody takes them, limits, 100-continue. */
#include "http_harness.h"

#define H "Host: a\r\n"
#define MIB ((size_t)1024 * 1024)

static atomic_size_t written; /* by send_much, to see how far it got */
static atomic_int held;       /* handlers that wait before they read */
static atomic_bool go;

/* ---- Handlers ------------------------------------------------------------------------------------------------------------------ */

static purlin_status echo(purlin_ctx *ctx, purlin_request *request) {
  const char *body;
  size_t size;
  purlin_status status = purlin_read_all(ctx, request, MIB, &body, &size);
  if (status != PURLIN_OK) return status;
  return body[size] != '\0' ? PURLIN_INTERNAL
                            : purlin_respond_bytes(ctx, request, 200, "application/octet-stream", body, size);
}

static purlin_status echo_a_hundred(purlin_ctx *ctx, purlin_request *request) {
  const char *body;
  size_t size;
  purlin_status status = purlin_read_all(ctx, request, 100, &body, &size);
  return status != PURLIN_OK ? status : purlin_respond_bytes(ctx, request, 200, NULL, body, size);
}

static purlin_status pass_through(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status =
      purlin_respond_begin(ctx, request, 200, "application/octet-stream", purlin_content_length(request));
  char block[5000];
  for (size_t got = 1; status == PURLIN_OK && got > 0;) {
    status = purlin_read(ctx, request, block, sizeof block, &got);
    if (status == PURLIN_OK) status = purlin_write(ctx, request, block, got);
  }
  return status;
}

static purlin_status count(purlin_ctx *ctx, purlin_request *request) {
  char block[4096], text[32];
  size_t total = 0;
  for (size_t got = 1; got > 0; total += got) {
    purlin_status status = purlin_read(ctx, request, block, sizeof block, &got);
    if (status != PURLIN_OK) return status;
    for (size_t i = 0; i < got; i++)
      if (block[i] != (char)((total + i) % 251)) return purlin_fail(ctx, PURLIN_CONFLICT, "byte %zu is wrong", total + i);
  }
  int size = snprintf(text, sizeof text, "%zu", total);
  return purlin_respond_bytes(ctx, request, 200, "text/plain", text, (size_t)size);
}

static purlin_status wait_then_count(purlin_ctx *ctx, purlin_request *request) {
  atomic_fetch_add(&held, 1);
  while (!atomic_load(&go)) {
    purlin_status status = purlin_sleep(ctx, 5);
    if (status != PURLIN_OK) return status;
  }
  return count(ctx, request);
}

static purlin_status ignore(purlin_ctx *ctx, purlin_request *request) {
  return purlin_respond_bytes(ctx, request, 200, "text/plain", "ignored", 7);
}

static purlin_status refuse(purlin_ctx *ctx, purlin_request *request) {
  (void)request;
  return purlin_fail(ctx, PURLIN_UNSUPPORTED, "not this");
}

static purlin_status send_much(purlin_ctx *ctx, purlin_request *request) {
  size_t total = strtoul(purlin_parameter(request, "n"), NULL, 10);
  bool told = purlin_query_value(request, "told") != NULL;
  purlin_status status = purlin_respond_begin(ctx, request, 200, "application/octet-stream", told ? (int64_t)total : -1);
  static char block[300000];
  for (size_t i = 0; i < sizeof block; i++) block[i] = (char)(i % 251);
  atomic_store(&written, 0);
  for (size_t at = 0; at < total && status == PURLIN_OK;) {
    size_t offset = at % 251, size = total - at < 200000 ? total - at : 200000;
    status = purlin_write(ctx, request, block + offset, size);
    at += size;
    atomic_store(&written, at);
  }
  return status;
}

/* Whoever holds something of the database may not wait for a client. */
static purlin_status hold(purlin_ctx *ctx, purlin_request *request) {
  bool *const flags[] = {&ctx->transaction_open, &ctx->rows_open};
  char byte;
  const char *body;
  size_t got;
  bool refused = true;
  for (size_t i = 0; i < 2; i++) {
    *flags[i] = true;
    refused = refused && purlin_read(ctx, request, &byte, 1, &got) == PURLIN_INTERNAL;
    refused = refused && purlin_read_all(ctx, request, 10, &body, &got) == PURLIN_INTERNAL;
    *flags[i] = false;
  }
  purlin_status status = purlin_read_all(ctx, request, 10, &body, &got);
  if (status == PURLIN_OK) status = purlin_respond_begin(ctx, request, refused ? 200 : 409, "text/plain", -1);
  for (size_t i = 0; i < 2 && status == PURLIN_OK; i++) {
    *flags[i] = true;
    if (purlin_write(ctx, request, "not this", 8) == PURLIN_OK) status = PURLIN_CONFLICT;
    *flags[i] = false;
  }
  return status == PURLIN_OK ? purlin_write(ctx, request, body, got) : status;
}

static purlin_status send_too_little(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", 100);
  return status != PURLIN_OK ? status : purlin_write(ctx, request, "x", 1);
}

static purlin_status send_too_much(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", 3);
  if (status == PURLIN_OK && purlin_write(ctx, request, "12345", 5) != PURLIN_INTERNAL) return PURLIN_INTERNAL;
  return status != PURLIN_OK ? status : purlin_write(ctx, request, "123", 3);
}

static purlin_status break_off(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", -1);
  if (status == PURLIN_OK) status = purlin_write(ctx, request, "begun", 5);
  return status != PURLIN_OK ? status : purlin_fail(ctx, PURLIN_INTERNAL, "in the middle");
}

static const test_route routes[] = {
    {"POST /echo", echo, 0, 0},
    {"POST /hundred", echo_a_hundred, 0, 0},
    {"POST /pass", pass_through, UINT64_MAX, 0},
    {"POST /count", count, UINT64_MAX, 0},
    {"POST /wait", wait_then_count, UINT64_MAX, 0},
    {"POST /ignore", ignore, 0, 0},
    {"POST /refuse", refuse, 0, 0},
    {"POST /small", echo, 10, 0},
    {"POST /held", hold, 0, 0},
    {"GET /much/{n}", send_much, 0, UINT32_MAX},
    {"GET /little", send_too_little, 0, 0},
    {"GET /over", send_too_much, 0, 0},
    {"GET /broken", break_off, 0, 0},
};

static int begin_all(void **state) {
  (void)state;
  http_options options = test_options();
  options.max_body = MIB;
  options.max_url = 300;
  options.max_header_bytes = 2000;
  options.max_headers = 10;
  server_begin(&options, 2, routes, sizeof routes / sizeof routes[0]);
  return 0;
}

static int end_all(void **state) {
  (void)state;
  server_end();
  return 0;
}

static char *pattern(size_t size) {
  char *data = malloc(size + 1);
  if (data == NULL) abort();
  for (size_t i = 0; i < size; i++) data[i] = (char)(i % 251);
  return data;
}

static void send_head(int fd, const char *path, const char *framing) {
  char text[256];
  snprintf(text, sizeof text, "POST %s HTTP/1.1\r\n" H "%s\r\n\r\n", path, framing);
  send_text(fd, text);
}

static void send_length(int fd, const char *path, const char *data, size_t size) {
  char framing[64];
  snprintf(framing, sizeof framing, "Content-Length: %zu", size);
  send_head(fd, path, framing);
  send_bytes(fd, data, size);
}

static void send_chunked(int fd, const char *path, const char *data, size_t size, size_t piece) {
  send_head(fd, path, "Transfer-Encoding: chunked");
  buffer all = {0};
  for (size_t at = 0; at < size; at += piece) {
    size_t part = size - at < piece ? size - at : piece;
    buffer_format(&all, "%zX;x=\"y\"\r\n", part);
    buffer_add(&all, data + at, part);
    buffer_text(&all, "\r\n");
  }
  buffer_text(&all, "0\r\nX-Sum: 1\r\n\r\n");
  send_bytes(fd, all.data, all.size);
  buffer_free(&all);
}

static void expect(client *c, unsigned status, const char *body) {
  answer a = next_answer(c, false);
  if (a.status != status) fail_msg("%u, not %u: %s", a.status, status, a.body != NULL ? a.body : "nothing");
  assert_true(a.whole);
  if (body != NULL) assert_string_equal(a.body, body);
  answer_free(&a);
}

/* ---- In ------------------------------------------------------------------------------------------------------------------------------ */

static void whole_bodies(void **state) {
  (void)state;
  client c = {.fd = dial()};
  static const size_t sizes[] = {0, 1, 15, 20000, 300000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    char *data = pattern(sizes[i]);
    for (int kind = 0; kind < 3; kind++) {
      if (kind == 0) send_length(c.fd, "/echo", data, sizes[i]);
      else send_chunked(c.fd, "/echo", data, sizes[i], kind == 1 ? 1000 : 70000);
      answer a = next_answer(&c, false);
      assert_int_equal(a.status, 200);
      assert_int_equal(a.size, sizes[i]);
      assert_memory_equal(a.body, data, a.size);
      answer_free(&a);
    }
    free(data);
  }
  hang_up(&c);
}

static void pipelined_bodies(void **state) {
  (void)state;
  client c = {.fd = dial()};
  buffer all = {0};
  for (int i = 0; i < 100; i++) {
    buffer_format(&all, "POST /echo HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\n%02d", i);
    buffer_format(&all, "POST /ignore HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  }
  send_bytes(c.fd, all.data, all.size);
  for (int i = 0; i < 100; i++) {
    char expected[16];
    snprintf(expected, sizeof expected, "%02d", i);
    expect(&c, 200, expected);
    expect(&c, 200, "ignored");
  }
  buffer_free(&all);
  hang_up(&c);
}

static void streams_in(void **state) {
  (void)state;
  size_t size = 20 * MIB;
  char *data = pattern(size), expected[32];
  snprintf(expected, sizeof expected, "%zu", size);
  client c = {.fd = dial()};
  send_length(c.fd, "/count", data, size);
  expect(&c, 200, expected);
  send_chunked(c.fd, "/count", data, size, 12345);
  expect(&c, 200, expected);
  hang_up(&c);
  free(data);
}

static void streams_both_ways_at_once(void **state) {
  (void)state;
  size_t size = 5 * MIB;
  char *data = pattern(size);
  for (int kind = 0; kind < 2; kind++) {
    client c = {.fd = dial()};
    buffer all = {0};
    send_head(c.fd, "/pass", kind == 0 ? "Content-Length: 5242880" : "Transfer-Encoding: chunked");
    if (kind == 1) buffer_text(&all, "500000\r\n");
    buffer_add(&all, data, size);
    if (kind == 1) buffer_text(&all, "\r\n0\r\n\r\n");
    sending s = {c.fd, all.data, all.size};
    pthread_t sender;
    assert_int_equal(pthread_create(&sender, NULL, send_aside, &s), 0);
    answer a = next_answer(&c, false);
    pthread_join(sender, NULL);
    assert_int_equal(a.size, size);
    assert_memory_equal(a.body, data, size);
    answer_free(&a);
    buffer_free(&all);
    hang_up(&c);
  }
  free(data);
}

/* While nobody reads, the client is held back: what it gets rid of is what the kernel's buffers take. */
static void holds_the_client_back(void **state) {
  (void)state;
  size_t size = 64 * MIB;
  char *data = pattern(size);
  atomic_store(&go, false);
  client c = {.fd = dial()};
  const int small = 65536;
  assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
  send_head(c.fd, "/wait", "Content-Length: 67108864");
  size_t sent = 0;
  for (int stalled = 0; stalled < 10;) {
    ssize_t part = send(c.fd, data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (part > 0) {
      sent += (size_t)part;
      stalled = 0;
    } else {
      pause_ms(20);
      stalled++;
    }
    assert_true(sent < 24 * MIB);
  }
  assert_int_equal(atomic_load(&held), 1);
  atomic_store(&go, true);
  send_bytes(c.fd, data + sent, size - sent);
  expect(&c, 200, "67108864");
  hang_up(&c);
  free(data);
}

static void broken_chunks(void **state) {
  (void)state;
  static const char *const bodies[] = {"x\r\n",
                                       "5\r\nhelloXX0\r\n\r\n",
                                       "5\nhello\r\n0\r\n\r\n",
                                       "0\r\nContent-Length: 5\r\n\r\n",
                                       "0\r\nHost: b\r\n\r\n",
                                       "fffffffffffffffff\r\n"};
  for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
    client c = {.fd = dial()};
    send_head(c.fd, "/echo", "Transfer-Encoding: chunked");
    send_text(c.fd, bodies[i]);
    send_text(c.fd, "POST /ignore HTTP/1.1\r\n" H "\r\n");
    expect(&c, 400, NULL);
    assert_true(at_end(&c));
    hang_up(&c);
  }
}

/* ---- Limits ---------------------------------------------------------------------------------------------------------------------------- */

static void limits_of_bodies(void **state) {
  (void)state;
  char *data = pattern(3 * MIB);
  client c = {.fd = dial()};
  send_length(c.fd, "/small", data, 10);
  expect(&c, 200, NULL);
  send_length(c.fd, "/small", data, 11); /* so little is thrown away, and the connection goes on */
  expect(&c, 413, NULL);
  send_length(c.fd, "/hundred", data, 101);
  expect(&c, 413, NULL);
  send_length(c.fd, "/hundred", data, 100);
  expect(&c, 200, NULL);
  send_chunked(c.fd, "/hundred", data, 100, 7);
  expect(&c, 200, NULL);
  send_chunked(c.fd, "/hundred", data, 101, 7);
  expect(&c, 413, NULL);
  hang_up(&c);
  c = (client){.fd = dial()};
  send_chunked(c.fd, "/small", data, 11, 2);
  expect(&c, 413, NULL);
  assert_true(at_end(&c));
  hang_up(&c);
  c = (client){.fd = dial()};
  send_length(c.fd, "/echo", data, 3 * MIB); /* all of it is on its way when the refusal is written, and still it arrives */
  expect(&c, 413, NULL);
  hang_up(&c);
  free(data);
}

static void limits_of_heads(void **state) {
  (void)state;
  char long_text[4000];
  memset(long_text, 'a', sizeof long_text - 1);
  long_text[sizeof long_text - 1] = '\0';
  static const struct {
    unsigned status;
    const char *format;
    int size;
  } cases[] = {
      {404, "GET /%.*s HTTP/1.1\r\n" H "\r\n", 299},
      {414, "GET /%.*s HTTP/1.1\r\n" H "\r\n", 300},
      {414, "GET /%.*s", 3999},
      {404, "GET /x HTTP/1.1\r\n" H "X: %.*s\r\n\r\n", 1900},
      {431, "GET /x HTTP/1.1\r\n" H "X: %.*s\r\n\r\n", 2100},
      {431, "GET /x HTTP/1.1\r\n" H "X: %.*s", 3999},
      {431, "GET /x HTTP/1.1\r\n" H "X%.*s: 1\r\n\r\n", 2100},
      {404, "GET /x HTTP/1.1\r\n" H "a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni%.*s:\r\n\r\n", 1},
      {431, "GET /x HTTP/1.1\r\n" H "a:\r\nb:\r\nc:\r\nd:\r\ne:\r\nf:\r\ng:\r\nh:\r\ni:\r\nj%.*s:\r\n\r\n", 1},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    buffer text = {0};
    buffer_format(&text, cases[i].format, cases[i].size, long_text);
    ask_only(cases[i].status, buffer_end(&text));
    buffer_free(&text);
  }
}

static void bodies_that_nobody_reads(void **state) {
  (void)state;
  char *data = pattern(MIB);
  client c = {.fd = dial()};
  send_length(c.fd, "/ignore", data, 60000);
  expect(&c, 200, "ignored");
  send_chunked(c.fd, "/refuse", data, 20000, 900);
  expect(&c, 415, NULL);
  send_length(c.fd, "/echo", "still here", 10);
  expect(&c, 200, "still here");
  send_length(c.fd, "/ignore", data, MIB);
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 200);
  assert_string_equal(header_of(&a, "Connection"), "close");
  assert_true(at_end(&c));
  assert_false(c.reset);
  answer_free(&a);
  hang_up(&c);
  c = (client){.fd = dial()};
  send_chunked(c.fd, "/ignore", data, MIB, 900);
  expect(&c, 200, "ignored");
  assert_true(at_end(&c));
  hang_up(&c);
  free(data);
}

static void expectations(void **state) {
  (void)state;
  client c = {.fd = dial()};
  send_head(c.fd, "/echo", "Content-Length: 5\r\nExpect: 100-continue");
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 100);
  answer_free(&a);
  send_text(c.fd, "hello");
  expect(&c, 200, "hello");
  /* A client that does not wait need not be told. */
  send_text(c.fd, "POST /echo HTTP/1.1\r\n" H "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello");
  expect(&c, 200, "hello");
  /* Nobody reads it: no 100, and the connection ends, since the client may or may not send the body. */
  send_head(c.fd, "/refuse", "Content-Length: 5\r\nExpect: 100-continue");
  a = next_answer(&c, false);
  assert_int_equal(a.status, 415);
  assert_string_equal(header_of(&a, "Connection"), "close");
  assert_true(at_end(&c));
  answer_free(&a);
  hang_up(&c);
  c = (client){.fd = dial()};
  send_head(c.fd, "/small", "Content-Length: 500\r\nExpect: 100-continue");
  expect(&c, 413, NULL);
  hang_up(&c);
}

static void nothing_of_the_database_is_held(void **state) {
  (void)state;
  answer a = ask(200, "POST /held HTTP/1.1\r\n" H "Content-Length: 4\r\n\r\nfree");
  assert_string_equal(a.body, "free");
  answer_free(&a);
}

/* ---- Out ---------------------------------------------------------------------------------------------------------------------------------- */

static void streams_out(void **state) {
  (void)state;
  size_t size = 30 * MIB;
  char *data = pattern(size);
  client c = {.fd = dial()};
  for (int told = 0; told < 2; told++) {
    char text[128];
    snprintf(text, sizeof text, "GET /much/%zu%s HTTP/1.1\r\n" H "\r\n", size, told ? "?told" : "");
    send_text(c.fd, text);
    answer a = next_answer(&c, false);
    assert_true(a.whole);
    assert_int_equal(a.size, size);
    assert_memory_equal(a.body, data, size);
    answer_free(&a);
  }
  send_text(c.fd, "HEAD /much/5000000?told HTTP/1.1\r\n" H "\r\nGET /much/3 HTTP/1.1\r\n" H "\r\n");
  answer a = next_answer(&c, true);
  assert_string_equal(header_of(&a, "Content-Length"), "5000000");
  answer_free(&a);
  a = next_answer(&c, false);
  assert_int_equal(a.size, 3);
  answer_free(&a);
  hang_up(&c);
  c = (client){.fd = dial()};
  send_text(c.fd, "GET /much/3000000 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  a = next_answer(&c, false);
  assert_null(header_of(&a, "Transfer-Encoding"));
  assert_string_equal(header_of(&a, "Connection"), "close");
  assert_int_equal(a.size, 3000000);
  assert_memory_equal(a.body, data, 3000000);
  answer_free(&a);
  hang_up(&c);
  free(data);
}

static void holds_the_writer_back(void **state) {
  (void)state;
  size_t size = 64 * MIB;
  char *data = pattern(size);
  client c = {.fd = dial()};
  send_text(c.fd, "GET /much/67108864 HTTP/1.1\r\n" H "\r\n");
  size_t last = SIZE_MAX, there = 0;
  while (there != last || there == 0) {
    last = there;
    pause_ms(100);
    there = atomic_load(&written);
  }
  if (there >= 16 * MIB) fail_msg("%zu bytes were written for a client that reads none", there);
  answer a = next_answer(&c, false);
  assert_int_equal(a.size, size);
  assert_memory_equal(a.body, data, size);
  answer_free(&a);
  hang_up(&c);
  free(data);
}

/* An answer that is not whole never looks whole. */
static void answers_cut_off(void **state) {
  (void)state;
  static const char *const paths[] = {"/little", "/broken"};
  for (size_t i = 0; i < 4; i++) {
    client c = {.fd = dial()};
    char text[128];
    snprintf(text, sizeof text, "GET %s HTTP/1.%d\r\n" H "\r\n", paths[i % 2], i < 2 ? 1 : 0);
    send_text(c.fd, text);
    answer a = next_answer(&c, false);
    assert_false(a.whole);
    assert_true(c.closed);
    answer_free(&a);
    hang_up(&c);
  }
  answer a = ask(200, "GET /over HTTP/1.1\r\n" H "\r\n");
  assert_string_equal(a.body, "123");
  answer_free(&a);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(whole_bodies),
      cmocka_unit_test(pipelined_bodies),
      cmocka_unit_test(streams_in),
      cmocka_unit_test(streams_both_ways_at_once),
      cmocka_unit_test(holds_the_client_back),
      cmocka_unit_test(broken_chunks),
      cmocka_unit_test(limits_of_bodies),
      cmocka_unit_test(limits_of_heads),
      cmocka_unit_test(bodies_that_nobody_reads),
      cmocka_unit_test(expectations),
      cmocka_unit_test(nothing_of_the_database_is_held),
      cmocka_unit_test(streams_out),
      cmocka_unit_test(holds_the_writer_back),
      cmocka_unit_test(answers_cut_off),
  };
  return cmocka_run_group_tests(tests, begin_all, end_all);
}
