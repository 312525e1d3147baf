#include "ctl/ctl.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FRESH_S = 60, LONGEST_PATH = 4200, LARGEST_FILE = 64 * 1024 * 1024 };

/* $XDG_CACHE_HOME/purlin, ~/.cache/purlin. */
static bool find_folder(char *out, size_t size) {
  const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int length = -1;
  if (base && *base == '/') length = snprintf(out, size, "%s/purlin", base);
  else if (home && *home == '/') length = snprintf(out, size, "%s/.cache/purlin", home);
  return length > 0 && (size_t)length < size;
}

/* A folder of our own that nobody else can write to: otherwise somebody could put words into our command line. */
static int open_folder(bool make) {
  char path[LONGEST_PATH];
  struct stat about;
  if (!find_folder(path, sizeof path)) return -1;
  char *name = strrchr(path, '/');
  *name = '\0';
  if (make && mkdir(path, 0700) != 0 && errno != EEXIST) return -1;
  *name = '/';
  if (make && mkdir(path, 0700) != 0 && errno != EEXIST) return -1;
  int folder = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return -1;
  if (fstat(folder, &about) == 0 && about.st_uid == geteuid() && (about.st_mode & 022) == 0) return folder;
  (void)close(folder);
  return -1;
}

/* A server's address is no file name, and may hold a password: its hash names the file. */
static void file_name(const char *server, char out[80]) {
  uint8_t hash[32];
  char digits[65];
  text_sha256(server, strlen(server), hash);
  text_hex(hash, sizeof hash, digits);
  (void)snprintf(out, 80, "%s.json", digits);
}

static bool is_usable(int file, size_t *size) {
  struct stat about;
  if (fstat(file, &about) != 0 || !S_ISREG(about.st_mode)) return false;
  if (about.st_uid != geteuid() || (about.st_mode & 077) != 0) return false;
  if (about.st_size <= 0 || about.st_size > LARGEST_FILE) return false;
  time_t now = time(NULL);
  *size = (size_t)about.st_size;
  return about.st_mtime <= now && now - about.st_mtime < FRESH_S;
}

static bool read_all(int file, size_t size, buffer *out) {
  if (!buffer_reserve(out, size)) return false;
  while (out->size < size) {
    ssize_t got = read(file, out->data + out->size, size - out->size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out->size += (size_t)got;
  }
  return true;
}

bool cache_read(const char *server, buffer *out) {
  char name[80];
  size_t size = 0;
  int folder = open_folder(false);
  if (folder < 0) return false;
  file_name(server, name);
  int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  bool fine = file >= 0 && is_usable(file, &size) && read_all(file, size, out);
  if (file >= 0) (void)close(file);
  (void)close(folder);
  return fine;
}

void cache_write(const char *server, const buffer *text) {
  char name[80], fresh[96];
  int folder = open_folder(true);
  if (folder < 0) return;
  file_name(server, name);
  (void)snprintf(fresh, sizeof fresh, ".%s.%ld", name, (long)getpid());
  int file = openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  bool fine = file >= 0 && write(file, text->data, text->size) == (ssize_t)text->size;
  if (file >= 0 && close(file) != 0) fine = false;
  if (fine) fine = renameat(folder, fresh, folder, name) == 0;
  if (file >= 0 && !fine) (void)unlinkat(folder, fresh, 0);
  (void)close(folder);
}
