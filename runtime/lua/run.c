#include "lua/run.h"

#include "lua/host.h"
#include "lua/load.h"
#include "lua/value.h"
#include "operation/operation.h"
#include <purlin/metric.h>

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

PURLIN_COUNTER(lua_failures_total, "Runs of Lua scripts that failed", "script, kind");

/* Nested C and Lua calls need at most about 120 KiB (LUAI_MAXCCALLS of them); what needs more asks for itself. */
enum {
  STACK_NEEDED_BYTES = 160 * 1024,
  MOST_NESTED = 8,
  SCRATCH_LIMIT_BYTES = 16 * 1024 * 1024,
  ENTRIES_LIMIT_BYTES = 1024 * 1024
};

void run_count_failure(const char *file, const char *kind) { purlin_count(lua_failures_total, 1, file, kind); }

/* ---- States ----------------------------------------------------------------------------------------------------------------- */

static int open_state(lua_State *L) {
  sandbox_open(L);
  value_open(L);
  host_open(L);
  return 0;
}

script_state *state_create(script *s, size_t memory_limit, budget_slot *slot, buffer *why) {
  script_state *state = calloc(1, sizeof *state);
  if (state == NULL) return NULL;
  state->box = (sandbox){.limit_bytes = memory_limit, .slot = slot, .print = host_print};
  state->script = s;
  state->file = s->file;
  atomic_fetch_add(&s->references, 1);
  state->references = 1;
  state->scratch.limit = SCRATCH_LIMIT_BYTES;
  arena_init(&state->memory, ENTRIES_LIMIT_BYTES);
  state->L = sandbox_state(&state->box);
  if (state->L == NULL) {
    state_free(state);
    return NULL;
  }
  lua_pushcfunction(state->L, open_state);
  if (lua_pcall(state->L, 0, 0, 0) == LUA_OK) return state;
  buffer_format(why, "%s: %s", s->file, lua_isstring(state->L, -1) ? lua_tostring(state->L, -1) : "cannot be opened");
  state_free(state);
  return NULL;
}

void state_free(script_state *state) {
  if (state->L != NULL) lua_close(state->L);
  buffer_free(&state->scratch);
  buffer_free(&state->why);
  arena_free(&state->memory);
  script_release(state->script);
  free(state);
}

void state_release(script_state *state) {
  if (--state->references == 0) state_free(state);
}

/* ---- Lua threads: one for each run, kept for the next ------------------------------------------------------------------------- */

static int make_thread(lua_State *L) {
  lua_run *run = lua_touserdata(L, 1);
  run->thread = lua_newthread(L);
  run->reference = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static bool take_thread(lua_run *run) {
  script_state *state = run->state;
  if (state->idle_count > 0) {
    state->idle_count--;
    run->thread = state->idle[state->idle_count];
    run->reference = state->idle_references[state->idle_count];
    return true;
  }
  lua_pushcfunction(state->L, make_thread);
  lua_pushlightuserdata(state->L, run);
  if (lua_pcall(state->L, 1, 0, 0) == LUA_OK) return true;
  lua_pop(state->L, 1);
  return false;
}

static void give_thread(lua_run *run, bool reusable) {
  script_state *state = run->state;
  if (reusable && state->idle_count < RUN_IDLE_THREADS) {
    lua_settop(run->thread, 0);
    state->idle[state->idle_count] = run->thread;
    state->idle_references[state->idle_count++] = run->reference;
    return;
  }
  luaL_unref(state->L, LUA_REGISTRYINDEX, run->reference); /* sets a number in a table that has the place: cannot raise */
}

/* ---- Running ---------------------------------------------------------------------------------------------------------------- */

void run_set_aside(lua_run *run) {
  budget_pause(run->state->box.slot, &run->budget);
  run->state->run = NULL;
}

void run_go_on(lua_run *run, lua_State *L) {
  budget_slot *slot = run->state->box.slot;
  run->state->run = run;
  budget_resume(slot, &run->budget, L);
  purlin_status wanted = run->ctx == NULL ? PURLIN_OK : purlin_still_wanted(run->ctx);
  if (wanted != PURLIN_OK && budget_stopped(slot) == BUDGET_RUNS)
    budget_stop_now(slot, wanted == PURLIN_CANCELLED ? BUDGET_CANCELLED : BUDGET_DEADLINE);
  budget_check(slot, L);
}

static bool is_stopped(const lua_run *run) { return budget_stopped(run->state->box.slot) != BUDGET_RUNS; }

/* The message handler of a run: keeps text and traceback outside of Lua. After a stop it runs no Lua code: hooks are off here. */
static int on_error(lua_State *L) {
  lua_run *run = run_of(L);
  const char *text;
  if (host_error_status(L, 1, &run->status)) {
    text = host_error_text(L, 1);
    if (run->ctx != NULL) host_error_record(L, 1, run->ctx, run->status);
  } else if (lua_isstring(L, 1)) text = lua_tostring(L, 1);
  else if (!is_stopped(run) && luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) text = luaL_tolstring(L, 1, NULL);
  else text = lua_pushfstring(L, "an error that is a %s", luaL_typename(L, 1));
  luaL_traceback(L, L, text, 1);
  size_t size;
  const char *trace = lua_tolstring(L, -1, &size);
  buffer_clear(&run->trace);
  buffer_add(&run->trace, trace, size);
  return 1;
}

static int protect(lua_run *run, lua_CFunction body, void *argument) {
  lua_State *T = run->thread;
  lua_pushcfunction(T, on_error); /* a new thread has room for these */
  lua_pushcfunction(T, body);
  lua_pushlightuserdata(T, argument);
  budget_slot *slot = run->state->box.slot;
  run->state->run = run;
  run->state->box.refused_at[0] = '\0';
  budget_resume(slot, &run->budget, T);
  int status = lua_pcall(T, 1, 0, 1);
  if (is_stopped(run) && status == LUA_OK) status = LUA_ERRRUN; /* stopped in its last instruction */
  run_set_aside(run);
  if (status == LUA_ERRMEM) {
    buffer_clear(&run->trace);
    const char *at = run->state->box.refused_at;
    buffer_format(&run->trace, "%s%sit needs more than its %zu KiB of memory", at, at[0] != '\0' ? ": " : "",
                  run->state->box.limit_bytes / 1024);
  } else if (status != LUA_OK && run->trace.size == 0) {
    buffer_text(&run->trace, run->budget.stop != BUDGET_RUNS ? budget_stop_text(run->budget.stop) : "an error in an error");
  }
  return status;
}

/* The traceback's first line. */
static int first_line(const buffer *trace) {
  const char *end = memchr(trace->data, '\n', trace->size);
  return (int)(end == NULL ? trace->size : (size_t)(end - trace->data));
}

static purlin_status failed(purlin_ctx *ctx, lua_run *run, const run_call *call, int lua_status) {
  budget_stop stop = run->budget.stop;
  purlin_status status = PURLIN_INTERNAL;
  if (stop == BUDGET_CANCELLED) status = PURLIN_CANCELLED;
  else if (stop != BUDGET_RUNS) status = PURLIN_TIMEOUT;
  else if (call->pass_errors && run->status != PURLIN_OK) return run->status; /* on_error has recorded it again */
  const char *text = buffer_end(&run->trace);
  const char *kind = stop != BUDGET_RUNS ? "stopped" : lua_status == LUA_ERRMEM ? "memory" : call->kind;
  run_count_failure(run->state->file, kind);
  purlin_log(ctx, PURLIN_ERROR, "%s:%d: %s failed: %s", run->state->file, call->line, call->name, text);
  purlin_clear_failure(ctx);
  return purlin_fail(ctx, status, "%s: %.*s", call->name, first_line(&run->trace), text);
}

static uint64_t deadline_of(const purlin_ctx *ctx) {
  int64_t left = purlin_time_left_ms(ctx);
  return left > INT64_MAX / 2000000 ? UINT64_MAX : purlin_ticks_ns() + (uint64_t)left * 1000000u;
}

purlin_status run_script(purlin_ctx *ctx, const run_call *call) {
  if (ctx->nesting >= MOST_NESTED)
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s: operations and scripts are nested more than %d deep", call->name,
                       MOST_NESTED);
  if (fiber_stack_left() < STACK_NEEDED_BYTES)
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s: too little stack is left", call->name);
  lua_run run = {.state = call->state, .ctx = ctx, .name = call->name, .decides = call->decides, .outer = ctx->lua};
  if (!take_thread(&run)) {
    run_count_failure(call->state->file, "memory");
    return purlin_fail(ctx, PURLIN_INTERNAL, "%s: the script %s has no memory left", call->name, call->state->file);
  }
  uint64_t deadline_ms = ctx->deadline_ms;
  if (call->timeout_ms > 0 && purlin_time_left_ms(ctx) > (int64_t)call->timeout_ms)
    context_set_deadline(ctx, call->timeout_ms);
  run.budget = (budget){.cpu_limit_ns = call->state->cpu_limit_ns, .deadline_ns = deadline_of(ctx)};
  call->state->references++;
  operation_frame frame = context_enter(ctx, "lua", NULL, call->name);
  ctx->lua = &run;
  int lua_status = protect(&run, call->body, call->argument);
  ctx->lua = run.outer;
  context_leave(ctx, frame);
  ctx->deadline_ms = deadline_ms;
  purlin_status status = lua_status == LUA_OK ? PURLIN_OK : failed(ctx, &run, call, lua_status);
  give_thread(&run, lua_status == LUA_OK);
  buffer_free(&run.trace);
  state_release(call->state);
  return status;
}

bool run_load(script_state *state, struct script_load *load, lua_CFunction body, void *argument, uint64_t timeout_ms,
              buffer *why) {
  lua_run run = {.state = state, .name = "load", .load = load};
  uint64_t limit_ns = timeout_ms * 1000000u;
  run.budget = (budget){.cpu_limit_ns = limit_ns, .deadline_ns = UINT64_MAX};
  if (!take_thread(&run)) {
    buffer_format(why, "%s: no memory", state->file);
    return false;
  }
  int status = protect(&run, body, argument);
  if (status != LUA_OK) {
    run_count_failure(state->file, "load");
    size_t size = strlen(state->file);
    if (run.trace.size <= size || strncmp(run.trace.data, state->file, size) != 0) buffer_format(why, "%s: ", state->file);
    buffer_add(why, run.trace.data, run.trace.size);
  }
  give_thread(&run, status == LUA_OK);
  buffer_free(&run.trace);
  return status == LUA_OK;
}
