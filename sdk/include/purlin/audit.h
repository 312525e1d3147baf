/* audit.h: what is written into the audit log besides operations.
 *
 * Each operation that changes something writes its own entry, in its transaction; nothing has to be done for that. This is for changes
 * elsewhere (a route that takes an upload, a job) and for logins:
 *
 *   status = purlin_audit(ctx, &(purlin_audit_entry){.operation = "datasets.upload", .object = version.id});
 *
 * Since 0.1; base.h says what else holds everywhere. */
#ifndef PURLIN_AUDIT_H
#define PURLIN_AUDIT_H

#include <purlin/schema.h>

PURLIN_BEGIN

typedef enum purlin_audit_outcome {
  PURLIN_AUDIT_DONE = 0,
  PURLIN_AUDIT_REFUSED = 1 /* somebody may not, or is not who they say */
} purlin_audit_outcome;

typedef struct purlin_audit_entry {
  const char *operation; /* "PLUGIN.WHAT"; NULL: the running operation or route */
  const char *object;    /* the id of what it is about; NULL: none */
  purlin_audit_outcome outcome;
  const char *actor;         /* NULL: the context's; of a login the one who comes in */
  purlin_json detail;        /* JSON, without secrets; cut after 8 KiB; NULL text: none */
  purlin_json before, after; /* the object as it was and as it is, likewise; of what is done only */
} purlin_audit_entry;

/* Writes an entry, borrowed until the call returns. PURLIN_AUDIT_DONE: in the running transaction, where there is one, else by itself.
 * PURLIN_AUDIT_REFUSED: apart from any transaction, within a second, and only up to a bound, so that nobody fills the disk; it cannot
 * fail then. May park. Errors: those of database statements. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_audit(purlin_ctx *ctx, const purlin_audit_entry *entry);

PURLIN_END

#endif
