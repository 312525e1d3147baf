#include "care/care.h"
#include <ctype.h>
#include <dirent.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

typedef struct listening {
  uid_t user;
  unsigned long socket; /* its number */
} listening;

/* The next line of /proc/net/tcp that tells of somebody listening on the port. */
static bool next_listening(FILE *table, uint16_t port, listening *out) {
  enum { LISTENS = 0x0a };
  char line[512];
  while (fgets(line, sizeof line, table)) {
    unsigned local = 0, state = 0, user = 0;
    unsigned long number = 0;
    int fields =
        sscanf(line, "%*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %u %*s %lu", &local, &state, &user, &number);
    if (fields != 4 || local != port || state != LISTENS) continue;
    *out = (listening){user, number};
    return true;
  }
  return false;
}

static bool is_ours(const installation *i, uid_t user) {
  return user == 0 || user == geteuid() || (i->has_user && user == i->uid);
}

/* Looks at all who listen, up to the first who is not ours; false: nobody does. */
static bool look(const installation *i, listening *out) {
  static const char *const tables[] = {"/proc/net/tcp", "/proc/net/tcp6"};
  bool any = false, stranger = false;
  for (size_t t = 0; t < sizeof tables / sizeof tables[0] && !stranger; t++) {
    FILE *table = fopen(tables[t], "re");
    listening one;
    while (table && !stranger && next_listening(table, (uint16_t)i->settings.server.port, &one)) {
      stranger = !is_ours(i, one.user);
      *out = one;
      any = true;
    }
    if (table) (void)fclose(table);
  }
  return any;
}

bool listener_is_ours(const installation *i, buffer *why) {
  listening one;
  long long port = (long long)i->settings.server.port;
  if (!look(i, &one)) {
    buffer_format(why, "nothing listens on port %lld", port);
    return false;
  }
  if (is_ours(i, one.user)) return true;
  const struct passwd *user = getpwuid(one.user);
  char holder[128];
  listener_name(i, holder);
  buffer_format(why, "port %lld is held by %s of the user %s, not of %s", port, holder,
                user ? user->pw_name : "that nobody knows", i->has_user ? i->user : "the service");
  return false;
}

/* Whether one of the process's descriptors is `wanted`, "socket:[4711]". */
static bool holds(const char *process, const char *wanted) {
  char folder[300], path[600], target[64];
  (void)snprintf(folder, sizeof folder, "/proc/%s/fd", process);
  DIR *descriptors = opendir(folder);
  bool found = false;
  for (const struct dirent *one = descriptors ? readdir(descriptors) : NULL; one && !found; one = readdir(descriptors)) {
    (void)snprintf(path, sizeof path, "%s/%s", folder, one->d_name);
    ssize_t size = readlink(path, target, sizeof target - 1);
    target[size > 0 ? size : 0] = '\0';
    found = strcmp(target, wanted) == 0;
  }
  if (descriptors) (void)closedir(descriptors);
  return found;
}

void listener_name(const installation *i, char out[128]) {
  char wanted[64], path[300], name[64] = "";
  listening one;
  (void)snprintf(out, 128, "another program");
  if (!look(i, &one)) return;
  (void)snprintf(wanted, sizeof wanted, "socket:[%lu]", one.socket);
  DIR *processes = opendir("/proc");
  for (const struct dirent *each = processes ? readdir(processes) : NULL; each; each = readdir(processes)) {
    if (!isdigit((unsigned char)each->d_name[0]) || !holds(each->d_name, wanted)) continue;
    (void)snprintf(path, sizeof path, "/proc/%s/comm", each->d_name);
    FILE *file = fopen(path, "re");
    if (file && fgets(name, sizeof name, file)) name[strcspn(name, "\n")] = '\0';
    if (file) (void)fclose(file);
    (void)snprintf(out, 128, "%s (process %.20s)", name, each->d_name);
    break;
  }
  if (processes) (void)closedir(processes);
}
