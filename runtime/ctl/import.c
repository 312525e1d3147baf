/* import.c: `purlin import KIND ...`: what is elsewhere is brought here by a program of its own, purlin-import-KIND, which a plugin
 * brings along. It is told where the server is and by which token in the environment. */
#include "core/places.h"
#include "ctl/ctl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LONGEST = 4096 };

static bool find_program(const char *kind, char path[LONGEST]) {
  char name[256];
  int length = snprintf(name, sizeof name, "purlin-import-%s", kind);
  return length > 0 && (size_t)length < sizeof name && places_find_program(name, path, LONGEST);
}

static bool is_name(const char *kind) {
  return *kind && strspn(kind, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(kind);
}

static bool hand_on(const char *name, const char *value) {
  return value ? setenv(name, value, 1) == 0 : unsetenv(name) == 0;
}

int import_command(void *to, const manual_command *about, int count, char **arguments) {
  session *s = to;
  char path[LONGEST];
  bool help = count > 0 && manual_is_help(arguments[0]);
  if (count == 0 || help || !is_name(arguments[0])) {
    manual_help_command(&ctl_manual, about, help ? stdout : stderr);
    return help ? CTL_FINE : CTL_USAGE;
  }
  if (!session_complete(s)) return CTL_USAGE;
  bool fine = hand_on("PURLIN_SERVER", s->server) && hand_on("PURLIN_TOKEN", s->token) &&
              hand_on("PURLIN_CA_FILE", s->ca_file) && hand_on("PURLIN_WORKSPACE", s->workspace) &&
              hand_on("PURLIN_PROJECT", s->project);
  if (fine && find_program(arguments[0], path) && fflush(stdout) == 0) (void)execv(path, arguments);
  if (errno == ENOENT)
    (void)fprintf(stderr, "purlin: nothing here imports from '%s': there is no %s\n", arguments[0], path);
  else (void)fprintf(stderr, "purlin: import %s: %s\n", arguments[0], strerror(errno));
  return CTL_USAGE;
}
