/* Levels, origins and the way of a record from the caller to the writer. */
#include "observe/log_parts.h"

#include "observe/metrics.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DIRECT_DESCRIPTOR 2
#define DIRECT_PATIENCE_MS 1000
#define SCRATCH_KEEP_BYTES ((size_t)16 * 1024) /* of a thread's buffers, between records */

PURLIN_COUNTER(log_records_total, "Log records made", "level");

static const char *const level_labels[] = {"debug", "info", "warning", "error"};
static const char *const journal_levels[] = {"<7>", "<6>", "<4>", "<3>"}; /* sd-daemon(3) */

typedef void origin_reader(const purlin_ctx *ctx, log_origin *origin);

static struct {
  atomic_int level;
  atomic_bool human, colour, journal; /* while the writer runs */
  atomic_bool access;
  _Atomic(origin_reader *) read_origin;
} state = {.level = PURLIN_INFO};

/* ---- A thread's own memory for lines ------------------------------------------------------------------------------------------ */

typedef struct scratch {
  buffer line, message;
} scratch;

static pthread_key_t scratch_key;
static bool scratch_key_made;
static _Thread_local scratch *scratch_mine;

static void scratch_free(void *memory) {
  scratch *mine = memory;
  buffer_free(&mine->line);
  buffer_free(&mine->message);
  free(mine);
  scratch_mine = NULL; /* another destructor of this thread may still log */
}

static void scratch_key_make(void) { scratch_key_made = pthread_key_create(&scratch_key, scratch_free) == 0; }

/* NULL: no memory; the record is then lost. */
static scratch *scratch_of_thread(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  if (scratch_mine != NULL) return scratch_mine;
  (void)pthread_once(&once, scratch_key_make);
  scratch *made = scratch_key_made ? calloc(1, sizeof *made) : NULL;
  if (made == NULL) return NULL;
  if (pthread_setspecific(scratch_key, made) != 0) {
    free(made);
    return NULL;
  }
  scratch_mine = made;
  return made;
}

static void scratch_trim(buffer *b) {
  if (b->capacity > SCRATCH_KEEP_BYTES) {
    buffer_free(b);
  } else {
    buffer_clear(b);
  }
}

/* ---- Starting and stopping ---------------------------------------------------------------------------------------------------- */

static bool terminal_has_colour(int descriptor) {
  const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");
  return isatty(descriptor) == 1 && (refused == NULL || refused[0] == '\0') &&
         (terminal == NULL || strcmp(terminal, "dumb") != 0);
}

/* Whether systemd's journal reads this descriptor, as JOURNAL_STREAM says. Lines for it begin with their level, which it takes off:
 * `journalctl -p err` finds the errors. */
static bool is_journal(int descriptor) {
  unsigned long long device, inode;
  struct stat found;
  const char *named = getenv("JOURNAL_STREAM");
  return named != NULL && sscanf(named, "%llu:%llu", &device, &inode) == 2 && fstat(descriptor, &found) == 0 &&
         found.st_dev == device && found.st_ino == inode;
}

purlin_status log_start(const log_options *options) {
  purlin_status status = log_writer_start(options->descriptor, options->access_descriptor);
  if (status != PURLIN_OK) return status;
  bool human = options->format == LOG_HUMAN || (options->format == LOG_AUTO && isatty(options->descriptor) == 1);
  atomic_store(&state.human, human);
  atomic_store(&state.journal, is_journal(options->descriptor));
  atomic_store(&state.colour, human && terminal_has_colour(options->descriptor));
  atomic_store(&state.access, options->access_descriptor >= 0);
  log_set_level(options->level);
  return PURLIN_OK;
}

void log_stop(void) {
  atomic_store(&state.access, false);
  log_writer_stop();
}

void log_flush(void) { log_writer_flush(); }

bool log_enabled(purlin_level level) { return (int)level >= atomic_load_explicit(&state.level, memory_order_relaxed); }

void log_set_level(purlin_level level) { atomic_store_explicit(&state.level, (int)level, memory_order_relaxed); }

void log_set_origin_reader(void (*read)(const purlin_ctx *ctx, log_origin *origin)) {
  atomic_store(&state.read_origin, read);
}

/* ---- Records ---------------------------------------------------------------------------------------------------------------------- */

static int64_t now_us(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* The length of a text of `size` bytes without a UTF-8 sequence that is cut in half. */
static size_t whole_characters(const char *text, size_t size) {
  size_t at = size;
  while (at > 0 && size - at < 4 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
  return at;
}

static bool format_message(log_record *record, buffer *message, const char *format, va_list arguments) {
  va_list again;
  va_copy(again, arguments);
  bool fits = buffer_reserve(message, 256);
  int size = fits ? vsnprintf(message->data, message->capacity, format, arguments) : -1;
  size_t needed = size > 0 ? (size_t)size : 0;
  if (needed > LOG_MAX_MESSAGE) {
    needed = LOG_MAX_MESSAGE;
    record->cut = true;
  }
  if (size >= 0 && needed >= message->capacity) {
    /* One byte more than is kept, so that whole_characters can look at it; then the NUL. */
    size = buffer_reserve(message, needed + 2) ? vsnprintf(message->data, needed + 2, format, again) : -1;
  }
  va_end(again);
  if (size < 0) return false;
  record->message = message->data;
  record->message_size = record->cut ? whole_characters(message->data, needed) : needed;
  return true;
}

void log_format_record(buffer *out, log_record *record) {
  if (record->unix_us == 0) record->unix_us = now_us();
  if (atomic_load_explicit(&state.journal, memory_order_relaxed)) buffer_text(out, journal_levels[record->level]);
  if (atomic_load_explicit(&state.human, memory_order_relaxed)) {
    log_format_human(out, record, atomic_load_explicit(&state.colour, memory_order_relaxed));
  } else {
    log_format_json(out, record);
  }
}

/* Before log_start and after log_stop. */
static void write_direct(scratch *mine, const log_record *record) {
  buffer_clear(&mine->line);
  if (is_journal(DIRECT_DESCRIPTOR)) buffer_text(&mine->line, journal_levels[record->level]);
  if (isatty(DIRECT_DESCRIPTOR) == 1) {
    log_format_human(&mine->line, record, terminal_has_colour(DIRECT_DESCRIPTOR));
  } else {
    log_format_json(&mine->line, record);
  }
  if (!mine->line.failed) (void)log_write_all(DIRECT_DESCRIPTOR, mine->line.data, mine->line.size, DIRECT_PATIENCE_MS);
}

static void submit(log_record *record, const char *format, va_list arguments) {
  scratch *mine = scratch_of_thread();
  if (mine == NULL || !format_message(record, &mine->message, format, arguments)) return;
  log_format_record(&mine->line, record);
  bool taken = !mine->line.failed &&
               log_writer_append(LOG_SINK_RECORDS, mine->line.data, mine->line.size, record->level == PURLIN_ERROR);
  if (!taken) write_direct(mine, record);
  scratch_trim(&mine->line);
  scratch_trim(&mine->message);
  purlin_count(log_records_total, 1, level_labels[record->level]);
}

void log_write(purlin_level level, const char *part, const char *format, ...) {
  if (!log_enabled(level)) return;
  log_record record = {.level = level, .part = part};
  va_list arguments;
  va_start(arguments, format);
  submit(&record, format, arguments);
  va_end(arguments);
}

void purlin_log(purlin_ctx *ctx, purlin_level level, const char *format, ...) {
  if (level < PURLIN_DEBUG || level > PURLIN_ERROR) level = PURLIN_ERROR;
  if (!log_enabled(level)) return;
  log_record record = {.level = level};
  origin_reader *read = atomic_load_explicit(&state.read_origin, memory_order_acquire);
  if (ctx != NULL && read != NULL) read(ctx, &record.origin);
  va_list arguments;
  va_start(arguments, format);
  submit(&record, format, arguments);
  va_end(arguments);
}

bool log_access_enabled(void) { return atomic_load_explicit(&state.access, memory_order_relaxed); }

void log_access(const access_record *record) {
  if (!log_access_enabled()) return;
  scratch *mine = scratch_of_thread();
  if (mine == NULL) return;
  struct timespec now; /* of the last tick of the kernel's clock: right to some milliseconds, and five times as cheap */
  (void)clock_gettime(CLOCK_REALTIME_COARSE, &now);
  log_format_access(&mine->line, record, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
  if (!mine->line.failed) (void)log_writer_append(LOG_SINK_ACCESS, mine->line.data, mine->line.size, false);
  scratch_trim(&mine->line);
}
