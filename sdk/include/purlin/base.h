/* base.h: what every other Purlin header stands on.
 *
 * Every header of the SDK is self-contained and compiles alone as C11 and as C++17.
 *
 * What holds unless a comment says otherwise: a function is there since 0.1 (ABI 1.0) and does not park; it is called on the fiber that
 * its context was given to; sizes are bytes; texts are UTF-8, end with NUL and are not NULL. An error that comes back may be returned as it
 * is: what the client is told was recorded in the context with it, or follows from the status. What may park also fails with
 * PURLIN_CANCELLED (the work is not wanted any more) and PURLIN_TIMEOUT (its deadline has passed), what takes memory of the arena with
 * PURLIN_TOO_LARGE (its cap is reached).
 *
 * Ownership is named in every comment by one of these words:
 *   borrowed  the caller keeps it; the callee must not keep the pointer after it returns
 *   arena     lives until the context ends; nobody frees it
 *   owned     the receiver must release it with the function named beside it
 *
 * "May park" means: the calling fiber may be set aside while others run on the same thread. Nothing that is bound
 * to the thread (errno, a held pthread mutex, OpenSSL's error queue) survives such a call. */
#ifndef PURLIN_BASE_H
#define PURLIN_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define PURLIN_BEGIN extern "C" {
#define PURLIN_END }
#else
#define PURLIN_BEGIN
#define PURLIN_END
#endif

/* The binary interface. A plugin built for MAJOR.MINOR loads into a host of the same MAJOR and an equal or newer MINOR. */
#define PURLIN_ABI_MAJOR 1
#define PURLIN_ABI_MINOR 0

#define PURLIN_API __attribute__((visibility("default")))
#define PURLIN_CHECKED __attribute__((warn_unused_result))
#define PURLIN_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#define PURLIN_MAYBE_UNUSED __attribute__((unused))

PURLIN_BEGIN

/* What a call came to. PURLIN_OK is zero. Each of the others has one HTTP status and one problem type. */
typedef enum purlin_status {
  PURLIN_OK = 0,
  PURLIN_INVALID,         /* 400 the input is malformed or breaks its schema */
  PURLIN_UNAUTHENTICATED, /* 401 nobody, or credentials that are not valid */
  PURLIN_FORBIDDEN,       /* 403 known, may read the object, but may not do this */
  PURLIN_NOT_FOUND,       /* 404 there is none, or the caller may not know of it */
  PURLIN_NOT_ALLOWED,     /* 405 the address exists, not with this method */
  PURLIN_CONFLICT,        /* 409 the state of the object does not allow it; also: it exists already */
  PURLIN_PRECONDITION,    /* 412 If-Match or another precondition failed */
  PURLIN_TOO_LARGE,       /* 413 over a size limit */
  PURLIN_UNSUPPORTED,     /* 415 a media type or encoding that is not understood */
  PURLIN_RANGE,           /* 416 a byte range that cannot be served */
  PURLIN_TOO_MANY,        /* 429 over a rate or concurrency limit; the client may retry later */
  PURLIN_CANCELLED,       /* 499 the client has gone, or somebody cancelled the work */
  PURLIN_INTERNAL,        /* 500 a defect or an unexpected state; the cause is logged, never told */
  PURLIN_NOT_IMPLEMENTED, /* 501 */
  PURLIN_BAD_UPSTREAM,    /* 502 a service that was asked answered nonsense */
  PURLIN_UNAVAILABLE,     /* 503 something needed is away for now; the client may retry later */
  PURLIN_TIMEOUT,         /* 504 the deadline passed */
  PURLIN_NO_SPACE,        /* 507 the disk or the quota is full */
  PURLIN_STATUS_COUNT
} purlin_status;

/* The context of a fiber: first argument of nearly every call. See context.h. */
typedef struct purlin_ctx purlin_ctx;

/* Every descriptor of the manifest (operation, route, job, event, ...) starts with this head, written by the macro that
 * declares it. `size` lets the host accept a descriptor of an older, shorter layout; file and line are for messages. */
typedef struct purlin_declaration {
  uint32_t size;
  uint32_t kind; /* purlin_kind */
  const char *file;
  uint32_t line;
} purlin_declaration;

typedef enum purlin_kind {
  PURLIN_KIND_OPERATION = 1,
  PURLIN_KIND_ROUTE,
  PURLIN_KIND_JOB,
  PURLIN_KIND_SCHEDULE,
  PURLIN_KIND_EVENT,
  PURLIN_KIND_LISTENER,
  PURLIN_KIND_POLICY,
  PURLIN_KIND_METRIC,
  PURLIN_KIND_MIGRATION,
  PURLIN_KIND_CAPABILITY,
  PURLIN_KIND_REQUIREMENT,
  PURLIN_KIND_QUOTA,
  PURLIN_KIND_SEALED
} purlin_kind;

/* Internal to the declaring macros: the head of a descriptor, and the entry that lets the host find it. All entries of a
 * plugin are gathered by the linker in one section, so that nothing has to be listed twice. */
#define PURLIN_HEAD_(type, kind_)                                                                                          \
  { (uint32_t)sizeof(type), (uint32_t)(kind_), __FILE__, (uint32_t)__LINE__ }
#define PURLIN_DECLARE_(object)                                                                                            \
  __attribute__((section("purlin_declared"), used)) static const purlin_declaration *const object##_declared_ =            \
      &(object).declared

PURLIN_END

#endif
