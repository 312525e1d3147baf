/* logged.h: versions of models that a client of MLflow logged: their bytes and their signature out of its files. */
#ifndef SERVING_LOGGED_H
#define SERVING_LOGGED_H

#include <purlin/contracts/registry.h>
#include "serving.h"

/* Where the bytes of a version are that was registered by the place of its files, and what they take. Reads MLmodel and, where the
 * signature names no columns, the model itself, as the caller. Recorded: PURLIN_CONFLICT (a flavor that is not served, files that are
 * elsewhere: says what is), PURLIN_INVALID, and what reading files gives. May park. */
PURLIN_CHECKED purlin_status logged_source(purlin_ctx *ctx, const registry_version *version, source *out);

/* The signature of MLflow, lists in JSON (NULL: it has none), as ours; inputs without a name stay so. Arena; does not park. */
PURLIN_CHECKED purlin_status logged_signature(purlin_ctx *ctx, const char *inputs, const char *outputs,
                                              purlin_signature *out);

#endif
