/* limits.c: descriptors. Every connection of a client takes one; what is behind them (the database, files, calls to others) must not
 * be left without because many clients came. */
#include "daemon/daemon.h"
#include "observe/log.h"
#include <sys/resource.h>

size_t limits_connections(size_t wanted) {
  struct rlimit files;
  rlim_t needed = (rlim_t)wanted + wanted / 3 + 1;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return wanted;
  if (files.rlim_cur < needed && files.rlim_cur < files.rlim_max) {
    const struct rlimit more = {files.rlim_max < needed ? files.rlim_max : needed, files.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) files = more;
  }
  if (files.rlim_cur >= needed) return wanted;
  size_t most = (size_t)(files.rlim_cur - files.rlim_cur / 4);
  log_write(
      PURLIN_WARNING, "daemon",
      "%zu connections at most, not %zu: the process may open %zu files only, and a quarter is for others (ulimit -n, LimitNOFILE=)",
      most, wanted, (size_t)files.rlim_cur);
  return most;
}
