/* Requests and answers over real sockets: framing, order, methods, failures, what handlers see. */
#include "http_harness.h"

#include "observe/log.h"
#include <purlin/schema.h>

/* ---- Handlers ------------------------------------------------------------------------------------------------------------------ */

static purlin_status hello(purlin_ctx *ctx, purlin_request *request) {
  return purlin_respond_bytes(ctx, request, 200, "application/json", "{\"hello\":\"world\"}", 17);
}

static purlin_status number(purlin_ctx *ctx, purlin_request *request) {
  const char *n = purlin_parameter(request, "n");
  if (strcmp(n, "7") == 0 && purlin_sleep(ctx, 20) != PURLIN_OK) return PURLIN_CANCELLED; /* others must not overtake it */
  return purlin_respond_bytes(ctx, request, 200, "text/plain", n, strlen(n));
}

static void note_pair(void *to, const char *name, const char *value, size_t size) {
  buffer_format(to, " %s=%s/%zu", name, value, size);
}

static const char *or_none(const char *text) { return text == NULL ? "none" : text; }

/* Everything that a request tells, in one text. */
static purlin_status tell(purlin_ctx *ctx, purlin_request *request) {
  buffer text = {0}, pairs = {0};
  http_query_each(ctx, request, note_pair, &pairs);
  buffer_format(&text, "%s %s name=%s rest=%s other=%s q=%s x=%s length=%lld address=%s route=%s pairs=%s trace=%s",
                purlin_method(request), purlin_path(request), purlin_parameter(request, "name"),
                purlin_parameter(request, "rest"), or_none(purlin_parameter(request, "other")),
                or_none(purlin_query_value(request, "q")), or_none(purlin_header(request, "X-Thing")),
                (long long)purlin_content_length(request), http_request_address(request),
                http_request_target(request)->name, buffer_end(&pairs), purlin_trace_id(ctx));
  purlin_status status = purlin_respond_bytes(ctx, request, 200, "text/plain", text.data, text.size);
  buffer_free(&text);
  buffer_free(&pairs);
  return status;
}

typedef struct page {
  int64_t limit;
  const char *after;
  purlin_texts tag;
  bool deep;
} page;
PURLIN_SCHEMA(page, "A page", PURLIN_DEFAULT(limit, "50", "Rows", .min = 1, .max = 100), PURLIN_OPTIONAL(after, "Cursor"),
              PURLIN_OPTIONAL(tag, "Tags"), PURLIN_DEFAULT(deep, "false", "All of it"));

static purlin_status list(purlin_ctx *ctx, purlin_request *request) {
  page in;
  purlin_status status = purlin_query_decode(ctx, request, page_schema(), &in);
  return status != PURLIN_OK ? status : purlin_respond(ctx, request, 200, page_schema(), &in);
}

static purlin_status fail_as_told(purlin_ctx *ctx, purlin_request *request) {
  const char *how = purlin_parameter(request, "how");
  if (strcmp(how, "conflict") == 0) return purlin_fail(ctx, PURLIN_CONFLICT, "there is a \"%s\" already", "thing");
  if (strcmp(how, "internal") == 0) return purlin_fail(ctx, PURLIN_INTERNAL, "secret of the inside");
  if (strcmp(how, "silent") == 0) return PURLIN_NOT_FOUND;
  if (strcmp(how, "nothing") == 0) return PURLIN_OK;
  if (strcmp(how, "late") == 0) {
    purlin_retry_after(ctx, 7);
    return purlin_fail(ctx, PURLIN_TOO_MANY, "too fast");
  }
  if (strcmp(how, "twice") == 0) {
    purlin_status status = purlin_respond_bytes(ctx, request, 200, "text/plain", "once", 4);
    return status == PURLIN_OK ? purlin_respond_bytes(ctx, request, 200, "text/plain", "again", 5) : status;
  }
  (void)purlin_fail_field(ctx, "rows[3].step", "must be at least %d", 0);
  return purlin_fail_field(ctx, "name", "is missing");
}

static purlin_status headers(purlin_ctx *ctx, purlin_request *request) {
  static const char *const refused[][2] = {
      {"Content-Length", "5"}, {"transfer-encoding", "chunked"}, {"A b", "c"}, {"", "x"},
      {"A", "b\r\nC: d"},      {"Connection", "close"},          {"A", "\x7f"}};
  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
    if (purlin_set_header(ctx, request, refused[i][0], refused[i][1]) != PURLIN_INVALID) return PURLIN_INTERNAL;
  purlin_clear_failure(ctx);
  if (purlin_set_header(ctx, request, "X-One", "1") != PURLIN_OK ||
      purlin_set_header(ctx, request, "X-Two", "zwei\tdeux") != PURLIN_OK)
    return PURLIN_INTERNAL;
  purlin_status status = purlin_respond_bytes(ctx, request, 302, NULL, "", 0);
  return status == PURLIN_OK && purlin_set_header(ctx, request, "X", "y") == PURLIN_OK ? PURLIN_INTERNAL : status;
}

static purlin_status ranged(purlin_ctx *ctx, purlin_request *request) {
  static const char data[] = "0123456789";
  uint64_t first, length;
  unsigned status = purlin_range(ctx, request, 10, "\"v1\"", &first, &length);
  return purlin_respond_bytes(ctx, request, status, "text/plain", data + first, (size_t)length);
}

static void fail_in_its_own_shape(purlin_ctx *ctx, purlin_request *request, purlin_status status, const void *dialect) {
  assert_null(dialect);
  char text[64];
  int size = snprintf(text, sizeof text, "{\"error_code\":%d}", (int)status);
  if (purlin_respond_bytes(ctx, request, 404, "application/json", text, (size_t)size) != PURLIN_OK) abort();
}

static const test_route routes[] = {
    {"GET /hello", hello, 0, 0},
    {"GET /n/{n}", number, 0, 0},
    {"GET /tell/{name}/{rest...}", tell, 0, 0},
    {"GET /list", list, 0, 0},
    {"GET /fail/{how}", fail_as_told, 0, 0},
    {"GET /headers", headers, 0, 0},
    {"GET /range", ranged, 0, 0},
    {"POST /hello", hello, 0, 0},
};

static purlin_status gate(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  (void)target;
  const char *deny = purlin_header(request, "x-deny");
  if (deny != NULL && strcmp(deny, "401") == 0) return purlin_fail(ctx, PURLIN_UNAUTHENTICATED, "who are you?");
  return deny == NULL ? PURLIN_OK : purlin_fail(ctx, PURLIN_FORBIDDEN, "you may not");
}

static int begin_all(void **state) {
  (void)state;
  http_options options = test_options();
  test_server.gate = gate;
  server_begin(&options, 2, routes, sizeof routes / sizeof routes[0]);
  return 0;
}

static int end_all(void **state) {
  (void)state;
  server_end();
  return 0;
}

#define H "Host: a\r\n"

/* ---- Tests -------------------------------------------------------------------------------------------------------------------------- */

static void answers_and_keeps_alive(void **state) {
  (void)state;
  client c = {.fd = dial()};
  for (int i = 0; i < 3; i++) {
    send_text(c.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
    answer a = next_answer(&c, false);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{\"hello\":\"world\"}");
    assert_string_equal(header_of(&a, "Content-Type"), "application/json");
    assert_string_equal(header_of(&a, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(header_of(&a, "Server"), "purlin");
    assert_int_equal(strlen(header_of(&a, "Date")), 29);
    assert_null(header_of(&a, "Connection"));
    answer_free(&a);
  }
  send_text(c.fd, "\r\n\r\nGET /hello HTTP/1.1\r\n" H "Connection: close\r\n\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 200);
  assert_string_equal(header_of(&a, "Connection"), "close");
  assert_true(at_end(&c)); /* what came after it is not a request */
  answer_free(&a);
  hang_up(&c);
}

static void answers_in_order(void **state) {
  (void)state;
  buffer all = {0};
  for (int i = 0; i < 64; i++) buffer_format(&all, "GET /n/%d HTTP/1.1\r\n" H "\r\n", i);
  for (size_t piece = all.size; piece > 100; piece /= 7) {
    client c = {.fd = dial()};
    for (size_t at = 0; at < all.size; at += piece)
      send_bytes(c.fd, all.data + at, at + piece < all.size ? piece : all.size - at);
    for (int i = 0; i < 64; i++) {
      char expected[16];
      snprintf(expected, sizeof expected, "%d", i);
      answer a = next_answer(&c, false);
      assert_int_equal(a.status, 200);
      assert_string_equal(a.body, expected);
      answer_free(&a);
    }
    hang_up(&c);
  }
  buffer_free(&all);
}

/* More than max_pipelined and more than a read buffer holds. */
static void thousands_in_one_go(void **state) {
  (void)state;
  enum { COUNT = 5000 };
  buffer all = {0};
  for (int i = 0; i < COUNT; i++) buffer_text(&all, "GET /hello HTTP/1.1\r\n" H "\r\n");
  client c = {.fd = dial()};
  sending s = {c.fd, all.data, all.size};
  pthread_t sender;
  assert_int_equal(pthread_create(&sender, NULL, send_aside, &s), 0);
  for (int i = 0; i < COUNT; i++) {
    answer a = next_answer(&c, false);
    assert_int_equal(a.status, 200);
    answer_free(&a);
  }
  pthread_join(sender, NULL);
  hang_up(&c);
  buffer_free(&all);
}

static void byte_by_byte(void **state) {
  (void)state;
  static const char text[] = "GET /hello HTTP/1.1\r\n" H "X-Thing: y\r\n\r\n";
  client c = {.fd = dial()};
  for (size_t i = 0; i + 1 < sizeof text; i++) {
    send_bytes(c.fd, text + i, 1);
    if (i % 8 == 0) pause_ms(1);
  }
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 200);
  answer_free(&a);
  hang_up(&c);
}

static void head_has_no_body(void **state) {
  (void)state;
  client c = {.fd = dial()};
  send_text(c.fd, "HEAD /hello HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
  answer a = next_answer(&c, true);
  assert_int_equal(a.status, 200);
  assert_string_equal(header_of(&a, "Content-Length"), "17");
  answer_free(&a);
  a = next_answer(&c, false);
  assert_string_equal(a.body, "{\"hello\":\"world\"}");
  answer_free(&a);
  hang_up(&c);
}

static void http_1_0(void **state) {
  (void)state;
  client c = {.fd = dial()};
  send_text(c.fd, "GET /hello HTTP/1.0\r\n\r\n");
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 200);
  assert_string_equal(header_of(&a, "Connection"), "close");
  assert_true(at_end(&c));
  answer_free(&a);
  hang_up(&c);
  c = (client){.fd = dial()};
  for (int i = 0; i < 2; i++) {
    send_text(c.fd, "GET /hello HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
    a = next_answer(&c, false);
    assert_string_equal(header_of(&a, "Connection"), "keep-alive");
    answer_free(&a);
  }
  hang_up(&c);
}

static void tells_what_was_asked(void **state) {
  (void)state;
  answer a = ask(200, "GET /tell/a%20b%2Fc/d//%C3%A9?q=x+y%26z&%71=no&e&=f&q=2 HTTP/1.1\r\n" H "x-THING:  v w \r\n"
                      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");
  assert_string_equal(
      a.body,
      "GET /tell/a%20b%2Fc/d//%C3%A9 name=a b/c rest=d//\xc3\xa9 other=none q=x y&z x=v w length=0 address=127.0.0.1 "
      "route=GET /tell/{name}/{rest...} pairs= q=x y&z/5 q=no/2 e=/0 =f/1 q=2/1 trace=0af7651916cd43dd8448eb211c80319c");
  answer_free(&a);
  a = ask(200, "GET http://a/hello HTTP/1.1\r\n" H "\r\n");
  answer_free(&a);
}

static void decodes_the_query(void **state) {
  (void)state;
  answer a = ask(200, "GET /list?limit=7&tag=x&tag=y%20z&deep=true HTTP/1.1\r\n" H "\r\n");
  assert_non_null(strstr(a.body, "\"limit\":7"));
  assert_non_null(strstr(a.body, "\"tag\":[\"x\",\"y z\"]"));
  assert_non_null(strstr(a.body, "\"deep\":true"));
  answer_free(&a);
  a = ask(200, "GET /list HTTP/1.1\r\n" H "\r\n");
  assert_non_null(strstr(a.body, "\"limit\":50"));
  answer_free(&a);
  a = ask(400, "GET /list?limit=0&what=1&after=a&after=b&deep=maybe HTTP/1.1\r\n" H "\r\n");
  static const char *const fields[] = {"\"limit\"", "\"what\"",          "\"after\"",
                                       "\"deep\"",  "unknown parameter", "is given twice"};
  for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
    if (strstr(a.body, fields[i]) == NULL) fail_msg("no %s in %s", fields[i], a.body);
  answer_free(&a);
}

static void problems(void **state) {
  (void)state;
  answer a = ask(409, "GET /fail/conflict HTTP/1.1\r\n" H "\r\n");
  assert_string_equal(header_of(&a, "Content-Type"), "application/problem+json");
  char start[] = "{\"type\":\"urn:purlin:problem:conflict\",\"title\":\"Conflict\",\"status\":409,"
                 "\"detail\":\"there is a \\\"thing\\\" already\",\"trace_id\":\"";
  assert_memory_equal(a.body, start, sizeof start - 1);
  assert_int_equal(a.size, sizeof start - 1 + 32 + 2);
  answer_free(&a);
  a = ask(500, "GET /fail/internal HTTP/1.1\r\n" H "\r\n");
  assert_null(strstr(a.body, "secret"));
  assert_non_null(strstr(a.body, "trace_id"));
  answer_free(&a);
  a = ask(400, "GET /fail/fields HTTP/1.1\r\n" H "\r\n");
  assert_non_null(
      strstr(a.body, "\"errors\":[{\"field\":\"rows[3].step\",\"message\":\"must be at least 0\"},{\"field\":\"name\""));
  answer_free(&a);
  a = ask(429, "GET /fail/late HTTP/1.1\r\n" H "\r\n");
  assert_string_equal(header_of(&a, "Retry-After"), "7");
  answer_free(&a);
  ask_only(404, "GET /fail/silent HTTP/1.1\r\n" H "\r\n");
  a = ask(204, "GET /fail/nothing HTTP/1.1\r\n" H "\r\n");
  assert_null(header_of(&a, "Content-Length"));
  answer_free(&a);
  a = ask(200, "GET /fail/twice HTTP/1.1\r\n" H "\r\n");
  assert_string_equal(a.body, "once");
  answer_free(&a);
}

static void what_is_not_there(void **state) {
  (void)state;
  ask_only(404, "GET /nowhere HTTP/1.1\r\n" H "\r\n");
  ask_only(404, "OPTIONS * HTTP/1.1\r\n" H "\r\n");
  answer a = ask(405, "DELETE /hello HTTP/1.1\r\n" H "\r\n");
  assert_string_equal(header_of(&a, "Allow"), "GET, HEAD, POST");
  answer_free(&a);
  ask_only(501, "BREW /hello HTTP/1.1\r\n" H "\r\n");
}

static void the_gate(void **state) {
  (void)state;
  answer a = ask(401, "GET /hello HTTP/1.1\r\n" H "X-Deny: 401\r\n\r\n");
  assert_string_equal(header_of(&a, "WWW-Authenticate"), "Bearer");
  answer_free(&a);
  ask_only(403, "GET /hello HTTP/1.1\r\n" H "X-Deny: 403\r\n\r\n");
  ask_only(404, "GET /nowhere HTTP/1.1\r\n" H "X-Deny: 403\r\n\r\n");
}

static void headers_of_the_answer(void **state) {
  (void)state;
  answer a = ask(302, "GET /headers HTTP/1.1\r\n" H "\r\n");
  assert_string_equal(header_of(&a, "X-One"), "1");
  assert_string_equal(header_of(&a, "X-Two"), "zwei\tdeux");
  assert_null(header_of(&a, "A"));
  answer_free(&a);
}

static void ranges(void **state) {
  (void)state;
  static const struct {
    const char *header;
    unsigned status;
    const char *body, *content_range;
  } cases[] = {
      {"", 200, "0123456789", NULL},
      {"Range: bytes=0-3\r\n", 206, "0123", "bytes 0-3/10"},
      {"Range: bytes=9-\r\n", 206, "9", "bytes 9-9/10"},
      {"Range: bytes=4-99\r\n", 206, "456789", "bytes 4-9/10"},
      {"Range: bytes=-3\r\n", 206, "789", "bytes 7-9/10"},
      {"Range: bytes=-99\r\n", 206, "0123456789", "bytes 0-9/10"},
      {"Range: BYTES=0-0\r\n", 206, "0", "bytes 0-0/10"},
      {"Range: bytes=10-\r\n", 416, "", "bytes */10"},
      {"Range: bytes=-0\r\n", 416, "", "bytes */10"},
      {"Range: bytes=5-4\r\n", 200, "0123456789", NULL},
      {"Range: bytes=0-1,3-4\r\n", 200, "0123456789", NULL},
      {"Range: bytes=-\r\n", 200, "0123456789", NULL},
      {"Range: bytes=a-b\r\n", 200, "0123456789", NULL},
      {"Range: bytes=+1-2\r\n", 200, "0123456789", NULL},
      {"Range: bytes=0-99999999999999999999\r\n", 200, "0123456789", NULL},
      {"Range: lines=0-1\r\n", 200, "0123456789", NULL},
      {"Range: bytes=0-3\r\nIf-Range: \"v1\"\r\n", 206, "0123", "bytes 0-3/10"},
      {"Range: bytes=0-3\r\nIf-Range: \"v2\"\r\n", 200, "0123456789", NULL},
      {"Range: bytes=0-3\r\nIf-Range: W/\"v1\"\r\n", 200, "0123456789", NULL},
      {"Range: bytes=0-3\r\nIf-Range: Sun, 06 Nov 1994 08:49:37 GMT\r\n", 200, "0123456789", NULL},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[256];
    snprintf(text, sizeof text, "GET /range HTTP/1.1\r\n" H "%s\r\n", cases[i].header);
    answer a = ask(cases[i].status, text);
    assert_string_equal(a.body, cases[i].body);
    assert_string_equal(header_of(&a, "ETag"), "\"v1\"");
    assert_string_equal(header_of(&a, "Accept-Ranges"), "bytes");
    const char *range = header_of(&a, "Content-Range");
    if (cases[i].content_range == NULL) assert_null(range);
    else assert_string_equal(range, cases[i].content_range);
    answer_free(&a);
  }
}

/* What is no request is refused, the refusal arrives, and nothing behind it is taken for a request. */
static void refuses_what_is_no_request(void **state) {
  (void)state;
  static const struct {
    unsigned status;
    const char *text;
  } cases[] = {
      {400, "GET / HTTP/1.1\nHost: a\n\n"},
      {400, "GET /hello HTTP/1.1\r\nX: a\r\n b\r\n" H "\r\n"},
      {400, "POST /hello HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"},
      {400, "GET /hello HTTP/1.1\r\n: a\r\n" H "\r\n"},
      {400, "GET /hello HTTP/1.1\r\n\r\n"},
      {400, "GET /hello HTTP/1.1\r\n" H H "\r\n"},
      {400, "POST /hello HTTP/1.1\r\n" H "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, "POST /hello HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
      {400, "POST /hello HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {400, "GET http://b/hello HTTP/1.1\r\n" H "\r\n"},
      {400, "GET /%2e%2e/hello HTTP/1.1\r\n" H "\r\n"},
      {400, "GET /hello#x HTTP/1.1\r\n" H "\r\n"},
      {400, "GET  /hello HTTP/1.1\r\n" H "\r\n"},
      {400, "GET /hello HTTP/1.1\r\n" H "X: \xff\r\n\r\n"},
      {400, "\x16\x03\x01\x02\x01\x01"},
      {505, "GET /hello HTTP/1.2\r\n" H "\r\n"},
      {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {501, "CONNECT a:443 HTTP/1.1\r\n" H "\r\n"},
      {417, "POST /hello HTTP/1.1\r\n" H "Expect: wonders\r\n\r\n"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    client c = {.fd = dial()};
    send_text(c.fd, cases[i].text);
    send_text(c.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
    answer a = next_answer(&c, false);
    if (a.status != cases[i].status) fail_msg("%u, not %u: %s", a.status, cases[i].status, cases[i].text);
    assert_string_equal(header_of(&a, "Content-Type"), "application/problem+json");
    assert_string_equal(header_of(&a, "Connection"), "close");
    assert_true(at_end(&c));
    assert_false(c.reset);
    answer_free(&a);
    hang_up(&c);
  }
}

static void an_upgrade_is_not_taken(void **state) {
  (void)state;
  client c = {.fd = dial()};
  send_text(c.fd,
            "GET /n/1 HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nGET /n/2 HTTP/1.1\r\n" H "\r\n");
  for (int i = 1; i <= 2; i++) {
    answer a = next_answer(&c, false);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body[0], '0' + i);
    answer_free(&a);
  }
  hang_up(&c);
}

static void counts_requests(void **state) {
  (void)state;
  double before = metrics_value("purlin_http_requests_total");
  double observed = metrics_value("purlin_http_request_duration_seconds");
  ask_only(200, "GET /hello HTTP/1.1\r\n" H "\r\n");
  ask_only(404, "GET /nowhere HTTP/1.1\r\n" H "\r\n");
  ask_only(400, "GET /hello HTTP/1.1\r\n\r\n");
  assert_true(metrics_value("purlin_http_requests_total") == before + 3);
  assert_true(metrics_value("purlin_http_request_duration_seconds") == observed + 2);
  buffer text = {0};
  metrics_render(&text);
  assert_non_null(
      strstr(buffer_end(&text), "purlin_http_requests_total{route=\"GET /hello\",method=\"GET\",status=\"200\"}"));
  assert_non_null(
      strstr(buffer_end(&text), "purlin_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"}"));
  buffer_free(&text);
}

/* A new table of routes serves the very next request. */
static void a_new_router(void **state) {
  (void)state;
  static const test_route other = {"GET /other", hello, 0, 0};
  static http_target target = {
      .name = "other", .plugin = "test", .permission = "public", .handle = run_route, .argument = &other};
  client c = {.fd = dial()};
  send_text(c.fd, "GET /other HTTP/1.1\r\n" H "\r\n");
  answer a = next_answer(&c, false);
  assert_int_equal(a.status, 404);
  answer_free(&a);
  buffer why = {0};
  http_router *router = http_router_create();
  assert_int_equal(http_router_add(router, "GET /other", &target, &why), PURLIN_OK);
  http_set_router(router);
  http_router_release(router);
  send_text(c.fd, "GET /other HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
  a = next_answer(&c, false);
  assert_int_equal(a.status, 200);
  answer_free(&a);
  a = next_answer(&c, false);
  assert_int_equal(a.status, 404);
  answer_free(&a);
  hang_up(&c);
  router = test_router();
  http_set_router(router);
  http_router_release(router);
  ask_only(200, "GET /hello HTTP/1.1\r\n" H "\r\n");
}

static void a_target_with_failures_of_its_own(void **state) {
  (void)state;
  static const test_route route = {"GET /own/{how}", fail_as_told, 0, 0};
  static http_target target = {.name = "own",
                               .plugin = "test",
                               .permission = "public",
                               .handle = run_route,
                               .argument = &route,
                               .fail = fail_in_its_own_shape};
  buffer why = {0};
  http_router *router = test_router();
  assert_int_equal(http_router_add(router, route.http, &target, &why), PURLIN_OK);
  http_set_router(router);
  http_router_release(router);
  answer a = ask(404, "GET /own/conflict HTTP/1.1\r\n" H "\r\n");
  char expected[64];
  snprintf(expected, sizeof expected, "{\"error_code\":%d}", (int)PURLIN_CONFLICT);
  assert_string_equal(a.body, expected);
  answer_free(&a);
  router = test_router();
  http_set_router(router);
  http_router_release(router);
}

/* Whatever comes, in whatever pieces, others are served. */
static void survives_damage(void **state) {
  (void)state;
  static const char seed[] =
      "POST /hello HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhelloGET /n/1?a=b HTTP/1.1\r\n" H "Connection: close\r\n\r\n"
      "POST /hello HTTP/1.1\r\n" H
      "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n";
  static const char damage[] = "\r\n\t :;,%#/\0aZ9\xff\x01";
  srandom(7);
  for (int round = 0; round < 400; round++) {
    char text[sizeof seed];
    memcpy(text, seed, sizeof seed);
    for (long n = random() % 4; n > 0; n--) text[(size_t)random() % sizeof text] = damage[(size_t)random() % sizeof damage];
    int fd = dial();
    size_t start = random() % 3 > 0 ? 0 : (size_t)random() % sizeof text,
           cut = start + (size_t)random() % (sizeof text - start);
    (void)!send(fd, text + start, cut - start, MSG_NOSIGNAL);
    if (random() % 2 > 0) (void)!send(fd, text + cut, sizeof text - cut, MSG_NOSIGNAL);
    if (random() % 2 > 0) shutdown(fd, SHUT_WR);
    close(fd);
    if (round % 50 == 0) ask_only(200, "GET /hello HTTP/1.1\r\n" H "\r\n");
  }
  ask_only(200, "GET /hello HTTP/1.1\r\n" H "\r\n");
}

/* Path without the query, which may hold secrets; route, status and sizes. */
static void logs_access(void **state) {
  (void)state;
  FILE *file = tmpfile();
  assert_non_null(file);
  const log_options logs = {
      .descriptor = 2, .format = LOG_JSON, .level = PURLIN_WARNING, .access_descriptor = fileno(file)};
  assert_int_equal(log_start(&logs), PURLIN_OK);
  ask_only(200, "GET /n/5?token=hidden HTTP/1.1\r\n" H "\r\n");
  ask_only(400, "GET /n/5 HTTP/1.1\r\n\r\n");
  log_stop();
  static char text[1 << 18]; /* what was damaged before may still be on its way */
  size_t size = (rewind(file), fread(text, 1, sizeof text - 1, file));
  text[size] = '\0';
  static const char *const parts[] = {"/n/5\"", "GET /n/{n}", "127.0.0.1", "200", "refused", "400"};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
    if (strstr(text, parts[i]) == NULL) fail_msg("no %s in %s", parts[i], text);
  assert_null(strstr(text, "hidden"));
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(answers_and_keeps_alive),
      cmocka_unit_test(answers_in_order),
      cmocka_unit_test(thousands_in_one_go),
      cmocka_unit_test(byte_by_byte),
      cmocka_unit_test(head_has_no_body),
      cmocka_unit_test(http_1_0),
      cmocka_unit_test(tells_what_was_asked),
      cmocka_unit_test(decodes_the_query),
      cmocka_unit_test(problems),
      cmocka_unit_test(what_is_not_there),
      cmocka_unit_test(the_gate),
      cmocka_unit_test(headers_of_the_answer),
      cmocka_unit_test(ranges),
      cmocka_unit_test(refuses_what_is_no_request),
      cmocka_unit_test(an_upgrade_is_not_taken),
      cmocka_unit_test(counts_requests),
      cmocka_unit_test(a_new_router),
      cmocka_unit_test(a_target_with_failures_of_its_own),
      cmocka_unit_test(survives_damage),
      cmocka_unit_test(logs_access),
  };
  return cmocka_run_group_tests(tests, begin_all, end_all);
}
