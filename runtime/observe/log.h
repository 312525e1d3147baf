/* log.h: structured records, one JSON object a line; on a terminal a line for people.
 *
 * A record is formatted on the calling thread in that thread's own memory and handed to one writer thread, which writes in
 * batches; when the writer cannot keep up, records are dropped and counted (purlin_log_dropped_total) rather than stall a
 * loop. Errors are written at once. Any thread may log; before log_start and after log_stop records go straight to stderr. */
#ifndef PURLIN_OBSERVE_LOG_H
#define PURLIN_OBSERVE_LOG_H

#include <purlin/context.h>
#include "core/buffer.h"

typedef enum log_format { LOG_AUTO, LOG_JSON, LOG_HUMAN } log_format;

typedef struct log_options {
  int descriptor;        /* usually 2; borrowed until log_stop */
  log_format format;     /* LOG_AUTO: for people on a terminal, else JSON; colours only on a terminal, without NO_COLOR */
  purlin_level level;    /* records below are not made */
  int access_descriptor; /* -1: no access log; always JSON */
} log_options;

/* PURLIN_CONFLICT when started already, PURLIN_UNAVAILABLE without memory or threads. */
PURLIN_CHECKED purlin_status log_start(const log_options *options);
void log_stop(void);  /* writes what there is */
void log_flush(void); /* waits until everything logged so far is written; for those who are about to abort */
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
