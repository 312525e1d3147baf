#include "core/file.h"
#include <errno.h>
#include <unistd.h>

bool file_write_all(int file, const void *data, size_t size) {
  const char *at = data;
  while (size > 0) {
    ssize_t wrote = write(file, at, size);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return false;
    at += wrote;
    size -= (size_t)wrote;
  }
  return true;
}
