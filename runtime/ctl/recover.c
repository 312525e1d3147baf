/* recover.c: `purlin admin recover`: for who has lost every administrator. It asks the daemon by a file in its state directory, so only
 * whoever may write there, on the host, is heard; the daemon answers at its next start with a new STATE/admin.token. */
#include "ctl/credentials.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int refuse(const char *path, const char *what) {
  (void)fprintf(stderr, "purlin: %s: %s\n", path, what);
  return CTL_FAILED;
}

static int recover(const char *state) {
  char path[4200];
  int length = snprintf(path, sizeof path, "%s/admin.token", state);
  if (length < 0 || (size_t)length >= sizeof path) return refuse(state, "the path is too long");
  /* Every server's directory has one, even when nobody knows it any more. */
  if (access(path, F_OK) != 0) return refuse(state, "this is no state directory of a server that has run (--state DIR)");
  (void)snprintf(path, sizeof path, "%s/recover", state);
  int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0 || close(file) != 0) return refuse(path, strerror(errno));
  (void)printf("Now start the server anew (systemctl restart purlin). Then %s/admin.token holds a key that permits\n"
               "everything in the workspace 'default' and lives a day: make an administrator with it.\n",
               state);
  return CTL_FINE;
}

int admin_command(int count, char **arguments) {
  bool right = count > 0 && strcmp(arguments[0], "recover") == 0;
  if (right && count == 1) return recover("/var/lib/purlin");
  if (right && count == 3 && strcmp(arguments[1], "--state") == 0) return recover(arguments[2]);
  bool help = asks_what_it_does(count, arguments);
  (void)fputs("Usage: purlin admin recover [--state DIR]    a new administrator's key, at the server's next start\n"
              "\nOn the server's host, as who may write its state directory (default /var/lib/purlin).\n",
              help ? stdout : stderr);
  return help ? CTL_FINE : CTL_USAGE;
}
