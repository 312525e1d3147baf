#include "daemon/daemon.h"
#include "loop/loop.h"
#include <purlin/context.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* Taken out of the environment at the start: children have nothing to tell systemd. */
static struct sockaddr_un address;
static socklen_t address_size; /* 0: nobody listens */
static uint64_t watchdog_ms;

static void take_notify_socket(void) {
  const char *path = getenv("NOTIFY_SOCKET");
  size_t size = path ? strlen(path) : 0;
  if (size < 2 || size >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@')) return;
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path, size);
  if (path[0] == '@') address.sun_path[0] = '\0';
  address_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
}

void notify_systemd(const char *state) {
  if (address_size == 0) return;
  int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (file < 0) return;
  /* Nobody to tell is no reason to stop. */
  ssize_t sent = sendto(file, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address, address_size);
  (void)sent;
  (void)close(file);
}

void notify_reloading(void) {
  buffer state = {0};
  /* Type=notify-reload wants to know when it began, to tell it from an older one. */
  buffer_format(&state, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)(purlin_ticks_ns() / 1000));
  notify_systemd(buffer_end(&state));
  buffer_free(&state);
}

/* A number of the environment that is meant for this process; 0: there is none. */
static uint64_t number_for_us(const char *name, const char *pid_name) {
  const char *text = getenv(name), *pid = getenv(pid_name);
  if (!text || (pid && strtol(pid, NULL, 10) != (long)getpid())) return 0;
  char *end = NULL;
  errno = 0;
  unsigned long long number = strtoull(text, &end, 10);
  return errno == 0 && *text && *end == '\0' ? number : 0;
}

/* ---- The watchdog: fed only while every loop turns ------------------------------------------------------------------------------------------- */

enum { MOST_LOOPS = 256 };

typedef struct pulse {
  loop *home;
  loop_timer timer;
  loop_post_item begin;
  atomic_bool felt;
} pulse;

static pulse pulses[MOST_LOOPS];
static uint64_t pulse_ms;

static void feed(void) {
  for (size_t i = 0; i < loop_count(); i++)
    if (!atomic_load(&pulses[i].felt)) return; /* that loop hangs, or is about to turn */
  for (size_t i = 0; i < loop_count(); i++) atomic_store(&pulses[i].felt, false);
  notify_systemd("WATCHDOG=1");
}

static void on_pulse(loop_timer *timer) {
  pulse *p = (pulse *)(void *)((char *)timer - offsetof(pulse, timer));
  atomic_store(&p->felt, true);
  loop_timer_start(p->home, timer, pulse_ms, on_pulse);
  if (p == pulses) feed();
}

static void begin_pulse(void *argument) {
  pulse *p = argument;
  on_pulse(&p->timer);
}

void notify_begin_watchdog(void) {
  if (watchdog_ms == 0 || loop_count() > MOST_LOOPS) return;
  pulse_ms = watchdog_ms < 4 ? 1 : watchdog_ms / 4;
  for (size_t i = loop_count(); i-- > 0;) { /* the first one last: it feeds */
    pulses[i].home = loop_at(i);
    pulses[i].begin = (loop_post_item){.call = begin_pulse, .argument = &pulses[i]};
    loop_post(pulses[i].home, &pulses[i].begin);
  }
}

/* ---- A socket that was passed on ----------------------------------------------------------------------------------------------------------------- */

static bool take_socket(uint64_t count, int *descriptor, buffer *why) {
  enum { FIRST = 3 };
  if (count == 0) return true;
  if (count > 1) {
    buffer_format(why,
                  "%llu sockets were passed on (LISTEN_FDS), but one is taken: let the socket unit have one ListenStream=",
                  (unsigned long long)count);
    return false;
  }
  int listens = 0;
  socklen_t size = sizeof listens;
  struct sockaddr_storage own = {0};
  socklen_t own_size = sizeof own;
  if (getsockopt(FIRST, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || !listens ||
      getsockname(FIRST, (struct sockaddr *)&own, &own_size) != 0 ||
      (own.ss_family != AF_INET && own.ss_family != AF_INET6)) {
    buffer_text(why, "what was passed on as descriptor 3 (LISTEN_FDS) is no listening TCP socket");
    return false;
  }
  int flags = fcntl(FIRST, F_GETFL);
  if (flags < 0 || fcntl(FIRST, F_SETFL, flags | O_NONBLOCK) != 0 || fcntl(FIRST, F_SETFD, FD_CLOEXEC) != 0) {
    buffer_format(why, "the socket that was passed on cannot be used: %s", strerror(errno));
    return false;
  }
  *descriptor = FIRST;
  return true;
}

bool notify_begin(int *descriptor, buffer *why) {
  static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                      "LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES"};
  *descriptor = -1;
  take_notify_socket();
  watchdog_ms = number_for_us("WATCHDOG_USEC", "WATCHDOG_PID") / 1000;
  uint64_t count = getenv("LISTEN_PID") ? number_for_us("LISTEN_FDS", "LISTEN_PID") : 0;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (unsetenv(names[i]) != 0) return false;
  return take_socket(count, descriptor, why);
}
