/* once.h: a request with an Idempotency-Key takes effect once. */
#ifndef PURLIN_OPERATION_ONCE_H
#define PURLIN_OPERATION_ONCE_H

#include "operation/registry.h"

typedef struct once {
  const char *key;
  char input_hash[65];
} once;

/* Checks the key. PURLIN_INVALID, recorded. */
PURLIN_CHECKED purlin_status once_begin(purlin_ctx *ctx, const char *key, const operation *op, const void *in, once *out);
/* The answer that was given then. PURLIN_NOT_FOUND: the key is new, nothing is recorded; PURLIN_CONFLICT, recorded: it was used for
 * something else, or the answer cannot be given twice. May park. */
PURLIN_CHECKED purlin_status once_recall(purlin_ctx *ctx, once *o, const operation *op, void *answer);
/* Keeps the answer, in the running transaction. PURLIN_CONFLICT: another has been quicker. May park. */
PURLIN_CHECKED purlin_status once_keep(purlin_ctx *ctx, once *o, const operation *op, const void *answer);

#endif
