/* verified.c: which blobs were read whole and found right a while ago, so that they need not be hashed each time somebody wants them: a SHA-256 is
 * half of what a large file takes to send. A file that anybody has written to, renamed, linked or copied since has another time of change. */
#include "storage.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The clock of files stands still for some milliseconds: what changed only just now may change again without a trace. */
enum { PLACES = 1024, SETTLED_S = 2 };

typedef struct seen {
  char sha256[STORAGE_DIGITS + 1];
  dev_t device;
  ino_t inode;
  off_t size;
  struct timespec changed;
  time_t until; /* of the monotonic clock */
} seen;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static seen places[PLACES];
static int64_t again_after_s;

static time_t now_of(clockid_t clock) {
  struct timespec now = {0};
  (void)clock_gettime(clock, &now);
  return now.tv_sec;
}

static seen *place_of(const char *sha256) {
  char digits[9];
  memcpy(digits, sha256, 8);
  digits[8] = '\0';
  return &places[strtoul(digits, NULL, 16) % PLACES];
}

static bool is_same(const seen *s, const char *sha256, const struct stat *file) {
  return s->device == file->st_dev && s->inode == file->st_ino && s->size == file->st_size &&
         s->changed.tv_sec == file->st_ctim.tv_sec && s->changed.tv_nsec == file->st_ctim.tv_nsec &&
         strcmp(s->sha256, sha256) == 0;
}

void verified_begin(int64_t again_s) {
  (void)pthread_mutex_lock(&lock);
  again_after_s = again_s;
  memset(places, 0, sizeof places);
  (void)pthread_mutex_unlock(&lock);
}

bool verified_lately(const char *sha256, const struct stat *file) {
  (void)pthread_mutex_lock(&lock);
  const seen *s = place_of(sha256);
  bool lately = is_same(s, sha256, file) && now_of(CLOCK_MONOTONIC) < s->until;
  (void)pthread_mutex_unlock(&lock);
  return lately;
}

void verified_now(const char *sha256, const struct stat *file) {
  if (file->st_ctim.tv_sec + SETTLED_S > now_of(CLOCK_REALTIME)) return;
  (void)pthread_mutex_lock(&lock);
  seen *s = place_of(sha256);
  *s = (seen){.device = file->st_dev, .inode = file->st_ino, .size = file->st_size, .changed = file->st_ctim};
  memcpy(s->sha256, sha256, sizeof s->sha256);
  s->until = now_of(CLOCK_MONOTONIC) + again_after_s;
  (void)pthread_mutex_unlock(&lock);
}
