/* run.h: the inside of lua/: a script's state on a loop, and one run in it.
 *
 * A script has a lua_State of its own on every loop. A run of it is a call of one of its functions in a fiber, on a Lua thread of
 * its own; while a host function parks the fiber, other runs may use the same state. So everything that belongs to a run is in
 * `lua_run`, and a host function that parks stands between run_set_aside() and run_go_on(). */
#ifndef PURLIN_LUA_RUN_H
#define PURLIN_LUA_RUN_H

#include "core/arena.h"
#include "core/buffer.h"
#include "loop/context.h"
#include "lua/sandbox.h"

enum { RUN_IDLE_THREADS = 8, RUN_MAX_ENTRIES = 200 };

typedef struct script_state {
  sandbox box; /* first: sandbox_of() leads here */
  lua_State *L;
  struct script *script;          /* holds a reference */
  const char *file;               /* "drift.lua", of the script */
  uint32_t references;            /* being current, and each run; only on the state's loop */
  struct lua_run *run;            /* the one that runs now */
  buffer scratch, why;            /* for what does not outlive a call without a park */
  arena memory;                   /* for decoding while it is loaded */
  int functions[RUN_MAX_ENTRIES]; /* of the script's entries: references in the registry */
  size_t function_count;
  uint64_t cpu_limit_ns;
  lua_State *idle[RUN_IDLE_THREADS]; /* Lua threads of runs that ended well, anchored in the registry */
  int idle_references[RUN_IDLE_THREADS];
  size_t idle_count;
} script_state;

typedef struct lua_run {
  script_state *state;
  purlin_ctx *ctx;  /* NULL while the script is loaded */
  const char *name; /* "policy serving.promote", for messages */
  bool decides;     /* it answers a policy point, so it only reads */
  budget budget;
  lua_State *thread;
  int reference;            /* its anchor */
  struct lua_run *outer;    /* of the same context */
  struct script_load *load; /* while it is loaded */
  void *request;            /* of a route: what it answers */
  buffer trace;             /* of an error: message and traceback */
  purlin_status status;     /* of an error that a host call raised */
} lua_run;

static inline script_state *state_of(lua_State *L) { return (script_state *)sandbox_of(L); }
static inline lua_run *run_of(lua_State *L) { return state_of(L)->run; }

/* A new state with the host API open; NULL: no memory, or `why` says what else. `slot`: of the thread that loads it. */
script_state *state_create(struct script *script, size_t memory_limit, budget_slot *slot, buffer *why);
void state_free(script_state *state);
void state_release(script_state *state); /* one reference; on the state's loop */

/* Calls `body` with `argument` as light userdata, protected and within limits, as a run of the context. On failure it is logged with
 * its traceback, counted under `kind`, and recorded in ctx. Parks as the script does.
 * Errors: PURLIN_TIMEOUT, PURLIN_CANCELLED, PURLIN_INTERNAL; what a host call raised and the script did not catch is INTERNAL too,
 * unless `pass_errors`. */
typedef struct run_call {
  script_state *state;
  const char *name, *kind;
  int line;            /* where the function was registered; not every error knows its own place */
  uint32_t timeout_ms; /* 0: what the context has */
  bool pass_errors, decides;
  lua_CFunction body;
  void *argument;
} run_call;
PURLIN_CHECKED purlin_status run_script(purlin_ctx *ctx, const run_call *call);

/* The same without a context, on the thread that loads. False: `why` has message and traceback. */
bool run_load(script_state *state, struct script_load *load, lua_CFunction body, void *argument, uint64_t timeout_ms,
              buffer *why);

/* Around a park. run_go_on raises the error of a stop. */
void run_set_aside(lua_run *run);
void run_go_on(lua_run *run, lua_State *L);

/* lua_failures_total{script, kind} */
void run_count_failure(const char *file, const char *kind);

#endif
