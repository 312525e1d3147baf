/* passed.c: listening sockets that outlive a daemon.
 *
 * What a socket unit has opened is the operator's word: it is taken as it is. What an earlier daemon has left in the file descriptor store is
 * taken where purlin.lua still says the same address; else it is closed there before the new one is opened, which may want the port. */
#include "daemon/daemon.h"
#include "http/server.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 64, LONGEST_NAME = 256 };

static const char *const USES[HTTP_LISTENERS] = {[HTTP_OWN] = "http", [HTTP_REDIRECT] = "redirect"};
static const char STORE_PREFIX[] = "stored-"; /* before the use, in the store */

static int of_unit[HTTP_LISTENERS] = {-1, -1}, of_store[HTTP_LISTENERS] = {-1, -1};

/* ---- Taking ------------------------------------------------------------------------------------------------------------------------------------ */

static int use_of(const char *name) {
  for (int i = 0; i < HTTP_LISTENERS; i++)
    if (strcmp(USES[i], name) == 0) return i;
  return -1;
}

static bool listens_on_tcp(int descriptor) {
  int listens = 0;
  socklen_t size = sizeof listens;
  struct sockaddr_storage own = {0};
  socklen_t own_size = sizeof own;
  return getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens &&
         getsockname(descriptor, (struct sockaddr *)&own, &own_size) == 0 &&
         (own.ss_family == AF_INET || own.ss_family == AF_INET6);
}

static bool make_ours(int descriptor) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 && fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0;
}

/* `size` bytes of `names` up to the next colon; NULL: none is left. */
static const char *next_name(const char *names, size_t *size) {
  if (!names) return NULL;
  *size = strcspn(names, ":");
  return names;
}

static bool tell_store(const char *verb, const char *prefix, const char *name, int descriptor) {
  char text[LONGEST_NAME + 64];
  (void)snprintf(text, sizeof text, "%s=1\nFDNAME=%s%s", verb, prefix, name);
  return notify_systemd_with(text, descriptor);
}

static bool take_of_unit(const char *name, int descriptor, bool alone, buffer *why) {
  int use = alone ? HTTP_OWN : use_of(name);
  if (use < 0 || of_unit[use] >= 0) {
    buffer_format(why,
                  "of several sockets that are passed on (LISTEN_FDS), one is named '%s': let the socket units say "
                  "FileDescriptorName=http and FileDescriptorName=redirect, each once",
                  name);
    return false;
  }
  if (!listens_on_tcp(descriptor)) {
    buffer_format(why, "what was passed on as descriptor %d (LISTEN_FDS) is no listening TCP socket", descriptor);
    return false;
  }
  of_unit[use] = descriptor;
  return true;
}

static void take_of_store(const char *name, int descriptor) {
  int use = use_of(name + sizeof STORE_PREFIX - 1);
  if (use >= 0 && of_store[use] < 0 && listens_on_tcp(descriptor)) {
    of_store[use] = descriptor;
    return;
  }
  (void)close(descriptor);
  /* What a newer daemon has stored, before somebody went back to this one: nobody may hold a port for nothing. */
  if (use < 0) (void)tell_store("FDSTOREREMOVE", "", name, -1);
}

static bool is_stored(const char *name) { return strncmp(name, STORE_PREFIX, sizeof STORE_PREFIX - 1) == 0; }

static void name_all(uint64_t count, const char *names, char out[MOST][LONGEST_NAME]) {
  size_t size = 0;
  for (uint64_t i = 0; i < count; i++) {
    const char *name = next_name(names, &size);
    (void)snprintf(out[i], LONGEST_NAME, "%.*s", name ? (int)size : 7, name ? name : "unknown");
    names = name && name[size] == ':' ? name + size + 1 : NULL;
  }
}

bool passed_take(uint64_t count, const char *names, buffer *why) {
  static char named[MOST][LONGEST_NAME];
  size_t of_units = 0;
  if (count > MOST) {
    buffer_format(why, "%llu sockets were passed on (LISTEN_FDS)", (unsigned long long)count);
    return false;
  }
  name_all(count, names, named);
  for (uint64_t i = 0; i < count; i++) {
    if (!is_stored(named[i])) of_units++;
    if (make_ours(FIRST + (int)i)) continue;
    buffer_format(why, "descriptor %d, which was passed on (LISTEN_FDS), cannot be used: %s", FIRST + (int)i,
                  strerror(errno));
    return false;
  }
  for (uint64_t i = 0; i < count; i++) {
    if (is_stored(named[i])) take_of_store(named[i], FIRST + (int)i);
    else if (!take_of_unit(named[i], FIRST + (int)i, of_units == 1 && use_of(named[i]) < 0, why)) return false;
  }
  return true;
}

/* ---- Using ------------------------------------------------------------------------------------------------------------------------------------- */

static bool is_wanted(const http_options *options, int use) {
  return use == HTTP_OWN || (options->tls && options->redirect_port >= 0);
}

void passed_choose(http_options *options) {
  const uint16_t ports[HTTP_LISTENERS] = {[HTTP_OWN] = options->port, [HTTP_REDIRECT] = (uint16_t)options->redirect_port};
  bool dropped = false;
  for (int i = 0; i < HTTP_LISTENERS; i++) {
    bool fits = of_store[i] >= 0 && of_unit[i] < 0 && is_wanted(options, i) &&
                http_listener_fits(of_store[i], options->address, ports[i]);
    if (of_store[i] >= 0 && !fits) {
      (void)close(of_store[i]);
      of_store[i] = -1;
      dropped |= tell_store("FDSTOREREMOVE", STORE_PREFIX, USES[i], -1);
    }
    options->passed[i] = of_unit[i] >= 0 && is_wanted(options, i) ? of_unit[i] : of_store[i];
    if (options->passed[i] >= 0) options->held = true;
  }
  if (dropped) notify_await();
}

void passed_store(void) {
  for (int i = 0; i < HTTP_LISTENERS; i++) {
    if (http_listener(i) < 0 || of_unit[i] >= 0 || of_store[i] >= 0) continue;
    if (tell_store("FDSTORE", STORE_PREFIX, USES[i], http_listener(i))) http_listener_kept(i);
  }
}
