#include "daemon/daemon.h"
#include "loop/loop.h"
#include <purlin/context.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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

/* Nobody to tell is no reason to stop. */
void notify_systemd(const char *state) { (void)notify_systemd_with(state, -1); }

bool notify_systemd_with(const char *state, int descriptor) {
  if (address_size == 0) return false;
  int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (file < 0) return false;
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control = {.bytes = {0}};
  struct iovec text = {(void *)(uintptr_t)state, strlen(state)};
  struct msghdr packet = {.msg_name = &address, .msg_namelen = address_size, .msg_iov = &text, .msg_iovlen = 1};
  if (descriptor >= 0) {
    packet.msg_control = control.bytes;
    packet.msg_controllen = sizeof control.bytes;
    struct cmsghdr *rights = CMSG_FIRSTHDR(&packet);
    *rights = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof descriptor)};
    memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  ssize_t sent;
  do sent = sendmsg(file, &packet, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  (void)close(file);
  return sent >= 0;
}

/* systemd closes what comes with BARRIER=1 when it has acted upon what came before. */
void notify_await(void) {
  enum { PATIENCE_MS = 5000 };
  int ends[2];
  if (address_size == 0 || pipe2(ends, O_CLOEXEC) != 0) return;
  bool told = notify_systemd_with("BARRIER=1", ends[1]);
  (void)close(ends[1]);
  struct pollfd watch = {.fd = ends[0]};
  if (told) (void)poll(&watch, 1, PATIENCE_MS);
  (void)close(ends[0]);
}

void notify_stopping(uint64_t longest_ms) {
  buffer state = {0};
  buffer_format(&state, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu", (unsigned long long)longest_ms * 1000);
  notify_systemd(buffer_end(&state));
  buffer_free(&state);
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
static bool ready; /* of loop 0 */

static void feed(void) {
  for (size_t i = 0; i < loop_count(); i++)
    if (!atomic_load(&pulses[i].felt)) return; /* that loop hangs, or is about to turn */
  for (size_t i = 0; i < loop_count(); i++) atomic_store(&pulses[i].felt, false);
  /* The first feeding winds the watchdog up, ready or not: a start, whose steps may keep a loop for long on a slow machine, asks for time instead. */
  notify_systemd(ready ? "WATCHDOG=1" : "EXTEND_TIMEOUT_USEC=900000000");
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

void notify_ready(void) {
  ready = true;
  notify_systemd("READY=1");
}

/* ---- What systemd says --------------------------------------------------------------------------------------------------------------------------- */

bool notify_begin(buffer *why) {
  static const char *const names[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC",  "WATCHDOG_PID", "LISTEN_FDS",
                                      "LISTEN_PID",    "LISTEN_FDNAMES", "FDSTORE"};
  take_notify_socket();
  watchdog_ms = number_for_us("WATCHDOG_USEC", "WATCHDOG_PID") / 1000;
  uint64_t count = getenv("LISTEN_PID") ? number_for_us("LISTEN_FDS", "LISTEN_PID") : 0;
  bool taken = passed_take(count, getenv("LISTEN_FDNAMES"), why);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (unsetenv(names[i]) != 0) return false;
  return taken;
}
