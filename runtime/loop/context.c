/* context.c: the life of a context, its deadline and cancellation, and waiting with both. */
#include "loop/context.h"
#include "loop/internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HOOKS 16
#define FAIR_SHARE_NS 200000u

static void (*hooks[MAX_HOOKS])(purlin_ctx *ctx);
static size_t hook_count;

static uint64_t now_ms(void) { return purlin_ticks_ns() / 1000000u; }

void context_defect(const char *message) {
  const fiber *f = fiber_current();
  const purlin_ctx *ctx = f ? fiber_data(f) : NULL;
  (void)fprintf(stderr, "%s, in %s\n", message, ctx ? ctx->operation : "code outside a context");
  abort();
}

/* ---- Life ---- */

void context_begin(purlin_ctx *ctx, const char *plugin, const char *operation) {
  memset(ctx, 0, sizeof *ctx);
  arena_init(&ctx->memory, CONTEXT_DEFAULT_LIMIT);
  arena_init(&ctx->failure_memory, CONTEXT_FAILURE_LIMIT);
  ctx->fiber = fiber_current();
  ctx->loop = loop_current();
  ctx->deadline_ms = UINT64_MAX;
  ctx->actor = "system";
  ctx->workspace = "default";
  ctx->project = "default";
  ctx->plugin = plugin;
  ctx->operation = operation;
  (void)context_trace_from(ctx, NULL);
  if (ctx->fiber) {
    fiber_set_data(ctx->fiber, ctx);
    fiber_set_name(ctx->fiber, operation);
  }
}

void context_end(purlin_ctx *ctx) {
  for (size_t i = 0; i < hook_count; i++) hooks[i](ctx);
  if (ctx->fiber) {
    fiber_set_data(ctx->fiber, NULL);
    fiber_set_name(ctx->fiber, "a fiber whose context has ended");
  }
  arena_free(&ctx->memory);
  arena_free(&ctx->failure_memory);
}

void context_on_end(void (*hook)(purlin_ctx *ctx)) {
  for (size_t i = 0; i < hook_count; i++)
    if (hooks[i] == hook) return;
  if (hook_count == MAX_HOOKS) context_defect("context_on_end: raise MAX_HOOKS");
  hooks[hook_count++] = hook;
}

typedef struct start_request {
  const char *plugin, *operation;
  context_run *run;
  void *argument;
} start_request;

static void run_context(void *argument) {
  start_request request = *(const start_request *)argument; /* it is on the stack of context_start */
  purlin_ctx ctx;
  context_begin(&ctx, request.plugin, request.operation);
  request.run(&ctx, request.argument);
  context_end(&ctx);
}

purlin_status context_start(const char *plugin, const char *operation, context_run *run, void *argument) {
  start_request request = {plugin, operation, run, argument};
  return fiber_start(run_context, &request);
}

/* ---- Deadline and cancellation ---- */

/* What counts now: while a context is shielded, the end of the shield. */
static uint64_t effective_deadline(const purlin_ctx *ctx) {
  return ctx->shielded_until_ms ? ctx->shielded_until_ms : ctx->deadline_ms;
}

void context_set_deadline(purlin_ctx *ctx, uint64_t after_ms) {
  uint64_t now = now_ms();
  ctx->deadline_ms = after_ms < UINT64_MAX - now ? now + after_ms : UINT64_MAX;
}

void context_shield(purlin_ctx *ctx, uint64_t grace_ms) {
  uint64_t now = now_ms();
  ctx->shielded_until_ms = grace_ms < UINT64_MAX - now ? now + grace_ms : UINT64_MAX;
}

void context_unshield(purlin_ctx *ctx) { ctx->shielded_until_ms = 0; }

int64_t purlin_time_left_ms(const purlin_ctx *ctx) {
  uint64_t deadline = effective_deadline(ctx);
  if (deadline == UINT64_MAX) return INT64_MAX;
  uint64_t now = now_ms();
  return deadline > now ? (int64_t)(deadline - now) : 0;
}

purlin_status purlin_still_wanted(purlin_ctx *ctx) {
  if (ctx->cancelled && !ctx->shielded_until_ms) return PURLIN_CANCELLED;
  return purlin_time_left_ms(ctx) > 0 ? PURLIN_OK : PURLIN_TIMEOUT;
}

/* Ends the wait of a context that context_park holds, unless its wake has come or is on its way. */
static void interrupt(purlin_ctx *ctx, purlin_status why) {
  context_undo *undo = ctx->on_cancel;
  if (!undo || !fiber_is_parked(ctx->fiber)) return;
  ctx->on_cancel = NULL;
  if (!undo(ctx, ctx->on_cancel_argument)) return;
  ctx->interrupted = why;
  fiber_wake(ctx->fiber);
}

void context_cancel(purlin_ctx *ctx) {
  ctx->cancelled = true;
  if (!ctx->shielded_until_ms) interrupt(ctx, PURLIN_CANCELLED);
}

typedef struct deadline {
  loop_timer timer;
  purlin_ctx *ctx;
} deadline;

static void on_deadline(loop_timer *timer) { interrupt(((deadline *)(void *)timer)->ctx, PURLIN_TIMEOUT); }

purlin_status context_park(purlin_ctx *ctx, context_undo *undo, void *argument) {
  context_assert_may_park();
  purlin_status status = purlin_still_wanted(ctx);
  if (status != PURLIN_OK && undo(ctx, argument)) return status;
  deadline late = {.ctx = ctx};
  ctx->interrupted = PURLIN_OK;
  ctx->on_cancel = status == PURLIN_OK ? undo : NULL;
  ctx->on_cancel_argument = argument;
  uint64_t due_ms = effective_deadline(ctx);
  if (ctx->on_cancel && due_ms != UINT64_MAX && ctx->loop) {
    uint64_t base_ms = loop_now_ms(ctx->loop);
    loop_timer_start(ctx->loop, &late.timer, due_ms > base_ms ? due_ms - base_ms : 0, on_deadline);
  }
  fiber_park();
  loop_timer_stop(&late.timer);
  ctx->on_cancel = NULL;
  return ctx->interrupted;
}

void context_assert_may_park(void) {
  if (!fiber_current()) context_defect("a call that may park was made outside a fiber");
}

/* ---- Waiting ---- */

void context_fairness(purlin_ctx *ctx) {
  (void)ctx;
  uint64_t since = fiber_running_since();
  if (since && purlin_ticks_ns() - since > FAIR_SHARE_NS) fiber_yield();
}

purlin_status purlin_yield(purlin_ctx *ctx) {
  context_fairness(ctx);
  return purlin_still_wanted(ctx);
}

typedef struct sleeper {
  loop_timer timer;
  fiber *who;
} sleeper;

static void on_slept(loop_timer *timer) { fiber_wake(((sleeper *)(void *)timer)->who); }

static bool stop_sleeping(purlin_ctx *ctx, void *argument) {
  (void)ctx;
  loop_timer_stop(&((sleeper *)argument)->timer);
  return true;
}

void purlin_shield(purlin_ctx *ctx, uint32_t grace_ms) { context_shield(ctx, grace_ms); }

/* While a transaction is open only database calls may wait: rows stay locked meanwhile. */
purlin_status context_may_wait(purlin_ctx *ctx, const char *what) {
  context_assert_may_park();
  if (!ctx->transaction_open) return PURLIN_OK;
  return purlin_fail(ctx, PURLIN_INTERNAL, "%s: %s while a transaction is open; do it before the first write",
                     ctx->operation, what);
}

purlin_status context_may_wait_for_client(purlin_ctx *ctx, const char *what) {
  purlin_status status = context_may_wait(ctx, what);
  if (status != PURLIN_OK || !ctx->rows_open) return status;
  return purlin_fail(ctx, PURLIN_INTERNAL, "%s: %s while rows of the database are open; read them a page at a time",
                     ctx->operation, what);
}

purlin_status purlin_sleep(purlin_ctx *ctx, uint32_t milliseconds) {
  purlin_status allowed = context_may_wait(ctx, "sleeps");
  if (allowed != PURLIN_OK) return allowed;
  if (milliseconds == 0) {
    fiber_yield();
    return purlin_still_wanted(ctx);
  }
  sleeper s = {.who = fiber_current()};
  uv_update_time(loop_uv(ctx->loop)); /* the cached clock may be behind, and we would sleep too short */
  loop_timer_start(ctx->loop, &s.timer, (uint64_t)milliseconds + 1, on_slept);
  return context_park(ctx, stop_sleeping, &s);
}

static purlin_status fail_full(purlin_ctx *ctx, purlin_pool pool) {
  purlin_retry_after(ctx, 1);
  return purlin_fail(ctx, PURLIN_UNAVAILABLE, "too much %s work is waiting for a thread",
                     pool == PURLIN_POOL_CPU ? "computing" : "blocking");
}

purlin_status purlin_offload(purlin_ctx *ctx, purlin_pool pool, purlin_work *work, void *argument) {
  purlin_status status = context_may_wait(ctx, "works on a pool");
  if (status != PURLIN_OK) return status;
  return pool_run(pool, work, argument, &status) ? status : fail_full(ctx, pool);
}

purlin_status purlin_offload_start(purlin_ctx *ctx, purlin_pool pool, purlin_work *work, void *argument,
                                   purlin_offloaded *offloaded) {
  purlin_status status = context_may_wait(ctx, "works on a pool");
  if (status != PURLIN_OK) return status;
  return pool_start(pool, work, argument, offloaded) ? PURLIN_OK : fail_full(ctx, pool);
}

purlin_status purlin_offload_wait(purlin_ctx *ctx, purlin_offloaded *offloaded) {
  (void)ctx;
  context_assert_may_park();
  return pool_wait(offloaded);
}

void *purlin_loop_local(purlin_ctx *ctx, const void *key, size_t size) {
  loop *l = ctx && ctx->loop ? ctx->loop : loop_current();
  return l ? loop_local(l, key, size) : NULL;
}

/* ---- Who and where ---- */

const char *purlin_workspace(const purlin_ctx *ctx) { return ctx->workspace; }
const char *purlin_project(const purlin_ctx *ctx) { return ctx->project; }
const char *purlin_actor(const purlin_ctx *ctx) { return ctx->actor; }
const char *purlin_trace_id(const purlin_ctx *ctx) { return ctx->trace.trace_id; }
