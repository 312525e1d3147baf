#include "process/parts.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEEPEST 64 /* folders within folders that a removal follows; each holds a descriptor open */

bool directory_path(char *out, size_t size, const char *runs, int64_t pid, int64_t started) {
  int length = snprintf(out, size, "%s/%lld-%lld", runs, (long long)pid, (long long)started);
  return length > 0 && (size_t)length < size;
}

/* Takes over `folder`. Symbolic links are removed, never followed. */
static void empty_folder(int folder, int depth) {
  DIR *entries = fdopendir(folder);
  if (!entries) {
    (void)close(folder);
    return;
  }
  for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (unlinkat(folder, entry->d_name, 0) == 0 || depth == 0) continue;
    int inner = openat(folder, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (inner < 0) continue;
    (void)fchmod(inner, 0700); /* a child may have taken its own write permission away */
    empty_folder(inner, depth - 1);
    (void)unlinkat(folder, entry->d_name, AT_REMOVEDIR);
  }
  (void)closedir(entries);
}

void directory_remove(const char *path) {
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return;
  empty_folder(folder, DEEPEST);
  (void)rmdir(path);
}

void directory_sweep(const char *runs) {
  DIR *entries = opendir(runs);
  if (!entries) return;
  for (struct dirent *entry = readdir(entries); entry; entry = readdir(entries)) {
    char *end = NULL, path[4096];
    int64_t pid = strtoll(entry->d_name, &end, 10);
    if (pid <= 0 || *end != '-') continue;
    int64_t started = strtoll(end + 1, &end, 10);
    process_stat stat;
    bool lives = process_read_stat(pid, &stat) && stat.started == started && stat.state != 'Z';
    if (*end != '\0' || lives) continue;
    if (directory_path(path, sizeof path, runs, pid, started)) directory_remove(path);
  }
  (void)closedir(entries);
}
