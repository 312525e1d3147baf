/* context.h: what a piece of work carries with it.
 *
 * Every request, job, event handler and Lua script runs in a fiber with one context: an arena for its memory, a deadline,
 * cancellation, an identity, a workspace, a trace id and a logger. The host makes and ends contexts; plugins only use
 * them, on the fiber that was given them.
 *
 * Since 0.1 unless a comment says otherwise; base.h says what else holds everywhere. */
#ifndef PURLIN_CONTEXT_H
#define PURLIN_CONTEXT_H

#include <purlin/base.h>

PURLIN_BEGIN

/* ---- Memory: the arena ------------------------------------------------------------------------------------------------- */

/* Zeroed memory of `size` bytes, aligned for any type, until the context ends. NULL when the context's memory cap is reached or
 * memory is short; the failure is then already recorded in the context, so `return PURLIN_TOO_LARGE` says it all. None of these parks. */
PURLIN_API void *purlin_alloc(purlin_ctx *ctx, size_t size);
/* The same for `count` items, with a check against overflow. */
PURLIN_API void *purlin_alloc_array(purlin_ctx *ctx, size_t count, size_t item_size);
/* A copy of a text, of `size` bytes with a NUL after them, or a formatted text; arena. NULL as above. */
PURLIN_API char *purlin_copy(purlin_ctx *ctx, const char *text);
PURLIN_API char *purlin_copy_bytes(purlin_ctx *ctx, const char *text, size_t size);
PURLIN_API PURLIN_PRINTF(2, 3) char *purlin_format(purlin_ctx *ctx, const char *format, ...);

/* A loop of unknown length marks the arena before each round and resets it after, so that its memory stays flat.
 * Everything allocated since the mark is gone after the reset; marks are reset in the opposite order of their making. What was
 * recorded by purlin_fail stays. Neither parks, neither fails. */
typedef struct purlin_mark {
  void *block;
  size_t used;
} purlin_mark;
PURLIN_API purlin_mark purlin_arena_mark(purlin_ctx *ctx);
PURLIN_API void purlin_arena_reset(purlin_ctx *ctx, purlin_mark mark);

/* ---- Failing ------------------------------------------------------------------------------------------------------------ */

/* Records what the client is told and returns `status`: `return purlin_fail(ctx, PURLIN_NOT_FOUND, "no model named
 * '%s'", name);`. The text of a 5xx is logged and never told. The last record wins; texts are cut at
 * 2,047 bytes. The values may be texts of the arena or an earlier failure. None of these parks. */
PURLIN_API PURLIN_PRINTF(3, 4) purlin_status purlin_fail(purlin_ctx *ctx, purlin_status status, const char *format, ...);
/* Adds a message about one field ("rows[3].step") and returns PURLIN_INVALID. At most 32 are kept. */
PURLIN_API PURLIN_PRINTF(3, 4) purlin_status purlin_fail_field(purlin_ctx *ctx, const char *field, const char *format, ...);
#if defined(__clang_analyzer__) && !defined(__cplusplus)
/* So that clang-tidy and scan-build, which do not look into the library, know what comes back. */
#define purlin_fail(ctx, status, ...) (purlin_fail(ctx, status, __VA_ARGS__), status)
#define purlin_fail_field(ctx, field, ...) (purlin_fail_field(ctx, field, __VA_ARGS__), PURLIN_INVALID)
#endif
/* Tells the client in how many seconds to come again (Retry-After), for PURLIN_TOO_MANY and PURLIN_UNAVAILABLE; 0: says nothing. */
PURLIN_API void purlin_retry_after(purlin_ctx *ctx, uint32_t seconds);
/* What was recorded: the text, "" when none. Lives until the next failure. */
PURLIN_API const char *purlin_failure(const purlin_ctx *ctx);
/* Forgets a recorded failure, for callers that go on after one. */
PURLIN_API void purlin_clear_failure(purlin_ctx *ctx);
/* "not found", "conflict", ... : static text, never NULL. Any thread. */
PURLIN_API const char *purlin_status_text(purlin_status status);

/* ---- Who, where, until when ------------------------------------------------------------------------------------------------ */

/* None of these parks or fails. Texts live until the context ends or acts as somebody else. */
PURLIN_API const char *
purlin_workspace(const purlin_ctx *ctx); /* id of the workspace that this work belongs to; never NULL */
PURLIN_API const char *purlin_project(const purlin_ctx *ctx); /* id of the project; "default" where none was chosen */
PURLIN_API const char *purlin_actor(const purlin_ctx *ctx);   /* who acts: "user:..", "token:..", "job:..", "system" */
/* Which of the actor's credentials was shown, without its secret: "key:key_..", "session:ses_.."; "" when none was. */
PURLIN_API const char *purlin_shown(const purlin_ctx *ctx);
PURLIN_API const char *purlin_trace_id(const purlin_ctx *ctx); /* 32 hexadecimal digits */
/* From here on this context acts as somebody else, with every permission within that project and none elsewhere: for routes that check a
 * token of their own ("callback") and for work that a plugin does by itself for an object of the project. The texts are copied. Without memory for that nothing changes, which
 * the context records. Does not park. */
PURLIN_API void purlin_act_as(purlin_ctx *ctx, const char *actor, const char *workspace, const char *project);
/* Whether the actor holds a permission such as "models:write"; where nobody is known it is only "public". Does not park. */
PURLIN_API bool purlin_permitted(const purlin_ctx *ctx, const char *permission);
/* Milliseconds until the deadline; INT64_MAX when there is none, 0 when it has passed. Does not park. */
PURLIN_API int64_t purlin_time_left_ms(const purlin_ctx *ctx);
/* PURLIN_OK, PURLIN_CANCELLED or PURLIN_TIMEOUT, of which nothing is recorded. Long loops ask it now and then; parking calls ask it
 * themselves. Does not park. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_still_wanted(purlin_ctx *ctx);
/* Lets a context that was cancelled, or whose deadline has passed, wait again for up to `grace_ms`, so that it can clean up: tell the
 * database, stop a process. Once per context is enough. Does not park. */
PURLIN_API void purlin_shield(purlin_ctx *ctx, uint32_t grace_ms);
/* The wall clock, in microseconds since 1970, and a clock that never jumps, in nanoseconds. Any thread. */
PURLIN_API int64_t purlin_now_us(void);
PURLIN_API uint64_t purlin_ticks_ns(void);
/* The SHA-256 of bytes as 64 hexadecimal digits and a NUL; for tokens, of which only the hash is kept. Any thread; cannot fail. */
PURLIN_API void purlin_sha256(const void *data, size_t size, char digits[65]);
/* A new secret: `prefix`, "_" and 40 random letters and digits. Arena; NULL as purlin_alloc. */
PURLIN_API const char *purlin_new_secret(purlin_ctx *ctx, const char *prefix);
/* A new public identifier: `prefix`, "_" and 20 random letters and digits, such as "run_8k3v...". Arena; NULL as purlin_alloc. */
PURLIN_API const char *purlin_new_id(purlin_ctx *ctx, const char *prefix);

/* ---- Logging --------------------------------------------------------------------------------------------------------------- */

typedef enum purlin_level { PURLIN_DEBUG, PURLIN_INFO, PURLIN_WARNING, PURLIN_ERROR } purlin_level;

/* One structured record with the context's trace id, workspace, plugin and operation. Secrets do not belong here.
 * `ctx` may be NULL. Any thread; does not park: records go to a buffer that a writer empties. */
PURLIN_API PURLIN_PRINTF(3, 4) void purlin_log(purlin_ctx *ctx, purlin_level level, const char *format, ...);

/* ---- Waiting and working elsewhere ------------------------------------------------------------------------------------------- */

/* Sleeps for at least that long; 0 lets every other fiber run once. May park.
 * Errors: PURLIN_CANCELLED, PURLIN_TIMEOUT, PURLIN_INTERNAL (a transaction is open). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_sleep(purlin_ctx *ctx, uint32_t milliseconds);

/* Lets other fibers run if this one has had its share (200 us); costs nothing otherwise. May park, also in a transaction.
 * Errors: PURLIN_CANCELLED, PURLIN_TIMEOUT. */
PURLIN_API PURLIN_CHECKED purlin_status purlin_yield(purlin_ctx *ctx);

typedef enum purlin_pool {
  PURLIN_POOL_CPU,     /* work that computes for more than about a millisecond */
  PURLIN_POOL_BLOCKING /* calls that block: files, fsync, name resolution, password hashes */
} purlin_pool;

/* Runs `work(argument)` on a thread of the pool and returns what it returned. The work may use nothing of the context;
 * it finishes even when the context is cancelled meanwhile, and the caller waits for that. `argument` is borrowed. May park.
 * Errors: PURLIN_UNAVAILABLE when the pool's queue is full, PURLIN_INTERNAL when a transaction is open (the work has then not run),
 * and those of the work. */
typedef purlin_status purlin_work(void *argument);
PURLIN_API PURLIN_CHECKED purlin_status purlin_offload(purlin_ctx *ctx, purlin_pool pool, purlin_work *work,
                                                       void *argument);

/* The same in two halves, so that one goes on meanwhile: receives the next block while this one is hashed. `offloaded` and `argument` are
 * borrowed until purlin_offload_wait has returned: whoever has started work waits for it exactly once, whatever else happens. Starting does
 * not park; its errors are those of purlin_offload, and then nothing runs. Waiting may park, also in a transaction, takes no notice of the
 * context's being cancelled, and returns what the work returned. Since 0.2. */
typedef struct purlin_offloaded {
  uint64_t opaque[12];
} purlin_offloaded;
PURLIN_API PURLIN_CHECKED purlin_status purlin_offload_start(purlin_ctx *ctx, purlin_pool pool, purlin_work *work,
                                                             void *argument, purlin_offloaded *offloaded);
PURLIN_API PURLIN_CHECKED purlin_status purlin_offload_wait(purlin_ctx *ctx, purlin_offloaded *offloaded);

/* A mutex between fibers, on any thread: waiting parks the fiber, not the thread. Zeroed memory is an unlocked mutex. Who waits
 * longest is next. Errors: PURLIN_CANCELLED, PURLIN_TIMEOUT, PURLIN_INTERNAL (this fiber holds it already). To unlock what is not
 * locked ends the process. */
typedef struct purlin_mutex {
  uint64_t opaque[6];
} purlin_mutex;
PURLIN_API PURLIN_CHECKED purlin_status purlin_lock(purlin_ctx *ctx, purlin_mutex *mutex); /* may park */
PURLIN_API void purlin_unlock(purlin_mutex *mutex);                                        /* does not park */

/* State of which every event loop has its own copy: zeroed memory of `size` bytes for this `key` (its address is the
 * key) on the calling loop; the same pointer each time, as long as the loop lives. NULL when memory is short (nothing is recorded).
 * Does not park. */
PURLIN_API void *purlin_loop_local(purlin_ctx *ctx, const void *key, size_t size);

/* ---- Coming round -------------------------------------------------------------------------------------------------------------- */

/* Runs `run(ctx, argument)` in a fiber on every event loop, `every_ms` after the last time and only when that has ended, as the
 * system and as this plugin: to write out what was gathered per loop, to look for changes. From a plugin's start step. `name`
 * (static) is in logs and traces. Does not park. Errors: PURLIN_UNAVAILABLE (memory). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_background(purlin_ctx *ctx, const char *name, uint32_t every_ms,
                                                          void (*run)(purlin_ctx *ctx, void *argument), void *argument);
/* Runs it on every loop soon, once more if it is just running; nothing where there is none of the name. Does not park. */
PURLIN_API void purlin_background_wake(purlin_ctx *ctx, const char *name);
/* Starts it no more and waits for what runs. May park. Without it, it ends with the loops.
 * Errors: PURLIN_CANCELLED, PURLIN_TIMEOUT (it may still be running), PURLIN_INTERNAL (a transaction is open). */
PURLIN_API PURLIN_CHECKED purlin_status purlin_background_stop(purlin_ctx *ctx, const char *name);

PURLIN_END

#endif
