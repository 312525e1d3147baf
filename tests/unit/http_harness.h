/* http_harness.h: a real server on loopback, its loops on threads of their own, and a plain blocking client for it. */
#ifndef PURLIN_TESTS_HTTP_HARNESS_H
#define PURLIN_TESTS_HTTP_HARNESS_H

#include "core/buffer.h"
#include "http/server.h"
#include "loop/context.h"
#include "loop/loop.h"
#include "observe/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- The server -------------------------------------------------------------------------------------------------------------- */

typedef purlin_status handler(purlin_ctx *ctx, purlin_request *request);
typedef struct test_route {
  const char *http;
  handler *run;
  uint64_t max_body;
  uint32_t timeout_ms;
} test_route;

static struct {
  http_options options;
  size_t loops;
  const test_route *routes;
  size_t route_count;
  http_target *targets;
  http_gate *gate;
  pthread_t thread;
  sem_t started;
  purlin_status status;
  uint32_t grace_ms;
  atomic_bool drained;
  loop_post_item drain;
} test_server;

static purlin_status run_route(purlin_ctx *ctx, purlin_request *request, const http_target *target) {
  const test_route *route = target->argument;
  return route->run(ctx, request);
}

static http_router *test_router(void) {
  http_router *router = http_router_create();
  buffer why = {0};
  for (size_t i = 0; i < test_server.route_count; i++) {
    const test_route *route = &test_server.routes[i];
    test_server.targets[i] = (http_target){.name = route->http,
                                           .plugin = "test",
                                           .permission = "public",
                                           .handle = run_route,
                                           .argument = route,
                                           .max_body = route->max_body,
                                           .timeout_ms = route->timeout_ms};
    if (http_router_add(router, route->http, &test_server.targets[i], &why) != PURLIN_OK) abort();
  }
  buffer_free(&why);
  return router;
}

static void *run_server(void *argument) {
  (void)argument;
  buffer why = {0};
  test_server.status = loops_create(test_server.loops);
  if (test_server.status == PURLIN_OK) {
    http_router *router = test_router();
    http_set_router(router);
    http_router_release(router);
    http_set_gate(test_server.gate);
    test_server.status = http_start(&test_server.options, &why);
  }
  if (test_server.status != PURLIN_OK) fprintf(stderr, "%s\n", buffer_end(&why));
  buffer_free(&why);
  sem_post(&test_server.started);
  if (test_server.status != PURLIN_OK) return NULL;
  loops_run();
  loops_destroy();
  return NULL;
}

static http_options test_options(void) {
  http_options options;
  http_options_default(&options);
  options.port = 0;
  return options;
}

static void server_begin(const http_options *options, size_t loops, const test_route *routes, size_t count) {
  if (test_server.targets == NULL && metrics_register_own() != PURLIN_OK) abort();
  free(test_server.targets);
  test_server.options = *options;
  test_server.loops = loops;
  test_server.routes = routes;
  test_server.route_count = count;
  test_server.targets = calloc(count, sizeof *test_server.targets);
  atomic_store(&test_server.drained, false);
  if (sem_init(&test_server.started, 0, 0) != 0 || pthread_create(&test_server.thread, NULL, run_server, NULL) != 0)
    abort();
  sem_wait(&test_server.started);
  assert_int_equal(test_server.status, PURLIN_OK);
}

static void on_drained(void *argument) {
  (void)argument;
  atomic_store(&test_server.drained, true);
  loops_stop();
}

static void begin_drain(void *argument) {
  (void)argument;
  http_drain(test_server.grace_ms, on_drained, NULL);
}

static void server_drain(uint32_t grace_ms) {
  test_server.grace_ms = grace_ms;
  test_server.drain = (loop_post_item){.call = begin_drain};
  loop_post(loop_at(0), &test_server.drain);
}

static void server_join(void) {
  pthread_join(test_server.thread, NULL);
  sem_destroy(&test_server.started);
  assert_true(atomic_load(&test_server.drained));
}

PURLIN_MAYBE_UNUSED static void server_end(void) {
  server_drain(3000);
  server_join();
}

/* ---- The client ---------------------------------------------------------------------------------------------------------------- */

PURLIN_MAYBE_UNUSED static uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static const char *dial_from = "127.0.0.1"; /* where connections come from */

static int dial_small(int receive_bytes) {
  struct sockaddr_in own = {.sin_family = AF_INET};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(http_port()), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  const struct timeval patience = {.tv_sec = 20};
  const int yes = 1;
  assert_true(fd >= 0);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
  assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience), 0);
  assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes), 0);
  if (receive_bytes > 0) assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes), 0);
  assert_int_equal(inet_pton(AF_INET, dial_from, &own.sin_addr), 1);
  if (strcmp(dial_from, "127.0.0.1") != 0) assert_int_equal(bind(fd, (struct sockaddr *)&own, sizeof own), 0);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) fail_msg("connect: %s", strerror(errno));
  return fd;
}

static int dial(void) { return dial_small(0); }

static void send_bytes(int fd, const void *data, size_t size) {
  const char *at = data;
  while (size > 0) {
    ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
    if (sent < 0) fail_msg("send: %s", strerror(errno));
    at += sent;
    size -= (size_t)sent;
  }
}

/* For a thread beside the one that reads: sends all, or stops when the server has closed. */
typedef struct sending {
  int fd;
  const char *data;
  size_t size;
} sending;
PURLIN_MAYBE_UNUSED static void *send_aside(void *argument) {
  const sending *s = argument;
  for (size_t at = 0; at < s->size;) {
    ssize_t sent = send(s->fd, s->data + at, s->size - at, MSG_NOSIGNAL);
    if (sent <= 0) break;
    at += (size_t)sent;
  }
  return NULL;
}

PURLIN_MAYBE_UNUSED static void send_text(int fd, const char *text) { send_bytes(fd, text, strlen(text)); }

/* What comes from one connection, kept between answers. */
typedef struct client {
  int fd;
  buffer in;
  bool closed, reset;
} client;

static bool receive(client *c) {
  if (!buffer_reserve(&c->in, 65536)) abort();
  ssize_t got = recv(c->fd, c->in.data + c->in.size, 65536, 0);
  if (got > 0) {
    c->in.size += (size_t)got;
    return true;
  }
  if (got < 0 && errno == EAGAIN) fail_msg("nothing came for 20 s; so far: %s", buffer_end(&c->in));
  c->closed = true;
  c->reset = got < 0;
  return false;
}

typedef struct answer {
  unsigned status;
  char *head, *body;
  size_t size, room;
  bool whole;
} answer;

static void answer_free(answer *a) {
  free(a->head);
  free(a->body);
  *a = (answer){0};
}

/* The value of a header, NULL when absent; of the last answer asked, in one static place. */
static const char *header_of(const answer *a, const char *name) {
  static char value[512];
  size_t size = strlen(name);
  for (const char *line = strstr(a->head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
    line += 2;
    if (strncasecmp(line, name, size) != 0 || line[size] != ':') continue;
    const char *start = line + size + 1 + strspn(line + size + 1, " ");
    snprintf(value, sizeof value, "%.*s", (int)strcspn(start, "\r"), start);
    return value;
  }
  return NULL;
}

static bool receive_until(client *c, size_t size) {
  while (c->in.size < size)
    if (!receive(c)) return false;
  return true;
}

static void append_body(answer *a, const char *data, size_t size) {
  if (a->body == NULL || a->size + size >= a->room) {
    a->room = (a->size + size + 1) * 2;
    a->body = realloc(a->body, a->room);
    if (a->body == NULL) abort();
  }
  memcpy(a->body + a->size, data, size);
  a->size += size;
  a->body[a->size] = '\0';
}

static bool receive_line(client *c, size_t *size) {
  const char *end;
  while ((end = c->in.size > 0 ? memmem(c->in.data, c->in.size, "\r\n", 2) : NULL) == NULL)
    if (!receive(c)) return false;
  *size = (size_t)(end - c->in.data) + 2;
  return true;
}

static bool receive_chunk(client *c, answer *a, bool *last) {
  size_t line;
  if (!receive_line(c, &line)) return false;
  size_t size = strtoul(buffer_end(&c->in), NULL, 16);
  if (!receive_until(c, line + size + 2)) return false;
  append_body(a, c->in.data + line, size);
  assert_memory_equal(c->in.data + line + size, "\r\n", 2);
  buffer_consume(&c->in, line + size + 2);
  *last = size == 0;
  return true;
}

static bool receive_body(client *c, answer *a, bool head_only) {
  append_body(a, "", 0);
  if (head_only || a->status == 204 || a->status == 304 || a->status / 100 == 1) return true;
  const char *length = header_of(a, "content-length");
  if (length != NULL) {
    size_t size = strtoul(length, NULL, 10);
    bool whole = receive_until(c, size);
    size_t there = c->in.size < size ? c->in.size : size;
    append_body(a, c->in.data, there);
    buffer_consume(&c->in, there);
    return whole;
  }
  if (header_of(a, "transfer-encoding") != NULL) {
    bool last = false;
    while (!last)
      if (!receive_chunk(c, a, &last)) return false;
    return true;
  }
  while (receive(c)) {}
  append_body(a, c->in.data, c->in.size);
  buffer_clear(&c->in);
  return !c->reset;
}

/* The next answer; status 0 when the connection ended before one began. */
static answer next_answer(client *c, bool head_only) {
  answer a = {0};
  const char *end;
  while ((end = c->in.size > 0 ? memmem(c->in.data, c->in.size, "\r\n\r\n", 4) : NULL) == NULL)
    if (!receive(c)) return a;
  size_t size = (size_t)(end - c->in.data) + 4;
  a.head = strndup(c->in.data, size - 2);
  assert_int_equal(strncmp(a.head, "HTTP/1.1 ", 9), 0);
  a.status = (unsigned)strtoul(a.head + 9, NULL, 10);
  buffer_consume(&c->in, size);
  a.whole = receive_body(c, &a, head_only);
  return a;
}

PURLIN_MAYBE_UNUSED static bool at_end(client *c) { return c->in.size == 0 && (c->closed || !receive(c)); }

static void hang_up(client *c) {
  close(c->fd);
  buffer_free(&c->in);
}

/* One request on a connection of its own; asserts the status. */
PURLIN_MAYBE_UNUSED static answer ask(unsigned status, const char *text) {
  client c = {.fd = dial()};
  send_text(c.fd, text);
  answer a = next_answer(&c, strncmp(text, "HEAD ", 5) == 0);
  if (a.status != status) fail_msg("%u, not %u, to: %s\n%s", a.status, status, text, a.body != NULL ? a.body : "");
  hang_up(&c);
  return a;
}

PURLIN_MAYBE_UNUSED static void ask_only(unsigned status, const char *text) {
  answer a = ask(status, text);
  answer_free(&a);
}

PURLIN_MAYBE_UNUSED static void pause_ms(long ms) {
  const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  nanosleep(&time, NULL);
}

#endif
