/* scripted_server.h: a small HTTP/1.1 server on a thread of its own that does what the path says, well or badly. For tests
 * of what asks others. One per test program; 127.0.0.1, a free port.
 *
 *   /ok             200 "hello"                         /echo           200, the request's head and body as it came
 *   /status/CODE    that status                         /again/N/KEY    N times 503 with Retry-After: 1, then 200
 *   /fails/N/KEY    N times 503, then 200               /slow           no answer
 *   /delay/MS       200 after so long                   /drop           closes the connection without an answer
 *   /half           closes it within the body           /chunked        200, chunked "hello world"
 *   /size/BYTES     200, so many bytes                  /flood/BYTES    the same, chunked
 *   /nonsense       no HTTP                             /hints          103, then 200
 *   /redirect       302 to /ok                          /retry/SECONDS  503 with that Retry-After */
#ifndef PURLIN_TESTS_SCRIPTED_SERVER_H
#define PURLIN_TESTS_SCRIPTED_SERVER_H

#include "core/buffer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVER_MOST_CONNECTIONS 2000
#define SERVER_MOST_PATHS 256

typedef struct server_connection {
  int descriptor;
  buffer in, out;
  bool close_after;
  uint64_t answer_at_ms; /* 0: now */
} server_connection;

static struct {
  pthread_t thread;
  pthread_mutex_t lock;
  int listener, stop[2];
  unsigned port;
  server_connection connections[SERVER_MOST_CONNECTIONS];
  size_t count;
  struct {
    char path[128];
    unsigned count;
  } paths[SERVER_MOST_PATHS]; /* under the lock, as the two below */
  unsigned accepted, most_at_once;
} server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t server_now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* How many requests came for this path; adds `more`. */
static unsigned server_requests(const char *path, unsigned more) {
  unsigned count = 0;
  pthread_mutex_lock(&server.lock);
  for (size_t i = 0; i < SERVER_MOST_PATHS; i++) {
    if (server.paths[i].count == 0 && more > 0)
      (void)snprintf(server.paths[i].path, sizeof server.paths[i].path, "%s", path);
    if (strcmp(server.paths[i].path, path) != 0) continue;
    count = server.paths[i].count += more;
    break;
  }
  pthread_mutex_unlock(&server.lock);
  return count;
}

PURLIN_MAYBE_UNUSED static unsigned server_accepted(void) {
  pthread_mutex_lock(&server.lock);
  unsigned accepted = server.accepted;
  pthread_mutex_unlock(&server.lock);
  return accepted;
}

PURLIN_MAYBE_UNUSED static unsigned server_most_at_once(void) {
  pthread_mutex_lock(&server.lock);
  unsigned most = server.most_at_once;
  server.most_at_once = 0;
  pthread_mutex_unlock(&server.lock);
  return most;
}

static void server_plain(server_connection *c, unsigned status, const char *extra, const char *body) {
  buffer_format(&c->out, "HTTP/1.1 %u Whatever\r\nContent-Type: text/plain\r\n%sContent-Length: %zu\r\n\r\n%s", status,
                extra, strlen(body), body);
}

static char server_byte(size_t at) { return (char)('a' + (at * 7 + at / 1000) % 26); }

static void server_bytes(server_connection *c, size_t size, bool chunked) {
  static char piece[65536];
  if (chunked) {
    buffer_text(&c->out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  } else {
    buffer_format(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
  }
  for (size_t at = 0; at < size;) {
    size_t now = size - at < sizeof piece ? size - at : sizeof piece;
    for (size_t i = 0; i < now; i++) piece[i] = server_byte(at + i);
    if (chunked) buffer_format(&c->out, "%zx\r\n", now);
    buffer_add(&c->out, piece, now);
    if (chunked) buffer_text(&c->out, "\r\n");
    at += now;
  }
  if (chunked) buffer_text(&c->out, "0\r\n\r\n");
}

static bool server_path_number(const char *path, const char *prefix, unsigned *number) {
  size_t size = strlen(prefix);
  if (strncmp(path, prefix, size) != 0) return false;
  *number = (unsigned)strtoul(path + size, NULL, 10);
  return true;
}

static void server_script(server_connection *c, const char *path, size_t request_size) {
  unsigned n = 0, seen = server_requests(path, 1);
  char retry[64] = "";
  if (strcmp(path, "/ok") == 0) server_plain(c, 200, "", "hello");
  else if (strcmp(path, "/echo") == 0) {
    buffer_format(&c->out, "HTTP/1.1 200 OK\r\nContent-Type: message/http\r\nContent-Length: %zu\r\n\r\n", request_size);
    buffer_add(&c->out, c->in.data, request_size);
  } else if (server_path_number(path, "/status/", &n)) server_plain(c, n, "", "as asked");
  else if (server_path_number(path, "/again/", &n)) server_plain(c, seen > n ? 200 : 503, "Retry-After: 1\r\n", "maybe");
  else if (server_path_number(path, "/fails/", &n)) server_plain(c, seen > n ? 200 : 503, "", "maybe");
  else if (server_path_number(path, "/retry/", &n)) {
    (void)snprintf(retry, sizeof retry, "Retry-After: %u\r\n", n);
    server_plain(c, 503, retry, "later");
  } else if (server_path_number(path, "/delay/", &n)) {
    c->answer_at_ms = server_now_ms() + n;
    server_plain(c, 200, "", "late");
  } else if (server_path_number(path, "/size/", &n)) server_bytes(c, n, false);
  else if (server_path_number(path, "/flood/", &n)) server_bytes(c, n, true);
  else if (strcmp(path, "/drop") == 0) c->close_after = true;
  else if (strcmp(path, "/half") == 0) {
    buffer_text(&c->out, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    c->close_after = true;
  } else if (strcmp(path, "/chunked") == 0) {
    buffer_text(&c->out, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
  } else if (strcmp(path, "/nonsense") == 0) {
    buffer_text(&c->out, "SSH-2.0-whatever\r\nreally\r\n\r\n");
    c->close_after = true;
  } else if (strcmp(path, "/hints") == 0) {
    buffer_text(&c->out, "HTTP/1.1 103 Early Hints\r\nLocation: /wrong\r\n\r\n");
    server_plain(c, 200, "", "hello");
  } else if (strcmp(path, "/redirect") == 0) server_plain(c, 302, "Location:  /ok \r\n", "");
  else if (strcmp(path, "/slow") != 0) server_plain(c, 404, "", "no such script");
}

/* Handles one request if it is there as a whole. */
static bool server_take_request(server_connection *c) {
  const char *text = buffer_end(&c->in), *head_end = strstr(text, "\r\n\r\n");
  if (head_end == NULL) return false;
  const char *length = strstr(text, "Content-Length: ");
  size_t head = (size_t)(head_end - text) + 4;
  size_t body = length != NULL && length < head_end ? strtoul(length + 16, NULL, 10) : 0;
  if (c->in.size < head + body) return false;
  char path[128] = "";
  const char *space = strchr(text, ' ');
  size_t size = space != NULL ? strcspn(space + 1, " ") : 0;
  if (size < sizeof path && space != NULL) memcpy(path, space + 1, size);
  bool is_head = strncmp(text, "HEAD ", 5) == 0;
  server_script(c, path, head + body);
  if (is_head && strstr(buffer_end(&c->out), "\r\n\r\n") != NULL) {
    c->out.size = (size_t)(strstr(c->out.data, "\r\n\r\n") - c->out.data) + 4;
  }
  buffer_consume(&c->in, head + body);
  return true;
}

static void server_close(size_t i) {
  server_connection *c = &server.connections[i];
  (void)close(c->descriptor);
  buffer_free(&c->in);
  buffer_free(&c->out);
  *c = server.connections[--server.count];
}

static void server_accept(void) {
  for (;;) {
    int descriptor = accept4(server.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) return;
    if (server.count == SERVER_MOST_CONNECTIONS) {
      (void)close(descriptor);
      return;
    }
    server.connections[server.count++] = (server_connection){.descriptor = descriptor};
    pthread_mutex_lock(&server.lock);
    server.accepted++;
    if (server.count > server.most_at_once) server.most_at_once = (unsigned)server.count;
    pthread_mutex_unlock(&server.lock);
  }
}

/* False: the connection is done. */
static bool server_serve(server_connection *c, short events) {
  static char piece[65536];
  if (events & (POLLIN | POLLHUP | POLLERR)) {
    ssize_t got = recv(c->descriptor, piece, sizeof piece, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return false;
    if (got > 0) buffer_add(&c->in, piece, (size_t)got);
  }
  while (!c->close_after && c->answer_at_ms == 0 && c->in.size > 0 && server_take_request(c)) {}
  if (c->answer_at_ms > server_now_ms()) return true;
  c->answer_at_ms = 0;
  while (c->out.size > 0) {
    ssize_t sent = send(c->descriptor, c->out.data, c->out.size, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN;
    buffer_consume(&c->out, (size_t)sent);
  }
  return !c->close_after;
}

static void *server_run(void *unused) {
  (void)unused;
  static struct pollfd waits[SERVER_MOST_CONNECTIONS + 2];
  for (;;) {
    bool late = false;
    waits[0] = (struct pollfd){.fd = server.stop[0], .events = POLLIN};
    waits[1] = (struct pollfd){.fd = server.listener, .events = POLLIN};
    size_t count = server.count;
    for (size_t i = 0; i < count; i++) {
      const server_connection *c = &server.connections[i];
      bool writes = c->out.size > 0 && c->answer_at_ms == 0;
      late = late || c->answer_at_ms > 0;
      waits[i + 2] = (struct pollfd){.fd = c->descriptor, .events = (short)(writes ? POLLIN | POLLOUT : POLLIN)};
    }
    if (poll(waits, (nfds_t)count + 2, late ? 2 : -1) < 0 && errno != EINTR) return NULL;
    if (waits[0].revents != 0) return NULL;
    for (size_t i = count; i-- > 0;) {
      if (!server_serve(&server.connections[i], waits[i + 2].revents)) server_close(i);
    }
    if (waits[1].revents != 0) server_accept();
  }
}

static bool server_start(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  server.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  bool fine = server.listener >= 0 && bind(server.listener, (struct sockaddr *)&address, sizeof address) == 0 &&
              listen(server.listener, 1024) == 0 && getsockname(server.listener, (struct sockaddr *)&address, &size) == 0 &&
              pipe2(server.stop, O_CLOEXEC) == 0;
  server.port = ntohs(address.sin_port);
  return fine && pthread_create(&server.thread, NULL, server_run, NULL) == 0;
}

static void server_end(void) {
  (void)close(server.stop[1]);
  (void)pthread_join(server.thread, NULL);
  while (server.count > 0) server_close(server.count - 1);
  (void)close(server.listener);
  (void)close(server.stop[0]);
}

#endif
