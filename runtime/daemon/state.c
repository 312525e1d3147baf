#include "daemon/state.h"

#include "core/node.h"
#include "core/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the file must say to be about this directory on this host: "IDENTITY HOST INODE\n". */
static bool read_identity(int lock, const char *where, char identity[NODE_IDENTITY_SIZE]) {
  char text[256];
  ssize_t got = pread(lock, text, sizeof text - 1, 0);
  if (got < (ssize_t)NODE_IDENTITY_SIZE) return false;
  text[got] = '\0';
  memcpy(identity, text, NODE_IDENTITY_SIZE - 1);
  identity[NODE_IDENTITY_SIZE - 1] = '\0';
  return strspn(identity, "abcdefghijklmnopqrstuvwxyz0123456789") == NODE_IDENTITY_SIZE - 1 &&
         strcmp(text + NODE_IDENTITY_SIZE - 1, where) == 0;
}

/* A node whose identity cannot be kept is a new one at each start. */
static void write_identity(int lock, const char *where, const char *identity) {
  char text[256];
  int size = snprintf(text, sizeof text, "%s%s", identity, where);
  if (size <= 0 || (size_t)size >= sizeof text || ftruncate(lock, 0) != 0) return;
  if (pwrite(lock, text, (size_t)size, 0) != size) (void)!ftruncate(lock, 0);
  else (void)fsync(lock);
}

static void identify(int lock) {
  struct stat about;
  char host[65] = "", where[160], identity[NODE_IDENTITY_SIZE];
  (void)gethostname(host, sizeof host - 1);
  if (fstat(lock, &about) != 0) return;
  (void)snprintf(where, sizeof where, " %s %" PRIuMAX "\n", host, (uintmax_t)about.st_ino);
  if (!read_identity(lock, where, identity)) {
    text_random_id(identity, NODE_IDENTITY_SIZE - 1);
    write_identity(lock, where, identity);
  }
  node_set_identity(identity);
}

purlin_status state_take(const char *directory, arena *memory, const char **absolute, buffer *why) {
  if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
    buffer_format(why, "cannot make the state directory %s: %s", directory, strerror(errno));
    return PURLIN_UNAVAILABLE;
  }
  char path[PATH_MAX], file[PATH_MAX + 16];
  if (!realpath(directory, path)) {
    buffer_format(why, "cannot use the state directory %s: %s", directory, strerror(errno));
    return PURLIN_UNAVAILABLE;
  }
  *absolute = arena_copy(memory, path, strlen(path));
  (void)snprintf(file, sizeof file, "%s/lock", path);
  int lock = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* stays open: the process holds it to its end */
  if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
    buffer_format(why,
                  errno == EWOULDBLOCK ? "another purlind uses the state directory %s; stop it, or give --state another one"
                                       : "cannot lock the state directory %s",
                  path);
    if (lock >= 0) (void)close(lock);
    return PURLIN_UNAVAILABLE;
  }
  identify(lock);
  return PURLIN_OK;
}

purlin_status state_check_whole(const char *directory, buffer *why) {
  char path[PATH_MAX + 16], from[256];
  (void)snprintf(path, sizeof path, "%s/restoring", directory);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return PURLIN_OK;
  ssize_t size = read(file, from, sizeof from);
  (void)close(file);
  while (size > 0 && from[size - 1] == '\n') size--;
  buffer_format(why, "a restore of the backup %.*s did not come to its end: run it again (purlin restore)",
                size > 0 ? (int)size : 0, from);
  return PURLIN_UNAVAILABLE;
}
