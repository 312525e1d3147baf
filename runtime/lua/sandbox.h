/* sandbox.h: a Lua state in which a mistake stays small: a cap on memory, and only those functions that cannot reach out of the
 * state, cannot hide from the watchdog and cannot overflow the stack of a fiber. It limits accidents, not attackers. */
#ifndef PURLIN_LUA_SANDBOX_H
#define PURLIN_LUA_SANDBOX_H

#include <purlin/base.h>
#include <lua.h>
#include "lua/budget.h"

/* What every state carries; lua_getextraspace leads to it. It is the first member of larger structs. */
typedef struct sandbox {
  size_t used_bytes, limit_bytes;
  budget_slot *slot;                             /* where a stop is announced; NULL: nobody watches (configuration) */
  void (*print)(lua_State *L, const char *text); /* where print() goes; may be NULL */
  bool wipes;                                    /* what is freed is wiped: its texts are secrets */
  char refused_at[80]; /* "drift.lua:12", where memory was refused last; "" when that is not known */
} sandbox;

static inline sandbox *sandbox_of(lua_State *L) { return *(sandbox **)lua_getextraspace(L); }

/* A state whose memory is counted against box->limit_bytes; NULL: no memory. Nothing is opened yet. */
lua_State *sandbox_state(sandbox *box);
/* Opens the allowed part of base, string, table, math, utf8 and, with a slot, coroutine. Raises Lua errors. */
void sandbox_open(lua_State *L);

/* Whether what runs has been told to stop. */
static inline bool sandbox_is_stopped(lua_State *L) {
  const budget_slot *slot = sandbox_of(L)->slot;
  return slot != NULL && budget_stopped(slot) != BUDGET_RUNS;
}
/* For C functions that call Lua, or work long: raises "stack overflow" when the fiber's stack runs low, the stop when there is one. */
void sandbox_check_stack(lua_State *L);
void sandbox_check(lua_State *L);

/* The greatest length of a list, and size of a text, that a library function works on in one go. */
#define SANDBOX_MAX_ITEMS ((lua_Integer)2000000)
#define SANDBOX_MAX_TEXT ((size_t)64 * 1024 * 1024)

/* lua/pattern.c: string.find, match, gmatch and gsub that can be stopped. */
int pattern_find(lua_State *L);
int pattern_match(lua_State *L);
int pattern_gmatch(lua_State *L);
int pattern_gsub(lua_State *L);
/* lua/coroutine.c: the coroutine library, and pcall and xpcall, under the watchdog. */
void coroutine_open(lua_State *L);
int protected_xpcall(lua_State *L);

#endif
