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

int recover_command(void *to, const manual_command *about, int count, char **arguments) {
  (void)to;
  manual_given given;
  if (!manual_read_or_say(about, count, arguments, &given)) return CTL_USAGE;
  const char *state = manual_value(&given, "--state");
  return recover(state ? state : "/var/lib/purlin");
}
