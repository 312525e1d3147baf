#include "http/listener.h"

#include "loop/loop.h"
#include "observe/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024
#define ACCEPTS_PER_TURN 64
#define RETRY_MS 100 /* after running out of descriptors */

static struct {
  uv_poll_t poll;
  loop_timer retry;
  int descriptor;
  uint16_t port;
  bool open;
  uint64_t complained_ms;
} listener;

uint16_t http_port(void) { return listener.port; }

/* ---- Accepting ------------------------------------------------------------------------------------------------------------------- */

static void describe_peer(const struct sockaddr_storage *peer, char *out, size_t size) {
  const void *address = NULL;
  if (peer->ss_family == AF_INET) address = &((const struct sockaddr_in *)peer)->sin_addr;
  else if (peer->ss_family == AF_INET6) {
    const struct in6_addr *six = &((const struct sockaddr_in6 *)peer)->sin6_addr;
    address = six;
    if (IN6_IS_ADDR_V4MAPPED(six)) {
      (void)inet_ntop(AF_INET, six->s6_addr + 12, out, (socklen_t)size);
      return;
    }
  }
  if (address == NULL || inet_ntop(peer->ss_family, address, out, (socklen_t)size) == NULL) out[0] = '\0';
}

/* A client beyond the limit is told so: waiting in the backlog it would only time out. */
static void turn_away(int descriptor) {
  static const char answer[] =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n"
      "Content-Length: 85\r\nConnection: close\r\n\r\n"
      "{\"type\":\"urn:purlin:problem:unavailable\",\"title\":\"Too many connections\",\"status\":503}";
  _Static_assert(
      sizeof("{\"type\":\"urn:purlin:problem:unavailable\",\"title\":\"Too many connections\",\"status\":503}") - 1 == 85,
      "Content-Length above");
  char request[4096];
  /* Reading what has come keeps the close from being a reset that overtakes the answer. */
  (void)!recv(descriptor, request, sizeof request, MSG_DONTWAIT);
  (void)!send(descriptor, answer, sizeof answer - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)shutdown(descriptor, SHUT_WR);
  close(descriptor);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_retry(loop_timer *timer) {
  (void)timer;
  if (listener.open) (void)uv_poll_start(&listener.poll, UV_READABLE, on_acceptable);
}

/* Out of descriptors or memory: others will be given back; until then polling would only burn time. */
static void pause_accepting(int error) {
  loop *l = loop_at(0);
  uint64_t now_ms = loop_now_ms(l);
  if (now_ms >= listener.complained_ms + 10000 || listener.complained_ms == 0) {
    listener.complained_ms = now_ms;
    log_write(PURLIN_ERROR, "http", "connections cannot be accepted for now: %s", strerror(error));
  }
  (void)uv_poll_stop(&listener.poll);
  loop_timer_start(l, &listener.retry, RETRY_MS, on_retry);
}

static void on_acceptable(uv_poll_t *poll, int status, int events) {
  (void)poll;
  (void)events;
  if (status < 0) return;
  for (int i = 0; i < ACCEPTS_PER_TURN && listener.open; i++) {
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    int descriptor = accept4(listener.descriptor, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_accepting(errno);
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    char address[INET6_ADDRSTRLEN];
    describe_peer(&peer, address, sizeof address);
    if (!http_admit(descriptor, address)) turn_away(descriptor);
  }
}

/* ---- Opening --------------------------------------------------------------------------------------------------------------------- */

static purlin_status explain(const http_options *options, int error, buffer *why) {
  if (error == EADDRINUSE) {
    buffer_format(why, "port %u on %s is in use by another program", options->port, options->address);
    return PURLIN_CONFLICT;
  }
  if (error == EACCES)
    buffer_format(why, "port %u on %s needs privileges that this process does not have", options->port, options->address);
  else if (error == EADDRNOTAVAIL) buffer_format(why, "this machine does not have the address %s", options->address);
  else buffer_format(why, "cannot listen on port %u of %s: %s", options->port, options->address, strerror(error));
  return PURLIN_INVALID;
}

static int open_socket(const struct addrinfo *info) {
  int descriptor = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return -1;
  const int yes = 1, no = 0;
  bool good = setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
              /* accepted sockets inherit it, which saves a system call each */
              setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0 &&
              (info->ai_family != AF_INET6 || setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) == 0) &&
              bind(descriptor, info->ai_addr, info->ai_addrlen) == 0 && listen(descriptor, BACKLOG) == 0;
  if (good) return descriptor;
  int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

static uint16_t port_of(int descriptor) {
  union {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
  } own;
  socklen_t size = sizeof own;
  memset(&own, 0, sizeof own);
  if (getsockname(descriptor, &own.any, &size) != 0) return 0;
  return ntohs(own.any.sa_family == AF_INET6 ? own.six.sin6_port : own.four.sin_port);
}

static purlin_status open_address(const http_options *options, buffer *why) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *info = NULL;
  char port[8];
  snprintf(port, sizeof port, "%u", options->port);
  int failed = getaddrinfo(options->address, port, &hints, &info);
  if (failed != 0) {
    buffer_format(why, "the address %s to listen on: %s", options->address, gai_strerror(failed));
    return PURLIN_INVALID;
  }
  listener.descriptor = open_socket(info);
  int error = errno;
  freeaddrinfo(info);
  return listener.descriptor < 0 ? explain(options, error, why) : PURLIN_OK;
}

/* Connections that came before, and those that come while no daemon runs, wait in the socket's queue. */
static void take_over(int descriptor) {
  const int yes = 1;
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  listener.descriptor = descriptor;
}

purlin_status listener_start(const http_options *options, buffer *why) {
  purlin_status status = PURLIN_OK;
  if (options->listener >= 0) take_over(options->listener);
  else status = open_address(options, why);
  if (status != PURLIN_OK) return status;
  listener.port = port_of(listener.descriptor);
  listener.open = true;
  if (uv_poll_init(loop_uv(loop_at(0)), &listener.poll, listener.descriptor) == 0 &&
      uv_poll_start(&listener.poll, UV_READABLE, on_acceptable) == 0)
    return PURLIN_OK;
  close(listener.descriptor);
  listener.open = false;
  buffer_text(why, "the event loop does not take the listening socket");
  return PURLIN_UNAVAILABLE;
}

static void on_closed(uv_handle_t *handle) {
  (void)handle;
  close(listener.descriptor);
  listener.descriptor = -1;
}

void listener_stop(void) {
  if (!listener.open) return;
  listener.open = false;
  loop_timer_stop(&listener.retry);
  uv_close((uv_handle_t *)&listener.poll, on_closed);
}
