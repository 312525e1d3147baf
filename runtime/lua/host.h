/* host.h: what scripts find in the table `purlin`; one host_NAME.c for each part. The reference for authors of scripts is
 * lua/purlin.d.lua. */
#ifndef PURLIN_LUA_HOST_H
#define PURLIN_LUA_HOST_H

#include <lauxlib.h>
#include <purlin/secret.h>
#include "lua/run.h"
#include "lua/value.h"

/* Lua says so in its manual only; compilers and analysers should know it, too. */
__attribute__((noreturn)) LUALIB_API int(luaL_error)(lua_State *L, const char *format, ...);

/* Opens all of it: the global `purlin`, and require. Raises Lua errors. */
void host_open(lua_State *L);

/* Each adds its part to the table on top of the stack. */
void host_open_log(lua_State *L);
void host_open_json(lua_State *L);
void host_open_time(lua_State *L);
void host_open_shared(lua_State *L);
void host_open_metrics(lua_State *L);
void host_open_operations(lua_State *L); /* op, and who, where and what they may */
void host_open_database(lua_State *L);
void host_open_http(lua_State *L);
void host_open_secret(lua_State *L);
void host_open_work(lua_State *L);         /* jobs and events */
void host_open_registration(lua_State *L); /* policy, on, route, every, require */

/* Sets a table of functions as member `name` of the table on top of the stack. */
void host_add(lua_State *L, const char *name, const luaL_Reg *functions);

void host_print(lua_State *L, const char *text);

/* The run, for a function that needs a context: refused while the script is loaded. */
lua_run *host_run(lua_State *L);
/* The value at `index` as JSON in the context's arena; a list where the schema (may be NULL) wants one. Raises errors that begin with
 * `what`. nil and none: {}. */
purlin_json host_json(lua_State *L, int index, const purlin_schema *schema, const char *what);
/* Around calls in a loop: what they leave in the arena goes when their result has become a Lua value. Not inside a transaction,
 * which may hold on to something until it commits. No Lua code may run in between, not even a metamethod that is asked for an option:
 * what it leaves there may be needed later. */
purlin_mark host_mark(const lua_run *run);
void host_reset(const lua_run *run, purlin_mark mark);
/* Refuses members of the options table (if it is one) that are not among `known`, which ends with NULL; says which one was meant. */
void host_check_options(lua_State *L, int table, const char *const *known);
/* A member of the options table (if it is one); `initial` when it is absent. Raises an error when it is out of bounds. */
lua_Integer host_integer_option(lua_State *L, int table, const char *name, lua_Integer initial, lua_Integer least,
                                lua_Integer most);

/* Whether the value is a purlin.secret: then *line is "HEADER: VALUE", for the call that is made next; to be wiped, at the latest by the end of the
 * context. Raises the errors of secrets. May park. */
bool host_secret_header(lua_State *L, int index, const char *header, purlin_secret *line);

/* Raises what the context has recorded, as an error object { status=, error=, message=, fields={ {field=, message=} } }. */
int host_raise(lua_State *L, purlin_ctx *ctx, purlin_status status);
/* Whether the value is such an object; its status and text (borrowed from Lua). */
bool host_error_status(lua_State *L, int index, purlin_status *status);
const char *host_error_text(lua_State *L, int index);
/* Records it in the context, as it was before it became an object. */
void host_error_record(lua_State *L, int index, purlin_ctx *ctx, purlin_status status);

/* Forgets all shared values, at the end. */
void host_shared_clear(void);

#endif
