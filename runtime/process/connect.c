/* connect.c: from a daemon to a spawner that is a unit of its own. */
#include "process/parts.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int dial(const char *path, buffer *why) {
  struct sockaddr_un address;
  socklen_t size;
  pid_t pid = 0;
  if (!spawner_address(path, &address, &size, why)) return -1;
  int file = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (file < 0 || connect(file, (const struct sockaddr *)&address, size) != 0)
    buffer_format(why, "no spawner answers at %s: %s", path, strerror(errno));
  else if (!spawner_trusts(file, &pid)) buffer_format(why, "the spawner at %s is another user's", path);
  else return file;
  if (file >= 0) (void)close(file);
  return -1;
}

int connect_spawner(const char *path, buffer *why) {
  wire_message *message = calloc(1, sizeof *message);
  int file = message ? dial(path, why) : -1;
  bool said = false;
  if (file >= 0) {
    message->head = (wire_head){.kind = WIRE_HELLO, .number = WIRE_VERSION};
    said = wire_add(message, PURLIN_VERSION) && wire_send(file, message, false) == WIRE_OK;
    if (!said) buffer_format(why, "the spawner at %s does not listen", path);
  }
  free(message);
  if (said) return file;
  if (file >= 0) (void)close(file);
  return -1;
}

connect_fit connect_judge(const char *path, const wire_message *hello, buffer *why) {
  size_t at = 0;
  const char *version = wire_next(hello, &at);
  if (hello->head.flags & WIRE_BUSY) {
    buffer_format(why, "the spawner at %s serves another purlind (pid %lld)", path, (long long)hello->head.pid);
    return CONNECT_BUSY;
  }
  if (hello->head.number != WIRE_VERSION) {
    buffer_format(why,
                  "the spawner at %s is of Purlin %s, which speaks otherwise; once no training runs: systemctl restart "
                  "purlin-spawner",
                  path, version ? version : "?");
    return CONNECT_ALIEN;
  }
  bool outdated = (hello->head.flags & WIRE_OUTDATED) || !version || strcmp(version, PURLIN_VERSION) != 0;
  return outdated ? CONNECT_OUTDATED : CONNECT_FITS;
}
