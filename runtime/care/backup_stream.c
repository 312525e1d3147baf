/* Contents on their way to a file and back. Encryption is age's: it stands between us and the file, so that no clear text is ever on the
 * disk. */
#include "care/backup.h"
#include "core/file.h"
#include "core/text.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PACKED = 256 * 1024, GZIP = 15 + 16, LAST_WORDS = 600 };

static bool complain(const char *path, const char *what, buffer *why) {
  buffer_format(why, "%s: %s: %s", path, what, strerror(errno));
  return false;
}

static ssize_t read_some(int file, void *out, size_t size) {
  ssize_t got;
  do got = read(file, out, size);
  while (got < 0 && errno == EINTR);
  return got;
}

static void close_one(int *file) {
  if (*file >= 0) (void)close(*file);
  *file = -1;
}

/* ---- Another program ---- */

typedef struct start {
  const char *path;
  const run_program *program;
  const struct passwd *who; /* NULL: as ourselves */
  int in, out, errors;
  pid_t parent;
} start;

_Noreturn static void become(const start *s) {
  if (s->who &&
      (initgroups(s->who->pw_name, s->who->pw_gid) != 0 || setgid(s->who->pw_gid) != 0 || setuid(s->who->pw_uid) != 0))
    _exit(126);
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != s->parent) _exit(126);
  if (signal(SIGPIPE, SIG_DFL) == SIG_ERR) _exit(126);
  if (dup2(s->in, 0) < 0 || dup2(s->out, 1) < 0 || dup2(s->errors, 2) < 0) _exit(126);
  (void)close_range(3, UINT_MAX, 0);
  for (const char *const *each = s->program->environment; each && *each; each++)
    if (putenv((char *)(uintptr_t)*each) != 0) _exit(126);
  execv(s->path, (char *const *)(uintptr_t)s->program->arguments);
  _exit(127);
}

bool filter_start(backup_filter *f, const run_program *program, int in, int out, buffer *why) {
  char path[PATH_MAX];
  const char *name = program->arguments[0];
  bool other = program->user != 0 && program->user != geteuid();
  start s = {.path = path, .program = program, .in = in, .out = out, .parent = getpid()};
  *f = (backup_filter){.errors = -1};
  if (!run_find(name, path)) {
    buffer_format(why, "the program %s is not installed here", name);
    return false;
  }
  if (other) s.who = getpwuid(program->user);
  if (other && !s.who) return complain(name, "its user is not known here", why);
  s.errors = f->errors = memfd_create("purlin-errors", MFD_CLOEXEC);
  if (f->errors >= 0) f->pid = fork();
  if (f->errors >= 0 && f->pid == 0) become(&s);
  if (f->errors >= 0 && f->pid > 0) return true;
  close_one(&f->errors);
  f->pid = 0;
  return complain(name, "cannot be started", why);
}

bool filter_end(backup_filter *f, const char *name, buffer *why) {
  int status = 0;
  if (f->pid == 0) return true;
  while (waitpid(f->pid, &status, 0) < 0 && errno == EINTR) {}
  f->pid = 0;
  bool fine = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  char words[LAST_WORDS];
  ssize_t size = fine ? 0 : pread(f->errors, words, sizeof words, 0);
  while (size > 0 && words[size - 1] == '\n') size--;
  if (!fine) buffer_format(why, "%s failed: %.*s", name, size > 0 ? (int)size : 0, words);
  close_one(&f->errors);
  return fine;
}

/* ---- Sums ---- */

static EVP_MD_CTX *digest_new(void) {
  EVP_MD_CTX *digest = EVP_MD_CTX_new();
  if (digest && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1) return digest;
  EVP_MD_CTX_free(digest);
  return NULL;
}

static bool digest_end(EVP_MD_CTX *digest, char out[BACKUP_DIGITS + 1]) {
  uint8_t hash[32];
  if (EVP_DigestFinal_ex(digest, hash, NULL) != 1) return false;
  text_hex(hash, sizeof hash, out);
  return true;
}

bool file_sum(const char *path, char sha256[BACKUP_DIGITS + 1], int64_t *size, backup_tick *tick, void *to, buffer *why) {
  static uint8_t piece[BACKUP_PIECE];
  int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file < 0) return complain(path, "cannot be read", why);
  EVP_MD_CTX *digest = digest_new();
  ssize_t got = digest ? 1 : -1;
  bool fine = true;
  *size = 0;
  while (got > 0 && fine) {
    got = read_some(file, piece, sizeof piece);
    if (got <= 0) break;
    *size += got;
    fine = EVP_DigestUpdate(digest, piece, (size_t)got) == 1 && (!tick || tick(to, (uint64_t)got, why));
  }
  if (got < 0) (void)complain(path, "cannot be read", why);
  fine = fine && got == 0 && digest_end(digest, sha256);
  EVP_MD_CTX_free(digest);
  (void)close(file);
  return fine;
}

backup_content sums_content(const backup_sums *sums) {
  return (backup_content){sums->sha256, sums->size, sums->stored_sha256, sums->stored_size};
}

/* ---- To a file ---- */

static bool start_age(backup_sink *s, const char *recipient, buffer *why) {
  const char *const arguments[] = {"age", "--encrypt", "--recipient", recipient, NULL};
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return complain(s->path, "no pipe", why);
  bool fine = filter_start(&s->age, &(run_program){.arguments = arguments}, ends[0], s->file, why);
  (void)close(ends[0]);
  s->to = ends[1];
  return fine;
}

static void sink_free(backup_sink *s) {
  if (s->to != s->file) close_one(&s->to);
  close_one(&s->file);
  if (s->compressed) (void)deflateEnd(&s->zip);
  EVP_MD_CTX_free(s->digest);
  free(s->packed);
  s->digest = NULL;
  s->packed = NULL;
}

bool sink_open(backup_sink *s, const char *path, const char *recipient, bool compressed, buffer *why) {
  *s = (backup_sink){.file = -1, .to = -1, .age = {.errors = -1}};
  (void)snprintf(s->path, sizeof s->path, "%s", path);
  s->file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (s->file < 0) return complain(path, "cannot be made", why);
  s->to = s->file;
  s->digest = digest_new();
  s->packed = compressed ? malloc(PACKED) : NULL;
  s->compressed = compressed && s->packed && deflateInit2(&s->zip, 1, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) == Z_OK;
  bool fine = s->digest && s->compressed == compressed;
  if (!fine) buffer_text(why, "no memory");
  if (fine && recipient) fine = start_age(s, recipient, why);
  if (!fine) sink_abandon(s);
  return fine;
}

static bool deliver(backup_sink *s, const void *data, size_t size, buffer *why) {
  if (file_write_all(s->to, data, size)) return true;
  s->failed = true;
  int error = errno;
  if (s->age.pid > 0 && error == EPIPE) { /* it says why */
    close_one(&s->to);
    s->to = s->file;
    if (!filter_end(&s->age, "age", why)) return false;
  }
  errno = error;
  return complain(s->path, "cannot be written", why);
}

static bool pack(backup_sink *s, const void *data, size_t size, int flush, buffer *why) {
  s->zip.next_in = (Bytef *)(uintptr_t)data;
  s->zip.avail_in = (uInt)size;
  do {
    s->zip.next_out = s->packed;
    s->zip.avail_out = PACKED;
    (void)deflate(&s->zip, flush);
    if (!deliver(s, s->packed, PACKED - s->zip.avail_out, why)) return false;
  } while (s->zip.avail_out == 0);
  return true;
}

bool sink_write(backup_sink *s, const void *data, size_t size, buffer *why) {
  s->size += (int64_t)size;
  if (EVP_DigestUpdate(s->digest, data, size) != 1) {
    buffer_text(why, "SHA-256 does not work here");
    return false;
  }
  return s->compressed ? pack(s, data, size, Z_NO_FLUSH, why) : deliver(s, data, size, why);
}

typedef struct ticking {
  backup_tick *tick;
  void *to;
} ticking;

/* Bytes that are read once more are no progress. */
static bool tick_again(void *to, uint64_t bytes, buffer *why) {
  const ticking *t = to;
  (void)bytes;
  return !t->tick || t->tick(t->to, 0, why);
}

/* Reading it back is the first check of it. */
static bool sum_stored(const backup_sink *s, ticking *t, backup_sums *out, buffer *why) {
  bool as_it_is = !s->compressed && s->to == s->file;
  if (!as_it_is) return file_sum(s->path, out->stored_sha256, &out->stored_size, tick_again, t, why);
  memcpy(out->stored_sha256, out->sha256, sizeof out->sha256);
  out->stored_size = out->size;
  return true;
}

bool sink_close(backup_sink *s, backup_tick *tick, void *to, backup_sums *out, buffer *why) {
  bool fine = !s->compressed || pack(s, "", 0, Z_FINISH, why), encrypted = s->age.pid > 0;
  if (encrypted) close_one(&s->to);
  fine = filter_end(&s->age, "age", why) && fine;
  *out = (backup_sums){.size = s->size};
  if (fine && fsync(s->file) != 0) fine = complain(s->path, "cannot be written", why);
  fine = fine && digest_end(s->digest, out->sha256) && sum_stored(s, &(ticking){tick, to}, out, why);
  if (!fine) (void)unlink(s->path);
  sink_free(s);
  return fine;
}

void sink_abandon(backup_sink *s) {
  buffer nothing = {0};
  if (s->to != s->file) close_one(&s->to);
  s->to = s->file;
  (void)filter_end(&s->age, "age", &nothing);
  buffer_free(&nothing);
  sink_free(s);
  (void)unlink(s->path);
}

/* ---- From a file ---- */

bool source_open(backup_source *s, const char *path, const char *key_file, bool compressed, buffer *why) {
  const char *const arguments[] = {"age", "--decrypt", "--identity", key_file, NULL};
  *s = (backup_source){.file = -1, .from = -1, .age = {.errors = -1}};
  (void)snprintf(s->path, sizeof s->path, "%s", path);
  s->file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (s->file < 0) return complain(path, "cannot be read", why);
  int ends[2] = {-1, -1};
  s->from = s->file;
  s->digest = digest_new();
  s->packed = compressed ? malloc(PACKED) : NULL;
  s->compressed = compressed && s->packed && inflateInit2(&s->zip, GZIP) == Z_OK;
  bool fine = s->digest && s->compressed == compressed;
  if (!fine) buffer_text(why, "no memory");
  if (fine && key_file) {
    fine = (pipe2(ends, O_CLOEXEC) == 0 || complain(path, "no pipe", why)) &&
           filter_start(&s->age, &(run_program){.arguments = arguments}, s->file, ends[1], why);
    close_one(&ends[1]);
    s->from = ends[0];
  }
  if (!fine) source_abandon(s);
  return fine;
}

static ssize_t take(backup_source *s, void *out, size_t size, buffer *why) {
  ssize_t got = read_some(s->from, out, size);
  if (got < 0) (void)complain(s->path, "cannot be read", why);
  if (got == 0 && s->age.pid > 0 && !filter_end(&s->age, "age", why)) {
    buffer_format(why, " (%s)", s->path);
    return -1;
  }
  return got;
}

static ssize_t unpack(backup_source *s, void *out, size_t size, buffer *why) {
  s->zip.next_out = out;
  s->zip.avail_out = (uInt)size;
  while (s->zip.avail_out == size && !s->ended) {
    ssize_t got = s->zip.avail_in > 0 ? 1 : take(s, s->packed, PACKED, why);
    if (got < 0) return -1;
    if (s->zip.avail_in == 0) {
      s->zip.next_in = s->packed;
      s->zip.avail_in = (uInt)got;
    }
    int result = got > 0 ? inflate(&s->zip, Z_NO_FLUSH) : Z_DATA_ERROR;
    s->ended = result == Z_STREAM_END;
    if (result == Z_OK || result == Z_STREAM_END) continue;
    buffer_format(why, "%s: it is not a whole gzip file", s->path);
    return -1;
  }
  return (ssize_t)(size - s->zip.avail_out);
}

ssize_t source_read(backup_source *s, void *out, size_t size, buffer *why) {
  ssize_t got = s->compressed ? unpack(s, out, size, why) : take(s, out, size, why);
  if (got <= 0) return got;
  s->size += got;
  if (EVP_DigestUpdate(s->digest, out, (size_t)got) == 1) return got;
  buffer_text(why, "SHA-256 does not work here");
  return -1;
}

void source_abandon(backup_source *s) {
  buffer nothing = {0};
  if (s->from != s->file) close_one(&s->from);
  close_one(&s->file);
  (void)filter_end(&s->age, "age", &nothing);
  buffer_free(&nothing);
  if (s->compressed) (void)inflateEnd(&s->zip);
  EVP_MD_CTX_free(s->digest);
  free(s->packed);
  *s = (backup_source){.file = -1, .from = -1, .age = {.errors = -1}};
}

bool source_close(backup_source *s, const backup_content *expected, buffer *why) {
  char sha256[BACKUP_DIGITS + 1] = "";
  uint8_t rest[256];
  /* What follows on the end of gzip is age's to say, too. */
  bool fine = s->age.pid == 0 || take(s, rest, sizeof rest, why) == 0;
  if (fine && (!digest_end(s->digest, sha256) || strcmp(sha256, expected->sha256) != 0 || s->size != expected->size)) {
    buffer_format(why, "%s: its bytes have changed: they should be %lld with the SHA-256 %s and are %lld with %s", s->path,
                  (long long)expected->size, expected->sha256, (long long)s->size, sha256);
    fine = false;
  }
  source_abandon(s);
  return fine;
}
