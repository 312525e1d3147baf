/* What is being written: files ROOT/staging/DAEMON.NAME. ROOT/daemons/DAEMON is a file that this daemon holds locked while it lives. What
 * a killed one left is known by that nobody holds its lock; several daemons on one folder so leave each other's files alone. */
#include "storage.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OLD_S = 24 * 60 * 60, LONGEST_ID = 64 };

static char own[LONGEST_ID + 1]; /* set at start */
static int held = -1;            /* its locked file */

void staging_path(const char *name, char *out) {
  (void)snprintf(out, PATH_MAX, "%s/staging/%s.%s", storage_root(), own, name);
}

static int open_folder(const char *name) {
  char path[PATH_MAX];
  (void)snprintf(path, sizeof path, "%s/%s", storage_root(), name);
  if (mkdir(path, 0700) != 0 && errno != EEXIST) return -1;
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* What lies there is of living daemons: no backup wants it. */
static bool keep_from_backups(int folder) {
  int mark = openat(folder, ".nobackup", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  return mark >= 0 && close(mark) == 0;
}

static bool is_same(int file, int folder, const char *name) {
  struct stat of_file, of_path;
  return fstat(file, &of_file) == 0 && fstatat(folder, name, &of_path, 0) == 0 && of_file.st_ino == of_path.st_ino;
}

/* Again while somebody takes the new file for a dead one's before it is locked. */
static bool hold(int daemons) {
  for (int tries = 0; tries < 100; tries++) {
    held = openat(daemons, own, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (held < 0) return false;
    /* A file system without locks fails in another way: there nobody removes anything. */
    bool taken = flock(held, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!taken && is_same(held, daemons, own)) return true;
    (void)close(held);
    held = -1;
    (void)usleep(1000);
  }
  return errno = EBUSY, false;
}

/* Without `bury` its file stays: others ask, too. */
static bool is_dead(int daemons, const char *id, bool bury) {
  int lock = openat(daemons, id, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (lock < 0) return errno == ENOENT;
  bool dead = flock(lock, LOCK_EX | LOCK_NB) == 0;
  if (dead && bury) (void)unlinkat(daemons, id, 0);
  (void)close(lock);
  return dead;
}

/* A file without a daemon's name is of an older version. */
static bool is_left(int daemons, int staging, const char *name) {
  char id[LONGEST_ID + 1];
  struct stat about;
  size_t size = strcspn(name, ".");
  if (size > LONGEST_ID) return false;
  if (!name[size]) return fstatat(staging, name, &about, AT_SYMLINK_NOFOLLOW) == 0 && about.st_mtime < time(NULL) - OLD_S;
  memcpy(id, name, size);
  id[size] = '\0';
  return strcmp(id, own) != 0 && is_dead(daemons, id, false);
}

static bool walk(int daemons, int folder, bool staging) {
  DIR *directory = fdopendir(folder);
  if (!directory) {
    (void)close(folder);
    return false;
  }
  for (struct dirent *entry = readdir(directory); entry; entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    if (!staging && strcmp(entry->d_name, own) != 0) (void)is_dead(daemons, entry->d_name, true);
    if (staging && is_left(daemons, folder, entry->d_name)) (void)unlinkat(folder, entry->d_name, 0);
  }
  return closedir(directory) == 0;
}

bool staging_clean(void) {
  int daemons = open_folder("daemons"), staging = open_folder("staging"), again = open_folder("daemons");
  bool fine = daemons >= 0 && staging >= 0 && again >= 0;
  if (fine) {
    fine = walk(daemons, staging, true); /* closes it */
    fine = walk(daemons, again, false) && fine;
  } else {
    if (staging >= 0) (void)close(staging);
    if (again >= 0) (void)close(again);
  }
  if (daemons >= 0) (void)close(daemons);
  return fine;
}

bool staging_begin(const char *id) {
  (void)snprintf(own, sizeof own, "%s", id);
  int daemons = open_folder("daemons"), staging = open_folder("staging");
  bool fine = daemons >= 0 && staging >= 0 && keep_from_backups(daemons) && keep_from_backups(staging) && hold(daemons);
  if (daemons >= 0) (void)close(daemons);
  if (staging >= 0) (void)close(staging);
  return fine && staging_clean();
}

void staging_end(void) {
  char path[PATH_MAX];
  if (held < 0) return;
  (void)snprintf(path, sizeof path, "%s/daemons/%s", storage_root(), own);
  (void)unlink(path);
  (void)close(held);
  held = -1;
}
