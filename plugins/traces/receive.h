/* receive.h: OpenTelemetry's protocol over HTTP: the inside of receive.c, batch.c, answer.c and inflate.c.
 *
 * A body, in protocol buffers or JSON, perhaps compressed, is read span by span. As many as make a few megabytes at most go to
 * traces.log_spans together, so that memory stays flat; what was told once may be told again. */
#ifndef TRACES_RECEIVE_H
#define TRACES_RECEIVE_H

#include "otlp.h"
#include "traces.h"

/* Undoes a Content-Encoding (NULL: none). `limit` is that of what comes out. What is wrong is recorded. May park. */
PURLIN_CHECKED purlin_status receive_inflate(purlin_ctx *ctx, const char *encoding, size_t limit, const char **body,
                                             size_t *size);

/* Spans on their way. */
typedef struct receiving {
  const char *experiment_id, *run_id;
  traces_span *spans; /* as many as a batch has */
  size_t count, bytes;
  purlin_mark mark; /* of what the batch holds */
  int64_t rejected;
  char why[256];
} receiving;

/* All spans of a body. May park. */
PURLIN_CHECKED purlin_status receive_protobuf(purlin_ctx *ctx, receiving *r, otlp_bytes body);
PURLIN_CHECKED purlin_status receive_json(purlin_ctx *ctx, receiving *r, const char *body, size_t size);

/* Answers, in the encoding of the question. */
PURLIN_CHECKED purlin_status receive_answer(purlin_ctx *ctx, purlin_request *request, bool protobuf, const receiving *r);
/* What went wrong: answered here, or returned to be answered by the dialect. */
PURLIN_CHECKED purlin_status receive_refuse(purlin_ctx *ctx, purlin_request *request, bool protobuf, purlin_status status);
extern const purlin_dialect receive_dialect;

#endif
