/* durable.c: small files as a whole, and what is there of them after a power cut. */
#include "care/care.h"
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static bool complain(const char *path, const char *what, int error, buffer *why) {
  buffer_format(why, "%s: %s: %s", path, what, strerror(error));
  return false;
}

bool folder_sync(const char *path, buffer *why) {
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool fine = folder >= 0 && fsync(folder) == 0;
  if (!fine) (void)complain(path, "cannot be flushed to the disk", errno, why);
  if (folder >= 0) (void)close(folder);
  return fine;
}

bool folder_sync_of(const char *path, buffer *why) {
  char folder[PATH_MAX];
  const char *slash = strrchr(path, '/');
  int length = snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
  if (length < 0 || (size_t)length >= sizeof folder) return complain(path, "cannot be named", ENAMETOOLONG, why);
  return folder_sync(*folder ? folder : "/", why);
}

bool file_write(const char *path, const char *data, size_t size, buffer *why) {
  char fresh[PATH_MAX];
  int length = snprintf(fresh, sizeof fresh, "%s.new", path);
  if (length < 0 || (size_t)length >= sizeof fresh) return complain(path, "cannot be named", ENAMETOOLONG, why);
  int file = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (file < 0) return complain(path, "cannot be written", errno, why);
  bool fine = file_write_all(file, data, size) && fsync(file) == 0;
  int error = fine ? 0 : errno;
  if (close(file) != 0 && fine) fine = false, error = errno;
  if (fine && rename(fresh, path) != 0) fine = false, error = errno;
  if (fine) return folder_sync_of(path, why);
  (void)unlink(fresh);
  return complain(path, "cannot be written", error, why);
}

bool file_read(const char *path, size_t most, buffer *out, buffer *why) {
  char piece[16384];
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return complain(path, "cannot be read", errno, why);
  buffer_free(out); /* a limit holds only from the beginning on */
  out->limit = most;
  ssize_t got = 1;
  while (got > 0 && !out->failed) {
    do got = read(file, piece, sizeof piece);
    while (got < 0 && errno == EINTR);
    if (got > 0) buffer_add(out, piece, (size_t)got);
  }
  int error = out->failed ? EFBIG : got < 0 ? errno : 0;
  (void)close(file);
  return error == 0 || complain(path, "cannot be read", error, why);
}
