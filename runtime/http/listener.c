#include "http/connection.h"
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

#define BACKLOG 4096 /* while a daemon is restarted, all who call wait here; net.core.somaxconn may allow fewer */
#define ACCEPTS_PER_TURN 64
#define COMPLAIN_MS 10000
#define RETRY_MS 100 /* after running out of descriptors */

typedef struct listener {
  uv_poll_t poll;
  loop_timer retry;
  int descriptor;
  uint16_t port;
  bool open, secure, redirects, held;
  bool kept; /* somebody else holds the socket, too */
  uint64_t complained_ms,
      crowded_ms; /* when it was last told that descriptors are short, that there are too many connections */
} listener;

/* The server's own, and the one that redirects to it. */
static listener listeners[HTTP_LISTENERS] = {{.descriptor = -1}, {.descriptor = -1}};

uint16_t http_port(void) { return listeners[HTTP_OWN].port; }
uint16_t http_redirect_port(void) { return listeners[HTTP_REDIRECT].port; }
int http_listener(int which) { return listeners[which].open ? listeners[which].descriptor : -1; }
void http_listener_kept(int which) { listeners[which].kept = true; }

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

/* A client beyond the limit is told so: waiting in the backlog it would only time out. On TLS a handshake just for that would cost
 * more than the request. */
static void turn_away(listener *l, int descriptor, unsigned status, const char *address) {
  static const char in_all[] =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n"
      "Content-Length: 85\r\nConnection: close\r\n\r\n"
      "{\"type\":\"urn:purlin:problem:unavailable\",\"title\":\"Too many connections\",\"status\":503}";
  _Static_assert(
      sizeof("{\"type\":\"urn:purlin:problem:unavailable\",\"title\":\"Too many connections\",\"status\":503}") - 1 == 85,
      "Content-Length above");
  static const char of_one[] =
      "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Type: application/problem+json\r\n"
      "Content-Length: 98\r\nConnection: close\r\n\r\n"
      "{\"type\":\"urn:purlin:problem:too-many\",\"title\":\"Too many connections of your address\",\"status\":429}";
  _Static_assert(
      sizeof(
          "{\"type\":\"urn:purlin:problem:too-many\",\"title\":\"Too many connections of your address\",\"status\":429}") -
              1 ==
          98,
      "Content-Length above");
  const char *answer = status == 429 ? of_one : in_all;
  series_turned_away(status == 429 ? "address" : "total");
  uint64_t now_ms = loop_now_ms(loop_at(0));
  if (now_ms >= l->crowded_ms + COMPLAIN_MS || l->crowded_ms == 0) {
    l->crowded_ms = now_ms;
    if (status == 429)
      log_write(PURLIN_WARNING, "http",
                "%s has more connections than server.max_connections_per_address allows; some are turned away", address);
    else
      log_write(PURLIN_WARNING, "http",
                "there are more connections than server.max_connections allows; some are turned away");
  }
  char request[4096];
  /* Reading what has come keeps the close from being a reset that overtakes the answer. */
  (void)!recv(descriptor, request, sizeof request, MSG_DONTWAIT);
  if (!l->secure) (void)!send(descriptor, answer, strlen(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)shutdown(descriptor, SHUT_WR);
  close(descriptor);
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_retry(loop_timer *timer) {
  listener *l = (listener *)((char *)timer - offsetof(listener, retry));
  if (l->open) (void)uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

/* Out of descriptors or memory: others will be given back; until then polling would only burn time. */
static void pause_accepting(listener *l, int error) {
  uint64_t now_ms = loop_now_ms(loop_at(0));
  if (now_ms >= l->complained_ms + COMPLAIN_MS || l->complained_ms == 0) {
    l->complained_ms = now_ms;
    log_write(PURLIN_ERROR, "http", "connections cannot be accepted for now: %s", strerror(error));
  }
  (void)uv_poll_stop(&l->poll);
  loop_timer_start(loop_at(0), &l->retry, RETRY_MS, on_retry);
}

static void accept_some(listener *l, int most) {
  for (int i = 0; i < most && l->open; i++) {
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof peer;
    int descriptor = accept4(l->descriptor, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) pause_accepting(l, errno);
      if (errno == EINTR || errno == ECONNABORTED) continue;
      return;
    }
    char address[INET6_ADDRSTRLEN];
    describe_peer(&peer, address, sizeof address);
    unsigned refusal = http_admit(descriptor, address, l->secure, l->redirects);
    if (refusal != 0) turn_away(l, descriptor, refusal, address);
  }
}

static void on_acceptable(uv_poll_t *poll, int status, int events) {
  (void)events;
  if (status >= 0) accept_some(poll->data, ACCEPTS_PER_TURN);
}

/* ---- Opening --------------------------------------------------------------------------------------------------------------------- */

static purlin_status explain(const char *address, uint16_t port, int error, buffer *why) {
  if (error == EADDRINUSE) {
    buffer_format(why, "port %u on %s is in use by another program", port, address);
    return PURLIN_CONFLICT;
  }
  if (error == EACCES) buffer_format(why, "port %u on %s needs privileges that this process does not have", port, address);
  else if (error == EADDRNOTAVAIL) buffer_format(why, "this machine does not have the address %s", address);
  else buffer_format(why, "cannot listen on port %u of %s: %s", port, address, strerror(error));
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

static purlin_status open_address(listener *l, const char *address, uint16_t number, buffer *why) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
  struct addrinfo *info = NULL;
  char port[8];
  snprintf(port, sizeof port, "%u", number);
  int failed = getaddrinfo(address, port, &hints, &info);
  if (failed != 0) {
    buffer_format(why, "the address %s to listen on: %s", address, gai_strerror(failed));
    return PURLIN_INVALID;
  }
  l->descriptor = open_socket(info);
  int error = errno;
  freeaddrinfo(info);
  return l->descriptor < 0 ? explain(address, number, error, why) : PURLIN_OK;
}

/* Whether one of the addresses that a name stands for is where the socket listens. */
static bool listens_at(const struct sockaddr_storage *own, const struct addrinfo *info) {
  for (; info; info = info->ai_next) {
    if (info->ai_family != own->ss_family) continue;
    if (own->ss_family == AF_INET && ((const struct sockaddr_in *)own)->sin_addr.s_addr ==
                                         ((const struct sockaddr_in *)(const void *)info->ai_addr)->sin_addr.s_addr)
      return true;
    if (own->ss_family == AF_INET6 &&
        IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)own)->sin6_addr,
                           &((const struct sockaddr_in6 *)(const void *)info->ai_addr)->sin6_addr))
      return true;
  }
  return false;
}

bool http_listener_fits(int descriptor, const char *address, uint16_t port) {
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
  struct sockaddr_storage own = {0};
  socklen_t size = sizeof own;
  struct addrinfo *info = NULL;
  if (port != 0 && port_of(descriptor) != port) return false;
  if (getsockname(descriptor, (struct sockaddr *)&own, &size) != 0 || getaddrinfo(address, NULL, &hints, &info) != 0)
    return false;
  bool fits = listens_at(&own, info);
  freeaddrinfo(info);
  return fits;
}

/* Connections that came before, and those that come while no daemon runs, wait in the socket's queue. */
static void take_over(listener *l, int descriptor) {
  const int yes = 1;
  (void)setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  l->descriptor = descriptor;
  l->kept = true;
}

static purlin_status begin(listener *l, buffer *why) {
  l->port = port_of(l->descriptor);
  l->open = true;
  l->poll.data = l;
  if (uv_poll_init(loop_uv(loop_at(0)), &l->poll, l->descriptor) == 0 &&
      (l->held || uv_poll_start(&l->poll, UV_READABLE, on_acceptable) == 0))
    return PURLIN_OK;
  close(l->descriptor);
  l->open = false;
  buffer_text(why, "the event loop does not take the listening socket");
  return PURLIN_UNAVAILABLE;
}

static purlin_status open_or_take(listener *l, const http_options *options, int which, uint16_t port, buffer *why) {
  if (options->passed[which] < 0) return open_address(l, options->address, port, why);
  take_over(l, options->passed[which]);
  return PURLIN_OK;
}

purlin_status listener_start(const http_options *options, buffer *why) {
  listener *own = &listeners[HTTP_OWN], *other = &listeners[HTTP_REDIRECT];
  *own = (listener){.descriptor = -1, .secure = options->tls, .held = options->held};
  *other = (listener){.descriptor = -1, .redirects = true, .held = options->held};
  purlin_status status = open_or_take(own, options, HTTP_OWN, options->port, why);
  if (status == PURLIN_OK) status = begin(own, why);
  if (status != PURLIN_OK || !options->tls || options->redirect_port < 0) return status;
  status = open_or_take(other, options, HTTP_REDIRECT, (uint16_t)options->redirect_port, why);
  if (status == PURLIN_OK) status = begin(other, why);
  if (status != PURLIN_OK) listener_stop();
  return status;
}

void http_accept(void) {
  for (size_t i = 0; i < HTTP_LISTENERS; i++) {
    listener *l = &listeners[i];
    if (l->open && l->held && uv_poll_start(&l->poll, UV_READABLE, on_acceptable) != 0)
      log_write(PURLIN_ERROR, "http", "the event loop does not take the listening socket");
    l->held = false;
  }
}

void listener_stop(void) {
  for (size_t i = 0; i < sizeof listeners / sizeof listeners[0]; i++) {
    listener *l = &listeners[i];
    if (!l->open) continue;
    if (!l->kept) accept_some(l, 2 * BACKLOG); /* closing resets those that wait */
    loop_timer_stop(&l->retry);
    (void)uv_poll_stop(&l->poll);
    l->open = false;
    close(l->descriptor);
    l->descriptor = -1;
    uv_close((uv_handle_t *)&l->poll, NULL);
  }
}
