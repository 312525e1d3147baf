/* context.h: the inside of purlin_ctx. Floors above hang their own state on it by the pointers at its end; this floor
 * never looks into those. */
#ifndef PURLIN_LOOP_CONTEXT_H
#define PURLIN_LOOP_CONTEXT_H

#include <purlin/context.h>
#include "core/arena.h"
#include "core/buffer.h"
#include "fiber/fiber.h"
#include "loop/loop.h"

#define CONTEXT_MAX_FIELD_ERRORS 32
#define CONTEXT_DEFAULT_LIMIT ((size_t)64 * 1024 * 1024)
#define CONTEXT_FAILURE_LIMIT ((size_t)64 * 1024)

typedef struct context_field_error {
  const char *field, *message;
} context_field_error;

typedef struct context_trace {
  char trace_id[33];
  char span_id[17];
  char parent_span_id[17]; /* "" at a root */
  bool sampled;
} context_trace;

/* Who acts; made by access/, immutable, lives as long as any context that uses it (reference counted there). */
typedef struct identity identity;

/* Undoes a wait, so that nobody wakes the fiber any more, and returns true; or returns false when that cannot be: the wake
 * is already on its way (from another thread), and the wait goes on until it arrives. */
typedef bool context_undo(purlin_ctx *ctx, void *argument);

struct purlin_ctx {
  arena memory;
  fiber *fiber;
  loop *loop;
  uint64_t deadline_ms;       /* of the clock that never jumps (as the loops'); UINT64_MAX: none */
  uint64_t shielded_until_ms; /* 0: not shielded (context_shield) */
  bool cancelled;
  uint8_t nesting; /* nested operations and policies, at most 8 */
  /* What to call when somebody cancels this context while its fiber is parked; set by context_park. */
  context_undo *on_cancel;
  void *on_cancel_argument;
  purlin_status interrupted; /* why context_park ended before its wake */

  /* identity */
  const identity *who;
  const char *actor, *workspace, *project;
  context_trace trace;
  const char *plugin;    /* whose code runs, for logs, metrics, configuration; never NULL */
  const char *operation; /* its full name, or the route; never NULL */

  /* the recorded failure; its texts have an arena of their own, so that they survive marks and a full arena */
  arena failure_memory;
  purlin_status failure_status;
  const char *failure;  /* NULL: none */
  bool failure_is_told; /* the client learns it though it is a 5xx: context_tell_failure */
  uint32_t retry_after_s;
  context_field_error fields[CONTEXT_MAX_FIELD_ERRORS];
  size_t field_count, field_total;

  /* state of the floors above, made on demand and ended by their hooks when the context ends */
  struct db_session *db;       /* the fiber's connection and transaction */
  bool reads_only;             /* db refuses statements that write */
  bool transaction_open;       /* set by db: only its calls may park until the transaction ends */
  bool audited;                /* the running operation writes an entry that covers what it calls */
  bool rows_open;              /* set by db: they hold the connection, so nothing that a client does may be waited for */
  struct lua_run *lua;         /* the running script */
  struct plugin *plugin_state; /* the plugin whose code runs (configuration) */
  struct http_exchange *exchange;
  struct job_attempt *attempt; /* of the job that runs (jobs/) */
  const char *job;             /* its public id; NULL outside a job */
  struct secret_page *secrets; /* that are open (secrets/) */
  struct once *once;           /* of a request with an Idempotency-Key, until its operation takes it */
  const char *if_match;        /* of a request with If-Match, the same */
};

/* Initialises a context in memory of the caller's; `name` is the operation. It belongs to the running fiber from then on. */
void context_begin(purlin_ctx *ctx, const char *plugin, const char *operation);
/* Runs the end hooks of the floors above (context_on_end), then frees the arena. */
void context_end(purlin_ctx *ctx);
/* Registers a hook for the end of every context, once at start (db: give back the connection). */
void context_on_end(void (*hook)(purlin_ctx *ctx));

/* Starts a fiber with a context of its own and runs `run(ctx, argument)` in it. For jobs, events, timers, daemons. */
typedef void context_run(purlin_ctx *ctx, void *argument);
PURLIN_CHECKED purlin_status context_start(const char *plugin, const char *operation, context_run *run, void *argument);

/* Cancels: marks it and, if its fiber is parked in a cancellable call, makes that call return PURLIN_CANCELLED. On the
 * context's own loop only. */
void context_cancel(purlin_ctx *ctx);

/* Parks until fiber_wake, a cancellation or the deadline (a loop timer). On those `undo(ctx, argument)` is called, from the
 * loop's own level, or at once when the context is cancelled or late already; when it returns true, context_park returns
 * PURLIN_CANCELLED or PURLIN_TIMEOUT. `undo` is not called once the fiber was woken. */
PURLIN_CHECKED purlin_status context_park(purlin_ctx *ctx, context_undo *undo, void *argument);

/* For clean-up after a cancellation or a deadline (a rollback, say): for `grace_ms` neither counts, and then the grace is
 * the deadline. At most one at a time. */
void context_shield(purlin_ctx *ctx, uint64_t grace_ms);
void context_unshield(purlin_ctx *ctx);

/* Rule of fairness: a call that may park but had its answer at once calls this, and lets others run if the fiber has run
 * for 200 us. May park; never fails. */
void context_fairness(purlin_ctx *ctx);

/* Aborts with a clear message when the running code is not in a fiber. Every call that may park begins with it. */
void context_assert_may_park(void);

/* For calls that wait for anything but the database: PURLIN_INTERNAL, recorded, while a transaction is open. `what` the caller does. */
PURLIN_CHECKED purlin_status context_may_wait(purlin_ctx *ctx, const char *what);
/* The same for a wait that a client decides about: it may take as long as the client likes, so no connection to the database may be held. */
PURLIN_CHECKED purlin_status context_may_wait_for_client(purlin_ctx *ctx, const char *what);

/* What was just recorded is meant for the client, whatever its status: a quota of bytes is a 507. Until the next failure. */
void context_tell_failure(purlin_ctx *ctx);

void context_set_deadline(purlin_ctx *ctx, uint64_t after_ms);
/* 16 + 8 random bytes in hexadecimal, or the continuation of a `traceparent` header (false: malformed, a new one was made). */
bool context_trace_from(purlin_ctx *ctx, const char *traceparent);

#endif
