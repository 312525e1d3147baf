/* The folder of backups: contents by their names, one writer at a time. */
#include "care/backup.h"
#include "core/text.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MARK[] = "A folder of backups of Purlin, form 1. See `purlin backup --help`.\n";

static bool complain(const char *path, const char *what, buffer *why) {
  buffer_format(why, "%s: %s: %s", path, what, strerror(errno));
  return false;
}

void store_suffix(const char *recipient, char out[32]) {
  uint8_t hash[32];
  char digits[17];
  out[0] = '\0';
  if (!recipient) return;
  text_sha256(recipient, strlen(recipient), hash);
  text_hex(hash, 8, digits);
  (void)snprintf(out, 32, ".%s.age", digits);
}

void store_path(const backup_store *s, const char *sha256, const char *suffix, char out[PATH_MAX]) {
  (void)snprintf(out, PATH_MAX, "%s/files/%.2s/%s%s", s->root, sha256, sha256 + 2, suffix);
}

/* ---- Opening ---- */

static bool is_empty(const char *path) {
  DIR *folder = opendir(path);
  size_t count = 0;
  for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder))
    count +=
        strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && strcmp(entry->d_name, "lost+found") != 0;
  if (folder) (void)closedir(folder);
  return folder && count == 0;
}

static bool make_folder(const char *path, buffer *why) {
  return mkdir(path, 0700) == 0 || errno == EEXIST || complain(path, "cannot be made", why);
}

static bool make_below(const backup_store *s, const char *name, buffer *why) {
  char path[PATH_MAX];
  (void)snprintf(path, sizeof path, "%s/%s", s->root, name);
  return make_folder(path, why);
}

static bool mark_path(const backup_store *s, char out[PATH_MAX]) {
  (void)snprintf(out, PATH_MAX, "%s/purlin-backups", s->root);
  return access(out, F_OK) == 0;
}

static bool resolve(backup_store *s, const char *directory, buffer *why) {
  char path[PATH_MAX];
  *s = (backup_store){.lock = -1};
  if (!realpath(directory, path)) return complain(directory, "cannot be used", why);
  if (strlen(path) < sizeof s->root) memcpy(s->root, path, strlen(path) + 1);
  else buffer_format(why, "%s: the path is too long", path);
  return s->root[0] != '\0';
}

static bool check_mark(const backup_store *s, buffer *why) {
  char path[PATH_MAX], text[sizeof MARK] = "";
  (void)mark_path(s, path);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t size = file >= 0 ? read(file, text, sizeof text - 1) : -1;
  if (file >= 0) (void)close(file);
  if (size == (ssize_t)sizeof MARK - 1 && strcmp(text, MARK) == 0) return true;
  buffer_format(why, size < 0 ? "%s: this is no folder of backups" : "%s: a newer Purlin wrote these backups; use that one",
                s->root);
  return false;
}

bool store_open(backup_store *s, const char *directory, buffer *why) {
  return resolve(s, directory, why) && check_mark(s, why);
}

bool store_lock(backup_store *s, buffer *why) {
  char path[PATH_MAX];
  (void)snprintf(path, sizeof path, "%s/lock", s->root);
  s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (s->lock < 0) return complain(path, "cannot be opened", why);
  if (flock(s->lock, LOCK_EX | LOCK_NB) == 0) return true;
  if (errno != EWOULDBLOCK) return complain(path, "cannot be locked", why);
  buffer_format(why, "another purlin writes to %s just now; wait for it", s->root);
  return false;
}

bool store_begin(backup_store *s, const char *directory, const char *recipient, buffer *why) {
  char path[PATH_MAX];
  if (!make_folder(directory, why) || !resolve(s, directory, why)) return false;
  s->recipient = recipient;
  store_suffix(recipient, s->suffix);
  if (!mark_path(s, path)) {
    if (!is_empty(s->root)) {
      buffer_format(why, "%s holds something else than backups; give a folder of their own", s->root);
      return false;
    }
    if (!file_write(path, MARK, sizeof MARK - 1, why)) return false;
  }
  return check_mark(s, why) && store_lock(s, why) && make_below(s, "files", why) && make_below(s, "backups", why) &&
         folder_sync(s->root, why);
}

void store_end(backup_store *s) {
  if (s->lock >= 0) (void)close(s->lock);
  s->lock = -1;
}

/* ---- Contents ---- */

bool store_has(const backup_store *s, const char *sha256, int64_t stored_size) {
  char path[PATH_MAX];
  struct stat about;
  store_path(s, sha256, s->suffix, path);
  return stat(path, &about) == 0 && S_ISREG(about.st_mode) && about.st_size == stored_size;
}

static bool copy(int file, const char *path, backup_sink *sink, backup_tick *tick, void *to, buffer *why) {
  static uint8_t piece[BACKUP_PIECE];
  for (;;) {
    ssize_t got = read(file, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return complain(path, "cannot be read", why);
    if (got == 0) return true;
    if (!sink_write(sink, piece, (size_t)got, why) || !tick(to, (uint64_t)got, why)) return false;
  }
}

static bool name_it(backup_store *s, const char *fresh, const backup_sums *sums, buffer *why) {
  char path[PATH_MAX], folder[PATH_MAX];
  unsigned first = 0;
  store_path(s, sums->sha256, s->suffix, path);
  (void)snprintf(folder, sizeof folder, "%s/files/%.2s", s->root, sums->sha256);
  if (!make_folder(folder, why)) return false;
  if (rename(fresh, path) != 0) return complain(path, "cannot be named", why);
  (void)sscanf(sums->sha256, "%2x", &first);
  s->touched[first / 8] |= (uint8_t)(1u << first % 8);
  s->added++;
  s->added_bytes += sums->stored_size;
  return true;
}

/* One that is there is written again all the same: whoever reads a file twice to spare that reads more. */
bool store_put(backup_store *s, int file, const char *path, backup_tick *tick, void *to, backup_sums *out, buffer *why) {
  char fresh[PATH_MAX];
  backup_sink sink;
  (void)snprintf(fresh, sizeof fresh, "%s/files/unfinished", s->root);
  if (!sink_open(&sink, fresh, s->recipient, false, why)) return false;
  if (copy(file, path, &sink, tick, to, why)) return sink_close(&sink, tick, to, out, why) && name_it(s, fresh, out, why);
  sink_abandon(&sink);
  return false;
}

bool store_sync(backup_store *s, buffer *why) {
  char path[PATH_MAX];
  for (unsigned i = 0; i < 256; i++) {
    if (!(s->touched[i / 8] & 1u << i % 8)) continue;
    (void)snprintf(path, sizeof path, "%s/files/%02x", s->root, i);
    if (!folder_sync(path, why)) return false;
  }
  memset(s->touched, 0, sizeof s->touched);
  (void)snprintf(path, sizeof path, "%s/files", s->root);
  return folder_sync(path, why);
}

/* ---- Backups ---- */

static bool is_name(const char *text) {
  return strlen(text) == BACKUP_NAME - 1 && text[8] == 'T' && text[15] == 'Z' &&
         strspn(text, "0123456789TZ") == BACKUP_NAME - 1;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

bool store_names(const backup_store *s, backup_names *out, buffer *why) {
  char path[PATH_MAX];
  size_t room = 0;
  *out = (backup_names){0};
  (void)snprintf(path, sizeof path, "%s/backups", s->root);
  DIR *folder = opendir(path);
  if (!folder) return errno == ENOENT || complain(path, "cannot be read", why);
  for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
    if (!is_name(entry->d_name)) continue;
    if (out->count == room) {
      room = room * 2 + 64;
      void *more = reallocarray(out->items, room, sizeof *out->items);
      if (!more) break;
      out->items = more;
    }
    memcpy(out->items[out->count++], entry->d_name, BACKUP_NAME);
  }
  (void)closedir(folder);
  if (out->count > 0) qsort(out->items, out->count, sizeof *out->items, by_name);
  return true;
}

void names_free(backup_names *names) {
  free(names->items);
  *names = (backup_names){0};
}

/* Of one floor: a backup's own. */
bool remove_folder(const char *path, buffer *why) {
  DIR *folder = opendir(path);
  if (!folder) return errno == ENOENT || complain(path, "cannot be removed", why);
  bool fine = true;
  for (struct dirent *entry = readdir(folder); entry && fine; entry = readdir(folder)) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    fine = unlinkat(dirfd(folder), entry->d_name, 0) == 0 || complain(path, "cannot be emptied", why);
  }
  (void)closedir(folder);
  return fine && (rmdir(path) == 0 || complain(path, "cannot be removed", why));
}
