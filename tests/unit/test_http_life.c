/* What ends: time-outs, clients that go away, server-sent events, draining, too many connections; and what idle ones cost. */
#include "http_harness.h"

#include <malloc.h>

#define H "Host: a\r\n"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static atomic_int cancelled, timed_out, running, closed_streams;

/* ---- Handlers --------------------------------------------------------------------------------------------------------------------- */

static purlin_status hello(purlin_ctx *ctx, purlin_request *request) {
  return purlin_respond_bytes(ctx, request, 200, "text/plain", "hello", 5);
}

static purlin_status note(purlin_status status) {
  if (status == PURLIN_CANCELLED) atomic_fetch_add(&cancelled, 1);
  if (status == PURLIN_TIMEOUT) atomic_fetch_add(&timed_out, 1);
  return status;
}

static purlin_status sleep_long(purlin_ctx *ctx, purlin_request *request) {
  atomic_fetch_add(&running, 1);
  purlin_status status = purlin_sleep(ctx, (uint32_t)strtoul(purlin_parameter(request, "ms"), NULL, 10));
  atomic_fetch_sub(&running, 1);
  if (status != PURLIN_OK) return note(status);
  return purlin_respond_bytes(ctx, request, 200, "text/plain", "slept", 5);
}

static purlin_status read_all(purlin_ctx *ctx, purlin_request *request) {
  const char *body;
  size_t size;
  purlin_status status = purlin_read_all(ctx, request, 1 << 20, &body, &size);
  return status != PURLIN_OK ? note(status) : purlin_respond_bytes(ctx, request, 200, "text/plain", "read", 4);
}

static purlin_status write_much(purlin_ctx *ctx, purlin_request *request) {
  static const char block[100000];
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", -1);
  for (int i = 0; i < 1000 && status == PURLIN_OK; i++) status = purlin_write(ctx, request, block, sizeof block);
  return note(status);
}

/* Its head has gone out, and promised that the connection stays, long before its end. */
static purlin_status in_two_parts(purlin_ctx *ctx, purlin_request *request) {
  purlin_status status = purlin_respond_begin(ctx, request, 200, "text/plain", 8);
  if (status == PURLIN_OK) status = purlin_write(ctx, request, "half", 4);
  atomic_fetch_add(&running, 1);
  if (status == PURLIN_OK) status = purlin_sleep(ctx, 200);
  atomic_fetch_sub(&running, 1);
  return status == PURLIN_OK ? purlin_write(ctx, request, "done", 4) : note(status);
}

/* Streams belong to their loop, so the tests of them have one. */
static http_stream *streams[8];
static size_t stream_count;

static void on_stream_closed(void *argument) {
  size_t index = (size_t)(uintptr_t)argument;
  streams[index] = NULL;
  atomic_fetch_add(&closed_streams, 1);
}

static purlin_status subscribe(purlin_ctx *ctx, purlin_request *request) {
  if (stream_count == 8) return purlin_fail(ctx, PURLIN_TOO_MANY, "enough");
  size_t index = stream_count++;
  purlin_status status = http_stream_open(ctx, request, on_stream_closed, (void *)(uintptr_t)index, &streams[index]);
  if (status != PURLIN_OK) return status;
  (void)http_stream_send(streams[index], NULL, NULL, "welcome", 7); /* false for HEAD: such a stream ends at once */
  return purlin_sleep(ctx, 5);                                      /* the handler may still run while the stream is open */
}

static purlin_status publish(purlin_ctx *ctx, purlin_request *request) {
  const char *body;
  size_t size;
  purlin_status status = purlin_read_all(ctx, request, 1 << 20, &body, &size);
  if (status != PURLIN_OK) return status;
  unsigned long times =
      purlin_query_value(request, "times") != NULL ? strtoul(purlin_query_value(request, "times"), NULL, 10) : 1;
  unsigned sent = 0;
  for (size_t i = 0; i < stream_count; i++)
    for (unsigned long n = 0; n < times && streams[i] != NULL; n++) {
      if (!http_stream_send(streams[i], "7", "change\r\nid: 8", body, size)) break;
      sent++;
    }
  if (purlin_query_value(request, "close") != NULL)
    for (size_t i = 0; i < stream_count; i++)
      if (streams[i] != NULL) http_stream_close(streams[i]);
  char text[16];
  return purlin_respond_bytes(ctx, request, 200, "text/plain", text, (size_t)snprintf(text, sizeof text, "%u", sent));
}

static const test_route routes[] = {
    {"GET /hello", hello, 0, 0},
    {"GET /sleep/{ms}", sleep_long, 0, UINT32_MAX},
    {"GET /short/{ms}", sleep_long, 0, 150},
    {"POST /read", read_all, 0, 0},
    {"POST /late", read_all, 0, 150},
    {"GET /much", write_much, 0, 0},
    {"GET /parts", in_two_parts, 0, 0},
    {"GET /events", subscribe, 0, 0},
    {"POST /events", publish, 0, 0},
};

static void begin_with(const http_options *options, size_t loops) {
  stream_count = 0;
  atomic_store(&cancelled, 0);
  atomic_store(&timed_out, 0);
  atomic_store(&closed_streams, 0);
  server_begin(options, loops, routes, sizeof routes / sizeof routes[0]);
}

static http_options hasty(void) {
  http_options options = test_options();
  options.header_timeout_ms = 200;
  options.idle_timeout_ms = 400;
  options.body_timeout_ms = 400;
  options.write_timeout_ms = 400;
  return options;
}

static void wait_for(atomic_int *what, int value) {
  uint64_t until = now_ms() + 10000;
  while (atomic_load(what) != value) {
    if (now_ms() > until) fail_msg("%d, not %d", atomic_load(what), value);
    pause_ms(5);
  }
}

static void expect(client *c, unsigned status, const char *body) {
  answer a = next_answer(c, false);
  if (a.status != status) fail_msg("%u, not %u: %s", a.status, status, a.body != NULL ? a.body : "nothing");
  if (body != NULL) assert_string_equal(a.body, body);
  answer_free(&a);
}

/* ---- Time-outs ------------------------------------------------------------------------------------------------------------------------ */

static void slow_heads_and_idle_connections(void **state) {
  (void)state;
  http_options options = hasty();
  begin_with(&options, 2);
  client half = {.fd = dial()}, none = {.fd = dial()}, used = {.fd = dial()};
  uint64_t began = now_ms();
  send_text(half.fd, "GET /hello HTTP/1.1\r\nHos");
  send_text(used.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  expect(&used, 200, "hello");
  for (int i = 0; i < 4; i++) { /* a byte now and then does not buy time: the deadline is that of the whole head */
    pause_ms(40);
    send_text(half.fd, "t");
  }
  expect(&half, 408, NULL);
  assert_true(at_end(&half));
  assert_in_range(now_ms() - began, 190, 1500);
  assert_true(at_end(&none) && at_end(&used));
  assert_in_range(now_ms() - began, 390, 2500);
  hang_up(&half);
  hang_up(&none);
  hang_up(&used);
  server_end();
}

static void slow_bodies(void **state) {
  (void)state;
  http_options options = hasty();
  begin_with(&options, 1);
  client stuck = {.fd = dial()}, trickle = {.fd = dial()}, steady = {.fd = dial()};
  send_text(stuck.fd, "POST /read HTTP/1.1\r\n" H "Content-Length: 5000\r\n\r\n12345");
  send_text(trickle.fd, "POST /read HTTP/1.1\r\n" H "Content-Length: 5000\r\n\r\n");
  send_text(steady.fd, "POST /read HTTP/1.1\r\n" H "Content-Length: 5000\r\n\r\n");
  char block[250];
  memset(block, 'x', sizeof block);
  for (int i = 0; i < 20; i++) { /* 5000 bytes in a second: above the minimum; the other sends 10 bytes in the time */
    send_bytes(steady.fd, block, sizeof block);
    if (i < 6) send_bytes(trickle.fd, block, 10);
    pause_ms(50);
  }
  expect(&steady, 200, "read");
  expect(&trickle, 408, NULL);
  expect(&stuck, 408, NULL);
  assert_true(at_end(&trickle) && at_end(&stuck));
  assert_int_equal(atomic_load(&timed_out), 2);
  hang_up(&stuck);
  hang_up(&trickle);
  hang_up(&steady);
  server_end();
}

static void deadlines_of_requests(void **state) {
  (void)state;
  http_options options = test_options();
  begin_with(&options, 2);
  ask_only(504, "GET /short/5000 HTTP/1.1\r\n" H "\r\n");
  ask_only(200, "GET /sleep/300 HTTP/1.1\r\n" H "\r\n");
  ask_only(504, "POST /late HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n");
  assert_int_equal(atomic_load(&timed_out), 2);
  server_end();
}

static void clients_that_do_not_read(void **state) {
  (void)state;
  http_options options = hasty();
  begin_with(&options, 1);
  client c = {.fd = dial_small(4096)};
  send_text(c.fd, "GET /much HTTP/1.1\r\n" H "\r\n");
  wait_for(&cancelled, 1);
  hang_up(&c);
  server_end();
}

static void clients_that_go_away(void **state) {
  (void)state;
  http_options options = test_options();
  begin_with(&options, 2);
  static const char *const requests[] = {
      "GET /sleep/60000 HTTP/1.1\r\n" H "\r\n", "POST /read HTTP/1.1\r\n" H "Content-Length: 9\r\n\r\n1234",
      "POST /read HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\n12", "GET /much HTTP/1.1\r\n" H "\r\n"};
  for (int i = 0; i < 8; i++) {
    client c = {.fd = dial_small(4096)};
    send_text(c.fd, requests[i % 4]);
    pause_ms(30);
    const struct linger now = {.l_onoff = i >= 4, .l_linger = 0}; /* once by FIN, once by RST */
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    hang_up(&c);
    wait_for(&cancelled, i + 1);
  }
  ask_only(200, "GET /hello HTTP/1.1\r\n" H "\r\n");
  server_end();
}

/* ---- Server-sent events -------------------------------------------------------------------------------------------------------------------- */

static void receive_text(client *c, const char *text) {
  while (c->in.size < strlen(text) || memmem(c->in.data, c->in.size, text, strlen(text)) == NULL)
    if (!receive(c)) fail_msg("the stream ended before: %s", text);
}

static void events(void **state) {
  (void)state;
  http_options options = test_options();
  begin_with(&options, 1);
  client a = {.fd = dial()}, b = {.fd = dial()}, gone = {.fd = dial()}, pusher = {.fd = dial()};
  send_text(a.fd, "GET /events HTTP/1.1\r\n" H "\r\n");
  send_text(b.fd, "GET /events HTTP/1.0\r\n" H "\r\n");
  send_text(gone.fd, "GET /events HTTP/1.1\r\n" H "\r\n");
  receive_text(&a, "Content-Type: text/event-stream\r\n");
  receive_text(&a, "data: welcome\n\n");
  receive_text(&b, "data: welcome\n\n");
  receive_text(&gone, "data: welcome\n\n");
  hang_up(&gone);
  wait_for(&closed_streams, 1);
  send_text(pusher.fd, "POST /events HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\none\ntwo\r\n\r");
  expect(&pusher, 200, "2");
  receive_text(&a, "id: 7\nevent: change\ndata: one\ndata: two\ndata: \ndata: \n\n");
  receive_text(&b, "id: 7\nevent: change\ndata: one\ndata: two\ndata: \ndata: \n\n");
  answer head = ask(200, "HEAD /events HTTP/1.1\r\n" H "\r\n");
  answer_free(&head);
  wait_for(&closed_streams, 2);
  send_text(pusher.fd, "POST /events?close HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n");
  expect(&pusher, 200, "2");
  receive_text(&a, "\r\n0\r\n\r\n");
  while (receive(&a)) {}
  while (receive(&b)) {}
  assert_false(a.reset || b.reset);
  wait_for(&closed_streams, 4);
  hang_up(&a);
  hang_up(&b);
  hang_up(&pusher);
  server_end();
}

/* One that does not read is closed when a MiB waits; the others get everything. */
static void slow_listeners(void **state) {
  (void)state;
  http_options options = test_options();
  begin_with(&options, 1);
  client slow = {.fd = dial_small(4096)}, fast = {.fd = dial()}, pusher = {.fd = dial()};
  send_text(slow.fd, "GET /events HTTP/1.1\r\n" H "\r\n");
  send_text(fast.fd, "GET /events HTTP/1.1\r\n" H "\r\n");
  receive_text(&fast, "data: welcome\n\n");
  receive_text(&slow, "data: welcome\n\n");
  char event[40000];
  memset(event, 'e', sizeof event);
  for (int i = 0; i < 1000 && atomic_load(&closed_streams) == 0; i++) {
    send_text(pusher.fd, "POST /events HTTP/1.1\r\n" H "Content-Length: 40000\r\n\r\n");
    send_bytes(pusher.fd, event, sizeof event);
    expect(&pusher, 200, NULL);
    receive_text(&fast, "eeee\n\n");
    buffer_clear(&fast.in);
  }
  assert_int_equal(atomic_load(&closed_streams), 1);
  hang_up(&slow);
  hang_up(&fast);
  wait_for(&closed_streams, 2);
  hang_up(&pusher);
  server_end();
}

/* So that who may listen is asked anew now and then. */
static void streams_have_an_end(void **state) {
  (void)state;
  http_options options = hasty();
  options.stream_life_ms = 300;
  begin_with(&options, 1);
  client listener = {.fd = dial()};
  uint64_t began_ns = purlin_ticks_ns();
  send_text(listener.fd, "GET /events HTTP/1.1\r\n" H "\r\n");
  receive_text(&listener, "data: welcome\n\n");
  receive_text(&listener, "\r\n0\r\n\r\n");
  while (receive(&listener)) {}
  assert_false(listener.reset);
  assert_true(purlin_ticks_ns() - began_ns >= 290000000u);
  wait_for(&closed_streams, 1);
  hang_up(&listener);
  server_end();
}

/* ---- Draining ----------------------------------------------------------------------------------------------------------------------------------- */

static void drains(void **state) {
  (void)state;
  http_options options = test_options();
  begin_with(&options, 1);
  client idle = {.fd = dial()}, busy = {.fd = dial()}, listener = {.fd = dial()}, half = {.fd = dial()};
  send_text(idle.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  expect(&idle, 200, "hello");
  send_text(listener.fd, "GET /events HTTP/1.1\r\n" H "\r\n");
  receive_text(&listener, "welcome");
  send_text(half.fd, "GET /hello HT");
  send_text(busy.fd, "GET /sleep/300 HTTP/1.1\r\n" H "\r\n");
  wait_for(&running, 1);
  server_drain(5000);
  assert_true(at_end(&idle));
  while (receive(&listener)) {}
  wait_for(&closed_streams, 1);
  send_text(half.fd, "TP/1.1\r\n" H "\r\n");
  answer a = next_answer(&half, false);
  assert_int_equal(a.status, 200);
  assert_string_equal(header_of(&a, "Connection"), "close");
  answer_free(&a);
  a = next_answer(&busy, false);
  assert_int_equal(a.status, 200);
  assert_string_equal(a.body, "slept");
  answer_free(&a);
  assert_true(at_end(&busy) && at_end(&half));
  server_join();
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(http_port()), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
  close(fd);
  hang_up(&idle);
  hang_up(&busy);
  hang_up(&listener);
  hang_up(&half);
}

static void last_answer(client *c, const char *body, bool last) {
  answer a = next_answer(c, false);
  assert_int_equal(a.status, 200);
  assert_string_equal(a.body, body);
  if (last) assert_string_equal(header_of(&a, "Connection"), "close");
  else assert_null(header_of(&a, "Connection"));
  answer_free(&a);
}

/* No client is cut off that was not told, by an answer or by silence, that the connection ends. */
static void drains_without_losses(void **state) {
  (void)state;
  http_options options = test_options();
  options.drain_idle_ms = 20000; /* however slow the machine is; nothing here waits for it */
  begin_with(&options, 2);
  client idle = {.fd = dial()}, fresh, parts = {.fd = dial()}, many = {.fd = dial()};
  send_text(idle.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  expect(&idle, 200, "hello");
  send_text(parts.fd, "GET /parts HTTP/1.1\r\n" H "\r\n");
  wait_for(&running, 1);
  send_text(many.fd,
            "GET /sleep/100 HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\nGET /hello HTTP/1.1\r\n" H "\r\n");
  wait_for(&running, 2);
  fresh = (client){.fd = dial()};
  server_drain(5000);
  pause_ms(100);
  send_text(idle.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  send_text(fresh.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  last_answer(&idle, "hello", true);
  last_answer(&fresh, "hello", true);
  last_answer(&parts, "halfdone", false);
  pause_ms(100);
  send_text(parts.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  last_answer(&parts, "hello", true);
  last_answer(&many, "slept", false);
  last_answer(&many, "hello", false);
  last_answer(&many, "hello", true);
  assert_true(at_end(&idle) && at_end(&fresh) && at_end(&parts) && at_end(&many));
  server_join();
  hang_up(&idle);
  hang_up(&fresh);
  hang_up(&parts);
  hang_up(&many);
}

/* Of a socket that nobody else holds, whoever is in the queue is served; of one that is kept they wait for the next server. */
static void queues_are_not_lost(void **state) {
  (void)state;
  http_options options = test_options();
  options.held = true;
  begin_with(&options, 2);
  client first = {.fd = dial()}, second = {.fd = dial()};
  send_text(first.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  pause_ms(100);
  assert_int_equal(recv(first.fd, &(char){0}, 1, MSG_DONTWAIT), -1);
  server_drain(3000);
  last_answer(&first, "hello", true);
  server_join();
  hang_up(&first);
  hang_up(&second);

  options.held = false;
  options.passed[HTTP_OWN] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  assert_int_equal(bind(options.passed[HTTP_OWN], (struct sockaddr *)&address, sizeof address), 0);
  assert_int_equal(listen(options.passed[HTTP_OWN], 10), 0);
  int kept = dup(options.passed[HTTP_OWN]);
  begin_with(&options, 1);
  uint16_t port = http_port();
  assert_true(http_listener_fits(kept, "127.0.0.1", port) && http_listener_fits(kept, "127.0.0.1", 0));
  assert_false(http_listener_fits(kept, "127.0.0.1", (uint16_t)(port + 1)) || http_listener_fits(kept, "0.0.0.0", port) ||
               http_listener_fits(kept, "::1", port) || http_listener_fits(kept, "no such name.", port));
  assert_int_equal(http_listener(HTTP_OWN), options.passed[HTTP_OWN]);
  assert_int_equal(http_listener(HTTP_REDIRECT), -1);
  server_end();
  client between = {.fd = dial()};
  send_text(between.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  options.passed[HTTP_OWN] = kept;
  begin_with(&options, 1);
  assert_int_equal(http_port(), port);
  expect(&between, 200, "hello");
  hang_up(&between);
  server_end();
}

static void grace_ends(void **state) {
  (void)state;
  http_options options = test_options();
  begin_with(&options, 2);
  client c = {.fd = dial()};
  send_text(c.fd, "GET /sleep/60000 HTTP/1.1\r\n" H "\r\n");
  wait_for(&running, 1);
  uint64_t began = now_ms();
  server_drain(200);
  server_join();
  assert_in_range(now_ms() - began, 190, 2500);
  assert_int_equal(atomic_load(&cancelled), 1);
  assert_true(at_end(&c));
  hang_up(&c);
}

/* ---- Many ------------------------------------------------------------------------------------------------------------------------------------------ */

static void idle_connections_are_cheap(void **state) {
  (void)state;
  enum { COUNT = 1000 };
  static int fds[COUNT];
  http_options options = test_options();
  options.max_per_address = 0;
  begin_with(&options, 2);
  ask_only(200, "GET /hello HTTP/1.1\r\n" H "\r\n");
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < COUNT; i++) {
    client c = {.fd = dial()};
    send_text(c.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
    expect(&c, 200, "hello");
    fds[i] = c.fd;
    buffer_free(&c.in);
  }
  size_t each = (mallinfo2().uordblks - before) / COUNT;
  if (!SANITIZED) assert_in_range(each, 300, 1024);
  assert_true(metrics_value("purlin_http_connections") >= (double)COUNT);
  for (int i = 0; i < COUNT; i++) close(fds[i]);
  server_end();
  assert_true(metrics_value("purlin_http_connections") == 0);
}

static void too_many_connections(void **state) {
  (void)state;
  http_options options = test_options();
  options.max_connections = 3;
  begin_with(&options, 1);
  client c[3];
  for (int i = 0; i < 3; i++) {
    c[i] = (client){.fd = dial()};
    send_text(c[i].fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
    expect(&c[i], 200, "hello");
  }
  client extra = {.fd = dial()};
  expect(&extra, 503, NULL);
  assert_true(at_end(&extra));
  hang_up(&extra);
  hang_up(&c[0]);
  for (unsigned status = 503; status == 503;) { /* as soon as one has gone there is room again */
    client next = {.fd = dial()};
    send_text(next.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
    answer a = next_answer(&next, false);
    status = a.status == 0 ? 503 : a.status;
    answer_free(&a);
    hang_up(&next);
  }
  hang_up(&c[1]);
  hang_up(&c[2]);
  server_end();
}

static client greeted_from(const char *address) {
  dial_from = address;
  client c = {.fd = dial()};
  dial_from = "127.0.0.1";
  send_text(c.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
  expect(&c, 200, "hello");
  return c;
}

static void turned_away(void) {
  client extra = {.fd = dial()};
  expect(&extra, 429, NULL);
  assert_true(at_end(&extra));
  hang_up(&extra);
}

static void too_many_connections_of_one_address(void **state) {
  (void)state;
  static const char *const proxies[] = {"127.0.0.3"};
  http_options options = test_options();
  options.max_per_address = 2;
  options.trusted_proxies = proxies;
  options.trusted_proxy_count = 1;
  begin_with(&options, 2);
  double before = metrics_value("purlin_http_connections_refused_total");
  client mine[2] = {greeted_from("127.0.0.1"), greeted_from("127.0.0.1")};
  turned_away();
  turned_away();
  assert_true(metrics_value("purlin_http_connections_refused_total") == before + 2);
  client others[] = {greeted_from("127.0.0.2"), greeted_from("127.0.0.2"), greeted_from("127.0.0.3"),
                     greeted_from("127.0.0.3"), greeted_from("127.0.0.3")}; /* of another, and of a trusted proxy */
  hang_up(&mine[0]);
  for (unsigned status = 429; status == 429;) { /* as soon as one has gone there is room again */
    client next = {.fd = dial()};
    send_text(next.fd, "GET /hello HTTP/1.1\r\n" H "\r\n");
    answer a = next_answer(&next, false);
    status = a.status == 0 ? 429 : a.status;
    answer_free(&a);
    hang_up(&next);
  }
  hang_up(&mine[1]);
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) hang_up(&others[i]);
  server_end();
  http_end();
}

static void on_stopped(void *argument) {
  (void)argument;
  loops_stop();
}

static void addresses_that_cannot_be(void **state) {
  (void)state;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in taken = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof taken;
  assert_int_equal(bind(fd, (struct sockaddr *)&taken, size), 0);
  assert_int_equal(listen(fd, 1), 0);
  assert_int_equal(getsockname(fd, (struct sockaddr *)&taken, &size), 0);
  assert_int_equal(loops_create(1), PURLIN_OK);
  http_options options = test_options();
  buffer why = {0};
  char expected[80];
  snprintf(expected, sizeof expected, "port %u on 127.0.0.1 is in use by another program", ntohs(taken.sin_port));
  options.port = ntohs(taken.sin_port);
  assert_int_equal(http_start(&options, &why), PURLIN_CONFLICT);
  assert_string_equal(buffer_end(&why), expected);
  buffer_clear(&why);
  options.port = 0;
  options.address = "192.0.2.1";
  assert_int_equal(http_start(&options, &why), PURLIN_INVALID);
  assert_non_null(strstr(buffer_end(&why), "192.0.2.1"));
  buffer_clear(&why);
  options.address = "no such address";
  assert_int_equal(http_start(&options, &why), PURLIN_INVALID);
  options.address = "::1";
  buffer_clear(&why);
  if (http_start(&options, &why) == PURLIN_OK) {
    http_drain(0, on_stopped, NULL);
    loops_run();
  }
  loops_destroy();
  buffer_free(&why);
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(slow_heads_and_idle_connections),
      cmocka_unit_test(slow_bodies),
      cmocka_unit_test(deadlines_of_requests),
      cmocka_unit_test(clients_that_do_not_read),
      cmocka_unit_test(clients_that_go_away),
      cmocka_unit_test(events),
      cmocka_unit_test(slow_listeners),
      cmocka_unit_test(streams_have_an_end),
      cmocka_unit_test(drains),
      cmocka_unit_test(drains_without_losses),
      cmocka_unit_test(queues_are_not_lost),
      cmocka_unit_test(grace_ends),
      cmocka_unit_test(idle_connections_are_cheap),
      cmocka_unit_test(too_many_connections),
      cmocka_unit_test(too_many_connections_of_one_address),
      cmocka_unit_test(addresses_that_cannot_be),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
