/* durable.c: files and names that are there after a power cut. */
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
