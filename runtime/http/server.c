/* server.c: options, the router and the gate of the process, and draining. */
#include "http/connection.h"
#include "http/listener.h"

#include "observe/log.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#define DRAIN_LOOK_MS 20

http_options http_settings;

/* What every loop is told in the course of draining, each at most once. */
typedef enum phase { PHASE_DRAIN, PHASE_CLOSE, PHASE_RELEASE, PHASES } phase;

static struct {
  _Atomic(http_gate *) gate;
  pthread_mutex_t router_lock;
  http_router *router;
  atomic_uint generation; /* of the router */
  atomic_bool draining;
  atomic_size_t connections; /* of all loops, from accept to free */
  struct {
    _Alignas(64) atomic_size_t connections;
    loop_post_item posts[PHASES];
  } * loops;
  /* Draining; on loop 0 only. */
  void (*done)(void *argument);
  void *done_argument;
  loop_timer grace;
  atomic_size_t releasing; /* loops that have not let go yet */
  atomic_bool empty_told;
  loop_post_item empty, released;
} server = {.router_lock = PTHREAD_MUTEX_INITIALIZER};

void http_options_default(http_options *options) {
  *options = (http_options){.address = "127.0.0.1",
                            .port = 8080,
                            .passed = {-1, -1},
                            .max_url = 8 * 1024,
                            .max_header_bytes = 32 * 1024,
                            .max_headers = 100,
                            .max_body = 8 * 1024 * 1024,
                            .max_connections = 10000,
                            .max_per_address = 512,
                            .max_pipelined = 64,
                            .header_timeout_ms = 10000,
                            .idle_timeout_ms = 75000,
                            .body_timeout_ms = 20000,
                            .write_timeout_ms = 30000,
                            .request_timeout_ms = 30000,
                            .drain_idle_ms = 300,
                            .stream_life_ms = 600000,
                            .server = "purlin",
                            .redirect_port = -1};
}

http_limits http_settings_limits(void) {
  return (http_limits){http_settings.max_url, http_settings.max_header_bytes, http_settings.max_headers};
}

/* ---- The router and the gate ---------------------------------------------------------------------------------------------------------- */

/* Targets are their adders'; only `series` is ours to set. */
static void give_series(void *to, const char *method, const char *path, const http_target *target) {
  (void)to;
  (void)method;
  (void)path;
  http_target *mine = (http_target *)(uintptr_t)target;
  if (mine->series == NULL) mine->series = series_of_target(mine->name);
}

void http_set_router(http_router *router) {
  http_router_visit(router, give_series, NULL);
  http_router_retain(router);
  pthread_mutex_lock(&server.router_lock);
  http_router *old = server.router;
  server.router = router;
  atomic_fetch_add_explicit(&server.generation, 1, memory_order_release);
  pthread_mutex_unlock(&server.router_lock);
  http_router_release(old);
}

http_router *http_current_router(unsigned *generation) {
  pthread_mutex_lock(&server.router_lock);
  http_router *router = server.router;
  if (router != NULL) http_router_retain(router);
  *generation = atomic_load_explicit(&server.generation, memory_order_relaxed);
  pthread_mutex_unlock(&server.router_lock);
  return router;
}

unsigned http_router_generation(void) { return atomic_load_explicit(&server.generation, memory_order_acquire); }

void http_set_gate(http_gate *gate) { atomic_store_explicit(&server.gate, gate, memory_order_relaxed); }
http_gate *http_current_gate(void) { return atomic_load_explicit(&server.gate, memory_order_relaxed); }

/* ---- Handing out connections ------------------------------------------------------------------------------------------------------------ */

static void open_here(void *argument) { connection_open(argument); }

static size_t least_loaded(void) {
  size_t best = 0, least = SIZE_MAX;
  for (size_t i = 0; i < loop_count(); i++) {
    size_t load = atomic_load_explicit(&server.loops[i].connections, memory_order_relaxed);
    if (load >= least) continue;
    least = load;
    best = i;
  }
  return best;
}

unsigned http_admit(int descriptor, const char *address, bool secure, bool redirects) {
  if (atomic_load_explicit(&server.connections, memory_order_relaxed) >= http_settings.max_connections) return 503;
  http_connection *c = calloc(1, sizeof *c);
  if (c == NULL) return 503;
  if (!crowd_enter(address)) {
    free(c);
    return 429;
  }
  c->accepted = descriptor;
  c->secure = secure;
  c->redirects = redirects;
  snprintf(c->address, sizeof c->address, "%s", address);
  size_t index = least_loaded();
  atomic_fetch_add_explicit(&server.connections, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&server.loops[index].connections, 1, memory_order_relaxed);
  loop *to = loop_at(index);
  if (to == loop_current()) connection_open(c);
  else {
    c->again = (loop_post_item){.call = open_here, .argument = c};
    loop_post(to, &c->again);
  }
  return 0;
}

/* Tells loop 0, once, that a draining server has no connection left. */
static void tell_if_empty(void) {
  if (!atomic_load(&server.draining) || atomic_load(&server.connections) > 0) return;
  if (!atomic_exchange(&server.empty_told, true)) loop_post(loop_at(0), &server.empty);
}

void http_connection_freed(size_t loop_index, const char *address) {
  crowd_leave(address);
  atomic_fetch_sub_explicit(&server.loops[loop_index].connections, 1, memory_order_relaxed);
  if (atomic_fetch_sub(&server.connections, 1) == 1) tell_if_empty();
}

/* ---- Draining: begin on every loop, wait, close the rest, let go of what the loops hold, done ----------------------------------------------- */

static void on_every_loop(phase p, void (*call)(void *argument)) {
  for (size_t i = 0; i < loop_count(); i++) {
    server.loops[i].posts[p] = (loop_post_item){.call = call};
    loop_post(loop_at(i), &server.loops[i].posts[p]);
  }
}

static void finish(void *argument) {
  (void)argument;
  free(server.loops);
  server.loops = NULL;
  if (server.done != NULL) server.done(server.done_argument);
}

static void release_here(void *argument) {
  (void)argument;
  http_home *home = http_home_here();
  if (home != NULL) http_home_release(home);
  if (atomic_fetch_sub(&server.releasing, 1) == 1) loop_post(loop_at(0), &server.released);
}

static void on_empty(void *argument) {
  (void)argument;
  loop_timer_stop(&server.grace);
  atomic_store(&server.releasing, loop_count());
  on_every_loop(PHASE_RELEASE, release_here);
}

static void close_rest_here(void *argument) {
  (void)argument;
  http_home *home = http_home_here();
  while (home != NULL && home->connections != NULL) connection_close(home->connections);
}

/* Whoever does not heed its cancellation is left behind: the process is about to end. */
static void give_up(loop_timer *timer) {
  (void)timer;
  log_write(PURLIN_WARNING, "http", "%zu requests did not end when they were cancelled", atomic_load(&server.connections));
  if (server.done != NULL) server.done(server.done_argument);
  server.done = NULL;
}

static void on_grace_over(loop_timer *timer) {
  on_every_loop(PHASE_CLOSE, close_rest_here);
  loop_timer_start(loop_at(0), timer, 2000, give_up);
}

/* Nothing was asked on it for a while, and nothing waits in the kernel that we have not seen. A client whose last answer did not say that it is
 * the last may be sending its next request; closing would lose it. */
static bool is_deserted(const http_connection *c, uint64_t now_ms) {
  if (c->state != CONNECTION_WAITING || c->in_size > 0 || c->scan.at > 0 || connection_unsent(c) > 0) return false;
  if (now_ms + http_settings.idle_timeout_ms < c->due_ms + http_settings.drain_idle_ms) return false;
  int descriptor, waiting = 0;
  return uv_fileno((const uv_handle_t *)&c->tcp, &descriptor) != 0 || ioctl(descriptor, FIONREAD, &waiting) != 0 ||
         waiting == 0;
}

static void on_drain(loop_timer *timer) {
  http_home *home = (http_home *)((char *)timer - offsetof(http_home, drain));
  uint64_t now_ms = loop_now_ms(home->loop);
  for (http_connection *c = home->connections, *next; c != NULL; c = next) {
    next = c->next;
    if (is_deserted(c, now_ms)) connection_close_politely(c);
  }
  loop_timer_start(home->loop, timer, DRAIN_LOOK_MS, on_drain);
}

/* Streams end; other connections with their next answer, which says so, or when nobody asks for one. */
static void drain_here(void *argument) {
  (void)argument;
  http_home *home = http_home_here();
  if (home == NULL) return;
  home->draining = true;
  for (http_connection *c = home->connections, *next; c != NULL; c = next) {
    next = c->next;
    if (c->stream == NULL) continue;
    c->close_after = true;
    http_stream_close(c->stream);
  }
  on_drain(&home->drain);
}

void http_drain(uint32_t grace_ms, void (*done)(void *argument), void *argument) {
  server.done = done;
  server.done_argument = argument;
  server.empty = (loop_post_item){.call = on_empty};
  server.released = (loop_post_item){.call = finish};
  listener_stop();
  atomic_store(&server.empty_told, false);
  on_every_loop(PHASE_DRAIN, drain_here);
  loop_timer_start(loop_at(0), &server.grace, grace_ms, on_grace_over);
  atomic_store(&server.draining, true);
  tell_if_empty();
}

/* ---- Starting --------------------------------------------------------------------------------------------------------------------------------- */

purlin_status http_start(const http_options *options, buffer *why) {
  if (server.loops != NULL) {
    buffer_text(why, "the HTTP server runs already");
    return PURLIN_CONFLICT;
  }
  /* A peer that has gone must show as an error of the write, not end the process. */
  signal(SIGPIPE, SIG_IGN);
  http_settings = *options;
  purlin_status status = proxies_start(options, why);
  if (status == PURLIN_OK) status = cors_start(options, why);
  if (status != PURLIN_OK) return status;
  atomic_store(&server.draining, false);
  size_t count = loop_count();
  server.loops = aligned_alloc(64, count * sizeof *server.loops);
  if (server.loops == NULL) {
    buffer_text(why, "no memory");
    return PURLIN_UNAVAILABLE;
  }
  memset(server.loops, 0, count * sizeof *server.loops);
  http_target_missing.series = series_of_target(http_target_missing.name);
  http_target_redirect.series = series_of_target(http_target_redirect.name);
  status = listener_start(options, why);
  if (status == PURLIN_OK) return PURLIN_OK;
  free(server.loops);
  server.loops = NULL;
  return status;
}

void http_end(void) {
  proxies_end();
  cors_end();
}
