/* log_parts.h: what log.c (levels, threads' scratch memory), log_format.c (texts of records) and log_writer.c (the writer
 * thread) share. Nobody outside this folder includes it. */
#ifndef PURLIN_OBSERVE_LOG_PARTS_H
#define PURLIN_OBSERVE_LOG_PARTS_H

#include "observe/log.h"

typedef struct log_record {
  int64_t unix_us;
  purlin_level level;
  const char *part; /* folder of the runtime; NULL for a record with an origin */
  log_origin origin;
  const char *message;
  size_t message_size;
  bool cut; /* the message was longer than LOG_MAX_MESSAGE */
} log_record;

#define LOG_MAX_MESSAGE ((size_t)32 * 1024)

/* One line, with its end. log_format_record chooses between the two others, and gives a record without a time the present. */
void log_format_record(buffer *out, log_record *record);
void log_format_json(buffer *out, const log_record *record);
void log_format_human(buffer *out, const log_record *record, bool colour);
void log_format_access(buffer *out, const access_record *record, int64_t unix_us);

typedef enum log_sink { LOG_SINK_RECORDS, LOG_SINK_ACCESS, LOG_SINKS } log_sink;

/* The writer thread: takes whole lines. Append returns false when there is no writer (not started, or stopped). */
PURLIN_CHECKED purlin_status log_writer_start(int records_descriptor, int access_descriptor);
void log_writer_stop(void);
void log_writer_flush(void);
bool log_writer_append(log_sink sink, const char *line, size_t size, bool at_once);
/* Writes all of it, waiting up to `patience_ms` whenever a reader does not read. Returns the bytes written; fewer than
 * `size`: errno tells why, EAGAIN that patience ended. */
size_t log_write_all(int descriptor, const char *data, size_t size, int patience_ms);

#endif
