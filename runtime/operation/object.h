/* object.h: the object that an operation changes, as the operation that shows it would answer: its ETag, what If-Match is compared
 * with, and what the audit log tells of before and after.
 *
 * An operation names the one that shows its object (.object in <purlin/operation.h>). That one is asked just before the first statement
 * of the change that writes, in its transaction, and locks what it reads: nobody comes in between, and whatever takes time before (a
 * model that is loaded, a password that is hashed) holds no lock. */
#ifndef PURLIN_OPERATION_OBJECT_H
#define PURLIN_OPERATION_OBJECT_H

#include "operation/operation.h"

enum { OBJECT_ETAG_SIZE = 2 + 32 + 1 }; /* quotes, 128 bits of SHA-256 in hexadecimal, NUL */

/* One change. JSON without secrets, `after` of the arena; no text: there was no object, or there is none any more. */
typedef struct object_change {
  const operation *op;
  const void *in;
  const char *if_match; /* of the request; NULL: none */
  bool recorded;        /* somebody wants to know before and after */
  purlin_json before, after;
  char *held; /* what `before` points to: not of the arena, whose marks may be older than the first write */
  /* Of one run of the transaction. */
  bool looked;
  purlin_status refused; /* by if_match; PURLIN_OK: not */
} object_change;

/* Within db_transact, before the operation runs. PURLIN_INVALID, recorded: if_match is set and it changes no object. Does not park. */
PURLIN_CHECKED purlin_status object_change_begin(purlin_ctx *ctx, object_change *change);
/* After it has run, with what it returned and answers. PURLIN_PRECONDITION, recorded: the object was not (any more) as if_match says. May park. */
PURLIN_CHECKED purlin_status object_change_end(purlin_ctx *ctx, object_change *change, purlin_status status,
                                               const void *out);

/* When nobody looks at `before` any more. */
void object_change_forget(object_change *change);

/* Whether what the operation answers is an object that If-Match can be compared with. */
bool object_is_answered(const operation *op);
void object_etag(purlin_json text, char etag[OBJECT_ETAG_SIZE]);
/* Whether a header If-Match or (`weak`) If-None-Match lists the ETag. "*" lists all. */
bool object_is_listed(const char *header, const char *etag, bool weak);
/* The answer as text, without secrets; arena. */
PURLIN_CHECKED purlin_status object_text(purlin_ctx *ctx, const purlin_schema *schema, const void *value, purlin_json *out);

/* Whether the operation that it names as showing its object can be asked with its input; after all are registered. */
PURLIN_CHECKED purlin_status object_check(const operation *op, buffer *why);

#endif
