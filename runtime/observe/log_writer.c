/* The writer: one thread, and per sink two buffers that swap.
 *
 * Why one lock and not a ring per thread: a line is formatted outside the lock, so the lock is held for one memcpy of a few
 * hundred bytes; there is one thread per core that logs much; and records of all threads stay in order, the memory is
 * bounded for the whole process, and threads that come and go need no registration.
 *
 * The writer is woken by the first line in an empty buffer, waits a moment for more to come, and writes what there is by one
 * system call. Errors and a half-full buffer wake it at once. */
#include "observe/log_parts.h"

#include "core/text.h"
#include "observe/metrics.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1024 * 1024)
#define GATHER_MS 20
#define PATIENCE_MS 2000 /* with a reader that does not read, once we stop */

PURLIN_COUNTER(log_dropped_total, "Log lines dropped because the writer could not keep up, or their target failed", "sink");

static const char *const sink_names[LOG_SINKS] = {"records", "access"};

typedef struct sink {
  int descriptor; /* -1: none */
  char *front, *back;
  size_t size; /* of the front */
} sink;

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake, written;
  pthread_t thread;
  bool running, stopping, urgent;
  uint64_t appended, done; /* lines, ever */
  uint64_t dropped;        /* since a record said so */
  sink sinks[LOG_SINKS];
} writer = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct timespec after_ms(long milliseconds) {
  struct timespec at;
  (void)clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_sec += milliseconds / 1000;
  at.tv_nsec += milliseconds % 1000 * 1000000;
  if (at.tv_nsec >= 1000000000) {
    at.tv_sec++;
    at.tv_nsec -= 1000000000;
  }
  return at;
}

static bool wait_writable(int descriptor, int patience_ms) {
  struct pollfd wait = {.fd = descriptor, .events = POLLOUT};
  int ready;
  do { ready = poll(&wait, 1, patience_ms); } while (ready < 0 && errno == EINTR);
  return ready > 0;
}

size_t log_write_all(int descriptor, const char *data, size_t size, int patience_ms) {
  size_t done = 0;
  while (done < size) {
    ssize_t wrote = write(descriptor, data + done, size - done);
    if (wrote >= 0) {
      done += (size_t)wrote;
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (!wait_writable(descriptor, patience_ms)) {
        errno = EAGAIN;
        break;
      }
    } else if (errno != EINTR) {
      break;
    }
  }
  return done;
}

/* A reader that pauses loses nothing but what overflows meanwhile, until we stop. False: some was lost. */
static bool write_patiently(int descriptor, const char *data, size_t size) {
  for (;;) {
    size_t done = log_write_all(descriptor, data, size, PATIENCE_MS);
    if (done == size) return true;
    data += done;
    size -= done;
    bool pausing = errno == EAGAIN;
    pthread_mutex_lock(&writer.lock);
    bool stopping = writer.stopping;
    pthread_mutex_unlock(&writer.lock);
    if (pausing && !stopping) continue;
    return false;
  }
}

static size_t count_lines(const char *data, size_t size) {
  size_t lines = 0;
  for (const char *end = data + size; (data = memchr(data, '\n', (size_t)(end - data))) != NULL; data++) lines++;
  return lines;
}

/* Under the lock, once there is room: a record that tells of lost lines. */
static void tell_dropped(void) {
  sink *records = &writer.sinks[LOG_SINK_RECORDS];
  if (writer.dropped == 0 || records->descriptor < 0) return;
  static const char words[] = " log lines were dropped: the writer could not keep up";
  char message[24 + sizeof words];
  size_t digits = text_from_int((int64_t)writer.dropped, message);
  memcpy(message + digits, words, sizeof words);
  log_record record = {.level = PURLIN_WARNING, .part = "observe", .message = message};
  record.message_size = digits + sizeof words - 1;
  buffer line = {0};
  log_format_record(&line, &record);
  if (!line.failed && line.size <= BUFFER_BYTES - records->size) {
    memcpy(records->front + records->size, line.data, line.size);
    records->size += line.size;
    writer.dropped = 0;
  }
  buffer_free(&line);
}

/* Under the lock, which it leaves while it writes. */
static void write_out(void) {
  size_t sizes[LOG_SINKS];
  for (size_t i = 0; i < LOG_SINKS; i++) {
    sink *s = &writer.sinks[i];
    char *full = s->front;
    sizes[i] = s->size;
    s->front = s->back;
    s->back = full;
    s->size = 0;
  }
  tell_dropped();
  uint64_t upto = writer.appended;
  writer.urgent = false;
  pthread_mutex_unlock(&writer.lock);
  for (size_t i = 0; i < LOG_SINKS; i++) {
    const sink *s = &writer.sinks[i]; /* back and descriptor are the writer's while it runs */
    if (sizes[i] == 0 || write_patiently(s->descriptor, s->back, sizes[i])) continue;
    purlin_count(log_dropped_total, (double)count_lines(s->back, sizes[i]), sink_names[i]);
  }
  pthread_mutex_lock(&writer.lock);
  writer.done = upto;
  (void)pthread_cond_broadcast(&writer.written);
}

static bool anything_pending(void) {
  for (size_t i = 0; i < LOG_SINKS; i++) {
    if (writer.sinks[i].size > 0) return true;
  }
  return false;
}

static void *writer_run(void *unused) {
  (void)unused;
  pthread_mutex_lock(&writer.lock);
  while (!writer.stopping || anything_pending()) {
    while (!anything_pending() && !writer.stopping) (void)pthread_cond_wait(&writer.wake, &writer.lock);
    struct timespec until = after_ms(GATHER_MS);
    int waited = 0;
    while (!writer.urgent && !writer.stopping && waited != ETIMEDOUT) {
      waited = pthread_cond_timedwait(&writer.wake, &writer.lock, &until);
    }
    write_out();
  }
  pthread_mutex_unlock(&writer.lock);
  return NULL;
}

static void sinks_free(void) {
  for (size_t i = 0; i < LOG_SINKS; i++) {
    free(writer.sinks[i].front);
    free(writer.sinks[i].back);
    writer.sinks[i] = (sink){.descriptor = -1};
  }
}

static bool sinks_make(const int *descriptors) {
  for (size_t i = 0; i < LOG_SINKS; i++) {
    sink *s = &writer.sinks[i];
    *s = (sink){.descriptor = descriptors[i]};
    if (s->descriptor < 0) continue;
    s->front = malloc(BUFFER_BYTES);
    s->back = malloc(BUFFER_BYTES);
    if (s->front == NULL || s->back == NULL) return false;
  }
  return true;
}

static bool conditions_make(void) {
  pthread_condattr_t clock;
  if (pthread_condattr_init(&clock) != 0) return false;
  bool made = pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0 && pthread_cond_init(&writer.wake, &clock) == 0;
  if (made && pthread_cond_init(&writer.written, &clock) != 0) {
    (void)pthread_cond_destroy(&writer.wake);
    made = false;
  }
  (void)pthread_condattr_destroy(&clock);
  return made;
}

/* Signals are for other threads; a broken pipe is an error of write(). */
static bool thread_make(void) {
  sigset_t all, before;
  (void)sigfillset(&all);
  if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  bool made = pthread_create(&writer.thread, NULL, writer_run, NULL) == 0;
  (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
  return made;
}

purlin_status log_writer_start(int records_descriptor, int access_descriptor) {
  const int descriptors[LOG_SINKS] = {records_descriptor, access_descriptor};
  pthread_mutex_lock(&writer.lock);
  purlin_status status = PURLIN_OK;
  if (writer.running) {
    status = PURLIN_CONFLICT;
  } else if (!sinks_make(descriptors) || !conditions_make()) {
    sinks_free();
    status = PURLIN_UNAVAILABLE;
  } else {
    writer.stopping = writer.urgent = false;
    writer.running = thread_make();
    if (!writer.running) {
      (void)pthread_cond_destroy(&writer.wake);
      (void)pthread_cond_destroy(&writer.written);
      sinks_free();
      status = PURLIN_UNAVAILABLE;
    }
  }
  pthread_mutex_unlock(&writer.lock);
  return status;
}

void log_writer_stop(void) {
  pthread_mutex_lock(&writer.lock);
  if (!writer.running || writer.stopping) {
    pthread_mutex_unlock(&writer.lock);
    return;
  }
  writer.stopping = true;
  (void)pthread_cond_signal(&writer.wake);
  pthread_mutex_unlock(&writer.lock);
  (void)pthread_join(writer.thread, NULL);
  pthread_mutex_lock(&writer.lock);
  writer.running = false;
  sinks_free();
  (void)pthread_cond_destroy(&writer.wake);
  (void)pthread_cond_destroy(&writer.written);
  pthread_mutex_unlock(&writer.lock);
}

void log_writer_flush(void) {
  pthread_mutex_lock(&writer.lock);
  uint64_t want = writer.appended;
  struct timespec until = after_ms(PATIENCE_MS);
  while (writer.running && !writer.stopping && writer.done < want) {
    writer.urgent = true;
    (void)pthread_cond_signal(&writer.wake);
    if (pthread_cond_timedwait(&writer.written, &writer.lock, &until) == ETIMEDOUT) break;
  }
  pthread_mutex_unlock(&writer.lock);
}

bool log_writer_append(log_sink which, const char *line, size_t size, bool at_once) {
  sink *s = &writer.sinks[which];
  bool dropped = false;
  pthread_mutex_lock(&writer.lock);
  if (!writer.running || writer.stopping) {
    pthread_mutex_unlock(&writer.lock);
    return false;
  }
  bool was_empty = !anything_pending();
  if (s->descriptor < 0 || size > BUFFER_BYTES - s->size) {
    dropped = s->descriptor >= 0;
    writer.dropped += dropped ? 1 : 0;
  } else {
    memcpy(s->front + s->size, line, size);
    s->size += size;
    writer.appended++;
    bool hurry = (at_once || s->size > BUFFER_BYTES / 2) && !writer.urgent;
    if (hurry) writer.urgent = true;
    if (hurry || was_empty) (void)pthread_cond_signal(&writer.wake);
  }
  pthread_mutex_unlock(&writer.lock);
  if (dropped) purlin_count(log_dropped_total, 1, sink_names[which]);
  return true;
}
