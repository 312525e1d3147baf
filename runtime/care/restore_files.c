/* Files come back to where this installation has them, with the service as their owner, each whole or not at all. */
#include "care/restore.h"
#include "core/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static const backup_place *find_place(const restoring *r, const char *name) {
  for (size_t i = 0; i < r->places.count; i++)
    if (strcmp(r->places.items[i].name, name) == 0) return &r->places.items[i];
  return NULL;
}

static bool is_configuration(const char *name) {
  return strcmp(name, "configuration") == 0 || strcmp(name, "policies") == 0;
}

bool restore_match_places(restoring *r) {
  for (size_t i = 0; i < r->read.m.folders.count; i++) {
    const backup_folder *folder = &r->read.m.folders.items[i];
    if (folder->files == 0 || is_configuration(folder->name) || find_place(r, folder->name)) continue;
    buffer_format(&r->why,
                  "the backup has files of %s, and no plugin here has such a folder: install the plugin, or enable it",
                  folder->name);
    return false;
  }
  return true;
}

/* ---- What is there already ---- */

static bool count(void *to, const char *path, const char *relative) {
  (void)path;
  (void)relative;
  ++*(int64_t *)to;
  return true;
}

int64_t restore_count_files(restoring *r) {
  int64_t files = 0;
  for (size_t i = 0; i < r->places.count; i++)
    if (!r->places.items[i].secret && !place_walk(&r->places.items[i], count, &files, &r->why)) return -1;
  return files;
}

bool restore_put_aside(restoring *r) {
  for (size_t i = 0; i < r->places.count; i++) {
    const backup_place *place = &r->places.items[i];
    char aside[PATH_MAX];
    int64_t files = 0;
    if (place->secret || access(place->path, F_OK) != 0) continue;
    if (!place_walk(place, count, &files, &r->why)) return false;
    if (files == 0) continue;
    (void)snprintf(aside, sizeof aside, "%.*s.replaced-%lld", PATH_MAX - 64, place->path, (long long)time(NULL));
    if (rename(place->path, aside) != 0) {
      buffer_format(&r->why, "%s cannot be put aside: %s", place->path, strerror(errno));
      return false;
    }
    report_say(&r->report, "          what was in %s is now in %s; remove it when you no longer need it", place->path,
               aside);
  }
  return true;
}

/* Of the file system that the folder is on, or will be. */
static uint64_t room_at(const char *path) {
  char above[PATH_MAX];
  struct statvfs about;
  (void)snprintf(above, sizeof above, "%s", path);
  while (statvfs(above, &about) != 0) {
    char *slash = strrchr(above, '/');
    if (!slash || slash == above) return UINT64_MAX;
    *slash = '\0';
  }
  return (uint64_t)about.f_bavail * about.f_frsize;
}

bool restore_has_room(restoring *r) {
  for (size_t i = 0; i < r->read.m.folders.count; i++) {
    const backup_folder *folder = &r->read.m.folders.items[i];
    const backup_place *place = find_place(r, folder->name);
    uint64_t room = place ? room_at(place->path) : UINT64_MAX;
    if (room >= (uint64_t)folder->bytes) continue;
    buffer_format(&r->why, "%s has room for ", place->path);
    report_add_bytes(&r->why, room);
    buffer_text(&r->why, ", the files need ");
    report_add_bytes(&r->why, (uint64_t)folder->bytes);
    return false;
  }
  return true;
}

/* ---- Writing ---- */

typedef struct writing {
  restoring *r;
  const char *suffix; /* how the contents are stored */
  bool later;         /* the list is a later backup's: keys stay those of the one that is restored */
  int64_t files, kept, skipped;
} writing;

static bool complain(restoring *r, const char *path, const char *what) {
  buffer_format(&r->why, "%s: %s: %s", path, what, strerror(errno));
  return false;
}

/* Only root can; anybody else is the owner already. */
static bool give(restoring *r, const char *path, const char *folder) {
  if (!r->place.root || !r->place.has_user) return true;
  uid_t owner = is_configuration(folder) ? 0 : r->place.uid;
  return lchown(path, owner, r->place.gid) == 0 || complain(r, path, "cannot be given to the service");
}

/* The folders of a path below `root`, which is made too. */
static bool make_folders(restoring *r, const char *root, const char *relative, const char *folder) {
  char path[PATH_MAX];
  size_t base = (size_t)snprintf(path, sizeof path, "%s/%s", root, relative), at = strlen(root);
  if (base >= sizeof path) return errno = ENAMETOOLONG, complain(r, root, "cannot be made");
  for (;;) {
    path[at] = '\0';
    if (mkdir(path, 0700) == 0) {
      if (!give(r, path, folder)) return false;
    } else if (errno != EEXIST) return complain(r, path, "cannot be made");
    path[at] = '/';
    const char *next = strchr(path + at + 1, '/');
    if (!next) return true;
    at = (size_t)(next - path);
  }
}

/* A path of a list goes below its folder, whatever somebody wrote into it. */
static bool is_safe(const char *path) {
  if (*path == '/' || *path == '\0') return false;
  for (const char *at = path; at; at = strchr(at, '/')) {
    at += *at == '/';
    size_t size = strcspn(at, "/");
    if (size == 0 || (size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.')) return false;
  }
  return true;
}

static bool is_there(restoring *r, const char *path, const backup_file *file) {
  char sha256[BACKUP_DIGITS + 1];
  struct stat about;
  int64_t size;
  buffer ignored = {0};
  bool same = lstat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == file->content.size &&
              file_sum(path, sha256, &size, restore_tick, r, &ignored) && strcmp(sha256, file->content.sha256) == 0;
  buffer_free(&ignored);
  return same;
}

static bool pour(restoring *r, backup_source *source, int file, const char *path) {
  static char piece[BACKUP_PIECE];
  for (;;) {
    ssize_t got = source_read(source, piece, sizeof piece, &r->why);
    if (got <= 0) return got == 0;
    if (!file_write_all(file, piece, (size_t)got)) return complain(r, path, "cannot be written");
    (void)restore_tick(r, (uint64_t)got, &r->why);
  }
}

static bool write_file(restoring *r, const char *suffix, const char *path, const backup_file *file) {
  char fresh[PATH_MAX], from[PATH_MAX];
  backup_source source;
  const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = file->mtime_ns / 1000000000, .tv_nsec = file->mtime_ns % 1000000000}};
  store_path(&r->store, file->content.sha256, suffix, from);
  (void)snprintf(fresh, sizeof fresh, "%.*s.restoring", PATH_MAX - 16, path);
  if (!source_open(&source, from, suffix[0] ? r->key_file : NULL, false, &r->why)) return false;
  int out = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  bool fine = out >= 0 || complain(r, fresh, "cannot be made");
  fine = fine && pour(r, &source, out, fresh);
  if (fine) fine = source_close(&source, &file->content, &r->why);
  else source_abandon(&source);
  fine = fine && give(r, fresh, file->folder);
  if (fine && (fchmod(out, (mode_t)file->mode & 0777) != 0 || futimens(out, times) != 0 || fsync(out) != 0))
    fine = complain(r, fresh, "cannot be written");
  if (out >= 0) (void)close(out);
  if (fine && rename(fresh, path) != 0) fine = complain(r, path, "cannot be named");
  if (!fine) (void)unlink(fresh);
  return fine;
}

/* NULL: it is not wanted. */
static const char *root_of(const restoring *r, const char *folder, char out[PATH_MAX]) {
  if (!is_configuration(folder)) {
    const backup_place *place = find_place(r, folder);
    return place ? place->path : NULL;
  }
  if (!r->configuration_to) return NULL;
  (void)snprintf(out, PATH_MAX, "%s%s", r->configuration_to, strcmp(folder, "policies") == 0 ? "/policies" : "");
  return out;
}

/* A key that is another one here than in the backup may still be needed by somebody. */
static bool keep_own(restoring *r, const char *path, const char *folder) {
  char aside[PATH_MAX];
  if (strcmp(folder, "state") != 0 || access(path, F_OK) != 0) return true;
  (void)snprintf(aside, sizeof aside, "%.*s.replaced-%lld", PATH_MAX - 64, path, (long long)time(NULL));
  if (rename(path, aside) != 0) return complain(r, path, "cannot be put aside");
  report_say(&r->report, "          %s was another one here: it is now %s", path, aside);
  return true;
}

static bool restore_file(void *to, const backup_file *file) {
  writing *w = to;
  restoring *r = w->r;
  char path[PATH_MAX], room[PATH_MAX], above[PATH_MAX];
  bool own = is_configuration(file->folder) || strcmp(file->folder, "state") == 0;
  const char *root = w->later && own ? NULL : root_of(r, file->folder, room);
  w->skipped += root == NULL;
  if (!root) return true;
  int size = is_safe(file->path) ? snprintf(path, sizeof path, "%s/%s", root, file->path) : -1;
  if (size < 0 || (size_t)size >= sizeof path - 16) {
    buffer_format(&r->why, "the list names a file that cannot be: %s", file->path);
    return false;
  }
  w->files++;
  if (is_configuration(file->folder) && !make_folders(r, r->configuration_to, "x", file->folder)) return false;
  if (!make_folders(r, root, file->path, file->folder)) return false;
  if (is_there(r, path, file)) {
    w->kept++;
    return give(r, path, file->folder);
  }
  if (!keep_own(r, path, file->folder) || !write_file(r, w->suffix, path, file)) return false;
  (void)snprintf(above, sizeof above, "%s", path);
  char *slash = strrchr(above, '/');
  if (slash) *slash = '\0';
  return folder_sync(above, &r->why);
}

static bool restore_list(restoring *r, const char *name, writing *w) {
  char path[PATH_MAX];
  (void)snprintf(path, sizeof path, "%s/backups/%s/files.list", r->store.root, name);
  return backup_list_read(path, false, restore_file, w, &r->why);
}

bool restore_files(restoring *r, buffer *detail) {
  writing w = {.r = r, .suffix = r->suffix};
  int64_t expected = 0;
  r->done = r->total = 0;
  for (size_t i = 0; i < r->read.m.folders.count; i++) {
    r->total += (uint64_t)r->read.m.folders.items[i].bytes;
    expected += r->read.m.folders.items[i].files;
  }
  if (!restore_list(r, r->read.m.name, &w)) return false;
  if (w.files + w.skipped != expected) {
    buffer_format(&r->why, "files.list of %s has %lld files, its manifest says %lld", r->read.m.name,
                  (long long)w.files + (long long)w.skipped, (long long)expected);
    return false;
  }
  int64_t skipped = w.skipped;
  for (size_t i = 0; i < r->follower_count; i++) {
    w.later = true;
    w.suffix = r->followers[i].suffix;
    if (!restore_list(r, r->followers[i].name, &w)) return false;
  }
  buffer_format(detail, "%lld, each with its SHA-256", (long long)(w.files - (r->follower_count > 0 ? w.kept : 0)));
  if (w.kept > 0 && r->follower_count == 0) buffer_format(detail, "; %lld of them were there already", (long long)w.kept);
  if (skipped > 0) buffer_format(detail, "; purlin.lua and policies were left alone (--configuration-to DIR)");
  return true;
}
