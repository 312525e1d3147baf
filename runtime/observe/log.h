/* log.h: structured records, one JSON object a line; on a terminal a line for people.
 *
 * A record is formatted on the calling thread into a per-thread buffer and handed to one writer thread in batches; a full
 * buffer drops records and counts them (purlin_log_dropped_total) rather than stall a loop. Errors are flushed at once. */
#ifndef PURLIN_OBSERVE_LOG_H
#define PURLIN_OBSERVE_LOG_H

#include <purlin/context.h>
#include "core/buffer.h"

struct purlin_ctx;

typedef enum log_format { LOG_AUTO, LOG_JSON, LOG_HUMAN } log_format;

typedef struct log_options {
  int descriptor;          /* default 2 */
  log_format format;
  purlin_level level;      /* records below are not made */
  int access_descriptor;   /* -1: no access log */
} log_options;

PURLIN_CHECKED purlin_status log_start(const log_options *options);
void log_stop(void); /* flushes */
bool log_enabled(purlin_level level);
void log_set_level(purlin_level level);

/* What the context contributes; loop/context.h is a floor above, so it registers itself here. */
typedef struct log_origin {
  const char *trace_id, *workspace, *plugin, *operation, *actor, *job; /* each may be NULL */
} log_origin;
void log_set_origin_reader(void (*read)(const purlin_ctx *ctx, log_origin *origin));

/* For code without a context. `part` is the folder: "http", "db". */
PURLIN_PRINTF(3, 4) void log_write(purlin_level level, const char *part, const char *format, ...);

/* One line per request: combined values, as JSON. Cheap: formatted without printf. */
typedef struct access_record {
  const char *method, *path, *route, *actor, *workspace, *trace_id, *address;
  unsigned status;
  uint64_t request_bytes, answer_bytes, duration_ns;
} access_record;
void log_access(const access_record *record);
bool log_access_enabled(void);

#endif
