/* libcurl on our event loop: its sockets are uv_poll handles, its timer is a loop_timer.
 *
 * A poll handle must be gone before its descriptor is closed, or a later descriptor of the same number inherits it; and
 * libcurl may tell us to forget a socket after it has closed it. So sockets are opened and closed by our callbacks: a poll
 * handle lives exactly as long as its socket, and is only stopped in between. The resolver's sockets are not opened by us;
 * libcurl announces their removal before it closes them. */
#include "client/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IDLE_CONNECTIONS 256L /* per loop, all origins */

typedef struct poll {
  uv_poll_t handle;
  engine *engine;
  curl_socket_t descriptor;
  bool ours; /* closed with its socket, not when libcurl forgets it */
} poll;

static const char engine_key;

/* ---- Driving ------------------------------------------------------------------------------------------------------------------- */

static void collect(engine *e) {
  int left;
  for (CURLMsg *message; e->multi != NULL && (message = curl_multi_info_read(e->multi, &left)) != NULL;) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result;
    char *call = NULL;
    if (curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call) != CURLE_OK || call == NULL) continue;
    flight_done((client_call *)(void *)call, code); /* `message` is not valid any more */
  }
}

static void drive(engine *e, curl_socket_t descriptor, int events) {
  int running;
  if (e->multi == NULL) return;
  (void)curl_multi_socket_action(e->multi, descriptor, events, &running); /* errors come with the transfers they concern */
  collect(e);
}

static void on_poll(uv_poll_t *handle, int status, int events) {
  const poll *p = handle->data;
  int flags = status < 0 ? CURL_CSELECT_ERR : 0;
  if (events & UV_READABLE) flags |= CURL_CSELECT_IN;
  if (events & UV_WRITABLE) flags |= CURL_CSELECT_OUT;
  drive(p->engine, p->descriptor, flags);
}

static void on_timer(loop_timer *timer) {
  drive((engine *)(void *)((char *)timer - offsetof(engine, timer)), CURL_SOCKET_TIMEOUT, 0);
}

static void on_kick(void *argument) {
  engine *e = argument;
  e->kick_queued = false;
  if (!e->kick_wanted) return;
  e->kick_wanted = false;
  drive(e, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl must not be called from here, so "at once" is the end of this turn of the loop. */
static int on_timer_wanted(CURLM *multi, long milliseconds, void *argument) {
  (void)multi;
  engine *e = argument;
  if (loop_timer_active(&e->timer)) loop_timer_stop(&e->timer);
  e->kick_wanted = milliseconds == 0;
  if (milliseconds > 0) loop_timer_start(e->home, &e->timer, (uint64_t)milliseconds, on_timer);
  if (e->kick_wanted && !e->kick_queued) {
    e->kick_queued = true;
    loop_later(e->home, &e->kick);
  }
  return 0;
}

/* ---- Sockets --------------------------------------------------------------------------------------------------------------------- */

static poll *poll_find(const engine *e, curl_socket_t descriptor) {
  return (size_t)descriptor < e->poll_capacity ? e->polls[descriptor] : NULL;
}

static bool poll_room(engine *e, curl_socket_t descriptor) {
  size_t need = (size_t)descriptor + 1;
  if (need <= e->poll_capacity) return true;
  size_t capacity = need + need / 2 + 64;
  poll **polls = realloc(e->polls, capacity * sizeof(poll *));
  if (polls == NULL) return false;
  memset(polls + e->poll_capacity, 0, (capacity - e->poll_capacity) * sizeof(poll *));
  e->polls = polls;
  e->poll_capacity = capacity;
  return true;
}

static poll *poll_make(engine *e, curl_socket_t descriptor, bool ours) {
  if (!poll_room(e, descriptor)) return NULL;
  poll *p = calloc(1, sizeof *p);
  if (p == NULL) return NULL;
  if (uv_poll_init_socket(loop_uv(e->home), &p->handle, descriptor) != 0) {
    free(p);
    return NULL;
  }
  p->handle.data = p;
  p->engine = e;
  p->descriptor = descriptor;
  p->ours = ours;
  e->polls[descriptor] = p;
  return p;
}

static void poll_free(uv_handle_t *handle) { free(handle->data); }

static void poll_close(poll *p) {
  p->engine->polls[p->descriptor] = NULL;
  uv_close((uv_handle_t *)&p->handle, poll_free);
}

static int on_socket(CURL *easy, curl_socket_t descriptor, int what, void *argument, void *unused) {
  (void)easy, (void)unused;
  engine *e = argument;
  poll *p = poll_find(e, descriptor);
  if (what == CURL_POLL_REMOVE) {
    if (p == NULL) return 0; /* closed already */
    (void)uv_poll_stop(&p->handle);
    if (!p->ours) poll_close(p);
    return 0;
  }
  if (p == NULL) p = poll_make(e, descriptor, false);
  if (p == NULL) return -1;
  int events = 0;
  if (what & CURL_POLL_IN) events |= UV_READABLE;
  if (what & CURL_POLL_OUT) events |= UV_WRITABLE;
  return uv_poll_start(&p->handle, events, on_poll) == 0 ? 0 : -1;
}

/* Each address that a name has is asked for here, by the call that opens the connection; those that reuse it got it because they want
 * the same host and port. */
static curl_socket_t on_open(void *argument, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)purpose;
  client_call *call = argument;
  if (!request_permits(call, &address->addr, address->addrlen)) {
    call->forbidden = true;
    return CURL_SOCKET_BAD;
  }
  curl_socket_t descriptor = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, address->protocol);
  if (descriptor < 0) return CURL_SOCKET_BAD;
  call->permitted = true;
  if (poll_make(call->engine, descriptor, true) != NULL) return descriptor;
  (void)close(descriptor);
  return CURL_SOCKET_BAD;
}

static int on_close(void *argument, curl_socket_t descriptor) {
  poll *p = poll_find(argument, descriptor);
  if (p != NULL) poll_close(p);
  return close(descriptor);
}

/* A connection may outlive the call that opened it, so it is closed by the engine. */
bool engine_own_sockets(client_call *call) {
  CURL *easy = call->easy;
  return curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close) == CURLE_OK &&
         curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->engine) == CURLE_OK;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------------------ */

static bool engine_begin(engine *e, loop *l) {
  CURLM *multi = curl_multi_init();
  if (multi == NULL) return false;
  e->home = l;
  e->kick.call = on_kick;
  e->kick.argument = e;
  bool set = curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket) == CURLM_OK &&
             curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, e) == CURLM_OK &&
             curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted) == CURLM_OK &&
             curl_multi_setopt(multi, CURLMOPT_TIMERDATA, e) == CURLM_OK &&
             curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS) == CURLM_OK;
  if (!set) {
    (void)curl_multi_cleanup(multi);
    return false;
  }
  e->multi = multi;
  return true;
}

engine *engine_of(loop *l) {
  engine *e = loop_local(l, &engine_key, sizeof *e);
  if (e == NULL || e->stopped) return NULL;
  return e->multi != NULL || engine_begin(e, l) ? e : NULL;
}

CURL *engine_take_easy(engine *e) { return e->idle_count > 0 ? e->idle[--e->idle_count] : curl_easy_init(); }

/* libcurl 7.88 keeps the buffer of a handle whose name did not resolve, and then refuses to set its size: only what has worked is used
 * again. */
void engine_give_easy(engine *e, CURL *easy, bool answered) {
  if (!answered || e->idle_count == CLIENT_IDLE_HANDLES || e->stopped) {
    curl_easy_cleanup(easy);
    return;
  }
  curl_easy_reset(easy);
  e->idle[e->idle_count++] = easy;
}

void engine_stop(loop *l) {
  engine *e = loop_local(l, &engine_key, sizeof *e);
  if (e == NULL || e->stopped) return;
  e->stopped = true;
  flight_stop_all(e);
  while (e->idle_count > 0) curl_easy_cleanup(e->idle[--e->idle_count]);
  if (e->multi != NULL) (void)curl_multi_cleanup(e->multi); /* closes idle connections, by on_close */
  e->multi = NULL;
  if (loop_timer_active(&e->timer)) loop_timer_stop(&e->timer);
  e->kick_wanted = false;
  free(e->polls);
  e->polls = NULL;
  e->poll_capacity = 0;
}
