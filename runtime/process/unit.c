/* unit.c: the spawner as a program of its own, purlin-spawner.service: it outlives daemons, so that trainings do, with their exit codes. */
#include "process/spawner.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define HELLO_SECONDS 1

/* ---- Its address -------------------------------------------------------------------------------------------------------------------------------- */

bool spawner_address(const char *path, struct sockaddr_un *out, socklen_t *size, buffer *why) {
  size_t length = strlen(path);
  *out = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (path[0] != '/' || length >= sizeof out->sun_path) {
    buffer_format(why, "the spawner's address %s is no absolute path of at most %zu bytes", path, sizeof out->sun_path - 1);
    return false;
  }
  memcpy(out->sun_path, path, length + 1);
  *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
  return true;
}

static bool somebody_listens(const struct sockaddr_un *address, socklen_t size) {
  int file = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  bool answers = file >= 0 && connect(file, (const struct sockaddr *)address, size) == 0;
  if (file >= 0) (void)close(file);
  return answers;
}

static int open_listener(const char *path, buffer *why) {
  struct sockaddr_un address;
  socklen_t size;
  if (!spawner_address(path, &address, &size, why)) return -1;
  if (somebody_listens(&address, size)) {
    buffer_format(why, "another spawner listens at %s", path);
    return -1;
  }
  (void)unlink(path); /* of one that was killed */
  int file = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  mode_t mask = umask(0177); /* only the same user may call */
  bool good = file >= 0 && bind(file, (const struct sockaddr *)&address, size) == 0;
  (void)umask(mask);
  if (good && listen(file, 16) == 0) return file;
  buffer_format(why, "cannot listen at %s: %s", path, strerror(errno));
  if (file >= 0) (void)close(file);
  return -1;
}

/* ---- Who calls ---------------------------------------------------------------------------------------------------------------------------------- */

bool spawner_trusts(int socket, pid_t *pid) {
  struct ucred peer;
  socklen_t size = sizeof peer;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  *pid = peer.pid;
  return peer.uid == geteuid() || peer.uid == 0;
}

/* A spawner whose program was replaced serves on, but a daemon may tell it to make way. */
static bool is_outdated(void) {
  static const char gone[] = " (deleted)";
  char path[PATH_MAX];
  ssize_t size = readlink("/proc/self/exe", path, sizeof path);
  return size >= (ssize_t)sizeof gone && memcmp(path + size - (sizeof gone - 1), gone, sizeof gone - 1) == 0;
}

static void tell_child(spawner *s, const wire_head *head) { spawner_say(s, head, NULL); }

static void refuse(spawner *s, int caller, pid_t busy_with) {
  int connected = s->socket;
  s->socket = caller;
  spawner_say(s, &(wire_head){.kind = WIRE_HELLO, .flags = WIRE_BUSY, .pid = busy_with, .number = WIRE_VERSION},
              PURLIN_VERSION);
  s->socket = connected;
  (void)close(caller);
}

/* One that connects and says nothing may not keep the children from being looked after. */
static bool said_hello(spawner *s, int caller) {
  const struct timeval patience = {.tv_sec = HELLO_SECONDS}, none = {0};
  if (setsockopt(caller, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) return false;
  if (wire_receive(caller, &s->in, true) != WIRE_OK) return false;
  wire_close(&s->in);
  return s->in.head.kind == WIRE_HELLO && setsockopt(caller, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none) == 0;
}

/* A daemon of another WIRE_VERSION hears ours, and goes. */
static void receive(spawner *s, pid_t *daemon) {
  pid_t pid = 0;
  int caller = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
  if (caller < 0) return;
  if (!spawner_trusts(caller, &pid) || !said_hello(s, caller)) {
    (void)close(caller);
    return;
  }
  if (s->socket >= 0) {
    refuse(s, caller, *daemon);
    return;
  }
  s->socket = caller;
  *daemon = pid;
  spawner_each_detached(s, tell_child);
  spawner_say(s, &(wire_head){.kind = WIRE_HELLO, .flags = is_outdated() ? WIRE_OUTDATED : 0, .number = WIRE_VERSION},
              PURLIN_VERSION);
}

/* ---- The program -------------------------------------------------------------------------------------------------------------------------------- */

/* The group that this process is in, which PURLIN_CGROUP=delegated says is ours; or the one that it names. */
static void take_groups(void) {
  const char *said = getenv("PURLIN_CGROUP");
  char line[PATH_MAX], path[PATH_MAX + 32];
  if (!said) return;
  if (strcmp(said, "delegated") != 0) {
    (void)!group_begin(said);
    return;
  }
  FILE *file = fopen("/proc/self/cgroup", "re");
  while (file && fgets(line, sizeof line, file)) {
    if (strncmp(line, "0::", 3) != 0) continue;
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s", line + 3);
    (void)!group_begin(path);
  }
  if (file) (void)fclose(file);
}

purlin_status process_spawner_serve(const char *path, void (*ready)(void), buffer *why) {
  static spawner s = {.socket = -1};
  pid_t daemon = 0;
  s.listener = open_listener(path, why);
  if (s.listener < 0) return PURLIN_UNAVAILABLE;
  (void)signal(SIGPIPE, SIG_IGN);
  (void)signal(SIGHUP, SIG_IGN);
  take_groups();
  if (!spawner_begin(&s, true)) {
    buffer_format(why, "cannot wait for children: %s", strerror(errno));
    return PURLIN_UNAVAILABLE;
  }
  ready();
  while (spawner_serve(&s)) receive(&s, &daemon);
  (void)unlink(path);
  group_release();
  if (s.own_runs[0]) (void)rmdir(s.own_runs);
  return PURLIN_OK;
}
