/* group.c: control groups of children (cgroup v2). The spawner's unit has Delegate=yes, so the groups below its own are ours to make:
 *
 *   ROOT/spawner   the spawner itself: a group with limits for those below it may hold no process
 *   ROOT/child-N   a child with all that it starts, whatever session that puts itself into
 *
 * Where there are none, RLIMIT_DATA limits each process, and the end of a session is the end of a child. */
#include "process/parts.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define MOST_LOOKS 50u
#define MOST_PROCESSES "8192" /* of one child: what a mistake may take, not what a training needs */

static char root[PATH_MAX]; /* "": no groups */
static uint64_t last;
static unsigned dying; /* looks that groups still have whose processes were killed just now */

static bool write_to(const char *folder, const char *name, const char *text) {
  char path[PATH_MAX + 64];
  int length = snprintf(path, sizeof path, "%s/%s", folder, name);
  int file = length > 0 && (size_t)length < sizeof path ? open(path, O_WRONLY | O_CLOEXEC) : -1;
  if (file < 0) return false;
  bool wrote = write(file, text, strlen(text)) == (ssize_t)strlen(text);
  (void)close(file);
  return wrote;
}

static bool path_of(uint64_t group, char *out, size_t size) {
  int length = snprintf(out, size, "%s/child-%llu", root, (unsigned long long)group);
  return length > 0 && (size_t)length < size;
}

static bool none(const char *where, const char *why) {
  (void)fprintf(stderr, "purlin-spawner: children have no control groups: %s: %s\n", where, why);
  root[0] = '\0';
  return false;
}

bool group_begin(const char *subtree) {
  struct statfs about;
  struct timespec now;
  char own[PATH_MAX + 16];
  if (statfs(subtree, &about) != 0) return none(subtree, strerror(errno));
  if (about.f_type != CGROUP2_SUPER_MAGIC) return none(subtree, "this is no cgroup v2");
  int length = snprintf(root, sizeof root, "%s", subtree);
  if (length < 0 || (size_t)length >= sizeof root) return none(subtree, "its path is too long");
  (void)snprintf(own, sizeof own, "%s/spawner", root);
  if (mkdir(own, 0755) != 0 && errno != EEXIST) return none(own, strerror(errno));
  if (!write_to(own, "cgroup.procs", "0")) return none(own, strerror(errno));
  /* Without a controller its limit is missing; the group still knows who belongs to the child. */
  bool memory = write_to(root, "cgroup.subtree_control", "+memory");
  bool pids = write_to(root, "cgroup.subtree_control", "+pids");
  if (!memory || !pids)
    (void)fprintf(stderr, "purlin-spawner: %s has no controller of %s\n", root, memory ? "pids" : "memory");
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  last = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec; /* names of an earlier spawner's are below it */
  group_sweep();
  return true;
}

void group_release(void) {
  if (root[0]) (void)write_to(root, "cgroup.subtree_control", "-memory -pids");
}

uint64_t group_make(uint64_t memory_limit, char *procs, size_t size) {
  char path[PATH_MAX + 32], number[24];
  procs[0] = '\0';
  if (!root[0] || !path_of(++last, path, sizeof path) || mkdir(path, 0755) != 0) return 0;
  (void)snprintf(number, sizeof number, "%llu", (unsigned long long)memory_limit);
  if (memory_limit > 0) (void)write_to(path, "memory.max", number);
  /* One process less of a training is no training any more. */
  (void)write_to(path, "memory.oom.group", "1");
  (void)write_to(path, "pids.max", MOST_PROCESSES);
  int length = snprintf(procs, size, "%s/cgroup.procs", path);
  if (length < 0 || (size_t)length >= size) procs[0] = '\0';
  return last;
}

void group_kill(uint64_t group) {
  char path[PATH_MAX + 32];
  if (root[0] && group != 0 && path_of(group, path, sizeof path)) (void)write_to(path, "cgroup.kill", "1");
}

void group_remove(uint64_t group) {
  char path[PATH_MAX + 32];
  if (!root[0] || group == 0 || !path_of(group, path, sizeof path)) return;
  if (rmdir(path) != 0 && errno == EBUSY) dying = MOST_LOOKS;
}

bool group_is_dying(void) { return dying > 0; }

void group_sweep(void) {
  if (dying > 0) dying--;
  DIR *entries = root[0] ? opendir(root) : NULL;
  if (!entries) return;
  for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries))
    if (strncmp(entry->d_name, "child-", 6) == 0) (void)unlinkat(dirfd(entries), entry->d_name, AT_REMOVEDIR);
  (void)closedir(entries);
}
