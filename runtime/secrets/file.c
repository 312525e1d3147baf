#include "secrets/file.h"
#include "core/text.h"
#include "secrets/pages.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_KEY_FILE = 2 * KEYRING_KEY_BYTES + 2 };

static bool refuse(buffer *why, const char *path, const char *what) {
  buffer_format(why, "%s %s", path, what);
  return false;
}

/* The file, open; -1: `why` says it. */
static int open_secret(const char *path, buffer *why) {
  struct stat about;
  const char *what = NULL;
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (file < 0) {
    buffer_format(why, "cannot read %s: %s", path, strerror(errno));
    return -1;
  }
  if (fstat(file, &about) != 0) what = strerror(errno);
  else if (!S_ISREG(about.st_mode)) what = "is no file";
  else if ((about.st_mode & 07) != 0) what = "can be read or written by others: chmod o= it";
  else if ((about.st_mode & 020) != 0) what = "can be written by its group: chmod g-w it";
  if (!what) return file;
  (void)close(file);
  (void)refuse(why, path, what);
  return -1;
}

/* As many bytes as there are, up to `size`; -1 on an error. */
static ssize_t read_whole(int file, void *data, size_t size) {
  size_t got = 0;
  while (got < size) {
    ssize_t part = read(file, (char *)data + got, size - got);
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return -1;
    if (part == 0) break;
    got += (size_t)part;
  }
  return (ssize_t)got;
}

bool secret_file_read(const char *path, size_t most, buffer *out, buffer *why) {
  int file = open_secret(path, why);
  if (file < 0) return false;
  bool room = buffer_reserve(out, most + 1);
  ssize_t size = room ? read_whole(file, out->data, most + 1) : -1;
  const char *what = !room ? "cannot be read: no memory" : strerror(errno);
  (void)close(file);
  if (size >= 0 && (size_t)size <= most) {
    out->size = (size_t)size;
    return true;
  }
  if (room) text_wipe(out->data, most + 1);
  return refuse(why, path, size >= 0 ? "is too large" : what);
}

bool secret_credential_path(const char *name, char path[PATH_MAX], buffer *why) {
  const char *folder = getenv("CREDENTIALS_DIRECTORY");
  if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
    buffer_format(why, "'%.100s' is no name of a credential", name);
    return false;
  }
  if (!folder || !*folder) {
    buffer_format(
        why,
        "there is no credential %s, since systemd passes none (CREDENTIALS_DIRECTORY is not set); add LoadCredential=%s:PATH to the unit",
        name, name);
    return false;
  }
  int length = snprintf(path, PATH_MAX, "%s/%s", folder, name);
  return length > 0 && length < PATH_MAX ? true : refuse(why, folder, "is too long a path");
}

/* ---- Keys -------------------------------------------------------------------------------------------------------------------------------- */

/* The key of a text: 64 digits, and what ends a line behind them. */
static bool from_digits(const char *text, size_t size, uint8_t key[KEYRING_KEY_BYTES]) {
  while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) size--;
  return size == (size_t)2 * KEYRING_KEY_BYTES && text_unhex(text, size, key);
}

static bool add_read(keyring *k, const char *path, uint8_t *data, size_t size, buffer *why) {
  uint8_t *key = data + MOST_KEY_FILE + 1;
  if (size == KEYRING_KEY_BYTES) memcpy(key, data, size);
  else if (!from_digits((const char *)data, size, key))
    return refuse(why, path, "holds no key: 32 bytes, or 64 hexadecimal digits, such as `openssl rand -hex 32` makes");
  return keyring_add(k, key) ? true : refuse(why, path, "is one key too many, or there is no memory for it");
}

bool key_file_add(keyring *k, const char *path, buffer *why) {
  int file = open_secret(path, why);
  if (file < 0) return false;
  uint8_t *data = pages_take(MOST_KEY_FILE + 1 + KEYRING_KEY_BYTES);
  ssize_t size = data ? read_whole(file, data, MOST_KEY_FILE + 1) : -1;
  const char *what = data ? strerror(errno) : "cannot be read: no memory";
  (void)close(file);
  bool fine = size >= 0 ? add_read(k, path, data, (size_t)size, why) : refuse(why, path, what);
  pages_give(data);
  return fine;
}

static bool add_digits(keyring *k, const char *setting, size_t number, buffer *why) {
  uint8_t *key = pages_take(KEYRING_KEY_BYTES);
  bool digits = key && from_digits(setting, strlen(setting), key), fine = digits && keyring_add(k, key);
  pages_give(key);
  if (!fine)
    buffer_format(why, "keys[%zu] is %s", number,
                  digits ? "one key too many"
                         : "neither a path that begins with '/', nor \"credential:NAME\", nor 64 hexadecimal digits");
  return fine;
}

bool key_setting_add(keyring *k, const char *setting, size_t number, buffer *why) {
  static const char credential[] = "credential:";
  char path[PATH_MAX];
  if (setting[0] == '/') return key_file_add(k, setting, why);
  if (strncmp(setting, credential, sizeof credential - 1) == 0)
    return secret_credential_path(setting + sizeof credential - 1, path, why) && key_file_add(k, path, why);
  return add_digits(k, setting, number, why);
}

/* To a new file, flushed, then linked. */
bool key_file_make(const char *path, buffer *why) {
  uint8_t key[KEYRING_KEY_BYTES];
  char fresh[PATH_MAX];
  int length = snprintf(fresh, sizeof fresh, "%s.new", path);
  if (length < 0 || (size_t)length >= sizeof fresh) return refuse(why, path, "has too long a path");
  (void)unlink(fresh);
  text_random(key, sizeof key);
  int file = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool fine = file >= 0 && write(file, key, sizeof key) == (ssize_t)sizeof key && fsync(file) == 0;
  text_wipe(key, sizeof key);
  if (file >= 0 && close(file) != 0) fine = false;
  fine = fine && (link(fresh, path) == 0 || errno == EEXIST);
  const char *what = strerror(errno);
  (void)unlink(fresh);
  if (!fine) buffer_format(why, "cannot make %s: %s", path, what);
  return fine;
}
