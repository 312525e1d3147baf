/* script.h: Lua in the daemon: policies, event rules, and configuration.
 *
 * lua/sandbox.c     one lua_State per script and loop: allocator with a cap, closed environment, no bytecode
 * lua/budget.c      instructions and wall clock: a watchdog arms a count hook only on overrun
 * lua/value.c       JSON text <-> Lua values; null, arrays
 * lua/host_*.c      the host API, one file a module: log, json, db, http, jobs, events, metrics, shared, time, op
 * lua/script.c      finding, loading, generations: load on all loops, then switch; what fails to load changes nothing
 * lua/policy.c      answering policy points, running event rules
 * lua/route.c       answering requests
 * lua/every.c       what comes round
 * lua/config.c      purlin.lua */
#ifndef PURLIN_LUA_SCRIPT_H
#define PURLIN_LUA_SCRIPT_H

#include <purlin/context.h>
#include <purlin/schema.h>
#include "core/arena.h"
#include "core/buffer.h"

typedef struct script_options {
  const char *policies;       /* folder with *.lua; NULL: none */
  const char *library;        /* folder that `require` reads from, nothing else */
  size_t memory_limit;        /* per script and loop: 16 MiB */
  uint32_t cpu_limit_ms;      /* CPU time of a run: 500 ms. A watchdog looks every 5 ms, so it may be exceeded by some */
  const char *const *writers; /* names of the scripts that purlin.db.execute serves, such as "cleanup.lua"; borrowed */
  size_t writer_count;
  uint32_t timeout_ms; /* per run of an event rule, waiting included: 60 s; of loading: 2 s of CPU time */
} script_options;

void script_options_default(script_options *options);

/* Loads every script on every loop. A script that fails is named in `why` with file:line and traceback; at start that refuses this
 * script alone (and /readyz and the log say so), the others work. In a fiber; parks. */
PURLIN_CHECKED purlin_status script_start(purlin_ctx *ctx, const script_options *options, buffer *why);
/* Loads anew what changed; on an error in any script the old generation stays for that script, `why` says why. Parks. */
PURLIN_CHECKED purlin_status script_reload(purlin_ctx *ctx, buffer *why);
/* Watches the folder (uv_fs_event) and reloads; errors are logged. */
PURLIN_CHECKED purlin_status script_watch(void);
/* Before the loops end: nothing new comes round, and what does has ended. In a fiber; parks. */
void script_rest(purlin_ctx *ctx);
void script_stop(void);

/* Loads every script and throws it away: for --check. On the main thread, after loops_create and with the plugins registered; nothing
 * runs. PURLIN_INVALID: `why` names the scripts that would be refused and why. `count`: of those that would run. */
PURLIN_CHECKED purlin_status script_check(const script_options *options, size_t *count, buffer *why);
/* The names of scripts that are refused, or run in an older version than the file's, as "a.lua, b.lua". False: there is none. */
bool script_refusals(buffer *names);

/* Adds the routes that scripts declared with purlin.route(). */
struct http_router;
PURLIN_CHECKED purlin_status script_routes(struct http_router *router, buffer *why);

/* Called on the loop of the reload when scripts brought routes that no router has: make a router, call script_routes, http_set_router. */
void script_on_routes(void (*changed)(void));

/* For the plugins page and tests: name, file, generation, state, last error of each. JSON array. */
void script_describe(buffer *out);

/* ---- Configuration -------------------------------------------------------------------------------------------------------- */

/* purlin.lua runs once, in a closed environment, before any thread exists. Each call of a section function - server{...}, database{...},
 * log{...}, plugin "NAME" {...} - becomes a section: its JSON and its place. */
typedef struct config_section {
  const char *kind; /* "server", "database", "plugin", ... */
  const char *name; /* of a plugin; NULL otherwise */
  const char *file;
  int line;
  const char *json; /* the table as a JSON object */
  size_t json_size;
  buffer *warnings; /* of the whole file, see config_warnings; NULL: nobody wants them */
} config_section;

typedef struct config config; /* owned: config_free */
/* Unknown section kinds, syntax and run-time errors are explained in `why` as FILE:LINE: message. `env("NAME", default)` and
 * `file("PATH")` read secrets at that time. */
PURLIN_CHECKED purlin_status config_load(const char *path, const char *const *kinds, size_t kind_count, config **out,
                                         buffer *why);
size_t config_count(const config *c);
const config_section *config_at(const config *c, size_t index);
/* Decodes a section by a schema; complaints become "purlin.lua:12: plugin \"storage-fs\": field 'rooot' is unknown; did you mean 'root'?". */
PURLIN_CHECKED purlin_status config_decode(const config_section *section, const purlin_schema *schema, struct arena *memory,
                                           void *out, buffer *why);
/* What config_decode noticed that is no error, one a line: secrets that stand in a file that others can read. */
const char *config_warnings(const config *c);
void config_free(config *c);

#endif
